# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The frame model against cases worked out by hand from docs/devices.md.

A case: what the device is, a direction, a frame, what becomes of it ("pass" or the
reason; * no event, + answered). Cases come in pairs: what passes, and its neighbour
that does not. Flows, fragments, leases and refusals are in test_frames_state.py.
"""
import pytest

import frame_builder as b
from frame_lab import (ALLOWED4, ALLOWED6, AWAY, BOTH, DENIED4, GATEWAY_MAC, GROUP_MAC, HERE, MAC,
                       ME4, ME6, MY_LINK, OTHER4, OTHER6, OTHER_MAC, ROUTER_LINK, bound, device,
                       ip_in, ip_out, out, said, tcp_in, tcp_out, udp_in, udp_out)
from frames import Binding

SYN = b.tcp(40000, 443, b.SYN)
ANYONE = Binding()
MAC_ONLY = Binding(MAC)
DENY_ARP, DENY_ND, DENY_DHCP = ({"device": {"arp": "deny"}}, {"device": {"nd": "deny"}},
                                {"device": {"dhcp": "deny"}})


def arp_out(operation, sender=ME4, target=OTHER4, hardware=MAC, source=MAC, **keys):
    return out(b.arp(operation, hardware, sender, bytes(6), target, **keys), 0x0806, source,
               b.BROADCAST)


def arp_in(operation, sender, target):
    return b.ethernet(OTHER_MAC, MAC, 0x0806, b.arp(operation, OTHER_MAC, sender, MAC, target))


def cut(frame, length):
    return frame[:length]


def put(frame, at, *values):
    return frame[:at] + bytes(values) + frame[at + len(values):]


V4, V6 = ip_out(ME4, ALLOWED4, 6, SYN), ip_out(ME6, ALLOWED6, 6, SYN)

ETHERNET = [
    # Steps 1 to 4, and the same to the workload.
    ({}, HERE, V4, "pass"),
    ({}, HERE, V6, "pass"),
    ({}, HERE, b"\0" * 13, "malformed"),
    ({}, AWAY, b"\0" * 13, "malformed"),
    ({}, HERE, out(b"\0\1\x08\0" + V4[14:], 0x8100), "vlan"),
    ({}, HERE, out(b"\0\0\x08\0" + V4[14:], 0x8100), "vlan"),
    ({}, HERE, out(b"\0\1\x08\0", 0x88a8, OTHER_MAC), "vlan"),
    ({}, AWAY, out(b"\0\1\x08\0" + V4[14:], 0x8100), "vlan"),
    ({}, HERE, out(V4[14:], 0x0800, OTHER_MAC), "mac-binding"),
    ({}, HERE, out(b"", 0x1234, OTHER_MAC), "mac-binding"),
    ({"binding": ANYONE}, HERE, out(V4[14:], 0x0800, OTHER_MAC), "pass"),
    ({"binding": ANYONE}, HERE, out(V4[14:], 0x0800, "53:54:00:12:34:56"), "malformed"),
    ({}, HERE, out(b"\0" * 50, 0x9100), "ethertype"),
    ({}, HERE, out(b"\0" * 50, 0x0801), "ethertype"),
    ({}, HERE, out(b"\xaa\xaa\x03\0\0\0\x08\0" + V4[14:], 60), "ethertype"),
    ({}, AWAY, out(b"\0" * 50, 0x8847, OTHER_MAC, MAC), "ethertype*"),
    ({}, AWAY, out(b"\0" * 50, 0x8847, OTHER_MAC, OTHER_MAC), "stray*"),
    ({"binding": ANYONE}, AWAY, udp_in(), "unsolicited"),
    ({}, AWAY, udp_in(), "unsolicited"),
    ({}, AWAY, ip_in(ALLOWED4, ME4, 17, b.udp(1, 2), (GATEWAY_MAC, OTHER_MAC)), "stray*"),
    ({}, AWAY, ip_in(ALLOWED4, ME4, 17, b.udp(1, 2), (GATEWAY_MAC, GROUP_MAC)), "unsolicited*"),
]

ARP = [
    ({}, HERE, arp_out(1), "pass"),
    ({}, HERE, arp_out(2), "pass"),
    ({}, HERE, arp_out(3), "malformed"),
    ({}, HERE, arp_out(0), "malformed"),
    ({}, HERE, arp_out(1, head=b"\x00\x06\x08\x00\x06\x04"), "malformed"),
    ({}, HERE, arp_out(1, head=b"\x00\x01\x08\x06\x06\x04"), "malformed"),
    ({}, HERE, arp_out(1, head=b"\x00\x01\x08\x00\x08\x04"), "malformed"),
    ({}, HERE, arp_out(1, head=b"\x00\x01\x08\x00\x06\x10"), "malformed"),
    ({}, HERE, cut(arp_out(1), 14 + 28), "pass"),
    ({}, HERE, cut(arp_out(1), 14 + 27), "malformed"),
    (DENY_ARP, HERE, arp_out(1), "arp"),
    (DENY_ARP, HERE, arp_out(3), "malformed"),
    ({}, HERE, arp_out(1, hardware=OTHER_MAC), "arp"),
    ({}, HERE, arp_out(1, OTHER4), "arp"),
    ({}, HERE, arp_out(1, "0.0.0.0"), "arp"),
    ({}, HERE, arp_out(1, "0.0.0.0", ME4), "pass"),
    ({"binding": MAC_ONLY}, HERE, arp_out(1, "0.0.0.0"), "pass"),
    ({}, HERE, arp_out(1) + bytes(18), "pass"),
    ({}, HERE, arp_out(1) + bytes(19), "arp"),
    ({}, HERE, arp_out(1) + bytes(17) + b"x", "arp"),
    ({}, HERE, arp_out(1) + b"x", "arp"),
    ({}, AWAY, arp_in(2, OTHER4, ME4) + b"x" * 20, "pass"),
    ({}, HERE, arp_out(2, "0.0.0.0"), "arp"),
    ({"binding": MAC_ONLY}, HERE, arp_out(1, OTHER4), "pass"),
    ({"binding": MAC_ONLY}, HERE, arp_out(2, "0.0.0.0"), "arp"),
    ({"binding": bound(ME6)}, HERE, arp_out(1), "arp"),
    ({"binding": bound("192.168.101.0/28")}, HERE, arp_out(1, "192.168.101.15"), "pass"),
    ({"binding": bound("192.168.101.0/28")}, HERE, arp_out(1, "192.168.101.16"), "arp"),
    ({}, AWAY, arp_in(2, OTHER4, ME4), "pass"),
    ({}, AWAY, arp_in(1, OTHER4, ME4), "pass"),
    ({}, AWAY, arp_in(1, OTHER4, "192.168.101.11"), "stray*"),
    ({}, AWAY, arp_in(1, OTHER4, OTHER4), "pass"),
    ({}, AWAY, arp_in(3, OTHER4, ME4), "malformed"),
    (DENY_ARP, AWAY, arp_in(2, OTHER4, ME4), "arp"),
    ({"binding": MAC_ONLY}, AWAY, arp_in(1, OTHER4, "192.168.101.11"), "pass"),
]

PARSE = [
    # IPv4's header.
    ({}, HERE, cut(V4, 33), "malformed"),
    ({}, HERE, put(V4, 14, 0x65), "malformed"),
    ({}, HERE, put(V4, 14, 0x44), "malformed"),
    ({}, HERE, put(V4, 16, 0, 19), "malformed"),
    ({}, HERE, put(V4, 16, 0, 40), "pass"),
    ({}, HERE, put(V4, 16, 0, 41), "malformed"),
    ({}, HERE, put(V4, 16, 0, 39), "malformed"),
    ({}, HERE, V4 + b"trailer", "pass"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 6, SYN, options=b"\x83\x03\x04\0"), "ip-options"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 6, SYN, options=b"\1\1\1\0"), "ip-options"),
    ({}, HERE, ip_out(OTHER4, ALLOWED4, 6, SYN, options=b"\1\1\1\0"), "ip-options"),
    ({}, HERE, put(ip_out(ME4, ALLOWED4, 6, SYN, options=b"\1\1\1\0"), 16, 1), "malformed"),
    # IPv6's.
    ({}, HERE, cut(V6, 53), "malformed"),
    ({}, HERE, put(V6, 14, 0x40), "malformed"),
    ({}, HERE, ip_out(ME6, ALLOWED6, 6, SYN, length=21), "malformed"),
    ({}, HERE, ip_out(ME6, ALLOWED6, 6, SYN, length=19), "malformed"),
    ({}, HERE, V6 + b"trailer", "pass"),
    # Transport.
    ({}, HERE, ip_out(ME4, ALLOWED4, 6, cut(SYN, 19)), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 6, put(SYN, 12, 0x40)), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 6, put(SYN, 12, 0x60)), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 6, put(SYN, 12, 0x60) + bytes(4)), "pass"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 17, b.udp(1, 2, b"xy")), "pass"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 17, b.udp(1, 2)[:7]), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 17, b.udp(1, 2, length=7)), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 17, b.udp(1, 2, b"xy", length=11)), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 17, b.udp(1, 2, b"xy", length=9)), "pass"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 1, b.echo(8, 1)), "pass"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 1, b.echo(8, 1)[:7]), "malformed"),
    ({}, HERE, ip_out(ME6, ALLOWED6, 58, b.echo(128, 1)), "pass"),
    ({}, HERE, ip_out(ME6, ALLOWED6, 58, b.echo(128, 1)[:7]), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 58, b""), "pass"),
    ({}, HERE, ip_out(ME6, ALLOWED6, 1, b""), "pass"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 132, b.sctp(1, 2, b"")), "pass"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 132, b.sctp(1, 2, b"")[:11]), "malformed"),
    ({}, HERE, ip_out(ME4, ALLOWED4, 47, b""), "pass"),
    ({}, HERE, ip_out(ME4, DENIED4, 47, b""), "rule+"),
    ({}, AWAY, ip_in(ALLOWED4, ME4, 6, cut(SYN, 19)), "malformed"),
]


def chain(*headers, last=6, payload=SYN):
    """IPv6 with extension headers, given as (number, bytes behind its next header)."""
    following = [number for number, _ in headers] + [last]
    body = b"".join(bytes([after]) + rest
                    for after, (_, rest) in zip(following[1:], headers))
    return ip_out(ME6, ALLOWED6, following[0], body + payload)


def options(number, words=0):
    return number, b.extension(0, words)[1:]


ATOMIC = 44, b.fragment_header(0, 0, False, 7)[1:]
FIRST = {"fragments": "first-decides"}
EXTENSIONS = [
    ({}, HERE, chain(options(0)), "pass"),
    ({}, HERE, chain(options(60, 3)), "pass"),
    ({}, HERE, chain(*[options(60)] * 5), "pass"),
    ({}, HERE, chain(*[options(60)] * 6), "extension-headers"),
    ({}, HERE, chain(options(0), (43, bytes(7))), "routing-header"),
    ({}, HERE, chain(*[options(60)] * 5, (43, bytes(7))), "routing-header"),
    ({}, HERE, chain((135, bytes(7))), "extension-headers"),
    ({}, HERE, chain((139, bytes(7))), "extension-headers"),
    ({}, HERE, chain((140, bytes(7))), "extension-headers"),
    ({}, HERE, chain(options(60, 31)), "pass"),
    ({}, HERE, put(chain(options(60), last=17, payload=bytes(16) + b.udp(1, 2)), 55, 2), "pass"),
    ({}, HERE, put(chain(options(60)), 55, 3), "malformed"),
    ({}, HERE, chain(options(60), last=60, payload=b"\x3b"), "malformed"),
    ({}, HERE, chain(last=59, payload=b""), "pass"),
    ({}, HERE, chain(last=51, payload=b""), "pass"),
    ({}, HERE, chain(ATOMIC), "fragment"),
    (FIRST, HERE, chain(ATOMIC), "pass"),
    (FIRST, HERE, chain(ATOMIC, options(60)), "pass"),
    (FIRST, HERE, chain(*[options(60)] * 4, ATOMIC), "pass"),
    (FIRST, HERE, chain(*[options(60)] * 5, ATOMIC), "extension-headers"),
    (FIRST, HERE, chain(last=44, payload=bytes(7)), "malformed"),
    ({}, HERE, chain(last=44, payload=bytes(7)), "fragment"),
]


def request(kind=1, source="0.0.0.0", destination="255.255.255.255", ports=(68, 67), **keys):
    message = b.dhcp(1, 0x1234, keys.pop("hardware", MAC), b.dhcp_type(kind), **keys)
    return ip_out(source, destination, 17, b.udp(*ports, message), (MAC, b.BROADCAST))


def request6(source=MY_LINK, destination="ff02::1:2", payload=b"\x01abc", ports=(546, 547)):
    return ip_out(source, destination, 17, b.udp(*ports, payload), (MAC, "33:33:00:01:00:02"))


SHORT = ip_out("0.0.0.0", "255.255.255.255", 17, b.udp(68, 67, b.dhcp(1, 1, MAC)[:239]),
               (MAC, b.BROADCAST))
DHCP = [
    ({}, HERE, request(), "pass"),
    ({}, HERE, request(source=ME4), "pass"),
    ({}, HERE, request(source=OTHER4), "address-binding"),
    (DENY_DHCP, HERE, request(), "dhcp"),
    (DENY_DHCP, HERE, request(source=OTHER4), "dhcp"),
    ({}, HERE, SHORT, "dhcp"),
    ({}, HERE, request(hardware=OTHER_MAC), "dhcp"),
    ({}, HERE, request(htype=6), "dhcp"),
    ({}, HERE, request(hlen=7), "dhcp"),
    ({}, HERE, request(magic=b"abcd"), "dhcp"),
    ({}, HERE, request(destination="192.168.101.1"), "address-binding"),
    ({}, HERE, request(source=ME4, destination="192.168.101.1"), "default"),
    ({}, HERE, request(ports=(68, 69)), "address-binding"),
    ({}, HERE, request(ports=(67, 68)), "rogue-dhcp"),
    ({}, HERE, request(ports=(67, 9)), "rogue-dhcp"),
    (DENY_DHCP, HERE, request(ports=(67, 68)), "rogue-dhcp"),
    ({}, HERE, udp_out(ports=(547, 9)), "pass"),
    ({}, HERE, udp_out(ALLOWED6, ME6, (67, 9)), "pass"),
    ({}, HERE, udp_out(ALLOWED6, ME6, (547, 9)), "rogue-dhcp"),
    ({}, HERE, request6(), "pass"),
    ({}, HERE, request6(source="::"), "address-binding"),
    ({}, HERE, request6(source="fe80::2"), "address-binding"),
    ({}, HERE, request6(payload=b"\x01ab"), "dhcp"),
    ({}, HERE, request6(destination="ff02::1:3"), "default"),
    ({}, HERE, request6(ports=(546, 548)), "default"),
    (DENY_DHCP, HERE, request6(), "dhcp"),
    ({}, AWAY, udp_in(ports=(67, 68)), "dhcp"),
    ({}, AWAY, udp_in(ports=(67, 69)), "unsolicited"),
    ({}, AWAY, udp_in(ROUTER_LINK, MY_LINK, (547, 546)), "dhcp"),
    ({}, AWAY, udp_in(ROUTER_LINK, MY_LINK, (547, 545)), "unsolicited"),
]


def nd_out(message, source=MY_LINK, destination="ff02::1:ff00:77", hop_limit=255, **keys):
    return ip_out(source, destination, 58, message, hop_limit=hop_limit, **keys)


def nd_in(message, source="fe80::77", destination="ff02::1", hop_limit=255):
    return ip_in(source, destination, 58, message, hop_limit=hop_limit)


def solicit(target=OTHER6, *opts):
    return b.neighbour(135, target, b"".join(opts))


def advertise(target=ME6, *opts):
    return b.neighbour(136, target, b"".join(opts))


MLD2, RS = b.icmp(143), b.icmp(133)
MINE1, MINE2 = b.option(1, b.mac(MAC)), b.option(2, b.mac(MAC))
NONCE, WRONG = b.option(14, b"nonce!"), b.option(1, b.mac(OTHER_MAC))
LONG = b.option(1, b.mac(MAC) + bytes(8))
BEHIND = ip_out(MY_LINK, "ff02::1:ff00:77", 60, b.extension(58) + solicit(), hop_limit=255)
ND = [
    *[({}, HERE, nd_out(b.icmp(kind)), "rogue-ra") for kind in (130, 134, 137)],
    (DENY_ND, HERE, nd_out(b.icmp(134)), "rogue-ra"),
    # What only routers say, where the policy allows all; and what hosts say beside it.
    *[({"default": "allow"}, HERE, ip_out(ME4, "224.0.0.1", 2, bytes([kind]) + bytes(7)), wanted)
      for kind, wanted in ((0x11, "rogue-ra"), (0x13, "rogue-ra"), (0x14, "rogue-ra"),
                           (0x30, "rogue-ra"), (0x12, "pass"), (0x16, "pass"), (0x17, "pass"),
                           (0x22, "pass"))],
    ({"default": "allow"}, HERE, ip_out(ME4, "224.0.0.1", 2, b""), "rogue-ra"),
    *[({"default": "allow"}, HERE, ip_out(me, to, 103, bytes(8)), "rogue-ra")
      for me, to in ((ME4, "224.0.0.13"), (ME6, "ff02::d"))],
    *[({"default": "allow"}, HERE, ip_out(ME4, "224.0.0.1", 1, b.icmp(kind)), wanted)
      for kind, wanted in ((5, "rogue-ra"), (9, "rogue-ra"), (10, "pass"))],
    *[({"default": "allow"}, HERE, ip_out(ME6, "ff02::6a", 58, b.icmp(kind)), wanted)
      for kind, wanted in ((150, "pass"), (151, "rogue-ra"), (152, "rogue-ra"),
                           (153, "rogue-ra"), (154, "pass"))],
    ({"default": "allow"}, HERE, ip_out(ME6, "ff02::1", 2, b"\x11" + bytes(7)), "pass"),
    (DENY_ND, HERE, nd_out(solicit()), "nd"),
    ({}, HERE, nd_out(b.icmp(129)), "default"),
    ({}, HERE, nd_out(b.icmp(138)), "default"),
    # Listener reports.
    ({}, HERE, nd_out(MLD2, destination="ff02::16", hop_limit=1), "pass"),
    ({}, HERE, nd_out(b.icmp(131), destination="ff02::16", hop_limit=1), "pass"),
    ({}, HERE, nd_out(b.icmp(132), destination="ff02::2", hop_limit=1), "pass"),
    ({}, HERE, nd_out(MLD2, "::", "ff02::16", 1), "pass"),
    ({}, HERE, nd_out(MLD2, "fe80::9", "ff02::16", 1), "nd"),
    ({}, HERE, nd_out(MLD2, destination="ff02::16", hop_limit=2), "nd"),
    ({}, HERE, nd_out(MLD2, destination="ff05::16", hop_limit=1), "nd"),
    ({}, HERE, nd_out(b.icmp(143, 1), destination="ff02::16", hop_limit=1), "nd"),
    ({}, HERE, nd_out(MLD2, destination="ff02::16", hop_limit=1) + b"\0", "nd"),
    ({}, HERE, nd_out(b.neighbour(131, "ff05::9"), destination="ff05::9", hop_limit=1), "pass"),
    ({}, HERE, nd_out(b.neighbour(131, "ff05::8"), destination="ff05::9", hop_limit=1), "nd"),
    ({}, HERE, nd_out(b.neighbour(132, "ff05::9"), destination="ff05::9", hop_limit=1), "nd"),
    ({}, HERE, nd_out(b.neighbour(131, OTHER6), destination=OTHER6, hop_limit=1), "nd"),
    ({}, HERE, nd_out(b.neighbour(131, "ff05::9")[:23], destination="ff05::9", hop_limit=1), "nd"),
    ({}, HERE, nd_out(b.icmp(131), destination="ff05::9", hop_limit=1), "nd"),
    ({}, HERE, ip_out(MY_LINK, "ff02::16", 0, b.extension(58) + MLD2, hop_limit=1), "pass"),
    # Solicitations and advertisements.
    ({}, HERE, nd_out(RS, destination="ff02::2"), "pass"),
    ({}, HERE, nd_out(RS, "::", "ff02::2"), "pass"),
    ({}, HERE, nd_out(RS, "fe80::9", "ff02::2"), "nd"),
    ({}, HERE, nd_out(RS, destination=OTHER6), "nd"),
    ({}, HERE, nd_out(RS + MINE1, destination="ff02::2"), "pass"),
    ({}, HERE, nd_out(RS + MINE1, "::", "ff02::2"), "nd"),
    ({}, HERE, nd_out(solicit()), "pass"),
    ({}, HERE, nd_out(solicit(), ME6), "pass"),
    ({}, HERE, nd_out(solicit(), OTHER6), "nd"),
    ({}, HERE, nd_out(solicit(), hop_limit=254), "nd"),
    ({}, HERE, BEHIND, "nd"),
    ({}, HERE, nd_out(solicit()[:23]), "malformed"),
    ({}, HERE, nd_out(solicit(), destination=OTHER6), "pass"),
    ({}, HERE, nd_out(solicit(), destination="2001:db8::78"), "nd"),
    ({}, HERE, nd_out(solicit(), destination="fe80::78"), "pass"),
    ({}, HERE, nd_out(solicit(), destination="ff05::1"), "nd"),
    ({}, HERE, nd_out(solicit(ME6), "::"), "pass"),
    ({}, HERE, nd_out(solicit(OTHER6), "::"), "nd"),
    ({}, HERE, nd_out(solicit(ME6, MINE1), "::"), "nd"),
    ({}, HERE, nd_out(advertise(), "::"), "nd"),
    ({}, HERE, nd_out(advertise(), destination="ff02::1"), "pass"),
    ({}, HERE, nd_out(advertise(), destination=OTHER6), "pass"),
    ({}, HERE, nd_out(advertise(), destination="ff05::1"), "nd"),
    ({}, HERE, nd_out(advertise(OTHER6), destination="ff02::1"), "nd"),
    ({"binding": bound(ME4)}, HERE, nd_out(advertise(MY_LINK), destination="ff02::1"), "nd"),
    ({"binding": Binding(MAC)}, HERE, nd_out(advertise(OTHER6), destination="ff02::1"), "pass"),
    # Options.
    ({}, HERE, nd_out(solicit(OTHER6, MINE1)), "pass"),
    ({}, HERE, nd_out(solicit(OTHER6, MINE1, NONCE)), "pass"),
    ({}, HERE, nd_out(solicit(OTHER6, NONCE), destination=OTHER6), "nd"),
    ({}, HERE, nd_out(solicit(OTHER6, WRONG)), "nd"),
    ({}, HERE, nd_out(solicit(OTHER6, LONG)), "nd"),
    ({}, HERE, nd_out(solicit(OTHER6, b.option(14, bytes(14)))), "nd"),
    ({}, HERE, nd_out(solicit(OTHER6, b.option(200, bytes(6)))), "nd"),
    ({}, HERE, nd_out(advertise(ME6, NONCE), destination="ff02::1"), "nd"),
    ({}, HERE, nd_out(solicit(ME6, NONCE), "::"), "pass"),
    ({}, HERE, nd_out(solicit()) + b"\0", "nd"),
    ({}, HERE, nd_out(solicit(OTHER6, MINE2)), "nd"),
    ({}, HERE, nd_out(advertise(ME6, MINE2), destination=OTHER6), "pass"),
    ({}, HERE, nd_out(advertise(ME6, MINE1), destination=OTHER6), "nd"),
    ({}, HERE, nd_out(solicit(OTHER6, *[MINE1] * 4)), "pass"),
    ({}, HERE, nd_out(solicit(OTHER6, *[MINE1] * 5)), "malformed"),
    ({}, HERE, nd_out(solicit(OTHER6, b"\x01\x00" + bytes(6))), "malformed"),
    ({}, HERE, nd_out(solicit(OTHER6, b"\x01\x02" + b.mac(MAC))), "malformed"),
    ({}, HERE, nd_out(solicit(OTHER6, MINE1, b"\x01")), "malformed"),
    ({}, HERE, nd_out(solicit(OTHER6, WRONG, b"\x01")), "nd"),
    # To the workload.
    (DENY_ND, AWAY, nd_in(b.icmp(134, payload=bytes(8))), "nd"),
    *[({}, AWAY, nd_in(b.icmp(kind)), "stray*") for kind in (131, 132, 143)],
    *[({}, AWAY, nd_in(b.icmp(kind)), "rogue-ra") for kind in (133, 137)],
    ({}, AWAY, nd_in(b.icmp(130), hop_limit=1), "pass"),
    ({}, AWAY, nd_in(b.icmp(130), hop_limit=2), "nd"),
    ({}, AWAY, nd_in(b.icmp(130), OTHER6, hop_limit=1), "nd"),
    ({}, AWAY, nd_in(b.icmp(134, payload=bytes(8))), "pass"),
    ({}, AWAY, nd_in(b.icmp(134, payload=bytes(7))), "malformed"),
    ({}, AWAY, nd_in(b.icmp(134, payload=bytes(8)), OTHER6), "rogue-ra"),
    ({}, AWAY, nd_in(b.icmp(134, 1, payload=bytes(8))), "nd"),
    ({}, AWAY, nd_in(b.icmp(134, payload=bytes(8)), hop_limit=254), "nd"),
    ({}, AWAY, nd_in(solicit(ME6)), "pass"),
    ({}, AWAY, nd_in(solicit(MY_LINK)), "pass"),
    ({}, AWAY, nd_in(solicit(OTHER6)), "stray*"),
    ({}, AWAY, nd_in(solicit(ME6)[:23]), "malformed"),
    ({}, AWAY, nd_in(advertise(OTHER6), destination=ME6), "pass"),
]

JUDGED = [
    # Steps 9, 10 and 12.
    *[({}, HERE, tcp_out(b.SYN, good, me), "pass") for me, good, bad in BOTH],
    *[({}, HERE, tcp_out(b.SYN, bad, me), "rule+") for me, good, bad in BOTH],
    ({}, HERE, tcp_out(b.SYN, source=OTHER4), "address-binding"),
    ({}, HERE, tcp_out(b.SYN, ALLOWED6, OTHER6), "address-binding"),
    ({}, HERE, tcp_out(b.SYN, ALLOWED6, MY_LINK), "pass"),
    ({}, HERE, tcp_out(b.SYN, source="0.0.0.0"), "address-binding"),
    ({"binding": MAC_ONLY}, HERE, tcp_out(b.SYN, source="0.0.0.0"), "address-binding"),
    ({"binding": MAC_ONLY}, HERE, tcp_out(b.SYN, ALLOWED6, "::"), "address-binding"),
    ({"binding": MAC_ONLY}, HERE, tcp_out(b.SYN, source=OTHER4), "pass"),
    ({"binding": bound(ME4)}, HERE, tcp_out(b.SYN, ALLOWED6, ME6), "address-binding"),
    ({"binding": bound("0.0.0.0/0")}, HERE, tcp_out(b.SYN, source=OTHER4), "pass"),
    ({"binding": bound("0.0.0.0/0")}, HERE, tcp_out(b.SYN, source="0.0.0.0"), "address-binding"),
    ({"binding": bound(ME6, mac=None)}, HERE, tcp_out(b.SYN, ALLOWED6, MY_LINK),
     "address-binding"),
    *[({}, HERE, tcp_out(flags), "tcp-flags")
      for flags in (0, b.FIN, b.PSH, b.SYN | b.FIN, b.SYN | b.RST, b.SYN | b.ACK | b.FIN)],
    ({}, HERE, tcp_out(b.SYN | b.FIN, DENIED4), "tcp-flags"),
    ({}, HERE, tcp_out(b.ACK), "pass"),
    ({}, HERE, tcp_out(b.ACK | b.FIN), "pass"),
    ({}, HERE, tcp_out(b.SYN | b.ACK), "tcp-flags"),
    ({}, HERE, tcp_out(b.RST), "tcp-flags"),
    ({}, HERE, tcp_out(b.RST | b.ACK), "tcp-flags"),
    ({}, HERE, tcp_out(b.RST | b.ACK, DENIED4), "rule"),
    ({}, HERE, udp_out("11.0.0.1"), "default+"),
    ({"default": "allow"}, HERE, udp_out("11.0.0.1"), "pass"),
    ({}, HERE, udp_out("2002::1", ME6), "embedded+"),
    ({"dns": {"resolvers": [DENIED4]}}, HERE, udp_out(DENIED4, ports=(5, 53)), "pass"),
    ({"dns": {"resolvers": [DENIED4]}}, HERE, udp_out(ports=(5, 53)), "dns-gate+"),
    # To the workload.
    ({}, AWAY, tcp_in(b.SYN), "unsolicited"),
    ({}, AWAY, tcp_in(b.SYN | b.FIN), "tcp-flags"),
    ({"inbound": "allow"}, AWAY, tcp_in(b.SYN), "pass"),
    ({"inbound": "allow"}, AWAY, tcp_in(b.SYN | b.ACK), "tcp-flags"),
    ({"inbound": [{"from": "10.1.0.0/16", "ports": 22}]}, AWAY, tcp_in(b.SYN, ports=(9, 22)),
     "pass"),
    ({"inbound": [{"from": "10.1.0.0/16", "ports": 22}]}, AWAY, tcp_in(b.SYN, ports=(22, 9)),
     "unsolicited"),
]

CASES = {"ethernet": ETHERNET, "arp": ARP, "parse": PARSE, "extensions": EXTENSIONS,
         "dhcp": DHCP, "nd": ND, "judged": JUDGED}


@pytest.mark.parametrize("keys, direction, frame, wanted", [
    pytest.param(*case, id=f"{name}-{number}")
    for name, cases in CASES.items() for number, case in enumerate(cases)])
def test_case(keys, direction, frame, wanted):
    assert said(device(**keys).frame(direction, frame)) == wanted


@pytest.mark.parametrize("keys, direction, frame, wanted", [
    case for cases in CASES.values() for case in cases if case[3] != "pass"])
def test_audit_lets_pass_what_it_reports(keys, direction, frame, wanted):
    target = device(**keys, mode="audit")
    outcome = target.frame(direction, frame)
    assert outcome.passes and not outcome.answer
    assert said(outcome) == wanted.rstrip("+")
    assert outcome.event == (None if "*" in wanted else "audit-deny")


@pytest.mark.parametrize("total, wanted", [(0, "pass"), (40, "pass"), (65535, "pass")])
def test_a_gso_frame_is_as_long_as_it_is(total, wanted):
    frame = put(V4, 16, total >> 8, total & 255)
    assert said(device().frame(HERE, frame, gso=True)) == wanted
    assert said(device().frame(HERE, frame)) == ("pass" if total == 40 else "malformed")


def test_every_reason_that_a_frame_can_have_is_in_a_case():
    seen = {case[3].rstrip("+*") for cases in CASES.values() for case in cases}
    assert seen >= {"pass", "malformed", "vlan", "mac-binding", "ethertype", "stray", "arp",
                    "ip-options", "fragment", "routing-header", "extension-headers", "dhcp",
                    "rogue-dhcp", "rogue-ra", "nd", "address-binding", "tcp-flags", "rule",
                    "default", "embedded", "dns-gate", "unsolicited"}
