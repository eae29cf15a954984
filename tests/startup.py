#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""startup.py SLUICE: what `sluice run -- true` adds to `true`, in milliseconds.

Interleaved runs, medians. A measurement, not a test of speed: it fails only if
a run does.
"""
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 21
POLICY = "sluice: 1\nname: startup\nrules:\n  - deny: '@metadata'\n  - allow: '@loopback'\n"
UID_POLICY = POLICY + "  - allow: {to: any, ports: 443, protocol: tcp, uid: 1000}\n"


def seconds(*command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(sluice):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as plain, \
            tempfile.NamedTemporaryFile("w", suffix=".yaml") as uids:
        for file, text in ((plain, POLICY), (uids, UID_POLICY)):
            file.write(text)
            file.flush()
        bare, added, added_uids = [], [], []
        for _ in range(RUNS):
            bare.append(seconds("true"))
            added.append(seconds(sluice, "run", "-q", "-p", plain.name, "--", "true"))
            added_uids.append(seconds(sluice, "run", "-q", "-p", uids.name, "--", "true"))
    base = statistics.median(bare)
    print(f"sluice run -- true adds {1000 * (statistics.median(added) - base):.1f} ms to true "
          f"({1000 * base:.1f} ms); with uid rules {1000 * (statistics.median(added_uids) - base):.1f} "
          f"ms; medians of {RUNS}")


if __name__ == "__main__":
    main(sys.argv[1])
