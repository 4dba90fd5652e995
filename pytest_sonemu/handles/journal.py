"""What happened on a bed, by the clock: written cheaply while tests run, read only when one fails."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Kind = Literal["probe", "did", "undone", "state", "note"]
# A test that sends a thousand probes must not push out what another did just before.
LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `time` (seconds since the epoch); `failed` tells that it went wrong."""

    time: float
    kind: Kind
    text: str
    place: str = ""
    failed: bool = False


class Journal:
    """Events in the order in which they were noted; thread-safe, the oldest go first.

    journal.note("did", "exec `nft flush ruleset`", "fw")
    """

    def __init__(self) -> None:
        self._events: deque[tuple[int, Event]] = deque(maxlen=LONGEST)
        self._count = 0
        self._lock = threading.Lock()

    @property
    def mark(self) -> int:
        """A place in the journal, for `since`."""
        return self._count

    def note(self, kind: Kind, text: str, place: str = "", *, failed: bool = False) -> None:
        event = Event(time.time(), kind, text, place, failed)
        with self._lock:
            self._count += 1
            self._events.append((self._count, event))

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

    def since(self, mark: int) -> tuple[Event, ...]:
        """What was noted after a mark, and is still there."""
        with self._lock:
            return tuple(event for number, event in self._events if number > mark)
