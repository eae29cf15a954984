# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice alerts: inputs, sinks, and what it gives up. Nothing here needs privileges."""
import hashlib
import hmac
import json
import os
import stat
import subprocess
import threading

import pytest

from alerts_tools import (Alerts, Receiver, alive, dead_port, record, status_of, unix_server,
                          wait_for)
from cli_tools import ROOT, SLUICE, lines_of, sluice, usage_error
from sinkslab import Feed

DEFAULT = ROOT / "deploy" / "alerts" / "default.yaml"
# Told at each record, over soon after: by the tick.
ANY = {"name": "any", "type": "custom", "match": {"verdict": "*"}, "for": "1s", "window": "10s",
       "group": "process.comm"}


def webhook(url, **options):
    return {"webhook": {"url": url, "timeout": "2s", **options}}


def named(comm, **fields):
    return record(process={"pid": 1, "uid": 0, "comm": comm}, **fields)


# --- a file at once

def write_events(path, *records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def test_the_default_rules_are_valid_and_quiet_over_nothing(tmp_path):
    done = sluice("alerts", "--rules", DEFAULT, "--check")
    assert done.returncode == 0 and "10 rules" in done.stdout
    events = write_events(tmp_path / "events", record(seq=0))
    done = sluice("alerts", "--rules", DEFAULT, "--events", events)
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 alerts, 0 still open; 1 record\n" in done.stderr


def test_rules_that_are_not_there_are_told_where_some_are(tmp_path):
    done = sluice("alerts", "--rules", tmp_path / "none", "--check")
    assert done.returncode == 1 and "deploy/alerts/default.yaml of the source" in done.stderr


def test_the_default_rules_see_each_kind(tmp_path):
    def at(second, **fields):
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        return {**record(**fields), "time": f"2026-11-26T{clock}Z"}
    records = [at(0, event="foreign-change", change="lost"), at(1, event="lost", count=3),
               at(2, event="expired", rule="staging-db"),
               at(3, event="meter", bytes={"out": 11 << 30, "in": 0}),
               at(4, event="dns", count=50), at(5, count=100),
               at(6, destination={"address": "169.254.169.254", "port": 80, "name": None})]
    records += [at(10 + port, destination={"address": "192.0.2.9", "port": port, "name": None})
                for port in range(20)]
    records += [at(100 + 60 * i, verdict="allow", target={"kind": "device", "name": "vnet1"})
                for i in range(8)]
    records += [at(100_000 % 86400 - 1, verdict="allow")]
    records[-1]["time"] = "2026-11-27T01:00:00Z"
    records += [{**records[-1], "time": "2026-11-28T02:00:00Z",
                 "destination": {"address": "203.0.113.77", "port": 1, "name": None}}]
    done = sluice("alerts", "--rules", DEFAULT, "--events", write_events(tmp_path / "e", *records),
                  "-o", "json")
    assert done.returncode == 1
    assert {alert["alert"] for alert in lines_of(done)} == {
        "foreign-detach", "events-lost", "expired", "bytes-out", "dns-refusals", "blocked-rate",
        "metadata", "scan", "beacon", "first-seen"}


def test_the_default_rules_are_quiet_just_below(tmp_path):
    """One record, one port, one byte, one interval less than the rules want; other verdicts; what
    sluiced itself changed; what was seen while it learned."""
    def at(second, **fields):
        return {**record(**fields), "time": f"2026-11-26T{second // 3600:02d}:"
                f"{second // 60 % 60:02d}:{second % 60:02d}Z"}

    def to(address, port):
        return {"address": address, "port": port, "name": None}
    allowed = {"verdict": "allow", "target": {"kind": "device", "name": "vnet1"}}
    records = [at(0, event="device", change="attached"), at(1, event="reload", ok=True),
               at(3, event="meter", bytes={"out": (10 << 30) - 1, "in": 11 << 30}),
               at(4, event="dns", count=49), at(5, event="dns", verdict="allow", count=99),
               at(6, count=80), at(7, destination=to("169.254.169.254", 80), verdict="allow")]
    records += [at(20 + port, destination=to("192.0.2.9", port)) for port in range(18)]
    records += [at(100 + 60 * i, **allowed) for i in range(7)]              # one too few
    records += [at(4000 + 60 * i + 20 * (i % 2), **allowed, destination=to("192.0.2.77", 1))
                for i in range(12)]                                         # no rhythm
    done = sluice("alerts", "--rules", DEFAULT, "--events", write_events(tmp_path / "e", *records))
    assert (done.returncode, done.stdout) == (0, "")


def test_the_fields_of_rules_are_fields_of_events():
    table = (ROOT / "docs" / "events.md").read_text()
    fields = (ROOT / "docs" / "alerts.md").read_text().split("### Fields\n\n")[1].split("\n\n")[0]
    for name in fields.split():
        if name not in ("change", "why"):
            assert f"`{name.split('.')[0]}`" in table, name


@pytest.mark.parametrize("words,said", [
    ([], "is wanted"), (["--events", "a", "-"], "is wanted"), (["--check", "-"], "is wanted"),
    (["--from-start", "-"], "belongs to --follow"), (["--event"], "wants a value"),
    (["-", "x"], "what is 'x'?"), (["-", "-o", "xml"], "text or json")])
def test_usage(words, said):
    usage_error(sluice("alerts", *words), said)


def test_the_program_stands_beside_sluice():
    assert sluice("alerts", "--help").stdout.startswith("usage: sluice alerts")
    missing = sluice("alerts", "--events", "/nowhere/events", "--rules", DEFAULT)
    assert missing.returncode == 1 and "/nowhere/events: No such file" in missing.stderr


def test_memory_is_kept_between_runs(tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(json.dumps({"alerts": 1, "rules": [{"name": "new", "type": "first-seen"}]}))
    events = write_events(tmp_path / "events", record(verdict="allow"))
    words = ("alerts", "--rules", rules, "--events", events, "--memory", tmp_path / "memory")
    assert sluice(*words).returncode == 1
    assert sluice(*words).returncode == 0
    assert stat.S_IMODE((tmp_path / "memory").stat().st_mode) == 0o600
    assert "192.0.2.1" not in (tmp_path / "memory").read_text()
    (tmp_path / "memory").write_text("sluice-alerts-memory 1\nv 00")
    done = sluice(*words)
    assert done.returncode == 1 and "half of one" in done.stderr
    assert (tmp_path / "memory.bad").exists()


# --- what it gives up

def test_it_holds_nothing_while_it_reads(tmp_path):
    with Alerts(tmp_path, {"rules": [ANY]}, "-") as alerts:
        status = status_of(alerts.process.pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0, name
        if os.geteuid() == 0:
            assert int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert alerts.end() == 0


def test_it_links_nothing_of_the_engine():
    for name, curl, bpf in ((SLUICE, False, True), (SLUICE + "-alerts", True, False)):
        shown = subprocess.run(["ldd", name], capture_output=True, text=True, check=True).stdout
        assert ("libcurl" in shown) == curl and ("libbpf" in shown) == bpf, name


# --- webhooks

def test_an_alert_arrives_and_ends(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("key of this test\n")
    secret.chmod(0o600)
    with Receiver(200) as receiver, Alerts(tmp_path, {
            "rules": [ANY], "sinks": [webhook(receiver.url, secret=str(secret))]}, "-") as alerts:
        alerts.feed(named("curl"))
        headers, body = receiver.requests.get(timeout=30)
        first = json.loads(body)
        assert (first["state"], first["alert"], first["end"]) == ("firing", "any", None)
        mac = hmac.new(b"key of this test", body, hashlib.sha256).hexdigest()
        assert headers["X-Sluice-Signature"] == "sha256=" + mac
        assert headers["Content-Type"] == "application/json"
        last = receiver.next()              # by the clock: no record comes
        assert (last["state"], last["start"], last["fingerprint"]) == (
            "resolved", first["start"], first["fingerprint"])
        assert alerts.end() == 0


@pytest.mark.parametrize("answer", [500, 503, 429, (503, {"Retry-After": "1"})],
                         ids=["500", "503", "429", "retry-after"])
def test_a_receiver_that_fails_gets_it_again(tmp_path, answer):
    with Receiver(answer, answer, 200) as receiver, Alerts(tmp_path, {
            "rules": [ANY], "sinks": [webhook(receiver.url)]}, "-") as alerts:
        alerts.feed(named("curl"))
        assert receiver.next()["state"] == "firing"
        assert len(receiver.got) == 3
        assert receiver.got[0][2] == receiver.got[2][2]
        wait_for(lambda: alerts.has_said("works again after 2 failures"))
        assert alerts.has_said("HTTP status")


@pytest.mark.parametrize("answer", [400, 404, (302, {"Location": "http://127.0.0.1:1/"})],
                         ids=["400", "404", "redirect"])
def test_what_is_refused_is_dropped_and_said(tmp_path, answer):
    with Receiver(answer, 200) as receiver, Alerts(tmp_path, {
            "rules": [ANY], "sinks": [webhook(receiver.url)]}, "-") as alerts:
        alerts.feed(named("first"))
        wait_for(lambda: alerts.has_said("not taken, and dropped"))
        alerts.feed(named("second"))
        wait_for(lambda: receiver.next()["group"]["process.comm"] == "second")


def test_a_dead_receiver_holds_up_nobody(tmp_path):
    """The queue is bounded, the other sink gets all, and the dead one what is left."""
    port = dead_port()
    rule = {**ANY, "for": "1h"}
    with Receiver(200) as other, Alerts(tmp_path, {"rules": [rule], "sinks": [
            webhook(f"http://127.0.0.1:{port}/hook", queue=5), webhook(other.url)]},
            "-") as alerts:
        alerts.feed(*(named(f"p{i}") for i in range(20)))
        assert [other.next()["group"]["process.comm"] for _ in range(20)] == [
            f"p{i}" for i in range(20)]
        wait_for(lambda: alerts.has_said("the queue is full"))
        with Receiver(200, port=port) as late:
            got = [late.next()["group"]["process.comm"] for _ in range(5)]
        assert got[-4:] == [f"p{i}" for i in range(16, 20)]     # one may have been under way
        alerts.end()
        assert alerts.has_said(f":{port}/hook: 5 sent")


def test_a_slow_receiver_is_left_and_asked_again(tmp_path):
    release = threading.Event()
    with Receiver(lambda handler: release.wait(30), 200) as receiver, Receiver(200) as other, \
            Alerts(tmp_path, {"rules": [ANY], "sinks": [
                webhook(receiver.url, timeout="1s"), webhook(other.url)]}, "-") as alerts:
        alerts.feed(named("curl"))
        assert other.next()["state"] == "firing"
        assert receiver.next()["state"] == "firing"
        assert alerts.has_said("Timeout was reached")
        release.set()


def test_an_answer_without_end_is_an_answer(tmp_path):
    def flood(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            pass
    with Receiver(flood, 200) as receiver, Alerts(tmp_path, {
            "rules": [{**ANY, "for": "1h"}], "sinks": [webhook(receiver.url)]}, "-") as alerts:
        alerts.feed(named("first"), named("second"))
        assert receiver.next()["group"]["process.comm"] == "second"
        alerts.end()
        assert alerts.has_said("2 sent, 0 failed")


def test_severities(tmp_path):
    with Receiver(200) as receiver, Alerts(tmp_path, {
            "rules": [{**ANY, "name": "low", "severity": "info"},
                      {**ANY, "name": "high", "severity": "critical"}],
            "sinks": [webhook(receiver.url, severity="warning")]}, "-") as alerts:
        alerts.feed(named("curl"))
        assert receiver.next()["alert"] == "high"
        alerts.end()
        assert all(json.loads(body)["alert"] == "high" for _, _, body in receiver.got)


# --- commands

def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_a_command_gets_the_alert_and_nothing_else(tmp_path):
    command = [script(tmp_path / "on-alert",
                      f'cat >{tmp_path}/got; echo "$#:$1:$2" >{tmp_path}/words; '
                      f'env >{tmp_path}/env; grep -E "Cap|NoNew" /proc/self/status '
                      f'>{tmp_path}/status; ls /proc/self/fd >{tmp_path}/fds; '
                      f'mv {tmp_path}/fds {tmp_path}/done\n'), "$(reboot)", "a b"]
    with Alerts(tmp_path, {"rules": [{**ANY, "for": "1h"}],
                           "sinks": [{"exec": {"command": command}}]}, "-",
                env={**os.environ, "SECRET": "x"}) as alerts:
        alerts.feed(named("`reboot`;\n"))
        wait_for(lambda: (tmp_path / "done").exists())
    assert json.loads((tmp_path / "got").read_text())["group"] == {"process.comm": "`reboot`;\n"}
    assert (tmp_path / "words").read_text() == "2:$(reboot):a b\n"
    assert "SECRET" not in (tmp_path / "env").read_text()
    assert "reboot" not in (tmp_path / "env").read_text()
    for line in (tmp_path / "status").read_text().splitlines():
        name, value = line.split()
        if name == "NoNewPrivs:":
            assert value == "1"
        elif name in ("CapEff:", "CapPrm:"):
            assert int(value, 16) == 0
    assert set((tmp_path / "done").read_text().split()) <= {"0", "1", "2", "3"}


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path):
    command = [script(tmp_path / "hang", f"sleep 1000 & echo $! >>{tmp_path}/pids; "
                                         f"echo $$ >>{tmp_path}/pids; wait\n")]
    rule = {**ANY, "for": "1h"}
    with Receiver(200) as receiver, Alerts(tmp_path, {"rules": [rule], "sinks": [
            {"exec": {"command": command, "timeout": "1s", "parallel": 2, "queue": 4}},
            webhook(receiver.url)]}, "-") as alerts:
        alerts.feed(*(named(f"p{i}") for i in range(10)))
        for _ in range(10):
            receiver.next()                                    # nobody waits for it
        wait_for(lambda: alerts.has_said("killed: it took longer than 1 s"))
        wait_for(lambda: alerts.has_said("the queue is full"))

        def pids():
            return [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        first = wait_for(lambda: pids()[:2])
        wait_for(lambda: not any(map(alive, first)))
        assert sum(map(alive, pids())) <= 4                    # two at once, and their children
        alerts.end()
        wait_for(lambda: not any(map(alive, pids())))


def test_commands_that_fail_are_said(tmp_path):
    with Alerts(tmp_path, {"rules": [ANY], "sinks": [
            {"exec": {"command": ["/bin/false"]}}, {"exec": {"command": ["/nowhere"]}}]},
            "-") as alerts:
        alerts.feed(named("curl"))
        wait_for(lambda: alerts.has_said("/bin/false: exit status 1"))
        wait_for(lambda: alerts.has_said("/nowhere: exit status 127"))


# --- the log

def test_the_log_is_ascii_whatever_a_record_says(tmp_path):
    log = tmp_path / "alerts.jsonl"
    name = "\x1b]0;owned\x07\x7f\u202e\u2028\"\\\n</script>"
    with Alerts(tmp_path, {"rules": [{**ANY, "for": "1h"}],
                           "sinks": [{"log": {"file": str(log)}}]}, "-") as alerts:
        alerts.feed(named(name))
        wait_for(log.exists)
        wait_for(lambda: log.read_bytes().endswith(b"\n"))
        log.rename(tmp_path / "alerts.jsonl.1")                # rotated: nobody is told
        alerts.feed(named("next"))
        wait_for(log.exists)
    line = (tmp_path / "alerts.jsonl.1").read_bytes()
    assert line.count(b"\n") == 1 and all(0x20 <= b < 0x7f for b in line[:-1])
    assert json.loads(line)["group"]["process.comm"] == name


@pytest.mark.parametrize("n", [2, 6000])
def test_the_log_has_all_that_are_told_at_once(tmp_path, n):
    log = tmp_path / "alerts.jsonl"
    events = write_events(tmp_path / "events", *(named(f"c{i}") for i in range(n)))
    with Alerts(tmp_path, {"limits": {"groups": 65536}, "rules": [{**ANY, "for": "1h"}],
                           "sinks": [{"log": {"file": str(log)}}]},
                "--follow", events, "--from-start") as alerts:
        wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= n)
        assert not alerts.has_said("dropped")
    told = [json.loads(line)["group"]["process.comm"] for line in log.read_text().splitlines()]
    assert told == [f"c{i}" for i in range(n)]


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    with Receiver(200) as receiver, Alerts(tmp_path, {"rules": [ANY], "sinks": [
            {"log": {"file": "/dev/full"}}, webhook(receiver.url)]}, "-") as alerts:
        alerts.feed(named("curl"))
        assert receiver.next()["state"] == "firing"
        wait_for(lambda: alerts.has_said("/dev/full: cannot write: No space left"))


# --- inputs

def test_a_file_is_followed_across_a_rotation(tmp_path):
    log = tmp_path / "events.jsonl"
    log.write_text(json.dumps(named("before")) + "\n")

    def append(path, comm):
        with open(path, "a") as out:
            out.write(json.dumps(named(comm)) + "\n")
    rule = {**ANY, "for": "1h"}
    with Receiver(200) as receiver, Alerts(tmp_path, {
            "rules": [rule], "sinks": [webhook(receiver.url)]}, "--follow", log) as alerts:
        append(log, "one")
        assert receiver.next()["group"]["process.comm"] == "one"
        log.rename(tmp_path / "events.1")
        append(tmp_path / "events.1", "two")
        append(log, "three")
        got = {receiver.next()["group"]["process.comm"] for _ in range(2)}
        assert got == {"two", "three"}
        os.truncate(log, 0)
        append(log, "four")
        assert receiver.next()["group"]["process.comm"] == "four"
        assert alerts.end() == 0


def test_a_socket_is_connected_to_again_and_a_gap_is_an_alert(tmp_path):
    path = tmp_path / "events.sock"
    rules = [{"name": "lost", "type": "loss", "for": "1h"}, {**ANY, "for": "1h"}]
    with Receiver(200) as receiver, Alerts(tmp_path, {
            "rules": rules, "sinks": [webhook(receiver.url)]}, "--socket", path) as alerts:
        wait_for(lambda: alerts.has_said("No such file"))
        with unix_server(path) as server:
            peer, _ = server.accept()
            with peer:
                peer.sendall((json.dumps(named("one", seq=0)) + "\n").encode())
                assert receiver.next()["group"]["process.comm"] == "one"
        with unix_server(path) as server:
            peer, _ = server.accept()
            with peer:
                text = json.dumps(named("two", seq=8)) + "\n"
                peer.sendall(text[:20].encode())
                peer.sendall(text[20:].encode())
                lost = receiver.next()
                assert (lost["alert"], lost["value"]) == ("lost", 7)
                assert receiver.next()["group"]["process.comm"] == "two"
        wait_for(lambda: alerts.has_said("7 records missing"))


def test_the_audit_sinks_are_read(tmp_path):
    """The socket and the file of audit sinks; a second writer is a new stream, and no gap."""
    rules = [{"name": "lost", "type": "loss"},
             {"name": "blocked", "type": "blocked", "count": 5, "for": "1h", "group": "event"}]
    sock, log = tmp_path / "events.sock", tmp_path / "events.jsonl"
    for words in (("--socket", sock), ("--follow", log)):
        with Receiver(200) as receiver, Alerts(tmp_path, {
                "rules": rules, "sinks": [webhook(receiver.url)]}, *words) as alerts:
            for _ in range(2):
                sinks = Feed(f"unix:{sock}", f"file:{log}")
                if words[0] == "--socket":
                    wait_for(lambda: sinks.stats()["consumers"])
                sinks.put(3)
                wait_for(lambda: sinks.stats()["queued"] == 0)
                sinks.close()
            assert receiver.next()["alert"] == "blocked"
            alerts.end()
            assert not alerts.has_said("missing") and not alerts.has_said("no records")
            assert alerts.has_said(f"{receiver.url}: 1 sent")


def test_what_waits_is_sent_when_the_input_ends(tmp_path):
    with Receiver(200) as receiver, Alerts(tmp_path, {
            "rules": [{**ANY, "for": "1h"}], "sinks": [webhook(receiver.url)]}, "-") as alerts:
        alerts.feed(*(named(f"p{i}") for i in range(50)))
        alerts.process.stdin.close()
        assert alerts.process.wait(30) == 0
        assert receiver.requests.qsize() == 50


def test_rubbish_is_counted_and_passed_over(tmp_path):
    with Receiver(200) as receiver, Alerts(tmp_path, {
            "rules": [ANY], "sinks": [webhook(receiver.url)]}, "-") as alerts:
        alerts.process.stdin.write("\x1b[2J{{{\n" + "x" * 100_000 + "\n[]\n")
        alerts.feed(named("curl"))
        assert receiver.next()["state"] == "firing"
        wait_for(lambda: alerts.has_said("without a record"))
        assert not any("\x1b" in line for line in alerts.said)


def test_groups_are_bounded_and_it_is_said(tmp_path):
    with Receiver(200) as receiver, Alerts(tmp_path, {
            "rules": [{**ANY, "count": 1000, "group": "process.comm"}], "limits": {"groups": 100},
            "sinks": [webhook(receiver.url)]}, "-") as alerts:
        alerts.feed(*(named(f"p{i}") for i in range(5000)))
        wait_for(lambda: alerts.has_said("more groups than limits: groups (100)"))
        assert int(status_of(alerts.process.pid)["VmRSS"].split()[0]) < 100_000


def test_the_memory_is_saved_at_the_end(tmp_path):
    config = {"rules": [{"name": "new", "type": "first-seen", "for": "1h"}],
              "memory": {"file": str(tmp_path / "memory")}}
    for expected in (1, 0):
        with Receiver(200) as receiver, Alerts(
                tmp_path, {**config, "sinks": [webhook(receiver.url)]}, "-") as alerts:
            alerts.feed(record(verdict="allow"))
            alerts.process.stdin.close()
            alerts.process.wait(30)
            assert receiver.requests.qsize() == expected


def test_the_unit_takes_everything_away():
    unit = (ROOT / "deploy" / "systemd" / "sluice-alerts.service").read_text()
    for line in ("CapabilityBoundingSet=", "AmbientCapabilities=", "NoNewPrivileges=yes",
                 "DynamicUser=yes", "ProtectSystem=strict", "PrivateDevices=yes",
                 "RestrictNamespaces=yes", "MemoryDenyWriteExecute=yes"):
        assert line in unit.splitlines()


@pytest.mark.parametrize("unit, tenths", [("sluice-alerts", 15), ("sluiced", 43)])
def test_what_systemd_says_of_the_units(unit, tenths):
    """Its measure of what a service could do, from 0 to 10; sluiced keeps what BPF and its lookout
    take. It does not know that ReadOnlyPaths does what ProtectKernelTunables would."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={tenths}",
                           f"deploy/systemd/{unit}.service"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Overall exposure" in done.stdout, done.stdout + done.stderr
