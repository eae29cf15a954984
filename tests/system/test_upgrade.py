# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Another version's sluiced takes the pins over: `make next` builds one with the next ABI, whose
counters and events are of another layout. Nothing is judged by nobody, and nothing is cut."""
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

import bpfsys
from devicelab import accounts
from devlab import Lines
from lab import SLUICE, cgroup2
from sluicedlab import AGENT, CONFIG, MAC, DaemonHost, Prober, SLUICED, WAIT, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

NEXT = pathlib.Path(SLUICED).parent / "next"
ABI, LAYOUT_FLOWS = 32, 56 + 6          # places in struct sl_info
COMMAND = ("sluice: 1\nname: command\nrules:\n  - deny: {to: [127.0.0.1, '::1'], ports: 7002}\n"
           "  - allow: [127.0.0.1, '::1']\n")
# What a workload in the cgroup does every millisecond: connects that are to pass and that are
# not, datagrams that are answered, and one connection that goes on all the time. What is
# wrong is a line; at the end of its input the numbers.
WORK = """
import os, select, socket, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
long = socket.create_connection(("127.0.0.1", 7003), 5)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for sock in (long, udp):
    sock.settimeout(3)
print("ready", flush=True)
rounds = leaks = refused = 0
while not select.select([0], [], [], 0.001)[0]:
    rounds += 1
    text = b"%d" % rounds
    try:
        socket.create_connection(("127.0.0.1", 7001), 3).close()
        socket.create_connection(("::1", 7001), 3).close()
        udp.sendto(text, ("127.0.0.1", 7004))
        assert udp.recv(100) == text
        long.sendall(text)
        assert long.recv(100) == text
    except (OSError, AssertionError) as e:
        refused += 1
        print("refused:", rounds, repr(e), flush=True)
    for sock, what in ((socket.socket(), "127.0.0.1"), (socket.socket(socket.AF_INET6), "::1"),
                       (udp, "sendto")):
        try:
            if what != "sendto":
                with sock:
                    sock.settimeout(3)
                    sock.connect((what, 7002))
            else:
                sock.sendto(text, ("127.0.0.1", 7002))
            leaks += 1
            print("leaked:", rounds, what, flush=True)
        except OSError:
            pass
print("done", rounds, leaks, refused, flush=True)
"""


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-u", tmp_path)
    made.top = pathlib.Path(cgroup2()) / made.name
    made.top.mkdir()
    try:
        yield made
    finally:
        made.close()
        assert until(lambda: "populated 0" in (made.top / "cgroup.events").read_text())
        for below, _, _ in os.walk(made.top, topdown=False):
            os.rmdir(below)


def echo(host):
    """Whoever connects to 7001 and 7002 is accepted; 7003 (TCP) and 7004 (UDP) answer."""
    def tcp(port):                      # of both families
        sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        sock.listen(512)
        return sock

    def udp(port):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", port))
        return sock

    def accept(sock, answers):
        try:
            while True:
                one, _ = sock.accept()
                while answers and (data := one.recv(100)):
                    one.sendall(data)
                one.close()
        except OSError:
            pass

    def answer(sock):
        try:
            while True:
                data, who = sock.recvfrom(100)
                sock.sendto(data, who)
        except OSError:
            pass
    socks = [host.within(lambda p=p: tcp(p)) for p in (7001, 7002, 7003)]
    socks += [host.within(lambda p=p: udp(p)) for p in (7002, 7004)]
    for sock, words in ((socks[0], (accept, False)), (socks[1], (accept, False)),
                        (socks[2], (accept, True)), (socks[4], (answer,))):
        threading.Thread(target=words[0], args=(sock, *words[1:]), daemon=True).start()
    return socks


class Echoes:
    """Datagrams from the guest's side to the bridge that are answered: the answers pass as
    long as their flow is known."""

    def __init__(self, host, prober):
        host.ip(f"neigh add 192.0.2.10 lladdr {MAC} dev br0")
        self.prober, self.got, self.stopped = prober, 0, threading.Event()
        self.thread = threading.Thread(target=self.hear)
        self.thread.start()

    def hear(self):
        while not self.stopped.is_set():
            try:
                self.got += b"yes " in os.read(self.prober.tap, 2000)
            except BlockingIOError:
                time.sleep(0.0005)

    def stop(self):
        time.sleep(0.3)
        self.stopped.set()
        self.thread.join()
        return self.got


class Answering(Prober):
    """Each allowed datagram that arrives is sent back."""

    def hear(self):
        while True:
            try:
                data, who = self.sock.recvfrom(100)
            except TimeoutError:
                if self.stopped.is_set():
                    return
                continue
            word, number = data.split()
            if word == b"yes":
                self.got.add(int(number))
                self.sock.sendto(data, who)
            else:
                self.leaked.append(int(number))


def start(host, version, wait=True):
    """version: 0 this one, 1 the next."""
    program = NEXT / "sluiced" if version else SLUICED
    assert os.path.exists(program), "`make next` builds it"
    host.daemon = host.start(program, "-c", host.folder / "etc" / "sluiced.yaml", env=host.env)
    if wait:
        host.daemon.wait_error("sluiced: ready", 60)
    return host.daemon


def info_of(host):
    fd = bpfsys.get(f"{host.state}/sl_info")
    try:
        return bytearray(bpfsys.lookup(fd, struct.pack("=I", 0)))
    finally:
        os.close(fd)


def abi_of(host):
    return struct.unpack_from("=I", info_of(host), ABI)[0]


def write_info(host, at, value):
    info = info_of(host)
    info[at:at + len(value)] = value
    fd = bpfsys.get(f"{host.state}/sl_info")
    bpfsys.update(fd, struct.pack("=I", 0), info)
    os.close(fd)


def end(host, number=signal.SIGTERM):
    host.daemon.signal(number)
    host.daemon.child.wait(WAIT)


def targets_of(host):
    return {t["kind"]: t for t in host.full_status()["targets"]}


def working(host, path):
    child = Lines([*host.inside, sys.executable, "-c", WORK, path], stdin=subprocess.PIPE)
    host.children.append(child)
    child.wait(lambda line: line == "ready")
    return child


def configured(host):
    (host.top / "a").mkdir()
    host.configure(CONFIG + f'  - match: {{cgroup: "/{host.name}/a"}}\n    policy: command\n',
                   command=COMMAND)
    return host.top / "a"


def test_upgrades_under_probes(host, request):
    """There and back, under probes that are to pass and that are not; a start that is killed at any
    point of the take-over is followed by one that ends it."""
    upgrades = int(os.environ.get("SLUICE_UPGRADES", "4"))
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    chance, killed = random.Random(seed), 0
    prober = Answering(host)
    request.addfinalizer(prober.close)
    path, socks = configured(host), echo(host)
    assert prober.arrives("198.51.100.1")       # nothing enforced
    for address in ("127.0.0.1", "::1"):
        host.within(lambda a=address: socket.create_connection((a, 7002), 5)).close()
    start(host, 0)
    host.attached("vnet0", policy="agent")
    assert until(lambda: targets_of(host)["cgroup"]["policy"] == "command")
    first, abi = targets_of(host), abi_of(host)
    child, echoes = working(host, path), Echoes(host, prober)
    request.addfinalizer(echoes.stop)
    prober.start()
    for i in range(upgrades):
        version = (i + 1) % 2
        end(host, signal.SIGKILL if i % 3 == 2 else signal.SIGTERM)
        while chance.random() < 0.5:            # given up half-way
            start(host, version, wait=False)
            time.sleep(chance.random() * 0.4)
            end(host, signal.SIGKILL)
            killed += 1
        start(host, version)
        assert abi_of(host) == abi + version
        time.sleep(0.2)
        for kind, t in targets_of(host).items():
            assert t["attached"] and t["whole"] and t["state"] == "attached", t
            assert t["policy"] == first[kind]["policy"], t
            assert t["generation"] == first[kind]["generation"], "adopted, as it was"
            # a packet between two counters when they are read is in the first alone
            assert until(lambda k=kind: accounts(targets_of(host)[k])), targets_of(host)[kind]
    sent, missing, leaked = prober.stop()
    answered = echoes.stop()
    child.child.stdin.close()
    done = child.wait(lambda line: line.startswith("done"))
    for sock in socks:
        sock.close()
    print(f"\nseed {seed}: {upgrades} upgrades, {killed} more killed half-way; device: {sent} frames "
          f"each way, leaked {leaked}, wrong denials {missing}, answers missing {sent - answered}; "
          f"cgroup: rounds, leaks, wrong denials: {done.split()[1:]}")
    assert (leaked, missing, sent - answered) == (0, 0, 0) and sent > 100
    assert [line for line in child.lines if line not in ("ready", done)] == []
    assert int(done.split()[1]) > 100


def test_events_that_nobody_read_are_told(host, prober):
    """Their layout is another: how many, and that the counters begin anew."""
    log = host.folder / "a.jsonl"
    host.configure(CONFIG + f"audit: [{{file: {log}}}]\n")
    start(host, 0)
    host.attached("vnet0")
    assert not prober.arrives("198.51.100.1")
    host.daemon.signal(signal.SIGSTOP)
    for _ in range(50):
        prober.send("198.51.100.1", b"unread")
    end(host, signal.SIGKILL)
    start(host, 1)
    line = host.daemon.wait_error("took ")
    unread = int(line.rsplit("unread events of it: ", 1)[1])
    assert host.state in line and 50 <= unread < 100, line
    assert until(lambda: f'"unread":{unread}' in log.read_text()), log.read_text()
    assert not prober.arrives("198.51.100.1") and prober.arrives("192.0.2.1")
    assert 0 < host.status()["vnet0"]["denied"] < 50        # begun anew


# ---- refused ----

def refused(host, version, *says):
    """It names the path, ends, and all goes on as it was."""
    before = info_of(host)
    daemon = start(host, version, wait=False)
    assert daemon.child.wait(WAIT) == 1
    for text in says:
        daemon.wait_error(text)
    assert info_of(host) == before


def enforced(prober):
    return prober.arrives("192.0.2.1") and not prober.arrives("198.51.100.1")


@pytest.fixture
def ours(host, prober):
    host.configure()
    start(host, 0)
    host.attached("vnet0")
    end(host)
    assert enforced(prober)
    return host


def test_flows_of_another_layout(ours, prober):
    """No overlap is possible: what is open would be cut."""
    write_info(ours, LAYOUT_FLOWS, b"\x09")
    refused(ours, 1, f"{ours.state}/sl_flows: of another layout")
    assert enforced(prober)
    start(ours, 0)                      # its own version goes on
    ours.attached("vnet0", policy="agent")


def test_a_pin_of_a_wrong_type(ours, prober):
    path = pathlib.Path(ours.state) / "sl_words"
    path.unlink()
    fd = bpfsys.array(8, 4)
    bpfsys.pin(fd, path)
    os.close(fd)
    refused(ours, 1, str(path), "another kind or size")
    assert enforced(prober)


def test_a_pin_that_is_missing(ours, prober):
    path = pathlib.Path(ours.state) / "sl_flows"
    path.unlink()
    refused(ours, 1, str(path), "half written")
    assert enforced(prober)


def links(host):
    """Pins by direction; before 6.6 there are filters of clsact instead, and no pins."""
    there = {p.name.rsplit("-", 1)[1]: p for p in pathlib.Path(host.state).glob("netns-*/link-*")
             if not p.name.endswith("peer")}
    if not there:
        assert host.status()["vnet0"]["via"] == "clsact"
        pytest.skip("this kernel has no tcx")
    return there


def test_a_link_that_is_none(ours, prober):
    path = links(ours)["to"]
    keep = bpfsys.get(path)             # the real one goes on
    path.unlink()
    fd = bpfsys.program(0)
    bpfsys.pin(fd, path)
    os.close(fd)
    refused(ours, 1, str(path))
    assert enforced(prober)
    os.close(keep)


def test_links_of_the_two_directions_in_each_others_place(ours, prober):
    """The kernel would put either program into either link."""
    there = links(ours)
    spare = there["to"].with_name("spare")
    there["to"].rename(spare)
    there["from"].rename(there["to"])
    spare.rename(there["from"])
    refused(ours, 1, "no link of a device's program")
    assert enforced(prober)


def test_a_version_that_still_reads_the_events(ours, prober):
    """`monitor` of the version before works with its maps: it is to end first."""
    monitor = ours.start(SLUICE, "monitor", "-o", "json", env=ours.env)
    assert until(lambda: not prober.arrives("198.51.100.1", 0.05) and monitor.lines)
    refused(ours, 1, ours.state, f"process {monitor.child.pid}")
    assert enforced(prober)
    assert monitor.close() == 0
    start(ours, 1)
    ours.attached("vnet0", policy="agent")
    assert enforced(prober)


def test_commands_of_another_version_change_nothing(ours, prober):
    """Without sluiced, either way: the path, both ABIs, and what to do."""
    start(ours, 1)
    end(ours)
    before, abi = info_of(ours), abi_of(ours)
    policy = ours.write(AGENT)
    for words in (["status"], ["attach", "--dev", "vnet0", "-p", policy], ["detach", "--all"],
                  ["rules", "--dev", "vnet0"]):
        done = ours.sluice(*words)
        assert done.returncode == 1, words
        assert ours.state in done.stderr and f"its ABI is {abi}, this version's is {abi - 1}" in \
            done.stderr, done
    assert info_of(ours) == before and enforced(prober)
