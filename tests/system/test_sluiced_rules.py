# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What rules have decided, and which have decided nothing for a month."""
import json
import os
import pathlib
import signal

import pytest

from clocklab import DAY, Clock
from lab import SLUICE
from sluicedlab import AGENT, WAIT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def by_rule(done):
    assert done.returncode == 0, done
    return {r["rule"]: r for r in map(json.loads, done.stdout.splitlines())}


def with_one_never_used(host):
    host.configure(agent=AGENT + "  - deny: {to: 203.0.113.0/24}\n    id: never\n")


def test_rules_with_what_was_not_used(host, prober):
    with_one_never_used(host)
    host.start_daemon()
    host.attached("vnet0")
    assert prober.arrives("192.0.2.1")

    def rules(*words):
        return by_rule(host.sluice("rules", "--dev", "vnet0", "-o", "json", *words))
    used = [r for r in rules().values() if r["count"]]
    assert used and all(r["last"] for r in used) and rules()["never"]["count"] == 0
    assert max(r["bytes"]["out"] for r in used) > 0     # sluiced may run the program that adds
    assert rules()["never"]["bytes"] == {"out": 0, "in": 0}
    assert set(rules("--unused", "30d")) == {"never"}
    done = host.sluice("rules", "--dev", "none")
    assert done.returncode == 1 and "has no policy" in done.stderr


def later(days):
    """A program for which the machine has been up for so many days more: what it takes for the age
    of what the kernel noted. The kernel itself is in no time namespace."""
    return ["unshare", "--time", "--boottime", days * DAY, "--fork", "--kill-child"]


def end_child(of):
    """unshare itself waits for it, whatever it is sent."""
    pid = of.child.pid
    os.kill(int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()), signal.SIGTERM)
    assert of.child.wait(WAIT) == 0


def test_unused_for_a_month(host, prober, tmp_path):
    """By the time that went by, whatever the wall clock says of it, with sluiced and without."""
    with_one_never_used(host)
    host.start_daemon()
    host.attached("vnet0")
    assert prober.arrives("192.0.2.1")
    used, = {r for r, row in by_rule(host.sluice("rules", "--dev", "vnet0", "-o", "json")).items()
             if row["count"] and r}
    clock = Clock(tmp_path)

    def unused(*before):
        rows = by_rule(host.run(*before, SLUICE, "rules", "--dev", "vnet0", "-o", "json", "--unused",
                                "30d", env={**host.env, **clock.env}))
        assert all(row["idle_s"] >= 30 * DAY for r, row in rows.items() if r != "never"), rows
        return set(rows)
    host.daemon.close()
    for shift in (0, 1, -1):
        clock.set(shift * DAY)
        assert unused(*later(29)) == {"never"}
        assert unused(*later(31)) == {"never", used}
    host.env.update(clock.env)
    for days, shift, found in ((29, 1, {"never"}), (31, -1, {"never", used})):
        clock.set(shift * DAY)
        host.start_daemon(before=later(days))
        host.attached("vnet0", policy="agent")
        assert unused() == found
        end_child(host.daemon)
