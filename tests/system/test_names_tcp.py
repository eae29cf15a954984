# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names where TCP is not what it seems (docs/names.md): a socket that continues another one's
connection at a place of its choice (TCP_REPAIR), and data on a SYN (Fast Open). Each is first shown
to arrive where nobody watches. TCP_REPAIR wants CAP_NET_ADMIN over the network namespace."""
import contextlib
import itertools
import os
import socket
import struct

import pytest

import cgrouplab
import dnsmsg
import lab as base
from dnslab import GOOD, SAYS, policy
from echoes import TCP_FASTOPEN
from lab import PYTHON
from snilab import ADDRESS, VERIFY, hello, learn

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")

IDENTS = itertools.count(0x5000)        # what TCP has of an earlier one may come later
MODES = ["none", "run", "device", "cgroup"]
watched = pytest.mark.parametrize("mode", MODES[1:])
families = pytest.mark.parametrize("family", [4, 6])


@pytest.fixture(scope="module", name="tree")
def tree_of_module(dnslab):
    made = cgrouplab.Cgroups("ntc", dnslab)
    dnslab.sysctl(dnslab.workload, "net.ipv4.tcp_fastopen=5")       # without a cookie
    dnslab.sysctl(dnslab.peer, "net.ipv4.tcp_fastopen=514")
    for listener in dnslab.says.streams:
        listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
    try:
        yield made
    finally:
        for ns in (dnslab.workload, dnslab.peer):
            dnslab.sysctl(ns, "net.ipv4.tcp_fastopen=3")
        made.close()


@contextlib.contextmanager
def workload(tree, mode, text):
    lab = tree.lab
    if mode != "cgroup":
        options = ["--keep-privileges"] if mode == "run" else []
        with lab.workload_of(mode, text, options=options) as agent:
            yield agent
        return
    path = tree.make("tcp")
    tree.attach(path, text)
    agent = base.Agent(lab.inside() + tree.within(path) + lab.resolvconf("nameserver 192.0.2.2") +
                       [PYTHON, str(lab.folder / "dns_client.py")], lab.new_folder())
    lab.agents.append(agent)
    try:
        yield agent
    finally:
        tree.reset()


def stream(message):
    return struct.pack("!H", len(message)) + message


def asked(name, ident, option=b""):
    tail = dnsmsg.opt(option) if option else b""
    return dnsmsg.query(name, dnsmsg.A, ident, tail=tail)


@watched
@families
@pytest.mark.parametrize("same", [False, True])
def test_a_question_within_another(tree, mode, family, same):
    """The resolver has the first question, and of the second one, which goes back over its end, reads
    only what stands in its option: a question of its own."""
    says = tree.lab.says
    for m in ("none", mode):
        ident = next(IDENTS)
        hidden = stream(asked("a.evil.example", ident))
        option = struct.pack("!HH", 10, len(hidden)) + hidden
        one, two = (stream(asked("x.good.example", 1)), stream(asked("y.good.example", 2, option)))
        back = len(two) - len(hidden)
        with workload(tree, m, policy(GOOD)) as agent:
            before = len(says.asked)
            plain = agent.do("ask_stream", to=SAYS[family], segments=[one.hex()])
            assert plain["reply"], plain
            said = agent.do("repaired", to=SAYS[family], port=53, data=one.hex(), first=12, back=back,
                            then=two.hex(), same=same, timeout=0.4)
            found = [q for q in says.asked[before:] if q[:2] == struct.pack("!H", ident)]
            assert bool(found) == (m == "none"), (said, says.asked[before:])


@watched
@families
@pytest.mark.parametrize("which", ["behind a hello", "before a hello"])
def test_a_hello_within_another(tree, mode, family, which):
    """A server that is looked for: the second socket writes over the first one's hello, or leaves room
    for one. (An echo: what comes back is what the server has read.)"""
    good, evil = hello("h1.good.example"), hello("www.evil.example")
    data, back = (good, len(good)) if which == "behind a hello" else (b"", 0)
    then = good + evil if data else evil
    for m, text in (("none", ""), (mode, policy(GOOD)), (mode, policy(VERIFY))):
        with workload(tree, m, text) as agent:
            learn(agent, family)
            said = agent.do("repaired", to=ADDRESS[family], port=7, data=data.hex(), first=len(data),
                            back=back, then=then.hex(), timeout=0.4)
            open_ = text != policy(VERIFY) or bool(data)
            assert (said["reply"] == evil.hex()) == open_, said


@watched
@families
def test_a_question_on_a_syn(tree, mode, family):
    """It is judged where it stands."""
    for m in ("none", mode):
        with workload(tree, m, policy(GOOD)) as agent:
            for name in ("a.evil.example", "x.good.example"):
                message = asked(name, next(IDENTS))
                before = len(tree.lab.says.asked)
                said = agent.do("fast_opened", to=SAYS[family], port=53, data=stream(message).hex(),
                                timeout=0.4)
                allowed = m == "none" or "good" in name
                assert bool(said["reply"] and said["reply"]["got"]) == allowed, said
                assert (message in tree.lab.says.asked[before:]) == allowed
                assert not allowed or said["reply"]["taken"]


@watched
@families
def test_a_hello_on_a_syn(tree, mode, family):
    """Not even a good one: what the server takes of it is not known. A command's kernel then sends it
    in a plain connection."""
    good, evil = hello("h1.good.example"), hello("www.evil.example")
    for m, text in (("none", ""), (mode, policy(GOOD)), (mode, policy(VERIFY))):
        with workload(tree, m, text) as agent:
            learn(agent, family)
            for data in (evil, good):
                said = agent.do("fast_opened", to=ADDRESS[family], port=7, data=data.hex(), timeout=0.4)
                if text != policy(VERIFY):
                    assert said["reply"] == {"got": data.hex(), "taken": True}, said
                elif data == good and mode != "device":
                    assert said["reply"] == {"got": data.hex(), "taken": False}, said
                else:
                    assert said["errno"], said
            assert agent.do("pieces_echoed", to=ADDRESS[family], segments=[good.hex()])["reply"]
