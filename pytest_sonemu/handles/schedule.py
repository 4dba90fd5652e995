"""A link that changes over time: steps, ramps, flaps, a recorded trace."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pytest_sonemu import units
from pytest_sonemu.errors import BedGoneError, SettingsError, SonemuError
from pytest_sonemu.handles import arguments
from pytest_sonemu.topology.impairments import parse_impairment

if TYPE_CHECKING:
    from typing_extensions import Self

Steps = Iterable[tuple[float | str, Mapping[str, Any]]] | str | Path
_MOST_STEPS, _SHOWN = 100_000, 3


@dataclass(frozen=True, slots=True)
class Step:
    """From `at` seconds after the start the link has these impairments, beside those it had before.

    What is None is as it was before the schedule.
    """

    at: float
    changes: Mapping[str, Any]


def ramp(
    name: str, start: float | str, end: float | str, over: float | str, steps: int = 20, at: float | str = 0
) -> list[tuple[float, dict[str, Any]]]:
    """Steps from one value to another, evenly: `ramp("delay", "10ms", "80ms", over="5s")`.

    For values that are numbers (rate, delay, jitter, loss, …). Raises SettingsError.
    """
    first, last = (parse_impairment({name: value})[name] for value in (start, end))
    if isinstance(first, bool) or not isinstance(first, (int, float)) or steps < 1:
        raise SettingsError(f"ramp: '{name}' cannot go from {start!r} to {end!r} in {steps} steps")
    begin, length = _seconds(at), _seconds(over)
    values = [first + (last - first) * number / steps for number in range(steps + 1)]
    return [
        (begin + length * number / steps, {name: round(value) if isinstance(first, int) else value})
        for number, value in enumerate(values)
    ]


def flap(
    down: float | str, up: float | str, times: int = 1, at: float | str = 0
) -> list[tuple[float, dict[str, Any]]]:
    """Steps that let the link lose every frame for `down`, then be as before for `up`, so many times."""
    begin, off, on = _seconds(at), _seconds(down), _seconds(up)
    steps: list[tuple[float, dict[str, Any]]] = []
    for number in range(times):
        start = begin + number * (off + on)
        steps += [(start, {"loss": 1.0}), (start + off, {"loss": None})]
    return steps


def parse_steps(steps: Steps) -> list[Step]:
    """Steps in the order of their times. Raises SettingsError that names the step or the file's line.

    A trace file has a header and a line for each step: `at,rate,delay,loss`. What a line leaves empty
    stays as it was.
    """
    if isinstance(steps, (str, Path)):
        return read_trace(Path(steps))
    parsed = []
    given: Iterable[Any] = steps
    for number, step in enumerate(given, start=1):
        if not isinstance(step, (tuple, list)) or len(step) != 2 or not isinstance(step[1], Mapping):
            raise SettingsError(
                f"step {number}: {step!r} is no pair of a time and what changes then,"
                " such as (0, {'delay': '10ms'})"
            )
        parsed.append(_step(step[0], step[1], f"step {number}"))
    return _in_order(parsed, "schedule")


def told(steps: Sequence[Step]) -> str:
    """The first of the steps in words: `"0 s: delay 0.01; 2 s: rate 1000000; and 4 more"`."""
    shown = [
        f"{step.at:g} s: {', '.join(f'{name} {value}' for name, value in step.changes.items())}"
        for step in steps[:_SHOWN]
    ]
    return "; ".join([*shown, *([f"and {len(steps) - _SHOWN} more"] if len(steps) > _SHOWN else [])])


def merged(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """What each of the steps makes of those before it, by their names."""
    now: dict[str, Any] = {}
    found = []
    for step in steps:
        if step.changes.get("bursts") is not None:
            ended = ["loss", "loss_correlation"]
        else:
            ended = ["bursts"] if step.changes.get("loss") is not None else []
        kept = {name: value for name, value in now.items() if name not in ended}
        now = {name: value for name, value in {**kept, **step.changes}.items() if value is not None}
        found.append(now)
    return found


def read_trace(path: Path) -> list[Step]:
    """A recorded trace. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the trace {path} cannot be read: {error}") from None
    rows = csv.reader(text.splitlines())
    header = [word.strip() for word in next(rows, [])]
    if "at" not in header or len(set(header)) != len(header):
        raise SettingsError(f"{path}:1: the header of a trace names its columns: at,rate,delay,loss")
    parsed = []
    for row in rows:
        where = f"{path}:{rows.line_num}"
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if len(cells) != len(header):
            raise SettingsError(f"{where}: {len(cells)} values under {len(header)} columns")
        values: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
        at = values.pop("at", "")
        for name in ("seed", "reorder_gap", "queue_packets"):
            if str(values.get(name, "")).isdecimal():
                values[name] = int(values[name])
        parsed.append(_step(at, values, where))
    return _in_order(parsed, str(path))


def _step(at: float | str, changes: Mapping[str, Any], where: str) -> Step:
    try:
        return Step(units.seconds(at), parse_impairment(changes))
    except (ValueError, SettingsError) as error:
        raise SettingsError(f"{where}: {error}") from None


def _in_order(steps: list[Step], where: str) -> list[Step]:
    if not 0 < len(steps) <= _MOST_STEPS:
        raise SettingsError(f"{where}: {len(steps)} steps; there are 1 to {_MOST_STEPS}")
    return sorted(steps, key=lambda step: step.at)


def _seconds(value: float | str) -> float:
    try:
        return units.seconds(value)
    except ValueError as error:
        raise SettingsError(str(error)) from None


class Schedule:
    """Steps that a thread carries out, each at its time; `stop` puts the link back as it was.

        with link.schedule([(0, {"delay": "10ms"}), ("2s", {"delay": "80ms"})]) as schedule:
            schedule.wait()

    `lateness` is by how many seconds the latest step was late.
    """

    def __init__(
        self, steps: Sequence[Step], put: Callable[[Step], None], back: Callable[[], None], what: str
    ) -> None:
        self._steps, self._put, self._back, self._what = steps, put, back, what
        self._stop, self._done = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._error: SonemuError | None = None
        self._reverted = False
        self.lateness = 0.0
        self.taken = 0
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"schedule of {what}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<schedule of {self._what}: {self.taken} of {len(self._steps)} steps>"

    @property
    def done(self) -> bool:
        """Whether all steps are taken."""
        return self._done.is_set()

    def wait(self, timeout: float | str | None = None) -> bool:
        """Wait until the last step is taken; whether it is. Raises what a step raised."""
        over = self._done.wait(arguments.seconds(timeout))
        if self._error is not None:
            raise self._error
        return over

    def stop(self) -> None:
        """End it; the link is as it was before. May be called again. Raises what a step raised."""
        self._stop.set()
        self._thread.join()
        with self._lock:
            if not self._reverted:
                self._reverted = True
                self._back()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            for step in self._steps:
                due = self._began + step.at
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                self._put(step)
                self.taken += 1
                self.lateness = max(self.lateness, time.monotonic() - due)
        except BedGoneError:
            return
        except SonemuError as error:
            self._error = error
        finally:
            self._done.set()
