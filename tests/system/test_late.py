# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What `sluice` is not linked with is there when a command needs it, and a command that cannot
have it says so."""
import os
import pty
import subprocess

from lab import SLUICE

NAMED = ("sluice: 1\nname: late\ndns: {resolvers: [192.0.2.53]}\n"
         "rules:\n  - allow: '%s:443'\n")


def check(folder, name, **env):
    path = folder / "p.yaml"
    path.write_text(NAMED % name, encoding="utf-8")
    return subprocess.run([SLUICE, "check", path], text=True, capture_output=True, check=False,
                          env={**os.environ, **env})


def test_an_international_name_is_what_dns_has_of_it(tmp_path):
    done = check(tmp_path, "bücher.example")
    assert not done.returncode and "xn--bcher-kva.example" in done.stderr
    done = check(tmp_path, "b☃.example")  # IDNA 2008 has no snowman
    assert done.returncode and "no international name" in done.stderr


def test_one_that_cannot_be_bound_is_refused_and_others_are_not(tmp_path):
    done = check(tmp_path, "bücher.example", LD_BIND_NOW="1")
    assert done.returncode and "unset LD_BIND_NOW" in done.stderr
    assert not check(tmp_path, "books.example", LD_BIND_NOW="1").returncode


def on_a_terminal(*command, term):
    """(what it wrote, its exit status)"""
    pid, fd = pty.fork()
    if not pid:
        os.execve(command[0], list(map(str, command)), {**os.environ, "TERM": term, "SLUICE_STATE": "/sys/fs/bpf/sluice-none"})
    text = b""
    try:
        while data := os.read(fd, 4096):
            text += data
    except OSError:     # EIO: the other end is closed
        pass
    os.close(fd)
    return text.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_top_draws_on_a_terminal_that_is_known():
    text, status = on_a_terminal(SLUICE, "top", "-n", "1", term="xterm")
    assert not status and "sluice top: " in text and "TARGET" in text
    text, status = on_a_terminal(SLUICE, "top", "-n", "1", term="unheard-of")
    assert status and "no terminal; try --batch" in text
