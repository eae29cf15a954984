# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The client of the API server (follow_cluster) against Kubernetes' own, with etcd and no node: the
rights that deploy/kubernetes gives, compaction, a server that is away, a status of two nodes."""
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))
from apilab import Client, kind  # noqa: E402
from conftest import kubernetes  # noqa: E402

WAIT_S = 90
TOKENS = 'admin-token,admin,admin,"system:masters"\nnobody-token,nobody,nobody,""\n'
CRDS = ROOT / "deploy" / "kubernetes" / "crds"
RIGHTS = [
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "sluice"}, "rules": [
        {"apiGroups": [""], "resources": ["namespaces", "pods", "services", "endpoints"],
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["sluice.dev"], "resources": ["egresspolicies", "clusteregresspolicies"],
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["sluice.dev"], "resources": ["egresspolicies/status", "clusteregresspolicies/status"],
         "verbs": ["patch"]}]},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sluice", "namespace": "default"}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "sluice"},
     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sluice"},
     "subjects": [{"kind": "ServiceAccount", "name": "sluice", "namespace": "default"}]},
]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class ApiServer:
    def __init__(self, folder, programs):
        self.folder, self.programs = folder, pathlib.Path(programs)
        self.etcd_port, self.port, peer = free_port(), free_port(), free_port()
        self.daemons = {}
        self.installed = False      # our kinds
        self.make_keys()
        self.start("etcd", "etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync",
                   f"--listen-client-urls=http://127.0.0.1:{self.etcd_port}",
                   f"--advertise-client-urls=http://127.0.0.1:{self.etcd_port}",
                   f"--listen-peer-urls=http://127.0.0.1:{peer}")
        self.start_server()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def make_keys(self):
        run = lambda *words: subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3")
        run(*new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=lab",
            "-addext", "basicConstraints=critical,CA:TRUE")
        run(*new, "-keyout", "api.key", "-out", "api.crt", "-subj", "/CN=api", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
        run("genrsa", "-out", "sa.key", "2048")
        run("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
        (self.folder / "tokens").write_text(TOKENS)
        (self.folder / "kubeconfig").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "l", "cluster": {"server": self.url, "certificate-authority":
                                                   str(self.folder / "ca.crt")}}],
            "users": [{"name": "a", "user": {"token": "admin-token"}}],
            "contexts": [{"name": "c", "context": {"cluster": "l", "user": "a"}}]}))

    def start(self, name, *words):
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(list(map(str, words)), cwd=self.folder, stdout=log, stderr=log)

    def start_server(self):
        self.start("api", self.programs / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
                   "--bind-address=127.0.0.1", f"--secure-port={self.port}", "--tls-cert-file=api.crt",
                   "--tls-private-key-file=api.key", "--token-auth-file=tokens",
                   "--service-account-key-file=sa.pub", "--service-account-signing-key-file=sa.key",
                   "--service-account-issuer=https://lab", "--authorization-mode=RBAC",
                   "--service-cluster-ip-range=10.96.0.0/16", "--disable-admission-plugins=ServiceAccount")
        end = time.monotonic() + WAIT_S
        while self.kubectl("get", "--raw", "/readyz", check=False).returncode:
            assert self.daemons["api"].poll() is None and time.monotonic() < end, \
                (self.folder / "api.log").read_text()[-2000:]
            time.sleep(0.2)
        # kubectl remembers for ten minutes which kinds there are, and a new server names them late
        while self.installed and "sluice.dev" not in self.kubectl("get", "--raw", "/apis").stdout:
            assert time.monotonic() < end
            time.sleep(0.2)

    def stop(self, name):
        """At once: asked to end it would wait a minute for its watches."""
        child = self.daemons.pop(name)
        child.kill()
        child.wait(WAIT_S)

    def kubectl(self, *words, check=True, **more):
        done = subprocess.run([self.programs / "kubectl", "--kubeconfig", self.folder / "kubeconfig", *words],
                              capture_output=True, text=True, timeout=WAIT_S, check=False, **more)
        assert not check or done.returncode == 0, done.stderr
        return done

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *words):
        return json.loads(self.kubectl("get", "-o", "json", *words).stdout)

    def token_of(self, account):
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        said = self.kubectl("create", "-f", "-", "--raw",
                            f"/api/v1/namespaces/default/serviceaccounts/{account}/token", input=json.dumps(body))
        return json.loads(said.stdout)["status"]["token"]

    def etcd(self, what, **asked):
        url = f"http://127.0.0.1:{self.etcd_port}/v3/kv/{what}"
        with urllib.request.urlopen(url, json.dumps(asked).encode(), timeout=WAIT_S) as said:
            return json.load(said)

    def compact(self):
        """Etcd goes on, and forgets everything of before."""
        for _ in range(5):
            revision = self.etcd("put", key="b3RoZXI=", value="eA==")["header"]["revision"]
        self.etcd("compaction", revision=revision)

    def close(self):
        for name in list(self.daemons):
            self.stop(name)


@pytest.fixture(scope="module")
def server():
    programs = kubernetes()
    with tempfile.TemporaryDirectory(prefix="sl-kapi-") as folder:
        made = ApiServer(pathlib.Path(folder), programs)
        try:
            made.kubectl("apply", "-f", CRDS / "egresspolicies.yaml", "-f", CRDS / "clusteregresspolicies.yaml")
            made.installed = True
            made.kubectl("wait", "--for=condition=established", "crd", "--all", f"--timeout={WAIT_S}s")
            made.apply(*RIGHTS, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            yield made
        finally:
            made.close()


@pytest.fixture
def follow(server):
    made = []
    with tempfile.TemporaryDirectory(prefix="sl-kapi-") as folder:
        def start(node="node-a", token=None):
            place = pathlib.Path(folder) / f"{node}-{len(made)}"
            place.mkdir()
            (place / "token").write_text(token or server.token_of("sluice"))
            made.append(Client(None, place, node=node, ca=server.folder / "ca.crt", server=server.url))
            return made[-1]
        yield start
        for client in made:
            assert client.close() == 0, client.said()
    # no kubelet says that a pod has ended
    server.kubectl("-n", "shop", "delete", "pods", "--all", "--force", "--grace-period=0")
    server.kubectl("-n", "shop", "delete", "egp,netpol", "--all")


def pod(name, node="node-a", **labels):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": labels},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]}}


def policy(*rules, name="pay", **labels):
    return {"apiVersion": "sluice.dev/v1alpha1", "kind": "EgressPolicy",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": labels}, "rules": list(rules)}}


def well(state):
    return state["complete"] and not state["stale_since"] and all(k["state"] == "watches" for k in state["kinds"])


def test_the_rights_are_enough_and_changes_are_followed(server, follow):
    server.apply(pod("cart", app="cart"), pod("db", "node-b", app="db"))
    client = follow()
    state = client.until(well, WAIT_S)
    assert state["counts"]["pods"] == 1 and not any(each["failures"] for each in state["kinds"])
    server.apply(policy({"allow": "203.0.113.7:443/tcp"}, app="cart"))
    client.until(lambda s: s["counts"]["own"] == 1)
    assert "203.0.113.7:443/tcp" in client.policy("shop", "cart")
    server.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                  "metadata": {"name": "np", "namespace": "shop"},
                  "spec": {"podSelector": {}, "policyTypes": ["Egress"],
                           "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}]}})
    client.until(lambda s: s["counts"]["pods"] == 2 and not s["counts"]["partial"])
    server.kubectl("-n", "shop", "delete", "egp", "pay")
    client.until(lambda s: s["counts"]["own"] == 0)


def test_a_version_that_was_compacted_away(server, follow):
    """The server is away, and etcd has nothing of the time before: 410, and all is listed again."""
    server.apply(pod("old"))
    client = follow()
    client.until(well, WAIT_S)
    server.apply(pod("newer"))
    client.until(lambda s: s["counts"]["pods"] == 2)
    server.stop("api")
    state = client.until(lambda s: s["stale_since"])
    assert state["counts"]["pods"] == 2 and state["complete"]
    server.compact()
    server.start_server()
    server.apply(pod("newest"))
    state = client.until(lambda s: well(s) and s["counts"]["pods"] == 3, WAIT_S)
    assert sum(each["expired"] for each in state["kinds"]) >= 1, state


def test_who_may_not(server, follow):
    client = follow(token="nobody-token")
    state = client.until(lambda s: "not allowed (403)" in (s["why"] or ""), WAIT_S)
    assert not state["complete"] and 'User "nobody" cannot list' in state["why"]
    client = follow(token="no-token")
    state = client.until(lambda s: s["why"], WAIT_S)
    assert "(401)" in state["why"]


def test_a_status_of_two_nodes(server, follow):
    server.apply(pod("cart-a", "node-a", app="cart"), pod("cart-b", "node-b", app="cart"),
                 policy({"allow": "203.0.113.7:443/tcp"}, app="cart"),
                 policy({"alow": "203.0.113.7:443/tcp"}, name="wrong", app="none"))
    for node in "ab":
        client = follow(f"node-{node}")
        uid = server.get("-n", "shop", "pod", f"cart-{node}")["metadata"]["uid"]
        client.ask(f"fate {uid} ok")

    def status(name):
        said = server.get("-n", "shop", "egp", name).get("status", {})
        return said, {each["type"]: each for each in said.get("conditions", [])}
    end = time.monotonic() + WAIT_S
    while status("pay")[1].get("Enforced", {}).get("message") != "on 2 nodes, 2 pods" or not status("wrong")[1]:
        assert time.monotonic() < end, (status("pay"), status("wrong"))
        time.sleep(0.5)
    assert {each["name"] for each in status("pay")[0]["nodes"]} == {"node-a", "node-b"}
    assert status("wrong")[1]["Valid"]["status"] == "False"
    assert "spec.rules[0].alow" in status("wrong")[1]["Valid"]["message"]
    shown = server.kubectl("-n", "shop", "get", "egp", "pay").stdout
    assert "VALID" in shown and "on 2 nodes, 2 pods" in shown
    # one pod goes, and its node takes back its own element alone
    server.kubectl("-n", "shop", "delete", "pod", "cart-b", "--force", "--grace-period=0")
    while len(status("pay")[0]["nodes"]) != 1:
        assert time.monotonic() < end + WAIT_S, status("pay")
        time.sleep(0.5)
    assert status("pay")[0]["nodes"][0]["name"] == "node-a"


def test_the_kind_that_the_server_lists(server, follow):
    client = follow()
    state = client.until(well, WAIT_S)
    slices = "discovery.k8s.io/v1\n" in server.kubectl("api-versions").stdout
    assert bool(kind(state, "endpointslices")) == slices and bool(kind(state, "endpoints")) != slices
