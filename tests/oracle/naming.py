# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Random patterns of names that nest, touch and look alike, and names beside them."""

BASES = ["github.com", "example.org", "corp.test", "lan", "deep.down.the.tree.test"]
LABELS = ["api", "a", "b", "cdn", "www", "x-1", "_dns", "xn--bcher-kva", "evil", "l" * 63]
DOMAINS = ["corp.example", "lan", "svc.cluster.local", "github.com", "test"]
LONGEST = 253


class Names:
    def __init__(self, rng, size):
        self.rng = rng
        self.made = rng.sample(BASES, rng.randint(1, 3))    # names, without a star
        # A rule for every name ends what rules by name can say.
        self.everything = min(0.04, 1 / size)
        self.domains = rng.sample(DOMAINS, rng.choice([0, 0, 1, 2, 3]))

    def _child(self, name):
        return f"{self.rng.choice(LABELS)}.{name}"

    def _look_alike(self, name):
        rng = self.rng
        place = rng.randrange(len(name) + 1)
        return rng.choice([
            "evil" + name, name + ".evil.org", name[1:], name[:-1], name + "x", "-" + name,
            name.replace(".", "-", 1), name.replace(".", "", 1), name[:place] + "a" + name[place:],
            name + "." + name])

    def _parent(self, name):
        return name.partition(".")[2] or name

    def near(self, name):
        """The name, or one that stands beside it."""
        rng = self.rng
        how = rng.choice([lambda n: n, lambda n: n, self._child, self._child, self._parent,
                          lambda n: self._child(self._child(n)), self._look_alike,
                          lambda n: self._child(self._parent(n)),
                          lambda n: n + "." + rng.choice(self.domains or DOMAINS)])
        found = how(name)
        good = (0 < len(found) <= LONGEST and not found[-1].isdigit() and found != "any" and
                all(0 < len(label) <= 63 for label in found.split(".")))
        return found if good else name

    def pattern(self):
        rng = self.rng
        if rng.random() < self.everything:
            return "*"
        name = self.near(rng.choice(self.made)) if rng.random() < 0.9 else rng.choice(BASES)
        self.made.append(name)
        if rng.random() < 0.03:
            name = name.upper()
        return "*." + name if rng.random() < 0.45 else name

    def name(self, pattern=None):
        """A name to ask for, near the pattern or near any."""
        if not pattern or pattern == "*":
            return self.near(self.rng.choice(self.made))
        pattern = pattern.lower()
        if pattern.startswith("*."):
            inside = self._child(pattern[2:])
            pattern = inside if len(inside) <= LONGEST and self.rng.random() < 0.7 else pattern[2:]
        return self.near(pattern)
