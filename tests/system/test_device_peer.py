# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A container's root with CAP_NET_ADMIN and an ifb device: what that hands on is marked to
skip tc at the host's end of the veth. A program of ours at the container's end drops it.
Each test first shows such frames arriving, where that program is not."""
import ctypes
import errno
import json
import os
import pathlib
import re
import struct
import subprocess

import pytest

from devicelab import BINDING, PEER4, PEER6, accounts, datagram, rules
from lab import SLUICE, sh, until

TRIES = 64
# Redirects half of what leaves, by chance (SKF_AD_RANDOM): of four frames one goes to the
# ifb and, handed on, leaves without the filter's action, which would take the mark away.
FILTER = ("protocol all bpf bytecode 4,32_0_0_4294963256,69_0_1_1,6_0_0_4294967295,6_0_0_0 "
          "action mirred egress redirect dev ifb0")
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
DENY = rules("deny: any")
# linux/bpf.h of 6.6, x86-64
SYS_BPF, TCX_EGRESS, BEFORE, AFTER = 321, 47, 8, 16
BPF_OBJ_GET, BPF_PROG_DETACH, BPF_LINK_GET_FD_BY_ID = 7, 9, 30
libc = ctypes.CDLL(None, use_errno=True)


def tool(lab, *words, check=True):
    return subprocess.run([*lab.inside(), *words], check=check, capture_output=True, text=True)


def redirect(lab, device="w0"):
    """What the container's root does."""
    tool(lab, *f"tc qdisc replace dev {device} clsact".split())
    words = f"tc filter add dev {device} egress {FILTER}".split()
    tool(lab, *(word.replace("_", " ") for word in words))


def pins(lab):
    return list(lab.guard.state.glob("netns-*/link-*-peer"))


def open_peer(lab):
    """Takes our program off the other end: as it was without it."""
    for pin in pins(lab):
        pin.unlink()
    assert lab.status()["peer"] == "open"


@pytest.fixture(name="container")
def container_fixture(device_labs, request):
    """A lab whose container has an ifb; a policy that denies all."""
    lab = device_labs("veth", "peer")
    if tool(lab, *"ip link add ifb0 type ifb".split(), check=False).returncode and \
            tool(lab, *"ip link show ifb0".split(), check=False).returncode:
        pytest.skip("this kernel has no ifb interfaces")
    tool(lab, *"ip link set ifb0 up".split())
    lab.configure(DENY, *BINDING)
    if lab.status()["via"] != "tcx":
        pytest.skip("this kernel has no tcx")
    lab.attach_again()
    redirect(lab)
    return lab


def attack(lab, v6):
    """Frames with a mark that the policy denies; the mark."""
    mark = b"past" + os.urandom(8)
    for number in range(TRIES):
        lab.send(datagram(PEER6 if v6 else PEER4, 7000 + number, mark))
    return mark


def arrives(lab, v6):
    """Until one arrives: a link whose pin is gone goes a little later."""
    def once():
        position = lab.sink.position()
        return lab.sink.wait(attack(lab, v6), position, 1)
    return until(once, 10)


def reasons(lab, start):
    return [event["reason"] for event in lab.fence(start)
            if event["destination"]["port"] in range(7000, 7000 + TRIES)]


def held(lab, v6):
    """Nothing of an attack arrives, and all of it is denied: by the policy, or as marked."""
    start, position, before = lab.mark(), lab.sink.position(), lab.status()
    mark = attack(lab, v6)
    found = reasons(lab, start)
    after = lab.status()
    assert not lab.sink.since(position, mark)
    assert "skips-tc" in found, found
    assert after["tx_denied"] - before["tx_denied"] >= TRIES
    assert accounts(after) and after["peer"] == "guarded"
    assert after["unjudged"] == before["unjudged"]
    return True


@FAMILIES
def test_marked_frames_end_at_the_containers_end(container, v6):
    open_peer(container)
    before = container.status()["unjudged"]
    assert arrives(container, v6), "enforcement off: they arrive"
    assert until(lambda: container.status()["unjudged"] > before, 10)
    told = container.guard.run("status").stdout
    assert f"{container.device}: it has received frames that our programs never saw" in told
    assert f"{container.device}: a veth whose other end is not guarded" in told

    container.attach_again()            # puts it back
    assert container.status()["peer"] == "guarded"
    assert "not guarded" not in container.guard.run("status").stdout
    assert held(container, v6)
    container.configure(rules(f'allow: ["{PEER4}", "[{PEER6}]"]', 'deny: any'), *BINDING)
    position = container.sink.position()
    mark = b"allowed" + os.urandom(8)
    tool(container, *"tc qdisc del dev w0 clsact".split())
    container.send(datagram(PEER6 if v6 else PEER4, 7100, mark))
    assert container.sink.wait(mark, position), "what is not marked is judged as ever"


def bpf_as_root(lab, command, attr):
    """bpf(2) in the container's network namespace, without CAP_SYS_ADMIN: errno, or 0."""
    code = (f"import ctypes; c = ctypes.CDLL(None, use_errno=True); "
            f"r = c.syscall({SYS_BPF}, {command}, {attr!r}, {len(attr)}); "
            f"print(ctypes.get_errno() if r < 0 else 0)")
    return int(tool(lab, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin",
                    "/usr/bin/python3", "-c", code).stdout)


def test_bpf_calls_do_not_take_it_off(container):
    """Detaching whatever program is first or last there, and opening its link by id."""
    index, = json.loads(tool(container, *"ip -j link show w0".split()).stdout)
    for flags in (0, BEFORE, AFTER):
        attr = struct.pack("=IIIIIIQ", index["ifindex"], 0, TCX_EGRESS, flags, 0, 0, 0)
        assert bpf_as_root(container, BPF_PROG_DETACH, attr), f"flags {flags}"
    attr = ctypes.create_string_buffer(struct.pack("=QII", 0, 0, 0), 16)
    pin, = pins(container)
    path = ctypes.create_string_buffer(str(pin).encode())
    struct.pack_into("=Q", attr, 0, ctypes.addressof(path))
    fd = libc.syscall(SYS_BPF, BPF_OBJ_GET, attr, 16)
    assert fd >= 0
    info = pathlib.Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
    os.close(fd)
    link = int(re.search(r"^link_id:\s*(\d+)", info, re.M).group(1))
    assert bpf_as_root(container, BPF_LINK_GET_FD_BY_ID, struct.pack("=III", link, 0, 0)) == \
        errno.EPERM
    assert container.status()["peer"] == "guarded" and held(container, False)


def test_its_root_cannot_take_the_guard_off(container):
    """What root of the container's namespace has: queueing disciplines, filters, moving the
    device to another namespace and back. Its end has one of another index then."""
    open_peer(container)
    assert arrives(container, False)
    container.attach_again()
    inside, away = container.port.inside, container.namespace("away")
    tool(container, *"tc qdisc del dev w0 clsact".split())
    tool(container, *"tc qdisc replace dev w0 root htb".split())
    redirect(container)
    assert held(container, False)
    tool(container, *f"ip link set w0 netns {away}".split())
    assert container.status()["peer"] == "guarded"
    sh("ip", "-n", away, "link", "set", "w0", "name", "w1", "netns", inside)
    sh("ip", "-n", inside, "link", "set", "w1", "name", "w0", "up")
    container.port.reopen()
    redirect(container)
    assert held(container, False) and held(container, True)


@FAMILIES
def test_audit_lets_them_pass_and_says_it(container, v6):
    container.configure(DENY, *BINDING, "--audit")
    start = container.mark()
    assert arrives(container, v6)
    events = [e for e in container.fence(start) if e["reason"] == "skips-tc"]
    assert events and {e["verdict"] for e in events} == {"audit-deny"}
    assert {e["hook"] for e in events} == {"tc-ingress"}
    container.configure(DENY, *BINDING)
    assert held(container, v6)


def test_detach_takes_it_off(container):
    assert pins(container) and held(container, False)
    container.guard.detach(container.device)
    assert not pins(container)
    assert arrives(container, False)
    container.attach_again()
    assert held(container, False)


def test_a_veth_with_both_ends_here_and_one_that_moves(container):
    """Attached before its other end is given to a container, as network plugins do."""
    host, inside = container.host, container.namespace("moved")
    sh("ip", "-n", host, "link", "add", "late0", "type", "veth", "peer", "name", "late1")
    container.guard.attach("late0", DENY)
    try:
        assert container.guard.status("late0")["peer"] == "guarded"
        sh("ip", "-n", host, "link", "set", "late1", "netns", inside)
        assert container.guard.status("late0")["peer"] == "guarded"
    finally:
        sh("ip", "-n", host, "link", "del", "late0")
    container.guard.run("status")
    assert len(pins(container)) == 1, "it goes with the device"
    assert container.guard.status(container.device)["peer"] == "guarded"


def test_a_container_without_a_name(container):
    """Its namespace has no name in /run/netns: a process is in it, as of most containers.
    While none is and nobody can enter it, it is open, and said so; attached again, guarded."""
    host = container.host
    child = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; read x"], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    sh("ip", "-n", host, "link", "add", "anon0", "type", "veth", "peer", "name", "anon1",
       "netns", str(child.pid))
    try:
        policy = container.guard.policy(DENY)
        attach = ["attach", "--dev", "anon0", "-p", policy]
        blind = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
        done = subprocess.run([*container.inside(host), *blind, SLUICE, *map(str, attach)],
                              env=container.guard.env, capture_output=True, text=True,
                              check=True)
        assert "unless its other end is guarded" in done.stdout
        assert container.guard.status("anon0")["peer"] == "open"
        assert "other end" not in container.guard.run(*attach).stdout
        assert container.guard.status("anon0")["peer"] == "guarded"
    finally:
        child.communicate("\n")
        sh("ip", "-n", host, "link", "del", "anon0", check=False)


def test_watch_guards_too(container):
    """And what it has put there stays when it ends."""
    host, inside = container.host, container.namespace("watched")
    with container.guard.watching(DENY, "wv*") as watch:
        sh("ip", "-n", host, "link", "add", "wv0", "type", "veth", "peer", "name", "w0",
           "netns", inside)
        assert until(lambda: (container.guard.status("wv0") or {}).get("peer") == "guarded", 10)
    assert watch.returncode is not None
    assert container.guard.status("wv0")["peer"] == "guarded"
    sh("ip", "-n", host, "link", "del", "wv0")
    container.guard.run("status")
    assert len(pins(container)) == 1


def test_a_tap_has_no_other_end(device_labs):
    lab = device_labs("tap", "peer")
    lab.configure(DENY, *BINDING)
    assert lab.status()["peer"] is None and not pins(lab)
