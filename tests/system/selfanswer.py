# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A question that its own program answers: on the loopback device, in another namespace, behind a tun device.
Part of dns_client.py."""
import ctypes
import fcntl
import os
import select
import socket
import struct
import time

import client

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFDSTADDR = 0x8914, 0x8916, 0x8918
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000


def answers_itself(r):
    """A question to r["to"], r["message"], that this program answers itself with r["answer"] (both
    hex), in r["where"]: "here", at an address of this machine's; "elsewhere", in a network namespace
    of its own where the address is its own; "tun", in such a one where the address is behind a
    tun device, whose other end it is; "tun mptcp", so over TCP by an MPTCP socket; "tun here", the same in the namespace that it is in. The
    asker may be a socket that is held (r["use"]). What the asker gets."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(into, answered(r))
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with os.fdopen(out, "rb") as f:
        return f.read().hex()


def answered(r):
    to = r["to"]
    if r["where"] in ("elsewhere", "tun", "tun mptcp") and \
            ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET):
        return b""
    if r["where"] == "elsewhere":
        holds("lo", to)
    if r["where"] == "tun mptcp":
        return by_tun_stream(to, bytes.fromhex(r["message"]), bytes.fromhex(r["answer"]))
    with client.held.get(r.get("use")) or \
            socket.socket(client.family(to), socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.5)
        answer, message = bytes.fromhex(r["answer"]), bytes.fromhex(r["message"])
        if r["where"].startswith("tun"):
            return by_tun(asker, to, message, answer)
        with socket.socket(client.family(to), socket.SOCK_DGRAM) as resolver:
            resolver.settimeout(0.5)
            once_there(lambda: resolver.bind((to, 53)))
            asker.sendto(message, (to, 53))
            # a question that a real resolver gets is forged an answer to
            resolver.sendto(answer, (to, asker.getsockname()[1]))
            try:
                return asker.recv(512)
            except OSError:
                return b""


def once_there(bind):
    """An IPv6 address is there a moment after it was given."""
    for _ in range(200):
        try:
            return bind()
        except OSError:
            time.sleep(0.01)
    return bind()


def holds(device, address, peer=None):
    """In one's own network namespace: the device is up and has the address, and leads to the peer."""
    own = socket.inet_pton(client.family(address), address)
    with socket.socket(client.family(address), socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), 0x41))
        if ":" in address:
            fcntl.ioctl(s, SIOCSIFADDR, struct.pack("=16sIi", own, 64 if peer else 128,
                                                    socket.if_nametoindex(device)))
            return
        for what, where in ((SIOCSIFADDR, address), (SIOCSIFDSTADDR, peer)):
            if where:
                fcntl.ioctl(s, what, struct.pack("16sHH4s8x", device.encode(), socket.AF_INET, 0,
                                                 socket.inet_aton(where)))


def tun_to(to):
    """A tun device behind which the address is, and the address at its other end."""
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", b"t0", IFF_TUN | IFF_NO_PI))
    own = to[:-1] + ("2" if to[-1] == "1" else "1")
    holds("t0", own, to)
    return tun, own


def segment_to(own, to, port, sequence, heard, flags, data=b""):
    """A TCP packet from port 53 of `to`."""
    pair = socket.inet_pton(client.family(to), to) + socket.inet_pton(client.family(to), own)
    body = struct.pack("!HHIIBBHHH", 53, port, sequence & 0xffffffff, heard & 0xffffffff, 0x50,
                       flags, 60000, 0, 0) + data
    pseudo = pair + struct.pack("!II", len(body), socket.IPPROTO_TCP)
    body = body[:16] + struct.pack("!H", client.checksum(pseudo + body)) + body[18:]
    if ":" in to:
        return struct.pack("!IHBB", 6 << 28, len(body), 6, 64) + pair + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, 6, 0)
    return head[:10] + struct.pack("!H", client.checksum(head + pair)) + pair + body


def by_tun_stream(to, message, answer):
    """The tun's other end speaks TCP without MPTCP, as most resolvers do."""
    tun, own = tun_to(to)
    try:
        asker = socket.socket(client.family(to), socket.SOCK_STREAM, client.MPTCP)
    except PermissionError:
        return b"refused"
    once_there(lambda: asker.bind((own, 0)))
    asker.setblocking(False)
    asker.connect_ex((to, 53))
    asked = False
    while select.select([tun], [], [], 1)[0]:
        packet = os.read(tun, 4096)
        if packet[6 if ":" in to else 9] != socket.IPPROTO_TCP:
            continue
        t = packet[40 if ":" in to else 20:]
        port, _, sequence, _, size, flags = struct.unpack_from("!HHIIBB", t)
        data = t[(size >> 4) * 4:]
        if flags & 2:
            os.write(tun, segment_to(own, to, port, 1000, sequence + 1, 0x12))
        elif data:
            os.write(tun, segment_to(own, to, port, 1001, sequence + len(data), 0x18,
                                     struct.pack("!H", len(answer)) + answer))
            asker.setblocking(True)
            asker.settimeout(1)
            return asker.recv(512)[2:]
        elif not asked:
            asked = True
            asker.send(struct.pack("!H", len(message)) + message)
    return b""


def by_tun(asker, to, message, answer):
    """At an address beside the resolver's."""
    tun, own = tun_to(to)
    once_there(lambda: asker.bind((own, 0)))
    asker.sendto(message, (to, 53))
    while select.select([tun], [], [], 1)[0]:
        packet = os.read(tun, 2048)
        if message not in packet:       # listener reports, ...
            continue
        data = client.datagram(to, own, 53, asker.getsockname()[1], answer)
        v6 = ":" in to
        pair = socket.inet_pton(client.family(to), to) + socket.inet_pton(client.family(to), own)
        head = struct.pack("!IHBB", 6 << 28, len(data), 17, 64) if v6 else \
            struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 7, 0, 64, 17, 0)
        if not v6:
            head = head[:10] + struct.pack("!H", client.checksum(head + pair))
        os.write(tun, head + pair + data)
        return asker.recv(512)
    return b""
