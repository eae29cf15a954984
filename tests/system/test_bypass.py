# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Ways out through sockets and packets (THREATS.md): each first arrives without
sluice, then not. What is documented as open is tested to be said so."""
import os
import socket
import struct

import pytest

from bypasslab import KEEP, PROBE, ROOT, policy
from lab import ECHO, PEER4, PEER6, WORKLOAD4, WORKLOAD6, matching, total, until

UDP = socket.IPPROTO_UDP
INET, INET6 = socket.AF_INET, socket.AF_INET6
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


ONLY_PROBE = policy(PROBE)


def probe(agent, v6=False):
    assert agent.do("udp", to=PEER6 if v6 else PEER4, port=ECHO)["reply"] == "hello"


@pytest.fixture(scope="module")
def outside(lab):
    return lab.agent()


def refused_packet(lab, outside, reason, request, arrived, v6=False, error="EPERM", rules=(PROBE,)):
    """It arrives without sluice; with it: nothing, one event with the reason."""
    assert outside.do(**request)["errno"] is None
    before = len(arrived())
    assert before
    agent = lab.sluice(policy(*rules), KEEP)
    probe(agent, v6)
    assert agent.do(**request)["errno"] == error
    probe(agent, v6)
    event, = agent.close().events
    assert event["reason"] == reason and event["count"] == 1
    assert event["hook"] == "cgroup-egress"
    assert len(arrived()) == before
    return event


# ---- packets that do not go where they say ----

@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_ip_options_source_route(lab, outside, kind):
    """connect() names an allowed address, the wire another. (Kernels since 6.x
    want CAP_NET_RAW for the option; older ones let anybody set it.)"""
    hop = lab.fresh()
    request = {"kind": "source_route", "type": kind, "to": PEER4, "first": hop, "port": ECHO,
               "timeout": 0.5}
    outside.do(**request)
    before = len(lab.wire.seen(hop))
    assert before
    agent = lab.sluice(ONLY_PROBE, KEEP)
    probe(agent)
    assert agent.do(**request)["errno"] == ("EPERM" if kind == "udp" else "timeout")
    probe(agent)
    event, = agent.close().events
    assert event["reason"] == "ip-options" and event["destination"]["address"] == hop
    assert lab.sluice(ONLY_PROBE, "--user", "nobody").do(**request)["errno"] in ("EPERM", "timeout")
    assert len(lab.wire.seen(hop)) == before


@pytest.mark.parametrize("header, next_header, reason", [
    ("11020401000000002001 0db8 0001 0000 0000 0000 0000 00ee".replace(" ", ""), 43,
     "routing-header"),
    ("1100010400000000" * 1, 60, None),
    ("3c00010400000000" * 6 + "1100010400000000", 60, "extension-headers"),
    ("1100000100000001", 44, "fragment"),
    ("1100000000000000", 135, "extension-headers"),
], ids=["routing", "destination-options", "seven-headers", "fragment", "mobility"])
def test_ipv6_extension_headers(lab, outside, header, next_header, reason):
    """A destination option is walked over and the datagram behind it judged."""
    mark = os.urandom(8).hex()
    request = {"kind": "hdrincl", "from": WORKLOAD6, "to": PEER6, "port": ECHO, "payload": mark,
               "extension": header, "next": next_header}
    rules = [f'allow: "[{PEER6}]:{ECHO}/udp"']

    def arrived():      # not the ICMP errors that quote it
        return [f for f in lab.wire.contains(mark.encode()) if f[1][6] != 58]
    if reason:
        event = refused_packet(lab, outside, reason, request, arrived, True, rules=rules)
        assert event["destination"]["address"] == PEER6
        return
    assert outside.do(**request)["errno"] is None and len(arrived()) == 1
    agent = lab.sluice(policy(*rules), KEEP)
    assert agent.do(**request)["errno"] is None and len(arrived()) == 2
    request["port"] = ECHO + 9      # behind the option: a port that is not allowed
    assert agent.do(**request)["errno"] == "EPERM"
    event, = agent.close().events
    assert event["destination"]["port"] == ECHO + 9 and len(arrived()) == 2


@pytest.mark.parametrize("fragment", [0x2000, 0x0001, 0x2001], ids=["first", "last", "middle"])
def test_fragments(lab, outside, fragment):
    mark = os.urandom(8).hex()
    request = {"kind": "hdrincl", "from": WORKLOAD4, "to": PEER4, "port": ECHO, "payload": mark,
               "fragment": fragment}
    refused_packet(lab, outside, "fragment", request, lambda: lab.wire.contains(mark.encode()))


def test_large_datagrams_pass_whole(lab):
    """The kernel fragments after our hook: no reason to refuse."""
    agent = lab.sluice(ONLY_PROBE)
    for to in (PEER4, PEER6):
        result = agent.do("udp", to=to, port=ECHO, payload="x" * 5000)
        assert result["errno"] is None and result["reply"].startswith("xxx")
    assert not agent.close().events


@pytest.mark.parametrize("protocol, body", [(17, "0fa000"), (6, "0fa00007"), (1, "0800")],
                         ids=["udp", "tcp", "icmp"])
def test_truncated_transport_headers(lab, outside, protocol, body):
    request = {"kind": "hdrincl", "from": WORKLOAD4, "to": PEER4, "protocol": protocol,
               "body": body, "port": 0}

    def arrived():
        return [p for p in lab.wire.seen(PEER4, protocol) if p.data[20:] == bytes.fromhex(body)]
    refused_packet(lab, outside, "malformed", request, arrived)


def disguised(lab, hop):
    """Sent to hop by an AF_INET raw socket, but its first nibble says IPv6 and,
    read as that, it goes to the probe."""
    mark = os.urandom(8)
    inner = socket.inet_pton(INET6, PEER6) + struct.pack("!HHHH", 4000, ECHO, 16, 0) + mark
    #  0x65: version 6 and IHL 5; byte 6 (fragment) is IPv6's next header: 17
    head = struct.pack("!BBHHHBBH4s4s", 0x65, 0, 0, 0, 0x1140, 64, 17, 0,
                       socket.inet_aton(WORKLOAD4), socket.inet_aton(hop))
    return mark, (head + bytes(4) + inner).hex()


def test_a_packet_is_judged_as_what_it_is_sent_as(lab, outside):
    hop = lab.fresh()
    mark, packet = disguised(lab, hop)
    request = {"kind": "raw_packet", "to": hop, "packet": packet}
    assert outside.do(**request)["errno"] is None
    assert len(lab.wire.contains(mark)) == 1
    agent = lab.sluice(ONLY_PROBE, KEEP)
    assert agent.do(**request)["errno"] == "EPERM"
    assert len(lab.wire.contains(mark)) == 1


# ---- flow state as a way out ----

@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_a_spoofed_source_admits_no_answers(lab, outside, v6):
    denied, own, allowed = lab.fresh(v6), WORKLOAD6 if v6 else WORKLOAD4, PEER6 if v6 else PEER4
    mark = os.urandom(8).hex()
    spoofed = {"kind": "hdrincl", "from": denied, "to": allowed, "sport": 4000, "port": 4001}
    answer = {"kind": "hdrincl", "from": allowed, "to": denied, "sport": 4001, "port": 4000,
              "payload": mark}
    direct = dict(answer, **{"from": own, "payload": "direct"})
    assert outside.do(**answer)["errno"] is None
    assert len(lab.wire.contains(mark.encode())) == 1
    agent = lab.sluice(ONLY_PROBE, KEEP)
    assert agent.do(**direct)["errno"] == "EPERM"
    agent.do(**spoofed)
    assert agent.do(**answer)["errno"] == "EPERM"
    assert len(lab.wire.contains(mark.encode())) == 1


ICMP_ECHO_ONLY = policy(PROBE, "allow: {to: 198.51.100.0/24, protocol: icmp, icmp: {type: 8}}",
                        'allow: {to: "2001:db8:1::/48", protocol: icmpv6, icmp: {type: 128}}')


def echo_then(lab, outside, to, ident, kind):
    other = {"kind": "raw_icmp", "to": to, "ident": ident, "type": kind, "no_reply": True}
    assert outside.do(**other)["errno"] is None

    def arrived():
        return sum(p.kind == kind for p in lab.wire.seen(to))
    assert arrived() == 1
    agent = lab.sluice(ICMP_ECHO_ONLY, KEEP)
    assert agent.do(**other)["errno"] == "EPERM"
    assert agent.do("raw_icmp", to=to, ident=ident)["errno"] is None
    result = agent.do(**other)["errno"]
    assert arrived() == 1, "the second packet has left"
    assert result == "EPERM"


def test_icmp_query_of_another_type_is_judged(lab, outside):
    echo_then(lab, outside, lab.fresh(), 77, 13)


@pytest.mark.parametrize("v6, kind", [(False, 9), (True, 134)], ids=["v4", "v6"])
def test_icmp_type_is_not_an_id(lab, outside, v6, kind):
    echo_then(lab, outside, lab.fresh(v6), kind << 8, kind)


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_a_flow_of_one_uid_is_not_anothers(lab, v6):
    to, name = lab.fresh(v6), "icmpv6" if v6 else "icmp"
    agent = lab.sluice(policy(f'allow: {{to: "{to}", protocol: {name}, uid: 1000}}'), KEEP)
    ping = {"kind": "ping", "to": to, "ident": 99, "timeout": 0.5}
    refused = "timeout" if v6 else "EPERM"
    assert agent.do("forked", uid=1001, action=ping)["reply"]["errno"] == refused
    assert agent.do("forked", uid=1000, action=ping)["reply"]["errno"] is None
    assert agent.do("forked", uid=1001, action=ping)["reply"]["errno"] == refused


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_a_datagram_flow_of_one_uid_is_not_anothers(lab, v6):
    """The same by UDP, whose known flows take the short way (bpf/known.bpf.h)."""
    to = PEER6 if v6 else PEER4
    agent = lab.sluice(policy(f'allow: {{to: "{to}", protocol: udp, uid: 1000}}'), KEEP)
    send = {"kind": "udp_connected", "to": to, "port": ECHO, "bind": ["::" if v6 else "0.0.0.0", 4099],
            "times": 3}
    for uid, wanted in ((1001, "EPERM"), (1000, None), (1001, "EPERM"), (1000, None)):
        assert agent.do("forked", uid=uid, action=send)["reply"]["errno"] == wanted


def test_too_many_flows_are_denied_with_a_reason(lab):
    """No room is no reason to let one pass, and what is known goes on."""
    agent = lab.sluice(ONLY_PROBE)
    agent.do("open_socket", family=INET, type=DGRAM, hold="s")
    assert agent.do("use", use="s", to=PEER4, port=ECHO)["reply"] == "hello"
    failed = agent.do("flood", to=PEER4, port=10000, ports=19000, times=19000)["reply"]
    assert agent.do("use", use="s")["reply"] == "hello"
    done = agent.close()
    assert set(failed) <= {"EPERM"} and failed.get("EPERM", 0) >= 19000 - 16384
    assert {e["reason"] for e in done.events} == {"flow-table"}
    assert total(done.events) == failed["EPERM"]


# ---- families ----

FAMILIES = {"packet": (17, socket.SOCK_RAW, 0x0300), "vsock": (40, STREAM, 0), "xdp": (44, 3, 0),
            "tipc": (30, 5, 0), "rds": (21, 5, 0), "smc": (43, STREAM, 0), "can": (29, 3, 1),
            "bluetooth": (31, 3, 0), "kcm": (41, 5, 0), "pppox": (24, STREAM, 0),
            "key": (15, 3, 2), "new": (60, STREAM, 0), "huge": (64, STREAM, 0)}


@pytest.mark.parametrize("name", FAMILIES)
def test_other_families_are_refused(lab, confined, name):
    family, kind, protocol = FAMILIES[name]
    result = confined.do("make_socket", family=family, type=kind, protocol=protocol)
    assert result["errno"] in ("EAFNOSUPPORT", "EPERM")


@pytest.fixture(scope="module")
def confined(lab):
    return lab.sluice(ONLY_PROBE)


@pytest.mark.parametrize("family, protocol", [(INET, 1), (INET, 255), (INET6, 58), (INET6, 255)])
def test_no_raw_sockets_without_privileges(lab, outside, confined, family, protocol):
    request = {"kind": "make_socket", "family": family, "type": socket.SOCK_RAW,
               "protocol": protocol}
    assert outside.do(**request)["errno"] is None
    assert confined.do(**request)["errno"] == "EPERM"


def frame(to):
    mark = os.urandom(8)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36, 0, 0, 64, 17, 0, socket.inet_aton(WORKLOAD4),
                       socket.inet_aton(to))
    ip = head + struct.pack("!HHHH", 4000, ECHO, 16, 0) + mark
    return mark, (b"\xff" * 6 + b"\x02" * 6 + b"\x08\x00" + ip).hex()


def test_af_packet_is_open_with_privileges_and_says_so(lab, outside):
    """No hook of a cgroup sees it. The test fails on the day that one does."""
    mark, data = frame(lab.fresh())
    agent = lab.sluice(ONLY_PROBE, KEEP)
    assert agent.do("packet_socket", device="w0", frame=data)["errno"] is None
    done = agent.close()
    assert len(lab.wire.contains(mark)) == 1 and not done.events
    assert "open: --keep-privileges" in done.err and "packet and vsock sockets" in done.err


def test_joining_a_group_is_open_and_documented(lab):
    """The kernel sends the report, from a socket of its own. The test fails on the
    day that a hook stops it."""
    agent = lab.sluice(ONLY_PROBE, "--user", "nobody")
    agent.do("join_group", to="239.83.76.1")
    sent = until(lambda: lab.wire.contains(socket.inet_aton("239.83.76.1")), 1.5)
    assert sent
    assert "multicast group" in (ROOT / "docs/SECURITY.md").read_text()


def test_other_peoples_pings_are_no_events(lab, outside):
    agent = lab.sluice(ONLY_PROBE, KEEP)
    agent.do("open_socket", family=INET, type=socket.SOCK_RAW, protocol=1, hold="s")
    assert outside.do("ping", to=PEER4)["errno"] is None
    done = agent.close()
    assert not done.events and "sluice: 0 blocked" in done.err


# ---- addresses that mean others ----

@pytest.mark.parametrize("to, kind", [("0.0.0.0", "tcp"), ("::", "tcp"), ("0.0.0.0", "udp"),
                                      ("::", "udp"), ("::ffff:127.0.0.1", "tcp"),
                                      ("::ffff:0.0.0.0", "tcp")])
def test_the_unspecified_address_is_loopback(lab, to, kind):
    """It reaches a server on loopback; only where loopback is allowed."""
    server = lab.agent()
    bound = "127.0.0.1" if "." in to else "::1"
    port = 9000 + lab.runs
    server.do("listen", to=bound, port=port, hold="s", type=kind)
    for rule, reply in (('allow: "@loopback"', "hello"), (PROBE, None)):
        agent = lab.sluice(policy(rule), "--user", "nobody")
        server.send("accept", use="s", timeout=1.0)
        result = agent.do(kind, to=to, port=port, timeout=1.0)
        served = server.receive()
        if reply and "ffff:0.0.0.0" not in to:      # judged as written: allowed to be refused
            assert result["reply"] == served["reply"] == reply, result
        if not reply:
            assert result["errno"] in ("ECONNREFUSED", "EHOSTUNREACH")
            assert served["errno"] == "timeout"
            assert total(agent.close().events) == 1


def test_the_unspecified_address_where_loopback_is_denied(lab):
    """default: allow must not let it in by another spelling."""
    server = lab.agent()
    server.do("listen", to="127.0.0.1", port=8998, hold="s")
    agent = lab.sluice(policy('deny: "@loopback"', default="allow"))
    for to in ("0.0.0.0", "::", "::ffff:0.0.0.0", "::ffff:127.0.0.1"):
        assert agent.do("tcp", to=to, port=8998, timeout=0.5)["errno"], to
    assert server.do("accept", use="s", timeout=0.1)["errno"] == "timeout"


EMBEDDED = {"6to4": "2002:c633:6401::1", "teredo": "2001:0:c633:6401::1",
            "nat64-local": "64:ff9b:1::c633:6401", "translated": "::ffff:0:c633:6401"}


def attempts_seen(lab, to, protocol):
    """Of TCP the SYNs: what ends a connection comes when it likes."""
    packets = lab.wire.seen(to, protocol)
    return [p for p in packets if protocol != 6 or p.data[40 + 13] & 0x12 == 0x02]


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("kind", ["tcp", "udp", "ping", "hdrincl"])
def test_addresses_that_embed_ipv4(lab, outside, name, kind):
    to = EMBEDDED[name]
    request = {"kind": kind, "to": to, "port": ECHO, "timeout": 1.0}
    if kind == "hdrincl":
        request["from"] = WORKLOAD6
    assert outside.do(**request)["errno"] is None
    protocol = {"tcp": 6, "ping": 58}.get(kind, 17)
    before = len(attempts_seen(lab, to, protocol))
    assert before
    options = [KEEP] if kind == "hdrincl" else []
    agent = lab.sluice(policy("allow: any", default="allow"), *options)
    probe(agent, True)
    assert agent.do(**request)["errno"]
    event, = agent.close().events
    assert event["reason"] == "embedded" and event["rule"] is None
    assert len(attempts_seen(lab, to, protocol)) == before
    block = {"6to4": "2002::/16", "teredo": "2001::/32", "nat64-local": "64:ff9b:1::/48",
             "translated": "::ffff:0:0:0/96"}[name]
    agent = lab.sluice(policy(f'allow: "{block}"'), *options)
    assert agent.do(**request)["errno"] is None
    assert len(attempts_seen(lab, to, protocol)) > before


def test_nat64_is_judged_as_the_ipv4_address(lab):
    agent = lab.sluice(policy("deny: 198.51.100.7", "allow: 198.51.100.0/24", 'allow: "::/0"'))
    assert agent.do("tcp", to="64:ff9b::198.51.100.6", port=ECHO)["reply"] == "hello"
    assert agent.do("tcp", to="64:ff9b::198.51.100.7", port=ECHO)["errno"] == "ECONNREFUSED"
    assert agent.do("udp", to="64:ff9b::198.51.100.7", port=ECHO)["errno"] == "EHOSTUNREACH"
    assert agent.do("ping", to="64:ff9b::198.51.100.7", timeout=0.3)["errno"] == "timeout"
    assert agent.do("tcp", to="64:ff9b::203.0.113.1", port=ECHO)["errno"] == "ECONNREFUSED"
    assert not lab.wire.seen("64:ff9b::c633:6407") and not lab.wire.seen("64:ff9b::cb00:7101")


@pytest.mark.parametrize("to", ["169.254.169.254", "::ffff:169.254.169.254",
                                "64:ff9b::169.254.169.254", "fd00:ec2::254"])
def test_metadata(lab, outside, to):
    assert outside.do("tcp", to=to, port=ECHO)["reply"] == "hello"
    agent = lab.sluice(policy('deny: "@metadata"', default="allow"))
    assert agent.do("tcp", to=to, port=ECHO)["errno"] == "ECONNREFUSED"
    probe(agent)


# ---- inbound ----

@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
def test_two_processes_over_loopback(lab, to):
    agent = lab.sluice(policy('allow: "@loopback"'))
    port = 7100 + lab.runs
    for kind in ("tcp", "udp"):
        agent.do("listen", to=to, port=port, hold="s", type=kind)
        agent.do("background", action={"kind": "accept", "use": "s"})
        assert agent.do(kind, to=to, port=port)["reply"] == "hello"
        assert agent.do("joined")["reply"] == 0
        agent.do("close", use="s")
    assert not agent.close().events


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_inbound_replies(lab, kind, v6):
    """A client outside does not get in, and there is one event for what it sent."""
    agent = lab.sluice(policy("allow: any"))
    client = lab.agent(lab.peer)
    port = 7300 + lab.runs
    agent.do("listen", to="::" if v6 else "0.0.0.0", port=port, hold="s", type=kind)
    result = client.do(kind, to=WORKLOAD6 if v6 else WORKLOAD4, port=port, timeout=0.5)
    assert result["errno"] == "timeout"
    assert agent.do("accept", use="s", timeout=0.1)["errno"] == "timeout"
    probe(agent, v6)
    event, = agent.close().events
    assert (event["hook"], event["direction"]) == ("cgroup-ingress", "ingress")
    assert (event["reason"], event["rule"]) == ("unsolicited", None)
    assert event["source"]["address"] == (PEER6 if v6 else PEER4)
    assert event["destination"] == {"address": WORKLOAD6 if v6 else WORKLOAD4, "port": port,
                                    "name": None}
    assert event["process"]["pid"] is None


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("form", ["allow", "list"])
def test_inbound_admitted(lab, kind, v6, form):
    """Its answers leave, although no rule allows anything; others do not."""
    port = 7500 + lab.runs
    inbound = "allow" if form == "allow" else \
        f'[{{from: ["{PEER4}", "{PEER6}"], ports: {port}, protocol: {kind}}}]'
    agent = lab.sluice(policy("allow: 203.0.113.1", inbound=inbound))
    client = lab.agent(lab.peer)
    there = WORKLOAD6 if v6 else WORKLOAD4
    agent.do("listen", to="::" if v6 else "0.0.0.0", port=port, hold="s", type=kind)
    agent.do("listen", to="::" if v6 else "0.0.0.0", port=port + 1, hold="t", type=kind)
    agent.send("accept", use="s")
    assert client.do(kind, to=there, port=port)["reply"] == "hello"
    assert agent.receive()["reply"] == "hello"
    back = agent.do(kind, to=PEER6 if v6 else PEER4, port=ECHO)
    assert back["errno"] in ("ECONNREFUSED", "EHOSTUNREACH")
    if form == "list":
        assert client.do(kind, to=there, port=port + 1, timeout=0.3)["errno"] == "timeout"
        assert agent.do("accept", use="t", timeout=0.1)["errno"] == "timeout"
    reasons = sorted(e["reason"] for e in agent.close().events)
    assert reasons == ["default"] + ["unsolicited"] * (form == "list")


def test_icmp_errors_of_our_flows_come_in(lab):
    agent = lab.sluice(ONLY_PROBE)
    agent.do("open_socket", family=INET, type=DGRAM, hold="s")
    result = agent.do("use", use="s", to=PEER4, port=9)     # nobody listens there
    assert (result["errno"], result["at"]) == ("ECONNREFUSED", "recv")
    assert not agent.close().events


def test_matching_is_by_socket_not_by_task(lab):
    """One target's events are not another's."""
    a, b = lab.sluice(ONLY_PROBE), lab.sluice(policy("allow: 203.0.113.0/24"))
    to = lab.fresh()
    assert a.do("tcp", to="203.0.113.5", port=ECHO)["errno"] == "ECONNREFUSED"
    assert b.do("tcp", to="203.0.113.5", port=ECHO)["reply"] == "hello"
    assert b.do("tcp", to=to, port=ECHO)["errno"] == "ECONNREFUSED"
    assert not matching(a.close().events, destination=to)
    assert total(b.close().events) == 1
