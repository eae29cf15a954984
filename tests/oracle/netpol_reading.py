# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a pod may reach: a naive reading of the rules of Kubernetes' NetworkPolicy (the API's
reference and "Network Policies" in its manual) and of docs/kubernetes.md, over plain objects.
It knows nothing of the converter. FLAWS are mistakes that a converter might make; the tests
of the oracle show that each of them is noticed."""
import ipaddress
import json

FLAWS = ["except", "except denies", "endPort", "no to", "no ports", "protocol", "names",
         "namespace", "both selectors", "NotIn", "expressions", "policyTypes", "union", "node",
         "ended", "ready", "service", "order", "default", "adds", "external",
         "node port", "own behind"]
EMBEDDING = ["::ffff:0:0:0/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"]
NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}


class Cluster:
    def __init__(self, objects, flaw=None):
        self.flaw = flaw
        self.of = {}
        for o in objects:
            self.of.setdefault(o["kind"], []).append(o)
        self.pod_at = {}
        for pod in self.of.get("Pod", []):
            if pod["status"].get("phase") in ("Succeeded", "Failed") and flaw != "ended":
                continue
            if not pod["spec"].get("hostNetwork"):
                for address in addresses(pod):
                    self.pod_at[address] = pod

    # ---- selectors ----

    def expression(self, e, labels):
        value, op = labels.get(e["key"]), e["operator"]
        if op == "In":
            return value in e["values"]
        if op == "NotIn":
            return value not in e["values"] and not (self.flaw == "NotIn" and value is None)
        return (value is not None) == (op == "Exists")

    def selects(self, selector, labels):
        selector = selector or {}
        expressions = [] if self.flaw == "expressions" else selector.get("matchExpressions") or []
        return all(labels.get(k) == v for k, v in (selector.get("matchLabels") or {}).items()) and \
            all(self.expression(e, labels) for e in expressions)

    def namespace_labels(self, name):
        for o in self.of.get("Namespace", []):
            if o["metadata"]["name"] == name:
                return {"kubernetes.io/metadata.name": name, **o["metadata"].get("labels", {})}
        raise KeyError(name)

    # ---- NetworkPolicy ----

    def governing(self, pod):
        for policy in self.of.get("NetworkPolicy", []):
            spec = policy["spec"]
            types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else
                                                ["Ingress"])
            if self.flaw == "policyTypes":
                types = ["Egress"]
            if "Egress" in types and namespace(policy) == namespace(pod) and \
                    self.selects(spec.get("podSelector"), labels_of(pod)):
                yield policy

    def peer_has(self, peer, policy, address):
        block = peer.get("ipBlock")
        if block:
            inside = [] if self.flaw == "except" else block.get("except") or []
            return within(address, block["cidr"]) and not any(within(address, e) for e in inside)
        pod = self.pod_at.get(address)
        if pod is None:
            return False
        pods, namespaces = peer.get("podSelector"), peer.get("namespaceSelector")
        if self.flaw == "both selectors" and pods is not None and namespaces is not None:
            return self.selects(pods, labels_of(pod)) or \
                self.selects(namespaces, self.namespace_labels(namespace(pod)))
        if namespaces is None:
            if namespace(pod) != namespace(policy) and self.flaw != "namespace":
                return False
        elif not self.selects(namespaces, self.namespace_labels(namespace(pod))):
            return False
        return self.selects(pods, labels_of(pod))

    def port_has(self, port, address, protocol, number):
        if NUMBERS[port.get("protocol", "TCP")] != protocol and \
                not (self.flaw == "protocol" and "protocol" not in port):
            return False
        wanted = port.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, int):
            last = wanted if self.flaw == "endPort" else port.get("endPort") or wanted
            return wanted <= number <= last
        pod = self.pod_at.get(address)
        if self.flaw == "names":
            pod = self.of["Pod"][0]
        return pod is not None and any(
            p.get("name") == wanted and p["containerPort"] == number and
            NUMBERS[p.get("protocol", "TCP")] == protocol for p in container_ports(pod))

    def rule_has(self, rule, policy, address, protocol, number):
        to, ports = rule.get("to"), rule.get("ports")
        if to or self.flaw == "no to":
            if not any(self.peer_has(p, policy, address) for p in to or []):
                return False
        if ports or self.flaw == "no ports":
            return any(self.port_has(p, address, protocol, number) for p in ports or [])
        return True

    def excepted(self, policies, address):
        return any(within(address, e) for policy in policies for rule in policy["spec"].get("egress") or []
                   for peer in rule.get("to") or []
                   for e in (peer.get("ipBlock") or {}).get("except") or [])

    def by_address(self, pod, policies, address, protocol, number):
        ip = ipaddress.ip_address(address)
        if ip.is_loopback or address in addresses(pod):
            return True
        if self.flaw != "node" and address in [h["ip"] for h in pod["status"].get("hostIPs", [])]:
            return True
        if self.flaw == "except denies" and self.excepted(policies, address):
            return False
        quantifier = all if self.flaw == "union" else any
        return quantifier(any(self.rule_has(rule, policy, address, protocol, number)
                              for rule in policy["spec"].get("egress") or []) for policy in policies)

    # ---- Services ----

    def chosen(self, endpoint):
        """Ready, or taken where none is."""
        conditions = endpoint.get("conditions", {})
        ends = conditions.get("terminating") and conditions.get("serving") is not False
        return conditions.get("ready") is not False or ends or self.flaw == "ready"

    def behind(self, service, port, family):
        """Endpoints of a Service's port that a packet may come to: (address, port)."""
        def of_service(o, name):
            return name == service["metadata"]["name"] and namespace(o) == namespace(service)

        slices = [o for o in self.of.get("EndpointSlice", [])
                  if of_service(o, labels_of(o).get("kubernetes.io/service-name"))]
        found = []
        for o in slices:
            for e in o["endpoints"]:
                if self.chosen(e):
                    found += [(a, o["ports"]) for a in e["addresses"]]
        if not slices:
            for o in self.of.get("Endpoints", []):
                if of_service(o, o["metadata"]["name"]):
                    for s in o["subsets"]:
                        found += [(a["ip"], s["ports"]) for a in s.get("addresses", [])]
        return [(a, p["port"]) for a, ports in found for p in ports
                if ipaddress.ip_address(a).version == family and p.get("name") == port.get("name") and
                p.get("protocol", "TCP") == port.get("protocol", "TCP")]

    def fronts_at(self, pod, address, protocol, number):
        """What kube-proxy may make of it: (endpoints, is it a ClusterIP) of each Service there."""
        for service in self.of.get("Service", []):
            spec = service["spec"]
            external = spec.get("externalIPs", []) + [
                i["ip"] for i in service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
                if i.get("ipMode") != "Proxy"]
            node = [h["ip"] for h in pod["status"].get("hostIPs", [])]
            for port in spec["ports"]:
                if NUMBERS[port.get("protocol", "TCP")] != protocol:
                    continue
                at = {True: address in spec.get("clusterIPs", []) and port["port"] == number,
                      False: address in external and port["port"] == number and self.flaw != "external" or
                      address in node and port.get("nodePort") == number and self.flaw != "node port"}
                for is_cluster_ip, there in at.items():
                    if there:
                        yield (self.behind(service, port, ipaddress.ip_address(address).version),
                               is_cluster_ip)

    # ---- EgressPolicy ----

    def own(self, pod):
        chosen = []
        for o in self.of.get("ClusterEgressPolicy", []):
            if self.selects(o["spec"].get("namespaceSelector"), self.namespace_labels(namespace(pod))):
                chosen.append((0, o["metadata"]["name"], o["spec"]))
        for o in self.of.get("EgressPolicy", []):
            if namespace(o) == namespace(pod):
                chosen.append((1, o["metadata"]["name"], o["spec"]))
        chosen = [c for c in chosen if self.selects(c[2].get("podSelector"), labels_of(pod))]
        return [spec for _, _, spec in sorted(chosen, key=lambda c: c[:2],
                                              reverse=self.flaw == "order")]

    @staticmethod
    def first_rule(rules, address, protocol, number):
        for i, rule in enumerate(rules):
            (action, match), = rule.items()
            if within(address, match["to"]) and match["ports"] == number and \
                    protocol == NUMBERS[match["protocol"].upper()]:
                return i, action
        return len(rules), None

    def by_own(self, own, pod, address, protocol, number):
        """A deny of an endpoint is one of what is in front of it, where it stands."""
        rules = [rule for spec in own for rule in spec.get("rules", [])]
        found = [self.first_rule(rules, a, protocol, p)
                 for endpoints, _ in self.fronts_at(pod, address, protocol, number) for a, p in endpoints]
        denied = [] if self.flaw == "own behind" else [(i, action) for i, action in found if action == "deny"]
        return min(denied + [self.first_rule(rules, address, protocol, number)])[1]

    def allows(self, pod, address, protocol, number):
        own = self.own(pod)
        said = self.by_own(own, pod, address, protocol, number)
        if said:
            return said == "allow"
        policies = list(self.governing(pod))
        application = application_of(pod)
        if application:
            said = self.anywhere(pod, lambda a, p: self.by_application(application, pod, a, protocol, p),
                                 address, protocol, number)
            return said or (self.flaw == "adds" and bool(policies) and
                            self.by_policies(pod, policies, address, protocol, number))
        if not policies:
            words = [spec["default"] for spec in own if "default" in spec]
            if own and any(within(address, block) for block in EMBEDDING):
                return False    # docs/policy.md: whatever `default` says
            return (words or ["deny" if own else "allow"])[0] == "allow" and self.flaw != "default"
        return self.by_policies(pod, policies, address, protocol, number)

    def by_policies(self, pod, policies, address, protocol, number):
        return self.anywhere(pod, lambda a, p: self.by_address(pod, policies, a, protocol, p), address, protocol, number)

    def anywhere(self, pod, judge, address, protocol, number):
        """At all endpoints, if that is a Service's; at what only may be one, at itself too."""
        fronts = [] if self.flaw == "service" else list(self.fronts_at(pod, address, protocol, number))
        itself = [] if any(is_cluster_ip for _, is_cluster_ip in fronts) else [(address, number)]
        asked = itself + [e for endpoints, _ in fronts for e in endpoints]
        return bool(asked) and all(judge(a, p) for a, p in asked)

    # ---- a pod's own policy, as Sortie's manual and docs/kubernetes.md have it ----

    def by_application(self, application, pod, address, protocol, number):
        if ipaddress.ip_address(address).is_loopback or address in addresses(pod) or \
                address in [h["ip"] for h in pod["status"].get("hostIPs", [])]:
            return True
        if any(within(address, block) for block in EMBEDDING):
            return False
        if number == 53 and protocol in (6, 17):
            return True
        listed = any(within(address, rule["cidr"]) and rule.get("port", 0) in (0, number) and
                     protocol in ([NUMBERS[rule["protocol"]]] if rule.get("protocol") else [6, 17])
                     for rule in application["rules"])
        return listed == (application["mode"] == "allowlist")


def within(address, cidr):
    ip, network = ipaddress.ip_address(address), network_of(cidr)
    return ip.version == network.version and ip in network


NETWORKS = {}


def network_of(cidr):
    if cidr not in NETWORKS:
        NETWORKS[cidr] = ipaddress.ip_network(cidr)
    return NETWORKS[cidr]


def namespace(o):
    return o["metadata"].get("namespace", "default")


def labels_of(o):
    return o["metadata"].get("labels", {})


def application_of(pod):
    return json.loads(pod["metadata"].get("annotations", {}).get("sluice.dev/egress-policy", "null"))


def addresses(pod):
    return [p["ip"] for p in pod["status"].get("podIPs", [])]


def container_ports(pod):
    return [p for c in pod["spec"]["containers"] for p in c.get("ports", [])]
