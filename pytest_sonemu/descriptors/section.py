"""Reading one mapping of a file: what is missing, of the wrong kind or unknown becomes a finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from pytest_sonemu.descriptors.findings import Findings, Level
from pytest_sonemu.descriptors.located import Node
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.errors import did_you_mean

T = TypeVar("T")
_TRUE, _FALSE = ("yes", "on", "true"), ("no", "off", "false")


class Section:
    """A mapping that is being read. `rule` names its shape findings, `what` is what a person calls it."""

    def __init__(self, node: Node, findings: Findings, rule: str, what: str) -> None:
        self.node, self.findings, self.rule, self.what = node, findings, rule, what
        self._values: dict[str, Node] = node.value

    @classmethod
    def of(
        cls, node: Node, findings: Findings, rule: str, what: str, *, level: Level = "error"
    ) -> Section | None:
        """The section in `node`, or None after a finding if it is no mapping."""
        if isinstance(node.value, dict):
            return cls(node, findings, rule, what)
        _say(findings, level, rule, f"{what} is {node.kind}, not a mapping", node.place)
        return None

    @property
    def place(self) -> Place:
        return self.node.place

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def node_of(self, key: str) -> Node | None:
        """The value of `key`, if it is there and not empty."""
        node = self._values.get(key)
        return None if node is None or node.value is None else node

    def place_of(self, key: str) -> Place:
        """The place of the value of `key`, else of the key, else of the section."""
        node = self._values.get(key)
        return node.place if node is not None else self.place

    def text(self, *keys: str, required: Level | None = None, exact: bool = False) -> str | None:
        """The text of the first of `keys` that is there, without white space around it.

        `exact` warns of a number or boolean written without quotes, which tools read differently.
        """
        for key in keys:
            node = self.node_of(key)
            if node is None:
                continue
            if isinstance(node.value, (dict, list)):
                self.say(
                    required or "warning", f"'{key}' of {self.what} is {node.kind}, not a text", node.place
                )
                return None
            if exact and not isinstance(node.value, str):
                hint = f'write {key}: "{node.text}"'
                self.say(
                    "warning", f"'{key}' is not a text: other tools read a number here", node.place, hint
                )
            return node.text.strip() or None
        if required is not None:
            self.missing(keys[0], required)
        return None

    def number(self, key: str, *, level: Level = "warning") -> float | None:
        """A finite number of 0 or more; a number in quotes is taken with a warning."""
        node = self.node_of(key)
        if node is None:
            return None
        value = node.value
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                pass
            else:
                self.say("warning", f"'{key}' is a text, not a number", node.place, "remove the quotes")
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or value < 0
        ):
            self.say(level, f"'{key}' of {self.what} is {node.kind}, not a number of 0 or more", node.place)
            return None
        return float(value)

    def flag(self, key: str) -> bool | None:
        node = self.node_of(key)
        if node is None or isinstance(node.value, bool):
            return None if node is None else bool(node.value)
        if isinstance(node.value, str) and node.value.lower() in (*_TRUE, *_FALSE):
            return node.value.lower() in _TRUE
        self.say("warning", f"'{key}' of {self.what} is {node.kind}, not true or false", node.place)
        return None

    def quantity(self, key: str, read: Callable[[float | str], T]) -> T | None:
        """A quantity with a unit by one of `units.py`; what cannot be read is an error."""
        node = self.node_of(key)
        if node is None:
            return None
        if isinstance(node.value, (dict, list)):
            self.say("error", f"'{key}' of {self.what} is {node.kind}, not a quantity", node.place)
            return None
        try:
            return read(node.value)
        except (ValueError, OverflowError) as error:
            self.say("error", f"'{key}': {error}", node.place)
            return None

    def items(self, key: str, *, level: Level = "error") -> list[Node]:
        """The items of the list at `key`; none if it is not there."""
        node = self.node_of(key)
        if node is None:
            return []
        if not isinstance(node.value, list):
            self.say(level, f"'{key}' of {self.what} is {node.kind}, not a list", node.place)
            return []
        return node.value

    def sections(self, key: str, what: str, *, level: Level = "error") -> list[Section]:
        """The mappings in the list at `key`."""
        found = (
            Section.of(item, self.findings, self.rule, what, level=level)
            for item in self.items(key, level=level)
        )
        return [section for section in found if section is not None]

    def section(self, key: str, what: str, *, level: Level = "warning") -> Section | None:
        node = self.node_of(key)
        return None if node is None else Section.of(node, self.findings, self.rule, what, level=level)

    def missing(self, key: str, level: Level) -> None:
        near = did_you_mean(key, self._values).strip(" ()")
        self.say(level, f"{self.what} has no '{key}'", self.place, near)

    def only(self, known: Iterable[str], *, level: Level = "warning") -> None:
        """Says which keys are none of `known`."""
        names = frozenset(known)
        for key in self._values:
            if key not in names:
                near = did_you_mean(key, sorted(names)).strip(" ()")
                hint = near or (f"known are: {', '.join(sorted(names))}" if len(names) <= 8 else "")
                self.say(level, f"unknown key '{key}' in {self.what}", self.node.key_place(key), hint)

    def say(self, level: Level, message: str, place: Place, hint: str = "") -> None:
        _say(self.findings, level, self.rule, message, place, hint)


def _say(findings: Findings, level: Level, rule: str, message: str, place: Place, hint: str = "") -> None:
    {"error": findings.error, "warning": findings.warning, "info": findings.info}[level](
        rule, message, place, hint
    )
