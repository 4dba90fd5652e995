"""Shapes of documents: what a published schema demands, as data.

A shape judges a located document and says each fault with its place (`complaints`), and writes itself
as JSON Schema for editors (`json_schema`). So what is checked and what is published is one thing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_sonemu.descriptors.located import Node
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.errors import did_you_mean

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Complaint:
    """A fault: `about` is `-key` for a missing key, `+key` for one that is not allowed, else empty.

    `?key` is no fault of the schema: a key that it lets pass, and that is a slip of a known one.
    """

    place: Place
    message: str
    hint: str = ""
    about: str = ""


class Shape(Protocol):
    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        """What is wrong with `node`, which a person calls `name`."""

    def json_schema(self) -> Json:
        """The same demand as JSON Schema (2020-12)."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text, of a form where `pattern` is given; `says` is that form in words.

    `loose` takes numbers and booleans too: what is written is meant as text wherever it is read.
    """

    pattern: str | None = None
    says: str = ""
    loose: bool = False
    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        scalar = not isinstance(node.value, (dict, list)) and node.value is not None
        if not isinstance(node.value, str) and not (self.loose and scalar):
            hint = f'write it in quotes: "{node.text}"' if scalar else ""
            yield Complaint(node.place, f"{name} is {_kind(node)}, not a text", hint)
        elif self.pattern is not None and not re.search(self.pattern, node.text, re.ASCII):
            yield Complaint(node.place, f"{name} is '{_cut(node.text)}'", f"allowed: {self.says}")

    def json_schema(self) -> Json:
        kinds: Json = {"type": ["string", "number", "boolean"] if self.loose else "string"}
        if self.pattern is not None:
            kinds["pattern"] = self.pattern
            if self.loose and not re.search(self.pattern, "-1", re.ASCII):
                kinds["minimum"] = 0  # a pattern is for texts only, and no sign begins this one
        return kinds | _described(self.description)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some texts."""

    values: tuple[str, ...]
    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        if not isinstance(node.value, str) or node.value not in self.values:
            near = did_you_mean(node.text, self.values).strip(" ()")
            message = f"{name} is {node.kind}, none of {', '.join(self.values)}"
            yield Complaint(node.place, message, near)

    def json_schema(self) -> Json:
        return {"enum": list(self.values)} | _described(self.description)


@dataclass(frozen=True, slots=True)
class Number:
    """A number: `above` or at `least` a bound, up to `most`; `whole` numbers only."""

    above: float | None = None
    least: float | None = None
    most: float | None = None
    whole: bool = False
    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        value = node.value
        wanted = "a whole number" if self.whole else "a number"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            hint = "remove the quotes" if isinstance(value, str) and _is_number(value) else ""
            yield Complaint(node.place, f"{name} is {_kind(node)}, not {wanted}", hint)
        elif self.whole and value != value // 1:
            yield Complaint(node.place, f"{name} is {node.kind}, not {wanted}")
        elif self.above is not None and not value > self.above:
            yield Complaint(node.place, f"{name} is {node.kind}, not above {self.above:g}")
        elif self.least is not None and not value >= self.least:
            yield Complaint(node.place, f"{name} is {node.kind}, less than {self.least:g}")
        elif self.most is not None and not value <= self.most:
            yield Complaint(node.place, f"{name} is {node.kind}, more than {self.most:g}")

    def json_schema(self) -> Json:
        bounds = {"exclusiveMinimum": self.above, "minimum": self.least, "maximum": self.most}
        kind = {"type": "integer" if self.whole else "number"}
        return (
            kind
            | {key: bound for key, bound in bounds.items() if bound is not None}
            | _described(self.description)
        )


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        if not isinstance(node.value, bool):
            yield Complaint(node.place, f"{name} is {_kind(node)}, not true or false")

    def json_schema(self) -> Json:
        return {"type": "boolean"} | _described(self.description)


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty value."""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        if node.value is not None:
            yield Complaint(node.place, f"{name} is {_kind(node)}, not empty")

    def json_schema(self) -> Json:
        return {"type": "null"}


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever is written."""

    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        return iter(())

    def json_schema(self) -> Json:
        return _described(self.description)


@dataclass(frozen=True, slots=True)
class Items:
    """A list of `item`s, from `least` to `most` of them, none twice where they are `unique`."""

    item: Shape
    least: int = 0
    most: int | None = None
    unique: bool = False
    called: str = ""
    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        if not isinstance(node.value, list):
            yield Complaint(node.place, f"{name} is {_kind(node)}, not a list")
            return
        if len(node.value) < self.least:
            yield Complaint(
                node.place, f"{name} has {len(node.value) or 'no'} items, not {self.least} or more"
            )
        if self.most is not None and len(node.value) > self.most:
            yield Complaint(node.place, f"{name} has {len(node.value)} items, more than {self.most}")
        seen: set[str] = set()
        for item in node.value:
            yield from self.item.complaints(item, self.called or f"an item of {name}")
            if self.unique:
                text = json.dumps(item.plain(), sort_keys=True, default=str)
                if text in seen:
                    yield Complaint(item.place, f"an item of {name} is there twice")
                seen.add(text)

    def json_schema(self) -> Json:
        schema: Json = {"type": "array", "items": self.item.json_schema()}
        if self.least:
            schema["minItems"] = self.least
        if self.most is not None:
            schema["maxItems"] = self.most
        if self.unique:
            schema["uniqueItems"] = True
        return schema | _described(self.description)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping with known keys. `closed`: no other is allowed; `any_of`: one of these must be there.

    `patterns` has the shapes of keys that a pattern is found in; `called` is what a person calls it.
    """

    fields: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    closed: bool = True
    any_of: tuple[str, ...] = ()
    called: str = ""
    description: str = ""
    patterns: Mapping[str, Shape] = field(default_factory=dict)

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        name = self.called or name
        if not isinstance(node.value, dict):
            yield Complaint(node.place, f"{name} is {_kind(node)}, not a mapping")
            return
        for key in self.required:
            if key not in node.value:
                near = did_you_mean(key, [k for k in node.value if k not in self.fields]).strip(" ()")
                yield Complaint(node.place, f"{name} has no '{key}'", near, f"-{key}")
        if self.any_of and not any(key in node.value for key in self.any_of):
            listed = " or ".join(f"'{key}'" for key in self.any_of)
            yield Complaint(node.place, f"{name} has no {listed}", "", f"-{self.any_of[0]}")
        for key, child in node.value.items():
            shape = self.fields.get(key) or next(
                (found for pattern, found in self.patterns.items() if re.search(pattern, key)), None
            )
            if shape is not None:
                yield from shape.complaints(child, f"'{_cut(key)}' of {name}")
            else:
                missing = [other for other in self.fields if other not in node.value]
                near = did_you_mean(key, missing).strip(" ()")
                hint = near or (f"known are: {', '.join(self.fields)}" if len(self.fields) <= 8 else "")
                message = f"unknown key '{_cut(key)}' in {name}"
                if self.closed:
                    yield Complaint(node.key_place(key), message, hint, f"+{key}")
                elif near:
                    yield Complaint(node.key_place(key), message, near, f"?{key}")

    def json_schema(self) -> Json:
        schema: Json = {
            "type": "object",
            "properties": {key: shape.json_schema() for key, shape in self.fields.items()},
        }
        if self.patterns:
            schema["patternProperties"] = {
                pattern: shape.json_schema() for pattern, shape in self.patterns.items()
            }
        if self.required:
            schema["required"] = list(self.required)
        if self.any_of:
            schema["anyOf"] = [{"required": [key]} for key in self.any_of]
        if self.closed:
            schema["additionalProperties"] = False
        return schema | _described(self.description)


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping from names that the author chooses to values of one shape."""

    value: Shape
    pattern: str | None = None
    says: str = ""
    called: str = "an entry"
    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        if not isinstance(node.value, dict):
            yield Complaint(node.place, f"{name} is {_kind(node)}, not a mapping")
            return
        for key, child in node.value.items():
            if self.pattern is not None and not re.search(self.pattern, key, re.ASCII):
                yield Complaint(node.key_place(key), f"'{_cut(key)}' in {name}", f"allowed: {self.says}")
            yield from self.value.complaints(child, f"{self.called} '{_cut(key)}'")

    def json_schema(self) -> Json:
        schema: Json = {"type": "object", "additionalProperties": self.value.json_schema()}
        if self.pattern is not None:
            schema["propertyNames"] = {"pattern": self.pattern}
        return schema | _described(self.description)


@dataclass(frozen=True, slots=True)
class Switch:
    """A mapping of one of two kinds: `other` where its key `key` is there, else `usual`."""

    key: str
    other: Table
    usual: Table

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        chosen = self.other if isinstance(node.value, dict) and self.key in node.value else self.usual
        yield from chosen.complaints(node, name)

    def json_schema(self) -> Json:
        return {"oneOf": [self.usual.json_schema(), self.other.json_schema()]}


@dataclass(frozen=True, slots=True)
class Either:
    """A value of any of some shapes; what is wrong is said by the one that is nearest in kind."""

    shapes: tuple[Shape, ...]
    description: str = ""

    def complaints(self, node: Node, name: str) -> Iterator[Complaint]:
        answers = [list(shape.complaints(node, name)) for shape in self.shapes]
        if all(answers):
            # A complaint deeper inside means that this kind was meant.
            yield from max(answers, key=lambda found: (found[0].place != node.place, -len(found)))

    def json_schema(self) -> Json:
        return {"anyOf": [shape.json_schema() for shape in self.shapes]} | _described(self.description)


@dataclass(frozen=True, slots=True)
class Document:
    """A whole file: its shape, and what its JSON Schema is called."""

    title: str
    description: str
    root: Table
    identifier: str = field(default="")

    def json_schema(self) -> Json:
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        if self.identifier:
            head["$id"] = self.identifier
        return head | {"title": self.title, "description": self.description} | self.root.json_schema()

    def json_text(self) -> str:
        """The JSON Schema as it is stored: indented, one line feed at the end."""
        return json.dumps(self.json_schema(), indent=2, ensure_ascii=False) + "\n"


def _described(text: str) -> Json:
    return {"description": text} if text else {}


def _kind(node: Node) -> str:
    if isinstance(node.value, bool):
        return f"{node.text}, a truth value"
    if isinstance(node.value, (int, float)):
        return f"{_cut(node.text)}, a number"
    return f"'{_cut(node.text)}'" if isinstance(node.value, str) else node.kind


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
