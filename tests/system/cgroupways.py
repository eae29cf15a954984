# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the tests of cgroups share: two policies, who is reached, a process that asks all the time."""
import json
import socket
import subprocess

import pytest

from cgrouplab import policy
from lab import ECHO, PEER4, PEER6, PYTHON, WAIT

FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
PEERS = policy(f'allow: ["{PEER4}", "{PEER6}"], id: peers', name="peers")
NOTHING = policy(name="nothing")


def peer(v6):
    return PEER6 if v6 else PEER4


def reaches(agent, to, kind="tcp", **options):
    """Was it answered?"""
    request = {"port": ECHO} if kind in ("tcp", "udp", "udp_connected") else {}
    return agent.do(kind, to=to, **request, **options)["errno"] is None


PROBER = """
import errno, json, signal, socket, sys, time
end = []
signal.signal(signal.SIGTERM, lambda *_: end.append(1))
allowed, denied = sys.argv[1:3]
count = {"allowed": 0, "refused": 0, "wrong": []}
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready", flush=True)
while not end:
    for to in allowed, denied:
        for kind in "tcp", "udp":
            said = None
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
                try:
                    s.connect((to, 7)) if kind == "tcp" else one.sendto(b"x", (to, 7))
                except OSError as e:
                    said = errno.errorcode[e.errno]
            if (said is None) != (to == allowed):
                count["wrong"].append([to, kind, said])
            count["refused" if said else "allowed"] += 1
    time.sleep(0.002)   # a flow lives for a minute, and the table has an end
print(json.dumps(count), flush=True)
"""


class Prober:
    """A process that asks for an allowed and a denied place all the time."""

    def __init__(self, tree, path, allowed, denied):
        self.tree, self.path = tree, path
        file = tree.lab.new_folder() / "prober.py"
        file.write_text(PROBER, encoding="utf-8")
        self.process = subprocess.Popen(
            [*tree.lab.inside(), *tree.within(path), PYTHON, str(file), allowed, denied],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        """What was wrong is nothing; nor was any packet judged by nobody, whose answer
        would be unsolicited, or twice."""
        self.process.terminate()
        count = json.loads(self.process.communicate(timeout=WAIT)[0])
        print(count)
        assert not count["wrong"]
        assert count["allowed"] > 50 and count["refused"] > 50
        rows = {(row["rule"], row["reason"]): row["count"] for row in self.tree.rules(self.path)}
        assert set(rows) == {("peers", "rule"), (None, "default")}
        assert rows[None, "default"] == count["refused"]


def pass_on(lab, giver, taker, name):
    path = lab.new_folder() / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o777)
        listener.listen()
        giver.send("give", path=str(path), use=name)
        with listener.accept()[0] as first:
            _, fds, _, _ = socket.recv_fds(first, 1, 1)
            first.sendall(b"x")
        giver.receive()
        taker.send("take", path=str(path), hold=name)
        with listener.accept()[0] as second:
            socket.send_fds(second, [b"x"], fds)
        taker.receive()
        socket.close(fds[0])
