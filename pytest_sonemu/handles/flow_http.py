"""The flows' own generator of HTTP requests: each on a connection of its own, none waits for another."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from dataclasses import dataclass

from pytest_sonemu.errors import EmulationError, NotFoundError, ProbeError
from pytest_sonemu.handles.flow_results import FlowStats, Tally
from pytest_sonemu.handles.flow_task import FlowTask, Lives, Pace, sending_socket

# Longer than a fail-over that anybody would call one; what is not answered then is lost.
_PATIENCE = 2.0
_MOST_AT_ONCE = 1000
_NAMED = 40


@dataclass
class _Request:
    sock: socket.socket
    number: int
    sent: float
    to_send: bytes
    answer: bytes = b""


class RequestGenerator:
    """One thread asks and hears all answers."""

    def __init__(self) -> None:
        self._tally = Tally(1.0)

    def start(self, task: FlowTask) -> None:
        self._task = task
        self._tally = Tally(1 / task.rate)
        self._pace = Pace(task.rate)
        self._lives = Lives(task, task.source.endpoint.id)
        self._to = (str(task.target.address), task.port)
        host = task.target.text.partition(":")[0]
        self._text = f"GET {task.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, _Request] = {}
        self._thread = threading.Thread(target=self._run, name=f"flow {task}", daemon=True)
        try:
            sending_socket(task, socket.SOCK_STREAM).close()
        except OSError as error:
            raise ProbeError(f"no flow {task}: {error.strerror}") from error
        self._thread.start()

    def stop(self) -> None:
        self._pace.stopped.set()
        self._thread.join()
        self._tally.finish()
        for request in self._open.values():
            request.sock.close()
        self._selector.close()

    def stats(self) -> FlowStats:
        return self._tally.stats(time.time())

    def _run(self) -> None:
        began, done, stopped = time.monotonic(), 0, self._pace.stopped
        while not stopped.is_set():
            if time.monotonic() >= began + done / self._task.rate:
                self._ask()
                done += 1
            self._hear(min(0.02, max(0.0, began + done / self._task.rate - time.monotonic())))
        deadline = time.monotonic() + _PATIENCE
        while self._open and time.monotonic() < deadline:
            self._hear(0.02)

    def _ask(self) -> None:
        now = time.time()
        number = self._tally.send(now)
        if len(self._open) >= _MOST_AT_ONCE:
            self._tally.error = f"{_MOST_AT_ONCE} requests wait for an answer"
            return
        try:
            sock = sending_socket(self._task, socket.SOCK_STREAM)
        except (EmulationError, NotFoundError, OSError) as error:
            self._tally.error = str(error)
            return
        code = sock.connect_ex(self._to)
        if code not in (0, errno.EINPROGRESS):
            self._tally.error = os.strerror(code)
            sock.close()
            return
        self._open[sock] = request = _Request(sock, number, now, self._text)
        self._selector.register(sock, selectors.EVENT_WRITE, request)

    def _hear(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            request: _Request = key.data
            try:
                self._go_on(request)
            except BlockingIOError:
                continue
            except OSError as error:
                self._tally.error = error.strerror or str(error)
                self._drop(request)
        oldest = time.time() - _PATIENCE
        for request in [each for each in self._open.values() if each.sent < oldest]:
            self._tally.error = f"no answer in {_PATIENCE:g} s"
            self._drop(request)

    def _go_on(self, request: _Request) -> None:
        if request.to_send:
            request.to_send = request.to_send[request.sock.send(request.to_send) :]
            if not request.to_send:
                self._selector.modify(request.sock, selectors.EVENT_READ, request)
            return
        part = request.sock.recv(1 << 16)
        request.answer += part
        if part and not _whole(request.answer):
            return
        self._drop(request)
        status = _status(request.answer)
        if status is None:
            self._tally.error = "a connection was closed without an answer"
        elif status >= 500:
            self._tally.error = f"status {status}"
        else:
            server = self._server(request.answer)
            self._tally.arrive(request.number, request.sent, time.time(), server)

    def _server(self, answer: bytes) -> str:
        """Who answered, as far as the answer tells: a VNF whose id it begins with, else the target."""
        _head, _, body = answer.partition(b"\r\n\r\n")
        word = body[:_NAMED].decode(errors="replace").split()[:1]
        name = word[0].strip(".,:;") if word else ""
        known = {endpoint.id for endpoint in self._task.service.plan.endpoints}
        return name if name in known else self._task.target.endpoint or self._task.target.text

    def _drop(self, request: _Request) -> None:
        if self._open.pop(request.sock, None) is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(request.sock)
            request.sock.close()


def _status(answer: bytes) -> int | None:
    words = answer.split(b" ", 2)
    if len(words) < 2 or not answer.startswith(b"HTTP/") or not words[1][:3].isdigit():
        return None
    return int(words[1][:3])


def _whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value)
    return False
