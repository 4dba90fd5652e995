"""Classic BPF on a socket: which packets the kernel puts into its queue."""

from __future__ import annotations

import array
import socket
import struct
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26

# Operation, jump if true, jump if false, operand.
Instruction = tuple[int, int, int, int]


def attach(sock: socket.socket, instructions: Sequence[Instruction]) -> None:
    """Put the program in place of the one before, at once."""
    packed = array.array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions))
    address, _ = packed.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(instructions), address))
