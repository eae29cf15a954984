# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced: files that change while it runs, and what is noted of durations."""
import json
import os
import shutil
import signal
import time

import pytest

from sluicedlab import AGENT, CONFIG, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

WIDE = AGENT.replace("192.0.2.0/24", "[192.0.2.0/24, 198.51.100.0/24]")


def test_a_policy_that_changes(host, prober):
    host.configure()
    host.start_daemon()
    first = host.attached("vnet0", policy="agent")
    assert not prober.arrives("198.51.100.1")
    host.put("policies.d/agent.yaml", WIDE)         # nobody says so
    assert until(lambda: host.status()["vnet0"]["generation"] > first["generation"])
    assert prober.arrives("198.51.100.1")


def test_a_configuration_in_a_kubernetes_volume(host):
    """sluiced.yaml is a link to ..data/sluiced.yaml, and what is put in place is ..data"""
    host.veth("vnet0")
    host.configure(b="sluice: 1\nname: b\n")
    folder = host.folder / "etc"

    def publish(version, text):
        (folder / version).mkdir()
        (folder / version / "sluiced.yaml").write_text(text, encoding="utf-8")
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").rename(folder / "..data")

    (folder / "sluiced.yaml").unlink()
    publish("..1", CONFIG)
    (folder / "sluiced.yaml").symlink_to("..data/sluiced.yaml")
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    for version, name in (("..2", "b"), ("..3", "agent")):
        publish(version, CONFIG.replace("policy: agent", f"policy: {name}"))
        host.attached("vnet0", policy=name)


def test_only_what_means_something_else_gets_a_generation(host):
    host.veth("vnet0")
    host.veth("tap0")
    config = CONFIG + '  - match: {device: "tap*"}\n    policy: other\n'
    host.configure(config, other=AGENT.replace("agent", "other"))
    host.start_daemon()
    before = [host.attached("vnet0")["generation"], host.attached("tap0")["generation"]]
    host.put("policies.d/other.yaml", WIDE.replace("agent", "other"))
    assert until(lambda: host.status()["tap0"]["generation"] > before[1])
    assert host.status()["vnet0"]["generation"] == before[0]


BAD = {"syntax": ("sluiced.yaml", "sluiced: 1\ntargets: [\n", "sluiced.yaml"),
       "unknown key": ("sluiced.yaml", CONFIG + "x: 1\n", "sluiced.yaml:5:1"),
       "no such policy": ("sluiced.yaml", CONFIG.replace("agent", "none"), "none.yaml"),
       "policy": ("policies.d/agent.yaml", AGENT + "rulez: []\n", "agent.yaml:5:1"),
       "truncated": ("policies.d/agent.yaml", AGENT[:-12], "agent.yaml:4")}


@pytest.mark.parametrize("name, text, says", BAD.values(), ids=BAD.keys())
def test_a_bad_file_changes_nothing(host, prober, name, text, says):
    host.configure()
    host.start_daemon()
    first = host.attached("vnet0", policy="agent")
    host.put(name, text)
    assert until(lambda: not host.full_status()["daemon"]["config"]["ok"])
    status = host.full_status()
    assert any(says in w and "is not loaded" in w for w in status["warnings"]), status["warnings"]
    assert status["daemon"]["config"]["failed"] >= 1 and status["daemon"]["config"]["errors"]
    assert host.status()["vnet0"]["generation"] == first["generation"]
    assert prober.arrives("192.0.2.1") and not prober.arrives("198.51.100.1")
    host.veth("vnet9")                              # gets what is in force
    host.attached("vnet9", policy="agent")
    host.configure()
    assert until(lambda: host.full_status()["daemon"]["config"]["ok"])
    assert not [w for w in host.full_status()["warnings"] if "is not loaded" in w]


def test_a_bad_file_at_the_start(host):
    host.veth("vnet0")
    host.configure("sluiced: 1\ntargets: [\n")
    host.start_daemon()
    status = host.full_status()
    assert not status["daemon"]["config"]["ok"] and status["targets"] == []
    host.configure()
    host.attached("vnet0", policy="agent")


def test_a_bad_policy_at_the_start(host):
    """The policy's file alone is corrected."""
    host.veth("vnet0")
    host.configure(CONFIG + "policies: own\n")
    (host.folder / "etc" / "policies.d").rename(host.folder / "etc" / "own")
    host.put("own/agent.yaml", "rulez: []\n")
    host.start_daemon()
    assert not host.full_status()["daemon"]["config"]["ok"]
    host.put("own/agent.yaml", AGENT)
    host.attached("vnet0", policy="agent")


def moved(path):
    path.rename(path.with_name("away"))
    yield
    path.with_name("away").rename(path)


def made_anew(path):
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    yield
    path.mkdir()        # and then its files, as a package does
    for source in path.with_name("copy").rglob("*.yaml"):
        to = path / source.relative_to(path.with_name("copy"))
        to.parent.mkdir(exist_ok=True)
        time.sleep(0.3)
        shutil.copy(source, to)
    shutil.rmtree(path.with_name("copy"))


@pytest.mark.parametrize("name", ["etc/policies.d", "etc"])
@pytest.mark.parametrize("how", [moved, made_anew])
def test_a_directory_that_goes_and_comes_back(host, name, how):
    """What was in force goes on meanwhile; then it is read again, and followed as before."""
    host.veth("vnet0")
    host.configure()
    host.start_daemon()
    first = host.attached("vnet0", policy="agent")["generation"]

    def ok():
        return host.full_status()["daemon"]["config"]["ok"]
    steps = how(host.folder / name)
    next(steps)
    host.daemon.signal(signal.SIGHUP)
    assert until(lambda: not ok())
    assert host.status()["vnet0"]["generation"] == first
    assert next(steps, None) is None
    assert until(ok)
    host.put("policies.d/agent.yaml", WIDE)
    assert until(lambda: host.status()["vnet0"]["generation"] > first)


def test_a_policy_that_is_a_link(host):
    """ln -s, which closes no file."""
    host.veth("vnet0")
    host.configure()
    real = host.folder / "etc" / "policies.d" / "agent.yaml"
    real.rename(host.folder / "agent.yaml")
    host.start_daemon()
    assert not host.full_status()["daemon"]["config"]["ok"]
    real.symlink_to(host.folder / "agent.yaml")
    host.attached("vnet0", policy="agent")


def test_sighup_and_apply(host):
    host.veth("vnet0")
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    before = host.full_status()["daemon"]["config"]["reloads"]
    host.daemon.signal(signal.SIGHUP)
    assert until(lambda: host.full_status()["daemon"]["config"]["reloads"] == before + 1)
    done = host.sluice("apply", "-o", "json")
    assert done.returncode == 0 and json.loads(done.stdout)["attached"] == 1
    host.put("sluiced.yaml", "sluiced: x\n")
    done = host.sluice("apply")
    assert done.returncode == 1 and "sluiced.yaml:1:10: error" in done.stderr


def test_a_target_that_is_taken_out_keeps_its_policy(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    host.configure("sluiced: 1\n")
    assert until(lambda: any("no target of the configuration" in w
                             for w in host.full_status()["warnings"]))
    assert not prober.arrives("198.51.100.1")
    host.kill_daemon()
    host.start_daemon()
    assert any("earlier configuration" in w for w in host.full_status()["warnings"])
    assert not prober.arrives("198.51.100.1")


def test_a_target_that_moves_to_another_policy(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    host.configure(CONFIG.replace("policy: agent", "policy: wide"),
                   wide=WIDE.replace("agent", "wide"))
    host.attached("vnet0", policy="wide")
    assert prober.arrives("198.51.100.1")


def test_a_duration_goes_on_over_reloads(host, prober):
    """`expires: 5s` counts from the first load, whatever is loaded since."""
    policy = AGENT + "  - allow: 198.51.100.1\n    id: soon\n    expires: 5s\n"
    host.configure(agent=policy)
    start = time.monotonic()
    host.start_daemon("--trust-clock")
    first = host.attached("vnet0")
    assert prober.arrives("198.51.100.1")
    host.put("policies.d/agent.yaml", policy + "  - deny: 203.0.113.9\n")
    assert until(lambda: host.status()["vnet0"]["generation"] > first["generation"])
    assert prober.arrives("198.51.100.1"), "the test was too slow to test anything"
    time.sleep(max(0, start + 6.5 - time.monotonic()))
    assert not prober.arrives("198.51.100.1")


def begun(host):
    """What sluiced has noted, by the rules' ids."""
    return {id: since for one in json.loads((host.folder / "run" / "begins").read_text())
            for id, since in one["begins"].items()}


def shift(host, seconds):
    """As if all of it had begun earlier, or later."""
    path = host.folder / "run" / "begins"
    text = path.read_text()
    for since in set(begun(host).values()):
        text = text.replace(str(since), str(since + seconds))
    path.write_text(text)


def test_a_duration_goes_on_over_restarts(host, prober):
    """`expires: 2h` counts from the first load, whoever loads it since; a rule that is new, or
    of a target that is new, from now."""
    policy = AGENT + "  - allow: 198.51.100.1\n    id: soon\n    expires: 2h\n"
    host.configure(agent=policy)
    host.start_daemon("--trust-clock")
    host.attached("vnet0")
    first = begun(host)
    assert set(first) == {"soon"} and prober.arrives("198.51.100.1")

    def again(arrives, *words):
        host.kill_daemon()
        for step in words:
            step()
        host.start_daemon("--trust-clock")
        host.attached("vnet0")
        assert prober.arrives("198.51.100.1") == arrives
    again(True)
    assert begun(host) == first
    again(True, lambda: shift(host, -3600))     # an hour ago: an hour is left
    assert begun(host) == {"soon": first["soon"] - 3600}
    later = policy + "  - allow: 203.0.113.9\n    id: later\n    expires: 2h\n"
    again(False, lambda: shift(host, -3660), lambda: host.put("policies.d/agent.yaml", later))
    assert begun(host)["soon"] == first["soon"] - 7260 and begun(host)["later"] >= first["soon"]
    # the same over an invalid configuration, which loads nothing and forgets nothing
    host.kill_daemon()
    host.put("sluiced.yaml", "sluiced: 2\n")
    host.start_daemon("--trust-clock")
    host.put("sluiced.yaml", CONFIG)
    assert until(lambda: host.sluice("apply").returncode == 0)     # it listens after it has read
    assert begun(host)["soon"] == first["soon"] - 7260 and not prober.arrives("198.51.100.1")
    # another target's is its own; and this one's begins anew when it comes back
    host.configure(CONFIG.replace("vnet*", "vnet[0-9]"), agent=later)
    assert host.sluice("apply").returncode == 0
    assert begun(host)["soon"] >= first["soon"]
    assert until(lambda: prober.arrives("198.51.100.1", 0.1))


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"target": {}, "begins": 7}]', "\0" * 100])
def test_what_is_noted_is_spoiled(host, text):
    """It says so, and the durations count from now."""
    host.configure(agent=AGENT + "  - allow: 198.51.100.1\n    id: soon\n    expires: 2h\n")
    (host.folder / "run").mkdir(exist_ok=True)
    (host.folder / "run" / "begins").write_text(text)
    host.start_daemon("--trust-clock")
    assert any("count from now on" in line for line in host.daemon.errors), host.daemon.errors
    assert set(begun(host)) == {"soon"}
