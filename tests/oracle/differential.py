#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Random policies and packets: the judge's answers against the evaluator's.

    differential.py --build DIR [--seed N] [--time SECONDS]
                    [--mode user|kernel|both] [--judge PATH]

The judge (DIR/tests/judge; with --kernel for the loaded program) reads lines
`policy PATH`, `DIR PROTO ADDR KEY UID` and, in user space, the same with the names that
own the address behind it, and `question NAME`; it answers each with one line.
The first difference is shrunk, printed and kept on disk; exit 1.
"""
import argparse
import copy
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time

import block
import evaluator
import generate

BATCH = 500                 # lines in flight; both pipes hold that many
PACKETS_PER_POLICY = 4000
LEAST_SHARE = 0.60
ANSWER_SECONDS = 60
SHRINK_SECONDS = 120


class JudgeFailure(Exception):
    """The judge died, hung or spoke out of turn."""


class Judge:
    def __init__(self, command, folder):
        self.stderr = open(os.path.join(folder, "judge.stderr"), "a+b")
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.stderr, bufsize=0)
        self.rest = b""

    def ask(self, lines):
        self.send(lines)
        return self.receive(len(lines))

    def send(self, lines):
        text = "".join(line + "\n" for line in lines).encode()
        try:
            while text:
                text = text[self.child.stdin.write(text):]
        except BrokenPipeError:
            raise JudgeFailure(self._epitaph("closed its input")) from None

    def receive(self, count):
        answers = []
        while True:
            *whole, self.rest = self.rest.split(b"\n")
            answers += whole
            if len(answers) >= count:
                break
            if not select.select([self.child.stdout], [], [], ANSWER_SECONDS)[0]:
                raise JudgeFailure(self._epitaph(
                    f"silent for {ANSWER_SECONDS} s, {len(answers)} of {count} answers"))
            chunk = os.read(self.child.stdout.fileno(), 1 << 16)
            if not chunk:
                raise JudgeFailure(self._epitaph(
                    f"closed its output, {len(answers)} of {count} answers"))
            self.rest += chunk
        if len(answers) > count or self.rest:
            raise JudgeFailure(self._epitaph(f"more answers than the {count} questions"))
        return [answer.decode(errors="replace") for answer in answers]

    def _epitaph(self, what):
        try:
            status = self.child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            status = "still running"
        self.stderr.seek(max(0, self.stderr.seek(0, os.SEEK_END) - 2000))
        return f"{what}; exit status: {status}; its stderr ends:\n" + \
            self.stderr.read().decode(errors="replace")

    def close(self):
        """End the child; its exit status counts, leaks and sanitizers speak there."""
        self.child.stdin.close()
        try:
            status = self.child.wait(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            status = self.child.wait()
        self.child.stdout.close()
        self.stderr.close()
        return status


def flow_line(flow):
    if flow[0] == "question":
        return f"question {flow[1]}"
    direction, protocol, address, key, uid, *owners = flow
    line = f"{direction} {protocol} {address} {key} {'-' if uid is None else uid}"
    return line + " " + ",".join(owners[0]) if owners else line


def answer_of(oracle, flow):
    return oracle.answer_question(flow[1]) if flow[0] == "question" else oracle.answer(*flow)


def same(flow, expected, answer):
    """expected: (verdict, id, cause); inbound entries have no comparable id."""
    words = answer.split(" ")
    if len(words) != 3:
        return False
    if flow[0] == "in":
        return words[0] == expected[0] and words[2] == expected[2]
    return tuple(words) == expected


def write_policy(path, document):
    """Half as JSON, half as block YAML: two readers (user/policy/yaml_plain.h)."""
    as_json = json.dumps(document, indent=1) + "\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(as_json if len(as_json) % 2 else block.text(document))
    os.chmod(path, 0o644)


class Difference(Exception):
    def __init__(self, document, flow, expected, answer, before=()):
        super().__init__("difference")
        self.document = document
        self.flow = flow            # None: the judge refuses the policy
        self.expected = expected
        self.answer = answer
        self.before = before        # flows that the judge had seen with this policy


# --- shrinking

def variants(document):
    """Smaller documents, the biggest cuts first."""
    rules = document.get("rules", [])
    step = len(rules)
    while step:
        for start in range(0, len(rules), step):
            yield {**document, "rules": rules[:start] + rules[start + step:]}
        step //= 2
    for key in ("dns", "inbound", "on_deny", "sets"):
        if key in document:
            yield {k: v for k, v in document.items() if k != key}
    for which, rule in enumerate(rules):
        for key in ("expires", "reason", "empty", "resolves_to", "sni"):
            if key in rule:
                smaller = {k: v for k, v in rule.items() if k != key}
                yield {**document, "rules": rules[:which] + [smaller] + rules[which + 1:]}
    yield from without_items(document)


def without_items(document):
    """Copies of the document with one list item or optional match key less."""
    def walk(node, path):
        if isinstance(node, list) and len(node) > 1 and path != ["rules"]:
            for place in range(len(node)):
                yield path, place
        pairs = node.items() if isinstance(node, dict) else \
            enumerate(node) if isinstance(node, list) else ()
        for key, value in pairs:
            if key in ("ports", "protocol", "icmp", "uid", "queries", "types") or \
                    path == ["sets"]:
                yield path, key
            yield from walk(value, path + [key])

    for path, place in list(walk(document, [])):
        smaller = copy.deepcopy(document)
        node = smaller
        for key in path:
            node = node[key]
        del node[place]
        yield smaller


def shrink(document, differs):
    """Greedily drop what the difference does not need."""
    deadline = time.monotonic() + SHRINK_SECONDS
    progress = True
    while progress and time.monotonic() < deadline:
        progress = False
        for smaller in variants(document):
            if time.monotonic() > deadline:
                break
            if differs(smaller):
                document, progress = smaller, True
                break
    return document


class Run:
    """One mode: a judge and what was counted with it."""

    def __init__(self, command, folder, seed, mode):
        self.command = command
        self.folder = folder
        self.seed = seed
        self.mode = mode
        self.path = os.path.join(folder, f"{mode}.json")
        self.judge = Judge(command, folder)
        self.seen = []              # flows sent with the present policy
        self.policies = self.packets = self.by_rule = self.allowed = 0
        self.questions = self.owned = 0

    def flow(self, policy):
        """What is asked next of a policy with names: a packet, a packet and its address's
        owners, or ("question", name)."""
        share = policy.rng.random()
        if share < 0.25:
            self.questions += 1
            return "question", policy.name()
        if share < 0.6:
            self.owned += 1
            return policy.owned()
        return policy.packet()

    def check_policy(self, number, deadline):
        rng = random.Random(f"{self.seed}/{self.mode}/{number}")
        policy = generate.RandomPolicy(rng)
        oracle = evaluator.Policy(policy.document)
        write_policy(self.path, policy.document)
        self.seen = []
        answer = self.judge.ask([f"policy {self.path}"])[0]
        if answer != "ok":
            raise Difference(policy.document, None, "ok", answer)
        self.policies += 1
        seen = self.seen = []
        names = policy.names and self.mode == "user"
        while len(seen) < PACKETS_PER_POLICY:
            flows = [self.flow(policy) if names else policy.packet() for _ in range(BATCH)]
            place = len(seen)
            seen += flows
            self.judge.send([flow_line(flow) for flow in flows])
            expected = [answer_of(oracle, flow) for flow in flows]
            answers = self.judge.receive(BATCH)
            for flow, ours, theirs in zip(flows, expected, answers):
                if not same(flow, ours, theirs):
                    raise Difference(policy.document, flow, ours, theirs, seen[:place])
                place += 1
            self.packets += BATCH
            self.by_rule += sum(e[2] == "rule" for e in expected)
            self.allowed += sum(e[0] == "allow" for e in expected)
            if time.monotonic() > deadline:
                break

    def still_differs(self, document, difference):
        """True if a fresh load of the document alone shows the same kind of difference."""
        try:
            oracle = evaluator.Policy(document)
        except evaluator.PolicyError:
            return False
        path = os.path.join(self.folder, f"{self.mode}-try.json")
        write_policy(path, document)
        loaded = self.judge.ask([f"policy {path}"])[0]
        if difference.flow is None:
            return loaded != "ok"
        if loaded != "ok":
            return False
        flow = difference.flow
        return not same(flow, answer_of(oracle, flow), self.judge.ask([flow_line(flow)])[0])

    def keep_flows(self, before, flow):
        path = os.path.join(self.folder, f"{self.mode}-flows.txt")
        with open(path, "w", encoding="utf-8") as file:
            for each in (*before, flow):
                if each:
                    file.write(flow_line(each) + "\n")
        return path

    def report(self, number, difference):
        flows_path = self.keep_flows(difference.before, difference.flow)
        print(f"DIFFERENCE seed {self.seed} mode {self.mode} policy number {number}")
        print(f"  policy:    {self.path}")
        print(f"  flow:      {flow_line(difference.flow) if difference.flow else '(load)'}")
        print(f"  evaluator: {text_of(difference.expected)}")
        print(f"  judge:     {difference.answer}")
        print(f"  flows up to it: {flows_path}", flush=True)
        if not self.still_differs(difference.document, difference):
            print("  the flow alone, after a fresh load, does not differ: "
                  "earlier flows matter; not shrunk")
            return
        small = shrink(difference.document, lambda doc: self.still_differs(doc, difference))
        path = os.path.join(self.folder, f"{self.mode}-shrunk.json")
        write_policy(path, small)
        loaded = self.judge.ask([f"policy {path}"])[0]
        answer = self.judge.ask([flow_line(difference.flow)])[0] if difference.flow else loaded
        expected = answer_of(evaluator.Policy(small), difference.flow) if difference.flow else "ok"
        print(f"  shrunk to {len(small.get('rules', []))} rules: {path}")
        print(json.dumps(small, indent=1))
        print(f"  evaluator: {text_of(expected)}")
        print(f"  judge:     {answer}")


def text_of(expected):
    return expected if isinstance(expected, str) else " ".join(expected)


def run_mode(run, first, seconds):
    """True if every answer agreed."""
    deadline = time.monotonic() + seconds
    number = first
    try:
        while time.monotonic() < deadline:
            run.check_policy(number, deadline)
            number += 1
    except Difference as difference:
        try:
            run.report(number, difference)
        except JudgeFailure as failure:
            print(f"  while shrinking: judge {failure}")
        return False
    except JudgeFailure as failure:
        print(f"JUDGE FAILED seed {run.seed} mode {run.mode} policy number {number} "
              f"({run.path}, flows {run.keep_flows(run.seen, None)}): {failure}")
        return False
    finally:
        status = run.judge.close()
    if status != 0:
        print(f"JUDGE FAILED seed {run.seed} mode {run.mode}: exit status {status} at the end")
        return False
    return True


def parse_arguments():
    parser = argparse.ArgumentParser(description="Compare the judge with the evaluator.")
    parser.add_argument("--build", help="build folder; the judge is DIR/tests/judge")
    parser.add_argument("--judge", help="the judge, if it is elsewhere")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--time", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--mode", choices=["user", "kernel", "both"], default="user")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER",
                        help="begin with this policy of the seed (to repeat a difference)")
    arguments = parser.parse_args()
    if not arguments.build and not arguments.judge:
        parser.error("--build or --judge is required")
    if arguments.judge is None:
        arguments.judge = os.path.join(arguments.build, "tests", "judge")
    if arguments.seed is None:
        arguments.seed = int.from_bytes(os.urandom(4), "big")
    return arguments


def main():
    arguments = parse_arguments()
    modes = ["user", "kernel"] if arguments.mode == "both" else [arguments.mode]
    folder = tempfile.mkdtemp(prefix="sluice-differential-")
    os.chmod(folder, 0o755)
    runs = []
    for mode in modes:
        command = [arguments.judge] + (["--kernel"] if mode == "kernel" else [])
        try:
            run = Run(command, folder, arguments.seed, mode)
        except OSError as error:
            shutil.rmtree(folder)
            print(f"cannot run {arguments.judge}: {error.strerror}")
            return 1
        runs.append(run)
        if not run_mode(run, arguments.first, arguments.time / len(modes)):
            return 1
    shutil.rmtree(folder)
    packets = sum(run.packets for run in runs)
    by_rule = sum(run.by_rule for run in runs) / max(packets, 1)
    allowed = sum(run.allowed for run in runs) / max(packets, 1)
    counts = ", ".join(f"{run.mode} {run.policies} policies {run.packets} packets"
                       for run in runs)
    counts += f", of them {sum(run.questions for run in runs)} questions and " \
              f"{sum(run.owned for run in runs)} with owners"
    enough = by_rule >= LEAST_SHARE
    print(f"seed {arguments.seed}: {counts}, {by_rule:.1%} decided by a rule"
          f"{'' if enough else ' (TOO FEW)'}, {allowed:.1%} allowed, 0 differences")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
