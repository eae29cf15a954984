# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Episodes made by hand for frames_differential.py: the page's cases, one by one, and
what random frames have found before, each as short as it was shrunk to.

episodes() yields (name, steps).
"""
import itertools

import frame_builder as b
import mutate
import test_frames
from frame_lab import (ALLOWED4, DENIED4, ME4, ME6, MAC, bound, ip_in, ip_out, pieces, policy,
                       tcp_in, tcp_out, udp_in, udp_out)
from generate_frames import Attach, Frame

S, A, SA, FA, R = b.SYN, b.ACK, b.SYN | b.ACK, b.FIN | b.ACK, b.RST
FAR4 = "203.0.113.1"            # behind ME4 in the order of addresses, as ALLOWED4 is before it
FIRST = {"fragments": "first-decides"}
OPEN = {"rules": [], "default": "allow", "inbound": "allow", **FIRST}
NOTHING = {"rules": [], **FIRST}


def attach(binding=None, **keys):
    return Attach(policy(**keys), *(bound() if binding is None else binding).texts)


def sent(*frames):
    return [Frame("out", frame, 0) for frame in frames]


def come(*frames):
    return [Frame("in", frame, 0) for frame in frames]


def about(frame, size=28, total=None, behind=b""):
    """An ICMP error about a frame of the workload."""
    quoted = frame[14:14 + size]
    if total is not None:
        quoted = quoted[:2] + total.to_bytes(2, "big") + quoted[4:]
    return ip_in("10.7.7.7", ME4, 1, b.icmp(3, 3, payload=quoted)) + behind


def cases():
    for name, table in test_frames.CASES.items():
        for number, (keys, direction, frame, _) in enumerate(table):
            if mutate.runnable(frame) == frame:
                yield f"{name}-{number}", [attach(**keys), Frame(direction, frame, 0)]


UDP = udp_out(payload=bytes(16))
OTHER_WAY = ip_in(ALLOWED4, ME4, 17, b"x" * 16, identifier=0, offset=64)
ASK = b.dhcp(1, 7, MAC, b.dhcp_type(1))
BROKEN = b.tcp(40000, 443, S)[:12] + b"\x40" + b.tcp(40000, 443, S)[13:]
DATAGRAM = b.udp(443, 40000, bytes(40))
PINGED = ip_out(ME4, DENIED4, 1, b.echo(8, 7))

REGRESSIONS = {
    # What is remembered of a denied TCP segment.
    "note: of a segment that could not be parsed": [
        attach(), *sent(ip_out(ME4, DENIED4, 6, BROKEN), tcp_out(S, DENIED4, ports=(40000, 443)))],
    "note: of the other direction": [
        attach(), *sent(tcp_out(S, DENIED4)),
        *come(ip_in(ME4, DENIED4, 6, b.tcp(40000, 443, S), ("52:54:00:99:99:99", MAC)))],
    "note: of the policy before": [
        attach(), *sent(tcp_out(S, DENIED4)), attach(**NOTHING), *sent(tcp_out(S, DENIED4))],
    "note: of the target before": [attach(), *sent(tcp_out(S, DENIED4, sequence=99))],
    "note: of the target before, again": [attach(), *sent(tcp_out(S, DENIED4, sequence=99))],
    "note: port and flags that fold into the same": [
        attach(), *sent(tcp_out(S, FAR4, ports=(40000, 80)),
                        tcp_out(S | b.URG, FAR4, ports=(40000, 80 ^ b.URG << 8)))],
    "note: port and flags that fold, the other order": [
        attach(), *sent(tcp_out(A, DENIED4, ports=(40000, 80)),
                        tcp_out(A | b.PSH, DENIED4, ports=(40000 ^ b.PSH << 8, 80)))],
    "note: the sequence number of a segment with CWR": [
        attach(), *sent(tcp_out(A | 0x80, DENIED4, sequence=5), tcp_out(A | 0x80, DENIED4, sequence=6),
                        tcp_out(A | 0x80, DENIED4, sequence=6))],
    # A flow that is judged again by a packet of its other side.
    "cut: the first packet is answered": [
        attach(**OPEN), *sent(UDP), attach(**NOTHING), *sent(UDP, UDP)],
    "cut: an inbound flow's too": [
        attach(**OPEN), *come(udp_in(DENIED4)), attach(**NOTHING), *sent(udp_out(DENIED4))],
    "cut: quiet by the frame's direction": [
        attach(**OPEN), *come(udp_in(FAR4)), attach(**NOTHING),
        *sent(ip_out(ME4, FAR4, 17, b.udp(40000, 443), (MAC, "01:00:5e:00:00:09")))],
    "cut: FIN counts for who sent it": [
        attach(**OPEN), *sent(tcp_out(A)), attach(**NOTHING, mode="audit"), *come(tcp_in(FA)),
        *sent(tcp_out(FA), tcp_out(S, sequence=77))],
    "cut: noted as it was sent": [
        attach(**OPEN), *sent(tcp_out(A)), attach(bound("192.168.101.77"), **NOTHING),
        *come(tcp_in(FA, sequence=5)), *sent(tcp_out(FA, sequence=5))],
    "cut: an ICMP event has no source port": [
        attach(**OPEN), *sent(PINGED), attach(**NOTHING), *sent(PINGED)],
    "again: a reply's first fragment is remembered": [
        attach(**OPEN), *sent(udp_out()), attach(**OPEN),
        *come(*pieces(DATAGRAM, source=ALLOWED4, destination=ME4, make=ip_in))],
    # Flows.
    "flow: the FIN of the packet that opened it": [
        attach(**OPEN), *come(tcp_in(FA)), *sent(tcp_out(FA)), *come(tcp_in(S))],
    "flow: an answer after its query by the same side": [
        attach(**OPEN), *sent(PINGED, ip_out(ME4, DENIED4, 1, b.echo(0, 7)))],
    # ICMP errors.
    "error: about an error": [
        attach(inbound="allow"), *come(about(udp_out(DENIED4))),
        *sent(ip_out(ME4, "10.7.7.7", 1, b.icmp(3, 1, payload=about(udp_out(DENIED4))[14:60])))],
    "error: what stands behind its own length": [
        attach(), *sent(UDP), *come(about(UDP, 27, behind=b"\0" * 9))],
    "error: about a packet without a length": [attach(), *sent(UDP), *come(about(UDP, total=0))],
    "error: about a length of 19": [attach(), *sent(UDP), *come(about(UDP, total=19))],
    # Fragments, DHCP.
    "fragment: id 0, the other way": [
        attach(**OPEN), *sent(*pieces(DATAGRAM, identifier=0)[:1]), *come(OTHER_WAY)],
    "dhcp: the UDP length bounds the payload": [
        attach(), *sent(ip_out("0.0.0.0", "255.255.255.255", 17,
                               b.udp(68, 67, ASK, length=8 + 239)))],
    "names: one event in audit mode": [
        attach(mode="audit", dns={"resolvers": [FAR4]}),
        *sent(udp_out(DENIED4, ports=(40000, 53)), udp_out(DENIED4, ports=(40000, 53)))],
    "names: one event in audit mode, over TCP": [
        attach(mode="audit", dns={"resolvers": [FAR4]}),
        *sent(tcp_out(S, DENIED4, ports=(40000, 53)),
              tcp_out(A, DENIED4, ports=(40000, 53), payload=b"GET / HTTP/1.1"))],
    "names: one event in audit mode, of a flow that was there": [
        attach(**OPEN), *sent(udp_out(DENIED4, ports=(40000, 53))),
        attach(mode="audit", dns={"resolvers": [FAR4]}),
        *sent(*[udp_out(DENIED4, ports=(40000, 53))] * 2)],
}


def alike():
    """SYNs to addresses that differ in two of their words by the same bits, on either side of
    the workload's: each is an attempt of its own."""
    for near in ("2001:db8:9::9", "2001:db7:9::9"):
        for words in itertools.combinations(range(4), 2):
            others = []
            for bits in range(1, 6):
                address = bytearray(b.ip(near))
                for word in words:
                    address[4 * word + 3] ^= bits
                others.append(bytes(address))
            yield f"note: addresses that differ alike in words {words} of {near}", [
                attach(**NOTHING), *sent(*(ip_out(b.ip(ME6), to, 6, b.tcp(40000, 22, S))
                                           for to in (b.ip(near), *others)))]


def episodes():
    yield from cases()
    yield from alike()
    yield from REGRESSIONS.items()
