# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice run` through sluiced: members of the group, under listed policies."""
import os
import sys

import pytest

from lab import SLUICE
from runslab import GROUP, OTHER, PROBE, STRANGER, USER, RunsHost
from sluicedlab import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture
def host(tmp_path):
    made = RunsHost(tmp_path)
    try:
        made.start_daemon()
        made.ready()
        yield made
    finally:
        made.close()


def test_a_member_runs_under_a_listed_policy(host):
    done = host.done(sys.executable, "-c", PROBE)
    assert done.stdout.split() == ["yes"] * 4, done  # nothing enforced
    done = host.sluice_run(sys.executable, "-c", PROBE)
    assert done.stdout.split() == ["yes", "no"] * 2, done
    done = host.sluice_run(sys.executable, "-c", PROBE, policy="shut")
    assert done.stdout.split() == ["no"] * 4, done
    host.ready()
