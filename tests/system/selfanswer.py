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
    tun device, whose other end it is; "tun here", the same in the namespace that it is in. The
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
    if r["where"] in ("elsewhere", "tun") and \
            ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET):
        return b""
    if r["where"] == "elsewhere":
        holds("lo", to)
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


def by_tun(asker, to, message, answer):
    """At an address beside the resolver's."""
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", b"t0", IFF_TUN | IFF_NO_PI))
    own = to[:-1] + ("2" if to[-1] == "1" else "1")
    holds("t0", own, to)
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
