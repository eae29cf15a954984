# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The same random prefixes for every peer, and files of them in each one's words. They do not
overlap: an interval set of nftables takes no others."""
import ipaddress
import random

WIDTH = {4: 32, 6: 128}
# What the lab itself is in.
LAB = {4: "10.77.0.0/24", 6: "fd77::/64"}


def make(family, n, seed=1):
    """n prefixes side by side in random blocks, the lab's last."""
    rng = random.Random(f"{seed}/{family}/{n}")
    lab = ipaddress.ip_network(LAB[family])
    blocks = {}
    while len(blocks) < n - 1:
        if family == 4:
            # a /24 of the space below 224/4, split at random: 1M prefixes have room in it
            block = rng.randrange(1 << 16, 224 << 16)
            length = rng.choice([24, 24, 25, 26, 28, 32])
            first = block << 8 | rng.getrandbits(length - 24) << (32 - length)
        else:
            block, length = (0x2000 << 32 | rng.getrandbits(45)), rng.choice([48, 48, 56, 64, 64])
            first = block << 80 | rng.getrandbits(length - 48) << (128 - length)
        if block not in blocks and not overlaps(first, length, family, lab):
            blocks[block] = (first, length)
    return [*blocks.values(), (int(lab.network_address), lab.prefixlen)]


def overlaps(first, length, family, lab):
    shift = WIDTH[family] - min(length, lab.prefixlen)
    return first >> shift == int(lab.network_address) >> shift


def text(first, length, family):
    address = (ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address)(first)
    return f"{address}/{length}"


def destinations(prefixes, family, n, seed=1):
    """n addresses, half of them in a prefix."""
    rng = random.Random(f"to/{seed}/{family}")
    out = []
    for _ in range(n):
        first, length = rng.choice(prefixes)
        if rng.random() < 0.5:
            first |= rng.getrandbits(WIDTH[family] - length or 1) if length < WIDTH[family] else 0
        else:
            first = rng.getrandbits(WIDTH[family])
            if family == 6:
                first = first >> 3 | 1 << 125
        out.append(text(first, WIDTH[family], family).split("/")[0])
    return out


def allowed(prefixes, family, n, seed=1):
    """n addresses, each in a prefix, none in the lab's own or on loopback."""
    rng = random.Random(f"allowed/{seed}/{family}")
    lab = ipaddress.ip_network(LAB[family])
    out = {}
    while len(out) < n:
        first, length = rng.choice(prefixes)
        if overlaps(first, length, family, lab) or (family == 4 and first >> 24 == 127):
            continue
        if length < WIDTH[family]:
            first |= rng.getrandbits(WIDTH[family] - length)
        out[first] = text(first, WIDTH[family], family).split("/")[0]
    return list(out.values())


def policy(folder, name, prefixes, family, ports=None):
    """A policy that allows the prefixes; its path."""
    (folder / f"{name}.txt").write_text("".join(text(*p, family) + "\n" for p in prefixes))
    ports = f":{ports}" if ports else ""
    path = folder / f"{name}.yaml"
    path.write_text(f'sluice: 1\nname: {name}\nsets: {{all: {{file: {name}.txt}}}}\n'
                    f'rules:\n  - allow: "@all{ports}"\n')
    return path


NFT_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
NFT_WORD = {4: "ip", 6: "ip6"}


def nft(path, prefixes, family, kind, hook="output"):
    """kind: set, conntrack, concat; netdev: a set at the ingress of device `hook`."""
    concat = kind == "concat"
    key = NFT_TYPE[family] + (" . inet_proto . inet_service" if concat else "")
    match = f"{NFT_WORD[family]} daddr" + (" . meta l4proto . th dport" if concat else "")
    suffixes = (" . tcp . 1-65535", " . udp . 1-65535") if concat else ("",)
    elements = ",\n".join(text(*p, family) + suffix for p in prefixes for suffix in suffixes)
    state = "ct state established,related accept\n" if kind == "conntrack" else ""
    netdev = kind == "netdev"
    where = f'ingress device "{hook}"' if netdev else hook
    path.write_text(f"table {'netdev' if netdev else 'inet'} bench {{\nset allowed {{\n"
                    f"type {key}\nflags interval\n"
                    f"elements = {{ {elements} }}\n}}\nchain out {{\n"
                    f"type filter hook {where} priority 0; policy accept;\n{state}"
                    f"meta l4proto {{ tcp, udp }} {match} @allowed accept\n"
                    f"meta l4proto {{ tcp, udp }} {'drop' if netdev else 'reject'}\n}}\n}}\n")
    return path


def ipset(path, prefixes, family, name="all"):
    wide = "inet6" if family == 6 else "inet"
    path.write_text(f"create {name} hash:net family {wide} maxelem 2000000\n" +
                    "".join(f"add {name} {text(*p, family)}\n" for p in prefixes))
    return path
