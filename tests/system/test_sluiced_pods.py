# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods of containerd's CRI: judged by the objects of a directory, from their first packet on."""
import json
import os
import shutil
import signal

import pytest

from crilab import NODE, Node
from lab import until
from ocilab import ALL, NONE, PROBE, SOME, removed
from sluicedlab import SLUICED

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]
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
    - allow: {{to: [192.0.2.1, "2001:db8::1"], ports: {ports}}}
      id: {name}
"""
WIDE = ["no", "yes", "yes"] * 2


def egress(name="web", app="web", ports="7001"):
    return EGRESS.format(name=name, app=app, ports=ports)


@pytest.fixture(scope="module", name="machine")
def machine_of_all(tmp_path_factory):
    made = Node("sl-pod", tmp_path_factory.mktemp("pods"))
    made.objects = made.folder / "objects"
    made.objects.mkdir()
    made.audit = made.folder / "audit.jsonl"
    try:
        yield made
    finally:
        made.close()


def config(node, more=""):
    return CONFIG.format(cri=node.cri, objects=node.objects, group=node.group, audit=node.audit,
                         folder=node.folder).replace("audit:", f"{more}audit:", 1)


def metrics(node):
    """{family and labels: value} of pods."""
    text = node.run("curl", "-s", "--unix-socket", node.folder / "metrics", "http://x/metrics").stdout
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {k: float(v) for k, v in lines if k.startswith(("sluice_pods", "sluice_targets_left"))}


@pytest.fixture
def node(machine):
    """sluiced with one policy; no pod before and none after."""
    for path in machine.objects.iterdir():
        path.unlink() if not path.is_dir() else shutil.rmtree(path)
    put(machine, "web.yaml", egress())
    machine.configure(config(machine))
    machine.arrived()
    yield machine
    for pod in list(machine.pods):
        pod.remove()
    if machine.daemon:
        machine.daemon.close()
        machine.daemon = None
    machine.sluice("detach", "--all")


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


def test_the_end_of_a_pod_leaves_nothing(node):
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    node.known(pod)
    want = {'sluice_pods{state="judged"}': 1, 'sluice_pods{state="unknown"}': 0,
            'sluice_pods{state="ending"}': 0, "sluice_targets_left": 0, "sluice_pods_stale": 0,
            "sluice_pods_ended_total": 0, "sluice_pods_drift_total": 0}
    assert until(lambda: want.items() <= metrics(node).items()), metrics(node)
    pod.remove()
    assert until(lambda: records(node, "ended", pod.uid), 30)
    want.update({'sluice_pods{state="judged"}': 0, "sluice_pods_ended_total": 1})
    assert until(lambda: want.items() <= metrics(node).items()), metrics(node)
    ended = records(node, "ended", pod.uid)
    assert len(ended) == 1 and ended[0]["pod"]["name"] == "web"
    assert (ended[0]["allowed"], ended[0]["denied"]) == (2, 4) and ended[0]["tx_bytes"] > 0
    said = node.kubernetes()
    assert said["pods"] == [] and said["left"] == 0 and said["ready"]
    assert {t["policy"] for t in node.full_status()["targets"]} == {"pods-until-known"}
    # of the same name, with another label: another pod
    other = node.pod(labels={"app": "db"})
    other.start()
    assert other.probe() == ALL
    node.known(other)


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


def test_pods_that_ran_before_are_listed_and_judged(node):
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == ALL
    node.start_daemon()
    becomes(pod, SOME)
    assert node.known(pod)["open_s"] > 0
    assert any("before anything judged it" in w for w in node.full_status()["warnings"])
    # a restart of sluiced is none of the pod's
    was = node.known(pod)["open_s"]
    node.kill_daemon()
    assert pod.probe() == SOME
    node.start_daemon()
    assert node.known(pod)["open_s"] == was
    later = node.pod("later", labels={"app": "web"})
    assert node.known(later)["open_s"] == 0


def test_pods_that_end_while_sluiced_is_down_leave_nothing(node):
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    node.known(pod)
    node.kill_daemon()
    pod.remove()
    node.start_daemon()
    assert until(lambda: node.kubernetes()["left"] == 0, 30), node.full_status()
    assert node.kubernetes()["pods"] == []


def test_a_runtime_that_is_away(node):
    """What is known goes on; what is new is denied; all is well once it answers again."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    node.known(pod)
    node.runtime.close()
    unknown = node.top / "kubepods" / "besteffort" / "pod11111111-2222-3333-4444-555555555555"
    unknown.mkdir()
    try:
        assert until(lambda: any(str(node.cri) in w for w in node.full_status()["warnings"]))
        assert pod.probe() == SOME and not node.kubernetes()["ready"]
    finally:
        unknown.rmdir()
    node.start_runtime()
    assert until(lambda: node.kubernetes()["ready"], 40), node.full_status()


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


def test_a_named_section_that_goes_leaves_pods_as_they_are(node):
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    node.known(pod)
    node.configure("sluiced: 1\n")
    assert until(lambda: node.kubernetes() is None)
    assert pod.probe() == SOME
    assert any(pod.path in w and "until `sluice detach`" in w for w in node.full_status()["warnings"])
    node.configure(config(node))
    put(node, "web.yaml", egress(ports="[7001, 7002]"))
    becomes(pod, WIDE)


@pytest.mark.parametrize("restart", [False, True], ids=["goes-on", "starts-anew"])
def test_pods_where_the_configuration_has_none_any_more(node, restart):
    """As when the base's sluiced.yaml takes the place of one with `cgroup`: nothing opens, the node is
    not ready, and it is said where and what to do; also by a sluiced that starts so."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start()
    assert pod.probe() == SOME
    node.known(pod)
    places = f"[/{node.group}/kubepods, /{node.group}/kubepods.slice]"
    node.configure(config(node).replace(places, f"/{node.group}/elsewhere"))

    def says():
        said = node.full_status()
        found = [w for w in said["warnings"] if f"/{node.group}/kubepods: an earlier "
                 "configuration had pods there" in w]    # there may be a kubepods.slice, too
        return len(found) == 1 and not said["kubernetes"]["ready"]
    assert until(says, 20), (node.full_status()["warnings"], node.kubernetes())
    later = node.pod("later", labels={"app": "web"})
    later.start(wait=False)
    assert later.probe() == NONE and pod.probe() == SOME
    if restart:
        node.kill_daemon()
        node.start_daemon()
    assert until(says, 20), (node.full_status()["warnings"], node.kubernetes())
    node.configure(config(node))
    node.known(later)
    becomes(later, SOME)
    put(node, "web.yaml", egress(ports="[7001, 7002]"))
    becomes(pod, WIDE)                  # which is followed again
    if restart:                         # it made that place as it started, and no pod was ever there
        assert removed(node.top.parent / node.group / "elsewhere")
    assert until(lambda: node.kubernetes()["ready"], 20) and not says()
    assert until(lambda: not any("earlier configuration" in w for w in node.full_status()["warnings"]), 20)


def test_what_a_pod_makes_below_itself_is_the_pods(node):
    """A container runtime in a pod, with a kubepods of its own, by either driver: the pod's policy."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    inner = "99999999-8888-7777-6666-555555555555"
    node.known(pod)
    for below in (f"kubepods/besteffort/pod{inner}/c",
                  "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
                  f"kubelet-kubepods-besteffort-pod{inner.replace('-', '_')}.slice/cri-containerd-c.scope"):
        top = node.top.parent / pod.path.lstrip("/")
        (top / "c" / below).mkdir(parents=True)
        node.arrived()
        done = node.run("sh", "-c", f'echo $$ >{top}/c/{below}/cgroup.procs && exec python3 -c "$0"', PROBE)
        assert done.stdout.split() == SOME, done
        assert node.arrived() == [0, 2, 0]
        assert [p["uid"] for p in node.kubernetes()["pods"]] == [pod.uid]


def test_a_node_that_is_a_container(node):
    """kind: the kubelet's root is a cgroup of its own, in a container's; by both drivers."""
    top = f"/{node.group}/node-1"
    places = [f"{top}/kubelet/kubepods", f"{top}/kubelet.slice/kubelet-kubepods.slice"]
    node.configure(config(node).replace(f"/{node.group}/kubepods, /{node.group}/kubepods.slice",
                                        ", ".join(places)))
    node.start_daemon()
    uid = "0c7e1a52-90ab-4d3e-8f11-2b6d5c9a7e01"
    slices = "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod"
    for at in (f"{places[0]}/burstable/pod{uid}",
               f"{places[1]}/{slices}{uid.replace('-', '_')}.slice"):
        made = node.top.parent / f"{at.lstrip('/')}/c"
        node.arrived()
        made.mkdir(parents=True)
        try:
            assert until(lambda at=at: [p["cgroup"] for p in node.kubernetes()["pods"]] == [at], 20)
            found = node.kubernetes()["pods"][0]
            assert found["uid"] == uid and found["state"] == "unknown"
            done = node.run("sh", "-c", f'echo $$ >{made}/cgroup.procs && exec python3 -c "$0"', PROBE)
            assert done.stdout.split() == NONE and node.arrived() == [0, 0, 0], done
        finally:
            for path in (made, made.parent):
                assert until(lambda path=path: removed(path))
        assert until(lambda: not node.kubernetes()["pods"], 20)


def test_the_cgroup_above_all_pods_is_there_before_a_kubelet_makes_it(node):
    """What starts in it, or below it, is judged though sluiced has no time to see that it does; first without."""
    top = node.top.parent / node.group / "node-2"
    places = [top / "kubepods", top / "kubepods.slice"]

    def sent(*below):
        made = places[0].joinpath(*below)
        made.mkdir(parents=True, exist_ok=True)
        node.arrived()
        done = node.run("sh", "-c", f'echo $$ >{made}/cgroup.procs && exec python3 -c "$0"', PROBE)
        return done.stdout.split(), node.arrived()

    try:
        assert sent() == (ALL, [2, 2, 2])
        for path in (places[0], top):
            assert until(lambda path=path: removed(path))
        node.configure(config(node).replace(f"{node.group}/kubepods", f"{node.group}/node-2/kubepods"))
        node.start_daemon()
        assert [p.is_dir() for p in places] == [True, False]    # a slice is systemd's to make
        node.daemon.signal(signal.SIGSTOP)
        try:
            assert sent() == (NONE, [0, 0, 0])
            assert sent("besteffort", "pod1", "c") == (NONE, [0, 0, 0])
        finally:
            node.daemon.signal(signal.SIGCONT)
    finally:
        for path in (*(places[0].joinpath(*("besteffort", "pod1", "c")[:n]) for n in (3, 2, 1, 0)), top):
            assert until(lambda path=path: not path.exists() or removed(path))


def test_no_other_cgroup_is_made_where_one_for_pods_is_there(node):
    top = node.top.parent / node.group / "node-3"
    (top / "kubepods.slice").mkdir(parents=True)
    try:
        node.configure(config(node).replace(f"{node.group}/kubepods", f"{node.group}/node-3/kubepods"))
        node.start_daemon()
        assert not (top / "kubepods").exists()
    finally:
        for path in (top / "kubepods.slice", top):
            assert until(lambda path=path: removed(path))


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
