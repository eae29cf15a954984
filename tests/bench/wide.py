# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Datagrams to many destinations: from a socket that is not connected (cgroup sendmsg and
egress), and from a guest's tap (tcx), each beside its peers. They end behind a veth, where nobody
reads them; tests/tools/wide_load.c sends."""
import contextlib
import os

import prefixes
from net import SECONDS, TURNS, Client, cgroup_root, remove_cgroup, sh

PORT = 5001
# A target has places for 16,384 flows: 64k destinations are not to be had at once.
WIDE = (256, 8192)
ROUTER, GUEST_MAC = "52:54:00:00:00:fe", "52:54:00:12:34:56"
HOST = {4: "10.77.0.1", 6: "fd77::1"}
GUEST = {4: "10.77.0.2", 6: "fd77::2"}


class Namespace:
    """What is sent to anywhere ends behind a veth, unread; tap0 is a guest's."""

    def __init__(self, stack, name):
        self.name = f"slb{os.getpid()}{name}"
        sh("ip", "netns", "add", self.name)
        stack.callback(sh, "ip", "netns", "del", self.name)
        self.ip("link", "set", "lo", "up")
        self.run("sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        # without ARP a frame is for nobody: it ends at once at the other end
        self.ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
        self.ip("link", "set", "d0", "arp", "off")
        self.ip("tuntap", "add", "dev", "tap0", "mode", "tap")
        self.ip("link", "set", "tap0", "address", ROUTER)
        self.ip("addr", "add", HOST[4] + "/24", "dev", "tap0")
        self.ip("addr", "add", HOST[6] + "/64", "dev", "tap0", "nodad")
        for device in ("d0", "d1", "tap0"):
            self.ip("link", "set", device, "up")
        self.ip("route", "add", "default", "dev", "d0", "src", HOST[4])
        self.ip("-6", "route", "add", "default", "dev", "d0", "src", HOST[6])

    def ip(self, *words):
        sh("ip", "-n", self.name, *words)

    def inside(self, *words):
        return ["nsenter", f"--net=/run/netns/{self.name}", *map(str, words)]

    def run(self, *words, **options):
        return sh(*self.inside(*words), **options)

    def client(self, stack, *words):
        return Client(stack, self.inside(*words))

    def nft(self, folder, made, family, kind, hook):
        self.run("nft", "-f", prefixes.nft(folder / "wide.nft", made, family, kind, hook))

    def iptables(self, folder, made, family, program, chain):
        path = prefixes.ipset(folder / "wide.ipset", made, family)
        self.run("ipset", "restore", "-file", path)
        program = ("ip6tables-" if family == 6 else "iptables-") + program
        for rule in (("-m", "set", "--match-set", "all", "dst", "-j", "ACCEPT"), ("-j", "REJECT")):
            self.run(program, "-A", chain, "-p", "udp", *rule)


# How each peer is asked for the same policy, at a hook of the stack.
PEERS = {"nftables set": ("nft", "set"), "nftables set+conntrack": ("nft", "conntrack"),
         "iptables-legacy+ipset": ("iptables", "legacy"), "iptables-nft+ipset": ("iptables", "nft")}


class Lab:
    def __init__(self, stack, build, folder, family, made):
        self.stack, self.build, self.folder, self.family, self.made = stack, build, folder, family, made
        self.tool = build / "tests" / "wide_load"
        self.policy = prefixes.policy(folder, "wide", made, family)
        self.serial = 0

    def namespace(self):
        self.serial += 1
        return Namespace(self.stack, f"w{self.serial}")

    def peer(self, name, hooks):
        ns = self.namespace()
        how, kind = PEERS[name]
        getattr(ns, how)(self.folder, self.made, self.family, kind, hooks[how])
        return ns

    def write_destinations(self, n):
        path = self.folder / f"to-{n}"
        path.write_text("\n".join(prefixes.allowed(self.made, self.family, n)) + "\n")
        return path

    def socket(self, stack, n):
        """variant -> function, for sendmsg to n destinations."""
        words = (self.tool, "socket", self.write_destinations(n), PORT, SECONDS)
        return {name: ns.client(stack, *before, *words).turn
                for name, (ns, before) in self.sockets.items()}

    def build_sockets(self):
        cgroup = cgroup_root() / f"bench-wide-{os.getpid()}"
        self.stack.callback(remove_cgroup, cgroup)
        plain = self.namespace()    # as net.is_installed has it
        self.sockets = {
            "no filter": (plain, ()),
            "empty programs": (plain, (self.build / "tests" / "bench_empty", cgroup)),
            "sluice": (plain, (self.build / "sluice", "run", "-q", "-p", self.policy, "--")),
            **{name: (self.peer(name, {"nft": "output", "iptables": "OUTPUT"}), ())
               for name in PEERS}}

    def tap(self, stack, n):
        words = (self.tool, "tap", self.write_destinations(n), PORT, SECONDS, "tap0",
                 GUEST[self.family], GUEST_MAC, ROUTER)
        self.attach()
        clients = {ns: ns.client(stack, *words) for ns in {ns for ns, _ in self.taps.values()}}
        return {name: lambda client=clients[ns], word=word: client.turn(word)
                for name, (ns, word) in self.taps.items()}

    def build_taps(self):
        plain, ingress = self.namespace(), self.namespace()
        self.taps = {
            "no filter": (plain, "none"), "empty program": (plain, "empty"),
            "sluice": (plain, "ours"), "nftables set at ingress": (ingress, "none"),
            **{name: (self.peer(name, {"nft": "forward", "iptables": "FORWARD"}), "none")
               for name in PEERS}}
        ingress.nft(self.folder, self.made, self.family, "netdev", "tap0")
        self.pins = self.folder / f"bpf{self.family}"
        self.pins.mkdir(mode=0o700)
        sh("mount", "-t", "bpf", "-o", "mode=0700", "none", self.pins)
        self.stack.callback(sh, "umount", "-l", self.pins)
        self.stack.callback(self.sluice, "detach", "--all")

    def sluice(self, *words):
        self.taps["sluice"][0].run(self.build / "sluice", *words,
                                   env={**os.environ, "SLUICE_STATE": str(self.pins / "sluice")})

    def attach(self):
        """The load moves the program from here on."""
        self.sluice("detach", "--all")
        self.sluice("attach", "--dev", "tap0", "-p", self.policy, "--mac", GUEST_MAC,
                    "--address", GUEST[self.family])


def rows(table, build, folder, n, slices):
    for kind, name in (("socket", "UDP by sendmsg"), ("tap", "UDP from a tap")):
        for family in (4, 6):
            made = prefixes.make(family, n)
            with contextlib.ExitStack() as stack:
                lab = Lab(stack, build, folder, family, made)
                getattr(lab, f"build_{kind}s")()
                for wide in WIDE:
                    row = f"{name}, IPv{family}, {n} prefixes, {wide} destinations"
                    got = table.rounds(row, "ns of CPU",
                                       lambda stack, wide=wide, begin=getattr(lab, kind):
                                       begin(stack, wide), slices, TURNS, "lower")
                    table.added(row, "ns of CPU", got, "no filter")
