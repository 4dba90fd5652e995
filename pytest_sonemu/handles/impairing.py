"""Impairments as people write them: `delay="50ms"`, `loss="1%"`, for both directions or one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from pytest_sonemu import units
from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import SettingsError, did_you_mean
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.relay.model import Bursts, Direction, Impairment

Both = tuple[Impairment, Impairment]


def _bursts(value: object) -> Bursts:
    if isinstance(value, Bursts):
        return value
    raise ValueError(f"{value!r} is not a Bursts(enter=, leave=)")


def _whole(value: float | str) -> int:
    return units.size_bytes(value)


_PARSERS: dict[str, Callable[[Any], object]] = {
    "rate": units.bits_per_second,
    "burst": units.size_bytes,
    "queue_packets": _whole,
    "queue_bytes": units.size_bytes,
    "delay": units.seconds,
    "jitter": units.seconds,
    "distribution": str,
    "jitter_reorders": bool,
    "loss": units.share,
    "loss_correlation": units.share,
    "bursts": _bursts,
    "duplicate": units.share,
    "reorder": units.share,
    "reorder_gap": _whole,
    "reorder_delay": units.seconds,
    "corrupt": units.share,
    "seed": int,
}


def parse_impairment(values: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of an `Impairment` from what a test writes. Raises SettingsError with all faults."""
    parsed: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        if name not in _PARSERS:
            problems.append(f"{name}: no such impairment{did_you_mean(name, _PARSERS)}")
            continue
        try:
            parsed[name] = _PARSERS[name](value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingsError("\n".join([*problems, f"there are: {', '.join(_PARSERS)}"]))
    return parsed


class Impairable:
    """Something that can be impaired, by the name the keeper knows it under.

    `ends` are the names of its two sides, for `direction="pop1->pop2"`.
    """

    def __init__(self, client: BedClient, target: str, ends: tuple[str, str], undo: UndoStack) -> None:
        self._client, self._target, self._ends, self._undo = client, target, ends, undo

    @contextmanager
    def impaired(self, direction: str | None, values: dict[str, Any]) -> Iterator[None]:
        """Impaired for the time of a block."""
        before = self._client.impairments(self._target).own
        self._change(direction, values)
        try:
            yield
        finally:
            self._put(before)

    def change(self, direction: str | None, values: dict[str, Any]) -> None:
        """Impaired until the view ends."""
        before = self._client.impairments(self._target).own
        self._change(direction, values)
        self._undo.push(lambda: self._put(before), f"{self._target} as before")

    def _change(self, direction: str | None, values: dict[str, Any]) -> None:
        changes = parse_impairment(values)
        way = self._direction(direction)
        now = self._client.impairments(self._target)
        forward, backward = now.own if now.own is not None else now.base
        if way != "b->a":
            forward = replace(forward, **changes)
        if way != "a->b":
            backward = replace(backward, **changes)
        self._put((forward, backward))

    def _put(self, both: Both | None) -> None:
        forward, backward = both if both is not None else (None, None)
        self._client.impair(self._target, forward, backward)

    def _direction(self, asked: str | None) -> Literal["both"] | Direction:
        if asked is None:
            return "both"
        a, b = self._ends
        text = asked.replace(" ", "")
        if text in (f"{a}->{b}", "a->b"):
            return "a->b"
        if text in (f"{b}->{a}", "b->a"):
            return "b->a"
        raise SettingsError(f"direction '{asked}' is neither '{a}->{b}' nor '{b}->{a}'")
