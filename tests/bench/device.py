#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""device.py BUILD_DIR: what Sluice costs on a device. A veth and a tap with a real
network stack behind it, with and without a policy in turn, in one run: slices of
0.6 seconds, their medians, and the best of each (a busy machine spoils the medians). A
measurement, not a test of speed: it fails only if a run does.

The tap's frames are carried by a pump in user space (tests/tools/tap_pump.c), as a
hypervisor would; that, not the programs, bounds the tap's figures.
"""
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROUNDS, SECONDS, PORT = 11, 0.6, 5001
LOADS = {"stream": ("TCP stream", "Gbit/s"), "datagrams": ("UDP, 64 bytes", "1000/s"),
         "connects": ("TCP connects", "1000/s")}


def received(lab):
    """Frames and bytes that the peer's device has got."""
    from lab import sh
    link, = json.loads(sh("ip", "-n", lab.peer, "-s", "-j", "link", "show", "p0"))
    return link["stats64"]["rx"]["packets"], link["stats64"]["rx"]["bytes"]


class Bench:
    def __init__(self, lab, tool, address):
        self.lab, self.tool, self.address = lab, tool, address

    def words(self, ns, *words):
        return [*self.lab.inside(ns), str(self.tool), *map(str, words)]

    @contextlib.contextmanager
    def server(self):
        process = subprocess.Popen(self.words(self.lab.peer, "serve", self.address, PORT),
                                   stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def slice(self, load):
        """In the load's own unit."""
        frames, size = received(self.lab)
        done = subprocess.run(self.words(self.lab.workload, load, self.address, PORT, SECONDS),
                              stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        frames, size = (b - a for a, b in zip((frames, size), received(self.lab)))
        if load == "stream":
            return size * 8 / SECONDS / 1e9
        return (frames if load == "datagrams" else int(done.stdout.split()[0])) / SECONDS / 1e3


def cost(lab):
    """Nanoseconds a run of each program, of all runs since it was loaded: counted by the
    kernel while kernel.bpf_stats_enabled is set."""
    from lab import sh
    shown = {}
    for path in lab.guard.state.glob("netns-*/sluice_*"):
        program = json.loads(sh("bpftool", "-j", "prog", "show", "pinned", str(path)))
        if program.get("run_cnt", 0) > 1000:
            shown[path.name] = program["run_time_ns"] / program["run_cnt"]
    return shown


@contextlib.contextmanager
def bpf_statistics():
    path = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
    before = path.read_text()
    path.write_text("1")
    try:
        yield
    finally:
        path.write_text(before)


def compared(of, slices):
    off, on = of(slices[False]), of(slices[True])
    return f"{off:9.2f} {on:9.2f} {100 * (on / off - 1):+6.1f} %"


def measure(kind, v6, folder, tool):
    from devicelab import BINDING, DeviceLab, rules
    from lab import PEER4, PEER6
    policy = rules('deny: "@metadata"', f'allow: [{PEER4}, "{PEER6}"]')
    lab = DeviceLab(f"b{kind[0]}{6 if v6 else 4}", folder, kind, real=True)
    try:
        bench = Bench(lab, tool, PEER6 if v6 else PEER4)
        with bench.server():
            for load, (name, unit) in LOADS.items():
                slices = {False: [], True: []}
                for _ in range(ROUNDS):
                    for judged in (False, True):
                        if judged:
                            lab.guard.attach(lab.device, policy, *BINDING)
                        slices[judged].append(bench.slice(load))
                        if judged:
                            lab.guard.detach(lab.device)
                print(f"{kind:5} {'IPv6' if v6 else 'IPv4'}  {name:14} {unit:7}" +
                      compared(statistics.median, slices) + compared(max, slices), flush=True)
            lab.guard.attach(lab.device, policy, *BINDING)
            with bpf_statistics():
                bench.slice("datagrams")
                return cost(lab)
    finally:
        lab.close()


def main(build):
    os.environ.update(SLUICE=str(build / "sluice"), SLUICE_BUILD=str(build))
    sys.path.insert(0, str(ROOT / "tests" / "system"))
    print(f"{'':35}{f'median of {ROUNDS}':>18}{'best':>26}\n{'':35}" +
          f"{'without':>9} {'with':>9}{'':9}" * 2)
    costs = {}
    with tempfile.TemporaryDirectory(prefix="sl-bench-") as folder:
        for kind in ("veth", "tap"):
            for v6 in (False, True):
                path = pathlib.Path(folder) / f"{kind}{6 if v6 else 4}"
                path.mkdir()
                costs[kind, v6] = measure(kind, v6, path, build / "tests" / "net_load")
    for (kind, v6), programs in costs.items():
        for name, ns in programs.items():
            print(f"{kind:5} {'IPv6' if v6 else 'IPv4'}  {name}: {ns:.0f} ns a datagram")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    main(pathlib.Path(sys.argv[1]).resolve())
