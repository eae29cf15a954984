# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names in check, explain, test and fmt, and who refuses them for now."""
import os

import pytest

from cli_tools import lines_of, sluice, write

POLICY = """\
sluice: 1
name: names
dns: {resolvers: [192.0.2.53], search: [corp.example]}
sets:
  hub: [198.51.100.0/24]
rules:
  - deny: evil.github.com
    id: evil
    reason: "a reason"
  - allow: ["*.github.com:443", "github.com:22,443"]
    id: github
  - deny: any:8080
    id: no-8080
  - allow: {to: [mirror.example, "@hub"], ports: [80, 8080]}
    id: mirror
  - allow: {to: "*.intern.example", ports: 443, uid: 1000}
    id: intern
    resolves_to: private
  - allow: old.example:443
    id: old
    expires: 2001-02-03
  - allow: 203.0.113.0/24:443
    id: direct
"""

TESTS = """\
tests:
  - allow: api.github.com:443
  - allow: github.com:22
  - deny: github.com:80
  - deny: evil.github.com:443
  - deny: evil.github.com
  - allow: github.com
  - deny: evilgithub.com
  - deny: github.com.evil.org:443
  - allow: mirror.example:80
  - deny: mirror.example:8080
  - allow: 198.51.100.7:80
  - allow: mirror.example:80/udp
  - deny: {to: x.intern.example, port: 443, uid: 1}
  - allow: {to: x.intern.example, port: 443, uid: 1000}
  - deny: old.example:443
  - allow: github.com.corp.example
  - deny: github.com.corp.example:443
  - deny: 203.0.113.9:80
"""


@pytest.fixture
def policy(write):
    return write(POLICY + TESTS)


def explain(policy, *words):
    [answer] = lines_of(sluice("explain", "--trust-clock", "-p", policy, "-o", "json", "--trust-clock", *words))
    return answer


# ---- test ----

def test_flows_by_name_are_tested(policy):
    result = sluice("test", "--trust-clock", policy)
    assert (result.returncode, result.stdout) == (0, "18 passed, 0 failed\n"), result.stdout


@pytest.mark.parametrize("test, told", [
    ("allow: evil.github.com:443", "the question is denied by rule evil"),
    ("allow: other.example", "the question is denied (dns-name)"),
    ("deny: api.github.com", "the question is allowed by rule github"),
    ("allow: github.com:80", "the connection is denied by default"),
    ("deny: github.com:443", "the connection is allowed by rule github"),
    ("allow: mirror.example:8080", "the connection is denied by rule no-8080"),
])
def test_a_failure_says_what_decided(write, test, told):
    path = write(POLICY + f"tests:\n  - {test}\n")
    result = sluice("test", "--trust-clock", path)
    assert result.returncode == 1 and f"{path}:25:5: expected " in result.stdout
    assert told in result.stdout
    [line] = lines_of(sluice("test", "--trust-clock", "-o", "json", path))
    assert line["passed"] is False and line["decided"] == told.split()[1]


@pytest.mark.parametrize("rules, allowed", [
    # a connection to an address of either family is enough
    ("  - deny: ::/0\n  - allow: a.example:443\n", True),
    ("  - deny: 0.0.0.0/0\n  - allow: a.example:443\n", True),
    ("  - deny: [\"0.0.0.0/0\", \"::/0\"]\n  - allow: a.example:443\n", False),
    ("  - deny: any\n  - allow: a.example:443\n", False),
    # special addresses are not what most addresses are
    ("  - deny: [\"@private\", \"@loopback\", \"@multicast\"]\n  - allow: a.example:443\n", True),
])
def test_which_address_a_name_has_in_a_test(write, rules, allowed):
    head = "sluice: 1\ndns: {resolvers: [192.0.2.53], search: []}\nrules:\n"
    path = write(head + rules + "tests:\n  - allow: a.example:443\n")
    assert sluice("test", "--trust-clock", path).returncode == (0 if allowed else 1)


# ---- explain ----

def test_explain_tells_pattern_and_rule_of_the_question_then_the_connection(policy):
    text = sluice("explain", "--trust-clock", "-p", policy, "api.github.com:443").stdout
    lines = text.splitlines()
    assert lines[0].startswith("question for api.github.com: allowed by rule github (")
    assert lines[1] == "  its pattern: *.github.com"
    assert lines[2].startswith("connection to an address that it alone owns: allowed by rule github")
    answer = explain(policy, "api.github.com:443")
    assert answer["verdict"] == "allow" and answer["rule"] == "github"
    assert answer["question"] == {
        "name": "api.github.com", "verdict": "allow", "rule": "github", "reason": "rule",
        "pattern": "*.github.com",
        "position": {"file": str(policy), "line": 10, "column": 5}}
    assert answer["flow"]["address"] is None and answer["flow"]["name"] == "api.github.com"
    why = {c["rule"]: c["why"] for c in answer["considered"]}
    assert why["evil"] == "a deny by name is about the question, not about connections"


def test_a_refused_question_has_no_connection(policy):
    text = sluice("explain", "--trust-clock", "-p", policy, "evil.github.com:443").stdout
    assert "denied by rule evil" in text and "connection" not in text
    assert "reason: a reason" in text
    answer = explain(policy, "EVIL.GitHub.com:443")
    assert (answer["verdict"], answer["rule"], answer["considered"]) == ("deny", "evil", [])


def test_questions_alone(policy):
    answer = explain(policy, "nothing.example")
    assert (answer["verdict"], answer["rule"], answer["reason"]) == ("deny", None, "dns-name")
    assert answer["question"]["pattern"] is None and answer["flow"] is None
    answer = explain(policy, "github.com.corp.example")
    assert (answer["verdict"], answer["rule"]) == ("allow", "dns-search")
    assert "teaches nothing" in sluice("explain", "--trust-clock", "-p", policy, "github.com.corp.example").stdout


def test_any_may_be_asked(write):
    path = write("sluice: 1\ndns: {resolvers: [192.0.2.53], queries: any, search: []}\n"
                 "rules:\n  - allow: a.example:443\n")
    assert "queries: any" in sluice("explain", "--trust-clock", "-p", path, "b.example").stdout
    answer = explain(path, "b.example:443")
    assert answer["question"]["verdict"] == "allow" and answer["verdict"] == "deny"


def test_an_address_with_an_owner(policy):
    answer = explain(policy, "192.0.2.9:443", "--name", "API.github.com")
    assert (answer["verdict"], answer["rule"]) == ("allow", "github")
    assert answer["question"]["pattern"] == "*.github.com"
    # the address counts too, and the smaller rule decides
    answer = explain(policy, "203.0.113.9:443", "--name", "nothing.example")
    assert (answer["verdict"], answer["rule"]) == ("allow", "direct")
    why = {c["rule"]: c["why"] for c in answer["considered"]}
    assert why["github"] == ("nothing.example is not in *.github.com or github.com; "
                             "a name that may not be asked owns nothing")
    assert why["mirror"].startswith("neither the address nor nothing.example is in")
    answer = explain(policy, "192.0.2.9:443", "--name", "evil.github.com")
    assert (answer["verdict"], answer["rule"]) == ("deny", None)
    answer = explain(policy, "192.0.2.9:443")
    assert answer["verdict"] == "deny" and answer["question"] is None
    why = {c["rule"]: c["why"] for c in answer["considered"]}
    assert why["github"].startswith("no name is known to own the address (see --name)")


def test_an_international_name_is_asked_in_its_form_of_dns(write):
    path = write("sluice: 1\ndns: {resolvers: [192.0.2.53], search: []}\n"
                 "rules:\n  - {allow: \"xn--bcher-kva.example:443\", id: a}\n")
    answer = explain(path, "b\u00fccher.example:443")
    assert answer["rule"] == "a" and answer["question"]["name"] == "xn--bcher-kva.example"


# ---- check and fmt ----

def test_check_counts_patterns(policy):
    result = sluice("check", "--trust-clock", policy)
    assert ", 6 patterns of names, 5 for search domains, " in result.stdout, result.stdout
    [line] = lines_of(sluice("check", "-o", "json", "--trust-clock", policy))
    assert (line["patterns"], line["search_patterns"], line["name_classes"]) == (6, 5, 7)
    assert line["classes"] == 5


def test_resolved_policies_with_names_are_a_fixed_point(policy, write):
    first = sluice("check", "--resolved", "--trust-clock", policy).stdout
    assert "search: [corp.example]" in first and "resolves_to: private" in first
    again = write(first, "again.yaml")
    second = sluice("check", "--resolved", "--trust-clock", again).stdout
    assert second.splitlines()[1:] == first.splitlines()[1:]


def test_fmt_keeps_names(policy):
    text = sluice("fmt", policy)
    assert text.returncode == 0 and '- deny: "evil.github.com"' in text.stdout
    assert '["*.github.com:443", "github.com:22,443"]' in text.stdout
    assert sluice("fmt", input=text.stdout).stdout == text.stdout


def test_a_gate_alone_still_runs(write):
    if os.geteuid():
        pytest.skip("needs root")
    path = write("sluice: 1\ndns: {resolvers: [192.0.2.53]}\n")
    assert sluice("run", "-q", "-p", path, "--", "true").returncode == 0


def test_dns_over_tls_by_rules(write):
    """dot: rules. The gate's rule is about port 53 then, and says so."""
    text = "sluice: 1\ndns: {{resolvers: [192.0.2.53], search: []{}}}\nrules:\n" \
           "  - allow: 192.0.2.53:853/tcp\n    id: dot\n"
    for more, rule in (("", "dns-gate"), (", dot: rules", "dot")):
        path = write(text.format(more))
        assert explain(path, "192.0.2.53:853")["rule"] == rule
        assert explain(path, "192.0.2.54:53")["rule"] == "dns-gate"
        assert explain(path, "192.0.2.54:853")["rule"] == ("dns-gate" if rule == "dns-gate" else None)
        said = sluice("explain", "--trust-clock", "-p", path, "192.0.2.54:80").stdout
        assert ("port is 80, not 53 or 853" in said) == (rule == "dns-gate"), said


@pytest.mark.parametrize("dns, rule, warned", [
    ("", "sni: verify", True), ("", "sni: observe", True), ("", "sni: off", False),
    (", types: [A, AAAA, CNAME]", "sni: verify", False), (", types: [A, HTTPS]", "sni: verify", True),
    (", mode: forward, strip: [ech]", "sni: verify", False),
    (", mode: forward, strip: [hints]", "sni: verify", True)])
def test_check_warns_of_names_that_clients_can_hide(write, dns, rule, warned):
    """Keys for an Encrypted ClientHello come in HTTPS records."""
    path = write(f"sluice: 1\ndns: {{resolvers: [192.0.2.53], search: []{dns}}}\nrules:\n"
                 f"  - {{allow: \"*.a.example:443\", {rule}}}\n")
    result = sluice("check", path)
    assert result.returncode == 0, result.stderr
    assert ("which clients hide" in result.stderr) == warned, result.stderr
