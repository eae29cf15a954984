# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the attacks on names share: an attacker's goal, answers and questions, packets."""
import errno
import itertools
import socket
import struct

import pytest

import client
import dnsmsg
from dnslab import SAYS, WEB
from dnsmsg import A, AAAA
from lab import MPTCP, WORKLOAD4, WORKLOAD6

watched = pytest.mark.parametrize("mode", ["run", "device"])
families = pytest.mark.parametrize("family", [4, 6])

GOAL = {4: "203.0.113.7", 6: "2001:db8:1::bad"}         # what an attacker wants to be learned
ASKED = "x.good.example"

WORKLOAD = {4: WORKLOAD4, 6: WORKLOAD6}


def kind(family):
    return A if family == 4 else AAAA


def reaches(agent, to):
    return agent.do("tcp", to=to, port=7, timeout=0.25)["errno"] is None


def honest(dnslab, agent, family, to=None, name="honest.good.example"):
    """The paired allow: a plain lookup works, and its address is reached."""
    to = to or WEB[family]
    dnslab.says.handler = lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, kind(family), to)])]
    query = dnsmsg.query(name, kind(family), 0x7777).hex()
    got = agent.do("ask", to=SAYS[family], messages=[query])["reply"]
    assert got and dnsmsg.read_addresses(bytes.fromhex(got[0])) == [to]
    assert reaches(agent, to)


def good(family, ttl=60, owner=None):
    return dnsmsg.record(owner, kind(family), GOAL[family], ttl)


IDENTS = itertools.count(0x3000)


def fresh_ident():
    return struct.pack("!H", next(IDENTS) & 0xffff)


def q(name="x.good.example", qtype=A, **kw):
    return dnsmsg.query(name, qtype, 0x2222, **kw)


def ip_packet(source, to, data, sport=53, dport=53, before=b"", length=None):
    """UDP in IP; `before`: extension headers, the first of which is destination options;
    length: UDP's, if it is less."""
    read = len(data) if length is None else length - 8
    body = before + client.datagram(source, to, sport, dport, data[:read]) + data[read:]
    if ":" not in to:
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 77, 0, 64, 17, 0,
                             dnsmsg.address(source), dnsmsg.address(to))
        return packet[:10] + struct.pack("!H", client.checksum(packet)) + packet[12:] + body
    return struct.pack("!IHBB", 6 << 28, len(body), 60 if before else 17, 64) + \
        dnsmsg.address(source) + dnsmsg.address(to) + body


def inject(lab, ns, device, packet):
    """A frame on a device, from outside of every target."""
    v6 = packet[0] >> 4 == 6
    with lab.socket(ns, socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((device, 0))
        s.send(bytes(12) + (b"\x86\xdd" if v6 else b"\x08\x00") + packet)


def needs_multipath():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
    except OSError as e:
        pytest.skip(f"this kernel has no MPTCP sockets: {errno.errorcode[e.errno]}")
