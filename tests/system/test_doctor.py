# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice doctor against what this machine really has."""
import contextlib
import json
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import tempfile

import pytest

from enginelab import FakeEngine
from lab import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
SLUICE = BUILD / "sluice"
CAPABILITIES = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SETUID",
                "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"]
PROGRAMS = ["cgroup/connect4", "cgroup/connect6", "cgroup/sendmsg4", "cgroup/sendmsg6",
            "cgroup_skb/egress", "cgroup_skb/ingress", "cgroup/sock_create"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="loads programs: needs root")


def run(*words, prefix=()):
    return subprocess.run([*prefix, SLUICE, "doctor", *words], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)


def examine(prefix=()):
    """(report, features by name, exit code)"""
    done = run("-o", "json", prefix=prefix)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    return report, {f["name"]: f for f in report["features"]}, done.returncode


def without(*capabilities):
    """setpriv's words for root without some capabilities."""
    gone = ",".join("-" + name.removeprefix("CAP_").lower() for name in capabilities)
    return ["setpriv", "--bounding-set", gone, "--inh-caps", gone]


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@pytest.fixture
def readable_sluice(monkeypatch):
    """A copy outside of folders that only root may enter."""
    folder = pathlib.Path(subprocess.run(["mktemp", "-d"], check=True, text=True,
                                         stdout=subprocess.PIPE).stdout.strip())
    try:
        folder.chmod(0o755)
        monkeypatch.setitem(globals(), "SLUICE", shutil.copy(SLUICE, folder / "sluice"))
        yield
    finally:
        shutil.rmtree(folder)


def cgroup2_mount():
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] == "cgroup2":
            return fields.split()[4]
    return None


@as_root
def test_root_has_all_that_run_needs():
    report, features, code = examine()
    bad = [f for f in report["features"] if f["required"] and f["status"] not in ("ok", "degraded")]
    assert not bad
    assert report["ok"] is True and report["first_missing"] is None and code == 0
    for name in CAPABILITIES + PROGRAMS:
        assert features[name]["status"] == "ok" and features[name]["required"], name


def test_every_feature_says_all_about_itself():
    report, features, _ = examine()
    assert len(features) == len(report["features"]), "names are unique"
    for feature in report["features"]:
        assert set(feature) == {"name", "status", "required", "needed_for", "without", "detail",
                                "errno", "error", "hint"}
        assert feature["status"] in ("ok", "missing", "degraded", "unknown")
        assert feature["needed_for"] and feature["without"] and feature["hint"]
        assert (feature["errno"] is None) == (feature["error"] is None)
        if feature["status"] == "missing":
            assert feature["error"] == os.strerror(feature["errno"])
        if feature["status"] == "ok":
            assert feature["errno"] is None


def test_text_has_the_same_features():
    report, _, code = examine()
    done = run()
    assert done.returncode == code
    for feature in report["features"]:
        assert any(line.startswith(feature["status"]) and feature["name"] in line
                   for line in done.stdout.splitlines()), feature["name"]
    verdict = "can work here" if code == 0 else "cannot work here"
    assert verdict in done.stdout.splitlines()[-1]


def test_kernel_and_cgroup2_are_the_machines():
    _, features, _ = examine()
    assert platform.release() in features["kernel release"]["detail"]
    assert cgroup2_mount() in features["cgroup2"]["detail"]
    assert (features["BTF of the kernel"]["status"] == "ok") == \
        os.access("/sys/kernel/btf/vmlinux", os.R_OK)


def ping_socket_works():
    """A child without capabilities, as `run` leaves its command."""
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)"
    return not subprocess.run(["/usr/bin/python3", "-c", code], stderr=subprocess.DEVNULL).returncode


@as_root
@pytest.mark.parametrize("admitted", ["0 2147483647", "1 0"])
def test_ping_follows_ping_group_range(admitted):
    """In a network namespace of its own: the sysctl belongs to that."""
    inside = ["unshare", "--net", "sh", "-c",
              f"echo {admitted} > /proc/sys/net/ipv4/ping_group_range; exec \"$@\"", "sh"]
    _, features, code = examine(prefix=inside)
    assert features["ping"]["status"] == ("missing" if admitted == "1 0" else "ok")
    assert admitted in features["ping"]["detail"]
    assert code == 0, "ping is no reason not to run"


def test_ping_as_this_machine_is():
    if os.environ.get("SUDO_UID"):
        pytest.skip("the command's group is not this test's")
    _, features, _ = examine()
    assert (features["ping"]["status"] == "ok") == ping_socket_works()


@as_root
def test_nobody_is_told_what_is_missing(readable_sluice):
    report, features, code = examine(prefix=NOBODY)
    assert code == 1 and report["ok"] is False
    assert report["first_missing"] == "CAP_BPF"
    for name in CAPABILITIES:
        assert features[name]["status"] == "missing"
        assert "sudo" in features[name]["hint"]
    # what nobody may not try is not called missing
    for name in PROGRAMS:
        assert features[name]["status"] == "unknown"
    last = run(prefix=NOBODY).stdout.splitlines()[-1]
    assert "cannot work here" in last and "CAP_BPF" in last and "sudo" in last


@as_root
@pytest.mark.parametrize("gone", CAPABILITIES)
def test_each_capability_is_named(gone):
    report, features, code = examine(prefix=without(gone))
    assert features[gone]["status"] == "missing"
    assert code == 1 and report["first_missing"] == gone
    others = [name for name in CAPABILITIES if name != gone]
    assert all(features[name]["status"] == "ok" for name in others)


@as_root
def test_cgroup2_that_is_not_there_is_missing():
    hidden = ["unshare", "--mount", "sh", "-c",
              f"umount -l {cgroup2_mount()} && exec \"$@\"", "sh"]
    report, features, code = examine(prefix=hidden)
    assert features["cgroup2"]["status"] == "missing"
    assert "mount" in features["cgroup2"]["hint"]
    assert code == 1 and report["first_missing"] == "cgroup2"


@as_root
def test_nothing_stays_behind():
    def leftovers():
        return {p.name for p in pathlib.Path(cgroup2_mount()).glob("**/sluice-run-*")}

    before = leftovers()
    process = subprocess.Popen([SLUICE, "doctor"], stdout=subprocess.DEVNULL)
    process.wait(timeout=60)
    assert not [name for name in leftovers() - before
                if name.startswith(f"sluice-run-{process.pid}-")]


@pytest.mark.parametrize("words", [["-o", "xml"], ["--nonsense"], ["now"]])
def test_bad_usage_is_2(words):
    done = run(*words)
    assert done.returncode == 2 and done.stdout == "" and "`sluice help doctor`" in done.stderr


# ---- commands of users ----

MOUNTS = "cap_sys_admin,cap_dac_read_search=ep"


RCU = pathlib.Path("/sys/kernel")


@pytest.fixture
def rcu():
    """The kernel's two numbers, which are there again afterwards."""
    before = {name: (RCU / name).read_text() for name in ("rcu_expedited", "rcu_normal")}
    if before["rcu_expedited"].strip() == "20942":  # somebody's moment
        before["rcu_expedited"] = "0"
    for name in before:
        (RCU / name).write_text("0")
    yield lambda name, value: (RCU / name).write_text(value)
    for name, value in before.items():
        (RCU / name).write_text(value)


def quick_starts(prefix=()):
    feature = examine(prefix)[1]["quick starts by sluiced"]
    assert feature["status"] == "unknown" or "rcu_expedited" in feature["hint"]
    return feature["status"], feature["detail"]


# Never switched by a test: from 6.18 on it cannot be taken back.
FAVORED = any("favordynmods" in line.partition(" - ")[2]
              for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
              if " - cgroup2 " in line)
unfavored = pytest.mark.skipif(FAVORED, reason="cgroup2 is mounted with favordynmods")


@as_root
def test_quick_starts(rcu):
    status, detail = quick_starts()
    assert status == "ok"
    assert ("favordynmods" if FAVORED else "can be written, for the moment of a start") in detail


@as_root
@unfavored
def test_quick_starts_by_the_administrator(rcu):
    rcu("rcu_expedited", "1")
    assert quick_starts() == ("ok", "/sys/kernel/rcu_expedited is 1: all grace periods are expedited")


@as_root
@unfavored
def test_no_quick_starts_where_the_administrator_wants_none(rcu):
    rcu("rcu_normal", "1")
    assert quick_starts() == ("degraded",
                              "/sys/kernel/rcu_normal is 1: no grace period is expedited")
    rcu("rcu_expedited", "1")
    assert quick_starts()[0] == "degraded"


@as_root
@unfavored
def test_no_quick_starts_on_a_read_only_sys(rcu):
    knob = RCU / "rcu_expedited"
    prefix = ("unshare", "-m", "sh", "-c", f"mount --bind {knob} {knob} && "
              f"mount -o remount,bind,ro {knob} && exec \"$0\" \"$@\"")
    assert quick_starts(prefix) == ("degraded", f"{knob} cannot be written: Read-only file system")


@as_root
@unfavored
def test_quick_starts_are_unknown_to_others(rcu, readable_sluice):
    status, detail = quick_starts(NOBODY)
    assert status == "unknown" and "Permission denied" in detail


@as_root
def test_names_in_runs_of_members(readable_sluice):
    beside = pathlib.Path(SLUICE).with_name("sluice-mounts")

    def status():
        feature = examine()[1]["names in runs by sluiced"]
        return feature["status"], feature["detail"], feature["hint"]
    missing, detail, _ = status()
    assert missing == "missing" and "not installed" in detail
    shutil.copy(BUILD / "sluice-mounts", beside)
    missing, detail, hint = status()
    assert missing == "missing" and str(beside) in detail and MOUNTS in hint
    for half in ("cap_sys_admin=ep", "cap_sys_admin,cap_dac_read_search=p"):
        subprocess.run(["setcap", half, beside], check=True)
        assert status()[0] == "missing"
    subprocess.run(["setcap", MOUNTS, beside], check=True)
    assert status()[:2] == ("ok", str(beside))
    # where file capabilities do not count
    nosuid = ["unshare", "-m", "sh", "-c",
              'mount --bind "$0" "$0" && mount -o remount,bind,nosuid "$0" && exec "$@"',
              str(beside.parent)]
    assert examine(nosuid)[1]["names in runs by sluiced"]["status"] == "missing"


# ---- container engines ----

def engines(folder):
    """The row, where FOLDER is /run and no sluiced is."""
    found = examine(["unshare", "-m", "sh", "-c", f'mount --bind {folder} /run && exec "$0" "$@"',
                     "env", "SLUICE_SOCKET=/nowhere"])[1]["container engines"]
    return found["status"], found["detail"], found["error"]


@as_root
def test_engines_that_answer_and_that_do_not(tmp_path):
    docker, podman = tmp_path / "docker.sock", tmp_path / "podman" / "podman.sock"
    podman.parent.mkdir()
    assert engines(tmp_path)[:2] == ("ok", "no engine's socket is here (/run/docker.sock, /run/podman/podman.sock)")
    with contextlib.closing(FakeEngine(docker)) as engine:
        engine.says(("0123456789abcdef" * 4, "one", {}))
        assert engines(tmp_path) == ("ok", "/run/docker.sock answers, 1 running", None)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(podman))
            status, detail, error = engines(tmp_path)
            assert status == "missing" and error == "Connection refused", (status, detail, error)
            assert detail == "/run/docker.sock answers, 1 running; /run/podman/podman.sock: Connection refused"
            silent.listen(1)
            assert "/run/podman/podman.sock: Connection timed out" in engines(tmp_path)[1]
        engine.answer = b"{}"
        assert "/run/docker.sock: it is no engine with Docker's API" in engines(tmp_path)[1]


@as_root
def test_engines_as_sluiced_asks_them(host):
    # a row holds 200 bytes: pytest's own folder is too long to be told twice
    with tempfile.TemporaryDirectory(prefix="sl-doc-") as folder, contextlib.closing(FakeEngine(f"{folder}/s")) as engine:
        host.configure("sluiced: 1\ntargets:\n  - match: {container: x}\n    policy: agent\n"
                       f"runtimes: {{sockets: [{folder}/s, {folder}/none]}}\n")
        host.start_daemon()

        def is_said():
            found = json.loads(host.sluice("doctor", "-o", "json").stdout)["features"]
            return next((f["status"], f["detail"]) for f in found if f["name"] == "container engines")
        assert until(lambda: is_said()[0] == "degraded"), is_said()
        assert f"sluiced asks {folder}/s, 0 running; sluiced: {folder}/none: Couldn't connect" in is_said()[1]
        assert engine.asked
