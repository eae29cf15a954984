# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A cpio archive (newc) with busybox, the kernel's modules and our init."""
import pathlib
import stat

BUSYBOX = pathlib.Path("/bin/busybox")  # package busybox-static
INIT = pathlib.Path(__file__).with_name("init")
FOLDERS = ("bin", "dev", "host", "merged", "modules", "newroot", "proc", "rw", "share", "sys")


def _entry(name, mode, data, number):
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def build(modules, early=None):
    """modules: (name, contents) in the order in which they are to be loaded; early:
    a script that busybox runs as soon as they are."""
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in FOLDERS]
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes()))
    entries.append(("bin/sh", stat.S_IFLNK | 0o777, b"busybox"))
    entries.append(("init", stat.S_IFREG | 0o755, INIT.read_bytes()))
    for at, (name, data) in enumerate(modules):
        entries.append((f"modules/{at:03}-{name}.ko", stat.S_IFREG | 0o644, data))
    if early:
        entries.append(("early", stat.S_IFREG | 0o755, early.encode()))
    entries.append(("TRAILER!!!", 0, b""))
    return b"".join(_entry(*entry, number) for number, entry in enumerate(entries, 1))
