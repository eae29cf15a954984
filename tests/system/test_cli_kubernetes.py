# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice convert --from kubernetes: the worked example of docs/kubernetes.md, what is refused and
where, warnings, and the CRDs beside the reader. What policies mean: tests/oracle."""
import pathlib
import re
import time

import pytest

from cli_tools import sluice, usage_error, write
from convertlab import BASE, FAMILIES, LINES, MIXED, SERVICE, convert, converted, netpol, own, verdicts

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_a_pod_that_nothing_selects_reaches_everything(write):
    text = converted(BASE)
    assert verdicts(text, write, "192.0.2.1:80", "[2001:db8::1]:80", "[2002::1]:80") == ["allow"] * 3
    assert verdicts(converted(BASE + netpol(head="  policyTypes: [Egress]\n").replace("egress:\n", "egress: []\n")), write,
                    "192.0.2.1:80", "[2001:db8::1]:80", "[2002::1]:80") == ["deny"] * 3


def test_an_except_takes_nothing_from_another_policy(write):
    text = converted(BASE + netpol('{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}') +
                     netpol('{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 443}]}', name="two"))
    assert verdicts(text, write, "10.2.0.1:80", "10.1.0.1:443", "10.1.0.1:80", "192.0.2.1:443", "192.0.2.1:80",
                    "[fd00::9]:443") == ["allow", "allow", "deny", "allow", "deny", "deny"]


def test_the_own_node_and_loopback_are_reachable(write):
    text = converted(BASE + netpol('{ports: [{port: 9}]}'))
    assert verdicts(text, write, "192.168.0.1:10250", "127.0.0.1:80", "[::1]:80", "10.0.0.1:80", "[fd00::1]:80",
                    "192.168.0.2:10250", "[fd00::2]:80", "192.168.0.2:9") == ["allow"] * 5 + ["deny"] * 2 + ["allow"]


@pytest.mark.parametrize("rule, column, said", [
    ('{to: [{ipBlok: {cidr: 10.0.0.0/8}}]}', 12, 'unknown key "ipBlok": is "ipBlock" meant?'),
    ('{to: [{ipBlock: {cidr: 10.0.0.0}}]}', 28, "a CIDR with its prefix length is wanted"),
    ('{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}', 28, "10.0.0.0/33"),
    ('{to: [{ipBlock: {cidr: "64:ff9b::/96"}}]}', 28, "64:ff9b::"),
    ('{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}', 49, "11.0.0.0/16 is not a part of the cidr"),
    ('{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}', 49, "is not a part of the cidr"),
    ('{to: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}', 11, "either an ipBlock or"),
    ('{to: [{}]}', 11, "either an ipBlock or"),
    ('{to: [{podSelector: {matchLabels: {app: 5}}}]}', 45, "in quotes: found the number 5"),
    ('{ports: [{port: "80"}]}', 21, 'found the text "80"'),
    ('{ports: [{port: 0}]}', 21, "from 1 to 65535"),
    ('{ports: [{port: 80, endPort: 79}]}', 34, "endPort 79 is below port 80"),
    ('{ports: [{port: web, endPort: 79}]}', 35, "endPort goes with a port that is a number"),
    ('{ports: [{port: 80, protocol: ICMP}]}', 35, 'TCP, UDP or SCTP is wanted: found the text "ICMP"'),
    ('{ports: [{port: 80, port: 81}]}', 25, 'the key "port" stands in line 17 already'),
    ('~', 5, "{} allows everything"),
    ('{to: 10.0.0.0/8}', 10, "to: a list is wanted"),
])
def test_what_no_api_server_takes_is_refused_by_its_place(rule, column, said):
    result = convert(BASE + netpol(rule))
    assert result.returncode == 1 and not result.stdout
    first = result.stderr.splitlines()[0]
    assert first.startswith(f"<stdin>:{LINES + 8}:{column}: error: ") and said in first, result.stderr


@pytest.mark.parametrize("text, said", [
    ("---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: n}\n", "may change what the pod reaches"),
    ("---\napiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: n}\n", "only that of discovery.k8s.io/v1"),
    ("---\nkind: Pod\n", "has apiVersion and kind"),
    ("kind: Pod\n", 'the key "kind" stands in line'),
    ("---\n" + BASE, "Namespace /x stands in line 1 already"),
    (own("  rules: []\n  tests: []\n"), 'spec has no key "tests"'),
    (own("  namespaceSelector: {}\n"), "a ClusterEgressPolicy has one"),
    (own("  rules: [{alow: any}]\n"), '"alow"'),
    (own("  rules: [{include: other.yaml}]\n"), "only a profile can be included here"),
    (own("  sets: {a: {file: x}}\n"), "list the addresses"),
    (own("  default: deny\n") + own("  default: allow\n", name="other"), '"default" stands in mine'),
    (own("  rules: [{allow: '@b'}]\n") + own("  sets: {b: [10.0.0.2]}\n", name="other"), '"@b" is none of mine'),
    (own("  rules: [{allow: any, id: i, uses: 5}]\n"), "not enforced yet"),
])
def test_objects_that_are_refused(text, said):
    result = convert(BASE + text)
    assert result.returncode == 1 and not result.stdout
    assert said in result.stderr and re.match(r"<stdin>:\d+:\d+: error: ", result.stderr), result.stderr


def test_names_that_two_objects_have():
    """Sets and ids are each object's own; the later's get a number that nobody has."""
    one = "  sets: {{a: [10.0.0.{0}], a.2: [10.0.1.{0}]}}\n  rules: [{{allow: '@a', id: i}}, {{allow: '@a.2', id: i.2}}]\n"
    text = converted(BASE + own(one.format(1)) + own(one.format(2), name="other"))
    assert re.findall(r"^ +([a-z0-9.]+):\n? +(?:- |\[)?(10[0-9.]+)", text, re.M) == [
        ("a", "10.0.0.1"), ("a.2", "10.0.1.1"), ("a.3", "10.0.0.2"), ("a.2.4", "10.0.1.2")], text
    assert re.findall(r'"@([a-z0-9.]+)"\n    id: ([a-z0-9.]+)', text) == [
        ("a", "i"), ("a.2", "i.2"), ("a.3", "i.3"), ("a.2.4", "i.2.4")], text


def test_a_namespace_whose_labels_decide_must_be_there():
    text = BASE.split("---\n")[1] + netpol('{to: [{namespaceSelector: {matchLabels: {team: red}}}]}')
    result = convert(text)
    assert result.returncode == 1 and "add the Namespace x to the objects" in result.stderr


def test_a_pod_on_its_nodes_network_has_no_policy_of_its_own():
    result = convert(BASE.replace("spec: {", "spec: {hostNetwork: true, "))
    assert result.returncode == 1 and "hostNetwork" in result.stderr
    result = convert(BASE, "x/b")
    assert result.returncode == 1 and "no Pod x/b" in result.stderr
    assert "kubectl get pods" in result.stderr and "one that is there (x/a)" in result.stderr
    result = convert("".join(part + "---\n" for part in BASE.split("---\n") if "kind: Pod" not in part))
    assert result.returncode == 1 and "kubectl get pods" in result.stderr and "name one" not in result.stderr


@pytest.mark.parametrize("external, cluster, endpoint, family", [
    ("20.{}.{}.{}", "10.96.1.{}", "10.9.9.9", "IPv4"), ("2001:db8:{}:{}::{}", "fd00:96::{}", "fd00:9::9", "IPv6")])
def test_what_follows_from_a_tenants_services_is_a_policy_that_fits(external, cluster, endpoint, family, write):
    """17 of 4,001 addresses, each of which would have a rule of its own: a table holds 65,535."""
    services = "".join(f"""\
---
apiVersion: v1
kind: Service
metadata: {{name: s{s}, namespace: evil}}
spec:
  clusterIP: "{cluster.format(s)}"
  ports: [{{port: {s}}}]
  externalIPs: [{", ".join(f'"{external.format(s, n // 250, n % 250)}"' for n in range(4000 + s))}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{s}, namespace: evil, labels: {{kubernetes.io/service-name: s{s}}}}}
addressType: {family}
ports: [{{port: 80}}]
endpoints: [{{addresses: ["{endpoint}"]}}]
""" for s in range(1, 18))
    result = convert(BASE + own(f'  default: allow\n  rules: [{{deny: "{endpoint}"}}]\n', "ClusterEgressPolicy") + services)
    assert result.returncode == 0 and result.stderr.count("has too many addresses") == 11, result.stderr
    assert "Service evil/s17 has" in result.stderr and "Service evil/s6 has" not in result.stderr
    assert sluice("check", write(result.stdout, "fits.yaml")).returncode == 0
    bracketed = "[{}]:{}" if family == "IPv6" else "{}:{}"
    assert verdicts(result.stdout, write, *(bracketed.format(external.format(s, 3, 9), port) for s, port in (
        (6, 6), (17, 17), (6, 7), (17, 7)))) == ["deny", "deny", "allow", "deny"]


def test_egress_policies_come_first(write):
    text = converted(BASE + own('  rules: [{deny: "10.0.0.9:80/tcp"}, {allow: "192.0.2.1:80/tcp"}]\n') +
                     own('  namespaceSelector: {matchLabels: {team: red}}\n  rules: [{deny: "192.0.2.1"}]\n',
                         "ClusterEgressPolicy", "zz") +
                     netpol('{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}'))
    assert verdicts(text, write, "10.0.0.9:80", "10.0.0.9:81", "192.0.2.1:80", "192.0.2.2:80") == \
        ["deny", "allow", "deny", "deny"]


CLUSTER = own('  rules: [{deny: "@metadata"}, {allow: "*.example.org:443"}, {deny: any}]\n', "ClusterEgressPolicy", "base")


@pytest.mark.parametrize("setting, words", [
    ("mode: audit", ("mode: audit",)), ("log: none", ("log: none",)),
    ("dns: {resolvers: [203.0.113.66]}", ("203.0.113.66",)),
    ("dns: {mode: forward, resolvers: [203.0.113.66]}", ("forward", "203.0.113.66"))])
def test_an_egress_policy_undoes_no_cluster_egress_policy(setting, words):
    tenant = own(f"  {setting}\n  rules: []\n")
    alone = converted(BASE + tenant)
    assert all(word in alone for word in words)
    result = convert(BASE + CLUSTER + tenant)
    assert result.returncode == 0 and not any(word in result.stdout for word in words), result.stdout
    key = setting.split(":")[0]
    place = f"<stdin>:{LINES + CLUSTER.count(chr(10)) + 6}:3: warning: "
    assert f'{place}"{key}" of the EgressPolicy x/mine does nothing' in result.stderr, result.stderr
    # the cluster's own may
    assert all(word in converted(BASE + own(f"  {setting}\n  rules: [{{deny: any}}]\n", "ClusterEgressPolicy", "base"))
               for word in words)


def test_a_set_of_inbound_is_its_own_objects():
    one = own('  sets: {peers: [10.9.0.0/16]}\n  rules: [{allow: "@peers"}]\n', "ClusterEgressPolicy", "one")
    two = '  inbound: [{from: "@peers"}]\n  rules: []\n'
    text = converted(BASE + one + own("  sets: {peers: [198.51.100.0/24]}\n" + two, name="two"))
    assert '{from: "@peers.2"}' in text and "peers.2:\n    - 198.51.100.0/24\n" in text
    result = convert(BASE + one + own(two, name="two"))
    assert result.returncode == 1 and 'the set "@peers" is none of two' in result.stderr


def test_an_id_is_never_one_that_is_made(write):
    """of a Service or NetworkPolicy: the pod would have no policy"""
    text = converted(BASE + MIXED.replace("CONDITIONS", "{}") + netpol("{}") +
                     own('  rules: [{deny: "10.1.0.0/16"}, {allow: "192.0.2.1", id: svc.web.4}, {allow: "192.0.2.2", id: np.one.8}]\n'))
    ids = re.findall("id: (.*)", text)
    assert len(set(ids)) == len(ids) and {"svc.web.4", "svc.web.4.2", "np.one.8", "np.one.8.3"} <= set(ids), ids
    assert verdicts(text, write, FAMILIES["IPv4"][0], "192.0.2.1:80", "192.0.2.9:80") == ["deny", "allow", "allow"]


def test_many_sets_of_the_same_names_cost_what_they_are():
    """Whoever writes two objects of 200 KB would have sluiced count for minutes, and judge no other pod meanwhile."""
    sets = "{" + ", ".join(f"{'a' * 45}{i}: [10.0.0.1]" for i in range(3000)) + "}"
    began = time.monotonic()
    text = converted(BASE + "".join(own(f"  sets: {sets}\n  rules: []\n", name=name) for name in ("one", "two")))
    assert text.count("10.0.0.1") == 6000 and time.monotonic() - began < 10


def test_a_policy_by_name_keeps_its_place_and_its_settings():
    text = converted(BASE + own('  podSelector: {matchLabels: {app: a}}\n  dns: {resolvers: [10.96.0.10]}\n'
                                '  on_deny: drop\n  inbound: replies\n  rules: [{allow: "*.example.org:443"}]\n'))
    assert "on_deny: drop" in text and '"*.example.org:443"' in text and "inbound: allow" not in text
    assert "10.96.0.10" in text


def test_the_worked_example_of_the_manual(write):
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    objects, policy = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[:2]
    text = converted(objects, "shop/cart-7d")
    assert "".join(line + "\n" for line in text.splitlines() if not line.startswith("#")) == policy
    assert verdicts(text, write, "169.254.169.254:443", "203.0.113.8:443", "203.0.113.7:443", "10.64.0.1:443",
                    "10.64.0.1:80", "10.96.0.20:5432", "10.96.0.20:80") == \
        ["deny", "deny", "allow", "allow", "deny", "allow", "deny"]


ANNOTATION = "sluice.dev/egress-policy"
# Sortie's default for sessions, of which it says that the policy of an application is added to it
SESSIONS = netpol("{ports: [{port: 53}, {port: 53, protocol: UDP}]}", "{ports: [{port: 80}, {port: 443}]}",
                  name="sessions")
INSIDE = '[{"cidr": "10.0.0.0/8", "port": 443, "protocol": "TCP"}, {"cidr": "10.0.0.0/8", "port": 80, "protocol": "TCP"}]'
PRIVATE = '[{"cidr": "10.0.0.0/8"}, {"cidr": "172.16.0.0/12"}, {"cidr": "192.168.0.0/16"}]'
FLOWS = ("10.9.9.9:443", "10.9.9.9:80", "10.9.9.9:5432", "192.0.2.2:443", "192.0.2.2:5432", "192.168.0.1:22",
         "192.0.2.2:53/udp", "[2001:db8::2]:443")


def annotated(text, more=SESSIONS):
    return BASE.replace("app: a}}", f"app: a}}, annotations: {{{ANNOTATION}: '{text}'}}}}") + more


@pytest.mark.parametrize("text, want", [
    (f'{{"mode": "allowlist", "rules": {INSIDE}}}', "aaddd aad"),
    (f'{{"egress_policy": {{"mode": "denylist", "rules": {PRIVATE}}}}}', "dddaa aaa"),
    ('{"id": "basic-app", "egress_policy": null}', "aadad aaa"), ('{"mode": "", "rules": []}', "aadad aaa"),
    ("{}", "aadad aaa")],
    ids=["allowlist", "denylist", "none", "empty", "nothing"])
def test_an_annotation_takes_the_place_of_network_policies(write, text, want):
    """Not beside them: the default of a cluster would pass through an allowlist. (192.168.0.1 is the pod's node.)"""
    result = convert(annotated(text))
    assert result.returncode == 0, result.stderr
    assert verdicts(result.stdout, write, *FLOWS) == [{"a": "allow", "d": "deny"}[c] for c in want if c != " "]
    said = f"warning: NetworkPolicy x/sessions selects a, whose annotation {ANNOTATION} takes its place"
    assert (said in result.stderr) == ("list" in text)


def test_policies_of_the_cluster_come_before_an_annotation(write):
    text = converted(annotated(f'{{"mode": "denylist", "rules": {PRIVATE}}}', own(
        '  rules: [{deny: "192.0.2.2:443/tcp"}, {allow: "10.9.9.9:443/tcp"}]\n', "ClusterEgressPolicy")))
    assert verdicts(text, write, *FLOWS[:5]) == ["allow", "deny", "deny", "deny", "allow"]


@pytest.mark.parametrize("mode, verdict", [("allowlist", "deny"), ("denylist", "allow")])
def test_a_service_is_what_the_annotation_says_of_its_endpoints(write, mode, verdict):
    """10.96.0.7:80 leads to port 8080: that is what is on the list, or is not"""
    result = convert(annotated(f'{{"mode": "{mode}", "rules": {INSIDE}}}', SERVICE.replace("MIXED", "true")))
    assert result.returncode == 0, result.stderr
    assert verdicts(result.stdout, write, "10.96.0.7:80") == [verdict]


@pytest.mark.parametrize("text, said", [
    ('{"mode": "alowlist"}', 'mode: "allowlist" or "denylist" is wanted: found "alowlist"'),
    ('{"mod": "allowlist"}', 'there is no "egress_policy"'),
    ('{"mode": "", "rules": [{"cidr": "10.0.0.0/8"}]}', "mode: is empty"),
    ('{"mode": "denylist", "rules": [{"cidr": "10.0.0.0/8", "prt": 1}]}', 'rules[0]: unknown key "prt": is "port" meant?'),
    ('{"mode"', ", its line 1, column 7: not JSON"), ("", "not JSON"), ("null", "an object"), ("[]", "an object")])
def test_an_annotation_that_is_wrong_is_refused(text, said):
    result = convert(annotated(text))
    assert result.returncode == 1 and not result.stdout
    assert f"<stdin>:5:1: error: annotation {ANNOTATION}" in result.stderr and said in result.stderr, result.stderr


@pytest.mark.parametrize("plural, selectors", [
    ("egresspolicies", {"podSelector"}), ("clusteregresspolicies", {"podSelector", "namespaceSelector"})])
def test_crds_are_of_what_the_reader_takes(plural, selectors):
    """Each key of the policy language but those of a file, and the selectors."""
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    keys = re.findall(r"^\| `(\w+)` \|", page.split("### Top level")[1].split("###")[0], re.MULTILINE)
    text = (ROOT / "deploy/kubernetes/crds" / f"{plural}.yaml").read_text(encoding="utf-8")
    spec = text[text.index("            spec:\n"):text.index("            status:\n")]
    known = re.findall(r"^ {16}(\w+):", spec, re.MULTILINE)
    assert len(known) > 10 and set(known) == set(keys) - {"sluice", "name", "tests"} | selectors
    assert f"  name: {plural}.sluice.dev\n" in text and "    - name: v1alpha1\n" in text


@pytest.mark.parametrize("words, text", [
    ([], "--pod NAMESPACE/NAME"), (["--pod", "a"], "--pod NAMESPACE/NAME"), (["--pod", "a/"], "--pod"),
    (["--pod", "a/b/c"], "--pod"), (["--pod"], "wants a value")])
def test_usage(words, text):
    usage_error(sluice("convert", "--from", "kubernetes", *words), text)
    usage_error(sluice("convert", "--from", "sortie", "--pod", "a/b"), "--pod is for --from kubernetes")
