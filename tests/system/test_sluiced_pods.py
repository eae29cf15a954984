# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods of containerd's CRI: judged by the objects of a directory, from their first packet on."""
import json
import os
import shutil

import pytest

from crilab import NODE
from lab import until
from ocilab import ALL, NONE, SOME, WIDE
from podlab import becomes, config, egress, put, records
from sluicedlab import SLUICED

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]


def test_without_sluiced_everything_arrives(node):
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == ALL
    assert node.arrived() == [2, 2, 2]


@pytest.mark.parametrize("driver, quality, uid", [
    ("cgroupfs", "besteffort", None), ("cgroupfs", "", None), ("systemd", "burstable", None),
    ("systemd", "", None), ("cgroupfs", "burstable", "5d3a8e4c2f1b09876543210fedcba987")])
def test_first_packet_is_judged(node, driver, quality, uid):
    """The policy is there before the container: what it sends first is judged by it."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"}, driver=driver, quality=quality, uid=uid)
    node.known(pod)
    pod.start()
    assert pod.probe() == SOME
    assert node.arrived() == [0, 2, 0]
    target = next(t for t in node.full_status()["targets"] if t.get("pod") and t["kind"] == "cgroup")
    who = {"namespace": "shop", "name": "web", "uid": pod.uid}
    assert target["pod"] == who
    assert target["name"].endswith(pod.path) and target["policy"] == "shop.web"
    assert [r["policy"] for r in records(node, "judged", pod.uid)] == ["shop.web"]
    lines = map(json.loads, node.audit.read_text().splitlines())
    theirs = [r["target"] for r in lines if r["event"] == "connection" and r["target"]["name"].endswith(pod.path)]
    assert theirs and all(t["pod"] == who for t in theirs), theirs


def test_a_pod_is_denied_until_it_is_known(node):
    """Its cgroup's parent has the default before there is a pod: while the objects cannot be
    read nobody knows its policy."""
    put(node, "web.yaml", "kind: [")
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start(wait=False)
    assert pod.probe() == NONE
    assert node.arrived() == [0, 0, 0]
    node.known(pod, "unknown", name="web")      # the runtime has told who it is
    status = node.full_status()
    assert not status["kubernetes"]["ready"]
    assert any("web.yaml:1:" in w for w in status["warnings"]), status["warnings"]
    put(node, "web.yaml", egress())
    node.known(pod)
    becomes(pod, SOME)


def test_policies_change_and_go(node):
    node.start_daemon()
    pod, other = node.pod(labels={"app": "web"}), node.pod("db", labels={"app": "db"})
    pod.start()
    other.start()
    assert pod.probe() == SOME
    assert other.probe() == ALL         # nothing selects it
    put(node, "db.yaml", egress("db", "db", "7002"))
    becomes(other, ["no", "no", "yes"] * 2)
    put(node, "web.yaml", egress(ports="[7001, 7002]"))
    becomes(pod, WIDE)
    assert other.probe() == ["no", "no", "yes"] * 2
    (node.objects / "web.yaml").unlink()
    becomes(pod, ALL)


SESSIONS = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: sessions, namespace: shop}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 7002}]}]}
"""
ANNOTATION = "sluice.dev/egress-policy"


def application(mode, port, protocol="TCP"):
    return {ANNOTATION: json.dumps({"mode": mode, "rules": [
        {"cidr": to, "port": port, "protocol": protocol} for to in ("192.0.2.1/32", "2001:db8::1/128")]})}


def test_an_annotation_is_the_policy_of_its_pod(node):
    """In the place of NetworkPolicies where the configuration trusts the namespace; where nothing
    selects the pod it needs no trust, since it opens nothing."""
    elsewhere = config(node).replace('  node: [192.0.2.1, "2001:db8::1"]\n', "")   # a pod's node is open
    node.configure(elsewhere)
    node.start_daemon()
    alone = node.pod("alone", annotations=application("allowlist", 7001))
    node.known(alone)
    alone.start()
    assert alone.probe() == SOME
    put(node, "np.yaml", SESSIONS)
    node.known(alone, "refused")
    pod = node.pod("own", annotations=application("allowlist", 7001))
    said = node.known(pod, "refused")
    assert "`annotations`" in said["why"] and "namespace shop" in said["why"], said
    pod.start(wait=False)
    assert pod.probe() == NONE
    assert alone.probe() == SOME        # what it had
    wide = node.pod("wide", annotations=application("denylist", 7001))
    none = node.pod("none", annotations={ANNOTATION: '{"mode": ""}', "note": "x" * 6000})
    node.known(none)
    node.configure(elsewhere.replace("  exempt:", "  annotations: [sh*]\n  exempt:"))
    for one, want in ((wide, ["yes", "no", "yes"] * 2), (none, ["no", "no", "yes"] * 2)):
        node.known(one)
        one.start()
        assert one.probe() == want
    becomes(pod, SOME)
    assert alone.probe() == SOME


def test_an_annotation_that_is_wrong_opens_nothing(node):
    node.start_daemon()
    pod = node.pod("odd", annotations={ANNOTATION: '{"mode": "alowlist"}'})
    assert "alowlist" in node.known(pod, "refused")["why"]
    pod.start(wait=False)
    assert pod.probe() == NONE
    node.pod("long", annotations={ANNOTATION: " " * 70000})     # is left out: not known
    assert until(lambda: node.kubernetes()["runtime"]["unreadable"] == 1), node.kubernetes()
    assert node.kubernetes()["runtime"]["labels"] == "as each pod was made with"


def test_what_is_wrong_changes_nothing(node):
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    peer = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: shop}
spec:
  podSelector: {}
  egress:
    - to: [{podSelector: {matchLabels: {app: db}}}]
"""
    for name, text, place, why in [
            ("peer.yaml", peer, ":7:", "selector of pods"),
            ("port.yaml", peer.replace("to: [{podSelector: {matchLabels: {app: db}}}]",
                                       "ports: [{port: sql}]"), ":7:", 'the port "sql"'),
            ("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", ":1:", "a Pod in a file"),
            ("svc.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", ":1:",
             "a Service in a file"),
            ("spec.yaml", egress("other", "none").replace("allow:", "permit:"), ":7:", "permit")]:
        put(node, name, text)

        def said(name=name, place=place, why=why):
            return any(name + place in w and why in w for w in node.full_status()["warnings"])
        assert until(said), (name, node.full_status())
        assert pod.probe() == SOME and node.kubernetes()["source"]["stale_since"]
        (node.objects / name).unlink()
        assert until(lambda: not node.kubernetes()["source"]["stale_since"])


def test_labels_of_namespaces_are_asked_for_and_not_guessed(node):
    put(node, "all.yaml", """\
apiVersion: sluice.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: prod}
spec:
  namespaceSelector: {matchLabels: {tier: prod}}
  rules: [{allow: "192.0.2.1:7001/tcp"}]
""")
    node.start_daemon()
    pod = node.pod("db", labels={"app": "db"})
    said = node.known(pod, "refused")
    assert "add the Namespace shop to the objects" in said["why"] and "all.yaml:1:1" in said["why"]
    pod.start(wait=False)
    assert pod.probe() == NONE          # the default holds
    put(node, "ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {tier: prod}}\n")
    node.known(pod)
    becomes(pod, ["no", "yes", "no", "no", "no", "no"])


def test_a_mounted_configmap_is_followed(node):
    """As the kubelet's volumes do: files are links, and the link ..data is renamed."""
    (node.objects / "web.yaml").unlink()

    def swap(number, text):
        (node.objects / f"..{number}").mkdir()
        (node.objects / f"..{number}" / "web.yaml").write_text(text)
        (node.objects / "..data_tmp").symlink_to(f"..{number}")
        (node.objects / "..data_tmp").rename(node.objects / "..data")
    swap(1, egress())
    (node.objects / "web.yaml").symlink_to("..data/web.yaml")
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    swap(2, egress(ports="[7001, 7002]"))
    becomes(pod, WIDE)
    assert node.kubernetes()["drift"] == 0


def test_exempt_namespaces_and_the_nodes_network(node):
    node.start_daemon()
    exempt = node.pod("proxy", "kube-system", {"app": "web"})
    host = node.pod("agent", labels={"app": "web"}, network=NODE)
    exempt.start()
    host.start()
    assert exempt.probe() == ALL
    assert host.probe() == SOME         # an EgressPolicy holds there too
    node.known(exempt, "exempt")
    assert node.known(host)["host_network"]
    warnings = [w for w in node.full_status()["warnings"] if "on its node's network" in w]
    assert len(warnings) == 1 and "shop/agent" in warnings[0]


def test_a_default_of_the_administrators(node):
    """Until a pod is known it has that; then its own."""
    put(node, "web.yaml", "kind: [")
    node.put("policies.d/before.yaml", "sluice: 1\nname: before\nrules:\n"
             "  - allow: {to: [192.0.2.1, '2001:db8::1'], ports: 7002}\n")
    node.configure(config(node).replace("  exempt:", "  default: before\n  exempt:"))
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start(wait=False)
    assert pod.probe() == ["no", "no", "yes"] * 2
    put(node, "web.yaml", egress())
    becomes(pod, SOME)


def test_sluice_itself_is_exempt(node, monkeypatch):
    uid = "99999999-2222-3333-4444-555555555555"
    monkeypatch.setitem(node.env, "SLUICE_POD_UID", uid)
    put(node, "web.yaml", "kind: [")    # before anything is known
    node.start_daemon()
    own, other = node.pod("sluice", uid=uid), node.pod("other")
    own.start()
    other.start(wait=False)
    assert own.probe() == ALL and other.probe() == NONE
    node.known(own, "exempt")
    node.known(other, "unknown")


def test_the_configuration_is_refused_with_its_place(node):
    for wrong, said in [("directory: objects", "absolute"), ("cgroup: /kube*", "without patterns"),
                        ("node: here", "address"), ("api: nowhere", "in-cluster"),
                        ("default: none-such", "none-such"), ("sources: x", "sources")]:
        text = f"sluiced: 1\nkubernetes:\n  {wrong}\n"
        if not wrong.startswith(("directory", "api")):
            text += "  directory: /x\n"
        node.configure(text)
        done = node.run(SLUICED, "--check", "-c",
                        node.folder / "etc" / "sluiced.yaml")
        assert done.returncode == 1 and "sluiced.yaml:3:" in done.stderr and said in done.stderr, done
