# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced stopped under a flood of denials, and a wall clock that jumps. `make nightly` makes the
numbers larger."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from clocklab import DAY, Clock
from lab import SLUICE, cgroup2
from sluicedlab import CONFIG, DaemonHost, Prober, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

DENY = "sluice: 1\nname: deny\nrules: []\n"
# So many datagrams to as many addresses and ports; how many were refused.
FLOOD = """
import socket, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
sock, refused = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
for i in range(int(sys.argv[2])):
    try:
        sock.sendto(b"x", ("127.0.%d.%d" % (i >> 8 & 255, i & 255), 7000 + i % 50000))
    except OSError:
        refused += 1
print(refused)
"""


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-s", tmp_path)
    made.top = pathlib.Path(cgroup2()) / made.name
    for name in ("a", "b"):
        (made.top / name).mkdir(parents=True)
    try:
        yield made
    finally:
        made.close()
        for below, _, _ in os.walk(made.top, topdown=False):
            assert until(lambda d=below: "populated 0" in pathlib.Path(
                d, "cgroup.events").read_text())
            os.rmdir(below)


def flood(host, name, count):
    return subprocess.Popen([*host.inside, sys.executable, "-c", FLOOD, host.top / name, str(count)],
                            stdout=subprocess.PIPE, text=True)


def by_name(host):
    return {t["name"].rsplit("/", 1)[1]: t for t in host.full_status()["targets"]}


def test_a_flood_of_denials_while_it_stands_still(host):
    """The equation holds to the last one, each is counted by its rule, and what a neighbour is
    denied meanwhile arrives: one target's budget cannot fill what is everybody's."""
    count, log = int(os.environ.get("SLUICE_DENIALS", "50000")), host.folder / "a.jsonl"
    host.configure(f'sluiced: 1\ntargets:\n  - match: {{cgroup: "/{host.name}/*"}}\n    policy: deny\n'
                   f"audit: [{{file: {log}}}]\n", deny=DENY)
    assert flood(host, "a", 1).communicate()[0] == "0\n"     # nothing enforced
    host.start_daemon()
    assert until(lambda: all(t["attached"] for t in by_name(host).values()) and
                 len(by_name(host)) == 2)
    monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    of_b = host.start(SLUICE, "monitor", "--target", "*/b", "-o", "json", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 2)
    host.daemon.signal(signal.SIGSTOP)
    start, neighbour, many = time.monotonic(), 0, flood(host, "a", count)
    while many.poll() is None and time.monotonic() < start + 20:
        neighbour += int(flood(host, "b", 1).communicate()[0])
        time.sleep(0.2)
    assert int(many.communicate()[0]) == count
    took = time.monotonic() - start
    host.daemon.signal(signal.SIGCONT)
    assert until(lambda: host.full_status()["daemon"]["received"] >= sum(
        t["submitted"] for t in by_name(host).values()), 60)
    a, b = by_name(host)["a"], by_name(host)["b"]
    print(f"\n{count} denials in {took:.1f} s while sluiced stood still: "
          f"{ {k: a[k] for k in ('decided', 'submitted', 'suppressed', 'over_budget', 'lost')} }; "
          f"neighbour: {neighbour} denied, {b['lost']} lost")
    assert a["denied"] == a["decided"] == count
    assert b["denied"] == neighbour and b["lost"] == 0
    for t in (a, b):
        assert t["decided"] == t["submitted"] + t["suppressed"] + t["lost"], t

    def counted(name):
        done = host.sluice("rules", "--cgroup", host.top / name, "-o", "json")
        return sum(json.loads(line)["count"] for line in done.stdout.splitlines())
    assert until(lambda: counted("a") == count) and counted("b") == neighbour

    def seen(lines, name):
        return sum(l["count"] for l in list(lines) if l.get("verdict") == "deny" and
                   l["target"]["name"] == str(host.top / name))

    def lost(lines):
        return sum(l["count"] for l in list(lines) if l["event"] == "lost")
    assert until(lambda: seen(of_b.lines, "b") == neighbour), of_b.lines
    assert not lost(of_b.lines)
    # who reads all may be too slow for a burst, and is told; so is a file's queue
    assert until(lambda: seen(monitor.lines, "a") + seen(monitor.lines, "b") + lost(monitor.lines) >=
                 a["submitted"] + b["submitted"]), lost(monitor.lines)

    def written():
        return [json.loads(line) for line in log.read_text().splitlines()]
    assert until(lambda: seen(written(), "a") + seen(written(), "b") + lost(written()) >=
                 a["submitted"] + b["submitted"])


# ---- a wall clock that jumps ----


def test_a_clock_that_jumps_a_day(host, tmp_path):
    """Forth and back: enforcement does not notice, records have the clock's time and no gap in their
    numbers, the file is begun anew once for each day, and nothing else happens."""
    prober, clock, log = Prober(host), Clock(tmp_path), tmp_path / "a.jsonl"
    host.configure(CONFIG + f"audit: [{{file: {log}, every: 1d}}]\n")
    host.env.update(clock.env)
    try:
        host.start_daemon()
        generation = host.attached("vnet0", policy="agent")["generation"]
        for name in clock.env:
            del host.env[name]
        prober.start()

        def records():
            paths = sorted(tmp_path.glob("a.jsonl*"), key=lambda p: -int(p.suffix[1:])
                           if p.suffix[1:].isdigit() else 0)
            return [json.loads(line) for p in paths for line in p.read_text().splitlines()]

        def told(shift):
            """A denial of now, at that time of day."""
            want = time.strftime("%Y-%m-%d", time.gmtime(time.time() + shift))
            n = len(records())
            return until(lambda: any(r["time"].startswith(want) and r.get("verdict") == "deny"
                                     for r in records()[n:]))
        for shift in (0, DAY, 0, -DAY, 0):
            clock.set(shift)
            assert told(shift), (shift, records()[-1])
        sent, missing, leaked = prober.stop()
        files = len(list(tmp_path.glob("a.jsonl*")))
        found = records()
        print(f"\n{sent} frames each way, leaked {leaked}, wrong denials {missing}; {len(found)} records "
              f"in {files} files")
        assert (missing, leaked) == (0, 0)
        assert [r["seq"] for r in found] == list(range(len(found)))
        assert not [r for r in found if r["event"] == "lost"]
        assert 2 <= files <= 5
        assert host.attached("vnet0", policy="agent", state="attached")["generation"] == generation
    finally:
        prober.close()
