#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The program inside a guest: does what the host says over the serial channel,
so that the network under test carries nothing but the test.

The actions are those of tests/system/client.py and the ones below."""
import os
import pathlib
import socket
import struct
import sys
import time

import machine

sys.path.insert(0, str(machine.ROOT / "tests" / "system"))
import client  # noqa: E402
import dns_client  # noqa: E402,F401  (adds its actions)
import echoes  # noqa: E402

servers = []
SEND_BYTES = 65536
SOL_PACKET, PACKET_VNET_HDR = 263, 15
NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6, SEGMENT = 1, 1, 4, 1400


def open_channel():
    """The port of the channel's name, as stdin and stdout."""
    for name in pathlib.Path("/sys/class/virtio-ports").glob("*/name"):
        if name.read_text().strip() == machine.CHANNEL:
            port = os.open(f"/dev/{name.parent.name}", os.O_RDWR | os.O_CLOEXEC)
            sys.stdin = os.fdopen(os.dup(port), "r", encoding="utf-8")
            sys.stdout = os.fdopen(port, "w", encoding="utf-8")
            return
    raise FileNotFoundError(f"no virtio port {machine.CHANNEL}")


def serve(r):
    """TCP and UDP echo on ports, on every address, for as long as the guest lives."""
    echo = echoes.Echo()
    servers.append(echo)
    for port in r["ports"]:
        echo.add_tcp(socket.socket, port)
        echo.add_udp(socket.socket, port)


def frames(r):
    """Raw frames (hex), as they are, out of a device."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        client.call("bind", s.bind, (r["device"], 0))
        for frame in r["frames"]:
            client.call("send", s.send, bytes.fromhex(frame))


def super_frame(r):
    """A TCP frame with a virtio header (linux/virtio_net.h) that says: to be cut
    into segments of SEGMENT bytes, each to get its checksum."""
    frame = bytes.fromhex(r["frame"])
    network = 14
    transport = network + (40 if r["v6"] else 20)
    kind = GSO_TCPV6 if r["v6"] else GSO_TCPV4
    head = struct.pack("=BBHHHH", NEEDS_CSUM, kind, transport + 20, SEGMENT, transport, 16)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        client.call("bind", s.bind, (r["device"], 0))
        client.call("send", s.send, head + frame)


def transfer(r):
    """Sends bytes over one TCP connection, and waits until the other side has read
    them all; how many, and in how many seconds."""
    s = client.new(r, client.family(r["to"]), socket.SOCK_STREAM)
    client.call("connect", s.connect, (r["to"], r["port"]))
    begin, sent, block = time.monotonic(), 0, bytes(SEND_BYTES)
    while sent < r["bytes"]:
        sent += client.call("send", s.send, block[:r["bytes"] - sent])
    s.shutdown(socket.SHUT_WR)
    while client.call("recv", s.recv, SEND_BYTES):
        pass
    return {"bytes": sent, "seconds": time.monotonic() - begin}


client.KINDS.update({f.__name__: f for f in (serve, frames, super_frame, transfer)})


def main():
    open_channel()
    print('{"ready": true}', flush=True)
    client.main()


if __name__ == "__main__":
    main()
