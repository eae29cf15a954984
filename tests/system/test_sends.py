# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Ways to send that could go elsewhere than the hooks see: io_uring with its workers and its
kernel thread, corks, messages with options of their own, shared ports. From a cgroup that
`sluice attach` gave a policy; each arrives before."""
import os
import pathlib
import shutil

import pytest

import dnsmsg
import lab as base
from cgrouplab import policy
from dnslab import GOOD, SAYS
from dnslab import policy as names_policy
from lab import ECHO, PEER4, PEER6, PYTHON, WORKLOAD4, WORKLOAD6, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
TREE_OVER = "dnslab"
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
PEERS = policy(f'allow: ["{PEER4}", "{PEER6}"], id: peers', name="peers")
NOTHING = policy(name="nothing")
CLIENT = pathlib.Path(__file__).with_name("send_client.py")
OPERATIONS = ("connect", "socket", "sendmsg", "sendto", "sendmsg_zc", "sendto_zc", "send",
              "send_zc")
BY = ("plain", "async", "sqpoll")
# kinds, what a denial is called, options
SENDS = [
    ("pktinfo", "EHOSTUNREACH", {"device": "w0"}), ("gso", "EHOSTUNREACH", {}),
    ("confirm", "EHOSTUNREACH", {}), ("zerocopy", "EHOSTUNREACH", {}), ("from_file", "EPERM", {}),
    ("through_pipe", "EPERM", {}), ("bound_to_device", "EHOSTUNREACH", {"device": "w0"}),
    ("tfo", "ECONNREFUSED", {}), ("fast_open_connect", "ECONNREFUSED", {}),
]


def workload(tree, path):
    """An agent in the cgroup that knows send_client.py's ways."""
    lab = tree.lab
    program = lab.folder / CLIENT.name
    shutil.copy(CLIENT, program)
    agent = base.Agent(lab.inside() + tree.within(path) + [PYTHON, str(program)], lab.new_folder())
    lab.agents.append(agent)
    return agent


def peer(v6):
    return PEER6 if v6 else PEER4


def error_of(operation):
    if operation in ("connect", "socket"):
        return "ECONNREFUSED", "connect"
    return ("EPERM" if operation in ("send", "send_zc") else "EHOSTUNREACH"), "send"


@FAMILIES
@pytest.mark.parametrize("by", BY)
def test_io_uring(tree, uring, v6, by):
    """Whoever carries it out, the caller, a worker or the kernel's polling thread: the socket is
    of the workload's cgroup, one that io_uring makes too, and so is the task, or it would be
    a foreign one."""
    lab, path = tree.lab, tree.make("uring")
    agent = workload(tree, path)
    request = {"port": ECHO, "helper": uring, "by": by}
    free = lab.fresh(v6)
    for operation in OPERATIONS:
        result = agent.do("io_uring", operation=operation, to=free, **request)
        if result["at"] == "io_uring_setup":
            pytest.skip(f"this kernel gives no io_uring: {result['errno']}")
        assert result["reply"] == "hello", (operation, result)
    assert len(lab.wire.seen(free)) >= len(OPERATIONS)
    tree.attach(path, PEERS)
    tree.watch()
    denied = []
    for operation in OPERATIONS:
        shut = lab.fresh(v6)
        result = agent.do("io_uring", operation=operation, to=shut, **request)
        assert (result["errno"], result["at"]) == error_of(operation), (operation, result)
        assert not lab.wire.seen(shut)
        denied.append(shut)
        result = agent.do("io_uring", operation=operation, to=peer(v6), **request)
        assert result["reply"] == "hello", (operation, result)
    events = tree.events()
    assert [e["destination"]["address"] for e in events] == denied
    assert {e["reason"] for e in events} == {"default"}


@FAMILIES
@pytest.mark.parametrize("kind, error, options", SENDS, ids=[s[0] for s in SENDS])
def test_sends(tree, v6, kind, error, options):
    """Each with what it says beside the address, and none gets by."""
    lab, path = tree.lab, tree.make("sends")
    agent, open_to, shut = workload(tree, path), lab.fresh(v6), lab.fresh(v6)
    options = {"port": ECHO, "source": WORKLOAD6 if v6 else WORKLOAD4, **options}
    free = agent.do(kind, to=open_to, **options)
    assert free["errno"] is None, free
    assert lab.wire.seen(open_to)
    tree.attach(path, PEERS)
    result = agent.do(kind, to=shut, **options)
    assert result["errno"] == error, result
    assert agent.do(kind, to=peer(v6), **options)["errno"] is None
    assert not lab.wire.seen(shut)


@FAMILIES
@pytest.mark.parametrize("connect", [False, True], ids=["sendto", "connected"])
def test_a_cork_and_another_address(tree, v6, connect):
    """What is corked has the address that it was begun with, but over IPv4 the one that the socket
    was connected to last: the packet's hook sees the one that it leaves with."""
    lab, path = tree.lab, tree.make("cork")
    agent, shut = workload(tree, path), lab.fresh(v6)
    request = {"port": ECHO, "connect": connect}
    for first, to in ((shut, peer(v6)), (peer(v6), shut)):
        agent.do("corked", first=first, to=to, **request)
    before = len(lab.wire.seen(shut))
    assert before
    tree.attach(path, PEERS)
    agent.do("corked", first=peer(v6), to=shut, **request)
    ended = agent.do("corked", first=shut, to=peer(v6), **request)
    assert len(lab.wire.seen(shut)) == before
    assert connect or (ended["errno"], ended["at"]) == ("EHOSTUNREACH", "first")
    assert agent.do("corked", first=peer(v6), to=peer(v6), **request)["errno"] is None


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_segment_routing_header(tree, kind):
    """IPV6_RTHDR, which wants no privilege: connect() names an allowed address, the wire another.
    (IPv4's source route: test_bypass.py.)"""
    lab, path = tree.lab, tree.make("routed")
    agent, hop = workload(tree, path), lab.fresh(True)
    request = {"type": kind, "to": PEER6, "first": hop, "port": ECHO, "timeout": 0.5}
    free = agent.do("segment_routed", **request)
    if free["at"] == "setsockopt":
        pytest.skip(f"this kernel has no segment routing: {free['errno']}")
    before = len(lab.wire.seen(hop))
    assert before
    tree.attach(path, PEERS)
    tree.watch()
    assert agent.do("segment_routed", **request)["errno"] in ("EPERM", "timeout")
    assert len(lab.wire.seen(hop)) == before
    assert "routing-header" in {e["reason"] for e in tree.events()}
    assert agent.do("udp", to=PEER6, port=ECHO)["reply"] == "hello"


@FAMILIES
def test_a_port_that_two_targets_share(tree, v6):
    """SO_REUSEPORT: what one target's socket sent is answered to the other's, which is connected
    there. It has no flow in its own target."""
    lab, mine, others = tree.lab, tree.make("mine"), tree.make("others")
    agents = workload(tree, mine), workload(tree, others)
    request = {"to": peer(v6), "port": ECHO, "source_port": 4711, "hold": "s",
               "from": WORKLOAD6 if v6 else WORKLOAD4}
    agents[0].do("shared_port", **request)
    agents[1].do("shared_port", connect=True, **request)
    tree.attach(mine, PEERS)
    for text, heard in ((None, "hello"), (NOTHING, None), (PEERS, None)):
        if text:
            tree.attach(others, text)
        assert agents[0].do("say", use="s", to=peer(v6), port=ECHO)["errno"] is None
        said = agents[1].do("hear", use="s", timeout=1.0 if heard else 0.4)
        assert said["reply"] == heard, (text, said)
    # its own flow: the address and port of the first target's
    assert agents[1].do("say", use="s", to=peer(v6), port=ECHO)["errno"] is None
    assert agents[1].do("hear", use="s")["reply"] == "hello"


@FAMILIES
def test_a_port_that_shares_an_answer(tree, v6):
    """The same with a question: who gets the answer has not asked, and neither learns from it."""
    lab, mine, others = tree.lab, tree.make("mine"), tree.make("others")
    family = 6 if v6 else 4
    agents = workload(tree, mine), workload(tree, others)
    request = {"to": SAYS[family], "port": 53, "source_port": 4712, "hold": "s",
               "from": WORKLOAD6 if v6 else WORKLOAD4}
    agents[0].do("shared_port", **request)
    agents[1].do("shared_port", connect=True, **request)
    goal = lab.fresh(v6)
    kind = dnsmsg.AAAA if v6 else dnsmsg.A
    lab.says.handler = lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, kind, goal)])]

    def asks(number, ident):
        message = dnsmsg.query("h.good.example", kind, ident)
        return agents[number].do("say", use="s", to=SAYS[family], port=53, data=message.hex())
    try:
        assert asks(0, 1)["errno"] is None
        assert agents[1].do("hear", use="s")["errno"] is None, "without a policy it is delivered"
        for path in (mine, others):
            tree.attach(path, names_policy(GOOD))
        tree.watch()
        before = len(lab.says.asked)
        assert asks(0, 2)["errno"] is None
        assert until(lambda: len(lab.says.asked) > before)
        assert agents[1].do("hear", use="s", timeout=0.4)["errno"] == "timeout"
        for agent in agents:
            assert agent.do("tcp", to=goal, port=7)["errno"] == "ECONNREFUSED"
        assert asks(1, 3)["errno"] is None
        assert agents[1].do("hear", use="s")["errno"] is None
        assert agents[1].do("tcp", to=goal, port=7)["errno"] is None
        assert agents[0].do("tcp", to=goal, port=7)["errno"] == "ECONNREFUSED"
        assert asks(0, 4)["errno"] is None      # where the other one has a flow to the resolver
        assert agents[1].do("hear", use="s", timeout=0.4)["errno"] == "timeout"
        assert {"unsolicited", "dns-answer"} <= {e["reason"] for e in tree.events()}
    finally:
        lab.says.handler = lab.says.plain
