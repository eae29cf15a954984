# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""One network with two guests for the whole session: they boot once."""
import os
import pathlib
import shutil
import tempfile

import pytest

import network


@pytest.fixture(scope="session")
def site():
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces and taps: needs root")
    if not os.path.exists(network.lab.SLUICE):
        pytest.fail(f"{network.lab.SLUICE} is not built (or set SLUICE)")
    for program in ("qemu-system-x86_64", "dnsmasq", "/bin/busybox"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            pytest.fail(f"{program} is not installed: tools/install-deps test")
    with tempfile.TemporaryDirectory(prefix="sl-vm-") as folder:
        made = network.Network(pathlib.Path(folder))
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def device(site, tmp_path):
    """tap0 under sluice; without a policy afterwards."""
    made = network.Device(site.inside("host"), "tap0", tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def upset(site):
    """For a test that changes the guest's addresses: it gets them back."""
    yield
    site.restore()
