# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The client of the API server where that fails: streams and lists that are cut, garbage, too old or too large, a server
that is away or says nothing. What was known stays."""
import threading
import time

import pytest

import apilab
from apilab import counts_are as counts, kind, pod
from followlab import cluster, folder, follow  # noqa: F401
from followlab import well


def test_410_in_the_stream(cluster, follow):
    client = follow()
    client.until(well)
    cluster.put("pods", pod("missed", "10.0.1.8"), quiet=True)
    cluster.compact()
    with cluster.changed:
        cluster.changed.notify_all()
    state = client.until(lambda s: well(s) and counts(pods=2)(s))
    assert kind(state, "pods")["expired"] == 1 and kind(state, "pods")["lists"] == 2
    assert "busy" not in kind(state, "pods")["failures"]        # as an error of the server's would be


def test_410_as_a_status(cluster, follow):
    client = follow()
    client.until(well)
    cluster.watch_faults["pods"].append(apilab.status(410, "too old resource version"))
    cluster.put("pods", pod("missed", "10.0.1.8"), quiet=True)
    cluster.objects["pods"].pop("shop/cart")
    cluster.stop()
    cluster.start(cluster.port)
    state = client.until(lambda s: well(s) and kind(s, "pods")["lists"] == 2)
    assert state["counts"]["pods"] == 1
    assert "there is no Pod" in client.policy("shop", "cart")


@pytest.mark.parametrize("name, fault, failure", [
    ("in an event", apilab.says(b'{"type":"ADDED","object":{"kind":"Pod","metada'), "cut"),
    ("between events", apilab.says(b""), "cut"),
    ("garbage", apilab.says(b"\xff\x00 no json\n"), "garbage"),
    ("no object", apilab.says(b'{"type":"ADDED"}\n'), "garbage"),
    ("another kind", apilab.says(b'{"type":"ADDED","object":{"kind":"Secret","metadata":{"name":"a",'
                                 b'"resourceVersion":"1"}}}\n'), "garbage"),
    ("another type", apilab.says(b'{"type":"WONDER","object":{"kind":"Pod","metadata":{"name":"a",'
                                 b'"resourceVersion":"1"}}}\n'), "garbage"),
    ("no version", apilab.says(b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{}}}\n'), "garbage"),
    ("no name", apilab.says(b'{"type":"ADDED","object":{"kind":"Pod","metadata":{"resourceVersion":"1"}}}\n'),
     "garbage"),
    ("a key twice", apilab.says(b'{"type":"ADDED","type":"DELETED","object":{"kind":"Pod","metadata":{"name":"a",'
                                b'"resourceVersion":"1"}}}\n'), "garbage"),
    ("deep", apilab.says(b'{"type":"ADDED","object":' + b"[" * 100000 + b"\n"), "garbage"),
    ("huge", apilab.says(b'{"type":"ADDED","object":"' + b"x" * (17 << 20)), "garbage"),
    ("500", apilab.status(500, "etcd is gone"), "busy"),
    ("503", apilab.status(503, "starting", Retry_After="1"), "busy"),
    ("error event", apilab.says(b'{"type":"ERROR","object":{"kind":"Status","code":500}}\n'), "busy"),
])
def test_a_watch_that_goes_wrong(cluster, follow, name, fault, failure):
    cluster.watch_faults["pods"] += [fault]
    client = follow()
    state = client.until(lambda s: well(s) and kind(s, "pods")["failures"].get(failure) == 1)
    assert sum(kind(state, "pods")["failures"].values()) == 1
    assert state["counts"]["pods"] == 1
    cluster.put("pods", pod("next", "10.0.1.7"))
    client.until(counts(pods=2))


@pytest.mark.parametrize("name, fault, failure", [
    ("garbage", apilab.body(b"<html>a proxy</html>"), "garbage"),
    ("empty", apilab.body(b""), "garbage"),
    ("no items", apilab.body({"metadata": {"resourceVersion": "1"}}), "garbage"),
    ("no version", apilab.body({"items": []}), "garbage"),
    ("items without names", apilab.body({"metadata": {"resourceVersion": "1"}, "items": [{}, 7]}), "garbage"),
    ("an array", apilab.body([]), "garbage"),
    ("429", apilab.status(429, "slow down", Retry_After="1"), "busy"),
    ("302", apilab.status(302, "elsewhere", Location="https://192.0.2.1/"), "refused"),
    ("400", apilab.status(400, "bad"), "refused"),
])
def test_a_list_that_goes_wrong(cluster, follow, name, fault, failure):
    cluster.list_faults["pods"] += [fault]
    client = follow()
    state = client.until(well)
    assert kind(state, "pods")["failures"] == {failure: 1}
    assert state["counts"]["pods"] == 1


@pytest.mark.parametrize("plural, obj", [
    ("pods", {"metadata": {"name": "bad", "namespace": "evil", "annotations": {"note": "a\0b"}}, "spec": {"nodeName": "node-a"}}),
    ("pods", {"metadata": {"name": "bad", "namespace": "evil"}, "spec": {"nodeName": "node-a", "volumes": [{"flexVolume": {
        "options": {"a\0": "x", "a\ufffd": "y"}}}]}}),
    ("namespaces", {"metadata": {"name": "bad", "annotations": {"note": "\0"}}}),
    ("services", {"metadata": {"name": "bad", "namespace": "evil", "annotations": {"note": "\0"}}}),
    ("networkpolicies", {"metadata": {"name": "bad", "namespace": "evil", "annotations": {"note": "\0"}}, "spec": {"podSelector": {}}}),
    ("egresspolicies", {"metadata": {"name": "bad", "namespace": "evil"}, "spec": {"limits": {"rate": 10 ** 20}, "rules": []}}),
    ("egresspolicies", {"metadata": {"name": "bad", "namespace": "evil"}, "spec": {"sets": {"a\0": ["10.0.0.1"]}, "rules": []}}),
])
@pytest.mark.parametrize("watched", [False, True])
def test_one_object_makes_no_list_unreadable(cluster, follow, plural, obj, watched):
    """The API server takes a NUL and a whole number of any size, jansson does not: whoever may write in one namespace
    would have every node keep what it knows, for ever."""
    if not watched:
        cluster.put(plural, obj)
    client = follow()
    state = client.until(well)
    before = state["counts"]["pods"]
    if watched:
        cluster.put(plural, obj)
        before += plural == "pods"
    cluster.put("pods", pod("more", "10.0.1.5", app="cart"))
    state = client.until(lambda s: well(s) and s["counts"]["pods"] == before + 1)
    assert all(not each["failures"] for each in state["kinds"]), state


@pytest.mark.parametrize("n, plural", [(70, "egresspolicies"), (70, "pods")])
def test_a_page_is_no_longer_than_an_answer_may_be(cluster, follow, n, plural):
    """70 objects of 1 MB in one namespace: fewer at once"""
    for i in range(n):
        cluster.put(plural, {"metadata": {"name": f"big-{i:02}", "namespace": "evil", "annotations": {"note": "x" * 1_000_000}},
                             "spec": {"nodeName": "node-a"} if plural == "pods" else {"podSelector": {}, "rules": []}})
    client = follow()
    state = client.until(lambda s: well(s) and kind(s, plural)["objects"] == n + (plural == "pods"))
    assert kind(state, plural)["failures"] == {}
    limits = [int(query["limit"]) for query in cluster.asked(plural, watch=False)]
    assert limits[:3] == [200, 50, 12] and max(limits[3:]) <= 48, limits


def test_nothing_is_known_before_all_of_it_is(cluster, follow):
    go = threading.Event()
    cluster.list_faults["networkpolicies"].append(lambda handler: go.wait(30))
    client = follow()
    state = client.until(lambda s: kind(s, "pods") and kind(s, "pods")["state"] == "watches")
    assert not state["complete"] and state["counts"] is None and state["version"] == 0
    assert client.policy("shop", "cart") == "not known yet"
    go.set()
    assert client.until(well)["version"] >= 1


def test_a_kind_that_is_wrong_does_not_hold_up_the_others(cluster, follow):
    client = follow()
    client.until(well)
    cluster.list_faults["services"] += [apilab.status(500)] * 3
    cluster.watch_faults["services"] += [apilab.says(b"garbage\n")]
    cluster.compact()
    cluster.put("pods", pod("next", "10.0.1.7"))
    client.until(counts(pods=2), timeout=30)
    client.until(well, timeout=30)


def test_a_server_that_is_away(cluster, follow):
    """What is known stays, it is said since when, and all of it is made up for."""
    client = follow()
    version = client.until(well)["version"]
    cluster.stop()
    state = client.until(lambda s: s["stale_since"])
    assert state["counts"]["pods"] == 1 and state["complete"]
    state = client.until(lambda s: s["why"] and "cannot be reached" in s["why"])
    assert cluster.url in state["why"]
    assert "not-selected" in client.policy("shop", "cart")
    cluster.put("pods", pod("meanwhile", "10.0.1.7"))
    cluster.delete("pods", "shop/cart")
    cluster.start(cluster.port)
    state = client.until(well, timeout=60)
    assert state["counts"]["pods"] == 1 and state["version"] > version
    assert "there is no Pod" in client.policy("shop", "cart")
    said = client.said()
    assert "what is known stays in force" in said and "works again" in said


def test_attempts_become_rarer(cluster, follow):
    cluster.list_faults["services"] += [apilab.status(500)] * 1000
    client = follow()
    client.until(lambda s: kind(s, "services"))
    time.sleep(6)
    # 0.25 to 0.5 s, then twice as long each: in 6 s at most 5, and a fresh start's first
    assert 3 <= len(cluster.asked("services")) <= 6


@pytest.mark.parametrize("watch", [False, True])
def test_a_server_that_says_nothing(cluster, follow, watch):
    """Its other kinds go on, and so does who works with them. (30 s: no test waits for that.)"""
    go = threading.Event()
    (cluster.watch_faults if watch else cluster.list_faults)["services"].append(apilab.stalls(go))
    client = follow()
    client.until(lambda s: kind(s, "pods") and kind(s, "pods")["state"] == "watches")
    state = client.state()
    assert kind(state, "services")["state"] == ("asks" if watch else "lists")
    assert state["worst_ms"] < 1000
    go.set()
    client.until(well)
