# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a flow carries: the segments of a connection, by hand, and what the meter says of them."""
import pytest

from lab import PEER4, PEER6

FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
ETHERNET, UDP = 14, 8
# TCP from one port to the echo server, twice, ended by RST: the second one gets the first
# one's place among the flows. Then 20,000 bytes to it and back, ended by both.
CONNECTIONS = """
import socket, struct, sys
to, port, source, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
family = socket.AF_INET6 if ":" in to else socket.AF_INET
def connection(source, n, reset):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", source))
        s.settimeout(10)
        s.connect((to, port))
        data = bytes(1000)
        for _ in range(n // 1000):
            s.sendall(data)
            got = 0
            while got < 1000:
                got += len(s.recv(1000 - got))
        if reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            s.shutdown(socket.SHUT_WR)
            assert not s.recv(1)
for reset in (True, True, False):
    connection(source, n, reset)
"""


def peer(v6):
    return PEER6 if v6 else PEER4


def head(v6):
    return 40 if v6 else 20


def meter(tree, path):
    target = tree.status()[tree.id(path)]
    return target["tx_bytes"], target["rx_bytes"]
