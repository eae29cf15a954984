# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The frame model's flows, against docs/devices.md: replies, ICMP errors, a new policy.

Each test is a list of steps (direction, frame, what becomes of it); see frame_lab.
"""
import pytest

import frame_builder as b
from frame_lab import (ALLOWED4, ALLOWED6, AWAY, BOTH, DENIED4, HERE, MAC, ME4, ME6, OTHER4,
                       ROUTER_LINK, bound, device, ip_in, ip_out, ping, policy, run, tcp_in,
                       tcp_out, udp_in, udp_out)
from frames import Binding

S, A, SA, FA, R = b.SYN, b.ACK, b.SYN | b.ACK, b.FIN | b.ACK, b.RST
OPEN = {"inbound": "allow"}



# --- flows

@pytest.mark.parametrize("me, good, bad", BOTH)
def test_a_connection_from_the_workload(me, good, bad):
    run(device(),
        (AWAY, tcp_in(SA, good, me), "unsolicited"),
        (HERE, tcp_out(S, good, me), "pass"),
        (AWAY, tcp_in(SA, good, me), "pass"),
        (HERE, tcp_out(A, good, me), "pass"),
        (AWAY, tcp_in(A, good, me), "pass"),
        (AWAY, tcp_in(A, good, me, (444, 40000)), "unsolicited"),
        (AWAY, tcp_in(A, good, me, (443, 40001)), "unsolicited"),
        (AWAY, tcp_in(A, bad, me), "unsolicited"),
        (AWAY, tcp_in(S, good, me), "unsolicited"))


@pytest.mark.parametrize("me, good, bad", BOTH)
def test_udp_passes_back_only_where_it_was_sent(me, good, bad):
    run(device(),
        (HERE, udp_out(good, me), "pass"),
        (AWAY, udp_in(good, me), "pass"),
        (AWAY, udp_in(good, me, (443, 40001)), "unsolicited"),
        (HERE, udp_out(bad, me), "rule+"),
        (AWAY, udp_in(bad, me), "unsolicited"))


def test_answers_of_an_inbound_flow_leave_whatever_the_rules_say():
    run(device(inbound=[{"from": DENIED4, "ports": 22}]),
        (HERE, tcp_out(SA, DENIED4, ports=(22, 40000)), "rule+"),
        (AWAY, tcp_in(S, DENIED4, ports=(40000, 22)), "pass"),
        (HERE, tcp_out(SA, DENIED4, ports=(22, 40000)), "pass"),
        (HERE, tcp_out(S, DENIED4, ports=(22, 40000)), "rule+"))


def test_a_packet_with_the_other_sides_address_is_of_no_flow():
    forged = ip_out(DENIED4, ALLOWED4, 17, b.udp(443, 40000))
    run(device(Binding(MAC), rules=[{"allow": ALLOWED4, "id": "a"}], inbound="allow"),
        (AWAY, ip_in(DENIED4, ME4, 17, b.udp(443, 40000)), "pass"),
        (HERE, ip_out(ME4, DENIED4, 17, b.udp(40000, 443)), "pass"),
        (HERE, ip_out(DENIED4, ME4, 17, b.udp(443, 40000)), "default+"),
        (HERE, forged, "pass"))


def test_a_closed_connection():
    for end in ([(HERE, tcp_out(R), "pass")], [(AWAY, tcp_in(R | A), "pass")],
                [(HERE, tcp_out(FA), "pass"), (AWAY, tcp_in(FA), "pass")]):
        target = run(device(), (HERE, tcp_out(S), "pass"), (AWAY, tcp_in(SA), "pass"), *end,
                     (AWAY, tcp_in(A), "pass"))
        assert target.stats["allowed"] == 1
        run(target, (HERE, tcp_out(S), "pass"))
        assert target.stats["allowed"] == 2
        target.attach(policy(rules=[]), bound())
        run(target, (HERE, tcp_out(S, sequence=1), "default+"))


def test_half_closed_is_not_closed():
    target = run(device(), (HERE, tcp_out(S), "pass"), (HERE, tcp_out(FA), "pass"),
                 (HERE, tcp_out(FA), "pass"), (HERE, tcp_out(S), "pass"))
    assert target.stats["allowed"] == 1


@pytest.mark.parametrize("frame, replied, seconds", [
    (tcp_out(S), None, 120), (tcp_out(S), tcp_in(SA), 5 * 86400), (tcp_out(S), tcp_in(R), 60),
    (udp_out(), None, 60), (udp_out(), udp_in(), 180),
    (udp_out(ports=(40000, 53)), udp_in(ports=(53, 40000)), 60),
    (udp_out(ports=(53, 40000)), udp_in(ports=(40000, 53)), 180)])
def test_silence_ends_a_flow(frame, replied, seconds):
    for wait, wanted in ((seconds - 0.01, 1), (seconds, 2)):
        target = run(device(), (HERE, frame, "pass"))
        if replied:
            run(target, (AWAY, replied, "pass"))
        target.now += wait
        if replied == tcp_in(R):
            run(target, (AWAY, tcp_in(A), "pass" if wanted == 1 else "unsolicited"))
        else:
            run(target, (HERE, frame, "pass"))
            assert target.stats["allowed"] == wanted


@pytest.mark.parametrize("query, answer", [(8, 0), (13, 14), (15, 16), (17, 18)])
def test_icmp_queries(query, answer):
    run(device(),
        (AWAY, ping(answer, 7, 0, ALLOWED4, ME4), "unsolicited"),
        (HERE, ping(query), "pass"),
        (AWAY, ping(answer, 7, 0, ALLOWED4, ME4), "pass"),
        (AWAY, ping(answer, 7, 3, ALLOWED4, ME4), "pass"),
        (AWAY, ping(answer, 8, 0, ALLOWED4, ME4), "unsolicited"),
        (AWAY, ping(query, 7, 0, ALLOWED4, ME4), "unsolicited"),
        (AWAY, ping({0: 14}.get(answer, 0), 7, 0, ALLOWED4, ME4), "unsolicited"))


def test_icmpv6_queries():
    run(device(),
        (HERE, ping(128, 7, 0, ME6, ALLOWED6), "pass"),
        (AWAY, ping(129, 7, 0, ALLOWED6, ME6), "pass"),
        (AWAY, ping(129, 8, 0, ALLOWED6, ME6), "unsolicited"),
        (AWAY, ping(128, 7, 0, ALLOWED6, ME6), "unsolicited"))


def test_a_query_of_another_code_is_judged_by_itself():
    rules = [{"allow": {"to": "any", "protocol": "icmp", "icmp": {"type": 8, "code": 0}},
              "id": "a"}]
    run(device(rules=rules),
        (HERE, ping(8), "pass"),
        (HERE, ping(8, code=1), "default+"),
        (HERE, ping(0), "default+"),
        (AWAY, ping(0, 7, 0, ALLOWED4, ME4), "pass"))


def test_other_icmp_is_a_flow_of_its_type_and_code():
    other = ip_out(ME4, ALLOWED4, 1, b.icmp(40, 1))
    run(device(),
        (HERE, other, "pass"),
        (AWAY, ip_in(ALLOWED4, ME4, 1, b.icmp(40, 1)), "pass"),
        (AWAY, ip_in(ALLOWED4, ME4, 1, b.icmp(40, 2)), "unsolicited"))


def test_protocols_without_ports():
    run(device(),
        (HERE, ip_out(ME4, ALLOWED4, 47, b"x"), "pass"),
        (AWAY, ip_in(ALLOWED4, ME4, 47, b""), "pass"),
        (AWAY, ip_in(ALLOWED4, ME4, 50, b""), "unsolicited"),
        (HERE, ip_out(ME4, ALLOWED4, 132, b.sctp(1, 2)), "pass"),
        (AWAY, ip_in(ALLOWED4, ME4, 132, b.sctp(2, 1)), "pass"),
        (AWAY, ip_in(ALLOWED4, ME4, 132, b.sctp(2, 3)), "unsolicited"))


# --- ICMP errors

def about(frame, size=28, kind=3, code=3, router="10.7.7.7", destination=ME4, start=14):
    return ip_in(router, destination, 1, b.icmp(kind, code, payload=frame[start:start + size]))


def about6(frame, size=48, kind=1, destination=ME6):
    return ip_in(ROUTER_LINK, destination, 58, b.icmp(kind, 4, payload=frame[14:14 + size]))


def test_an_error_about_a_flow():
    sent = udp_out()
    run(device(), (AWAY, about(sent), "unsolicited"), (HERE, sent, "pass"),
        (AWAY, about(sent), "pass"), (AWAY, about(sent, 27), "unsolicited"),
        *[(AWAY, about(sent, kind=kind), "pass") for kind in (3, 4, 5, 11, 12)],
        (AWAY, about(sent, kind=6), "unsolicited"),
        (AWAY, about(udp_out(ports=(40000, 444))), "unsolicited"),
        (AWAY, about(udp_in()), "unsolicited"),
        (AWAY, about(sent, destination=OTHER4), "unsolicited"),
        (HERE, ip_out(ME4, ALLOWED4, 1, b.icmp(3, 3, payload=udp_in()[14:42])), "pass"),
        (HERE, ip_out(ME4, DENIED4, 1, b.icmp(3, 3, payload=udp_in()[14:42])), "rule"))


def test_an_error_about_an_ipv6_flow():
    sent = udp_out(ALLOWED6, ME6)
    run(device(), (AWAY, about6(sent), "unsolicited"), (HERE, sent, "pass"),
        *[(AWAY, about6(sent, kind=kind), "pass") for kind in (1, 2, 3, 4)],
        (AWAY, about6(sent, kind=5), "unsolicited"), (AWAY, about6(sent, 47), "unsolicited"))


def test_what_is_quoted_must_be_plain():
    sent = udp_out()
    more = sent[:20] + b"\x20" + sent[21:]
    longer = sent[:14] + b"\x46" + sent[15:]
    run(device(), (HERE, sent, "pass"), (AWAY, about(more), "unsolicited"),
        (AWAY, about(longer), "unsolicited"), (AWAY, about(sent), "pass"))


def test_an_error_about_a_query_and_an_answer():
    run(device(**OPEN, rules=[{"allow": ALLOWED4, "id": "a"}]), (HERE, ping(8), "pass"),
        (AWAY, ip_in(ALLOWED4, ME4, 1, b.echo(8, 9)), "pass"),
        (HERE, ip_out(ME4, "10.8.8.8", 1, b.icmp(3, 1, payload=ping(0, 9, 0, ME4)[14:])),
         "default"))


def test_an_error_of_no_flow_is_judged_each_time_and_counted_once():
    target = device(**OPEN)
    error = about(udp_out())
    assert [target.frame(AWAY, error).asked for _ in range(2)] == [True, True]
    assert target.stats["allowed"] == 1


# --- a new policy

def test_a_flow_that_the_new_policy_denies_is_cut_with_one_event():
    target = run(device(), (HERE, tcp_out(S), "pass"), (AWAY, tcp_in(SA), "pass"))
    target.attach(policy(rules=[]), bound())
    run(target, (AWAY, tcp_in(A), "default"), (AWAY, tcp_in(A), "cut*"),
        (HERE, tcp_out(A), "cut*+"), (HERE, tcp_out(R), "cut*"))
    assert target.stats["denied"] == 1 and target.meter["rx_denied"] == 2
    target.attach(policy(), bound())
    run(target, (HERE, tcp_out(A), "pass"), (AWAY, tcp_in(A), "pass"))


def test_a_flow_is_judged_as_the_packet_that_opened_it():
    narrow = policy(rules=[{"allow": ALLOWED4 + ":443/tcp", "id": "a"}])
    target = run(device(), (HERE, tcp_out(S), "pass"),
                 (HERE, tcp_out(S, ports=(443, 9)), "pass"))
    target.attach(narrow, bound())
    run(target, (AWAY, tcp_in(SA), "pass"), (AWAY, tcp_in(SA, ports=(9, 443)), "default"))


def test_an_inbound_flow_is_judged_by_inbound():
    target = run(device(**OPEN), (AWAY, tcp_in(S, DENIED4, ports=(9, 22)), "pass"))
    target.attach(policy(default="allow"), bound())
    run(target, (HERE, tcp_out(SA, DENIED4, ports=(22, 9)), "unsolicited+"))


def test_an_error_about_a_flow_that_the_new_policy_has_not_let_is_of_no_flow():
    target = run(device(), (HERE, udp_out(), "pass"), (AWAY, about(udp_out()), "pass"))
    target.attach(policy(), bound())
    run(target, (AWAY, about(udp_out()), "unsolicited"), (AWAY, udp_in(), "pass"),
        (AWAY, about(udp_out()), "pass"))
    target.attach(policy(rules=[]), bound())
    run(target, (AWAY, about(udp_out()), "unsolicited"), (AWAY, udp_in(), "default"),
        (AWAY, about(udp_out()), "unsolicited"), (AWAY, udp_in(), "cut*"))


def test_a_denied_packet_changes_nothing_in_its_flow():
    target = run(device(), (HERE, tcp_out(S), "pass"))
    target.attach(policy(rules=[]), bound())
    run(target, (HERE, tcp_out(R), "default"), (HERE, tcp_out(S), "cut*+"))


def test_audit_cuts_no_flow_but_reports_it():
    target = run(device(), (HERE, udp_out(), "pass"))
    target.attach(policy(rules=[], mode="audit"), bound())
    outcome = target.frame(HERE, udp_out())
    assert outcome.passes and outcome.event == "audit-deny"
    outcome = target.frame(AWAY, udp_in())
    assert outcome.passes and outcome.event is None
    assert target.stats["audit_denied"] == 1 and target.meter["rx_frames"] == 1
