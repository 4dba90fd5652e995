"""YAML with the place of every key and value, from files that nobody vouches for.

Only plain data is built: no tag makes an object. Duplicate keys, files that are too large, nested too
deep or that grow by aliases, and bytes that are no UTF-8 are findings, not tracebacks. Scalars follow
YAML 1.2 (`true` and `false` are the booleans; `no`, `off` and `12:30` stay text, so that a PoP may be
called `no`), and every scalar keeps its text: `version: 0.10` is still "0.10".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.model import Place

if TYPE_CHECKING:
    from pytest_sonemu.descriptors.archive import PackageFiles

MAX_BYTES = 2_000_000
MAX_NODES = 200_000
MAX_DEPTH = 64
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Path: TypeAlias = "tuple[str | int, ...]"

_INTEGER = re.compile(r"[-+]?[0-9]{1,30}")
_BASED = re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | float | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": float("inf"), ".Inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan"),
}  # fmt: skip
_MAYBE_NO_TEXT = frozenset("0123456789+-.~tTfFnN")
_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS = frozenset(_TAG + name for name in ("int", "float", "bool", "null"))
_COLLECTION_TAGS = frozenset({None, "!", _TAG + "map", _TAG + "seq"})

# libyaml reads some ten times faster; where PyYAML was built without it the same code runs on.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node:
    """A value and its place. `value` is a scalar, a list of nodes, or a dict from key to node.

    `text` is a scalar as it is written; `keys` has the places of a mapping's keys.
    """

    __slots__ = ("column", "file", "keys", "line", "text", "value")

    def __init__(self, value: Any, text: str, file: str, line: int, column: int) -> None:
        self.value = value
        self.text = text
        self.file = file
        self.line = line
        self.column = column
        self.keys: dict[str, tuple[int, int]] = {}

    @property
    def place(self) -> Place:
        return Place(self.file, self.line, self.column)

    @property
    def kind(self) -> str:
        """What a person calls this value."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.value is None else f"'{self.text}'"

    def key_place(self, key: str) -> Place:
        line, column = self.keys[key]
        return Place(self.file, line, column)

    def plain(self) -> Plain:
        """The same as ordinary Python data."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value  # type: ignore[no-any-return]

    def places(self) -> dict[Path, Place]:
        """The place of each key and list item by its path: `{("vnfs", "fw", "image"): Place(...)}`."""
        return dict(self._walk(()))

    def _walk(self, path: Path) -> Iterator[tuple[Path, Place]]:
        if not path:
            yield path, self.place
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield (*path, key), self.key_place(key)
                yield from child._walk((*path, key))
        elif isinstance(self.value, list):
            for index, child in enumerate(self.value):
                yield (*path, index), child.place
                yield from child._walk((*path, index))


def load(
    data: bytes, file: str, findings: Findings, *, rule: str = "invalid_yaml", refuse: str | None = None
) -> Node | None:
    """The document in `data`, or None after a finding of `rule` that says why it cannot be read.

    An empty document is a node with the value None. `file` is the name that places bear. What is YAML,
    but is not read in descriptors, is a finding of `refuse` (None: of `rule` too).
    """
    findings.begin(file)
    if len(data) > MAX_BYTES:
        too_large(len(data), file, findings, rule)
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_of(file, data[: error.start].decode("utf-8", "replace"))
        findings.error(rule, f"not UTF-8: byte 0x{data[error.start]:02x}", place, "save the file as UTF-8")
        return None
    try:
        return _Reader(text, file, findings, refuse or rule).document()
    except _RefusedError as refused:
        findings.error(
            refuse or rule, refused.message, Place(file, refused.line, refused.column), refused.hint
        )
    except yaml.reader.ReaderError as error:
        place = _place_of(file, text[: error.position])
        findings.error(rule, f"not YAML: {error.reason}", place)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        if "nesting depth" in str(error.problem):  # newer parsers have a limit of their own, and look ahead
            findings.error(refuse or rule, TOO_DEEP, where)
            return None
        context = f" {error.context}" if error.context else ""
        findings.error(rule, f"not YAML: {error.problem or 'cannot be read'}{context}", where)
    except yaml.YAMLError as error:
        findings.error(rule, f"not YAML: {error}", Place(file))
    return None


def without_lines(node: Node) -> None:
    """Takes the lines from all places in a document that nobody wrote."""
    node.line = node.column = 0
    node.keys = dict.fromkeys(node.keys, (0, 0))
    children = node.value.values() if isinstance(node.value, dict) else node.value
    for child in children if isinstance(node.value, (dict, list)) else ():
        without_lines(child)


def load_member(files: PackageFiles, member: str, findings: Findings, rule: str) -> Node | None:
    """As `load`, for a descriptor in a package; one that is too large is not even unpacked."""
    shown = files.name_of(member)
    if files.size(member) > MAX_BYTES:
        too_large(files.size(member), shown, findings, rule)
        return None
    node = load(files[member], shown, findings, rule=rule, refuse="sonemu_yaml")
    if node is not None and member in files.made:
        without_lines(node)
    return node


def too_large(size: int, file: str, findings: Findings, rule: str) -> None:
    findings.error(rule, f"the file has {size} bytes, more than {MAX_BYTES}", Place(file))


class _RefusedError(Exception):
    def __init__(self, message: str, mark: Any, hint: str = "") -> None:
        self.message, self.hint = message, hint
        self.line, self.column = mark.line + 1, mark.column + 1


class _Reader:
    def __init__(self, text: str, file: str, findings: Findings, rule: str) -> None:
        self._loader = _Loader(text)
        self._next = self._loader.get_event
        self._file, self._findings, self._rule = file, findings, rule
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._count = 0

    def document(self) -> Node | None:
        try:
            self._next()  # the start of the stream
            start = self._next()
            if type(start) is yaml.StreamEndEvent:
                return Node(None, "", self._file, 1, 1)
            root = self._node(self._next(), 0)
            self._next()  # the end of the document
            following = self._next()
            if type(following) is not yaml.StreamEndEvent:
                hint = "remove the second '---' and what follows"
                raise _RefusedError("more than one document in the file", following.start_mark, hint)
            return root
        finally:
            self._loader.dispose()

    def _node(self, event: Any, depth: int) -> Node:
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._aliased(event)
        self._count += 1
        mark = event.start_mark
        if self._count > MAX_NODES:
            raise _RefusedError(f"more than {MAX_NODES} values in one file", mark)
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
            before = self._count
        if kind is yaml.ScalarEvent:
            node = Node(self._scalar(event), event.value, self._file, mark.line + 1, mark.column + 1)
        else:
            if depth >= MAX_DEPTH:
                raise _RefusedError(TOO_DEEP, mark)
            if event.tag not in _COLLECTION_TAGS:
                raise _RefusedError(f"tag '{event.tag}' is not allowed: descriptors are plain data", mark)
            node = Node(None, "", self._file, mark.line + 1, mark.column + 1)
            if kind is yaml.MappingStartEvent:
                self._mapping(node, depth + 1)
            else:
                node.value = self._sequence(depth + 1)
        if anchor is not None:
            self._anchors[anchor] = (node, self._count - before + 1)
        return node

    def _aliased(self, event: Any) -> Node:
        found = self._anchors.get(event.anchor)
        if found is None:
            problem = "refers to itself" if event.anchor in self._anchors else "is not defined before"
            raise _RefusedError(f"alias '*{event.anchor}' {problem}", event.start_mark)
        node, size = found
        self._count += size
        if self._count > MAX_NODES:
            raise _RefusedError(f"aliases expand to more than {MAX_NODES} values", event.start_mark)
        return node

    def _sequence(self, depth: int) -> list[Node]:
        items: list[Node] = []
        event = self._next()
        while type(event) is not yaml.SequenceEndEvent:
            items.append(self._node(event, depth))
            event = self._next()
        return items

    def _mapping(self, node: Node, depth: int) -> None:
        values: dict[str, Node] = {}
        merged: list[Node] = []
        keys = node.keys
        event = self._next()
        while type(event) is not yaml.MappingEndEvent:
            mark: Any = event.start_mark
            if type(event) is yaml.ScalarEvent:
                key = event.value
                if event.anchor is not None:
                    self._node(event, depth)
            else:
                named = self._node(event, depth)
                if isinstance(named.value, (dict, list)):
                    raise _RefusedError(f"{named.kind} cannot be a key", mark)
                key = named.text
            value = self._node(self._next(), depth)
            if key == "<<":
                merged.append(value)
            elif key in keys:
                place = Place(self._file, mark.line + 1, mark.column + 1)
                self._findings.error(
                    self._rule,
                    f"key '{key}' is written twice (first in line {keys[key][0]})",
                    place,
                    "remove one of them",
                )
            else:
                keys[key] = (mark.line + 1, mark.column + 1)
                values[key] = value
            event = self._next()
        for value in merged:
            self._merge(values, keys, value)
        node.value = values

    def _merge(self, values: dict[str, Node], keys: dict[str, tuple[int, int]], source: Node) -> None:
        for part in source.value if isinstance(source.value, list) else [source]:
            if not isinstance(part.value, dict):
                self._findings.error(self._rule, f"'<<' merges mappings, not {part.kind}", source.place)
                continue
            for key, value in part.value.items():
                if key not in values:
                    values[key], keys[key] = value, part.keys[key]

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if tag is None:
            return _resolve(text) if event.implicit[0] else text
        if tag in ("!", _TAG + "str"):
            return text
        if tag in _RESOLVED_TAGS:
            return _resolve(text)
        raise _RefusedError(f"tag '{tag}' is not allowed: descriptors are plain data", event.start_mark)


def _resolve(text: str) -> Any:
    if text and text[0] not in _MAYBE_NO_TEXT:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return text


def _place_of(file: str, before: str) -> Place:
    line = before.count("\n") + 1
    return Place(file, line, len(before) - (before.rfind("\n") + 1) + 1)
