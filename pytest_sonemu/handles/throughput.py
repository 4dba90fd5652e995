"""How much a way carries, and how large a packet: measured from sockets of its two ends.

The generator is ours. Measured against iperf3 in the same two namespaces (2 cores, one TCP stream over a
direct link: 6.1 to 8.5 against 7.6 to 8.2 Gbit/s; over one of 100 Mbit/s: 95.1 against 95.1) it is within
what such figures vary by, needs no program of the machine, and no second to start.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.arguments import bits_per_second, port_number, seconds
from pytest_sonemu.handles.results import milliseconds, one_line
from pytest_sonemu.handles.targets import (
    Family,
    Place,
    Spot,
    Target,
    find_spot,
    find_target,
    source_address,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_sonemu.emulation.client import BedClient
    from pytest_sonemu.planning.plan import DeploymentPlan

_CHUNK = 1 << 20
_DATAGRAM = 1400
_HEADER = struct.Struct("!QQ")
_TOTAL_RETRANSMITS = 100
_WAIT = 0.1
_MOST_STREAMS = 64
_LEAST_MTU = {4: 68, 6: 1280}
_ABOVE_DATA = {4: 28, 6: 48}


@dataclass(frozen=True, slots=True, repr=False)
class Throughput:
    """What arrived at the other end, `rate` in bit/s of payload, in `duration` seconds.

    `streams` are the rates of the single connections. `retransmits` counts TCP's segments sent again,
    None for UDP; `loss` (a share) and `jitter` (seconds, as RFC 3550 has it) are UDP's, None for TCP.
    """

    source: str
    target: str
    protocol: Literal["tcp", "udp"]
    rate: float
    duration: float
    streams: tuple[float, ...] = ()
    retransmits: int | None = None
    loss: float | None = None
    jitter: float | None = None

    def __bool__(self) -> bool:
        raise TypeError(f"a throughput is neither true nor false; compare its rate: {self!r}")

    def __repr__(self) -> str:
        parts = [f"{_shown(self.rate)} for {self.duration:.2f} s"]
        parts += [f"{len(self.streams)} streams"] if len(self.streams) > 1 else []
        parts += [f"{self.retransmits} retransmits"] if self.retransmits is not None else []
        parts += [f"{self.loss:.2%} lost"] if self.loss is not None else []
        parts += [f"jitter {milliseconds(self.jitter)}"] if self.jitter is not None else []
        return one_line(f"<{self.protocol} {self.source} -> {self.target}: {', '.join(parts)}>")


def throughput(
    client: BedClient,
    plan: DeploymentPlan,
    source: Place,
    target: Place,
    protocol: Literal["tcp", "udp"] = "tcp",
    *,
    duration: float | str = 1.0,
    parallel: int = 1,
    rate: float | str | None = None,
    port: int = 0,
    family: Family | None = None,
) -> Throughput:
    """See `Endpoint.throughput`."""
    if protocol not in ("tcp", "udp"):
        raise ProbeError(f"throughput is of 'tcp' or 'udp', not {protocol!r}")
    if not 1 <= parallel <= _MOST_STREAMS:
        raise ProbeError(f"throughput takes 1 to {_MOST_STREAMS} streams, not {parallel}")
    lasting = seconds(duration, "duration")
    if not 0 < lasting <= 600:
        raise ProbeError(f"throughput takes up to 600 s, not {duration!r}")
    if port != 0 or isinstance(port, bool):
        port_number(port)
    if port and parallel > 1:
        raise ProbeError("throughput takes one stream where you name the port")
    start = find_spot(plan, source)
    end = find_target(plan, target, start.endpoint, family)
    if end.spot is None:
        raise ProbeError(f"{end.address} is nobody's here; throughput needs both ends")
    share = bits_per_second(rate) / parallel if rate is not None else None
    kind = _TcpStream if protocol == "tcp" else _UdpStream
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(kind(client, plan, start, end, share, port)) for _ in range(parallel)]
        began = time.monotonic()
        for stream in streams:
            stream.begin(began + lasting)
        for stream in streams:
            stream.finish()
    rates = tuple(8 * stream.received / lasting for stream in streams)
    result = Throughput(str(start), end.text, protocol, sum(rates), lasting, rates)
    if protocol == "tcp":
        return _with(result, retransmits=sum(stream.retransmits for stream in streams))
    sent = sum(stream.packets_sent for stream in streams)
    jitters = [stream.jitter for stream in streams]
    lost = 1 - sum(stream.packets for stream in streams) / sent if sent else 1.0
    return _with(result, loss=lost, jitter=max(jitters))


def _with(
    result: Throughput, retransmits: int | None = None, loss: float | None = None, jitter: float | None = None
) -> Throughput:
    return Throughput(
        result.source, result.target, result.protocol, result.rate, result.duration, result.streams,
        retransmits, loss, jitter,
    )  # fmt: skip


@dataclass(eq=False)
class _Stream:
    """A sender and a receiver, each a thread; what is counted has arrived before the end of the time."""

    client: BedClient
    plan: DeploymentPlan
    start: Spot
    end: Target
    rate: float | None
    port: int
    received: int = 0
    packets: int = 0
    packets_sent: int = 0
    retransmits: int = 0
    jitter: float = 0.0
    error: str | None = None
    over: threading.Event = field(default_factory=threading.Event)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        try:
            self.connect()
        except OSError as error:
            self._stack.close()
            raise ProbeError(f"throughput {self.start} -> {self.end.text}: {self._why(error)}") from error
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._stack.close()

    def begin(self, deadline: float) -> None:
        self.threads = [
            threading.Thread(target=work, args=(deadline,), name="throughput", daemon=True)
            for work in (self.receive, self.send)
        ]
        for thread in self.threads:
            thread.start()

    def finish(self) -> None:
        self.threads[1].join()
        self.threads[0].join()
        if self.error is not None:
            raise ProbeError(f"throughput {self.start} -> {self.end.text}: {self.error}")

    def open(self, endpoint: str, kind: int) -> socket.socket:
        family = socket.AF_INET if self.end.address.version == 4 else socket.AF_INET6
        sock = self._stack.enter_context(self.client.socket(self.plan.instance, endpoint, family, kind))
        sock.settimeout(5.0)
        return sock

    def sender(self, kind: int, to: tuple[str, int]) -> socket.socket:
        sock = self.open(self.start.endpoint.id, kind)
        bound = source_address(self.start, self.end.address)
        if bound is not None:
            sock.bind((str(bound), 0))
        sock.connect(to)
        sock.settimeout(_WAIT)
        return sock

    def _why(self, error: OSError) -> str:
        port = f"port {self.port}" if self.port else "the port of our listener"
        if error.errno == errno.EADDRINUSE:
            return f"{port} of {self.end.text} is a server's already; name one that is free"
        if isinstance(error, TimeoutError):
            return f"no connection to {port}; does a firewall let it in? `port=` names another"
        return error.strerror or str(error)

    def listener(self, kind: int) -> tuple[socket.socket, tuple[str, int]]:
        assert self.end.spot is not None
        sock = self.open(self.end.spot.endpoint.id, kind)
        if self.port and kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(self.end.address), self.port))
        return sock, (str(self.end.address), sock.getsockname()[1])

    def pause(self, began: float, sent: int) -> None:
        """Wait until so many bytes may have been sent."""
        if self.rate is not None:
            ahead = began + 8 * sent / self.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)

    def connect(self) -> None:
        raise NotImplementedError

    def receive(self, deadline: float) -> None:
        raise NotImplementedError

    def send(self, deadline: float) -> None:
        raise NotImplementedError


class _TcpStream(_Stream):
    def connect(self) -> None:
        listener, to = self.listener(socket.SOCK_STREAM)
        listener.listen(1)
        self.mouth = self.sender(socket.SOCK_STREAM, to)
        self.ear = self._stack.enter_context(listener.accept()[0])
        self.ear.settimeout(_WAIT)

    def receive(self, deadline: float) -> None:
        room = bytearray(_CHUNK)
        while time.monotonic() < deadline:
            try:
                size = self.ear.recv_into(room)
            except TimeoutError:
                continue
            except OSError as error:
                self.error = error.strerror
                return
            if not size:
                return
            self.received += size

    def send(self, deadline: float) -> None:
        began, sent = time.monotonic(), 0
        # In small bites where a rate is asked for, else a bite is a burst.
        size = _CHUNK if self.rate is None else max(1448, min(_CHUNK, int(self.rate / 8 / 100)))
        data = bytes(size)
        while time.monotonic() < deadline:
            try:
                sent += self.mouth.send(data)
            except TimeoutError:
                continue
            except OSError as error:
                self.error = error.strerror
                break
            self.pause(began, sent)
        information = self.mouth.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        self.retransmits = struct.unpack_from("@I", information, _TOTAL_RETRANSMITS)[0]
        # What is still in its buffers is for nobody.
        self.mouth.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _UdpStream(_Stream):
    def connect(self) -> None:
        self.ear, to = self.listener(socket.SOCK_DGRAM)
        self.ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.ear.settimeout(_WAIT)
        self.mouth = self.sender(socket.SOCK_DGRAM, to)

    def receive(self, deadline: float) -> None:
        room = bytearray(_DATAGRAM)
        last: float | None = None
        while True:
            try:
                size = self.ear.recv_into(room)
            except TimeoutError:
                if self.over.is_set():
                    return
                continue
            if size < _HEADER.size:
                continue
            transit = (time.monotonic_ns() - _HEADER.unpack_from(room)[1]) / 1e9
            if last is not None:
                self.jitter += (abs(transit - last) - self.jitter) / 16
            last = transit
            self.received += size
            self.packets += 1

    def send(self, deadline: float) -> None:
        began, filler = time.monotonic(), bytes(_DATAGRAM - _HEADER.size)
        while time.monotonic() < deadline:
            self.packets_sent += 1
            try:
                self.mouth.send(_HEADER.pack(self.packets_sent, time.monotonic_ns()) + filler)
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENOBUFS, errno.EPERM, errno.ECONNREFUSED):
                    self.error = error.strerror
                    break
            self.pause(began, self.packets_sent * _DATAGRAM)
        # As long as it takes until nothing more comes.
        self.over.set()


def path_mtu(
    client: BedClient,
    plan: DeploymentPlan,
    source: Place,
    target: Place,
    largest: int,
    family: Family | None = None,
) -> int:
    """The largest IP packet in bytes, up to `largest`, that comes back as an echo without fragments.

    Raises ProbeError if not even the smallest does.
    """
    from pytest_sonemu.handles.ping import ping

    start = find_spot(plan, source)
    end = find_target(plan, target, start.endpoint, family)
    above, least = _ABOVE_DATA[end.address.version], _LEAST_MTU[end.address.version]

    def passes(size: int) -> bool:
        # Twice: that one echo is lost does not tell that it was too large.
        return any(
            ping(
                client, plan, source, end.address, count=1, size=size - above, timeout=0.3, df=True
            ).received
            for _ in range(2)
        )  # fmt: skip

    if not passes(least):
        raise ProbeError(
            f"no echo of {least} bytes comes back from {end.text}: its path's MTU cannot be found"
        )
    low, high = least, largest + 1
    if passes(largest):
        return largest
    while high - low > 1:
        middle = (low + high) // 2
        if passes(middle):
            low = middle
        else:
            high = middle
    return low


def _shown(rate: float) -> str:
    for factor, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if rate >= factor:
            return f"{rate / factor:.3g} {unit}"
    return f"{rate:.0f} bit/s"
