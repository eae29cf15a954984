# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/kubernetes on the cluster: the DaemonSet with the image of this build."""
import json
import os
import pathlib
import re
import time

import image
import settings
from cluster import CTR, ROOT
from lab import SLUICE, until

DEPLOY = ROOT / "deploy" / "kubernetes"
SYSTEM = ("-n", "sluice-system")
SLUICED = "/usr/local/sbin/sluiced"


def config_map(name, files):
    return {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "sluice-system"}, "data": files}


class DaemonSet:
    """Applied as a user would, then configured for this cluster's cgroups."""

    def __init__(self, cluster):
        self.cluster = cluster
        made = os.environ.get("SLUICE_IMAGE")       # an archive of what the Containerfile makes
        if made:
            cluster.run(*CTR, input=pathlib.Path(made).read_bytes(), text=False)
        else:
            cluster.load(settings.SLUICE, image.sluice(pathlib.Path(SLUICE).resolve().parent),
                         Entrypoint=[SLUICED])
        self.deploy(".")

    def deploy(self, folder):
        """As a user would: `kubectl apply -k`. Before configure() the pods of this cluster may be astray."""
        self.cluster.kubectl("apply", "-k", DEPLOY / folder)
        assert until(self.is_up, 120, 0.2), self.cluster.kubectl(*SYSTEM, "describe", "pods").stdout

    def configure(self, text, **policies):
        """sluiced.yaml, and the policies; returns once sluiced has it in force."""
        files = {f"{name}.yaml": policy for name, policy in policies.items()}
        head = "sluiced: 1\npolicies: /etc/sluice-policies\nmetrics: loopback\naudit: [stdout]\n"
        mark = f"# {time.monotonic_ns()}\n"     # so that it always is another one
        self.cluster.apply([config_map("sluice-policies", files)])
        before = self.reloads()
        self.cluster.apply([config_map("sluice", {"sluiced.yaml": head + text + mark})])
        assert until(lambda: self.reloads() > before and self.is_right(), 60, 0.2), self.said()

    def reloads(self):
        return self.status()["daemon"]["config"]["reloads"] if self.is_ready() else -1

    def is_right(self):
        """What sluiced has read is what was applied: files come one by one."""
        wanted = self.cluster.get(*SYSTEM, "configmap", "sluice")["data"]["sluiced.yaml"]
        return self.inside("/bin/cat", "/etc/sluice/sluiced.yaml").stdout == wanted and \
            self.status()["daemon"]["config"]["ok"]

    def inside(self, *words, check=True):
        return self.cluster.kubectl(*SYSTEM, "exec", "ds/sluice", "--", *words, check=check)

    def sluice(self, *words, check=True):
        return self.inside("/usr/local/bin/sluice", *words, check=check)

    def status(self):
        return json.loads(self.sluice("status", "-o", "json").stdout)

    def local_status(self):
        """Without the API server: by the socket on the node."""
        return json.loads(self.cluster.run(SLUICE, "status", "-o", "json").stdout)

    def targets(self, kind="cgroup"):
        return [t for t in self.status()["targets"] if t["attached"] and t["kind"] == kind]

    def records(self, **want):
        """What its log has as JSON, with these values."""
        lines = self.cluster.kubectl(*SYSTEM, "logs", "ds/sluice").stdout.splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [r for r in found if all(r.get(k) == v for k, v in want.items())]

    def said(self):
        return self.cluster.kubectl(*SYSTEM, "logs", "ds/sluice", check=False).stdout[-3000:]

    def is_ready(self):
        status = self.cluster.get(*SYSTEM, "daemonset", "sluice")["status"]
        return status.get("numberReady") == status.get("desiredNumberScheduled") == 1 and \
            status.get("updatedNumberScheduled") == 1

    def is_up(self):
        """The new one alone, and it answers."""
        status = self.cluster.get(*SYSTEM, "daemonset", "sluice")["status"]
        pods = self.cluster.get(*SYSTEM, "pods", "-l", "app.kubernetes.io/name=sluice").get("items", [])
        return status.get("updatedNumberScheduled") == 1 and len(pods) == 1 and \
            self.sluice("status", check=False).returncode == 0

    def exists(self):
        return bool(self.cluster.get(*SYSTEM, "pods", "-l", "app.kubernetes.io/name=sluice"))

    def wait_ready(self):
        if not until(self.is_ready, 120, 0.2):
            raise AssertionError(self.cluster.kubectl(*SYSTEM, "describe", "pods").stdout +
                                 self.sluice("status", "-o", "json", check=False).stdout)

    def pinned(self):
        """Ids of the cgroups of which something is pinned."""
        found = self.cluster.run("find", "/sys/fs/bpf/sluice", check=False).stdout
        return {int(number) for number in re.findall(r"/cgroups/(\d+)$", found, re.MULTILINE)}

    def has_only(self, *pods):
        """Nothing is there but for these pods, its own and what is above all pods."""
        targets = self.targets()
        theirs = {t["pod"]["uid"] for t in targets if "pod" in t}
        wanted = {made["metadata"]["uid"] for made in pods}
        wanted |= {made["metadata"]["uid"] for made in self.cluster.get(*SYSTEM, "pods")["items"]}
        veths = {t.get("pod", {}).get("uid") for t in self.targets("device")}
        return theirs <= wanted and veths <= theirs and {t["cgroup"] for t in targets} == self.pinned() and \
            len(targets) <= len(wanted) + 1

    def reset(self):
        """No configuration, and nothing that one has left."""
        self.configure("")
        self.sluice("detach", "--all")
