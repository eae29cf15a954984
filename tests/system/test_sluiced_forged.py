# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Two pods of one accomplice: one names an address outside as its own, the other answers it."""
import json
import select
import socket

import pytest

from lab import ROOT, parse, until
from podlab import egress, put
from vethlab import machine_of_all, pytestmark  # noqa: F401
from vethlab import Inside, bound, in_netns, judged, packet, told

ASKED, FOREIGN = 7005, ("198.51.100.9", "2001:db8:77::9")


class Foreign:
    """Two pods: what one sends in the name of an address outside, the other answers."""

    def __init__(self, node, sends, gets, gateways=("cni0", "cni0")):
        self.node, self.sends, self.gets, self.gateways = node, sends, gets, gateways
        self.wire = node.within(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
        self.wire.bind((gateways[1], 3))
        self.wire.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    def by_packet(self, source, to, ether):
        ether = ether.replace(":", "")
        kind = b"\x86\xdd" if ":" in to else b"\x08\x00"
        with in_netns(self.sends.path, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sock:
            sock.bind(("eth0", 0))
            sock.send(bytes.fromhex(ether) + bytes.fromhex(self.sends.device["address"].replace(":", "")) + kind +
                      packet(source, to, ASKED))

    def send(self, way, source, to):
        if way == "freebind":
            with in_netns(self.sends.path, lambda: bound(source, 4000)) as sock:
                sock.sendto(b"x", (to, ASKED))
        else:       # to the other one, or to the gateway
            self.by_packet(source, to, self.gets.device["address"] if way == "packet" else
                           self.node.address_of(self.gateways[0]))

    def left(self, to):
        """Datagrams to there that have come to the host."""
        n = 0
        while select.select([self.wire], [], [], 0)[0]:
            seen = parse(self.wire.recv(2048))
            n += bool(seen and seen.destination == to and seen.protocol == 17 and seen.dport == 4000)
        return n

    def served(self, to, send):
        """Does it arrive? Then it is answered."""
        with in_netns(self.gets.path, lambda: bound(to, ASKED)) as server:
            server.settimeout(0.5)
            send()
            try:
                return server.sendto(b"x", server.recvfrom(64)[1]) > 0
            except socket.timeout:
                return False

    def answered(self, way, source, to):
        self.left(source)
        return self.served(to, lambda: self.send(way, source, to)) and bool(until(lambda: self.left(source), 5))

    def talk(self, source, to):
        """The same in its own name, where the answer comes back."""
        with in_netns(self.sends.path, lambda: bound(source, 4000)) as sock:
            sock.settimeout(5)
            return self.served(to, lambda: sock.sendto(b"x", (to, ASKED))) and sock.recv(64) == b"x"


@pytest.mark.parametrize("machine, way", [(False, "packet"), (False, "routed"), (False, "freebind"),
                                          ("ptp", "routed"), ("ptp", "freebind")], indirect=["machine"])
def test_who_names_another_address_is_not_answered(node, way):
    """Over a bridge, and where each veth has a route."""
    put(node, "web.yaml", egress() + f"    - allow: {{to: [10.244.0.0/24, 'fd00:244::/64'], ports: {ASKED}}}\n")
    pods = [node.pod(name=name, labels={"app": "web"}) for name in ("one", "two")]
    insides = [Inside(node, pod) for pod in pods]
    pairs = list(zip(*(sorted(inside.addresses) for inside in insides)))
    tried = [(FOREIGN[":" in to], to) for _, to in pairs if way != "freebind" or ":" in to]
    gateways = [inside.gateway() for inside in insides]
    with Foreign(node, *insides, gateways) as both:
        for one in tried:       # an IPv6 address is tentative at first
            assert until(lambda one=one: both.answered(way, *one), 20), one
        node.start_daemon()
        for pod in pods:
            node.known(pod)
            judged(node, pod)
        assert [both.answered(way, *one) for one in tried] == [False] * len(tried)
        assert [both.talk(*one) for one in pairs] == [True, True]
    assert until(lambda: len(told(node, ASKED)) == len(tried))
    assert {r["reason"] for r in map(json.loads, node.audit.read_text().splitlines())
            if r["event"] == "connection" and r["verdict"] == "deny"} == {"address-binding"}


def test_where_the_node_knows_no_network_nobody_is_asked(node):
    """A bridge of layer 2 alone: no route leads to its pods, whoever they are. Open and documented; as soon as
    there is one, it counts."""
    put(node, "web.yaml", egress() + f"    - allow: {{to: [10.244.0.0/24, 'fd00:244::/64'], ports: {ASKED}}}\n")
    pods = [node.pod(name=name, labels={"app": "web"}) for name in ("one", "two")]
    insides = [Inside(node, pod) for pod in pods]
    node.start_daemon()
    for pod in pods:
        node.known(pod)
        judged(node, pod)
    tried = [(FOREIGN[":" in to], to) for to in sorted(insides[1].addresses)]
    had = [a for a in json.loads(node.ip("-j addr show dev cni0"))[0]["addr_info"] if a["scope"] == "global"]

    def come(both):
        return [both.served(to, lambda s=source, t=to: both.send("packet", s, t)) for source, to in tried]
    with Foreign(node, *insides) as both:
        assert come(both) == [False, False]
        node.ip("addr flush dev cni0 scope global")
        assert until(lambda: come(both) == [True, True], 20)
        for a in had:
            node.ip(f"addr add {a['local']}/{a['prefixlen']} dev cni0" + " nodad" * (":" in a["local"]))
        assert until(lambda: come(both) == [False, False], 20)
    assert "a bridge of layer 2 alone" in " ".join((ROOT / "docs/SECURITY.md").read_text().split())
