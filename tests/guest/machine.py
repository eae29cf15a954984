# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a guest is made of: a kernel, an initramfs, two shared folders (the
host's root, read-only, and one of its own for what goes in and out), network
devices on taps, and a serial channel for a program in it.

`boot` starts one under qemu; tests/libvirt asks libvirt for the same."""
import os
import pathlib
import shutil

import initramfs

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = ("virtio_pci 9p 9pnet_virtio overlay "  # to start
           "veth tun bridge sch_ingress cls_bpf dummy crc32c_generic sctp smc virtio_net "
           "af_packet inet_diag tcp_diag udp_diag vsock vsock_loopback tipc algif_hash vrf bonding 8021q "
           "virtio_console ifb act_mirred")
HIDDEN = ("/tmp", "/run")  # the guest's own
CHANNEL = "sluice"
KERNEL_LINE = ("console=ttyS0 panic=-1 quiet lsm=landlock,lockdown,yama,integrity,bpf "
               "cgroup_no_v1=all")


def prepare(folder, kernel, command, keep=(), modules=(), early=None):
    """FOLDER/share (see init and start) and FOLDER/initramfs (see initramfs.py)."""
    share = folder / "share"
    share.mkdir()
    keep = {pathlib.Path(each).resolve() for each in [*keep, ROOT]}
    keep = [f"{each}\n" for each in sorted(keep) if str(each).startswith(HIDDEN)]
    (share / "keep").write_text("".join(keep))
    (share / "directory").write_text(str(ROOT))
    (share / "command").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in command))
    shutil.copy(HERE / "start", share / "start")
    for name in ("output", "errors"):
        (share / name).touch()
    loaded = kernel.modules([*MODULES.split(), *modules])
    (folder / "initramfs").write_bytes(initramfs.build(loaded, early))


def nic(number, tap, mac):
    """A virtio network device on a tap that exists already."""
    return ["-netdev", f"tap,id=net{number},ifname={tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net{number},mac={mac}"]


def channel(path):
    """A unix socket that qemu listens on, a port of CHANNEL's name in the guest."""
    return ["-chardev", f"socket,id=channel,path={path},server=on,wait=off",
            "-device", "virtio-serial-pci",
            "-device", f"virtserialport,chardev=channel,name={CHANNEL}"]


def qemu_command(kernel, folder, memory="2G", cpus=2, append="", more=()):
    def nine(tag, path, options):
        return ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,"
                           f"multidevs=remap{options}"]
    # never KVM: it hangs on the machines that this must run on
    return ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-cpu", "max,la57=off",
            "-smp", str(min(os.cpu_count() or 1, cpus)), "-m", memory,
            "-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot",
            "-serial", "stdio",
            "-kernel", str(kernel.image), "-initrd", str(folder / "initramfs"),
            "-append", f"{KERNEL_LINE} {append}",
            *nine("host", "/", ",readonly=on"), *nine("share", folder / "share", ""), *more]
