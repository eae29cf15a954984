# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice attach --cgroup`: real processes in real cgroups. What is denied is first
seen to arrive without; what one target is denied another is allowed."""
import os
import pathlib
import socket
import subprocess

import pytest

from cgrouplab import policy
from cgroupways import FAMILIES, NOTHING, PEERS, peer, reaches
from lab import ECHO, PEER4, PEER6, WAIT, matching, total, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
# kind, what a denial is called where the call can tell, options
WAYS = [
    ("tcp", "ECONNREFUSED", {"port": ECHO}),
    ("udp", "EHOSTUNREACH", {"port": ECHO}),
    ("udp_connected", "EPERM", {"port": ECHO}),
    ("ping", "EPERM", {}),
    ("raw_icmp", "EPERM", {}),
]


# ---- what is judged ----

@FAMILIES
@pytest.mark.parametrize("kind,error,options", WAYS, ids=[w[0] for w in WAYS])
@pytest.mark.parametrize("first", ["process", "policy"])
def test_ways_out(tree, kind, error, options, v6, first):
    """The same process: answered before, denied after; what is allowed is answered. With
    the process there first, and with the policy first (whose cgroup is then taken to be
    of the host's network namespace)."""
    lab, path = tree.lab, tree.make("ways")
    if first == "process":
        agent, open_to = tree.agent(path), lab.fresh(v6)
        assert agent.do(kind, to=open_to, **options)["errno"] is None
        assert lab.wire.seen(open_to)
    tree.attach(path, PEERS)
    if first == "policy":
        agent = tree.agent(path)
        outside = lab.agent()
        open_to = lab.fresh(v6)
        assert outside.do(kind, to=open_to, **options)["errno"] is None
        assert lab.wire.seen(open_to)
    shut_to = lab.fresh(v6)
    result = agent.do(kind, to=shut_to, **options)
    if (kind, v6) == ("ping", True):    # the kernel keeps the error to itself
        error = "timeout"
    assert result["errno"] == error, result
    assert error == "timeout" or result["ms"] < 500
    assert not lab.wire.seen(shut_to)
    assert agent.do(kind, to=peer(v6), **options)["errno"] is None
    tree.detach(path)
    assert agent.do(kind, to=shut_to, **options)["errno"] is None
    assert lab.wire.seen(shut_to)


@FAMILIES
def test_forged_packets(tree, v6):
    """A whole packet of a raw socket, to a place that is denied."""
    lab, path = tree.lab, tree.make("forged")
    agent = tree.agent(path)
    source = "2001:db8::1" if v6 else "192.0.2.1"
    to = [lab.fresh(v6), lab.fresh(v6)]
    assert agent.do("hdrincl", to=to[0], port=99, **{"from": source})["errno"] is None
    assert lab.wire.seen(to[0])
    tree.attach(path, PEERS)
    assert agent.do("hdrincl", to=to[1], port=99, **{"from": source})["errno"] == "EPERM"
    assert agent.do("hdrincl", to=peer(v6), port=99, **{"from": source})["errno"] is None
    assert not lab.wire.seen(to[1]) and lab.wire.seen(peer(v6), dport=99)


@FAMILIES
def test_inbound(tree, v6):
    """A stranger gets in without a policy, not with one that has `inbound: replies`."""
    lab, path = tree.lab, tree.make("inbound")
    agent, client = tree.agent(path), lab.agent(lab.peer)
    to = "2001:db8::1" if v6 else "192.0.2.1"
    agent.do("listen", to="::" if v6 else "0.0.0.0", port=2200, hold="s")
    opening = policy(inbound="[{from: any, ports: 2200, protocol: tcp}]")
    for text, served in ((None, True), (NOTHING, False), (opening, True)):
        if text:
            tree.attach(path, text)
        agent.send("accept", use="s", timeout=WAIT if served else 0.7)
        result = client.do("tcp", to=to, port=2200, timeout=WAIT if served else 0.6)
        assert (result["reply"] == "hello") == served, (text, result)
        assert (agent.receive()["reply"] == "hello") == served


SO_NETNS_COOKIE = 71


def test_flows_of_two_namespaces(tree):
    """Two flows whose ports differ by what their namespaces' cookies do: each is known again,
    and counted once."""
    path, lab = tree.make("two"), tree.lab
    here, there = tree.agent(path), tree.agent(path, ns=lab.peer)
    here.do("cgroup")
    tree.attach(path, policy("allow: any"))
    with lab.socket(lab.peer, socket.AF_INET, socket.SOCK_DGRAM) as s:
        cookie = int.from_bytes(s.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")
    port, peers = 20000 ^ cookie & 0xffff, 9999 ^ cookie >> 16
    here.do("open_socket", family=2, type=2, hold="u", bind=["192.0.2.1", 20000])
    there.do("open_socket", family=2, type=2, hold="u", bind=[PEER4, peers])
    for _ in range(6):      # nobody is there: every other send says so
        here.do("use", use="u", to=PEER4, port=9999, no_reply=True)
        there.do("use", use="u", to="192.0.2.1", port=port, no_reply=True)
    assert tree.status()[tree.id(path)]["allowed"] == 2


def test_loopback_of_a_target_that_was_empty(tree):
    """Attached before its first process: a socket made then and one made after the next
    attach talk to each other."""
    path = tree.make("lo")
    tree.attach(path, policy('allow: "@loopback"'))
    server = tree.agent(path)
    server.do("listen", to="127.0.0.1", port=2300, hold="s")
    tree.attach(path, policy('allow: "@loopback"'))
    client = tree.agent(path)
    server.send("accept", use="s")
    assert client.do("tcp", to="127.0.0.1", port=2300)["reply"] == "hello"
    assert server.receive()["errno"] is None


def test_audit(tree):
    lab, path = tree.lab, tree.make("audit")
    agent, to = tree.agent(path), tree.lab.fresh()
    tree.watch()
    tree.attach(path, PEERS, "--audit")
    assert reaches(agent, to) and lab.wire.seen(to)
    assert tree.status()[tree.id(path)]["mode"] == "audit"
    event, = matching(tree.events(), destination=to)
    assert event["verdict"] == "audit-deny"


def test_uids(tree):
    """A rule for one user holds for sockets that this user made: another's, and the root's
    whose socket it got, are denied."""
    path = tree.make("uids")
    tree.attach(path, policy(f'allow: {{to: ["{PEER4}", "{PEER6}"], uid: 4242}}'))
    for v6 in (False, True):
        for uid, answered in ((4242, True), (4243, False)):
            agent = tree.agent(path)
            agent.do("open_socket", family=10 if v6 else 2, type=1, hold="of_root")
            agent.do("become", uid=uid)
            assert reaches(agent, peer(v6)) == answered
            assert agent.do("use", use="of_root", to=peer(v6), port=ECHO)["errno"]
            agent.close()


def test_a_policy_that_gets_uid_rules(tree):
    """The next generation has uid rules: sockets made from then on have users."""
    path = tree.make("later")
    agent = tree.agent(path)
    tree.attach(path, PEERS)
    assert reaches(agent, PEER4)
    tree.attach(path, policy(f'allow: {{to: "{PEER4}", uid: 4242}}'))
    assert not reaches(agent, PEER4)
    agent.do("become", uid=4242)
    assert reaches(agent, PEER4)


# ---- what there is to see ----

@FAMILIES
def test_events_and_counters(tree, v6):
    path = tree.make("seen")
    far = tree.lab.fresh(v6)
    tree.watch()
    tree.attach(path, PEERS)
    agent = tree.agent(path)
    for _ in range(3):
        assert not reaches(agent, far)
    assert reaches(agent, peer(v6)) and reaches(agent, peer(v6), "udp")
    assert not reaches(agent, far, "ping")
    target = tree.status()[tree.id(path)]
    assert (target["kind"], target["name"], target["policy"]) == ("cgroup", str(path), "peers")
    assert target["attached"] and not target["removed"] and target["via"] == str(path)
    assert (target["allowed"], target["denied"], target["lost"]) == (2, 4, 0)
    assert target["decided"] == target["submitted"] + target["suppressed"]
    assert target["tx_frames"] > 0 and target["rx_frames"] > 0 and target["tx_denied"] == 1
    rows = {(row["rule"], row["reason"]): row["count"] for row in tree.rules(path)}
    assert rows == {("peers", "rule"): 2, (None, "default"): 4}
    events = matching(tree.events(), destination=far)
    assert {e["target"]["name"] for e in events} == {str(path)}
    assert {e["target"]["kind"] for e in events} == {"cgroup"}
    assert total(events) == 4
    assert {e["process"]["comm"] for e in events} == {"client.py"} or \
        {e["process"]["comm"] for e in events} == {"python3"}


def test_status_in_words(tree):
    path = tree.make("a\x1b[31m")
    tree.attach(path, PEERS)
    text = tree.sluice("status").stdout
    assert "\\x1b[31m" in text and "\x1b" not in text
    assert "peers" in text


@pytest.mark.parametrize("words,said", [
    (["attach", "--cgroup", "/no/such", "-p", "/dev/null"], "cgroup '/no/such'"),
    (["attach", "--cgroup", "/tmp", "-p", "/dev/null"], "not on a cgroup2 file system"),
    (["attach", "--cgroup", "/", "--dev", "lo", "-p", "x"], "--dev or --cgroup"),
    (["attach", "--cgroup", "/", "--mac", "52:54:00:00:00:01", "-p", "x"], "--mac is for devices"),
    (["detach", "--cgroup", "/no/such"], "/no/such"),
    (["detach", "--cgroup", "/", "--dev", "lo"], "one of --dev"),
    (["rules", "--cgroup", "/", "--sets"], "--cgroup stands alone"),
])
def test_what_is_refused(tree, words, said):
    tree.attach(tree.make("there"), PEERS)
    done = tree.sluice(*words, check=False)
    assert done.returncode in (1, 2) and said in done.stderr, done.stderr


def test_what_has_no_policy(tree):
    path, other = tree.make("one"), tree.make("other")
    tree.attach(path, PEERS)
    for command in ("detach", "rules"):
        done = tree.sluice(command, "--cgroup", other, check=False)
        assert done.returncode == 1 and "has no policy" in done.stderr


# ---- held ----

@FAMILIES
def test_held_until_a_policy_comes(tree, v6):
    """Nothing passes, be it under a target or not, and it stays so when who held it has
    ended; a target that has a policy keeps it; the policy then opens."""
    parent, child = tree.make("p"), tree.make("p/c")
    agent = tree.agent(child)
    assert reaches(agent, peer(v6))
    for below in (False, True):
        if below:
            tree.attach(parent, PEERS)
        hold(tree, child)
        for kind in ("tcp", "udp", "ping"):
            assert not reaches(agent, peer(v6), kind, timeout=0.5), kind
        target = tree.status()[tree.id(child)]
        assert target["attached"] and not target["generation"]
        tree.attach(child, PEERS)
        assert reaches(agent, peer(v6))
        hold(tree, child)
        assert reaches(agent, peer(v6), "ping")
        tree.detach(child)


def hold(tree, path):
    subprocess.run([BUILD / "tests" / "cgroup_hold", tree.state, path], check=True, timeout=60)


# ---- a new policy ----

@FAMILIES
def test_a_new_policy_judges_live_flows(tree, v6):
    """What both allow does not notice, over TCP and UDP; what the new one denies is cut."""
    lab, path = tree.lab, tree.make("reload")
    far = lab.fresh(v6)
    both = policy(f'allow: ["{PEER4}", "{PEER6}", "{far}"], id: both')
    tree.attach(path, both)
    agent = tree.agent(path)
    for name, to, kind in (("near", peer(v6), 2), ("far", far, 2), ("stays", peer(v6), 2)):
        agent.do("open_socket", family=10 if v6 else 2, type=kind, hold=name)
        assert agent.do("use", use=name, to=to, port=ECHO)["errno"] is None
    for _ in range(20):
        tree.attach(path, both)
        assert agent.do("use", use="near")["errno"] is None
        assert agent.do("use", use="far")["errno"] is None
    assert tree.status()[tree.id(path)]["allowed"] == 3
    tree.attach(path, PEERS)
    assert agent.do("use", use="near")["errno"] is None
    assert agent.do("use", use="far")["errno"] == "EPERM"
    rows = {row["rule"]: row["count"] for row in tree.rules(path)}
    assert rows["peers"] >= 0 and rows[None] >= 1


def test_a_bad_policy_changes_nothing(tree):
    path = tree.make("kept")
    tree.attach(path, PEERS)
    agent, far = tree.agent(path), tree.lab.fresh()
    before = tree.status()[tree.id(path)]["generation"]
    done = tree.attach(path, "sluice: 1\nrules:\n  - allow: [1.2.3]\n", check=False)
    assert done.returncode == 1 and ":3:" in done.stderr
    assert tree.status()[tree.id(path)]["generation"] == before
    assert reaches(agent, PEER4) and not reaches(agent, far)


def test_a_link_that_was_taken_off(tree):
    """`status` says so, and attaching again puts it back."""
    path = tree.make("taken")
    tree.attach(path, PEERS)
    agent, far = tree.agent(path), tree.lab.fresh()
    (tree.state / "cgroups" / str(tree.id(path)) / "sluice_egress").unlink()
    request = {"kind": "ping", "to": far, "timeout": 0.1}
    assert until(lambda: agent.do(**request) and tree.lab.wire.seen(far)), "the link is gone"
    target = tree.status()[tree.id(path)]
    assert not target["attached"]
    assert "taken off" in tree.sluice("status").stdout
    tree.attach(path, PEERS)
    assert tree.status()[tree.id(path)]["attached"]
    assert agent.do("ping", to=tree.lab.fresh())["errno"] == "EPERM"
