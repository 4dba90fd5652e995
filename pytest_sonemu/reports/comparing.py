"""What pytest shows when two of our results are not equal: the figures that differ, with their difference."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

_HEAD = 120


def explain(op: str, left: Any, right: Any) -> list[str] | None:
    """Lines for `assert left == right`; None leaves it to pytest.

    A result may tell its own by a method `explain_difference(other) -> list[str]`.
    """
    if op != "==" or (not _ours(left) and not _ours(right)):
        return None
    for one, other in ((left, right), (right, left)):
        own = getattr(one, "explain_difference", None)
        if own is not None:
            return [_head(left, right), *own(other)]
    if type(left) is not type(right) or not is_dataclass(left):
        return None
    return [_head(left, right), *_differences(left, right)]


def _ours(thing: Any) -> bool:
    return type(thing).__module__.startswith("pytest_sonemu.")


def _head(left: Any, right: Any) -> str:
    if type(left) is type(right) and is_dataclass(left):
        return f"{type(left).__name__} == {type(right).__name__}"
    texts = [text if len(text := repr(each)) <= _HEAD else f"{text[: _HEAD - 1]}…" for each in (left, right)]
    return " == ".join(texts)


def _differences(left: Any, right: Any, path: str = "") -> list[str]:
    lines = []
    for item in fields(left):
        if not item.compare:
            continue
        mine, theirs = getattr(left, item.name), getattr(right, item.name)
        name = f"{path}{item.name}"
        if mine == theirs:
            continue
        if type(mine) is type(theirs) and is_dataclass(mine):
            lines += _differences(mine, theirs, f"{name}.")
        elif isinstance(mine, (int, float)) and isinstance(theirs, (int, float)):
            lines.append(f"  {name}: {mine!r} != {theirs!r} ({mine - theirs:+g})")
        elif isinstance(mine, tuple) and isinstance(theirs, tuple):
            lines += _rows(name, mine, theirs)
        else:
            lines.append(f"  {name}: {mine!r} != {theirs!r}")
    return lines


def _rows(name: str, mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> list[str]:
    """Two rows of things: those that only one of them has."""
    lines = [f"  {name}: + {each!r}" for each in mine if each not in theirs]
    lines += [f"  {name}: - {each!r}" for each in theirs if each not in mine]
    return lines or [f"  {name}: the same in another order"]
