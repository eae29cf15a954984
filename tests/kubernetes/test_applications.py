# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Sortie's three examples as its manual has them, on pods: an application's policy in an annotation, beside the
default that Sortie's chart gives all sessions as a NetworkPolicy. With the API server's objects, and with
those of a ConfigMap."""
import json

import pytest

from echoes import Echo
from lab import until
from outside import HERE4, INSIDE4
from pods_modes import Api, Directory
from probes import addresses, asks, becomes

ANNOTATION = "sluice.dev/egress-policy"
WEB, OTHER, DNS = (80, 443), 5432, 53
EVERYTHING = {(to, port) for to in (HERE4, INSIDE4) for port in (*WEB, OTHER, DNS)}
ALLOWLIST = {"mode": "allowlist", "rules": [{"cidr": "10.0.0.0/8", "port": 443, "protocol": "TCP"},
                                            {"cidr": "10.0.0.0/8", "port": 80, "protocol": "TCP"}]}
DENYLIST = {"mode": "denylist", "rules": [{"cidr": "10.0.0.0/8"}, {"cidr": "172.16.0.0/12"},
                                          {"cidr": "192.168.0.0/16"}]}
# of each application: what its pod reaches. An allowlist leaks nothing of the default, a denylist neither.
APPLICATIONS = {
    "secure-browser": (ALLOWLIST, {(INSIDE4, 80), (INSIDE4, 443), (INSIDE4, DNS), (HERE4, DNS)}),
    "dev-workstation": (DENYLIST, {(HERE4, 80), (HERE4, 443), (HERE4, OTHER), (HERE4, DNS), (INSIDE4, DNS)}),
    "basic-app": (None, {(to, port) for to in (HERE4, INSIDE4) for port in (*WEB, DNS)}),
}
# "DNS + HTTP/HTTPS to any destination"
SESSIONS = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: sessions, namespace: default}
spec:
  podSelector: {matchLabels: {sortie: session}}
  policyTypes: [Egress]
  egress:
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    - ports: [{port: 80, protocol: TCP}, {port: 443, protocol: TCP}]
"""


@pytest.fixture(scope="module", autouse=True)
def servers(cluster):
    echo = Echo()
    for port in (*WEB, OTHER, DNS):
        echo.add_tcp(cluster.outside.socket, port)
    yield
    echo.close()


@pytest.fixture(scope="module", params=[Api, Directory], ids=["api", "directory"])
def sessions(request, sluice):
    made = request.param(sluice, more="  annotations: [default]\n")
    made.add(SESSIONS)
    assert until(made.is_current, 60, 0.5), made.kubernetes()
    yield made
    sluice.cluster.kubectl("delete", "--ignore-not-found", "networkpolicy", "sessions")
    made.close()
    sluice.reset()


def annotation(policy):
    return policy and {ANNOTATION: json.dumps({"egress_policy": policy})}


def begin(cluster, start, name, policy):
    cluster.outside.forget()
    return start(name, "sh", "-c", asks(EVERYTHING), labels={"sortie": "session"}, annotations=annotation(policy))


def test_without_sluice_an_application_reaches_everything(cluster, sluice, start):
    made = begin(cluster, start, "unjudged", ALLOWLIST)
    becomes(cluster, "unjudged", EVERYTHING)
    assert cluster.outside.destinations(addresses(made)) == EVERYTHING


@pytest.mark.parametrize("application", APPLICATIONS)
def test_an_application_from_its_creation_to_its_end(cluster, sessions, start, application):
    policy, want = APPLICATIONS[application]
    name = f"{application}-{sessions.source[0]}"
    made = begin(cluster, start, name, policy)
    becomes(cluster, name, want)
    assert cluster.outside.destinations(addresses(made)) == want    # in its whole life
    cluster.delete("pod", name)
    assert until(lambda: cluster.gone(made), 60, 0.2)
    assert until(sessions.daemon.has_only, 60, 0.5), sessions.daemon.targets()
    assert sessions.kubernetes()["left"] == 0


def test_a_pod_that_is_not_judged_makes_its_node_unready(cluster, sessions, start):
    """An annotation that cannot be read opens nothing, is named, and the DaemonSet's probe says so."""
    name = f"odd-{sessions.source[0]}"
    odd = begin(cluster, start, name, {"mode": "alowlist"})
    assert until(lambda: not sessions.daemon.is_ready(), 60, 0.5)
    said = next(p for p in sessions.kubernetes()["pods"] if p["name"] == name)
    assert said["state"] == "refused" and "alowlist" in said["why"], said
    becomes(cluster, name, set())
    assert not cluster.outside.destinations(addresses(odd))
    cluster.delete("pod", name)
    sessions.daemon.wait_ready()
