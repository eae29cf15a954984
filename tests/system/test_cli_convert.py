# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice convert --from sortie: the seed's examples, and everything that is refused."""
import json

import pytest

from cli_tools import lines_of, sluice, usage_error, write

SEED_ALLOWLIST = {"egress_policy": {"mode": "allowlist", "rules": [
    {"cidr": "10.0.0.0/8", "port": 443, "protocol": "TCP"}, {"cidr": "0.0.0.0/0", "port": 80}]}}
SEED_BROWSER = {"id": "secure-browser", "name": "Secure Browser", "category": "Tools",
                "launch_type": "container", "container_image": "ghcr.io/example/browser:latest",
                "egress_policy": {"mode": "allowlist", "rules": [
                    {"cidr": "10.0.0.0/8", "port": 443, "protocol": "TCP"},
                    {"cidr": "10.0.0.0/8", "port": 80, "protocol": "TCP"}]}}
SEED_WORKSTATION = {"id": "dev-workstation", "name": "Dev Workstation", "category": "Development",
                    "launch_type": "container", "container_image": "ghcr.io/example/devbox:latest",
                    "egress_policy": {"mode": "denylist", "rules": [
                        {"cidr": "10.0.0.0/8"}, {"cidr": "172.16.0.0/12"},
                        {"cidr": "192.168.0.0/16"}]}}
SEED_INHERITS = {"id": "basic-app", "name": "Basic App", "category": "Tools",
                 "launch_type": "container", "container_image": "ghcr.io/example/app:latest"}


def convert(document, **options):
    text = document if isinstance(document, str) else json.dumps(document)
    return sluice("convert", "--from", "sortie", input=text, **options)


def converted(document):
    result = convert(document)
    assert result.returncode == 0, result.stderr
    assert sluice("fmt", "--check", "-", input=result.stdout).returncode == 0
    return result.stdout


def verdicts(text, write, *flows):
    path = write(text, "converted.yaml")
    return [lines_of(sluice("explain", "-p", path, *flow.split(), "-o", "json"))[0]["verdict"]
            for flow in flows]


def rules_of(text):
    return text[text.index("rules:\n"):].splitlines()[1:]


def test_convert_the_seeds_allowlist(write):
    text = converted(SEED_ALLOWLIST)
    assert "\ndefault: deny\n" in text and "\nname:" not in text
    assert rules_of(text) == ['  - allow: "any:53"', '  - allow: "10.0.0.0/8:443/tcp"',
                              '  - allow: "0.0.0.0/0:80"']
    assert verdicts(text, write, "10.1.1.1:443", "10.1.1.1:443/udp", "203.0.113.1:80",
                    "203.0.113.1:80/udp", "203.0.113.1:443", "203.0.113.1:53/udp",
                    "[2001:db8::1]:80", "[2001:db8::1]:53", "10.1.1.1/icmp") == \
        ["allow", "deny", "allow", "allow", "deny", "allow", "deny", "allow", "deny"]


def test_convert_the_seeds_application(write):
    text = converted(SEED_BROWSER)
    assert "\nname: secure-browser\n" in text and "application secure-browser" in text
    assert "NetworkPolicies are a union" in text
    assert verdicts(text, write, "10.1.1.1:443", "10.1.1.1:80", "10.1.1.1:22", "11.0.0.0:443") == \
        ["allow", "allow", "deny", "deny"]


def test_convert_the_seeds_denylist(write):
    text = converted(SEED_WORKSTATION)
    assert "\ndefault: allow\n" in text
    assert rules_of(text)[1] == "  - deny: {to: 10.0.0.0/8, protocol: [tcp, udp]}"
    assert verdicts(text, write, "10.1.1.1:443", "172.31.255.255:1/udp", "172.32.0.0:1",
                    "192.168.0.0:65535", "203.0.113.1:25", "10.1.1.1:53/udp",
                    "10.1.1.1/icmp", "10.1.1.1:443/sctp") == \
        ["deny", "deny", "allow", "deny", "allow", "allow", "allow", "allow"]


def test_convert_a_denylist_with_ports_and_ipv6(write):
    text = converted({"mode": "denylist", "rules": [
        {"cidr": "10.0.0.0/8", "port": 22, "protocol": "TCP"},
        {"cidr": "10.0.0.0/8", "port": 3306},
        {"cidr": "2001:db8:5::/48", "port": 0, "protocol": "UDP"},
        {"cidr": "fd00::/8", "port": 5432, "protocol": ""},
        {"cidr": "::/0", "port": 25, "protocol": "TCP"}]})
    assert rules_of(text) == [
        '  - allow: "any:53"', '  - deny: "10.0.0.0/8:22/tcp"', '  - deny: "10.0.0.0/8:3306"',
        '  - deny: "[2001:db8:5::/48]/udp"',
        '  - deny: "[fd00::/8]:5432"', '  - deny: "[::/0]:25/tcp"']
    assert verdicts(text, write, "10.0.0.1:22", "10.0.0.1:22/udp", "10.0.0.1:3306/udp",
                    "10.0.0.1:3307", "[2001:db8:5::1]:9/udp", "[2001:db8:5::1]:9",
                    "[2001:db8:6::1]:9/udp", "[fd12::1]:5432", "[2001:db8:6::1]:25",
                    "203.0.113.1:25") == \
        ["deny", "allow", "deny", "allow", "deny", "allow", "allow", "deny", "deny", "allow"]


@pytest.mark.parametrize("document", [
    {"egress_policy": {"mode": "allowlist"}}, {"egress_policy": {"mode": "allowlist", "rules": []}},
    {"mode": "allowlist", "rules": None}])
def test_convert_an_allowlist_without_rules_allows_dns_alone(document):
    assert rules_of(converted(document)) == ['  - allow: "any:53"']


def test_convert_warns_of_a_denylist_without_rules():
    result = convert({"mode": "denylist"})
    assert result.returncode == 0 and "allows everything" in result.stderr


def test_convert_null_is_as_missing():
    text = converted({"mode": "allowlist",
                      "rules": [{"cidr": "10.0.0.0/8", "port": None, "protocol": None}]})
    assert rules_of(text)[1] == "  - allow: {to: 10.0.0.0/8, protocol: [tcp, udp]}"


@pytest.mark.parametrize("document", [
    SEED_INHERITS, {}, {"egress_policy": None}, {"egress_policy": {}},
    {"egress_policy": {"mode": ""}}, {"mode": "", "rules": []},
    {"rules": [{"cidr": "10.0.0.0/8"}]}])
def test_convert_refuses_what_inherits_the_clusters_default(document):
    result = convert(document)
    assert result.returncode == 1 and result.stdout == ""
    assert "inherits its cluster's default" in result.stderr and "any:80,443/tcp" in result.stderr


def one_rule(**keys):
    return {"egress_policy": {"mode": "allowlist", "rules": [
        {"cidr": "10.0.0.0/8"}, {**{"cidr": "10.0.0.0/8"}, **keys}]}}


@pytest.mark.parametrize("document, text", [
    (one_rule(cidr="10.0.0.0/33"), 'egress_policy.rules[1].cidr: "10.0.0.0/33"'),
    (one_rule(cidr="10.0.0"), 'egress_policy.rules[1].cidr: "10.0.0"'),
    (one_rule(cidr="10.0.0.1"), 'write "10.0.0.1/32"'),
    (one_rule(cidr="any"), 'egress_policy.rules[1].cidr: "any"'),
    (one_rule(cidr="example.org"), "egress_policy.rules[1].cidr"),
    (one_rule(cidr=""), "egress_policy.rules[1].cidr"),
    (one_rule(cidr=7), "egress_policy.rules[1].cidr: a CIDR"),
    (one_rule(cidr="::ffff:10.0.0.0/104"), "write 10.0.0.0/8"),
    (one_rule(port=65536), "egress_policy.rules[1].port: "),
    (one_rule(port=-1), "found -1"),
    (one_rule(port="443"), 'found "443"'),
    (one_rule(port=1.5), "found a fraction"),
    (one_rule(protocol="tcp"), 'egress_policy.rules[1].protocol: "TCP", "UDP"'),
    (one_rule(protocol="ICMP"), 'found "ICMP"'),
    (one_rule(protocol=6), "found 6"),
    (one_rule(prot="TCP"), 'egress_policy.rules[1]: unknown key "prot"'),
    ({"egress_policy": {"mode": "allowlist", "rules": [{"port": 1}]}}, '"cidr" is missing'),
    ({"egress_policy": {"mode": "allowlist", "rules": [[]]}}, "rules[0]: a rule"),
    ({"egress_policy": {"mode": "allowlist", "rules": {}}}, "egress_policy.rules: a list"),
    ({"egress_policy": {"mode": "allowlist", "rulez": []}}, 'egress_policy: unknown key "rulez"'),
    ({"egress_policy": {"mode": "Allowlist"}}, 'found "Allowlist"'),
    ({"egress_policy": {"mode": 1}}, "egress_policy.mode: "),
    ({"egress_policy": []}, "egress_policy: an object is wanted"),
    ({"egress_policy": {"mode": "allowlist"}, "rules": []}, "not beside it"),
    ({"id": 5, "egress_policy": {"mode": "allowlist"}}, "id: a text is wanted"),
    ([], "found a list"), ("", "not JSON"), ("{", "<stdin>:1"),
    ('{"mode": "allowlist", "mode": "denylist"}', "duplicate"),
    ('{"mode":\n "allowlist",\n "rules": [}', "<stdin>:3:"),
])
def test_convert_says_what_is_wrong_and_where(document, text):
    result = convert(document)
    assert result.returncode == 1 and result.stdout == ""
    assert text in result.stderr and "<stdin>" in result.stderr


def test_convert_reports_every_error():
    result = convert({"mode": "allowlist", "rules": [{"cidr": "x", "port": -1}, {"cidr": "y"}]})
    assert result.stderr.count("error:") == 3


def test_convert_masks_host_bits_and_renames_with_a_warning():
    result = convert({"id": "a b\n- c", "egress_policy": {"mode": "allowlist", "rules": [
        {"cidr": "10.1.2.3/8"}]}})
    assert result.returncode == 0
    assert "rules[0].cidr" in result.stderr and "10.0.0.0/8" in result.stderr
    assert "\nname: a-b---c\n" in result.stdout
    assert all(line.startswith("#") for line in result.stdout.split("sluice: 1")[0].splitlines())


def test_convert_reads_a_file_and_names_it(write):
    path = write(json.dumps(SEED_BROWSER), "app.json")
    result = sluice("convert", "--from", "sortie", path)
    assert result.returncode == 0 and str(path) in result.stdout.splitlines()[0]
    result = sluice("convert", "--from=sortie", path.parent / "none.json")
    assert result.returncode == 1 and "none.json" in result.stderr


@pytest.mark.parametrize("words, text", [
    ([], "--from nwfilter, --from records, --from sortie"), (["--from", "nwfilters"], "'nwfilters'"),
    (["--from", "iptables"], "'iptables'"), (["--from", "sortie", "a", "b"], "'b'"),
    (["--from"], "wants a value")])
def test_convert_usage(words, text):
    usage_error(sluice("convert", *words), text)
