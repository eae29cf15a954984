# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Rules over records, naively: docs/alerts.md and nothing else. Nothing is bounded, every
window is looked through from its first record, every open alert at every moment."""
import calendar
import hashlib
import ipaddress
import json
import re
import time as time_module

SECOND = 10 ** 9
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ADDRESSES = {"source.address", "destination.address"}
NUMBERS = {"source.port", "destination.port", "process.pid", "process.uid"}
DENIED = ["deny", "audit-deny"]
# measure, default match, group, of, count, window
TYPES = {
    "blocked": ("sum", {"event": "connection", "verdict": DENIED}, ["target"], [], 100, "1m"),
    "scan": ("distinct", {"event": "connection", "verdict": DENIED}, ["target"],
             ["destination", "destination.port"], 20, "1m"),
    "first-seen": ("new", {"event": "connection", "verdict": "allow"}, ["target"],
                   ["destination"], 1, "1h"),
    "bytes": ("bytes", {"event": "meter"}, ["target"], [], None, "1h"),
    "dns": ("sum", {"event": "dns", "verdict": DENIED}, ["target"], [], 50, "1m"),
    "beacon": ("beacon", {"event": "connection"},
               ["target", "destination", "destination.port"], [], 6, None),
    "loss": ("sum", {"event": ["lost", "gap", "ring-full"]}, ["target"], [], 1, "1m"),
    "detach": ("sum", {"event": "foreign-change"}, ["target"], [], 1, "1m"),
    "expired": ("sum", {"event": "expired"}, ["target", "rule"], [], 1, "1m"),
    "custom": ("sum", {}, ["target"], [], 1, "1m"),
}


def seconds(text):
    return int(text[:-1]) * UNITS[text[-1]]


def size(text):
    number, unit = re.fullmatch(r"(\d+)(B|KiB|MiB)", text).groups()
    return int(number) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]


def parse_time(text):
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z", text)
    whole = calendar.timegm(time_module.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    return whole * SECOND + int(((found[2] or "0") + "0" * 9)[:9])


def format_time(ns):
    whole = time_module.strftime("%Y-%m-%dT%H:%M:%S", time_module.gmtime(ns // SECOND))
    return f"{whole}.{ns % SECOND:09d}Z"


def as_list(value):
    return value if isinstance(value, list) else [value]


def scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value.encode()[:511].decode(errors="ignore")
    return None


def part(record, *path):
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def field(record, name):
    if name == "target":
        kind, label = part(record, "target", "kind"), part(record, "target", "name")
        if not isinstance(kind, str) or not isinstance(label, str):
            return None
        return scalar(f"{kind}:{label}")
    if name == "destination":
        return field(record, "destination.name") or field(record, "destination.address")
    return scalar(part(record, *name.split(".")))


def value_matches(name, wanted, text):
    if wanted is None or text is None:
        return wanted is None and text is None
    if name in NUMBERS:
        low, _, high = str(wanted).partition("-")
        return text.isdigit() and int(low) <= int(text) <= int(high or low)
    if name in ADDRESSES:
        try:
            return ipaddress.ip_address(text) in ipaddress.ip_network(wanted)
        except ValueError:
            return False
    pattern = ".*".join(re.escape(part) for part in str(wanted).split("*"))
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def any_of(name, values, record):
    return any(value_matches(name, value, field(record, name)) for value in as_list(values))


class Rule:
    def __init__(self, written):
        measure, match, group, of, count, window = TYPES[written["type"]]
        self.name, self.type, self.measure = written["name"], written["type"], measure
        self.severity = written.get("severity", "warning")
        self.match = {**match, **written.get("match", {})}
        self.excluded = written.get("not", {})
        self.group = as_list(written.get("group", group))
        self.of = as_list(written.get("of", of))
        self.count = written.get("count", count)
        if "over" in written:
            self.count = size(written["over"])
        self.direction = written.get("direction", "out")
        period = written.get("period", {})
        self.shortest = seconds(period.get("min", "10s"))
        self.longest = seconds(period.get("max", "1h"))
        self.jitter = written.get("jitter", 10)
        self.merge = seconds(written.get("merge", "1s"))
        self.learn = seconds(written["learn"]) if "learn" in written else 0
        self.window = seconds(written.get("window", window) or "1s")
        if measure == "beacon":
            self.window = self.longest * self.count
        lasts = 2 * self.longest if measure == "beacon" else self.window
        self.lasts = seconds(written["for"]) if "for" in written else lasts
        self.repeat = seconds(written.get("repeat", "4h"))
        self.step = self.window * SECOND // 64

    def is_about(self, record):
        return (all(any_of(k, v, record) for k, v in self.match.items()) and
                not any(any_of(k, v, record) for k, v in self.excluded.items()))

    def amount(self, record):
        """What is summed; None: the record has none."""
        if self.measure != "bytes":
            return 0
        both = [natural(part(record, "bytes", way)) for way in ("out", "in")]
        wanted = {"out": both[:1], "in": both[1:], "both": both}[self.direction]
        return None if None in wanted else sum(wanted)

    def values(self, record):
        values = tuple(field(record, name) for name in self.of)
        return None if None in values else values


def natural(value):
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 \
        else None


class Group:
    def __init__(self, rule, key):
        self.rule, self.key = rule, key
        self.records = []       # (time, count, amount, values, id)
        self.moments = []
        self.open = None
        self.touched = 0

    def fingerprint(self):
        def text(value):
            return b"\1" if value is None else b"\2" + value.encode() + b"\0"
        whole = text(self.rule.name)
        for name, value in zip(self.rule.group, self.key):
            whole += text(name) + text(value)
        return hashlib.sha256(whole).hexdigest()[:16]

    def window(self, now):
        step = self.rule.step
        return [r for r in self.records if r[0] // step > now // step - 64]


class Model:
    def __init__(self, config):
        self.rules = [Rule(rule) for rule in config["rules"]]
        self.room = config.get("limits", {}).get("groups", 4096)
        memory = config.get("memory", {})
        self.entries = memory.get("entries", 65536)
        self.forget = seconds(memory.get("forget", "30d")) * SECOND
        self.now, self.touch = 0, 0
        self.groups = {}
        self.seen, self.learned = {}, {}    # key -> last seen; key -> [first, last], in order
        self.told = []
        self.opened = 0
        self.late = self.evicted = self.fired = 0
        self.writers, self.explained = [], 0

    # --- the stream

    def line(self, record):
        """A record with its sequence number."""
        seq, lost = natural(record.get("seq")), record["event"] == "lost"
        if seq is not None:
            first = natural(record.get("first")) if lost else None
            missing = self.follow(seq if first is None or first > seq else first, seq + 1)
            missing -= min(missing, self.explained)
            self.explained = 0
            if missing:
                self.record({"time": record["time"], "event": "gap", "count": missing})
        elif lost:
            self.explained += record.get("count", 1)
        self.record(record)

    def follow(self, first, then):
        if first in self.writers:
            self.writers.remove(first)
            self.writers.insert(0, then)
            return 0
        if first == 0 or not self.writers:
            self.writers = [then] + self.writers[:15]
            return 0
        below = [number for number in self.writers if number < first]
        if not below:
            return 0
        self.writers.remove(max(below))
        self.writers.insert(0, then)
        return first - max(below)

    # --- telling

    def tell(self, group, time, state, evicted=False):
        alert, rule = group.open, group.rule
        alert["told"] += 1
        self.told.append({
            "time": format_time(time), "alert": rule.name, "type": rule.type,
            "severity": rule.severity, "state": state, "fingerprint": group.fingerprint(),
            "start": format_time(alert["start"]),
            "end": format_time(time) if state == "resolved" else None,
            "count": alert["count"], "value": alert["value"], "threshold": rule.count,
            "told": alert["told"], "evicted": evicted,
            "group": dict(zip(rule.group, group.key)),
            "samples": [r[4] for r in group.records[-3:]]})

    def advance(self, now):
        if now <= self.now:
            return
        self.now = now
        while True:
            due = [(min(g.open["end"], g.open["again"]), g.open["serial"], g)
                   for g in self.groups.values() if g.open]
            due = [entry for entry in due if entry[0] <= now]
            if not due:
                return
            time, _, group = min(due, key=lambda entry: entry[:2])
            if group.open["end"] == time:
                self.end(group, time)
            else:
                self.tell(group, time, "firing")
                group.open["again"] = time + group.rule.repeat * SECOND

    def end(self, group, time, evicted=False):
        self.tell(group, time, "resolved", evicted)
        group.open = None
        self.touched(group)

    def touched(self, group):
        self.touch += 1
        group.touched = self.touch

    # --- groups and memory

    def group_of(self, rule, record):
        key = tuple(field(record, name) for name in rule.group)
        if (rule.name, key) not in self.groups:
            if len(self.groups) == self.room:
                self.evict()
            self.groups[rule.name, key] = Group(rule, key)
        return self.groups[rule.name, key]

    def evict(self):
        idle = [g for g in self.groups.values() if not g.open]
        group = min(idle or self.groups.values(), key=lambda g: g.touched)
        self.evicted += bool(group.open or group.window(self.now))
        if group.open:
            self.end(group, self.now, evicted=True)
        del self.groups[group.rule.name, group.key]

    def is_known(self, key):
        last = self.seen.pop(key, None)
        if last is None and len(self.seen) == self.entries:
            del self.seen[next(iter(self.seen))]
        self.seen[key] = self.now
        return last is not None and last + self.forget > self.now

    def is_learning(self, rule, key):
        entry = self.learned.pop(key, None)
        if entry is None and len(self.learned) == self.room:
            oldest = next(iter(self.learned))
            if self.learned[oldest][1] + self.forget > self.now:
                return False
            del self.learned[oldest]
        first = self.now if entry is None or entry[1] + self.forget <= self.now else entry[0]
        self.learned[key] = (first, self.now)
        return self.now < first + rule.learn * SECOND

    # --- conditions

    def record(self, record):
        time = parse_time(record["time"])
        self.advance(time)
        for rule in self.rules:
            if rule.is_about(record):
                self.apply(rule, record, time)

    def apply(self, rule, record, time):
        amount, values = rule.amount(record), rule.values(record)
        if amount is None or values is None:
            return
        if time // rule.step <= self.now // rule.step - 64:
            self.late += 1
            return
        group = self.group_of(rule, record)
        self.touched(group)
        count = record.get("count", 1)
        group.records.append((time, count, amount, values, record.get("generation")))
        value = self.measure(group, time, values)
        if group.open:
            group.open["count"] += count
        if value is None:
            return
        if not group.open:
            self.fired += 1
            self.opened += 1
            group.open = {"start": self.now, "serial": self.opened, "told": 0, "value": value,
                          "count": sum(r[1] for r in group.window(self.now)),
                          "end": self.now + rule.lasts * SECOND,
                          "again": self.now + rule.repeat * SECOND}
            self.tell(group, self.now, "firing")
        else:
            group.open["value"] = value
            group.open["end"] = self.now + rule.lasts * SECOND

    def measure(self, group, time, values):
        """The value if the condition holds, else None."""
        rule, window = group.rule, group.window(self.now)
        if rule.measure == "new":
            learning = rule.learn and self.is_learning(rule, (rule.name, group.key))
            known = self.is_known((rule.name, group.key, values))
            if known or learning:
                return None
            return group.open["value"] + 1 if group.open else 1
        if rule.measure == "beacon":
            return self.beacon(group, time)
        if rule.measure == "distinct":
            value = min(len({r[3] for r in window}), rule.count)
        elif rule.measure == "sum":
            value = sum(r[1] for r in window)
        else:
            value = sum(r[2] for r in window)
        return value if value >= rule.count else None

    def beacon(self, group, time):
        rule = group.rule
        oldest = self.now - rule.longest * rule.count * SECOND
        group.moments = [m for m in group.moments if m > oldest]
        if any(abs(m - time) < rule.merge * SECOND for m in group.moments):
            return None
        group.moments = sorted(group.moments + [time])[-rule.count:]
        if len(group.moments) < rule.count:
            return None
        gaps = [b - a for a, b in zip(group.moments, group.moments[1:])]
        n, span = len(gaps), sum(gaps)
        if any(abs(gap * n - span) * 100 > span * rule.jitter for gap in gaps):
            return None
        if not rule.shortest * SECOND * n <= span <= rule.longest * SECOND * n:
            return None
        return span // n // 10 ** 6


def run(config, records):
    model = Model(config)
    for record in records:
        model.line(record)
    return model


if __name__ == "__main__":
    import sys
    with open(sys.argv[1]) as rules, open(sys.argv[2]) as events:
        for told in run(json.load(rules), map(json.loads, events)).told:
            print(json.dumps(told))
