# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The documents say what the sources say."""
import pathlib
import re
import subprocess

from cli_tools import SLUICE

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read(name):
    return (ROOT / name).read_text()


def macro_words(text, macro):
    body = re.search(r"#define %s\(X\)((?:.*\\\n)*.*\n)" % macro, text).group(1)
    return re.findall(r'X\(\w+, "([^"]+)"', body)


def test_every_reason_is_documented():
    words = macro_words(read("include/sluice_reasons.h"), "SL_REASONS")
    table = read("docs/events.md").split("## Reasons")[1]
    assert words and re.findall(r"^\| `([a-z-]+)` \|", table, re.M) == words


def test_every_hook_is_documented():
    words = macro_words(read("include/sluice_abi.h"), "SL_HOOKS")
    row = next(line for line in read("docs/events.md").splitlines() if line.startswith("| `hook`"))
    assert words and all("`%s`" % word in row for word in words)


def test_readme_names_only_commands_that_exist():
    listed = subprocess.run([SLUICE, "help"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"^  ([a-z]+) ", listed, re.M))
    used = set(re.findall(r"\$ (?:sudo )?sluice ([a-z]+)", read("README.md")))
    assert used and used <= commands


def test_every_command_has_help_with_an_example():
    listed = subprocess.run([SLUICE, "help"], capture_output=True, text=True, check=True).stdout
    for command in re.findall(r"^  ([a-z]+) ", listed, re.M):
        done = subprocess.run([SLUICE, command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, command
        assert "example: " in done.stdout, command


def test_documents_that_are_linked_exist():
    for link in re.findall(r"\]\((?!http)([^)#]+)", read("README.md")):
        assert (ROOT / link).exists(), link


def test_no_path_of_a_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    for name in files.splitlines():
        path = ROOT / name
        if path.suffix in {".c", ".h", ".py", ".md", ".yaml", ""} and path.is_file():
            text = path.read_text(errors="replace")
            assert "/work/" + "main" not in text, name
            assert not re.search(r"/home/[a-z]+/", text), name
