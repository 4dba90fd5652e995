"""Frames from one interface to another by the kernel alone: a filter of ours at where they come in.

A flow that nothing is done to needs no process between its ends: such a filter costs no copy and no
wake-up. Each is one `tc` filter with a priority of its own, so that others' are left alone.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")
_TC = struct.Struct("=BxxxiIII")
_REQUEST, _ACK, _DUMP, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_NEW_QDISC, NEW_FILTER, _DELETE_FILTER, _GET_FILTER = 36, 44, 45, 46
_ERROR, _DONE = 2, 3
_CLSACT, _INGRESS = 0xFFFFFFF1, 0xFFFFFFF2
_CLSACT_HANDLE = 0xFFFF0000
# Of the filters; whoever outlives a relay takes away by it what that one left.
PREFERENCE = 7_000
_ALL_PROTOCOLS = socket.htons(0x0003)
_KIND, _OPTIONS = 1, 2
_SELECTOR, _ACTIONS = 5, 7  # of u32
_ACTION_KIND, _ACTION_OPTIONS, _ACTION_STATS = 1, 2, 4
_BASIC, _PACKETS_64 = 1, 8
_MIRRED, _EGRESS_REDIRECT, _STOLEN = 2, 1, 4
# Matches all: final, one key of 0 under the mask 0.
_EVERYTHING = struct.pack("=BBBxHHHhhxxI", 1, 0, 1, 0, 0, 0, 0, 0, 0) + struct.pack("=IIii", 0, 0, 0, 0)
_NESTED = 0x8000
_TYPE = 0x3FFF
_EEXIST = 17


Message = tuple[int, int, bytes]
"""Kind, flags and body of a netlink request."""


def pass_on(ingress: int, preference: int) -> Message:
    """What comes in there goes on as if no filter of a lesser preference were there."""
    options = _attribute(_OPTIONS | _NESTED, _attribute(_SELECTOR, _EVERYTHING))
    body = _place(ingress, preference) + _attribute(_KIND, b"u32\0") + options
    return NEW_FILTER, _CREATE | _EXCLUSIVE, body


class Redirects:
    """Of the network namespace in which it is made, with the `preference` that marks them as ours.

    Raises OSError where the kernel refuses.
    """

    def __init__(self, preference: int = PREFERENCE) -> None:
        self._preference = preference
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.settimeout(2.0)
        self._number = 0

    def close(self) -> None:
        self._socket.close()

    def add(self, ingress: int, egress: int) -> None:
        """All frames that come in by one interface leave by the other, from now on."""
        head = _TC.pack(0, ingress, _CLSACT_HANDLE, _CLSACT, 0)
        try:
            self._tell(_NEW_QDISC, _CREATE | _EXCLUSIVE, head + _attribute(_KIND, b"clsact\0"))
        except OSError as error:
            if error.errno != _EEXIST:
                raise
        mirred = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, egress)
        action = _attribute(_ACTION_KIND, b"mirred\0")
        action += _attribute(_ACTION_OPTIONS | _NESTED, _attribute(_MIRRED, mirred))
        options = _attribute(_SELECTOR, _EVERYTHING)
        options += _attribute(_ACTIONS | _NESTED, _attribute(1 | _NESTED, action))
        body = _attribute(_KIND, b"u32\0") + _attribute(_OPTIONS | _NESTED, options)
        self._tell(NEW_FILTER, _CREATE | _EXCLUSIVE, self._place(ingress) + body)

    def remove(self, ingress: int) -> bool:
        """No longer; False if there was nothing to be taken away, perhaps with its interface."""
        try:
            self._tell(_DELETE_FILTER, 0, self._place(ingress))
        except OSError:
            return False
        return True

    def counted(self, ingress: int) -> tuple[int, int]:
        """Wire frames and bytes since `add`; bytes without the headers that cutting a super-frame repeats.

        (0, 0) where there is none.
        """
        try:
            answers = list(self._ask(_GET_FILTER, _DUMP, self._place(ingress)))
        except OSError:
            return 0, 0
        for message in answers:
            options = dict(_attributes(dict(_attributes(message[_TC.size :])).get(_OPTIONS, b"")))
            for _, action in _attributes(options.get(_ACTIONS, b"")):
                stats = dict(_attributes(dict(_attributes(action)).get(_ACTION_STATS, b"")))
                if _BASIC in stats:
                    size, packets = struct.unpack_from("=QI", stats[_BASIC])
                    if _PACKETS_64 in stats:
                        (packets,) = struct.unpack_from("=Q", stats[_PACKETS_64])
                    # The kernel counts here what is behind the Ethernet header.
                    return packets, size + 14 * packets
        return 0, 0

    def _place(self, ingress: int) -> bytes:
        return _place(ingress, self._preference)

    def _tell(self, kind: int, flags: int, body: bytes) -> None:
        for _ in self._ask(kind, flags | _ACK, body):
            pass

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        self._number += 1
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, kind, flags | _REQUEST, self._number, 0) + body)
        while True:
            data = self._socket.recv(2**16)
            while len(data) >= _HEADER.size:
                length, kind, _, number, _ = _HEADER.unpack_from(data)
                message, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
                if number != self._number:
                    continue  # of an answer that was not waited for
                if kind in (_ERROR, _DONE):
                    (status,) = struct.unpack_from("=i", message) if message else (0,)
                    if status:
                        raise OSError(-status, "the kernel refused a redirect")
                    return
                yield message


def _place(ingress: int, preference: int) -> bytes:
    return _TC.pack(0, ingress, 0, _INGRESS, preference << 16 | _ALL_PROTOCOLS)


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & _TYPE, data[4:length]
        data = data[(length + 3) & ~3 :]
