# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a pod does first of all: datagrams to what no policy here allows, then connections to
both ports on both families. What arrived is counted outside."""
import re

from lab import until
from outside import ALLOWED, DENIED, HERE4, HERE6, TCP, UDP

ONCE = "\n".join(
    [f"echo x | netcat -u -q 0 -w 1 {a} {DENIED} >/dev/null 2>&1" for a in (HERE4, HERE6)] +
    [f"netcat -z -w 5 {a} {p} && echo yes {a} {p} || echo no {a} {p}"
     for a in (HERE4, HERE6) for p in (ALLOWED, DENIED)])
AGAIN = f"while :; do\n{ONCE}\nsleep 0.5\ndone"
FAMILIES = (4, 6)
ALL = {(f, TCP, p) for f in FAMILIES for p in (ALLOWED, DENIED)} | \
      {(f, UDP, DENIED) for f in FAMILIES}
ONLY_ALLOWED = {(f, TCP, ALLOWED) for f in FAMILIES}
ONLY_DENIED = {(f, TCP, DENIED) for f in FAMILIES}
PYTHON_IN = ("bin", "lib", "lib64", "usr")      # the node's


def nodes_python():
    """What a pod needs for /usr/bin/python3: its volumes, and its container's mounts of them."""
    return ([{"name": n, "hostPath": {"path": f"/{n}"}} for n in PYTHON_IN],
            [{"name": n, "mountPath": f"/{n}", "readOnly": True} for n in PYTHON_IN])


def asks(targets):
    """A script without an end: a connection to each (address, port), and what came of it."""
    one = "\n".join(f"netcat -z -w 2 {to} {port} && echo yes {to} {port} || echo no {to} {port}"
                    for to, port in sorted(targets))
    return f"while :; do\n{one}\necho end\nsleep 0.3\ndone"


def becomes(cluster, name, want):
    """What that script reaches is this, in its last whole round, before long."""
    said = {}

    def look():
        rounds = cluster.log_of(name).split("end\n")
        said["last"] = rounds[-2] if len(rounds) > 1 else ""
        found = re.findall(r"^(yes|no) (\S+) (\d+)$", said["last"], re.MULTILINE)
        return found and {(to, int(port)) for how, to, port in found if how == "yes"} == want
    assert until(look, 60, 0.3), (name, said, want)


def addresses(pod):
    return {entry["ip"] for entry in pod["status"]["podIPs"]}


def ended(pod):
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def running(pod):
    return pod["status"].get("phase") == "Running" and len(pod["status"].get("podIPs", ())) == 2


def sends(cluster, made, want, seconds=60):
    """From now on, and until then, what arrives of a pod that probes without end becomes want."""
    def look():
        cluster.outside.forget()
        until(lambda: set(cluster.outside.arrived(addresses(made))) >= want, 8, 0.1)
        return set(cluster.outside.arrived(addresses(made))) == want
    return until(look, seconds)
