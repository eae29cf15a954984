# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The policies that are shipped for guests, as they are, on a real one."""
import network
from network import (A4, A6, B4, B6, BIND, BRIDGE4, BRIDGE6, LAN4, LAN6, MAC_A, MAC_C, NET4, NET6,
                     PORTS, lab)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6ND_RA, IPv6
from scapy.layers.l2 import ARP, Ether
from test_reach import FAMILIES, attempt, refused, works

POLICIES = network.ROOT / "policies"
ALL = "ff:ff:ff:ff:ff:ff"
LINK_LOCAL = "fe80::5054:ff:fe12:340a"
METADATA = ("169.254.169.254", "fd00:ec2::254")
EVERYWHERE = [(to, port) for to in (NET4, NET6, LAN4, LAN6, BRIDGE4, BRIDGE6, B4, B6)
              for port in (22, 8080)]


def everything_works(site):
    """Nothing between the guest and the world, in both directions."""
    for to, port in EVERYWHERE:
        for kind in ("tcp", "udp"):
            works(site.a, kind, to, port)
        works(site.a, "ping", to)
    for to in METADATA:
        works(site.a, "tcp", to, 80)
    for to in (A4, A6):
        works(site.b, "tcp", to)


def outside_is_let_in(site, yes):
    for who in ("host", "lan", "net"):
        with site.outside(who) as peer:
            for to in (A4, A6):
                for kind in ("tcp", "udp"):
                    result = peer.do(kind, to=to, port=network.ECHO, timeout=3 if yes else 0.3)
                    assert (result["errno"] is None) == yes, (who, to, kind, result)


class TestNatFiltered:
    policy = POLICIES / "vm-nat-filtered.yaml"

    def test_without_it(self, site):
        everything_works(site)
        outside_is_let_in(site, True)

    @FAMILIES
    def test_what_goes_out(self, site, device, v6):
        device.attach(self.policy, *BIND)
        net, gateway = (NET6, BRIDGE6) if v6 else (NET4, BRIDGE4)
        for port in (22, 53, 80, 443, 9418):
            works(site.a, "tcp", net, port)
        works(site.a, "udp", net, 53)
        for kind in ("tcp", "udp"):
            works(site.a, kind, gateway, 53)
        status = device.status()
        assert (status["allowed"], status["denied"], status["tx_denied"]) == (8, 0, 0)

    @FAMILIES
    def test_all_else_is_refused_and_logged(self, site, device, v6):
        device.attach(self.policy, *BIND)
        net, host, lan, other = (NET6, BRIDGE6, LAN6, B6) if v6 else (NET4, BRIDGE4, LAN4, B4)
        metadata = METADATA[v6]
        denied = [("tcp", net, 8080, None), ("tcp", net, 25, None), ("udp", net, 443, None),
                  ("udp", net, 22, None),
                  ("tcp", host, 22, "no-host-no-guests"), ("tcp", host, 80, "no-host-no-guests"),
                  ("udp", host, 80, "no-host-no-guests"),
                  ("tcp", lan, 22, "no-host-no-guests"), ("udp", lan, 53, "no-host-no-guests"),
                  ("tcp", other, 22, "no-host-no-guests"), ("udp", other, 53, "no-host-no-guests"),
                  ("tcp", metadata, 80, "no-metadata")]
        with device.monitor() as monitor:
            for kind, to, port, rule in denied:
                refused(site.a, kind, to, port)
                monitor.wait(destination=to, protocol=kind, rule=rule)
            for to, rule in ((net, None), (host, "no-host-no-guests"),
                             (other, "no-host-no-guests")):
                refused(site.a, "ping", to)
                monitor.wait(destination=to, protocol="icmpv6" if v6 else "icmp", rule=rule)
            # each once: what failed was one attempt, and is one event
            assert lab.total(lab.matching(monitor.events, direction="egress")) == len(denied) + 3
        works(site.a, "tcp", net, 443)

    def test_nothing_comes_in(self, site, device):
        device.attach(self.policy, *BIND)
        outside_is_let_in(site, False)
        for to in (A4, A6):
            assert attempt(site.b, "tcp", to, timeout=0.3)["errno"] == "timeout"
            assert attempt(site.b, "udp", to, timeout=0.3)["errno"] == "timeout"
        for to in (NET4, NET6):
            works(site.a, "tcp", to, 443)


class TestIsolated:
    policy = POLICIES / "vm-isolated.yaml"

    def frames(self, token):
        """What a guest says of itself; the token stands behind each packet."""
        return [bytes(frame) + token.encode() for frame in (
            Ether(src=MAC_A, dst=ALL) / ARP(hwsrc=MAC_A, psrc=A4, pdst=BRIDGE4),
            Ether(src=MAC_A, dst="33:33:ff:00:00:01") / IPv6(src=A6, dst="ff02::1:ff00:1") /
            ICMPv6ND_NS(tgt=BRIDGE6),
            Ether(src=MAC_A, dst=ALL) / IP(src="0.0.0.0", dst="255.255.255.255") /
            UDP(sport=68, dport=67),
            Ether(src=MAC_A, dst=ALL) / IP(src=A4, dst=LAN4) / UDP(sport=4000, dport=53),
            Ether(src=MAC_A, dst=ALL, type=0x88cc) / b"lldp")]

    def test_nothing_leaves(self, site, device):
        token = site.token()
        frames = self.frames(token)
        for frame in frames:
            site.send(frame)
        assert site.arrived(token)      # off: all of them
        assert sum(token.encode() in frame
                   for _, frame in site.wires["lan"].frames) == len(frames)
        device.attach(self.policy)
        token = site.token()
        before = device.status()["tx_denied"]
        site.send(*self.frames(token))
        assert lab.until(lambda: device.status()["tx_denied"] >= before + len(frames))
        status = device.status()
        assert status["tx_frames"] == status["tx_denied"] and status["allowed"] == 0
        device.detach()     # so that the mark comes through, behind them
        assert site.arrived(token) == set()

    def test_no_way_out_or_in(self, site, device):
        everything_works(site)
        device.attach(self.policy)
        for to, port in EVERYWHERE:
            assert attempt(site.a, "tcp", to, port, timeout=0.2)["errno"] is not None
        for to in (NET4, NET6, BRIDGE4, BRIDGE6, B4, B6):
            for kind in ("udp", "ping"):
                assert attempt(site.a, kind, to, timeout=0.2)["errno"] is not None
        outside_is_let_in(site, False)
        status = device.status()
        assert status["tx_frames"] == status["tx_denied"] > 0
        assert status["rx_frames"] == 0 and status["rx_denied"] > 0     # nothing passed to it
        device.detach()
        works(site.a, "tcp", NET4)


class TestBridge:
    policy = POLICIES / "vm-bridge.yaml"

    def test_everything_goes(self, site, device):
        device.attach(self.policy, *BIND)
        everything_works(site)
        outside_is_let_in(site, True)
        status = device.status()
        assert status["tx_denied"] == 0 and status["allowed"] > 3 * len(EVERYWHERE)

    def test_but_as_one_machine(self, site, device):
        """Forged frames are dropped and logged, whatever the rules say."""
        def forged(token):
            return [Ether(src=MAC_C, dst=ALL) / IP(src=A4, dst=LAN4) / UDP(dport=9) / token,
                    Ether(src=MAC_A, dst=ALL) / IP(src=B4, dst=LAN4) / UDP(dport=9) / token,
                    Ether(src=MAC_A, dst="33:33:00:00:00:01") /
                    IPv6(src=LINK_LOCAL, dst="ff02::1", hlim=255) / ICMPv6ND_RA() / token]
        for number in range(3):
            token = site.token()
            site.send(forged(token)[number])
            assert site.arrived(token)
        device.attach(self.policy, *BIND)
        token = site.token()
        with device.monitor() as monitor:
            site.send(*forged(token))
            assert site.arrived(token) == set()
            for reason in ("mac-binding", "address-binding", "rogue-ra"):
                monitor.wait_reason(reason)
        for to in (NET4, NET6, B4, B6):
            works(site.a, "tcp", to, PORTS[-1])
