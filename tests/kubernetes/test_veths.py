# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Packets that a pod makes itself (CAP_NET_RAW, which every pod has by default): the hooks of its
cgroup do not see them, its veth does."""
import json

import pytest

from lab import until
from outside import ALLOWED, DENIED, HERE4, HERE6, UDP
from pods_modes import CART_ANY, Api
from probes import FAMILIES, addresses, nodes_python, sends

# A socket's connection first: it makes the gateway's address known. Then datagrams without end.
RAW = f"""
import fcntl, socket, struct, time
def sum16(data):
    total = sum(struct.unpack(f"!{{len(data) // 2}}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
socket.create_connection(("{HERE4}", {ALLOWED})).close()
gateway = bytes.fromhex(open("/proc/net/arp").read().splitlines()[1].split()[3].replace(":", ""))
own = bytes.fromhex(open("/sys/class/net/eth0/address").read().strip().replace(":", ""))
with socket.socket() as s:
    me4 = fcntl.ioctl(s, 0x8915, b"eth0".ljust(40, bytes(1)))[20:24]
me6 = next(bytes.fromhex(line.split()[0]) for line in open("/proc/net/if_inet6")
           if line.split()[3] == "00" and line.split()[5] == "eth0")
to4, to6 = socket.inet_aton("{HERE4}"), socket.inet_pton(socket.AF_INET6, "{HERE6}")
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
mine = 4000
while True:
    mine += 1       # a new flow each time: what was answered before it was judged goes on
    for port in ({DENIED}, {ALLOWED}):
        udp = struct.pack("!HHHH", mine, port, 12, 0) + b"raw!"
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 7, 0, 64, 17, 0) + me4 + to4
        head = head[:10] + struct.pack("!H", sum16(head)) + head[12:]
        raw.send(gateway + own + b"\\x08\\x00" + head + udp)
        check = sum16(me6 + to6 + struct.pack("!II", len(udp), 17) + udp)
        udp = udp[:6] + struct.pack("!H", check) + udp[8:]
        raw.send(gateway + own + b"\\x86\\xdd" + struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) +
                 me6 + to6 + udp)
    time.sleep(0.3)
"""
BOTH = {(f, UDP, p) for f in FAMILIES for p in (ALLOWED, DENIED)}
LATE = 5
ONLY = {(f, UDP, ALLOWED) for f in FAMILIES}


@pytest.fixture
def raw(start):
    """raw(NAME): a pod that sends them."""
    volumes, mounts = nodes_python()
    return lambda name: start(name, "/usr/bin/python3", "-c", RAW, labels={"app": "cart"},
                              volumes=volumes, container={"volumeMounts": mounts})


def test_a_packet_socket(cluster, sluice, raw):
    made = raw("raw")
    assert sends(cluster, made, BOTH), cluster.log_of("raw")    # nothing is enforced
    pods = Api(sluice)
    try:
        pods.put(CART_ANY % (HERE4, HERE6, ALLOWED))
        assert sends(cluster, made, ONLY), (cluster.outside.arrived(addresses(made)),
                                            cluster.log_of("raw"), json.dumps(sluice.status()))
        veths = [t for t in sluice.targets("device") if t["pod"]["name"] == "raw"]
        assert len(veths) == 1 and veths[0]["denied"] and veths[0]["policy"] == "default.raw"
        # those that come while it is enforced are held by the CNI until it is: not one packet
        late = [raw(f"late-{i}") for i in range(LATE)]
        theirs = set().union(*map(addresses, late))
        assert until(lambda: cluster.outside.senders(ALLOWED) >= theirs, 60, 0.5)
        arrived = cluster.outside.arrived(theirs)
        assert set(arrived) & BOTH == ONLY, arrived
        cluster.delete("pod", "raw")
        assert until(lambda: cluster.gone(made), 60, 0.2)
        assert until(lambda: sluice.has_only(*late), 60, 0.5), sluice.status()["targets"]
    finally:
        pods.close()
