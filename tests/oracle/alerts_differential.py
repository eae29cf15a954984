#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""tests/oracle/alerts_differential.py --build BUILD [--seed N] [--time SECONDS | --rounds N]

Random rules over random streams of records: what `sluice alerts --events` prints against
alerts_model.py. The last line says how many streams, records and alerts were compared.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import alerts_model as model

TARGETS = [{"kind": "device", "name": "vnet0"}, {"kind": "device", "name": "vnet1"},
           {"kind": "cgroup", "name": "/a/\u202egpj.exe\n$(reboot)"},
           {"kind": "cgroup", "name": None}, None, {"kind": "cgroup", "name": "x" * 600}]
NAMES = ["api.example.com", "b.example.com", "evil\"'`;\\\x1b[31m.example", None, None]
ADDRESSES = ["192.0.2.1", "192.0.2.77", "198.51.100.9", "2001:db8::1", "2001:db8:1::2",
             "not an address"]
COMMS = ["curl", "a*b", "", None]
GROUPS = ["target", "destination", "destination.port", "process.comm", "rule", "hook",
          "question.name", "direction"]
START = 1_790_000_000


def some(rng, *values):
    return rng.choice(values)


def random_match(rng):
    fields = {
        "destination.address": ["192.0.2.0/24", "2001:db8::/48", "198.51.100.9", None],
        "destination.port": ["443", "1-1023", "8080", None],
        "destination.name": ["*.example.com", "*ex*pl*", "api.example.com", None],
        "process.comm": ["curl", "a*b", "*", None], "process.uid": ["0", "1000-1001"],
        "verdict": ["deny", "allow", "audit-deny"], "event": ["connection", "dns", "meter"],
        "target": ["device:vnet?", "device:*", None], "change": ["lost", "back", None],
        "rule": [None, "deny-*", "r1"],
    }
    names = rng.sample(sorted(fields), rng.randint(1, 2))
    return {name: some(rng, rng.choice(fields[name]),
                       rng.sample(fields[name], rng.randint(1, 2))) for name in names}


def add_numbers(rng, rule):
    kind = rule["type"]
    if kind in ("blocked", "dns", "loss", "custom", "detach", "expired"):
        rule["count"] = rng.randint(1, 12)
    if kind == "scan":
        rule["count"] = rng.randint(1, 6)
        rule["of"] = rng.sample(["destination", "destination.port", "process.comm",
                                 "source.port"], rng.randint(1, 2))
    if kind == "first-seen":
        rule["of"] = rng.sample(["destination", "destination.port", "process.comm"],
                                rng.randint(1, 2))
        if rng.random() < 0.5:
            rule["learn"] = some(rng, "10s", "1m", "10m")
    if kind == "bytes":
        rule["over"] = some(rng, "2KiB", "20KiB", "1MiB")
        rule["direction"] = some(rng, "out", "in", "both")
    if kind == "beacon":
        rule["count"] = rng.randint(4, 7)
        rule["period"] = some(rng, {"min": "1s", "max": "1m"}, {"min": "5s", "max": "20s"})
        rule["jitter"] = some(rng, 0, 5, 20, 50)
        rule["merge"] = some(rng, "1s", "1s", "1s")
    elif rng.random() < 0.8:
        rule["window"] = some(rng, "1s", "7s", "30s", "1m", "5m", "1h")


def random_rule(rng, number):
    rule = {"name": f"rule-{number}", "type": rng.choice(sorted(model.TYPES))}
    add_numbers(rng, rule)
    if rule["type"] == "custom" or rng.random() < 0.3:
        rule["match"] = random_match(rng)
    if rng.random() < 0.2:
        rule["not"] = random_match(rng)
    if rng.random() < 0.5:
        rule["group"] = rng.sample(GROUPS, rng.randint(1, 3))
    if rng.random() < 0.5:
        rule["for"] = some(rng, "1s", "20s", "2m", "10m", "3h")
    if rng.random() < 0.5:
        rule["repeat"] = some(rng, "1m", "2m", "1h")
    if rng.random() < 0.5:
        rule["severity"] = some(rng, "info", "critical")
    return rule


def random_config(rng):
    config = {"alerts": 1, "rules": [random_rule(rng, i) for i in range(rng.randint(1, 8))]}
    if rng.random() < 0.5:
        config["limits"] = {"groups": rng.randint(1, 12)}
    if rng.random() < 0.5:
        config["memory"] = {"entries": rng.randint(1, 12),
                            "forget": some(rng, "20s", "5m", "30d")}
    return config


def random_record(rng, ns, number):
    event = rng.choices(["connection", "dns", "meter", "lost", "foreign-change", "expired", "other"],
                        [60, 12, 10, 6, 4, 4, 4])[0]
    # times of other precision must mean the same
    record = {"time": model.format_time(ns), "event": event, "generation": number,
              "verdict": some(rng, "allow", "deny", "deny", "audit-deny"),
              "rule": some(rng, None, "deny-1", "r1"), "hook": some(rng, "connect4", "tc-ingress"),
              "target": rng.choice(TARGETS), "direction": some(rng, "egress", "ingress"),
              "destination": {"address": rng.choice(ADDRESSES), "name": rng.choice(NAMES),
                              "port": some(rng, 22, 443, 8080, 65535, None)},
              "source": some(rng, None, {"address": "10.0.0.1", "port": rng.randint(1, 9)}),
              "process": {"pid": 1, "uid": some(rng, 0, 1000, None), "comm": rng.choice(COMMS)}}
    if rng.random() < 0.4:
        record["count"] = rng.randint(1, 5)
    if event == "dns":
        record["question"] = {"name": rng.choice(NAMES), "type": "A"}
    if event == "meter" or rng.random() < 0.05:
        record["bytes"] = some(rng, {"out": rng.randint(0, 9000), "in": rng.randint(0, 90000)},
                               {"out": 5000}, {"out": -1, "in": "9"})
    if event == "foreign-change":
        record["change"] = some(rng, "lost", True, None)
    return record


def steps(rng):
    """Moments: a mixture of bursts, pauses, regular beats, and late ones."""
    now = START * model.SECOND + rng.randrange(model.SECOND)
    beat = rng.randint(2, 15) * model.SECOND
    while True:
        mood, length = rng.choice(["burst", "beat", "walk", "pause"]), rng.randint(1, 25)
        for _ in range(length):
            now += {"burst": rng.randrange(10 ** 8),
                    "beat": beat + rng.randrange(-beat // 50, beat // 50),
                    "walk": rng.randrange(5 * model.SECOND),
                    "pause": rng.randrange(200 * model.SECOND) // length}[mood]
            late = rng.random() < 0.1
            yield now - (rng.randrange(90 * model.SECOND) if late else 0), mood


def random_records(rng, n):
    records, beating = [], None
    clock = steps(rng)
    seqs = [0]
    for number in range(n):
        ns, mood = next(clock)
        record = random_record(rng, ns, number)
        if mood == "beat" and beating and rng.random() < 0.9:
            record = {**beating, "time": record["time"], "generation": number}
        elif record["event"] == "connection":
            beating = record
        writer = rng.randrange(len(seqs))
        roll = rng.random()
        if roll < 0.02 and len(seqs) < 4:
            seqs.append(0)
            writer = len(seqs) - 1
        elif roll < 0.04:
            seqs[writer] += rng.randint(1, 9)
        elif roll < 0.05:
            seqs[writer] = 0
        if record["event"] == "lost" and rng.random() < 0.7:
            record["first"] = seqs[writer]
            seqs[writer] += record.get("count", 1) - 1
        if rng.random() < (0.5 if record["event"] == "lost" else 0.97):
            record["seq"] = seqs[writer]
            seqs[writer] += 1
        records.append(record)
    return records


def told_by_program(program, folder, config, records):
    (folder / "rules.yaml").write_text(json.dumps(config))
    (folder / "events.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    done = subprocess.run([program, "--rules", folder / "rules.yaml", "--events",
                           folder / "events.jsonl", "-o", "json"], capture_output=True, text=True,
                          timeout=60)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != (1 if told else 0):
        raise AssertionError(f"exit {done.returncode}: {done.stderr}")
    for alert in told:
        del alert["summary"]
        alert["samples"] = [sample.get("generation") for sample in alert["samples"]]
    return told, done.stderr


def plural(n):
    return "" if n == 1 else "s"


def difference(program, folder, config, records):
    told, said = told_by_program(program, folder, config, records)
    expected = model.run(config, records)
    if told != expected.told:
        at = next((i for i, (a, b) in enumerate(zip(told, expected.told)) if a != b),
                  min(len(told), len(expected.told)))
        return (f"alert {at}: program {json.dumps(told[at:at + 1])}\n"
                f"         model   {json.dumps(expected.told[at:at + 1])}"), 0
    for number, words in ((expected.late, "too late for a rule"),
                          (expected.evicted, f"group{plural(expected.evicted)} dropped for room"),
                          (expected.fired, f"alert{plural(expected.fired)},")):
        if f" {number} {words}" not in said and (number or words.startswith("alert")):
            return f"{number} {words}: the program says {said}", 0
    return None, len(told)


def shrink(program, folder, config, records):
    """The rules and records that the difference needs."""
    for what in ("rules", "records"):
        items = config["rules"] if what == "rules" else records
        chunk = max(1, len(items) // 2)
        while chunk:
            at = 0
            while at < len(items):
                fewer = items[:at] + items[at + chunk:]
                tried = ({**config, "rules": fewer}, records) if what == "rules" else \
                    (config, fewer)
                if fewer and difference(program, folder, *tried)[0]:
                    items = fewer
                    config, records = tried
                else:
                    at += chunk
            chunk //= 2
    return config, records


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--time", type=float)
    parser.add_argument("--rounds", type=int)
    args = parser.parse_args()
    program = args.build.resolve() / "sluice-alerts"
    print(f"seed {args.seed}", flush=True)
    ends = time.monotonic() + (args.time or 1e9)
    rounds = n_records = n_told = 0
    with tempfile.TemporaryDirectory(prefix="sl-alerts-") as name:
        folder = pathlib.Path(name)
        while time.monotonic() < ends and rounds != (args.rounds or (-1 if args.time else 100)):
            rng = random.Random(f"{args.seed}/{rounds}")
            config = random_config(rng)
            records = random_records(rng, rng.choice([20, 150, 400]))
            wrong, told = difference(program, folder, config, records)
            if wrong:
                config, records = shrink(program, folder, config, records)
                print(f"round {rounds}:\n{json.dumps(config)}")
                print("\n".join(json.dumps(record) for record in records))
                print(difference(program, folder, config, records)[0])
                return 1
            rounds, n_records, n_told = rounds + 1, n_records + len(records), n_told + told
    print(f"{rounds} streams, {n_records} records, {n_told} alerts told: 0 differences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
