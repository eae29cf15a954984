# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced killed at any point, stopped under a flood, and clients that mean harm."""
import fcntl
import grp
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from lab import SLUICE
from sluicedlab import AGENT, CONFIG, SLUICED, until, udp_frame

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture(name="host")
def host_that_users_reach(host):
    host.folder.chmod(0o755)
    return host


# ---- killed ----

def policy(number):
    """Each is another policy; all allow and deny the probes alike."""
    return AGENT + f"  - deny: 203.0.113.{number % 250}\n"


def test_killed_at_random_points_of_reloads(host, prober):
    """SLUICE_KILLS of them (`make nightly`: 1,000), else as many as 20 seconds have."""
    wanted = int(os.environ.get("SLUICE_KILLS", "0"))
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    chance = random.Random(seed)
    host.configure(agent=policy(0))
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    prober.start()
    generations, kills, end = [], 0, time.monotonic() + 20
    while kills < wanted if wanted else time.monotonic() < end:
        host.put("policies.d/agent.yaml", policy(kills + 1))
        host.daemon.signal(signal.SIGHUP)       # else it waits for the file to settle
        time.sleep(chance.random() * 0.06)
        host.kill_daemon()
        kills += 1
        # at rest, whatever the point was: one whole generation is in force
        target = host.status()["vnet0"]
        assert target["attached"] and target["whole"] and target["policy"] == "agent", target
        generations.append(target["generation"])
        host.start_daemon()
    sent, missing, leaked = prober.stop()
    assert generations == sorted(generations)
    print(f"\nseed {seed}: faults {kills}, survived {kills}, frames {2 * sent}, leaked packets "
          f"{leaked}, wrong denials {missing}, generations {len(set(generations))}")
    assert kills >= max(wanted, 6) and sent > 100
    assert (leaked, missing) == (0, 0)
    host.attached("vnet0", policy="agent", state="attached")
    target = host.status()["vnet0"]
    assert target["decided"] == target["submitted"] + target["suppressed"] + target["lost"]


def test_killed_idle(host, prober):
    host.configure()
    host.start_daemon()
    first = host.attached("vnet0", policy="agent")
    prober.start()
    host.kill_daemon()
    time.sleep(0.5)
    host.start_daemon()
    host.daemon.wait_error("adopted vnet0")
    assert prober.stop()[1:] == (0, 0)
    assert host.status()["vnet0"]["generation"] == first["generation"]


# ---- a flood ----

def flood(fd, frames):
    sent = 0
    for frame in frames:
        try:
            os.write(fd, frame)
            sent += 1
        except BlockingIOError:
            pass
    return sent


def test_stopped_under_a_flood_nothing_is_lost_in_silence(host, prober):
    """The reader of events stands still; what the ring cannot take is counted, the equation
    holds for each target, and all that was submitted is read when it goes on. What is in no event
    is told, also by the next sluiced if this one dies, and once."""
    log = host.folder / "a.jsonl"
    names = ["vnet0"] + [f"vnet{i}" for i in range(1, 7)]
    taps = [prober.tap] + [host.tap(name) for name in names[1:]]
    for name in names[1:]:
        host.ip(f"link set {name} up")
    host.configure(CONFIG + f"audit: [{{file: {log}}}]\n")
    host.start_daemon()
    for name in names:
        host.attached(name, policy="agent")
    monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 1)
    host.daemon.signal(signal.SIGSTOP)
    frames = [udp_frame(prober.bridge, f"203.0.113.{i % 250}", b"x", port=1 + i)
              for i in range(int(os.environ.get("SLUICE_FLOOD", "8000")))]
    sent = sum(flood(tap, frames) for tap in taps)
    host.daemon.signal(signal.SIGCONT)
    targets = {}

    def settled():
        """Counted, and nothing is under way any more."""
        now = host.status()
        same = now == targets
        targets.clear()
        targets.update(now)
        return same and sum(t["denied"] for t in now.values()) >= sent
    assert until(settled), (sent, targets)
    total = {k: sum(t[k] for t in targets.values())
             for k in ("decided", "submitted", "suppressed", "lost")}
    print(f"\nsent {sent}: {total}")
    for t in targets.values():
        assert t["decided"] == t["submitted"] + t["suppressed"] + t["lost"], t
    assert total["lost"] > 0 and total["suppressed"] > 0, "the ring was never full"

    def counted(name):
        return sum(json.loads(line)["count"] for line in host.sluice(
            "rules", "--dev", name, "-o", "json").stdout.splitlines())
    for name in names:      # the kernel's own frames (router solicitations) may come between
        assert until(lambda: counted(name) == host.status()[name]["decided"]), name
    assert until(lambda: host.full_status()["daemon"]["received"] >= total["submitted"])

    def accounted():
        lines = list(monitor.lines)
        return (sum(l["count"] for l in lines if l.get("verdict")) +
                sum(l["count"] for l in lines if l["event"] == "lost")) >= total["submitted"]
    assert until(accounted)
    assert any("events were lost" in w for w in host.full_status()["warnings"])

    def told(event):
        records = [json.loads(line) for line in log.read_text().splitlines()]
        return [r for r in records if r["event"] == event]

    def all_is_told():
        targets.update(host.status())
        return all(sum(r["count"] for r in told(event) if r["target"]["name"] == name) == t[key]
                   for event, key in (("ring-full", "lost"), ("over-budget", "over_budget"))
                   for name, t in targets.items())
    assert until(all_is_told), (told("ring-full"), targets)
    assert all(r["policy"] == "agent" for r in told("ring-full"))
    before = host.status()
    host.kill_daemon()
    for tap in taps:
        flood(tap, frames)
    host.start_daemon()
    assert until(all_is_told), (told("ring-full"), targets)
    assert sum(t["lost"] for t in targets.values()) > sum(t["lost"] for t in before.values())
    n = len(told("ring-full"))
    assert host.daemon.close() == 0
    host.start_daemon()
    assert until(lambda: len(told("start")) == 3) and until(all_is_told)
    assert len(told("ring-full")) == n


@pytest.mark.parametrize("made", [
    lambda p: p.write_bytes(b"\xff{"), lambda p: p.write_text("{}"), lambda p: p.write_text(""),
    lambda p: p.write_text('[5, {"slot": "x"}, {"slot": 0, "since": -1, "ring": -5}]'),
    lambda p: p.mkdir(), lambda p: os.mkfifo(p), lambda p: p.symlink_to("/dev/zero")],
    ids=["bytes", "object", "empty", "numbers", "directory", "fifo", "link"])
def test_what_is_noted_of_losses_is_spoiled(host, made):
    """It is said, if it is no list; nothing else comes of it."""
    path = pathlib.Path(host.socket).with_name("losses")
    path.parent.mkdir(exist_ok=True)
    made(path)
    host.veth("vnet0")
    host.configure()
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    said = any(str(path) in line and "is told again" in line for line in host.daemon.errors)
    assert said == (not path.is_file() or path.is_symlink() or path.read_text(errors="ignore")[:1] != "[")


# ---- the socket ----

@pytest.fixture
def daemon(host):
    host.configure()
    host.start_daemon()
    return host


def test_the_socket_is_for_root_and_the_group(host, request):
    group = "nogroup"
    folder = tempfile.mkdtemp(prefix="sl-socket-")      # pytest's own is root's alone
    os.chmod(folder, 0o755)
    host.socket = host.env["SLUICE_SOCKET"] = f"{folder}/s.sock"
    request.addfinalizer(lambda: shutil.rmtree(folder))
    host.configure(CONFIG + f"group: {group}\n")
    host.start_daemon()
    info = os.stat(host.socket)
    assert stat.S_IMODE(info.st_mode) == 0o660 and info.st_uid == 0
    assert info.st_gid == grp.getgrnam(group).gr_gid

    def status_as(user, *groups):
        return subprocess.run(["setpriv", f"--reuid={user}", *groups, "--", SLUICE, "status",
                               "-o", "json"],
                              capture_output=True, text=True, env=host.env, timeout=30)
    for groups in ([f"--regid={group}", "--clear-groups"], ["--regid=daemon", f"--groups={group}"]):
        done = status_as("nobody", *groups)     # of one's own runs, which there are none of
        assert done.returncode == 0 and json.loads(done.stdout)["targets"] == [], done
    done = status_as("nobody", "--regid=daemon", "--clear-groups")
    assert done.returncode == 1 and "Permission denied" in done.stderr
    for words in (["detach", "--all"], ["attach", "--dev", "vnet0", "-p", "/dev/null"], ["apply"],
                  ["rules", "--dev", "x"]):
        done = subprocess.run(["setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups",
                               "--", SLUICE, *words], capture_output=True, text=True, env=host.env,
                              timeout=30)
        assert done.returncode == 1, words


def test_no_group_is_root_alone(daemon):
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o600 or any(
        g.gr_name == "sluice" for g in grp.getgrall())


GARBAGE = [b"\n", b"{}\n", b"[1]\n", b"null\n", b"{\"sluice\":1}\n", b"\xff\xfe\n", b"{\"a\":\n",
           b"{\"sluice\":1,\"op\":5}\n", b"{\"sluice\":1,\"op\":\"no\"}\n",
           b"{\"sluice\":1,\"sluice\":1,\"op\":\"hello\"}\n", b"\0" * 100 + b"\n",
           b"[" * 5000 + b"\n", b"{\"sluice\":1,\"op\":\"rules\"}\n",
           b"{\"sluice\":1,\"op\":\"attach\",\"device\":[]}\n",
           b"{\"sluice\":1,\"op\":\"detach\"}\n", b"{\"sluice\":\"1\",\"op\":\"hello\"}\n",
           b"{\"sluice\":1,\"op\":\"monitor\",\"rules\":\"x\"}\n",
           b"{\"sluice\":1,\"op\":\"monitor\",\"rules\":[5]}\n"]


@pytest.mark.parametrize("line", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_gets_an_error_and_the_next_request_its_answer(daemon, line):
    with daemon.connect() as c:
        c.send(line)
        answer = c.receive()
        assert answer["ok"] is False and answer["code"] in ("request", "operation", "failed")
        assert answer["error"]
        assert c.ask("hello")["ok"]


@pytest.mark.parametrize("fields, says", [
    ({"mac": 5}, '"mac" is of another type'), ({"addresses": "x"}, '"addresses" is of another type'),
    ({"adresses": ["192.0.2.1"]}, 'no field "adresses"'), ({"audit": "yes"}, '"audit" is of another'),
    ({"vlans": [5]}, "lists of texts")])
def test_what_attach_does_not_understand_it_refuses(daemon, fields, says):
    """Passed over, it would bind nothing."""
    daemon.veth("tap0")
    with daemon.connect() as c:
        answer = c.ask("attach", device="tap0", text=AGENT, **fields)
        assert answer["ok"] is False and says in answer["error"], answer
        assert not daemon.status()
        answer = c.ask("attach", device="tap0", text=AGENT, audit=False, mac=None, addresses=[])
        assert answer["ok"], answer


def test_another_version_is_told(daemon):
    with daemon.connect() as c:
        c.send({"sluice": 2, "op": "hello"})
        answer = c.receive()
        assert answer["code"] == "version" and "speaks 1" in answer["error"]


def test_pipelined_and_cut_to_pieces(daemon):
    with daemon.connect() as c:
        c.send(b'{"sluice":1,"op":"hello"}\n' * 500)
        assert all(c.receive()["ok"] for _ in range(500))
        for byte in b'{"sluice":1,"op":"hello"}\n':
            c.send(bytes([byte]))
        assert c.receive()["pid"] == daemon.daemon.child.pid


def test_an_oversized_request_is_refused_and_others_are_served(daemon):
    with daemon.connect() as big, daemon.connect() as other:
        sent = 0
        try:
            while sent < 3 << 20:
                big.send(b"x" * 65536)
                sent += 65536
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert other.ask("hello")["ok"]
        try:
            answer = big.receive()
            assert answer is None or answer["code"] == "too-large"
        except ConnectionResetError:
            pass
    assert until(lambda: daemon.full_status()["daemon"]["clients"] == 1)


def test_who_does_not_read_stalls_nobody(daemon):
    """Thousands of answers wait for clients that never read: bounded, and no one waits."""
    slow = [daemon.connect() for _ in range(5)]
    try:
        for c in slow:
            c.sock.settimeout(0.2)
            try:
                while True:
                    c.sock.sendall(b'{"sluice":1,"op":"status"}\n' * 100)
            except TimeoutError:
                pass
        with daemon.connect() as c:
            for _ in range(50):
                assert c.ask("hello")["ok"]
        resident = int(pathlib.Path(f"/proc/{daemon.daemon.child.pid}/statm").read_text()
                       .split()[1]) * resource.getpagesize()
        print(f"\nresident with five that do not read: {resident >> 20} MiB")
        assert resident < 128 << 20
    finally:
        for c in slow:
            c.close()


def test_a_slow_monitor_is_told_what_it_lost(host, prober):
    host.configure(agent=AGENT)
    host.start_daemon()
    host.attached("vnet0")
    with host.connect() as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert c.ask("monitor")["ok"]
        monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
        assert until(lambda: host.full_status()["daemon"]["monitors"] == 2)
        for i in range(4500):
            os.write(prober.tap, udp_frame(prober.bridge, f"203.0.113.{i % 250}", b"x",
                                           port=1 + i))
            if i % 250 == 249:  # the other reader keeps up, however busy the machine
                fast = monitor.wait(lambda l, last=1 + i:
                                    l.get("destination", {}).get("port") == last)
        lost = None
        while lost is None:
            line = c.receive()
            lost = line["count"] if line["event"] == "lost" else None
        print(f"\nthe slow one lost {lost} records, and was told")
        assert lost > 0 and fast["verdict"] == "deny"


def test_hundreds_of_connections_that_say_nothing(daemon):
    """No more than the bound stay; the daemon serves whoever comes when they are gone, and
    root all along by what is on the socket already."""
    known = daemon.connect()
    idle, refused = [], 0
    for _ in range(600):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(daemon.socket)
        sock.settimeout(5)
        idle.append(sock)
    assert known.ask("hello")["ok"]
    for sock in idle[-50:]:
        data = sock.recv(200)
        refused += b'"busy"' in data
    assert refused == 50
    for sock in idle:
        sock.close()
    assert until(lambda: daemon.full_status()["daemon"]["clients"] == 2)
    known.close()


def test_no_descriptor_left(host):
    """Enforcement and the known clients go on; new clients are served once there is room."""
    host.veth("vnet0")
    host.configure()
    host.daemon = host.start("prlimit", "--nofile=64:64", SLUICED, "-c",
                             host.folder / "etc" / "sluiced.yaml", env=host.env)
    host.daemon.wait_error("sluiced: ready")
    host.attached("vnet0")
    known = host.connect()
    assert known.ask("hello")["ok"]
    idle = []
    for _ in range(100):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(host.socket)
        idle.append(sock)
    assert known.ask("hello")["ok"]
    cpu = cpu_of(host.daemon.child.pid)
    time.sleep(1)
    assert cpu_of(host.daemon.child.pid) - cpu < 0.5, "it spins"
    assert known.ask("status")["targets"][0]["attached"]
    for sock in idle:
        sock.close()
    assert until(lambda: host.sluice("status").returncode == 0)
    host.attached("vnet0", policy="agent")
    known.close()


def cpu_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_command_that_stands_still_with_the_lock(host, prober):
    """Somebody who holds the pins' lock for ever: everything else goes on."""
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    holder = os.open(host.state, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        host.veth("vnet1")              # cannot be attached now
        host.veth("tap1")
        assert host.sluice("status").returncode == 0
        done = host.sluice("attach", "--dev", "tap1", "-p", host.write(AGENT))
        assert done.returncode == 1 and "try again" in done.stderr
        assert not prober.arrives("198.51.100.1") and prober.arrives("192.0.2.1")
        assert set(host.status()) == {"vnet0"}
    finally:
        os.close(holder)
    host.attached("vnet1", policy="agent")


# ---- what it may do ----

def test_privileges_after_the_start(host):
    host.configure(CONFIG + f"audit: [{{file: {host.folder}/a.jsonl}}]\n")
    host.start_daemon()
    pid = host.daemon.child.pid
    assert until(lambda: (host.folder / "a.jsonl").exists())
    status = dict(line.split(":\t", 1) for line in
                  pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    wanted = 1 << 39 | 1 << 12 | 1 << 38 | 1 << 10   # BPF, NET_ADMIN, PERFMON, NET_BIND_SERVICE
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status[kind], 16) == wanted, kind
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    assert len(tasks) > 1
    for task in tasks:
        text = (task / "status").read_text()
        assert "Seccomp:\t2" in text and f"CapEff:\t{wanted:016x}" in text


def test_nobody_else_reaches_the_pins(host):
    host.veth("vnet0")
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    for folder, _, files in os.walk(host.state):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700, folder
        assert files or folder != host.state
        for name in files:
            assert stat.S_IMODE(os.stat(f"{folder}/{name}").st_mode) == 0o600, (folder, name)
    done = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "ls",
                           host.state], capture_output=True, text=True)
    assert done.returncode and "Permission denied" in done.stderr, done


def test_nothing_leaks_over_reloads_and_devices(host):
    """Descriptors and memory, after a round that everything has been through once."""
    host.configure()
    host.start_daemon()
    pid = host.daemon.child.pid

    def measure():
        return (len(os.listdir(f"/proc/{pid}/fd")),
                int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) *
                resource.getpagesize())

    def round_of(n):
        for i in range(n):
            host.veth(f"vnet{i}", up=False)
        for i in range(n):
            host.attached(f"vnet{i}")
        for i in range(n):
            host.put("policies.d/agent.yaml", policy(i))
            assert host.sluice("apply").returncode == 0
        for i in range(n):
            host.ip(f"link del vnet{i}")
        assert until(lambda: host.status() == {})
    round_of(8)
    before = measure()
    round_of(8)
    round_of(8)
    after = measure()
    print(f"\ndescriptors, resident bytes: {before} -> {after}")
    assert after[0] <= before[0] + 1 and after[1] < before[1] + (4 << 20)
