#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""verifier_budget.py BUILD_DIR: what the verifier walks for each program of bpf/, compiled by
the build's clang and, where it is installed, by clang-19; fails over the budget of
tests/verifier_budget.txt. The last line is the summary."""
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUDGET = ROOT / "tests" / "verifier_budget.txt"
REFUSED_HERE = {"lsm.bpf.o"}    # BPF LSM: some kernels take none of it (docs/KERNELS.md)


def read_budget():
    lines = [line.split() for line in BUDGET.read_text().splitlines()
             if line.strip() and not line.startswith("#")]
    budget = {(name, program): int(number) for name, program, number in lines}
    assert len(budget) == len(lines), "a program is listed twice"
    return budget


def builds(build):
    """(compiler, folder of objects); clang-19's are made here."""
    yield "clang", build
    if not shutil.which("clang-19"):
        return
    folder = build / "clang19"
    names = [path.stem for path in sorted((ROOT / "bpf").glob("*.bpf.c"))]
    subprocess.run(["make", "-s", "-C", str(ROOT), f"O={folder}", "CLANG=clang-19",
                    *(f"{folder}/{name}.o" for name in names)], check=True,
                   stdout=subprocess.DEVNULL, timeout=300)
    yield "clang-19", folder


def measure(tool, folder):
    done = subprocess.run([tool, *sorted(folder.glob("*.bpf.o"))], check=True, text=True,
                          stdout=subprocess.PIPE, timeout=120)
    for line in done.stdout.splitlines():
        yield line.split(maxsplit=2)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    budget, over, count, most = read_budget(), [], 0, 0
    print(f"{'compiler':9} {'object':14} {'program':22} {'length':>7} {'verified':>9} {'budget':>8}")
    for compiler, folder in builds(build):
        seen = set()
        for name, program, rest in measure(build / "tests" / "verifier_budget", folder):
            if program == "-":
                print(f"{compiler:9} {name:14} not loaded: {rest}")
                seen |= {key for key in budget if key[0] == name}
                if name not in REFUSED_HERE:
                    over.append(f"{compiler}: {name}: {rest}")
                continue
            length, verified, _ = map(int, rest.split())
            limit = budget.get((name, program))
            seen.add((name, program))
            count, most = count + 1, max(most, verified)
            print(f"{compiler:9} {name:14} {program:22} {length:7} {verified:9} {limit or '-':>8}")
            if limit is None:
                over.append(f"{compiler}: {name} {program}: no budget in {BUDGET.name}")
            elif verified > limit:
                over.append(f"{compiler}: {name} {program}: {verified} over {limit}")
        over += [f"{compiler}: {name} {program}: in {BUDGET.name}, but there is none"
                 for name, program in sorted(set(budget) - seen)]
    for line in over:
        print(line)
    print(f"{count} programs, at most {most} instructions, {len(over)} over their budget")
    return bool(over) or not count


if __name__ == "__main__":
    sys.exit(main())
