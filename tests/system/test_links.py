# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The monitor of network devices (user/target/links.c), through tests/tools/links."""
import json
import os
import pathlib
import signal

import pytest

from devlab import Namespace, WAIT

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
TOOL = BUILD / "tests" / "links"
ETHER, LOOPBACK, NONE = 1, 772, 0xfffe

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture
def net():
    made = Namespace("sl-links")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def monitor(net):
    return started(net)


def started(net, *options):
    child = net.start(TOOL, *options)
    child.wait(lambda line: line["change"] == "settled")
    return child


def change(word, **want):
    def holds(line):
        return line["change"] == word and all(line.get(k) == v for k, v in want.items())
    return holds


def told(child, word):
    with child.changed:
        return [line for line in child.lines if line["change"] == word]


def test_what_exists_comes_with_the_first_dump(net):
    net.ip("link add br0 type bridge")
    net.ip("link add v0 type veth peer name v1")
    net.ip("link set v0 master br0")
    monitor = started(net)
    bridge = monitor.wait(change("new", name="br0", kind="bridge", type=ETHER))
    monitor.wait(change("new", name="v0", kind="veth", master=bridge["ifindex"]))
    monitor.wait(change("new", name="v1", kind="veth", master=0))
    monitor.wait(change("new", name="lo", kind="", type=LOOPBACK))


def test_a_tap_appears_and_is_gone_with_its_descriptor(net, monitor):
    fd = net.tap("vnet0")
    new = monitor.wait(change("new", name="vnet0", kind="tun", type=ETHER))
    net.drop(fd)
    monitor.wait(change("gone", name="vnet0", ifindex=new["ifindex"]))


def test_a_tun_is_no_ethernet_device(net, monitor):
    net.ip("tuntap add dev tun0 mode tun")
    monitor.wait(change("new", name="tun0", kind="tun", type=NONE))


def test_rename_tells_both_names(net, monitor):
    net.ip("link add v0 type veth peer name v1")
    new = monitor.wait(change("new", name="v0"))
    net.ip("link set v0 name vnet7")
    monitor.wait(change("renamed", name="vnet7", before="v0", ifindex=new["ifindex"]))


def test_into_a_bridge_and_out_is_no_deletion(net, monitor):
    """A bridge says RTM_DELLINK of a port that leaves it, in the same group."""
    net.ip("link add br0 type bridge")
    net.ip("link add v0 type veth peer name v1")
    bridge = monitor.wait(change("new", name="br0"))
    net.ip("link set v0 master br0")
    monitor.wait(change("master", name="v0", master=bridge["ifindex"]))
    net.ip("link set v0 nomaster")
    monitor.wait(change("master", name="v0", master=0))
    net.ip("link add mark type bridge")
    monitor.wait(change("new", name="mark"))
    assert not told(monitor, "gone")


def test_moved_out_of_the_namespace_is_gone_and_back_is_new(net, monitor):
    other = Namespace("sl-links-o")
    try:
        net.ip("link add v0 type veth peer name v1")
        monitor.wait(change("new", name="v0"))
        net.ip(f"link set v0 netns {other.name}")
        monitor.wait(change("gone", name="v0"))
        monitor.forget()
        other.ip(f"link set v0 netns {net.name}")
        monitor.wait(change("new", name="v0", kind="veth"))
    finally:
        other.close()


def test_a_number_used_again_is_another_device(net, monitor):
    net.ip("link add first index 777 type bridge")
    monitor.wait(change("new", name="first", ifindex=777))
    net.ip("link del first")
    net.ip("link add second index 777 type bridge")
    monitor.wait(change("new", name="second", ifindex=777))
    words = [line["change"] for line in monitor.lines if line.get("ifindex") == 777]
    assert words == ["new", "gone", "new"]


def test_an_overrun_is_made_good_by_a_dump(net):
    """The reader stands still while more happens than its buffer holds."""
    monitor = started(net, "--receive-buffer", "4096")
    net.batch(["link add old type bridge", "link add stays type bridge"])
    monitor.wait(change("new", name="stays"))
    monitor.forget()
    monitor.signal(signal.SIGSTOP)
    net.batch([f"link add d{i} type bridge" for i in range(200)])
    net.batch(["link del old", "link set stays name still"])
    monitor.signal(signal.SIGCONT)
    for i in range(200):
        monitor.wait(change("new", name=f"d{i}"))
    monitor.wait(change("gone", name="old"))
    monitor.wait(change("renamed", name="still", before="stays"))
    monitor.wait(change("again", name="still"))
    settled = monitor.wait(change("settled"))
    assert settled["overruns"] >= 1, "nothing was lost: the test tests nothing"
    assert [line["name"] for line in told(monitor, "gone")] == ["old"]
    net.ip("link add after type bridge")
    monitor.wait(change("new", name="after"))


def test_a_burst_is_told_whole(net, monitor):
    net.batch([f"link add d{i} group 7 type bridge" for i in range(200)])
    net.ip("link del group 7")
    monitor.wait(change("gone", name="d0"))
    monitor.wait(change("gone", name="d199"))
    assert len([1 for line in told(monitor, "new") if line["name"].startswith("d")]) == 200
    assert len(told(monitor, "gone")) == 200


def tally(lines):
    """Names by number, as the changes tell them in their order."""
    known = {}
    for line in lines:
        if line["change"] == "new":
            assert line["ifindex"] not in known, "told as new twice"
        if line["change"] == "gone":
            assert known.pop(line["ifindex"]) == line["name"]
        elif "ifindex" in line:
            known[line["ifindex"]] = line["name"]
    return known


def test_churn_under_a_small_buffer_ends_with_the_truth(net):
    """Devices come and go while dumps are under way; what is told adds up."""
    monitor = started(net, "--receive-buffer", "4096")
    for turn in range(10):
        net.batch([f"link add c{turn}-{i} group 7 type bridge" for i in range(19)] +
                  [f"link add c{turn}-19 type bridge", "link del group 7"])
    truth = {link["ifindex"]: link["ifname"] for link in json.loads(net.ip("-j link show"))}
    assert len(truth) == 11
    with monitor.changed:
        monitor.changed.wait_for(lambda: tally(monitor.lines) == truth, WAIT)
        assert tally(monitor.lines) == truth


@pytest.mark.parametrize("line", ["addr add 192.0.2.9/24 dev d0", "addr add 2001:db8::9/64 dev d0",
                                  "route add 198.51.100.0/24 dev d0",
                                  "route add default via 192.0.2.1",
                                  "-6 route add 2001:db8:9::/48 dev d0"])
def test_addresses_and_routes_are_told(net, monitor, line):
    net.ip("link add d0 type bridge")
    net.ip("link set d0 up")
    net.ip("addr add 192.0.2.2/24 dev d0")
    monitor.wait(change("addresses"))
    net.ip("link add quiet type bridge")
    monitor.wait(change("new", name="quiet"))
    monitor.forget()
    net.ip(line)
    monitor.wait(change("addresses"))


def test_a_device_alone_changes_no_address(net, monitor):
    net.ip("link add d0 type bridge")
    net.ip("link del d0")
    monitor.wait(change("gone", name="d0"))
    assert not told(monitor, "addresses")
