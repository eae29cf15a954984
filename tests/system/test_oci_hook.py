# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice-oci-hook under runc and podman: a container's policy before its first instruction."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from gatelab import BLOCKED, syslog
from lab import cgroup2, until
from ocilab import ALL, HOOK, NONE, POLICIES, PROBE, SOME, WIDE, OciHost, Podman, policy

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
              pytest.mark.skipif(not shutil.which("runc"), reason="runc is not installed")]

CONFIG = """\
sluiced: 1
targets:
  - match: {{container: "agent-*"}}
    policy: agent
    choice: [wide, shut]
  - match: {{label: "tier=db*"}}
    policy: shut
  - match: {{container: ["pair*", "duo"], label: [team, tier=web]}}
    policy: agent
{more}"""


@pytest.fixture
def host(tmp_path):
    with contextlib.closing(OciHost("sl-oci", tmp_path)) as made:
        made.configure(CONFIG.format(more=""), **POLICIES)
        yield made


def said(done):
    assert done.returncode == 0, done
    return done.stdout.split()


def test_policy_holds_from_the_first_packet(host):
    host.start_daemon()
    assert said(host.run_container("other", *host.hook)) == ALL   # none of the configuration
    assert host.arrived() == [2, 2, 2]
    assert said(host.run_container("agent-1", *host.hook)) == SOME
    assert host.arrived() == [0, 2, 0]


def test_gone_with_its_end_and_back_by_the_same_name(host):
    host.start_daemon()
    for _ in range(3):
        assert said(host.run_container("agent-1", *host.hook)) == SOME
        assert until(lambda: not host.full_status()["targets"]), host.full_status()["targets"]
    assert host.arrived() == [0, 6, 0]
    text = "\n".join(map(str, host.daemon.errors))
    assert text.count(f"attached /{host.group}/agent-1") == 3, text


def test_status_names_a_running_container(host):
    host.start_daemon()
    path = host.bundle("agent-9", host.hook, args=["/usr/bin/sleep", "60"])
    host.runc_detached("agent-9", path)
    target = host.containers()["agent-9"]
    assert target["policy"] == "agent" and target["attached"] and not target["by_hand"]
    assert target["name"] == f"{cgroup2()}/{host.group}/agent-9"
    host.put("policies.d/agent.yaml", policy("agent"))          # followed as any target
    assert until(lambda: host.containers()["agent-9"]["generation"] > target["generation"])
    assert said(host.runc("exec", "agent-9", "/usr/bin/python3", "-c", PROBE)) == NONE
    host.runc("delete", "--force", "agent-9")
    assert until(lambda: not host.full_status()["targets"])


@pytest.mark.parametrize("name, annotations, want", [
    ("agent-1", {"sluice.dev/policy": "wide"}, WIDE),
    ("agent-1", {"sluice.dev/policy": "shut"}, NONE),
    ("agent-1", {"sluice.dev/policy": "agent"}, SOME),
    ("x", {"tier": "db-main"}, NONE),
    ("x", {"io.kubernetes.cri-o.Name": "agent-of-crio"}, SOME),         # whose name is in no file beside its bundle
    ("x", {"io.kubernetes.cri-o.Name": "k8s_x"}, ALL),
    ("agent-1", {"a": "\0", "tier": "web"}, SOME),
    ("x", {"tier": "web"}, ALL),
    ("pair1", {"tier": "web", "team": "a"}, SOME),
    ("duo", {"tier": "web", "team": ""}, SOME),
    ("pair1", {"tier": "web"}, ALL),
    ("other", {"sluice.dev/policy": "shut"}, ALL)])   # no target of the configuration lists it
def test_which_policy(host, name, annotations, want):
    host.start_daemon()
    assert said(host.run_container(name, *host.hook, annotations=annotations)) == want


@pytest.mark.parametrize("choice", ["open", "/etc/passwd", "../agent", "agent.yaml", ""])
@pytest.mark.parametrize("mode", [(), ("--fail-open",)])
def test_choice_that_is_not_listed_does_not_start(host, choice, mode):
    host.configure(CONFIG.format(more=""), open=policy("open", "[7001, 7002]"))
    host.start_daemon()
    done = host.run_container("agent-1", *host.hook, *mode,
                              annotations={"sluice.dev/policy": choice})
    assert done.returncode and "does not list" in done.stderr, done
    assert f'is "{choice}"' in done.stderr.replace('\\"', '"'), done
    assert host.arrived() == [0, 0, 0]


@pytest.mark.parametrize("mode", [(), ("--fail-open",)])
@pytest.mark.parametrize("label", ["x" * (1 << 20), "\"" * 600000], ids=["large", "large as JSON"])
def test_labels_that_are_too_large_open_nothing(host, label, mode):
    """Whoever makes an image writes them: that is no sluiced that is away."""
    host.start_daemon()
    done = host.run_container("agent-1", *host.hook, *mode, annotations={"a": label})
    assert done.returncode and "1 MiB" in done.stderr and "does not start" in done.stderr, done.stderr[-500:]
    assert host.arrived() == [0, 0, 0]
    assert said(host.run_container("agent-1", *host.hook, *mode, annotations={"a": "x" * 1000})) == SOME


def test_policy_that_means_nothing_here(host):
    """No gateway: the container would be isolated, and does not start; or starts isolated."""
    host.configure(CONFIG.format(more=""), agent="sluice: 1\nname: agent\nrules:\n"
                   "  - allow: '@gateway'\n  - allow: {to: any, ports: 7001}\n")
    host.start_daemon()
    done = host.run_container("agent-1", *host.hook)
    assert done.returncode and "@gateway" in done.stderr and "isolated" in done.stderr, done
    assert said(host.run_container("agent-1", *host.hook, "--fail-open")) == NONE
    assert host.arrived() == [0, 0, 0]


def test_daemon_down_both_modes(host):
    done = host.run_container("agent-1", *host.hook)
    assert done.returncode, done
    assert "does not start" in done.stderr and "systemctl start sluiced" in done.stderr
    assert host.arrived() == [0, 0, 0]
    done = host.run_container("agent-1", *host.hook, "--fail-open")
    assert said(done) == ALL and host.arrived() == [2, 2, 2]


@pytest.mark.parametrize("mode", [(), ("--fail-open",)])
def test_daemon_that_restarts_is_waited_for(host, mode):
    """A fifth of the time; then what holds where none is there."""
    path = host.bundle("agent-1", (*host.hook, "--timeout", "60", *mode))
    with subprocess.Popen([*host.inside, "runc", "--root", host.folder / "runc", "run", "--bundle", path, "agent-1"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        assert until((cgroup_of(host) / "agent-1").exists)
        assert not until(lambda: child.poll() is not None, 0.5)
        host.start_daemon()
        assert child.stdout.read().split() == SOME and child.wait(60) == 0
    assert host.arrived() == [0, 2, 0]


def cgroup_of(host):
    return pathlib.Path(cgroup2()) / host.group


def test_daemon_that_stands_still_is_waited_for_a_bounded_time(host):
    host.start_daemon()
    host.daemon.signal(signal.SIGSTOP)
    done = host.run_container("agent-1", *host.hook, "--timeout", "1")
    assert done.returncode and "does not answer in time" in done.stderr, done
    assert host.arrived() == [0, 0, 0]
    assert said(host.run_container("agent-1", *host.hook, "--timeout", "1", "--fail-open")) == ALL
    host.daemon.signal(signal.SIGCONT)


@pytest.mark.parametrize("mode, level, words", [((), 27, "does not start"), (("--fail-open",), 28, "WITHOUT its policy")])
def test_what_is_late_is_in_syslog(tmp_path, mode, level, words):
    """Standard input does not end; and whoever starts the hook blocks the signal that ends it."""
    with syslog(tmp_path) as (before, told):
        hook = subprocess.Popen([*before, *BLOCKED, HOOK, "--timeout", "1", *mode], text=True,
                                stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        code = hook.wait(30)
        said = hook.stderr.read()
        hook.stdin.close()
        hook.stderr.close()
    assert code == (not mode) and words in said, said
    assert len(told) == 1 and told[0].startswith(f"<{level}>") and "sluice-oci-hook[" in told[0] and words in told[0]


def test_kill_and_restart_change_nothing_for_what_runs(host):
    host.start_daemon()
    line = "import sys; sys.stdin.readline(); "
    child = subprocess.Popen(
        [*host.inside, "runc", "--root", host.folder / "runc", "run", "--bundle",
         host.bundle("agent-1", host.hook, args=["/usr/bin/python3", "-c", line + PROBE]),
         "agent-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert until(lambda: "agent-1" in host.containers())
    host.kill_daemon()
    out, _ = child.communicate("go\n", timeout=60)
    assert child.returncode == 0 and out.split() == SOME
    assert host.arrived() == [0, 2, 0]


def ask(text, *words):
    return subprocess.run([HOOK, *words], input=text, capture_output=True, text=True, timeout=30,
                          check=False)


@pytest.mark.parametrize("state, says", [
    ("", "no OCI state"), ("[]", '"id"'), ("{", "no OCI state"), ("{}", 'it has no "id"'),
    ('{"id": "../x", "pid": 1}', "'../x'"), ('{"id": "a", "pid": 0}', 'no "pid"'),
    ('{"id": "a", "pid": 4194399}', "no cgroup"),
    ('{"id": "a", "pid": 0, "annotations": {"note": "\\u0000"}}', 'no "pid"'),
    ('{"id": "a", "pid": OWN}', "no cgroup of its own")])
def test_what_is_no_state(state, says):
    done = ask(state.replace("OWN", str(os.getpid())), "--socket", "/nonexistent/s")
    assert done.returncode == 1 and says in done.stderr, done
    assert "does not start" in done.stderr


def test_options():
    assert ask("", "--timeout", "0").returncode == 2 and ask("", "x").returncode == 2
    assert ask("", "--timeout", "1x").returncode == 2 and ask("", "--nope").returncode == 2
    done = ask("", "--help")
    assert done.returncode == 0 and "--fail-open" in done.stdout


def test_nonsense_is_refused(host):
    host.start_daemon()
    with host.connect() as c:
        assert c.ask("container")["code"] == "failed"
        assert c.ask("container", id="a/b", cgroup="/x")["code"] == "failed"
        done = c.ask("container", id="a", cgroup="/nonexistent-cgroup")
        assert not done["ok"] and "nonexistent" in done["error"], done
        assert c.ask("container", id="agent-1", cgroup=f"{cgroup2()}/../..")["code"] == "failed"


def test_a_containers_own_network(host):
    """@gateway and @resolvers are the container's, not the host's."""
    host.put("policies.d/agent.yaml", "sluice: 1\nname: agent\nrules:\n"
             "  - allow: {to: '@gateway', ports: 7001, protocol: tcp}\n")
    host.ip("link add outer type bridge")
    host.ip("address add 203.0.113.2/24 dev outer")
    host.ip("link set outer up")
    host.ip("route add default via 203.0.113.1")        # the host's own
    with host.inner_namespace("192.0.2.1", "2001:db8::1") as inner:
        host.start_daemon()
        path = host.bundle("other", host.hook, netns=inner)
        assert said(host.runc("run", "--bundle", path, "other")) == ALL
        path = host.bundle("agent-1", host.hook, netns=inner)
        assert said(host.runc("run", "--bundle", path, "agent-1")) == SOME


def test_a_daemon_that_may_not_look(host):
    """Without the capabilities to look at others' processes: a policy that needs what it cannot
    see is refused with the reason, any other one holds."""
    host.put("policies.d/shut.yaml", "sluice: 1\nname: shut\nrules:\n"
             "  - allow: {to: '@gateway', ports: 7001}\n")
    host.put("policies.d/wide.yaml", "sluice: 1\nname: wide\nrules:\n"
             "  - allow: {to: any, ports: 7001, uid: {container: 0}}\n")
    host.start_daemon(before=["setpriv", "--bounding-set=-sys_admin,-sys_ptrace,-dac_read_search"])
    assert said(host.run_container("agent-1", *host.hook)) == SOME
    for choice, reason in (("shut", "cannot read the network of the target's processes"),
                           ("wide", "the uid map of its processes cannot be read")):
        done = host.run_container("agent-1", *host.hook,
                                  annotations={"sluice.dev/policy": choice})
        assert done.returncode and reason in done.stderr, done


def test_a_containers_own_uids(host):
    """`uid: {container: 1000}`: each container's own, in force before its first packet."""
    rule = "allow: {to: [192.0.2.1, '2001:db8::1'], ports: 7001, uid: {container: 1000}}"
    host.put("policies.d/agent.yaml", f"sluice: 1\nname: agent\nrules:\n  - {rule}\n")
    host.start_daemon()
    for i, (uid, first, want) in enumerate([(1000, 200000, SOME), (1001, 200000, NONE),
                                            (1000, 400000, SOME), (0, 1000, NONE)]):
        name = f"agent-{i}"
        path = host.mapped(host.bundle(name, host.hook), uid, first, 65536)
        assert said(host.runc("run", "--bundle", path, name)) == want, (uid, first)
    assert host.arrived() == [0, 4, 0]


# ---- podman ----

@pytest.fixture
def podman(host):
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    with contextlib.closing(Podman(host)) as made:
        yield made


def test_podman_by_name_annotation_and_again(host, podman):
    host.start_daemon()
    assert said(podman.run("other")) == ALL and host.arrived() == [2, 2, 2]
    assert said(podman.run("agent-1")) == SOME and host.arrived() == [0, 2, 0]
    assert said(podman("start", "--attach", "agent-1")) == SOME     # the same, again
    assert said(podman.run("agent-2", "--annotation", "sluice.dev/policy=shut")) == NONE
    assert host.arrived() == [0, 2, 0]
    assert until(lambda: not host.full_status()["targets"]), host.full_status()["targets"]
    host.daemon.close()
    done = podman.run("agent-3")
    assert done.returncode and "systemctl start sluiced" in done.stderr, done
    assert host.arrived() == [0, 0, 0]


def test_podman_finds_the_hook_where_the_manual_puts_it(host, podman, tmp_path):
    """Without --hooks-dir, by podman's own defaults: with sluiced away nothing starts."""
    manual = (pathlib.Path(__file__).parents[2] / "docs" / "containers.md").read_text()
    place = pathlib.Path(re.search(r"install .*deploy/oci/sluice.json (/\S+)", manual)[1])
    top = place.parents[2]              # /usr/share/containers, of this mount namespace alone
    shutil.copytree(top, tmp_path / "containers", symlinks=True)
    enter = ["unshare", "--mount", "sh", "-c", f'mount --bind {tmp_path}/containers {top} && exec "$@"', "sh"]
    words = podman.words_to_run("agent-1", "--rm")
    at = words.index("--hooks-dir")
    del words[at:at + 2]
    assert said(podman.here([*enter, *words])) == ALL and host.arrived() == [2, 2, 2]
    there = tmp_path / "containers" / place.relative_to(top)
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(podman.base / "hooks.d" / "sluice.json", there)
    done = podman.here([*enter, *words])
    assert done.returncode and "systemctl start sluiced" in done.stderr, done
    assert host.arrived() == [0, 0, 0]
