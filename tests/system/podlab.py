# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A node with a directory of objects: its sluiced's configuration, policies, records."""
import contextlib
import json
import shutil

from crilab import Node
from lab import until
from ocilab import SOME

CONFIG = """\
sluiced: 1
kubernetes:
  cri: {cri}
  directory: {objects}
  cgroup: [/{group}/kubepods, /{group}/kubepods.slice]
  exempt: kube-*
  node: [192.0.2.1, "2001:db8::1"]
audit: [{{file: {audit}}}]
metrics: "unix:{folder}/metrics"
"""
EGRESS = """\
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: {app}}}}}
  rules:
    - allow: {{to: {to}, ports: {ports}{more}}}
      id: {name}
"""


def egress(name="web", app="web", ports="7001", to='[192.0.2.1, "2001:db8::1"]', more=""):
    return EGRESS.format(name=name, app=app, ports=ports, to=to, more=more)


def config(node, more=""):
    return CONFIG.format(cri=node.cri, objects=node.objects, group=node.group, audit=node.audit,
                         folder=node.folder).replace("audit:", f"{more}audit:", 1)


def metrics(node):
    """{family and labels: value} of pods."""
    text = node.run("curl", "-s", "--unix-socket", node.folder / "metrics", "http://x/metrics").stdout
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {k: float(v) for k, v in lines if k.startswith(("sluice_pods", "sluice_targets_left"))}


def put(node, name, text):
    new = node.objects / f".{name}.new"
    new.write_text(text, encoding="utf-8")
    new.rename(node.objects / name)


def records(node, change, uid):
    if not node.audit.exists():
        return []
    lines = map(json.loads, node.audit.read_text().splitlines())
    return [r for r in lines if r["event"] == "pod" and r["change"] == change and
            r["pod"]["uid"] == uid]


def becomes(pod, want):
    said = []
    assert until(lambda: said.append(pod.probe()) or said[-1] == want, 20), (said, want)


def begun(node):
    """sluiced, and a pod of app web that it judges, whose container has begun."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    node.known(pod)
    return pod


@contextlib.contextmanager
def node_of_directory(name, folder, *words):
    with contextlib.closing(Node(name, folder, *words)) as made:
        made.objects = made.folder / "objects"
        made.objects.mkdir()
        made.audit = made.folder / "audit.jsonl"
        yield made


def prepare(node):
    """One policy, and nothing of an earlier test."""
    for path in node.objects.iterdir():
        path.unlink() if not path.is_dir() else shutil.rmtree(path)
    node.audit.unlink(missing_ok=True)
    put(node, "web.yaml", egress())
    node.configure(config(node))
    node.arrived()
