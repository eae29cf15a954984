#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""tests/bench/bench.py BUILD [--only PART]... [--slices N] [--most PREFIXES] [--svg FILE]

Sluice beside its peers, in one run: BUILD/bench.json, a table, and a plot of that JSON.
Parts: lookup, ports, replace, worst, check, start, net, wide, events, reload, targets, names.
docs/BENCHMARKS.md explains the rows; document.py makes its tables of the JSON.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

import host
import net
import prefixes
import reload
import resolving
import start
import targets
import wide
from rows import Rows, plot


def lookup_tool(build, policy, destinations, port, slices, trie=True):
    done = subprocess.run([build / "tests" / "bench_lookup", policy, destinations, str(port),
                           str(slices), *(["trie"] if trie else [])], text=True,
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def write_destinations(folder, made, family, n=65536):
    path = folder / "destinations"
    path.write_text("\n".join(prefixes.destinations(made, family, n)) + "\n")
    return path


def lookup(table, build, folder, args):
    for family in (4, 6):
        for n in (10, 1000, 100_000, 1_000_000):
            if n > args.most:
                table.skip(f"verdict, IPv{family}, {n} prefixes", "more than --most")
                continue
            made = prefixes.make(family, n)
            policy = prefixes.policy(folder, "lookup", made, family)
            tries = []
            for wide, to in (("64k destinations", 65536), ("256 destinations", 256)):
                got = lookup_tool(build, policy, write_destinations(folder, made, family, to),
                                  443, args.slices)
                found = got["found"]
                tries.append(got["trie_bytes"])
                # a prefix of addresses that embed others is a class of its own
                assert found["lookup"] <= found["table"] == found["trie"], found
                table.add(f"verdict, IPv{family}, {n} prefixes, {wide}", "ns",
                          {"sluice": got["table"], "LPM_TRIE": got["trie"],
                           "empty program": got["empty"]})
                table.add(f"lookup, IPv{family}, {n} prefixes, {wide}", "ns",
                          {"sluice": got["lookup"], "LPM_TRIE": got["trie"],
                           "empty program": got["empty"]}, note=least(got, "lookup", "trie"))
            table.add(f"memory, IPv{family}, {n} prefixes", "B/prefix",
                      {"sluice": [got["table_bytes"] / n], **trie_memory(tries, n)},
                      note="the table alone; the trie: what the kernel's objects grow by")


def trie_memory(tries, n):
    """Of small ones nothing is to be seen; while one is filled the one before may still be freed."""
    return {"LPM_TRIE": [max(tries) / n]} if n >= 100_000 else {}


def least(got, *variants):
    """What load adds to the medians is not in the least."""
    return "at best " + ", ".join(f"{name} {min(got[name]):.3g}" for name in (*variants, "empty"))


def ports(table, build, folder, args):
    made = prefixes.make(4, min(100_000, args.most))
    to = write_destinations(folder, made, 4)
    none = None
    for n in (0, 1, 4, 32, 256):
        # the same part of all ports, however many intervals; 1 is in it
        step = 65000 // max(n, 1)
        listed = ",".join(f"{i * step + 1}-{i * step + step // 2}" for i in range(n))
        policy = prefixes.policy(folder, "ports", made, 4, listed)
        got = lookup_tool(build, policy, to, 1, args.slices, trie=False)
        table.add(f"verdict, IPv4, {len(made)} prefixes, {n} port intervals", "ns",
                  {"sluice": got["table"], "empty program": got["empty"]})
        table.add(f"second step, {n} port intervals", "ns",
                  {"sluice": got["step"], "empty program": got["empty"]}, note=least(got, "step"))
        net_of = [step - empty for step, empty in zip(got["step"], got["empty"])]
        none = statistics.median(net_of) if none is None else none
        if n:
            table.add(f"second step, {n} port intervals, added", "ns",
                      {"sluice": [value - none for value in net_of]},
                      note="to none, less the empty program's of the same turn")


def stages(got):
    return got["text_ms"] + got["compile_ms"] + got["copy_ms"] + got["switch_ms"]


def timed(*words, **options):
    at = time.monotonic()
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, **options)
    return (time.monotonic() - at) * 1e3


def replace(table, build, folder, args):
    """Text to a table that is obeyed; peers: the same prefixes into a set that is emptied in
    the same transaction, or swapped."""
    ns = f"slb{os.getpid()}r"
    inside = ["nsenter", f"--net=/run/netns/{ns}"]
    net.sh("ip", "netns", "add", ns)
    try:
        for family in (4, 6):
            for n in (100_000, 1_000_000):
                if n > args.most:
                    table.skip(f"replace, IPv{family}, {n} prefixes", "more than --most")
                    continue
                replace_one(table, build, folder, inside, family, n)
    finally:
        net.sh("ip", "netns", "del", ns)


def replace_one(table, build, folder, inside, family, n):
    made = prefixes.make(family, n)
    policy = prefixes.policy(folder, "replace", made, family)
    to = write_destinations(folder, made, family, 256)
    rules = prefixes.nft(folder / "replace.nft", made, family, "set")
    rules.write_text("table inet bench\ndelete table inet bench\n" + rules.read_text())
    swap = prefixes.ipset(folder / "replace.ipset", made, family, "fresh")
    swap.write_text(swap.read_text() + "swap fresh all\ndestroy fresh\n")
    wide = "inet6" if family == 6 else "inet"
    net.sh(*inside, "ipset", "create", "-exist", "all", "hash:net", "family", wide, "maxelem",
           "2000000")
    turns = 3 if n <= 100_000 else 1    # of the peers, which take half a minute
    got, values = [], {"sluice": [], "nftables set": [], "ipset": []}
    for turn in range(5):
        got.append(lookup_tool(build, policy, to, 443, 0, trie=False))
        values["sluice"].append(stages(got[-1]))
        if turn < turns:
            values["nftables set"].append(timed(*inside, "nft", "-f", rules))
            values["ipset"].append(timed(*inside, "ipset", "restore", "-file", swap))
    table.add(f"replace, IPv{family}, {n} prefixes", "ms", values)
    table.add(f"of it compile, IPv{family}, {n} prefixes", "ms",
              {"sluice": [g["compile_ms"] for g in got]})
    net.sh(*inside, "ipset", "destroy", "all")
    net.sh(*inside, "nft", "flush", "ruleset")


def write_rules(path, n):
    """Two for each address: there are at most 65,535 classes of addresses."""
    path.write_text("sluice: 1\nrules:\n" + "".join(
        f"  - allow: 10.{i // 2 >> 8 & 255}.{i // 2 & 255}.1:{443 - i % 2}/tcp\n"
        for i in range(n)))
    return path


def worst(table, build, folder, args):
    """Policies that multiply; and one rule of many changed, which is all of them again."""
    made = prefixes.make(4, min(1_000_000, args.most))
    to = write_destinations(folder, made, 4, 256)
    rules = write_rules(folder / "rules.yaml", 100_000)
    got = [lookup_tool(build, rules, to, 443, 0, trie=False) for _ in range(7)]
    table.add("one of 100000 rules changed", "ms", {"sluice": [stages(g) for g in got]})
    path = prefixes.policy(folder, "uids", made, 4)
    path.write_text(path.read_text().split("rules:")[0] + "rules:\n" + "".join(
        f'  - allow: {{to: "@all", ports: {1000 + i}, protocol: tcp, uid: {2000 + i}}}\n'
        for i in range(20)))
    got = lookup_tool(build, path, to, 443, 0, trie=False)
    table.add(f"compile, 20 uids with {len(made)} prefixes", "ms", {"sluice": [got["compile_ms"]]})
    table.add(f"table, 20 uids with {len(made)} prefixes", "MiB",
              {"sluice": [got["table_bytes"] / 2 ** 20]})
    path = folder / "many.yaml"
    path.write_text("sluice: 1\nrules:\n" + "".join(
        f"  - deny: {{to: any, ports: {1 + 2 * i}, protocol: tcp}}\n" for i in range(1000)) +
        "".join(f"  - allow: 10.{i >> 8}.{i & 255}.1:{2 + 2 * (i % 30000)}/tcp\n"
                for i in range(65_000)))
    got = lookup_tool(build, path, to, 443, 0, trie=False)
    table.add("compile, 65000 address:port under 1000 ports", "ms",
              {"sluice": [got["compile_ms"]]})
    table.add("table, 65000 address:port under 1000 ports", "MiB",
              {"sluice": [got["table_bytes"] / 2 ** 20]})


# A child's largest memory is at least its parent's at the fork, and ours is large: this one's
# child is measured.
MEASURE = """
import os, sys, time
at = time.monotonic()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
                     file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                                   (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
_, status, usage = os.wait4(pid, 0)
print((time.monotonic() - at) * 1e3, usage.ru_maxrss / 1024)
sys.exit(status != 0)
"""


def measured(*words):
    """ms by the clock, and MiB at most."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, words)], check=True,
                          text=True, stdout=subprocess.PIPE)
    return tuple(map(float, done.stdout.split()))


def check(table, build, folder, args):
    made = prefixes.make(4, min(1_000_000, args.most))
    for name, path in ((f"{len(made)} entries in a set file",
                        prefixes.policy(folder, "check", made, 4)),
                       ("100000 rules", write_rules(folder / "rules.yaml", 100_000))):
        spent, most = zip(*(measured(build / "sluice", "check", path) for _ in range(3)))
        table.add(f"check, {name}", "ms", {"sluice": spent})
        table.add(f"check, {name}, memory", "MiB", {"sluice": most})


def starts(table, build, folder, args):
    start.rows(table, build, max(15, args.slices))


def network(table, build, folder, args):
    net.rows(table, build, folder, min(100_000, args.most), args.slices)


def wide_destinations(table, build, folder, args):
    wide.rows(table, build, folder, min(100_000, args.most), args.slices)


def events(table, build, folder, args):
    done = subprocess.run([build / "tests" / "bench_events", "0.4", str(min(args.slices, 5))],
                          text=True, stdout=subprocess.PIPE, check=True)
    got = json.loads(done.stdout)
    unit, note = "M/s of CPU", "1 consumer; M/s by the clock: {:.3g}"
    for what, name in (("counted", "events drained"), ("records", "events drained into JSON records")):
        table.add(name, unit, {"sluice": got[what]}, "higher",
                  note.format(statistics.median(got[f"{what}_by_clock"])))
    table.add("events drained from a full ring", "M/s", {"sluice": got["full_by_clock"]}, "higher",
              "by the clock; nobody adds to it meanwhile")
    table.add("events unaccounted", "events", {"sluice": got["unaccounted"]})


def reloads(table, build, folder, args):
    for part in (reload.under_fire, reload.live_flows, reload.freeing):
        part(table, build, folder, args)


def thousand(table, build, folder, args):
    targets.rows(table, build, folder, args.slices)


def resolved(table, build, folder, args):
    resolving.rows(table, build, folder, args.slices)


PARTS = {"lookup": lookup, "ports": ports, "replace": replace, "worst": worst, "check": check,
         "start": starts, "net": network, "wide": wide_destinations, "events": events,
         "reload": reloads, "targets": thousand, "names": resolved}


# No peer of these is another program.
ALONE = {"lookup", "ports", "worst", "check", "start", "events"}


def ran(table, name, part, *words):
    """What one part cannot do does not cost the others' minutes."""
    table.part = name
    try:
        part(table, *words)
    except (OSError, subprocess.SubprocessError, AssertionError) as e:
        traceback.print_exc()
        table.skip(name, f"{type(e).__name__}: {e}")
        return False
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--slices", type=int, default=11)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--svg", type=pathlib.Path)
    args = parser.parse_args()
    build = args.build.resolve()
    if os.geteuid():
        sys.exit("bench.py: makes network namespaces and loads programs: needs root")
    parts = args.only or list(PARTS)
    needed = ("nft", "ipset", "iptables-legacy", "ip", "dnsmasq") if set(parts) - ALONE else ()
    missing = [name for name in needed if not shutil.which(name)]
    if missing:
        sys.exit(f"bench.py: not installed: {' '.join(missing)}; tools/install-deps bench")
    stats = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
    if stats.read_text().strip() != "0":
        sys.exit("bench.py: kernel.bpf_stats_enabled is on: it costs 61 ns a run")
    facts = host.Facts()
    table, failed = Rows(build / "bench.json"), 0
    with tempfile.TemporaryDirectory(prefix="sl-bench-") as folder:
        for name, part in PARTS.items():
            if name in parts:
                failed += not ran(table, name, part, build, pathlib.Path(folder), args)
    table.write(facts.after())
    (args.svg or build / "bench.svg").write_text(plot(json.loads(table.out.read_text())))
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
