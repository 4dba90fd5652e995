"""What reading a package, a topology or a `sonemu.yml` found: all of it, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pytest_sonemu.descriptors.model import Place

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `rule` is stable: tools may filter by it; `hint` says what to do."""

    rule: str
    level: Level
    message: str
    place: Place
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: {self.level}[{self.rule}]: {self.message}{hint}"


class Findings:
    """Gathers findings while files are read, so that a person sees all of them at once.

    An error is what makes a deployment impossible; what is merely against a schema is a warning.
    """

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._files: dict[str, int] = {}

    def error(self, rule: str, message: str, place: Place, hint: str = "") -> None:
        self.add(Finding(rule, "error", message, place, hint))

    def warning(self, rule: str, message: str, place: Place, hint: str = "") -> None:
        self.add(Finding(rule, "warning", message, place, hint))

    def info(self, rule: str, message: str, place: Place, hint: str = "") -> None:
        self.add(Finding(rule, "info", message, place, hint))

    def add(self, finding: Finding) -> None:
        self._files.setdefault(finding.place.file, len(self._files))
        self._found.append(finding)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.in_order() if finding.level == "error")

    @property
    def failed(self) -> bool:
        return any(finding.level == "error" for finding in self._found)

    def in_order(self) -> tuple[Finding, ...]:
        """All findings, file by file in the order of reading, each file from top to bottom."""
        return tuple(
            sorted(self._found, key=lambda f: (self._files[f.place.file], f.place.line, f.place.column))
        )

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.in_order())

    def __len__(self) -> int:
        return len(self._found)
