# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Where something may come in, what it names as its source is answered. Two targets of one accomplice: one
sends the other a packet in the name of an address that is denied, and the other answers that."""
import os
import socket
import struct

import pytest

from bypasslab import KEEP, PROBE, ROOT, policy
from client import datagram
from devlab import checksum
from lab import ECHO, PEER4, PEER6, WAIT, WORKLOAD4, WORKLOAD6

KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))
CLIENT, SERVER = 4711, 4712
GROUPS = {False: "239.83.76.2", True: "ff05::4711"}
both = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
inbounds = pytest.mark.parametrize("inbound", ["allow", f'[{{from: any, ports: {SERVER}}}]'], ids=["allow", "list"])


def frame_on_lo(source, to):
    udp = datagram(source, to, CLIENT, SERVER, b"hello")
    if ":" in to:
        head = b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + \
            socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to)
    else:
        head = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(udp), 0, 64, 17, 0) + \
            socket.inet_aton(source) + socket.inet_aton(to)
        head = b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return {"kind": "packet_socket", "device": "lo", "frame": (bytes(12) + head + udp).hex()}


def bound(source, to, **settings):
    return {"kind": "udp", "to": to, "port": SERVER, "bind": [source, CLIENT], "no_reply": True, **settings}


def named(source, to, ports=(CLIENT, SERVER)):
    return {"kind": "udp_from", "to": to, "port": ports[1], "from": source, "freebind": True,
            "bind": ["::" if ":" in to else "0.0.0.0", ports[0]]}


def written(source, to, ports=(CLIENT, SERVER)):
    return {"kind": "hdrincl", "from": source, "to": to, "sport": ports[0], "port": ports[1]}


# How a datagram gets the source of another. The first two want no privilege; over IPv4 the kernel
# lets none of them out.
FREE = {"freebind": lambda source, to: bound(source, to, freebind=True), "ancillary": named}
WAYS = {**FREE, "transparent": lambda source, to: bound(source, to, transparent=True), "raw": written,
        "packet": frame_on_lo}


@pytest.fixture(scope="module")
def outside(lab):
    return lab.agent(), lab.agent()


@pytest.fixture(scope="module")
def client(lab):
    """On the other side of the wire."""
    return lab.agent(lab.peer)


def forge(way, sends, gets, source, own):
    """The one sends, the other answers. What became of that."""
    gets.do("listen", type="udp", to=own, port=SERVER, hold="s")
    assert sends.do(**WAYS[way](source, own))["errno"] is None
    answered = gets.do("accept", use="s")
    gets.do("close", use="s")
    return answered


def answers_of_the_kernel(to):
    """The rule without which nothing goes to itself over IPv6 in the name of an address."""
    return f'allow: {{to: "{to}", protocol: icmpv6}}'


def two(lab, way, own, to, inbound, *rules):
    """Two targets, without a privilege if the way wants none. The second is the one that forges."""
    rules = [PROBE, f'allow: "{own}"', *rules]
    options = ["--user", "nobody"] if way in FREE else [KEEP]
    more = [answers_of_the_kernel(to)] if ":" in to else []
    return (lab.sluice(policy(*rules, inbound=inbound), *options),
            lab.sluice(policy(*rules, *more, inbound=inbound), *options))


def answers_who_is_there(client, sends, gets, own):
    """A server's answers leave for a client outside, and for one of the namespace."""
    for asks, source in ((client, PEER6 if ":" in own else PEER4), (sends, own)):
        gets.do("listen", type="udp", to=own, port=SERVER, hold="s")
        gets.send("accept", use="s", timeout=WAIT)
        assert asks.do("udp", to=own, port=SERVER, bind=[source, CLIENT], timeout=WAIT)["reply"] == "hello"
        assert gets.receive()["reply"] == "hello"
        gets.do("close", use="s")


@both
@pytest.mark.parametrize("way", WAYS)
@inbounds
def test_a_datagram(lab, outside, client, way, v6, inbound):
    to, own = lab.fresh(v6), WORKLOAD6 if v6 else WORKLOAD4
    if way in FREE and not v6:
        assert outside[0].do(**WAYS[way](to, own))["errno"] == "ENETUNREACH"
        return
    assert forge(way, *outside, to, own)["reply"] == "hello"
    assert len(lab.wire.seen(to)) == 1
    gets, sends = two(lab, way, own, to, inbound)
    assert gets.do("udp", to=to, port=ECHO)["errno"]
    answers_who_is_there(client, sends, gets, own)
    answered = forge(way, sends, gets, to, own)
    assert (answered["errno"], answered["at"]) == ("EPERM", "sendto")
    assert len(lab.wire.seen(to)) == 1
    answers_who_is_there(client, sends, gets, own)
    sends.close()
    told = [(e["reason"], e["destination"]["address"], e["destination"]["port"]) for e in gets.close().events]
    assert told == [("default", to, ECHO), ("default", to, CLIENT)]


@both
@pytest.mark.parametrize("inbound", ["allow", "replies"])
def test_a_frame_to_itself(lab, outside, v6, inbound):
    """One target with CAP_NET_RAW is both; where only replies come in it does not get there."""
    to, own = lab.fresh(v6), WORKLOAD6 if v6 else WORKLOAD4
    assert forge("packet", outside[0], outside[0], to, own)["reply"] == "hello"
    agent = lab.sluice(policy(PROBE, inbound=inbound), KEEP)
    answered = forge("packet", agent, agent, to, own)
    assert answered["errno"] == ("EPERM" if inbound == "allow" else "timeout")
    assert len(lab.wire.seen(to)) == 1
    event, = agent.close().events
    assert event["reason"] == ("default" if inbound == "allow" else "unsolicited")


@both
def test_a_connection(lab, outside, client, v6):
    """What answers the SYN leaves, and an accomplice at the denied address has a connection."""
    to, own = lab.fresh(v6), WORKLOAD6 if v6 else WORKLOAD4
    way = "freebind" if v6 else "transparent"
    attempt = {"kind": "tcp", "to": own, "port": SERVER, "bind": [to, CLIENT], way: True, "timeout": 0.5}
    outside[1].do("listen", to=own, port=SERVER, hold="s")
    outside[0].do(**attempt)
    outside[1].do("close", use="s")
    before = len(lab.wire.seen(to, 6))
    assert before
    gets, sends = two(lab, way, own, to, "allow")
    gets.do("listen", to=own, port=SERVER, hold="s")
    assert sends.do(**attempt)["errno"] == "timeout"
    if v6 and KERNEL < (6, 12):     # 6.1 shows no hook of a cgroup a SYN+ACK over IPv6
        assert "IPv6's SYN+ACK" in (ROOT / "docs/SECURITY.md").read_text()
        return
    assert len(lab.wire.seen(to, 6)) == before
    for asks in (sends, client):
        gets.send("accept", use="s", timeout=WAIT)
        assert asks.do("tcp", to=own, port=SERVER, timeout=WAIT)["reply"] == "hello"
        assert gets.receive()["reply"] == "hello"
    event, = gets.close().events
    assert (event["reason"], event["destination"]["address"]) == ("default", to)


@both
def test_a_datagram_to_a_group(lab, outside, v6):
    """Its copy comes in on the device of the group; an answer of this flow has the group as its source."""
    to, own, group = lab.fresh(v6), WORKLOAD6 if v6 else WORKLOAD4, GROUPS[v6]
    way, write = ("ancillary", named) if v6 else ("raw", written)

    def exchange(sends, gets):
        gets.do("join_group", to=group)
        gets.do("listen", type="udp", to="::" if v6 else "0.0.0.0", port=SERVER, hold="s")
        assert sends.do(**write(to, group))["errno"] is None
        assert gets.do("accept", use="s")["errno"] in (None, "EPERM")   # from its own address: no answer
        return gets.do(**write(group, to, (SERVER, CLIENT)), use="s")["errno"]

    def left():
        return [p.source for p in lab.wire.seen(to)]
    assert exchange(*outside) is None
    assert left() == [own, group]
    gets, sends = two(lab, way, own, to, "allow", f'allow: "{group}"')
    assert exchange(sends, gets) == "EPERM"
    assert left() == [own, group]


NOBODYS, DATA = 4713, "what the kernel sends back"
ASKS = {"a datagram that nobody reads": lambda to, own, named: {**named(to, own), "port": NOBODYS, "payload": DATA},
        "an echo request": lambda to, own, _: {"kind": "ping", "to": own, "bind": [to, CLIENT], "freebind": True,
                                               "no_reply": True}}


@pytest.mark.parametrize("own", [WORKLOAD6, "::1"])
@pytest.mark.parametrize("asks", ASKS)
@pytest.mark.parametrize("way", FREE)
def test_the_kernels_answer(lab, outside, own, asks, way):
    """It goes to the source, with the data, and no hook of the cgroup sees it. (Over IPv4 nobody
    without a privilege has another's source: test_a_datagram.)"""
    to = lab.fresh(True)
    attempt = ASKS[asks](to, own, FREE[way])
    assert outside[0].do(**attempt)["errno"] is None
    answer, = lab.wire.seen(to, 58)
    assert answer.source == own and lab.wire.contains(DATA.encode() if "datagram" in asks else b"sluice-echo-data")
    allow = f'allow: [{PEER4}, "{PEER6}", "{own}"]'
    agent = lab.sluice(policy(allow), "--user", "nobody")
    assert agent.do(**attempt)["errno"] == ("EPERM" if "datagram" in asks else None)    # SECURITY.md, "What a caller sees"
    assert lab.wire.seen(to, 58) == [answer]
    assert agent.do("ping", to=own)["errno"] is None
    assert agent.do("udp_connected", to=own, port=NOBODYS)["errno"] == "ECONNREFUSED"
    event, = agent.close().events
    assert (event["reason"], event["destination"]["address"]) == ("address-binding", own)
    agent = lab.sluice(policy(allow, answers_of_the_kernel(to)), "--user", "nobody")
    assert agent.do(**attempt)["errno"] is None
    assert len(lab.wire.seen(to, 58)) == 2
