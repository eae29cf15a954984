# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A host with a bridge, a workload on it (the descriptor of a tap, or a container's
end of a veth), and a peer with a capture and echo servers, each in a network
namespace of its own; and sluice on the workload's device.

"Arrived" means: seen on the peer's end of the wire (for frames to the workload:
on the workload's). Every wait is bounded."""
import contextlib
import itertools
import json
import os
import pathlib
import socket
import struct

from deviceguard import Guard
from deviceport import PLAIN, Capture, Guest, Tap, Veth, packet_socket
from lab import ECHO, PEER4, PEER6, PEER_ROUTES, WAIT, WORKLOAD4, WORKLOAD6, Lab, sh, until

GUEST_MAC, PEER_MAC, BRIDGE_MAC = "52:54:00:12:34:56", "52:54:00:00:00:02", "52:54:00:00:00:fe"
ANOTHER_MAC = "52:54:00:12:34:57"
OTHER_MAC = "52:54:00:66:66:66"
GUEST4, GUEST6, GUEST_LL = WORKLOAD4, WORKLOAD6, "fe80::5054:ff:fe12:3456"
PEER_LL = "fe80::5054:ff:fe00:2"
BRIDGE4, BRIDGE6 = "192.0.2.254", "2001:db8::fe"
ANOTHER4, ANOTHER6 = "192.0.2.11", "2001:db8::11"   # of a second workload
OTHER4, OTHER6 = "192.0.2.77", "2001:db8::77"       # of the subnet, not the workload's
TRIES = 3               # the backlog of a CPU is everybody's: who floods it loses our frames too
FENCE = "203.0.113.77"                              # no policy allows it
BINDING = ["--mac", GUEST_MAC, "--address", GUEST4, "--address", GUEST6]
QUIET = ["net.ipv6.conf.{}.accept_dad=0", "net.ipv6.conf.{}.router_solicitations=0",
         "net.ipv6.conf.{}.disable_ipv6=0"]


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def datagram(to, dport, data, sport=4000, source=None, mac_source=GUEST_MAC):
    """A frame of the workload with a whole, valid UDP datagram. Made without scapy:
    probes are many."""
    v6 = ":" in to
    source = packed(source or (GUEST6 if v6 else GUEST4))
    udp = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    pseudo = source + packed(to) + struct.pack("!II", len(udp), 17)
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xffff) + udp[8:]
    if v6:
        head = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + source + packed(to)
    else:
        head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(udp), 1, 0, 64, 17)
        rest = source + packed(to)
        head += struct.pack("!H", checksum(head + bytes(2) + rest)) + rest
    return mac(PEER_MAC) + mac(mac_source) + (b"\x86\xdd" if v6 else b"\x08\x00") + head + udp


class DeviceLab(Lab):
    """kind: "tap" or "veth". real: the workload is a kernel's network stack (behind
    the tap too), not bare frames."""

    def __init__(self, name, folder, kind, real=False, device=None, addresses=True):
        self.kind, self.real = kind, real
        self.addresses = (GUEST4, GUEST6) if addresses else None
        self.device = device or {"tap": "vnet0", "veth": "veth0"}[kind]
        self.host = f"sl-{name}-h-{os.getpid()}"
        self.port = self.guard = self.sink = self.last_config = None
        self.more = []
        self.serial, self.seen = itertools.count(1), set()
        super().__init__(name, folder)

    # ---- the wires ----

    def build(self):
        for ns in (self.host, self.workload, self.peer):
            sh("ip", "netns", "add", ns)
            self.sysctl(ns, *(value.format(which) for which in ("all", "default")
                              for value in QUIET))
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        if self.real:
            self.sysctl(self.workload, "net.ipv4.ping_group_range=0 2147483647")
        else:       # its kernel shall say nothing
            self.sysctl(self.workload, "net.ipv6.conf.all.disable_ipv6=1",
                        "net.ipv6.conf.default.disable_ipv6=1")
        # Every answer counts: the peer's kernel shall not spare its errors.
        self.sysctl(self.peer, "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        for name in ("iptables", "ip6tables", "arptables"):     # br_netfilter drops what is odd
            if pathlib.Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}").exists():
                self.sysctl(self.host, f"net.bridge.bridge-nf-call-{name}=0")
        sh("ip", "-n", self.host, "link", "add", "br0", "address", BRIDGE_MAC, "mtu", "9000",
           "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        self.address(self.host, "br0", BRIDGE4 + "/24", BRIDGE6 + "/64")
        self.build_peer()
        self.guard = Guard(self.host, self.folder)
        self.port = self.plug(addresses=self.addresses)

    def build_peer(self):
        sh("ip", "-n", self.host, "link", "add", "h0", "mtu", "9000", "type", "veth", "peer",
           "name", "p0", "address", PEER_MAC, "mtu", "9000", "netns", self.peer)
        self.join("h0")
        # Whoever speaks with the peer's address: it stays where it is.
        sh("bridge", "-n", self.host, "fdb", "add", PEER_MAC, "dev", "h0", "master", "static",
           "sticky")
        self.address(self.peer, "p0", PEER4 + "/24", PEER6 + "/64")
        for address in (GUEST4, GUEST6):
            if not self.real:
                sh("ip", "-n", self.peer, "neigh", "replace", address, "lladdr", GUEST_MAC,
                   "dev", "p0", "nud", "permanent")
        for route in PEER_ROUTES:
            sh("ip", "-n", self.peer, "route", "add", "local", route, "dev", "lo")
        self.servers()
        self.sink = self.capture(self.peer, "p0")
        self.talker = self.socket(self.peer, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.talker.bind(("p0", 0))
        self.closing.append(self.talker)

    def capture(self, ns, device, protocol=None):
        s = packet_socket(ns, device, *([protocol] if protocol else []))
        made = Capture(s.fileno())
        self.closing += [made, s]
        return made

    def join(self, device):
        sh("ip", "-n", self.host, "link", "set", device, "mtu", "9000", "master", "br0", "up")

    def plug(self, device=None, index=None, inside=None, mac_address=GUEST_MAC, up=True,
             addresses=(GUEST4, GUEST6)):
        """A workload's device, on the bridge (up) or not yet; what is real gets addresses."""
        device, inside = device or self.device, inside or self.workload
        made = {"tap": Guest if self.real else Tap, "veth": Veth}[self.kind]
        port = made(self.host, device, index=index, inside=inside, mac=mac_address)
        if self.real and addresses:
            self.give_addresses(port, *addresses)
        if up:
            self.join(device)
            carries = [(self.host, device)] + [(inside, "w0")] * (self.kind == "veth")
            assert until(lambda: all(self.is_up(*end) for end in carries)), device
        return port

    @staticmethod
    def is_up(ns, device):
        """The kernel sees to a carrier when it has time; until then frames fall."""
        link = json.loads(sh("ip", "-n", ns, "-j", "-d", "link", "show", device))[0]
        port = link.get("linkinfo", {}).get("info_slave_data", {})
        return link["operstate"] != "DOWN" and port.get("state", "forwarding") == "forwarding"

    def give_addresses(self, port, v4, v6):
        self.address(port.inside, "w0", v4 + "/24", v6 + "/64")
        sh("ip", "-n", port.inside, "route", "add", "default", "via", PEER4)
        sh("ip", "-n", port.inside, "route", "add", "default", "via", PEER6)

    def namespace(self, name):
        """One more workload's network namespace."""
        ns = f"{self.workload}-{name}"
        sh("ip", "netns", "add", ns)
        self.more.append(ns)
        if not self.real:
            self.sysctl(ns, "net.ipv6.conf.default.disable_ipv6=1")
        return ns

    @contextlib.contextmanager
    def another(self, device, up=True, index=None, mac_address=ANOTHER_MAC,
                addresses=(ANOTHER4, ANOTHER6)):
        """One more workload, with its device; gone afterwards."""
        inside = self.namespace(f"{device}-{next(self.serial)}")
        port = self.plug(device, index, inside, mac_address, up, addresses)
        try:
            yield port
        finally:
            port.close()

    @contextlib.contextmanager
    def routed(self, v6=False):
        """Off the bridge; a capture of what the host's own stack gets from the device.
        (Bound to one protocol, a packet socket stands behind the programs.)"""
        sh("ip", "-n", self.host, "link", "set", self.device, "nomaster")
        s = packet_socket(self.host, self.device, 0x86dd if v6 else 0x800)
        sink = Capture(s.fileno())
        try:
            yield sink
        finally:
            sink.close()
            s.close()
            self.join(self.device)

    # ---- frames ----

    def send(self, frame, header=PLAIN):
        self.port.send(frame, header)

    def send_in(self, frame):
        """From the peer, towards the workload."""
        self.talker.send(frame)

    def probe(self, v6=False):
        """An allowed datagram to the echo server and back again. What was sent before it
        has then been captured, on either side."""
        for _ in range(TRIES):
            mark = b"probe%d-%d" % (next(self.serial), os.getpid())
            position, sink = self.port.capture.position(), self.sink.position()
            self.send(datagram(PEER6 if v6 else PEER4, ECHO, mark))
            if self.sink.wait(mark, sink, WAIT / TRIES) and \
                    self.port.capture.wait(mark, position, WAIT / TRIES):
                return
        raise AssertionError(f"an allowed probe had no answer: {self.kind} v6={v6}")

    def settle(self, v6=False):
        """Returns when what the workload sent has been captured: a datagram that is
        allowed has arrived."""
        for _ in range(TRIES):
            mark, position = b"settle%d" % next(self.serial), self.sink.position()
            self.send(datagram(PEER6 if v6 else PEER4, ECHO, mark))
            if self.sink.wait(mark, position, WAIT / TRIES):
                return
        raise AssertionError(f"an allowed datagram did not arrive: {self.kind}")

    # ---- sluice ----

    def configure(self, policy, *options, once=()):
        """Attaches, if it is not what is attached; and reads events from then on.
        once: what the caller will see an event of. The monitor makes one record of the
        same events of a second and a generation: so it never comes twice in one."""
        wanted = (policy, options)
        if self.last_config != wanted or self.seen & set(once):
            self.guard.attach(self.device, policy, *options)
            self.last_config, self.seen = wanted, set()
        self.seen |= set(once)
        if not self.guard.monitor:
            self.guard.watch()
            self.fence()

    def attach_again(self):
        """The same once more: a generation in which no event has been."""
        policy, options = self.last_config
        self.guard.attach(self.device, policy, *options)
        self.seen = set()

    def status(self):
        return self.guard.status(self.device)

    def mark(self):
        """Where the events stand: what is sent from now on comes behind it."""
        return self.guard.monitor.position()

    def fence(self, since=0):
        """The device's events since a position, all of them: a denied datagram of our own
        is the last. Sent again if need be: what came before the monitor did is nobody's."""
        for _ in range(TRIES):
            port = 10000 + next(self.serial)
            self.send(datagram(FENCE, port, b"fence"))
            end = self.guard.monitor.wait(lambda r: is_fence(r, port), since, WAIT / TRIES)
            if end is not None:
                break
        assert end is not None, "no event of the fence: the monitor is dead, or it passed"
        return [r for r in self.guard.monitor.between(since, end)
                if r["target"]["name"] == self.device and not is_fence(r)]

    def close(self):
        for thing in (self.port, self.guard):
            if thing:
                try:
                    thing.close()
                except OSError:
                    pass
        super().close()
        for ns in self.more + [self.host]:
            for pid in sh("ip", "netns", "pids", ns, check=False).split():
                if pid.isdigit():
                    os.kill(int(pid), 9)
            sh("ip", "netns", "del", ns, check=False)


def is_fence(record, port=None):
    to = record["destination"]
    return to["address"] == FENCE and (port is None or to["port"] == port)


def rules(*lines, **settings):
    """A policy: rules as their YAML, settings as theirs."""
    text = ["sluice: 1", "name: devices"]
    text += [f"{key}: {value}" for key, value in settings.items()]
    return "\n".join(text + ["rules:"] + [f"  - {line}" for line in lines]) + "\n"


def accounts(target):
    """decided = submitted + suppressed + lost, of a target's status."""
    return target["decided"] == target["submitted"] + target["suppressed"] + target["lost"]
