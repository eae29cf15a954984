# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""tests/tools/sinks_feed, and readers that count what it writes."""
import json
import os
import pathlib
import re
import socket
import subprocess
import threading

from lab import SLUICE, until

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", pathlib.Path(SLUICE).parent))
FEED = BUILD / "tests" / "sinks_feed"
NUMBERS = re.compile(rb'"seq":(\d+)')
LOST = re.compile(rb'"event":"lost","first":(\d+)')


class Feed:
    """Sinks that are told what to do, line by line."""

    def __init__(self, *specs, stdout=subprocess.DEVNULL, prefix=()):
        self.child = subprocess.Popen([*prefix, str(FEED), *map(str, specs)], text=True,
                                      stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                      stdout=stdout)
        self.said = self.answer()["said"]

    def answer(self):
        line = self.child.stderr.readline()
        assert line, f"sinks_feed is gone: {self.child.poll()}"
        return json.loads(line)

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.answer()

    def put(self, n, name=b""):
        """n records; name: of a question. The number that the next record gets."""
        return self.ask(f"put {n} {name[::-1].hex()}")["next"]

    def stats(self, which=0):
        return self.ask("stats")["sinks"][which]

    def written(self, which=0, seconds=20):
        """Until nothing waits for that sink; its stats."""
        done = lambda: (lambda s: s["queued"] == 0 and not s["failing"] and s)(self.stats(which))
        return until(done, seconds) or self.stats(which)

    def close(self):
        if self.child.poll() is None:
            self.child.stdin.close()
            self.child.wait(30)
        self.child.stderr.close()


class Counter:
    """Proves of a stream that no number is missing."""

    def __init__(self, first=None):
        self.next, self.records, self.lost = first, 0, 0

    def take(self, line):
        seq = NUMBERS.search(line)
        if not seq:
            return                      # hello
        seq = int(seq.group(1))
        gap = LOST.search(line)
        first = int(gap.group(1)) if gap else seq
        assert self.next in (None, first), f"{self.next} is missing before {line[:200]}"
        self.next = seq + 1
        if gap:
            self.lost += seq - first + 1
        else:
            self.records += 1

    def file(self, *paths):
        for path in paths:
            for line in pathlib.Path(path).read_bytes().splitlines():
                self.take(line)
        return self


class Reader:
    """A client of a unix sink, in a thread."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.counter, self.changed, self.error = Counter(), threading.Condition(), None
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            with self.sock.makefile("rb") as lines:
                hello = json.loads(lines.readline())
                assert hello["event"] == "hello"
                with self.changed:
                    self.counter.next = hello["next"]
                    self.changed.notify_all()
                for line in lines:
                    self.counter.take(line)
                    with self.changed:
                        self.changed.notify_all()
        except (AssertionError, OSError) as e:
            self.error = e

    def wait(self, number, seconds=60):
        """Until everything before this number is accounted for."""
        with self.changed:
            done = self.changed.wait_for(lambda: self.error or (self.counter.next or 0) >= number,
                                         seconds)
        assert done and not self.error, (self.counter.next, number, self.error)
        return self.counter

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.sock.close()


# The same in a process, for SIGSTOP: prints what it counted when the stream ends.
COUNT = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from sinkslab import Counter
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[2])
count, lines = Counter(), sock.makefile("rb")
lines.readline()
print("ready", flush=True)
for line in lines:
    count.take(line)
print(count.records, count.lost, count.next)
"""
