# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Attacks on names (docs/names.md) by answers: each is first shown to work
where nobody watches, then to fail under `run` and behind a device, in both families; with an
honest lookup beside it."""
import os
import struct

import pytest

import dnsmsg
from attacklab import ASKED, GOAL, families, good, honest, kind, reaches, watched
from dnslab import FOREIGN, GOOD, SAYS, WEB, policy
from dnsmsg import A, AAAA, CNAME

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")


def with_ident(q, f):
    """The forged one first, from the right place: the client takes what it is sent."""
    return [dnsmsg.answer(q, [good(f)], ident=struct.unpack("!H", q[:2])[0] ^ 1)]


def other_question(q, f):
    asked = dnsmsg.name("y.good.example") + struct.pack("!HH", kind(f), 1)
    return [dnsmsg.answer(q, [good(f)], question=asked)]


def other_type(q, f):
    asked = dnsmsg.name(ASKED) + struct.pack("!HH", AAAA if f == 4 else A, 1)
    return [dnsmsg.answer(q, [good(f)], question=asked)]


def other_class(q, f):
    asked = dnsmsg.name(ASKED) + struct.pack("!HH", kind(f), 3)
    return [dnsmsg.answer(q, [good(f)], question=asked)]


def chain(q, f, links):
    names = [ASKED] + [f"l{i}.cdn.example" for i in range(links)]
    records = [dnsmsg.record(a, CNAME, b) for a, b in zip(names, names[1:])]
    return [dnsmsg.answer(q, records + [good(f, owner=names[-1])])]


def loop(q, f):
    here = len(q)
    return [dnsmsg.answer(q, [dnsmsg.record(dnsmsg.pointer(here), kind(f), GOAL[f])])]


def two_loops(q, f):
    """Two pointers at each other: the second stands in the first one's record data."""
    here = len(q)
    return [dnsmsg.answer(q, [dnsmsg.record(dnsmsg.pointer(here + 12), CNAME, dnsmsg.pointer(here)),
                              good(f, owner=dnsmsg.pointer(here + 12))])]


RECORD = {4: 16, 6: 28}
ANSWERS = {
    "wrong txid": with_ident,
    "wrong source address": lambda q, f: [(FOREIGN[f], 53, dnsmsg.answer(q, [good(f)]))],
    "wrong source port": lambda q, f: [(SAYS[f], 5353, dnsmsg.answer(q, [good(f)]))],
    "wrong question": other_question,
    "wrong type": other_type,
    "wrong class": other_class,
    "additional": lambda q, f: [dnsmsg.answer(q, [good(f)], counts=(0, 0, 1))],
    "authority": lambda q, f: [dnsmsg.answer(q, [good(f)], counts=(0, 1, 0))],
    "answer and additional": lambda q, f: [dnsmsg.answer(
        q, [dnsmsg.record(None, kind(f), WEB[f]), good(f)], counts=(1, 0, 1))],
    "unrelated owner": lambda q, f: [dnsmsg.answer(q, [good(f, owner="www.evil.example")])],
    "owner below": lambda q, f: [dnsmsg.answer(q, [good(f, owner="a." + ASKED)])],
    "owner above": lambda q, f: [dnsmsg.answer(q, [good(f, owner="good.example")])],
    "owner is the root": lambda q, f: [dnsmsg.answer(q, [good(f, owner=b"\0")])],
    "owner with a NUL": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner=dnsmsg.labels(b"x\0", b"good", b"example"))])],
    "owner with a dot in a label": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner=dnsmsg.labels(b"x.good", b"example"))])],
    "odd names that are not the same": lambda q, f: [dnsmsg.answer(
        q, [dnsmsg.record(None, CNAME, dnsmsg.labels(b"a\0b", b"cdn")),
            good(f, owner=dnsmsg.labels(b"c\xffd", b"evil"))])],
    "a CNAME of another name": lambda q, f: [dnsmsg.answer(
        q, [dnsmsg.record("z.good.example", CNAME, "cdn.example"), good(f, owner="cdn.example")])],
    "a CNAME behind its address": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner="cdn.example"), dnsmsg.record(None, CNAME, "cdn.example")])],
    "17 CNAMEs": lambda q, f: chain(q, f, 17),
    "a pointer to itself": loop,
    "pointers at each other": two_loops,
    "a pointer past the end": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner=dnsmsg.pointer(0x3fff))])],
    "a pointer forward": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner=dnsmsg.pointer(len(q) + RECORD[f])), dnsmsg.record(ASKED, 16, b"x")])],
    "a label of 64": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner=b"\x40" + b"a" * 64 + b"\0")])],
    "a good record before a bad one": lambda q, f: [dnsmsg.answer(
        q, [good(f), dnsmsg.record(None, kind(f), GOAL[f], size=4000)])],
    "ANCOUNT over what is there": lambda q, f: [dnsmsg.answer(q, [good(f)], counts=(2, 0, 0))],
    "ANCOUNT 0xffff": lambda q, f: [dnsmsg.answer(q, [good(f)], counts=(0xffff, 0, 0))],
    "ANCOUNT under what is there": lambda q, f: [dnsmsg.answer(
        q, [dnsmsg.record(None, kind(f), WEB[f]), good(f)], counts=(1, 0, 0))],
    "129 records": lambda q, f: [dnsmsg.answer(q, [good(f)] * 129)],
    "1,000 records": lambda q, f: [dnsmsg.answer(q, [good(f)] * (1000 if f == 4 else 999))],
    "two questions": lambda q, f: [b"".join([
        q[:2], struct.pack("!5H", 0x8180, 2, 1, 0, 0), q[12:], q[12:], good(f)])],
    "no question": lambda q, f: [q[:2] + struct.pack("!5H", 0x8180, 0, 1, 0, 0) +
                                 dnsmsg.record(ASKED, kind(f), GOAL[f])],
    "not an answer": lambda q, f: [dnsmsg.answer(q, [good(f)], flags=0x0100)],
    "an opcode": lambda q, f: [dnsmsg.answer(q, [good(f)], flags=0x8180 | 4 << 11)],
    "truncated, and a bad record before it": lambda q, f: [dnsmsg.answer(
        q, [dnsmsg.record(None, kind(f), WEB[f], size=4000), good(f)], flags=0x8380)],
    "truncated, of another name": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner="other.good.example")], flags=0x8380)],
    "NXDOMAIN with an address": lambda q, f: [dnsmsg.answer(q, [good(f)], flags=0x8183)],
    "an address of five bytes": lambda q, f: [dnsmsg.answer(
        q, [dnsmsg.record(None, kind(f), dnsmsg.address(GOAL[f]) + b"\0")])],
    "class CH": lambda q, f: [dnsmsg.answer(q, [dnsmsg.record(None, kind(f), GOAL[f], klass=3)])],
    "SIG after it, cut off": lambda q, f: [dnsmsg.answer(q, [good(f)], counts=(2, 0, 0),
                                                         after=b"\xc0\x0c\0\x2e\0\x01")],
}


@watched
@families
def test_answers_that_teach_nothing(dnslab, mode, family):
    """Each is sent as the only answer to a question that was asked. Without a gate the
    client gets it; with one the address is not reached afterwards, whatever was delivered."""
    query = dnsmsg.query(ASKED, kind(family), 0x1234).hex()
    with dnslab.workload_of("none", "") as agent:
        assert reaches(agent, GOAL[family])
        for what, make in ANSWERS.items():
            dnslab.says.handler = lambda q: make(q, family)
            assert agent.do("ask", to=SAYS[family], messages=[query], timeout=1)["reply"], what
    wrong = []
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        honest(dnslab, agent, family, name="before.good.example")
        for what, make in ANSWERS.items():
            dnslab.says.handler = lambda q: make(q, family)
            agent.do("ask", to=SAYS[family], messages=[query], timeout=0.05)
            if reaches(agent, GOAL[family]):
                wrong.append(what)
                break           # it is learned: the rest would show nothing
        honest(dnslab, agent, family, name="after.good.example")
        # and the goal is one that an honest answer does teach
        if not wrong:
            honest(dnslab, agent, family, GOAL[family], ASKED)
    print(f"{mode} IPv{family}: tried {len(ANSWERS)}, learned by {wrong}")
    assert not wrong


# What must teach, and comes near to the above.
NEAR = {
    # over UDP more is a fragment, and devices refuse those before they look
    "as many records as a frame has": lambda q, f: [dnsmsg.answer(
        q, [dnsmsg.record(b"\0", 16, b"")] * 100 + [good(f)])],
    "16 CNAMEs": lambda q, f: chain(q, f, 16),
    "owner in capitals": lambda q, f: [dnsmsg.answer(q, [good(f, owner=ASKED.upper())])],
    "owner uncompressed": lambda q, f: [dnsmsg.answer(q, [good(f, owner=ASKED)])],
    "question in capitals": lambda q, f: [dnsmsg.answer(
        q, [good(f)], question=dnsmsg.name(ASKED.upper()) + struct.pack("!HH", kind(f), 1))],
    "half a pointer": lambda q, f: [dnsmsg.answer(
        q, [good(f, owner=b"\x01x" + dnsmsg.pointer(14))])],
    "another record before": lambda q, f: [dnsmsg.answer(q, [dnsmsg.record(None, 46, b"x" * 40),
                                                             good(f)])],
    "OPT in additional": lambda q, f: [dnsmsg.answer(q, [good(f)], counts=(1, 0, 1),
                                                     after=dnsmsg.opt())],
    "a mail server behind": lambda q, f: [dnsmsg.answer(q, [good(f), dnsmsg.record(
        None, 15, b"\0\x01" + dnsmsg.name("mail.example"))])],
    "a TTL of 2^31": lambda q, f: [dnsmsg.answer(q, [good(f, ttl=1 << 31)])],
    "a TTL of 0": lambda q, f: [dnsmsg.answer(q, [good(f, ttl=0)])],
}


@watched
@families
@pytest.mark.parametrize("what", NEAR)
def test_answers_that_teach(dnslab, mode, family, what):
    query = dnsmsg.query(ASKED, kind(family), 0x1234).hex()
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        assert not reaches(agent, GOAL[family])
        dnslab.says.handler = lambda q: NEAR[what](q, family)
        assert agent.do("ask", to=SAYS[family], messages=[query])["reply"]
        assert reaches(agent, GOAL[family])


@watched
@families
@pytest.mark.parametrize("records, learned", [(1, True), (128, True), (129, False), (1000, False)])
def test_many_records_over_tcp(dnslab, mode, family, records, learned):
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    segment = (struct.pack("!H", len(query)) + query).hex()
    for m in ("none", mode):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            dnslab.says.handler = lambda q: [dnsmsg.answer(
                q, [dnsmsg.record(b"\0", 16, b"")] * (records - 1) + [good(family)])]
            said = agent.do("ask_stream", to=SAYS[family], segments=[segment], timeout=0.5)
            assert bool(said["reply"]) == (m == "none" or learned)
            assert reaches(agent, GOAL[family]) == (m == "none" or learned)


@watched
@families
@pytest.mark.parametrize("n", [64, 65])
def test_addresses_of_one_answer(dnslab, mode, family, n):
    """64 of an answer are learned; the 65th is not, and that is told."""
    def address(i):
        return f"203.0.113.{i + 1}" if family == 4 else f"2001:db8:1::{i + 1:x}"
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    segment = (struct.pack("!H", len(query)) + query).hex()
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        dnslab.says.handler = lambda q: [dnsmsg.answer(
            q, [dnsmsg.record(None, kind(family), address(i)) for i in range(n)])]
        assert agent.do("ask_stream", to=SAYS[family], segments=[segment])["reply"]
        assert reaches(agent, address(0)) and reaches(agent, address(63))
        assert not reaches(agent, address(64))
        told = dnslab.device.sluice("status").stdout if mode == "device" else agent.close().err
        assert ("of allowed names are not learned" in told) == (n == 65), told


@watched
@families
def test_an_answer_counts_once(dnslab, mode, family):
    """The second one, late, from the right place: neither delivered nor learned."""
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    late = dnsmsg.answer(query, [good(family)])
    for m in ("none", mode):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            assert agent.do("ask", to=SAYS[family], messages=[query.hex()], hold="s")["reply"]
            dnslab.says.send(family, late)
            heard = agent.do("hear", use="s", timeout=0.3)["reply"]
            assert heard == ([late.hex()] if m == "none" else [])
            if m != "none":
                assert not reaches(agent, GOAL[family])


@watched
@families
def test_an_answer_that_nobody_asked_for(dnslab, mode, family):
    """From the right resolver to the right port, for another allowed name."""
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    forged = dnsmsg.answer(dnsmsg.query("never.good.example", kind(family), 0x4321), [good(family)])
    for m in ("none", mode):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            agent.do("ask", to=SAYS[family], messages=[query.hex()], hold="s")
            dnslab.says.send(family, forged)
            assert bool(agent.do("hear", use="s", timeout=0.3)["reply"]) == (m == "none")
            if m != "none":
                assert not reaches(agent, GOAL[family])
                honest(dnslab, agent, family)


@watched
@families
def test_rebinding(dnslab, mode, family):
    """An allowed name that suddenly is the metadata service's, or a private machine's."""
    goals = {4: ["169.254.169.254", "10.0.0.7"], 6: ["fd00:ec2::254"]}[family]
    query = dnsmsg.query(ASKED, kind(family), 0x1234).hex()
    with dnslab.workload_of("none", "") as agent:
        assert all(reaches(agent, to) for to in goals)
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        for to in goals:
            dnslab.says.handler = lambda q: [dnsmsg.answer(
                q, [dnsmsg.record(None, kind(family), to, ttl=0)])]
            agent.do("ask", to=SAYS[family], messages=[query])
            assert not reaches(agent, to), to
        honest(dnslab, agent, family)
