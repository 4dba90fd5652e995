"""Frames, the ways that they take, and the lane that each way has on each of its links."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_sonemu.relay.counters import LaneCounters, WayCounters
from pytest_sonemu.relay.decisions import Decider

if TYPE_CHECKING:
    from pytest_sonemu.relay.shaper import Shaper


# What the compiled core keeps the bytes of a frame in: a block of two sizes, just as many as it has, or a
# slot for the largest. Beside them, a frame and its place on the agenda take less than this in either engine.
_TINY, _SMALL, _SLOT = 256, 2048, 65_616
_OVERHEAD = 512


def taken_by(length: int) -> int:
    """Bytes of memory that a frame of this length takes, at most, in either engine."""
    if length <= _SMALL:
        return _OVERHEAD + (_TINY if length <= _TINY else _SMALL)
    return _OVERHEAD + (_SLOT if length > _SLOT // 2 else length)


class Frame:
    """A frame on its way. `data` begins with its vnet header; `size` in layer-2 bytes of its wire frames."""

    __slots__ = ("arrived", "data", "hop", "jitter", "kind", "segments", "size", "way")

    def __init__(self, way: Way, data: bytes, size: int, segments: int = 1, kind: int = 0) -> None:
        self.way = way
        self.data = data
        self.size = size
        self.segments = segments
        self.kind = kind
        self.hop = 0
        self.arrived = 0
        self.jitter = 0

    def copy(self) -> Frame:
        twin = Frame(self.way, self.data, self.size, self.segments, self.kind)
        twin.hop = self.hop
        return twin


@dataclass(slots=True, eq=False)
class Lane:
    """What a shaper keeps for one flow: its numbering, its part of the queue, its held-back frames."""

    shaper: Shaper
    virtual_link: str
    member: str
    deciders: tuple[Decider, Decider]
    queue: deque[Frame] = field(default_factory=deque)
    deficit: int = 0
    last_exit: int = -1
    held: list[Held] = field(default_factory=list)
    counters: LaneCounters = field(default_factory=LaneCounters)


@dataclass(slots=True, eq=False)
class Way:
    """A flow as the shapers see it. `egress` means something to the caller alone."""

    virtual_link: str
    lanes: list[Lane] = field(default_factory=list)
    egress: int = 0
    counters: WayCounters = field(default_factory=WayCounters)

    @property
    def by_frame(self) -> bool:
        """Whether super-frames must be cut before they start on this way."""
        return any(lane.shaper.impairment.by_frame for lane in self.lanes)

    def note_stale(self, packets: int) -> None:
        """Of the frames that were taken in, so many had waited for too long."""
        self.counters.stale += packets
        for lane in self.lanes:
            lane.counters.stale += packets


@dataclass(slots=True, eq=False)
class Held:
    frame: Frame
    after: int  # how many more frames go first
    released: bool = False
