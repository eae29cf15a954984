# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Prefixes for random policies: they nest, overlap and touch."""
import socket

BUILT_IN = {
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 "
               "fc00::/7 fe80::/10",
    "metadata": "169.254.169.254/32 169.254.170.2/32 169.254.170.23/32 168.63.129.16/32 "
                "100.100.100.200/32 fd00:ec2::254/128",
    "loopback": "127.0.0.0/8 ::1/128",
    "link-local": "169.254.0.0/16 fe80::/10",
    "multicast": "224.0.0.0/4 ff00::/8",
}
LANDMARKS = ("0.0.0.0/1 128.0.0.0/1 127.0.0.1/32 255.255.255.255/32 0.0.0.0/32 "
             "2000::/3 fe80::/10 ::/128 ::1/128 ::/64 ::/80 ::fffe:0:0/95 ::fffe:0:0/96 ::fffe:0:0:0/95 "
             "::fffe:0:0:0/96 ::ffff:1:0:0/96 "
             "64:ff9b::/32 64:ff9b::/47 64:ff9b:2::/48 64:ff9b::1:0:0/96 2001::/16 2001::/31 "
             "2001:1::/32 2003::/16").split()
EMBEDDED = "::ffff:0:0:0/96 64:ff9b:1::/48 2002::/16 2001::/32".split()
MAPPED, NAT64 = 0xffff << 32, 0x64ff9b << 96


class Prefix:
    """A CIDR as numbers: family 4 or 6, first address, length."""

    def __init__(self, family, first, length):
        self.family = family
        self.width = 32 if family == 4 else 128
        self.length = length
        self.first = first >> (self.width - length) << (self.width - length)
        self.last = self.first + (1 << (self.width - length)) - 1

    @classmethod
    def parse(cls, text):
        address, _, length = text.partition("/")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        number = int.from_bytes(socket.inet_pton(family, address), "big")
        return cls(6 if ":" in address else 4, number, int(length))

    def written_as_v4(self):
        """True inside the two blocks where a rule must write the IPv4 form."""
        return self.family == 6 and self.length >= 96 and \
            self.first >> 32 << 32 in (MAPPED, NAT64)


def address_text(family, number):
    if family == 4:
        return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))


class Prefixes:
    """Prefixes that overlap: most are made from earlier ones."""

    def __init__(self, rng, wide, size):
        self.rng = rng
        self.wide = wide            # wide prefixes are welcome, not the exception
        self.made = []
        areas = rng.randint(1, 3) + (0 if wide else size // 20)
        for _ in range(areas):
            self.made.append(Prefix(4, rng.getrandbits(32), rng.randint(4 if wide else 12, 28)))
        for _ in range(areas):
            number = 1 << 125 | rng.getrandbits(125)
            self.made.append(Prefix(6, number, rng.randint(8 if wide else 24, 112)))

    def narrowed(self, prefix):
        rng = self.rng
        length = min(prefix.width, prefix.length + rng.choice([1, 1, 2, 4, 8, prefix.width]))
        number = rng.choice([prefix.first, prefix.last, rng.randint(prefix.first, prefix.last)])
        return Prefix(prefix.family, number, length)

    def widened(self, prefix):
        least = 1 if self.rng.random() < (0.1 if self.wide else 0.01) else prefix.width // 4
        length = max(least, prefix.length - self.rng.choice([1, 1, 2, 3, 8]))
        return Prefix(prefix.family, prefix.first, length)

    def neighbour(self, prefix):
        step = self.rng.choice([-1, 1]) << (prefix.width - prefix.length)
        return Prefix(prefix.family, (prefix.first + step) % (1 << prefix.width), prefix.length)

    def candidate(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.07:
            return self.narrowed(Prefix.parse(rng.choice(EMBEDDED)))
        if kind < (0.10 if self.wide else 0.075):
            return Prefix.parse(rng.choice(EMBEDDED + LANDMARKS))
        if kind < 0.15:
            return Prefix.parse(rng.choice(BUILT_IN[rng.choice(sorted(BUILT_IN))].split()))
        if kind < 0.22:
            family = rng.choice([4, 6])
            width = 32 if family == 4 else 128
            return Prefix(family, rng.getrandbits(width), rng.randint(width // 4, width))
        earlier = rng.choice(self.made)
        how = rng.choice([self.narrowed, self.narrowed, self.widened, self.neighbour, lambda p: p])
        return how(earlier)

    def new(self):
        while True:
            prefix = self.candidate()
            if not prefix.written_as_v4():
                self.made.append(prefix)
                return prefix
