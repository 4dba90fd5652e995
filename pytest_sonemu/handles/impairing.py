"""Impairments as people write them: `delay="50ms"`, `loss="1%"`, for both directions or one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.layers import Layer, Layers, Way
from pytest_sonemu.handles.schedule import Schedule, Steps, merged, parse_steps, told
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.handles.unused import WarnsUnused
from pytest_sonemu.topology.impairments import (
    direction_of,
    no_direction,
    not_a_direction,
    parse_impairment,
)


class Impairable:
    """Something that can be impaired, by the name the keeper knows it under.

    `ends` are the names of its two sides, for `direction="pop1->pop2"`; without them it has one way in only.
    """

    def __init__(self, layers: Layers, target: str, ends: tuple[str, str] | None, undo: UndoStack) -> None:
        self._layers, self._target, self._ends, self._undo = layers, target, ends, undo

    def impaired(self, direction: str | None, values: dict[str, Any]) -> AbstractContextManager[None]:
        """Impaired for the time of a block. Raises SettingsError at once, not at the block's beginning."""
        try:
            changes, way = parse_impairment(values), self._direction(direction)
        except SettingsError as error:
            self._undo.did(f"{_told(direction, values)}: {error}", self._name, failed=True)
            raise
        return _Impaired(self, _told(direction, values), way, changes)

    def schedule(self, steps: Steps, direction: str | None) -> Schedule:
        """Impaired by steps over time, until stopped or the view ends."""
        parsed, way = parse_steps(steps), self._direction(direction)
        layers = [
            Layer(self._undo.test, way, changes, number, step.changes.get("seed") is not None)
            for number, (step, changes) in enumerate(zip(parsed, merged(parsed), strict=True))
        ]
        self._layers.check(self._target, layers)  # what cannot be is said at once
        own = Layer(self._undo.test, way)

        def back() -> None:
            with self._undo.doing("schedule ends, impaired as before", self._name):
                self._layers.remove(self._target, own)

        numbers = {id(step): number for number, step in enumerate(parsed)}
        self._layers.begin(self._target, own)
        schedule = Schedule(
            parsed,
            lambda step: self._layers.step(self._target, own, layers[numbers[id(step)]]),
            back,
            self._target,
        )
        try:
            self._undo.push(schedule.stop, f"{self._target}: schedule")
        except BaseException:
            schedule.stop()
            raise
        self._undo.did(f"schedule of {len(parsed)} steps begins: {told(parsed)}", self._name)
        return schedule

    @property
    def _name(self) -> str:
        """The link as a test calls it."""
        return self._target.rpartition("/")[2]

    def _direction(self, asked: str | None) -> Way:
        if asked is None:
            return "both"
        if self._ends is None:
            raise SettingsError(no_direction(asked, self._name))
        text = asked.replace(" ", "")
        if self._ends == ("endpoint", "link") and text in ("out", "in"):
            return "a->b" if text == "out" else "b->a"
        found = direction_of(text, self._ends)
        if found is None:
            raise SettingsError(not_a_direction(asked, self._ends))
        return found


class _Impaired(WarnsUnused, AbstractContextManager[None]):
    """A block in which a link is impaired."""

    def __init__(self, link: Impairable, told: str, way: Way, changes: Mapping[str, Any]) -> None:
        self._link, self._told, self._way, self._changes = link, told, way, changes
        self._begun: list[Layer] = []
        self._unused = f"impair of {link._name}"

    def __enter__(self) -> None:
        self._unused = ""
        link = self._link
        layer = Layer(link._undo.test, self._way, self._changes)
        with link._undo.doing(self._told, link._name):
            link._layers.add(link._target, layer)
        self._begun.append(layer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link = self._link
        with link._undo.doing("impaired as before", link._name):
            link._layers.remove(link._target, self._begun.pop())


def _told(direction: str | None, values: Mapping[str, Any]) -> str:
    """An impairment as the story of a test tells it."""
    shown = ", ".join(f"{name} {value}" for name, value in values.items())
    way = f" {direction}" if direction is not None else ""
    return f"impaired{way}: {shown or 'by nothing'}"


def reseed(layers: Layers, targets: Iterable[str], undo: UndoStack) -> None:
    """Let what the topology and the options leave to chance be drawn anew for the test of this view.

    A bed that several tests share has lost packets before this one; it must not matter how many.
    """
    if not undo.test:
        return
    for target in targets:
        layer = Layer(undo.test, anew=True)
        layers.anew(target, layer)
        undo.push(partial(layers.remove, target, layer), f"{target} as before")
