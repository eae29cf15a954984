# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A server of metrics, in a namespace: what it is told, what is read there."""
import http.client
import json
import pathlib
import socket
import subprocess

import pytest

from lab import sh, until
from sinkslab import BUILD

FEED = BUILD / "tests" / "metrics_feed"
ROOT = pathlib.Path(__file__).parents[2]
PORT = 9477


class Server:
    """tests/tools/metrics_feed in a namespace."""

    def __init__(self, host, *words):
        self.host = host
        self.child = subprocess.Popen([*host.inside, str(FEED), *map(str, words)], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
        line = self.child.stdout.readline()
        assert line, self.child.stderr.read()

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    @property
    def server_pid(self):
        """Of the process that speaks HTTP: the child's child."""
        pid = self.ask("pid")["pid"]
        return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def close(self):
        self.child.kill()
        self.child.wait()
        until(lambda: not sh("ip", "netns", "pids", self.host.name))    # its children go with it
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            stream.close()


@pytest.fixture
def serve(host):
    made = []

    def make(*words):
        made.append(Server(host, *words))
        return made[-1]
    yield make
    for each in made:
        each.close()


def connect(host, port=PORT, seconds=10):
    sock = host.within(lambda: socket.socket(socket.AF_INET))
    sock.settimeout(seconds)
    sock.connect(("127.0.0.1", port))
    return sock


class Http(http.client.HTTPConnection):
    def __init__(self, make):
        super().__init__("sluice", timeout=10)
        self.make = make

    def connect(self):
        self.sock = self.make()


def get(make, path="/metrics", method="GET", **headers):
    """(status, headers, body)."""
    client = Http(make)
    client.request(method, path, headers=headers)
    answer = client.getresponse()
    body = answer.read().decode()
    client.close()
    return answer.status, dict(answer.getheaders()), body


def scrape(host):
    status, _, body = get(lambda: connect(host))
    assert status == 200
    return body


def lint(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout
