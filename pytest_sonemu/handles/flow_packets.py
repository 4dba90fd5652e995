"""The flows' own generator of datagrams and of records in a TCP connection: numbered and time-stamped."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import threading
import time

from pytest_sonemu.errors import EmulationError, NotFoundError, NotRunningError, ProbeError
from pytest_sonemu.handles.flow_results import FlowStats, Tally
from pytest_sonemu.handles.flow_task import (
    Filler,
    FlowTask,
    Lives,
    Pace,
    listening_socket,
    sending_socket,
)

# The flow's mark, the packet's number, when it was sent in ns since the epoch, its whole length.
HEADER = struct.Struct("!8sQQI")
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_ROOM = socket.CMSG_SPACE(_TIMESPEC.size)
_BUFFER = 4 << 20
_QUIET = 0.05
_TICK = 0.02
# How long what is under way is waited for at the end: as long as three of the slowest took, within these.
_LEAST_PATIENCE, _MOST_PATIENCE = 0.3, 3.0
_LARGEST_RECORD = 1 << 20
_RECONNECT = 0.05


class PacketGenerator:
    """Sends from one thread, receives on another, both on handed-out sockets."""

    kind = socket.SOCK_DGRAM

    def __init__(self) -> None:
        self._tally = Tally(1.0)
        self._threads: list[threading.Thread] = []
        self._listeners: dict[str, socket.socket] = {}
        self._over = threading.Event()
        self._mark = os.urandom(8)

    def start(self, task: FlowTask) -> None:
        self._task = task
        self._tally = Tally(1 / task.rate)
        self._filler = Filler(task.sizes, task.seed)
        self._pace = Pace(task.rate)
        self._to = (str(task.target.address), task.port)
        self._source_lives = Lives(task, task.source.endpoint.id)
        self._server_lives = {server: Lives(task, server) for server in task.servers}
        self._selector = selectors.DefaultSelector()
        try:
            for server in task.servers:
                self._first_listener(server)
            self._sender = sending_socket(task, self.kind)
        except OSError as error:
            self._close()
            why = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                why = f"something listens on port {task.port} there already; take another port, or http="
            raise ProbeError(f"no flow {task}: {why}") from error
        except BaseException:
            self._close()
            raise
        for work in (self._receive, self._send):
            self._threads.append(threading.Thread(target=work, name=f"flow {task}", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        self._pace.stopped.set()
        patience = min(_MOST_PATIENCE, max(_LEAST_PATIENCE, 3 * self._tally.longest_latency))
        deadline = time.monotonic() + patience
        self._threads[1].join()
        while self._tally.received < self._tally.sent and time.monotonic() < deadline:
            self._flush()
            time.sleep(0.005)
        self._over.set()
        self._threads[0].join()
        self._tally.finish()
        self._close()

    def stats(self) -> FlowStats:
        return self._tally.stats(time.time())

    # -- sending ----------------------------------------------------------------------------------

    def _send(self) -> None:
        self._pace.run(self._send_one)

    def _packet(self) -> bytes:
        now = time.time_ns()
        number = self._tally.send(now / 1e9)
        made = self._filler.fill(bytes(HEADER.size))
        return HEADER.pack(self._mark, number, now, len(made)) + made[HEADER.size :]

    def _send_one(self) -> None:
        packet = self._packet()
        try:
            self._sender.sendto(packet, self._to)
        except OSError as error:
            # Lost at the source: a missing route, a full queue, a rule of its own.
            full = isinstance(error, BlockingIOError)
            why = "its queue was full" if full else error.strerror
            self._tally.error = f"{self._task.source.endpoint.id}: {why}"
        if self._quiet and self._source_lives.changed():
            self._renew_sender()

    def _flush(self) -> bool:
        """Send what could not be sent yet; whether nothing is left of it."""
        return True

    def _renew_sender(self) -> None:
        with contextlib.suppress(EmulationError, NotFoundError, OSError):
            fresh = sending_socket(self._task, self.kind)
            self._sender.close()
            self._sender = fresh

    @property
    def _quiet(self) -> bool:
        return time.time() - self._tally.last_arrival > _QUIET

    # -- receiving --------------------------------------------------------------------------------

    def _first_listener(self, server: str) -> None:
        try:
            self._listeners[server] = self._listen(server)
        except NotRunningError as error:
            # It is listened there once it is up.
            self._tally.error = f"no listener at {server}: {error}"

    def _listen(self, server: str) -> socket.socket:
        sock = listening_socket(self._task, server, self.kind)
        if self.kind == socket.SOCK_DGRAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._selector.register(sock, selectors.EVENT_READ, server)
        return sock

    def _receive(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(_TICK):
                if isinstance(key.fileobj, socket.socket):
                    self._take(key.fileobj, key.data)
            if self._quiet:
                for server, lives in self._server_lives.items():
                    if lives.changed():
                        self._renew_listener(server)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                self._take(key.fileobj, key.data)

    def _renew_listener(self, server: str) -> None:
        old = self._listeners.get(server)
        try:
            self._listeners[server] = self._listen(server)
        except (EmulationError, NotFoundError, OSError) as error:
            self._tally.error = f"no listener at {server} any more: {error}"
            return
        if old is not None:
            self._selector.unregister(old)
            old.close()

    def _take(self, sock: socket.socket, server: str) -> None:
        while True:
            try:
                data, messages, _, _ = sock.recvmsg(HEADER.size, _ROOM)
            except BlockingIOError:
                return
            except OSError as error:
                self._tally.error = f"{server}: {error.strerror}"
                return
            arrived = time.time()
            for level, kind, value in messages:
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    whole, rest = _TIMESPEC.unpack(value[: _TIMESPEC.size])
                    arrived = whole + rest / 1e9
            self._count(data, arrived, server)

    def _count(self, data: bytes, arrived: float, server: str) -> None:
        if len(data) >= HEADER.size:
            mark, number, sent, _length = HEADER.unpack_from(data)
            if mark == self._mark:
                self._tally.arrive(number, sent / 1e9, arrived, server)

    def _close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        if hasattr(self, "_sender"):
            self._sender.close()


class RecordGenerator(PacketGenerator):
    """Records in one TCP connection, which is made anew when it breaks; what was in it then is lost."""

    kind = socket.SOCK_STREAM

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[socket.socket, bytearray] = {}
        self._pending = b""
        self._connected = self._asked = False
        self._retry = 0.0

    def _send_one(self) -> None:
        if self._quiet and self._source_lives.changed():
            self._break(f"{self._task.source.endpoint.id} has restarted")
        if self._pending and not self._flush():
            self._tally.hold(time.time())  # no connection yet, or a full one: the last record goes first
            return
        self._pending = self._packet()
        self._flush()

    def _flush(self) -> bool:
        if not self._pending:
            return True
        try:
            if not self._connected and not self._connect():
                return False
            self._pending = self._pending[self._sender.send(self._pending) :]
        except BlockingIOError:
            return False
        except OSError as error:
            self._break(error.strerror or str(error))
            return False
        return not self._pending

    def _connect(self) -> bool:
        now = time.monotonic()
        if not self._asked:
            if now < self._retry:
                return False
            self._asked, self._retry = True, now + 1.0
            self._sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._sender.connect_ex(self._to)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        code = self._sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        try:
            self._sender.getpeername()
        except OSError as error:
            if error.errno == errno.ENOTCONN and now < self._retry:
                return False
            raise
        self._connected = True
        return True

    def _break(self, why: str) -> None:
        self._tally.error = f"connection: {why}"
        self._connected = self._asked = False
        self._pending, self._retry = b"", time.monotonic() + _RECONNECT
        self._renew_sender()

    def _take(self, sock: socket.socket, server: str) -> None:
        if sock in self._streams:
            self._read(sock, server)
            return
        with contextlib.suppress(BlockingIOError):
            stream, _ = sock.accept()
            stream.setblocking(False)
            self._streams[stream] = bytearray()
            self._selector.register(stream, selectors.EVENT_READ, server)

    def _read(self, stream: socket.socket, server: str) -> None:
        while True:
            try:
                part = stream.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            if not part:
                self._selector.unregister(stream)
                del self._streams[stream]
                stream.close()
                return
            arrived, held = time.time(), self._streams[stream]
            held += part
            while len(held) >= HEADER.size:
                length = HEADER.unpack_from(held)[3]
                if not HEADER.size <= length <= _LARGEST_RECORD:
                    held.clear()  # somebody else speaks to this port
                elif len(held) < length:
                    break
                else:
                    self._count(bytes(held[: HEADER.size]), arrived, server)
                    del held[:length]
