# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice convert --from kubernetes: rules by name, and the resolvers that are asked, the cluster's and others."""
import pytest

from cli_tools import write
from convertlab import BASE, convert, converted, netpol, own, verdicts


def test_an_egress_policy_asks_for_its_own_names(write):
    """of a resolver of its own, where the cluster's rules have none"""
    cluster = own('  rules: [{deny: "@metadata"}]\n', "ClusterEgressPolicy", "base")
    text = converted(BASE + cluster + own('  log: all\n  dns: {resolvers: [10.96.0.10]}\n  rules: [{allow: "*.example.org"}]\n'))
    assert "10.96.0.10" in text and "log: all" in text


@pytest.mark.parametrize("denied, resolver", [("203.0.113.0/24", "203.0.113.9"), ("2001:db8:9::/48", "2001:db8:9::9")])
@pytest.mark.parametrize("ports", ["", ":53/udp", ":53/tcp"])
def test_an_egress_policy_opens_no_resolver_that_the_cluster_denies(write, denied, resolver, ports):
    """whose port 53 would pass before any rule is asked"""
    where = f"[{resolver}]:53" if ":" in resolver else f"{resolver}:53"
    bracketed = f"[{denied}]" if ":" in denied and ports else denied
    tenant = own(f"  dns: {{resolvers: ['{resolver}']}}\n  rules: [{{allow: any}}]\n")

    def merged(*rules):
        return converted(BASE + own("  rules: [" + ", ".join(rules) + "]\n", "ClusterEgressPolicy", "base") + tenant)

    def judged(*rules):
        return verdicts(merged(*rules), write, f"{where}/udp", f"{where}/tcp")

    assert judged('{deny: "192.0.2.1"}') == ["allow", "allow"]
    assert "deny" in judged(f'{{deny: "{bracketed}{ports}"}}')
    assert "dns:" not in merged(f'{{deny: {{to: "{denied}", ports: 53, protocol: tcp}}, expires: 2099-01-01}}')
    assert judged(f'{{allow: {{to: "{resolver}", ports: 53}}}}', f'{{deny: "{bracketed}{ports}"}}') == ["allow", "allow"]


@pytest.mark.parametrize("name", ["@gateway", "@subnet", "@host", "@resolvers"])
def test_an_egress_policy_opens_no_resolver_that_a_set_of_the_pods_own_may_deny(write, name):
    """10.96.0.10 may be the pod's gateway, and is what a policy without `dns` has as @resolvers"""
    tenant = own("  dns: {resolvers: [10.96.0.10]}\n  rules: []\n")

    def judged(rules):
        base = own(f"  default: allow\n  rules: [{rules}]\n", "ClusterEgressPolicy", "base")
        text = converted(BASE + base + KUBE_DNS + tenant)
        return "resolvers: [10.96.0.10]" in text, text

    for ports in ("", ":53", ":53/tcp"):
        assert not judged(f'{{deny: "{name}{ports}"}}')[0]
    # not of another port, nor where the cluster has allowed it before
    assert judged(f'{{deny: "{name}:80"}}')[0]
    assert judged(f'{{allow: "10.96.0.10:53"}}, {{deny: "{name}"}}')[0]
    if name == "@resolvers":
        assert verdicts(judged(f'{{deny: "{name}"}}')[1], write, "10.96.0.10:53/udp", "10.96.0.9:53/udp") == ["deny", "allow"]


DNS = """\
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, labels: {{k8s-app: {app}}}}}
spec: {{clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10, "fd00:96::10"], ports: [{{port: 53, protocol: UDP}}]}}
"""
KUBE_DNS = DNS.format(name="kube-dns", namespace="kube-system", app="kube-dns")
SEARCH = "[x.svc.cluster.local, svc.cluster.local, cluster.local]"


@pytest.mark.parametrize("dns", ["", "  dns: {resolvers: system}\n", "  dns: {queries: listed}\n"])
def test_names_of_the_cluster_are_asked_of_its_dns(dns):
    cluster = own(dns + '  rules: [{allow: "*.example.org:443"}]\n', "ClusterEgressPolicy", "base")
    text = converted(BASE + cluster + KUBE_DNS)
    assert 'resolvers: [10.96.0.10, "fd00:96::10"]' in text and f"search: {SEARCH}" in text, text
    # and where no such Service is, that is said
    result = convert(BASE + cluster)
    assert result.returncode == 0 and "10.96.0.10" not in result.stdout
    assert "no resolver is known that it may ask" in result.stderr and "warning" in result.stderr


@pytest.mark.parametrize("name, namespace, app, is_one", [
    ("kube-dns", "kube-system", "none", True), ("coredns", "kube-system", "kube-dns", True),
    ("coredns", "kube-system", "none", False), ("kube-dns", "x", "kube-dns", False)])
def test_which_service_is_the_clusters_dns(name, namespace, app, is_one):
    """whoever may write in kube-system may say so, and nobody else"""
    text = convert(BASE + own('  rules: [{allow: "*.example.org"}]\n', "ClusterEgressPolicy", "base") +
                   DNS.format(name=name, namespace=namespace, app=app)).stdout
    assert ("10.96.0.10" in text) == is_one


def test_a_cluster_that_lists_its_resolvers_has_its_search_domains():
    """not those of the pod's resolv.conf, behind which a tenant's server would be asked"""
    head = '  dns: {resolvers: [10.0.0.53]%s}\n  rules: [{allow: "*.example.org"}]\n'
    text = converted(BASE + own(head % "", "ClusterEgressPolicy", "base") + KUBE_DNS)
    assert "resolvers: [10.0.0.53]" in text and f"search: {SEARCH}" in text and "10.96" not in text
    text = converted(BASE + own(head % ", search: [corp.example]", "ClusterEgressPolicy", "base"))
    assert "search: [corp.example]" in text
    # the namespace's own are its own
    assert "search" not in converted(BASE + own(head % ""))


@pytest.mark.parametrize("denied, left", [("192.0.2.0/24", '[10.96.0.10, "fd00:96::10"]'), ("10.96.0.0/16:53", '["fd00:96::10"]'),
                                          ('[fd00:96::/64]:53', "[10.96.0.10]")])
def test_a_tenants_names_are_asked_of_what_the_cluster_does_not_deny(denied, left):
    cluster = own(f'  rules: [{{deny: "{denied}"}}]\n', "ClusterEgressPolicy", "base")
    text = converted(BASE + cluster + own('  rules: [{allow: "*.example.org"}]\n') + KUBE_DNS)
    assert f"resolvers: {left}" in text and "search" not in text, text
    # where no ClusterEgressPolicy selects the pod its resolv.conf says
    assert "dns:" not in converted(BASE + own('  rules: [{allow: "*.example.org"}]\n') + KUBE_DNS)


def test_resolvers_of_the_clusters_rules_are_its_own(write):
    """whatever resolvers an EgressPolicy lists"""
    cluster = own('  rules: [{allow: "@resolvers"}, {allow: "192.0.2.9"}]\n', "ClusterEgressPolicy", "base")
    tenant = own("  dns: {resolvers: [203.0.113.66]}\n  rules: []\n")
    flows = ["10.96.0.10:443", "[fd00:96::10]:443", "203.0.113.66:443", "203.0.113.66:53"]
    for more, at_53 in (("", "deny"), (tenant, "allow")):
        text = converted(BASE + cluster + more + KUBE_DNS)
        assert verdicts(text, write, *flows) == ["allow", "allow", "deny", at_53], text


def test_names_of_another_namespaced_policy_are_not_the_clusters():
    """whoever writes one by name takes no resolver from one that stands behind it"""
    text = converted(BASE + own('  rules: [{deny: "@metadata"}]\n', "ClusterEgressPolicy", "base") +
                     own('  rules: [{allow: "*.example.org"}]\n', name="first") +
                     own("  dns: {resolvers: [10.96.0.10]}\n  rules: []\n", name="second"))
    assert "10.96.0.10" in text


def test_a_name_that_no_rule_can_have(write):
    """of an object in a file: the API server takes no such"""
    text = converted(BASE + netpol("{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}", name='"a#b c"'))
    assert "id: np.a-b-c." in text and verdicts(text, write, "192.0.2.1:80", "192.0.3.1:80") == ["allow", "deny"]
