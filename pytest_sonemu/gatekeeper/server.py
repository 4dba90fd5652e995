"""Serving the application: waitress on a thread of its own, ready when made, closed within milliseconds."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from waitress import wasyncore  # type: ignore[import-untyped]
from waitress.server import TcpWSGIServer  # type: ignore[import-untyped]
from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.gatekeeper import reception

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from typing_extensions import Self

# A start holds a thread until its service is ready; looking at things must not wait for that.
THREADS = 48
POLL_SECONDS = 1.0


class Listener(TcpWSGIServer):  # type: ignore[misc]
    """Waitress's server with connections of ours, and an end."""

    channel_class = reception.Connection
    closing = False

    def serve(self) -> None:
        """Serve until `closing`, then until all that was asked is answered or `give_up` (a time) has come."""
        self.give_up = float("inf")
        while not self.closing:
            wasyncore.loop(timeout=POLL_SECONDS, use_poll=True, map=self._map, count=1)
        wasyncore.dispatcher.close(self)
        for connection in list(self.active_channels.values()):
            connection.end_when_answered()
        while self.active_channels and time.monotonic() < self.give_up:
            wasyncore.loop(timeout=0.05, use_poll=True, map=self._map, count=1)
        self.trigger.close()
        wasyncore.close_all(self._map)


class GatekeeperServer:
    """An application on a port.

        with GatekeeperServer(make_app(gatekeeper)) as server:
            print(server.url)

    Connections are taken from the moment it is made. `port` 0 is any free one. Raises SettingsError
    for an address that cannot be had.
    """

    def __init__(
        self, app: WSGIApplication, host: str = "127.0.0.1", port: int = 0, *, threads: int = THREADS
    ) -> None:
        listening, self.host, self.port = _listen(host, port)
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        from waitress.adjustments import Adjustments  # type: ignore[import-untyped]

        adjustments = Adjustments(sockets=[listening], **reception.settings(threads))
        where = (listening.family, listening.type, listening.proto, listening.getsockname())
        self._listener = Listener(
            app,
            {},
            True,
            listening,
            dispatcher=dispatcher,
            adj=adjustments,
            bind_socket=False,
            sockinfo=where,
        )
        self._dispatcher = dispatcher
        self._thread = threading.Thread(target=self._listener.serve, name="gatekeeper", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end; one to connect to even if it listens everywhere."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self, grace: float = 2.0) -> None:
        """Take no more connections, answer what was asked within `grace` seconds, and end."""
        if not self._thread.is_alive():
            return
        self._listener.give_up = time.monotonic() + grace
        self._listener.closing = True
        with suppress(OSError):  # it has just ended
            self._listener.pull_trigger()
        self._thread.join()
        self._dispatcher.shutdown(timeout=grace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _listen(host: str, port: int) -> tuple[socket.socket, str, int]:
    """A listening socket, and where it listens. A name that means several addresses: IPv4 first."""
    if not 0 <= port <= 65535:
        raise SettingsError(f"cannot serve on port {port}: ports are 0 (any free one) to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"cannot serve on host '{host}', port {port}: {error}") from error
    family, kind, protocol, _name, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"cannot serve on {host}:{port}: {error}; choose another port, 0 is any free one"
        ) from error
    bound: Any = listening.getsockname()
    return listening, str(bound[0]), int(bound[1])
