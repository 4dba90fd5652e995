"""The frames that were put on the links of a bed of late, kept in memory for the report of a failure."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.netlink import links_of, read_links, route_socket
from pytest_sonemu.handles.packets import RawFrame
from pytest_sonemu.handles.pcap import Record
from pytest_sonemu.handles.ring import BLOCK, Ring, frames_of, last_time
from pytest_sonemu.handles.wire import wire_beginnings, wire_frames
from pytest_sonemu.planning.plan import LinkPlan
from pytest_sonemu.relay.socket_filter import Instruction

# Shared with the kernel, and what is kept of it: bytes are held in this process only.
_RING_BLOCKS, _KEPT = 8, 32 * BLOCK
# The thread wakes up so often, at most; a failure waits for it as long.
_RETIRE = 60
# Frames of ordinary size are kept whole; of TCP's super-frames the headers say enough.
_WHOLE, _BEGINNING = 2048, 256
# More takes a second to write, and nobody reads it.
MOST_FRAMES = 100_000
_LINK_GROUP = 1
_LOAD_LENGTH, _LOAD_KIND = (0x80, 0, 0, 0), (0x20, 0, 0, 0xFFFFF004)
_OUTGOING = 4
# What goes into an endpoint has been seen before, where it came out of another one.
_PUT_ON_LINKS: list[Instruction] = [
    _LOAD_KIND,
    (0x15, 3, 0, _OUTGOING),
    _LOAD_LENGTH,
    (0x25, 0, 2, _WHOLE),
    (0x06, 0, 0, _BEGINNING),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0x40000),
]


@dataclass(frozen=True)
class Recorded:
    """The frames of some links since a time. `since` is what they are complete from; None: from the start."""

    links: dict[str, list[Record]]
    since: float | None


class BlackBox:
    """Records from when it is made until it is closed; one for a bed. Thread-safe."""

    def __init__(self, factory: SocketFactory) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._blocks: deque[bytes] = deque()
        self._size = 0
        self._complete_from = 0.0
        self._names: dict[int, str] = {}
        self._over = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ring = Ring(factory, _RING_BLOCKS, _RETIRE, self._keep)
        try:
            self._changes = route_socket(factory, None, None)
            self._changes.bind((0, _LINK_GROUP))
            self._changes.setblocking(False)
            self._look()
            self._ring.filter(_PUT_ON_LINKS)
        except BaseException:
            self._ring.close()
            raise
        self._thread = threading.Thread(target=self._record, name="black box", daemon=True)
        self._thread.start()

    def frames(self, links: Iterable[LinkPlan], since: float) -> Recorded:
        """What was put on these links since a time (seconds since the epoch), as on a wire, by their ids.

        Of more than 100,000 frames the newest. Raises BedGoneError if the bed has ended.
        """
        self._ring.flush()
        self._look()
        with self._lock:
            blocks = [block for block in self._blocks if last_time(block) >= since]
            complete = self._complete_from
        ends = {end.outer: link.id for link in links for end in link.ends}
        where = {index: ends[name] for index, name in self._names.items() if name in ends}
        found: dict[str, list[Record]] = defaultdict(list)
        room = MOST_FRAMES
        for block in reversed(blocks):
            for frame in reversed(list(frames_of([block]))):
                if frame.index not in where or frame.nanoseconds < since * 1e9:
                    continue
                if room <= 0:
                    complete = max(complete, frame.nanoseconds / 1e9)
                    break
                records = _records(frame)
                room -= len(records)
                found[where[frame.index]] += reversed(records)
            if room <= 0:
                break
        for records in found.values():
            records.reverse()
        return Recorded(dict(found), complete if complete > since else None)

    def close(self) -> None:
        """Record no more; may be called again."""
        if self._over < 0:
            return
        os.eventfd_write(self._over, 1)
        self._thread.join()
        over, self._over = self._over, -1
        os.close(over)
        self._ring.close()
        self._changes.close()

    def _keep(self, block: bytes) -> None:
        with self._lock:
            self._blocks.append(block)
            self._size += len(block)
            while self._size > _KEPT and len(self._blocks) > 1:
                gone = self._blocks.popleft()
                self._size -= len(gone)
                self._complete_from = max(self._complete_from, last_time(gone))

    def _record(self) -> None:
        poll = select.poll()
        for descriptor in (self._ring.socket.fileno(), self._changes.fileno(), self._over):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._over in ready:
                return
            if self._changes.fileno() in ready:
                self._note_changes()
            self._ring.copy()
            if self._ring.closed:
                return  # with the bed
            if self._ring.dropped():
                with self._lock:
                    self._complete_from = time.time()

    def _look(self) -> None:
        """Learn the names of the interfaces that are there; of those that have gone they are known."""
        with closing(route_socket(self._factory, None, None)) as sock:
            for link in read_links(sock):
                self._names[link.index] = link.name

    def _note_changes(self) -> None:
        """A VNF that restarts has new interfaces of the old names: hear of each while it is there."""
        try:
            while data := self._changes.recv(1 << 16):
                for link in links_of(data):
                    self._names[link.index] = link.name
        except BlockingIOError:
            return
        except OSError:
            return  # more at once than the socket had room for: `_look` finds those that stay


def _records(frame: RawFrame) -> Sequence[Record]:
    if frame.whole:
        pieces = [(piece, len(piece)) for piece in wire_frames(frame.data, frame.vnet, frame.tag)]
    else:
        pieces = wire_beginnings(frame.data, frame.vnet, frame.tag, frame.length)
    return [Record(frame.nanoseconds, data, length) for data, length in pieces]
