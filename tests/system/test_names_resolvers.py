# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A recursive resolver (unbound) in front of an authoritative server (knot), beside dnsmasq:
10,000 lookups in all, each followed at once by a connection to what it gave. And the
resolvers of other run-times: Go's, c-ares (Node's dns.resolve), busybox's."""
import os
import shutil
import subprocess

import pytest

import dnslab as dns
from dnslab import GOOD, policy
from lab import PEER4, PEER6
from resolverslab import UNBOUND, Servers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
watched = pytest.mark.parametrize("mode", ["run", "device"])
LOOKUPS = int(os.environ.get("NAMES_LOOKUPS", "10000"))
NAMES = [f"h{i}.good.example" for i in range(8)] + [
    "chain.good.example", "many.good.example", "zero.good.example", "one.good.example",
    "four.good.example", "six.good.example"]


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
