# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The device programs, asked through tests/tools/frames.c; and what they ought to say.

compare(outcome, answer, ...) and compare_counters(...) give None, or the difference
as (kind, text).
"""
import collections
import json
import os
import re
import struct
import subprocess

import refusals
from packet import LATER, SCTP, TCP, UDP

PASS, DROP, REFUSE = -1, 2, 7           # TCX_NEXT, TC_ACT_SHOT, TC_ACT_REDIRECT
VERDICTS = {PASS: "pass", DROP: "drop", REFUSE: "refuse"}
EVENTS = {"deny": 1, "audit-deny": 2}
HOOKS = {"out": 7, "in": 8}             # enum sl_hook: tc-ingress, tc-egress
DIRECTIONS = {"out": 0, "in": 1}        # enum sl_direction: egress, ingress
NO_RULE = 0xffffffff
SOURCE, PARSED, PORTS, ICMP, LINK = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6
STATS = ("decided allowed denied audit_denied submitted suppressed over_budget lost "
         "uncounted").split()
METER = "tx_bytes tx_frames rx_bytes rx_frames tx_denied rx_denied".split()

Answer = collections.namedtuple("Answer", "verdict back events refusal")
Event = collections.namedtuple("Event", "generation rule flags source destination source_port "
                               "destination_port family protocol verdict reason hook direction "
                               "mac_source mac_destination ethertype")
EVENT = struct.Struct("=QII16s16sHHBBBBBB6s6sH")
Counters = collections.namedtuple("Counters", "stats meter hits")


def reasons():
    """The words of include/sluice_reasons.h, by number: a list that only grows."""
    path = os.path.join(os.path.dirname(__file__), "../../include/sluice_reasons.h")
    with open(path, encoding="utf-8") as file:
        return re.findall(r'^\tX\(\w+, "([a-z-]+)",', file.read(), re.MULTILINE)


class ToolFailure(Exception):
    """The tool died, hung or cannot be started."""


class Tool:
    """tests/tools/frames, one request after the other."""

    def __init__(self, path, folder):
        self.folder = folder
        self.stderr = open(os.path.join(folder, "frames.stderr"), "a+b")
        try:
            self.child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=self.stderr)
        except OSError as error:
            raise ToolFailure(f"cannot run {path}: {error.strerror}") from None
        self.reasons = reasons()
        self.rules = {}             # generation -> ids by rule number
        self.generation = None      # the last one

    def _send(self, data):
        try:
            self.child.stdin.write(data)
            self.child.stdin.flush()
        except BrokenPipeError:
            raise ToolFailure(self._epitaph()) from None

    def _take(self, size):
        data = self.child.stdout.read(size)
        if len(data) != size:
            raise ToolFailure(self._epitaph())
        return data

    def _number(self, form="=I"):
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _epitaph(self):
        status = self.child.wait()
        self.stderr.seek(max(0, self.stderr.seek(0, os.SEEK_END) - 2000))
        return f"the tool ended with {status}; its stderr ends:\n" + \
            self.stderr.read().decode(errors="replace")

    def attach(self, fresh, document, mac, addresses):
        """The generation's number; a policy that is refused is a ToolFailure."""
        path = os.path.join(self.folder, "policy.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.chmod(path, 0o644)
        texts = [text.encode() for text in (path, mac or "", *(addresses or ()))]
        self._send(b"A" + struct.pack("=II", fresh, len(texts)) +
                   b"".join(struct.pack("=I", len(text)) + text for text in texts))
        length = self._number()
        if length:
            raise ToolFailure("policy or binding refused: " + self._take(length).decode())
        generation = self.generation = self._number("=Q")
        self.rules[generation & 0xffffffff] = [self._take(self._number()).decode()
                                               for _ in range(self._number())]
        return generation

    def frames(self, frames):
        """An Answer for each (direction, data, gso size)."""
        self._send(b"F" + struct.pack("=I", len(frames)) + b"".join(
            struct.pack("=BxHH", DIRECTIONS[direction], gso, len(data)) + data
            for direction, data, gso in frames))
        return [self._answer() for _ in frames]

    def _answer(self):
        verdict, back, events, refusal = struct.unpack("=iiII", self._take(16))
        # Four are kept: it is a difference anyway.
        kept = [Event(*EVENT.unpack(self._take(EVENT.size))) for _ in range(min(events, 4))]
        return Answer(verdict, back, kept, self._take(refusal))

    def counters(self):
        self._send(b"C")
        stats = dict(zip(STATS, struct.unpack("=9Q", self._take(72))))
        meter = dict(zip(METER, struct.unpack("=6Q", self._take(48))))
        hits = collections.Counter()
        for _ in range(self._number()):
            count, rule, reason, generation, _ = struct.unpack("=QIIII", self._take(24))
            # Those of older policies are carried over as 0, by the numbers of the last.
            generation = generation or self.generation
            hits[self.rule_id(generation, rule), self.reason(reason)] += count
        return Counters(stats, meter, hits)

    def learned(self):
        """({(name, packed address): seconds left}, addresses that had no room)"""
        self._send(b"L")
        found = {}
        for _ in range(self._number()):
            high, low, family, left, length, _ = struct.unpack("=QQIIII", self._take(32))
            address = struct.pack(">I", low) if family == 4 else struct.pack(">QQ", high, low)
            found[self._take(length).decode(), address] = left
        return found, self._number("=Q")

    def rule_id(self, generation, number):
        """None: no rule, or an entry of `inbound`, which has no id in the policy."""
        if number == NO_RULE:
            return None
        rules = self.rules.get(generation & 0xffffffff, [])
        name = rules[number] if number < len(rules) else f"rule number {number}"
        return None if name == "inbound" else name

    def reason(self, number):
        return self.reasons[number] if number < len(self.reasons) else f"reason {number}"

    def close(self):
        """The tool's exit status."""
        self.child.stdin.close()
        try:
            status = self.child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            status = self.child.wait()
        self.child.stdout.close()
        self.stderr.close()
        return status


# --- what ought to be said

def verdict_of(outcome):
    if outcome.passes:
        return PASS
    return REFUSE if outcome.answer else DROP


def compare(tool, frame, outcome, answer, generation):
    """What a frame's answer has that its outcome has not, or None."""
    wanted = verdict_of(outcome)
    if answer.verdict != wanted:
        return "verdict", f"{VERDICTS.get(answer.verdict, answer.verdict)}, " \
            f"should be {VERDICTS[wanted]}{spoken(tool, answer)}"
    wanted_events = int(outcome.event is not None)
    if len(answer.events) != wanted_events and not (outcome.again and not answer.events):
        return "events", f"{len(answer.events)} events, should be " \
            f"{wanted_events}{spoken(tool, answer)}"
    if answer.events:
        found = compare_event(tool, frame, outcome, answer.events[0], generation)
        if found:
            return found
    if wanted != REFUSE:
        return None
    problem = refusals.problem(frame.data, outcome.packet, answer.refusal)
    if problem:
        return "refusal", f"{problem}\n  the answer: {answer.refusal.hex()}"
    if answer.back != PASS:
        return "back", f"the refusal on its way back: {answer.back}, should be {PASS}"
    return None


def spoken(tool, answer):
    return "".join(f"; event: {tool.reason(event.reason)}, rule "
                   f"{tool.rule_id(event.generation, event.rule)}" for event in answer.events)


def compare_event(tool, frame, outcome, event, generation):
    said = (event.verdict, tool.reason(event.reason), tool.rule_id(event.generation, event.rule),
            event.generation, event.hook, event.direction)
    wanted = (EVENTS[outcome.event], outcome.reason, outcome.rule, generation,
              HOOKS[frame.direction], DIRECTIONS[outcome.cut.direction if outcome.cut else
                                                 frame.direction])
    if said != wanted:
        names = "verdict reason rule generation hook direction".split()
        return "event", "; ".join(f"event's {name} is {a}, should be {b}"
                                  for name, a, b in zip(names, said, wanted) if a != b)
    # A flow that is cut is told as it was opened, whatever the frame that met the cut.
    told = outcome.cut.first if outcome.cut else outcome.packet
    for name, value in expected_fields(frame, told).items():
        if name == "flags":
            if event.flags & value != value:
                return "event", f"event's flags are {event.flags:#x}, should have {value:#x}"
        elif getattr(event, name) != value:
            return "event", f"event's {name} is {getattr(event, name)}, should be {value}"
    return None


def expected_fields(frame, p):
    """What an event must tell of the frame and of the packet, if that could be parsed."""
    data = frame.data
    fields = {"flags": LINK, "mac_destination": data[:6], "mac_source": data[6:12],
              "ethertype": data[12] << 8 | data[13]}
    if p is None or p.fragment == LATER:
        return fields
    fields.update(source=p.source.ljust(16, b"\0"), destination=p.destination.ljust(16, b"\0"),
                  family=p.family, protocol=p.protocol, flags=LINK | SOURCE | PARSED)
    if p.protocol in (TCP, UDP, SCTP):
        fields.update(source_port=p.source_port, destination_port=p.destination_port,
                      flags=fields["flags"] | PORTS)
    elif p.is_icmp:
        fields.update(source_port=0, destination_port=p.key, flags=fields["flags"] | ICMP)
    return fields


def ids_of(document):
    gate = {"dns-resolver", "dns-gate"} if "dns" in document else set()
    return gate | {rule["id"] for rule in document["rules"]}


def kept_hits(hits, documents):
    """Counts follow a rule's id through the policies, to none when one has no such rule."""
    kept = collections.Counter()
    for (generation, rule, reason), count in hits.items():
        stays = all(rule in ids_of(later) for later in documents[generation:])
        kept[rule if stays else None, reason] += count
    return kept


def compare_counters(device, counters, documents):
    """documents: the policies that the device had, in order."""
    slack = sum(device.perhaps.values())
    for name in STATS:
        got, wanted = counters.stats[name], device.stats[name]
        loose = name in ("decided", "denied", "audit_denied", "suppressed")
        if not wanted <= got <= wanted + (slack if loose else 0):
            return "stats", f"{name} is {got}, should be {wanted}"
    for name in METER:
        if counters.meter[name] != device.meter[name]:
            return "meter", f"{name} is {counters.meter[name]}, should be {device.meter[name]}"
    wanted, perhaps = kept_hits(device.hits, documents), kept_hits(device.perhaps, documents)
    wrong = [f"{hit} counted {counters.hits[hit]} times, should be {wanted[hit]}"
             for hit in {**wanted, **counters.hits}
             if not wanted[hit] <= counters.hits[hit] <= wanted[hit] + perhaps[hit]]
    return ("hits", "; ".join(wrong)) if wrong else None
