# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a run that was killed has left: found by the cluster's cgroup, whose name has the run's number, and
on which a run holds a lock as long as it lives. No process is looked for by its name."""
import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from lab import until

PREFIX = "sl-kube-"
NAME = re.compile(PREFIX + r"(\d+)(-systemd)?")


def lock(path):
    """Of a cgroup of ours; let go with the descriptor that is returned. None: somebody has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def folder():
    """For the files of this run, to use with `with`."""
    return tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")


def processes(top):
    """Of a cgroup and all below it; 0: one that cannot be seen from here."""
    pids = set()
    for path, _, _ in os.walk(top):
        pids.update(map(int, (pathlib.Path(path) / "cgroup.procs").read_text().split()))
    return pids


def end_all(tops):
    """True: nothing runs in these cgroups any more."""
    left = set().union(*(processes(top) for top in tops if top.exists()))
    for pid in left - {0}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return not left


def remove(top):
    for path, _, _ in os.walk(top, topdown=False):
        os.rmdir(path)


def clear_one(name, number, hierarchies):
    """Every process of it is in its cgroups: systemd, and all that it started."""
    tops = [top / name for top in hierarchies]
    if not until(lambda: end_all(tops), 20, 0.1):
        return
    for top in tops:
        if top.exists():
            remove(top)
    for space in pathlib.Path("/run/netns").glob(f"sl-kube-out*-{number}"):
        subprocess.run(["ip", "netns", "del", space.name], check=False)
    for path in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}{number}-*"):
        shutil.rmtree(path, ignore_errors=True)


def clear(hierarchies, unified):
    """hierarchies: of cgroups, with unified (cgroup2), where the locks are. What has one is a run's that lives."""
    for path in pathlib.Path(unified).glob(PREFIX + "*"):
        found = NAME.fullmatch(path.name)
        if not found or pathlib.Path(f"/proc/{found[1]}").exists():
            continue
        fd = lock(path)
        if fd is not None:
            clear_one(path.name, found[1], hierarchies)
            os.close(fd)
