# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Ways out through descriptors, cgroups, families of sockets and namespaces."""
import errno
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading

import pytest

from confinelab import DGRAM, INET, KEEP, ONLY_PROBE, STREAM, refused
from lab import ECHO, PEER4, PEER6, PYTHON, cgroup2, sh, until
from ocilab import removed


# ---- descriptors ----

@pytest.mark.parametrize("options", [(), (KEEP,)], ids=["confined", "kept"])
def test_inherited_sockets_are_closed(lab, options):
    """Their cgroup is their creator's: no policy would hold for them."""
    s = lab.socket(lab.workload, INET, DGRAM)
    r, w = os.pipe()
    with s:
        agent = lab.sluice(ONLY_PROBE, *options, pass_fds=[s.fileno(), r])
        fds = agent.do("descriptors")["reply"]
        assert "socket" not in fds and r in fds.values() or "pipe" in fds
        done = agent.close()
        assert f"not passed on: descriptor {s.fileno()} (inet datagram socket)" in done.err
    os.close(r)
    os.close(w)


def test_none_of_our_own_descriptors_are_passed_on(lab):
    names = lab.sluice(ONLY_PROBE).do("descriptors")["reply"]
    assert not [n for n in names if "bpf" in n or "anon" in n or "cgroup" in n], names


@pytest.mark.parametrize("descriptor", ["stdin", "stdout", "stderr"])
def test_a_socket_as_standard_stream_is_refused(lab, descriptor):
    with lab.socket(lab.workload, INET, DGRAM) as s:
        _, _, words = lab.prepare(ONLY_PROBE, ())
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, descriptor: s}
        done = subprocess.run(lab.inside() + words + ["true"], text=True, timeout=30,
                              check=False, **streams)
        assert done.returncode == 125
        if descriptor != "stderr":
            assert "made outside the command's cgroup" in done.stderr


class Handover:
    """A unix socket at which a process outside takes a socket, or gives one."""

    def __init__(self, path, give=None):
        self.path, self.give, self.got = str(path), give, None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen()
        self.listener.settimeout(10)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with self.listener, self.listener.accept()[0] as c:
            if self.give:
                socket.send_fds(c, [b"x"], [self.give.fileno()])
                return
            _, fds, _, _ = socket.recv_fds(c, 1, 1)
            self.got = socket.socket(fileno=fds[0])
            self.got.settimeout(2)
            c.send(b"x")


def test_a_socket_from_outside_keeps_its_creators_cgroup(lab):
    """Documented as open: a helper outside that hands over sockets speaks for it."""
    path = lab.new_folder() / "give"
    to = lab.fresh()
    with lab.socket(lab.workload, INET, STREAM) as s:
        helper = Handover(path, s)
        agent = lab.sluice(ONLY_PROBE)
        assert agent.do("take", path=str(path), hold="s")["errno"] is None
        helper.thread.join()
        assert agent.do("use", use="s", to=to, port=ECHO)["reply"] == "hello"
    assert not agent.close().events
    assert lab.wire.seen(to)


@pytest.fixture(name="namespace", params=[False, True], ids=["", "in a cgroup namespace"])
def words_before(request):
    """Before `sluice run`: as it is, or two cgroups deep in a namespace that hides them."""
    if not request.param:
        yield ()
        return
    node = pathlib.Path(cgroup2()) / f"sl-confine-{os.getpid()}"
    below = node / "below"
    below.mkdir(parents=True)
    yield ("sh", "-c", 'echo 0 >"$0/cgroup.procs"; exec unshare -C -m sh -c \'mount -t cgroup2 none '
           '/sys/fs/cgroup && exec "$@"\' - "$@"', str(below))
    for path in (below, node):
        assert until(lambda path=path: removed(path))


def test_a_socket_given_to_a_task_outside(lab, namespace):
    """The target's policy stays on it, and a task outside may not connect it."""
    path, to = lab.new_folder() / "take", lab.fresh()
    helper = Handover(path)
    agent = lab.sluice(ONLY_PROBE, before=namespace)
    agent.do("open_socket", family=INET, type=STREAM, hold="s")
    assert agent.do("give", use="s", path=str(path))["errno"] is None
    helper.thread.join()
    for destination in (PEER4, to):
        with pytest.raises(ConnectionRefusedError):
            helper.got.connect((destination, ECHO))
    helper.got.close()
    events = agent.close().events
    assert [e["reason"] for e in events] == ["foreign-task"] * 2
    assert {e["process"]["pid"] for e in events} == {os.getpid()}
    assert not lab.wire.seen(to)


def test_a_datagram_socket_given_to_a_task_outside(lab):
    """Unconnected sends are foreign-task; on a connected one only the policy speaks."""
    path, to = lab.new_folder() / "take", lab.fresh()
    helper = Handover(path)
    agent = lab.sluice(ONLY_PROBE)
    agent.do("open_socket", family=INET, type=DGRAM, hold="s")
    assert agent.do("use", use="s", to=PEER4, port=ECHO)["reply"] == "hello"
    agent.do("give", use="s", path=str(path))
    helper.thread.join()
    helper.got.send(b"hello")
    assert helper.got.recv(64) == b"hello"
    for destination in (PEER4, to):
        with pytest.raises(OSError, match="No route to host"):
            helper.got.sendto(b"hello", (destination, ECHO))
    helper.got.close()
    assert [e["reason"] for e in agent.close().events] == ["foreign-task"] * 2
    assert not lab.wire.seen(to)


def test_pidfd_getfd_takes_no_socket_from_outside(lab):
    code = ("import os,ctypes,sys\n"
            "fd=os.pidfd_open(int(sys.argv[1]))\n"
            "l=ctypes.CDLL(None,use_errno=True)\n"
            "got=[n for n in range(3,300) if l.syscall(438,fd,n,0)>=0]\n"
            "print(got, os.path.exists(f'/proc/{sys.argv[1]}/root/etc'))\n")
    with lab.socket(lab.workload, INET, STREAM) as s:
        holder = subprocess.Popen(["sleep", "30"], pass_fds=[s.fileno()], user="nobody",
                                  group="nogroup", extra_groups=[])
        try:
            free = sh(PYTHON, "-c", code, str(holder.pid), user="nobody", group="nogroup",
                      extra_groups=[])
            if free.startswith("[]"):
                pytest.skip("this kernel forbids it to everybody (yama)")
            done = lab.run(ONLY_PROBE, PYTHON, "-c", code, str(holder.pid),
                           options=["--user", "nobody"])
            if "/proc/PID/root" in done.err or "may be traced" in done.err:
                pytest.skip("no Landlock scopes here; the summary names it as open")
            assert done.out == "[] False\n"
        finally:
            holder.kill()
            holder.wait()


# ---- cgroups and programs ----

def end(path):
    """Ends every process of a cgroup; removes it and what is below."""
    (path / "cgroup.kill").write_text("1")
    assert until(lambda: "populated 0" in (path / "cgroup.events").read_text())
    for below in path.glob("*/"):
        below.rmdir()
    path.rmdir()


@pytest.fixture
def elsewhere():
    """A cgroup that nobody may write to: delegated to him."""
    path = pathlib.Path(cgroup2()) / f"sl-delegated-{os.getpid()}"
    path.mkdir()
    for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
        shutil.chown(path / name, "nobody")
    yield path
    end(path)


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_task_cannot_leave_its_cgroup(lab, elsewhere, user):
    options = ["--user", user]
    agent = lab.sluice(ONLY_PROBE, *options)
    own = agent.cgroup()
    for path in (elsewhere, pathlib.Path(cgroup2()), pathlib.Path(own)):
        for name in ("cgroup.procs", "cgroup.threads"):
            assert agent.do("write", path=str(path / name))["errno"] in ("EROFS", "EACCES", "EPERM")
    assert agent.do("command", argv=["mkdir", own + "/child"])["errno"]
    assert agent.do("command", argv=["mount", "-t", "cgroup2", "none", "/mnt"])["errno"]
    assert agent.do("command", argv=["mount", "-o", "remount,rw", cgroup2()])["errno"]
    assert agent.cgroup() == own
    refused(agent, lab)


def test_a_delegated_parent_cgroup_lets_nobody_out(lab, elsewhere):
    """Run from inside a cgroup that is the user's own, as systemd's user slices are."""
    into = [PYTHON, "-c", "import os,sys; open(sys.argv[1],'w').write('0'); "
            "os.execvp(sys.argv[2], sys.argv[2:])", str(elsewhere / "cgroup.procs")]
    agent = lab.sluice(ONLY_PROBE, "--user", "nobody", before=into)
    own = agent.cgroup()
    assert own.startswith(str(elsewhere) + "/")
    for path in (elsewhere, elsewhere.parent):
        assert agent.do("write", path=str(path / "cgroup.procs"))["errno"] in ("EROFS", "EACCES")
    userns = ["unshare", "-Urm", "sh", "-c", f"mount -o remount,rw,bind {cgroup2()} || "
              f"echo 0 > {elsewhere}/cgroup.procs"]
    assert agent.do("command", argv=userns)["errno"]
    fresh = ["unshare", "-UrmC", "sh", "-c", "mount -t cgroup2 none /mnt && "
             "echo $$ > /mnt/../cgroup.procs && cat /mnt/cgroup.procs"]
    agent.do("command", argv=fresh)
    assert agent.cgroup() == own
    refused(agent, lab)
    agent.close()


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_child_cannot_be_born_outside(lab, elsewhere, user):
    """nobody: from inside a cgroup that is delegated to him."""
    into = [PYTHON, "-c", "import os,sys; open(sys.argv[1],'w').write('0'); "
            "os.execvp(sys.argv[2], sys.argv[2:])", str(elsewhere / "cgroup.procs")]
    agent = lab.sluice(ONLY_PROBE, "--user", user, before=into)
    to = lab.fresh()
    try:
        result = agent.do("clone_into", path=str(elsewhere if user == "nobody" else cgroup2()),
                          action={"kind": "tcp", "to": to, "port": ECHO})
        assert result["at"] == "clone3", result
        assert not lab.wire.seen(to)
    finally:
        agent.close()


@pytest.mark.parametrize("options", [(), ("--user", "nobody")], ids=["root", "nobody"])
def test_programs_cannot_be_detached_from_inside(lab, options):
    """Neither by attach nor by opening pins; with all capabilities gone bpf() is EPERM."""
    agent = lab.sluice(ONLY_PROBE, *options)
    path = agent.cgroup()
    shown = sh("bpftool", "cgroup", "show", path)
    assert "sluice_packet" in shown and "sluice_connect4" in shown
    ids = [line.split()[0] for line in shown.splitlines() if "cgroup_inet_egress" in line]
    assert agent.do("command", argv=["/usr/sbin/bpftool", "cgroup", "detach", path,
                                     "cgroup_inet_egress", "id", ids[0], "multi"])["errno"]
    assert agent.do("command", argv=["/usr/sbin/bpftool", "map", "update", "name", "sl_words",
                                     "key", "0", "0", "0", "0", "value", *["0"] * 8])["errno"]
    assert sh("bpftool", "cgroup", "show", path) == shown
    refused(agent, lab)


# ---- socket families ----

FAMILIES = """
import ctypes, errno
call = ctypes.CDLL(None, use_errno=True).syscall
numbers = [*range(130), *(1 << bit for bit in range(7, 32)), 0xffffffff, 0x80000011, 2 | 1 << 20]
pair = (ctypes.c_int * 2)()
for number in (41, 53):  # socket, socketpair on x86-64
    for family in [*numbers, *(n | 1 << 32 for n in range(64))]:
        ctypes.set_errno(0)
        call(ctypes.c_long(number), ctypes.c_ulong(family), ctypes.c_long(2), ctypes.c_long(0), pair)
        print(number, family, ctypes.get_errno())
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64's system calls")
def test_every_family_is_refused_but_those_that_are_judged(lab):
    """Whatever stands in the upper half of the register, which the kernel does not look at."""
    def answers(*before):
        lines = sh(*before, PYTHON, "-c", FAMILIES).splitlines()
        return {tuple(map(int, line.split()[:2])): int(line.split()[2]) for line in lines}
    nobody = ("setpriv", "--reuid=nobody", "--clear-groups")
    plain = answers(*nobody)
    assert plain[41, 17] == errno.EPERM and plain[41, 1] == plain[53, 1] == 0
    confined = answers(*lab.prepare(ONLY_PROBE, ("--user", "nobody", "-q"))[2])
    for (call, family), error in confined.items():
        kept = family & 0xffffffff in (0, 1, 2, 10, 16, 38)
        assert error == (plain[call, family] if kept else errno.EAFNOSUPPORT), (call, family)


def directions(path):
    """The map that tells sluice_packet at each of its hooks which it is, and its keys."""
    shown = json.loads(sh("bpftool", "-j", "cgroup", "show", path))
    ids = [p["id"] for p in shown if p["name"] == "sluice_packet"]
    assert len(ids) == 2 and ids[0] == ids[1], "one program at both hooks"
    for number in json.loads(sh("bpftool", "-j", "prog", "show", "id", str(ids[0])))["map_ids"]:
        if json.loads(sh("bpftool", "-j", "map", "show", "id", str(number)))["name"] == "sl_directions":
            dump = json.loads(sh("bpftool", "-j", "map", "dump", "id", str(number)))
            return str(number), [(entry["key"], entry["value"]) for entry in dump]
    raise AssertionError("no sl_directions")


@pytest.mark.parametrize("to", [PEER4, PEER6], ids=["v4", "v6"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_packet_whose_direction_is_not_known_is_refused(lab, to, which):
    """One program is at both hooks; before it is told where it is, nothing passes."""
    agent = lab.sluice(ONLY_PROBE)
    number, entries = directions(agent.cgroup())
    key, value = entries[which]
    assert len(entries) == 2 and entries[0][1] != entries[1][1]
    update = ["bpftool", "map", "update", "id", number, "key", *key, "value"]
    assert agent.do("tcp", to=to, port=ECHO, timeout=2.0)["errno"] is None
    sh(*update, *["0"] * len(value))
    assert agent.do("tcp", to=to, port=ECHO, timeout=0.5)["errno"]
    sh(*update, *value)
    assert agent.do("tcp", to=to, port=ECHO, timeout=2.0)["errno"] is None


# ---- what the kernel starts outside ----

REQUEST_KEY = {"x86_64": 249, "aarch64": 218}
KEYS = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
for about in (None, b"about"):
    libc.syscall(int(sys.argv[1]), b"user", sys.argv[2].encode(), about, 0)
    print(errno.errorcode[ctypes.get_errno()])
"""


@pytest.fixture(name="keys_made")
def stands_for_request_key(tmp_path):
    """Which keys the kernel had made; None where the machine has a program for it."""
    path, log = pathlib.Path("/sbin/request-key"), tmp_path / "made"
    if path.exists():
        yield None
        return
    log.touch()
    path.write_text(f'#!/bin/sh\necho "$1" >>{log}\n')
    path.chmod(0o755)
    try:
        yield lambda: len(log.read_text().splitlines())
    finally:
        path.unlink()


def test_no_key_is_made_outside(lab, keys_made):
    """/sbin/request-key runs in no cgroup of ours, and keyutils' asks DNS for what it is told."""
    number = str(REQUEST_KEY[os.uname().machine])
    for option, said, made in ((KEEP, "ENOKEY", 1), ("--user=nobody", "EPERM", 0)):
        before = keys_made() if keys_made else 0
        done = lab.run(ONLY_PROBE, PYTHON, "-c", KEYS, number, f"sluice:{option}:{os.getpid()}",
                       options=[option])
        assert done.out.split() == ["ENOKEY", said]
        assert not keys_made or keys_made() - before == made


# ---- namespaces, setuid, ptrace ----

@pytest.mark.parametrize("flags", [["-Ur"], ["-Urn"], ["-Urnm"], ["-UrpfC"]])
def test_namespaces_inside(lab, flags):
    """A user namespace brings no capability over the wire; a network namespace no way to it."""
    agent = lab.sluice(ONLY_PROBE, "--user", "nobody")
    to = lab.fresh()
    for kind, extra in (("tcp", {}), ("udp", {}), ("ping", {}), ("raw_icmp", {"no_reply": True}),
                        ("make_socket", {"family": 17, "type": 3})):
        request = '{"kind": "%s", "to": "%s", "port": %d, "timeout": 0.5%s}' % (
            kind, to, ECHO, "".join(f', "{k}": {str(v).lower()}' for k, v in extra.items()))
        result = agent.do("command", argv=["unshare", *flags, PYTHON, str(lab.client), request])
        if "Operation not permitted" in str(result["errno"]) and "unshare" in result["errno"]:
            pytest.skip("no user namespaces for ordinary users here")
        assert '"errno": null' not in str(result["reply"]), (kind, result)
    assert not lab.wire.seen(to)
    refused(agent, lab)


def test_setuid_programs_bring_nothing(lab):
    """A copy of python, setuid root: no_new_privs keeps the user."""
    copy = lab.new_folder() / "python"
    shutil.copy("/usr/bin/python3", copy)
    copy.chmod(0o4755)
    plain = ["setpriv", "--reuid=nobody", "--clear-groups", str(copy), "-c",
             "import os; print(os.geteuid())"]
    if sh(*plain).strip() != "0":
        pytest.skip("setuid has no effect on this file system")
    done = lab.run(ONLY_PROBE, str(copy), "-c", "import os; print(os.geteuid())",
                   options=["--user", "nobody"])
    assert done.out == "65534\n"


def test_ptrace_reaches_nothing_outside(lab):
    code = ("import ctypes,sys\n"
            "l=ctypes.CDLL(None,use_errno=True)\n"
            "print(l.ptrace(16,int(sys.argv[1]),0,0))\n")    # PTRACE_ATTACH
    victim = subprocess.Popen(["sleep", "30"], user="nobody", group="nogroup", extra_groups=[])
    try:
        done = lab.run(ONLY_PROBE, PYTHON, "-c", code, str(victim.pid),
                       options=["--user", "nobody"])
        if "may be traced" in done.err:
            pytest.skip("no Landlock scopes here; the summary names it as open")
        assert done.out == "-1\n"
    finally:
        victim.kill()
        victim.wait()
