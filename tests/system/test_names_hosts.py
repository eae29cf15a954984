# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names outside DNS packets (docs/names.md): the command's /etc/hosts, and what doctor and
status say of who else resolves."""
import json
import os
import pathlib
import socket
import subprocess

import pytest

from dnslab import GOOD, policy
from hostslab import HOSTS, NAMES, reached
from lab import PYTHON, SLUICE, matching

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")


def test_without_sluice_every_name_of_the_file_is_reached(dnslab):
    with dnslab.workload_of("none", "", hosts=HOSTS) as agent:
        for name, addresses in NAMES.items():
            assert reached(agent, name) == addresses


def test_the_hosts_file_of_a_command(dnslab):
    """No question is asked, so none can teach; the rule owns the file's addresses all the same.
    A denied name, a private address and one that nobody allows are refused."""
    text = policy('deny: gone.good.example, id: gone', GOOD)
    with dnslab.workload_of("run", text, hosts=HOSTS) as agent:
        assert reached(agent, "listed.good.example") == NAMES["listed.good.example"]
        for name in ("other.bad.example", "inner.good.example", "gone.good.example"):
            assert reached(agent, name) == ()
        # its ports are the rule's
        assert agent.do("tcp", to="198.51.100.40", port=22, timeout=1)["errno"]
        agent.close()
        for name in ("other.bad.example", "gone.good.example"):
            [event] = matching(agent.events(), destination=NAMES[name][0])
            assert event["reason"] == "default"
        assert not matching(agent.events(), event="dns")


def test_private_addresses_of_the_file_need_the_rules_word(dnslab):
    text = policy(GOOD + ", resolves_to: private")
    with dnslab.workload_of("run", text, hosts=HOSTS) as agent:
        assert reached(agent, "inner.good.example") == NAMES["inner.good.example"]
        assert reached(agent, "listed.good.example") == NAMES["listed.good.example"]


# ---- sockets of who else resolves ----

PLACES = {"/run/systemd/resolve": "io.systemd.Resolve", "/run/nscd": "socket"}
REACHED = "import os, socket, sys\nfor p in sys.argv[1:]:\n with socket.socket(socket.AF_UNIX) as s:\n" \
    "  print(int(not s.connect_ex(p)))"


def listening(folder):
    """Such sockets, made anew as a daemon does that starts again."""
    made = []
    for path, name in PLACES.items():
        at = folder / pathlib.Path(path).name / name
        at.unlink(missing_ok=True)
        made.append(socket.socket(socket.AF_UNIX))
        made[-1].bind(str(at))
        at.chmod(0o666)
        made[-1].listen()
    return made


@pytest.mark.parametrize("mode", ["none", "run"])
def test_sockets_that_are_made_anew_stay_covered(dnslab, mode):
    folder = dnslab.new_folder()
    for path in PLACES:
        (folder / pathlib.Path(path).name).mkdir()
    (folder / "resolve" / "stub-resolv.conf").write_text("nameserver 192.0.2.2\n", encoding="ascii")
    mounts = "".join(f"mkdir -p {p}; mount --bind $0/{pathlib.Path(p).name} {p}; " for p in PLACES)
    before = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
              f'mount -t tmpfs none /run; {mounts} exec "$@"', str(folder)]
    sockets = listening(folder)
    with dnslab.workload_of(mode, policy(GOOD), before=before) as agent:
        for _ in range(2):
            said = agent.do("command", argv=[PYTHON, "-c", REACHED,
                                             *(f"{p}/{n}" for p, n in PLACES.items())])
            assert said["reply"].split() == ["1" if mode == "none" else "0"] * 2
            sockets += listening(folder)
        said = agent.do("command", argv=["cat", "/run/systemd/resolve/stub-resolv.conf"])
        assert said["reply"].strip() == "nameserver 192.0.2.2"
    for s in sockets:
        s.close()


# ---- doctor and status ----

FEATURES = ("lookups of names", "resolver of names")


def doctor(dnslab, **files):
    words = []
    for name, lines in files.items():
        words += dnslab.own_file({"switch": "nsswitch.conf", "resolv": "resolv.conf"}[name], lines)
    done = subprocess.run([*words, SLUICE, "doctor", "-o", "json"], capture_output=True, text=True,
                          check=False, timeout=60)
    features = {f["name"]: f for f in json.loads(done.stdout)["features"]}
    return [(features[name]["status"], features[name]["detail"]) for name in FEATURES]


def test_doctor_tells_who_else_resolves(dnslab):
    assert doctor(dnslab, switch=["hosts: files dns"], resolv=["nameserver 192.0.2.2"]) == [
        ("ok", "files and dns"), ("ok", "no stub of this machine in resolv.conf")]
    switch = ["passwd: files", "hosts: files resolve [!UNAVAIL=return] myhostname dns"]
    [lookups, resolver] = doctor(dnslab, switch=switch, resolv=["nameserver 127.0.0.53"])
    assert lookups == ("degraded", "nsswitch.conf: resolve, myhostname")
    assert resolver[0] == "degraded" and "systemd-resolved" in resolver[1]
    [lookups, resolver] = doctor(dnslab, switch=["passwd: files"], resolv=["nameserver 127.0.0.11"])
    assert lookups[0] == "degraded" and "no hosts line" in lookups[1]
    assert resolver[0] == "degraded" and "Docker" in resolver[1]


def test_status_warns_of_it_where_a_policy_has_names(dnslab):
    dnslab.device.attach(policy(GOOD))
    try:
        for switch, warned in ((["hosts: files dns"], 0), (["hosts: files mdns4 dns"], 1)):
            words = dnslab.inside(dnslab.peer) + dnslab.own_file("nsswitch.conf", switch)
            done = subprocess.run([*words, SLUICE, "status", "-o", "json"], env=dnslab.device.env,
                                  capture_output=True, text=True, check=True, timeout=60)
            warnings = json.loads(done.stdout)["warnings"]
            assert sum("mdns4" in warning for warning in warnings) == warned
    finally:
        dnslab.device.detach()
