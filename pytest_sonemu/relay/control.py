"""How a relay is spoken to: JSON behind its length, over a Unix socket, one reply for each request.

    {"op": "hello"}      -> {"ok": {"version": 1, "engine": "python", "pid": 4711, "realtime": true}}
    {"op": "change", "links": […], "flows": […], "remove_links": […], "remove_flows": […]} -> {"ok": {}}
    {"op": "counters"}   -> {"ok": {…}}
    {"op": "stop"}       -> {"ok": {}}, then the relay ends
    anything wrong       -> {"error": "…"}; nothing was changed

Only who may open the socket (0600, in a folder of the keeper's) speaks to a relay; still, no input can
end it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterable
from typing import Any, Protocol

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.relay.model import FlowSpec, LinkSpec, flow_from_json, link_from_json

VERSION = 1
LENGTH = struct.Struct("!I")
LONGEST = 16 * 2**20
_MOST_CONNECTIONS = 32
_LONGEST_ERROR = 500


class Relaying(Protocol):
    """What both engines can do."""

    kind: str

    def change(
        self,
        links: Iterable[LinkSpec],
        flows: Iterable[FlowSpec],
        remove_links: Iterable[str],
        remove_flows: Iterable[str],
    ) -> None: ...

    def counters(self) -> dict[str, Any]: ...


class Connection:
    """One who speaks to the relay: never blocks, holds what has come and what is still to go."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.gone = False
        self._in = bytearray()
        self._out = bytearray()

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def writes(self) -> bool:
        return bool(self._out)

    def read(self) -> list[bytes]:
        """The messages that are complete now."""
        try:
            data = self.socket.recv(2**18)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.gone = True
        self._in += data
        messages = []
        while len(self._in) >= LENGTH.size and not self.gone:
            (length,) = LENGTH.unpack_from(self._in)
            if length > LONGEST:
                self.gone = True
            if len(self._in) < LENGTH.size + length:
                break
            messages.append(bytes(self._in[LENGTH.size : LENGTH.size + length]))
            del self._in[: LENGTH.size + length]
        return messages

    def write(self, message: dict[str, Any] | None = None) -> None:
        if message is not None:
            body = json.dumps(message).encode()
            self._out += LENGTH.pack(len(body)) + body
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            # Who asks and never reads gets no more than this kept for it.
            self.gone = self.gone or len(self._out) > LONGEST
        except OSError:
            self.gone = True


class Control:
    """The relay's end of all connections. `serve` is called with what is ready to be read or written."""

    def __init__(self, engine: Relaying, realtime: bool) -> None:
        self.connections: list[Connection] = []
        self.stopped = False
        self._engine = engine
        self._realtime = realtime

    def writers(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.writes]

    def serve(self, readable: Iterable[object], writable: Iterable[object]) -> None:
        for ready in writable:
            if isinstance(ready, Connection):
                ready.write()
        for ready in readable:
            if isinstance(ready, Connection):
                for message in ready.read():
                    ready.write(self.answer(message))
            elif isinstance(ready, socket.socket):
                self._accept(ready)
        for connection in [connection for connection in self.connections if connection.gone]:
            connection.socket.close()
            self.connections.remove(connection)

    def answer(self, message: bytes) -> dict[str, Any]:
        """The reply to one message; never raises for what the message says."""
        try:
            request = json.loads(message, object_pairs_hook=_distinct, parse_constant=_no_number)
            if not isinstance(request, dict):
                raise SettingsError("a request is a mapping")
            return {"ok": self._carry_out(request)}
        except (SettingsError, ValueError, RecursionError, OSError) as error:
            return {"error": f"{error}"[:_LONGEST_ERROR] or type(error).__name__}

    def _carry_out(self, request: dict[str, Any]) -> dict[str, Any]:
        operation = request.get("op")
        if operation == "hello":
            return {
                "version": VERSION,
                "engine": self._engine.kind,
                "pid": os.getpid(),
                "realtime": self._realtime,
            }
        if operation == "change":
            self._engine.change(
                [link_from_json(link) for link in _list(request, "links")],
                [flow_from_json(flow) for flow in _list(request, "flows")],
                _names(request, "remove_links"),
                _names(request, "remove_flows"),
            )
            return {}
        if operation == "counters":
            return self._engine.counters()
        if operation == "stop":
            self.stopped = True
            return {}
        raise SettingsError("'op' is one of hello, change, counters, stop")

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it has gone again
        if len(self.connections) >= _MOST_CONNECTIONS:
            connection.close()
            return
        self.connections.append(Connection(connection))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise SettingsError("a mapping names a key twice")
    return mapping


def _no_number(text: str) -> None:
    raise SettingsError(f"{text} is not a number")


def _list(request: dict[str, Any], key: str) -> list[Any]:
    value = request.get(key, [])
    if not isinstance(value, list):
        raise SettingsError(f"'{key}' is a list")
    return value


def _names(request: dict[str, Any], key: str) -> list[str]:
    values = _list(request, key)
    for value in values:
        if not isinstance(value, str):
            raise SettingsError(f"'{key}' is a list of names")
    return values
