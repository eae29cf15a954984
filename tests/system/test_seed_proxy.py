# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Seed system "container with a proxy uid": policies/agent-proxy.yaml as shipped.

tinyproxy under its own uid and clients under others, all in one target. Only the
proxy reaches the web; nobody reaches private addresses but the own subnet; DNS
goes to the two resolvers. Everything arrives without Sluice first.
"""
import os

import pytest

import seedlab
from seedlab import ROOT, command, probe

POLICY = ROOT / "policies" / "agent-proxy.yaml"
PROXY, CLIENT, OTHER = 13, 61001, 61002
PORT = 8888
WEB4, WEB6 = "203.0.113.10", "2001:db8:9::10"
PRIVATE4 = ("10.9.9.9", "172.16.9.9", "192.168.9.9", "100.64.9.9", "169.254.9.9")
PRIVATE6 = ("fd00:9::9",)
METADATA = ("169.254.169.254", "168.63.129.16")
RESOLVERS = ("1.1.1.1", "9.9.9.9", "2606:4700:4700::1111", "2620:fe::fe")
STRANGERS = ("8.8.8.8", "2001:4860:4860::8888")
AT_ONCE_MS = 100

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def curl(name, url, uid, *options):
    return command(name, ["curl", "-sS", "--max-time", "5", "--proxy",
                          f"http://127.0.0.1:{PORT}", "--noproxy", "", *options, url], uid)


def dig(name, server, *options):
    return command(name, ["dig", "+tries=1", "+time=2", "+short", *options, f"@{server}",
                          "web.example", "A"], CLIENT)


THROUGH_PROXY = [
    curl("proxied v4", f"http://{WEB4}/", CLIENT),
    curl("proxied v6", f"http://[{WEB6}]/", CLIENT),
    curl("proxied by name", "http://web.example/", CLIENT),
    curl("proxied tunnel", f"http://{WEB4}:443/", CLIENT, "--proxytunnel"),
    curl("proxied other uid", f"http://{WEB4}/", OTHER),
]
PROXY_TO_PRIVATE = [curl(f"proxied {to}", f"http://{to}/", CLIENT)
                    for to in (*PRIVATE4, *METADATA)] + \
                   [curl(f"proxied {to}", f"http://[{to}]/", CLIENT) for to in PRIVATE6]
DIRECT = [probe("tcp", to, port, uid) for to in (WEB4, WEB6, f"::ffff:{WEB4}")
          for port in (80, 443) for uid in (CLIENT, OTHER, 0)]
PROXY_UID = [probe("tcp", to, port, PROXY) for to in (WEB4, WEB6) for port in (80, 443)]
PROXY_UID_ELSEWHERE = [probe("tcp", WEB4, 22, PROXY), probe("tcp", WEB6, 8080, PROXY),
                       probe("udp", WEB4, 443, PROXY), probe("udp", WEB6, 443, PROXY)]
TO_PRIVATE = [probe(how, to, 443, uid) for to in (*PRIVATE4, *PRIVATE6, METADATA[0])
              for how in ("tcp", "udp") for uid in (CLIENT, PROXY)]
TO_SUBNET = [probe(how, to, 5432, uid) for to in (seedlab.GATEWAY4, seedlab.GATEWAY6)
             for how in ("tcp", "udp") for uid in (CLIENT, OTHER, PROXY)]
DNS = [dig(f"dig {how}{to}", to, *options) for to in RESOLVERS
       for how, options in (("", ()), ("tcp ", ("+tcp",)))]
DNS_STRANGERS = [dig(f"dig {how}{to}", to, *options) for to in STRANGERS
                 for how, options in (("", ()), ("tcp ", ("+tcp",)))]
DNS_DENIED = [probe(how, to, 53, uid) for to in (*STRANGERS, PRIVATE4[0])
              for how in ("tcp", "udp") for uid in (CLIENT, PROXY)] + \
             [probe("tcp", RESOLVERS[0], 853, uid) for uid in (CLIENT, PROXY)]

ALL = (THROUGH_PROXY + PROXY_TO_PRIVATE + DIRECT + PROXY_UID + PROXY_UID_ELSEWHERE + TO_PRIVATE +
       TO_SUBNET + DNS + DNS_STRANGERS + DNS_DENIED)


def sent(item):
    """Did the probe get through?"""
    def check(result):
        if item["how"] != "command":
            return result["arrived"]
        if item["words"][0] == "dig":
            return result["output"].strip() == seedlab.NAMES["web.example"]
        return result["code"] == 0 and "reached" in result["output"]
    return check


def refused(item):
    return "EHOSTUNREACH" if item["how"] == "udp" else "ECONNREFUSED"


@pytest.fixture(scope="module")
def runs():
    """The same probes twice: without Sluice, and under the shipped policy."""
    lab = seedlab.Lab("proxy", [WEB4, WEB6, *PRIVATE4, *PRIVATE6, *METADATA, *RESOLVERS,
                                *STRANGERS])
    settings = {"proxy": {"uid": PROXY, "port": PORT}, "resolvers": RESOLVERS[:2]}
    try:
        yield (lab.run(ALL, **settings),
               lab.run(ALL, policy=POLICY, options=["--keep-privileges"], **settings))
    finally:
        lab.close()


@pytest.fixture(scope="module")
def free(runs):
    return runs[0]


@pytest.fixture(scope="module")
def run(runs):
    return runs[1]


def assert_all_sent(outcome, items):
    failed = {item["name"]: outcome[item["name"]] for item in items
              if not sent(item)(outcome[item["name"]])}
    assert not failed


def assert_all_refused(outcome, items):
    """Refused, with the errno of its kind, and at once."""
    wrong = {}
    for item in items:
        result = outcome[item["name"]]
        if result["error"] != refused(item) or result["ms"] >= AT_ONCE_MS:
            wrong[item["name"]] = result
    assert not wrong


def plain(address):
    return address.removeprefix("::ffff:")


def assert_events(outcome, items, rule, reason):
    """Each refusal has an event that names the rule and the user."""
    for item in items:
        protocol = item["how"]
        events = [event for event in outcome.events
                  if event["destination"]["address"] in (item["to"], plain(item["to"])) and
                  event["destination"]["port"] == item["port"] and
                  event["protocol"] == protocol and event["process"]["uid"] == item["uid"]]
        assert events, f"no event for {item['name']}"
        for event in events:
            assert (event["verdict"], event["rule"], event["reason"]) == ("deny", rule, reason)
            assert event["process"]["pid"] and event["policy"] == "agent-proxy"


def test_without_sluice_everything_arrives(free):
    assert_all_sent(free, ALL)


def test_clients_reach_the_web_through_the_proxy(run):
    assert_all_sent(run, THROUGH_PROXY)


def test_direct_connections_fail_at_once(run):
    assert_all_refused(run, DIRECT)
    assert_events(run, DIRECT, None, "default")


def test_proxy_uid_reaches_the_web(run):
    assert_all_sent(run, PROXY_UID)
    assert not [event for event in run.events if event["process"]["uid"] == PROXY and
                event["destination"]["address"] in (WEB4, WEB6) and
                event["destination"]["port"] in (80, 443) and event["protocol"] == "tcp"]


def test_proxy_uid_reaches_nothing_but_the_web(run):
    assert_all_refused(run, PROXY_UID_ELSEWHERE)
    assert_events(run, PROXY_UID_ELSEWHERE, None, "default")


def test_private_addresses_fail_for_everyone(run):
    assert_all_refused(run, TO_PRIVATE)
    metadata = [item for item in TO_PRIVATE if item["to"] in METADATA]
    private = [item for item in TO_PRIVATE if item["to"] not in METADATA]
    assert metadata and private
    assert_events(run, metadata, "no-metadata", "rule")
    assert_events(run, private, "no-private", "rule")


def test_the_proxy_cannot_be_made_to_fetch_private_pages(run):
    for item in PROXY_TO_PRIVATE:
        result = run[item["name"]]
        assert "reached" not in result["output"], item["name"]
        assert result["ms"] < 2000, item["name"]    # tinyproxy's own error page
    for to in (*PRIVATE4, *PRIVATE6, *METADATA):
        events = [event for event in run.events_to(to, 80)
                  if event["process"]["comm"] == "tinyproxy"]
        assert events, to
        rule = "no-metadata" if to in METADATA else "no-private"
        assert {(event["rule"], event["process"]["uid"]) for event in events} == {(rule, PROXY)}


def test_the_own_subnet_is_open(run):
    assert_all_sent(run, TO_SUBNET)
    assert not [event for event in run.events if event["destination"]["port"] == 5432]


def test_dns_to_the_resolvers(run):
    assert_all_sent(run, DNS)


def test_dns_to_others_is_refused(run):
    for item in DNS_STRANGERS:
        assert run[item["name"]]["code"] != 0, item["name"]
    assert_all_refused(run, DNS_DENIED)
    assert_events(run, DNS_DENIED, "dns-gate", "dns-gate")


def test_summary_says_what_was_blocked(run):
    assert "blocked" in run.text and "no-private" in run.text
    assert "does not add up" not in run.text
    assert "--keep-privileges" in run.text
