# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The client of the API server against one that is made up: what it asks, whom, and what it makes of the
answers. What it does when they are wrong: test_apiserver_failures.py."""
import json
import threading

import pytest

import apilab
from apilab import Client, counts_are as counts, kind, netpol, own, pod
from followlab import cluster, folder, follow  # noqa: F401
from followlab import complete, well


# ---- as it should be ----

def test_lists_then_watches_this_nodes_pods(cluster, follow):
    client = follow()
    state = client.until(well)
    assert state["counts"]["pods"] == 1 and state["counts"]["namespaces"] == 1
    listed, watched = cluster.asked("pods", watch=False), cluster.asked("pods", watch=True)
    assert [ask["fieldSelector"] for ask in listed + watched] == ["spec.nodeName=node-a"] * 2
    assert listed[0]["limit"] == "200" and "resourceVersion" not in listed[0]
    assert watched[0]["allowWatchBookmarks"] == "true" and watched[0]["resourceVersion"] == str(cluster.version)
    assert 300 <= int(watched[0]["timeoutSeconds"]) < 600
    cluster.put("pods", pod("till", "10.0.1.5", app="till"))
    client.until(counts(pods=2))
    cluster.put("pods", pod("elsewhere", "10.0.2.5", node="node-b"))
    cluster.delete("pods", "shop/till")
    client.until(counts(pods=1))
    assert len(cluster.asked("pods", watch=False)) == 1
    assert {path.rsplit("/", 1)[1] for _, path, _ in cluster.requests} == {
        "apis", "namespaces", "pods", "services", "endpointslices", "networkpolicies", "egresspolicies",
        "clusteregresspolicies"}


def test_a_policy_follows_what_comes(cluster, follow):
    client = follow()
    client.until(well)
    assert "not-selected" in client.policy("shop", "cart")
    cluster.put("networkpolicies", netpol("out", {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}))
    client.until(counts(netpols=1))
    assert "192.0.2.0/24" in client.policy("shop", "cart")
    cluster.put("egresspolicies", own("pay", {"allow": "203.0.113.7:443/tcp"}))
    client.until(counts(own=1))
    assert "203.0.113.7:443/tcp" in client.policy("shop", "cart")
    cluster.delete("egresspolicies", "shop/pay")
    cluster.delete("networkpolicies", "shop/out")
    client.until(counts(netpols=0, own=0))
    assert "not-selected" in client.policy("shop", "cart")


def test_a_selector_of_pods_asks_for_those_of_all_nodes(cluster, follow):
    client = follow()
    client.until(well)
    peer = {"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 5432}]}
    cluster.put("networkpolicies", netpol("inside", peer))
    client.until(lambda s: well(s) and counts(pods=2, partial=False)(s))
    assert "10.0.2.9" in client.policy("shop", "cart")
    assert "fieldSelector" not in cluster.asked("pods")[-1]
    # one that goes again keeps them for a while: a list for each would be a way to burden the server
    cluster.delete("networkpolicies", "shop/inside")
    client.until(counts(netpols=0))
    lists = len(cluster.asked("pods", watch=False))
    cluster.put("networkpolicies", netpol("inside", peer))
    client.until(counts(netpols=1))
    assert len(cluster.asked("pods", watch=False)) == lists and lists == 2


def test_until_all_pods_are_known_peers_are_refused(cluster, follow):
    client, go = follow(), threading.Event()
    client.until(well)
    cluster.list_faults["pods"].append(lambda handler: go.wait(30))
    cluster.put("networkpolicies", netpol("inside", {"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]},
                                          app="cart"))
    client.until(counts(netpols=1, partial=True))
    assert "error" in client.policy("shop", "cart")     # and not a policy without its peers
    go.set()
    client.until(counts(pods=2, partial=False))
    assert "10.0.2.9" in client.policy("shop", "cart")


def test_pages(cluster, follow):
    for i in range(23):
        cluster.put("pods", pod(f"p{i}", f"10.0.3.{i}"))
    client = follow(page=5)
    assert client.until(well)["counts"]["pods"] == 24
    asked = cluster.asked("pods", watch=False)
    assert [ask["limit"] for ask in asked] == ["5"] * 5
    assert ["continue" in ask for ask in asked] == [False] + [True] * 4


def test_a_page_that_is_too_old_begins_the_list_again(cluster, follow):
    for i in range(12):
        cluster.put("pods", pod(f"p{i}", f"10.0.3.{i}"))

    def compacted(handler):
        cluster.compact()
        cluster.put("pods", pod("late", "10.0.3.99"))
        return True
    cluster.list_faults["pods"] += [lambda handler: True, compacted]
    client = follow(page=5)
    state = client.until(well)
    assert state["counts"]["pods"] == 14 and kind(state, "pods")["expired"] == 1


@pytest.mark.parametrize("versions", [[], ["v1beta1"]])
def test_endpoints_where_there_are_no_slices(cluster, follow, versions):
    """Kubernetes 1.20 has v1beta1 alone: there Endpoints are asked for"""
    cluster.groups["discovery.k8s.io"] = versions
    cluster.put("endpoints", {"metadata": {"name": "db", "namespace": "shop"},
                              "subsets": [{"addresses": [{"ip": "10.0.2.9"}], "ports": [{"port": 5432}]}]})
    client = follow()
    assert client.until(well)["counts"]["endpoints"] == 1
    assert not cluster.asked("endpointslices")
    # and after an upgrade
    cluster.groups["discovery.k8s.io"] = ["v1"]


def test_a_server_that_does_not_name_slices_for_a_moment(cluster, follow):
    """what was known of endpoints stays until Endpoints are known whole"""
    go = threading.Event()
    cluster.put("endpointslices", {"metadata": {"name": "db-x", "namespace": "shop", "labels": {
        "kubernetes.io/service-name": "db"}}, "addressType": "IPv4", "ports": [{"port": 5432}],
        "endpoints": [{"addresses": ["10.0.2.9"]}]})
    client = follow()
    client.until(lambda s: well(s) and s["counts"]["endpoints"] == 1)
    # a policy's watch that is answered with 404 is why it is asked at once what the server has
    kept = dict(cluster.groups)
    cluster.groups = {"networking.k8s.io": ["v1"]}
    cluster.hidden = {"discovery.k8s.io": ["v1"]}
    cluster.list_faults["endpoints"].append(lambda handler: go.wait(30))
    cluster.stop()
    cluster.start(cluster.port)
    try:
        client.until(lambda s: cluster.asked("endpoints", watch=False))
        assert client.state()["counts"]["endpoints"] == 1
    finally:
        go.set()
    # there are none, and then it is so
    client.until(lambda s: s["counts"]["endpoints"] == 0, timeout=30)
    cluster.groups, cluster.hidden = kept, {}
    client.until(lambda s: s["counts"]["endpoints"] == 1, timeout=60)


def test_a_bookmark_is_where_the_next_watch_goes_on(cluster, follow):
    client = follow()
    client.until(well)
    cluster.bookmark("services")
    version = str(cluster.version)
    client.until(lambda s: kind(s, "services")["bookmarks"] == 1)
    cluster.put("pods", pod("other", "10.0.1.9"))       # the version goes on elsewhere
    cluster.stop()
    cluster.start(cluster.port)
    client.until(lambda s: well(s) and len(cluster.asked("services", watch=True)) > 1)
    assert cluster.asked("services", watch=True)[-1]["resourceVersion"] == version
    assert len(cluster.asked("services", watch=False)) == 1


# ---- who asks, and whom ----

def test_a_token_that_is_none(cluster, follow, folder):
    (folder / "token").write_text("wrong\n")
    client = follow()
    state = client.until(lambda s: s["why"])
    assert state["discovery"]["token"] >= 1
    assert f"the server does not know the token in {folder}/token (401)" in state["why"]
    assert "wrong" not in json.dumps(state).replace("wrong:", "") and "wrong" not in client.said()
    (folder / "token").write_text("first\n")        # read again at a 401, not only every minute
    assert client.until(well)["token_rotations"] == 1


def test_a_token_that_is_renewed(cluster, follow, folder):
    client = follow()
    client.until(well)
    (folder / "new").write_text("second\n")
    (folder / "new").rename(folder / "token")
    cluster.tokens = {"second"}
    cluster.stop()
    cluster.start(cluster.port)
    state = client.until(well, timeout=30)
    assert state["token_rotations"] == 1 and state["counts"]["pods"] == 1


@pytest.mark.parametrize("text", [None, "", "\n", "two words\n", "line\r\nX-Evil: 1\r\n", "x" * 70000, "a\x00b"])
def test_a_token_file_that_holds_none(cluster, follow, folder, text):
    path = folder / "token"
    path.write_text(text or "")
    if text is None:
        path.unlink()
        path.mkdir()
    client = follow()
    state = client.until(lambda s: s["why"])
    assert f"the token file {path}: " in state["why"] and state["token_error"]
    assert not cluster.requests
    if text is None:
        path.rmdir()
    path.write_text("first")
    client.until(well, timeout=30)


def test_missing_rights(cluster, follow):
    cluster.forbidden = {"networkpolicies"}
    client = follow()
    state = client.until(lambda s: s["why"])
    assert "list networkpolicies: not allowed (403): apply the rights in deploy/kubernetes" in state["why"]
    assert 'cannot list resource "networkpolicies"' in state["why"]
    assert not state["complete"] and kind(state, "networkpolicies")["failures"]["rights"] >= 1
    cluster.forbidden = set()
    client.until(well, timeout=30)
    # taken away later: what is known stays
    cluster.put("networkpolicies", netpol("out", {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}))
    client.until(counts(netpols=1))
    cluster.forbidden = {"networkpolicies"}
    cluster.stop()
    cluster.start(cluster.port)
    state = client.until(lambda s: "watch networkpolicies: not allowed" in (s["why"] or ""), timeout=30)
    assert state["complete"] and state["counts"]["netpols"] == 1 and state["stale_since"]
    assert "192.0.2.0/24" in client.policy("shop", "cart")


def test_a_server_of_another_ca(cluster, follow, folder):
    other = apilab.make_ca(folder, "other")
    client = follow(ca=other[0])
    state = client.until(lambda s: s["why"])
    assert "certificate" in state["discovery"] and f"is not of {other[0]}" in state["why"]
    assert not cluster.requests         # and nobody has seen the token


def test_a_ca_that_changes(cluster, follow, folder):
    """A file that is written anew counts from the next connection on."""
    ca = folder / "mounted-ca.pem"
    ca.write_bytes(cluster.ca.read_bytes())
    client = follow(ca=ca)
    client.until(well)
    new_ca, cert, key = apilab.make_ca(folder, "new")
    ca.write_bytes(new_ca.read_bytes())
    cluster.stop()
    cluster.start(cluster.port, cert=(cert, key))
    client.until(lambda s: well(s) and len(cluster.asked("pods", watch=True)) > 1, timeout=30)


def test_a_ca_file_that_is_not_there(cluster, follow, folder):
    client = follow(ca=folder / "nothing.pem")
    state = client.until(lambda s: s["why"])
    assert "certificate" in state["discovery"] and "nothing.pem" in state["why"]


def test_a_name_that_the_certificate_has_not(cluster, follow, folder):
    ca, *cert = apilab.make_ca(folder, "named", "DNS:elsewhere.example,IP:127.0.0.2")
    cluster.stop()
    cluster.start(cluster.port, cert=cert)
    client = follow(ca=ca)
    assert "certificate" in client.until(lambda s: s["why"])["discovery"]
    assert not cluster.requests


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "127.0.0.1", "https://", "https://a/b", "https://u@a",
                                    "https://a b", "https://a?x"])
def test_servers_that_are_refused(cluster, folder, server):
    client = Client(cluster, folder, server=server)
    client.child.wait(10)
    assert client.close() == 1
    assert f'server "{server}"' in client.said() or "https://HOST[:PORT]" in client.said()


# ---- our own kinds ----

def test_without_the_crds(cluster, follow):
    """Believed only when it was said three times in twenty seconds: a server that has just started
    does not name them yet."""
    del cluster.groups["sluice.dev"]
    client = follow()
    client.until(lambda s: kind(s, "pods") and kind(s, "pods")["state"] == "watches")
    assert not client.state()["complete"]
    state = client.until(complete, timeout=40)
    assert not kind(state, "egresspolicies")
    assert "egresspolicies are not installed" in client.said()
    assert sum(path == "/apis" for _, path, _ in cluster.requests) >= 3


def test_crds_that_are_served_and_not_named(cluster, follow):
    """As by a server that has just started: what it has counts, not what it lists."""
    kept = cluster.groups.pop("sluice.dev")
    cluster.hidden = {"sluice.dev": kept}
    cluster.put("egresspolicies", own("pay", {"deny": "203.0.113.0/24"}))
    client = follow()
    assert client.until(well)["counts"]["own"] == 1


def test_crds_that_a_server_forgets_for_a_moment(cluster, follow):
    client = follow()
    cluster.put("egresspolicies", own("pay", {"deny": "203.0.113.0/24"}))
    client.until(lambda s: well(s) and counts(own=1)(s))
    kept = cluster.groups.pop("sluice.dev")
    cluster.stop()
    cluster.start(cluster.port)
    client.until(lambda s: kind(s, "egresspolicies")["failures"].get("missing", 0) >= 3, timeout=30)
    state = client.until(lambda s: "404" in (s["why"] or ""))
    assert state["counts"]["own"] == 1
    cluster.groups["sluice.dev"] = kept
    client.until(well, timeout=40)


def test_a_policy_that_is_wrong_is_one_policy_that_is_wrong(cluster, follow):
    cluster.put("egresspolicies", own("bad", {"allow": "10.0.0.1"}, {"alow": "10.0.0.2"}, app="cart"))
    cluster.put("egresspolicies", own("good", {"allow": "10.0.0.3"}, app="till"))
    cluster.put("pods", pod("till", "10.0.1.5", app="till"))
    client = follow()
    state = client.until(well)
    assert kind(state, "egresspolicies")["unreadable"] == 1
    assert 'EgressPolicy shop/bad spec.rules[1]' in client.policy("shop", "cart")
    assert "alow" in client.policy("shop", "cart")
    assert "10.0.0.3" in client.policy("shop", "till")
