# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Ways around a policy from inside of a pod whose root has CAP_NET_ADMIN over its own network: each
arrives while nothing is enforced, and no more once a policy forbids it."""
import ipaddress

from lab import cgroup2, until
from outside import ALLOWED, DENIED, HERE4, HERE6, TCP, UDP
from pods_modes import CART_ANY, Api
from probes import addresses, nodes_python, sends

# Each makes UDP or TCP for DENIED, by another way or from another address, again and again.
TRICKS = f"""
import os, socket, subprocess, time
HERE, GOOD, BAD = "{HERE4}", {ALLOWED}, {DENIED}
def run(line):
    done = subprocess.run(line.split(), capture_output=True, text=True)
    if done.returncode:
        print(line, done.stdout, done.stderr, flush=True)
    return done.stdout
me = run("/usr/bin/ip -o -4 addr show dev eth0").split()[3]
own, length = me.split("/")
gateway = run("/usr/bin/ip -4 route show default").split()[2]
head = own.rsplit(".", 1)[0]
# an address that is another's; a device of its own on the pod's, with another MAC
run(f"/usr/bin/ip addr add {{head}}.241/{{length}} dev eth0")
run("/usr/bin/ip link add mv0 link eth0 type macvlan mode bridge")
run(f"/usr/bin/ip addr add {{head}}.242/{{length}} dev mv0 noprefixroute")
run("/usr/bin/ip link set mv0 up")
run(f"/usr/bin/ip route add {{gateway}} dev mv0 table 42")
run(f"/usr/bin/ip route add default via {{gateway}} dev mv0 table 42")
run(f"/usr/bin/ip rule add from {{head}}.242 table 42")
# what is asked for is allowed; the pod's own netfilter makes something else of it
run("/usr/sbin/iptables-nft -t nat -A OUTPUT -p tcp -d %s --dport %s -m owner --uid-owner 7 "
    "-j DNAT --to-destination %s:%s" % (HERE, GOOD, HERE, BAD))
def from_address(source):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        s.sendto(b"x", (HERE, BAD))
def as_another():
    if not os.fork():
        try:
            os.setuid(7)
            socket.create_connection((HERE, GOOD), 1).close()
        except OSError:
            pass
        os._exit(0)
    os.wait()
def raw_ip():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 17) as s:
        s.sendto(b"\\x10\\x01" + BAD.to_bytes(2, "big") + b"\\x00\\x09\\x00\\x00x", (HERE, 0))
while True:
    for attempt in (lambda: from_address(f"{{head}}.241"), lambda: from_address(f"{{head}}.242"),
                    as_another, raw_ip, lambda: socket.create_connection((HERE, GOOD), 1).close()):
        try:
            attempt()
        except OSError as error:
            print(error, flush=True)
    time.sleep(0.3)
"""


def arrived(cluster, made):
    """{(own, 241 or 242, protocol, port)}"""
    own = next(a for a in addresses(made) if "." in a)
    found = set()
    for name, address in [("own", own)] + [
            (n, str(ipaddress.ip_address(own.rsplit(".", 1)[0] + f".{n}"))) for n in (241, 242)]:
        found |= {(name, protocol, port) for _, protocol, port in cluster.outside.arrived({address})}
    return found


def becomes(cluster, made, want):
    def look():
        cluster.outside.forget()
        until(lambda: arrived(cluster, made) >= want, 8, 0.2)
        return arrived(cluster, made) == want
    return until(look, 60)


GOOD = {("own", TCP, ALLOWED)}
ALL = GOOD | {("own", TCP, DENIED), ("own", UDP, DENIED), (241, UDP, DENIED), (242, UDP, DENIED)}


def test_root_of_the_pods_network(cluster, sluice, start):
    volumes, mounts = nodes_python()
    made = start("tricks", "/usr/bin/python3", "-c", TRICKS, labels={"app": "cart"}, volumes=volumes,
                 container={"volumeMounts": mounts, "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}})
    assert becomes(cluster, made, ALL), (arrived(cluster, made), cluster.log_of("tricks")[-2000:])
    pods = Api(sluice)
    try:
        pods.put(CART_ANY % (HERE4, HERE6, ALLOWED))
        assert becomes(cluster, made, GOOD), (arrived(cluster, made), cluster.log_of("tricks")[-2000:])
    finally:
        pods.close()


# It leaves its cgroup for the node's own, and makes a socket there.
LEAVE = f"""
import socket, time
own = open("/proc/self/cgroup").read()
open("/cgroup/cgroup.procs", "w").write("0")
assert open("/proc/self/cgroup").read() != own
while True:
    for to in ("{HERE4}", "{HERE6}"):
        for port in ({ALLOWED}, {DENIED}):
            try:
                socket.create_connection((to, port), 1).close()
            except OSError as error:
                print(error, flush=True)
    time.sleep(0.3)
"""


def test_a_process_that_leaves_its_cgroup(cluster, sluice, start):
    """with the node's cgroups mounted: the hooks of the pod's see nothing of it, its veth does"""
    volumes, mounts = nodes_python()
    volumes.append({"name": "cgroup", "hostPath": {"path": cgroup2()}})
    mounts.append({"name": "cgroup", "mountPath": "/cgroup"})
    made = start("leaves", "/usr/bin/python3", "-c", LEAVE, labels={"app": "cart"}, volumes=volumes,
                 container={"volumeMounts": mounts, "securityContext": {"privileged": True}})
    both = {(f, TCP, p) for f in (4, 6) for p in (ALLOWED, DENIED)}
    assert sends(cluster, made, both), cluster.log_of("leaves")[-2000:]
    pods = Api(sluice)
    try:
        pods.put(CART_ANY % (HERE4, HERE6, ALLOWED))
        assert sends(cluster, made, {(f, TCP, ALLOWED) for f in (4, 6)}), cluster.log_of("leaves")[-2000:]
    finally:
        pods.close()


def test_an_address_that_the_server_takes(cluster):
    """tests/system/test_cli_kubernetes_services.py has what becomes of it."""
    cluster.apply([{"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "odd"},
                    "subsets": [{"addresses": [{"ip": "::ffff:192.0.2.2"}], "ports": [{"port": 80}]}]}],
                  "--dry-run=server")
