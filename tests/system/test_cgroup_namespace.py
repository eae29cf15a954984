# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced where it sees cgroups from a place of its own: a DaemonSet's pod on a node with cgroup2
alone, a node that is itself a container (kind), and that DaemonSet's pod there."""
import os
import pathlib
import socket
import sys
import tempfile

import pytest

from echoes import Echo
from lab import SLUICE, cgroup2, sh, until
from ocilab import removed
from sluicedlab import DaemonHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

OPEN = "sluice: 1\nname: open\nrules:\n  - allow: {to: [127.0.0.1, '::1'], ports: 7001}\n"
SHUT = "sluice: 1\nname: shut\nrules: []\n"
# Each family: TCP and UDP to 7001, then to 7002.
PROBE = """
import socket
for family, to in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for port in (7001, 7002):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            sock = socket.socket(family, kind)
            sock.settimeout(3)
            try:
                sock.connect((to, port))
                kind == socket.SOCK_DGRAM and (sock.send(b"x"), sock.recv(1))
                print("yes")
            except OSError:
                print("no")
"""
ALL, SOME, NONE = ["yes"] * 8, ["yes", "yes", "no", "no"] * 2, ["no"] * 8
SHARED = "unshare -m --propagation slave"       # pins are to stay seen by process 1
# $1: the node's cgroup, $2: sluiced's own, $3: the mount of the whole hierarchy; then the command.
PLACES = {
    # cgroupns of its own, over the whole hierarchy, read-only: containerd does so without `privileged`
    "pod": f"""echo $$ >$2/cgroup.procs; hierarchy=$3; shift 3
        exec {SHARED} -C sh -c 'mount --bind {{hierarchy}} /sys/fs/cgroup &&
            mount -o remount,bind,ro /sys/fs/cgroup && exec "$@"' - "$@" """,
    "node": f"""echo $$ >$1/cgroup.procs; own=$2; export own; shift 3
        exec {SHARED} -C sh -c 'echo $$ >$own/cgroup.procs
            mount -t cgroup2 none /sys/fs/cgroup && exec "$@"' - "$@" """,
    "pod of a node": f"""echo $$ >$1/cgroup.procs; own=$2; export own; shift 3
        exec {SHARED} -C sh -c 'echo $$ >$own/cgroup.procs; mount -t cgroup2 none /sys/fs/cgroup &&
            exec {SHARED} -C "$0" "$@"' sh -c 'mount -o remount,bind,ro /sys/fs/cgroup && exec "$@"' - "$@" """,
}


class Nested(DaemonHost):
    """A node's cgroup; sluiced is below it, and so are its workloads."""

    def __init__(self, folder, place):
        super().__init__("sl-nest", folder)
        self.bpf = pathlib.Path(tempfile.mkdtemp(prefix="sl-nest-bpf-"))
        sh("mount", "-t", "bpf", "none", str(self.bpf))
        self.state = str(self.bpf / "sluice")
        self.env["SLUICE_STATE"] = self.state
        self.top = pathlib.Path(cgroup2()) / self.name
        self.node = self.top / "node"
        self.own = self.node / "system" / "sluiced"
        self.own.mkdir(parents=True)
        self.script = PLACES[place].replace("{hierarchy}", cgroup2())
        # its name where sluiced is
        self.base = f"/{self.name}/node" if place == "pod" else ""
        self.echo = Echo()
        for port in (7001, 7002):
            self.echo.add_tcp(lambda *a: self.within(lambda: socket.socket(*a)), port)
            self.echo.add_udp(lambda *a: self.within(lambda: socket.socket(*a)), port)

    def before(self):
        return ["sh", "-c", self.script, "-", self.node, self.own, cgroup2()]

    def make(self, name):
        path = self.node / name
        path.mkdir(parents=True)
        return path

    def probe(self, path):
        done = self.run("sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', path, sys.executable, "-c", PROBE)
        assert done.returncode == 0, done
        return done.stdout.split()

    def target(self, path):
        return next((t for t in self.full_status()["targets"] if t.get("cgroup") == path.stat().st_ino), None)

    def close(self):
        super().close()
        self.echo.close()
        sh("umount", str(self.bpf), check=False)
        self.bpf.rmdir()
        for below, _, _ in os.walk(self.top, topdown=False):
            assert until(lambda path=below: removed(path), 10), below


@pytest.fixture(name="host", params=list(PLACES))
def host_at_a_place(request, tmp_path):
    made = Nested(tmp_path, request.param)
    try:
        yield made
    finally:
        made.close()


def start(host, *targets):
    host.configure("sluiced: 1\ntargets:\n" + "".join(
        f'  - {{match: {{cgroup: "{host.base}{where}"}}, policy: {policy}}}\n' for where, policy in targets),
        open=OPEN, shut=SHUT)
    return host.start_daemon(before=host.before())


def judged(host, path, policy):
    assert until(lambda: (host.target(path) or {}).get("policy") == policy), (host.full_status(), host.daemon.errors)


def test_sockets_are_judged(host):
    """A default, and below it at other depths what has a policy of its own: levels are those that the kernel
    counts. Nobody else is judged."""
    above, other = host.make("pods"), host.make("other")
    mine, deep = host.make("pods/a/mine"), host.make("pods/a/deep/er")
    assert host.probe(mine) == host.probe(deep) == ALL            # nothing is enforced
    start(host, ("/pods", "shut"), ("/pods/*/mine", "open"))
    judged(host, above, "shut")
    judged(host, mine, "open")
    assert host.probe(mine) == SOME
    assert host.probe(deep) == host.probe(above) == NONE
    assert host.probe(other) == ALL
    status = host.full_status()
    assert not [w for w in status["warnings"] if "NOT ENFORCED" in w], status["warnings"]
    later = host.make("pods/b/mine")
    judged(host, later, "open")
    assert host.probe(later) == SOME


def test_ends_and_restarts(host):
    """A cgroup that is removed takes its target with it; what is pinned goes on without sluiced, and the next one
    takes it up."""
    gone, later, stays = host.make("pods/gone"), host.make("pods/later"), host.make("pods/stays")
    start(host, ("/pods/*", "open"))
    for path in (gone, later, stays):
        judged(host, path, "open")
    number = gone.stat().st_ino
    gone.rmdir()
    assert until(lambda: number not in [t.get("cgroup") for t in host.full_status()["targets"]])
    host.kill_daemon()
    assert host.probe(stays) == SOME
    number = later.stat().st_ino
    later.rmdir()
    start(host, ("/pods/*", "shut"))
    judged(host, stays, "shut")
    assert host.probe(stays) == NONE
    assert until(lambda: number not in [t.get("cgroup") for t in host.full_status()["targets"]])


def test_by_hand(host):
    """By the directory, and by the name that /proc has where sluice is. Of a mount of a part that it is not in
    the depth stays unknown: refused."""
    path = host.make("pods/mine")
    assert host.probe(path) == ALL
    policy = host.write(OPEN, "open.yaml")

    def sluice(*words):
        return host.run(*host.before(), SLUICE, *words, env=host.env)
    name = f"{host.base}/pods/mine"
    done = sluice("attach", "--cgroup", name, "-p", policy)
    assert done.returncode == 0, done
    assert host.probe(path) == SOME
    assert sluice("detach", "--cgroup", f"/sys/fs/cgroup{name}").returncode == 0
    assert host.probe(path) == ALL
    part = host.run(*host.before(), "sh", "-c", 'mount --bind "$1" /mnt && exec "$0" attach --cgroup /mnt -p "$2"',
                    SLUICE, f"/sys/fs/cgroup{name}", policy, env=host.env)
    assert part.returncode == 1 and "nor a cgroup that this process is in" in part.stderr, part
    assert host.probe(path) == ALL


def test_where_no_cgroup2_is_mounted(tmp_path):
    """Devices are judged there, and status says that no cgroup is."""
    host = Nested(tmp_path, "pod")
    try:
        host.make("pods/mine")
        host.configure(f'sluiced: 1\ntargets:\n  - {{match: {{cgroup: "{host.base}/pods/*"}}, policy: open}}\n', open=OPEN)
        unmounted = f"umount -l {cgroup2()} && exec \"$@\""
        host.start_daemon(before=["sh", "-c", f"exec {SHARED} sh -c '{unmounted}' - \"$@\"", "-"])
        warnings = host.full_status()["warnings"]
        assert any(w.startswith("cgroups: NOT ENFORCED: no cgroup2") for w in warnings), warnings
    finally:
        host.close()
