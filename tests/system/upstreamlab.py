# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Servers that a forwarder asks: what is odd about their answers, and DNS over TLS."""
import contextlib
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import dnsmsg
import forwardlab as fw
from echoes import IPV6_FREEBIND


def long_by_tcp(lab, records):
    """UDP: cut. TCP: all, 700 bytes at a time."""
    def handler(query):
        if not lab.says.by_stream:
            return [dnsmsg.answer(query, flags=dnsmsg.QR | dnsmsg.RD | dnsmsg.RA | dnsmsg.TC)]
        return [dnsmsg.answer(query, records)]
    lab.says.handler, lab.says.piece = handler, 700


class Tls:
    """dnsmasq by TLS at port 853 of the resolvers that say: what is asked is asked of it."""

    def __init__(self, lab, cert, key, address):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.lab, self.served = lab, 0
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = lab.socket(lab.peer, family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        self.listener.bind((address, 853))
        self.listener.listen(8)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        with contextlib.suppress(OSError), self.context.wrap_socket(raw, server_side=True) as s:
            while size := s.recv(2):
                query = s.recv(struct.unpack("!H", size)[0])
                self.served += 1
                for message in self.lab.says.plain(query):
                    s.sendall(struct.pack("!H", len(message)) + message)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture(scope="module")
def certificate(dnslab):
    cert, key = (dnslab.folder / name for name in ("cert.pem", "key.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days",
                    "2", "-subj", "/CN=dns.example", "-addext", "subjectAltName=DNS:dns.example"],
                   check=True, capture_output=True)
    cert.chmod(0o644)
    return cert, key


def believing(certificate):
    """The words before a command for which the certificate is the only one."""
    return ["unshare", "-m", "--propagation", "private", "sh", "-c",
            'mount --bind "$0" /etc/ssl/certs/ca-certificates.crt && exec "$@"', str(certificate)]


def svcb(*params, target="."):
    data = struct.pack("!H", 1) + dnsmsg.name("" if target == "." else target)
    return data + b"".join(struct.pack("!HH", k, len(v)) + v for k, v in params)


ALPN, HINT4, ECH, HINT6 = (1, b"\2h2"), (4, bytes([198, 51, 100, 9])), (5, b"ech-config"), (
    6, bytes(16))
MANDATORY = (0, b"\0\5")
WITH_HINTS = [svcb(ALPN, HINT4, ECH, HINT6), svcb(MANDATORY, ALPN, ECH)]
kinds = pytest.mark.parametrize("kind", [dnsmsg.HTTPS, 64], ids=["HTTPS", "SVCB"])
stripped = pytest.mark.parametrize("strip, want", [
    ("", WITH_HINTS),
    ("strip: [ech]", [svcb(ALPN, HINT4, HINT6)]),
    ("strip: [hints]", [svcb(ALPN, ECH), svcb(MANDATORY, ALPN, ECH)]),
    ("strip: [ech, hints]", [svcb(ALPN)]),
], ids=["none", "ech", "hints", "both"])


def with_hints(kind):
    """What a resolver says of a name whose servers have encrypted hellos."""
    return lambda q: [dnsmsg.answer(q, [dnsmsg.record(None, kind, data) for data in WITH_HINTS])]


def services(message, kind):
    return sorted(data for _, k, _, data in fw.records(message) if k == kind)
