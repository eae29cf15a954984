# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice on the devices of one network namespace: attach, detach, status, and
the events as they come, with a state of its own in a bpf file system of its own."""
import contextlib
import json
import subprocess
import threading

from lab import SLUICE, WAIT, environment, sh


class Events:
    """`sluice monitor -o json`, read by a thread."""

    def __init__(self, argv, env, errors):
        self.errors = open(errors, "w+", encoding="utf-8")
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        self.records = []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            record = json.loads(line)
            with self.changed:
                self.records.append(record)
                self.changed.notify_all()

    def position(self):
        with self.changed:
            return len(self.records)

    def wait(self, match, position=0, seconds=WAIT):
        """The index behind the first record for which match is true; None: none came."""
        def find():
            return next((i + 1 for i, r in enumerate(self.records)
                         if i >= position and match(r)), None)
        with self.changed:
            self.changed.wait_for(find, seconds)
            return find()

    def between(self, start, end):
        with self.changed:
            return self.records[start:end]

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.thread.join(WAIT)
            self.process.stdout.close()
            self.errors.close()


class Guard:
    def __init__(self, ns, folder):
        self.ns, self.folder = ns, folder
        self.bpf = folder / "bpf"
        self.bpf.mkdir(mode=0o700)
        sh("mount", "-t", "bpf", "-o", "mode=0700", "none", str(self.bpf))
        self.state = self.bpf / "sluice"
        self.env = environment({"SLUICE_STATE": str(self.state)})
        self.policies, self.monitor = 0, None

    def argv(self, *words):
        return ["nsenter", f"--net=/run/netns/{self.ns}", SLUICE, *map(str, words)]

    def run(self, *words, code=0, timeout=60):
        """Runs sluice; its exit code must be the one that is said (None: any)."""
        done = subprocess.run(self.argv(*words), env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout)
        assert code is None or done.returncode == code, \
            f"sluice {' '.join(map(str, words))}: {done.returncode}: {done.stderr}{done.stdout}"
        return done

    def policy(self, text):
        self.policies += 1
        path = self.folder / f"policy-{self.policies}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def attach(self, device, policy, *options, code=0):
        return self.run("attach", "--dev", device, "-p", self.policy(policy), *options, code=code)

    def detach(self, device, code=0):
        return self.run("detach", "--dev", device, code=code)

    def status(self, device=None):
        """All targets, or the one of a device; None if it has none."""
        if not self.state.exists():
            return None if device else []
        targets = json.loads(self.run("status", "-o", "json").stdout)["targets"]
        if device is None:
            return targets
        found = [target for target in targets if target["name"] == device]
        assert len(found) <= 1, found
        return found[0] if found else None

    def watch(self):
        """Begins to read events; after the first attach, which makes the state."""
        self.monitor = Events(self.argv("monitor", "-o", "json"), self.env,
                              self.folder / "monitor.err")
        return self.monitor

    @contextlib.contextmanager
    def watching(self, policy, pattern):
        """`sluice watch` for the devices of a pattern."""
        process = subprocess.Popen(self.argv("watch", "--dev", pattern, "-p", self.policy(policy)),
                                   env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def close(self):
        try:
            if self.monitor:
                self.monitor.close()
            if self.state.exists():
                self.run("detach", "--all", code=None)
        finally:
            sh("umount", "-l", str(self.bpf))
