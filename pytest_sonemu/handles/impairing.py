"""Impairments as people write them: `delay="50ms"`, `loss="1%"`, for both directions or one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Literal

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.schedule import Schedule, Steps, parse_steps
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.handles.unused import WarnsUnused
from pytest_sonemu.planning.impairments import parse_impairment
from pytest_sonemu.relay.model import Direction, Impairment, derive_seed

Both = tuple[Impairment, Impairment]
_DIRECTIONS: tuple[Direction, Direction] = ("a->b", "b->a")


class Impairable:
    """Something that can be impaired, by the name the keeper knows it under.

    `ends` are the names of its two sides, for `direction="pop1->pop2"`.
    """

    def __init__(self, client: BedClient, target: str, ends: tuple[str, str], undo: UndoStack) -> None:
        self._client, self._target, self._ends, self._undo = client, target, ends, undo

    def impaired(self, direction: str | None, values: dict[str, Any]) -> AbstractContextManager[None]:
        """Impaired for the time of a block. Raises SettingsError at once, not at the block's beginning."""
        try:
            parse_impairment(values)
            self._direction(direction)
        except SettingsError as error:
            self._undo.did(f"{_told(direction, values)}: {error}", self._name, failed=True)
            raise
        return _Impaired(self, direction, values)

    def schedule(self, steps: Steps, direction: str | None) -> Schedule:
        """Impaired by steps over time, until stopped or the view ends."""
        parsed, way = parse_steps(steps), self._direction(direction)
        before = self._client.impairments(self._target).own
        for number, step in enumerate(parsed):  # what cannot be is said at once
            self._changed(step.changes, way, number)

        def back() -> None:
            with self._undo.doing("schedule ends, impaired as before", self._name):
                self._put(before)

        numbers = {id(step): number for number, step in enumerate(parsed)}
        schedule = Schedule(
            parsed,
            lambda step: self._put(self._changed(step.changes, way, numbers[id(step)])),
            back,
            self._target,
        )
        self._undo.push(schedule.stop, f"{self._target}: schedule")
        self._undo.did(f"schedule of {len(parsed)} steps begins", self._name)
        return schedule

    def _change(self, direction: str | None, values: dict[str, Any]) -> None:
        with self._undo.doing(_told(direction, values), self._name):
            self._put(self._changed(parse_impairment(values), self._direction(direction)))

    @property
    def _name(self) -> str:
        """The link as a test calls it."""
        return self._target.rpartition("/")[2]

    def _changed(
        self, changes: Mapping[str, Any], way: Literal["both"] | Direction, step: int | None = None
    ) -> Both:
        """What it is after a change. Without a seed of one's own, one comes from the names of test and link.

        A change starts the numbering of packets again, so each `step` of a schedule draws anew.
        """
        now = self._client.impairments(self._target)
        forward, backward = now.own if now.own is not None else now.base
        own = "seed" in changes or (now.own is not None and step is None)
        if way != "b->a":
            forward = replace(forward, **changes)
            if not own:
                forward = replace(forward, seed=self._seed("a->b", step))
        if way != "a->b":
            backward = replace(backward, **changes)
            if not own:
                backward = replace(backward, seed=self._seed("b->a", step))
        return forward, backward

    def _seed(self, way: Direction, step: int | None) -> int:
        return seed_of(
            self._client.seed, self._undo.test, self._target, way, *([] if step is None else [step])
        )

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
        if self._ends == ("endpoint", "link") and text in ("out", "in"):
            return "a->b" if text == "out" else "b->a"
        raise SettingsError(f"direction '{asked}' is neither '{a}->{b}' nor '{b}->{a}'")


class _Impaired(WarnsUnused, AbstractContextManager[None]):
    """A block in which a link is impaired."""

    def __init__(self, link: Impairable, direction: str | None, values: dict[str, Any]) -> None:
        self._link, self._direction, self._values = link, direction, values
        self._unused = f"impair of {link._name}"

    def __enter__(self) -> None:
        self._unused = ""
        self._before = self._link._client.impairments(self._link._target).own
        self._link._change(self._direction, self._values)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._link._undo.doing("impaired as before", self._link._name):
            self._link._put(self._before)


def _told(direction: str | None, values: Mapping[str, Any]) -> str:
    """An impairment as the story of a test tells it."""
    shown = ", ".join(f"{name} {value}" for name, value in values.items())
    way = f" {direction}" if direction is not None else ""
    return f"impaired{way}: {shown or 'by nothing'}"


def seed_of(run: int, test: str, target: str, way: Direction, *more: int) -> int:
    """The seed of one direction of a link: from the run's and the names of test and link, never 0.

    Instances are numbered as they come ("firewall-2"): what counts is the link's own name.
    """
    _instance, _, name = target.rpartition("/")
    return derive_seed(run, test, name or target, way, *more) or 1


def reseed(client: BedClient, targets: Iterable[str], undo: UndoStack) -> None:
    """Let what the topology and the options leave to chance be drawn anew for the test of this view.

    A bed that several tests share has lost packets before this one; it must not matter how many.
    """
    if not undo.test:
        return
    for target in targets:
        now = client.impairments(target)
        if not any(way.drawn for way in now.base):
            continue
        forward, backward = (
            replace(way, seed=seed_of(client.seed, undo.test, target, direction))
            for way, direction in zip(now.base, _DIRECTIONS, strict=True)
        )
        client.impair(target, forward, backward)
        undo.push(partial(client.impair, target, None, None), f"{target} as before")
