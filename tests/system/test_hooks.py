# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Every row of what each cgroup hook sees, IPv4 and IPv6: it arrives without
sluice and where the policy allows; where it denies nothing is on the wire, the
caller gets the documented error at once, and one event tells of it."""
import copy
import socket

import pytest

from lab import ECHO, PEER4, PEER6, UDPLITE, WORKLOAD4, WORKLOAD6, matching, total

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
AT_ONCE_MS = 100

SETTINGS = """sluice: 1
name: hooks
on_deny: {on_deny}
"""
DENIES = """rules:
  - allow: [{probe4}, "{probe6}"]
    id: probe
  - deny: [198.51.100.0/24, "2001:db8:1::/48"]
    id: denied
""".format(probe4=PEER4, probe6=PEER6)
ALLOWS = SETTINGS.format(on_deny="reject") + """rules:
  - allow: [192.0.2.0/24, "2001:db8::/64"]
    id: probe
  - allow: [198.51.100.0/24, "2001:db8:1::/48"]
    id: allowed
"""
PROBES = {False: PEER4, True: PEER6}


class Case:
    """One way to send. hooks: which hook denies, v4 and v6. error: what the
    caller gets. on_wire: the protocol, if not the same for both families."""

    def __init__(self, kind, protocol, hooks, error, families=(False, True), on_wire=None,
                 raw=False, process=True, **request):
        self.kind, self.protocol, self.hooks, self.error = kind, protocol, hooks, error
        self.families, self.raw, self.process, self.fields = families, raw, process, request
        self.on_wire = on_wire or protocol

    def request(self, to, v6, lab):
        r = {"kind": self.kind, "to": to, "port": ECHO, **self.fields}
        if self.kind.endswith("_on_6"):
            r["to"] = "::ffff:" + to
        if self.kind == "udp_elsewhere":
            r["first"] = PROBES[v6]
        if self.kind == "hdrincl":
            r["from"] = WORKLOAD6 if v6 else WORKLOAD4
        return r

    def wire(self, lab, to, v6):
        protocol = self.on_wire if not isinstance(self.on_wire, tuple) else self.on_wire[v6]
        return lab.wire.seen(to, protocol)

    def word(self, v6):
        return self.protocol[v6] if isinstance(self.protocol, tuple) else self.protocol


CONNECT, SENDMSG = ("connect4", "connect6"), ("sendmsg4", "sendmsg6")
EGRESS = ("cgroup-egress", "cgroup-egress")
ICMP = {"protocol": ("icmp", "icmpv6"), "on_wire": (1, 58), "hooks": EGRESS, "error": "EPERM"}
CASES = {
    "tcp": Case("tcp", "tcp", CONNECT, "ECONNREFUSED", on_wire=TCP),
    "mptcp": Case("mptcp", "tcp", CONNECT, "ECONNREFUSED", on_wire=TCP),
    "tcp-fast-open": Case("tfo", "tcp", CONNECT, "ECONNREFUSED", on_wire=TCP),
    "tcp-mapped": Case("tcp_on_6", "tcp", ("connect6",), "ECONNREFUSED", (False,), on_wire=TCP),
    "udp": Case("udp", "udp", SENDMSG, "EHOSTUNREACH", on_wire=UDP),
    "udp-connected": Case("udp_connected", "udp", EGRESS, "EPERM", on_wire=UDP),
    "udp-elsewhere": Case("udp_elsewhere", "udp", SENDMSG, "EHOSTUNREACH", on_wire=UDP),
    "udp-mapped": Case("udp_on_6", "udp", ("sendmsg4",), "EHOSTUNREACH", (False,), on_wire=UDP),
    "udp-sockaddr-in": Case("udp4_on_udp6", "udp", ("sendmsg4",), "EHOSTUNREACH", (False,),
                            on_wire=UDP),
    "udp-unspec": Case("udp_unspec", "udp", ("sendmsg4",), "EHOSTUNREACH", (False,), on_wire=UDP),
    "udplite": Case("udplite", "136", EGRESS, "EPERM", on_wire=UDPLITE, process=False),
    "ping": Case("ping", **ICMP),
    "ping-connected": Case("ping", connected=True, **ICMP),
    "raw-icmp": Case("raw_icmp", raw=True, **ICMP),
    "raw-header": Case("hdrincl", "udp", EGRESS, "EPERM", raw=True, on_wire=UDP),
    "raw-header-sctp": Case("hdrincl", "sctp", EGRESS, "EPERM", raw=True, on_wire=132,
                            **{"protocol_number": 132}),
    "raw-header-gre": Case("hdrincl", "47", EGRESS, "EPERM", raw=True, on_wire=47,
                           **{"protocol_number": 47}),
}
for _case in CASES.values():    # hdrincl's own word for it
    if "protocol_number" in _case.fields:
        _case.fields["protocol"] = _case.fields.pop("protocol_number")
        _case.fields["body"] = "0fa00007000000000000000000000000"
ALL = [pytest.param(c, v6, id=f"{name}-{'v6' if v6 else 'v4'}")
       for name, c in CASES.items() for v6 in c.families]


@pytest.fixture(scope="module")
def outside(lab):
    return lab.agent()


@pytest.fixture(scope="module")
def allowed(lab):
    return {False: lab.sluice(ALLOWS), True: lab.sluice(ALLOWS, "--keep-privileges")}


@pytest.fixture(scope="module")
def available(outside):
    """Skips what the kernel has no sockets for."""
    def check(case, v6):
        protocol = {"mptcp": 262, "udplite": UDPLITE}.get(case.kind)
        if protocol is None:
            return
        kind = socket.SOCK_STREAM if case.kind == "mptcp" else socket.SOCK_DGRAM
        family = socket.AF_INET6 if v6 else socket.AF_INET
        result = outside.do("make_socket", family=family, type=kind, protocol=protocol)
        if result["errno"]:
            pytest.skip(f"this kernel has no {case.kind} sockets: {result['errno']}")
    return check


def assert_passes(agent, case, lab, v6):
    to = lab.fresh(v6)
    result = agent.do(**case.request(to, v6, lab))
    assert result["errno"] is None, result
    if case.kind != "hdrincl":
        assert "hello" in result["reply"] or "sluice-echo-data" in result["reply"]
    assert case.wire(lab, to, v6)


def probe(agent, v6):
    for kind in ("tcp", "udp"):
        result = agent.do(kind, to=PROBES[v6], port=ECHO)
        assert result["reply"] == "hello", result


def options(case):
    return ["--keep-privileges"] if case.raw else []


@pytest.mark.parametrize("case, v6", ALL)
def test_arrives_without_sluice(lab, outside, available, case, v6):
    available(case, v6)
    assert_passes(outside, case, lab, v6)


@pytest.mark.parametrize("case, v6", ALL)
def test_arrives_where_the_policy_allows(lab, allowed, available, case, v6):
    available(case, v6)
    assert_passes(allowed[case.raw], case, lab, v6)


def test_an_allowing_policy_reports_nothing(lab):
    agent = lab.sluice(ALLOWS)
    for case in (CASES["tcp"], CASES["udp"], CASES["ping"]):
        assert_passes(agent, case, lab, False)
    done = agent.close()
    assert not done.events
    assert "sluice: 0 blocked, 3 allowed (policy hooks)" in done.err


def assert_one_event(events, agent_pid, case, to, v6, verdict="deny"):
    addresses = {to, "::ffff:" + to}
    about = [e for e in events if e["destination"]["address"] in addresses]
    assert len(about) == 1 and about[0]["count"] == 1, events
    event = about[0]
    assert (event["verdict"], event["reason"], event["rule"]) == (verdict, "rule", "denied")
    assert event["hook"] == case.hooks[v6]
    assert event["direction"] == "egress"
    assert event["protocol"] == case.word(v6)
    if event["protocol"] in ("tcp", "udp", "sctp"):
        assert event["destination"]["port"] == ECHO
    if case.process:
        assert event["process"] == {"pid": agent_pid, "uid": 0, "comm": "python3"}
    assert total(events) == 1


@pytest.mark.parametrize("case, v6", ALL)
def test_reject(lab, available, case, v6):
    available(case, v6)
    to = lab.fresh(v6)
    agent = lab.sluice(SETTINGS.format(on_deny="reject") + DENIES, *options(case))
    probe(agent, v6)
    result = agent.do(**case.request(to, v6, lab), timeout=0.5)
    probe(agent, v6)
    if case.kind == "ping" and v6:      # ping_v6_sendmsg() loses the error of ip6_send_skb()
        assert (result["errno"], result["at"]) == ("timeout", "recv")
    else:
        assert result["errno"] == case.error, result
        assert result["ms"] < AT_ONCE_MS
    done = agent.close()
    assert not case.wire(lab, to, v6) and not lab.wire.seen(to)
    assert_one_event(done.events, result["pid"], case, to, v6)
    assert "sluice: 1 blocked" in done.err and "does not add up" not in done.err


SILENT = ["tcp", "udp", "udp-connected", "ping", "raw-header"]


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_drop_is_silent(lab, name, v6):
    """The caller waits for nothing; a retransmitted SYN is no attempt of its own."""
    case, to = CASES[name], lab.fresh(v6)
    agent = lab.sluice(SETTINGS.format(on_deny="drop") + DENIES, *options(case))
    probe(agent, v6)
    seconds = 1.3 if name == "tcp" else 0.3     # the first SYN again: after 1 s
    result = agent.do(**case.request(to, v6, lab), timeout=seconds)
    # Return 2 at egress is NET_XMIT_DROP; of all senders, IPv4 ping sockets alone
    # make ENOBUFS of it.
    assert result["errno"] == {"raw-header": None, "ping": "timeout" if v6 else "ENOBUFS"}.get(
        name, "timeout"), result
    probe(agent, v6)
    done = agent.close()
    assert not lab.wire.seen(to)
    assert_one_event(done.events, result["pid"], case, to, v6)


AUDITED = ["tcp", "udp", "udp-connected", "ping", "raw-icmp", "raw-header", "tcp-fast-open"]


@pytest.mark.parametrize("name", AUDITED)
@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_audit_lets_pass_and_reports(lab, name, v6):
    case, to = CASES[name], lab.fresh(v6)
    agent = lab.sluice(SETTINGS.format(on_deny="reject") + DENIES, "--audit", *options(case))
    result = agent.do(**case.request(to, v6, lab))
    assert result["errno"] is None, result
    done = agent.close()
    assert case.wire(lab, to, v6)
    if name == "udp":   # whether the flow is new is known to the packet's hook alone
        case = copy.copy(case)
        case.hooks = EGRESS
    assert_one_event(done.events, result["pid"], case, to, v6, "audit-deny")
    assert "sluice: 0 blocked, 1 would be blocked (audit mode)" in done.err


def test_mode_audit_in_the_policy_is_the_same(lab):
    to = lab.fresh()
    agent = lab.sluice(SETTINGS.format(on_deny="reject") + "mode: audit\n" + DENIES)
    assert agent.do("tcp", to=to, port=ECHO)["reply"] == "hello"
    assert [e["verdict"] for e in agent.close().events] == ["audit-deny"]


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_io_uring_connect(lab, outside, uring, v6):
    """Confined there is no io_uring at all; with privileges its connect is refused."""
    to = lab.fresh(v6)
    request = {"to": to, "port": ECHO, "helper": uring}
    free = outside.do("io_uring", **request)
    if free["at"] == "io_uring_setup":
        pytest.skip(f"this kernel gives no io_uring: {free['errno']}")
    assert free["reply"] == "hello"
    agent = lab.sluice(ALLOWS, "--keep-privileges")
    assert agent.do("io_uring", **request)["reply"] == "hello"

    to = request["to"] = lab.fresh(v6)
    policy = SETTINGS.format(on_deny="reject") + DENIES
    agent = lab.sluice(policy, "--keep-privileges")
    result = agent.do("io_uring", **request)
    assert (result["errno"], result["at"]) == ("ECONNREFUSED", "connect")
    event, = agent.close().events
    assert event["hook"] == ("connect6" if v6 else "connect4") and event["rule"] == "denied"
    assert not lab.wire.seen(to)
    assert lab.sluice(policy).do("io_uring", **request)["errno"] == "ENOSYS"


@pytest.mark.parametrize("kind, protocol", [(socket.SOCK_STREAM, 132), (6, 33)],
                         ids=["sctp", "dccp"])
def test_other_transports(lab, outside, kind, protocol):
    made = outside.do("make_socket", family=socket.AF_INET, type=kind, protocol=protocol)
    if made["errno"]:
        pytest.skip(f"this kernel has no such sockets: {made['errno']}")
    to = lab.fresh()
    agent = lab.sluice(SETTINGS.format(on_deny="reject") + DENIES)
    agent.do("open_socket", family=socket.AF_INET, type=kind, protocol=protocol, hold="s")
    assert agent.do("use", use="s", to=to, port=ECHO, timeout=0.5)["errno"]
    assert matching(agent.close().events, destination=to)
    assert not lab.wire.seen(to)


def test_udp_connect_where_tcp_may_go_sends_nothing(lab):
    """getaddrinfo sorts addresses by connecting UDP sockets: no event, no packet;
    what is then sent is judged."""
    to = lab.fresh()
    policy = SETTINGS.format(on_deny="reject") + f"rules:\n  - allow: {to}:{ECHO}/tcp\n"
    agent = lab.sluice(policy)
    agent.do("open_socket", family=socket.AF_INET, type=socket.SOCK_DGRAM, hold="s")
    result = agent.do("use", use="s", to=to, port=ECHO)
    assert (result["errno"], result["at"]) == ("EPERM", "send")
    assert agent.do("tcp", to=to, port=ECHO)["reply"] == "hello"
    event, = agent.close().events
    assert (event["hook"], event["reason"]) == ("cgroup-egress", "default")
    assert event["process"]["comm"] == "python3"
    assert not lab.wire.seen(to, UDP)


def test_every_send_is_an_attempt(lab):
    to = lab.fresh()
    agent = lab.sluice(SETTINGS.format(on_deny="reject") + DENIES)
    for _ in range(3):
        assert agent.do("udp", to=to, port=ECHO)["errno"] == "EHOSTUNREACH"
        assert agent.do("ping", to=to)["errno"] == "EPERM"
    events = agent.close().events
    assert total(matching(events, protocol="udp")) == 3
    assert total(matching(events, protocol="icmp")) == 3


@pytest.mark.parametrize("kind", [
    "udp", "udp_connected"])
def test_audit_reports_a_flow_once(lab, kind):
    to = lab.fresh()
    agent = lab.sluice(SETTINGS.format(on_deny="reject") + DENIES, "--audit")
    assert agent.do(kind, to=to, port=ECHO, times=3)["reply"] == "hello"
    assert total(agent.close().events) == 1
