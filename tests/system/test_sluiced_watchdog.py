# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced: what others do to what is in place is found, told and mended; what is not ours is
refused; and what is ours is taken over."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import time

import pytest

import bpfsys
from lab import SLUICE
from sluicedlab import AGENT, Prober, WAIT, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


@pytest.fixture
def running(host):
    """vnet0 enforced, and a monitor of what is told."""
    host.prober = Prober(host)
    host.configure()
    host.start_daemon()
    host.first = host.attached("vnet0", policy="agent")
    assert not host.prober.arrives("198.51.100.1")
    host.monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 1)
    yield host
    host.prober.close()


def folder(host):
    return next(pathlib.Path(host.state).glob("netns-*"))


def pins(host, way):
    return folder(host) / f"link-{host.ifindex('vnet0')}-{way}"


def found_and_mended(host, why, since):
    """Told, and enforced again."""
    line = host.monitor.wait(lambda l: l.get("event") == "foreign-change")
    took = time.monotonic() - since
    print(f"\n{why}: told after {took:.2f} s")
    assert why in line["why"], line
    assert line["target"]["name"] == "vnet0"
    host.attached("vnet0", policy="agent", state="attached", whole=True)
    assert not host.prober.arrives("198.51.100.1") and host.prober.arrives("192.0.2.1")
    assert host.full_status()["daemon"]["foreign_changes"] >= 1


@pytest.mark.parametrize("way", ["from", "to"])
def test_a_link_that_is_detached(running, way):
    start = time.monotonic()
    bpfsys.detach(pins(running, way))
    found_and_mended(running, "took the programs off", start)


def test_both_links_are_detached(running):
    start = time.monotonic()
    bpfsys.detach(pins(running, "from"))
    bpfsys.detach(pins(running, "to"))
    found_and_mended(running, "took the programs off", start)


def test_a_link_whose_pin_is_removed(running):
    start = time.monotonic()
    pins(running, "from").unlink()
    found_and_mended(running, "took the programs off", start)


def test_a_program_before_ours(running):
    """TCX_PASS of a program in front of ours: ours is not even asked."""
    index = running.ifindex("vnet0")

    def attach():
        program = bpfsys.program(0)
        try:
            return bpfsys.tcx_first(program, index)
        finally:
            os.close(program)
    start = time.monotonic()
    link = running.within(attach)
    try:
        found_and_mended(running, "another program runs before ours", start)
    finally:
        os.close(link)


def word_of(host, slot):
    fd = bpfsys.get(pathlib.Path(host.state) / "sl_words")
    try:
        return struct.unpack("=Q", bpfsys.lookup(fd, struct.pack("=I", slot)))[0]
    finally:
        os.close(fd)


def set_word(host, slot, word):
    fd = bpfsys.get(pathlib.Path(host.state) / "sl_words")
    try:
        bpfsys.update(fd, struct.pack("=I", slot), struct.pack("=Q", word))
    finally:
        os.close(fd)


WORDS = {"cleared": lambda w: 0, "another index": lambda w: w ^ 1, "another slot": lambda w: w + 8,
         "another generation": lambda w: w + (1 << 16)}


@pytest.mark.parametrize("change", WORDS.values(), ids=WORDS.keys())
def test_a_word_that_is_changed(running, change):
    slot = running.first["slot"]
    start = time.monotonic()
    set_word(running, slot, change(word_of(running, slot)))
    found_and_mended(running, "sl_words was changed", start)
    assert running.status()["vnet0"]["generation"] > running.first["generation"]


def test_a_table_that_is_changed(running):
    """A map of the right shape in its place: not ours, not frozen."""
    slot = running.first["slot"]
    index = word_of(running, slot) & 0x7fff
    outer = bpfsys.get(pathlib.Path(running.state) / "sl_tables")
    fake = bpfsys.array(4096, 2, (1 << 10) | (1 << 12))      # MMAPABLE, INNER_MAP
    start = time.monotonic()
    bpfsys.update(outer, struct.pack("=I", index), struct.pack("=I", fake))
    os.close(outer)
    os.close(fake)
    found_and_mended(running, "sl_tables was changed", start)


def test_what_leads_to_the_target_is_changed(running):
    devices = bpfsys.get(folder(running) / "sl_devices")
    start = time.monotonic()
    bpfsys.delete(devices, struct.pack("=I", running.ifindex("vnet0")))
    os.close(devices)
    found_and_mended(running, "sl_devices was changed", start)


def test_a_foreign_table_is_never_shown_as_in_force(host):
    """Without a daemon: status says REFUSED, not the policy that the word means."""
    host.veth("vnet0")
    done = host.sluice("attach", "--dev", "vnet0", "-p", host.write(AGENT))
    assert done.returncode == 0
    target = host.status()["vnet0"]
    index = word_of(host, target["slot"]) & 0x7fff
    outer = bpfsys.get(pathlib.Path(host.state) / "sl_tables")
    fake = bpfsys.array(4096, 2, (1 << 10) | (1 << 12))
    bpfsys.update(outer, struct.pack("=I", index), struct.pack("=I", fake))
    os.close(outer)
    os.close(fake)
    after = host.status()["vnet0"]
    assert not after["whole"] and after["policy"] is None
    text = host.sluice("status").stdout
    assert "REFUSED" in text and "vnet0           agent" not in text
    # a daemon whose configuration names the device takes it over and gives it a table
    host.configure()
    host.start_daemon()
    host.attached("vnet0", policy="agent", whole=True)


def test_the_pins_are_removed(running):
    start = time.monotonic()
    shutil.rmtree(running.state)
    line = running.monitor.wait(lambda l: l.get("event") == "foreign-change")
    print(f"\nall pins removed: told after {time.monotonic() - start:.2f} s")
    assert line["target"]["name"] == "vnet0"
    running.attached("vnet0", policy="agent", state="attached")
    assert not running.prober.arrives("198.51.100.1") and running.prober.arrives("192.0.2.1")


# ---- taken over ----

def test_a_restart_adopts_what_is_the_same(host):
    prober = Prober(host)
    try:
        host.configure()
        host.start_daemon()
        first = host.attached("vnet0", policy="agent")
        links = {p.name: os.stat(p).st_ino for p in folder(host).iterdir()}
        host.kill_daemon()
        assert not prober.arrives("198.51.100.1")
        host.start_daemon()
        host.daemon.wait_error("adopted vnet0")
        second = host.attached("vnet0", policy="agent", state="attached")
        assert second["generation"] == first["generation"]
        assert {p.name: os.stat(p).st_ino for p in folder(host).iterdir()} == links
        host.kill_daemon()
        host.configure(agent=AGENT.replace("192.0.2.0/24", "[192.0.2.0/24, 198.51.100.1]"))
        assert not prober.arrives("198.51.100.1")
        host.start_daemon()
        assert until(lambda: host.status()["vnet0"]["generation"] > first["generation"])
        assert prober.arrives("198.51.100.1")
    finally:
        prober.close()


def test_what_somebody_else_attached_is_left(host):
    host.veth("vnet0")
    path = host.write(AGENT.replace("name: agent", "name: hand"))
    assert host.sluice("attach", "--dev", "vnet0", "-p", path).returncode == 0
    host.configure()
    host.start_daemon()
    host.attached("vnet0", policy="hand", state="left")
    assert any("another policy" in w for w in host.full_status()["warnings"])


# ---- refused ----

def refused(host, *says):
    daemon = host.start_daemon(wait=False)
    assert daemon.child.wait(WAIT) == 1
    for text in says:
        daemon.wait_error(text)
    assert not os.path.exists(host.socket)


@pytest.fixture
def pinned(host):
    host.veth("vnet0")
    assert host.sluice("attach", "--dev", "vnet0", "-p", host.write(AGENT)).returncode == 0
    host.configure()
    return host


def test_pins_of_another_version(pinned):
    path = pathlib.Path(pinned.state) / "sl_info"
    fd = bpfsys.get(path)
    info = bytearray(bpfsys.lookup(fd, struct.pack("=I", 0)))
    at = 32
    info[at:at + 4] = struct.pack("=I", struct.unpack_from("=I", info, at)[0] + 100)
    info[56 + 6] += 1               # the layout of its flows: test_upgrade.py has others
    bpfsys.update(fd, struct.pack("=I", 0), info)
    os.close(fd)
    refused(pinned, f"{pinned.state}/sl_flows: of another layout")


def test_half_written_pins(pinned):
    (pathlib.Path(pinned.state) / "sl_info").unlink()
    refused(pinned, pinned.state, "half written")


def test_a_pin_that_is_missing(pinned):
    (pathlib.Path(pinned.state) / "sl_hits").unlink()
    refused(pinned, pinned.state, "a map is missing")


def test_a_pin_of_a_wrong_type(pinned):
    path = pathlib.Path(pinned.state) / "sl_stats"
    path.unlink()
    fd = bpfsys.array(8, 4)
    bpfsys.pin(fd, path)
    os.close(fd)
    refused(pinned, str(path), "another kind or size")


@pytest.mark.parametrize("name", ["sl_words", "sl_targets", "sl_stats", "sl_flow_locks", "sl_hits"])
def test_a_map_that_the_programs_do_not_use(pinned, name):
    """Of the right kind and size, in the pin's place: what is written to it decides nothing."""
    path = pathlib.Path(pinned.state) / name
    of = json.loads(subprocess.run(["bpftool", "-j", "map", "show", "pinned", str(path)], check=True,
                                   capture_output=True, text=True).stdout)
    ours = bpfsys.get(path)
    path.unlink()
    subprocess.run(["bpftool", "map", "create", str(path), "type", of["type"], "key",
                    str(of["bytes_key"]), "value", str(of["bytes_value"]), "entries",
                    str(of["max_entries"]), "name", name, "flags", str(of["flags"])], check=True)
    refused(pinned, str(path), "not the map that")
    done = pinned.sluice("status")
    assert done.returncode == 1 and str(path) in done.stderr, done
    path.unlink()
    bpfsys.pin(ours, path)
    os.close(ours)
    pinned.start_daemon()
    pinned.attached("vnet0", policy="agent")


def test_a_program_where_a_map_should_be(pinned):
    path = pathlib.Path(pinned.state) / "sl_words"
    path.unlink()
    fd = bpfsys.program(0)
    bpfsys.pin(fd, path)
    os.close(fd)
    refused(pinned, str(path))


def test_a_foreign_program(pinned):
    path = folder(pinned) / "sluice_from_workload"
    path.unlink()
    fd = bpfsys.program(0)
    bpfsys.pin(fd, path)
    os.close(fd)
    refused(pinned, str(path), "not the program that it should be")
