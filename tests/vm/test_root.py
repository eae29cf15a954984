# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the guest's root tries. Each attempt is first seen to arrive without a
policy; with one, nothing of it is on any wire behind the tap, an event names the
reason, and the guest's own traffic goes on."""
import network
import pytest
from network import (A4, A6, BIND, BRIDGE4, ECHO, FREE4, FREE6, LAN4, LAN6, MAC_A, MAC_C, NET4,
                     NET6, lab)
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptPrefixInfo, IPv6)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

POLICY = f"""\
sluice: 1
name: root
rules:
  - allow: {{to: [{NET4}, "{NET6}", {LAN4}, "{LAN6}"], protocol: any}}
    id: all-of-them
"""     # as wide as can be: what is denied here is denied for who sends it
ALL = "ff:ff:ff:ff:ff:ff"
ALL_NODES = "33:33:00:00:00:01"
PORT = 9
VLAN = 7


CHANGES = pytest.mark.usefixtures("upset")


@pytest.fixture
def lan_mac(site):
    return site.mac("lan", "l1")


def judge(site, device, attempt, reasons, also=(), restore=None):
    """attempt(TOKEN) sends. reasons: those of which the event has one; also: of
    what else the guest's kernel sends on the occasion."""
    token = site.token()
    attempt(token)
    assert site.arrived(token), "it does not even arrive without a policy"
    (restore or site.forget)()
    device.attach(POLICY, *BIND)
    with device.monitor() as monitor:
        token = site.token()
        attempt(token)
        assert site.arrived(token) == set()
        monitor.wait_reason(*reasons)
        unwanted = [e for e in lab.matching(monitor.events, direction="egress")
                    if e["reason"] not in reasons | set(also)]
        assert not unwanted
    (restore or site.forget)()
    for to in (NET4, NET6):
        assert site.a.do("tcp", to=to, port=ECHO) == "hello"


def datagram(token, source=None, to=LAN4):
    """By a socket: what the kernel makes of the guest's addresses."""
    more = {"bind": [source, 0]} if source else {}
    return dict(kind="udp", to=to, port=PORT, payload=token, no_reply=True, **more)


# ---- with the guest's own stack ----

@CHANGES
@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_another_address(site, device, lan_mac, v6):
    free, to, prefix = (FREE6, LAN6, "64 nodad") if v6 else (FREE4, LAN4, "24")

    def attempt(token):
        site.a.sh(f"ip addr add {free}/{prefix} dev eth0; "
                  f"ip neigh replace {to} lladdr {lan_mac} nud permanent dev eth0")
        site.a.do(**datagram(token, free, to))
        site.a.sh(f"ip addr del {free}/{prefix.split()[0]} dev eth0; "
                  f"ip neigh del {to} dev eth0")
    # adding an address announces it, too
    judge(site, device, attempt, {"address-binding", "nd", "arp"}, restore=site.restore)


@CHANGES
@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_another_mac(site, device, lan_mac, v6):
    to = LAN6 if v6 else LAN4

    def attempt(token):
        # not `down`: that would take the IPv6 addresses
        site.a.sh(f"ip link set eth0 address {MAC_C}; "
                  f"ip neigh replace {to} lladdr {lan_mac} nud permanent dev eth0")
        site.a.do(**datagram(token, to=to))
    judge(site, device, attempt, {"mac-binding"}, restore=site.restore)


@CHANGES
def test_vlan_interface(site, device, lan_mac):
    def attempt(token):
        site.a.sh(f"ip link add link eth0 name tagged type vlan id {VLAN}; "
                  "ip addr add 192.168.107.10/24 dev tagged; ip link set tagged up; "
                  f"ip neigh replace 192.168.107.200 lladdr {lan_mac} nud permanent dev tagged")
        site.a.do(**datagram(token, to="192.168.107.200"))
        site.a.sh("ip link del tagged")
    judge(site, device, attempt, {"vlan"}, restore=site.restore)


def test_vlan_of_the_binding(site, device, lan_mac):
    """--vlan: this id passes (the policy judges what is in it), another does not."""
    device.attach(POLICY, *BIND, "--vlan", str(VLAN))

    def tagged(vid, token, to=LAN4):
        return (Ether(src=MAC_A, dst=lan_mac) / Dot1Q(vlan=vid) / IP(src=A4, dst=to) /
                UDP(sport=4000, dport=PORT) / token)
    passes, denied, other = site.token(), site.token(), site.token()
    with device.monitor() as monitor:
        site.send(tagged(VLAN, passes))
        assert site.arrived(passes)
        site.send(tagged(VLAN + 1, other))
        assert site.arrived(other) == set()
        assert monitor.wait(verdict="deny")["reason"] == "vlan"
        site.send(tagged(VLAN, denied, BRIDGE4))
        assert site.arrived(denied) == set()
        assert monitor.wait(destination=BRIDGE4)["reason"] == "default"


NESTED = """
ip netns add nested
ip link add n0 type veth peer name n1 netns nested
ip link add inner type bridge
ip link set n0 master inner up
ip link set eth0 master inner
ip link set inner up
ip netns exec nested sysctl -qw net.ipv6.conf.n1.accept_dad=0
ip -n nested link set n1 address {mac} up
ip -n nested addr add {mine} dev n1
ip -n nested neigh add {to} lladdr {lan} nud permanent dev n1
for port in eth0 n0; do
	until [ $(cat /sys/class/net/$port/brport/state) = 3 ]; do :; done  # forwarding
done
until ip -n nested link show n1 | grep -q 'state UP'; do :; done
ip netns exec nested /usr/bin/python3 -c "
from socket import *
socket(AF_INET{six}, SOCK_DGRAM).sendto(b'{token}', ('{to}', 9))"
ip link del inner
ip netns del nested
"""


@CHANGES
@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_bridge_behind_the_nic(site, device, lan_mac, v6):
    """A nested guest: a namespace in the guest, bridged to its NIC, with a MAC of
    its own and the guest's address."""
    to, mine = (LAN6, f"{A6}/64 nodad") if v6 else (LAN4, f"{A4}/24")

    def attempt(token):
        site.a.sh(NESTED.format(mac=MAC_C, mine=mine, to=to, lan=lan_mac, token=token,
                                six=6 if v6 else ""))
    # the bridge joins the group of all snoopers (RFC 4286)
    judge(site, device, attempt, {"mac-binding"}, also=["ip-options", "default"],
          restore=site.restore)


# ---- raw frames (AF_PACKET); tests/system has all of them against a tap ----

def raw(name):
    """Frames by name: (function of the token, reasons)."""
    return {
        "source MAC": (lambda t: Ether(src=MAC_C, dst=ALL) / IP(src=A4, dst="255.255.255.255") /
                       UDP(sport=4000, dport=PORT) / t, {"mac-binding"}),
        "source IPv4": (lambda t: Ether(src=MAC_A, dst=ALL) / IP(src=FREE4, dst=LAN4) /
                        UDP(sport=4000, dport=PORT) / t, {"address-binding"}),
        "source IPv6": (lambda t: Ether(src=MAC_A, dst=ALL_NODES) / IPv6(src=FREE6, dst=LAN6) /
                        UDP(sport=4000, dport=PORT) / t, {"address-binding"}),
        "ARP for the gateway": (lambda t: Ether(src=MAC_A, dst=ALL) /
                                ARP(op=2, hwsrc=MAC_A, psrc=BRIDGE4, pdst=BRIDGE4) / t, {"arp"}),
        "ARP with another MAC": (lambda t: Ether(src=MAC_A, dst=ALL) /
                                 ARP(op=2, hwsrc=MAC_C, psrc=A4, pdst=BRIDGE4) / t, {"arp"}),
        # behind the packet, whose options must be complete
        "NA for the gateway": (lambda t: bytes(Ether(src=MAC_A, dst=ALL_NODES) /
                                               IPv6(src=A6, dst="ff02::1", hlim=255) /
                                               ICMPv6ND_NA(tgt=network.BRIDGE6, R=1, O=1) /
                                               ICMPv6NDOptDstLLAddr(lladdr=MAC_A)) +
                               t.encode(), {"nd"}),
        "router advertisement": (lambda t: Ether(src=MAC_A, dst=ALL_NODES) /
                                 IPv6(src="fe80::5054:ff:fe12:340a", dst="ff02::1", hlim=255) /
                                 ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::") /
                                 t, {"rogue-ra"}),
        "DHCP offer": (lambda t: Ether(src=MAC_A, dst=ALL) / IP(src=A4, dst="255.255.255.255") /
                       UDP(sport=67, dport=68) / BOOTP(op=2, yiaddr=FREE4, sname=t) /
                       DHCP(options=[("message-type", "offer"), "end"]), {"rogue-dhcp"}),
        "LLDP": (lambda t: Ether(src=MAC_A, dst="01:80:c2:00:00:10", type=0x88cc) / t,
                 {"ethertype"}),
        "priority tag": (lambda t: Ether(src=MAC_A, dst=ALL) / Dot1Q(vlan=0) /
                         IP(src=A4, dst=LAN4) / UDP(dport=PORT) / t, {"vlan"}),
        "QinQ": (lambda t: Ether(src=MAC_A, dst=ALL) / Dot1AD(vlan=8) / Dot1Q(vlan=9) /
                 IP(src=A4, dst=LAN4) / UDP(dport=PORT) / t, {"vlan"}),
        "fragment": (lambda t: Ether(src=MAC_A, dst=ALL) / IP(src=A4, dst=LAN4, frag=10, proto=17) /
                     t, {"fragment"}),
        "bare ACK's opposite": (lambda t: Ether(src=MAC_A, dst=ALL) / IP(src=A4, dst=LAN4) /
                                TCP(sport=4000, dport=PORT, flags="FPU") / t, {"tcp-flags"}),
    }[name]


@pytest.mark.parametrize("name", ["source MAC", "source IPv4", "source IPv6",
                                  "ARP for the gateway", "ARP with another MAC",
                                  "NA for the gateway", "router advertisement", "DHCP offer",
                                  "LLDP", "priority tag", "QinQ", "fragment",
                                  "bare ACK's opposite"])
def test_raw_frame(site, device, name):
    frame, reasons = raw(name)
    judge(site, device, lambda token: site.send(frame(token)), reasons)


@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_super_frame(site, device, lan_mac, v6):
    """One frame of 9,000 bytes that says "cut me into segments", by AF_PACKET with a
    virtio header; from a spoofed address, and from our own to a denied place."""
    def frame(source, to, token):
        ip = IPv6(src=source, dst=to) if v6 else IP(src=source, dst=to)
        return (Ether(src=MAC_A, dst=lan_mac) / ip /
                TCP(sport=4000, dport=PORT, flags="A", seq=1) / (token.encode() + bytes(9000)))
    spoofed, mine, to = (FREE6, A6, LAN6) if v6 else (FREE4, A4, LAN4)
    judge(site, device, lambda t: site.super_frame(frame(spoofed, to, t), v6), {"address-binding"})
    denied = "2001:db8:101::201" if v6 else "192.168.101.201"
    device.detach()
    judge(site, device, lambda t: site.super_frame(frame(mine, denied, t), v6), {"default"})
