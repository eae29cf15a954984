# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""One cluster for the session: it takes half a minute to come up."""
import os
import pathlib
import shutil
import subprocess

import pytest

import cluster as cluster_module
import daemonset
import leftovers
import probes
from lab import until

PROGRAMS = ("etcd", "containerd", "ctr", "runc", "iptables", "conntrack", "openssl", "/bin/busybox", "dnsmasq", "curl",
            "unshare", "nsenter", "/usr/lib/cni/bridge")


def kubernetes():
    """The folder of its programs; built if this version has not been yet."""
    done = subprocess.run([str(cluster_module.ROOT / "tools" / "build-kubernetes")],
                          stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.fail("tools/build-kubernetes failed")
    return done.stdout.strip()


@pytest.fixture(scope="session")
def cluster():
    if os.geteuid() != 0:
        pytest.skip("starts Kubernetes in namespaces: needs root")
    missing = [program for program in PROGRAMS
               if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    if missing:
        pytest.fail(f"not installed: {' '.join(missing)}: tools/install-deps kubernetes")
    programs = kubernetes()
    with leftovers.folder() as folder:
        made = cluster_module.Cluster(pathlib.Path(folder), programs)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="session")
def daemon(cluster):
    return daemonset.DaemonSet(cluster)


@pytest.fixture(scope="module")
def sluice(daemon):
    """The DaemonSet without a configuration."""
    daemon.reset()
    yield daemon
    daemon.reset()


@pytest.fixture
def start(cluster):
    """start(NAME, COMMAND, labels): the pod once it runs; at the end all are gone."""
    made = []

    def begin(name, *command, **more):
        cluster.apply([cluster_module.pod(name, *command, **more)])
        made.append(cluster.wait(probes.running, "pod", name))
        return made[-1]
    yield begin
    for one in made:
        cluster.delete("pod", one["metadata"]["name"])
    assert until(lambda: all(map(cluster.gone, made)), 120, 0.2)
