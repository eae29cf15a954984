# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Ways out through uids."""
import pytest

from confinelab import DGRAM, INET, KEEP, STREAM
from lab import ECHO, PYTHON, total


def uid_policy(uid, on_deny="reject"):
    return f"""sluice: 1
name: uids
on_deny: {on_deny}
rules:
  - allow: {{to: [203.0.113.0/24, "2001:db8:1::/48"], uid: {uid}}}
    id: by-uid
"""


@pytest.mark.parametrize("to", ["203.0.113.9", "2001:db8:1::9"])
@pytest.mark.parametrize("kind", [
    "tcp", "udp", "udp_connected", "ping", "udplite"])
def test_uid_rules_hold_at_every_hook(lab, kind, to):
    for uid, passes in ((1000, True), (1001, False)):
        agent = lab.sluice(uid_policy(1000), "--user", f"{uid}:{uid}")
        result = agent.do(kind, to=to, port=ECHO, timeout=0.7)
        assert (result["errno"] is None) == passes, result
        events = agent.close().events
        assert total(events) == (not passes)
        assert passes or events[0]["process"]["uid"] == uid


@pytest.mark.parametrize("to", ["203.0.113.9", "2001:db8:1::9"])
def test_mptcp_has_no_uid(lab, to):
    """The kernel makes the sockets that send: a policy with uid rules has no MPTCP,
    neither for the user that a rule allows nor around a rule that denies."""
    for uid in (1000, 1001):
        agent = lab.sluice(uid_policy(1000), "--user", f"{uid}:{uid}")
        result = agent.do("mptcp", to=to, port=ECHO, timeout=2)
        if result["errno"] in ("EPROTONOSUPPORT", "ENOPROTOOPT"):
            pytest.skip(f"this kernel has no mptcp sockets: {result['errno']}")
        assert (result["at"], result["errno"]) == ("socket", "EPERM"), result


def as_root(lab, uid):
    return lab.sluice(uid_policy(uid), KEEP)


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_a_socket_made_as_root_stays_roots(lab, kind):
    """setuid before connect changes nothing: the creator counts, at every hook."""
    for uid, passes in ((0, True), (1000, False)):
        agent = as_root(lab, uid)
        agent.do("open_socket", family=INET, type=kind, hold="s")
        assert agent.do("become", uid=1000)["errno"] is None
        result = agent.do("use", use="s", to="203.0.113.9", port=ECHO)
        assert (result["errno"] is None) == passes, result
        agent.do("open_socket", family=INET, type=kind, hold="t")
        result = agent.do("use", use="t", to="203.0.113.9", port=ECHO)
        assert (result["errno"] is None) != passes, result


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_fchown_changes_no_verdict(lab, kind):
    agent = as_root(lab, 1000)
    agent.do("open_socket", family=INET, type=kind, hold="s")
    assert agent.do("chown", use="s", uid=1000)["errno"] is None
    assert agent.do("use", use="s", to="203.0.113.9", port=ECHO)["errno"]
    event, = agent.close().events
    assert event["process"]["uid"] == 0


@pytest.mark.parametrize("kind", ["tcp", "udp", "ping"])
def test_uid_in_a_user_namespace_is_the_hosts(lab, kind):
    """Root in a user namespace of uid 1000 is 1000."""
    request = '{"kind": "%s", "to": "203.0.113.9", "port": %d, "timeout": 0.7}' % (kind, ECHO)
    for uid, passes in ((1000, True), (0, False)):
        agent = lab.sluice(uid_policy(uid), "--user", "1000:1000")
        result = agent.do("command", argv=["unshare", "-Ur", PYTHON, str(lab.client), request])
        if result["errno"]:
            pytest.skip("no user namespaces for ordinary users here")
        assert ('"errno": null' in result["reply"]) == passes, result


def test_accepted_sockets_are_their_listeners(lab):
    """Answers leave whatever the rules say; the accepted socket's uid is the listener's."""
    port = 6100 + lab.runs
    agent = lab.sluice(uid_policy(1000) + "inbound: allow\n", KEEP)
    agent.do("listen", to="0.0.0.0", port=port, hold="s")
    agent.do("become", uid=1000)
    agent.send("accept", use="s")
    assert lab.agent(lab.peer).do("tcp", to="192.0.2.1", port=port)["reply"] == "hello"
    assert agent.receive()["reply"] == "hello"
    assert not agent.close().events
