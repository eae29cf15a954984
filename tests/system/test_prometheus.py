# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A real Prometheus; our rules for alerts, and our dashboard."""
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.parse

import pytest

from lab import until
from metricslab import serve  # noqa: F401
from metricslab import ROOT, connect, get, lint, scrape
from sluicedlab import AGENT, CONFIG, udp_frame

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

PROMETHEUS = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{ROOT}/deploy/prometheus/alerts.yml]
scrape_configs:
  - job_name: sluice
    static_configs: [{{targets: ["127.0.0.1:9477"]}}]
"""


def api(host, path):
    try:
        status, _, body = get(lambda: connect(host, 9090), "/api/v1/" + path)
    except OSError:
        return None
    if status == 503:
        return None                     # it is starting
    assert status == 200, body
    return json.loads(body)["data"]


def query(host, expression):
    data = api(host, "query?" + urllib.parse.urlencode({"query": expression}))
    return data and data["result"]


def test_a_real_prometheus(host, tmp_path):  # noqa: F811
    """It scrapes `sluice watch`; what the kernel decided is what its API says. Then sluiced: no panel
    of the dashboard is empty, and it finds no fault with our rules for alerts."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed")
    host.ip("link add vnet0 type veth peer name work0")
    for name in ("vnet0", "work0"):
        host.ip(f"link set {name} up")
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--metrics", "loopback",
                       "--sink", f"file:{tmp_path}/audit")
    watch.wait(lambda line: line["change"] == "attached")
    host.start("prometheus", "--config.file", host.write(PROMETHEUS, "prometheus.yml"),
               "--storage.tsdb.path", tmp_path / "tsdb", "--web.listen-address", "127.0.0.1:9090")
    assert until(lambda: (query(host, "up") or [{"value": [0, "0"]}])[0]["value"][1] == "1", 30)

    def send(*frames):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("work0", 0))
            for frame in frames:
                sock.send(frame)
    host.within(lambda: send(*(b"\x02" * 12 + b"\x88\xb5" + bytes([i] * 60) for i in range(10))))
    target = host.status()["vnet0"]
    assert target["denied"] >= 10

    def agrees():
        # what the device itself says (its own neighbour discovery) may come in between
        result = query(host, 'agent_network_blocked_connections_total{target="vnet0"}')
        return result and int(result[0]["value"][1]) == host.status()["vnet0"]["denied"]
    assert until(agrees, 20)
    result = query(host, 'sum by (reason) (sluice_decisions_total{target="vnet0"})')
    assert int(next(r for r in result if r["metric"]["reason"] == "ethertype")["value"][1]) >= 10
    result, = query(host, 'sluice_target_info{target="vnet0"}')
    assert result["metric"]["policy"] == "agent" and result["metric"]["mode"] == "enforce"
    assert lint(scrape(host)) == (0, "")
    assert watch.close() == 0
    host.configure(CONFIG + f"metrics: loopback\naudit: [{{file: {tmp_path}/more}}]\n")
    host.start_daemon()
    host.attached("vnet0")
    to = host.address_of("vnet0")

    def shown(expression):
        host.within(lambda: send(udp_frame(to, "192.0.2.9", b"x", port=9),
                                 udp_frame(to, "192.0.2.9", b"x", port=10)))
        return query(host, expression)
    for title, expression in dashboard():
        assert until(lambda e=expression: shown(e), 20, 0.1), (title, expression)
    rules = api(host, "rules")["groups"][0]["rules"]
    assert len(rules) == len(ALERTS) and {r["health"] for r in rules} == {"ok"}, rules


def board():
    return json.loads((ROOT / "deploy/grafana/sluice.json").read_text())


def dashboard():
    """What its panels ask: (title, expression)."""
    return [(panel["title"], t["expr"].replace("$__rate_interval", "1m").replace("$target", ".*"))
            for panel in board()["panels"] for t in panel["targets"]]


# Of each rule: a series as it is at rest, as it is from minute 10 on; when the alert is there (and
# still is not), its labels, its summary.
TARGET = 'kind="device",target="a"'
ALERTS = {
    "SluiceTargetNotAttached": (f"sluice_target_attached{{{TARGET}}}", "1x30", "1x9 0x20", 12, 10,
                                "critical", "device a is not enforced"),
    "SluiceForeignDetach": ("sluice_foreign_detaches_total", "3x30", "3x9 4x20", 11, 9, "critical",
                            "Somebody took Sluice's programs off"),
    "SluiceNoPolicy": (f"sluice_target_generation{{{TARGET}}}", "1x30", "1x9 0x20", 12, 10, "warning",
                       "a has no policy in force: everything is denied"),
    "SluiceAuditMode": (f'sluice_target_info{{{TARGET},mode="audit"}}', "0x2000", "0x9 1x2000", 1460,
                        1440, "info", "a has been in audit mode for a day: nothing is held back"),
    "SluiceManyBlocked": (f"agent_network_blocked_connections_total{{{TARGET}}}", "0+60x30",
                          "0+600x30", 12, 4, "warning", "a: 10 denied attempts a second"),
    "SluiceSpoofing": (f'sluice_decisions_total{{{TARGET},reason="mac-binding"}}', "0+6x30", "0+60x30",
                       10, 1, "warning", "a claims to be another: mac-binding"),
    # a row is there once it has counted
    "SluiceFlowTableFull": (f'sluice_decisions_total{{{TARGET},reason="flow-table",rule=""}}', "7x30",
                            "_x9 7x30", 11, 8, "warning", "a has no room for new flows: they are denied"),
    "SluiceEventsLost": (f"sluice_events_lost_total{{{TARGET}}}", "7x30", "0x9 7x30", 11, 9, "warning",
                         "a: events were lost, the ring buffer was full"),
    "SluiceAuditLost": ('sluice_sink_lost_total{sink="file:/a",kind="file"}', "7x30", "0x9 7x30", 11, 9,
                        "warning", "The audit sink file:/a lost records"),
    "SluiceSinkFailing": ('sluice_sink_failing{sink="file:/a",kind="file"}', "0x30", "0x9 1x30", 16, 12,
                          "warning", "The audit sink file:/a cannot write; when its queue is full it "
                          "loses records"),
    "SluiceConfigurationRefused": ("sluice_config_ok", "1x30", "1x9 0x30", 16, 12, "warning",
                                   "The configuration on disk is wrong; the one before it is in force"),
    "SluiceMetricsFolded": ("sluice_metrics_series_folded", "0x40", "0x9 5x40", 27, 20, "info",
                            "5 series are folded into `other`: more targets or rules than the metrics "
                            "show"),
    "SluiceDown": ('sluice_build_info{version="1"}', "1x30", "1x9 _x30", 20, 13, "critical",
                   "Sluice's metrics are gone"),
}
DESCRIPTION = re.compile(r"- alert: (\w+)(?:.(?!- alert))*?description: *(?:>-)?(.*?)(?=\n\n|$)", re.S)


def alert_tests(rules):
    """promtool's tests: at rest, before, and when it is there."""
    described = {name: " ".join(text.split()) for name, text in DESCRIPTION.findall(rules)}
    for name, (series, rest, wrong, at, before, severity, summary) in ALERTS.items():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', series)) if name != "SluiceDown" else {}
        if name == "SluiceFlowTableFull":
            labels = {k: labels[k] for k in ("kind", "target")}
        told = {"exp_labels": {**labels, "severity": severity}, "exp_annotations": {
            "summary": summary, **({"description": described[name]} if name in described else {})}}
        for values_, checks in ((rest, [(at, [])]), (wrong, [(before, []), (at, [told])])):
            yield {"interval": "1m", "input_series": [{"series": series, "values": values_}],
                   "alert_rule_test": [{"alertname": name, "eval_time": f"{minute}m",
                                        "exp_alerts": alerts} for minute, alerts in checks]}


def test_rules_for_alerts(tmp_path):
    """They are right, and each fires when it should and not before, and not at rest."""
    rules = ROOT / "deploy/prometheus/alerts.yml"
    text = rules.read_text()
    assert set(re.findall(r"- alert: (\w+)", text)) == set(ALERTS)
    (tmp_path / "test.yml").write_text(json.dumps(      # which is YAML
        {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [
            *alert_tests(text), *lost_tests()]}))
    for words in (["check", "rules", rules], ["test", "rules", tmp_path / "test.yml"]):
        done = subprocess.run(["promtool", *words], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout


def lost_tests():
    """What the dashboard says of losses: the kernel's count where there is no sink, and the reverse."""
    expression, = (e for title, e in dashboard() if title == "Records lost, an hour")
    events, sink = "sluice_events_lost_total", 'sluice_sink_lost_total{sink="x"}'
    for series, value in (([events], 60), ([sink], 60), ([events, sink], 120), ([], 0)):
        yield {"interval": "1m", "input_series": [{"series": s, "values": "0+1x90"} for s in series],
               "promql_expr_test": [{"expr": expression, "eval_time": "80m",
                                     "exp_samples": [{"labels": "{}", "value": value}]}]}


def names_of(text):
    return set(re.findall(r"\b(?:sluice|agent)_[a-z_]+\b", text))


def test_dashboard_rules_and_page_name_what_there_is(host, serve):  # noqa: F811
    serve("loopback")
    families = {line.split()[2] for line in scrape(host).splitlines() if line.startswith("# TYPE")}
    families |= {f"sluice_config_{what}" for what in (
        "ok", "reloads_total", "reload_failures_total", "loaded_timestamp_seconds")}
    page = (ROOT / "docs/metrics.md").read_text()
    assert families <= names_of(page)
    for file in ("deploy/grafana/sluice.json", "deploy/prometheus/alerts.yml"):
        used = names_of((ROOT / file).read_text())
        assert used and used <= families, used - families


# Debian 12 has no Grafana: what its importer would stumble over (its manual, "Dashboard JSON model").
def test_the_dashboard_has_the_shape_that_grafana_wants():
    page = board()
    assert page["title"] and page["uid"] and page["schemaVersion"] >= 36 and "id" not in page
    assert {v["name"] for v in page["templating"]["list"]} == {"datasource", "target"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(page))) - {"__all", "__rate_interval"}
    assert used == {"datasource", "target"}
    assert len({p["id"] for p in page["panels"]}) == len(page["panels"])
    taken = set()
    for panel in page["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] in ("stat", "timeseries", "table") and panel["title"]
        refs = [t["refId"] for t in panel["targets"]]
        assert refs and len(set(refs)) == len(refs), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        names = {k for t in panel["targets"] for k in re.findall(r"{{(\w+)}}", t["legendFormat"])}
        assert names <= {"target", "policy", "rule", "reason", "sink", "kind"}, names
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
        assert not steps or (steps[0]["value"] is None and
                             [s["value"] for s in steps[1:]] == sorted(s["value"] for s in steps[1:]))
