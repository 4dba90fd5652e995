"""What reading a package, a topology or a `sonemu.yml` found: all of it, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.descriptors.rule_types import Level
from pytest_sonemu.descriptors.rules import LENIENT, Levels, at_least
from pytest_sonemu.errors import did_you_mean

__all__ = ["Finding", "Findings", "Level"]

# Beyond these a file is noise: what is found is still counted, and still keeps it from being deployed.
MOST_FINDINGS = 2_000
_MOST_SEARCHES = 200
_LONGEST = 600


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `rule` is stable: tools may filter by it; `hint` says what to do.

    `blocks`: the service cannot be deployed because of it, whatever level it was given. `about` tells
    findings of one place apart: `-key` for a key that is missing there.
    """

    rule: str
    level: Level
    message: str
    place: Place
    hint: str = ""
    blocks: bool = field(default=False, compare=False)
    about: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: {self.level}[{self.rule}]: {self.message}{hint}"


class Findings:
    """Gathers findings while files are read, so that a person sees all of them at once.

    `error` is for what makes a deployment impossible; the level of all else is that of its rule in the
    profile of `levels`, which the call only names for its reader.
    """

    def __init__(self, levels: Levels = LENIENT) -> None:
        self.levels = levels
        self._found: list[Finding] = []
        self._files: dict[str, int] = {}
        self._said: dict[tuple[Place, str], Level] = {}
        self._failed = False
        self._searches = 0
        self.dropped = 0

    def error(self, rule: str, message: str, place: Place, hint: str = "", about: str = "") -> None:
        self._failed = True
        self._say(rule, "error", message, place, hint, blocks=True, about=about)

    def warning(self, rule: str, message: str, place: Place, hint: str = "", about: str = "") -> None:
        self._say(rule, "warning", message, place, hint, blocks=False, about=about)

    def info(self, rule: str, message: str, place: Place, hint: str = "", about: str = "") -> None:
        self._say(rule, "info", message, place, hint, blocks=False, about=about)

    def say(
        self, level: Level, rule: str, message: str, place: Place, hint: str = "", about: str = ""
    ) -> None:
        {"error": self.error, "warning": self.warning, "info": self.info}[level](
            rule, message, place, hint, about
        )

    def add(self, finding: Finding) -> None:
        self._failed = self._failed or finding.blocks
        if len(self._found) >= MOST_FINDINGS:
            self.dropped += 1
            return
        self._files.setdefault(finding.place.file, len(self._files))
        key = (finding.place, finding.about)
        if key not in self._said or not at_least(self._said[key], finding.level):
            self._said[key] = finding.level
        self._found.append(finding)

    def near(self, wanted: str, existing: Iterable[str]) -> str:
        """`"did you mean 'x'?"` where one of `existing` is near, else an empty string.

        After many searches no more is searched: a file full of faults is read in bounded time.
        """
        self._searches += 1
        return did_you_mean(wanted, existing).strip(" ()") if self._searches <= _MOST_SEARCHES else ""

    def gravest(self, place: Place, about: str = "") -> Level | None:
        """The gravest level of what was found at this place (about this key, if `about` names one)."""
        return self._said.get((place, about))

    def begin(self, file: str) -> None:
        """Findings of this file are listed after those of the files that were begun before."""
        self._files.setdefault(file, len(self._files))

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings because of which nothing can be deployed."""
        return tuple(finding for finding in self.in_order() if finding.blocks)

    @property
    def failed(self) -> bool:
        return self._failed

    def in_order(self) -> tuple[Finding, ...]:
        """All findings, file by file in the order of reading, each file from top to bottom."""
        return tuple(
            sorted(self._found, key=lambda f: (self._files[f.place.file], f.place.line, f.place.column))
        )

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.in_order())

    def __len__(self) -> int:
        return len(self._found)

    def _say(
        self, rule: str, asked: Level, message: str, place: Place, hint: str, *, blocks: bool, about: str
    ) -> None:
        level = self.levels.of(rule, asked, blocks=blocks)
        if level != "off":
            self.add(Finding(rule, level, _cut(message), place, _cut(hint), blocks, about))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-40:]}"
