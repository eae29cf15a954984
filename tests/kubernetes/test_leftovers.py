# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a killed run left is cleared, and nothing of one that lives. No cluster is started."""
import os
import pathlib
import subprocess

import pytest

import image
import leftovers
from lab import cgroup2, sh, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes cgroups: needs root")


def ended_number():
    """Of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


class Left:
    """A cluster's cgroup with a process below it, as a systemd is."""

    def __init__(self, number):
        self.top = pathlib.Path(cgroup2()) / f"sl-kube-{number}-systemd"
        below = self.top / "system.slice"
        below.mkdir(parents=True)
        self.child = subprocess.Popen(["sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec sleep 1000', below])
        assert until(lambda: (below / "cgroup.procs").read_text())

    def runs(self):
        return self.child.poll() is None

    def close(self):
        self.child.kill()
        self.child.wait()
        assert until(lambda: not leftovers.processes(self.top))
        if self.top.exists():
            leftovers.remove(self.top)


@pytest.fixture(name="left")
def make_left():
    made = []

    def make(number):
        made.append(Left(number))
        return made[-1]
    yield make
    for one in made:
        one.close()


def clear():
    leftovers.clear([pathlib.Path(cgroup2())], cgroup2())


def test_of_a_killed_run(left):
    number = ended_number()
    one, space = left(number), f"sl-kube-out-s-{number}"
    sh("ip", "netns", "add", space)
    clear()
    assert until(lambda: not one.runs())
    assert not one.top.exists() and space not in sh("ip", "netns", "list")


def test_of_a_run_that_lives(left):
    """Its number is a process's, or its lock is held: by a run whose number is not seen from here."""
    ours, locked = left(os.getpid()), left(ended_number())
    fd = leftovers.lock(locked.top)
    clear()
    assert ours.runs() and locked.runs() and ours.top.exists() and locked.top.exists()
    os.close(fd)
    clear()
    assert until(lambda: not locked.runs()) and ours.runs()


def test_an_image_is_of_its_own_tree(tmp_path):
    build = tmp_path / "build"
    build.mkdir()
    with pytest.raises(RuntimeError, match="is not below"):
        image.sluice(build)
    assert not list(build.iterdir())
