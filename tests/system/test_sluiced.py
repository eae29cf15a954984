# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced: devices by its configuration, reloads, commands through its socket."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from devlab import Namespace
from dnsmsg import query
from lab import SLUICE
from sluicedlab import AGENT, CONFIG, DaemonHost, Prober, SLUICED, WAIT, udp_frame, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

WIDE = AGENT.replace("192.0.2.0/24", "[192.0.2.0/24, 198.51.100.0/24]")


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-d", tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def prober(host):
    made = Prober(host)
    yield made
    made.close()


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


# ---- reload ----

def test_a_policy_that_changes(host, prober):
    host.configure()
    host.start_daemon()
    first = host.attached("vnet0", policy="agent")
    assert not prober.arrives("198.51.100.1")
    host.put("policies.d/agent.yaml", WIDE)         # nobody says so
    assert until(lambda: host.status()["vnet0"]["generation"] > first["generation"])
    assert prober.arrives("198.51.100.1")


def test_a_configuration_in_a_kubernetes_volume(host):
    """sluiced.yaml is a link to ..data/sluiced.yaml, and what is put in place is ..data"""
    host.veth("vnet0")
    host.configure(b="sluice: 1\nname: b\n")
    folder = host.folder / "etc"

    def publish(version, text):
        (folder / version).mkdir()
        (folder / version / "sluiced.yaml").write_text(text, encoding="utf-8")
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").rename(folder / "..data")

    (folder / "sluiced.yaml").unlink()
    publish("..1", CONFIG)
    (folder / "sluiced.yaml").symlink_to("..data/sluiced.yaml")
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    for version, name in (("..2", "b"), ("..3", "agent")):
        publish(version, CONFIG.replace("policy: agent", f"policy: {name}"))
        host.attached("vnet0", policy=name)


def test_only_what_means_something_else_gets_a_generation(host):
    host.veth("vnet0")
    host.veth("tap0")
    config = CONFIG + '  - match: {device: "tap*"}\n    policy: other\n'
    host.configure(config, other=AGENT.replace("agent", "other"))
    host.start_daemon()
    before = [host.attached("vnet0")["generation"], host.attached("tap0")["generation"]]
    host.put("policies.d/other.yaml", WIDE.replace("agent", "other"))
    assert until(lambda: host.status()["tap0"]["generation"] > before[1])
    assert host.status()["vnet0"]["generation"] == before[0]


BAD = {"syntax": ("sluiced.yaml", "sluiced: 1\ntargets: [\n", "sluiced.yaml"),
       "unknown key": ("sluiced.yaml", CONFIG + "x: 1\n", "sluiced.yaml:5:1"),
       "no such policy": ("sluiced.yaml", CONFIG.replace("agent", "none"), "none.yaml"),
       "policy": ("policies.d/agent.yaml", AGENT + "rulez: []\n", "agent.yaml:5:1"),
       "truncated": ("policies.d/agent.yaml", AGENT[:-12], "agent.yaml:4")}


@pytest.mark.parametrize("name, text, says", BAD.values(), ids=BAD.keys())
def test_a_bad_file_changes_nothing(host, prober, name, text, says):
    host.configure()
    host.start_daemon()
    first = host.attached("vnet0", policy="agent")
    host.put(name, text)
    assert until(lambda: not host.full_status()["daemon"]["config"]["ok"])
    status = host.full_status()
    assert any(says in w and "is not loaded" in w for w in status["warnings"]), status["warnings"]
    assert status["daemon"]["config"]["failed"] >= 1 and status["daemon"]["config"]["errors"]
    assert host.status()["vnet0"]["generation"] == first["generation"]
    assert prober.arrives("192.0.2.1") and not prober.arrives("198.51.100.1")
    host.veth("vnet9")                              # gets what is in force
    host.attached("vnet9", policy="agent")
    host.configure()
    assert until(lambda: host.full_status()["daemon"]["config"]["ok"])
    assert not [w for w in host.full_status()["warnings"] if "is not loaded" in w]


def test_a_bad_file_at_the_start(host):
    host.veth("vnet0")
    host.configure("sluiced: 1\ntargets: [\n")
    host.start_daemon()
    status = host.full_status()
    assert not status["daemon"]["config"]["ok"] and status["targets"] == []
    host.configure()
    host.attached("vnet0", policy="agent")


def test_a_bad_policy_at_the_start(host):
    """The policy's file alone is corrected."""
    host.veth("vnet0")
    host.configure(CONFIG + "policies: own\n")
    (host.folder / "etc" / "policies.d").rename(host.folder / "etc" / "own")
    host.put("own/agent.yaml", "rulez: []\n")
    host.start_daemon()
    assert not host.full_status()["daemon"]["config"]["ok"]
    host.put("own/agent.yaml", AGENT)
    host.attached("vnet0", policy="agent")


def moved(path):
    path.rename(path.with_name("away"))
    yield
    path.with_name("away").rename(path)


def made_anew(path):
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    yield
    path.mkdir()        # and then its files, as a package does
    for source in path.with_name("copy").rglob("*.yaml"):
        to = path / source.relative_to(path.with_name("copy"))
        to.parent.mkdir(exist_ok=True)
        time.sleep(0.3)
        shutil.copy(source, to)
    shutil.rmtree(path.with_name("copy"))


@pytest.mark.parametrize("name", ["etc/policies.d", "etc"])
@pytest.mark.parametrize("how", [moved, made_anew])
def test_a_directory_that_goes_and_comes_back(host, name, how):
    """What was in force goes on meanwhile; then it is read again, and followed as before."""
    host.veth("vnet0")
    host.configure()
    host.start_daemon()
    first = host.attached("vnet0", policy="agent")["generation"]

    def ok():
        return host.full_status()["daemon"]["config"]["ok"]
    steps = how(host.folder / name)
    next(steps)
    host.daemon.signal(signal.SIGHUP)
    assert until(lambda: not ok())
    assert host.status()["vnet0"]["generation"] == first
    assert next(steps, None) is None
    assert until(ok)
    host.put("policies.d/agent.yaml", WIDE)
    assert until(lambda: host.status()["vnet0"]["generation"] > first)


def test_a_policy_that_is_a_link(host):
    """ln -s, which closes no file."""
    host.veth("vnet0")
    host.configure()
    real = host.folder / "etc" / "policies.d" / "agent.yaml"
    real.rename(host.folder / "agent.yaml")
    host.start_daemon()
    assert not host.full_status()["daemon"]["config"]["ok"]
    real.symlink_to(host.folder / "agent.yaml")
    host.attached("vnet0", policy="agent")


def test_sighup_and_apply(host):
    host.veth("vnet0")
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    before = host.full_status()["daemon"]["config"]["reloads"]
    host.daemon.signal(signal.SIGHUP)
    assert until(lambda: host.full_status()["daemon"]["config"]["reloads"] == before + 1)
    done = host.sluice("apply", "-o", "json")
    assert done.returncode == 0 and json.loads(done.stdout)["attached"] == 1
    host.put("sluiced.yaml", "sluiced: x\n")
    done = host.sluice("apply")
    assert done.returncode == 1 and "sluiced.yaml:1:10: error" in done.stderr


def test_a_target_that_is_taken_out_keeps_its_policy(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    host.configure("sluiced: 1\n")
    assert until(lambda: any("no target of the configuration" in w
                             for w in host.full_status()["warnings"]))
    assert not prober.arrives("198.51.100.1")
    host.kill_daemon()
    host.start_daemon()
    assert any("earlier configuration" in w for w in host.full_status()["warnings"])
    assert not prober.arrives("198.51.100.1")


def test_a_target_that_moves_to_another_policy(host, prober):
    host.configure()
    host.start_daemon()
    host.attached("vnet0", policy="agent")
    host.configure(CONFIG.replace("policy: agent", "policy: wide"),
                   wide=WIDE.replace("agent", "wide"))
    host.attached("vnet0", policy="wide")
    assert prober.arrives("198.51.100.1")


def test_a_duration_goes_on_over_reloads(host, prober):
    """`expires: 5s` counts from the first load, whatever is loaded since."""
    policy = AGENT + "  - allow: 198.51.100.1\n    id: soon\n    expires: 5s\n"
    host.configure(agent=policy)
    start = time.monotonic()
    host.start_daemon("--trust-clock")
    first = host.attached("vnet0")
    assert prober.arrives("198.51.100.1")
    host.put("policies.d/agent.yaml", policy + "  - deny: 203.0.113.9\n")
    assert until(lambda: host.status()["vnet0"]["generation"] > first["generation"])
    assert prober.arrives("198.51.100.1"), "the test was too slow to test anything"
    time.sleep(max(0, start + 6.5 - time.monotonic()))
    assert not prober.arrives("198.51.100.1")


def begun(host):
    """What sluiced has noted, by the rules' ids."""
    return {id: since for one in json.loads((host.folder / "run" / "begins").read_text())
            for id, since in one["begins"].items()}


def shift(host, seconds):
    """As if all of it had begun earlier, or later."""
    path = host.folder / "run" / "begins"
    text = path.read_text()
    for since in set(begun(host).values()):
        text = text.replace(str(since), str(since + seconds))
    path.write_text(text)


def test_a_duration_goes_on_over_restarts(host, prober):
    """`expires: 2h` counts from the first load, whoever loads it since; a rule that is new, or
    of a target that is new, from now."""
    policy = AGENT + "  - allow: 198.51.100.1\n    id: soon\n    expires: 2h\n"
    host.configure(agent=policy)
    host.start_daemon("--trust-clock")
    host.attached("vnet0")
    first = begun(host)
    assert set(first) == {"soon"} and prober.arrives("198.51.100.1")

    def again(arrives, *words):
        host.kill_daemon()
        for step in words:
            step()
        host.start_daemon("--trust-clock")
        host.attached("vnet0")
        assert prober.arrives("198.51.100.1") == arrives
    again(True)
    assert begun(host) == first
    again(True, lambda: shift(host, -3600))     # an hour ago: an hour is left
    assert begun(host) == {"soon": first["soon"] - 3600}
    later = policy + "  - allow: 203.0.113.9\n    id: later\n    expires: 2h\n"
    again(False, lambda: shift(host, -3660), lambda: host.put("policies.d/agent.yaml", later))
    assert begun(host)["soon"] == first["soon"] - 7260 and begun(host)["later"] >= first["soon"]
    # the same over an invalid configuration, which loads nothing and forgets nothing
    host.kill_daemon()
    host.put("sluiced.yaml", "sluiced: 2\n")
    host.start_daemon("--trust-clock")
    host.put("sluiced.yaml", CONFIG)
    assert until(lambda: host.sluice("apply").returncode == 0)     # it listens after it has read
    assert begun(host)["soon"] == first["soon"] - 7260 and not prober.arrives("198.51.100.1")
    # another target's is its own; and this one's begins anew when it comes back
    host.configure(CONFIG.replace("vnet*", "vnet[0-9]"), agent=later)
    assert host.sluice("apply").returncode == 0
    assert begun(host)["soon"] >= first["soon"]
    assert until(lambda: prober.arrives("198.51.100.1", 0.1))


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"target": {}, "begins": 7}]', "\0" * 100])
def test_what_is_noted_is_spoiled(host, text):
    """It says so, and the durations count from now."""
    host.configure(agent=AGENT + "  - allow: 198.51.100.1\n    id: soon\n    expires: 2h\n")
    (host.folder / "run").mkdir(exist_ok=True)
    (host.folder / "run" / "begins").write_text(text)
    host.start_daemon("--trust-clock")
    assert any("count from now on" in line for line in host.daemon.errors), host.daemon.errors
    assert set(begun(host)) == {"soon"}


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
    assert "sluice top: 1 targets" in done.stdout and "vnet0" in done.stdout


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
