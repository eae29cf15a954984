# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""libvirt with nothing of this machine's: its daemons in a capsule (namespaces of
their own, see there), one network, one guest at a time, and a neighbour on the
network's bridge who sees what a guest sends to all.

    guest --vnet0--+-- virbr0 [capsule] --+-- l0 ---- l1 [lan]
"""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "system"), str(ROOT / "tests" / "guest")]
import echoes  # noqa: E402
import kernels  # noqa: E402
import lab  # noqa: E402
import machine  # noqa: E402
import vm  # noqa: E402

HOOK = ROOT / "deploy" / "libvirt" / "qemu-hook"
KERNEL = "6.12"
MAC = "52:54:00:12:34:56"
BRIDGE4, BRIDGE6 = "192.168.122.1", "2001:db8:122::1"
GUEST4, GUEST6 = "192.168.122.50", "2001:db8:122::50"
LAN4, LAN6 = "192.168.122.200", "2001:db8:122::200"
PORTS, SINK = (7, 80, 8080), 9000
WAIT_S = 60
LOCAL_USER = "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n"
LOCAL_GROUP = "libvirt-qemu:x:64055:\n"
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
"""
NOTE = """\
#!/bin/sh
echo "$1 $2" >> {}
"""
NETWORK = f"""\
<network>
  <name>default</name>
  <forward mode="nat"/>
  <bridge name="virbr0" stp="off" delay="0"/>
  <ip address="{BRIDGE4}" netmask="255.255.255.0">
    <dhcp><range start="{GUEST4}" end="{GUEST4}"/></dhcp>
  </ip>
  <ip family="ipv6" address="{BRIDGE6}" prefix="64"/>
</network>
"""
DOMAIN = """\
<domain type="qemu">
  <name>{name}</name>
  {metadata}
  <memory unit="MiB">512</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{folder}/initramfs</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode="maximum"><feature policy="disable" name="la57"/></cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type="network">
      <mac address="{mac}"/>
      <source network="default"/>
      <model type="virtio"/>
    </interface>
    <filesystem type="mount" accessmode="passthrough" multidevs="remap">
      <source dir="/"/><target dir="host"/><readonly/>
    </filesystem>
    <filesystem type="mount" accessmode="passthrough" multidevs="remap">
      <source dir="{folder}/share"/><target dir="share"/>
    </filesystem>
    <channel type="unix">
      <source mode="bind" path="{folder}/channel"/>
      <target type="virtio" name="{channel}"/>
    </channel>
    <serial type="file"><source path="{folder}/console"/></serial>
    <memballoon model="none"/>
  </devices>
</domain>
"""


class Capture:
    """Whole frames that come in at a device, from one MAC."""

    def __init__(self, sock, mac):
        self.sock, self.source = sock, bytes.fromhex(mac.replace(":", ""))
        self.frames = []
        self.changed = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                frame, (_, _, kind, _, _) = self.sock.recvfrom(65535)
            except OSError:
                return
            if kind != socket.PACKET_OUTGOING and frame[6:12] == self.source:
                with self.changed:
                    self.frames.append(frame)
                    self.changed.notify_all()

    def wait(self, count):
        with self.changed:
            return self.changed.wait_for(lambda: len(self.frames) >= count, WAIT_S)

    def wait_for(self, wanted):
        """A frame of which wanted() says yes."""
        with self.changed:
            return self.changed.wait_for(lambda: any(map(wanted, self.frames)), WAIT_S)

    def clear(self):
        with self.changed:
            self.frames.clear()


class Domain(vm.Channel):
    """A running guest of libvirt's."""

    def __init__(self, libvirt, name, folder):
        super().__init__()
        self.libvirt, self.name, self.folder = libvirt, name, folder

    def state(self):
        return self.libvirt.virsh("domstate", self.name, check=False).strip()

    def wait(self):
        def alive():
            if self.state() != "running":
                console = (self.folder / "console").read_bytes()[-2000:]
                raise RuntimeError(f"the guest is {self.state()}: {console.decode()}")
        self.open(self.folder / "channel", alive)

    def interface(self):
        """The host's device of its only NIC."""
        lines = self.libvirt.virsh("domiflist", self.name).splitlines()
        return next(line.split()[0] for line in lines if MAC in line)

    def statistics(self):
        """domifstat: {"rx_bytes": ..} as the guest sees the directions."""
        out = self.libvirt.virsh("domifstat", self.name, self.interface())
        return {field: int(value) for _, field, value in map(str.split, out.strip().splitlines())}

    def destroy(self):
        self.libvirt.virsh("destroy", self.name)


class Libvirt:
    def __init__(self, folder):
        self.folder = folder
        self.daemons, self.closing, self.number = {}, [], 0
        self.log = open(folder / "daemons", "w+", encoding="utf-8")
        self.lan = f"sl-virt-{os.getpid()}"
        try:
            self.prepare()
            self.enter()
            self.start("virtlogd")
            self.start("libvirtd")
            (folder / "network.xml").write_text(NETWORK)
            self.virsh("net-create", folder / "network.xml")
            self.join_neighbour()
        except BaseException:
            self.close()
            raise

    # ---- the capsule ----

    def prepare(self):
        lab.sh("cp", "-a", "/etc", str(self.folder / "etc"))
        etc = self.folder / "etc"
        for name, line in (("passwd", LOCAL_USER), ("group", LOCAL_GROUP)):
            with open(etc / name, "a", encoding="utf-8") as f:
                f.write(line)
        hooks = etc / "libvirt" / "hooks" / "qemu.d"
        hooks.mkdir(parents=True, exist_ok=True)
        self.hook, self.calls = hooks / "sluice", self.folder / "calls"
        (hooks / "zz-note").write_text(NOTE.format(self.calls))     # after it, by name
        (hooks / "zz-note").chmod(0o755)
        (etc / "libvirt" / "qemu.conf").write_text(QEMU_CONF)
        (etc / "sluice" / "libvirt").mkdir(parents=True, exist_ok=True)

    def enter(self):
        self.capsule = subprocess.Popen(
            ["unshare", "-mnpf", "--mount-proc", "--propagation", "private",
             str(HERE / "capsule"), str(self.folder)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log)
        if self.capsule.stdout.readline() != "ready\n":
            raise RuntimeError(f"the capsule: {self.said()}")
        children = f"/proc/{self.capsule.pid}/task/{self.capsule.pid}/children"
        self.pid = pathlib.Path(children).read_text().split()[0]
        self.inside = ["nsenter", "-t", self.pid, "-m", "-n", "-p"]
        path = f"{pathlib.Path(lab.SLUICE).resolve().parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        self.env = {**os.environ, "PATH": path}     # libvirt hands PATH on to its hooks

    def said(self):
        self.log.flush()
        return (self.folder / "daemons").read_text(errors="replace")[-4000:]

    def run(self, *words, check=True, **more):
        done = subprocess.run([*self.inside, *map(str, words)], env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=WAIT_S, **more)
        assert not check or done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
        return done

    def start(self, daemon):
        """and wait until it answers"""
        made = subprocess.Popen([*self.inside, daemon], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=self.log, stderr=self.log)
        self.daemons[daemon] = made
        answers = (lambda: self.run("virsh", "version", check=False).returncode == 0) \
            if daemon == "libvirtd" else \
            (lambda: self.run("test", "-S", "/run/libvirt/virtlogd-sock", check=False)
             .returncode == 0)
        end = time.monotonic() + WAIT_S
        while not answers():
            if made.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{daemon} does not start: {self.said()}")
            time.sleep(0.05)

    def stop(self, daemon):
        made = self.daemons.pop(daemon)
        # the child of nsenter, which entered the process namespace for it
        children = f"/proc/{made.pid}/task/{made.pid}/children"
        for pid in pathlib.Path(children).read_text().split():
            os.kill(int(pid), 15)
        made.wait(WAIT_S)

    def restart(self, guest=None):
        """Returns when libvirtd has found the guest again."""
        self.stop("libvirtd")
        self.begin(guest)

    def begin(self, guest=None):
        before = guest and self.called(guest.name, "reconnect")
        self.start("libvirtd")
        assert not guest or lab.until(lambda: self.called(guest.name, "reconnect") > before,
                                      WAIT_S)

    def virsh(self, *words, check=True):
        done = self.run("virsh", "-q", *words, check=check)
        return done.stdout + done.stderr

    def sluice(self, *words):
        return self.run(lab.SLUICE, *words).stdout

    def target(self, device):
        targets = json.loads(self.sluice("status", "-o", "json"))["targets"]
        return next((t for t in targets if t["name"] == device), None)

    def pins(self):
        """Every path that Sluice has in the capsule's bpf file system."""
        return self.run("find", "/sys/fs/bpf", "-mindepth", "1").stdout.split()

    def set_hook(self, installed):
        """libvirtd looks for hooks when it starts."""
        if self.hook.exists() == installed:
            return
        if installed:
            shutil.copy(HOOK, self.hook)
        else:
            self.hook.unlink()
        self.restart()

    def called(self, name, operation):
        """How often the hooks have come to their end for this."""
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        return calls.count(f"{name} {operation}")

    def policy(self, text):
        """of every guest that has none of its own"""
        path = self.folder / "etc" / "sluice" / "libvirt" / "default.yaml"
        path.write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def configuration(self, text):
        path = self.folder / "etc" / "sluice" / "libvirt.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            path.unlink()

    @contextlib.contextmanager
    def broken(self, what):
        """What may be wrong when libvirtd starts the next time."""
        policy = self.folder / "etc" / "sluice" / "libvirt" / "default.yaml"
        text, path = policy.read_text(), self.env["PATH"]
        with contextlib.ExitStack() as undo:
            undo.callback(policy.write_text, text)
            undo.callback(self.env.__setitem__, "PATH", path)
            if what == "policy":
                policy.write_text("sluice: 1\nrules: [allow]\n")
            elif what == "no policy":
                policy.unlink()
            elif what == "configuration":
                undo.enter_context(self.configuration("fail: perhaps\n"))
            elif what == "no sluice":
                self.env["PATH"] = path.partition(":")[2]
            else:
                raise ValueError(what)
            yield

    def devices(self, prefix):
        names = self.run("ls", "/sys/class/net").stdout.split()
        return [name for name in names if name.startswith(prefix)]

    # ---- the neighbour ----

    def join_neighbour(self):
        lab.sh("ip", "netns", "add", self.lan)
        self.closing.append(lambda: lab.sh("ip", "netns", "del", self.lan, check=False))
        lab.sh("ip", "-n", self.lan, "link", "set", "lo", "up")
        self.run("ip", "link", "add", "l0", "type", "veth", "peer", "name", "l1")
        lab.sh("nsenter", "-t", self.pid, "-n", "ip", "link", "set", "l1", "netns", self.lan)
        self.run("ip", "link", "set", "l0", "master", "virbr0", "up")
        lab.Lab.address(self.lan, "l1", f"{LAN4}/24", f"{LAN6}/64")
        echo = echoes.Echo()
        for port in PORTS:
            echo.add_tcp(self.lan_socket, port)
            echo.add_udp(self.lan_socket, port)
        sock = self.lan_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(lab.ETH_P_ALL))
        sock.bind(("l1", lab.ETH_P_ALL))
        self.capture = Capture(sock, MAC)
        sink = echoes.Sink(self.lan_socket, SINK)
        self.closing += [sink.close, echo.close, sock.close]

    def lan_socket(self, *arguments):
        return lab.Lab.socket(self.lan, *arguments)

    def unsolicited(self, to):
        """What the neighbour sends without being asked."""
        for _ in range(5):
            self.lan_socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"unasked", (to, 9))

    # ---- guests ----

    @contextlib.contextmanager
    def guest(self, early=None, metadata=""):
        """A guest that libvirt has started; a Domain, not waited for."""
        self.number += 1
        name = f"guest-{self.number}"
        folder = self.folder / name
        folder.mkdir()
        kernel = kernels.get(KERNEL)
        machine.prepare(folder, kernel, vm.AGENT, early=early)
        (folder / "domain.xml").write_text(DOMAIN.format(
            name=name, metadata=metadata, kernel=kernel.image, folder=folder, mac=MAC,
            cmdline=machine.KERNEL_LINE, channel=machine.CHANNEL))
        domain = Domain(self, name, folder)
        self.capture.clear()
        self.virsh("create", folder / "domain.xml")
        try:
            yield domain
        finally:
            domain.close()
            self.virsh("destroy", name, check=False)
            shutil.rmtree(folder)

    def close(self):
        for daemon in ("libvirtd", "virtlogd"):
            if daemon in self.daemons:
                self.stop(daemon)
        if hasattr(self, "capsule"):
            self.capsule.stdin.close()
            self.capsule.wait(WAIT_S)
        for undo in reversed(self.closing):
            undo()
        self.log.close()
