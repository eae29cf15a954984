# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""resolv.conf changes under `sluice watch` and sluiced: what @resolvers means is followed."""
import os
import shutil

import pytest

from lab import SLUICE
from sluicedlab import CONFIG, SLUICED, Prober, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
POLICY = """\
sluice: 1
name: agent
dns: {resolvers: system}
rules:
  - allow: {to: "@resolvers", ports: 9, protocol: udp}
"""
ONE, TWO = "192.0.2.1", "198.51.100.1"
# The rest of /etc as it is, in a mount namespace of its own.
WITH_ETC = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"']


@pytest.fixture(name="host")
def host_with_an_etc(host):
    host.etc = host.folder / "its-etc"
    shutil.copytree("/etc", host.etc, symlinks=True, ignore_dangling_symlinks=True,
                    ignore=shutil.ignore_patterns("ssl", "alternatives", "java*", "resolv.conf"))
    return host


def name(host, server, how):
    """As an editor does it, as resolvconf and systemd-resolved do, or in place."""
    file, new = host.etc / "resolv.conf", host.etc / ".new"
    text = f"nameserver {server}\n"
    if how == "link":
        (host.etc / "resolvers").mkdir(exist_ok=True)
        (host.etc / "resolvers" / ".new").write_text(text)
        (host.etc / "resolvers" / ".new").rename(host.etc / "resolvers" / "now")
        if not file.is_symlink():
            file.symlink_to("resolvers/now")
    elif how == "renamed":
        new.write_text(text)
        new.rename(file)
    else:
        file.write_text(text)


@pytest.mark.parametrize("how", ["renamed", "in place", "link"])
@pytest.mark.parametrize("program", ["watch", "sluiced"])
def test_another_resolver(host, program, how):
    name(host, ONE, how)
    prober = Prober(host)
    try:
        assert prober.arrives(ONE) and prober.arrives(TWO)      # nothing judges it yet
        if program == "sluiced":
            host.configure(CONFIG, agent=POLICY)
            words = [SLUICED, "-c", host.folder / "etc" / "sluiced.yaml"]
        else:
            words = [SLUICE, "watch", "--dev", "vnet*", "-p", host.put("agent.yaml", POLICY)]
        host.daemon = host.start(*WITH_ETC, host.etc, *words, env=host.env)
        host.daemon.wait_error("sluiced: ready" if program == "sluiced" else "others will follow")
        assert until(lambda: not prober.arrives(TWO))
        assert until(lambda: prober.arrives(ONE))
        for server, other in ((TWO, ONE), (ONE, TWO)):
            name(host, server, how)
            assert until(lambda: prober.arrives(server))
            assert not prober.arrives(other)
    finally:
        prober.close()
