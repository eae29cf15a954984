# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames bent out of shape: what a hostile workload might try, and what nobody would.

Each function takes (rng, world, direction, frame) and returns a list of (direction,
frame) in place of the one; the same random numbers give the same frames.
"""
import struct

import frame_builder as b

ETHERTYPES = (0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x8847, 0x8864, 0x0801, 60, 1500,
              0x8000, 0x6558, 0xffff, 0)
NEXT = (0, 1, 2, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 139, 140, 253, 255)
PORTS = (0, 1, 53, 67, 68, 80, 443, 546, 547, 853, 65535)
ICMP_TYPES = (0, 3, 4, 5, 8, 11, 12, 13, 14, 15, 16, 17, 18, 40, 1, 2, 100, 127, 128, 129,
              *range(130, 138), 138, 142, 143, 144, 255)
EMBEDDING = ("::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "2002::", "2001::", "::")


def put(frame, at, data):
    return frame[:at] + data + frame[at + len(data):] if len(frame) >= at + len(data) else frame


def is_ip(frame):
    return len(frame) >= 34 and frame[12:14] == b"\x08\x00" or is_ip6(frame)


def is_ip6(frame):
    return len(frame) >= 54 and frame[12:14] == b"\x86\xdd"


def transport_at(frame):
    return 54 if is_ip6(frame) else 34


def addresses_at(frame):
    """(offset of the source, size of an address)"""
    return (22, 16) if is_ip6(frame) else (26, 4)


def step(rng, value, bits):
    """A little more or less, now and then a lot."""
    return value + rng.choice((-1, 1, -1, 1, -8, 8, 4, -4, rng.getrandbits(bits))) & (1 << bits) - 1


def flip_bits(rng, world, direction, frame):
    most = min(len(frame), rng.choice((14, 34, 58, 80, len(frame))))
    changed = bytearray(frame)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        changed[rng.randrange(most)] ^= 1 << rng.randrange(8)
    return [(direction, bytes(changed))]


def truncate(rng, world, direction, frame):
    edges = [14, 15, 33, 34, 35, 41, 42, 43, 53, 54, 55, 61, 62, 73, 74, rng.randrange(14, 1500),
             len(frame) - 1, len(frame) - 2, len(frame) - 8]
    return [(direction, frame[:max(14, rng.choice(edges))])]


def extend(rng, world, direction, frame):
    """Bytes behind the packet's own end, as the padding of a short frame."""
    return [(direction, (frame + rng.randbytes(rng.choice((1, 2, 6, 18, 60))))[:1514])]


def shorten_packet(rng, world, direction, frame):
    """The frame is cut, the IP length follows, and often UDP's: only the rest is too short."""
    if not is_ip(frame):
        return [(direction, frame)]
    head = transport_at(frame)
    size = rng.choice((0, 1, 3, 4, 7, 8, 11, 12, 13, 16, 19, 20, 21, 23, 24, 27, 28, 247, 248))
    frame = frame[:head + size]
    if frame[23 if head == 34 else 20] == 17 and rng.random() < 0.7:
        frame = put(frame, head + 4, struct.pack(">H", len(frame) - head))
    if head == 34:
        return [(direction, put(frame, 16, struct.pack(">H", len(frame) - 14)))]
    return [(direction, put(frame, 18, struct.pack(">H", len(frame) - 54)))]


def lengths(rng, world, direction, frame):
    """IP's or UDP's length or TCP's offset, a step off."""
    if not is_ip(frame):
        return [(direction, frame)]
    head = transport_at(frame)
    places = [(16 if head == 34 else 18, 16), (head + 4, 16), (head + 12, 8), (14, 8)]
    at, bits = rng.choice(places)
    if len(frame) < at + 2:
        return [(direction, frame)]
    if bits == 16:
        value, = struct.unpack_from(">H", frame, at)
        return [(direction, put(frame, at, struct.pack(">H", step(rng, value, 16))))]
    high = rng.choice((1, -1, 2)) * (1 if at == 14 and rng.random() < 0.5 else 16)
    return [(direction, put(frame, at, bytes([frame[at] + high & 255])))]


def fields(rng, world, direction, frame):
    """One field gets a value that means something."""
    if not is_ip(frame):
        return [(direction, put(frame, 12, struct.pack(">H", rng.choice(ETHERTYPES))))]
    head = transport_at(frame)
    kind = rng.randrange(9)
    if kind == 0:
        return [(direction, put(frame, 12, struct.pack(">H", rng.choice(ETHERTYPES))))]
    if kind == 1:
        return [(direction, put(frame, 23 if head == 34 else 20, bytes([rng.choice(NEXT)])))]
    if kind == 2:
        return [(direction, put(frame, 22 if head == 34 else 21,
                                bytes([rng.choice((0, 1, 2, 64, 254, 255))])))]
    if kind == 3:
        return [(direction, put(frame, head + rng.choice((0, 2)),
                                struct.pack(">H", rng.choice(PORTS))))]
    if kind == 4:
        return [(direction, put(frame, head + 13, bytes([rng.getrandbits(8)])))]
    if kind == 5:
        return [(direction, put(frame, head, bytes([rng.choice(ICMP_TYPES)])))]
    if kind == 6:
        return [(direction, put(frame, head + 1, bytes([rng.choice((0, 1, 13, 255))])))]
    if kind == 7 and head == 34:
        bits = rng.choice((0x2000, 0x4000, 0x8000, 1, 2, 3, 0x1fff, 0x2001))
        return [(direction, put(frame, 20, struct.pack(">H", bits)))]
    return [(direction, put(frame, rng.choice((0, 6)), rng.choice(
        (world.mac, world.gateway_mac, world.other_mac, b.BROADCAST, b"\x01\0\x5e\0\0\1",
         bytes(6), rng.randbytes(6)))))]


def other_addresses(rng, world, direction, frame):
    """An address becomes another's, unspecified, multicast, a neighbour by one, embedding."""
    if not is_ip(frame):
        return [(direction, frame)]
    at, size = addresses_at(frame)
    place = at + rng.choice((0, 0, size))
    old = int.from_bytes(frame[place:place + size], "big")
    beside = (old + rng.choice((-1, 1))) % (1 << size * 8)
    if size == 4:
        choices = (*world.mine4, world.other4, world.server, bytes(4), b"\xff" * 4,
                   b"\xe0\0\0\1", b"\x7f\0\0\1", beside.to_bytes(4, "big"))
    else:
        v4 = rng.choice((world.mine4[0], rng.randbytes(4)))
        embedded = b.ip(rng.choice(EMBEDDING))[:12] + v4
        choices = (*world.mine6, world.other6, world.link, world.router_link, bytes(16),
                   b.ip("ff02::1"), b.ip("ff02::16"), embedded, embedded,
                   beside.to_bytes(16, "big"))
    return [(direction, put(frame, place, rng.choice(choices)))]


def swap(rng, world, direction, frame):
    """Source and destination change places: Ethernet's, IP's, the ports'."""
    if not is_ip(frame):
        return [(direction, frame)]
    at, size = addresses_at(frame)
    head = transport_at(frame)
    which = rng.choice(("ethernet", "ip", "ports", "both"))
    if which == "ethernet":
        frame = frame[6:12] + frame[:6] + frame[12:]
    if which in ("ip", "both"):
        frame = put(frame, at, frame[at + size:at + 2 * size] + frame[at:at + size])
    if which in ("ports", "both") and len(frame) >= head + 4:
        frame = put(frame, head, frame[head + 2:head + 4] + frame[head:head + 2])
    return [(direction, frame)]


def reverse(rng, world, direction, frame):
    """The same frame as the other side would answer it, or merely going the other way."""
    other = "in" if direction == "out" else "out"
    if is_ip(frame) and rng.random() < 0.7:
        at, size = addresses_at(frame)
        head = transport_at(frame)
        frame = put(frame, at, frame[at + size:at + 2 * size] + frame[at:at + size])
        if len(frame) >= head + 4 and frame[23 if head == 34 else 20] not in (1, 58):
            frame = put(frame, head, frame[head + 2:head + 4] + frame[head:head + 2])
        frame = frame[6:12] + frame[:6] + frame[12:]
    return [(other, frame)]


def repeat(rng, world, direction, frame):
    return [(direction, frame), rng.choice(world.history) if world.history else (direction, frame)]


def tag(rng, world, direction, frame):
    """A VLAN tag, two, or an LLC/SNAP header in front of the packet."""
    kind = rng.randrange(4)
    if kind == 3:
        snap = b"\xaa\xaa\x03\0\0\0" + frame[12:14] + frame[14:]
        return [(direction, frame[:12] + struct.pack(">H", min(len(snap), 1500)) + snap)]
    tags = struct.pack(">HH", rng.choice((0x8100, 0x88a8)), rng.choice((0, 1, 100, 4095)))
    return [(direction, frame[:12] + tags * (1 + (kind == 2)) + frame[12:])]


def ip_options(rng, world, direction, frame):
    if not is_ip(frame) or is_ip6(frame):
        return [(direction, frame)]
    words = rng.choice((1, 1, 2, 10))
    total, = struct.unpack_from(">H", frame, 16)
    frame = put(frame, 14, bytes([0x45 + words]))
    if rng.random() < 0.8:
        frame = put(frame, 16, struct.pack(">H", min(total + 4 * words, 65535)))
    return [(direction, frame[:34] + b"\x83\x07\x04".ljust(4 * words, b"\1") + frame[34:])]


def extensions(rng, world, direction, frame):
    """IPv6 extension headers in front of the transport: good ones, deep ones, bad ones."""
    if not is_ip6(frame):
        return [(direction, frame)]
    following, body = frame[20], frame[54:]
    for _ in range(rng.choice((1, 1, 2, 4, 5, 5, 6))):
        kind = rng.choice((0, 60, 60, 60, 60, 60, 44, 44, 43, 135, 139, 140))
        if kind == 44:
            offset = rng.choice((0, 0, 0, 0, 8, 16))
            body = b.fragment_header(following, offset, rng.random() < 0.2, 9) + body
        else:
            words = rng.choice((0, 0, 1, 3))
            body = b.extension(following, words) + body
            if rng.random() < 0.05:
                body = put(body, 1, bytes([rng.choice((1, 2, 30, 255))]))
        following = kind
    frame = put(frame[:54], 20, bytes([following]))
    if rng.random() < 0.95:
        frame = put(frame, 18, struct.pack(">H", min(len(body), 65535)))
    return [(direction, (frame + body)[:1514])]


def fragments(rng, world, direction, frame):
    """The packet in pieces: cut at multiples of 8 or not, in order or not, overlapping, tiny,
    and some the other way."""
    if not is_ip(frame):
        return [(direction, frame)]
    head = transport_at(frame)
    payload = frame[head:] + rng.randbytes(rng.choice((0, 40, 80)))
    edges = {rng.choice((8, 16, 24, 24, 32, 32, 40, 48, 64, 20, 28)) for _ in range(2)}
    edges = [0, *sorted(edge for edge in edges if edge < len(payload)), len(payload)]
    identifier = rng.choice((1, 2, rng.getrandbits(16)))
    made = []
    for low, high in zip(edges, edges[1:]):
        begin = low & ~7
        if low and rng.random() < 0.15:
            begin = max(0, begin + rng.choice((-8, -16, 8)))
        more = high < len(payload)
        part = payload[low:high]
        if head == 34:
            piece = put(frame[:34] + part, 16, struct.pack(
                ">HHH", 20 + len(part), identifier, (0x2000 if more else 0) | begin >> 3))
        else:
            part = b.fragment_header(frame[20], begin, more, identifier) + part
            piece = frame[:18] + struct.pack(">HB", len(part), 44) + frame[21:54] + part
        step = direction, piece[:1514]
        made += reverse(rng, world, *step) if low and rng.random() < 0.15 else [step]
    if rng.random() < 0.2:
        rng.shuffle(made)
    return made


def noise(rng, world, direction, frame):
    """Random bytes: all of the frame, what is behind Ethernet's header, or behind IP's."""
    size = rng.choice((14, 20, 34, 42, 54, 60, 62, 74, 100, rng.randrange(14, 1515)))
    kind = rng.randrange(4)
    if kind == 0 or len(frame) < 14:
        return [(direction, rng.randbytes(size))]
    if kind == 1:
        head = frame[:12] + rng.choice((b"\x08\0", b"\x08\x06", b"\x86\xdd"))
    else:
        head = frame[:rng.choice((15, 20, 24, 34, 54, 60))]
    return [(direction, (head + rng.randbytes(max(0, size - len(head)))))]


def runnable(frame):
    """A test run takes no frame without its Ethernet header, and newer kernels none of
    IPv4 or IPv6 without that header (EINVAL): such are for tests with a real device."""
    return frame.ljust({b"\x08\0": 34, b"\x86\xdd": 54}.get(frame[12:14], 14), b"\0")


MANGLES = [flip_bits] * 6 + [truncate, extend, shorten_packet, shorten_packet] + [lengths] * 3 + \
    [fields] * 6 + [other_addresses] * 4 + [swap] * 3 + [reverse] * 5 + [repeat] * 3 + \
    [tag, ip_options] + [extensions] * 5 + [fragments] * 5


def mutate(rng, world, direction, frame):
    """One or two mutations, by chance."""
    steps = rng.choice(MANGLES)(rng, world, direction, frame)
    if rng.random() < 0.2:
        steps = [done for each in steps for done in rng.choice(MANGLES)(rng, world, *each)]
    return [(where, runnable(what[:1514])) for where, what in steps]
