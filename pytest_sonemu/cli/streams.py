"""A command on a bed joined to this process's streams: as they are, or through a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException

from pytest_sonemu.emulation.protocol import Signal
from pytest_sonemu.errors import SonemuError
from pytest_sonemu.handles.execution import (
    NOT_STARTED,
    Demultiplexer,
    attach,
    cannot_run,
    inspect_exec,
    not_found,
    outcome,
    says_why,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_sonemu.emulation.client import BedClient
    from pytest_sonemu.emulation.docker_api import DockerClient

_PIECE = 1 << 16
_INPUT, _OUTPUT, _ERRORS = 0, 1, 2
# Its bed ended under it: as for a command that cannot be looked after any more.
_BED_GONE = 255
Send = Callable[[int, int], None]
_SIZE = struct.Struct("HHHH")
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Makes the terminal that a program was given its own, so that Ctrl-C and job control work in it.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "try:\n"
    "    os.execvp(sys.argv[1], sys.argv[1:])\n"
    "except OSError as error:\n"
    "    sys.exit(f'sonemu: {sys.argv[1]}: {error.strerror}')\n"
)


def at_terminal() -> bool:
    """Whether a person sits at both ends of this process."""
    return os.isatty(_INPUT) and os.isatty(_OUTPUT)


def run_in_container(api: DockerClient, container: str, argv: Sequence[str], who: str, send: Send) -> int:
    """Run a command in a container with this process's streams; its exit status.

    At a terminal it gets one of its own. `send(pid, signal)` passes on what would end this process. A
    program that the image does not have is 127, one that cannot be run 126, as a shell has it.
    """
    terminal = at_terminal()
    created: dict[str, Any] = api.exec_create(container, list(argv), stdin=True, tty=terminal)
    exec_id = str(created["Id"])
    stream = Demultiplexer()
    said: list[tuple[int, bytes]] = []  # what the runtime seems to say of a command that did not begin

    def show(piece: bytes) -> None:
        for number, part in [(_OUTPUT, piece)] if terminal else stream.feed(piece):
            if said or says_why(part.decode(errors="replace")):
                said.append((number, part))
            else:
                _write(number, part)

    def pass_on(number: int) -> None:
        if pid := int(inspect_exec(api, exec_id, who).get("Pid") or 0):
            send(pid, number)

    def resize(rows: int, columns: int) -> None:
        if rows and columns:
            with suppress(DockerException):  # it has ended, or never began
                api.exec_resize(exec_id, rows, columns)

    with (
        _Signals(pass_on) as signals,
        closing(attach(api, exec_id, who, tty=terminal)) as link,
        _raw_terminal(resize) if terminal else nullcontext(),
    ):
        show(link.first)
        _join(link.connection, show, signals)
    status, pid = outcome(api, exec_id, who)
    if said and pid == 0 and status in NOT_STARTED:
        text = b"".join(part for _, part in said).decode(errors="replace")
        _write(_ERRORS, f"sonemu: {cannot_run(who, argv, text)}\n".encode())
        status = 127 if not_found(text) else 126
    else:
        for number, part in said:
            _write(number, part)
    return _shell_status(status)


def run_in_namespace(client: BedClient, instance: str, endpoint: str, argv: Sequence[str]) -> int:
    """Run a program of this machine in an endpoint's network with this process's streams; its exit status."""

    def pass_on(number: int) -> None:
        client.request(Signal(pid, number))

    if not at_terminal():
        with _Signals(pass_on) as signals:
            pid = client.spawn(instance, endpoint, argv, (0, 1, 2))
            return _shell_status(_wait(client, pid, signals))
    own, theirs = pty.openpty()
    try:
        _set_size(own, *_window())
        command = [sys.executable, "-IS", "-c", _TAKE_TERMINAL, *argv]
        try:
            pid = client.spawn(instance, endpoint, command, (theirs, theirs, theirs))
        finally:
            os.close(theirs)
        with _raw_terminal(lambda rows, columns: _set_size(own, rows, columns)), _Signals(pass_on) as signals:
            _join(own, lambda piece: _write(_OUTPUT, piece), signals)
        return _shell_status(client.wait(pid))
    finally:
        os.close(own)


def _wait(client: BedClient, pid: int, signals: _Signals) -> int:
    """The status of a process once it has ended; signals are passed on meanwhile."""
    found: list[int] = []
    over = os.eventfd(0, os.EFD_CLOEXEC)

    def wait() -> None:
        try:
            found.append(client.wait(pid))
        except SonemuError:
            found.append(_BED_GONE)
        finally:
            os.eventfd_write(over, 1)

    thread = threading.Thread(target=wait, name="wait for the program", daemon=True)
    thread.start()
    poll = select.poll()
    poll.register(over, select.POLLIN)
    poll.register(signals.descriptor, select.POLLIN)
    while thread.is_alive() and not found:
        if signals.descriptor in dict(poll.poll()):
            signals.pass_on()
    thread.join()
    os.close(over)
    return found[0]


def _join(remote: int | socket.socket, show: Callable[[bytes], None], signals: _Signals) -> None:
    """Copy standard input to `remote`, and what comes from there to `show`, until it closes."""
    there = remote if isinstance(remote, int) else remote.fileno()
    os.set_blocking(there, False)
    pending = b""
    reads = _is_open(_INPUT)
    while True:
        poll = select.poll()
        poll.register(there, select.POLLIN | (select.POLLOUT if pending else 0))
        poll.register(signals.descriptor, select.POLLIN)
        if reads and not pending:
            poll.register(_INPUT, select.POLLIN)
        ready = dict(poll.poll())
        if signals.descriptor in ready:
            signals.pass_on()
        if ready.get(there, 0) & ~select.POLLOUT:
            piece = _read(there)
            if not piece:
                return
            show(piece)
        if ready.get(there, 0) & select.POLLOUT:
            pending = _send(there, pending)
        if _INPUT in ready:
            pending = os.read(_INPUT, _PIECE)
            if not pending:
                reads = False
                if not isinstance(remote, int):
                    with suppress(OSError):  # it has ended already
                        remote.shutdown(socket.SHUT_WR)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _PIECE)
    except OSError:  # a terminal whose other side is closed, a connection that was cut
        return b""


def _send(descriptor: int, data: bytes) -> bytes:
    """What is left to be sent."""
    try:
        return data[os.write(descriptor, data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""  # the command has ended without reading all of it


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _shell_status(status: int) -> int:
    """As a shell says it: 128 and the signal's number for what a signal has ended."""
    return 128 - status if status < 0 else status


class _Signals:
    """Signals that would end this process go to the command, whose end is ours. A context manager.

    They are noted as they come, and passed on where nothing else is under way.
    """

    def __init__(self, send: Callable[[int], None]) -> None:
        self._send = send
        self._came: list[int] = []

    def __enter__(self) -> Self:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC)
        self._before = {number: signal.signal(number, self._note) for number in _PASSED_ON}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self.descriptor)

    def pass_on(self) -> None:
        """Send what has come since the last call."""
        os.eventfd_read(self.descriptor)
        while self._came:
            with suppress(SonemuError):  # it has just ended
                self._send(self._came.pop(0))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)
        os.eventfd_write(self.descriptor, 1)


@contextmanager
def _raw_terminal(resize: Callable[[int, int], None]) -> Iterator[None]:
    """Every key goes through as it is, and the other side learns of the window's size."""
    before = termios.tcgetattr(_INPUT)

    def changed(number: int, frame: FrameType | None) -> None:
        resize(*_window())

    handler = signal.signal(signal.SIGWINCH, changed)
    try:
        resize(*_window())
        tty.setraw(_INPUT)
        yield
    finally:
        termios.tcsetattr(_INPUT, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def _window() -> tuple[int, int]:
    """Rows and columns of this terminal."""
    rows, columns, _, _ = _SIZE.unpack(fcntl.ioctl(_OUTPUT, termios.TIOCGWINSZ, bytes(_SIZE.size)))
    return rows, columns


def _set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))
