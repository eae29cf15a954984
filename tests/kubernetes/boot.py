# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Two static pods, one with a network of its own and one on its node's: they are there when the node starts."""
import ipaddress
import json

import settings
from cluster import pod
from lab import until
from outside import ALLOWED, HERE4, HERE6
from pods_modes import CART
from probes import AGAIN

STATIC = ("static", "static-host")
POLICY = CART % (HERE4, HERE6, ALLOWED)
# sluiced by hand, or as a unit: without the API server
CONFIG = """\
sluiced: 1
kubernetes:
  directory: /run/objects
  cri: /run/containerd/containerd.sock
"""


class Networks:
    """Holds the addresses of some networks."""

    def __init__(self, *networks):
        self.networks = [ipaddress.ip_network(n) for n in networks]

    def __contains__(self, address):
        return any(ipaddress.ip_address(address) in n for n in self.networks)


SENDERS = {STATIC[0]: Networks(settings.PODS4, settings.PODS6), STATIC[1]: Networks(settings.NODE4, settings.NODE6)}


def put_static(cluster):
    for name in STATIC:
        made = pod(name, "sh", "-c", AGAIN, labels={"app": "cart"}, hostNetwork=name == STATIC[1],
                   restartPolicy="Always")
        (cluster.files / settings.STATIC.strip("/") / f"{name}.json").write_text(json.dumps(made))


def clear_static(cluster):
    for name in STATIC:
        (cluster.files / settings.STATIC.strip("/") / f"{name}.json").unlink(missing_ok=True)
    assert until(lambda: not any(cluster.get("pod", f"{name}-{settings.NODE}") for name in STATIC), 120, 0.5)


def arrived(cluster):
    """By pod, what came from it since the node has started."""
    return {name: set(cluster.outside.arrived(senders)) for name, senders in SENDERS.items()}


def becomes(cluster, want):
    """Both pods send that, and until then nothing else."""
    def look():
        now = arrived(cluster)
        assert all(sent <= want for sent in now.values()), now
        return all(sent == want for sent in now.values())
    return until(look, 120, 0.2)
