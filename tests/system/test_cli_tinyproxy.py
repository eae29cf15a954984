# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice convert --from tinyproxy: the seed's blocklist, what is read, everything that is
refused; and tinyproxy itself, asked for the same hosts."""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from cli_tools import lines_of, sluice, usage_error, write  # noqa: F401

ASKS = pathlib.Path(__file__).with_name("tinyproxy_asks.py")
ERE, DENY = ("--set", "FilterType ere"), ("--set", "FilterDefaultDeny Yes")
# The seed's, with its last pattern as it was meant: in a bracket a backslash is itself.
SEED = """\
### Block direct IP connections (force DNS usage)

# Block anything that's just numbers and dots
^[0-9.]+$
# Old hex IPv4 addresses
^0x[0-9]+$

# Anything with a colon, %, or []
[][%:]


### Blocked domains
(^|\\.)bad\\.example$
"""


def convert(text, *options):
    return sluice("convert", "--from", "tinyproxy", *options, input=text)


def converted(text, *options):
    result = convert(text, *options)
    assert result.returncode == 0, result.stderr
    assert sluice("fmt", "--check", "-", input=result.stdout).returncode == 0
    return result.stdout


def policy_of(text):
    return text[text.index("sluice: 1"):]


def verdicts(text, write, *flows):
    path = write(text, "converted.yaml")
    return [lines_of(sluice("explain", "-p", path, flow, "-o", "json"))[0]["verdict"]
            for flow in flows]


def test_the_seeds_blocklist(write):
    """Any name but the blocked ones, and no address that DNS did not give."""
    text = converted(SEED, *ERE)
    assert policy_of(text) == """\
sluice: 1
default: deny
rules:
  - deny: {to: ["bad.example", "*.bad.example"]}
    id: line-13
  - allow: "*"
    id: names
"""
    assert verdicts(text, write, "good.example:443", "bad.example:443", "www.bad.example:443",
                    "203.0.113.7:443", "[2001:db8::7]:443", "xbad.example:443") == \
        ["allow", "deny", "deny", "deny", "deny", "allow"]


def test_the_seeds_last_pattern_as_it_was_written_matches_nothing():
    result = convert("[\\[\\]%:]\n", *ERE)
    assert result.returncode == 1 and result.stdout == ""
    assert "<stdin>:1: error" in result.stderr and "a backslash is itself" in result.stderr


def test_an_allowlist(write):
    text = converted("""\
# one a line
^api\\.example\\.org$   # and a comment
  ^(.*\\.)?cdn\\.example$ what stands behind a blank
^10\\.1\\.[0-9.]+$
^2001:db8::7$
""", *ERE, *DENY)
    assert policy_of(text) == """\
sluice: 1
default: deny
rules:
  - allow: "api.example.org"
    id: line-2
  - allow: {to: ["cdn.example", "*.cdn.example"]}
    id: line-3
  - allow: "10.1.0.0/16"
    id: line-4
  - allow: "2001:db8::7"
    id: line-5
"""
    assert verdicts(text, write, "api.example.org:443", "x.api.example.org:443", "cdn.example:1",
                    "a.b.cdn.example:1", "10.1.255.1:80", "10.2.0.1:80", "[2001:db8::7]:80",
                    "[2001:db8::8]:80") == \
        ["allow", "deny", "allow", "allow", "allow", "deny", "allow", "deny"]


def test_a_blocked_address_is_the_host_and_not_what_a_name_has(write):
    text = converted("^10\\.0\\.0\\.1$\n")
    assert policy_of(text) == """\
sluice: 1
default: allow
rules:
  - allow: "*"
    id: names
  - deny: "10.0.0.1"
    id: line-1
"""
    assert verdicts(text, write, "10.0.0.1:80", "10.0.0.2:80", "a.example:80") == \
        ["deny", "allow", "allow"]


@pytest.mark.parametrize("pattern, hosts", [
    ("^a\\.example$", "a.example"), ("^A\\.Example$", "a.example"), ("^a[.]example$", "a.example"),
    ("\\.a\\.example$", "*.a.example"), (".*\\.a\\.example$", "*.a.example"),
    ("^.+\\.a\\.example$", "*.a.example"), ("^([^.]+\\.)+a\\.example$", "*.a.example"),
    ("^([^.]+\\.)*a\\.example$", "a.example *.a.example"),
    ("(^|\\.)a\\.example$", "a.example *.a.example"),
    ("^((www|api)\\.)?a\\.example\\.?$", "www.a.example api.a.example a.example"),
    ("\\.example$", "*.example"), ("^192\\.168\\.[0-9.]*$", "192.168.0.0/16"),
    ("^172\\.(1[6-9]|2[0-9]|3[01])\\.[0-9]+\\.[0-9]+$", "172.16.0.0/14 172.20.0.0/14 "
     "172.24.0.0/14 172.28.0.0/15 172.30.0.0/15"),
    ("^((25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\\.){3}(25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)$",
     "0.0.0.0/0"),
    (":", "::/0 ::ffff:0:0:0/96 64:ff9b:1::/48 2001::/32 2002::/16"),
    (".*", "* 0.0.0.0/0 ::/0 ::ffff:0:0:0/96 64:ff9b:1::/48 2001::/32 2002::/16"),
])
def test_what_is_read(pattern, hosts):
    text = policy_of(converted(pattern + "\n", *ERE, *DENY))
    [line] = [line for line in text.splitlines() if "allow:" in line]
    assert sorted(re.findall(r'[^][{}", ]+', line.split("allow: ")[1].replace("to:", ""))) == \
        sorted(hosts.split(" "))


REFUSED = [
    ("example\\.com", "anywhere in a host", "exact is ^example\\.com$"),
    ("example\\.com$", "behind other letters", "(^|\\.)example\\.com$ for it and what is below"),
    ("^example\\.com", "begins so", "exact is ^example\\.com$"),
    ("^example.com$", "stands for any character", "exact is ^example\\.com$"),
    ("ads", "anywhere in a host", ""), ("^10\\.", "begins so", ""),
    ("^[^.]+\\.a\\.example$", "a policy cannot say that", ""),
    ("^[a-z]+\\.a\\.example$", "a policy cannot say that", ""),
    ("^[0-9]+$", "other spellings", "add ^[0-9.]+$"), ("^0x[0-9a-f]+$", "other spellings", ""),
    ("^[^:]*$", "a policy cannot say that", ""), ("^$", "matches no host", ""),
    ("^a/b$", "matches no host", ""), ("^a\\.example\\.$", "matches no host", ""),
    ("*.example.com", "no glob", "(^|\\.)example\\.com$"), ("+a", "no glob", ""),
    ("(a", "without its end", ""), ("a)", "", ""), ("[a", "a [ without its ]", ""),
    ("\\d+\\.example$", "POSIX", ""), ("a\\", "ends with a backslash", ""),
    ("(ab)*\\.example$", "repeats a group", ""), ("a**", "repeats what is repeated", ""),
    ("[[=a=]]", "not read here", ""), ("[[:graph:]]", "not read here", ""),
    ("a{3,1}", "no number of times", ""),
    ("^(a|b|c|d)(a|b|c|d)(a|b|c|d)(a|b|c|d)(a|b|c|d)\\.example$", "too many alternatives", ""),
]


@pytest.mark.parametrize("pattern, why, instead", REFUSED)
def test_what_is_refused(pattern, why, instead):
    result = convert(f"# a comment\n{pattern}\n^good\\.example$\n", *ERE)
    assert result.returncode == 1 and result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("<stdin>:2: error: ") and f'"{pattern}"' in line
    assert why in line and instead in line


def test_every_line_is_reported():
    result = convert("a\n^b\\.example$\nc\n")
    assert [line.split(": error")[0] for line in result.stderr.splitlines()] == \
        ["<stdin>:1", "<stdin>:3"]


def test_lines_that_are_no_lines():
    assert "512" not in convert("^a\\.example$\n").stderr
    assert "more than 510 bytes" in convert("a" * 511 + "\n").stderr
    assert "value 0" in convert("^a\0\n").stderr


def test_basic_expressions_are_the_default(write):
    text = converted("^\\(.*\\.\\)\\?a\\.example$\n", *DENY)
    assert 'allow: {to: ["a.example", "*.a.example"]}' in text
    assert "exact is ^a\\.example$ for the name, \\(^\\|\\.\\)a\\.example$" in \
        convert("a\\.example\n").stderr


def test_globs(write):
    text = converted("*.a.example\nb.example\n", "--set", "FilterType fnmatch", *DENY)
    assert verdicts(text, write, "x.a.example:1", "a.example:1", "b.example:1", "x.b.example:1") == \
        ["allow", "deny", "allow", "deny"]
    assert "write it so" in convert("B.example\n", "--set", "FilterType fnmatch").stderr
    assert "exact is a.example for the name" in \
        convert("*a.example\n", "--set", "FilterType fnmatch").stderr


def test_the_configuration_says_how_and_where(write):
    path = write("^(.*\\.)?a\\.example$\n", "allowlist")
    conf = write(f'# {path}\nPort 8888\nFilter "{path}"\nFilterURLs Off\nfilterextended On\n'
                 "FilterDefaultDeny Yes\n", "tinyproxy.conf")
    result = sluice("convert", "--from", "tinyproxy", "--config", conf)
    assert result.returncode == 0 and str(path) in result.stdout.splitlines()[0]
    assert "FilterDefaultDeny Yes" in result.stdout and "default: deny" in result.stdout
    other = sluice("convert", "--from", "tinyproxy", "--config", conf, "--set",
                   "FilterDefaultDeny No", path)
    assert "default: allow" in other.stdout


@pytest.mark.parametrize("line, text", [
    ("FilterURLs On", ":2: error: FilterURLs: a policy sees names and addresses, never a URL"),
    ("FilterCaseSensitive Yes", ":2: error: FilterCaseSensitive: names have no case"),
    ("FilterType pcre", 'found "pcre"'), ("FilterDefaultDeny Maybe", 'found "Maybe"'),
    ("Filter /etc/x", "a path in quotes"),
])
def test_the_configuration_is_refused(write, line, text):
    conf = write(f"Port 8888\n{line}\n", "tinyproxy.conf")
    result = sluice("convert", "--from", "tinyproxy", "--config", conf)
    assert result.returncode == 1 and text in result.stderr and result.stdout == ""
    assert str(conf) in result.stderr


def test_usage(write):
    usage_error(sluice("convert", "--from", "sortie", "--set", "x y"), "are for --from tinyproxy")
    usage_error(sluice("convert", "--from", "tinyproxy", "a", "b"), "'b'")
    assert "none.conf" in sluice("convert", "--from", "tinyproxy", "--config", "none.conf").stderr


HOSTS = ["a.example", "www.a.example", "xa.example", "a.example.org", "b.c.a.example", "b.example",
         "10.0.0.1", "10.0.0.2", "10.200.3.4", "172.16.0.1", "172.32.0.1", "203.0.113.9",
         "2001:db8::7", "fd00::1", "axexample", "7.example"]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: needs root")
@pytest.mark.parametrize("deny", ["Yes", "No"])
@pytest.mark.parametrize("kind, patterns", [
    ("ere", ["(^|\\.)a\\.example$"]), ("ere", ["^[0-9.]+$", "^0x[0-9]+$", "[][%:]"]),
    ("ere", ["^10\\.[0-9.]+$", "^172\\.(1[6-9]|2[0-9]|3[01])\\.[0-9.]+$", "^2001:db8::7$"]),
    ("bre", ["^\\(.*\\.\\)\\?a\\.example$  rest", " ^10\\.0\\.0\\.1$#x", "\\.org$"]),
    ("fnmatch", ["*.a.example", "b.example"]),
])
def test_tinyproxy_itself_says_the_same(write, tmp_path, kind, patterns, deny):
    path = write("\n".join(patterns) + "\n", "filter")
    conf = write(f'Port 8888\nListen 127.0.0.1\nMaxClients 100\nFilter "{path}"\nFilterType {kind}\n'
                 f"FilterDefaultDeny {deny}\n", "tinyproxy.conf")
    asked = subprocess.run(["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                            sys.executable, str(ASKS), str(tmp_path)], input=json.dumps(HOSTS),
                           capture_output=True, text=True, check=True, timeout=60)
    text = sluice("convert", "--from", "tinyproxy", "--config", conf).stdout
    flows = [f"[{host}]:80" if ":" in host else f"{host}:80" for host in HOSTS]
    said = [verdict == "allow" for verdict in verdicts(text, write, *flows)]
    assert said == json.loads(asked.stdout)
    assert len(set(said)) == 2
