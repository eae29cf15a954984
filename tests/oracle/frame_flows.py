# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Steps 11 to 13 of docs/devices.md: flows, ICMP errors about them, and the policy."""
import packet
from packet import ACK, ANSWERS, FIN, QUERIES, RST, SYN, TCP, Denied, need

DAY = 86400


class Flow:
    """An admitted flow; opener and its peer are (address, port)."""

    def __init__(self, direction, opener, question, p, judge):
        self.direction = direction
        self.opener = opener
        self.question = question
        self.first = p                          # the packet that opened it
        self.generation = judge.generation
        self.cut = False
        self.answered = self.closed = False
        self.finished = set()                   # sides that have sent FIN
        self.over_at = None

    def opened_by(self, p):
        """True if a packet like p opened it: of the same ICMP type and code, that is."""
        return (p.type, p.code) == (self.first.type, self.first.code)


def flow_key(p):
    """(what both directions share, sender, receiver)"""
    kind = None
    if p.type is not None:
        answers = ANSWERS[p.protocol]
        if p.type in QUERIES[p.protocol] or p.type in answers:
            kind = answers.get(p.type, p.type)
            ports = p.identifier, p.identifier
        else:
            kind, ports = "other", (p.key, p.key)
    else:
        ports = p.source_port or 0, p.destination_port or 0
    sender, receiver = (p.source, ports[0]), (p.destination, ports[1])
    return (p.family, p.protocol, kind, *sorted((sender, receiver))), sender, receiver


class Flows:
    """The part of frames.Device that knows flows, in self.flows by their flow_key()."""
    now = 0.0
    generation = 0
    judge = packet = None
    asked = judged = False          # the policy was asked; these steps were reached

    def __init__(self):
        self.flows = {}

    def _ask_policy(self, direction, question):
        self.asked = True
        allowed, rule, reason = self.judge.ask(question)
        if not allowed:
            raise Denied(reason, rule)
        return rule, reason

    def _flow_or_policy(self, direction):
        self.judged = True
        if not self._is_of_a_flow(direction):
            self._policy_and_open(direction)

    def _policy_and_open(self, direction):
        p = self.packet
        remote = p.destination if direction == "out" else p.source
        question = direction, p.protocol, remote, p.key
        start = p.protocol != TCP or p.flags & (SYN | ACK) == SYN
        middle = p.protocol == TCP and p.flags & ACK and not p.flags & (SYN | RST)
        try:
            rule, reason = self._ask_policy(direction, question)
        except Denied:
            if self.judge.audit and (start or middle):
                flow = self._open(direction, question)
                if flow:
                    flow.cut = True
            raise
        need(start or middle, "tcp-flags")
        if self._open(direction, question):
            self._count_flow(rule, reason)

    def _open(self, direction, question):
        """The flow that the packet opens; None: an ICMP error of a kind that was seen."""
        p = self.packet
        key, sender, _ = flow_key(p)
        old = self._find(p, direction)
        if old and old.generation == self.generation:
            return None
        flow = self.flows[key] = Flow(direction, sender, question, p, self.judge)
        self._advance(flow, sender)
        return flow

    def _lives(self, flow):
        return self.now < flow.over_at

    def _find(self, p, direction):
        """The flow that packet p finds when it goes in this direction, or None."""
        key, sender, receiver = flow_key(p)
        flow = self.flows.get(key)
        if flow is None or not self._lives(flow):
            return None
        # Of two equal endpoints each is both.
        openers, others = sender == flow.opener, receiver == flow.opener
        if not (openers if direction == flow.direction else others):
            return None
        if p.type is not None:
            if p.type in QUERIES[p.protocol] and not (openers and flow.opened_by(p)):
                return None
            if p.type in ANSWERS[p.protocol] and not others:
                return None
        if p.protocol == TCP and p.flags is not None and p.flags & (SYN | ACK) == SYN:
            if not openers or flow.closed:
                return None
        return flow

    def _advance(self, flow, sender):
        """What a packet that passes does to its flow."""
        p = self.packet
        if sender != flow.opener:
            flow.answered = True
            if p.protocol == packet.UDP and p.source_port == 53:
                flow.closed = True
        if p.protocol == TCP:
            if p.flags & FIN:
                flow.finished.add(sender)
            if p.flags & RST or len(flow.finished) == 2:
                flow.closed = True
        if p.protocol in (TCP, packet.SCTP):
            rest = 60 if flow.closed else 5 * DAY if flow.answered else 120
        else:
            rest = 60 if flow.closed else 180 if flow.answered else 60
        flow.over_at = self.now + rest

    def _judge_again(self, flow):
        if flow.generation == self.generation:
            if flow.cut:
                raise Denied("cut", cut=flow, silent=True)
            return
        flow.generation = self.generation
        flow.cut = True
        try:
            self._ask_policy(flow.direction, flow.question)
        except Denied as denied:
            denied.cut = flow
            raise
        flow.cut = False

    def _is_of_a_flow(self, direction):
        p = self.packet
        if p.is_error:
            return self._is_about_a_flow(direction)
        flow = self._find(p, direction)
        if flow is None:
            return False
        try:
            self._judge_again(flow)
        except Denied:
            if not self.judge.audit:
                raise
            self._advance(flow, flow_key(p)[1])
            raise
        self._advance(flow, flow_key(p)[1])
        return True

    def _is_about_a_flow(self, direction):
        """An ICMP error: does it quote what went the other way in a flow?"""
        quoted = None if self.packet.extended else packet.parse_quoted(self.packet)
        if quoted is None or quoted.source != self.packet.destination:
            return False
        flow = self._find(quoted, "in" if direction == "out" else "out")
        return flow is not None and flow.generation == self.generation and \
            (self.judge.audit or not flow.cut)
