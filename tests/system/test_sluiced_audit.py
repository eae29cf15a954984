# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced's audit sinks and metrics, by its configuration."""
import json
import os
import pathlib
import signal
import socket

import pytest

import bpfsys
from lab import SLUICE
from sluicedlab import CONFIG, DaemonHost, Prober, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-a", tmp_path)
    made.log = tmp_path / "log" / "audit.jsonl"
    made.log.parent.mkdir()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def prober(host):
    made = Prober(host)
    yield made
    made.close()


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def has(path, **want):
    return lambda: any(all(r.get(k) == v for k, v in want.items()) for r in records(path))


def test_everything_is_recorded_with_one_numbering(host, prober):
    host.configure(CONFIG + f"audit:\n  - file: {host.log}\n")
    host.start_daemon()
    host.attached("vnet0")
    monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["clients"] == 2)
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
    child = [pid for pid in child if names[pid] != "sluice-keeper"]     # of forwarders
    assert len(child) == 1 and len(names) == 2, names
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
