"""Ports of endpoints that are reached from outside the bed: forwarded from this machine's loopback.

One thread passes on what comes. It listens on 127.0.0.1 in the namespace that the keeper was started
in, and speaks to the endpoint from within the endpoint's own namespace: no rule, no route and no
address is needed for it, and none of the bed's links sees it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, TypeVar

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.emulation.conversations import Conversation, Datagrams, Inside
from pytest_sonemu.errors import EmulationError

LOOPBACK = "127.0.0.1"
Protocol = Literal["tcp", "udp"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of an endpoint, and the one that stands for it outside."""

    instance: str
    endpoint: str
    port: int
    protocol: Protocol
    outer: int


class Forwarder:
    """`outside` is a descriptor of the namespace to listen in. Thread-safe; its thread starts when needed."""

    def __init__(self, outside: int) -> None:
        self.outside = outside
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._wake: int | None = None
        self._listening: dict[Forward, Listening] = {}

    def open(
        self, instance: str, endpoint: str, port: int, protocol: Protocol, outer: int | None, inside: Inside
    ) -> Forward:
        """Forward a port; one that is forwarded already stays as it is. `outer` None: any free port.

        Raises EmulationError where `outer` is taken.
        """

        def listen() -> Forward:
            for known in self._listening:
                asked = (known.instance, known.endpoint, known.port, known.protocol)
                if asked == (instance, endpoint, port, protocol) and outer in (None, known.outer):
                    return known
            listener = self._listen(protocol, outer)
            forward = Forward(instance, endpoint, port, protocol, listener.getsockname()[1])
            self._listening[forward] = Listening(self._selector, listener, protocol, port, inside)
            return forward

        return self._on_the_thread(listen)

    def close(self, instance: str, endpoint: str | None = None, outer: int | None = None) -> None:
        """Forward no longer: one port, an endpoint's, or all of an instance; connections end too."""

        def close() -> None:
            for forward in self._of(instance, endpoint):
                if outer in (None, forward.outer):
                    self._listening.pop(forward).close()

        if self._wake is not None:
            self._on_the_thread(close)

    def cut(self, instance: str, endpoint: str) -> None:
        """End the connections to an endpoint, which would hold its namespace; the ports stay."""

        def cut() -> None:
            for forward in self._of(instance, endpoint):
                self._listening[forward].cut()

        if self._wake is not None:
            self._on_the_thread(cut)

    def forwards(self, instance: str) -> tuple[Forward, ...]:
        """What is forwarded of an instance, in the order in which it was asked for."""
        return self._on_the_thread(lambda: tuple(self._of(instance))) if self._wake is not None else ()

    def _of(self, instance: str, endpoint: str | None = None) -> list[Forward]:
        return [
            forward
            for forward in self._listening
            if forward.instance == instance and endpoint in (None, forward.endpoint)
        ]

    def _listen(self, protocol: Protocol, outer: int | None) -> socket.socket:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, kind)
            try:
                if protocol == "tcp":
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind((LOOPBACK, outer or 0))
                if protocol == "tcp":
                    made.listen(64)
            except OSError as error:
                made.close()
                taken = " (another program has it)" if error.errno == errno.EADDRINUSE else ""
                raise EmulationError(
                    f"cannot listen on {LOOPBACK} port {outer}/{protocol}: {error.strerror}{taken};"
                    " leave the number out for any free port"
                ) from error
            made.setblocking(False)
            return made

        return namespaces.inside(self.outside, make)

    # -- the thread -------------------------------------------------------------------------------

    def _on_the_thread(self, action: Callable[[], Result]) -> Result:
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(action())
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                future.set_exception(error)

        with self._lock:
            if self._wake is None:
                reading, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                self._selector.register(reading, selectors.EVENT_READ, self._run_waiting)
                self._reading = reading
                threading.Thread(target=self._serve, name="forwarder", daemon=True).start()
            self._waiting.append(run)
            os.write(self._wake, b"x")
        return future.result(30)

    def _serve(self) -> None:
        while True:
            for key, events in self._selector.select():
                # What was handled just before may have closed this one.
                if self._selector.get_map().get(key.fd) is key or key.fd == self._reading:
                    key.data(events)

    def _run_waiting(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)
        while self._waiting:
            self._waiting.popleft()()


class Listening:
    """One listening socket, and what came in by it."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        listener: socket.socket,
        protocol: Protocol,
        port: int,
        inside: Inside,
    ) -> None:
        self._selector, self._listener, self._port, self._inside = selector, listener, port, inside
        self._conversations: set[Conversation] = set()
        self._datagrams = Datagrams(selector, listener, port, inside) if protocol == "udp" else None
        accept = self._accept if self._datagrams is None else self._datagrams.from_outside
        selector.register(listener, selectors.EVENT_READ, accept)

    def _accept(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client, _address = self._listener.accept()
            client.setblocking(False)
            conversation = Conversation(
                self._selector, client, self._port, self._inside, self._conversations.discard
            )
            self._conversations.add(conversation)
            conversation.begin()

    def cut(self) -> None:
        for conversation in list(self._conversations):
            conversation.close(reset=True)
        if self._datagrams is not None:
            self._datagrams.forget()

    def close(self) -> None:
        self._selector.unregister(self._listener)
        self._listener.close()
        self.cut()
