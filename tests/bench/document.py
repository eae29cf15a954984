#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""document.py BENCH_JSON FOLDER: what one run of `make bench` says.

Into FOLDER/BENCHMARKS.md, between its marks, and, of the rows of which something is wanted,
FOLDER/benchmarks.svg. The same JSON makes the same files. Without such a row it says which lack,
and writes nothing.
"""
import json
import os
import pathlib
import sys

import goals
import rows

BEGIN, END = "<!-- of bench.json -->", "<!-- end of bench.json -->"
FACTS = ("date", "cpu", "cpus", "kernel", "load", "minutes")
PARTS = {"lookup": "Look-ups", "ports": "Ports", "replace": "Replacing a policy",
         "worst": "Changes and policies that multiply", "check": "Check", "start": "Start",
         "net": "Connections, datagrams, streams", "wide": "Datagrams to many destinations",
         "events": "Events", "reload": "Reloads", "targets": "A thousand targets", "names": "Names"}


class Wrong(Exception):
    """Why nothing is written."""


def cell(words):
    return str(words).replace("|", "\\|")


def line(cells):
    return "| " + " | ".join(map(cell, cells)) + " |"


def table(head, lines):
    return [line(head), "|" + "---|" * len(head), *map(line, lines)]


def facts(host):
    load, commit = host["load"], host.get("commit")
    return (f"One run of {host['minutes']} minutes, {host['date']}" +
            (f", of commit {commit}" if commit else "") +
            f": {host['cpu']}, {host['cpus']} CPUs, Linux {host['kernel']}; "
            f"load {load[0]} at its begin, {load[1]} at its end.")


def valued(value, unit):
    return "lost in the noise" if value is None else f"{rows.number(value)} {unit}".strip()


def yardstick(check):
    """How far ours is from a peer here, and was to be from it where the limit comes from."""
    words = [check.peers] if check.peers else []
    if check.seen:
        peer, here, there = check.seen
        words.append(f"{peer} {rows.number(here)} (there {rows.number(there)})" +
                     (f": ours is {check.value / here:.2g} of it, wanted {check.limit / there:.2g}"
                      if here > 0 else ", lost in the noise"))
    return "; ".join(words)


def verdicts(checks):
    reached = sum(check.reached for check in checks)
    lines = [(", ".join(filter(None, (c.topic, c.what))),
              f"{'≥' if c.least else '≤'} {rows.number(c.limit)} {c.unit}".strip() if c.limit else "0",
              valued(c.value, c.unit), "yes" if c.reached else "**no**", yardstick(c)) for c in checks]
    return [f"Reached: {reached} of {len(checks)}.", "",
            *table(("row", "wanted", "here", "reached", "peers here"), lines)]


def spread(row):
    if row["n"] == 1 or row["ours_low"] == row["ours_high"]:
        return rows.number(row["ours"])
    return f"{rows.number(row['ours'])} ({rows.number(row['ours_low'])} to " \
           f"{rows.number(row['ours_high'])})"


def part_table(objects):
    """The rows of one part, a column for each peer that any of them has."""
    names, peers = {}, {}
    for row in objects:
        names.setdefault(row["name"], {})[row["peer_name"]] = row
        if row["peer_name"] is not None:
            peers[row["peer_name"]] = True
    lines = []
    for name, by_peer in names.items():
        row = next(iter(by_peer.values()))
        values = (rows.number(by_peer[p]["peer"]) if p in by_peer else "" for p in peers)
        lines.append((name, row["unit"], row["n"], spread(row), *values))
    return table(("row", "unit", "n", "Sluice", *peers), lines)


def section(document):
    """What stands between the marks, and the names of the rows of which something is wanted."""
    host = document["host"]
    wanting = [name for name in FACTS if name not in host]
    if wanting:
        raise Wrong(f"no facts of the run: {', '.join(wanting)}")
    unknown = {row.get("part") for row in document["rows"]} - set(PARTS)
    if unknown:
        raise Wrong(f"rows of an unknown part: {', '.join(sorted(map(str, unknown)))}")
    try:
        checks, asked = goals.checks(document)
    except goals.Missing as e:
        raise Wrong(e) from None
    out = [facts(host), "", "### What is wanted, and what this run reached", "", *verdicts(checks), "",
           "![the rows above beside their peers](benchmarks.svg)", ""]
    for part, title in PARTS.items():
        of_part = [row for row in document["rows"] if row["part"] == part]
        if of_part:
            out += [f"### {title}", "", *part_table(of_part), ""]
    return "\n".join(out), asked


def put(text, made):
    """text with `made` between the marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise Wrong(f"BENCHMARKS.md: not exactly one {BEGIN} before one {END}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{made}{END}{rest.split(END)[1]}"


def replace(path, text):
    """All of it or nothing."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


def main(words):
    if len(words) != 2:
        sys.exit(__doc__.splitlines()[0])
    source, folder = map(pathlib.Path, words)
    page, drawing = folder / "BENCHMARKS.md", folder / "benchmarks.svg"
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
        made, asked = section(document)
        text = put(page.read_text(encoding="utf-8"), made)
        drawn = rows.plot({**document, "rows": [r for r in document["rows"] if r["name"] in asked]})
    except (OSError, ValueError, Wrong) as e:
        sys.exit("\n".join(f"document.py: {source}: {said}" for said in str(e).splitlines()))
    except KeyError as e:
        sys.exit(f"document.py: {source}: an object without {e}")
    replace(page, text)
    replace(drawing, drawn)


if __name__ == "__main__":
    main(sys.argv[1:])
