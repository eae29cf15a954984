# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A cluster's worth of pods against the client: its memory and processor time, which grow as the
number of pods does and no faster."""
import json
import pathlib
import tempfile

import pytest

from apilab import Client, Cluster, counts_are, netpol, pod

SIZES = (2500, 5000, 10000)


def real_size(name, i):
    """A pod as a server gives it: most of it says nothing about egress."""
    made = pod(name, f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", node=f"node-{i % 100}", namespace=f"ns-{i % 50}",
               app=f"app-{i % 20}", tier="backend", **{"pod-template-hash": f"{i:010x}"})
    made["metadata"]["managedFields"] = [
        {"manager": who, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {
            "f:metadata": {f"f:{j}": {".": {}} for j in range(12)}, "f:spec": {f"f:{j}": {} for j in range(20)}}}
        for who in ("kube-controller-manager", "kubelet")]
    made["spec"]["containers"][0] |= {
        "image": "registry.example/team/app:v1", "env": [{"name": f"V{j}", "value": "x" * 40} for j in range(15)],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": [{"name": f"v{j}", "mountPath": f"/data/{j}"} for j in range(4)]}
    made["spec"]["tolerations"] = [{"key": f"k{j}", "operator": "Exists", "effect": "NoExecute"} for j in range(2)]
    made["status"]["conditions"] = [{"type": t, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                                    for t in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    return made


def measure(n):
    """After the lists of n pods, and after each of them has changed."""
    with tempfile.TemporaryDirectory(prefix="sl-api-") as path:
        folder = pathlib.Path(path)
        cluster = Cluster(folder)
        for i in range(50):
            cluster.put("namespaces", {"metadata": {"name": f"ns-{i}"}})
        cluster.put("networkpolicies", netpol("all", {"to": [{"namespaceSelector": {}}]}, namespace="ns-0"))
        for i in range(n):
            cluster.put("pods", real_size(f"pod-{i}", i))
        cluster.compact()
        client = Client(cluster, folder, node="node-0")
        try:
            listed = client.until(counts_are(pods=n, partial=False), timeout=120)
            for i in range(n):
                changed = real_size(f"pod-{i}", i)
                changed["metadata"]["labels"]["tier"] = "frontend"
                cluster.put("pods", changed)
            events = next(k for k in listed["kinds"] if k["kind"] == "pods")["events"] + n
            after = client.until(lambda s: next(k for k in s["kinds"] if k["kind"] == "pods")["events"] >= events,
                                 timeout=120)
        finally:
            assert client.close() == 0, client.said()
            cluster.stop()
        size = len(json.dumps(real_size("pod-1", 1)))
        return {"pods": n, "bytes": size, "list_s": listed["cpu_s"], "events_s": after["cpu_s"] - listed["cpu_s"],
                "rss_kb": after["rss_kb"], "heap_kb": after["heap_kb"], "worst_ms": after["worst_ms"]}


@pytest.fixture(scope="module")
def figures():
    return [measure(n) for n in (10,) + SIZES]


def test_memory_and_time_are_linear(figures, capsys):
    base, *rows = figures
    with capsys.disabled():
        print()
        for row in rows:
            print(f"  {row['pods']:6} pods of {row['bytes']} bytes: lists {row['list_s']:.2f} s, as many changes "
                  f"{row['events_s']:.2f} s of one processor, {row['heap_kb'] / 1024:.1f} MiB held, "
                  f"{row['rss_kb'] / 1024:.0f} MiB at most, longest turn {row['worst_ms']:.0f} ms")
    small, big = rows[0], rows[-1]
    times = big["pods"] / small["pods"]
    for what in ("list_s", "events_s"):
        assert big[what] < small[what] * times * 1.6 + 0.2, (what, rows)
    # of the 10 pods' run what the libraries hold is known
    held = {row["pods"]: row["heap_kb"] - base["heap_kb"] for row in rows}
    assert held[big["pods"]] < held[small["pods"]] * times * 1.3, rows
    assert held[big["pods"]] / big["pods"] < 2, rows                            # KiB a pod
    assert (big["rss_kb"] - base["rss_kb"]) / big["pods"] < 6, rows


def test_no_turn_holds_up_the_daemon(figures):
    """A page of a list is the longest: its time is of the processor, so it holds under load too."""
    assert all(row["worst_ms"] < 150 for row in figures), figures
