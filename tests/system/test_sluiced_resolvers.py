# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names of cgroups under sluiced: whom they may ask is not for the workload to say."""
import os
import signal

import pytest

import dnsmsg
from dnslab import FOREIGN, REAL, SAYS
from lab import sh, until
from sluicedforwardlab import Sluiced, client

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")
TREE_OVER = "dnslab"
AGENT = 'sluice: 1\nname: agent\ndns: {DNS}\nrules:\n  - allow: "*.good.example:7"\n'
NEW = "192.0.2.201"


@pytest.fixture(name="daemon")
def daemon_of_test(tree):
    made = Sluiced(tree)
    made.put("other", "sluice: 1\nname: other\nrules:\n  - allow: {to: '@host', ports: 9}\n")
    try:
        yield made
    finally:
        made.close()
        sh(*tree.lab.inside(), "ip", "address", "delete", f"{NEW}/32", "dev", "lo", check=False)


def renewed(tree, daemon, other, change):
    """All targets are looked at again: the last one has another generation."""
    def generation():
        return next(t["generation"] for t in daemon.status() if t.get("cgroup") == tree.id(other))
    before = generation()
    sh(*tree.lab.inside(), "ip", "address", change, f"{NEW}/32", "dev", "lo")
    assert until(lambda: generation() != before), daemon.said()


def asks(agent, to, name):
    message = dnsmsg.query(name, dnsmsg.A, 0x1234).hex()
    return bool(agent.do("ask", to=to, messages=[message], timeout=0.5)["reply"])


@pytest.mark.parametrize("system", [True, False])
def test_a_workload_that_writes_its_resolv_conf(tree, daemon, system):
    """Its resolvers are those that it had when it was first looked at, and so are the domains
    behind which any name could be hidden; also for the next sluiced."""
    evil, last = "x.good.example.evil.test", tree.make("b1")
    agent = client(tree, tree.make("a1"), at=REAL[4])
    assert asks(agent, FOREIGN[4], "x.good.example") and asks(agent, SAYS[4], evil)
    dns = "resolvers: system" if system else f"resolvers: [{REAL[4]}, {SAYS[4]}]"
    daemon.start(AGENT.replace("DNS", dns))
    for path, policy in ((tree.top / "a1", "agent"), (last, "other")):
        daemon.target(path, policy)

    def only_what_it_had():
        assert agent.do("lookups", names=["h0.good.example"], times=1)["reply"]["failed"] == 0
        assert not asks(agent, FOREIGN[4], "x.good.example")
        assert not asks(agent, REAL[4] if system else SAYS[4], evil)
        assert asks(agent, SAYS[4], "x.good.example") == (not system)

    only_what_it_had()
    agent.do("command", argv=["sh", "-c", f"printf 'nameserver {REAL[4]}\\nnameserver {FOREIGN[4]}\\n"
                              "search evil.test\\n' > /etc/resolv.conf"])
    renewed(tree, daemon, last, "add")
    only_what_it_had()
    daemon.stop(signal.SIGKILL)
    daemon.log.write_text("")
    daemon.start(AGENT.replace("DNS", dns))
    daemon.target(tree.top / "a1")
    renewed(tree, daemon, last, "delete")
    only_what_it_had()
