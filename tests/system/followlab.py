# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A client of a made-up API server, and what it says of itself."""
import pathlib
import tempfile

import pytest

from apilab import Client, Cluster, pod


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="sl-api-") as path:
        yield pathlib.Path(path)


@pytest.fixture
def cluster(folder):
    made = Cluster(folder)
    made.put("namespaces", {"metadata": {"name": "shop", "labels": {"tier": "prod"}}})
    made.put("pods", pod("cart", "10.0.1.4", app="cart"))
    made.put("pods", pod("db", "10.0.2.9", node="node-b", app="db"))
    yield made
    made.stop()


@pytest.fixture
def follow(cluster, folder):
    made = []

    def start(**options):
        made.append(Client(cluster, folder, **options))
        return made[-1]
    yield start
    for client in made:
        assert client.close() == 0, client.said()


def complete(state):
    return state["complete"]


def well(state):
    return state["complete"] and not state["stale_since"] and all(
        each["state"] == "watches" for each in state["kinds"])
