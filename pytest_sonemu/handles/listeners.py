"""Listeners of ours for the time of a probe: one for all probes that go to the same port at once.

Each with its own would refuse the others' packets: who comes second finds the port taken, and finds nobody
there once the first has what it wanted.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_sonemu.errors import NotRunningError, ProbeError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.planning.plan import Address


@dataclass(frozen=True, slots=True)
class ListeningPlace:
    """Where to listen: a port of an endpoint's address, `type` as for `socket.socket`."""

    instance: str
    endpoint: str
    address: Address
    port: int
    type: int


@dataclass
class _Shared:
    sock: socket.socket
    users: int = 0


class Listeners:
    """Thread-safe.

    with listeners.at(factory, place) as listener: ...
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[ListeningPlace, _Shared] = {}

    @contextmanager
    def at(self, factory: SocketFactory, place: ListeningPlace) -> Iterator[socket.socket | None]:
        """A listener that does not block, or None if somebody else listens there or it is stopped.

        Raises ProbeError.
        """
        with self._lock:
            shared = self._open.get(place)
            if shared is None:
                sock = _listen(factory, place)
                if sock is not None:
                    shared = self._open[place] = _Shared(sock)
            if shared is not None:
                shared.users += 1
        try:
            yield shared.sock if shared is not None else None
        finally:
            if shared is not None:
                with self._lock:
                    shared.users -= 1
                    if shared.users == 0:
                        del self._open[place]
                        shared.sock.close()


def _listen(factory: SocketFactory, place: ListeningPlace) -> socket.socket | None:
    family = socket.AF_INET if place.address.version == 4 else socket.AF_INET6
    try:
        sock = factory.socket(place.instance, place.endpoint, family, place.type)
    except NotRunningError:
        return None  # what becomes of a packet to it is what the probe is to see
    try:
        sock.setblocking(False)
        if place.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(place.address), place.port))
        if place.type == socket.SOCK_STREAM:
            sock.listen()
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise ProbeError(
            f"no listener of ours at {place.endpoint} {place.address} port {place.port}: {error.strerror}"
        ) from error
    return sock
