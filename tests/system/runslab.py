# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Members of the group that sluiced lets run commands, and others."""
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from lab import SLUICE, cgroup2
from sluicedlab import WAIT, DaemonHost, until

GROUP = 64117  # no group of the machine's: a number is enough
USER, OTHER, STRANGER = 64201, 64202, 64203
OPEN = "sluice: 1\nname: open\nrules:\n  - allow: ['127.0.0.1:7001/tcp', '[::1]:7001/tcp']\n"
SHUT = "sluice: 1\nname: shut\nrules: []\n"
PROBE = """
import socket
for host in ("127.0.0.1", "::1"):
    for port in (7001, 7002):
        try:
            socket.create_connection((host, port), 5).close()
            print("yes", end=" ")
        except ConnectionRefusedError:
            print("no", end=" ")
"""
# A client of the socket that says what it was answered, and stays.
ASK = """
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rb")
def ask(op, **more):
    s.sendall(json.dumps({"sluice": 1, "op": op, **more}).encode() + b"\\n")
    return json.loads(f.readline())
def own():
    return [l.strip()[3:] for l in open("/proc/self/cgroup") if l.startswith("0::")][0]
"""


SYS_CLONE3 = 435


class Numbered:
    """A process of that number (clone3's set_tid), of a user, that waits for its end."""

    def __init__(self, number, uid):
        self.number = number
        want = (ctypes.c_int32 * 1)(number)
        args = (ctypes.c_uint64 * 11)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(want),
                                      1, 0)
        ready, tell = os.pipe()
        pid = ctypes.CDLL(None, use_errno=True).syscall(SYS_CLONE3, args, ctypes.sizeof(args))
        if not pid:
            try:
                os.setresuid(uid, uid, uid)
                os.write(tell, b"x")
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        os.close(tell)
        assert pid == number, os.strerror(ctypes.get_errno())
        assert os.read(ready, 1)
        os.close(ready)

    def cgroup(self):
        return pathlib.Path(f"/proc/{self.number}/cgroup").read_text()

    def is_alive(self):
        return os.waitpid(self.number, os.WNOHANG) == (0, 0)

    def kill(self):
        os.kill(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)


class RunsHost(DaemonHost):
    """A sluiced that lists policies `open` and `shut` for runs in a place of its own."""

    def __init__(self, limit=8, policies="[open, shut]"):
        # not pytest's folder, which is root's alone: users are to reach the socket
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-runs-"))
        folder.chmod(0o755)
        super().__init__("sl-r", folder)
        self.place = pathlib.Path(cgroup2()) / f"{self.name}-runs"
        self.socks = [self.within(lambda f=f, p=p: self.listen(f, p))
                      for f in (socket.AF_INET, socket.AF_INET6) for p in (7001, 7002)]
        self.say(limit, policies)

    @classmethod
    @contextlib.contextmanager
    def started(cls):
        """One whose sluiced runs and is ready."""
        with contextlib.closing(cls()) as made:
            made.start_daemon()
            made.ready()
            yield made

    def say(self, limit=8, policies="[open, shut]", **more):
        self.configure(f"sluiced: 1\ngroup: '{GROUP}'\nrun: {{policies: {policies}, "
                       f"limit: {limit}, cgroup: /{self.place.name}}}\n",
                       **{"open": OPEN, "shut": SHUT, **more})

    @staticmethod
    def listen(family, port):
        sock = socket.socket(family)
        sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", port))
        sock.listen(64)
        return sock

    def as_user(self, *command, uid=USER, groups=(GROUP,), gid=None, **options):
        """A process of a user; its own process group has no number of ours."""
        return self.within(lambda: subprocess.Popen(
            [str(c) for c in command], user=uid, group=gid or uid, extra_groups=list(groups),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **self.env}, cwd="/", **options))

    def done(self, *command, **who):
        child = self.as_user(*command, **who)
        out, err = child.communicate(timeout=WAIT)
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    def sluice_run(self, *command, policy="open", **who):
        return self.done(SLUICE, "run", "-p", policy, "--", *command, **who)

    def script(self, text, **who):
        """Python that has ask() and own()."""
        return self.as_user(sys.executable, "-c", ASK + text, self.socket, **who)

    def asked(self, text, **who):
        child = self.script(text, **who)
        out, err = child.communicate(timeout=WAIT)
        assert child.returncode == 0, err
        return out

    @staticmethod
    def process_with_number(number, uid):
        return Numbered(number, uid)

    def members(self):
        """Processes by the cgroups of the place."""
        found = {}
        for folder in self.place.iterdir() if self.place.exists() else ():
            if folder.is_dir():
                try:
                    found[folder.name] = (folder / "cgroup.procs").read_text().split()
                except OSError:
                    pass
        return found

    def populated(self):
        return {name: pids for name, pids in self.members().items() if pids}

    def ready(self, count=6):
        """All that is to be ready is, and nobody runs."""
        assert until(lambda: not self.populated() and len(self.members()) == count), \
            (self.members(), self.daemon.errors)

    def close(self):
        super().close()
        for sock in self.socks:
            sock.close()
        for name in self.members():
            (self.place / name / "cgroup.kill").write_text("1")
            assert until(lambda n=name: "populated 0" in
                         (self.place / n / "cgroup.events").read_text())
            (self.place / name).rmdir()
        if self.place.exists():
            self.place.rmdir()
        shutil.rmtree(self.folder)


STAY = "print('there', flush=True); import sys; sys.stdin.read()"


def staying(host, policy="open", **who):
    """A run that lives until its input ends, and the name of its cgroup."""
    before = set(host.populated())
    child = host.as_user(SLUICE, "run", "-q", "-p", policy, "--", sys.executable, "-c", STAY, **who)
    assert child.stdout.readline() == "there\n", child.communicate()
    name, = set(host.populated()) - before
    return child, name


def ended(host, child):
    child.communicate(timeout=WAIT)
    host.ready()


@pytest.fixture
def host():
    with RunsHost.started() as made:
        yield made
