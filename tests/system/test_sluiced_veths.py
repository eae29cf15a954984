# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The host's ends of pods' veths: what a pod sends past the hooks of its cgroup."""
import json
import os
import pathlib

import pytest

from crilab import NODE
from lab import SLUICE, sh, until
from ocilab import ADDRESSES, ALL, PROBE, SOME
from podlab import config, egress, put
from vethlab import machine_of_all, pytestmark  # noqa: F401
from vethlab import ALLOWED, DENIED, Inside, judged, packet, told

BEHIND = ("10.9.9.2", "2001:db8:9::2")


def test_a_packet_socket_is_judged(node):
    pod = node.pod(labels={"app": "web"})
    inside = Inside(node, pod)
    assert inside.sends() == 2
    node.start_daemon()
    node.known(pod)
    target = judged(node, pod)
    assert node.known(pod)["veths"] == [target["name"]]
    assert target["policy"] == "shop.web" and target["pod"]["name"] == "web"
    assert inside.sends() == 0
    assert until(lambda: len(told(node, DENIED)) == 2)
    assert told(node, DENIED) == [("device", a) for a in sorted(ADDRESSES)]


def test_what_a_socket_sends_is_told_once(node):
    put(node, "web.yaml", egress() + "  log: all\n")
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    node.known(pod)
    judged(node, pod)
    pod.start()
    assert pod.probe() == SOME
    assert until(lambda: len(told(node, 7002)) >= 2)
    node.daemon.close()                         # everything is written
    node.daemon = None
    for port, verdict in ((7002, "deny"), (DENIED, "deny"), (ALLOWED, "allow")):
        assert told(node, port, verdict) == [("cgroup", a) for a in sorted(ADDRESSES)]


def test_a_network_behind_the_pods(node):
    """A container in the container: its sockets are of another cgroup, its packets the pod's."""
    pod = node.pod(labels={"app": "web"})
    inside = Inside(node, pod)
    with behind(node, inside) as run:
        assert run() == ALL and node.arrived() == [2, 2, 2]
        node.start_daemon()
        node.known(pod)
        judged(node, pod)
        assert run()[1:3] == ["yes", "no"] and node.arrived() == [0, 2, 0]


class behind:                                   # pylint: disable=invalid-name
    """A namespace behind the pod's; called: the probe from there."""

    def __init__(self, node, inside):
        self.node, self.inside, self.name = node, inside, f"sl-behind-{os.getpid()}"

    def __enter__(self):
        sh("ip", "netns", "add", self.name)
        for words in ("link add in0 type veth peer name eth0 netns " + self.name,
                      "link set in0 up", "addr add 10.9.9.1/24 dev in0",
                      "addr add 2001:db8:9::1/64 dev in0 nodad"):
            self.inside.ip(*words.split())
        for words in ("link set lo up", "link set eth0 up", "addr add 10.9.9.2/24 dev eth0",
                      "addr add 2001:db8:9::2/64 dev eth0 nodad", "route add default via 10.9.9.1",
                      "-6 route add default via 2001:db8:9::1"):
            sh("ip", "-n", self.name, *words.split())
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            sh("nsenter", f"--net={self.inside.path}", "sysctl", "-qw", f"net.{key}=1")
        for address in self.inside.addresses:
            net = "2001:db8:9::/64" if ":" in address else "10.9.9.0/24"
            self.node.ip(f"route add {net} via {address} dev cni0")
        return self.run

    def run(self):
        return sh("ip", "netns", "exec", self.name, "python3", "-c", PROBE).split()

    def __exit__(self, *_):
        sh("ip", "netns", "del", self.name)
        for net in ("2001:db8:9::/64", "10.9.9.0/24"):
            self.node.ip(f"route del {net}")


def test_the_pods_own_resolvers(node):
    """@resolvers are those of the pod's resolv.conf at the veth too, not the node's."""
    put(node, "web.yaml", egress().replace('[192.0.2.1, "2001:db8::1"]', '"@resolvers"'))
    node.start_daemon()
    pod = node.pod(labels={"app": "web"}, resolvers=ADDRESSES)
    inside = Inside(node, pod)
    node.known(pod)
    judged(node, pod)
    assert not node.known(pod)["veths_why"]
    assert inside.sends() == 0
    pod.start()
    assert pod.probe() == SOME


def test_pods_whose_veth_is_not_judged(node):
    """An exempt one's; one on its node's network has none, and status says what that leaves open."""
    node.start_daemon()
    exempt = node.pod(name="own", namespace="kube-system")
    assert node.known(exempt, "exempt")["veths"] == []
    assert Inside(node, exempt).sends() == 2
    host = node.pod(name="host", network=NODE, labels={"app": "web"})
    assert node.known(host)["veths"] == []
    assert any("is on its node's network" in w for w in node.full_status()["warnings"])
    assert not [t for t in node.full_status()["targets"] if t["kind"] == "device"]


@pytest.mark.parametrize("line, arrive", [
    ("- deny: {to: any, ports: 7003, uid: 0}", 2), ("- allow: {to: any, ports: 7003, uid: 77}", 2),
    ("- deny: {to: any, ports: 7003}", 0)])
def test_rules_with_uids_are_for_the_cgroup(node, line, arrive):
    """A frame has no user: such a rule denies nothing there and allows for all."""
    text = egress().replace("  rules:\n", f"  rules:\n    {line}\n", 1)
    put(node, "web.yaml", text + ("  default: allow\n" if "deny" in line else ""))
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    node.known(pod)
    judged(node, pod)
    assert Inside(node, pod).sends() == arrive


def test_policies_change_sluiced_dies_and_the_pod_ends(node):
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    node.known(pod)
    name = judged(node, pod)["name"]
    inside = Inside(node, pod)
    assert inside.sends() == 0
    node.kill_daemon()
    assert inside.sends() == 0
    node.start_daemon()
    assert judged(node, pod)["name"] == name
    assert f"adopted {name}" in "\n".join(node.daemon.errors)
    put(node, "web.yaml", egress(ports="[7001, 7003]"))
    assert until(lambda: inside.sends() == 2, 20)
    put(node, "web.yaml", egress() + "  mode: audit\n")       # which a veth would tell once more
    assert until(lambda: node.known(pod)["veths_why"], 20)
    assert "audit" in node.known(pod)["veths_why"] and inside.sends() == 2
    assert not [t for t in node.full_status()["targets"] if t["kind"] == "device"]
    put(node, "web.yaml", egress())
    assert judged(node, pod)["name"] == name and inside.sends() == 0
    pod.remove()
    assert until(lambda: len(node.full_status()["targets"]) == 1), node.full_status()["targets"]


def test_without_it(node):
    """`veth: false`: as long as that holds."""
    node.configure(config(node, "  veth: false\n"))
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    assert node.known(pod)["veths"] == []
    inside = Inside(node, pod)
    assert inside.sends() == 2
    node.configure(config(node))
    judged(node, pod)
    assert inside.sends() == 0


# ---- sluice-cni behind the bridge ----

chained = pytest.mark.parametrize("machine", [True], indirect=True, ids=["chained"])


@chained
def test_a_pod_is_held_until_it_is_known(node):
    """By its cgroup's default, and at its veth; the objects cannot be read."""
    put(node, "web.yaml", "kind: [")
    node.start_daemon()
    monitor = node.start(SLUICE, "monitor", "-o", "json", env=node.env)
    assert until(lambda: node.full_status()["daemon"]["monitors"] == 1)
    pod = node.pod(labels={"app": "web"})
    held = [t for t in node.full_status()["targets"] if t["kind"] == "device"]
    assert len(held) == 1 and held[0]["attached"] and not held[0]["policy"], held
    inside = Inside(node, pod)
    assert not inside.sends_any()
    denied = monitor.wait(lambda e: e.get("hook") == "tc-ingress" and
                          e["link"]["ethertype"] == "0x0800")
    assert (denied["reason"], denied["policy"], denied["generation"]) == ("no-policy", None, 0)
    assert denied["target"]["name"] == held[0]["name"], denied["target"]
    put(node, "web.yaml", egress())
    node.known(pod)
    assert judged(node, pod)["name"] == held[0]["name"]
    assert inside.sends() == 0


@chained
def test_who_is_exempt_is_not_held(node):
    put(node, "web.yaml", "kind: [")
    node.start_daemon()
    exempt = node.pod(name="own", namespace="kube-system")
    assert Inside(node, exempt).sends() == 2
    assert not [t for t in node.full_status()["targets"] if t["kind"] == "device"]


@chained
def test_no_policy_of_a_veth_lets_go(node):
    """What was held until the policy was known, and is then in audit mode."""
    put(node, "web.yaml", "kind: [")
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    inside = Inside(node, pod)
    assert not inside.sends_any()
    put(node, "web.yaml", egress() + "  mode: audit\n")
    node.known(pod)
    assert until(lambda: inside.sends_any(), 20)
    assert inside.sends() == 2


@chained
@pytest.mark.parametrize("policy, more, arrive", [
    ("  mode: audit\n", "", 2), ("", "", 0), ("", "  exempt: [shop]\n", 2)],
    ids=["audit", "enforced", "exempt"])
def test_what_an_earlier_sluiced_held(node, policy, more, arrive):
    """Nobody remembers whose it is: the network behind it tells."""
    put(node, "web.yaml", "kind: [")
    node.start_daemon()
    pod = node.pod(labels={"app": "web"})
    inside = Inside(node, pod)
    assert not inside.sends_any()
    node.kill_daemon()
    assert not inside.sends_any()
    node.start_daemon()                         # nobody knows its policy yet
    node.known(pod, "unknown")
    assert not inside.sends_any()
    node.kill_daemon()
    put(node, "web.yaml", egress() + policy)
    if more:
        node.configure(config(node).replace("  exempt: kube-*\n", more))
    node.start_daemon()
    node.known(pod, ("judged", "exempt"))
    assert until(inside.sends_any, 20)
    assert inside.sends() == arrive
    assert len([t for t in node.full_status()["targets"] if t["kind"] == "device"]) == (not arrive)


@chained
def test_many_that_are_held_are_never_let_go_before_their_policy(node):
    """Their policies are known at once; giving them takes more than one turn of sluiced's."""
    put(node, "web.yaml", "kind: [")
    node.start_daemon()
    pods = [node.pod(f"web-{i}", labels={"app": "web"}) for i in range(12)]

    def devices():
        return {t["name"]: (t["slot"], t["since"]) for t in node.full_status()["targets"]
                if t["kind"] == "device" and t["attached"]}
    held = devices()
    assert len(held) == len(pods)
    put(node, "web.yaml", egress())
    for pod in pods:
        judged(node, pod)
    assert devices() == held            # the same targets as were held


@chained
def test_no_pod_without_sluiced(node):
    with pytest.raises(AssertionError, match="sluice-cni"):
        node.pod(labels={"app": "web"})
    node.start_daemon()
    node.known(node.pod(labels={"app": "web"}))


# ---- containers that are no pods ----

CONTAINERS = """\
sluiced: 1
targets:
  - match: {container: "agent-*"}
    policy: agent
    veth: %s
"""
SEND = """
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
    s.bind(("eth0", 0))
    for frame in %r:
        s.send(bytes.fromhex(frame))
print("sent")
"""
AGENT = "sluice: 1\nname: agent\nrules:\n  - allow: {to: [192.0.2.1, '2001:db8::1'], ports: 7001}\n"


def frames(node, inner, port):
    """A datagram of each family, of the namespace behind toin."""
    name = pathlib.Path(inner).name
    ends = bytes.fromhex((node.address_of("toin") + json.loads(
        sh("ip", "-n", name, "-j", "link", "show", "eth0"))[0]["address"]).replace(":", ""))
    return [(ends + (b"\x86\xdd" if ":" in to else b"\x08\x00") + packet(me, to, port)).hex()
            for me, to in zip(BEHIND, ADDRESSES)]


def runs(node, inner, name):
    """A container with CAP_NET_RAW whose first action are these; how many arrive that are denied. The
    runtime's answer if it does not start."""
    path = node.bundle(name, node.hook, netns=inner,
                       args=["/usr/bin/python3", "-c", SEND % [
                           f for port in (DENIED, ALLOWED) for f in frames(node, inner, port)]])
    spec = json.loads((path / "config.json").read_text())
    for kind in ("bounding", "effective", "permitted"):
        spec["process"]["capabilities"][kind].append("CAP_NET_RAW")
    (path / "config.json").write_text(json.dumps(spec))
    node.arrived()
    done = node.runc("run", "--bundle", path, name)
    if done.returncode:
        return done.stderr
    for sock in node.open:
        sock.settimeout(5)
        sock.recv(64)
    return node.arrived()[0]


def test_a_container_by_its_hook(node):
    """`veth: true` of a target: from the container's first instruction."""
    with node.inner_namespace("192.0.2.1", "2001:db8::1") as inner:
        node.configure(CONTAINERS % "false", agent=AGENT)
        node.start_daemon()
        assert runs(node, inner, "agent-1") == 2
        node.configure(CONTAINERS % "true", agent=AGENT)
        assert until(lambda: node.full_status()["daemon"]["config"]["reloads"] == 2)
        assert runs(node, inner, "agent-2") == 0
        assert runs(node, inner, "other") == 0          # the network is still the agent's
    assert until(lambda: not node.full_status()["targets"])


def test_a_container_without_a_veth(node):
    """What was asked for and cannot be had is no container that starts."""
    node.configure(CONTAINERS % "true", agent=AGENT)
    node.start_daemon()
    done = node.run_container("agent-1", *node.hook)
    assert done.returncode and "no veth leads to its network" in done.stderr, done
    node.configure((CONTAINERS % "true").replace('container: "agent-*"', "cgroup: /x"), agent=AGENT)
    assert until(lambda: not node.full_status()["daemon"]["config"]["ok"])
