# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Cgroups of pods as systemd itself makes them for the kubelet's systemd driver: a systemd of the test's
own, in namespaces, whose root is a cgroup of the test's."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from apilab import Cluster, pod
from apinodelab import web
from lab import cgroup2, until
from ocilab import ALL, NONE, PROBE, SOME, OciHost, removed

SYSTEMD = "/lib/systemd/systemd"
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not os.path.exists(SYSTEMD) or not shutil.which("systemd-run"),
                       reason="needs systemd"),
]
CONFIG = """\
sluiced: 1
kubernetes:
  api: {{server: "{url}", ca: {ca}, token: {token}, name: node-a}}
  cgroup: [/{top}/kubepods.slice, /{top}/kubelet.slice/kubelet-kubepods.slice]
"""
# Process 1 of its namespaces. Of this machine's units it knows none, of its cgroups its own.
ENTER = f"""
mount --make-rprivate /
mount -t tmpfs units /run
mkdir /run/units
printf '[Unit]\\nDefaultDependencies=no\\n' >/run/units/lab.target
umount -l /sys/fs/cgroup
mount -t cgroup2 own /sys/fs/cgroup
export container=sluice-test SYSTEMD_UNIT_PATH=/run/units
exec {SYSTEMD} --system --unit=lab.target --show-status=no --log-target=null
"""
UID = "0c7e1a52-90ab-4d3e-8f11-2b6d5c9a7e01"
STATIC = "5d3a8e4c2f1b09876543210fedcba987"         # of a static pod: a hash


class Machine(OciHost):
    """Its network; its systemd, whose cgroups are below /NAME; pods of a made-up API server."""

    def __init__(self, folder):
        super().__init__("sl-sysd", folder)
        self.top = pathlib.Path(cgroup2()) / self.name
        self.top.mkdir()
        self.cluster = self.within(lambda: Cluster(folder))
        self.cluster.put("namespaces", {"metadata": {"name": "shop", "labels": {}}})
        self.cluster.put("egresspolicies", web(7001))
        (folder / "token").write_text("first\n")
        self.configure(CONFIG.format(url=self.cluster.url, ca=self.cluster.ca, token=folder / "token",
                                     top=self.name))
        self.first = subprocess.Popen(
            [*self.inside, "sh", "-c",
             f'echo $$ >{self.top}/cgroup.procs && exec unshare -mpCf --mount-proc --kill-child '
             'sh -ec "$0"', ENTER], stdin=subprocess.DEVNULL)
        assert until(lambda: self.systemd("systemctl", "is-system-running").stdout == "running\n", 20)

    def systemd(self, *words, **more):
        children = pathlib.Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children")
        pid = children.read_text().split()
        if not pid:
            return subprocess.CompletedProcess(words, 1, "", "")
        return subprocess.run(["nsenter", "-t", pid[0], "-m", "-n", "-p", "-C", *words], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
                              **more)

    def probe(self, slice_name, scope="cri-containerd-0123"):
        """A container of the pod whose slice that is; what its first action says."""
        done = self.systemd("systemd-run", "-qG", "--scope", f"--unit={scope}", f"--slice={slice_name}",
                            sys.executable, "-c", PROBE)
        assert done.returncode == 0, done
        return done.stdout.split()

    def hold(self, slice_name):
        """The pod's slice stays, as the kubelet keeps it, until release."""
        done = self.systemd("systemd-run", "-qG", "-p", "DefaultDependencies=no", f"--slice={slice_name}",
                            "sleep", "1000")
        assert done.returncode == 0, done

    def release(self, slice_name):
        self.systemd("systemctl", "stop", slice_name)

    def pods(self):
        return {p["uid"]: p for p in self.full_status()["kubernetes"]["pods"]}

    def close(self):
        self.cluster.stop()
        if self.daemon:
            self.daemon.close()
        self.sluice("detach", "--all")
        self.first.kill()
        self.first.wait()
        assert until(lambda: all([removed(p) for p, _, _ in os.walk(self.top, topdown=False)])
                     and not self.top.exists())
        super().close()


@pytest.fixture(scope="module", name="machine")
def machine_of_all(tmp_path_factory):
    made = Machine(tmp_path_factory.mktemp("systemd"))
    try:
        yield made
    finally:
        made.close()


def spelt(uid):
    return uid.replace("-", "_")


def told(machine, uid, name="web", app="web"):
    made = pod(name, "10.244.0.200", app=app)
    made["metadata"]["uid"] = uid
    machine.cluster.put("pods", made)


SLICES = [f"kubepods-pod{spelt(UID)}.slice", f"kubepods-burstable-pod{spelt(UID)}.slice",
          f"kubepods-besteffort-pod{spelt(UID)}.slice", f"kubepods-burstable-pod{STATIC}.slice",
          f"kubelet-kubepods-burstable-pod{spelt(UID)}.slice", f"kubelet-kubepods-pod{STATIC}.slice"]


@pytest.mark.parametrize("name", SLICES)
def test_a_pod_of_each_kind(machine, name):
    """Denied until it is known, then its own policy; removed and made again: another one."""
    uid = STATIC if STATIC in name else UID
    machine.arrived()
    assert machine.probe(name) == ALL or machine.daemon
    if not machine.daemon:
        assert machine.arrived() == [2, 2, 2]
        machine.start_daemon()
    ids = []
    for _ in range(2):
        machine.arrived()
        machine.hold(name)
        try:
            assert until(lambda: machine.pods().get(uid, {}).get("state") == "unknown", 20)
            assert machine.probe(name) == NONE and machine.arrived() == [0, 0, 0]
            told(machine, uid)
            assert until(lambda: machine.pods()[uid]["state"] == "judged", 20)
            found = machine.pods()[uid]
            assert found["cgroup"].endswith(f"/{name}")
            assert machine.probe(name) == SOME and machine.arrived() == [0, 2, 0]
            ids += [t["cgroup"] for t in machine.full_status()["targets"] if t.get("pod")]
        finally:
            machine.release(name)
            machine.cluster.delete("pods", "shop/web")
        assert until(lambda: not machine.pods(), 20), machine.pods()
    assert len(ids) == 2 and ids[0] != ids[1]
    assert until(lambda: not [t for t in machine.full_status()["targets"] if t.get("pod")], 20)


def test_a_pod_without_a_veth(machine):
    """Its processes are in no network behind a veth of sluiced's: status says what that leaves open."""
    name = SLICES[0]
    if not machine.daemon:
        machine.start_daemon()
    machine.hold(name)
    try:
        told(machine, UID)
        assert until(lambda: machine.pods().get(UID, {}).get("state") == "judged", 20)
        assert machine.pods()[UID]["veths"] == []
        assert until(lambda: any("pod shop/web: no veth leads" in w
                                 for w in machine.full_status()["warnings"]), 20)
    finally:
        machine.release(name)
        machine.cluster.delete("pods", "shop/web")
    assert until(lambda: not machine.pods(), 20)
    assert not any("no veth leads" in w for w in machine.full_status()["warnings"])
