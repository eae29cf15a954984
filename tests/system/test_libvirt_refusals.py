# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/libvirt/qemu-hook: what cannot be enforced, and names that mean harm."""
import os
import socket
import struct
import subprocess

import pytest

from libvirtlab import BROKEN, WEB, Hooks, broken_policies, domain, listen, nic, ok, policy_element, refused

BOMB = ('<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">' +
        "".join(f'<!ENTITY {b} "{("&" + a + ";") * 10}">' for a, b in zip("abcdefgh", "bcdefghi")) +
        "]><domain><name>web</name><title>&i;</title></domain>")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

HOST = Hooks


# ---- what cannot be enforced ----

@pytest.mark.parametrize("how", BROKEN)
def test_isolate_is_the_default(host, how):
    host.tap("vnet0")
    says = broken_policies(host)[how]()
    done = ok(host.hook("start", domain(nic())))
    assert says in done.stderr
    assert "without network (fail: isolate)" in done.stderr
    assert host.policy_of("vnet0") == "libvirt-isolated"


def test_an_isolated_guest_has_no_network_at_all(host):
    tap, sock = host.guest_tap(), listen(host, "192.0.2.1", 9)
    try:
        broken_policies(host)["syntax"]()
        ok(host.hook("start", domain(nic())))
        os.write(tap, host.frame("192.0.2.1"))
        arp = (b"\xff" * 6 + bytes.fromhex("525400123456") + b"\x08\x06" +
               struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, bytes.fromhex("525400123456"),
                           socket.inet_aton("192.0.2.10"), bytes(6), socket.inet_aton("192.0.2.1")))
        os.write(tap, arp)
        target = host.status()["vnet0"]
        assert (target["tx_frames"], target["tx_denied"]) == (2, 2)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(100)
    finally:
        sock.close()


@pytest.mark.parametrize("how", BROKEN)
def test_refuse(host, how):
    host.configure("fail: refuse\n")
    host.tap("vnet0")
    says = broken_policies(host)[how]()
    refused(host.hook("start", domain(nic())), says)
    assert host.status() == {}


@pytest.mark.parametrize("how", BROKEN)
def test_open_is_loud(host, how):
    host.configure("fail: open\n")
    host.tap("vnet0")
    broken_policies(host)[how]()
    done = ok(host.hook("start", domain(nic())))
    assert "vnet0: UNFILTERED (fail: open)" in done.stderr
    assert host.status() == {}


@pytest.mark.parametrize("mode", ["isolate", "refuse", "open"])
def test_a_good_policy_is_enforced_in_every_mode(host, mode):
    host.configure(f"fail: {mode}\n")
    host.tap("vnet0")
    ok(host.hook("start", domain(nic())))
    assert host.policy_of("vnet0") == "from-default"


def test_one_bad_nic_among_good_ones(host):
    host.tap("vnet0")
    host.tap("vnet1")
    wish = policy_element('<sluice:nic mac="52:54:00:12:34:57" policy="gone"/>')
    xml = domain(nic("vnet0"), nic("vnet1", mac="52:54:00:12:34:57", number=1), metadata=wish)
    done = ok(host.hook("start", xml))
    assert "gone.yaml" in done.stderr
    assert host.policy_of("vnet0") == "from-default"
    assert host.policy_of("vnet1") == "libvirt-isolated"
    host.configure("fail: refuse\n")
    refused(host.hook("start", xml))


CONFIGS = {"unknown key": "fial: open\n", "unknown word": "fail: closed\n", "no yaml": "fail: [\n",
           "twice": "fail: open\nfail: open\n"}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_broken_configuration_isolates(host, text):
    host.configure(text)
    host.tap("vnet0")
    done = ok(host.hook("start", domain(nic())))
    assert "libvirt.yaml" in done.stderr and "fail: isolate" in done.stderr
    assert host.policy_of("vnet0") == "libvirt-isolated"


def test_a_configuration_that_anyone_may_write_is_broken(host):
    host.configure("fail: open\n")
    host.config.chmod(0o666)
    host.tap("vnet0")
    ok(host.hook("start", domain(nic())))
    assert host.policy_of("vnet0") == "libvirt-isolated"


HOSTILE = {
    "nothing": "", "no XML": "hello", "binary": bytes(range(256)),
    "truncated": domain(nic())[:1500], "bomb": BOMB,
    "10 MiB": domain(nic()).replace("<acpi/>", "<acpi/>" + " " * (10 << 20)),
    "external entity": '<!DOCTYPE d SYSTEM "file:///etc/passwd"><domain><name>web</name></domain>',
    "a network": "<network><name>web</name></network>",
    "another guest's": domain(nic(), name="db"),
    "two targets": domain(nic(inside="<target dev='vnet1'/>")),
    "one target of two": domain(nic(), nic(mac="52:54:00:12:34:57", number=1)),
    "bad metadata": domain(nic(), metadata=policy_element(nmae="web")),
    "bad address": domain(nic(inside="<filterref filter='x'><parameter name='IP' value='x'/>"
                                     "</filterref>")),
    "nobody's address": domain(nic(inside="<filterref filter='x'><parameter name='IP' "
                                          "value='0.0.0.0'/></filterref>")),
}


@pytest.mark.parametrize("mode", ["isolate", "refuse", "open"])
@pytest.mark.parametrize("xml", HOSTILE.values(), ids=HOSTILE.keys())
def test_xml_that_cannot_be_used(host, xml, mode):
    """Nobody knows which devices to isolate: only `open` lets such a guest start."""
    host.configure(f"fail: {mode}\n")
    host.tap("vnet0")
    done = host.hook("start", xml)
    if mode == "open":
        assert "UNFILTERED" in ok(done).stderr
    else:
        refused(done, "the guest is refused")
    assert host.status() == {}
    ok(host.hook("reconnect", xml))


def test_a_target_that_is_not_there(host):
    for xml, says in ((domain(nic("")), "no <target dev"),
                      (domain(nic("vnet9")), "no device 'vnet9'"),
                      (domain(nic("lo", "ethernet")), "no Ethernet device"),
                      (domain(nic("a-name-that-is-too-long")), "no device")):
        host.configure()
        refused(host.hook("start", xml), says)
        assert says in ok(host.hook("reconnect", xml)).stderr
        host.configure("fail: open\n")
        assert "UNFILTERED" in ok(host.hook("start", xml)).stderr


@pytest.mark.parametrize("kind", ["direct", "hostdev", "vhostuser", "user", "vdpa", "of-tomorrow"])
def test_nics_that_bypass_the_host(host, kind):
    host.tap("vnet0")
    xml = domain(nic("vnet0"), nic("", kind, mac="52:54:00:12:34:57", number=1))
    for mode in ("isolate", "refuse"):
        host.configure(f"fail: {mode}\n")
        refused(host.hook("start", xml), "not covered")
    assert "NOT COVERED" in ok(host.hook("reconnect", xml)).stderr
    for text in ("uncovered: warn\n", "fail: open\n"):
        host.configure(text)
        assert "NOT COVERED" in ok(host.hook("start", xml)).stderr
        assert host.policy_of("vnet0") == "from-default"


OTHERS = {
    "capabilities": "<hostdev mode='capabilities' type='net'><source><interface>eth0</interface></source>"
                    "</hostdev>",
    "netdev": "</devices><qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
              "<qemu:arg value='-netdev'/><qemu:arg value='user,id=u'/></qemu:commandline><devices>",
    "nic": "</devices><qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
           "<qemu:arg value='--nic'/><qemu:arg value='user'/></qemu:commandline><devices>",
}


@pytest.mark.parametrize("which", OTHERS)
def test_networks_that_are_no_interface(host, which):
    host.tap("vnet0")
    xml = domain(nic("vnet0"), OTHERS[which])
    refused(host.hook("start", xml), "not covered")
    assert "NOT COVERED" in ok(host.hook("reconnect", xml)).stderr
    host.configure("uncovered: warn\n")
    assert "NOT COVERED" in ok(host.hook("start", xml)).stderr
    assert host.policy_of("vnet0") == "from-default"


def test_every_devices_of_the_domain_counts(host):
    """libvirt reads ./devices/interface: so no card goes unjudged in a second <devices>."""
    host.tap("vnet0")
    host.tap("vnet1")
    second = nic("vnet1", mac="52:54:00:12:34:57", number=1)
    ok(host.hook("start", domain(nic("vnet0"), "</devices><devices>", second)))
    assert host.policy_of("vnet0") == host.policy_of("vnet1") == "from-default"


def test_a_card_of_the_hosts_is_warned_of(host):
    """It may be a network's or not."""
    host.tap("vnet0")
    pci = "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='6' slot='2' " \
        "function='0'/></source></hostdev>"
    usb = "<hostdev mode='subsystem' type='usb'><source><vendor id='0x0b95'/><product id='0x1790'/>" \
        "</source></hostdev>"
    for op in ("start", "reconnect"):
        for card in (pci, usb):
            assert "judged by nobody" in ok(host.hook(op, domain(nic("vnet0"), card))).stderr
    other = "<qemu:commandline xmlns:qemu='u'><qemu:arg value='-device'/></qemu:commandline>"
    disk = "<hostdev mode='subsystem' type='scsi'/></devices>" + other + "<devices>"
    assert "nobody" not in ok(host.hook("start", domain(nic("vnet0"), disk))).stderr
    assert host.policy_of("vnet0") == "from-default"


def test_a_macvtap_that_calls_itself_a_tap(host):
    try:
        host.ip("link add link br0 name vnet0 type macvtap mode bridge")
    except subprocess.CalledProcessError:
        pytest.skip("this kernel has no macvtap")
    refused(host.hook("start", domain(nic("vnet0", "ethernet"))), "is a macvtap")


# ---- names ----

NAMES = ["../escape", "/etc/passwd", "..", ".", ".hidden", "a/b", "-n", "--help", "--config", "*",
         "$(touch {})", "`touch {}`", "; touch {} ;", "a b", "a\nb", "a\tb", "'\"", "naïve", "a\\b",
         "%s%n", "x" * 300]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_strange_names_of_guests(host, name, tmp_path):
    """They get the default policy, never a file elsewhere, and nothing of them is run."""
    for place in (tmp_path / "escape.yaml", host.folder / ".hidden.yaml"):
        place.write_text(WEB.format("escaped"))
    name = name.format(tmp_path / "ran")
    host.tap("vnet0")
    done = host.hook("start", domain(nic(), name=name), guest=name)
    if "\t" not in name:        # XML has no way to carry the one libvirt was given
        assert ok(done).stderr == ""
        assert host.policy_of("vnet0") == "from-default"
    assert not (tmp_path / "ran").exists()
    gone = host.hook("start", domain(nic("vnet9"), name=name), guest=name)
    refused(gone, "vnet9")
    assert not any(c in gone.stderr for c in "\t\x1b")


def test_a_name_does_not_steer_the_terminal(host):
    done = host.hook("start", domain(name="web"), guest="web\x1b[2J\nsluice: all is well")
    refused(done, "web\\x1b[2J\\x0asluice")


def test_a_guest_with_spaces_has_its_file(host):
    host.write(WEB.format("spaced"), "my guest; $x.yaml")
    host.tap("vnet0")
    ok(host.hook("start", domain(nic(), name="my guest; $x"), guest="my guest; $x"))
    assert host.policy_of("vnet0") == "spaced"
