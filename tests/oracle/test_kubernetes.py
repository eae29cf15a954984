# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The oracle for Kubernetes finds a wrong converter: a reading with one mistake in it differs
from the right one, and so from what is converted, in what the differential asks."""
import random

import pytest

import kubernetes_differential as lab
import netpol_reading


@pytest.fixture(scope="module")
def cases():
    rng = random.Random(7)
    table = list(lab.table())
    return rng.sample(table, 120) + list(lab.directed()) + [lab.random_cluster(rng) for _ in range(150)]


def verdicts(case, flaw):
    cluster = netpol_reading.Cluster(case[0], flaw)
    pod = next(o for o in cluster.of["Pod"]
               if (o["metadata"]["namespace"], o["metadata"]["name"]) == case[1])
    return [cluster.allows(pod, *flow) for flow in lab.questions(case[0])]


@pytest.fixture(scope="module")
def right(cases):
    return [verdicts(case, None) for case in cases]


@pytest.mark.parametrize("flaw", netpol_reading.FLAWS)
def test_each_flaw_is_noticed(flaw, cases, right):
    assert any(verdicts(case, flaw) != want for case, want in zip(cases, right)), flaw


def test_the_table_is_whole():
    cases = list(lab.table())
    assert len(lab.PEERS) == 10 and len(lab.port_shapes()) == 35
    assert len(cases) == (2 + 10 + 45) * 35
    assert len(lab.questions(cases[0][0])) >= 9 * 2 * 2 * 3
