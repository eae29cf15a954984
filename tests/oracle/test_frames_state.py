# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What else the frame model remembers, against docs/devices.md: fragments and leases.

Each test is a list of steps (direction, frame, what becomes of it); see frame_lab.
"""
import struct

import pytest

import frame_builder as b
from frame_lab import (ALLOWED4, ALLOWED6, AWAY, DENIED4, DENIED6, HERE, MAC, ME4, ME6, OTHER4,
                       OTHER_MAC, ROUTER_LINK, bound, device, ip_in, ip_out, pieces, policy, run,
                       udp_out)
from frames import Binding



# --- fragments

def pieces6(payload, protocol=17, cuts=(8,), destination=ALLOWED6, before=b"", first=44):
    edges = [0, *cuts, len(payload)]
    return [ip_out(ME6, destination, first, before + b.fragment_header(
        protocol, low, high < len(payload), 5) + payload[low:high])
            for low, high in zip(edges, edges[1:])]


DATAGRAM = b.udp(40000, 443, bytes(40))
FIRST = {"fragments": "first-decides"}


@pytest.mark.parametrize("made", [pieces(DATAGRAM), pieces6(DATAGRAM)])
def test_fragments_are_denied(made):
    run(device(), *[(HERE, frame, "fragment") for frame in made])


@pytest.mark.parametrize("made", [pieces(DATAGRAM, cuts=(16, 24)),
                                  pieces6(DATAGRAM, cuts=(16, 24))])
def test_the_first_fragment_decides(made):
    target = device(**FIRST)
    run(target, (HERE, made[1], "fragment"), (HERE, made[0], "pass"), (HERE, made[1], "pass"),
        (HERE, made[2], "pass"), (AWAY, made[1], "stray*"))
    assert target.stats["allowed"] == 1
    target.now += 10
    run(target, (HERE, made[1], "fragment"))


def test_a_denied_first_fragment_lets_nothing_follow():
    for made in (pieces(DATAGRAM, destination=DENIED4), pieces6(DATAGRAM, destination=DENIED6)):
        run(device(**FIRST), (HERE, made[0], "rule+"), (HERE, made[1], "fragment"))
        run(device(**FIRST, mode="audit"), (HERE, made[0], "rule"), (HERE, made[1], "pass"))


def test_tiny_and_overlapping_fragments():
    syn = b.tcp(40000, 443, b.SYN, options=bytes(4)) + bytes(40)
    run(device(**FIRST),
        (HERE, pieces(syn, 6, (8,))[0], "fragment"),
        (HERE, pieces(syn, 6, (16,))[0], "fragment"),
        (HERE, pieces(syn, 6, (24,))[0], "pass"),
        (HERE, pieces(syn, 6, (16,))[1], "fragment"),
        (HERE, pieces(syn, 6, (24,))[1], "pass"),
        (HERE, pieces(syn, 6, (32,))[1], "pass"),
        (HERE, pieces(syn, 6, (28,))[0], "fragment"))


def test_a_later_fragment_needs_the_same_datagram():
    first, later = pieces(DATAGRAM)
    other = pieces(DATAGRAM, identifier=6)[1]
    elsewhere = pieces(DATAGRAM, destination="10.1.1.2")[1]
    spoofed = pieces(DATAGRAM, source=OTHER4)[1]
    run(device(**FIRST), (HERE, first, "pass"), (HERE, other, "fragment"),
        (HERE, elsewhere, "fragment"), (HERE, pieces(DATAGRAM, 6)[1], "fragment"),
        (HERE, spoofed, "address-binding"), (HERE, later, "pass"))


def test_step_nine_looks_at_a_later_fragment():
    target = device(Binding(MAC), **FIRST)
    first, later = pieces(DATAGRAM)
    run(target, (HERE, first, "pass"), (HERE, later, "pass"))
    target.attach(policy(**FIRST), bound(OTHER4))
    run(target, (HERE, later, "address-binding"))


def test_ipv6_fragments_behind_other_headers():
    hop = b.extension(44)
    good = pieces6(DATAGRAM, before=hop, first=0)
    inner = b.extension(17) + DATAGRAM
    run(device(**FIRST), (HERE, good[0], "pass"), (HERE, good[1], "pass"),
        (HERE, pieces6(inner, 60, (16,))[0], "fragment"))


def test_fragments_to_the_workload():
    made = pieces(b.udp(443, 40000, bytes(16)), source=ALLOWED4, destination=ME4, make=ip_in)
    run(device(**FIRST), (AWAY, made[0], "unsolicited"), (AWAY, made[1], "fragment"),
        (HERE, udp_out(), "pass"), (AWAY, made[0], "pass"), (AWAY, made[1], "pass"))


def test_a_fragment_is_no_dhcp():
    message = b.udp(68, 67, b.dhcp(1, 1, MAC))
    run(device(**FIRST), (HERE, pieces(message, source="0.0.0.0", destination="255.255.255.255",
                                       cuts=(248,))[0], "dhcp"))


# --- DHCP

SERVER = "192.168.101.1"


def ask(kind=1, transaction=7, source="0.0.0.0", destination="255.255.255.255", **keys):
    return ip_out(source, destination, 17, b.udp(68, 67, b.dhcp(
        1, transaction, MAC, b.dhcp_type(kind), **keys)))


def tell(kind, your, *others, transaction=7, source=SERVER, hardware=MAC, end=None, **keys):
    options = b.dhcp_type(kind, *others) if end is None else end
    return ip_in(source, your, 17, b.udp(67, 68, b.dhcp(
        2, transaction, hardware, options, b.ip(your), **keys)))


def lease(seconds):
    return 51, struct.pack(">I", seconds)


LEASED = bound("dhcp")
KNOWN = bound("dhcp", "net:192.168.101.0/24", f"host:{SERVER}")


def test_a_lease_binds():
    target = run(device(LEASED),
                 (HERE, udp_out(), "address-binding"), (AWAY, tell(5, ME4), "dhcp"),
                 (HERE, ask(), "pass"), (AWAY, tell(2, ME4, lease(3600)), "pass"),
                 (HERE, udp_out(), "address-binding"), (HERE, ask(3), "pass"),
                 (AWAY, tell(5, ME4, lease(3600)), "pass"), (HERE, udp_out(), "pass"),
                 (HERE, udp_out(source=OTHER4), "address-binding"))
    target.now += 3599
    run(target, (HERE, udp_out(), "pass"), (AWAY, tell(5, ME4), "dhcp"))
    target.now += 1
    run(target, (HERE, udp_out(), "address-binding"))


def test_a_lease_without_a_time_is_a_minute_long():
    target = run(device(LEASED), (HERE, ask(), "pass"), (AWAY, tell(5, ME4), "pass"))
    target.now += 59
    run(target, (HERE, udp_out(), "pass"))
    target.now += 1
    run(target, (HERE, udp_out(), "address-binding"))


@pytest.mark.parametrize("answer", [
    tell(5, ME4, hardware=OTHER_MAC), tell(5, ME4, transaction=8), tell(5, ME4, htype=6),
    tell(5, ME4, hlen=5), tell(5, ME4, magic=b"1234"), tell(5, ME4)[:281],
    ip_in(SERVER, ME4, 17, b.udp(67, 68, b.dhcp(1, 7, MAC)))])
def test_an_answer_that_was_not_asked_for(answer):
    answer = answer[:16] + struct.pack(">H", len(answer) - 14) + answer[18:]
    answer = answer[:38] + struct.pack(">H", len(answer) - 34) + answer[40:]
    run(device(LEASED), (HERE, ask(), "pass"), (AWAY, answer, "dhcp"),
        (AWAY, tell(5, ME4), "pass"))


@pytest.mark.parametrize("end", [
    (AWAY, tell(6, "0.0.0.0"), "pass"), (HERE, ask(7, source=ME4, destination=SERVER), "pass"),
    (HERE, ask(4), "pass")])
def test_what_ends_a_lease(end):
    run(device(KNOWN), (HERE, ask(), "pass"), (AWAY, tell(5, ME4), "pass"),
        (HERE, udp_out(), "pass"), end, (HERE, udp_out(), "address-binding"),
        (HERE, ask(3, source=ME4, destination=SERVER), "address-binding"))


FOREIGN = "203.0.113.9"


@pytest.mark.parametrize("binding, source, your, lets", [
    (KNOWN, SERVER, ME4, True), (LEASED, FOREIGN, ME4, True), (KNOWN, FOREIGN, ME4, False),
    (KNOWN, OTHER4, SERVER, False), (KNOWN, SERVER, FOREIGN, False), (LEASED, SERVER, SERVER, True),
    (bound(ME4, "net:192.168.101.0/24"), FOREIGN, ME4, False),
    (bound(ME4, "net:192.168.101.0/24"), SERVER, ME4, True),
    *((binding, nobody, ME4, False) for binding in (LEASED, bound(ME4), Binding())
      for nobody in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255")),
    *((binding, SERVER, nobody, False) for binding in (LEASED, bound(ME4), Binding())
      for nobody in ("0.1.2.3", "127.0.0.1", "239.0.0.1", "255.255.255.255"))])
def test_what_dhcp_may_say(binding, source, your, lets):
    run(device(binding), (HERE, ask(), "pass"),
        (AWAY, tell(5, your, source=source), "pass" if lets else "dhcp"))


@pytest.mark.parametrize("binding, source, client, kind, to, outcome", [
    (LEASED, ME4, ME4, 3, "255.255.255.255", "pass"), (KNOWN, ME4, ME4, 3, "255.255.255.255", "pass"),
    (LEASED, ME4, OTHER4, 3, "255.255.255.255", "address-binding"),
    (LEASED, ME4, ME4, 1, "255.255.255.255", "address-binding"),
    (LEASED, ME4, ME4, 3, SERVER, "address-binding"),
    (KNOWN, SERVER, SERVER, 3, "255.255.255.255", "address-binding"),
    (KNOWN, FOREIGN, FOREIGN, 3, "255.255.255.255", "address-binding"),
    (LEASED, "127.0.0.1", "127.0.0.1", 3, "255.255.255.255", "address-binding"),
    (bound(OTHER4), ME4, ME4, 3, "255.255.255.255", "address-binding")])
def test_a_restored_guest_asks_for_its_address(binding, source, client, kind, to, outcome):
    run(device(binding), (HERE, ask(kind, source=source, destination=to, client=client), outcome),
        (HERE, udp_out(source=ME4), "address-binding"))


def test_a_client_is_no_relay():
    run(device(LEASED), (HERE, ask(relay=SERVER), "dhcp"), (AWAY, tell(5, ME4), "dhcp"))


def test_the_answer_to_an_inform_ends_no_lease():
    run(device(LEASED), (HERE, ask(), "pass"), (AWAY, tell(5, ME4), "pass"),
        (HERE, ask(8, source=ME4), "pass"), (AWAY, tell(5, "0.0.0.0"), "pass"),
        (HERE, udp_out(), "pass"))


def test_the_server_of_a_lease_is_asked_directly():
    for binding in (KNOWN, bound(ME4, "net:192.168.101.0/24"), bound(ME4, "net:192.168.0.0/16")):
        run(device(binding), (HERE, ask(), "pass"), (AWAY, tell(5, ME4), "pass"),
            (HERE, ask(3, source=ME4, destination=SERVER), "pass"),
            (HERE, ask(3, source=ME4, destination="192.168.101.2"), "default+"))


def test_a_server_that_may_be_anywhere_is_left_to_the_policy():
    for binding in (LEASED, bound(ME4), Binding()):
        run(device(binding), (HERE, ask(), "pass"), (AWAY, tell(5, ME4), "pass"),
            (HERE, ask(3, source=ME4, destination=SERVER), "default+"),
            (HERE, ask(3, source=ME4), "pass"))


@pytest.mark.parametrize("options, holds", [
    (b"\0" * 20 + b.dhcp_type(5), True), (b"\0" * 24 + b.dhcp_type(5), False),
    (b"\xff" + b.dhcp_type(5), False), (b"\x35\x02\x05\x05\xff", False),
    (b"\x35\x01\x02\x35\x01\x05", True), (b"\x0c\x40" + b.dhcp_type(5), False),
    (b"\x35\x01", False), (b"\x35", False)])
def test_dhcp_options(options, holds):
    run(device(LEASED), (HERE, ask(), "pass"), (AWAY, tell(5, ME4, end=options), "pass"),
        (HERE, udp_out(), "pass" if holds else "address-binding"))


def test_dhcpv6_answers_need_a_question():
    link = "fe80::5054:ff:fe12:3456"
    question = ip_out(link, "ff02::1:2", 17, b.udp(546, 547, b"\x01abc"))

    def answer(payload, source=ROUTER_LINK):
        return ip_in(source, link, 17, b.udp(547, 546, payload))

    target = run(device(), (AWAY, answer(b"\x02abc"), "dhcp"), (HERE, question, "pass"),
                 (AWAY, answer(b"\x02abc"), "pass"), (AWAY, answer(b"\x02abd"), "dhcp"),
                 (AWAY, answer(b"\x02ab"), "dhcp"), (AWAY, answer(b"\x02abc", ME6), "dhcp"))
    target.now += 60
    run(target, (AWAY, answer(b"\x02abc"), "dhcp"))
