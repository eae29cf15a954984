# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/kubernetes/metrics, applied: scraped from outside of the node, by TLS and with a password alone."""
import base64
import subprocess

import pytest

import settings
from daemonset import SYSTEM
from lab import until

PASSWORD = "of-the-test"


def secret(cluster):
    """The certificate of the API server is for the node's address: it serves here too."""
    keys = cluster.files / "run" / "kubernetes"
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    files = {"tls.crt": (keys / "api.crt").read_bytes(), "tls.key": (keys / "api.key").read_bytes(),
             "users": f"prometheus:{hashed}".encode()}
    return {"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "sluice-metrics", "namespace": "sluice-system"},
            "data": {name: base64.b64encode(data).decode() for name, data in files.items()}}


@pytest.fixture(scope="module")
def metrics(cluster, sluice):
    cluster.apply([secret(cluster)])
    sluice.deploy("metrics")
    yield sluice
    cluster.kubectl(*SYSTEM, "delete", "service,secret", "sluice-metrics")
    sluice.deploy(".")
    sluice.reset()


def scrape(cluster, *options):
    """curl's, outside."""
    done = subprocess.run(
        ["ip", "netns", "exec", cluster.outside.name, "curl", "-sS", "-m", "10", "-w", "%{http_code}", "--cacert",
         str(cluster.files / "run" / "kubernetes" / "ca.crt"), *options, f"https://{settings.NODE4}:9477/metrics"],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.stdout


def test_a_scrape_from_beyond_the_node(cluster, metrics):
    user = ("-u", f"prometheus:{PASSWORD}")
    assert until(lambda: scrape(cluster, *user).endswith("200"), 60, 0.5), metrics.said()
    said = scrape(cluster, *user)
    assert "sluice_pods" in said and "sluice_config_ok 1" in said, said[-2000:]
    assert scrape(cluster).endswith("401") and "sluice_pods" not in scrape(cluster)
    assert scrape(cluster, "-u", "prometheus:other").endswith("401")


def test_the_service_names_the_nodes(cluster, metrics):
    found = cluster.wait(lambda made: made.get("subsets"), *SYSTEM, "endpoints", "sluice-metrics")
    assert [a["ip"] for s in found["subsets"] for a in s["addresses"]] == [settings.NODE4]
    assert [p["port"] for s in found["subsets"] for p in s["ports"]] == [9477]
