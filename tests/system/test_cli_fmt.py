# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice fmt: canonical text, comments, and files that are replaced as a whole."""
import os
import stat

import pytest

from cli_tools import agent, sluice, usage_error, write

CANONICAL = """\
sluice: 1
default: deny
rules:
  - allow: "any:53"
    reason: "a # in text"
  - include: "part.yaml"
  - deny: "@private"
"""
COMMENTED = "# top\n\n" + CANONICAL.replace("rules:\n", "rules:   # all\n  # first\n") + "# end\n"


def test_fmt_prints_the_policy_as_written(write):
    path = write("{sluice: 1, rules: [{allow: 'any:53', reason: 'a # in text'}, "
                 "{include: part.yaml}, {deny: '@private'}]}")
    assert sluice("fmt", path).stdout == CANONICAL
    assert sluice("fmt", input=path.read_text()).stdout == CANONICAL
    assert sluice("fmt", "-", input=CANONICAL).stdout == CANONICAL


@pytest.mark.parametrize("text, canonical", [
    (CANONICAL, True), (COMMENTED, True), (CANONICAL.replace("default: deny\n", ""), False),
    (CANONICAL.replace("  - ", "- ").replace("    r", "  r"), False),
    (CANONICAL.replace("\n", "\r\n"), False),
    (COMMENTED.replace('"any:53"', "any:53"), False)])
def test_fmt_check(write, text, canonical):
    path = write(text)
    result = sluice("fmt", "--check", path)
    assert result.stdout == ""
    if canonical:
        assert (result.returncode, result.stderr) == (0, "")
    else:
        assert result.returncode == 1
        assert result.stderr == f"sluice fmt: {path}: not in canonical form\n"


def test_fmt_write_keeps_mode_and_link_and_leaves_nothing_beside(write, tmp_path):
    path = write(CANONICAL.replace("default: deny\n", ""), mode=0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    assert sluice("fmt", "-w", link).returncode == 0
    assert path.read_text() == CANONICAL and link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["agent.yaml", "link.yaml"]


@pytest.mark.parametrize("text, line, n", [
    ("# a\nsluice: 1\n", 1, "1 comment,"),
    ("sluice: 1\ninbound:   allow # b\n\n#c\n", 2, "2 comments,"),
    ("sluice: 1\nrules:\n- deny: any\n  reason: |  # d\n    # text\n# e\n", 4, "2 comments,")])
def test_fmt_write_refuses_to_lose_comments(write, text, line, n):
    path = write(text)
    result = sluice("fmt", "-w", path)
    assert result.returncode == 1 and path.read_text() == text
    assert result.stderr.startswith(f"sluice fmt: {path}:{line}: has {n}")
    assert sluice("fmt", "-w", "--force", path).returncode == 0
    assert path.read_text() == sluice("fmt", input=text).stdout


def test_fmt_write_does_not_touch_what_is_canonical_but_for_comments(write):
    path = write(COMMENTED)
    before = path.stat().st_ino
    assert sluice("fmt", "-w", path).returncode == 0
    assert path.stat().st_ino == before and path.read_text() == COMMENTED


def test_fmt_of_hash_signs_that_are_text(write):
    text = ('sluice: 1\nrules:\n- deny: any\n  reason: "x # y"\n- deny: 10.0.0.1\n'
            "  reason: 'it''s # quoted'\n- deny: 10.0.0.2\n  reason: a#b\n"
            "- deny: 10.0.0.3\n  reason: >-\n    # folded\n    text\n")
    path = write(text)
    assert sluice("fmt", "-w", path).returncode == 0    # no comment in it
    assert '"# folded text"' in path.read_text() and "x # y" in path.read_text()


def test_fmt_fragment(write):
    text = 'sluice: 1\nsets:\n  a:\n    - 10.0.0.1\nrules:\n  - allow: "@a"\n'
    path = write(text)
    assert sluice("fmt", "--fragment", path).stdout == text
    assert sluice("fmt", "--fragment", "--check", path).returncode == 0
    assert sluice("fmt", "--check", path).returncode == 1


def test_fmt_refuses_what_it_would_lose(write):
    path = write("sluice: 1\nrules: [{allow: any, id: x, uses: 5}]\n")
    for words in ([], ["-w", "--force"], ["--check"]):
        result = sluice("fmt", *words, path)
        assert result.returncode == 1 and f"{path}:2:" in result.stderr and result.stdout == ""
    assert "uses" in path.read_text()


def test_fmt_of_an_invalid_file_goes_on_to_the_next(write, agent):
    bad = write("sluice: 1\nruels: []\n", "bad.yaml")
    result = sluice("fmt", "-w", bad, agent)
    assert result.returncode == 1 and "ruels" in result.stderr
    assert bad.read_text() == "sluice: 1\nruels: []\n"
    assert sluice("fmt", "--check", agent).returncode == 0


@pytest.mark.parametrize("words, text", [
    (["-w"], "wants a FILE"), (["-w", "-"], "'-'"), (["-w", "--check", "x"], "exclude"),
    (["--force", "x"], "--force"), (["x", "y"], "one FILE at a time")])
def test_fmt_usage(words, text):
    usage_error(sluice("fmt", *words), text)
