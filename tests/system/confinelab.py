# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the tests of ways out of `sluice run` share."""
import socket

from lab import ECHO, PEER4, PEER6

INET, STREAM, DGRAM = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM
KEEP = "--keep-privileges"
ONLY_PROBE = f'sluice: 1\nname: confine\nrules:\n  - allow: [{PEER4}, "{PEER6}"]\n    id: probe\n'


def probe(agent):
    assert agent.do("tcp", to=PEER4, port=ECHO)["reply"] == "hello"


def refused(agent, lab, kind="tcp"):
    to = lab.fresh()
    result = agent.do(kind, to=to, port=ECHO, timeout=0.5)
    assert result["errno"], result
    assert not lab.wire.seen(to)
