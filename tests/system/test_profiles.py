# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The shipped profiles, from a source tree and installed, and `sluice profile`."""
import os
import pathlib
import re
import subprocess

import pytest

from cli_tools import BUILD, ROOT, lines_of, sluice, usage_error, write

PROFILES = sorted((ROOT / "policies" / "profile").glob("*.yaml"))
NAMES = [path.stem for path in PROFILES]
HEAD = "sluice: 1\ndns: {resolvers: [192.0.2.53], search: []}\nrules:\n"

# What each lets out, and what stands beside it.
FLOWS = {
    "claude-code": ("api.anthropic.com:443 claude.ai:443 accounts.anthropic.com:443 github.com:443 "
                    "api.github.com:443 ghcr.io:443 pkg-containers.githubusercontent.com:443",
                    "api.anthropic.com:80 api.openai.com:443 github.com:22 x.github.com:443 "
                    "xapi.anthropic.com:443 anthropic.com:443"),
    "aider": ("api.openai.com:443 api.github.com:443 github.com:443 ghcr.io:443",
              "api.anthropic.com:443 openai.com:443 github.com:22"),
    "codex": ("api.openai.com:443 auth.openai.com:443 chatgpt.com:443 github.com:443",
              "api.anthropic.com:443 x.chatgpt.com:443"),
    "git-hosting": ("github.com:22 github.com:443 ssh.github.com:443 raw.githubusercontent.com:443 "
                    "gitlab.com:22 bitbucket.org:443 codeberg.org:22",
                    "github.com:80 github.com:9418 gist.github.com:443 githubusercontent.com:443"),
    "npm": ("example.npmjs.org:443", "example.npmjs.org:80 npmjs.org:443 npmjs.org.evil.test:443"),
    "pypi": ("files.pythonhosted.org:443", "pythonhosted.org:443 files.pythonhosted.org:80"),
    "debian-apt": ("example.debian.org:80 example.debian.org:443",
                   "debian.org:80 example.debian.net:80 example.debian.org:22"),
}


# The seed's endpoints for each agent, its package registries included.
REGISTRIES = "example.npmjs.org:443 pypi.org:443 files.pythonhosted.org:443".split()
GITHUB = ("api.github.com:443 github.com:443 ghcr.io:443 "
          "pkg-containers.githubusercontent.com:443").split()
SEED = {"claude-code": ["api.anthropic.com:443", "claude.ai:443", "accounts.anthropic.com:443"],
        "aider": ["api.openai.com:443"], "codex": []}


@pytest.mark.parametrize("name", SEED)
def test_the_seeds_list_of_an_agent_is_all_there(write, name):
    rules = "".join(f"  - include: profile/{part}\n" for part in (name, "npm", "pypi"))
    flows = GITHUB + SEED[name] + REGISTRIES
    path = write(f"{HEAD}{rules}tests:\n" + "".join(f"  - allow: {flow}\n" for flow in flows))
    result = sluice("test", path)
    assert result.returncode == 0, result.stdout


def test_the_profiles_are_those_that_were_promised():
    assert set(NAMES) == set(FLOWS)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_lets_out_what_it_says(write, name):
    allowed, denied = (flows.split() for flows in FLOWS[name])
    tests = "".join(f"  - allow: {flow}\n" for flow in allowed)
    tests += "".join(f"  - deny: {flow}\n" for flow in denied)
    path = write(f"{HEAD}  - include: profile/{name}\ntests:\n{tests}")
    result = sluice("test", path)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert result.stdout == f"{len(allowed) + len(denied)} passed, 0 failed\n"
    result = sluice("check", path)
    assert (result.returncode, result.stderr) == (0, "")


def test_all_profiles_stand_beside_each_other_without_a_warning(write):
    path = write(HEAD + "".join(f"  - include: profile/{name}\n" for name in NAMES))
    result = sluice("check", path)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_twin_in_the_same_file_is_still_warned_of(write):
    path = write(HEAD + "  - allow: a.test:443\n  - allow: a.test:443\n")
    assert "says the same as" in sluice("check", path).stderr


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.name)
def test_a_profile_is_dated_and_says_where_it_is_from(path):
    text = path.read_text()
    assert re.search(r"^# As of 20\d\d-\d\d[,.:]", text, re.M)
    # ... and where it comes from
    assert re.search(r"Agentium's guide|hosts document|Debian 12 installs", text)
    assert len(text.splitlines()[1]) < 100
    ids = re.findall(r"^    id: (\S+)$", text, re.M)
    assert ids and len(ids) == text.count("  - allow:")
    assert sluice("fmt", "--fragment", path).returncode == 0


# ---- the command ----

def test_list_names_them_all():
    listed = sluice("profile", "list")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == NAMES
    found = {line["profile"]: line for line in lines_of(sluice("profile", "list", "-o", "json"))}
    assert list(found) == NAMES
    assert found["claude-code"]["rules"] == 4 and found["claude-code"]["patterns"] == 7
    assert "As of " in found["npm"]["about"] and "SPDX" not in found["npm"]["about"]


@pytest.mark.parametrize("name", NAMES)
def test_show_prints_the_file(name):
    text = (ROOT / "policies" / "profile" / f"{name}.yaml").read_text()
    assert sluice("profile", "show", name).stdout == text
    [line] = lines_of(sluice("profile", "show", "-o", "json", name))
    assert line["text"] == text and line["profile"] == name


def test_wrong_use():
    for words, text in (([], "list, or show NAME"), (["lists"], "list, or show NAME"),
                        (["list", "x"], "takes no name"), (["show"], "one NAME"),
                        (["show", "a", "b"], "one NAME"), (["show", "../x"], "'../x' is no"),
                        (["show", ".x"], "'.x' is no"), (["list", "-o", "xml"], "'xml'")):
        usage_error(sluice("profile", *words), text)
    result = sluice("profile", "show", "nope")
    assert result.returncode == 1 and "no profile 'nope'" in result.stderr and not result.stdout


def test_include_of_an_unknown_profile_names_the_line(write):
    path = write(HEAD + "  - include: profile/nope\n")
    result = sluice("check", path)
    assert result.returncode == 1
    assert f"{path}:4:5: error: no profile \"nope\" (" in result.stderr
    assert "profile/nope.yaml): `sluice profile list`" in result.stderr


# ---- installed ----

@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS")}
    subprocess.run(["make", "-s", "-C", str(ROOT), "install", f"O={BUILD.resolve()}",
                    f"DESTDIR={folder}", "PREFIX=/opt/sluice"], check=True, env=environment,
                   stdout=subprocess.DEVNULL, timeout=300)
    return folder / "opt" / "sluice" / "bin" / "sluice"


def test_profiles_work_installed(installed, write):
    path = write(HEAD + "  - include: profile/claude-code\ntests:\n  - allow: github.com:443\n"
                 "  - deny: github.com:80\n")

    def run(*words):
        return subprocess.run([str(installed), *map(str, words)], capture_output=True, text=True,
                              cwd="/", timeout=60)

    assert run("test", path).stdout == "2 passed, 0 failed\n"
    assert run("profile", "list").stdout == sluice("profile", "list").stdout
    missing = run("check", write(HEAD + "  - include: profile/x\n", "x.yaml"))
    assert str(pathlib.Path(installed).parent / "../share/sluice/policies") in missing.stderr
