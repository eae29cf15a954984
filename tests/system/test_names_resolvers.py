# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A recursive resolver (unbound) in front of an authoritative server (knot), beside dnsmasq:
10,000 lookups in all, each followed at once by a connection to what it gave. And the
resolvers of other run-times: Go's, c-ares (Node's dns.resolve), busybox's."""
import os
import shutil
import subprocess

import pytest

import dnslab as dns
from dnslab import GOOD, MANY, policy
from lab import PEER4, PEER6, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
watched = pytest.mark.parametrize("mode", ["run", "device"])
UNBOUND = {4: "198.51.100.55", 6: "2001:db8:1::55"}
KNOT = "198.51.100.56"
LOOKUPS = int(os.environ.get("NAMES_LOOKUPS", "10000"))
BOTH = "198.51.100.{0} 2001:db8:1::{0}"
NAMES = [f"h{i}.good.example" for i in range(8)] + [
    "chain.good.example", "many.good.example", "zero.good.example", "one.good.example",
    "four.good.example", "six.good.example"]


def zone():
    """(name, TTL, type, value) of good.example and cdn.example, as dnslab's dnsmasq has them."""
    def host(name, ttl, *addresses):
        return [(name, ttl, "AAAA" if ":" in a else "A", a) for a in addresses]
    records = []
    for i in range(8):
        records += host(f"h{i}.good.example", 60, *BOTH.format(10 + i).split())
    records += host("end.cdn.example", 60, *BOTH.format(20).split())
    records += host("zero.good.example", 0, *BOTH.format(21).split())
    records += host("one.good.example", 1, *BOTH.format(22).split())
    records += host("four.good.example", 60, "198.51.100.23")
    records += host("six.good.example", 60, "2001:db8:1::24")
    records += host("many.good.example", 60, *MANY)
    chain = ["chain.good.example"] + [f"c{i}.cdn.example" for i in range(8)]
    return records + [(a, 60, "CNAME", b + ".") for a, b in
                      zip(chain, chain[1:] + ["end.cdn.example"])]


class Servers:
    """knot and unbound in the peer's namespace."""

    def __init__(self, lab):
        self.lab, self.processes, self.folder = lab, [], lab.folder / "resolvers"
        self.folder.mkdir(mode=0o755)
        self.knot()
        self.unbound()

    def start(self, name, *words):
        with open(self.folder / name, "w", encoding="utf-8") as out:
            self.processes.append(subprocess.Popen(
                self.lab.inside(self.lab.peer) + list(words), stdout=out, stderr=subprocess.STDOUT))

    def knot(self):
        conf = f"server:\n  listen: {KNOT}@53\n  rundir: {self.folder}\n" \
               f"database:\n  storage: {self.folder}/db\n" \
               "log:\n  - target: stdout\n    any: info\nzone:\n"
        for origin in ("good.example", "cdn.example"):
            path = self.folder / f"{origin}.zone"
            lines = [f"{origin}. 60 SOA ns.{origin}. x.{origin}. 1 3600 600 86400 60",
                     f"{origin}. 60 NS ns.{origin}.", f"ns.{origin}. 60 A {KNOT}"]
            lines += [f"{n}. {ttl} {kind} {value}" for n, ttl, kind, value in zone()
                      if n.endswith(origin)]
            path.write_text("\n".join(lines) + "\n", encoding="ascii")
            conf += f"  - domain: {origin}\n    file: {path}\n"
        (self.folder / "knot.conf").write_text(conf, encoding="ascii")
        self.start("knot", "knotd", "-c", str(self.folder / "knot.conf"))

    def unbound(self):
        """0x20 towards knot, answers in turn, short times kept as they are."""
        conf = "server:\n  chroot: \"\"\n  username: \"\"\n  do-daemonize: no\n  use-syslog: no\n" \
               f"  pidfile: {self.folder}/unbound.pid\n  directory: {self.folder}\n" \
               "  access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n" \
               "  use-caps-for-id: yes\n  rrset-roundrobin: yes\n  num-threads: 1\n" \
               "  module-config: \"iterator\"\n  minimal-responses: no\n  ip-freebind: yes\n"
        conf += "".join(f"  interface: {a}\n" for a in UNBOUND.values())
        conf += "".join(f"stub-zone:\n  name: {zone}\n  stub-addr: {KNOT}\n"
                        for zone in ("good.example", "cdn.example"))
        (self.folder / "unbound.conf").write_text(conf, encoding="ascii")
        self.start("unbound", "unbound", "-d", "-c", str(self.folder / "unbound.conf"))

    def ready(self):
        for name, resolver in zip(("chain.good.example", "many.good.example"), UNBOUND.values()):
            asked = ["dig", f"@{resolver}", "+short", "+tries=1", "+time=1", name]
            assert until(lambda: "\n198.51.100." in "\n" + subprocess.run(
                self.lab.inside(self.lab.peer) + asked, stdout=subprocess.PIPE, text=True,
                check=False).stdout, 10, 0.1), (self.folder / "unbound").read_text()

    def close(self):
        for process in self.processes:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def servers(dnslab):
    made = Servers(dnslab)
    try:
        made.ready()
        yield made
    finally:
        made.close()


def allowing(resolvers):
    return policy(GOOD).replace(dns.RESOLVERS, ", ".join(f'"{a}"' for a in resolvers))


@watched
@pytest.mark.parametrize("resolver", [*UNBOUND.values(), PEER4, PEER6])
def test_lookups(dnslab, servers, mode, resolver):
    """An eighth of the lookups each: four threads, CNAME chains, 30 addresses, TTL 0 and 1 s."""
    with dnslab.workload_of(mode, allowing([resolver]), [f"nameserver {resolver}"]) as agent:
        said = agent.do("parallel", wait=120, names=NAMES, times=LOOKUPS // 32, seconds=100,
                        threads=4)["reply"]
        print(mode, resolver, said)
        assert said["failed"] == 0, said["failures"]
        assert said["done"] == LOOKUPS // 32 * 4 and said["connected"] >= said["done"]
        refused = agent.do("resolve", name="a.bad.example")
        assert refused["errno"] and refused["ms"] < 100, refused


# ---- resolvers of run-times ----

GO = """package main

import ("context"; "fmt"; "net"; "os")

func main() {
	r := &net.Resolver{PreferGo: true}
	found, err := r.LookupHost(context.Background(), os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(1) }
	for _, a := range found {
		c, err := net.Dial("tcp", net.JoinHostPort(a, "7"))
		if err != nil { fmt.Println(err); os.Exit(2) }
		c.Close()
	}
	fmt.Println("good", len(found))
}
"""
# c-ares asks by itself, with EDNS or without, for one type.
ARES = """const dns = require('dns'), net = require('net'), name = process.argv[1];
dns.resolve4(name, (e, found) => { if (e) { console.log(e.code); process.exit(1) }
net.connect(7, found[0], function () { this.end(); console.log('good') })
.on('error', e => { console.log(e.code); process.exit(2) }) })"""


@pytest.fixture(scope="module")
def go_program(dnslab):
    """Static, so with Go's own resolver."""
    folder = dnslab.folder / "go"
    folder.mkdir()
    (folder / "main.go").write_text(GO, encoding="ascii")
    subprocess.run(["go", "build", "-o", str(folder / "lookup"), "main.go"], cwd=folder, check=True,
                   env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(folder / "cache"),
                        "GOFLAGS": "-mod=mod", "GO111MODULE": "off", "HOME": str(folder)})
    (folder / "lookup").chmod(0o755)
    return [str(folder / "lookup")]


def ask_both(dnslab, mode, servers, words, lines=()):
    resolver = UNBOUND[4]
    with dnslab.workload_of(mode, allowing([resolver]), [f"nameserver {resolver}", *lines]) as agent:
        for name in ("h3.good.example", "chain.good.example", "many.good.example"):
            said = agent.do("command", argv=[*words, name], wait=40)
            assert said["errno"] is None and "good" in said["reply"], said
        said = agent.do("command", argv=[*words, "a.bad.example"], wait=40)
        assert said["errno"], said
        return said


@watched
def test_go(dnslab, servers, mode, go_program):
    ask_both(dnslab, mode, servers, go_program)


@watched
def test_go_with_a_search_list(dnslab, servers, mode, go_program):
    resolver = UNBOUND[4]
    text = allowing([resolver]).replace("dns: {", "dns: {search: [corp.test, x.test], ")
    lines = [f"nameserver {resolver}", "search corp.test x.test", "options ndots:5"]
    with dnslab.workload_of(mode, text, lines) as agent:
        said = agent.do("command", argv=[*go_program, "h4.good.example"], wait=40)
        assert said["errno"] is None and "good" in said["reply"], said


@watched
def test_c_ares(dnslab, servers, mode):
    assert shutil.which("node"), "tools/install-deps test"
    ask_both(dnslab, mode, servers, ["node", "-e", ARES])


@watched
def test_busybox(dnslab, servers, mode):
    """It asks by itself, from resolv.conf's servers."""
    resolver = UNBOUND[4]
    with dnslab.workload_of(mode, allowing([resolver]), [f"nameserver {resolver}"]) as agent:
        said = agent.do("command", argv=["/bin/busybox", "nslookup", "h5.good.example"], wait=40)
        assert said["errno"] is None and "198.51.100.15" in said["reply"], said
        assert agent.do("tcp", to="198.51.100.15", port=7)["errno"] is None
        said = agent.do("command", argv=["/bin/busybox", "nslookup", "a.bad.example"], wait=40)
        assert "198.51.100.30" not in (said["reply"] or said["errno"]), said
        assert agent.do("tcp", to="198.51.100.30", port=7, timeout=0.3)["errno"]
