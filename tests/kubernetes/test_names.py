# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names in a cluster: a pod's resolv.conf has the cluster's search list and ndots:5, its resolver is behind a
Service, and the policy allows by name. What answers is dnsmasq, outside of the node."""
import re

import pytest

from cluster import pod
from lab import until
from outside import ALLOWED, DENIED, HERE4, HERE6
from pods_modes import Api
from probes import ended


FIRST = 15
SEARCH = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]
NAMED = """\
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {{name: named, namespace: default}}
spec:
  podSelector: {{matchLabels: {{app: named}}}}
  dns: {{{dns}}}
  rules:
    - allow: "api.example.org:{port}/tcp"
"""
# what it asks, over and over; seconds that it took, from its clock in hundredths
SCRIPT = """\
now() { read up rest </proc/uptime; echo "${up%.*}${up#*.}"; }
grep . /etc/resolv.conf
while :; do
  for name in api.example.org other.example.org; do
    for port in PORTS; do
      from=$(now)
      netcat -z -w 5 $name $port 2>/dev/null && how=yes || how=no
      to=$(now)
      echo "$how $name $port $((to - from))"
    done
  done
  echo end
  sleep 0.5
done
""".replace("PORTS", f"{ALLOWED} {DENIED}")
EVERYTHING = {(name, port) for name in ("api.example.org", "other.example.org") for port in (ALLOWED, DENIED)}


def last_round(cluster, name):
    """{(name, port)} that were reached in the last whole round, and the longest refusal in seconds."""
    rounds = cluster.log_of(name).split("end\n")
    if len(rounds) < 2:
        return None, None
    lines = re.findall(r"^(yes|no) (\S+) (\d+) (\d+)$", rounds[-2], re.MULTILINE)
    return ({(to, int(port)) for how, to, port, _ in lines if how == "yes"},
            max((int(took) for how, _, _, took in lines if how == "no"), default=0) / 100)


def becomes(cluster, name, want):
    assert until(lambda: last_round(cluster, name)[0] == want, 60, 0.5), cluster.log_of(name)[-1500:]


@pytest.fixture(scope="module")
def dns(cluster):
    """The cluster's DNS is what the kubelet writes into pods: a Service."""
    stop = cluster.outside.answer(f"/api.example.org/{HERE4}", f"/api.example.org/{HERE6}",
                                  f"/other.example.org/{HERE4}")
    cluster.apply([
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "dns"},
         "spec": {"clusterIP": "10.96.0.10", "ports": [
             {"name": n, "port": 53, "protocol": p} for n, p in (("u", "UDP"), ("t", "TCP"))]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "dns"},
         "subsets": [{"addresses": [{"ip": HERE4}], "ports": [
             {"name": n, "port": 53, "protocol": p} for n, p in (("u", "UDP"), ("t", "TCP"))]}]}])
    yield
    cluster.kubectl("delete", "service", "dns")
    stop()


@pytest.fixture(scope="module", params=[
    (".", "resolvers: [10.96.0.10], search: [" + ", ".join(SEARCH) + "]"), ("lookout", "resolvers: system")],
    ids=["written", "of the pod"])
def api(request, sluice):
    """The search list in the policy; and with the lookout that of the pod's own resolv.conf."""
    folder, dns = request.param
    made = Api(sluice, folder=folder)
    made.dns = dns
    yield made
    sluice.cluster.kubectl("delete", "--ignore-not-found", "egp", "named")
    made.close()
    sluice.reset()      # before base has it: what it denies until it is known is itself, too
    if folder != ".":
        sluice.deploy(".")
        sluice.reset()


def test_names_behind_a_search_list(cluster, dns, api, start):
    name = "named-by-itself" if "system" in api.dns else "named"
    start(name, "sh", "-c", SCRIPT, labels={"app": "named"})
    becomes(cluster, name, EVERYTHING)       # nothing selects it
    said = cluster.log_of(name)
    assert "nameserver 10.96.0.10" in said and "ndots:5" in said and f"search {' '.join(SEARCH)}" in said, said
    api.put(NAMED.format(dns=api.dns, port=ALLOWED))
    becomes(cluster, name, {("api.example.org", ALLOWED)})
    assert last_round(cluster, name)[1] < 3, cluster.log_of(name)[-1500:]   # refused at once, no time-out
    api.put(NAMED.format(dns=api.dns, port=DENIED))
    becomes(cluster, name, {("api.example.org", DENIED)})


def test_the_first_question_of_many_pods(cluster, dns, api):
    """What a container asks first of all: the allowed name is answered, the other one refused, in each. Where
    the resolvers are those of its own resolv.conf it may come before sluiced has read that: refused, never more."""
    api.put(NAMED.format(dns=api.dns, port=ALLOWED))
    ask = "; ".join(f"netcat -z -w 5 {name} {ALLOWED} 2>/dev/null && echo yes || echo no"
                    for name in ("api.example.org", "other.example.org"))
    cluster.apply([pod(f"first-{i}", "sh", "-c", ask, labels={"app": "named", "first": "yes"})
                   for i in range(FIRST)])
    try:
        cluster.wait(lambda found: all(map(ended, found["items"])), "pods", "-l", "first=yes", seconds=200)
        said = [cluster.log_of(f"first-{i}").split() for i in range(FIRST)]
        assert all(len(one) == 2 and one[1] == "no" for one in said), said
        assert "system" in api.dns or said == [["yes", "no"]] * FIRST
    finally:
        cluster.delete("pod", "-l", "first=yes")
