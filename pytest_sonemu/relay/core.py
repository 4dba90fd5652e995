"""The compiled core (C, in `native/`), for which `engine.py` is the reference and the fallback.

Python cannot keep up where links act on wire frames: 500 Mbit/s are 60,000 frames a second with those that
come back, and a decision, two places on the agenda and a system call's share cost it 15 µs each, the core 1.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pytest_sonemu.relay.agenda import MOST_HELD
from pytest_sonemu.relay.board import LATENESS, Board
from pytest_sonemu.relay.counters import LaneCounters, WayCounters
from pytest_sonemu.relay.decisions import key_of, loss_chain, nanoseconds
from pytest_sonemu.relay.model import Direction, Distribution, FlowSpec, Impairment, LinkSpec
from pytest_sonemu.relay.packets import PacketSocket
from pytest_sonemu.relay.shaper import burst_time, queue_limits
from pytest_sonemu.relay.shortcuts import Passed, Shortcuts

CORE = Path(__file__).resolve().with_name("libcore.so")

_LANE = tuple(LaneCounters.__dataclass_fields__)
_WAY = tuple(WayCounters.__dataclass_fields__)
_WHOLE = (
    "rate burst most_packets most_bytes delay jitter distribution free_order drawn by_frame reorder_gap "
    "reorder_delay"
).split()
_SHARES = "enter leave loss_bad loss_good duplicate reorder corrupt".split()


class Settings(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_int64) for name in _WHOLE), *((name, ctypes.c_double) for name in _SHARES))


def settings_of(impairment: Impairment) -> Settings:
    """An impairment in the core's terms."""
    most_packets, most_bytes = queue_limits(impairment)
    enter, leave, bad, good = loss_chain(impairment)
    return Settings(
        rate=impairment.rate or 0,
        burst=burst_time(impairment),
        most_packets=-1 if most_packets is None else most_packets,
        most_bytes=-1 if most_bytes is None else most_bytes,
        delay=nanoseconds(impairment.delay),
        jitter=nanoseconds(impairment.jitter),
        distribution=get_args(Distribution).index(impairment.distribution),
        free_order=impairment.jitter_reorders,
        drawn=impairment.drawn,
        by_frame=impairment.by_frame,
        reorder_gap=impairment.reorder_gap,
        reorder_delay=nanoseconds(impairment.reorder_delay),
        enter=enter,
        leave=leave,
        loss_bad=bad,
        loss_good=good,
        duplicate=impairment.duplicate,
        reorder=impairment.reorder,
        corrupt=impairment.corrupt,
    )


def load(path: Path = CORE) -> ctypes.CDLL:
    """The core's functions. Raises OSError where it was not built or cannot be loaded."""
    library = ctypes.CDLL(str(path))
    pointer, whole, words = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32
    for name, result, arguments in (
        ("core_new", pointer, (ctypes.c_int, whole, pointer)),
        ("core_free", None, (pointer,)),
        ("core_run", None, (pointer,)),
        ("core_stop", None, (pointer,)),
        ("core_lock", None, (pointer,)),
        ("core_unlock", None, (pointer,)),
        ("core_new_shaper", pointer, (pointer,)),
        ("core_impair", whole, (pointer, pointer, pointer, whole)),
        ("core_hurry", None, (pointer, words, whole)),
        ("core_resume", None, (pointer, pointer, whole)),
        ("core_leave_shaper", None, (pointer,)),
        ("core_new_way", pointer, (ctypes.c_int32, pointer, words)),
        ("core_set_egress", None, (pointer, ctypes.c_int32)),
        ("core_set_keys", None, (pointer, words, ctypes.c_uint64, ctypes.c_uint64)),
        ("core_leave_way", None, (pointer,)),
        ("core_way_idle", ctypes.c_int, (pointer,)),
        ("core_way_counters", ctypes.POINTER(whole), (pointer,)),
        ("core_lane_counters", ctypes.POINTER(whole), (pointer, words)),
        ("core_set_table", ctypes.c_int, (pointer, pointer, pointer, words)),
        ("core_counters", None, (pointer, pointer)),
        ("core_feed", None, (pointer, pointer, ctypes.c_char_p, words, words, words, whole)),
        ("core_advance", None, (pointer, whole)),
        ("core_collect", words, (pointer, pointer, pointer, pointer)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@dataclass(slots=True, eq=False)
class Shape:
    """One direction of a link; `paths` are the flows over it, each with the number of its hop."""

    link: str
    direction: Direction
    seed: int
    nothing: bool
    handle: int
    paths: list[tuple[CorePath, int]] = field(default_factory=list)
    gone: LaneCounters = field(default_factory=LaneCounters)


@dataclass(slots=True, eq=False)
class CorePath:
    virtual_link: str
    member: str
    handle: int
    shapes: list[Shape]
    egress: int
    passed: Passed = field(default_factory=Passed)


class CoreBoard(Board[Shape, CorePath]):
    """Links and flows in a core; without a packet socket, frames come from `feed` and go to `collect`."""

    kind = "core"

    def __init__(
        self,
        packets: PacketSocket | None = None,
        path: Path = CORE,
        shortcuts: Shortcuts | None = None,
        most_held: int = MOST_HELD,
    ) -> None:
        super().__init__()
        self._shortcuts = shortcuts
        self.library = load(path)
        self._packets = packets
        limits = (ctypes.c_int64 * len(LATENESS))(*LATENESS)
        self.core = self._made(self.library.core_new(packets.fileno() if packets else -1, most_held, limits))
        self._unread = 0

    def _made(self, handle: int | None) -> int:
        if not handle:
            raise MemoryError("no memory left for the relay")
        return handle

    def _pause(self) -> None:
        self.library.core_lock(self.core)

    def _resume(self) -> None:
        self.library.core_unlock(self.core)

    def _new_shape(self, link: LinkSpec, direction: Direction) -> Shape:
        impairment = link.towards(direction)
        handle = self._made(self.library.core_new_shaper(ctypes.byref(settings_of(impairment))))
        return Shape(link.name, direction, impairment.seed, impairment.nothing, handle)

    def _impair(self, shape: Shape, link: LinkSpec, direction: Direction, now: int) -> None:
        impairment = link.towards(direction)
        # What is due comes first: it still belongs to the old numbering.
        self.library.core_advance(self.core, now)
        shape.seed, shape.nothing = impairment.seed, impairment.nothing
        settings = ctypes.byref(settings_of(impairment))
        latest = self.library.core_impair(self.core, shape.handle, settings, now)
        for path, hop in shape.paths:
            self._set_keys(path, hop)
            self.library.core_hurry(path.handle, hop, latest)
        self.library.core_resume(self.core, shape.handle, now)

    def _end_shape(self, shape: Shape) -> None:
        self.library.core_leave_shaper(shape.handle)

    def _new_path(self, flow: FlowSpec, shapes: list[Shape], egress: int) -> CorePath:
        handles = (ctypes.c_void_p * max(len(shapes), 1))(*(shape.handle for shape in shapes))
        handle = self._made(self.library.core_new_way(egress, handles, len(shapes)))
        path = CorePath(flow.virtual_link, flow.member, handle, shapes, egress)
        for hop, shape in enumerate(shapes):
            shape.paths.append((path, hop))
            self._set_keys(path, hop)
        return path

    def _set_keys(self, path: CorePath, hop: int) -> None:
        shape = path.shapes[hop]
        ip, other = (
            key_of(shape.seed, shape.link, shape.direction, path.virtual_link, kind, path.member)
            for kind in (0, 1)
        )
        self.library.core_set_keys(path.handle, hop, ip, other)

    def _turn_to(self, path: CorePath, egress: int) -> None:
        path.egress = egress
        self.library.core_set_egress(path.handle, egress)

    def _end_path(self, path: CorePath) -> None:
        for hop, shape in enumerate(path.shapes):
            shape.paths.remove((path, hop))
            shape.gone.add(self._lane(path, hop))
        # The table still names it; the loop stands still until the new one is there.
        self.library.core_leave_way(path.handle)

    def _connect(self, paths: dict[int, CorePath]) -> None:
        indices = (ctypes.c_int32 * len(paths))(*paths)
        ways = (ctypes.c_void_p * len(paths))(*(path.handle for path in paths.values()))
        if self.library.core_set_table(self.core, indices, ways, len(paths)) != 0:
            raise MemoryError("no memory left for the relay")
        self.settle(paths)

    def settle(self, paths: Mapping[int, CorePath] | None = None) -> bool:
        """Have the kernel carry what nothing is done to; False if some of it has frames on their way still,
        that must not be overtaken. While the loop stands still."""
        if paths is None:
            paths = {ingress: path for _, ingress, path in self._flows.values()}
        if not self._packets or not self._shortcuts:
            if self._packets:
                self._packets.listen(paths)
            return True
        plain = {at for at, path in paths.items() if all(shape.nothing for shape in path.shapes)}
        idle = {at for at in plain if self._shortcuts.has(at) or self.library.core_way_idle(paths[at].handle)}
        self._shortcuts.settle(paths, idle, self._packets.listen)
        return idle == plain

    def _lane(self, path: CorePath, hop: int) -> LaneCounters:
        counters = LaneCounters(*self.library.core_lane_counters(path.handle, hop)[: len(_LANE)])
        _add_passed(counters, path.passed)
        return counters

    def _shape_counters(self, shape: Shape) -> dict[str, int]:
        total = LaneCounters()
        for counters in (shape.gone, *(self._lane(path, hop) for path, hop in shape.paths)):
            total.add(counters)
        return {name: getattr(total, name) for name in _LANE}

    def _path_counters(self, path: CorePath) -> dict[str, Any]:
        counters = WayCounters(*self.library.core_way_counters(path.handle)[: len(_WAY)])
        _add_passed(counters, path.passed)
        hops = [self._lane(path, hop) for hop in range(len(path.shapes))]
        return {
            **{name: getattr(counters, name) for name in _WAY},
            "kernel": path.passed.packets,
            "hops": [{name: getattr(hop, name) for name in _LANE} for hop in hops],
        }

    def counters(self) -> dict[str, Any]:
        if self._shortcuts:
            self._shortcuts.count()
        return super().counters()

    def _own_counters(self) -> dict[str, Any]:
        values = (ctypes.c_int64 * (len(LATENESS) + 5))()
        self.library.core_counters(self.core, values)
        buckets = len(LATENESS) + 1
        if self._packets:
            self._unread += self._packets.overflowed()
        latest, held, strange, no_memory = values[buckets:]
        return {
            "unread": self._unread + strange + no_memory,
            "held": held,
            "lateness": values[:buckets],
            "latest": latest,
        }

    # -- without a network -----------------------------------------------------------------------------

    def feed(self, path: CorePath, data: bytes, now: int, tag_type: int = 0, tag: int = 0) -> None:
        self.library.core_feed(self.core, path.handle, data, len(data), tag_type, tag, now)

    def advance(self, now: int) -> None:
        self.library.core_advance(self.core, now)

    def collect(self) -> list[tuple[int, int, bytes]]:
        """What has crossed its way: (when, handle of its path, frame)."""
        buffer = ctypes.create_string_buffer(2**17)
        due, way = ctypes.c_int64(), ctypes.c_void_p()
        out = []
        while length := self.library.core_collect(self.core, buffer, ctypes.byref(due), ctypes.byref(way)):
            out.append((due.value, way.value or 0, buffer.raw[:length]))
        return out

    def close(self) -> None:
        """Free all of it. Nothing of it may be used any more."""
        for _, _, path in self._flows.values():
            self.library.core_leave_way(path.handle)
        for _, shapes in self._links.values():
            for shape in shapes:
                self.library.core_leave_shaper(shape.handle)
        self.library.core_free(self.core)


def _add_passed(counters: LaneCounters | WayCounters, passed: Passed) -> None:
    counters.packets += passed.packets
    counters.sent_packets += passed.packets
    counters.bytes += passed.bytes
    counters.sent_bytes += passed.bytes


class CoreEngine(CoreBoard):
    """A core on its packet socket, running on a thread of its own until `close`."""

    def __init__(self, path: Path = CORE, *, shortcuts: bool = True, most_held: int = MOST_HELD) -> None:
        self.settled = True
        super().__init__(PacketSocket(), path, Shortcuts() if shortcuts else None, most_held)
        self._thread = threading.Thread(target=self.library.core_run, args=(self.core,), name="frames")
        self._thread.start()

    def settle(self, paths: Mapping[int, CorePath] | None = None) -> bool:
        self.settled = super().settle(paths)
        return self.settled

    def settle_soon(self) -> None:
        """What `change` had to leave for later, while frames were on their way."""
        self._pause()
        try:
            self.settle()
        finally:
            self._resume()

    def close(self) -> None:
        self.library.core_stop(self.core)
        self._thread.join()
        super().close()
        if self._shortcuts:
            self._shortcuts.close()
        if self._packets:
            self._packets.close()
