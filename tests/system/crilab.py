# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A node without a Kubernetes: containerd's CRI, asked as a kubelet asks it."""
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import uuid

from lab import SLUICE, cgroup2, until
from ocilab import PROBE, OciHost, removed

BUSYBOX = "/bin/busybox"
SLUICE_CNI = os.environ.get("SLUICE_CNI", str(pathlib.Path(SLUICE).resolve().parent / "sluice-cni"))
IMAGE = "sluice.test/box:1"
CONTAINERD = """\
version = 2
root = "{base}/root"
state = "{base}/state"
[grpc]
  address = "{base}/s"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "sluice.test/box:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{base}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{base}/bin"
    conf_dir = "{base}/cni"
"""
# What systemd makes of a slice and a scope, where no systemd is.
RUNC = """\
#!/usr/bin/python3
import json, os, sys
if "create" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    spec = json.load(open(path))
    where = spec["linux"]["cgroupsPath"].split(":")
    if len(where) == 3:
        parts = where[0].removesuffix(".slice").split("-", 2)
        slices = ["-".join(parts[:n + 1]) + ".slice" for n in range(len(parts))]
        if parts[1].startswith("pod"):      # a guaranteed pod's: its uid has no dash
            slices = [parts[0] + ".slice", where[0]]
        spec["linux"]["cgroupsPath"] = "/".join(["/{group}", *slices, where[1] + "-" + where[2] + ".scope"])
        json.dump(spec, open(path, "w"))
os.execv("/usr/sbin/runc", ["runc", *sys.argv[1:]])
"""
CNI = {"cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": True,
     "ipam": {"type": "host-local",
              "ranges": [[{"subnet": "10.244.0.0/24"}], [{"subnet": "fd00:244::/64"}]],
              "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}
# It probes at once, and again whenever the file's number changes: the test knows what is in force.
AGAIN = f"""
import sys, time
sys.stdout = open("/probe/out", "a")
at = 0
while True:
    exec({PROBE!r})
    while (now := int(open("/probe/n").read() or 0)) == at:
        time.sleep(0.02)
    at = now
"""
POD, NODE = 0, 2        # NamespaceMode


# ---- protobuf: fields as (number, value), a text, bytes or a number ----

def varint(n):
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def message(*fields):
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def pairs(number, texts):
    return [(number, message((1, k), (2, v))) for k, v in texts.items()]


def fields_of(data):
    """[(number, value)]"""
    at, out = 0, []

    def number():
        nonlocal at
        n = shift = 0
        while True:
            n |= (data[at] & 0x7f) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                return n

    while at < len(data):
        key = number()
        if key & 7:
            size = number()
            out.append((key >> 3, data[at:at + size]))
            at += size
        else:
            out.append((key >> 3, number()))
    return out


# ---- images ----

def archive():
    """An image of one layer, as `docker save` writes it: directories, and busybox for the pause."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path in ("bin", "lib", "lib64", "usr", "etc", "proc", "sys", "dev", "run", "tmp", "probe"):
            info = tarfile.TarInfo(path)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        tar.add(os.path.realpath(BUSYBOX), "busybox")
    data = layer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    settings = json.dumps({"architecture": "amd64", "os": "linux",
                           "config": {"Entrypoint": ["/busybox", "sleep", "100000"]},
                           "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    name = f"{hashlib.sha256(settings).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": [f"{digest}/layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in ((name, settings), (f"{digest}/layer.tar", data),
                              ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Pod:
    """Its sandbox, and its container if there is one."""

    def __init__(self, node, name, namespace, uid, path, sandbox, config):
        self.node, self.name, self.namespace, self.uid = node, name, namespace, uid
        self.path, self.sandbox, self.config = path, sandbox, config
        self.probes = 0
        self.folder = node.folder / f"pod-{uid}"

    def start(self, code=AGAIN, wait=True):
        """A container whose first action is the probe. With wait sluiced knows the pod before, as
        it mostly does: what is not known yet is denied."""
        if wait and self.node.daemon:
            self.node.known(self, ("judged", "exempt"))
        (self.folder / "probe").mkdir(parents=True, exist_ok=True)
        (self.folder / "probe" / "n").write_text("0")
        mounts = [(7, message((1, f"/{d}"), (2, os.path.realpath(f"/{d}")), (3, 1)))
                  for d in ("bin", "lib", "lib64", "usr")]
        mounts.append((7, message((1, "/probe"), (2, str(self.folder / "probe")))))
        config = message((1, message((1, "c"))), (2, message((1, IMAGE))),
                         (3, "/usr/bin/python3"), (4, "-c"), (4, code), *mounts, (11, "log"),
                         (15, message((2, message()))))
        made = self.node.ask("CreateContainer", (1, self.sandbox), (2, config), (3, self.config))
        self.node.ask("StartContainer", (1, dict(made)[1]))

    def lines(self):
        try:
            text = (self.folder / "probe" / "out").read_text()
        except FileNotFoundError:
            return []
        return [line.split() for line in text.splitlines()]

    def probe(self):
        """What the next probe says; the first: what the container's first action did."""
        if self.probes:
            (self.folder / "probe" / ".n").write_text(str(self.probes))
            (self.folder / "probe" / ".n").rename(self.folder / "probe" / "n")
        self.probes += 1
        assert until(lambda: len(self.lines()) >= self.probes, 30), self.lines()
        return self.lines()[self.probes - 1]

    def remove(self):
        """As a kubelet does: stopped, removed, then its cgroup."""
        self.node.ask("StopPodSandbox", (1, self.sandbox))
        self.node.ask("RemovePodSandbox", (1, self.sandbox))
        real = self.node.top.parent / self.path.lstrip("/")
        for below, _, _ in os.walk(real, topdown=False):
            assert until(lambda b=below: removed(b)), below
        self.node.pods.remove(self)


class Node(OciHost):
    """containerd with CRI and a bridge (ptp: routes to each veth), and with chained sluice-cni behind
    it; cgroups of pods below /GROUP/kubepods."""

    def __init__(self, name, folder, chained=False, ptp=False):
        super().__init__(name, folder)
        self.pods = []
        self.base = base = pathlib.Path(tempfile.mkdtemp(prefix="sl-k"))
        self.top = pathlib.Path(cgroup2()) / self.group
        self.root_cgroup = f"/{self.group}/kubepods"
        (base / "cni").mkdir()
        cni = json.loads(json.dumps(CNI))
        cni["plugins"][0]["ipam"]["dataDir"] = str(base / "ipam")
        if ptp:
            cni["plugins"][0] = {"type": "ptp", "ipam": cni["plugins"][0]["ipam"]}
        if chained:
            cni["plugins"].append({"type": "sluice-cni", "socket": self.socket, "timeout": 20})
        (base / "bin").mkdir()
        for program in [*pathlib.Path("/usr/lib/cni").iterdir(), pathlib.Path(SLUICE_CNI)]:
            (base / "bin" / program.name).symlink_to(program)
        (base / "cni" / "10.conflist").write_text(json.dumps(cni))
        (base / "config.toml").write_text(CONTAINERD.format(base=base))
        (base / "runc").write_text(RUNC.replace("{group}", self.group))
        (base / "runc").chmod(0o755)
        self.ip("link add cni0 type bridge")        # as a first pod would: IPv6 ready before it
        self.ip("link set cni0 up")
        self.runtime = None
        self.start_runtime()
        (base / "image.tar").write_bytes(archive())
        done = self.ctr("images", "import", base / "image.tar")
        assert done.returncode == 0, done

    @property
    def cri(self):
        return self.base / "s"

    def clear(self):
        """No pod is left, no sluiced, and no target."""
        for pod in list(self.pods):
            pod.remove()
        if self.daemon:
            self.daemon.close()
            self.daemon = None
        self.sluice("detach", "--all")

    def start_runtime(self):
        self.runtime = self.start("containerd", "--config", self.base / "config.toml")
        assert until(lambda: self.ctr("version").returncode == 0, 30), self.runtime.errors

    def ctr(self, *words):
        return self.run("ctr", "--address", self.cri, "--namespace", "k8s.io", *words)

    def ask(self, method, *fields):
        """The fields of the answer."""
        body = message(*fields)
        done = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", self.cri, "-m", "60",
             "-H", "Content-Type: application/grpc", "-H", "TE: trailers", "--data-binary", "@-",
             "-D", self.base / "headers", "-o", self.base / "body",
             f"http://node/runtime.v1.RuntimeService/{method}"],
            input=b"\0" + len(body).to_bytes(4, "big") + body, capture_output=True, check=False,
            timeout=90)
        headers = (self.base / "headers").read_text()
        assert done.returncode == 0 and "grpc-status: 0" in headers, (method, done, headers)
        return fields_of((self.base / "body").read_bytes()[5:])

    def cgroup_of(self, uid, driver, quality):
        """As a kubelet with that driver names it."""
        quality = f"{quality}/" if quality else ""
        if driver == "cgroupfs":
            return f"{self.root_cgroup}/{quality}pod{uid}"
        words = f"kubepods-{quality[:-1]}.slice/kubepods-{quality[:-1]}" if quality else "kubepods"
        return f"/{self.group}/kubepods.slice/{words}-pod{uid.replace('-', '_')}.slice"

    def pod(self, name="web", namespace="shop", labels=None, uid=None, driver="cgroupfs",
            quality="besteffort", network=POD, annotations=None, resolvers=()):
        """Its cgroup, then its sandbox, as a kubelet makes them."""
        uid = uid or str(uuid.uuid4())
        path = self.cgroup_of(uid, driver, quality)
        (self.top.parent / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        logs = self.base / "logs" / uid
        logs.mkdir(parents=True)
        own = {"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace,
               "io.kubernetes.pod.uid": uid}
        config = message(
            (1, message((1, name), (2, uid), (3, namespace))),
            (2, name if network == POD else ""), (3, str(logs)),
            (4, message(*((1, address) for address in resolvers))),
            *pairs(6, {**(labels or {}), **own}), *pairs(7, annotations or {}),
            (8, message((1, path), (2, message((1, message((1, network))))))))
        sandbox = dict(self.ask("RunPodSandbox", (1, config)))[1].decode()
        made = Pod(self, name, namespace, uid, path, sandbox, config)
        self.pods.append(made)
        return made

    def kubernetes(self):
        return self.full_status()["kubernetes"]

    def known(self, pod, state="judged", **want):
        """Waits until the pod is so; what status says of it."""
        found = {}
        states = (state,) if isinstance(state, str) else state

        def look():
            said = self.kubernetes()
            one = next((p for p in said["pods"] if p["uid"] == pod.uid), None)
            found.update(status=said, pod=one)
            return one and one["state"] in states and all(one[k] == v for k, v in want.items())
        assert until(look, 30), (state, want, found, self.daemon.errors)
        return found["pod"]

    def close(self):
        for pod in list(self.pods):
            pod.remove()
        if self.runtime:
            self.runtime.close()
        super().close()
        assert until(self.is_removed), os.listdir(self.base)

    def is_removed(self):
        for _, at, *_ in map(str.split, pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if at.startswith(f"{self.base}/"):
                subprocess.run(["umount", at], check=False)
        shutil.rmtree(self.base, ignore_errors=True)
        return not self.base.exists()
