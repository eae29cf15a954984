# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Engines as Debian 12 has them: below a systemd of the test's own, cgroup2 alone, its root a cgroup of
the test's. sluiced is outside, where it sees all of it."""
import json
import os
import pathlib
import shutil
import socketserver
import subprocess
import tempfile
import threading

from lab import cgroup2, until
from ocilab import HOOK, MOUNTS, PROBE, OciHost, removed

SYSTEMD = "/lib/systemd/systemd"
# Process 1 of its namespaces. Of this machine's units it knows none, of its cgroups its own.
ENTER = f"""
mount --make-rprivate /
mount -t tmpfs units /run
mount -t tmpfs state /var/lib
mount -t sysfs sysfs /sys
touch /run/host-cgroups
mount --bind /proc/self/fd/9 /run/host-cgroups
exec 9<&-
mkdir /run/units
printf '[Unit]\\nDefaultDependencies=no\\n' >/run/units/lab.target
mount -t cgroup2 own /sys/fs/cgroup
export container=sluice-test SYSTEMD_UNIT_PATH=/run/units
exec {SYSTEMD} --system --unit=lab.target --show-status=no --log-target=null
"""


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers GET /containers/json with `answer`, and holds GET /events until `told` is called."""
    daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            path = self.rfile.readline().split()[1]
            while self.rfile.readline().strip():
                pass
            if path.startswith(b"/events"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while self.server.news.acquire() and not self.server.ended:
                    self.wfile.write(b"3\r\n{}\n\r\n")
                return
            self.server.asked += 1
            body = self.server.answer
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def __init__(self, path):
        super().__init__(str(path), self.Handler)
        self.answer, self.asked, self.ended, self.news = b"[]", 0, False, threading.Semaphore(0)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def says(self, *containers):
        self.answer = json.dumps([{"Id": i, "Names": [f"/{n}"], "Labels": labels} for i, n, labels in containers]).encode()
        self.news.release()

    def close(self):
        self.ended = True
        self.news.release()
        self.shutdown()
        self.server_close()


# runc, without what this machine may not give: limits want CAP_SYS_RESOURCE, which --privileged asks for.
RUNC = """#!/usr/bin/python3
import json, os, sys
NAMES = ("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
         "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
         "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control "
         "setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore")
have = int(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("CapBnd")), 16)
held = {"CAP_" + n.upper() for i, n in enumerate(NAMES.split()) if have >> i & 1}
for word in ("--bundle", "--process"):
    if word not in sys.argv:
        continue
    path = sys.argv[sys.argv.index(word) + 1]
    path = path if word == "--process" else path + "/config.json"
    spec = json.load(open(path))
    process = spec if word == "--process" else spec["process"]
    process.pop("rlimits", None)
    process.pop("oomScoreAdj", None)
    for kind, given in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [c for c in given if c in held]
    json.dump(spec, open(path, "w"))
os.execv("/usr/sbin/runc", ["runc", *sys.argv[1:]])
"""
FOLDERS = ("bin", "lib", "lib64", "usr", "etc", "proc", "sys", "dev", "run", "tmp", "var/log/journal")
HOLD = ("sleep", "1000")
FIRST = 200000                  # the host's uid of a container's root that has a namespace


class Box(OciHost):
    """A machine in namespaces: its network, its process 1, its cgroups below `top`."""

    def __init__(self, name, folder):
        super().__init__(name, folder)
        self.top = pathlib.Path(cgroup2()) / self.name
        self.top.mkdir()
        self.first = subprocess.Popen(
            [*self.inside, "sh", "-c",
             f'echo $$ >{self.top}/cgroup.procs && exec 9</proc/self/ns/cgroup && '
             'exec unshare -mpCf --mount-proc --kill-child sh -ec "$0"', ENTER],
            stdin=subprocess.DEVNULL)
        self.enter = []
        assert until(self.is_up, 20)
        for name in ("subuid", "subgid"):
            (folder / name).write_text(f"nobody:{FIRST}:65536\n")
            assert self.do("mount", "--bind", folder / name, f"/etc/{name}").returncode == 0

    def is_up(self):
        children = pathlib.Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children")
        if not children.read_text().split():
            return False
        self.enter = ["nsenter", "-t", children.read_text().split()[0], "-m", "-n", "-p", "-C"]
        return self.do("systemctl", "is-system-running").stdout == "running\n"

    def do(self, *words, **more):
        """A command on it."""
        return subprocess.run([*self.enter, *map(str, words)], text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, check=False, timeout=60, **more)

    def stop_daemon(self):
        """And what it gave."""
        if self.daemon:
            self.daemon.close()
            self.sluice("detach", "--all")
        self.daemon = None

    def policies(self):
        """{container: its policy}"""
        return {name: t["policy"] for name, t in self.containers().items()}

    def close(self):
        self.stop_daemon()
        self.first.kill()
        self.first.wait()
        assert until(lambda: all([removed(p) for p, _, _ in os.walk(self.top, topdown=False)])
                     and not self.top.exists())
        super().close()


class Engine:
    """What both have: a folder of the test's, a root file system of this machine's programs, `runc`."""
    own = ()                    # of `run`, beside the rest

    def __init__(self, box):
        self.box = box
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="sl-e"))
        self.base.chmod(0o755)
        self.runc, self.rootfs = self.base / "runc", self.base / "rootfs"
        self.runc.write_text(RUNC)
        self.runc.chmod(0o755)
        for folder in FOLDERS:
            (self.rootfs / folder).mkdir(parents=True)

    def __call__(self, *words):
        return self.box.do(*self.words, *words)

    def run(self, name, *options, args=("/usr/bin/python3", "-c", PROBE), network="host"):
        return self("run", "--name", name, "--network", network, *self.own, *MOUNTS, *options,
                    *self.image, *args)

    def hold(self, name, *options, **more):
        done = self.run(name, "--detach", *options, args=HOLD, **more)
        assert done.returncode == 0, done

    def probe(self, name, *options):
        """What a process says that is started in it."""
        done = self("exec", *options, name, "/usr/bin/python3", "-c", PROBE)
        assert done.returncode == 0, done
        return done.stdout.split()

    def is_removed(self):
        for at in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            if at.split()[1].startswith(f"{self.base}/"):
                subprocess.run(["umount", at.split()[1]], check=False)
        shutil.rmtree(self.base, ignore_errors=True)
        return not self.base.exists()


class Docker(Engine):
    """dockerd, a service of the box's systemd."""
    image = ("empty",)
    own = ("--stop-signal", "KILL")     # a `sleep` that is process 1 ends by no other

    def __init__(self, box, driver, *more):
        super().__init__(box)
        self.data, self.socket, self.starts = self.base / "data", self.base / "s", 0
        self.words = ["/usr/bin/docker", "-H", f"unix://{self.socket}"]
        self.service = [
            "dockerd", "-H", f"unix://{self.socket}", "--data-root", self.data, "--exec-root",
            self.base / "exec", "--pidfile", self.base / "pid", "--iptables=false", "--ip6tables=false",
            "--bridge=none", "--storage-driver", "vfs", "--exec-opt", f"native.cgroupdriver={driver}",
            "--add-runtime", f"bare={self.runc}", "--default-runtime", "bare", *more]
        self.start()
        subprocess.run(["tar", "-C", self.rootfs, "-cf", self.base / "i.tar", "."], check=True)
        done = self("import", self.base / "i.tar", "empty")
        assert done.returncode == 0, done

    @property
    def unit(self):
        return f"docker-{self.base.name}-{self.starts}"

    def start(self):
        self.starts += 1        # what a container's shim leaves keeps the one before
        done = self.box.do("systemd-run", f"--unit={self.unit}", "-p", "DefaultDependencies=no", "-p",
                           "Delegate=yes", "-p", "KillMode=process", "-p",
                           f"StandardError=file:{self.base}/log", *self.service)
        assert done.returncode == 0, done
        assert until(lambda: self("version").returncode == 0, 20), (self.base / "log").read_text()

    def stop(self):
        self.box.do("systemctl", "stop", self.unit)

    def close(self):
        ids = self("ps", "-aq").stdout.split()
        if ids:
            self("rm", "-f", *ids)
        self.stop()
        assert until(self.is_removed), os.listdir(self.base)


class Podman(Engine):
    """podman; the hook asks from where sluiced is, whose cgroups the box does not see."""
    own = ("--security-opt", "seccomp=unconfined", "--pids-limit", "-1")

    def __init__(self, box, manager, outside=True):
        """outside: the hook asks in the cgroup namespace that sluiced is in."""
        super().__init__(box)
        hook = json.loads((pathlib.Path(__file__).parents[2] / "deploy/oci/sluice.json").read_text())
        asks = self.base / "hook"
        enter = "nsenter --cgroup=/run/host-cgroups" if outside else ""
        asks.write_text(f'#!/bin/sh\nexec {enter} {HOOK} --socket {box.socket} "$@"\n')
        asks.chmod(0o755)
        hook["hook"].update(path=str(asks), args=["sluice-oci-hook"])
        (self.base / "hooks.d").mkdir()
        (self.base / "hooks.d" / "sluice.json").write_text(json.dumps(hook))
        self.image = ("--rootfs", self.rootfs)
        self.words = ["podman", "--root", self.base / "root", "--runroot", self.base / "run",
                      "--tmpdir", self.base / "tmp", "--storage-driver", "vfs", "--cgroup-manager",
                      manager, "--events-backend", "none", "--hooks-dir", self.base / "hooks.d",
                      "--runtime", self.runc]

    def close(self):
        self("rm", "--all", "--force", "--time", "0")
        assert until(self.is_removed), os.listdir(self.base)
