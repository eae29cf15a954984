# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Converted network filters on a device, attached with the command that `convert` prints."""
import os
import re
import shlex
import subprocess
import sys

import pytest

from cli_tools import SLUICE
from netns_tools import ROOT, make_netns  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="attaches programs: needs root")]

GOLDEN = ROOT / "tests" / "golden" / "nwfilter"
STATE = f"/sys/fs/bpf/sl-nwfilter-{os.getpid()}"
HOST = {4: "192.0.2.1", 6: "2001:db8::1"}
GUEST = {4: "192.0.2.10", 6: "2001:db8::10"}
MAC = "52:54:00:12:34:56"
SERVER = """
import select, socket, sys
sockets = [socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
           for port in sys.argv[1:]]
print("ready", flush=True)
while True:
    for one in select.select(sockets, [], [])[0]:
        one.accept()[0].close()
"""
CLIENT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
    print("open")
except OSError as error:
    print("closed")
"""


class Lab:
    """A host with a bridge, a guest on a port of it, and servers on both sides."""

    def __init__(self, make, folder):
        self.folder, self.servers = folder, []
        self.host, self.guest = make(), make()
        self.host.add("br0", "bridge", HOST[4] + "/24", HOST[6] + "/64")
        self.host.ip(f"link add vnet0 type veth peer name eth0 netns {self.guest.name} "
                     f"address {MAC}")
        self.guest.up("eth0", GUEST[4] + "/24", GUEST[6] + "/64")
        self.host.ip("link set vnet0 master br0")
        self.host.up("vnet0")
        self.serve(self.host, 80, 443, 8080)
        self.serve(self.guest, 22, 80, 25)

    @staticmethod
    def words(where, *words):
        # nsenter, not `ip netns exec`, which would hide /sys/fs/bpf.
        return ["nsenter", f"--net={where.path}", *words]

    def serve(self, where, *ports):
        server = subprocess.Popen(self.words(where, sys.executable, "-c", SERVER,
                                             *map(str, ports)), stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stdout.readline() == "ready\n"

    def sluice(self, *words):
        return subprocess.run(self.words(self.host, SLUICE, *words), text=True, timeout=60,
                              capture_output=True, env={**os.environ, "SLUICE_STATE": STATE})

    def attach(self, name):
        done = subprocess.run([SLUICE, "convert", "--from", "nwfilter", GOLDEN / f"{name}.xml"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        path = self.folder / "policy.yaml"
        path.write_text(done.stdout)
        path.chmod(0o644)
        command = re.search(r"attach it with: sluice (.*)$", done.stderr, re.M)[1]
        given = {"DEVICE": "vnet0", "POLICY": str(path), "MAC": MAC}
        done = self.sluice(*(given.get(word, word) for word in shlex.split(command)))
        assert done.returncode == 0, done.stderr

    def opens(self, way, port, family=4, wait=5):
        where, to = (self.guest, HOST) if way == "out" else (self.host, GUEST)
        done = subprocess.run(self.words(where, sys.executable, "-c", CLIENT, to[family],
                                         str(port), str(wait)), capture_output=True, text=True,
                              timeout=60)
        return done.stdout == "open\n"

    def close(self):
        self.sluice("detach", "--all")
        for server in self.servers:
            server.kill()
            server.communicate()
        subprocess.run(["rm", "-rf", STATE], check=False)


@pytest.fixture
def lab(make_netns, tmp_path):
    made = Lab(make_netns, tmp_path)
    yield made
    made.close()


ALL = [(way, port, family) for family in (4, 6)
       for way, ports in (("out", (80, 443, 8080)), ("in", (22, 80, 25))) for port in ports]


@pytest.mark.parametrize("name, opens", [
    # IPv6 is open, as libvirt leaves it
    ("agent-network-filter", [("out", 80, 4), ("out", 443, 4)] + [f for f in ALL if f[2] == 6]),
    # its --address is IPv4 alone; ssh comes from another network only
    ("web-server", [("in", 80, 4)]),
    ("both-families", [("out", 443, 4), ("out", 443, 6), ("in", 22, 6)]),
])
def test_nwfilter_on_a_device(lab, name, opens):
    assert all(lab.opens(*flow) for flow in ALL)
    lab.attach(name)
    assert [flow for flow in ALL if lab.opens(*flow, wait=5 if flow in opens else 0.5)] == \
        [flow for flow in ALL if flow in opens]
    lab.sluice("detach", "--all")
    assert all(lab.opens(*flow) for flow in ALL)
