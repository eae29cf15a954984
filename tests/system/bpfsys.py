# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""bpf(2) by hand: what an intruder with root does to pins, links and maps."""
import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF = 321 if os.uname().machine == "x86_64" else 280
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, PROG_LOAD, OBJ_PIN, OBJ_GET = 0, 1, 2, 3, 5, 6, 7
LINK_CREATE, LINK_DETACH = 28, 34
ARRAY, HASH = 2, 1
SCHED_CLS = 3
TCX_INGRESS, TCX_EGRESS = 46, 47


def bpf(command, attr):
    buf = ctypes.create_string_buffer(attr.ljust(144, b"\0"), 144)
    result = libc.syscall(SYS_BPF, command, buf, len(buf))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result


def pointer(data):
    buf = ctypes.create_string_buffer(bytes(data), max(len(data), 1))
    return buf, ctypes.addressof(buf)


def get(path):
    keep, at = pointer(str(path).encode() + b"\0")
    return bpf(OBJ_GET, struct.pack("=QII", at, 0, 0))


def pin(fd, path):
    keep, at = pointer(str(path).encode() + b"\0")
    bpf(OBJ_PIN, struct.pack("=QII", at, fd, 0))


def value_size(fd):
    """The kernel copies this many bytes, however long the caller's buffer is."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("value_size:"))


def lookup(fd, key):
    keep, key_at = pointer(key)
    value = ctypes.create_string_buffer(value_size(fd))
    bpf(MAP_LOOKUP, struct.pack("=IIQQQ", fd, 0, key_at, ctypes.addressof(value), 0))
    return value.raw


def filled(path, places):
    """How many of its places have a map: of a map of maps that is pinned there."""
    fd, n = get(path), 0
    for place in range(places):
        try:
            n += bool(lookup(fd, struct.pack("=I", place)))
        except FileNotFoundError:
            pass
    os.close(fd)
    return n


def update(fd, key, value):
    assert len(value) == value_size(fd)
    keep, key_at = pointer(key)
    keep2, value_at = pointer(value)
    bpf(MAP_UPDATE, struct.pack("=IIQQQ", fd, 0, key_at, value_at, 0))


def delete(fd, key):
    keep, key_at = pointer(key)
    bpf(MAP_DELETE, struct.pack("=IIQQ", fd, 0, key_at, 0))


def array(value_size, entries, flags=0):
    return bpf(MAP_CREATE, struct.pack("=IIIII", ARRAY, 4, value_size, entries, flags))


def detach(path):
    fd = get(path)
    try:
        bpf(LINK_DETACH, struct.pack("=I", fd))
    finally:
        os.close(fd)


def program(verdict):
    """A tc program that returns one number."""
    code = struct.pack("=BBhi", 0xb7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    keep, at = pointer(code)
    keep2, license_at = pointer(b"GPL\0")
    return bpf(PROG_LOAD, struct.pack("=IIQQ", SCHED_CLS, 2, at, license_at))


def tcx_first(fd, ifindex, kind=TCX_INGRESS):
    """A link before all others; in the caller's network namespace."""
    return bpf(LINK_CREATE, struct.pack("=IIIIIIQ", fd, ifindex, kind, 1 << 3, 0, 0, 0))
