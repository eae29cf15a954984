# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What all commands that need no privilege share; check, test, rules; the examples."""
import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from cli_tools import AGENT, BUILD, ROOT, SLUICE, agent, lines_of, sluice, usage_error, write

EXAMPLES = sorted((ROOT / "policies" / "examples").glob("*.yaml"))


# ---- options that every command has ----

COMMANDS = ["check", "explain", "test", "fmt", "convert", "rules"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command):
    result = sluice(command, "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith(f"usage: sluice {command}")
    assert "example:" in result.stdout
    assert sluice(command, "-h").stdout == result.stdout


@pytest.mark.parametrize("words", [["chekc"], ["help", "chekc"]])
def test_a_slip_of_a_command_is_quoted_and_mended(words):
    result = sluice(*words)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr == "sluice: no command 'chekc'; did you mean 'check'? " \
        "`sluice help` lists all\n"
    words[-1] = "zzz\x1b[2J"
    assert "no command 'zzz\\x1b[2J'; `sluice help` lists" in sluice(*words).stderr


def test_help_of_a_command_is_its_help():
    assert sluice("help", "check").stdout == sluice("check", "--help").stdout
    assert sluice("help").stdout == sluice("--help").stdout


def commands():
    return [line.split()[0] for line in sluice("help").stdout.splitlines()
            if line.startswith("  ")]


@pytest.mark.parametrize("command", commands())
def test_help_lists_the_exit_codes(command):
    said = re.sub(r"\s+", " ", sluice("help", command).stdout)
    assert re.search(r"Exits (0[ ,]|as COMMAND does;)", said), said
    assert re.search(r"(1|125) if|Else 1|1 if", said) and "2 for wrong usage" in said, said


def test_help_of_the_daemon_lists_the_exit_codes():
    said = subprocess.run([BUILD / "sluiced", "--help"], capture_output=True, text=True, check=True)
    assert "Exits 0 " in said.stdout and "2 for wrong" in said.stdout


@pytest.mark.parametrize("words, code", [
    (["check", "{agent}"], 0), (["check", "{agent}", "/nosuch"], 1), (["check"], 2),
    (["explain", "-p", "{agent}", "192.0.2.9:1"], 0), (["explain", "-p", "/nosuch", "192.0.2.9:1"], 1),
    (["explain", "-p", "{agent}", "192.0.2.9:http"], 2),
    (["test", "{agent}"], 0), (["test", "/nosuch"], 1), (["test"], 2),
    (["fmt", "{agent}"], 0), (["fmt", "/nosuch"], 1), (["fmt", "--force"], 2),
    (["convert", "--from", "sortie", "/nosuch"], 1), (["convert", "--from", "nowhere"], 2),
    (["profile", "list"], 0), (["profile", "show", "nosuch"], 1), (["profile"], 2)])
def test_exit_codes_are_as_help_says(agent, words, code):
    done = sluice(*[str(agent) if word == "{agent}" else word for word in words])
    assert done.returncode == code, done


def test_a_file_that_cannot_be_read_is_told_with_a_next_step(tmp_path):
    for path, says in ((tmp_path / "none", f"`ls {tmp_path}` shows"), ("/none", "`ls /` shows"),
                       ("none", "`ls` shows")):
        done = sluice("check", path)
        assert done.returncode == 1 and f"cannot read {path}: No such file" in done.stderr
        assert says in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
def test_a_file_that_may_not_be_read_is_told_with_a_next_step():
    with tempfile.TemporaryDirectory(prefix="sluice-cli-") as folder:
        copy = shutil.copy(SLUICE, folder)
        os.chmod(folder, 0o755)
        os.makedirs(f"{folder}/shut", 0o700)
        done = subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", copy, "check",
                               f"{folder}/shut/a.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"Permission denied: `namei -l {folder}/shut/a.yaml`" in done.stderr


def test_a_second_policy_is_refused_and_not_taken():
    for words in (["run"], ["explain"]):
        usage_error(sluice(*words, "-p", "one.yaml", "-p", "two.yaml", "true"),
                    "-p two.yaml: -p one.yaml was given before")


def test_a_word_that_profile_does_not_know_is_quoted():
    usage_error(sluice("profile", "lst"), "what is 'lst'? write list, or show NAME")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_quoted(command):
    usage_error(sluice(command, "--nonsense"), "'--nonsense'")
    usage_error(sluice(command, "-Z"), "'-Z'")


@pytest.mark.parametrize("command", ["check", "explain", "test", "rules"])
def test_the_output_format_is_checked(command):
    usage_error(sluice(command, "-o", "xml"), "-o is text or json, not 'xml'")
    usage_error(sluice(command, "-o"), "option '-o' wants a value")


@pytest.mark.parametrize("words", [["check", "--resolved=1"], ["fmt", "--check=x"]])
def test_an_option_without_a_value_refuses_one(words):
    usage_error(sluice(*words), f"option '{words[1]}' takes no value")


@pytest.mark.parametrize("words", [["check"], ["test"], ["explain", "-p", "x"],
                                   ["explain", "192.0.2.1:5"], ["convert"], ["rules"]])
def test_what_is_missing_is_a_usage_error(words):
    usage_error(sluice(*words), f"sluice {words[0]}: ")


@pytest.mark.parametrize("words, said", [
    (["attach", "--dev", "x", "--dev", "y", "-p", "z"], "--dev y: --dev x was given before"),
    (["attach", "--dev", "x", "-p", "y", "-p", "z"], "-p z: -p y was given before"),
    (["attach", "--dev", "x", "-p", "z", "--mac", "52:54:00:00:00:01", "--mac",
      "52:54:00:00:00:02"], "--mac 52:54:00:00:00:02: a device has one MAC"),
    (["watch", "--dev", "x", "-p", "y", "-p", "z"], "-p z: -p y was given before")])
def test_what_is_given_twice_is_a_usage_error(words, said):
    """Of two devices one would be left unjudged, and nobody told."""
    usage_error(sluice(*words), said)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
@pytest.mark.parametrize("command", ["status", "monitor"])
def test_who_may_not_see_the_pins_is_told_who_may(command):
    state = f"/sys/fs/bpf/sl-cli-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="sluice-cli-") as folder:
        os.chmod(folder, 0o755)
        copy = shutil.copy(SLUICE, folder)          # the build may stand in a home
        os.mkdir(state, 0o700)
        try:
            done = subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", copy, command],
                                  env={"SLUICE_STATE": state, "SLUICE_SOCKET": f"{folder}/none",
                                       "PATH": os.environ["PATH"]},
                                  capture_output=True, text=True, timeout=20, check=False)
        finally:
            os.rmdir(state)
    assert done.returncode == 1 and f"{state}: cannot be" in done.stderr, done
    assert "root (sudo)" in done.stderr, done


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
@pytest.mark.parametrize("words, says", [
    (["attach", "--dev", "nosuchdev", "-p", "x"], "attaching programs needs root (sudo)"),
    (["attach", "--cgroup", "/nosuch", "-p", "x"], "attaching programs needs root (sudo)"),
    (["apply"], "no sluiced listens at {socket} (`systemctl start sluiced`; $SLUICE_SOCKET")])
@pytest.mark.parametrize("shut", [False, True])
def test_who_may_not_is_told_so_before_anything_else(words, says, shut):
    """shut: sluiced's socket is there, and nobody may connect."""
    with tempfile.TemporaryDirectory(prefix="sluice-cli-") as folder, \
            socket.socket(socket.AF_UNIX) as daemon:
        os.chmod(folder, 0o755)
        copy, path = shutil.copy(SLUICE, folder), f"{folder}/socket"
        if shut:
            daemon.bind(path)
            os.chmod(path, 0o600)
            says = "{socket}: Permission denied: root may ask (sudo)"
        done = subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", copy, *words],
                              env={"SLUICE_SOCKET": path, "PATH": os.environ["PATH"]},
                              capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1 and says.format(socket=path) in done.stderr, done
    assert done.stderr.count("\n") == 1, done


@pytest.mark.parametrize("option, value", [
    ("--mac", "00:00:00:00:00:00"), ("--mac", "01:00:5e:00:00:01"), ("--address", "0.0.0.0"),
    ("--address", "224.0.0.1"), ("--address", "::"), ("--address", "ff02::1"),
    ("--address", "::ffff:1.2.3.4"), ("--address", "127.0.0.1")])
def test_what_no_workload_can_have_is_not_bound(option, value):
    result = sluice("attach", "--dev", "x", "-p", "z", option, value)
    assert result.returncode == 2 and f"'{value}'" in result.stderr


def test_output_that_cannot_be_written_is_a_failure(agent):
    with open("/dev/full", "w", encoding="utf-8") as full:
        for words in (["check", agent], ["fmt", agent], ["test", agent], ["rules", "--sets"],
                      ["explain", "-p", agent, "10.0.0.1:80"]):
            result = subprocess.run([SLUICE, *map(str, words)], stdout=full, text=True,
                                    stderr=subprocess.PIPE, check=False)
            assert result.returncode == 1, words
            assert "cannot write the output" in result.stderr


# ---- check ----

def test_check_says_what_a_valid_policy_is_made_of(agent):
    result = sluice("check", agent)
    assert result.returncode == 0
    assert result.stdout.startswith(f"{agent}: ok: 9 rules, ")
    assert " address classes, " in result.stdout and result.stdout.endswith(" KiB table\n")


def test_check_json(agent, write):
    bad = write("sluice: 1\nrules:\n  - allow: 10.0.0.0/33\n  - denny: any\n", "bad.yaml")
    result = sluice("check", "-o", "json", agent, bad)
    assert result.returncode == 1 and result.stderr == ""
    good, wrong = lines_of(result)
    assert good["file"] == str(agent) and good["valid"] is True and good["errors"] == []
    assert good["rules"] == 9 and good["classes"] > 3 and good["table_bytes"] % 8 == 0
    assert good["ranges4"] > 10 and good["ranges6"] > 3
    assert wrong["valid"] is False and wrong["rules"] is None and wrong["table_bytes"] is None
    assert [(e["file"], e["line"]) for e in wrong["errors"]] == [(str(bad), 3), (str(bad), 4)]
    assert "10.0.0.0/33" in wrong["errors"][0]["message"]
    assert "denny" in wrong["errors"][1]["message"]


def test_check_prints_errors_with_their_place(write):
    bad = write("sluice: 1\nrules:\n  - allow: 10.0.0.0/33\n", "bad.yaml")
    result = sluice("check", bad)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith(f"{bad}:3:12: error: ") and '"10.0.0.0/33"' in result.stderr


def test_check_prints_warnings_of_a_valid_policy(write):
    path = write("sluice: 1\nrules:\n  - deny: 10.0.0.1/8\n  - allow: 10.2.3.4\n")
    result = sluice("check", path)
    assert result.returncode == 0 and ": ok: " in result.stdout
    assert f"{path}:3:" in result.stderr and "warning" in result.stderr
    assert f"{path}:4:" in result.stderr
    warned = lines_of(sluice("check", "-o", "json", path))[0]["warnings"]
    assert {w["line"] for w in warned} == {3, 4}


@pytest.mark.parametrize("mode, text", [(0o666, "may be written"), (0o644, "not enforced yet")])
def test_check_refuses(write, mode, text):
    path = write("sluice: 1\nrules: [{allow: any, id: x, uses: 5}]\n", mode=mode)
    result = sluice("check", path)
    assert result.returncode == 1 and text in result.stderr


def test_check_of_a_missing_file_and_a_good_one_goes_on(agent, tmp_path):
    result = sluice("check", tmp_path / "none.yaml", agent)
    assert result.returncode == 1
    assert "none.yaml" in result.stderr and ": ok: " in result.stdout


def test_check_reads_standard_input():
    assert sluice("check", "-", input=AGENT).stdout.startswith("<stdin>: ok: ")
    result = sluice("check", "-", input="sluice: 2\n")
    assert result.returncode == 1 and result.stderr.startswith("<stdin>:1:")


def test_check_resolved_is_a_policy_without_names(agent, write):
    result = sluice("check", "--resolved", agent)
    assert result.returncode == 0
    assert "@metadata" not in result.stdout and "169.254.169.254" in result.stdout
    again = write(result.stdout, "resolved.yaml")
    assert sluice("test", again).stdout == "4 passed, 0 failed\n"
    [line] = lines_of(sluice("check", "-o", "json", "--resolved", agent))
    assert "169.254.169.254" in line["resolved"]
    usage_error(sluice("check", "--resolved", agent, agent), "one policy, not 2")


@pytest.mark.parametrize("command", [["check"], ["test"], ["explain", "10.0.0.1:1", "-p"]])
def test_trust_clock_is_taken(command, write):
    path = write("sluice: 1\nrules:\n  - allow: 10.0.0.1\n    expires: 2001-01-01\n")
    assert sluice(command[0], "--trust-clock", *command[1:], path).returncode == 0


# ---- test ----

def test_test_counts(agent, write):
    assert sluice("test", agent).stdout == "4 passed, 0 failed\n"
    bad = write(AGENT + "  - allow: 10.0.0.1:80\n  - deny: 140.82.112.3:22\n"
                "  - allow: '[2002::1]:1'\n  - allow: 203.0.113.9:1\n", "bad.yaml")
    result = sluice("test", agent, bad)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        f"{bad}:31:5: expected allow, is denied by rule deny-7792d7: 10.0.0.1:80/tcp",
        f"{bad}:32:5: expected deny, is allowed by rule allow-569959: 140.82.112.3:22/tcp",
        f"{bad}:33:5: expected allow, is denied (embedded): [2002::1]:1/tcp",
        f"{bad}:34:5: expected allow, is denied by default: 203.0.113.9:1/tcp",
        "8 passed, 4 failed"]


def test_test_json(agent, write):
    bad = write("sluice: 1\nrules: [x]\n", "bad.yaml")
    result = sluice("test", "-o", "json", agent, bad)
    assert result.returncode == 1
    first, *rest, last = lines_of(result)
    assert first == {"file": str(agent), "line": 27, "column": 5, "flow": "140.82.112.3:443/tcp",
                     "expected": "allow", "verdict": "allow", "decided": "connection",
                     "rule": "allow-569959", "reason": "rule", "passed": True}
    assert len(rest) == 3 and all(r["passed"] for r in rest)
    assert last["passed"] is False and last["errors"][0]["line"] == 2


def test_test_in_audit_mode_asks_for_the_decision(write):
    path = write("sluice: 1\nmode: audit\ntests:\n  - deny: 10.0.0.1:1\n")
    assert sluice("test", path).returncode == 0


def test_test_names_a_file_without_tests(write):
    path = write("sluice: 1\n")
    result = sluice("test", path)
    assert result.returncode == 0 and result.stdout == "0 passed, 0 failed\n"
    assert result.stderr == f"note: {path} has no tests\n"


def test_test_of_an_invalid_policy_fails(write, agent):
    result = sluice("test", write("sluice: 3\n", "bad.yaml"), agent)
    assert result.returncode == 1 and "error" in result.stderr
    assert result.stdout == "4 passed, 0 failed, 1 file not valid\n"


# ---- rules ----

def test_rules_prints_the_built_in_sets():
    result = sluice("rules", "--sets")
    assert result.returncode == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["@private", "@metadata", "@loopback", "@link-local", "@multicast",
                     "@gateway", "@subnet", "@host", "@resolvers"]
    assert "169.254.169.254" in result.stdout


def test_rules_json():
    sets = {line["set"]: line for line in lines_of(sluice("rules", "--sets", "-o", "json"))}
    assert sets["loopback"]["addresses"] == ["127.0.0.0/8", "::1"]
    assert sets["loopback"]["resolved"] is False
    assert sets["gateway"]["resolved"] is True and sets["gateway"]["meaning"]
    assert len(sets) == 9


def test_rules_usage():
    usage_error(sluice("rules"), "--sets or --dev")
    usage_error(sluice("rules", "--sets", "x"), "'x'")


# ---- the shipped examples ----

@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_valid_and_pass_their_tests(path):
    result = sluice("check", path)
    assert (result.returncode, result.stderr) == (0, "")
    result = sluice("test", path)
    assert result.returncode == 0 and result.stderr == "", result.stdout
    text = sluice("fmt", path).stdout
    assert sluice("fmt", "-", input=text).stdout == text
    assert path.read_text().splitlines()[1].startswith("# ")


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("words", [("\x1b[1m",), ("run", "--x\x1b[1m"), ("rules", "--unused", "\x1b[1m"),
                                   ("status", "\x1b[1m")])
def test_arguments_that_would_steer_the_terminal(words):
    done = sluice(*words)
    assert done.returncode == 2 and "\\x1b[1m" in done.stderr and "\x1b" not in done.stderr, done
