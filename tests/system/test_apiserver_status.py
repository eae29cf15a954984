# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The status of EgressPolicies, written by several nodes: none writes another's, one sums up."""
import pathlib
import tempfile
import time

import pytest

import apilab
from apilab import Client, Cluster, own, pod


@pytest.fixture
def cluster():
    with tempfile.TemporaryDirectory(prefix="sl-api-") as path:
        made = Cluster(pathlib.Path(path))
        made.put("namespaces", {"metadata": {"name": "shop", "labels": {}}})
        for i, node in enumerate(("node-a", "node-b", "node-c")):
            made.put("pods", pod(f"cart-{node[-1]}", f"10.0.{i}.4", node=node, app="cart"))
        made.clients = []
        made.folder = pathlib.Path(path)
        yield made
        for client in made.clients:
            assert client.close() == 0, client.said()
        made.stop()


def start(cluster, node, **fates):
    folder = cluster.folder / node
    folder.mkdir(exist_ok=True)
    client = Client(cluster, folder, node=node)
    cluster.clients.append(client)
    for name, why in fates.items():
        client.ask(f"fate uid-of-cart-{name} {why}")
    return client


def status_of(cluster, name="shop/pay", plural="egresspolicies"):
    return cluster.objects[plural][name].get("status", {})


def condition(status, type_):
    return next((each for each in status.get("conditions", []) if each["type"] == type_), {})


def until(cluster, wanted, name="shop/pay", plural="egresspolicies", seconds=30):
    end = time.monotonic() + seconds
    while not wanted(status := status_of(cluster, name, plural)):
        assert time.monotonic() < end, (status, [client.said() for client in cluster.clients])
        time.sleep(0.05)
    return status


def nodes(status):
    return {each["name"]: each for each in status.get("nodes", [])}


def test_each_node_writes_its_own(cluster):
    cluster.put("egresspolicies", own("pay", {"allow": "203.0.113.7:443/tcp"}, app="cart"))
    start(cluster, "node-a", a="ok")
    start(cluster, "node-b", b="ok")
    start(cluster, "node-c", c="no room in the table")
    status = until(cluster, lambda s: len(nodes(s)) == 3 and "of 3 nodes" in condition(s, "Enforced").get("message", ""))
    assert nodes(status)["node-a"] == {"name": "node-a", "pods": 1, "state": "Enforced", "observedGeneration": 1}
    assert nodes(status)["node-c"]["state"] == "Failed"
    assert nodes(status)["node-c"]["message"] == "shop/cart-c: no room in the table"
    assert condition(status, "Valid")["status"] == "True"
    assert condition(status, "Enforced")["status"] == "False"
    assert condition(status, "Enforced")["message"] == "not on 1 of 3 nodes; node-c: shop/cart-c: no room in the table"
    # by whom
    asked = {(query["fieldManager"], *sorted(body["status"])) for _, query, _, body in cluster.patches}
    assert asked == {(f"sluice-node-{n}", "nodes") for n in "abc"} | {("sluice", "conditions")}
    assert {type_ for _, _, type_, _ in cluster.patches} == {"application/apply-patch+yaml"}
    assert all(query["force"] == "true" for _, query, _, _ in cluster.patches)
    assert all([each["name"] for each in body["status"].get("nodes", [])] in ([], [query["fieldManager"][7:]])
               for _, query, _, body in cluster.patches)
    # and the first of them sums up, not all
    since = condition(status, "Valid")["lastTransitionTime"]
    cluster.clients[2].ask("fate uid-of-cart-c ok")
    status = until(cluster, lambda s: condition(s, "Enforced").get("message") == "on 3 nodes, 3 pods")
    assert condition(status, "Enforced")["status"] == "True"
    assert condition(status, "Valid")["lastTransitionTime"] == since
    sums = sum("conditions" in body["status"] for _, _, _, body in cluster.patches)
    assert sums <= 6, cluster.patches
    # it comes to rest
    n = len(cluster.patches)
    time.sleep(4)
    assert len(cluster.patches) == n


def test_a_node_without_a_selected_pod_says_nothing(cluster):
    cluster.put("egresspolicies", own("pay", {"allow": "203.0.113.7:443/tcp"}, app="cart"))
    start(cluster, "node-a", a="ok")
    start(cluster, "node-z")
    until(cluster, lambda s: condition(s, "Enforced").get("message") == "on 1 nodes, 1 pods")
    assert set(nodes(status_of(cluster))) == {"node-a"}
    # its pod goes, and with it what it said
    cluster.delete("pods", "shop/cart-a")
    until(cluster, lambda s: not nodes(s))


def test_an_exempt_pod_is_not_told_of(cluster):
    cluster.put("egresspolicies", own("pay", {"allow": "203.0.113.7:443/tcp"}, app="cart"))
    cluster.put("pods", pod("till", "10.0.9.4", app="cart"))
    client = start(cluster, "node-a", a="ok")
    client.ask("fate uid-of-till ")
    status = until(cluster, lambda s: nodes(s))
    assert nodes(status)["node-a"]["pods"] == 1


def test_where_a_policy_is_wrong(cluster):
    cluster.put("egresspolicies", own("pay", {"allow": "203.0.113.7:443/tcp"}, {"alow": "a"}, app="cart"))
    cluster.put("clusteregresspolicies", {"metadata": {"name": "base"}, "spec": {"rules": [{"deny": "1.2.3.4:x"}]}})
    start(cluster, "node-a", a="the policy is refused")
    status = until(cluster, lambda s: condition(s, "Valid"), seconds=60)
    assert condition(status, "Valid")["status"] == "False"
    assert condition(status, "Valid")["message"].startswith("EgressPolicy shop/pay spec.rules[1]")
    assert condition(status, "Enforced")["reason"] == "Invalid"
    status = until(cluster, lambda s: condition(s, "Valid"), "/base", "clusteregresspolicies", seconds=60)
    assert condition(status, "Valid")["message"].startswith("ClusterEgressPolicy base spec.rules[0].deny")
    paths = {path for path, *_ in cluster.patches}
    assert paths == {"/apis/sluice.dev/v1alpha1/namespaces/shop/egresspolicies/pay/status",
                     "/apis/sluice.dev/v1alpha1/clusteregresspolicies/base/status"}
    # put right, it is told so, for the new text
    cluster.put("egresspolicies", {**own("pay", {"allow": "203.0.113.7:443/tcp"}, app="cart"), "status": status_of(cluster)})
    cluster.clients[0].ask("fate uid-of-cart-a ok")
    status = until(cluster, lambda s: condition(s, "Enforced").get("status") == "True")
    assert condition(status, "Enforced")["observedGeneration"] == 2


def test_without_the_right_to(cluster):
    """Said, and tried again; what is enforced does not wait for it."""
    cluster.put("egresspolicies", own("pay", {"allow": "203.0.113.7:443/tcp"}, app="cart"))
    cluster.forbidden = {"egresspolicies/status"}
    client = start(cluster, "node-a", a="ok")
    state = client.until(lambda s: s["status"]["why"])
    assert "write status (patch egresspolicies/status): not allowed (403)" in state["status"]["why"]
    assert not state["stale_since"] and state["complete"] and not cluster.patches


def test_a_policy_whose_status_is_refused_does_not_hold_up_others(cluster):
    for name in ("a", "b", "c"):
        cluster.put("egresspolicies", own(name, {"allow": "203.0.113.7:443/tcp"}, app="cart"))
    plain = apilab.Handler.apply_status

    def refuse(handler, plural, path, query, body):
        if path.endswith("/b/status"):
            handler.refuse(422, "status.nodes is invalid")
        else:
            plain(handler, plural, path, query, body)
    apilab.Handler.apply_status = refuse
    try:
        start(cluster, "node-a", a="ok")
        for name in ("a", "c"):
            until(cluster, lambda s: condition(s, "Enforced").get("status") == "True", f"shop/{name}")
        assert not status_of(cluster, "shop/b")
    finally:
        apilab.Handler.apply_status = plain
    until(cluster, lambda s: condition(s, "Enforced").get("status") == "True", "shop/b")


def test_a_restart_takes_nothing_back(cluster):
    cluster.put("egresspolicies", own("pay", {"allow": "203.0.113.7:443/tcp"}, app="cart"))
    start(cluster, "node-a", a="ok")
    until(cluster, lambda s: condition(s, "Enforced").get("status") == "True")
    assert cluster.clients.pop().close() == 0
    n = len(cluster.patches)
    client = start(cluster, "node-a")           # it does not know its pods yet
    client.until(lambda s: s["complete"])
    time.sleep(4)
    assert len(cluster.patches) == n and nodes(status_of(cluster))
