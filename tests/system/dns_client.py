#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The workload of the tests of names: client.py and what asks a resolver."""
import ctypes
import errno
import fcntl
import mmap
import os
import select
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import client  # noqa: E402
from liar import liar  # noqa: E402

UDP_SEGMENT, UDP_GRO, SOL_UDP = 103, 104, 17
SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_WINDOW = 19, 20, 21, 29
TCP_RECV_QUEUE, TCP_SEND_QUEUE = 1, 2
SOL_PACKET, PACKET_RX_RING = 263, 5
TCPI_OPT_SYN_DATA = 32
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFDSTADDR = 0x8914, 0x8916, 0x8918
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000
GAI = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}


def getaddrinfo(name, port, family=0):
    try:
        found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
    except socket.gaierror as e:
        raise client.Failed("getaddrinfo", GAI.get(e.errno, str(e.errno))) from None
    except UnicodeError:
        raise client.Failed("getaddrinfo", "UNICODE") from None
    return [where[:2] for _, _, _, _, where in found]


def talk(where, timeout=2.0):
    with socket.socket(client.family(where[0]), socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        client.call("connect", s.connect, tuple(where))
        client.call("send", s.sendall, b"hello")
        return client.call("recv", s.recv, 16)


def resolve(r):
    return getaddrinfo(r["name"], r.get("port", 7))


def lookups(r):
    """For r["seconds"], or r["times"]: a name, then at once a connection to each of its
    addresses (the first r["first"])."""
    failures, done, connected = [], 0, 0
    end = time.monotonic() + r.get("seconds", 60)
    while time.monotonic() < end and done < r.get("times", 1 << 30):
        name = r["names"][done % len(r["names"])]
        if r.get("mixed"):
            name = "".join(c.upper() if (done >> (i % 8)) & 1 else c for i, c in enumerate(name))
        done += 1
        try:
            for where in getaddrinfo(name, r.get("port", 7))[:r.get("first", 2)]:
                connected += 1
                talk(where)
        except client.Failed as e:
            failures.append([name, e.at, e.errno])
    return {"done": done, "connected": connected, "failures": failures[:5],
            "failed": len(failures)}


def parallel(r):
    """lookups in several threads."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(lookups(r)))
               for _ in range(r["threads"])]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return {k: sum(x[k] for x in results) for k in ("done", "connected", "failed")} | {
        "failures": [f for x in results for f in x["failures"]][:5]}


def connect_times(r):
    """Microseconds of r["times"] connects to each of the addresses, in turn."""
    taken = {to: [] for to in r["to"]}
    for _ in range(r["times"]):
        for to in r["to"]:
            with socket.socket(client.family(to), socket.SOCK_STREAM) as s:
                # an end without TIME_WAIT
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                begin = time.perf_counter()
                client.call("connect", s.connect, (to, r.get("port", 7)))
                taken[to].append(1e6 * (time.perf_counter() - begin))
                s.sendall(b"x")
                s.recv(1)       # its backlog has room again
    return taken


def ask(r):
    """Datagrams (hex) to a resolver from one socket; the answers that come in time. r["gro"]: the
    socket takes several at once."""
    s = client.new(r, client.family(r["to"]), socket.SOCK_DGRAM)
    if r.get("gro"):
        client.call("setsockopt", s.setsockopt, SOL_UDP, UDP_GRO, 1)
    if r.get("connected"):
        client.call("connect", s.connect, (r["to"], r.get("port", 53)))
    for message in r["messages"]:
        client.call("sendto", s.sendto, bytes.fromhex(message), (r["to"], r.get("port", 53)))
    return answers(s, r.get("answers", len(r["messages"])), r.get("timeout", 2.0))


def answers(s, count, seconds):
    got, end = [], time.monotonic() + seconds
    while len(got) < count and (left := end - time.monotonic()) > 0:
        if select.select([s], [], [], left)[0]:
            got.append(client.call("recv", s.recv, 65535).hex())
    return got


def askers(r):
    """r["count"] questions, one after another, each from a port of its own: how many were
    answered."""
    good, message = 0, bytes.fromhex(r["message"])
    for i in range(r["count"]):
        with socket.socket(client.family(r["to"]), socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            s.bind(("", r["first"] + i))
            try:
                s.sendto(message, (r["to"], 53))
                good += s.recv(512)[:2] == message[:2]
            except OSError:
                break
    return good


def send_held(r):
    """One datagram more from a held socket, which is connected for it or not."""
    s, data = client.held[r["use"]], bytes.fromhex(r["data"])
    if r.get("connected"):
        client.call("connect", s.connect, tuple(r["to"]))
        client.call("send", s.send, data)
    else:
        client.call("sendto", s.sendto, data, tuple(r["to"]))


def hear(r):
    """What else comes on a held socket."""
    return answers(client.held[r["use"]], r.get("answers", 1), r.get("timeout", 2.0))


def ask_stream(r):
    """r["segments"] (hex), each a segment of its own, on one TCP connection to a resolver."""
    s = client.new(r, client.family(r["to"]), socket.SOCK_STREAM)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.call("connect", s.connect, (r["to"], r.get("port", 53)))
    for segment in r["segments"]:
        client.call("send", s.sendall, bytes.fromhex(segment))
        time.sleep(r.get("gap", 0))
    got = b""
    while True:
        try:
            more = s.recv(65535)
        except OSError as e:
            if not got:
                raise client.Failed("recv", "timeout" if isinstance(e, socket.timeout) else
                                    errno.errorcode[e.errno]) from None
            break
        got += more
        if not more or complete(got) >= r.get("answers", 1):
            break
    s.close()
    return got.hex()


def pieces_echoed(r):
    """r["segments"] (hex), each a send of its own, on one TCP connection to an echo, which
    says r["first"] bytes before that: what comes back, all of it."""
    s = client.new(r, client.family(r["to"]), socket.SOCK_STREAM)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.call("connect", s.connect, (r["to"], r.get("port", 7)))
    want, got = r.get("first", 0), exactly(s, r.get("first", 0))
    for segment in r["segments"]:
        want += len(bytes.fromhex(segment))
        client.call("send", s.sendall, bytes.fromhex(segment))
        time.sleep(r.get("gap", 0))
    return (got + exactly(s, want - len(got))).hex()


def exactly(s, count):
    """So many bytes of a connection, fewer if it ends."""
    got = b""
    while len(got) < count and (more := client.call("recv", s.recv, count - len(got))):
        got += more
    return got


def complete(data):
    count = 0
    while len(data) >= 2 and len(data) >= 2 + (n := struct.unpack_from("!H", data)[0]):
        data, count = data[2 + n:], count + 1
    return count


def super_frame(r):
    """Datagrams of one size as one UDP_SEGMENT send."""
    s = client.new(r, client.family(r["to"]), socket.SOCK_DGRAM)
    messages = [bytes.fromhex(m) for m in r["messages"]]
    client.call("setsockopt", s.setsockopt, SOL_UDP, UDP_SEGMENT, len(messages[0]))
    client.call("sendto", s.sendto, b"".join(messages), (r["to"], 53))
    return answers(s, len(messages), r.get("timeout", 1.0))


def pieces(r):
    """One datagram, put together by MSG_MORE, or its second half by sendfile(), or all of it
    left in the program's own pages (MSG_ZEROCOPY)."""
    s = client.new(r, client.family(r["to"]), socket.SOCK_DGRAM)
    message = bytes.fromhex(r["message"])
    client.call("connect", s.connect, (r["to"], 53))
    cut = r.get("cut", 12)
    if r["how"] == "more":
        client.call("send", s.send, message[:cut], socket.MSG_MORE)
        client.call("send", s.send, message[cut:])
    elif r["how"] == "zerocopy":
        s.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        client.call("send", s.send, message, MSG_ZEROCOPY)
    else:
        with tempfile.TemporaryFile() as f:
            f.write(message[cut:])
            f.flush()
            client.call("send", s.send, message[:cut], socket.MSG_MORE)
            client.call("sendfile", os.sendfile, s.fileno(), f.fileno(), 0, len(message) - cut)
    return answers(s, 1, r.get("timeout", 1.0))


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


def fast_opened(r):
    """r["data"] (hex) on the SYN (RFC 7413): what comes, and whether the server took it so."""
    with client.new(r, client.family(r["to"]), socket.SOCK_STREAM) as s:
        s.settimeout(None)      # without blocking it is EINPROGRESS
        limit = struct.pack("ll", int(r["timeout"]), int(r["timeout"] % 1 * 1e6))
        for which in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            s.setsockopt(socket.SOL_SOCKET, which, limit)
        client.call("sendto", s.sendto, bytes.fromhex(r["data"]), socket.MSG_FASTOPEN,
                    (r["to"], r["port"]))
        got = client.call("recv", s.recv, 4096).hex()
        options = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
        return {"got": got, "taken": bool(options & TCPI_OPT_SYN_DATA)}


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


def shout(r):
    """One datagram with r["data"], to whatever address."""
    with socket.socket(client.family(r["to"]), socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.call("sendto", s.sendto, r["data"].encode(), (r["to"], r["port"]))


def made(r):
    """A socket that is held, for later."""
    client.new(r, client.family(r["to"]), getattr(socket, r["type"]))


def talk_held(r):
    """An echo by a held socket that is not connected yet."""
    s = client.held[r["use"]]
    client.call("connect", s.connect, (r["to"], r.get("port", 7)))
    client.call("send", s.send, b"again")
    return client.call("recv", s.recv, 16)


def talk_again(r):
    """A connection that is held: opened if it is not there, then one echo."""
    if r["use"] not in client.held:
        s = client.new({"hold": r["use"], "timeout": r.get("timeout", 1.0)},
                       client.family(r["to"]), socket.SOCK_STREAM)
        client.call("connect", s.connect, (r["to"], r.get("port", 7)))
    s = client.held[r["use"]]
    client.call("send", s.send, b"again")
    return client.call("recv", s.recv, 16)


client.KINDS.update({f.__name__: f for f in (
    resolve, lookups, parallel, connect_times, ask, send_held, askers, hear, ask_stream,
    pieces_echoed, super_frame, pieces, rewritten, repaired, fast_opened, answers_itself, shout, made,
    talk_held, talk_again, liar)})

if __name__ == "__main__":
    client.main()
