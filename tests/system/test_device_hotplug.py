# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A workload that sends without pause while its device is plugged in, attached,
attached again, renamed and taken away: no frame goes unjudged."""
import struct
import threading
import time

import pytest

from devicelab import ANOTHER_MAC, BINDING, datagram, rules
from lab import PEER4, PEER6, sh, until

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
ONLY_PEER = rules(f'allow: [{PEER4}, "{PEER6}"]')
OPTIONS = ["--mac", ANOTHER_MAC, *BINDING[2:]]
DENIED, DISCARD = "198.51.100.9", 9         # a port that nobody answers


class Fire:
    """Numbered frames, some thousand a second, to an address that the policy denies."""

    def __init__(self, port, to=DENIED):
        self.port, self.to = port, to
        self.begun = self.sent = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def frame(self, number):
        return datagram(self.to, DISCARD, b"fire" + struct.pack("!Q", number),
                        mac_source=ANOTHER_MAC)

    def run(self):
        while not self.over.is_set():
            self.begun += 1
            try:
                self.port.send(self.frame(self.begun))
                self.sent += 1
            except OSError:
                pass                # not up, or gone
            time.sleep(0.0001)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def more(self, count=200):
        """Waits until so many more have been taken by the device."""
        want = self.sent + count
        assert until(lambda: self.sent >= want, every=0.001), "the device takes no frames"


def numbers(lab, position):
    """Which of the frames arrived, once all that was sent has."""
    lab.probe()
    return [struct.unpack_from("!Q", f, f.index(b"fire") + 4)[0]
            for f in lab.sink.since(position, b"fire")]


@KINDS
def test_attached_before_it_is_up(device_labs, tally, kind):
    """As from a hook of libvirt: the device is there, but down and on no bridge."""
    off, on = device_labs(kind, False), device_labs(kind, True)
    for lab in (off, on):
        position = lab.sink.position()
        with lab.another("late0", up=False) as port:
            if lab is on:
                lab.guard.attach("late0", ONLY_PEER, *OPTIONS)
            with Fire(port) as fire:
                lab.join("late0")
                fire.more()
            arrived = numbers(lab, position)
            if lab is off:
                assert len(arrived) >= 150
                continue
            tally(not arrived)
            assert not arrived, "frames passed before the device was judged"
            state = lab.guard.status("late0")
            assert state["tx_frames"] > 100 and state["tx_denied"] == state["tx_frames"]


@KINDS
def test_attached_under_fire(device_labs, tally, kind, capsys):
    """When attach has returned nothing passes any more: not while the policy is
    replaced, nor while the device is taken off the bridge, goes down and up, is renamed."""
    lab = device_labs(kind, True)
    position = lab.sink.position()
    with lab.another("fire0") as port, Fire(port) as fire:
        fire.more()
        lab.guard.attach("fire0", ONLY_PEER, *OPTIONS)
        limit = fire.begun
        for _ in range(3):
            lab.guard.attach("fire0", ONLY_PEER, *OPTIONS)
            lab.guard.attach("fire0", rules("deny: any", default="deny"), *OPTIONS)
        sh("ip", "-n", lab.host, "link", "set", "fire0", "nomaster")
        lab.join("fire0")
        sh("ip", "-n", lab.host, "link", "set", "fire0", "down")
        sh("ip", "-n", lab.host, "link", "set", "fire0", "name", "fire1")
        sh("ip", "-n", lab.host, "link", "set", "fire1", "up")
        fire.more()
        arrived = numbers(lab, position)
        with capsys.disabled():
            print(f"\n{kind}: {len(arrived)} of {limit} frames passed before attach returned")
        assert arrived, "it was not under fire"
        late = [number for number in arrived if number > limit]
        tally(not late)
        assert not late
        # The sender was alive all along: without the target its frames arrive.
        lab.guard.detach("fire1")
        first = fire.begun
        fire.more()
        assert max(numbers(lab, position)) > first


@KINDS
def test_allowed_traffic_loses_nothing_to_a_new_policy(device_labs, kind):
    """Attaching again is one switch: an allowed flow has no gap."""
    lab = device_labs(kind, True)
    with lab.another("calm0") as port, Fire(port, PEER4) as fire:
        lab.guard.attach("calm0", ONLY_PEER, *OPTIONS)
        first, position = fire.begun + 1, lab.sink.position()
        for _ in range(5):
            lab.guard.attach("calm0", ONLY_PEER, *OPTIONS)
        fire.more()
        fire.over.set()
        fire.thread.join()
        arrived = numbers(lab, position)
        last = fire.begun
        missing = set(range(first, last + 1)) - set(arrived)
        assert not missing, f"{len(missing)} of {last - first} allowed frames were lost"
        assert lab.guard.status("calm0")["tx_denied"] == 0
