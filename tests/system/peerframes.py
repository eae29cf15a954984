# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What comes to a device's workload: answers of its peer, and of a DHCP server."""
from scapy.compat import raw
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from device_cases import eth, ip
from device_cases_link import dhcp
from devicelab import GUEST4, GUEST6, GUEST_MAC, PEER_MAC
from lab import ECHO, PEER4, PEER6

LEASED = "192.0.2.100"
SPORT = 4321


def asks(xid):
    return raw(dhcp("request", xid=xid)(False, b"guest"))


def acknowledges(xid, seconds, message="ack", server=PEER4, address=LEASED):
    return raw(Ether(src=PEER_MAC, dst=GUEST_MAC) / IP(src=server, dst=LEASED) /
               UDP(sport=67, dport=68) /
               BOOTP(op=2, xid=xid, yiaddr=address, chaddr=bytes.fromhex(GUEST_MAC.replace(":", "")))
               / DHCP(options=[("message-type", message), ("lease_time", seconds), "end"]))


def peer(v6):
    return PEER6 if v6 else PEER4


def guest(v6):
    return GUEST6 if v6 else GUEST4


def inward(v6, layers, to=None, src=None, mac=GUEST_MAC):
    return raw(eth(src=PEER_MAC, dst=mac) / ip(v6, to or guest(v6), src or peer(v6)) / layers)


def answer(v6, mark, sport=ECHO, dport=SPORT, **addresses):
    """What the peer sends to the workload's port."""
    return inward(v6, UDP(sport=sport, dport=dport) / Raw(mark), **addresses)


def comes(lab, frame, mark, port=None, expected=False):
    """Does a frame of the peer reach the workload?"""
    capture = (port or lab.port).capture
    position = capture.position()
    lab.send_in(frame)
    if expected:
        return bool(capture.wait(mark, position))
    lab.probe()
    return bool(capture.since(position, mark))
