# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Bytes by rule, of cgroups and of devices: exactly what passed, in both directions."""
import json
import subprocess

import pytest

from carriedlab import CONNECTIONS, ETHERNET, FAMILIES, UDP, head, meter, peer
from cgrouplab import policy
from devicelab import BINDING, datagram, rules as device_rules
from lab import ECHO, PEER4, PEER6, PYTHON, WAIT, until

ALLOW = f'allow: ["{PEER4}", "{PEER6}"], id: peers'


def carried(tree, path, rule="peers"):
    """(out, in) of a rule."""
    row, = [row for row in tree.rules(path) if row["rule"] == rule]
    return row["bytes"]["out"], row["bytes"]["in"]


@FAMILIES
def test_datagrams_of_a_cgroup(tree, v6):
    """What was sent and what came back, to the byte; of what is denied nothing passes."""
    path, denied = tree.make("udp"), tree.lab.fresh(v6)
    tree.attach(path, policy(f'deny: "{denied}", id: far', ALLOW))
    agent = tree.agent(path)
    assert carried(tree, path) == carried(tree, path, "far") == (0, 0)
    assert agent.do("udp", to=peer(v6), port=ECHO, payload="x" * 100, times=5,
                    hold="open")["errno"] is None
    assert agent.do("udp", to=denied, port=ECHO, payload="x" * 100)["errno"] == "EHOSTUNREACH"
    each = head(v6) + UDP + 100
    assert until(lambda: carried(tree, path) == (5 * each, 5 * each)), carried(tree, path)
    assert carried(tree, path, "far") == (0, 0)
    assert [row["count"] for row in tree.rules(path) if row["rule"] == "far"] == [1]
    said = tree.sluice("rules", "--cgroup", path).stdout
    line, = [line for line in said.splitlines() if " peers " in line]
    assert line.split()[1:3] == [str(5 * each)] * 2, said


@FAMILIES
def test_connections_of_a_cgroup(tree, v6):
    """Also where a connection has got the place of one that is over: nothing is forgotten,
    nothing counted twice. The target's own counters are the measure."""
    path = tree.make("tcp")
    tree.attach(path, policy(ALLOW))
    before = meter(tree, path)
    subprocess.run([*tree.lab.inside(), *tree.within(path), PYTHON, "-c", CONNECTIONS, peer(v6),
                    str(ECHO), str(41000 + v6), "20000"], check=True, timeout=60)

    def same():
        out, back = meter(tree, path)
        return carried(tree, path) == (out - before[0], back - before[1])
    assert until(same), (before, meter(tree, path), carried(tree, path))
    assert min(carried(tree, path)) > 3 * 20000
    assert [row["count"] for row in tree.rules(path) if row["rule"] == "peers"] == [3]


def test_a_reload_keeps_them(tree):
    """A flow that goes on under the next generations: what it carried before, between and
    after is its rule's, and another's when another rule admits it."""
    path = tree.make("reload")
    tree.attach(path, policy(ALLOW))
    agent = tree.agent(path)
    each = head(False) + UDP + 50

    def send(number):
        assert agent.do("use", use="flow", to=PEER4, port=ECHO, payload="x" * 50)["errno"] is None \
            if number else agent.do("udp", to=PEER4, port=ECHO, payload="x" * 50,
                                    hold="flow")["errno"] is None
    send(0)
    assert until(lambda: carried(tree, path) == (each, each))
    send(1)
    for number in range(2, 5):      # looked at before and after the flow is judged again
        tree.attach(path, policy(f"deny: 198.51.100.{number}", ALLOW))
        assert until(lambda: carried(tree, path) == (number * each,) * 2), carried(tree, path)
        send(number)
        tree.attach(path, policy(f"deny: 198.51.100.{number + 100}", ALLOW))
    assert until(lambda: carried(tree, path) == (5 * each, 5 * each))
    tree.attach(path, policy(f"allow: {PEER4}, id: first", ALLOW))
    send(5)
    assert until(lambda: carried(tree, path, "first") == (each, each))
    assert carried(tree, path) == (5 * each, 5 * each)


# ---- devices ----

def of_device(lab, rule):
    lines = lab.guard.run("rules", "--dev", lab.device, "-o", "json").stdout.splitlines()
    row, = [row for row in map(json.loads, lines) if row["rule"] == rule]
    return row["bytes"]["out"], row["bytes"]["in"]


@FAMILIES
@pytest.mark.parametrize("kind", ["tap", "veth"])
def test_frames_of_a_device(device_labs, kind, v6):
    """With their Ethernet headers, as the device itself counts them."""
    lab = device_labs(kind, "carried")
    lab.configure(device_rules(f'{{allow: ["{PEER4}:{ECHO}", "[{PEER6}]:{ECHO}"], id: echo}}',
                               f'{{allow: ["{PEER4}", "{PEER6}"], id: rest}}'), *BINDING)
    lab.probe(v6)
    sent, echoed, rest = 40, of_device(lab, "echo"), of_device(lab, "rest")
    for size in range(sent):
        lab.send(datagram(peer(v6), ECHO, bytes(100 + size)))
        lab.send(datagram(peer(v6), 4711, bytes(200), mac_source="52:54:00:66:66:66"))  # denied
        lab.send(datagram(peer(v6), 4711, bytes(300)))
    want = sum(ETHERNET + head(v6) + UDP + 100 + size for size in range(sent))

    def grown(rule, before):
        return tuple(a - b for a, b in zip(of_device(lab, rule), before))
    assert until(lambda: grown("echo", echoed) == (want, want), WAIT), grown("echo", echoed)
    out, back = grown("rest", rest)
    assert out == sent * (ETHERNET + head(v6) + UDP + 300)
    # the errors about them: port unreachable quotes the datagram
    assert back > sent * (ETHERNET + head(v6) + 8 + head(v6) + UDP)


def test_what_the_bandwidth_refuses_is_not_carried(device_labs):
    """Refused after its flow let it pass: what is counted is what the peer got."""
    lab = device_labs("tap", "carried")
    lab.configure(device_rules(f'{{allow: "{PEER4}", id: peer}}', limits="{bandwidth: {out: "
                               "{average: 1KiB/s, burst: 4KiB}}}"), *BINDING)
    before, frame = lab.status(), len(datagram(PEER4, ECHO, bytes(1000)))
    for _ in range(40):
        lab.send(datagram(PEER4, ECHO, bytes(1000)))
    assert until(lambda: lab.status()["tx_frames"] - before["tx_frames"] == 40)
    denied = lab.status()["tx_denied"] - before["tx_denied"]
    assert 30 < denied < 40
    assert until(lambda: of_device(lab, "peer")[0] == (40 - denied) * frame)
