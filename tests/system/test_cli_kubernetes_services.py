# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice convert --from kubernetes: Services, whose addresses and ports are not those of their endpoints."""
import pytest

from cli_tools import lines_of, sluice, write
from convertlab import BASE, FAMILIES, LINES, MIXED, SERVICE, convert, converted, netpol, own, verdicts


@pytest.mark.parametrize("mixed, verdict", [("false", "allow"), ("true", "deny")])
def test_a_service_is_what_its_ready_endpoints_are(write, mixed, verdict):
    result = convert(BASE + netpol('{to: [{ipBlock: {cidr: 10.0.0.0/16}}]}',
                                   '{to: [{ipBlock: {cidr: 10.96.0.0/16}}], ports: [{port: 80}, {port: 81}]}') +
                     SERVICE.replace("MIXED", mixed))
    assert result.returncode == 0
    assert verdicts(result.stdout, write, "10.96.0.7:80", "10.96.0.7:81", "[fd00:96::7]:80") == \
        [verdict, "allow", "deny"]
    warned = f"<stdin>:{LINES + 11}:1: warning: Service x/web, 10.96.0.7 port 80/tcp, is denied: 1 of its 2 ready"
    assert (warned in result.stderr) == (verdict == "deny")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["NetworkPolicy", "EgressPolicy", "ClusterEgressPolicy"])
def test_one_endpoint_allowed_and_one_denied(write, kind, family):
    """is a denied Service, of that family alone, and named; with both allowed it is allowed"""
    front, near, far = FAMILIES[family]
    other = next(FAMILIES[f] for f in FAMILIES if f != family)

    def judged(denied):
        if kind == "NetworkPolicy":
            blocks = [near, *other[1:]] + ([] if denied else [far])
            policy = netpol("{to: [" + ", ".join(f'{{ipBlock: {{cidr: "{b}"}}}}' for b in blocks) + "]}")
        else:
            policy = own(f"  default: allow\n  rules: {f'[{{deny: {chr(34)}{far}{chr(34)}}}]' if denied else '[]'}\n", kind)
        result = convert(BASE + MIXED.replace("CONDITIONS", "{}") + policy)
        assert result.returncode == 0, result.stderr
        return verdicts(result.stdout, write, front, other[0]), "is denied: 1 of its 2 ready endpoints" in result.stderr

    assert judged(True) == (["deny", "allow"], True)
    assert judged(False) == (["allow", "allow"], False)


@pytest.mark.parametrize("conditions, verdict", [
    ("{ready: true}", "deny"), ("{ready: false}", "allow"), ("{ready: false, serving: true}", "allow"),
    ("{ready: false, serving: true, terminating: true}", "deny"), ("{ready: false, terminating: true}", "deny"),
    ("{ready: false, serving: false, terminating: true}", "allow")])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_endpoint_that_ends_and_still_serves_is_one(write, family, conditions, verdict):
    """kube-proxy takes it where none is ready, and whoever may write EndpointSlices can call any address that"""
    front, _near, far = FAMILIES[family]
    text = BASE + MIXED.replace("CONDITIONS", conditions) + own(f'  rules: [{{deny: "{far}"}}]\n', "ClusterEgressPolicy") + \
        own("  rules: [{allow: any}]\n")
    assert verdicts(converted(text), write, front) == [verdict]


@pytest.mark.parametrize("rule", ['allow: "*.svc.cluster.local:80"', 'allow: "*"', "include: profile/npm", 'allow: "@subnet"'])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_deny_behind_a_service_holds_whatever_may_allow_its_address(write, family, rule):
    """by a name, which has the ClusterIP; by a set or a profile, of which nothing is known here"""
    front, _near, far = FAMILIES[family]
    tenant = own(f"  dns: {{resolvers: [10.96.0.10]}}\n  rules: [{{{rule}}}]\n")

    def judged(denied):
        text = converted(BASE + MIXED.replace("CONDITIONS", "{}") + tenant +
                         own(f'  rules: [{{deny: "{denied}"}}]\n', "ClusterEgressPolicy", "base"))
        return f'deny: "{front}/tcp"' in text

    assert judged(far) and not judged("192.0.2.1")


@pytest.mark.parametrize("text, address", [
    ("010.1.0.5", "8.1.0.5"), ("10.1.0.020", "10.1.0.16"), ("10.1.0.09", None), ("::ffff:10.1.0.5", None)])
def test_an_address_with_two_readings_is_both(write, text, address):
    """The API server takes them, by hand: an object that cannot be read would be none, and the
    Service what its other endpoints are."""
    objects = BASE + SERVICE.replace("10.1.0.5], conditions: {ready: MIXED}", f'"{text}"]')
    near, both = '{to: [{ipBlock: {cidr: 10.0.0.0/16}}]}', '{to: [{ipBlock: {cidr: 10.0.0.0/15}}]}'
    result = convert(objects + netpol(near))
    assert result.returncode == 0, result.stderr
    assert verdicts(result.stdout, write, "10.96.0.7:80") == ["deny"]
    outside = address and address.startswith("8.")
    assert verdicts(converted(objects + netpol(both)), write, "10.96.0.7:80") == ["deny" if outside else "allow"]
    assert verdicts(converted(objects + netpol(both, f"{{to: [{{ipBlock: {{cidr: {address or '10.1.0.9'}/32}}}}]}}")),
                    write, "10.96.0.7:80") == ["allow"]
    service = BASE + SERVICE.replace("10.96.0.7", "10.96.0.010").replace("MIXED", "true")
    assert verdicts(convert(service + netpol('{to: [{ipBlock: {cidr: 10.96.0.0/16}}]}')).stdout, write,
                    "10.96.0.10:80", "10.96.0.8:80", "10.96.0.9:80") == ["deny", "deny", "allow"]


BEHIND = BASE + SERVICE.replace("MIXED", "false").replace("ports: [{port: 80, name: http}]}",
                                "externalIPs: [198.51.100.1], "
                                "ports: [{port: 80, name: http, nodePort: 30080}]}\n"
                                "status: {loadBalancer: {ingress: [{ip: 198.51.100.2}, "
                                "{ip: 198.51.100.3, ipMode: Proxy}]}}", 1)
FRONTS = ("10.96.0.7:80", "198.51.100.1:80", "198.51.100.2:80", "192.168.0.1:30080")
OTHERS = ("10.96.0.7:81", "198.51.100.3:80", "192.168.0.1:30081", "192.168.0.2:30080")


@pytest.mark.parametrize("rules, verdict", [
    ('[]', "allow"),
    ('[{deny: "10.0.0.0/24:8080"}]', "deny"),
    ('[{deny: "10.0.0.0/24:8081"}]', "allow"),
    ('[{deny: "10.0.0.5:8080/udp"}]', "allow"),
    ('[{allow: "10.0.0.5:8080"}, {deny: "10.0.0.0/16"}]', "allow"),
    ('[{deny: "@near"}]', "deny"),
    ('[{deny: {to: 10.0.0.5, uid: 7}}]', "allow"),
])
def test_a_deny_of_an_egress_policy_holds_behind_a_service(write, rules, verdict):
    text = BEHIND + own(f"  default: allow\n  sets: {{near: [10.0.0.0/16]}}\n  rules: {rules}\n")
    assert verdicts(converted(text), write, *FRONTS, *OTHERS) == [verdict] * 4 + ["allow"] * 4


def test_a_set_that_everybody_has_holds_behind_a_service(write):
    text = BEHIND + own('  default: allow\n  rules: [{deny: "@private"}]\n')
    assert verdicts(converted(text), write, "198.51.100.1:80", "198.51.100.2:80", "198.51.100.3:80") == \
        ["deny", "deny", "allow"]


def test_a_deny_behind_a_service_is_for_whom_it_is(write):
    path = write(converted(BEHIND + own("  default: allow\n  rules: [{deny: {to: 10.0.0.5, uid: [7, 8]}}]\n")),
                 "converted.yaml")
    for uid, verdict in ((7, "deny"), (8, "deny"), (9, "allow")):
        for front in FRONTS:
            said = lines_of(sluice("explain", "-p", path, front, "--uid", str(uid), "-o", "json"))[0]
            assert said["verdict"] == verdict, (front, uid)


def test_a_deny_holds_behind_what_a_network_policy_allows(write):
    """docs/kubernetes.md, "The order": whatever a NetworkPolicy allows. A rule about the Service
    itself, before the deny, decides."""
    every = netpol("{}")
    assert verdicts(converted(BEHIND + every), write, *FRONTS) == ["allow"] * 4
    deny = '{deny: "10.0.0.5"}'
    assert verdicts(converted(BEHIND + every + own(f"  rules: [{deny}]\n")), write, *FRONTS) == ["deny"] * 4
    text = BEHIND + every + own(f'  rules: [{{allow: "10.96.0.7:80"}}, {deny}, {{allow: "198.51.100.1"}}]\n')
    assert verdicts(converted(text), write, *FRONTS) == ["allow", "deny", "deny", "deny"]


def test_other_addresses_of_a_service_lead_to_no_endpoint_that_is_denied(write):
    """externalIPs, load balancers, NodePorts of the own node: never more than the address itself"""
    outside = '{to: [{ipBlock: {cidr: 198.51.100.0/24}}]}'
    assert verdicts(converted(BEHIND + netpol(outside)), write, *FRONTS, *OTHERS) == \
        ["deny"] * 4 + ["deny", "allow", "allow", "deny"]
    behind = '{to: [{ipBlock: {cidr: 10.0.0.0/24}}]}'
    assert verdicts(converted(BEHIND + netpol(outside, behind)), write, *FRONTS) == ["allow"] * 4
    assert verdicts(converted(BEHIND + netpol(behind)), write, *FRONTS) == ["allow", "deny", "deny", "allow"]


def test_a_set_behind_a_service_is_its_own_objects(write):
    """two objects have one by that name; the deny is of the second's"""
    def judged(first, second):
        text = BEHIND + own(f'  sets: {{near: [{first}]}}\n  rules: [{{allow: {{to: "@near", uid: 7}}}}]\n', "ClusterEgressPolicy", "one") + \
            own(f'  default: allow\n  sets: {{near: [{second}]}}\n  rules: [{{deny: "@near"}}]\n', name="two")
        return verdicts(converted(text), write, *FRONTS)

    assert judged("192.0.2.1", "10.0.0.0/16") == ["deny"] * 4
    assert judged("10.0.0.0/16", "192.0.2.1") == ["allow"] * 4
