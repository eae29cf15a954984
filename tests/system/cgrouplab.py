# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A tree of cgroups and a place for pins of a test's own, over the workload and the peer
of lab.py: `sluice attach --cgroup` in it."""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile

import lab as base
from lab import SLUICE, cgroup2, sh, until


def policy(*rules, **top):
    """Rules are YAML flow mappings without braces."""
    text = "sluice: 1\n" + "".join(f"{k}: {v}\n" for k, v in top.items())
    return text + "rules:" + ("\n" if rules else " []\n") + \
        "".join(f"  - {{{rule}}}\n" for rule in rules)


class Cgroups:
    def __init__(self, name, lab):
        self.lab = lab
        self.mount = pathlib.Path(tempfile.mkdtemp(prefix=f"sl-{name}-bpf-"))
        sh("mount", "-t", "bpf", "none", str(self.mount))
        self.state = self.mount / "sluice"
        self.env = base.environment({"SLUICE_STATE": str(self.state)})
        self.top = pathlib.Path(cgroup2()) / f"sl-{name}-{os.getpid()}"
        self.top.mkdir()
        self.monitor, self.log = None, None

    def make(self, name):
        path = self.top / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def id(path):
        return path.stat().st_ino

    def remove(self, path):
        """With all below it. What is in it is killed."""
        with contextlib.suppress(FileNotFoundError):
            (path / "cgroup.kill").write_text("1")
            assert until(lambda: "populated 0" in (path / "cgroup.events").read_text())
            for below, _, _ in os.walk(path, topdown=False):
                os.rmdir(below)

    # ---- sluice ----

    def sluice(self, *words, check=True, **kw):
        done = subprocess.run([SLUICE, *map(str, words)], env=self.env, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **kw)
        assert not check or done.returncode == 0, done.stderr
        return done

    def file(self, text):
        path = self.lab.new_folder() / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def attach(self, path, text, *options, check=True):
        return self.sluice("attach", "--cgroup", path, "-p", self.file(text), *options,
                           check=check)

    def detach(self, path, check=True):
        return self.sluice("detach", "--cgroup", path, check=check)

    def status(self):
        """Targets by cgroup id."""
        said = json.loads(self.sluice("status", "-o", "json").stdout)
        return {t["cgroup"]: t for t in said["targets"]}

    def rules(self, path):
        lines = self.sluice("rules", "--cgroup", path, "-o", "json").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def watch(self):
        self.log = self.lab.new_folder() / "events"
        with open(self.log, "w", encoding="utf-8") as out:
            self.monitor = subprocess.Popen([SLUICE, "monitor", "-o", "json"], env=self.env,
                                            stdout=out, stderr=subprocess.STDOUT)
        assert until(self.listens), "the monitor does not listen"

    def listens(self):
        """It has a signalfd: from now on its end is orderly, and drains."""
        for fd in pathlib.Path(f"/proc/{self.monitor.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):    # it was closed meanwhile
                if "[signalfd]" in os.readlink(fd):
                    return True
        return False

    def events(self):
        """All that were written, once the monitor has ended."""
        self.stop_watching()
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop_watching(self):
        if self.monitor:
            self.monitor.terminate()
            self.monitor.wait(10)
            self.monitor = None

    # ---- the workload ----

    @staticmethod
    def within(path):
        """The words before a command that begins its life in a cgroup."""
        return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(path)]

    def agent(self, path, before=(), **kw):
        return self.lab.agent(before=[*self.within(path), *before], **kw)

    def reset(self):
        """Nothing is attached, and no cgroup is left, whatever a test did."""
        self.stop_watching()
        for agent in self.lab.agents:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                agent.close()
        self.lab.agents.clear()
        self.sluice("detach", "--all", check=False)
        for path in sorted(self.top.iterdir(), reverse=True):
            if path.is_dir():
                self.remove(path)

    def close(self):
        self.reset()
        self.remove(self.top)
        sh("umount", str(self.mount), check=False)
        os.rmdir(self.mount)
