# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""libvirt's daemons once for the session; a guest once for those who share one."""
import os
import pathlib
import shutil
import tempfile

import pytest

import virt as virt_module

PROGRAMS = ("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64", "dnsmasq", "iptables",
            "/bin/busybox", "unshare", "nsenter")


@pytest.fixture(scope="session")
def virt():
    if os.geteuid() != 0:
        pytest.skip("starts libvirt in namespaces: needs root")
    if not os.path.exists(virt_module.lab.SLUICE):
        pytest.fail(f"{virt_module.lab.SLUICE} is not built (or set SLUICE)")
    missing = [program for program in PROGRAMS
               if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    if missing:
        pytest.fail(f"not installed: {' '.join(missing)}: tools/install-deps test")
    with tempfile.TemporaryDirectory(prefix="sl-virt-") as folder:
        made = virt_module.Libvirt(pathlib.Path(folder))
        try:
            yield made
        finally:
            made.close()
