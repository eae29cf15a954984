# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Grace periods are expedited while Sluice waits for one, and at no other time. The number is
the machine's: other tests' sluiceds write it for moments, so what it comes to is waited for."""
import contextlib
import ctypes
import errno
import os
import pathlib
import queue
import random
import select
import signal
import struct
import subprocess
import threading
import time

import pytest

from lab import SLUICE, until
from runslab import RunsHost

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", pathlib.Path(SLUICE).parent))
KNOB = pathlib.Path("/sys/kernel/rcu_expedited")
NORMAL = pathlib.Path("/sys/kernel/rcu_normal")
OURS = "20942"  # SL_EXPEDITE_OURS
FAN_CLOEXEC, FAN_CLASS_CONTENT, FAN_MARK_ADD, AT_FDCWD = 1, 4, 1, -100
FAN_MODIFY, FAN_ACCESS_PERM, FAN_ALLOW = 0x2, 0x20000, 1

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root"), pytest.mark.skipif(not KNOB.exists(), reason="no /sys/kernel/rcu_expedited")]


def value():
    return KNOB.read_text().strip()


def comes_to(wanted):
    return until(lambda: value() == wanted)


@pytest.fixture(autouse=True)
def knob():
    """The administrator's number, there again afterwards."""
    before = value()
    if before == OURS:
        assert comes_to("0")
        before = "0"
    if before != "0":
        KNOB.write_text("0")
    yield
    KNOB.write_text(before)


class Asker:
    """A process that asks as sluiced does (tests/tools/expedite.c)."""

    def __init__(self, *before):
        self.child = subprocess.Popen([*before, BUILD / "tests" / "expedite"], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def say(self, *words):
        answers = []
        for word in words:
            self.child.stdin.write(word + "\n")
            self.child.stdin.flush()
            answers.append(int(self.child.stdout.readline()))
        return answers[-1]

    def guard(self):
        """The number of its guard; None: it has none (any more)."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                text = path.read_text()
            except OSError:
                continue
            if "(sluice-guard)" in text and text.rpartition(")")[2].split()[1] == \
                    str(self.child.pid):
                found += [int(path.parent.name)] * (") Z " not in text)
        return found[0] if found else None

    def end(self, how=signal.SIGKILL):
        self.child.send_signal(how)
        self.child.wait(10)
        self.child.stdin.close()
        self.child.stdout.close()


@pytest.fixture
def ask():
    made = []

    def make(*before):
        made.append(Asker(*before))
        return made[-1]
    yield make
    for asker in made:
        if asker.child.poll() is None:
            asker.end()


def fanotify(kind, mask):
    """A descriptor that tells of the number's file."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.fanotify_init(kind | FAN_CLOEXEC, os.O_RDONLY)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    done = libc.fanotify_mark(fd, FAN_MARK_ADD, ctypes.c_uint64(mask), AT_FDCWD,
                              str(KNOB).encode())
    assert done == 0, os.strerror(ctypes.get_errno())
    return fd


def events(fd):
    """(descriptor, process) of each."""
    data = os.read(fd, 65536)
    while data:
        size, _, _, _, _, opened, who = struct.unpack_from("=IBBHQii", data)
        data = data[size:]
        yield opened, who


class Writers:
    """Who writes the number (fanotify): counts by process, of which the kernel merges some."""

    def __init__(self):
        self.fd = fanotify(0, FAN_MODIFY)
        self.counts = {}

    def of(self, pid):
        while select.select([self.fd], [], [], 0)[0]:
            for fd, who in events(self.fd):
                os.close(fd)
                self.counts[who] = self.counts.get(who, 0) + 1
        return self.counts.get(pid, 0)

    def close(self):
        os.close(self.fd)


@pytest.fixture
def writers():
    w = Writers()
    yield w
    w.close()


class Gate:
    """Holds a process where it reads the number (fanotify); who opens it later, for the kernel
    asks only who opened a file that was marked already."""

    def __init__(self):
        self.fd = fanotify(FAN_CLASS_CONTENT, FAN_ACCESS_PERM)
        self.held, self.pid = queue.Queue(), None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.ending = os.pipe()
        self.thread.start()

    def serve(self):
        while self.ending[0] not in select.select([self.fd, self.ending[0]], [], [])[0]:
            for fd, who in events(self.fd):
                if who == self.pid:
                    self.held.put(fd)
                else:
                    self.allow(fd)

    def allow(self, fd):
        os.write(self.fd, struct.pack("=iI", fd, FAN_ALLOW))
        os.close(fd)

    def hold(self, pid):
        self.pid = pid

    def wait(self):
        self.at = self.held.get(timeout=20)

    def go(self):
        self.allow(self.at)

    def release(self):
        self.pid = None
        self.go()
        while not self.held.empty():
            self.allow(self.held.get())

    def close(self):
        os.write(self.ending[1], b"x")
        self.thread.join()
        os.close(self.fd)  # whoever is held goes on
        for fd in self.ending:
            os.close(fd)


@pytest.fixture
def gate():
    g = Gate()
    yield g
    g.close()


# ---- one process, as it goes ----

def test_it_is_there_for_the_moment_and_then_not(ask):
    a = ask()
    assert a.say("open") == 0
    assert value() == "0"
    a.say("begin")
    assert value() == OURS
    a.say("begin", "end")  # they nest
    assert value() == OURS
    a.say("end")
    assert comes_to("0")


def test_what_the_administrator_has_set_stays(ask):
    a = ask()
    KNOB.write_text("1")
    a.say("open", "begin")
    assert value() == "1"
    a.say("end", "close")
    assert value() == "1"


def test_what_the_administrator_sets_meanwhile_stays(ask):
    a = ask()
    a.say("open", "begin")
    assert value() == OURS
    KNOB.write_text("1")
    a.say("end")
    assert value() == "1"
    a.say("begin")
    a.end()
    time.sleep(0.2)  # a guard would have written by now
    assert value() == "1"


def test_forbidden_it_is_left_alone(ask):
    a = ask()
    a.say("open", "forbid", "begin")
    assert value() == "0"
    a.say("end", "allow", "begin")
    assert value() == OURS


@pytest.mark.parametrize("first", (0, 1))
def test_two_at_once_and_the_last_one_puts_it_back(ask, first):
    a = ask(), ask()
    for each in a:
        each.say("open", "begin")
    assert value() == OURS
    a[first].say("end")
    a[1 - first].say("end")
    assert comes_to("0")
    a[first].say("begin")  # and they go on
    assert value() == OURS
    a[first].say("end")
    assert comes_to("0")


# ---- it dies ----

@pytest.mark.parametrize("how", (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV))
def test_killed_in_between(ask, how):
    a = ask()
    a.say("open", "begin")
    assert value() == OURS
    a.end(how)
    assert comes_to("0")


def test_its_process_group_is_killed(ask):
    a = ask("setsid")
    a.say("open", "begin")
    assert value() == OURS
    os.killpg(a.child.pid, signal.SIGKILL)
    assert comes_to("0")


def test_it_stands_still(ask):
    a = ask()
    a.say("open", "begin")
    assert value() == OURS
    a.child.send_signal(signal.SIGSTOP)
    assert until(lambda: value() == "0", 10)
    a.child.send_signal(signal.SIGCONT)
    a.say("end", "begin")
    assert value() == OURS
    a.say("end")
    assert comes_to("0")


def test_without_its_guard_it_asks_for_nothing(ask):
    a = ask()
    a.say("open")
    assert until(a.guard)
    os.kill(a.guard(), signal.SIGKILL)
    assert until(lambda: not a.guard())
    a.say("begin")
    assert value() == "0"


@pytest.mark.parametrize("word", ("open", "begin"))
def test_both_were_killed_and_the_next_one_puts_it_back(ask, word):
    a, b = ask(), ask()
    if word == "begin":
        b.say("open")
    a.say("open", "begin")
    guard = a.guard()
    os.kill(guard, signal.SIGSTOP)  # it would put it back before it can be killed
    a.end()
    os.kill(guard, signal.SIGKILL)
    assert value() == OURS
    b.say(word)
    if word == "begin":
        b.say("end")
    assert comes_to("0")


def test_a_guard_may_nothing_and_ends_with_its_process(ask):
    a = ask()
    a.say("open")
    assert until(a.guard)
    guard = a.guard()
    assert until(lambda: len(os.listdir(f"/proc/{guard}/fd")) == 2)
    text = pathlib.Path(f"/proc/{guard}/status").read_text()
    for line in ("CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in text
    os.kill(guard, signal.SIGTERM)  # as systemd sends to a whole unit
    a.say("begin")
    assert value() == OURS
    a.end()
    assert comes_to("0")
    assert until(lambda: not os.path.exists(f"/proc/{guard}"))


def test_a_read_only_sys(ask):
    a = ask("unshare", "-m", "sh", "-c",
            f"mount --bind {KNOB} {KNOB} && mount -o remount,bind,ro {KNOB} && exec \"$0\"")
    assert a.say("open") == -errno.EROFS
    a.say("begin")
    assert value() == "0"
    a.say("end", "close")


# ---- sluiced ----

@pytest.fixture
def host():
    with contextlib.closing(RunsHost()) as made:
        yield made


def start_and_run(host, count=3):
    host.start_daemon()
    for _ in range(count):
        host.ready()
        assert host.sluice_run("true").returncode == 0


def test_a_process_is_moved_while_it_is_there(host, gate):
    host.start_daemon()
    host.ready()
    host.full_status()  # answered when the last cgroup is ready
    gate.hold(host.daemon.child.pid)
    child = host.script('print(ask("run", policy="open", mounts=True)["ok"], flush=True)\n'
                        'input()')
    gate.wait()  # it looks what stands there
    assert value() == "0" and not host.populated()
    gate.go()
    gate.wait()  # and whether it is to put it back
    assert value() == OURS and list(host.populated().values()) == [[str(child.pid)]]
    assert not select.select([child.stdout], [], [], 0)[0]
    gate.release()
    assert child.stdout.readline() == "True\n"
    child.communicate("\n", timeout=20)
    assert comes_to("0")


def test_a_configuration_that_says_no(host, writers):
    text = (host.folder / "etc" / "sluiced.yaml").read_text()
    host.configure(text + "expedite: false\n", open=(host.folder / "etc/policies.d/open.yaml")
                   .read_text())
    start_and_run(host)
    assert writers.of(host.daemon.child.pid) == 0


def test_an_administrators_own_is_kept_by_starts(host, writers):
    KNOB.write_text("1")
    start_and_run(host)
    assert value() == "1"
    assert writers.of(host.daemon.child.pid) == 0


def test_sluiced_is_killed_at_any_moment(host):
    random.seed(5)
    host.start_daemon()
    for _ in range(12):
        runs = [host.as_user(SLUICE, "run", "-q", "-p", "open", "--", "true") for _ in range(3)]
        time.sleep(random.uniform(0, 0.03))
        host.kill_daemon()
        assert comes_to("0")
        for run in runs:
            run.communicate(timeout=20)
        host.start_daemon()


def test_sluiced_on_a_read_only_sys(host):
    host.start_daemon(before=("unshare", "-m", "sh", "-c",
                              f"mount --bind {KNOB} {KNOB} && mount -o remount,bind,ro {KNOB} && "
                              "exec \"$0\" \"$@\""))
    host.ready()
    assert host.sluice_run("true").returncode == 0
    assert any("rcu_expedited: Read-only file system" in line for line in host.daemon.errors)
