# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Objects that are wrong, or mean nothing for a pod: what is in force, what their status says, and whom they hold back."""
import json
import subprocess

import pytest

from apilab import netpol
from apinodelab import machine_of_all, node, pytestmark  # noqa: F401
from apinodelab import HOSTS, base, becomes, begun, condition_of, told, web
from lab import until
from ocilab import NONE, SOME, WIDE


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
