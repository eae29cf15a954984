# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""@gateway, @subnet, @host and @resolvers as one network namespace sees them."""
import os
import subprocess
import threading

import pytest

from netns_tools import make_netns, netns  # noqa: F401 (fixtures)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]


@pytest.fixture
def resolv_conf(tmp_path):
    def write(text):
        path = tmp_path / "resolv.conf"
        path.write_text(text)
        return str(path)

    return write


def test_no_default_route(netns):
    netns.link("e0", "10.1.0.2/24", "2001:db8:1::2/64")
    env = netns.environment()
    assert env["gateway"] == []
    assert env["subnet"] == []
    assert env["host"] == ["10.1.0.2", "2001:db8:1::2"]


def test_only_loopback(netns):
    env = netns.environment()
    assert (env["gateway"], env["subnet"], env["host"]) == ([], [], [])


def test_other_address_on_loopback_is_the_hosts(netns):
    netns.ip("addr add 192.0.2.7/32 dev lo")
    netns.ip("addr add 127.0.0.9/8 dev lo")
    assert netns.environment()["host"] == ["192.0.2.7"]


def test_one_default_route(netns):
    netns.link("e0", "10.1.0.2/24")
    netns.link("e1", "10.9.0.2/24")
    netns.ip("route add default via 10.1.0.1")
    netns.ip("route add 10.50.0.0/16 via 10.1.0.77")
    env = netns.environment()
    assert env["gateway"] == ["10.1.0.1"]
    assert env["subnet"] == ["10.1.0.0/24"]
    assert env["host"] == ["10.1.0.2", "10.9.0.2"]


def test_two_default_routes(netns):
    netns.link("e0", "10.1.0.2/24", "2001:db8:1::2/64")
    netns.link("e1", "10.2.0.2/20")
    netns.ip("route add default via 10.1.0.1 metric 10")
    netns.ip("route add default via 10.2.0.1 metric 20")
    netns.ip("-6 route add default via 2001:db8:1::1 dev e0")
    env = netns.environment()
    assert env["gateway"] == ["10.1.0.1", "10.2.0.1", "2001:db8:1::1"]
    assert env["subnet"] == ["10.1.0.0/24", "10.2.0.0/20", "2001:db8:1::/64"]


def test_default_route_in_another_table(netns):
    netns.link("e0", "10.1.0.2/24")
    netns.ip("route add default via 10.1.0.9 dev e0 table 100")
    env = netns.environment()
    assert env["gateway"] == ["10.1.0.9"]
    assert env["subnet"] == ["10.1.0.0/24"]


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_default_that_leads_nowhere(netns, kind):
    netns.link("e0", "10.1.0.2/24")
    netns.ip(f"route add {kind} default")
    env = netns.environment()
    assert (env["gateway"], env["subnet"]) == ([], [])


def test_multipath(netns):
    netns.link("e0", "10.1.0.2/24", "2001:db8:1::2/64")
    netns.link("e1", "10.2.0.2/24", "2001:db8:2::2/64")
    netns.ip("route add default nexthop via 10.1.0.1 dev e0 nexthop via 10.2.0.1 dev e1")
    netns.ip("-6 route add default nexthop via 2001:db8:1::1 dev e0 "
             "nexthop via 2001:db8:2::1 dev e1")
    env = netns.environment()
    assert env["gateway"] == ["10.1.0.1", "10.2.0.1", "2001:db8:1::1", "2001:db8:2::1"]
    assert env["subnet"] == ["10.1.0.0/24", "10.2.0.0/24",
                             "2001:db8:1::/64", "2001:db8:2::/64"]


def test_ipv6_only(netns):
    netns.link("e0", "2001:db8:1::2/64")
    netns.ip("-6 route add default via 2001:db8:1::1 dev e0")
    env = netns.environment()
    assert env["gateway"] == ["2001:db8:1::1"]
    assert env["subnet"] == ["2001:db8:1::/64"]
    assert env["host"] == ["2001:db8:1::2"]


def test_link_local_next_hop(netns):
    netns.link("e0", "2001:db8:1::2/64", "fe80::2/64")
    netns.ip("-6 route add default via fe80::1 dev e0")
    env = netns.environment()
    assert env["gateway"] == ["fe80::1"]
    assert env["subnet"] == ["2001:db8:1::/64", "fe80::/64"]


def test_ipv4_over_an_ipv6_router(netns):
    netns.link("e0", "10.1.0.2/32", "fe80::2/64")
    netns.ip("route add default via inet6 fe80::1 dev e0")
    env = netns.environment()
    assert env["gateway"] == ["fe80::1"]
    # The address alone is no prefix of the link.
    assert env["subnet"] == ["fe80::/64"]


def test_gateway_by_link_route(netns):
    """The cloud's way: the address is a /32, the gateway is on the link by route."""
    netns.link("e0", "10.128.0.2/32")
    netns.ip("route add 10.128.0.1 dev e0 scope link")
    netns.ip("route add default via 10.128.0.1 dev e0")
    env = netns.environment()
    assert env["gateway"] == ["10.128.0.1"]
    assert env["subnet"] == ["10.128.0.1"]


def test_default_route_without_next_hop(netns):
    netns.link("e0")
    netns.ip("addr add 10.7.0.2 peer 10.7.0.1/32 dev e0")
    netns.ip("route add default dev e0")
    env = netns.environment()
    assert env["gateway"] == []
    assert env["subnet"] == ["10.7.0.1"]
    assert env["host"] == ["10.7.0.2"]


def test_address_without_prefix_route(netns):
    netns.link("e0", "10.1.0.2/24")
    netns.ip("addr add 10.3.0.2/16 dev e0 noprefixroute")
    netns.ip("route add default via 10.1.0.1")
    assert netns.environment()["subnet"] == ["10.1.0.0/24"]


def test_nexthop_objects(netns):
    netns.link("e0", "10.1.0.2/24")
    netns.ip("nexthop add id 7 via 10.1.0.1 dev e0")
    netns.ip("nexthop add id 8 via 10.1.0.5 dev e0")
    netns.ip("nexthop add id 9 group 7/8")
    netns.ip("route add default nhid 9")
    assert netns.environment()["gateway"] == ["10.1.0.1", "10.1.0.5"]


def test_next_hop_that_is_not_told_is_an_error(netns):
    netns.link("e0", "10.1.0.2/24")
    netns.ip("nexthop add id 7 via 10.1.0.1 dev e0")
    netns.ip("route add default nhid 7")
    try:
        netns.exec("sysctl", "-qw", "net.ipv4.nexthop_compat_mode=0")
    except subprocess.CalledProcessError:
        pytest.skip("no nexthop_compat_mode here")
    with pytest.raises(subprocess.CalledProcessError):
        netns.environment()


def test_foreign_namespace(make_netns):
    """Routes of the target, but the addresses of the caller's namespace as @host."""
    target, caller = make_netns(), make_netns()
    target.link("e0", "10.1.0.2/24")
    target.ip("route add default via 10.1.0.1")
    caller.link("e0", "192.0.2.1/24")
    caller.ip("route add default via 192.0.2.254")
    env = caller.environment("--netns", target.path)
    assert env["gateway"] == ["10.1.0.1"]
    assert env["subnet"] == ["10.1.0.0/24"]
    assert env["host"] == ["192.0.2.1"]


def test_own_resolv_conf(netns, resolv_conf):
    path = resolv_conf(
        "# nameserver 192.0.2.1\n"
        "search example.org\n"
        "nameserver 192.0.2.53\n"
        "nameserver\tfe80::53%eth0   # the router\n"
        "nameserver 192.0.2.53\n"
        "nameserver not.an.address\n"
        "nameserver ::ffff:192.0.2.54\n"
        "nameserverx 192.0.2.55\n"
        "nameserver 2001:db8::53")
    env = netns.environment("--resolv-conf", path)
    assert env["resolvers"] == ["192.0.2.53", "fe80::53", "192.0.2.54", "2001:db8::53"]


def test_resolv_conf_bounds(netns, resolv_conf):
    path = resolv_conf("".join(f"nameserver 192.0.2.{i}\n" for i in range(1, 40)))
    env = netns.environment("--resolv-conf", path)
    assert env["resolvers"] == [f"192.0.2.{i}" for i in range(1, 17)]


@pytest.mark.parametrize("text, domains", [
    ("nameserver 192.0.2.1", []),
    ("search example.org", ["example.org"]),
    ("search\tA.example  B.Example. a.example\t", ["a.example", "b.example"]),
    ("domain corp.example other.example", ["corp.example"]),
    # the last line counts, whichever it is
    ("search a.example b.example\ndomain c.example", ["c.example"]),
    ("domain c.example\nsearch a.example b.example", ["a.example", "b.example"]),
    ("search a.example\nsearch", ["a.example"]),
    # what is no name adds nothing to one
    ("search . a..b x_y.example 192.0.2.1 bad$.example", ["x_y.example"]),
    (" search a.example\nsearchx b.example\n#search c.example", []),
    ("search " + " ".join(f"d{i}.example" for i in range(40)), [f"d{i}.example" for i in range(32)]),
])
def test_search_domains(netns, resolv_conf, text, domains):
    assert netns.environment("--resolv-conf", resolv_conf(text))["search"] == domains


def test_localdomain_of_this_process_is_not_the_targets(netns, resolv_conf, monkeypatch):
    monkeypatch.setenv("LOCALDOMAIN", "mine.example")
    assert netns.environment("--resolv-conf", resolv_conf("search a.example"))["search"] \
        == ["a.example"]


def test_resolv_conf_missing(netns, tmp_path):
    assert netns.environment("--resolv-conf", str(tmp_path / "none"))["resolvers"] == []


def test_resolv_conf_that_would_block(netns, tmp_path):
    fifo = tmp_path / "resolv.conf"
    os.mkfifo(fifo)
    with pytest.raises(subprocess.CalledProcessError):
        netns.environment("--resolv-conf", str(fifo))


def test_addresses_that_change_meanwhile(netns):
    """A dump that raced with a change is asked for again: all is seen, or an error."""
    netns.link("e0", "10.1.0.2/24")
    netns.ip("route add default via 10.1.0.1")
    addresses = [f"10.{100 + i // 250}.{i % 250}.1" for i in range(3000)]

    def batch(lines):
        subprocess.run(["ip", "-n", netns.name, "-batch", "-"], check=True, text=True,
                       input="".join(line + "\n" for line in lines))

    batch(f"addr add {address}/32 dev e0" for address in addresses)
    done = threading.Event()

    def churn():
        change = ["addr add 10.1.0.3/24 dev e0", "addr del 10.1.0.3/24 dev e0"]
        while not done.is_set():
            batch(change * 5)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            env = netns.environment()
            assert env["gateway"] == ["10.1.0.1"]
            assert len(set(env["host"]) - {"10.1.0.3"}) == 3001
    finally:
        done.set()
        thread.join()
