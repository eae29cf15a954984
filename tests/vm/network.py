# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A KVM host as namespaces, with two real guests:

    guest A --tap0--+                    +-- u0 ---- u1 [net]  the internet, routed
    guest B --tap1--+-- br0 [host] ------+
                    +-- l0 ---- l1 [lan]  a neighbour on the same wire

Policies stand on tap0, guest A's. "Arrived" means: seen behind it by a capture, on
br0 (the host), l1 (the neighbour), tap1 (guest B) or u1 (the internet)."""
import contextlib
import itertools
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "system"), str(ROOT / "tests" / "guest")]
import echoes  # noqa: E402
import lab  # noqa: E402
import vm  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402

KERNEL = "6.12"
BRIDGE_MAC = "02:00:00:00:00:fe"
MAC_A, MAC_B, MAC_C = "52:54:00:12:34:0a", "52:54:00:12:34:0b", "52:54:00:12:34:0c"
BRIDGE4, BRIDGE6 = "192.168.101.1", "2001:db8:101::1"
A4, A6 = "192.168.101.10", "2001:db8:101::a"
B4, B6 = "192.168.101.11", "2001:db8:101::b"
LAN4, LAN6 = "192.168.101.200", "2001:db8:101::200"
FREE4, FREE6 = "192.168.101.77", "2001:db8:101::77"     # nobody's: for spoofing
UPLINK4, UPLINK6 = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
NET4, NET6 = "203.0.113.10", "2001:db8:1::10"
NET_ROUTES = ["198.51.100.0/24", "203.0.113.0/24", "169.254.169.254/32", "2001:db8:1::/48",
              "fd00:ec2::254/128"]
ECHO, SINK = 7, 9000
PORTS = (ECHO, 22, 25, 53, 80, 443, 8080, 9418)
BIND = ["--mac", MAC_A, "--address", A4, "--address", A6]
EVENT_S = 10
SNAP = 512              # of a captured frame; the tokens stand at the beginning
SO_RCVBUFFORCE = 33


class Monitor:
    """`sluice monitor`: the events of all targets, as they come."""

    def __init__(self, argv, env):
        self.process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.buffer, self.events = b"", []

    def read(self, seconds):
        """Takes the events that there are, or the first that comes; was there one?"""
        before = len(self.events)
        while len(self.events) == before and select.select([self.process.stdout], [], [],
                                                           seconds)[0]:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise EOFError(self.process.stderr.read().decode())
            *lines, self.buffer = (self.buffer + data).split(b"\n")
            self.events += [json.loads(line) for line in lines]
        return len(self.events) > before

    def wait(self, **want):
        """The first event that has these fields."""
        def found():
            return next(iter(lab.matching(self.events, **want)), None)
        while not (event := found()):
            assert self.read(EVENT_S), f"no event with {want}: {self.events}"
        return event

    def wait_reason(self, *reasons):
        """The first event with one of these reasons."""
        while not (found := [e for e in self.events if e["reason"] in reasons]):
            assert self.read(EVENT_S), f"no event with {reasons}: {self.events}"
        return found[0]

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            _, errors = self.process.communicate(timeout=EVENT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        assert failed or self.process.returncode == 0, errors.decode()


class Device:
    """`sluice` over one device, with pins of its own."""

    def __init__(self, inside, name, folder):
        self.inside, self.name, self.folder = inside, name, folder
        self.numbers = itertools.count()
        self.state = pathlib.Path(f"/sys/fs/bpf/sl-vm-{os.getpid()}")
        self.env = {**os.environ, "SLUICE_STATE": str(self.state)}

    def argv(self, *words):
        return [*self.inside, lab.SLUICE, *map(str, words)]

    def sluice(self, *words, check=True):
        done = subprocess.run(self.argv(*words), env=self.env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert not check or done.returncode == 0, f"{words}: {done.returncode}: {done.stderr}"
        return done

    def attach(self, policy, *options, check=True):
        """policy: a file, or its text."""
        if not isinstance(policy, pathlib.Path):
            path = self.folder / f"policy-{next(self.numbers)}.yaml"
            path.write_text(policy, encoding="utf-8")
            policy = path
        return self.sluice("attach", "--dev", self.name, "-p", policy, *options, check=check)

    def detach(self):
        return self.sluice("detach", "--dev", self.name)

    def status(self):
        targets = json.loads(self.sluice("status", "-o", "json").stdout)["targets"]
        return next((t for t in targets if t["name"] == self.name), None)

    def hits(self):
        return self.sluice("rules", "--dev", self.name).stdout

    def monitor(self):
        return Monitor(self.argv("monitor", "-o", "json"), self.env)

    def close(self):
        self.sluice("detach", "--all", check=False)
        lab.sh("rm", "-rf", str(self.state), check=False)


class Network:
    def __init__(self, folder):
        self.folder = folder
        self.names = {name: f"sl-vm-{name}-{os.getpid()}" for name in ("host", "net", "lan")}
        self.closing, self.guests = [], []
        self.tokens = itertools.count()
        self.destinations = itertools.count(20)
        try:
            self.build()
            self.serve()
            self.boot()
            self.watch()
        except BaseException:
            self.close()
            raise

    # ---- building ----

    def inside(self, name):
        return ["nsenter", f"--net=/run/netns/{self.names[name]}"]

    def ip(self, name, *words):
        lab.sh("ip", "-n", self.names[name], *words)

    def address(self, name, device, *addresses):
        self.ip(name, "link", "set", device, "up")
        for each in addresses:
            self.ip(name, "addr", "add", each, "dev", device, *(["nodad"] if ":" in each else []))

    def build(self):
        for name, ns in self.names.items():
            lab.sh("ip", "netns", "add", ns)
            self.ip(name, "link", "set", "lo", "up")
            lab.Lab.sysctl(ns, "net.ipv6.conf.all.accept_dad=0",
                           "net.ipv6.conf.default.accept_dad=0")
        lab.Lab.sysctl(self.names["host"], "net.ipv4.ip_forward=1",
                       "net.ipv6.conf.all.forwarding=1")
        if os.path.exists("/proc/sys/net/bridge"):  # it would check and trim packets
            lab.Lab.sysctl(self.names["host"], *(f"net.bridge.bridge-nf-call-{what}tables=0"
                                                 for what in ("ip", "ip6", "arp")))
        # Its own address: without one a bridge takes its lowest port's, and changes it when a
        # test adds a port, while the guests go on with the address that they have learned.
        self.ip("host", "link", "add", "br0", "address", BRIDGE_MAC, "type", "bridge",
                "forward_delay", "0")
        for tap in ("tap0", "tap1"):
            self.ip("host", "tuntap", "add", tap, "mode", "tap", "vnet_hdr")
            self.ip("host", "link", "set", tap, "master", "br0", "up")
        for near, far, other in (("u0", "u1", "net"), ("l0", "l1", "lan")):
            self.ip("host", "link", "add", near, "type", "veth", "peer", "name", far, "netns",
                    self.names[other])
        self.ip("host", "link", "set", "l0", "master", "br0", "up")
        self.address("host", "br0", f"{BRIDGE4}/24", f"{BRIDGE6}/64")
        self.address("host", "u0", f"{UPLINK4[0]}/30", f"{UPLINK6[0]}/64")
        self.address("net", "u1", f"{UPLINK4[1]}/30", f"{UPLINK6[1]}/64")
        lab.Lab.sysctl(self.names["lan"], "net.ipv6.conf.l1.accept_ra=0")
        self.address("lan", "l1", f"{LAN4}/24", f"{LAN6}/64")
        for name, via in (("host", 1), ("net", 0)):
            self.ip(name, "route", "add", "default", "via", UPLINK4[via])
            self.ip(name, "route", "add", "default", "via", UPLINK6[via])
        for route in NET_ROUTES:
            self.ip("net", "route", "add", "local", route, "dev", "lo")

    def maker(self, name):
        return lambda *arguments: lab.Lab.socket(self.names[name], *arguments)

    def serve(self):
        echo = echoes.Echo()
        self.closing.append(echo)
        for name in self.names:
            for port in PORTS:
                echo.add_tcp(self.maker(name), port)
                echo.add_udp(self.maker(name), port)
        self.sink = echoes.Sink(self.maker("net"), SINK)
        self.closing.append(self.sink)

    def boot(self):
        for tap, mac in (("tap0", MAC_A), ("tap1", MAC_B)):
            folder = self.folder / tap
            folder.mkdir()
            self.guests.append(vm.Guest(self.inside("host"), tap, mac, folder, KERNEL))
        self.a, self.b = self.guests
        for guest, v4, v6 in ((self.a, A4, A6), (self.b, B4, B6)):
            guest.wait()
            guest.v4, guest.v6 = v4, v6
            self.configure(guest)
        self.b.do("serve", ports=PORTS)
        self.a.do("serve", ports=PORTS[:1])

    @staticmethod
    def configure(guest):
        """Its addresses as they should be, whatever a test has made of them."""
        guest.sh(f"""
            cd /proc/sys/net
            echo 0 > ipv6/conf/eth0/accept_dad
            echo 0 > ipv6/conf/eth0/accept_ra
            echo '0 2147483647' > ipv4/ping_group_range
            ip -batch - <<END
                link set eth0 down
                link set eth0 address {guest.mac}
                addr flush dev eth0
                link set eth0 up
                addr add {guest.v4}/24 dev eth0
                addr add {guest.v6}/64 dev eth0 nodad
                route replace default via {BRIDGE4}
                route replace ::/0 via {BRIDGE6}
END
        """)

    def forget(self):
        """What a forged frame has taught the others."""
        for name, device in (("host", "br0"), ("lan", "l1")):
            self.ip(name, "neigh", "flush", "dev", device)
        for guest in self.guests:
            guest.sh("ip neigh flush dev eth0")

    def restore(self):
        self.configure(self.a)
        self.forget()

    def watch(self):
        marker = self.maker("host")(socket.AF_INET, socket.SOCK_DGRAM)
        self.wires = {}
        for place, name, device, outgoing in (("host", "host", "br0", False),
                                              ("lan", "lan", "l1", False),
                                              ("guest B", "host", "tap1", True),
                                              ("internet", "net", "u1", False)):
            capture = self.maker(name)(socket.AF_PACKET, socket.SOCK_DGRAM,
                                       socket.htons(lab.ETH_P_ALL))
            capture.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            capture.bind((device, lab.ETH_P_ALL))
            self.wires[place] = lab.Wire(capture, None, outgoing, SNAP)
            self.closing.append(capture)
        self.marker = marker
        self.closing.append(marker)

    # ---- what the tests ask ----

    @contextlib.contextmanager
    def outside(self, name):
        """A client.py in one of the namespaces."""
        folder = self.folder / f"client-{next(self.tokens)}"
        folder.mkdir()
        agent = lab.Agent([*self.inside(name), lab.PYTHON, str(lab.CLIENT)], folder)
        try:
            yield agent
        finally:
            agent.close()

    def token(self):
        return f"token-{os.getpid()}-{next(self.tokens)}-"

    def fresh(self, v6=False):
        """An address of the internet that nobody has used."""
        number = next(self.destinations)
        return f"2001:db8:1::{number:x}" if v6 else f"198.51.100.{number}"

    def send(self, *frames, device="eth0"):
        """Raw frames out of guest A."""
        self.a.do("frames", device=device, frames=[bytes(f).hex() for f in frames])

    def super_frame(self, frame, v6):
        """A TCP frame that is still to be cut into segments, out of guest A."""
        self.a.do("super_frame", device="eth0", v6=v6, frame=bytes(frame).hex())

    def mac(self, name, device):
        shown = lab.sh("ip", "-n", self.names[name], "-j", "link", "show", device)
        return json.loads(shown)[0]["address"]

    def settle(self, bound=A4):
        """Everything that guest A sent has come to where it comes. The mark is what a binding
        of this address lets pass: an ARP probe for it (RFC 5227)."""
        mark = lab.new_mark()
        carrier = ":".join(f"{byte:02x}" for byte in lab.arp_mark(mark))
        self.send(Ether(src=MAC_A, dst="ff:ff:ff:ff:ff:ff") /
                  ARP(op=1, hwsrc=MAC_A, psrc="0.0.0.0", hwdst=carrier, pdst=bound))
        for place, wire in self.wires.items():
            if place == "internet":     # behind a router
                self.marker.sendto(mark, (UPLINK4[1], 9))
            wire.await_mark(mark)

    def arrived(self, token, bound=A4):
        """Where a frame with this text was seen."""
        self.settle(bound)
        token = token.encode() if isinstance(token, str) else token
        places = set()
        for place, wire in self.wires.items():
            with wire.changed:
                if any(token in frame for _, frame in wire.frames):
                    places.add(place)
        return places

    def close(self):
        for thing in [*self.guests, *self.closing]:
            thing.close()
        for ns in self.names.values():
            for pid in lab.sh("ip", "netns", "pids", ns, check=False).split():
                if pid.isdigit():
                    os.kill(int(pid), signal.SIGKILL)
            lab.sh("ip", "netns", "del", ns, check=False)
