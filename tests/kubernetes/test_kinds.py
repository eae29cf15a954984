# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Kinds of containers and pods: whatever runs in a pod is judged by its policy from its first action."""
import json

import pytest

import settings
from cluster import pod
from lab import until
from outside import ALLOWED, DENIED, HERE4, HERE6
from pods_modes import Api
from probes import AGAIN, ALL, ONCE, ONLY_ALLOWED, addresses, ended, nodes_python, running, sends

SCTP = 132
CART = {"app": "cart"}


@pytest.fixture(name="pods")
def policies_by_label(sluice):
    made = Api(sluice)
    yield made
    made.close()


@pytest.fixture
def gone(cluster):
    """At the end these pods, by name, are gone."""
    names = []
    yield names.append
    made = [one for one in (cluster.get("pod", name) for name in names) if one]
    for name in names:
        cluster.delete("pod", name)
    assert until(lambda: all(map(cluster.gone, made)), 120, 0.2)


def container(name, *command):
    return {"name": name, "image": settings.BUSYBOX, "imagePullPolicy": "Never", "command": list(command)}


def finished(cluster, name):
    return set(cluster.outside.arrived(addresses(cluster.wait(ended, "pod", name))))


def test_without_a_policy_they_arrive(cluster, gone):
    gone("free")
    cluster.outside.forget()
    cluster.apply([pod("free", "true", labels=CART, initContainers=[container("first", "sh", "-c", ONCE)])])
    assert finished(cluster, "free") == ALL


@pytest.mark.parametrize("where", ["init", "sidecar", "the third init"])
def test_containers_of_a_pod(cluster, pods, gone, where):    # pylint: disable=unused-argument
    gone("parts")
    cluster.outside.forget()
    probe = container("probe", "sh", "-c", ONCE)
    made = pod("parts", "true", labels=CART)
    if where == "sidecar":
        made["spec"]["containers"].append(probe)
    else:
        before = [container(f"i{i}", "true") for i in range(0 if where == "init" else 2)]
        made["spec"]["initContainers"] = [*before, probe]
    cluster.apply([made])
    assert finished(cluster, "parts") == ONLY_ALLOWED


def test_a_container_that_is_started_again(cluster, pods, gone):     # pylint: disable=unused-argument
    """Each time a new cgroup, in the pod's."""
    gone("again")
    cluster.outside.forget()
    cluster.apply([pod("again", "sh", "-c", ONCE, labels=CART, restartPolicy="Always")])

    def restarts(found):
        return any(c["restartCount"] >= 3 for c in found["status"].get("containerStatuses", ()))
    made = cluster.wait(restarts, "pod", "again", seconds=240)
    assert set(cluster.outside.arrived(addresses(made))) == ONLY_ALLOWED


def test_what_is_started_inside(cluster, pods, start):       # pylint: disable=unused-argument
    """By kubectl exec, and in an ephemeral container."""
    made = start("inside", "sleep", "3600", labels=CART)
    for how in ("exec", "debug"):
        cluster.outside.forget()
        if how == "exec":
            said = cluster.kubectl("exec", "inside", "--", "sh", "-c", ONCE).stdout
            assert said.count("yes") == said.count("no") == 2, said
        else:
            cluster.kubectl("alpha", "debug", "inside", f"--image={settings.BUSYBOX}", "--container=late",
                            "--image-pull-policy=Never", "--", "sh", "-c", ONCE)
            assert until(lambda: any("terminated" in c["state"] for c in cluster.get("pod", "inside")["status"].get(
                "ephemeralContainerStatuses", ())), 60, 0.5), cluster.get("pod", "inside")["status"]
        assert set(cluster.outside.arrived(addresses(made))) == ONLY_ALLOWED, how


def test_a_name_that_is_given_again(cluster, pods, gone):    # pylint: disable=unused-argument
    """Another pod of the same name at once: neither has the other's policy."""
    gone("twice")
    for labels, want in ((CART, ONLY_ALLOWED), ({"app": "other"}, ALL), (CART, ONLY_ALLOWED)) * 2:
        cluster.outside.forget()
        cluster.apply([pod("twice", "sh", "-c", AGAIN, labels=labels)])
        made = cluster.wait(running, "pod", "twice")
        assert until(lambda m=made, w=want: set(cluster.outside.arrived(addresses(m))) >= w, 60, 0.2)
        assert set(cluster.outside.arrived(addresses(made))) == want
        cluster.kubectl("delete", "pod", "twice", "--now")


def test_until_it_is_dead(cluster, pods, gone):              # pylint: disable=unused-argument
    """It was told to end, and goes on: it is judged as long as it does."""
    gone("lasts")
    cluster.apply([pod("lasts", "sh", "-c", f"trap '' TERM; {AGAIN}", labels=CART, terminationGracePeriodSeconds=8)])
    made = cluster.wait(running, "pod", "lasts")
    assert sends(cluster, made, ONLY_ALLOWED)
    cluster.outside.forget()
    cluster.kubectl("delete", "pod", "lasts", "--wait=false")
    assert until(lambda: cluster.outside.arrived(addresses(made)), 5, 0.1)
    assert until(lambda: cluster.gone(made), 120, 0.2)
    assert set(cluster.outside.arrived(addresses(made))) == ONLY_ALLOWED


# An INIT (RFC 9260, 3.3.2) from a raw socket: this kernel may have no SCTP.
CHUNKS = f"""
import socket, struct, time
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
init = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 1)
while True:
    for family, to in ((socket.AF_INET, "{HERE4}"), (socket.AF_INET6, "{HERE6}")):
        for port in ({ALLOWED}, {DENIED}):
            head = struct.pack("!HHI", 4000, port, 0)
            crc = struct.pack("<I", crc32c(head + b"\\0\\0\\0\\0" + init))
            try:
                with socket.socket(family, socket.SOCK_RAW, 132) as s:
                    s.sendto(head + crc + init, (to, 0))
            except OSError as error:
                print(error, flush=True)
    time.sleep(0.3)
"""


@pytest.mark.parametrize("kind", ["EgressPolicy", "NetworkPolicy"])
def test_sctp(cluster, pods, start, kind):
    both = {(f, SCTP, p) for f in (4, 6) for p in (ALLOWED, DENIED)}
    volumes, mounts = nodes_python()
    made = start("sctp", "/usr/bin/python3", "-c", CHUNKS, labels={"app": "sctp"}, volumes=volumes,
                 container={"volumeMounts": mounts})
    assert sends(cluster, made, both), cluster.log_of("sctp")
    if kind == "EgressPolicy":
        text = {"apiVersion": "sluice.dev/v1alpha1", "spec": {
            "rules": [{"allow": {"to": [HERE4, HERE6], "ports": ALLOWED, "protocol": "sctp"}}]}}
    else:
        text = {"apiVersion": "networking.k8s.io/v1", "spec": {
            "policyTypes": ["Egress"], "egress": [{"ports": [{"port": ALLOWED, "protocol": "SCTP"}]}]}}
    text.update(kind=kind, metadata={"name": "sctp", "namespace": "default"})
    text["spec"]["podSelector"] = {"matchLabels": {"app": "sctp"}}
    try:
        pods.cluster.apply(json.dumps(text))
        assert sends(cluster, made, {(f, SCTP, ALLOWED) for f in (4, 6)}), cluster.log_of("sctp")
    finally:
        cluster.kubectl("delete", kind, "sctp")
