# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice run` as a command: exit codes, signals, streams, users, what it leaves."""
import os
import pathlib
import pwd
import re
import signal
import stat
import subprocess

import pytest

from lab import ECHO, PEER4, PEER6, PYTHON, SLUICE, cgroup2, environment, sh, total, until

ONLY_PROBE = f"sluice: 1\nname: only-probe\nrules:\n  - allow: {PEER4}\n    id: probe\n"


def left_over():
    """Of runs that have ended: sluice-run-PID-N of one that lives is somebody else's."""
    return {path for path in pathlib.Path(cgroup2()).glob("sluice-run-*")
            if not os.path.exists(f"/proc/{path.name.split('-')[2]}")}


# ---- exit codes and signals ----

def test_exit_codes_pass_through(lab):
    for code in (0, 1, 2, 42, 124, 128, 200, 255):
        assert lab.run(ONLY_PROBE, "sh", "-c", f"exit {code}").code == code


def test_exit_codes_of_our_own(lab):
    assert lab.run(ONLY_PROBE, "no-such-command").code == 127
    assert "no-such-command" in lab.run(ONLY_PROBE, "no-such-command").err
    plain = lab.new_folder() / "plain"
    plain.write_text("no program\n")
    assert lab.run(ONLY_PROBE, str(plain)).code == 126
    assert lab.run(ONLY_PROBE, str(plain.parent)).code == 126
    assert lab.run("sluice: 1\nrules: [nonsense]\n", "true").code == 125
    assert lab.run(None, "true", options=["-p", "/no/such/policy.yaml"]).code == 125


def test_usage_errors(lab):
    for words in ([], ["--no-such-option", "true"], ["--wait", "--leave", "true"]):
        done = subprocess.run([SLUICE, "run", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=30, check=False)
        assert done.returncode == 2 and done.stderr and not done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_signal_is_passed_on(lab, number):
    assert lab.run(ONLY_PROBE, "sh", "-c", f"kill -{int(number)} $$").code == -number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_forwarded(lab, number):
    """The command handles it and says so; its own exit code stays."""
    code = (f"import signal,sys\n"
            f"signal.signal({int(number)}, lambda *a: sys.exit(33))\n"
            f"print('ready', flush=True)\n"
            f"signal.pause()\n")
    _, _, words = lab.prepare(ONLY_PROBE, ())
    run = subprocess.Popen(lab.inside() + words + [PYTHON, "-c", code], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env=environment())
    assert run.stdout.readline() == "ready\n"
    run.send_signal(number)
    run.communicate(timeout=15)
    assert run.returncode == 33


def test_an_unhandled_term_ends_both(lab):
    _, _, words = lab.prepare(ONLY_PROBE, ())
    run = subprocess.Popen(lab.inside() + words + ["sh", "-c", "echo ready; exec sleep 60"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env=environment())
    assert run.stdout.readline() == "ready\n"
    run.terminate()
    _, err = run.communicate(timeout=15)
    assert run.returncode == -signal.SIGTERM
    assert "0 blocked" in err


def test_stop_and_continue(lab):
    _, _, words = lab.prepare(ONLY_PROBE, ())
    run = subprocess.Popen(lab.inside() + words + ["sh", "-c", "echo ready; kill -STOP $$; exit 5"],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                           env=environment())
    try:
        status = os.waitpid(run.pid, os.WUNTRACED)[1]
        assert os.WIFSTOPPED(status)
        run.send_signal(signal.SIGCONT)
        assert run.wait(15) == 5
    finally:
        run.kill()
        run.stdout.close()


def test_streams_pass_through(lab):
    done = lab.run(ONLY_PROBE, "sh", "-c", "cat; echo to-stderr >&2", input="to-stdin\n" * 10000)
    assert done.out == "to-stdin\n" * 10000
    assert "to-stderr\n" in done.err and "sluice: 0 blocked" in done.err
    quiet = lab.run(ONLY_PROBE, "sh", "-c", "echo to-stderr >&2", options=["-q"])
    assert quiet.err == "to-stderr\n"


# ---- who it runs as ----

IDENTITY = "id -u; id -g; id -G; echo $HOME $USER; grep -E '^(Cap|NoNewPrivs)' /proc/self/status"


def identity(done):
    lines = done.out.splitlines()
    status = dict(line.split(":\t") for line in lines[4:])
    return lines[0], lines[1], lines[2].split(), lines[3], status


def assert_powerless(status):
    assert {k: int(v, 16) for k, v in status.items()} == {
        "CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 1 << 13, "CapAmb": 0, "NoNewPrivs": 1}


def test_root_alone_keeps_its_uid_and_loses_the_rest(lab):
    uid, _, _, _, status = identity(lab.run(ONLY_PROBE, "sh", "-c", IDENTITY))
    assert uid == "0"
    assert_powerless(status)


def test_sudo_callers_get_their_own_uid(lab):
    nobody = pwd.getpwnam("nobody")
    env = {"SUDO_UID": str(nobody.pw_uid), "SUDO_GID": str(nobody.pw_gid), "SUDO_USER": "nobody"}
    uid, gid, groups, home, status = identity(lab.run(ONLY_PROBE, "sh", "-c", IDENTITY, env=env))
    assert (uid, gid, groups) == (str(nobody.pw_uid), str(nobody.pw_gid), [str(nobody.pw_gid)])
    assert home == f"{nobody.pw_dir} nobody"
    assert_powerless(status)


@pytest.mark.parametrize("value", ["", "root", "-1", "4294967295", "99999999999", "0x10", "1000 "])
def test_a_strange_sudo_uid_is_never_root(lab, value):
    done = lab.run(ONLY_PROBE, "id", "-u", env={"SUDO_UID": value, "SUDO_GID": "1000"})
    assert done.code == 125 and not done.out and "SUDO_UID" in done.err


@pytest.mark.parametrize("user, expected", [("nobody", ("65534", "65534", ["65534"])),
                                            ("65534", ("65534", "65534", ["65534"])),
                                            ("1234:2345", ("1234", "2345", ["2345"]))])
def test_user(lab, user, expected):
    done = lab.run(ONLY_PROBE, "sh", "-c", IDENTITY, options=["--user", user])
    uid, gid, groups, _, status = identity(done)
    assert (uid, gid, groups) == expected
    assert_powerless(status)


@pytest.mark.parametrize("user", ["no-such-user", "1234", "", "nobody:no-such-group", "1:2:3"])
def test_a_wrong_user_runs_nothing(lab, user):
    done = lab.run(ONLY_PROBE, "echo", "ran", options=["--user", user])
    assert done.code == 125 and not done.out and done.err


@pytest.mark.parametrize("user, said", [
    ("no-such-user", 'no user "no-such-user" on this host: `getent passwd`'),
    ("nobody:no-such-group", 'no group "no-such-group" on this host: `getent group`')])
def test_a_wrong_user_is_told_what_to_do(lab, user, said):
    assert said in lab.run(ONLY_PROBE, "true", options=["--user", user]).err


def test_keep_privileges_keeps_them_and_says_what_is_open(lab):
    done = lab.run(ONLY_PROBE, "sh", "-c", IDENTITY, options=["--keep-privileges"],
                   env={"SUDO_UID": "1000", "SUDO_GID": "1000"})
    uid, _, _, _, status = identity(done)
    assert uid == "0" and int(status["CapEff"], 16) and status["NoNewPrivs"] == "0"
    assert "sluice: open: --keep-privileges" in done.err


def test_without_privileges_it_refuses(lab):
    done = sh("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all",
              "sh", "-c", f"cp {SLUICE} /dev/null 2>&1; {SLUICE} run -- true; echo code $?",
              check=False)
    if "not found" in done or "Permission denied" in done:
        pytest.skip(f"nobody may not execute {SLUICE}")
    assert "code 125" in done and "CAP_" in done


# ---- what it leaves ----

def test_nothing_is_left(lab):
    """Cgroup, programs and maps end with the run."""
    agent = lab.sluice(ONLY_PROBE)
    path = agent.cgroup()
    programs = re.findall(r"^(\d+)", sh("bpftool", "cgroup", "show", path), re.M)
    assert len(programs) >= 6
    maps = set()
    for program in programs:
        found = re.search(r"map_ids ([\d,]+)", sh("bpftool", "prog", "show", "id", program))
        maps |= set(found.group(1).split(",")) if found else set()
    assert maps
    agent.close()
    assert not os.path.exists(path)

    def gone(kind, number):
        return until(lambda: "Error" in sh("bpftool", kind, "show", "id", number, check=False))
    assert all(gone("prog", p) for p in programs) and all(gone("map", m) for m in maps)


def test_the_next_run_removes_left_over_cgroups(lab):
    left = pathlib.Path(cgroup2()) / "sluice-run-999999-0"
    left.mkdir()
    lab.run(ONLY_PROBE, "true")
    assert not left.exists()


def test_a_foreign_cgroup_of_like_name_stays(lab):
    other = pathlib.Path(cgroup2()) / f"sluice-runner-{os.getpid()}"
    other.mkdir()
    try:
        lab.run(ONLY_PROBE, "true")
        assert other.exists()
    finally:
        other.rmdir()


def test_twenty_at_once(lab):
    """Each with its own policy: its own verdicts and nobody else's."""
    before = left_over()
    agents = [lab.sluice(f"sluice: 1\nrules:\n  - allow: 203.0.113.{n}\n") for n in range(1, 21)]
    for shift in (0, 1):
        for n, agent in enumerate(agents):
            agent.send("tcp", to=f"203.0.113.{(n + shift) % 20 + 1}", port=ECHO)
        for agent in agents:
            result = agent.receive(60)
            assert result["errno"] == ("ECONNREFUSED" if shift else None), result
    for agent in agents:
        done = agent.close()
        assert done.code == 0 and total(done.events) == 1
    assert not left_over() - before


def test_nested_runs_must_both_allow(lab):
    both, inner, outer = "203.0.113.1", "203.0.113.2", "203.0.113.3"
    folder = lab.new_folder()
    inside = folder / "inner.yaml"
    inside.write_text(f"sluice: 1\nrules:\n  - allow: [{both}, {inner}]\n")
    agent = lab.sluice(f"sluice: 1\nrules:\n  - allow: [{both}, {outer}]\n", "--keep-privileges")
    for to, code in ((both, 0), (inner, 1), (outer, 1)):
        request = '{"kind": "tcp", "to": "%s", "port": %d}' % (to, ECHO)
        result = agent.do("command", argv=[SLUICE, "run", "-q", "-p", str(inside), "--", PYTHON,
                                           str(lab.client), request])
        assert ('"hello"' in result["reply"]) == (code == 0), result
        assert code == 0 or "ECONNREFUSED" in result["reply"]
    assert [e["destination"]["address"] for e in agent.close().events] == [inner]


# ---- policies ----

@pytest.mark.parametrize("text", ["", "sluice: 1\nrules: [", "sluice: 2\n",
                                  "sluice: 1\nrules:\n  - allow: 10.0.0.0/99\n",
                                  "sluice: 1\nrules:\n  - allow: example.com:443\n    id: a\n    uses: 3\n",
                                  "sluice: 1\nlog: some\n"])
def test_an_invalid_policy_changes_nothing(lab, text):
    before = left_over()
    mark = lab.new_folder() / "ran"
    done = lab.run(text, "touch", str(mark))
    assert done.code == 125 and "policy.yaml" in done.err
    assert not mark.exists() and not done.events
    assert not left_over() - before


RATE = 2_000_000        # bytes a second


@pytest.mark.parametrize("to", [PEER4, PEER6])
def test_bandwidth_holds_a_command(lab, to):
    """UDP offered at twice the limit; IP headers count, and the burst comes on top."""
    seconds, size = 3, 1000
    agent = lab.sluice(f"sluice: 1\nlimits: {{bandwidth: {{out: {RATE}B/s}}}}\nrules:\n"
                       f"  - allow: {{to: '{to}', ports: 9999, protocol: udp}}\n")
    sent = agent.do("offer", to=to, port=9999, size=size, rate=2 * RATE, seconds=seconds,
                    wait=30)["reply"]
    came = sum(len(p.data) for p in lab.wire.seen(to, 17, 9999))
    events = agent.close().events
    assert sent * size >= 1.9 * RATE * seconds and not events
    assert 0.95 * RATE * seconds <= came <= 1.05 * RATE * seconds + 0.3 * RATE


def test_connections_hold_a_command(lab):
    agent = lab.sluice(f"sluice: 1\nlimits: {{connections: 5/m}}\n"
                       f"rules:\n  - allow: ['{PEER4}', '{PEER6}']\n")
    done = [agent.do("tcp", to=to, port=ECHO)["errno"] for to in [PEER4, PEER6] * 4]
    events = agent.close().events
    assert done[:5] == [None] * 5 and all(done[5:])
    assert {(e["verdict"], e["reason"]) for e in events} == {("deny", "connection-limit")}



def test_a_policy_that_others_may_write_is_refused(lab):
    path = lab.new_folder() / "p.yaml"
    path.write_text(ONLY_PROBE)
    path.chmod(0o666)
    done = lab.run(None, "true", options=["-p", str(path)])
    assert done.code == 125 and "writ" in done.err


def test_the_policy_from_standard_input(lab):
    request = '{"kind": "tcp", "to": "%s", "port": %d}'
    script = (f"{PYTHON} {lab.client} '{request % (PEER4, ECHO)}';"
              f"{PYTHON} {lab.client} '{request % ('203.0.113.1', ECHO)}'")
    done = lab.run(None, "sh", "-c", script, options=["-p", "-"], input=ONLY_PROBE)
    first, second = done.out.splitlines()
    assert '"hello"' in first and "ECONNREFUSED" in second


def test_without_a_policy_nothing_but_loopback(lab):
    agent = lab.sluice(None)
    server = lab.agent()
    for kind, port in (("tcp", 7001), ("udp", 7002)):
        server.do("listen", to="127.0.0.1", port=port, hold="s", type=kind)
        server.send("accept", use="s")
        assert agent.do(kind, to="127.0.0.1", port=port)["reply"] == "hello"
        server.receive()
        server.do("close", use="s")
        assert agent.do(kind, to=PEER4, port=ECHO)["errno"]
    done = agent.close()
    assert {e["policy"] for e in done.events} == {"default"} and total(done.events) == 2


@pytest.mark.parametrize("path", ["/no/such/folder/log", "/"])
def test_a_log_that_cannot_be_written(lab, path):
    """Said before the command is started."""
    mark = lab.new_folder() / "ran"
    done = lab.run(ONLY_PROBE, "touch", str(mark), options=["--log", path])
    assert done.code == 125 and f"--log {path}" in done.err and not mark.exists()
    assert "make its directory first" in done.err or "can be appended to" in done.err


def test_a_log_that_fills_up_changes_no_verdict(lab):
    request = '{"kind": "tcp", "to": "203.0.113.1", "port": 7}'
    done = lab.run(ONLY_PROBE, PYTHON, str(lab.client), request, options=["--log", "/dev/full"])
    assert done.code == 0 and "ECONNREFUSED" in done.out
    assert "some records could not be written" in done.err


def test_the_log_is_appended_to(lab):
    log = lab.new_folder() / "log"
    request = '{"kind": "tcp", "to": "203.0.113.1", "port": 7}'
    for n in (1, 2):
        lab.run(ONLY_PROBE, PYTHON, str(lab.client), request, options=["--log", str(log)])
        assert len(log.read_text().splitlines()) == n
    assert not stat.S_IMODE(log.stat().st_mode) & 0o022


def test_the_summary_names_count_destination_rule_and_process(lab):
    text = ONLY_PROBE + "  - deny: 203.0.113.0/24\n    id: no-test-net\n"
    agent = lab.sluice(text, "-v")
    for _ in range(3):
        agent.do("tcp", to="203.0.113.1", port=ECHO)
    agent.do("udp", to="198.51.100.1", port=53)
    done = agent.close()
    assert "sluice: 4 blocked, 0 allowed (policy only-probe)" in done.err
    assert re.search(r"sluice: +3  203\.0\.113\.1:7/tcp +no-test-net \(line 6\) +python3\[\d+\]",
                     done.err)
    assert re.search(r"sluice: +1  198\.51\.100\.1:53/udp +no rule \(default\) +python3", done.err)
    assert "sluice: deny 203.0.113.1:7/tcp  no-test-net  python3[" in done.err


def raw_run(lab, command, policy=None, **kw):
    _, log, words = lab.prepare(policy or "sluice: 1\nname: raw\n", ("-v",))
    return subprocess.Popen(lab.inside() + words + command, stdin=subprocess.DEVNULL, **kw), log


def test_a_reader_of_stderr_that_is_gone_changes_nothing(lab):
    """Neither the exit code nor the record: SIGPIPE is not the end of a run."""
    denied = "import socket; s = socket.socket(); s.connect_ex(('203.0.113.1', 9))"
    child, log = raw_run(lab, ["/usr/bin/python3", "-c", denied + "; raise SystemExit(9)"],
                         stderr=subprocess.PIPE)
    child.stderr.close()
    assert child.wait(20) == 9
    assert len(log.read_text().splitlines()) == 1


def test_a_full_nonblocking_stderr_does_not_swallow_the_summary(lab):
    fill = ("import fcntl, os\n"
            "fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_NONBLOCK)\n"
            "try:\n"
            "    while True: os.write(2, b'x' * 4096)\n"
            "except BlockingIOError: pass\n")
    child, _ = raw_run(lab, ["/usr/bin/python3", "-c", fill], stderr=subprocess.PIPE)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 0
    assert b"sluice: 0 blocked, 0 allowed (policy raw)" in err


def test_the_command_cannot_kill_what_keeps_its_record(lab):
    done = lab.run("sluice: 1\nname: raw\n", "sh", "-c", "kill -9 $PPID || exit 3")
    if "Landlock" in done.err:
        pytest.skip("this kernel has no Landlock scope")
    assert done.code == 3
    assert "sluice: 0 blocked" in done.err


def test_a_missing_bpffs_is_not_needed(lab):
    """In a mount namespace of the test's own, which has none, and gets none: what is
    pinned in it would go with it."""
    script = ("umount -l /sys/fs/bpf 2>/dev/null; stat -f -c %T /sys/fs/bpf; "
              f"{SLUICE} run -q -- true && stat -f -c %T /sys/fs/bpf")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True,
                          timeout=20, env=environment())
    assert done.stdout.split() == ["sysfs", "sysfs"] and done.returncode == 0, done


def test_a_command_that_cannot_be_executed_is_told_with_a_next_step(lab, tmp_path):
    script = tmp_path / "script"
    for text, mode, words in (("#!/nosuch\n", 0o755, "first line (#!)"), ("", 0o644, "chmod +x")):
        script.write_text(text)
        script.chmod(mode)
        done = lab.run(ONLY_PROBE, str(script))
        assert done.code in (126, 127) and words in done.err, done.err
    assert "nothing in PATH has this name" in lab.run(ONLY_PROBE, "no-such-program").err


@pytest.mark.parametrize("policy, to, hint", [
    ("rules: []", ("192.0.2.2", 53), "the policy allows no names: `dns: {resolvers: system}`"),
    ("rules: []", ("2001:db8::2", 53), "the policy allows no names: `dns: {resolvers: system}`"),
    ("dns: {resolvers: [192.0.2.9]}\nrules: []", ("192.0.2.2", 53), "not one of the policy's resolvers"),
    ("dns: {resolvers: [192.0.2.9]}\nrules: [{allow: '*.example:7'}]", ("10.1.2.3", 7),
     "`resolves_to: private`"),
    ("dns: {resolvers: [192.0.2.9]}\nrules: [{allow: '*.example:7'}]", ("fc00::5", 7),
     "`resolves_to: private`"),
    ("rules: []", ("192.0.2.2", 54), None),
    ("rules: []", ("10.1.2.3", 7), None),
    ("rules: [{deny: '192.0.2.2:53'}]", ("192.0.2.2", 53), None),
    ("dns: {resolvers: [192.0.2.9]}\nrules: [{allow: '*.example:7'}]", ("192.0.2.2", 7), None),
])
def test_the_summary_hints_at_what_names_want(lab, policy, to, hint):
    family = "AF_INET6" if ":" in to[0] else "AF_INET"
    done = lab.run(f"sluice: 1\n{policy}\n", PYTHON, "-c",
                   f"import socket\nfor _ in 'ab':\n try:\n  socket.socket(socket.{family}, "
                   f"socket.SOCK_DGRAM).sendto(b'x', {to!r})\n except OSError: pass")
    assert "2 blocked" in done.err, done.err
    hints = [line for line in done.err.splitlines() if line.startswith("sluice: ") and
             f"{to[1]}/udp: " in line]
    assert len(hints) == bool(hint) and (hint or "") in "".join(hints), done.err


def test_an_unprintable_command_does_not_steer_the_terminal(lab):
    done = lab.run("sluice: 1\nname: raw\n", "\x1b[31mno\nsuch")
    assert done.code == 127
    assert "exec: \\x1b[31mno\\x0asuch" in done.err and "\x1b" not in done.err
