# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`log`: what is an event. Allowed connections and questions, of a command and a device."""
import json
import os

import pytest

from dnslab import policy
from lab import matching, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
watched = pytest.mark.parametrize("mode", ["run", "device"])
GOOD = 'allow: "*.good.example:7", id: good'
OPEN = 'allow: ["198.51.100.60:7", "[2001:db8:1::60]:7"], id: open'
HERE = ("198.51.100.60", "2001:db8:1::60")
ELSEWHERE = ("198.51.100.61", "2001:db8:1::61")


def talk(dnslab, mode, text, last="198.51.100.99"):
    """The same conversation under each policy; its events. The last one is denied and always
    logged (a rule of its own): when it is there, so are all before."""
    text = policy(f'deny: {last}, id: last, log: denied', *text[0], **text[1])
    with dnslab.workload_of(mode, text, watch=True) as agent:
        pid = agent.do("status")["pid"]
        for to in HERE:
            assert agent.do("tcp", to=to, port=7)["errno"] is None
            assert agent.do("udp", to=to, port=7)["errno"] is None
        for to in ELSEWHERE:
            assert agent.do("tcp", to=to, port=7, timeout=1)["errno"]
        found = agent.do("resolve", name="h0.good.example")["reply"]
        for to, _ in found:
            assert agent.do("tcp", to=to, port=7)["errno"] is None
        assert agent.do("resolve", name="a.bad.example")["errno"]
        agent.do("tcp", to=last, port=7, timeout=1)
        if mode == "run":
            agent.close()
        events = agent.events if mode == "run" else dnslab.device.events
        assert until(lambda: matching(events(), destination=last))
        return pid, events()


def of(events, **want):
    return {(e["destination"]["address"], e["protocol"])
            for e in matching(events, event="connection", **want)} - {("198.51.100.99", "tcp")}


def questions(events, verdict):
    return {(e["question"]["name"], e["question"]["type"], e["rule"])
            for e in matching(events, event="dns") if e["verdict"] == verdict}


ALL = {(to, protocol) for to in HERE for protocol in ("tcp", "udp")}
NAMED = {("198.51.100.10", "tcp"), ("2001:db8:1::10", "tcp")}
DENIED = {(to, "tcp") for to in ELSEWHERE}
ASKED = {("h0.good.example", "A", "good"), ("h0.good.example", "AAAA", "good")}
REFUSED = {("a.bad.example", "A", None), ("a.bad.example", "AAAA", None)}


@watched
def test_all(dnslab, mode):
    pid, events = talk(dnslab, mode, ([OPEN, GOOD], {"log": "all"}))
    assert of(events, verdict="allow") == ALL | NAMED
    assert of(events, verdict="deny") == DENIED
    assert questions(events, "allow") == ASKED and questions(events, "deny") <= REFUSED
    assert questions(events, "deny")
    for e in events:
        assert e["verdict"] != "allow" or e["reason"] == "rule"
        if e["event"] == "close":       # nobody's doing
            assert e["process"]["pid"] is None and e["link"] is None
            continue
        assert mode == "device" or e["process"]["pid"] == pid, e
        assert (e["link"] is not None) == (mode == "device")
    if mode == "run":                   # has ended: each has its end, and its name
        assert of(events, verdict="allow") == {
            (e["destination"]["address"], e["protocol"]) for e in matching(events, event="close")}
    for e in matching(events, verdict="allow", event="connection") + matching(events, event="close"):
        assert (e["destination"]["name"] == "h0.good.example") == (e["rule"] == "good")
    assert not [e for e in events if e["rule"] == "dns-resolver"]


@watched
def test_denied_is_the_default(dnslab, mode):
    for top in ({}, {"log": "denied"}):
        _, events = talk(dnslab, mode, ([OPEN, GOOD], top))
        assert of(events, verdict="allow") == set() and of(events, verdict="deny") == DENIED
        assert questions(events, "allow") == set() and questions(events, "deny")


@watched
def test_none(dnslab, mode):
    _, events = talk(dnslab, mode, ([OPEN, GOOD], {"log": "none"}))
    assert {e["rule"] for e in events} == {"last"}


@watched
def test_a_rule_has_its_own(dnslab, mode):
    """Over what the policy says, in both directions; the default is the policy's."""
    _, events = talk(dnslab, mode, ([OPEN + ", log: all", GOOD + ", log: none"], {}))
    assert of(events, verdict="allow") == ALL and of(events, verdict="deny") == DENIED
    assert questions(events, "allow") == set()
    _, events = talk(dnslab, mode, ([OPEN + ", log: denied", GOOD + ", log: all",
                                     'deny: any, id: rest, log: none'], {"log": "all"}))
    assert of(events, verdict="allow") == NAMED and of(events, verdict="deny") == set()
    assert questions(events, "allow") == ASKED


def test_what_a_program_needs(dnslab):
    """The seed's "log DNS queries to identify required endpoints": audit, all names, all logged."""
    text = policy(GOOD, dns="queries: any", mode="audit", log="all")
    with dnslab.workload_of("run", text) as agent:
        for name in ("h1.good.example", "a.bad.example"):
            for to, _ in agent.do("resolve", name=name)["reply"]:
                assert agent.do("tcp", to=to, port=7)["errno"] is None
        agent.close()
        asked = {e["question"]["name"] for e in matching(agent.events(), event="dns", verdict="allow")}
        assert asked == {"h1.good.example", "a.bad.example"}
        [default] = {e["reason"] for e in matching(agent.events(), event="dns")
                     if e["question"]["name"] == "a.bad.example"}
        assert default == "default"


def test_the_counters_add_up(dnslab):
    dnslab.device.attach(policy(OPEN, GOOD, log="all"))
    dnslab.device.detach()
    with dnslab.workload_of("device", policy(OPEN, GOOD, log="all"), watch=True) as agent:
        agent.do("lookups", names=["h0.good.example"], times=20)
        [t] = json.loads(dnslab.device.sluice("status", "-o", "json").stdout)["targets"]
        assert t["decided"] == t["submitted"] + t["suppressed"] + t["lost"]
        assert t["submitted"] >= 60 and t["over_budget"] == 0
