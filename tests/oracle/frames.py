# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A device's frames judged by the letter of docs/devices.md, written from that page alone.

    device = Device(document, Binding(mac, addresses))
    outcome = device.frame("out", data)         "out": from the workload; "in": to it
    device.attach(document, binding)            a new policy for the same device

It shares nothing with the C code on purpose; the rules are evaluator.py's.
Limits (bandwidth, connections), a full flow table, and what is said on port 53 of a
resolver (docs/names.md) are outside its reach.
"""
import collections
import functools
import ipaddress
import socket

import evaluator
import packet
from frame_flows import Flows
from frame_link import BROADCAST4, NOWHERE4, NOWHERE6, Link, multicast
from packet import ACK, FIN, FIRST, LATER, RST, SYN, TCP, UDP, Denied, need

ARP, IPV4, IPV6, VLANS = b"\x08\x06", b"\x08\x00", b"\x86\xdd", (b"\x81\x00", b"\x88\xa8")
FRAGMENT_SECONDS = 10
RETRANSMISSION_SECONDS = 64
ANSWERED_REASONS = {"rule", "default", "embedded", "dns-gate", "flow-table", "connection-limit"}

Outcome = collections.namedtuple(
    "Outcome", "passes reason rule event again answer packet asked cut")
Outcome.__doc__ = """What becomes of a frame.

passes: it goes on. reason, rule: why it is denied (or would be, in audit mode); None:
allowed. event: "deny", "audit-deny" or None. again: a retransmission: it has no event,
but may have one if the note of the first one is lost. answer: it is refused, not
dropped. packet: what was parsed, or None. asked: the policy was asked. cut: the Flow
that was cut with this frame's event, or None.
"""


def quiet(reason, direction, data):
    """Counted, but without an event."""
    return reason in ("stray", "bandwidth") or \
        direction == "in" and (data[0] & 1 or reason == "ethertype")


def text_of(address):
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


class Binding:
    """Who the workload is. mac: text or None; addresses: texts, or None for any; also
    `net:PREFIX` and `host:ADDRESS`, what is known of its network."""

    def __init__(self, mac=None, addresses=None):
        self.texts = mac, addresses
        self.mac = bytes.fromhex(mac.replace(":", "")) if mac else None
        self.lease = "dhcp" in (addresses or ())
        self.ranges = None
        self.networks = [self._range(a[4:]) for a in addresses or () if a.startswith("net:")]
        self.taken = [self._range(a[5:])[0] for a in addresses or () if a.startswith("host:")]
        if addresses:
            self.ranges = [self._range(a) for a in addresses
                           if a != "dhcp" and not a.startswith(("net:", "host:"))]
            if self.mac and any(len(first) == 16 for first, _ in self.ranges):
                own = self._eui64()
                self.ranges.append((own, own))

    @staticmethod
    def _range(text):
        network = ipaddress.ip_network(text, strict=False)
        return network.network_address.packed, network.broadcast_address.packed

    def _eui64(self):
        mac = self.mac
        return b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


class Judge:
    """A policy, and the switches of docs/devices.md beside it."""

    def __init__(self, document, generation):
        document = dict(document)
        switches = document.pop("device", {})
        self.arp = switches.get("arp", "allow") == "allow"
        self.nd = switches.get("nd", "allow") == "allow"
        self.dhcp = switches.get("dhcp", "client") == "client"
        self.first_decides = document.pop("fragments", "deny") == "first-decides"
        self.audit = document.get("mode") == "audit"
        self.reject = document.get("on_deny", "reject") == "reject"
        self.generation = generation
        self.policy = evaluator.Policy(document)
        self.ask = functools.lru_cache(None)(self._ask)

    def _ask(self, question):
        """(allowed, rule id or None, reason) of a (direction, protocol, address, key)."""
        direction, protocol, address, key = question
        verdict, rule, reason = self.policy.answer(direction, protocol, text_of(address), key)
        return verdict == "allow", None if rule == "-" else rule, reason

    def is_resolver(self, address):
        return evaluator.locate(text_of(address)) in self.policy.resolvers


class Device(Link, Flows):
    def __init__(self, document, binding):
        Flows.__init__(self)
        self.fragments = {}                     # -> (end, until)
        self.reported = {}                      # denied TCP segments -> until
        self.stats = collections.Counter()
        self.hits = collections.Counter()
        self.perhaps = collections.Counter()    # hits of quiet retransmissions
        self.meter = collections.Counter()
        self.attach(document, binding)

    def attach(self, document, binding):
        self.generation += 1
        self.judge = Judge(document, self.generation)
        self.binding = binding

    def is_reached(self, direction, data, gso=False):
        """False where a policy with resolvers looks at questions and answers: packets (and
        anybody's first fragments) to port 53 of a resolver, and to the workload from port 53."""
        if data[12:14] not in (IPV4, IPV6) or not self.judge.policy.resolvers:
            return True
        try:
            p = packet.parse(data, self.judge.first_decides, gso)
        except Denied:
            return True
        if p.protocol not in (TCP, UDP):
            return True
        if direction == "in":
            return p.source_port != 53
        return p.destination_port != 53 or \
            p.fragment != FIRST and not self.judge.is_resolver(p.destination)

    # --- a frame, and what is counted

    def frame(self, direction, data, gso=False):
        self.gso = gso
        self.packet = None
        self.asked = self.judged = False
        if direction == "out":
            self.meter["tx_frames"] += 1
            self.meter["tx_bytes"] += len(data)
        try:
            if direction == "out":
                self._from_workload(data)
            else:
                self._to_workload(data)
        except Denied as denied:
            return self._denied(denied, direction, data)
        self._remember_fragment(direction)
        self._passed(direction, data)
        return Outcome(True, None, None, None, False, False, self.packet, self.asked, None)

    def own_refusal(self, data):
        """The answer to a refused frame, on its way to the workload."""
        self._passed("in", data)

    def _passed(self, direction, data):
        if direction == "in":
            self.meter["rx_frames"] += 1
            self.meter["rx_bytes"] += len(data)

    def _denied(self, denied, direction, data):
        audit = self.judge.audit
        if audit:
            if self.judged:
                self._remember_fragment(direction)
            self._passed(direction, data)
        else:
            self.meter["tx_denied" if direction == "out" else "rx_denied"] += 1
        event, again = None, False
        if not denied.silent:
            again = self._retransmission(direction)
            event = None if quiet(denied.reason, direction, data) else \
                "audit-deny" if audit else "deny"
            if not again:
                self.count_denial(self.generation, denied.reason, denied.rule, event)
            elif event is None:
                self.perhaps[self.generation, denied.rule, denied.reason] += 1
        answer = not audit and direction == "out" and self._answers(denied, data)
        return Outcome(audit, denied.reason, denied.rule, event, again, answer, self.packet,
                       self.asked, denied.cut)

    def count_denial(self, generation, reason, rule, event):
        """One denied attempt; public, for retransmissions whose first one was forgotten."""
        self.stats["decided"] += 1
        self.stats["audit_denied" if event == "audit-deny" or self.judge.audit and not event
                   else "denied"] += 1
        self.stats["submitted" if event else "suppressed"] += 1
        self.hits[generation, rule, reason] += 1

    def _count_flow(self, rule, reason):
        self.stats["decided"] += 1
        self.stats["allowed"] += 1
        self.stats["suppressed"] += 1
        self.hits[self.generation, rule, reason] += 1

    def _retransmission(self, direction):
        """True if this TCP segment was denied before; notes it if not."""
        p = self.packet
        if p is None or p.protocol != TCP or p.fragment == LATER:
            return False
        key = (self.generation, direction, p.source, p.destination, p.source_port,
               p.destination_port, p.flags, p.sequence)
        if key in self.reported and self.now < self.reported[key]:
            return True
        self.reported[key] = self.now + RETRANSMISSION_SECONDS
        return False

    def _answers(self, denied, data):
        p = self.packet
        if not self.judge.reject or not (denied.cut or denied.reason in ANSWERED_REASONS):
            return False
        if p.fragment == LATER or p.is_error or p.protocol == TCP and p.flags & RST:
            return False
        for address in (p.source, p.destination):
            if multicast(address) or address in (BROADCAST4, NOWHERE4, NOWHERE6):
                return False
        return not data[0] & 1

    # --- steps that both directions share

    def _ethernet(self, data):
        need(len(data) >= 14)
        need(data[12:14] not in VLANS, "vlan")

    def _parse(self, data):
        p = self.packet = packet.parse(data, self.judge.first_decides, self.gso)
        return p

    def _follows_its_first(self, direction):
        p = self.packet
        known = self.fragments.get(self._fragment_key(direction))
        need(known is not None and self.now < known[1] and p.begin >= known[0], "fragment")

    def _fragment_key(self, direction):
        p = self.packet
        return p.source, p.destination, p.protocol, p.fragment_id, direction

    def _remember_fragment(self, direction):
        p = self.packet
        if p is not None and p.fragment == FIRST:
            self.fragments[self._fragment_key(direction)] = p.length, self.now + FRAGMENT_SECONDS

    def _tcp_flags(self):
        p = self.packet
        if p.protocol == TCP:
            need(not (p.flags & SYN and p.flags & (FIN | RST)), "tcp-flags")
            need(p.flags & (SYN | ACK | RST), "tcp-flags")

    # --- from the workload

    def _from_workload(self, data):
        self._ethernet(data)
        if self.binding.mac:
            need(data[6:12] == self.binding.mac, "mac-binding")
        else:
            need(not data[6] & 1)
        need(data[12:14] in (ARP, IPV4, IPV6), "ethertype")
        if data[12:14] == ARP:
            return self._arp_from(data)
        p = self._parse(data)
        if p.fragment == LATER:
            need(self._bound(p.source), "address-binding")
            return self._follows_its_first("out")
        if p.protocol == UDP and self._dhcp_from(p):
            return None
        if p.protocol == packet.ICMPV6 and p.is_icmp and self._nd_from(p):
            return None
        need(not self._is_routers(p), "rogue-ra")
        need(self._bound(p.source), "address-binding")
        self._tcp_flags()
        return self._flow_or_policy("out")

    # --- to the workload

    def _to_workload(self, data):
        self._ethernet(data)
        if self.binding.mac and not data[0] & 1:
            need(data[0:6] == self.binding.mac, "stray")
        need(data[12:14] in (ARP, IPV4, IPV6), "ethertype")
        if data[12:14] == ARP:
            return self._arp_to(data)
        p = self._parse(data)
        if p.fragment == LATER:
            return self._follows_its_first("in")
        if p.protocol == UDP and self._dhcp_to(p):
            return None
        if p.protocol == packet.ICMPV6 and p.is_icmp and self._nd_to(p):
            return None
        self._tcp_flags()
        return self._flow_or_policy("in")
