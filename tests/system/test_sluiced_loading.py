# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced reads a policy of many megabytes: all else goes on, the old generation enforces until
the switch, the newest text wins."""
import contextlib
import os
import pathlib
import signal
import time

import pytest

import bpfsys
from lab import SLUICE
from sluicedcgrouplab import host  # noqa: F401
from sluicedcgrouplab import by_cgroup, configured, make, probe
from sluicedlab import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

RULES = 400_000     # 23 MB


def large(port, tail=""):
    """Allows one port of 127.0.0.1 behind many rules of elsewhere."""
    return ("sluice: 1\nname: open\nrules:\n" + "".join(
        f"  - allow: {{to: 10.{i % 60000 >> 8}.{i & 255 if i < 60000 else i % 60000 & 255}.1, "
        f"ports: {1000 + i // 60000}, protocol: tcp}}\n" for i in range(RULES)) +
        f"  - allow: 127.0.0.1:{port}/tcp\n{tail}")


@pytest.fixture
def running(host):  # noqa: F811
    """a1 is under `open` (7001 alone), b1 under `shut`; nothing is being read."""
    host.a, host.b = make(host, "a1"), make(host, "b1")
    assert probe(host, host.a) == (True, True)      # nothing enforced
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: open}}',
               f'{{match: {{cgroup: "{host.group}/b*"}}, policy: shut}}')
    host.start_daemon()
    by_cgroup(host, host.a, policy="open"), by_cgroup(host, host.b, policy="shut")
    assert probe(host, host.a) == (True, False) and probe(host, host.b) == (False, False)
    assert until(lambda: config(host)["reading"] is None)
    host.control = host.connect()
    yield host
    host.control.close()


def config(host):  # noqa: F811
    return host.full_status()["daemon"]["config"]


def asked(host):  # noqa: F811
    """What `status` says of the configuration, and how long the answer took."""
    at = time.monotonic()
    said = host.control.ask("status")["daemon"]["config"]
    return said, time.monotonic() - at


def wait_reading(host):  # noqa: F811
    assert until(lambda: asked(host)[0]["reading"]), host.daemon.errors


def wait_read(host, reloads):  # noqa: F811
    """The longest that `status` took until it was in force, and how often it was asked before."""
    longest, n = 0, 0
    while True:
        said, took = asked(host)
        longest = max(longest, took)
        if said["reloads"] >= reloads and not said["reading"]:
            return longest, n
        n += said["reading"] is not None
        time.sleep(0.01)


def test_others_go_on_and_the_old_one_enforces(running):
    before = config(running)["reloads"]
    monitor = running.start(SLUICE, "monitor", "-o", "json", env=running.env)
    assert until(lambda: running.full_status()["daemon"]["monitors"] == 1)
    running.put("policies.d/open.yaml", large(7002))
    wait_reading(running)
    assert "being read again since" in running.sluice("status").stdout
    links = [p for p in (pathlib.Path(running.state) / "cgroups").rglob("*connect4*")
             if str(running.b.stat().st_ino) in str(p)]
    bpfsys.detach(links[0])                 # the watchdog goes on
    at = time.monotonic()
    line = monitor.wait(lambda l: l.get("event") in ("foreign-change", "reload"))
    assert line["event"] == "foreign-change", line
    print(f"\nforeign change told after {time.monotonic() - at:.2f} s")
    by_cgroup(running, running.b, policy="shut", state="attached")
    assert probe(running, running.b) == (False, False)
    still = asked(running)[0]["reading"]
    old = probe(running, running.a)
    assert not (still and asked(running)[0]["reading"]) or old == (True, False)
    longest, n = wait_read(running, before + 1)
    print(f"status: at most {longest:.2f} s, {n} answers while it was read")
    assert until(lambda: probe(running, running.a) == (False, True))
    by_cgroup(running, running.a, policy="open", state="attached")


def test_killed_meanwhile_leaves_the_old_one(running):
    running.put("policies.d/open.yaml", large(7002))
    wait_reading(running)
    running.daemon.child.send_signal(signal.SIGKILL)
    running.daemon.child.wait(60)
    assert probe(running, running.a) == (True, False) and probe(running, running.b) == (False, False)


def test_ended_meanwhile(running):
    running.put("policies.d/open.yaml", large(7002))
    wait_reading(running)
    running.daemon.child.send_signal(signal.SIGTERM)
    assert running.daemon.child.wait(60) == 0
    assert probe(running, running.a) == (True, False)


def test_a_newer_text_supersedes_it(running):
    before = config(running)["reloads"]
    running.put("policies.d/open.yaml", large(7002))
    wait_reading(running)
    running.put("policies.d/open.yaml", "sluice: 1\nname: open\nrules: []\n")
    assert until(lambda: probe(running, running.a) == (False, False))
    wait_read(running, before + 1)
    assert config(running)["reloads"] == before + 1, "the one between was in force"
    assert probe(running, running.a) == (False, False)


def test_apply_waits_for_what_is_there_when_it_is_asked(running):
    running.put("policies.d/open.yaml", large(7001))
    wait_reading(running)
    running.put("policies.d/open.yaml", large(7002))
    with contextlib.closing(running.connect()) as other:
        other.send({"sluice": 1, "op": "apply"})
        other.send({"sluice": 1, "op": "hello"})    # answers come in their order
        assert asked(running)[0]["reading"]         # and nobody waits for it
        said = other.receive()
        assert said["ok"] and said["targets"] == 2 and said["failed"] == 0, said
        assert probe(running, running.a) == (False, True)
        assert other.receive()["version"]


def test_an_error_at_the_end_has_its_place(running):
    running.put("policies.d/open.yaml", large(7002, tail="  - allow: 10.0.0.300\n"))
    assert until(lambda: not config(running)["ok"])
    [error, *_] = config(running)["errors"]
    assert error["file"].endswith("/open.yaml") and error["line"] == RULES + 5, error
    assert error["column"] == 12 and "10.0.0.300" in error["message"], error
    assert probe(running, running.a) == (True, False)
    done = running.sluice("apply")
    assert done.returncode == 1 and f"open.yaml:{RULES + 5}:12" in done.stderr, done
    running.put("policies.d/open.yaml", "sluice: 1\nname: open\nrules: []\n")
    assert until(lambda: probe(running, running.a) == (False, False))


def test_one_table_for_all_is_each_ones_own(running):
    """A policy that means the same for all is compiled once: generations are told apart, and the
    next sluiced, which compiles it anew, finds each to the bit as it should be."""
    more = [make(running, f"a{i}") for i in range(2, 6)]
    made = [by_cgroup(running, path, policy="open")["generation"] for path in [running.a, *more]]
    assert len(set(made)) == len(made)
    running.kill_daemon()
    running.start_daemon()
    for path, generation in zip([running.a, *more], made):
        by_cgroup(running, path, state="attached", generation=generation)
        assert probe(running, path) == (True, False)
