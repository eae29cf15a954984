# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Addresses that the guest gets from the network: DHCP from a real dnsmasq, which
binds what it leases, and IPv6 from its router advertisements."""
import json
import shutil
import signal
import subprocess

import pytest
from network import A4, BRIDGE4, ECHO, FREE4, LAN4, MAC_A, NET4, NET6, lab
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

pytestmark = pytest.mark.usefixtures("device", "upset")
POLICY = f"""\
sluice: 1
name: dhcp
rules:
  - allow: {{to: [{NET4}, "{NET6}"], ports: [{ECHO}]}}
"""
LEASED = "192.168.101.150"
SLAAC = "2001:db8:101:0:5054:ff:fe12:340a"      # MAC_A, RFC 4291 appendix A
LINK_LOCAL = "fe80::5054:ff:fe12:340a"
SCRIPT = r"""cat > /tmp/dhcp <<'END'
#!/bin/sh
case $1 in
deconfig) ip addr flush dev eth0 scope global ;;
bound|renew) ip addr replace $ip/24 dev eth0; ip route replace default via $router
	[ ! -p /tmp/bound ] || echo bound > /tmp/bound ;;
esac
END
chmod 755 /tmp/dhcp"""
# Its -R releases the lease on a signal, not after -q.
AND_RELEASE = """mkfifo /tmp/bound
/bin/busybox udhcpc -i eth0 -n -f -R -s /tmp/dhcp &
read _ < /tmp/bound
rm /tmp/bound
kill $!
wait $! || true"""


@pytest.fixture
def dnsmasq(site, tmp_path):
    """On br0: one lease to give, a router advertisement for the bridge's prefix."""
    log = open(tmp_path / "dnsmasq", "w+", encoding="utf-8")
    program = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
    server = subprocess.Popen(
        [*site.inside("host"), program, "--keep-in-foreground", "--conf-file=/dev/null",
         "--no-resolv", "--no-hosts", "--port=0", "--interface=br0", "--bind-dynamic",
         "--user=root", "--pid-file", f"--dhcp-leasefile={tmp_path}/leases", "--log-facility=-",
         "--log-dhcp", "--no-ping", f"--dhcp-range={LEASED},{LEASED},255.255.255.0,2m",
         f"--dhcp-option=option:router,{BRIDGE4}", "--dhcp-authoritative", "--enable-ra",
         "--dhcp-range=::,constructor:br0,ra-only,64,2m"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        started = lab.until(lambda: "DHCP, IP range" in (tmp_path / "dnsmasq").read_text())
        assert started, (tmp_path / "dnsmasq").read_text()
        yield tmp_path / "dnsmasq"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)
        log.close()


def lease(site):
    """DHCP as a client in the guest does it; its address, or None."""
    site.a.sh(SCRIPT)
    result = site.a.try_("command", argv=["/bin/busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f",
                                          "-t", "4", "-T", "1", "-s", "/tmp/dhcp"])
    return addresses(site, "inet") if result["errno"] is None else None


def addresses(site, family):
    shown = json.loads(site.a.sh("ip -j addr show dev eth0"))[0]["addr_info"]
    return [a["local"] for a in shown if a["family"] == family and not a.get("tentative")]


def test_the_leased_address_is_bound(site, device, dnsmasq):
    # off: it gets the address, and may use another
    assert lease(site) == [LEASED]
    spoofed = site.token()
    frame = (Ether(src=MAC_A, dst=site.mac("host", "br0")) / IP(src=FREE4, dst=NET4) /
             UDP(sport=4000, dport=ECHO))
    site.send(frame / spoofed)
    assert "internet" in site.arrived(spoofed)

    site.a.sh("ip addr flush dev eth0 scope global")
    device.attach(POLICY, "--mac", MAC_A, "--address", "dhcp")
    assert device.status()["binding"]["lease"] is True
    with device.monitor() as monitor:
        # no address yet: the static one of before is not its own
        site.a.sh(f"ip addr add {A4}/24 dev eth0; ip route replace default via {BRIDGE4}")
        assert site.a.try_("udp", to=NET4, port=ECHO, timeout=0.5)["errno"]
        monitor.wait_reason("arp", "address-binding")
        site.a.sh(f"ip addr del {A4}/24 dev eth0")

        assert lease(site) == [LEASED]
        assert site.a.do("tcp", to=NET4, port=ECHO) == "hello"
        assert site.a.do("udp", to=NET4, port=ECHO) == "hello"
        spoofed = site.token()
        site.send(frame / spoofed)
        assert site.arrived(spoofed, bound=LEASED) == set()
        event = monitor.wait(destination=NET4, reason="address-binding")
        assert event["source"]["address"] == FREE4
    assert "DHCPACK" in dnsmasq.read_text()


def test_release_ends_the_lease(site, device, dnsmasq):
    device.attach(POLICY, "--mac", MAC_A, "--address", "dhcp")
    assert lease(site) == [LEASED]
    assert site.a.do("tcp", to=NET4, port=ECHO) == "hello"
    site.a.sh(AND_RELEASE)              # once more, and given back
    assert addresses(site, "inet") == []
    assert lab.until(lambda: "DHCPRELEASE" in dnsmasq.read_text())
    site.a.sh(f"ip addr replace {LEASED}/24 dev eth0; ip route replace default via {BRIDGE4}")
    with device.monitor() as monitor:
        assert site.a.try_("udp_connected", to=NET4, port=ECHO, timeout=0.5)["errno"]
        monitor.wait_reason("arp", "address-binding")


def test_dhcp_may_be_denied(site, device, dnsmasq):
    assert lease(site) == [LEASED]
    device.attach(POLICY + "device: {dhcp: deny}\n", "--mac", MAC_A, "--address", "dhcp")
    with device.monitor() as monitor:
        assert lease(site) is None
        monitor.wait_reason("dhcp")


def autoconf(site):
    """Takes the static addresses and waits for those of the router's prefix."""
    site.a.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=1; ip link set eth0 down; "
              "ip addr flush dev eth0; ip -6 route flush dev eth0; ip link set eth0 up")


def test_ipv6_by_router_advertisement(site, device, dnsmasq):
    """SLAAC behind a binding of the address that the MAC makes; the router's
    advertisements, and the discovery that goes with them, pass."""
    device.attach(POLICY, "--mac", MAC_A, "--address", A4, "--address", SLAAC)
    with device.monitor() as monitor:
        autoconf(site)
        assert lab.until(lambda: SLAAC in addresses(site, "inet6")), addresses(site, "inet6")
        assert LINK_LOCAL in addresses(site, "inet6")
        assert site.a.do("tcp", to=NET6, port=ECHO) == "hello"
        assert site.a.do("udp", to=NET6, port=ECHO) == "hello"
        denied = [e for e in monitor.events if e["verdict"] == "deny"]
        assert not denied
        spoofed = site.token()
        site.send(Ether(src=MAC_A, dst=site.mac("host", "br0")) /
                  IPv6(src="2001:db8:101::bad", dst=NET6) / UDP(sport=4000, dport=ECHO) / spoofed)
        assert site.arrived(spoofed) == set()
        assert monitor.wait(verdict="deny")["reason"] == "address-binding"


def test_ipv6_of_a_prefix(site, device, dnsmasq):
    """A prefix may be bound, for guests that make addresses of their own (RFC 8981)."""
    device.attach(POLICY, "--mac", MAC_A, "--address", "2001:db8:101::/64")
    site.a.sh("sysctl -qw net.ipv6.conf.eth0.use_tempaddr=2")
    try:
        autoconf(site)
        found = lab.until(lambda: len(set(addresses(site, "inet6")) - {SLAAC, LINK_LOCAL}) and
                          addresses(site, "inet6"))
        assert found, addresses(site, "inet6")
        for source in set(found) - {LINK_LOCAL}:
            assert site.a.do("tcp", to=NET6, port=ECHO, bind=[source, 0]) == "hello"
    finally:
        site.a.sh("sysctl -qw net.ipv6.conf.eth0.use_tempaddr=0")
    site.a.sh(f"ip addr add {A4}/24 dev eth0")      # IPv4: none is bound
    assert site.a.try_("udp_connected", to=LAN4, port=ECHO, timeout=0.5)["errno"]
