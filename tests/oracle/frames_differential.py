#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Random frames: the device programs against the model of docs/devices.md.

    frames_differential.py --build DIR [--seed N] [--frames N] [--jobs N]
                           [--first EPISODE] [--tool PATH] [--directed]

First the episodes of frames_directed.py, which were made by hand, then random ones.
Every frame's fate, event and refusal are compared, and after each episode (a policy, a
device, some thousand frames) all counters. The first difference is shrunk and
printed; exit 1. So does a run in which too few frames reach a rule or are allowed.
"""
import argparse
import collections
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time

import differential
import frames
import frames_directed
import frames_tool
from frames_tool import Tool, ToolFailure
from generate_frames import Attach, Episode

FRAMES_PER_EPISODE = 2000
# A device answers 1,000 frames a second at most, and reports 5,000 at once.
REFUSALS_PER_EPISODE, EVENTS_PER_EPISODE = 900, 4500
LEAST_ASKED, LEAST_ALLOWED = 0.30, 0.10
MOST_FORGOTTEN = 0.10       # of the retransmissions: their notes share a small table
SHRINK_SECONDS = 90

Difference = collections.namedtuple("Difference", "kind text place")


class Counts:
    def __init__(self):
        self.frames = self.asked = self.allowed = self.episodes = self.switches = 0
        self.again = self.forgotten = 0         # retransmissions; reported again
        self.reasons = collections.Counter()

    def note(self, outcome):
        self.frames += 1
        self.asked += outcome.asked
        self.allowed += outcome.reason is None
        self.again += outcome.again
        self.reasons[outcome.reason or "(allowed)"] += 1

    def add(self, other):
        for name, value in vars(other).items():
            if name != "reasons":
                setattr(self, name, getattr(self, name) + value)
        self.reasons.update(other.reasons)


def expect(steps, counts=None):
    """(the device at the end, the steps that count, their outcomes): without what the
    model does not reach, and until the device would answer or report less because it is
    too much."""
    device = None
    taken, outcomes = [], []
    answers = events = 0
    for step in steps:
        if answers >= REFUSALS_PER_EPISODE or events >= EVENTS_PER_EPISODE:
            break
        if isinstance(step, Attach):
            binding = frames.Binding(step.mac, step.addresses)
            if device:
                device.attach(step.document, binding)
            else:
                device = frames.Device(step.document, binding)
            outcome = device.generation
        elif device.is_reached(*step):
            outcome = device.frame(step.direction, step.data, bool(step.gso))
            answers += bool(outcome.answer)
            events += outcome.event is not None
            if counts:
                counts.note(outcome)
        else:
            continue
        taken.append(step)
        outcomes.append(outcome)
    return device, taken, outcomes


def check(tool, steps, counts=None):
    """The first Difference between model and programs, or None."""
    device, steps, outcomes = expect(steps, counts)
    generation = model_generation = None
    forgotten = place = 0
    while place < len(steps):
        if isinstance(steps[place], Attach):
            generation = tool.attach(place == 0, *steps[place])
            model_generation = outcomes[place]
            place += 1
        end = place
        while end < len(steps) and not isinstance(steps[end], Attach):
            end += 1
        answers = tool.frames(steps[place:end])
        for frame, outcome, answer in zip(steps[place:end], outcomes[place:end], answers):
            found = frames_tool.compare(tool, frame, outcome, answer, generation)
            if found:
                return Difference(*found, place)
            if outcome.again and answer.events:
                device.count_denial(model_generation, outcome.reason, outcome.rule, outcome.event)
                forgotten += 1
            if answer.verdict == frames_tool.REFUSE:
                device.own_refusal(answer.refusal)
            place += 1
    if counts:
        counts.switches += model_generation - 1
        counts.forgotten += forgotten
    documents = [step.document for step in steps if isinstance(step, Attach)]
    found = frames_tool.compare_counters(device, tool.counters(), documents)
    return Difference(*found, len(steps) - 1) if found else None


# --- shrinking

def without(steps, low, high):
    """The steps but for these; the first attachment stays."""
    return steps[:low] + steps[high:]


def smaller_steps(steps):
    size = len(steps) // 2
    while size:
        for low in range(1, len(steps), size):
            yield without(steps, low, low + size)
        size //= 2


def smaller_policies(steps):
    for place, step in enumerate(steps):
        if not isinstance(step, Attach):
            continue
        for document in differential.variants(step.document):
            yield steps[:place] + [step._replace(document=document)] + steps[place + 1:]
        for key in ("device", "fragments", "mode", "default"):
            if key in step.document:
                less = {k: v for k, v in step.document.items() if k != key}
                yield steps[:place] + [step._replace(document=less)] + steps[place + 1:]
        for change in ({"mac": None}, {"addresses": None}):
            if step._replace(**change) != step:
                yield steps[:place] + [step._replace(**change)] + steps[place + 1:]


def smaller_frames(steps):
    for place, step in enumerate(steps):
        if not isinstance(step, Attach) and step.gso:
            yield steps[:place] + [step._replace(gso=0)] + steps[place + 1:]
        if not isinstance(step, Attach) and len(step.data) > 80:
            yield steps[:place] + [step._replace(data=step.data[:80])] + steps[place + 1:]


def shrink(tool, steps, kind):
    """Greedily drops steps, then parts of policies, then bytes."""
    deadline = time.monotonic() + SHRINK_SECONDS

    def differs(tried):
        try:
            found = check(tool, tried)
        except (ToolFailure, frames.evaluator.PolicyError) as failure:
            if tool.child.poll() is not None:
                raise
            return isinstance(failure, ToolFailure) and kind == "tool"
        return found is not None and found.kind == kind

    for candidates in (smaller_steps, smaller_policies, smaller_steps, smaller_frames):
        progress = True
        while progress and time.monotonic() < deadline:
            progress = False
            for tried in candidates(steps):
                if time.monotonic() > deadline:
                    break
                if differs(tried):
                    steps, progress = tried, True
                    break
    return steps


# --- telling

def hexdump(data):
    return "\n".join(f"      {at:04x}  {data[at:at + 16].hex(' ')}"
                     for at in range(0, len(data), 16))


def describe(outcome):
    if outcome.reason is None:
        return "passes"
    return f"denied: {outcome.reason}, rule {outcome.rule}, event {outcome.event}" \
        f"{', answered' if outcome.answer else ''}{', but passes' if outcome.passes else ''}"


def show_steps(steps):
    _, steps, outcomes = expect(steps)
    for number, (step, outcome) in enumerate(zip(steps, outcomes)):
        if isinstance(step, Attach):
            print(f"  [{number}] attach mac {step.mac} addresses {step.addresses}")
            print("      " + json.dumps(step.document))
        else:
            way = "from" if step.direction == "out" else "to"
            print(f"  [{number}] {way} the workload, {len(step.data)} bytes"
                  f"{f', gso size {step.gso}' if step.gso else ''}: model: {describe(outcome)}")
            print(hexdump(step.data))


def report(tool, seed, number, steps, difference):
    _, steps, _ = expect(steps)
    print(f"DIFFERENCE seed {seed} episode {number} step {difference.place}: "
          f"{difference.kind}: {difference.text}", flush=True)
    again = check(tool, steps)
    if again is None:
        print("  a second run of the episode shows none: time or earlier episodes matter")
        return
    end = again.place + 1
    small = shrink(tool, steps[:end], again.kind)
    last = check(tool, small)
    print(f"  shrunk to {len(small)} steps; " + (
        f"step {last.place}: {last.kind}: {last.text}" if last else "they differ now and then"))
    show_steps(small)


# --- runs

def run_directed(arguments):
    """How many hand-made episodes there are, and True if none differs; all are told."""
    folder = tempfile.mkdtemp(prefix="sluice-frames-")
    good, number = True, 0
    try:
        tool = Tool(arguments.tool, folder)
        for number, (name, steps) in enumerate(frames_directed.episodes(), 1):
            found = check(tool, steps)
            if found:
                good = False
                print(f"DIFFERENCE {name}, step {found.place}: {found.kind}: {found.text}")
                show_steps(steps)
        good = tool.close() == 0 and good
    except ToolFailure as failure:
        print(f"TOOL FAILED: {failure}")
        good = False
    finally:
        shutil.rmtree(folder)
    return number, good


def run_share(arguments, share, results):
    """One process: the episodes of its share."""
    counts = Counts()
    folder = tempfile.mkdtemp(prefix="sluice-frames-")
    tool = None
    good = False
    number = arguments.first + share
    try:
        tool = Tool(arguments.tool, folder)
        wanted = arguments.frames // arguments.jobs
        while counts.frames < wanted:
            rng = random.Random(f"{arguments.seed}/{number}")
            steps = list(Episode(rng).steps(FRAMES_PER_EPISODE))
            difference = check(tool, steps, counts)
            if difference:
                report(tool, arguments.seed, number, steps, difference)
                break
            counts.episodes += 1
            number += arguments.jobs
        else:
            good = True
    except ToolFailure as failure:
        print(f"TOOL FAILED seed {arguments.seed} episode {number}: {failure}")
    finally:
        if tool and tool.close() != 0 and good:
            print("TOOL FAILED at its end")
            good = False
        shutil.rmtree(folder)
        sys.stdout.flush()
        results.put((good, counts))


def parse_arguments():
    parser = argparse.ArgumentParser(description="Compare the device programs with the model.")
    parser.add_argument("--build", help="build folder; the tool is DIR/tests/frames")
    parser.add_argument("--tool", help="the tool, if it is elsewhere")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--first", type=int, default=0, metavar="EPISODE",
                        help="begin with this episode of the seed (to repeat a difference)")
    parser.add_argument("--directed", action="store_true", help="only the hand-made episodes")
    arguments = parser.parse_args()
    if not arguments.build and not arguments.tool:
        parser.error("--build or --tool is required")
    if arguments.tool is None:
        arguments.tool = os.path.join(arguments.build, "tests", "frames")
    if arguments.seed is None:
        arguments.seed = int.from_bytes(os.urandom(4), "big")
    return arguments


def run_all(arguments):
    """(True if nothing differed, the counts of all processes)"""
    results = multiprocessing.Queue()
    children = [multiprocessing.Process(target=run_share, args=(arguments, share, results))
                for share in range(arguments.jobs)]
    for child in children:
        child.start()
    total, good = Counts(), True
    for _ in children:
        fine, counts = results.get()
        good = good and fine
        total.add(counts)
    for child in children:
        child.join()
    return good, total


def main():
    arguments = parse_arguments()
    start = time.monotonic()
    directed, fine = run_directed(arguments)
    if arguments.directed:
        print(f"{directed} episodes, {'0 differences' if fine else 'DIFFERENT'}")
        return 0 if fine else 1
    good, counts = run_all(arguments)
    good = good and fine
    for reason, count in counts.reasons.most_common():
        print(f"  {count:8} {reason}")
    whole = max(counts.frames, 1)
    asked, allowed = counts.asked / whole, counts.allowed / whole
    forgotten = counts.forgotten / max(counts.again, 1)
    doubts = [text for text, bad in (
        ("too few reach a rule", asked < LEAST_ASKED), ("too few allowed", allowed < LEAST_ALLOWED),
        ("too many forgotten", forgotten > MOST_FORGOTTEN)) if bad]
    print(f"  {counts.again} retransmissions of denied segments, {forgotten:.1%} reported again")
    print(f"seed {arguments.seed}: {directed} episodes by hand; "
          f"{counts.frames} frames in {counts.episodes} episodes, "
          f"{counts.switches} new policies, {time.monotonic() - start:.0f} s; "
          f"{asked:.1%} reached a rule, {allowed:.1%} allowed; "
          + ", ".join(["0 differences" if good else "DIFFERENT", *doubts]))
    return 0 if good and not doubts else 1


if __name__ == "__main__":
    sys.exit(main())
