# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Pods as CRI-O makes them, which no suite of Debian's has: its answers and its cgroups as its source and crio.conf(5)
have them, with real processes in a real network. What is unlike containerd: no sandbox has a process
(drop_infra_ctr), so that a pod's first one comes when its image is there; and with conmon_cgroup = "pod" each
container's monitor, a process of the node, is in the pod's cgroup, before the container."""
import contextlib
import json
import os
import pathlib
import subprocess
import time
import uuid

import pytest

from crilab import message, pairs
from grpclab import Runtime, grpc
from lab import cgroup2, until
from ocilab import ADDRESSES, ALL, PROBE, SOME, OciHost, removed
from podlab import config, egress, put
from vethlab import packet

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
DENIED = 7003
PLAIN = egress(more=", protocol: tcp")
OF_THE_POD = egress(to='"@gateway"', more=", protocol: tcp, uid: {container: 0}")
USERS = "0 100000 1000"
# It does what its standard input says: the probe, or frames past its IP. With users it is root of a user namespace.
CONTAINER = f"""
import ctypes, os, socket, sys
if sys.argv[1:] and ctypes.CDLL(None).unshare(0x10000000):
    sys.exit("no user namespace")
print("here", flush=True)
if sys.argv[1:]:
    sys.stdin.readline()        # it has its maps
    os.setgid(0)
    os.setuid(0)
for line in sys.stdin:
    frames = line.split()[1:]
    if not frames:
        exec({PROBE!r})
        continue
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        for frame in frames:
            sock.send(bytes.fromhex(frame))
    print("sent", flush=True)
"""


class Pod:
    """Its cgroup and CRI-O's for its sandbox, where no process is; its network is there."""

    def __init__(self, node, driver, netns):
        self.node, self.netns, self.uid = node, netns, str(uuid.uuid4())
        self.sandbox = (uuid.uuid4().hex * 2)[:64]
        self.scope = ".scope" if driver == "systemd" else ""
        self.children, self.labels = [], {"app": "web"}
        below = {"systemd": "kubepods.slice/kubepods-besteffort.slice/"
                            f"kubepods-besteffort-pod{self.uid.replace('-', '_')}.slice",
                 "cgroupfs": f"kubepods/besteffort/pod{self.uid}"}[driver]
        self.path = node.top / below
        (self.path / f"crio-{self.sandbox}").mkdir(parents=True)
        node.pods.append(self)

    def put(self, cgroup, *words, **more):
        cgroup.mkdir()
        child = subprocess.Popen(["sh", "-c", f'echo $$ >{cgroup}/cgroup.procs && exec "$@"', "sh", *map(str, words)],
                                 text=True, **more)
        self.children.append(child)
        assert until(lambda: str(child.pid) in (cgroup / "cgroup.procs").read_text().split())
        return child

    def monitor(self, number=""):
        """A process of the node, in the pod's cgroup."""
        number = number or (uuid.uuid4().hex * 2)[:64]
        self.put(self.path / f"crio-conmon-{number}{self.scope}", *self.node.inside, "sleep", "1000",
                 stdin=subprocess.DEVNULL)
        time.sleep(0.03)        # what is older is told by the clock's ticks

    def start(self, conmon, *users):
        """A container, behind its monitor."""
        number = (uuid.uuid4().hex * 2)[:64]
        if conmon:
            self.monitor(number)
        made = self.put(self.path / f"crio-{number}{self.scope}", "nsenter", f"--net={self.netns}", "setpriv",
                        "--bounding-set=-all,+net_raw", "/usr/bin/python3", "-c", CONTAINER, *users,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert made.stdout.readline() == "here\n"
        for name in ("uid_map", "gid_map") if users else ():
            pathlib.Path(f"/proc/{made.pid}/{name}").write_text(USERS)
        if users:
            made.stdin.write("go\n")
            made.stdin.flush()
        return made

    def probe(self, container, *frames):
        container.stdin.write(" ".join(("do", *frames)) + "\n")
        container.stdin.flush()
        return container.stdout.readline().split()

    def frames(self, port):
        """Datagrams of both families, as hex."""
        far = bytes.fromhex(self.node.address_of("toin").replace(":", ""))
        own = bytes.fromhex(json.loads(subprocess.run(
            ["nsenter", f"--net={self.netns}", "ip", "-j", "link", "show", "eth0"], check=True, capture_output=True,
            text=True).stdout)[0]["address"].replace(":", ""))
        return [(far + own + (b"\x86\xdd" if ":" in to else b"\x08\x00") + packet(source, to, port)).hex()
                for source, to in zip(("10.9.9.2", "2001:db8:9::2"), ADDRESSES)]

    # ---- what CRI-O says of it (server/sandbox_list.go, sandbox_status.go) ----

    def texts(self):
        return pairs(5, {"io.kubernetes.container.name": "POD", "io.kubernetes.pod.name": "web",
                         "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": self.uid, **self.labels})

    def listed(self):
        return message((1, self.sandbox), (2, message((1, "web"), (2, self.uid), (3, "shop"))), (3, 0),
                       (4, time.time_ns()), *self.texts(), *pairs(6, {"kubernetes.io/config.source": "api"}))

    def status(self, spoofed):
        """Of a sandbox without a process older versions tell nothing, newer ones its specification alone."""
        spaces = [{"type": "ipc", "path": "/var/run/ipcns/1"}, {"type": "network", "path": "/var/run/netns/1"}]
        told = {"runtimeSpec": {"ociVersion": "1.0.2", "hostname": "web", "linux": {"namespaces": spaces}}}
        status = message((1, self.sandbox), (2, message((1, "web"), (2, self.uid), (3, "shop"))), (3, 0),
                         (5, message((1, "10.9.9.2"), (2, message((1, "2001:db8:9::2"))))),
                         (6, message((1, message((2, message((1, 0), (2, 1))))))))
        return message((1, status), *pairs(2, {"info": "{}" if spoofed == "older" else json.dumps(told)}),
                       (3, message((1, "c"))), (4, time.time_ns()))

    def remove(self):
        for child in self.children:
            child.kill()
            child.wait()
        for below, _, _ in os.walk(self.path, topdown=False):
            assert until(lambda b=below: removed(b)), below
        self.node.pods.remove(self)


class Node(OciHost):
    """A made-up CRI-O; sluiced is started by the test."""

    def __init__(self, folder):
        super().__init__("sl-crio", folder)
        self.top = pathlib.Path(cgroup2()) / self.group
        self.pods, self.version = [], "newer"
        self.objects, self.audit = folder / "objects", folder / "audit.jsonl"
        self.objects.mkdir()
        self.cri = folder / "crio" / "crio.sock"
        self.cri.parent.mkdir()
        self.runtime = Runtime(self.cri, self.answers)
        self.configure(config(self))

    def answers(self, _, body):
        if not body:
            return grpc(message(*((1, pod.listed()) for pod in self.pods)))
        return grpc(next((pod.status(self.version) for pod in self.pods if pod.sandbox.encode() in body), b""))

    def told(self, pod):
        """What status says of it."""
        return next((p for p in self.full_status()["kubernetes"]["pods"] if p["uid"] == pod.uid), {})

    @contextlib.contextmanager
    def pod(self, driver="systemd"):
        with self.inner_namespace(*ADDRESSES) as netns:
            made = Pod(self, driver, netns)
            try:
                yield made
            finally:
                made.remove()

    def close(self):
        self.runtime.close()
        if self.daemon:
            self.daemon.close()
        self.sluice("detach", "--all")
        super().close()


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_without_sluiced_everything_arrives(node):
    with node.pod() as pod:
        container = pod.start(conmon=True)
        assert pod.probe(container) == ALL
        assert node.arrived() == [2, 2, 2]
        assert pod.probe(container, *pod.frames(DENIED)) == ["sent"]
        assert until(lambda: node.arrived()[0], 5)


@pytest.mark.parametrize("driver, conmon, version", [
    ("systemd", False, "newer"), ("systemd", True, "newer"), ("cgroupfs", True, "older")])
def test_a_pod(node, driver, conmon, version):
    """Its first packet, and what it sends past its sockets; its image takes longer than a pod's device is looked for."""
    put(node, "web.yaml", PLAIN)
    node.version = version
    node.start_daemon()
    with node.pod(driver) as pod:
        assert until(lambda: node.told(pod).get("state") == "judged", 20), node.full_status()
        assert node.told(pod)["netns"] == {"newer": "/var/run/netns/1", "older": None}[version]
        time.sleep(6)
        node.arrived()
        container = pod.start(conmon)
        assert pod.probe(container) == SOME
        assert node.arrived() == [0, 2, 0]
        assert until(lambda: node.told(pod)["veths"], 5), node.full_status()
        assert until(lambda: all(t["attached"] for t in node.full_status()["targets"] if t["kind"] == "device"), 5)
        assert pod.probe(container, *pod.frames(DENIED)) == ["sent"]
        time.sleep(0.3)
        assert node.arrived() == [0, 0, 0]
        status = node.full_status()
        assert not [w for w in status["warnings"] if "no veth" in w], status["warnings"]
    assert until(lambda: not node.full_status()["kubernetes"]["pods"], 20)


def test_what_a_policy_says_of_the_pod_itself(node):
    """Its gateway and its users are not those of its containers' monitors, which are the node's."""
    node.ip("link add up0 type veth peer name up1")
    node.ip("address add 203.0.113.2/24 dev up0")
    node.ip("link set up0 up")
    node.ip("route add default via 203.0.113.1 dev up0 onlink")
    put(node, "web.yaml", PLAIN.replace("7001", "7002"))
    node.start_daemon()
    with node.pod() as pod:
        node.ip("address add 192.0.2.1/32 dev toin")        # the gateway as the node knows it, too
        assert until(lambda: node.told(pod).get("state") == "judged", 20), node.full_status()
        container = pod.start(True, "users")
        for _ in range(3):
            pod.monitor()
        assert pod.probe(container) == ["no", "no", "yes"] * 2
        put(node, "web.yaml", OF_THE_POD)
        said = []
        assert until(lambda: said.append(pod.probe(container)) or said[-1] == SOME, 10), (said[-1], node.told(pod))
