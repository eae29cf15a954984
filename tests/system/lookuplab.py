# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Programs that look names up, what is asked, and what was learned."""
import shutil
import subprocess

import pytest

from dnslab import SAYS
from lab import PYTHON, matching, until

NAMES = [f"h{i}.good.example" for i in range(8)] + [
    "chain.good.example", "many.good.example", "zero.good.example", "one.good.example",
    "four.good.example", "six.good.example"]
SEARCH = ["nameserver 192.0.2.2", "search corp.test lab.corp.test x.test", "options ndots:5"]


@pytest.fixture(scope="module")
def lookup(dnslab):
    """A C program by musl: getaddrinfo, connect, an echo."""
    source = dnslab.folder / "lookup.c"
    source.write_text(LOOKUP, encoding="ascii")
    out = dnslab.folder / "lookup"
    subprocess.run(["musl-gcc", "-static", "-O1", "-o", str(out), str(source)], check=True)
    out.chmod(0o755)
    return str(out)


LOOKUP = """
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int n, char **v)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *a;
	char b[8];
	int s, e = getaddrinfo(v[1], "7", &hints, &found), good = 0;

	if (e)
		return printf("%s\\n", gai_strerror(e)), 1;
	for (a = found; a; a = a->ai_next) {
		s = socket(a->ai_family, SOCK_STREAM, 0);
		if (connect(s, a->ai_addr, a->ai_addrlen))
			return perror("connect"), 2;
		good += write(s, "hello", 5) == 5 && read(s, b, 5) == 5;
		close(s);
	}
	printf("good %d\\n", good);
	return 0;
}
"""
PROGRAMS = {
    "getent": ["getent", "ahosts", "{}"],
    "dig": ["dig", "+short", "+tries=1", "+time=1", "{}"],
    "dig-tcp": ["dig", "+short", "+tcp", "+tries=1", "+time=1", "{}"],
    "curl": ["curl", "-sS", "-m", "1", "--http0.9", "-o", "/dev/null", "-w", "%{{remote_ip}}",
             "http://{}:7"],
    "node": ["node", "-e", "require('net').connect(7, '{}', function () {{ this.end(); "
             "console.log(this.remoteAddress) }}).on('error', e => {{ console.log(e.code); "
             "process.exit(1) }})"],
    "python": [PYTHON, "-c", "import socket; print(socket.create_connection(('{}', 7), 3)"
               ".getpeername())"],
}


def says(family=4):
    return [f"nameserver {SAYS[family]}"]


def learned_of(dnslab, mode, agent, last):
    """The destinations of events that have a name, once the event for `last` is there."""
    events = (lambda: dnslab.device.events()) if mode == "device" else agent.events
    if mode == "run":
        agent.close()
    assert until(lambda: matching(events(), destination=last)), events()
    return {e["destination"]["address"] for e in events() if e["destination"]["name"]}


def needs_program(program):
    if not shutil.which(PROGRAMS[program][0]):
        pytest.skip(f"{program} is not installed")


def looks_up(agent, program):
    """A name that is allowed, and one that is not."""
    for name, allowed in (("h2.good.example", True), ("a.bad.example", False)):
        argv = [word.format(name) for word in PROGRAMS[program]]
        said = agent.do("command", argv=argv, wait=40)
        text = said["reply"] or said["errno"] or ""
        if program.startswith(("dig", "curl")):
            assert ("198.51.100.12" in text or "2001:db8:1::12" in text) == allowed, said
            assert "198.51.100.30" not in text
        else:
            assert (said["errno"] is None) == allowed, said
