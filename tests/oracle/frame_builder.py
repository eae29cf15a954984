# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames put together for the generator and the model's tests: bytes in, bytes out.

Addresses are packed or text, ports numbers. Checksums are left 0: a frame from a
guest seldom has them yet, and nothing here may depend on them.
"""
import functools
import socket
import struct

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
BROADCAST = b"\xff" * 6


@functools.lru_cache(4096)
def ip(text):
    """Packed address of a text; packed ones pass."""
    if isinstance(text, bytes):
        return text
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def mac(text):
    return text if isinstance(text, bytes) else bytes.fromhex(text.replace(":", ""))


def ethernet(source, destination, kind, payload):
    return mac(destination) + mac(source) + struct.pack(">H", kind) + payload


def ipv4(source, destination, protocol, payload, ttl=64, identifier=0, offset=0, more=False,
         options=b"", total=None):
    """offset in bytes."""
    words = 5 + len(options) // 4
    total = words * 4 + len(payload) if total is None else total
    return struct.pack(">BBHHHBBH4s4s", 0x40 | words, 0, total & 0xffff, identifier,
                       (0x2000 if more else 0) | offset >> 3, ttl, protocol, 0,
                       ip(source), ip(destination)) + options + payload


def ipv6(source, destination, following, payload, hop_limit=64, length=None):
    length = len(payload) if length is None else length
    return struct.pack(">IHBB16s16s", 6 << 28, length & 0xffff, following, hop_limit,
                       ip(source), ip(destination)) + payload


def packet(source, destination, protocol, payload, ethers, **options):
    """The Ethernet frame of an IP packet of the addresses' family; ethers: (from, to)."""
    source, destination = ip(source), ip(destination)
    if len(source) == 4:
        return ethernet(*ethers, 0x0800, ipv4(source, destination, protocol, payload, **options))
    return ethernet(*ethers, 0x86dd, ipv6(source, destination, protocol, payload, **options))


def tcp(source, destination, flags, sequence=0, acknowledged=0, payload=b"", options=b""):
    return struct.pack(">HHIIBBHHH", source, destination, sequence & 0xffffffff,
                       acknowledged & 0xffffffff, (5 + len(options) // 4) << 4, flags,
                       64240, 0, 0) + options + payload


def udp(source, destination, payload=b"", length=None):
    length = 8 + len(payload) if length is None else length
    return struct.pack(">HHHH", source, destination, length & 0xffff, 0) + payload


def icmp(kind, code=0, rest=bytes(4), payload=b""):
    return struct.pack(">BBH4s", kind, code, 0, rest) + payload


def echo(kind, identifier, sequence=1, payload=b"", code=0):
    return icmp(kind, code, struct.pack(">HH", identifier, sequence), payload)


def sctp(source, destination, payload=bytes(4)):
    return struct.pack(">HHII", source, destination, 1, 0) + payload


def arp(operation, sender_mac, sender, target_mac, target, head=b"\x00\x01\x08\x00\x06\x04"):
    return head + struct.pack(">H6s4s6s4s", operation, mac(sender_mac), ip(sender),
                              mac(target_mac), ip(target))


def option(kind, data):
    """An ND option; data is padded to what its length says."""
    words = (len(data) + 2 + 7) // 8
    return bytes([kind, words]) + data.ljust(words * 8 - 2, b"\0")


def neighbour(kind, target, options=b""):
    """135 or 136."""
    return icmp(kind, 0, bytes(4), ip(target) + options)


def dhcp(operation, transaction, hardware, options=b"\xff", your=bytes(4), htype=1, hlen=6,
         magic=b"\x63\x82\x53\x63", client=bytes(4), relay=bytes(4)):
    head = struct.pack(">BBBBIHH4s4s4s4s16s", operation, htype, hlen, 0, transaction, 0, 0,
                       ip(client), ip(your), bytes(4), ip(relay), mac(hardware))
    return head.ljust(236, b"\0") + magic + options


def dhcp_type(kind, *others):
    """Options: the message type, others as (code, data), and the end."""
    pairs = [(53, bytes([kind])), *others]
    return b"".join(bytes([code, len(data)]) + data for code, data in pairs) + b"\xff"


def extension(following, words=0):
    """A hop-by-hop or destination options header of (words + 1) * 8 bytes, all padding."""
    size = words * 8 + 6
    return bytes([following, words]) + (bytes([1, size - 2]) + bytes(size - 2) if size < 258
                                        else bytes(size))


def fragment_header(following, offset, more, identifier):
    return struct.pack(">BBHI", following, 0, offset | more, identifier)


def dst_multicast(address):
    """The Ethernet group address of an IP multicast address."""
    address = ip(address)
    if len(address) == 16:
        return b"\x33\x33" + address[12:]
    return b"\x01\x00\x5e" + bytes([address[1] & 127]) + address[2:]
