# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the tests of the frame model share: one workload, its neighbours, their frames."""
import frame_builder as b
from frames import Binding, Device

MAC, GATEWAY_MAC, OTHER_MAC = "52:54:00:12:34:56", "fe:54:00:00:00:01", "52:54:00:99:99:99"
GROUP_MAC = "01:00:5e:00:00:01"
ME4, ME6, MY_LINK = "192.168.101.10", "2001:db8::10", "fe80::5054:ff:fe12:3456"
OTHER4, OTHER6 = "192.168.101.77", "2001:db8::77"
ALLOWED4, DENIED4 = "10.1.1.1", "10.9.9.9"
ALLOWED6, DENIED6 = "2001:db8:1::1", "2001:db8:9::9"
ROUTER_LINK = "fe80::1"
BOTH = [(ME4, ALLOWED4, DENIED4), (ME6, ALLOWED6, DENIED6)]
HERE, AWAY = "out", "in"        # from the workload, to it

RULES = [{"allow": {"to": ["10.1.0.0/16", "2001:db8:1::/48"]}, "id": "good"},
         {"deny": {"to": ["10.9.0.0/16", "2001:db8:9::/48"]}, "id": "bad"}]


def policy(**keys):
    return {"sluice": 1, "rules": RULES, **keys}


def bound(*addresses, mac=MAC):
    return Binding(mac, list(addresses) or [ME4, ME6])


def device(binding=None, **keys):
    return Device(policy(**keys), bound() if binding is None else binding)


def out(payload, kind=0x0800, source=MAC, destination=GATEWAY_MAC):
    return b.ethernet(source, destination, kind, payload)


def ip_out(source, destination, protocol, payload, ethers=(MAC, GATEWAY_MAC), **options):
    return b.packet(source, destination, protocol, payload, ethers, **options)


def ip_in(source, destination, protocol, payload, ethers=(GATEWAY_MAC, MAC), **options):
    return b.packet(source, destination, protocol, payload, ethers, **options)


def tcp_out(flags, destination=ALLOWED4, source=ME4, ports=(40000, 443), **options):
    return ip_out(source, destination, 6, b.tcp(*ports, flags, **options))


def tcp_in(flags, source=ALLOWED4, destination=ME4, ports=(443, 40000), **options):
    return ip_in(source, destination, 6, b.tcp(*ports, flags, **options))


def udp_out(destination=ALLOWED4, source=ME4, ports=(40000, 443), payload=b"x" * 8):
    return ip_out(source, destination, 17, b.udp(*ports, payload))


def udp_in(source=ALLOWED4, destination=ME4, ports=(443, 40000), payload=b"x" * 8):
    return ip_in(source, destination, 17, b.udp(*ports, payload))


def ping(kind, identifier=7, code=0, source=ME4, destination=ALLOWED4):
    protocol = 58 if kind >= 128 else 1
    make = ip_out if source in (ME4, ME6) else ip_in
    return make(source, destination, protocol, b.echo(kind, identifier, code=code))


def pieces(payload, protocol=17, cuts=(8,), identifier=5, source=ME4, destination=ALLOWED4,
           make=ip_out):
    """IPv4 fragments of a datagram, cut at these offsets."""
    edges = [0, *cuts, len(payload)]
    return [make(source, destination, protocol, payload[low:high], identifier=identifier,
                 offset=low, more=high < len(payload)) for low, high in zip(edges, edges[1:])]


def said(outcome):
    """"pass", or the reason, with * where there is no event and + where it is answered."""
    if outcome.reason is None:
        return "pass"
    return outcome.reason + ("*" if outcome.again or not outcome.event else "") + \
        ("+" if outcome.answer else "")


def run(target, *steps):
    """Frames to a device; each step is (direction, frame, what becomes of it)."""
    for number, (direction, frame, wanted) in enumerate(steps):
        got = said(target.frame(direction, frame))
        assert got == wanted, f"step {number}: {got}, should be {wanted}"
    return target
