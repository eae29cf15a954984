# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""dns: {mode: forward}: resolvers that are slow, old or gone, and the programs that ask."""
import os
import struct

import pytest

import dnsmsg
import forwardlab as fw
from dnslab import FOREIGN, GOOD, REAL, SAYS, WEB
from forwardlab import ask, policy, rcode, workload
from lab import matching, sh, until
from lookuplab import lookup  # noqa: F401
from lookuplab import PROGRAMS, SEARCH, looks_up, needs_program
from upstreamlab import certificate  # noqa: F401
from upstreamlab import Tls, believing

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
NAME = "x.good.example"
NOBODY = {4: "203.0.113.9", 6: "2001:db8:1::99"}        # no server there: an ICMP error
SERVFAIL, REFUSED, FORMERR = 2, 5, 1


@pytest.fixture(autouse=True)
def plain_again(dnslab):
    yield
    dnslab.says.handler = dnslab.says.plain


# ---- who answers ----

@pytest.mark.parametrize("family", [4, 6])
def test_a_resolver_that_is_gone(dnslab, family):
    """The next one is asked; from then on it is the first."""
    with workload(dnslab, policy(to=[NOBODY[family], SAYS[family]])) as agent:
        for i in range(3):
            got = ask(agent, f"n{i}.good.example", timeout=5)
            assert rcode(got) == 0 and dnsmsg.read_addresses(got) == [WEB[4]]
            assert len(dnslab.says.heard(f"n{i}.good.example")) == 1


def test_none_is_there(dnslab):
    """SERVFAIL (22: No Reachable Authority); nothing is learned, and it goes on."""
    with workload(dnslab, policy(to=[*NOBODY.values()])) as agent:
        got = ask(agent, NAME, tail=dnsmsg.opt(), timeout=12)
        assert rcode(got) == SERVFAIL and fw.extended_error(got) == (22, "")
        assert rcode(ask(agent, "a.bad.example")) == dnsmsg.NXDOMAIN


def test_a_silent_resolver(dnslab):
    """Its packets are lost: one question waits for its time-out, the next ones do not."""
    rule = ["INPUT", "-d", REAL[4], "-p", "udp", "--dport", "53", "-j", "DROP"]
    sh(*dnslab.inside(dnslab.peer), "iptables", "-w", "-A", *rule)
    try:
        with workload(dnslab, policy(to=[REAL[4], SAYS[4]])) as agent:
            first = agent.do("ask", to=agent.forwarder, timeout=8,
                             messages=[dnsmsg.query(NAME).hex()])
            assert first["reply"]
            assert len(dnslab.says.heard(NAME)) == 1
            assert rcode(ask(agent, "y.good.example", timeout=0.9)) == 0
    finally:
        sh(*dnslab.inside(dnslab.peer), "iptables", "-w", "-D", *rule)


@pytest.mark.parametrize("code", [SERVFAIL, REFUSED])
def test_a_resolver_that_cannot(dnslab, code):
    """Another one is asked: both of the lab's are the same server at two addresses."""
    def handler(query):
        if len(dnslab.says.asked) % 2:
            return [dnsmsg.answer(query, flags=dnsmsg.QR | dnsmsg.RD | dnsmsg.RA | code)]
        return dnslab.says.plain(query)
    with workload(dnslab, policy(to=[SAYS[4], FOREIGN[4]])) as agent:
        dnslab.says.handler = handler
        assert dnsmsg.read_addresses(ask(agent, NAME, timeout=5)) == [WEB[4]]
        assert len(dnslab.says.heard(NAME)) == 2


def test_an_old_server(dnslab):
    """It does not know OPT records: it is asked without."""
    def handler(query):
        if fw.options(query) is not None:
            return [query[:2] + struct.pack("!5H", dnsmsg.QR | FORMERR, 1, 0, 0, 0) +
                    dnsmsg.question_of(query)[2]]
        return dnslab.says.plain(query)
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        dnslab.says.handler = handler
        got = ask(agent, NAME, tail=dnsmsg.opt(), timeout=5)
        assert dnsmsg.read_addresses(got) == [WEB[4]] and fw.options(got) == {}


def test_a_denial_has_its_soa(dnslab):
    """So that its client knows how long it holds; of what else stands there nothing."""
    soa = dnsmsg.name("ns.example") + dnsmsg.name("h.example") + struct.pack("!5I", 1, 2, 3, 4, 5)
    more = dnsmsg.record("good.example", 2, dnsmsg.name("ns.example"))
    with workload(dnslab, policy(to=SAYS[4])) as agent:
        for code in (0, dnsmsg.NXDOMAIN):
            dnslab.says.handler = lambda q: [dnsmsg.answer(
                q, [dnsmsg.record("good.example", 6, soa), more],
                flags=dnsmsg.QR | dnsmsg.RD | dnsmsg.RA | code, counts=(0, 2, 0))]
            got = ask(agent, NAME)
            assert rcode(got) == code
            assert [(section, kind) for section, kind, _, _ in fw.records(got)] == [(1, 6)]


def test_one_stream_for_all(dnslab, certificate):  # noqa: F811
    """By TLS: questions share a connection; one that the server has closed is made anew."""
    server = Tls(dnslab, *certificate, SAYS[4])
    shaken = []
    wrap = server.context.wrap_socket

    def counting(raw, **kw):
        shaken.append(wrap(raw, **kw))
        return shaken[-1]
    server.context.wrap_socket = counting
    try:
        text = policy(to=SAYS[4], dns="tls: dns.example")
        with workload(dnslab, text, before=believing(certificate[0])) as agent:
            for i in range(10):
                assert rcode(ask(agent, f"n{i}.good.example", timeout=8)) == 0
            assert len(shaken) == 1 and server.served == 10
            shaken[0].shutdown(2)
            assert rcode(ask(agent, "again.good.example", timeout=8)) == 0
            assert len(shaken) == 2
            names = [f"p{i}.good.example" for i in range(16)]
            said = agent.do("parallel", wait=60, names=names, times=40, threads=4)["reply"]
            assert said["failed"] == 0, said["failures"]
    finally:
        server.close()


# ---- programs ----

@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(dnslab, program):
    needs_program(program)
    with workload(dnslab) as agent:
        looks_up(agent, program)


@pytest.mark.parametrize("lines", [[], SEARCH[1:]], ids=["plain", "search"])
def test_musl(dnslab, lines, lookup):  # noqa: F811
    """Refused names end at once, which on the kernel's path they do not. An answer with TC holds
    what is learned: musl before 1.2.4 connects to that."""
    with workload(dnslab, lines=lines) as agent:
        for name in ("h1.good.example", "chain.good.example", "four.good.example",
                     "many.good.example"):
            said = agent.do("command", argv=[lookup, name], wait=30)
            assert said["errno"] is None and "good" in said["reply"], said
        refused = agent.do("command", argv=[lookup, "a.bad.example"], wait=30)
        assert refused["errno"] and refused["ms"] < 3000, refused


def test_logged(dnslab):
    """log: all: an allowed question is an event of the forwarder's, its flow is none."""
    with workload(dnslab, policy(log="all")) as agent:
        agent.do("resolve", name="h0.good.example")
        agent.do("tcp", to="198.51.100.10", port=7)
        agent.close()
    events = agent.result.events
    asked = matching(events, event="dns", verdict="allow", hook="forwarder")
    assert {e["question"]["name"] for e in asked} == {"h0.good.example"}
    assert {e["question"]["type"] for e in asked} == {"A", "AAAA"}
    assert {e["rule"] for e in asked} == {"good"}
    assert matching(events, event="connection", verdict="allow", destination="198.51.100.10")


def test_two_runs_at_once(dnslab):
    """Each has an address of its own, and serves its own command alone."""
    with workload(dnslab, policy(GOOD)) as one, \
            workload(dnslab, policy('allow: "*.bad.example:7", id: bad')) as two:
        assert one.forwarder != two.forwarder
        for agent, name in ((one, "h0.good.example"), (two, "a.bad.example")):
            assert agent.do("resolve", name=name)["reply"]
        for agent, name in ((one, "a.bad.example"), (two, "h0.good.example")):
            assert agent.do("resolve", name=name)["errno"]
        said = two.do("ask", to=one.forwarder, timeout=0.5,
                      messages=[dnsmsg.query("h0.good.example").hex()])
        assert said["errno"]                # the gate admits no other


def test_where_no_address_is_left(dnslab):
    """A server at port 53 of every address, by TCP: the run is refused and says what to do."""
    with dnslab.socket(dnslab.workload, 2, 1) as everywhere:
        everywhere.bind(("0.0.0.0", 53))
        everywhere.listen(1)
        done = dnslab.run(policy(), "true")
        assert done.code == 125 and "cannot listen at port 53" in done.err, done.err
    assert until(lambda: dnslab.run(policy(), "true").code == 0)
