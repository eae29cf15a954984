# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a workload and its neighbours say to each other, as it should be said.

A conversation is a list of (direction, frame), "out" from the workload and "in" to it.
Whether the policy or the binding lets it is another matter: a World also knows
addresses that are not the workload's.
"""
import frame_builder as b
from frame_builder import ACK, FIN, PSH, RST, SYN
from prefixes import address_text

ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
QUERIES4, QUERIES6 = {8: 0, 13: 14, 15: 16, 17: 18}, {128: 129}
ERRORS4, ERRORS6 = (3, 3, 4, 5, 11, 12), (1, 1, 2, 3, 4)
HELD_FRAMES = 60                # that retransmissions, replies and ICMP errors look back at


def solicited(target):
    return b.ip("ff02::1:ff00:0")[:13] + target[13:]


def link_local(hardware):
    return b"\xfe\x80" + bytes(6) + bytes([hardware[0] ^ 2]) + hardware[1:3] + b"\xff\xfe" + \
        hardware[3:]


class World:
    """One workload, its binding, and the addresses around it."""

    def __init__(self, rng, policy):
        self.rng = rng
        self.policy = policy                    # generate.RandomPolicy: where to talk to
        self.mac = bytes([rng.choice((0x52, 0x52, 0x00, 0x56))]) + rng.randbytes(5)
        self.gateway_mac = b"\xfe\x54\0" + rng.randbytes(3)
        self.other_mac = b"\x52\x54\0" + rng.randbytes(3)
        self.net4 = bytes([192, 168, rng.randrange(256)])
        self.net6 = b.ip("2001:db8::")[:6] + rng.randbytes(2)
        self.mine4 = [self.net4 + bytes([rng.randrange(1, 255)]) for _ in range(2)]
        self.mine6 = [self.net6 + bytes(4) + rng.randbytes(4) for _ in range(2)]
        self.other4 = self.net4 + bytes([rng.randrange(256)])
        self.other6 = self.net6 + bytes(4) + rng.randbytes(4)
        self.link = link_local(self.mac)
        self.router_link = link_local(self.gateway_mac)
        self.server = self.net4 + b"\x01"
        self.history = []

    def binding(self):
        """(mac text or None, address texts or None) for this workload."""
        rng = self.rng
        hardware = self.mac.hex(":") if rng.random() < 0.7 else None
        form = rng.choice(("any", "given", "given", "given", "dhcp", "dhcp+", "wide"))
        if form == "any":
            return hardware, None
        if form == "dhcp":
            return hardware, ["dhcp", *self._network()]
        addresses = [self._text(a) for a in self.mine4[:rng.choice((0, 1, 1, 2, 2))]]
        addresses += [self._text(a) for a in self.mine6[:rng.choice((0, 1, 1, 2, 2))]]
        if form == "wide":
            addresses += rng.choice((["0.0.0.0/0"], ["::/0"], ["0.0.0.0/0", "::/0"],
                                     [self._text(self.net4 + bytes(1)) + "/27"],
                                     [self._text(self.net6 + bytes(8)) + "/97"],
                                     [self._text(a) for a in self._many(4)],
                                     [self._text(a) for a in self._many(16)]))
        if form == "dhcp+" or not addresses:
            addresses.append("dhcp")
        return hardware, addresses + self._network()

    def _network(self):
        """What the host knows of the network, if it does: its prefix (or another one), and
        addresses that are taken, enough of them for several chunks."""
        rng = self.rng
        if rng.random() < 0.4:
            return []
        net = self._text(self.net4 + bytes(1))
        known = [f"net:{net}/24"] if rng.random() < 0.8 else ["net:203.0.113.0/25", f"net:{net}/25"]
        taken = [self.server, self.net4 + rng.randbytes(1), *(rng.randbytes(4) for _ in range(20))]
        if rng.random() < 0.3:
            taken.append(self.mine4[0])
        return known + [f"host:{self._text(a)}" for a in taken[:rng.choice((1, 2, 9, 23))]]

    def _many(self, size):
        """As many addresses of a family as fit beside the given ones."""
        most, net = (14, self.net4) if size == 4 else (5, self.net6)
        return [net + self.rng.randbytes(size - len(net)) for _ in range(most)]

    @staticmethod
    def _text(address):
        return address_text(4 if len(address) == 4 else 6, int.from_bytes(address, "big"))

    # --- addresses and frames

    def me(self, family):
        rng = self.rng
        kind = rng.random()
        mine = self.mine4 if family == 4 else self.mine6
        if kind < 0.80:
            return mine[0]
        if kind < 0.93:
            return mine[1] if family == 4 or kind < 0.86 else self.link
        return self.other4 if family == 4 else self.other6

    def sent(self, source, destination, protocol, payload, **options):
        group = destination[0] == 255 or len(destination) == 4 and 224 <= destination[0] < 240
        to = b.dst_multicast(destination) if group else self.gateway_mac
        if destination == b"\xff" * 4:
            to = b.BROADCAST
        return "out", b.packet(source, destination, protocol, payload, (self.mac, to), **options)

    def received(self, source, destination, protocol, payload, **options):
        group = destination[0] == 255 or len(destination) == 4 and 224 <= destination[0] < 240
        to = b.dst_multicast(destination) if group else self.mac
        return "in", b.packet(source, destination, protocol, payload, (self.gateway_mac, to),
                              **options)

    def said(self, mine, me, peer, protocol, payload, **options):
        """By the workload if mine, else by its peer."""
        if mine:
            return self.sent(me, peer, protocol, payload, **options)
        return self.received(peer, me, protocol, payload, **options)

    def payload(self):
        kind = self.rng.random()
        if kind < 0.5:
            return b""
        if kind < 0.95:
            return self.rng.randbytes(self.rng.randrange(64))
        return self.rng.randbytes(self.rng.choice((512, 1400, self.rng.randrange(1440))))

    def note(self, step):
        self.history.append(step)
        if len(self.history) > HELD_FRAMES:
            del self.history[:HELD_FRAMES // 2]

    # --- flows to where the policy's rules are

    def flow(self):
        """A conversation with a destination on some rule's edge, or from one."""
        direction, protocol, remote, key, _ = self.policy.packet()
        peer = b.ip(remote)
        me = self.me(4 if len(peer) == 4 else 6)
        mine = direction == "out"
        icmp = 1 if len(peer) == 4 else 58
        if protocol == 6:
            return self.tcp(mine, me, peer, key)
        if protocol == 17:
            return self.udp(mine, me, peer, key)
        if protocol == icmp:
            return self.icmp(mine, me, peer, key >> 8, key & 255)
        return self.plain(mine, me, peer, protocol, key)

    def ports(self, mine, key):
        """(my port, the peer's): the opener's is any, the other one the key."""
        opener = self.rng.choice((40000, 40001, 53, 67, 68, 547, self.rng.randrange(65536)))
        return (opener, key) if mine else (key, opener)

    def tcp(self, mine, me, peer, key):
        rng = self.rng
        my_port, port = self.ports(mine, key)
        sequence = {True: rng.getrandbits(32), False: rng.getrandbits(32)}
        steps = []

        def say(whose, flags, payload=b"", options=b""):
            ends = (my_port, port) if whose else (port, my_port)
            acknowledged = sequence[not whose] if flags & ACK else 0
            segment = b.tcp(*ends, flags, sequence[whose], acknowledged, payload, options)
            steps.append(self.said(whose, me, peer, 6, segment))
            sequence[whose] += len(payload) + bool(flags & (SYN | FIN))

        say(mine, SYN, options=rng.choice((b"", b"\2\4\5\xb4")))
        say(not mine, SYN | ACK)
        say(mine, ACK)
        for _ in range(rng.choice((0, 1, 1, 3))):
            say(rng.random() < 0.5, ACK | rng.choice((0, PSH)), self.payload())
        ending = rng.choice(("fin", "reset", "again", "open"))
        if ending == "reset":
            say(rng.random() < 0.5, RST | rng.choice((0, ACK)))
        if ending in ("fin", "again"):
            first = rng.random() < 0.5
            say(first, FIN | ACK)
            say(not first, FIN | ACK)
            say(first, ACK)
        if ending == "again" or rng.random() < 0.1:
            say(mine if rng.random() < 0.8 else not mine, SYN)
            say(not mine, SYN | ACK)
        return steps

    def udp(self, mine, me, peer, key):
        my_port, port = self.ports(mine, key)
        steps = []
        for turn in range(self.rng.randint(1, 5)):
            whose = mine if turn == 0 else self.rng.random() < 0.5
            ends = (my_port, port) if whose else (port, my_port)
            steps.append(self.said(whose, me, peer, 17, b.udp(*ends, self.payload())))
        return steps

    def icmp(self, mine, me, peer, kind, code):
        """A query with its answer, or whatever the rule is about; now and then the answer first."""
        rng = self.rng
        family4 = len(me) == 4
        answers = QUERIES4 if family4 else QUERIES6
        number = 1 if family4 else 58
        identifier = rng.choice((1, 2, rng.getrandbits(16)))
        if kind not in answers and rng.random() < 0.5:
            kind, code = rng.choice(list(answers)), 0
        turns = [(mine, kind, code), (not mine, answers.get(kind, kind), code if kind
                                      not in answers else 0)]
        turns += [(rng.random() < 0.5, rng.choice((kind, answers.get(kind, kind))), code)
                  for _ in range(rng.choice((0, 0, 1, 2)))]
        if rng.random() < 0.1:
            turns.reverse()
        return [self.said(whose, me, peer, number, b.echo(what, identifier, turn, self.payload(),
                                                          which))
                for turn, (whose, what, which) in enumerate(turns)]

    def plain(self, mine, me, peer, protocol, key):
        """SCTP with its ports, or a protocol that has none."""
        steps = []
        ends = self.ports(mine, key)
        for turn in range(self.rng.randint(1, 3)):
            whose = mine if turn == 0 else self.rng.random() < 0.5
            payload = self.payload()
            if protocol == 132:
                payload = b.sctp(*(ends if whose else ends[::-1]), payload)
            steps.append(self.said(whose, me, peer, protocol, payload))
        return steps

    # --- what refers to earlier frames

    def error(self):
        """An ICMP error that quotes a frame which went the other way."""
        rng = self.rng
        direction, frame = rng.choice(self.history)
        if len(frame) < 54 or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            return []
        family4 = frame[12:14] == b"\x08\x00"
        source, destination = (frame[26:30], frame[30:34]) if family4 else \
            (frame[22:38], frame[38:54])
        size = (28 if family4 else 48) + rng.choice((0, 0, 0, 20, 500, -1))
        message = b.icmp(rng.choice(ERRORS4 if family4 else ERRORS6), rng.choice((0, 1, 3, 4, 13)),
                         payload=frame[14:14 + size])
        protocol = 1 if family4 else 58
        reporter = destination if rng.random() < 0.6 else self.server if family4 else \
            self.net6 + bytes(7) + b"\x01"
        if rng.random() < 0.05:
            source = self.other4 if family4 else self.other6
        if direction == "out":
            return [self.received(reporter, source, protocol, message)]
        if rng.random() < 0.8:
            reporter = destination
        return [self.sent(reporter, source, protocol, message)]

    # --- the link

    def arp(self):
        rng = self.rng
        mine = rng.choice((*self.mine4, self.mine4[0], self.other4, bytes(4)))
        peer = rng.choice((self.server, self.other4, mine))
        ask = self.mac if rng.random() < 0.93 else self.other_mac
        padding = rng.choice((b"", b"", b"", bytes(18), bytes(18), bytes(19), bytes(17) + b"\1",
                              b"\1" + bytes(3), bytes(5)))
        if mine == bytes(4):        # a probe
            peer = rng.choice((*self.mine4, self.other4))
        out = b.ethernet(self.mac, b.BROADCAST, 0x0806,
                         b.arp(1, ask, mine, bytes(6), peer) + padding)
        back = b.ethernet(self.gateway_mac, self.mac, 0x0806,
                          b.arp(2, self.gateway_mac, peer, self.mac, mine))
        asked = b.ethernet(self.gateway_mac, b.BROADCAST, 0x0806,
                           b.arp(1, self.gateway_mac, rng.choice((peer, mine)), bytes(6), mine))
        answer = b.ethernet(self.mac, self.gateway_mac, 0x0806,
                            b.arp(2, ask, mine, self.gateway_mac, peer))
        return [("out", out), ("in", back), ("in", asked), ("out", answer)]

    def neighbours(self):
        """Solicitations and advertisements, both ways, and duplicate address detection."""
        rng = self.rng
        mine = rng.choice((*self.mine6, self.mine6[0], self.link, self.other6))
        peer = rng.choice((self.router_link, self.other6))
        my_option, own = b.option(1, self.mac), b.option(2, self.mac)
        nonce = b.option(rng.choice((14, 14, 14, 14, 13, 200)), rng.choice((b"nonce!", b"nonce!",
                                                                            self.mac, b"n" * 14)))

        def out(source, destination, message):
            return self.sent(source, destination, 58, message, hop_limit=255)

        def come(destination, message):
            return self.received(peer, destination, 58, message, hop_limit=255)

        return [out(bytes(16), solicited(mine), b.neighbour(135, mine, rng.choice((b"", nonce)))),
                out(mine, solicited(peer), b.neighbour(135, peer, my_option + nonce)),
                come(mine, b.neighbour(136, peer, b.option(2, self.gateway_mac))),
                out(mine, peer, b.neighbour(135, peer, rng.choice((b"", my_option, nonce)))),
                come(solicited(mine), b.neighbour(135, mine, b.option(1, self.gateway_mac))),
                out(mine if rng.random() < 0.9 else bytes(16),
                    rng.choice((peer, b.ip(ALL_NODES))), b.neighbour(136, mine, rng.choice((own, own, own, nonce))))]

    def routers(self):
        rng = self.rng
        source = rng.choice((self.link, self.link, bytes(16), self.other6))
        ask = b.icmp(133, 0, payload=b.option(1, self.mac) if any(source) else b"")
        tell = b.icmp(134, 0, payload=bytes(8) + rng.choice((b"", b.option(1, self.gateway_mac))))
        return [self.sent(source, b.ip(ALL_ROUTERS), 58, ask, hop_limit=255),
                self.received(rng.choice((self.router_link, self.other6)), b.ip(ALL_NODES), 58,
                              tell, hop_limit=255),
                self.sent(self.link, b.ip(ALL_NODES), 58, rng.choice((tell, ask)), hop_limit=255),
                self.received(self.router_link, self.link, 58, b.icmp(rng.choice((133, 137))),
                              hop_limit=255),
                *self.routing()]

    def routing(self):
        """Both ways: what routers and hosts say in IGMP, PIM, ICMP 5 and 9, ICMPv6 151 to 153."""
        rng = self.rng
        igmp = bytes([rng.choice((0x11, 0x12, 0x13, 0x16, 0x17, 0x22, 0x30))]) + bytes(7)
        said4 = rng.choice(((2, igmp), (2, igmp), (2, b""), (103, b"\x20" + bytes(7)),
                            (1, b.icmp(rng.choice((5, 9, 10)), payload=bytes(8)))))
        said6 = rng.choice(((103, b"\x20" + bytes(7)), (2, igmp),
                            (58, b.icmp(rng.randint(150, 154), payload=bytes(8)))))
        return [self.said(rng.random() < 0.7, rng.choice(self.mine4), rng.choice(
                    (b.ip("224.0.0.1"), b.ip("224.0.0.13"), self.other4)), *said4),
                self.said(rng.random() < 0.7, self.link, rng.choice(
                    (b.ip(ALL_NODES), b.ip("ff02::d"), self.other6)), *said6)]

    def listeners(self):
        """Multicast listener queries and reports, with the router alert that they carry."""
        rng = self.rng
        source = rng.choice((self.link, self.link, bytes(16), self.other6))
        kind = rng.choice((131, 132, 143))
        group = b.ip(rng.choice(("ff02::16", "ff05::2", "ff05::2")))
        report = b.extension(58) + b.icmp(kind, 0, bytes(4), group)
        query = b.extension(58) + b.icmp(130, payload=bytes(16))
        return [self.received(rng.choice((self.router_link, self.other6)), b.ip(ALL_NODES), 0,
                              query, hop_limit=1),
                self.sent(source, rng.choice((group, b.ip("ff02::16"), b.ip(ALL_ROUTERS),
                                              b.ip("ff05::2"))), 0, report, hop_limit=1),
                self.received(self.router_link, b.ip("ff02::16"), 0, report, hop_limit=1)]

    def dhcp(self):
        rng = self.rng
        transaction, your = rng.getrandbits(32), rng.choice(self.mine4)
        lease = (51, rng.choice((60, 3600, 86400, 0xffffffff)).to_bytes(4, "big"))
        more = [(55, b"\1\3\6"), (12, b"guest")][:rng.randrange(3)]
        server = rng.choice((self.server, self.server, self.other4))

        def message(operation, options, *address, **keys):
            """Now and then another's, a relay's, or cut at its least length."""
            hardware = self.mac if rng.random() < 0.95 else self.other_mac
            if rng.random() < 0.03:
                keys["relay"] = self.other4
            whole = b.dhcp(operation, transaction, hardware, options, *address, **keys)
            return whole if rng.random() < 0.95 else whole[:rng.choice((239, 240))]

        def out(kind, source=bytes(4), destination=b"\xff" * 4, **keys):
            return self.sent(source, destination, 17,
                             b.udp(68, 67, message(1, b.dhcp_type(kind, *more), **keys)))

        def back(kind, *options, address=your):
            pads = bytes(rng.choice((0, 0, 0, 3, 22, 23, 24)))
            return self.received(server, rng.choice((address, b"\xff" * 4)), 17, b.udp(
                67, 68, message(2, pads + b.dhcp_type(kind, *options), address)))

        if rng.random() < 0.3:      # restored: it asks for what it had
            had = rng.choice((your, self.other4, self.server, rng.randbytes(4)))
            client = had if rng.random() < 0.8 else bytes(4)
            target = b"\xff" * 4 if rng.random() < 0.8 else server
            return [out(rng.choice((3, 3, 3, 1, 8)), had, target, client=client),
                    back(5, lease, address=had), self.sent(had, self.other4, 17,
                                                           b.udp(40000, 443, b"x" * 8))]
        steps = [out(1), back(2, lease), out(3), back(5, lease, *more)]
        ending = rng.choice(("", "", "renew", "inform", "release", "decline", "nak", "timeless"))
        if ending == "renew":
            steps += [out(3, your, server), back(5, lease)]
        elif ending == "inform":
            steps += [out(8, your), back(5, address=bytes(4)), out(3, your, server)]
        elif ending == "release":
            steps.append(out(7, your, server))
        elif ending == "decline":
            steps.append(out(4))
        elif ending == "nak":
            steps += [out(3), back(6, address=bytes(4))]
        elif ending == "timeless":
            steps += [out(3), back(5)]
        return steps

    def dhcp6(self):
        rng = self.rng
        transaction = rng.randbytes(3)
        servers = b.ip("ff02::1:2")

        def out(kind, source=None):
            return self.sent(source or self.link, servers, 17,
                             b.udp(546, 547, bytes([kind]) + transaction + b"\0\1\0\2ab"))

        def back(kind):
            source = self.router_link if rng.random() < 0.9 else self.other6
            return self.received(source, self.link, 17,
                                 b.udp(547, 546, bytes([kind]) + transaction))

        return [out(1), back(2), out(3, rng.choice((self.link, self.mine6[0], self.other6))),
                back(7)]

    KINDS = ["flow"] * 36 + ["error"] * 4 + ["arp", "neighbours", "neighbours", "routers",
                                             "listeners", "dhcp", "dhcp", "dhcp6"]

    def conversation(self):
        kind = self.rng.choice(self.KINDS)
        if kind == "error" and not self.history:
            kind = "flow"
        return getattr(self, kind)()
