"""What the emulated infrastructure looks like: PoPs, the links between them, hosts, SAPs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Fabric = Literal["auto", "openvswitch"]


@dataclass(frozen=True, slots=True)
class PoP:
    """A point of presence: a place where VNFs run. `cpu` in cores, `memory` in bytes; None: no limit."""

    name: str
    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class PopLink:
    """A link between two PoPs: `delay` one way and `jitter` in seconds, `rate` in bit/s, `mtu` in bytes, all
    others shares of the frames."""

    a: str
    b: str
    delay: float | None = None
    rate: int | None = None
    loss: float | None = None
    mtu: int | None = None
    jitter: float | None = None
    duplicate: float | None = None
    reorder: float | None = None
    corrupt: float | None = None

    @property
    def name(self) -> str:
        """The names of its two PoPs, as in `"pop1-pop2"`."""
        return f"{self.a}-{self.b}"

    @property
    def shaped(self) -> bool:
        """Whether frames on this link are held back or lost, so that it cannot be direct."""
        return bool(
            self.delay
            or self.rate
            or self.loss
            or self.jitter
            or self.duplicate
            or self.reorder
            or self.corrupt
        )


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the infrastructure itself, in a PoP; all hosts share one E-LAN named `hosts`."""

    name: str
    pop: str


@dataclass(frozen=True, slots=True)
class SapSite:
    """What the topology says of a service's SAP: where it stands, with which image, with which way out."""

    name: str
    pop: str | None = None
    image: str | None = None
    uplink: str | None = None


@dataclass(frozen=True, slots=True)
class Cable:
    """One direction of an interface's cable, as of a `PopLink`."""

    delay: float | None = None
    rate: int | None = None
    loss: float | None = None
    jitter: float | None = None
    duplicate: float | None = None
    reorder: float | None = None
    corrupt: float | None = None


@dataclass(frozen=True, slots=True)
class AccessLink:
    """The cable of one interface of a service's VNF or SAP: what its endpoint sends, and what it is given."""

    endpoint: str
    interface: str
    sent: Cable
    given: Cable


@dataclass(frozen=True, slots=True)
class Topology:
    """The infrastructure of one test bed. PoPs and links keep the order in which they were written."""

    pops: tuple[PoP, ...] = (PoP("pop1"),)
    links: tuple[PopLink, ...] = ()
    hosts: tuple[Host, ...] = ()
    saps: tuple[SapSite, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    fabric: Fabric = "auto"
    name: str = "topology"
    origin: str | None = None
    access: tuple[AccessLink, ...] = ()
