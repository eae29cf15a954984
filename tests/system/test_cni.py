# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice-cni by the CNI specification: what it says, and in which form."""
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

from devlab import Namespace
from gatelab import BLOCKED, syslog
from lab import SLUICE, sh

CNI = os.environ.get("SLUICE_CNI", str(pathlib.Path(SLUICE).parent / "sluice-cni"))
# Spaces, an escape, a number and an order that no printer would give back.
RESULT = '{ "cniVersion":"0.4.0" ,"ips":[{"version":"4","address":"10.9.9.2\\/24"}],"z":1.50,"a":[ ] }'
ENVIRONMENT = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/proc/self/ns/net",
               "CNI_PATH": "/usr/lib/cni",
               "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u-1"}


def run(command, text=None, version="0.4.0", more="", result=RESULT, environment=None, before=()):
    if text is None:
        previous = f', "prevResult" : {result} ' if result else ""
        text = f'{{"cniVersion": "{version}", "name": "pods", "type": "sluice-cni"{more}{previous}}}'
    done = subprocess.run([*before, CNI], input=text, text=True, capture_output=True, check=False, timeout=30,
                          env={"CNI_COMMAND": command, **(ENVIRONMENT if environment is None
                                                         else environment)})
    return done.returncode, done.stdout


def error(done, code, words, version="0.4.0"):
    """As the specification wants an error."""
    status, out = done
    said = json.loads(out)
    assert status and set(said) == {"cniVersion", "code", "msg", "details"}, done
    assert said["code"] == code and words in said["details"] and said["cniVersion"] == version, said


@contextlib.contextmanager
def daemon(path, answer, wait=0):
    """One that answers so; what it was asked."""
    asked = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    with sock, sock.makefile("rb") as lines:
                        asked.append(json.loads(lines.readline()))
                        time.sleep(wait)
                        sock.sendall(json.dumps(answer).encode() + b"\n" if answer is not None else b"")
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(name="path")
def path_of_socket(tmp_path):
    return tmp_path / "s"


def at(path, more=""):
    return f', "socket": "{path}"{more}'


def test_version():
    status, out = run("VERSION", '{"cniVersion": "1.0.0"}', environment={})
    said = json.loads(out)
    assert status == 0 and said["cniVersion"] in said["supportedVersions"]
    assert {"0.3.1", "0.4.0", "1.0.0", "1.1.0"} <= set(said["supportedVersions"])


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0", "1.0.0", "1.1.0"])
def test_add_passes_the_result_on_to_the_byte(path, version):
    with daemon(path, {"ok": True, "matched": True, "state": "judged"}) as asked:
        assert run("ADD", version=version, more=at(path)) == (0, RESULT)
    assert [(a["op"], a["command"], a["uid"], a["namespace"], a["name"]) for a in asked] == \
        [("cni", "ADD", "u-1", "shop", "web")]


def test_the_result_of_an_inner_object_is_not_taken(path):
    more = at(path, ', "args": {"prevResult": {"a": 1}}, "x": "\\"prevResult\\": {}"')
    with daemon(path, {"ok": True}):
        assert run("ADD", more=more) == (0, RESULT)


@pytest.mark.parametrize("command", ["CHECK", "DEL"])
def test_check_and_del_say_nothing(path, command):
    with daemon(path, {"ok": True}) as asked:
        assert run(command, more=at(path)) == (0, "")
        assert run(command, more=at(path), result=None) == (0, "")
    assert {a["command"] for a in asked} == {command}


@pytest.mark.parametrize("answer, words", [
    (None, "ended without an answer"), ({"ok": False, "error": "no policy"}, "no policy"),
    ({}, "without sense")])
def test_what_sluiced_cannot(path, answer, words):
    with daemon(path, answer):
        error(run("ADD", more=at(path)), 11, words)
        assert run("ADD", more=at(path, ', "failOpen": true')) == (0, RESULT)
        assert run("CHECK", more=at(path))[0] == 1
        assert run("DEL", more=at(path)) == (0, "")


def test_sluiced_is_not_there(path):
    error(run("ADD", more=at(path)), 11, "cannot be reached")
    assert run("ADD", more=at(path, ', "failOpen": true')) == (0, RESULT)
    assert run("DEL", more=at(path)) == (0, "")       # the device goes all the same
    error(run("STATUS", version="1.1.0", more=at(path)), 50, "cannot be reached", "1.1.0")


def test_sluiced_does_not_answer_in_time(path):
    with daemon(path, {"ok": True}, 1.5):
        begun = time.monotonic()
        error(run("ADD", more=at(path, ', "timeout": 1')), 11, "in time")
        assert time.monotonic() - begun < 1.5
        assert run("ADD", more=at(path, ', "timeout": 1, "failOpen": true')) == (0, RESULT)


def test_every_command_is_as_bounded(path):
    """DEL ends well all the same, so that a pod can go; STATUS fails in either mode."""
    with daemon(path, {"ok": True}, 1.5):
        for mode in ("false", "true"):
            more = at(path, f', "timeout": 1, "failOpen": {mode}')
            assert run("DEL", more=more) == (0, "")
            error(run("STATUS", version="1.1.0", more=more), 50, "in time", "1.1.0")
        error(run("CHECK", more=at(path, ', "timeout": 1')), 11, "in time")
        assert run("CHECK", more=at(path, ', "timeout": 1, "failOpen": true')) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a mount namespace: needs root")
@pytest.mark.parametrize("mode, level, words", [("false", 27, "in time"), ("true", 28, "NOT judged")])
def test_a_late_answer_is_in_syslog(path, tmp_path, mode, level, words):
    more = at(path, f', "timeout": 1, "failOpen": {mode}')
    with daemon(path, {"ok": True}, 1.5), syslog(tmp_path) as (before, said):
        status, out = run("ADD", more=more, before=before)
    assert status == (mode == "false") and (out == RESULT) == (mode == "true")
    assert len(said) == 1 and said[0].startswith(f"<{level}>") and "sluice-cni[" in said[0], said
    assert "ADD of c1: sluiced does not answer in time" in said[0] and words in said[0], said


def test_a_runtime_that_blocks_the_alarm(path):
    """The mask of signals is inherited."""
    with daemon(path, {"ok": True}, 3):
        begun = time.monotonic()
        error(run("ADD", more=at(path, ', "timeout": 1'), before=BLOCKED), 11, "in time")
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("more, code, words", [
    (', "failOpen": "yes"', 7, "failOpen"), (', "timeout": 0', 7, "timeout"),
    (', "timeout": "5"', 7, "timeout"), (', "socket": 1', 7, "socket"),
    (', "name": "twice"', 6, "duplicate")])
def test_a_wrong_configuration(more, code, words):
    error(run("ADD", more=more), code, words, "1.1.0" if code == 6 else "0.4.0")


@pytest.mark.parametrize("result", [None, "null", "[]"])
def test_it_is_chained(result):
    error(run("ADD", result=result), 7, "prevResult")


@pytest.mark.parametrize("text, code", [("", 6), ("{", 6), ("[]", 6), ('{"cniVersion": "9.0.0"}', 1)])
def test_what_is_no_configuration(text, code):
    error(run("ADD", text), code, "", "1.1.0")


@pytest.mark.parametrize("name", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
def test_what_the_environment_lacks(name):
    error(run("ADD", environment={k: v for k, v in ENVIRONMENT.items() if k != name}), 4, name)


def test_no_command():
    error(run("PLAY"), 4, "PLAY", "1.1.0")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
def test_the_hosts_end_of_the_veth(path):
    """Of the pod's namespace alone, whatever it is called."""
    host, pods = Namespace("sl-cni"), [Namespace(f"sl-cni{i}") for i in range(2)]
    try:
        for i, pod in enumerate(pods):
            host.ip(f"link add any{i} type veth peer name eth0 netns {pod.name}")
        with daemon(path, {"ok": True}) as asked:
            for pod in pods:
                text = json.dumps({"cniVersion": "0.4.0", "name": "n", "type": "t", "prevResult": {},
                                   "socket": str(path)})
                done = subprocess.run([*host.inside, CNI], input=text, text=True, capture_output=True,
                                      check=False, env={**ENVIRONMENT, "CNI_COMMAND": "ADD",
                                                        "CNI_NETNS": pod.path,
                                                        "PATH": os.environ["PATH"]})
                assert (done.returncode, done.stdout) == (0, "{}"), done
        assert [a["devices"] for a in asked] == [[host.ifindex("any0")], [host.ifindex("any1")]]
        sh("ip", "-n", host.name, "link", "del", "any0")
    finally:
        for one in (host, *pods):
            one.close()
