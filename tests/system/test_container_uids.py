# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`uid: {container: N}`: the user N of the cgroup's user namespace, for real ones."""
import pathlib

import pytest

from cgrouplab import policy
from lab import ECHO, PEER4, PEER6, until

FAMILIES = pytest.mark.parametrize("to", [PEER4, PEER6], ids=["v4", "v6"])
FIRST, COUNT = 100000, 65536        # what the container's root is, and how many it has
INNER = policy(f'allow: {{to: ["{PEER4}", "{PEER6}"], uid: {{container: 1000}}}}')


def done(agent, kind, **request):
    said = agent.do(kind, **request)
    assert said["errno"] is None, said
    return said


def write_map(pid, start, count):
    for what in ("uid_map", "gid_map"):
        pathlib.Path(f"/proc/{pid}/{what}").write_text(f"0 {start} {count}", encoding="ascii")


def contained(tree, path, uid, start=FIRST, count=COUNT):
    """A process as a runtime makes it: in a user namespace of its own."""
    agent = tree.agent(path)
    write_map(done(agent, "own_users")["pid"], start, count)
    done(agent, "become", uid=0)        # inside it
    done(agent, "become", uid=uid)
    return agent


def pid_of(agent):
    return done(agent, "cgroup")["pid"]


def beside(tree, path, agent, uid):
    """One more process in its user namespace."""
    return tree.agent(path, before=["nsenter", "--user", "--setuid", str(uid), "--setgid", "0",
                                    "--target", str(pid_of(agent))])


def reaches(agent, to):
    return agent.do("tcp", to=to, port=ECHO)["errno"] is None


@FAMILIES
def test_the_containers_user(tree, to):
    """The container's 1000, and nobody else: not its other users, and not the host's 1000."""
    path = tree.make("one")
    users = [contained(tree, path, 1000)]
    users += [beside(tree, path, users[0], uid) for uid in (1001, 0)]
    assert all(reaches(user, to) for user in users)
    tree.attach(path, INNER)
    assert [reaches(user, to) for user in users] == [True, False, False]
    host = tree.agent(path)
    done(host, "become", uid=1000)
    assert not reaches(host, to)


@FAMILIES
def test_without_a_namespace_it_is_the_number(tree, to):
    path = tree.make("none")
    users = [tree.agent(path) for _ in range(2)]
    done(users[0], "become", uid=1000)
    done(users[1], "become", uid=FIRST + 1000)
    tree.attach(path, INNER)
    assert [reaches(user, to) for user in users] == [True, False]


@FAMILIES
@pytest.mark.parametrize("found_first", ["container", "below"])
def test_namespaces_below_do_not_matter(tree, to, found_first):
    """What a container's program makes for itself: the outermost counts."""
    path = tree.make("top")
    places = [path, tree.make("top/below")]
    if found_first == "below":
        places.reverse()
    user = contained(tree, places[0], 1000)
    other = beside(tree, places[1], user, 0)
    assert reaches(other, to)
    done(other, "own_users")
    tree.attach(path, INNER)
    assert reaches(user, to) and not reaches(other, to)


def refused(tree, path, text=INNER):
    said = tree.attach(path, text, check=False)
    assert said.returncode != 0 and tree.id(path) not in tree.status()
    assert "policy.yaml:3:" in said.stderr and "uid: {container: " in said.stderr, said.stderr
    return said.stderr


def test_what_has_no_single_map(tree):
    path = tree.make("many")
    assert "the cgroup has no process" in refused(tree, path)
    agent = tree.agent(path)
    pid = done(agent, "own_users")["pid"]
    assert "has no uid map yet" in refused(tree, path)
    write_map(pid, FIRST, 1000)         # 0 to 999
    assert "maps no such uid" in refused(tree, path)
    last = policy(f'allow: {{to: "{PEER4}", uid: {{container: 999}}}}')
    tree.attach(path, last)
    tree.detach(path)
    second = contained(tree, path, 0, start=FIRST + COUNT)
    assert "several user namespaces" in refused(tree, path, last)
    second.close()
    assert until(lambda: not refused_now(tree, path, last))
    tree.detach(path)
    pid_of(tree.agent(path))            # of the host, as a runtime that enters a container
    assert "several user namespaces" in refused(tree, path, last)


def refused_now(tree, path, text):
    return tree.attach(path, text, check=False).returncode
