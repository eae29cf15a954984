# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a policy wants to know of the pod itself, its gateway, its users: the DaemonSet of `lookout` has the
capabilities for it, that of `base` refuses such a policy with its reason."""
import json
import socket

import pytest

from echoes import Echo
from lab import until
from outside import ALLOWED, DENIED, HERE4
from pods_modes import Api
from probes import asks, becomes

GATEWAY4 = "10.244.0.1"
USER = 1000
SEEN = """\
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {name: seen, namespace: default}
spec:
  podSelector: {matchLabels: {app: seen}}
  rules:
    - allow: "@gateway:7001/tcp"
    - allow: {to: 192.0.2.2, ports: 7002, protocol: tcp, uid: {container: 1000}}
"""
EVERYTHING = {(to, port) for to in (GATEWAY4, HERE4) for port in (ALLOWED, DENIED)}


@pytest.fixture(scope="module")
def node_server(cluster):
    """On the node's end of the bridge."""
    echo = Echo()
    for port in (ALLOWED, DENIED):
        echo.add_tcp(lambda *how: cluster.outside.node.within(lambda: socket.socket(*how)), port)
    yield
    echo.close()


@pytest.fixture(scope="module", params=[".", "lookout"], ids=["base", "lookout"])
def api(request, sluice):
    made = Api(sluice, folder=request.param)
    made.is_seeing = request.param == "lookout"
    yield made
    sluice.cluster.kubectl("delete", "--ignore-not-found", "egp", "seen")
    made.close()
    sluice.reset()      # before base has it: what it denies until it is known is itself, too
    if made.is_seeing:
        sluice.deploy(".")
        sluice.reset()


def test_the_gateway_and_the_users_of_a_pod(cluster, node_server, api, start):
    own, root = (f"{'with' if api.is_seeing else 'without'}-{who}" for who in ("user", "root"))
    start(own, "sh", "-c", asks(EVERYTHING), labels={"app": "seen"}, securityContext={"runAsUser": USER})
    start(root, "sh", "-c", asks(EVERYTHING), labels={"app": "seen"})
    for name in (own, root):
        becomes(cluster, name, EVERYTHING)
    api.put(SEEN)
    if api.is_seeing:
        becomes(cluster, own, {(GATEWAY4, ALLOWED), (HERE4, DENIED)})
        becomes(cluster, root, {(GATEWAY4, ALLOWED)})
        return

    def refused():
        pods = {p["name"]: p for p in api.kubernetes()["pods"]}
        return all(pods[name]["state"] == "refused" and "CAP_SYS_" in pods[name]["why"] for name in (own, root))
    assert until(refused, 60, 0.5), json.dumps([api.kubernetes()["pods"], api.daemon.status()["targets"]])
    assert not api.kubernetes()["ready"]
    for name in (own, root):
        becomes(cluster, name, EVERYTHING)      # what they had
