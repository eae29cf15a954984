#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""names.py BUILD_DIR: what names cost. In one run, in turn: no Sluice, `sluice run`, a device
with `sluice attach`. dnsperf against unbound in another namespace, at full speed and one
question at a time; connects to an address that a name owns beside those that a CIDR rule
allows. A measurement, not a test of speed: it fails only if a run does."""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODES, ROUNDS, SECONDS, CONNECTS = ("none", "run", "device"), 7, 1, 500
BY_CIDR, BY_NAME = "198.51.100.40", "198.51.100.10"


def asked(text):
    """(questions a second, microseconds of one) of dnsperf's report."""
    rate, = re.findall(r"Queries per second:\s+([0-9.]+)", text)
    latency, = re.findall(r"Average Latency \(s\):\s+([0-9.]+)", text)
    lost, = re.findall(r"Queries lost:\s+([0-9]+)", text)
    return float(rate), 1e6 * float(latency), int(lost)


class Bench:
    def __init__(self, lab, resolver, policy):
        self.lab, self.resolver, self.policy = lab, resolver, policy
        self.questions = lab.folder / "questions"
        self.questions.write_text("".join(f"h{i}.good.example {kind}\n" for i in range(8)
                                          for kind in ("A", "AAAA")), encoding="ascii")
        self.questions.chmod(0o644)

    def dnsperf(self, agent, *options):
        said = agent.do("command", wait=30, argv=[
            "dnsperf", "-s", self.resolver, "-d", str(self.questions), "-l", str(SECONDS), *options])
        assert said["errno"] is None, said
        return asked(said["reply"])

    def round(self, mode):
        with self.lab.workload_of(mode, self.policy, [f"nameserver {self.resolver}"]) as agent:
            rate, _, lost = self.dnsperf(agent, "-c", "4", "-q", "100")
            _, latency, _ = self.dnsperf(agent, "-c", "1", "-q", "1")
            agent.do("resolve", name="h0.good.example")
            times = agent.do("connect_times", wait=60, to=[BY_CIDR, BY_NAME], times=CONNECTS)["reply"]
            return (rate / 1000, latency, lost, statistics.median(times[BY_CIDR]),
                    statistics.median(times[BY_NAME]))


def costs(bench):
    """Nanoseconds of the device programs, by what the frames were: questions, answers."""
    from device import bpf_statistics
    with bench.lab.workload_of("device", bench.policy, [f"nameserver {bench.resolver}"]) as agent:
        with bpf_statistics():
            bench.dnsperf(agent, "-c", "4", "-q", "100")
            for name in ("sluice_from_workload", "sluice_to_workload"):
                path, = bench.lab.device.mount.glob(f"sluice/netns-*/{name}")
                program = json.loads(subprocess.run(
                    ["bpftool", "-j", "prog", "show", "pinned", str(path)], check=True,
                    stdout=subprocess.PIPE).stdout)
                yield name, program["run_time_ns"] / program["run_cnt"]


def main(build):
    os.environ.update(SLUICE=str(build / "sluice"), SLUICE_BUILD=str(build))
    sys.path[:0] = [str(ROOT / "tests" / "system"), str(ROOT / "tests" / "bench")]
    import dnslab
    from resolverslab import Servers, UNBOUND
    policy = dnslab.policy('allow: "*.good.example:7", id: good', f'allow: "{BY_CIDR}:7", id: cidr')
    policy = policy.replace(dnslab.RESOLVERS, UNBOUND[4])
    with tempfile.TemporaryDirectory(prefix="sl-bench-") as folder:
        lab = dnslab.DnsLab("bnames", pathlib.Path(folder))
        servers = Servers(lab)
        try:
            servers.ready()
            bench, found = Bench(lab, UNBOUND[4], policy), {mode: [] for mode in MODES}
            for _ in range(ROUNDS):
                for mode in MODES:
                    found[mode].append(bench.round(mode))
            programs = dict(costs(bench))
        finally:
            servers.close()
            lab.close()
    print(f"{'':8}{'dnsperf':>18}{'one question':>14}{'lost':>6}{'connect, CIDR':>16}{'name':>9}")
    for mode in MODES:
        rate, latency, lost, cidr, name = (statistics.median(column) for column in zip(*found[mode]))
        print(f"{mode:8}{rate:11.1f} 1000/s{latency:11.1f} us{lost:6.0f}{cidr:13.1f} us{name:6.1f} us")
    best = {mode: max(r[0] for r in found[mode]) for mode in MODES}
    for name, ns in programs.items():
        print(f"{name}: {ns:.0f} ns a message")
    print("best of dnsperf:", ", ".join(f"{mode} {best[mode]:.1f}" for mode in MODES), "1000/s")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    main(pathlib.Path(sys.argv[1]).resolve())
