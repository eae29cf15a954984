# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice watch`: a policy that changes, and a network that changes around it."""
import os
import re
import signal
import time

import pytest

from devlab import Namespace
from lab import SLUICE, until
from sluicedlab import AGENT
from watchlab import told

GATEWAY = ('sluice: 1\nname: agent\nrules:\n'
           '  - allow: {to: "@gateway", ports: 9, protocol: udp}\n')

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


# ---- the policy ----

def test_sighup_loads_the_policy_again(host, guest):
    host.ip("addr add 198.51.100.1/32 dev br0")
    one = guest()
    path = host.write(AGENT)
    watch = host.watch("--dev", "vnet*", "-p", path)
    first = watch.wait(told("attached", "vnet0"))
    assert not one.arrives("198.51.100.1")
    host.write(AGENT.replace("192.0.2.0/24", "[192.0.2.0/24, 198.51.100.0/24]"))
    watch.signal(signal.SIGHUP)
    second = watch.wait(told("renewed", "vnet0"))
    assert second["generation"] > first["generation"]
    assert one.arrives("198.51.100.1")
    host.tap("vnet1")
    watch.wait(told("attached", "vnet1"))


BAD = {"syntax": "sluice: 1\nrules: [\n", "unknown key": AGENT + "rulez: []\n",
       "uid": AGENT + "  - allow: {to: any, uid: 0}\n", "empty": "",
       "empty set": AGENT + 'sets: {s: []}\n'.join(["", ""]) + '  - allow: "@nothing"\n'}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_a_bad_policy_changes_nothing(host, text):
    host.tap("vnet0")
    path = host.write(AGENT)
    watch = host.watch("--dev", "vnet*", "-p", path)
    first = watch.wait(told("attached", "vnet0"))
    host.write(text)
    watch.signal(signal.SIGHUP)
    watch.wait_error("the policy before it goes on")
    watch.wait_error("agent.yaml")
    # a device that comes now gets the policy that is loaded, not the file
    host.tap("vnet1")
    watch.wait(told("attached", "vnet1", policy="agent"))
    assert host.status()["vnet0"]["generation"] == first["generation"]
    host.write(AGENT)
    watch.signal(signal.SIGHUP)
    watch.wait(told("renewed", "vnet0"))


def test_a_policy_that_anyone_may_write_is_not_loaded(host):
    host.tap("vnet0")
    path = host.write(AGENT)
    watch = host.watch("--dev", "vnet*", "-p", path)
    path.chmod(0o666)
    watch.signal(signal.SIGHUP)
    watch.wait_error("chmod o-w")
    watch.wait_error("the policy before it goes on")


def test_a_bad_policy_at_the_start(host):
    host.tap("vnet0")
    done = host.sluice("watch", "--dev", "vnet*", "-p", host.write(AGENT + "rulez: []\n"))
    assert done.returncode == 1 and "rulez" in done.stderr
    assert host.status() == {}


def test_a_policy_from_standard_input_stays(host):
    host.tap("vnet0")
    path = host.write(AGENT)
    with open(path, encoding="utf-8") as policy:
        watch = host.start(SLUICE, "watch", "--dev", "vnet*", "-p", "-", "-o", "json",
                           env=host.env, stdin=policy)
    watch.wait(told("attached", "vnet0"))
    watch.signal(signal.SIGHUP)
    watch.wait_error("came from standard input and stays")
    host.tap("vnet1")
    watch.wait(told("attached", "vnet1"))


def test_a_renewal_does_not_extend_a_duration(host, guest):
    """`expires: 4s` counts from the first generation, not from each."""
    host.ip("addr add 198.51.100.1/32 dev br0")
    one = guest()
    start = time.monotonic()
    watch = host.watch("--dev", "vnet*", "--trust-clock", "-p", host.write(
        GATEWAY + "  - allow: 198.51.100.1\n    id: soon\n    expires: 4s\n"))
    watch.wait(told("attached", "vnet0"))
    host.ip("addr del 198.51.100.1/32 dev br0")     # then it is no gateway
    host.ip("addr add 198.51.100.1/32 dev lo")
    watch.wait(told("renewed", "vnet0"))
    assert one.arrives("198.51.100.1")
    time.sleep(max(0, start + 2 - time.monotonic()))
    watch.signal(signal.SIGHUP)
    watch.forget()
    watch.wait(told("renewed", "vnet0"))
    assert one.arrives("198.51.100.1"), "the test was too slow to test anything"
    assert time.monotonic() < start + 4
    time.sleep(max(0, start + 5.2 - time.monotonic()))
    assert not one.arrives("198.51.100.1")


# ---- the network around it ----

def test_addresses_of_the_bridge_are_followed(host, guest):
    host.ip("addr add 198.51.100.1/32 dev lo")
    one = guest()
    host.tap("vnet1")           # belongs to no bridge: nothing changes for it
    watch = host.watch("--dev", "vnet*", "-p", host.write(GATEWAY + "    empty: ok\n"))
    watch.wait(told("attached", "vnet0"))
    watch.wait(told("attached", "vnet1"))
    assert not one.arrives("198.51.100.1")
    assert one.arrives("192.0.2.1")
    host.ip("addr del 198.51.100.1/32 dev lo")
    host.ip("addr add 198.51.100.1/32 dev br0")
    watch.wait(told("renewed", "vnet0"))
    assert one.arrives("198.51.100.1")
    host.ip("addr del 198.51.100.1/32 dev br0")
    host.ip("addr add 198.51.100.1/32 dev lo")
    watch.forget()
    watch.wait(told("renewed", "vnet0"))
    assert not one.arrives("198.51.100.1")
    assert not [l for l in watch.lines if told("renewed", "vnet1")(l)]


def test_many_changes_are_answered_once(host, guest):
    guest()
    watch = host.watch("--dev", "vnet*", "-p", host.write(GATEWAY))
    watch.wait(told("attached", "vnet0"))
    host.batch([f"addr add 198.51.100.{i}/32 dev br0" for i in range(1, 101)])
    watch.wait(told("renewed", "vnet0"))
    host.tap("vnet1")
    host.ip("link set vnet1 master br0")
    watch.wait(told("attached", "vnet1"))
    assert len([l for l in watch.lines if told("renewed", "vnet0")(l)]) <= 3


def test_isolated_until_its_policy_can_be_resolved(host, guest):
    """A tap is made before it is put into its bridge: @gateway is then nothing."""
    policy = host.write(GATEWAY)
    watch = host.watch("--dev", "vnet*", "-p", policy)
    host.tap("vnet0")
    why = watch.wait(told("isolated", "vnet0"))["why"]
    assert "@gateway" in why
    said = watch.wait_error("@gateway")
    assert re.match(re.escape(str(policy)) + r":\d+:\d+: error: ", said), said
    assert host.policy_of("vnet0") == "watch-isolated"
    host.ip("link set vnet0 master br0")
    watch.wait(told("renewed", "vnet0", policy="agent"))
    assert host.policy_of("vnet0") == "agent"


def test_a_policy_that_cannot_be_renewed_is_kept(host, guest):
    one = guest()
    watch = host.watch("--dev", "vnet*", "-p", host.write(GATEWAY))
    first = watch.wait(told("attached", "vnet0"))
    assert one.arrives("192.0.2.1")
    host.ip("addr flush dev br0")
    assert "@gateway" in watch.wait(told("kept", "vnet0"))["why"]
    assert host.status()["vnet0"]["generation"] == first["generation"]
    host.ip("addr add 192.0.2.7/24 dev br0")
    watch.wait(told("renewed", "vnet0"))
    assert one.arrives("192.0.2.7")


@pytest.mark.parametrize("audit", [False, True])
def test_the_index_of_a_device_that_was_moved(host, audit):
    """What is found is the new device, held first or (audit) not; the one that was moved is left
    as it is, where it is."""
    there = Namespace("sl-moved")
    host.ip("link add vnet0 type veth peer name p0")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), *["--audit"] * audit)
    try:
        watch.wait(told("attached", "vnet0"))
        index = host.ifindex("vnet0")
        host.ip(f"link set vnet0 netns {there.name}")
        watch.wait(told("gone", "vnet0"))
        host.ip(f"link add vnet1 index {index} type veth peer name p1")
        watch.wait(told("attached", "vnet1"))
        status = host.status()
        assert not status["vnet0"]["attached"] and status["vnet1"]["attached"], status
        assert status["vnet0"]["ifindex"] == status["vnet1"]["ifindex"] == index
        assert status["vnet0"]["slot"] != status["vnet1"]["slot"]
        there.ip("link del vnet0")
        assert until(lambda: "vnet0" not in host.status())
    finally:
        there.close()
