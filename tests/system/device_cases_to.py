# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames from the workload: where they go (groups, the host, addresses that mean
others, DNS), and super-frames."""
import struct

from scapy.compat import raw
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from device_cases import DENIED4, DENIED6, Case, Gso, denied, eth, ip, super_frame, tcp, udp
from devicelab import GUEST4, OTHER4, OTHER6, PEER_MAC
from deviceport import GSO_UDP, GSO_UDP_L4, VNET_HEADER
from lab import ECHO, PEER4, PEER6

V4, V6 = (4,), (6,)
BROADCAST = "ff:ff:ff:ff:ff:ff"


def to_group(v4, v6_group, dport=5353, dst=None):
    def make(v6, m):
        group = v6_group if v6 else v4
        address = dst or ("33:33:00:00:00:01" if v6 else
                          BROADCAST if group.endswith("255") else "01:00:5e:00:00:fb")
        return eth(dst=address) / ip(v6, group, ttl=1) / udp(m, dport)
    return make


def to(v4, v6_address, dport=ECHO, dst=PEER_MAC):
    return lambda v6, m: eth(dst=dst) / ip(v6, v6_address if v6 else v4) / udp(m, dport)


GROUPS = [
    Case("mdns", to_group("224.0.0.251", "ff02::fb"), "default", "echo"),
    Case("all-nodes", to_group("224.0.0.1", "ff02::1"), "default", "echo"),
    Case("wide-group", to_group("239.83.76.1", "ff0e::1234"), "default", "echo"),
    Case("broadcast", to_group("255.255.255.255", "ff02::1"), "default", "echo"),
    Case("subnet-broadcast", to_group("192.0.2.255", "ff05::2"), "default", "echo"),
    Case("group-in-a-unicast-frame", to_group("224.0.0.251", "ff02::fb", dst=PEER_MAC), "default",
         "echo"),
    Case("broadcast-frame", to(DENIED4, DENIED6, dst=BROADCAST), "default", "echo"),
    Case("broadcast-frame-allowed", to(PEER4, PEER6, dst=BROADCAST), None, "echo"),
    Case("group-allowed", to_group("224.0.0.251", "ff02::fb"), None, "groups"),
    Case("broadcast-allowed", to_group("255.255.255.255", "ff02::1"), None, "groups"),
    Case("subnet-broadcast-allowed", to_group("192.0.2.255", "ff02::1"), None, "groups"),
    Case("igmp", lambda _, m: eth(dst="01:00:5e:00:00:16") / IP(
        src=GUEST4, dst="224.0.0.22", ttl=1, proto=2) / Raw(b"\x22" + bytes(7) + m), "default",
         "echo", V4),
    Case("unspecified", to("0.0.0.0", "::"), "default", "echo"),
    Case("loopback", to("127.0.0.1", "::1"), "default", "echo"),
    Case("to-the-subnet", to(OTHER4, OTHER6), "default", "echo"),
    Case("metadata", to("169.254.169.254", "fd00:ec2::254", 80), "default", "echo"),
    Case("other-port", to(PEER4, PEER6, 8), "default", "echo"),
    Case("same-port", to(PEER4, PEER6), None, "echo"),
]

def question(to_denied=False, dport=53):
    """The mark is the name's first label, in hexadecimal."""
    return lambda v6, m: eth() / ip(v6, denied(v6) if to_denied else None) / \
        UDP(sport=4000, dport=dport) / DNS(id=7, rd=1, qd=DNSQR(qname=m.hex() + ".example.com"))


MEANINGS = [
    Case("6to4", to("", "2002:c633:6409::1"), "embedded", "embed", V6),
    Case("teredo", to("", "2001:0:c633:6409::1"), "embedded", "embed", V6),
    Case("nat64-local", to("", "64:ff9b:1::c633:6409"), "embedded", "embed", V6),
    Case("translated", to("", "::ffff:0:c633:6409"), "embedded", "embed", V6),
    Case("mapped-denied", to("", "::ffff:198.51.100.9"), "default", "echo", V6),
    Case("nat64-denied", to("", "64:ff9b::198.51.100.9"), "default", "echo", V6),
    Case("mapped-is-ipv4", to("", f"::ffff:{PEER4}"), None, "echo", V6),
    Case("nat64-is-ipv4", to("", f"64:ff9b::{PEER4}"), None, "echo", V6),
    Case("dns-of-a-resolver", question(), None, "resolver"),
    Case("dns-without-a-question", lambda v6, m: eth() / ip(v6) / udp(m, 53, 4004),
         "dns-malformed", "resolver"),
    Case("dns-elsewhere", question(True), "dns-gate", "resolver"),
    Case("dns-over-tls", to(DENIED4, DENIED6, 853), "dns-gate", "resolver"),
    Case("dns-over-tls-of-a-resolver", to(PEER4, PEER6, 853), "dns-gate", "resolver"),
    Case("dns-elsewhere-tcp", lambda v6, m: raw(eth() / ip(v6, denied(v6)) / tcp(b"", "S", 53))
         + m, "dns-gate", "resolver"),
]


# ---- super-frames ----

def super_to(**where):
    def make(v6, m):
        to_address = denied(v6) if where.get("to") == "denied" else None
        src = (OTHER6 if v6 else OTHER4) if where.get("src") else None
        rest = {k: v for k, v in where.items() if k not in ("to", "src")}
        return super_frame(v6, m, to_address, src,
                           sport=10000 + struct.unpack("!H", m[:2])[0] % 10000, **rest)
    return make


def jumbo(to_denied):
    """8 kB of which the virtio header says that only Ethernet's 14 bytes are headers."""
    def make(v6, m):
        frame = raw(eth() / ip(v6, denied(v6) if to_denied else None) / udp(m * 1000))
        return Gso(frame, VNET_HEADER.pack(0, 0, 14, 0, 0, 0))
    return make


SUPER = [
    Case("gso-tcp", super_to(), None, "echo"),
    Case("gso-tcp-denied", super_to(to="denied"), "default", "echo"),
    Case("gso-tcp-other-port", super_to(dport=8), "default", "echo"),
    Case("gso-tcp-spoofed", super_to(src=True), "address-binding", "echo"),
    Case("gso-tcp-small-segments", super_to(to="denied", seg=8, size=400), "default", "echo"),
    Case("gso-tcp-60k", super_to(size=60000), None, "echo"),
    Case("gso-tcp-60k-denied", super_to(to="denied", size=60000), "default", "echo"),
    Case("gso-udp", super_to(kind=GSO_UDP_L4), None, "echo"),
    Case("gso-udp-denied", super_to(to="denied", kind=GSO_UDP_L4), "default", "echo"),
    # The container's kernel makes fragments of these before its veth has them.
    Case("gso-ufo", super_to(kind=GSO_UDP, size=4000), None, "echo", kinds=("tap",)),
    Case("gso-ufo-first-decides", super_to(kind=GSO_UDP, size=4000), None, "first"),
    Case("gso-ufo-denied", super_to(to="denied", kind=GSO_UDP), "default", "echo",
         kinds=("tap",)),
    Case("gso-header-outside", super_to(hdr_len=14), None, "echo"),
    Case("gso-header-outside-denied", super_to(hdr_len=14, to="denied"), "default", "echo"),
    Case("jumbo-header-outside", jumbo(False), None, "echo"),
    Case("jumbo-header-outside-denied", jumbo(True), "default", "echo"),
]

CASES = GROUPS + MEANINGS + SUPER
