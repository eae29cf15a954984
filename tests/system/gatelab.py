# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""How a runtime may start a gate, and what the gate tells syslog."""
import contextlib
import socket
import sys

# Words before a command that has the signal blocked by which a gate ends: masks are inherited.
BLOCKED = [sys.executable, "-c", "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, "
           "[signal.SIGALRM]); os.execvp(sys.argv[1], sys.argv[1:])"]


@contextlib.contextmanager
def syslog(folder):
    """Words before a command that has a /dev of its own; what it has told syslog, at the end."""
    told = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(folder / "log"))
        log.setblocking(False)
        yield ["unshare", "-m", "sh", "-c", f'mount -t tmpfs dev /dev && ln -s {folder}/log /dev/log && exec "$@"',
               "-"], told
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(log.recv(1000).decode())
