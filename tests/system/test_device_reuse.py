# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Devices that come and go: one that is renamed keeps its policy, one that takes
another's name or index inherits nothing."""
import contextlib
import json
import os
import re
import subprocess

import pytest

from devicelab import ANOTHER4, ANOTHER6, ANOTHER_MAC, datagram, rules
from deviceport import Capture, packet_socket
from lab import ECHO, PEER4, PEER6, SLUICE, sh, until
from peerframes import LEASED, acknowledges, answer, asks, comes

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
PEERS = rules(f'allow: [{PEER4}, "{PEER6}"]')
NOTHING = rules("deny: any")
BOUND = ["--mac", ANOTHER_MAC, "--address", ANOTHER4, "--address", ANOTHER6]
OWN = {"source": ANOTHER4, "mac_source": ANOTHER_MAC}
INDEX = 4711
SPORT = 5151


def passes(lab, port, to=PEER4, sport=SPORT):
    mark, position = os.urandom(8), lab.sink.position()
    port.send(datagram(to, ECHO, mark, sport, **OWN))
    lab.probe()
    return bool(lab.sink.since(position, mark))


def answered(lab, port, mark, expected=False):
    """Does an answer of the flow's get in?"""
    frame = answer(False, mark, ECHO, SPORT, to=ANOTHER4, mac=ANOTHER_MAC)
    return comes(lab, frame, mark, port, expected)


def index_of(lab, device):
    return int(sh("ip", "-n", lab.host, "-o", "link", "show", device).split(":")[0])


@KINDS
def test_the_same_name_and_index_again(device_labs, tally, kind):
    """The device goes, another comes with its name, its index, its MAC and its flow's
    addresses and ports. Without a policy of its own it is open, as it would be without
    Sluice; with one, nothing of the first is left."""
    lab = device_labs(kind, "frames")
    with lab.another("reuse0", index=INDEX) as port:
        lab.guard.attach("reuse0", PEERS, *BOUND)
        first = lab.guard.status("reuse0")
        assert passes(lab, port) and answered(lab, port, b"to-the-first", True)
        assert lab.guard.status("reuse0")["allowed"] == 1
    with lab.another("reuse0", index=INDEX) as port:
        assert index_of(lab, "reuse0") == INDEX == first["ifindex"]
        # it cannot be told from the first one with its programs taken off: said as such
        assert lab.guard.status("reuse0")["attached"] is False
        assert passes(lab, port, "198.51.100.3")
        lab.guard.attach("reuse0", NOTHING, *BOUND)
        second = lab.guard.status("reuse0")
        assert second["generation"] != first["generation"]
        assert second["allowed"] == second["tx_frames"] == 0
        got = answered(lab, port, b"to-the-second")
        tally(not got)
        assert not got, "an answer of the first device's flow got in"
        assert not passes(lab, port)
        lab.guard.attach("reuse0", PEERS, *BOUND)
        assert not answered(lab, port, b"not-yet")
        assert passes(lab, port) and answered(lab, port, b"of-its-own", True)


@KINDS
def test_attached_without_a_look_in_between(device_labs, tally, kind):
    """Nobody has asked for the status, so nothing has been swept: attaching the second
    device finds the first one's target under its index, and starts anew."""
    lab = device_labs(kind, "frames")
    with lab.another("reuse1", index=INDEX + 1) as port:
        lab.guard.attach("reuse1", PEERS, *BOUND)
        assert passes(lab, port) and answered(lab, port, b"to-the-first", True)
    with lab.another("reuse1", index=INDEX + 1) as port:
        lab.guard.attach("reuse1", PEERS, *BOUND)
        got = answered(lab, port, b"to-the-second")
        tally(not got)
        assert not got, "an answer of the first device's flow got in"
        assert passes(lab, port) and answered(lab, port, b"of-its-own", True)
        target = lab.guard.status("reuse1")
        assert target["attached"] and target["allowed"] == 1
    assert lab.guard.status("reuse1") is None


@KINDS
def test_the_index_under_another_name(device_labs, tally, kind):
    lab = device_labs(kind, "frames")
    with lab.another("reuse2", index=INDEX + 2) as port:
        lab.guard.attach("reuse2", PEERS, *BOUND)
        assert passes(lab, port)
    with lab.another("reuse3", index=INDEX + 2) as port:
        assert passes(lab, port, "198.51.100.3"), "it is not attached"
        lab.guard.attach("reuse3", NOTHING, *BOUND)
        assert lab.guard.status("reuse2") is None
        assert not answered(lab, port, b"to-the-second")
        blocked = not passes(lab, port)
        tally(blocked)
        assert blocked


@KINDS
def test_the_name_under_another_index(device_labs, tally, kind):
    """Both are there in turn; the target is the device's, not the name's."""
    lab = device_labs(kind, "frames")
    with lab.another("reuse4", mac_address="52:54:00:12:34:58") as old:
        lab.guard.attach("reuse4", NOTHING, "--address", ANOTHER4)
        for words in (("down",), ("name", "kept4"), ("up",)):
            sh("ip", "-n", lab.host, "link", "set", "kept4" if words == ("up",) else "reuse4",
               *words)
        with lab.another("reuse4") as port:
            assert passes(lab, port), "the new one has no policy"
            blocked = not passes(lab, old)
            tally(blocked)
            assert blocked, "the renamed one has lost its policy"
            kept = [t for t in lab.guard.status() if t["ifindex"] == index_of(lab, "kept4")]
            assert len(kept) == 1 and kept[0]["attached"]
            # the name now, and the one that it had; of the other device's name nothing
            assert (kept[0]["name"], kept[0]["attached_as"]) == ("kept4", "reuse4")
            assert lab.guard.status("reuse4") is None
            text = lab.guard.run("status").stdout
            assert re.search(r"^kept4 .*\n  was attached as reuse4$", text, re.MULTILINE), text
            assert "no rule" in lab.guard.run("rules", "--dev", "kept4").stdout
            lab.guard.run("rules", "--dev", "reuse4", code=1)
            lab.guard.detach("reuse4", code=1)
            lab.guard.attach("reuse4", PEERS, *BOUND)
            assert passes(lab, port) and not passes(lab, old)
        lab.guard.attach("kept4", PEERS, "--address", ANOTHER4)
        assert passes(lab, old)
        assert lab.guard.status("kept4")["generation"] > kept[0]["generation"]
        lab.guard.detach("kept4")
        assert passes(lab, old, "198.51.100.3")


@KINDS
def test_a_lease_is_not_inherited(device_labs, kind):
    lab = device_labs(kind, "frames")
    options = ["--address", "dhcp"]
    for again in (False, True):
        with lab.another("reuse5", index=INDEX + 5) as port:
            lab.guard.attach("reuse5", PEERS, *options)
            position, mark = lab.sink.position(), os.urandom(8)
            if not again:
                port.send(asks(77))
                lab.send_in(acknowledges(77, 1000))
                lab.probe()
            port.send(datagram(PEER4, ECHO, mark, source=LEASED))
            lab.probe()
            assert bool(lab.sink.since(position, mark)) != again


@KINDS
def test_events_that_wait_are_not_booked_to_the_next(device_labs, kind):
    """What the first device was denied, and nobody has read, is not told of the second,
    which has its slot."""
    lab = device_labs(kind, "events")
    first = lab.guard
    with lab.another("reuse8") as port:
        first.attach("reuse8", NOTHING, *BOUND)
        slot = first.status("reuse8")["slot"]
        for dport in (7101, 7102):
            port.send(datagram(PEER4, dport, b"denied", SPORT, **OWN))
        assert until(lambda: first.status("reuse8")["denied"] >= 2)
    first.detach("reuse8", code=None)
    with lab.another("reuse9") as port:
        first.attach("reuse9", NOTHING, *BOUND)
        assert first.status("reuse9")["slot"] == slot
        events = first.watch()
        port.send(datagram(PEER4, 7103, b"denied", SPORT, **OWN))

        def of(dport):
            end = events.wait(lambda r: r["destination"] and r["destination"]["port"] == dport)
            assert end, dport
            return events.between(end - 1, end)[0]
        assert of(7103)["target"]["name"] == "reuse9" and of(7103)["policy"]
        for dport in (7101, 7102):
            record = of(dport)
            assert record["target"] == {"kind": "device", "name": None}
            assert record["policy"] is None and record["source"]["address"] == ANOTHER4


@pytest.mark.parametrize("ends", ["attach", "detach", "delete"])
def test_that_the_programs_were_taken_off_is_said(device_labs, ends):
    """As long as it is so."""
    lab = device_labs("veth", "frames")
    with lab.another("reuse7", mac_address="52:54:00:12:34:5a"):
        lab.guard.attach("reuse7", NOTHING)
        index = index_of(lab, "reuse7")
        for pin in lab.guard.state.glob(f"netns-*/link-{index}-*"):
            pin.unlink()

        def taken_off():
            status = json.loads(lab.guard.run("status", "-o", "json").stdout)
            return any(w.startswith("reuse7: NOT ENFORCED") for w in status["warnings"])
        assert until(taken_off)
        for _ in range(3):
            assert lab.guard.status("reuse7")["attached"] is False
            assert taken_off()
        if ends == "attach":
            lab.guard.attach("reuse7", NOTHING)
            assert lab.guard.status("reuse7")["attached"] is True
            lab.guard.run("detach", "--dev", "reuse7")
        elif ends == "detach":
            lab.guard.run("detach", "--dev", "reuse7")
            assert lab.guard.status("reuse7") is None
        assert taken_off() is (ends == "delete")
    if ends == "delete":
        assert until(lambda: lab.guard.status("reuse7") is None)
    assert not taken_off()


@pytest.fixture
def elsewhere(device_labs):
    """Another network namespace, where INDEX is taken."""
    ns = f"sl-reuse-{os.getpid()}"
    sh("ip", "netns", "add", ns)
    try:
        sh("ip", "-n", ns, "link", "add", "taken", "index", str(INDEX), "type", "bridge")
        yield ns
    finally:
        sh("ip", "netns", "del", ns)


@contextlib.contextmanager
def moved(lab, port, elsewhere):
    """Moves reuse6 there; gives what tells whether a frame of its workload arrives."""
    sh("ip", "-n", lab.host, "link", "set", "reuse6", "netns", elsewhere)
    sh("ip", "-n", elsewhere, "link", "set", "reuse6", "up")
    with packet_socket(elsewhere, "reuse6", 0x800) as s:
        sink = Capture(s.fileno())

        def arrives(seconds=0.2):
            mark, position = os.urandom(8), sink.position()
            port.send(datagram(PEER4, ECHO, mark, SPORT, **OWN))
            return bool(sink.wait(mark, position, seconds))
        try:
            yield arrives
        finally:
            sink.close()


def told(lab):
    """The targets by name, and the names that are said to have been moved."""
    status = json.loads(lab.guard.run("status", "-o", "json").stdout)
    return ({t["name"]: t for t in status["targets"]},
            {w.split(":")[0] for w in status["warnings"] if "was moved" in w})


@pytest.mark.parametrize("index", [INDEX, INDEX + 1])
@pytest.mark.parametrize("way", ["--all", "--dev"])
def test_a_device_that_is_moved_passes_nothing(device_labs, elsewhere, tally, index, way):
    """With its own index or another one, whatever looks at it afterwards and whatever its
    policy would let pass, until it is detached, which can be done by its name."""
    lab = device_labs("veth", "frames")
    with lab.another("reuse6", index=index) as port:
        lab.guard.attach("reuse6", PEERS)
        assert passes(lab, port)
        with moved(lab, port, elsewhere) as arrives:
            for _ in range(2):
                blocked = not arrives()
                tally(blocked)
                assert blocked
                targets, gone = told(lab)
                assert not targets["reuse6"]["attached"] and "reuse6" in gone, (targets, gone)
            lab.guard.run("detach", *([way, "reuse6"] if way == "--dev" else [way]))
            assert until(arrives, 5)
    assert "reuse6" not in told(lab)[0]


@pytest.mark.parametrize("index", [INDEX, INDEX + 1])
@pytest.mark.parametrize("name", ["reuse6", "reuse7"])
def test_the_index_of_a_device_that_was_moved(device_labs, elsewhere, tally, index, name):
    """Another device comes and has it, and perhaps the name: attaching that lets go nothing of
    the first, wherever it is, and the second is judged by its own policy."""
    lab = device_labs("veth", "frames")
    with lab.another("reuse6", index=index) as port:
        lab.guard.attach("reuse6", PEERS)
        first = lab.guard.status("reuse6")["slot"]
        with moved(lab, port, elsewhere) as arrives, \
                lab.another(name, index=index, mac_address="52:54:00:12:34:5b") as second:
            assert until(lambda: passes(lab, second, "198.51.100.3")), "it has no policy"
            lab.guard.attach(name, PEERS, "--address", ANOTHER4)
            for _ in range(2):
                blocked = [not arrives(), not passes(lab, second, "198.51.100.3")]
                tally(sum(blocked), 2)
                assert all(blocked), blocked
                assert passes(lab, second)
                targets = [t for t in lab.guard.status() if t["ifindex"] == index]
                assert [t["slot"] == first for t in targets if not t["attached"]] == [True]
                assert [t["name"] for t in targets if t["attached"]] == [name]
                assert "reuse6" in told(lab)[1]
            lab.guard.attach(name, NOTHING, "--address", ANOTHER4)
            assert not passes(lab, second) and not arrives()
            lab.guard.detach(name)
            assert passes(lab, second, "198.51.100.3")
            assert not arrives(), "detaching the second has let go the first"
            assert first in [t["slot"] for t in lab.guard.status()]
            sh("ip", "-n", elsewhere, "link", "del", "reuse6")
            assert until(lambda: first not in [t["slot"] for t in lab.guard.status()])
            assert not list(lab.guard.state.glob("netns-*/moved-*"))


def test_the_index_that_a_moved_device_gets_is_a_judged_one_here(device_labs, elsewhere, tally):
    """What leads from an index to a policy is one namespace's: the policy of the device that
    has that index here says nothing about it."""
    lab = device_labs("veth", "frames")
    sh("ip", "-n", elsewhere, "-batch", "-", input="".join(     # its next index is none of the lab's
        f"link add bump{n} type bridge\nlink del bump{n}\n" for n in range(80)))
    with lab.another("reuse6", index=INDEX) as port:
        lab.guard.attach("reuse6", PEERS)
        with moved(lab, port, elsewhere) as arrives:
            there = int(sh("ip", "-n", elsewhere, "-o", "link", "show", "reuse6").split(":")[0])
            with lab.another("reuse7", index=there, mac_address="52:54:00:12:34:5b") as second:
                lab.guard.attach("reuse7", PEERS, "--address", ANOTHER4)
                assert passes(lab, second)
                sent = lab.guard.status("reuse7")["tx_frames"]
                blocked = not arrives()
                tally(blocked)
                assert blocked
                assert lab.guard.status("reuse7")["tx_frames"] == sent


def test_taken_off_under_another_name_or_seen_from_elsewhere(device_labs, elsewhere):
    """What takes the programs off is told, whoever asks first and whatever its name is now."""
    lab = device_labs("veth", "frames")
    with lab.another("reuse5", up=False):
        lab.guard.attach("reuse5", NOTHING)
        index = index_of(lab, "reuse5")
        sh("ip", "-n", lab.host, "link", "set", "reuse5", "name", "reuse5b")
        for pin in lab.guard.state.glob(f"netns-*/link-{index}-*"):
            pin.unlink()
        for ns in (elsewhere, lab.host):
            said = subprocess.run(["nsenter", f"--net=/run/netns/{ns}", SLUICE, "status"], text=True,
                                  env=lab.guard.env, stdout=subprocess.PIPE, check=True).stdout
            assert "NOT ENFORCED" in said, (ns, said)
        sh("ip", "-n", lab.host, "link", "set", "reuse5b", "name", "reuse5")
        lab.guard.run("detach", "--dev", "reuse5")
        assert lab.guard.status("reuse5") is None
