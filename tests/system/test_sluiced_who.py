# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Who may ask what of the control socket (docs/control.md): root all; members of the group runs
under listed policies, and to see their own; nobody else anything."""
import json
import os
import pathlib
import stat
import sys

import pytest

from lab import SLUICE, cgroup2
from runslab import ASK, GROUP, OTHER, PROBE, STRANGER, USER, RunsHost, ended, staying
from sluicedlab import WAIT, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

# uid 0 of a user namespace of one's own
AS_ITS_ROOT = """
import ctypes, os
me = os.getuid()
assert not ctypes.CDLL(None).unshare(0x10000000)
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"0 {me} 1")
assert os.getuid() == 0
"""
ASKS = """
for request in json.loads(sys.argv[2]):
    s.sendall(json.dumps({"sluice": 1, **request}).encode() + b"\\n")
    print(json.dumps(json.loads(f.readline())), flush=True)
"""
WHO = {"a member": {}, "another member": {"uid": OTHER},
       "a stranger": {"uid": STRANGER, "groups": ()},
       "a stranger by his group": {"uid": STRANGER, "groups": (), "gid": GROUP},
       "root of his namespace": {"first": AS_ITS_ROOT}}
ANY = "sluice: 1\nname: any\ndefault: allow\nrules: []\n"


@pytest.fixture(scope="module", name="host")
def host_of_module():
    with RunsHost.started() as made:
        yield made


@pytest.fixture(name="cgroup")
def cgroup_of_root(host):
    """A target of root's; and that root may do what the others are refused."""
    path = pathlib.Path(cgroup2()) / f"{host.name}-roots"
    path.mkdir()
    try:
        with host.connect() as root:
            assert root.ask("attach", cgroup=str(path), text=ANY.replace("any", "roots"))["ok"]
        yield path
        with host.connect() as root:
            assert root.ask("apply")["ok"]
            assert root.ask("detach", cgroup=str(path))["ok"]
    finally:
        path.rmdir()


def state(host):
    """All that a change would show in."""
    full = host.full_status()
    return ([(t["name"], t["policy"], t["generation"]) for t in full["targets"]],
            full["daemon"]["config"]["reloads"])


def asked(host, requests, first="", **who):
    child = host.as_user(sys.executable, "-c", first + ASK + ASKS, host.socket,
                         json.dumps(requests), **who)
    out, err = child.communicate(timeout=WAIT)
    assert child.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def changes(own, others, roots):
    """Requests that would change something, of one's own and of others'."""
    for path in (own, others, roots):
        yield {"op": "attach", "cgroup": str(path), "text": ANY}
        yield {"op": "attach", "cgroup": str(path), "policy": "/etc/hosts"}
        yield {"op": "attach", "cgroup": str(path), "text": ANY, "audit": True}
        yield {"op": "detach", "cgroup": str(path)}
        yield {"op": "container", "id": "c" * 64, "cgroup": str(path), "name": "x", "labels": {}}
    yield {"op": "attach", "device": "lo", "text": ANY}
    yield {"op": "detach", "device": "lo"}
    yield {"op": "detach", "all": True}
    yield {"op": "apply"}
    yield {"op": "run", "policy": "agent"}      # there is such a file: it is not listed
    yield {"op": "run", "policy": "../policies.d/open"}
    yield {"op": "run", "policy": "/etc/sluice/policies.d/open.yaml"}


def test_the_socket_is_the_groups(host):
    st = os.stat(host.socket)
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (0, GROUP, 0o660)


@pytest.mark.parametrize("words", [("status",), ("monitor",), ("rules", "--cgroup", "/x"), ("top", "--batch", "-n", "1"),
                                   ("apply",), ("detach", "--all"), ("run", "-p", "open", "--", "true"),
                                   ("attach", "--cgroup", "/x", "-p", "x.yaml")],
                         ids=lambda words: words[0])
def test_who_is_in_no_group_does_not_even_connect(host, words):
    before = state(host)
    done = host.done(SLUICE, *words, uid=STRANGER, groups=())
    assert done.returncode not in (0, 2) and "Permission denied" in done.stderr, done
    assert state(host) == before


@pytest.mark.parametrize("who", WHO)
def test_who_is_not_root_changes_nothing(host, cgroup, who):
    """Of nobody's, his own runs' included: also where the socket's mode lets everybody in, and
    as another root."""
    child, name = staying(host)
    other, others_name = staying(host, uid=OTHER)
    os.chmod(host.socket, 0o666)
    try:
        before = state(host)
        requests = list(changes(host.place / name, host.place / others_name, cgroup))
        for request, answer in zip(requests, asked(host, requests, **WHO[who]), strict=True):
            assert not answer["ok"] and answer["code"] == "denied", (request, answer)
        assert state(host) == before
    finally:
        os.chmod(host.socket, 0o660)
        child.communicate(timeout=WAIT)
        ended(host, other)


@pytest.mark.parametrize("who", [w for w in WHO if w != "a member"])
def test_who_is_not_root_sees_nothing_of_others(host, cgroup, who):
    child, name = staying(host)
    os.chmod(host.socket, 0o666)
    path = str(host.place / name)
    if who == "root of his namespace":
        who = {"first": AS_ITS_ROOT, "uid": OTHER}      # the run is USER's
    else:
        who = WHO[who]
    try:
        hello, status, rules, roots = asked(host, [
            {"op": "hello"}, {"op": "status"}, {"op": "rules", "cgroup": path},
            {"op": "rules", "cgroup": str(cgroup)}], **who)
        assert hello["ok"] and hello["root"] is False and hello["uid"] == who.get("uid", USER)
        assert status["ok"] and status["targets"] == [] and set(status["daemon"]) == {
            "version", "pid", "since"}
        assert name not in json.dumps(status) and cgroup.name not in json.dumps(status)
        for answer in (rules, roots):
            assert not answer["ok"] and "no run of yours" in answer["error"], answer
    finally:
        os.chmod(host.socket, 0o660)
        ended(host, child)


def test_a_monitor_of_a_stranger_is_silent(host):
    """What members and root do is no news to him."""
    os.chmod(host.socket, 0o666)
    watcher = host.script("assert ask('monitor')['ok']\nprint(flush=True)\n"
                          "for line in f: print(line.decode(), flush=True)\n",
                          uid=STRANGER, groups=())
    try:
        assert watcher.stdout.readline() == "\n"
        done = host.sluice_run(sys.executable, "-c", PROBE)
        assert done.stdout.split() == ["yes", "no"] * 2, done
        with host.connect() as root:
            assert root.ask("apply")["ok"]
        host.ready()
    finally:
        os.chmod(host.socket, 0o660)
        watcher.kill()
    assert watcher.communicate(timeout=WAIT)[0] == ""


def test_a_run_is_a_members_alone(host):
    """The same request of each; where it is granted a process is in the run, else none."""
    os.chmod(host.socket, 0o666)
    try:
        for who, options in WHO.items():
            granted = who not in ("a stranger", "root of his namespace")
            answer, = asked(host, [{"op": "run", "policy": "open"}], **options)
            assert answer["ok"] == granted, (who, answer)
            if not granted:
                assert answer["code"] == "denied", answer
            assert until(lambda: not host.populated())
    finally:
        os.chmod(host.socket, 0o660)
    host.ready()
