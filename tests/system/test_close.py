# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`log: all`: each allowed flow whose opening is an event has one at its end, with its bytes,
how long it lasted, and how it ended."""
import ctypes
import json
import os
import struct
import subprocess

import pytest

import bpfsys
from bpfobjects import bpf as bpf_of
from carriedlab import CONNECTIONS, ETHERNET, FAMILIES, UDP, head, meter, peer
from cgrouplab import policy
from devicelab import BINDING, datagram, rules as device_rules
from lab import ECHO, PEER4, PEER6, PYTHON, SLUICE, matching, total, until

MAP_GET_FD_BY_ID = 14
# struct sl_flow_bucket: eight tags, eight entries of 152 bytes; in them the key's protocol
# and expires_ns.
WAYS, TAGS, ENTRY, PROTOCOL, EXPIRES = 8, 64, 152, 37, 64
ALLOW = f'allow: ["{PEER4}", "{PEER6}"], id: peers'


class Log:
    """What the monitor has written, as it comes."""

    def __init__(self, tree):
        self.tree = tree

    def all(self, **want):
        lines = self.tree.log.read_text(encoding="utf-8").splitlines()
        return matching([json.loads(line) for line in lines if line.startswith("{")], **want)

    def closes(self, n):
        """The first n, and there are no more yet."""
        assert until(lambda: len(self.all(event="close")) >= n), self.all()
        found = self.all(event="close")
        assert len(found) == n, found
        return found


def watched(tree, name, *rules, **top):
    path = tree.make(name)
    tree.attach(path, policy(*(rules or (ALLOW,)), **{"log": "all", **top}))
    tree.watch()
    return path, tree.agent(path), Log(tree)


def same_flow(close, opened):
    for key in ("target", "policy", "rule", "reason", "direction", "hook", "family", "protocol",
                "source", "destination", "verdict", "generation"):
        assert close[key] == opened[key], key
    assert opened["bytes"] is None and opened["duration"] is None and opened["end"] is None
    return True


def connect(tree, path, to, n=20000):
    subprocess.run([*tree.lab.inside(), *tree.within(path), PYTHON, "-c", CONNECTIONS, to,
                    str(ECHO), str(42000 + (":" in to)), str(n)], check=True, timeout=60)


@FAMILIES
def test_connections(tree, v6):
    """Two that are reset, one from the same port after the other (the second gets the place of the
    first, which is told at once), and one that both sides end. All their bytes are told."""
    path, _, log = watched(tree, "tcp")
    before = meter(tree, path)
    connect(tree, path, peer(v6))
    closes = log.closes(3)
    opened = log.all(event="connection")
    assert total(opened) == 3       # those of a second are one record
    assert sorted(c["end"] for c in closes) == ["finished", "reset", "reset"]
    assert all(same_flow(c, opened[0]) for c in closes)
    out, back = meter(tree, path)
    assert sum(c["bytes"]["out"] for c in closes) == out - before[0]
    assert sum(c["bytes"]["in"] for c in closes) == back - before[1]
    assert all(20000 < c["bytes"]["out"] < 40000 and 0 <= c["duration"] < 10 for c in closes)
    target = tree.status()[tree.id(path)]
    assert (target["closes"], target["closes_lost"]) == (3, 0)
    assert target["decided"] == target["submitted"] + target["suppressed"] + target["lost"] == 3


def age(tree, protocol):
    """The target's flows of a protocol expire now: as if nothing had come for so long. (A bucket
    is written as a whole, and nothing else happens meanwhile.)"""
    outer = bpfsys.get(tree.state / "sl_flows")
    slot = struct.pack("=I", next(iter(tree.status().values()))["slot"])
    inner = bpf_of(MAP_GET_FD_BY_ID, ctypes.create_string_buffer(
        struct.pack("=III", *struct.unpack("=I", bpfsys.lookup(outer, slot)), 0, 0), 12))
    aged = 0
    for at in range(2048):
        bucket = bytearray(bpfsys.lookup(inner, struct.pack("=I", at)))
        assert len(bucket) == TAGS + WAYS * ENTRY
        found = [way for way in range(WAYS) if any(bucket[8 * way:8 * way + 8]) and
                 bucket[TAGS + way * ENTRY + PROTOCOL] == protocol]
        for way in found:
            struct.pack_into("=Q", bucket, TAGS + way * ENTRY + EXPIRES, 1)
        if found:
            bpfsys.update(inner, struct.pack("=I", at), bytes(bucket))
        aged += len(found)
    os.close(inner)
    os.close(outer)
    return aged


@FAMILIES
def test_idle_datagrams(tree, v6):
    """UDP has no end: it is told when the flow has been silent for as long as its entry lives. One
    that is alive is not told."""
    _, agent, log = watched(tree, "udp")
    for number in range(3):
        said = agent.do("use", use="flow", to=peer(v6), port=ECHO, payload="x" * 80) if number \
            else agent.do("udp", to=peer(v6), port=ECHO, payload="x" * 80, hold="flow")
        assert said["errno"] is None
    assert len(log.all(event="connection")) == 1 or until(lambda: log.all(event="connection"))
    assert age(tree, 6) == 0 and not log.all(event="close")
    assert age(tree, 17) == 1
    close, = log.closes(1)
    assert same_flow(close, log.all(event="connection")[0])
    each = head(v6) + UDP + 80
    assert close["end"] == "idle" and close["bytes"] == {"out": 3 * each, "in": 3 * each}
    # what comes behind is another flow, with an end of its own
    assert agent.do("use", use="flow", to=peer(v6), port=ECHO, payload="y" * 10)["errno"] is None
    assert until(lambda: len(log.all(event="connection")) == 2) and age(tree, 17) == 1
    assert [c["bytes"]["out"] for c in log.closes(2)] == [3 * each, head(v6) + UDP + 10]


def test_a_new_policy_ends_them(tree):
    """The next packet of a flow that the new policy denies is refused, and the flow is over. One
    that it allows goes on, and is told once."""
    path, agent, log = watched(tree, "cut")
    for name, to in (("cut", PEER4), ("kept", PEER6)):
        assert agent.do("udp", to=to, port=ECHO, hold=name)["errno"] is None
    tree.attach(path, policy(f'allow: "{PEER6}", id: peers', log="all"))
    assert agent.do("use", use="cut", to=PEER4, port=ECHO)["errno"]
    assert agent.do("use", use="kept", to=PEER6, port=ECHO)["errno"] is None
    close, = log.closes(1)
    assert close["end"] == "denied" and close["destination"]["address"] == PEER4
    assert close["bytes"] == {"out": 20 + UDP + 5, "in": 20 + UDP + 5}
    tree.detach(path)
    last = log.closes(2)[1]
    assert last["end"] == "detached" and last["destination"]["address"] == PEER6
    assert last["bytes"] == {"out": 2 * (40 + UDP + 5), "in": 2 * (40 + UDP + 5)}


def test_only_what_was_logged(tree):
    """A flow whose opening is no event has no end either."""
    path, agent, log = watched(tree, "quiet", f'allow: "{PEER4}", id: quiet',
                               f'allow: "{PEER6}", id: loud, log: all', log="denied")
    for to in (PEER4, PEER6):
        assert agent.do("udp", to=to, port=ECHO)["errno"] is None
    assert until(lambda: log.all(rule="loud"))      # while the target is there to be named
    tree.detach(path)
    close, = log.closes(1)
    assert close["rule"] == "loud" and close["end"] == "detached"
    assert {e["rule"] for e in log.all()} == {"loud"}


def test_a_removed_cgroup(tree):
    """With its last socket the target goes; its flows end with it."""
    path, agent, log = watched(tree, "gone")
    assert agent.do("udp", to=PEER4, port=ECHO)["errno"] is None
    assert until(log.all)
    tree.remove(path)
    tree.lab.agents.clear()
    assert until(lambda: not tree.status())
    assert log.closes(1)[0]["end"] == "detached"


@pytest.mark.parametrize("kind", ["tap", "veth"])
def test_devices(device_labs, kind):
    """Whole frames, both families; the end comes with the detach."""
    lab = device_labs(kind, "close")
    lab.configure(device_rules(f'allow: ["{PEER4}:{ECHO}", "[{PEER6}]:{ECHO}"]', log="all"),
                  *BINDING)
    lab.fence()
    start = lab.mark()
    for v6 in (False, True):
        for size in (10, 20, 30):
            lab.send(datagram(peer(v6), ECHO, bytes(size), sport=5555))
        lab.probe(v6)
    lab.guard.detach(lab.device)

    def closes():
        return [r for r in lab.guard.monitor.between(start, lab.mark()) if r["event"] == "close" and
                r["source"]["port"] == 5555]
    assert until(lambda: len(closes()) == 2), lab.guard.monitor.between(start, lab.mark())
    lab.last_config = None
    for close in closes():
        want = 60 + 3 * (ETHERNET + head(close["family"] == "ipv6") + UDP)
        assert close["bytes"] == {"out": want, "in": want} and close["end"] == "detached"
        assert close["target"] == {"kind": "device", "name": lab.device}


def test_a_run(lab):
    """Without a daemon: what is over while the command runs, and the rest when it has ended."""
    log = lab.new_folder() / "log"
    text = policy(ALLOW, log="all")
    file = lab.new_folder() / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    subprocess.run([*lab.inside(), SLUICE, "run", "-p", str(file), "--log", str(log), "-q",
                    "--user", "root", "--", PYTHON, "-c", CONNECTIONS, PEER4, str(ECHO), "43000",
                    "5000"], check=True, timeout=60)
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [e["seq"] for e in events] == list(range(len(events)))
    closes = matching(events, event="close")
    assert len(closes) == total(matching(events, event="connection")) == 3
    assert sorted(c["end"] for c in closes) == ["finished", "reset", "reset"]
    assert all(c["bytes"]["out"] > 5000 for c in closes)



FULL = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(6000):
    try:
        sock.sendto(b"x", ("127.0.0.1", 1000 + i))
    except OSError:
        pass
"""


@FAMILIES
def test_an_end_that_the_ring_had_no_room_for(tree, v6):
    """Nobody reads, others' denials fill the ring, and the next connection from the same port takes
    the place of one that is over: its end is lost, and counted."""
    path = tree.make("lost")
    tree.attach(path, policy(ALLOW, log="all"))
    once = CONNECTIONS.replace("(True, True, False)", "(True,)")

    def connection():
        subprocess.run([*tree.lab.inside(), *tree.within(path), PYTHON, "-c", once, peer(v6),
                        str(ECHO), str(42500 + v6), "2000"], check=True, timeout=60)

    def counters(at=path):
        return tree.status()[tree.id(at)]
    connection()
    assert (counters()["submitted"], counters()["closes"], counters()["closes_lost"]) == (1, 0, 0)
    for i in range(12):                     # 5,000 events of each: their budgets
        other = tree.make(f"flood{i}")
        tree.attach(other, policy())
        subprocess.run([*tree.lab.inside(), *tree.within(other), PYTHON, "-c", FULL], check=True,
                       timeout=60)
        if counters(other)["lost"]:
            break
    assert counters(other)["lost"], "the ring was never full"
    connection()
    after = counters()
    assert (after["closes"], after["closes_lost"], after["lost"]) == (0, 1, 1), after
    assert after["decided"] == after["submitted"] + after["suppressed"] + after["lost"] == 2
    tree.watch()                            # whoever reads now finds the opening, and no end of it
    assert until(lambda: any(json.loads(line)["target"]["name"] == str(path) for line in
                             tree.log.read_text().splitlines() if line.startswith("{")))
