"""Two rows of texts side by side, for comparisons that fail. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import ndiff


def side_by_side(seen: Sequence[str], expected: Sequence[str], more: str, less: str) -> list[str]:
    """A line each, in order: `+` and `more` with what was only seen, `-` and `less` with the rest."""
    lines = [line for line in ndiff(expected, seen) if line[0] != "?"]
    width = max(map(len, lines), default=0)
    notes = {"+": more, "-": less}
    return [f"  {line:<{width}}  {notes.get(line[0], '')}".rstrip() for line in lines]
