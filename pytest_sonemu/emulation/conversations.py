"""What the forwarder does for one client: TCP with half-closed ends and back pressure, UDP by flows."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.errors import EmulationError

# So much is held for a side that does not take it; then the other side is not read.
BUFFER = 256 << 10
FLOWS = 1024
FLOW_SECONDS = 60.0
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Inside:
    """An endpoint as the forwarder reaches it: where to knock in turn, and a way to its namespace.

    `namespace` gives a descriptor of its own for it as it is at this moment, which is closed after use;
    None while the endpoint is not running.
    """

    namespace: Callable[[], int | None]
    addresses: Sequence[str]

    def socket(self, address: str, kind: socket.SocketKind) -> socket.socket:
        """A socket of the endpoint's namespace. Raises EmulationError where it is not running."""
        namespace = self.namespace()
        if namespace is None:
            raise EmulationError("it is not running")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            made = namespaces.inside(namespace, lambda: socket.socket(family, kind))
        finally:
            os.close(namespace)
        made.setblocking(False)
        return made


class _Side:
    """One end of a conversation, with what is still to be sent to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.pending = bytearray()
        self.ended = False  # it will send no more
        self.told = False  # it knows that the other sends no more


class Conversation:
    """A connection from outside and the one that goes on inside. `over` is called when both are closed."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        client: socket.socket,
        port: int,
        inside: Inside,
        over: Callable[[Conversation], None],
    ) -> None:
        self._selector, self._port, self._inside, self._over = selector, port, inside, over
        self._outer = _Side(client)
        self._inner: _Side | None = None
        self._knocking: socket.socket | None = None
        self._untried = list(inside.addresses)
        self._closed = False

    def begin(self) -> None:
        """Knock at the next address; a client for whom nobody answers is reset, as if refused."""
        while self._untried:
            address = self._untried.pop(0)
            try:
                sock = self._inside.socket(address, socket.SOCK_STREAM)
            except (EmulationError, OSError):
                break
            result = sock.connect_ex((address, self._port))
            if result in (0, errno.EINPROGRESS):
                self._knocking = sock
                self._selector.register(sock, selectors.EVENT_WRITE, self._answered)
                return
            sock.close()
        self.close(reset=True)

    def _answered(self, _events: int) -> None:
        sock, self._knocking = self._knocking, None
        if sock is None:
            return
        self._selector.unregister(sock)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            self.begin()
            return
        self._inner = _Side(sock)
        self._watch()

    def _watch(self) -> None:
        """Register each side for what it can do next."""
        if self._inner is None:
            return
        for side, other in ((self._outer, self._inner), (self._inner, self._outer)):
            events = 0
            if not side.ended and len(other.pending) < BUFFER:
                events |= selectors.EVENT_READ
            if side.pending:
                events |= selectors.EVENT_WRITE
            registered = side.socket.fileno() in self._selector.get_map()
            if not events:
                if registered:
                    self._selector.unregister(side.socket)
            elif registered:
                self._selector.modify(side.socket, events, self._handler(side, other))
            else:
                self._selector.register(side.socket, events, self._handler(side, other))

    def _handler(self, side: _Side, other: _Side) -> Callable[[int], None]:
        return lambda events: self._pass_on(side, other, events)

    def _pass_on(self, side: _Side, other: _Side, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = side.socket.recv(64 << 10)
                side.ended = not data
                other.pending += data
            for each, its_other in ((side, other), (other, side)):
                self._send(each, its_other)
        except BlockingIOError:
            pass
        except OSError:
            self.close(reset=True)
            return
        if side.told and other.told:
            self.close()
        else:
            self._watch()

    @staticmethod
    def _send(side: _Side, other: _Side) -> None:
        if side.pending:
            try:
                sent = side.socket.send(side.pending)
            except BlockingIOError:
                return
            del side.pending[:sent]
        if other.ended and not side.pending and not side.told:
            side.socket.shutdown(socket.SHUT_WR)
            side.told = True

    def close(self, *, reset: bool = False) -> None:
        """End both connections; with `reset` both peers see it as an error. May be called again."""
        if self._closed:
            return
        self._closed = True
        inner = self._inner.socket if self._inner is not None else self._knocking
        for sock in (self._outer.socket, inner):
            if sock is None or sock.fileno() < 0:
                continue
            if sock.fileno() in self._selector.get_map():
                self._selector.unregister(sock)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            sock.close()
        self._over(self)


class Datagrams:
    """UDP: to each client belongs a socket inside, by which answers find back."""

    def __init__(
        self, selector: selectors.BaseSelector, listener: socket.socket, port: int, inside: Inside
    ) -> None:
        self._selector, self._listener, self._port, self._inside = selector, listener, port, inside
        self._flows: dict[tuple[str, int], tuple[socket.socket, float]] = {}

    def from_outside(self, _events: int) -> None:
        """A datagram of a client: pass it on by the client's own socket inside."""
        try:
            data, client = self._listener.recvfrom(64 << 10)
            sock = self._flows[client][0] if client in self._flows else self._new_flow(client)
            self._flows[client] = (sock, time.monotonic())
            sock.send(data)
        except (OSError, EmulationError):
            return  # as on any network, a datagram may be lost

    def _new_flow(self, client: tuple[str, int]) -> socket.socket:
        self._drop_idle()
        address = self._inside.addresses[0]
        sock = self._inside.socket(address, socket.SOCK_DGRAM)
        sock.connect((address, self._port))
        self._selector.register(sock, selectors.EVENT_READ, lambda _events: self._from_inside(client, sock))
        return sock

    def _from_inside(self, client: tuple[str, int], sock: socket.socket) -> None:
        try:
            self._listener.sendto(sock.recv(64 << 10), client)
        except OSError:
            return

    def _drop_idle(self) -> None:
        oldest = sorted(self._flows.items(), key=lambda flow: flow[1][1])
        idle_since = time.monotonic() - FLOW_SECONDS
        surplus = len(oldest) - FLOWS + 1
        for place, (client, (_, used)) in enumerate(oldest):
            if used < idle_since or place < surplus:
                self._end(client)

    def _end(self, client: tuple[str, int]) -> None:
        sock, _ = self._flows.pop(client)
        self._selector.unregister(sock)
        sock.close()

    def forget(self) -> None:
        """Close every flow's socket."""
        for client in list(self._flows):
            self._end(client)
