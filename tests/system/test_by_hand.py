# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What was attached by hand through sluiced, over a restart: followed, mended, and no other's."""
import os
import pathlib
import signal

import pytest

import bpfsys
from lab import SLUICE, cgroup2
from sluicedlab import AGENT, DaemonHost, Prober, WAIT, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

NOTHING = "sluiced: 1\ntargets: []\n"
ENDS = pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-h", tmp_path)
    made.cgroup = pathlib.Path(cgroup2()) / made.name
    made.cgroup.mkdir()
    made.prober = Prober(made)
    made.configure(NOTHING)
    try:
        yield made
    finally:
        made.prober.close()
        made.close()
        if made.cgroup.exists():
            made.cgroup.rmdir()


def attached(host):
    """vnet0 and a cgroup, by a file that is gone afterwards, and by a text."""
    path = host.write(AGENT, "by-hand.yaml")
    assert host.sluice("attach", "--dev", "vnet0", "-p", path, "--mac",
                       "52:54:00:12:34:56").returncode == 0
    done = host.sluice("attach", "--cgroup", host.cgroup, "-p", "-",
                       input=AGENT.replace("name: agent", "name: text"))
    assert done.returncode == 0, done
    path.unlink()


def restart(host, how):
    host.daemon.signal(how)
    host.daemon.child.wait(WAIT)
    host.start_daemon()


def files(host):
    return sorted(os.listdir(pathlib.Path(host.socket).parent / "by-hand"))


def targets(host):
    return {t["kind"]: t for t in host.full_status()["targets"]}


def followed(host):
    return until(lambda: all(t["state"] == "attached" and t["by_hand"] and t["attached"]
                             for t in targets(host).values()) and targets(host))


@ENDS
def test_followed_after_a_restart(host, how):
    assert host.prober.arrives("198.51.100.1")      # nothing enforced
    host.start_daemon()
    attached(host)
    first = targets(host)
    for _ in range(2):
        restart(host, how)
        now = followed(host)
        assert now, host.full_status()
        for kind in ("device", "cgroup"):           # as it was, to the bit
            assert now[kind]["generation"] == first[kind]["generation"]
            assert now[kind]["policy"] == first[kind]["policy"]
        assert host.prober.arrives("192.0.2.1") and not host.prober.arrives("198.51.100.1")
    assert sum("adopted" in line for line in host.daemon.errors) == 2, host.daemon.errors
    assert now["device"]["binding"]["mac"] == "52:54:00:12:34:56"


@ENDS
def test_what_others_do_is_mended_after_a_restart(host, how):
    host.start_daemon()
    attached(host)
    restart(host, how)
    assert followed(host)
    monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 1)
    bpfsys.detach(next(pathlib.Path(host.state).glob("netns-*/link-*-from")))
    bpfsys.detach(pathlib.Path(host.state) / "cgroups" / str(host.cgroup.stat().st_ino) /
                  "sluice_connect4")
    for name in ("vnet0", str(host.cgroup)):
        monitor.wait(lambda l, n=name: l.get("event") == "foreign-change" and
                     l["target"]["name"] == n)
    assert followed(host)
    assert host.prober.arrives("192.0.2.1") and not host.prober.arrives("198.51.100.1")


def test_the_witness_of_a_cgroup_that_is_there(host):
    """sluiced may open no cgroup by its id: one that is there is not taken for gone."""
    host.start_daemon()
    attached(host)
    bpfsys.detach(pathlib.Path(host.state) / "cgroups" / str(host.cgroup.stat().st_ino) /
                  "sluice_witness")
    other = host.cgroup / "other"                   # makes it sweep
    other.mkdir()
    assert host.sluice("attach", "--cgroup", other, "-p", "-", input=AGENT).returncode == 0
    other.rmdir()
    assert until(lambda: len(host.full_status()["targets"]) == 2), host.full_status()
    now = targets(host)
    assert now["cgroup"]["policy"] == "text" and now["cgroup"]["attached"] and \
        not now["cgroup"]["removed"]


def test_detach_and_what_is_gone_are_forgotten(host):
    host.start_daemon()
    attached(host)
    assert len(files(host)) == 2
    assert host.sluice("detach", "--dev", "vnet0").returncode == 0
    assert [name.split("-")[0] for name in files(host)] == ["cgroup"]
    assert host.prober.arrives("198.51.100.1")
    host.cgroup.rmdir()
    assert until(lambda: files(host) == [], 40)
    restart(host, signal.SIGTERM)
    assert not host.full_status()["targets"]
    assert host.prober.arrives("198.51.100.1")


def test_another_policy_since_is_left(host):
    """Somebody attached, without sluiced, while none ran: that is in force, and stays."""
    host.start_daemon()
    attached(host)
    host.daemon.signal(signal.SIGKILL)
    host.daemon.child.wait(WAIT)
    os.unlink(host.socket)
    other = host.write(AGENT.replace("name: agent", "name: since"))
    assert host.sluice("attach", "--dev", "vnet0", "-p", other).returncode == 0
    host.start_daemon()
    assert until(lambda: len(files(host)) == 1)
    target = targets(host)["device"]
    assert target["policy"] == "since" and target["state"] == "not followed", target
    assert targets(host)["cgroup"]["by_hand"]


def test_another_device_of_the_number_gets_nothing(host):
    """The record of a device that went while no sluiced ran is no other's. (One of its number and
    its name cannot be told from it, and gets the policy.)"""
    host.start_daemon()
    attached(host)
    number = host.ifindex("vnet0")
    host.daemon.signal(signal.SIGKILL)
    host.daemon.child.wait(WAIT)
    host.ip("link del vnet0")
    host.ip(f"link add vnet9 index {number} type veth peer name other")
    host.start_daemon()
    assert until(lambda: [name.split("-")[0] for name in files(host)] == ["cgroup"])
    assert list(targets(host)) == ["cgroup"]


def test_what_is_no_record(host):
    """Half a file, another's name: forgotten, and no reason not to start."""
    folder = pathlib.Path(host.socket).parent / "by-hand"
    folder.mkdir(parents=True)
    for name, text in (("cgroup-1", "{"), ("device-x", "{}"), ("cgroup-99999999", '{"where": "/x"}'),
                       ("x", "")):
        (folder / name).write_text(text)
    host.start_daemon()
    assert files(host) == []
