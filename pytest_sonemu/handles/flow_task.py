"""What a flow is to be, and what a generator of traffic has to be able to do."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_sonemu.errors import EmulationError, NotFoundError, ProbeError
from pytest_sonemu.handles.flow_results import FlowStats
from pytest_sonemu.handles.targets import Spot, Target, source_address
from pytest_sonemu.units import bits_per_second

if TYPE_CHECKING:
    from pytest_sonemu.handles.endpoint import Endpoint
    from pytest_sonemu.handles.service import Service

FlowProtocol = Literal["udp", "tcp", "http"]
# A sender that is further behind (the machine slept, a debugger held it) does not catch up.
_FURTHEST_BEHIND = 0.2
_LOOK_AGAIN = 0.05
_PACKETS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kM]?)\s*(?:pps|/s|rps)\s*")
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000}


class Generator(Protocol):
    """A generator of traffic: TRex, wrk, a script of yours.

    `start` is called once and returns when traffic goes out, `stop` once when the flow ends (it returns
    when no more is waited for), `stats` at any time, also before and after, from any thread.
    """

    def start(self, task: FlowTask) -> None:
        """Send as the task says; returns when traffic goes out."""

    def stop(self) -> None:
        """Send no more; returns when no more is waited for."""

    def stats(self) -> FlowStats:
        """What the flow came to by now."""
        ...


@dataclass(frozen=True)
class FlowTask:
    """A flow that somebody asked for.

    `rate` is in packets (requests) a second; `sizes` is the smallest and the largest payload in bytes;
    `path` is HTTP's. `servers` are the endpoints at which packets may arrive. `seed` decides what is
    left to chance.
    """

    service: Service
    source: Spot
    target: Target
    protocol: FlowProtocol
    port: int
    rate: float
    sizes: tuple[int, int]
    seed: int
    servers: tuple[str, ...]
    path: str = "/"

    def endpoint(self, endpoint_id: str | None = None) -> Endpoint:
        """A handle of an endpoint; None: of the source."""
        return self.service.endpoint(endpoint_id or self.source.endpoint.id)

    def __str__(self) -> str:
        return f"{self.source} -> {self.target.text} {self.protocol} {self.port}"


def packets_per_second(rate: float | str, size: int) -> float:
    """`"1000pps"`, `"2kpps"`, `"50/s"` or a number; `"10Mbit"` in packets of that size. Raises ProbeError."""
    match = _PACKETS.fullmatch(rate) if isinstance(rate, str) else None
    try:
        if match is not None:
            found = float(match[1]) * _FACTORS[match[2]]
        elif isinstance(rate, str):
            found = bits_per_second(rate) / (8 * size)
        else:
            found = float(rate)
    except ValueError as error:
        raise ProbeError(f"{rate!r} is not a rate; write it like 1000pps, 50/s or 10Mbit") from error
    if not found > 0:
        raise ProbeError(f"a flow needs a rate above 0, not {rate!r}")
    return found


class Filler:
    """What packets carry: sizes and bytes that a seed decides."""

    def __init__(self, sizes: tuple[int, int], seed: int) -> None:
        self._random = random.Random(seed)
        self._sizes = sizes
        self._bytes = self._random.randbytes(sizes[1])

    def fill(self, header: bytes) -> bytes:
        low, high = self._sizes
        size = low if low == high else self._random.randint(low, high)
        return header + self._bytes[len(header) : size]


class Pace:
    """Calls once an interval until it is told to stop; what it missed by little it makes up for."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.stopped = threading.Event()

    def run(self, step: Callable[[], None]) -> None:
        began, done = time.monotonic(), 0
        while not self.stopped.is_set():
            now = time.monotonic()
            due = int((now - began) * self._rate) + 1
            if due - done > 1 + _FURTHEST_BEHIND * self._rate:
                began, done, due = now, 0, 1
            while done < due and not self.stopped.is_set():
                step()
                done += 1
            self.stopped.wait(max(0.0, began + done / self._rate - time.monotonic()))


class Lives:
    """Tells when a VNF has got a new network namespace, and sockets of the old one are deaf."""

    def __init__(self, task: FlowTask, endpoint_id: str) -> None:
        plan = task.service._core.sight.endpoint(endpoint_id)
        self._client, self._instance = task.service._core.bed.client, task.service.id
        self._endpoint = endpoint_id
        other, slash, own = endpoint_id.partition("/")
        if slash and task.service.plan.endpoint(endpoint_id) is None:
            self._instance, self._endpoint = other, own
        self._has_container = plan is not None and plan.container is not None
        self._next = 0.0
        self._known = self._now()

    def changed(self) -> bool:
        """Whether it is up in another life than at the last time; asks at most twenty times a second."""
        if not self._has_container or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _LOOK_AGAIN
        now = self._now()
        if now is None or now == self._known:
            return False
        self._known = now
        return True

    def _now(self) -> tuple[int, int] | None:
        if not self._has_container:
            return None
        try:
            state = self._client.describe_vnf(self._instance, self._endpoint)
        except (EmulationError, NotFoundError):
            return None
        return (state.lives, state.pid) if state.pid else None


def sending_socket(task: FlowTask, kind: int) -> socket.socket:
    """A socket of the source's, bound to the address that was asked for. Raises EmulationError, OSError."""
    core = task.service._core
    family = socket.AF_INET if task.target.address.version == 4 else socket.AF_INET6
    sock = core.bed.client.socket(core.plan.instance, task.source.endpoint.id, family, kind)
    sock.setblocking(False)
    bound = source_address(task.source, task.target.address)
    if bound is not None:
        sock.bind((str(bound), 0))
    return sock


def listening_socket(task: FlowTask, endpoint_id: str, kind: int) -> socket.socket:
    """A socket at a server's end, bound to the flow's port. Raises EmulationError, OSError."""
    core = task.service._core
    family = socket.AF_INET if task.target.address.version == 4 else socket.AF_INET6
    sock = core.bed.client.socket(core.plan.instance, endpoint_id, family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", task.port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock
