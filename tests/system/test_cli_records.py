# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice convert --from records: what was denied, as a policy that allows it."""
import json

import pytest

from cli_tools import sluice, usage_error, write  # noqa: F401 (a fixture)


def record(address="198.51.100.7", port=443, *, name=None, protocol="tcp", verdict="deny",
           reason="default", rule=None, comm="curl", **more):
    return {"time": "2026-11-28T10:00:00.000000000Z", "event": "connection", "verdict": verdict,
            "reason": reason, "policy": "agent", "rule": rule, "direction": "egress",
            "protocol": protocol, "destination": {"address": address, "port": port, "name": name},
            "process": {"pid": 1, "uid": None, "comm": comm}, "count": 1, **more}


def question(name, resolver="192.0.2.53", verdict="deny", reason="dns-name", **more):
    return record(resolver, 53, protocol="udp", verdict=verdict, reason=reason, **more) | {
        "event": "dns", "question": {"name": name, "type": "A"}}


def convert(*records, words=(), text=None):
    return sluice("convert", "--from", "records", *words,
                  input=text if text is not None else "".join(json.dumps(r) + "\n" for r in records))


def converted(*records, words=()):
    result = convert(*records, words=words)
    assert result.returncode == 0 and not result.stderr, result
    assert sluice("check", "-", input=result.stdout).returncode == 0
    return result.stdout


def rules_of(text):
    return text[text.index("\nrules:"):].splitlines()[2:]


def test_what_was_denied_is_allowed():
    text = converted(record(), record(port=80, comm="git", count=3), record("2001:db8::7"),
                     record(protocol="udp", port=4433, process=None),
                     record(protocol="icmp", port=None), record(protocol="47", port=None),
                     record("2001:db8::8", None, protocol="icmpv6"))
    assert "dns:" not in text and "\ndefault: deny\n" in text
    assert rules_of(text) == [
        '  - allow: "198.51.100.7/icmp"  # 1 time, by curl',
        '  - allow: "198.51.100.7:80,443/tcp"  # 4 times, by git, curl',
        '  - allow: "198.51.100.7:4433/udp"  # 1 time',
        '  - allow: {to: "198.51.100.7", protocol: 47}  # 1 time, by curl',
        '  - allow: "[2001:db8::7]:443/tcp"  # 1 time, by curl',
        '  - allow: "2001:db8::8/icmpv6"  # 1 time, by curl']


def test_audited_and_allowed_count_too():
    text = converted(record(verdict="audit-deny"),
                     record("198.51.100.8", verdict="allow", reason="rule", rule="here"))
    assert [line.split('"')[1] for line in rules_of(text)] == \
        ["198.51.100.7:443/tcp", "198.51.100.8:443/tcp"]


def test_names():
    text = converted(question("b.example", verdict="allow", reason="rule"),
                     record(name="b.example", verdict="audit-deny"),
                     record("198.51.100.9", name="b.example", verdict="audit-deny"),
                     record("10.1.2.3", name="in.example", port=8080),
                     record("fd00::3", name="in.example", port=8080),
                     question("never.example", count=2))
    assert 'dns:\n  resolvers: ["192.0.2.53"]\n' in text
    assert rules_of(text) == [
        '  - allow: "never.example"  # asked for 2 times, never connected to: its ports are not known',
        '  - allow: "b.example:443/tcp"  # 2 times, by curl',
        '  - {allow: "in.example:8080/tcp", resolves_to: private}  # 2 times, by curl']


def test_names_without_a_resolver_ask_the_systems():
    assert "dns:\n  resolvers: system\n" in converted(record(name="a.example"))


def test_questions_to_the_forwarder_are_the_systems():
    text = converted(question("a.example", "127.0.0.2", verdict="allow", reason="rule", hook="forwarder"))
    assert "dns:\n  resolvers: system\n" in text


@pytest.mark.parametrize("reason", ["default", "dns-gate"])
def test_a_resolver_that_was_denied(reason):
    text = converted(record("192.0.2.1", 53, protocol="udp", reason=reason),
                     record("2001:db8::53", 53, reason=reason))
    assert 'resolvers: ["192.0.2.1", "2001:db8::53"]' in text and "rules: []" in text
    assert "what it asked is in no record" in text


def test_what_stays_denied_is_told():
    text = converted(record(reason="rule", rule="no-lan"), record("169.254.169.254", 80),
                     record("fd00:ec2::254", 80), question("ads.example", reason="rule", rule="ads"),
                     record(reason="fragment"), record(direction="ingress", reason="unsolicited"),
                     record("64:ff9b::c633:6407", reason="embedded"),
                     record("::ffff:198.51.100.9"), record("198.51.100.200"))
    for line in ("#   rule no-lan: 198.51.100.7:443/tcp, 1 time", "#   169.254.169.254:80/tcp, 1 time",
                 "#   [fd00:ec2::254]:80/tcp, 1 time", "#   rule ads: ads.example, 1 time",
                 "#   fragment, 1 time", "#   unsolicited, 1 time", "#   embedded, 1 time",
                 "#   default, 1 time"):
        assert line in text.splitlines(), line
    assert rules_of(text) == ['  - allow: "198.51.100.200:443/tcp"  # 1 time, by curl']


def test_other_records_are_no_decisions():
    other = [{**record(), "event": event} for event in ("close", "meter", "run", "pod", "expired")]
    assert len(rules_of(converted(record(), *other))) == 1


HOSTILE = ['x"\n  - allow: any\n#', "a.example\nrules:", "*.example", "any", "ANY", "@private", "1.2.3.4",
           "bad..example", "", "a b.example", "\x1b[2J.example", "?.example"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_record_cannot_write_the_policy(name):
    """Its texts are the confined program's."""
    text = converted(record(name=name, comm=name), question(name), record(rule=name, reason="rule"),
                     record(reason=name, verdict="deny"), record("198.51.100.9"))
    hosts = {line.split("  #")[0] for line in rules_of(text)}
    assert hosts <= {'  - allow: "198.51.100.7:443/tcp"', '  - allow: "198.51.100.9:443/tcp"'}
    assert "\x1b" not in text and "- allow: any\n" not in text


def test_whose_records():
    mine, other = record(), record("203.0.113.1") | {"policy": "other"}
    result = convert(mine, other)
    assert result.returncode == 1 and not result.stdout
    assert result.stderr == ('<stdin>: error: decisions of the policies "agent", "other": whose? '
                             "give --policy NAME\n")
    assert '"203.0.113.1:443/tcp"' in converted(mine, other, words=("--policy", "other"))
    result = convert(mine, words=("--policy", "nope"))
    assert result.returncode == 1 and 'no decision of the policy "nope"' in result.stderr


def test_several_files(write):  # noqa: F811
    one = write(json.dumps(record()) + "\n", "one")
    two = write(json.dumps(record("203.0.113.1")) + "\n", "two")
    result = sluice("convert", "--from", "records", one, two)
    assert len(rules_of(result.stdout)) == 2, result


def test_lines_that_are_no_records():
    result = convert(text=json.dumps(record()) + "\nhello\n[]\n")
    assert result.returncode == 0 and len(rules_of(result.stdout)) == 1
    assert result.stderr.startswith("<stdin>:3: warning: 2 lines are no record ("), result.stderr


@pytest.mark.parametrize("text, says", [
    ("", "no decision is in it"), ("hello\n", "no decision is in it"),
    (json.dumps(record() | {"event": "close"}) + "\n", "no decision is in it")])
def test_no_decisions(text, says):
    result = convert(text=text)
    assert result.returncode == 1 and not result.stdout
    assert says in result.stderr and "sluice run --log FILE" in result.stderr


def test_a_missing_file():
    result = sluice("convert", "--from", "records", "/none/there")
    assert result.returncode == 1 and "cannot read /none/there: No such file" in result.stderr


def test_too_many():
    most = [record(f"198.51.{i >> 8}.{i & 255}") for i in range(4096)]
    assert len(rules_of(converted(*most))) == 4096
    result = convert(*most, record("203.0.113.1"))
    assert result.returncode == 1 and not result.stdout
    assert "more than 4096 destinations" in result.stderr


def test_usage():
    usage_error(sluice("convert", "--from", "sortie", "--policy", "x"), "--policy is for --from records")
