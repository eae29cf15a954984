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
from ocilab import HOOK, MOUNTS, PROBE, WRAPPER, OciHost, Podman, removed

SYSTEMD = "/lib/systemd/systemd"
# Process 1 of its namespaces. Of this machine's units it knows none, of its cgroups its own.
ENTER = f"""
mount --make-rprivate /
mount -t tmpfs units /run
mount -t tmpfs state /var/lib
mount -t sysfs sysfs /sys
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


class Box(OciHost):
    """A machine in namespaces: its network, its process 1, its cgroups below `top`."""

    def __init__(self, name, folder):
        super().__init__(name, folder)
        self.top = pathlib.Path(cgroup2()) / self.name
        self.top.mkdir()
        self.first = subprocess.Popen(
            [*self.inside, "sh", "-c",
             f'echo $$ >{self.top}/cgroup.procs && exec unshare -mpCf --mount-proc --kill-child '
             'sh -ec "$0"', ENTER], stdin=subprocess.DEVNULL)
        self.enter = []
        assert until(self.is_up, 20)

    def is_up(self):
        pid = pathlib.Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()
        if not pid:
            return False
        self.enter = ["nsenter", "-t", pid[0], "-m", "-n", "-p", "-C"]
        return self.do("systemctl", "is-system-running").stdout == "running\n"

    def do(self, *words, **more):
        """A command on it, in a cgroup below its root."""
        return subprocess.run([*self.enter, *map(str, words)], text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, check=False, timeout=60, **more)

    def close(self):
        if self.daemon:
            self.daemon.close()
        self.sluice("detach", "--all")
        self.first.kill()
        self.first.wait()
        assert until(lambda: all([removed(p) for p, _, _ in os.walk(self.top, topdown=False)])
                     and not self.top.exists())
        super().close()
