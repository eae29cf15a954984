# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced's audit sinks and metrics, by its configuration."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

import bpfsys
from lab import SLUICE
from sluicedlab import CONFIG, DaemonHost, Prober, udp_frame, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture(name="host")
def host_with_a_log(host):
    host.log = host.folder / "log" / "audit.jsonl"
    host.log.parent.mkdir()
    return host


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def has(path, **want):
    return lambda: any(all(r.get(k) == v for k, v in want.items()) for r in records(path))


def test_what_was_decided_before_a_change_has_its_policy(host):
    """The first event of a generation that is in force no more when it is read, of many devices that change
    at once: its policy and its rule are told all the same."""
    def policy(number):
        return (f"sluice: 1\nname: p{number}\nrules:\n  - {{id: r{number}, deny: 198.51.100.0/24}}\n"
                "  - allow: 192.0.2.1\n")
    rounds, devices = 8, [f"vnet{i}" for i in range(50)]
    host.configure(CONFIG + f"audit:\n  - file: {host.log}\n", agent=policy(0))
    host.start_daemon()
    prober = Prober(host)
    taps = [prober.tap] + [host.tap(name) for name in devices[1:]]
    host.batch([f"link set {name} up" for name in devices[1:]])

    def all_have(policy):
        return until(lambda: [t["policy"] for t in host.status().values()] == [policy] * len(devices))
    assert all_have("p0")
    try:
        for number in range(1, rounds):
            host.put("policies.d/agent.yaml", policy(number))
            time.sleep(0.1 + 0.02 * number)
            for i, tap in enumerate(taps):      # each once, while others change
                os.write(tap, udp_frame(prober.bridge, f"198.51.100.{i}", b"before"))
                time.sleep(0.004)
            assert all_have(f"p{number}")
    finally:
        prober.close()
    assert host.daemon.close() == 0
    denied = [r for r in records(host.log) if r.get("verdict") == "deny" and "198.51" in str(r)]
    assert len(denied) >= (rounds - 1) * len(devices)
    print(f"\n{len(denied)} denials by {len({r['policy'] for r in denied})} policies")
    assert [r for r in denied if not r["policy"] or r["rule"] != r["policy"].replace("p", "r")] == []


def test_the_bytes_of_what_was_short_have_their_policy(host, prober):
    """Devices that came after one look at the meters and are gone before the next."""
    host.configure(CONFIG + f"audit:\n  - file: {host.log}\n")
    host.start_daemon()
    host.attached("vnet0")
    names = [f"vnet{i}" for i in range(1, 9)]
    for name in names:
        tap = host.tap(name)
        host.ip(f"link set {name} up")
        host.attached(name)
        os.write(tap, udp_frame(prober.bridge, "192.0.2.1", b"bytes"))
        host.drop(tap)
    assert until(lambda: set(host.status()) == {"vnet0"})
    assert host.daemon.close() == 0
    meters = [r for r in records(host.log) if r["event"] == "meter" and r["target"]["name"] != "vnet0"]
    assert {r["target"]["name"] for r in meters} == set(names)
    assert [r for r in meters if r["policy"] != "agent"] == []


def test_everything_is_recorded_with_one_numbering(host, prober):
    host.configure(CONFIG + f"audit:\n  - file: {host.log}\n")
    host.start_daemon()
    host.attached("vnet0")
    monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 1)
    assert not prober.arrives("198.51.100.1")
    bpfsys.detach(next(pathlib.Path(host.state).glob("netns-*")) /
                  f"link-{host.ifindex('vnet0')}-from")
    monitor.wait(lambda l: l.get("event") == "foreign-change")
    host.put("sluiced.yaml", "x")
    monitor.wait(lambda l: l.get("event") == "reload")
    assert until(has(host.log, event="reload", ok=False))
    lines = records(host.log)
    assert [r["seq"] for r in lines] == list(range(len(lines)))
    assert lines[0]["event"] == "begin"
    denied = next(r for r in lines if r.get("verdict") == "deny")
    assert denied["destination"]["address"] == "198.51.100.1"
    assert any(r["event"] == "foreign-change" and "took the programs off" in r["why"]
               for r in lines)
    by_number = {r["seq"]: r for r in lines}
    for line in list(monitor.lines):
        assert by_number[line["seq"]] == line
    assert host.daemon.close() == 0
    assert records(host.log)[-1]["event"] == "end"


def test_sinks_change_with_the_configuration(host, prober, tmp_path):
    host.configure()
    host.start_daemon()
    host.attached("vnet0")
    assert host.full_status()["sinks"] == []
    host.configure(CONFIG + f"audit: [{{file: {host.log}}}]\n")
    assert until(lambda: len(host.full_status()["sinks"]) == 1)
    assert not prober.arrives("198.51.100.1")
    assert until(has(host.log, verdict="deny"))
    moved = host.log.with_name("audit.1")
    host.log.rename(moved)
    host.daemon.signal(signal.SIGUSR1)          # logrotate's
    host.put("sluiced.yaml", "x")
    assert until(has(host.log, event="reload"))
    before, after = records(moved), records(host.log)
    lines = before + after
    assert after and [r["seq"] for r in lines] == list(range(
        lines[0]["seq"], lines[0]["seq"] + len(lines)))


def test_a_sink_that_cannot_write_is_told_and_enforcement_goes_on(host, prober):
    host.configure(CONFIG + "audit: [{file: /no/such/folder/a.jsonl}]\n")
    host.start_daemon()
    host.attached("vnet0")
    assert not prober.arrives("198.51.100.1") and prober.arrives("192.0.2.1")
    assert until(lambda: any("cannot write" in w for w in host.full_status()["warnings"]))
    sink, = host.full_status()["sinks"]
    assert sink["failing"] and "No such file" in sink["error"]


def scrape(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(str(path))
    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    sock.close()
    return data.decode()


def test_metrics(host, prober, tmp_path):
    path = tmp_path / "metrics.sock"
    host.configure(CONFIG + f'metrics: "unix:{path}"\naudit: [{{file: {host.log}}}]\n')
    host.start_daemon()
    host.attached("vnet0")
    assert not prober.arrives("198.51.100.1")
    text = scrape(path)
    assert " 200 " in text.splitlines()[0], text[:300]
    blocked = [l for l in text.splitlines() if "blocked" in l and 'vnet0' in l]
    assert blocked and float(blocked[0].rsplit(" ", 1)[1]) >= 1
    assert "sluice_config_ok 1" in text
    host.put("sluiced.yaml", "x")
    assert until(lambda: not host.full_status()["daemon"]["config"]["ok"])
    # the child asks at most once a second
    assert until(lambda: "sluice_config_ok 0" in scrape(path))
    child = [int(p) for p in pathlib.Path(
        f"/proc/{host.daemon.child.pid}/task/{host.daemon.child.pid}/children").read_text().split()]
    names = {pid: pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in child}
    # the keeper of forwarders; who looks at what sluiced may not; who ends expedited grace periods
    others = {"sluice-keeper", "sluice-lookout", "sluice-guard"}
    child = [pid for pid in child if names[pid] not in others]
    assert len(child) == 1 and set(names.values()) >= others and len(names) == 4, names
    status = pathlib.Path(f"/proc/{child[0]}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    os.kill(child[0], signal.SIGKILL)
    assert until(lambda: any("their server is gone" in w for w in host.full_status()["warnings"]))
    assert not prober.arrives("198.51.100.1")


BAD = [("audit: [{fiel: /x}]\n", "fiel"), ("audit: x\n", "a list of sinks"), ("audit: [{file: x}]\n", "file"),
       ("metrics: 192.0.2.1\n", "not loopback"), ("metrics: [x]\n", "found a list")]


@pytest.mark.parametrize("text, says", BAD, ids=[b[0].strip() for b in BAD])
def test_what_is_wrong_has_its_place(host, text, says):
    path = host.configure(CONFIG + text)
    done = host.run(os.environ.get("SLUICED", pathlib.Path(SLUICE).parent / "sluiced"), "--check",
                    "-c", path)
    assert done.returncode == 1 and f"{path}:5:" in done.stderr and says in done.stderr, done.stderr


def alerts_of(tmp_path, log, rules):
    """What `sluice alerts` says of the records, rule by rule."""
    config = tmp_path / "alerts.yaml"
    config.write_text(json.dumps({"alerts": 1, "rules": rules}), encoding="utf-8")
    done = subprocess.run([SLUICE, "alerts", "--rules", str(config), "--events", str(log), "-o", "json"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=60)
    assert done.returncode == 1, done.stderr    # there are some
    return {a["alert"]: a for a in map(json.loads, done.stdout.splitlines())
            if a["state"] == "firing"}


def test_bytes_of_targets(host, prober, tmp_path):
    """`meter`: together what the target has sent and got, to the last byte, also of one that has
    gone meanwhile; and none where nothing was sent."""
    host.configure(CONFIG + f"meter: 1s\naudit: [{{file: {host.log}}}]\n")
    host.start_daemon()
    host.attached("vnet0")
    host.veth("vnet1", up=False)
    host.attached("vnet1")

    def meters(name="vnet0"):
        return [r for r in records(host.log)
                if r["event"] == "meter" and r["target"] == {"kind": "device", "name": name}]

    def told(key):
        return sum(r["bytes"][key] for r in meters())
    for _ in range(3):
        before = len(meters())
        assert prober.arrives("192.0.2.1") and not prober.arrives("198.51.100.1")
        for _ in range(20):
            prober.send("192.0.2.1", os.urandom(8))
        assert until(lambda: len(meters()) > before)
    target = host.attached("vnet0")
    assert target["tx_bytes"] and until(lambda: (told("out"), told("in")) == (
        host.attached("vnet0")["tx_bytes"], host.attached("vnet0")["rx_bytes"]))
    last = meters()[-1]
    assert last["total"] == {"out": told("out"), "in": told("in")} and last["policy"] == "agent"
    assert not meters("vnet1")
    found = alerts_of(tmp_path, host.log, [
        {"name": "much", "type": "bytes", "over": "2KiB"},
        {"name": "more", "type": "bytes", "over": "1MiB"}])
    assert set(found) == {"much"} and 2048 <= found["much"]["value"] <= told("out")
    host.configure(CONFIG + f"meter: 1d\naudit: [{{file: {host.log}}}]\n")
    assert until(lambda: host.full_status()["daemon"]["config"]["reloads"] >= 2)
    before = len(meters())
    assert prober.arrives("192.0.2.1")
    assert host.sluice("detach", "--dev", "vnet0").returncode == 0
    assert until(lambda: len(meters()) == before + 1), meters()


def test_a_rule_whose_time_is_over(host, tmp_path):
    """`expired`, once, for the rule alone; a reload does not repeat it, and what has time left
    is not told."""
    rules = ("  - {allow: 192.0.2.7, id: brief, expires: 5s}\n"
             "  - {deny: 192.0.2.8, id: longer, expires: 1h}\n")
    agent = "sluice: 1\nname: agent\nrules:\n" + rules
    host.configure(CONFIG + f"audit: [{{file: {host.log}}}]\n", agent=agent)
    host.veth("vnet0")
    host.start_daemon("--trust-clock")
    host.attached("vnet0")
    assert until(has(host.log, event="expired"))
    host.configure(CONFIG + f"audit: [{{file: {host.log}}}]\n",
                   agent=agent + "  - {allow: 192.0.2.9, id: after, expires: 5s}\n")
    assert until(has(host.log, event="expired", rule="after"))
    told = [r for r in records(host.log) if r["event"] == "expired"]
    assert [r["rule"] for r in told] == ["brief", "after"]
    assert all(r["target"] == {"kind": "device", "name": "vnet0"} and r["policy"] == "agent"
               for r in told)
    found = alerts_of(tmp_path, host.log, [{"name": "over", "type": "expired", "group": ["target"],
                                            "count": 2}])
    assert found["over"]["value"] == 2
