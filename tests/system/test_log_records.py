# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A policy by looking: a command in audit mode, its records by `convert --from records`, and the same command
under what that prints: what it did is let through, and nothing else."""
import json
import os
import sys

import pytest

from cli_tools import sluice
from dnslab import policy
from lab import matching, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
HERE = ("198.51.100.60", "2001:db8:1::60")
NOTHING = 'allow: "nobody.example:7"'
LOOK = 'allow: "*"'     # every name: so each address has the one that it was asked by
ELSEWHERE = ("198.51.100.61", "2001:db8:1::61")
NAME, OTHER = "h0.good.example", "h1.good.example"


def work(agent):
    """What the program needs: two addresses, and a name."""
    done = [agent.do("tcp", to=to, port=7)["errno"] for to in HERE]
    found = agent.do("resolve", name=NAME)
    return done + [agent.do("tcp", to=to, port=7)["errno"] for to, _ in found.get("reply") or [(HERE[0], 0)] * 2] \
        + [found["errno"]]


def records(dnslab, text):
    with dnslab.workload_of("run", text, watch=True) as agent:
        done = work(agent)
        agent.close()
        assert until(lambda: matching(agent.events(), destination=HERE[1]))
        return done, agent.events()


def converted(events):
    result = sluice("convert", "--from", "records",
                    input="".join(json.dumps(event) + "\n" for event in events))
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_policy_from_an_audit(dnslab):
    done, events = records(dnslab, policy(LOOK, mode="audit", log="all"))
    assert not any(done)
    made = converted(events)
    assert f'"{NAME}:7/tcp"' in made
    with dnslab.workload_of("run", made) as agent:
        assert not any(work(agent))
        for to in ELSEWHERE:
            assert agent.do("tcp", to=to, port=7, timeout=1)["errno"]
        for to in HERE:
            assert agent.do("tcp", to=to, port=8, timeout=1)["errno"]
        assert agent.do("resolve", name=OTHER)["errno"]


def test_a_policy_from_denials_takes_turns(dnslab):
    """A denied question says no port: the first policy has the name, the second its port."""
    done, events = records(dnslab, policy(NOTHING))
    assert all(done)
    made = converted(events)
    assert f'- allow: "{NAME}"  # asked for' in made
    done, events = records(dnslab, made.replace("default: deny\n", "default: deny\nlog: all\n"))
    assert not any(done)
    made = converted(events)
    assert f'"{NAME}:7/tcp"' in made and f'- allow: "{NAME}"' not in made
    with dnslab.workload_of("run", made) as agent:
        assert not any(work(agent))


CONNECT = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET) as s:
    s.connect_ex((sys.argv[1], 9))
"""


@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
def test_the_summary_says_the_next_step(tmp_path, to):
    log, path = tmp_path / "seen.jsonl", tmp_path / "p.yaml"
    said = f"`sluice convert --from records {log}`"
    for rules, is_said in ((f'[{{allow: "{to}"}}]', False), ("[]", True)):
        path.write_text(f"sluice: 1\nrules: {rules}\n")
        result = sluice("run", "-p", path, "--log", log, "--", sys.executable, "-c", CONNECT, to)
        assert (said in result.stderr) == is_said, result.stderr
    text = sluice("convert", "--from", "records", log).stdout
    assert f'- allow: "{"[::1]" if ":" in to else to}:9/tcp"' in text
