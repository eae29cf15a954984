#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a change of policy costs those who are under it: wrong verdicts while 100k prefixes are
replaced, packets lost of 10,000 flows, the kernel's work to free what was. The tests use the
same (tests/system/test_reload.py): reload.py FOLDER FAMILY N writes two policies there."""
import json
import pathlib
import random
import subprocess
import sys

import prefixes

PROBES = 2048


def two_policies(folder, family, n):
    """Two policies, n prefixes in either, most of them in both, in another order; addresses that
    both allow, and that neither does. What replace_fire takes."""
    made = prefixes.make(family, 2 * n)
    denied, common, mine, yours = (made[n * a // 10:n * b // 10] for a, b in
                                   ((0, 2), (2, 9), (9, 12), (12, 15)))
    shuffled = common[:]
    random.Random(n).shuffle(shuffled)
    words = []
    for name, held in (("before", common + mine), ("after", yours + shuffled)):
        path = prefixes.policy(folder, name, held, family)
        path.write_text(path.read_text().replace("rules:", "on_deny: drop\nrules:"))
        words.append(path)
    for name, held in (("allowed", common), ("denied", denied)):
        path = folder / f"{name}-{family}"
        path.write_text("\n".join(prefixes.allowed(held, family, PROBES)) + "\n")
        words.append(path)
    return words


def run(*words):
    """What the tool prints, and whether all was right."""
    done = subprocess.run([str(word) for word in words], text=True, stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, timeout=300)
    assert done.stdout, f"{words[0]}: exit status {done.returncode}"
    return json.loads(done.stdout), done.returncode == 0


def under_fire(table, build, folder, args):
    n = min(100_000, args.most)
    for family in (4, 6):
        got, _ = run(build / "tests" / "replace_fire", 5, *two_policies(folder, family, n))
        table.add(f"wrong verdicts while {n} prefixes are replaced, IPv{family}", "verdicts",
                  {"sluice": [got["wrong"]]}, note=f"of {got['probes']}, {got['swaps']} times")


def live_flows(table, build, folder, args):
    for family in (4, 6):
        got, _ = run(build / "tests" / "reload_flows", 20, family)
        name = f"reload, IPv{family}, {got['flows']} live flows"
        table.add(f"{name}, lost", "packets", {"sluice": [got["lost"] + got["retransmitted"]]},
                  note=f"of {got['packets']}, {got['swaps']} times")
        table.add(name, "ms", {"sluice": got["swap_ms"]}, note="with traffic on the other CPU")


def freeing(table, build, folder, args):
    for family in (4, 6):
        for n, slices in ((100_000, 3), (1_000_000, 1)):
            if n > args.most:
                table.skip(f"free, IPv{family}, {n} prefixes", "more than --most")
                continue
            path = prefixes.policy(folder, "free", prefixes.make(family, n), family)
            got, _ = run(build / "tests" / "bench_freeing", path, slices)
            table.add(f"free, IPv{family}, {n} prefixes", "ms of CPU",
                      {"sluice": got["table"], "LPM_TRIE": got["trie"]})


if __name__ == "__main__":
    print(*two_policies(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), sep="\n")
