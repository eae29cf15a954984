# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a workload feels of a denial: a reset or an ICMP error, at once, with right
checksums; and when it feels nothing. On a tap and on a veth."""
import os
import time

import pytest
from scapy.compat import raw
from scapy.layers.inet import ICMP, TCP, UDP, IPerror
from scapy.layers.inet6 import ICMPv6DestUnreach, IPerror6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from device_cases import DENIED4, DENIED6, eth, ip, super_frame
from device_cases_ip import echo, unreachable
from devicelab import (BINDING, GUEST4, GUEST6, GUEST_MAC, OTHER4, OTHER6, PEER_MAC, checksum,
                       datagram, rules)
from deviceport import NEEDS_CSUM, PLAIN, VNET_HEADER, checksum_offload
from lab import ECHO, PEER4, PEER6

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
PROBE = f'allow: ["{PEER4}:{ECHO}", "[{PEER6}]:{ECHO}"]'
REJECT, DROP = rules(PROBE), rules(PROBE, on_deny="drop")


def denied(v6):
    return DENIED6 if v6 else DENIED4


# ---- a real kernel's sockets ----

@KINDS
@FAMILIES
@pytest.mark.parametrize("offload", [True, False], ids=["card", "kernel"])
def test_sockets_are_refused_at_once(device_labs, kind, v6, offload):
    """Whether the workload's kernel sums its packets itself or leaves that to the card."""
    lab = device_labs(kind, "real", real=True)
    to, agent = denied(v6), lab.agent()
    checksum_offload(lab.workload, "w0", offload)
    try:
        lab.guard.detach(lab.device, code=None)
        assert agent.do("tcp", to=to, port=ECHO)["reply"] == "hello"
        assert agent.do("udp", to=to, port=ECHO)["reply"] == "hello"
        assert agent.do("ping", to=to)["errno"] is None
        lab.guard.attach(lab.device, REJECT, *BINDING)
        lab.last_config = None
        # Not to the address that answered a moment ago: a flow of the kernel's is no matter.
        refused = [("tcp", "ECONNREFUSED"), ("udp_connected", "EACCES" if v6 else "EHOSTUNREACH"),
                   ("ping", "EACCES" if v6 else "EHOSTUNREACH")]
        for request, error in refused:
            result = agent.do(request, to=to, port=ECHO, timeout=5, connected=True)
            assert result["errno"] == error and result["ms"] < 1500, (request, result)
        assert agent.do("tcp", to=PEER6 if v6 else PEER4, port=ECHO)["reply"] == "hello"
    finally:
        checksum_offload(lab.workload, "w0", True)
        agent.close()


@KINDS
@FAMILIES
def test_drop_is_silent(device_labs, kind, v6):
    lab = device_labs(kind, "real", real=True)
    to, agent = denied(v6), lab.agent()
    lab.configure(DROP, *BINDING)
    assert agent.do("tcp", to=to, port=ECHO, timeout=0.4)["errno"] == "timeout"
    assert agent.do("udp_connected", to=to, port=ECHO, timeout=0.4)["errno"] == "timeout"
    agent.close()


# ---- the frames of it ----

def answers(lab, frame, header=PLAIN):
    """What comes back for a frame, before the probe behind it."""
    position = lab.port.capture.position()
    lab.send(frame, header)
    lab.probe()
    return [f for f in lab.port.capture.since(position)
            if f[:6] == bytes.fromhex(GUEST_MAC.replace(":", "")) and b"probe" not in f]


def is_right(frame):
    """Every checksum in it is."""
    v6 = frame[12:14] == b"\x86\xdd"
    packet = frame[14:]
    packet = packet[:40 + int.from_bytes(packet[4:6], "big") if v6 else
                    int.from_bytes(packet[2:4], "big")]
    size, protocol = (40, packet[6]) if v6 else (20, packet[9])
    if not v6 and checksum(packet[:20]):
        return False
    body = packet[size:]
    if protocol == 1:
        return checksum(body) == 0
    addresses = packet[8:40] if v6 else packet[12:20]
    return checksum(addresses + len(body).to_bytes(4, "big") + protocol.to_bytes(4, "big") +
                    body) == 0


def judged(lab, policy=REJECT):
    lab.configure(policy, *BINDING)
    return lab


def one_answer(lab, frame, header=PLAIN):
    answer, = answers(lab, raw(frame) if not isinstance(frame, bytes) else frame, header)
    assert is_right(answer), answer.hex()
    assert answer[6:12] == bytes.fromhex(PEER_MAC.replace(":", ""))
    return Ether(answer)


@KINDS
@FAMILIES
@pytest.mark.parametrize("flags, data, reset, ack", [
    ("S", b"", "RA", 1001), ("S", b"xyz", "RA", 1004), ("FA", b"", "R", None),
    ("A", b"data", "R", None), ("PA", b"more", "R", None)])
def test_reset(device_labs, kind, v6, flags, data, reset, ack):
    """RFC 9293, 3.10.7.1: with the acknowledgement's number, or acknowledging all."""
    lab = judged(device_labs(kind, "frames"))
    sport = 1024 + int.from_bytes(os.urandom(2), "big") % 60000
    frame = one_answer(lab, eth() / ip(v6, denied(v6)) / TCP(
        sport=sport, dport=443, seq=1000, ack=77 if "A" in flags else 0, flags=flags) / Raw(data))
    answer = frame[TCP]
    assert (frame[1].src, frame[1].dst) == (denied(v6), GUEST6 if v6 else GUEST4)
    assert (answer.sport, answer.dport, str(answer.flags)) == (443, sport, reset)
    assert answer.seq == (77 if "A" in flags else 0) and (ack is None or answer.ack == ack)
    assert not bytes(answer.payload)


@KINDS
@FAMILIES
@pytest.mark.parametrize("name", ["udp", "ping", "gre"])
def test_prohibited(device_labs, kind, v6, name):
    """ICMP 3/13, ICMPv6 1/1, and in it the header of what was denied."""
    lab = judged(device_labs(kind, "frames"))
    made = {"udp": eth() / ip(v6, denied(v6)) / UDP(sport=5353, dport=443) / Raw(b"x" * 100),
            "ping": echo(v6, 99, to=denied(v6), data=b"y" * 50),
            "gre": eth() / ip(v6, denied(v6), proto=47) / Raw(b"z" * 40)}[name]
    frame = one_answer(lab, made)
    error = frame[ICMPv6DestUnreach if v6 else ICMP]
    assert (error.type, error.code) == ((1, 1) if v6 else (3, 13))
    assert (frame[1].src, frame[1].dst) == (denied(v6), GUEST6 if v6 else GUEST4)
    quoted = frame[IPerror6 if v6 else IPerror]
    assert (quoted.src, quoted.dst) == (GUEST6 if v6 else GUEST4, denied(v6))
    sent = raw(made)[14:]
    at = raw(frame).index(sent[:20 if not v6 else 40])
    assert raw(frame)[at:].startswith(sent[:(40 if v6 else 20) + 8])


@KINDS
@FAMILIES
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_checksum_left_to_the_card_is_right_in_the_answer(device_labs, kind, v6, protocol):
    """The frame that becomes the answer was marked: somebody behind us sums. (In a
    container the mark stays on the answer: its kernel takes it as right.)"""
    lab = judged(device_labs(kind, "frames"))
    at, size = (54, 20) if v6 else (34, 20)
    made = bytearray(raw(eth() / ip(v6, denied(v6)) / (
        TCP(sport=6000, dport=443, flags="S", seq=5) if protocol == "tcp" else
        UDP(sport=6000, dport=443) / Raw(bytes(12)))))
    number, field = (6, 16) if protocol == "tcp" else (17, 6)
    pseudo = bytes(made[at - 32:at]) if v6 else bytes(made[at - 8:at])
    partial = ~checksum(pseudo + size.to_bytes(4, "big") + number.to_bytes(4, "big")) & 0xffff
    made[at + field:at + field + 2] = partial.to_bytes(2, "big")
    answer, = answers(lab, bytes(made), VNET_HEADER.pack(NEEDS_CSUM, 0, at + size, 0, at, field))
    if kind == "tap" or protocol == "udp":
        assert is_right(answer), answer.hex()
        return
    packet, end = answer[14:], at - 14
    addresses = packet[end - 32:end] if v6 else packet[end - 8:end]
    assert packet[end + 16:end + 18] == (~checksum(
        addresses + (20).to_bytes(4, "big") + (6).to_bytes(4, "big")) & 0xffff).to_bytes(2, "big")


@KINDS
@FAMILIES
@pytest.mark.parametrize("udp_kind", [None, 5], ids=["tcp", "udp"])
def test_a_super_frame_is_answered_once(device_labs, kind, v6, udp_kind):
    lab = judged(device_labs(kind, "frames"))
    made = super_frame(v6, b"big-frame", denied(v6), kind=udp_kind, sport=7000 + v6)
    answer, = answers(lab, made.frame, made.header)
    assert len(answer) < 120


@KINDS
@FAMILIES
def test_no_answer(device_labs, kind, v6):
    """To what nobody should be answered: a reset, an ICMP error, what went to many or
    came from nobody; to what another reason denied than the policy; to `drop`."""
    lab, far = judged(device_labs(kind, "frames")), denied(v6)
    group = ("ff02::fb", "33:33:00:00:00:fb") if v6 else ("224.0.0.251", "01:00:5e:00:00:fb")
    silent = [
        eth() / ip(v6, far) / TCP(sport=8000, dport=443, flags="R"),
        eth() / ip(v6, far) / TCP(sport=8001, dport=443, flags="RA", ack=1),
        unreachable(v6, b"errors", far, raw(ip(v6, GUEST6 if v6 else GUEST4, far) /
                                            UDP(sport=1, dport=2))),
        eth(dst=group[1]) / ip(v6, group[0]) / UDP(sport=5353, dport=5353),
        eth() / ip(v6, group[0]) / UDP(sport=5353, dport=5353),
        eth(dst="ff:ff:ff:ff:ff:ff") / ip(v6, far) / UDP(sport=5353, dport=5353),
        eth() / ip(v6, far, OTHER6 if v6 else OTHER4) / UDP(sport=8002, dport=443),
        eth() / ip(v6, far) / TCP(sport=8003, dport=443, flags="SF"),
    ]
    if not v6:
        silent += [eth() / ip(v6, "255.255.255.255") / UDP(sport=5353, dport=5353),
                   eth() / ip(v6, far, flags=0, frag=4, proto=17) / Raw(bytes(40))]
    for frame in silent:
        before = lab.status()["tx_denied"]
        assert not answers(lab, raw(frame)), frame.summary()
        assert lab.status()["tx_denied"] == before + 1, frame.summary()
    judged(lab, DROP)
    assert not answers(lab, datagram(far, 443, b"silence"))
    judged(lab)
    assert len(answers(lab, datagram(far, 443, b"noise"))) == 1


@KINDS
@FAMILIES
def test_the_rate_of_answers(device_labs, kind, v6):
    """1,000 a second, and as many at once after a pause; the rest is dropped."""
    lab = judged(device_labs(kind, "frames"))
    time.sleep(1.1)             # whatever was answered before: the bucket is full again
    position, begin = lab.port.capture.position(), time.monotonic()
    frames = [datagram(denied(v6), port, b"rate") for port in range(2000, 6000)]
    for frame in frames:
        lab.send(frame)
    seconds = time.monotonic() - begin
    lab.probe(v6)
    count = len(lab.port.capture.since(position, lambda f: b"probe" not in f))
    assert 950 <= count <= 1000 + 1000 * seconds + 20, (count, seconds)
