# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Attacks on names (docs/names.md) by packets of one's own making: each is first shown to work
where nobody watches, then to fail under `run` and behind a device, in both families; with an
honest lookup beside it."""
import os
import struct

import pytest

import client
import dnsmsg
from attacklab import (
    ASKED, GOAL, WORKLOAD, families, fresh_ident, good, honest, inject, ip_packet, kind,
    needs_multipath, q, reaches, watched)
from dnslab import GOOD, REAL, SAYS, policy
from lab import total, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")


@families
def test_an_answer_over_loopback(dnslab, family):
    """Whoever may send frames on lo forges the resolver: its question went another way."""
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    for m in ("none", "run"):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            dnslab.says.handler = lambda q: []
            agent.do("ask", to=SAYS[family], messages=[query.hex()], hold="s", timeout=0.1)
            forged = dnsmsg.answer(query, [good(family)])
            inject(dnslab, dnslab.workload, "lo", ip_packet(
                SAYS[family], WORKLOAD[family], forged, dport=dnslab.says.peers[family][1]))
            heard = agent.do("hear", use="s", timeout=0.5)["reply"]
            assert heard == ([forged.hex()] if m == "none" else [])
            if m != "none":
                assert not reaches(agent, GOAL[family])
                honest(dnslab, agent, family)


@families
def test_a_resolver_on_this_machine(dnslab, family):
    """At an address of the workload's own, which is reached over lo: it does teach."""
    own = WORKLOAD[family]
    text = policy(GOOD).replace(f'"{REAL[family]}"', f'"{own}"')
    with dnslab.bound_in(dnslab.workload, own) as s, dnslab.workload_of("run", text) as agent:
        query = dnsmsg.query(ASKED, kind(family), 0x1234)
        agent.send("ask", to=own, messages=[query.hex()])
        asked, peer = s.recvfrom(512)
        s.sendto(dnsmsg.answer(asked, [good(family)]), peer)
        assert agent.receive()["reply"]
        assert reaches(agent, GOAL[family])


@families
@pytest.mark.parametrize("where", ["here", "elsewhere", "tun"])
def test_a_resolver_of_ones_own(dnslab, family, where):
    """A command that may bind port 53 of the resolver's address, or that makes a network namespace
    and holds any address there, answers its own question: that says nothing about any name."""
    to = WORKLOAD[family] if where == "here" else SAYS[family]
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    answer = dnsmsg.answer(query, [good(family)])
    text = policy(GOOD).replace(f'"{REAL[family]}"', f'"{WORKLOAD[family]}"')
    dnslab.sysctl(dnslab.workload, "net.ipv4.ip_unprivileged_port_start=0")
    try:
        for m in ("none", "run"):
            with dnslab.workload_of(m, text) as agent:
                got = agent.do("answers_itself", where=where, to=to, message=query.hex(),
                               answer=answer.hex())["reply"]
                assert got == answer.hex()
                assert reaches(agent, GOAL[family]) == (m == "none")
                if m != "none":
                    honest(dnslab, agent, family)
    finally:
        dnslab.sysctl(dnslab.workload, "net.ipv4.ip_unprivileged_port_start=1024")


@families
def test_a_resolver_of_ones_own_by_mptcp(dnslab, family):
    """The sockets that send for an MPTCP one are the kernel's: no hook sees in which namespace they
    are made. So a command makes no MPTCP socket but at home."""
    needs_multipath()
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    answer = dnsmsg.answer(query, [good(family)])
    for m in ("none", "run"):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            got = agent.do("answers_itself", where="tun mptcp", to=SAYS[family],
                           message=query.hex(), answer=answer.hex())["reply"]
            assert reaches(agent, GOAL[family]) == (m == "none")
            assert got == (answer if m == "none" else b"refused").hex()
            if m != "none":
                honest(dnslab, agent, family)


DESTINATION_OPTIONS = b"\x11\0\x01\x04\0\0\0\0"         # next header UDP, PadN


@watched
def test_destination_options(dnslab, mode):
    """IPv6: what stands between hides neither protocol nor question."""
    for m in ("none", mode):
        refused, allowed = fresh_ident() + q("opt.evil.example")[2:], fresh_ident() + q()[2:]
        options = ["--keep-privileges"] if m == "run" else []
        with dnslab.workload_of(m, policy(GOOD), options=options) as agent:
            for message in (refused, allowed):
                packet = ip_packet("2001:db8::1", SAYS[6], message, sport=4242,
                                   before=DESTINATION_OPTIONS)
                agent.do("raw_packet", to=SAYS[6], packet=packet.hex())
            assert m != "none" or until(lambda: allowed in dnslab.says.asked)
            dnslab.wire.settle()
            assert (refused in dnslab.says.asked) == (m == "none")


@watched
@families
@pytest.mark.parametrize("fragments", ["deny", "first-decides"])
def test_a_question_in_fragments(dnslab, mode, family, fragments):
    """The first fragment has all of the question, the second one OPT's last bytes."""
    for m in ("none", mode):
        message = fresh_ident() + q("frag.evil.example", tail=dnsmsg.opt(
            b"\0\x0a\0\x30" + b"c" * 48))[2:]
        options = ["--keep-privileges"] if m == "run" else []
        with dnslab.workload_of(m, policy(GOOD, fragments=fragments), options=options) as agent:
            body = client.datagram(WORKLOAD[family], SAYS[family], 4243, 53, message)
            for part, begin, more in ((body[:56], 0, True), (body[56:], 56, False)):
                agent.do("raw_packet", to=SAYS[family],
                         packet=fragment(family, part, begin, more).hex())
            assert m != "none" or until(lambda: message in dnslab.says.asked)
            dnslab.wire.settle()
            assert (message in dnslab.says.asked) == (m == "none")


def fragment(family, part, begin, more):
    source, to = dnsmsg.address(WORKLOAD[family]), dnsmsg.address(SAYS[family])
    if family == 6:
        head = struct.pack("!BBHI", 17, 0, begin | more, 0x77)
        return struct.pack("!IHBB", 6 << 28, 8 + len(part), 44, 64) + source + to + head + part
    packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(part), 0x77, more << 13 | begin // 8,
                         64, 17, 0, source, to)
    return packet[:10] + struct.pack("!H", client.checksum(packet)) + packet[12:] + part


@watched
@families
def test_a_datagram_shorter_than_its_packet(dnslab, mode, family):
    """Bytes behind the UDP length are read by nobody, but leave."""
    for m in ("none", mode):
        message = fresh_ident() + q("short.good.example")[2:]
        options = ["--keep-privileges"] if m == "run" else []
        with dnslab.workload_of(m, policy(GOOD), options=options) as agent:
            packet = ip_packet(WORKLOAD[family], SAYS[family], message + b"secret-bytes",
                               sport=4244, length=8 + len(message))
            agent.do("raw_packet", to=SAYS[family], packet=packet.hex())
            assert m != "none" or until(lambda: message in dnslab.says.asked)
            dnslab.wire.settle()
            assert (message in dnslab.says.asked) == (m == "none")


@families
def test_overlapping_segments(dnslab, family):
    """A guest whose own TCP lies: each segment is a whole allowed question, but the second
    begins, for the resolver, in the middle: its OPT's bytes are a question of their own."""
    inner = q("t.evil.ex")
    hidden = struct.pack("!H", len(inner)) + inner
    for port, m in ((4300, "none"), (4301, "device")):
        hidden = struct.pack("!H", len(inner)) + fresh_ident() + inner[2:]
        first = q("first.good.example")
        first = struct.pack("!H", len(first)) + first
        second = q("second.good.example", tail=dnsmsg.opt(
            b"\0\x0a" + struct.pack("!H", len(hidden)) + hidden))
        second = struct.pack("!H", len(second)) + second
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            said = agent.do("liar", source=WORKLOAD[family], to=SAYS[family], sport=port,
                            segments=[[0, first.hex()],
                                      [len(first) - (len(second) - len(hidden)), second.hex()]])
            assert said["errno"] is None, said
            assert m != "none" or until(lambda: hidden[2:] in dnslab.says.asked)
            dnslab.wire.settle()
            assert (hidden[2:] in dnslab.says.asked) == (m == "none")


@families
@pytest.mark.parametrize("decoy", [False, True])
def test_multipath(dnslab, family, decoy):
    """By MPTCP each segment says where in the whole its data belongs: both are whole allowed
    questions, but for the resolver all is old that stands before a question in OPT's bytes."""
    needs_multipath()
    first = framed("first.good.example")
    for i, m in enumerate(("none", "device")):
        inner = fresh_ident() + q("t.evil.ex")[2:]
        hidden = struct.pack("!H", len(inner)) + inner
        second = q("second.good.example", tail=dnsmsg.opt(
            b"\0\x0a" + struct.pack("!H", len(hidden)) + hidden))
        both = first + struct.pack("!H", len(second)) + second
        begin = len(both) - len(hidden)
        more = {"plain_decoy": True} if decoy else {}
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            said = agent.do("liar", source=WORKLOAD[family], to=SAYS[family], **more,
                            sport=4302 + i + 2 * decoy,
                            segments=[[0, first.hex()], [len(first), both[len(first):].hex()]],
                            places=[[-begin, 0, len(both)]] * 2)
            assert said["errno"] in (None, "timeout"), said
            assert m != "none" or until(lambda: inner in dnslab.says.asked)
            dnslab.wire.settle()
            assert (inner in dnslab.says.asked) == (m == "none")
            honest(dnslab, agent, family)


def framed(name):
    message = q(name)
    return struct.pack("!H", len(message)) + message


BAD_SUM = [24, 0x5a5a]      # it passes, and never arrives


def lies(how, a, b):
    """Two segments' messages -> what is sent, and what the resolver then reads."""
    return {
        "again": ([[0, a.hex(), *BAD_SUM], [0, a.hex()], [len(a), b.hex()]], b[2:]),
        "other-bytes": ([[0, a.hex(), *BAD_SUM], [0, b.hex()]], b[2:]),
        "gap": ([[len(a), b.hex()], [0, a.hex()]], b[2:]),
        # the last byte is taken out, and the next segment's first one is in its place
        "urgent": ([[0, a.hex(), 24 + 32], [len(a), b.hex()]], a[2:-1] + b[:1]),
        # a reset that the resolver does not believe, and another beginning
        "begun-anew": ([[0, a.hex(), *BAD_SUM], [90000, "", 4], [2, "", 2], [0, b.hex()]], b[2:]),
    }[how]


@families
@pytest.mark.parametrize("how", ["again", "other-bytes", "gap", "urgent", "begun-anew"])
def test_a_resolver_reads_what_was_judged(dnslab, family, how):
    """Only whole allowed questions: what passes is read by the resolver as it was judged, so
    what the resolver may put together otherwise does not pass."""
    for m in ("none", "device"):
        a, b = (framed(f"{w}{fresh_ident().hex()}.good.example") for w in ("aa", "bb"))
        segments, read = lies(how, a, b)
        passes = m == "none" or how == "again"
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            said = agent.do("liar", source=WORKLOAD[family], to=SAYS[family],
                            sport=4310 + int.from_bytes(fresh_ident(), "big") % 1000,
                            segments=segments)
            assert said["errno"] is None, said
            assert not passes or until(lambda: read in dnslab.says.asked)
            dnslab.wire.settle()
            assert (read in dnslab.says.asked) == passes


def events_from(dnslab, port):
    """Of these source ports: TCP of earlier tests is still sent again."""
    return [e for e in dnslab.device.events() if e["direction"] == "egress" and
            port <= (e["source"]["port"] or 0) < port + 100]


@families
def test_what_a_device_refuses_over_tcp(dnslab, family):
    """Whatever the reason is, the connection is reset: it does not hang. One event each."""
    text = policy(GOOD, limits="{dns: 2/m}")
    cases = [("dns-name", q("x.evil.example")), ("dns-type", q(qtype=dnsmsg.TXT)),
             ("dns-malformed", q(ar=0, tail=b"xx")), (None, q()), ("dns-rate", q()),
             ("dns-rate", q())]
    with dnslab.workload_of("device", text, watch=True) as agent:
        for i, (reason, message) in enumerate(cases):
            segment = struct.pack("!H", len(message)) + message
            said = agent.do("ask_stream", to=SAYS[family], segments=[segment.hex()], timeout=1,
                            bind=[WORKLOAD[family], 21000 + i])
            assert said["errno"] == ("ECONNRESET" if reason else None), (reason, said)
        want = [reason for reason, _ in cases if reason]
        assert until(lambda: total(events_from(dnslab, 21000)) == len(want))
        got = [e["reason"] for e in events_from(dnslab, 21000) for _ in range(e["count"])]
        assert sorted(got) == sorted(want)


@families
def test_a_retransmission_on_a_device_is_one_attempt(dnslab, family):
    """on_deny: drop. The kernel sends the segment again and again."""
    message, port = q("again.evil.example"), 22000 + 100 * family
    segment = struct.pack("!H", len(message)) + message
    with dnslab.workload_of("device", policy(GOOD, on_deny="drop"), watch=True) as agent:
        agent.do("ask_stream", to=SAYS[family], segments=[segment.hex()], timeout=1.5,
                 bind=[WORKLOAD[family], port])
        agent.do("ask", to=SAYS[family], messages=[q("end.evil.example").hex()], timeout=0.1,
                 bind=[WORKLOAD[family], port + 1])
        assert until(lambda: len(events_from(dnslab, port)) == 2)
        assert total(events_from(dnslab, port)) == 2
