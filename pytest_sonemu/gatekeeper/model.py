"""What the gatekeeper says and hears, as frozen data.

The application writes these as JSON, the client reads them back, and `/openapi.json` is made from
them: one description for all three. Times are seconds since the epoch, sizes bytes, delays seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["starting", "running", "stopping", "failed"]

NOT_FOUND = "Service not found"


def stopped_text(instance: str) -> str:
    """What a DELETE answers, word for word as clients have always read it."""
    return f"service instance with uuid '{instance}' stopped."


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was not carried out. `detail` has the whole reason, `kind` the class of the error."""

    error: str
    message: str
    detail: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class FindingView:
    """One thing found while a package was read; `place` is `file:line:column` inside the package."""

    rule: str
    level: Literal["error", "warning", "info"]
    message: str
    place: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class UploadProblem:
    """An upload that was refused: the keys of a good answer, empty, and the reason."""

    error: str
    message: str
    detail: str
    service_uuid: None = None
    size: Literal[0] = 0
    sha1: None = None
    findings: tuple[FindingView, ...] = ()


@dataclass(frozen=True, slots=True)
class PackageList:
    """The packages that were onboarded, in that order."""

    service_uuid_list: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Onboarded:
    """A package that was accepted. `sha1` is that of its bytes."""

    service_uuid: str
    size: int
    sha1: str
    error: None = None


@dataclass(frozen=True, slots=True)
class PackageView:
    """One onboarded package."""

    service_uuid: str
    file: str
    size: int
    sha1: str
    vendor: str
    name: str
    version: str
    service: str
    vnfs: tuple[str, ...]
    saps: tuple[str, ...]
    onboarded: float
    findings: tuple[FindingView, ...] = ()
    instances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstanceList:
    """One inner list for each package, empty ones included; behind them what others started on the bed."""

    service_instantiations_list: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A service that runs and is ready."""

    service_instance_uuid: str


@dataclass(frozen=True, slots=True)
class Starting:
    """A start that goes on behind (`?wait=0`): `GET /instantiations/<uuid>` says how far it is."""

    service_instance_uuid: str
    state: State


@dataclass(frozen=True, slots=True)
class InterfaceView:
    """An interface as its endpoint sees it, with its counters."""

    name: str
    connection_point: str
    mac: str
    addresses: tuple[str, ...]
    link: str | None
    up: bool
    rx_packets: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerView:
    """The container of a VNF; old clients reach into it by `name`."""

    name: str
    id: str
    image: str
    stand_in: bool = False
    phase: Literal["held", "running", "paused", "exited"] = "running"
    exit_status: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointView:
    """A VNF or a SAP. `management_address` is its address on a management link, without prefix length."""

    id: str
    pop: str
    interfaces: tuple[InterfaceView, ...] = ()
    management_address: str | None = None
    container: ContainerView | None = None


@dataclass(frozen=True, slots=True)
class CounterView:
    """What went one way over a virtual link since it was made."""

    source: str
    target: str
    packets: int = 0
    bytes: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class LinkView:
    """A virtual link, what it joins and what it has carried."""

    id: str
    kind: Literal["E-Line", "E-LAN", "E-Tree"]
    endpoints: tuple[str, ...]
    pop_links: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    management: bool = False
    realisation: Literal["direct", "relayed", "switched"] = "direct"
    counters: tuple[CounterView, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What an instance is made of while it runs."""

    name: str
    service: str
    address_plan: str
    vnfs: tuple[EndpointView, ...] = ()
    saps: tuple[EndpointView, ...] = ()
    links: tuple[LinkView, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance of a service. `service_uuid` is null for one that a test has started.

    `progress` has the steps of its start so far; `problem` says why a start, or a stop, failed.
    `ignored` names the keys of the start request that nothing here knows.
    """

    service_instance_uuid: str
    service_uuid: str | None
    state: State
    bed: str
    name: str | None = None
    service: str | None = None
    address_plan: str | None = None
    vnfs: tuple[EndpointView, ...] = ()
    saps: tuple[EndpointView, ...] = ()
    links: tuple[LinkView, ...] = ()
    warnings: tuple[str, ...] = ()
    progress: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class PopView:
    name: str
    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class PopLinkView:
    """A PoP link, from `a` to `b`: `delay` in seconds, `rate` in bit/s, `loss` a share."""

    name: str
    a: str
    b: str
    delay: float | None = None
    rate: int | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class HostView:
    name: str
    pop: str


@dataclass(frozen=True, slots=True)
class TopologyView:
    """The emulated infrastructure."""

    name: str
    pops: tuple[PopView, ...]
    links: tuple[PopLinkView, ...] = ()
    hosts: tuple[HostView, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the gatekeeper and its bed are well, and how much is there."""

    status: Literal["ok", "gone"]
    bed: str
    packages: int
    instances: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Welcome:
    """What stands at `/`."""

    service: str
    version: str
    bed: str
    documentation: str = "/openapi.json"


@dataclass(frozen=True, slots=True)
class StartRequest:
    """The body of a start. Without a `service_uuid`, or with "latest": the package onboarded last.

    `service_name` chooses by name instead. The rest are options of this one start, as in `sonemu.yml`.
    """

    service_uuid: str | None = None
    service_name: str | None = None
    placement: str | dict[str, str] | None = None
    images: dict[str, str] | None = None
    vnfs: dict[str, dict[str, Any]] | None = None
    saps: dict[str, dict[str, Any]] | None = None
    links: dict[str, dict[str, Any]] | None = None
    address_plan: str | None = None
    routes: str | list[str] | None = None
    mtu: int | None = None
    overprovision: float | None = None


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The body of a stop. Without `service_instance_uuid`: the instance that was started last."""

    service_uuid: str | None = None
    service_instance_uuid: str | None = None


OPTIONS = ("placement", "images", "vnfs", "saps", "links", "address_plan", "routes", "mtu", "overprovision")


@dataclass(frozen=True)
class Wish:
    """A start request that was read: whose start, with which options, and what was not understood."""

    service_uuid: str | None = None
    service_name: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
