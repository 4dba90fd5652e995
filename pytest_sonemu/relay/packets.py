"""One packet socket for all interfaces of a network namespace, many frames a system call.

Closing a packet socket that is bound to an interface waits 12.5 ms for the kernel; a relay of 500 links
with a socket for each end would need 12 s to die. So there is one socket, bound to none, with a filter in the
kernel that lets in frames of the wanted interfaces only.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pytest_sonemu.relay.socket_filter import attach

_SOL_PACKET = 263
_PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_VNET_HDR = 6, 8, 15
_PACKET_IGNORE_OUTGOING = 23
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_ETH_P_ALL = 0x0003
_MSG_DONTWAIT = 0x40
_SO_TIMESTAMPNS = 35
_TP_STATUS_VLAN_VALID, _TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
_OLDEST = 20_000_000  # a clock that was set must not throw times about
_BUFFER = 64 * 2**20

# The largest frame: 64 KB of IP, Ethernet with two tags, the vnet header before it.
LARGEST = 10 + 65536 + 14 + 8
_SLOT = (LARGEST + 63) // 64 * 64
BATCH = 64
_SHORTEST = 10 + 14

_LOAD_IFINDEX = (0x20, 0, 0, 0xFFFFF000 + 8)
_GREATER, _GREATER_OR_EQUAL, _JUMP, _RETURN = 0x25, 0x35, 0x05, 0x06
_MOST_RANGES = 200


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_long),  # an int, and padding to the end of struct msghdr
        ("length", ctypes.c_uint),
    )


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_ADDRESS = struct.Struct("=HHiHBB8s")
_CONTROL = 128
# Two control messages, each behind a header of 16 bytes: when the frame came, and what else is known of it.
_STAMP_AT, _AUXDATA_AT = 16, 48
_STAMP = struct.Struct("=qq")
_AUXDATA = struct.Struct("=IIIHHHH")


class PacketSocket:
    """Receives from the interfaces that `listen` names, sends by any; frames begin with a vnet header."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self.listen(())
        for option in (_PACKET_AUXDATA, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING):
            self._socket.setsockopt(_SOL_PACKET, option, 1)
        for option in (_SO_RCVBUFFORCE, _SO_SNDBUFFORCE):
            self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # Only now: what came in before the filter and the options stood would be of no use.
        self._bind()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._latest = 0
        self._buffer = bytearray(BATCH * _SLOT)
        self._view = memoryview(self._buffer)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._addresses = (ctypes.c_char * (32 * BATCH))()
        self._controls = (ctypes.c_char * (_CONTROL * BATCH))()
        self._in_vectors, self._out_vectors = (_Vector * BATCH)(), (_Vector * BATCH)()
        self._in, self._out = (_Message * BATCH)(), (_Message * BATCH)()
        self._out_addresses = (ctypes.c_char * (32 * BATCH))()
        for index in range(BATCH):
            self._in_vectors[index].base = self._base + index * _SLOT
            self._in_vectors[index].length = _SLOT
            for message, vectors, addresses in (
                (self._in[index], self._in_vectors, self._addresses),
                (self._out[index], self._out_vectors, self._out_addresses),
            ):
                message.name = ctypes.addressof(addresses) + 32 * index
                message.name_length = 20
                message.vector = ctypes.addressof(vectors) + ctypes.sizeof(_Vector) * index
                message.vectors = 1
            self._in[index].control = ctypes.addressof(self._controls) + _CONTROL * index
            self._in[index].control_length = _CONTROL

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def listen(self, interfaces: Iterable[int]) -> None:
        """Let in frames of these interfaces, by index, and no others."""
        attach(self._socket, interface_filter(sorted(set(interfaces))))

    def receive(self) -> list[tuple[int, int, bytes, int, int, bool]]:
        """What is there, at most BATCH frames: (when, interface, frame, VLAN tag type or 0, VLAN tag, stale).

        `when` in ns of the monotonic clock is the moment at which the kernel had the frame; one that is
        `stale` came longer ago than is believed.
        """
        for index in range(BATCH):
            self._in[index].control_length = _CONTROL
        count = self._libc.recvmmsg(self.fileno(), self._in, BATCH, _MSG_DONTWAIT, None)
        if count <= 0:
            return []
        now = time.monotonic_ns()
        real = time.time_ns()
        frames = []
        for index in range(count):
            message = self._in[index]
            start = index * _SLOT
            if message.length < _SHORTEST:
                continue
            data = bytes(self._view[start : start + message.length])
            interface = _ADDRESS.unpack_from(self._addresses, 32 * index)[2]
            tag_type = tag = age = 0
            stale = False
            if message.control_length >= _AUXDATA_AT + _AUXDATA.size:
                seconds, nanoseconds = _STAMP.unpack_from(self._controls, _CONTROL * index + _STAMP_AT)
                age = max(real - seconds * 10**9 - nanoseconds, 0)
                stale, age = age > _OLDEST, min(age, _OLDEST)
                aux = _AUXDATA.unpack_from(self._controls, _CONTROL * index + _AUXDATA_AT)
                if aux[0] & _TP_STATUS_VLAN_VALID:
                    tag = aux[5]
                    tag_type = aux[6] if aux[0] & _TP_STATUS_VLAN_TPID_VALID else 0x8100
            self._latest = max(min(self._latest, now), now - age)
            frames.append((self._latest, interface, data, tag_type, tag, stale))
        return frames

    def send(self, frames: Sequence[tuple[int, bytes]]) -> list[int]:
        """Send frames, each by an interface; returns the places of those that the kernel refused."""
        refused = []
        for first in range(0, len(frames), BATCH):
            batch = frames[first : first + BATCH]
            for index, (interface, data) in enumerate(batch):
                _ADDRESS.pack_into(self._out_addresses, 32 * index, 17, 0, interface, 0, 0, 0, b"")
                vector = self._out_vectors[index]
                vector.base = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
                vector.length = len(data)
            done = 0
            size = ctypes.sizeof(_Message)
            while done < len(batch):
                start = ctypes.byref(self._out, done * size)
                sent = self._libc.sendmmsg(self.fileno(), start, len(batch) - done, _MSG_DONTWAIT)
                if sent <= 0:
                    refused.append(first + done)
                    sent = 1
                done += sent
        return refused

    def overflowed(self) -> int:
        """Frames that the kernel dropped since the last call, because they were not read in time."""
        _, drops = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        return int(drops)

    def _bind(self) -> None:
        # Python's bind needs an interface's name; none at all is what is wanted here.
        address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0, b"")
        if ctypes.CDLL(None, use_errno=True).bind(self.fileno(), address, len(address)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def interface_filter(interfaces: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """A classic BPF program that passes frames of these interfaces (sorted): a binary search among ranges.

    A program has at most 4,096 instructions, and on older kernels 20 KB. So with very many ranges the
    nearest ones are joined: what lies between them is let in for the relay to drop.
    """
    ranges = _ranges(interfaces)

    def search(low: int, high: int) -> list[tuple[int, int, int, int]]:
        if high - low == 0:
            return [(_RETURN, 0, 0, 0)]
        if high - low == 1:
            first, last = ranges[low]
            return [
                (_GREATER_OR_EQUAL, 0, 2, first),
                (_GREATER, 1, 0, last),
                (_RETURN, 0, 0, 0xFFFFFFFF),
                (_RETURN, 0, 0, 0),
            ]
        middle = (low + high) // 2
        below, above = search(low, middle), search(middle, high)
        # The long jump, because a conditional one reaches 255 instructions only.
        return [(_GREATER_OR_EQUAL, 1, 0, ranges[middle][0]), (_JUMP, 0, 0, len(above)), *above, *below]

    return [_LOAD_IFINDEX, *search(0, len(ranges))]


def _ranges(interfaces: Sequence[int]) -> list[tuple[int, int]]:
    gaps = [later - earlier for earlier, later in pairwise(interfaces)]
    widest = sorted((gap for gap in gaps if gap > 1), reverse=True)[: _MOST_RANGES - 1]
    apart = min(widest, default=2)
    ranges: list[tuple[int, int]] = []
    for index in interfaces:
        # Gaps of one width are joined or kept together; better a few ranges too few than too many.
        if ranges and (index - ranges[-1][1] < apart or (len(ranges) >= _MOST_RANGES)):
            ranges[-1] = ranges[-1][0], index
        else:
            ranges.append((index, index))
    return ranges
