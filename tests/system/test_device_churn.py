# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Taps that come and go, a thousand of them or as many as a minute gives: nothing
of them is left, and no frame of one passes before it is judged or after."""
import concurrent.futures
import contextlib
import json
import os
import time

from bpfobjects import PinnedMap, maps_of, program_of, snapshot
from cli_tools import BUILD
from devicelab import ANOTHER_MAC, datagram, rules
from deviceport import PLAIN, open_tap
from lab import ECHO, PEER4, sh, until

TAPS, BATCH, SECONDS = 1000, 25, 60
GROUP = 77
FLOOR = str(BUILD / "tests" / "link_floor")
POLICY = rules(f'allow: ["{PEER4}:{ECHO}"]')
OUTER = {"sl_tables": 8192, "sl_flows": 4096}       # arrays of maps: places


class Taps:
    """A batch, made, attached while it is down, and deleted with one request."""

    def __init__(self, lab, policy, first):
        self.lab, self.names = lab, [f"churn{first + i}" for i in range(BATCH)]
        self.fds = [open_tap(lab.host, name) for name in self.names]

        def attach(name):
            lab.guard.run("attach", "--dev", name, "-p", policy, "--mac", ANOTHER_MAC)
        with concurrent.futures.ThreadPoolExecutor(4) as several:   # as guests start
            list(several.map(attach, self.names))

    def up(self):
        commands = [f"link set {name} master br0 group {GROUP} up" for name in self.names]
        sh("ip", "-n", self.lab.host, "-batch", "-", input="\n".join(commands))

    def send(self, mark):
        """Each a denied datagram."""
        for fd in self.fds:
            os.write(fd, PLAIN + datagram("198.51.100.44", ECHO, mark, mac_source=ANOTHER_MAC))

    def close(self):
        sh("ip", "-n", self.lab.host, "link", "del", "group", str(GROUP), check=False)
        for fd in self.fds:
            os.close(fd)


def held(lab):
    """What the state holds: pins, targets, tables, flow tables, counters by rule, and the
    kernel's memory for its maps."""
    state, count = lab.guard.state, {}
    count["targets"] = len(lab.guard.status())
    count["pins"] = sorted(str(path.relative_to(state)) for path in state.rglob("*"))
    for name, places in OUTER.items():
        with contextlib.closing(PinnedMap(state / name)) as outer:
            count[name] = outer.inner_maps(places)
    with contextlib.closing(PinnedMap(state / "sl_hits")) as hits:
        count["sl_hits"] = len(list(hits.keys(16)))
    with contextlib.closing(PinnedMap(next(state.glob("netns-*/sl_devices")))) as devices:
        count["sl_devices"] = len(list(devices.keys(4)))
    count["bytes"] = sum(
        json.loads(sh("bpftool", "-j", "map", "show", "pinned", str(path)))["bytes_memlock"]
        for path in state.glob("sl_*"))
    return count


def map_numbers(lab):
    """The ids of the state's maps."""
    numbers = set()
    for path in lab.guard.state.glob("sl_*"):
        with contextlib.closing(PinnedMap(path)) as pinned:
            numbers.add(pinned.number())
    return numbers


def own_objects(maps):
    """The programs over the state's maps, and their links: others are at work on the
    machine too. A map that no pin, program or map of maps holds is gone with its process,
    so `held` counts those that are left."""
    now = snapshot()
    programs = {number for number in now["programs"] if maps_of(number) & maps}
    return {"programs": programs,
            "links": {link for link in now["links"] if program_of(link) in programs}}


def targets_left(lab):
    """Of devices that are gone, before a command has looked at all of them: by their pins."""
    return len(list(lab.guard.state.glob("netns-*/link-*-from")))


def available():
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))


def floor(lab):
    """What the kernel takes to link a program of two instructions to both directions of a
    tap, and to take it off: ms. Nobody has both done faster."""
    names = [f"floor{i}" for i in range(BATCH)]
    fds = [open_tap(lab.host, name) for name in names]
    try:
        return tuple(map(float, sh("ip", "netns", "exec", lab.host, FLOOR, *names).split()))
    finally:
        for fd in fds:
            os.close(fd)


def test_a_thousand_taps(device_labs, tally, capsys):
    lab = device_labs("tap", "churn")
    policy = lab.guard.policy(POLICY)
    lab.guard.run("attach", "--dev", lab.device, "-p", policy)
    batch = Taps(lab, policy, 0)        # what is made once is made
    batch.up()
    batch.close()
    maps = map_numbers(lab)
    before, objects, memory = held(lab), own_objects(maps), available()
    via_tcx = lab.guard.status(lab.device)["via"] == "tcx"
    assert len(objects["programs"]) == 2 and len(objects["links"]) == (2 if via_tcx else 0)
    mark, position, begin, done = os.urandom(8), lab.sink.position(), time.monotonic(), 0
    while done < TAPS and time.monotonic() - begin < SECONDS:
        batch = Taps(lab, policy, 1000 + done)
        try:
            batch.up()
            batch.send(mark)
        finally:
            batch.close()
        done += BATCH
    seconds = time.monotonic() - begin
    gathered = targets_left(lab)
    lab.probe()
    passed = lab.sink.since(position, mark)
    tally(done - len(passed), done)
    after = held(lab)

    until(lambda: own_objects(maps) == objects, 5, 0.2)
    left = {kind: len(now - objects[kind]) for kind, now in own_objects(maps).items()}
    least = floor(lab) if via_tcx else None
    with capsys.disabled():
        print(f"\n{done} taps created, attached and deleted in {seconds:.1f} s"
              + (f" ({seconds / done * 1000:.1f} ms each, of which the kernel takes {least[0]:.1f} to link "
                 f"any two programs and {least[1]:.1f} to take them off)" if least else "")
              + "; left: "
              f"{after['targets'] - before['targets']} targets, "
              f"{len(after['pins']) - len(before['pins'])} pins, "
              f"{after['sl_tables'] - before['sl_tables']} tables, "
              f"{after['sl_flows'] - before['sl_flows']} flow tables, "
              f"{after['bytes'] - before['bytes']} bytes of maps; "
              + ", ".join(f"{n} {kind}" for kind, n in left.items())
              + f", {memory - available()} KiB less available")
    assert not passed
    # Nobody has asked for the status: attaching alone has found those of earlier batches.
    assert gathered <= 2 * BATCH, f"{gathered} targets of devices that are gone"
    for of_the_other in ("bytes", "sl_hits"):       # the lab's own device goes on counting
        assert after.pop(of_the_other) - before.pop(of_the_other) < done
    assert after == before
    assert done >= 200
    assert not any(left.values()), left
