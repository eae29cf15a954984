# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Rows of `make bench`: slices of all variants in turn, medians, JSON, a table, a plot."""
import contextlib
import json
import math
import os
import random
import statistics

# What a row is measured for; every other variant is a peer.
OURS = "sluice"


class Rows:
    def __init__(self, out):
        self.out, self.objects, self.skipped = out, [], []
        self.part = None        # of the bench, as --only names it

    def slices(self, name, unit, variants, n, better, note=""):
        """variants: name -> function that measures one slice. They take turns, in an order
        that changes. Returns the slices of each."""
        return self.rounds(name, unit, lambda stack: variants, 1, n, better, note)

    def rounds(self, name, unit, begin, rounds, turns, better, note=""):
        """The same with variants that begin(stack) makes anew for each round of turns: where a
        process happens to have its memory is then chance too."""
        values, serial = {}, 0
        for _ in range(rounds):
            with contextlib.ExitStack() as stack:
                variants = begin(stack)
                order = list(variants)
                for _ in range(turns):
                    random.Random(serial).shuffle(order)
                    serial += 1
                    for variant in order:
                        values.setdefault(variant, []).append(variants[variant]())
        values = {variant: values[variant] for variant in variants}
        self.add(name, unit, values, better, note, paired=True)
        return values

    def added(self, name, unit, values, base, note=""):
        """What each variant costs more than `base` in the same turn."""
        self.add(f"{name}, added", unit,
                 {variant: [a - b for a, b in zip(v, values[base])]
                  for variant, v in values.items() if variant != base}, "lower", note)

    def add(self, name, unit, values, better="lower", note="", paired=False):
        """values: variant -> slices (of each the median counts). paired: slices of the same place
        were taken in the same turn."""
        load = round(os.getloadavg()[0], 2)
        medians = {variant: statistics.median(v) for variant, v in values.items()}
        ours = medians.pop(OURS)
        row = {"part": self.part, "name": name, "unit": unit, "better": better, "n": len(values[OURS]),
               "ours": ours, "load": load, **({"note": note} if note else {})}
        spread = {"ours_low": min(values[OURS]), "ours_high": max(values[OURS])}
        for peer, value in medians.items() or [(None, None)]:
            self.objects.append({**row, **spread, "peer_name": peer, "peer": value,
                                 "ratio": ours / value if value else None,
                                 **(against(values, peer, paired) if peer else {})})
        shown = "  ".join(f"{peer} {number(value)} (x{ours / value:.3g})" if value else peer
                          for peer, value in medians.items())
        print(f"{name:46} {number(ours):>9} {unit:9} {shown}  [load {load}]", flush=True)

    def skip(self, name, why):
        self.skipped.append({"name": name, "skipped": why})
        print(f"{name:46} skipped: {why}", flush=True)

    def write(self, host):
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps({"host": host, "rows": self.objects,
                                        "skipped": self.skipped}, indent=1) + "\n")


def against(values, peer, paired):
    """The peer's own spread, and the 95 % interval of the ratio in the same turn."""
    found = {"peer_low": min(values[peer]), "peer_high": max(values[peer])}
    if paired and min(values[peer]) > 0:
        found["ratio_low"], found["ratio_high"] = interval(
            [a / b for a, b in zip(values[OURS], values[peer])])
    return found


def interval(values):
    """The 95 % interval of the median, whatever the distribution: from the k-th least to the k-th
    largest (binomial). Below six values, which have none, all there is."""
    n, k, below = len(values), 0, 0.0
    while (below := below + math.comb(n, k) / 2 ** n) <= 0.025:
        k += 1
    ordered = sorted(values)
    return ordered[max(k - 1, 0)], ordered[n - max(k, 1)]


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


# --- the plot: made of the JSON alone

WIDTH, BAR, LEFT, COLORS = 900, 15, 330, {OURS: "#1f6feb"}


def text(x, y, words, **style):
    words = str(words).replace("&", "&amp;").replace("<", "&lt;")
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x}" y="{y}"{extra}>{words}</text>'


def grouped(rows):
    """name -> (row, [(variant, value)]), ours first, rows with a peer alone; what is added instead of
    all of it."""
    groups, added = {}, {row["name"] for row in rows if row["peer_name"] is not None}
    for row in rows:
        if row["peer_name"] is None or row["name"] + ", added" in added:
            continue
        _, bars = groups.setdefault(row["name"], (row, [(OURS, row["ours"])]))
        bars.append((row["peer_name"], row["peer"]))
    return groups


def plot(document):
    parts, y = [], 30
    for name, (row, bars) in grouped(document["rows"]).items():
        parts.append(text(10, y, f'{name}, {row["unit"]}, {row["better"]} is better',
                          font_weight="bold"))
        y += 8
        most = max(value for _, value in bars) or 1
        for variant, value in bars:
            wide = max(1, (WIDTH - LEFT - 110) * value / most)
            parts.append(text(LEFT - 8, y + 11, variant, text_anchor="end"))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR - 3}" '
                         f'fill="{COLORS.get(variant, "#9aa4b2")}"/>')
            parts.append(text(f"{LEFT + wide + 6:.1f}", y + 11, number(value)))
            y += BAR
        y += 26
    host = document["host"]
    parts.append(text(10, y, f'{host["cpu"]}, {host["cpus"]} CPUs, Linux {host["kernel"]}, load '
                      f'{host["load"][0]} to {host["load"][1]}, {host["date"]}'))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 20}" '
            f'font-family="sans-serif" font-size="12" fill="#111">'
            f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")
