# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A real Alertmanager (Debian's), in a network namespace, gets what `sluice alerts` sends, and
tells its own receiver; asked by its API."""
import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from alerts_tools import Alerts, record, wait_for
from netns_tools import Namespace, sh

MANAGER = shutil.which("prometheus-alertmanager")
URL = "http://127.0.0.1:9093"

CONFIG = """\
route: {receiver: here, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: here
    webhook_configs: [{url: "http://127.0.0.1:9099/", send_resolved: true}]
"""

# What an Alertmanager's receiver got: one JSON object a line in argv[1].
RECEIVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[1], "ab") as out:
            out.write(body.rstrip() + b"\\n")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 9099), Handler)
print("ready", flush=True)
server.serve_forever()
"""


class Manager:
    def __init__(self, folder, namespace):
        self.folder, self.namespace, self.process = folder, namespace, None
        (folder / "alertmanager.yml").write_text(CONFIG)
        self.got = folder / "got.jsonl"
        self.receiver = subprocess.Popen(
            self.inside(sys.executable, "-c", RECEIVER, str(self.got)), stdout=subprocess.PIPE,
            text=True)
        assert self.receiver.stdout.readline() == "ready\n"

    def inside(self, *words):
        return ["nsenter", f"--net={self.namespace.path}", *words]

    def start(self):
        self.process = subprocess.Popen(
            self.inside(MANAGER, f"--config.file={self.folder}/alertmanager.yml",
                        f"--storage.path={self.folder}/data", "--cluster.listen-address=",
                        "--web.listen-address=127.0.0.1:9093"),
            stdout=subprocess.DEVNULL, stderr=open(self.folder / "alertmanager.log", "a"))
        wait_for(lambda: self.ask("/-/ready") is not None)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def close(self):
        self.stop()
        self.receiver.kill()
        self.receiver.wait()
        self.receiver.stdout.close()

    def ask(self, path):
        done = subprocess.run(self.inside("curl", "-sf", "--max-time", "5", URL + path),
                              capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def alerts(self):
        return json.loads(self.ask("/api/v2/alerts") or "[]")

    def told(self):
        """(status, alert) of each that the receiver got."""
        if not self.got.exists():
            return []
        return [(alert["status"], alert) for line in self.got.read_text().splitlines()
                for alert in json.loads(line)["alerts"]]


@pytest.fixture
def manager(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces and cgroups: needs root")
    assert MANAGER, "prometheus-alertmanager is not installed (tools/install-deps test)"
    name = f"sl-am-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        namespace = Namespace(name)
        stack.callback(sh, "ip", "netns", "del", name)
        namespace.ip("link set lo up")
        made = Manager(tmp_path, namespace)
        stack.callback(made.close)
        yield made


@contextlib.contextmanager
def sending(manager, rules, **options):
    sink = {"alertmanager": {"url": URL, "timeout": "5s", "resend": "1s",
                             "labels": {"site": "berlin"},
                             "generator": "http://sluice.example/alerts", **options}}
    # in the namespace: nsenter becomes it
    with Alerts(manager.folder, {"rules": rules, "sinks": [sink]}, "-",
                prefix=manager.inside()) as alerts:
        yield alerts


RULE = {"name": "scan", "type": "scan", "count": 2, "of": "destination.port", "window": "4s",
        "severity": "critical", "group": ["target", "process.comm"]}
HOSTILE = "\x1b[31m\u202e\"};{{.Labels}}\n"


def probe(port, comm=HOSTILE):
    return record(destination={"address": "2001:db8::1", "port": port, "name": None},
                  process={"pid": 1, "uid": 0, "comm": comm})


def test_it_fires_is_kept_and_resolves(manager):
    manager.start()
    with sending(manager, [RULE]) as alerts:
        alerts.feed(probe(1), probe(2))
        alert, = wait_for(manager.alerts)
        labels = alert["labels"]
        assert {key: labels[key] for key in ("alertname", "severity", "site", "target")} == {
            "alertname": "scan", "severity": "critical", "site": "berlin",
            "target": "device:vnet0"}
        assert labels["process_comm"] == HOSTILE
        assert alert["generatorURL"] == "http://sluice.example/alerts#" + labels["fingerprint"]
        assert alert["annotations"]["value"] == "2"
        assert json.loads(alert["annotations"]["sample_2"])["destination"]["port"] == 2
        assert alert["status"]["state"] == "active"
        # over by the clock, no record comes
        wait_for(lambda: not manager.alerts())
        wait_for(lambda: [s for s, _ in manager.told() if s == "resolved"])
        fired, resolved = ([a for s, a in manager.told() if s == status][-1]
                           for status in ("firing", "resolved"))
        assert fired["labels"] == resolved["labels"]
        assert fired["startsAt"] == resolved["startsAt"]
        assert alerts.end() == 0
        assert alerts.has_said("0 failed, 0 dropped")


def test_one_that_comes_late_gets_what_is_open(manager):
    """The Alertmanager is not there when it fires; then it is, dies, and comes back without
    anything of before."""
    with sending(manager, [{**RULE, "for": "1h"}]) as alerts:
        alerts.feed(probe(1), probe(2))
        wait_for(lambda: alerts.has_said("Couldn't connect to server"))
        manager.start()
        assert wait_for(manager.alerts)[0]["labels"]["alertname"] == "scan"
        manager.stop()
        shutil.rmtree(manager.folder / "data")
        manager.start()
        assert wait_for(manager.alerts)[0]["labels"]["alertname"] == "scan"


def test_it_ends_by_itself_when_nobody_tells_it_on(manager):
    manager.start()
    with sending(manager, [{**RULE, "for": "1h"}]) as alerts:
        alerts.feed(probe(1), probe(2))
        ends = wait_for(manager.alerts)[0]["endsAt"]
        wait_for(lambda: manager.alerts()[0]["endsAt"] > ends)      # told again
        alerts.process.kill()
        alerts.process.wait()
        wait_for(lambda: not manager.alerts())


def test_many_at_once(manager):
    """More than a request holds; each has its own."""
    manager.start()
    rule = {**RULE, "type": "custom", "match": {"verdict": "deny"}, "count": 1, "for": "1h",
            "group": "process.comm"}
    del rule["of"]
    with sending(manager, [rule]) as alerts:
        alerts.feed(*(probe(1, f"p{i}") for i in range(300)))
        wait_for(lambda: {a["labels"]["process_comm"] for a in manager.alerts()} ==
                 {f"p{i}" for i in range(300)})
