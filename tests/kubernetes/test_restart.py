# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A node that starts: everything of /run is gone, the pins too, and its pods come back by
themselves. With sluice-cni on its disk none of them sends before it is judged."""
import ipaddress

import pytest

import settings
from lab import until
from outside import ALLOWED, DENIED
from pods_modes import Api, call_back, send_away
from probes import AGAIN, ONLY_ALLOWED, sends

NETWORKS = [ipaddress.ip_network(n) for n in (settings.PODS4, settings.PODS6)]


@pytest.fixture(scope="module")
def pods(sluice):
    made = Api(sluice)
    yield made
    made.close()
    sluice.reset()


def of_pods(cluster, port):
    """Addresses of pods from which something came to that port."""
    return {a for a in map(ipaddress.ip_address, cluster.outside.senders(port))
            if any(a in n for n in NETWORKS)}


def restart(cluster, closed):
    """The kubelet, containerd, all pods; what a boot does not leave is removed."""
    cluster.restart_node(settings.CNI.replace('"failOpen": true', f'"failOpen": {str(not closed).lower()}'))


def events(cluster):
    return cluster.kubectl("get", "events", "-o", "jsonpath={.items[*].message}").stdout


def test_a_node_that_starts(cluster, pods, start):
    """First with the gate open, which shows what the first action of the pod is; then as it is."""
    made = start("boot", "sh", "-c", AGAIN, labels={"app": "cart"}, restartPolicy="Always")
    assert sends(cluster, made, ONLY_ALLOWED)
    send_away(pods.daemon)
    try:
        restart(cluster, closed=False)
        assert until(lambda: of_pods(cluster, DENIED), 120, 0.5), cluster.said("kubelet")
        restart(cluster, closed=True)
        assert until(lambda: "sluiced cannot be reached" in events(cluster), 120, 0.5), events(cluster)
        assert not of_pods(cluster, ALLOWED) | of_pods(cluster, DENIED)
    finally:
        call_back(pods.daemon)
    assert until(lambda: len(of_pods(cluster, ALLOWED)) == 2, 120, 0.5), events(cluster)
    assert not of_pods(cluster, DENIED)
    assert until(lambda: pods.kubernetes()["ready"], 60, 0.5)
    assert not of_pods(cluster, DENIED)
