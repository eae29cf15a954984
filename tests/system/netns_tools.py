# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Network namespaces for the tests of resolution, and the tool that prints what it read."""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
TOOL = BUILD / "tests" / "environment"


def sh(*words):
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE).stdout


class Namespace:
    """A fresh network namespace; .ip(...) is ip(8) in it."""

    def __init__(self, name):
        self.name = name
        sh("ip", "netns", "add", name)
        self.path = f"/run/netns/{name}"

    def ip(self, line):
        sh("ip", "-n", self.name, *line.split())

    def exec(self, *words):
        return sh("ip", "netns", "exec", self.name, *words)

    def link(self, name, *addresses):
        """A veth pair inside the namespace: one end with addresses, both up."""
        self.ip(f"link add {name} type veth peer name {name}p")
        self.up(name + "p")
        self.up(name, *addresses)

    def add(self, name, kind, *addresses):
        """A link of a kind, up."""
        self.ip(f"link add {name} type {kind}")
        self.up(name, *addresses)

    def tap(self, name):
        self.ip(f"tuntap add {name} mode tap")
        self.up(name)

    def up(self, name, *addresses):
        # No link-local addresses of the kernel's making: the tests name theirs.
        self.ip(f"link set {name} addrgenmode none")
        self.ip(f"link set {name} up")
        for address in addresses:
            nodad = " nodad" if ":" in address else ""
            self.ip(f"addr add {address} dev {name}{nodad}")

    def environment(self, *options):
        """What the tool prints when it runs inside the namespace."""
        return parse(self.exec(str(TOOL), *options))


def parse(text):
    return {line["set"]: line["cidrs"] for line in map(json.loads, text.splitlines())}


@pytest.fixture
def make_netns(request):
    made = []

    def make():
        test = "".join(c for c in request.node.name.removeprefix("test_") if c.isalnum())
        namespace = Namespace(f"sl-{test[:24]}-{os.getpid()}-{len(made)}")
        made.append(namespace)
        namespace.ip("link set lo up")
        return namespace

    yield make
    for namespace in made:
        subprocess.run(["ip", "netns", "del", namespace.name], check=False)


@pytest.fixture
def netns(make_netns):
    return make_netns()
