#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""learned_differential.py --build DIR [--count N] [--seed N]: mutated answers through the
device programs (BPF_PROG_TEST_RUN), each to a question that has just left, against
docs/names.md read naively (dns_model.py). After every few hundred answers what the kernel has
learned is read back: which names own which addresses, and for how long. No difference may be
left; a fifth of the mutants are still answers."""
import argparse
import collections
import ipaddress
import pathlib
import random
import struct
import sys
import tempfile
import time

import dns_model as dns
import frame_builder as b
from frame_lab import GATEWAY_MAC, MAC, ME4, ME6
from frames_tool import DROP, PASS, Tool

PER_TARGET, PER_READING = 2000, 250
OWNERS = 8
RESOLVER = {4: "192.0.2.53", 6: "2001:db8:5::53"}
ME = {4: ME4, 6: ME6}
NEVER = [ipaddress.ip_network(n) for n in (
    "0.0.0.0/8 127.0.0.0/8 224.0.0.0/3 169.254.169.254 169.254.170.2 169.254.170.23 168.63.129.16 "
    "100.100.100.200 ::/64 ff00::/8 64:ff9b::/32 2001::/32 2002::/16 fd00:ec2::254").split()]
PRIVATE = [ipaddress.ip_network(n) for n in (
    "10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16 198.18.0.0/15 "
    "100::/64 fc00::/7 fe80::/10 fec0::/10").split()]
POLICY = {"sluice": 1, "name": "learned",
          "dns": {"resolvers": list(RESOLVER.values()), "queries": "any", "search": [],
                  "types": ["A", "AAAA", "MX"]},
          "rules": [{"deny": ["denied.example", "*.denied.example"], "id": "denied"},
                    {"allow": "*.good.example:443", "id": "good"},
                    {"allow": ["*.inner.example"], "id": "inner", "resolves_to": "private"},
                    {"allow": ["one.example", "deep.good.example"], "id": "one"}]}
NAMES = [f"{w}.good.example" for w in "abcdefghijkl"] + [
    "x.inner.example", "y.z.inner.example", "one.example", "deep.good.example", "other.example",
    "good.example"]


def covers(pattern, name):
    return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1 if pattern[0] == "*" else \
        name == pattern


def patterns(rule):
    hosts = rule.get("allow") or rule["deny"]
    return [h.split(":")[0] for h in ([hosts] if isinstance(hosts, str) else hosts)]


def covering(name):
    return [r for r in POLICY["rules"] if any(covers(p, name) for p in patterns(r))]


def same_rules(name):
    """Names of which all rules say the same have this in common."""
    return tuple(r["id"] for r in covering(name))


def is_denied(name):
    rules = covering(name)
    return bool(rules) and "deny" in rules[0]


def may_be_learned(address, private):
    return not any(address in n for n in NEVER if n.version == address.version) and \
        (private or not any(address in n for n in PRIVATE if n.version == address.version))


# ---- the model ----

class Model:
    """What a target has learned: (name, packed address) -> when it is over; and of each
    address how many of its places names with these rules have. Where they have fewer than
    there are names, they are those that own it longest."""

    def __init__(self):
        self.owned, self.unlearned = {}, 0
        self.places = collections.defaultdict(collections.Counter)

    def answer(self, message, asked):
        """Does the answer pass? asked: (name, type, id)."""
        try:
            return self.take(message, asked)
        except dns.Bad:
            return False

    def take(self, message, asked):
        flags = dns.number(message, 2)
        dns.need(flags & 0x8000 and not flags >> 11 & 15)
        text, kind, ident, labels, at = dns.read_question(message)
        empty, truncated = flags & 15 or not dns.number(message, 6), flags & 0x0200
        dns.need(empty or truncated or dns.number(message, 6) <= 128)
        dns.need((text, kind, ident) == asked)
        if empty:
            return True
        found, chain = [], []
        try:
            walk(message, labels, at, found, chain)
        except dns.Bad:
            dns.need(truncated)
        found, over = found[:64], len(found[64:])
        dns.need(not any(dns.is_plain(c) and is_denied(b".".join(c).decode()) for c in chain))
        self.learn(text, found, over)
        return True

    def learn(self, name, found, over):
        rules = [r for r in covering(name) if "allow" in r]
        if not found or not rules:
            return
        private, now = any("resolves_to" in r for r in rules), time.monotonic()
        for address, ttl in found:
            if not may_be_learned(address, private):
                continue
            key, until = (name, address.packed), now + min(max(ttl, 60), 86400)
            places = self.places[address.packed]
            if key not in self.owned and places.total() < OWNERS:
                places[same_rules(name)] += 1
            elif key not in self.owned and not places[same_rules(name)]:
                self.unlearned += 1
                continue
            self.owned[key] = max(until, self.owned.get(key, 0))
        self.unlearned += over


def walk(message, current, at, found, chain):
    """Adds addresses with their TTLs, and the names of the chain."""
    for _ in range(min(dns.number(message, 6), 128)):
        owner, at = dns.read_name(message, at, pointers=True)
        kind, klass = dns.number(message, at), dns.number(message, at + 2)
        ttl, size = dns.number(message, at + 4, 4), dns.number(message, at + 8)
        at += 10
        dns.need(at + size <= len(message))
        if klass == dns.IN and owner == current and dns.is_plain(owner):
            if kind == dns.CNAME:
                dns.need(len(chain) < 16)
                current, end = dns.read_name(message, at, pointers=True)
                dns.need(end == at + size)
                chain.append(current)
            elif (kind, size) in ((dns.A, 4), (dns.AAAA, 16)):
                found.append((ipaddress.ip_address(message[at:at + size]), ttl))
        at += size


# ---- messages ----

def pool(rng):
    """Addresses that answers are made of: some names share, some are special."""
    v4 = [ipaddress.ip_address(0xcb007100 + i) for i in range(120)]
    v6 = [ipaddress.ip_address((0x20010db8 << 96) + i) for i in range(1, 120)]
    special = [rng.choice(list(n.hosts()) if n.num_addresses < 512 else [n[1], n[-2]])
               for n in NEVER + PRIVATE]
    return [a.packed for a in v4 + v6 + special]


def make_answer(rng, asked, addresses):
    name, kind, ident = asked
    w, labels = dns.Writer(rng), name.encode().split(b".")
    w.name(labels, compress=False)
    w.out += struct.pack("!HH", kind, dns.IN)
    current, count = labels, 0
    for _ in range(rng.choice([0, 0, 0, 1, 2, 8, 16])):
        target = rng.choice([b"c%d.cdn.example" % count, b"c.other.org"] * 5 +
                            [b"www.denied.example"]).split(b".")
        w.record(current, dns.CNAME, target)
        current, count = target, count + 1
    for _ in range(rng.choice([1, 1, 2, 3, 8, 30, 70])):
        data = rng.choice(addresses)
        owner = current if rng.random() < 0.95 else rng.choice([labels, [b"x", b"example"]])
        w.record(owner, dns.A if len(data) == 4 else dns.AAAA, data)
        count += 1
    if rng.random() < 0.3:
        w.out += b"\0" + struct.pack("!HHIH", dns.OPT, 1232, 0, 0)
    return w.finish(ident, 0x8180, 1, count, 0, 0)


def make_question(rng, asked):
    name, kind, ident = asked
    labels = [bytes(c ^ 0x20 if 97 <= c <= 122 and rng.random() < 0.3 else c for c in label)
              for label in name.encode().split(b".")]
    return struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0) + \
        b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + \
        struct.pack("!HH", kind, dns.IN)


def frame(family, port, message, out):
    ends, ports = (ME[family], RESOLVER[family]), (port, 53)
    ethers = (MAC, GATEWAY_MAC)
    if not out:
        ends, ports, ethers = ends[::-1], ports[::-1], ethers[::-1]
    return "out" if out else "in", b.packet(*ends, 17, b.udp(*ports, message), ethers), 0


# ---- comparing ----

def batch(rng, addresses, port):
    """(frames, [(question, answer, twice)]) of some conversations."""
    frames, cases = [], []
    for i in range(PER_READING):
        asked = (rng.choice(NAMES), rng.choice([dns.A, dns.AAAA]), rng.getrandbits(16))
        message = dns.mutate(rng, make_answer(rng, asked, addresses))
        if len(message) > 3000:
            message = message[:3000]
        family, twice = rng.choice([4, 6]), rng.random() < 0.03
        frames.append(frame(family, port + i, make_question(rng, asked), True))
        frames += [frame(family, port + i, message, False)] * (1 + twice)
        cases.append((asked, message, twice))
    return frames, cases


def check(tool, model, frames, cases, counts):
    started = time.monotonic()
    answers = iter(tool.frames(frames))
    for asked, message, twice in cases:
        said = next(answers).verdict
        assert said == PASS, f"the question {asked}: {said}"
        taught = len(model.owned)
        want = model.answer(message, asked)
        counts[want] += 1
        counts["teach"] += len(model.owned) > taught
        said = next(answers).verdict
        if said != (PASS if want else DROP):
            return f"{asked}: {message.hex()}\n  passes {said == PASS}, should {want}"
        # Answered once; a mutant that was none may be asked for still.
        if twice:
            want = not want and model.answer(message, asked)
            said = next(answers).verdict
            if said != (PASS if want else DROP):
                return f"{asked}: once more: {message.hex()}: passes {said == PASS}, should {want}"
    learned, unlearned = tool.learned()
    # The kernel learned them some time since `started`, and its clock is a coarse one.
    return compare(model, learned, unlearned, 3 + time.monotonic() - started)


def compare(model, learned, unlearned, slack):
    now = time.monotonic()
    for key, left in learned.items():
        want = model.owned.get(key, 0) - now
        if abs(want - left) > slack:
            return f"{ipaddress.ip_address(key[1])} of {key[0]}: {left} s left, should be {want:.0f}"
    want, got = places_of(model.owned), places_of(learned)
    for place in {**want, **got}:
        count = model.places[place[0]][place[1]]
        told = f"{ipaddress.ip_address(place[0])} of names with {place[1]}"
        if len(got[place]) != count:
            return f"{told}: {len(got[place])} learned, should be {count}"
        if any(abs(w - now - g) > slack for w, g in zip(want[place], got[place])):
            return f"{told}: {got[place]} s left, should be {[int(w - now) for w in want[place]]}"
    return None if unlearned == model.unlearned else \
        f"{unlearned} addresses had no room, should be {model.unlearned}"


def places_of(owned):
    """(address, rules) -> when it is over for each name, the last first."""
    found = collections.defaultdict(list)
    for (name, address), until in owned.items():
        found[address, same_rules(name)].append(until)
    return collections.defaultdict(list, {k: sorted(v, reverse=True) for k, v in found.items()})


def run(options, rng, tool, counts):
    done = 0
    while done < options.count:
        tool.attach(True, POLICY, MAC, [ME4, ME6])
        model, addresses, started = Model(), pool(rng), time.monotonic()
        for port in range(1024, 1024 + PER_TARGET, PER_READING):
            found = check(tool, model, *batch(rng, addresses, port), counts)
            if found:
                return found
            done += PER_READING
            counts["owned"] = max(counts["owned"], len(model.owned))
            if time.monotonic() - started > 40:     # before the first time is over
                break
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        tool = Tool(options.build / "tests" / "frames", folder)
        found = run(options, random.Random(options.seed), tool, counts)
        tool.close()
    total = counts[True] + counts[False]
    if found:
        print(found)
    print(f"seed {options.seed}: {total} mutated answers, {100 * counts[True] // max(total, 1)} % pass, "
          f"{counts['teach']} teach something new, at most {counts['owned']} addresses owned, "
          f"{'a difference' if found else '0 differences'}")
    if counts[True] * 5 < total or counts["teach"] * 20 < total:
        print("too few of a kind")
        return 1
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
