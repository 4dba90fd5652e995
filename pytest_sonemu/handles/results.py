"""What probes return: frozen data whose `repr` is the diagnosis, in one line below 200 characters.

Times are float seconds, sizes bytes, shares between 0 and 1; addresses are `ipaddress` objects.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from operator import add, sub
from statistics import median
from typing import Literal, NamedTuple

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.planning.plan import Address
from pytest_sonemu.planning.plan import Interface as InterfaceAddress

Outcome = Literal["open", "refused", "rejected", "dropped", "unanswered", "no_route", "not_sent", "delivered"]
Protocol = Literal["tcp", "udp"]
Direction = Literal["in", "out"]
Part = Literal["first", "answer"]
LONGEST = 199


def one_line(text: str) -> str:
    """`text` without line breaks and cut to what a repr may fill."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 1] + "…"


def milliseconds(seconds: float) -> str:
    """0.0123 -> `"12.3 ms"`, with three digits that count."""
    return f"{seconds * 1e3:#.3g}".rstrip(".") + " ms"


@dataclass(frozen=True, slots=True)
class Rtt:
    """Round-trip times of a ping, in seconds. `p99` is the nearest rank: of few echoes, the maximum."""

    min: float
    median: float
    p99: float
    max: float

    @classmethod
    def of(cls, times: list[float]) -> Rtt:
        """The figures of at least one time."""
        ordered = sorted(times)
        rank = -(-99 * len(ordered) // 100)
        return cls(min=ordered[0], median=median(ordered), p99=ordered[rank - 1], max=ordered[-1])


class OuterAddress(NamedTuple):
    """Where a forwarded port stands on this machine; as a text "127.0.0.1:34567"."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, repr=False)
class PingResult:
    """What became of a ping.

    `loss` is the share of `sent` that no reply came for. `times` (see `rtt`) and `jitter` (the mean
    difference between one RTT and the next, in seconds) are None without a reply. `warm_up` echoes were sent
    before the way was known to carry (neighbours had to be found first): they are in neither figure.
    `error` is what a router or the source's own kernel said instead of a reply.
    """

    source: str
    target: str
    address: Address
    sent: int
    received: int
    times: Rtt | None = None
    jitter: float | None = None
    error: str | None = None
    duplicates: int = 0
    warm_up: int = 0

    @property
    def rtt(self) -> Rtt:
        """The round-trip times, in seconds. Raises ProbeError, with the diagnosis, where no reply came."""
        if self.times is None:
            raise ProbeError(f"without a reply there is no round-trip time: {self!r}")
        return self.times

    @property
    def loss(self) -> float:
        """The share of the echoes that no reply came for, from 0 to 1."""
        return 1 - self.received / self.sent if self.sent else 1.0

    def __bool__(self) -> bool:
        raise _no_truth_value("PingResult", "received or its loss", self)

    def __repr__(self) -> str:
        way = f"ping {self.source} -> {_named(self.target, self.address)}"
        figures = f"{self.received} of {self.sent} answered, {self.loss:.0%} lost"
        if self.times is not None:
            figures += f", rtt median {milliseconds(self.times.median)} (max {milliseconds(self.times.max)})"
        return one_line(f"<{way}: {figures}{f'; {self.error}' if self.error else ''}>")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A frame of the probe seen at the outer end of an interface.

    `at` is the interface ("fw:input", or "input" for a SAP's own); `direction` "in": it went into
    that endpoint, "out": it came out of it. `part` tells the first packet from its answer. `time` is
    the kernel's clock in seconds since the epoch. `what` is the frame in a word ("SYN", "RST",
    "port unreachable").
    """

    at: str
    endpoint: str
    direction: Direction
    time: float
    part: Part = "first"
    what: str = ""

    def __str__(self) -> str:
        return f"{self.at} {self.direction}"


@dataclass(frozen=True, slots=True)
class PathVerdict:
    """What is to be said of the way, whatever the service said.

    `open`: the first packet was seen entering the target, and its answer entering the source.
    Else `ended_at` names the endpoint or virtual link where it ended, and `way` on which way:
    "there" or "back". `there` and `back` are the interfaces crossed, in order, without the source's
    own.
    """

    open: bool
    ended_at: str | None = None
    way: Literal["there", "back"] | None = None
    there: tuple[str, ...] = ()
    back: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        raise _no_truth_value("PathVerdict", "open", self)

    def __str__(self) -> str:
        if self.open:
            return "open"
        return f"ended at {self.ended_at}{' on the way back' if self.way == 'back' else ''}"


@dataclass(frozen=True, slots=True, repr=False)
class ConnectResult:
    """What became of one TCP connection or UDP datagram, as it was seen at the outer ends.

    `outcome` speaks of the service:

    - `open`: a listener of the target answered
    - `refused`: the target's own kernel said that nobody listens there
    - `rejected`: a RST or an ICMP error came from somewhere else, or from a rule of the target, or it
      ended at a router that has no IPv4 route there (of these errors kernels send few); `by` says whose
    - `dropped`: the packet, or its answer, went into a station and never came out of it, or was
      lost on a link; `lost_at` says where
    - `unanswered`: it reached the target, and no answer came
    - `delivered`: a datagram reached the target, and nobody complained
    - `no_route`: the source's kernel knew no way; nothing was sent
    - `not_sent`: nothing left the source (its neighbour did not answer, or a rule of its own)

    `path` speaks of the way alone. `listener` is whose answered: "theirs", "ours" (`listen=True`)
    or None.
    `duration` is in seconds. `seen` holds every sighting in the order of time.
    """

    outcome: Outcome
    source: str
    target: str
    address: Address
    protocol: Protocol
    port: int
    path: PathVerdict
    reason: str
    by: str | None = None
    lost_at: str | None = None
    listener: Literal["theirs", "ours"] | None = None
    duration: float = 0.0
    seen: tuple[Sighting, ...] = ()
    answer: bytes | None = field(default=None, compare=False)

    def __bool__(self) -> bool:
        raise _no_truth_value("ConnectResult", "outcome", self)

    def __repr__(self) -> str:
        what = f"{self.protocol} {self.source} -> {_named(self.target, self.address)} port {self.port}"
        return one_line(f"<{self.outcome}: {what}: {self.reason} ({self.duration:.3f} s)>")


@dataclass(frozen=True, slots=True, repr=False)
class InterfaceStats:
    """Counters of an interface, as its endpoint sees them; a super-frame of 64 KB is one packet."""

    rx_packets: int = 0
    rx_bytes: int = 0
    rx_dropped: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_dropped: int = 0

    def __add__(self, other: InterfaceStats) -> InterfaceStats:
        return InterfaceStats(*map(add, self._figures(), other._figures()))

    def __sub__(self, other: InterfaceStats) -> InterfaceStats:
        return InterfaceStats(*map(sub, self._figures(), other._figures()))

    def _figures(self) -> tuple[int, ...]:
        return (
            self.rx_packets,
            self.rx_bytes,
            self.rx_dropped,
            self.tx_packets,
            self.tx_bytes,
            self.tx_dropped,
        )

    def __repr__(self) -> str:
        return (
            f"<rx {self.rx_packets} packets, {self.rx_bytes} bytes, {self.rx_dropped} dropped;"
            f" tx {self.tx_packets} packets, {self.tx_bytes} bytes, {self.tx_dropped} dropped>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Interface:
    """An interface of an endpoint as it is now. `mtu` in bytes; `up`: set up and with a carrier."""

    name: str
    connection_point: str
    mac: str
    addresses: tuple[InterfaceAddress, ...]
    mtu: int
    up: bool
    stats: InterfaceStats

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.addresses)) or "no address"
        state = "up" if self.up else "DOWN"
        return one_line(f"<{self.name} {state}, {addresses}, {self.mac}, mtu {self.mtu}, {self.stats!r}>")


@dataclass(frozen=True, slots=True, repr=False)
class DirectionStats:
    """Traffic of one direction of a virtual link. In an E-LAN one side is the link itself.

    `packets` and `bytes` are what came out at `target`; `dropped`, what went in at `source` and did
    not come out (of an E-LAN: what the kernel dropped at that port). Where the link is or was impaired, the
    relay says what it did to wire frames: `dropped` is what it lost on purpose (`lost`), what found a full
    queue (`overflowed`) and what it could not pass on; frames on their way are not in it. `queued` is what
    waits for the link's rate at this moment. `stale` is what the relay read over 20 ms after it came: it was
    later by the rest than `LinkStats.late` says.
    """

    source: str
    target: str
    packets: int
    bytes: int
    dropped: int = 0
    lost: int = 0
    overflowed: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    queued: int = 0
    stale: int = 0

    def __repr__(self) -> str:
        lost = f", {self.dropped} dropped" if self.dropped else ""
        for name in ("lost", "overflowed", "duplicated", "reordered", "corrupted", "queued", "stale"):
            if getattr(self, name):
                lost += f", {getattr(self, name)} {name}"
        return one_line(f"<{self.source} -> {self.target}: {self.packets} packets, {self.bytes} bytes{lost}>")


@dataclass(frozen=True, slots=True, repr=False)
class LinkStats:
    """Traffic of a virtual link: an E-Line has two directions, an E-LAN two for each member.

    `stats["fw:output"]` is the direction that comes out of that connection point. `late` is by how many
    seconds the relay sent a frame after its time at worst, on any of its links; None while it does not run.
    A frame's time counts from at most 20 ms before it was read; what waited longer is counted as `stale`.
    `unread` is how many frames the relay lost before it had read them, on all links of the bed: whose they
    were nobody knows, so they are in no `dropped`; None while it does not run.
    """

    link: str
    directions: tuple[DirectionStats, ...]
    late: float | None = None
    unread: int | None = None

    @property
    def packets(self) -> int:
        """Packets of both directions of an E-Line; of an E-LAN, what its members sent."""
        return sum(direction.packets for direction in self.directions if direction.target != self.link)

    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped at the ends, all directions together."""
        return sum(direction.dropped for direction in self.directions)

    def __getitem__(self, source: str) -> DirectionStats:
        for direction in self.directions:
            if direction.source == source:
                return direction
        known = ", ".join(direction.source for direction in self.directions)
        raise KeyError(f"nothing enters link '{self.link}' at '{source}'; there are: {known}")

    def __repr__(self) -> str:
        parts = "; ".join(
            f"{way.source} -> {way.target}: {way.packets} packets, {way.dropped} dropped"
            for way in self.directions
        )
        unread = f"; {self.unread} unread on all links" if self.unread else ""
        return one_line(f"<link {self.link}: {parts}{unread}>")


@dataclass(frozen=True, slots=True, repr=False)
class CommandResult:
    """A command that ended. `duration` in seconds; output is UTF-8, unreadable bytes replaced."""

    argv: tuple[str, ...]
    exit_status: int
    stdout: str
    stderr: str
    duration: float
    where: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.exit_status == 0

    def check(self) -> CommandResult:
        """Itself, if the command ended with 0; else raises ProbeError with the last lines it wrote."""
        if self.ok:
            return self
        said = "\n".join(f"  {line}" for line in (self.stderr or self.stdout).splitlines()[-10:])
        raise ProbeError(f"{self._headline()}:\n{said}" if said else f"{self._headline()}, and wrote nothing")

    def __bool__(self) -> bool:
        raise _no_truth_value("CommandResult", "ok", self)

    def __repr__(self) -> str:
        output = (self.stderr if not self.ok and self.stderr else self.stdout).strip()
        last = output.splitlines()[-1] if output else ""
        return one_line(f"<{self._headline()}{f': {last}' if last else ''}>")

    def _headline(self) -> str:
        command = shlex.join(self.argv)
        shown = command if len(command) <= 80 else command[:79] + "…"
        where = f"{self.where}: " if self.where else ""
        return f"{where}`{shown}` ended with {self.exit_status} after {self.duration:.3f} s"


def _named(target: str, address: Address) -> str:
    return str(address) if target == str(address) else f"{target} ({address})"


def _no_truth_value(kind: str, what: str, result: object) -> TypeError:
    # "assert connect(...)" would hold for a dropped packet too.
    return TypeError(f"a {kind} is neither true nor false; compare its {what}: {result!r}")
