# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/libvirt/qemu-hook: guests that start, end and are found again, and their policies."""
import concurrent.futures
import os
import pathlib

import pytest

from libvirtlab import (
    BROKEN, OPS, WEB, Hooks, broken_policies, domain, listen, nic, ok, policy_element, refused)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

HOST = Hooks


# ---- start ----

def test_start_binds_each_nic_to_what_the_xml_says(host):
    for name in ("vnet0", "vnet1", "vnet2"):
        host.tap(name)
    filter_xml = ("<filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.10'/>"
                  "<parameter name='IPV6' value='2001:db8::10'/></filterref>")
    done = ok(host.hook("start", domain(
        nic("vnet0", mac="52:54:00:00:00:01", inside=filter_xml),
        nic("vnet1", "bridge", mac="52:54:00:00:00:02", number=1,
            inside="<vlan trunk='yes'><tag id='42'/></vlan>"),
        nic("vnet2", "ethernet", mac="52:54:00:00:00:03", number=2),
        metadata=policy_element('<sluice:nic mac="52:54:00:00:00:03" '
                                'addresses="192.0.2.33 dhcp"/>'))))
    assert done.stderr == ""
    targets = host.status()
    assert [targets[d]["policy"] for d in ("vnet0", "vnet1", "vnet2")] == ["from-default"] * 3
    assert targets["vnet0"]["binding"] == {
        "mac": "52:54:00:00:00:01", "lease": False, "vlans": [],
        "addresses": ["192.0.2.10", "2001:db8::10", "fe80::5054:ff:fe00:1"]}
    assert targets["vnet1"]["binding"] == {"mac": "52:54:00:00:00:02", "lease": True,
                                           "vlans": [42], "addresses": []}
    assert targets["vnet2"]["binding"] == {"mac": "52:54:00:00:00:03", "lease": True,
                                           "vlans": [], "addresses": ["192.0.2.33"]}


def test_the_first_frame_of_the_guest_is_judged(host):
    """Attached in `start`: no frame passes unjudged; what is denied arrived before."""
    host.ip("addr add 198.51.100.1/32 dev br0")
    tap = host.guest_tap()
    allowed, denied = listen(host, "192.0.2.1", 9), listen(host, "198.51.100.1", 9)
    bound = "<filterref filter='x'><parameter name='IP' value='192.0.2.10'/></filterref>"
    try:
        os.write(tap, host.frame("198.51.100.1"))
        assert denied.recv(100) == b"data"      # with enforcement off it arrives
        host.ip("link set vnet0 down")
        ok(host.hook("start", domain(nic(inside=bound))))
        before = host.rx_packets("vnet0")
        host.ip("link set vnet0 up")
        os.write(tap, host.frame("198.51.100.1"))
        os.write(tap, host.frame("192.0.2.1", mac="52:54:00:12:34:57"))
        os.write(tap, host.frame("192.0.2.1", source="192.0.2.11"))
        os.write(tap, host.frame("192.0.2.1"))
        assert allowed.recv(100) == b"data"     # the last that was sent, and the only one
        for sock in (allowed, denied):
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(100)
        target = host.status()["vnet0"]
        assert (target["tx_frames"], target["tx_denied"]) == (4, 3)
        assert host.rx_packets("vnet0") - before == 4
    finally:
        allowed.close()
        denied.close()


def test_no_nic_is_no_work(host):
    ok(host.hook("start", domain()))
    ok(host.hook("start", domain(nic("", "null"))))
    assert host.status() == {}


@pytest.mark.parametrize("op", OPS)
def test_every_operation(host, op):
    host.tap("vnet0")
    done = ok(host.hook(op, domain(nic())))
    assert done.stderr == ""
    assert host.policy_of("vnet0") == ("from-default" if op in ("start", "reconnect", "attach")
                                       else None)


def test_an_operation_of_tomorrow_is_said(host):
    done = ok(host.hook("define", domain(nic())))
    assert "'define' is not known" in done.stderr


def test_start_again_replaces_what_the_device_had(host):
    host.tap("vnet0")
    ok(host.hook("start", domain(nic())))
    host.write(WEB.format("of-the-guest"), "web.yaml")
    ok(host.hook("start", domain(nic())))
    assert host.policy_of("vnet0") == "of-the-guest"
    assert len(host.status()) == 1


# ---- which policy ----

def test_the_policy_is_chosen_in_this_order(host):
    host.tap("vnet0")
    host.tap("vnet1")
    host.write(WEB.format("of-the-guest"), "web.yaml")
    host.write(WEB.format("of-the-domain"), "tier.yaml")
    host.write(WEB.format("of-the-nic"), "dmz.yaml")
    one, two = nic("vnet0"), nic("vnet1", mac="52:54:00:12:34:57", number=1)
    ok(host.hook("start", domain(one, two, name="db"), guest="db"))
    assert host.policy_of("vnet0") == "from-default"
    ok(host.hook("start", domain(one, two)))
    assert host.policy_of("vnet0") == "of-the-guest"
    wish = policy_element('<sluice:nic mac="52:54:00:12:34:57" policy="dmz"/>', name="tier")
    ok(host.hook("start", domain(one, two, metadata=wish)))
    assert host.policy_of("vnet0") == "of-the-domain"
    assert host.policy_of("vnet1") == "of-the-nic"
    host.configure("metadata: ignore\n")
    ok(host.hook("start", domain(one, two, metadata=wish)))
    assert [host.policy_of(d) for d in ("vnet0", "vnet1")] == ["of-the-guest"] * 2


def test_without_any_policy_the_shipped_one_denies(host):
    (host.folder / "default.yaml").unlink()
    host.tap("vnet0")
    ok(host.hook("start", domain(nic())))
    assert host.policy_of("vnet0") in ("vm-isolated", "libvirt-isolated")


def test_both_limits_are_said(host):
    host.tap("vnet0")
    host.write(WEB.format("limited") + "limits: {bandwidth: {out: {average: 1000}}}\n",
               "default.yaml")
    done = ok(host.hook("start", domain(nic(
        inside="<bandwidth><outbound average='500'/></bandwidth>"))))
    assert "the smaller one holds" in done.stderr
    assert "smaller" not in ok(host.hook("start", domain(nic()))).stderr


def test_libvirts_own_bandwidth_is_at_the_device_already(host):
    """Its <outbound> is an ingress qdisc: beside tcx; in clsact's place before 6.6."""
    host.tap("vnet0")
    host.tap("vnet1")
    host.run("tc", "qdisc", "add", "dev", "vnet0", "ingress", check=True)
    xml = domain(nic("vnet0", inside="<bandwidth><outbound average='500'/></bandwidth>"))
    ok(host.hook("start", domain(nic("vnet1"))))
    if host.status()["vnet1"]["via"] == "clsact":
        refused(host.hook("start", xml), "queueing discipline")
    else:
        ok(host.hook("start", xml))
        assert host.policy_of("vnet0") == "from-default"


# ---- the end ----

@pytest.mark.parametrize("op", ["stopped", "release"])
def test_the_end_forgets_what_is_gone(host, op):
    mine = host.tap("vnet0")
    host.tap("vnet1")
    ok(host.hook("start", domain(nic("vnet0"))))
    ok(host.hook("start", domain(nic("vnet1"), name="db"), guest="db"))
    host.drop(mine)
    ok(host.hook(op, domain(nic(""))))
    assert list(host.status()) == ["vnet1"]
    assert host.policy_of("vnet1") == "from-default"


def test_the_end_without_a_start(host):
    for op in ("stopped", "release"):
        assert ok(host.hook(op, "not even XML")).stderr == ""


def test_a_number_used_again_inherits_nothing(host):
    """The guest died without a hook; another device has its number now."""
    host.ip("link add vnet0 index 4242 type veth peer name p0")
    ok(host.hook("start", domain(nic("vnet0"))))
    host.ip("link del vnet0")
    host.ip("link add vnet1 index 4242 type veth peer name p1")
    assert not host.policy_of("vnet1")
    host.write(WEB.format("second"), "db.yaml")
    ok(host.hook("start", domain(nic("vnet1"), name="db"), guest="db"))
    targets = host.status()
    assert list(targets) == ["vnet1"]
    assert (targets["vnet1"]["policy"], targets["vnet1"]["tx_frames"]) == ("second", 0)


# ---- reconnect ----

def test_reconnect_changes_nothing_that_is_attached(host):
    host.tap("vnet0")
    ok(host.hook("start", domain(nic())))
    before = host.status()["vnet0"]
    host.write(WEB.format("newer"), "default.yaml")
    ok(host.hook("reconnect", domain(nic())))
    assert host.status()["vnet0"]["generation"] == before["generation"]
    broken_policies(host)["syntax"]()
    assert ok(host.hook("reconnect", domain(nic()))).stderr == ""
    assert host.status()["vnet0"]["generation"] == before["generation"]


def test_reconnect_attaches_what_is_not(host):
    host.tap("vnet0")
    ok(host.hook("reconnect", domain(nic())))
    assert host.policy_of("vnet0") == "from-default"


@pytest.mark.parametrize("mode", ["isolate", "refuse", "open"])
@pytest.mark.parametrize("how", BROKEN)
def test_reconnect_never_fails(host, how, mode):
    """A failure would kill the guest; what has nothing yet is cut off instead."""
    host.configure(f"fail: {mode}\n")
    host.tap("vnet0")
    broken_policies(host)[how]()
    ok(host.hook("reconnect", domain(nic())))
    assert host.policy_of("vnet0") == (None if mode == "open" else "libvirt-isolated")


def test_reconnect_with_a_broken_configuration(host):
    host.configure("fail: [\n")
    host.tap("vnet0")
    ok(host.hook("reconnect", domain(nic())))
    assert host.policy_of("vnet0") == "libvirt-isolated"


def test_reconnect_does_not_tell_of_a_refusal(host):
    done = ok(host.hook("reconnect", domain(nic("vnet9"))))
    assert "vnet9: NOTHING JUDGES ITS FRAMES; the guest goes on" in done.stderr
    assert "the guest is refused" not in done.stderr
    refused(host.hook("start", domain(nic("vnet9"))), "the guest is refused")


# ---- many ----

def test_twenty_guests_at_once(host):
    for i in range(20):
        host.tap(f"vnet{i}")
        host.write(WEB.format(f"of-guest{i}"), f"guest{i}.yaml")

    def start(i):
        xml = domain(nic(f"vnet{i}", mac=f"52:54:00:00:00:{i:02x}"), name=f"guest{i}")
        return host.hook("start", xml, guest=f"guest{i}")

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        results = list(pool.map(start, range(20)))
    assert [ok(done).stderr for done in results] == [""] * 20
    targets = host.status()
    assert {name: t["policy"] for name, t in targets.items()} == {
        f"vnet{i}": f"of-guest{i}" for i in range(20)}
    assert all(t["binding"]["mac"] == f"52:54:00:00:00:{int(n[4:]):02x}"
               for n, t in targets.items())
    for fd in list(host.fds):
        host.drop(fd)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda i: host.hook("stopped", "", guest=f"guest{i}"), range(20)))
    assert [ok(done).stderr for done in results] == [""] * 20
    assert host.status() == {}


def test_the_state_is_left_clean(host):
    """Nothing of a guest that is gone stays pinned."""
    fd = host.tap("vnet0")
    ok(host.hook("start", domain(nic())))
    links = [p.name for p in pathlib.Path(host.state).rglob("link-*")]
    assert len(links) in (0, 2)         # none with clsact
    host.drop(fd)
    ok(host.hook("stopped", ""))
    assert not list(pathlib.Path(host.state).rglob("link-*"))
