# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Whose answers a pod's policy believes: who makes a pod writes its resolv.conf (dnsConfig), and the
resolver there may be his own."""
import os
import shutil
import socket
import threading
import types
import uuid

import pytest

import dnsmsg
from apinodelab import machine_of_all, node  # noqa: F401
from apinodelab import HOSTS, base, becomes, told
from crilab import AGAIN
from lab import until
from ocilab import ALL, NONE, PROBE, SOME, removed

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]
BEHIND = [f"x.example.org.{domain}" for domain in ("shop.svc.other.test", "corp.example", "evil.example")]
# Before each probe it asks both resolvers for both kinds of addresses, and behind search domains.
ASKS = AGAIN.replace("    exec(", f"""\
    import socket
    for host in {HOSTS!r}:
        for query in {[dnsmsg.query(name, kind, 77) for name in ["x.example.org", *BEHIND] for kind in (dnsmsg.A, dnsmsg.AAAA)]!r}:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.settimeout(1)
                try:
                    asking.sendto(query, (host, 53))
                    asking.recv(512)
                except OSError:
                    pass
    exec(""", 1)
ADDRESSES = {dnsmsg.A: socket.inet_aton(HOSTS[0]), dnsmsg.AAAA: socket.inet_pton(socket.AF_INET6, HOSTS[1])}
BY_NAME = {"allow": {"to": "*.example.org", "ports": 7001}}
BY_SET = {"allow": {"to": "@resolvers", "ports": 7001}}


@pytest.fixture(name="liar")
def a_resolver_of_the_tenants_own(node):  # noqa: F811
    """Whatever is asked, these are its addresses."""
    heard, over, sockets = [], threading.Event(), []

    def serve(sock):
        while not over.is_set():
            try:
                query, peer = sock.recvfrom(512)
            except OSError:
                continue
            heard.append(query)
            kind = int.from_bytes(query[-4:-2], "big")
            sock.sendto(dnsmsg.answer(query, [dnsmsg.record(None, kind, ADDRESSES[kind])]), peer)
    for host in HOSTS:
        sock = node.within(lambda h=host: socket.socket(socket.AF_INET6 if ":" in h else socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind((host, 53))
        sock.settimeout(0.1)
        sockets.append(sock)
    threads = [threading.Thread(target=serve, args=(sock,)) for sock in sockets]
    for thread in threads:
        thread.start()
    yield heard
    over.set()
    for thread in threads:
        thread.join()
    for sock in sockets:
        sock.close()


def dns_service(node, *addresses, name="kube-dns", namespace="kube-system", labels=None):  # noqa: F811
    node.cluster.put("services", {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
                                  "spec": {"clusterIP": addresses[0], "clusterIPs": list(addresses),
                                           "ports": [{"port": 53, "protocol": "UDP"}]}})


def heard_of(queries):
    return {dnsmsg.question_of(query)[0] for query in queries}


def begun(node, state="judged"):  # noqa: F811
    node.start_daemon()
    pod = node.pod(labels={"app": "web"}, resolvers=HOSTS)
    told(node, pod, app="web")
    node.known(pod, state)
    pod.start(ASKS, wait=False)
    return pod


def test_it_answers_who_is_not_judged(node, liar):  # noqa: F811
    """What is asked below arrives, and so does what is connected to."""
    node.cluster.delete("egresspolicies", "shop/web")
    pod = begun(node)
    assert pod.probe() == ALL
    assert heard_of(liar) == {"x.example.org", *BEHIND}


@pytest.mark.parametrize("rule", [BY_NAME, BY_SET])
@pytest.mark.parametrize("dns", [{}, {"dns": {"resolvers": "system"}}])
def test_a_tenants_resolver_opens_nothing_for_the_cluster(node, liar, rule, dns):  # noqa: F811
    """neither what it says is a name's, nor itself; if the cluster's own says so it is"""
    node.cluster.delete("egresspolicies", "shop/web")
    node.cluster.put("clusteregresspolicies", base(rule, {"deny": "any"}, **dns))
    dns_service(node, "10.96.0.10", "fd00:96::10")
    dns_service(node, *HOSTS, namespace="shop", labels={"k8s-app": "kube-dns"})     # of a tenant's making
    pod = begun(node)
    assert pod.probe() == NONE and not liar
    dns_service(node, *HOSTS)
    becomes(pod, SOME)
    # where names are judged, behind no domain that is not the cluster's
    assert rule == BY_SET or heard_of(liar) == {"x.example.org"}


def test_a_tenants_policy_by_name_opens_no_resolver_that_the_cluster_denies(node, liar):  # noqa: F811
    node.cluster.put("egresspolicies", {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"rules": [BY_NAME]}})
    node.cluster.put("clusteregresspolicies", base({"deny": {"to": list(HOSTS), "ports": 53}}))
    dns_service(node, "10.96.0.10", "fd00:96::10")
    pod = begun(node)
    assert pod.probe() == NONE and not liar
    node.cluster.delete("clusteregresspolicies", "/base")
    becomes(pod, SOME)      # his own policy, his own resolver


def test_no_resolver_is_known(node, liar):  # noqa: F811
    node.cluster.delete("egresspolicies", "shop/web")
    node.cluster.put("clusteregresspolicies", base(BY_NAME, {"deny": "any"}))
    pod = begun(node, "refused")
    assert "no resolver is known that it may ask" in node.known(pod, "refused")["why"]
    assert pod.probe() == NONE and not liar
    config = (node.folder / "etc" / "sluiced.yaml").read_text()
    node.put("sluiced.yaml", config.replace("kubernetes:\n", "kubernetes:\n  resolvers: [192.0.2.1, '2001:db8::1']\n"))
    becomes(pod, SOME)


@pytest.mark.parametrize("search, want", [
    ("sluice-system.svc.other.test svc.other.test other.test corp.example", SOME),
    ("corp.example", NONE)])        # its node's: no kubelet wrote it for a pod of its namespace
def test_the_resolv_conf_of_sluiceds_own_pod(node, liar, tmp_path, monkeypatch, search, want):  # noqa: F811
    conf = tmp_path / "resolv.conf"
    conf.write_text("".join(f"nameserver {host}\n" for host in HOSTS) + f"search {search}\n")
    monkeypatch.setitem(node.env, "POD_NAMESPACE", "sluice-system")
    node.cluster.put("namespaces", {"metadata": {"name": "sluice-system"}})
    node.cluster.delete("egresspolicies", "shop/web")
    node.cluster.put("clusteregresspolicies", base(BY_NAME, {"deny": "any"}))
    node.start_daemon(before=("unshare", "--mount", "sh", "-c", f'mount --bind {conf} /etc/resolv.conf && exec "$@"', "sh"))
    pod = node.pod(labels={"app": "web"}, resolvers=HOSTS)
    told(node, pod, app="web")
    node.known(pod, "judged" if want == SOME else "refused")
    pod.start(ASKS, wait=False)
    assert pod.probe() == want
    assert heard_of(liar) == ({"x.example.org", *BEHIND[:2]} if want == SOME else set())


def dns_of(pod, **spec):
    return {"metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "labels": {"app": "web"}},
            "spec": {"nodeName": "node-a", "containers": [{"name": "c"}], **spec},
            "status": {"phase": "Running", "podIP": "10.244.0.200", "hostIP": "10.9.9.9"}}


@pytest.mark.parametrize("spec, want", [
    ({}, SOME), ({"dnsPolicy": "ClusterFirst"}, SOME), ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, SOME),
    ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, NONE), ({"dnsPolicy": "Default"}, NONE),
    ({"dnsPolicy": "None", "dnsConfig": {"nameservers": list(HOSTS)}}, SOME),
    ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.96.0.9", "none"]}}, NONE)])
def test_the_first_question_before_its_resolv_conf_is_seen(node, liar, spec, want):  # noqa: F811
    """What the pod's object and the cluster's DNS say counts until then: here its first process has the host's root, as
    the runtime's has before it made one."""
    node.cluster.put("egresspolicies", {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"rules": [BY_NAME]}})
    if spec.get("dnsPolicy") != "None":
        dns_service(node, *HOSTS)
    node.start_daemon()
    uid = str(uuid.uuid4())
    path = node.cgroup_of(uid, "cgroupfs", "besteffort")
    cgroup = node.top.parent / path.lstrip("/")
    cgroup.mkdir(parents=True)
    early = types.SimpleNamespace(name="web", namespace="shop", uid=uid)
    node.cluster.put("pods", dns_of(early, **spec))
    node.known(early)
    code = ASKS[ASKS.index("    import socket"):ASKS.index("    exec(")] + f"    exec({PROBE!r})\n"
    said = node.run("sh", "-c", f'echo $$ > {cgroup}/cgroup.procs && exec python3 -c "$1"', "sh", "if True:\n" + code)
    assert said.stdout.split() == want, said
    assert heard_of(liar) <= {"x.example.org", BEHIND[0]} and bool(liar) == (want == SOME)
    assert until(lambda: removed(cgroup))
