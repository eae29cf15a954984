# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""@gateway, @subnet and @host for what is behind a device: "for a tap: its bridge"."""
import os
import subprocess
import threading
import time

import pytest

from netns_tools import TOOL, make_netns, netns  # noqa: F401 (fixtures)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

BRIDGE = ["10.1.0.1/24", "2001:db8:1::1/64", "fe80::1/64"]
GATEWAY = ["10.1.0.1", "2001:db8:1::1", "fe80::1"]
SUBNET = ["10.1.0.0/24", "2001:db8:1::/64", "fe80::/64"]


@pytest.fixture
def host(netns):
    """A host with a guest's bridge br0 and an uplink that has the default routes."""
    netns.add("br0", "bridge", *BRIDGE)
    netns.link("up0", "192.0.2.2/24", "2001:db8:9::2/64", "fe80::2/64")
    netns.ip("route add default via 192.0.2.1")
    netns.ip("-6 route add default via fe80::9 dev up0")
    return netns


def of(netns, device):
    env = netns.environment("--dev", device)
    return env["gateway"], env["subnet"]


def test_a_tap_of_a_bridge(host):
    """Not the uplink's next hops, which the guest never sees; the host's every address."""
    host.tap("vnet0")
    host.ip("link set vnet0 master br0")
    env = host.environment("--dev", "vnet0")
    assert env["gateway"] == GATEWAY
    assert env["subnet"] == SUBNET
    assert env["host"] == ["10.1.0.1", "192.0.2.2", "2001:db8:1::1", "2001:db8:9::2",
                           "fe80::1", "fe80::2"]
    # The same host without a device: the other way round.
    assert host.environment()["gateway"] == ["192.0.2.1", "fe80::9"]
    assert host.environment()["host"] == env["host"]


def test_a_ports_link_local_address_is_not_the_hosts(make_netns, host):
    """A guest reaches every address of the host but the link-local ones of other links.
    A thousand taps have one each: they would fill every table of a thousand."""
    guest = make_netns()
    host.ip(f"link add veth0 type veth peer name eth0 netns {guest.name}")
    host.up("veth0", "fe80::3/64")
    host.ip("link set veth0 master br0")
    guest.up("eth0", "10.1.0.77/24", "2001:db8:1::77/64", "fe80::77/64")
    guest.ip("route add default via 10.1.0.1")
    guest.ip("-6 route add default via fe80::1 dev eth0")
    mac = host.exec("cat", "/sys/class/net/br0/address").strip()
    for address in ("fe80::2", "fe80::3"):  # the uplink's and the port's
        guest.ip(f"-6 neigh replace {address} lladdr {mac} dev eth0 nud permanent")

    def answers(address):
        scope = "%eth0" if address.startswith("fe80") else ""
        return subprocess.run(["ip", "netns", "exec", guest.name, "ping", "-c1", "-W1",
                               address + scope], stdout=subprocess.DEVNULL,
                              check=False).returncode == 0

    env = host.environment("--dev", "veth0")["host"]
    assert [address for address in env if answers(address)] == [
        "10.1.0.1", "192.0.2.2", "2001:db8:1::1", "2001:db8:9::2", "fe80::1"]
    assert set(host.environment()["host"]) - set(env) == {"fe80::3"}
    assert not answers("fe80::3")


def test_the_host_side_of_a_veth_of_a_bridge(make_netns, host):
    guest = make_netns()
    host.ip(f"link add veth0 type veth peer name eth0 netns {guest.name}")
    host.up("veth0")
    host.ip("link set veth0 master br0")
    guest.ip("addr add 10.1.0.77/24 dev eth0")
    guest.ip("link set eth0 up")
    guest.ip("route add default via 10.1.0.1")
    assert of(host, "veth0") == (GATEWAY, SUBNET)
    assert "10.1.0.77" not in host.environment("--dev", "veth0")["host"]


def test_a_link_local_address_of_the_kernels_making(host):
    """It is how a guest sees its router in advertisements. It comes with the carrier."""
    host.ip("link add br1 address 02:00:00:00:00:07 type bridge")
    host.link("veth1")
    host.ip("link set veth1 master br1")
    host.ip("link set br1 up")
    end = time.monotonic() + 10
    while of(host, "veth1") == ([], []) and time.monotonic() < end:
        pass
    assert of(host, "veth1") == (["fe80::ff:fe00:7"], ["fe80::/64"])


def test_two_bridges_are_two_networks(host):
    host.add("br1", "bridge", "10.2.0.1/24")
    for device, bridge in (("vnet0", "br0"), ("vnet1", "br1")):
        host.tap(device)
        host.ip(f"link set {device} master {bridge}")
    assert of(host, "vnet0") == (GATEWAY, SUBNET)
    assert of(host, "vnet1") == (["10.2.0.1"], ["10.2.0.0/24"])


def test_a_bridge_with_the_default_route(netns):
    """Bridged to the LAN: the router is the guest's too, the host is its neighbour."""
    netns.add("br0", "bridge", "10.1.0.2/24", "2001:db8:1::2/64")
    netns.ip("route add default via 10.1.0.254")
    netns.ip("-6 route add default via fe80::254 dev br0")
    netns.tap("vnet0")
    netns.ip("link set vnet0 master br0")
    assert of(netns, "vnet0") == (["10.1.0.2", "10.1.0.254", "2001:db8:1::2", "fe80::254"],
                                  ["10.1.0.0/24", "2001:db8:1::/64"])


def test_only_the_hop_over_the_bridge(host):
    host.tap("vnet0")
    host.ip("link set vnet0 master br0")
    host.ip("route replace default nexthop via 192.0.2.1 dev up0 nexthop via 10.1.0.254 dev br0")
    assert of(host, "vnet0")[0] == ["10.1.0.1", "10.1.0.254", "2001:db8:1::1", "fe80::1"]


def test_a_prefix_by_route_is_on_the_link(host):
    host.tap("vnet0")
    host.ip("link set vnet0 master br0")
    host.ip("route add 10.7.0.0/16 dev br0")
    host.ip("route add 10.8.0.0/16 via 10.1.0.8")
    assert of(host, "vnet0")[1] == ["10.1.0.0/24", "10.7.0.0/16", *SUBNET[1:]]


def test_a_device_without_a_master_is_its_own_network(host):
    """Routed taps: Firecracker's way, and that of a pod's veth."""
    host.tap("tap0")
    host.up("tap0", "172.16.0.1/30", "fe80::7/64")
    assert of(host, "tap0") == (["172.16.0.1", "fe80::7"], ["172.16.0.0/30", "fe80::/64"])
    host.tap("tap1")
    host.ip("route add 172.16.5.5 dev tap1")
    assert of(host, "tap1") == ([], ["172.16.5.5"])


def test_the_bridge_itself(host):
    assert of(host, "br0") == (GATEWAY, SUBNET)


def test_a_bridge_that_the_host_is_not_on(host):
    host.add("br1", "bridge")
    host.tap("vnet1")
    host.ip("link set vnet1 master br1")
    env = host.environment("--dev", "vnet1")
    assert (env["gateway"], env["subnet"]) == ([], [])
    assert "10.1.0.1" in env["host"]


def test_addresses_of_a_port_are_not_those_of_the_network(host):
    """An address on a bridge's port answers nobody; it is the host's all the same."""
    host.tap("vnet0")
    host.ip("addr add 10.66.0.1/24 dev vnet0")
    host.ip("link set vnet0 master br0")
    env = host.environment("--dev", "vnet0")
    assert (env["gateway"], env["subnet"]) == (GATEWAY, SUBNET)
    assert "10.66.0.1" in env["host"]


def add_or_skip(netns, name, kind, over=""):
    try:
        netns.ip(f"link add {over} name {name} type {kind}")
    except subprocess.CalledProcessError:
        pytest.skip(f"this kernel has no {kind.split()[0]} interfaces")
    netns.up(name)


def test_a_vlan_over_the_bridge_is_another_network(host):
    """Which VLAN a port is in, its addresses do not say: docs/devices.md."""
    host.tap("vnet0")
    host.ip("link set vnet0 master br0")
    add_or_skip(host, "br0.10", "vlan id 10", over="link br0")
    host.ip("addr add 10.10.0.1/24 dev br0.10")
    host.ip("addr add fe80::10/64 dev br0.10 nodad")
    assert of(host, "vnet0") == (GATEWAY, SUBNET)
    # A tagged frame of the guest's comes to it, though.
    assert {"10.10.0.1", "fe80::10"} < set(host.environment("--dev", "vnet0")["host"])


def test_a_vrf_leaves_addresses_on_its_devices(host):
    add_or_skip(host, "red", "vrf table 100")
    host.tap("tap0")
    host.ip("link set tap0 master red")
    host.up("tap0", "172.16.0.1/30", "2001:db8:5::1/64")
    host.ip("route add default via 172.16.0.2 dev tap0 table 100")
    assert of(host, "tap0") == (["172.16.0.1", "172.16.0.2", "2001:db8:5::1"],
                                ["172.16.0.0/30", "2001:db8:5::/64"])


def test_a_bridge_in_a_vrf(host):
    add_or_skip(host, "red", "vrf table 100")
    host.add("br1", "bridge")
    host.ip("link set br1 master red")
    host.up("br1", "10.2.0.1/24", "fe80::21/64")
    host.tap("vnet1")
    host.ip("link set vnet1 master br1")
    assert of(host, "vnet1") == (["10.2.0.1", "fe80::21"], ["10.2.0.0/24", "fe80::/64"])


def test_a_bond_and_the_bridge_above_it(host):
    add_or_skip(host, "bond0", "bond mode active-backup")
    host.tap("vnet0")
    host.ip("link set vnet0 down")
    host.ip("link set vnet0 master bond0")
    host.up("bond0", "10.3.0.1/24")
    assert of(host, "vnet0") == (["10.3.0.1"], ["10.3.0.0/24"])
    host.ip("addr flush dev bond0")
    host.ip("link set bond0 master br0")
    assert of(host, "vnet0") == (GATEWAY, SUBNET)


def failure(netns, *options):
    done = subprocess.run(["ip", "netns", "exec", netns.name, str(TOOL), *options], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("ifindex", ["0", "999999", "2147483647", "2147483648", "4294967295"])
def test_an_interface_that_is_not_there(netns, ifindex):
    assert failure(netns, "--ifindex", ifindex) == (1, "", "environment: No such device\n")


def churn(netns, change):
    """Runs the lines again and again until the caller says that it has seen enough."""
    done = threading.Event()

    def loop():
        while not done.is_set():
            subprocess.run(["ip", "-n", netns.name, "-batch", "-"], check=True, text=True,
                           input="".join(line + "\n" for line in change))

    thread = threading.Thread(target=loop)
    thread.start()

    def end():
        done.set()
        thread.join()

    return end


def test_a_device_that_is_moved_meanwhile(host):
    """One network or the other, never something of both."""
    host.add("br1", "bridge", "10.2.0.1/24", "2001:db8:2::1/64")
    host.tap("vnet0")
    host.ip("link set vnet0 master br0")
    end = churn(host, ["link set vnet0 master br1", "link set vnet0 master br0"] * 10)
    seen = set()
    try:
        for _ in range(60):
            code, out, err = failure(host, "--dev", "vnet0")
            if code:
                assert "Interrupted" in err
                continue
            seen.add(tuple(out.splitlines()[:2]))
    finally:
        end()
    assert seen
    for gateway, subnet in seen:
        assert ("10.1.0.1" in gateway) == ("10.1.0.0/24" in subnet)
        assert ("10.2.0.1" in gateway) == ("10.2.0.0/24" in subnet)
        assert ("10.1.0.1" in gateway) != ("10.2.0.1" in gateway)


def test_a_device_that_goes_away_meanwhile(host):
    """All of its network, or no such device; never half of it."""
    host.tap("vnet0")
    index = host.exec("cat", "/sys/class/net/vnet0/ifindex").strip()
    change = ["link del vnet0", f"link add vnet0 index {index} type veth peer name p0",
              "link set vnet0 master br0"]
    host.ip("link set vnet0 master br0")
    end = churn(host, change * 3)
    outcomes = []
    try:
        for _ in range(60):
            code, out, err = failure(host, "--ifindex", index)
            outcomes.append(code)
            if code:
                assert "No such device" in err or "Interrupted" in err
            else:
                gateway = out.splitlines()[0]
                assert "10.1.0.1" in gateway or gateway.endswith("[]}")
    finally:
        end()
    assert 0 in outcomes
