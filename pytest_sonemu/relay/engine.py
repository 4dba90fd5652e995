"""The relay's loop in plain Python: frames in, through the shapers, out on time."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import asdict
from typing import Any

from pytest_sonemu.relay import offload
from pytest_sonemu.relay.agenda import MOST_HELD, Agenda
from pytest_sonemu.relay.board import LATENESS, Board
from pytest_sonemu.relay.lanes import Frame, Way
from pytest_sonemu.relay.model import Direction, FlowSpec, LinkSpec
from pytest_sonemu.relay.packets import PacketSocket
from pytest_sonemu.relay.shaper import Shaper


class Engine(Board[Shaper, Way]):
    """All links and flows of one relay. Not thread-safe; nothing of it blocks."""

    kind = "python"

    def __init__(self, *, most_held: int = MOST_HELD) -> None:
        super().__init__()
        self._packets = PacketSocket()
        self._agenda = Agenda(most_held)
        self._ingress: dict[int, Way] = {}
        self._lateness = [0] * (len(LATENESS) + 1)
        self._unread = self._latest = 0

    def fileno(self) -> int:
        return self._packets.fileno()

    def close(self) -> None:
        self._packets.close()

    # -- frames ----------------------------------------------------------------------------------------

    @property
    def due(self) -> int | None:
        """When `step` has something to do even if no frame comes in: in ns of the monotonic clock."""
        return 0 if self._agenda.out else self._agenda.due  # a change has let frames go

    def step(self) -> None:
        """Take in what is there, do what is due, send what has crossed its way."""
        agenda = self._agenda
        for at, interface, data, tag_type, tag, stale in self._packets.receive():
            way = self._ingress.get(interface)
            if way is None:
                continue
            if tag_type:
                data = offload.with_tag(data, tag_type, tag)
            agenda.run(at)
            before = way.counters.packets
            self._take_in(way, data, at)
            if stale:
                way.note_stale(way.counters.packets - before)
        agenda.run(time.monotonic_ns())
        if agenda.out:
            self._send_out()

    def _take_in(self, way: Way, data: bytes, now: int) -> None:
        size, segments = offload.wire_size(data)
        counters = way.counters
        counters.packets += segments
        counters.bytes += size
        if self._agenda.full():
            counters.memory += segments
            return
        kind = offload.kind_of(data) if way.lanes else 0
        if segments > 1 and way.by_frame:
            for piece in offload.cut(data):
                if self._agenda.full():
                    counters.memory += 1
                    continue
                # One that cannot be cut goes on as it is, for the kernel to refuse.
                if piece is not data:
                    size, segments = len(piece) - offload.VNET.size, 1
                self._agenda.enter(Frame(way, piece, size, segments, kind), now)
        else:
            self._agenda.enter(Frame(way, data, size, segments, kind), now)

    def _send_out(self) -> None:
        out, self._agenda.out = self._agenda.out, []
        now = time.monotonic_ns()
        for due, frame in out:
            if due < now:
                self._lateness[bisect_left(LATENESS, now - due)] += 1
                self._latest = max(self._latest, now - due)
            counters = frame.way.counters
            counters.sent_packets += frame.segments
            counters.sent_bytes += frame.size
        for place in self._packets.send([(frame.way.egress, frame.data) for _, frame in out]):
            frame = out[place][1]
            counters = frame.way.counters
            counters.sent_packets -= frame.segments
            counters.sent_bytes -= frame.size
            counters.refused += frame.segments

    # -- what the board asks for -----------------------------------------------------------------------

    def _new_shape(self, link: LinkSpec, direction: Direction) -> Shaper:
        return Shaper(self._agenda, link.name, direction, link.towards(direction))

    def _impair(self, shape: Shaper, link: LinkSpec, direction: Direction, now: int) -> None:
        self._agenda.run(now)
        shape.impair(link.towards(direction), now)

    def _end_shape(self, shape: Shaper) -> None: ...

    def _new_path(self, flow: FlowSpec, shapes: list[Shaper], egress: int) -> Way:
        lanes = [shape.admit(flow.virtual_link, flow.member) for shape in shapes]
        return Way(flow.virtual_link, lanes, egress)

    def _turn_to(self, path: Way, egress: int) -> None:
        path.egress = egress

    def _end_path(self, path: Way) -> None:
        for lane in path.lanes:
            lane.shaper.dismiss(lane)

    def _connect(self, paths: dict[int, Way]) -> None:
        self._ingress = paths
        self._packets.listen(paths)

    def _shape_counters(self, shape: Shaper) -> dict[str, int]:
        return asdict(shape.counters)

    def _path_counters(self, path: Way) -> dict[str, Any]:
        hops = [asdict(lane.counters) for lane in path.lanes]
        return {**asdict(path.counters), "hops": hops}

    def _own_counters(self) -> dict[str, Any]:
        self._unread += self._packets.overflowed()
        return {
            "unread": self._unread,
            "held": self._agenda.held,
            "lateness": self._lateness,
            "latest": self._latest,
        }
