# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice watch`: what passes before a device is found."""
import json
import os
import pathlib
import subprocess

import pytest

from devlab import WAIT
from lab import SLUICE
from watchlab import told

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", pathlib.Path(SLUICE).parent))
FIRST_FRAMES = BUILD / "tests" / "first_frames"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def tap_sender(host, name):
    return subprocess.Popen([*host.inside, str(FIRST_FRAMES), "tap", name, "300"], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def veth_sender(host, name):
    sender = subprocess.Popen([*host.inside, str(FIRST_FRAMES), "port", "p" + name, "300"],
                              text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    host.ip(f"link add {name} up type veth peer name p{name}")
    return sender


def unjudged(host, name, sender):
    """Frames that the device took, less those that the program saw."""
    try:
        sent = json.loads(sender.stdout.readline())["sent"]
        assert sent > 100
        # what is under way to tc is counted already, and the kernel sends of its own
        for _ in range(100):
            before = host.rx_packets(name)
            seen = host.status()[name]["tx_frames"]
            if before >= sent and host.rx_packets(name) == before:
                break
        return before - seen
    finally:
        sender.stdin.close()
        sender.wait(WAIT)
        sender.stdout.close()


@pytest.mark.parametrize("make", [tap_sender, veth_sender], ids=["tap", "veth"])
def test_frames_before_a_device_is_found(host, make):
    """A sender in the greatest hurry: found by netlink alone, some frames pass."""
    watch = host.watch("--dev", "vnet*", "-p", host.write("sluice: 1\nname: nothing\n"))
    passed = []
    for i in range(20):
        sender = make(host, f"vnet{i}")
        watch.wait(told("attached", f"vnet{i}"))
        passed.append(unjudged(host, f"vnet{i}", sender))
    passed.sort()
    print(f"\nfound by netlink, {make.__name__}: frames that passed before: "
          f"least {passed[0]}, median {passed[10]}, most {passed[-1]}")
    # a bound for a loaded machine; without `held` it is tens of thousands
    assert passed[10] < 20000


def test_no_frame_before_the_gate(host):
    """The device is attached while it is down, as libvirt's hook does it: none passes."""
    policy = host.write("sluice: 1\nname: nothing\n")
    passed = []
    for i in range(10):
        host.ip(f"link add vnet{i} type veth peer name pvnet{i}")
        assert host.sluice("attach", "--dev", f"vnet{i}", "-p", policy).returncode == 0
        host.ip(f"link set vnet{i} up")
        sender = subprocess.Popen([*host.inside, str(FIRST_FRAMES), "port", f"pvnet{i}", "100"],
                                  text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        passed.append(unjudged(host, f"vnet{i}", sender))
    print(f"\nattached before up: frames that passed before: {passed}")
    assert passed == [0] * 10
