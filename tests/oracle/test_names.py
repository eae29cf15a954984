# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The evaluator's names against cases worked out by hand from docs/names.md.

Questions are names, flows "PROTO ADDR KEY UID OWNERS"; answers "VERDICT ID CAUSE".
Cases come in pairs: what is allowed, and its neighbour that is not.
"""
import random

import pytest

import generate
from evaluator import Policy, PolicyError
from patterns import Pattern

NOW = 1_800_000_000         # 2027-01-15T08:00:00Z
PAST, FUTURE = "2020-01-01", "2090-01-01"
LISTED = "deny - dns-name"
ANY = "allow - dns-resolver"
DEFAULT = "deny - default"


def policy(*rules, search=(), **parts):
    dns = {"resolvers": ["192.0.2.53"], "search": list(search), **parts.pop("dns", {})}
    return {"sluice": 1, "dns": dns, "rules": list(rules), **parts}


def allow(match, rule_id="a", **keys):
    return {"allow": match, "id": rule_id, **keys}


def deny(match, rule_id="d", **keys):
    return {"deny": match, "id": rule_id, **keys}


@pytest.mark.parametrize("pattern, covered, beside", [
    ("github.com", "github.com", "api.github.com evilgithub.com github.com.evil.org github.co"),
    ("*.github.com", "api.github.com a.b.github.com", "github.com evilgithub.com xgithub.com "
     "api.github.com.evil.org com"),
    ("*", "github.com com x", ""),
    ("*.com", "github.com a.b.com", "com xcom"),
    ("GitHub.COM", "github.com", "hub.com"),
])
def test_what_a_pattern_covers(pattern, covered, beside):
    made = Pattern.parse(pattern)
    assert all(made.covers(name) for name in covered.split())
    assert not any(made.covers(name) for name in beside.split())


@pytest.mark.parametrize("text", ["10.0.0.1", "*.5", "a..b", "*a.b", "a.*.b", "", ".", "*.*",
                                  "a" * 64 + ".com", "a b", "2001:db8::1"])
def test_what_is_no_pattern(text):
    assert Pattern.parse(text) is None


QUESTIONS = [
    # The first rule whose pattern covers the name, whatever its ports and uid.
    (policy(allow("*.a.test:443"), deny("*.a.test")), "x.a.test", "allow a rule"),
    (policy(deny("x.a.test"), allow("*.a.test:443")), "x.a.test", "deny d dns-name"),
    (policy(deny("x.a.test"), allow("*.a.test:443")), "y.a.test", "allow a rule"),
    (policy(deny("x.a.test"), allow("*.a.test:443")), "y.x.a.test", "allow a rule"),
    (policy(allow({"to": "a.test", "ports": 25, "uid": 5})), "a.test", "allow a rule"),
    (policy(allow({"to": ["10.0.0.1", "a.test"]})), "a.test", "allow a rule"),
    (policy(allow(["10.0.0.1:80", "a.test:443"])), "b.test", LISTED),
    (policy(deny("*"), allow("a.test")), "a.test", "deny d dns-name"),
    # Passed over.
    (policy(deny("a.test", expires=PAST), allow("*.test")), "a.test", "allow a rule"),
    (policy(deny("a.test", expires=FUTURE), allow("*.test")), "a.test", "deny d dns-name"),
    # Covered by none.
    (policy(allow("a.test")), "b.test", LISTED),
    (policy(allow("a.test", expires=PAST)), "a.test", LISTED),
    (policy(allow("a.test"), default="allow"), "b.test", ANY),
    (policy(deny("a.test")), "b.test", ANY),
    (policy(deny("a.test")), "a.test", "deny d dns-name"),
    (policy(allow("10.0.0.1")), "b.test", ANY),
    (policy(allow("a.test"), dns={"queries": "any"}), "b.test", ANY),
    (policy(deny("a.test"), dns={"queries": "listed"}), "b.test", LISTED),
    # Search domains.
    (policy(allow("a.test"), search=["lan"]), "a.test.lan", "allow dns-search dns-resolver"),
    (policy(allow("a.test"), search=["lan"]), "b.test.lan", LISTED),
    (policy(allow("a.test"), search=["lan"]), "a.test.lan.lan", LISTED),
    (policy(allow("a.test"), search=["lan"]), "lan", LISTED),
    (policy(allow("a.test"), search=["lan"]), "a.testlan", LISTED),
    (policy(allow("*.a.test"), search=["x.lan"]), "b.a.test.x.lan",
     "allow dns-search dns-resolver"),
    (policy(allow("*.a.test"), search=["x.lan"]), "a.test.x.lan", LISTED),
    (policy(deny("a.test"), allow("b.test"), search=["lan"]), "a.test.lan", LISTED),
    (policy(allow("a.test"), deny("*.lan"), search=["lan"]), "a.test.lan", "deny d dns-name"),
    (policy(allow("a.test", expires=PAST), search=["lan"]), "a.test.lan",
     "allow dns-search dns-resolver"),
    (policy(allow("a.test"), search=["lan"], dns={"queries": "any"}), "a.test.lan", ANY),
]

FLOWS = [
    # A rule by name matches an owner, with its ports, protocol and uid.
    (policy(allow("a.test:443")), "6 203.0.113.1 443 - a.test", "allow a rule"),
    (policy(allow("a.test:443")), "6 203.0.113.1 80 - a.test", DEFAULT),
    (policy(allow("a.test:443")), "6 203.0.113.1 443 - b.test", DEFAULT),
    (policy(allow("a.test:443")), "6 203.0.113.1 443 - b.test,a.test", "allow a rule"),
    (policy(allow("a.test:443/tcp")), "17 203.0.113.1 443 - a.test", DEFAULT),
    (policy(allow({"to": "a.test", "uid": 5})), "6 203.0.113.1 1 5 a.test", "allow a rule"),
    (policy(allow({"to": "a.test", "uid": 5})), "6 203.0.113.1 1 - a.test", DEFAULT),
    (policy(allow("*:443")), "6 2400::1 443 - any.thing.at.all", "allow a rule"),
    # The order in the file stays the only precedence.
    (policy(deny("203.0.113.0/24"), allow("a.test")), "6 203.0.113.1 1 - a.test", "deny d rule"),
    (policy(allow("a.test"), deny("203.0.113.0/24")), "6 203.0.113.1 1 - a.test", "allow a rule"),
    (policy(deny("any:25"), allow("a.test")), "6 203.0.113.1 25 - a.test", "deny d rule"),
    (policy(allow("a.test", "b"), allow("*.test")), "6 203.0.113.1 1 - c.test,a.test",
     "allow b rule"),
    (policy(allow("a.test")), "6 203.0.113.1 853 - a.test", "deny dns-gate dns-gate"),
    # A deny by name says nothing about addresses ...
    (policy(deny("a.test"), default="allow"), "6 203.0.113.1 1 - a.test", "allow - default"),
    (policy(deny("a.test"), allow("b.test")), "6 203.0.113.1 1 - a.test,b.test", "allow a rule"),
    (policy(deny(["a.test", "203.0.113.1"]), default="allow"), "6 203.0.113.1 1 - b.test",
     "deny d rule"),
    # ... but a name that may not be asked owns none.
    (policy(deny("a.test"), allow("*:443")), "6 203.0.113.1 443 - a.test", DEFAULT),
    (policy(deny("a.test"), allow("*:443")), "6 203.0.113.1 443 - b.test", "allow a rule"),
    (policy(deny("a.test", expires=PAST), allow("*:443")), "6 203.0.113.1 443 - a.test",
     "allow a rule"),
    (policy(allow("a.test:80", "q", expires=PAST), deny("*.test"), allow("*:443")),
     "6 203.0.113.1 443 - a.test", DEFAULT),
    (policy(allow("a.test:80", "q", expires=FUTURE), deny("*.test"), allow("*:443")),
     "6 203.0.113.1 443 - a.test", "allow a rule"),
    # What a search domain's question teaches: nothing.
    (policy(allow("a.test"), search=["lan"]), "6 203.0.113.1 1 - a.test.lan", DEFAULT),
    # No owner, no match.
    (policy(allow("*")), "6 203.0.113.1 1 -", DEFAULT),
]


@pytest.mark.parametrize("document, name, answer", QUESTIONS)
def test_questions(document, name, answer):
    assert " ".join(Policy(document, NOW).answer_question(name)) == answer


@pytest.mark.parametrize("document, flow, answer", FLOWS)
def test_connections(document, flow, answer):
    protocol, address, key, uid, *owners = flow.split()
    told = Policy(document, NOW).answer("out", int(protocol), address, int(key),
                                        None if uid == "-" else int(uid),
                                        owners[0].split(",") if owners else ())
    assert " ".join(told) == answer


def test_inbound_flows_have_no_owners():
    document = policy(allow("a.test"), inbound="replies")
    assert Policy(document).answer("in", 6, "203.0.113.1", 1, None, ["a.test"]) == \
        ("deny", "-", "unsolicited")


@pytest.mark.parametrize("document", [
    policy(deny("a.test:443")),
    policy(deny("a.test/tcp")),
    policy(deny({"to": ["10.0.0.0/8", "a.test"], "uid": 5})),
    policy(deny({"to": "*", "protocol": "any", "ports": 5})),
    policy(deny("a.test", resolves_to="private")),
    policy(allow("10.0.0.1", resolves_to="private")),
    policy(inbound=[{"from": "a.test"}]),
    policy(sets={"x": ["a.test"]}),
    {"sluice": 1, "rules": [allow("a.test")]},
])
def test_what_the_text_calls_an_error_is_one(document):
    with pytest.raises(PolicyError):
        Policy(document)


def test_generated_names_meet_rules():
    """Questions and owners are worth asking about: rules by name decide many of them."""
    asked = by_rule = allowed = owned = by_name = 0
    for seed in range(80):
        made = generate.RandomPolicy(random.Random(f"names/{seed}"))
        judge = Policy(made.document)
        for _ in range(100 if made.names else 0):
            verdict, rule, _ = judge.question(made.name())
            asked += 1
            by_rule += rule is not None
            allowed += verdict == "allow"
            *flow, owners = made.owned()
            owned += 1
            by_name += judge.decide(*flow) != judge.decide(*flow, owners)
    assert asked > 2000 and by_rule / asked > 0.4 and 0.2 < allowed / asked < 0.9
    assert by_name / owned > 0.05, by_name / owned
