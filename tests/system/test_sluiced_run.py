# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice run` through sluiced: members of the group, under listed policies."""
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import bpfsys
from lab import SLUICE, cgroup2
from runslab import host  # noqa: F401
from runslab import ASK, GROUP, OTHER, PROBE, STRANGER, USER, ended, staying
from sluicedlab import WAIT, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def status_of(host, **who):
    done = host.done(SLUICE, "status", "-o", "json", **who)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def connecting(host):
    """A run of the policy open, and what says whether it reaches port 7001: yes or no."""
    loop = ("import socket, sys\nfor line in sys.stdin:\n"
            " try:\n  socket.create_connection(('127.0.0.1', 7001), 5).close(); r = 'yes'\n"
            " except ConnectionRefusedError: r = 'no'\n print(r, flush=True)")
    child = host.as_user(SLUICE, "run", "-q", "-p", "open", "--", sys.executable, "-c", loop)

    def answer():
        child.stdin.write("\n")
        child.stdin.flush()
        return child.stdout.readline().strip()
    return child, answer


# ---- what it is for ----

def test_a_member_runs_under_a_listed_policy(host):
    done = host.done(sys.executable, "-c", PROBE)
    assert done.stdout.split() == ["yes"] * 4, done  # nothing enforced
    done = host.sluice_run(sys.executable, "-c", PROBE)
    assert done.stdout.split() == ["yes", "no"] * 2, done
    done = host.sluice_run(sys.executable, "-c", PROBE, policy="shut")
    assert done.stdout.split() == ["no"] * 4, done
    host.ready()


def test_it_becomes_the_command(host):
    done = host.sluice_run("sh", "-c", "exit 7")
    assert done.returncode == 7
    done = host.sluice_run("sh", "-c", "kill -TERM $$")
    assert done.returncode == -signal.SIGTERM
    missing = host.sluice_run("/nowhere/at-all")
    assert missing.returncode == 127 and "first line (#!)" in missing.stderr
    assert host.sluice_run("/etc/passwd").returncode == 126
    done = host.sluice_run("sh", "-c", "grep -E 'NoNewPrivs|Seccomp:|CapEff|Uid' /proc/self/status")
    words = done.stdout.split()
    assert words[:5] == ["Uid:"] + [str(USER)] * 4
    assert words[words.index("NoNewPrivs:") + 1] == "1"
    assert words[words.index("Seccomp:") + 1] == "2"
    assert int(words[words.index("CapEff:") + 1], 16) == 0
    host.ready()


def test_what_is_left_is_killed_and_told(host):
    """A child in the background, in a session of its own, ends with the command."""
    with host.connect() as root:
        assert root.ask("monitor")["ok"]
        done = host.sluice_run("sh", "-c", 'setsid sleep 1000 >/dev/null 2>&1 & exec "$@"', "x",
                               sys.executable, "-c", PROBE)
        assert done.stdout.split() == ["yes", "no"] * 2, done
        host.ready()
        records = []
        while not records or records[-1].get("change") != "ended":
            records.append(root.receive())
        last = records[-1]
        assert last["event"] == "run" and last["uid"] == USER and last["policy"] == "open"
        assert (last["denied"], last["allowed"], last["lost"]) == (2, 2, 0)
        started = [r for r in records if r["event"] == "run"][0]
        assert started["change"] == "started" and started["cgroup"] == last["cgroup"]
        denied = [r for r in records if r.get("verdict")]
        assert len(denied) == 2
        assert all(last["target"]["name"].endswith(r["target"]["name"]) for r in denied)


def test_a_run_follows_its_policy(host):
    child, answer = connecting(host)
    assert answer() == "yes"
    host.say(open=host_shut(), policies="[open, shut]")
    assert until(lambda: answer() == "no")
    host.say(policies="[shut]", open=host_shut())  # listed no more: what runs keeps what it has
    assert host.sluice("apply").returncode == 0
    assert answer() == "no"
    child.communicate(timeout=WAIT)
    done = host.sluice_run("true")
    assert done.returncode == 125 and "not listed" in done.stderr
    host.ready(3)


def host_shut():
    return "sluice: 1\nname: open\nrules: []\n"


# ---- who may ----

@pytest.mark.parametrize("who, groups, policy, says", [
    (USER, (GROUP,), "closed", 'policy "closed" is not listed'),
    (USER, (GROUP,), "closed", "; listed: open, shut"),
    (USER, (GROUP,), "../agent", 'policy "../agent" is not listed'),
])
def test_refused(host, who, groups, policy, says):
    answer = json.loads(host.asked(f"print(json.dumps(ask('run', policy={policy!r})))", uid=who,
                                   groups=groups))
    assert not answer["ok"] and answer["code"] == "denied" and says in answer["error"]
    host.ready()


def test_no_member_is_refused(host):
    done = host.sluice_run("true", uid=STRANGER, groups=())
    assert done.returncode == 125 and "Permission denied" in done.stderr
    os.chmod(host.socket, 0o666)  # an administrator's mistake: the daemon asks itself
    done = host.sluice_run("true", uid=STRANGER, groups=())
    assert done.returncode == 125 and "no member of the group" in done.stderr
    assert host.sluice_run("true", uid=STRANGER, groups=(GROUP,)).returncode == 0
    assert host.sluice_run("true", uid=STRANGER, gid=GROUP, groups=()).returncode == 0
    with host.connect() as root:
        answer = root.ask("run", policy="open")
        assert answer["code"] == "denied" and "root runs commands without" in answer["error"]
    host.ready()


def test_more_at_once_than_the_limit(host):
    host.say(limit=2)
    assert host.sluice("apply").returncode == 0
    runs = [staying(host)[0] for _ in range(2)]
    done = host.sluice_run("true")
    assert done.returncode == 125 and "2 runs" in done.stderr, done
    assert host.sluice_run("true", uid=OTHER).returncode == 0  # another's count for themselves
    runs[0].communicate(timeout=WAIT)
    assert until(lambda: host.sluice_run("true").returncode == 0)
    ended(host, runs[1])


def test_the_configuration_refuses(host):
    for text, says in (("{policies: [named]}", "mode: forward"),
                       ("{policies: [open], limit: 0}", "limit 0"),
                       ("{policies: [open], limit: 257}", "limit"),
                       ("{policies: [open], cgroup: /a*}", "without patterns"),
                       ("{policies: [open], cgroup: /}", "every process"),
                       ("{limit: 2}", '"policies" is missing'),
                       ("{policies: [absent]}", 'policy "absent" cannot be loaded')):
        host.configure(f"sluiced: 1\nrun: {text}\n",
                       named="sluice: 1\ndns: {mode: forward, listen: 127.64.0.53, "
                             "resolvers: [192.0.2.53]}\nrules:\n"
                             "  - allow: 'a.example:443'\n")
        done = host.sluice("apply")
        assert done.returncode == 1 and says in done.stderr and "sluiced.yaml:" in done.stderr, done
    assert host.sluice_run("true").returncode == 0  # what was loaded before goes on


def test_options_that_need_root(host):
    done = host.done(SLUICE, "run", "-p", "open", "--audit", "--", "true")
    assert done.returncode == 2 and "--audit needs root" in done.stderr
    host.kill_daemon()
    done = host.sluice_run("true")
    assert done.returncode == 125 and "no sluiced" in done.stderr


# ---- no way out ----

def test_it_cannot_leave(host):
    script = f"""
import os, sys
top = {cgroup2()!r}
own = [l.strip()[3:] for l in open("/proc/self/cgroup") if l.startswith("0::")][0]
tries = 0
for folder in (top, os.path.dirname(top + own), top + own):
    for name in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
        try:
            open(f"{{folder}}/{{name}}", "w").write("0")
            print("wrote", folder, name)
        except (PermissionError, FileNotFoundError):
            tries += 1
    try:
        os.mkdir(folder + "/mine"); print("made", folder)
    except PermissionError:
        tries += 1
print(tries)
"""
    done = host.sluice_run(sys.executable, "-c", script)
    assert done.stdout.strip() == "12", done


def test_a_run_is_no_way_out_of_a_policy(host):
    """A process under a policy would be taken from it by a looser one."""
    ask = "print(json.dumps(ask('run', policy='open')))"
    done = host.sluice_run(sys.executable, "-c", PROBE, policy="shut")
    assert done.stdout.split() == ["no"] * 4
    done = host.done(SLUICE, "run", "-q", "-p", "shut", "--", SLUICE, "run", "-p", "open", "--",
                     sys.executable, "-c", PROBE)
    assert done.returncode == 125 and "under a policy already" in done.stderr, done
    # the same of a cgroup of `sluice run` without sluiced, which it knows nothing of
    (host.folder / "etc/none.yaml").write_text("sluice: 1\nname: none\nrules: []\n")
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{host.name}", SLUICE, "run", "-q", "-p",
         str(host.folder / "etc/none.yaml"), "--user", f"{USER}:{GROUP}", "--", sys.executable,
         "-c", ASK + ask, host.socket], capture_output=True, text=True, timeout=WAIT,
        env={**os.environ, **host.env}, check=False)
    answer = json.loads(done.stdout)
    assert answer["code"] == "denied" and "BPF programs judge the cgroup" in answer["error"], done
    host.ready()


# ---- attacks on the request (whose it is: test_sluiced_run_peers.py) ----

def test_a_thousand_requests(host):
    """In one write, from one process: one run, and the daemon lives."""
    out = host.asked("""
s.sendall(b'{"sluice": 1, "op": "run", "policy": "shut"}\\n' * 1000)
answers = [json.loads(f.readline()) for _ in range(1000)]
print(sum(a['ok'] for a in answers), set(a.get('code') for a in answers[1:]))
""")
    assert out.split()[0] == "1" and "denied" in out
    host.ready()
    out = host.asked("""
s.sendall(b'{"sluice": 1, "op": "run", "policy": "'.ljust(16384, b'x'))
print(f.readline().decode(), f.readline())
""")
    assert "too-large" in out and "b''" in out
    out = host.asked("print([ask('run', policy=p)['code'] for p in (None, 7, [], {}, 'x' * 9000)])")
    assert out.strip() == str(["request"] * 4 + ["denied"])
    assert host.sluice_run("true").returncode == 0
    host.ready()


def test_many_runs_leave_nothing(host):
    children = [host.as_user(SLUICE, "run", "-q", "-p", "open", "--", "true") for _ in range(8)]
    for child in children:
        child.communicate(timeout=WAIT)
        assert child.returncode == 0
    host.ready()
    assert until(lambda: len(host.full_status()["targets"]) == 7)  # the place, and six ready


# ---- what a user sees ----

def test_what_is_kept_ready_is_no_row(host):
    """status is of what runs: six rows in which nobody is would hide it."""
    host.ready()
    text = host.sluice("status").stdout
    assert "/run-" not in text and "6 cgroups are kept ready for runs" in text, text
    top = host.sluice("top", "--batch", "--count", "1").stdout
    assert "run-" not in top and "runs" in top, top
    assert len(host.full_status()["targets"]) == 7
    run = host.script("print(ask('run', policy='open')['name'], flush=True)\nsys.stdin.read()")
    name = run.stdout.readline().strip().rsplit("/", 1)[1]
    assert name in host.sluice("status").stdout
    assert name in host.sluice("top", "--batch", "--count", "1").stdout
    run.stdin.close()
    run.wait(WAIT)


def test_a_user_sees_his_own_alone(host):
    child, name = staying(host)
    other, others_name = staying(host, uid=OTHER)
    own = status_of(host)
    assert [t["name"] for t in own["targets"]] == [str(host.place / name)]
    assert set(own["daemon"]) == {"version", "pid", "since"} and not own["warnings"]
    assert [t["name"] for t in status_of(host, uid=OTHER)["targets"]] == \
        [str(host.place / others_name)]
    assert not status_of(host, uid=STRANGER)["targets"]
    assert len(host.full_status()["targets"]) > 2  # root's
    text = host.done(SLUICE, "status").stdout
    assert name in text and others_name not in text
    done = host.done(SLUICE, "rules", "--cgroup", host.place / name)
    assert done.returncode == 0 and "allow-" in done.stdout, done
    done = host.done(SLUICE, "rules", "--cgroup", host.place / others_name)
    assert done.returncode == 1 and "no run of yours" in done.stderr
    for op in ("attach", "detach", "apply", "container"):
        out = host.asked(f"print(ask({op!r}, all=True)['code'])")
        assert out.strip() == "denied"
    child.communicate(timeout=WAIT)
    ended(host, other)


def test_monitor_shows_his_own_alone(host):
    watchers = {uid: host.script("""
assert ask('monitor')['ok']
print(flush=True)
while True:
    record = json.loads(f.readline())
    print(json.dumps(record), flush=True)
""", uid=uid) for uid in (USER, OTHER)}
    for watcher in watchers.values():
        watcher.stdout.readline()
    for uid in (OTHER, USER):
        host.sluice_run(sys.executable, "-c", PROBE, uid=uid)
    host.ready()
    for uid, watcher in watchers.items():
        records = []
        while not records or records[-1].get("change") != "ended":
            records.append(json.loads(watcher.stdout.readline()))
        assert {r["event"] for r in records} >= {"run"}
        assert len([r for r in records if r.get("verdict")]) == 2
        assert len({r["target"]["name"].rsplit("/", 1)[-1] for r in records}) == 1
        assert all(r.get("uid", uid) == uid for r in records)
        watcher.kill()
        rest = watcher.communicate(timeout=WAIT)[0]
        assert not rest, rest


# ---- the daemon's life ----

def test_a_run_outlives_sluiced(host):
    child, name = staying(host)
    host.kill_daemon()
    assert list(host.populated()) == [name]
    host.start_daemon()
    assert until(lambda: len(host.members()) == 7)  # the old ready ones are made anew
    assert [t["name"] for t in status_of(host)["targets"]] == [str(host.place / name)]
    assert not status_of(host, uid=OTHER)["targets"]
    ended(host, child)


def test_a_run_of_before_follows_its_policy(host):
    """After a restart its policy's file is followed again, and what others do is mended."""
    child, answer = connecting(host)
    assert answer() == "yes"
    name, = host.populated()
    host.kill_daemon()
    assert answer() == "yes"
    host.start_daemon()

    def target():
        return next(t for t in json.loads(host.sluice("status", "-o", "json").stdout)["targets"]
                    if t["name"] == str(host.place / name))
    assert until(lambda: target()["state"] == "attached" and target()["by_hand"])
    host.say(open=host_shut())
    assert until(lambda: answer() == "no")
    bpfsys.detach(pathlib.Path(host.state) / "cgroups" / str((host.place).stat().st_ino) /
                  "sluice_connect4")
    assert until(lambda: target()["attached"] and target()["state"] == "attached")
    assert answer() == "no"
    child.communicate(timeout=WAIT)
    host.ready()


def test_a_place_of_another_user_is_refused(host):
    os.chown(host.place, OTHER, OTHER)
    host.kill_daemon()
    host.start_daemon()
    host.daemon.wait_error("could take runs out of it")
    done = host.sluice_run("true")
    assert done.returncode == 125 and "could take runs out" in done.stderr
    os.chown(host.place, 0, 0)
    assert until(lambda: host.sluice_run("true").returncode == 0)
