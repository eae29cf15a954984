# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Each type of alert over what a real sluiced has recorded of real traffic: it begins, it ends, and
who reads the file afterwards is told the same as who followed it."""
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

import bpfsys
import dnsmsg
from alerts_tools import Alerts
from lab import SLUICE, cgroup2
from sluicedlab import DaemonHost, WAIT, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
WINDOW = {"window": "3s", "for": "3s"}
POLICY = """sluice: 1
name: agent
log: all
dns: {resolvers: [127.0.0.53]}
rules:
  - {deny: ['127.0.0.1:7100-7150/tcp', '[::1]:7100-7150/tcp'], id: doors}
  - {deny: '127.0.0.1:7200/tcp', id: knock}
  - {allow: '127.0.0.1:7009/tcp', id: exception, expires: 4s}
  - {allow: ['127.0.0.1:7001-7003/tcp', '[::1]:7001-7003/tcp'], id: service}
  - {allow: '*.good.example:7'}
"""
# What a workload does, each line of which an alert tells.
WORK = """
import socket, sys, time
def dial(host, port, data=b""):
    try:
        with socket.create_connection((host, port), 3) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
            return True
    except ConnectionRefusedError:
        return False
what = sys.argv[1]
if what == "knock":
    for _ in range(30): dial("127.0.0.1", 7200)
elif what == "scan":
    for host in ("127.0.0.1", "::1"):
        for port in range(7100, 7110): dial(host, port)
elif what == "bytes":
    assert dial("127.0.0.1", 7001, b"x" * 300000) and dial("::1", 7001, b"x")
elif what == "beacon":
    for i in range(5):
        assert dial("127.0.0.1", 7003)
        time.sleep(1.5)
elif what == "dns":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(20):
        try:
            s.sendto(bytes.fromhex(sys.argv[2]), ("127.0.0.53", 53))
            sys.exit("arrived")
        except PermissionError:
            pass
"""
RULES = [
    {"name": "blocked", "type": "blocked", "match": {"rule": "knock"}, "count": 30, **WINDOW},
    {"name": "scan", "type": "scan", "count": 20, **WINDOW},
    {"name": "seen", "type": "first-seen", "of": ["destination", "destination.port"], **WINDOW},
    {"name": "out", "type": "bytes", "over": "200KiB", **WINDOW},
    {"name": "dns", "type": "dns", "count": 20, **WINDOW},
    {"name": "beacon", "type": "beacon", "count": 5, "period": {"min": "1s", "max": "3s"},
     "jitter": 25, "match": {"verdict": "allow"}, "for": "3s"},
    {"name": "detach", "type": "detach", **WINDOW},
    {"name": "expired", "type": "expired", **WINDOW},
    {"name": "metadata", "type": "custom", "match": {"event": "connection", "verdict": "deny",
                                                     "destination.port": [7105]}, **WINDOW},
]


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-al", tmp_path)
    made.top = pathlib.Path(cgroup2()) / made.name
    made.top.mkdir()
    (made.top / "work").mkdir()
    made.peer = made.start(sys.executable, "-c", """
import socketserver, socket
class H(socketserver.BaseRequestHandler):
    def handle(self):
        while self.request.recv(65536): pass
class S(socketserver.ThreadingTCPServer):
    address_family, allow_reuse_address, daemon_threads = socket.AF_INET6, True, True
    request_queue_size = 128
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
import threading
for port in (7001, 7002, 7003, 7009, 7200, *range(7100, 7110)):
    threading.Thread(target=S(("::", port), H).serve_forever).start()
print("ready", flush=True)
""")
    made.peer.wait(lambda line: line == "ready")
    try:
        yield made
    finally:
        made.close()
        for path in (made.top / "work", made.top):
            path.rmdir()


def work(host, what, *words):
    done = host.run("sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', host.top / "work",
                    sys.executable, "-c", WORK, what, *words)
    assert done.returncode == 0, done


def told(alerts):
    """{alert: [(state, fingerprint, group), ...]} in the order they were told."""
    found = {}
    for a in alerts:
        found.setdefault(a["alert"], []).append((a["state"], a["fingerprint"],
                                                 json.dumps(a["group"], sort_keys=True)))
    return found


def test_each_begins_and_ends(host, tmp_path):
    log, out = host.folder / "audit.jsonl", host.folder / "alerts.jsonl"
    question = dnsmsg.query("tunnel.bad.example", dnsmsg.A, 7).hex()
    host.configure(f'sluiced: 1\ntargets:\n  - match: {{cgroup: "/{host.name}/*"}}\n'
                   f"    policy: agent\nmeter: 1s\naudit: [{{file: {log}}}]\n", agent=POLICY)
    work(host, "bytes")     # nothing enforced: it arrives
    host.start_daemon("--trust-clock")
    assert until(lambda: [t["attached"] for t in host.full_status()["targets"]] == [True])
    follower = Alerts(tmp_path, {"rules": RULES, "sinks": [{"log": {"file": str(out)}}]},
                      "--follow", log, "--from-start")
    for what in ("knock", "scan", "bytes", "beacon"):
        work(host, what)
    work(host, "dns", question)
    folder = pathlib.Path(host.state) / "cgroups"
    number = str((host.top / "work").stat().st_ino)
    bpfsys.detach(next(p for p in folder.rglob("*connect4*") if number in str(p)))
    time.sleep(4.5)         # all windows are over, and the exception
    assert until(lambda: any(json.loads(line)["event"] == "expired"
                             for line in log.read_text().splitlines()))
    time.sleep(3.5)
    assert host.daemon.close() == 0
    records = [json.loads(line) for line in log.read_text().splitlines()]

    # `log: all`: each allowed connection has an end, with its bytes and how long it lasted
    closes = [r for r in records if r["event"] == "close" and r["destination"]["port"] == 7001]
    assert {r["family"] for r in closes} == {"ipv4", "ipv6"}
    big, = (r for r in closes if r["family"] == "ipv4")
    assert big["bytes"]["out"] > 300000 and big["bytes"]["in"] > 0 and big["duration"] >= 0
    assert big["end"] == "finished" and big["rule"] == "service" and big["verdict"] == "allow"
    opened = sum(r["count"] for r in records if r["event"] == "connection" and
                 r["verdict"] == "allow")
    assert len([r for r in records if r["event"] == "close"]) == opened

    # afterwards: each rule began, and ended
    config = tmp_path / "again.yaml"
    config.write_text(json.dumps({"alerts": 1, "rules": RULES}))
    done = subprocess.run([SLUICE, "alerts", "--rules", str(config), "--events", str(log), "-o",
                           "json"], text=True, capture_output=True, check=False, timeout=WAIT)
    assert done.returncode == 1, done.stderr
    alerts = [json.loads(line) for line in done.stdout.splitlines()]
    after = told(alerts)
    assert set(after) == {r["name"] for r in RULES}
    for name, states in after.items():
        assert {s for s, _, _ in states} == {"firing", "resolved"}, (name, states)
    for a in alerts:
        assert (a["end"] is None) == (a["state"] == "firing")
        assert a["end"] is None or a["end"] > a["start"]
        assert a["samples"] and a["group"]["target"] == f"cgroup:{host.top}/work", a
    # and who followed was told the same
    def live():
        return told(json.loads(line) for line in out.read_text().splitlines())
    assert until(lambda: out.exists() and live() == after), [
        (k, live().get(k), v) for k, v in after.items() if live().get(k) != v]
    assert follower.end() == 0
