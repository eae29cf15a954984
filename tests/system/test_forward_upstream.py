# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""dns: {mode: forward}: what it is for (docs/names.md). Each case is first shown not to work, or
to be open, on the kernel's own path."""
import contextlib
import os
import struct

import pytest

import dnslab as base
import dnsmsg
import forwardlab as fw
from dnslab import GOOD, REAL, SAYS, WEB
from forwardlab import ask, ask_tcp, option, policy, rcode, workload
from lab import WORKLOAD4, WORKLOAD6, sh
from lookuplab import NAMES
from upstreamlab import certificate  # noqa: F401
from upstreamlab import Tls, believing, kinds, long_by_tcp, services, stripped, with_hints

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
NAME = "x.good.example"


@pytest.fixture(autouse=True)
def plain_again(dnslab):
    yield
    dnslab.says.handler, dnslab.says.piece = dnslab.says.plain, None


# ---- answers over TCP in several segments ----

def test_a_long_answer_on_the_kernels_path(dnslab):
    message = dnsmsg.query(NAME, dnsmsg.TXT)
    segment = (struct.pack("!H", len(message)) + message).hex()
    text = [dnsmsg.record(None, dnsmsg.TXT, b"\xff" + bytes(255))] * 200
    for mode in ("none", "run"):
        with dnslab.workload_of(mode, base.policy(GOOD, dns="types: [TXT]")) as agent:
            long_by_tcp(dnslab, text)
            got = agent.do("ask_stream", to=SAYS[4], segments=[segment], timeout=1.0)
            whole = len(got["reply"] or "") // 2 > 50000
            assert whole == (mode == "none"), got["errno"]


@pytest.mark.parametrize("family", [4, 6])
def test_a_long_answer(dnslab, family):
    """65,000 bytes of text, as long as a message can be; by UDP its client is told to ask by TCP."""
    with workload(dnslab, policy(to=SAYS[family], dns="types: [TXT]")) as agent:
        long_by_tcp(dnslab, [dnsmsg.record(None, dnsmsg.TXT, b"\xff" + bytes(255))] * 242)
        got = ask_tcp(agent, NAME, dnsmsg.TXT, tail=dnsmsg.opt(), timeout=10)
        assert rcode(got) == 0 and fw.counts(got)[1] == 242 and len(got) > 64800
        assert {data for section, _, _, data in fw.records(got) if not section} == {
            b"\xff" + bytes(255)}
        for tail, size in ((b"", 512), (dnsmsg.opt(), 1232), (dnsmsg.opt(size=65535), 1232)):
            cut = ask(agent, NAME, dnsmsg.TXT, tail=tail)
            assert cut[2] & 2 and size - 300 < len(cut) <= size


def test_a_long_answer_of_addresses(dnslab):
    """2,000 of them: 64 are learned, and these are what the command gets."""
    many = [f"198.51.{100 if i < 200 else 101}.{i % 200 + 1}" for i in range(400)]
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        long_by_tcp(dnslab, [dnsmsg.record(None, dnsmsg.A, a) for a in many] * 5)
        got = dnsmsg.read_addresses(ask_tcp(agent, NAME, timeout=10))
        assert len(got) == 64 and set(got) <= set(many)
        found = {a for a, _ in agent.do("resolve", name=NAME)["reply"]}
        assert len(found) == 64
        for address in sorted(found):
            if address.startswith("198.51.100."):       # the peer has these
                assert agent.do("tcp", to=address, port=7)["errno"] is None


def test_pipelined(dnslab):
    """Eight questions in one segment, and one byte at a time."""
    names = [f"h{i}.good.example" for i in range(8)]
    messages = [dnsmsg.query(n, ident=i) for i, n in enumerate(names)]
    stream = b"".join(struct.pack("!H", len(m)) + m for m in messages)
    with workload(dnslab) as agent:
        for segments in ([stream], [stream[i:i + 1] for i in range(len(stream))]):
            got = agent.do("ask_stream", to=agent.forwarder, answers=8,
                           segments=[s.hex() for s in segments])["reply"]
            data, ids = bytes.fromhex(got), set()
            while data:
                n = struct.unpack_from("!H", data)[0]
                ids.add((struct.unpack_from("!H", data, 2)[0],
                         *dnsmsg.read_addresses(data[2:2 + n])))
                data = data[2 + n:]
            assert ids == {(i, f"198.51.100.{10 + i}") for i in range(8)}


# ---- what a resolver sees ----

def test_ports_and_ids_of_its_own(dnslab):
    """The command asks from one port with one id; a resolver sees others each time."""
    seen = []

    def handler(query):
        seen.append((struct.unpack_from("!H", query)[0], dnslab.says.peers[4][1]))
        return dnslab.says.plain(query)
    for mode in ("kernel", "forward"):
        text = policy(to=SAYS[4]) if mode == "forward" else base.policy(GOOD)
        with dnslab.workload_of("run", text, [f"nameserver {SAYS[4]}"]) as agent:
            said = agent.do("command", argv=["grep", "^nameserver", "/etc/resolv.conf"])["reply"]
            dnslab.says.handler = handler
            del seen[:]
            for i in range(100):
                got = agent.do("ask", to=said.split()[1], bind=["0.0.0.0", 40053], messages=[
                    dnsmsg.query(f"n{i}.good.example", ident=7).hex()])
                assert got["reply"], got
        if mode == "kernel":
            assert set(seen) == {(7, 40053)} and len(seen) == 100
        else:
            assert len(seen) == 100
            assert len({i for i, _ in seen}) > 90 and len({p for _, p in seen}) > 90
            assert 40053 not in {p for _, p in seen}


CLIENT_OPTIONS = {
    fw.ECS: struct.pack("!HBB", 1, 24, 0) + bytes([198, 51, 100]),
    fw.COOKIE: b"cookie!!",
    fw.NSID: b"",
    fw.PADDING: bytes(8),
    65001: b"hidden",
}


def test_client_options(dnslab):
    """Every one gets to the resolver on the kernel's path, none from the forwarder."""
    tail = dnsmsg.opt(b"".join(option(*o) for o in CLIENT_OPTIONS.items()))
    with dnslab.workload_of("run", base.policy(GOOD)) as agent:
        del dnslab.says.asked[:]
        assert agent.do("ask", to=SAYS[4], messages=[dnsmsg.query(NAME, tail=tail).hex()])["reply"]
        [query] = dnslab.says.heard(NAME)
        assert fw.options(query) == CLIENT_OPTIONS
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        got = ask(agent, NAME, tail=tail)
        assert dnsmsg.read_addresses(got) == [WEB[4]] and fw.options(got) == {}
        [query] = dnslab.says.heard(NAME)
        assert not fw.options(query)
        for flags in (0, dnsmsg.RD, dnsmsg.RD | 0x0070):        # Z, AD, CD
            agent.do("ask", to=agent.forwarder, messages=[
                dnsmsg.query(f"f{flags}.good.example", flags=flags).hex()])
            [query] = dnslab.says.heard(f"f{flags}.good.example")
            assert struct.unpack_from("!H", query, 2)[0] == dnsmsg.RD


def test_nothing_is_kept(dnslab):
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        for i in range(5):
            assert rcode(ask(agent, NAME)) == 0
            assert len(dnslab.says.heard(NAME)) == i + 1


# ---- a path on which the resolver's address can be forged ----

@pytest.mark.parametrize("mode", ["kernel", "forward"])
def test_a_forged_answer_with_an_accomplice(dnslab, mode):
    """The command tells port and id to one who can send in the resolver's name."""
    forged = "198.51.100.66"
    text = policy(to=SAYS[4]) if mode == "forward" else base.policy(GOOD)
    with dnslab.workload_of("run", text, [f"nameserver {SAYS[4]}"]) as agent:
        said = agent.do("command", argv=["grep", "^nameserver", "/etc/resolv.conf"])["reply"]
        dnslab.says.handler = lambda q: []
        asked = dnsmsg.query(NAME, ident=99)
        agent.do("ask", to=said.split()[1], bind=["0.0.0.0", 40054], hold="s",
                 messages=[asked.hex()], timeout=0.2)
        dnslab.says.place(SAYS[4], 53).sendto(
            dnsmsg.answer(asked, [dnsmsg.record(None, dnsmsg.A, forged)]), (WORKLOAD4, 40054))
        agent.do("hear", use="s", timeout=0.3)
        errno = agent.do("tcp", to=forged, port=7, timeout=0.3)["errno"]
        assert (errno is None) == (mode == "kernel")


def test_forged_answers_to_the_forwarder(dnslab):
    """At its port, but with another id, or to another question: the true one counts."""
    bad, good = "198.51.100.66", WEB[4]

    def handler(query):
        ident = struct.unpack_from("!H", query)[0]
        other = dnsmsg.query("other.good.example")
        return [dnsmsg.answer(query, [dnsmsg.record(None, dnsmsg.A, bad)], ident=ident ^ 0x101),
                dnsmsg.answer(query, [dnsmsg.record(None, dnsmsg.A, bad)],
                              question=dnsmsg.question_of(other)[2], ident=ident ^ 1),
                dnsmsg.answer(query, [dnsmsg.record(None, dnsmsg.A, good)])]
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        dnslab.says.handler = handler
        for i in range(20):
            assert dnsmsg.read_addresses(ask(agent, f"n{i}.good.example")) == [good]
        assert agent.do("tcp", to=bad, port=7, timeout=0.3)["errno"]
        assert agent.do("tcp", to=good, port=7)["errno"] is None


def chain(n):
    names = [NAME] + [f"c{i}.cdn.example" for i in range(n)]
    return [dnsmsg.record(a, dnsmsg.CNAME, b) for a, b in zip(names, names[1:])] + [
        dnsmsg.record(names[-1], dnsmsg.A, "198.51.100.66")]


BAD_ANSWERS = {
    "another owner": lambda q: dnsmsg.answer(q, [
        dnsmsg.record("evil.example", dnsmsg.A, "198.51.100.66")]),
    "in additional": lambda q: dnsmsg.answer(q, [
        dnsmsg.record(None, dnsmsg.A, "198.51.100.66")], counts=(0, 0, 1)),
    "a record cut off": lambda q: dnsmsg.answer(q, [
        dnsmsg.record(None, dnsmsg.A, "198.51.100.66", size=4), b"\xc0\x0c\0\1\0\1"], counts=(2, 0, 0)),
    "a pointer to itself": lambda q: dnsmsg.answer(q, [
        dnsmsg.record(dnsmsg.pointer(12 + len(dnsmsg.question_of(q)[2])), dnsmsg.A,
                      "198.51.100.66")]),
    "a chain of 17": lambda q: dnsmsg.answer(q, chain(17)),
    "a chain in a ring": lambda q: dnsmsg.answer(q, [
        dnsmsg.record(NAME, dnsmsg.CNAME, "b.good.example"),
        dnsmsg.record("b.good.example", dnsmsg.CNAME, NAME),
        dnsmsg.record("b.good.example", dnsmsg.A, "198.51.100.66")]),
}


def test_bad_answers_teach_nothing(dnslab):
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        dnslab.says.handler = lambda q: [dnsmsg.answer(q, chain(16))]
        assert rcode(ask(agent, NAME, timeout=5)) == 0      # as long as it may be
        assert agent.do("tcp", to="198.51.100.66", port=7)["errno"] is None
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        for what, bad in BAD_ANSWERS.items():
            dnslab.says.handler = lambda q, bad=bad: [bad(q)]
            agent.do("ask", to=agent.forwarder, messages=[dnsmsg.query(NAME).hex()], timeout=2.0)
            assert agent.do("tcp", to="198.51.100.66", port=7, timeout=0.3)["errno"], what
        dnslab.says.handler = dnslab.says.plain
        assert rcode(ask(agent, "y.good.example", timeout=5)) == 0
        assert agent.do("tcp", to=WEB[4], port=7)["errno"] is None


# ---- resolvers behind DNAT ----

@contextlib.contextmanager
def translated(lab, family):
    """A resolver's address that iptables turns into the true one, as Docker's 127.0.0.11."""
    tool, virtual = ("iptables", "192.0.2.200") if family == 4 else ("ip6tables", "2001:db8::200")
    to = REAL[4] if family == 4 else f"[{REAL[6]}]"
    rules = [["OUTPUT", "-d", virtual, "-p", p, "--dport", "53", "-j", "DNAT", "--to", f"{to}:53"]
             for p in ("udp", "tcp")]
    for rule in rules:
        sh(*lab.inside(), tool, "-w", "-t", "nat", "-A", *rule)
    try:
        yield virtual
    finally:
        for rule in rules:
            sh(*lab.inside(), tool, "-w", "-t", "nat", "-D", *rule)


@pytest.mark.parametrize("family", [4, 6])
def test_a_translated_resolver(dnslab, family):
    with translated(dnslab, family) as virtual:
        lines = [f"nameserver {virtual}", "options timeout:1 attempts:1"]
        with dnslab.workload_of("none", "", lines) as agent:
            assert agent.do("resolve", name="h0.good.example")["reply"]
        kernel = policy(to=virtual).replace("mode: forward, ", "")
        with dnslab.workload_of("run", kernel, lines) as agent:
            assert agent.do("resolve", name="h0.good.example")["errno"]
        with workload(dnslab, policy(to=virtual), lines) as agent:
            said = agent.do("lookups", names=NAMES, times=40)["reply"]
            assert said["failed"] == 0, said["failures"]


# ---- by TLS ----


@pytest.mark.parametrize("family", [4, 6])
def test_by_tls(dnslab, certificate, family):
    """Nothing passes in the clear. Another name, or a certificate that nobody vouches for: no
    answer, and nothing is asked."""
    server = Tls(dnslab, *certificate, SAYS[family])
    try:
        for name, before, works in (("dns.example", believing(certificate[0]), True),
                                    ("other.example", believing(certificate[0]), False),
                                    ("dns.example", [], False)):
            served = server.served
            text = policy(to=SAYS[family], dns=f"tls: {name}")
            with workload(dnslab, text, before=before) as agent:
                got = ask(agent, NAME, timeout=8 if works else 2)
                if works:
                    assert dnsmsg.read_addresses(got) == [WEB[4]]
                    assert agent.do("tcp", to=WEB[4], port=7)["errno"] is None
                else:
                    assert got is None or rcode(got) == 2
                    assert agent.do("tcp", to=WEB[4], port=7, timeout=0.3)["errno"]
                assert not dnslab.says.asked        # port 53
            assert (server.served > served) == works
    finally:
        server.close()


# ---- answers that are changed ----


@kinds
@stripped
def test_https_records(dnslab, kind, strip, want):
    with workload(dnslab, policy(to=SAYS[4], dns=strip)) as agent:
        dnslab.says.handler = with_hints(kind)
        got = ask(agent, NAME, kind, tail=dnsmsg.opt())
    assert rcode(got) == 0
    assert services(got, kind) == sorted(want)


def test_addresses_of_the_workload_itself_are_no_way_around(dnslab):
    """An answer that names the command's own machine teaches what it says, and no more."""
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        dnslab.says.handler = lambda q: [dnsmsg.answer(q, [
            dnsmsg.record(None, dnsmsg.A, "127.0.0.1")])]
        assert dnsmsg.read_addresses(ask(agent, NAME)) == ["127.0.0.1"]
        assert agent.do("tcp", to="127.0.0.1", port=7, timeout=0.3)["errno"] == "ECONNREFUSED"
        assert agent.do("tcp", to=WORKLOAD6, port=7, timeout=0.3)["errno"]
