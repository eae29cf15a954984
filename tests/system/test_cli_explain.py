# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice explain: the answer, the rules before it, and that both agree."""
import pathlib
import random
import sys

import pytest

from cli_tools import ROOT, agent, lines_of, sluice, write

sys.path.insert(0, str(ROOT / "tests" / "oracle"))
import evaluator    # noqa: E402
import generate     # noqa: E402

EXPLAINED = [
    # destination and options, verdict, rule, reason
    ("10.0.0.1:80", "deny", "deny-7792d7", "rule"),
    ("192.168.1.1:22", "deny", "deny-7792d7", "rule"),
    ("[fd00::1]:22", "deny", "deny-7792d7", "rule"),
    ("169.254.169.254:80", "deny", "deny-765aeb", "rule"),
    ("169.254.169.254/icmp", "deny", "deny-765aeb", "rule"),
    ("[fd00:ec2::254]:80", "deny", "deny-765aeb", "rule"),
    ("140.82.112.3:443", "allow", "allow-569959", "rule"),
    ("140.82.112.3:22/tcp", "allow", "allow-569959", "rule"),
    ("140.82.127.255:443", "allow", "allow-569959", "rule"),
    ("140.82.128.0:443", "deny", None, "default"),
    ("140.82.111.255:443", "deny", None, "default"),
    ("140.82.112.3:443/udp", "deny", None, "default"),
    ("140.82.112.3:23", "deny", None, "default"),
    ("10.1.2.3:5432", "allow", "staging-db", "rule"),
    ("10.1.2.3:5440/udp", "allow", "staging-db", "rule"),
    ("10.1.2.3:5441", "deny", "deny-7792d7", "rule"),
    ("10.1.2.3:5432/sctp", "deny", "deny-7792d7", "rule"),
    ("10.1.3.0:5432", "deny", "deny-7792d7", "rule"),
    ("203.0.113.9/icmp", "allow", "ping", "rule"),
    ("203.0.113.9/icmp --icmp 8:5", "allow", "ping", "rule"),
    ("203.0.113.9/icmp --icmp 13", "deny", None, "default"),
    ("203.0.113.9 --proto icmp --icmp 0", "deny", None, "default"),
    ("203.0.113.9:443", "deny", None, "default"),
    ("203.0.113.9:443 --uid 1000", "allow", "web", "rule"),
    ("203.0.113.9:80 --uid 1001", "allow", "web", "rule"),
    ("203.0.113.9:443 --uid 1002", "deny", None, "default"),
    ("203.0.113.9:443 --uid root", "deny", None, "default"),
    ("203.0.113.9:443/udp --uid 1000", "deny", None, "default"),
    ("[2001:db8::9]:443 --uid 1000", "allow", "web", "rule"),
    ("10.0.0.1:443 --uid 1000", "deny", "deny-7792d7", "rule"),
    # the dns gate is before every rule
    ("192.0.2.53:53/udp", "allow", "dns-resolver", "dns-resolver"),
    ("192.0.2.53:53", "allow", "dns-resolver", "dns-resolver"),
    ("[2001:db8::53]:53/udp", "allow", "dns-resolver", "dns-resolver"),
    ("192.0.2.53:853", "deny", "dns-gate", "dns-gate"),
    ("192.0.2.54:53/udp", "deny", "dns-gate", "dns-gate"),
    ("[2002:c000:204::1]:53/udp", "deny", "dns-gate", "dns-gate"),
    ("192.0.2.53:53/sctp", "deny", None, "default"),
    # IPv4 inside IPv6
    ("[::ffff:10.0.0.1]:80", "deny", "deny-7792d7", "rule"),
    ("[::ffff:140.82.112.3]:443", "allow", "allow-569959", "rule"),
    ("[::ffff:192.0.2.53]:53/udp", "allow", "dns-resolver", "dns-resolver"),
    ("[64:ff9b::a9fe:a9fe]:80", "deny", "deny-765aeb", "rule"),
    ("[64:ff9b::8c52:7003]:443", "allow", "allow-569959", "rule"),
    ("[64:ff9b:1::a00:1]:443 --uid 1000", "deny", None, "embedded"),
    ("[::ffff:0:a00:1]:443 --uid 1000", "deny", None, "embedded"),
    ("[::ffff:1:a00:1]:443 --uid 1000", "allow", "web", "rule"),
    ("[2001::1]:443 --uid 1000", "deny", None, "embedded"),
    ("[2001:0:ffff:ffff::1]:443 --uid 1000", "deny", None, "embedded"),
    ("[2001:1::1]:443 --uid 1000", "allow", "web", "rule"),
    ("[2002:a00:1::1]:443 --uid 1000", "deny", None, "embedded"),
    ("[2002:c000:204:5::1]:443", "allow", "six-to-four", "rule"),
    ("2002:c000:205::1 --proto 47", "deny", None, "embedded"),
    # protocols by number
    ("2001:db8::1 --proto 47", "deny", "gre6", "rule"),
    ("198.51.100.1 --proto 47", "allow", "gre4", "rule"),
    ("198.51.100.1 --proto 50", "deny", None, "default"),
    # flows that come in
    ("198.51.100.7:8080 --inbound", "allow", "inbound", "rule"),
    ("198.51.100.7:8080/udp --inbound", "deny", None, "unsolicited"),
    ("198.51.100.7:8081 --inbound", "deny", None, "unsolicited"),
    ("198.51.101.7:8080 --inbound", "deny", None, "unsolicited"),
    ("140.82.112.3:443 --inbound", "deny", None, "unsolicited"),
]


@pytest.mark.parametrize("words, verdict, rule, reason", EXPLAINED)
def test_explain(agent, words, verdict, rule, reason):
    result = sluice("explain", "-p", agent, *words.split(), "-o", "json")
    assert result.returncode == 0, result.stderr
    [answer] = lines_of(result)
    assert (answer["verdict"], answer["rule"], answer["reason"]) == (verdict, rule, reason)
    assert answer["mode"] == "enforce"
    assert (answer["position"] is None) == (rule is None)
    ids = [c["rule"] for c in answer["considered"]]
    assert rule not in ids or rule == "inbound"
    assert all(c["matched"] is False and c["why"] for c in answer["considered"])
    if rule is None and "--inbound" not in words:
        assert len(ids) == 11    # the gate's two, and the rules
    text = sluice("explain", "-p", agent, *words.split())
    assert text.returncode == 0 and text.stderr == ""
    first = text.stdout.splitlines()[0]
    assert first.startswith("allowed" if verdict == "allow" else "denied")
    assert (f"by rule {rule} (" in first) == (rule is not None)


def test_explain_says_why_each_rule_before_did_not_match(agent):
    result = sluice("explain", "-p", agent, "10.0.0.1:80")
    assert result.stdout.splitlines() == [
        f'denied by rule deny-7792d7 ({agent}:13): deny: "@private"',
        "before it:",
        f"  1  dns-resolver  {agent}:1   port is 80, not 53",
        f"  2  dns-gate      {agent}:1   port is 80, not 53 or 853",
        f"  3  deny-765aeb   {agent}:8   address is not in @metadata",
        f"  4  allow-569959  {agent}:9   address is not in @github",
        f"  5  staging-db    {agent}:10  address is not in 10.1.2.0/24",
    ]


def whys(path, *words):
    [answer] = lines_of(sluice("explain", "-p", path, *words, "-o", "json"))
    return {c["rule"]: c["why"] for c in answer["considered"]}


@pytest.mark.parametrize("words, rule, why", [
    ("140.82.112.3:80", "allow-569959", "port is 80, not 22 or 443"),
    ("140.82.112.3:443/udp", "allow-569959", "protocol is udp, not tcp"),
    ("203.0.113.9/icmp --icmp 3:1", "ping", "icmp type is 3, not 8"),
    ("203.0.113.9:443 --uid 7", "web", "uid is 7, not 1000 or 1001"),
    ("203.0.113.9:443", "web", "the flow has no uid (see --uid), the rule wants 1000 or 1001"),
    ("203.0.113.9:443", "gre6", "an IPv4 address is not in ::/0"),
    ("[2001:db8::9]:443", "ping", "an IPv6 address is not in 203.0.113.0/24"),
    ("203.0.113.9/icmp --icmp 9", "dns-gate", "protocol is icmp, not tcp or udp"),
    ("203.0.113.9:53", "dns-resolver", "address is none of the policy's resolvers"),
    ("[2001::9]:443", "web", "any does not cover 2001::/32, which embeds IPv4: "
                             "only a prefix inside that block does"),
    ("198.51.100.7:8081 --inbound", "inbound", "port is 8081, not 8080"),
])
def test_explain_why(agent, words, rule, why):
    assert whys(agent, *words.split())[rule] == why


def test_explain_why_of_rules_with_several_matches_and_of_expired_ones(write):
    path = write("sluice: 1\nrules:\n"
                 "  - allow: ['10.0.0.0/8:443/tcp', '192.168.0.0/16:80/tcp']\n    id: two\n"
                 "  - allow: 10.0.0.1\n    id: over\n    expires: 2001-02-03T04:05:06Z\n")
    said = whys(path, "10.0.0.1:80", "--trust-clock")
    assert said["two"] == "port is 80, not 443 (the closest of its 2 matches)"
    assert said["over"] == "expired at 2001-02-03T04:05:06Z"
    said = whys(path, "172.16.0.1:80", "--trust-clock")
    assert said["two"] == "address is not in 10.0.0.0/8 or 192.168.0.0/16"


def test_explain_says_what_an_address_is_judged_as(agent):
    result = sluice("explain", "-p", agent, "[::ffff:10.0.0.1]:80")
    assert "embeds 10.0.0.1 and is judged as that" in result.stdout
    [answer] = lines_of(sluice("explain", "-p", agent, "64:ff9b::a00:1/icmp", "-o", "json"))
    assert answer["flow"] == {
        "direction": "egress", "name": None, "address": "64:ff9b::a00:1", "judged_as": "10.0.0.1", "family": 6,
        "protocol": "icmp", "port": None, "icmp": {"type": 8, "code": 0}, "uid": None}


def test_explain_shows_the_reason_the_mode_and_the_defaults(write):
    path = write("sluice: 1\nmode: audit\ndefault: allow\ninbound: allow\nrules:\n"
                 "  - deny: 10.0.0.1\n    reason: \"said \\x1b[31mred\"\n")
    result = sluice("explain", "-p", path, "10.0.0.1:1")
    assert "reason: said \\x1b[31mred" in result.stdout and "\x1b" not in result.stdout
    assert "mode is audit" in result.stdout
    [answer] = lines_of(sluice("explain", "-p", path, "10.0.0.2:1", "-o", "json"))
    assert (answer["verdict"], answer["reason"], answer["mode"]) == ("allow", "default", "audit")
    [answer] = lines_of(sluice("explain", "-p", path, "10.0.0.1:1", "--inbound", "-o", "json"))
    assert (answer["verdict"], answer["reason"]) == ("allow", "inbound")
    assert answer["considered"] == []


def test_explain_of_rules_that_come_from_a_fragment(write):
    write("sluice: 1\nrules:\n  - deny: 10.0.0.0/8\n", "part.yaml")
    path = write("sluice: 1\nrules:\n  - deny: '@multicast'\n  - include: part.yaml\n"
                 "  - allow: '@loopback'\n")
    [answer] = lines_of(sluice("explain", "-p", path, "127.0.0.1:1", "-o", "json"))
    assert [(pathlib.Path(c["position"]["file"]).name, c["position"]["line"], c["why"])
            for c in answer["considered"]] == [
        ("agent.yaml", 3, "address is not in @multicast"),
        ("part.yaml", 3, "address is not in 10.0.0.0/8")]


@pytest.mark.parametrize("words, text", [
    ("*.github.com:443", "one name, not a pattern"),
    ("github..com:443", "has an empty label"),
    ("github.com/tcp", "a flow of tcp has a port"),
    ("github.com --uid 5", "give a port too"),
    ("github.com:443 --inbound", "not who calls"),
    ("github.com:443 --name github.com", "'github.com:443' is a name"),
    ("203.0.113.9:443 --name a..b", '"a..b" has an empty label'),
    ("203.0.113.9:443 --name 10.0.0.1", '"10.0.0.1" ends in a number'),
    ("203.0.113.9:443 --name a.b --inbound", "has no --name"),
    ("203.0.113.9", "a port or a protocol"),
    ("203.0.113.9:70000", "70000"),
    ("203.0.113.9:0", '"0"'),
    ("203.0.113.9:http", '"http" is not a port: a number from 1 to 65535 (`getent services'),
    ("203.0.113.9:80/tpc", 'did you mean "tcp"?'),
    ("203.0.113.9 --uid nobody-there", "'nobody-there'"),
    ("203.0.113.9:1-5", "one port"),
    ("203.0.113.9:5-1", "write 1-5"),
    ("10.0.0.0/8", "'10.0.0.0/8' is a prefix: one address"),
    ("2001:db8::/32", "--proto 32"),
    ("203.0.113.9/icmpx", "icmpx"),
    ("203.0.113.9 --proto 300", "300"),
    ("203.0.113.9:1/tcp --proto udp", "'203.0.113.9:1/tcp' names a protocol"),
    ("203.0.113.9:1 --uid nobody-there", "'nobody-there'"),
    ("203.0.113.9:1 --uid -1", "'-1'"),
    ("203.0.113.9:1 --uid 1 --inbound", "has no --uid"),
    ("203.0.113.9:1 --icmp 8", "--icmp goes with"),
    ("203.0.113.9/icmp --icmp 8:", "'8:'"),
    ("203.0.113.9/icmp --icmp 256", "'256'"),
    ("203.0.113.9:1 203.0.113.9:2", "one DESTINATION"),
])
def test_explain_refuses_what_is_no_flow(agent, words, text):
    result = sluice("explain", "-p", agent, *words.split())
    assert result.returncode == 2 and result.stdout == ""
    assert text in result.stderr


def test_explain_of_a_bad_policy_fails(write):
    path = write("sluice: 1\nrules:\n  - allow: '@nosuch'\n")
    result = sluice("explain", "-p", path, "10.0.0.1:1")
    assert result.returncode == 1 and "@nosuch" in result.stderr and f"{path}:3:" in result.stderr


def explain_words(flow):
    direction, protocol, address, key, uid = flow
    words = [f"[{address}]:{key}" if ":" in address else f"{address}:{key}"]
    if protocol not in (6, 17, 132):
        words = [address]
    words += ["--proto", str(protocol)]
    if protocol in (1, 58):
        words += ["--icmp", f"{key >> 8}:{key & 255}"]
    if direction == "in":
        return words + ["--inbound"]
    return words + ([] if uid is None else ["--uid", str(uid)])


@pytest.mark.parametrize("seed", range(12))
def test_explain_agrees_with_the_oracle_about_names(write, seed):
    made = (generate.RandomPolicy(random.Random(f"names/{seed}/{i}"), most_rules=60)
            for i in range(100))
    policy = next(policy for policy in made if policy.names)
    oracle = evaluator.Policy(policy.document)
    path = write(policy.text(), "random.json")

    def explain(*words):
        result = sluice("explain", "--trust-clock", "-p", path, "-o", "json", *words)
        assert result.returncode == 0, (words, result.stderr)
        [answer] = lines_of(result)
        return answer

    for name in [policy.name() for _ in range(5)]:
        answer = explain("--", name)    # it may begin with a hyphen
        assert (answer["verdict"], answer["rule"] or "-", answer["reason"]) == \
            oracle.answer_question(name), name
    for *flow, owners in [policy.owned() for _ in range(8)]:
        if flow[0] == "in" or (flow[1] in (6, 17, 132) and not flow[3]):
            continue
        answer = explain(*explain_words(flow), "--name", owners[0])
        assert (answer["verdict"], answer["rule"] or "-", answer["reason"]) == \
            oracle.answer(*flow, owners[:1]), (flow, owners[0])


@pytest.mark.parametrize("seed", range(12))
def test_explain_agrees_with_the_oracle(write, seed):
    policy = generate.RandomPolicy(random.Random(f"cli/{seed}"), most_rules=60)
    oracle = evaluator.Policy(policy.document)
    path = write(policy.text(), "random.json")
    for flow in [policy.packet() for _ in range(10)]:
        if flow[1] in (6, 17, 132) and not flow[3]:
            continue    # a flow to port 0 has no text
        result = sluice("explain", "--trust-clock", "-p", path, *explain_words(flow), "-o", "json")
        assert result.returncode == 0, (flow, result.stderr)
        [answer] = lines_of(result)
        verdict, rule, reason = oracle.answer(*flow)
        assert (answer["verdict"], answer["reason"]) == (verdict, reason), flow
        if flow[0] == "out":
            assert (answer["rule"] or "-") == rule, flow
