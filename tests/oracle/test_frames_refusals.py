# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What is counted and what is answered, and what an answer must look like.
"""
import struct

import pytest

import frame_builder as b
import packet
import refusals
from frame_lab import (ALLOWED4, AWAY, DENIED4, DENIED6, GATEWAY_MAC, HERE, MAC, ME4, ME6,
                       OTHER_MAC, bound, device, ip_in, ip_out, pieces, ping, policy, run, said,
                       tcp_in, tcp_out, udp_out)

S, A, SA, F, R = b.SYN, b.ACK, b.SYN | b.ACK, b.FIN, b.RST
DATAGRAM = b.udp(40000, 443, bytes(40))



# --- what is counted

def test_a_retransmission_is_one_attempt():
    target = device()
    run(target, (HERE, tcp_out(S, DENIED4, sequence=5), "rule+"),
        (HERE, tcp_out(S, DENIED4, sequence=5), "rule*+"),
        (HERE, tcp_out(S, DENIED4, sequence=6), "rule+"),
        (HERE, tcp_out(A, DENIED4, sequence=5), "rule+"),
        (HERE, tcp_out(S, DENIED4, sequence=5, ports=(1, 2)), "rule+"),
        (AWAY, ip_in(ME4, DENIED4, 6, b.tcp(40000, 443, S, sequence=5)), "unsolicited"),
        (HERE, udp_out(DENIED4), "rule+"), (HERE, udp_out(DENIED4), "rule+"))
    assert target.stats["decided"] == 7 and target.meter["tx_denied"] == 7
    target.now += 63
    run(target, (HERE, tcp_out(S, DENIED4, sequence=5), "rule*+"))
    target.now += 1
    run(target, (HERE, tcp_out(S, DENIED4, sequence=5), "rule+"))
    target.attach(policy(), bound())
    run(target, (HERE, tcp_out(S, DENIED4, sequence=5), "rule+"))


def test_counts():
    target = run(device(), (HERE, tcp_out(S), "pass"), (AWAY, tcp_in(SA), "pass"),
                 (HERE, tcp_out(S, DENIED4), "rule+"), (AWAY, tcp_in(A, DENIED4), "unsolicited"),
                 (AWAY, ip_in(ALLOWED4, ME4, 17, b.udp(1, 2), (GATEWAY_MAC, OTHER_MAC)),
                  "stray*"))
    assert target.stats == {"decided": 4, "allowed": 1, "denied": 3, "submitted": 2,
                            "suppressed": 2}
    assert target.hits == {(1, "good", "rule"): 1, (1, "bad", "rule"): 1,
                           (1, None, "unsolicited"): 1, (1, None, "stray"): 1}
    assert target.meter == {"tx_frames": 2, "tx_bytes": 108, "tx_denied": 1, "rx_frames": 1,
                            "rx_bytes": 54, "rx_denied": 2}


# --- refusals

@pytest.mark.parametrize("keys, frame, answered", [
    ({}, tcp_out(S, DENIED4), True), ({}, tcp_out(A, DENIED4), True),
    ({}, tcp_out(R, DENIED4), False), ({}, udp_out(DENIED4), True),
    ({}, udp_out(DENIED6, ME6), True), ({"on_deny": "drop"}, udp_out(DENIED4), False),
    ({}, udp_out("224.0.0.1"), False), ({}, udp_out("239.255.255.255"), False),
    ({}, udp_out("240.0.0.1"), True), ({}, udp_out("255.255.255.255"), False),
    ({}, udp_out("0.0.0.0"), False), ({}, udp_out("ff05::1", ME6), False),
    ({}, udp_out("::", ME6), False), ({}, ping(8, destination=DENIED4), True),
    ({}, ip_out(ME4, DENIED4, 1, b.icmp(11)), False),
    ({}, ip_out(ME6, DENIED6, 58, b.icmp(2)), False),
    ({}, ip_out(ME4, DENIED4, 17, b.udp(1, 2), (MAC, b.BROADCAST)), False),
    ({"fragments": "first-decides"}, pieces(DATAGRAM, destination=DENIED4)[0], True),
    ({}, pieces(DATAGRAM, destination=DENIED4)[1], False)])
def test_what_is_answered(keys, frame, answered):
    outcome = device(**keys).frame(HERE, frame)
    assert outcome.reason and outcome.answer == answered


def filled(parts, *before):
    """Puts the Internet sum of a message into its two bytes of zero."""
    rest = parts[0] + b"\0\0" + parts[1]
    total = ~refusals.internet_sum(*before, rest) & 0xffff
    return parts[0] + struct.pack(">H", total) + parts[1]


def reset(sequence, acknowledged, flags):
    head = struct.pack(">HHIIBBH", 443, 40000, sequence, acknowledged, 0x50, flags, 0)
    pseudo = b.ip(DENIED4) + b.ip(ME4) + struct.pack(">II", 20, 6)
    return filled((head, b"\0\0"), pseudo)


def answer_of(payload, protocol):
    frame = ip_in(DENIED4, ME4, protocol, payload)
    return frame[:14] + filled((frame[14:24], frame[26:34])) + frame[34:]


@pytest.mark.parametrize("frame, segment", [
    (tcp_out(S, DENIED4, sequence=41), reset(0, 42, b.RST | A)),
    (tcp_out(A, DENIED4, acknowledged=99), reset(99, 0, b.RST)),
    (tcp_out(S | F, DENIED4, sequence=0xffffffff, payload=b"abc"), reset(0, 4, b.RST | A))])
def test_a_reset(frame, segment):
    p = packet.parse(frame)
    good = answer_of(segment, 6)
    assert refusals.problem(frame, p, good) is None
    for place in {*range(6), *range(6, 12), 23, *range(34, len(good))} - {48, 49}:
        wrong = good[:place] + bytes([good[place] ^ 1]) + good[place + 1:]
        assert refusals.problem(frame, p, wrong), f"byte {place}"


def test_administratively_prohibited():
    frame = udp_out(DENIED4) + b"padding"
    p = packet.parse(frame)
    message = filled((b"\x03\x0d", bytes(4) + frame[14:50]))
    good = answer_of(message, 1)
    assert refusals.problem(frame, p, good) is None
    for size in (27, 37):
        wrong = answer_of(filled((b"\x03\x0d", bytes(4) + frame[14:14 + size])), 1)
        assert "quoted" in refusals.problem(frame, p, wrong)
    for place in {*range(12), *range(34, len(good))}:
        wrong = good[:place] + bytes([good[place] ^ 1]) + good[place + 1:]
        assert refusals.problem(frame, p, wrong), f"byte {place}"


def test_administratively_prohibited_ipv6():
    frame = udp_out(DENIED6, ME6)
    p = packet.parse(frame)
    body = bytes(4) + frame[14:]
    pseudo = b.ip(DENIED6) + b.ip(ME6) + struct.pack(">II", 4 + len(body), 58)
    good = ip_in(DENIED6, ME6, 58, filled((b"\x01\x01", body), pseudo))
    assert refusals.problem(frame, p, good) is None
    assert "sum" in refusals.problem(frame, p, good[:56] + bytes(2) + good[58:])


def test_the_model_says_pass_for_what_it_counts_as_passed():
    target = device()
    assert said(target.frame(HERE, tcp_out(S))) == "pass"
    target.own_refusal(tcp_in(R))
    assert target.meter["rx_frames"] == 1
