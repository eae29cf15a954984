# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/libvirt/qemu-hook under libvirt itself, with a real guest."""
import time

import pytest
import virt as v
from virt import BRIDGE4, GUEST4, LAN4, LAN6, MAC

SENDERS = 20
# From its first instant: before the guest has a root file system, and with what its
# kernel says of itself when the link comes up.
EARLY = f"""\
ip link set eth0 up
for n in $(seq {SENDERS}); do
	arping -q -U -c 1 -w 1 -I eth0 10.66.6.$n &
done
wait
"""
ARP_PROBE = "ff" * 6 + MAC.replace(":", "") + "0806" + "0001080006040001" + \
    MAC.replace(":", "") + "00" * 4 + "00" * 6 + "c0a87afa"
POLICY = f"""\
sluice: 1
name: hooked
rules:
  - allow: "@gateway:53"
  - allow: {{to: [{LAN4}, "{LAN6}"], ports: [7, {v.SINK}]}}
"""
LEASE = """cat > /tmp/dhcp <<'END'
#!/bin/sh
[ $1 != bound ] || { ip addr replace $ip/24 dev eth0; ip route replace default via $router; }
END
chmod 755 /tmp/dhcp
ip link set eth0 up
/bin/busybox udhcpc -i eth0 -n -q -f -t 5 -T 2 -s /tmp/dhcp"""


NAMES = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")


def counters(virt, guest):
    """domifstat's and ours, taken while nothing moved."""
    end = time.monotonic() + 20
    while True:
        before, target = guest.statistics(), virt.target(guest.interface())
        ours = {name: target[name.replace("packets", "frames")] for name in NAMES}
        theirs = {name: guest.statistics()[name] for name in NAMES}
        if theirs == {name: before[name] for name in NAMES}:
            return theirs, ours, target
        assert time.monotonic() < end, "the guest is never at rest"


class TestFirstFrame:
    def test_without_the_hook(self, virt):
        virt.set_hook(False)
        with virt.guest(early=EARLY) as guest:
            assert virt.capture.wait(SENDERS), f"{len(virt.capture.frames)} frames"
            assert virt.target(guest.interface()) is None

    def test_with_the_hook(self, virt):
        """Not one frame of a guest that sends from its first instant is unjudged."""
        virt.set_hook(True)
        virt.policy((v.ROOT / "policies" / "vm-isolated.yaml").read_text())
        with virt.guest(early=EARLY) as guest:
            device = guest.interface()
            target = virt.target(device)
            assert target["attached"] and target["policy"] == "vm-isolated", target
            guest.wait()
            theirs, ours, target = counters(virt, guest)
            # libvirt has counted since the device was made
            assert theirs["tx_packets"] == ours["tx_packets"] == target["tx_denied"] >= SENDERS
            assert theirs["tx_bytes"] == ours["tx_bytes"]
            # the other way: what the host's own IPv6 said at the tap's creation, which
            # waited there for a reader, and nothing since
            assert ours["rx_packets"] == 0 and theirs["rx_packets"] <= 5
            assert virt.capture.frames == []
            virt.sluice("detach", "--dev", device)
            guest.do("frames", device="eth0", frames=[ARP_PROBE])
            # the capture listens: what the guest sends passes now, and its kernel has
            # more to say than the probe (multicast reports, repeated)
            assert virt.capture.wait_for(
                lambda frame: frame.hex().startswith(ARP_PROBE)), virt.capture.frames
            print(f"first frames of a libvirt guest: sent {theirs['tx_packets']}, judged "
                  f"{target['tx_frames']}, passed {target['tx_frames'] - target['tx_denied']}; "
                  f"to it before the hook ran: {theirs['rx_packets']}")


@pytest.fixture(scope="class")
def guest(virt):
    virt.set_hook(True)
    virt.policy(POLICY)
    before = virt.pins()
    with virt.guest() as made:
        made.pins_before = before
        made.wait()
        made.sh(LEASE)
        yield made


def judged(guest):
    """What the policy says is what the guest finds."""
    assert guest.do("tcp", to=LAN4, port=7) == "hello"
    assert guest.do("udp", to=LAN4, port=7) == "hello"
    refused = guest.try_("tcp", to=LAN4, port=8080)
    assert refused["errno"] == "ECONNREFUSED" and refused["ms"] < 400, refused
    refused = guest.try_("udp_connected", to=LAN4, port=8080)
    assert refused["errno"] == "EHOSTUNREACH" and refused["ms"] < 400, refused


class TestGuest:
    """In this order, on one guest."""

    def test_without_a_policy_all_of_it_passes(self, virt, guest):
        device = guest.interface()
        virt.sluice("detach", "--dev", device)
        for port in v.PORTS:
            assert guest.do("tcp", to=LAN4, port=port) == "hello"
            assert guest.do("udp", to=LAN4, port=port) == "hello"
        virt.restart(guest)     # reconnect: what is not attached gets its policy
        assert virt.target(device)["attached"]

    def test_the_guests_frames_are_judged(self, virt, guest):
        guest.sh(LEASE)     # the lease of before was no target's
        target = virt.target(guest.interface())
        assert target["policy"] == "hooked" and target["mode"] == "enforce"
        assert target["binding"]["mac"] == MAC and target["binding"]["lease"]
        judged(guest)
        assert guest.do("tcp", to=BRIDGE4, port=53, no_reply=True) is None
        denied = virt.target(guest.interface())["tx_denied"]
        guest.sh("ip addr add 192.168.122.77/24 dev eth0")
        result = guest.try_("udp", to=LAN4, port=7, bind=["192.168.122.77", 0], timeout=0.5)
        guest.sh("ip addr del 192.168.122.77/24 dev eth0")
        assert result["errno"]
        assert virt.target(guest.interface())["tx_denied"] > denied

    def test_counters_agree_with_domifstat(self, virt, guest):
        """after traffic both ways, allowed, refused and dropped, with super-frames"""
        theirs, ours, target = counters(virt, guest)    # which was attached late
        before = {name: theirs[name] - ours[name] for name in NAMES}
        denied = target["tx_denied"]
        guest.do("transfer", to=LAN4, port=v.SINK, bytes=4 << 20)
        for port in v.PORTS:
            guest.try_("tcp", to=LAN4, port=port)
            guest.try_("udp", to=LAN4, port=port, timeout=0.3)
        virt.unsolicited(GUEST4)
        theirs, ours, target = counters(virt, guest)
        assert {name: theirs[name] - ours[name] for name in NAMES} == before
        assert ours["tx_bytes"] > 4 << 20 and target["tx_denied"] > denied
        assert ours["tx_bytes"] / ours["tx_packets"] > 1500     # super-frames
        print(f"domifstat and sluice status agree: {ours}")

    @pytest.mark.parametrize("broken", ["policy", "no policy", "configuration", "no sluice"])
    def test_a_reconnect_never_ends_the_guest(self, virt, guest, broken):
        born = guest.sh("cat /proc/sys/kernel/random/boot_id")
        device, before = guest.interface(), virt.target(guest.interface())
        virt.stop("libvirtd")
        with virt.broken(broken):
            virt.begin(guest)
            assert guest.state() == "running"
            assert guest.sh("cat /proc/sys/kernel/random/boot_id") == born
            judged(guest)
        after = virt.target(device)
        assert (after["since"], after["slot"]) == (before["since"], before["slot"])
        virt.restart(guest)
        assert guest.state() == "running" and virt.target(device)["attached"]
        judged(guest)

    def test_destroyed_it_leaves_nothing(self, virt, guest):
        device = guest.interface()
        assert virt.target(device)["attached"]
        guest.destroy()
        assert virt.target(device) is None
        assert sorted(virt.pins()) == sorted(guest.pins_before)


class TestAStartThatCannotBeEnforced:
    def test_isolated(self, virt):
        """by default: it starts, and nothing passes"""
        virt.set_hook(True)
        virt.policy("not: a policy\n")
        with virt.guest(early=EARLY) as guest:
            target = virt.target(guest.interface())
            assert target["attached"] and target["policy"] == "libvirt-isolated"
            assert v.lab.until(lambda: virt.target(guest.interface())["tx_denied"] >= SENDERS,
                               v.WAIT_S, 0.2)
            target = virt.target(guest.interface())
            assert target["tx_frames"] == target["tx_denied"] and virt.capture.frames == []

    @pytest.mark.parametrize("broken", ["policy", "no sluice"])
    def test_refused(self, virt, broken):
        virt.set_hook(True)
        virt.policy(POLICY)
        with virt.configuration("fail: refuse\n"), virt.broken(broken):
            virt.restart()
            with pytest.raises(AssertionError, match="(?i)hook"), virt.guest():
                pass
        virt.restart()
        assert virt.virsh("list", "--all").strip() == ""
        assert not virt.devices("vnet")
