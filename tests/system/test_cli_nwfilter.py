# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice convert --from nwfilter: whole filters, and everything that is refused.

tests/golden/nwfilter/N.xml (with N.more.xml, what it refers to) gives N.said on stderr and, if
it is not refused, N.yaml on stdout; SLUICE_REGEN=1 rewrites them. agent-network-filter.xml is the seed's, verbatim.
"""
import os
import re
import resource
import subprocess

import pytest

from cli_tools import ROOT, SLUICE, lines_of, sluice, write

GOLDEN = ROOT / "tests" / "golden" / "nwfilter"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.xml") if not path.stem.endswith(".more"))
DROP_ALL = '<rule action="drop" direction="inout" priority="1000"><all/></rule>' \
    '<rule action="drop" direction="inout" priority="1000"><all-ipv6/></rule>'


def convert(*texts, write_file=None):
    """The first text from stdin, or all of them from files."""
    if write_file is None:
        return sluice("convert", "--from", "nwfilter", "-", input=texts[0])
    return sluice("convert", "--from", "nwfilter",
                  *(write_file(text, f"{n}.xml") for n, text in enumerate(texts)))


def a_filter(body, end=DROP_ALL, **attributes):
    words = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<filter name="f"{words}>\n{body}\n{end}</filter>'


def converted(body, end=DROP_ALL):
    result = convert(a_filter(body, end))
    assert result.returncode == 0, result.stderr
    return result.stdout


def verdicts(text, write_file, *flows):
    path = write_file(text, "converted.yaml")
    return [lines_of(sluice("explain", "-p", path, *flow.split(), "-o", "json"))[0]["verdict"]
            for flow in flows]


# --- whole filters

@pytest.mark.parametrize("name", NAMES)
def test_nwfilter_golden(name):
    more = [f"{name}.more.xml"] if (GOLDEN / f"{name}.more.xml").exists() else []
    done = subprocess.run([SLUICE, "convert", "--from", "nwfilter", f"{name}.xml", *more],
                          cwd=GOLDEN, capture_output=True, text=True, timeout=60)
    wanted = {"yaml": done.stdout} if done.returncode == 0 else {}
    for ending, text in {**wanted, "said": done.stderr}.items():
        if os.environ.get("SLUICE_REGEN"):
            (GOLDEN / f"{name}.{ending}").write_text(text)
        assert text == (GOLDEN / f"{name}.{ending}").read_text()
    assert (done.returncode == 0) == (GOLDEN / f"{name}.yaml").exists()
    if done.returncode:
        assert done.stdout == "" and re.search(rf"^{name}\.xml:[1-9]\d*: error: ", done.stderr, re.M)


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.yaml")))
def test_nwfilter_golden_policies_are_good_ones(name):
    text = (GOLDEN / f"{name}.yaml").read_text()
    assert sluice("fmt", "--check", "-", input=text).returncode == 0
    assert sluice("check", "-", input=text).returncode == 0


def test_nwfilter_the_seeds_filter_does_what_it_says(write):
    text = (GOLDEN / "agent-network-filter.yaml").read_text()
    tests = "tests:\n" + "".join(f"  - {line}\n" for line in (
        "allow: 203.0.113.1:53/udp", "allow: 203.0.113.1:80", "allow: 203.0.113.1:443",
        "allow: 203.0.113.1:22", "allow: 203.0.113.1:9418", "deny: 203.0.113.1:53/tcp",
        "deny: 203.0.113.1:443/udp", "deny: 203.0.113.1:8080", "deny: 203.0.113.1:21",
        "deny: 203.0.113.1/icmp", "deny: 10.0.0.1:25", 'allow: "[2001:db8::1]:25"',
        'allow: "[2002::1]:25"'))
    path = write(text + tests, "seed.yaml")
    result = sluice("test", path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert verdicts(text, write, "203.0.113.1:22 --inbound", "203.0.113.1/icmp --inbound",
                    "[2001:db8::1]:22 --inbound") == ["deny", "deny", "allow"]


def test_nwfilter_the_seeds_filter_is_the_seeds():
    text = (GOLDEN / "agent-network-filter.xml").read_text()
    assert text.count("<rule ") == 8 and "<!-- Drop and log other outgoing (for monitoring) -->" in text


# --- what becomes what

def test_nwfilter_warns_that_ipv6_is_open(write):
    result = convert(a_filter("", '<rule action="drop" direction="inout"><all/></rule>'))
    assert result.returncode == 0
    assert "no rule is about IPv6: libvirt lets all of it pass" in result.stderr
    assert verdicts(result.stdout, write, "203.0.113.1:80", "[2001:db8::1]:80") == ["deny", "allow"]
    assert "no rule is about" not in convert(a_filter("")).stderr


@pytest.mark.parametrize("action, on_deny", [("drop", "drop"), ("reject", None)])
def test_nwfilter_drop_and_reject(action, on_deny):
    text = converted("", DROP_ALL.replace("drop", action))
    assert ("\non_deny: drop\n" in text) == (on_deny == "drop")


def test_nwfilter_icmp_that_opens_a_flow_and_that_does_not(write):
    text = converted('<rule action="accept" direction="out"><icmp/></rule>')
    assert verdicts(text, write, "192.0.2.1/icmp --icmp 8", "192.0.2.1/icmp --icmp 13",
                    "192.0.2.1/icmp --icmp 0", "192.0.2.1/icmp --icmp 3:3",
                    "192.0.2.1/icmp --icmp 5") == ["allow", "allow", "deny", "deny", "deny"]
    text = converted('<rule action="accept" direction="inout"><icmp/></rule>')
    assert verdicts(text, write, "192.0.2.1/icmp --icmp 0", "192.0.2.1/icmp --icmp 0 --inbound") == \
        ["allow", "allow"]


def test_nwfilter_everything_out_is_not_icmp_of_every_kind(write):
    text = converted('<rule action="accept" direction="out"><all/></rule>')
    assert verdicts(text, write, "192.0.2.1:25", "192.0.2.1/icmp --icmp 8", "192.0.2.1/icmp --icmp 0",
                    "192.0.2.1:25 --inbound") == ["allow", "allow", "deny", "deny"]


ESTABLISHED = "".join(f'<rule action="accept" direction="{way}"><all state="ESTABLISHED"/></rule>'
                      for way in ("in", "out"))


def test_nwfilter_rules_about_new_packets_with_a_rule_for_established_ones(write):
    text = converted(ESTABLISHED + '<rule action="accept" direction="out"><tcp dstportstart="80" '
                     'state="NEW"/></rule>')
    assert verdicts(text, write, "192.0.2.1:80", "192.0.2.1:81") == ["allow", "deny"]


@pytest.mark.parametrize("references, attach", [
    (["no-mac-spoofing"], "--mac MAC"),
    (["no-arp-mac-spoofing"], "--mac MAC"),
    (["no-ip-spoofing"], "--address ADDRESS --address ::/0"),
    (["no-arp-ip-spoofing"], "--address ADDRESS --address ::/0"),
    (["no-ipv6-spoofing"], "--address IPV6-ADDRESS --address 0.0.0.0/0"),
    (["no-ip-spoofing", "no-ipv6-spoofing"], "--address ADDRESS --address IPV6-ADDRESS"),
    (["no-arp-spoofing"], "--mac MAC --address ADDRESS --address ::/0"),
    (["clean-traffic"], "--mac MAC --address ADDRESS"),
    (["allow-arp", "allow-ipv4", "allow-ipv6", "no-other-l2-traffic"], ""),
    (["allow-ipv4", "allow-incoming-ipv4", "no-other-l2-traffic"], ""),
    (["qemu-announce-self", "no-other-rarp-traffic", "qemu-announce-self-rarp"], ""),
    (["allow-dhcp", "allow-dhcpv6", "allow-incoming-ipv6"], ""),
])
def test_nwfilter_the_device_is_given_what_the_filter_held_the_guest_to(references, attach):
    body = "\n".join(f'<filterref filter="{name}"/>' for name in references)
    result = convert(a_filter(body, ""))
    assert result.returncode == 0, result.stderr
    line = result.stderr.splitlines()[-1]
    assert line == f"sluice convert: attach it with: sluice attach --dev DEVICE -p POLICY {attach}".strip()
    assert line.split("with: ")[1] in result.stdout


@pytest.mark.parametrize("parameters, attach", [
    ([("IP", "192.0.2.7")], "--address 192.0.2.7"),
    ([("IP", "192.0.2.7"), ("IP", "192.0.2.8")], "--address 192.0.2.7 --address 192.0.2.8"),
    ([("CTRL_IP_LEARNING", "dhcp")], "--address dhcp"),
    ([("CTRL_IP_LEARNING", "any")], "--address ADDRESS"),
])
def test_nwfilter_parameters_of_a_reference(parameters, attach):
    inner = "".join(f'<parameter name="{name}" value="{value}"/>' for name, value in parameters)
    result = convert(a_filter(f'<filterref filter="clean-traffic">{inner}</filterref>', ""))
    assert result.stderr.splitlines()[-1].endswith(f"--mac MAC {attach}")


@pytest.mark.parametrize("body, end, device", [
    ('<filterref filter="allow-arp"/>', "", None),
    ('<filterref filter="clean-traffic"/>', "", "{nd: deny}"),
    ('<filterref filter="allow-ipv4"/><filterref filter="no-other-l2-traffic"/>', "",
     "{arp: deny, nd: deny}"),
    ("", DROP_ALL, "{nd: deny, dhcp: deny}"),
    ('<rule action="accept" direction="inout" priority="-1"><icmpv6/></rule>', DROP_ALL,
     "{dhcp: deny}"),
    ('<rule action="accept" direction="out"><udp srcportstart="68" dstportstart="67"/></rule>'
     '<rule action="accept" direction="in"><udp srcportstart="67" dstportstart="68"/></rule>',
     DROP_ALL, "{nd: deny}"),
    ('<rule action="accept" direction="out"><udp dstportstart="67"/></rule>'
     '<rule action="accept" direction="in"><udp dstportstart="68"/></rule>', DROP_ALL, "{nd: deny}"),
    ('<rule action="accept" direction="out"><udp dstportstart="67"/></rule>', DROP_ALL,
     "{nd: deny, dhcp: deny}"),
])
def test_nwfilter_switches_of_the_device(body, end, device):
    found = re.search(r"^device: (.*)$", converted(body, end), re.M)
    assert (found and found[1]) == device


def test_nwfilter_a_comment_is_a_reason_and_an_id_names_the_line():
    text = converted('<rule action="accept" direction="out">\n<tcp dstportstart="1" '
                     'comment="&quot;a&quot; &amp; b"/></rule>')
    assert '    id: line-3\n    reason: "\\"a\\" & b"\n' in text


def test_nwfilter_one_line_gives_several_ids():
    text = converted("".join(f'<rule action="accept" direction="out"><tcp dstportstart="{n}"/></rule>'
                             for n in (1, 2, 3)))
    assert re.findall(r"id: (line-2\S*)$", text, re.M) == ["line-2", "line-2.2", "line-2.3"]


def test_nwfilter_other_filters_are_given_as_files(write):
    main = a_filter('<filterref filter="other"/>')
    other = '<filter name="other"><filterref filter="third"/></filter>'
    third = '<filter name="third"><rule action="accept" direction="out"><tcp dstportstart="1"/>' \
        '</rule></filter>'
    result = convert(main, third, other, write_file=write)
    assert result.returncode == 0 and "third-line-1" in result.stdout
    result = convert(main, other, write_file=write)
    assert result.returncode == 1
    assert re.search(r'1\.xml:1: error: filterref "third": none of libvirt\'s own, and not given: .*'
                     "virsh nwfilter-dumpxml third", result.stderr)


def test_nwfilter_a_file_wins_over_libvirts_own(write):
    main = a_filter('<filterref filter="clean-traffic"/>')
    own = '<filter name="clean-traffic"><filterref filter="no-mac-spoofing"/></filter>'
    result = convert(main, own, write_file=write)
    assert result.stderr.splitlines()[-1].endswith("POLICY --mac MAC")


# --- what is refused, each by its line: the rule stands in line 2

def rule(element, action="accept", direction="out", more=""):
    return f'<rule action="{action}" direction="{direction}"{more}>{element}</rule>'


REFUSED = [
    # attributes that say what a policy cannot
    (rule('<tcp srcmacaddr="$MAC"/>'), '<tcp srcmacaddr="$MAC">', "--mac"),
    (rule('<tcp connlimit-above="1"/>'), 'connlimit-above="1"', "limits: connections"),
    (rule('<tcp ipset="web"/>'), 'ipset="web"', "a rule for each"),
    (rule('<tcp ipsetflags="src" ipset="web"/>'), 'ipsetflags="src"', "a rule for each"),
    (rule('<all dscp="2"/>'), 'dscp="2"', "take it out"),
    (rule('<tcp flags="SYN/ALL"/>'), 'flags="SYN/ALL"', "take it out"),
    (rule('<tcp option="3"/>'), 'option="3"', "take it out"),
    (rule('<tcp match="no" dstportstart="22"/>'), 'match="no"', "the other action"),
    (rule('<tcp dstportsart="22"/>'), '"dstportsart"', 'is "dstportstart" meant?'),
    (rule('<all dstportstart="22"/>'), '"dstportstart"', "take it out"),
    (rule('<tcp type="8"/>'), '"type"', "take it out"),
    (rule('<udplite dstportstart="22"/>'), '"dstportstart"', "take it out"),
    # source ports, the guest's own addresses, variables
    (rule('<tcp srcportstart="20"/>'), 'srcportstart="20"', "take it out"),
    (rule('<tcp srcportstart="20"/>', direction="in"), 'srcportstart="20"', "take it out"),
    (rule('<udp srcportstart="68" dstportstart="67"/>', "drop") +
     rule('<all/>'), 'srcportstart="68"', "take it out"),
    (rule('<tcp srcipaddr="10.0.0.1"/>'), 'srcipaddr="10.0.0.1"', "--address"),
    (rule('<tcp srcipfrom="10.0.0.1" srcipto="10.0.0.2"/>'), 'srcipfrom="10.0.0.1"', "--address"),
    (rule('<tcp dstipaddr="$IP"/>', direction="in"), 'dstipaddr="$IP"', "--address"),
    (rule('<tcp srcipaddr="$IPV6"/>'), 'srcipaddr="$IPV6"', "--address"),
    (rule('<tcp dstipaddr="$PEER"/>'), 'dstipaddr="$PEER"', "write its value"),
    (rule('<tcp dstportstart="$PORTS[@1]"/>'), 'dstportstart="$PORTS[@1]"', "write its value"),
    # values
    (rule('<tcp dstportstart="x"/>'), 'dstportstart="x"', "0 to 65535"),
    (rule('<tcp dstportstart="-1"/>'), 'dstportstart="-1"', "0 to 65535"),
    (rule('<tcp dstportstart="65536"/>'), 'dstportstart="65536"', "0 to 65535"),
    (rule('<tcp dstportstart="1f"/>'), 'dstportstart="1f"', "0 to 65535"),
    (rule('<tcp dstportstart="0" dstportend="9"/>'), 'dstportstart="0"', "begin with 1"),
    (rule('<tcp dstportstart="9" dstportend="8"/>'), 'dstportend="8"', "below the start"),
    (rule('<tcp dstportend="8"/>'), 'dstportend="8"', "add the start"),
    (rule('<icmp type="256"/>'), 'type="256"', "0 to 255"),
    (rule('<icmp code="1"/>'), 'code="1"', "add the type"),
    (rule('<tcp dstipaddr="10.0.0"/>'), 'dstipaddr="10.0.0"', "IPv4"),
    (rule('<tcp dstipaddr="2001:db8::1"/>'), 'dstipaddr="2001:db8::1"', "IPv4"),
    (rule('<tcp-ipv6 dstipaddr="10.0.0.1"/>'), 'dstipaddr="10.0.0.1"', "IPv6"),
    (rule('<tcp dstipaddr="10.0.0.0" dstipmask="33"/>'), 'dstipmask="33"', "0 to 32"),
    (rule('<tcp dstipaddr="10.0.0.0" dstipmask="255.0.255.0"/>'), 'dstipmask="255.0.255.0"',
     "holes"),
    (rule('<tcp-ipv6 dstipaddr="::" dstipmask="ffff:0:ffff::"/>'), 'dstipmask="ffff:0:ffff::"',
     "holes"),
    (rule('<tcp-ipv6 dstipaddr="::" dstipmask="129"/>'), 'dstipmask="129"', "0 to 128"),
    (rule('<tcp dstipmask="8"/>'), 'dstipmask="8"', "add the address"),
    (rule('<tcp dstipfrom="10.0.0.1"/>'), 'dstipfrom="10.0.0.1"', "both ends"),
    (rule('<tcp dstipto="10.0.0.1"/>'), 'dstipto="10.0.0.1"', "both ends"),
    (rule('<tcp dstipfrom="10.0.0.2" dstipto="10.0.0.1"/>'), 'dstipto="10.0.0.1"', "below"),
    (rule('<tcp dstipaddr="10.0.0.1" dstipfrom="10.0.0.2" dstipto="10.0.0.3"/>'),
     'dstipfrom="10.0.0.2"', "take one"),
    (rule('<tcp-ipv6 dstipaddr="64:ff9b::10.0.0.1"/>'), 'dstipaddr="64:ff9b::10.0.0.1"', "for IPv4"),
    (rule('<tcp-ipv6 dstipaddr="::ffff:0:0" dstipmask="96"/>'), 'dstipaddr="::ffff:0:0"',
     "for IPv4"),
    (rule('<tcp-ipv6 dstipfrom="64:ff9b::1" dstipto="65::"/>'), 'dstipfrom="64:ff9b::1"',
     "for IPv4"),
    (rule('<tcp comment="%s"/>' % ("x" * 257)), 'comment="xxx', "256"),
    (rule('<tcp comment="a&#x202e;b"/>'), "comment=", "cannot be seen"),
    # states
    (rule('<tcp state="NEW" />', more=' statematch="false"'), 'state="NEW"', "take one"),
    (rule('<tcp state="new"/>'), 'state="new"', "NEW, ESTABLISHED"),
    (rule('<tcp state="NEW, ESTABLISHED"/>'), 'state="NEW, ESTABLISHED"', "no spaces"),
    (rule('<tcp state="NEW,"/>'), 'state="NEW,"', "NEW, ESTABLISHED"),
    (rule('<tcp state="NONE"/>'), 'state="NONE"', "NEW, ESTABLISHED"),
    (rule('<tcp state="ESTABLISHED"/>', "drop"), 'state="ESTABLISHED"', "NEW ones alone"),
    (rule('<tcp state="INVALID"/>'), 'state="INVALID"', "take INVALID out"),
    # directions
    (rule('<tcp dstportstart="22"/>', direction="inout"), 'dstportstart="22"', "one for out"),
    (rule('<icmp type="8"/>', direction="inout"), 'type="8"', "one for out"),
    (rule('<all srcipaddr="10.0.0.1"/>', direction="inout"), 'srcipaddr="10.0.0.1"', "one for out"),
    # rules about frames
    (rule('<mac srcmacaddr="$MAC"/>'), '<mac srcmacaddr="$MAC">', "no-mac-spoofing"),
    (rule('<ip srcipaddr="$IP"/>'), '<ip srcipaddr="$IP">', "no-ip-spoofing"),
    (rule('<ip protocol="udp"/>'), 'protocol="udp"', "<udp>"),
    (rule('<arp opcode="Request"/>'), 'opcode="Request"', "no-arp-spoofing"),
    (rule('<vlan vlanid="7"/>'), "<vlan>", "--vlan"),
    (rule("<stp/>"), "<stp>", "take the rule out"),
    (rule("<mac protocolid='x'/>"), 'protocolid="x"', "0 to 65535"),
    # the rule itself
    (rule("<tpc/>"), "<tpc>", "no such protocol"),
    (rule("<tcp/><udp/>"), "<udp>", "a rule for each"),
    (rule("<tcp/>text"), "text inside", "take it out"),
    (rule("<tcp/>", "allow"), '"allow"', "accept, drop, reject"),
    (rule("<tcp/>", direction="both"), '"both"', "out, in, inout"),
    ("<rule action='accept'><tcp/></rule>", "direction", "out, in, inout"),
    (rule("<tcp/>", more=' priority="1001"'), 'priority="1001"', "-1000 to 1000"),
    (rule("<tcp/>", more=' priority="high"'), 'priority="high"', "-1000 to 1000"),
    (rule("<tcp/>", more=' statematch="no"'), '"no"', "0, false"),
    (rule("<tcp/>", more=' prio="1"'), '"prio"', "take it out"),
    (rule("<tcp/>", "continue"), 'action="continue"', "take the rule out"),
    # references
    ('<filterref filter="nothing"/>', '"nothing"', "virsh nwfilter-dumpxml nothing"),
    ('<filterref filter="f"/>', '"f"', "refers to itself"),
    ("<filterref/>", "<filterref>", 'filter="NAME"'),
    ('<filterref filter="clean-traffic-gateway"/>', "clean-traffic-gateway", "clean-traffic"),
    ('<filterref filter="no-mac-broadcast"/>', "no-mac-broadcast", "take it out"),
    ('<filterref filter="allow-dhcp-server"/>', "allow-dhcp-server", "allow-dhcp"),
    ('<filterref filter="allow-dhcpv6-server"/>', "allow-dhcpv6-server", "allow-dhcpv6"),
    ('<filterref filter="clean-traffic"><parameter name="GATEWAY" value="x"/></filterref>',
     '"GATEWAY"', "write its value"),
    ('<filterref filter="clean-traffic"><parameter name="IP" value="x"/></filterref>', '"x"',
     "IPv4 address"),
    ('<filterref filter="clean-traffic"><parameter name="IPV6" value="10.0.0.1"/></filterref>',
     '"10.0.0.1"', "IPv6 address"),
    ('<filterref filter="clean-traffic"><parameter name="CTRL_IP_LEARNING" value="x"/></filterref>',
     '"x"', "any, dhcp or none"),
    ('<filterref filter="clean-traffic"><parameter name="IP"/></filterref>', "<parameter>",
     "a name and a value"),
    ('<filterref filter="clean-traffic"><rule/></filterref>', '"rule"', "parameters only"),
    ("<include/>", '<include>', "<rule>, <filterref>"),
    ("<uuid/>some text<uuid/>", '"some text"', "<rule>, <filterref>"),
]


@pytest.mark.parametrize("body, token, advice", REFUSED)
def test_nwfilter_refuses_by_line(body, token, advice):
    result = convert(a_filter(body))
    assert result.returncode == 1 and result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if ": error: " in line]
    assert errors and all(line.startswith(("<stdin>:2: ", "<stdin>:1: ")) for line in errors)
    assert token in errors[0] and advice in errors[0], result.stderr


# What only the filter as a whole tells; the line that is named.
WHOLE = [
    ([rule('<tcp dstportstart="25"/>', "drop")], 2, 'direction="out" that drops', 'state="NEW"'),
    ([rule('<tcp dstportstart="22"/>', "drop", "in")], 2, 'direction="in" that drops',
     'state="NEW"'),
    ([rule("<all/>", "drop")], 2, 'drops in direction "in" too', 'a drop in direction "in"'),
    ([rule('<tcp dstportstart="22"/>', "return"), rule("<all/>", "drop", "inout")], 2, "passes packets in every state",
     "write accept for return"),
    ([rule('<tcp dstportstart="22"/>', more=' statematch="0"'),
      rule("<all/>", "drop", "inout")], 2, "passes packets in every state",
     "take out statematch"),
    ([rule('<tcp dstportstart="80" state="NEW"/>', "drop"),
      rule('<tcp dstportstart="81" state="NEW"/>', "reject")], 3, "line 2 has", "`on_deny` is one"),
    ([rule("<all/>", "reject", "in"), rule("<all/>", "drop", "inout")], 2,
     'action="reject" direction="in"', "write drop"),
    ([rule('<tcp dstportstart="80" state="NEW"/>'), rule("<all/>", "drop", "inout")], 2,
     "the rule in line 3 drops", 'state="ESTABLISHED"'),
    ([rule('<icmp type="8"/>'), rule("<all/>", "drop", "inout")], 2, "the rule in line 3 drops",
     'state="ESTABLISHED"'),
    ([rule('<all state="ESTABLISHED"/>', direction="in"), rule('<tcp dstportstart="80" state="NEW"/>'),
      rule("<all/>", "drop", "inout")], 3, "the rule in line 4 drops", 'state="ESTABLISHED"'),
    ([rule('<icmp type="0"/>', "drop", "in")], 2, "the end of the filter lets out", "state="),
    (['<filterref filter="no-other-l2-traffic"/>', '<filterref filter="allow-incoming-ipv4"/>'], 2,
     "IPv4 passes to the guest and not from it", "drop it both ways"),
    (['<filterref filter="no-ipv6-multicast"/>'], 2, "neighbour discovery", "<icmpv6/>"),
    ([rule('<icmpv6/>', direction="inout"), rule('<icmpv6 type="134"/>', "drop", "in",
                                                 ' priority="1"')], 3, "neighbour discovery",
     "<icmpv6/>"),
    ([rule('<udp srcipaddr="10.0.0.0" srcipmask="8" state="NEW"/>', "drop", "in")], 2, "DHCP answers",
     "from everywhere"),
    ([rule('<icmp type="8" code="1" state="NEW"/>', "drop", "in")], 2, "drops a part of what",
     "drop the rest"),
]


@pytest.mark.parametrize("lines, line, token, advice", WHOLE)
def test_nwfilter_refuses_what_the_whole_filter_means(lines, line, token, advice):
    result = convert(a_filter("\n".join(lines), ""))
    assert result.returncode == 1 and result.stdout == ""
    errors = [text for text in result.stderr.splitlines() if ": error: " in text]
    assert any(text.startswith(f"<stdin>:{line}: error: ") and token in text and advice in text
               for text in errors), result.stderr


@pytest.mark.parametrize("attributes, token", [
    ({"chain": "ipv7"}, 'chain="ipv7"'), ({"chain": "rooty"}, 'chain="rooty"'),
    ({"priority": "2000"}, 'priority="2000"'), ({"chian": "root"}, '"chian"'),
    ({"chain": "ipv4"}, 'chain "ipv4"'),
])
def test_nwfilter_refuses_what_the_filter_itself_says(attributes, token):
    result = convert(a_filter("", **attributes))
    assert result.returncode == 1 and token in result.stderr and "<stdin>:" in result.stderr


def test_nwfilter_refuses_two_filters_of_one_name(write):
    result = convert(a_filter(""), a_filter(""), write_file=write)
    assert result.returncode == 1 and 'filter "f" is given twice' in result.stderr


def test_nwfilter_refuses_two_priorities_of_one_chain(write):
    other = '<filter name="{}" chain="ipv4-x" priority="{}"><rule action="accept" direction="inout"/>' \
        "</filter>"
    result = convert(a_filter('<filterref filter="a"/><filterref filter="b"/>'),
                     other.format("a", -5), other.format("b", 5), write_file=write)
    assert result.returncode == 1 and "chain ipv4-x has priority 5 here and -5" in result.stderr


# --- texts that are no filter

def limited(text):
    """With 256 MiB of memory and 10 s of processor time."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    return subprocess.run([SLUICE, "convert", "--from", "nwfilter"], input=text, timeout=60,
                          capture_output=True, preexec_fn=limit)


LAUGHS = b'<!DOCTYPE l [<!ENTITY a0 "ha">' + b"".join(
    b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12)) + b"]>\n"

BAD = [
    (b"", "not XML"), (b"\0" * 100, "not XML"), (b"sluice: 1\n", "not XML"),
    (b"<filter name='x'>", "not XML"), (b"<filter name='x'></filtre>", "not XML"),
    (b"<filter name='x' name='y'/>", "not XML"), (b"<filter name='\xff'/>", "not XML"),
    (b"<filter name='&undefined;'/>", "not XML"), (b"<filter/>", 'name="NAME"'),
    (b"<filter name=''/>", 'name="NAME"'),
    (b"<filter xmlns:a='u' a:name='y' name='x'/>", 'no attribute "name": correct it'),
    (b"<filter name='x'><rule xmlns:a='u' action='accept' direction='out'><tcp a:type='1'/></rule>"
     b"</filter>", "(of a namespace)"),
    (b"<domain><name>x</name></domain>", "<domain>: a <filter> is wanted"),
    (b"<a>" * 100000, "depth"),
    (LAUGHS + b"<filter name='&a11;'/>", "<!DOCTYPE>"),
    (LAUGHS + b"<filter name='x'>&a11;</filter>", "<!DOCTYPE>"),
    (b"<!DOCTYPE f SYSTEM 'file:///etc/passwd'><filter name='x'/>", "<!DOCTYPE>"),
    (b"<!DOCTYPE f [<!ENTITY x SYSTEM 'file:///etc/hostname'>]><filter name='&x;'/>", "<!DOCTYPE>"),
    (b"<!DOCTYPE f [<!ENTITY % x SYSTEM 'http://127.0.0.1:9/x'>%x;]><filter name='x'/>",
     "<!DOCTYPE>"),
    (b"<filter name='x'>" + b" " * (10 << 20) + b"</filter>", "larger than"),
    (b"<filter name='" + b"x" * (10 << 20) + b"'/>", "larger than"),
    (b"<filter name='x'>" + b"<rule action='accept' direction='out'><tcp/></rule>\n" * 5000 +
     b"</filter>", "more than 4096 rules"),
]


@pytest.mark.parametrize("text, token", BAD, ids=range(len(BAD)))
def test_nwfilter_refuses_what_is_no_filter(text, token):
    done = limited(text)
    assert done.returncode == 1 and done.stdout == b""
    assert token in done.stderr.decode(errors="replace") and len(done.stderr) < 20000


def test_nwfilter_references_cannot_multiply(write):
    """Each filter refers to the next one twice: 2^40 references."""
    texts = [f'<filter name="n{n}"><filterref filter="n{n + 1}"/><filterref filter="n{n + 1}"/>'
             f"</filter>" for n in range(40)]
    result = convert(*texts, '<filter name="n40"/>', write_file=write)
    assert result.returncode == 1 and "more than 4096 references" in result.stderr


def test_nwfilter_a_big_filter_is_converted_in_time(write):
    body = "\n".join(rule(f'<tcp dstipaddr="10.{n // 250}.{n % 250}.0" dstipmask="24" '
                          f'dstportstart="{n + 1}"/>') for n in range(2000))
    done = limited(a_filter(body).encode())
    assert done.returncode == 0 and done.stdout.count(b"- allow:") == 2000


def test_nwfilter_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.xml"):
        result = sluice("convert", "--from", "nwfilter", path)
        assert result.returncode == 1 and str(path) in result.stderr


def test_nwfilter_reads_standard_input_without_a_file():
    result = sluice("convert", "--from", "nwfilter", input=a_filter(""))
    assert result.returncode == 0 and "from <stdin>, filter f." in result.stdout


def test_nwfilter_is_documented():
    text = (ROOT / "docs" / "convert.md").read_text()
    own = (ROOT / "user" / "convert" / "nwfilter_own.c").read_text()
    names = set(re.findall(r'^\t\{"([a-z0-9-]+)", "', own, re.M))
    assert len(names) >= 24 and all(f"`{name}`" in text for name in names)
    rules = (ROOT / "user" / "convert" / "nwfilter_rule.c").read_text()
    refused = re.findall(r'^\t\{"([a-z-]+)",', rules.split("} refused[] =")[1].split("};")[0], re.M)
    assert len(refused) >= 9 and all(f"`{name}`" in text for name in refused
                                     if not name.endswith("macmask"))
