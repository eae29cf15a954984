# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`sluice run` around programs that people run: each reaches what its policy
allows and is told at once that the rest is not reachable."""
import os
import pwd
import shutil
import subprocess
import time

import pytest

from lab import PEER4, PEER6, PYTHON, environment, sh, until

os.environ["PATH"] += ":/usr/sbin:/usr/lib/git-core"
WEB, GIT, SSH, DNS = 8080, 9418, 2222, 53
DENIED = "203.0.113.80"
AT_ONCE = 3.0           # seconds; a time-out of any of these is far longer
POLICY = f"""sluice: 1
name: programs
rules:
  - allow: [{PEER4}, "{PEER6}"]
    id: peer
  - deny: 203.0.113.0/24
    id: test-net
"""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def server(lab):
    """Starts a program in the peer; returns when its port answers."""
    started = []

    def start(port, *argv, **kw):
        p = subprocess.Popen(lab.inside(lab.peer) + list(argv), stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, env=environment(), **kw)
        started.append(p)

        def answers():
            with lab.socket(lab.workload, 2, 1) as s:
                s.settimeout(1)
                return s.connect_ex((PEER4, port)) == 0
        assert until(answers, every=0.05), f"{argv[0]} does not listen on {port}"
        return p

    yield start
    for p in started:
        p.terminate()
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


@pytest.fixture(scope="module")
def web(lab, server):
    root = lab.new_folder()
    (root / "hello.txt").write_text("hello from the peer\n")
    server(WEB, PYTHON, "-m", "http.server", str(WEB), "--bind", "::", cwd=root)
    return f"http://{PEER4}:{WEB}/hello.txt", f"http://{DENIED}:{WEB}/hello.txt"


def run(lab, *command, env=None, options=("--user", "nobody")):
    begin = time.monotonic()
    home = lab.folder / "home"
    if not home.exists():
        home.mkdir()
        home.chmod(0o777)
    done = lab.run(POLICY, "env", f"HOME={home}", *command, options=options, env=env)
    return done, time.monotonic() - begin


def refused(lab, *command, env=None, options=("--user", "nobody")):
    done, seconds = run(lab, *command, env=env, options=options)
    assert done.code != 0
    assert seconds < AT_ONCE
    assert done.events and {e["rule"] for e in done.events} == {"test-net"}
    assert "test-net (line 6)" in done.err
    return done


def test_curl(lab, web):
    need("curl")
    for url in (web[0], f"http://[{PEER6}]:{WEB}/hello.txt"):
        done, _ = run(lab, "curl", "-sS", url)
        assert (done.code, done.out, done.events) == (0, "hello from the peer\n", [])
    assert refused(lab, "curl", "-sS", web[1]).code == 7        # "failed to connect"


def test_python_urllib(lab, web):
    code = "import sys,urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    assert "hello from the peer" in run(lab, PYTHON, "-c", code, web[0])[0].out
    assert "Connection refused" in refused(lab, PYTHON, "-c", code, web[1]).err


def test_node(lab, web):
    need("node")
    code = ("require('http').get(process.argv[1], r => r.pipe(process.stdout))"
            ".on('error', e => { console.error(e.code); process.exit(9) })")
    assert "hello from the peer" in run(lab, "node", "-e", code, web[0])[0].out
    done = refused(lab, "node", "-e", code, web[1])
    assert done.code == 9 and "ECONNREFUSED" in done.err


def test_npm(lab, web):
    need("npm")
    done = refused(lab, "npm", "view", "left-pad", "--registry", f"http://{DENIED}:{WEB}/",
                   "--fetch-retries=0", "--no-update-notifier")
    assert "ECONNREFUSED" in done.err


def test_git(lab, server, web):
    need("git", "git-daemon")
    base = lab.new_folder()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c",
           "init.defaultBranch=main", "-C", str(base)]
    sh(*git, "init", "-q", "work")
    (base / "work" / "file").write_text("content\n")
    sh(*git[:-1], str(base / "work"), "add", "file")
    sh(*git[:-1], str(base / "work"), "commit", "-q", "-m", "first")
    sh(*git, "clone", "-q", "--bare", "work", "repo.git")
    server(GIT, shutil.which("git-daemon"), "--export-all", f"--base-path={base}", "--reuseaddr",
           f"--port={GIT}", str(base))
    target = lab.folder / "home" / "clone"
    done, _ = run(lab, "git", "clone", "-q", f"git://{PEER4}/repo.git", str(target))
    assert done.code == 0, done.err
    assert (target / "file").read_text() == "content\n"
    for url in (f"git://{DENIED}/repo.git", f"http://{DENIED}:{WEB}/repo.git"):
        refused(lab, "git", "clone", "-q", url, str(target) + "-denied")


def test_ssh(lab, server):
    need("ssh", "sshd", "ssh-keygen")
    folder = lab.new_folder()
    for name in ("host", "user"):
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    os.makedirs("/run/sshd", exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(f"Port {SSH}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/"
                      "authorized_keys\nStrictModes no\nPidFile none\nUsePAM no\n"
                      "PermitRootLogin prohibit-password\n")
    server(SSH, shutil.which("sshd"), "-D", "-f", str(config))
    ssh = ["ssh", "-p", str(SSH), "-i", str(folder / "user"), "-F", "/dev/null",
           "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
           "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]
    done, _ = run(lab, *ssh, f"root@{PEER4}", "echo over-ssh; exit 7", options=())
    assert (done.code, done.out) == (7, "over-ssh\n"), done.err
    done = refused(lab, *ssh, f"root@{DENIED}", "true", options=())
    assert "Connection refused" in done.err


def test_nc(lab, web):
    need("nc")
    assert run(lab, "nc", "-z", "-w", "5", PEER4, str(WEB))[0].code == 0
    refused(lab, "nc", "-z", "-w", "5", DENIED, str(WEB))
    done = lab.run(POLICY, "sh", "-c", f"echo x | nc -u -w 1 {DENIED} 9")
    event, = done.events   # nc is silent about the EPERM of its write
    assert event["destination"]["address"] == DENIED and event["process"]["comm"] == "nc"


@pytest.fixture(scope="module")
def dns(server):
    need("dnsmasq")
    server(DNS, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
           "--no-hosts", "--bind-dynamic", f"--listen-address={PEER4}", "--user=root",
           "--pid-file", "--address=/example.test/192.0.2.77")


def test_dig(lab, dns):
    need("dig")
    for extra in ((), ("+tcp",)):
        done, _ = run(lab, "dig", *extra, "+short", f"@{PEER4}", "www.example.test")
        assert (done.code, done.out) == (0, "192.0.2.77\n"), done.err
        refused(lab, "dig", *extra, "+short", "+tries=1", "+time=2", f"@{DENIED}",
                "www.example.test")


def test_getaddrinfo(lab, dns):
    """The C library's resolver through the policy's gate, by a resolv.conf of our own."""
    need("unshare")
    conf = lab.new_folder() / "resolv.conf"
    conf.write_text(f"nameserver {PEER4}\noptions timeout:1 attempts:1\n")
    script = f'mount --bind {conf} /etc/resolv.conf && exec "$@"'
    code = "import socket; print(socket.getaddrinfo('www.example.test', 80)[0][4][0])"
    _, _, words = lab.prepare(f"sluice: 1\ndns: {{resolvers: [{PEER4}]}}\n", ("--user", "nobody"))
    done = subprocess.run(lab.inside() + ["unshare", "-m", "sh", "-c", script, "sh"] + words +
                          [PYTHON, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=30, env=environment(), check=False)
    assert done.stdout == "192.0.2.77\n", done.stderr


def capabilities_of_a_file(path):
    try:
        return os.getxattr(path, "security.capability")
    except OSError:
        return None


@pytest.fixture
def ping(lab):
    """Debian's ping carries cap_net_raw=ep: with that gone from the bounding set it
    cannot be executed. A copy without it gets its socket by ping_group_range."""
    need("ping")
    original, copy = shutil.which("ping"), lab.folder / "ping"
    done, _ = run(lab, original, "-V")
    if done.code == 126:
        assert capabilities_of_a_file(original) and "Operation not permitted" in done.err
    shutil.copyfile(original, copy)
    copy.chmod(0o755)
    return [str(copy), "-n", "-c", "1", "-W", "2"]


def test_ping(lab, ping):
    done, _ = run(lab, *ping, PEER4)
    assert done.code == 0 and "1 received" in done.out, done
    done = refused(lab, *ping, DENIED)
    assert "0 received" in done.out


def test_ping_where_only_icmp_is_allowed(lab, ping):
    done = lab.run(f"sluice: 1\nrules:\n  - allow: {PEER4}/icmp\n", *ping, PEER4)
    assert done.code == 0 and "1 received" in done.out, done


def test_tinyproxy_under_its_own_uid(lab, server, web):
    """The client through the proxy succeeds; directly, or as another uid, it fails
    at once. One run holds both: as root with privileges, the proxy drops its own."""
    need("tinyproxy", "curl", "setpriv")
    try:
        uid = pwd.getpwnam("tinyproxy").pw_uid
    except KeyError:
        uid = 4711
    folder = lab.new_folder()
    config = folder / "tinyproxy.conf"
    config.write_text(f"Port 8888\nListen 127.0.0.1\nUser {uid}\nGroup {uid}\nTimeout 30\n")
    policy = folder / "p.yaml"
    policy.write_text(f"""sluice: 1
name: proxy
rules:
  - allow: "@loopback"
    id: loopback
  - deny: "@private"
    id: private
  - allow: {{to: any, ports: [80, 443, {WEB}], protocol: tcp, uid: {uid}}}
    id: proxy-only
""")
    script = f"""
tinyproxy -d -c {config} >/dev/null 2>&1 & proxy=$!
i=0
until curl -s -o /dev/null http://127.0.0.1:8888/; do
	i=$((i+1)); [ $i -lt 100 ] || exit 3; sleep 0.05
done
curl -sS -x http://127.0.0.1:8888 {web[0]}
curl -s -o /dev/null -w 'direct %{{time_total}} %{{exitcode}}\\n' {web[0]}
setpriv --reuid=33 --regid=33 --clear-groups \\
	curl -s -o /dev/null -w 'other %{{exitcode}}\\n' {web[0]}
curl -s -o /dev/null -w 'private %{{http_code}}\\n' -x http://127.0.0.1:8888 http://10.1.2.3:{WEB}/
kill $proxy
"""
    done = lab.run(None, "sh", "-c", script, options=["--keep-privileges", "-p", str(policy)])
    lines = done.out.splitlines()
    assert lines[0] == "hello from the peer", done
    direct = lines[1].split()
    assert float(direct[1]) < 0.1 and direct[2] == "7"
    assert lines[2] == "other 7"
    assert lines[3].startswith("private 5")
    by_uid = {(e["process"]["uid"], e["rule"]) for e in done.events}
    assert by_uid == {(0, None), (33, None), (uid, "private")}


def test_chromium(lab, web):
    if not os.path.exists("/usr/bin/chromium"):
        pytest.skip("/usr/bin/chromium is not installed")
    done, _ = run(lab, "chromium", "--headless", "--disable-gpu", "--dump-dom", web[0])
    assert "hello from the peer" in done.out
