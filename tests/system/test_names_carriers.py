# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Answers that come otherwise than one to a packet: in fragments, and several in one buffer of the
kernel (UDP_SEGMENT of who sends on the same machine, and receive offload: UDP_GRO,
rx-udp-gro-forwarding, rx-gro-list)."""
import contextlib
import ctypes
import fcntl
import os
import socket
import struct

import pytest

import dnsmsg
from dnslab import GOOD, SAYS, policy
from dnsmsg import A, AAAA
from lab import ETH_P_ALL, sh, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
families = pytest.mark.parametrize("family", [4, 6])
UDP_SEGMENT = 103
GOALS = {4: ["203.0.113.7", "203.0.113.8"], 6: ["2001:db8:1::b7", "2001:db8:1::b8"]}
FLUSH_NS = 50_000_000
SIOCETHTOOL, ETHTOOL_GSTRINGS, ETHTOOL_SFEATURES = 0x8946, 0x1b, 0x3b
ETH_SS_FEATURES, NAME = 4, 32


def kind(family):
    return A if family == 4 else AAAA


def reaches(agent, to):
    return agent.do("tcp", to=to, port=7, timeout=0.5)["errno"] is None


def ask(agent, family, *names, timeout=0.5, **options):
    messages = [dnsmsg.query(name, kind(family), 0x100 + i).hex() for i, name in enumerate(names)]
    return agent.do("ask", to=SAYS[family], messages=messages, timeout=timeout, **options)["reply"]


def with_address(query, family, number, after=b"", counts=None):
    record = dnsmsg.record(None, kind(family), GOALS[family][number])
    return dnsmsg.answer(query, [record], counts=counts, after=after)


# ---- fragments ----

@families
@pytest.mark.parametrize("size, learned", [(3000, True), (4096, True), (4097, False)])
def test_an_answer_in_fragments(dnslab, family, size, learned):
    """The kernel puts it together before it reaches a command's socket, and so it is judged: up to
    4,096 bytes it teaches, beyond it is refused. The address stands before all that makes it
    long, in the first fragment."""
    def handler(query):
        bare = with_address(query, family, 0)
        rest = size - len(bare) - len(dnsmsg.opt())
        return [with_address(query, family, 0, dnsmsg.opt(bytes(rest)), (1, 0, 1))]
    for mode in ("none", "run"):
        with dnslab.workload_of(mode, policy(GOOD)) as agent:
            dnslab.says.handler = handler
            assert reaches(agent, GOALS[family][0]) == (mode == "none")
            got = ask(agent, family, "long.good.example")
            assert [len(answer) // 2 for answer in got] == ([size] if mode == "none" or learned
                                                            else [])
            assert reaches(agent, GOALS[family][0]) == (mode == "none" or learned)
        events = agent.close().events
    assert learned or "dns-answer" in {e["reason"] for e in events}


@families
@pytest.mark.parametrize("fragments", ["deny", "first-decides"])
def test_an_answer_in_fragments_at_a_device(dnslab, family, fragments):
    """There each fragment is a packet of its own: the first has no whole message, and is refused.
    What is whole teaches."""
    def handler(query):
        long = b"long" in query
        after = dnsmsg.opt(bytes(3000)) if long else b""
        return [with_address(query, family, 0 if long else 1, after, (1, 0, int(long)))]
    for mode in ("none", "device"):
        with dnslab.workload_of(mode, policy(GOOD, fragments=fragments), watch=True) as agent:
            dnslab.says.handler = handler
            assert bool(ask(agent, family, "long.good.example")) == (mode == "none")
            assert reaches(agent, GOALS[family][0]) == (mode == "none")
            assert ask(agent, family, "short.good.example")
            assert reaches(agent, GOALS[family][1])
            assert mode == "none" or until(lambda: "fragment" in {
                e["reason"] for e in dnslab.device.events()})


# ---- several in one buffer ----

def both_at_once(dnslab, family, forged=False):
    """Two questions, whose answers leave by one call. forged: the second answer is to a question
    that nobody asked."""
    asked = []

    def handler(query):
        asked.append(query)
        if len(asked) < 2:
            return []
        second = dnsmsg.query("c.good.example", kind(family), 0x999) if forged else asked[1]
        answers = with_address(asked[0], family, 0), with_address(second, family, 1)
        assert len(answers[0]) == len(answers[1])
        dnslab.says.places[SAYS[family], 53].sendmsg(
            [b"".join(answers)],
            [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(answers[0])))], 0,
            dnslab.says.peers[family])
        return []
    return handler


@families
@pytest.mark.parametrize("forged", [False, True])
def test_two_answers_in_one_buffer(dnslab, family, forged):
    """The kernel takes them apart before it hands them to a socket: each is judged, and what
    nobody asked for teaches nothing."""
    for mode in ("none", "run"):
        with dnslab.workload_of(mode, policy(GOOD)) as agent:
            dnslab.says.handler = both_at_once(dnslab, family, forged)
            got = ask(agent, family, "a.good.example", "b.good.example")
            assert len(got) == (1 if forged and mode == "run" else 2)
            assert reaches(agent, GOALS[family][0])
            assert reaches(agent, GOALS[family][1]) == (mode == "none" or not forged)


@families
@pytest.mark.parametrize("mode", ["run", "device"])
def test_two_answers_that_stay_in_one_buffer(dnslab, family, mode):
    """A socket with UDP_GRO gets the whole buffer, a device passes it on: a second message nobody
    would look at, so it is refused (docs/names.md). One by one they teach."""
    for m in ("none", mode):
        with dnslab.workload_of(m, policy(GOOD), watch=True) as agent:
            dnslab.says.handler = both_at_once(dnslab, family)
            got = ask(agent, family, "a.good.example", "b.good.example", gro=mode == "run")
            assert bool(got) == (m == "none")
            assert [reaches(agent, goal) for goal in GOALS[family]] == 2 * [m == "none"]
            for number, name in enumerate(("a.good.example", "b.good.example")):
                dnslab.says.handler = lambda q, n=number: [with_address(q, family, n)]
                assert ask(agent, family, name, gro=mode == "run")
                assert reaches(agent, GOALS[family][number])
            if m == "device":
                assert until(lambda: "dns-answer" in {
                    e["reason"] for e in dnslab.device.events()})
        if m == "run":
            assert "dns-answer" in {e["reason"] for e in agent.close().events}


def set_feature(sock, device, name, on):
    """`ethtool -K DEVICE NAME on|off`."""
    def ioctl(data):
        block = ctypes.create_string_buffer(data, len(data))
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", device.encode(),
                                                   ctypes.addressof(block)))
        return block.raw
    said = ioctl(struct.pack("=III", ETHTOOL_GSTRINGS, ETH_SS_FEATURES, 0) + bytes(NAME * 256))
    names = [said[at:at + NAME].split(b"\0")[0].decode() for at in range(12, len(said), NAME)]
    bit, blocks = names.index(name), (struct.unpack_from("=I", said, 8)[0] + 31) // 32
    words = [0] * 2 * blocks
    words[bit // 32 * 2] = 1 << bit % 32
    words[bit // 32 * 2 + 1] = on << bit % 32
    ioctl(struct.pack(f"=II{2 * blocks}I", ETHTOOL_SFEATURES, blocks, *words))


@pytest.fixture(name="coalescing", params=["rx-udp-gro-forwarding", "rx-gro-list"])
def make_coalescing(dnslab, request):
    """The workload's end of the veth puts datagrams of one flow that come within FLUSH_NS into one
    buffer; back to what it was afterwards."""
    def flush(nanoseconds):
        sh("ip", "netns", "exec", dnslab.workload, "sh", "-c",
           f"echo {nanoseconds} > /sys/class/net/w0/gro_flush_timeout")
    with dnslab.socket(dnslab.workload, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for name in ("rx-gro", request.param):
            set_feature(sock, "w0", name, True)
        flush(FLUSH_NS)
        yield request.param
        flush(0)
        for name in (request.param, "rx-gro"):
            set_feature(sock, "w0", name, False)


@contextlib.contextmanager
def capture(dnslab):
    """What has come in at the workload's end, a buffer each."""
    with dnslab.socket(dnslab.workload, socket.AF_PACKET, socket.SOCK_DGRAM,
                       socket.htons(ETH_P_ALL)) as sock:
        sock.bind(("w0", ETH_P_ALL))
        sock.setblocking(False)

        def frames():
            with contextlib.suppress(BlockingIOError):
                while True:
                    yield sock.recv(65536)
        yield frames


@families
def test_answers_that_the_receiver_joins(dnslab, family, coalescing):
    """Each is judged by itself, and teaches."""
    joined = []

    def handler(query):
        joined.append(query)
        if len(joined) < 2:
            return []
        for number, asked in enumerate(joined):
            dnslab.says.send(family, with_address(asked, family, number))
        return []
    for mode in ("none", "run"):
        with dnslab.workload_of(mode, policy(GOOD)) as agent, capture(dnslab) as frames:
            joined.clear()
            dnslab.says.handler = handler
            got = ask(agent, family, "a.good.example", "b.good.example", timeout=2)
            assert len(got) == 2, coalescing
            assert [reaches(agent, goal) for goal in GOALS[family]] == [True, True]
            goals = [dnsmsg.address(goal) for goal in GOALS[family]]
            assert any(all(goal in frame for goal in goals) for frame in frames()), "not joined"
