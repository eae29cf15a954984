# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Fixtures of the system tests: one lab for each file of tests that asks."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import lab as lab_module


@pytest.fixture(scope="module")
def lab(request):
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces and cgroups: needs root")
    if not os.path.exists(lab_module.SLUICE):
        pytest.fail(f"{lab_module.SLUICE} is not built (or set SLUICE)")
    name = request.module.__name__.removeprefix("test_")
    # Not below pytest's own folder: --user must be able to read the client.
    with tempfile.TemporaryDirectory(prefix=f"sl-{name}-") as folder:
        made = lab_module.Lab(name, pathlib.Path(folder))
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="session")
def uring(tmp_path_factory):
    """The io_uring client, compiled."""
    if not os.path.exists("/usr/include/liburing.h") or not shutil.which("gcc"):
        pytest.skip("liburing.h or gcc is not installed")
    out = tmp_path_factory.mktemp("uring") / "uring"
    subprocess.run(["gcc", "-O2", "-o", str(out), str(lab_module.URING), "-luring"], check=True)
    return str(out)


@pytest.fixture(scope="module")
def dnslab(request):
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces and cgroups: needs root")
    if not os.path.exists(lab_module.SLUICE):
        pytest.fail(f"{lab_module.SLUICE} is not built (or set SLUICE)")
    import dnslab as dnslab_module
    name = request.module.__name__.removeprefix("test_").replace("names_attacks", "att")
    with tempfile.TemporaryDirectory(prefix=f"sl-{name}-") as folder:
        made = dnslab_module.DnsLab(name, pathlib.Path(folder))
        try:
            yield made
        finally:
            made.close()
