# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a workload needs of its link goes on working under a binding: a DHCP client
and a real server, addresses from router advertisements, ARP and neighbour discovery
of a real kernel; behind a tap and in a container."""
import contextlib
import os
import signal
import subprocess
import time

import pytest
from scapy.compat import raw
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether

from device_cases import eth
from device_cases_link import dhcp
from devicelab import BINDING, BRIDGE4, GUEST4, GUEST6, GUEST_MAC, PEER_LL, PEER_MAC, datagram, rules
from lab import ECHO, PEER4, PEER6, sh, until
from peerframes import LEASED, acknowledges, asks

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
DHCP_BINDING = ["--mac", GUEST_MAC, "--address", "dhcp", "--address", GUEST6]
PREFIX, OWN = "2001:db8:5::", "2001:db8:5:0:5054:ff:fe12:3456"
PEERS = rules(f'allow: [{PEER4}, "{PEER6}"]')
SCRIPT = """#!/bin/sh
case $1 in
deconfig) ip addr flush dev $interface ;;
bound | renew) ip addr replace $ip/24 dev $interface; echo "$1 $ip" ;;
esac
"""


@pytest.fixture
def bare(device_labs):
    """A lab whose workload's kernel has no address yet."""
    def get(kind):
        lab = device_labs(kind, "bare", real=True, addresses=False)
        sh("ip", "-n", lab.workload, "addr", "flush", "dev", "w0", "scope", "global")
        return lab
    return get


@contextlib.contextmanager
def dnsmasq(lab):
    folder = lab.new_folder()
    log = open(folder / "dnsmasq.log", "w", encoding="utf-8")
    server = subprocess.Popen(
        [*lab.inside(lab.peer), "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0",
         "--interface=p0", "--bind-interfaces", "--no-ping", "--user=root", "--pid-file",
         f"--dhcp-range={LEASED},{LEASED},2m", f"--dhcp-leasefile={folder}/leases",
         "--dhcp-authoritative"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        bound = until(lambda: ":67 " in sh(*lab.inside(lab.peer), "ss", "-lun"))
        assert bound, (folder / "dnsmasq.log").read_text()
        yield server
    finally:
        server.terminate()
        server.wait(10)
        log.close()


@contextlib.contextmanager
def udhcpc(lab):
    """A DHCP client that has its lease; it gives it back in the end."""
    folder = lab.new_folder()
    script = folder / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    client = subprocess.Popen(
        [*lab.inside(), "busybox", "udhcpc", "-f", "-R", "-n", "-t", "5", "-T", "1", "-i", "w0",
         "-s", str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        stderr=open(folder / "log", "w", encoding="utf-8"))
    try:
        assert client.stdout.readline() == f"bound {LEASED}\n", (folder / "log").read_text()
        yield client
    finally:
        client.terminate()
        client.wait(10)
        client.stdout.close()


def refused(lab, source, to=PEER4):
    """Why a datagram of that source, to the echo server, did not arrive; None: it did."""
    lab.attach_again()          # the lease stays
    mark, start, position = os.urandom(8), lab.mark(), lab.sink.position()
    lab.send(datagram(to, ECHO, mark, source=source))
    lab.settle(v6=True)
    arrived = lab.sink.since(position, mark)
    reasons = [e["reason"] for e in lab.fence(start) if e["hook"] == "tc-ingress"]
    assert bool(arrived) != bool(reasons), (arrived, reasons)
    return reasons[0] if reasons else None


@contextlib.contextmanager
def no_events(lab):
    """The workload is refused nothing meanwhile."""
    start = lab.mark()
    yield
    assert not [e for e in lab.fence(start) if e["hook"] == "tc-ingress"]


@KINDS
def test_dhcp(bare, kind):
    """A client gets its lease, may use that address, no other, and not after it gave it
    back."""
    lab = bare(kind)
    lab.configure(PEERS, *DHCP_BINDING)
    assert refused(lab, LEASED) == "address-binding"
    with dnsmasq(lab), udhcpc(lab) as client:
        agent = lab.agent()
        with no_events(lab):
            assert agent.do("udp", to=PEER4, port=ECHO)["reply"] == "hello"
            assert agent.do("tcp", to=PEER4, port=ECHO)["reply"] == "hello"
        assert lab.status()["binding"]["lease"] is True
        assert lab.status()["leased"]["address"] == LEASED
        assert f"\n  leased {LEASED} until 2" in lab.guard.run("status").stdout
        assert refused(lab, "192.0.2.99") == "address-binding"
        assert refused(lab, LEASED) is None
        with no_events(lab):
            client.send_signal(signal.SIGUSR1)      # renew: to the server of the lease
            assert client.stdout.readline() == f"renew {LEASED}\n"
        assert refused(lab, LEASED) is None
        agent.close()
    assert refused(lab, LEASED) == "address-binding"
    assert lab.status()["leased"] is None


@KINDS
def test_a_lease_ends(device_labs, kind):
    """By its time, by a NAK; and only an ACK that was asked for begins one."""
    lab = device_labs(kind, "lease")
    lab.configure(PEERS, *DHCP_BINDING)

    def now(reason=None):
        assert refused(lab, LEASED) == reason
    now("address-binding")
    lab.send(asks(1))
    lab.send_in(acknowledges(2, 100))           # another's transaction
    lab.send_in(acknowledges(1, 100, "offer"))  # no lease yet
    now("address-binding")
    lab.send(asks(3))
    lab.send_in(acknowledges(3, 100))
    now()
    lab.send(asks(4))
    lab.send_in(acknowledges(4, 100, "nak"))
    now("address-binding")
    lab.send(asks(5))
    begin = time.monotonic()
    lab.send_in(acknowledges(5, 2))
    now()
    time.sleep(max(0.0, begin + 2.1 - time.monotonic()))
    now("address-binding")


@KINDS
def test_a_lease_that_is_given_back_is_gone(device_labs, tally, kind):
    """Its address may be another guest's next. Whatever way it says so: a server reads on where we
    do not, takes the first of two types, or does not ask for the client's port."""
    lab = device_labs(kind, "lease")
    lab.configure(rules(f'allow: [{PEER4}, "{PEER6}"]'), *DHCP_BINDING)
    hidden = [[("pad")] * 30 + [("message-type", "release"), "end"],
              [("message-type", "release"), ("message-type", "discover"), "end"],
              [(53, b"\7\1"), ("message-type", "request"), "end"],
              [("message-type", "release"), "end"]]
    mac = bytes.fromhex(GUEST_MAC.replace(":", ""))
    ways = [(68, PEER4, options, b"") for options in hidden] + \
        [(68, PEER4, [(52, b"\1"), "end"], b"\x35\1\7\xff"), (4000, PEER4, hidden[3], b"")]
    for xid, (sport, to, options, file) in enumerate(ways, 20):
        lab.attach_again()
        lab.send(asks(xid))
        lab.send_in(acknowledges(xid, 100))
        assert refused(lab, LEASED) is None
        for message in ("request", "inform"):       # these keep it
            lab.send(raw(dhcp(message, src=LEASED, to=to, ciaddr=LEASED, xid=xid)(False, b"x")))
        assert refused(lab, LEASED) is None
        lab.send(raw(eth() / IP(src=LEASED, dst=to) / UDP(sport=sport, dport=67) /
                     BOOTP(chaddr=mac, ciaddr=LEASED, xid=xid, file=file) / DHCP(options=options)))
        blocked = refused(lab, LEASED) == "address-binding"
        tally(blocked)
        assert blocked, (sport, options)


ELSEWHERE = [(PEER4, address) for address in (
    BRIDGE4, "198.51.100.7", "127.0.0.1", "224.0.0.5", "255.255.255.255", "0.1.2.3")] + [
        (server, LEASED) for server in ("203.0.113.10", "8.8.8.8", "0.0.0.0", "127.0.0.1",
                                        "224.0.0.1", "255.255.255.255")]


@KINDS
def test_what_dhcp_may_not_say(device_labs, tally, kind):
    """A server beyond the bridge, which needs no more than one packet to the guest and the
    transaction id that the guest tells it, leases nothing; nor is the host's address, or one
    that is no host's, leased by anybody."""
    lab = device_labs(kind, "says")
    answers = [acknowledges(7, 100, server=server, address=address)
               for server, address in ELSEWHERE]

    def arrives(frame):
        capture = lab.port.capture
        position = capture.position()
        lab.send_in(frame)
        lab.probe()
        return bool(capture.since(position, frame[42:]))
    assert all(arrives(answer) for answer in answers)
    lab.configure(PEERS, *DHCP_BINDING, "--address", GUEST4)
    for (_, address), answer in zip(ELSEWHERE, answers):
        lab.attach_again()
        lab.send(asks(7))
        start = lab.mark()
        blocked = not arrives(answer)
        reasons = [e["reason"] for e in lab.fence(start) if e["hook"] == "tc-egress"]
        tally(blocked)
        assert blocked and reasons == ["dhcp"], (address, reasons)
        if address.startswith(("192.", "198.")):
            assert refused(lab, address) == "address-binding"
    assert arrives(acknowledges(7, 100))
    assert refused(lab, LEASED) is None


@KINDS
def test_a_restored_guest_asks_for_its_address(device_labs, kind):
    """By broadcast, from the address that it had and nobody has seen it get. It is its own
    once it is acknowledged, not before; and nobody asks so for the host's address."""
    lab = device_labs(kind, "lease")
    lab.configure(PEERS, *DHCP_BINDING)

    def rebinds(address, client, message="request", **fields):
        lab.attach_again()
        start = lab.mark()
        lab.send(raw(dhcp(message, src=address, ciaddr=client, xid=9, **fields)(False, b"x")))
        return [e["reason"] for e in lab.fence(start) if e["hook"] == "tc-ingress"]
    assert rebinds(LEASED, LEASED) == []
    assert refused(lab, LEASED) == "address-binding"
    for wrong in ((LEASED, "0.0.0.0"), (LEASED, LEASED, "discover"), (BRIDGE4, BRIDGE4),
                  ("198.51.100.7", "198.51.100.7")):
        assert rebinds(*wrong) == ["address-binding"], wrong
    assert rebinds(LEASED, LEASED, giaddr=PEER4) == ["dhcp"]
    assert rebinds(LEASED, LEASED) == []
    lab.send_in(acknowledges(9, 100))
    assert refused(lab, LEASED) is None


def router_advertisement(prefix):
    return raw(Ether(src=PEER_MAC, dst="33:33:00:00:00:01") /
               IPv6(src=PEER_LL, dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=1800) /
               ICMPv6NDOptPrefixInfo(prefix=prefix, prefixlen=64, L=1, A=1, validlifetime=3600,
                                     preferredlifetime=3600) /
               ICMPv6NDOptSrcLLAddr(lladdr=PEER_MAC))


@KINDS
def test_addresses_from_a_router(bare, kind):
    """Its kernel makes an address from a router's advertisement, asks whether it is
    free, and uses it: what the binding says is the prefix."""
    lab = bare(kind)
    lab.configure(PEERS, "--mac", GUEST_MAC, "--address", GUEST6, "--address", PREFIX + "/64")
    lab.sysctl(lab.workload, "net.ipv6.conf.w0.accept_ra=2", "net.ipv6.conf.w0.autoconf=1",
               "net.ipv6.conf.w0.accept_dad=1", "net.ipv6.conf.w0.dad_transmits=1")
    sh("ip", "-n", lab.peer, "route", "replace", PREFIX + "/64", "dev", "p0")

    def ready():
        lines = sh("ip", "-n", lab.workload, "-6", "-o", "addr", "show", "dev", "w0").splitlines()
        return any(OWN in line and "tentative" not in line for line in lines)
    with no_events(lab):
        lab.send_in(router_advertisement(PREFIX))
        assert until(ready), sh("ip", "-n", lab.workload, "-6", "addr", "show", "dev", "w0")
        agent = lab.agent()
        assert agent.do("udp", to=PEER6, port=ECHO, bind=[OWN, 0])["reply"] == "hello"
        assert agent.do("tcp", to=PEER6, port=ECHO, bind=[OWN, 0])["reply"] == "hello"
        agent.close()
    assert refused(lab, "2001:db8:6::5", PEER6) == "address-binding"


@KINDS
@pytest.mark.parametrize("v6, switch", [(False, "arp"), (True, "nd")], ids=["arp", "nd"])
def test_a_switch_is_felt(device_labs, kind, v6, switch):
    """A real kernel finds its neighbour, and with the switch off does not."""
    lab = device_labs(kind, "real", real=True)
    to, agent = PEER6 if v6 else PEER4, lab.agent()
    for setting, found in (("allow", True), ("deny", False), ("allow", True)):
        lab.configure(rules(f'allow: [{PEER4}, "{PEER6}"]', device=f"{{{switch}: {setting}}}"),
                      *BINDING)
        for ns, device in ((lab.workload, "w0"), (lab.peer, "p0")):
            sh("ip", "-n", ns, "neigh", "flush", "dev", device)
        start = lab.mark()
        result = agent.do("udp", to=to, port=ECHO, timeout=0.5 if not found else 5)
        assert (result["reply"] == "hello") == found
        reasons = {e["reason"] for e in lab.fence(start) if e["hook"] == "tc-ingress"}
        assert reasons == (set() if found else {switch})
    agent.close()
