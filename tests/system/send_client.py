#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The workload of test_sends.py: client.py, and calls that could send elsewhere than they say."""
import os
import socket
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import client  # noqa: E402

UDP_CORK, UDP_SEGMENT = 1, 103
MSG_CONFIRM, MSG_ZEROCOPY, SO_ZEROCOPY = 0x800, 0x4000000, 60
TCP_FASTOPEN_CONNECT = 30
IP_PKTINFO, IPV6_RTHDR = 8, 57
SRH_TYPE = 4


def datagrams(r):
    return client.new(r, client.family(r["to"]), socket.SOCK_DGRAM)


def place(r, to=None):
    return (to or r["to"], r["port"])


def source_of(r):
    """A message's own source address: r["source"], by the device of index r["ifindex"]."""
    ifindex = socket.if_nametoindex(r["device"]) if "device" in r else 0
    if client.family(r["to"]) == socket.AF_INET6:
        return (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO,
                struct.pack("=16si", socket.inet_pton(socket.AF_INET6, r["source"]), ifindex))
    return (socket.IPPROTO_IP, IP_PKTINFO,
            struct.pack("=i4s4x", ifindex, socket.inet_aton(r["source"])))


def segment_of(_):
    return (socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 2))


def with_message(r, ancillary, flags=0):
    s = datagrams(r)
    client.call("sendmsg", s.sendmsg, [client.payload(r)], ancillary, flags, place(r))
    return client.answer(s, r)


def confirm(r):
    return with_message(r, [], MSG_CONFIRM)


def zerocopy(r):
    s = datagrams(r)
    client.call("setsockopt", s.setsockopt, socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    client.call("sendto", s.sendto, client.payload(r), MSG_ZEROCOPY, place(r))
    return client.answer(s, r)


def from_file(r):
    """sendfile() into a connected socket."""
    s = datagrams(r)
    client.call("connect", s.connect, place(r))
    with tempfile.TemporaryFile() as f:
        f.write(client.payload(r))
        f.flush()
        client.call("sendfile", os.sendfile, s.fileno(), f.fileno(), 0, len(client.payload(r)))
    return client.answer(s, r)


def through_pipe(r):
    s = datagrams(r)
    client.call("connect", s.connect, place(r))
    out, into = os.pipe()
    os.write(into, client.payload(r))
    client.call("splice", os.splice, out, s.fileno(), len(client.payload(r)))
    return client.answer(s, r)


def corked(r):
    """UDP_CORK: begun to r["first"], and to r["to"] before it is sent. r["connect"]: the socket is
    connected to each in turn."""
    s = datagrams(r)
    if r.get("connect"):
        client.call("first", s.connect, place(r, r["first"]))
    client.call("setsockopt", s.setsockopt, socket.IPPROTO_UDP, UDP_CORK, 1)
    if r.get("connect"):
        client.call("first", s.send, client.payload(r))
        client.call("connect", s.connect, place(r))
        client.call("send", s.send, client.payload(r))
    else:
        client.call("first", s.sendto, client.payload(r), place(r, r["first"]))
        client.call("sendto", s.sendto, client.payload(r), place(r))
    client.call("uncork", s.setsockopt, socket.IPPROTO_UDP, UDP_CORK, 0)


def bound_to_device(r):
    s = datagrams(r)
    client.call("setsockopt", s.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                r["device"].encode())
    client.call("sendto", s.sendto, client.payload(r), place(r))
    return client.answer(s, r)


def fast_open_connect(r):
    """connect() only notes the address, the first write sends SYN and data."""
    s = client.new(r, client.family(r["to"]), socket.SOCK_STREAM)
    client.call("setsockopt", s.setsockopt, socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    s.settimeout(None)
    client.call("connect", s.connect, place(r))
    client.call("send", s.send, client.payload(r))
    s.settimeout(r.get("timeout", 2.0))
    return client.answer(s, r)


def segment_routed(r):
    """IPV6_RTHDR with a segment routing header: connect() names r["to"], the wire r["first"]."""
    kind = socket.SOCK_STREAM if r["type"] == "tcp" else socket.SOCK_DGRAM
    s = client.new(r, socket.AF_INET6, kind)
    header = struct.pack("!BBBBBBH", 0, 4, SRH_TYPE, 1, 1, 0, 0) + bytes(16) + \
        socket.inet_pton(socket.AF_INET6, r["first"])
    client.call("setsockopt", s.setsockopt, socket.IPPROTO_IPV6, IPV6_RTHDR, header)
    client.call("connect", s.connect, place(r))
    client.call("send", s.send, client.payload(r))


def shared_port(r):
    """One of several sockets of a port (SO_REUSEPORT); connected, it gets what the peer says."""
    s = client.call("socket", socket.socket, client.family(r["to"]), socket.SOCK_DGRAM)
    s.settimeout(r.get("timeout", 2.0))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    client.call("bind", s.bind, (r["from"], r["source_port"]))
    if r.get("connect"):
        client.call("connect", s.connect, place(r))
    client.held[r["hold"]] = s


def say(r):
    """On a held socket, without waiting for an answer."""
    s = client.held[r["use"]]
    data = bytes.fromhex(r["data"]) if "data" in r else client.payload(r)
    client.call("sendto", s.sendto, data, place(r))


def hear(r):
    s = client.held[r["use"]]
    s.settimeout(r.get("timeout", 2.0))
    return client.call("recv", s.recv, 2048)


client.KINDS.update({
    "pktinfo": lambda r: with_message(r, [source_of(r)]),
    "gso": lambda r: with_message(r, [segment_of(r)]),
    **{f.__name__: f for f in (confirm, zerocopy, from_file, through_pipe, corked, bound_to_device,
                               fast_open_connect, segment_routed, shared_port, say, hear)}})

if __name__ == "__main__":
    client.main()
