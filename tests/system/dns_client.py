#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The workload of the tests of names: client.py and what asks a resolver."""
import errno
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
from resent import exactly, repaired, rewritten  # noqa: E402
from selfanswer import answers_itself  # noqa: E402

UDP_SEGMENT, UDP_GRO, SOL_UDP = 103, 104, 17
SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
TCPI_OPT_SYN_DATA = 32
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
