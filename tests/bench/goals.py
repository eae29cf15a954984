# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What is wanted of each row, and what a run reached. The wanted figures were seen on another
machine by a throw-away harness, together with what a peer took there: what counts as well is how
far ours is from the same peer here."""
import dataclasses

import rows

CONNTRACK, TRIE, EMPTY = "nftables set+conntrack", "LPM_TRIE", "empty program"
FAMILIES = (4, 6)


@dataclasses.dataclass
class Check:
    """One line of the table of verdicts. value: None where the noise leaves none."""
    topic: str          # the row of the list of what is wanted
    what: str
    value: float
    limit: float
    unit: str
    least: bool = False     # the limit is a lower one
    peers: str = ""
    seen: tuple = ()        # (peer's name, its value here, its value where the limit comes from)

    @property
    def reached(self):
        if self.value is None:
            return False
        return self.value >= self.limit if self.least else self.value <= self.limit


class Missing(Exception):
    """What the JSON does not hold."""


class Run:
    """The rows of a bench.json by name and peer. What is asked for and not there is remembered:
    all of it is one error."""

    def __init__(self, document):
        self.by_name, self.missing, self.asked = {}, [], set()
        self.skipped = {row["name"]: row["skipped"] for row in document["skipped"]}
        for row in document["rows"]:
            self.by_name.setdefault(row["name"], {})[row["peer_name"]] = row

    def row(self, name, peer=None):
        """The object of a peer; None: any."""
        found = self.by_name.get(name, {})
        self.asked.add(name)
        if found and (peer is None or peer in found):
            return found[peer] if peer else next(iter(found.values()))
        said = f"no row '{name}'" if not found else f"row '{name}' without {peer}"
        if name in self.skipped:
            said += f" (skipped: {self.skipped[name]})"
        if said not in self.missing:
            self.missing.append(said)
        return NOTHING

    def ours(self, name):
        return self.row(name)["ours"]

    def peer(self, name, peer):
        return self.row(name, peer)["peer"]

    def peers(self, name, *wanted):
        """The peers' own values, in words."""
        return ", ".join(f"{peer} {rows.number(self.peer(name, peer))}" for peer in wanted)

    def times(self, name, peer):
        """How many times ours the peer's is: how fast ours is, as a part of the peer's speed."""
        row = self.row(name, peer)
        return row["peer"] / row["ours"] if row["ours"] > 0 else None

    def ratio(self, name, peer):
        """None where a difference of the peer is lost in the noise."""
        row = self.row(name, peer)
        return row["ours"] / row["peer"] if row["peer"] and row["peer"] > 0 else None


# stands for what is missing until all that is missing is known
NOTHING = {"ours": 1.0, "peer": 1.0, "ratio_low": 1.0, "ratio_high": 1.0, "n": 0}


CONNECTS = (("empty programs", "0.97 to 0.99"), ("nftables set", 0.93), (CONNTRACK, 0.86),
            ("nftables concatenation", 0.41))


def connects(run):
    for family in FAMILIES:
        name = f"TCP connects, IPv{family}, 100000 prefixes"
        free = run.peer(name, "no filter")
        yield Check("connect/s ÷ no filter", f"IPv{family}", run.times(name, "no filter"), 0.95, "",
                    True, ", ".join(f"{peer} {free / run.peer(name, peer):.3g} (there {there})"
                                    for peer, there in CONNECTS))
        yield Check("connect/s ÷ nftables with conntrack", f"IPv{family}",
                    run.times(name, CONNTRACK), 1, "", True)


SET = "nftables set"
# (of which hook, row, limit, the peer that is a program alone, nftables where the limit comes from)
DATAGRAMS = (("tcx", "UDP from a tap, IPv{}, 100000 prefixes, 256 destinations", 90, EMPTY, 247),
             ("sendmsg + egress", "UDP by sendmsg, IPv{}, 100000 prefixes, 256 destinations", 170,
              "empty programs", None),
             ("connected", "UDP, 64 bytes, IPv{}, 100000 prefixes", 110, "empty programs", None))


def datagrams(run):
    for hook, row, limit, empty, there in DATAGRAMS:
        for family in FAMILIES:
            name = row.format(family) + ", added"
            seen = (SET, run.peer(name, SET), there) if there else ()
            yield Check(f"UDP, {hook}, added", f"IPv{family}", run.ours(name), limit, "ns", False,
                        run.peers(name, empty), seen)
            yield Check(f"UDP, {hook}, added ÷ {CONNTRACK}", f"IPv{family}",
                        run.ratio(name, CONNTRACK), 0.5, "", False, run.peers(name, CONNTRACK) + " ns")
    for family in FAMILIES:
        name = f"UDP from a tap, IPv{family}, 100000 prefixes, 8192 destinations, added"
        yield Check("UDP, tcx, wide destinations, added", f"IPv{family}", run.ours(name), 350, "ns",
                    False, run.peers(name, EMPTY), (SET, run.peer(name, SET), 1066))


LOOKUPS = ((4, 10, 30, 50), (4, 1_000_000, 120, 1242), (6, 10, 45, 77), (6, 1_000_000, 250, 1530))


def lookups(run):
    for family, n, limit, trie in LOOKUPS:
        name = f"lookup, IPv{family}, {n} prefixes, 64k destinations"
        yield Check("lookup, wide", f"IPv{family}, {n:,} prefixes", run.ours(name), limit, "ns", False,
                    run.peers(name, EMPTY), (TRIE, run.peer(name, TRIE), trie))
    for n, limit in ((4, 12), (32, 28), (256, 45)):
        yield Check("second step, added", f"{n} port intervals",
                    run.ours(f"second step, {n} port intervals, added"), limit, "ns")


def streams(run):
    for family in FAMILIES:
        name = f"TCP stream with GSO, IPv{family}, 100000 prefixes"
        row = run.row(name, "no filter")
        if "ratio_high" not in row:
            run.missing.append(f"row '{name}' without an interval of its ratio to no filter")
            row = NOTHING
        low, high = 1 / row["ratio_high"], 1 / row["ratio_low"]
        yield Check("TCP stream with GSO ÷ no filter, lower end of 95 %",
                    f"IPv{family}, {row['n']} slices", low, 0.95, "", True,
                    f"median {run.times(name, 'no filter') or 0:.3g}, upper end {high:.3g}")


REPLACE = ((100_000, 150, 50, 950, 260), (1_000_000, 1000, 300, 11200, 3200))


def replacing(run):
    for n, limit, build, nft, ipset in REPLACE:
        for family in FAMILIES:
            name, what = f"replace, IPv{family}, {n} prefixes", f"IPv{family}, {n:,} prefixes"
            yield Check("replace", what, run.ours(name), limit, "ms", False,
                        run.peers(name, "ipset") + f" (there {ipset:,})",
                        ("nftables set", run.peer(name, "nftables set"), nft))
            yield Check("of it the table's build", what,
                        run.ours(f"of it compile, IPv{family}, {n} prefixes"), build, "ms")
    for family in FAMILIES:
        yield Check("wrong verdicts while 100,000 prefixes are replaced", f"IPv{family}",
                    run.ours(f"wrong verdicts while 100000 prefixes are replaced, IPv{family}"), 0, "")
    yield Check("change one rule of 100,000", "", run.ours("one of 100000 rules changed"), 60, "ms")


def memory(run):
    for family, limit in ((4, 16), (6, 40)):
        name = f"memory, IPv{family}, 1000000 prefixes"
        yield Check("memory, 1M prefixes", f"IPv{family}", run.ours(name), limit, "B/prefix", False,
                    "", (TRIE, run.peer(name, TRIE), 139))
    for family in FAMILIES:
        name = f"free, IPv{family}, 1000000 prefixes"
        yield Check("free the old generation, 1M prefixes", f"IPv{family}", run.ours(name), 5,
                    "ms of CPU", False, run.peers(name, TRIE) + " (there 600 to 960)")


def worst(run):
    for what in ("20 uids with 1000000 prefixes", "65000 address:port under 1000 ports"):
        yield Check("table of a policy that multiplies", what, run.ours(f"table, {what}"), 64, "MiB",
                    False, f"compiled in {rows.number(run.ours(f'compile, {what}'))} ms")


def events(run):
    yield Check("events drained, 1 consumer", "", run.ours("events drained from a full ring"), 2,
                "M/s", True)
    yield Check("events unaccounted", "", run.ours("events unaccounted"), 0, "")


STARTS = (("run -- true", "without names", 30), ("run -- true, with names", "with names", 90),
          ("run -- true, through sluiced", "through sluiced", 5))


def starting(run):
    for name, what, limit in STARTS:
        yield Check("`sluice run -- true` less `true`", what, run.ours(f"{name}, added"), limit, "ms")


def checking(run):
    for what in ("1000000 entries in a set file", "100000 rules"):
        yield Check("`sluice check`", what, run.ours(f"check, {what}"), 1000, "ms")
        yield Check("`sluice check`, memory", what, run.ours(f"check, {what}, memory") * 2 ** 20 / 1e6,
                    200, "MB")


def many_targets(run):
    name = "memory of each of 1000 targets"
    yield Check("1,000 targets: memory, second half ÷ first", "",
                run.ratio(name, "of the first half"), 1.1, "", False,
                f"{rows.number(run.ours(name))} KiB each")
    yield Check("1,000 targets: attach each in a batch", "",
                run.ours("attach each of 1000 cgroups, in a batch"), 3, "ms")
    yield Check("1,000 targets: attach one more, alone", "", run.ours("attach one more to 1000"), 15,
                "ms")
    for family in FAMILIES:
        name = f"TCP connects, IPv{family}, of one of 1000 targets"
        row = run.row(name, "1 target")
        low, high = row.get("ratio_low", 1), row.get("ratio_high", 1)
        yield Check("1,000 targets: CPU of a connection ÷ of the only target, lower end of 95 %",
                    f"IPv{family}", low, 1, "", False,
                    f"median {run.ratio(name, '1 target') or 0:.3g}, upper end {high:.3g}")


def live_flows(run):
    for family in FAMILIES:
        yield Check("reload with 10,000 live flows: packets lost", f"IPv{family}",
                    run.ours(f"reload, IPv{family}, 10000 live flows, lost"), 0, "")


def named(run):
    for family in FAMILIES:
        name = f"getaddrinfo and connect, IPv{family}"
        yield Check("names: added to one getaddrinfo + connect", f"IPv{family}",
                    run.ours(f"{name}, names added") / 1e3, 5, "µs", False,
                    f"all of Sluice {rows.number(run.ours(f'{name}, added') / 1e3)}")


def checks(document):
    """All of them, in the order of the list of what is wanted, and the names of their rows."""
    run, out = Run(document), []
    for part in (connects, datagrams, lookups, streams, replacing, memory, worst, events, starting,
                 checking, many_targets, live_flows, named):
        out.extend(part(run))
    if run.missing:
        told = "\n".join(run.missing)
        others = [f"skipped: {name}: {why}" for name, why in run.skipped.items() if name not in told]
        raise Missing("\n".join([told, *others]))
    return out, run.asked
