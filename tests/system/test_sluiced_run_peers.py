# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice run` through sluiced: whose a connection is. It is one process's, which moves itself and nobody else."""
import json
import os
import signal
import sys

import pytest

from lab import SLUICE
from runslab import host  # noqa: F401
from runslab import GROUP, OTHER, USER
from sluicedlab import WAIT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def test_a_second_request_of_one_process(host):
    out = host.asked("print(json.dumps([ask('run', policy='shut'), ask('run', policy='open')]))")
    first, second = json.loads(out)
    assert first["ok"] and second["code"] == "denied"
    assert "under a policy already" in second["error"]
    host.ready()


def test_another_process_with_the_connection(host):
    """A child asks on its parent's connection: the parent, who connected, is moved."""
    out = host.asked("""
if not os.fork():
    s.sendall(b'{"sluice": 1, "op": "run", "policy": "shut"}\\n'); os._exit(0)
f.readline(); os.wait()
print(own())
""")
    assert host.place.name in out
    # and once that has ended, nobody is
    child = host.script("""
r, w = os.pipe()
if os.fork(): os._exit(0)
while os.getppid() != 1 and os.getppid() == int(sys.argv[2]): pass
print(json.dumps(ask('run', policy='open')), own(), flush=True)
""".replace("int(sys.argv[2])", "0"))
    out, err = child.communicate(timeout=WAIT)
    host.ready()
    assert err == "" and out


def test_the_process_that_connected_has_ended(host):
    out = host.asked("""
r, w = os.pipe()
pid = os.fork()
if pid:
    os.close(r); os._exit(0)          # the one that connected; w closes with it
os.close(w); os.read(r, 1)
while True:                           # until it is reaped, its number is its own
    try: os.kill(os.getppid(), 0)
    except OSError: pass
    answer = ask('run', policy='open')
    if not answer["ok"]: break
print(json.dumps(answer)); print(own())
""")
    answer, own = out.splitlines()
    assert json.loads(answer)["code"] == "denied" and "has ended" in answer, out
    assert host.place.name not in own
    host.ready()


@pytest.mark.parametrize("victim_uid", [OTHER, 0])
def test_the_number_is_anothers_by_then(host, victim_uid):
    """The process that connected is gone, and another user's has its number."""
    child = host.script("""
if os.fork(): os._exit(0)             # the one that connected
sys.stdin.readline()
print(json.dumps(ask('run', policy='shut')), flush=True)
""")
    number = child.pid
    child.wait(WAIT)                      # reaped: the number is free
    victim = host.process_with_number(number, victim_uid)
    try:
        where = victim.cgroup()
        child.stdin.write("\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
        assert answer["code"] == "denied", answer
        assert "has ended" in answer["error"] or "alone" in answer["error"]
        assert victim.cgroup() == where and victim.is_alive()
    finally:
        victim.kill()
    host.ready()


def test_a_child_that_was_forked_before_is_no_part(host):
    """It is the user's own and judged by nothing, as before; the end of the run spares it."""
    out = host.asked("""
r, w = os.pipe()
child = os.fork()
if not child:
    os.read(r, 1); print(own(), flush=True); os._exit(0)
before = own()
assert ask('run', policy='shut')['ok']
print(before, own(), flush=True)
os.write(w, b'x'); os.wait()
""")
    (before, after), (child,) = [line.split() for line in out.splitlines()]
    assert host.place.name in after and child == before
    host.ready()


def test_the_socket_is_closed_early(host):
    child = host.script("""
s.sendall(b'{"sluice": 1, "op": "run", "policy": "shut"}\\n'); f.close(); s.close()
print(own(), flush=True); sys.stdin.read()
""")
    child.stdout.readline()
    done = host.sluice_run("true")  # the request before was read, or never will be
    assert done.returncode == 0
    assert set(sum(host.populated().values(), [])) <= {str(child.pid)}
    child.communicate(timeout=WAIT)
    host.ready()


def test_the_client_dies_half_way(host):
    for point in ("", "time.sleep(0.002); ", "f.readline(); "):
        child = host.script("import time\ns.sendall(b'{\"sluice\": 1, \"op\": \"run\", "
                            f"\"policy\": \"shut\"}}\\n'); {point}os.kill(os.getpid(), 9)")
        child.communicate(timeout=WAIT)
        assert child.returncode == -signal.SIGKILL
        host.ready()


def test_privileged_processes_are_not_moved(host):
    """It connects as a user and is more when it asks: a set-uid program with his connection."""
    child = host.as_user(sys.executable, "-c", """
import json, os, socket, sys
os.setgroups([%d])
os.setresuid(%d, %d, 0)               # real and effective are the user's, saved is root's
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rb")
s.sendall(b'{"sluice": 1, "op": "run", "policy": "open"}\\n')
print(f.readline().decode())
""" % (GROUP, USER, USER), host.socket, uid=0, gid=0)
    out, err = child.communicate(timeout=WAIT)
    answer = json.loads(out)
    assert answer["code"] == "denied" and "alone" in answer["error"], err
    done = host.run("setpriv", f"--reuid={USER}", f"--regid={USER}", f"--groups={GROUP}",
                    "--inh-caps=+net_raw", "--ambient-caps=+net_raw", SLUICE, "run", "-p", "open",
                    "--", "true", env={**os.environ, **host.env})
    assert done.returncode == 125 and "has capabilities" in done.stderr, done
    host.ready()
