# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames from the workload: tags, frame types, and who it says it is."""
import dataclasses
import struct

from scapy.compat import raw
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Solicit
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (ICMPv6MLQuery, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS,
                                ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6ND_RS,
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo,
                                ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrDestOpt,
                                IPv6ExtHdrHopByHop)
from scapy.layers.l2 import ARP, LLC, SNAP, Dot1AD, Dot1Q
from scapy.packet import Raw

from device_cases import Case, denied, eth, ip, super_frame, typed, udp, whole
from devicelab import (BRIDGE4, BRIDGE6, GUEST4, GUEST6, GUEST_LL, GUEST_MAC, OTHER4, OTHER6,
                       OTHER_MAC, PEER_MAC)
from deviceport import GSO_UDP_L4
from lab import PEER4, PEER6

ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"


# ---- tags and types ----

def tagged(*tags, **header):
    def make(v6, mark):
        frame = eth()
        for tag in tags:
            frame /= tag
        return frame / ip(v6, **header) / udp(mark)
    return make


def snap(v6, mark):
    packet = LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(OUI=0, code=0x86dd if v6 else 0x800) / \
        ip(v6) / udp(mark)
    return typed(len(packet), packet)


def behind(kind, head):
    """The datagram behind some other protocol's header."""
    return lambda v6, mark: typed(kind, head + raw(ip(v6) / udp(mark)))


def pppoe(v6, mark):
    packet = struct.pack("!H", 0x57 if v6 else 0x21) + raw(ip(v6) / udp(mark))
    return typed(0x8864, struct.pack("!BBHH", 0x11, 0, 1, len(packet)) + packet)


OTHER_TYPES = {"pppoe-discovery": 0x8863, "rarp": 0x8035, "lldp": 0x88cc, "macsec": 0x88e5,
               "eapol": 0x888e, "wake-on-lan": 0x0842, "teb": 0x6558, "ipx": 0x8137,
               "aoe": 0x88a2, "fcoe": 0x8906, "roce": 0x8915, "batman": 0x4305, "loop": 0x9000,
               "jumbo-llc": 0x8870, "qinq-9100": 0x9100, "qinq-9200": 0x9200, "trill": 0x22f3,
               "nsh": 0x894f, "experimental": 0x88b5, "llc-length-0": 0, "llc-length-1500": 1500,
               "below-0x600": 0x5ff, "all-ones": 0xffff}

TAGS = [
    Case("vlan", tagged(Dot1Q(vlan=5)), "vlan"),
    Case("vlan-priority-tag", tagged(Dot1Q(vlan=0, prio=7)), "vlan"),
    Case("vlan-4095", tagged(Dot1Q(vlan=4095)), "vlan"),
    Case("vlan-802.1ad", tagged(Dot1AD(vlan=5)), "vlan"),
    Case("qinq", tagged(Dot1AD(vlan=5), Dot1Q(vlan=6)), "vlan"),
    Case("qinq-8100", tagged(Dot1Q(vlan=5), Dot1Q(vlan=6)), "vlan"),
    Case("vlan-three", tagged(Dot1AD(vlan=5), Dot1Q(vlan=6), Dot1Q(vlan=7)), "vlan"),
    Case("vlan-bound", tagged(Dot1Q(vlan=5)), None, "vlan"),
    Case("vlan-bound-second", tagged(Dot1Q(vlan=100, prio=3)), None, "vlan"),
    Case("vlan-bound-802.1ad", tagged(Dot1AD(vlan=5)), "vlan", "vlan"),
    Case("vlan-bound-and-none", whole, None, "vlan"),
    Case("vlan-not-bound", tagged(Dot1Q(vlan=6)), "vlan", "vlan"),
    Case("vlan-0-not-bound", tagged(Dot1Q(vlan=0)), "vlan", "vlan"),
    Case("vlan-inner-bound", tagged(Dot1Q(vlan=6), Dot1Q(vlan=5)), "vlan", "vlan"),
    Case("qinq-outer-bound", tagged(Dot1AD(vlan=5), Dot1Q(vlan=6)), "vlan", "vlan"),
    Case("qinq-both-bound", tagged(Dot1Q(vlan=5), Dot1Q(vlan=5)), "vlan", "vlan"),
    Case("vlan-bound-denied", lambda v6, mark: tagged(Dot1Q(vlan=5), to=denied(v6))(v6, mark),
         "default", "vlan"),
]

TYPES = [
    Case("snap", snap, "ethertype"),
    Case("mpls", behind(0x8847, b"\x00\x01\x01\x40"), "ethertype"),
    Case("mpls-multicast", behind(0x8848, b"\x00\x01\x01\x40"), "ethertype"),
    Case("pppoe", pppoe, "ethertype"),
    *(Case(f"type-{name}", lambda v6, mark, kind=kind: typed(kind, mark + bytes(50)), "ethertype",
           families=(4,)) for name, kind in OTHER_TYPES.items()),
    # An address family that the type does not say
    Case("type-of-the-other-family",
         lambda v6, mark: typed(0x800 if v6 else 0x86dd, ip(v6) / udp(mark + bytes(20))),
         "malformed"),
    Case("14-bytes", lambda v6, mark: typed(0x86dd if v6 else 0x800, b"", dst=BROADCAST),
         "malformed", mark=lambda frame: len(frame) == 14),
]


# ---- who it is ----

def from_mac(address):
    return lambda v6, mark: eth(src=address) / ip(v6) / udp(mark)


def source(v4, v6_address):
    return lambda v6, mark: eth() / ip(v6, src=v6_address if v6 else v4) / udp(mark)


SPOOFED = [
    Case("mac", from_mac(OTHER_MAC), "mac-binding"),
    Case("mac-of-the-peer", from_mac(PEER_MAC), "mac-binding"),
    Case("mac-not-bound", from_mac(OTHER_MAC), None, "free"),
    Case("source", source(OTHER4, OTHER6), "address-binding"),
    Case("source-of-the-peer", source(PEER4, PEER6), "address-binding"),
    Case("source-of-the-host", source(BRIDGE4, BRIDGE6), "address-binding"),
    Case("source-unspecified", source("0.0.0.0", "::"), "address-binding"),
    Case("source-loopback", source("127.0.0.1", "::1"), "address-binding"),
    Case("source-multicast", source("224.0.0.1", "ff02::1"), "address-binding"),
    Case("source-broadcast", source("255.255.255.255", "::ffff:192.0.2.1"), "address-binding"),
    Case("source-link-local", source("169.254.7.7", "fe80::7"), "address-binding"),
    Case("source-own-link-local", source(GUEST4, GUEST_LL), None),
    Case("source-not-bound", source(OTHER4, OTHER6), None, "free"),
    Case("source-unspecified-not-bound", source("0.0.0.0", "::"), "address-binding", "free"),
    Case("no-ipv6-binding", whole, "address-binding", "only-v4", (6,)),
    Case("no-ipv6-link-local", source(GUEST4, GUEST_LL), "address-binding", "only-v4", (6,)),
    Case("no-ipv4-binding", whole, "address-binding", "only-v6", (4,)),
]


def carrying(cases, trace):
    """Cases whose frames have room for a part of the mark."""
    return [dataclasses.replace(case, trace=trace) for case in cases]


# ---- ARP ----

def arp(op=1, sender=GUEST4, target=PEER4, src=GUEST_MAC, dst=BROADCAST, hwsrc=GUEST_MAC, **fields):
    """The mark stands where the target's hardware address does."""
    def make(_, mark):
        message = raw(ARP(op=op, psrc=sender, pdst=target, hwsrc=hwsrc,
                          hwdst="00:00:00:00:00:00", **fields))
        return raw(eth(0x806, src=src, dst=dst)) + message[:18] + mark[:6] + message[24:]
    return make


def short_arp(_, mark):
    """27 bytes."""
    return arp()(_, mark)[:14 + 27]


def longer(make, behind):
    return lambda v6, mark: make(v6, mark) + behind


V4, V6 = (4,), (6,)
ARPS = carrying([
    Case("arp-request", arp(), None, families=V4),
    Case("arp-announcement", arp(target=GUEST4), None, families=V4),
    Case("arp-reply", arp(2, dst=PEER_MAC), None, families=V4),
    Case("arp-probe", arp(sender="0.0.0.0", target=GUEST4), None, families=V4),
    Case("arp-probe-for-another", arp(sender="0.0.0.0", target=OTHER4), "arp", families=V4),
    Case("arp-padded", longer(arp(), bytes(18)), None, families=V4),
    Case("arp-long", longer(arp(), bytes(19)), "arp", families=V4),
    Case("arp-carries", longer(arp(), bytes(10) + b"\1"), "arp", families=V4),
    Case("arp-carries-much", longer(arp(2, dst=PEER_MAC), b"\1" * 1200), "arp", families=V4),
    Case("arp-not-bound", arp(sender=OTHER4), None, "free", V4),
    Case("arp-for-the-gateway", arp(sender=BRIDGE4), "arp", families=V4),
    Case("arp-announces-the-peer", arp(sender=PEER4, target=PEER4), "arp", families=V4),
    Case("arp-reply-for-the-gateway", arp(2, BRIDGE4, PEER4, dst=PEER_MAC), "arp", families=V4),
    Case("arp-reply-from-0", arp(2, "0.0.0.0", PEER4, dst=PEER_MAC), "arp", families=V4),
    Case("arp-of-another-mac", arp(hwsrc=OTHER_MAC), "arp", families=V4),
    Case("arp-frame-of-another-mac", arp(src=OTHER_MAC), "mac-binding", families=V4),
    Case("arp-of-another-mac-not-bound", arp(hwsrc=OTHER_MAC), "arp", "free", V4),
    Case("arp-reverse", arp(3), "malformed", families=V4),
    Case("arp-inverse", arp(8), "malformed", families=V4),
    Case("arp-hardware", arp(hwtype=6), "malformed", families=V4),
    Case("arp-protocol", arp(ptype=0x86dd), "malformed", families=V4),
    Case("arp-hardware-length", arp(hwlen=8), "malformed", families=V4),
    Case("arp-protocol-length", arp(plen=16), "malformed", families=V4),
    Case("arp-short", short_arp, "malformed", families=V4),
    Case("arp-switched-off", arp(), "arp", "no-arp", V4),
    Case("arp-no-ipv4-binding", arp(), "arp", "only-v6", V4),
], lambda mark: mark[:6])


# ---- neighbour discovery ----

def nd(body, src=GUEST_LL, to=ALL_NODES, dst=ALL_NODES_MAC, hlim=255, before=None, **fields):
    """The mark is the traffic class and the flow label."""
    def make(_, mark):
        label = struct.unpack("!I", labelled(mark))[0]
        packet = IPv6(src=src, dst=to, hlim=hlim, **fields, tc=label >> 20 & 255, fl=label & 0xfffff)
        return raw(eth(dst=dst) / (packet / before if before else packet) / body)
    return make


def labelled(mark):
    """An IPv6 header's first word."""
    return bytes([0x60 | mark[0] & 15]) + mark[1:4]


def own_source(address=GUEST_MAC):
    return ICMPv6NDOptSrcLLAddr(lladdr=address)


def own_target(address=GUEST_MAC):
    return ICMPv6NDOptDstLLAddr(lladdr=address)


NS, NA, RS = ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS
TO_PEER = {"to": PEER6, "dst": PEER_MAC}
NDS = carrying([
    Case("ns", nd(NS(tgt=PEER6) / own_source()), None, families=V6),
    Case("ns-unicast", nd(NS(tgt=PEER6) / own_source(), src=GUEST6, **TO_PEER), None, families=V6),
    Case("ns-dad", nd(NS(tgt=GUEST6), src="::"), None, families=V6),
    Case("na", nd(NA(tgt=GUEST6, S=0) / own_target()), None, families=V6),
    Case("na-unicast", nd(NA(tgt=GUEST6, S=1) / own_target(), **TO_PEER), None, families=V6),
    Case("rs", nd(RS() / own_source()), None, families=V6),
    Case("rs-unspecified", nd(RS(), src="::"), None, families=V6),
    Case("mld-report", nd(ICMPv6MLReport2(), hlim=1), None, families=V6),
    Case("mld-report-hop-limit", nd(ICMPv6MLReport2(), hlim=64), "nd", families=V6),
    Case("mld-report-unicast", nd(ICMPv6MLReport2(), hlim=1, **TO_PEER), "nd", families=V6),
    Case("mld-report-of-another", nd(ICMPv6MLReport2(), src=OTHER6, hlim=1), "nd", families=V6),
    Case("mld-query", nd(ICMPv6MLQuery(), hlim=1), "rogue-ra", families=V6),
    Case("ra", nd(ICMPv6ND_RA(routerlifetime=1800) /
                  ICMPv6NDOptPrefixInfo(prefix="2001:db8:66::", prefixlen=64) / own_source()),
         "rogue-ra", families=V6),
    Case("ra-not-bound", nd(ICMPv6ND_RA()), "rogue-ra", "free", V6),
    Case("ra-behind-a-header", nd(ICMPv6ND_RA(), before=IPv6ExtHdrHopByHop()), "rogue-ra",
         families=V6),
    Case("redirect", nd(ICMPv6ND_Redirect(tgt=GUEST_LL, dst=OTHER6), **TO_PEER), "rogue-ra",
         families=V6),
    Case("na-of-the-peer", nd(NA(tgt=PEER6, S=0, O=1) / own_target()), "nd", families=V6),
    Case("na-of-the-host", nd(NA(tgt=BRIDGE6, S=1, O=1, R=1) / own_target(), **TO_PEER), "nd",
         families=V6),
    Case("na-of-another-mac", nd(NA(tgt=GUEST6) / own_target(OTHER_MAC)), "nd", families=V6),
    Case("na-from-another", nd(NA(tgt=GUEST6) / own_target(), src=OTHER6), "nd", families=V6),
    Case("na-from-nobody", nd(NA(tgt=GUEST6), src="::"), "nd", families=V6),
    Case("na-hop-limit", nd(NA(tgt=GUEST6), hlim=64), "nd", families=V6),
    Case("na-code", nd(NA(tgt=GUEST6, code=1)), "nd", families=V6),
    Case("ns-of-another-mac", nd(NS(tgt=PEER6) / own_source(OTHER_MAC)), "nd", families=V6),
    Case("ns-from-another", nd(NS(tgt=PEER6) / own_source(), src=OTHER6), "nd", families=V6),
    Case("ns-dad-for-the-peer", nd(NS(tgt=PEER6), src="::"), "nd", families=V6),
    Case("ns-dad-with-a-mac", nd(NS(tgt=GUEST6) / own_source(), src="::"), "nd", families=V6),
    Case("ns-to-a-stranger", nd(NS(tgt=PEER6) / own_source(), to="2001:db8:1::5", dst=PEER_MAC),
         "nd", families=V6),
    Case("ns-with-target-option", nd(NS(tgt=PEER6) / own_target()), "nd", families=V6),
    Case("ns-behind-a-header", nd(NS(tgt=PEER6), before=IPv6ExtHdrDestOpt()), "nd", families=V6),
    Case("ns-option-of-length-0", nd(NS(tgt=PEER6) / Raw(b"\x01\x00" + bytes(6))), "malformed",
         families=V6),
    Case("ns-option-too-long", nd(NS(tgt=PEER6) / Raw(b"\x01\x02" + bytes(6))), "malformed",
         families=V6),
    Case("ns-five-options", nd(NS(tgt=PEER6) / own_source() / own_source() / own_source() /
                               own_source() / own_source()), "malformed", families=V6),
    Case("ns-tunnel-option", nd(NS(tgt=PEER6) / Raw(b"\x63\x10" + bytes(126)), **TO_PEER), "nd",
         families=V6),
    Case("ns-tunnel-option-group", nd(NS(tgt=PEER6) / Raw(b"\x63\x10" + bytes(126))), "nd",
         families=V6),
    Case("na-tunnel-option-group", nd(NA(tgt=GUEST6) / Raw(b"\xc8\x10" + bytes(126))), "nd",
         families=V6),
    Case("ns-dad-nonce", nd(NS(tgt=GUEST6) / Raw(b"\x0e\x01nonce!"), src="::"), None, families=V6),
    Case("ns-long-nonce", nd(NS(tgt=GUEST6) / Raw(b"\x0e\x02" + b"n" * 14), src="::"), "nd",
         families=V6),
    Case("na-nonce", nd(NA(tgt=GUEST6) / Raw(b"\x0e\x01nonce!")), "nd", families=V6),
    Case("ns-carries", longer(nd(NS(tgt=PEER6) / own_source()), b"\1"), "nd", families=V6),
    Case("mld-report-carries", longer(nd(ICMPv6MLReport2(), hlim=1), bytes(1200)), "nd",
         families=V6),
    Case("ns-short", nd(Raw(b"\x87\x00\x00\x00" + bytes(16)), nh=58), "malformed", families=V6),
    Case("rs-from-another", nd(RS() / own_source(), src=OTHER6), "nd", families=V6),
    Case("nd-switched-off", nd(NS(tgt=PEER6) / own_source()), "nd", "no-nd", V6),
], labelled)


# ---- DHCP ----

MAC_BYTES = bytes.fromhex(GUEST_MAC.replace(":", ""))


def dhcp(message="discover", src="0.0.0.0", to="255.255.255.255", sport=68, dport=67, **fields):
    fields = {"chaddr": MAC_BYTES, "xid": 0x51ce, **fields}

    def make(_, mark):
        return eth(dst=BROADCAST) / IP(src=src, dst=to) / UDP(sport=sport, dport=dport) / \
            BOOTP(**fields) / DHCP(options=[("message-type", message), ("hostname", mark), "end"])
    return make


def dhcp_cut(_, mark):
    """A payload of 239 bytes."""
    return raw(eth(dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255") /
               UDP(sport=68, dport=67) / Raw(raw(BOOTP(chaddr=MAC_BYTES))[:231] + mark))


def dhcp_cookie(_, mark):
    return eth(dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255") / \
        UDP(sport=68, dport=67) / Raw(raw(BOOTP(chaddr=MAC_BYTES))[:236] + b"\x63\x82\x53\x64" +
                                      mark)


def dhcp6(body, src=GUEST_LL, sport=546, dport=547, to="ff02::1:2"):
    return lambda _, mark: eth(dst="33:33:00:01:00:02") / IPv6(src=src, dst=to) / \
        UDP(sport=sport, dport=dport) / body / Raw(mark)


def dhcp_super(_, mark):
    """A super-frame of two datagrams: one asks for itself, one in another's name."""
    made = [raw(dhcp("release", src=GUEST4, chaddr=mac)(_, mark)[BOOTP])
            for mac in (MAC_BYTES, b"\x52\x54\x00\x66\x66\x66")]
    assert len(made[0]) == len(made[1])
    return super_frame(False, mark, to="255.255.255.255", kind=GSO_UDP_L4, sport=68, dport=67,
                       seg=len(made[0]), data=b"".join(made))


def dhcp6_super(_, mark):
    made = [raw(DHCP6_Solicit(trid=i)) + mark for i in (0x51ce, 0x51cf)]
    return super_frame(True, mark, src=GUEST_LL, to="ff02::1:2", kind=GSO_UDP_L4, sport=546,
                       dport=547, seg=len(made[0]), data=b"".join(made))


DHCPS = [
    Case("dhcp-client", dhcp(), None, families=V4),
    Case("dhcp-client-renews", dhcp("request", src=GUEST4, ciaddr=GUEST4), None, families=V4),
    Case("dhcp-server", dhcp("offer", src=GUEST4, sport=67, dport=68, op=2), "rogue-dhcp",
         families=V4),
    Case("dhcp-relay", dhcp(src=GUEST4, sport=67, dport=67, to=PEER4), "rogue-dhcp", families=V4),
    Case("dhcp-port-67-anywhere", lambda _, mark: eth() / IP(src=GUEST4, dst=PEER4) /
         udp(mark, sport=67), "rogue-dhcp", "everything", V4),
    Case("dhcp-of-another-mac", dhcp(chaddr=b"\x52\x54\x00\x66\x66\x66"), "dhcp", families=V4),
    Case("dhcp-as-a-reply", dhcp(op=2), "dhcp", families=V4),
    Case("dhcp-hardware-type", dhcp(htype=6), "dhcp", families=V4),
    Case("dhcp-hardware-length", dhcp(hlen=16), "dhcp", families=V4),
    Case("dhcp-short", dhcp_cut, "dhcp", families=V4),
    Case("dhcp-cookie", dhcp_cookie, "dhcp", families=V4),
    Case("dhcp-super-frame", dhcp_super, "dhcp", families=V4),
    Case("dhcp6-super-frame", dhcp6_super, "dhcp", families=V6),
    Case("dhcp-from-another", dhcp(src=OTHER4), "address-binding", families=V4),
    Case("dhcp-to-no-server", dhcp(src=GUEST4, to="198.51.100.9"), "default", families=V4),
    Case("dhcp-switched-off", dhcp(), "dhcp", "no-dhcp", V4),
    Case("dhcp6-client", dhcp6(DHCP6_Solicit(trid=0x51ce)), None, families=V6),
    Case("dhcp6-server", dhcp6(DHCP6_Advertise(), sport=547, dport=546), "rogue-dhcp",
         families=V6),
    Case("dhcp6-from-another", dhcp6(DHCP6_Solicit(), src=OTHER6), "address-binding", families=V6),
    Case("dhcp6-to-a-stranger", dhcp6(DHCP6_Solicit(), to="2001:db8:1::5"), "default",
         families=V6),
    Case("dhcp6-switched-off", dhcp6(DHCP6_Solicit()), "dhcp", "no-dhcp", V6),
]

CASES = TAGS + TYPES + SPOOFED + ARPS + NDS + DHCPS
