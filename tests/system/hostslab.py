# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A file of hosts, and which of its addresses are reached."""

HOSTS = ["127.0.0.1 localhost", "198.51.100.40 listed.good.example", "2001:db8:1::40 listed.good.example",
         "198.51.100.41 other.bad.example", "10.9.9.9 inner.good.example",
         "198.51.100.42 gone.good.example"]
NAMES = {"listed.good.example": ("198.51.100.40", "2001:db8:1::40"),
         "other.bad.example": ("198.51.100.41",), "inner.good.example": ("10.9.9.9",),
         "gone.good.example": ("198.51.100.42",)}


def reached(agent, name):
    """The addresses of a name that a connection reaches; each is looked up by name."""
    found = agent.do("resolve", name=name)["reply"]
    assert sorted({a for a, _ in found}) == sorted(NAMES[name])
    return tuple(a for a in NAMES[name] if agent.do("tcp", to=a, port=7, timeout=1)["errno"] is None)
