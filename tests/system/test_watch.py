# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice watch`: every device whose name matches, as they come and go."""
import json
import os
import pathlib
import re
import signal
import time

import pytest

from devlab import MAC, WAIT, Host
from lab import SLUICE, until
from sluicedlab import AGENT
from watchlab import told

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


# ---- come and go ----

def test_what_is_there_what_comes_and_what_goes(host):
    host.tap("vnet0")
    other = host.tap("tap9")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    line = watch.wait(told("attached", "vnet0", policy="agent"))
    assert line["ifindex"] == host.ifindex("vnet0")
    assert line["event"] == "device" and line["generation"] > 0 and line["why"] is None
    fd = host.tap("vnet1")
    watch.wait(told("attached", "vnet1"))
    targets = host.status()
    assert {n: t["policy"] for n, t in targets.items()} == {"vnet0": "agent", "vnet1": "agent"}
    assert all(t["attached"] for t in targets.values())
    host.drop(fd)
    watch.wait(told("gone", "vnet1"))
    assert until(lambda: list(host.status()) == ["vnet0"])
    host.drop(other)
    numbers = [l["seq"] for l in watch.lines]
    assert numbers == list(range(len(numbers)))


def test_several_patterns(host):
    watch = host.watch("--dev", "vnet*", "--dev", "tap[0-9]", "-p", host.write(AGENT))
    for name in ("veth0", "tap10", "vnetx", "tap3"):
        host.tap(name)
    watch.wait(told("attached", "vnetx"))
    watch.wait(told("attached", "tap3"))
    assert set(host.status()) == {"vnetx", "tap3"}


def test_no_ethernet_device(host):
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    host.ip("tuntap add dev vnet0 mode tun")
    watch.wait_error("vnet0 matches, but is no Ethernet device")
    host.tap("vnet1")
    watch.wait(told("attached", "vnet1"))
    assert list(host.status()) == ["vnet1"]


def test_text_output(host):
    child = host.start(SLUICE, "watch", "--dev", "vnet*", "-p", host.write(AGENT), env=host.env)
    child.wait_error("others will follow")
    fd = host.tap("vnet0")
    child.wait(lambda line: re.fullmatch(r"attached vnet0 \(ifindex \d+\): policy agent, "
                                         r"generation 1", line))
    host.drop(fd)
    child.wait(lambda line: line.startswith("gone vnet0 (ifindex "))


def test_renames(host):
    """Out of a pattern: it stays attached, under its new name. Into one: attached."""
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    host.tap("other")
    host.ip("link set other name vnet0")
    line = watch.wait(told("attached", "vnet0"))
    host.ip("link set vnet0 name vnet7")
    watch.wait(told("renamed", "vnet7", ifindex=line["ifindex"], why="was vnet0"))
    watch.wait(told("renewed", "vnet7"))
    assert list(host.status()) == ["vnet7"]
    host.ip("link set vnet7 name elsewhere")
    assert "stays attached" in watch.wait(told("renamed", "elsewhere"))["why"]
    watch.wait(told("renewed", "elsewhere"))
    assert host.policy_of("elsewhere") == "agent"


def test_a_number_used_again_inherits_nothing(host):
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    host.ip("link add vnet0 index 4242 type veth peer name p0")
    watch.wait(told("attached", "vnet0", ifindex=4242))
    host.ip("link set vnet0 up")
    host.ip("link set p0 up")
    host.ip("link del vnet0")
    host.ip("link add other index 4242 type veth peer name p1")
    watch.wait(told("gone", "vnet0", ifindex=4242))
    assert until(lambda: host.status() == {})
    host.ip("link del other")
    host.ip("link add vnet9 index 4242 type veth peer name p2")
    watch.wait(told("attached", "vnet9", ifindex=4242))
    target = host.status()["vnet9"]
    assert (target["decided"], target["tx_frames"], target["rx_frames"]) == (0, 0, 0)


def test_moved_into_the_namespace_and_out(host, tmp_path):
    other = Host("sl-watch-o", tmp_path)
    try:
        watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
        other.ip("link add vnet0 type veth peer name p0")
        other.ip(f"link set vnet0 netns {host.name}")
        watch.wait(told("attached", "vnet0"))
        host.ip(f"link set vnet0 netns {other.name}")
        watch.wait(told("gone", "vnet0"))
        watch.forget()
        other.ip(f"link set vnet0 netns {host.name}")
        watch.wait(told("attached", "vnet0"))
        assert host.policy_of("vnet0") == "agent"
    finally:
        other.close()


def test_a_burst_of_200(host):
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    start = time.monotonic()
    host.batch([f"link add vnet{i} group 7 type veth peer name p{i} group 7"
                for i in range(200)])
    made = time.monotonic()
    for i in range(200):
        watch.wait(told("attached", f"vnet{i}"), 60)
    print(f"200 devices made in {made - start:.1f} s, attached "
          f"{time.monotonic() - made:.1f} s after the last")
    targets = host.status()
    assert len(targets) == 200 and all(t["attached"] for t in targets.values())
    host.ip("link del group 7")
    for i in range(200):
        watch.wait(told("gone", f"vnet{i}"), 60)
    assert until(lambda: host.status() == {})
    assert not list(pathlib.Path(host.state).rglob("link-*"))


def test_an_overrun(host):
    """News is lost while the watcher stands still; nothing stays unattached for it."""
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--receive-buffer", "4096")
    host.ip("link add vnet-old type veth peer name p-old")
    host.ip("link add vnet-same index 4242 type veth peer name p-same")
    watch.wait(told("attached", "vnet-same"))
    host.status()               # it has let go of the state's lock
    watch.signal(signal.SIGSTOP)
    host.ip("link del vnet-old")
    host.ip("link del vnet-same")
    host.ip("link add vnet-same index 4242 type veth peer name p-same")
    host.batch([f"link add vnet{i} type veth peer name p{i}" for i in range(40)])
    assert not host.policy_of("vnet-same")
    watch.forget()
    watch.signal(signal.SIGCONT)
    for i in range(40):
        watch.wait(told("attached", f"vnet{i}"), 60)
    watch.wait(told("attached", "vnet-same"))
    watch.wait_error("news of devices was lost")
    assert until(lambda: len(host.status()) == 41)
    assert host.policy_of("vnet-same") == "agent"


# ---- what is denied, and its record ----

def test_denied_frames_are_recorded(host, guest, tmp_path):
    log = tmp_path / "events.jsonl"
    host.ip("addr add 198.51.100.1/32 dev br0")
    one = guest()
    assert one.arrives("198.51.100.1")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--log", log, "-v")
    watch.wait(told("attached", "vnet0"))
    assert not one.arrives("198.51.100.1")
    assert one.arrives("192.0.2.1")
    watch.wait_error("vnet0 deny 198.51.100.1:9/udp  default")
    event, = [json.loads(line) for line in log.read_text().splitlines()]
    assert event["target"] == {"kind": "device", "name": "vnet0"}
    assert (event["verdict"], event["reason"], event["policy"]) == ("deny", "default", "agent")
    assert event["destination"]["address"] == "198.51.100.1" and event["hook"] == "tc-ingress"


def test_the_last_event_of_a_device_has_its_policy(host, guest, tmp_path):
    """Its first one, too, which is read when the device is gone."""
    log = tmp_path / "events.jsonl"
    host.ip("addr add 198.51.100.1/32 dev br0")
    one = guest()
    assert one.arrives("198.51.100.1")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--log", log)
    watch.wait(told("attached", "vnet0"))
    host.status()               # it has let go of the state's lock
    watch.signal(signal.SIGSTOP)
    host.ip("link add other type bridge")        # news of devices waits before the event does
    assert not one.arrives("198.51.100.1")
    host.drop(one.tap)
    watch.signal(signal.SIGCONT)
    watch.wait(told("gone", "vnet0"))
    assert until(lambda: "198.51.100.1" in log.read_text())
    event, = [json.loads(line) for line in log.read_text().splitlines()
              if "198.51.100.1" in line]
    assert event["target"] == {"kind": "device", "name": "vnet0"}
    assert (event["policy"], event["generation"] > 0) == ("agent", True)


def test_audit_holds_nothing_back(host, guest, tmp_path):
    log = tmp_path / "events.jsonl"
    host.ip("addr add 198.51.100.1/32 dev br0")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--audit", "--log", log)
    one = guest()
    watch.wait(told("attached", "vnet0"))
    assert one.arrives("198.51.100.1")
    assert until(lambda: log.read_text())
    assert json.loads(log.read_text().splitlines()[0])["verdict"] == "audit-deny"
    assert host.status()["vnet0"]["mode"] == "audit"


def test_a_log_that_cannot_be_opened(host):
    done = host.sluice("watch", "--dev", "vnet*", "-p", host.write(AGENT), "--log", "/no/such/file")
    assert done.returncode == 1 and "/no/such/file" in done.stderr


def test_bindings_are_for_all(host):
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--address", "192.0.2.0/24",
                       "--address", "dhcp", "--vlan", "42")
    host.tap("vnet0")
    watch.wait(told("attached", "vnet0"))
    assert host.status()["vnet0"]["binding"] == {
        "mac": None, "addresses": ["192.0.2.0/24"], "lease": True, "vlans": [42]}


# ---- beside others ----

def test_what_has_a_policy_is_left_alone(host):
    host.tap("vnet0")
    own = host.write(AGENT.replace("agent", "by-hand"), "own.yaml")
    assert host.sluice("attach", "--dev", "vnet0", "-p", own, "--mac", MAC).returncode == 0
    path = host.write(AGENT)
    watch = host.watch("--dev", "vnet*", "-p", path)
    watch.wait(told("left", "vnet0"))
    watch.signal(signal.SIGHUP)
    host.tap("vnet1")
    watch.wait(told("attached", "vnet1"))
    assert (host.status()["vnet0"]["policy"], host.status()["vnet0"]["binding"]["mac"]) == (
        "by-hand", MAC)
    # the same policy with a tighter binding is not ours either
    assert host.sluice("attach", "--dev", "vnet1", "-p", path, "--mac", MAC).returncode == 0
    watch.signal(signal.SIGHUP)
    watch.wait(told("left", "vnet1"))
    assert host.status()["vnet1"]["binding"]["mac"] == MAC


def test_what_another_watch_attached_is_not_said_to_be_attachs(host):
    """Who gave a device its policy nobody has written down: all who may have are named, and
    the policy."""
    host.tap("vnet0")
    first = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    first.wait(told("attached", "vnet0"))
    second = host.watch("--dev", "vnet*", "-p",
                        host.write(AGENT.replace("agent", "second"), "second.yaml"))
    why = second.wait(told("left", "vnet0"))["why"]
    assert "policy agent already" in why and "another `sluice watch`" in why, why
    assert host.policy_of("vnet0") == "agent"


def test_what_is_taken_off_is_attached_again(host):
    host.tap("vnet0")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    watch.wait(told("attached", "vnet0"))
    watch.forget()
    assert host.sluice("detach", "--dev", "vnet0").returncode == 0
    watch.wait(told("lost", "vnet0"))
    watch.wait(told("attached", "vnet0"))
    assert host.policy_of("vnet0") == "agent"


def test_the_pins_removed(host):
    host.tap("vnet0")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "-v")
    watch.wait(told("attached", "vnet0"))
    watch.forget()
    for path in sorted(pathlib.Path(host.state).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    pathlib.Path(host.state).rmdir()
    watch.wait(told("lost", "vnet0"))
    watch.wait(told("attached", "vnet0"))
    assert host.policy_of("vnet0") == "agent"


def test_the_end_leaves_all_enforced_and_the_next_run_goes_on(host, guest):
    host.ip("addr add 198.51.100.1/32 dev br0")
    one = guest()
    path = host.write(AGENT)
    watch = host.watch("--dev", "vnet*", "-p", path)
    first = watch.wait(told("attached", "vnet0"))
    assert watch.close() == 0
    assert [e for e in watch.errors if "left attached, enforced: vnet0 (" in e]
    assert not one.arrives("198.51.100.1")
    assert one.arrives("192.0.2.1")
    watch = host.watch("--dev", "vnet*", "-p", path)
    assert watch.wait(told("attached", "vnet0"))["generation"] > first["generation"]
    assert len(host.status()) == 1


def test_killed_and_started_again(host):
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    host.batch([f"tuntap add dev vnet{i} mode tap" for i in range(20)])
    watch.wait(told("attached", "vnet3"))
    watch.signal(signal.SIGKILL)
    watch.child.wait(WAIT)
    targets = host.status()
    assert "vnet3" in targets and all(t["attached"] for t in targets.values())
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT))
    for i in range(20):
        watch.wait(told("attached", f"vnet{i}"))
    targets = host.status()
    assert len(targets) == 20 and {t["policy"] for t in targets.values()} == {"agent"}


# ---- usage ----

@pytest.mark.parametrize("words, says", [
    (["-p", "x"], "--dev and -p are needed"), (["--dev", "vnet*"], "--dev and -p are needed"),
    (["--dev", "*", "-p", "x"], "every device"), (["--dev", "", "-p", "x"], "it is empty"),
    (["--dev", "vnet*", "-p", "x", "vnet1"], "what is 'vnet1'?"),
    (["--dev", "vnet*", "-p", "x", "--address", "no"], "'no' is no address"),
    (["--dev", "vnet*", "-p", "x", "--receive-buffer", "0"], "--receive-buffer"),
    (["--dev", "vnet*", "-p", "x", "-o", "yaml"], "text or json"),
    (["--dev", "vnet*", "-p", "x", "--mac", MAC], "--mac")])
def test_wrong_usage(host, words, says):
    done = host.sluice("watch", *words)
    assert done.returncode == 2 and says in done.stderr and done.stdout == ""
