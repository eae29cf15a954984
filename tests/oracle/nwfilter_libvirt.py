#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Random network filters: the converted policy against the rules that libvirt makes.

    nwfilter_libvirt.py --build DIR [--seed N] [--count N] [FILTER.xml...]

The FILTERs, and N random ones.

A libvirtd of its own, in namespaces of its own, binds each filter to a veth and so
makes its ebtables, iptables and ip6tables rules; these are read back and walked, packet
by packet, as nwfilter_differential.py does with its naive reading. So this compares the
converter, and that reading, with libvirt itself. Needs root, libvirt-daemon,
libvirt-clients, iptables and ebtables. Exit 1: a difference.
"""
import argparse
import collections
import ipaddress
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile

import nwfilter_differential as differential
import nwfilter_reading as reading

MAC, IP, IPV6 = "52:54:00:12:34:56", "10.0.0.2", "2001:db8::2"
OTHER_MAC = "52:54:00:99:99:99"
URI = "nwfilter:///system"
READY_SECONDS = 30
NAMES = {**reading.NUMBERS, "ipv6-icmp": 58}


class Unreadable(Exception):
    """A rule with a part that this reading does not know."""


def span(text, separator):
    low, _, high = text.partition(separator)
    return int(low), int(high or low)


def network(text):
    block = ipaddress.ip_network(text, strict=False)
    return int(block.network_address), int(block.broadcast_address)


# --- iptables-save

def iptables_line(words):
    """A Line of nwfilter_reading and the target of one -A line."""
    part = dict.fromkeys(("protocol", "source", "target", "sport", "dport", "icmp"))
    states, answer, jump = reading.EVERY, None, None
    words = iter(words)
    for word in words:
        if word == "-m":
            next(words)
        elif word == "-p":
            name = next(words)
            part["protocol"] = NAMES[name] if name in NAMES else int(name)
        elif word in ("-s", "-d"):
            part["source" if word == "-s" else "target"] = network(next(words))
        elif word in ("--src-range", "--dst-range"):
            low, high = next(words).split("-")
            part["source" if word == "--src-range" else "target"] = \
                int(ipaddress.ip_address(low)), int(ipaddress.ip_address(high))
        elif word in ("--sport", "--dport"):
            part[word[2:]] = span(next(words), ":")
        elif word in ("--icmp-type", "--icmpv6-type"):
            kind, _, code = next(words).partition("/")
            part["icmp"] = int(kind), int(code) if code else None
        elif word == "--ctstate":
            states = tuple(next(words).split(","))
        elif word == "--ctdir":
            answer = next(words) == "REPLY"
        elif word in ("--comment", "--reject-with"):
            next(words)
        elif word == "-j":
            jump = next(words)
        else:
            raise Unreadable(word)
    verdict = {"ACCEPT": "pass", "RETURN": "pass", "DROP": "drop", "REJECT": "drop"}[jump]
    return verdict, states, answer, part


def iptables_chains(text, family):
    chains = collections.defaultdict(list)
    for line in text.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and words[1] in ("FI-vnet0", "FO-vnet0", "HI-vnet0"):
            verdict, states, answer, part = iptables_line(words[2:])
            chains[words[1][:2]].append(reading.Line(verdict, states, answer, family, **part))
    return chains


# --- ebtables-save

KINDS = {"IPv4": "ip4", "IPv6": "ip6", "ARP": "arp"}


def ebtables_rule(words):
    wants, jump = {}, None
    words = iter(words)
    for word in words:
        if word == "-j":
            jump = next(words)
        elif word in ("-i", "-o"):
            next(words)
        else:
            wants[word] = next(words)
    return wants, jump


def frame_matches(wants, frame):
    """frame: kind, source and, of IP, address, target, protocol, sport, dport; of ARP,
    sender's address and MAC address."""
    for word, value in wants.items():
        if word == "-p":
            if KINDS.get(value, value) != frame["kind"]:
                return False
        elif word == "-s":
            if value != frame["source"]:
                return False
        elif word == "--arp-mac-src":
            if value != frame["sender"]:
                return False
        elif word in ("--ip-src", "--ip6-src", "--arp-ip-src", "--ip-dst", "--ip6-dst"):
            low, high = network(value)
            if not low <= int(frame["target" if word.endswith("dst") else "address"]) <= high:
                return False
        elif word in ("--ip-proto", "--ip6-proto"):
            if NAMES[value] != frame.get("protocol"):
                return False
        elif word in ("--ip-sport", "--ip6-sport", "--ip-dport", "--ip6-dport"):
            if int(value) != frame.get(word[-5:]):
                return False
        else:
            raise Unreadable(word)
    return True


class Frames:
    def __init__(self, text):
        self.chains = collections.defaultdict(list)
        for line in text.splitlines():
            words = shlex.split(line)
            if words[:1] == ["-A"]:
                self.chains[words[1]].append(ebtables_rule(words[2:]))

    def passes(self, way, frame):
        return self._walk("libvirt-I-vnet0" if way == "out" else "libvirt-O-vnet0", frame) != "DROP"

    def _walk(self, chain, frame):
        for wants, jump in self.chains[chain]:
            if "rarp" in jump or not frame_matches(wants, frame):
                continue
            if jump in ("ACCEPT", "DROP"):
                return jump
            if jump == "RETURN":
                return None
            if jump != "CONTINUE":
                verdict = self._walk(jump, frame)
                if verdict:
                    return verdict
        return None


class Made:
    """What libvirt made of a filter, with the questions of nwfilter_reading.Filter."""

    def __init__(self):
        self.tables = {4: iptables_chains(run("iptables-save", "-t", "filter"), 4),
                       6: iptables_chains(run("ip6tables-save", "-t", "filter"), 6)}
        self.frames = Frames(run("ebtables-save"))

    def passes(self, packet):
        frame = {"kind": f"ip{packet.family}", "source": MAC, "sport": packet.sport,
                 "dport": packet.dport, "protocol": packet.protocol, "target": packet.target,
                 "address": packet.source}
        if packet.way == "out":
            frame["address"] = ipaddress.ip_address(IP if packet.family == 4 else IPV6)
        if not self.frames.passes(packet.way, frame):
            return False
        chains = self.tables[packet.family]
        if packet.way == "in":
            return self._walk(chains["FO"], packet)
        forwarded, to_host = self._walk(chains["FI"], packet), self._walk(chains["HI"], packet)
        if forwarded != to_host:
            raise differential.Difference("libvirt judges packets to the host differently")
        return forwarded

    @staticmethod
    def _walk(lines, packet):
        for line in lines:
            if line.holds(packet):
                return line.verdict == "pass"
        return True

    def frame_passes(self, way, kind, has=reading.HONEST):
        own = {"ip4": IP, "ip6": IPV6, "arp": IP}[kind]
        other = "2001:db8:9::9" if kind == "ip6" else "192.0.2.99"
        frame = {"kind": kind, "source": MAC if "mac" in has else OTHER_MAC,
                 "sender": MAC if "arp-mac" in has else OTHER_MAC,
                 "address": ipaddress.ip_address(own if "address" in has else other),
                 "target": ipaddress.ip_address("2001:db8:7::7" if kind == "ip6" else "192.0.2.7"),
                 "protocol": 6, "sport": 1, "dport": 1}
        return self.frames.passes(way, frame)


# --- libvirt

def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def virsh(*commands):
    return run("virsh", "-q", "-c", URI, "; ".join(commands))


def hide_the_system(folder):
    """libvirt's folders, and its user, for this mount namespace alone."""
    run("mount", "--make-rprivate", "/")
    for path in ("/run/libvirt", "/run/lock", "/var/lib/libvirt", "/var/cache/libvirt",
                 "/var/log/libvirt", "/etc/libvirt"):
        if path == "/etc/libvirt":
            shutil.copytree(path, os.path.join(folder, "etc"))
            run("mount", "--bind", os.path.join(folder, "etc"), path)
        else:
            os.makedirs(path, exist_ok=True)
            run("mount", "-t", "tmpfs", "tmpfs", path)
    for name, line in (("passwd", "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n"),
                       ("group", "libvirt-qemu:x:64055:\nkvm:x:64056:\n")):
        copy = os.path.join(folder, name)
        with open("/etc/" + name, encoding="utf-8") as source, open(copy, "w") as target:
            text = source.read()
            target.write(text + "".join(entry for entry in line.splitlines(True)
                                        if not text.count(entry.split(":")[0] + ":")))
        run("mount", "--bind", copy, "/etc/" + name)
    os.makedirs("/etc/libvirt/nwfilter", exist_ok=True)
    if os.path.isdir("/usr/share/libvirt/nwfilter"):
        shutil.copytree("/usr/share/libvirt/nwfilter", "/etc/libvirt/nwfilter", dirs_exist_ok=True)


def start_libvirt(folder):
    """The daemon, when it has said that it is ready."""
    path = os.path.join(folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(path)
        ready.settimeout(READY_SECONDS)
        log = open(os.path.join(folder, "libvirtd.log"), "w+", encoding="utf-8")
        daemon = subprocess.Popen(["libvirtd"], stdout=log, stderr=log,
                                  env={**os.environ, "NOTIFY_SOCKET": path})
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
        except TimeoutError:
            daemon.kill()
            log.seek(0)
            raise RuntimeError(f"libvirtd is not ready: {log.read()[-2000:]}") from None
    return daemon


class Libvirt:
    def __init__(self, folder):
        self.filter = os.path.join(folder, "filter.xml")
        self.binding = os.path.join(folder, "binding.xml")
        for words in (("link", "add", "br0", "type", "bridge"), ("link", "set", "br0", "up"),
                      ("link", "add", "vnet0", "type", "veth", "peer", "name", "guest0"),
                      ("link", "set", "vnet0", "master", "br0"), ("link", "set", "vnet0", "up"),
                      ("link", "set", "guest0", "up"), ("link", "set", "lo", "up")):
            run("ip", *words)

    def make(self, text):
        name = reading.ElementTree.fromstring(text).get("name")
        with open(self.filter, "w", encoding="utf-8") as file:
            file.write(text)
        with open(self.binding, "w", encoding="utf-8") as file:
            file.write(f"<filterbinding><owner><name>guest</name>"
                       f"<uuid>5c6d49af-b071-6127-b4ec-6f8ed4b55335</uuid></owner>"
                       f"<portdev name='vnet0'/><mac address='{MAC}'/><filterref filter='{name}'>"
                       f"<parameter name='IP' value='{IP}'/>"
                       f"<parameter name='IPV6' value='{IPV6}'/></filterref></filterbinding>\n")
        virsh(f"nwfilter-define {self.filter}", f"nwfilter-binding-create {self.binding}")
        try:
            return Made()
        finally:
            virsh("nwfilter-binding-delete vnet0", f"nwfilter-undefine {name}")


class Lab(differential.Lab):
    """Compares with what libvirt makes; the naive reading must say the same as that."""

    def __init__(self, build, folder, libvirt):
        super().__init__(build, folder)
        self.libvirt = libvirt

    def readings_of(self, text):
        made, naive = self.libvirt.make(text), reading.Filter(text, "iptables")
        return {"iptables": Both(made, naive), "nftables": reading.Filter(text, "nftables")}


class Both:
    def __init__(self, made, naive):
        self.made, self.naive = made, naive

    def passes(self, packet):
        answer = self.made.passes(packet)
        if answer != self.naive.passes(packet):
            raise differential.Difference(f"the reading is wrong: libvirt says {answer} of "
                                          f"{vars(packet)}")
        return answer

    def frame_passes(self, *what):
        answer = self.made.frame_passes(*what)
        if answer != self.naive.frame_passes(*what):
            raise differential.Difference(f"the reading is wrong: libvirt says {answer} of {what}")
        return answer


def compare(given, folder):
    rng = random.Random(given.seed)
    lab = Lab(os.path.abspath(given.build), folder, Libvirt(folder))
    texts = [open(path, encoding="utf-8").read() for path in given.filters]
    while texts or lab.counts["converted"] < given.count + len(given.filters):
        text = texts.pop() if texts else differential.Maker(rng).filter()
        must = lab.counts["converted"] + lab.counts["refused"] < len(given.filters)
        try:
            lab.compare(text, rng)
            if must and lab.counts["refused"]:
                raise differential.Difference(f"refused: {dict(lab.refusals)}")
        except differential.Difference as what:
            print(f"seed {given.seed}: difference: {what}\n{text}")
            print(open(lab.path, encoding="utf-8").read() if os.path.exists(lab.path) else "")
            return 1
    status = lab.judge.close()
    flows = lab.counts["NEW"] + lab.counts["INVALID"]
    print(f"seed {given.seed}: {lab.counts['converted']} filters as libvirt makes them, {flows} "
          f"flows, {lab.counts['allowed'] / max(1, flows):.0%} allowed, 0 differences")
    return status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("filters", nargs="*")
    given = parser.parse_args()
    if not given.inside:
        os.execvp("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
                              "--mount-proc", sys.executable, *sys.argv, "--inside", "--seed",
                              str(given.seed)])
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        hide_the_system(folder)
        daemon = start_libvirt(folder)
        try:
            return compare(given, folder)
        finally:
            daemon.terminate()
            daemon.wait(timeout=30)
            run("umount", "/etc/libvirt", "/etc/passwd", "/etc/group")


if __name__ == "__main__":
    sys.exit(main())
