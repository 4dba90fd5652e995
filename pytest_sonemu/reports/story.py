"""The story of a test by the clock, short enough to be read: pure, from what was gathered."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["probe", "did", "undone", "state", "note", "log"]
MOST_LINES = 40
LONGEST_LINE = 200
# What is left out first where there is too much: log lines, then what went well.
_RANKS: dict[str, int] = {"state": 0, "did": 1, "probe": 1, "undone": 1, "note": 1, "log": 2}
# How long it took differs each time: " (0.001 s)" of a probe, " after 0.099 s" of a command.
_DURATION = re.compile(r" (?:after |\()\d+\.\d+ s\b\)?")
_WORDS = {"state": "now", "did": "did", "probe": "probe", "undone": "undone", "note": "note", "log": "log"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the story. `times` tells how often it came in a row."""

    time: float
    kind: Kind
    place: str
    text: str
    failed: bool = False
    blame: str = ""
    times: int = 1


def tell(entries: Iterable[Entry], began: float, *, where: str = "") -> list[str]:
    """At most 40 lines: the clock first, then what happened, identical lines in a row folded.

    `where` names the place of what did not fit.
    """
    folded = fold(sorted(entries, key=lambda entry: entry.time))
    if not folded:
        return []
    room = MOST_LINES - 1
    kept, left_out = (folded, []) if len(folded) <= room else _choose(folded, room - 1)
    lines = [f"began at {_clock(began)}"]
    lines += [_line(entry, began) for entry in kept]
    if left_out:
        counts = Counter(entry.place or "the bed" for entry in left_out)
        listing = ", ".join(f"{place} {count}" for place, count in counts.most_common(5))
        lines.append(
            f"not shown: {len(left_out)} lines ({listing}){f'; all of them: {where}' if where else ''}"
        )
    return lines


def tell_all(entries: Iterable[Entry], began: float) -> list[str]:
    """Every line, nothing folded."""
    return [_line(entry, began) for entry in sorted(entries, key=lambda entry: entry.time)]


def fold(entries: Sequence[Entry]) -> list[Entry]:
    """Lines that say the same of the same place, one after the other, as one line with their number.

    How long each took is not compared; the line has the first one's.
    """
    folded: list[Entry] = []
    for entry in entries:
        last = folded[-1] if folded else None
        if last is not None and _said(last) == _said(entry):
            folded[-1] = replace(last, times=last.times + entry.times)
        else:
            folded.append(entry)
    return folded


def _said(entry: Entry) -> tuple[Kind, str, bool, str]:
    return entry.kind, entry.place, entry.failed, _DURATION.sub("", entry.text)


def _choose(entries: list[Entry], room: int) -> tuple[list[Entry], list[Entry]]:
    """The most telling ones in their order: failures, then by kind, of each the latest."""
    ranked = sorted(
        range(len(entries)),
        key=lambda at: (not entries[at].failed, _RANKS[entries[at].kind], -at),
    )
    chosen = set(ranked[:room])
    kept = [entry for at, entry in enumerate(entries) if at in chosen]
    return kept, [entry for at, entry in enumerate(entries) if at not in chosen]


def _line(entry: Entry, began: float) -> str:
    mark = "!" if entry.failed else " "
    place = f"{entry.place}: " if entry.place and not entry.text.startswith(f"{entry.place} ") else ""
    folded = f" ({entry.times} times)" if entry.times > 1 else ""
    flat = " ".join(entry.text.split())
    room = LONGEST_LINE - len(folded)
    line = f"{entry.time - began:+9.3f} s {mark} {_WORDS[entry.kind]:<6} {place}{flat}"
    return (line if len(line) <= room else line[: room - 1] + "…") + folded


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment * 1000) % 1000:03d}"
