# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/kubernetes by the API server itself: each object is taken, and none asks for too much."""
import re

import pytest

from cluster import ROOT

DEPLOY = ROOT / "deploy" / "kubernetes"
KINDS = ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "ConfigMap",
         "CustomResourceDefinition", "CustomResourceDefinition", "DaemonSet", "Namespace",
         "ServiceAccount"]
READABLE = {"pods", "namespaces", "services", "endpoints", "endpointslices.discovery.k8s.io",
            "networkpolicies.networking.k8s.io", "egresspolicies.sluice.dev",
            "clusteregresspolicies.sluice.dev"}
# of everyone who has a name: to ask what he may
EVERYONE = {"selfsubjectaccessreviews.authorization.k8s.io",
            "selfsubjectrulesreviews.authorization.k8s.io"}
ACCOUNT = "system:serviceaccount:sluice-system:sluice"


@pytest.fixture(scope="module")
def namespace(cluster):
    """A server's dry run makes nothing: what objects stand in must be there."""
    cluster.apply((DEPLOY / "base" / "namespace.yaml").read_text())
    cluster.apply((DEPLOY / "base" / "rbac.yaml").read_text(), "-n", "sluice-system")
    cluster.kubectl("apply", "-k", DEPLOY / "crds")
    yield cluster


def dry_run(cluster, folder):
    done = cluster.kubectl("apply", "-k", folder, "--dry-run=server", "--validate=true")
    return sorted(line.split("/")[0].split(".")[0] for line in done.stdout.splitlines())


@pytest.mark.parametrize("folder,more", [(".", []), ("metrics", ["Service"]),
                                         ("directory", ["ConfigMap"]), ("lookout", [])])
def test_the_server_takes_each_object(namespace, folder, more):
    assert dry_run(namespace, DEPLOY / folder) == sorted(k.lower() for k in [*KINDS, *more])


def test_a_key_that_the_server_does_not_know_is_noticed(namespace, tmp_path):
    """so that the test above can fail"""
    made = namespace.kubectl("kustomize", DEPLOY).stdout
    assert "readOnlyRootFilesystem" in made
    done = namespace.apply(made.replace("readOnlyRootFilesystem", "readOnlyRootFS"),
                           "--dry-run=server", check=False)
    assert done.returncode and "readOnlyRootFS" in done.stderr, done


PATCHED = {"egresspolicies.sluice.dev/status", "clusteregresspolicies.sluice.dev/status"}


def rights(cluster, account):
    """{resource: verbs} as the server lists them."""
    said = cluster.kubectl("auth", "can-i", "--list", "--no-headers", "--as", account).stdout
    rows = re.findall(r"^(\S+) +\[\] +\[\] +\[(.*)\]$", said, re.MULTILINE)
    return {resource: set(verbs.split()) for resource, verbs in rows}


def test_the_account_may_what_it_needs_and_nothing_else(namespace):
    assert rights(namespace, ACCOUNT) == {
        **{resource: {"list", "watch"} for resource in READABLE},
        **{resource: {"patch"} for resource in PATCHED},
        **{resource: {"create"} for resource in EVERYONE}}


def test_another_account_has_none_of_it(namespace):
    other = rights(namespace, "system:serviceaccount:sluice-system:default")
    assert set(other) == EVERYONE
