# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods chosen by their labels: from their first action, over changes, while sluiced is away,
to their end; with the API server's objects, and with those of a ConfigMap."""
import pytest

from cluster import pod
from lab import until
from outside import ALLOWED, DENIED
from pods_modes import Api, Directory, call_back, send_away
from probes import AGAIN, ALL, ONCE, ONLY_ALLOWED, ONLY_DENIED, addresses, ended, running, sends

MANY = 50


@pytest.fixture(scope="module", params=[Api, Directory], ids=["api", "directory"])
def pods(request, sluice):
    made = request.param(sluice)
    yield made
    made.close()
    sluice.reset()


def test_without_sluice_it_all_arrives(cluster, sluice):
    cluster.apply([pod("free", "sh", "-c", ONCE, labels={"app": "cart"})])
    made = cluster.wait(ended, "pod", "free")
    assert set(cluster.outside.arrived(addresses(made))) == ALL
    cluster.delete("pod", "free")


def test_a_policy_by_label(cluster, pods, start):
    chosen = start("chosen", "sh", "-c", AGAIN, labels={"app": "cart"})
    other = start("other", "sh", "-c", AGAIN, labels={"app": "other"})
    assert sends(cluster, chosen, ONLY_ALLOWED)
    assert sends(cluster, other, ALL)       # what no policy selects reaches everything
    named = {t["pod"]["name"]: t for t in pods.daemon.targets() if "pod" in t}
    assert named["chosen"]["policy"] == "default.chosen" and named["chosen"]["denied"]
    assert named["other"]["policy"] == "default.other" and not named["other"]["audit_denied"]


def test_a_policy_that_changes(cluster, pods, start):
    made = start("changes", "sh", "-c", AGAIN, labels={"app": "cart"})
    assert sends(cluster, made, ONLY_ALLOWED)
    pods.allow(DENIED)
    assert sends(cluster, made, ONLY_DENIED)
    pods.allow("7002.5")        # wrong: nothing changes, and it is said where
    assert until(pods.complains, 60, 0.5), pods.kubernetes()
    assert sends(cluster, made, ONLY_DENIED)
    pods.allow(ALLOWED)
    assert sends(cluster, made, ONLY_ALLOWED)


def test_a_label_that_changes(cluster, pods, start):
    """A ConfigMap does not tell: the pod keeps what it was made with, until it is made again."""
    made = start("labelled", "sh", "-c", AGAIN, labels={"app": "other"})
    assert sends(cluster, made, ALL)
    cluster.kubectl("label", "--overwrite", "pod", "labelled", "app=cart")
    if isinstance(pods, Api):
        assert sends(cluster, made, ONLY_ALLOWED)
        cluster.kubectl("label", "--overwrite", "pod", "labelled", "app-")
        assert sends(cluster, made, ALL)
    else:
        assert sends(cluster, made, ALL, 10)
        again = start("again", "sh", "-c", AGAIN, labels={"app": "cart"})
        assert sends(cluster, again, ONLY_ALLOWED)


def test_the_policy_holds_while_sluiced_is_away(cluster, pods, start):
    made = start("stays", "sh", "-c", AGAIN, labels={"app": "cart"})
    assert sends(cluster, made, ONLY_ALLOWED)
    send_away(pods.daemon)
    try:
        assert sends(cluster, made, ONLY_ALLOWED)
        # who is not known yet is denied everything
        new = start("new", "sh", "-c", AGAIN, labels={"app": "other"})
        assert sends(cluster, made, ONLY_ALLOWED)
        assert not cluster.outside.arrived(addresses(new))
    finally:
        call_back(pods.daemon)
    assert sends(cluster, new, ALL)
    assert sends(cluster, made, ONLY_ALLOWED)


def test_the_record_of_a_pod(cluster, pods, start):
    """In the log of sluiced's pod: whose each denial is, by cgroup and by veth, and its last counters at its end."""
    made = start("recorded", "sh", "-c", AGAIN, labels={"app": "cart"})
    assert sends(cluster, made, ONLY_ALLOWED)
    who = {"namespace": "default", "name": "recorded", "uid": made["metadata"]["uid"]}

    def of(event, **want):
        return [r for r in pods.daemon.records(event=event, **want)
                if who in (r.get("pod"), r.get("target", {}).get("pod"))]
    assert until(lambda: of("connection", verdict="deny"), 30, 0.5), pods.daemon.said()
    denied = of("connection", verdict="deny")
    # sluice-cni holds the veth of a pod that sluiced does not know yet: no policy is there
    held = [r for r in denied if r["policy"] is None]
    assert all(r["reason"] == "no-policy" and r["hook"] == "tc-ingress" and not r["generation"]
               for r in held), held
    denied = [r for r in denied if r not in held]
    by = {policy: {r["destination"]["port"] for r in denied if r["policy"] == policy}
          for policy in {r["policy"] for r in denied}}
    assert by.pop("default.recorded") == {DENIED}
    assert set(by) <= {"pods-until-known"}, "what it asked before its policy came"
    assert len(of("pod", change="judged")) == 1
    cluster.delete("pod", "recorded")
    assert until(lambda: of("pod", change="ended"), 90, 0.5), pods.daemon.said()
    last, = of("pod", change="ended")
    assert last["allowed"] and last["denied"] and last["tx_bytes"] and \
        last["decided"] == last["allowed"] + last["denied"] + last["audit_denied"], last


def test_nothing_is_left_of_a_pod(cluster, pods, start):
    daemon = pods.daemon
    made = start("ends", "sh", "-c", AGAIN, labels={"app": "cart"})
    assert until(lambda: daemon.has_only(made) and len(daemon.targets()) == 3, 60, 0.5), \
        daemon.targets()
    cluster.delete("pod", "ends")
    assert until(lambda: cluster.gone(made), 60, 0.2)
    assert until(daemon.has_only, 60, 0.5), daemon.targets()
    assert len(daemon.pinned()) == 2 and pods.kubernetes()["left"] == 0


def test_the_first_action_of_fifty_pods(cluster, pods):
    cluster.outside.forget()
    cluster.apply([pod(f"many-{i}", "sh", "-c", AGAIN, labels={"app": "cart", "many": "yes"})
                   for i in range(MANY)])
    made = cluster.wait(lambda found: all(map(running, found["items"])), "pods", "-l", "many=yes",
                        seconds=300)["items"]
    theirs = set().union(*map(addresses, made))
    assert len(theirs) == 2 * MANY
    assert until(lambda: cluster.outside.senders(ALLOWED) >= theirs, 120, 0.5)
    cluster.delete("pod", "-l", "many=yes")
    assert until(lambda: all(map(cluster.gone, made)), 300, 0.5)
    arrived = cluster.outside.arrived(theirs)
    assert set(arrived) == ONLY_ALLOWED, arrived    # no packet was earlier than the policy
    assert until(pods.daemon.has_only, 60, 0.5), pods.daemon.targets()
    assert pods.kubernetes()["left"] == 0
