# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names (docs/names.md) in real use: lookups, each followed at once by a connection; what
happens to flows when a time is over or a policy is another; what is refused, and how fast."""
import os
import signal

import pytest

import dnsmsg
from dnslab import BIG, GOOD, REAL, SAYS, WEB, policy
from lab import matching, until
from lookuplab import lookup  # noqa: F401
from lookuplab import NAMES, PROGRAMS, SEARCH, looks_up, needs_program, says

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")

watched = pytest.mark.parametrize("mode", ["run", "device"])
families = pytest.mark.parametrize("family", [4, 6])


# ---- lookups followed at once by a connection ----

@watched
@pytest.mark.parametrize("options", [
    ["nameserver 192.0.2.2"], ["nameserver 2001:db8::2"],
    ["nameserver 192.0.2.2", "options edns0"],
    ["nameserver 192.0.2.2", "options use-vc"],
    ["nameserver 2001:db8::2", "options use-vc"],
    ["nameserver 192.0.2.2", "options single-request"],
], ids=lambda lines: "-".join(lines).replace("nameserver ", "").replace("options ", ""))
def test_the_first_connection_after_a_lookup(dnslab, mode, options):
    """CNAME chains of nine, 30 addresses, TTL 0 and 1 s, mixed case."""
    with dnslab.workload_of(mode, policy(GOOD), options) as agent:
        said = agent.do("lookups", wait=60, names=NAMES, seconds=2, mixed=True, first=30)["reply"]
        print(mode, options, said)
        assert said["failed"] == 0, said["failures"]
        assert said["done"] > 100 and said["connected"] > said["done"]
        refused = agent.do("resolve", name="a.bad.example")
        assert refused["errno"] and refused["ms"] < 50, refused


@watched
def test_a_refused_question_over_tcp(dnslab, mode):
    """A device resets the connection. Under a command the socket is closed."""
    lines = ["nameserver 192.0.2.2", "options use-vc"]
    with dnslab.workload_of(mode, policy(GOOD), lines) as agent:
        refused = agent.do("resolve", name="a.bad.example")
        assert refused["errno"] and refused["ms"] < 50, refused
        assert agent.do("resolve", name="h1.good.example")["errno"] is None


@watched
def test_lookups_in_parallel(dnslab, mode):
    with dnslab.workload_of(mode, policy(GOOD), ["nameserver 192.0.2.2"]) as agent:
        said = agent.do("parallel", wait=60, names=NAMES, seconds=4, threads=4)["reply"]
        print(mode, said)
        assert said["failed"] == 0, said["failures"]
        assert said["done"] > 200


@watched
@families
def test_more_questions_than_the_flow_table_holds(dnslab, mode, family):
    """Each from a port of its own, so each a flow: answered, it makes room for others."""
    query = dnsmsg.query("h1.good.example", dnsmsg.A)
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        said = agent.do("askers", wait=120, to=REAL[family], message=query.hex(), count=20000,
                        first=20000)
        assert said["reply"] == 20000


@watched
def test_truncated_then_tcp(dnslab, mode):
    """70 addresses: over 512 bytes, TC=1. Six more than an answer teaches."""
    with dnslab.workload_of(mode, policy(GOOD), ["nameserver 192.0.2.2"]) as agent:
        found = agent.do("resolve", name="big.good.example")["reply"]
        assert {a for a, _ in found} == set(BIG)
        good = [a for a, _ in found if agent.do("tcp", to=a, port=7, timeout=0.3)["errno"] is None]
        # Of an answer 64 are learned; dnsmasq turns them round, glibc may ask twice.
        assert len(good) >= 64


# ---- search lists ----


@watched
def test_search_lists(dnslab, mode):
    """Three questions that end in nothing before the one that counts."""
    search = "search: [corp.test, lab.corp.test, x.test]"
    with dnslab.workload_of(mode, policy(GOOD, dns=search), SEARCH) as agent:
        said = agent.do("lookups", wait=60, names=NAMES, seconds=2)["reply"]
        print(mode, said)
        assert said["failed"] == 0, said["failures"]
        refused = agent.do("resolve", name="a.bad.example")
        assert refused["errno"] and refused["ms"] < 50, refused


def test_search_lists_of_resolv_conf(dnslab):
    with dnslab.workload_of("run", policy(GOOD), SEARCH) as agent:
        said = agent.do("lookups", names=NAMES, times=30)["reply"]
        assert said["failed"] == 0, said["failures"]


@watched
@pytest.mark.parametrize("lines", [SEARCH[:1], SEARCH], ids=["plain", "search"])
def test_musl(dnslab, mode, lines, lookup):
    search = "search: [corp.test, lab.corp.test, x.test]"
    with dnslab.workload_of(mode, policy(GOOD, dns=search), lines) as agent:
        for name in ("h1.good.example", "chain.good.example", "four.good.example"):
            said = agent.do("command", argv=[lookup, name], wait=30)
            assert said["errno"] is None and "good" in said["reply"], said
        refused = agent.do("command", argv=[lookup, "a.bad.example"], wait=30)
        assert refused["errno"]
        if mode == "device":
            assert refused["ms"] < 80, refused       # with the start of the program


@watched
def test_musl_and_a_truncated_answer(dnslab, mode, lookup):
    """musl 1.2.3 takes the records of an answer with TC=1."""
    with dnslab.workload_of("none", "") as agent:
        assert agent.do("command", argv=[lookup, "many.good.example"])["errno"] is None
    with dnslab.workload_of(mode, policy(GOOD)) as agent:
        said = agent.do("command", argv=[lookup, "many.good.example"], wait=30)
        assert said["errno"] is None and "good" in said["reply"], said
        assert agent.do("tcp", to="203.0.113.99", port=7)["errno"]


# ---- programs ----


@watched
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(dnslab, mode, program):
    needs_program(program)
    with dnslab.workload_of(mode, policy(GOOD), ["nameserver 192.0.2.2"]) as agent:
        looks_up(agent, program)


# ---- time, and other policies ----

TTL = "ttl: {min: 1s, max: 2s}"


@watched
def test_a_flow_outlives_its_time(dnslab, mode):
    """What is learned is over after a second; the flow goes on; a new one is refused."""
    with dnslab.workload_of(mode, policy(GOOD, dns=TTL), ["nameserver 192.0.2.2"]) as agent:
        [[address, _]] = agent.do("resolve", name="four.good.example")["reply"]
        assert agent.do("talk_again", use="c", to=address)["reply"] == "again"
        assert until(lambda: agent.do("tcp", to=address, port=7, timeout=0.3)["errno"], 5, 0.2)
        assert agent.do("talk_again", use="c", to=address)["reply"] == "again"
        agent.do("resolve", name="four.good.example")
        assert agent.do("tcp", to=address, port=7)["errno"] is None


def test_a_policy_that_still_allows(dnslab):
    """Another rule, in another place, with another id: flow and lesson live on."""
    other = policy('allow: "*.other.example:7", id: o', 'allow: "four.good.example:7", id: f')
    with dnslab.workload_of("device", policy(GOOD)) as agent:
        [[address, _]] = agent.do("resolve", name="four.good.example")["reply"]
        assert agent.do("talk_again", use="c", to=address)["reply"] == "again"
        dnslab.device.attach(other)
        assert agent.do("talk_again", use="c", to=address)["reply"] == "again"
        assert agent.do("tcp", to=address, port=7)["errno"] is None


def test_a_policy_that_revokes(dnslab):
    """The flow is cut; what another name owns is not touched."""
    both = policy('allow: "one.good.example:7", id: one', 'allow: "four.good.example:7", id: f')
    with dnslab.workload_of("device", both) as agent:
        [[address, _]] = agent.do("resolve", name="four.good.example")["reply"]
        one = agent.do("resolve", name="one.good.example")["reply"][0][0]
        for use, to in (("f", address), ("o", one)):
            assert agent.do("talk_again", use=use, to=to)["reply"] == "again"
        dnslab.device.attach(policy('allow: "one.good.example:7", id: one'))
        assert agent.do("talk_again", use="o", to=one)["reply"] == "again"
        assert agent.do("talk_again", use="f", to=address)["errno"]
        assert agent.do("tcp", to=address, port=7, timeout=0.3)["errno"]
        assert agent.do("tcp", to=one, port=7)["errno"] is None
        # and back: what was learned comes back with the rule
        dnslab.device.attach(both)
        assert agent.do("tcp", to=address, port=7)["errno"] is None


@pytest.mark.parametrize("first", ["a", "b"])
def test_two_names_with_one_address(dnslab, first):
    """It lives until the last of them goes, in either order."""
    rules = {n: f'allow: "{n}.shared.example:7", id: {n}' for n in "ab"}
    with dnslab.workload_of("device", policy(*rules.values()), says()) as agent:
        for n in "ab":
            assert agent.do("resolve", name=f"{n}.shared.example")["reply"]
        assert agent.do("tcp", to=WEB[4], port=7)["errno"] is None
        last = rules["b" if first == "a" else "a"]
        dnslab.device.attach(policy(last))
        assert agent.do("tcp", to=WEB[4], port=7)["errno"] is None
        dnslab.device.attach(policy('allow: "c.shared.example:7", id: c'))
        assert agent.do("tcp", to=WEB[4], port=7, timeout=0.3)["errno"]


def test_up_to_eight_owners(dnslab):
    """Of nine rules: the ninth's name does not get the address, and with the first eight gone
    it is not there."""
    def rule(i):
        return f'allow: "n{i}.shared.example:7", id: n{i}'
    with dnslab.workload_of("device", policy(*map(rule, range(9))), says()) as agent:
        for i in range(9):
            assert agent.do("resolve", name=f"n{i}.shared.example")["reply"]
        for i in range(9):
            dnslab.device.attach(policy(rule(i)))
            assert (agent.do("tcp", to=WEB[4], port=7, timeout=0.3)["errno"] is None) == (i < 8), i


@watched
@families
@pytest.mark.parametrize("longest", ["first", "ninth"])
def test_more_than_eight_names_of_one_rule(dnslab, mode, family, longest):
    """Names behind one address of a CDN: it is theirs until the last one's time is over."""
    kind = dnsmsg.A if family == 4 else dnsmsg.AAAA
    names = [f"n{i}.shared.example" for i in range(9)]
    long, shared = names[0 if longest == "first" else 8], WEB[family]
    other = shared[:-2] + "81"

    def say(query):
        name = dnsmsg.question_of(query)[0]
        return [dnsmsg.answer(query, [dnsmsg.record(
            None, kind, shared if name in names else other, 60 if name == long else 1)])]

    text = policy('allow: "*.shared.example:7", id: shared', dns="ttl: {min: 1s, max: 60s}")
    with dnslab.workload_of(mode, text) as agent:
        dnslab.says.handler = say
        for name in [*names, "short.shared.example"]:
            assert agent.do("ask", to=SAYS[family], messages=[dnsmsg.query(name, kind).hex()])[
                "reply"], name
        for to in (shared, other):
            assert agent.do("tcp", to=to, port=7)["errno"] is None
        assert until(lambda: agent.do("tcp", to=other, port=7, timeout=0.3)["errno"], 5, 0.2)
        assert agent.do("tcp", to=shared, port=7)["errno"] is None


# ---- the language ----

@watched
@families
def test_no_direct_ip(dnslab, mode, family):
    """`*` is any name, but only addresses that DNS gave."""
    lines = [f"nameserver {SAYS[family]}"]
    with dnslab.workload_of(mode, policy('allow: "*:7", id: any'), lines) as agent:
        assert agent.do("tcp", to=WEB[family], port=7, timeout=0.3)["errno"]
        assert agent.do("resolve", name="what.ever.example")["reply"]
        assert agent.do("tcp", to=WEB[family], port=7)["errno"] is None
        other = WEB[family][:-2] + "81"
        assert agent.do("tcp", to=other, port=7, timeout=0.3)["errno"]
        assert agent.do("tcp", to=WEB[family], port=8, timeout=0.3)["errno"]


@watched
@pytest.mark.parametrize("rules, allowed", [
    (['deny: "hidden.good.example"', GOOD], False),
    ([GOOD, 'deny: "hidden.good.example"'], True),
    (['allow: "hidden.good.example:7"', 'deny: "*.good.example"'], True),
    (['deny: "*.good.example"', 'allow: "hidden.good.example:7"'], False),
])
def test_the_first_rule_in_the_file_decides(dnslab, mode, rules, allowed):
    with dnslab.workload_of(mode, policy(*rules), ["nameserver 192.0.2.2"]) as agent:
        found = agent.do("resolve", name="hidden.good.example")
        assert bool(found["reply"]) == allowed, found
        assert (agent.do("tcp", to="198.51.100.31", port=7, timeout=0.3)["errno"] is None) == allowed


@watched
@pytest.mark.parametrize("denied", [True, False])
def test_a_chain_through_a_denied_name(dnslab, mode, denied):
    rules = ['deny: "c5.cdn.example"'] * denied + [GOOD]
    with dnslab.workload_of(mode, policy(*rules), ["nameserver 192.0.2.2",
                                                   "options timeout:1 attempts:1"]) as agent:
        found = agent.do("resolve", name="chain.good.example")
        assert bool(found["reply"]) != denied, found
        errno = agent.do("tcp", to="198.51.100.20", port=7, timeout=0.3)["errno"]
        assert (errno is None) != denied


@watched
def test_queries_any(dnslab, mode):
    """Any name may be asked; the unlisted teach nothing."""
    with dnslab.workload_of(mode, policy(GOOD, dns="queries: any")) as agent:
        assert agent.do("resolve", name="a.bad.example")["reply"]
        assert agent.do("tcp", to="198.51.100.30", port=7, timeout=0.3)["errno"]
        assert agent.do("resolve", name="h0.good.example")["reply"]
        assert agent.do("tcp", to="198.51.100.10", port=7)["errno"] is None


@watched
def test_audit(dnslab, mode):
    """Everything passes, and is reported."""
    with dnslab.workload_of(mode, policy(GOOD), options=["--audit"], watch=True) as agent:
        assert agent.do("resolve", name="a.bad.example")["reply"]
        assert agent.do("tcp", to="198.51.100.30", port=7)["errno"] is None
        if mode == "run":
            agent.close()
        events = agent.events if mode == "run" else dnslab.device.events
        assert until(lambda: matching(events(), event="dns", verdict="audit-deny"))
        assert until(lambda: matching(events(), destination="198.51.100.30", verdict="audit-deny"))
        assert not matching(events(), verdict="deny")


@watched
def test_events(dnslab, mode):
    with dnslab.workload_of(mode, policy(GOOD), watch=True) as agent:
        pid = agent.do("status")["pid"]
        agent.do("resolve", name="A.bad.Example")
        agent.do("resolve", name="h0.good.example")
        agent.do("tcp", to="198.51.100.10", port=22, timeout=0.3)
        if mode == "run":
            agent.close()
        events = agent.events if mode == "run" else dnslab.device.events
        assert until(lambda: matching(events(), event="dns"))
        assert until(lambda: matching(events(), destination="198.51.100.10"))
        for e in matching(events(), event="dns"):
            assert e["question"]["name"] == "a.bad.example" and e["reason"] == "dns-name"
            assert e["question"]["type"] in ("A", "AAAA")
            assert e["process"]["pid"] == (None if mode == "device" else pid)
        [e] = matching(events(), destination="198.51.100.10")
        assert e["destination"]["name"] == "h0.good.example" and e["event"] == "connection"


# ---- no process of Sluice is alive ----

def test_names_go_on_without_a_process(dnslab):
    """On a device no process is alive at all; a command's goes on after kill -9 of run."""
    with dnslab.workload_of("run", policy(GOOD), options=["--leave"]) as agent:
        assert agent.do("lookups", names=NAMES, times=3)["reply"]["failed"] == 0
        sluice = agent.process.pid
        os.kill(sluice, signal.SIGKILL)
        os.waitpid(sluice, 0)
        agent.process.returncode = -9
        said = agent.do("lookups", names=NAMES, times=40)["reply"]
        assert said["failed"] == 0 and said["done"] == 40, said
        assert agent.do("resolve", name="a.bad.example")["errno"]


def test_nsswitch(dnslab):
    with dnslab.workload_of("run", policy(GOOD)) as agent:
        said = agent.do("command", argv=["grep", "^hosts:", "/etc/nsswitch.conf"])["reply"]
        assert said.split() == ["hosts:", "files", "dns"]
