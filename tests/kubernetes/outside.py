# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The world outside of the node: servers on both families, and all that arrives by who sent it."""
import socket
import subprocess

import settings
from devlab import Namespace
from echoes import Echo
from lab import ETH_P_ALL, Wire, sh

HERE4, HERE6 = "192.0.2.2", "2001:db8::2"
INSIDE4 = "10.9.9.9"                    # of a private network, there too
ALLOWED, DENIED = 7001, 7002            # TCP and UDP; what policies here say of them
TCP, UDP = 6, 17


class Node(Namespace):
    """The capsule's network namespace, which is not ours to make."""

    def __init__(self, pid):        # pylint: disable=super-init-not-called
        self.path = f"/proc/{pid}/ns/net"


class Outside(Namespace):
    """Echo servers; a capture of the wire."""

    def __init__(self, pid, name="sl-kube-out"):
        super().__init__(name)
        self.node = Node(pid)
        self.join(pid)
        self.echo = Echo()
        for port in (ALLOWED, DENIED):
            self.echo.add_tcp(self.socket, port)
            self.echo.add_udp(self.socket, port)
        self.capture = self.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.capture.bind(("o0", ETH_P_ALL))
        self.marker = self.node.within(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.wire = Wire(self.capture, lambda mark: self.marker.sendto(mark, (HERE4, 9)), snap=200)

    def join(self, pid):
        node = ["nsenter", "-t", pid, "-n", "ip"]
        self.ip("link add o0 type veth peer name n0")
        self.ip(f"link set n0 netns {pid}")
        for ip, device, v4, v6 in ((["ip", "-n", self.name], "o0", HERE4, HERE6),
                                   (node, "n0", settings.NODE4, settings.NODE6)):
            sh(*ip, "addr", "add", f"{v4}/24", "dev", device)
            sh(*ip, "addr", "add", f"{v6}/64", "dev", device, "nodad")
            sh(*ip, "link", "set", device, "up")
        self.ip(f"addr add {INSIDE4}/32 dev o0")
        self.ip(f"route add {settings.PODS4} via {settings.NODE4}")
        self.ip(f"-6 route add {settings.PODS6} via {settings.NODE6}")
        sh(*node, "route", "add", "default", "via", HERE4)
        sh(*node, "-6", "route", "add", "default", "via", HERE6)

    def socket(self, *arguments):
        return self.within(lambda: socket.socket(*arguments))

    def arrived(self, addresses, ports=(ALLOWED, DENIED)):
        """{(4 or 6, TCP or UDP, port): packets} that came from one of these, up to now."""
        self.wire.settle()
        count = {}
        with self.wire.changed:
            for p in self.wire.packets:
                if p.source in addresses and p.dport in ports:
                    key = (p.family, p.protocol, p.dport)
                    count[key] = count.get(key, 0) + 1
        return count

    def destinations(self, addresses):
        """{(address, port)} of IPv4 that connections of these asked for, up to now."""
        self.wire.settle()
        with self.wire.changed:
            return {(p.destination, p.dport) for p in self.wire.packets
                    if p.source in addresses and p.protocol == TCP and p.family == 4}

    def answer(self, *records):
        """dnsmasq: /NAME/ADDRESS, and no other name is there. Returns what ends it."""
        made = subprocess.Popen(
            ["ip", "netns", "exec", self.name, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
             "--conf-file=/dev/null", "--pid-file=", "--user=root", f"--listen-address={HERE4}", "--bind-interfaces",
             "--port=53", "--no-daemon", "--local=/#/", *(f"--address={record}" for record in records)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def end():
            made.terminate()
            made.wait(10)
        return end

    def senders(self, port):
        """Addresses from which something came to that port."""
        self.wire.settle()
        with self.wire.changed:
            return {p.source for p in self.wire.packets if p.dport == port}

    def forget(self):
        self.wire.settle()
        with self.wire.changed:
            self.wire.packets.clear()
            self.wire.frames.clear()

    def close(self):
        self.echo.close()
        self.capture.close()
        self.marker.close()
        super().close()
