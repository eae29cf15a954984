# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The binary as a user calls it, for the tests of the command line.

It is $SLUICE, or sluice in $SLUICE_BUILD, or build/sluice.
"""
import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
SLUICE = os.environ.get("SLUICE", str(BUILD / "sluice"))

AGENT = """\
sluice: 1
name: agent
default: deny
dns: {resolvers: [192.0.2.53, "2001:db8::53"]}
sets:
  github: [140.82.112.0/20, 192.30.252.0/22]
rules:
  - deny: "@metadata"
  - allow: "@github:22,443/tcp"
  - allow: {to: 10.1.2.0/24, ports: [5432-5440]}
    id: staging-db
    reason: "until the move"
  - deny: "@private"
  - allow: {to: 203.0.113.0/24, protocol: icmp, icmp: {type: 8}}
    id: ping
  - allow: {to: any, ports: [80, 443], protocol: tcp, uid: [1000, 1001]}
    id: web
  - allow: "2002:c000:204::/48"
    id: six-to-four
  - deny: {to: "::/0", protocol: 47}
    id: gre6
  - allow: {to: 198.51.100.0/24, protocol: 47}
    id: gre4
inbound:
  - {from: 198.51.100.0/24, ports: 8080, protocol: tcp}
tests:
  - allow: 140.82.112.3:443
  - deny: 169.254.169.254:80
  - allow: {to: 203.0.113.9, port: 443, uid: 1000}
  - deny: 203.0.113.9:443
"""


def sluice(*words, **options):
    return subprocess.run([SLUICE, *map(str, words)], text=True, capture_output=True,
                          timeout=60, **{"input": "", **options})


def lines_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="agent.yaml", mode=0o644):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return path
    return write_file


@pytest.fixture
def agent(write):
    return write(AGENT)


def usage_error(result, text):
    assert result.returncode == 2, result
    assert text in result.stderr
    assert "usage:" not in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert re.search(r"^sluice (\w+): .*[?;] `sluice help \1` says more$", result.stderr)
    assert result.stdout == ""
