# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The evaluator against cases worked out by hand from docs/policy.md.

A case is (policy parts, flow, answer); flows are "DIR PROTO ADDR KEY UID",
answers "VERDICT ID CAUSE".  Cases come in pairs: what is allowed, and its
neighbour that is not.
"""
import random

import pytest

import evaluator
import generate
from evaluator import Policy, PolicyError

NOW = 1_800_000_000         # 2027-01-15T08:00:00Z


def policy(*rules, **parts):
    return {"sluice": 1, "rules": list(rules), **parts}


def allow(match, rule_id="a", **keys):
    return {"allow": match, "id": rule_id, **keys}


def deny(match, rule_id="d", **keys):
    return {"deny": match, "id": rule_id, **keys}


def ask(document, flow, now=NOW, **keys):
    direction, protocol, address, key, uid = flow.split()
    answer = Policy(document, now, **keys).answer(direction, int(protocol), address, int(key),
                                                  None if uid == "-" else int(uid))
    return " ".join(answer)


ICMP_ECHO, ICMP_UNREACHABLE_PORT, ICMPV6_ECHO = 8 << 8, 3 << 8 | 3, 128 << 8
A, D, DEFAULT = "allow a rule", "deny d rule", "deny - default"
EMBEDDED, UNSOLICITED = "deny - embedded", "deny - unsolicited"

OUT = [
    # The first rule that matches decides; then default.
    (policy(allow("10.0.0.1"), deny("10.0.0.0/8")), "out 6 10.0.0.1 80 -", A),
    (policy(deny("10.0.0.0/8"), allow("10.0.0.1")), "out 6 10.0.0.1 80 -", D),
    (policy(default="allow"), "out 6 10.0.0.1 80 -", "allow - default"),
    (policy(default="deny"), "out 6 10.0.0.1 80 -", DEFAULT),
    (policy(), "out 6 10.0.0.1 80 -", DEFAULT),
    (policy(deny("10.0.0.1"), default="allow"), "out 6 10.0.0.2 80 -", "allow - default"),
    (policy(deny("10.0.0.1"), default="allow"), "out 6 10.0.0.1 80 -", D),
    # Edges of prefixes.
    (policy(allow("10.1.2.0/23")), "out 6 10.1.2.0 80 -", A),
    (policy(allow("10.1.2.0/23")), "out 6 10.1.1.255 80 -", DEFAULT),
    (policy(allow("10.1.2.0/23")), "out 6 10.1.3.255 80 -", A),
    (policy(allow("10.1.2.0/23")), "out 6 10.1.4.0 80 -", DEFAULT),
    (policy(allow("2001:db8::/33")), "out 6 2001:db8:7fff:ffff:ffff:ffff:ffff:ffff 1 -", A),
    (policy(allow("2001:db8::/33")), "out 6 2001:db8:8000:: 1 -", DEFAULT),
    (policy(allow("2001:db8::1")), "out 6 2001:db8::1 1 -", A),
    (policy(allow("2001:db8::1")), "out 6 2001:db8::2 1 -", DEFAULT),
    (policy(allow("10.1.2.3/24")), "out 6 10.1.2.0 80 -", A),
    (policy(allow("10.1.2.3/24")), "out 6 10.1.3.0 80 -", DEFAULT),
    # Families.
    (policy(allow("any")), "out 6 192.0.2.1 80 -", A),
    (policy(deny("any")), "out 6 2400::1 80 -", D),
    (policy(allow("0.0.0.0/0")), "out 6 192.0.2.1 80 -", A),
    (policy(allow("0.0.0.0/0")), "out 6 2400::1 80 -", DEFAULT),
    (policy(allow("::/0")), "out 6 2400::1 80 -", A),
    (policy(allow("::/0")), "out 6 192.0.2.1 80 -", DEFAULT),
    (policy(allow("::10.0.0.1")), "out 6 ::10.0.0.1 80 -", A),
    (policy(allow("10.0.0.1")), "out 6 ::10.0.0.1 80 -", DEFAULT),
    # No ports and no protocol: everything.
    (policy(allow("10.0.0.1")), "out 47 10.0.0.1 0 -", A),
    (policy(allow("10.0.0.1:443")), "out 47 10.0.0.1 0 -", DEFAULT),
    # Ports and no protocol: TCP and UDP.
    (policy(allow("10.0.0.1:443")), "out 6 10.0.0.1 443 -", A),
    (policy(allow("10.0.0.1:443")), "out 6 10.0.0.1 444 -", DEFAULT),
    (policy(allow("10.0.0.1:443")), "out 17 10.0.0.1 443 -", A),
    (policy(allow("10.0.0.1:443")), "out 132 10.0.0.1 443 -", DEFAULT),
    (policy(allow("10.0.0.1:2048")), "out 17 10.0.0.1 2048 -", A),
    (policy(allow("10.0.0.1:2048")), f"out 1 10.0.0.1 {ICMP_ECHO} -", DEFAULT),
    # Protocol and no ports.
    (policy(allow("10.0.0.1/udp")), "out 17 10.0.0.1 9 -", A),
    (policy(allow("10.0.0.1/udp")), "out 6 10.0.0.1 9 -", DEFAULT),
    (policy(allow("10.0.0.1/any")), "out 255 10.0.0.1 0 -", A),
    (policy(allow("10.0.0.1/tcp")), "out 255 10.0.0.1 0 -", DEFAULT),
    (policy(allow({"to": "any", "protocol": 47})), "out 47 10.0.0.1 0 -", A),
    (policy(allow({"to": "any", "protocol": 47})), "out 46 10.0.0.1 0 -", DEFAULT),
    (policy(allow({"to": "any", "protocol": 0})), "out 0 10.0.0.1 0 -", A),
    (policy(allow({"to": "any", "protocol": 0})), "out 255 10.0.0.1 0 -", DEFAULT),
    (policy(allow({"to": "any", "protocol": ["tcp", 50]})), "out 50 10.0.0.1 0 -", A),
    (policy(allow({"to": "any", "protocol": ["tcp", 50]})), "out 17 10.0.0.1 0 -", DEFAULT),
    (policy(allow({"to": "any", "protocol": ["tcp", "any"]})), "out 17 10.0.0.1 1 -", A),
    (policy(deny({"to": "any", "protocol": ["tcp", "any"]})), "out 17 10.0.0.1 1 -", D),
    (policy(allow("any/icmp")), f"out 1 10.0.0.1 {ICMP_ECHO} -", A),
    (policy(allow("any/icmp")), f"out 58 2400::1 {ICMPV6_ECHO} -", DEFAULT),
    # Both.
    (policy(allow("10.0.0.0/8:443/tcp")), "out 6 10.9.9.9 443 -", A),
    (policy(allow("10.0.0.0/8:443/tcp")), "out 17 10.9.9.9 443 -", DEFAULT),
    (policy(allow("any:5/sctp")), "out 132 10.0.0.1 5 -", A),
    (policy(allow("any:5/sctp")), "out 132 10.0.0.1 6 -", DEFAULT),
    (policy(allow({"to": "any", "ports": [80, "90-92"], "protocol": ["udp", "sctp"]})),
     "out 132 10.0.0.1 92 -", A),
    (policy(allow({"to": "any", "ports": [80, "90-92"], "protocol": ["udp", "sctp"]})),
     "out 132 10.0.0.1 93 -", DEFAULT),
    (policy(allow({"to": "any", "ports": "90-92"})), "out 6 10.0.0.1 90 -", A),
    (policy(allow({"to": "any", "ports": "90-92"})), "out 6 10.0.0.1 89 -", DEFAULT),
    (policy(allow({"to": "any", "ports": 65535})), "out 6 10.0.0.1 65535 -", A),
    (policy(allow({"to": "any", "ports": "1-65535"})), "out 6 10.0.0.1 0 -", DEFAULT),
    # ICMP.
    (policy(allow({"to": "any", "protocol": "icmp", "icmp": {"type": 3}})),
     f"out 1 10.0.0.1 {ICMP_UNREACHABLE_PORT} -", A),
    (policy(allow({"to": "any", "protocol": "icmp", "icmp": {"type": 3}})),
     f"out 1 10.0.0.1 {ICMP_ECHO} -", DEFAULT),
    (policy(allow({"to": "any", "protocol": "icmp", "icmp": {"type": 3, "code": 3}})),
     f"out 1 10.0.0.1 {ICMP_UNREACHABLE_PORT} -", A),
    (policy(allow({"to": "any", "protocol": "icmp", "icmp": {"type": 3, "code": 0}})),
     f"out 1 10.0.0.1 {ICMP_UNREACHABLE_PORT} -", DEFAULT),
    (policy(allow({"to": "any", "protocol": "icmpv6", "icmp": {"type": 128, "code": 0}})),
     f"out 58 2400::1 {ICMPV6_ECHO} -", A),
    (policy(allow({"to": "any", "protocol": "icmp", "icmp": {"type": 128, "code": 0}})),
     f"out 58 2400::1 {ICMPV6_ECHO} -", DEFAULT),
    # Uid.
    (policy(allow({"to": "any", "uid": 1000})), "out 6 10.0.0.1 80 1000", A),
    (policy(allow({"to": "any", "uid": 1000})), "out 6 10.0.0.1 80 1001", DEFAULT),
    (policy(allow({"to": "any", "uid": [0, 5]})), "out 6 10.0.0.1 80 0", A),
    (policy(allow({"to": "any", "uid": [0, 5]})), "out 6 10.0.0.1 80 -", DEFAULT),
    (policy(deny({"to": "any", "uid": 5}), allow("any")), "out 6 10.0.0.1 80 -", A),
    (policy(deny({"to": "any", "uid": 5}), allow("any")), "out 6 10.0.0.1 80 5", D),
    # Shorthands and lists of them.
    (policy(allow("[2001:db8::1]:443")), "out 6 2001:db8::1 443 -", A),
    (policy(allow("[2001:db8::1]:443")), "out 6 2001:db8::1 444 -", DEFAULT),
    (policy(allow("[2001:db8::/32]:1,5-6/udp")), "out 17 2001:db8::9 6 -", A),
    (policy(allow("[2001:db8::/32]:1,5-6/udp")), "out 17 2001:db8::9 7 -", DEFAULT),
    (policy(allow("2001:db8::/32/tcp")), "out 6 2001:db8::9 7 -", A),
    (policy(allow("2001:db8::/32/tcp")), "out 17 2001:db8::9 7 -", DEFAULT),
    (policy(allow(["10.0.0.1:22", "10.0.0.2/udp"])), "out 17 10.0.0.2 22 -", A),
    (policy(allow(["10.0.0.1:22", "10.0.0.2/udp"])), "out 6 10.0.0.2 22 -", DEFAULT),
    (policy(allow({"to": ["10.0.0.1", "2400::/16"]})), "out 6 2400::5 22 -", A),
    (policy(allow({"to": ["10.0.0.1", "2400::/16"]})), "out 6 10.0.0.2 22 -", DEFAULT),
    # IPv4-mapped and NAT64 addresses are their IPv4 address.
    (policy(allow("10.0.0.1")), "out 6 ::ffff:10.0.0.1 80 -", A),
    (policy(allow("10.0.0.1")), "out 6 ::ffff:10.0.0.2 80 -", DEFAULT),
    (policy(allow("10.0.0.1")), "out 6 64:ff9b::10.0.0.1 80 -", A),
    (policy(deny("10.0.0.1"), allow("::/0")), "out 6 64:ff9b::a00:1 80 -", D),
    (policy(allow("::/64")), "out 6 ::fffe:10.0.0.1 80 -", A),
    (policy(allow("::/64")), "out 6 ::ffff:10.0.0.1 80 -", DEFAULT),
    (policy(allow("64:ff9b::/64")), "out 6 64:ff9b::1:0:0 80 -", A),
    (policy(allow("64:ff9b::/64")), "out 6 64:ff9b::ffff:ffff 80 -", DEFAULT),
    (policy(allow("10.0.0.1/icmpv6")), f"out 58 64:ff9b::10.0.0.1 {ICMPV6_ECHO} -", A),
    (policy(allow("10.0.0.1/icmp")), f"out 58 64:ff9b::10.0.0.1 {ICMPV6_ECHO} -", DEFAULT),
    # Blocks that hide an IPv4 address: only HOSTs inside reach them.
    (policy(allow("2002::/16")), "out 6 2002:a00:1:: 80 -", A),
    (policy(allow("2002::/15")), "out 6 2002:a00:1:: 80 -", EMBEDDED),
    (policy(allow("2002::/15")), "out 6 2003:: 80 -", A),
    (policy(allow("2002:a00::/24")), "out 6 2002:a00:1:: 80 -", A),
    (policy(allow("2002:a00::/24")), "out 6 2002:b00:1:: 80 -", EMBEDDED),
    (policy(allow("any"), default="allow"), "out 6 2001:0:1::1 80 -", EMBEDDED),
    (policy(allow("any"), default="allow"), "out 6 2001:1::1 80 -", A),
    (policy(allow("2001::/32")), "out 6 2001:0:ffff::1 80 -", A),
    (policy(allow("2001::/31")), "out 6 2001:0:ffff::1 80 -", EMBEDDED),
    (policy(allow("64:ff9b:1:2::/64")), "out 6 64:ff9b:1:2::9 80 -", A),
    (policy(allow("::/0")), "out 6 64:ff9b:1:2::9 80 -", EMBEDDED),
    (policy(allow("::/0")), "out 6 64:ff9b:2::9 80 -", A),
    (policy(allow({"to": ["any", "2002::/16"], "ports": 80})), "out 6 2002::1 80 -", A),
    (policy(allow({"to": ["any", "2002::/16"], "ports": 80})), "out 6 2002::1 81 -", EMBEDDED),
    (policy(allow("any"), deny("2002::/16")), "out 6 2002::1 80 -", D),
    (policy(default="allow"), "out 6 2002::1 80 -", EMBEDDED),
    (policy(default="allow"), "out 6 2003::1 80 -", "allow - default"),
    (policy(allow("any"), default="allow"), "out 6 ::ffff:0:a00:1 80 -", EMBEDDED),
    (policy(allow("::/64")), "out 6 ::ffff:0:a00:1 80 -", EMBEDDED),
    (policy(allow("::/64")), "out 6 ::ffff:1:a00:1 80 -", A),
    (policy(allow("::ffff:0:a00:0/120")), "out 6 ::ffff:0:a00:1 80 -", A),
    (policy(allow("::ffff:0:0:0/95")), "out 6 ::ffff:0:a00:1 80 -", EMBEDDED),
    # Sets.
    (policy(allow("@hub:22"), sets={"hub": ["10.0.0.0/30", "2400::1"]}), "out 6 10.0.0.3 22 -", A),
    (policy(allow("@hub:22"), sets={"hub": ["10.0.0.0/30", "2400::1"]}), "out 6 10.0.0.4 22 -",
     DEFAULT),
    (policy(allow("@hub/udp"), sets={"hub": ["2400::1"]}), "out 17 2400::1 22 -", A),
    (policy(allow("@hub/udp"), sets={"hub": ["2400::1"]}), "out 6 2400::1 22 -", DEFAULT),
    (policy(allow("@private")), "out 6 100.127.255.255 22 -", A),
    (policy(allow("@private")), "out 6 100.128.0.0 22 -", DEFAULT),
    (policy(allow("@private")), "out 6 fdff::1 22 -", A),
    (policy(allow("@private")), "out 6 fe00::1 22 -", DEFAULT),
    (policy(deny("@metadata"), allow("@link-local")), "out 6 169.254.169.253 80 -", A),
    (policy(deny("@metadata"), allow("@link-local")), "out 6 169.254.169.254 80 -", D),
    (policy(allow("@metadata")), "out 6 fd00:ec2::254 80 -", A),
    (policy(allow("@metadata")), "out 6 fd00:ec2::253 80 -", DEFAULT),
    (policy(allow("@loopback")), "out 6 ::1 80 -", A),
    (policy(allow("@loopback")), "out 6 ::2 80 -", DEFAULT),
    (policy(allow("@multicast")), "out 17 239.255.255.255 80 -", A),
    (policy(allow("@multicast")), "out 17 240.0.0.0 80 -", DEFAULT),
    (policy(allow({"to": ["@none", "10.0.0.1"]}, empty="ok"), sets={"none": []}),
     "out 6 10.0.0.1 80 -", A),
    (policy(allow("@none", empty="ok"), sets={"none": []}), "out 6 10.0.0.1 80 -", DEFAULT),
    (policy(allow("@resolvers"), dns={"resolvers": ["9.9.9.9"]}), "out 6 9.9.9.9 443 -", A),
    (policy(allow("@resolvers"), dns={"resolvers": ["9.9.9.9"]}), "out 6 9.9.9.8 443 -", DEFAULT),
    # The gate.
    (policy(deny("any"), dns={"resolvers": ["9.9.9.9"]}), "out 17 9.9.9.9 53 -",
     "allow dns-resolver dns-resolver"),
    (policy(allow("any"), dns={"resolvers": ["9.9.9.9"]}), "out 17 9.9.9.8 53 -",
     "deny dns-gate dns-gate"),
    (policy(deny("any"), dns={"resolvers": ["9.9.9.9"]}), "out 6 64:ff9b::9.9.9.9 53 -",
     "allow dns-resolver dns-resolver"),
    (policy(allow("any"), dns={"resolvers": ["9.9.9.9"]}), "out 6 9.9.9.9 853 -",
     "deny dns-gate dns-gate"),
    (policy(allow("any"), dns={"resolvers": ["9.9.9.9"]}), "out 132 9.9.9.8 53 -", A),
    (policy(allow("any"), dns={"resolvers": ["9.9.9.9"]}), "out 17 2002::1 53 -",
     "deny dns-gate dns-gate"),
    (policy(allow("any"), dns={"resolvers": ["9.9.9.9"], "dot": "rules"}), "out 6 9.9.9.9 853 -", A),
    (policy(allow("any"), dns={"resolvers": ["9.9.9.9"], "dot": "rules"}), "out 6 9.9.9.8 53 -",
     "deny dns-gate dns-gate"),
    (policy(dns={"resolvers": ["9.9.9.9"], "dot": "rules"}), "out 6 9.9.9.9 853 -", DEFAULT),
    (policy(allow("9.9.9.8:53,853")), "out 17 9.9.9.8 53 -", A),
    (policy(allow("9.9.9.8:53,853")), "out 17 9.9.9.9 853 -", DEFAULT),
]

REPLIES, OPEN = policy(allow("any")), policy(deny("any"), inbound="allow")


def listed(**entry):
    return policy(deny("any"), inbound=[entry])


IN = [
    (OPEN, "in 6 10.0.0.1 22 -", "allow - inbound"),
    (REPLIES, "in 6 10.0.0.1 22 -", UNSOLICITED),
    (OPEN, "in 6 2002::1 22 -", "allow - inbound"),
    (policy(allow("any"), inbound="replies"), "in 6 2002::1 22 -", UNSOLICITED),
    ({**OPEN, "dns": {"resolvers": []}}, "in 17 10.0.0.1 53 -", "allow - inbound"),
    ({**REPLIES, "default": "allow"}, "in 17 10.0.0.1 53 -", UNSOLICITED),
    (listed(**{"from": "10.0.0.0/8"}), "in 47 10.0.0.1 0 -", "allow - rule"),
    (listed(**{"from": "10.0.0.0/8"}), "in 47 11.0.0.1 0 -", UNSOLICITED),
    (listed(**{"from": "any", "ports": [22]}), "in 17 10.0.0.1 22 -", "allow - rule"),
    (listed(**{"from": "any", "ports": [22]}), "in 132 10.0.0.1 22 -", UNSOLICITED),
    (listed(**{"from": "any", "ports": 22, "protocol": "tcp"}), "in 6 2400::1 22 -",
     "allow - rule"),
    (listed(**{"from": "any", "ports": 22, "protocol": "tcp"}), "in 6 2400::1 23 -", UNSOLICITED),
    (listed(**{"from": "@hub"}) | {"sets": {"hub": ["10.0.0.1"]}}, "in 6 ::ffff:10.0.0.1 5 -",
     "allow - rule"),
    (listed(**{"from": "@hub"}) | {"sets": {"hub": ["10.0.0.1"]}}, "in 6 ::ffff:10.0.0.2 5 -",
     UNSOLICITED),
    (listed(**{"from": ["any", "2002:1::/32"]}), "in 6 2002:1::1 5 -", "allow - rule"),
    (listed(**{"from": ["any", "2002:1::/32"]}), "in 6 2002:2::1 5 -", UNSOLICITED),
    (listed(**{"from": "any", "protocol": "icmp", "icmp": {"type": 8}}),
     "in 1 10.0.0.1 2048 -", "allow - rule"),
    (listed(**{"from": "any", "protocol": "icmp", "icmp": {"type": 8}}),
     "in 1 10.0.0.1 0 -", UNSOLICITED),
]


@pytest.mark.parametrize("document, flow, answer", OUT)
def test_outbound(document, flow, answer):
    assert ask(document, flow) == answer


@pytest.mark.parametrize("document, flow, answer", IN)
def test_inbound(document, flow, answer):
    assert ask(document, flow) == answer


EXPIRING = "out 6 10.0.0.1 80 -"


@pytest.mark.parametrize("expires, now, answer", [
    ("2026-12-31", 1_798_761_599, A),               # 2026-12-31T23:59:59Z
    ("2026-12-31", 1_798_761_600, D),
    ("2026-12-31T12:00:00Z", 1_798_718_399, A),
    ("2026-12-31T12:00:00Z", 1_798_718_400, D),
    ("2099-01-01", NOW, A),
    ("1999-01-01", NOW, D),
])
def test_an_expired_rule_is_passed_over(expires, now, answer):
    document = policy(allow("10.0.0.1", expires=expires), deny("any"))
    assert ask(document, EXPIRING, now) == answer


@pytest.mark.parametrize("duration, age, answer", [
    ("90s", 89, A), ("90s", 90, D), ("30m", 1799, A), ("30m", 1800, D),
    ("12h", 43199, A), ("12h", 43200, D), ("7d", 604799, A), ("7d", 604800, D),
])
def test_a_duration_runs_from_the_first_effect(duration, age, answer):
    document = policy(allow("10.0.0.1", expires=duration), deny("any"))
    assert ask(document, EXPIRING, NOW, first_effect=NOW - age) == answer


@pytest.mark.parametrize("document", [
    {"rules": []},
    policy(color="red"),
    policy({"allow": "any", "deny": "any"}),
    policy({"id": "a"}),
    policy(allow("any"), deny("any", "a")),
    policy(allow("::ffff:10.0.0.1")),
    policy(allow("64:ff9b::10.0.0.0/104")),
    policy(allow("10.0.0.0/33")),
    policy(allow("any:80/icmp")),
    policy(allow("any:80/any")),
    policy(allow("any:0")),
    policy(allow("any:65536")),
    policy(allow("any:9-8")),
    policy(allow("10.0.0.1/47")),
    policy(allow({"to": "any", "protocol": 256})),
    policy(allow({"to": "any", "protocol": "tcp", "icmp": {"type": 8}})),
    policy(allow({"to": "any", "icmp": {"type": 8}})),
    policy(allow("@nowhere")),
    policy(allow("@none"), sets={"none": []}),
    policy(sets={"private": ["10.0.0.0/8"]}),
    policy(sets={"hub": ["::ffff:0:0/96"]}),
])
def test_what_the_text_calls_an_error_is_one(document):
    with pytest.raises(PolicyError):
        Policy(document)


def test_decide_gives_the_rule_index():
    document = policy(deny("10.0.0.1"), allow("10.0.0.0/8"))
    assert evaluator.evaluate(document, "out", 6, "10.0.0.2", 80) == ("allow", 1, "rule")
    assert evaluator.evaluate(document, "out", 6, "10.0.0.1", 80) == ("deny", 0, "rule")
    assert evaluator.evaluate(document, "out", 6, "11.0.0.1", 80) == ("deny", None, "default")


def test_generated_policies_are_valid_and_packets_hit_rules():
    by_rule = total = 0
    for seed in range(60):
        made = generate.RandomPolicy(random.Random(seed))
        judge = Policy(made.document)
        for _ in range(200):
            by_rule += judge.decide(*made.packet())[2] == "rule"
            total += 1
    assert by_rule / total > 0.6


def test_a_seed_gives_the_same_policy_and_packets():
    first, second = (generate.RandomPolicy(random.Random(7)) for _ in range(2))
    assert first.text() == second.text()
    assert [first.packet() for _ in range(50)] == [second.packet() for _ in range(50)]
