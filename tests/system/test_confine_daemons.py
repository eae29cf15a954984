# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Ways out of `sluice run` through what stays behind: daemons, a run that is killed."""
import os
import pathlib
import socket
import subprocess

from confinelab import ONLY_PROBE, probe, refused
from lab import PYTHON, Agent, environment, until

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2):
            os.close(fd)
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(float(sys.argv[2]))
        open(sys.argv[1] + ".end", "w").close()
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]) or not os.path.getsize(sys.argv[1]):
    time.sleep(0.01)
"""


def alive(pid):
    return os.path.exists(f"/proc/{pid}") and \
        "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()


def test_a_daemon_that_stays_behind_is_killed(lab):
    mark = lab.new_folder() / "pid"
    assert lab.run(ONLY_PROBE, PYTHON, "-c", DAEMON, str(mark), "60").code == 0
    assert not alive(int(mark.read_text()))


def test_wait_waits_for_it(lab):
    mark = lab.new_folder() / "pid"
    assert lab.run(ONLY_PROBE, PYTHON, "-c", DAEMON, str(mark), "0.5", options=["--wait"]).code == 0
    assert os.path.exists(str(mark) + ".end")


SERVES = """
import os, socket, sys
u = socket.socket(socket.AF_UNIX)
u.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
u.listen()
if os.fork():
    os._exit(0)
os.setsid()
null = os.open("/dev/null", os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(null, fd)
c, _ = u.accept()
os.dup2(c.fileno(), 0)
os.dup2(c.fileno(), 1)
os.execv("/usr/bin/python3", ["python3", sys.argv[2]])
"""


class Remote:
    """A client that listens at a unix socket instead of standing behind pipes."""
    do, send, receive, cgroup = Agent.do, Agent.send, Agent.receive, Agent.cgroup

    def __init__(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(path))
        self.process = type("Process", (), {"stdin": s.makefile("w"),
                                            "stdout": s.makefile("r")})
        self.stderr = lambda: ""


def test_leave_leaves_it_enforced(lab):
    path = lab.new_folder() / "remote"
    done = lab.run(ONLY_PROBE, PYTHON, "-c", SERVES, str(path), str(lab.client),
                   options=["--leave"])
    assert done.code == 0
    where = done.err.split("left running, enforced, in ")[1].splitlines()[0]
    remote = Remote(path)
    probe(remote)
    refused(remote, lab)
    refused(remote, lab, "ping")
    assert os.path.isdir(where)
    pathlib.Path(where, "cgroup.kill").write_text("1")
    until(lambda: "populated 0" in pathlib.Path(where, "cgroup.events").read_text())
    lab.run(ONLY_PROBE, "true")
    assert not os.path.exists(where), "the next run removes what is left over"


def test_killed_run_still_enforces(lab):
    """kill -9 of `sluice run` while the command goes on."""
    path = lab.new_folder() / "remote"
    script = SERVES.replace("if os.fork():", "if False:")
    _, _, words = lab.prepare(ONLY_PROBE, ())
    run = subprocess.Popen(lab.inside() + words + [PYTHON, "-c", script, str(path),
                                                   str(lab.client)],
                           stderr=subprocess.DEVNULL, env=environment())
    assert until(path.exists)
    remote = Remote(path)
    probe(remote)
    run.kill()      # nsenter has become sluice
    run.wait()
    probe(remote)
    refused(remote, lab)
    refused(remote, lab, "udp")
    refused(remote, lab, "ping")
    where = pathlib.Path(remote.cgroup())
    (where / "cgroup.kill").write_text("1")
    assert until(lambda: "populated 0" in (where / "cgroup.events").read_text())
    lab.run(ONLY_PROBE, "true")
    assert not where.exists()
