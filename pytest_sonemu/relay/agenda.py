"""What is to be done to frames, and when."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from pytest_sonemu.relay.lanes import Frame, taken_by

if TYPE_CHECKING:
    from pytest_sonemu.relay.shaper import Shaper

# Bytes of memory that frames take in delay lines and queues; with more than this, what comes in is dropped.
MOST_HELD = 512 * 2**20

Action = Callable[[Frame, int], None]


class Agenda:
    """What is to be done when: the one clock of all shapers. `out` collects what has crossed its way."""

    def __init__(self, most_held: int = MOST_HELD) -> None:
        self.out: list[tuple[int, Frame]] = []
        self.held = 0  # bytes of memory that all frames take that are on their way
        self._most_held = most_held
        self._entries: list[tuple[int, int, Action, Frame]] = []
        self._count = 0

    @property
    def due(self) -> int | None:
        return self._entries[0][0] if self._entries else None

    def full(self) -> bool:
        """Whether there is no memory for more frames."""
        return self.held > self._most_held

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, time: int, action: Action, frame: Frame) -> None:
        self._count += 1
        heappush(self._entries, (time, self._count, action, frame))

    def enter(self, frame: Frame, now: int) -> None:
        """A frame stands before hop `frame.hop` of its way; what is due by `now` must have been done."""
        lanes = frame.way.lanes
        if frame.hop == 0:
            self.held += taken_by(len(frame.data))
        if frame.hop == len(lanes):
            self.held -= taken_by(len(frame.data))
            self.out.append((now, frame))
        else:
            lane = lanes[frame.hop]
            lane.shaper.arrive(lane, frame, now)

    def onward(self, frame: Frame, now: int) -> None:
        """A frame has left a link."""
        frame.hop += 1
        self.enter(frame, now)

    def hurry(self, shaper: Shaper, latest: int) -> None:
        """What leaves a shaper leaves it by then; of what leaves together the first to come is first."""
        for place, (time, count, action, frame) in enumerate(self._entries):
            leaves = action == self.onward and frame.way.lanes[frame.hop].shaper is shaper
            if leaves and time > latest:
                self._entries[place] = (latest, count, action, frame)
        heapify(self._entries)

    def run(self, now: int) -> None:
        """Do all that is due by `now`, each thing at its own time and in their order."""
        entries = self._entries
        while entries and entries[0][0] <= now:
            time, _, action, frame = heappop(entries)
            action(frame, time)
