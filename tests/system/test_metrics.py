# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The metrics' server: what Prometheus reads there, and what strangers can do to it."""
import base64
import http.client
import os
import pathlib
import resource
import signal
import socket
import ssl
import time

import pytest

from lab import sh, until
from metricslab import serve  # noqa: F401
from metricslab import FEED, PORT, connect, get, lint, scrape

ATTEMPTS = "agent_network_connection_attempts_total"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def values(text, family):
    """Label text -> value."""
    found = {}
    for line in text.splitlines():
        if line.startswith(family + "{"):
            labels, value = line[len(family):].rsplit(" ", 1)
            assert labels not in found
            found[labels] = int(value)
    return found


# ---- what is read ----

def test_promtool_finds_nothing(host, serve):
    server = serve("loopback")
    server.ask("targets 3 5")
    text = scrape(host)
    assert lint(text) == (0, "")
    assert lint(text + "bad_total{x=\"\\y\"} 1\n")[0] != 0     # it can find something
    assert values(text, ATTEMPTS) == {f'{{kind="device",target="vnet{i}"}}': 0 for i in range(3)}


HOSTILE = b'x"} 1\nevil_total{a="\\\xff\xe2\x80\xae\r\x1b'


def test_a_hostile_name_is_a_label(host, serve):
    server = serve("loopback")
    server.ask("hostile " + HOSTILE.hex())
    text = scrape(host)
    assert lint(text) == (0, "")
    assert not any(line.startswith("evil") for line in text.splitlines())
    labels, = (k for k in values(text, "sluice_decisions_total") if "cgroup" in k)
    assert 'x\\"} 1?evil_total{a=\\"\\\\????' in labels


def test_series_have_a_maximum(host, serve):
    server = serve("loopback", "1000")
    server.ask("targets 200 50")
    counts = []
    for more in (0, 5):
        server.ask(f"add {more}")
        text = until(lambda: (lambda t: t if more == 0 or any(
            v >= more for v in values(t, ATTEMPTS).values()) else None)(scrape(host)), 5)
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert len(lines) <= 1003
        counts.append(sum(values(text, "sluice_decisions_total").values()))
    assert lint(text) == (0, "")
    assert counts[1] - counts[0] == 5 * 200 * 50
    folded = int(next(l for l in lines if l.startswith("sluice_metrics_series_folded")).split()[1])
    assert folded > 200 * 50


# ---- who serves ----

def test_the_server_has_nothing(host, serve):
    server = serve("loopback")
    pid = server.server_pid
    for one in (pid, server.ask("pid")["pid"]):
        status = dict(line.split(":\t", 1) for line in
                      pathlib.Path(f"/proc/{one}/status").read_text().splitlines() if ":\t" in line)
        assert status["Uid"].split() == ["65534"] * 4 and status["Groups"].strip() == ""
        assert all(int(status[cap], 16) == 0 for cap in
                   ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
        assert status["NoNewPrivs"] == "1"
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert "Seccomp:\t2" in status
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not any("bpf" in link or "/work" in link and "pipe" not in link for link in links)


def test_a_server_that_dies_is_replaced(host, serve):
    server = serve("loopback")
    scrape(host)
    first = server.server_pid
    os.kill(first, signal.SIGKILL)
    text = scrape(host)                 # waits in the listener's queue
    assert "sluice_targets 1" in text
    assert server.server_pid != first


def test_a_host_that_does_not_answer(host, serve):
    """Nobody gets an old text as a new one; when it is back so are the numbers."""
    server = serve("loopback")
    scrape(host)
    server.ask("deaf")
    time.sleep(1.1)                     # the text that is there is fresh for a second
    status, headers, _ = get(lambda: connect(host, seconds=20))
    assert status == 503 and headers["Retry-After"] == "5"
    server.ask("hear")
    assert until(lambda: get(lambda: connect(host))[0] == 200)


def test_the_host_ends_and_so_does_the_child(host, serve):
    server = serve("loopback")
    pid = server.server_pid
    server.child.kill()
    server.child.wait()
    assert until(lambda: not os.path.exists(f"/proc/{pid}"))
    with pytest.raises(ConnectionRefusedError):
        connect(host)


# ---- requests ----

def short(value):
    return repr(value[:40])[2:-1] if isinstance(value, bytes) else None


@pytest.mark.parametrize("request_, status", [
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 405),
    (b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", 413),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
    (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * 40000 + b"\r\n\r\n", 431),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X-a: b\r\n" * 5000 + b"\r\n", 431),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
], ids=short)
def test_requests(host, serve, request_, status):
    serve("loopback")
    sock = connect(host)
    try:
        sock.sendall(request_)
    except ConnectionError:
        pass                            # it has heard enough
    answer = http.client.HTTPResponse(sock, method=request_.split()[0].decode("latin1"))
    answer.begin()
    assert answer.status == status
    sock.close()
    assert "sluice_targets" in scrape(host)


@pytest.mark.parametrize("bytes_", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
                                    b"\0" * 100000, b"\r\n" * 50000, bytes(range(256)) * 400],
                         ids=["TLS", "zeros", "lines", "bytes"])
def test_what_is_no_request(host, serve, bytes_):
    """Hung up on, or told so; others are served."""
    serve("loopback")
    sock = connect(host, seconds=15)
    heard = b""
    try:
        sock.sendall(bytes_)
        while chunk := sock.recv(65536):
            heard += chunk
    except ConnectionError:
        pass
    assert heard == b"" or heard.startswith(b"HTTP/1.1 4") or heard.startswith(b"HTTP/1.0 4")
    sock.close()
    assert "sluice_targets" in scrape(host)


def test_pipelined_requests(host, serve):
    serve("loopback")
    sock = connect(host)
    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50 +
                 b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" +
                 b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = b""
    while chunk := sock.recv(65536):
        answers += chunk
    assert answers.count(b"HTTP/1.1 200 OK") == 51 and b"404" not in answers
    sock.close()


# ---- strangers ----

def test_ten_thousand_idle_connections(host, serve):
    """They come and stay; whoever asks is answered at once, and memory is bounded."""
    server = serve("loopback")
    pid, others = server.server_pid, []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 11000:
        pytest.skip("no 11,000 descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (11000, hard))
    try:
        slowest = 0.0
        for i in range(10000):
            others.append(connect(host))
            if i % 500 == 499:
                start = time.monotonic()
                assert "sluice_targets" in scrape(host)
                slowest = max(slowest, time.monotonic() - start)
        assert slowest < 5              # and not the minutes that idlers may take
        assert len(os.listdir(f"/proc/{pid}/fd")) < 1100
        rss = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        assert rss < 64 << 20
    finally:
        for sock in others:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "sluice_targets" in scrape(host)


def state_at_server(host, sock):
    """Of the server's end of the connection: ESTAB, FIN-WAIT-1, ... or nothing."""
    done = host.run("ss", "-Htan", f"( sport = :{PORT} and dport = :{sock.getsockname()[1]} )")
    return done.stdout.split()[0] if done.stdout.strip() else ""


def test_one_byte_a_second(host, serve):
    """Neither a request that trickles in nor an answer that trickles out lasts."""
    server = serve("loopback")
    server.ask("targets 100 50")        # an answer that no socket buffer takes whole
    slow = host.within(lambda: socket.socket(socket.AF_INET))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", PORT))
    slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    trickle = connect(host)
    lasting, start = {slow, trickle}, time.monotonic()
    while lasting and time.monotonic() - start < 30:
        try:
            if trickle in lasting:
                trickle.sendall(b"G")
            slow.recv(1)
        except ConnectionError:
            pass
        assert "sluice_targets 100" in scrape(host)
        lasting = {sock for sock in lasting if state_at_server(host, sock) == "ESTAB"}
        time.sleep(0.5)
    assert not lasting
    slow.close()
    trickle.close()


# ---- TLS, users, a unix socket ----

@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
       "-keyout", folder / "key", "-out", folder / "cert", "-days", "2", "-subj", "/CN=sluice",
       "-addext", "subjectAltName=IP:127.0.0.1")
    (folder / "key").chmod(0o600)
    word = sh("openssl", "passwd", "-6", "secret").strip()
    (folder / "users").write_text(f"prometheus:{word}\n")
    (folder / "users").chmod(0o600)
    return folder


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_users(host, serve, pair):
    serve(f"loopback,users={pair}/users")
    make = lambda: connect(host)
    status, headers, _ = get(make)
    assert status == 401 and headers["WWW-Authenticate"].startswith('Basic realm="sluice"')
    assert get(make, **basic("prometheus", "secret"))[0] == 200
    assert get(make, **basic("prometheus", "wrong"))[0] == 401
    assert get(make, **basic("nobody", "secret"))[0] in (401, 429)
    statuses = {get(make, **basic("prometheus", str(i)))[0] for i in range(20)}
    assert 429 in statuses and statuses <= {401, 429}
    assert get(make, **basic("prometheus", "secret"))[0] == 200     # guesses are others' matter


def test_tls(host, serve, pair):
    serve(f"loopback,cert={pair}/cert,key={pair}/key,users={pair}/users")
    context = ssl.create_default_context(cafile=str(pair / "cert"))
    make = lambda: context.wrap_socket(connect(host), server_hostname="127.0.0.1")
    assert get(make)[0] == 401
    status, _, body = get(make, **basic("prometheus", "secret"))
    assert status == 200 and "sluice_targets" in body
    done = host.run("openssl", "s_client", "-connect", f"127.0.0.1:{PORT}", "-tls1_1", "-cipher",
                    "DEFAULT@SECLEVEL=0")
    assert done.returncode != 0 and "no peer certificate available" in done.stdout
    plain = connect(host)               # no TLS: no answer
    plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        assert b"200 OK" not in plain.recv(1000)
    except ConnectionError:
        pass
    plain.close()


def test_a_unix_socket(host, serve, tmp_path):
    path = tmp_path / "metrics"
    server = serve(f"unix:{path},mode=0600")

    def make():
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(str(path))
        return sock
    assert get(make)[0] == 200 and path.stat().st_mode & 0o777 == 0o600
    server.child.stdin.close()
    server.child.wait(10)
    assert not path.exists()


@pytest.mark.parametrize("spec, said", [
    ("0.0.0.0", "'0.0.0.0' is not loopback"),
    ("loopback,cert={0}/users,key={0}/key", "the server does not start"),
    ("loopback,users={0}/open", "others may read it"),
    ("loopback,users={0}/plain", "plain:1: error: the hash is none of crypt(5)'s"),
    ("loopback,cert=/none,key={0}/key", "/none"),
])
def test_what_cannot_be_served(host, pair, spec, said):
    (pair / "open").write_text("a:$6$x$y\n")
    (pair / "open").chmod(0o644)
    (pair / "plain").write_text("a:secret\n")
    (pair / "plain").chmod(0o600)
    done = host.run(FEED, spec.format(pair))
    assert done.returncode == 1 and said in done.stderr


def test_an_address_that_is_taken(host, serve):
    serve("loopback")
    done = host.run(FEED, "loopback")
    assert done.returncode == 1 and "127.0.0.1 port 9477: Address already in use" in done.stderr
