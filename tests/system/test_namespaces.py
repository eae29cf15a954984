# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A command may make network namespaces of its own and hold any address there.
What flows there must say nothing about the target's own namespace."""
import json
import subprocess

import pytest

from lab import until

PYTHON = "/usr/bin/python3"
SERVICE, ALLOWED = ("127.0.0.1", 5432), ("127.0.0.2", 8888)
POLICY = f"sluice: 1\nname: namespaces\nrules:\n  - allow: {ALLOWED[0]}:{ALLOWED[1]}\n"
ECHO = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind({SERVICE})
while True:
    data, sender = s.recvfrom(100)
    s.sendto(b"service " + data, sender)
"""
# In a namespace of its own it owns the service's address, and sends from it to
# what the policy allows. Then, at home, it "answers".
ATTACK = f"""
import ctypes, fcntl, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def elsewhere():
    if libc.unshare(0x10000000 | 0x40000000):
        sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x41))   # SIOCSIFFLAGS: up
    s.bind({SERVICE})
    s.sendto(b"opens", {ALLOWED})

pid = os.fork()
if not pid:
    elsewhere()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind({ALLOWED})
s.settimeout(1)
try:
    s.connect({SERVICE})    # sendto() would be refused before it is a packet
    s.send(b"hello")
    print(json.dumps(s.recv(100).decode()))
except OSError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def service(lab):
    server = subprocess.Popen(lab.inside(lab.workload) + [PYTHON, "-c", ECHO])
    yield server
    server.kill()
    server.wait()


def outside(lab):
    done = subprocess.run(lab.inside(lab.workload) + [PYTHON, "-c", ATTACK], capture_output=True,
                          text=True, timeout=10)
    return json.loads(done.stdout)


def test_a_flow_in_a_namespace_of_its_own_opens_nothing_at_home(lab, service):
    assert until(lambda: outside(lab) == "service hello", 5)
    done = lab.run(POLICY, PYTHON, "-c", ATTACK, options=("--user", "nobody"))
    assert done.out, done
    assert json.loads(done.out) != "service hello"
    refused = [e for e in done.events if e["destination"]["port"] == SERVICE[1]]
    assert len(refused) == 1 and refused[0]["rule"] is None, done.events
