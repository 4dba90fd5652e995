"""What one test asks for, and when two tests ask for the same."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass

from pytest_sonemu.sharing.settings import Scope, TestSettings


@dataclass(frozen=True)
class Ask:
    """A bed, with an instance on it where `package` is given.

    `place` is the node id within which it is shared ("" for the session), `seed` that of its
    bed. Two asks with the same `key` share; with the same `content` they would fail for the same cause.
    """

    topology: object = None
    package: object = None
    options: Mapping[str, object] = field(default_factory=dict)
    scope: Scope = "session"
    place: str = ""
    seed: int | None = None

    @classmethod
    def of(cls, settings: TestSettings, place: str) -> Ask:
        return cls(
            settings.topology, settings.package, settings.options, settings.scope, place, settings.seed
        )

    @property
    def images(self) -> Mapping[str, str]:
        images = self.options.get("images")
        return dict(images) if isinstance(images, Mapping) else {}

    @property
    def bed_content(self) -> Hashable:
        """The part of `content` that decides whether a bed can be booted."""
        return frozen(self.topology)

    @property
    def content(self) -> Hashable:
        return (frozen(self.topology), frozen(self.package), frozen(self.options))

    @property
    def key(self) -> Hashable:
        return (self.content, self.scope, self.place, self.seed)


class _Same:
    """Stands for an object that cannot be compared: equal to itself only, and keeps it alive."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)


def frozen(value: object) -> Hashable:
    """A hashable likeness of `value`: equal for equal content, whatever its containers are."""
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return (type(value).__name__, value)
    if isinstance(value, os.PathLike):
        return ("path", os.fspath(value))
    if isinstance(value, Mapping):
        return ("mapping", frozenset((frozen(key), frozen(inner)) for key, inner in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", tuple(frozen(each) for each in value))
    if isinstance(value, (set, frozenset)):
        return ("set", frozenset(frozen(each) for each in value))
    if is_dataclass(value) and not isinstance(value, type):
        return (
            type(value),
            tuple(frozen(getattr(value, each.name)) for each in fields(value) if each.compare),
        )
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return value


def shown(value: object) -> str:
    """A topology or package in a word for a person."""
    if value is None:
        return "one PoP"
    name = getattr(value, "name", None)  # a Path's is its last part
    return name if isinstance(name, str) else str(value)
