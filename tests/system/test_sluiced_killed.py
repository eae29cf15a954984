# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced killed at random points of its start, its adoption of what is there and its end, while a
device, cgroups that come and go and a user's run are probed. (Of reloads: test_sluiced_faults.)"""
import os
import pathlib
import random
import signal
import time

import pytest

import bpfsys
from runslab import GROUP, OPEN, SHUT, RunsHost
from lab import cgroup2
from sluicedlab import AGENT, WAIT, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
# A run's own probe: what its policy denies is refused, whoever is alive.
WORK = """
print(ask("run", policy="shut")["ok"], flush=True)
import time
n = 0
while n < 1000000:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        s = socket.socket(family)
        s.settimeout(3)
        try:
            s.connect((host, 7001))
            print("leaked", flush=True)
        except ConnectionRefusedError:
            n += 1
        s.close()
    time.sleep(0.01)
"""


@pytest.fixture
def host():
    made = RunsHost()
    made.top = pathlib.Path(cgroup2()) / f"{made.name}-t"
    made.top.mkdir()
    try:
        yield made
    finally:
        made.close()
        for path in [*made.top.glob("*/"), made.top]:
            path.rmdir()


def end(host, chance):
    """In one of three ways, at any point."""
    how = chance.choice(["kill", "amid its end", "orderly"])
    if how == "kill":
        host.daemon.child.kill()
    else:
        host.daemon.signal(signal.SIGTERM)
    if how == "amid its end":
        time.sleep(chance.random() * 0.05)
        host.daemon.child.kill()
    host.daemon.child.wait(WAIT)


def test_killed_while_it_starts_and_ends(host, prober):
    wanted, seed = int(os.environ.get("SLUICE_KILLS", "40")), int(os.environ.get("SEED", "5"))
    chance = random.Random(seed)
    host.configure(f"sluiced: 1\ngroup: '{GROUP}'\n"
                   f"run: {{policies: [open, shut], limit: 8, cgroup: /{host.place.name}}}\n"
                   "targets:\n  - match: {device: 'vnet*'}\n    policy: agent\n"
                   f"  - match: {{cgroup: '/{host.top.name}/*'}}\n    policy: open\n",
                   open=OPEN, shut=SHUT)
    (host.top / "stays").mkdir()
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    host.ready()
    run = host.script(WORK)
    assert run.stdout.readline() == "True\n"
    prober.start()
    for i in range(wanted):
        end(host, chance)
        if chance.random() < 0.5:
            host.put("policies.d/agent.yaml", AGENT + f"  - deny: 203.0.113.{i % 250}\n")
        if chance.random() < 0.3:
            (host.top / f"n{i}").mkdir()
        elif chance.random() < 0.3:
            for path in host.top.glob("n*"):
                path.rmdir()
        host.start_daemon(wait=False)
        time.sleep(chance.random() ** 2 * 0.5)
        assert host.daemon.child.poll() is None, host.daemon.errors
    host.kill_daemon()
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    sent, missing, leaked = prober.stop()
    print(f"\nseed {seed}: killed {wanted} times, {2 * sent} frames, leaked {leaked}, "
          f"wrong denials {missing}")
    assert (missing, leaked) == (0, 0) and sent > 100
    assert run.poll() is None
    run.kill()
    assert run.stdout.read() == ""
    run.wait()
    for path in host.top.glob("n*"):
        path.rmdir()
    # the device, a cgroup, the place of runs, and what is kept ready for each policy
    assert until(lambda: len(host.members()) == 6 and
                 len(host.full_status()["targets"]) == 9), host.full_status()["targets"]
    assert host.full_status()["warnings"] == []
    found = []      # what a table took the place of goes a grace period later
    assert until(lambda: found.append([bpfsys.filled(f"{host.state}/{m}", 256) for m in ("sl_flows", "sl_tables")]) or
                 found[-1] == [9, 9]), found[-1]
