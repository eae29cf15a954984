# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced over cgroups of the test's, and what is reached from them."""
import os
import pathlib
import socket
import sys

import pytest

from lab import cgroup2
from sluicedlab import DaemonHost, until

OPEN = "sluice: 1\nname: open\nrules:\n  - allow: 127.0.0.1:7001/tcp\n"
SHUT = "sluice: 1\nname: shut\nrules: []\n"
PROBE = """
import socket, sys
for port in (7001, 7002):
    try:
        socket.create_connection(("127.0.0.1", port), 3).close()
        print("yes", end=" ")
    except ConnectionRefusedError:
        print("no", end=" ")
"""


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-c", tmp_path)
    made.top = pathlib.Path(cgroup2()) / made.name
    made.top.mkdir()
    made.group = "/" + made.name

    def listen(port):
        sock = socket.socket()
        sock.bind(("127.0.0.1", port))
        sock.listen(64)
        return sock
    socks = [made.within(lambda p=port: listen(p)) for port in (7001, 7002)]
    try:
        yield made
    finally:
        made.close()
        for sock in socks:
            sock.close()
        for below, _, _ in os.walk(made.top, topdown=False):
            os.rmdir(below)


def make(host, name):
    path = host.top / name
    path.mkdir(parents=True)
    return path


def probe(host, path):
    """(allowed port answers, the other does), asked from a process of the cgroup."""
    done = host.run("sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', path, sys.executable,
                    "-c", PROBE)
    assert done.returncode == 0, done
    words = done.stdout.split()
    return words[0] == "yes", words[1] == "yes"


def configured(host, *targets, **more):
    lines = "".join(f"  - {line}\n" for line in targets)
    defaults = "".join(f"  - {line}\n" for line in more.pop("defaults", ()))
    host.configure("sluiced: 1\ntargets:\n" + (lines or "  []\n") +
                   (f"defaults:\n{defaults}" if defaults else ""), open=OPEN, shut=SHUT, **more)


def by_cgroup(host, path, **want):
    """The target of the cgroup, once it has these values."""
    found = {}

    def look():
        found["t"] = next((t for t in host.full_status()["targets"]
                           if t.get("cgroup") == path.stat().st_ino), None)
        return found["t"] and found["t"]["attached"] and all(
            found["t"].get(k) == v for k, v in want.items())
    assert until(look), (path, want, found, host.daemon.errors)
    return found["t"]
