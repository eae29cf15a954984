# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Fixtures of the system tests: one lab for each file of tests that asks."""
import collections
import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import devicelab
import lab as lab_module
import sluicedlab
import watchlab


@pytest.fixture(scope="module")
def lab(request):
    need_root()
    name = request.module.__name__.removeprefix("test_")
    # Not below pytest's own folder: --user must be able to read the client.
    with tempfile.TemporaryDirectory(prefix=f"sl-{name}-") as folder:
        made = lab_module.Lab(name, pathlib.Path(folder))
        try:
            yield made
        finally:
            made.close()


def need_root():
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces and cgroups: needs root")
    if not os.path.exists(lab_module.SLUICE):
        pytest.fail(f"{lab_module.SLUICE} is not built (or set SLUICE)")


@pytest.fixture
def host(request, tmp_path):
    """A host with a sluiced of its own, or what the file makes of a folder (HOST). A file that wants
    more of it has a `host` that takes this one."""
    make = getattr(request.module, "HOST", functools.partial(sluicedlab.DaemonHost, "sl-d"))
    with contextlib.closing(make(tmp_path)) as made:
        yield made


@pytest.fixture
def prober(host):
    with contextlib.closing(sluicedlab.Prober(host)) as made:
        yield made


@pytest.fixture
def guest(host):
    """guest(...): a tap that is a port of br0 (watchlab.Guest), which has 192.0.2.1."""
    host.ip("link add br0 type bridge")
    host.ip("addr add 192.0.2.1/24 dev br0")
    host.ip("link set br0 up")
    with contextlib.ExitStack() as made:
        yield lambda *arguments, **words: made.enter_context(
            contextlib.closing(watchlab.Guest(host, *arguments, **words)))


@contextlib.contextmanager
def one_cpu():
    """This thread, and what it starts, on one CPU: what it sends is judged and arrives in its
    order. (A veth's frames wait in the queue of the CPU that sent them; of two queues the later
    frame may be the first, and a fence says nothing of what was sent before it.)"""
    before = os.sched_getaffinity(0)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    os.sched_setaffinity(0, {sorted(before)[worker % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def device_labs():
    """Labs with one workload's device, made when they are first asked for:
    device_labs(kind, key, **options of DeviceLab)."""
    need_root()
    with one_cpu():
        yield from made_labs()


def made_labs():
    made = {}
    with tempfile.TemporaryDirectory(prefix="sl-dev-") as folder:
        def get(kind, key=True, **options):
            name = f"{kind[0]}{len(made)}"
            if (kind, key) not in made:
                path = pathlib.Path(folder) / name
                path.mkdir()
                made[kind, key] = devicelab.DeviceLab(name, path, kind, **options)
            return made[kind, key]
        try:
            yield get
        finally:
            for lab in made.values():
                lab.close()


TALLY = collections.Counter()


@pytest.fixture
def tally(request):
    """tally(blocked, count=1): one way out was tried; printed at the end of the run."""
    def count(blocked, tried=1):
        TALLY["tried"] += tried
        TALLY["blocked"] += tried if blocked is True else int(blocked)
    return count


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):      # one of several processes (pytest-xdist)
        session.config.workeroutput["tally"] = dict(TALLY)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    TALLY.update(getattr(node, "workeroutput", {}).get("tally", {}))


def pytest_terminal_summary(terminalreporter):
    if TALLY["tried"]:
        terminalreporter.write_line(
            f"frames: tried {TALLY['tried']}, blocked {TALLY['blocked']}")


@pytest.fixture(scope="session")
def uring(tmp_path_factory):
    """The io_uring client, compiled."""
    if not os.path.exists("/usr/include/liburing.h") or not shutil.which("gcc"):
        pytest.skip("liburing.h or gcc is not installed")
    out = tmp_path_factory.mktemp("uring") / "uring"
    subprocess.run(["gcc", "-O2", "-o", str(out), str(lab_module.URING), "-luring"], check=True)
    return str(out)


@pytest.fixture(scope="module", name="tree_of_module")
def make_tree(request):
    """Cgroups of the file's own: over the lab that it names (TREE_OVER), or `lab`."""
    import cgrouplab
    lab_of_file = request.getfixturevalue(getattr(request.module, "TREE_OVER", "lab"))
    made = cgrouplab.Cgroups(request.module.__name__.removeprefix("test_"), lab_of_file)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def tree(tree_of_module):
    yield tree_of_module
    tree_of_module.reset()


@pytest.fixture(scope="module", name="machine")
def machine_of_module(tmp_path_factory):
    """A node whose containerd has no kubelet (crilab.Node), with a directory of objects."""
    import podlab
    with podlab.node_of_directory("sl-pod", tmp_path_factory.mktemp("pods")) as made:
        yield made


@pytest.fixture
def node(machine):
    """It and its sluiced's configuration, with one policy; no pod before and none after."""
    import podlab
    podlab.prepare(machine)
    yield machine
    machine.clear()


@pytest.fixture(scope="module")
def dnslab(request):
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces and cgroups: needs root")
    if not os.path.exists(lab_module.SLUICE):
        pytest.fail(f"{lab_module.SLUICE} is not built (or set SLUICE)")
    import dnslab as dnslab_module
    name = request.module.__name__.removeprefix("test_")
    with tempfile.TemporaryDirectory(prefix=f"sl-{name}-") as folder:
        made = dnslab_module.DnsLab(name, pathlib.Path(folder))
        try:
            yield made
        finally:
            made.close()
