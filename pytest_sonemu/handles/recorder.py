"""A packet socket of the fabric with a ring of memory that it shares with the kernel, for captures.

The kernel writes frames into blocks of the ring; a thread copies blocks that are full, without looking
into them, so that it keeps up with any traffic. Closing a packet socket costs 12.5 ms and setting
up a ring as much: a recorder that is given back is used again, and lives as long as its bed.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.packets import RawFrame
from pytest_sonemu.handles.wire import VNET_HEADER, VnetHeader
from pytest_sonemu.relay.socket_filter import Instruction, attach

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_VNET_HDR = 263, 5, 6, 10, 15
_TPACKET_V3 = 2
_TO_USER, _VLAN_THERE, _VLAN_KIND_THERE = 1, 1 << 4, 1 << 6
_OUTGOING = 4
_NOTHING: list[Instruction] = [(0x06, 0, 0, 0)]
# A frame of 64 KB must fit into a block; 32 MB hold 10,000 full frames seen twice while nobody reads.
BLOCK, BLOCKS = 1 << 20, 32
_FRAME = 2048
# The kernel closes a block that is not full after so many ms.
_RETIRE = 4
_FLUSH_PATIENCE = 2.0
_BLOCK_HEADER = struct.Struct("=IIIIIIQ")
_STATUS_AT, _COUNT_AT = 8, 12
_PACKET = struct.Struct("=IIIIIIHHIIHH")
_ADDRESS = struct.Struct("=HHiHBB")
_ADDRESS_AT = 48


class Recorder:
    """Records from `start` to `stop`; then it may be started again. Not for several threads at once."""

    def __init__(self, factory: SocketFactory) -> None:
        sock = factory.socket(None, None, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        try:
            attach(sock, _NOTHING)
            sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            ring = struct.pack("=7I", BLOCK, BLOCKS, _FRAME, BLOCK // _FRAME * BLOCKS, _RETIRE, 0, 0)
            sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, ring)
            self._ring = mmap.mmap(sock.fileno(), BLOCK * BLOCKS)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._lock = threading.Lock()
        self._next = 0
        self._blocks: list[bytes] = []
        self._stopping = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None
        self._missed = 0

    def start(self, program: list[Instruction]) -> None:
        """Record what the program accepts from now on."""
        self._count_missed()
        self._missed = 0
        self._thread = threading.Thread(target=self._copy_on, name="recorder", daemon=True)
        self._thread.start()
        attach(self._socket, program)

    def refilter(self, program: list[Instruction]) -> None:
        """Go on with another program."""
        attach(self._socket, program)

    def stop(self) -> None:
        """Record no more."""
        attach(self._socket, _NOTHING)
        os.eventfd_write(self._stopping, 1)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        os.eventfd_read(self._stopping)

    def take(self) -> list[bytes]:
        """All blocks up to this moment that were not taken before."""
        self._flush()
        with self._lock:
            taken, self._blocks = self._blocks, []
        return taken

    def wait(self, timeout: float) -> None:
        """Wait for the kernel to close a block, or so many seconds."""
        select.select([self._socket], [], [], timeout)

    @property
    def missed(self) -> int:
        """Frames that the ring had no room for since the start."""
        self._count_missed()
        return self._missed

    def close(self) -> None:
        """Close the socket; may be called again."""
        if self._socket.fileno() >= 0:
            if self._thread is not None:
                self.stop()
            self._ring.close()
            self._socket.close()
            os.close(self._stopping)

    # -- the ring ---------------------------------------------------------------------------------

    def _copy_on(self) -> None:
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.register(self._stopping, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            self._copy()
            if self._stopping in ready:
                return

    def _copy(self) -> None:
        """Take the blocks that the kernel has closed, and give them back to it."""
        with self._lock:
            while True:
                at = self._next * BLOCK
                _, _, status, count, _, used, _ = _BLOCK_HEADER.unpack_from(self._ring, at)
                if not status & _TO_USER:
                    return
                if count:
                    self._blocks.append(self._ring[at : at + used])
                struct.pack_into("=I", self._ring, at + _COUNT_AT, 0)
                struct.pack_into("=I", self._ring, at + _STATUS_AT, 0)
                self._next = (self._next + 1) % BLOCKS

    def _flush(self) -> None:
        """Wait for the kernel to close the block that it is filling, if there is anything in it."""
        deadline = time.monotonic() + _FLUSH_PATIENCE
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        while True:
            self._copy()
            with self._lock:
                if not struct.unpack_from("=I", self._ring, self._next * BLOCK + _COUNT_AT)[0]:
                    return
            if time.monotonic() > deadline:
                raise ProbeError("the kernel keeps back what was captured")
            poll.poll(1)

    def _count_missed(self) -> None:
        _, dropped, _ = struct.unpack("=3I", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12))
        self._missed += dropped


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


def frames_of(blocks: list[bytes]) -> Iterator[RawFrame]:
    """The frames in blocks of a ring, in the order in which the kernel saw them."""
    for block in blocks:
        _, _, _, count, at, _, _ = _BLOCK_HEADER.unpack_from(block)
        for _ in range(count):
            onward, seconds, nanoseconds, kept, length, status, mac, _, _, tci, kind, _ = _PACKET.unpack_from(
                block, at
            )
            _, _, index, _, direction, _ = _ADDRESS.unpack_from(block, at + _ADDRESS_AT)
            tag = None
            if status & _VLAN_THERE:
                tag = (kind if status & _VLAN_KIND_THERE else 0x8100, tci)
            yield RawFrame(
                nanoseconds=seconds * 1_000_000_000 + nanoseconds,
                index=index,
                outgoing=direction == _OUTGOING,
                data=block[at + mac : at + mac + kept],
                vnet=VnetHeader(*VNET_HEADER.unpack_from(block, at + mac - VNET_HEADER.size)),
                tag=tag,
                whole=kept == length,
            )
            at += onward
