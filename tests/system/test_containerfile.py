# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/kubernetes/Containerfile names the package of each library that the programs ask for, and no other:
one that is missing is noticed when the image starts, which no test here waits for."""
import pathlib
import re
import shutil
import subprocess

import pytest

from cli_tools import BUILD, ROOT

# of every Debian
ESSENTIAL = {"libc6", "libtinfo6"}


def libraries(program):
    """Those that it is linked with, and those that it opens when it wants them (user/late)."""
    return set(re.findall(rb"\0(lib[\w+-]+\.so\.\d+)(?=\0)", program.read_bytes()))


def packages(names):
    """By the dynamic linker's cache; /lib is a link to /usr/lib, and dpkg knows one of the two."""
    known = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    paths = {pathlib.Path(re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", known, re.MULTILINE)[1]) for name in names}
    places = {path: [path, path.resolve(), *(pathlib.Path(f"/usr{p}") for p in (path, path.resolve()))] for path in paths}
    said = subprocess.run(["dpkg-query", "-S", *{place for some in places.values() for place in some}],
                          capture_output=True, text=True, check=False).stdout
    owners = {line.rsplit(": ", 1)[1]: line.split(":")[0] for line in said.splitlines()}
    return {next(owners[str(place)] for place in some if str(place) in owners) for some in places.values()}


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="not a Debian system")
def test_the_image_has_the_libraries_of_its_programs():
    text = (ROOT / "deploy" / "kubernetes" / "Containerfile").read_text(encoding="utf-8")
    install = re.search(r"--no-install-recommends \\\n(.*?)&&", text, re.DOTALL)[1]
    listed = set(install.replace("\\", "").split())
    made = [BUILD / name for name in ("sluice", "sluiced", "sluice-alerts", "sluice-oci-hook")]
    wanted = packages({name.decode() for name in set().union(*map(libraries, made))}) - ESSENTIAL
    assert listed == wanted, (listed - wanted, wanted - listed)
