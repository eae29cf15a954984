# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the DaemonSet may do: it is enough, and each part of it is needed."""
import copy
import pathlib

import pytest

import settings
from cluster import pod
from daemonset import SLUICED, SYSTEM, config_map
from lab import cgroup2, until

DENY = "sluice: 1\nname: deny\nrules: []\n"


def capability(name):
    return lambda container: container["securityContext"]["capabilities"]["add"].remove(name)


def seccomp(container):
    container["securityContext"]["seccompProfile"] = {"type": "RuntimeDefault"}


def read_only(container):
    next(m for m in container["volumeMounts"] if m["name"] == "bpf")["readOnly"] = True


# What is taken away; whether sluiced then runs and enforces; what it says.
LESS = {
    "whole": (lambda container: None, True, "sluiced: ready; 1 target configured"),
    "bpf": (capability("BPF"), False, "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed"),
    "perfmon": (capability("PERFMON"), False, "the device programs cannot be loaded"),
    "net-admin": (capability("NET_ADMIN"), False, "CAP_NET_ADMIN and CAP_PERFMON are needed"),
    "net-bind-service": (capability("NET_BIND_SERVICE"), False, "cannot give up its privileges"),
    "setpcap": (capability("SETPCAP"), True, "metrics: the server does not start"),
    "setuid": (capability("SETUID"), True, "metrics: the server does not start"),
    "setgid": (capability("SETGID"), True, "metrics: the server does not start"),
    "seccomp": (seccomp, False, "(name_to_handle_at): a seccomp profile refuses that"),
    "read-only-bpf": (read_only, False, "cannot be made: Read-only file system"),
}


class Less:
    """Pods as the DaemonSet's, each with one thing less, on a cgroup of their own."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.group = f"{cluster.cgroup}/less"
        self.spec = cluster.get(*SYSTEM, "daemonset", "sluice")["spec"]["template"]["spec"]
        pathlib.Path(cgroup2() + self.group).mkdir()
        files, pods = {"deny.yaml": DENY}, []
        for port, (name, (change, _, _)) in enumerate(LESS.items(), 9500):
            files[f"{name}.yaml"] = (
                f"sluiced: 1\npolicies: /etc/sluice\nmetrics: 127.0.0.1:{port}\n"
                f"defaults:\n  - {{cgroup: {self.group}, policy: deny}}\n")
            pods.append(self.pod(name, change))
        cluster.apply([config_map("less", files), *pods])

    def pod(self, name, change):
        spec = copy.deepcopy(self.spec)
        container = spec["containers"][0]
        container["command"] = [SLUICED, "-c", f"/etc/sluice/{name}.yaml", "--socket",
                                f"/run/sluice/{name}.sock", "--state", f"/sys/fs/bpf/{name}"]
        del container["readinessProbe"]
        next(v for v in spec["volumes"] if v["name"] == "config")["configMap"]["name"] = "less"
        change(container)
        return {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": f"less-{name}", "namespace": "sluice-system"},
                "spec": {**spec, "restartPolicy": "Never"}}

    def said(self, name):
        return self.cluster.kubectl(*SYSTEM, "logs", f"less-{name}", check=False).stdout

    def attached(self, name):
        return f"sluiced: attached {self.group}: policy deny" in self.said(name)

    def close(self):
        self.cluster.kubectl(*SYSTEM, "delete", "--force", "--grace-period=0", "pods",
                             *(f"less-{name}" for name in LESS))
        for name in LESS:
            self.cluster.run("rm", "-rf", f"/sys/fs/bpf/{name}")


@pytest.fixture(scope="module")
def less(cluster, sluice):
    made = Less(cluster)
    yield made
    made.close()


@pytest.mark.parametrize("name", LESS)
def test_less_would_not_do(less, name):
    _, enforces, says = LESS[name]
    assert until(lambda: says in less.said(name), 60, 0.5), less.said(name)
    assert until(lambda: less.attached(name), 30, 0.5) if enforces else not less.attached(name)
    assert (name == "whole") == ("error: " not in less.said(name))


def test_the_root_is_read_only(sluice):
    done = sluice.inside("/bin/sh", "-c", "echo > /x", check=False)
    assert done.returncode and "Read-only file system" in done.stderr


def test_what_it_has_of_the_node(cluster, sluice):    # pylint: disable=unused-argument
    spec = cluster.get(*SYSTEM, "daemonset", "sluice")["spec"]["template"]["spec"]
    assert spec["priorityClassName"] == "system-node-critical" and spec["hostNetwork"] and spec["hostPID"]
    container, = spec["containers"]
    may = container["securityContext"]
    assert may["privileged"] is False and may["allowPrivilegeEscalation"] is False and may["readOnlyRootFilesystem"]
    assert may["capabilities"]["drop"] == ["ALL"]
    assert set(may["capabilities"]["add"]) == {
        "BPF", "PERFMON", "NET_ADMIN", "NET_BIND_SERVICE", "SETPCAP", "SETUID", "SETGID"}
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    assert {mounts[path]["mountPropagation"] for path in ("/sys/fs/bpf", "/sys/fs/cgroup")} == {"HostToContainer"}
    there = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    there.pop("containerd", None)       # of the variant that asks containerd
    assert there == {
        "bpf": "/sys/fs/bpf", "cgroup": "/sys/fs/cgroup", "run": "/run/sluice"}
    said, = cluster.get(*SYSTEM, "pods", "-l", "app.kubernetes.io/name=sluice")["items"]
    assert said["spec"]["priority"] > 2_000_000_000


def test_a_node_that_takes_no_pods(cluster, sluice):
    """It tolerates every taint: it stays, and comes again; another pod does not."""
    def own():
        pods = cluster.get(*SYSTEM, "pods", "-l", "app.kubernetes.io/name=sluice")["items"]
        return {p["metadata"]["uid"] for p in pods}

    before = own()
    cluster.kubectl("taint", "node", settings.NODE, "sluice.test/away=yes:NoExecute")
    try:
        cluster.apply([pod("untolerated", "sleep", "1000")])
        cluster.wait(lambda made: "taint" in str(made["status"].get("conditions")), "pod", "untolerated")
        assert own() == before
        cluster.kubectl(*SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=sluice")
        assert until(lambda: own() and not own() & before, 60, 0.5)
        sluice.wait_ready()
    finally:
        cluster.delete("pod", "untolerated")
        cluster.kubectl("taint", "node", settings.NODE, "sluice.test/away-")
