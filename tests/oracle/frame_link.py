# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Steps 5, 7 and 8 of docs/devices.md: ARP, DHCP and ICMPv6 of the link, both ways.

Link is the part of frames.Device that knows who the workload is: its binding, and what
DHCP has leased to it.
"""
import socket
import struct

from packet import need

NOWHERE4, BROADCAST4, NOWHERE6 = bytes(4), b"\xff" * 4, bytes(16)
ALL_DHCP_SERVERS6 = socket.inet_pton(socket.AF_INET6, "ff02::1:2")
MAGIC = b"\x63\x82\x53\x63"
ASKED_SECONDS = 60


def multicast(address):
    return address[0] == 0xff if len(address) == 16 else 224 <= address[0] <= 239


def link_local(address):
    return address[0] == 0xfe and address[1] & 0xc0 == 0x80


def all_link(address):
    return address[:2] == b"\xff\x02"


class Link:
    now = 0.0
    binding = judge = None
    asked4 = asked6 = None          # (transaction id, when) of the last question
    leased = None                   # (address, server, until)

    def _bound(self, address):
        if not any(address):
            return False
        if self.binding.ranges is None:
            return True
        if any(len(first) == len(address) and first <= address <= last
               for first, last in self.binding.ranges):
            return True
        return self.binding.lease and self._lease_holds() and address == self.leased[0]

    def _lease_holds(self):
        return self.leased is not None and self.now < self.leased[2]

    # --- ARP

    @staticmethod
    def _arp_is_well_formed(data):
        return len(data) >= 14 + 28 and data[14:20] == b"\x00\x01\x08\x00\x06\x04" and \
            data[20:22] in (b"\x00\x01", b"\x00\x02")

    def _arp_from(self, data):
        need(self._arp_is_well_formed(data))
        need(self.judge.arp, "arp")
        need(data[22:28] == data[6:12], "arp")
        need(len(data) <= 60 and not any(data[42:]), "arp")
        sender, target = data[28:32], data[38:42]
        probe = data[21] == 1 and sender == NOWHERE4
        need(self._bound(target if probe else sender), "arp")

    def _arp_to(self, data):
        need(self._arp_is_well_formed(data))
        need(self.judge.arp, "arp")
        sender, target = data[28:32], data[38:42]
        need(data[21] == 2 or self._bound(target) or sender == target, "stray")

    # --- DHCP

    def _whole(self, p):
        """Not one of several messages, of which the others would not be read."""
        return p.fragment is None and not self.gso

    def _dhcp_from(self, p):
        """True if the packet is DHCP or DHCPv6, and passes."""
        ports = p.source_port, p.destination_port
        need(p.source_port != (67 if p.family == 4 else 547), "rogue-dhcp")
        payload = p.data[p.at + 8:p.payload_end]
        if p.family == 4 and ports == (68, 67) and self._is_server(p.destination):
            need(self._whole(p) and dhcp_is_well_formed(payload, 1), "dhcp")
            need(payload[28:34] == p.data[6:12], "dhcp")
            need(payload[24:28] == NOWHERE4, "dhcp")
            need(self.judge.dhcp, "dhcp")
            kind, _ = dhcp_options(payload)
            need(p.source == NOWHERE4 or self._bound(p.source) or
                 kind == 3 and self._rebinds(p, payload), "address-binding")
            self.asked4 = payload[4:8], self.now
            if not keeps_lease(payload):
                self.leased = None
            return True
        if p.family == 4 and p.destination_port == 67 and not (self._whole(p) and keeps_lease(payload)):
            self.leased = None
        if p.family == 6 and ports == (546, 547) and p.destination == ALL_DHCP_SERVERS6:
            need(self.judge.dhcp and self._whole(p) and len(payload) >= 4, "dhcp")
            need(self._bound(p.source), "address-binding")
            self.asked6 = payload[1:4], self.now
            return True
        return False

    def _rebinds(self, p, payload):
        return self.binding.lease and p.destination == BROADCAST4 and \
            payload[12:16] == p.source and self._may_be_leased(p.source)

    def _may_be_a_server(self, address):
        networks = self.binding.networks
        return 0 < address[0] < 224 and address[0] != 127 and \
            (not networks or any(first <= address <= last for first, last in networks))

    def _may_be_leased(self, address):
        return self._may_be_a_server(address) and address not in self.binding.taken

    def _is_server(self, address):
        return address == BROADCAST4 or self._lease_holds() and address == self.leased[1]

    def _dhcp_to(self, p):
        ports = p.source_port, p.destination_port
        payload = p.data[p.at + 8:p.payload_end]
        if p.family == 4 and ports == (67, 68):
            need(self.judge.dhcp and self._whole(p), "dhcp")
            need(dhcp_is_well_formed(payload, 2), "dhcp")
            need(self.binding.mac in (None, payload[28:34]), "dhcp")
            need(self._was_asked(self.asked4, payload[4:8]), "dhcp")
            need(self._may_be_a_server(p.source), "dhcp")
            need(payload[16:20] == NOWHERE4 or self._may_be_leased(payload[16:20]), "dhcp")
            self._dhcp_answer(p, payload)
            return True
        if p.family == 6 and ports == (547, 546):
            need(self.judge.dhcp and self._whole(p) and link_local(p.source), "dhcp")
            need(len(payload) >= 4 and self._was_asked(self.asked6, payload[1:4]), "dhcp")
            return True
        return False

    def _was_asked(self, asked, transaction):
        return asked is not None and asked[0] == transaction and \
            self.now < asked[1] + ASKED_SECONDS

    def _dhcp_answer(self, p, payload):
        kind, seconds = dhcp_options(payload)
        address = payload[16:20]
        if kind == 5 and address != NOWHERE4:
            server = p.source if self.binding.networks else BROADCAST4
            self.leased = address, server, self.now + seconds
        elif kind == 6:
            self.leased = None

    # --- neighbours, routers, listeners

    @staticmethod
    def _is_routers(p):
        if p.protocol == 103:
            return True
        if p.protocol == 2 and p.family == 4:
            return p.fragment is not None or p.ends()[:1] not in (b"\x12", b"\x16", b"\x17", b"\x22")
        return p.type in {4: (5, 9), 6: (151, 152, 153)}[p.family]

    def _nd_from(self, p):
        """True if the packet is ICMPv6 of the link, and passes."""
        if not (130 <= p.type <= 137 or p.type == 143):
            return False
        need(p.type not in (130, 134, 137), "rogue-ra")
        need(self.judge.nd and p.fragment is None and p.code == 0, "nd")
        need(p.end == len(p.data), "nd")
        unspecified = p.source == NOWHERE6
        if p.type in (131, 132, 143):
            group = p.ends()[8:24]
            need(p.hop_limit == 1 and (all_link(p.destination) or p.type == 131 and
                                       p.destination == group and multicast(group)), "nd")
            need(unspecified or self._bound(p.source), "nd")
            return True
        need(not p.extended and p.hop_limit == 255, "nd")
        message = p.ends()
        need(len(message) >= (8 if p.type == 133 else 24))
        target = message[8:24]
        need(self._bound(p.source) or unspecified and p.type in (133, 135), "nd")
        need(all_link(p.destination) or link_local(p.destination) or
             p.type == 135 and p.destination == target or
             p.type == 136 and not multicast(p.destination), "nd")
        if p.type == 136 or p.type == 135 and unspecified:
            need(self._bound(target), "nd")
        self._nd_options(p, message[8 if p.type == 133 else 24:], unspecified)
        return True

    @staticmethod
    def _nd_options(p, rest, unspecified):
        seen = 0
        while rest:
            seen += 1
            need(seen <= 4 and len(rest) >= 2)
            kind, size = rest[0], rest[1] * 8
            need(8 <= size <= len(rest))
            need(size == 8 and kind in (1, 2, 14), "nd")
            if kind == 14:
                need(p.type == 135 and all_link(p.destination), "nd")
            else:
                need(rest[2:8] == p.data[6:12], "nd")
                need(p.type == 136 if kind == 2 else p.type != 136 and not unspecified, "nd")
            rest = rest[size:]

    def _nd_to(self, p):
        if not (130 <= p.type <= 137 or p.type == 143):
            return False
        need(self.judge.nd and p.fragment is None, "nd")
        need(p.type not in (131, 132, 143), "stray")
        need(p.type not in (133, 137), "rogue-ra")
        if p.type == 130:
            need(p.hop_limit == 1 and link_local(p.source), "nd")
            return True
        need(not p.extended and p.hop_limit == 255 and p.code == 0, "nd")
        need(p.type != 134 or link_local(p.source), "rogue-ra")
        message = p.ends()
        need(len(message) >= (16 if p.type == 134 else 24))
        need(p.type != 135 or self._bound(message[8:24]), "stray")
        return True


def dhcp_is_well_formed(payload, operation):
    return len(payload) >= 240 and payload[:3] == bytes([operation, 1, 6]) and \
        payload[236:240] == MAGIC


def walk_options(payload):
    """The options, (code, value), and whether that is all of them."""
    at, found = 240, []
    for _ in range(24):
        if at >= len(payload) or payload[at] == 255:
            return found, True
        if payload[at] == 0:
            at += 1
            continue
        if at + 2 > len(payload) or at + 2 + payload[at + 1] > len(payload):
            break
        found.append((payload[at], payload[at + 2:at + 2 + payload[at + 1]]))
        at += 2 + payload[at + 1]
    return found, False


def keeps_lease(payload):
    """Is it, whatever a server makes of it, neither a RELEASE nor a DECLINE?"""
    found, whole = walk_options(payload)
    kinds = [value for code, value in found if code == 53]
    return whole and not any(code == 52 for code, _ in found) and len(kinds) == 1 and \
        kinds[0] in (b"\1", b"\3", b"\x08")


def dhcp_options(payload):
    """(message type or None, lease time in seconds)"""
    kind, seconds = None, 60
    for option, value in walk_options(payload)[0]:
        if option == 53 and len(value) == 1:
            kind = value[0]
        elif option == 51 and len(value) == 4:
            seconds, = struct.unpack(">I", value)
    return kind, seconds
