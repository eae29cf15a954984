# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Where the DaemonSet has its policies from: the API server, or a ConfigMap."""
import json

from daemonset import SYSTEM, config_map
from lab import until
from outside import ALLOWED, HERE4, HERE6

CART = """\
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {name: cart, namespace: default}
spec:
  podSelector: {matchLabels: {app: cart}}
  rules:
    - allow: {to: [%s, "%s"], ports: %s, protocol: tcp}
"""
CART_ANY = CART.replace(", protocol: tcp", "")


class Mode:
    """sluiced knows the pods of this cluster, and one policy: cart."""
    folder = source = ""
    placed = True           # where the cgroups of pods are is configured

    def __init__(self, daemon, more="", folder=None):
        self.daemon, self.cluster = daemon, daemon.cluster
        daemon.deploy(folder or self.folder)
        self.allow(ALLOWED)
        places = f"  cgroup: {self.cluster.pods}\n" if self.placed else ""
        daemon.configure(f"kubernetes:\n  {self.source}\n  exempt: [kube-system]\n{places}{more}")
        assert until(self.is_current, 60, 0.5), self.kubernetes()

    def is_current(self):
        return self.kubernetes()["ready"]

    def allow(self, port):
        self.put(CART % (HERE4, HERE6, port))

    def kubernetes(self):
        return self.daemon.status()["kubernetes"]

    def close(self):
        pass


class Api(Mode):
    folder, source = ".", "api: in-cluster"

    def put(self, text):
        self.cluster.apply(text)

    add = put

    def condition(self, kind):
        policy = self.cluster.get("egp", "cart")
        found = policy.get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == kind and
                     c["observedGeneration"] == policy["metadata"]["generation"]), None)

    def complains(self):
        valid = self.condition("Valid")
        return valid and valid["status"] == "False" and "spec.rules[0].allow" in valid["message"]

    def close(self):
        self.cluster.kubectl("delete", "egp", "--all")


class Directory(Mode):
    folder, source = "directory", "directory: /etc/sluice-objects"

    added = ""

    def put(self, text):
        self.text = text
        self.cluster.apply([config_map("sluice-objects", {"o.yaml": text, "more.yaml": self.added})])

    def add(self, text):
        """Beside what is put."""
        self.added = text
        self.put(self.text)

    def complains(self):
        return "o.yaml" in json.dumps(self.kubernetes()["source"])


def send_away(daemon):
    """No node is to have it."""
    patch(daemon, '"yes"')
    assert until(lambda: not daemon.exists(), 60, 0.5)


def call_back(daemon):
    patch(daemon, "null")
    daemon.wait_ready()


def patch(daemon, value):
    daemon.cluster.kubectl(*SYSTEM, "patch", "daemonset", "sluice", "-p",
                           '{"spec": {"template": {"spec": {"nodeSelector": {"nowhere": %s}}}}}' % value)
