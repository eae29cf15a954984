# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Resolvers of `dns: {resolvers: system}` that are stubs (docs/names.md, "Stubs"): systemd-resolved's
127.0.0.53, and Docker's 127.0.0.11, whose port 53 iptables leads to another port and back; and
a resolver whose address is another's (kube-proxy on the host itself), which is refused."""
import contextlib
import os
import select
import socket
import struct
import subprocess
import threading

import pytest

import dnsmsg
from dnslab import WEB, policy
from lab import PEER4, SLUICE, matching, sh

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
GOOD = 'allow: "*.good.example:7", id: good'
DOCKER, RESOLVED, PORT = "127.0.0.11", "127.0.0.53", 41053


class Stub:
    """A resolver in the workload's namespace, but none of its processes, over UDP and TCP."""

    def __init__(self, lab, address, port):
        self.lab, self.asked = lab, []
        self.udp = lab.socket(lab.workload, socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.tcp = lab.socket(lab.workload, socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, port))
        self.tcp.listen(16)
        self.ending = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            for s in select.select([self.udp, self.tcp, self.ending[0]], [], [])[0]:
                if s == self.ending[0]:
                    return
                with contextlib.suppress(OSError, struct.error, IndexError):
                    self.stream() if s == self.tcp else self.datagram()

    def answers(self, query):
        """Every name has the address WEB, but there is no corp.test."""
        self.asked.append(query)
        if dnsmsg.name("corp.test") in query:
            return [dnsmsg.answer(query, flags=dnsmsg.QR | dnsmsg.RD | dnsmsg.RA | 3)]
        return self.lab.says.plain(query)

    def datagram(self):
        query, peer = self.udp.recvfrom(4096)
        for message in self.answers(query):
            self.udp.sendto(message, peer)

    def stream(self):
        with self.tcp.accept()[0] as c:
            c.settimeout(2)
            while len(head := c.recv(2)) == 2:
                query = c.recv(struct.unpack("!H", head)[0])
                for message in self.answers(query):
                    c.sendall(struct.pack("!H", len(message)) + message)

    def close(self):
        os.write(self.ending[1], b"x")
        self.thread.join(5)
        for s in (self.udp, self.tcp):
            s.close()
        for fd in self.ending:
            os.close(fd)


@contextlib.contextmanager
def nat(lab, *rules):
    """iptables' nat rules in the workload's namespace."""
    words = lab.inside(lab.workload) + ["iptables", "-w", "-t", "nat"]
    for rule in rules:
        sh(*words, "-A", *rule.split())
    try:
        yield
    finally:
        for rule in rules:
            sh(*words, "-D", *rule.split())


def docker_rules(port=PORT):
    """As Docker makes them in a container."""
    return [rule for protocol in ("udp", "tcp") for rule in (
        f"OUTPUT -d {DOCKER} -p {protocol} --dport 53 -j DNAT --to-destination {DOCKER}:{port}",
        f"POSTROUTING -s {DOCKER} -p {protocol} --sport {port} -j SNAT --to-source :53")]


@pytest.fixture(scope="module")
def docker(dnslab):
    stub = Stub(dnslab, DOCKER, PORT)
    try:
        with nat(dnslab, *docker_rules()):
            yield stub
    finally:
        stub.close()


@pytest.fixture(scope="module")
def resolved(dnslab):
    stub = Stub(dnslab, RESOLVED, 53)
    yield stub
    stub.close()


def system(*rules, **top):
    """resolvers: system."""
    text = policy(*rules, **top)
    return text[:text.index("dns:")] + "dns: {resolvers: system}\n" + text[text.index("\n", text.index("dns:")) + 1:]


LINES = {"docker": [f"nameserver {DOCKER}"], "resolved": [f"nameserver {RESOLVED}"]}
both = pytest.mark.parametrize("which", LINES)
HOW = {"plain": [], "tcp": ["options use-vc"], "search": ["search corp.test", "options ndots:3"]}


@pytest.mark.parametrize("how", HOW)
@both
def test_a_stub_of_this_machine(dnslab, docker, resolved, which, how):
    """Without Sluice every name is resolved; with it the allowed ones are, and connect."""
    stub, lines = {"docker": docker, "resolved": resolved}[which], LINES[which] + HOW[how]
    with dnslab.workload_of("none", "", lines) as agent:
        assert agent.do("resolve", name="a.bad.example")["errno"] is None
    with dnslab.workload_of("run", system(GOOD), lines) as agent:
        for i in range(20):
            found = agent.do("resolve", name=f"n{i}.good.example")
            assert found["errno"] is None, found
            assert {a for a, _ in found["reply"]} == {WEB[4], WEB[6]}
            for to in WEB.values():
                assert agent.do("tcp", to=to, port=7)["errno"] is None
        before = len(stub.asked)
        if how != "tcp":        # a command's refused question over TCP waits for its time-out
            assert agent.do("resolve", name="secret.bad.example")["errno"]
        assert not [q for q in stub.asked[before:] if b"secret" in q]
        agent.close()
        if how != "tcp":
            [event, *_] = matching(agent.events(), event="dns")
            assert event["question"]["name"].startswith("secret.bad.example")
            assert event["destination"]["address"] == LINES[which][0].split()[1]
            assert event["destination"]["port"] == 53


@both
def test_unconnected_sockets_too(dnslab, docker, resolved, which):
    """As musl asks: sendto() on a socket that is not connected."""
    to = LINES[which][0].split()[1]
    with dnslab.workload_of("run", system(GOOD), LINES[which]) as agent:
        for connected in (False, True):
            message = dnsmsg.query("m.good.example", dnsmsg.A, 7)
            said = agent.do("ask", to=to, messages=[message.hex()], connected=connected)
            assert said["errno"] is None and len(said["reply"]) == 1, said
            message = dnsmsg.query("secret.bad.example", dnsmsg.A, 8)
            said = agent.do("ask", to=to, messages=[message.hex()], connected=connected, timeout=0.3)
            assert said["errno"] == "EPERM", said


def test_dockers_other_port_is_no_way_around(dnslab, docker):
    """The port behind it is a resolver that the gate does not know: without a rule for loopback it
    is denied; with one, a rule that denies the address goes before."""
    message = dnsmsg.query("tunnel.bad.example", dnsmsg.A, 9).hex()
    ask = {"to": DOCKER, "port": PORT, "messages": [message], "timeout": 0.3}
    with dnslab.workload_of("none", "", LINES["docker"]) as agent:
        assert len(agent.do("ask", **ask)["reply"]) == 1
    for rules in ([GOOD], [f"deny: {DOCKER}, id: docker", 'allow: "@loopback", id: lo', GOOD]):
        with dnslab.workload_of("run", system(*rules), LINES["docker"]) as agent:
            before = len(docker.asked)
            assert agent.do("ask", **ask)["errno"], rules
            assert agent.do("ask", **ask, connected=True)["errno"], rules
            # from a socket that is connected to the resolver, and one that has asked it
            assert agent.do("resolve", name="x.good.example")["errno"] is None
            assert not [q for q in docker.asked[before:] if b"tunnel" in q]


def test_a_resolver_that_has_anothers_address_is_refused(dnslab):
    """kube-proxy, for a process of the host itself: the packet goes to an address that is no
    resolver of the policy, and the event names it."""
    virtual = "203.0.113.53"
    with nat(dnslab, f"OUTPUT -d {virtual} -p udp --dport 53 -j DNAT --to-destination {PEER4}:53"):
        lines = [f"nameserver {virtual}"]
        with dnslab.workload_of("none", "", lines) as agent:
            assert agent.do("resolve", name="h1.good.example")["errno"] is None
        with dnslab.workload_of("run", system(GOOD), lines) as agent:
            assert agent.do("resolve", name="h1.good.example")["errno"]
            agent.close()
            [event, *_] = matching(agent.events(), reason="dns-gate")
            assert event["destination"]["address"] == PEER4 and event["destination"]["port"] == 53


@pytest.mark.parametrize("rules, warned", [
    (['allow: "@loopback"'], True), ([f"deny: {DOCKER}", 'allow: "@loopback"'], False),
    ([GOOD], False), (['allow: "127.0.0.11:53"'], False), (["allow: any"], True)])
def test_check_warns_of_dockers_other_port(tmp_path, rules, warned):
    path = tmp_path / "policy.yaml"
    for resolver in (DOCKER, RESOLVED):
        path.write_text(f"sluice: 1\ndns: {{resolvers: [{resolver}], search: []}}\nrules:\n" +
                        "".join(f"  - {{{rule}}}\n" for rule in rules), encoding="ascii")
        path.chmod(0o644)
        done = subprocess.run([SLUICE, "check", str(path)], capture_output=True, text=True, check=True)
        assert ("answers at another port too" in done.stderr) == (warned and resolver == DOCKER)
