"""A packet socket of the fabric with a ring of memory that it shares with the kernel.

The kernel writes frames into blocks of the ring; whoever reads copies the blocks that are full, without
looking into them, so that it keeps up with any traffic. Closing a packet socket costs 12.5 ms and
setting up a ring as much: both live as long as their bed.
"""

from __future__ import annotations

import mmap
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.packets import RawFrame
from pytest_sonemu.handles.wire import VNET_HEADER, VnetHeader
from pytest_sonemu.relay.socket_filter import Instruction, attach

NOTHING: list[Instruction] = [(0x06, 0, 0, 0)]
# A frame of 64 KB must fit into a block.
BLOCK = 1 << 20
_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_VNET_HDR = 263, 5, 6, 10, 15
_TPACKET_V3 = 2
_TO_USER, _VLAN_THERE, _VLAN_KIND_THERE = 1, 1 << 4, 1 << 6
_OUTGOING = 4
_FRAME = 2048
_FLUSH_PATIENCE = 2.0
_BLOCK_HEADER = struct.Struct("=IIIIIIQ")
_STATUS_AT, _COUNT_AT = 8, 12
_PACKET = struct.Struct("=IIIIIIHHIIHH")
_ADDRESS = struct.Struct("=HHiHBB")
_ADDRESS_AT = 48
# Of a block: seconds and nanoseconds of its last frame.
_LAST = struct.Struct("=II")
_LAST_AT = 40


class Ring:
    """The socket and its ring; `take` is called with each block that the kernel has filled. Thread-safe.

    The kernel closes a block that is not full `retire` ms after its first frame.
    """

    def __init__(
        self, factory: SocketFactory, blocks: int, retire: int, take: Callable[[bytes], object]
    ) -> None:
        sock = factory.socket(None, None, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        try:
            attach(sock, NOTHING)
            sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            ring = struct.pack("=7I", BLOCK, blocks, _FRAME, BLOCK // _FRAME * blocks, retire, 0, 0)
            sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, ring)
            self._ring = mmap.mmap(sock.fileno(), BLOCK * blocks)
        except BaseException:
            sock.close()
            raise
        self.socket = sock
        self._blocks, self._take = blocks, take
        self._lock = threading.Lock()
        self._next = 0

    @property
    def closed(self) -> bool:
        return self.socket.fileno() < 0

    def filter(self, program: list[Instruction]) -> None:
        """Let the kernel write what this program accepts from now on."""
        attach(self.socket, program)

    def copy(self) -> None:
        """Take the blocks that the kernel has closed, and give them back to it."""
        with self._lock:
            while True:
                at = self._next * BLOCK
                _, _, status, count, _, used, _ = _BLOCK_HEADER.unpack_from(self._ring, at)
                if not status & _TO_USER:
                    return
                if count:
                    self._take(self._ring[at : at + used])
                struct.pack_into("=I", self._ring, at + _COUNT_AT, 0)
                struct.pack_into("=I", self._ring, at + _STATUS_AT, 0)
                self._next = (self._next + 1) % self._blocks

    def flush(self) -> None:
        """Wait for the kernel to close the block that it is filling, if there is anything in it."""
        deadline = time.monotonic() + _FLUSH_PATIENCE
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        while True:
            self.copy()
            with self._lock:
                if not struct.unpack_from("=I", self._ring, self._next * BLOCK + _COUNT_AT)[0]:
                    return
            if time.monotonic() > deadline:
                raise ProbeError("the kernel keeps back what was captured")
            poll.poll(1)

    def dropped(self) -> int:
        """Frames that the ring had no room for since the last call."""
        _, dropped, _ = struct.unpack("=3I", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12))
        return int(dropped)

    def close(self) -> None:
        """Close the socket; nobody may be reading any more."""
        self._ring.close()
        self.socket.close()


def last_time(block: bytes) -> float:
    """When the last frame of a block was seen, in seconds since the epoch."""
    seconds, nanoseconds = _LAST.unpack_from(block, _LAST_AT)
    return int(seconds) + int(nanoseconds) / 1e9


def frames_of(blocks: Iterable[bytes]) -> Iterator[RawFrame]:
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
                length=length,
            )
            at += onward
