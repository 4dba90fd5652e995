"""Offloads switched off for an interface: what it sends is cut into segments and summed there and then.

The kernel's own request behind `ethtool -K`, made on a socket in the interface's namespace: no tool.
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


class _Value(ctypes.Structure):
    _fields_ = (("command", ctypes.c_uint32), ("data", ctypes.c_uint32))


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
