# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Random valid policies and packets that probe their edges.

    policy = RandomPolicy(random.Random(seed))
    policy.document          the policy as a dict; json.dumps() makes the text
    policy.packet()          (direction, protocol, address text, key, uid or None)
    policy.owned()           the same and the names that own the address
    policy.name()            a name to ask for

Each rule has the id r<index>.  What docs/policy.md leaves open is not
generated: the driver is to find disagreements about the text, not about gaps.
"""
import json
import math

from naming import Names
from prefixes import BUILT_IN, MAPPED, NAT64, Prefix, Prefixes, address_text

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
WORDS = sorted(NUMBERS)
PORT_WORDS = ["tcp", "udp", "sctp"]
OTHER_NUMBERS = [0, 1, 2, 4, 6, 17, 41, 47, 50, 58, 89, 103, 132, 253, 255]
# Numbers that an IPv6 packet reads as extension headers or as "no payload":
# no packet can carry them as its protocol.
NOT_IN_IPV6 = {0, 43, 44, 51, 59, 60, 135, 139, 140, 253, 254}
UIDS = [0, 1000, 1001, 65534, 4294967294]
HOT_PORTS = [1, 22, 53, 80, 443, 853, 5432, 8080, 32768, 65534, 65535]
PAST = ["1999-12-31", "2001-01-01T00:00:00Z", "2020-02-29", "2024-06-30T23:59:59Z"]
FUTURE = ["2090-01-01", "2099-12-31", "2100-02-28T12:00:00Z", "2150-06-30"]


class Aim:
    """Where a match is: what packet() needs to hit it or pass just beside it."""

    def __init__(self, prefixes, protocols, keys, uids, patterns=()):
        self.patterns = patterns    # texts of patterns of names
        self.prefixes = prefixes    # list of Prefix, empty: any address
        self.protocols = protocols  # list of numbers, None: every one
        self.keys = keys            # list of (low, high), None: every one
        self.uids = uids            # list of numbers, None: every flow


class RandomPolicy:
    def __init__(self, rng, now_matters=True, most_rules=1000, names=True):
        self.rng = rng
        self.size = min(most_rules, int(math.exp(rng.uniform(0, math.log(most_rules + 1)))))
        self.uids = rng.sample(UIDS, rng.randint(1, 3))
        self.allow_share = rng.choice([0.2, 0.5, 0.5, 0.8])
        # A rule for everything ends the list, so long lists seldom have one early.
        wide = rng.random() < 0.5
        self.prefixes = Prefixes(rng, wide, self.size)
        self.everything = min(0.08, 1 / self.size)
        self.everywhere = 0.06 if wide else min(0.06, 2 / self.size)
        self.now_matters = now_matters
        self.names = Names(rng, self.size) if names and rng.random() < 0.5 else None
        self.name_share = rng.choice([0.1, 0.4, 0.9])
        self.out_aims = []
        self.in_aims = []
        self.sets = {}
        self.empty_set = None
        self.document = {"sluice": 1, "name": "random", "default": rng.choice(["deny", "allow"])}
        if rng.random() < 0.3:
            self.document["on_deny"] = rng.choice(["reject", "drop"])
        self.resolvers = []
        if names:
            self._make_dns()
        self._make_sets()
        self.document["rules"] = [self._rule(index) for index in range(self.size)]
        self.name_aims = [aim for aim in self.out_aims if aim.patterns]
        self._make_inbound()
        self.in_share = 0.25 if self.in_aims else 0.04

    def text(self):
        return json.dumps(self.document, indent=1)

    # --- parts of a policy

    def _make_dns(self):
        rng = self.rng
        if not self.names and rng.random() >= 0.3:
            return
        found = {}
        for _ in range(rng.randint(1, 3)):
            prefix = self.prefixes.new()
            resolver = Prefix(prefix.family, rng.randint(prefix.first, prefix.last), prefix.width)
            if not resolver.written_as_v4():
                found[address_text(resolver.family, resolver.first)] = resolver
        if self.names and not found:
            found["192.0.2.53"] = Prefix.parse("192.0.2.53/32")
        if not found:
            return
        self.resolvers = list(found.values())
        dns = self.document["dns"] = {"resolvers": list(found)}
        if self.names:
            dns["search"] = self.names.domains
        if rng.random() < 0.4:
            dns["queries"] = rng.choice(["listed", "any"])
        if rng.random() < 0.2:
            dns["dot"] = rng.choice(["deny", "rules"])
        if rng.random() < 0.1:
            dns["types"] = rng.sample(["A", "AAAA", "TXT", "TYPE99"], rng.randint(1, 4))

    def _make_sets(self):
        rng = self.rng
        for number in range(rng.choice([0, 0, 1, 2, 4])):
            name = rng.choice(["hub", "ci.runners", "a-b", "z_9"]) + str(number)
            self.sets[name] = [self.prefixes.new() for _ in range(rng.randint(1, 8))]
        written = {name: [self._cidr(p) for p in members] for name, members in self.sets.items()}
        if rng.random() < 0.2:
            self.empty_set = "nothing"
            written[self.empty_set] = []
        if written:
            self.document["sets"] = written
        for name, members in BUILT_IN.items():
            self.sets[name] = [Prefix.parse(text) for text in members.split()]
        if self.resolvers:
            self.sets["resolvers"] = self.resolvers

    def _cidr(self, prefix):
        number = prefix.first
        if prefix.length == prefix.width:
            if self.rng.random() < 0.7:
                return address_text(prefix.family, number)
        elif self.rng.random() < 0.03:
            number = self.rng.randint(prefix.first, prefix.last)
            if Prefix(prefix.family, number, prefix.width).written_as_v4():
                number = prefix.first
        return f"{address_text(prefix.family, number)}/{prefix.length}"

    def _host(self, prefixes, narrow, patterns=None):
        """Text of one HOST; what it covers is added to prefixes or patterns.

        narrow: the match says more than where to, so a wide HOST is no waste.
        patterns: None where no name may stand.
        """
        rng = self.rng
        if self.names and patterns is not None and rng.random() < self.name_share:
            patterns.append(self.names.pattern())
            return patterns[-1]
        kind = rng.random()
        if kind < (self.everywhere if narrow else self.everything):
            return "any"
        if narrow and kind < 1.5 * self.everywhere:
            zero = Prefix(*rng.choice([(4, 0, 0), (6, 0, 0)]))
            prefixes.append(zero)
            return self._cidr(zero)
        if kind < 0.22:
            name = rng.choice(list(self.sets))
            prefixes.extend(self.sets[name])
            return "@" + name
        prefix = self.prefixes.new()
        prefixes.append(prefix)
        return self._cidr(prefix)

    def _port_ranges(self):
        rng = self.rng
        ranges = []
        for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
            low = rng.choice(HOT_PORTS) if rng.random() < 0.6 else rng.randint(1, 65535)
            high = low
            if rng.random() < 0.4:
                high = min(65535, low + rng.choice([0, 1, 5, 100, 5000, 65535]))
            ranges.append((low, high))
        return ranges

    def _port_text(self, low, high):
        return str(low) if low == high and self.rng.random() < 0.9 else f"{low}-{high}"

    def _ports_value(self, ranges):
        items = [low if low == high and self.rng.random() < 0.9 else f"{low}-{high}"
                 for low, high in ranges]
        return items[0] if len(items) == 1 and self.rng.random() < 0.5 else items

    def _shorthand(self, verdict):
        """(text, Aim)"""
        rng = self.rng
        form = rng.choice(["host", "host", "ports", "ports", "ports+word", "ports+word", "word",
                           "any"])
        ranges, word, protocols = None, "", None
        if form.startswith("ports"):
            ranges, protocols = self._port_ranges(), [6, 17]
        if form == "ports+word":
            word = rng.choice(PORT_WORDS)
        elif form == "word":
            word = rng.choice(WORDS)
        elif form == "any":
            word = "any"
        if word and word != "any":
            protocols = [NUMBERS[word]]
        # A deny by name takes no ports and no protocol.
        names = verdict == "allow" or form == "host"
        prefixes, patterns = [], [] if names else None
        text = self._host(prefixes, protocols is not None, patterns)
        if ranges:
            host = f"[{text}]" if text.count(":") > 1 else text
            text = host + ":" + ",".join(self._port_text(*r) for r in ranges)
        return text + ("/" + word if word else ""), \
            Aim(prefixes, protocols, ranges, None, patterns or ())

    def _protocol_and_keys(self, match):
        """Fill in protocol, ports, icmp; return (protocols, keys) for the Aim."""
        rng = self.rng
        form = rng.choice(["", "ports", "ports", "ports+word", "ports+word", "words", "number",
                           "icmp", "any"])
        if form == "":
            return None, None
        if form == "any":
            match["protocol"] = rng.choice(["any", ["any"], ["tcp", "any"]])
            return None, None
        if form == "icmp":
            word = rng.choice(["icmp", "icmpv6"])
            kind, code = rng.choice([0, 3, 8, 128, 129, 255]), rng.choice([None, 0, 1, 4, 255])
            match["protocol"] = word
            match["icmp"] = {"type": kind}
            if code is not None:
                match["icmp"]["code"] = code
            low = kind << 8 | (code or 0)
            return [NUMBERS[word]], [(low, low if code is not None else low | 255)]
        protocols, keys = [6, 17], None
        if form.startswith("ports"):
            keys = self._port_ranges()
            match["ports"] = self._ports_value(keys)
        if form == "ports+word":
            chosen = rng.sample(PORT_WORDS, rng.choice([1, 1, 2, 3]))
        elif form == "words":
            chosen = rng.sample(WORDS, rng.choice([1, 1, 2, 4]))
        elif form == "number":
            chosen = [rng.choice(OTHER_NUMBERS) if rng.random() < 0.7 else rng.randint(0, 255)
                      for _ in range(rng.choice([1, 1, 3]))]
            if rng.random() < 0.3:
                chosen.append(rng.choice(WORDS))
        else:
            return protocols, keys
        match["protocol"] = chosen[0] if len(chosen) == 1 and rng.random() < 0.7 else chosen
        return [NUMBERS.get(item, item) for item in chosen], keys

    def _mapping(self, where, verdict=None):
        """verdict: of a rule; None: the mapping is an inbound rule's."""
        rng = self.rng
        match = {where: None}
        protocols, keys = self._protocol_and_keys(match)
        uids = None
        if verdict and rng.random() < 0.2:
            uids = rng.sample(self.uids, rng.randint(1, len(self.uids)))
            match["uid"] = uids[0] if len(uids) == 1 and rng.random() < 0.7 else uids
        prefixes = []
        narrow = protocols is not None or uids is not None
        names = verdict == "allow" or (verdict == "deny" and len(match) == 1)
        patterns = [] if names else None
        hosts = [self._host(prefixes, narrow, patterns)
                 for _ in range(rng.choice([1, 1, 1, 2, 3, 6]))]
        match[where] = hosts[0] if len(hosts) == 1 and rng.random() < 0.6 else hosts
        return match, Aim([] if "any" in hosts else prefixes, protocols, keys, uids,
                          patterns or ())

    @staticmethod
    def _looks_at_servers(match, aims):
        """`sni` wants names, nothing else, and TCP."""
        hosts = match["to"] if isinstance(match, dict) else match
        hosts = hosts if isinstance(hosts, list) else [hosts]
        names = {p for aim in aims for p in aim.patterns}
        return bool(aims) and all(h.split("/")[0].split(":")[0] in names for h in hosts) and \
            all(aim.protocols is None or 6 in aim.protocols for aim in aims)

    def _rule(self, index):
        rng = self.rng
        verdict = "allow" if rng.random() < self.allow_share else "deny"
        rule = {}
        kind = rng.random()
        if kind < 0.35:
            rule[verdict], aim = self._shorthand(verdict)
            aims = [aim]
        elif kind < 0.5:
            pairs = [self._shorthand(verdict) for _ in range(rng.randint(1, 4))]
            rule[verdict], aims = [list(side) for side in zip(*pairs)]
        else:
            rule[verdict], aim = self._mapping("to", verdict)
            aims = [aim]
            if self.empty_set and rng.random() < 0.1:
                hosts = rule[verdict]["to"]
                hosts = hosts if isinstance(hosts, list) else [hosts]
                rule[verdict]["to"] = hosts + ["@" + self.empty_set]
                rule["empty"] = "ok"
        if self.empty_set and rng.random() < 0.02:
            rule = {verdict: "@" + self.empty_set, "empty": "ok"}
            aims = []
        rule["id"] = f"r{index}"
        if verdict == "allow" and any(a.patterns for a in aims) and rng.random() < 0.2:
            rule["resolves_to"] = "private"
        if verdict == "allow" and self._looks_at_servers(rule[verdict], aims) and rng.random() < 0.3:
            rule["sni"] = rng.choice(["verify", "verify", "observe", "off"])
        if self.now_matters and rng.random() < (0.15 if self.names else 0.08):
            past = rng.random() < 0.5 and self.size > 1
            rule["expires"] = rng.choice(PAST if past else FUTURE)
        if rng.random() < 0.05:
            rule["reason"] = "until the move"
        self.out_aims.extend(aims)
        return rule

    def _make_inbound(self):
        rng = self.rng
        form = rng.choice(["", "replies", "allow", "list", "list"])
        if form == "list":
            pairs = [self._mapping("from") for _ in range(rng.choice([1, 2, 5, 20]))]
            self.document["inbound"], self.in_aims = [list(side) for side in zip(*pairs)]
        elif form:
            self.document["inbound"] = form

    # --- packets

    def _edge(self, low, high, most):
        """First or last of a range, one step outside it now and then."""
        value = self.rng.choice((low, high))
        if self.rng.random() < 0.15:
            value += -1 if value == low else 1
        return min(max(value, 0), most)

    def _address(self, prefix, edge):
        rng = self.rng
        if edge:
            number = self._edge(prefix.first, prefix.last, (1 << prefix.width) - 1)
        else:
            number = rng.randint(prefix.first, prefix.last)
        if prefix.family == 6:
            return address_text(6, number), True
        form = rng.random()
        if form < 0.8:
            return address_text(4, number), False
        return address_text(6, (MAPPED if form < 0.9 else NAT64) | number), True

    def _key(self, protocol, keys, edge):
        rng = self.rng
        if protocol in (6, 17, 132):
            if keys:
                low, high = rng.choice(keys)
                return self._edge(low, high, 65535) if edge else rng.randint(low, high)
            return rng.choice(HOT_PORTS) if rng.random() < 0.5 else rng.randint(0, 65535)
        if protocol in (1, 58):
            if keys:
                low, high = rng.choice(keys)
                return self._edge(low, high, 65535) if edge else rng.randint(low, high)
            return rng.choice((0, 3, 8, 128, 129, 255)) << 8 | rng.choice((0, 0, 1, 4, 255))
        return 0

    def _protocol(self, protocols, v6):
        rng = self.rng
        if protocols and rng.random() < 0.95:
            protocol = rng.choice(protocols)
        elif rng.random() < 0.8:
            protocol = rng.choice((6, 6, 6, 17, 17, 58 if v6 else 1, 132))
        else:
            protocol = rng.choice(OTHER_NUMBERS)
        return 6 if v6 and protocol in NOT_IN_IPV6 else protocol

    def _uid(self, uids):
        rng = self.rng
        if uids and rng.random() < 0.5:
            return rng.choice(uids)
        return rng.choice((None, *UIDS) if rng.random() < 0.3 else (None, *self.uids))

    def _dns_packet(self):
        rng = self.rng
        prefix = rng.choice(self.resolvers)
        address, v6 = self._address(prefix, True)
        return "out", rng.choice((6, 17, 17, 132)), address, rng.choice((53, 53, 853, 54)), \
            self._uid(None)

    def packet(self):
        """One packet; half of them stand on the edge of something."""
        rng = self.rng
        if self.resolvers and rng.random() < 0.04:
            return self._dns_packet()
        inward = rng.random() < self.in_share
        aims = self.in_aims if inward else self.out_aims
        edge = rng.random() < 0.5
        if aims and rng.random() < 0.93:
            aim = rng.choice(aims)
        else:
            aim = Aim([], None, None, None)
        prefix = rng.choice(aim.prefixes or self.prefixes.made)
        address, v6 = self._address(prefix, edge)
        protocol = self._protocol(aim.protocols, v6)
        key = self._key(protocol, aim.keys, edge)
        if inward:
            return "in", protocol, address, key, None
        return "out", protocol, address, key, self._uid(aim.uids)

    # --- names

    def name(self):
        """A name to ask for."""
        aim = self.rng.choice(self.name_aims) if self.name_aims else None
        return self.names.name(self.rng.choice(aim.patterns) if aim else None)

    def owned(self):
        """A packet, mostly one that a rule by name is about, and its address's owners."""
        rng = self.rng
        packet = self.packet()
        owners = [self.name() for _ in range(rng.choice([1, 1, 1, 2, 3, 8]))]
        if self.name_aims and rng.random() < 0.8:
            aim = rng.choice(self.name_aims)
            owners[rng.randrange(len(owners))] = self.names.name(rng.choice(aim.patterns))
            direction, _, address, _, uid = packet
            protocol = self._protocol(aim.protocols, ":" in address)
            key = self._key(protocol, aim.keys, rng.random() < 0.5)
            packet = direction, protocol, address, key, \
                None if direction == "in" else self._uid(aim.uids) if aim.uids else uid
        return *packet, owners
