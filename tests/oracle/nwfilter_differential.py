#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Random network filters: the converted policy's answers against a naive reading.

    nwfilter_differential.py --build DIR [--seed N] [--time SECONDS] [--keep]

Each filter goes through `sluice convert --from nwfilter`. If it is refused, the error
must name its line; if not, random flows are judged by the policy and by the filter:

- a new flow, out and in: the same verdict, for either of libvirt's drivers;
- a flow that is let through: its later packets and its answers pass the filter;
- ICMP that opens no flow: the same verdict out; in, the policy lets in no more;
- the binding: the command printed asks for --mac and --address if, and only if, the
  filter drops frames of a guest that does not keep to them.

The first difference is printed with the filter and the policy; exit 1.
"""
import argparse
import collections
import ipaddress
import os
import random
import re
import subprocess
import sys
import tempfile
import time

import differential
import nwfilter_reading as reading

FLOWS = 300
LEAST_SHARE = 0.35      # of the filters that must be converted
ADDRESSES = {
    4: ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "192.0.2.128/25",
        "128.0.0.0/1", "224.0.0.0/4", "255.255.255.255/32", "203.0.113.7/32"],
    6: ["::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::5/128", "fc00::/7",
        "2002::/16", "2002:a00::/24", "2001::/16", "::ffff:0:0:0/96", "::ffff:0:a00:0/104", "::/64", "ff00::/8", "8000::/1"],
}
SPANS = {4: [("10.1.2.3", "10.1.2.200"), ("0.0.0.0", "9.255.255.255"),
             ("192.0.2.1", "255.255.255.255"), ("10.0.0.0", "10.255.255.255")],
         6: [("2001:db8::3", "2001:db8::ffff"), ("2001:db8::", "ffff::"),
             ("2002::", "2002:ffff::1")]}
PORTS = [22, 25, 53, 80, 443, 8000, 8080, 65535, 1]
SPECIAL = {4: [], 6: [ipaddress.ip_network("::ffff:0:0/96"), ipaddress.ip_network("64:ff9b::/96")]}
LINK = {130, 131, 132, 133, 134, 135, 136, 137, 143}


# --- filters

class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.tidy = rng.random() < 0.7      # written as people write them
        self.own = 0

    def attributes(self, family, name, direction):
        rng = self.rng
        found = {}
        if direction == "inout" and (self.tidy or rng.random() < 0.9):
            return found
        far = "dst" if direction == "out" else "src"
        if rng.random() < 0.35:
            # libvirt 9.0 takes no IPv6 dstipto
            if rng.random() < 0.7 or (family == 6 and far == "dst"):
                address, mask = rng.choice(ADDRESSES[family]).split("/")
                found[far + "ipaddr"] = address
                if rng.random() < 0.3 and family == 4:
                    mask = str(ipaddress.ip_network(f"0.0.0.0/{mask}").netmask)
                found[far + "ipmask"] = mask
            else:
                found[far + "ipfrom"], found[far + "ipto"] = rng.choice(SPANS[family])
        if name in ("tcp", "udp", "sctp") and rng.random() < 0.7:
            low = rng.choice(PORTS)
            found["dstportstart"] = rng.choice([str(low), hex(low)])
            if rng.random() < 0.4:
                found["dstportend"] = str(rng.randint(low, 65535))
            if not self.tidy and rng.random() < 0.25:
                found["srcportstart"] = str(rng.choice(PORTS))
        if name in ("icmp", "icmpv6") and rng.random() < 0.6:
            found["type"] = str(rng.choice([0, 3, 8, 8, 13] if name == "icmp" else
                                           [1, 128, 128, 129, 139]))
            if rng.random() < 0.4:
                found["code"] = str(rng.choice([0, 1]))
        return found

    def rule(self, action=None, direction=None, name=None, priority=None, state=None, family=None):
        rng = self.rng
        action = action or rng.choice(["accept"] * 6 + ["drop"] * 3 +
                                      (["reject", "return"] if not self.tidy else []))
        direction = direction or rng.choice(["out", "out", "in", "inout"])
        family = family or rng.choice([4, 4, 6])
        plain = name is not None
        name = name or rng.choice(["tcp"] * 4 + ["udp"] * 2 + ["all", "icmp", "sctp", "esp",
                                                               "udplite"])
        found = {} if plain else self.attributes(family, "icmpv6" if name == "icmp" and family == 6
                                                 else name, direction)
        tag = name if family == 4 else "icmpv6" if name == "icmp" else name + "-ipv6"
        head = {"action": action, "direction": direction}
        if priority is None and rng.random() < 0.3:
            priority = rng.choice([-500, 100, 400, 499, 500, 501, 700])
        if priority is not None:
            head["priority"] = str(priority)
        if state is None and not plain and rng.random() < (0.25 if action == "accept" else 0.6):
            if action in ("drop", "reject"):
                state = rng.choice(["NEW", "NEW", "NEW", "NEW,INVALID", "INVALID"])
            else:
                state = rng.choice(["NEW", "NEW", "NEW,ESTABLISHED", "ESTABLISHED",
                                    "ESTABLISHED,RELATED"])
        if state and direction == "inout" and self.tidy:
            state = None
        if state:
            found["state"] = state
        elif rng.random() < 0.05:
            head["statematch"] = rng.choice(["0", "false", "1", "true"])
        return element("rule", head, element(tag, found))

    def ends(self):
        rng = self.rng
        found = []
        for family in (4, 6):
            kind = rng.choice(["none", "inout", "both", "new", "reject", "out"] if self.tidy else
                              ["none", "inout", "out", "in"])
            if kind in ("new", "both", "in"):
                found.append(self.rule("drop", "in", "all", 1000, "NEW" if kind == "new" else None,
                                       family))
            if kind in ("new", "both", "reject", "out"):
                found.append(self.rule("reject" if kind == "reject" else "drop", "out", "all", 1000,
                                       None, family))
            if kind == "reject":
                found.append(self.rule("drop", "in", "all", 1000, None, family))
            if kind == "inout":
                found.append(self.rule("drop", "inout", "all", 1000, None, family))
            if self.tidy and kind != "none" and rng.random() < 0.8:
                for way in rng.choice([("in", "out"), ("in", "out"), ("in",), ("out",)]):
                    found.append(self.rule("accept", way, "all", 490, "ESTABLISHED,RELATED",
                                           family))
                if family == 6:
                    found.append(self.rule("accept", "inout", "icmp", -1000, None, 6)
                                 if rng.random() < 0.3 else "")
        return found

    def references(self):
        rng = self.rng
        if rng.random() < 0.6:
            return []
        if rng.random() < 0.5:
            return [element("filterref", {"filter": "clean-traffic"})]
        names = sorted(reading.shipped())
        return [element("filterref", {"filter": name})
                for name in rng.sample(names, rng.randint(1, 4))]

    def filter(self):
        rng = self.rng
        parts = [self.rule() for _ in range(rng.choice([0, 1, 2, 3, 5, 8]))] + self.ends()
        if not self.tidy:
            rng.shuffle(parts)
        if rng.random() < 0.05:
            parts.append(element("rule", {"action": "drop", "direction": "inout",
                                          "priority": "1000"}))
        parts = self.references() + parts
        return "<filter name='random' chain='root'>\n  " + "\n  ".join(filter(None, parts)) + \
            "\n</filter>\n"


def element(tag, attributes, inner=""):
    text = "".join(f" {name}='{value}'" for name, value in attributes.items())
    return f"<{tag}{text}>{inner}</{tag}>" if inner else f"<{tag}{text}/>"


# --- flows

class Flow:
    """A flow's first packet, from the guest or to it."""

    def __init__(self, way, family, protocol, remote, local_port, remote_port, icmp):
        self.way, self.family, self.protocol, self.remote = way, family, protocol, remote
        self.local_port, self.remote_port, self.icmp = local_port, remote_port, icmp

    def packet(self, way, state, icmp, answer=False):
        guest = 0x0a000002 if self.family == 4 else 0x20010db8 << 96 | 2
        ends = [(guest, self.local_port), (self.remote, self.remote_port)]
        (source, sport), (target, dport) = ends if way == "out" else ends[::-1]
        return reading.Packet(way, self.family, self.protocol, source, target, sport, dport, icmp,
                              state, answer)

    def line(self):
        key = self.icmp[0] << 8 | self.icmp[1] if self.icmp else \
            self.remote_port if self.way == "out" else self.local_port
        address = ipaddress.IPv4Address(self.remote) if self.family == 4 else \
            ipaddress.IPv6Address(self.remote)
        return f"{self.way} {self.protocol} {address} {key} -"


def random_address(rng, family):
    width = 32 if family == 4 else 128
    network = ipaddress.ip_network(rng.choice(ADDRESSES[family]))
    first, last = int(network.network_address), int(network.broadcast_address)
    if rng.random() < 0.3:
        first, last = (int(ipaddress.ip_address(end)) for end in rng.choice(SPANS[family]))
    value = rng.choice([first, last, rng.randint(first, last)])
    if rng.random() < 0.2:
        value += rng.choice([-1, 1])
    return min(max(value, 0), (1 << width) - 1)


def random_flow(rng):
    while True:
        family = rng.choice([4, 4, 6])
        remote = random_address(rng, family)
        if any(ipaddress.ip_address(remote) in block if remote >= 1 << 32 or family == 4 else False
               for block in SPECIAL[family]):
            continue    # judged as IPv4: docs/convert.md
        way = rng.choice(["out", "in"])
        if way == "in" and (remote >> 28 == 0xe if family == 4 else remote >> 120 == 0xff):
            continue    # nothing comes from a multicast address
        protocol = rng.choice([6, 6, 6, 17, 17, 132, 1 if family == 4 else 58, 50, 136, 47, 2,
                               58 if family == 4 else 1])
        icmp = None
        ports = [0, 0]
        if protocol in (6, 17, 132):
            ports = [rng.choice([*PORTS, rng.randint(1, 65535)]) for _ in range(2)]
            ports = [min(max(port + rng.choice([0, 0, 0, -1, 1]), 1), 65535) for port in ports]
        elif protocol == (1 if family == 4 else 58):
            icmp = (rng.choice([0, 3, 8, 8, 13, 14, 5] if family == 4 else
                               [1, 3, 128, 128, 129, 139, 140]), rng.choice([0, 0, 1]))
        elif protocol in (1, 58):
            icmp = (8, 0)       # no ICMP of this family: a protocol like any
        return Flow(way, family, protocol, remote, *ports, icmp)


# --- comparing

class Difference(Exception):
    pass


class Lab:
    def __init__(self, build, folder):
        self.sluice = os.path.join(build, "sluice")
        self.judge = differential.Judge([os.path.join(build, "tests", "judge")], folder)
        self.path = os.path.join(folder, "policy.yaml")
        self.counts = collections.Counter()
        self.refusals = collections.Counter()

    def convert(self, text):
        done = subprocess.run([self.sluice, "convert", "--from", "nwfilter", "-"], input=text,
                              capture_output=True, text=True, timeout=20)
        if done.returncode == 1:
            errors = [line for line in done.stderr.splitlines() if " error: " in line]
            if done.stdout or not errors:
                raise Difference(f"refused without a word: {done.stderr}")
            for line in errors:
                if not re.match(r"<stdin>:[1-9][0-9]*: error: .{20,}", line):
                    raise Difference(f"no place in: {line}")
            self.refusals[re.sub(r'"[^"]*"|\d+', "#", errors[0].split(" error: ")[1])[:70]] += 1
            return None, None
        if done.returncode:
            raise Difference(f"exit code {done.returncode}: {done.stderr}")
        return done.stdout, done.stderr

    def readings_of(self, text):
        return {driver: reading.Filter(text, driver) for driver in ("iptables", "nftables")}

    def compare(self, text, rng):
        policy, said = self.convert(text)
        if policy is None:
            self.counts["refused"] += 1
            return
        self.counts["converted"] += 1
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(policy)
        os.chmod(self.path, 0o644)
        flows = [random_flow(rng) for _ in range(FLOWS)]
        answers = self.judge.ask([f"policy {self.path}", *(flow.line() for flow in flows)])
        if answers[0] != "ok":
            raise Difference(f"the policy is not taken: {answers[0]}")
        readings = self.readings_of(text)
        check_binding(readings["iptables"], said)
        for flow, answer in zip(flows, answers[1:]):
            self.check_flow(flow, answer, readings)

    def check_flow(self, flow, answer, readings):
        state = reading.state_of(flow.family, flow.protocol, flow.icmp)
        allowed = answer.startswith("allow ")
        wanted = readings["iptables"].passes(flow.packet(flow.way, state, flow.icmp))
        self.counts[state] += 1
        self.counts["allowed"] += allowed
        where = f"{flow.line()} (own port {flow.local_port}, other's {flow.remote_port})"
        if state == "INVALID" and flow.way == "in":
            if allowed and not wanted:
                raise Difference(f"{where}: {answer}; the filter drops it")
            return
        if allowed != wanted:
            raise Difference(f"{where}: {answer}; the filter {'passes' if wanted else 'drops'} it")
        if state == "INVALID":
            return
        if readings["nftables"].passes(flow.packet(flow.way, state, flow.icmp)) != wanted:
            raise Difference(f"{where}: {answer}; libvirt's nftables driver differs")
        if allowed:
            self.check_answers(flow, readings["iptables"], where)

    def check_answers(self, flow, filter_, where):
        icmp = flow.icmp
        back = icmp
        if icmp and flow.protocol == (1 if flow.family == 4 else 58):
            back = (reading.QUERIES[flow.family][icmp[0]], icmp[1])
        other = "in" if flow.way == "out" else "out"
        if not filter_.passes(flow.packet(flow.way, "ESTABLISHED", icmp)):
            raise Difference(f"{where}: allowed, but its later packets are dropped")
        if not filter_.passes(flow.packet(other, "ESTABLISHED", back, True)):
            raise Difference(f"{where}: allowed, but its answers are dropped")


def check_binding(filter_, said):
    attach = said.splitlines()[-1]
    honest = reading.HONEST
    open_kinds = [kind for kind in ("ip4", "ip6", "arp") if filter_.frame_passes("out", kind)]
    mac = any(not filter_.frame_passes("out", kind, honest - {word})
              for kind in open_kinds for word in ("mac", "arp-mac"))
    if (" --mac MAC" in attach) != mac:
        raise Difference(f"--mac: {attach}")
    for kinds, word in ((("ip4", "arp"), " --address ADDRESS"),
                        (("ip6",), " --address IPV6-ADDRESS")):
        bound = any(not filter_.frame_passes("out", kind, honest - {"address"})
                    for kind in open_kinds if kind in kinds)
        if (word in attach) != bound:
            raise Difference(f"{word}: {attach}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--time", type=float, default=60)
    parser.add_argument("--verbose", action="store_true", help="what was refused, how often")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    end = time.monotonic() + given.time
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(os.path.abspath(given.build), folder)
        while time.monotonic() < end:
            text = Maker(rng).filter()
            try:
                lab.compare(text, rng)
            except Difference as what:
                print(f"seed {given.seed}: difference: {what}\n{text}")
                if os.path.exists(lab.path):
                    print(open(lab.path, encoding="utf-8").read())
                return 1
        status = lab.judge.close()
    counts = lab.counts
    if given.verbose:
        for words, count in lab.refusals.most_common():
            print(f"{count:7} {words}")
    share = counts["converted"] / max(1, counts["converted"] + counts["refused"])
    flows = counts["NEW"] + counts["INVALID"]
    print(f"seed {given.seed}: {counts['converted']} filters converted, {counts['refused']} refused, "
          f"{flows} flows, {counts['allowed'] / max(1, flows):.0%} allowed, "
          f"{counts['INVALID']} ICMP that opens none, 0 differences")
    if status or share < LEAST_SHARE:
        print(f"judge's exit status {status}, share converted {share:.0%} (at least "
              f"{LEAST_SHARE:.0%})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
