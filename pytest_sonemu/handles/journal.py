"""What happened on a bed, by the clock: written cheaply while tests run, read only when one fails."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pytest_sonemu.handles.results import CommandResult

Kind = Literal["probe", "did", "undone", "state", "note"]
# A test that sends a thousand probes must not push out what another did just before.
LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `time` (seconds since the epoch); `failed` tells that it went wrong.

    `blame` is where: an endpoint ("fw"), a connection point ("fw:input") or a virtual link ("link-1").
    """

    time: float
    kind: Kind
    text: str
    place: str = ""
    failed: bool = False
    blame: str = ""


class Journal:
    """Events in the order in which they were noted; thread-safe, the oldest go first.

    journal.note("did", "exec `nft flush ruleset`", "fw")
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=LONGEST)

    def note(self, kind: Kind, text: str, place: str = "", *, failed: bool = False, blame: str = "") -> None:
        self._events.append(Event(time.time(), kind, text, place, failed, blame))

    @contextmanager
    def noting(self, kind: Kind, text: str, place: str = "") -> Iterator[None]:
        """Note what a block does; if it raises, with the first line of why."""
        try:
            yield
        except Exception as error:
            lines = str(error).splitlines() or [type(error).__name__]
            self.note(kind, f"{text}: {lines[0]}", place, failed=True)
            raise
        self.note(kind, text, place)

    def command(self, shown: str, place: str, run: Callable[[], CommandResult]) -> CommandResult:
        """Run a command, and note how it ended, or with the first line of why it did not."""
        began = time.monotonic()
        try:
            result = run()
        except Exception as error:
            lines = str(error).splitlines() or [type(error).__name__]
            self.note("did", f"{shown}: {lines[0]}", place, failed=True)
            raise
        taken = time.monotonic() - began
        text = f"{shown} ended with {result.exit_status} after {taken:.3f} s"
        self.note("did", text, place, failed=not result.ok)
        return result

    def since(self, moment: float) -> tuple[Event, ...]:
        """What was noted since a time (seconds since the epoch), and is still there."""
        return tuple(event for event in self._events.copy() if event.time >= moment)
