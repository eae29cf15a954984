# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The answer to a refused frame, held against docs/devices.md, RFC 792, 793 and 4443.

problem(frame, packet, answer) is None, or says what is wrong with the answer.
"""
import struct

from packet import ACK, FIN, ICMP, ICMPV6, RST, SYN, TCP


class Wrong(Exception):
    """What the answer has, and what it should have."""


def same(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what} is {show(got)}, should be {show(wanted)}")


def show(value):
    return value.hex(":") if isinstance(value, bytes) else value


def internet_sum(*parts):
    """RFC 1071, folded: 0xffff over data that holds its own right checksum."""
    total = 0
    for part in parts:
        part = part + b"\0" * (len(part) % 2)
        total += sum(struct.unpack(f">{len(part) // 2}H", part))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return total


def check_ethernet(frame, answer):
    if len(answer) < 14:
        raise Wrong(f"{len(answer)} bytes are no frame")
    same("Ethernet destination", answer[0:6], frame[6:12])
    same("Ethernet source", answer[6:12], frame[0:6])
    same("Ethernet type", answer[12:14], frame[12:14])


def check_ip(p, answer, protocols):
    """The payload of an answer whose IP header is right."""
    size = 34 if p.family == 4 else 54
    if len(answer) < size:
        raise Wrong(f"{len(answer)} bytes hold no IP header")
    if p.family == 4:
        first, total, offset, ttl, protocol, source, destination = \
            struct.unpack_from(">BxHxxHBBxx4s4s", answer, 14)
        same("version and header length", first, 0x45)
        same("total length", total, len(answer) - 14)
        same("fragment bits", offset & 0x3fff, 0)
        same("IP header's sum", internet_sum(answer[14:34]), 0xffff)
    else:
        first, length, protocol, ttl, source, destination = \
            struct.unpack_from(">B3xHBB16s16s", answer, 14)
        same("version", first >> 4, 6)
        same("payload length", length, len(answer) - 54)
    same("protocol", protocol, protocols[p.family])
    same("source", source, p.destination)
    same("destination", destination, p.source)
    if ttl < 32:
        raise Wrong(f"hop limit {ttl}")
    return answer[size:]


def pseudo_header(p, protocol, payload):
    return p.destination + p.source + struct.pack(">II", len(payload), protocol)


def check_reset(p, segment):
    """RFC 793, page 36: a reset in answer to a segment of no connection."""
    same("TCP length", len(segment), 20)
    source, destination, sequence, acknowledged, words, flags, _, _, urgent = \
        struct.unpack(">HHIIBBHHH", segment)
    same("source port", source, p.destination_port)
    same("destination port", destination, p.source_port)
    same("data offset", words, 0x50)
    same("urgent pointer", urgent, 0)
    theirs, = struct.unpack_from(">I", p.data, p.at + 8)
    size = p.end - p.at - (p.data[p.at + 12] >> 4) * 4
    if p.flags & ACK:
        same("flags", flags, RST)
        same("sequence number", sequence, theirs)
    else:
        size += bool(p.flags & SYN) + bool(p.flags & FIN)
        same("flags", flags, RST | ACK)
        same("sequence number", sequence, 0)
        same("acknowledgment", acknowledged, p.sequence + size & 0xffffffff)
    same("TCP's sum", internet_sum(pseudo_header(p, TCP, segment), segment), 0xffff)


def check_prohibited(p, message):
    """Administratively prohibited, with the head of the packet in it."""
    if len(message) < 8:
        raise Wrong(f"{len(message)} bytes hold no ICMP header")
    same("type and code", tuple(message[:2]), (3, 13) if p.family == 4 else (1, 1))
    same("unused", message[4:8], bytes(4))
    quoted, original = message[8:], p.data[14:p.end]
    same("quoted packet", quoted[:len(original)], original[:len(quoted)])
    least = (20 if p.family == 4 else 40) + 8
    # Of a shorter packet the header is enough, and it may be filled up: its own length
    # says where it ends.
    most = min(576 - 28 if p.family == 4 else 1280 - 48, max(least, len(original)))
    if len(original) < least:
        least -= 8
    if not least <= len(quoted) <= most:
        raise Wrong(f"{len(quoted)} bytes quoted, should be {least} to {most}")
    before = b"" if p.family == 4 else pseudo_header(p, ICMPV6, message)
    same("ICMP's sum", internet_sum(before, message), 0xffff)


def problem(frame, p, answer):
    try:
        check_ethernet(frame, answer)
        if p.protocol == TCP:
            check_reset(p, check_ip(p, answer, {4: TCP, 6: TCP}))
        else:
            check_prohibited(p, check_ip(p, answer, {4: ICMP, 6: ICMPV6}))
    except Wrong as wrong:
        return str(wrong)
    return None
