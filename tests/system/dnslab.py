# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Resolvers for a workload: dnsmasq, which answers as resolvers do, and one that says
what a test tells it to. The workload is a command of `sluice run`, or stands behind a
device with `sluice attach`, or is not watched at all: the same client in all three.

"Arrived" is what a resolver received; the wire of a device is seen before its gate."""
import contextlib
import datetime
import json
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import threading

import dnsmsg
import lab as base
from echoes import IPV6_FREEBIND
from lab import PEER4, PEER6, PYTHON, SLUICE, sh, until

DNS_CLIENT = [pathlib.Path(__file__).with_name(f"{name}.py")
              for name in ("dns_client", "liar", "resent", "selfanswer")]
REAL = {4: PEER4, 6: PEER6}                             # dnsmasq
SAYS = {4: "198.51.100.53", 6: "2001:db8:1::53"}        # says what it is told
FOREIGN = {4: "198.51.100.54", 6: "2001:db8:1::54"}     # no resolver of the policy
WEB = {4: "198.51.100.80", 6: "2001:db8:1::80"}
RESOLVERS = ", ".join(f'"{a}"' for a in [*REAL.values(), *SAYS.values()])
# addresses that a resolver answers with: those that a rule has to ask for, and those that it gets never
PRIVATE = ["10.1.2.3", "100.64.1.1", "169.254.7.7", "172.16.9.9", "192.168.1.1", "192.0.0.9",
           "198.18.3.3", "fd12::7", "fec0::7", "fe80::9", "100::1"]
NEVER = ["0.1.2.3", "127.0.0.1", "224.0.0.5", "169.254.169.254", "169.254.170.2", "169.254.170.23",
         "168.63.129.16", "100.100.100.200", "255.255.255.255", "::1", "::", "::192.0.2.7",
         "::ffff:198.51.100.9", "::ffff:0:c633:6409", "64:ff9b::c633:6409", "64:ff9b:1::1", "2001::1", "2002:c633:6409::1",
         "ff02::5", "fd00:ec2::254"]
MANY = [f"198.51.100.{i}" for i in range(100, 130)]
BIG = [f"203.0.113.{i}" for i in range(100, 170)]


def policy(*rules, dns="", **top):
    """A policy with the lab's resolvers; rules are YAML flow mappings without braces."""
    text = "sluice: 1\nname: names\n" + f"dns: {{resolvers: [{RESOLVERS}]{', ' + dns if dns else ''}}}\n"
    text += "".join(f"{k}: {v}\n" for k, v in top.items())
    return text + "rules:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules)


GOOD = 'allow: "*.good.example:7", id: good'


class Says:
    """A resolver, UDP and TCP, at SAYS and FOREIGN. self.handler(query) returns what to send:
    each either bytes, or (address, port, bytes) to send from elsewhere."""

    def __init__(self, lab):
        self.lab, self.handler, self.asked = lab, self.plain, []
        self.places, self.streams, self.changed = {}, [], threading.Condition()
        self.ending = os.pipe()
        for family in (4, 6):
            for address in (SAYS[family], FOREIGN[family]):
                for port in (53, 853, 5353):
                    self.place(address, port)
                self.streams.append(self.stream(address))
        self.peers = {}         # the last who asked, by family
        self.by_stream = False  # the message that the handler has came by TCP
        self.piece = None       # bytes of an answer by TCP that are sent at once
        self.busy = threading.Lock()    # who holds it keeps what arrives unread
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def place(self, address, port):
        if (address, port) not in self.places:
            s = self.bound(address, port, socket.SOCK_DGRAM)
            self.places[address, port] = s
        return self.places[address, port]

    def bound(self, address, port, kind, protocol=0):
        v6 = ":" in address
        s = self.lab.socket(self.lab.peer, socket.AF_INET6 if v6 else socket.AF_INET, kind, protocol)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        s.bind((address, port))
        return s

    def stream(self, address):
        """By MPTCP too, as what is written in Go listens, if the kernel has it."""
        try:
            s = self.bound(address, 53, socket.SOCK_STREAM, base.MPTCP)
        except OSError:
            s = self.bound(address, 53, socket.SOCK_STREAM)
        s.listen(16)
        return s

    @staticmethod
    def plain(query):
        """Every name has the address WEB."""
        _, kind, _ = dnsmsg.question_of(query)
        if kind in (dnsmsg.A, dnsmsg.AAAA):
            to = WEB[4 if kind == dnsmsg.A else 6]
            return [dnsmsg.answer(query, [dnsmsg.record(None, kind, to)])]
        return [dnsmsg.answer(query)]

    def serve(self):
        connections = {}
        while True:
            watched = [*self.places.values(), *self.streams, *connections, self.ending[0]]
            for s in select.select(watched, [], [])[0]:
                if s == self.ending[0]:
                    for c in connections:
                        c.close()
                    return
                try:
                    with self.busy:
                        self.ready(s, connections)
                except OSError:
                    if connections.pop(s, None) is not None:
                        s.close()

    def ready(self, s, connections):
        if s in self.streams:
            c, _ = s.accept()
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections[c] = b""
        elif s in connections:
            data = s.recv(65535)
            if not data:
                connections.pop(s)
                s.close()
                return
            data = connections[s] + data
            while len(data) >= 2 and len(data) >= 2 + (n := struct.unpack_from("!H", data)[0]):
                self.take(data[2:2 + n],
                          lambda m: self.send_stream(s, struct.pack("!H", len(m)) + m))
                data = data[2 + n:]
            connections[s] = data
        else:
            data, peer = s.recvfrom(65535)
            self.peers[6 if ":" in peer[0] else 4] = peer
            self.take(data, lambda m: s.sendto(m, peer), peer)

    def send_stream(self, s, data):
        step = self.piece or len(data)
        for at in range(0, len(data), step):
            s.sendall(data[at:at + step])

    def take(self, query, reply, peer=None):
        self.by_stream = peer is None
        with self.changed:
            self.asked.append(query)
            self.changed.notify_all()
        try:
            said = self.handler(query)
        except (IndexError, struct.error):
            said = []
        for message in said:
            if isinstance(message, bytes):
                reply(message)
            else:
                self.place(message[0], message[1]).sendto(message[2], peer)

    def send(self, family, message, place=None):
        """Unasked, to the last who asked."""
        place = place or (SAYS[family], 53)
        self.place(*place).sendto(message, self.peers[family])

    def heard(self, part):
        """Did a message with these bytes (a name: lower-cased) arrive?"""
        part = dnsmsg.name(part)[:-1] if isinstance(part, str) else part
        with self.changed:
            return [q for q in self.asked if part in q.lower()]

    def close(self):
        os.write(self.ending[1], b"x")
        self.thread.join(5)
        for s in [*self.places.values(), *self.streams]:
            s.close()
        for fd in self.ending:
            os.close(fd)


class Device:
    """`sluice attach` at the host's end of the workload's veth."""

    def __init__(self, lab):
        self.lab = lab
        self.mount = lab.folder / "bpf"
        self.mount.mkdir()
        sh("mount", "-t", "bpf", "none", str(self.mount))
        self.env = base.environment({"SLUICE_STATE": str(self.mount / "sluice")})
        self.monitor, self.log, self.since = None, None, ""

    def sluice(self, *words, check=True):
        done = subprocess.run(self.lab.inside(self.lab.peer) + [SLUICE, *words], env=self.env,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done

    def attach(self, text, *options):
        """What an earlier target's events are is nobody's business here: nobody may have read them."""
        path = self.lab.new_folder() / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        self.since = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return self.sluice("attach", "--dev", "p0", "-p", str(path), *options)

    def watch(self):
        self.log = self.lab.new_folder() / "events"
        with open(self.log, "w", encoding="utf-8") as out:
            self.monitor = subprocess.Popen(
                self.lab.inside(self.lab.peer) + [SLUICE, "monitor", "-o", "json"], env=self.env,
                stdout=out, stderr=subprocess.STDOUT)

    def events(self):
        lines = self.log.read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [e for e in events if e["time"] >= self.since]

    def detach(self):
        if self.monitor:
            self.monitor.terminate()
            self.monitor.wait(10)
            self.monitor = None
        self.sluice("detach", "--all", check=False)

    def close(self):
        self.detach()
        sh("umount", str(self.mount), check=False)


class DnsLab(base.Lab):
    def __init__(self, name, folder):
        self.processes = []
        super().__init__(name, folder)

    def build(self):
        super().build()
        for path in DNS_CLIENT:
            shutil.copy(path, self.folder / path.name)
            (self.folder / path.name).chmod(0o755)
        self.says = Says(self)
        self.closing.append(self.says)
        self.dnsmasq()
        self.device = Device(self)

    def dnsmasq(self):
        hosts = self.folder / "hosts"
        hosts.write_text("".join(f"{a} many.good.example\n" for a in MANY) +
                         "".join(f"{a} big.good.example\n" for a in BIG), encoding="ascii")
        both = "198.51.100.{0},2001:db8:1::{0}"
        records = {f"h{i}.good.example": (both.format(10 + i), 60) for i in range(8)}
        records |= {"end.cdn.example": (both.format(20), 60),
                    "zero.good.example": (both.format(21), 0),
                    "one.good.example": (both.format(22), 1),
                    "four.good.example": ("198.51.100.23", 60),
                    "a.bad.example": (both.format(30), 60),
                    "hidden.good.example": (both.format(31), 60),
                    "open.bad.example": (both.format(32), 60),
                    "six.good.example": ("2001:db8:1::24", 60)}
        words = [f"--host-record={n},{a},{ttl}" for n, (a, ttl) in records.items()]
        chain = ["chain.good.example"] + [f"c{i}.cdn.example" for i in range(8)]
        words += [f"--cname={a},{b}" for a, b in zip(chain, chain[1:] + ["end.cdn.example"])]
        out = open(self.folder / "dnsmasq", "w", encoding="utf-8")
        self.processes.append(subprocess.Popen(
            self.inside(self.peer) + ["dnsmasq", "-k", "-C", "/dev/null", "-R", "-h", "-u", "root",
                                      f"--pid-file={self.folder}/pid", "--bind-interfaces",
                                      f"--addn-hosts={hosts}", f"--listen-address={PEER4}",
                                      f"--listen-address={PEER6}", "--no-resolv", "--local=/#/",
                                      "--log-queries", "--log-facility=-", *words],
            stdout=out, stderr=subprocess.STDOUT))
        out.close()
        assert until(lambda: "started" in (self.folder / "dnsmasq").read_text()), "dnsmasq"

    @contextlib.contextmanager
    def bound_in(self, ns, address, port=53):
        """A UDP socket that a test answers by itself."""
        s = self.socket(ns, socket.AF_INET6 if ":" in address else socket.AF_INET,
                        socket.SOCK_DGRAM)
        with s:
            s.settimeout(base.WAIT)
            s.bind((address, port))
            yield s

    def resolvconf(self, *lines):
        """The words before a command that sees a resolv.conf of its own."""
        return self.own_file("resolv.conf", lines)

    def own_file(self, name, lines):
        """The words before a command that sees a file of /etc of its own."""
        path = self.new_folder() / name
        path.write_text("".join(line + "\n" for line in lines), encoding="ascii")
        path.chmod(0o644)
        return ["unshare", "-m", "--propagation", "private", "sh", "-c",
                f'mount --bind "$0" /etc/{name} && exec "$@"', str(path)]

    def start(self, mode, text, lines=(), options=(), watch=False, hosts=(), before=()):
        """The workload: mode is "none", "run" or "device"."""
        before = [*before, *self.resolvconf(*(lines or [f"nameserver {REAL[4]}"]))]
        if hosts:
            before += self.own_file("hosts", hosts)
        program = [PYTHON, str(self.folder / "dns_client.py")]
        if mode == "run":
            folder, log, words = self.prepare(text, options)
            agent = base.Agent(self.inside() + before + words + program, folder, log,
                               env=base.environment())
        else:
            if mode == "device":
                self.device.attach(text, *options)
                if watch:
                    self.device.watch()
            agent = base.Agent(self.inside() + before + program, self.new_folder())
        self.agents.append(agent)
        return agent

    @contextlib.contextmanager
    def workload_of(self, mode, text, lines=(), **kw):
        self.says.handler = self.says.plain
        agent = self.start(mode, text, lines, **kw)
        try:
            yield agent
        finally:
            self.says.handler = self.says.plain
            agent.close()
            if mode == "device":
                self.device.detach()

    def close(self):
        for process in self.processes:
            process.terminate()
            process.wait(10)
        if hasattr(self, "device"):
            self.device.close()
        super().close()
