# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What only the API server tells: Services, where a policy is enforced; and what is when it is away."""
import time

import pytest

from lab import until
from outside import ALLOWED, DENIED, HERE4
from pods_modes import Api
from probes import AGAIN, ONLY_ALLOWED, ONLY_DENIED, addresses, asks, becomes, sends
from settings import NODE4


@pytest.fixture(scope="module")
def api(sluice):
    made = Api(sluice)
    yield made
    made.close()


def test_a_policy_says_where_it_is_enforced(cluster, api, start):
    start("told", "sh", "-c", AGAIN, labels={"app": "cart"})
    assert until(lambda: (api.condition("Enforced") or {}).get("status") == "True", 60, 0.5), \
        cluster.get("egp", "cart")
    assert "1 pod" in api.condition("Enforced")["message"]
    head, row = cluster.kubectl("get", "egp", "cart").stdout.splitlines()      # what a user sees
    assert head.split() == ["NAME", "DEFAULT", "MODE", "VALID", "ENFORCED", "WHERE", "AGE"]
    assert row.split()[:3] == ["cart", "True", "True"] and "on 1 nodes, 1 pods" in row, row


def test_enforcement_goes_on_without_the_api_server(cluster, api, start):
    """for more than a minute, in which its lists, its token and its look at everything would be due"""
    made = start("alone", "sh", "-c", AGAIN, labels={"app": "cart"})
    assert sends(cluster, made, ONLY_ALLOWED)
    cluster.stop("kube-apiserver")
    away = time.monotonic()
    cluster.outside.forget()
    try:
        assert until(lambda: api.daemon.local_status()["kubernetes"]["source"]["stale_since"], 60, 1)
        assert until(lambda: time.monotonic() > away + 65, 70, 1)
        assert set(cluster.outside.arrived(addresses(made))) == ONLY_ALLOWED
        assert sends(cluster, made, ONLY_ALLOWED)
    finally:
        cluster.start_program("kube-apiserver")
    api.allow(DENIED)
    assert sends(cluster, made, ONLY_DENIED, 120)
    api.allow(ALLOWED)
    assert sends(cluster, made, ONLY_ALLOWED)


def service(name, *ports, **spec):
    """At the world outside: one endpoint a port."""
    return [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
             "spec": {"ports": [{"port": 80, "targetPort": 80}], **spec}},
            {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name},
             "subsets": [{"addresses": [{"ip": HERE4}], "ports": [{"port": port}]}
                         for port in ports]}]


def test_a_service_is_what_its_endpoints_are(cluster, api, start):
    """of a NetworkPolicy that allows one port: allowed, denied, and denied where only some are"""
    cluster.apply([*service("good", ALLOWED), *service("bad", DENIED),
                   *service("mixed", ALLOWED, DENIED),
                   {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                    "metadata": {"name": "one"},
                    "spec": {"podSelector": {"matchLabels": {"app": "np"}}, "policyTypes": ["Egress"],
                             "egress": [{"to": [{"ipBlock": {"cidr": f"{HERE4}/32"}}],
                                         "ports": [{"port": ALLOWED}]}]}}])
    at = {name: cluster.get("service", name)["spec"]["clusterIP"]
          for name in ("good", "bad", "mixed")}
    asks = "; ".join(f"netcat -z -w 2 {ip} 80 && echo {name}" for name, ip in at.items())
    script = f"while :; do {asks}; echo end; sleep 0.3; done"

    def reaches(name):
        lines = cluster.log_of(name).split("end")
        return set(lines[-2].split()) if len(lines) > 2 else None
    try:
        start("np-none", "sh", "-c", script, labels={"app": "none"})
        start("np-one", "sh", "-c", script, labels={"app": "np"})
        assert until(lambda: reaches("np-none") == {"good", "bad", "mixed"}, 60, 0.5)
        assert until(lambda: reaches("np-one") == {"good"}, 60, 0.5), reaches("np-one")
    finally:
        cluster.kubectl("delete", "networkpolicy", "one")
        cluster.kubectl("delete", "service", *at)


OWN = """\
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {name: not-there, namespace: default}
spec:
  podSelector: {matchLabels: {app: own}}
  default: allow
  rules: [{deny: "%s:%s/tcp"}]
"""


def test_a_deny_holds_behind_a_service_too(cluster, api, start):
    """of an EgressPolicy: by the ClusterIP, and by the NodePort of the pod's own node"""
    cluster.apply([*service("good", ALLOWED, type="NodePort"), *service("bad", DENIED, type="NodePort")])
    targets = {}
    for name in ("good", "bad"):
        spec = cluster.get("service", name)["spec"]
        targets[name] = [(spec["clusterIP"], 80), (NODE4, spec["ports"][0]["nodePort"])]
    everything = {*targets["good"], *targets["bad"]}
    try:
        start("own-deny", "sh", "-c", asks(everything), labels={"app": "own"})
        becomes(cluster, "own-deny", everything)
        cluster.apply(OWN % (HERE4, DENIED))
        becomes(cluster, "own-deny", set(targets["good"]))
    finally:
        cluster.delete("egp", "not-there")
        cluster.delete("service", *targets)
