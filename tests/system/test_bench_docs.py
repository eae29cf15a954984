# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What `make bench-docs` makes of a bench.json: tables, verdicts, a drawing; or says what lacks."""
import importlib.util
import json
import pathlib
import subprocess
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tests" / "bench" / "document.py"
PAGE = "# Title\n\nbefore\n\n<!-- of bench.json -->\nold\n<!-- end of bench.json -->\n\nafter\n"
NET = ("no filter", "empty programs", "nftables set", "nftables set+conntrack", "nftables concatenation")
HOST = {"date": "2026-01-02", "cpu": "A Processor", "cpus": 2, "kernel": "6.1.2", "load": [0.1, 1.5],
        "minutes": 12.5, "commit": "0123456789"}


def row(part, name, ours, unit="ns", n=11, **peers):
    """Objects of one row; peers: name -> value."""
    base = {"part": part, "name": name, "unit": unit, "better": "lower", "n": n, "ours": ours, "load": 0.1,
            "ours_low": ours, "ours_high": ours}
    return [{**base, "peer_name": peer, "peer": value, "ratio": ours / value if value else None,
             **({"ratio_low": ours / value * 0.99, "ratio_high": ours / value * 1.01} if value else {})}
            for peer, value in peers.items()] or [{**base, "peer_name": None, "peer": None, "ratio": None}]


def of_family(family):
    v = f"IPv{family}"
    yield from row("net", f"TCP connects, {v}, 100000 prefixes", 100, **dict.fromkeys(NET, 96))
    yield from row("net", f"TCP stream with GSO, {v}, 100000 prefixes", 100, n=31, **dict.fromkeys(NET, 99))
    yield from row("net", f"UDP, 64 bytes, {v}, 100000 prefixes, added", 110, **dict.fromkeys(NET[1:], 220))
    yield from row("wide", f"UDP by sendmsg, {v}, 100000 prefixes, 256 destinations, added", 170,
                   **dict.fromkeys(NET[1:], 341))
    for n in (256, 8192):
        yield from row("wide", f"UDP from a tap, {v}, 100000 prefixes, {n} destinations, added", 90,
                       **{"empty program": 40, **dict.fromkeys(NET[2:], 180)})
    for n in (10, 1_000_000):
        yield from row("lookup", f"lookup, {v}, {n} prefixes, 64k destinations", 30,
                       **{"LPM_TRIE": 60, "empty program": 13})
    for n in (100_000, 1_000_000):
        yield from row("replace", f"replace, {v}, {n} prefixes", 150, "ms", **{"nftables set": 950, "ipset": 260})
        yield from row("replace", f"of it compile, {v}, {n} prefixes", 50, "ms")
    yield from row("lookup", f"memory, {v}, 1000000 prefixes", 16, "B/prefix", 1, LPM_TRIE=139)
    yield from row("reload", f"free, {v}, 1000000 prefixes", 5, "ms of CPU", 1, LPM_TRIE=600)
    yield from row("reload", f"wrong verdicts while 100000 prefixes are replaced, {v}", 0, "verdicts", 1)
    yield from row("reload", f"reload, {v}, 10000 live flows, lost", 0, "packets", 1)
    yield from row("targets", f"TCP connects, {v}, of one of 1000 targets", 100, **{"1 target": 100})
    yield from row("names", f"getaddrinfo and connect, {v}, added", 9000, "ns of CPU", **{"by address": 4000})
    yield from row("names", f"getaddrinfo and connect, {v}, names added", 5000, "ns of CPU")


def made():
    rows = [*of_family(4), *of_family(6)]
    for n, value in ((4, 12), (32, 28), (256, 45)):
        rows += row("ports", f"second step, {n} port intervals, added", value)
    rows += row("worst", "one of 100000 rules changed", 60, "ms")
    for what in ("20 uids with 1000000 prefixes", "65000 address:port under 1000 ports"):
        rows += row("worst", f"compile, {what}", 100, "ms") + row("worst", f"table, {what}", 12, "MiB")
    rows += row("events", "events drained from a full ring", 2, "M/s") + row("events", "events unaccounted", 0, "")
    for what, ms in (("", 30), (", with names", 90), (", through sluiced", 5)):
        rows += row("start", f"run -- true{what}, added", ms, "ms")
    for what in ("1000000 entries in a set file", "100000 rules"):
        rows += row("check", f"check, {what}", 1000, "ms") + row("check", f"check, {what}, memory", 190, "MiB")
    rows += row("targets", "memory of each of 1000 targets", 100, "KiB", 1, **{"of the first half": 100})
    rows += row("targets", "attach each of 1000 cgroups, in a batch", 3, "ms")
    rows += row("targets", "attach one more to 1000", 15, "ms", **{"the first": 100})
    return {"host": dict(HOST), "rows": rows, "skipped": []}


def changed(document, name, **values):
    found = [r for r in document["rows"] if r["name"] == name]
    assert found, name
    for r in found:
        r.update(values)
    return document


class Page:
    def __init__(self, folder):
        self.folder, self.json = folder, folder / "bench.json"
        self.page, self.svg = folder / "BENCHMARKS.md", folder / "benchmarks.svg"
        self.page.write_text(PAGE)

    def make(self, document, code=0):
        text = document if isinstance(document, str) else json.dumps(document)
        self.json.write_text(text)
        done = subprocess.run(["/usr/bin/python3", TOOL, self.json, self.folder], text=True,
                              stderr=subprocess.PIPE, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr

    def refuses(self, document):
        """What it says; nothing is written."""
        before = sorted(self.folder.iterdir()), self.page.read_text()
        said = self.make(document, 1)
        assert {*before[0], self.json} == {*self.folder.iterdir()} and self.page.read_text() == before[1]
        return said

    def line(self, begin):
        """Cells of the first table, behind the first."""
        found = next(x for x in self.page.read_text().splitlines() if x.startswith(f"| {begin} |"))
        return [cell.strip() for cell in found.strip("|").split("|")][1:]


@pytest.fixture
def page(tmp_path):
    return Page(tmp_path)


def test_verdicts_at_their_limits(page):
    """Nearly each value is just what is wanted."""
    page.make(made())
    text = page.page.read_text()
    assert page.line("lookup, wide, IPv4, 10 prefixes")[:3] == ["≤ 30 ns", "30 ns", "yes"]
    assert page.line("change one rule of 100,000")[:3] == ["≤ 60 ms", "60 ms", "yes"]
    assert page.line("events drained, 1 consumer")[:3] == ["≥ 2 M/s", "2 M/s", "yes"]
    assert page.line("events unaccounted")[:3] == ["0", "0", "yes"]
    assert page.line("`sluice check`, memory, 100000 rules")[:3] == ["≤ 200 MB", "199 MB", "yes"]
    assert page.line("names: added to one getaddrinfo + connect, IPv6")[:3] == ["≤ 5 µs", "5 µs", "yes"]
    assert page.line("UDP, connected, added ÷ nftables set+conntrack, IPv4")[:3] == ["≤ 0.5", "0.5", "yes"]
    # the one that is not: connections, 0.96 of nftables with conntrack
    assert "**no**" in page.line("connect/s ÷ nftables with conntrack, IPv4")
    assert page.line("connect/s ÷ no filter, IPv4")[:3] == ["≥ 0.95", "0.96", "yes"]
    assert page.line("TCP stream with GSO ÷ no filter, lower end of 95 %, IPv6, 31 slices")[2] == "yes"
    assert text.count("**no**") == 2
    lines = text.split("peers here |\n")[1].split("\n\n")[0].count("\n")
    assert f"Reached: {lines - 2} of {lines}." in text


@pytest.mark.parametrize("name, value, begin", [
    ("lookup, IPv4, 10 prefixes, 64k destinations", 30.2, "lookup, wide, IPv4, 10 prefixes"),
    ("one of 100000 rules changed", 61, "change one rule of 100,000"),
    ("events drained from a full ring", 1.9, "events drained, 1 consumer"),
    ("events unaccounted", 1, "events unaccounted"),
    ("check, 100000 rules, memory", 192, "`sluice check`, memory, 100000 rules"),
    ("reload, IPv6, 10000 live flows, lost", 1, "reload with 10,000 live flows: packets lost, IPv6"),
    ("memory, IPv4, 1000000 prefixes", 16.1, "memory, 1M prefixes, IPv4"),
    ("UDP from a tap, IPv6, 100000 prefixes, 8192 destinations, added", 351,
     "UDP, tcx, wide destinations, added, IPv6"),
    ("run -- true, through sluiced, added", 5.1, "`sluice run -- true` less `true`, through sluiced")])
def test_what_is_just_over_is_not_reached(page, name, value, begin):
    page.make(made())
    assert page.line(begin)[2] == "yes"
    page.make(changed(made(), name, ours=value))
    assert page.line(begin)[2] == "**no**"


def test_a_peer_beside_what_it_took_where_the_limit_is_from(page):
    page.make(made())
    assert page.line("lookup, wide, IPv4, 10 prefixes")[3] == \
        "empty program 13; LPM_TRIE 60 (there 50): ours is 0.5 of it, wanted 0.6"


def test_a_stream_is_judged_by_the_interval(page):
    name = "TCP stream with GSO, IPv4, 100000 prefixes"
    page.make(changed(made(), name, ratio_high=1.06))   # the median is still 0.99
    assert page.line("TCP stream with GSO ÷ no filter, lower end of 95 %, IPv4, 31 slices")[1:3] == \
        ["0.943", "**no**"]
    without = made()
    for r in without["rows"]:
        if r["name"] == name:
            del r["ratio_low"], r["ratio_high"]
    assert f"row '{name}' without an interval" in page.refuses(without)


def test_a_difference_that_is_lost_in_the_noise_is_no_success(page):
    name = "UDP from a tap, IPv4, 100000 prefixes, 256 destinations, added"
    page.make(changed(made(), name, peer=-3.0))
    assert page.line("UDP, tcx, added ÷ nftables set+conntrack, IPv4")[1:3] == ["lost in the noise", "**no**"]


def test_tables_of_each_part(page):
    document = changed(made(), "one of 100000 rules changed", ours=70, ours_low=65, ours_high=81)
    page.make(document)
    text = page.page.read_text()
    assert "One run of 12.5 minutes, 2026-01-02, of commit 0123456789: A Processor, 2 CPUs, Linux 6.1.2; " \
           "load 0.1 at its begin, 1.5 at its end." in text
    assert "| one of 100000 rules changed | ms | 11 | 70 (65 to 81) |" in text
    assert "| lookup, IPv6, 10 prefixes, 64k destinations | ns | 11 | 30 | 60 | 13 |" in text
    assert "| row | unit | n | Sluice | LPM_TRIE | empty program |" in text
    for name in {r["name"] for r in document["rows"]}:
        assert f"| {name} |" in text


def test_the_same_again_and_the_rest_untouched(page):
    page.make(made())
    first = page.page.read_bytes(), page.svg.read_bytes()
    page.make(made())
    assert (page.page.read_bytes(), page.svg.read_bytes()) == first
    text = first[0].decode()
    assert text.startswith("# Title\n\nbefore\n\n<!-- of bench.json -->\nOne run") and "\nold\n" not in text
    assert text.endswith("\n<!-- end of bench.json -->\n\nafter\n")


def test_the_drawing(page):
    document = changed(made(), "memory, IPv4, 1000000 prefixes", peer=-1.0)     # no bar is that long
    document["rows"] += row("lookup", "verdict, IPv4, 10 prefixes, 256 destinations", 80, LPM_TRIE=50)
    page.make(document)
    drawing = xml.etree.ElementTree.fromstring(page.svg.read_text())
    svg = "{http://www.w3.org/2000/svg}"
    words = [t.text for t in drawing.iter(f"{svg}text")]
    assert "A Processor, 2 CPUs, Linux 6.1.2, load 0.1 to 1.5, 2026-01-02" in words
    assert any(w.startswith("lookup, IPv4, 1000000 prefixes") for w in words)
    assert not any(w.startswith("verdict") for w in words)      # of which nothing is wanted
    bars = [float(r.get("width")) for r in drawing.iter(f"{svg}rect") if r.get("width") != "100%"]
    assert bars and all(width >= 1 for width in bars)


def test_all_that_lacks_is_named_at_once(page):
    document = made()
    gone = ["one of 100000 rules changed", "free, IPv6, 1000000 prefixes"]
    document["rows"] = [r for r in document["rows"] if r["name"] not in gone and not (
        r["name"].startswith("lookup, IPv4, 10 ") and r["peer_name"] == "LPM_TRIE")]
    document["skipped"] = [{"name": gone[1], "skipped": "more than --most"},
                           {"name": "net", "skipped": "OSError: no veth"}]
    said = page.refuses(document)
    assert f"no row '{gone[0]}'\n" in said and f"no row '{gone[1]}' (skipped: more than --most)" in said
    assert "row 'lookup, IPv4, 10 prefixes, 64k destinations' without LPM_TRIE" in said
    assert "skipped: net: OSError: no veth\n" in said and said.count("\n") == 4


def test_other_mistakes(page):
    document = made()
    del document["host"]["cpu"], document["host"]["load"]
    assert "no facts of the run: cpu, load" in page.refuses(document)
    document = made()
    document["rows"][0]["part"] = "juggling"
    assert "rows of an unknown part: juggling" in page.refuses(document)
    document = made()
    del document["skipped"]
    assert "without 'skipped'" in page.refuses(document)
    assert "Expecting" in page.refuses("{")
    begin, end = "<!-- of bench.json -->\n", "<!-- end of bench.json -->\n"
    for text in ("# no marks\n", begin + PAGE, PAGE + end, end + begin):
        page.page.write_text(text)
        assert "not exactly one" in page.refuses(made())


def test_the_interval_of_a_median():
    spec = importlib.util.spec_from_file_location("bench_rows", TOOL.with_name("rows.py"))
    rows = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rows)
    # the ranks of the sign test's tables
    assert rows.interval(list(range(31, 0, -1))) == (10, 22)
    assert rows.interval(list(range(1, 12))) == (2, 10)
    assert rows.interval(list(range(1, 7))) == (1, 6)
    assert rows.interval([5, 3]) == (3, 5)


def test_the_page_has_its_marks():
    text = (ROOT / "docs" / "BENCHMARKS.md").read_text()
    assert text.count("<!-- of bench.json -->") == text.count("<!-- end of bench.json -->") == 1
