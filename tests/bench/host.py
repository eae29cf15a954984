# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a run of the bench ran on."""
import os
import pathlib
import platform
import re
import subprocess
import time


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Processor", "cpu model"):
            return value.strip()
    return platform.machine()


def kernel():
    """The version alone: what a distribution or a machine's owner appends names the machine."""
    return re.match(r"\d+(\.\d+)*(-rc\d+)?", platform.release()).group(0)


def commit():
    """The sources' own, if they are a clone: `+` says that they were changed since."""
    root = pathlib.Path(__file__).resolve().parents[2]
    done = subprocess.run(["git", "-C", root, "describe", "--always", "--abbrev=10", "--dirty=+",
                           "--exclude=*"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    return done.stdout.strip() or None


def load():
    return round(os.getloadavg()[0], 2)


class Facts:
    """Made when a run begins."""

    def __init__(self):
        self.before, self.at = load(), time.monotonic()

    def after(self):
        return {"date": time.strftime("%Y-%m-%d", time.gmtime()), "cpu": cpu_model(),
                "cpus": os.cpu_count(), "kernel": kernel(), "load": [self.before, load()],
                "minutes": round((time.monotonic() - self.at) / 60, 1), "commit": commit()}
