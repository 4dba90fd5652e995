"""Recorders: what captures get their frames from, each with a ring of its own.

A recorder that is given back is used again, since setting one up and closing it costs 12.5 ms each.
"""

from __future__ import annotations

import os
import select
import threading

from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.ring import NOTHING, Ring
from pytest_sonemu.relay.socket_filter import Instruction

# 32 MB hold 10,000 full frames seen twice while nobody reads.
BLOCKS = 32
_RETIRE = 4


class Recorder:
    """Records from `start` to `stop`; then it may be started again. Not for several threads at once."""

    def __init__(self, factory: SocketFactory) -> None:
        self._lock = threading.Lock()
        self._blocks: list[bytes] = []
        self._ring = Ring(factory, BLOCKS, _RETIRE, self._keep)
        self._stopping = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None
        self._missed = 0

    def start(self, program: list[Instruction]) -> None:
        """Record what the program accepts from now on."""
        self._ring.dropped()
        self._missed = 0
        self._thread = threading.Thread(target=self._copy_on, name="recorder", daemon=True)
        self._thread.start()
        self._ring.filter(program)

    def refilter(self, program: list[Instruction]) -> None:
        """Go on with another program."""
        self._ring.filter(program)

    def stop(self) -> None:
        """Record no more."""
        self._ring.filter(NOTHING)
        os.eventfd_write(self._stopping, 1)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        os.eventfd_read(self._stopping)

    def take(self) -> list[bytes]:
        """All blocks up to this moment that were not taken before."""
        self._ring.flush()
        with self._lock:
            taken, self._blocks = self._blocks, []
        return taken

    def wait(self, timeout: float) -> None:
        """Wait for the kernel to close a block, or so many seconds."""
        select.select([self._ring.socket], [], [], timeout)

    @property
    def missed(self) -> int:
        """Frames that the ring had no room for since the start."""
        self._missed += self._ring.dropped()
        return self._missed

    def close(self) -> None:
        """Close the socket; may be called again."""
        if not self._ring.closed:
            if self._thread is not None:
                self.stop()
            self._ring.close()
            os.close(self._stopping)

    def _keep(self, block: bytes) -> None:
        with self._lock:
            self._blocks.append(block)

    def _copy_on(self) -> None:
        poll = select.poll()
        poll.register(self._ring.socket.fileno(), select.POLLIN)
        poll.register(self._stopping, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            self._ring.copy()
            if self._stopping in ready:
                return


class Recorders:
    """The recorders of a bed: given out, taken back, closed with it. Thread-safe."""

    def __init__(self, factory: SocketFactory) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._idle: list[Recorder] = []
        self._all: list[Recorder] = []

    def borrow(self) -> Recorder:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        recorder = Recorder(self._factory)
        with self._lock:
            self._all.append(recorder)
        return recorder

    def give_back(self, recorder: Recorder) -> None:
        with self._lock:
            self._idle.append(recorder)

    def close(self) -> None:
        with self._lock:
            every, self._all, self._idle = self._all, [], []
        for recorder in every:
            recorder.close()
