# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""DNS messages (RFC 1035, RFC 6891), made byte by byte: good ones and others. Nothing
here refuses what is wrong."""
import socket
import struct

A, CNAME, NULL, PTR, MX, TXT, AAAA, SRV, OPT, HTTPS, ANY = 1, 5, 10, 12, 15, 16, 28, 33, 41, 65, 255
IN, CH = 1, 3
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
NXDOMAIN = 3


def name(text):
    """Uncompressed. bytes are taken as they are."""
    if isinstance(text, bytes):
        return text
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + \
        b"\0"


def labels(*parts):
    """Labels of any bytes, dots and NULs included."""
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def pointer(to):
    return struct.pack("!H", 0xc000 | to)


def header(ident, flags, qd=1, an=0, ns=0, ar=0):
    return struct.pack("!6H", ident, flags, qd, an, ns, ar)


def opt(options=b"", size=1232):
    return b"\0" + struct.pack("!HHIH", OPT, size, 0, len(options)) + options


def query(asked, kind=A, ident=0x1234, flags=RD, tail=b"", ar=None, klass=IN, qd=1, an=0, ns=0):
    """A question; with a tail, ARCOUNT is 1 unless told."""
    ar = ar if ar is not None else int(bool(tail))
    return header(ident, flags, qd, an, ns, ar) + name(asked) + struct.pack("!HH", kind, klass) + tail


def record(owner, kind, data, ttl=60, klass=IN, size=None):
    """owner: text, bytes, or None for a pointer to the question's name."""
    if isinstance(data, str):
        data = address(data) if kind in (A, AAAA) else name(data)
    return (pointer(12) if owner is None else name(owner)) + \
        struct.pack("!HHIH", kind, klass, ttl, len(data) if size is None else size) + data


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def question_of(message):
    """(name, type, the question's bytes) of a plain query."""
    at, parts = 12, []
    while message[at]:
        parts.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    return ".".join(parts), struct.unpack_from("!H", message, at + 1)[0], message[12:at + 5]


def answer(asked, records=(), flags=QR | RD | RA, ident=None, counts=None, question=None,
           after=b""):
    """An answer to the bytes of a query. counts: (an, ns, ar), if they lie or are not plain."""
    records = list(records)
    an, ns, ar = counts or (len(records), 0, 0)
    ident = struct.unpack_from("!H", asked)[0] if ident is None else ident
    body = question_of(asked)[2] if question is None else question
    return header(ident, flags, 1, an, ns, ar) + body + b"".join(records) + after


def read_addresses(message):
    """The addresses of an answer's section, as a plain client reads them: owners are not
    looked at."""
    count = struct.unpack_from("!H", message, 6)[0]
    at, found = 12, []

    def skip(at):
        while message[at]:
            if message[at] & 0xc0 == 0xc0:
                return at + 2
            at += 1 + message[at]
        return at + 1

    at = skip(at) + 4
    for _ in range(count):
        at = skip(at)
        kind, _, _, size = struct.unpack_from("!HHIH", message, at)
        at += 10
        if kind == A and size == 4:
            found.append(socket.inet_ntop(socket.AF_INET, message[at:at + 4]))
        elif kind == AAAA and size == 16:
            found.append(socket.inet_ntop(socket.AF_INET6, message[at:at + 16]))
        at += size
    return found
