# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Objects of Kubernetes as texts, what convert makes of them, and what that allows."""
from cli_tools import lines_of, sluice

BASE = """\
apiVersion: v1
kind: Namespace
metadata: {name: x, labels: {team: red}}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x, labels: {app: a}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}], hostIP: 192.168.0.1}
"""
LINES = BASE.count("\n")


def netpol(*egress, name="one", head=""):
    """A NetworkPolicy of nine lines, whose egress rules stand one in each further line."""
    rules = "".join(f"  - {rule}\n" for rule in egress)
    return (f"---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
            f"metadata: {{name: {name}, namespace: x}}\nspec:\n  podSelector: {{}}\n{head}  egress:\n{rules}")


def own(spec, kind="EgressPolicy", name="mine"):
    return (f"---\napiVersion: sluice.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: x}}\n"
            f"spec:\n{spec}")


def convert(text, pod="x/a"):
    return sluice("convert", "--from", "kubernetes", "--pod", pod, input=text)


def converted(text, pod="x/a"):
    result = convert(text, pod)
    assert result.returncode == 0, result.stderr
    assert sluice("fmt", "--check", "-", input=result.stdout).returncode == 0
    return result.stdout


def verdicts(text, write, *flows):
    path = write(text, "converted.yaml")
    return [lines_of(sluice("explain", "-p", path, flow, "-o", "json"))[0]["verdict"] for flow in flows]


WEB = """\
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, "fd00:96::7"], ports: [{port: 80, name: http}]}
"""

SERVICE = WEB + """\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: x, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080, name: http}]
endpoints:
- {addresses: [10.0.0.5], conditions: {ready: true}}
- {addresses: [10.1.0.5], conditions: {ready: MIXED}}
"""


MIXED = WEB + "".join(f"""\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-{family}, namespace: x, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
ports: [{{port: 8080, name: http}}]
endpoints: [{{addresses: ["{one}"]}}, {{addresses: ["{two}"], conditions: CONDITIONS}}]
""" for family, one, two in (("IPv4", "10.0.0.5", "10.1.0.5"), ("IPv6", "fd00::5", "fd00:1::5")))
FAMILIES = {"IPv4": ("10.96.0.7:80", "10.0.0.0/24", "10.1.0.0/24"),
            "IPv6": ("[fd00:96::7]:80", "fd00::/64", "fd00:1::/64")}
