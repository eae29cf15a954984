# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Addresses as docs/policy.md has them: prefixes, realms, and what a HOST reaches."""
import socket

from patterns import Pattern


class PolicyError(Exception):
    """The text says that this policy is an error, or it is out of reach here."""


def parse_address(text):
    """(family, number) of an address in text; family is 4 or 6."""
    try:
        if ":" in text:
            return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except OSError:
        raise PolicyError(f"not an address: {text!r}") from None


def parse_cidr(text):
    """(family, first, last) of an address or CIDR; host bits are masked."""
    address, slash, length = text.partition("/")
    family, number = parse_address(address)
    width = 32 if family == 4 else 128
    if not slash:
        length = str(width)
    if not length.isdigit() or int(length) > width:
        raise PolicyError(f"not a prefix length: {text!r}")
    span = 1 << (width - int(length))
    first = number - number % span
    return family, first, first + span - 1


def _block(text):
    return parse_cidr(text)[1:]


JUDGED_AS_V4 = [_block("::ffff:0:0/96"), _block("64:ff9b::/96")]
EMBEDDED = [_block("::ffff:0:0:0/96"), _block("64:ff9b:1::/48"), _block("2002::/16"),
            _block("2001::/32")]

# A flow's address lives in one realm: IPv4, IPv6, or one of the embedding
# blocks, which only HOSTs inside the block reach.
V4, V6, FIRST_EMBEDDED = 0, 1, 2


def inside(first, last, block):
    return block[0] <= first and last <= block[1]


def locate(text):
    """(realm, number) of a flow's address."""
    family, number = parse_address(text)
    if family == 4:
        return V4, number
    for block in JUDGED_AS_V4:
        if block[0] <= number <= block[1]:
            return V4, number & 0xffffffff
    for which, block in enumerate(EMBEDDED):
        if block[0] <= number <= block[1]:
            return FIRST_EMBEDDED + which, number
    return V6, number


def parse_host_cidr(text):
    """A CIDR where a rule or set may write one: not in the blocks judged as IPv4."""
    cidr = parse_cidr(text)
    if cidr[0] == 6 and any(inside(cidr[1], cidr[2], block) for block in JUDGED_AS_V4):
        raise PolicyError(f"write the IPv4 form of {text!r}")
    return cidr


ANY = "any"


def reach(host, realm):
    """The (first, last) that one HOST covers within a realm, or None."""
    if isinstance(host, Pattern):
        return None
    if host == ANY:
        return (0, (1 << 128) - 1) if realm in (V4, V6) else None
    family, first, last = host
    if realm == V4:
        return (first, last) if family == 4 else None
    if family == 4:
        return None
    if realm >= FIRST_EMBEDDED and not inside(first, last, EMBEDDED[realm - FIRST_EMBEDDED]):
        return None
    return first, last
