# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a real guest reaches, what reaches it, and how a refusal feels inside."""
import statistics
import subprocess

import network
import pytest
from network import (A4, A6, B4, B6, BIND, BRIDGE4, BRIDGE6, ECHO, LAN4, LAN6, NET4, NET6, SINK,
                     lab)

POLICY = f"""\
sluice: 1
name: reach
rules:
  - allow: {{to: [{NET4}, "{NET6}"], ports: [{ECHO}, {SINK}]}}
    id: echo
  - allow: {{to: {NET4}, protocol: icmp, icmp: {{type: 8}}}}
    id: ping
  - allow: {{to: "{NET6}", protocol: icmpv6, icmp: {{type: 128}}}}
    id: ping6
  - deny: [198.51.100.0/24, "2001:db8:1::/64"]
    id: closed
"""
INBOUND = """\
inbound:
  - {{from: {}, ports: [{}], protocol: tcp}}
"""
# Inside the guest, whose processor is emulated, a refusal takes 5 to 40 ms; what is
# dropped takes a second (TCP's first retransmission) or never ends.
REFUSED_MS = 400
KINDS = {"tcp": "tcp", "udp": "udp_connected", "ping": "ping"}
ERRORS = {("tcp", 4): "ECONNREFUSED", ("tcp", 6): "ECONNREFUSED",
          ("udp", 4): "EHOSTUNREACH", ("udp", 6): "EACCES",     # what Linux makes of
          ("ping", 4): "EHOSTUNREACH", ("ping", 6): "EACCES"}   # ICMP 3/13 and ICMPv6 1/1
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
PROTOCOLS = pytest.mark.parametrize("kind", list(KINDS))


def attempt(guest, kind, to, port=ECHO, **more):
    if kind == "ping":
        more["connected"] = True
    return guest.try_(KINDS[kind], to=to, port=port, **more)


def works(guest, kind, to, port=ECHO):
    result = attempt(guest, kind, to, port)
    assert result["errno"] is None and (kind == "ping" or result["reply"] == "hello"), result


def allowed(site):
    """The probes that stand beside every denial."""
    for kind in KINDS:
        for to in (NET4, NET6):
            works(site.a, kind, to)


def refused(guest, kind, to, port=ECHO):
    """Refused at once, as the guest's program feels it; its milliseconds."""
    result = attempt(guest, kind, to, port)
    assert result["errno"] == ERRORS[kind, 6 if ":" in to else 4], result
    assert result["ms"] < REFUSED_MS, result
    return result["ms"]


def test_allowed_and_counted(site, device):
    device.attach(POLICY, *BIND)
    allowed(site)
    status = device.status()
    assert status["denied"] == 0 and status["tx_denied"] == 0, status
    assert status["allowed"] == 2 * len(KINDS)
    assert status["binding"] == {"mac": network.MAC_A, "addresses": [A4, A6], "lease": False,
                                 "vlans": []} or status["binding"]["mac"] == network.MAC_A


@FAMILIES
@PROTOCOLS
def test_denied_is_refused_at_once(site, device, kind, v6):
    by_rule, by_default = site.fresh(v6), (LAN6 if v6 else LAN4)
    works(site.a, kind, by_rule)        # off: it arrives
    works(site.a, kind, by_default)
    device.attach(POLICY, *BIND)
    with device.monitor() as monitor:
        refused(site.a, kind, by_rule)
        event = monitor.wait(destination=by_rule)
        assert (event["reason"], event["verdict"]) == ("rule", "deny")
        assert event["rule"] == "closed" and event["hook"] == "tc-ingress"
        assert event["source"]["address"] == (A6 if v6 else A4)
        refused(site.a, kind, by_default)
        assert monitor.wait(destination=by_default)["reason"] == "default"
    allowed(site)


def test_refusals_in_figures(site, device):
    device.attach(POLICY, *BIND)
    for kind in KINDS:
        for v6 in (False, True):
            took = [refused(site.a, kind, site.fresh(v6)) for _ in range(5)]
            print(f"refused {kind} {'ipv6' if v6 else 'ipv4'}, ms in the guest: median "
                  f"{statistics.median(took):.1f}, highest {max(took):.1f}")


@FAMILIES
def test_dropped_on_request(site, device, v6):
    to = site.fresh(v6)
    works(site.a, "tcp", to)
    device.attach(POLICY + "on_deny: drop\n", *BIND)
    for kind in KINDS:
        assert attempt(site.a, kind, to, timeout=0.5)["errno"] == "timeout"
    allowed(site)


@FAMILIES
@pytest.mark.parametrize("who", ["host", "lan", "net"])
def test_unsolicited_is_dropped(site, device, who, v6):
    to = A6 if v6 else A4
    with site.outside(who) as peer:
        assert peer.do("tcp", to=to, port=ECHO)["reply"] == "hello"     # off
        assert peer.do("udp", to=to, port=ECHO)["reply"] == "hello"
        device.attach(POLICY, *BIND)
        with device.monitor() as monitor:
            assert peer.do("tcp", to=to, port=ECHO, timeout=0.5)["errno"] == "timeout"
            event = monitor.wait(destination=to, protocol="tcp")
            assert (event["reason"], event["direction"]) == ("unsolicited", "ingress")
            assert peer.do("udp", to=to, port=ECHO, timeout=0.5)["errno"] == "timeout"
            assert monitor.wait(destination=to, protocol="udp")["reason"] == "unsolicited"
    assert device.status()["rx_denied"] >= 2
    allowed(site)


@FAMILIES
def test_inbound_list(site, device, v6):
    """Its entry comes in, others do not, by address and by port."""
    to, host = (A6, BRIDGE6) if v6 else (A4, BRIDGE4)
    site.a.do("serve", ports=[8000 + v6, 8010 + v6])
    open_port, closed = 8000 + v6, 8010 + v6
    with site.outside("host") as peer, site.outside("lan") as other:
        for who in (peer, other):
            for port in (open_port, closed):
                assert who.do("tcp", to=to, port=port)["reply"] == "hello"      # off
        device.attach(POLICY + INBOUND.format(f'"{host}"', open_port), *BIND)
        assert peer.do("tcp", to=to, port=open_port)["reply"] == "hello"
        assert peer.do("tcp", to=to, port=closed, timeout=0.5)["errno"] == "timeout"
        assert other.do("tcp", to=to, port=open_port, timeout=0.5)["errno"] == "timeout"
    allowed(site)
    refused(site.a, "tcp", host)    # that it may come does not mean that we may go


SSHD = """\
mkdir -p /run/sshd /tmp/ssh
[ -e /tmp/ssh/host ] || ssh-keygen -q -t ed25519 -N '' -f /tmp/ssh/host
cat > /tmp/ssh/authorized_keys
cat > /tmp/ssh/config <<END
Port 22
HostKey /tmp/ssh/host
AuthorizedKeysFile /tmp/ssh/authorized_keys
StrictModes no
PidFile none
UsePAM no
UseDNS no
PermitRootLogin prohibit-password
KexAlgorithms curve25519-sha256
END
/usr/sbin/sshd -f /tmp/ssh/config
"""


def test_ssh_from_the_host(site, device, tmp_path):
    """A real sshd in the guest; the host may come in, the neighbour may not."""
    lab.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "user"))
    key = (tmp_path / "user.pub").read_text()
    site.a.sh(SSHD.replace("cat > /tmp/ssh/authorized_keys",
                           f"echo '{key.strip()}' > /tmp/ssh/authorized_keys"))
    assert lab.until(lambda: site.a.try_("tcp", to="127.0.0.1", port=22, no_reply=True)["errno"]
                     is None)
    ssh = ["ssh", "-i", str(tmp_path / "user"), "-F", "/dev/null", "-o", "BatchMode=yes",
           "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
           "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", f"root@{A4}",
           "cat /proc/sys/kernel/hostname"]

    def try_ssh(who):
        return subprocess.run([*site.inside(who), *ssh], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60)
    assert try_ssh("lan").stdout == "guest\n"       # off
    device.attach(POLICY + INBOUND.format('"@host"', 22), *BIND)
    done = try_ssh("host")
    assert (done.returncode, done.stdout) == (0, "guest\n")
    ssh[ssh.index("ConnectTimeout=10")] = "ConnectTimeout=1"
    done = try_ssh("lan")
    assert done.returncode == 255 and "timed out" in done.stdout, done.stdout


@FAMILIES
@PROTOCOLS
def test_a_second_guest_is_out_of_reach(site, device, kind, v6):
    theirs, ours = (B6, A6) if v6 else (B4, A4)
    works(site.a, kind, theirs)         # off, in both directions
    works(site.b, kind, ours)
    device.attach(POLICY, *BIND)
    refused(site.a, kind, theirs)
    assert attempt(site.b, kind, ours, timeout=0.5)["errno"] == "timeout"
    allowed(site)
    device.attach(POLICY.replace("rules:\n", 'rules:\n  - allow: "@subnet"\n'), *BIND)
    works(site.a, kind, theirs)         # unless a rule says so
    assert attempt(site.b, kind, ours, timeout=0.5)["errno"] == "timeout"
