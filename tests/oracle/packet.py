# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames taken apart: the section "Parse" of docs/devices.md, read naively.

parse(frame, first_decides, gso) gives a Packet or raises Denied; what the page
says about fragments that other frames decide (a later one) is the model's.
"""
import struct

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
FIN, SYN, RST, ACK = 1, 2, 4, 16
FIRST, LATER = "first", "later"

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
NOT_WALKED = (135, 139, 140)                # mobility, HIP, shim6
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, *NOT_WALKED)
HEADERS_WALKED = 5

# A query's type, and its answer's type -> the query's.
QUERIES = {ICMP: (8, 13, 15, 17), ICMPV6: (128,)}
ANSWERS = {ICMP: {0: 8, 14: 13, 16: 15, 18: 17}, ICMPV6: {129: 128}}
ERRORS = {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}
ICMP_OF = {4: ICMP, 6: ICMPV6}


class Denied(Exception):
    """The step that ends a frame. cut: the flow that is cut and that it belongs to."""

    def __init__(self, reason, rule=None, cut=None, silent=False):
        super().__init__(reason)
        self.reason = reason
        self.rule = rule
        self.cut = cut
        self.silent = silent


def need(condition, reason="malformed"):
    if not condition:
        raise Denied(reason)


class Packet:
    """What the judge may know of a packet; ports and the like stay None unless known."""
    family = source = destination = protocol = hop_limit = None
    fragment = None             # None, FIRST or LATER
    extended = False            # IPv6 with extension headers
    fragment_id = begin = length = None     # of a fragment: begin and length in bytes
    data = at = end = None      # the frame; where the transport is; where the packet ends
    source_port = destination_port = None
    flags = sequence = None     # TCP
    type = code = identifier = None         # ICMP that goes with its family
    payload_end = None          # UDP

    @property
    def is_icmp(self):
        return self.protocol == ICMP_OF[self.family]

    @property
    def is_error(self):
        return self.is_icmp and self.type in ERRORS[self.protocol]

    @property
    def key(self):
        """What a policy calls the port, or the ICMP type and code; 0 without either."""
        if self.type is not None:
            return self.type << 8 | self.code
        return self.destination_port or 0

    def ends(self):
        return self.data[self.at:self.end]


def parse(data, first_decides=False, gso=False):
    """The packet of an IPv4 or IPv6 frame; data begins with its Ethernet header."""
    p = Packet()
    p.data = data
    if data[12:14] == b"\x08\x00":
        parse_ipv4(p, first_decides, gso)
    else:
        parse_ipv6(p, first_decides, gso)
    if p.fragment == FIRST:
        try:
            need(p.length % 8 == 0)
            parse_transport(p, gso)
        except Denied:
            raise Denied("fragment") from None
    elif p.fragment is None:
        parse_transport(p, gso)
    return p


def parse_ipv4(p, first_decides, gso):
    data = p.data
    need(len(data) >= 14 + 20)
    first, total, identifier, offset, p.hop_limit, p.protocol, p.source, p.destination = \
        struct.unpack_from(">BxHHHBBxx4s4s", data, 14)
    p.family = 4
    words = first & 15
    need(first >> 4 == 4 and words >= 5)
    if gso:
        p.end = len(data)
    else:
        need(20 <= total <= len(data) - 14)
        p.end = 14 + total
    need(words == 5, "ip-options")
    p.at = 14 + 20
    more, begin = offset & 0x2000, (offset & 0x1fff) * 8
    if more or begin:
        need(first_decides, "fragment")
        note_fragment(p, identifier, begin)


def note_fragment(p, identifier, begin):
    p.fragment = LATER if begin else FIRST
    p.fragment_id = identifier
    p.begin = begin
    p.length = p.end - p.at


def parse_ipv6(p, first_decides, gso):
    data = p.data
    need(len(data) >= 14 + 40)
    first, length, following, p.hop_limit, p.source, p.destination = \
        struct.unpack_from(">BxxxHBB16s16s", data, 14)
    p.family = 6
    need(first >> 4 == 6)
    if gso:
        p.end = len(data)
    else:
        need(length <= len(data) - 54)
        p.end = 54 + length
    p.at = 54
    walk_extensions(p, following, first_decides)


def walk_extensions(p, following, first_decides):
    data, walked = p.data, []
    while following in EXTENSIONS:
        need(following != ROUTING, "routing-header")
        need(following not in NOT_WALKED, "extension-headers")
        if following == FRAGMENT:
            need(first_decides, "fragment")
            need(p.at + 8 <= p.end)
            following, offset, identifier = struct.unpack_from(">BxHI", data, p.at)
            if offset & 0xfff9:
                need(offset & 0xfff8 or following not in EXTENSIONS, "fragment")
                p.at += 8
                note_fragment(p, identifier, offset & 0xfff8)
                break
            need(len(walked) < HEADERS_WALKED, "extension-headers")
            walked.append(FRAGMENT)
            p.at += 8
            continue
        need(len(walked) < HEADERS_WALKED, "extension-headers")
        need(p.at + 8 <= p.end)
        size = (data[p.at + 1] + 1) * 8
        need(p.at + size <= p.end)
        walked.append(following)
        following = data[p.at]
        p.at += size
    p.extended = bool(walked) or p.fragment is not None
    p.protocol = following


def parse_transport(p, gso):
    data, at, room = p.data, p.at, p.end - p.at
    if p.protocol == TCP:
        need(room >= 20)
        p.source_port, p.destination_port, p.sequence, words, p.flags = \
            struct.unpack_from(">HHI4xBB", data, at)
        need(5 <= words >> 4 and (words >> 4) * 4 <= room)
    elif p.protocol == UDP:
        need(room >= 8)
        p.source_port, p.destination_port, length = struct.unpack_from(">HHH", data, at)
        need(length >= 8)
        need(length <= room or p.fragment == FIRST or gso)
        p.payload_end = at + min(length, room)
    elif p.protocol == SCTP:
        need(room >= 12)
        p.source_port, p.destination_port = struct.unpack_from(">HH", data, at)
    elif p.is_icmp:
        need(room >= 8)
        p.type, p.code, p.identifier = struct.unpack_from(">BBxxH", data, at)


def parse_quoted(error):
    """The packet that an ICMP error quotes, or None where it can be of no flow."""
    data, at, end = error.data, error.at + 8, error.end
    p = Packet()
    p.family = error.family
    if p.family == 4:
        if end - at < 20:
            return None
        first, offset, p.protocol, p.source, p.destination = \
            struct.unpack_from(">B5xHxBxx4s4s", data, at)
        if first != 0x45 or offset & 0x3fff:
            return None
        at += 20
    else:
        if end - at < 40:
            return None
        first, p.protocol, p.source, p.destination = struct.unpack_from(">B5xBx16s16s", data, at)
        if first >> 4 != 6 or p.protocol in EXTENSIONS:
            return None
        at += 40
    if end - at < 8 and (p.protocol in (TCP, UDP, SCTP) or p.is_icmp):
        return None
    if p.protocol in (TCP, UDP, SCTP):
        p.source_port, p.destination_port = struct.unpack_from(">HH", data, at)
    elif p.is_icmp:
        p.type, p.code, p.identifier = struct.unpack_from(">BBxxH", data, at)
    return None if p.is_error else p
