# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Unbound and Knot, with zones of the test's."""
import subprocess

from dnslab import MANY
from lab import until

UNBOUND = {4: "198.51.100.55", 6: "2001:db8:1::55"}
KNOT = "198.51.100.56"
BOTH = "198.51.100.{0} 2001:db8:1::{0}"


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
