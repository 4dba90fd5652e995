"""Traffic that flows while something else happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.arguments import port_number, seconds, several, size_bytes
from pytest_sonemu.handles.flow_http import RequestGenerator
from pytest_sonemu.handles.flow_packets import HEADER, PacketGenerator, RecordGenerator
from pytest_sonemu.handles.flow_results import FlowStats, Gap
from pytest_sonemu.handles.flow_task import FlowProtocol, FlowTask, Generator, packets_per_second
from pytest_sonemu.handles.results import Rtt, one_line
from pytest_sonemu.handles.targets import Family, Place, find_spot, find_target
from pytest_sonemu.handles.unused import WarnsUnused
from pytest_sonemu.handles.waiting import State, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_sonemu.handles.service import Service

_OWN: Mapping[str, Callable[[], Generator]] = {
    "udp": PacketGenerator,
    "tcp": RecordGenerator,
    "http": RequestGenerator,
}
_METHODS = ("start", "stop", "stats")
_LARGEST = {"udp": 65507, "tcp": 1 << 20, "http": 1 << 20}
_DEFAULT_RATES = {"udp": 1000.0, "tcp": 1000.0, "http": 50.0}


class Flow(WarnsUnused):
    """Packets on their way for the time of a `with` block; its figures are live.

        with service.flow("input", "server", udp=5000, rate="1000pps") as flow:
            service.vnf("fw").restart()
        assert flow.longest_gap < 1.0

    See `FlowStats` for what the figures mean; after the block they are final.
    """

    def __init__(self, task: FlowTask, generator: Generator) -> None:
        self._task, self._generator = task, generator
        self._state: str = "new"
        self._final: FlowStats | None = None
        self._lock = threading.Lock()
        self._unused = f"flow {task}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Let it flow until `stop`, or the end of the view. Raises ProbeError if it cannot."""
        with self._lock:
            if self._state != "new":
                now = "runs" if self._state == "running" else "is over"
                raise ProbeError(f"the flow {self._task} {now}; make another")
            self._state, self._unused = "running", ""
        service = self._task.service
        service._undo.push(self.stop, f"flow {self._task} ended")
        try:
            self._generator.start(self._task)
        except BaseException:
            self._state = "failed"
            raise
        service._core.bed.journal.note("probe", f"flow {self._task} begins", self._task.source.endpoint.id)
        return self

    def stop(self) -> None:
        """End it, and wait a moment for what is under way. May be called again."""
        with self._lock:
            if self._state != "running":
                return
            self._state = "over"
        self._generator.stop()
        self._final = self._generator.stats()
        journal = self._task.service._core.bed.journal
        journal.note("probe", repr(self), self._task.source.endpoint.id, failed=not self._final.received)

    def stats(self) -> FlowStats:
        """All figures of one moment."""
        return self._final if self._final is not None else self._generator.stats()

    def wait_until_flowing(self, packets: int = 10, timeout: float | str = 5.0) -> Self:
        """Wait until so many more packets have arrived. Raises NotReadyError with the figures."""
        patience, before = seconds(timeout), self.stats().received

        def flowing() -> State:
            now = self.stats()
            if self._state != "running":
                raise ProbeError(f"the flow {self._task} does not run, nothing more will arrive")
            return State(now.received >= before + packets, now.figures)

        wait_until(flowing, patience, f"{packets} packets of the flow {self._task}")
        return self

    @property
    def sent(self) -> int:
        """Packets (requests) sent so far."""
        return self.stats().sent

    @property
    def received(self) -> int:
        """Packets that arrived, each counted once."""
        return self.stats().received

    @property
    def lost(self) -> int:
        """Packets sent that have not come; in a running flow also what is under way."""
        return self.stats().lost

    @property
    def loss(self) -> float:
        """The share of what was sent that has not come."""
        return self.stats().loss

    @property
    def duplicated(self) -> int:
        """Packets that came again."""
        return self.stats().duplicated

    @property
    def reordered(self) -> int:
        """Packets that came after a later one."""
        return self.stats().reordered

    @property
    def longest_gap(self) -> float:
        """The longest time without an arrival, in seconds; the one that lasts counts too."""
        return self.stats().longest_gap

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The silences longer than 10 ms and five times the distance of two packets, in order."""
        return self.stats().gaps

    @property
    def latency(self) -> Rtt | None:
        """One way, in seconds, for HTTP from the request to its answer; None while nothing has arrived."""
        return self.stats().latency

    @property
    def jitter(self) -> float | None:
        """The mean difference between one latency and the next, in seconds; None without any."""
        return self.stats().jitter

    @property
    def by_server(self) -> Mapping[str, int]:
        """How many packets each server got."""
        return self.stats().by_server

    def __repr__(self) -> str:
        state = "" if self._state == "over" else f" ({self._state})"
        return one_line(f"<flow {self._task}{state}: {self.stats().figures}>")


def make_flow(
    service: Service,
    source: Place,
    target: Place,
    *,
    udp: int | None = None,
    tcp: int | None = None,
    http: int | str | bool | None = None,
    rate: float | str | None = None,
    size: int | str | tuple[int | str, int | str] = 100,
    seed: int | None = None,
    servers: Sequence[str] | None = None,
    generator: str | Generator | None = None,
    family: Family | None = None,
) -> Flow:
    """See `Service.flow`."""
    plan = service._core.sight
    start = find_spot(plan, source)
    end = find_target(plan, target, start.endpoint, family)
    protocol, port, path = _subject(udp, tcp, http)
    smallest, largest = size if isinstance(size, tuple) else (size, size)
    sizes = size_bytes(smallest), size_bytes(largest)
    least, most = HEADER.size, _LARGEST[protocol]
    if not least <= sizes[0] <= sizes[1] <= most:
        raise ProbeError(f"size={size!r}: a {protocol} packet's payload is {least} to {most} bytes")
    if servers is None and end.spot is None and protocol != "http":
        raise ProbeError(f"{end.address} is nobody's here; name who listens: servers=['web1', 'web2']")
    named = () if servers is None else several(servers, "servers")
    listening = [find_spot(plan, each).endpoint.id for each in named]
    if servers is None and end.spot is not None:
        listening = [end.spot.endpoint.id]
    chosen = _DEFAULT_RATES[protocol] if rate is None else packets_per_second(rate, sizes[1])
    task = FlowTask(
        service=service,
        source=start,
        target=end,
        protocol=protocol,
        port=port,
        rate=chosen,
        sizes=sizes,
        seed=service._core.bed.client.seed if seed is None else seed,
        servers=tuple(listening),
        path=path,
    )
    return Flow(task, _generator(service, generator, protocol))


def _generator(service: Service, wanted: str | Generator | None, protocol: FlowProtocol) -> Generator:
    if wanted is None:
        return _OWN[protocol]()
    if not isinstance(wanted, str):
        lacking = [name for name in _METHODS if not callable(getattr(wanted, name, None))]
        if lacking:
            raise ProbeError(f"generator: {wanted!r} is none, it has no {', '.join(lacking)}; see Generator")
        return wanted
    found = service._core.bed.find_generator(wanted)
    if found is None:
        raise ProbeError(
            f"no generator '{wanted}': a plugin or conftest.py gives it by"
            " pytest_sonemu_flow_generator(name), or pass an object as generator="
        )
    return found


def _subject(
    udp: int | None, tcp: int | None, http: int | str | bool | None
) -> tuple[FlowProtocol, int, str]:
    by_http = http is not None and http is not False
    if (udp is not None) + by_http + (tcp is not None and not by_http) != 1 or (udp is not None and by_http):
        raise ProbeError("a flow needs one of udp=5000, tcp=5000 and http=True (or a path, or a port)")
    if by_http:
        path = http if isinstance(http, str) else "/"
        named = isinstance(http, int) and http is not True
        port = port_number(http, "http") if named else port_number(80 if tcp is None else tcp, "tcp")
        return "http", port, path if path.startswith("/") else f"/{path}"
    return ("udp", port_number(udp, "udp"), "") if udp is not None else ("tcp", port_number(tcp, "tcp"), "")
