# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a program sends out of pages of its own, which it changes meanwhile, and what a socket in repair sends
again. Part of dns_client.py."""
import ctypes
import errno
import mmap
import os
import socket
import struct
import time

import client

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_WINDOW = 19, 20, 21, 29
TCP_RECV_QUEUE, TCP_SEND_QUEUE = 1, 2
SOL_PACKET, PACKET_RX_RING = 263, 5


def exactly(s, count):
    """So many bytes of a connection, fewer if it ends."""
    got = b""
    while len(got) < count and (more := client.call("recv", s.recv, count - len(got))):
        got += more
    return got


def memory(area, at=0):
    """A page of a mapping: how to write to it, how to put its first bytes into a pipe."""
    place = ctypes.addressof(ctypes.c_char.from_buffer(area)) + at

    def put(data):
        area[at:at + len(data)] = data

    def fill(into, count):
        vector = (ctypes.c_size_t * 2)(place, count)
        if ctypes.CDLL(None, use_errno=True).vmsplice(into, vector, 1, 0) != count:
            raise client.Failed("vmsplice", errno.errorcode[ctypes.get_errno()])
    return put, fill


def file_page():
    """In no address space at all."""
    file = os.memfd_create("page")
    return (lambda data: os.pwrite(file, data, 0),
            lambda into, count: client.call("splice", os.splice, file, into, count, 0))


def huge_page():
    """A page within a larger one."""
    area = mmap.mmap(-1, 4 << 20)
    area.madvise(mmap.MADV_HUGEPAGE)
    begin = -ctypes.addressof(ctypes.c_char.from_buffer(area)) % (2 << 20)
    area[begin] = 1
    return memory(area, begin + mmap.PAGESIZE)


def ring_page():
    """The kernel's own, which it shows: the ring of a packet socket."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("4I", mmap.PAGESIZE, 1, 2048, 2))
    client.held["ring"] = s
    return memory(mmap.mmap(s.fileno(), mmap.PAGESIZE))


PAGES = {"anonymous": lambda: memory(mmap.mmap(-1, mmap.PAGESIZE)), "file": file_page,
         "huge": huge_page, "ring": ring_page}


def rewritten(r):
    """r["data"] out of a page of one's own (r["page"]; vmsplice, splice), of which r["then"] is made as soon
    as it is sent: a datagram, or the beginning of a connection to an echo, which is returned.
    r["before"]: what stands in a segment of the kernel's own before that page's. Both are given to TCP
    as sent already (TCP_REPAIR), so it sends them again, in one segment; until r["flips"]
    seconds later the page says now this, now that. r["plain"]: sent as usual, no page."""
    data, then = bytes.fromhex(r["data"]), bytes.fromhex(r["then"])
    kind = socket.SOCK_STREAM if r.get("stream") else socket.SOCK_DGRAM
    s = client.new(r, client.family(r["to"]), kind)
    client.call("connect", s.connect, (r["to"], r.get("port", 53)))
    before = bytes.fromhex(r.get("before", ""))
    if before:
        client.call("repair", s.setsockopt, socket.IPPROTO_TCP, TCP_REPAIR, 1)
        client.call("repair", s.setsockopt, socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)
        client.call("send", s.send, before)
    (put, fill), (out, into) = PAGES[r.get("page", "anonymous")](), os.pipe()
    put(data)
    try:
        fill(into, len(data))
        if r.get("plain"):
            client.call("send", s.send, data)
        else:
            client.call("splice", os.splice, out, s.fileno(), len(data))
        if before:
            client.call("repair", s.setsockopt, socket.IPPROTO_TCP, TCP_REPAIR, 0)
        put(then)
        end = time.monotonic() + r.get("flips", 0)
        while time.monotonic() < end:
            for _ in range(500):
                put(data)
                put(then)
        return exactly(s, len(before) + len(data)).hex() if r.get("echo") else None
    finally:
        os.close(out)
        os.close(into)
        s.close()


def sequence(s, queue, number=None):
    """The next byte of a queue of a socket in repair, or what it is to be."""
    s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
    if number is None:
        return s.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) & 0xffffffff
    s.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", number & 0xffffffff))
    return number


def repaired(r):
    """A connection on which r["data"] is sent, if any, and r["first"] bytes of an answer are read; then
    another socket takes it over in silence (TCP_REPAIR), and sends r["then"] (all hex) r["back"]
    bytes before the end of what was sent. r["same"]: it is the same socket, which lets go and
    connects again. What comes then."""
    fam = client.family(r["to"])
    s = client.new(r, fam, socket.SOCK_STREAM)
    client.call("connect", s.connect, (r["to"], r["port"]))
    client.call("send", s.sendall, bytes.fromhex(r["data"]))
    exactly(s, r["first"])
    here, there = s.getsockname(), s.getpeername()
    client.call("repair", s.setsockopt, socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sent, got = sequence(s, TCP_SEND_QUEUE), sequence(s, TCP_RECV_QUEUE)
    if r.get("same"):
        unspec = struct.pack("=H14x", socket.AF_UNSPEC)
        client.call("disconnect", ctypes.CDLL(None).connect, s.fileno(), unspec, len(unspec))
    else:
        s.close()               # in repair: without a word
        s = client.new(r, fam, socket.SOCK_STREAM)
    client.call("repair", s.setsockopt, socket.IPPROTO_TCP, TCP_REPAIR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.call("bind", s.bind, here)
    sequence(s, TCP_SEND_QUEUE, sent - r["back"])
    sequence(s, TCP_RECV_QUEUE, got)
    client.call("connect", s.connect, there)
    window = struct.pack("5I", got, 65535, 65535, 65535, got)
    client.call("repair", s.setsockopt, socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, window)
    client.call("repair", s.setsockopt, socket.IPPROTO_TCP, TCP_REPAIR, -1)    # no probe
    client.call("send", s.sendall, bytes.fromhex(r["then"]))
    return client.call("recv", s.recv, 4096).hex()
