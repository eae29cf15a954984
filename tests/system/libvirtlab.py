# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A host of libvirt's guests, their XML, and the hook as libvirt calls it: deploy/libvirt/qemu-hook GUEST
OP SUBOP EXTRA with the domain's XML on standard input. libvirt itself is not needed."""
import pathlib
import socket
import subprocess
import textwrap

from devlab import WAIT, Host
from lab import ROOT, SLUICE

HOOK = ROOT / "deploy" / "libvirt" / "qemu-hook"
LIVE = (pathlib.Path(__file__).parent / "libvirt" / "live.xml").read_text(encoding="utf-8")
NAMESPACE = "https://sluice.dev/libvirt/1"
OPS = ["prepare", "start", "started", "stopped", "release", "migrate", "restore", "reconnect",
       "attach"]
SUBOPS = {"stopped": "end", "release": "end"}
WEB = "sluice: 1\nname: {}\nrules:\n  - allow: 192.0.2.0/24\n"


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


def ok(done):
    assert done.returncode == 0, done.stderr
    return done


def refused(done, says=""):
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert says in done.stderr
    return done


def listen(host, address, port):
    def make():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(WAIT)
        sock.bind((address, port))
        return sock
    return host.within(make)


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
