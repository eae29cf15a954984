# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A naive first-match reading of docs/policy.md and docs/names.md, written from those
texts alone.

It shares nothing with the C code on purpose: where the two disagree, one of
them misreads the text.  Policies arrive as the dict that the JSON stands for.
Includes, set files and what depends on the machine (@host, @gateway, @subnet, the
system's resolvers and search domains) are outside its reach and raise PolicyError.
"""
import datetime
import re
import time

from addresses import (ANY, FIRST_EMBEDDED, PolicyError, locate, parse_host_cidr, reach)
from patterns import Pattern

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


# --- matches ---------------------------------------------------------------

class Match:
    """One HOST list with what goes with it; a rule holds one or several."""

    def __init__(self, hosts, protocols, keys, uids):
        self.hosts = hosts          # list of ANY, (family, first, last) or Pattern
        self.protocols = protocols  # set of numbers, None: every one
        self.keys = keys            # list of (low, high) of port or icmp key, None: every one
        self.uids = uids            # set of numbers, None: every flow
        self.patterns = [host for host in hosts if isinstance(host, Pattern)]

    def holds(self, protocol, key, uid):
        """All but the address."""
        return ((self.protocols is None or protocol in self.protocols)
                and (self.keys is None or any(low <= key <= high for low, high in self.keys))
                and (self.uids is None or uid in self.uids))


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
        only_keys(document, "sluice name mode default on_deny dns inbound sets rules tests "
                  "limits", "policy")
        self.now = time.time() if now is None else now
        self.first_effect = first_effect
        self.default = document.get("default", "deny")
        self.dns = document.get("dns")
        self.resolvers = None
        if self.dns is not None:
            only_keys(self.dns, "resolvers queries types ttl search dot", "dns")
            self.resolvers = {locate(a) for a in self.dns.get("resolvers", [])}
            self.gate = (53,) if self.dns.get("dot") == "rules" else (53, 853)
        self.sets = self._read_sets(document)
        self.ids = []
        self.verified = []
        self.verdicts = []
        self.rules = []             # list of Match per rule, None: expired
        self.named = []             # patterns of all rules, the expired too
        self.allowed = []           # of those that allow
        for rule in document.get("rules") or []:
            self._read_rule(rule)
        self._check_names()
        if len(set(self.ids) - {None}) != sum(i is not None for i in self.ids):
            raise PolicyError("an id is used twice")
        self.inbound = document.get("inbound", "replies")
        self.entries = None
        if isinstance(self.inbound, list):
            self.entries = [[self._read_entry(entry)] for entry in self.inbound]
        self._candidates = {}

    def _check_names(self):
        """What rules by name need, and the default of `queries`."""
        if self.named and not self.resolvers:
            raise PolicyError("the resolvers of the system are out of reach here")
        if self.allowed and "search" not in self.dns:
            raise PolicyError("the search domains of the system are out of reach here")
        default = "listed" if self.allowed and self.default == "deny" else "any"
        self.queries = (self.dns or {}).get("queries", default)

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
                hosts.append(Pattern.parse(text) or parse_host_cidr(text))
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
        only_keys(rule, "allow deny id reason expires empty resolves_to sni", "rule")
        if ("allow" in rule) == ("deny" in rule):
            raise PolicyError("a rule has exactly one of allow and deny")
        verdict = "allow" if "allow" in rule else "deny"
        empty_ok = rule.get("empty") == "ok"
        match = rule[verdict]
        if isinstance(match, dict):
            matches = [self._read_mapping(match, empty_ok)]
        else:
            matches = [self._read_shorthand(text, empty_ok) for text in as_list(match)]
        self._read_names(verdict, matches, rule)
        if "expires" in rule:
            end = parse_expiry(rule["expires"], self.first_effect)
            if end is not None and self.now >= end:
                matches = None
        self.verified.append(rule.get("sni") == "verify")
        self.ids.append(rule.get("id"))
        self.verdicts.append(verdict)
        self.rules.append(matches)

    def _read_names(self, verdict, matches, rule):
        patterns = [pattern for match in matches for pattern in match.patterns]
        for match in matches:
            if verdict == "deny" and match.patterns and \
                    (match.protocols, match.keys, match.uids) != (None, None, None):
                raise PolicyError("a deny by name takes no ports, protocol or uid")
        if rule.get("sni", "off") != "off" and (verdict == "deny" or any(
                len(m.patterns) < len(m.hosts) or (m.protocols is not None and 6 not in m.protocols)
                for m in matches)):
            raise PolicyError("sni belongs to an allow by name, and to TCP")
        if "resolves_to" in rule and (verdict == "deny" or not patterns):
            raise PolicyError("resolves_to belongs to an allow by name")
        self.named += patterns
        if verdict == "allow":
            self.allowed += patterns

    def _read_entry(self, entry):
        only_keys(entry, "from ports protocol icmp", "inbound rule")
        match = {"to": entry["from"]}
        match.update((key, entry[key]) for key in ("ports", "protocol", "icmp") if key in entry)
        read = self._read_mapping(match, False)
        if read.patterns:
            raise PolicyError("a name in an inbound rule")
        return read

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

    def question(self, name):
        """(verdict, rule index or None, cause): may the name be asked?"""
        for index, matches in enumerate(self.rules):
            if any(p.covers(name) for match in matches or [] for p in match.patterns):
                verdict = self.verdicts[index]
                return verdict, index, "rule" if verdict == "allow" else "dns-name"
        if self.queries == "any":
            return "allow", None, "dns-resolver"
        if self._is_searched(name):
            return "allow", None, "dns-search"
        return "deny", None, "dns-name"

    def _is_searched(self, name):
        """An allowed name with a search domain behind it."""
        for domain in (self.dns or {}).get("search", []):
            if name.endswith("." + domain):
                asked = name[:-len(domain) - 1]
                if any(p.text != "*" and p.covers(asked) for p in self.allowed):
                    return True
        return False

    def _first_by_name(self, owners, protocol, key, uid, end):
        """The first rule before `end` that matches because of who owns the address."""
        owners = [name for name in owners if self.question(name)[0] == "allow"]
        for index, matches in enumerate(self.rules[:end]):
            if self.verdicts[index] == "deny" or not matches:
                continue
            for match in matches:
                if match.patterns and match.holds(protocol, key, uid) and \
                        any(p.covers(name) for p in match.patterns for name in owners):
                    return index
        return None

    def decide(self, direction, protocol, address, key, uid=None, owners=()):
        """(verdict, rule or inbound index or None, cause) of a new flow to an address that
        the names in owners own."""
        realm, number = locate(address)
        if direction == "in":
            return self._decide_in(realm, number, protocol, key)
        if self.resolvers is not None and protocol in (6, 17) and key in self.gate:
            if key == 53 and (realm, number) in self.resolvers:
                return "allow", None, "dns-resolver"
            return "deny", None, "dns-gate"
        index = self._first_match("out", realm, number, protocol, key, uid)
        if owners:
            by_name = self._first_by_name(owners, protocol, key, uid, index)
            if by_name is not None and self.verified[by_name] and protocol == 17:
                return "deny", by_name, "sni-quic"
            index = index if by_name is None else by_name
        if index is not None:
            return self.verdicts[index], index, "rule"
        if realm >= FIRST_EMBEDDED:
            return "deny", None, "embedded"
        return self.default, None, "default"

    def answer_question(self, name):
        """As answer(), for the question for a name."""
        verdict, index, cause = self.question(name)
        if cause == "dns-search":
            return verdict, cause, "dns-resolver"
        return verdict, "-" if index is None else self.ids[index], cause

    def answer(self, direction, protocol, address, key, uid=None, owners=()):
        """The decision as (verdict, id, cause) the way the judge writes it."""
        verdict, index, cause = self.decide(direction, protocol, address, key, uid, owners)
        if cause.startswith("dns-"):
            return verdict, cause, cause
        if index is None or direction == "in":
            return verdict, "-", cause
        return verdict, self.ids[index], cause


def evaluate(document, direction, protocol, address, key, uid=None, now=None):
    """One decision of a policy that is read for it alone."""
    return Policy(document, now).decide(direction, protocol, address, key, uid)
