# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice attach --cgroup`: who decides, where targets are below others, processes move between
them, and sockets are given away."""
from cgrouplab import policy
from cgroupways import FAMILIES, NOTHING, PEERS, Prober, pass_on, peer, reaches
from lab import ECHO, PEER4, PEER6, matching, total


def test_nesting(tree):
    """The child's own policy decides, a sibling falls to the parent's, a grandchild
    inherits the child's, each in both families; the parent is as before."""
    parent = tree.make("p")
    child, sibling, grandchild = (tree.make(f"p/{n}") for n in ("c", "s", "c/g"))
    far4, far6 = tree.lab.fresh(), tree.lab.fresh(True)
    tree.attach(parent, PEERS)
    tree.attach(child, policy(f'allow: ["{far4}", "{far6}"]', name="far"))
    for path, near, far in ((parent, True, False), (sibling, True, False), (child, False, True),
                            (grandchild, False, True)):
        agent = tree.agent(path)
        for v6 in (False, True):
            assert reaches(agent, peer(v6)) == near, path
            assert reaches(agent, far6 if v6 else far4) == far, path
            assert reaches(agent, peer(v6), "ping") == near, path
    status = tree.status()
    assert {t["via"] for t in status.values()} == {str(parent)}
    allowed = {p: status[tree.id(p)]["allowed"] for p in (parent, child)}
    assert allowed == {parent: 8, child: 4}


def test_a_parent_goes_its_children_stay(tree):
    parent, child = tree.make("p"), tree.make("p/c")
    of_parent, of_child = tree.agent(parent), tree.agent(child)
    tree.attach(parent, NOTHING)
    tree.attach(child, PEERS)
    far = tree.lab.fresh()
    assert not reaches(of_parent, PEER4) and not reaches(of_child, far)
    assert "nothing judges" in tree.detach(parent).stdout
    assert reaches(of_parent, PEER4) and reaches(of_child, PEER4)
    assert not reaches(of_child, far)
    tree.attach(parent, NOTHING)        # again, over what is there
    assert not reaches(of_parent, PEER4) and reaches(of_child, PEER4)
    assert "above" in tree.detach(child).stdout
    assert not reaches(of_child, PEER4)
    tree.detach(parent)
    assert not [p for p in (tree.state / "cgroups").iterdir() if p.is_dir()]


def test_a_parent_comes_later(tree):
    """Attach points below are folded into the new one's: one set of programs judges, and
    each target's own policy goes on."""
    parent = tree.make("p")
    children = [tree.make(f"p/{n}") for n in "ab"]
    agents = [tree.agent(path) for path in children]
    far = tree.lab.fresh()
    tree.attach(children[0], PEERS)
    tree.attach(children[1], policy(f"allow: {far}"))
    assert {t["via"] for t in tree.status().values()} == {str(c) for c in children}
    tree.watch()
    tree.attach(parent, NOTHING)
    status = tree.status()
    assert {t["via"] for t in status.values()} == {str(parent)}
    assert all(t["attached"] for t in status.values())
    before = {i: status[i]["decided"] for i in map(tree.id, children)}
    assert reaches(agents[0], PEER4) and reaches(agents[1], far)
    assert not reaches(agents[0], far) and not reaches(agents[1], PEER4)
    assert not reaches(tree.agent(parent), PEER4)
    assert not reaches(agents[0], far, "ping")
    after = tree.status()
    decided = [after[tree.id(c)]["decided"] - before[tree.id(c)] for c in children]
    assert decided == [3, 2], "judged once each"
    assert total(matching(tree.events(), destination=far)) == 2
    links = {p.name: len(list(p.iterdir())) for p in (tree.state / "cgroups").iterdir()
             if p.is_dir()}
    assert links == {str(tree.id(parent)): 8, **{str(tree.id(c)): 1 for c in children}}


def test_changes_above_a_target(tree):
    """While targets come and go above and beside it, a child that has a policy reaches what
    it may, and nothing else, with every packet."""
    parent, child, beside = tree.make("p"), tree.make("p/c"), tree.make("p/d")
    denied = tree.lab.fresh()
    tree.attach(child, PEERS)
    prober = Prober(tree, child, PEER4, denied)
    for _ in range(8):
        tree.attach(parent, NOTHING)
        tree.attach(beside, NOTHING)
        tree.attach(child, PEERS)
        tree.detach(parent)
        tree.attach(parent, PEERS)
        tree.detach(beside)
        tree.detach(parent)
    prober.stop()
    assert not tree.lab.wire.seen(denied)


def test_processes_that_move(tree):
    """A socket is of the cgroup that it was made in, a new one of the process's own now; who
    uses a socket of another target is a foreign task."""
    here, there = tree.make("here"), tree.make("there")
    far = tree.lab.fresh()
    tree.attach(here, PEERS)
    tree.attach(there, policy(f"allow: {far}"))
    tree.watch()
    agent = tree.agent(here)
    for name in ("connected", "unused"):
        agent.do("open_socket", family=2, type=1, hold=name)
    assert agent.do("use", use="connected", to=PEER4, port=ECHO)["errno"] is None
    agent.do("write", path=str(there / "cgroup.procs"))
    assert not reaches(agent, PEER4) and reaches(agent, far)
    assert agent.do("use", use="connected")["errno"] is None    # an open flow lives on
    assert agent.do("use", use="unused", to=PEER4, port=ECHO)["errno"] == "ECONNREFUSED"
    events = tree.events()
    ours = [(e["reason"], e["target"]["name"]) for e in events if e["target"]["name"]]
    assert ours == [("default", str(there)), ("foreign-task", str(here))]


@FAMILIES
def test_sockets_that_are_given_away(tree, v6):
    """To a process outside, and to one of another target: neither gets out by a socket of
    the first, and the first target's policy judges its packets."""
    lab = tree.lab
    mine, others = tree.make("mine"), tree.make("others")
    tree.attach(mine, PEERS)
    tree.attach(others, NOTHING)
    for taker in (lab.agent(), tree.agent(others)):
        giver = tree.agent(mine)
        for kind, name in ((1, "tcp"), (2, "udp")):
            giver.do("open_socket", family=10 if v6 else 2, type=kind, hold=name)
        giver.do("open_socket", family=10 if v6 else 2, type=3, protocol=255, hold="raw")
        for name in ("tcp", "udp", "raw"):
            pass_on(lab, giver, taker, name)
        for name in ("tcp", "udp"):
            result = taker.do("use", use=name, to=peer(v6), port=ECHO)
            assert result["errno"] in ("ECONNREFUSED", "EPERM", "EHOSTUNREACH"), result
        far = lab.fresh(v6)
        assert taker.do("use", use="udp", to=far, port=ECHO)["errno"]
        assert not lab.wire.seen(far)


def test_run_within_a_target(tree):
    """`sluice run` in a cgroup that has a policy: both have to allow."""
    path = tree.make("outer")
    far = tree.lab.fresh()
    tree.attach(path, policy(f'allow: ["{PEER4}", "{PEER6}"]'))
    agent = tree.lab.sluice(policy(f'allow: ["{PEER4}", {far}]'), before=tree.within(path))
    assert reaches(agent, PEER4)
    assert not reaches(agent, PEER6) and not reaches(agent, far)


@FAMILIES
def test_where_datagrams_went_is_one_policys(tree, v6):
    """The sendmsg hooks remember what passed. That is nothing to another target, another port
    or protocol, the next policy; and the next one's answer is remembered no longer than it holds."""
    paths, to = [tree.make(name) for name in ("sends", "may-not")], peer(v6)
    only_echo = policy(f'allow: "{f"[{to}]" if v6 else to}:{ECHO}/udp"')
    tree.attach(paths[0], only_echo)
    tree.attach(paths[1], NOTHING)
    agent, other = (tree.agent(path) for path in paths)
    for _ in range(3):
        assert reaches(agent, to, "udp")
        assert other.do("udp", to=to, port=ECHO)["errno"] == "EHOSTUNREACH"
        assert agent.do("udp", to=to, port=ECHO + 1)["errno"] == "EHOSTUNREACH"
        assert not reaches(agent, to)
    tree.attach(paths[0], NOTHING)
    for _ in range(2):
        assert agent.do("udp", to=to, port=ECHO)["errno"] == "EHOSTUNREACH"
    tree.attach(paths[0], only_echo)
    assert reaches(agent, to, "udp")


@FAMILIES
def test_where_datagrams_went_is_one_users(tree, v6):
    """What a policy without users let pass is anyone's; under one with users it is the user's who
    sent. Refused by the sendmsg hook, which remembers: the packet's would say EPERM."""
    path, to = tree.make("users"), peer(v6)
    for_one = policy(f'allow: {{to: "{to}", ports: {ECHO}, protocol: udp, uid: 4242}}')
    for_all = policy(f'allow: {{to: "{to}", ports: {ECHO}, protocol: udp}}')
    tree.attach(path, for_one)
    agents = {uid: tree.agent(path) for uid in (4242, 4243)}
    for uid, agent in agents.items():
        agent.do("become", uid=uid)
    for attached in (for_one, for_all, for_one):
        tree.attach(path, attached)
        for _ in range(3):
            assert reaches(agents[4242], to, "udp")
            if attached is for_all:
                assert reaches(agents[4243], to, "udp")
            else:
                assert agents[4243].do("udp", to=to, port=ECHO)["errno"] == "EHOSTUNREACH"
