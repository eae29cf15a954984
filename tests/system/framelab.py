# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The frames of device_cases, played one after another."""
import collections
import os

import device_cases_in
import device_cases_ip
import device_cases_link
import device_cases_to
from device_cases import CONFIGS


def in_rounds(cases):
    """Those of one policy together, and each reason once in a round: a lab attaches
    again only to see a reason again (DeviceLab.configure), which takes longer than a frame."""
    seen = collections.Counter()

    def place(one):
        kind, case, _ = one
        seen[kind, case.config, case.reason] += 1
        rounds = seen[kind, case.config, case.reason] if case.reason else 0
        return kind, list(CONFIGS).index(case.config), rounds
    return sorted(cases, key=place)


CASES = in_rounds(
    (kind, case, family)
    for table in (device_cases_link, device_cases_ip, device_cases_to, device_cases_in)
    for case in table.CASES for family in case.families for kind in case.kinds)


def reasons_of(case):
    if case.silent or case.reason is None:
        return []
    return list(case.reason) if isinstance(case.reason, tuple) else [case.reason]


def play(lab, case, v6):
    """Sends the case's frames. Returns what says which have arrived of the last."""
    mark = os.urandom(8)
    steps = case.steps(v6, mark)
    sink = lab.port.capture if steps[-1][0] else lab.sink
    position = sink.position()
    for inbound, frame, header in steps:
        lab.send_in(frame) if inbound else lab.send(frame, header)
    match = case.mark or (lambda f: case.trace(mark) in f or mark.hex().encode() in f)
    return lambda seconds=0: sink.wait(match, position, seconds)
