# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Audit mode, and what is counted: decisions, events, frames and bytes."""
import json
import os
import time

import pytest

from device_cases import CONFIGS, eth, ip, super_frame, udp
from devicelab import BINDING, TRIES, accounts, datagram, rules
from framelab import CASES, play, reasons_of
from lab import ECHO, PEER4, PEER6, WAIT, sh, until

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
PROBE = rules(f'allow: ["{PEER4}:{ECHO}", "[{PEER6}]:{ECHO}"]')


def of_a_bridge(event):
    """What it says to everybody now and then: queries for listeners."""
    return event["hook"] == "tc-egress" and event["reason"] == "unsolicited" and \
        event["destination"]["address"] in ("224.0.0.1", "ff02::1")


def audited(lab, case, v6):
    """(whether it arrived, the reasons of the events of its direction)"""
    start = lab.mark()
    arrived = play(lab, case, v6)(WAIT / TRIES)
    lab.settle(case.config == "only-v6")
    hook = "tc-egress" if case.name.startswith("in-") else "tc-ingress"
    events = [event for event in lab.fence(start)
              if event["hook"] == hook and not of_a_bridge(event)]
    assert all(event["verdict"] == "audit-deny" for event in events)
    # Not what the peer answers to what it would never have seen.
    return bool(arrived), [event["reason"] for event in events if
                           event["reason"] != "unsolicited" or "unsolicited" in reasons_of(case)]


@KINDS
def test_audit_lets_everything_pass_and_says_it(device_labs, kind):
    """Every case that is denied in enforce mode arrives in audit mode, with an event of
    the same reason that says audit-deny."""
    lab, wrong = device_labs(kind, "audit"), []
    # (A first fragment that passes decides for the later ones, in audit mode too.)
    cases = [(case, family) for which, case, family in CASES
             if which == kind and case.reason and not isinstance(case.reason, tuple)]
    assert len(cases) > 300
    for case, family in cases:
        policy, options = CONFIGS[case.config]
        for _ in range(TRIES):      # any frame may be lost, and the peer answers when it has time
            lab.configure(policy, *options, "--audit", once=reasons_of(case))
            result = audited(lab, case, family == 6)
            if result == (True, reasons_of(case)):
                break
        else:
            wrong.append((case.name, family, result))
    assert not wrong, "\n".join(map(str, wrong))
    target = lab.status()
    assert target["mode"] == "audit" and target["denied"] == 0
    assert target["tx_denied"] == target["rx_denied"] == 0
    assert target["audit_denied"] >= len(cases) / 2 and accounts(target)


@KINDS
def test_mode_audit_of_the_policy(device_labs, kind):
    lab = device_labs(kind, "audit")
    lab.configure(rules("deny: any", mode="audit"), *BINDING)
    start, mark, position = lab.mark(), os.urandom(8), lab.sink.position()
    lab.send(datagram("198.51.100.77", 99, mark))
    assert lab.sink.wait(mark, position)
    event, = [e for e in lab.fence(start) if e["destination"]["port"] == 99]
    assert (event["verdict"], event["rule"] is not None) == ("audit-deny", True)


# ---- counters ----

def statistics(lab):
    """The device's own: what virsh domifstat shows."""
    link, = json.loads(sh("ip", "-n", lab.host, "-s", "-s", "-j", "link", "show", lab.device))
    rx, tx = link["stats64"]["rx"], link["stats64"]["tx"]
    return {"tx_frames": rx["packets"], "tx_bytes": rx["bytes"], "rx_frames": tx["packets"],
            "rx_bytes": tx["bytes"]}


def both(lab):
    """The device's counters and ours, of one moment: what a bridge says to everybody now and
    then (multicast queries) must not come between the two."""
    found = {}

    def still():
        found["theirs"], found["ours"] = statistics(lab), lab.status()
        return statistics(lab) == found["theirs"]
    assert until(still), "frames came all the time"
    return found["theirs"], found["ours"]


def traffic(lab):
    """Allowed, denied and refused, of all sizes, both ways."""
    for v6 in (False, True):
        for size in (0, 1, 700, 1400, 8000):
            lab.send(datagram(PEER6 if v6 else PEER4, ECHO, bytes(size)))
            lab.send(datagram("2001:db8:1::9" if v6 else "198.51.100.9", 300 + size, bytes(size)))
        made = super_frame(v6, b"counted", sport=6100)
        lab.send(made.frame, made.header)
        lab.send_in(bytes(eth(src="52:54:00:00:00:02", dst="52:54:00:12:34:56") / ip(
            v6, "2001:db8::1" if v6 else "192.0.2.1", PEER6 if v6 else PEER4) / udp(b"in")))
        lab.probe(v6)
    lab.probe()


@KINDS
def test_frames_and_bytes_are_the_devices_own(device_labs, kind):
    lab = device_labs(kind, "counted")
    lab.configure(PROBE, *BINDING)
    for _ in range(3):
        before, ours = both(lab)
        traffic(lab)
        after, then = both(lab)
        assert {k: then[k] - ours[k] for k in before} == {k: after[k] - before[k] for k in before}
        assert then["tx_denied"] - ours["tx_denied"] == 10
        assert then["rx_denied"] - ours["rx_denied"] >= 2


@KINDS
def test_decisions_add_up(device_labs, kind):
    """More denials than the budget has events: what has none is counted. Events that
    are printed are those that were submitted."""
    lab = device_labs(kind, "counted")
    lab.configure(PROBE, *BINDING)
    lab.fence(lab.mark())
    before, start, to = lab.status(), lab.mark(), "198.51.100.30"
    began, sent, after = time.monotonic(), 0, before
    lab.probe()
    # 1,000 events a second are added to the 5,000: a busy machine sends no faster at times
    while after["over_budget"] == before["over_budget"] and sent < 90000:
        for port in range(9000):
            lab.send(datagram(to, 1 + port, b"x"))
        sent += 9000
        took, after = time.monotonic() - began, lab.status()
    lab.probe()
    after = lab.status()
    assert accounts(before) and accounts(after)
    noise = after["rx_denied"] - before["rx_denied"]        # what bridges say to everybody
    assert after["tx_denied"] - before["tx_denied"] == sent
    assert after["denied"] - before["denied"] == sent + noise
    assert after["lost"] == before["lost"]
    submitted = after["submitted"] - before["submitted"]
    assert 4000 <= submitted <= 5001 + 1000 * took + noise
    over = after["over_budget"] - before["over_budget"]
    assert sent <= submitted + over <= sent + noise         # the same noise again has no event

    def printed():
        records = lab.guard.monitor.between(start, lab.mark())
        return sum(r["count"] for r in records if r["destination"]["address"] == to)
    # the noise may have an event, too, which is not counted here
    assert until(lambda: printed() >= submitted - noise, 10)
    assert submitted - noise <= printed() <= submitted
