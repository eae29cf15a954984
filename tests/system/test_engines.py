# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Docker and podman as their users drive them, below a systemd and cgroup2 alone (beside cgroup v1, and with cgroupfs
as the driver, they are in test_containers.py and test_oci_hook.py)."""
import contextlib
import os
import select
import shutil

import pytest

from enginelab import FIRST, HOLD, SYSTEMD, Box, Docker, Podman
from lab import until
from ocilab import ALL, MOUNTS, NONE, POLICIES, PROBE, SOME, UDP, WIDE

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not os.path.exists(SYSTEMD) or not shutil.which("systemd-run"),
                       reason="needs systemd"),
]
docker_only = pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")
podman_only = pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed")

CONFIG = """\
sluiced: 1
targets:
  - match: {{container: "agent-*"}}
    policy: agent
    choice: [wide]
  - match: {{label: "com.docker.compose.project=shop"}}
    policy: wide
  - match: {{container: "uid-*"}}
    policy: uids
  - match: {{container: "lost-*"}}
    policy: lost
defaults:
  - {{cgroup: /{group}, policy: shut}}
runtimes: {{docker: {docker}, podman: {podman}, containerd: /nowhere, sockets: [{sockets}]}}
"""
UIDS = "sluice: 1\nname: uids\nrules:\n  - allow: {to: [192.0.2.1, '2001:db8::1'], ports: 7001, uid: {container: 1000}}\n"
LOST = "sluice: 1\nname: lost\nrules:\n  - allow: '@gateway:7001/tcp'\n"


@pytest.fixture(scope="module", name="box")
def box_of_all(tmp_path_factory):
    with contextlib.closing(Box("sl-eng", tmp_path_factory.mktemp("box"))) as made:
        made.folder.chmod(0o755)
        yield made


@contextlib.contextmanager
def judged(box, **places):
    """sluiced with that configuration."""
    given = {"docker": "/nowhere", "podman": "/nowhere", "sockets": "", **places}
    box.configure(CONFIG.format(group=box.group, **given), uids=UIDS, lost=LOST, **POLICIES)
    box.start_daemon()
    try:
        yield
    finally:
        box.stop_daemon()


def becomes(engine, name, want, *options):
    assert until(lambda: engine.probe(name, *options) == want, 10), (name, engine.probe(name, *options),
                                                                     engine.box.daemon.errors[-5:])


WAYS = [("agent-labelled", ["--label", "sluice.dev/policy=wide"], WIDE), ("agent-shares", [], SOME),
        ("agent-host", ["--cgroupns", "host", "--pid", "host"], SOME),
        ("shop-web-1", ["--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web"], WIDE)]


@docker_only
def test_docker(box):
    """However it is started, restarted, renamed and updated, and whoever is down meanwhile."""
    with contextlib.closing(Docker(box, "systemd")) as docker:
        assert docker.run("agent-off").stdout.split() == ALL and box.arrived() == [2, 2, 2]
        with judged(box, docker=docker.data, sockets=docker.socket):
            docker.hold("agent-1", "--cgroup-parent", "own.slice")
            becomes(docker, "agent-1", SOME)
            assert any("/own.slice/docker-" in t["name"] for t in box.containers().values())
            docker.hold("plain")
            for name, options, want in WAYS:
                docker.hold(name, *options, network="container:plain" if name == "agent-shares" else "host")
                becomes(docker, name, want)
            assert "  container agent-1\n" in box.sluice("status").stdout
            for words in (("update", "--cpu-shares", "512", "agent-1"), ("pause", "agent-1"), ("unpause", "agent-1")):
                assert docker(*words).returncode == 0, words
            assert docker.probe("agent-1") == SOME
            for old, new in (("plain", "agent-2"), ("agent-1", "other")):
                assert docker("rename", old, new).returncode == 0
            becomes(docker, "agent-2", SOME)            # it had none, and is looked at again
            assert docker.probe("other") == SOME        # it has what it had
            docker("restart", "-t", "0", "agent-2", "other")
            becomes(docker, "agent-2", SOME)
            becomes(docker, "other", NONE)
            box.arrived()
            box.kill_daemon()
            assert docker.probe("agent-2") == SOME
            docker.hold("agent-4")
            assert docker.probe("agent-4") == NONE and box.arrived() == [0, 2, 0]
            box.start_daemon()
            becomes(docker, "agent-4", SOME)
            docker.stop()                               # and with it all containers
            assert until(lambda: not box.policies(), 20), box.policies()
            docker.start()
            docker("start", "agent-4")
            becomes(docker, "agent-4", SOME)


@docker_only
def test_dockers_user_namespaces(box):
    """--userns-remap: the container's cgroup is its root's; its users are found without a hook, at once, whatever
    else waits. --live-restore: what runs goes on without its engine."""
    with contextlib.closing(Docker(box, "systemd", "--userns-remap", "nobody:nogroup", "--live-restore")) as docker:
        assert docker("network", "create", "--subnet", "192.0.2.128/25", "one").returncode == 0
        for sockets, data in ((docker.socket, "/nowhere"), ("", docker.data)):
            with judged(box, docker=data, sockets=sockets):
                for name in ("agent-1", "uid-1"):
                    docker.hold(name, network="one")
                becomes(docker, "agent-1", ["no", "yes", "no", "no", "no", "no"])
                becomes(docker, "uid-1", ["no", "yes", "no", "no", "no", "no"], "-u", "1000")
                assert docker.probe("uid-1") == docker.probe("uid-1", "-u", "1001") == NONE
                if sockets:
                    docker("rm", "-f", "agent-1", "uid-1")
                    continue
                docker.hold("lost-1", network="none")   # isolated, for as long as it runs
                assert until(lambda: box.policies().get("lost-1") == "sluiced-isolated")
                box.sluice("status")
                docker.stop()
                assert box.policies() == {"agent-1": "agent", "uid-1": "uids", "lost-1": "sluiced-isolated"}
                docker.start()
                assert docker.probe("uid-1") == NONE
                docker.hold("uid-2", network="one")
                assert until(lambda: box.policies().get("uid-2") == "uids", 2), box.full_status()["warnings"]


LEAVE = """
import ctypes, os
os.makedirs("/tmp/all", exist_ok=True)
ctypes.CDLL(None).mount(b"x", b"/tmp/all", b"cgroup2", 0, None)
for top in ("/tmp/all", "/sys/fs/cgroup"):
    try:
        open(top + "/cgroup.procs", "w").write(str(os.getpid()))
    except OSError:
        pass
"""


@docker_only
def test_who_may_leave(box):
    """Root of a container without CAP_SYS_ADMIN stays, with its own cgroup namespace also the privileged one; with
    the host's the privileged one leaves, and status has said so."""
    with contextlib.closing(Docker(box, "systemd")) as docker:
        with judged(box, docker=docker.data):
            for name, options, warned, left in (
                    ("agent-plain", [], False, False), ("agent-privileged", ["--privileged"], True, False),
                    ("agent-host", ["--privileged", "--cgroupns", "host"], True, True)):
                docker.hold(name, *options)
                becomes(docker, name, SOME)
                assert any("has CAP_SYS_ADMIN (--privileged?)" in w for w in box.full_status()["warnings"]) == warned
                said = docker("exec", name, "/usr/bin/python3", "-c", LEAVE + PROBE).stdout.split()
                assert said == (NONE if left else SOME), (name, said)   # what is above has the default
                docker("rm", "-f", name)


PACKET = """
import fcntl, socket, struct
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = fcntl.ioctl(own, 0x8915, struct.pack("256s", b"eth0"))[20:24]
socket.create_connection(("172.30.9.1", 7001), 5).close()
mac = next(l.split()[3] for l in open("/proc/net/arp") if l.startswith("172.30.9.1 "))
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 29, 1, 0, 64, 17, 0, address, socket.inet_aton("172.30.9.1"))
total = sum(struct.unpack("!10H", head))
head = head[:10] + struct.pack("!H", ~((total >> 16) + (total & 0xffff)) & 0xffff) + head[12:]
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0x0800) as packet:
    packet.sendto(head + struct.pack("!4H", 5556, 7003, 9, 0) + b"x",
                  ("eth0", 0x0800, 0, 0, bytes.fromhex(mac.replace(":", ""))))
print("sent")
"""
AT_VETH = """\
sluiced: 1
targets:
  - {{match: {{container: "agent-*"}}, policy: near, veth: true}}
  - {{match: {{container: "other"}}, policy: near}}
runtimes: {{docker: {docker}, sockets: []}}
"""


@docker_only
def test_packet_sockets_of_dockers_containers(box):
    """Docker gives CAP_NET_RAW to all: past the cgroup's hooks, not past the veth's, a restarted one's neither."""
    with contextlib.closing(Docker(box, "systemd")) as docker, contextlib.ExitStack() as stack:
        assert docker("network", "create", "--subnet", "172.30.9.0/24", "one").returncode == 0
        heard, _ = (stack.enter_context(box.within(lambda p=p: box.listen("172.30.9.1", p))) for p in (UDP, 7001))
        box.configure(AT_VETH.format(docker=docker.data),
                      near="sluice: 1\nname: near\nrules:\n  - allow: '172.30.9.1:7001/tcp'\n")
        box.start_daemon()
        stack.callback(box.stop_daemon)

        def arrives(name):
            assert docker("exec", name, "/usr/bin/python3", "-c", PACKET).stdout == "sent\n"
            ready = bool(select.select([heard], [], [], 0.3)[0])
            if ready:
                heard.recv(64)
            return ready

        def judged_veths():
            return {t["name"] for t in box.full_status()["targets"] if t["name"].startswith("veth")}
        for name, veths in (("other", 0), ("agent-1", 1)):
            docker.hold(name, network="one")
            assert until(lambda n=name, v=veths: n in box.containers() and len(judged_veths()) == v, 10)
        assert arrives("other") and not arrives("agent-1")
        was = judged_veths()
        docker("restart", "-t", "0", "agent-1")
        assert until(lambda: judged_veths() - was, 10)
        assert not arrives("agent-1") and arrives("other")


INNER = """
exec >/tmp/log 2>&1
dockerd -H unix:///tmp/s --data-root /tmp/data --exec-root /tmp/exec --pidfile /tmp/pid --iptables=false \
    --ip6tables=false --bridge=none --storage-driver vfs --add-runtime bare=/tmp/runc --default-runtime bare
"""


@docker_only
def test_docker_in_docker(box):
    """A container of an engine in a container is judged as the outer one, whatever it is called."""
    with contextlib.closing(Docker(box, "cgroupfs")) as docker:
        with judged(box, docker=docker.data, sockets=docker.socket):
            shared = docker.base / "shared"
            shared.mkdir()
            shutil.copy(docker.runc, shared / "runc")
            shutil.copy(docker.base / "i.tar", shared / "i.tar")
            done = docker.run("agent-outer", "-d", "--privileged", "-v", f"{shared}:/tmp", "--env",
                              "PATH=/usr/sbin:/usr/bin", args=("sh", "-c", INNER))
            assert done.returncode == 0, done

            def inner(*words):
                return docker("exec", "agent-outer", "/usr/bin/docker", "-H", "unix:///tmp/s", *words)
            assert until(lambda: inner("version").returncode == 0, 20), (shared / "log").read_text()[-2000:]
            assert inner("import", "/tmp/i.tar", "empty").returncode == 0
            label = ("--label", "com.docker.compose.project=shop")
            done = inner("run", "-d", "--name", "shop", "--network", "host", *label, *MOUNTS, "empty", *HOLD)
            assert done.returncode == 0, done
            becomes(docker, "agent-outer", SOME)
            said = inner("exec", "shop", "/usr/bin/python3", "-c", PROBE)
            assert said.stdout.split() == SOME, said
            assert list(box.policies()) == ["agent-outer"]
            inner("rm", "-f", "shop")


def refused(done, *words):
    assert done.returncode and not [w for w in words if w not in done.stderr], done


@podman_only
def test_podman(box):
    """With the hook: before the first instruction, in a user namespace too, and by its users."""
    users = ("--uidmap", f"0:{FIRST}:65536", "--gidmap", f"0:{FIRST}:65536")
    with contextlib.closing(Podman(box, "systemd")) as podman:
        with judged(box, podman=podman.base / "root"):
            box.arrived()
            for name, options, want in (("plain", [], NONE),
                                        ("agent-1", ["--cgroup-parent", "own.slice", "--cgroupns", "host"], SOME),
                                        ("agent-2", ["--annotation", "sluice.dev/policy=wide", "--privileged"], WIDE),
                                        ("uid-1", [*users, "--user", "1000"], SOME), ("uid-2", users, NONE)):
                done = podman.run(name, "--rm", *options)
                assert done.stdout.split() == want, (name, done)
            assert box.arrived() == [0, 6, 2]
            refused(podman.run("agent-5", "--annotation", "sluice.dev/policy=open"), "does not list")
            podman.hold("uid-3", *users, "--systemd=always")
            assert podman.probe("uid-3", "--user", "1000") == SOME and podman.probe("uid-3") == NONE
            assert podman("restart", "-t", "0", "uid-3").returncode == 0
            assert podman.probe("uid-3", "--user", "1000") == SOME and podman.probe("uid-3") == NONE
            box.kill_daemon()
            assert podman.probe("uid-3", "--user", "1000") == SOME
            refused(podman.run("agent-6"), "does not start", "systemctl start sluiced")
            box.start_daemon()
            assert until(lambda: box.policies() == {"uid-3": "uids"}), box.policies()
            assert podman.run("agent-7").stdout.split() == SOME


@podman_only
def test_a_hook_in_a_container(box):
    """Whose cgroups have other names there: it says why nothing starts."""
    with contextlib.closing(Podman(box, "cgroupfs", outside=False)) as podman:
        with judged(box, podman=podman.base / "root"):
            refused(podman.run("agent-1"), "sluiced sees none of that name", "judged as that container is")
