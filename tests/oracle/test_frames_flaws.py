# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Would the differential notice? A device with one flaw stands in for the programs.

Each flaw is one change in the text of a copy of the model, as a bug of the programs
might be; random frames must tell the copy from the model. And a copy without a flaw
must not differ.
"""
import collections
import os
import random
import sys
import types

import pytest

import frames_differential
import frames_tool
import generate_frames
import refusals
from frames_tool import Answer, Counters, Event

MODULES = ("packet", "frame_link", "frame_flows", "frames")
EPISODES, FRAMES = 60, 1500

FLAWS = {
    "packet": [
        ("words >= 5)", "words >= 4)"),
        ("20 <= total", "21 <= total"),
        ("total <= len(data) - 14", "total <= len(data) - 13"),
        ("length <= len(data) - 54", "length <= len(data) - 53"),
        ('need(words == 5, "ip-options")', "pass"),
        ("(offset & 0x1fff) * 8", "(offset & 0x0fff) * 8"),
        ("HEADERS_WALKED = 5", "HEADERS_WALKED = 6"),
        ("HEADERS_WALKED = 5", "HEADERS_WALKED = 4"),
        ("NOT_WALKED = (135, 139, 140)", "NOT_WALKED = (135, 139)"),
        ("need(p.at + size <= p.end)", "need(p.at + size <= p.end + 8)"),
        ('need(following != ROUTING, "routing-header")', "pass"),
        ("need(room >= 20)", "need(room >= 21)"),
        ("(words >> 4) * 4 <= room", "True"),
        ("need(length >= 8)", "need(length >= 7)"),
        ("need(length <= room or", "need(length <= room + 1 or"),
        ("need(room >= 12)", "need(room >= 8)"),
        ("p.length % 8 == 0", "p.length % 4 == 0"),
        ("offset & 0x3fff:", "offset & 0x1fff:"),
        ("p.end = len(data)\n    else:\n        need(20",
         "p.end = min(14 + total, len(data))\n    else:\n        need(20"),
        ("return None if p.is_error else p", "return p"),
        ("if end - at < 8 and", "if end - at < 4 and"),
    ],
    "frame_link": [
        ('need(data[22:28] == data[6:12], "arp")', "pass"),
        ("data[21] == 1 and sender == NOWHERE4", "sender == NOWHERE4"),
        ("67 if p.family == 4 else 547", "67"),
        ('need(payload[28:34] == p.data[6:12], "dhcp")', "pass"),
        ("len(payload) >= 240", "len(payload) >= 241"),
        ("p.source == NOWHERE4 or self._bound(p.source) or", "True or"),
        ('kinds[0] in (b"\\1", b"\\3", b"\\x08")', 'kinds[0] != b"\\7"'),
        ("p.family == 4 and p.destination_port == 67 and not", "False and not"),
        ('need(payload[24:28] == NOWHERE4, "dhcp")', "pass"),
        ("kind == 3 and self._rebinds", "self._rebinds"),
        ("payload[12:16] == p.source", "True"),
        ("0 < address[0] < 224", "0 <= address[0] < 256"),
        ("address not in self.binding.taken", "True"),
        ("p.source if self.binding.networks else BROADCAST4", "p.source"),
        ('need(self._may_be_a_server(p.source), "dhcp")', "pass"),
        ("kind == 5 and address != NOWHERE4", "kind == 5"),
        ("elif kind == 6:", "elif kind == 9:"),
        ("range(24)", "range(25)"),
        ("range(24)", "range(23)"),
        ('need(self._was_asked(self.asked4, payload[4:8]), "dhcp")', "pass"),
        ("self._was_asked(self.asked6, payload[1:4])", "self.asked6"),
        ('need(self.binding.mac in (None, payload[28:34]), "dhcp")', "pass"),
        ("p.type not in (130, 134, 137)", "p.type not in (130, 134)"),
        ("p.protocol == 103", "False"),
        ('b"\\x17", b"\\x22"', 'b"\\x17", b"\\x11", b"\\x22"'),
        ("p.protocol == 2 and p.family == 4", "p.protocol == 2"),
        ("{4: (5, 9), 6:", "{4: (5,), 6:"),
        ("(151, 152, 153)", "(151, 152)"),
        ("p.hop_limit == 1 and (all_link", "(all_link"),
        ("p.destination == group and multicast(group)", "False"),
        ("not p.extended and p.hop_limit == 255, ", "p.hop_limit == 255, "),
        ("not p.extended and p.hop_limit == 255 and p.code == 0", "p.hop_limit == 255"),
        ("unspecified and p.type in (133, 135)", "unspecified"),
        ("p.type == 135 and p.destination == target", "p.type == 135"),
        ("p.type == 136 or p.type == 135 and unspecified", "p.type == 136"),
        ("need(rest[2:8] == p.data[6:12], \"nd\")", "pass"),
        ("size == 8 and kind in (1, 2, 14)", "kind in (1, 2, 14)"),
        ("kind in (1, 2, 14)", "True"),
        ("need(p.type == 135 and all_link(p.destination), \"nd\")", "pass"),
        ("p.end == len(p.data)", "True"),
        ("len(data) <= 60", "True"),
        ("not any(data[42:])", "True"),
        ("target if probe else sender", "sender"),
        ("p.type != 134 or link_local(p.source)", "True"),
        ("16 if p.type == 134 else 24", "24"),
        ('need(p.type != 135 or self._bound(message[8:24]), "stray")', "pass"),
        ("data[21] == 2 or self._bound(target) or sender == target", "True"),
        ("if not any(address):", "if False:"),
    ],
    "frame_flows": [
        ("(openers if direction == flow.direction else others)", "(openers or others)"),
        ("not (openers and flow.opened_by(p))", "not openers"),
        ("p.type in ANSWERS[p.protocol] and not others", "False"),
        ("if not openers or flow.closed:", "if not openers:"),
        ("if not openers or flow.closed:", "if flow.closed:"),
        ("len(flow.finished) == 2", "len(flow.finished) == 1"),
        ("p.flags & RST or len", "len"),
        ("quoted is None or quoted.source != self.packet.destination", "quoted is None"),
        ("flow is not None and flow.generation == self.generation and", "flow is not None and"),
        ("ports = p.identifier, p.identifier", "ports = 0, 0"),
        ("p.flags & ACK and not p.flags & (SYN | RST)", "p.flags & ACK and not p.flags & SYN"),
        ("if flow.cut:\n                raise", "if False:\n                raise"),
        ("if p.is_error:\n            return", "if False:\n            return"),
    ],
    "frames": [
        ('need(data[6:12] == self.binding.mac, "mac-binding")', "pass"),
        ("need(not data[6] & 1)", "pass"),
        ('need(data[0:6] == self.binding.mac, "stray")', "pass"),
        ("p.fragment_id, direction", "p.fragment_id"),
        ("p.protocol, p.fragment_id", "p.fragment_id"),
        ("p.begin >= known[0]", "p.begin >= 8"),
        ("if p.fragment == LATER or p.is_error or", "if p.fragment == LATER or"),
        ("p.protocol == TCP and p.flags & RST:", "False:"),
        ("multicast(address) or address in (BROADCAST4,", "address in (BROADCAST4,"),
        ("return not data[0] & 1", "return True"),
        ("p.destination_port, p.flags, p.sequence)", "p.destination_port, p.sequence)"),
        ("p.destination_port, p.flags, p.sequence)", "p.destination_port, p.flags)"),
        ("key = (self.generation, direction, p.source", "key = (self.generation, p.source"),
        ("key = (self.generation, direction, p.source", "key = (direction, p.source"),
        ("direction == \"in\" and (data[0] & 1 or reason", "direction == \"in\" and (reason"),
        ("(b\"\\x81\\x00\", b\"\\x88\\xa8\")", "(b\"\\x81\\x00\",)"),
        ("            if self.judged:\n    ", "            if False:\n    "),
        ("need(not (p.flags & SYN and p.flags & (FIN | RST)), \"tcp-flags\")", "pass"),
        ("need(p.flags & (SYN | ACK | RST), \"tcp-flags\")", "pass"),
        ("need(self._bound(p.source), \"address-binding\")\n        self._tcp", "self._tcp"),
    ],
}


def model_copy(changed=None, old="", new=""):
    """The modules of the model once more, one with a change; `frames` of them."""
    folder = os.path.dirname(__file__)
    kept = {name: sys.modules[name] for name in MODULES}
    try:
        for name in MODULES:
            path = os.path.join(folder, name + ".py")
            with open(path, encoding="utf-8") as file:
                source = file.read()
            if name == changed:
                assert old in source, f"{name}.py has no {old!r}"
                source = source.replace(old, new, 1)
            module = sys.modules[name] = types.ModuleType(name)
            module.__file__ = path
            exec(compile(source, path, "exec"), module.__dict__)
        return sys.modules["frames"]
    finally:
        sys.modules.update(kept)


class Stand:
    """Answers as frames_tool.Tool does, from a copy of the model."""

    def __init__(self, model):
        self.model = model
        self.device = None
        self.documents = []

    def attach(self, fresh, document, mac, addresses):
        binding = self.model.Binding(mac, addresses)
        if fresh:
            self.device = self.model.Device(document, binding)
            self.documents = []
        else:
            self.device.attach(document, binding)
        self.documents.append(document)
        return self.device.generation

    def frames(self, steps):
        return [self._answer(step) for step in steps]

    def _answer(self, step):
        outcome = self.device.frame(step.direction, step.data, bool(step.gso))
        events = [self._event(step, outcome)] if outcome.event and not outcome.again else []
        verdict = frames_tool.verdict_of(outcome)
        if verdict == frames_tool.REFUSE:
            self.device.own_refusal(b"")
        return Answer(verdict, frames_tool.PASS, events, b"")

    def _event(self, step, outcome):
        told = outcome.cut.first if outcome.cut else outcome.packet
        way = outcome.cut.direction if outcome.cut else step.direction
        fields = dict.fromkeys(Event._fields)
        fields.update(frames_tool.expected_fields(step, told))
        fields.update(flags=0xff, generation=self.device.generation, rule=outcome.rule,
                      verdict=frames_tool.EVENTS[outcome.event], reason=outcome.reason,
                      hook=frames_tool.HOOKS[step.direction],
                      direction=frames_tool.DIRECTIONS[way])
        return Event(**fields)

    def counters(self):
        stats = {name: self.device.stats[name] for name in frames_tool.STATS}
        meter = {name: self.device.meter[name] for name in frames_tool.METER}
        return Counters(stats, collections.Counter(meter),
                        frames_tool.kept_hits(self.device.hits, self.documents))

    @staticmethod
    def reason(word):
        return word

    @staticmethod
    def rule_id(_, name):
        return name


@pytest.fixture(scope="module")
def episodes():
    """Made when first asked for; the same for every flaw."""
    made = []

    def get(number):
        while len(made) <= number:
            rng = random.Random(f"flaws/{len(made)}")
            made.append(list(generate_frames.Episode(rng).steps(FRAMES)))
        return made[number]
    return get


@pytest.fixture(autouse=True)
def no_refusals(monkeypatch):
    """The stand-in refuses, but makes no answer."""
    monkeypatch.setattr(refusals, "problem", lambda frame, p, answer: None)


def first_difference(stand, episodes, count):
    for number in range(count):
        found = frames_differential.check(stand, episodes(number))
        if found:
            return found
    return None


def test_a_copy_without_a_flaw_does_not_differ(episodes):
    assert first_difference(Stand(model_copy()), episodes, 10) is None


@pytest.mark.parametrize("module, old, new", [
    pytest.param(module, old, new, id=f"{module}-{number}")
    for module, flaws in FLAWS.items() for number, (old, new) in enumerate(flaws)])
def test_a_flaw_is_found(module, old, new, episodes):
    stand = Stand(model_copy(module, old, new))
    try:
        found = first_difference(stand, episodes, EPISODES)
    except (IndexError, TypeError, AttributeError, AssertionError) as error:
        pytest.fail(f"the flaw breaks the stand-in: {error!r}")
    assert found, f"{old!r} as {new!r}: not noticed in {EPISODES * FRAMES} frames"
