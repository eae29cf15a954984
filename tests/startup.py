#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""startup.py SLUICE: what `sluice run -- true` adds to `true`, in milliseconds; alone, and
through sluiced as a member of its group.

Interleaved runs, medians. A measurement, not a test of speed: it fails only if
a run does.
"""
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 21
DAEMON_RUNS = 50
POLICY = "sluice: 1\nname: startup\nrules:\n  - deny: '@metadata'\n  - allow: '@loopback'\n"
NAMES_POLICY = POLICY.replace("rules:", "dns: {resolvers: [192.0.2.53]}\nrules:") + \
    "  - allow: '*.example:443'\n"
UID_POLICY = POLICY + "  - allow: {to: any, ports: 443, protocol: tcp, uid: 1000}\n"


def milliseconds(*command, **who):
    """(elapsed, of a CPU)"""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   **who)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * elapsed, 1000 * cpu


def with_mounts(sluice, folder):
    """Copies of sluice and of sluice-mounts, which has its capabilities as `make install` gives
    them."""
    for name in ("sluice", "sluice-mounts"):
        shutil.copy(sluice.with_name(name), folder / name)
    subprocess.run(["setcap", "cap_sys_admin,cap_dac_read_search=ep", folder / "sluice-mounts"],
                   check=True)
    return folder / "sluice"


def alone(sluice, runs):
    """By policy, None for no sluice: milliseconds() of each run, in turn."""
    taken = {None: [], POLICY: [], UID_POLICY: [], NAMES_POLICY: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            for text, times in taken.items():
                path = pathlib.Path(folder) / "policy.yaml"
                path.write_text(text or "")
                before = [sluice, "run", "-q", "-p", path, "--"] if text else []
                times.append(milliseconds(*before, "true"))
    return taken


def of_sluiced(sluice, runs):
    """The same through sluiced: by the policy's name, "named" is the one with names."""
    os.environ["SLUICE"] = str(pathlib.Path(sluice).resolve())
    sys.path.insert(0, str(pathlib.Path(__file__).parent / "system"))
    # pylint: disable-next=import-outside-toplevel
    from runslab import GROUP, USER, RunsHost
    host, taken = RunsHost(), {None: [], "open": [], "named": []}
    try:
        sluice = with_mounts(pathlib.Path(sluice), host.folder)
        host.say(policies="[open, named]", named=NAMES_POLICY.replace("startup", "named"))
        host.start_daemon()
        who = {"user": USER, "group": USER, "extra_groups": [GROUP],
               "env": {**os.environ, **host.env}}
        for _ in range(runs):
            for policy, times in taken.items():
                host.ready()
                before = [sluice, "run", "-q", "-p", policy, "--"] if policy else []
                times.append(milliseconds(*before, "true", **who))
    finally:
        host.close()
    return taken


def through_sluiced(sluice):
    """What is added, without names and with: (in the middle, at its least, of a CPU of the
    caller's in the middle) each."""
    taken = of_sluiced(sluice, DAEMON_RUNS)
    base, *middles = ([statistics.median(column) for column in zip(*times)]
                      for times in taken.values())
    least = [min(times)[0] for times in taken.values()]
    return [(m[0] - base[0], l - least[0], m[1] - base[1]) for m, l in zip(middles, least[1:])]


def main(sluice):
    taken = alone(sluice, RUNS)
    medians = [[statistics.median(column) for column in zip(*times)] for times in taken.values()]
    base = medians[0]
    plain, uids, names = ("{:.1f} ms ({:.1f} of a CPU)".format(*(a - b for a, b in zip(times, base)))
                          for times in medians[1:])
    least = min(elapsed for elapsed, _ in taken[NAMES_POLICY]) - base[0]
    through, with_names = ("{:.1f} ms ({:.1f} of a CPU), at best {:.1f} ms".format(
        middle, cpu, best) for middle, best, cpu in through_sluiced(sluice))
    print(f"sluice run -- true adds {plain} to true ({base[0]:.1f} ms); with uid rules {uids}, with "
          f"names {names}, at best {least:.1f} ms; medians of {RUNS}; "
          f"through sluiced {through}; with names {with_names} ({DAEMON_RUNS} runs)")


if __name__ == "__main__":
    main(sys.argv[1])
