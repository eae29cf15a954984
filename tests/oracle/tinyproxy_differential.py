#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""tinyproxy_differential.py --build DIR [--files N] [--seed N]: random filters of tinyproxy,
converted, against what tinyproxy does with them: the C library's regcomp and regexec, with
its flags, over random hosts. No difference may be left, and a filter that is of the kinds
that docs/convert.md reads may not be refused."""
import argparse
import collections
import ctypes
import fnmatch
import ipaddress
import pathlib
import random
import re
import subprocess
import sys
import tempfile

REG_EXTENDED, REG_ICASE, REG_NEWLINE, REG_NOSUB = 1, 2, 4, 8
LIBC = ctypes.CDLL(None)
LABELS = ["example", "com", "org", "www", "api", "cdn", "x-y", "a", "evil", "git_hub", "9net"]


class Pattern:
    """A pattern as tinyproxy's filter.c compiles and runs it."""

    def __init__(self, text, kind):
        self.text, self.kind = text, kind
        if kind == "fnmatch":
            return
        self.compiled = ctypes.create_string_buffer(256)
        flags = REG_NEWLINE | REG_NOSUB | REG_ICASE | (REG_EXTENDED if kind == "ere" else 0)
        if LIBC.regcomp(self.compiled, text.encode(), flags):
            raise ValueError(f"regcomp: {text}")

    def matches(self, host):
        if self.kind == "fnmatch":
            return fnmatch.fnmatchcase(host, self.text)
        return LIBC.regexec(self.compiled, host.encode(), 0, None, 0) == 0


# ---- patterns ----

def name(rng):
    return ".".join(rng.choice(LABELS) for _ in range(rng.choice([1, 2, 2, 3]))) + \
        rng.choice([".com", ".org", ".example"])


def escape(rng, text):
    out = ""
    for c in text:
        c = c.upper() if rng.random() < 0.1 else c
        out += rng.choice(["\\.", "\\.", "[.]"]) if c == "." else c
    return out


def alternatives(rng, kind, words):
    return {"ere": "({})", "bre": r"\({}\)"}[kind].format({"ere": "|", "bre": r"\|"}[kind].join(words))


def exact_name(rng, kind):
    """A pattern of the kinds that are read, about names."""
    n, q = escape(rng, name(rng)), {"ere": "?", "bre": r"\?"}[kind]
    plus = {"ere": "+", "bre": r"\+"}[kind]
    group = {"ere": "({})", "bre": r"\({}\)"}[kind].format
    return rng.choice([
        f"^{n}$", f"^{n}$", alternatives(rng, kind, ["^", r"\."]) + n + "$",
        f"^{group('.*' + chr(92) + '.')}{q}{n}$", rf"\.{n}$", rf"^.*\.{n}$", rf"^.{plus}\.{n}$",
        rf"^{group('[^.]' + plus + chr(92) + '.')}*{n}$", f"^{group('www[.]')}{q}{n}$",
        f"^{alternatives(rng, kind, [escape(rng, name(rng)), n])}$",
        f"^{n}\\.{q}$", f".*[.]{n}$",
    ])


def exact_ipv4(rng, kind):
    o = [str(rng.choice([10, 192, 168, 1, 255, 0, 100])) for _ in range(4)]
    plus = {"ere": "+", "bre": r"\+"}[kind]
    three = {"ere": "[0-9]{1,3}", "bre": r"[0-9]\{1,3\}"}[kind]
    many = [r"^" + r"\.".join(o) + "$", rf"^{o[0]}\.[0-9.]{plus}$", rf"^{o[0]}\.{o[1]}\.[0-9.]*$",
            rf"^[0-9.]{plus}$", rf"^{o[0]}\.{three}\.{three}\.{three}$",
            rf"^{o[0]}\.{o[1]}\.[0-9]*\.[1-4]$", r"^" + r"\.".join([three] * 4) + "$"]
    if kind == "ere":
        many += [rf"^{o[0]}\.(1[6-9]|2[0-9]|3[01])(\.[0-9]{{1,3}}){{2}}$",
                 r"^((25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)$"]
    return rng.choice(many)


def exact(rng, kind):
    if kind == "fnmatch":
        return rng.choice(["{}", "*.{}", "*.{}"]).format(name(rng)) if rng.random() < 0.97 else "*"
    how = rng.random()
    if how < 0.7:
        return exact_name(rng, kind)
    if how < 0.93:
        return exact_ipv4(rng, kind)
    return rng.choice([":", "[%:]", "[][%:]", ".*" if how > 0.985 else ":"])


def doubtful(rng, kind):
    """Anything: read or refused, but never read wrongly."""
    n = escape(rng, name(rng))
    text = rng.choice([
        name(rng), n, f"{n}$", f"^{n}", f"^[^.]*\\.{n}$", f"^.{n}$", f"[a-z]\\.{n}$", f"[^.]*\\.{n}$",
        f"^{n}.*$", f".*{n}", f"^..*\\.{n}$", f"^[a-z]*\\.{n}$", "^10\\.", "^10[0-9.]*$", "[0-9]*",
        "^[0-9a-f:]*$", "\\.[0-9]*$", "^[0-9]*$", "^0x[0-9a-f]*$", "[0-9]", ".", "^.$", "^..*$", "^", "$",
        "^$", "a*", f"^{n}\\.$", "ads", "com$", "\\.com$", "\\.", "^.*\\..*$", "^[^:]*$", "[^0-9.]",
        "^[0-9][0-9]*\\.[0-9.]*$", "^1[0-9.]*$", "^[0-9]\\.[0-9]\\.[0-9]\\.[0-9]$", "^[12].*$"])
    if rng.random() < 0.4:
        text = list(text)
        for _ in range(rng.choice([1, 2])):
            text[rng.randrange(len(text))] = rng.choice(list(".*^$\\[]a:0(|)?+") + [""])
        text = "".join(text)
    return text


# ---- hosts ----

def hosts(rng, patterns, count):
    """Hosts that there are: names, and what the patterns' letters make likely to match."""
    words = [re.sub(r"\[\.\]|\\\.", ".", p.text) for p in patterns]
    words = [w for p in words for w in re.findall(r"[A-Za-z0-9_.-]+", p)] + [name(rng)]
    found = set()
    for _ in range(count * 3):
        w = rng.choice(words).lower().strip(".")
        how = rng.randrange(9)
        w = [w, "www." + w, "x" + w, w + ".evil.org", w + "x", "a.b." + w, name(rng),
             w.replace(".", "x", 1), rng.choice("-_0") + w][how] if rng.random() < 0.8 else address(rng)
        if is_host(w):
            found.add(w)
    return rng.sample(sorted(found), min(count, len(found)))


def address(rng):
    o = [rng.choice([10, 192, 168, 1, 255, 0, 100, 17, 31, 32, rng.randrange(256)]) for _ in range(4)]
    if rng.random() < 0.6:
        return ".".join(map(str, o))
    return str(ipaddress.IPv6Address(rng.choice([0x20010db8 << 96, 0xfd00 << 112]) + rng.getrandbits(20)))


def is_host(text):
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        pass
    labels = text.split(".")
    return len(text) <= 253 and all(re.fullmatch("[a-z0-9_-]{1,63}", label) for label in labels) and \
        not re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1]) and text != "any"


# ---- comparing ----

def convert(options, path, kind, deny):
    return subprocess.run([options.sluice, "convert", "--from", "tinyproxy", "--set",
                           f"FilterType {kind}", "--set", f"FilterDefaultDeny {'Yes' if deny else 'No'}",
                           path], capture_output=True, text=True, check=False, timeout=60)


def refused_lines(stderr):
    return {int(n) for n in re.findall(r":(\d+): error", stderr)}


def passes(patterns, host, deny):
    return any(p.matches(host) for p in patterns) == deny


def one_file(rng, options, folder, counts):
    kind, deny = rng.choice(["ere", "ere", "bre", "fnmatch"]), rng.random() < 0.5
    lines = []
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        must = rng.random() < 0.7 or kind == "fnmatch"
        text = (exact if must else doubtful)(rng, kind) or "^"     # an empty line is no pattern
        try:
            lines.append((Pattern(text, kind), must))
        except ValueError:
            counts["not compiled"] += 1
    while lines:
        path = folder / "filter"
        path.write_text("".join(f"{' ' * rng.randrange(2)}{p.text}{rng.choice(['', ' # x', ' rest'])}\n"
                                for p, _ in lines))
        done = convert(options, path, kind, deny)
        if done.returncode == 0:
            break
        refused = refused_lines(done.stderr)
        assert refused and not done.stdout, (done, lines)
        for number in refused:
            pattern, must = lines[number - 1]
            assert not must, f"seed {options.seed}: refused: {kind} {pattern.text}\n{done.stderr}"
        counts["refused"] += len(refused)
        lines = [line for i, line in enumerate(lines, 1) if i not in refused]
    if not lines:
        return 0
    patterns = [p for p, _ in lines]
    counts["files"] += 1
    counts["patterns"] += len(patterns)
    return compare(rng, options, folder, (patterns, kind, deny), done.stdout, counts)


def compare(rng, options, folder, case, text, counts):
    patterns, kind, deny = case
    tests = ""
    for host in hosts(rng, patterns, 60):
        allowed = passes(patterns, host, deny)
        counts[allowed] += 1
        shown = f"[{host}]" if ":" in host else host
        tests += f"  - {'allow' if allowed else 'deny'}: \"{shown}:443\"\n"
    path = folder / "policy.yaml"
    path.write_text(text + "tests:\n" + tests)
    done = subprocess.run([options.sluice, "test", path], capture_output=True, text=True,
                          check=False, timeout=60)
    if done.returncode:
        print(f"{kind} FilterDefaultDeny {deny}:", *[p.text for p in patterns], text, done.stdout,
              done.stderr, sep="\n")
    return done.returncode != 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    options.sluice = options.build.resolve() / "sluice"
    rng, counts, differences = random.Random(options.seed), collections.Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.files):
            differences += one_file(rng, options, pathlib.Path(folder), counts)
    print(f"seed {options.seed}: {counts['files']} filters, {counts['patterns']} patterns "
          f"({counts['refused']} refused), {counts[True]} hosts that pass, {counts[False]} that do "
          f"not, {differences} differences")
    if min(counts[True], counts[False]) * 10 < counts[True] + counts[False] or not counts["refused"]:
        print("too few of a kind")
        return 1
    return differences != 0


if __name__ == "__main__":
    sys.exit(main())
