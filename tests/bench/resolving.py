# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What names add to one getaddrinfo and one connection to what it answered. The kernel reads the
answer on the resolver's own CPU time (a veth), so that is counted with the client's."""
import contextlib
import pathlib
import subprocess
import sys

import net
from net import sh

NAME, PORT, SECONDS = "h.bench.example", net.PORT, 0.4
CLIENT = """
import socket, struct, sys, time
name, port, family, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
reset = struct.pack("ii", 1, 0)
def once():
    where = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)[0][4]
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.connect(where)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
for _ in range(20):
    once()
print("ready", flush=True)
input()
end, n, cpu = time.monotonic() + seconds, 0, time.process_time_ns()
while time.monotonic() < end:
    once()
    n += 1
print(n, time.process_time_ns() - cpu)
"""


def policies(folder, family):
    """One and the same allowed by its name, and by its address."""
    address, resolver = net.ADDRESS[family][1], net.ADDRESS[4][1]
    to = f'"[{address}]:{PORT}"' if family == 6 else f'"{address}:{PORT}"'
    out = {}
    for kind, rules in (("name", f'dns: {{resolvers: ["{resolver}"]}}\nrules:\n'
                                 f'  - {{allow: "{NAME}:{PORT}", resolves_to: private}}\n'),
                        ("address", f'rules:\n  - allow: {to}\n'
                                    f'  - allow: "{resolver}:53/udp"\n')):
        out[kind] = folder / f"{kind}{family}.yaml"
        out[kind].write_text(f"sluice: 1\nname: {kind}\n{rules}")
    return out


class Lab:
    def __init__(self, stack, build, folder):
        self.pair = net.Pair("d", build / "tests" / "net_load")
        stack.callback(self.pair.close)
        self.pair.serve()
        self.resolver = self.start(folder)
        stack.callback(self.stop)
        self.conf = folder / "resolv.conf"
        self.conf.write_text(f"nameserver {net.ADDRESS[4][1]}\n")
        self.conf.chmod(0o644)

    def start(self, folder):
        both = ",".join(net.ADDRESS[family][1] for family in (4, 6))
        process = subprocess.Popen(self.pair.inside(
            self.pair.far, "dnsmasq", "-k", "-C", "/dev/null", "-R", "-h", "-u", "root",
            f"--pid-file={folder / 'dnsmasq.pid'}", "--bind-interfaces", "--log-facility=-",
            f"--listen-address={net.ADDRESS[4][1]}", "--no-resolv", "--local=/#/",
            f"--host-record={NAME},{both},60"), stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if "started" in line:
                return process
        raise OSError("dnsmasq does not start")

    def stop(self):
        self.resolver.kill()
        self.resolver.wait()
        self.resolver.stderr.close()

    def resolver_ns(self):
        return int(pathlib.Path(f"/proc/{self.resolver.pid}/schedstat").read_text().split()[0])

    def measure(self, family, *before):
        """ns of CPU for one, the client's and the resolver's."""
        words = self.pair.inside(
            self.pair.near, "unshare", "-m", "--propagation", "private", "sh", "-c",
            'mount --bind "$0" /etc/resolv.conf && exec "$@"', self.conf, *before,
            sys.executable, "-c", CLIENT, NAME, PORT, {4: 2, 6: 10}[family], SECONDS)
        with self.pair.servers[family].turn(), subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            if client.stdout.readline() != "ready\n":
                raise OSError("the client cannot resolve or connect")
            at = self.resolver_ns()
            said, _ = client.communicate("\n")
            spent = self.resolver_ns() - at
        count, cpu = map(int, said.split())
        return (cpu + spent) / count


def rows(table, build, folder, slices):
    with contextlib.ExitStack() as stack:
        lab = Lab(stack, build, folder)
        for family in (4, 6):
            by = policies(folder, family)
            words = {kind: (build / "sluice", "run", "-q", "-p", path, "--")
                     for kind, path in by.items()}
            name = f"getaddrinfo and connect, IPv{family}"
            got = table.slices(name, "ns of CPU", {
                "no filter": lambda f=family: lab.measure(f),
                "by address": lambda f=family, w=words: lab.measure(f, *w["address"]),
                "sluice": lambda f=family, w=words: lab.measure(f, *w["name"])}, slices, "lower",
                "the client's and the resolver's; by address: without names")
            table.added(name, "ns of CPU", got, "no filter")
            table.add(f"{name}, names added", "ns of CPU",
                      {"sluice": [a - b for a, b in zip(got["sluice"], got["by address"])]},
                      note="less the same by address, in the same turn")
