# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods of containerd's CRI whose veths are judged: what is in a pod's network, and what it sends from there."""
import json
import os
import pathlib
import select
import shutil
import socket
import struct

import pytest

import client
from devlab import Namespace
from lab import sh, until
from ocilab import ADDRESSES
from podlab import node_of_directory

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]
ALLOWED, DENIED = 7001, 7003


@pytest.fixture(scope="module", name="machine", params=[False])
def machine_of_all(request, tmp_path_factory):
    with node_of_directory("sl-veth", tmp_path_factory.mktemp("veths"), request.param is True,
                           request.param == "ptp") as made:
        made.open = [made.within(lambda a=a: bound(a, ALLOWED)) for a in ADDRESSES]
        yield made
        for sock in made.open:
            sock.close()


def bound(address, port):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    client.own_any_address(sock, {"freebind": True})
    sock.bind((address, port))
    return sock


class Inside:
    """The pod's network, and packets of a packet socket's making."""

    def __init__(self, node, pod):
        self.node = node
        top = node.top.parent / pod.path.lstrip("/")
        pids = [p for below, _, _ in os.walk(top)
                for p in (pathlib.Path(below) / "cgroup.procs").read_text().split()]
        self.path = f"/proc/{pids[0]}/ns/net"
        self.device = json.loads(self.ip("-j", "addr", "show", "eth0"))[0]
        self.addresses = [a["local"] for a in self.device["addr_info"] if a["scope"] == "global"]

    def gateway(self):
        """The interface on the host that has the pod's network."""
        far = next(link for link in json.loads(self.node.ip("-j link show"))
                   if link["ifindex"] == self.device["link_index"])
        return far.get("master", far["ifname"])

    def ip(self, *words):
        return sh("nsenter", f"--net={self.path}", "ip", *words)

    def send(self, port):
        """A datagram of each family, past the pod's IP."""
        gateway = bytes.fromhex(self.node.address_of("cni0").replace(":", ""))
        own = bytes.fromhex(self.device["address"].replace(":", ""))
        with in_netns(self.path, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sock:
            sock.bind(("eth0", 0))
            for to in ADDRESSES:
                source = next(a for a in self.addresses if (":" in a) == (":" in to))
                kind = b"\x86\xdd" if ":" in to else b"\x08\x00"
                sock.send(gateway + own + kind + packet(source, to, port))

    def sends_any(self):
        """Does anything arrive of what a packet socket sends for a while?"""
        for sock in self.node.open:
            sock.setblocking(False)
            while select.select([sock], [], [], 0)[0]:
                sock.recv(64)                   # of before
        self.node.arrived()
        for _ in range(20):
            self.send(DENIED)
            self.send(ALLOWED)
        return self.node.arrived()[0] or select.select(self.node.open, [], [], 0.3)[0]

    def sends(self):
        """How many datagrams arrive of two (one of each family) that no policy here allows; those
        that one allows follow them, and have to."""
        self.node.arrived()
        self.send(DENIED)
        self.send(ALLOWED)
        for sock in self.node.open:
            sock.settimeout(5)
            sock.recv(64)
        return self.node.arrived()[0]


def in_netns(path, function):
    other = object.__new__(Namespace)           # which is not ours to make
    other.path = path
    return other.within(function)


def packet(source, to, port):
    body = client.datagram(source, to, 4000, port, b"x" * 8)
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    ends = b"".join(socket.inet_pton(family, a) for a in (source, to))
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, len(body), 17, 64) + ends + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 77, 0, 64, 17, 0) + ends
    return head[:10] + struct.pack("!H", client.checksum(head)) + head[12:] + body


def judged(node, pod):
    """The target of the host's end of the pod's veth."""
    found = []

    def look():
        found[:] = [t for t in node.full_status()["targets"] if t["kind"] == "device" and
                    t["attached"] and t.get("pod", {}).get("uid") == pod.uid]
        return len(found) == 1 and found[0]["policy"]
    assert until(look, 20), (found, node.kubernetes(), node.daemon.errors)
    return found[0]


def told(node, port, verdict="deny"):
    """(kind of target, destination) of each decision of that port."""
    lines = map(json.loads, node.audit.read_text().splitlines())
    return sorted((r["target"]["kind"], r["destination"]["address"]) for r in lines
                  if r["event"] == "connection" and r["verdict"] == verdict and
                  r["destination"]["port"] == port)
