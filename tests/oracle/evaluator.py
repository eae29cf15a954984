# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A naive first-match reading of docs/policy.md, written from that text alone.

It shares nothing with the C code on purpose: where the two disagree, one of
them misreads the text.  Policies arrive as the dict that the JSON stands for.
Includes, set files, names and the sets that depend on the machine (@host,
@gateway, @subnet) are outside its reach and raise PolicyError.
"""
import datetime
import re
import socket
import time

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
WITH_PORTS = {6, 17, 132}
WITH_ICMP = {1, 58}

BUILT_IN = {
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                "169.254.0.0/16", "fc00::/7", "fe80::/10"],
    "metadata": ["169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16",
                 "100.100.100.200", "fd00:ec2::254"],
    "loopback": ["127.0.0.0/8", "::1"],
    "link-local": ["169.254.0.0/16", "fe80::/10"],
    "multicast": ["224.0.0.0/4", "ff00::/8"],
}
OF_THE_MACHINE = {"gateway", "subnet", "host", "resolvers"}


class PolicyError(Exception):
    """The text says that this policy is an error, or it is out of reach here."""


# --- addresses -------------------------------------------------------------

def parse_address(text):
    """(family, number) of an address in text; family is 4 or 6."""
    try:
        if ":" in text:
            return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except OSError:
        raise PolicyError(f"not an address: {text!r}") from None


def parse_cidr(text):
    """(family, first, last) of an address or CIDR; host bits are masked."""
    address, slash, length = text.partition("/")
    family, number = parse_address(address)
    width = 32 if family == 4 else 128
    if not slash:
        length = str(width)
    if not length.isdigit() or int(length) > width:
        raise PolicyError(f"not a prefix length: {text!r}")
    span = 1 << (width - int(length))
    first = number - number % span
    return family, first, first + span - 1


def _block(text):
    return parse_cidr(text)[1:]


JUDGED_AS_V4 = [_block("::ffff:0:0/96"), _block("64:ff9b::/96")]
EMBEDDED = [_block("64:ff9b:1::/48"), _block("2002::/16"), _block("2001::/32")]

# A flow's address lives in one realm: IPv4, IPv6, or one of the embedding
# blocks, which only HOSTs inside the block reach.
V4, V6, FIRST_EMBEDDED = 0, 1, 2


def inside(first, last, block):
    return block[0] <= first and last <= block[1]


def locate(text):
    """(realm, number) of a flow's address."""
    family, number = parse_address(text)
    if family == 4:
        return V4, number
    for block in JUDGED_AS_V4:
        if block[0] <= number <= block[1]:
            return V4, number & 0xffffffff
    for which, block in enumerate(EMBEDDED):
        if block[0] <= number <= block[1]:
            return FIRST_EMBEDDED + which, number
    return V6, number


def parse_host_cidr(text):
    """A CIDR where a rule or set may write one: not in the blocks judged as IPv4."""
    cidr = parse_cidr(text)
    if cidr[0] == 6 and any(inside(cidr[1], cidr[2], block) for block in JUDGED_AS_V4):
        raise PolicyError(f"write the IPv4 form of {text!r}")
    return cidr


ANY = "any"


def reach(host, realm):
    """The (first, last) that one HOST covers within a realm, or None."""
    if host == ANY:
        return (0, (1 << 128) - 1) if realm in (V4, V6) else None
    family, first, last = host
    if realm == V4:
        return (first, last) if family == 4 else None
    if family == 4:
        return None
    if realm >= FIRST_EMBEDDED and not inside(first, last, EMBEDDED[realm - FIRST_EMBEDDED]):
        return None
    return first, last


# --- matches ---------------------------------------------------------------

class Match:
    """One HOST list with what goes with it; a rule holds one or several."""

    def __init__(self, hosts, protocols, keys, uids):
        self.hosts = hosts          # list of ANY or (family, first, last)
        self.protocols = protocols  # set of numbers, None: every one
        self.keys = keys            # list of (low, high) of port or icmp key, None: every one
        self.uids = uids            # set of numbers, None: every flow


def as_list(value):
    return value if isinstance(value, list) else [value]


def only_keys(mapping, allowed, what):
    unknown = set(mapping) - set(allowed.split())
    if unknown:
        raise PolicyError(f"unknown or unsupported key in {what}: {sorted(unknown)}")


def parse_port(item):
    if isinstance(item, int):
        low = high = item
    else:
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
        if not found:
            raise PolicyError(f"not a port: {item!r}")
        low = int(found[1])
        high = int(found[2] or found[1])
    if not 1 <= low <= high <= 65535:
        raise PolicyError(f"not a port: {item!r}")
    return low, high


def parse_protocols(value):
    """Set of numbers; None if `any` is among them."""
    numbers = set()
    for item in as_list(value):
        if item == "any":
            return None
        number = PROTOCOLS.get(item) if isinstance(item, str) else item
        if number is None or not 0 <= number <= 255:
            raise PolicyError(f"not a protocol: {item!r}")
        numbers.add(number)
    return numbers


def parse_icmp(value):
    only_keys(value, "type code", "icmp")
    low = value["type"] << 8
    return (low, low | 255) if "code" not in value else (low | value["code"],) * 2


def make_match(hosts, ports=None, protocol=None, icmp=None, uid=None):
    """ports: list of (low, high); the other arguments as the policy writes them."""
    protocols = None if protocol is None else parse_protocols(protocol)
    keys = None
    if ports is not None:
        if protocol is None:
            protocols = {6, 17}
        if protocols is None or not protocols <= WITH_PORTS:
            raise PolicyError("ports go with tcp, udp and sctp only")
        keys = ports
    if icmp is not None:
        if keys is not None or protocols is None or not protocols <= WITH_ICMP:
            raise PolicyError("icmp goes with icmp and icmpv6 only")
        keys = [parse_icmp(icmp)]
    return Match(hosts, protocols, keys, None if uid is None else set(as_list(uid)))


def split_shorthand(text):
    """HOST[:PORTS][/PROTO] -> (host, ports or None, protocol or None)."""
    protocol = None
    head, slash, word = text.rpartition("/")
    if slash and not word[:1].isdigit():
        text, protocol = head, word
        if protocol != "any" and protocol not in PROTOCOLS:
            raise PolicyError(f"not a protocol word: {protocol!r}")
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if not rest.startswith(":"):
            raise PolicyError(f"a port belongs after the bracket: {text!r}")
        return host, rest[1:], protocol
    if text.count(":") > 1:
        return text, None, protocol
    host, colon, ports = text.partition(":")
    return host, ports if colon else None, protocol


# --- policies --------------------------------------------------------------

def parse_expiry(text, first_effect):
    """Unix time from which the rule is passed over; None: not known to end."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found:
        unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
        return None if first_effect is None else first_effect + int(found[1]) * unit
    form = "%Y-%m-%dT%H:%M:%SZ" if "T" in text else "%Y-%m-%d"
    moment = datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc)
    if "T" not in text:
        moment += datetime.timedelta(days=1)
    return moment.timestamp()


class Policy:
    """A policy read once; decide() answers for one flow.

    now: Unix time of the decisions (default: the present).
    first_effect: Unix time from which expiry durations run (default: they do
    not end).
    """

    def __init__(self, document, now=None, first_effect=None):
        if document.get("sluice") != 1:
            raise PolicyError("sluice: 1 is required")
        only_keys(document, "sluice name mode default on_deny dns inbound sets rules tests",
                  "policy")
        self.now = time.time() if now is None else now
        self.first_effect = first_effect
        self.default = document.get("default", "deny")
        self.resolvers = None
        if document.get("dns") is not None:
            only_keys(document["dns"], "resolvers", "dns")
            self.resolvers = {locate(a) for a in document["dns"].get("resolvers", [])}
        self.sets = self._read_sets(document)
        self.ids = []
        self.verdicts = []
        self.rules = []             # list of Match per rule, None: expired
        for rule in document.get("rules") or []:
            self._read_rule(rule)
        if len(set(self.ids) - {None}) != sum(i is not None for i in self.ids):
            raise PolicyError("an id is used twice")
        self.inbound = document.get("inbound", "replies")
        self.entries = None
        if isinstance(self.inbound, list):
            self.entries = [[self._read_entry(entry)] for entry in self.inbound]
        self._candidates = {}

    def _read_sets(self, document):
        texts = dict(BUILT_IN)
        if self.resolvers is not None and document["dns"].get("resolvers"):
            texts["resolvers"] = document["dns"]["resolvers"]
        for name, items in (document.get("sets") or {}).items():
            if name in BUILT_IN or name in OF_THE_MACHINE:
                raise PolicyError(f"a built-in set's name: {name}")
            if not isinstance(items, list):
                raise PolicyError("set files are out of reach here")
            texts[name] = items
        return {name: [parse_host_cidr(t) for t in items] for name, items in texts.items()}

    def _hosts(self, value, empty_ok):
        hosts = []
        for text in as_list(value):
            if text == "any":
                hosts.append(ANY)
            elif text.startswith("@"):
                members = self.sets.get(text[1:])
                if members is None:
                    raise PolicyError(f"unknown set {text}")
                if not members and not empty_ok:
                    raise PolicyError(f"empty set {text}")
                hosts.extend(members)
            else:
                hosts.append(parse_host_cidr(text))
        return hosts

    def _read_mapping(self, match, empty_ok):
        only_keys(match, "to ports protocol icmp uid", "match")
        ports = match.get("ports")
        return make_match(self._hosts(match["to"], empty_ok),
                          None if ports is None else [parse_port(p) for p in as_list(ports)],
                          match.get("protocol"), match.get("icmp"), match.get("uid"))

    def _read_shorthand(self, text, empty_ok):
        host, ports, protocol = split_shorthand(text)
        return make_match(self._hosts(host, empty_ok),
                          None if ports is None else [parse_port(p) for p in ports.split(",")],
                          protocol)

    def _read_rule(self, rule):
        only_keys(rule, "allow deny id reason expires empty", "rule")
        if ("allow" in rule) == ("deny" in rule):
            raise PolicyError("a rule has exactly one of allow and deny")
        verdict = "allow" if "allow" in rule else "deny"
        empty_ok = rule.get("empty") == "ok"
        match = rule[verdict]
        if isinstance(match, dict):
            matches = [self._read_mapping(match, empty_ok)]
        else:
            matches = [self._read_shorthand(text, empty_ok) for text in as_list(match)]
        if "expires" in rule:
            end = parse_expiry(rule["expires"], self.first_effect)
            if end is not None and self.now >= end:
                matches = None
        self.ids.append(rule.get("id"))
        self.verdicts.append(verdict)
        self.rules.append(matches)

    def _read_entry(self, entry):
        only_keys(entry, "from ports protocol icmp", "inbound rule")
        match = {"to": entry["from"]}
        match.update((key, entry[key]) for key in ("ports", "protocol", "icmp") if key in entry)
        return self._read_mapping(match, False)

    def _list_for(self, direction, realm, protocol):
        """What can match at all for a realm and protocol, in the order written.

        Only for speed: the address, key and uid are still tried one by one.
        """
        rules = self.rules if direction == "out" else self.entries
        found = []
        for index, matches in enumerate(rules):
            for match in matches or []:
                if match.protocols is not None and protocol not in match.protocols:
                    continue
                for host in match.hosts:
                    span = reach(host, realm)
                    if span:
                        found.append((*span, match.keys, match.uids, index))
        return found

    def _first_match(self, direction, realm, number, protocol, key, uid):
        which = direction, realm, protocol
        candidates = self._candidates.get(which)
        if candidates is None:
            candidates = self._candidates[which] = self._list_for(*which)
        for first, last, keys, uids, index in candidates:
            if not first <= number <= last:
                continue
            if uids is not None and uid not in uids:
                continue
            if keys is None:
                return index
            for low, high in keys:
                if low <= key <= high:
                    return index
        return None

    def _decide_in(self, realm, number, protocol, key):
        if self.inbound == "allow":
            return "allow", None, "inbound"
        if self.inbound == "replies":
            return "deny", None, "unsolicited"
        index = self._first_match("in", realm, number, protocol, key, None)
        if index is not None:
            return "allow", index, "rule"
        return "deny", None, "unsolicited"

    def decide(self, direction, protocol, address, key, uid=None):
        """(verdict, rule or inbound index or None, cause) of a new flow."""
        realm, number = locate(address)
        if direction == "in":
            return self._decide_in(realm, number, protocol, key)
        if self.resolvers is not None and protocol in (6, 17) and key in (53, 853):
            if key == 53 and (realm, number) in self.resolvers:
                return "allow", None, "dns-resolver"
            return "deny", None, "dns-gate"
        index = self._first_match("out", realm, number, protocol, key, uid)
        if index is not None:
            return self.verdicts[index], index, "rule"
        if realm >= FIRST_EMBEDDED:
            return "deny", None, "embedded"
        return self.default, None, "default"

    def answer(self, direction, protocol, address, key, uid=None):
        """The decision as (verdict, id, cause) the way the judge writes it."""
        verdict, index, cause = self.decide(direction, protocol, address, key, uid)
        if cause.startswith("dns-"):
            return verdict, cause, cause
        if index is None or direction == "in":
            return verdict, "-", cause
        return verdict, self.ids[index], cause


def evaluate(document, direction, protocol, address, key, uid=None, now=None):
    """One decision of a policy that is read for it alone."""
    return Policy(document, now).decide(direction, protocol, address, key, uid)
