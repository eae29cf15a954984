# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The kernel's bpf objects, counted by bpf(2) itself: bpftool of Debian 12 is older
than some kinds of links."""
import ctypes
import errno
import os
import struct

SYS_BPF = {"x86_64": 321, "aarch64": 280}
MAP_LOOKUP_ELEM, MAP_GET_NEXT_KEY, OBJ_GET = 1, 4, 7
PROG_GET_FD_BY_ID, GET_INFO, LINK_GET_FD_BY_ID = 13, 15, 30
NEXT_ID = {"programs": 11, "maps": 12, "links": 31}


def bpf(command, attr):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(SYS_BPF[os.uname().machine], command, attr, len(attr))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def ids(kind):
    """All there are on this machine."""
    found, attr = set(), ctypes.create_string_buffer(struct.pack("III", 0, 0, 0), 12)
    while True:
        try:
            bpf(NEXT_ID[kind], attr)
        except OSError as e:
            if e.errno == errno.ENOENT:
                return found
            raise
        _, following, _ = struct.unpack("III", attr.raw)
        found.add(following)
        struct.pack_into("I", attr, 0, following)


def snapshot():
    return {kind: ids(kind) for kind in NEXT_ID}


def information(fd, size=256, info=None):
    """bpf_prog_info, bpf_map_info or bpf_link_info."""
    info = info or ctypes.create_string_buffer(size)
    bpf(GET_INFO, ctypes.create_string_buffer(
        struct.pack("IIQ", fd, len(info), ctypes.addressof(info)), 16))
    return info


def by_id(command, number):
    """A descriptor; None: it is gone."""
    try:
        return bpf(command, ctypes.create_string_buffer(struct.pack("III", number, 0, 0), 12))
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise
        return None


def program_of(link):
    """The id of a link's program; 0: it is gone."""
    fd = by_id(LINK_GET_FD_BY_ID, link)
    if fd is None:
        return 0
    try:
        return struct.unpack_from("I", information(fd).raw, 8)[0]
    finally:
        os.close(fd)


def maps_of(program):
    """The ids of the maps that a program uses."""
    fd = by_id(PROG_GET_FD_BY_ID, program)
    if fd is None:
        return set()
    try:
        numbers = (ctypes.c_uint32 * 64)()
        info = ctypes.create_string_buffer(256)
        struct.pack_into("=IQ", info, 52, len(numbers), ctypes.addressof(numbers))
        count = struct.unpack_from("I", information(fd, info=info).raw, 52)[0]
        return set(numbers[:count])
    finally:
        os.close(fd)


class PinnedMap:
    def __init__(self, path):
        name = ctypes.create_string_buffer(str(path).encode())
        self.fd = bpf(OBJ_GET, ctypes.create_string_buffer(
            struct.pack("QII", ctypes.addressof(name), 0, 0), 16))

    def number(self):
        return struct.unpack_from("I", information(self.fd).raw, 4)[0]

    def element(self, command, key, size):
        key = ctypes.create_string_buffer(key, len(key)) if key is not None else None
        out = ctypes.create_string_buffer(size)
        attr = struct.pack("IIQQQ", self.fd, 0, ctypes.addressof(key) if key else 0,
                           ctypes.addressof(out), 0)
        bpf(command, ctypes.create_string_buffer(attr, len(attr)))
        return out.raw

    def inner_maps(self, entries):
        """An array of maps: how many of its places hold one."""
        count = 0
        for index in range(entries):
            try:
                self.element(MAP_LOOKUP_ELEM, struct.pack("I", index), 4)
                count += 1
            except OSError as e:
                if e.errno != errno.ENOENT:
                    raise
        return count

    def keys(self, size):
        key = None
        while True:
            try:
                key = self.element(MAP_GET_NEXT_KEY, key, size)
            except OSError as e:
                if e.errno == errno.ENOENT:
                    return
                raise
            yield key

    def close(self):
        os.close(self.fd)
