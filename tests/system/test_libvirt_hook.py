# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""libvirt's qemu hook, as libvirt calls it: deploy/libvirt/qemu-hook GUEST OP SUBOP
EXTRA with the domain's XML on standard input. libvirt itself is not needed."""
import concurrent.futures
import os
import pathlib
import socket
import struct
import subprocess
import textwrap

import pytest

from devlab import Host, WAIT
from lab import ROOT, SLUICE

HOOK = ROOT / "deploy" / "libvirt" / "qemu-hook"
LIVE = (pathlib.Path(__file__).parent / "libvirt" / "live.xml").read_text(encoding="utf-8")
NAMESPACE = "https://sluice.dev/libvirt/1"
OPS = ["prepare", "start", "started", "stopped", "release", "migrate", "restore", "reconnect",
       "attach"]
SUBOPS = {"stopped": "end", "release": "end"}
WEB = "sluice: 1\nname: {}\nrules:\n  - allow: 192.0.2.0/24\n"
BOMB = ('<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">' +
        "".join(f'<!ENTITY {b} "{("&" + a + ";") * 10}">' for a, b in zip("abcdefgh", "bcdefghi")) +
        "]><domain><name>web</name><title>&i;</title></domain>")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def nic(device="vnet0", kind="network", mac="52:54:00:12:34:56", inside="", number=0):
    """An interface as `virsh dumpxml` of a running guest shows it."""
    source = {"network": "<source network='default' portid='9d7a' bridge='br0'/>",
              "bridge": "<source bridge='br0'/>", "ethernet": "",
              "direct": "<source dev='eth0' mode='bridge'/>",
              "hostdev": "<source><address type='pci' domain='0' bus='1' slot='0' "
                         "function='1'/></source>",
              "vhostuser": "<source type='unix' path='/run/vhost.sock' mode='server'/>"}
    target = f"<target dev='{device}'/>" if device else ""
    return textwrap.dedent(f"""\
        <interface type='{kind}'>
          <mac address='{mac}'/>
          {source.get(kind, "")}
          {target}
          <model type='virtio'/>
          {inside}
          <alias name='net{number}'/>
          <address type='pci' domain='0x0000' bus='0x01' slot='0x0{number}' function='0x0'/>
        </interface>""")


def domain(*nics, name="web", metadata=""):
    escaped = name.replace("&", "&amp;").replace("<", "&lt;")
    return (LIVE.replace("<name>web</name>", f"<name>{escaped}</name>")
            .replace("@METADATA@", metadata).replace("@INTERFACES@", "\n".join(nics)))


def policy_element(inside="", **attributes):
    words = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<sluice:policy xmlns:sluice="{NAMESPACE}"{words}>{inside}</sluice:policy>'


class Hooks(Host):
    """The host of guests: a bridge, policies, a configuration, and the hook."""

    def __init__(self, folder):
        super().__init__("sl-hook", folder)
        self.config = folder / "libvirt.yaml"
        self.folder = folder / "policies"
        self.folder.mkdir()
        self.configure()
        self.write(WEB.format("from-default"), "default.yaml")
        self.ip("link add br0 type bridge")
        self.ip("addr add 192.0.2.1/24 dev br0")
        self.ip("link set br0 up")

    def configure(self, text=""):
        self.config.write_text(f"policies: {self.folder}\n{text}", encoding="utf-8")
        self.config.chmod(0o644)

    def hook(self, op, xml="", guest="web", **env):
        done = subprocess.run([*self.inside, str(HOOK), guest, op, SUBOPS.get(op, "begin"), "-"],
                              input=xml.encode() if isinstance(xml, str) else xml,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              env={**self.env, "SLUICE": SLUICE,
                                   "SLUICE_LIBVIRT_CONFIG": str(self.config), **env}, check=False)
        assert done.stdout == b"", "libvirt takes what stands on stdout for the new XML"
        done.stderr = done.stderr.decode(errors="replace")
        return done

    def guest_tap(self, name="vnet0"):
        fd = self.tap(name)
        self.ip(f"link set {name} master br0")
        self.ip(f"link set {name} up")
        return fd


@pytest.fixture
def host(tmp_path):
    made = Hooks(tmp_path)
    try:
        yield made
    finally:
        made.close()


def ok(done):
    assert done.returncode == 0, done.stderr
    return done


def refused(done, says=""):
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert says in done.stderr
    return done


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


def frame(host, destination, port, mac="52:54:00:12:34:56", source="192.0.2.10"):
    """A UDP packet of the guest's, to the bridge."""
    bridge = bytes.fromhex(host.address_of("br0").replace(":", ""))
    udp = struct.pack("!4H", 1, port, 12, 0) + b"data"
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                     socket.inet_aton(source), socket.inet_aton(destination))
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + ip[12:]
    return bridge + bytes.fromhex(mac.replace(":", "")) + b"\x08\x00" + ip + udp


def listen(host, address, port):
    def make():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(WAIT)
        sock.bind((address, port))
        return sock
    return host.within(make)


def test_the_first_frame_of_the_guest_is_judged(host):
    """Attached in `start`: no frame passes unjudged; what is denied arrived before."""
    host.ip("addr add 198.51.100.1/32 dev br0")
    tap = host.guest_tap()
    allowed, denied = listen(host, "192.0.2.1", 9), listen(host, "198.51.100.1", 9)
    bound = "<filterref filter='x'><parameter name='IP' value='192.0.2.10'/></filterref>"
    try:
        os.write(tap, frame(host, "198.51.100.1", 9))
        assert denied.recv(100) == b"data"      # with enforcement off it arrives
        host.ip("link set vnet0 down")
        ok(host.hook("start", domain(nic(inside=bound))))
        before = host.rx_packets("vnet0")
        host.ip("link set vnet0 up")
        os.write(tap, frame(host, "198.51.100.1", 9))
        os.write(tap, frame(host, "192.0.2.1", 9, mac="52:54:00:12:34:57"))
        os.write(tap, frame(host, "192.0.2.1", 9, source="192.0.2.11"))
        os.write(tap, frame(host, "192.0.2.1", 9))
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


# ---- what cannot be enforced ----

def broken_policies(host):
    """Each breaks the policy in its way; what is then said."""
    policy = host.folder / "default.yaml"

    def syntax():
        host.write("sluice: 1\nrules: [\n", "default.yaml")
        return "default.yaml:"

    def writable():
        policy.chmod(0o666)
        return "chmod o-w"

    def unreadable():
        policy.unlink()
        policy.mkdir()
        return "not a regular file"

    def dangling():
        policy.unlink()
        policy.symlink_to("nowhere")
        return "No such file"

    def folder():
        host.folder.chmod(0o777)
        return "may be written by anyone"

    def empty_set():
        host.write('sluice: 1\nsets: {none: []}\nrules:\n  - allow: "@none"\n', "default.yaml")
        return "@none"

    def users():
        host.write("sluice: 1\nrules:\n  - allow: {to: any, uid: 1}\n", "default.yaml")
        return "uid"
    return {f.__name__: f for f in (syntax, writable, unreadable, dangling, folder, empty_set,
                                    users)}


BROKEN = ["syntax", "writable", "unreadable", "dangling", "folder", "empty_set", "users"]


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
        os.write(tap, frame(host, "192.0.2.1", 9))
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


# ---- when sluice is not there ----

def fake(folder, body):
    path = folder / "fake-sluice"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def missing(folder):
    return str(folder / "no-such-sluice")


def killed(folder):
    return fake(folder, "kill -SEGV $$")


def stuck(folder):
    """What sluice does to itself when libvirt would wait for ever (the state is locked)."""
    return fake(folder, "kill -ALRM $$")


def not_executable(folder):
    path = fake(folder, "exit 0")
    os.chmod(path, 0o644)
    return path


def foreign(folder):
    path = folder / "foreign"
    path.write_bytes(b"\x7fELF not for this machine")
    path.chmod(0o755)
    return str(path)


def too_old(folder):
    return fake(folder, "echo \"sluice: no command 'libvirt-hook'\" >&2; exit 2")


@pytest.mark.parametrize("absence", [missing, killed, stuck, not_executable, foreign, too_old])
def test_without_sluice(host, tmp_path, absence):
    sluice = absence(tmp_path)
    for text in ("", "fail: isolate\n", "fail: refuse\n", "fail: nonsense\n"):
        host.configure(text)
        refused(host.hook("start", domain(nic()), SLUICE=sluice), "the guest does not start")
        refused(host.hook("attach", domain(nic()), SLUICE=sluice))
        for op in set(OPS) - {"start", "attach"}:
            ok(host.hook(op, domain(nic()), SLUICE=sluice))
    host.configure("fail: open\n")
    done = ok(host.hook("start", domain(nic()), SLUICE=sluice))
    assert "STARTS UNFILTERED" in done.stderr
    for op in OPS:
        ok(host.hook(op, domain(nic()), SLUICE=sluice))


@pytest.mark.parametrize("status", [1, 2, 64, 125, 126, 255])
def test_whatever_sluice_says_reconnect_does_not_fail(host, tmp_path, status):
    sluice = fake(tmp_path, f"exit {status}")
    done = ok(host.hook("reconnect", domain(nic()), SLUICE=sluice))
    assert f"(status {status})" in done.stderr
    refused(host.hook("start", domain(nic()), SLUICE=sluice))


def test_without_sluice_and_without_a_configuration(host, tmp_path):
    host.config.unlink()
    refused(host.hook("start", domain(nic()), SLUICE=missing(tmp_path)))


def test_the_shim_hands_everything_on(host, tmp_path):
    sluice = fake(tmp_path, 'for word; do echo "<$word>" >&2; done; cat >&2; exit 1')
    done = refused(host.hook("start", "<domain/>", guest="--help me", SLUICE=sluice))
    assert done.stderr.splitlines() == ["<libvirt-hook>", "<--config>", f"<{host.config}>", "<-->",
                                        "<--help me>", "<start>", "<begin>", "<->", "<domain/>"]


def test_a_name_in_the_shims_own_message(host, tmp_path):
    done = refused(host.hook("start", "", guest="a\x1b[2J\nb", SLUICE=missing(tmp_path)))
    assert "a??2J?b" in done.stderr and "\x1b" not in done.stderr


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
