# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names (docs/names.md) for cgroups that `sluice attach` gave a policy: the C library's own
lookups, with several targets that know different names."""
import os

import pytest

import cgrouplab
import dnsmsg
import lab as base
from dnslab import GOOD, SAYS, WEB, policy
from lab import PEER4, PYTHON, matching, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
TREE_OVER = "dnslab"

NAMES = [f"h{i}.good.example" for i in range(4)] + [
    "chain.good.example", "many.good.example", "one.good.example", "six.good.example"]
ALLOW_BAD = 'allow: "*.bad.example:7", id: bad'


def client(tree, path, *lines):
    lab = tree.lab
    agent = base.Agent(lab.inside() + tree.within(path) +
                       lab.resolvconf(*(lines or [f"nameserver {PEER4}"])) +
                       [PYTHON, str(lab.folder / "dns_client.py")], lab.new_folder())
    lab.agents.append(agent)
    return agent


@pytest.mark.parametrize("options", [
    ["nameserver 192.0.2.2"], ["nameserver 2001:db8::2"],
    ["nameserver 192.0.2.2", "options use-vc"],
], ids=["v4", "v6", "tcp"])
def test_lookups_and_connections(tree, options):
    path = tree.make("names")
    agent = client(tree, path, *options)
    shut = agent.do("lookups", names=["a.bad.example"], times=1)["reply"]
    assert shut["failed"] == 0, "it resolves and answers without a policy"
    tree.attach(path, policy(GOOD))
    said = agent.do("lookups", wait=60, names=NAMES, seconds=1, mixed=True, first=30)["reply"]
    assert said["failed"] == 0, said["failures"]
    assert said["done"] > 20 and said["connected"] > said["done"]
    if "options use-vc" not in options:     # docs/names.md: over TCP glibc waits
        refused = agent.do("resolve", name="a.bad.example")
        assert refused["errno"] and refused["ms"] < 50, refused
    assert agent.do("tcp", to="198.51.100.30", port=7)["errno"] == "ECONNREFUSED"


def test_rules_say_why_the_gate_decides_before_it_has_and_after(tree):
    path = tree.make("gate")
    agent = client(tree, path)

    def rows():
        return {row["rule"]: (row["reason"], row["count"]) for row in tree.rules(path)}
    tree.attach(path, policy(GOOD))
    assert rows()["dns-gate"] == ("dns-gate", 0) and rows()["dns-resolver"] == ("dns-resolver", 0)
    assert agent.do("tcp", to="198.51.100.30", port=853)["errno"] == "ECONNREFUSED"
    assert agent.do("lookups", names=["h0.good.example"], times=1)["reply"]["failed"] == 0
    assert rows()["dns-gate"] == ("dns-gate", 1)
    assert rows()["dns-resolver"][0] == "dns-resolver" and rows()["dns-resolver"][1] > 0
    path = tree.make("plain")       # without a gate the id is anybody's
    tree.attach(path, "sluice: 1\nrules:\n  - deny: 192.0.2.9\n    id: dns-gate\n")
    assert rows()["dns-gate"] == ("rule", 0)


def test_a_name_is_known_to_its_target(tree):
    """What one target has learned another does not know, a child's has its own, and below a
    target without a policy of its own its parent's is known."""
    parent, child, heir = tree.make("p"), tree.make("p/c"), tree.make("p/h")
    tree.attach(parent, policy(GOOD))
    tree.attach(child, policy(ALLOW_BAD))
    tree.watch()
    of_parent, of_child, of_heir = (client(tree, p) for p in (parent, child, heir))
    good, bad = "198.51.100.10", "198.51.100.30"
    assert of_child.do("tcp", to=good, port=7)["errno"] == "ECONNREFUSED"
    assert of_parent.do("lookups", names=["h0.good.example"], times=1)["reply"]["failed"] == 0
    assert of_heir.do("tcp", to=good, port=7)["errno"] is None
    assert of_child.do("tcp", to=good, port=7)["errno"] == "ECONNREFUSED"
    assert of_child.do("lookups", names=["a.bad.example"], times=1)["reply"]["failed"] == 0
    assert of_parent.do("tcp", to=bad, port=7)["errno"] == "ECONNREFUSED"
    assert of_child.do("resolve", name="h1.good.example")["errno"]
    assert of_parent.do("resolve", name="b.bad.example")["errno"]
    refused = [(e["target"]["name"], e["question"]["name"]) for e in tree.events()
               if e["question"]]
    assert (str(child), "h1.good.example") in refused
    assert (str(parent), "b.bad.example") in refused


@pytest.mark.parametrize("family", [4, 6])
def test_questions_have_the_targets_own_room(tree, family):
    """Who asks and asks, and is not answered, fills the room for its own questions, and is told
    `dns-pending`; another's question stays outstanding: its answer comes, and teaches."""
    kind = dnsmsg.A if family == 4 else dnsmsg.AAAA
    says, paths = tree.lab.says, [tree.make("loud"), tree.make("quiet")]
    for path in paths:
        tree.attach(path, policy(GOOD))
    tree.watch()
    loud, quiet = (client(tree, path) for path in paths)
    try:
        says.handler = lambda q: []
        asked = dnsmsg.query("late.good.example", kind, 7)
        quiet.do("ask", to=SAYS[family], messages=[asked.hex()], hold="s", timeout=0.1)
        assert until(lambda: says.heard("late.good.example"))
        peer = says.peers[family]
        flood = [dnsmsg.query("x.good.example", kind, ident).hex() for ident in range(17000)]
        said = loud.do("ask", wait=60, to=SAYS[family], messages=flood, answers=0)
        assert (said["errno"], said["at"]) == ("EPERM", "sendto"), said
        # it was let ask before that; most of it the resolver's buffer had no room for
        assert until(lambda: len(says.heard("x.good.example")) > 100)
        says.place(SAYS[family], 53).sendto(
            dnsmsg.answer(asked, [dnsmsg.record(None, kind, WEB[family])]), peer)
        assert quiet.do("hear", use="s")["reply"]
        assert quiet.do("tcp", to=WEB[family], port=7)["errno"] is None
        assert until(lambda: matching(tree.events(), event="dns", reason="dns-pending"))
        assert {e["target"]["name"] for e in matching(tree.events(), verdict="deny")} == {
            str(paths[0])}
    finally:
        says.handler = says.plain


def test_a_policy_that_gets_names(tree):
    """The next generation knows names, then another one other names: flows that it still
    allows live on."""
    path = tree.make("later")
    tree.attach(path, cgrouplab.policy("allow: 198.51.100.10:7"))
    agent = client(tree, path)
    assert agent.do("resolve", name="h0.good.example")["errno"]
    tree.attach(path, policy(GOOD))
    assert agent.do("lookups", names=["h0.good.example"], times=1)["reply"]["failed"] == 0
    assert agent.do("talk_again", use="s", to="198.51.100.10")["reply"] == "again"
    tree.attach(path, policy('allow: "h0.good.example:7"', ALLOW_BAD))
    assert agent.do("talk_again", use="s", to="198.51.100.10")["reply"] == "again"
    assert agent.do("resolve", name="h1.good.example")["errno"]
    tree.attach(path, policy(ALLOW_BAD))
    assert agent.do("talk_again", use="s", to="198.51.100.10")["errno"]


def test_a_forwarder_is_refused(tree):
    """`dns: {mode: forward}` needs a process that answers."""
    done = tree.attach(tree.make("forward"), policy(GOOD, dns="mode: forward"), check=False)
    assert done.returncode == 1 and ":3:" in done.stderr, done.stderr
    assert "mode: forward" in done.stderr and not tree.status()


def test_resolvers_of_the_workload(tree):
    """`dns: {resolvers: system}` means those of a process of the cgroup."""
    path = tree.make("conf")
    agent = client(tree, path)
    agent.do("cgroup")                  # it is there, with its own resolv.conf
    text = "sluice: 1\nname: system\ndns: {resolvers: system}\n" \
           "rules:\n  - {allow: \"*.good.example:7\"}\n"
    tree.attach(path, text)
    assert agent.do("lookups", names=["h0.good.example"], times=1)["reply"]["failed"] == 0
    tree.watch()
    assert agent.do("udp", to="198.51.100.54", port=53)["errno"]
    assert matching(tree.events(), destination="198.51.100.54")
