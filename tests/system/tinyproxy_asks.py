#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""tinyproxy_asks.py FOLDER: starts tinyproxy with FOLDER/tinyproxy.conf, on port 8888 of this
network namespace, and asks it for each host of the JSON list on standard input. Prints, for
each, whether its filter lets the host pass. Nothing is reached: there is no network here."""
import json
import pathlib
import socket
import subprocess
import sys
import time

PORT = 8888


def wait(process):
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)
    sys.exit("tinyproxy does not listen")


def passes(host):
    where = f"[{host}]" if ":" in host else host
    with socket.create_connection(("127.0.0.1", PORT), 10) as s:
        s.sendall(f"GET http://{where}/ HTTP/1.0\r\nHost: {where}\r\n\r\n".encode())
        status = s.makefile("rb").readline().split()[1]
    assert status in (b"403", b"500"), (host, status)   # filtered; not resolved or not reached
    return status == b"500"


def main():
    hosts = json.load(sys.stdin)
    conf = pathlib.Path(sys.argv[1]) / "tinyproxy.conf"
    with subprocess.Popen(["tinyproxy", "-d", "-c", conf], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            wait(process)
            print(json.dumps([passes(host) for host in hosts]))
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
