#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A TCP of one's own, by raw sockets, of either family: what a guest can send, whatever a
kernel would. Part of dns_client.py."""
import contextlib
import hashlib
import select
import socket
import struct
import time

import client

TCP, SYN, RST, ACK, URG = 6, 2, 4, 16, 32
BEGIN = 1000                    # the first SYN's sequence number
BAD_SUM = 0x5a5a


def packed(address):
    return socket.inet_pton(client.family(address), address)


def segment(r, sequence, acknowledged, flags, data=b"", bad=0, options=b""):
    """A whole packet; bad: what its checksum is off by."""
    options += b"\x01" * (-len(options) % 4)
    head = struct.pack("!HHIIBBHHH", r["sport"], r.get("port", 53), sequence & 0xffffffff,
                       acknowledged, 0x50 + len(options) * 4, flags, 8192, 0,
                       len(data) if flags & URG else 0) + options
    source, to, length = packed(r["source"]), packed(r["to"]), len(head) + len(data)
    right = client.checksum(source + to + struct.pack("!II", length, TCP) + head + data) ^ bad
    head = head[:16] + struct.pack("!H", right) + head[18:]
    if len(to) == 16:
        ip = struct.pack("!IHBB", 6 << 28, length, TCP, 64)
    else:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 7, 0, 64, TCP, 0)
    return ip + source + to + head + data


@contextlib.contextmanager
def without_kernels_resets(r):
    """The kernel knows nothing of the connection and would reset it: only what has mark 1 may."""
    tables = "ip6tables" if ":" in r["to"] else "iptables"
    rule = ["OUTPUT", "-p", "tcp", "--sport", str(r["sport"]), "--tcp-flags", "RST", "RST",
            "-m", "mark", "!", "--mark", "1", "-j", "DROP"]
    client.command({"argv": [tables, "-w", "-A", *rule]})
    try:
        yield
    finally:
        client.command({"argv": [tables, "-w", "-D", *rule]})


class Peer:
    """What the other side sends on the connection."""

    def __init__(self, r):
        self.r, self.v6, self.said = r, ":" in r["to"], {}
        self.socket = client.new(r, socket.AF_PACKET, socket.SOCK_DGRAM,
                                 socket.htons(0x86dd if self.v6 else 0x0800))

    def segments(self, seconds):
        """(TCP header and data) until the time is over."""
        end = time.monotonic() + seconds
        protocol, source, at = (6, 8, 40) if self.v6 else (9, 12, 20)
        to = packed(self.r["to"])
        while (left := end - time.monotonic()) > 0 and \
                select.select([self.socket], [], [], left)[0]:
            packet = self.socket.recv(65535)
            if packet[protocol] == TCP and packet[source:source + len(to)] == to and \
                    packet[at + 2:at + 4] == struct.pack("!H", self.r["sport"]):
                length = struct.unpack_from("!H", packet, 4 if self.v6 else 2)[0]
                yield packet[at:length + (40 if self.v6 else 0)]

    def synack(self):
        """The number that the other side's data begins with."""
        for found in self.segments(2):
            if found[13] == SYN | ACK:
                self.options = found[20:(found[12] >> 4) * 4]
                return struct.unpack_from("!I", found, 4)[0] + 1
        raise client.Failed("synack", "timeout")

    def listen(self, seconds):
        """Bytes by sequence number."""
        for found in self.segments(seconds):
            data = found[(found[12] >> 4) * 4:]
            self.said.update(enumerate(data, struct.unpack_from("!I", found, 4)[0]))


class Multipath:
    """MPTCP's options (RFC 8684): each segment says where in the whole its data belongs."""
    SYN = b"\x1e\4\1\1"
    KEY = b"a client"

    def __init__(self, options):
        at = options.find(b"\x1e\x0c\1")
        if at < 0:
            raise client.Failed("synack", "no MPTCP")
        self.their = options[at + 4:at + 12]

    def ack(self):
        return b"\x1e\x14\1\1" + self.KEY + self.their

    @staticmethod
    def begins(key):
        return (int.from_bytes(hashlib.sha256(key).digest()[-8:], "big") + 1) & (1 << 64) - 1

    def data(self, place, offset, length):
        return b"\x1e\x1a\x20\x0f" + struct.pack(
            "!QQIH", self.begins(self.their), self.begins(self.KEY) + place & (1 << 64) - 1,
            offset + 1, length)


def liar(r):
    """Connects, then sends [offset, data, flags, xor of the checksum]s; what came back.
    r["places"]: by MPTCP, each says [place in the whole, offset, length]."""
    to, family = (r["to"], 0), client.family(r["to"])
    peer = Peer(r)
    keeper = client.new(r, family, socket.SOCK_STREAM)
    keeper.bind((r["source"], r["sport"]))              # no other program's port
    s = client.new(r, family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)  # its own may leave
    with without_kernels_resets(r):
        if "decoy" in r:
            s.sendto(segment(r, BEGIN + r["decoy"], 0, SYN, bad=BAD_SUM), to)
        paths, places = None, r.get("places")
        if "plain_decoy" in r:
            s.sendto(segment(r, BEGIN, 0, SYN, bad=BAD_SUM), to)
        s.sendto(segment(r, BEGIN, 0, SYN, options=Multipath.SYN if places else b""), to)
        their = peer.synack()
        if places:
            paths = Multipath(peer.options)
        s.sendto(segment(r, BEGIN + 1, their, ACK, options=paths.ack() if paths else b""), to)
        for i, (offset, data, *more) in enumerate(r["segments"]):
            flags, bad = more + [24, 0][len(more):]
            options = paths.data(*places[i]) if paths else b""
            s.sendto(segment(r, BEGIN + 1 + offset, their if flags & ACK else 0, flags,
                             bytes.fromhex(data), bad, options), to)
            peer.listen(0.1)
            their = max([their, *(k + 1 for k in peer.said)])
        peer.listen(r.get("listen", 0))
    return bytes(peer.said[k] for k in sorted(peer.said)).hex()
