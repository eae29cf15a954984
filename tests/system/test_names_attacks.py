# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Attacks on names (docs/names.md): each is first shown to work where nobody watches, then
to fail under `run` and behind a device, in both families; with an honest lookup beside it."""
import errno
import itertools
import os
import socket
import struct

import pytest

import client
import dnsmsg
from dnslab import FOREIGN, GOOD, REAL, SAYS, WEB, policy
from dnsmsg import A, AAAA, CNAME
from lab import MPTCP, WORKLOAD4, WORKLOAD6, matching, total, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")

watched = pytest.mark.parametrize("mode", ["run", "device"])
families = pytest.mark.parametrize("family", [4, 6])

GOAL = {4: "203.0.113.7", 6: "2001:db8:1::bad"}         # what an attacker wants to be learned
ASKED = "x.good.example"


WORKLOAD = {4: WORKLOAD4, 6: WORKLOAD6}


def kind(family):
    return A if family == 4 else AAAA


def reaches(agent, to):
    return agent.do("tcp", to=to, port=7, timeout=0.25)["errno"] is None


def honest(dnslab, agent, family, to=None, name="honest.good.example"):
    """The paired allow: a plain lookup works, and its address is reached."""
    to = to or WEB[family]
    dnslab.says.handler = lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, kind(family), to)])]
    query = dnsmsg.query(name, kind(family), 0x7777).hex()
    got = agent.do("ask", to=SAYS[family], messages=[query])["reply"]
    assert got and dnsmsg.read_addresses(bytes.fromhex(got[0])) == [to]
    assert reaches(agent, to)


# ---- answers ----

def good(family, ttl=60, owner=None):
    return dnsmsg.record(owner, kind(family), GOAL[family], ttl)


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


# ---- questions ----

IDENTS = itertools.count(0x3000)


def fresh_ident():
    return struct.pack("!H", next(IDENTS) & 0xffff)


def tunnel(i):
    return f"0ajbaya82oeadagmeyfaxe{i}ukkajhsd7adhgasjdhe3r.tunnel.evil.example"


def q(name="x.good.example", qtype=A, **kw):
    return dnsmsg.query(name, qtype, 0x2222, **kw)


BAD = {
    "a suffix that is not one": q("evilgood.example"),
    "the suffix itself": q("good.example"),
    "the name as a label of another": q("x.good.example.evil.org"),
    "iodine": q(tunnel(1)),
    "iodine, NULL": q(tunnel(2), dnsmsg.NULL),
    "a NUL in a label": q(dnsmsg.labels(b"evil\0", b"good", b"example")),
    "a dot in a label": q(dnsmsg.labels(b"evil.org.x", b"good", b"example")),
    "good.example in one label": q(dnsmsg.labels(b"x.good.example")),
    "a blank in a label": q(dnsmsg.labels(b"a b", b"good", b"example")),
    "a label of 64": q(b"\x40" + b"a" * 64 + b"\x04good\x07example\0"),
    "a pointer": q(b"\x01x\xc0\x0c"),
    "a label of no length": q(b"\x01x\0\x04good\x07example\0"),
    "too long a name": q(dnsmsg.labels(*[b"a" * 60] * 4, b"good", b"example")),
    "no end": q()[:-7],
    "the root": q(b"\0"),
    "bytes behind": q(ar=0, tail=b"secret"),
    "one byte behind": q(ar=0, tail=b"\0"),
    "OPT with bytes behind": q(tail=dnsmsg.opt() + b"x"),
    "OPT with 65 bytes": q(tail=dnsmsg.opt(b"\0\x0a\0\x3d" + b"a" * 61)),
    "OPT that is longer than said": q(tail=dnsmsg.opt(b"\0\x0a\0\x08" + b"a" * 8)[:-1]),
    "OPT that is not announced": q(ar=0, tail=dnsmsg.opt()),
    "OPT announced, not there": q(ar=1),
    "two OPT": q(ar=2, tail=dnsmsg.opt() * 2),
    "TSIG in OPT's place": q(tail=dnsmsg.record(b"\0", 250, b"x" * 20)),
    "two questions": q(qd=2, ar=0, tail=dnsmsg.name("evil.example") + b"\0\x01\0\x01"),
    "no question": q(qd=0),
    "an answer in a question": q(an=1, ar=0, tail=dnsmsg.record(None, A, "192.0.2.7")),
    "authority in a question": q(ns=1, ar=0, tail=dnsmsg.record(None, A, "192.0.2.7")),
    "QR": q(flags=0x8100),
    "an update": q(flags=5 << 11),
    "TC": q(flags=0x0300),
    "class CH": q(klass=3),
    "class ANY": q(klass=255),
    "TXT": q(qtype=dnsmsg.TXT),
    "NULL": q(qtype=dnsmsg.NULL),
    "ANY": q(qtype=dnsmsg.ANY),
    "PTR": q(qtype=dnsmsg.PTR),
    "AXFR": q(qtype=252),
    "type 0": q(qtype=0),
    "type 65535": q(qtype=65535),
    "eleven bytes": q()[:11],
    "the header alone": q()[:12],
    "nothing": b"",
}


@watched
@families
@pytest.mark.parametrize("how", ["udp", "tcp"])
def test_questions_that_do_not_leave(dnslab, mode, family, how):
    def ask(agent, message, wait):
        if how == "udp":
            return agent.do("ask", to=SAYS[family], messages=[message.hex()], timeout=wait)
        segment = struct.pack("!H", len(message)) + message
        return agent.do("ask_stream", to=SAYS[family], segments=[segment.hex()], timeout=wait)

    def arrives(agent, message, wait):
        """Under an id of its own: what TCP still has of an earlier test may come later."""
        message = fresh_ident() + message[2:] if message else b""
        before = len(dnslab.says.asked)
        ask(agent, message, wait)
        return until(lambda: message in dnslab.says.asked[before:], wait)

    with dnslab.workload_of("none", "") as agent:
        for what, message in BAD.items():
            assert arrives(agent, message, 0.05) or arrives(agent, message, 0.5), what
    wrong = []
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        for what, message in BAD.items():
            if arrives(agent, message, 0.05):
                wrong.append(what)
        for tail in (b"", dnsmsg.opt(), dnsmsg.opt(b"\0\x0a\0\x3c" + b"c" * 60)):
            message = q(tail=tail)
            assert arrives(agent, message, 2.0)
        assert arrives(agent, q("X.gOOd.eXAMPLE"), 2.0)
        assert arrives(agent, q(b"\x3f" + b"a" * 63 + b"\x04good\x07example\0"), 2.0)
    print(f"{mode} {how} IPv{family}: tried {len(BAD)}, left {wrong}")
    assert not wrong


@watched
@families
@pytest.mark.parametrize("to, port", [(FOREIGN, 53), (FOREIGN, 853), (SAYS, 853)])
def test_other_resolvers(dnslab, mode, family, to, port):
    """A foreign one; DNS over TLS, also of one's own. Even if a rule allows all."""
    for m in ("none", mode):
        message = fresh_ident() + q("leaves.good.example")[2:]
        with dnslab.workload_of(m, policy(GOOD, "allow: any, id: all")) as agent:
            said = agent.do("ask", to=to[family], port=port, messages=[message.hex()], timeout=0.3)
            assert bool(said["reply"]) == (m == "none"), said
            assert (message in dnslab.says.asked) == (m == "none")


@watched
@families
def test_dns_over_tls_by_rules(dnslab, mode, family):
    """dot: rules. What a rule allows passes, and teaches nothing; port 53 is the gate's still."""
    message = fresh_ident() + q("leaves.good.example")[2:]
    forged = dnsmsg.answer(message, [good(4)])
    for rules, passes in (((GOOD,), False), ((GOOD, "allow: any:853, id: dot"), True)):
        with dnslab.workload_of(mode, policy(*rules, dns="dot: rules")) as agent:
            dnslab.says.handler = lambda _: [forged]
            for to in (SAYS, FOREIGN):
                said = agent.do("ask", to=to[family], port=853, messages=[message.hex()],
                                timeout=0.3)
                assert said["reply"] == [forged.hex()] if passes else not said["reply"], said
            assert not reaches(agent, GOAL[4])
            said = agent.do("ask", to=FOREIGN[family], messages=[message.hex()], timeout=0.3)
            assert not said["reply"], said
            honest(dnslab, agent, family)


@watched
@families
def test_a_super_frame(dnslab, mode, family):
    """UDP_SEGMENT: the second question of one skb is a refused one of the same size."""
    first, second = q("aaaaaa.good.example"), q("secret.evil.example")
    assert len(first) == len(second)
    for m in ("none", mode):
        before = len(dnslab.says.asked)
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            agent.do("super_frame", to=SAYS[family], messages=[first.hex(), second.hex()],
                     timeout=0.3)
            assert (second in dnslab.says.asked[before:]) == (m == "none")
            assert agent.do("ask", to=SAYS[family], messages=[first.hex()])["reply"]


@watched
@families
@pytest.mark.parametrize("how", ["more", "sendfile", "zerocopy"])
def test_questions_in_pieces(dnslab, mode, family, how):
    """MSG_MORE, sendfile() and MSG_ZEROCOPY: what is judged is what is sent, wherever the bytes
    lie. On a device they are copied; of a command a question is refused that is not in the
    kernel's buffer as a whole."""
    for m in ("none", mode):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            for name, allowed in (("pieces.good.example", True), ("pieces.evil.example", False)):
                before = len(dnslab.says.asked)
                message = q(name)
                agent.do("pieces", to=SAYS[family], message=message.hex(), how=how, cut=16,
                         timeout=0.3)
                arrived = message in dnslab.says.asked[before:]
                assert arrived == (m == "none" or (m == "device" and allowed))


@watched
@families
@pytest.mark.parametrize("stream", [False, True])
def test_a_question_that_changes_when_it_was_judged(dnslab, mode, family, stream):
    """Its bytes lie in a page that the workload writes to. Nobody reads what arrives before that
    is done."""
    one, two = q("same.good.example"), q("same.evil.example")
    one, two = ((struct.pack("!H", len(m)) + m if stream else m) for m in (one, two))
    for m in ("none", mode):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            found = []
            for first in (one, two):        # allowed, and not, when it is judged
                before = len(dnslab.says.asked)
                with dnslab.says.busy:
                    agent.do("rewritten", to=SAYS[family], data=first.hex(), then=two.hex(),
                             stream=stream, timeout=0.5)
                until(lambda: len(dnslab.says.asked) > before, 0.3)
                found.append(dnslab.says.asked[before:])
            bare = [m[2:] if stream else m for m in (one, two)]
            if m == "none":
                assert found == [[bare[1]], [bare[1]]]
            else:
                assert found == [[bare[0]] if m == "device" else [], []]
            honest(dnslab, agent, family)


@watched
@families
def test_a_message_over_segments(dnslab, mode, family):
    """Each half alone is no question. docs/names.md: whole messages in one segment."""
    message = q("halves.evil.example")
    segment = struct.pack("!H", len(message)) + message
    whole = q("whole.good.example")
    fine = struct.pack("!H", len(whole)) + whole
    for m in ("none", mode):
        with dnslab.workload_of(m, policy(GOOD)) as agent:
            for cut in (1, 2, 14, 20, len(segment) - 1):
                before = len(dnslab.says.asked)
                agent.do("ask_stream", to=SAYS[family], segments=[segment[:cut].hex(),
                                                                  segment[cut:].hex()],
                         gap=0.02, timeout=0.2)
                assert (message in dnslab.says.asked[before:]) == (m == "none"), cut
            # an allowed message, and a refused one behind it in the same segment
            before = len(dnslab.says.asked)
            agent.do("ask_stream", to=SAYS[family], segments=[(fine + segment).hex()], answers=2,
                     timeout=0.2)
            assert (message in dnslab.says.asked[before:]) == (m == "none")
            four = b"".join(fine[:2] + bytes([i]) + fine[3:] for i in range(4))
            said = agent.do("ask_stream", to=SAYS[family], segments=[four.hex()], answers=4)
            assert said["errno"] is None and len(said["reply"]) > 4 * 2 * len(fine)
            five = four + fine[:2] + b"\x05" + fine[3:]
            said = agent.do("ask_stream", to=SAYS[family], segments=[five.hex()], answers=5,
                            timeout=0.2)
            assert bool(said["reply"]) == (m == "none")


@watched
@families
def test_the_rate(dnslab, mode, family):
    """limits: dns. 20 at once, then no more in this second; other traffic is not counted."""
    text = policy(GOOD, limits="{dns: 20/s}")
    for m in ("none", mode):
        name = f"{m}-{mode}-{family}.rate.good.example"
        with dnslab.workload_of(m, text) as agent:
            for i in range(120):
                agent.do("ask", to=SAYS[family], messages=[dnsmsg.query(name, A, i).hex()],
                         answers=0)
            assert m != "none" or until(lambda: len(dnslab.says.heard(name)) >= 120)
            took = len(dnslab.says.heard(name))
            assert took == 120 if m == "none" else 20 <= took < 80, took


@families
def test_an_event_does_not_show_another_question(dnslab, family):
    """A message too short to be read has no name: not that of the one before."""
    with dnslab.workload_of("run", policy(GOOD)) as agent:
        agent.do("ask", to=SAYS[family], messages=[q("secret.evil.example").hex()], timeout=0.05)
        agent.do("ask", to=SAYS[family], messages=[b"12345".hex()], timeout=0.05)
        agent.do("super_frame", to=SAYS[family], messages=[q("b.good.example").hex()] * 2,
                 timeout=0.05)
        agent.close()
        events = matching(agent.events(), event="dns", reason="dns-malformed")
        assert events, agent.events()
        for e in events:
            assert not e["question"] or not e["question"]["name"], e


# ---- packets of one's own making ----

def ip_packet(source, to, data, sport=53, dport=53, before=b"", length=None):
    """UDP in IP; `before`: extension headers, the first of which is destination options;
    length: UDP's, if it is less."""
    read = len(data) if length is None else length - 8
    body = before + client.datagram(source, to, sport, dport, data[:read]) + data[read:]
    if ":" not in to:
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 77, 0, 64, 17, 0,
                             dnsmsg.address(source), dnsmsg.address(to))
        return packet[:10] + struct.pack("!H", client.checksum(packet)) + packet[12:] + body
    return struct.pack("!IHBB", 6 << 28, len(body), 60 if before else 17, 64) + \
        dnsmsg.address(source) + dnsmsg.address(to) + body


def inject(lab, ns, device, packet):
    """A frame on a device, from outside of every target."""
    v6 = packet[0] >> 4 == 6
    with lab.socket(ns, socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((device, 0))
        s.send(bytes(12) + (b"\x86\xdd" if v6 else b"\x08\x00") + packet)


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


def needs_multipath():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
    except OSError as e:
        pytest.skip(f"this kernel has no MPTCP sockets: {errno.errorcode[e.errno]}")


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
