"""Output of a run without what differs from one run to the next."""

from __future__ import annotations

import re

_CHANGES = (
    (r"\b\d\d:\d\d:\d\d\.\d+", "CLOCK"),
    (r"[+-]\d+\.\d{3} s", "SINCE"),
    (r"\b\d+(?:\.\d+)? ?(?:ms|us|s)\b", "TIME"),
    (r"\b(\w+?)\d*-[0-9a-f]{4}\b", "BED"),
    (r"/run/sonemu/\d+/", "/run/sonemu/UID/"),
    (r"^[_\-]{3,} ?(.*?) ?[_\-]{3,}$", r"--- \1 ---"),
)


def normalised(text: str) -> list[str]:
    """The lines, with times, clocks and names of beds replaced, and blanks in a row as one."""
    lines = []
    for line in text.splitlines():
        for pattern, word in _CHANGES:
            line = re.sub(pattern, word, line)
        lines.append(re.sub(r" {2,}", " ", line).strip())
    return [line for line in lines if line]
