# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluiced: cgroups by path, by unit and by default, as they come and go."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import bpfsys
from lab import SLUICE, cgroup2
from sluicedcgrouplab import host  # noqa: F401
from sluicedcgrouplab import OPEN, SHUT, by_cgroup, configured, make, probe
from sluicedlab import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def test_by_path_as_they_come_and_go(host):
    there = make(host, "a1")
    other = make(host, "b1")
    assert probe(host, there) == (True, True)       # nothing enforced
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: open}}')
    host.start_daemon()
    target = by_cgroup(host, there, policy="open", state="attached", managed=True)
    assert target["name"] == str(there) and target["kind"] == "cgroup"
    assert probe(host, there) == (True, False) and probe(host, other) == (True, True)
    came = make(host, "a2")
    by_cgroup(host, came, policy="open")
    assert probe(host, came) == (True, False)
    number = came.stat().st_ino
    came.rmdir()
    assert until(lambda: number not in [t.get("cgroup") for t in host.full_status()["targets"]])
    came = make(host, "a2")                         # another one of the same name
    assert came.stat().st_ino != number
    by_cgroup(host, came, policy="open", decided=0)


@pytest.mark.parametrize("below", ["", ".x"])
def test_status_says_who_can_answer_himself(host, below):
    """sluiced, which may not look into processes, sees their capabilities all the same."""
    there = make(host, "a1")
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: named}}',
               named="sluice: 1\nname: named\ndns: {resolvers: [192.0.2.53]}\n"
                     "rules:\n  - allow: \"*.example:443\"\n")
    host.start_daemon()
    by_cgroup(host, there, policy="named")

    def told():
        return [w for w in host.full_status()["warnings"] if "questions of its own" in w]
    assert not told()
    (there / below).mkdir(exist_ok=True)
    with subprocess.Popen(["sh", "-c", 'echo $$ > "$0/cgroup.procs"; echo; exec sleep 100',
                           there / below],
                          stdout=subprocess.PIPE) as mighty:
        try:
            mighty.stdout.readline()
            assert f"process {mighty.pid} has CAP_NET_ADMIN" in told()[0]
        finally:
            mighty.kill()


@pytest.mark.parametrize("name", [".hidden", "..x", "-rf", "a b", "%n%s", b"\xff\xfe", "x" * 255],
                         ids=repr)
def test_names_of_every_kind(host, name):
    """Whatever it is called it is judged, also by the next sluiced, and by its own path."""
    path = host.top / os.fsdecode(name)
    path.mkdir()
    assert probe(host, path) == (True, True)
    configured(host, f'{{match: {{cgroup: "{host.group}/*"}}, policy: open}}')
    host.start_daemon()
    first = by_cgroup(host, path, policy="open")
    assert probe(host, path) == (True, False)
    assert host.daemon.close() == 0
    host.start_daemon()
    assert by_cgroup(host, path, policy="open")["generation"] == first["generation"]
    assert probe(host, path) == (True, False)
    host.daemon.close()
    host.sluice("detach", "--all")
    below = path / "below"
    below.mkdir()
    configured(host)
    host.start_daemon()
    done = host.sluice("attach", "--cgroup", below, "-p", host.folder / "etc/policies.d/shut.yaml")
    if isinstance(name, bytes):     # the socket's JSON has no place for it
        assert done.returncode == 1 and "not UTF-8" in done.stderr, done
        for words in ("detach", "rules"):
            assert "not UTF-8" in host.sluice(words, "--cgroup", below).stderr
        return
    assert done.returncode == 0, done.stderr
    host.kill_daemon()
    host.start_daemon()
    by_cgroup(host, below, policy="shut")
    assert probe(host, below) == (False, False)


def test_star_stays_in_its_part(host):
    configured(host, f'{{match: {{cgroup: "{host.group}/*/x"}}, policy: open}}')
    host.start_daemon()
    deep, deeper = make(host, "one/x"), make(host, "one/two/x")
    by_cgroup(host, deep, policy="open")
    assert probe(host, deeper) == (True, True)
    assert len(host.full_status()["targets"]) == 1


@pytest.fixture
def slices(host):
    """Slices of the test's own at the top of the hierarchy, as systemd nests them."""
    stem = host.name.replace("-", "")
    top = pathlib.Path(cgroup2()) / f"{stem}.slice"
    (top / f"{stem}-a.slice").mkdir(parents=True)
    yield top
    for below, _, _ in os.walk(top, topdown=False):
        os.rmdir(below)


def test_units_where_systemd_puts_them(host, slices):
    """In the slice, in a slice of the slice, at the top; and with the _ of cg_escape."""
    stem = slices.name.removesuffix(".slice")
    unit = f"{stem}@7.service"
    configured(host, f'{{match: {{unit: ["{stem}@*.service", "_{stem}.service", '
                     f'"{stem}-a.slice"]}}, policy: open}}')
    host.start_daemon()
    by_cgroup(host, slices / f"{stem}-a.slice", policy="open")
    for path in (slices / unit, slices / f"{stem}-a.slice" / unit, slices / f"__{stem}.service"):
        assert not path.exists()
        path.mkdir()
        by_cgroup(host, path, policy="open")
        assert probe(host, path) == (True, False), path
        path.rmdir()


def test_units_names_elsewhere_prove_nothing(host, slices):
    """A user, a container or another service that owns a cgroup may give what is below it any
    name; and a slice that does not stand where systemd would put it was not made by it."""
    stem = slices.name.removesuffix(".slice")
    unit = f"{stem}@7.service"
    configured(host, f'{{match: {{unit: "{stem}@*.service"}}, policy: open}}')
    host.start_daemon()
    there = slices / unit
    elsewhere = [host.top / unit, host.top / f"{stem}.slice" / unit,
                 slices / "user@1000.service" / unit, slices / "user@1000.service/app.slice" / unit,
                 slices / "b.slice" / unit, slices / f"{stem}-a.slice" / f"{stem}-b.slice" / unit,
                 slices / f"{stem}-a.slice" / "b.service" / unit, slices / f"{stem}-x-y.slice" / unit]
    for path in (*elsewhere, there):
        path.mkdir(parents=True)
    by_cgroup(host, there, policy="open")
    assert probe(host, there) == (True, False)
    for path in elsewhere:
        assert probe(host, path) == (True, True), path
    assert len(host.full_status()["targets"]) == 1


def test_a_default_holds_until_it_is_known(host):
    """Whatever comes below the parent is denied at once; what is known has its own policy."""
    configured(host, f'{{match: {{cgroup: "{host.group}/agents/known*"}}, policy: open}}',
               defaults=[f"{{cgroup: {host.group}/agents, policy: shut}}"])
    host.start_daemon()
    parent = make(host, "agents")
    by_cgroup(host, parent, policy="shut")
    unknown = make(host, "agents/unknown")
    assert probe(host, unknown) == (False, False)
    known = make(host, "agents/known1")
    by_cgroup(host, known, policy="open")
    assert probe(host, known) == (True, False) and probe(host, unknown) == (False, False)
    done = host.sluice("detach", "--cgroup", known)
    assert done.returncode == 0 and "above it holds now" in done.stdout
    assert probe(host, known) == (False, False)
    assert host.sluice("apply").returncode == 0
    by_cgroup(host, known, policy="open")


def test_one_of_an_earlier_configuration_is_detached_by_its_path(host):
    """sluiced does not follow it; what is said of it is as true."""
    defaults = [f"{{cgroup: {host.group}/agents, policy: shut}}"]
    configured(host, f'{{match: {{cgroup: "{host.group}/agents/*"}}, policy: open}}', defaults=defaults)
    host.start_daemon()
    parent, left = make(host, "agents"), make(host, "agents/left")
    by_cgroup(host, parent, policy="shut")
    by_cgroup(host, left, policy="open")
    host.daemon.close()
    configured(host, defaults=defaults)
    host.start_daemon()
    assert probe(host, left) == (True, False)
    done = host.sluice("detach", "--cgroup", left)
    assert done.stdout == f"{left}: detached; the policy of a cgroup above it holds now\n", done
    assert probe(host, left) == (False, False)


def test_a_default_that_comes_later_decides_nothing_below(host):
    """The nearest target decides, also when the one above is the younger; and without both the
    child's programs alone are left."""
    one = make(host, "agents/one")
    configured(host, f"{{match: {{cgroup: {host.group}/agents/one}}, policy: open}}")
    host.start_daemon()
    host.attached(str(one), policy="open")
    assert probe(host, one) == (True, False)
    configured(host, f"{{match: {{cgroup: {host.group}/agents/one}}, policy: open}}",
               defaults=[f"{{cgroup: {host.group}/agents, policy: shut}}"])
    host.attached(str(one.parent), policy="shut")
    other = make(host, "agents/other")
    assert probe(host, other) == (False, False)
    assert probe(host, one) == (True, False)
    configured(host, f"{{match: {{cgroup: {host.group}/agents/one}}, policy: open}}")
    assert host.sluice("detach", "--cgroup", one.parent).returncode == 0
    assert until(lambda: probe(host, other) == (True, True))
    assert probe(host, one) == (True, False)


def test_reload_kill_and_adoption(host):
    cgroup = make(host, "a1")
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: open}}')
    host.start_daemon()
    first = by_cgroup(host, cgroup, policy="open")
    host.kill_daemon()
    assert probe(host, cgroup) == (True, False)
    host.start_daemon()
    host.daemon.wait_error(f"adopted {host.group}/a1")
    assert by_cgroup(host, cgroup, state="attached")["generation"] == first["generation"]
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: shut}}')
    by_cgroup(host, cgroup, policy="shut")
    assert probe(host, cgroup) == (False, False)
    host.put("policies.d/shut.yaml", SHUT + "x: 1\n")
    assert until(lambda: not host.full_status()["daemon"]["config"]["ok"])
    assert probe(host, cgroup) == (False, False)


def test_what_somebody_takes_off_is_put_back(host):
    cgroup = make(host, "a1")
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: open}}')
    host.start_daemon()
    by_cgroup(host, cgroup, policy="open")
    monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 1)
    links = [p for p in (pathlib.Path(host.state) / "cgroups").rglob("*connect4*") if
             str(cgroup.stat().st_ino) in str(p)]
    assert links, list((pathlib.Path(host.state) / "cgroups").rglob("*"))
    bpfsys.detach(links[0])
    line = monitor.wait(lambda l: l.get("event") == "foreign-change")
    assert line["target"] == {"kind": "cgroup", "name": str(cgroup)}, line
    by_cgroup(host, cgroup, policy="open", state="attached")
    assert probe(host, cgroup) == (True, False)


def test_attach_rules_and_detach_by_hand(host):
    cgroup = make(host, "mine")
    configured(host)
    host.start_daemon()
    policy = host.write(OPEN.replace("name: open", "name: hand"))
    done = host.sluice("attach", "--cgroup", cgroup, "-p", policy)
    assert done.returncode == 0 and "policy hand" in done.stdout, done
    by_cgroup(host, cgroup, policy="hand", by_hand=True)
    assert probe(host, cgroup) == (True, False)
    done = host.sluice("rules", "--cgroup", cgroup, "-o", "json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(r["count"] for r in rows) >= 2, done
    assert "mine" in host.sluice("status").stdout
    assert host.sluice("detach", "--cgroup", cgroup).returncode == 0
    assert probe(host, cgroup) == (True, True)
    done = host.sluice("detach", "--cgroup", cgroup)
    assert done.returncode == 1 and "has no policy" in done.stderr


def test_events_name_the_cgroup(host):
    cgroup = make(host, "a1")
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: open}}')
    host.start_daemon()
    by_cgroup(host, cgroup, policy="open")
    monitor = host.start(SLUICE, "monitor", "-o", "json", env=host.env)
    text = host.start(SLUICE, "monitor", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 2)
    assert probe(host, cgroup) == (True, False)
    line = monitor.wait(lambda l: l.get("verdict") == "deny")
    assert line["target"] == {"kind": "cgroup", "name": str(cgroup)}, line
    assert line["destination"]["port"] == 7002 and line["policy"] == "open"
    process = f"{line['process']['comm']}[{line['process']['pid']}]"
    text.wait(lambda l: "7002/tcp" in l and l.endswith(f"  {process}"))


def test_two_of_one_name_are_told_apart(host):
    """The same last part, in two places: events, meters and metrics say which."""
    one, two = make(host, "one/same"), make(host, "two/same")
    configured(host, f'{{match: {{cgroup: "{host.group}/*/same"}}, policy: open}}')
    host.start_daemon()
    for path in (one, two):
        by_cgroup(host, path, policy="open", removed=False, name=str(path))
    monitor, seen = host.start(SLUICE, "monitor", "-o", "json", env=host.env), []
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 1)
    for path in (two, one):
        assert probe(host, path) == (True, False)
        line = monitor.wait(lambda l: l.get("verdict") == "deny" and l not in seen)
        assert line["target"] == {"kind": "cgroup", "name": str(path)}, line
        seen.append(line)


def test_names_that_would_steer_a_terminal(host):
    """Of a cgroup and of a device, in all that is read as text; none makes the others' rows wider, and
    of each `top` shows the end."""
    names = ["\x1b]0;x\x07\x1b[2J\u202e", "long-" + "x" * 200, "plain"]
    cgroups = [make(host, f"a/{name}") for name in names]
    configured(host, f'{{match: {{cgroup: "{host.group}/a/*"}}, policy: open}}',
               '{match: {device: "v*"}, policy: open}')
    tap = host.tap("v\x1b[31m")
    host.start_daemon()
    for cgroup in cgroups:
        by_cgroup(host, cgroup, policy="open")
    monitor = host.start(SLUICE, "monitor", env=host.env)
    assert until(lambda: host.full_status()["daemon"]["monitors"] == 1)
    assert probe(host, cgroups[0]) == (True, False)
    monitor.wait(lambda line: "\\x1b]0;x\\x07\\x1b[2J\\xe2\\x80\\xae" in line and "7002/tcp" in line)
    shown = {words: host.sluice(*words).stdout for words in (
        ("status",), ("top", "--batch", "--count", "1"), ("rules", "--cgroup", str(cgroups[0])))}
    host.drop(tap)
    host.daemon.wait_error("gone v\\x1b[31m")
    for text in (*shown.values(), *monitor.lines, *host.daemon.errors):
        assert all(c == "\n" or c.isprintable() for c in text), ascii(text)
    status, top, _ = shown.values()
    assert max(len(line) for line in status.splitlines() if "plain" in line or "TARGET" in line) < 200
    assert all(f"{end} " in top for end in ("plain", "x" * 20, "\\xae", "v\\x1b[31m")), top


def test_hundreds_at_once_hold_up_nobody(host):
    """Clients are answered, and programs put back, while the others still wait for theirs."""
    first, count = make(host, "a/first"), 1000     # some seconds of work
    configured(host, f'{{match: {{cgroup: "{host.group}/a/*"}}, policy: open}}')
    host.start_daemon()
    by_cgroup(host, first, policy="open")
    link = next(p for p in (pathlib.Path(host.state) / "cgroups").rglob("*connect4*")
                if str(first.stat().st_ino) in str(p))
    host.daemon.signal(signal.SIGSTOP)
    cgroups = [make(host, f"a/{i}") for i in range(count)]
    bpfsys.detach(link)
    host.daemon.signal(signal.SIGCONT)
    attached, mended_at = [], None
    while not attached or attached[-1] <= count:
        attached.append(sum(t["attached"] for t in host.full_status()["targets"]))
        if mended_at is None and any("lost" in line for line in host.daemon.errors):
            mended_at = attached[-1]
        assert host.daemon.child.poll() is None
    print(f"\n{len(attached)} answers meanwhile; put back after {mended_at} of {count}")
    assert any(1 < n < count for n in attached), attached
    assert mended_at is not None and mended_at < count, attached
    assert probe(host, first) == probe(host, cgroups[-1]) == (True, False)


NAMED = ("sluice: 1\nname: named\ndns: {resolvers: [192.0.2.53]}\nrules:\n"
         "  - allow: 127.0.0.1:7001/tcp\n  - allow: '*.good.example:7'\n")


def test_churn_leaves_nothing(host):
    """Each is judged before it goes, every second one by a policy with names."""
    count = int(os.environ.get("SLUICE_CHURN", "300"))
    configured(host, f'{{match: {{cgroup: "{host.group}/*n"}}, policy: named}}',
               f'{{match: {{cgroup: "{host.group}/*p"}}, policy: open}}', named=NAMED)
    host.start_daemon()
    kept = [make(host, "kept-n"), make(host, "kept-p")]
    by_cgroup(host, kept[0], policy="named")
    by_cgroup(host, kept[1], policy="open")
    pid = host.daemon.child.pid

    def measure():
        return (len(os.listdir(f"/proc/{pid}/fd")),
                int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4,
                *(bpfsys.filled(f"{host.state}/{m}", 4096)
                  for m in ("sl_flows", "sl_tables", "sl_known", "sl_learned", "sl_names")))

    def attached(name):
        return any(line.startswith(f"sluiced: attached {host.group}/{name}:")
                   for line in host.daemon.errors[-400:])
    before = measure()
    for first in range(0, count, 20):
        names = [f"c{i}{'pn'[i % 2]}" for i in range(first, min(first + 20, count))]
        for name in names:
            (host.top / name).mkdir()
        assert until(lambda: all(map(attached, names)), 30), host.daemon.errors[-5:]
        if first % 1000 == 0:
            assert probe(host, host.top / names[-1]) == (True, False)
        for name in names:
            (host.top / name).rmdir()
    assert until(lambda: len(host.full_status()["targets"]) == 2, 30)
    after = measure()
    print(f"\n{count} cgroups, each judged; descriptors, resident KiB, maps of flows, tables, "
          f"names known, addresses, patterns: {before} -> {after}")
    assert after[0] <= before[0] + 1 and after[1] < before[1] + 8192
    assert after[2:] == before[2:]
    assert probe(host, kept[0]) == probe(host, kept[1]) == (True, False)


@pytest.mark.parametrize("target, says", [
    ('{match: {cgroup: "/*"}, policy: open}', "every process"),
    ("{match: {cgroup: a}, policy: open}", "begins with /"),
    ("{match: {cgroup: /a/../b}, policy: open}", "no parts .. and ."),
    ("{match: {unit: a/b.service}, policy: open}", "a unit has no /"),
    ("{match: {unit: a}, policy: open}", "ends in .service"),
    ("{match: {cgroup: /a}, policy: open, bind: {vlan: 5}}", "bind is for devices")])
def test_what_no_target_is(host, target, says):
    configured(host, target)
    done = host.run(shutil.which("sluiced") or os.path.join(os.path.dirname(SLUICE), "sluiced"),
                    "--check", "-c", host.folder / "etc" / "sluiced.yaml")
    assert done.returncode == 1 and says in done.stderr and "sluiced.yaml:3:" in done.stderr


def test_uids_are_for_cgroups(host):
    configured(host, f'{{match: {{cgroup: "{host.group}/a*"}}, policy: uids}}',
               uids="sluice: 1\nrules:\n  - allow: {to: 127.0.0.1, ports: 7001, uid: 0}\n")
    host.start_daemon()
    cgroup = make(host, "a1")
    by_cgroup(host, cgroup, policy="uids")
    assert probe(host, cgroup) == (True, False)
