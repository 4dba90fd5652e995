"""Reading one mapping of a file: what is missing, of the wrong kind or unknown becomes a finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from pytest_sonemu.descriptors.findings import Findings, Level
from pytest_sonemu.descriptors.located import Node
from pytest_sonemu.descriptors.model import Place

T = TypeVar("T")
_TRUE, _FALSE = ("yes", "on", "true"), ("no", "off", "false")


class Section:
    """A mapping that is being read. `rule` names its shape findings, `what` is what a person calls it."""

    def __init__(self, node: Node, findings: Findings, rule: str, what: str) -> None:
        self.node, self.findings, self.rule, self.what = node, findings, rule, what
        self._values: dict[str, Node] = node.value

    @classmethod
    def of(
        cls,
        node: Node,
        findings: Findings,
        rule: str,
        what: str,
        *,
        level: Level = "error",
        shape: str | None = None,
    ) -> Section | None:
        """The section in `node`, or None after a finding (of rule `shape`) if it is no mapping."""
        if isinstance(node.value, dict):
            return cls(node, findings, rule, what)
        findings.say(level, shape or rule, f"{what} is {node.kind}, not a mapping", node.place)
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

    def text(
        self,
        *keys: str,
        required: Level | None = None,
        shape: str | None = None,
        level: Level = "warning",
    ) -> str | None:
        """The text of the first of `keys` that is there, without white space around it.

        A text that is `required` and missing is a finding of that level; what is no text one of it or
        of `level`; both of rule `shape`.
        """
        for key in keys:
            node = self.node_of(key)
            if node is None:
                continue
            if isinstance(node.value, (dict, list)):
                message = f"'{key}' of {self.what} is {node.kind}, not a text"
                self.findings.say(required or level, shape or self.rule, message, node.place)
                return None
            text = node.text.strip()
            if not text and required is not None:
                message = f"'{key}' of {self.what} is empty"
                self.findings.say(required, shape or self.rule, message, node.place)
            return text or None
        if required is not None:
            self.missing(keys[0], required, shape=shape)
        return None

    def number(self, key: str, *, level: Level = "warning", shape: str | None = None) -> float | None:
        """A finite number of 0 or more; a number in quotes is taken. A finding is of rule `shape`."""
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
                message = f"'{key}' is a text, not a number"
                self.findings.warning(shape or self.rule, message, node.place, "remove the quotes")
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or value < 0
        ):
            message = f"'{key}' of {self.what} is {node.kind}, not a number of 0 or more"
            self.findings.say(level, shape or self.rule, message, node.place)
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

    def items(self, key: str, *, level: Level = "error", shape: str | None = None) -> list[Node]:
        """The items of the list at `key`; none if it is not there, or after a finding (of rule `shape`)."""
        node = self.node_of(key)
        if node is None:
            return []
        if not isinstance(node.value, list):
            message = f"'{key}' of {self.what} is {node.kind}, not a list"
            self.findings.say(level, shape or self.rule, message, node.place)
            return []
        return node.value

    def sections(
        self, key: str, what: str, *, level: Level = "error", shape: str | None = None
    ) -> list[Section]:
        """The mappings in the list at `key`."""
        found = (
            Section.of(item, self.findings, self.rule, what, level=level, shape=shape)
            for item in self.items(key, level=level, shape=shape)
        )
        return [section for section in found if section is not None]

    def section(self, key: str, what: str, *, level: Level = "warning") -> Section | None:
        node = self.node_of(key)
        return None if node is None else Section.of(node, self.findings, self.rule, what, level=level)

    def missing(self, key: str, level: Level, *, shape: str | None = None) -> None:
        near = self.findings.near(key, self._values)
        message = f"{self.what} has no '{key}'"
        self.findings.say(level, shape or self.rule, message, self.place, near, about=f"-{key}")

    def only(self, known: Iterable[str], *, level: Level = "warning") -> None:
        """Says which keys are none of `known`."""
        names = frozenset(known)
        for key in self._values:
            if key not in names:
                near = self.findings.near(key, sorted(names))
                hint = near or (f"known are: {', '.join(sorted(names))}" if len(names) <= 8 else "")
                message = f"unknown key '{key}' in {self.what}"
                self.say(level, message, self.node.key_place(key), hint)

    def say(self, level: Level, message: str, place: Place, hint: str = "") -> None:
        self.findings.say(level, self.rule, message, place, hint)
