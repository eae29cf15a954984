# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names (docs/names.md) of a real guest behind a tap: its own C library asks a resolver on
the bridge, and connects to what it was told."""
import os
import subprocess

import network
import pytest
from network import BIND, ECHO, NET4, NET6, lab

import dnsmsg

RESOLVER4, RESOLVER6 = "192.168.101.53", "2001:db8:101::53"
BAD4, BAD6 = "203.0.113.66", "2001:db8:1::66"
POLICY = f"""\
sluice: 1
name: names
dns: {{resolvers: [{RESOLVER4}, "{RESOLVER6}"], search: [corp.test]}}
rules:
  - allow: "*.good.example:{ECHO}"
    id: good
"""
NAMES = ["h.good.example", "chain.good.example", "zero.good.example"]
REFUSED_MS = 400        # an emulated processor: see test_reach.py
FAMILIES = pytest.mark.parametrize("resolver", [RESOLVER4, RESOLVER6], ids=["ipv4", "ipv6"])


class Resolver:
    """dnsmasq in a namespace of its own, on the bridge."""

    def __init__(self, site, folder):
        self.site, self.log = site, folder / "dnsmasq"
        site.names["dns"] = f"sl-vm-dns-{os.getpid()}"
        lab.sh("ip", "netns", "add", site.names["dns"])     # the site deletes it
        lab.Lab.sysctl(site.names["dns"], "net.ipv6.conf.all.accept_dad=0",
                       "net.ipv6.conf.default.accept_dad=0")
        site.ip("host", "link", "add", "d0", "type", "veth", "peer", "name", "d1", "netns",
                site.names["dns"])
        site.ip("host", "link", "set", "d0", "master", "br0", "up")
        site.address("dns", "d1", f"{RESOLVER4}/24", f"{RESOLVER6}/64")
        records = {"h.good.example": (NET4, NET6, 60), "zero.good.example": (NET4, NET6, 0),
                   "end.cdn.example": (NET4, NET6, 60), "a.bad.example": (BAD4, BAD6, 60)}
        words = [f"--host-record={n},{a},{b},{ttl}" for n, (a, b, ttl) in records.items()]
        with open(self.log, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [*site.inside("dns"), "dnsmasq", "-k", "-C", "/dev/null", "-R", "-h", "-u", "root",
                 f"--pid-file={folder}/pid", "--bind-interfaces", f"--listen-address={RESOLVER4}",
                 f"--listen-address={RESOLVER6}", "--no-resolv", "--local=/#/", "--log-queries",
                 "--log-facility=-", "--cname=chain.good.example,end.cdn.example", *words],
                stdout=out, stderr=subprocess.STDOUT)
        assert lab.until(lambda: "started" in self.log.read_text()), self.log.read_text()

    def asked(self, name):
        return self.log.read_text().count(f"] {name} from")

    def close(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module", name="server")
def server_of_module(site, tmp_path_factory):
    made = Resolver(site, tmp_path_factory.mktemp("dns"))
    try:
        yield made
    finally:
        made.close()


def resolves_by(guest, resolver, *options):
    lines = [f"nameserver {resolver}", "search corp.test",
             " ".join(["options", "ndots:5", "timeout:2", "attempts:1", *options])]
    guest.sh("cat > /etc/resolv.conf <<'END'\n" + "\n".join(lines) + "\nEND\n")


def connects(guest, to):
    return guest.try_("tcp", to=to, port=ECHO)["errno"]


@FAMILIES
@pytest.mark.parametrize("options", [[], ["use-vc"]], ids=["udp", "tcp"])
def test_a_guest_asks_and_connects(site, device, server, resolver, options):
    guest = site.a
    resolves_by(guest, resolver, *options)
    found = guest.do("resolve", name="a.bad.example", port=ECHO)        # off: it is answered
    assert {address for address, _ in found} == {BAD4, BAD6} and server.asked("a.bad.example")
    assert not any(connects(guest, to) for to in (BAD4, BAD6, NET4, NET6))
    device.attach(POLICY, *BIND)
    for to in (NET4, NET6):         # not learned yet
        assert connects(guest, to) == "ECONNREFUSED"
    before = server.asked("a.bad.example")
    with device.monitor() as monitor:
        said = guest.do("lookups", wait=120, names=NAMES, times=15, first=2)
        assert said["failed"] == 0 and said["connected"] == 30, said
        refused = guest.try_("resolve", name="a.bad.example", port=ECHO)
        assert refused["errno"] == ("EAI_AGAIN" if options else "EAI_NONAME"), refused
        assert refused["ms"] < REFUSED_MS, refused
        event = monitor.wait(event="dns", reason="dns-name")
        assert event["question"]["name"].startswith("a.bad.example") and event["rule"] is None
    for to in (BAD4, BAD6):
        assert connects(guest, to) == "ECONNREFUSED"
    assert server.asked("a.bad.example") == before


@FAMILIES
def test_a_refusal_is_nxdomain(site, device, server, resolver):
    """What the guest's own socket hears: of the same question, under the same id."""
    message = dnsmsg.query("a.bad.example", dnsmsg.A, 0x4242)
    ask = {"to": resolver, "messages": [message.hex()]}
    [answer] = site.a.do("ask", **ask)
    assert dnsmsg.read_addresses(bytes.fromhex(answer)) == [BAD4]
    device.attach(POLICY, *BIND)
    [answer] = map(bytes.fromhex, site.a.do("ask", **ask))
    assert answer[:2] == message[:2] and answer[3] & 15 == dnsmsg.NXDOMAIN
    assert dnsmsg.question_of(answer) == dnsmsg.question_of(message)
    [answer] = site.a.do("ask", to=resolver, messages=[dnsmsg.query("h.good.example").hex()])
    assert dnsmsg.read_addresses(bytes.fromhex(answer)) == [NET4]
