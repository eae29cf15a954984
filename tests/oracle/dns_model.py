#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""dns_model.py --build DIR [--count N] [--seed N]: questions and answers read as
docs/names.md says, naively, against the reader that the kernel runs (tests/tools/dns.c),
over generated and mutated messages. No difference may be left."""
import argparse
import collections
import ipaddress
import pathlib
import random
import struct
import subprocess
import sys

LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789-_"
A, CNAME, AAAA, OPT, IN = 1, 5, 28, 41, 1


class Bad(Exception):
    pass


# ---- the model ----

def need(holds):
    if not holds:
        raise Bad


def number(message, at, size=2):
    need(0 <= at and at + size <= len(message))
    return int.from_bytes(message[at:at + size], "big")


def read_name(message, at, pointers):
    """(labels in lower case, the offset behind the name). A pointer points before the name
    and before the pointer that led to it, so that it ends."""
    labels, end, lowest = [], None, at
    while True:
        size = number(message, at, 1)
        if size == 0:
            break
        if size >= 0xc0:
            need(pointers)
            target = number(message, at) & 0x3fff
            need(target < lowest)
            end = end or at + 2
            at = lowest = target
            continue
        need(size <= 63 and at + 1 + size <= len(message))
        labels.append(message[at + 1:at + 1 + size].lower())
        at += 1 + size
    need(sum(len(label) + 1 for label in labels) + 1 <= 255)
    return labels, end or at + 1


def is_plain(labels):
    return all(c in LETTERS for label in labels for c in label)


def read_question(message):
    """What a question and an answer have in common: (text, type, id, labels, end)."""
    need(len(message) <= 4096 and number(message, 4) == 1)
    labels, at = read_name(message, 12, pointers=False)
    need(is_plain(labels) and number(message, at + 2) == IN)
    return b".".join(labels).decode() or ".", number(message, at), number(message, 0), labels, at + 4


def question(message):
    flags = number(message, 2)
    need(not flags & 0x8000 and not flags >> 11 & 15 and not flags & 0x0200)
    need(number(message, 6) == 0 and number(message, 8) == 0 and number(message, 10) <= 1)
    text, kind, ident, _, at = read_question(message)
    if number(message, 10):
        need(number(message, at, 1) == 0 and number(message, at + 1) == OPT)
        options = number(message, at + 9)
        need(options <= 64)
        at += 11 + options
    need(at == len(message))
    return f"good {text} {kind} {ident}"


def answer(message):
    flags = number(message, 2)
    need(flags & 0x8000 and not flags >> 11 & 15)
    text, kind, ident, labels, at = read_question(message)
    line = f"good {text} {kind} {ident}"
    if flags & 15:
        return line
    learned, truncated = [], flags & 0x0200
    need(number(message, 6) <= 128 or truncated)
    try:
        walk(message, labels, at, learned)
    except Bad:
        need(truncated)         # what stands before it counts
    return line + "".join(learned[:64])


def walk(message, current, at, learned):
    """Adds the addresses of the answer section, with their TTLs. current: None when it is a
    name with bytes that no question has, which is equal to none."""
    aliases = 0
    for _ in range(min(number(message, 6), 128)):
        owner, at = read_name(message, at, pointers=True)
        kind, klass = number(message, at), number(message, at + 2)
        ttl, size = number(message, at + 4, 4), number(message, at + 8)
        at += 10
        need(at + size <= len(message))
        if klass == IN and owner == current and is_plain(owner):
            if kind == CNAME:
                aliases += 1
                need(aliases <= 16)
                current, end = read_name(message, at, pointers=True)
                need(end == at + size)
            elif (kind, size) in ((A, 4), (AAAA, 16)):
                learned.append(f" {ipaddress.ip_address(message[at:at + size])}/{ttl}")
        at += size


def judge(kind, message):
    try:
        return (question if kind == "q" else answer)(message)
    except Bad:
        return "bad"


# ---- messages ----

WORDS = [b"a", b"www", b"api", b"cdn", b"example", b"com", b"x-y", b"_tcp", b"0", b"b" * 63]


class Writer:
    """A message in the making, with compression at random."""

    def __init__(self, rng):
        self.rng, self.out, self.places = rng, bytearray(12), []

    def mixed(self, label):
        return bytes(c ^ 0x20 if 97 <= c <= 122 and self.rng.random() < 0.3 else c for c in label)

    def name(self, labels, compress=True):
        for i, label in enumerate(labels):
            known = [at for at, there in self.places if there == labels[i:]]
            if compress and known and self.rng.random() < 0.7:
                self.out += struct.pack("!H", 0xc000 | self.rng.choice(known))
                return
            if len(self.out) < 0x3fff:
                self.places.append((len(self.out), labels[i:]))
            self.out += bytes([len(label)]) + self.mixed(label)
        self.out += b"\0"

    def record(self, owner, kind, data, klass=IN):
        self.name(owner)
        self.out += struct.pack("!HHI", kind, klass, self.rng.choice([0, 1, 60, 3600, 1 << 31]))
        at = len(self.out)
        self.out += b"\0\0"
        if isinstance(data, list):
            self.name(data)
        else:
            self.out += data
        self.out[at:at + 2] = struct.pack("!H", len(self.out) - at - 2)

    def finish(self, ident, flags, *counts):
        self.out[:12] = struct.pack("!6H", ident, flags, *counts)
        return bytes(self.out)


def random_name(rng, odd=0.0):
    if rng.random() < 0.03:     # about as long as a name, or a label, can be
        return [b"c" * 63] * 3 + [b"d" * rng.choice([59, 60, 61, 62, 63])]
    if rng.random() < 0.03:
        return [b"e" * rng.choice([63, 64]), b"com"]
    labels = [rng.choice(WORDS) for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 3, 4, 6]))]
    if labels and rng.random() < odd:
        labels[0] = rng.choice([b"a\0b", b"a.b", b"\xff", b"a b", b"*"])
    return labels


def make_question(rng):
    w = Writer(rng)
    w.name(random_name(rng, 0.05), compress=False)
    w.out += struct.pack("!HH", rng.choice([1, 28, 5, 65, 16, 255]), IN)
    extra = rng.random() < 0.5
    if extra:
        options = rng.randbytes(rng.choice([0, 0, 0, 12, 63, 64, 65]))
        w.out += b"\0" + struct.pack("!HHIH", OPT, 1232, rng.choice([0, 0x8000]), len(options)) + \
            options
    return w.finish(rng.getrandbits(16), rng.choice([0x0100, 0x0100, 0x0120, 0]), 1, 0, 0, extra)


def make_answer(rng):
    w, asked = Writer(rng), random_name(rng)
    w.name(asked, compress=False)
    w.out += struct.pack("!HH", rng.choice([A, AAAA]), IN)
    current, count = asked, 0
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8, 15, 16, 17]) if rng.random() < 0.4 else 0):
        target = random_name(rng, 0.03)
        w.record(current, CNAME, target)
        current, count = target, count + 1
    plain, even = [(A, 4), (AAAA, 16)], rng.random() < 0.2      # even: more than 64 are learned
    for _ in range(rng.choice([0, 1, 1, 2, 4, 30, 64, 65, 127, 128, 129])):
        owner = current if even or rng.random() < 0.9 else rng.choice([asked, random_name(rng, 0.2)])
        kind, size = rng.choice(plain if even else
                                plain + [(A, 4), (46, 9), (A, 5), (AAAA, 4), (16, 0)])
        w.record(owner, kind, rng.randbytes(size), IN if rng.random() < 0.95 else 3)
        count += 1
    if rng.random() < 0.3:
        w.out += b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0)
    flags = rng.choice([0x8180] * 12 + [0x8380, 0x8380, 0x8183, 0x8580, 0x8182])
    return w.finish(rng.getrandbits(16), flags, 1, count, 0, 0)


def mutate(rng, message):
    out = bytearray(message)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(out)) if out else 0
        how = rng.randrange(7)
        if how == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1 and out:
            out[at] = rng.choice([0, 1, 12, 63, 64, 0x80, 0xc0, 0xff, rng.getrandbits(8)])
        elif how == 2:
            del out[at:]
        elif how == 3:
            out += rng.randbytes(rng.choice([1, 2, 11]))
        elif how == 4 and out:
            del out[at:at + rng.choice([1, 2, 4])]
        elif how == 5:
            out[at:at] = rng.randbytes(rng.choice([1, 2, 4]))
        elif len(out) > 12:
            at = rng.choice([2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
            out[at] = rng.choice([0, 1, 2, 128, 129, 255])
    return bytes(out)


def messages(rng, count):
    for _ in range(count):
        kind = rng.choice("qa")
        message = (make_question if kind == "q" else make_answer)(rng)
        if rng.random() < 0.7:
            message = mutate(rng, message)
        yield kind, message[:4096]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    made = list(messages(random.Random(options.seed), options.count))
    data = b"".join(kind.encode() + struct.pack("!H", len(m)) + m for kind, m in made)
    done = subprocess.run([options.build / "tests" / "dns"], input=data, stdout=subprocess.PIPE,
                          check=True, timeout=300)
    said = done.stdout.decode("latin-1").splitlines()
    assert len(said) == len(made), f"{len(said)} lines for {len(made)} messages"
    counts, differences = collections.Counter(), 0
    for (kind, message), line in zip(made, said):
        model = judge(kind, message)
        counts[kind, model != "bad"] += 1
        counts["teaching"] += kind == "a" and model.count(" ") > 3
        if model != line:
            differences += 1
            if differences <= 5:
                print(f"{kind} {message.hex()}\n  model:  {model}\n  reader: {line}")
    good = counts["q", True] + counts["a", True]
    print(f"seed {options.seed}: {len(made)} messages, {good} valid, {counts['teaching']} teach, "
          f"{differences} differences")
    enough = all(counts[k, v] * 10 >= options.count for k in "qa" for v in (True, False))
    if not enough or counts["teaching"] * 20 < options.count:
        print(f"too few of a kind: {dict(counts)}")
        return 1
    return differences != 0


if __name__ == "__main__":
    sys.exit(main())
