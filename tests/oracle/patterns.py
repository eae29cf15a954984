# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Names as docs/names.md has them: patterns, and which names they cover."""
import re

LABEL = re.compile(r"[a-z0-9_-]{1,63}")
LONGEST = 253


def is_name(text):
    return len(text) <= LONGEST and all(LABEL.fullmatch(label) for label in text.split("."))


class Pattern:
    """`name`, `*.name` or `*`; None if the text is none of them."""

    def __init__(self, text):
        self.text = text.lower()

    @classmethod
    def parse(cls, text):
        pattern = cls(text)
        rest = pattern.text[2:] if pattern.text.startswith("*.") else pattern.text
        if pattern.text == "*" or (is_name(rest) and not rest.split(".")[-1].isdigit()):
            return pattern
        return None

    def covers(self, name):
        if self.text == "*":
            return True
        if self.text.startswith("*."):
            return name.endswith(self.text[1:]) and len(name) > len(self.text) - 1
        return name == self.text
