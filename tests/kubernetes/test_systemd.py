# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A kubelet and a containerd with systemd's cgroups, on a node whose process 1 is systemd and whose
hierarchies begin at a cgroup of this machine's."""
import json
import pathlib

import pytest

import cluster as cluster_module
import daemonset
import leftovers
import settings
from boot import CONFIG, POLICY, STATIC, arrived, becomes, clear_static, put_static
from conftest import kubernetes
from lab import SLUICE, cgroup2, until
from pods_modes import Api
from probes import AGAIN, ALL, ONLY_ALLOWED, sends

# Over the unit as it is installed: where this build and the test's files are.
DROP_IN = f"""\
[Service]
ExecStart=
ExecStart={pathlib.Path(SLUICE).resolve().parent}/sluiced -c /run/sluiced.yaml
StandardError=append:/run/sluiced.log
"""


@pytest.fixture(scope="module", name="cluster")
def cluster_with_systemd():
    if not cgroup2().endswith("/unified"):
        pytest.skip("the cluster's systemd wants hybrid cgroups, as this machine has none")
    with leftovers.folder() as folder:
        made = cluster_module.Cluster(pathlib.Path(folder), kubernetes(), "systemd")
        try:
            yield made
        finally:
            made.close()


class Unit:
    """sluiced.service on the node, under systemd."""

    def __init__(self, cluster):
        self.cluster = cluster
        cluster.write("/run/objects/cart.yaml", POLICY)
        cluster.write("/run/sluiced.yaml", CONFIG)
        unit = (cluster_module.ROOT / "deploy" / "systemd" / "sluiced.service").read_text()
        cluster.write("/run/units/sluiced.service", unit)
        cluster.write("/run/units/sluiced.service.d/here.conf", DROP_IN)
        before = cluster_module.ROOT / "deploy" / "systemd" / "sluiced.service.d" / "kubernetes.conf"
        cluster.write("/run/units/sluiced.service.d/kubernetes.conf", before.read_text())

    def start(self):
        done = self.cluster.run("sh", "-c", "systemctl daemon-reload && systemctl start sluiced || "
                                "{ systemctl status -l sluiced; exit 1; }", check=False)
        assert done.returncode == 0, done.stdout + self.said()

    def said(self):
        return (self.cluster.files / "run" / "sluiced.log").read_text()

    def halt(self):
        """What is judged stays judged."""
        self.cluster.run("systemctl", "stop", "sluiced")

    def stop(self):
        self.halt()
        self.cluster.run(SLUICE, "detach", "--all")

    def status(self):
        return json.loads(self.cluster.run(SLUICE, "status", "-o", "json").stdout)

    def pods(self):
        """By name: a static one's ends with the node's."""
        return {(p["name"] or "?").removesuffix(f"-{settings.NODE}"): p for p in self.status()["kubernetes"]["pods"]}


@pytest.fixture(scope="module")
def unit(cluster):
    return Unit(cluster)


def clear(cluster, unit):
    clear_static(cluster)
    unit.stop()


def test_static_pods_from_boot(cluster, unit):
    """The unit is there before the runtime and the kubelet are: nothing comes of a static pod but what its policy
    allows, from its first action on, also of one on the node's network. First without, by the same boot."""
    put_static(cluster)
    cluster.restart_node(settings.CNI)
    assert becomes(cluster, ALL), (arrived(cluster), cluster.said("kubelet"))
    for _ in range(2):
        cluster.restart_node(settings.CNI, first=unit.start)
        assert becomes(cluster, ONLY_ALLOWED), (arrived(cluster), unit.pods(), cluster.said("kubelet"))
        assert until(lambda: unit.status()["kubernetes"]["ready"], 60, 0.5), unit.status()
        assert becomes(cluster, ONLY_ALLOWED), arrived(cluster)
        unit.halt()
    clear(cluster, unit)


def test_pods_of_the_systemd_driver(cluster, unit):
    """Found and named without a configuration of places, and judged though this sluiced sees a part of the hierarchy
    alone, as in kind's nodes. They ran before: status says for how long."""
    cluster.outside.forget()
    put_static(cluster)
    assert becomes(cluster, ALL), (arrived(cluster), cluster.said("kubelet"))
    unit.start()
    assert until(lambda: set(STATIC) <= set(unit.pods()), 60, 0.5), unit.status()
    for name in STATIC:
        found = unit.pods()[name]
        below, slice_name = found["cgroup"].rsplit("/", 1)
        assert below == "/kubepods.slice/kubepods-besteffort.slice"
        assert slice_name == f"kubepods-besteffort-pod{found['uid']}.slice" and len(found["uid"]) == 32
        assert found["host_network"] == (name == STATIC[1])
        assert until(lambda name=name: unit.pods()[name]["open_s"] > 0, 20)
    assert until(lambda: unit.status()["kubernetes"]["ready"], 60, 0.5), unit.status()
    status = unit.status()
    assert not [w for w in status["warnings"] if "NOT ENFORCED" in w], status["warnings"]
    cluster.outside.forget()
    assert becomes(cluster, ONLY_ALLOWED), arrived(cluster)
    clear(cluster, unit)


class Found(Api):
    """Where the cgroups of pods are is not configured."""
    placed = False


def test_the_daemonset_on_a_node_that_is_a_container(cluster, start):
    """As in kind. Of the pod on the node's network nothing but its cgroup can be judged."""
    made = [start(name, "sh", "-c", AGAIN, labels={"app": "cart"}, restartPolicy="Always", hostNetwork=name == "host")
            for name in ("own", "host")]
    daemon = daemonset.DaemonSet(cluster)
    for one in made:
        assert sends(cluster, one, ALL)
    mode = Found(daemon)
    for one in made:
        assert sends(cluster, one, ONLY_ALLOWED), mode.kubernetes()
    assert {one["metadata"]["uid"] for one in made} <= {t["pod"]["uid"] for t in daemon.targets() if "pod" in t}
    assert not [w for w in daemon.status()["warnings"] if "NOT ENFORCED" in w]
    mode.close()
