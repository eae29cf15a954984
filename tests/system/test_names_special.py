# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Rebinding (docs/names.md, "Never learned"): an allowed name that has an address of a special range. A
datagram to each of these is first shown to arrive where nobody watches."""
import contextlib
import fcntl
import os
import socket
import struct

import pytest

import dnsmsg
from dnslab import GOOD, NEVER, PRIVATE, SAYS, WEB, policy
from lab import sh, until
from lookuplab import learned_of, says

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")

watched = pytest.mark.parametrize("mode", ["run", "device"])
PORT = 7009
SIOCGIFINDEX = 0x8933
HERE = ["127.0.0.1", "::1", "::"]       # no frame leaves for these
GROUPS = ["224.0.0.5", "255.255.255.255", "ff02::5"]
OF_LINK = ["fe80::9", "ff02::5"]


@watched
@pytest.mark.parametrize("private", [False, True])
def test_special_addresses(dnslab, mode, private):
    """Never learned; with resolves_to: private those of private networks are. By the event's
    name: a learned destination has one, whether or not its ports are allowed."""
    rule = GOOD + (", resolves_to: private" if private else "")
    text = policy(rule)
    with dnslab.workload_of(mode, text, says(), watch=True) as agent:
        for to in PRIVATE + NEVER + [WEB[4], WEB[6]]:
            kind = dnsmsg.AAAA if ":" in to else dnsmsg.A
            dnslab.says.handler = lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, kind, to)])]
            asked = dnsmsg.query("x.good.example", kind).hex()
            got = agent.do("ask", to=SAYS[4], messages=[asked])
            assert got["reply"] and dnsmsg.read_addresses(bytes.fromhex(got["reply"][0])) == [to]
            agent.do("udp", to=to, port=9, no_reply=True)       # no rule: an event
        end = agent.do("udp", to="198.51.100.253", port=9, no_reply=True)
        named = learned_of(dnslab, mode, agent, "198.51.100.253")
    assert end["errno"] == ("EHOSTUNREACH" if mode == "run" else None)
    want = {WEB[4], WEB[6]} | (set(PRIVATE) if private else set())
    assert {a for a in named if a not in ("fe80::9",)} == want - {"fe80::9"}


class Arrivals:
    """Datagrams that sockets at each of the addresses have got."""

    def __init__(self, lab):
        self.lab, self.got, self.sockets = lab, set(), []
        for ns, v4, v6 in ((lab.peer, "0.0.0.0", "::"), (lab.workload, "127.0.0.1", "::1")):
            for family, address in ((socket.AF_INET, v4), (socket.AF_INET6, v6)):
                s = lab.socket(ns, family, socket.SOCK_DGRAM)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind((address, PORT))
                s.setblocking(False)
                self.sockets.append(s)
        self.join()

    def join(self):
        v4, v6 = self.sockets[:2]
        index, = struct.unpack("16xi20x", fcntl.ioctl(v4, SIOCGIFINDEX, struct.pack("16s24x", b"p0")))
        group = socket.inet_aton("224.0.0.5")
        v4.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                      struct.pack("4s4si", group, bytes(4), index))
        group = socket.inet_pton(socket.AF_INET6, "ff02::5")
        v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16si", group, index))

    def has(self, what):
        for s in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.got.add(s.recv(512).decode())
        return what in self.got


@pytest.fixture(name="arrivals")
def arrivals_of_test(dnslab):
    """The peer has each of the addresses."""
    routes = [to for to in PRIVATE + NEVER
              if to not in HERE + GROUPS + OF_LINK and not to.startswith("::ffff:1")]
    link = ["ip", "-n", dnslab.peer, "addr", "{}", "fe80::9/64", "dev", "p0"]
    made = Arrivals(dnslab)
    try:
        for to in routes:
            sh("ip", "-n", dnslab.peer, "route", "replace", "local", to, "dev", "lo")
        sh(*[word.format("add") for word in link], "nodad")
        yield made
    finally:
        for to in routes:
            sh("ip", "-n", dnslab.peer, "route", "del", "local", to, "dev", "lo", check=False)
        sh(*[word.format("del") for word in link], check=False)
        for s in made.sockets:
            s.close()


def sends(agent, arrivals, to, run, expected):
    """Does a datagram arrive? One to an address that is learned for good comes behind it, unless
    a neighbour is asked for first: what is expected is waited for."""
    there = to + "%w0" * (to in OF_LINK)
    agent.do("shout", to=there, port=PORT, data=f"{run} {to}")
    last = f"{run} after {to}"
    agent.do("shout", to=WEB[6 if ":" in to else 4], port=PORT, data=last)
    assert until(lambda: arrivals.has(last)), to
    return until(lambda: arrivals.has(f"{run} {to}"), 2) if expected else arrivals.has(f"{run} {to}")


@watched
@pytest.mark.parametrize("private", [False, True])
def test_rebinding_to_each(dnslab, arrivals, mode, private):
    rule = f'allow: "*.good.example:{PORT}"' + (", resolves_to: private" if private else "")
    every = [to for to in PRIVATE + NEVER if mode == "run" or to not in HERE]
    with dnslab.workload_of("none", "") as agent:
        arrived = {to for to in every if sends(agent, arrivals, to, "none", True)}
    assert arrived == set(every)
    want = set(PRIVATE) if private else set()
    with dnslab.workload_of(mode, policy(rule), says()) as agent:
        arrived = set()
        for to in [WEB[4], WEB[6], *every]:
            kind = dnsmsg.AAAA if ":" in to else dnsmsg.A
            dnslab.says.handler = lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, kind, to)])]
            asked = dnsmsg.query("x.good.example", kind).hex()
            assert agent.do("ask", to=SAYS[4], messages=[asked])["reply"]
            if to not in WEB.values() and sends(agent, arrivals, to, mode, to in want):
                arrived.add(to)
    assert arrived == want
