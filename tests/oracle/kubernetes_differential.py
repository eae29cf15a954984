#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""kubernetes_differential.py --build DIR [--seed N] [--random N]: objects of Kubernetes, converted
for one pod, against a naive reading (netpol_reading.py): every combination of 10 peer shapes,
none, one or two of them, with 35 port shapes, over 9 pods, two ports and three protocols; then
random clusters with several policies, Services, EgressPolicies and pods' own policies. No difference may be left."""
import argparse
import collections
import ipaddress
import itertools
import json
import pathlib
import random
import sys
import tempfile

import differential
from netpol_reading import Cluster, NUMBERS, addresses

CONDITIONS = [{"ready": True}, {"ready": False}, {"ready": False, "serving": True, "terminating": True},
              {"ready": False, "serving": False, "terminating": True}]
EXTERNAL = ["8.8.8.8", "10.1.2.3", "10.200.0.1", "127.0.0.1", "192.168.0.1", "192.168.0.2",
            "2606:4700::1111", "2002:808:808::1", "64:ff9b:1::1", "2001:0:1::1", "::1", "fd00:99::1",
            "::ffff:0:808:808"]


# ---- objects ----

def meta(name, namespace=None, labels=None):
    return {"metadata": {k: v for k, v in (("name", name), ("namespace", namespace), ("labels", labels))
                         if v is not None}}


def kind(word, version="v1", **parts):
    return {"apiVersion": version, "kind": word, **parts}


def namespace_object(name, labels):
    return kind("Namespace", **meta(name, labels=labels))


def pod_object(namespace, name, ips, ports, labels=None, **status):
    return kind("Pod", **meta(name, namespace, {"pod": name} if labels is None else labels),
                spec={"containers": [{"name": "c", "ports": ports}]},
                status={"podIP": ips[0], "podIPs": [{"ip": i} for i in ips],
                        "hostIP": "192.168.0.1", "hostIPs": [{"ip": "192.168.0.1"}], **status})


def netpol(name, namespace, spec):
    return kind("NetworkPolicy", "networking.k8s.io/v1", **meta(name, namespace), spec=spec)


def nine_pods():
    """Three namespaces of three pods; in z what is called web and dns are other ports."""
    objects = [namespace_object(n, {"ns": n}) for n in "xyz"]
    for i, n in enumerate("xyz"):
        web, dns = (81, 80) if n == "z" else (80, 81)
        ports = [{"name": "web", "containerPort": web},
                 {"name": "dns", "containerPort": dns, "protocol": "UDP"},
                 {"name": "sig", "containerPort": web, "protocol": "SCTP"},
                 {"containerPort": 9}]
        objects += [pod_object(n, p, [f"10.{i}.0.{j}", f"fd00:{i}::{j}"], ports)
                    for j, p in enumerate("abc", 1)]
    return objects


def expression(key, op, *values):
    return {"matchExpressions": [{"key": key, "operator": op, **({"values": list(values)} if values else {})}]}


PEERS = [
    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/15", "10.2.0.3/32"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fd00:1::/32"]}},
    {"podSelector": {}},
    {"podSelector": {"matchLabels": {"pod": "b"}}},
    {"namespaceSelector": {}},
    {"namespaceSelector": {"matchLabels": {"ns": "y"}}},
    {"namespaceSelector": expression("ns", "NotIn", "x", "y"), "podSelector": expression("pod", "In", "a", "c")},
    {"namespaceSelector": {"matchLabels": {"ns": "y"}}, "podSelector": {"matchLabels": {"pod": "c"}}},
    {"podSelector": expression("pod", "Exists"), "namespaceSelector": expression("none", "DoesNotExist")},
]


def port_shapes():
    """35 of them: absent, empty, and lists of one or two."""
    one = [{"protocol": p} for p in NUMBERS]
    one += [{"port": n} for n in (80, 81)] + [{"port": n, "protocol": p} for n in (80, 81) for p in NUMBERS]
    one += [{"port": "web"}, {"port": "web", "protocol": "TCP"}, {"port": "web", "protocol": "UDP"},
            {"port": "dns", "protocol": "UDP"}, {"port": "sig", "protocol": "SCTP"}, {"port": "absent"}]
    one += [{"port": 79, "endPort": 80}, {"port": 80, "endPort": 81, "protocol": "UDP"},
            {"port": 81, "endPort": 65535}, {"port": 1, "endPort": 65535, "protocol": "SCTP"},
            {"port": 80, "endPort": 80}]
    two = [({"port": 80}, {"port": 81}), ({"port": 80}, {"port": 81, "protocol": "UDP"}),
           ({"port": "web"}, {"port": "dns", "protocol": "UDP"}), ({"port": "web"}, {"port": 80}),
           ({"protocol": "UDP"}, {"port": 80, "protocol": "UDP"}), ({}, {"port": 81, "protocol": "SCTP"}),
           ({"port": 1, "endPort": 80}, {"port": 80, "endPort": 100}), ({"port": "sig", "protocol": "SCTP"}, {"port": 7}),
           ({"protocol": "TCP"}, {"protocol": "UDP"}), ({"port": "web"}, {"port": "web", "protocol": "SCTP"}),
           ({"port": 80, "protocol": "SCTP"}, {"port": 81, "protocol": "SCTP"})]
    shapes = [None, []] + [[p] for p in one] + [list(t) for t in two]
    assert len(shapes) == 35, len(shapes)
    return shapes


def table():
    base = nine_pods()
    peers = [None, []] + [[p] for p in PEERS] + [list(t) for t in itertools.combinations(PEERS, 2)]
    for to, ports in itertools.product(peers, port_shapes()):
        rule = {k: v for k, v in (("to", to), ("ports", ports)) if v is not None}
        yield base + [netpol("one", "x", {"podSelector": {"matchLabels": {"pod": "a"}},
                                          "policyTypes": ["Egress"], "egress": [rule]})], ("x", "a")


def directed():
    """What the table does not say: policies beside one another."""
    base = nine_pods()
    block = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}
    tls = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}
    everything = netpol("all", "x", {"podSelector": {}, "egress": [{}]})
    for specs in ([{"egress": [block]}, {"egress": [tls]}], [{"egress": [tls]}, {"egress": [block]}],
                  [{"egress": [block, tls]}], [{"egress": []}], [{"egress": [], "policyTypes": ["Egress"]}],
                  [{"policyTypes": ["Ingress"], "egress": [tls]}], [{}], [{"egress": [block]}, {}]):
        named = [netpol(f"n{i}", "x", {"podSelector": {}, **s}) for i, s in enumerate(specs)]
        yield base + named, ("x", "a")
        yield base + named + [everything], ("x", "b")


# ---- random clusters ----

def random_selector(rng, keys):
    if rng.random() < 0.2:
        return {}
    selector = {}
    if rng.random() < 0.6:
        selector["matchLabels"] = {rng.choice(keys): rng.choice("abc") for _ in range(rng.choice([1, 1, 2]))}
    if rng.random() < 0.5:
        selector["matchExpressions"] = []
        for _ in range(rng.choice([1, 1, 2])):
            op = rng.choice(["In", "NotIn", "Exists", "DoesNotExist"])
            values = {"values": rng.sample("abc", rng.choice([1, 2]))} if op.endswith("In") else {}
            selector["matchExpressions"].append({"key": rng.choice(keys), "operator": op, **values})
    return selector


def part_of(text, block):
    inner = ipaddress.ip_network(text)
    return inner.subnet_of(block) and inner != block


def random_block(rng):
    if rng.random() < 0.6:
        bits, width, start = rng.choice([0, 8, 15, 16, 24, 31]), 32, 10 << 24 | rng.getrandbits(2) << 16 | 4
        known = ["10.0.0.1/32", "10.0.0.0/30", "10.1.0.0/16", "8.0.0.0/5"]
    else:
        bits, width, start = rng.choice([0, 7, 16, 32, 64, 127]), 128, 0xfd00 << 112 | rng.getrandbits(2) << 96 | 2
        known = ["fd00:1::/32", "fd00::1/128", "2002::/16", "2002:800::/24", "fd00::/30", "2606::/16"]
    mask = ((1 << bits) - 1) << (width - bits)
    block = ipaddress.ip_network((start & mask, bits) if width == 32 else
                                 (ipaddress.IPv6Address(start & mask), bits))
    inside = [e for e in rng.sample(known, rng.choice([0, 1, 2, 3])) if part_of(e, block)]
    return {"cidr": str(block), **({"except": inside} if inside else {})}


def random_peer(rng):
    how = rng.random()
    if how < 0.4:
        return {"ipBlock": random_block(rng)}
    peer = {}
    if how < 0.8:
        peer["podSelector"] = random_selector(rng, ["pod", "tier"])
    if how > 0.6:
        peer["namespaceSelector"] = random_selector(rng, ["ns", "env"])
    return peer


def random_spec(rng):
    spec = {"podSelector": random_selector(rng, ["pod", "tier"]) if rng.random() < 0.4 else {}}
    if rng.random() < 0.6:
        spec["policyTypes"] = rng.choice([["Egress"], ["Ingress", "Egress"], ["Egress"], ["Ingress"], []])
    if rng.random() < 0.9:
        spec["egress"] = []
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            rule = {}
            if rng.random() < 0.8:
                rule["to"] = [random_peer(rng) for _ in range(rng.choice([0, 1, 1, 2]))]
            if rng.random() < 0.7:
                rule["ports"] = rng.choice(port_shapes()[1:])
            spec["egress"].append(rule)
    return spec


def random_pods(rng):
    objects = [namespace_object(n, {k: rng.choice("abc") for k in ("ns", "env") if rng.random() < 0.7})
               for n in "xyz"]
    for i, n in enumerate("xyz"):
        for j, p in enumerate("abc", 1):
            ports = [{"name": "web", "containerPort": rng.choice([80, 81])},
                     {"name": "dns", "containerPort": rng.choice([80, 81]), "protocol": "UDP"},
                     {"name": "sig", "containerPort": 80, "protocol": "SCTP"}]
            labels = {"pod": p, **({"tier": rng.choice("abc")} if rng.random() < 0.6 else {})}
            phase = {"phase": rng.choice(["Running", "Running", "Pending", "Succeeded"])} if p != "a" else {}
            objects.append(pod_object(n, p, [f"10.{i}.0.{j}", f"fd00:{i}::{j}"],
                                      rng.sample(ports, rng.choice([0, 1, 2, 3])), labels, **phase))
    return objects


def random_services(rng, pods):
    objects = []
    for i in range(rng.choice([0, 1, 2, 3])):
        name, space = f"s{i}", rng.choice("xyz")
        ports = [{"name": "p", "port": 80, **rng.choice([{}, {"protocol": "UDP"}])}, {"name": "q", "port": 81}]
        behind = [{"name": "p", "port": rng.choice([80, 81]), **{k: v for k, v in ports[0].items() if k == "protocol"}},
                  {"name": "q", "port": rng.choice([80, 9])}]
        more = {}
        if rng.random() < 0.4:
            ports[0]["nodePort"] = 30080 + i
        if rng.random() < 0.3:
            more["externalIPs"] = [rng.choice(["8.8.8.8", "10.200.0.1", "10.1.2.3"]), "2606:4700::1111"]
        balancer = [{"ip": rng.choice(["10.200.0.1", "8.8.8.8"]), **rng.choice([{}, {"ipMode": "VIP"}, {"ipMode": "Proxy"}])}]
        objects.append(kind("Service", **meta(name, space), spec={
            "clusterIP": f"10.96.0.{i + 1}", "clusterIPs": [f"10.96.0.{i + 1}", f"fd00:96::{i + 1}"], "ports": ports, **more},
            status={"loadBalancer": {"ingress": balancer} if rng.random() < 0.3 else {}}))
        chosen = rng.sample(pods, rng.choice([0, 1, 2, 3]))
        if rng.random() < 0.6:
            for family, word in ((0, "IPv4"), (1, "IPv6")):
                objects.append(kind("EndpointSlice", "discovery.k8s.io/v1", addressType=word, ports=behind, endpoints=[
                    {"addresses": [addresses(p)[family]],
                     **rng.choice([{}, *({"conditions": c} for c in CONDITIONS)])}
                    for p in chosen], **meta(f"{name}-{word.lower()}", space, {"kubernetes.io/service-name": name})))
        if rng.random() < 0.6:
            objects.append(kind("Endpoints", **meta(name, space), subsets=[
                {"addresses": [{"ip": addresses(p)[0]} for p in chosen[:2]], "ports": behind,
                 "notReadyAddresses": [{"ip": addresses(pods[0])[0]}]}]))
    return objects


def random_own(rng):
    objects, version = [], "sluice.dev/v1alpha1"
    for i in range(rng.choice([0, 0, 1, 2, 3])):
        rules = [{rng.choice(["allow", "deny"]): {"to": rng.choice(["10.0.0.0/8", "10.1.0.0/16", "10.1.0.2/32", "fd00::/16",
                                                                   "fd00:2::/32", "0.0.0.0/0"]),
                                                  "ports": rng.choice([80, 81]), "protocol": rng.choice(["tcp", "udp"])}}
                 for _ in range(rng.choice([1, 2, 3]))]
        spec = {"podSelector": random_selector(rng, ["pod", "tier"]) if rng.random() < 0.5 else {}, "rules": rules}
        if i == 0 and rng.random() < 0.5:
            spec["default"] = rng.choice(["allow", "deny"])
        if rng.random() < 0.5:
            spec["namespaceSelector"] = random_selector(rng, ["ns", "env"])
            objects.append(kind("ClusterEgressPolicy", version, **meta(rng.choice("mno") + str(i)), spec=spec))
        else:
            objects.append(kind("EgressPolicy", version, **meta(rng.choice("mno") + str(i), rng.choice("xxy")), spec=spec))
    return objects


def random_application(rng):
    """As the text of an annotation."""
    rules = [{"cidr": rng.choice(["10.0.0.0/8", "10.1.0.0/16", "10.2.0.3/32", "8.0.0.0/6", "0.0.0.0/0", "fd00:1::/32",
                                  "2600::/12", "192.168.0.0/16", "10.96.0.0/24"]),
              **rng.choice([{}, {"port": 0}, {"port": 80}, {"port": 81}, {"port": 443}]),
              **rng.choice([{}, {"protocol": ""}, {"protocol": "TCP"}, {"protocol": "UDP"}])}
             for _ in range(rng.choice([0, 1, 2, 3]))]
    return json.dumps({"mode": rng.choice(["allowlist", "denylist"]), "rules": rules})


def random_cluster(rng):
    pods = random_pods(rng)
    if rng.random() < 0.3:
        first = next(o for o in pods if o["kind"] == "Pod")
        first["metadata"]["annotations"] = {"sluice.dev/egress-policy": random_application(rng)}
    objects = pods + random_services(rng, [o for o in pods if o["kind"] == "Pod"]) + random_own(rng)
    objects += [netpol(f"np{i}", rng.choice("xxxy"), random_spec(rng)) for i in range(rng.choice([0, 1, 2, 2, 3]))]
    rng.shuffle(objects)
    return objects, ("x", "a")


# ---- asking ----

def questions(objects):
    """Each (address, protocol, port); for ICMP the port is type and code."""
    hosts = [a for o in objects if o["kind"] == "Pod" for a in addresses(o)]
    hosts += [a for o in objects if o["kind"] == "Service" for a in o["spec"]["clusterIPs"]]
    flows = [(a, n, port) for a in hosts for port in (80, 81) for n in NUMBERS.values()]
    for a in ("8.8.8.8", "10.200.0.1", "10.1.2.3", "2606:4700::1111"):      # externalIPs and load balancers
        flows += [(a, n, port) for port in (80, 81) for n in (6, 17)] if len(objects) > 12 else []
    flows += [("192.168.0.1", n, 30080 + i) for i in range(3) for n in (6, 17)]
    for a in EXTERNAL:
        flows += [(a, 6, 443), (a, 17, 80), (a, 17, 53), (a, 58 if ":" in a else 1, 8 << 8)]
    return flows


def write(path, objects, as_list):
    if as_list:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1)
    else:
        text = "\n---\n".join(json.dumps(o) for o in objects)
    path.write_text(text + "\n")
    path.chmod(0o644)


def ask(judge, path, case, as_list):
    objects, (namespace, name) = case
    write(path, objects, as_list)
    flows = questions(objects)
    lines = [f"out {protocol} {address} {key} -" for address, protocol, key in flows]
    said = judge.ask([f"kubernetes {namespace}/{name} {path}"])
    assert said == ["ok"], (said, path.read_text())
    answers = []
    for i in range(0, len(lines), differential.BATCH):
        answers += judge.ask(lines[i:i + differential.BATCH])
    return [(flow, answer.split(" ")[0] == "allow") for flow, answer in zip(flows, answers)]


def expected(case, flow, flaw=None, clusters={}):
    key = (id(case), flaw)
    if clusters.get("key") != key:
        cluster = Cluster(case[0], flaw)
        pod = next(o for o in cluster.of["Pod"] if (o["metadata"]["namespace"], o["metadata"]["name"]) == case[1])
        clusters.update(key=key, value=(cluster, pod))
    cluster, pod = clusters["value"]
    return cluster.allows(pod, *flow)


def compare(judge, folder, cases, counts):
    path = pathlib.Path(folder) / "objects.yaml"
    differences = 0
    for i, case in enumerate(cases):
        wrong = []
        for flow, allowed in ask(judge, path, case, i % 2):
            want = expected(case, flow)
            counts[want] += 1
            if want != allowed:
                wrong.append((flow, "allowed" if allowed else "denied"))
        counts["cases"] += 1
        if wrong:
            differences += len(wrong)
            if differences < 50:
                policies = [o for o in case[0] if o["kind"] not in ("Pod",)]
                print("\n".join(json.dumps(o) for o in policies), *wrong[:5], sep="\n")
    return differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--random", type=int, default=400)
    parser.add_argument("--table", type=int, default=1, help="0: only the random ones")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    rng, counts = random.Random(options.seed), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        judge = differential.Judge([options.build.resolve() / "tests" / "judge"], folder)
        cases = itertools.chain(table() if options.table else (), directed(), (random_cluster(rng) for _ in range(options.random)))
        differences = compare(judge, folder, cases, counts)
        status = judge.close()
    print(f"seed {options.seed}: {counts['cases']} clusters, {counts[True]} flows that pass, {counts[False]} that "
          f"do not, {differences} differences")
    return 1 if differences or status or min(counts[True], counts[False]) * 5 < counts[True] else 0


if __name__ == "__main__":
    sys.exit(main())
