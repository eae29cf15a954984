# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A host with a sluiced of its own: namespace, pins, socket, configuration."""
import json
import os
import pathlib
import signal
import socket
import threading
import time

from devlab import MAC, Host, WAIT, udp_frame
from lab import SLUICE, until

SLUICED = os.environ.get("SLUICED", str(pathlib.Path(SLUICE).parent / "sluiced"))
AGENT = "sluice: 1\nname: agent\nrules:\n  - allow: {to: 192.0.2.0/24, ports: 9, protocol: udp}\n"
CONFIG = 'sluiced: 1\ntargets:\n  - match: {device: "vnet*"}\n    policy: agent\n'


class DaemonHost(Host):
    """Configuration in FOLDER/etc; the daemon by start_daemon."""

    def __init__(self, name, folder):
        super().__init__(name, folder)
        self.socket = str(folder / "run" / "s.sock")
        self.env["SLUICE_SOCKET"] = self.socket
        self.daemon = None

    def configure(self, text=CONFIG, **policies):
        """Files in their place as an editor puts them: renamed, the configuration last."""
        for name, policy in {"agent": AGENT, **policies}.items():
            self.put(f"policies.d/{name}.yaml", policy)
        return self.put("sluiced.yaml", text)

    def put(self, name, text):
        path = self.folder / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name("." + path.name + ".new")
        new.write_text(text, encoding="utf-8")
        new.rename(path)
        return path

    def start_daemon(self, *words, wait=True, before=()):
        self.daemon = self.start(*before, SLUICED, "-c", self.folder / "etc" / "sluiced.yaml", *words,
                                 env=self.env)
        if wait:
            self.daemon.wait_error("sluiced: ready")
        return self.daemon

    def kill_daemon(self):
        self.daemon.child.kill()
        self.daemon.child.wait(WAIT)

    def full_status(self):
        done = self.sluice("status", "-o", "json")
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def attached(self, device, **want):
        """Waits until the target has these values; the target."""
        found = {}

        def look():
            target = next((t for t in self.full_status()["targets"] if t["name"] == device), None)
            found["target"] = target
            return target and target["attached"] and all(target.get(k) == v
                                                          for k, v in want.items())
        assert until(look), (device, want, found, self.daemon and self.daemon.errors)
        return found["target"]

    def veth(self, name, up=True):
        self.ip(f"link add {name} type veth peer name p{name}")
        if up:
            self.ip(f"link set {name} up")
            self.ip(f"link set p{name} up")

    def connect(self):
        """A raw connection to the control socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(WAIT)
        sock.connect(self.socket)
        return Control(sock)


class Control:
    def __init__(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def receive(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def ask(self, op, **fields):
        self.send({"sluice": 1, "op": op, **fields})
        return self.receive()

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Prober:
    """A guest on a tap of br0 that sends without rest, every millisecond one frame that is
    to pass (192.0.2.1) and one that is not (198.51.100.1); what arrives is compared."""

    def __init__(self, host, name="vnet0"):
        self.host, self.name = host, name
        host.ip("link add br0 type bridge")
        host.ip("addr add 192.0.2.1/24 dev br0")
        host.ip("addr add 198.51.100.1/32 dev br0")
        host.ip("link set br0 up")
        self.tap = host.tap(name)
        host.ip(f"link set {name} master br0")
        host.ip(f"link set {name} up")
        self.bridge = host.address_of("br0")
        self.sock = host.within(self.listen)
        self.stopped = threading.Event()
        self.sent = 0
        self.got, self.leaked = set(), []
        self.threads = []

    @staticmethod
    def listen():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.settimeout(0.2)
        sock.bind(("0.0.0.0", 9))
        return sock

    def send(self, destination, payload):
        os.write(self.tap, udp_frame(self.bridge, destination, payload))

    def arrives(self, destination, seconds=0.3):
        """One frame alone."""
        token = os.urandom(8)
        self.send(destination, token)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.sock.recv(100) == token:
                    return True
            except TimeoutError:
                pass
        return False

    def run(self):
        while not self.stopped.is_set():
            try:
                self.send("192.0.2.1", b"yes %d" % self.sent)
                self.send("198.51.100.1", b"no %d" % self.sent)
            except BlockingIOError:
                continue
            self.sent += 1
            time.sleep(0.001)

    def hear(self):
        while True:
            try:
                word, number = self.sock.recv(100).split()
            except TimeoutError:
                if self.stopped.is_set():
                    return
                continue
            if word == b"yes":
                self.got.add(int(number))
            else:
                self.leaked.append(int(number))

    def start(self):
        self.threads = [threading.Thread(target=f) for f in (self.run, self.hear)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        """(sent, allowed frames that did not arrive, denied ones that did)"""
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        return self.sent, self.sent - len(self.got), len(self.leaked)

    def close(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.sock.close()


__all__ = ["AGENT", "CONFIG", "Control", "DaemonHost", "MAC", "Prober", "SLUICED", "WAIT", "signal",
           "udp_frame", "until"]
