# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice-oci-runtime: Docker's containers have their policy before their first instruction."""
import contextlib
import json
import os
import shutil
import subprocess

import pytest

from ocilab import ALL, HOOK, POLICIES, PROBE, RUNTIME, SOME, WIDE, Docker, OciHost

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
OURS = {"path": HOOK, "args": ["sluice-oci-hook"]}
OTHER = {"path": "/bin/true", "args": ["x", "\"hooks\": {}"], "timeout": 10}
BIG = "18446744073709551615"
NEAR = "sluice: 1\nname: near\nrules:\n  - allow: '@gateway:7001/tcp'\n"
CONFIG = """\
sluiced: 1
targets:
  - match: {{container: "agent-*"}}
    policy: agent
    choice: [wide, near]
  - match: {{label: "tier=db*"}}
    policy: wide
runtimes: {{docker: {docker}, podman: /nowhere, containerd: /nowhere, sockets: []}}
"""


@pytest.fixture(name="runtime")
def told(tmp_path):
    """A runtime that tells its arguments; a bundle."""
    (tmp_path / "runtime").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "runtime").chmod(0o755)

    def call(*words, own=(), cwd=None):
        return subprocess.run([RUNTIME, "--runtime", tmp_path / "runtime", *own, *words], text=True, check=False,
                              capture_output=True, timeout=30, cwd=cwd)
    return call


def bundle(folder, text):
    (folder / "config.json").write_text(text)
    (folder / "config.json").chmod(0o640)
    return folder


HOOKS = [("{\"hooks\": null, ", [OURS]), ("{", [OURS]), ("{ \"hooks\" : {}, ", [OURS]),
         ('{"a": {"hooks": 1, "b": ["]}", "\\\\"]}, "hooks": {"prestart": [%s]},' % json.dumps(OTHER), [OURS]),
         ('{"hooks": {"createRuntime": [%s]},' % json.dumps(OTHER), [OTHER, OURS]),
         ('{"hooks": {"createRuntime": [%s]},' % json.dumps(OURS), [OURS])]


@pytest.mark.parametrize("before, want", HOOKS)
def test_what_it_adds(runtime, tmp_path, before, want):
    """Beside what is there; no number becomes another one."""
    rest = ' "annotations": {"a": "\\u0000"}, "process": {"rlimits": [{"hard": %s}], "x": -1.5e3}}' % BIG
    path = bundle(tmp_path, before + rest)
    done = runtime("--root", "/create", "--log-format=json", "create", "--bundle", path, "--pid-file", "p", "name")
    assert done.returncode == 0, done
    assert done.stdout.split() == ["--root", "/create", "--log-format=json", "create", "--bundle", str(path),
                                   "--pid-file", "p", "name"]
    text = (path / "config.json").read_text()
    assert text.endswith(rest) and json.loads(text)["hooks"]["createRuntime"] == want
    assert ("prestart" in before) == (json.loads(text)["hooks"].get("prestart") == [OTHER])
    assert (path / "config.json").stat().st_mode & 0o777 == 0o640
    assert {p.name for p in path.iterdir()} == {"config.json", "runtime"}


@pytest.mark.parametrize("words", [["start", "create"], ["--version"], ["--root", "create", "state", "x"], []])
def test_what_it_hands_on(runtime, tmp_path, words):
    before = "{}"
    path = bundle(tmp_path, before)
    done = runtime(*words, cwd=path)
    assert done.returncode == 0 and done.stdout.split() == words and not done.stderr, done
    assert (path / "config.json").read_text() == before


def test_the_hooks_options_and_the_bundle_of_its_directory(runtime, tmp_path):
    own = ["--fail-open", "--timeout", "3", "--socket", "/s", "--docker", "/d"]
    done = runtime("run", "name", own=own, cwd=bundle(tmp_path, '{"a": 1}'))
    assert done.stdout.split() == ["run", "name"], done
    assert json.loads((tmp_path / "config.json").read_text())["hooks"]["createRuntime"] == [
        {"path": HOOK, "args": ["sluice-oci-hook", *own]}]


@pytest.mark.parametrize("text", ["", "[]", "{}", "{\"a\": 1", '{"hooks": 5}', '{"hooks": {}, "hooks": {}}',
                                  '{"hook\\u0073": {}}', '{"hooks": {"createRuntime": []}} x', None])
def test_what_cannot_be_read_does_not_start(runtime, tmp_path, text):
    """Whatever the fail mode: the container's policy would be nobody's."""
    if text is not None:
        bundle(tmp_path, text)
    done = runtime("--log", tmp_path / "log", "create", "-b", tmp_path, "name", own=["--fail-open"])
    assert done.returncode == 1 and not done.stdout and str(tmp_path / "config.json") in done.stderr, done
    line = json.loads((tmp_path / "log").read_text())
    assert line["level"] == "error" and line["msg"] == done.stderr.strip()
    assert text is None or (tmp_path / "config.json").read_text() == text


def test_usage(runtime):
    done = runtime(own=["--socket"])
    assert done.returncode == 2 and "--socket wants a value" in done.stderr
    done = subprocess.run([RUNTIME, "--runtime", "/nowhere", "state", "x"], text=True, check=False, capture_output=True)
    assert done.returncode == 1 and "/nowhere: No such file" in done.stderr


@as_root
@pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")
def test_docker(tmp_path):
    host = OciHost("sl-ort", tmp_path)
    try:
        with contextlib.closing(Docker(host, judged=True)) as docker:
            down = docker.run("agent-0")
            assert down.returncode and "systemctl start sluiced" in down.stderr, down
            host.configure(CONFIG.format(docker=docker.data), near=NEAR, **POLICIES)
            host.start_daemon()
            for name, options, want in (
                    ("other", [], ALL), ("agent-1", [], SOME), ("labelled", ["--label", "tier=db-1"], WIDE),
                    ("agent-2", ["--label", "sluice.dev/policy=wide"], WIDE)):
                done = docker.run(name, *options)
                assert done.stdout.split() == want, (name, done)
            assert host.arrived() == [2, 8, 6]
            refused = docker.run("agent-3", "--label", "sluice.dev/policy=open")
            assert refused.returncode and "does not list" in refused.stderr, refused
            done = docker("start", "-a", "agent-1")             # again: another cgroup
            assert done.stdout.split() == SOME + SOME or done.stdout.split() == SOME, done
            assert host.arrived() == [0, 2, 0]
            assert docker("network", "create", "--subnet", "172.30.7.0/24", "one").returncode == 0
            with contextlib.ExitStack() as stack:
                for port in (7001, 7002):
                    stack.enter_context(host.within(lambda p=port: host.listen("172.30.7.1", p)))
                done = docker.run("agent-7", "--label", "sluice.dev/policy=near", network="one",
                                  args=["/usr/bin/python3", "-c", PROBE.replace("192.0.2.1", "172.30.7.1")])
                assert done.stdout.split() == ["no", "yes", "no"] + ["no"] * 3, done
            assert docker.run("agent-4", "-d", args=["/usr/bin/sleep", "1000"]).returncode == 0
            assert host.containers()["agent-4"]["policy"] == "agent"
            assert host.full_status()["daemon"]["containers"]["unannounced"] == 0
            host.daemon.close()
            assert docker.run("agent-5").returncode
            assert docker.run("agent-6", "--runtime", "bare").stdout.split() == ALL     # without a default above
    finally:
        host.close()
