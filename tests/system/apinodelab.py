# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A node whose objects are a made-up API server's: its sluiced, policies, and what is said of pods."""
import contextlib
import os
import shutil
import socket
import time

import pytest

from apilab import Cluster
from crilab import Node
from lab import until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]
CONFIG = """\
sluiced: 1
kubernetes:
  api: {{server: "{url}", ca: {ca}, token: {token}, name: node-a}}
  cgroup: [/{group}/kubepods, /{group}/kubepods.slice]
  exempt: kube-*
metrics: unix:{metrics}
audit: [{{file: {audit}}}]
"""
HOSTS = ("192.0.2.1", "2001:db8::1")


def web(*ports, name="web", app="web"):
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {
        "podSelector": {"matchLabels": {"app": app}},
        "rules": [{"allow": {"to": list(HOSTS), "ports": list(ports)}, "id": name}]}}


@pytest.fixture(scope="module", name="machine")
def machine_of_all(tmp_path_factory):
    with contextlib.closing(Node("sl-api", tmp_path_factory.mktemp("api"))) as made:
        yield made


@pytest.fixture
def node(machine, tmp_path):
    machine.cluster = machine.within(lambda: Cluster(tmp_path))
    machine.cluster.put("namespaces", {"metadata": {"name": "shop", "labels": {"tier": "prod"}}})
    machine.cluster.put("egresspolicies", web(7001))
    machine.token = tmp_path / "token"
    machine.token.write_text("first\n")
    machine.metrics = tmp_path / "m"
    machine.configure(CONFIG.format(url=machine.cluster.url, ca=machine.cluster.ca, token=machine.token,
                                    group=machine.group, metrics=machine.metrics,
                                    audit=tmp_path / "audit.jsonl"))
    machine.arrived()
    yield machine
    machine.clear()
    machine.cluster.stop()


def told(node, pod, since=None, **labels):
    """The object of a pod, as its node's kubelet reports it; taken up at that time."""
    start = {"startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))} if since else {}
    node.cluster.put("pods", {
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "labels": labels},
        "spec": {"nodeName": "node-a", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": "10.244.0.200", "hostIP": "10.9.9.9",
                   "startTime": "2020-01-01T00:00:00Z", **start}})     # which a start of the node does not change


def begun(node):
    """sluiced, and a pod of app web that it judges, whose container has begun."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    told(node, pod, app="web")
    node.known(pod)
    pod.start(wait=False)
    return pod


def up_again(node):
    node.within(lambda: node.cluster.start(node.cluster.port))


def becomes(pod, want):
    said = []
    assert until(lambda: said.append(pod.probe()) or said[-1] == want, 20), (said, want)


def current(node):
    return until(lambda: not node.kubernetes()["source"]["stale_since"], 30)


def scrape(node):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(node.metrics))
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        data = b""
        while part := sock.recv(65536):
            data += part
    return dict(line.rsplit(" ", 1) for line in data.decode().splitlines() if line.startswith("sluice_kube"))


def base(*rules, **more):
    return {"metadata": {"name": "base"}, "spec": {"rules": list(rules), **more}}


def condition_of(node, kind, name, type_):
    status = node.cluster.objects[kind][name].get("status", {})
    return next((c for c in status.get("conditions", []) if c["type"] == type_), {})
