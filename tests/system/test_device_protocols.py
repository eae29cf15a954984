# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Every IP protocol number, and what a sender leaves to the network card: on a
tap and on a veth, first without Sluice, then with it."""
import os
import struct

import pytest
from scapy.compat import raw
from scapy.layers.inet import TCP
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP
from scapy.packet import Raw

from device_cases import CONFIGS, eth, ip
from devicelab import (ANOTHER_MAC, BINDING, GUEST4, GUEST6, GUEST_MAC, checksum, datagram,
                       rules)
from deviceport import NEEDS_CSUM, VNET_HEADER, Tap, checksum_offload
from lab import ECHO, PEER4, PEER6, WAIT

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
PORT = 9
BODIES = {6: struct.pack("!HHIIBBHHH", 4000, PORT, 1, 0, 0x50, 2, 1024, 0, 0),
          17: struct.pack("!HHHH", 4000, PORT, 16, 0),
          132: struct.pack("!HHII", 4000, PORT, 0, 0)}
OPTIONS = b"\x3b\x00\x01\x04" + bytes(4)            # "no next header" behind them
STRUCTURE = {43: "routing-header", 44: "fragment", 135: "extension-headers",
             139: "extension-headers", 140: "extension-headers"}
# Whatever the policy says: PIM, and IGMP that is no host's report.
ROUTERS = {4: {2: "rogue-ra", 103: "rogue-ra"}, 6: {103: "rogue-ra"}}
ECHO_THERE = rules(f'allow: ["198.51.100.0/24:{ECHO}", "[2001:db8:1::/64]:{ECHO}", {PEER4}, '
                   f'"{PEER6}"]')


def body(v6, number):
    if number == (58 if v6 else 1):
        return struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 7, 1)
    if v6 and number in (0, 60):
        return OPTIONS
    return BODIES.get(number, b"\x3b" + bytes(15))


def to_of(v6, number):
    return f"2001:db8:1::{number + 1:x}" if v6 else f"198.51.100.{number}"


def frame(v6, number, mark):
    return raw(eth() / ip(v6, to_of(v6, number), proto=number) / Raw(body(v6, number) + mark))


def sweep(lab, v6):
    """All numbers, each to an address of its own; which arrived."""
    base = os.urandom(6)
    marks = {number: base + struct.pack("!H", number) for number in range(256)}
    position = lab.sink.position()
    for number, mark in marks.items():
        lab.send(frame(v6, number, mark))
    lab.probe(v6)
    arrived = lab.sink.since(position, base)
    return {number for number, mark in marks.items() if any(mark in f for f in arrived)}


@KINDS
@FAMILIES
def test_every_protocol(device_labs, tally, kind, v6):
    off, on = device_labs(kind, False), device_labs(kind, True)
    assert sweep(off, v6) == set(range(256))
    structure = {**(STRUCTURE if v6 else {}), **ROUTERS[6 if v6 else 4]}

    on.configure(ECHO_THERE, *BINDING)
    position = on.mark()
    arrived = sweep(on, v6)
    tally(256 - len(arrived), 256)
    assert not arrived
    events = on.fence(position)
    assert sorted(e["destination"]["address"] for e in events) == \
        sorted(to_of(v6, number) for number in range(256))
    reasons = {e["destination"]["address"]: e["reason"] for e in events}
    assert {n: reasons[to_of(v6, n)] for n in range(256)} == \
        {n: structure.get(n, "default") for n in range(256)}

    on.configure(*everything())
    position = on.mark()
    assert sweep(on, v6) == set(range(256)) - set(structure)
    assert sorted(e["reason"] for e in on.fence(position)) == sorted(structure.values())


def everything():
    policy, options = CONFIGS["everything"]
    return (policy, *options)


@pytest.mark.parametrize("head", [0, 12, 20], ids=["none", "mergeable", "longer"])
def test_virtio_headers_of_other_sizes(device_labs, tally, head):
    """As hypervisors ask for them; the other tests have the plain one of 10 bytes."""
    lab = device_labs("tap", True)
    port = Tap(lab.host, "plain0", head=head)
    try:
        lab.join("plain0")
        for judged in (False, True):
            if judged:
                lab.guard.attach("plain0", CONFIGS["echo"][0], "--mac", ANOTHER_MAC)
            for to, expected in ((PEER4, True), ("198.51.100.5", not judged), (PEER6, True),
                                 ("2001:db8:1::5", not judged)):
                mark, position = os.urandom(8), lab.sink.position()
                port.send(datagram(to, ECHO, mark, mac_source=ANOTHER_MAC))
                lab.probe()
                if not expected:
                    tally(not lab.sink.since(position, mark))
                assert bool(lab.sink.since(position, mark)) == expected
    finally:
        port.close()


# ---- a checksum that the sender leaves to the card ----

WANTED = 0xc633         # 198.51


def announcement(mark):
    """ARP, of the workload's own address; the mark is padding."""
    return raw(eth(0x806, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, psrc=GUEST4, pdst=GUEST4, hwsrc=GUEST_MAC)) + mark


def neighbour(mark):
    """An advertisement of the workload's own address, to the peer."""
    return raw(eth() / IPv6(src=GUEST6, dst=PEER6, hlim=255) / ICMPv6ND_NA(tgt=GUEST6)) + mark


def segment(to, mark):
    """TCP with data, as a connection has it that was there before: of a hello, the server's name."""
    v6 = ":" in to
    return raw(eth() / ip(v6, to) / TCP(sport=4000, dport=ECHO, flags="PA", seq=1, ack=1) /
               Raw(b"a name " + mark))


def report(mark):
    """IGMP, a host's report: as a router's query a switch that snoops would believe it."""
    return raw(eth() / ip(False, PEER4, proto=2) / Raw(b"\x16" + bytes(7) + mark))


# name: (the frame, where 16 bits of it change)
REWRITTEN = {
    "v4-address": (lambda mark: datagram(PEER4, ECHO, mark), 30),
    "v6-address": (lambda mark: datagram(PEER6, ECHO, mark), 38),
    "v4-source": (lambda mark: datagram(PEER4, ECHO, mark), 26),
    "v4-fragment": (lambda mark: datagram(PEER4, ECHO, mark), 20),
    "v4-port": (lambda mark: datagram(PEER4, ECHO, mark), 36),
    "v6-port": (lambda mark: datagram(PEER6, ECHO, mark), 56),
    "v6-next-header": (lambda mark: datagram(PEER6, ECHO, mark), 20),
    "arp-sender": (announcement, 30),
    "nd-target": (neighbour, 70),
    "v4-tcp-data": (lambda mark: segment(PEER4, mark), 56),
    "v6-tcp-data": (lambda mark: segment(PEER6, mark), 76),
    "igmp-type": (report, 34),
}


def forged(make, mark, start):
    """A frame of which 16 bits, at start, become WANTED when someone sums what stands
    behind them and stores the sum there, as the virtio-net header asks."""
    made = bytearray(make(mark) + bytes(2))
    made += bytes(len(made[start:]) % 2)
    made[-2:] = bytes(2)
    rest = ~checksum(bytes(made[start:])) & 0xffff
    made[-2:] = struct.pack("!H", ((~WANTED & 0xffff) - rest) % 0xffff)
    return bytes(made), VNET_HEADER.pack(NEEDS_CSUM, 0, 0, 0, start, 0)


@KINDS
@pytest.mark.parametrize("name", REWRITTEN)
def test_a_checksum_does_not_rewrite_the_frame(device_labs, tally, kind, name):
    """Where the card behind does not sum by itself, the kernel does, after the programs
    have judged: into an address, a port, or what ARP says. (So far forward as the source
    MAC address this kernel refuses.)"""
    off, on = device_labs(kind, False), device_labs(kind, True)
    on.configure(CONFIGS["bound"][0], *CONFIGS["bound"][1], once=["malformed"])
    make, start = REWRITTEN[name]
    mark = os.urandom(8)
    made, header = forged(make, mark, start)
    try:
        for lab in (off, on):
            checksum_offload(lab.host, "h0", False)
        position = off.sink.position()
        off.send(made, header)
        arrived, = off.sink.wait(mark, position)
        assert arrived[start:start + 2] == struct.pack("!H", WANTED)
        on.probe()
        events, position = on.mark(), on.sink.position()
        on.send(made, header)
        on.probe()
        arrived = on.sink.since(position, mark)
        tally(not arrived)
        assert not arrived, "it arrives, rewritten"
        assert [e["reason"] for e in on.fence(events) if e["hook"] == "tc-ingress"] == \
            ["malformed"]
    finally:
        for lab in (off, on):
            checksum_offload(lab.host, "h0", True)


@KINDS
@FAMILIES
@pytest.mark.parametrize("offload", [True, False], ids=["card", "kernel"])
def test_a_checksum_left_to_the_card(device_labs, kind, v6, offload):
    """The honest one passes, and is right in the end: the echo server answers it."""
    on = device_labs(kind, True)
    on.configure(CONFIGS["echo"][0], *CONFIGS["echo"][1])
    at, start = (14 + 40 if v6 else 14 + 20), on.mark()
    checksum_offload(on.host, "h0", offload)
    try:
        mark = os.urandom(8)
        made = datagram(PEER6 if v6 else PEER4, ECHO, mark)
        length = struct.pack("!II", 8 + len(mark), 17)
        addresses = made[at - 32:at] if v6 else made[at - 8:at]
        partial = ~checksum(addresses + length) & 0xffff
        made = made[:at + 6] + struct.pack("!H", partial) + made[at + 8:]
        position = on.port.capture.position()
        on.send(made, VNET_HEADER.pack(NEEDS_CSUM, 0, at + 8, 0, at, 6))
        assert on.port.capture.wait(mark, position, WAIT)
        assert not on.fence(start)
    finally:
        checksum_offload(on.host, "h0", True)
