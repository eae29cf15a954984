# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced with forwarders for cgroups of the test's."""
import os
import signal
import subprocess

import lab
from lab import PYTHON, until
from sluicedlab import SLUICED

AT, ELSEWHERE = "127.64.0.53", "127.64.0.54"


class Sluiced:
    """In the workload's network namespace, for the cgroups /TOP/a*."""

    def __init__(self, tree):
        self.tree, self.child = tree, None
        self.folder = tree.lab.new_folder()
        (self.folder / "policies.d").mkdir()
        self.log = self.folder / "log"
        tree.env["SLUICE_SOCKET"] = str(self.folder / "s.sock")
        top = "/" + tree.top.name
        (self.folder / "sluiced.yaml").write_text(
            "sluiced: 1\ntargets:\n"
            f'  - {{match: {{cgroup: "{top}/a*"}}, policy: agent}}\n'
            f'  - {{match: {{cgroup: "{top}/b*"}}, policy: other}}\n', encoding="utf-8")
        self.put("other", "sluice: 1\nname: other\nrules: []\n")

    def put(self, name, text):
        path = self.folder / "policies.d" / f"{name}.yaml"
        new = path.with_name(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(path)

    def start(self, text, before=()):
        self.put("agent", text)
        with open(self.log, "a", encoding="utf-8") as out:
            self.child = subprocess.Popen(
                [*self.tree.lab.inside(), *before, SLUICED, "-c",
                 str(self.folder / "sluiced.yaml")], env=self.tree.env, stdout=out, stderr=out)
        assert until(lambda: "sluiced: ready" in self.said()), self.said()

    def said(self):
        return self.log.read_text(encoding="utf-8")

    def says(self, text):
        assert until(lambda: text in self.said()), self.said()

    def target(self, path, policy_name="agent", state="attached"):
        def look():
            return any(t.get("cgroup") == path.stat().st_ino and t["policy"] == policy_name and
                       t["state"] == state for t in self.status())
        assert until(look), (self.said(), self.status())

    def status(self):
        return list(self.tree.status().values())

    def processes(self, name):
        """By the name that they gave themselves; those that are the daemon's."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                    word, rest = f.read().split("(", 1)[1].rsplit(")", 1)
            except OSError:
                continue
            if word == name and rest.split()[0] not in "ZX" and \
                    self.is_below(int(rest.split()[1])):
                found.append(int(pid))
        return found

    def is_below(self, pid):
        while pid > 1:
            if pid == self.child.pid:
                return True
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                    pid = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                return False
        return False

    def forwarder(self):
        found = []

        def look():
            found[:] = self.processes("sluice-dns")
            return len(found) == 1
        assert until(look), (found, self.said())
        return found[0]

    def stop(self, number=signal.SIGTERM):
        if self.child:
            self.child.send_signal(number)
            self.child.wait(20)
            self.child = None

    def close(self):
        self.stop()
        self.tree.env.pop("SLUICE_SOCKET")


def client(tree, path, *lines, at=AT):
    made = tree.lab
    agent = lab.Agent(made.inside() + tree.within(path) +
                      made.resolvconf(f"nameserver {at}", *lines) +
                      [PYTHON, str(made.folder / "dns_client.py")], made.new_folder())
    made.agents.append(agent)
    agent.forwarder = at
    del made.says.asked[:]
    return agent
