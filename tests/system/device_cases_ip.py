# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames from the workload: IP, its options, extension headers and fragments,
and what transport headers say."""
import struct

from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest,
                                ICMPv6NIQueryNOOP, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.packet import Raw

from device_cases import Case, denied, eth, ip, tcp, udp, whole
from devicelab import GUEST4, GUEST6
from lab import ECHO, PEER4, PEER6

V4, V6 = (4,), (6,)


# ---- fragments ----

def piece(v6, offset, more, data, ident=0x77, proto=17, to=None, before=None):
    """One fragment; offset in bytes."""
    if not v6:
        return eth() / ip(v6, to, id=ident, flags=int(more), frag=offset // 8, proto=proto) / \
            Raw(data)
    packet = ip(v6, to)
    if before:
        packet /= before
    return eth() / (packet / IPv6ExtHdrFragment(offset=offset // 8, m=int(more), id=ident,
                                                nh=proto) / Raw(data))


def ident_of(mark):
    return struct.unpack("!H", mark[:2])[0]


def head_udp(length, dport=ECHO):
    """A UDP header over IP fragments: its length is the whole datagram's."""
    return struct.pack("!HHHH", 4000, dport, length, 0)


def head_tcp(flags=2, dport=ECHO):
    return struct.pack("!HHIIBBHHH", 4009, dport, 1, 0, 0x50, flags, 1024, 0, 0)


def first(v6, mark, dport=ECHO, to=None, size=24, **where):
    """A first fragment of size bytes, the mark in it."""
    return piece(v6, 0, True, (head_udp(80, dport) + mark * 8)[:size], ident_of(mark), to=to,
                 **where)


def later(v6, mark, offset=24, more=False, **where):
    return piece(v6, offset, more, mark * 3, where.pop("ident", ident_of(mark)), **where)


def both(offset, **second):
    """A first fragment of 24 bytes that is allowed, then another that has the mark."""
    return lambda v6, mark: [piece(v6, 0, True, head_udp(80) + bytes(16), ident_of(mark)),
                             later(v6, mark, offset, **second)]


FRAGMENTS = [
    Case("fragment-first", first, "fragment"),
    Case("fragment-middle", lambda v6, m: later(v6, m, 24, True), "fragment"),
    Case("fragment-last", later, "fragment"),
    Case("fragment-far", lambda v6, m: later(v6, m, 65520 - 24), "fragment"),
    Case("fragment-tiny", lambda v6, m: piece(v6, 0, True, m), "fragment"),
    Case("fragment-tiny-tcp", lambda v6, m: piece(v6, 0, True, head_tcp()[:8], proto=6),
         "fragment", mark=lambda f: f.endswith(head_tcp()[:8])),
    Case("fragment-atomic", lambda v6, m: piece(v6, 0, False, head_udp(32) + m * 3), "fragment",
         families=V6),
    Case("fragment-behind-options", lambda v6, m: first(v6, m, before=IPv6ExtHdrDestOpt()),
         "fragment", families=V6),
    # fragments: first-decides
    Case("first-passes", first, None, "first"),
    Case("first-atomic", lambda v6, m: piece(v6, 0, False, raw(
        (IPv6(src=GUEST6, dst=PEER6) / UDP(sport=4000, dport=ECHO) / Raw(m)))[40:]), None, "first",
         V6),
    Case("first-atomic-denied", lambda v6, m: piece(v6, 0, False, head_udp(32, 8) + m * 3),
         "default", "first", V6),
    Case("first-denied", lambda v6, m: first(v6, m, 8), "default", "first"),
    Case("first-denied-and-later", lambda v6, m: [first(v6, m, 8), later(v6, m)],
         ("default", "fragment"), "first"),
    Case("first-and-later", both(24), None, "first"),
    Case("first-and-far", both(64), None, "first"),
    Case("first-alone-is-missing", later, "fragment", "first"),
    Case("first-of-12-bytes", lambda v6, m: first(v6, m, size=20), "fragment", "first"),
    Case("first-tiny-tcp", lambda v6, m: piece(v6, 0, True, head_tcp()[:8], proto=6), "fragment",
         "first", mark=lambda f: f.endswith(head_tcp()[:8])),
    Case("first-tiny-tcp-16", lambda v6, m: piece(v6, 0, True, head_tcp()[:8] + m, proto=6),
         "fragment", "first"),
    Case("first-tcp", lambda v6, m: piece(v6, 0, True, head_tcp() + m + bytes(4), ident_of(m),
                                          proto=6), None, "first"),
    Case("first-tcp-flags", lambda v6, m: piece(v6, 0, True, head_tcp(3) + m + bytes(4), proto=6),
         "tcp-flags", "first"),
    Case("overlap-8", both(8), "fragment", "first"),
    Case("overlap-16", both(16), "fragment", "first"),
    Case("overlap-of-tcp-flags", lambda v6, m: [
        piece(v6, 0, True, head_tcp() + bytes(4), ident_of(m), proto=6),
        later(v6, m, 8, proto=6)], "fragment", "first"),
    Case("later-of-another-id", both(24, ident=1), "fragment", "first"),
    Case("later-of-another-protocol", both(24, proto=6), "fragment", "first"),
    Case("later-to-another", lambda v6, m: both(24, to=denied(v6))(v6, m), "fragment", "first"),
    Case("first-behind-options", lambda v6, m: first(v6, m, before=IPv6ExtHdrDestOpt()), None,
         "first", V6),
    Case("first-before-options", lambda v6, m: piece(v6, 0, True, b"\x11\x00\x01\x04" + bytes(4) +
                                                     head_udp(80) + m, proto=60), "fragment",
         "first", V6),
    Case("first-behind-routing", lambda v6, m: first(
        v6, m, before=IPv6ExtHdrRouting(addresses=["2001:db8:1::5"])), "routing-header", "first",
         V6),
]


# ---- options and extension headers ----

ADDRESS = bytes.fromhex("c6336409")     # 198.51.100.9
OPTIONS = {"loose-route": b"\x83\x07\x04" + ADDRESS + b"\x00",
           "strict-route": b"\x89\x07\x04" + ADDRESS + b"\x00",
           "record-route": b"\x07\x07\x04" + bytes(4) + b"\x00",
           "timestamp": b"\x44\x08\x05\x00" + bytes(4), "router-alert": b"\x94\x04\x00\x00",
           "nop": b"\x01" * 4, "end": bytes(4), "security": b"\x82\x0b" + bytes(9) + b"\x00",
           "unknown": b"\x5e\x04\x00\x00", "broken": b"\x83\xff\x04\x00", "most": b"\x01" * 40}


def optioned(option, mark):
    """Laid out by hand: some of them are broken."""
    packet = raw(IP(src=GUEST4, dst=PEER4, ihl=5 + len(option) // 4,
                    len=28 + len(option) + len(mark), proto=17))
    return raw(eth(0x800)) + packet[:20] + option + raw(udp(mark))


def chain(*headers, **where):
    def make(v6, mark):
        packet = ip(v6, denied(v6) if where.get("denied") else None)
        for header in headers:
            packet /= header.copy()
        return eth() / packet / udp(mark, where.get("dport", ECHO))
    return make


def header(number, body):
    """Behind the IPv6 header: a header of any number, with its bytes."""
    return lambda _, mark: raw(eth(0x86dd)) + raw(IPv6(
        src=GUEST6, dst=PEER6, nh=number, plen=len(body) + 8 + len(mark))) + body + \
        raw(UDP(sport=4000, dport=ECHO, len=8 + len(mark)) / Raw(mark))


DEST, HOP = IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop()
NEXT_UDP = b"\x11\x00\x01\x04" + bytes(4)
HEADERS = [
    *(Case(f"option-{name}", lambda _, mark, option=option: optioned(option, mark), "ip-options",
           families=V4) for name, option in OPTIONS.items()),
    Case("options-one", chain(DEST), None, "echo", V6),
    Case("options-hop-by-hop", chain(HOP), None, "echo", V6),
    Case("options-five", chain(HOP, DEST, DEST, DEST, DEST), None, "echo", V6),
    Case("options-six", chain(HOP, DEST, DEST, DEST, DEST, DEST), "extension-headers", "echo", V6),
    Case("options-hide-a-port", chain(HOP, DEST, dport=8), "default", "echo", V6),
    Case("options-hide-an-address", chain(DEST, denied=True), "default", "echo", V6),
    *(Case(f"routing-{kind}", chain(IPv6ExtHdrRouting(type=kind, segleft=left,
                                                      addresses=["2001:db8:1::9"])),
           "routing-header", families=V6) for kind, left in ((0, 1), (2, 1), (3, 1), (4, 1),
                                                             (255, 0))),
    Case("routing-behind-options", chain(DEST, IPv6ExtHdrRouting(addresses=["2001:db8:1::9"])),
         "routing-header", families=V6),
    Case("mobility", header(135, NEXT_UDP), "extension-headers", families=V6),
    Case("hip", header(139, NEXT_UDP), "extension-headers", families=V6),
    Case("shim6", header(140, NEXT_UDP), "extension-headers", families=V6),
    Case("mobility-behind-options", header(60, b"\x87\x00\x01\x04" + bytes(4) + NEXT_UDP),
         "extension-headers", families=V6),
    Case("authentication", header(51, b"\x11\x04\x00\x00" + bytes(20)), "default", "echo", V6),
    Case("encryption", header(50, bytes(16)), "default", "echo", V6),
    Case("no-next-header", header(59, b""), "default", "echo", V6),
    Case("ipv6-in-ipv6", lambda v6, m: eth() / ip(v6) / ip(v6, denied(v6)) / udp(m), "default",
         "echo"),
    Case("options-beyond-the-packet", header(60, b"\x11\xff\x01\x04" + bytes(4)), "malformed",
         families=V6),
    Case("jumbo", lambda _, m: raw(eth(0x86dd)) + raw(IPv6(src=GUEST6, dst=PEER6, nh=0, plen=0)) +
         b"\x11\x00\xc2\x04\x00\x01\x00\x00" + raw(udp(m)), "malformed", families=V6),
]


# ---- broken headers ----

def broken(field, value):
    """An IP header with a field that is wrong."""
    return lambda v6, mark: eth(0x86dd if v6 else 0x800) / ip(v6, **{field: value}) / udp(mark)


def transport(proto, body):
    """body, and nothing behind it; the mark is padding of the frame."""
    return lambda v6, mark: raw(eth() / ip(v6, proto=proto) / Raw(bytes.fromhex(body))) + mark


BROKEN = [
    Case("version", broken("version", 5), "malformed"),
    Case("version-of-the-other", lambda v6, m: broken("version", 4 if v6 else 6)(v6, m),
         "malformed"),
    Case("header-length", broken("ihl", 4), "malformed", families=V4),
    Case("length-too-small", broken("len", 19), "malformed", families=V4),
    Case("length-beyond", broken("len", 200), "malformed", families=V4),
    Case("length-beyond", broken("plen", 200), "malformed", families=V6),
    Case("length-without-transport", broken("len", 20), "malformed", families=V4),
    Case("length-without-transport", broken("plen", 0), "malformed", families=V6),
    Case("header-cut", lambda v6, m: raw(whole(v6, m))[:25] + m[:7], "malformed",
         mark=lambda f: len(f) == 32),
    Case("udp-cut", transport(17, "0fa0000700"), "malformed"),
    Case("udp-length-small", transport(17, "0fa000070007 0000"), "malformed"),
    Case("udp-length-beyond", transport(17, "0fa000070009 0000"), "malformed"),
    Case("tcp-cut", transport(6, "0fa00007 00000001 00000000 5002 0400 0000 00"), "malformed"),
    Case("tcp-offset-4", transport(6, "0fa00007 00000001 00000000 4002 0400 0000 0000"),
         "malformed"),
    Case("tcp-offset-beyond", transport(6, "0fa00007 00000002 00000000 6002 0400 0000 0000"),
         "malformed"),
    Case("icmp-cut", lambda v6, m: transport(58 if v6 else 1, "0800 0000 000000")(v6, m),
         "malformed"),
    Case("sctp-cut", transport(132, "0fa00007 00000000 000000"), "malformed"),
    Case("sctp", transport(132, "0fa00007 00000000 00000000"), None),
]


# ---- TCP, ICMP ----

def segment(flags, dport=ECHO, to=None):
    return lambda v6, m: eth() / ip(v6, denied(v6) if to == "denied" else to) / \
        tcp(m, flags, dport, sport=20000 + ident_of(m) % 20000)


def echo(v6, ident, kind=None, code=0, to=None, data=b"", src=None):
    to = to or ("2001:db8:1::21" if v6 else "198.51.100.21")
    if not v6:
        return eth() / ip(v6, to, src) / ICMP(type=8 if kind is None else kind, code=code,
                                              id=ident, seq=1) / Raw(data)
    made = (ICMPv6EchoReply if kind == 129 else ICMPv6EchoRequest)(id=ident, seq=1, data=data,
                                                                  code=code)
    return eth() / ip(v6, to, src) / made


def then(**other):
    """An echo request that is allowed, then another packet with its identifier."""
    return lambda v6, m: [echo(v6, ident_of(m)), echo(v6, ident_of(m), data=m, **other)]


def unreachable(v6, m, to, quoted):
    error = ICMPv6DestUnreach(code=4) if v6 else ICMP(type=3, code=3)
    return eth() / ip(v6, to) / error / quoted / Raw(m)


def quote(v6, m, src, to):
    """The packet that an ICMP error speaks of: an echo request's answer."""
    return raw(echo(v6, ident_of(m), 129 if v6 else 0, to=to, src=src))[14:]


def error_about(own_flow=True, quoted_from_own=False, to_another=False):
    def make(v6, m):
        far = "2001:db8:1::21" if v6 else "198.51.100.21"
        near = GUEST6 if v6 else GUEST4
        ends = (near, far) if quoted_from_own else (far, near)
        opened = [echo(v6, ident_of(m))] if own_flow else []
        to = ("2001:db8:1::22" if v6 else "198.51.100.22") if to_another else far
        return opened + [unreachable(v6, m, to, quote(v6, m, *ends))]
    return make


FLOWS = [
    *(Case(f"tcp-{name}-denied", segment(flags, to="denied"), "default", "echo")
      for name, flags in (("syn", "S"), ("ack", "A"), ("rst", "R"), ("rst-ack", "RA"),
                          ("syn-ack", "SA"), ("fin-ack", "FA"), ("psh-ack", "PA"))),
    *(Case(f"tcp-{name}-other-port", segment(flags, 8), "default", "echo")
      for name, flags in (("syn", "S"), ("ack", "A"), ("rst", "R"))),
    *(Case(f"tcp-{name or 'null'}", segment(flags), "tcp-flags", "echo")
      for name, flags in (("", ""), ("fin", "F"), ("xmas", "FPU"), ("urg", "U"), ("syn-fin", "SF"),
                          ("syn-rst", "SR"), ("syn-fin-ack", "SFA"), ("rst", "R"),
                          ("rst-ack", "RA"), ("syn-ack", "SA"))),
    Case("tcp-syn", segment("S"), None, "echo"),
    Case("tcp-syn-ecn", segment("SEC"), None, "echo"),
    Case("tcp-ack", segment("A"), None, "echo"),
    Case("tcp-data", segment("PA"), None, "echo"),
    Case("tcp-rst-of-a-flow", lambda v6, m: [
        eth() / ip(v6) / tcp(b"", "S", sport=8000 + ident_of(m) % 2000),
        eth() / ip(v6) / tcp(m, "R", sport=8000 + ident_of(m) % 2000)], None, "echo"),
    Case("ping", lambda v6, m: echo(v6, ident_of(m), data=m), None, "pings"),
    Case("ping-denied", lambda v6, m: echo(v6, 7, to=denied(v6), data=m), "default", "echo"),
    Case("ping-tunnel", lambda v6, m: echo(v6, 7, to=denied(v6), data=m * 170), "default",
         "echo"),
    Case("ping-tunnel-in-an-answer", lambda v6, m: echo(v6, 7, 129 if v6 else 0, data=m * 170),
         "default", "pings"),
    Case("ping-tunnel-in-an-error", lambda v6, m: unreachable(
        v6, m, "2001:db8:1::21" if v6 else "198.51.100.21", Raw(m * 60)), "default", "pings"),
    Case("ping-large", lambda v6, m: echo(v6, ident_of(m), data=m * 170), None, "pings"),
    Case("icmp-id-elsewhere", lambda v6, m: [echo(v6, ident_of(m)), echo(
        v6, ident_of(m), to="2001:db8:2::5" if v6 else "203.0.113.5", data=m)], "default",
         "pings"),
    Case("icmp-id-of-a-timestamp", then(kind=13), "default", "pings", V4),
    Case("icmp-id-of-a-mask", then(kind=17), "default", "pings", V4),
    Case("icmp-id-of-an-answer", lambda v6, m: then(kind=129 if v6 else 0)(v6, m), "default",
         "pings"),
    Case("icmp-id-again", then(), None, "pings"),
    Case("icmp-redirect", then(kind=5), "rogue-ra", "pings", V4),
    Case("icmp-router", then(kind=9), "rogue-ra", "pings", V4),
    Case("icmp-unknown-type", then(kind=200), "default", "pings", V4),
    Case("icmp-node-information", lambda _, m: eth() / ip(True, "2001:db8:1::21") /
         ICMPv6NIQueryNOOP(data=m), "default", "pings", V6),
    Case("icmp-of-the-other-family", lambda v6, m: eth() / ip(
        v6, "2001:db8:1::21" if v6 else "198.51.100.21", proto=1 if v6 else 58) /
         Raw(b"\x08\x00\x00\x00\x00\x07\x00\x01" + m), "default", "pings"),
    Case("icmp-error-of-a-flow", error_about(), None, "pings"),
    Case("icmp-error-of-no-flow", error_about(own_flow=False), "default", "pings"),
    Case("icmp-error-of-its-own-packet", error_about(quoted_from_own=True), "default", "pings"),
    Case("icmp-error-to-another", error_about(to_another=True), "default", "pings"),
]


# ---- what routers say ----

def multicast(proto, body, to4="224.0.0.1", to6="ff02::d"):
    """The mark is padding of the frame."""
    return lambda v6, mark: raw(eth() / ip(v6, to6 if v6 else to4, proto=proto) /
                                Raw(bytes.fromhex(body))) + mark


ROUTERS = [
    Case("igmp-query", multicast(2, "1164ee9b00000000"), "rogue-ra", "everything", V4),
    Case("igmp-query-v3", multicast(2, "1164ec1e00000000027d0000"), "rogue-ra", "everything", V4),
    Case("dvmrp", multicast(2, "1301e6fc00000403"), "rogue-ra", "everything", V4),
    Case("mrd-advertisement", multicast(2, "3014cfeb00000000", "224.0.0.106"), "rogue-ra",
         "everything", V4),
    Case("igmp-empty", multicast(2, ""), "rogue-ra", "everything", V4),
    Case("igmp-report", multicast(2, "1600f9fae0000005", "224.0.0.5"), None, "everything", V4),
    Case("igmp-report-v3", multicast(2, "2200f9f20000000104000000e0000005", "224.0.0.22"), None,
         "everything", V4),
    Case("igmp-leave", multicast(2, "1700f8fae0000005", "224.0.0.2"), None, "everything", V4),
    Case("pim-hello", multicast(103, "2000dfff", "224.0.0.13"), "rogue-ra", "everything"),
    Case("icmp-router-advertisement", multicast(1, "0900f6ff00000000"), "rogue-ra", "everything",
         V4),
    Case("icmp-router-solicitation", multicast(1, "0a00f5ff00000000"), None, "everything", V4),
    Case("mrd6-advertisement", multicast(58, "9714000000000000", to6="ff02::6a"), "rogue-ra",
         "everything", V6),
    Case("mrd6-termination", multicast(58, "9900000000000000", to6="ff02::6a"), "rogue-ra",
         "everything", V6),
]

CASES = FRAGMENTS + HEADERS + BROKEN + FLOWS + ROUTERS
