# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice run` through sluiced under a policy with names (docs/sluiced.md, "Commands of users"):
what it reaches, what it cannot teach itself, and sluice-mounts, which is privileged for a moment."""
import os
import pathlib
import shutil
import socket
import stat
import subprocess

import pytest

import dnsmsg
import lab as base
from attacklab import ASKED, GOAL, WORKLOAD, good, honest, kind, reaches
from dnslab import GOOD, REAL, SAYS, WEB, policy
from hostslab import HOSTS, NAMES as LISTED, reached
from lab import PYTHON, SLUICE, cgroup2, until
from runslab import ASK, GROUP, USER
from sluicedlab import SLUICED, WAIT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
TREE_OVER = "dnslab"
families = pytest.mark.parametrize("family", [4, 6])
modes = ("none", "run")
CAPABILITIES = "cap_sys_admin,cap_dac_read_search=ep"


class Runs:
    """sluiced in the workload's network namespace. What a user may start is `agent`; the programs
    stand in a folder of ours, since sluice-mounts has capabilities."""

    def __init__(self, dnslab):
        self.lab, self.child = dnslab, None
        self.folder = dnslab.new_folder()
        (self.folder / "policies.d").mkdir()
        self.bpf = self.folder / "bpf"
        self.bpf.mkdir()
        base.sh("mount", "-t", "bpf", "none", str(self.bpf))
        self.place = pathlib.Path(cgroup2()) / f"sl-names-{os.getpid()}"
        self.env = base.environment({"SLUICE_STATE": str(self.bpf / "sluice"),
                                     "SLUICE_SOCKET": str(self.folder / "s.sock")})
        self.sluice = self.folder / "sluice"
        self.mounts = self.folder / "sluice-mounts"
        shutil.copy(SLUICE, self.sluice)
        shutil.copy(pathlib.Path(SLUICE).with_name("sluice-mounts"), self.mounts)
        base.sh("setcap", CAPABILITIES, str(self.mounts))
        self.config("[agent]")
        self.put("agent", policy(GOOD))
        self.start()

    def config(self, policies):
        self.put("../sluiced", f"sluiced: 1\ngroup: '{GROUP}'\nrun: {{policies: {policies}, "
                               f"limit: 8, cgroup: /{self.place.name}}}\n")

    def put(self, name, text):
        path = self.folder / "policies.d" / f"{name}.yaml"
        new = path.with_name(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(path)

    def start(self, before=()):
        with open(self.folder / "log", "w", encoding="utf-8") as out:
            self.child = subprocess.Popen([*self.lab.inside(), *before, SLUICED, "-c",
                                           str(self.folder / "sluiced.yaml")], env=self.env,
                                          stdout=out, stderr=out)
        assert until(lambda: "sluiced: ready" in self.said()), self.said()

    def stop(self):
        self.child.terminate()
        self.child.wait(WAIT)

    def said(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def apply(self, text):
        self.put("agent", text)
        done = subprocess.run([SLUICE, "apply"], env=self.env, capture_output=True, text=True,
                              check=False, timeout=WAIT)
        assert done.returncode == 0, done.stderr

    def user(self):
        return ["setpriv", f"--reuid={USER}", f"--regid={USER}", f"--groups={GROUP}"]

    def agent(self, mode, text, lines=(), before=()):
        program = [PYTHON, str(self.lab.folder / "dns_client.py")]
        words = [*self.lab.inside(), *before,
                 *self.lab.resolvconf(*(lines or [f"nameserver {REAL[4]}"])), *self.user()]
        if mode == "run":
            self.apply(text)
            program = [str(self.sluice), "run", "-q", "-p", "agent", "--", *program]
        agent = base.Agent(words + program, self.lab.new_folder(), env=self.env)
        self.lab.agents.append(agent)
        return agent

    def done(self, *command, before=(), env=None):
        """A command of the user, to its end."""
        return subprocess.run([*self.lab.inside(), *before, *self.user(), *map(str, command)],
                              env={**self.env, **(env or {})}, capture_output=True, text=True,
                              check=False, timeout=WAIT)

    def run(self, *command, **kw):
        return self.done(self.sluice, "run", "-p", "agent", "--", *command, **kw)

    def empty(self):
        def members(path):
            try:
                return path.read_text()
            except OSError:         # removed since it was found, or opened
                return ""
        return not any(map(members, self.place.glob("run-*/cgroup.procs")))

    def close(self):
        self.stop()
        subprocess.run([*self.lab.inside(), SLUICE, "detach", "--all"], env=self.env, check=False,
                       capture_output=True, timeout=WAIT)
        for folder in [*self.place.glob("run-*"), self.place]:
            folder.rmdir()
        base.sh("umount", str(self.bpf))


@pytest.fixture(scope="module", name="runs")
def runs_of_module(dnslab):
    made = Runs(dnslab)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def nobody_is_left(runs, dnslab):
    dnslab.says.handler = dnslab.says.plain
    yield
    for agent in dnslab.agents:
        agent.close()
    dnslab.agents.clear()
    assert until(runs.empty)


# ---- what it is for ----

@pytest.mark.parametrize("lines", [["nameserver 192.0.2.2"], ["nameserver 2001:db8::2"]],
                         ids=["4", "6"])
def test_the_first_connection_after_a_lookup(runs, lines):
    """Each name in both families; a refused one fails at once."""
    names = [f"h{i}.good.example" for i in range(4)] + ["chain.good.example", "six.good.example"]
    agent = runs.agent("run", policy(GOOD), lines)
    said = agent.do("lookups", wait=60, names=names, seconds=0.5, mixed=True, first=12)["reply"]
    assert said["failed"] == 0, said["failures"]
    assert said["connected"] > said["done"] > 10
    refused = agent.do("resolve", name="a.bad.example")
    assert refused["errno"] and refused["ms"] < 50, refused


@families
def test_an_address_that_no_name_gave(runs, family):
    for mode in modes:
        agent = runs.agent(mode, policy(GOOD))
        assert reaches(agent, WEB[family]) == (mode == "none")
        query = dnsmsg.query("a.bad.example", kind(family), 7).hex()
        before = len(runs.lab.says.asked)
        said = agent.do("ask", to=SAYS[family], messages=[query], timeout=0.2)
        assert bool(said["reply"]) == (mode == "none")
        assert len(runs.lab.says.asked) == before + (mode == "none")
        if mode == "run":
            honest(runs.lab, agent, family)
            assert not reaches(agent, GOAL[family])


def test_names_of_the_hosts_file(runs):
    runs.stop()
    runs.start(before=runs.lab.own_file("hosts", HOSTS))
    try:
        agent = runs.agent("run", policy("deny: gone.good.example, id: gone", GOOD),
                           before=runs.lab.own_file("hosts", HOSTS))
        for name, addresses in LISTED.items():
            want = addresses if name == "listed.good.example" else ()
            assert reached(agent, name) == want
    finally:
        runs.stop()
        runs.start()


# ---- what was sent on a connection and denied ----

STREAM = dnsmsg.query("a.bad.example", dnsmsg.A, 7)
STREAM = (len(STREAM).to_bytes(2, "big") + STREAM).hex()


def asked_by_stream(agent, family):
    return agent.do("ask_stream", to=SAYS[family], segments=[STREAM], timeout=1)


@families
def test_a_refused_question_by_tcp(runs, family):
    """Its connection is closed under it: a run is told at once, as a command of root's is."""
    assert asked_by_stream(runs.agent("none", ""), family)["reply"]
    agent = runs.agent("run", policy(GOOD))
    before = len(runs.lab.says.asked)
    said = asked_by_stream(agent, family)
    assert said["errno"] == "ECONNABORTED" and said["ms"] < 500, said
    assert len(runs.lab.says.asked) == before
    honest(runs.lab, agent, family)


@families
def test_a_cgroups_refused_question_by_tcp(runs, tree, family):
    """The same of a cgroup of sluiced's; who shares nothing but the addresses is left alone."""
    path = tree.make("asks")
    words = [*runs.lab.inside(), *tree.within(path)]
    agent = base.Agent([*words, PYTHON, str(runs.lab.folder / "dns_client.py")],
                       runs.lab.new_folder())
    runs.lab.agents.append(agent)
    assert asked_by_stream(agent, family)["reply"]
    done = subprocess.run([*runs.lab.inside(), SLUICE, "attach", "--cgroup", str(path), "-p",
                           str(tree.file(policy(GOOD)))], env=runs.env, capture_output=True,
                          text=True, check=False, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    said = asked_by_stream(agent, family)
    assert said["errno"] == "ECONNABORTED" and said["ms"] < 500, said
    # below it the socket's cgroup is none of sluiced's: docs/names.md says that it waits
    child = tree.make("asks/below")
    agent = base.Agent([*runs.lab.inside(), *tree.within(child), PYTHON,
                        str(runs.lab.folder / "dns_client.py")], runs.lab.new_folder())
    runs.lab.agents.append(agent)
    assert asked_by_stream(agent, family)["errno"] == "timeout"


# ---- nobody teaches himself ----

def open_tun(lab):
    """The words before a command that may open /dev/net/tun, as everybody may on most hosts."""
    node = lab.new_folder() / "tun"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 200))
    node.chmod(0o666)
    return ["unshare", "-m", "--propagation", "private", "sh", "-c",
            'mount --bind "$0" /dev/net/tun && exec "$@"', str(node)]


@families
@pytest.mark.parametrize("where", ["here", "elsewhere", "tun"])
def test_a_resolver_of_ones_own(runs, family, where):
    """As test_names_packets has it for `sluice run`: an answer of the command's own to its own
    question, at the resolver's address here or in a network namespace that it makes."""
    to = WORKLOAD[family] if where == "here" else SAYS[family]
    query = dnsmsg.query(ASKED, kind(family), 0x1234)
    answer = dnsmsg.answer(query, [good(family)])
    text = policy(GOOD).replace(f'"{REAL[family]}"', f'"{WORKLOAD[family]}"')
    runs.lab.sysctl(runs.lab.workload, "net.ipv4.ip_unprivileged_port_start=0")
    try:
        for mode in modes:
            agent = runs.agent(mode, text, before=open_tun(runs.lab))
            got = agent.do("answers_itself", where=where, to=to, message=query.hex(),
                           answer=answer.hex())["reply"]
            assert got == answer.hex()
            assert reaches(agent, GOAL[family]) == (mode == "none")
            if mode == "run":
                honest(runs.lab, agent, family)
    finally:
        runs.lab.sysctl(runs.lab.workload, "net.ipv4.ip_unprivileged_port_start=1024")


# ---- the mounts ----

STATUS = ("import json, os, sys\n"
          "def can(f):\n"
          "  try: return bool(f() or True)\n"
          "  except OSError as e: return e.strerror\n"
          "s = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines())\n"
          "cg = [l.split()[4] for l in open('/proc/self/mountinfo') if ' - cgroup2 ' in l][0]\n"
          "ro = os.statvfs(cg).f_flag & os.ST_RDONLY\n"
          "hosts = [l.split() for l in open('/etc/nsswitch.conf') if l.startswith('hosts')]\n"
          "print(json.dumps([s['CapPrm'].strip(), s['CapAmb'].strip(), s['NoNewPrivs'].strip(), "
          "s['Seccomp'].strip(), bool(ro), hosts, can(lambda: open('/etc/nsswitch.conf', 'a'))]))")
ZERO = "0" * 16


def test_what_the_command_is(runs):
    """Without a privilege, cgroups read-only, names by files and DNS alone."""
    runs.apply(policy(GOOD))
    done = runs.run(PYTHON, "-c", STATUS)
    assert done.stdout, done.stderr
    assert done.stdout.strip() == (f'["{ZERO}", "{ZERO}", "1", "2", true, '
                                   '[["hosts:", "files", "dns"]], "Read-only file system"]')
    assert runs.run("sh", "-c", "exit 7").returncode == 7
    assert runs.run("sh", "-c", "kill -TERM $$").returncode == -15
    assert runs.run("/nowhere/at-all").returncode == 127


ANSWERS = ("import socket, sys\n"
           "for path in sys.argv[1:]:\n"
           "  s = socket.socket(socket.AF_UNIX)\n"
           "  try: s.connect(path); print('yes', end=' ')\n"
           "  except OSError: print('no', end=' ')")


def test_nobody_asks_for_it(runs):
    """Who resolves on others' behalf (avahi) listens; the command does not find it."""
    folder = runs.lab.new_folder()
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "socket"))
    (folder / "socket").chmod(0o666)
    sock.listen()
    # in a mount namespace of the test's own, /run/avahi-daemon is that folder
    before = ["unshare", "-m", "--propagation", "private", "sh", "-c",
              'mount -t tmpfs none /run && mkdir /run/avahi-daemon && mount --bind "$0" /run/avahi-daemon && exec "$@"',
              str(folder)]
    runs.apply(policy(GOOD))
    script = [PYTHON, "-c", ANSWERS, "/run/avahi-daemon/socket"]
    with sock:
        assert runs.done(*script, before=before).stdout == "yes "
        done = runs.run(*script, before=before)
        assert done.stdout == "no ", done.stderr


def test_the_environment_is_the_callers(runs):
    """Also what the loader takes from a program with capabilities, which is the command's again,
    and never was that program's."""
    runs.apply(policy(GOOD))
    own = {"LD_LIBRARY_PATH": "/nowhere", "TMPDIR": "/somewhere", "LD_PRELOAD": "/no/such.so",
           "EMPTY": "", "~SIGN": "~"}
    done = runs.run("env", env=own)
    assert done.returncode == 0, done.stderr
    got = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {k: got[k] for k in own} == own


def test_without_its_capabilities_nothing_starts(runs):
    runs.apply(policy(GOOD))
    base.sh("setcap", "-r", str(runs.mounts))
    try:
        done = runs.run("true")
        assert done.returncode == 125 and f"setcap {CAPABILITIES}" in done.stderr, done
        runs.mounts.rename(runs.folder / "away")
        done = runs.run("true")
        assert done.returncode == 125 and "make install" in done.stderr, done
    finally:
        (runs.folder / "away").rename(runs.mounts)
        base.sh("setcap", CAPABILITIES, str(runs.mounts))
    done = runs.done("setpriv", "--no-new-privs", runs.sluice, "run", "-p", "agent", "--", "true")
    assert done.returncode == 125 and "no_new_privs" in done.stderr, done
    assert runs.run("true").returncode == 0


def test_a_client_that_makes_no_mounts(runs):
    """As one of before would: it is not moved, and starts nothing."""
    runs.apply(policy(GOOD))
    for more, granted in (({}, False), ({"mounts": False}, False), ({"mounts": True}, True)):
        done = runs.done(PYTHON, "-c", ASK + f"print(ask('run', policy='agent', **{more}), own())",
                         runs.env["SLUICE_SOCKET"])
        assert (runs.place.name in done.stdout.rsplit("}", 1)[1]) == granted, done
        assert granted or "private mounts" in done.stdout


def test_sluice_mounts_alone_gives_nothing(runs):
    """Whoever starts it by himself has the command that he could have had, and less of it."""
    done = runs.done(runs.mounts, PYTHON, "-c", STATUS)
    assert done.returncode == 125 and "sluice run's own" in done.stderr.replace("`", ""), done
    with_sign = runs.done("env", "-i", "~A=b", runs.mounts, PYTHON, "-c", STATUS)
    assert with_sign.stdout.startswith(f'["{ZERO}", "{ZERO}", "1", "2", true'), with_sign
    # its mounts are seen nowhere else, and go with it
    before = pathlib.Path("/proc/self/mountinfo").read_text()
    done = runs.done("env", "-i", "~A=b", runs.mounts, "cat", "/proc/self/mountinfo")
    assert "sluice" in done.stdout
    assert pathlib.Path("/proc/self/mountinfo").read_text() == before
    # a file that only CAP_DAC_READ_SEARCH opens, and a process that cannot be looked into
    secret = runs.folder / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    done = runs.done("env", "-i", "~A=b", runs.mounts, "cat", str(secret))
    assert done.returncode == 1 and "Permission denied" in done.stderr
    done = runs.done("env", "-i", "~A=b", runs.mounts, "unshare", "-m", "true")
    assert done.returncode and "not permitted" in done.stderr


def test_a_policy_that_gets_names(runs):
    """A command that was started without the mounts keeps what it had, also over a restart."""
    plain = "sluice: 1\nname: agent\nrules:\n  - allow: '198.51.100.80'\n"
    agent = runs.agent("run", plain)
    assert reaches(agent, WEB[4]) and not reaches(agent, GOAL[4])
    runs.apply(policy(GOOD))
    assert until(lambda: "keeps what it has" in runs.said())
    assert reaches(agent, WEB[4])
    runs.stop()
    runs.start()
    assert reaches(agent, WEB[4]) and not reaches(agent, GOAL[4])
    agent.close()
    later = runs.agent("run", policy(GOOD))
    assert not reaches(later, WEB[4])
    honest(runs.lab, later, 4)
    runs.stop()
    runs.start()          # and one that has them goes on with its names
    assert reaches(later, WEB[4])
    runs.apply(policy("deny: honest.good.example, id: no", GOOD))
    assert until(lambda: not reaches(later, WEB[4]))
