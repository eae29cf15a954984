# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Would the differential of alerts notice? A copy of the model with one flaw stands in for
the program: random streams must tell it from the model, and a copy without a flaw must not
differ. And the model itself, by cases that are worked out by hand."""
import pathlib
import random
import types

import pytest

import alerts_differential
import alerts_model

ROUNDS = 400

FLAWS = [
    ("now // step - 64]", "now // step - 63]"),
    ("now // step - 64]", "now // step - 65]"),
    ("self.now // rule.step - 64:", "self.now // rule.step - 63:"),
    ('"event": ["lost", "gap", "ring-full"]', '"event": ["lost", "ring-full"]'),
    ("missing -= min(missing, self.explained)", "pass"),
    ("            self.explained = 0\n", ""),
    ("if first is None or first > seq else first", ""),
    ('DENIED = ["deny", "audit-deny"]', 'DENIED = ["deny"]'),
    ('{**match, **written.get("match", {})}', '{**written.get("match", match)}'),
    ("all(any_of(k, v, record) for k, v in self.match", "any(any_of(k, v, record) for k, v in self.match"),
    ("not any(any_of(k, v, record) for k, v in self.excluded",
     "not all(any_of(k, v, record) for k, v in self.excluded"),
    ("return wanted is None and text is None", "return wanted is None"),
    ("[:511]", "[:256]"),
    ("< rule.merge * SECOND", "<= 2 * rule.merge * SECOND"),
    ("[-rule.count:]", "[:rule.count]"),
    ("* 100 > span * rule.jitter", "* 100 >= 2 * span * rule.jitter"),
    ("rule.shortest * SECOND * n <= span <=", "span <="),
    ("* n <= span <= rule.longest * SECOND * n", "* n <= span"),
    ("return span // n // 10 ** 6", "return span // n // 10 ** 9"),
    ("value if value >= rule.count", "value if value > rule.count"),
    ("min(len({r[3] for r in window}), rule.count)", "len({r[3] for r in window})"),
    ("value = sum(r[1] for r in window)\n", "value = len(window)\n"),
    ('group.open["count"] += count', 'group.open["count"] += 1'),
    ('"count": sum(r[1] for r in group.window(self.now))', '"count": count'),
    ('group.open["end"] = self.now + rule.lasts * SECOND', "pass"),
    ('if group.open["end"] == time:', 'if group.open["end"] == time < group.open["again"]:'),
    ('group.open["again"] = time +', 'group.open["again"] = self.now +'),
    ('return group.open["value"] + 1 if group.open else 1', "return 1"),
    ("min(idle or self.groups.values()", "min(self.groups.values()"),
    ("key=lambda g: g.touched)", "key=lambda g: -g.touched)"),
    ("        group.open = None\n        self.touched(group)", "        group.open = None"),
    ("bool(group.open or group.window(self.now))", "1"),
    ("last is not None and last + self.forget > self.now", "last is not None"),
    ("if last is None and len(self.seen) == self.entries:",
     "if last is None and len(self.seen) == self.entries + 1:"),
    ("return self.now < first + rule.learn * SECOND", "return False"),
    ("entry is None or entry[1] + self.forget <= self.now", "entry is None"),
    ("self.writers = [then] + self.writers[:15]", "self.writers = [then]"),
    ("if first == 0 or not self.writers:", "if not self.writers:"),
    ("return first - max(below)", "return 1"),
    ("self.writers.remove(max(below))", "self.writers.remove(min(below))"),
    ('None in wanted', 'wanted == [None]'),
    ("self.advance(time)", "self.now = max(self.now, time); self.advance(time + 1)"),
    ('b"\\1" if value is None', 'b"\\2" if value is None'),
]


def flawed(good, bad):
    text = pathlib.Path(alerts_model.__file__).read_text()
    assert text.count(good) >= 1, good
    module = types.ModuleType("flawed")
    exec(compile(text.replace(good, bad, 1), "flawed", "exec"), module.__dict__)
    return module


def outcome(model):
    return model.told, model.late, model.evicted, model.fired


def differs(module):
    for number in range(ROUNDS):
        rng = random.Random(f"flaws/{number}")
        config = alerts_differential.random_config(rng)
        records = alerts_differential.random_records(rng, rng.choice([20, 150]))
        try:
            if outcome(module.run(config, records)) != outcome(alerts_model.run(config, records)):
                return True
        except (TypeError, ValueError, ZeroDivisionError):
            return True
    return False


@pytest.mark.parametrize("good,bad", FLAWS)
def test_a_flaw_is_found(good, bad):
    assert differs(flawed(good, bad))


def test_no_flaw_makes_no_difference():
    global ROUNDS
    before, ROUNDS = ROUNDS, 40
    try:
        assert not differs(flawed("SECOND = 10 ** 9", "SECOND = 1000000000"))
    finally:
        ROUNDS = before


# --- by hand


def at(seconds, **fields):
    return {"time": alerts_model.format_time(1_790_000_000 * 10 ** 9 + int(seconds * 10 ** 9)),
            "event": "connection", "verdict": "deny",
            "target": {"kind": "device", "name": "vnet0"}, **fields}


def told(rule, records):
    run = alerts_model.run({"rules": [{"name": "r", **rule}]}, records)
    return [(t["state"], t["time"][17:20], t["count"], t["value"]) for t in run.told]


def test_a_rate():
    # 1790000000 is 14:13:20
    records = [at(0), at(1), at(2, count=3), at(11.5), at(100)]
    assert told({"type": "blocked", "count": 5, "window": "10s"}, records) == [
        ("firing", "22.", 5, 5), ("resolved", "32.", 6, 5)]


def test_a_scan_counts_values_not_records():
    to = [at(i, destination={"address": f"192.0.2.{i % 3}", "port": 22, "name": None})
          for i in range(6)]
    assert told({"type": "scan", "count": 4, "window": "1m"}, to) == []
    assert told({"type": "scan", "count": 3, "window": "1m"}, to)[0] == ("firing", "22.", 3, 3)


def test_a_beacon_and_a_person():
    def visits(times):
        return [at(t, destination={"address": "192.0.2.1", "port": 443}) for t in times]
    rule = {"type": "beacon", "count": 4, "period": {"min": "10s", "max": "2m"}, "jitter": 5}
    assert told(rule, visits([0, 60, 121, 180]))[0] == ("firing", "20.", 4, 60000)
    assert told(rule, visits([0, 60, 125, 180])) == []
    assert told(rule, visits([0, 0.4, 60, 60.3, 121, 180]))[0][3] == 60000
    assert told(rule, visits([0, 5, 10, 15])) == []
