# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A network namespace of a test's own, and a program in it whose lines are waited for."""
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading

from lab import CLONE_NEWNET, SLUICE, environment, sh

WAIT = 15.0                     # nothing here takes this long unless it is broken
MAC = "52:54:00:12:34:56"       # a guest's
TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """Made in the constructor; close() deletes it, and what still runs in it."""

    def __init__(self, name):
        self.name = f"{name}-{os.getpid()}"
        self.children, self.fds = [], []
        sh("ip", "netns", "add", self.name)
        self.path = f"/run/netns/{self.name}"
        self.inside = ["nsenter", f"--net={self.path}"]
        self.ip("link set lo up")

    def ip(self, line):
        return sh("ip", "-n", self.name, *line.split())

    def batch(self, lines):
        """Many ip(8) commands, one process."""
        return sh("ip", "-n", self.name, "-batch", "-", input="\n".join(lines) + "\n")

    def ifindex(self, device):
        return json.loads(self.ip(f"-j link show {device}"))[0]["ifindex"]

    def address_of(self, device):
        return json.loads(self.ip(f"-j link show {device}"))[0]["address"]

    def run(self, *words, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL if "input" not in kw else None)
        if "input" in kw:
            del kw["stdin"]
        kw.setdefault("check", False)
        return subprocess.run([*self.inside, *map(str, words)], text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

    def start(self, *words, **kw):
        child = Lines([*self.inside, *map(str, words)], **kw)
        self.children.append(child)
        return child

    def within(self, function):
        """The function's value, called in this namespace."""
        result = []

        def call():
            try:
                with open(self.path, "rb") as f:
                    if libc.setns(f.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                result.append((function(), None))
            except BaseException as e:  # handed on to the caller's thread
                result.append((None, e))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        value, error = result[0]
        if error:
            raise error
        return value

    def tap(self, name):
        """A tap that lives as long as its descriptor, as qemu's do; the descriptor."""
        def make():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(),
                                                       IFF_TAP | IFF_NO_PI))
            except OSError:
                os.close(fd)
                raise
            return fd

        fd = self.within(make)
        self.fds.append(fd)
        return fd

    def drop(self, fd):
        self.fds.remove(fd)
        os.close(fd)

    def close(self):
        for child in self.children:
            child.close()
        for fd in list(self.fds):
            self.drop(fd)
        for pid in sh("ip", "netns", "pids", self.name, check=False).split():
            if pid.isdigit():
                with contextlib.suppress(ProcessLookupError):   # it ended meanwhile
                    os.kill(int(pid), signal.SIGKILL)
        sh("ip", "netns", "del", self.name, check=False)


class Lines:
    """A child whose output is lines (of JSON, if they look like it)."""

    def __init__(self, argv, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      text=True, **kw)
        self.lines, self.errors = [], []
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self.listen, args=pair, daemon=True)
                        for pair in ((self.child.stdout, self.lines),
                                     (self.child.stderr, self.errors))]
        for thread in self.threads:
            thread.start()

    def listen(self, stream, lines):
        for line in stream:
            with self.changed:
                lines.append(json.loads(line) if line.startswith("{") else line.rstrip("\n"))
                self.changed.notify_all()

    def wait(self, what, seconds=WAIT):
        """Until a line of the output holds: the first that does, or an error."""
        with self.changed:
            found = self.changed.wait_for(lambda: next(filter(what, self.lines), None), seconds)
            assert found, f"not told; output {self.lines}, errors {self.errors}"
        return found

    def wait_error(self, text, seconds=WAIT):
        with self.changed:
            found = self.changed.wait_for(
                lambda: next((e for e in self.errors if text in str(e)), None), seconds)
            assert found, f"no {text!r} in {self.errors}; output {self.lines}"
        return found

    def forget(self):
        """What was told so far does not count."""
        with self.changed:
            self.lines.clear()
            self.errors.clear()

    def signal(self, number):
        self.child.send_signal(number)

    def close(self):
        """Ends it; the exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
        try:
            self.child.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for thread in self.threads:
            thread.join()
        self.child.stdout.close()
        self.child.stderr.close()
        return self.child.returncode


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def udp_frame(bridge_mac, destination, payload, source="192.0.2.10", port=9, mac=MAC):
    """A guest's datagram, from its device to the bridge."""
    udp = struct.pack("!4H", 1, port, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                     socket.inet_aton(source), socket.inet_aton(destination))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return (bytes.fromhex(bridge_mac.replace(":", "")) + bytes.fromhex(mac.replace(":", "")) +
            b"\x08\x00" + ip + udp)


class Host(Namespace):
    """A namespace with a pinned state of its own, and the commands that work on it."""

    def __init__(self, name, folder):
        super().__init__(name)
        self.folder = folder
        self.state = f"/sys/fs/bpf/{self.name}"
        self.env = {**environment(), "SLUICE_STATE": self.state}

    def sluice(self, *words, **kw):
        return self.run(SLUICE, *words, env=self.env, **kw)

    def watch(self, *words):
        """`sluice watch`, once it has looked at what is there."""
        child = self.start(SLUICE, "watch", *words, "-o", "json", env=self.env)
        child.wait_error("others will follow")
        return child

    def status(self):
        """Targets by name."""
        done = self.sluice("status", "-o", "json")
        assert done.returncode == 0, done
        return {t["name"]: t for t in json.loads(done.stdout)["targets"]}

    def policy_of(self, device):
        target = self.status().get(device)
        return target and target["attached"] and target["policy"]

    def write(self, text, name="agent.yaml", mode=0o644):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def frame(self, destination, **more):
        """A datagram to the bridge br0, as a guest's device sends it."""
        return udp_frame(self.address_of("br0"), destination, b"data", **more)

    def rx_packets(self, device):
        return json.loads(self.ip(f"-j -s link show {device}"))[0]["stats64"]["rx"]["packets"]

    def close(self):
        super().close()
        shutil.rmtree(self.state, ignore_errors=True)
