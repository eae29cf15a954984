# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced: devices that come and go, and the commands that go through it."""
import os
import pathlib
import signal
import subprocess
import time

import pytest

from devlab import Namespace
from dnsmsg import query
from lab import SLUICE
from sluicedlab import AGENT, CONFIG, SLUICED, WAIT, DaemonHost, udp_frame, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


# ---- devices ----

def test_what_is_there_what_comes_and_what_goes(host):
    host.veth("vnet0")
    host.veth("other")
    host.configure()
    host.start_daemon()
    target = host.attached("vnet0", policy="agent", state="attached", managed=True)
    assert target["line"] == 3 and not target["by_hand"] and target["whole"]
    host.veth("vnet1")
    host.attached("vnet1", policy="agent")
    host.ip("link del vnet1")
    assert until(lambda: set(host.status()) == {"vnet0"})


def test_the_first_target_that_matches(host):
    host.configure('sluiced: 1\ntargets:\n'
                   '  - {match: {device: "vnet-db*"}, policy: db, mode: audit}\n'
                   '  - {match: {device: ["vnet*", "tap*"]}, policy: agent,\n'
                   '     bind: {mac: "52:54:00:12:34:56", address: 192.0.2.10}}\n',
                   db="sluice: 1\nname: db\n")
    host.start_daemon()
    for name in ("vnet-db1", "vnet1", "tap1"):
        host.veth(name)
    assert host.attached("vnet-db1", policy="db")["mode"] == "audit"
    assert host.attached("vnet1", policy="agent")["binding"]["mac"] == "52:54:00:12:34:56"
    assert host.attached("tap1", policy="agent")["binding"]["addresses"][0] == "192.0.2.10"


def test_denied_and_allowed(host, prober):
    assert prober.arrives("192.0.2.1") and prober.arrives("198.51.100.1")   # nothing enforced
    host.configure()
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    assert prober.arrives("192.0.2.1") and not prober.arrives("198.51.100.1")


def test_the_end_opens_nothing(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    assert host.daemon.close() == 0
    assert not os.path.exists(host.socket)
    assert prober.arrives("192.0.2.1") and not prober.arrives("198.51.100.1")
    assert host.policy_of("vnet0") == "agent"       # from the pins


# ---- commands through it ----

def test_attach_and_detach_by_hand(host, prober):
    host.configure(CONFIG.replace("vnet", "none"))
    host.start_daemon()
    path = host.write(AGENT.replace("name: agent", "name: hand"))
    done = host.sluice("attach", "--dev", "vnet0", "-p", path, "--address", "192.0.2.0/24")
    assert done.returncode == 0 and "without sluiced" not in done.stdout, done
    target = host.attached("vnet0", policy="hand", by_hand=True)
    assert target["binding"]["addresses"] == ["192.0.2.0/24"]
    assert not prober.arrives("198.51.100.1")
    host.configure()                        # names the device: what was given by hand stays
    assert until(lambda: host.full_status()["daemon"]["config"]["reloads"] >= 2)
    host.attached("vnet0", policy="hand")
    assert host.sluice("detach", "--dev", "vnet0").returncode == 0
    assert prober.arrives("198.51.100.1")
    done = host.sluice("detach", "--dev", "vnet0")
    assert done.returncode == 1 and "has no policy" in done.stderr


def test_the_name_and_index_of_a_device_that_was_moved(host):
    """The new one is what the name means, as long as it is there; then the moved one is."""
    there = Namespace("sl-moved")
    try:
        host.configure()
        host.start_daemon()
        host.veth("vnet5")
        index = host.attached("vnet5", policy="agent")["ifindex"]
        host.ip(f"link set vnet5 netns {there.name}")
        assert until(lambda: any("was moved" in w for w in host.full_status()["warnings"]))
        host.ip(f"link add vnet5 index {index} type veth peer name other5")

        def of_that_index():
            return {t["attached"]: t["slot"] for t in host.full_status()["targets"]
                    if t["ifindex"] == index}
        assert until(lambda: set(of_that_index()) == {True, False}), of_that_index()
        moved = of_that_index()[False]
        assert host.sluice("detach", "--dev", "vnet5").returncode == 0
        assert of_that_index() == {False: moved}
        host.ip("link del vnet5")
        done = host.sluice("detach", "--dev", "vnet5")
        assert done.returncode == 0 and of_that_index() == {}, done
    finally:
        there.close()


def test_attach_from_standard_input_and_what_is_wrong(host):
    host.veth("tap0")
    host.configure()
    host.start_daemon()
    done = host.sluice("attach", "--dev", "tap0", "-p", "-", input=AGENT)
    assert done.returncode == 0, done
    bad = host.write(AGENT + "rulez: []\n")
    done = host.sluice("attach", "--dev", "tap0", "-p", bad)
    assert done.returncode == 1 and "agent.yaml:5:1: error" in done.stderr
    host.attached("tap0", policy="agent", by_hand=True)
    done = host.sluice("attach", "--dev", "none", "-p", bad)
    assert done.returncode == 1 and "no device 'none'" in done.stderr
    done = host.sluice("attach", "--dev", "lo", "-p", host.write(AGENT))
    assert done.returncode == 1 and "no Ethernet device" in done.stderr


def test_detached_by_hand_stays_open_until_apply(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    assert host.sluice("detach", "--dev", "vnet0").returncode == 0
    assert prober.arrives("198.51.100.1")
    assert any("detached by hand" in w for w in host.full_status()["warnings"])
    host.configure()                        # a reload does not close it again
    assert until(lambda: host.full_status()["daemon"]["config"]["reloads"] >= 2)
    time.sleep(0.7)                         # two looks of the watchdog
    assert prober.arrives("198.51.100.1")
    assert host.sluice("apply").returncode == 0
    host.attached("vnet0", policy="agent")
    assert not prober.arrives("198.51.100.1")


def test_monitors_share_the_events_and_filter(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    words = ([], ["--dev", "vnet*", "--verdict", "deny"], ["--dev", "other"], ["--rule", "no*"])
    monitors = [host.start(SLUICE, "monitor", "-o", "json", *w, env=host.env) for w in words]
    text = host.start(SLUICE, "monitor", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 5)
    assert not prober.arrives("198.51.100.1")
    for monitor in monitors[:2]:
        line = monitor.wait(lambda l: l.get("verdict") == "deny")
        assert line["destination"]["address"] == "198.51.100.1"
        assert line["target"] == {"kind": "device", "name": "vnet0"} and line["policy"] == "agent"
    text.wait(lambda l: "vnet0" in l and "198.51.100.1:9/udp" in l and "default" in l)
    assert not monitors[2].lines and not monitors[3].lines
    host.put("sluiced.yaml", "x")
    monitors[0].wait(lambda l: l.get("event") == "reload" and l["ok"] is False)
    numbers = [l["seq"] for l in monitors[0].lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    host.kill_daemon()
    assert monitors[0].child.wait(WAIT) == 1


def test_monitor_by_name(host, prober):
    """The name that was asked; what has no name is no match."""
    host.configure(agent="sluice: 1\nname: agent\ndns: {resolvers: [192.0.2.1]}\nrules:\n"
                         "  - allow: \"api.good.example:443\"\n")
    host.start_daemon()
    host.attached("vnet0")
    evil, good, every = (host.start(SLUICE, "monitor", "-o", "json", *words, env=host.env) for words in
                         (["--name", "*.evil.example"], ["--name", "x.good.*"], []))
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 3)
    assert not prober.arrives("198.51.100.1")                   # without a name
    for name in ("x.good.example", "x.evil.example"):
        os.write(prober.tap, udp_frame(prober.bridge, "192.0.2.1", query(name), port=53))
    for monitor, name in ((evil, "x.evil.example"), (good, "x.good.example")):
        line = monitor.wait(lambda l: l.get("event") == "dns")
        assert line["question"]["name"] == name and line["verdict"] == "deny"
    every.wait(lambda l: (l.get("question") or {}).get("name") == "x.evil.example")
    assert [len(m.lines) for m in (evil, good)] == [1, 1] and len(every.lines) >= 3


def test_top(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    done = host.sluice("top", "--batch", "--count", "2")
    assert done.returncode == 0 and done.stdout.count("TARGET") == 2
    assert done.stdout.count("vnet0 ") == 2
    host.kill_daemon()
    assert "vnet0" in host.sluice("top", "--batch", "--count", "1").stdout  # from the pins
    done = host.sluice("top")
    assert done.returncode == 2 and "--batch" in done.stderr


def test_top_on_a_terminal(host):
    host.veth("vnet0")
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    done = subprocess.run(["script", "-qec", f"{SLUICE} top --count 2", "/dev/null"],
                          capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                          env={**host.env, "TERM": "xterm"})
    assert "sluice top: 1 target," in done.stdout and "vnet0" in done.stdout


def test_another_namespace_uses_the_pins(host, tmp_path):
    """sluiced serves its own network namespace; elsewhere the commands do it themselves."""
    host.configure()
    host.start_daemon()
    (tmp_path / "o").mkdir()
    other = DaemonHost("sl-d-o", tmp_path / "o")
    try:
        other.env = host.env
        other.veth("tap0")
        path = host.write(AGENT)
        done = other.run(SLUICE, "attach", "--dev", "tap0", "-p", path, env=host.env)
        assert done.returncode == 0 and "without sluiced" in done.stdout, done
        host.attached("tap0", policy="agent", state="not followed")
        done = other.run(SLUICE, "detach", "--dev", "tap0", env=host.env)
        assert done.returncode == 0
        assert "tap0" not in host.status()
    finally:
        other.close()


def test_addresses_are_followed(host, prober):
    gateway = 'sluice: 1\nname: agent\nrules:\n  - allow: {to: "@gateway", ports: 9, protocol: udp}\n'
    host.ip("addr del 198.51.100.1/32 dev br0")
    host.ip("addr add 198.51.100.1/32 dev lo")
    host.configure(agent=gateway)
    host.start_daemon()
    first = host.attached("vnet0")
    assert not prober.arrives("198.51.100.1")
    host.ip("addr del 198.51.100.1/32 dev lo")
    host.ip("addr add 198.51.100.1/32 dev br0")
    assert until(lambda: host.status()["vnet0"]["generation"] > first["generation"])
    assert prober.arrives("198.51.100.1")


def test_isolated_until_its_policy_can_be_resolved(host):
    host.configure(agent='sluice: 1\nname: agent\nrules:\n  - allow: "@gateway"\n')
    host.start_daemon()
    host.veth("vnet0", up=False)
    host.ip("link set vnet0 addrgenmode none")       # what the host has there is a gateway
    target = host.attached("vnet0", state="isolated")
    assert target["policy"] == "sluiced-isolated" and "@gateway" in target["why"]
    host.ip("addr add 192.0.2.1/24 dev vnet0")
    host.attached("vnet0", policy="agent", state="attached")


def test_hundreds_at_once_hold_up_nobody(host):
    """Clients are answered while the others still wait for theirs; all of them are shut before
    the first gets its policy."""
    count = 240
    host.veth("vnet-first", up=False)
    host.configure(CONFIG + "expedite: false\n")  # some seconds of work
    host.start_daemon()
    host.attached("vnet-first", policy="agent")
    host.daemon.signal(signal.SIGSTOP)
    host.batch([f"link add vnet{i} type veth peer name p{i}" for i in range(count)])
    host.daemon.signal(signal.SIGCONT)
    given, shut = [1], []
    while given[-1] <= count:
        targets = host.full_status()["targets"]
        given.append(sum(bool(t["generation"]) for t in targets))
        shut.append(len(targets) - given[-1])
        assert host.daemon.child.poll() is None
    print(f"\n{len(given) - 1} answers meanwhile: policies {given}, shut {shut}")
    assert any(1 < n < count for n in given), given
    assert any(n and n < count for n in shut), shut
    assert all(n == 1 or n + s == count + 1 for n, s in zip(given[1:], shut)), (given, shut)


def test_two_at_once(host):
    host.configure()
    host.start_daemon()
    second = host.start(SLUICED, "-c", host.folder / "etc" / "sluiced.yaml", env=host.env)
    second.wait_error("another sluiced runs")
    assert second.child.wait(WAIT) == 1
    assert host.full_status()["daemon"]["pid"] == host.daemon.child.pid
    # with another socket, and so other policies for the same targets
    (host.folder / "other").mkdir()
    second = host.start(SLUICED, "-c", host.folder / "etc" / "sluiced.yaml",
                        env={**host.env, "SLUICE_SOCKET": str(host.folder / "other" / "s.sock")})
    second.wait_error(f"process {host.daemon.child.pid} is a sluiced")
    assert second.child.wait(WAIT) == 1
    monitor = host.start(SLUICE, "monitor", env=host.env)
    host.daemon.close()     # who reads the events then is no sluiced
    monitor.close()
    host.start_daemon()


def test_notify_ready(host, tmp_path):
    import socket
    path = tmp_path / "notify"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(WAIT)
    sock.bind(str(path))
    host.env["NOTIFY_SOCKET"] = str(path)
    host.configure()
    host.start_daemon(wait=False)
    assert sock.recv(200).startswith(b"READY=1")
    sock.close()
    assert pathlib.Path(host.socket).exists()
