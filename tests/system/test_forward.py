# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""dns: {mode: forward} (docs/names.md, "The forwarder"): in real use, what it refuses and how
it says so, and what becomes of it."""
import contextlib
import os
import re
import signal
import socket

import pytest

import dnslab as base
import dnsmsg
import forwardlab as fw
from dnslab import BIG, GOOD, MANY, NEVER, PRIVATE, REAL, SAYS, WEB
from forwardlab import ask, policy, rcode, workload
from lab import matching, total, until
from lookuplab import NAMES, SEARCH, learned_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
BLOCKED = 15
AT_ONCE_MS = 3000       # no time-out of a stub


# ---- lookups followed at once by a connection ----

@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("option", [[], ["options edns0"], ["options use-vc"],
                                    ["options single-request"]], ids=str)
def test_the_first_connection_after_a_lookup(dnslab, family, option):
    """Learned before it is answered: CNAME chains of nine, 30 addresses, TTL 0 and 1 s, mixed
    case; the resolver is asked by IPv4 and IPv6."""
    with workload(dnslab, policy(to=REAL[family]), option) as agent:
        said = agent.do("lookups", wait=60, names=NAMES, times=500, mixed=True, first=3)["reply"]
        print(family, option, said)
        assert said["failed"] == 0, said["failures"]
        assert said["done"] == 500 and said["connected"] > 700
        refused = agent.do("resolve", name="a.bad.example")
        assert refused["errno"] == "EAI_NONAME" and refused["ms"] < AT_ONCE_MS, refused


def test_lookups_in_parallel(dnslab):
    with workload(dnslab) as agent:
        said = agent.do("parallel", wait=60, names=NAMES, times=250, threads=4)["reply"]
        assert said["failed"] == 0, said["failures"]
        assert said["done"] == 1000


def test_many_addresses(dnslab):
    """An answer has 64 at most, those that are learned: each can be connected to."""
    with workload(dnslab) as agent:
        for name, of, count in (("many.good.example", MANY, 30), ("big.good.example", BIG, 64)):
            found = {a for a, _ in agent.do("resolve", name=name)["reply"]}
            assert found <= set(of) and len(found) == count
            for address in found:
                assert agent.do("tcp", to=address, port=7)["errno"] is None


def test_search_lists(dnslab):
    """A refused question is NXDOMAIN, and the next one is asked."""
    lines = [*SEARCH, "nameserver 203.0.113.9"]
    for dns in ("search: []", "search: [corp.test, lab.corp.test, x.test]"):
        with workload(dnslab, policy(dns=dns), lines) as agent:
            said = agent.do("lookups", names=NAMES, times=40)["reply"]
            assert said["failed"] == 0, said["failures"]
            refused = agent.do("resolve", name="a.bad.example")
            assert refused["errno"] and refused["ms"] < AT_ONCE_MS, refused
        assert bool(matching(agent.result.events, event="dns", reason="dns-name")) and \
            {e["question"]["name"].endswith(".test") for e in
             matching(agent.result.events, event="dns")} >= ({True} if dns == "search: []" else set())


# ---- what is refused, and how ----

def test_a_refused_name(dnslab):
    """NXDOMAIN at once, the rule in the extended error, one event; nobody was asked."""
    rules = ['deny: "*.bad.example", id: no-bad', GOOD]
    asked = "a.bad.example"
    with dnslab.workload_of("none", "", [f"nameserver {SAYS[4]}"]) as agent:
        assert agent.do("resolve", name=asked)["reply"]
        assert dnslab.says.heard(asked)
    del dnslab.says.asked[:]
    with workload(dnslab, policy(*rules, to=SAYS[4])) as agent:
        for name, text in ((asked, "no-bad"), ("other.example", "dns-name")):
            for how in (ask, fw.ask_tcp):
                got = how(agent, name, tail=dnsmsg.opt())
                assert rcode(got) == dnsmsg.NXDOMAIN and fw.counts(got) == (1, 0, 0, 1)
                assert fw.extended_error(got) == (BLOCKED, text)
                plain = how(agent, name)        # without EDNS no OPT record comes back
                assert rcode(plain) == dnsmsg.NXDOMAIN and fw.options(plain) is None
        said = agent.do("command", argv=["dig", "+tries=1", "+time=2", asked])["reply"]
        assert re.search(r"EDE: 15 \(Blocked\): .*no-bad", said) and "NXDOMAIN" in said
        assert rcode(ask(agent, "x.good.example")) == 0     # the paired question
    assert not dnslab.says.heard(asked) and not dnslab.says.heard("other.example")
    assert dnslab.says.heard("x.good.example")
    events = matching(agent.result.events, event="dns", hook="forwarder", reason="dns-name")
    assert {(e["question"]["name"], e["rule"]) for e in events} == {
        (asked, "no-bad"), ("other.example", None)}


def test_a_chain_through_a_denied_name(dnslab):
    rules = ['deny: "c5.cdn.example", id: no-cdn', GOOD]
    with workload(dnslab, policy(GOOD)) as agent:
        assert rcode(ask(agent, "chain.good.example")) == 0
        assert agent.do("tcp", to="198.51.100.20", port=7)["errno"] is None
    with workload(dnslab, policy(*rules)) as agent:
        got = ask(agent, "chain.good.example", tail=dnsmsg.opt())
        assert rcode(got) == dnsmsg.NXDOMAIN and fw.extended_error(got) == (BLOCKED, "no-cdn")
        assert agent.do("tcp", to="198.51.100.20", port=7, timeout=0.3)["errno"]
    [event] = matching(agent.result.events, event="dns", reason="dns-answer")
    assert event["question"]["name"] == "c5.cdn.example" and event["rule"] == "no-cdn"


def test_types(dnslab):
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        got = ask(agent, "x.good.example", dnsmsg.TXT, tail=dnsmsg.opt())
        assert rcode(got) == 0 and fw.counts(got)[1] == 0
        assert fw.extended_error(got) == (BLOCKED, "dns-type")
        assert not dnslab.says.heard("x.good.example")
    dnslab.says.handler = lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, dnsmsg.TXT, b"\2hi")])]
    with dnslab.workload_of("run", policy(to=SAYS[4], dns="types: [TXT]")) as agent:
        dnslab.says.handler = lambda q: [
            dnsmsg.answer(q, [dnsmsg.record(None, dnsmsg.TXT, b"\2hi")])]
        said = agent.do("command", argv=["dig", "+short", "x.good.example", "TXT"])["reply"]
        assert said.strip() == '"hi"'


def test_a_rate(dnslab):
    with workload(dnslab, policy(limits="{dns: 5/m}")) as agent:
        got = [ask(agent, "h0.good.example", tail=dnsmsg.opt()) for _ in range(7)]
        assert [rcode(m) for m in got] == [0] * 5 + [5] * 2
        assert fw.extended_error(got[-1]) == (0, "dns-rate")
    assert matching(agent.result.events, reason="dns-rate")


MALFORMED = {
    "two questions": dnsmsg.query("a.good.example", qd=2) + dnsmsg.query("a.bad.example")[12:],
    "bytes behind": dnsmsg.query("a.good.example") + b"secret",
    "an answer record": dnsmsg.query("a.good.example", an=1) + dnsmsg.record(None, 1, WEB[4]),
    "a pointer": dnsmsg.header(7, dnsmsg.RD) + dnsmsg.pointer(12) + b"\0\1\0\1",
    "a name of NULs": dnsmsg.header(7, dnsmsg.RD) + dnsmsg.labels(b"a\0b", b"good", b"example") +
    b"\0\1\0\1",
    "a dot in a label": dnsmsg.header(7, dnsmsg.RD) + dnsmsg.labels(b"a.good", b"example") +
    b"\0\1\0\1",
    "class CH": dnsmsg.query("a.good.example", klass=dnsmsg.CH),
    "options of 65 bytes": dnsmsg.query("a.good.example", tail=dnsmsg.opt(bytes(65))),
    "4,000 bytes": dnsmsg.query("a.good.example") + bytes(3970),
}


def test_malformed(dnslab):
    """FORMERR, an event, and nobody is asked; the resolver would have heard of it."""
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        for what, message in MALFORMED.items():
            got = agent.do("ask", to=agent.forwarder, messages=[message.hex()])["reply"]
            assert got and rcode(bytes.fromhex(got[0])) == 1 and len(got[0]) == 24, what
            assert rcode(ask(agent, "y.good.example")) == 0
    assert total(matching(agent.result.events, reason="dns-malformed")) == len(MALFORMED)
    assert all(b"\1y\4good" in q for q in dnslab.says.asked) and dnslab.says.asked


def test_what_is_no_message_has_no_answer(dnslab):
    with workload(dnslab) as agent:
        short = agent.do("ask", to=agent.forwarder, messages=["00" * 11], timeout=0.3)
        answer = agent.do("ask", to=agent.forwarder, timeout=0.3,
                          messages=[dnsmsg.query("a.good.example", flags=dnsmsg.QR).hex()])
        assert short["reply"] == answer["reply"] == []


def test_on_deny_drop(dnslab):
    with workload(dnslab, policy(on_deny="drop")) as agent:
        assert ask(agent, "a.bad.example", timeout=0.5) is None
        assert rcode(ask(agent, "h0.good.example")) == 0
    assert matching(agent.result.events, event="dns", reason="dns-name")


def test_audit(dnslab):
    with workload(dnslab, options=["--audit"]) as agent:
        assert agent.do("resolve", name="a.bad.example")["reply"]
        assert agent.do("tcp", to="198.51.100.30", port=7)["errno"] is None
    events = agent.result.events
    assert matching(events, event="dns", verdict="audit-deny", hook="forwarder")
    assert not matching(events, verdict="deny")


@pytest.mark.parametrize("private", [False, True])
def test_special_addresses(dnslab, private):
    with workload(dnslab, policy(GOOD + (", resolves_to: private" if private else ""),
                                 to=SAYS[4])) as agent:
        for to in PRIVATE + NEVER + [WEB[4], WEB[6]]:
            kind = dnsmsg.AAAA if ":" in to else dnsmsg.A
            dnslab.says.handler = lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, kind, to)])]
            assert dnsmsg.read_addresses(ask(agent, "x.good.example", kind)) == [to]
            agent.do("udp", to=to, port=9, no_reply=True)       # no rule: an event
        agent.do("udp", to="198.51.100.253", port=9, no_reply=True)
        named = learned_of(dnslab, "run", agent, "198.51.100.253")
    want = {WEB[4], WEB[6]} | (set(PRIVATE) if private else set())
    assert named - {"fe80::9"} == want - {"fe80::9"}


def test_queries_any(dnslab):
    """Any name may be asked; the unlisted teach nothing."""
    with workload(dnslab, policy(dns="queries: any")) as agent:
        assert agent.do("resolve", name="a.bad.example")["reply"]
        assert agent.do("tcp", to="198.51.100.30", port=7, timeout=0.3)["errno"]
        assert agent.do("resolve", name="h0.good.example")["reply"]
        assert agent.do("tcp", to="198.51.100.10", port=7)["errno"] is None


# ---- nobody else ----

@pytest.mark.parametrize("family", [4, 6])
def test_the_resolvers_themselves_are_not_reached(dnslab, family):
    message = dnsmsg.query("z.good.example").hex()
    with dnslab.workload_of("none", "") as agent:
        assert agent.do("ask", to=SAYS[family], messages=[message])["reply"]
        assert dnslab.says.heard("z.good.example")
    del dnslab.says.asked[:]
    with workload(dnslab, policy(to=SAYS[family])) as agent:
        said = agent.do("ask", to=SAYS[family], messages=[message], timeout=0.5)
        assert said["errno"]
        for port in (53, 853):
            assert agent.do("tcp", to=SAYS[family], port=port, timeout=0.5)["errno"]
        assert not dnslab.says.heard("z.good.example")
        assert rcode(ask(agent, "z.good.example")) == 0
    assert len(matching(agent.result.events, destination=SAYS[family], reason="dns-gate")) >= 2


def test_a_stranger_is_not_served(dnslab):
    """Another process of the machine, which is not the target's."""
    with workload(dnslab, policy(to=SAYS[4])) as agent, dnslab.workload_of("none", "") as stranger:
        assert rcode(ask(agent, "k.good.example")) == 0
        del dnslab.says.asked[:]
        stranger.forwarder = agent.forwarder
        assert ask(stranger, "k.good.example", timeout=0.5) is None
        assert fw.ask_tcp(stranger, "k.good.example") == b""    # closed
        assert not dnslab.says.heard("k.good.example")
        assert rcode(ask(agent, "k.good.example")) == 0


def test_connections(dnslab):
    """More than it takes, half messages, lengths that no question has: others are served."""
    with workload(dnslab) as agent:
        for i in range(40):
            said = agent.do("tcp", to=agent.forwarder, port=53, payload="\0", no_reply=True,
                            hold=f"s{i}", timeout=5)
            assert said["errno"] is None
        assert rcode(ask(agent, "h0.good.example")) == 0
        said = agent.do("ask_stream", to=agent.forwarder, segments=["ffff" + "00" * 64],
                        timeout=0.5)
        assert not said["reply"]
        assert rcode(fw.ask_tcp(agent, "h0.good.example")) == 0
        assert agent.do("lookups", names=NAMES, times=20)["reply"]["failed"] == 0


def test_another_port_of_its_address(dnslab):
    """A local service that listens everywhere, from the socket that has just asked: the port
    behind a stub's 53 is taken for 53 (Docker's resolver), but not here, where nothing is read."""
    with contextlib.closing(dnslab.socket(dnslab.workload, socket.AF_INET, socket.SOCK_DGRAM)) as s:
        s.bind(("0.0.0.0", 4444))
        s.settimeout(0.5)
        with dnslab.workload_of("none", "") as other:
            other.do("ask", to="127.99.0.1", port=4444, messages=["aabb"], timeout=0.1)
            assert s.recv(64) == b"\xaa\xbb"
        with workload(dnslab) as agent:
            asked = dnsmsg.query("h0.good.example").hex()
            assert agent.do("ask", to=agent.forwarder, messages=[asked], hold="s")["reply"]
            for connected in (False, True):     # judged at sendmsg; as a packet
                said = agent.do("send_held", use="s", to=[agent.forwarder, 4444], data="aabb",
                                connected=connected)
                assert said["errno"] == ("EPERM" if connected else "EHOSTUNREACH"), said
            with pytest.raises(TimeoutError):
                s.recv(64)
    assert matching(agent.result.events, destination=agent.forwarder, reason="default")


# ---- its process ----

def test_what_it_may_do(dnslab):
    """No user's, no capability, no new privilege, a filter; no map in its memory, nothing open
    but its sockets, the gate and the cgroup's events."""
    with workload(dnslab) as agent:
        pid = fw.process_of(agent)
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            status = dict(line.split(":", 1) for line in f.read().splitlines())
        assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
        assert not status["Groups"].strip()
        for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[caps], 16) == 0
        assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
        with open(f"/proc/{pid}/maps", encoding="ascii") as f:
            assert "anon_inode" not in f.read()
        agent.do("resolve", name="h0.good.example")         # libunbound's are there too
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        rest = [link for link in links if not re.match(
            r"socket:|pipe:|anon_inode:(bpf-prog|\[?event)|/dev/(null|urandom)|.*/cgroup\.events$",
            link)]
        assert not rest and sum("bpf-prog" in link for link in links) == 1, links


def test_killed(dnslab):
    """Names are not resolved any more, and it is said; what was learned holds, and so does
    what is denied."""
    with workload(dnslab, lines=["options timeout:1 attempts:1"]) as agent:
        assert agent.do("resolve", name="h0.good.example")["reply"]
        assert agent.do("talk_again", use="c", to="198.51.100.10")["reply"] == "again"
        os.kill(fw.process_of(agent), signal.SIGKILL)
        assert until(lambda: "the forwarder has ended" in agent.stderr())
        failed = agent.do("resolve", name="h1.good.example")
        assert failed["errno"] and failed["ms"] < AT_ONCE_MS, failed
        assert agent.do("talk_again", use="c", to="198.51.100.10")["reply"] == "again"
        assert agent.do("tcp", to="198.51.100.10", port=7)["errno"] is None
        assert agent.do("tcp", to="198.51.100.11", port=7, timeout=0.3)["errno"]
        said = agent.do("ask", to=REAL[4], timeout=0.5,
                        messages=[dnsmsg.query("h1.good.example").hex()])
        assert said["errno"]


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
def test_who_takes_its_place_gets_nothing(dnslab, stream):
    """Another server of the machine at port 53 of every address, when it has died."""
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    question = "secret.tunnel.example"
    with workload(dnslab) as agent, dnslab.workload_of("none", "") as other:
        os.kill(fw.process_of(agent), signal.SIGKILL)
        assert until(lambda: "the forwarder has ended" in agent.stderr())
        with contextlib.closing(dnslab.socket(dnslab.workload, socket.AF_INET, kind)) as heir:
            heir.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            heir.settimeout(0.5)
            heir.bind(("0.0.0.0", 53))
            if stream:
                heir.listen(4)
            receive = heir.accept if stream else lambda: heir.recv(512)

            def attempt(who):
                if stream:
                    return who.do("tcp", to=agent.forwarder, port=53, timeout=0.5, no_reply=True)
                return who.do("ask", to=agent.forwarder, timeout=0.1,
                              messages=[dnsmsg.query(question).hex()])

            attempt(other)
            assert receive()                # who is not watched gets there
            said = attempt(agent)
            assert said["errno"]
            with pytest.raises(TimeoutError):
                receive()
    assert matching(agent.result.events, reason="dns-forwarder", destination=agent.forwarder)


@pytest.mark.parametrize("options", [[], ["--leave"]], ids=["run", "leave"])
def test_it_lives_as_long_as_the_command(dnslab, options):
    """kill -9 of `sluice run`, or its end with --leave: names go on; at the command's end
    nothing is left."""
    with workload(dnslab, options=options) as agent:
        forwarder = fw.process_of(agent)
        os.kill(agent.process.pid, signal.SIGKILL)
        os.waitpid(agent.process.pid, 0)
        agent.process.returncode = -9
        said = agent.do("lookups", names=NAMES, times=30)["reply"]
        assert said["failed"] == 0, said["failures"]
        assert agent.do("resolve", name="a.bad.example")["errno"]
        assert fw.is_alive(forwarder)
        agent.process.stdin.close()         # the client ends
        assert until(lambda: not fw.is_alive(forwarder))


def test_its_end_with_the_run(dnslab):
    with workload(dnslab) as agent:
        forwarder = fw.process_of(agent)
    assert agent.result.code == 0
    assert not fw.is_alive(forwarder) and "forwarder" not in agent.result.err


# ---- what it is not for ----

def test_a_device_has_none(dnslab):
    done = dnslab.device.sluice("doctor", check=False)
    assert done.returncode in (0, 1)
    path = dnslab.new_folder() / "policy.yaml"
    path.write_text(policy(), encoding="utf-8")
    said = dnslab.device.sluice("attach", "--dev", "p0", "-p", str(path), check=False)
    assert said.returncode == 1
    assert f"{path}:3:" in said.stderr and "needs a process that answers" in said.stderr
    assert base.policy(GOOD)                # the kernel's own path is what a device has
