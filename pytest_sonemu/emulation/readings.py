"""What a client asks a bed's keeper to look at, and what it hears of it: a part of `protocol.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pytest_sonemu.relay.model import Impairment


@dataclass(frozen=True, slots=True)
class ReadPast:
    """The counters of interfaces whose VNF was started again since. Reply: `Past`."""

    kind: Literal["read_past"] = "read_past"


@dataclass(frozen=True, slots=True)
class PastCounters:
    """What an outer end had counted in the lives before this one, as the fabric sees it."""

    outer: str
    rx_packets: int = 0
    rx_bytes: int = 0
    rx_dropped: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    counters: tuple[PastCounters, ...] = ()
    kind: Literal["past"] = "past"


@dataclass(frozen=True, slots=True)
class ReadRules:
    """The packet filters of an endpoint's namespace as text, without counters. Reply: `Rules`."""

    instance: str
    endpoint: str
    kind: Literal["read_rules"] = "read_rules"


@dataclass(frozen=True, slots=True)
class Rules:
    text: str
    kind: Literal["rules"] = "rules"


@dataclass(frozen=True, slots=True)
class Survey:
    """The changed files and the processes of a VNF, seen from outside. Reply: `Surveyed`.

    `ignore` are folders, or patterns of paths, besides those where programs always write.
    """

    instance: str
    endpoint: str
    ignore: tuple[str, ...] = ()
    kind: Literal["survey"] = "survey"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A path that differs from the image; `size` -1: it was removed. Times in ns since the epoch.

    `changed` is the content's (a program can set it), `noted` the kernel's own of any change.
    `in_image` tells that the image has it too.
    """

    path: str
    size: int
    mode: int
    changed: int
    noted: int
    in_image: bool = False


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A process of a VNF, as this machine numbers it; `started` in clock ticks since boot."""

    pid: int
    started: int
    session: int
    executable: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Surveyed:
    files: tuple[FileEntry, ...]
    processes: tuple[ProcessEntry, ...]
    kind: Literal["surveyed"] = "surveyed"


@dataclass(frozen=True, slots=True)
class BetweenTests:
    """After a test: is everything as planned? With `forget`, neighbours and the tracked connections of
    SAPs and hosts are forgotten. Reply: `Found`."""

    instance: str
    forget: bool = False
    kind: Literal["between_tests"] = "between_tests"


@dataclass(frozen=True, slots=True)
class Found:
    """What is not as planned, a sentence each; nothing: all is well."""

    faults: tuple[str, ...] = ()
    kind: Literal["found"] = "found"


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """What happened on the bed by itself since a time. Reply: `Events`."""

    since: float = 0.0
    kind: Literal["read_events"] = "read_events"


@dataclass(frozen=True, slots=True)
class BedEvent:
    """Something that nobody asked for through the keeper: `time` in seconds since the epoch."""

    time: float
    instance: str
    endpoint: str
    text: str


@dataclass(frozen=True, slots=True)
class Events:
    events: tuple[BedEvent, ...] = ()
    kind: Literal["events"] = "events"


@dataclass(frozen=True, slots=True)
class ReadSysctl:
    """Read a `net.*` key in an endpoint's namespace. Reply: `Sysctl`."""

    instance: str
    endpoint: str
    name: str
    kind: Literal["read_sysctl"] = "read_sysctl"


@dataclass(frozen=True, slots=True)
class Sysctl:
    value: str
    kind: Literal["sysctl"] = "sysctl"


@dataclass(frozen=True, slots=True)
class CountNoRoutes:
    """How many IPv4 packets an endpoint's kernel has had no route for. Reply: `NoRoutes`."""

    instance: str
    endpoint: str
    kind: Literal["count_no_routes"] = "count_no_routes"


@dataclass(frozen=True, slots=True)
class NoRoutes:
    packets: int
    kind: Literal["no_routes"] = "no_routes"


@dataclass(frozen=True, slots=True)
class ReadImpairment:
    """What impairs a target now. Reply: `Impairments`."""

    target: str
    kind: Literal["read_impairment"] = "read_impairment"


@dataclass(frozen=True, slots=True)
class Impairments:
    """Forward and backward: `own` as set at run time (None: nothing was), `base` as the topology has it."""

    base: tuple[Impairment, Impairment]
    own: tuple[Impairment, Impairment] | None = None
    kind: Literal["impairments"] = "impairments"


@dataclass(frozen=True, slots=True)
class CountRelayed:
    """The relay's counters. Reply: `RelayCounters`."""

    kind: Literal["count_relayed"] = "count_relayed"


@dataclass(frozen=True, slots=True)
class RelayState:
    """A relay itself: by how many seconds it was `late` at worst, and frames that it never read."""

    late: float
    unread: int


@dataclass(frozen=True, slots=True)
class RelayCounters:
    """As the relay tells them, per flow and link; empty while nothing is relayed."""

    counters: dict[str, Any]
    kind: Literal["relay_counters"] = "relay_counters"


Reading = (
    ReadSysctl
    | CountNoRoutes
    | CountRelayed
    | ReadImpairment
    | ReadPast
    | ReadEvents
    | ReadRules
    | Survey
    | BetweenTests
)
Seen = Sysctl | NoRoutes | RelayCounters | Impairments | Past | Events | Rules | Surveyed | Found
