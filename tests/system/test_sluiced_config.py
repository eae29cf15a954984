# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced.yaml: what it may say, and what an error says. `sluiced --check` needs no root."""
import pathlib
import re
import subprocess

import pytest

from sluicedlab import AGENT, CONFIG, SLUICED

ROOT = pathlib.Path(__file__).resolve().parents[2]


def check(tmp_path, text, **policies):
    folder = tmp_path / "policies.d"
    folder.mkdir(exist_ok=True)
    for name, policy in {"agent": AGENT, **policies}.items():
        (folder / f"{name}.yaml").write_text(policy)
    path = tmp_path / "sluiced.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return subprocess.run([SLUICED, "--check", "-c", path], capture_output=True, text=True)


GOOD = {
    "nothing": "sluiced: 1\n",
    "one": CONFIG,
    "all keys": CONFIG + '    mode: audit\n    bind: {mac: "52:54:00:12:34:56", '
                         'address: [192.0.2.7, dhcp], vlan: [5, 6]}\ngroup: adm\npolicies: policies.d\n',
    "lists": 'sluiced: 1\ntargets:\n  - {match: {device: ["vnet*", "tap?"]}, policy: agent}\n',
    "json": '{"sluiced": 1, "targets": [{"match": {"device": "v*"}, "policy": "agent"}]}',
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_good(tmp_path, text):
    done = check(tmp_path, text)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r": ok: (1 target|\d+ targets), policies from", done.stdout)


def test_an_error_behind_the_policy_names_its_file(tmp_path):
    """What only resolving finds: the policy is gone when it is printed, its file's name is not."""
    policy = AGENT + "  - allow: {to: 192.0.2.1, uid: nobody-of-this-name}\n"
    for text in (CONFIG, CONFIG.replace('device: "vnet*"', "cgroup: /a")):
        done = check(tmp_path, text, agent=policy)
        lines = done.stderr.splitlines()
        assert done.returncode == 1 and len(lines) == 2, done.stderr
        assert lines[0].startswith(f"{tmp_path}/policies.d/agent.yaml:5:"), done.stderr
        assert "nobody-of-this-name" in lines[0]


T = "sluiced: 1\ntargets:\n"
BAD = [
    ("", ":1:1: ", "begins with `sluiced: 1`"),
    ("[]", ":1:1: ", "found a list"),
    ("targets: []\n", ":1:1: ", "`sluiced: 1` is missing"),
    ("sluiced: 2\n", ":1:10: ", "format version 2"),
    ("sluiced: 1\nsluiced: 1\n", ":2:1: ", "stands here twice"),
    ("sluiced: 1\ntragets: []\n", ":2:1: ", 'did you mean "targets"?'),
    ("sluiced: 1\ntargets: {}\n", ":2:10: ", '"targets" wants a list of targets'),
    (T + "  - policy: agent\n", ":3:5: ", '"match" is missing in a target'),
    (T + "  - match: {device: v*}\n", ":3:5: ", '"policy" is missing in a target'),
    (T + "  - {match: {}, policy: agent}\n", ":3:13: ", "there is none"),
    (T + "  - {match: {device: '*'}, policy: agent}\n", ":3:22: ", "every device"),
    (T + "  - {match: {device: []}, policy: agent}\n", ":3:22: ", "is empty"),
    (T + "  - {match: {device: v0}, policy: no}\n", ":3:35: ", 'policy "no" cannot be loaded'),
    (T + "  - {match: {device: v0}, policy: ../x}\n", ":3:35: ", "wants the name of a policy"),
    (T + "  - {match: {device: v0}, policy: agent, mode: adit}\n", ":3:48: ", '"audit"'),
    (T + "  - {match: {device: v0}, policy: agent, bind: {mac: x}}\n", ":3:54: ", "no MAC address"),
    (T + "  - {match: {device: v0}, policy: agent, bind: {vlan: 4095}}\n", ":3:55: ", "VLAN"),
    (T + "  - {match: {container: ''}, policy: agent}\n", ":3:25: ", "an empty name"),
    (T + "  - {match: {label: =b}, policy: agent}\n", ":3:21: ", "a label is KEY or KEY=PATTERN"),
    (T + "  - {match: {container: a, unit: a.service}, policy: agent}\n", ":3:13: ",
     "container with label"),
    (T + "  - {match: {unit: a.service}, policy: agent, choice: [agent]}\n", ":3:5: ",
     "choice is for containers"),
    (T + "  - {match: {container: a}, policy: agent, choice: ../x}\n", ":3:52: ",
     "a policy's name is"),
    (T + "  - {match: {container: a}, policy: agent, choice: no}\n", ":3:37: ",
     'policy "no" cannot be loaded'),
    (T + "  - {match: {container: a}, policy: agent, bind: {vlan: 5}}\n", ":3:5: ",
     "bind is for devices"),
    (T + "  - {match: {pod: {a: b}}, policy: agent}\n", ":3:14: ", 'part "kubernetes"'),
    (CONFIG + "...\n---\nsluiced: 1\n", ":6:1: ", "a second document"),
    ("sluiced: 1\ngroup: &x y\n", ":2:8: ", "anchor"),
]


@pytest.mark.parametrize("text, where, says", BAD, ids=[b[2][:40] for b in BAD])
def test_bad(tmp_path, text, where, says):
    done = check(tmp_path, text)
    assert done.returncode == 1 and done.stdout == ""
    assert any(where in line and says in line for line in done.stderr.splitlines()), done.stderr


def test_every_error_is_said_at_once(tmp_path):
    done = check(tmp_path, T + "  - {match: {device: '*'}, polcy: x}\n  - {match: {pod: 1}}\n")
    assert len([l for l in done.stderr.splitlines() if ": error: " in l]) >= 3


def test_a_policy_that_is_wrong_is_named_with_its_place(tmp_path):
    done = check(tmp_path, CONFIG, agent=AGENT + "rulez: []\n")
    assert done.returncode == 1
    assert re.search(r"policies\.d/agent\.yaml:5:1: error: .*rulez", done.stderr)
    assert 'sluiced.yaml:4:13: error: policy "agent" cannot be loaded' in done.stderr


def test_what_is_wrong_with_a_policy_is_said_once(tmp_path):
    """However many targets have it: what else is wrong is not hidden behind it."""
    targets = "".join(f"  - {{match: {{device: 'a{i}'}}, policy: agent}}\n" for i in range(120))
    done = check(tmp_path, CONFIG + targets + "  - {match: {device: z}, policy: none}\n",
                 agent=AGENT + "rulez: []\n")
    assert done.returncode == 1 and done.stderr.count("rulez") == 1, done.stderr
    few = check(tmp_path, CONFIG + "".join(targets.splitlines(True)[:3]) +
                "  - {match: {device: z}, policy: none}\n", agent=AGENT + "rulez: []\n")
    assert few.stderr.count("rulez") == 1 and "none.yaml" in few.stderr
    assert few.stderr.count('policy "agent" cannot be loaded') == 4     # each with its place


def test_a_policy_that_is_not_there_is_said_once_and_at_its_place(tmp_path):
    done = check(tmp_path, T + "  - {match: {device: v0}, policy: no}\n")
    assert done.stderr.count("no.yaml") == 1 and done.stderr.count("error:") == 1, done.stderr
    assert re.search(r':3:35: error: policy "no" cannot be loaded: \S*no\.yaml: No such file', done.stderr)
    assert "write it, or name one that is there" in done.stderr


def test_a_policy_with_uids_is_for_no_device(tmp_path):
    done = check(tmp_path, CONFIG, agent=AGENT + "  - allow: {to: any, uid: 0}\n")
    assert done.returncode == 1 and "uid" in done.stderr


def test_a_file_that_anyone_may_write(tmp_path):
    check(tmp_path, CONFIG)
    (tmp_path / "sluiced.yaml").chmod(0o666)
    done = subprocess.run([SLUICED, "--check", "-c", tmp_path / "sluiced.yaml"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "chmod o-w" in done.stderr


def test_truncated_at_any_byte(tmp_path):
    """Never a crash, never anything but all of it or an error."""
    text = GOOD["all keys"].encode()
    whole = 0
    for end in range(len(text)):
        done = check(tmp_path, text[:end])
        assert done.returncode in (0, 1) and (done.returncode == 0) == (done.stderr == ""), end
        whole += done.returncode == 0
    assert 0 < whole < len(text)


def test_no_file(tmp_path):
    done = subprocess.run([SLUICED, "--check", "-c", tmp_path / "none.yaml"], capture_output=True,
                          text=True)
    assert done.returncode == 1 and "none.yaml" in done.stderr


def test_the_tables_of_keys_are_documented():
    """docs/sluiced.md in order, key by key: type, default and part."""
    code = (ROOT / "user/daemon/config_keys.c").read_text()
    words = {"POLICY_TYPE": "the name of a policy, NAME of policies/NAME.yaml",
             "MODE_TYPE": "policy, enforce or audit",
             **dict(re.findall(r'^#define (\w+) "([^"]+)"$', code, re.M))}
    rows = []
    for entry in re.findall(r"\[SL_CONF_\w+\] = \{(.*?)\},\n", code, re.S):
        entry = re.sub(r'"\s*\n\s*"', "", entry)
        parts = re.findall(r'"((?:[^"\\]|\\.)*)"|\b([A-Z_]{4,})\b', entry)
        rows.append([(text or words.get(word, word)).replace('\\"', '"')
                     for text, word in parts if word != "NULL"])
    documented = [re.split(r" \| ", line.strip("| \n")) for line in
                  (ROOT / "docs/sluiced.md").read_text().splitlines()
                  if re.match(r"\| `\w+` \|", line)]
    for row in documented:
        row[0] = row[0].strip("`")
    assert rows and documented == rows


@pytest.mark.parametrize("words, code, says", [
    (["--help"], 0, "example: "), (["--version"], 0, "sluiced "), (["x"], 2, "what is 'x'?"),
    (["--no"], 2, "`sluiced --help`")])
def test_usage(words, code, says):
    done = subprocess.run([SLUICED, *words], capture_output=True, text=True)
    assert done.returncode == code and says in done.stdout + done.stderr


def test_the_unit_is_right(tmp_path):
    """systemd-analyze reads it as systemd would."""
    text = (ROOT / "deploy/systemd/sluiced.service").read_text()
    unit = tmp_path / "sluiced.service"
    unit.write_text(text.replace("/usr/local/sbin/sluiced", SLUICED))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert done.returncode == 0 and str(unit) not in done.stderr, done.stderr
    for line in ("Before=network-pre.target", "Restart=always", "NoNewPrivileges=yes",
                 "RuntimeDirectoryPreserve=yes"):
        assert any(l.startswith(line) for l in text.splitlines()), line
    # systemd has /sys/fs/bpf read-only then, whatever ReadWritePaths says (src/core/namespace.c)
    assert "\nProtectKernelTunables" not in text
