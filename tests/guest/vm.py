# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A guest to talk to: agent.py runs in it and obeys over a serial channel."""
import ctypes
import json
import pathlib
import signal
import socket
import subprocess
import time

import kernels

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
AGENT = [PYTHON, str(HERE / "agent.py")]
BOOT_S = 120            # on two cores that others use too; alone it takes 9
ANSWER_S = 30
LIFE_S = 1800           # no guest outlives this, whatever happens to its test
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class GuestError(Exception):
    """Where and with which errno an action in the guest failed."""

    def __init__(self, result):
        super().__init__(f"{result['at']}: {result['errno']}")
        self.result = result


class Channel:
    """The host's end of the agent's serial channel."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(1)
        self.buffer = b""

    def open(self, path, alive):
        """Waits until the agent is there; alive() raises when that is hopeless."""
        end = time.monotonic() + BOOT_S
        while not self._connected(path):
            alive()
            if time.monotonic() > end:
                raise TimeoutError(f"nobody listens at {path}")
            time.sleep(0.05)
        while not self._poll():
            alive()
            if time.monotonic() > end:
                raise TimeoutError("the guest's agent did not start")
        assert json.loads(self._line()) == {"ready": True}

    def _connected(self, path):
        try:
            self.socket.connect(str(path))
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def _poll(self):
        """One reading; is there a whole line?"""
        try:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("the guest is gone")
            self.buffer += data
        except socket.timeout:
            pass
        return b"\n" in self.buffer

    def _line(self):
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def send(self, kind, **request):
        self.socket.sendall(json.dumps({"kind": kind, **request}).encode() + b"\n")

    def receive(self, wait=ANSWER_S):
        end = time.monotonic() + wait
        while b"\n" not in self.buffer and not self._poll():
            if time.monotonic() > end:
                raise TimeoutError(f"no answer from the guest in {wait} s")
        return json.loads(self._line())

    def try_(self, kind, wait=ANSWER_S, **request):
        """{"errno", "at", "ms", "reply"} as client.py has them."""
        self.send(kind, **request)
        return self.receive(wait)

    def do(self, kind, wait=ANSWER_S, **request):
        """What must succeed; its reply."""
        result = self.try_(kind, wait, **request)
        if result["errno"] is not None:
            raise GuestError(result)
        return result["reply"]

    def sh(self, script, wait=ANSWER_S):
        return self.do("command", wait, argv=["/bin/sh", "-ec", script])

    def close(self):
        self.socket.close()


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Guest(Channel):
    """A guest of boot's. start() returns at once, so that two can boot side by
    side; wait() when it can be talked to."""

    def __init__(self, inside, tap, mac, folder, kernel="6.12", append=""):
        """inside: the words before a command that put it into a namespace."""
        super().__init__()
        kernels.get(kernel)     # on a fresh machine a download, longer than any boot
        self.path, self.mac = folder / "channel", mac
        self.errors = open(folder / "boot", "w+b")
        self.process = subprocess.Popen(
            [*inside, str(HERE / "boot"), "--timeout", str(LIFE_S), "--memory", "512M",
             "--cpus", "1", "--tap", f"{tap}={mac}", "--channel", str(self.path),
             "--append", append, kernel, *AGENT],
            stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors,
            preexec_fn=end_with_parent)

    def wait(self):
        self.open(self.path, self.alive)

    def alive(self):
        if self.process.poll() is not None:
            self.errors.seek(0)
            said = self.errors.read()[-4000:].decode(errors="replace")
            raise RuntimeError(f"boot ended with {self.process.returncode}: {said}")

    def close(self):
        super().close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()
