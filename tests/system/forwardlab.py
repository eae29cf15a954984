# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A workload whose names the forwarder resolves: what it is told, who serves it, and what
a resolver is asked."""
import contextlib
import os
import struct

import dnsmsg
from dnslab import GOOD, REAL, SAYS
from lab import until

EDE, ECS, COOKIE, NSID, PADDING = 15, 8, 10, 3, 12


def policy(*rules, to=None, dns="", **top):
    """The forwarder asks `to`, one or a list: dnsmasq unless told."""
    resolvers = ", ".join(f'"{a}"' for a in ([to] if isinstance(to, str) else to or [REAL[4]]))
    text = "sluice: 1\nname: forward\n"
    text += f"dns: {{mode: forward, resolvers: [{resolvers}]{', ' + dns if dns else ''}}}\n"
    text += "".join(f"{k}: {v}\n" for k, v in top.items())
    return text + "rules:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules or [GOOD])


@contextlib.contextmanager
def workload(lab, text=None, lines=(), **kw):
    """The agent, agent.forwarder being its resolver's address."""
    with lab.workload_of("run", text or policy(), lines, **kw) as agent:
        del lab.says.asked[:]
        said = agent.do("command", argv=["grep", "^nameserver", "/etc/resolv.conf"])["reply"]
        [(_, agent.forwarder)] = [line.split() for line in said.splitlines()]
        yield agent


def process_of(agent):
    """The forwarder's process: a child of `sluice`."""
    def find():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                    name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
                if name == "sluice-dns" and int(rest.split()[1]) == agent.process.pid:
                    return int(pid)
        return None
    pid = until(find)
    assert pid, "no forwarder"
    return pid


def is_alive(pid):
    """Not ended, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def ask(agent, name, kind=dnsmsg.A, tail=b"", **kw):
    """One datagram to the forwarder: its answer, or None."""
    message = dnsmsg.query(name, kind, tail=tail)
    got = agent.do("ask", to=agent.forwarder, messages=[message.hex()], **kw)
    return bytes.fromhex(got["reply"][0]) if got["reply"] else None


def ask_tcp(agent, name, kind=dnsmsg.A, tail=b"", **kw):
    message = dnsmsg.query(name, kind, tail=tail)
    got = agent.do("ask_stream", to=agent.forwarder,
                   segments=[(struct.pack("!H", len(message)) + message).hex()], **kw)
    assert got["errno"] is None, got
    return bytes.fromhex(got["reply"])[2:]


def rcode(message):
    return message[3] & 15


def counts(message):
    return struct.unpack_from("!4H", message, 4)


def skip_name(message, at):
    while message[at]:
        if message[at] & 0xc0 == 0xc0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def records(message):
    """(section, type, TTL, data) of each record; section 0: answer."""
    at = skip_name(message, 12) + 4
    for section, count in enumerate(counts(message)[1:]):
        for _ in range(count):
            at = skip_name(message, at)
            kind, _, ttl, size = struct.unpack_from("!HHIH", message, at)
            yield section, kind, ttl, message[at + 10:at + 10 + size]
            at += 10 + size


def options(message):
    """The EDNS options, by code; None: no OPT record."""
    for _, kind, _, data in records(message):
        if kind == dnsmsg.OPT:
            found, at = {}, 0
            while at < len(data):
                code, size = struct.unpack_from("!HH", data, at)
                found[code] = data[at + 4:at + 4 + size]
                at += 4 + size
            return found
    return None


def extended_error(message):
    """(code, text) or None."""
    data = (options(message) or {}).get(EDE)
    return data and (struct.unpack_from("!H", data)[0], data[2:].decode())


def option(code, data):
    return struct.pack("!HH", code, len(data)) + data


def says(family=4):
    return SAYS[family]
