# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice alerts while it runs, and receivers of alerts that behave as they are told."""
import contextlib
import http.server
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import threading
import time

from cli_tools import SLUICE

DEADLINE = 30


def wait_for(what, seconds=DEADLINE):
    """What what() returns once it is true."""
    ends = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)


def now():
    moment = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 10 ** 9)) + \
        f".{moment % 10 ** 9:09d}Z"


def record(seq=None, **fields):
    written = {"time": now(), "event": "connection", "verdict": "deny", "reason": "rule",
               "target": {"kind": "device", "name": "vnet0"}, "direction": "egress",
               "destination": {"address": "192.0.2.1", "port": 443, "name": None},
               "process": {"pid": 1, "uid": 0, "comm": "curl"}, "count": 1, **fields}
    if seq is not None:
        written["seq"] = seq
    return written


class Alerts:
    """A running `sluice alerts`; its stderr is read all the time."""

    def __init__(self, folder, config, *words, prefix=(), **options):
        self.rules = pathlib.Path(folder) / "rules.yaml"
        self.rules.write_text(json.dumps({"alerts": 1, **config}))
        self.said = []
        self.process = subprocess.Popen(
            [*prefix, SLUICE, "alerts", "--rules", str(self.rules), *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **options)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        wait_for(lambda: self.has_said("ready") or self.process.poll() is not None)
        assert self.process.poll() is None, self.said

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))

    def has_said(self, text):
        return [line for line in self.said if text in line]

    def feed(self, *records):
        for written in records:
            self.process.stdin.write(json.dumps(written) + "\n")
        self.process.stdin.flush()

    def end(self, sign=signal.SIGTERM):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        status = self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.end()


class Receiver:
    """An HTTP server on loopback. answers: a status for each request in turn, the last for
    all that follow; a status may be (status, headers), or a function that is called
    with the handler and answers itself."""

    def __init__(self, *answers, port=0):
        self.answers = list(answers)
        self.requests = queue.Queue()   # (headers, body)
        self.got = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.take(self)

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def take(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.got.append((status, dict(handler.headers), body))
        if callable(status):
            status(handler)
            return
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        if status == 200:
            self.requests.put((dict(handler.headers), body))

    def next(self, seconds=DEADLINE):
        """The next alert that was taken with 200."""
        return json.loads(self.requests.get(timeout=seconds)[1])

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def dead_port():
    """A port of loopback on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def alive(pid):
    try:
        return status_of(pid)["State"][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def unix_server(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(4)
    server.settimeout(DEADLINE)
    try:
        yield server
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
