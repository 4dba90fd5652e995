"""ICMP and ICMPv6 echo from an endpoint's own raw socket, timed by the kernel at both ends."""

from __future__ import annotations

import errno
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import pairwise

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.arguments import seconds, size_bytes, whole_number
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.frames import icmp_words
from pytest_sonemu.handles.results import PingResult, Rtt
from pytest_sonemu.handles.targets import (
    Family,
    Place,
    Spot,
    Target,
    find_spot,
    find_target,
    name_of,
    source_address,
)
from pytest_sonemu.planning.plan import DeploymentPlan

_SOL_RAW, _ICMP_FILTER, _ICMPV6_FILTER = 255, 1, 1
_SO_TIMESTAMPING, _IP_RECVERR, _IPV6_RECVERR, _FROM_TIMESTAMPING = 37, 11, 25, 4
# Software stamps when a packet leaves and comes in, sent ones told apart by a number, without their data.
_STAMPS = (1 << 1) | (1 << 3) | (1 << 4) | (1 << 7) | (1 << 11)
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _DONT_FRAGMENT = 10, 23, 3
_TIMESPEC, _EXTENDED_ERROR = struct.Struct("@ll"), struct.Struct("=IBBBBII")
_ROOM = 512
_MOST_BYTES = 65507 - 8


def ping(
    factory: SocketFactory,
    plan: DeploymentPlan,
    source: Place,
    target: Place,
    *,
    count: int = 3,
    interval: float | str = 0.05,
    size: int | str = 56,
    timeout: float | str = 1.0,
    df: bool = False,
    ttl: int | None = None,
    family: Family | None = None,
    warm_up: bool = True,
) -> PingResult:
    """Send `count` echoes of `size` bytes of data every `interval`, wait `timeout` for the last reply.

    Until the first reply, echoes only warm up: neighbours on the way must be found, and what that
    takes is neither loss nor RTT. When one has come back, `count` new ones are measured. If none does,
    the `count` that were sent are what was lost. `warm_up=False` measures from the first echo on.
    RTTs run from the source's interface and back to it, by the kernel's clock. `df` forbids fragments.

    Raises NotFoundError for an unknown source or target, ProbeError for arguments that cannot be used.
    """
    pause, patience, data = seconds(interval, "interval"), seconds(timeout), size_bytes(size)
    whole_number(count)
    if data > _MOST_BYTES:
        raise ProbeError(f"ping needs a size from 0 to {_MOST_BYTES}, not {size!r}")
    start = find_spot(plan, source)
    end = find_target(plan, target, start.endpoint, family)
    version = end.address.version
    sock = (
        factory.socket(plan.instance, start.endpoint.id, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        if version == 4
        else factory.socket(
            plan.instance, start.endpoint.id, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6
        )
    )
    with sock:
        _prepare(sock, version, df, ttl)
        bound = source_address(start, end.address)
        if bound is not None:
            sock.bind((str(bound), 0))
        pinger = _Pinger(sock, plan, end, _padded(data))
        pinger.run(count, pause, patience, warm_up)
    return _result(pinger, start, end)


@dataclass(eq=False)
class _Echo:
    sent: float
    left: float | None = None
    replied: float | None = None
    error: str | None = None

    @property
    def settled(self) -> bool:
        return self.replied is not None or self.error is not None

    @property
    def rtt(self) -> float | None:
        if self.replied is None:
            return None
        # The kernel's stamp leaves out what the source's own neighbour search took.
        left = self.left if self.left is not None and self.sent <= self.left <= self.replied else self.sent
        return max(0.0, self.replied - left)


@dataclass(eq=False)
class _Pinger:
    sock: socket.socket
    plan: DeploymentPlan
    target: Target
    data: bytes
    ident: int = field(default_factory=lambda: secrets.randbelow(1 << 16))
    echoes: list[_Echo] = field(default_factory=list)
    measured_from: int = 0
    duplicates: int = 0
    error: str | None = None

    @property
    def version(self) -> int:
        return self.target.address.version

    @property
    def measured(self) -> list[_Echo]:
        return self.echoes[self.measured_from :]

    def run(self, count: int, interval: float, timeout: float, warm_up: bool) -> None:
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLIN)
        warming = warm_up
        due = time.monotonic()
        deadline = due + timeout
        while True:
            now = time.monotonic()
            if len(self.measured) < count and now >= due:
                if not self._send():
                    return
                due = max(due + interval, now)
                deadline = now + timeout
            self._receive()
            if warming and any(echo.replied is not None for echo in self.echoes):
                warming = False
                self.measured_from = len(self.echoes)
                due = time.monotonic()
                continue
            settled = all(echo.settled for echo in self.measured)
            if len(self.measured) == count and (settled or now >= deadline):
                return
            until = due if len(self.measured) < count else deadline
            poll.poll(max(0.0, until - time.monotonic()) * 1e3)

    def _send(self) -> bool:
        """Send the next echo; False if the source's kernel cannot send any at all."""
        number = len(self.echoes)
        kind = 8 if self.version == 4 else 128
        head = struct.pack("!BBHHH", kind, 0, 0, self.ident, number & 0xFFFF)
        if self.version == 4:  # of ICMPv6 the kernel sums up
            head = struct.pack("!BBHHH", kind, 0, _checksum(head + self.data), self.ident, number & 0xFFFF)
        echo = _Echo(time.clock_gettime(time.CLOCK_REALTIME))
        try:
            self.sock.sendto(head + self.data, (str(self.target.address), 0))
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EADDRNOTAVAIL):
                self.error = f"the source has no route there: {error.strerror}"
                return False
            if error.errno == errno.EMSGSIZE:
                self.error = f"{len(self.data)} bytes do not fit into one packet on this way"
                return False
            if error.errno not in (errno.EPERM, errno.ENOBUFS):
                raise
            if error.errno == errno.EPERM:
                echo.error = self.error = "a rule of the source's own dropped it"
        self.echoes.append(echo)
        return True

    def _receive(self) -> None:
        self._read_stamps()
        while True:
            try:
                data, messages, _, address = self.sock.recvmsg(len(self.data) + 256, _ROOM)
            except BlockingIOError:
                return
            when = next(_stamps(messages), None) or time.clock_gettime(time.CLOCK_REALTIME)
            self._read(data[(data[0] & 0xF) * 4 :] if self.version == 4 else data, str(address[0]), when)

    def _read(self, message: bytes, sender: str, when: float) -> None:
        if len(message) < 8:
            return
        kind, code, _, ident, number = struct.unpack_from("!BBHHH", message)
        if kind == (0 if self.version == 4 else 129):
            echo = self._echo(ident, number)
            # A ping of another process may carry the same number; it does not carry our data.
            if echo is None or message[8:] != self.data:
                return
            if echo.replied is None:
                echo.replied = when
            elif echo in self.measured:
                self.duplicates += 1
            return
        about = _about(message, self.version)
        if about is None:
            return
        echo = self._echo(*about)
        if echo is not None and echo.replied is None:
            who = name_of(self.plan, ip_address(sender.partition("%")[0]))
            echo.error = self.error = f"{who} says: {icmp_words(self.version, kind, code)}"

    def _echo(self, ident: int, number: int) -> _Echo | None:
        if ident != self.ident:
            return None
        # Numbers wrap at 65,536: the newest echo of that number is meant.
        last = len(self.echoes) - 1
        place = last - ((last - number) & 0xFFFF)
        return self.echoes[place] if place >= 0 else None

    def _read_stamps(self) -> None:
        while True:
            try:
                _, messages, _, _ = self.sock.recvmsg(1, _ROOM, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                return
            stamp = next(_stamps(messages), None)
            for level, kind, value in messages:
                if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                    _, origin, _, _, _, _, number = _EXTENDED_ERROR.unpack_from(value)
                    if origin == _FROM_TIMESTAMPING and number < len(self.echoes) and stamp is not None:
                        self.echoes[number].left = stamp


def _prepare(sock: socket.socket, version: int, df: bool, ttl: int | None) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _STAMPS)
    if version == 4:
        # A set bit blocks: all but echo reply, unreachable, time exceeded, parameter problem.
        passed = 0
        for kind in (0, 3, 11, 12):
            passed |= 1 << kind
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~passed & 0xFFFFFFFF))
        if df:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _DONT_FRAGMENT)
        if ttl is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        return
    words = [0xFFFFFFFF] * 8
    for kind in (1, 2, 3, 4, 129):
        words[kind >> 5] &= ~(1 << (kind & 31))
    sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *words))
    if df:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _DONT_FRAGMENT)
    if ttl is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)


def _result(pinger: _Pinger, source: Spot, target: Target) -> PingResult:
    measured = pinger.measured
    times = [echo.rtt for echo in measured if echo.rtt is not None]
    steps = [abs(after - before) for before, after in pairwise(times)]
    return PingResult(
        source=str(source),
        target=target.text,
        address=target.address,
        sent=len(measured),
        received=len(times),
        times=Rtt.of(times) if times else None,
        jitter=sum(steps) / len(steps) if steps else (0.0 if times else None),
        error=pinger.error if len(times) < len(measured) or not measured else None,
        duplicates=pinger.duplicates,
        warm_up=pinger.measured_from,
    )


def _about(message: bytes, version: int) -> tuple[int, int] | None:
    """Id and number of the echo that an ICMP error speaks of."""
    inner = message[8:]
    if version == 4:
        if len(inner) < 20 or inner[9] != socket.IPPROTO_ICMP:
            return None
        inner = inner[(inner[0] & 0xF) * 4 :]
    else:
        if len(inner) < 40 or inner[6] != socket.IPPROTO_ICMPV6:
            return None
        inner = inner[40:]
    if len(inner) < 8 or inner[0] != (8 if version == 4 else 128):
        return None
    ident, number = struct.unpack_from("!HH", inner, 4)
    return ident, number


def _stamps(messages: list[tuple[int, int, bytes]]) -> Iterator[float]:
    for level, kind, value in messages:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING:
            whole, nanoseconds = _TIMESPEC.unpack_from(value)
            if whole:
                yield whole + nanoseconds / 1e9


def _padded(size: int) -> bytes:
    """Random data first, so that an echo is known as ours; then zeros."""
    return os.urandom(min(size, 16)).ljust(size, b"\0")


def _checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
