# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The CRDs by the API server itself: what its schema takes, and what it refuses, with which words."""
import json

import pytest

from cluster import ROOT
from lab import until

CRDS = ROOT / "deploy" / "kubernetes" / "crds"
KINDS = ("EgressPolicy", "ClusterEgressPolicy")


@pytest.fixture(scope="module")
def crds(cluster):
    cluster.kubectl("apply", "-k", CRDS)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd",
                    "egresspolicies.sluice.dev", "clusteregresspolicies.sluice.dev")
    return cluster


def policy(kind, name="p", **spec):
    return {"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
            "spec": spec}


VALID = {
    "nothing": {},
    "rules": {"rules": [{"allow": "203.0.113.7:443/tcp"}, {"deny": "@metadata", "id": "m"}]},
    "a list": {"rules": [{"allow": ["example.com:443", "[2001:db8::1]:53/udp"]}]},
    "a mapping": {"rules": [{"allow": {"to": "10.0.0.0/8", "ports": [80, "90-99"],
                                       "protocol": "tcp"}, "expires": "2030-01-01"}]},
    "settings": {"mode": "audit", "default": "allow", "on_deny": "drop", "log": "all",
                 "fragments": "deny", "inbound": "replies",
                 "dns": {"resolvers": ["192.0.2.53"], "queries": "listed"},
                 "sets": {"office": ["192.0.2.0/24"]}, "limits": {"connections": "50/s"}},
    "inbound rules": {"inbound": [{"from": "10.0.0.0/8", "ports": 80}]},
    "selectors": {"podSelector": {"matchLabels": {"app": "cart"}, "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["a", "b"]}]},
        "namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}},
}
# what the schema refuses: the path and the words that the message has to have
INVALID = {
    "a mode": ({"mode": "enfroce"}, 'spec.mode: Unsupported value: "enfroce"'),
    "a default": ({"default": "reject"}, 'spec.default: Unsupported value: "reject"'),
    "rules that are no list": ({"rules": {"allow": "any"}}, "spec.rules"),
    "a rule that is a text": ({"rules": ["allow"]}, "spec.rules"),
    "an id": ({"rules": [{"allow": "any", "id": "two words"}]}, "spec.rules.id"),
    "an include of a file": ({"rules": [{"include": "/etc/shadow"}]}, "spec.rules.include"),
    "a label that is a number": ({"podSelector": {"matchLabels": {"app": 1}}},
                                 "spec.podSelector.matchLabels"),
    "an operator": ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
                    'Unsupported value: "Is"'),
    "an expression without a key": ({"podSelector": {"matchExpressions": [
        {"operator": "Exists"}]}}, "key: Required value"),
    "a set of numbers": ({"sets": {"a": [1]}}, "spec.sets.a"),
    "resolves_to": ({"rules": [{"allow": "a.example", "resolves_to": "public"}]},
                    'Unsupported value: "public"'),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", VALID)
def test_valid(crds, kind, case):
    spec = VALID[case]
    if kind == "EgressPolicy":
        spec = {k: v for k, v in spec.items() if k != "namespaceSelector"}
    crds.apply([policy(kind, **spec)])
    assert crds.get(kind, "p")["spec"] == spec     # kept whole: nothing was pruned
    crds.delete(kind, "p")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", INVALID)
def test_invalid(crds, kind, case):
    spec, words = INVALID[case]
    done = crds.apply([policy(kind, **spec)], check=False)
    assert done.returncode and words in done.stderr, done
    assert f'The {kind} "p" is invalid: spec' in done.stderr
    assert not crds.get(kind, "p")


@pytest.mark.parametrize("kind", KINDS)
def test_spec_is_required(crds, kind):
    done = crds.apply(json.dumps({**policy(kind), "spec": None}), "--validate=false", check=False)
    assert done.returncode and "spec" in done.stderr, done


def test_a_key_that_the_schema_does_not_know_is_kept(crds):
    """so that Sluice can say where it stands: see the CRD"""
    crds.apply([policy("EgressPolicy", rules=[{"allow": "any", "expirse": "2030-01-01"}])],
               "--validate=false")
    assert crds.get("EgressPolicy", "p")["spec"]["rules"][0]["expirse"] == "2030-01-01"
    crds.delete("EgressPolicy", "p")


def test_columns_and_short_names(crds):
    crds.apply([policy("EgressPolicy", default="deny", mode="audit"),
                policy("ClusterEgressPolicy", default="allow")])
    for name, values in (("egp", ["p", "deny", "audit"]), ("cegp", ["p", "allow"])):
        head, row = crds.kubectl("get", name).stdout.splitlines()
        assert head.split()[:3] == ["NAME", "DEFAULT", "MODE"] and head.split()[-1] == "AGE"
        assert row.split()[:len(values)] == values
    crds.delete("egp", "p")
    crds.delete("cegp", "p")


def test_a_namespace_has_so_many(crds):
    """by the quota that is shipped; each is kept by every node's sluiced"""
    hard = "count/egresspolicies.sluice.dev"

    manifest = ROOT / "deploy" / "kubernetes" / "quota" / "egresspolicies.yaml"

    def quota(field):
        return crds.get("-n", "bounded", "resourcequota", "egresspolicies").get("status", {}).get(field, {}).get(hard)

    def counts():
        """The controller looks every 30 s which kinds there are, and at a quota that came before that once in 5 minutes."""
        crds.kubectl("-n", "bounded", "apply", "-f", manifest)
        if until(lambda: quota("used") == "0", 5):
            return True
        crds.kubectl("-n", "bounded", "delete", "-f", manifest)
        return False
    crds.kubectl("create", "namespace", "bounded")
    assert until(counts, 150)
    many = int(quota("hard"))
    crds.apply([policy("EgressPolicy", name=f"p{n}") for n in range(many)], "-n", "bounded")
    done = crds.apply([policy("EgressPolicy", name="one-more")], "-n", "bounded", check=False)
    assert done.returncode and f"exceeded quota: egresspolicies, requested: {hard}=1, used: {hard}={many}" in done.stderr, done
    crds.apply([policy("EgressPolicy", name="elsewhere")])      # of another namespace
    crds.delete("EgressPolicy", "elsewhere")
    crds.kubectl("delete", "namespace", "bounded")
