# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The record: every field of an event, and that nothing is missing from it."""
import datetime
import re
import time

import pytest

from lab import ECHO, PEER4, WORKLOAD4, WORKLOAD6, matching, total

POLICY = f"""sluice: 1
name: events
rules:
  - allow: {PEER4}
  - deny: [203.0.113.0/24, "2001:db8:1::/48"]
    id: test-net
"""
FIELDS = {"time", "seq", "event", "verdict", "reason", "policy", "generation", "rule", "target",
          "hook", "direction", "family", "protocol", "icmp", "source", "destination", "question", "link",
          "server_name", "process", "count", "bytes", "duration", "end"}


def test_every_field(lab):
    begin = datetime.datetime.now(datetime.timezone.utc)
    agent = lab.sluice(POLICY, "--user", "nobody")
    path = agent.cgroup()
    pid = agent.do("tcp", to="203.0.113.1", port=ECHO)["pid"]
    event, = agent.close().events
    assert set(event) == FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", event["time"])
    when = datetime.datetime.fromisoformat(event["time"][:26] + "+00:00")
    end = datetime.datetime.now(datetime.timezone.utc)
    slack = datetime.timedelta(milliseconds=50)
    assert begin - slack <= when <= end + slack
    event.pop("time")
    assert event == {
        "seq": 0, "event": "connection", "verdict": "deny", "reason": "rule", "policy": "events",
        "generation": 1, "rule": "test-net", "target": {"kind": "cgroup", "name": path},
        "hook": "connect4", "direction": "egress", "family": "ipv4", "protocol": "tcp",
        "icmp": None, "source": {"address": None, "port": None},
        "destination": {"address": "203.0.113.1", "port": ECHO, "name": None},
        "question": None, "server_name": None, "link": None, "process": {"pid": pid, "uid": 65534, "comm": "python3"}, "count": 1,
        "bytes": None, "duration": None, "end": None}


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_fields_of_a_packet(lab, v6):
    agent = lab.sluice(POLICY)
    to = "2001:db8:1::1" if v6 else "203.0.113.1"
    pid = agent.do("ping", to=to, timeout=0.2)["pid"]
    event, = agent.close().events
    assert event["hook"] == "cgroup-egress"
    assert (event["family"], event["protocol"]) == (("ipv6", "icmpv6") if v6 else ("ipv4", "icmp"))
    assert event["icmp"] == {"type": 128 if v6 else 8, "code": 0}
    assert event["source"] == {"address": WORKLOAD6 if v6 else WORKLOAD4, "port": None}
    assert event["destination"] == {"address": to, "port": None, "name": None}
    assert event["process"] == {"pid": pid, "uid": 0, "comm": "python3"}


def test_protocols_without_a_name_and_without_ports(lab):
    agent = lab.sluice(POLICY, "--keep-privileges")
    agent.do("hdrincl", **{"from": WORKLOAD4, "to": "203.0.113.1", "protocol": 47,
                           "body": "00000800", "port": 0})
    event, = agent.close().events
    assert event["protocol"] == "47" and event["icmp"] is None
    assert event["source"]["port"] is None and event["destination"]["port"] is None


def test_ports_that_were_not_read_are_null(lab):
    agent = lab.sluice(POLICY, "--keep-privileges")
    agent.do("hdrincl", **{"from": WORKLOAD4, "to": PEER4, "fragment": 1, "port": 80})
    event, = agent.close().events
    assert event["reason"] == "fragment" and event["protocol"] == "udp"
    assert event["source"]["port"] is None and event["destination"]["port"] is None


def test_a_comm_of_any_bytes_is_valid_json(lab):
    """The log is UTF-8, one object a line, whatever the workload calls itself."""
    agent = lab.sluice(POLICY)
    name = 'a"\\\n\x1b\u00e9{'
    agent.do("write", path="/proc/self/comm", text=name)
    agent.do("tcp", to="203.0.113.1", port=ECHO)
    done = agent.close()
    assert done.events[0]["process"]["comm"] == 'a"\\????{'
    assert "\x1b" not in done.err


def test_live_lines_are_clean_too(lab):
    agent = lab.sluice(POLICY, "-v")
    agent.do("write", path="/proc/self/comm", text="\x1b[31mred\nline")
    agent.do("tcp", to="203.0.113.1", port=ECHO)
    err = agent.close().err
    assert "red" in err
    assert "\x1b" not in err and "\nline" not in err


def test_sequence_has_no_gaps_and_counts_add_up(lab):
    agent = lab.sluice(POLICY)
    for n in range(1, 41):
        agent.do("udp", to=f"203.0.113.{n % 7 + 1}", port=1000 + n % 3)
        agent.do("tcp", to=f"203.0.113.{n % 5 + 1}", port=1000 + n % 3)
    done = agent.close()
    assert [e["seq"] for e in done.events] == list(range(len(done.events)))
    assert total(done.events) == 80
    assert "sluice: 80 blocked" in done.err and "does not add up" not in done.err
    assert total(matching(done.events, protocol="udp", destination="203.0.113.1")) == 5


def test_a_burst_is_one_event_at_once_and_a_count_later(lab):
    agent = lab.sluice(POLICY)
    agent.do("udp", to="203.0.113.1", port=9)
    deadline = time.monotonic() + 1
    while not agent.events() and time.monotonic() < deadline:
        time.sleep(0.005)
    first, = agent.events()
    assert first["count"] == 1
    agent.do("flood", to="203.0.113.1", port=9, times=499)
    events = agent.close().events
    assert total(events) == 500 and len(events) <= 5
    assert events[0] == first and events[-1]["count"] > 1


def test_different_destinations_are_not_put_together(lab):
    agent = lab.sluice(POLICY)
    agent.do("flood", to="203.0.113.1", port=2000, ports=50, times=100)
    events = agent.close().events
    ports = {e["destination"]["port"] for e in events}
    assert ports == set(range(2000, 2050)) and total(events) == 100


@pytest.mark.parametrize("ports", [1, 20000], ids=["one-destination", "20000-destinations"])
def test_a_burst_of_20000_is_accounted_for(lab, ports):
    """The budget keeps the record small; the total stays exact."""
    agent = lab.sluice(POLICY)
    failed = agent.do("flood", to="203.0.113.1", port=10000, ports=ports, times=20000,
                      wait=60)["reply"]
    assert failed == {"EHOSTUNREACH": 20000}
    done = agent.close()
    assert "sluice: 20000 blocked, 0 allowed (policy events)" in done.err
    assert "does not add up" not in done.err
    over, lost = map(int, re.search(r"counted only: (\d+) over the event budget, (\d+) that found",
                                    done.err).groups())
    assert over > 0
    assert total(done.events) == 20000 - over - lost
    assert re.search(r"^sluice: +20000  test-net$", done.err, re.M)
    assert [e["seq"] for e in done.events] == list(range(len(done.events)))


def test_the_budget_recovers(lab):
    """After the flood, the next second's denials are in the record again."""
    agent = lab.sluice(POLICY)
    agent.do("flood", to="203.0.113.1", port=10000, times=20000, wait=60)
    time.sleep(0.1)         # 100 tokens; this is a rate, nothing announces it
    agent.do("tcp", to="203.0.113.77", port=ECHO)
    assert total(matching(agent.close().events, destination="203.0.113.77")) == 1


def test_allowed_flows_are_counted_not_logged(lab):
    agent = lab.sluice(POLICY)
    for _ in range(3):
        assert agent.do("tcp", to=PEER4, port=ECHO)["reply"] == "hello"
    done = agent.close()
    assert not done.events and "0 blocked, 3 allowed" in done.err


def test_events_of_the_dns_gate(lab):
    agent = lab.sluice(f"sluice: 1\nname: gate\ndefault: allow\ndns: {{resolvers: [{PEER4}]}}\n"
                       "rules:\n  - allow: any\n    id: everything\n")
    question = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\4name\7example\0\0\1\0\1".decode("latin-1")
    assert agent.do("udp", to=PEER4, port=53, payload=question, no_reply=True)["errno"] is None
    for kind, port in (("udp", 53), ("tcp", 53), ("tcp", 853), ("udp", 853)):
        assert agent.do(kind, to="203.0.113.53", port=port)["errno"]
    events = agent.close().events
    assert [(e["rule"], e["reason"]) for e in events] == [("dns-gate", "dns-gate")] * 4
