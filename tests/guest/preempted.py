#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""preempted.py BUILD_DIR [SECONDS]: questions that preempt each other on one CPU.

The programs of a cgroup run with migration, not preemption, disabled (kernel/bpf/cgroup.c), so
with preempt=full or PREEMPT_RT one begins in the middle of another. None may be judged by what
another asked. Prints what became of the questions; needs root, and a network namespace whose
lo is up."""
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

RESOLVER, SECONDS = "127.0.0.10", 8
ALLOWED, REFUSED = "aaaaaaaa.good.example", "eeeeeeee.evil.example"
assert len(ALLOWED) == len(REFUSED)
POLICY = f"""\
sluice: 1
name: preempted
dns: {{resolvers: [{RESOLVER}], search: []}}
rules:
  - allow: "*.good.example:7"
"""
MODES = pathlib.Path("/sys/kernel/debug/sched/preempt")


def is_preemptible():
    """Is a program of a cgroup preempted here? By the kernel's own word."""
    if not MODES.exists():
        subprocess.run(["mount", "-t", "debugfs", "none", "/sys/kernel/debug"], check=False,
                       stderr=subprocess.DEVNULL)
    try:
        return "(full)" in MODES.read_text()
    except OSError:     # no such choice on this kernel, or it is kept from us
        return "PREEMPT_RT" in pathlib.Path("/proc/version").read_text()


class Resolver:
    """Has no address to any question; counts those of the refused name."""

    def __init__(self):
        self.refused = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, peer = self.socket.recvfrom(512)
            self.refused += b"\4evil" in query
            self.socket.sendto(query[:2] + b"\x81\x80" + query[4:], peer)


def ask(build, seconds=SECONDS):
    """{"allowed": {"sent", "refused"}, "refused": {..., "arrived"}, "reasons": {reason: count}}"""
    resolver = Resolver()
    with tempfile.TemporaryDirectory() as name:
        policy, log = pathlib.Path(name, "policy.yaml"), pathlib.Path(name, "log")
        policy.write_text(POLICY)
        done = subprocess.run(
            [str(build / "sluice"), "run", "-p", str(policy), "--log", str(log),
             "--keep-privileges", "--", str(build / "tests/ask_preempted"), RESOLVER, str(seconds),
             ALLOWED, REFUSED], capture_output=True, text=True, timeout=20 * seconds, check=False)
        if done.returncode:
            raise AssertionError(f"{done.returncode}: {done.stderr}")
        result, reasons = json.loads(done.stdout), {}
        for line in log.read_text().splitlines():
            event = json.loads(line)
            said = event["reason"], (event.get("question") or {}).get("name")
            reasons[" ".join(map(str, said))] = reasons.get(" ".join(map(str, said)), 0) + \
                event["count"]
    result["refused"]["arrived"], result["reasons"] = resolver.refused, reasons
    return result


if __name__ == "__main__":
    print("preemptible:", is_preemptible())
    print(json.dumps(ask(pathlib.Path(sys.argv[1]).resolve(), int((sys.argv[2:] or [SECONDS])[0]))))
