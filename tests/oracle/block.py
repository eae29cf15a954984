# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A policy's document as people write it: block YAML, which is read without libfyaml
(user/policy/yaml_plain.c). JSON is read with it."""
import json
import re

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*")


def _flow(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value != "null":
        return value
    return json.dumps(value)


def _rules(rules):
    for rule in rules:
        for number, (key, value) in enumerate(rule.items()):
            yield f"{'    ' if number else '  - '}{key}: {_flow(value)}"


def text(document):
    lines = []
    for key, value in document.items():
        if key == "rules" and value:
            lines += [f"{key}:", *_rules(value)]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"
