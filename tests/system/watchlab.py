# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the tests of `sluice watch` share."""
import os
import socket

from devlab import WAIT


def told(word, device=None, **want):
    def holds(line):
        return (line["change"] == word and device in (None, line["target"]["name"]) and
                all(line[k] == v for k, v in want.items()))
    return holds


class Guest:
    """A tap that is a port of br0, and what of its frames arrives at the host."""

    def __init__(self, host, name="vnet0", up=True):
        self.host, self.tap, self.name = host, host.tap(name), name
        host.ip(f"link set {name} master br0")
        if up:
            host.ip(f"link set {name} up")

        def listen():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.settimeout(WAIT)
            sock.bind(("0.0.0.0", 9))
            return sock
        self.sock = host.within(listen)

    def sends(self, *arguments, **words):
        os.write(self.tap, self.host.frame(*arguments, **words))

    def arrives(self, *arguments):
        """The frame arrives, or one that is allowed and sent behind it does alone."""
        self.sends(*arguments)
        try:
            self.sock.settimeout(0.2)
            return self.sock.recv(100) == b"data"
        except TimeoutError:
            return False

    def close(self):
        self.sock.close()
