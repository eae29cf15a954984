# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Two ends of a workload: the descriptor of a tap, which is what a hypervisor
holds, and a packet socket in a container's namespace. Both send and receive
whole frames, with a virtio-net header where the frame needs one."""
import ctypes
import fcntl
import os
import pathlib
import select
import socket
import struct
import subprocess
import threading
import time

from lab import CLONE_NEWNET, ETH_P_ALL, ROOT, WAIT, Lab, sh

TUNSETIFF, TUNSETOFFLOAD, TUNSETIFINDEX = 0x400454ca, 0x400454d0, 0x400454da
TUNSETVNETHDRSZ = 0x400454d8
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
OFFLOADS, USO = 0x01 | 0x02 | 0x04 | 0x08, 0x20 | 0x40      # TUN_F_CSUM, TSO4, TSO6, ECN
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23

# struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
VNET_HEADER = struct.Struct("=BBHHHH")
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4 = 0, 1, 3, 4, 5
PLAIN = VNET_HEADER.pack(0, GSO_NONE, 0, 0, 0, 0)

PUMP = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")) / "tests" / "tap_pump"


class Capture:
    """What came out of a wire, in order."""

    def __init__(self, descriptor, skip=0):
        self.descriptor, self.skip = descriptor, skip
        self.frames, self.times = [], []
        self.changed = threading.Condition()
        self.stop_reading, self.stop = os.pipe()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        poll.register(self.stop_reading, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self.stop_reading in ready:
                return
            try:
                frame = os.read(self.descriptor, 70000)
            except BlockingIOError:
                continue
            except OSError:         # the device is down, or gone
                if ready[self.descriptor] & (select.POLLERR | select.POLLHUP):
                    time.sleep(0.01)
                continue
            with self.changed:
                self.frames.append(frame[self.skip:])
                self.times.append(time.monotonic())
                self.changed.notify_all()

    def position(self):
        with self.changed:
            return len(self.frames)

    def since(self, position, mark=b""):
        """The frames after a position that contain mark (bytes), or for which it is true."""
        match = mark if callable(mark) else lambda frame: mark in frame
        with self.changed:
            return [frame for frame in self.frames[position:] if match(frame)]

    def wait(self, mark, position=0, seconds=WAIT, count=1):
        """The frames with the mark, once there are count of them; else what there is."""
        match = mark if callable(mark) else lambda frame: mark in frame
        found = []

        def enough():
            nonlocal position
            found.extend(frame for frame in self.frames[position:] if match(frame))
            position = len(self.frames)
            return len(found) >= count
        with self.changed:
            self.changed.wait_for(enough, seconds)
        return found

    def rate(self, mark, begin, end):
        """Bytes a second of the frames with the mark that came in that time: from the
        first to the last of them, so that it is no matter how the edges fall."""
        with self.changed:
            found = [(when, len(frame)) for when, frame in zip(self.times, self.frames)
                     if begin <= when <= end and mark in frame]
        return sum(size for _, size in found[1:]) / (found[-1][0] - found[0][0])

    def forget(self):
        with self.changed:
            self.frames.clear()
            self.times.clear()

    def close(self):
        os.write(self.stop, b"x")
        self.thread.join()
        os.close(self.stop)
        os.close(self.stop_reading)


def packet_socket(ns, device, protocol=ETH_P_ALL):
    """A capture's socket: what comes in, not what leaves."""
    s = Lab.socket(ns, socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    s.bind((device, protocol))
    return s


def in_namespace(ns, action):
    """Runs action in a thread that is in another network namespace."""
    result = []

    def run():
        with open(f"/run/netns/{ns}", "rb") as f:
            setns(f.fileno())
        try:
            result.append(action())
        except OSError as e:
            result.append(e)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def setns(descriptor):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def checksum_offload(ns, device, on):
    """What `ethtool -K DEVICE tx on|off` does."""
    def action():
        value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, on))
        request = struct.pack("16sP8x", device.encode(), ctypes.addressof(value))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, SIOCETHTOOL, request)
    in_namespace(ns, action)


def open_tap(ns, name, index=None, flags=IFF_VNET_HDR):
    """The descriptor of a new tap in ns: what a hypervisor holds."""
    def action():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if index is not None:
                fcntl.ioctl(fd, TUNSETIFINDEX, struct.pack("I", index))
            fcntl.ioctl(fd, TUNSETIFF,
                        struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | flags))
        except OSError:
            os.close(fd)
            raise
        return fd
    return in_namespace(ns, action)


def offload(fd):
    """The guest takes what virtio-net takes: partial checksums and super-frames."""
    for flags in (OFFLOADS | USO, OFFLOADS):        # USO: since 6.2
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, flags)
            return
        except OSError:
            if flags == OFFLOADS:
                raise


class Tap:
    """A tap on the host. What is written is what a guest sends; head: the size of the
    virtio-net header before each frame (0: none)."""
    kind = "tap"

    def __init__(self, ns, device, index=None, head=VNET_HEADER.size, inside=None, mac=None):
        self.ns, self.device, self.head, self.inside = ns, device, head, inside
        self.fd = open_tap(ns, device, index, IFF_VNET_HDR if head else 0)
        if head:
            fcntl.ioctl(self.fd, TUNSETVNETHDRSZ, struct.pack("i", head))
        self.capture = Capture(self.fd, head)

    def send(self, frame, header=PLAIN):
        assert self.head or header == PLAIN
        os.write(self.fd, header.ljust(self.head, b"\0")[:self.head] + frame)

    def close(self):
        """The device goes with its descriptor."""
        if self.fd is not None:
            self.capture.close()
            os.close(self.fd)
            self.fd = None


class Inside:
    """A workload in a network namespace, on its device w0: packet sockets send
    and capture there, beside what its kernel does."""

    def sockets(self):
        sh("ip", "-n", self.inside, "link", "set", "w0", "mtu", "9000", "up")
        self.sender = Lab.socket(self.inside, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sender.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.sender.bind(("w0", 0))
        self.receiver = packet_socket(self.inside, "w0")
        self.capture = Capture(self.receiver.fileno())

    def send(self, frame, header=PLAIN):
        self.sender.send(header + frame)

    def close_sockets(self):
        self.capture.close()
        self.sender.close()
        self.receiver.close()
        self.sender = None

    def reopen(self):
        """After w0 has been elsewhere."""
        self.close_sockets()
        self.sockets()

    def close(self):
        if self.sender is not None:
            self.close_sockets()
            self.unplug()


class Veth(Inside):
    """The host side of a veth; its other end is w0."""
    kind = "veth"

    def __init__(self, ns, device, inside, mac, index=None):
        self.ns, self.device, self.inside = ns, device, inside
        words = ["index", str(index)] if index is not None else []
        sh("ip", "-n", ns, "link", "add", device, *words, "type", "veth", "peer", "name", "w0",
           "address", mac, "netns", inside)
        self.sockets()

    def unplug(self):
        sh("ip", "-n", self.ns, "link", "del", self.device, check=False)


class Guest(Inside):
    """A tap whose guest is a network stack: that of a namespace, behind a tap of its
    own; a pump carries the frames between the two, as a hypervisor does."""
    kind = "tap"

    def __init__(self, ns, device, inside, mac, index=None):
        self.ns, self.device, self.inside = ns, device, inside
        fds = [open_tap(ns, device, index), open_tap(inside, "w0")]
        sh("ip", "-n", inside, "link", "set", "w0", "address", mac)
        for fd in fds:
            offload(fd)
        self.pump = subprocess.Popen([PUMP, *map(str, fds)], pass_fds=fds,
                                     stdin=subprocess.DEVNULL)
        for fd in fds:
            os.close(fd)
        self.sockets()

    def unplug(self):
        """Both taps go with the pump."""
        self.pump.kill()
        self.pump.wait()
