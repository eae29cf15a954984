# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A node that starts: everything of /run is gone, the pins too, and its pods come back by
themselves. With sluice-cni on its disk none of them sends before it is judged."""
import ipaddress
import pathlib

import pytest

import settings
from boot import CONFIG, POLICY, STATIC, arrived, becomes, clear_static, put_static
from lab import SLUICE, until
from outside import ALLOWED, DENIED
from pods_modes import Api, call_back, send_away
from probes import AGAIN, ALL, ONLY_ALLOWED, sends

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


@pytest.fixture
def static(cluster):
    """They are in the kubelet's folder when it starts."""
    put_static(cluster)
    yield
    clear_static(cluster)


def open_seconds(pods):
    """By name: for how long each pod of the namespace was judged by nobody."""
    return {p["name"]: p["open_s"] for p in pods.kubernetes()["pods"] if p["namespace"] == "default"}


def test_a_node_that_starts(cluster, pods, start, static):  # pylint: disable=unused-argument
    """First with the gate open, which shows what the first action of a pod is; then as it is. A static pod with a
    network of its own is held as any other; one on the node's network is open until then, and listed."""
    made = start("boot", "sh", "-c", AGAIN, labels={"app": "cart"}, restartPolicy="Always")
    assert sends(cluster, made, ONLY_ALLOWED)
    send_away(pods.daemon)
    try:
        restart(cluster, closed=False)
        assert until(lambda: len(of_pods(cluster, DENIED)) == 4, 120, 0.5), cluster.said("kubelet")
        restart(cluster, closed=True)
        assert until(lambda: "sluiced cannot be reached" in events(cluster), 120, 0.5), events(cluster)
        assert until(lambda: settings.NODE4 in cluster.outside.senders(DENIED), 120, 0.5), cluster.said("kubelet")
        assert not of_pods(cluster, ALLOWED) | of_pods(cluster, DENIED)
    finally:
        call_back(pods.daemon)
    assert until(lambda: len(of_pods(cluster, ALLOWED)) == 4, 120, 0.5), events(cluster)
    assert not of_pods(cluster, DENIED)
    assert until(lambda: pods.kubernetes()["ready"], 60, 0.5)
    assert not of_pods(cluster, DENIED)
    opened = open_seconds(pods)
    assert opened[f"{STATIC[1]}-{settings.NODE}"] > 0, opened
    assert opened["boot"] == opened[f"{STATIC[0]}-{settings.NODE}"] == 0, opened
    cluster.outside.forget()
    assert until(lambda: settings.NODE4 in cluster.outside.senders(ALLOWED), 60, 0.5)
    assert not {settings.NODE4, settings.NODE6} & cluster.outside.senders(DENIED)


def test_a_node_that_starts_with_sluiced_first(cluster, pods, static):  # pylint: disable=unused-argument
    """As test_systemd's, by the kubelet's other driver: the cgroup above all pods is sluiced's making. First without."""
    cluster.write("/run/objects/cart.yaml", POLICY)
    cluster.write("/run/sluiced.yaml", f"{CONFIG}  cgroup: {cluster.pods}\n")

    def first():
        cluster.start("env", pathlib.Path(SLUICE).resolve().parent / "sluiced", "-c", "/run/sluiced.yaml")
        cluster.answers("env", "sh", "-c", f"{SLUICE} status -o json | grep -q kubernetes")
    send_away(pods.daemon)
    try:
        cluster.restart_node(settings.CNI)
        assert becomes(cluster, ALL), (arrived(cluster), cluster.said("kubelet"))
        for _ in range(2):
            cluster.restart_node(settings.CNI, first=first)
            assert becomes(cluster, ONLY_ALLOWED), (arrived(cluster), cluster.said("kubelet"), cluster.said("env"))
            cluster.stop("env")
    finally:
        cluster.run(SLUICE, "detach", "--all")
        call_back(pods.daemon)
