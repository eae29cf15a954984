# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods of containerd's CRI, judged by what an API server says, which is made up (apilab.py)."""
import contextlib
import json
import subprocess
import os
import shutil
import socket
import time
import types
import uuid

import pytest

from apilab import Cluster, netpol
from crilab import NODE, Node
from lab import until
from ocilab import ALL, NONE, SOME, WIDE

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]
CONFIG = """\
sluiced: 1
kubernetes:
  api: {{server: "{url}", ca: {ca}, token: {token}, name: node-a}}
  cgroup: [/{group}/kubepods, /{group}/kubepods.slice]
  exempt: kube-*
metrics: unix:{metrics}
audit: [{{file: {audit}}}]
"""
HOSTS = ("192.0.2.1", "2001:db8::1")


def web(*ports, name="web", app="web"):
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {
        "podSelector": {"matchLabels": {"app": app}},
        "rules": [{"allow": {"to": list(HOSTS), "ports": list(ports)}, "id": name}]}}


@pytest.fixture(scope="module", name="machine")
def machine_of_all(tmp_path_factory):
    with contextlib.closing(Node("sl-api", tmp_path_factory.mktemp("api"))) as made:
        yield made


@pytest.fixture
def node(machine, tmp_path):
    machine.cluster = machine.within(lambda: Cluster(tmp_path))
    machine.cluster.put("namespaces", {"metadata": {"name": "shop", "labels": {"tier": "prod"}}})
    machine.cluster.put("egresspolicies", web(7001))
    machine.token = tmp_path / "token"
    machine.token.write_text("first\n")
    machine.metrics = tmp_path / "m"
    machine.configure(CONFIG.format(url=machine.cluster.url, ca=machine.cluster.ca, token=machine.token,
                                    group=machine.group, metrics=machine.metrics,
                                    audit=tmp_path / "audit.jsonl"))
    machine.arrived()
    yield machine
    machine.clear()
    machine.cluster.stop()


def told(node, pod, since=None, **labels):
    """The object of a pod, as its node's kubelet reports it; taken up at that time."""
    start = {"startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))} if since else {}
    node.cluster.put("pods", {
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "labels": labels},
        "spec": {"nodeName": "node-a", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": "10.244.0.200", "hostIP": "10.9.9.9",
                   "startTime": "2020-01-01T00:00:00Z", **start}})     # which a start of the node does not change


def begun(node):
    """sluiced, and a pod of app web that it judges, whose container has begun."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    told(node, pod, app="web")
    node.known(pod)
    pod.start(wait=False)
    return pod


def up_again(node):
    node.within(lambda: node.cluster.start(node.cluster.port))


def becomes(pod, want):
    said = []
    assert until(lambda: said.append(pod.probe()) or said[-1] == want, 20), (said, want)


def current(node):
    return until(lambda: not node.kubernetes()["source"]["stale_since"], 30)


def scrape(node):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(node.metrics))
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        data = b""
        while part := sock.recv(65536):
            data += part
    return dict(line.rsplit(" ", 1) for line in data.decode().splitlines() if line.startswith("sluice_kube"))


def test_judged_from_the_first_packet(node):
    pod = begun(node)
    assert pod.probe() == SOME
    assert node.arrived() == [0, 2, 0]
    source = node.kubernetes()["source"]
    assert source["kind"] == "api" and source["api"]["complete"] and not source["stale_since"]
    assert node.kubernetes()["runtime"] is None and node.kubernetes()["ready"]
    # labels and policies are followed, which a directory cannot do
    told(node, pod, app="other")
    becomes(pod, ALL)
    told(node, pod, app="web")
    becomes(pod, SOME)
    node.cluster.put("egresspolicies", web(7001, 7002))
    becomes(pod, WIDE)
    node.cluster.delete("egresspolicies", "shop/web")
    becomes(pod, ALL)


def test_how_long_a_pod_was_open(node):
    """It is from its first process on that it could send."""
    early = node.pod("early", labels={"app": "web"})
    early.start()
    assert early.probe() == ALL
    node.start_daemon()
    late = node.pod("late", labels={"app": "web"})
    for pod in (early, late):
        told(node, pod, app="web")
    node.known(late)
    late.start(wait=False)
    assert late.probe() == SOME
    becomes(early, SOME)
    assert node.known(late)["open_s"] == 0
    assert 0 < node.known(early)["open_s"] < 100
    listed = [w for w in node.full_status()["warnings"] if "before anything judged it" in w]
    assert len(listed) == 1 and "shop/early" in listed[0], listed


def test_a_pod_that_the_server_has_not_named_is_denied(node):
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    pod.start(wait=False)
    assert pod.probe() == NONE and node.arrived() == [0, 0, 0]
    node.known(pod, "unknown")
    told(node, pod, app="web")
    node.known(pod)
    becomes(pod, SOME)


def test_nothing_is_opened_before_all_kinds_are_known(node):
    """A NetworkPolicy that nobody has listed yet may forbid what an EgressPolicy's absence allows."""
    node.cluster.forbidden = {"networkpolicies"}
    node.start_daemon()
    pod = node.pod("free", labels={"app": "free"})
    told(node, pod, app="free")
    pod.start(wait=False)
    assert pod.probe() == NONE
    assert until(lambda: any("list networkpolicies: not allowed (403)" in w and "deploy/kubernetes" in w
                             for w in node.full_status()["warnings"]))
    assert pod.probe() == NONE and node.arrived() == [0, 0, 0]
    assert until(lambda: scrape(node)["sluice_kubernetes_up"] == "0")
    node.cluster.forbidden = set()
    becomes(pod, ALL)


def test_peers_and_services_of_other_nodes(node):
    node.cluster.put("pods", {"metadata": {"name": "db", "namespace": "shop", "uid": "u-db", "labels": {"app": "db"}},
                              "spec": {"nodeName": "node-b", "containers": [{"name": "c"}]},
                              "status": {"podIPs": [{"ip": ip} for ip in HOSTS], "hostIP": "10.9.9.8"}})
    node.cluster.put("networkpolicies", netpol("np", {
        "to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 7002}]}, app="front"))
    node.start_daemon()
    pod = node.pod("front", labels={"app": "front"})
    told(node, pod, app="front")
    node.known(pod)
    pod.start(wait=False)
    assert pod.probe() == ["no", "no", "yes"] * 2
    node.cluster.delete("pods", "shop/db")
    becomes(pod, NONE)


def test_a_service_that_is_denied_is_named(node):
    """One of its two ready endpoints is not allowed: the ClusterIP is denied, and status says which and why."""
    node.cluster.put("services", {"metadata": {"name": "both", "namespace": "shop"},
                                  "spec": {"clusterIP": "192.0.2.1", "ports": [{"port": 7001}]}})
    node.cluster.put("endpointslices", {
        "metadata": {"name": "both-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "both"}},
        "addressType": "IPv4", "ports": [{"port": 7001}],
        "endpoints": [{"addresses": [a]} for a in ("10.8.0.1", "10.8.0.2")]})
    node.cluster.put("networkpolicies", netpol("np", {"to": [{"ipBlock": {"cidr": "10.8.0.1/32"}}]}, app="front"))
    node.start_daemon()
    pod = node.pod("front", labels={"app": "front"})
    told(node, pod, app="front")
    node.known(pod)
    pod.start(wait=False)
    assert pod.probe() == NONE

    def named():
        status = node.full_status()
        said, = status["kubernetes"]["pods"]
        warnings = [w for w in status["warnings"] if "Service shop/both" in w]
        assert len(warnings) == len(said["partly"]) <= 1, status
        return said["partly"] and said["partly"][0] in warnings[0] and warnings[0]
    assert until(named, 10), str([node.full_status()["warnings"], node.kubernetes()["pods"]])
    assert "192.0.2.1 port 7001/tcp" in named() and "1 of its 2 ready endpoints" in named() and "10.8.0.2" in named()
    node.cluster.put("networkpolicies", netpol("np", {"to": [{"ipBlock": {"cidr": "10.8.0.0/24"}}]}, app="front"))
    assert until(lambda: not named(), 10), node.full_status()
    becomes(pod, ["no", "yes", "no", "no", "no", "no"])


def test_the_server_is_away(node):
    """What is enforced stays so; since when and why is said; sluiced may die meanwhile."""
    pod = begun(node)
    assert pod.probe() == SOME
    assert until(lambda: scrape(node)["sluice_kubernetes_up"] == "1")
    node.cluster.stop()
    assert until(lambda: node.kubernetes()["source"]["stale_since"])
    assert until(lambda: any("cannot be reached" in w for w in node.full_status()["warnings"]))
    assert pod.probe() == SOME
    assert until(lambda: scrape(node)["sluice_kubernetes_up"] == "0")     # a text is a second old at most
    numbers = scrape(node)
    assert float(numbers["sluice_kubernetes_stale_since_timestamp_seconds"]) > 1e9
    assert numbers['sluice_kubernetes_objects{kind="pods"}'] == "1"
    assert any(name.startswith("sluice_kubernetes_failures_total") for name in numbers)
    node.kill_daemon()
    assert pod.probe() == SOME
    node.start_daemon()
    assert pod.probe() == SOME          # pinned, and not given up for what nobody can ask
    node.cluster.put("egresspolicies", web(7001, 7002))
    up_again(node)
    becomes(pod, WIDE)
    assert current(node)


def test_its_own_namespace_is_deleted(node, monkeypatch):
    """`kubectl delete -k` takes the definitions of our objects along, and each policy with them: what was
    in force stays. Another namespace may go."""
    monkeypatch.setitem(node.env, "POD_NAMESPACE", "sluice-system")
    for name in ("sluice-system", "other"):
        node.cluster.put("namespaces", {"metadata": {"name": name}})
    pod = begun(node)
    assert pod.probe() == SOME
    node.cluster.put("namespaces", {"metadata": {"name": "other", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    node.cluster.delete("namespaces", "/other")
    node.cluster.put("egresspolicies", web(7001, 7002))
    becomes(pod, WIDE)
    node.cluster.put("egresspolicies", web(7001))
    becomes(pod, SOME)
    node.cluster.put("namespaces", {"metadata": {"name": "sluice-system", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    node.cluster.delete("egresspolicies", "shop/web")
    assert until(lambda: node.kubernetes()["source"]["stale_since"], 30)
    time.sleep(2)
    assert pod.probe() == SOME
    assert any("sluice-system, of sluiced itself, is being deleted" in w for w in node.full_status()["warnings"])
    late = node.pod("late", labels={"app": "web"})
    told(node, late, app="web")
    late.start(wait=False)
    assert late.probe() == NONE


def test_a_wrong_token(node):
    node.token.write_text("not-it\n")
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    told(node, pod, app="web")
    assert until(lambda: any(f"does not know the token in {node.token} (401)" in w
                             for w in node.full_status()["warnings"])), node.full_status()["warnings"]
    pod.start(wait=False)
    assert pod.probe() == NONE
    assert until(lambda: 'sluice_kubernetes_failures_total{kind="apis",reason="token"}' in scrape(node))
    node.token.write_text("first\n")
    becomes(pod, SOME)


def test_a_server_by_name(node):
    """Looked up by threads of a sluiced that has given up its privileges."""
    path = node.folder / "etc" / "sluiced.yaml"
    path.write_text(path.read_text().replace("127.0.0.1", "localhost"))
    pod = begun(node)
    assert pod.probe() == SOME
    assert node.kubernetes()["source"]["api"]["server"] == f"https://localhost:{node.cluster.port}"


def test_status_of_a_policy(node):
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    told(node, pod, app="web")
    node.known(pod)

    def condition(type_):
        status = node.cluster.objects["egresspolicies"]["shop/web"].get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == type_), {})
    assert until(lambda: condition("Enforced").get("message") == "on 1 nodes, 1 pods", 30), condition("Enforced")
    assert condition("Enforced")["status"] == condition("Valid")["status"] == "True"
    # one that is wrong: the pod keeps what it had, and its policy says where
    node.cluster.put("egresspolicies", {**web(7001), "spec": {**web(7001)["spec"], "rules": [{"allow": "x:y"}]}})
    assert until(lambda: condition("Valid").get("status") == "False", 30)
    assert "EgressPolicy shop/web spec.rules[0].allow" in condition("Valid")["message"]
    assert condition("Enforced")["reason"] == "Invalid"
    pod.start(wait=False)
    assert pod.probe() == SOME
    assert node.known(pod, "refused")["why"].startswith("EgressPolicy shop/web spec.rules[0].allow: ")


def base(*rules, **more):
    return {"metadata": {"name": "base"}, "spec": {"rules": list(rules), **more}}


def condition_of(node, kind, name, type_):
    status = node.cluster.objects[kind][name].get("status", {})
    return next((c for c in status.get("conditions", []) if c["type"] == type_), {})


def test_a_pod_that_is_known_before_it_has_a_process(node):
    """Its @resolvers are those of its own resolv.conf as soon as it has one, though no device comes with it: it
    is on its node's network."""
    node.cluster.put("egresspolicies", {**web(7001), "spec": {**web(7001)["spec"], "rules": [
        {"allow": {"to": "@resolvers", "ports": 7001}}]}})
    node.start_daemon()
    uid = str(uuid.uuid4())
    path = node.cgroup_of(uid, "cgroupfs", "besteffort")
    (node.top.parent / path.lstrip("/")).mkdir(parents=True)
    early = types.SimpleNamespace(name="web", namespace="shop", uid=uid)
    told(node, early, app="web")
    node.known(early)
    time.sleep(2)       # what the start's news of addresses makes it look at is over
    pod = node.pod(labels={"app": "web"}, uid=uid, network=NODE, resolvers=HOSTS)
    pod.start(wait=False)
    becomes(pod, SOME)


def test_partly(node):
    """A clause that does nothing is named in the status of its object; the rest is in force."""
    node.cluster.put("egresspolicies", {**web(7001), "spec": {**web(7001)["spec"], "mode": "audit"}})
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": list(HOSTS), "ports": 9}}))
    pod = begun(node)
    assert pod.probe() == SOME

    def is_so(kind, name, reason, *words):
        enforced = condition_of(node, kind, name, "Enforced")
        return (enforced.get("status"), enforced.get("reason")) == ("True", reason) and \
            all(word in enforced["message"] for word in words)
    assert until(lambda: is_so("egresspolicies", "shop/web", "Partly", "on 1 nodes, 1 pods; partly: spec.mode", '"mode"'),
                 30), condition_of(node, "egresspolicies", "shop/web", "Enforced")
    assert until(lambda: is_so("clusteregresspolicies", "/base", "Enforced"), 30)
    # a policy that no veth can have says so, whoever's it is
    node.cluster.put("egresspolicies", web(7001))
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": list(HOSTS), "ports": 9}}, mode="audit"))
    for kind, name in (("egresspolicies", "shop/web"), ("clusteregresspolicies", "/base")):
        assert until(lambda k=kind, n=name: is_so(k, n, "Partly", "not at the veth", "audit mode"), 30), \
            condition_of(node, kind, name, "Enforced")
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": list(HOSTS), "ports": 9}}))
    for kind, name in (("egresspolicies", "shop/web"), ("clusteregresspolicies", "/base")):
        assert until(lambda k=kind, n=name: is_so(k, n, "Enforced"), 30), condition_of(node, kind, name, "Enforced")


WEB = web(7001, 7002)
# what whoever writes objects of a namespace can get wrong there, and how it is mended
WRONG = {
    "a rule": ("egresspolicies", {**WEB, "spec": {**WEB["spec"], "rules": [{"allow": "x:y"}]}}),
    "a set that it has not": ("egresspolicies", {**WEB, "spec": {**WEB["spec"], "rules": [
        {"allow": "@others"}]}}),
    "a selector": ("egresspolicies", {**WEB, "spec": {**WEB["spec"], "podSelector": {"matchLabels": 5}}}),
    "a setting twice": ("egresspolicies", {
        "metadata": {"name": "second", "namespace": "shop"}, "spec": {"mode": "enforce", "rules": []}}),
    "a profile twice": ("egresspolicies", {**WEB, "spec": {**WEB["spec"], "rules": [
        {"include": "profile/npm"}, {"include": "profile/npm"}]}}),
    "a NetworkPolicy": ("networkpolicies", netpol("np", {"ports": [{"port": "seven"}, {"port": -1}]}, app="web")),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_namespace_cannot_hold_back_the_cluster(node, what):
    """Its objects are wrong, and pods keep what they had: but for what the cluster's say since then."""
    node.cluster.put("egresspolicies", {**WEB, "spec": {"mode": "enforce", **WEB["spec"]}})
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": list(HOSTS), "ports": 9}}))
    pod = begun(node)
    assert pod.probe() == WIDE
    kind, wrong = WRONG[what]
    node.cluster.put(kind, wrong)
    assert node.known(pod, "refused")["why"]
    assert pod.probe() == WIDE  # the cluster's are as they were
    node.cluster.put("clusteregresspolicies", base(
        {"deny": {"to": "@ours", "ports": 7001}, "id": "web"}, {"allow": {"to": "@ours", "ports": 7003}},
        sets={"ours": list(HOSTS)}))
    becomes(pod, ["yes", "no", "no"] * 2)  # these, and nothing of the namespace's
    assert node.known(pod, "refused")["why"]
    assert until(lambda: condition_of(node, "clusteregresspolicies", "/base", "Enforced").get("status") == "True", 30)
    # another pod gets the same; without the cluster's it is as ever: it has the default
    late = node.pod("late", labels={"app": "web"})
    told(node, late, app="web")
    node.known(late, "refused")
    late.start(wait=False)
    assert late.probe() == ["yes", "no", "no"] * 2
    if wrong["metadata"]["name"] == "web":
        node.cluster.put(kind, {**WEB, "spec": {"mode": "enforce", **WEB["spec"]}})
    else:
        node.cluster.delete(kind, f"shop/{wrong['metadata']['name']}")
    node.known(pod)
    becomes(pod, ["yes", "no", "yes"] * 2)
    becomes(late, ["yes", "no", "yes"] * 2)


def without_gateway(node, pod):
    """The pod's network namespace has routes to our hosts, and no default route."""
    pid = next(pid for path in (node.top.parent / pod.path.lstrip("/")).rglob("cgroup.procs") for pid in path.read_text().split())
    for family, host in zip(("-4", "-6"), HOSTS):
        ip = lambda *words, f=family: subprocess.run(["nsenter", "-t", pid, "-n", "ip", f, *words], check=True,
                                                     capture_output=True, text=True).stdout
        default = json.loads(ip("-j", "route", "show", "default"))[0]
        ip("route", "add", host, "via", default["gateway"], "dev", default["dev"])
        ip("route", "del", "default")


def test_what_cannot_be_given_there_holds_back_nothing(node):
    """An EgressPolicy is right, and means nothing for this pod: its network has no gateway (which a container with the
    right to can bring about). It keeps what it had, and what the cluster's say since then holds."""
    node.cluster.put("egresspolicies", WEB)
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": list(HOSTS), "ports": 9}}))
    pod = begun(node)
    assert pod.probe() == WIDE
    without_gateway(node, pod)
    node.cluster.put("egresspolicies", {**WEB, "spec": {**WEB["spec"], "rules": [
        *WEB["spec"]["rules"], {"allow": {"to": "@gateway", "ports": 7002}}]}})
    assert "gateway" in node.known(pod, "refused")["why"]
    assert pod.probe() == WIDE
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": list(HOSTS), "ports": 7001}, "id": "web"}, {
        "allow": {"to": list(HOSTS), "ports": 7003}}))
    becomes(pod, ["yes", "no", "no"] * 2)
    assert "gateway" in node.known(pod, "refused")["why"]
    node.cluster.put("egresspolicies", WEB)
    node.known(pod)
    becomes(pod, ["yes", "no", "yes"] * 2)


def test_two_that_contradict_each_other(node):
    """Nothing of the cluster's selects the pod, which is new: it has the default, and both say so."""
    for name in ("web", "second"):
        node.cluster.put("egresspolicies", {**web(7001, name=name), "spec": {**web(7001)["spec"], "mode": "enforce"}})
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    told(node, pod, app="web")
    node.known(pod, "refused")
    pod.start(wait=False)
    assert pod.probe() == NONE
    for name in ("web", "second"):
        assert until(lambda n=name: condition_of(node, "egresspolicies", f"shop/{n}", "Enforced").get("reason") == "Failed",
                     30), condition_of(node, "egresspolicies", f"shop/{name}", "Enforced")
        assert '"mode" stands in' in condition_of(node, "egresspolicies", f"shop/{name}", "Enforced")["message"]


def test_names_in_objects_are_their_own(node):
    """Sets and ids of the same name; a set that only another object has is none."""
    mine = web(7001)
    mine["spec"]["rules"][0]["allow"]["to"] = "@web"
    node.cluster.put("egresspolicies", {**mine, "spec": {**mine["spec"], "sets": {"web": list(HOSTS)}}})
    node.cluster.put("clusteregresspolicies", base(
        {"allow": {"to": "@web", "ports": 7002}, "id": "web"}, sets={"web": [HOSTS[0]]}))
    pod = begun(node)
    assert pod.probe() == ["no", "yes", "yes", "no", "yes", "no"]
    # the cluster's rule is about a set that the cluster's object has not: what a namespace calls so is its own
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": "@web", "ports": 7001}}))
    assert until(lambda: condition_of(node, "clusteregresspolicies", "/base", "Valid").get("status") == "False", 30)
    assert '"@web" is none of base' in condition_of(node, "clusteregresspolicies", "/base", "Valid")["message"]
    assert pod.probe() == ["no", "yes", "yes", "no", "yes", "no"]


def test_the_source_is_changed_by_a_reload(node):
    pod = begun(node)
    assert pod.probe() == SOME
    path = node.folder / "etc" / "sluiced.yaml"
    text = path.read_text()
    path.write_text(text.replace("name: node-a", "name: node-b"))
    assert until(lambda: node.kubernetes()["source"]["api"]["node"] == "node-b")
    assert pod.probe() == SOME          # of which node-b knows nothing: what it has stays
    path.write_text(text)
    assert until(lambda: node.kubernetes()["source"]["api"]["node"] == "node-a")
    node.cluster.put("egresspolicies", web(7001, 7002))
    becomes(pod, WIDE)


def test_pods_whose_cgroups_are_made_elsewhere(node):
    """The configured place is another one than the kubelet's: nothing is judged, and status says so."""
    text = (node.folder / "etc" / "sluiced.yaml").read_text(encoding="utf-8")
    node.configure(text.replace("/kubepods", "/elsewhere"))
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    told(node, pod, app="web", since=time.time())
    pod.start(wait=False)
    assert pod.probe() == ALL

    def warned():
        return [w for w in node.full_status()["warnings"] if w.startswith("NOT ENFORCED: the API server")]
    assert node.kubernetes()["ready"] and not warned()      # its cgroup may be on its way
    told(node, pod, app="web", since=time.time() - 11)
    assert until(warned, 20) and not node.kubernetes()["ready"]
    assert f"/{node.group}/elsewhere" in warned()[0] and "1 pods" in warned()[0]
    node.configure(text)
    node.known(pod)
    becomes(pod, SOME)
    assert node.kubernetes()["ready"] and not warned()


def test_a_restart_without_the_rights(node):
    """What is not known yet is nothing that was given up: status does not tell anybody to detach it."""
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    told(node, pod, app="web")
    node.known(pod)
    node.kill_daemon()
    node.daemon.close()
    node.cluster.forbidden = {"egresspolicies"}
    node.start_daemon()

    def warnings():
        said = [w for w in node.full_status()["warnings"] if pod.uid in w]
        return said if any("not allowed (403)" in w for w in node.full_status()["warnings"]) else None
    assert until(warnings, 30), node.full_status()["warnings"]
    assert any("of a pod that is not known yet: it keeps its policy" in w for w in warnings()), warnings()
    assert not any("sluice detach" in w for w in node.full_status()["warnings"])
    pod.start(wait=False)
    assert pod.probe() == SOME
    node.cluster.forbidden = set()
    node.known(pod)
    assert not any(pod.uid in w for w in node.full_status()["warnings"])


def test_crds_that_are_not_installed(node):
    """Believed after 20 s; then status says that no EgressPolicy is in force."""
    del node.cluster.groups["sluice.dev"]
    node.start_daemon()

    def warned():
        return [w for w in node.full_status()["warnings"] if "does not have EgressPolicies" in w]
    assert not warned()
    assert until(warned, 60) and "deploy/kubernetes/crds" in warned()[0]
