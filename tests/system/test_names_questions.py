# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Attacks on names (docs/names.md) by questions: each is first shown to work
where nobody watches, then to fail under `run` and behind a device, in both families; with an
honest lookup beside it."""
import os
import struct

import pytest

import dnsmsg
from attacklab import GOAL, families, fresh_ident, good, honest, q, reaches, watched
from dnslab import FOREIGN, GOOD, SAYS, policy
from dnsmsg import A
from lab import matching, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")


def tunnel(i):
    return f"0ajbaya82oeadagmeyfaxe{i}ukkajhsd7adhgasjdhe3r.tunnel.evil.example"


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
