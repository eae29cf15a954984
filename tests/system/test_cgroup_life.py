# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Cgroups that come and go under `sluice attach --cgroup`, and an attach that is killed
half-way: what holds then, and what is left."""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from bpfobjects import PinnedMap, snapshot
from cgrouplab import policy
from cgroupways import NOTHING, PEERS, Prober, pass_on, reaches
from lab import ECHO, PEER4, SLUICE, sh, until

CGROUPS, SECONDS, KILLS = 500, 30, 24
CGROUP_PROGRAMS = 48            # its place in struct sl_info
# arrays of maps: places
OUTER = {"sl_tables": 8192, "sl_flows": 4096, "sl_names": 8192, "sl_known": 4096, "sl_learned": 4096}


def targets(tree):
    return {t["name"] for t in tree.status().values()}


# ---- removed ----

def test_a_cgroup_that_comes_again(tree):
    """The same path, another cgroup: nothing of the first one's policy, flows or counters."""
    path, far = tree.make("again"), tree.lab.fresh()
    tree.attach(path, PEERS)
    assert not reaches(tree.agent(path), far)
    first = tree.id(path)
    tree.remove(path)
    assert until(lambda: first not in tree.status()), "it is swept"
    assert not (tree.state / "cgroups" / str(first)).exists()
    tree.make("again")
    assert tree.id(path) != first
    assert reaches(tree.agent(path), far)       # nothing is attached there
    tree.attach(path, NOTHING)
    target = tree.status()[tree.id(path)]
    assert (target["decided"], target["policy"]) == (0, "nothing")
    assert not reaches(tree.agent(path), PEER4)


def test_a_child_that_comes_again(tree):
    """Its successor is under its parent's policy from its first packet."""
    parent, child, far = tree.make("p"), tree.make("p/c"), tree.lab.fresh()
    tree.attach(parent, PEERS)
    tree.attach(child, policy(f"allow: {far}"))
    for _ in range(5):
        assert reaches(tree.agent(child), far)
        tree.remove(child)
        tree.make("p/c")
        agent = tree.agent(child)
        assert not reaches(agent, far) and reaches(agent, PEER4)
        tree.attach(child, policy(f"allow: {far}"))
    assert until(lambda: targets(tree) == {str(parent), str(child)})


@pytest.mark.parametrize("below", [False, True], ids=["alone", "below"])
def test_a_socket_that_outlives_its_cgroup(tree, below):
    """It goes on being judged by the policy of the cgroup in which it was made, until it is
    closed; then nothing of the target is left."""
    lab, outside = tree.lab, tree.lab.agent()
    parent = tree.make("p")
    path, far = tree.make("p/gone") if below else parent, lab.fresh()
    if below:
        tree.attach(parent, NOTHING)
    tree.attach(path, PEERS)
    giver = tree.agent(path)
    for name, kind in (("udp", 2), ("open", 1), ("raw", 3)):
        giver.do("open_socket", family=2, type=kind, hold=name,
                 **({"protocol": 1} if name == "raw" else {}))
    assert giver.do("use", use="open", to=PEER4, port=ECHO)["errno"] is None
    for name in ("udp", "open", "raw"):
        pass_on(lab, giver, outside, name)
    gone = tree.id(path)
    giver.close()
    tree.remove(path)
    target = tree.status()[gone]
    assert target["removed"] and target["attached"] == (not below or parent.exists())
    assert outside.do("use", use="open")["errno"] is None       # a flow that was allowed
    assert outside.do("use", use="udp", to=far, port=ECHO)["errno"]
    assert not lab.wire.seen(far)
    for name in ("udp", "open", "raw"):
        outside.do("close", use=name)
    assert until(lambda: gone not in tree.status()), "it is swept"


# ---- killed ----



def test_an_attach_that_is_killed(tree):
    """kill -9 at any moment: a child's socket is under the whole of its old policy or of
    the new one, the parent's default until then; the next command finds its way."""
    parent, child = tree.make("p"), tree.make("p/c")
    far, denied = tree.lab.fresh(), tree.lab.fresh()
    old = tree.file(policy(f'allow: ["{PEER4}"]', name="old"))
    new = tree.file(policy(f'allow: ["{far}"]', name="new"))
    tree.attach(parent, policy(f'allow: ["{PEER4}"]', name="default"))
    agent = tree.agent(child)
    begin = time.monotonic()
    tree.sluice("attach", "--cgroup", child, "-p", old)
    takes = time.monotonic() - begin
    seen, rng = set(), random.Random(7)
    for i in range(KILLS):
        if i % 3 == 0:      # a new target; else a new generation, or the parent's own
            tree.detach(child, check=False)
        where = parent if i % 3 == 2 else child
        process = subprocess.Popen([SLUICE, "attach", "--cgroup", where, "-p", new],
                                   env=tree.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * takes * 1.2)  # where it is killed is what varies
        process.send_signal(signal.SIGKILL)
        process.wait()
        near, is_new = reaches(agent, PEER4), reaches(agent, far)
        assert near != is_new, (i, near, is_new)
        assert not reaches(agent, denied)
        status = tree.status()
        mine = status.get(tree.id(child))
        assert all(t["attached"] for t in status.values())
        policy_of = mine["policy"] if mine else status[tree.id(parent)]["policy"]
        assert policy_of in (("new",) if is_new else ("old", "default"))
        seen.add((i % 3, policy_of))
        tree.sluice("attach", "--cgroup", parent, "-p",
                    tree.file(policy(f'allow: ["{PEER4}"]', name="default")))
        tree.sluice("attach", "--cgroup", child, "-p", old)
        assert reaches(agent, PEER4) and not reaches(agent, far)
    assert not tree.lab.wire.seen(denied)
    assert {kind for kind, _ in seen} == {0, 1, 2}


def test_a_first_attach_that_is_killed(tree):
    """The first of all, which makes the state: judged by all programs or by none, and the
    next attach succeeds."""
    path, denied = tree.make("first"), tree.lab.fresh()
    agent, file = tree.agent(path), tree.file(PEERS)
    rng, whole = random.Random(3), 0
    tree.sluice("detach", "--all")
    for i in range(8):
        shutil.rmtree(tree.state / "cgroups", ignore_errors=True)
        process = subprocess.Popen([SLUICE, "attach", "--cgroup", path, "-p", file],
                                   env=tree.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.6)
        process.send_signal(signal.SIGKILL)
        process.wait()
        judged = tree.id(path) in tree.status()
        assert reaches(agent, denied) == (not judged)
        whole += judged
        tree.sluice("attach", "--cgroup", path, "-p", file)
        assert not reaches(agent, denied, "ping") and reaches(agent, PEER4)
        tree.sluice("detach", "--cgroup", path)
        assert reaches(agent, denied)
    print(f"{whole} of 8 were done before they were killed")


def test_an_attach_above_that_is_killed(tree):
    """A parent's, while it takes over its children's attach points, under probes."""
    parent, children = tree.make("p"), [tree.make(f"p/{i}") for i in range(6)]
    denied, file = tree.lab.fresh(), tree.file(NOTHING)
    for path in children:
        tree.attach(path, PEERS)
    prober, rng = Prober(tree, children[3], PEER4, denied), random.Random(5)
    for _ in range(12):
        process = subprocess.Popen([SLUICE, "attach", "--cgroup", parent, "-p", file],
                                   env=tree.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.08)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert all(t["attached"] for t in tree.status().values())
        for path in children:
            tree.attach(path, PEERS)
        tree.detach(parent, check=False)
    prober.stop()
    assert not tree.lab.wire.seen(denied)


# ---- many ----

def held(tree):
    state, count = tree.state, {}
    count["pins"] = sorted(str(p.relative_to(state)) for p in state.rglob("*"))
    for name, places in OUTER.items():
        with contextlib.closing(PinnedMap(state / name)) as outer:
            count[name] = outer.inner_maps(places)
    with contextlib.closing(PinnedMap(state / "cgroups" / "sl_cgroups")) as cgroups:
        count["sl_cgroups"] = len(list(cgroups.keys(8)))
    with contextlib.closing(PinnedMap(state / "sl_hits")) as hits:
        count["sl_hits"] = len(list(hits.keys(16)))
    return count


def test_many_cgroups(tree, capsys):
    """Made, attached, used and removed, some at a time, half of them below a default: nothing
    is left."""
    default, alone = tree.make("default"), tree.make("alone")
    file = tree.file(policy(f'allow: ["{PEER4}"]', 'allow: "a.example:443"', dns="{resolvers: [192.0.2.53]}"))
    tree.sluice("attach", "--cgroup", default, "-p", tree.file(NOTHING))
    tree.status()
    before, objects, batch = held(tree), snapshot(), 25
    begin, denied = time.monotonic(), tree.lab.fresh()
    for first in range(0, CGROUPS, batch):
        if time.monotonic() - begin > SECONDS:
            break
        paths = [tree.make(f"{'default' if i % 2 else 'alone'}/{i}")
                 for i in range(first, first + batch)]
        for path in paths:
            tree.sluice("attach", "--cgroup", path, "-p", file)
        if not first:       # what is looked for afterwards is there now
            now = held(tree)
            assert all(now[name] == before[name] + batch for name in OUTER), (before, now)
        agent = tree.agent(paths[first // batch % batch])
        assert reaches(agent, PEER4) and not reaches(agent, denied)
        agent.close()
        for path in paths:
            tree.remove(path)
        done = first + batch
    seconds = time.monotonic() - begin
    assert until(lambda: targets(tree) == {str(default)}, 15, 0.1), targets(tree)

    def leaked():
        """New objects of the whole machine: others may be at work on it."""
        now = snapshot()
        return {kind: len(now[kind] - objects[kind]) for kind in now}
    until(lambda: not any(leaked().values()), 5, 0.2)
    with capsys.disabled():
        print(f"\n{done} cgroups in {seconds:.1f} s; left on the machine: {leaked()}")
    assert held(tree) == before
    assert done >= 100


# ---- pins that are not ours ----

def test_foreign_pins(tree):
    """A map of another kind in the place of one of ours: refused by its path, and what is
    attached goes on."""
    path, denied = tree.make("foreign"), tree.lab.fresh()
    tree.attach(path, PEERS)
    agent = tree.agent(path)
    pin = tree.state / "cgroups" / "sl_cgroups"
    kept = tree.state / "kept"
    os.rename(pin, kept)
    os.link(tree.state / "sl_words", pin)
    try:
        done = tree.attach(path, NOTHING, check=False)
        assert done.returncode == 1 and str(pin) in done.stderr, done.stderr
        os.unlink(pin)
        done = tree.attach(path, NOTHING, check=False)
        assert done.returncode == 1 and "missing" in done.stderr, done.stderr
        assert reaches(agent, PEER4) and not reaches(agent, denied)
    finally:
        if pin.exists():
            os.unlink(pin)
        os.rename(kept, pin)
    tree.attach(path, NOTHING)
    assert not reaches(agent, PEER4)


def test_at_too_many_depths(tree):
    """Eight depths below one attach point are followed; a ninth is refused, and nothing has
    changed."""
    path, paths = tree.make("0"), []
    for i in range(1, 11):
        paths.append(path)
        path = tree.make("/".join("0" * (i + 1)))
    for path in paths[:8]:
        tree.attach(path, PEERS)
    done = tree.attach(paths[8], PEERS, check=False)
    assert done.returncode == 1 and "8 different depths" in done.stderr, done.stderr
    assert len(tree.status()) == 8
    far = tree.lab.fresh()
    agent = tree.agent(paths[9])
    assert reaches(agent, PEER4) and not reaches(agent, far)


def test_where_the_root_is_hidden(tree):
    """In a mount of a part of the hierarchy the place of a cgroup is not known: refused."""
    path = tree.make("part")
    below = tree.make("part/below")
    mount = tree.lab.new_folder()
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c",
         'mount --bind "$0" "$1" && exec "$2" attach --cgroup "$1/below" -p "$3"', str(path),
         str(mount), SLUICE, str(tree.file(PEERS))], env=tree.env, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and "root of the hierarchy" in done.stderr, done.stderr
    assert below.exists() and not tree.sluice("status").stderr


# ---- another version ----

def test_another_versions_programs(tree):
    """Those of a version that says it is another are replaced by overlap, in every link, at
    the next attach: no packet goes unjudged, no flow is cut."""
    parent, child, other = tree.make("p"), tree.make("p/c"), tree.make("other")
    denied, file = tree.lab.fresh(), tree.file(PEERS)
    for path in (parent, child, other):
        tree.sluice("attach", "--cgroup", path, "-p", file)
    agent = tree.agent(child)
    agent.do("open_socket", family=2, type=1, hold="s")
    assert agent.do("use", use="s", to=PEER4, port=ECHO)["errno"] is None
    prober = Prober(tree, child, PEER4, denied)
    for _ in range(5):
        before = programs_of(tree)
        pretend_another_version(tree)
        tree.sluice("attach", "--cgroup", other, "-p", file)
        after = programs_of(tree)
        assert after.keys() == before.keys() and len(set(after.values())) == 8
        assert not set(after.values()) & set(before.values())
        tree.sluice("attach", "--cgroup", other, "-p", file)
        assert programs_of(tree) == after       # once is enough
    prober.stop()
    assert agent.do("use", use="s")["errno"] is None
    assert not tree.lab.wire.seen(denied)


def programs_of(tree):
    """The program of each link, by its pin; and each pinned one is that of its links."""
    found = {}
    for pin in (tree.state / "cgroups").glob("*/sluice_*"):
        shown = json.loads(sh("bpftool", "-j", "link", "show", "pinned", str(pin)))
        found[pin] = (shown[0] if isinstance(shown, list) else shown)["prog_id"]
    for pin in (tree.state / "cgroups").glob("sluice_*"):
        own = json.loads(sh("bpftool", "-j", "prog", "show", "pinned", str(pin)))["id"]
        assert {v for k, v in found.items() if k.name == pin.name} == {own}
    return found


def pretend_another_version(tree):
    """Changes what struct sl_info says of the object that the programs are of."""
    pin = str(tree.state / "sl_info")
    value = json.loads(sh("bpftool", "-j", "map", "lookup", "pinned", pin, "key", "0", "0", "0",
                          "0"))["value"]
    value[CGROUP_PROGRAMS] = f"{int(value[CGROUP_PROGRAMS], 16) ^ 0xff:#04x}"
    sh("bpftool", "map", "update", "pinned", pin, "key", "0", "0", "0", "0", "value", *value)
