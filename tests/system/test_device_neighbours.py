# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Other guests and the host are destinations like any other: denied unless a rule
allows them, by an address or by what the bridge makes of @host, @subnet, @gateway."""
import os

import pytest
from scapy.compat import raw
from scapy.packet import Raw

from device_cases import eth, ip, udp
from devicelab import (ANOTHER4, ANOTHER6, ANOTHER_MAC, BINDING, BRIDGE4, BRIDGE6, BRIDGE_MAC,
                       rules)
from lab import ECHO, PEER4, PEER6

KINDS = pytest.mark.parametrize("kind", ["tap", "veth"])
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
PROBE = f'allow: ["{PEER4}:{ECHO}", "[{PEER6}]:{ECHO}"]'


def arrives(lab, capture, v6, to, mac_address):
    mark, position = os.urandom(8), capture.position()
    lab.send(raw(eth(dst=mac_address) / ip(v6, to) / udp(mark, 53)))
    lab.settle(v6)
    return bool(capture.wait(mark, position, 0.2))


@KINDS
@FAMILIES
def test_the_host(device_labs, tally, kind, v6):
    lab, to = device_labs(kind, "host"), BRIDGE6 if v6 else BRIDGE4
    host = lab.capture(lab.host, "br0")
    lab.guard.detach(lab.device, code=None)
    lab.last_config = None
    assert arrives(lab, host, v6, to, BRIDGE_MAC)
    for rule, expected in ((PROBE, False), ('allow: "@host"', True), ('allow: "@gateway"', True),
                           ('allow: "@subnet"', True), ('allow: "@host:80"', False)):
        lab.configure(rules(rule, PROBE), *BINDING)
        got = arrives(lab, host, v6, to, BRIDGE_MAC)
        if not expected:
            tally(not got)
        assert got == expected, rule


@KINDS
@FAMILIES
def test_another_guest(device_labs, tally, kind, v6):
    lab, to = device_labs(kind, "host"), ANOTHER6 if v6 else ANOTHER4
    with lab.another("guest0") as port:
        lab.guard.detach(lab.device, code=None)
        lab.last_config = None
        # It speaks first: the bridge knows where it is.
        port.send(raw(eth(src=ANOTHER_MAC) / ip(v6, src=to) / Raw(b"here")))
        assert arrives(lab, port.capture, v6, to, ANOTHER_MAC)
        for rule, expected in ((PROBE, False), ('allow: "@host"', False),
                               ('allow: "@subnet"', True), (f'allow: ["{ANOTHER4}", "{ANOTHER6}"]',
                                                            True)):
            lab.configure(rules(rule, PROBE), *BINDING)
            got = arrives(lab, port.capture, v6, to, ANOTHER_MAC)
            if not expected:
                tally(not got)
            assert got == expected, rule
