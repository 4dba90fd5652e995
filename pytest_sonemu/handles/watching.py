"""Following a file, or an output, from outside: events as they come, waited for or excluded."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pytest_sonemu.errors import EmulationError, NotFoundError, NotReadyError, SettingsError
from pytest_sonemu.handles.arguments import seconds
from pytest_sonemu.handles.results import one_line

Format = Literal["lines", "json"] | Callable[[str], Any]
PAUSE = 0.01
# A log that is turned over has another inode; asked for this often (seconds).
TURN_OVER = 0.2
LAST_EVENTS = 3


class Tail(Protocol):
    """Where lines come from: `read` returns those that have come since it was last asked."""

    def read(self) -> list[str]: ...

    def close(self) -> None: ...


class FileTail:
    """The end of a file that may not be there yet, be cut, or be replaced by another of its name."""

    def __init__(self, open_file: Callable[[], int], *, whole: bool = False) -> None:
        self._open_file = open_file
        self._rest = b""
        self._looked = 0.0
        self._file = self._open()
        if self._file is not None and not whole:
            os.lseek(self._file, 0, os.SEEK_END)

    def read(self) -> list[str]:
        if self._file is None:
            self._file = self._open()
        if self._file is None:
            return []
        data = self._take(self._file)
        if not data and time.monotonic() - self._looked > TURN_OVER:
            data = self._turn_over(self._file)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take(self, file: int) -> bytes:
        if os.fstat(file).st_size < os.lseek(file, 0, os.SEEK_CUR):
            os.lseek(file, 0, os.SEEK_SET)  # it was cut
            self._rest = b""
        return _all_of(file)

    def _turn_over(self, old: int) -> bytes:
        """Go over to the file that has the name now, when ours has been read to its end."""
        new = self._open()
        if new is None:
            return b""
        if os.path.samestat(os.fstat(new), os.fstat(old)):
            os.close(new)
            return b""
        # Between our last look and the renaming something may have been written.
        left = _all_of(old)
        os.close(old)
        self._file = new
        return left + _all_of(new)

    def _open(self) -> int | None:
        self._looked = time.monotonic()
        # Not there yet, or the VNF is between two lives.
        with contextlib.suppress(NotFoundError, EmulationError):
            return self._open_file()
        return None


def _all_of(file: int) -> bytes:
    """What can be read from here to the end."""
    return b"".join(iter(lambda: os.read(file, 1 << 16), b""))


class OutputTail:
    """A container's output; `all_lines` gives everything since the watch began."""

    def __init__(self, all_lines: Callable[[], list[str]]) -> None:
        self._all_lines, self._count = all_lines, 0

    def read(self) -> list[str]:
        lines = self._all_lines()
        fresh, self._count = lines[self._count :], len(lines)
        return fresh

    def close(self) -> None:
        return None


@dataclass(frozen=True, slots=True, repr=False)
class Absence:
    """Whether events stayed away for `during` seconds: true if so, else `event` is the first that came."""

    what: str
    during: float
    came: bool = False
    event: Any = None

    def __bool__(self) -> bool:
        return not self.came

    def __repr__(self) -> str:
        if self.came:
            return one_line(f"<{self.what}: came after all: {self.event!r}>")
        return one_line(f"<{self.what}: no such event, and none in {self.during:g} s more>")


class Watch:
    """Events from a tail, kept in the order in which they came; iterating gives those there are by now.

    events = ids.watch("/var/log/eve.json", format="json")
    assert events.none(lambda event: event["event_type"] == "alert", during=1.0)
    """

    def __init__(self, tail: Tail, what: str, format: Format = "lines") -> None:
        if format not in ("lines", "json") and not callable(format):
            raise SettingsError(f"watch: format is 'lines', 'json' or a callable, not {format!r}")
        self._tail, self._what, self._format = tail, what, format
        self._events: list[Any] = []
        self._closed = False

    def __repr__(self) -> str:
        return one_line(f"<watch of {self._what}: {len(self._events)} events{self._last()}>")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def events(self) -> tuple[Any, ...]:
        """All events since the watch began."""
        self._read()
        return tuple(self._events)

    def wait(
        self, predicate: Callable[[Any], object] = lambda event: True, timeout: float | str = 5.0
    ) -> Any:
        """The first event since the watch began for which `predicate` is true.

        Raises NotReadyError with the last events after `timeout` seconds. A predicate that fails with
        KeyError, TypeError or IndexError says no: events need not be of one shape.
        """
        patience = seconds(timeout)
        for event in self._until(time.monotonic() + patience):
            if _holds(predicate, event):
                return event
        raise NotReadyError(
            f"{self._what}: no such event within {patience:g} s; {len(self._events)} others{self._last()}"
        )

    def none(
        self, predicate: Callable[[Any], object] = lambda event: True, *, during: float | str = 1.0
    ) -> Absence:
        """Whether no such event has come since the watch began, and none comes in `during` seconds more.

        What it returns is true or false, and names the event that came.
        """
        lasting = seconds(during, "during")
        for event in self._until(time.monotonic() + lasting):
            if _holds(predicate, event):
                return Absence(self._what, lasting, came=True, event=event)
        return Absence(self._what, lasting)

    def clear(self) -> None:
        """Forget the events up to now."""
        self._read()
        self._events.clear()

    def close(self) -> None:
        """Read no more; what was read stays. The view's end does it too."""
        self._closed = True
        self._tail.close()

    def _until(self, deadline: float) -> Iterator[Any]:
        at = 0
        while True:
            self._read()
            while at < len(self._events):
                yield self._events[at]
                at += 1
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(PAUSE, left))

    def _read(self) -> None:
        if self._closed:
            return
        for line in self._tail.read():
            if self._format == "lines":
                self._events.append(line)
            elif self._format == "json":
                with contextlib.suppress(ValueError):
                    self._events.append(json.loads(line))
            else:
                self._events.append(self._format(line))

    def _last(self) -> str:
        return "".join(f"; {event!r}" for event in self._events[-LAST_EVENTS:])


def _holds(predicate: Callable[[Any], object], event: Any) -> bool:
    try:
        return bool(predicate(event))
    except (KeyError, TypeError, IndexError):
        return False
