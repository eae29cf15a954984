# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What is remembered of a workload's flows: for whom it speaks, how long, and that
it is nobody else's. On a tap and on a veth."""
import os

import pytest
from scapy.compat import raw
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from device_cases import eth, ip
from devicelab import ANOTHER4, ANOTHER6, ANOTHER_MAC, BINDING, FENCE, accounts, datagram, rules
from lab import ECHO, PEER4, PEER6, WAIT
from peerframes import SPORT, answer, comes, guest, inward, peer

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
PEERS = rules(f'allow: [{PEER4}, "{PEER6}"]')
FAR = rules(f'allow: [{PEER4}, "{PEER6}", 198.51.100.0/24, "2001:db8:1::/48"]')
ANOTHER_BINDING = ["--mac", ANOTHER_MAC, "--address", ANOTHER4, "--address", ANOTHER6]


# ---- real connections ----

@KINDS
@FAMILIES
def test_unsolicited_and_inbound(device_labs, kind, v6):
    """A client outside gets in without Sluice, not with it, and again where `inbound`
    lists its port; answers then leave although no rule allows them."""
    lab = device_labs(kind, "real", real=True)
    to, agent, client = guest(v6), lab.agent(), lab.agent(lab.peer)
    lab.configure(PEERS, *BINDING)
    listed = rules("allow: 203.0.113.1", inbound='[{from: any, ports: 2200, protocol: tcp}]')
    agent.do("listen", to="::" if v6 else "0.0.0.0", port=2200, hold="s")
    agent.do("listen", to="::" if v6 else "0.0.0.0", port=2201, hold="t")
    for policy, port, served in ((None, 2200, True), (PEERS, 2200, False), (listed, 2200, True),
                                 (listed, 2201, False)):
        lab.guard.detach(lab.device) if policy is None else lab.guard.attach(
            lab.device, policy, *BINDING)
        lab.last_config = None
        agent.send("accept", use="s" if port == 2200 else "t", timeout=WAIT if served else 0.7)
        result = client.do("tcp", to=to, port=port, timeout=WAIT if served else 0.6)
        assert (result["reply"] == "hello") == served, result
        assert (agent.receive()["reply"] == "hello") == served
    agent.close()
    client.close()


@KINDS
@FAMILIES
def test_a_new_policy_judges_live_flows(device_labs, kind, v6):
    """The connection that the new policy denies ends at once, with one event; the one
    that it allows does not notice."""
    lab = device_labs(kind, "real", real=True)
    agent, far = lab.agent(), "2001:db8:1::7" if v6 else "198.51.100.7"
    lab.configure(FAR, *BINDING)
    family = 10 if v6 else 2
    for name, to in (("near", peer(v6)), ("far", far)):
        agent.do("open_socket", family=family, type=1, hold=name)
        assert agent.do("use", use=name, to=to, port=ECHO)["reply"] == "hello"
    lab.configure(PEERS, *BINDING)
    start = lab.mark()
    assert agent.do("use", use="near")["reply"] == "hello"
    cut = agent.do("use", use="far", timeout=5)
    assert cut["errno"] in ("ECONNRESET", "ECONNREFUSED", "EPIPE") and cut["ms"] < 1000, cut
    event, = lab.fence(start)
    assert (event["reason"], event["destination"]["address"]) == ("default", far)
    assert event["destination"]["port"] == ECHO and event["count"] == 1
    assert agent.do("use", use="near")["reply"] == "hello"
    agent.close()


@KINDS
@FAMILIES
def test_a_flow_comes_back_with_its_policy(device_labs, kind, v6):
    """UDP: denied under one policy, allowed again under the next."""
    lab = device_labs(kind, "frames")
    to = "2001:db8:1::8" if v6 else "198.51.100.8"
    for policy, passes in ((FAR, True), (PEERS, False), (FAR, True)):
        lab.configure(policy, *BINDING)
        start, mark, position = lab.mark(), os.urandom(8), lab.sink.position()
        lab.send(datagram(to, ECHO, mark, SPORT))
        lab.send(datagram(to, ECHO, mark, SPORT))
        lab.probe(v6)
        assert len(lab.sink.since(position, lambda f, m=mark: m in f and f[6:12] != b"")) == \
            (2 if passes else 0)
        # What follows on a cut flow is denied without an event.
        assert [e["reason"] for e in lab.fence(start)] == ([] if passes else ["default"])


@KINDS
@FAMILIES
def test_a_new_policy_goes_on_reading_questions(device_labs, tally, kind, v6):
    """The packet by which a flow to the resolver is judged again is read like any other:
    what is no question does not pass because the policy was loaded a moment ago."""
    lab = device_labs(kind, "frames")
    policy = rules(f"deny: {FENCE}", "allow: any", dns=f'{{resolvers: ["{peer(v6)}"]}}')
    lab.configure(policy, *BINDING)
    position = lab.sink.position()
    lab.send(raw(eth() / ip(v6) / UDP(sport=SPORT, dport=53) / DNS(
        rd=1, qd=DNSQR(qname="a-question.example"))))
    assert lab.sink.wait(b"a-question", position)
    lab.attach_again()
    start, mark = lab.mark(), os.urandom(8)
    lab.send(datagram(peer(v6), 53, mark, SPORT))
    lab.probe(v6)
    arrived = lab.sink.since(position, mark)
    tally(not arrived)
    assert not arrived, "what is no question passed"
    assert [e["reason"] for e in lab.fence(start)] == ["dns-malformed"]


# ---- one workload and another ----

def flows(to, count, **fields):
    """Datagrams of as many flows."""
    for i in range(count):
        yield datagram(to, 10000 + i // 40, b"x", 20000 + i % 40, **fields)


@KINDS
def test_a_full_flow_table_is_its_owners(device_labs, kind, capsys):
    """Who fills its own table is denied new flows, keeps the old ones, and takes no
    place from another workload."""
    lab = device_labs(kind, "frames")
    lab.configure(PEERS, *BINDING)
    lab.send(datagram(PEER4, ECHO, b"first", SPORT))
    nowhere = "192.0.2.200"
    with lab.another("flood0") as port:
        lab.guard.attach("flood0", rules("allow: any"), *ANOTHER_BINDING)
        own = {"source": ANOTHER4, "mac_source": ANOTHER_MAC}
        port.send(datagram(PEER4, 5000, b"old", SPORT, **own))
        for frame in flows(nowhere, 24000, **own):
            port.send(frame)
        flooded = lab.guard.status("flood0")
        with capsys.disabled():
            print(f"\n{kind}: {flooded['allowed']} flows opened, {flooded['denied']} denied")
        assert flooded["allowed"] + flooded["denied"] >= 24001 and flooded["denied"] > 0
        assert flooded["allowed"] > 8000 and accounts(flooded)
        # Its old flow is still there: an answer of it passes, another does not.
        there = {"to": ANOTHER4, "mac": ANOTHER_MAC}
        assert comes(lab, answer(False, b"to-old", 5000, **there), b"to-old", port, True)
        assert not comes(lab, answer(False, b"to-new", 5001, **there), b"to-new", port)
        # The other workload: its flow is there, and there is room for more.
        assert comes(lab, answer(False, b"to-first"), b"to-first", expected=True)
        position = lab.sink.position()
        lab.send(datagram(PEER4, 5002, b"another-flow"))
        assert lab.sink.wait(b"another-flow", position)


@KINDS
@FAMILIES
def test_a_forged_source_opens_nothing_for_its_owner(device_labs, tally, kind, v6):
    """A workload without a binding sends with another's address. The peer's answer,
    to that other, comes in without Sluice on it, and not with it."""
    lab = device_labs(kind, "frames")
    lab.configure(PEERS, *BINDING)
    with lab.another("forger0") as port:
        lab.guard.attach("forger0", rules("allow: any"))
        position = lab.sink.position()
        port.send(datagram(peer(v6), 5003, b"forged", SPORT + 1, mac_source=ANOTHER_MAC))
        assert lab.sink.wait(b"forged", position), "the forger's own policy lets it out"
        start = lab.mark()
        got = comes(lab, answer(v6, b"for-victim", 5003, SPORT + 1), b"for-victim")
        tally(not got)
        assert not got
        # (beside the peer's own: nobody listens there, and it says so to the victim)
        assert [e["reason"] for e in lab.fence(start) if e["protocol"] == "udp"] == \
            ["unsolicited"]
    lab.guard.detach(lab.device)
    lab.last_config = None
    assert comes(lab, answer(v6, b"for-victim", 5003, SPORT + 1), b"for-victim", expected=True)


# ---- TCP: whose turn it is ----

def segment(v6, flags, sport, mark=b"", out=True):
    if out:
        return raw(eth() / ip(v6) / TCP(sport=sport, dport=ECHO, flags=flags) / Raw(mark))
    return inward(v6, TCP(sport=ECHO, dport=sport, flags=flags) / Raw(mark))


@KINDS
@FAMILIES
@pytest.mark.parametrize("end", ["reset", "fin"])
def test_a_closed_connection_admits_no_new_one(device_labs, tally, kind, v6, end):
    """The 5-tuple of a connection that has ended: its last packets pass, a new SYN from
    outside is unsolicited, and one from inside is judged anew."""
    lab = device_labs(kind, "frames")
    sport = 30000 + os.getpid() % 1000 + (1000 if end == "fin" else 0)
    lab.configure(FAR, *BINDING, once=["unsolicited"])
    lab.send(segment(v6, "S", sport))
    lab.probe()     # what the real peer answers passes before
    if end == "reset":
        lab.send(segment(v6, "R", sport))
    else:
        lab.send(segment(v6, "FA", sport))
        assert comes(lab, segment(v6, "FA", sport, b"last-fin", False), b"last-fin",
                     expected=True)
    assert comes(lab, segment(v6, "A", sport, b"last-ack", False), b"last-ack", expected=True)
    start = lab.mark()
    got = comes(lab, segment(v6, "S", sport, b"new-syn", False), b"new-syn")
    tally(not got)
    assert not got
    assert [e["reason"] for e in lab.fence(start)] == ["unsolicited"]
    lab.configure(rules(f"allow: [{PEER4}:9]"), *BINDING)
    start = lab.mark()
    lab.send(segment(v6, "S", sport, b"again"))
    assert [(e["reason"], e["destination"]["port"]) for e in lab.fence(start)] == \
        [("default", ECHO)]
