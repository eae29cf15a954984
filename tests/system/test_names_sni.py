# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Server names (docs/names.md): the hellos are OpenSSL's. Whatever is denied is first
shown to arrive under the same rule without `sni`; the other end is an echo."""
import os
import select
import socket
import threading

import pytest

from attacklab import needs_multipath
from dnslab import GOOD, policy
from lab import WORKLOAD4, WORKLOAD6, matching, total, until
from snilab import ADDRESS, VERIFY, hello, learn

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")

watched = pytest.mark.parametrize("mode", ["run", "device"])
families = pytest.mark.parametrize("family", [4, 6])
OBSERVE = GOOD + ", sni: observe"
WORKLOAD = {4: WORKLOAD4, 6: WORKLOAD6}


def renamed(old, new):
    """A hello whose name no library would send."""
    assert len(old) == len(new)
    data = hello(old)
    assert data.count(old.encode()) == 1
    return data.replace(old.encode(), new)


def sent(agent, family, *segments, **more):
    return agent.do("pieces_echoed", wait=8, to=ADDRESS[family], segments=[s.hex() for s in segments],
                    timeout=more.pop("timeout", 1), **more)


def arrives(said, *segments):
    return said["errno"] is None and said["reply"] == b"".join(segments).hex()


BIG = ["x" * 250] * 14
ALLOWED = {
    "plain": hello("h1.good.example"),
    "another name of the rule": hello("h2.good.example"),
    "no name that was looked up": hello("never.asked.good.example"),
    "upper case": renamed("h1.good.example", b"H1.GOOD.exAMPLE"),
    "over two segments": hello("h1.good.example", BIG[:6]),
    "3.8 KB": hello("h1.good.example", BIG),
}


@watched
@families
@pytest.mark.parametrize("case", ALLOWED)
def test_allowed(dnslab, mode, family, case):
    """The connection is as any other after the hello."""
    with dnslab.workload_of(mode, policy(VERIFY)) as agent:
        learn(agent, family)
        data = ALLOWED[case], b"more" * 5000, b"end"
        assert arrives(sent(agent, family, *data), *data)


NAMELESS = hello(None)
DENIED = {
    "sni-name": [
        hello("www.evil.example"), hello("evilgood.example"), hello("good.example"),
        hello("h1.good.example.evil.test"), renamed("h1xgood.example", b"h1\0good.example"),
        renamed("h1x.good.example", b"h1..good.example"),
        renamed("h1.good.examplex", b"h1.good.example.")],
    "sni-missing": [NAMELESS, b"GET / HTTP/1.1\r\nHost: h1.good.example\r\n\r\n", b"SSH-2.0-x\r\n",
                    b"\x16\x03\x01\x00\x05\x02aaaa", b"x"],
    "sni-split": [hello("h1.good.example")[:-400] if len(hello("h1.good.example")) < 500 else
                  hello("h1.good.example")[:60], hello("h1.good.example")[:5],
                  # the record ends within the list of extensions
                  b"\x16\x03\x01\x00\x30" + hello("h1.good.example")[5:]],
}
CASES = [(reason, i) for reason, hellos in DENIED.items() for i in range(len(hellos))]


@watched
@families
@pytest.mark.parametrize("reason, case", CASES)
def test_denied(dnslab, mode, family, reason, case):
    data = DENIED[reason][case]
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        learn(agent, family)
        assert arrives(sent(agent, family, data), data)
    with dnslab.workload_of(mode, policy(VERIFY), watch=True) as agent:
        learn(agent, family)
        said = sent(agent, family, data, timeout=0.4)
        ends = "ECONNRESET" if mode == "device" else \
            "timeout" if reason == "sni-split" else "ECONNABORTED"
        assert said["errno"] == ends, said
        assert arrives(sent(agent, family, ALLOWED["plain"]), ALLOWED["plain"])
        events = dnslab.device.events if mode == "device" else agent.events
        assert until(lambda: total(matching(events(), reason=reason)) == 1)
        event, = matching(events(), reason=reason)
        assert event["verdict"] == "deny" and event["rule"] == "good", event
        named = {"sni-name": data.split(b"\0\0")[0] and event["server_name"], "sni-missing": None,
                 "sni-split": None}[reason]
        assert event["server_name"] == named
        if reason == "sni-name" and case == 0:
            assert event["server_name"] == "www.evil.example"
        if reason != "sni-name":
            assert event["destination"]["name"] == "h1.good.example"


@watched
@families
def test_observed(dnslab, mode, family):
    data = hello("www.evil.example")
    with dnslab.workload_of(mode, policy(OBSERVE), watch=True) as agent:
        learn(agent, family)
        assert arrives(sent(agent, family, data, b"more"), data, b"more")
        assert arrives(sent(agent, family, b"no hello", b"more"), b"no hello", b"more")
        assert arrives(sent(agent, family, ALLOWED["plain"]), ALLOWED["plain"])
        events = dnslab.device.events if mode == "device" else agent.events
        assert until(lambda: len(matching(events(), verdict="audit-deny")) == 2)
        assert {(e["reason"], e["server_name"]) for e in events()} == {
            ("sni-name", "www.evil.example"), ("sni-missing", None)}


@watched
@families
def test_a_deny_rule_acts_on_the_server(dnslab, mode, family):
    deny = 'deny: "h2.good.example", id: no'
    with dnslab.workload_of(mode, policy(deny, GOOD)) as agent:
        learn(agent, family)
        assert arrives(sent(agent, family, ALLOWED["another name of the rule"]),
                       ALLOWED["another name of the rule"])
    with dnslab.workload_of(mode, policy(deny, VERIFY), watch=True) as agent:
        learn(agent, family)
        assert not arrives(sent(agent, family, ALLOWED["another name of the rule"], timeout=0.4),
                           ALLOWED["another name of the rule"])
        assert arrives(sent(agent, family, ALLOWED["plain"]), ALLOWED["plain"])


@watched
@families
def test_a_server_of_another_rule(dnslab, mode, family):
    """Allowed elsewhere is not allowed here, unless the name owns the address."""
    other = 'allow: ["h2.good.example:7", "open.bad.example:7"], id: other'
    rule = 'allow: "h1.good.example:7", id: one, sni: verify'
    data = hello("h2.good.example")
    with dnslab.workload_of(mode, policy(rule, other)) as agent:
        learn(agent, family)
        learn_other = agent.do("resolve", name="h2.good.example")
        assert learn_other["errno"] is None
        assert not arrives(sent(agent, family, data, timeout=0.4), data)
        assert arrives(sent(agent, family, ALLOWED["plain"]), ALLOWED["plain"])


@watched
@families
def test_udp_of_the_same_rule(dnslab, mode, family):
    """QUIC hides the name. By the policy's text too: `sluice explain` says so."""
    for rule, works in ((GOOD, True), (OBSERVE, True), (VERIFY, False)):
        with dnslab.workload_of(mode, policy(rule, "allow: any"), watch=True) as agent:
            learn(agent, family)
            said = agent.do("udp", to=ADDRESS[family], port=7, timeout=0.3)
            assert (said["errno"] is None) == works, (rule, said)
            events = dnslab.device.events if mode == "device" else agent.events
            assert works or until(lambda: matching(events(), reason="sni-quic"))


@families
def test_a_hello_in_two_writes(dnslab, family):
    """A command's TCP sends what was dropped again, with what came behind it."""
    whole = ALLOWED["plain"]
    with dnslab.workload_of("run", policy(VERIFY)) as agent:
        learn(agent, family)
        said = sent(agent, family, whole[:5], whole[5:], timeout=4)
        assert arrives(said, whole)
        foreign = hello("www.evil.example")
        assert not arrives(sent(agent, family, foreign[:5], foreign[5:], timeout=1.5), foreign)


# ---- what the other side says ----

class Speaker:
    """A server that says something first, and is an echo then."""

    def __init__(self, dnslab, address, banner):
        self.socket = dnslab.says.bound(address, SPEAKS, socket.SOCK_STREAM)
        self.socket.listen(8)
        self.banner = banner
        self.ended = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        known = []
        while True:
            for s in select.select([self.socket, self.ended[0], *known], [], [])[0]:
                if s == self.ended[0]:
                    return
                if s == self.socket:
                    known.append(s.accept()[0])
                    known[-1].sendall(self.banner)
                    continue
                try:
                    data = s.recv(65535)
                    s.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    known.remove(s)
                    s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.write(self.ended[1], b"x")
        self.thread.join(5)
        self.socket.close()
        for fd in self.ended:
            os.close(fd)


SPEAKS = 17
BANNERS = {"no hello": b"SSH-2.0-x\r\n", "a foreign hello": hello("ww.evil.example"),
           "an allowed hello": hello("h1.good.example")}


@watched
@families
@pytest.mark.parametrize("banner", BANNERS)
def test_a_server_that_speaks_first(dnslab, mode, family, banner):
    """What comes in is no hello, whatever it is: it passes, and neither ends the search for
    the client's nor stands in its stead."""
    first, evil = BANNERS[banner], hello("www.evil.example")
    rule = f'allow: "*.good.example:{SPEAKS}", id: good'

    def said(agent, data, timeout=0.5):
        got = agent.do("pieces_echoed", wait=8, to=ADDRESS[family], port=SPEAKS, first=len(first),
                       segments=[data.hex()] if data else [], timeout=timeout)
        return got["errno"] or bytes.fromhex(got["reply"])

    with Speaker(dnslab, ADDRESS[family], first):
        with dnslab.workload_of(mode, policy(rule)) as agent:
            learn(agent, family)
            assert said(agent, evil) == first + evil
        with dnslab.workload_of(mode, policy(rule + ", sni: verify"), watch=True) as agent:
            learn(agent, family)
            assert said(agent, b"") == first
            assert said(agent, evil) == ("ECONNRESET" if mode == "device" else "ECONNABORTED")
            assert said(agent, ALLOWED["plain"], 1) == first + ALLOWED["plain"]
            events = dnslab.device.events if mode == "device" else agent.events
            assert until(lambda: matching(events(), reason="sni-name"))
            assert total([e for e in events() if e["verdict"] == "deny"]) == 1, events()


@watched
@families
def test_a_connection_that_came_in(dnslab, mode, family):
    """From an address that a name with `sni` owns, let in by `inbound`: the rule is about
    what the workload opens, so neither side is held to a hello."""
    data = hello("www.evil.example")
    for inbound, comes in (("replies", False), ("allow", True)):
        with dnslab.workload_of(mode, policy(VERIFY, inbound=inbound)) as agent:
            learn(agent, family)
            assert not arrives(sent(agent, family, data, timeout=0.4), data)
            port = 8100 + 10 * family + comes
            agent.do("listen", to=WORKLOAD[family], port=port, hold="l")
            with dnslab.says.bound(ADDRESS[family], 0, socket.SOCK_STREAM) as s:
                s.settimeout(2 if comes else 0.4)
                if not comes:
                    with pytest.raises(OSError):
                        s.connect((WORKLOAD[family], port))
                    continue
                s.connect((WORKLOAD[family], port))
                s.sendall(data)
                assert agent.do("accept", use="l")["errno"] is None
                assert s.recv(65535) == data
            assert not arrives(sent(agent, family, data, timeout=0.4), data)


# ---- a guest with a TCP of its own ----

GOOD_HELLO, EVIL = hello("h1.good.example"), hello("ww.evil.example")
assert len(GOOD_HELLO) == len(EVIL)
END = GOOD_HELLO.index(b"h1.good.example") + len("h1.good.example")
BAD = 0x5a5a
PUSH, URGENT = 24, 56
# What a server would hear; the segments [offset, data, flags, xor of the checksum].
TRICKS = {
    "another hello": (EVIL, [[0, EVIL]]),
    "a hello that the server drops, then another": (EVIL, [[0, GOOD_HELLO, PUSH, BAD], [0, EVIL]]),
    "the end of the name again": (
        GOOD_HELLO[:END - 20] + EVIL[END - 20:],
        [[0, GOOD_HELLO, PUSH, BAD], [END - 20, EVIL[END - 20:]],
         [0, GOOD_HELLO[:END - 20]]]),
    "the second half before the first": (EVIL, [[100, EVIL[100:]], [0, EVIL[:100]]]),
    "urgent data": (EVIL, [[0, EVIL, URGENT]]),
}


@families
@pytest.mark.parametrize("trick", TRICKS)
def test_a_tcp_of_its_own(dnslab, family, trick):
    heard, segments = TRICKS[trick]
    segments = [[offset, data.hex(), *more] for offset, data, *more in segments]
    for rule, arrived in ((GOOD, True), (VERIFY, False)):
        with dnslab.workload_of("device", policy(rule)) as agent:
            learn(agent, family)
            said = agent.do("liar", wait=8, source=WORKLOAD[family], to=ADDRESS[family], port=7,
                            sport=6100 + list(TRICKS).index(trick) * 2 + arrived,
                            segments=segments, listen=0.6)
            assert said["errno"] is None, said
            got = bytes.fromhex(said["reply"])
            if not arrived or trick != "urgent data":   # a server misses its urgent byte
                assert (heard in got) == arrived, (rule, got)
            assert not arrived or got
            assert arrives(sent(agent, family, GOOD_HELLO), GOOD_HELLO)


@families
def test_the_same_again_from_a_tcp_of_its_own(dnslab, family):
    """Honest retransmissions: the whole, the whole with more, what is behind the name."""
    with dnslab.workload_of("device", policy(VERIFY)) as agent:
        learn(agent, family)
        more = b"and more" * 10
        segments = [[0, GOOD_HELLO, PUSH, BAD], [0, GOOD_HELLO[:END], PUSH, BAD],
                    [0, GOOD_HELLO + more], [END, (GOOD_HELLO + more)[END:]],
                    [len(GOOD_HELLO), more + b"!"]]
        said = agent.do("liar", wait=8, source=WORKLOAD[family], to=ADDRESS[family], port=7,
                        sport=6200, segments=[[o, d.hex(), *m] for o, d, *m in segments], listen=0.6)
        assert bytes.fromhex(said["reply"]) == GOOD_HELLO + more + b"!"


@families
@pytest.mark.parametrize("decoy", [False, True])
def test_multipath(dnslab, family, decoy):
    """By MPTCP each segment says where in the whole its data belongs: a hello that the server
    takes for one that it has, and then another. Or a SYN without it before, that never arrives."""
    needs_multipath()
    n = len(GOOD_HELLO)
    segments = [[0, GOOD_HELLO.hex()], [n, EVIL.hex()]]
    port = GOOD.replace(":7", ":8")
    for sport, rule, arrived in ((6350, port, True), (6351, port + ", sni: verify", False)):
        with dnslab.workload_of("device", policy(rule)) as agent:
            learn(agent, family)
            more = {"plain_decoy": True} if decoy else {}
            said = agent.do("liar", wait=8, source=WORKLOAD[family], to=ADDRESS[family], port=8,
                            sport=sport + 2 * decoy, segments=segments, listen=0.6, **more,
                            places=[[-5000, 0, n], [0, n, n]])
            assert said["errno"] in (None, "timeout"), said
            assert (said["reply"] == EVIL.hex()) == arrived, said
            assert arrives(sent(agent, family, GOOD_HELLO, port=8), GOOD_HELLO)


@families
def test_another_beginning(dnslab, family):
    """A SYN that never arrives, then the real one with another number: what is looked at
    would be elsewhere than what the server reads."""
    for rule, arrived in ((GOOD, True), (VERIFY, False)):
        with dnslab.workload_of("device", policy(rule)) as agent:
            learn(agent, family)
            said = agent.do("liar", wait=8, source=WORKLOAD[family], to=ADDRESS[family], port=7,
                            decoy=-5000, sport=6300 + arrived, segments=[[0, EVIL.hex()]], listen=0.4)
            assert said["errno"] == (None if arrived else "timeout"), said
            assert not arrived or EVIL in bytes.fromhex(said["reply"])


@families
def test_a_connection_that_was_there(dnslab, family):
    """Its beginning was not seen: one that no policy judged before is denied, one that the
    same target's policy has judged goes on."""
    with dnslab.workload_of("device", policy(GOOD)) as agent:
        learn(agent, family)
        assert agent.do("talk_again", use="old", to=ADDRESS[family])["reply"]
        dnslab.device.attach(policy(VERIFY))
        assert agent.do("talk_again", use="old", to=ADDRESS[family])["errno"] is None
        dnslab.device.sluice("detach", "--all")
        dnslab.device.attach(policy(VERIFY))
        learn(agent, family)
        assert agent.do("talk_again", use="old", to=ADDRESS[family])["errno"] is not None


@watched
@families
def test_a_hello_that_changes_when_it_was_judged(dnslab, mode, family):
    """Its bytes lie in a page that the workload writes to: tried again and again, since the
    server may read them before that."""
    good, evil, tries = hello("h1.good.example"), renamed("h1.good.example", b"h1.evil.example"), 30
    assert len(good) == len(evil)

    def rewritten(agent):
        said = agent.do("rewritten", to=ADDRESS[family], port=7, data=good.hex(), then=evil.hex(),
                        stream=True, echo=True, timeout=0.1)
        return said["reply"]

    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        learn(agent, family)
        assert until(lambda: rewritten(agent) == evil.hex(), 10)
    with dnslab.workload_of(mode, policy(VERIFY)) as agent:
        learn(agent, family)
        got = {rewritten(agent) for _ in range(tries)}
        # a command's is refused, a device's is sent as it was judged
        assert got == ({good.hex()} if mode == "device" else {None})
        assert arrives(sent(agent, family, good), good)


@families
def test_a_hello_whose_end_changes_when_it_is_sent_again(dnslab, family):
    """The kernel's own bytes, then a page that the workload writes to, sent again as one segment.
    Older kernels forget there whose page it is; what is a program's each kind of page says in its
    own way. With plain bytes the same hello arrives."""
    good, evil, cut = hello("h1.good.example"), renamed("h1.good.example", b"h1.evil.example"), 5
    both = good[:cut] + evil[cut:]

    def rewritten(agent, **more):
        return agent.do("rewritten", to=ADDRESS[family], port=7, before=good[:cut].hex(),
                        data=good[cut:].hex(), then=evil[cut:].hex(), stream=True, echo=True,
                        timeout=0.6, **more)["reply"]

    for rule in (GOOD, VERIFY):
        with dnslab.workload_of("run", policy(rule), options=["--keep-privileges"]) as agent:
            learn(agent, family)
            assert until(lambda: rewritten(agent, plain=True) == good.hex(), 10)
            for page in ("anonymous", "file", "huge", "ring"):
                if rule == GOOD:
                    assert until(lambda: rewritten(agent, flips=0.5, page=page) == both.hex(), 20), page
                else:
                    got = {rewritten(agent, flips=0.5, page=page) for _ in range(2)}
                    assert got == {None}, page
            if rule == VERIFY:
                assert arrives(sent(agent, family, good), good)
