# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A naive reading of libvirt's network filters, packet by packet.

Written from libvirt's manual ("Network Filters", formatnwfilter.html) and from the
commands that its tests expect for each filter (tests/nwfilterxml2firewalldata); it
shares nothing with the C code.  A rule about packets becomes lines as iptables has
them, with source and destination; a packet walks them in order.  There are two
readings: `iptables` is what Debian 12's libvirt does; `nftables` is its later driver, and is
only asked about a flow's first packet.  Rules about frames walk the chains of ebtables.
"""
import ipaddress
import xml.etree.ElementTree as ElementTree

NUMBERS = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "esp": 50, "ah": 51, "icmp": 1,
           "icmpv6": 58, "igmp": 2}
QUERIES = {4: {8: 0, 13: 14, 15: 16, 17: 18}, 6: {128: 129, 139: 140}}
EVERY = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")


class Packet:
    """From the guest ("out") or to it ("in"), in a state of connection tracking."""

    def __init__(self, way, family, protocol, source, target, sport=0, dport=0, icmp=None,
                 state="NEW", answer=False):
        self.way, self.family, self.protocol = way, family, protocol
        self.source, self.target = source, target       # numbers
        self.sport, self.dport, self.icmp, self.state = sport, dport, icmp, state
        self.answer = answer        # of the side that did not open the flow


class Line:
    """One line of a table: what it wants of a packet, and what happens."""

    def __init__(self, verdict, states, answer, family, protocol, source, target, sport, dport,
                 icmp):
        self.verdict, self.states, self.family, self.protocol = verdict, states, family, protocol
        self.source, self.target, self.sport, self.dport = source, target, sport, dport
        self.icmp, self.answer = icmp, answer

    def holds(self, packet):
        def inside(span, value):
            return span is None or span[0] <= value <= span[1]
        if packet.family != self.family or packet.state not in self.states:
            return False
        if self.answer is not None and self.answer != packet.answer:
            return False
        if self.protocol is not None and self.protocol != packet.protocol:
            return False
        if self.icmp is not None:
            kind, code = self.icmp
            if packet.icmp is None or packet.icmp[0] != kind or code not in (None, packet.icmp[1]):
                return False
        return inside(self.source, packet.source) and inside(self.target, packet.target) and \
            inside(self.sport, packet.sport) and inside(self.dport, packet.dport)


def number(text):
    return int(text, 16) if text.startswith("0x") else int(text)


def span_of(element, side, family):
    kind = ipaddress.IPv4Network if family == 4 else ipaddress.IPv6Network
    address, mask = element.get(side + "ipaddr"), element.get(side + "ipmask")
    if address and address.startswith("$"):
        return None     # the guest's own addresses; its packets have no others
    if address:
        if mask and not mask.isdigit():
            bits = int(ipaddress.ip_address(mask))
            mask = bin(bits).count("1")
        network = kind(f"{address}/{mask}" if mask is not None else address, strict=False)
        return int(network.network_address), int(network.broadcast_address)
    if element.get(side + "ipfrom"):
        return tuple(int(ipaddress.ip_address(element.get(side + end))) for end in
                     ("ipfrom", "ipto"))
    return None


def ports_of(element, side):
    start, end = element.get(side + "portstart"), element.get(side + "portend")
    if start is None:
        return None
    return number(start), number(end if end is not None else start)


def lines_of(rule, element, driver):
    """[(way, Line)] of a rule about packets."""
    name = element.tag.removesuffix("-ipv6")
    family = 6 if element.tag.endswith("6") else 4
    protocol = None if name == "all" else NUMBERS[name]
    icmp = None
    if element.get("type") is not None:
        icmp = (number(element.get("type")),
                number(element.get("code")) if element.get("code") else None)
    source, target = span_of(element, "src", family), span_of(element, "dst", family)
    sport, dport = ports_of(element, "src"), ports_of(element, "dst")
    action, direction = rule.get("action"), rule.get("direction")
    verdict = "drop" if action in ("drop", "reject") else "pass"
    stateless = rule.get("statematch") in ("0", "false")
    states = tuple(element.get("state").split(",")) if element.get("state") else None
    found = []

    def line(way, which, swap=False, answer=None):
        a, b = (target, source) if swap else (source, target)
        x, y = (dport, sport) if swap else (sport, dport)
        found.append((way, Line(verdict, which, answer, family, protocol, a, b, x, y, icmp)))

    ways = ("out", "in") if direction == "inout" else (direction,)
    other = {"out": "in", "in": "out"}.get(direction)
    if states:
        for way in ways:
            line(way, states)
    elif action == "accept" and not stateless:
        for way in ways:
            if other is None and driver == "iptables":
                line(way, EVERY)
            else:
                line(way, ("NEW", "ESTABLISHED"), answer=False if icmp is None else None)
        if other and icmp is None:
            line(other, ("ESTABLISHED",), swap=True, answer=True)
    else:
        for way in ways:
            line(way, EVERY)
        if other and icmp is None and driver == "iptables":
            line(other, EVERY, swap=True)
    return found


# --- frames

HONEST = frozenset({"mac", "address", "arp-mac"})


def shipped():
    """libvirt's own filters: name -> [(chain, chain's priority, priority, ways, kinds,
    what the frame must have, action)] and the names they refer to."""
    out, both, into = ("out",), ("out", "in"), ("in",)
    ip4, ip6, arp, every = {"ip4"}, {"ip6"}, {"arp"}, {"ip4", "ip6", "arp", "other"}
    ipv4, ipv6 = ("ipv4", -700), ("ipv6", -600)
    none = frozenset()

    def need(*words):
        return frozenset(words)
    return {
        "no-mac-spoofing": ([("mac", -800, 500, out, every, need("mac"), "return"),
                             ("mac", -800, 500, out, every, none, "drop")], []),
        "no-ip-spoofing": ([("ipv4-ip", -710, 100, out, ip4, need("no-address-yet"), "return"),
                            ("ipv4-ip", -710, 500, out, ip4, need("address"), "return"),
                            ("ipv4-ip", -710, 1000, out, ip4, none, "drop")], []),
        "no-ipv6-spoofing": ([("ipv6-ip", -610, 100, out, ip6, need("no-address-yet"), "return"),
                              ("ipv6-ip", -610, 500, out, ip6, need("address"), "return"),
                              ("ipv6-ip", -610, 1000, out, ip6, none, "drop")], []),
        "no-arp-mac-spoofing": ([("arp-mac", -520, 350, out, arp, need("arp-mac"), "return"),
                                 ("arp-mac", -520, 1000, out, arp, none, "drop")], []),
        "no-arp-ip-spoofing": ([("arp-ip", -510, 400, out, arp, need("address"), "return"),
                                ("arp-ip", -510, 1000, out, arp, none, "drop")], []),
        "no-arp-spoofing": ([], ["no-arp-mac-spoofing", "no-arp-ip-spoofing"]),
        "allow-arp": ([("arp", -500, 500, both, arp, none, "accept")], []),
        "allow-ipv4": ([(*ipv4, 500, both, ip4, none, "accept")], []),
        "allow-ipv6": ([(*ipv6, 500, both, ip6, none, "accept")], []),
        "allow-incoming-ipv4": ([(*ipv4, 500, into, ip4, none, "accept")], []),
        "allow-incoming-ipv6": ([(*ipv6, 500, into, ip6, none, "accept")], []),
        "allow-dhcp": ([(*ipv4, 100, both, ip4, need("dhcp"), "accept")], []),
        "no-ip-multicast": ([(*ipv4, 500, out, ip4, need("multicast"), "drop")], []),
        "no-other-l2-traffic": ([("root", 0, 1000, both, every, none, "drop")], []),
        "clean-traffic": ([("root", 0, -650, out, ip4, none, "accept"),
                           ("root", 0, -500, both, arp, none, "accept")],
                          ["no-mac-spoofing", "no-ip-spoofing", "allow-incoming-ipv4",
                           "no-arp-spoofing", "no-other-l2-traffic"]),
    }


class Filter:
    def __init__(self, text, driver="iptables"):
        root = ElementTree.fromstring(text)
        rules = [rule for rule in root.findall("rule") if len(rule)]
        rules.sort(key=lambda rule: int(rule.get("priority", "500")))   # stable
        self.lines = {"out": [], "in": []}
        for rule in rules:
            for way, line in lines_of(rule, rule[0], driver):
                self.lines[way].append(line)
        self.rows = []
        for reference in root.findall("filterref"):
            self._refer(reference.get("filter"))
        for rule in root.findall("rule"):
            if not len(rule):
                ways = {"inout": ("out", "in")}.get(rule.get("direction"),
                                                    (rule.get("direction"),))
                self.rows.append(("root", 0, int(rule.get("priority", "500")), ways,
                                  {"ip4", "ip6", "arp", "other"}, frozenset(), rule.get("action")))

    def _refer(self, name):
        rows, references = shipped()[name]
        for reference in references:
            self._refer(reference)
        self.rows += rows

    def frame_passes(self, way, kind, has=HONEST):
        def holds(row):
            return way in row[3] and kind in row[4] and row[5] <= has
        steps = [(row[2], 1, row) for row in self.rows if row[0] == "root"]
        steps += [(priority, 0, name) for name, priority in
                  {(row[0], row[1]) for row in self.rows if row[0] != "root"}]
        for _, _, step in sorted(steps, key=lambda step: step[:2]):
            if isinstance(step, tuple):
                chain, verdicts = [step], {"return": "accept"}
            else:
                chain = sorted((row for row in self.rows if row[0] == step), key=lambda r: r[2])
                verdicts = {}
            for row in chain:
                if not holds(row):
                    continue
                verdict = verdicts.get(row[6], row[6])
                if verdict == "return":
                    break
                return verdict == "accept"
        return True

    def passes(self, packet):
        """Through both layers."""
        has = HONEST
        multicast = packet.target >> 28 == 0xe if packet.family == 4 else \
            packet.target >> 120 == 0xff
        if multicast and packet.way == "out":
            has = has | {"multicast"}
        if not self.frame_passes(packet.way, f"ip{packet.family}", has):
            return False
        for line in self.lines[packet.way]:
            if line.holds(packet):
                return line.verdict == "pass"
        return True


def state_of(family, protocol, icmp):
    """Of a flow's first packet."""
    if protocol == (1 if family == 4 else 58) and icmp[0] not in QUERIES[family]:
        return "INVALID"
    return "NEW"
