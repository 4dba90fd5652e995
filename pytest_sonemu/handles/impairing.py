"""Impairments as people write them: `delay="50ms"`, `loss="1%"`, for both directions or one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.undo import UndoStack
from pytest_sonemu.planning.impairments import parse_impairment
from pytest_sonemu.relay.model import Direction, Impairment

Both = tuple[Impairment, Impairment]


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
        if self._ends == ("endpoint", "link") and text in ("out", "in"):
            return "a->b" if text == "out" else "b->a"
        raise SettingsError(f"direction '{asked}' is neither '{a}->{b}' nor '{b}->{a}'")
