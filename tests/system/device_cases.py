# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the cases of test_device_frames.py are made of: frames by scapy, and the
policies and bindings under which they are sent."""
import dataclasses
import struct
import typing

from scapy.compat import raw
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from devicelab import BINDING, FENCE, GUEST4, GUEST6, GUEST_MAC, PEER_MAC, checksum, packed, rules
from deviceport import (GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, NEEDS_CSUM, PLAIN, VNET_HEADER)
from lab import ECHO, PEER4, PEER6

DENIED4, DENIED6 = "198.51.100.9", "2001:db8:1::9"
PEERS = f'allow: [{PEER4}, "{PEER6}"]'
# Only what the peer serves there: other protocols and ports of it are denied.
ECHO_ONLY = f'allow: ["{PEER4}:{ECHO}", "[{PEER6}]:{ECHO}"]'
PINGS = ['allow: {to: [198.51.100.0/24, 192.0.2.2], protocol: icmp, icmp: {type: 8}}',
         'allow: {to: ["2001:db8:1::/48", "2001:db8::2"], protocol: icmpv6, icmp: {type: 128}}']
NO_FENCE = f"deny: {FENCE}"
GROUPS = 'allow: [224.0.0.251, 255.255.255.255, 192.0.2.255, "ff02::fb", "ff02::1"]'

# name: (policy, options of attach)
CONFIGS = {
    "bound": (rules(PEERS), BINDING),
    "echo": (rules(ECHO_ONLY), BINDING),
    "everything": (rules(NO_FENCE, "allow: any"), BINDING),
    "free": (rules(PEERS), []),
    "free-mac": (rules(PEERS), BINDING[2:]),
    "only-v4": (rules(PEERS), BINDING[:4]),
    "only-v6": (rules(PEERS), BINDING[:2] + BINDING[4:]),
    "vlan": (rules(PEERS), BINDING + ["--vlan", "5", "--vlan", "100"]),
    "pings": (rules(ECHO_ONLY, *PINGS), BINDING),
    "groups": (rules(ECHO_ONLY, GROUPS), BINDING),
    "first": (rules(ECHO_ONLY, fragments="first-decides"), BINDING),
    "no-arp": (rules(PEERS, device="{arp: deny}"), BINDING),
    "no-nd": (rules(PEERS, device="{nd: deny}"), BINDING),
    "no-dhcp": (rules(NO_FENCE, "allow: any", device="{dhcp: deny}"), BINDING),
    "inbound": (rules(ECHO_ONLY, inbound=f'[{{from: ["{PEER4}", "{PEER6}"], ports: 22}}]'),
                BINDING),
    "inbound-all": (rules(ECHO_ONLY, inbound="allow"), BINDING),
    "embed": (rules(NO_FENCE, "allow: any", default="allow"), BINDING),
    "resolver": (rules(NO_FENCE, "allow: any", dns=f'{{resolvers: [{PEER4}, "{PEER6}"]}}'),
                 BINDING),
}


class In(typing.NamedTuple):
    """A frame from the peer, where others are the workload's."""
    frame: bytes


class Gso(typing.NamedTuple):
    """A frame with a virtio-net header."""
    frame: bytes
    header: bytes


@dataclasses.dataclass(frozen=True)
class Case:
    """make(v6, mark) gives a frame, or a list of frames of which the last is the
    attempt and the others must pass. reason None: it passes."""
    name: str
    make: typing.Callable
    reason: typing.Optional[str]
    config: str = "bound"
    families: tuple = (4, 6)
    silent: bool = False            # denied without an event (docs/devices.md)
    kinds: tuple = ("tap", "veth")
    mark: typing.Optional[typing.Callable] = None   # finds a frame that carries no mark
    trace: typing.Callable = staticmethod(lambda mark: mark)    # what a frame carries of it

    def steps(self, v6, mark):
        made = self.make(v6, mark)
        return [frame_of(step) for step in (made if isinstance(made, list) else [made])]


def frame_of(step):
    """(to the workload, bytes, virtio-net header)"""
    if isinstance(step, In):
        return True, bytes_of(step.frame), PLAIN
    if isinstance(step, Gso):
        return False, bytes_of(step.frame), step.header
    return False, bytes_of(step), PLAIN


def bytes_of(frame):
    return raw(frame) if isinstance(frame, Packet) else frame


# ---- parts ----

def eth(kind=None, src=GUEST_MAC, dst=PEER_MAC):
    return Ether(src=src, dst=dst, **({} if kind is None else {"type": kind}))


def ip(v6, to=None, src=None, **fields):
    """The header towards the peer; nh or proto are scapy's to fill in, or `proto`."""
    src, to = src or (GUEST6 if v6 else GUEST4), to or (PEER6 if v6 else PEER4)
    if "proto" in fields and v6:
        fields["nh"] = fields.pop("proto")
    if "ttl" in fields and v6:
        fields["hlim"] = fields.pop("ttl")
    return (IPv6 if v6 else IP)(src=src, dst=to, **fields)


def denied(v6):
    return DENIED6 if v6 else DENIED4


def udp(mark, dport=ECHO, sport=4000):
    return UDP(sport=sport, dport=dport) / Raw(mark)


def tcp(mark, flags, dport=ECHO, sport=4001, seq=1):
    return TCP(sport=sport, dport=dport, flags=flags, seq=seq,
               ack=1 if "A" in flags else 0) / Raw(mark)


def whole(v6, mark, **header):
    """A plain datagram to the echo server."""
    return eth() / ip(v6, **header) / udp(mark)


def typed(kind, payload, **addresses):
    """An Ethernet frame of any type."""
    return raw(eth(kind, **addresses)) + (raw(payload) if isinstance(payload, Packet) else payload)


# ---- super-frames ----

def partial(v6, src, dst, protocol, length):
    """The pseudo header's sum, as a sender with checksum offload leaves it."""
    pseudo = packed(src) + packed(dst) + struct.pack("!II", length, protocol)
    return ~checksum(pseudo) & 0xffff


def super_frame(v6, mark, to=None, src=None, kind=None, size=20000, dport=ECHO, sport=None,
                seg=1400, hdr_len=None, data=None):
    """A frame of many segments: TCP, or UDP if kind is a GSO type of UDP."""
    src, to = src or (GUEST6 if v6 else GUEST4), to or (PEER6 if v6 else PEER4)
    kind = kind or (GSO_TCPV6 if v6 else GSO_TCPV4)
    data = data or (mark * (size // len(mark) + 1))[:size]
    size = len(data)
    if kind in (GSO_UDP, GSO_UDP_L4):
        length, protocol, at = 8 + size, 17, 6
        part = struct.pack("!HHHH", sport or 4002, dport, length,
                           partial(v6, src, to, 17, length))
    else:
        length, protocol, at = 20 + size, 6, 16
        part = struct.pack("!HHIIBBHHH", sport or 4003, dport, 1, 1, 0x50, 0x10, 65535,
                           partial(v6, src, to, 6, length), 0)
    head = raw(eth() / (IPv6(src=src, dst=to, nh=protocol, plen=length) if v6 else
                        IP(src=src, dst=to, proto=protocol, len=20 + length)))
    header = VNET_HEADER.pack(NEEDS_CSUM, kind, hdr_len or len(head) + len(part), seg, len(head),
                              at)
    return Gso(head + part + data, header)
