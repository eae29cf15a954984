#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The workload: one network action for each JSON line on stdin, its outcome as
a JSON line on stdout: {"errno": name or null, "at": the call, "ms", "reply"}."""
import array
import ctypes
import errno
import json
import os
import socket
import struct
import subprocess
import sys
import time

MPTCP, UDPLITE, ICMPV6, HDRINCL6, IP_PKTINFO = 262, 136, 58, 36, 8
# to bind an address that is not the namespace's; the second wants CAP_NET_RAW
ANY_ADDRESS = {("freebind", 4): (0, 15), ("freebind", 6): (41, 78),
               ("transparent", 4): (0, 19), ("transparent", 6): (41, 75)}
held = {}       # sockets that outlive one action, by name


class Failed(Exception):
    def __init__(self, at, error):
        super().__init__(at)
        self.at, self.errno = at, error


def family(to):
    return socket.AF_INET6 if ":" in to else socket.AF_INET


def call(at, function, *arguments):
    try:
        return function(*arguments)
    except socket.timeout:
        raise Failed(at, "timeout") from None
    except OSError as e:
        raise Failed(at, errno.errorcode.get(e.errno, str(e.errno))) from None


def new(r, fam, kind, protocol=0):
    s = call("socket", socket.socket, fam, kind, protocol)
    s.settimeout(r.get("timeout", 2.0))
    own_any_address(s, r)
    if "bind" in r:
        call("bind", s.bind, tuple(r["bind"]))
    if "hold" in r:
        held[r["hold"]] = s
    return s


def own_any_address(s, r):
    for (name, version), option in ANY_ADDRESS.items():
        if r.get(name) and version == (6 if s.family == socket.AF_INET6 else 4):
            call("setsockopt", s.setsockopt, *option, 1)


def answer(s, r):
    if r.get("no_reply"):
        return None
    return call("recv", s.recv, 2048)


def payload(r):
    return r.get("payload", "hello").encode()


def stream(r, protocol=0, fam=None):
    s = new(r, fam or family(r["to"]), socket.SOCK_STREAM, protocol)
    call("connect", s.connect, (r["to"], r["port"]))
    call("send", s.sendall, payload(r))
    return answer(s, r)


def fast_open(r):
    s = new(r, family(r["to"]), socket.SOCK_STREAM)
    s.settimeout(None)          # without blocking it is EINPROGRESS
    limit = struct.pack("ll", int(r.get("timeout", 2.0)) + 1, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    call("sendto", s.sendto, payload(r), socket.MSG_FASTOPEN, (r["to"], r["port"]))
    return answer(s, r)


def udp(r, protocol=0, fam=None):
    s = new(r, fam or family(r["to"]), socket.SOCK_DGRAM, protocol)
    for _ in range(r.get("times", 1)):
        call("sendto", s.sendto, payload(r), (r["to"], r["port"]))
    return answer(s, r)


def udp_from(r):
    """A datagram whose source its ancillary data names; of a held socket, if one is to be used."""
    s = held[r["use"]] if "use" in r else new(r, family(r["to"]), socket.SOCK_DGRAM)
    own_any_address(s, r)
    source = socket.inet_pton(s.family, r["from"])
    said = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source + bytes(4)) if ":" in r["to"] else \
        (socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + source + bytes(4))
    call("sendmsg", s.sendmsg, [payload(r)], [said], 0, (r["to"], r["port"]))


def udp_connected(r, protocol=0):
    s = new(r, family(r["to"]), socket.SOCK_DGRAM, protocol)
    call("connect", s.connect, (r["to"], r["port"]))
    for _ in range(r.get("times", 1)):
        call("send", s.send, payload(r))
    return answer(s, r)


def udp_elsewhere(r):
    s = new(r, family(r["to"]), socket.SOCK_DGRAM)
    call("connect", s.connect, (r["first"], r["port"]))
    call("sendto", s.sendto, payload(r), (r["to"], r["port"]))
    if r.get("no_reply"):
        return None
    call("reconnect", s.connect, (r["to"], r["port"]))  # else the answer is not ours
    call("send", s.send, payload(r))
    return answer(s, r)


def udp_unspec(r):
    """sendto() whose address says AF_UNSPEC: the kernel takes it for AF_INET."""
    s = new(r, socket.AF_INET, socket.SOCK_DGRAM)
    address = struct.pack("=H", 0) + struct.pack("!H", r["port"]) + socket.inet_aton(r["to"]) + \
        bytes(8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sendto(s.fileno(), payload(r), len(payload(r)), 0, address, len(address)) < 0:
        raise Failed("sendto", errno.errorcode[ctypes.get_errno()])
    return answer(s, r)


def join_group(r):
    """IP_ADD_MEMBERSHIP: the kernel itself then reports the group on the wire."""
    s = new(r, family(r["to"]), socket.SOCK_DGRAM)
    group = socket.inet_pton(s.family, r["to"]) + bytes(4)      # on the device of the route there
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP) if ":" in r["to"] else \
        (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP)
    call("setsockopt", s.setsockopt, level, option, group)
    held["group"] = s


def udp4_on_udp6(r):
    """sendto() with a sockaddr_in on an AF_INET6 socket: only by the C library."""
    s = new(r, socket.AF_INET6, socket.SOCK_DGRAM)
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", r["port"]) + \
        socket.inet_aton(r["to"]) + bytes(8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sendto(s.fileno(), payload(r), len(payload(r)), 0, address, len(address)) < 0:
        raise Failed("sendto", errno.errorcode[ctypes.get_errno()])
    return answer(s, r)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def echo(v6, ident, kind=None, code=0):
    kind = kind if kind is not None else (128 if v6 else 8)
    body = struct.pack("!BBHHH", kind, code, 0, ident, 1) + b"sluice-echo-data"
    return body if v6 else body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def ping(r):
    v6 = ":" in r["to"]
    s = new(r, family(r["to"]), socket.SOCK_DGRAM, ICMPV6 if v6 else socket.IPPROTO_ICMP)
    if "ident" in r:
        call("bind", s.bind, ("::" if v6 else "0.0.0.0", r["ident"]))
    if r.get("connected"):
        call("connect", s.connect, (r["to"], 0))
        call("send", s.send, echo(v6, 0))
    else:
        call("sendto", s.sendto, echo(v6, 0), (r["to"], 0))
    return answer(s, r)


def raw_icmp(r):
    v6 = ":" in r["to"]
    s = new(r, family(r["to"]), socket.SOCK_RAW, ICMPV6 if v6 else socket.IPPROTO_ICMP)
    packet = echo(v6, r.get("ident", 7), r.get("type"), r.get("code", 0))
    call("sendto", s.sendto, packet, (r["to"], 0))
    if r.get("no_reply"):
        return None
    while True:
        data = call("recv", s.recv, 2048)
        if b"sluice-echo-data" in data:
            return data[-16:]


def datagram(source, to, sport, dport, data):
    """UDP; over IPv4 without a checksum, over IPv6 with one."""
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    if ":" not in to:
        return head + data
    pseudo = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to) + \
        struct.pack("!II", 8 + len(data), 17)
    return head[:6] + struct.pack("!H", checksum(pseudo + head + data)) + data


def ip_header(r, protocol, length):
    if ":" in r["to"]:
        return struct.pack("!IHBB", 6 << 28, length, r.get("next", protocol), 64) + \
            socket.inet_pton(socket.AF_INET6, r["from"]) + \
            socket.inet_pton(socket.AF_INET6, r["to"])
    return struct.pack("!BBHHHBBH4s4s", r.get("version_ihl", 0x45), 0, 0, 77, r.get("fragment", 0),
                       64, protocol, 0, socket.inet_aton(r["from"]), socket.inet_aton(r["to"]))


def hdrincl(r):
    """A whole packet of our own making. body (hex) replaces the UDP datagram,
    extension (hex) stands before it; hop is where it is sent to."""
    v6 = ":" in r["to"]
    s = new(r, family(r.get("hop", r["to"])), socket.SOCK_RAW, socket.IPPROTO_RAW)
    if v6 and family(r.get("hop", r["to"])) == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, HDRINCL6, 1)
    body = bytes.fromhex(r["body"]) if "body" in r else \
        datagram(r["from"], r["to"], r.get("sport", 4000), r["port"], payload(r))
    body = bytes.fromhex(r.get("extension", "")) + body
    packet = ip_header(r, r.get("protocol", 17), len(body)) + body
    call("sendto", s.sendto, packet, (r.get("hop", r["to"]), 0))


def raw_packet(r):
    """These very bytes, by a raw socket of the destination's family."""
    s = new(r, family(r["to"]), socket.SOCK_RAW, socket.IPPROTO_RAW)
    call("sendto", s.sendto, bytes.fromhex(r["packet"]), (r["to"], 0))


def source_route(r):
    """IP_OPTIONS with a loose source route: connect() names r["to"], the wire r["first"]."""
    kind = socket.SOCK_STREAM if r["type"] == "tcp" else socket.SOCK_DGRAM
    s = new(r, socket.AF_INET, kind)
    option = b"\x83\x07\x04" + socket.inet_aton(r["first"]) + b"\x00"
    call("setsockopt", s.setsockopt, socket.IPPROTO_IP, socket.IP_OPTIONS, option)
    call("connect", s.connect, (r["to"], r["port"]))
    call("send", s.send, payload(r))


def make_socket(r):
    new(r, r["family"], r["type"], r.get("protocol", 0)).close()


def packet_socket(r):
    s = new(r, socket.AF_PACKET, socket.SOCK_RAW)
    call("bind", s.bind, (r["device"], 0x0800))
    call("send", s.send, bytes.fromhex(r["frame"]))


def io_uring(r):
    done = subprocess.run([r["helper"], r.get("operation", "connect"), r.get("by", "plain"), r["to"],
                           str(r["port"])], check=True, stdout=subprocess.PIPE)
    result = json.loads(done.stdout)
    if result["errno"]:
        raise Failed(result["at"], errno.errorcode[result["errno"]])
    return result["reply"].encode()


def listen(r):
    s = call("socket", socket.socket, family(r["to"]),
             socket.SOCK_DGRAM if r.get("type") == "udp" else socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    call("bind", s.bind, (r["to"], r["port"]))
    if r.get("type") != "udp":
        s.listen()
    held[r["hold"]] = s


def accept(r):
    """One client of a held listener: answers what it says; or says that none came."""
    s = held[r["use"]]
    s.settimeout(r.get("timeout", 2.0))
    if s.type == socket.SOCK_DGRAM:
        data, peer = call("recvfrom", s.recvfrom, 2048)
        call("sendto", s.sendto, data, peer)
        return data
    c, _ = call("accept", s.accept)
    held[r.get("hold", "accepted")] = c
    c.settimeout(2.0)
    data = call("recv", c.recv, 2048)
    call("send", c.sendall, data)
    return data


def open_socket(r):
    new(dict(r, hold=r["hold"]), r["family"], r["type"], r.get("protocol", 0))


def use(r):
    """connect() and talk on a socket that open_socket made."""
    s = held[r["use"]]
    s.settimeout(r.get("timeout", 2.0))
    if "to" in r:
        call("connect", s.connect, (r["to"], r["port"]))
    call("send", s.send, payload(r))
    return answer(s, r)


def give(r):
    """Hands a held socket to whoever accepts at a unix socket."""
    with socket.socket(socket.AF_UNIX) as u:
        u.settimeout(5)
        call("connect", u.connect, r["path"])
        call("sendmsg", u.sendmsg, [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                             array.array("i", [held[r["use"]].fileno()]))])
        call("recv", u.recv, 1)


def take(r):
    """Receives a socket from whoever accepts at a unix socket."""
    with socket.socket(socket.AF_UNIX) as u:
        u.settimeout(5)
        call("connect", u.connect, r["path"])
        _, fds, _, _ = call("recv_fds", socket.recv_fds, u, 1, 1)
    held[r["hold"]] = socket.socket(fileno=fds[0])


def become(r):
    call("setresuid", os.setresuid, r["uid"], r["uid"], r.get("saved", r["uid"]))


def own_users(_r):
    """Into a new user namespace, whose map is written from outside."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):       # CLONE_NEWUSER
        raise Failed("unshare", errno.errorcode[ctypes.get_errno()])


def chown(r):
    call("fchown", os.fchown, held[r["use"]].fileno(), r["uid"], -1)


def write(r):
    def action():
        with open(r["path"], "w", encoding="utf-8") as f:
            f.write(r.get("text", str(os.getpid())))
    call("write", action)


def command(r):
    done = subprocess.run(r["argv"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=30)
    if done.returncode:
        raise Failed(done.returncode, done.stdout.decode(errors="replace"))
    return done.stdout


def forked(r):
    """One action in a child of its own, after `uid` if given."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        if "uid" in r:
            os.setresuid(r["uid"], r["uid"], r["uid"])
        os.write(writing, json.dumps(attempt(r["action"])).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as f:
        text = f.read()
    os.waitpid(pid, 0)
    return json.loads(text)


background_pid = []


def background(r):
    pid = os.fork()
    if not pid:
        os._exit(attempt(r["action"])["errno"] is not None)
    background_pid.append(pid)


def joined(_):
    return os.waitstatus_to_exitcode(os.waitpid(background_pid.pop(), 0)[1])


def clone_into(r):
    """One action in a child that clone3(CLONE_INTO_CGROUP) makes in another cgroup."""
    fd = call("open", os.open, r["path"], os.O_RDONLY | os.O_DIRECTORY)
    reading, writing = os.pipe()
    arguments = struct.pack("=11Q", 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, fd)
    libc = ctypes.CDLL(None, use_errno=True)
    pid = libc.syscall(435, arguments, len(arguments))
    if pid < 0:
        raise Failed("clone3", errno.errorcode[ctypes.get_errno()])
    if not pid:
        os.write(writing, json.dumps(attempt(r["action"])).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as f:
        text = f.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def descriptors(_):
    return {os.readlink(f"/proc/self/fd/{fd}").split(":")[0]: int(fd)
            for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}


def flood(r):
    """r["times"] datagrams over r["ports"] ports; how many of them failed, by errno."""
    s = socket.socket(family(r["to"]), socket.SOCK_DGRAM)
    failed = {}
    for i in range(r["times"]):
        try:
            s.sendto(b"x", (r["to"], r["port"] + i % r.get("ports", 1)))
        except OSError as e:
            name = errno.errorcode[e.errno]
            failed[name] = failed.get(name, 0) + 1
    return failed


def offer(r):
    """Datagrams of r["size"] bytes at r["rate"] bytes a second for r["seconds"]; how many."""
    s = socket.socket(family(r["to"]), socket.SOCK_DGRAM)
    data, begin, sent = bytes(r["size"]), time.monotonic(), 0
    while (now := time.monotonic() - begin) < r["seconds"]:
        while sent * r["size"] < now * r["rate"]:
            s.sendto(data, (r["to"], r["port"]))
            sent += 1
        time.sleep(0.001)
    return sent


def close(r):
    held.pop(r["use"]).close()


KINDS = {
    "tcp": stream,
    "tcp_on_6": lambda r: stream(r, fam=socket.AF_INET6),
    "mptcp": lambda r: stream(r, MPTCP),
    "tfo": fast_open,
    "udp": udp,
    "udp_on_6": lambda r: udp(r, fam=socket.AF_INET6),
    "udplite": lambda r: udp(r, UDPLITE),
    "status": lambda _: {k: v.strip() for k, v in
                         (line.split(":", 1) for line in open("/proc/self/status",
                                                              encoding="ascii"))},
    "cgroup": lambda _: open("/proc/self/cgroup", encoding="ascii").read(),
    **{f.__name__: f for f in (udp_from, udp_connected, udp_elsewhere, udp_unspec, join_group,
                               udp4_on_udp6, ping, raw_icmp, hdrincl, raw_packet, clone_into, background, joined,
                               source_route, make_socket, packet_socket, io_uring, listen, accept,
                               open_socket, use, give, take, become, own_users, chown, write, command,
                               forked, descriptors, flood, offer, close)},
}


def attempt(r):
    begin = time.monotonic()
    result = {"errno": None, "at": None, "reply": None, "pid": os.getpid()}
    try:
        reply = KINDS[r["kind"]](r)
        result["reply"] = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    except Failed as e:
        result["errno"], result["at"] = e.errno, e.at
    result["ms"] = (time.monotonic() - begin) * 1000
    return result


def main():
    if len(sys.argv) > 1:
        print(json.dumps(attempt(json.loads(sys.argv[1]))), flush=True)
        return
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(attempt(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
