# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Connections and datagrams between two network namespaces: no filter, empty programs at the same
hooks and Sluice in one pair, nftables and iptables with ipset in one each."""
import contextlib
import os
import pathlib
import signal
import subprocess

import prefixes

SECONDS = 0.02      # of a slice: the shorter, the more of the machine's moods hit all variants alike
TURNS = 10          # of a round
STREAM_SECONDS = 0.2
STREAMS = 31        # as many as give a narrow interval
PORT = 5001
ADDRESS = {4: ("10.77.0.1", "10.77.0.2"), 6: ("fd77::1", "fd77::2")}


LOADS = (("connects", "TCP connects", "ns of CPU"), ("datagrams", "UDP, 64 bytes", "ns of CPU"),
         ("stream", "TCP stream with GSO", "ns of CPU/KiB"))


def sh(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options).stdout


class Server:
    """Stopped out of its turn."""

    def __init__(self, words):
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.process.send_signal(signal.SIGSTOP)

    @contextlib.contextmanager
    def turn(self):
        self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGSTOP)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Client:
    """A load that lives as long as the stack and waits for its turns (tests/tools/turns.h)."""

    def __init__(self, stack, words):
        self.process = stack.enter_context(subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        stack.callback(self.process.stdin.close)
        self.said("ready")

    def said(self, wanted=None):
        line = self.process.stdout.readline().strip()
        if not line or wanted and line != wanted:
            raise OSError(f"{self.process.args}: ended, or said '{line}'")
        return line

    def turn(self, word=""):
        """ns of CPU for each."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        count, cpu = map(int, self.said().split())
        return cpu / count


class Pair:
    """Two namespaces, and the servers in the far one, by family."""

    def __init__(self, name, tool):
        self.near, self.far = f"slb{os.getpid()}{name}n", f"slb{os.getpid()}{name}f"
        self.tool, self.servers = tool, {}
        for ns in (self.near, self.far):
            sh("ip", "netns", "add", ns)
        sh("ip", "-n", self.near, "link", "add", "b0", "type", "veth", "peer", "name", "b0",
           "netns", self.far)
        for which, ns in enumerate((self.near, self.far)):
            sh("ip", "-n", ns, "link", "set", "lo", "up")
            sh("ip", "-n", ns, "addr", "add", ADDRESS[4][which] + "/24", "dev", "b0")
            sh("ip", "-n", ns, "addr", "add", ADDRESS[6][which] + "/64", "dev", "b0", "nodad")
            sh("ip", "-n", ns, "link", "set", "b0", "up")
            # connections one after the other would run out of ports
            sh("ip", "netns", "exec", ns, "sysctl", "-q", "net.ipv4.ip_local_port_range=1024 65000",
               "net.ipv4.tcp_tw_reuse=1")

    def inside(self, ns, *words):
        return ["nsenter", f"--net=/run/netns/{ns}", *map(str, words)]

    def serve(self):
        for family in ADDRESS:
            self.servers[family] = Server(
                self.inside(self.far, self.tool, "serve", ADDRESS[family][1], PORT))

    def load(self, stack, what, family, *prefix, seconds=SECONDS):
        """A function that measures a slice: ns of the client's CPU for each of what; of a stream,
        each KiB."""
        client = Client(stack, self.inside(self.near, *prefix, self.tool, what, ADDRESS[family][1],
                                           PORT, seconds, "turns"))

        def measure():
            with self.servers[family].turn():
                return client.turn() * (1024 if what == "stream" else 1)
        return measure

    def close(self):
        for server in self.servers.values():
            server.close()
        for ns in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL)


def cgroup_root():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return pathlib.Path(line.split()[1])
    raise OSError("no cgroup v2 is mounted")


class Lab:
    """Every variant for n prefixes of one family."""

    def __init__(self, stack, build, folder, family, n, concat_most=5000):
        self.family, self.variants = family, {}
        tool = build / "tests" / "net_load"
        made = prefixes.make(family, n)
        cgroup = cgroup_root() / f"bench-empty-{os.getpid()}"
        stack.callback(remove_cgroup, cgroup)
        words = {"no filter": (), "empty programs": (build / "tests" / "bench_empty", cgroup)}
        path = prefixes.policy(folder, "bench", made, family)
        words["sluice"] = (build / "sluice", "run", "-q", "-p", path, "--")
        for name in ("nftables set", "nftables set+conntrack", "nftables concatenation",
                     "iptables-legacy+ipset", "iptables-nft+ipset"):
            words[name] = ()
        plain = None
        for number, (name, prefix) in enumerate(words.items()):
            pair = plain if plain and not is_installed(name) else Pair(number, tool)
            if pair is not plain:
                stack.callback(pair.close)
                pair.serve()
            plain = plain or pair
            # the concatenation takes minutes to load more
            self.install(name, pair, folder, made if "concat" not in name
                         else made[-concat_most:])
            self.variants[name] = (pair, prefix)

    def install(self, name, pair, folder, made):
        family = self.family
        if name.startswith("nftables"):
            kind = {"set": "set", "set+conntrack": "conntrack",
                    "concatenation": "concat"}[name.split()[1]]
            path = prefixes.nft(folder / "rules.nft", made, family, kind)
            sh(*pair.inside(pair.near, "nft", "-f", path))
        elif name.startswith("iptables"):
            path = prefixes.ipset(folder / "rules.ipset", made, family)
            sh(*pair.inside(pair.near, "ipset", "restore", "-file", path))
            program = ("ip6tables" if family == 6 else "iptables") + name[8:].split("+")[0]
            for protocol in ("tcp", "udp"):
                for rule in (("-m", "set", "--match-set", "all", "dst", "-j", "ACCEPT"),
                             ("-j", "REJECT")):
                    sh(*pair.inside(pair.near, program, "-A", "OUTPUT", "-p", protocol, *rule))

    def measures(self, stack, what, seconds=SECONDS):
        return {name: pair.load(stack, what, self.family, *prefix, seconds=seconds)
                for name, (pair, prefix) in self.variants.items()}


def is_installed(name):
    """In a namespace of its own. What is not leaves it as it was: those have one in common, or they
    would differ by where the kernel happened to put their sockets and devices."""
    return name.startswith(("nftables", "iptables"))


def remove_cgroup(path):
    with contextlib.suppress(OSError):
        path.rmdir()


def rows(table, build, folder, n, slices):
    for family in (4, 6):
        with contextlib.ExitStack() as stack:
            lab = Lab(stack, build, folder, family, n)
            for what, name, unit in LOADS:
                row = f"{name}, IPv{family}, {n} prefixes"
                got = table.rounds(row, unit, *measured(lab, what, slices), "lower",
                                   "the concatenation holds at most 5,000")
                if what == "datagrams":
                    table.added(row, unit, got, "no filter")


def measured(lab, what, slices):
    """How rounds begin, how many, and turns of each."""
    if what != "stream":
        return lambda stack: lab.measures(stack, what), slices, TURNS
    turns = max(slices, STREAMS) if slices >= 11 else slices
    return lambda stack: lab.measures(stack, what, STREAM_SECONDS), 1, turns
