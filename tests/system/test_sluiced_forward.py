# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""dns: {mode: forward} of cgroups (docs/names.md, "The forwarder"): sluiced hosts it."""
import os
import re
import signal

import pytest

import dnslab as base
import dnsmsg
import forwardlab as fw
import lab
from dnslab import GOOD, REAL, SAYS, WEB
from forwardlab import ask, ask_tcp, rcode
from lab import PYTHON, matching, until
from lookuplab import NAMES
from sluicedforwardlab import AT, ELSEWHERE, Sluiced, client
from upstreamlab import certificate  # noqa: F401
from upstreamlab import WITH_HINTS, Tls, believing, kinds, long_by_tcp, services, stripped, with_hints

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
TREE_OVER = "dnslab"
NAME = "x.good.example"
BLOCKED = 15


def policy(*rules, listen=AT, to=REAL[4], dns="", **top):
    return fw.policy(*rules, to=to, dns=f"listen: {listen}{', ' + dns if dns else ''}",
                     **top).replace("name: forward", "name: agent")


@pytest.fixture(name="daemon")
def daemon_of_test(tree):
    made = Sluiced(tree)
    try:
        yield made
    finally:
        made.close()
        tree.lab.says.handler, tree.lab.says.piece = tree.lab.says.plain, None
        tree.reset()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("option", [[], ["options use-vc"]], ids=["udp", "tcp"])
def test_the_first_connection_after_a_lookup(tree, daemon, family, option):
    path = tree.make("a1")
    agent = client(tree, path, *option, "options timeout:1 attempts:1")
    assert agent.do("tcp", to="198.51.100.30", port=7)["errno"] is None     # nothing enforced
    assert agent.do("resolve", name="h0.good.example")["errno"]             # nobody serves
    daemon.start(policy(to=REAL[family]))
    daemon.target(path)
    said = agent.do("lookups", wait=60, names=NAMES, times=100, mixed=True, first=3)["reply"]
    assert said["failed"] == 0, said["failures"]
    assert said["done"] == 100 and said["connected"] > 140
    refused = agent.do("resolve", name="a.bad.example")
    assert refused["errno"] == "EAI_NONAME", refused
    assert agent.do("tcp", to="198.51.100.30", port=7)["errno"] == "ECONNREFUSED"


def test_what_is_refused_and_whom_it_asks(tree, daemon):
    """The extended error, one event, nobody was asked; the resolver itself is not reached."""
    path = tree.make("a1")
    agent = client(tree, path)
    message = dnsmsg.query("z.good.example").hex()
    assert agent.do("ask", to=SAYS[4], messages=[message])["reply"]         # nothing enforced
    del tree.lab.says.asked[:]
    daemon.start(policy('deny: "*.bad.example", id: no-bad', GOOD, to=SAYS[4]))
    daemon.target(path)
    tree.watch()
    for name, text in (("a.bad.example", "no-bad"), ("other.example", "dns-name")):
        for how in (ask, ask_tcp):
            got = how(agent, name, tail=dnsmsg.opt())
            assert rcode(got) == dnsmsg.NXDOMAIN
            assert fw.extended_error(got) == (BLOCKED, text)
    for family in (4, 6):
        assert agent.do("ask", to=SAYS[family], messages=[message], timeout=0.5)["errno"]
    assert not tree.lab.says.asked
    assert dnsmsg.read_addresses(ask(agent, NAME)) == [WEB[4]]
    assert tree.lab.says.heard(NAME)
    events = matching(tree.events(), event="dns", hook="forwarder", reason="dns-name")
    assert {(e["question"]["name"], e["rule"], e["target"]["name"]) for e in events} == {
        ("a.bad.example", "no-bad", str(path)), ("other.example", None, str(path))}


def test_an_answer_of_many_segments(tree, daemon):
    path = tree.make("a1")
    agent = client(tree, path)
    daemon.start(policy(to=SAYS[4], dns="types: [TXT]"))
    daemon.target(path)
    long_by_tcp(tree.lab, [dnsmsg.record(None, dnsmsg.TXT, b"\xff" + bytes(255))] * 200)
    got = ask_tcp(agent, NAME, dnsmsg.TXT, tail=dnsmsg.opt(), timeout=10)
    assert rcode(got) == 0 and fw.counts(got)[1] == 200
    assert rcode(ask_tcp(agent, "a.bad.example", dnsmsg.TXT)) == dnsmsg.NXDOMAIN


@kinds
@stripped
def test_https_records(tree, daemon, kind, strip, want):
    """The resolver's own answer has all of them; the forwarder's only what is not stripped."""
    path = tree.make("a1")
    agent = client(tree, path)
    tree.lab.says.handler = with_hints(kind)
    asked = dnsmsg.query(NAME, kind).hex()
    [direct] = agent.do("ask", to=SAYS[4], messages=[asked])["reply"]       # nothing enforced
    assert services(bytes.fromhex(direct), kind) == sorted(WITH_HINTS)
    daemon.start(policy(to=SAYS[4], dns=strip))
    daemon.target(path)
    for how in (ask, ask_tcp):
        assert services(how(agent, NAME, kind, tail=dnsmsg.opt()), kind) == sorted(want)
    assert agent.do("ask", to=SAYS[4], messages=[asked], timeout=0.5)["errno"]
    assert rcode(ask(agent, "a.bad.example", kind)) == dnsmsg.NXDOMAIN


@pytest.mark.parametrize("family", [4, 6])
def test_by_tls(tree, daemon, certificate, family):  # noqa: F811
    """Nothing passes in the clear; with another name in the certificate nothing is asked."""
    path = tree.make("a1")
    agent = client(tree, path)
    server = Tls(tree.lab, *certificate, SAYS[family])
    try:
        daemon.start(policy(to=SAYS[family], dns="tls: other.example"),
                     believing(certificate[0]))
        daemon.target(path)
        got = ask(agent, NAME, timeout=2)
        assert (got is None or rcode(got) == 2) and not server.served
        assert agent.do("tcp", to=WEB[4], port=7, timeout=0.3)["errno"]
        first = daemon.forwarder()
        daemon.put("agent", policy(to=SAYS[family], dns="tls: dns.example"))
        assert until(lambda: not fw.is_alive(first))
        assert dnsmsg.read_addresses(ask(agent, NAME, timeout=8)) == [WEB[4]]
        assert agent.do("tcp", to=WEB[4], port=7)["errno"] is None
        assert server.served and not tree.lab.says.asked
    finally:
        server.close()


def test_a_forged_answer(tree, daemon):
    """The command tells its port and id to one who can send in the resolver's name."""
    forged, path = "198.51.100.66", tree.make("a1")
    agent = client(tree, path)
    for text, is_open in ((base.policy(GOOD), True), (policy(to=SAYS[4]), False)):
        if daemon.child:
            daemon.put("agent", text.replace("name: names", "name: agent"))
            daemon.says("renewed")
            daemon.forwarder()
        else:
            daemon.start(text.replace("name: names", "name: agent"))
        daemon.target(path)
        tree.lab.says.handler = lambda q: []
        asked = dnsmsg.query(NAME, ident=99)
        agent.do("ask", to=SAYS[4] if is_open else AT, bind=["0.0.0.0", 40054], hold="s",
                 messages=[asked.hex()], timeout=0.2)
        tree.lab.says.place(SAYS[4], 53).sendto(
            dnsmsg.answer(asked, [dnsmsg.record(None, dnsmsg.A, forged)]),
            (lab.WORKLOAD4, 40054))
        agent.do("hear", use="s", timeout=0.3)
        errno = agent.do("tcp", to=forged, port=7, timeout=0.3)["errno"]
        assert (errno is None) == is_open, errno
        forged = "198.51.100.67"        # the first one is learned


def test_killed_and_started_again(tree, daemon):
    """What was learned holds; who waits for an answer has it from the next one."""
    path = tree.make("a1")
    agent = client(tree, path, "options timeout:5 attempts:3")
    daemon.start(policy())
    daemon.target(path)
    assert agent.do("resolve", name="h0.good.example")["reply"]
    assert agent.do("talk_again", use="c", to="198.51.100.10")["reply"] == "again"
    [keeper] = daemon.processes("sluice-keeper")
    first = daemon.forwarder()
    for _ in range(2):
        before = daemon.said().count("its forwarder has ended")
        os.kill(daemon.forwarder(), signal.SIGKILL)
        assert until(lambda b=before: daemon.said().count("its forwarder has ended") > b)
        assert agent.do("talk_again", use="c", to="198.51.100.10")["reply"] == "again"
        assert agent.do("tcp", to="198.51.100.11", port=7)["errno"]
        assert agent.do("resolve", wait=30, name="h2.good.example")["reply"]
        assert agent.do("tcp", to="198.51.100.12", port=7)["errno"] is None
    assert daemon.forwarder() != first and daemon.processes("sluice-keeper") == [keeper]
    last = daemon.forwarder()
    os.kill(keeper, signal.SIGKILL)             # without it there is no next one: fail closed
    os.kill(last, signal.SIGKILL)
    daemon.says("what starts them is gone: restart sluiced")
    assert agent.do("ask", to=AT, timeout=0.5,
                    messages=[dnsmsg.query("h3.good.example").hex()])["reply"] in (None, [])
    assert agent.do("tcp", to="198.51.100.12", port=7)["errno"] is None
    assert agent.do("tcp", to="198.51.100.13", port=7)["errno"]


def test_ends_with_sluiced_and_with_its_target(tree, daemon):
    """Nobody answers then; what was learned goes on, and so does what is denied."""
    path = tree.make("a1")
    agent = client(tree, path, "options timeout:1 attempts:1")
    daemon.start(policy())
    daemon.target(path)
    assert agent.do("resolve", name="h0.good.example")["reply"]
    pid = daemon.forwarder()
    daemon.stop(signal.SIGKILL)
    assert until(lambda: not fw.is_alive(pid))
    assert agent.do("resolve", name="h1.good.example")["errno"]
    assert agent.do("tcp", to="198.51.100.10", port=7)["errno"] is None
    assert agent.do("tcp", to="198.51.100.11", port=7)["errno"]
    assert agent.do("ask", to=REAL[4], timeout=0.5,
                    messages=[dnsmsg.query("h1.good.example").hex()])["errno"]
    daemon.log.write_text("")
    daemon.start(policy())
    daemon.target(path)
    assert agent.do("resolve", name="h1.good.example")["reply"]
    assert agent.do("tcp", to="198.51.100.11", port=7)["errno"] is None
    pid = daemon.forwarder()
    tree.detach(path)
    assert until(lambda: not fw.is_alive(pid))
    assert agent.do("tcp", to="198.51.100.30", port=7)["errno"] is None     # open again
    assert agent.do("resolve", name="h2.good.example")["errno"]


def test_a_reload(tree, daemon):
    """Another policy, another resolver, another address, the kernel's path, and back."""
    path = tree.make("a1")
    agent = client(tree, path)
    daemon.start(policy(to=SAYS[4]))
    daemon.target(path)
    assert rcode(ask(agent, NAME)) == 0 and tree.lab.says.heard(NAME)
    del tree.lab.says.asked[:]
    for text, at, good, bad in (
            (policy('allow: "*.bad.example:7"'), AT, "a.bad.example", "h0.good.example"),
            (policy(listen=ELSEWHERE), ELSEWHERE, "h0.good.example", "a.bad.example")):
        first = daemon.forwarder()
        said = daemon.said().count("renewed")
        daemon.put("agent", text)
        assert until(lambda n=said: daemon.said().count("renewed") > n), daemon.said()
        assert until(lambda p=first: not fw.is_alive(p))
        agent.forwarder = at
        assert rcode(ask(agent, good, timeout=5)) == 0
        assert rcode(ask(agent, bad)) == dnsmsg.NXDOMAIN
    agent.forwarder = AT
    assert agent.do("ask", to=AT, messages=[dnsmsg.query(NAME).hex()], timeout=0.5)["errno"]
    assert not tree.lab.says.asked
    first = daemon.forwarder()
    daemon.put("agent", base.policy(GOOD).replace("name: names", "name: agent"))
    assert until(lambda: not fw.is_alive(first) and not daemon.processes("sluice-dns"))
    assert rcode(bytes.fromhex(agent.do("ask", to=SAYS[4], messages=[
        dnsmsg.query(NAME).hex()])["reply"][0])) == 0


def test_what_it_may_do(tree, daemon):
    """No user's, no capability, no map in its memory; the keeper has what it gives up with."""
    path = tree.make("a1")
    daemon.start(policy())
    daemon.target(path)
    agent = client(tree, path)
    assert agent.do("resolve", name="h0.good.example")["reply"]
    [keeper] = daemon.processes("sluice-keeper")
    for pid, caps in ((daemon.forwarder(), 0), (keeper, 1 << 6 | 1 << 7 | 1 << 8)):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            status = dict(line.split(":", 1) for line in f.read().splitlines())
        assert {int(status[c], 16) for c in ("CapPrm", "CapEff", "CapBnd")} <= {caps, 0}
        assert int(status["CapEff"], 16) == caps
        with open(f"/proc/{pid}/maps", encoding="ascii") as f:
            assert "anon_inode" not in f.read()
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert not any("bpf-map" in link for link in links)
        assert sum("bpf-prog" in link for link in links) == (not caps)
        if not caps:
            assert status["Uid"].split() == ["65534"] * 4 and status["Seccomp"].strip() == "2"
            assert not [link for link in links if not re.match(
                r"socket:|pipe:|anon_inode:(bpf-prog|\[?event)|/dev/(null|urandom)|" +
                re.escape(str(daemon.log)), link)], links


def test_two_targets(tree, daemon):
    """Each has its own: the other's says nothing to it, and one address serves one."""
    one, other = tree.make("a1"), tree.make("b1")
    daemon.put("other", policy('allow: "*.bad.example:7"', listen=ELSEWHERE).replace(
        "name: agent", "name: other"))
    daemon.start(policy())
    daemon.target(one)
    daemon.target(other, "other")
    a, b = client(tree, one), client(tree, other, at=ELSEWHERE)
    assert rcode(ask(a, "h0.good.example")) == 0 and rcode(ask(b, "a.bad.example")) == 0
    assert rcode(ask(a, "a.bad.example")) == rcode(ask(b, "h0.good.example")) == dnsmsg.NXDOMAIN
    assert a.do("ask", to=ELSEWHERE, timeout=0.5,
                messages=[dnsmsg.query("a.bad.example").hex()])["errno"]
    assert a.do("tcp", to="198.51.100.30", port=7)["errno"]
    assert b.do("tcp", to="198.51.100.30", port=7)["errno"] is None
    third = tree.make("a2")
    daemon.target(third)
    daemon.says(f"a2: no forwarder at port 53 of {AT}")
    assert "a2: its forwarder does not serve" in tree.sluice("status").stdout
    c = client(tree, third)
    assert c.do("ask", to=AT, timeout=0.5, messages=[dnsmsg.query("h1.good.example").hex()]).get(
        "reply") in (None, [])
    assert rcode(ask(a, "h1.good.example")) == 0


def test_what_is_refused(tree, daemon):
    """Without sluiced, without an address; and whoever is in another network namespace has
    nobody to ask."""
    path = tree.make("x1")
    done = tree.sluice("attach", "--cgroup", path, "-p", tree.file(policy()), check=False)
    assert done.returncode == 1 and "start sluiced" in done.stderr and ":3:" in done.stderr
    daemon.start(policy())
    done = tree.sluice("attach", "--cgroup", path, "-p", tree.file(fw.policy()), check=False)
    assert done.returncode == 1 and "listen: 127.64.0.53" in done.stderr, done.stderr
    assert path.stat().st_ino not in tree.status()
    tree.sluice("attach", "--cgroup", path, "-p", tree.file(policy()))
    agent = client(tree, path)
    assert rcode(ask(agent, "h0.good.example")) == 0
    assert rcode(ask(agent, "a.bad.example")) == dnsmsg.NXDOMAIN
    other = tree.make("a9")
    made = tree.lab
    stranger = lab.Agent(made.inside(made.peer) + tree.within(other) +
                         [PYTHON, str(made.folder / "dns_client.py")], made.new_folder())
    made.agents.append(stranger)
    daemon.target(other)
    asked = dnsmsg.query("h1.good.example").hex()
    assert not stranger.do("ask", to=AT, messages=[asked], timeout=0.5).get("reply")
    assert stranger.do("ask", to=REAL[4], messages=[asked], timeout=0.5)["errno"]
