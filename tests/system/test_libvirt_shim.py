# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""deploy/libvirt/qemu-hook where sluice is not there, or does not do its work."""
import os

import pytest

from libvirtlab import OPS, Hooks, domain, nic, ok, refused

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")

HOST = Hooks


def fake(folder, body):
    path = folder / "fake-sluice"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def missing(folder):
    return str(folder / "no-such-sluice")


def killed(folder):
    return fake(folder, "kill -SEGV $$")


def stuck(folder):
    """What sluice does to itself when libvirt would wait for ever (the state is locked)."""
    return fake(folder, "kill -ALRM $$")


def not_executable(folder):
    path = fake(folder, "exit 0")
    os.chmod(path, 0o644)
    return path


def foreign(folder):
    path = folder / "foreign"
    path.write_bytes(b"\x7fELF not for this machine")
    path.chmod(0o755)
    return str(path)


def too_old(folder):
    return fake(folder, "echo \"sluice: no command 'libvirt-hook'\" >&2; exit 2")


@pytest.mark.parametrize("absence", [missing, killed, stuck, not_executable, foreign, too_old])
def test_without_sluice(host, tmp_path, absence):
    sluice = absence(tmp_path)
    for text in ("", "fail: isolate\n", "fail: refuse\n", "fail: nonsense\n"):
        host.configure(text)
        refused(host.hook("start", domain(nic()), SLUICE=sluice), "the guest does not start")
        refused(host.hook("attach", domain(nic()), SLUICE=sluice))
        for op in set(OPS) - {"start", "attach"}:
            ok(host.hook(op, domain(nic()), SLUICE=sluice))
    host.configure("fail: open\n")
    done = ok(host.hook("start", domain(nic()), SLUICE=sluice))
    assert "STARTS UNFILTERED" in done.stderr
    for op in OPS:
        ok(host.hook(op, domain(nic()), SLUICE=sluice))


@pytest.mark.parametrize("status", [1, 2, 64, 125, 126, 255])
def test_whatever_sluice_says_reconnect_does_not_fail(host, tmp_path, status):
    sluice = fake(tmp_path, f"exit {status}")
    done = ok(host.hook("reconnect", domain(nic()), SLUICE=sluice))
    assert f"(status {status})" in done.stderr
    refused(host.hook("start", domain(nic()), SLUICE=sluice))


def test_without_sluice_and_without_a_configuration(host, tmp_path):
    host.config.unlink()
    refused(host.hook("start", domain(nic()), SLUICE=missing(tmp_path)))


def test_the_shim_hands_everything_on(host, tmp_path):
    sluice = fake(tmp_path, 'for word; do echo "<$word>" >&2; done; cat >&2; exit 1')
    done = refused(host.hook("start", "<domain/>", guest="--help me", SLUICE=sluice))
    assert done.stderr.splitlines() == ["<libvirt-hook>", "<--config>", f"<{host.config}>", "<-->",
                                        "<--help me>", "<start>", "<begin>", "<->", "<domain/>"]


def test_a_name_in_the_shims_own_message(host, tmp_path):
    done = refused(host.hook("start", "", guest="a\x1b[2J\nb", SLUICE=missing(tmp_path)))
    assert "a??2J?b" in done.stderr and "\x1b" not in done.stderr
