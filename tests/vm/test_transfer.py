# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Large transfers: with the offloads of a virtio device on, so that what crosses the
tap are super-frames; counted; and while the policy is replaced under them."""
import pytest
from network import BIND, ECHO, NET4, NET6, SINK, lab

MIB = 1 << 20
POLICY = f"""\
sluice: 1
name: transfer
rules:
  - allow: {{to: [{NET4}, "{NET6}"], ports: [{ECHO}, {SINK}], protocol: tcp}}
"""
OTHER = POLICY.replace("rules:\n", 'rules:\n  - deny: 198.51.100.0/24\n')
NOTHING = "sluice: 1\nname: nothing\n"
HEADERS = 14 + 40 + 20 + 12     # Ethernet, IPv6, TCP, its time stamps: the most per segment
RELOADS = 20


@pytest.mark.parametrize("to", [NET4, NET6], ids=["ipv4", "ipv6"])
def test_super_frames(site, device, to):
    size = 64 * MIB
    before = site.sink.bytes
    off = site.a.do("transfer", to=to, port=SINK, bytes=size)
    device.attach(POLICY, *BIND)
    on = site.a.do("transfer", to=to, port=SINK, bytes=size)
    assert lab.until(lambda: site.sink.bytes - before == 2 * size)
    status = device.status()
    assert status["tx_denied"] == 0, device.hits()
    frames = status["tx_frames"]
    assert frames < size / 4000, f"{frames} frames: no super-frames, nothing is proved"
    assert size < status["tx_bytes"] < size + frames * HEADERS + 64 * 1024, status
    assert status["rx_frames"] > 0 and status["rx_bytes"] >= status["rx_frames"] * 54
    print(f"64 MiB to {to}: {size / MIB / off['seconds']:.0f} MiB/s without a policy, "
          f"{size / MIB / on['seconds']:.0f} with; {frames} frames, "
          f"{status['tx_bytes'] / frames:.0f} bytes each")


def start(site, to, size):
    """A transfer in the background, and it is moving."""
    before = site.sink.bytes
    site.a.do("background", action={"kind": "transfer", "to": to, "port": SINK, "bytes": size,
                                    "timeout": 20.0})
    assert lab.until(lambda: site.sink.bytes > before + MIB)
    return before


@pytest.mark.parametrize("to", [NET4, NET6], ids=["ipv4", "ipv6"])
def test_reload_under_a_transfer(site, device, to):
    """Not a byte is lost while the policy and the binding are replaced."""
    size = 256 * MIB
    device.attach(POLICY, *BIND)
    before, reloads = start(site, to, size), 0
    while site.sink.bytes - before < size and reloads < RELOADS:
        device.attach((OTHER, POLICY)[reloads % 2], *BIND)
        reloads += 1
    assert site.a.do("joined", wait=60) == 0
    assert lab.until(lambda: site.sink.bytes - before == size)
    status = device.status()
    assert status["tx_denied"] == 0 and status["generation"] > reloads
    print(f"256 MiB to {to} under {reloads} reloads: complete")
    assert reloads >= 5


@pytest.mark.parametrize("to", [NET4, NET6], ids=["ipv4", "ipv6"])
def test_reload_cuts_a_transfer(site, device, to):
    """A policy that no longer allows it ends it, and the guest is told."""
    size = 4096 * MIB
    device.attach(POLICY, *BIND)
    before = start(site, to, size)
    with device.monitor() as monitor:
        device.attach(NOTHING, *BIND)
        assert site.a.do("joined", wait=15) == 1        # its send failed
        event = monitor.wait(destination=to, verdict="deny")
        assert event["reason"] == "default" and event["policy"] == "nothing"
        assert len([e for e in monitor.events if e["protocol"] == "tcp"]) == 1
    at_rest = site.sink.bytes
    assert at_rest - before < size
    assert site.a.try_("tcp", to=to, port=ECHO)["errno"] == "ECONNREFUSED"
    assert site.sink.bytes == at_rest
