# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Who may teach a cgroup's target which addresses a name has (docs/names.md, "Answers"): nobody
himself. A workload that answers its own question, in network namespaces of its own, is first shown to
reach the address where nobody watches."""
import json
import os

import pytest

import cgrouplab
import dnsmsg
import lab as base
from attacklab import inject, ip_packet
from dnslab import GOOD, REAL, SAYS, WEB, policy
from lab import PYTHON, WORKLOAD4, WORKLOAD6

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")

families = pytest.mark.parametrize("family", [4, 6])
GOAL = {4: "203.0.113.7", 6: "2001:db8:1::bad"}
WORKLOAD = {4: WORKLOAD4, 6: WORKLOAD6}
ELSEWHERE = ["unshare", "--user", "--map-root-user", "--net"]


@pytest.fixture(scope="module", name="tree")
def tree_of_module(dnslab):
    made = cgrouplab.Cgroups("cgt", dnslab)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def clean(tree):
    yield
    tree.lab.says.handler = tree.lab.says.plain
    tree.reset()


def workload(tree, path, *before, ns=None):
    lab = tree.lab
    agent = base.Agent(lab.inside(ns) + tree.within(path) + list(before) +
                       [PYTHON, str(lab.folder / "dns_client.py")], lab.new_folder())
    lab.agents.append(agent)
    return agent


def reaches(agent, to):
    return agent.do("tcp", to=to, port=7, timeout=0.25)["errno"] is None


def asks(family, name, address):
    """A question, and an answer to it."""
    kind = dnsmsg.A if family == 4 else dnsmsg.AAAA
    query = dnsmsg.query(name, kind, 0x1234)
    return query, dnsmsg.answer(query, [dnsmsg.record(None, kind, address)])


def honest(tree, agent, family, name="honest.good.example"):
    """The paired allow: a plain lookup works, and its address is reached."""
    query, _ = asks(family, name, WEB[family])
    assert agent.do("ask", to=SAYS[family], messages=[query.hex()])["reply"]
    assert reaches(agent, WEB[family])


def answers_itself(agent, family, where, to=None, **more):
    query, answer = asks(family, "x.good.example", GOAL[family])
    said = agent.do("answers_itself", where=where, to=to or SAYS[family], message=query.hex(),
                    answer=answer.hex(), **more)
    assert said["reply"] == answer.hex(), said


@families
@pytest.mark.parametrize("where", ["here", "elsewhere", "tun"])
def test_a_resolver_of_ones_own(tree, family, where):
    """At an address of this machine's, or in a network namespace that the workload has made and
    where any address is its own. The name that it is for is known all the same."""
    path, lab = tree.make("own"), tree.lab
    to = WORKLOAD[family] if where == "here" else SAYS[family]
    text = policy(GOOD).replace(f'"{REAL[family]}"', f'"{WORKLOAD[family]}"')
    agent = workload(tree, path)
    lab.sysctl(lab.workload, "net.ipv4.ip_unprivileged_port_start=0")
    try:
        answers_itself(agent, family, where, to)
        assert reaches(agent, GOAL[family])
        tree.attach(path, text)
        answers_itself(agent, family, where, to)
        assert not reaches(agent, GOAL[family])
        honest(tree, agent, family)
    finally:
        lab.sysctl(lab.workload, "net.ipv4.ip_unprivileged_port_start=1024")


@families
@pytest.mark.parametrize("first", ["home", "elsewhere"])
def test_sockets_older_than_the_policy(tree, family, first):
    """No program has seen in which namespace they were made; and the one that is on record for the
    cgroup, its first process's, may be the workload's own."""
    path = tree.make("old")
    words = {"home": (), "elsewhere": ELSEWHERE}
    agents = {}
    for who in (first, *(w for w in words if w != first)):
        agents[who] = workload(tree, path, *words[who])
        agents[who].do("cgroup")        # it is there, before the next one
    home, elsewhere = agents["home"], agents["elsewhere"]
    assert reaches(home, GOAL[family])
    for agent, kind in ((home, "SOCK_STREAM"), (elsewhere, "SOCK_DGRAM")):
        agent.do("made", to=GOAL[family], type=kind, hold="old")
    tree.attach(path, policy(GOOD))
    for more in ({"use": "old"}, {}):
        answers_itself(elsewhere, family, "tun here", **more)
        assert not reaches(home, GOAL[family])
    assert home.do("talk_held", use="old", to=GOAL[family])["errno"] == "ECONNREFUSED"
    honest(tree, home, family)


@families
def test_each_namespace_learns_for_itself(tree, family):
    """What one container of a cgroup was told the other one may not use, until it asks itself."""
    path = tree.make("two")
    one, two = workload(tree, path), workload(tree, path, ns=tree.lab.peer)
    assert reaches(two, WEB[family])
    tree.attach(path, policy(GOOD))
    honest(tree, one, family)
    assert not reaches(two, WEB[family])
    honest(tree, two, family)
    assert reaches(one, WEB[family])


@families
@pytest.mark.parametrize("drop, told", [
    ("", ["CAP_NET_ADMIN and CAP_NET_RAW"]), ("-net_raw", ["CAP_NET_ADMIN"]),
    ("-net_admin", ["CAP_NET_RAW"]), ("-net_admin,-net_raw", []), ("", None)])
def test_status_says_who_can(tree, family, drop, told):
    """CAP_NET_ADMIN over the namespace that has the way out: no program of a cgroup's can tell, so
    `status` does. Not for who has it in a user namespace of his own."""
    path = tree.make("mighty")
    words = ["setpriv", f"--bounding-set={drop}"] if drop else []
    if told is None:
        words = ["unshare", "--user", "--map-root-user"]
    agent = workload(tree, path, *words)
    agent.do("cgroup")
    tree.attach(path, policy(GOOD))
    if told and "CAP_NET_ADMIN" in told[0]:
        answers_itself(agent, family, "tun here")
        assert reaches(agent, GOAL[family])
    warnings = [w for w in json.loads(tree.sluice("status", "-o", "json").stdout)["warnings"]
                if "questions of its own" in w]
    pid = (path / "cgroup.procs").read_text().split()[0]
    assert [w.split(": it can")[0] for w in warnings] == [
        f"{path}: process {pid} has {what}" for what in told or []]
    tree.attach(path, cgrouplab.policy("allow: any"))
    assert "questions of its own" not in tree.sluice("status").stdout


@families
def test_a_frame_on_lo(tree, family):
    """What CAP_NET_RAW can where the resolver is an IPv6 address of this namespace: no hook sees who
    sent the answer, so `status` says who has it. IPv4 takes its own address on a frame for a martian."""
    path, lab, own = tree.make("raw"), tree.lab, WORKLOAD[family]
    agent = workload(tree, path, "setpriv", "--bounding-set=-net_admin")
    tree.attach(path, policy(GOOD).replace(f'"{REAL[family]}"', f'"{own}"'))
    query, answer = asks(family, "x.good.example", GOAL[family])
    with lab.bound_in(lab.workload, own) as resolver:
        agent.do("ask", to=own, messages=[query.hex()], hold="s", timeout=0.1)
        _, peer = resolver.recvfrom(512)
        assert not reaches(agent, GOAL[family])
        inject(lab, lab.workload, "lo", ip_packet(own, peer[0], answer, dport=peer[1]))
        heard = agent.do("hear", use="s", timeout=0.5)["reply"]
        assert heard == ([answer.hex()] if family == 6 else [])
        assert reaches(agent, GOAL[family]) == (family == 6)
    assert "has CAP_NET_RAW: it can send past" in tree.sluice("status").stdout
