# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Hellos of OpenSSL, to a name that was learned."""
import ssl

from dnslab import GOOD

VERIFY = GOOD + ", sni: verify"
ADDRESS = {4: "198.51.100.11", 6: "2001:db8:1::11"}     # h1.good.example


def hello(name, protocols=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def learn(agent, family, name="h1.good.example"):
    found = agent.do("resolve", name=name)["reply"]
    assert ADDRESS[family] in [a for a, _ in found]
