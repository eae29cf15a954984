# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""docs/daemonset.md: `kubectl delete -k` opens nothing. The definitions of our objects go with it, and
so does every policy, while sluiced still runs."""
from daemonset import DEPLOY
from lab import SLUICE, until
from pods_modes import Api
from probes import AGAIN, ALL, ONLY_ALLOWED, addresses, sends


def test_what_delete_leaves(cluster, sluice, start):
    made = start("kept", "sh", "-c", AGAIN, labels={"app": "cart"})
    assert sends(cluster, made, ALL)
    try:
        Api(sluice)
        assert sends(cluster, made, ONLY_ALLOWED)
        cluster.outside.forget()
        cluster.kubectl("delete", "-k", DEPLOY)
        assert not cluster.get("crd", "egresspolicies.sluice.dev")
        assert until(lambda: not cluster.get("namespace", "sluice-system"), 60, 0.5)
        assert set(cluster.outside.arrived(addresses(made))) <= ONLY_ALLOWED
        assert sends(cluster, made, ONLY_ALLOWED)
        assert sluice.pinned()      # still in the kernel
    finally:
        cluster.delete("pod", "kept")
        assert until(lambda: cluster.gone(made), 60, 0.2)
        cluster.run(SLUICE, "detach", "--all")      # as the manual says, on the node
        assert not sluice.pinned()
        sluice.deploy(".")
        sluice.reset()
