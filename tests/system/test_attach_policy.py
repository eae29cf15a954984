# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What `sluice attach` makes of a policy: its sets, what it refuses, what it warns of."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from cli_tools import SLUICE
from netns_tools import ROOT, make_netns, netns  # noqa: F401 (fixtures)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="attaches programs: needs root"),
]

STATE = f"/sys/fs/bpf/sl-attach-policy-{os.getpid()}"


class Host:
    """A namespace with a bridge, a port of it, and a state directory of its own."""

    def __init__(self, netns, folder):
        self.netns = netns
        self.folder = folder
        netns.add("br0", "bridge", "10.1.0.1/24", "2001:db8:1::1/64", "fe80::1/64")
        netns.link("vnet0")
        netns.ip("link set vnet0 master br0")

    def sluice(self, *words):
        # nsenter, not `ip netns exec`, which would hide /sys/fs/bpf.
        return subprocess.run(["nsenter", f"--net={self.netns.path}", SLUICE, *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              env={**os.environ, "SLUICE_STATE": STATE}, timeout=60)

    def attach(self, text, *options):
        path = self.folder / "p.yaml"
        path.write_text("sluice: 1\n" + text)
        path.chmod(0o644)
        return self.sluice("attach", "--dev", "vnet0", "-p", str(path), *options)

    def targets(self):
        return json.loads(self.sluice("status", "-o", "json").stdout)["targets"]


@pytest.fixture
def host(netns, tmp_path):
    made = Host(netns, tmp_path)
    yield made
    made.sluice("detach", "--all")
    subprocess.run(["rm", "-rf", STATE], check=False)


def test_a_policy_that_names_what_it_allows(host):
    done = host.attach("rules:\n  - allow: '@gateway:53'\n  - deny: ['@host', '@subnet']\n"
                       "  - deny: '@metadata'\n  - allow: 'any:443/tcp'\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert [t["name"] for t in host.targets()] == ["vnet0"]


def test_what_names_cannot_do_yet_is_refused(host):
    done = host.attach("dns: {resolvers: [192.0.2.53], search: []}\n"
                       "rules:\n  - allow: 'ok.test:443'\n    id: a\n    uses: 3\n")
    assert done.returncode == 1
    assert "p.yaml:6:5: error: \"uses\": not enforced yet" in done.stderr
    assert host.targets() == []


def test_a_rule_to_any_is_warned_of_and_attached(host):
    done = host.attach("rules:\n  - deny: '@metadata'\n  - {allow: 'any:443/tcp', id: web}\n")
    assert done.returncode == 0 and len(host.targets()) == 1
    path = host.folder / "p.yaml"
    assert done.stderr == (
        f"{path}:4:5: warning: rule 'web' lets the guest reach the host, 10.1.0.1 by 443/tcp for "
        "one: put `- deny: \"@host\"` before, or name the address in a rule of its own if that is "
        f"meant\n{path}:4:5: warning: rule 'web' lets the guest reach its neighbours, 10.1.0.2 by "
        "443/tcp for one: put `- deny: \"@subnet\"` before, or name the address in a rule of its "
        "own if that is meant\n")


def test_the_guests_own_address_is_no_neighbour(host):
    host.netns.ip("addr del 10.1.0.1/24 dev br0")
    host.netns.ip("addr add 10.1.0.1/30 dev br0")
    host.netns.ip("addr del 2001:db8:1::1/64 dev br0")
    host.netns.ip("addr del fe80::1/64 dev br0")
    rules = "rules:\n  - deny: ['@host', '@metadata']\n  - {allow: any, id: all}\n"
    assert host.attach(rules, "--address", "10.1.0.2").stderr == ""
    assert "neighbours, 10.1.0.2" in host.attach(rules).stderr


def test_uid_rules_are_refused_and_nothing_is_attached(host):
    done = host.attach("rules:\n  - {allow: {to: 192.0.2.1, uid: 13}, id: proxy}\n")
    assert done.returncode == 1 and done.stdout == ""
    assert ":3:5: error: rule 'proxy' is for the uid 13, and a device has no users" in done.stderr
    assert host.targets() == []


def test_a_set_that_is_empty_on_a_bridge_of_layer_2(host):
    host.netns.ip("addr flush dev br0")
    done = host.attach("rules:\n  - deny: '@subnet'\n")
    assert done.returncode == 1 and host.targets() == []
    assert ('set "@subnet" has nothing in it here, the host has no address on the device\'s '
            "network") in done.stderr
    done = host.attach("rules:\n  - {deny: '@subnet', empty: ok}\n  - deny: '@metadata'\n"
                       "  - {allow: any, id: all}\n")
    assert done.returncode == 0
    assert "rule 'all' lets the guest reach private addresses, 10.0.0.1 by 22/tcp" in done.stderr


def test_who_holds_the_lock_is_said(host):
    """A process that was stopped while it changed the state keeps nobody waiting for ever."""
    assert host.attach("default: deny\n").returncode == 0
    holder = subprocess.Popen(["flock", STATE, "sh", "-c", "echo held; exec sleep 60"],
                              stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout.readline() == b"held\n"
        done = host.sluice("status")
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    assert done.returncode == 1
    assert re.search(r"is locked by another process \((flock|sh|sleep)?,? ?pid \d+\), for 10 s",
                     done.stderr), done.stderr


def test_an_attach_that_was_killed_hinders_nobody(host):
    """Whatever it had done by then: the next one attaches."""
    policy = host.folder / "killed.yaml"
    policy.write_text("sluice: 1\ndefault: deny\n")
    for i in range(30):
        child = subprocess.Popen(
            ["nsenter", f"--net={host.netns.path}", SLUICE, "attach", "--dev", "vnet0", "-p",
             str(policy)], env={**os.environ, "SLUICE_STATE": STATE},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.002 * i)
        child.kill()
        child.wait()
        done = host.attach("default: deny\n")
        assert done.returncode == 0, (i, done.stderr)
        assert [t["attached"] for t in host.targets()] == [True]
        assert host.sluice("detach", "--dev", "vnet0").returncode == 0


def test_a_place_that_keeps_no_pins_is_refused(host):
    """Not in a bpf file system; and one that goes with the mount namespace."""
    path = host.folder / "p.yaml"
    path.write_text("sluice: 1\ndefault: deny\n")
    words = [SLUICE, "attach", "--dev", "vnet0", "-p", str(path)]

    def attach(env, *before):
        return subprocess.run([*before, *words], text=True, capture_output=True, check=False,
                              env={**os.environ, **env})
    inside = ["nsenter", f"--net={host.netns.path}"]
    done = attach({"SLUICE_STATE": str(host.folder / "state")}, *inside)
    assert done.returncode == 1 and "is in no bpf file system" in done.stderr
    assert not (host.folder / "state").exists()
    done = attach({"SLUICE_STATE": STATE}, *inside, "unshare", "--mount", "sh", "-c",
                  'umount -l /sys/fs/bpf && exec "$@"', "sh")
    assert done.returncode == 1 and "pins would vanish with it" in done.stderr


def test_attaching_again_looks_again(host):
    """The device was moved to another bridge: @subnet and @host are those of that."""
    rules = ("rules:\n  - deny: ['@host', '@metadata']\n"
             "  - {allow: 10.2.0.0/16, id: wide}\n")
    host.netns.add("br1", "bridge", "10.2.0.1/24")
    assert host.attach(rules).stderr == ""
    generation = host.targets()[0]["generation"]
    host.netns.ip("link set vnet0 master br1")
    assert "rule 'wide' lets the guest reach its neighbours, 10.2.0.2" in host.attach(rules).stderr
    [target] = host.targets()
    assert target["generation"] > generation


# ---- the shipped policies ----

def shipped(host, name):
    return host.sluice("attach", "--dev", "vnet0", "-p", str(ROOT / "policies" / f"{name}.yaml"))


@pytest.mark.parametrize("name", ["vm-nat-filtered", "vm-isolated"])
@pytest.mark.parametrize("addresses", [True, False])
def test_shipped_policies_let_no_guest_reach_another(host, name, addresses):
    """Nothing is warned of: neither with a bridge that is known, nor with empty sets."""
    if not addresses:
        host.netns.ip("addr flush dev br0")
    done = shipped(host, name)
    assert (done.returncode, done.stderr) == (0, "")
    assert [t["policy"] for t in host.targets()] == [name]


def test_the_shipped_bridge_policy_says_what_it_lets_pass(host):
    done = shipped(host, "vm-bridge")
    assert done.returncode == 0
    said = [line.split(": warning: ")[1] for line in done.stderr.splitlines()]
    assert len(said) == 3
    assert said[0].startswith("the metadata service at 169.254.169.254 can be reached")
    assert said[1].startswith("default: allow lets the guest reach the host, 10.1.0.1")
    assert said[2].startswith("default: allow lets the guest reach its neighbours, 10.1.0.2")


def test_shipped_policies_pass_their_tests_without_a_network(make_netns):
    """Where @gateway, @subnet and @host are empty, `empty: ok` opens nothing."""
    policies = sorted(str(path) for path in (ROOT / "policies").glob("vm-*.yaml"))
    assert len(policies) == 3
    done = subprocess.run(["nsenter", f"--net={make_netns().path}", SLUICE, "test", *policies],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" passed, 0 failed\n")


def test_the_nat_policy_at_the_gateway(host):
    """DNS at the bridge's addresses, of both families, and nothing else there."""
    path = host.folder / "p.yaml"
    policy = (ROOT / "policies" / "vm-nat-filtered.yaml").read_text()
    # As attach resolves it: the bridge has the default route here, so that `sluice test`,
    # which knows no device, finds the same sets.
    host.netns.ip("route add default via 10.1.0.254 dev br0")
    host.netns.ip("-6 route add default via fe80::254 dev br0")
    path.write_text(policy.split("\ntests:")[0] + """
tests:
  - allow: 10.1.0.254:53/udp
  - allow: "[fe80::254]:53/tcp"
  - deny: 10.1.0.254:443
  - deny: "[fe80::254]:22"
  - deny: 10.1.0.1:22
  - deny: 10.1.0.77:53/udp
  - deny: 10.1.0.77:443
  - deny: "[2001:db8:1::77]:443"
  - deny: "[2001:db8:1::1]:80"
  - allow: "[2001:db8:2::1]:80"
""")
    path.chmod(0o644)
    done = host.sluice("test", str(path))
    assert done.stdout == "10 passed, 0 failed\n", done.stdout + done.stderr
