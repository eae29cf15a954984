# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames from the peer to the workload."""
from scapy.compat import raw
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Solicit
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest,
                                ICMPv6MLQuery, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS,
                                ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6ND_RS,
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6,
                                IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting)
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Raw

from device_cases import Case, In, eth, ip, tcp, typed, udp
from device_cases_ip import echo, ident_of
from device_cases_link import MAC_BYTES, dhcp, dhcp6
from devicelab import (GUEST4, GUEST6, GUEST_LL, GUEST_MAC, OTHER4, OTHER6, OTHER_MAC, PEER_LL,
                       PEER_MAC)
from lab import ECHO, PEER4, PEER6

V4, V6 = (4,), (6,)
GROUP_MAC, BROADCAST = "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff"


def hither(kind=None, dst=GUEST_MAC):
    return eth(kind, src=PEER_MAC, dst=dst)


def back(v6, src=None, to=None, **fields):
    return ip(v6, to or (GUEST6 if v6 else GUEST4), src or (PEER6 if v6 else PEER4), **fields)


def far(v6):
    return "2001:db8:1::21" if v6 else "198.51.100.21"


def alone(layers):
    """One frame; layers(v6, mark) is what stands behind Ethernet."""
    return lambda v6, m: [In(hither() / layers(v6, m))]


def answered(ask, answer):
    """The workload's packet, then what comes for it; both without Ethernet."""
    return lambda v6, m: [eth() / ask(v6, m), In(hither() / answer(v6, m))]


def port_of(m):
    """A port that no other case of the lab has used."""
    return 40000 + ident_of(m) % 20000


def asks(v6, m):
    return ip(v6) / udp(b"", sport=port_of(m))


def answers(v6, m, sport=ECHO, dport=None, src=None):
    return back(v6, src) / UDP(sport=sport, dport=dport or port_of(m)) / Raw(m)


def syn(v6, m):
    return ip(v6) / tcp(b"", "S", sport=port_of(m))


def segment(flags, sport=ECHO, dport=None, stranger=False):
    """stranger: from an address with which the workload never spoke TCP."""
    return lambda v6, m: back(v6, far(v6) if stranger else None) / \
        tcp(m, flags, dport or port_of(m), sport)


def pong(v6, m, ident=None, kind=None):
    ident = ident_of(m) if ident is None else ident
    if v6:
        return back(v6, far(v6)) / ICMPv6EchoReply(id=ident, seq=1, data=m)
    return back(v6, far(v6)) / ICMP(type=kind or 0, id=ident, seq=1) / Raw(m)


def ping(v6, m):
    return back(v6) / (ICMPv6EchoRequest(id=7, data=m) if v6 else ICMP(id=7) / Raw(m))


def error(v6, m, quoted):
    kind = ICMPv6DestUnreach(code=4) if v6 else ICMP(type=3, code=3)
    return back(v6, far(v6)) / kind / Raw(raw(quoted)) / Raw(m)


FLOWS = [
    Case("in-udp", alone(lambda v6, m: answers(v6, m, 9, 9)), "unsolicited", "echo"),
    Case("in-udp-answer", answered(asks, answers), None, "echo"),
    Case("in-udp-from-another-port", answered(asks, lambda v6, m: answers(v6, m, 8)),
         "unsolicited", "echo"),
    Case("in-udp-to-another-port", answered(asks, lambda v6, m: answers(v6, m, dport=99)),
         "unsolicited", "echo"),
    Case("in-udp-from-another", answered(asks, lambda v6, m: answers(v6, m, src=far(v6))),
         "unsolicited", "echo"),
    *(Case(f"in-tcp-{name}", alone(segment(flags, stranger=True)), "unsolicited", "echo")
      for name, flags in (("syn", "S"), ("ack", "A"), ("rst", "R"), ("syn-ack", "SA"),
                          ("data", "PA"))),
    *(Case(f"in-tcp-{name}", alone(segment(flags, stranger=True)), "tcp-flags", "echo")
      for name, flags in (("null", ""), ("syn-fin", "SF"), ("syn-rst", "SR"))),
    Case("in-tcp-answer", answered(syn, segment("SA")), None, "echo"),
    Case("in-tcp-refusal", answered(syn, segment("RA")), None, "echo"),
    Case("in-tcp-syn-of-a-flow", answered(syn, segment("S")), "unsolicited", "echo"),
    Case("in-ping", alone(ping), "unsolicited", "pings"),
    Case("in-ping-of-a-flow", lambda v6, m: [echo(v6, ident_of(m)), In(hither() / back(
        v6, far(v6)) / (ICMPv6EchoRequest(id=ident_of(m), data=m) if v6 else
                        ICMP(id=ident_of(m)) / Raw(m)))], "unsolicited", "pings"),
    Case("in-pong", lambda v6, m: [echo(v6, ident_of(m)), In(hither() / pong(v6, m))], None,
         "pings"),
    Case("in-pong-of-no-flow", alone(pong), "unsolicited", "pings"),
    Case("in-pong-of-another-id", lambda v6, m: [
        echo(v6, ident_of(m)), In(hither() / pong(v6, m, ident_of(m) ^ 1))], "unsolicited",
         "pings"),
    Case("in-timestamp-answer", lambda v6, m: [
        echo(v6, ident_of(m)), In(hither() / pong(v6, m, kind=14))], "unsolicited", "pings", V4),
    Case("in-error", lambda v6, m: [echo(v6, ident_of(m)), In(hither() / error(
        v6, m, raw(echo(v6, ident_of(m)))[14:]))], None, "pings"),
    Case("in-error-of-no-flow", lambda v6, m: [In(hither() / error(
        v6, m, raw(echo(v6, ident_of(m)))[14:]))], "unsolicited", "pings"),
    Case("in-error-of-the-answer", lambda v6, m: [echo(v6, ident_of(m)), In(hither() / error(
        v6, m, raw(pong(v6, m))))], "unsolicited", "pings"),
    Case("in-gre", alone(lambda v6, m: back(v6, proto=47) / Raw(bytes(8) + m)), "unsolicited",
         "echo"),
    Case("in-listed", alone(segment("S", 4000, 22)), None, "inbound"),
    Case("in-listed-udp", alone(lambda v6, m: answers(v6, m, 9, 22)), None, "inbound"),
    Case("in-not-listed", alone(segment("S", 4000, 23)), "unsolicited", "inbound"),
    Case("in-listed-from-another", alone(lambda v6, m: answers(v6, m, 9, 22, far(v6))),
         "unsolicited", "inbound"),
    Case("in-all", alone(lambda v6, m: answers(v6, m, 9, 99)), None, "inbound-all"),
    Case("in-all-rst", alone(segment("R", stranger=True)), "tcp-flags", "inbound-all"),
]


# ---- frames that are not for the workload, or not what they should be ----

def optioned(_, m):
    """A record-route option."""
    packet = raw(IP(src=PEER4, dst=GUEST4, ihl=7, len=36 + len(m), proto=17))
    return Raw(packet[:20] + b"\x07\x07\x04" + bytes(5) + raw(UDP(sport=9, dport=9) / Raw(m)))


def fragment(v6, m):
    if v6:
        return back(v6) / IPv6ExtHdrFragment(offset=3, id=9, nh=17) / Raw(m)
    return back(v6, flags=1, frag=3, proto=17) / Raw(m)


SHAPES = [
    Case("in-vlan", lambda v6, m: [In(hither() / Dot1Q(vlan=5) / answers(v6, m))], "vlan"),
    Case("in-vlan-bound", lambda v6, m: [eth() / Dot1Q(vlan=5) / asks(v6, m), In(
        hither() / Dot1Q(vlan=5) / answers(v6, m))], None, "vlan"),
    Case("in-vlan-of-a-flow-without", lambda v6, m: [eth() / asks(v6, m), In(
        hither() / Dot1Q(vlan=5) / answers(v6, m))], "unsolicited", "vlan"),
    Case("in-without-of-a-flow-with", lambda v6, m: [eth() / Dot1Q(vlan=5) / asks(v6, m), In(
        hither() / answers(v6, m))], "unsolicited", "vlan"),
    Case("in-vlan-of-another", lambda v6, m: [eth() / Dot1Q(vlan=5) / asks(v6, m), In(
        hither() / Dot1Q(vlan=100) / answers(v6, m))], "unsolicited", "vlan"),
    Case("in-fragment", alone(fragment), "fragment"),
    Case("in-option", lambda v6, m: [In(raw(hither(0x800)) + raw(optioned(v6, m)))],
         "ip-options", families=V4),
    Case("in-routing", alone(lambda v6, m: back(v6) / IPv6ExtHdrRouting(
        addresses=[GUEST6]) / udp(m)), "routing-header", families=V6),
    Case("in-six-headers", alone(lambda v6, m: back(v6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
                                 / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
                                 / IPv6ExtHdrDestOpt() / udp(m)), "extension-headers",
         families=V6),
    Case("in-malformed", alone(lambda v6, m: back(v6, **{"plen" if v6 else "len": 999}) / udp(m)),
         "malformed"),
    Case("in-ethertype", lambda v6, m: [In(typed(0x88cc, m * 6, src=PEER_MAC, dst=GUEST_MAC))],
         "ethertype", families=V4, silent=True),
    Case("in-group", lambda v6, m: [In(hither(dst=GROUP_MAC) / back(
        v6, to="ff02::fb" if v6 else "224.0.0.251") / udp(m, 5353))], "unsolicited", silent=True),
    Case("in-another-mac", lambda v6, m: [In(hither(dst=OTHER_MAC) / answers(v6, m))], "stray",
         silent=True),
]


# ---- the link ----

def arp(op=1, sender=PEER4, target=GUEST4, dst=GUEST_MAC, **fields):
    return lambda _, m: [In(raw(hither(0x806, dst)) + raw(ARP(
        op=op, psrc=sender, pdst=target, hwsrc=PEER_MAC, hwdst=GUEST_MAC, **fields)) + m)]


def nd(body, src=PEER_LL, to=GUEST_LL, dst=GUEST_MAC, hlim=255, before=None):
    def make(_, m):
        packet = IPv6(src=src, dst=to, hlim=hlim)
        return [In(raw(hither(dst=dst) / (packet / before if before else packet) / body) + m)]
    return make


SLL = ICMPv6NDOptSrcLLAddr(lladdr=PEER_MAC)
TLL = ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC)
NS, NA, RA, RS = ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6ND_RS
LINK = [
    Case("in-arp-request", arp(), None, families=V4),
    Case("in-arp-request-broadcast", arp(dst=BROADCAST), None, families=V4),
    Case("in-arp-reply", arp(2), None, families=V4),
    Case("in-arp-announcement", arp(target=PEER4, dst=BROADCAST), None, families=V4),
    Case("in-arp-for-another", arp(target=OTHER4, dst=BROADCAST), "stray", families=V4,
         silent=True),
    Case("in-arp-malformed", arp(hwtype=6), "malformed", families=V4),
    Case("in-arp-switched-off", arp(), "arp", "no-arp", V4),
    Case("in-ns", nd(NS(tgt=GUEST6) / SLL), None, families=V6),
    Case("in-ns-group", nd(NS(tgt=GUEST6) / SLL, dst=GROUP_MAC, to="ff02::1:ff00:1"), None,
         families=V6),
    Case("in-ns-for-another", nd(NS(tgt=OTHER6) / SLL), "stray", families=V6, silent=True),
    Case("in-ns-hop-limit", nd(NS(tgt=GUEST6) / SLL, hlim=64), "nd", families=V6),
    Case("in-ns-code", nd(NS(tgt=GUEST6, code=1) / SLL), "nd", families=V6),
    Case("in-ns-behind-a-header", nd(NS(tgt=GUEST6), before=IPv6ExtHdrDestOpt()), "nd",
         families=V6),
    Case("in-na", nd(NA(tgt=PEER6) / TLL), None, families=V6),
    Case("in-ra", nd(RA() / SLL), None, families=V6),
    Case("in-ra-from-afar", nd(RA() / SLL, src=PEER6), "rogue-ra", families=V6),
    Case("in-ra-hop-limit", nd(RA() / SLL, hlim=64), "nd", families=V6),
    Case("in-rs", nd(RS() / SLL), "rogue-ra", families=V6),
    Case("in-redirect", nd(ICMPv6ND_Redirect(tgt=PEER_LL, dst=OTHER6)), "rogue-ra", families=V6),
    Case("in-listener-query", nd(ICMPv6MLQuery(), hlim=1), None, families=V6),
    Case("in-listener-query-hops", nd(ICMPv6MLQuery(), hlim=64), "nd", families=V6),
    Case("in-listener-report", nd(ICMPv6MLReport2(), hlim=1), "stray", families=V6, silent=True),
    Case("in-nd-switched-off", nd(NS(tgt=GUEST6) / SLL), "nd", "no-nd", V6),
]


# ---- DHCP ----

def offer(m, xid=0x51ce, chaddr=MAC_BYTES, op=2, **fields):
    return In(hither() / IP(src=PEER4, dst=GUEST4) / UDP(sport=67, dport=68) /
              BOOTP(op=op, xid=xid, chaddr=chaddr, yiaddr=GUEST4, **fields) /
              DHCP(options=[("message-type", "offer"), ("hostname", m), "end"]))


def offered(**fields):
    def make(v6, m):
        return [dhcp(xid=ident_of(m))(v6, b"asks"), offer(m, **{"xid": ident_of(m), **fields})]
    return make


def advertise(m, trid, src=PEER_LL):
    return In(hither() / IPv6(src=src, dst=GUEST_LL) / UDP(sport=547, dport=546) /
              DHCP6_Advertise(trid=trid) / Raw(m))


def advertised(other=0, src=PEER_LL):
    return lambda v6, m: [dhcp6(DHCP6_Solicit(trid=ident_of(m)))(v6, b"asks"),
                          advertise(m, ident_of(m) ^ other, src)]


DHCPS = [
    Case("in-dhcp", offered(), None, families=V4),
    Case("in-dhcp-not-asked", lambda _, m: [offer(m, xid=0xbad0bad)], "dhcp", families=V4),
    Case("in-dhcp-of-another-mac", offered(chaddr=b"\x52\x54\x00\x66\x66\x66"), "dhcp",
         families=V4),
    Case("in-dhcp-as-a-request", offered(op=1), "dhcp", families=V4),
    Case("in-dhcp-hardware-type", offered(htype=6), "dhcp", families=V4),
    Case("in-dhcp-switched-off", lambda _, m: [offer(m)], "dhcp", "no-dhcp", V4),
    Case("in-dhcp6", advertised(), None, families=V6),
    Case("in-dhcp6-of-another-id", advertised(1), "dhcp", families=V6),
    Case("in-dhcp6-from-afar", advertised(src=PEER6), "dhcp", families=V6),
    Case("in-dhcp6-switched-off", lambda _, m: [advertise(m, 1)], "dhcp", "no-dhcp", V6),
]

CASES = FLOWS + SHAPES + LINK + DHCPS
