# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The seed systems' laboratory: a workload's network namespace, the outside, and
probes that run inside the workload, under Sluice or not.

As a program: `serve` is the outside's server, `drive` runs the probes.
"""
import errno
import json
import os
import pathlib
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
SLUICE = os.environ.get("SLUICE", str(BUILD / "sluice"))
PYTHON = "/usr/bin/python3"

GATEWAY4, GATEWAY6 = "10.77.0.1", "fd77::1"
TCP_PORTS = (22, 53, 80, 443, 853, 5432, 8080)
UDP_PORTS = (53, 80, 123, 443, 5432)
NAMES = {"web.example": "203.0.113.10"}         # what every resolver answers


def sh(*words):
    subprocess.run(words, check=True, stdout=subprocess.PIPE)


# --- namespaces ---------------------------------------------------------------

class Lab:
    """Workload --veth-- outside. The outside is the default gateway and has every
    other address, with a server on each."""

    def __init__(self, label, addresses):
        tag = f"{label[:20]}-{os.getpid()}"
        self.workload, self.outside = f"slw-{tag}", f"slo-{tag}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"sluice-{tag}-"))
        self.folder.chmod(0o755)        # the probes have other users
        self.runs = 0
        self.server = None
        try:
            self.connect(addresses)
            self.serve([GATEWAY4, GATEWAY6, *addresses])
        except BaseException:
            self.close()
            raise

    def connect(self, addresses):
        for name in (self.workload, self.outside):
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "-n", self.workload, "link", "add", "eth0", "type", "veth",
           "peer", "name", "eth0", "netns", self.outside)
        for name, last in ((self.workload, 2), (self.outside, 1)):
            sh("ip", "-n", name, "addr", "add", f"10.77.0.{last}/24", "dev", "eth0")
            sh("ip", "-n", name, "addr", "add", f"fd77::{last}/64", "dev", "eth0", "nodad")
            sh("ip", "-n", name, "link", "set", "eth0", "up")
        for address in addresses:
            family6 = ":" in address
            sh("ip", "-n", self.outside, "addr", "add", address + ("/128" if family6 else "/32"),
               "dev", "lo", *(["nodad"] if family6 else []))
        sh("ip", "-n", self.workload, "route", "add", "default", "via", GATEWAY4)
        sh("ip", "-n", self.workload, "-6", "route", "add", "default", "via", GATEWAY6)

    def serve(self, addresses):
        self.server = subprocess.Popen([*self.inside(self.outside), PYTHON, __file__, "serve",
                                        *addresses], stdout=subprocess.PIPE, text=True)
        if self.server.stdout.readline() != "ready\n":
            raise RuntimeError("the outside's server did not start")

    @staticmethod
    def inside(namespace):
        # not `ip netns exec`: it mounts a /sys of its own, without cgroup2
        return ["nsenter", f"--net=/run/netns/{namespace}", "--"]

    def resolve_by(self, servers):
        """Words that give a command an /etc/resolv.conf of its own."""
        path = self.folder / "resolv.conf"
        path.write_text("".join(f"nameserver {server}\n" for server in servers))
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                f"mount --bind {path} /etc/resolv.conf && exec \"$@\"", "sh"]

    def run(self, probes, policy=None, options=(), proxy=None, resolvers=()):
        """Runs the probes in the workload, under the policy if there is one."""
        self.runs += 1
        spec, results, log = (self.folder / f"{self.runs}.{what}"
                              for what in ("spec", "results", "log"))
        spec.write_text(json.dumps({"probes": probes, "proxy": proxy,
                                    "folder": str(self.folder)}))
        words = self.inside(self.workload)
        if resolvers:
            words += self.resolve_by(resolvers)
        if policy:
            words += [SLUICE, "run", "-p", str(policy), "--log", str(log), *options, "--"]
        words += [PYTHON, __file__, "drive", str(spec), str(results)]
        env = {key: value for key, value in os.environ.items() if not key.startswith("SUDO_")}
        done = subprocess.run(words, env=env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        print(done.stdout)              # pytest shows it if the test fails
        assert done.returncode == 0, done.stdout
        events = [json.loads(line) for line in log.read_text().splitlines()] if policy else []
        return Outcome(json.loads(results.read_text()), events, done.stdout)

    def close(self):
        if self.server:
            self.server.kill()
            self.server.wait()
        for name in (self.workload, self.outside):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Outcome:
    """Results by probe name, and the events."""

    def __init__(self, results, events, text):
        self.results = results
        self.events = events
        self.text = text

    def __getitem__(self, name):
        return self.results[name]

    def events_to(self, address, port):
        return [event for event in self.events
                if (event["destination"]["address"], event["destination"]["port"]) ==
                (address, port)]


def probe(how, to, port, uid=None, name=None):
    """A probe: `tcp` connects and asks, `udp` sends and waits for the echo."""
    return {"how": how, "to": to, "port": port, "uid": uid,
            "name": name or f"{how} {to} {port}" + (f" uid {uid}" if uid is not None else "")}


def command(name, words, uid=None):
    return {"how": "command", "words": words, "uid": uid, "name": name}


# --- the outside's server -----------------------------------------------------

def dns_answer(question):
    """A for the names that we have; everything else has no records."""
    end = question.index(b"\0", 12) + 1
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    address = NAMES.get(".".join(labels).lower())
    wants_a = question[end:end + 2] == b"\0\1"
    answers = 1 if address and wants_a else 0
    reply = question[:2] + struct.pack("!HHHHH", 0x8180, 1, answers, 0, 0) + question[12:end + 4]
    if answers:
        reply += struct.pack("!HHHIH", 0xc00c, 1, 1, 60, 4) + socket.inet_aton(address)
    return reply


def talk(connection):
    """One request on a TCP connection: DNS on port 53, else HTTP (CONNECT's too)."""
    with connection:
        connection.settimeout(5)
        address, port = connection.getsockname()[:2]
        try:
            data = connection.recv(4096)
            while data.startswith((b"GET", b"HEAD")) and b"\r\n\r\n" not in data:
                data += connection.recv(4096)
            if port == 53 and len(data) > 14 and not data.startswith(b"GET"):
                reply = dns_answer(data[2:])
                connection.sendall(struct.pack("!H", len(reply)) + reply)
            elif data:
                body = f"reached {address} {port}\n".encode()
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s"
                                   % (len(body), body))
            # closing with something unread would be a reset, which may outrun the answer
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        except OSError:
            pass


def answer_datagram(sock):
    data, sender = sock.recvfrom(4096)
    is_dns = sock.getsockname()[1] == 53 and len(data) > 16 and not data.startswith(b"probe")
    try:
        sock.sendto(dns_answer(data) if is_dns else data, sender)
    except OSError:
        pass


def listen(address, port, kind):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


def serve(addresses):
    selector = selectors.DefaultSelector()
    for address in addresses:
        for port in TCP_PORTS:
            sock = listen(address, port, socket.SOCK_STREAM)
            selector.register(sock, selectors.EVENT_READ, "tcp")
        for port in UDP_PORTS:
            sock = listen(address, port, socket.SOCK_DGRAM)
            selector.register(sock, selectors.EVENT_READ, "udp")
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data == "udp":
                answer_datagram(key.fileobj)
            else:
                threading.Thread(target=talk, args=(key.fileobj.accept()[0],), daemon=True).start()


# --- the probes, inside the workload --------------------------------------------

def become(uid):
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def ask(sock, kind, target):
    if kind == "udp":
        sock.sendto(b"probe", target)
        return sock.recvfrom(64)[0] == b"probe"
    sock.connect(target)
    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
    data = b""
    while chunk := sock.recv(4096):
        data += chunk
    return b"reached" in data


def socket_probe(spec):
    family = socket.AF_INET6 if ":" in spec["to"] else socket.AF_INET
    kind = socket.SOCK_DGRAM if spec["how"] == "udp" else socket.SOCK_STREAM
    result = {"arrived": False, "error": None}
    start = time.monotonic()
    with socket.socket(family, kind) as sock:
        sock.settimeout(3)
        try:
            result["arrived"] = ask(sock, spec["how"], (spec["to"], spec["port"]))
        except TimeoutError:
            result["error"] = "timeout"
        except OSError as error:
            result["error"] = errno.errorcode.get(error.errno, str(error))
    result["ms"] = (time.monotonic() - start) * 1000
    return result


def command_probe(spec):
    start = time.monotonic()
    done = subprocess.run(spec["words"], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    return {"code": done.returncode, "output": done.stdout,
            "ms": (time.monotonic() - start) * 1000}


def one_probe(spec):
    """In a child, as the probe's user."""
    readable, writable = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            become(spec["uid"])
            result = command_probe(spec) if spec["how"] == "command" else socket_probe(spec)
        except BaseException as error:  # the parent must learn of it
            result = {"failed": repr(error)}
        with os.fdopen(writable, "w") as out:
            json.dump(result, out)
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text)


class Tinyproxy:
    """Debian's tinyproxy under a uid of its own, on 127.0.0.1."""

    def __init__(self, spec, folder):
        config = pathlib.Path(folder) / "tinyproxy.conf"
        config.write_text(f"Port {spec['port']}\nListen 127.0.0.1\nTimeout 20\nMaxClients 20\n"
                          "LogLevel Connect\n")
        uid = str(spec["uid"])
        self.process = subprocess.Popen(
            ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "tinyproxy", "-d",
             "-c", str(config)], stdin=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", spec["port"])):
                    return
            time.sleep(0.02)
        raise RuntimeError("tinyproxy does not listen")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def drive(spec_path, results_path):
    spec = json.loads(pathlib.Path(spec_path).read_text())
    proxy = Tinyproxy(spec["proxy"], spec["folder"]) if spec["proxy"] else None
    try:
        results = {item["name"]: one_probe(item) for item in spec["probes"]}
    finally:
        if proxy:
            proxy.stop()
    pathlib.Path(results_path).write_text(json.dumps(results))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    else:
        drive(*sys.argv[2:])
