# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods of containerd's CRI: who runs before sluiced and after it, their ends, and their places in the
hierarchy of cgroups."""
import os
import shutil
import signal

import pytest

from lab import until
from ocilab import ALL, NONE, PROBE, SOME, WIDE, removed
from podlab import becomes, begun, config, egress, metrics, put, records

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]


def test_the_end_of_a_pod_leaves_nothing(node):
    pod = begun(node)
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
    pod = begun(node)
    node.kill_daemon()
    pod.remove()
    node.start_daemon()
    assert until(lambda: node.kubernetes()["left"] == 0, 30), node.full_status()
    assert node.kubernetes()["pods"] == []


def test_a_runtime_that_is_away(node):
    """What is known goes on; what is new is denied; all is well once it answers again."""
    pod = begun(node)
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


def test_a_named_section_that_goes_leaves_pods_as_they_are(node):
    pod = begun(node)
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
    pod = begun(node)
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
