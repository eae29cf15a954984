# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Seed system "per-application policy": Sortie's egress_policy, converted by
`sluice convert --from sortie` and enforced around real connections.

A port of 0 or none is every port, an empty protocol is TCP and UDP, DNS is
always allowed. Denylists with ports and IPv6 are what Sortie's own enforcement
(Kubernetes NetworkPolicy) cannot do.
"""
import json
import os
import subprocess

import pytest

import seedlab
from seedlab import SLUICE, probe

WEB4, NET4, PRIVATE4, OFFICE4 = "203.0.113.10", "203.0.113.200", "10.9.9.9", "192.168.9.9"
WEB6, NEAR6, FAR6, PRIVATE6 = ("2001:db8:9::10", "2001:db8:9:ffff::1", "2001:db8:a::10",
                               "fd00:9::9")
ADDRESSES = (WEB4, NET4, PRIVATE4, OFFICE4, WEB6, NEAR6, FAR6, PRIVATE6)
AT_ONCE_MS = 100

# name, mode, rules, what must pass, what must be refused: (protocols, address, ports)
BOTH, TCP, UDP = ("tcp", "udp"), ("tcp",), ("udp",)
CASES = [
    ("allowlist", "allowlist",
     [{"cidr": "10.0.0.0/8", "port": 443, "protocol": "TCP"},
      {"cidr": "0.0.0.0/0", "port": 80}],
     [(TCP, PRIVATE4, (443, 80)), (UDP, PRIVATE4, (80,)), (BOTH, WEB4, (80,)),
      (BOTH, OFFICE4, (80,))],
     [(UDP, PRIVATE4, (443,)), (BOTH, PRIVATE4, (5432,)), (BOTH, WEB4, (443, 5432)),
      (TCP, WEB4, (22, 8080)), (UDP, WEB4, (123,)), (BOTH, WEB6, (80, 443))]),
    ("allowlist-all-ports", "allowlist",
     [{"cidr": "192.168.0.0/16", "port": 0},
      {"cidr": "203.0.113.10/32", "protocol": "UDP"},
      {"cidr": "203.0.113.200/32", "port": 0, "protocol": "TCP"}],
     [(BOTH, OFFICE4, (80, 443, 5432)), (UDP, WEB4, (80, 123, 5432)), (TCP, NET4, (22, 443))],
     [(TCP, WEB4, (80, 443)), (UDP, NET4, (80, 443)), (BOTH, PRIVATE4, (80, 5432)),
      (BOTH, WEB6, (443,))]),
    ("allowlist-empty", "allowlist", [],
     [],
     [(BOTH, WEB4, (80, 443)), (BOTH, WEB6, (80, 443)), (BOTH, PRIVATE4, (5432,))]),
    ("denylist", "denylist",
     [{"cidr": "10.0.0.0/8"}, {"cidr": "172.16.0.0/12"}, {"cidr": "192.168.0.0/16"}],
     [(BOTH, WEB4, (80, 443, 5432)), (TCP, WEB4, (22, 8080)), (UDP, NET4, (123,))],
     [(BOTH, PRIVATE4, (80, 443, 5432)), (BOTH, OFFICE4, (80, 443)), (TCP, OFFICE4, (22,))]),
    ("denylist-ports", "denylist",
     [{"cidr": "0.0.0.0/0", "port": 22, "protocol": "TCP"},
      {"cidr": "10.0.0.0/8", "port": 5432},
      {"cidr": "203.0.113.0/24", "port": 123, "protocol": "UDP"},
      {"cidr": "203.0.113.200/32", "port": 443, "protocol": "UDP"}],
     [(TCP, WEB4, (80, 443, 5432)), (BOTH, PRIVATE4, (80, 443)), (UDP, PRIVATE4, (123,)),
      (BOTH, WEB4, (5432,)), (UDP, WEB4, (443,)), (TCP, NET4, (443,))],
     [(TCP, WEB4, (22,)), (TCP, PRIVATE4, (22,)), (BOTH, PRIVATE4, (5432,)),
      (UDP, WEB4, (123,)), (UDP, NET4, (123, 443))]),
    ("allowlist-ipv6", "allowlist",
     [{"cidr": "2001:db8:9::/48", "port": 443, "protocol": "TCP"},
      {"cidr": "2001:db8:9::10/128", "port": 80},
      {"cidr": "203.0.113.0/24", "port": 443, "protocol": "TCP"}],
     [(TCP, WEB6, (443, 80)), (UDP, WEB6, (80,)), (TCP, NEAR6, (443,)), (TCP, WEB4, (443,))],
     [(UDP, WEB6, (443,)), (BOTH, NEAR6, (80,)), (BOTH, FAR6, (80, 443)),
      (BOTH, PRIVATE6, (443,)), (BOTH, WEB4, (80,))]),
    ("denylist-ipv6", "denylist",
     [{"cidr": "fd00::/8"},
      {"cidr": "2001:db8:9::/48", "port": 22, "protocol": "TCP"},
      {"cidr": "::/0", "port": 5432},
      {"cidr": "10.0.0.0/8"}],
     [(BOTH, WEB6, (80, 443)), (TCP, FAR6, (22, 80)), (BOTH, WEB4, (80, 5432))],
     [(BOTH, PRIVATE6, (80, 443)), (TCP, WEB6, (22,)), (TCP, NEAR6, (22,)),
      (BOTH, FAR6, (5432,)), (BOTH, PRIVATE4, (80, 5432))]),
]
DNS = [(BOTH, to, (53,)) for to in ADDRESSES]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def probes(rows):
    return [probe(how, to, port) for protocols, to, ports in rows
            for how in protocols for port in ports]


@pytest.fixture(scope="module")
def lab():
    made = seedlab.Lab("sortie", ADDRESSES)
    try:
        yield made
    finally:
        made.close()


def convert(mode, rules):
    """The policy text; Sortie's file has more than the policy in it."""
    application = {"id": "app", "name": "App", "launch_type": "container",
                   "egress_policy": {"mode": mode, "rules": rules}}
    done = subprocess.run([SLUICE, "convert", "--from", "sortie"], input=json.dumps(application),
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_sluice_everything_arrives(lab):
    items = {item["name"]: item for case in CASES for item in probes(case[3] + case[4] + DNS)}
    outcome = lab.run(list(items.values()))
    assert not [name for name in items if not outcome[name]["arrived"]]


@pytest.mark.parametrize("name, mode, rules, passes, refused", CASES,
                         ids=[case[0] for case in CASES])
def test_application(lab, tmp_path, name, mode, rules, passes, refused):
    policy = tmp_path / f"{name}.yaml"
    policy.write_text(convert(mode, rules))
    policy.chmod(0o644)
    passes, refused = probes(passes + DNS), probes(refused)
    outcome = lab.run(passes + refused, policy=policy)
    assert not {item["name"]: outcome[item["name"]] for item in passes
                if not outcome[item["name"]]["arrived"]}
    for item in refused:
        result = outcome[item["name"]]
        kind = "EHOSTUNREACH" if item["how"] == "udp" else "ECONNREFUSED"
        assert result["error"] == kind and result["ms"] < AT_ONCE_MS, (item["name"], result)
    check_events(outcome, passes, refused, mode)


def check_events(outcome, passes, refused, mode):
    """Every refusal is told once; a denylist's names the rule, an allowlist's none."""
    def key(item):
        return item["to"], item["port"], item["how"]

    told = [(event["destination"]["address"], event["destination"]["port"], event["protocol"])
            for event in outcome.events for _ in range(event["count"])]
    assert sorted(told) == sorted(map(key, refused))
    assert not set(told) & set(map(key, passes))
    for event in outcome.events:
        assert event["verdict"] == "deny"
        if mode == "denylist":
            assert event["reason"] == "rule" and event["rule"]
        else:
            assert event["reason"] == "default" and event["rule"] is None
