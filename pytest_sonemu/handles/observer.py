"""One packet socket in the fabric that sees every outer end, shared by all probes of a client.

Closing a packet socket costs the kernel 12.5 ms, so there is one as long as the bed, bound to no
interface (frames are told apart by the interface they were seen on). While nobody watches, its
filter passes nothing. There is no thread: of those who wait, one reads for all.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_sonemu.handles.bpf import SNAP_LENGTH, Wanted, program
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.frames import Frame, parse
from pytest_sonemu.handles.listeners import Listeners
from pytest_sonemu.relay.socket_filter import attach

if TYPE_CHECKING:
    from typing_extensions import Self

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA = 263, 6, 8
_SO_TIMESTAMPNS = 35
_PACKET_OUTGOING = 4
_TAGGED = 1 << 4
_TIMESPEC, _AUXDATA = struct.Struct("@ll"), struct.Struct("@IIIHHHH")
_ROOM = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_AUXDATA.size)
_BUFFER = 4 << 20


class Observer:
    """Sees frames at the outer ends of a bed. Thread-safe; the socket is opened with the first watch.

    A frame is seen twice on its way over a link: where it comes out of one endpoint and where it
    goes into the next.
    """

    def __init__(self, factory: SocketFactory) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._watches: list[Watch] = []
        self._waiting: list[Watch] = []
        self._reader: Watch | None = None
        # For the probes that watch here: they go to the same ports.
        self.listeners = Listeners()
        # Held by the probe that compares a kernel's counters before and after one packet of its own.
        self.counting = threading.Lock()

    def watch(self, wanted: Wanted, match: Callable[[Frame], bool] = lambda frame: True) -> Watch:
        """Begin to collect the wanted frames for which `match` holds; close it, or use it in `with`.

        Every frame that crosses an outer end after this call is seen. `match` is called by whichever
        thread reads, one at a time.
        """
        with self._lock:
            sock = self._socket or self._open()
            self._pump(sock)  # what was still queued is not for this one
            watch = Watch(self, wanted, match)
            self._watches.append(watch)
            self._set_filter(sock)
            return watch

    def close(self) -> None:
        """Close the socket; watches still open see nothing more."""
        with self._lock:
            self._watches = []
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _open(self) -> socket.socket:
        # It hears everything until its filter stands; that much is thrown away by the first read.
        sock = self._factory.socket(None, None, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        try:
            attach(sock, program(Wanted()))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        return sock

    def _set_filter(self, sock: socket.socket) -> None:
        wanted = Wanted()
        for watch in self._watches:
            wanted |= watch.wanted
        attach(sock, program(wanted))

    def _pump(self, sock: socket.socket) -> None:
        """Give every queued frame to the watches that want it (the lock is held)."""
        while True:
            try:
                data, messages, _, address = sock.recvmsg(SNAP_LENGTH, _ROOM)
            except BlockingIOError:
                break
            if not self._watches:
                continue
            frame = _frame(data, messages, address)
            for watch in self._watches:
                if watch.match(frame):
                    watch._give(frame)
        lost = struct.unpack("@II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        if lost:
            for watch in self._watches:
                watch.missed += lost

    def _read(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._pump(self._socket)

    def _enter(self, watch: Watch) -> None:
        with self._lock:
            self._waiting.append(watch)

    def _leave(self, watch: Watch) -> None:
        with self._lock:
            self._waiting.remove(watch)
            if self._reader is watch:
                self._reader = self._waiting[0] if self._waiting else None
                if self._reader is not None:
                    self._reader._poke()

    def _reads(self, watch: Watch) -> socket.socket | None:
        """The socket, if it is up to this watch to read it for all who wait."""
        with self._lock:
            if self._reader is None:
                self._reader = watch
            return self._socket if self._reader is watch else None

    def _forget(self, watch: Watch) -> None:
        with self._lock:
            watch._release()
            if watch in self._watches:
                self._watches.remove(watch)
                if self._socket is not None:
                    self._set_filter(self._socket)


class Watch:
    """What one probe sees. `missed` counts frames that the kernel had no room for: above 0, what was
    not seen proves nothing."""

    def __init__(self, observer: Observer, wanted: Wanted, match: Callable[[Frame], bool]) -> None:
        self.wanted, self.match = wanted, match
        self.missed = 0
        self._observer = observer
        self._frames: deque[Frame] = deque()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._open = True

    def frames(self) -> list[Frame]:
        """The frames seen since the last call, up to this moment, in the order they were seen."""
        self._observer._read()
        taken = []
        while self._frames:
            taken.append(self._frames.popleft())
        return taken

    def wait(self, deadline: float, readable: Iterable[int] = (), writable: Iterable[int] = ()) -> bool:
        """Wait for a frame, or for one of the other descriptors; False at `deadline` (time.monotonic())."""
        self._observer._enter(self)
        try:
            return self._wait(deadline, list(readable), list(writable))
        finally:
            self._observer._leave(self)

    def _wait(self, deadline: float, readable: list[int], writable: list[int]) -> bool:
        poll = select.poll()
        for fd in (self._event, *readable):
            poll.register(fd, select.POLLIN)
        for fd in writable:
            poll.register(fd, select.POLLOUT)
        others = {*readable, *writable}
        reading = False
        while True:
            sock = self._observer._reads(self)
            if sock is not None:
                self._observer._read()
                if not reading:
                    reading = True
                    poll.register(sock.fileno(), select.POLLIN)
            if self._frames:
                return True
            left = deadline - time.monotonic()
            ready = {fd for fd, _ in poll.poll(max(0.0, left) * 1e3)}
            if self._event in ready:
                os.eventfd_read(self._event)
            if ready & others:
                return True
            if left <= 0:
                return bool(self._frames)

    def close(self) -> None:
        """See no more; idempotent."""
        self._observer._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _give(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._poke()

    def _poke(self) -> None:
        if self._open:
            os.eventfd_write(self._event, 1)

    def _release(self) -> None:
        if self._open:
            self._open = False
            os.close(self._event)


def _frame(
    data: bytes, messages: list[tuple[int, int, bytes]], address: tuple[str, int, int, int, bytes]
) -> Frame:
    seconds, tag = time.time(), None
    for level, kind, value in messages:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            whole, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
            seconds = whole + nanoseconds / 1e9
        elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            status, _, _, _, _, tci, _ = _AUXDATA.unpack(value[: _AUXDATA.size])
            tag = tci & 0xFFF if status & _TAGGED else None
    return parse(data, address[0], address[2] == _PACKET_OUTGOING, seconds, tag)
