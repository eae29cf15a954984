# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced asks a runtime that is none: other versions, and answers that are wrong, late or hostile.
What a real one says: test_sluiced_pods.py; the messages by themselves: tests/unit/test_cri.c."""
import os
import pathlib
import time

import pytest

from crilab import message, pairs
from grpclab import DATA, END_HEADERS, END_STREAM, HEADERS, NOT_FOUND, UNIMPLEMENTED, Runtime, frame, grpc, head, header
from lab import cgroup2, until
from sluicedlab import DaemonHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
CONFIG = """\
sluiced: 1
kubernetes: {{cri: {cri}, directory: {objects}, cgroup: /{group}/kubepods}}
"""


@pytest.fixture
def host(tmp_path):
    made = DaemonHost("sl-cri", tmp_path)
    made.path, made.runtime = tmp_path / "cri", None
    (tmp_path / "objects").mkdir()

    def serve(answers):
        made.runtime = Runtime(made.path, answers)
        made.configure(CONFIG.format(cri=made.path, objects=tmp_path / "objects", group=made.name))
        made.start_daemon()
    def is_quiet():
        """No question for two seconds."""
        before = len(made.runtime.asked)
        time.sleep(2)
        return len(made.runtime.asked) == before
    made.serve, made.is_quiet = serve, is_quiet
    try:
        yield made
    finally:
        if made.runtime:
            made.runtime.close()
        made.close()


def runtime_of(host):
    return host.full_status()["kubernetes"]["runtime"]


def sandbox(name="web", uid="u-1", number="a1"):
    return message((1, number), (2, message((1, name), (2, uid), (3, "shop"))), *pairs(5, {"app": name}))


def test_a_runtime_of_the_older_version_alone(host):
    """It does not know the first service: the other is asked, and from then on it alone."""
    host.serve(lambda n, body: grpc(status=UNIMPLEMENTED) if n == 1 else grpc(b""))
    assert until(lambda: runtime_of(host)["version"] == "v1alpha2")
    assert runtime_of(host)["pods"] == 0 and runtime_of(host)["why"] is None


def test_a_runtime_without_cri(host):
    host.serve(lambda n, body: grpc(status=UNIMPLEMENTED))
    assert until(lambda: "no CRI, of v1 or v1alpha2" in (runtime_of(host)["why"] or ""))
    assert runtime_of(host)["version"] is None


def test_a_pod_that_ends_while_it_is_asked_for(host):
    """Its status is not found: the others are known all the same."""
    def answers(n, body):
        if not body:
            return grpc(message((1, sandbox()), (1, sandbox("db", "u-2", "a2"))))
        if b"a1" in body:
            return grpc(status=NOT_FOUND)
        return grpc(message((1, message((1, "a2"), (5, message((1, "10.0.1.4")))))))
    host.serve(answers)
    assert until(lambda: runtime_of(host)["pods"] == 1)
    assert runtime_of(host)["why"] is None


@pytest.mark.parametrize("answer, why", [
    (grpc(status=2, said="broken"), "the runtime refuses: broken (gRPC status 2)"),
    (grpc(b"\x0a\x7f"), "no such message"),
    (grpc(b"\xff" * 100), "no such message"),
    (frame(HEADERS, END_HEADERS, 1, head()) + frame(DATA, END_STREAM, 1, bytes(5)),
     "without a gRPC status"),
    (frame(HEADERS, END_HEADERS | END_STREAM, 1, head(404)), "HTTP status 404"),
    (frame(HEADERS, END_HEADERS, 1, head()) + frame(DATA, 0, 1, b"\0\0\0\0\x09ab") +
     frame(HEADERS, END_HEADERS | END_STREAM, 1, header(grpc_status=0)), "cut short"),
    (frame(HEADERS, END_HEADERS, 1, head()) + frame(DATA, 0, 1, b"\1\0\0\0\0") +
     frame(HEADERS, END_HEADERS | END_STREAM, 1, header(grpc_status=0)), "compressed"),
    (b"HTTP/1.1 200 OK\r\n\r\n" * 10, "is the runtime there"),
    (b"", "is the runtime there"),
], ids=["refused", "truncated", "garbage", "no-status", "http", "short", "compressed", "http1", "closed"])
def test_answers_that_are_wrong(host, answer, why):
    """Nothing is known then, and said why; and the next question is answered."""
    wrong = [True]
    host.serve(lambda n, body: answer if wrong[0] else grpc(b""))
    assert until(lambda: why in (runtime_of(host)["why"] or "")), runtime_of(host)
    assert runtime_of(host)["pods"] is None
    status = host.full_status()
    assert not status["kubernetes"]["ready"]
    assert any(str(host.path) in w and why in w for w in status["warnings"])
    wrong[0] = False
    assert until(lambda: runtime_of(host)["pods"] == 0 and not runtime_of(host)["why"], 20)


def test_an_answer_without_end_is_ended(host):
    """17 MiB of a message that says it has 4 GiB; sluiced answers meanwhile."""
    data = b"\0\xff\xff\xff\xff" + bytes(16379)
    part = frame(DATA, 0, 1, data)
    host.serve(lambda n, body: frame(HEADERS, END_HEADERS, 1, head()) + part * (17 * 64))
    assert until(lambda: "more than 16 MiB" in (runtime_of(host)["why"] or ""), 20), runtime_of(host)


def test_a_runtime_that_says_nothing_makes_nobody_wait(host):
    host.serve(lambda n, body: None)
    for _ in range(20):
        before = time.monotonic()
        assert runtime_of(host)["pods"] is None
        assert time.monotonic() - before < 3
    assert until(lambda: "no answer in 5 s" in (runtime_of(host)["why"] or ""), 20)


def test_what_no_news_tells_of_is_found_by_the_clock(host):
    """Another label of the same sandbox, a minute later at the latest: it has its policy, and the
    difference is counted."""
    labels = ["web"]
    group = pathlib.Path(cgroup2()) / host.name
    path = group / "kubepods" / "podu-1"

    def answers(n, body):
        if not body:
            return grpc(message((1, message((1, "a1"), (2, message((1, "x"), (2, "u-1"), (3, "shop"))),
                                            *pairs(5, {"app": labels[0]})))))
        return grpc(message((1, message((1, "a1"), (5, message((1, "10.0.1.4")))))))
    for name in ("web", "db"):
        (host.folder / "objects" / f"{name}.yaml").write_text(
            "apiVersion: sluice.dev/v1alpha1\nkind: EgressPolicy\n"
            f"metadata: {{name: {name}, namespace: shop}}\n"
            f"spec:\n  podSelector: {{matchLabels: {{app: {name}}}}}\n"
            f"  rules: [{{allow: 192.0.2.1, id: {name}}}]\n")
    path.mkdir(parents=True)
    try:
        host.serve(answers)

        def rule():
            done = host.sluice("rules", "--cgroup", path, "-o", "json")
            return done.stdout if done.returncode == 0 else ""
        assert until(lambda: '"web"' in rule())
        assert until(host.is_quiet), host.runtime.asked
        assert host.full_status()["kubernetes"]["drift"] == 0
        labels[0] = "db"
        assert until(lambda: '"db"' in rule(), 90)
        assert host.full_status()["kubernetes"]["drift"] == 1
    finally:
        for below in (path, path.parent, group):
            below.rmdir()
