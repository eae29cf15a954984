# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Every way out that a frame offers (THREATS.md, Frames), and beside each what
must go on working: on a tap and on a veth, first without Sluice, then with it."""
import os

import pytest
from scapy.compat import raw

from device_cases import CONFIGS, eth, ip, udp
from devicelab import TRIES
from framelab import CASES, play, reasons_of
from lab import WAIT

IDS = [f"{kind}-{case.name}-v{family}" for kind, case, family in CASES]


def arrives(lab, case, v6):
    """Waits for it; sends it again if it was lost, as any frame may be."""
    return any(play(lab, case, v6)(WAIT / TRIES) for _ in range(TRIES))


def attempt(lab, case, v6):
    """(what arrived, the events), of frames of which something should be heard."""
    for _ in range(TRIES):
        start = lab.mark()
        probe(lab, case, v6)
        arrived = play(lab, case, v6)
        probe(lab, case, v6)
        events, arrived = lab.fence(start), arrived()
        if events or arrived or case.silent:
            break
    return arrived, events


@pytest.mark.parametrize("kind, case, family", CASES, ids=IDS)
def test_frame(device_labs, tally, kind, case, family):
    off, on, v6 = device_labs(kind, False), device_labs(kind, True), family == 6
    off.probe(v6)
    assert arrives(off, case, v6), "it does not arrive without Sluice"

    policy, options = CONFIGS[case.config]
    on.configure(policy, *options, once=reasons_of(case))
    if case.reason is None:
        start = on.mark()
        probe(on, case, v6)
        assert arrives(on, case, v6), "an allowed frame does not arrive"
        probe(on, case, v6)
        events = on.fence(start)
        assert not events, events
        return
    before = on.status() if case.silent else None
    arrived, events = attempt(on, case, v6)
    tally(not arrived)
    assert not arrived, "it arrives"
    judge(case, on, events)
    if case.silent:
        assert on.status()["rx_denied"] > before["rx_denied"]


def probe(lab, case, v6):
    """Some bindings have no IPv6, or nothing else."""
    if case.config not in ("only-v4", "only-v6"):
        lab.probe(v6)
    else:
        lab.probe(case.config == "only-v6")


def judge(case, lab, events):
    assert [event["reason"] for event in events] == reasons_of(case), events
    for event in events:
        inward = case.name.startswith("in-")
        assert event["verdict"] == "deny" and event["count"] == 1
        assert event["target"] == {"kind": "device", "name": lab.device}
        assert event["hook"] == ("tc-egress" if inward else "tc-ingress")
        assert event["direction"] == ("ingress" if inward else "egress")


@pytest.mark.parametrize("kind", ["tap", "veth"])
@pytest.mark.parametrize("config, source, reason", [
    ("bound", "53:54:00:12:34:56", "mac-binding"), ("free", "53:54:00:12:34:56", "malformed"),
    ("free", "ff:ff:ff:ff:ff:ff", "malformed"), ("free", "52:54:00:66:66:66", None)])
def test_source_is_a_group(device_labs, tally, kind, config, source, reason):
    """A bridge drops these; a routed device takes them."""
    off, on = device_labs(kind, False), device_labs(kind, True)
    for v6 in (False, True):
        mark = os.urandom(8)
        frame = raw(eth(src=source) / ip(v6) / udp(mark))
        with off.routed(v6) as sink:
            off.send(frame)
            assert sink.wait(mark), "it does not arrive without Sluice"
        on.configure(CONFIGS[config][0], *CONFIGS[config][1], once=[reason])
        with on.routed(v6) as sink:
            position = on.mark()
            on.send(frame)
            events = on.fence(position)
            assert bool(sink.wait(mark, seconds=0 if reason else 5)) == (reason is None)
        # (What comes late of answers to earlier frames is not this frame's.)
        assert [event["reason"] for event in events if event["hook"] == "tc-ingress"] == \
            ([reason] if reason else [])
        if reason:
            tally(True)
        on.probe(v6)


@pytest.mark.parametrize("kind", ["tap", "veth"])
def test_13_bytes_are_refused_by_the_kernel(device_labs, kind):
    """So that no program of ours ever sees them: they arrive nowhere, Sluice or not."""
    for judged in (False, True):
        lab = device_labs(kind, judged)
        for length in (1, 6, 12, 13):
            with pytest.raises(OSError, match="Invalid argument"):
                lab.send(bytes(length))
        lab.probe()
