# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Policies for ways past the hooks, and for who keeps his privileges."""
import pathlib

from lab import PEER4, PEER6

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEEP = "--keep-privileges"


def policy(*rules, **settings):
    lines = ["sluice: 1", "name: bypass"] + [f"{k}: {v}" for k, v in settings.items()] + ["rules:"]
    return "\n".join(lines + [f"  - {rule}" for rule in rules]) + "\n"


PROBE = f'allow: [{PEER4}, "{PEER6}"]'
