# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A workload and a peer in network namespaces of their own, joined by a veth
pair; servers and a capture in the peer; and `sluice run` in the workload.

"Arrived" means: seen on the peer's end of the wire. Every wait is bounded."""
import collections
import ctypes
import itertools
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

from echoes import Echo

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = os.environ.get("SLUICE", str(ROOT / "build" / "sluice"))
PYTHON = "/usr/bin/python3"
CLIENT = pathlib.Path(__file__).with_name("client.py")
URING = pathlib.Path(__file__).with_name("uring.c")

ECHO = 7                        # TCP, UDP, UDP-Lite; MPTCP is one above
WORKLOAD4, WORKLOAD6 = "192.0.2.1", "2001:db8::1"
PEER4, PEER6 = "192.0.2.2", "2001:db8::2"
DENIED4, DENIED6 = "198.51.100.{}", "2001:db8:1::{:x}"
# Every address of these is the peer's.
PEER_ROUTES = ["198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8", "169.254.169.254/32",
               "2001:db8:1::/48", "2001::/32", "2002::/16", "64:ff9b::/96", "64:ff9b:1::/48",
               "::ffff:0:0:0/96",
               "fd00:ec2::254/128"]
WAIT = 15.0                     # nothing here takes this long unless it is broken

CLONE_NEWNET = 0x40000000
ETH_P_ALL, ETH_P_ARP = 3, 0x806
UDPLITE, MPTCP = 136, 262

Packet = collections.namedtuple("Packet", "family protocol source destination dport kind data")
Outcome = collections.namedtuple("Outcome", "code out err events")


def sh(*words, check=True, **kw):
    return subprocess.run(words, check=check, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, **kw).stdout


def until(what, seconds=WAIT, every=0.01):
    """Waits for what no descriptor announces; the value, or the last one."""
    end = time.monotonic() + seconds
    while not (value := what()) and time.monotonic() < end:
        time.sleep(every)
    return value


def parse(frame):
    """An IP packet as Packet, None if it is not IP. First header only; extension
    headers of IPv6 stay: protocol is then the first of them."""
    if len(frame) >= 20 and frame[0] >> 4 == 4:
        at, family, protocol = (frame[0] & 15) * 4, 4, frame[9]
        source, destination = frame[12:16], frame[16:20]
    elif len(frame) >= 40 and frame[0] >> 4 == 6:
        at, family, protocol = 40, 6, frame[6]
        source, destination = frame[8:24], frame[24:40]
    else:
        return None
    af = socket.AF_INET if family == 4 else socket.AF_INET6
    ported = protocol in (6, 17, 132, UDPLITE) and len(frame) >= at + 4
    dport = struct.unpack_from("!H", frame, at + 2)[0] if ported else None
    kind = frame[at] if protocol in (1, 58) and len(frame) > at else None
    return Packet(family, protocol, socket.inet_ntop(af, source), socket.inet_ntop(af, destination),
                  dport, kind, frame)


MARK = re.compile(rb"sluice-marker-(\d{8})$")
_marks = itertools.count()


def new_mark():
    """The end of a packet that says: what was sent before me has come."""
    return b"sluice-marker-%08d" % next(_marks)


def arp_mark(mark):
    """The same in an ARP request: a target hardware address, which nobody looks at."""
    return b"SL" + struct.pack("!I", mark_in(0, mark))


def mark_in(protocol, frame):
    """The number of the mark that an IP packet, or an ARP one, carries, or None."""
    if protocol == ETH_P_ARP:
        return struct.unpack_from("!I", frame, 20)[0] if frame[18:20] == b"SL" else None
    found = MARK.search(frame)
    return int(found[1]) if found else None


SO_RCVBUFFORCE = 33


class Wire:
    """What has come in over a wire (or gone out, with outgoing), snap bytes of each
    frame. mark(DATA) sends a packet that ends in DATA the same way."""

    def __init__(self, sock, mark, outgoing=False, snap=65535):
        self.sock, self.mark, self.outgoing, self.snap = sock, mark, outgoing, snap
        self.packets, self.frames, self.marked = [], [], -1
        self.changed = threading.Condition()
        # what a busy machine keeps this thread from reading shall wait, not be lost
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                frame, (_, protocol, kind, _, _) = self.sock.recvfrom(self.snap)
            except OSError:
                return
            if (kind == socket.PACKET_OUTGOING) != self.outgoing or not frame:
                continue
            packet, mark = parse(frame), mark_in(protocol, frame)
            with self.changed:
                self.frames.append((protocol, frame))
                if mark is not None:
                    self.marked = max(self.marked, mark)
                elif packet:
                    self.packets.append(packet)
                self.changed.notify_all()

    def await_mark(self, mark):
        want = mark_in(0, mark)
        with self.changed:
            assert self.changed.wait_for(lambda: self.marked >= want, WAIT), "the wire is dead"

    def settle(self):
        """Returns when everything that was sent before has been captured."""
        mark = new_mark()
        self.mark(mark)
        self.await_mark(mark)

    def seen(self, to, protocol=None, dport=None):
        self.settle()
        with self.changed:
            return [p for p in self.packets if p.destination == to
                    and protocol in (None, p.protocol) and dport in (None, p.dport)]

    def contains(self, data):
        self.settle()
        with self.changed:
            return [f for f in self.frames if data in f[1]]


class Agent:
    """A client.py that obeys, in the workload, under sluice or not."""

    def __init__(self, argv, folder, log=None, **kw):
        self.log = log
        self.err = open(folder / "stderr", "w+", encoding="utf-8")
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.err, text=True, bufsize=1, **kw)
        self.result = None

    def do(self, kind, wait=WAIT, **request):
        self.send(kind, **request)
        return self.receive(wait)

    def send(self, kind, **request):
        self.process.stdin.write(json.dumps({"kind": kind, **request}) + "\n")
        self.process.stdin.flush()

    def receive(self, wait=WAIT):
        if not select.select([self.process.stdout], [], [], wait)[0]:
            raise TimeoutError(self.stderr())
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(self.stderr())
        return json.loads(line)

    def stderr(self):
        self.err.flush()
        return pathlib.Path(self.err.name).read_text(encoding="utf-8", errors="replace")

    def events(self):
        if not self.log or not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def cgroup(self):
        """Where the client is, as a path below the cgroup2 mount."""
        path = self.do("cgroup")["reply"].splitlines()
        return cgroup2() + next(line[3:] for line in path if line.startswith("0::"))

    def close(self):
        if self.result:
            return self.result
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            code = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
        self.result = Outcome(code, "", self.stderr(), self.events())
        self.err.close()
        return self.result


def cgroup2():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            if " - cgroup2 " in line:
                return line.split()[4]
    raise FileNotFoundError("no cgroup2 mount")


class Lab:
    def __init__(self, name, folder):
        self.folder = folder
        folder.chmod(0o755)
        self.client = folder / "client.py"      # where any user can read it
        shutil.copy(CLIENT, self.client)
        self.client.chmod(0o755)
        self.runs, self.agents, self.closing = 0, [], []
        self.workload, self.peer = f"sl-{name}-w-{os.getpid()}", f"sl-{name}-p-{os.getpid()}"
        self.next_address = 1
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self):
        for ns in (self.workload, self.peer):
            sh("ip", "netns", "add", ns)
            self.sysctl(ns, "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
                        "net.ipv4.tcp_fastopen=3", "net.ipv6.conf.all.disable_ipv6=0",
                        "net.ipv4.conf.all.accept_source_route=1",
                        "net.ipv4.conf.default.accept_source_route=1")
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        self.sysctl(self.workload, "net.ipv4.ping_group_range=0 2147483647")
        sh("ip", "-n", self.workload, "link", "add", "w0", "type", "veth", "peer", "name", "p0",
           "netns", self.peer)
        self.address(self.workload, "w0", WORKLOAD4 + "/24", WORKLOAD6 + "/64")
        self.address(self.peer, "p0", PEER4 + "/24", PEER6 + "/64")
        sh("ip", "-n", self.workload, "route", "add", "default", "via", PEER4)
        sh("ip", "-n", self.workload, "route", "add", "default", "via", PEER6)
        for route in PEER_ROUTES:
            sh("ip", "-n", self.peer, "route", "add", "local", route, "dev", "lo")
        self.serve()

    @staticmethod
    def sysctl(ns, *values):
        for value in values:
            sh("nsenter", f"--net=/run/netns/{ns}", "sysctl", "-qw", value)

    @staticmethod
    def address(ns, device, v4, v6):
        sh("ip", "-n", ns, "link", "set", device, "up")
        sh("ip", "-n", ns, "addr", "add", v4, "dev", device)
        sh("ip", "-n", ns, "addr", "add", v6, "dev", device, "nodad")

    def serve(self):
        capture = self.socket(self.peer, socket.AF_PACKET, socket.SOCK_DGRAM,
                              socket.htons(ETH_P_ALL))
        capture.bind(("p0", ETH_P_ALL))
        marker = self.socket(self.workload, socket.AF_INET, socket.SOCK_DGRAM)
        self.wire = Wire(capture, lambda mark: marker.sendto(mark, (PEER4, 9)))
        self.closing += [marker, capture]
        self.servers()

    def servers(self):
        """Echo servers at every address of the peer."""
        self.echo = Echo()
        self.closing.append(self.echo)
        for protocol, port in ((0, ECHO), (MPTCP, ECHO + 1)):
            try:
                self.listen(self.peer, "::", port, protocol)
            except OSError:
                if not protocol:
                    raise
        for protocol in (0, UDPLITE):
            self.echo.add_udp(lambda *a: self.socket(self.peer, *a), ECHO, protocol)

    def listen(self, ns, address, port, protocol=0):
        """A TCP echo server."""
        self.echo.add_tcp(lambda *a: self.socket(ns, *a), port, address, protocol)

    @staticmethod
    def socket(ns, *arguments):
        """A socket of another network namespace: it stays there for life."""
        made = []

        def make():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{ns}", "rb") as f:
                if libc.setns(f.fileno(), CLONE_NEWNET):
                    made.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                made.append(socket.socket(*arguments))
            except OSError as e:
                made.append(e)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def fresh(self, v6=False):
        """An address of the peer that no one has used before."""
        self.next_address += 1
        assert self.next_address < 255
        return (DENIED6 if v6 else DENIED4).format(self.next_address)

    def inside(self, ns=None):
        return ["nsenter", f"--net=/run/netns/{ns or self.workload}"]

    def new_folder(self):
        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir()
        return folder

    def prepare(self, policy, options):
        folder = self.new_folder()
        log = folder / "log.jsonl"
        words = [SLUICE, "run", "--log", str(log)]
        if policy is not None:
            path = folder / "policy.yaml"
            path.write_text(policy, encoding="utf-8")
            words += ["-p", str(path)]
        return folder, log, words + list(options) + ["--"]

    def agent(self, ns=None, before=(), **kw):
        """Outside of sluice."""
        agent = Agent(self.inside(ns) + list(before) + [PYTHON, str(self.client)],
                      self.new_folder(), **kw)
        self.agents.append(agent)
        return agent

    def sluice(self, policy, *options, before=(), **kw):
        """An agent under `sluice run`."""
        folder, log, words = self.prepare(policy, options)
        kw.setdefault("env", environment())
        agent = Agent(self.inside() + list(before) + words + [PYTHON, str(self.client)], folder,
                      log, **kw)
        self.agents.append(agent)
        return agent

    def run(self, policy, *command, options=(), env=None, timeout=60, **kw):
        """A command under `sluice run`, to its end."""
        _, log, words = self.prepare(policy, options)
        kw.setdefault("stdin", subprocess.DEVNULL if "input" not in kw else None)
        if "input" in kw:
            del kw["stdin"]
        done = subprocess.run(self.inside() + words + list(command), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout,
                              env=environment(env), **kw)
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return Outcome(done.returncode, done.stdout, done.stderr, events)

    def close(self):
        for agent in self.agents:
            try:
                agent.close()
            except (OSError, subprocess.TimeoutExpired):
                pass
        for thing in self.closing:
            thing.close()
        for ns in (self.workload, self.peer):
            for pid in sh("ip", "netns", "pids", ns, check=False).split():
                if pid.isdigit():
                    os.kill(int(pid), signal.SIGKILL)
            sh("ip", "netns", "del", ns, check=False)


def environment(extra=None):
    """Ours, without what makes sluice change user."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SUDO_")}
    env["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    env.update(extra or {})
    return env


def matching(events, **want):
    """Events whose fields are as wanted; destination and rule by their text."""
    def field(event, name):
        value = event[name]
        return value["address"] if name in ("destination", "source") else value
    return [e for e in events if all(field(e, k) == v for k, v in want.items())]


def total(events):
    return sum(e["count"] for e in events)
