"""Offloads switched off for an interface: what it sends is cut into segments and summed there and then.

The kernel's own requests behind `ethtool -K`, made on a socket in the interface's namespace: no tool.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable

from pytest_sonemu.errors import EmulationError

_SIOCETHTOOL = 0x8946
_INTERFACE_REQUEST = struct.Struct("16sP16x")  # struct ifreq: name, pointer to the value
# <linux/ethtool.h>; without checksums segmentation goes too, the others are for what the kernel keeps apart.
_SWITCHES = {
    "transmit checksums": 0x17,
    "segmentation of TCP": 0x1F,
    "segmentation in general": 0x24,
    "receive offload": 0x2C,
}
_COUNT_STRINGS, _GET_STRINGS, _SET_FEATURES = 0x37, 0x1B, 0x3B
_FEATURES = 4  # the set of strings that names them
_STRING = 32
# Super-frames that a vnet header has no words for: a relay can neither read, cut nor write them.
_WORDLESS = {
    "tx-udp_tnl-segmentation",
    "tx-udp_tnl-csum-segmentation",
    "tx-gre-segmentation",
    "tx-gre-csum-segmentation",
    "tx-ipxip4-segmentation",
    "tx-ipxip6-segmentation",
    "tx-gso-partial",
    "tx-sctp-segmentation",
}


class _Value(ctypes.Structure):
    _fields_ = (("command", ctypes.c_uint32), ("data", ctypes.c_uint32))


def cut_tunnels(interfaces: Iterable[str]) -> None:
    """Have the kernel cut what interfaces send within a tunnel, or as SCTP, in the namespace we are in.

    Plain TCP and UDP keep their super-frames. A kernel without such a feature has nothing to switch.
    Raises EmulationError.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        blocks: bytes | None = None
        for name in interfaces:
            try:
                if blocks is None:
                    blocks = _switches_off(_features(control, name))
                head = struct.pack("=II", _SET_FEATURES, len(blocks) // 8)
                _ask(control, name, bytearray(head + blocks))
            except OSError as error:
                what = f"cannot switch segmentation within tunnels of {name} off: {error.strerror}"
                raise EmulationError(what) from error


def _features(control: socket.socket, name: str) -> list[str]:
    """The kernel's names of all features, in its order: the same for every interface."""
    counted = bytearray(struct.pack("=IIQI", _COUNT_STRINGS, 0, 1 << _FEATURES, 0))
    _ask(control, name, counted)
    (count,) = struct.unpack_from("=I", counted, 16)
    strings = bytearray(struct.pack("=III", _GET_STRINGS, _FEATURES, count)) + bytes(count * _STRING)
    _ask(control, name, strings)
    texts = (strings[12 + each * _STRING :][:_STRING] for each in range(count))
    return [bytes(text).partition(b"\0")[0].decode() for text in texts]


def _switches_off(features: list[str]) -> bytes:
    """Which to change (one bit each, in blocks of 32) and what to: nothing of them."""
    masks = [0] * ((len(features) + 31) // 32)
    for place, feature in enumerate(features):
        if feature in _WORDLESS:
            masks[place // 32] |= 1 << place % 32
    return b"".join(struct.pack("=II", mask, 0) for mask in masks)


def _ask(control: socket.socket, name: str, value: bytearray) -> None:
    """Raises OSError. `value` becomes the answer."""
    place = (ctypes.c_char * len(value)).from_buffer(value)
    fcntl.ioctl(control, _SIOCETHTOOL, _INTERFACE_REQUEST.pack(name.encode(), ctypes.addressof(place)))


def switch_off(interfaces: Iterable[str]) -> None:
    """Switch the offloads of interfaces off, in the namespace we are in. Raises EmulationError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name in interfaces:
            for what, command in _SWITCHES.items():
                value = _Value(command, 0)
                request = _INTERFACE_REQUEST.pack(name.encode(), ctypes.addressof(value))
                try:
                    fcntl.ioctl(control, _SIOCETHTOOL, request)
                except OSError as error:
                    raise EmulationError(f"cannot switch {what} of {name} off: {error.strerror}") from error
