# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods of containerd's CRI, judged by what an API server says, which is made up (apilab.py)."""
import time
import types
import uuid

from apilab import netpol
from apinodelab import machine_of_all, node, pytestmark  # noqa: F401
from apinodelab import HOSTS, becomes, begun, current, scrape, told, up_again, web
from crilab import NODE
from lab import until
from ocilab import ALL, NONE, SOME, WIDE


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
