# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A thousand cgroups, each with a policy of its own: what an attach takes in a batch and alone,
memory, and whether a connection notices the others."""
import contextlib
import os
import subprocess
import time

import net
from net import cgroup_root, sh

TARGETS = 1000
ALONE = 7


def policy(folder, number):
    """A different one for each."""
    path = folder / f"{number}.yaml"
    path.write_text(f"sluice: 1\nname: p{number}\nrules:\n"
                    f"  - deny: 10.{number >> 8}.{number & 255}.0/24\n"
                    f"  - allow: {{to: 192.0.2.{number & 255}, ports: {1 + number}, protocol: tcp}}\n"
                    f"  - allow: [{net.ADDRESS[4][1]}, \"{net.ADDRESS[6][1]}\"]\n")
    return path


class State:
    """Pins and cgroups of their own; gone afterwards."""

    def __init__(self, stack, build, folder, name):
        self.build, self.folder = build, folder / name
        self.folder.mkdir()
        self.pins, self.policies = self.folder / "bpf", self.folder / "policies"
        self.pins.mkdir(mode=0o700)
        self.policies.mkdir()
        sh("mount", "-t", "bpf", "-o", "mode=0700", "none", self.pins)
        stack.callback(sh, "umount", "-l", self.pins)
        self.cgroup = cgroup_root() / f"bench-{name}-{os.getpid()}"
        self.cgroup.mkdir()
        stack.callback(self.remove)
        self.env = {**os.environ, "SLUICE_STATE": str(self.pins / "sluice")}

    def remove(self):
        subprocess.run([self.build / "sluice", "detach", "--all"], env=self.env, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in [*self.cgroup.iterdir(), self.cgroup]:
            if path.is_dir():
                with contextlib.suppress(OSError):
                    path.rmdir()

    def batch(self, first, last):
        """ms and KiB for each."""
        for number in range(first, last + 1):
            policy(self.policies, number)
        done = sh(self.build / "tests" / "bench_targets", self.pins / "sluice", self.cgroup,
                  self.policies, first, last)
        n, ms, kib = map(float, done.split())
        return ms / n, kib / n

    def alone(self, number):
        (self.cgroup / str(number)).mkdir()
        path = policy(self.policies, number)
        at = time.monotonic()
        sh(self.build / "sluice", "attach", "--cgroup", self.cgroup / str(number), "-p", path,
           env=self.env)
        return (time.monotonic() - at) * 1e3

    def within(self, number):
        """The words before a command that begins its life in a target."""
        return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', self.cgroup / str(number)]


def rows(table, build, folder, slices):
    with contextlib.ExitStack() as stack:
        pair = net.Pair("t", build / "tests" / "net_load")
        stack.callback(pair.close)
        pair.serve()
        one = State(stack, build, folder, "one")
        few, _ = one.batch(1, 1)
        many = State(stack, build, folder, "many")
        halves = [many.batch(1, TARGETS // 2), many.batch(TARGETS // 2 + 1, TARGETS)]
        table.add(f"attach each of {TARGETS} cgroups, in a batch", "ms",
                  {"sluice": [ms for ms, _ in halves]}, note="the two halves")
        table.add(f"memory of each of {TARGETS} targets", "KiB",
                  {"sluice": [halves[1][1]], "of the first half": [halves[0][1]]})
        table.add(f"attach one more to {TARGETS}", "ms",
                  {"sluice": [many.alone(TARGETS + 1 + i) for i in range(ALONE)],
                   "the first": [few]}, note="the command, by the clock; the first: without it")
        for family in (4, 6):
            words = {"no filter": (), "1 target": one.within(1),
                     "sluice": many.within(TARGETS // 2)}
            table.rounds(f"TCP connects, IPv{family}, of one of {TARGETS} targets", "ns of CPU",
                         lambda stack, family=family, words=words: {
                             name: pair.load(stack, "connects", family, *before)
                             for name, before in words.items()}, slices, net.TURNS, "lower")
