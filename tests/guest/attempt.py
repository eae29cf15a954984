#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Runs attempts inside a target and prints what came of each, one JSON line.

An attempt is KIND:ADDRESS:PORT (the address may hold colons), family:NAME, protocol:NUMBER, or
elsewhere:NUMBER, the same in a network namespace of its own.
"""
import ctypes
import errno
import json
import os
import socket
import struct
import sys
import time

TIMEOUT_S = 3


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def answered(s):
    s.send(b"hello")
    return s.recv(16) == b"hello"


def tcp(address, port):
    with socket.socket(family_of(address), socket.SOCK_STREAM) as s:
        s.settimeout(TIMEOUT_S)
        s.connect((address, port))
        return answered(s)


def udp(address, port):
    """sendto, not connected"""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT_S)
        s.sendto(b"hello", (address, port))
        return s.recv(16) == b"hello"


def connected_udp(address, port):
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT_S)
        s.connect((address, port))
        return answered(s)


def raw_ping(address, _port):
    """ICMP echo from a raw socket; the port is not used."""
    identifier = os.getpid() & 0x7fff
    # the one's complement sum of so few small words never carries
    request = struct.pack("!BBHHH", 8, 0, ~(0x800 + identifier + 1) & 0xffff, identifier, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        s.settimeout(TIMEOUT_S)
        s.sendto(request, (address, 0))
        while s.recv(256)[20] != 0:  # our own request comes by too
            pass
        return True


def family(name):
    kind = socket.SOCK_RAW if name in ("AF_PACKET", "AF_NETLINK") else socket.SOCK_STREAM
    socket.socket(getattr(socket, name), kind).close()
    return True


def protocol(number):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(number)).close()
    return True


def elsewhere(number):
    user_and_net = 0x10000000 | 0x40000000
    child = os.fork()
    if not child:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(user_and_net):
                raise OSError(errno.ENOSYS, "no namespace")
            protocol(number)
        except OSError as e:
            os._exit(e.errno)
        os._exit(0)
    error = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if error:
        raise OSError(error, os.strerror(error))
    return True


ALONE = {"family": family, "protocol": protocol, "elsewhere": elsewhere}
KINDS = {"tcp": tcp, "udp": udp, "connected-udp": connected_udp, "raw-ping": raw_ping}


def attempt(text):
    kind, rest = text.split(":", 1)
    if kind in ALONE:
        return ALONE[kind](rest)
    address, port = rest.rsplit(":", 1)
    return KINDS[kind](address, int(port))


def main():
    for text in sys.argv[1:]:
        start, error = time.monotonic(), None
        try:
            done = attempt(text)
        except OSError as e:
            done, error = False, errno.errorcode.get(e.errno, "timeout")
        print(json.dumps({"attempt": text, "ok": done, "error": error, "pid": os.getpid(),
                          "ms": round((time.monotonic() - start) * 1000, 1)}), flush=True)


if __name__ == "__main__":
    main()
