# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What is said of devices: by `attach`, `status`, `rules`, `monitor`, and when it is
refused."""
import ctypes
import json
import os
import pathlib
import socket
import struct
import subprocess

import pytest
from scapy.compat import raw
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from bpfobjects import bpf
from devlab import Host
from lab import SLUICE, until

NONE = "sluice: 1\nname: none\ndefault: deny\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture
def host(tmp_path):
    made = Host("sl-tell", tmp_path)
    try:
        made.policy = made.write(NONE, "none.yaml")
        yield made
    finally:
        made.close()


def attach(host, device, **kw):
    if isinstance(device, bytes):
        device = os.fsdecode(device)
    return host.sluice("attach", "--dev", device, "-p", host.policy, **kw)


def attached(host, device):
    done = attach(host, device)
    assert done.returncode == 0, done.stderr
    return done


# ---- where pins would not last ----

def private(host, *words):
    """A command in the namespace and a mount namespace, as ip(8) runs it: with a /sys of
    the command's own."""
    env = {k: v for k, v in host.env.items() if k != "SLUICE_STATE"}
    return subprocess.run(["ip", "netns", "exec", host.name, *words], text=True, timeout=60,
                          env=env, capture_output=True, check=False)


@pytest.mark.parametrize("words", [["attach", "--dev", "v0"], ["watch", "--dev", "v0"]])
def test_a_mount_namespace_of_its_own_is_refused(host, words):
    """What would say "attached" and be gone with the command is not attached."""
    host.tap("v0")
    done = private(host, SLUICE, *words, "-p", host.policy)
    assert done.returncode == 1 and "nsenter --net=/run/netns/" in done.stderr
    assert done.stdout == ""
    attached(host, "v0")
    assert host.policy_of("v0") == "none"


@pytest.mark.parametrize("words", [["status"], ["detach", "--all"], ["rules", "--dev", "v0"]])
def test_what_cannot_be_seen_is_not_said_to_be_nothing(host, words):
    done = private(host, SLUICE, *words)
    assert done.returncode == 1 and "nsenter --net=/run/netns/" in done.stderr
    assert done.stdout == ""


def test_neither_is_a_bpf_file_system_of_its_own(host):
    host.tap("v0")
    done = private(host, "sh", "-c", 'mount -t bpf bpf /sys/fs/bpf && exec "$@"', "sh",
                   SLUICE, "attach", "--dev", "v0", "-p", host.policy)
    assert done.returncode == 1 and "nsenter --net=/run/netns/" in done.stderr


def test_a_mount_namespace_with_the_hosts_bpf_file_system_is_not_refused(host):
    host.tap("v0")
    done = host.run("unshare", "-m", SLUICE, "attach", "--dev", "v0", "-p", host.policy,
                    env=host.env)
    assert done.returncode == 0, done.stderr
    assert host.policy_of("v0") == "none"


@pytest.mark.parametrize("where", ["{tmp}/state", "state"])
def test_a_state_on_another_file_system_is_refused_for_that(host, tmp_path, where):
    """Not for rights that are not missing."""
    host.tap("v0")
    host.env["SLUICE_STATE"] = where.format(tmp=tmp_path)
    done = attach(host, "v0", cwd=tmp_path)
    assert done.returncode == 1
    assert "is in no bpf file system" in done.stderr
    assert "CAP_BPF" not in done.stderr and "sudo" not in done.stderr
    assert not (tmp_path / "state").exists()


# ---- events have one reader ----

def monitor(host, *words):
    """Ready when it has claimed the events; the child."""
    child = host.start(SLUICE, "monitor", "-o", "json", *words, env=host.env)
    assert until(lambda: reader(host) == child.child.pid or child.child.poll() is not None)
    return child


def reader(host):
    """The process that has the events."""
    lock = pathlib.Path(host.state, "reader")
    for line in pathlib.Path("/proc/locks").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if lock.exists() and words[1] == "FLOCK" and words[5].endswith(f":{lock.stat().st_ino}"):
            return int(words[4])
    return None


def test_one_reader_at_a_time(host, tmp_path):
    """The second is refused, by the first one's process; when that has ended it may."""
    log = tmp_path / "log.jsonl"
    host.tap("v0")
    first = host.start(SLUICE, "watch", "--dev", "v*", "-p", host.policy, "--log", log,
                       "-o", "json", env=host.env)
    first.wait_error("others will follow")
    second = host.sluice("monitor")
    assert second.returncode == 1 and second.stdout == ""
    assert f"process {first.child.pid} " in second.stderr
    first.close()
    third = monitor(host)
    again = host.sluice("watch", "--dev", "v*", "-p", host.policy, "--log", log)
    assert again.returncode == 1 and f"process {third.child.pid} " in again.stderr
    assert third.child.poll() is None


def test_a_watch_without_a_log_leaves_the_events(host):
    host.tap("v0")
    watch = host.watch("--dev", "v*", "-p", host.policy)
    child = monitor(host)
    assert child.child.poll() is None and watch.child.poll() is None


def test_a_reader_that_was_killed_is_none(host):
    child = monitor(host)
    child.child.kill()
    child.child.wait()
    assert monitor(host).child.poll() is None


# ---- as text ----

def sent(host, tap, frame, text):
    """What `monitor` says of a frame that is denied."""
    child = host.start(SLUICE, "monitor", env=host.env)
    assert until(lambda: reader(host) == child.child.pid)
    os.write(tap, frame)
    return child.wait(lambda line: text in line)


MAC, OTHER = "52:54:00:12:34:56", "52:54:00:12:34:57"


@pytest.mark.parametrize("frame, options, says", [
    (Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff", type=0x88cc) / b"lldp", [],
     f"frame {MAC} > ff:ff:ff:ff:ff:ff ethertype 0x88cc  ethertype"),
    (Ether(src=OTHER, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=OTHER, psrc="192.0.2.10"),
     ["--mac", MAC], f"frame {OTHER} > ff:ff:ff:ff:ff:ff arp  mac-binding"),
    (Ether(src=MAC, dst=OTHER) / Dot1Q(vlan=5) / IP(dst="192.0.2.1") / UDP(), [],
     f"frame {MAC} > {OTHER} vlan 5 ethertype 0x0800  vlan"),
    (Ether(src=MAC, dst=OTHER) / IPv6(src="2001:db8::10", dst="2001:db8::1", nh=99) / b"12345678",
     [], "2001:db8::1/protocol 99  "),
], ids=["ethertype", "mac", "vlan", "protocol"])
def test_monitor_shows_what_was_refused(host, frame, options, says):
    tap = host.tap("v0")
    host.ip("link set v0 up")
    done = host.sluice("attach", "--dev", "v0", "-p", host.policy, *options)
    assert done.returncode == 0, done.stderr
    assert says in sent(host, tap, raw(frame), says.split()[-1])


NAMES = {"colour": (b"\x1b[31mred", "\\x1b[31mred"), "bytes": (b"t\xff", "t\\xff")}


@pytest.mark.parametrize("name, shown", NAMES.values(), ids=NAMES)
def test_a_name_does_not_steer_the_terminal(host, name, shown):
    """Any bytes but a slash and white space: shown, and a row in JSON too."""
    subprocess.run([b"ip", b"-n", host.name.encode(), b"link", b"add", b"name", name, b"type",
                    b"veth", b"peer", b"name", b"p0"], check=True)
    done = attached(host, name)
    assert done.stdout.startswith(f"{shown}: policy none")
    done = host.sluice("status")
    assert f"\n{shown} " in done.stdout and "\x1b" not in done.stdout
    target = json.loads(host.sluice("status", "-o", "json").stdout)["targets"][0]
    assert target["name"] == (shown if name[0] != 0x1b else name.decode())
    host.ip("link set p0 up")
    subprocess.run([b"ip", b"-n", host.name.encode(), b"link", b"set", name, b"up"], check=True)
    lldp = raw(Ether(src=MAC, dst=OTHER, type=0x88cc) / b"lldp")
    child = host.start(SLUICE, "monitor", env=host.env)
    assert until(lambda: reader(host) == child.child.pid)
    host.within(lambda: send(lldp, "p0"))
    assert f"  {shown} " in child.wait(lambda line: "ethertype 0x88cc" in line)
    child.close()
    child = monitor(host)
    host.within(lambda: send(lldp, "p0"))
    assert child.wait(lambda record: record["link"]["ethertype"] == "0x88cc")["target"] == {
        "kind": "device", "name": target["name"]}
    done = host.sluice("detach", "--all")
    assert done.stdout.startswith(f"{shown}: detached")


def send(frame, device):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        sock.send(frame)


# ---- two namespaces, one name ----

def test_detach_all_says_which_is_elsewhere(host, tmp_path):
    other = Host("sl-tell-o", tmp_path / "other")
    other.env = host.env
    try:
        for each in (host, other):
            each.tap("v0")
            done = each.sluice("attach", "--dev", "v0", "-p", host.policy)
            assert done.returncode == 0, done.stderr
        cookie = next(t["netns"] for t in json.loads(
            host.sluice("status", "-o", "json").stdout)["targets"] if not t["here"])
        done = host.sluice("detach", "--all")
        assert sorted(done.stdout.splitlines()) == [
            f"v0 (in another network namespace, cookie {cookie}): detached; nothing judges its "
            "frames now", "v0: detached; nothing judges its frames now"]
        attached(host, "v0")
        assert other.sluice("attach", "--dev", "v0", "-p", host.policy).returncode == 0
        done = host.sluice("detach", "--all", "-o", "json")
        assert sorted(json.loads(line)["here"] for line in done.stdout.splitlines()) == [
            False, True]
    finally:
        other.close()


# ---- a program before ours ----

PROG_LOAD, LINK_CREATE, TCX_INGRESS, BEFORE = 5, 28, 46, 8


def passing_program():
    """A tc program that ends the chain (TCX_PASS, 0); its descriptor."""
    code = struct.pack("BBhi", 0xb7, 0, 0, 0) + struct.pack("BBhi", 0x95, 0, 0, 0)
    text = [ctypes.create_string_buffer(each) for each in (code, b"GPL")]
    attr = struct.pack("IIQQIIQII16s", 3, 2, *map(ctypes.addressof, text), 0, 0, 0, 0, 0, b"other")
    return bpf(PROG_LOAD, ctypes.create_string_buffer(attr.ljust(144, b"\0"), 144))


def put_before(program, device):
    """A link; closing it takes the program off."""
    attr = struct.pack("IIII", program, socket.if_nametoindex(device), TCX_INGRESS, BEFORE)
    return bpf(LINK_CREATE, ctypes.create_string_buffer(attr.ljust(64, b"\0"), 64))


def preceded(host):
    return json.loads(host.sluice("status", "-o", "json").stdout)["targets"][0]["preceding"]


def test_a_program_that_is_put_before_ours_is_told(host):
    """Then what it passes is not judged: status says so, and watch puts ours first again."""
    host.tap("v0")
    watch = host.watch("--dev", "v*", "-p", host.policy)
    watch.wait(lambda line: line["change"] == "attached")
    if host.status()["v0"]["via"] != "tcx":
        pytest.skip("this kernel has no tcx")
    assert preceded(host) is None and "warning" not in host.sluice("status").stdout
    program = passing_program()
    link = host.within(lambda: put_before(program, "v0"))
    try:
        assert preceded(host) > 0
        assert "v0: a tcx program of somebody else's stands before" in host.sluice("status").stdout
        watch.wait(lambda line: line["change"] == "lost" and "before ours" in line["why"])
        assert until(lambda: preceded(host) is None)
    finally:
        os.close(link)
        os.close(program)
    assert until(lambda: preceded(host) is None)


# ---- what a policy means there ----

NAT = pathlib.Path(__file__).resolve().parents[2] / "policies" / "vm-nat-filtered.yaml"
TESTED = ('sluice: 1\nname: tested\nrules:\n  - {allow: "@gateway:53", empty: ok}\n'
          "tests:\n  - allow: 192.0.2.1:53/udp\n  - deny: 198.51.100.1:53/udp\n")


@pytest.fixture
def two_networks(host):
    """A guest's bridge with 192.0.2.1, and the machine's default route over another."""
    host.tap("v0")
    for bridge, address in (("br0", "192.0.2.1/24"), ("br1", "198.51.100.2/24")):
        host.ip(f"link add {bridge} type bridge")
        host.ip(f"addr add {address} dev {bridge}")
        host.ip(f"link set {bridge} up")
    host.ip("link set v0 master br0")
    host.ip("route add default via 198.51.100.1")
    return host


def explained(host, *words):
    done = host.sluice("explain", "-p", NAT, "-o", "json", *words)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["verdict"], answer["rule"]


def test_explain_answers_for_a_device(two_networks):
    host = two_networks
    assert explained(host, "192.0.2.1:53/udp") == ("deny", "no-host-no-guests")
    assert explained(host, "--dev", "v0", "192.0.2.1:53/udp") == ("allow", "gateway-dns")
    assert explained(host, "198.51.100.1:53/udp") == ("allow", "gateway-dns")
    assert explained(host, "--dev", "v0", "198.51.100.1:53/udp") == ("allow", "dns")
    assert explained(host, "--dev", "v0", "192.0.2.77:443") == ("deny", "no-host-no-guests")


def test_tests_and_sets_are_those_of_a_device(two_networks):
    host = two_networks
    policy = host.write(TESTED, "tested.yaml")
    assert host.sluice("test", policy).returncode == 1
    done = host.sluice("test", "--dev", "v0", policy)
    assert (done.returncode, done.stdout) == (0, "2 passed, 0 failed\n")
    lines = host.sluice("rules", "--sets", "--dev", "v0", "-o", "json").stdout.splitlines()
    sets = {each["set"]: each["addresses"] for each in map(json.loads, lines)}
    assert "192.0.2.1" in sets["gateway"]
    assert "198.51.100.1" not in sets["gateway"]


def test_what_a_device_refuses_is_refused_for_it(two_networks):
    host = two_networks
    policy = host.write("sluice: 1\nrules:\n  - allow: {to: 192.0.2.9, uid: 0}\n", "uid.yaml")
    assert host.sluice("explain", "-p", policy, "192.0.2.9:80").returncode == 0
    done = host.sluice("explain", "-p", policy, "--dev", "v0", "192.0.2.9:80")
    assert done.returncode == 1 and "uid" in done.stderr
    done = host.sluice("explain", "-p", policy, "--dev", "none0", "192.0.2.9:80")
    assert done.returncode == 1 and "no device 'none0'" in done.stderr
