# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Containers that no hook announced: found by their cgroups and the runtimes' files."""
import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

import pytest

from enginelab import FakeEngine
from lab import cgroup2, until
from ocilab import ALL, NONE, POLICIES, PROBE, SOME, WIDE, Containerd, Docker, OciHost, Podman

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

# It probes at once, and again for each line: so that the test knows what is in force.
AGAIN = ["/usr/bin/python3", "-c",
         f"import sys\nexec({PROBE!r})\nfor _ in sys.stdin:\n    exec({PROBE!r})"]
CONFIG = """\
sluiced: 1
targets:
  - match: {{container: "agent-*"}}
    policy: agent
    choice: [wide]
  - match: {{label: "tier=db*"}}
    policy: wide
defaults:
  - {{cgroup: /{group}, policy: shut}}
runtimes: {{docker: {base}/docker, podman: {base}/podman, containerd: {base}/containerd, sockets: [{sockets}]}}
"""
ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.fixture
def host(tmp_path):
    with contextlib.closing(OciHost("sl-con", tmp_path)) as made:
        made.top = pathlib.Path(cgroup2()) / made.group
        yield made


def configure(host, base=None, sockets=(), **places):
    text = CONFIG.format(group=host.group, base=base or host.folder, sockets=", ".join(map(str, sockets)))
    for runtime, place in places.items():
        text = text.replace(f"{base or host.folder}/{runtime}", str(place))
    host.configure(text, **POLICIES)


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def put_docker(host, name, labels=None, container=ID):
    put(host.folder / "docker" / "containers" / container / "config.v2.json",
        {"ID": container, "Name": f"/{name}", "Config": {"Labels": labels or {}}})


def cgroup(host, path):
    made = host.top / path
    made.mkdir(parents=True)
    return made


def policies(host):
    """{path below ours: policy}"""
    return {t["name"].removeprefix(str(host.top)): t["policy"]
            for t in host.full_status()["targets"]}


@pytest.mark.parametrize("part", ["{}", "docker-{}.scope"])
@pytest.mark.parametrize("labels, name, want", [
    ({}, "agent-1", "agent"), ({"tier": "db-1"}, "x", "wide"), ({"tier": "web"}, "x", None),
    ({"sluice.dev/policy": "wide"}, "agent-1", "wide"),
    # an image's labels are its maker's: U+0000 neither hides a container nor ends a text
    ({"a": "\0", "b\0": "", "b\ufffd": ""}, "agent-1", "agent"), ({"tier": "db\0"}, "x", "wide"),
    ({"tier\0": "db"}, "x", None), ({"sluice.dev/policy": "wide\0"}, "agent-1", "agent"),
    ({"a": "\\u0000", "tier": "db"}, "x", "wide"), ({"tier": ""}, "x", None),
    ({"sluice.dev/policy": "/etc/passwd"}, "agent-1", "agent")])
def test_dockers_names_and_labels(host, part, labels, name, want):
    configure(host)
    host.top.mkdir()
    put_docker(host, name, labels)
    host.start_daemon()
    path = cgroup(host, part.format(ID))
    put_docker(host, "agent-2", container=OTHER)
    marker = cgroup(host, part.format(OTHER))       # a later one: then the first was looked at
    assert until(lambda: policies(host).get(f"/{marker.name}") == "agent"), policies(host)
    assert until(lambda: policies(host).get(f"/{path.name}") == want), policies(host)
    if want:
        assert name in host.containers()
    path.rmdir()
    assert until(lambda: f"/{path.name}" not in policies(host))


@pytest.mark.parametrize("driver, prefix", [("overlay", "libpod"), ("vfs", "libpod"), ("overlay", "crio")])
def test_podmans_names_and_annotations(host, driver, prefix):
    """And CRI-O's, which has the same storage, and calls its cgroups otherwise."""
    configure(host)
    host.top.mkdir()
    storage = host.folder / "podman" / f"{driver}-containers"
    put(storage / "containers.json", [{"id": OTHER, "names": ["agent-7"]},
                                      {"id": ID, "names": ["agent-8"]}])
    put(storage / ID / "userdata" / "config.json",      # no limit is a number above 2^63
        {"annotations": {"sluice.dev/policy": "wide"},
         "process": {"rlimits": [{"type": "RLIMIT_MEMLOCK", "hard": 2**64 - 1, "soft": 2**64 - 1}]}})
    put(storage / OTHER / "userdata" / "config.json", {"annotations": {}})
    cgroup(host, f"{prefix}-conmon-{ID}.scope")     # its monitor is no container
    cgroup(host, f"{prefix}-{ID}.scope")
    cgroup(host, f"{prefix}-{OTHER}")
    host.start_daemon()
    assert until(lambda: policies(host) == {"": "shut", f"/{prefix}-{ID}.scope": "wide",
                                            f"/{prefix}-{OTHER}": "agent"}), policies(host)


def test_containerds_names_are_those_of_their_cgroups(host):
    configure(host)
    host.top.mkdir()
    tasks = host.folder / "containerd" / "io.containerd.runtime.v2.task" / "default"
    put(tasks / "agent-1" / "config.json", {"linux": {"cgroupsPath": f"/{host.group}/agent-1"}})
    put(tasks / "agent-2" / "config.json", {"linux": {"cgroupsPath": "/default/agent-2"}})
    for name, where in (("agent-3", "own.slice:ctr:agent-3"), ("agent-4", ":ctr:agent-4"), ("agent-5", "own.slice::agent-5"),
                        ("agent-6", "other.slice:ctr:agent-6"), ("agent-7", "own.slice:not:agent-7"), ("7", "own.slice:a:7"),
                        ("agent-8", "a.slice:ctr:agent-8")):
        put(tasks / name / "config.json", {"linux": {"cgroupsPath": where}})
    cgroup(host, "agent-1")
    cgroup(host, "agent-2")                         # another one's of that name
    scopes = [cgroup(host, f"own.slice/{name}.scope").name for name in ("ctr-agent-3", "agent-5", "ctr-agent-6", "ctr-agent-7")]
    cgroup(host, "system.slice/ctr-agent-4.scope")
    cgroup(host, "xa.slice/ctr-agent-8.scope")      # of another slice
    host.start_daemon()
    assert until(lambda: "/system.slice/ctr-agent-4.scope" in policies(host))
    assert policies(host) == {"": "shut", "/agent-1": "agent", f"/own.slice/{scopes[0]}": "agent",
                              f"/own.slice/{scopes[1]}": "agent", "/system.slice/ctr-agent-4.scope": "agent"}
    assert {"agent-1", "agent-3", "agent-4", "agent-5"} == set(host.containers())


def test_what_a_container_or_a_user_makes_is_none(host):
    """The name of another container below one's own cgroup, or in a subtree of a user."""
    configure(host)
    host.top.mkdir()
    put_docker(host, "agent-1")
    put_docker(host, "agent-2", container=OTHER)
    inner = cgroup(host, f"{ID}/x/docker-{OTHER}.scope")
    # nor below one that no target matches, and whose name is no id
    named = host.folder / "containerd" / "io.containerd.runtime.v2.task" / "default" / "web" / "config.json"
    put(named, {"linux": {"cgroupsPath": f"/{host.group}/ctr/web"}})
    below = cgroup(host, f"ctr/web/docker-{OTHER}.scope")
    host.start_daemon()
    assert until(lambda: policies(host).get(f"/{ID}") == "agent")
    for made in (inner, below):
        assert f"/{made.relative_to(host.top)}" not in policies(host)
    for who, mode in ((65534, 0o755), (0, 0o775)):
        host.daemon.signal(signal.SIGSTOP)
        theirs = cgroup(host, f"user-{who}")
        os.chown(theirs, who, 65534)
        theirs.chmod(mode)
        (theirs / f"docker-{OTHER}.scope").mkdir()
        host.daemon.signal(signal.SIGCONT)
    mark = cgroup(host, f"docker-{OTHER}.scope")
    assert until(lambda: policies(host).get(f"/{mark.name}") == "agent")
    assert policies(host) == {"": "shut", f"/{ID}": "agent", f"/{mark.name}": "agent"}


def test_a_user_namespaces_root_has_the_cgroup(host):
    """dockerd --userns-remap: the cgroup is the container's root's, the data root has one more folder."""
    configure(host)
    host.top.mkdir()
    put(host.folder / "docker" / "200000.200000" / "containers" / ID / "config.v2.json",
        {"ID": ID, "Name": "/agent-1", "Config": {}})
    put(host.folder / "docker" / "200000.x" / "containers" / OTHER / "config.v2.json",
        {"ID": OTHER, "Name": "/agent-2", "Config": {}})        # no folder of dockerd's
    made, other = (cgroup(host, f"docker-{i}.scope") for i in (ID, OTHER))
    os.chown(made, 200000, 200000)
    host.start_daemon()
    assert until(lambda: policies(host).get(f"/{made.name}") == "agent"), policies(host)
    assert f"/{other.name}" not in policies(host) and "agent-1" in host.containers()


def test_a_cgroup_that_is_found_before_its_process(host):
    """`uid: {container: N}` means nothing yet; it does within less than a second (of three, since others work here
    too), which is when everything that waits is tried again."""
    configure(host)
    host.put("policies.d/agent.yaml", "sluice: 1\nname: agent\nrules:\n  - allow: {to: 192.0.2.1, uid: {container: 0}}\n")
    host.top.mkdir()
    put_docker(host, "agent-1")
    host.start_daemon()
    took = []
    with subprocess.Popen(["unshare", "--user", "--map-root-user", "sleep", "1000"]) as inside:
        try:
            for _ in range(3):
                made = cgroup(host, f"docker-{ID}.scope")
                assert until(lambda m=made: policies(host).get(f"/{m.name}") == "sluiced-isolated")
                found = time.monotonic()
                (made / "cgroup.procs").write_text(str(inside.pid))
                assert until(lambda m=made: policies(host).get(f"/{m.name}") == "agent")
                took.append(time.monotonic() - found)
                (host.top / "cgroup.procs").write_text(str(inside.pid))
                made.rmdir()
                assert until(lambda m=made: f"/{m.name}" not in policies(host))
        finally:
            inside.kill()
    assert min(took) < 0.7, took


class Held:
    """A container whose first action is a probe while sluiced stands still."""

    def __init__(self, host, words):
        self.child = subprocess.Popen(list(map(str, words)), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def line(self):
        ready = select.select([self.child.stdout], [], [], 30)[0]
        assert ready, "the container says nothing"
        return self.child.stdout.readline().split()

    def again(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self.line()

    def close(self):
        self.child.stdin.close()
        code = self.child.wait(30)
        self.child.stdout.close()
        return code


def found_late(host, runtime):
    """What holds before it is known, once it is, after a restart of sluiced, at its end."""
    host.start_daemon()
    host.daemon.signal(signal.SIGSTOP)
    held = Held(host, runtime.words_to_run("agent-1", "-i", args=AGAIN))
    assert held.line() == NONE                      # the parent's: it is not known
    assert host.arrived() == [0, 0, 0]
    host.daemon.signal(signal.SIGCONT)
    assert until(lambda: "agent-1" in host.containers()), host.daemon.errors
    assert host.full_status()["daemon"]["containers"] == {"announced": 0,
                                                             "unannounced": 1, "missed": 0}
    assert held.again() == SOME and host.arrived() == [0, 2, 0]
    generation = host.containers()["agent-1"]["generation"]
    host.kill_daemon()
    assert held.again() == SOME
    host.start_daemon()
    assert until(lambda: "agent-1" in host.containers())
    assert host.containers()["agent-1"]["generation"] == generation
    assert held.again() == SOME and held.close() == 0
    assert host.arrived() == [0, 4, 0]
    assert until(lambda: list(policies(host)) == [""]), policies(host)


@pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")
def test_docker_itself(host):
    with contextlib.closing(Docker(host)) as docker:
        done = docker.run("agent-0")
        assert done.returncode == 0 and done.stdout.split() == ALL, done
        assert host.arrived() == [2, 2, 2]
        configure(host, docker=docker.data)
        found_late(host, docker)


def engines(host):
    return host.full_status()["daemon"]["engines"]


def test_dockers_api(host):
    """Names and labels of containers whose files are not where sluiced looks, by the engine's socket."""
    with contextlib.closing(Docker(host)) as docker:
        configure(host, sockets=[docker.base / "s"])
        host.start_daemon()
        assert until(lambda: engines(host) == [{"socket": str(docker.base / "s"), "containers": 0, "error": None}])
        for name, options, want in (("agent-1", (), SOME), ("one", ("--label", "tier=db-1"), WIDE), ("two", (), NONE),
                                    ("agent-2", ("--label", "sluice.dev/policy=wide"), WIDE)):
            held = Held(host, docker.words_to_run(name, "-i", *options, args=AGAIN))
            held.line()
            assert until(lambda h=held, w=want: h.again() == w, 20), (name, host.daemon.errors)
            assert until(lambda: engines(host)[0]["containers"] == 1, 20)
            assert held.close() == 0
        assert until(lambda: engines(host)[0]["containers"] == 0)
        # it is away: what runs has what it had, and status says so
        held = Held(host, docker.words_to_run("agent-3", "-i", args=AGAIN))
        held.line()
        assert until(lambda: held.again() == SOME, 20)
        configure(host, sockets=[docker.base / "none"])
        host.daemon.signal(signal.SIGHUP)
        assert until(lambda: "is the engine there" in (engines(host)[0]["error"] or ""), 30)
        assert any("/none" in w for w in host.full_status()["warnings"])
        assert held.again() == SOME
        assert held.close() == 0


def test_podmans_labels(host):
    """They are in a database, which only its service tells."""
    with contextlib.closing(Podman(host, hooks=False)) as podman:
        service = subprocess.Popen([*map(str, podman.words), "system", "service", "--time", "0",
                                    f"unix://{podman.base}/s"], stderr=subprocess.DEVNULL)
        try:
            assert until((podman.base / "s").exists, 20)
            configure(host, podman=podman.base / "root", sockets=[podman.base / "s"])
            host.start_daemon()
            for name, options, want in (("x", ("--label", "tier=db-1"), WIDE), ("y", (), NONE),
                                        ("agent-1", ("--label", "tier=db-1"), SOME)):
                held = Held(host, podman.words_to_run(name, "-i", *options, args=AGAIN))
                held.line()
                assert until(lambda h=held, w=want: h.again() == w, 20), (name, host.daemon.errors, engines(host))
                assert held.close() == 0
        finally:
            service.terminate()
            service.wait(10)


def test_what_an_engine_says_and_nobody_finds(host):
    """Drift is told; labels that come late choose the target; an answer that is none changes nothing."""
    with contextlib.closing(FakeEngine(host.folder / "s")) as engine:
        made = cgroup(host, f"docker-{ID}.scope")
        configure(host, sockets=[host.folder / "s"])
        host.start_daemon()

        def is_so(missed, policy, warns=False):
            status = host.full_status()
            return (status["daemon"]["containers"]["missed"] == missed and
                    policies(host).get(f"/{made.name}") == policy and
                    any("cgroups are not found" in w for w in status["warnings"]) == warns)
        assert until(lambda: is_so(0, None)) and engine.asked
        engine.says((ID, "plain", {}), (OTHER, "agent-9", {}))
        assert until(lambda: is_so(1, None, True)), host.full_status()
        engine.says((ID, "plain", {"tier": "db-7"}), (OTHER, "nul", {"a": "\0", "b\0": "", "b\ufffd": ""}))
        assert until(lambda: is_so(0, "wide")), host.full_status()
        for answer in (b"{}", b"[", b"[" * 100_000, b'[{"Id": 5}, 7, {"Id": "' + ID.encode() + b'"}]'):
            engine.answer, asked = answer, engine.asked
            engine.news.release()
            assert until(lambda a=asked: engine.asked > a)
            assert until(lambda: is_so(0, "wide"))
        engine.says((ID, "agent-1", {"tier": "web"}))           # what it is called first is what counts
        assert until(lambda: not engines(host)[0]["error"]) and is_so(0, "wide")
        engine.says((ID, "agent-1", {}), (OTHER, "agent-9", {}))
        assert until(lambda: is_so(1, "wide", True))
        engine.answer = b"[" * 100_000                          # an old list says of nobody that he runs
        engine.news.release()
        assert until(lambda: is_so(0, "wide"))
        made.rmdir()


NETWORKS = {"one": ("172.30.5.0/24", "172.30.5.1"), "two": ("172.30.6.0/24", "172.30.6.1")}
GATEWAYS = {(gateway, port) for _, gateway in NETWORKS.values() for port in (7001, 7002)}
ASKS = f"""
import socket, sys
for _ in sys.stdin:
    out = []
    for to, port in {sorted(GATEWAYS)!r}:
        try:
            socket.create_connection((to, port), 2).close()
            out.append(f"{{to}}:{{port}}")
        except OSError:
            pass
    print(*out or ["none"], flush=True)
"""


def reaches(held):
    return set(held.again()) - {"none"}


@pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")
def test_networks_that_docker_creates_are_followed(host):
    """`docker network create`, connect and disconnect: @gateway is that of the network the container is in."""
    with contextlib.closing(Docker(host)) as docker, contextlib.ExitStack() as stack:
        for name, (subnet, gateway) in NETWORKS.items():
            done = docker("network", "create", "--subnet", subnet, name)
            assert done.returncode == 0, done
        for to, port in GATEWAYS:
            stack.enter_context(host.within(lambda to=to, port=port: host.listen(to, port)))

        def hold(name, network):
            held = Held(host, docker.words_to_run(name, "-i", args=["/usr/bin/python3", "-c", ASKS],
                                                  network=network))
            stack.callback(held.close)
            return held
        free = hold("free", "one")
        assert reaches(free) == {f"{to}:{port}" for to, port in GATEWAYS}
        configure(host, docker=docker.data)
        host.put("policies.d/agent.yaml", 'sluice: 1\nname: agent\nrules:\n  - allow: "@gateway:7001/tcp"\n')
        host.start_daemon()
        held = {network: hold(f"agent-{network}", network) for network in NETWORKS}
        for network, (_, gateway) in NETWORKS.items():
            assert until(lambda n=network, g=gateway: reaches(held[n]) == {f"{g}:7001"}, 30), host.daemon.errors
        for words in (("disconnect", "one", "agent-one"), ("connect", "two", "agent-one")):
            assert docker("network", *words).returncode == 0
        assert until(lambda: reaches(held["one"]) == {"172.30.6.1:7001"}, 90), host.daemon.errors
        assert reaches(held["two"]) == {"172.30.6.1:7001"}


@pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed")
def test_podman_without_the_hook(host):
    with contextlib.closing(Podman(host, hooks=False)) as podman:
        done = podman.run("agent-0")
        assert done.returncode == 0 and done.stdout.split() == ALL, done
        assert host.arrived() == [2, 2, 2]
        configure(host, podman=podman.base / "root")
        found_late(host, podman)


@pytest.mark.skipif(not shutil.which("ctr"), reason="containerd is not installed")
def test_containerd_with_and_without_the_hook(host):
    with contextlib.closing(Containerd(host)) as containerd:
        done = containerd.run("agent-0")
        assert done.returncode == 0 and done.stdout.split() == ALL, done
        assert host.arrived() == [2, 2, 2]
        configure(host, containerd=containerd.state)
        done = containerd.run("agent-0", hook=host.hook)
        assert done.returncode and "systemctl start sluiced" in done.stderr, done
        found_late(host, containerd)
        host.daemon.signal(signal.SIGSTOP)          # nobody finds it: the hook waits
        child = Held(host, [*host.inside, *containerd.words_to_run("agent-2", hook=host.hook)])
        assert until((host.top / "agent-2").exists)
        assert not select.select([child.child.stdout], [], [], 0)[0]
        host.daemon.signal(signal.SIGCONT)
        assert child.line() == SOME
        assert host.full_status()["daemon"]["containers"] == {"announced": 1, "unannounced": 0, "missed": 0}
        assert child.close() == 0
        assert host.arrived() == [0, 2, 0]
