"""Messages of `protocol.py` on a stream socket: length, JSON, and file descriptors beside them."""

from __future__ import annotations

import array
import errno
import os
import resource
import socket
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pytest_sonemu.emulation import protocol
from pytest_sonemu.errors import BedGoneError, EmulationError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_LENGTH = struct.Struct("!I")
_MOST_DESCRIPTORS = 16
# A plan of a thousand VNFs is some 2 MB; more than this is not one of ours.
_LONGEST = 256 * 2**20


@lru_cache(maxsize=2)
def _adapter(which: str) -> TypeAdapter[Any]:
    from pydantic import Field, TypeAdapter

    union: Any = protocol.Request if which == "request" else protocol.Reply
    return TypeAdapter(Annotated[union, Field(discriminator="kind")])


def prepare() -> None:
    """Make what messages are written and read with, which takes a while, before anybody waits for one."""
    _adapter("request")
    _adapter("reply")


class Channel:
    """One connection between a client and a keeper. Not thread-safe: one user at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, message: protocol.Request | protocol.Reply, descriptors: Sequence[int] = ()) -> None:
        """Send one message. Raises BedGoneError when the other side is not there any more."""
        which = "reply" if isinstance(message, protocol.Reply) else "request"
        body = _adapter(which).dump_json(message)
        data = _LENGTH.pack(len(body)) + body
        try:
            if descriptors:
                sent = socket.send_fds(self.connection, [data], list(descriptors))
                data = data[sent:]
            self.connection.sendall(data)
        except OSError as error:
            raise BedGoneError(f"the connection to the test bed's keeper is lost: {error}") from error

    def receive_request(self) -> tuple[protocol.Request, list[int]]:
        """The next request and the descriptors that came with it.

        Raises BedGoneError at the end, EmulationError for what is not a request; the channel can still
        be used then.
        """
        from pydantic import ValidationError

        body, descriptors = self._receive()
        try:
            request: protocol.Request = _adapter("request").validate_json(body)
        except ValidationError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            raise EmulationError(f"the keeper got what is not a request: {error}") from error
        return request, descriptors

    def receive_reply(self) -> tuple[protocol.Reply, list[int]]:
        """The next reply and the descriptors that came with it. Raises BedGoneError at the end."""
        body, descriptors = self._receive()
        reply: protocol.Reply = _adapter("reply").validate_json(body)
        return reply, descriptors

    def close(self) -> None:
        self.connection.close()

    def _receive(self) -> tuple[bytes, list[int]]:
        descriptors: list[int] = []
        try:
            header = self._exactly(_LENGTH.size, descriptors)
            (length,) = _LENGTH.unpack(header)
            if length > _LONGEST:
                raise BedGoneError(f"a message of {length} bytes is not one of a test bed's")
            return self._exactly(length, descriptors), descriptors
        except (OSError, BedGoneError) as error:
            for descriptor in descriptors:
                os.close(descriptor)
            if isinstance(error, BedGoneError):
                raise
            raise BedGoneError(f"the connection to the test bed's keeper is lost: {error}") from error

    def _exactly(self, length: int, descriptors: list[int]) -> bytes:
        parts = bytearray()
        size = array.array("i").itemsize * _MOST_DESCRIPTORS
        while len(parts) < length:
            data, ancillary, _flags, _address = self.connection.recvmsg(
                min(length - len(parts), 2**20), socket.CMSG_SPACE(size), socket.MSG_CMSG_CLOEXEC
            )
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                    descriptors.extend(received)
            if not data:
                raise BedGoneError("the test bed's keeper has closed the connection")
            parts += data
        return bytes(parts)


def why_none_came(what: str, number: int) -> str:
    """Why not one descriptor came: the kernel drops those for which the receiver has no room."""
    try:
        os.close(os.dup(0))
    except OSError as error:
        if error.errno == errno.EMFILE:
            most, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            return (
                f"no room for another {what}: this process may have {most} files and sockets open;"
                " close some, or raise `ulimit -n`"
            )
    return f"the keeper sent {number} {what}s instead of one"
