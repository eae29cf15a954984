# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""limits: what passes of more than is allowed. Rates are measured on the far side
of the device, over seconds, and held against the contract: UDP within 5 %, TCP at
least 85 % and never above 105 %."""
import json
import os
import socket
import threading
import time

import pytest

from device_cases import eth, ip, udp
from devicelab import BINDING, GUEST4, GUEST6, GUEST_MAC, PEER_MAC, accounts, datagram, rules
from lab import PEER4, PEER6, WAIT, Lab, until

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
PEERS = f'allow: [{PEER4}, "{PEER6}"]'
OUT, IN, TCP = 1_500_000, 1_000_000, 5_000_000      # bytes a second
SECONDS = 3.0


def limited(**limits):
    text = ", ".join(f"{name}: {value}" for name, value in limits.items())
    return rules(PEERS, inbound="allow", limits=f"{{bandwidth: {{{text}}}}}")


@pytest.fixture
def quiet(device_labs):
    """A lab whose peer takes datagrams to port 9 and does not answer them: an error for
    each would count against the other direction."""
    def get(kind):
        lab = device_labs(kind, "frames")
        s = lab.socket(lab.peer, socket.AF_INET6, socket.SOCK_DGRAM)
        s.bind(("::", 9))
        held.append(s)
        return lab
    held = []
    yield get
    for s in held:
        s.close()


def to_workload(v6, data):
    source, to = (PEER6, GUEST6) if v6 else (PEER4, GUEST4)
    return bytes(eth(src=PEER_MAC, dst=GUEST_MAC) / ip(v6, to, source) / udp(data, 9, 9))


# ---- UDP ----

def offer(send, frame, rate, seconds):
    """Frames at a rate, in bytes a second: never behind by more than the scheduler is."""
    begin, sent = time.monotonic(), 0
    while (now := time.monotonic() - begin) < seconds:
        while sent < now * rate:
            send(frame)
            sent += len(frame)
        time.sleep(0.001)
    return sent / seconds


class Meter(threading.Thread):
    """One direction: offers frames, measures what comes out behind the first burst."""

    def __init__(self, capture, send, frame, mark, rate):
        super().__init__(daemon=True)
        self.capture, self.mark = capture, mark
        self.offering = threading.Thread(target=offer, daemon=True,
                                         args=(send, frame, rate, SECONDS + 1.2))

    def run(self):
        self.capture.forget()
        begin = time.monotonic()
        self.offering.start()
        self.offering.join()
        self.rate = self.capture.rate(self.mark, begin + 1.0, begin + 1.0 + SECONDS)


def meters(lab, v6):
    """Out in one family and in in the other: two buckets, at twice the limit each."""
    out, into = b"out" + bytes(1200), b"in" + bytes(1200)
    return {"out": Meter(lab.sink, lab.send, datagram(PEER6 if v6 else PEER4, 9, out), out,
                         2 * OUT),
            "in": Meter(lab.port.capture, lab.send_in, to_workload(not v6, into), into, 2 * IN)}


@FAMILIES
def test_udp_at_twice_the_limit(quiet, v6, capsys):
    """Both devices and both directions at the same time: none has anything of another's."""
    labs = {kind: quiet(kind) for kind in ("tap", "veth")}
    measured, before = {}, {}
    for kind, lab in labs.items():
        lab.guard.attach(lab.device, limited(out=f"{OUT}B/s", **{"in": f"{IN}B/s"}), *BINDING)
        before[kind] = lab.status()
        measured |= {(kind, way): meter for way, meter in meters(lab, v6).items()}
    for meter in measured.values():
        meter.start()
    for meter in measured.values():
        meter.join()
    parts = {name: meter.rate / (OUT if name[1] == "out" else IN)
             for name, meter in measured.items()}
    with capsys.disabled():
        print("\nUDP at twice the limit: " + ", ".join(
            f"{kind} {way} {100 * part:.1f} %" for (kind, way), part in parts.items()))
    for kind, lab in labs.items():
        after = lab.status()
        assert after["tx_denied"] > before[kind]["tx_denied"]
        assert after["rx_denied"] > before[kind]["rx_denied"]
        assert after["submitted"] == before[kind]["submitted"], "counted, without events"
        assert reasons(lab)["bandwidth"] > 1000 and accounts(after)
    assert all(abs(part - 1) <= 0.05 for part in parts.values())


def reasons(lab):
    """Decisions of the device by reason."""
    shown = lab.guard.run("rules", "--dev", lab.device, "-o", "json").stdout.splitlines()
    return {entry["reason"]: entry["count"] for entry in map(json.loads, shown)}


def at_once(lab, policy, count, size=1000, rate=None, seconds=0.0):
    """Bytes that arrive of count frames sent at once after a pause, or at a rate."""
    lab.guard.attach(lab.device, policy, *BINDING)
    time.sleep(0.5)             # a bucket that an earlier test has emptied is full again
    mark, position = os.urandom(8), lab.sink.position()
    frame = datagram(PEER4, 9, mark + bytes(size - 42 - len(mark)))
    if rate:
        offer(lab.send, frame, rate, seconds)
    else:
        for _ in range(count):
            lab.send(frame)
    time.sleep(0.1)
    return sum(map(len, lab.sink.since(position, mark)))


@KINDS
def test_burst_and_peak(device_labs, kind):
    """After a pause a burst passes as fast as it comes; with a peak no faster than that."""
    lab = device_labs(kind, "burst")
    average = "average: 400kB/s"
    assert at_once(lab, limited(out=f"{{{average}, burst: 200kB}}"), 400) == \
        pytest.approx(200_000, rel=0.15)
    assert at_once(lab, limited(out=f"{{{average}, burst: 50kB}}"), 400) == \
        pytest.approx(50_000, rel=0.4)
    peaked = at_once(lab, limited(out=f"{{{average}, peak: 800kB/s, burst: 1MB}}"), 0,
                     rate=8_000_000, seconds=0.5)
    # The peak's own bucket holds a quarter of a second of the average.
    assert peaked == pytest.approx(0.5 * 800_000 + 0.25 * 400_000, rel=0.1)
    assert at_once(lab, rules(PEERS), 400) == 400_000


# ---- TCP ----

def receive(listener, result):
    """What one connection brings, by time."""
    connection, _ = listener.accept()
    connection.settimeout(WAIT)
    total = 0
    with connection:
        while data := connection.recv(1 << 16):
            total += len(data)
            result.append((time.monotonic(), total))


def feed(source, over):
    block = bytes(1 << 16)
    try:
        while not over.is_set():
            source.sendall(block)
    except OSError:
        pass


def goodput(lab, v6, outward, seconds=SECONDS + 1):
    """Bytes a second of one connection, behind its first second."""
    family = socket.AF_INET6 if v6 else socket.AF_INET
    to = (PEER6 if v6 else PEER4) if outward else (GUEST6 if v6 else GUEST4)
    near, far = (lab.workload, lab.peer) if outward else (lab.peer, lab.workload)
    listener, source = (Lab.socket(ns, family, socket.SOCK_STREAM) for ns in (far, near))
    result, over = [], threading.Event()
    with listener, source:
        listener.bind((to, 0))
        listener.listen()
        receiver = threading.Thread(target=receive, args=(listener, result), daemon=True)
        receiver.start()
        source.settimeout(WAIT)
        source.connect(listener.getsockname()[:2])
        sender = threading.Thread(target=feed, args=(source, over), daemon=True)
        sender.start()
        begin = time.monotonic()
        time.sleep(seconds + 1)
        over.set()
        source.shutdown(socket.SHUT_WR)
        sender.join(WAIT)
        receiver.join(WAIT)
    window = [(when, total) for when, total in result if begin + 1 <= when <= begin + 1 + seconds]
    (first, low), (last, high) = window[0], window[-1]
    return (high - low) / seconds if last > first else 0


@pytest.mark.parametrize("outward", [True, False], ids=["out", "in"])
@FAMILIES
def test_tcp(device_labs, v6, outward, capsys):
    """Both devices at once: what one is limited to is no matter of the other's."""
    labs = {kind: device_labs(kind, "real", real=True) for kind in ("tap", "veth")}
    rate, measured = TCP, {}

    def measure(kind, lab):
        measured[kind] = goodput(lab, v6, outward) / rate
    for lab in labs.values():
        limit = {"out" if outward else "in": f"{rate}B/s"}
        lab.guard.attach(lab.device, limited(**limit), *BINDING)
    threads = [threading.Thread(target=measure, args=item) for item in labs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with capsys.disabled():
        print("\nTCP " + ", ".join(f"{kind} {100 * part:.1f} %" for kind, part in
                                   measured.items()) + " of the limit")
    for kind, part in measured.items():
        assert 0.85 <= part <= 1.05, kind


# ---- connections ----

@KINDS
@FAMILIES
def test_connections(device_labs, kind, v6):
    """A bucket of new flows: as many at once as a second gives, then one at a time. What
    is known goes on, what comes in does not count."""
    lab, to = device_labs(kind, "frames"), PEER6 if v6 else PEER4
    lab.configure(rules(PEERS, inbound="allow"), *BINDING)
    lab.send(datagram(to, 900, b"old-flow"))
    time.sleep(1.1)
    lab.configure(rules(PEERS, inbound="allow", limits="{connections: 20/s}"), *BINDING)
    start, position, begin = lab.mark(), lab.sink.position(), time.monotonic()
    for port in range(1000, 1200):
        lab.send(datagram(to, port, b"new-flow"))
    elapsed = time.monotonic() - begin
    for _ in range(30):
        lab.send(datagram(to, 900, b"old-flow"))
    assert len(lab.sink.wait(b"old-flow", position, count=30)) == 30
    opened = len(lab.sink.since(position, b"new-flow"))
    assert 20 <= opened <= 21 + 20 * elapsed
    events = lab.fence(start)
    assert {e["reason"] for e in events} == {"connection-limit"}
    assert len(events) == 200 - opened == len({e["destination"]["port"] for e in events})
    inside = lab.port.capture.position()
    for port in range(50):
        lab.send_in(bytes(eth(src=PEER_MAC, dst=GUEST_MAC) / ip(
            v6, GUEST6 if v6 else GUEST4, to) / udp(b"from-outside", 2000 + port, 9)))
    assert len(lab.port.capture.wait(b"from-outside", inside, count=50)) == 50
    position = lab.sink.position()

    def again():
        lab.send(datagram(to, 1300, b"later-flow"))
        return lab.sink.wait(b"later-flow", position, 0.05)
    assert until(again, 2), "the bucket does not fill again"
