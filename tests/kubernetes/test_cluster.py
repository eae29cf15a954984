# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The cluster is one: without Sluice all that a pod sends arrives, on both families."""
import json

import settings
from cluster import pod
from lab import until
from outside import ALLOWED, HERE4
from probes import ALL, ONCE, addresses, ended, running


def test_what_a_pod_sends_arrives_without_sluice(cluster):
    cluster.apply([pod("open", "sh", "-c", ONCE)])
    made = cluster.wait(ended, "pod", "open")
    assert len(addresses(made)) == 2, made["status"]
    assert set(cluster.outside.arrived(addresses(made))) == ALL, cluster.log_of("open")
    assert cluster.log_of("open").count("yes") == 4
    cluster.delete("pod", "open")


def test_a_pods_cgroup_is_below_kubepods(cluster):
    cluster.apply([pod("placed", "sleep", "1000")])
    made = cluster.wait(running, "pod", "placed")
    uid, container = made["metadata"]["uid"], made["status"]["containerStatuses"][0]["containerID"]
    below = f"/kubepods/besteffort/pod{uid}/{container.removeprefix('containerd://')}"
    assert any(path.endswith(below) for path in cluster.cgroups()), cluster.cgroups()
    cluster.delete("pod", "placed")
    assert until(lambda: cluster.gone(made), 60)


def test_kube_proxy_leads_a_service_to_its_endpoint(cluster):
    cluster.apply([
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "out"},
         "spec": {"ports": [{"port": 80, "targetPort": ALLOWED}]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "out"},
         "subsets": [{"addresses": [{"ip": HERE4}], "ports": [{"port": ALLOWED}]}]}])
    address = cluster.get("service", "out")["spec"]["clusterIP"]
    cluster.apply([pod("asks", "sh", "-c",
                       f"for i in 1 2 3 4 5 6 7 8 9; do netcat -z -w 2 {address} 80 && exit 0; "
                       "sleep 1; done; exit 1")])
    made = cluster.wait(ended, "pod", "asks")
    assert made["status"]["phase"] == "Succeeded", cluster.log_of("asks")
    cluster.delete("pod", "asks")
    cluster.delete("service", "out")


def test_the_kubernetes_is_debians(cluster):
    version = json.loads(cluster.kubectl("get", "--raw", "/version").stdout)
    assert version["gitVersion"] == "v1.20.2"
    assert cluster.get("node", settings.NODE)["status"]["nodeInfo"]["kubeletVersion"] == "v1.20.2"
