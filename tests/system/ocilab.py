# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Containers of real runtimes whose first action is a connection, on a host of the test's own."""
import contextlib
import errno
import functools
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile

from lab import SLUICE, cgroup2, until
from sluicedlab import DaemonHost

HOOK = os.environ.get("SLUICE_OCI_HOOK", str(pathlib.Path(SLUICE).parent / "sluice-oci-hook"))
RUNTIME = str(pathlib.Path(SLUICE).parent / "sluice-oci-runtime")
ADDRESSES = ("192.0.2.1", "2001:db8::1")
UDP = 7003
# What each workload does first of all: both families, one port that the policy may allow and
# one that it never does; before that a datagram to what it never allows.
PROBE = """
import socket
out = []
for address in ("192.0.2.1", "2001:db8::1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.socket(family, socket.SOCK_DGRAM).sendto(b"x", (address, 7003))
        out.append("yes")
    except OSError:
        out.append("no")
    for port in (7001, 7002):
        try:
            socket.create_connection((address, port), 5).close()
            out.append("yes")
        except OSError:
            out.append("no")
print(*out, flush=True)
"""
ALL = ["yes"] * 6
SOME = ["no", "yes", "no"] * 2
NONE = ["no"] * 6
WIDE = ["no", "yes", "yes"] * 2


def rules(*ports):
    lines = "".join(f"  - allow: {{to: [192.0.2.1, '2001:db8::1'], ports: {port}}}\n"
                    for port in ports)
    return lines or " []\n"


def policy(name, *ports):
    listed = rules(*ports)
    return f"sluice: 1\nname: {name}\nrules:{chr(10) if ports else ''}{listed}"


# What ALL and the others are called after: policies of the tests of containers.
POLICIES = {"agent": policy("agent", 7001), "wide": policy("wide", "[7001, 7002]"), "shut": policy("shut")}


def removed(path):
    try:
        os.rmdir(path)
    except OSError as e:
        return e.errno == errno.ENOENT
    return True


class OciHost(DaemonHost):
    """Listeners on both families; cgroups of the test's own; close() takes all away."""

    def __init__(self, name, folder):
        super().__init__(name, folder)
        self.group = self.name
        self.ip("address add 192.0.2.1/32 dev lo")
        self.ip("address add 2001:db8::1/128 dev lo nodad")
        self.tcp = {p: [self.within(lambda a=a, p=p: self.listen(a, p)) for a in ADDRESSES]
                    for p in (7001, 7002)}
        self.udp = [self.within(lambda a=a: self.listen(a, UDP)) for a in ADDRESSES]
        self.root = folder / "rootfs"

    @staticmethod
    def listen(address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM if port == UDP else socket.SOCK_STREAM)
        sock.bind((address, port))
        if port != UDP:
            sock.listen(64)
        return sock

    def arrived(self):
        """[datagrams, connections to 7001, to 7002] since it was last asked."""
        counts = []
        for socks in (self.udp, self.tcp[7001], self.tcp[7002]):
            n = 0
            while ready := select.select(socks, [], [], 0)[0]:
                for sock in ready:
                    if sock.type == socket.SOCK_DGRAM:
                        sock.recv(64)
                    else:
                        sock.accept()[0].close()
                    n += 1
            counts.append(n)
        return counts

    # ---- runc ----

    def runc(self, *words, **kw):
        return self.run("runc", "--root", self.folder / "runc", *words, **kw)

    @contextlib.contextmanager
    def inner_namespace(self, *gateways):
        """A network namespace behind a veth, whose default routes lead over these addresses of
        the host's; its path."""
        name = f"{self.name}-in"
        run = functools.partial(subprocess.run, check=True)
        run(["ip", "netns", "add", name])
        try:
            self.ip(f"link add toin type veth peer name eth0 netns {name}")
            self.ip("link set toin up")
            inner = ["ip", "-n", name]
            for words in ("link set lo up", "link set eth0 up", "address add 10.9.9.2/24 dev eth0",
                          "address add 2001:db8:9::2/64 dev eth0 nodad"):
                run([*inner, *words.split()])
            self.ip("address add 10.9.9.1/24 dev toin")
            for address in ("2001:db8:9::1/64", "2001:db8::1/128"):     # the lo answers no neighbour
                self.ip(f"address add {address} dev toin nodad")
            for gateway in gateways:
                run([*inner, "route", "add", "default", "via", gateway, "dev", "eth0", "onlink"])
            yield f"/run/netns/{name}"
        finally:
            run(["ip", "netns", "del", name])

    def bundle(self, name, hook=(), annotations=None, args=None, netns=None):
        """A bundle whose root file system is this machine's programs, read only."""
        path = self.folder / f"bundle-{name}"
        shutil.rmtree(path, ignore_errors=True)
        (path / "rootfs").mkdir(parents=True)
        subprocess.run(["runc", "spec"], cwd=path, check=True)
        spec = json.loads((path / "config.json").read_text())
        self.trim(spec)
        spec["process"].update(terminal=False, args=args or ["/usr/bin/python3", "-c", PROBE])
        for d in ("bin", "lib", "lib64", "usr"):
            (path / "rootfs" / d).mkdir()
            spec["mounts"].append({"destination": f"/{d}", "type": "bind",
                                   "source": os.path.realpath(f"/{d}"), "options": ["rbind", "ro"]})
        for space in spec["linux"]["namespaces"]:
            if space["type"] == "network":
                space["path"] = netns or self.path
        spec["linux"]["cgroupsPath"] = f"/{self.group}/{name}"
        spec["annotations"] = annotations or {}
        if hook:
            spec["hooks"] = {"createRuntime": [{"path": hook[0],
                                                "args": ["sluice-oci-hook", *map(str, hook[1:])]}]}
        (path / "config.json").write_text(json.dumps(spec))
        return path

    @staticmethod
    def trim(spec):
        """Limits that take CAP_SYS_RESOURCE, which a CI's container may not have."""
        spec["process"].pop("rlimits", None)
        spec["process"].pop("oomScoreAdj", None)

    def mapped(self, path, uid, first, count):
        """The bundle's container has a user namespace whose root is `first`, and runs as uid."""
        spec = json.loads((path / "config.json").read_text())
        spec["linux"]["namespaces"].append({"type": "user"})
        for what in ("uidMappings", "gidMappings"):
            spec["linux"][what] = [{"containerID": 0, "hostID": first, "size": count}]
        spec["process"]["user"] = {"uid": uid, "gid": uid}
        # Mounting sysfs takes a network namespace of its own.
        spec["mounts"] = [m for m in spec["mounts"] if m["type"] not in ("sysfs", "cgroup")]
        (path / "config.json").write_text(json.dumps(spec))
        os.chown(path / "rootfs", first, first)
        for folder in (path, *path.parents):        # its root has to come here
            if folder.owner() == "root" and not folder.stat().st_mode & 1:
                folder.chmod(0o711)
        return path

    def run_container(self, name, *hook, **kw):
        """`runc run` to its end."""
        return self.runc("run", "--bundle", self.bundle(name, hook, **kw), name)

    def runc_detached(self, name, path):
        """It would keep our pipes open."""
        subprocess.run([*self.inside, "runc", "--root", self.folder / "runc", "run", "--detach",
                        "--bundle", path, name], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60)

    @property
    def hook(self):
        return (HOOK, "--socket", self.socket)

    def containers(self):
        """Targets that the host knows as containers: {name: target}."""
        return {t["container"]: t for t in self.full_status()["targets"] if "container" in t}

    def close(self):
        for state in (self.folder / "runc").glob("*"):
            self.runc("delete", "--force", state.name)
        super().close()
        for sock in (*self.udp, *self.tcp[7001], *self.tcp[7002]):
            sock.close()
        for top in [pathlib.Path(cgroup2()), *pathlib.Path("/sys/fs/cgroup").glob("*/")]:
            for below, _, _ in os.walk(top / self.group, topdown=False):
                assert until(lambda b=below: removed(b)), below     # conmon ends a little later


WRAPPER = """#!/usr/bin/python3
import json, os, sys
if "--bundle" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    spec = json.load(open(path))
    spec["process"].pop("rlimits", None)
    spec["process"].pop("oomScoreAdj", None)
    json.dump(spec, open(path, "w"))
os.execv("/usr/sbin/runc", ["runc", *sys.argv[1:]])
"""


MOUNTS = [w for d in ("bin", "lib", "lib64", "usr")
          for w in ("-v", f"{os.path.realpath('/' + d)}:/{d}:ro")]


class Podman:
    """podman with storage, hooks and runtime of the test's own."""

    def __init__(self, host, hooks=True):
        self.host = host
        self.base = base = pathlib.Path(tempfile.mkdtemp(prefix="sl-p"))    # 50 characters at most
        (base / "hooks.d").mkdir(parents=True)
        hook = json.loads((pathlib.Path(__file__).parents[2] / "deploy/oci/sluice.json").read_text())
        hook["hook"].update(path=HOOK, args=["sluice-oci-hook", "--socket", host.socket])
        if hooks:
            (base / "hooks.d" / "sluice.json").write_text(json.dumps(hook))
        wrapper = base / "runc"
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)
        self.words = ["podman", "--root", base / "root", "--runroot", base / "run",
                      "--tmpdir", base / "tmp", "--storage-driver", "vfs",
                      "--cgroup-manager", "cgroupfs", "--events-backend", "none",
                      "--hooks-dir", base / "hooks.d", "--runtime", wrapper]
        self.rootfs = base / "rootfs"
        for d in ("bin", "lib", "lib64", "usr", "etc", "proc", "sys", "dev", "run", "tmp"):
            (self.rootfs / d).mkdir(parents=True)

    def __call__(self, *words):
        return self.here([*self.words, *words])

    @staticmethod
    def here(words):
        """In this machine's network namespace: runc sets no sysctl in one that it is in itself."""
        return subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)

    def run(self, *words, **kw):
        return self.here(self.words_to_run(*words, **kw))

    def words_to_run(self, name, *options, args=None):
        return [*self.words, "run", "--name", name, "--network", f"ns:{self.host.path}",
                "--cgroup-parent", f"/{self.host.group}", "--security-opt", "seccomp=unconfined",
                *MOUNTS, *options, "--rootfs", self.rootfs,
                *(args or ["/usr/bin/python3", "-c", PROBE])]

    def close(self):
        """podman's own processes for a container that ended may still write here."""
        self("rm", "--all", "--force")
        assert until(self.is_removed), os.listdir(self.base)

    def is_removed(self):
        for _, at, *_ in map(str.split, pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if at.startswith(f"{self.base}/"):      # of its storage
                subprocess.run(["umount", at], check=False)
        shutil.rmtree(self.base, ignore_errors=True)
        return not self.base.exists()


class Docker:
    """dockerd with its own containerd, below a directory of the test's own."""

    def __init__(self, host, judged=False):
        """judged: sluice-oci-runtime is the default runtime."""
        self.host = host
        self.base = base = pathlib.Path(tempfile.mkdtemp(prefix="sl-d"))
        self.data, socket_path = base / "data", base / "s"
        wrapper = base / "runc"
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)
        self.words = ["/usr/bin/docker", "-H", f"unix://{socket_path}"]
        self.daemon = host.start(
            "dockerd", "-H", f"unix://{socket_path}", "--data-root", self.data, "--exec-root",
            base / "exec", "--pidfile", base / "pid", "--iptables=false", "--ip6tables=false",
            "--bridge=none", "--storage-driver", "vfs", "--exec-opt",
            "native.cgroupdriver=cgroupfs", "--default-runtime", "sluice" if judged else "bare",
            "--config-file", self.config(wrapper))
        assert until(lambda: self("version").returncode == 0, 30), self.daemon.errors
        image = base / "rootfs"
        for d in ("bin", "lib", "lib64", "usr", "etc", "proc", "sys", "dev", "run", "tmp"):
            (image / d).mkdir(parents=True)
        subprocess.run(["tar", "-C", image, "-cf", base / "image.tar", "."], check=True)
        done = self("import", base / "image.tar", "empty")
        assert done.returncode == 0, done

    def config(self, wrapper):
        path = self.base / "daemon.json"
        options = ["--runtime", str(wrapper), "--socket", self.host.socket, "--docker", str(self.data)]
        path.write_text(json.dumps({"runtimes": {
            "bare": {"path": str(wrapper)}, "sluice": {"path": RUNTIME, "runtimeArgs": options}}}))
        return path

    def __call__(self, *words, **kw):
        return self.host.run(*self.words, *words, **kw)

    def run(self, *words, **kw):
        return self.host.run(*self.words_to_run(*words, **kw))

    def words_to_run(self, name, *options, args=None, network="host"):
        """`--network host` is the test's: dockerd is there."""
        return [*self.words, "run", "--name", name, "--network", network, "--cgroup-parent",
                f"/{self.host.group}", *MOUNTS, *options, "empty",
                *(args or ["/usr/bin/python3", "-c", PROBE])]

    def close(self):
        ids = self("ps", "-aq").stdout.split()
        if ids:
            self("rm", "-f", *ids)
        self.daemon.close()
        assert until(self.is_removed), os.listdir(self.base)

    is_removed = Podman.is_removed


class Containerd:
    """containerd and ctr; a container is a bundle of OciHost's as its base spec."""

    def __init__(self, host):
        self.host = host
        self.base = base = pathlib.Path(tempfile.mkdtemp(prefix="sl-d"))
        self.state, address = base / "state", base / "s"
        config = base / "config.toml"
        config.write_text(f'version = 2\nroot = "{base}/root"\nstate = "{self.state}"\n'
                          f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                          f'[grpc]\n  address = "{address}"\n')
        self.words = ["ctr", "--address", address]
        self.daemon = host.start("containerd", "--config", config)
        assert until(lambda: self("version").returncode == 0, 30), self.daemon.errors

    def __call__(self, *words, **kw):
        return self.host.run(*self.words, *words, **kw)

    def run(self, *words, **kw):
        return self.host.run(*self.words_to_run(*words, **kw))

    def words_to_run(self, name, *options, hook=(), args=None):
        path = self.host.bundle(name, hook, args=args)
        spec = json.loads((path / "config.json").read_text())
        spec["root"]["path"] = str(path / "rootfs")
        (path / "config.json").write_text(json.dumps(spec))
        return [*self.words, "run", "--rm", "--config", path / "config.json", name]

    def close(self):
        for name in self("containers", "ls", "-q").stdout.split():
            self("tasks", "kill", "-s", "KILL", name)
            self("containers", "rm", name)
        self.daemon.close()
        assert until(self.is_removed), os.listdir(self.base)

    is_removed = Podman.is_removed
