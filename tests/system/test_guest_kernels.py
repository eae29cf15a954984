# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The guests' kernel on a machine that has none yet: fetched before a guest's time begins."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = "linux-image-6.12.7+deb12-amd64"
# `boot` is what the guest's time begins with; its output is the file of that name.
SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "guest")!r})
import pathlib
import vm
programs, folder = map(pathlib.Path, sys.argv[1:])
vm.HERE = programs
guest = vm.Guest([], "tap0", "52:54:00:12:34:56", folder)
guest.process.wait(10)
guest.close()
print((folder / "boot").read_text(), end="")
"""


def program(folder, name, body):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def fresh(tmp_path):
    """A folder with apt's programs, whose archive has one kernel, and an empty cache."""
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "boot").mkdir()
    (package / "boot" / "vmlinuz-6.12.7").write_text("a kernel")
    (package / "DEBIAN" / "control").write_text(
        f"Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\n"
        "Description: a kernel\n")
    archive = tmp_path / "kernel.deb"
    subprocess.run(["dpkg-deb", "-b", str(package), str(archive)], check=True,
                   stdout=subprocess.DEVNULL)
    tools = tmp_path / "tools"
    tools.mkdir()
    program(tools, "apt-cache", f"echo '{PACKAGE} - a kernel'")
    program(tools, "apt-get", f"cp {archive} . && echo fetched >> {tmp_path}/fetched")
    return tmp_path


def env(folder):
    return {**os.environ, "PATH": f"{folder}/tools:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(folder / "cache")}


def fetched(folder):
    path = folder / "fetched"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_guest_begins_when_its_kernel_is_there(fresh):
    where = fresh / "cache" / "sluice" / "kernels" / PACKAGE / "boot"
    program(fresh / "tools", "boot", f"ls {where}")
    folder = fresh / "guest"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(fresh / "tools"), str(folder)],
                          env=env(fresh), timeout=60, capture_output=True, text=True, check=False)
    assert done.stdout == "vmlinuz-6.12.7\n", done
    assert f"{PACKAGE}: not in " in done.stderr
    assert fetched(fresh) == 1


def test_it_is_fetched_once(fresh):
    for _ in range(2):
        done = subprocess.run([sys.executable, str(ROOT / "tests" / "guest" / "kernels.py"), "6.12"],
                              env=env(fresh), timeout=60, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0 and done.stdout.endswith("/boot/vmlinuz-6.12.7\n"), done
    assert fetched(fresh) == 1
