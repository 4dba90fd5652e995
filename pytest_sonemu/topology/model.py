"""What the emulated infrastructure looks like: PoPs, the links between them, hosts, SAPs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_sonemu.errors import SettingsError, TopologyError
from pytest_sonemu.relay.model import Bursts, Direction, Impairment
from pytest_sonemu.topology.impairments import Access, Impairments, impairment_names, parse_impairments

Fabric = Literal["auto", "openvswitch"]


@dataclass(frozen=True, slots=True)
class PoP:
    """A point of presence: a place where VNFs run. `cpu` in cores, `memory` in bytes; None: no limit."""

    name: str
    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class PopLink:
    """A link between two PoPs: `mtu` in bytes, and what it does to frames, as `impair` takes it.

    `delay` (one way), `jitter` and `reorder_delay` in seconds, `rate` in bit/s, `burst` and `queue_bytes` in
    bytes, all others shares of the frames; texts such as "10ms" and "100Mbit" will do. `forward` (from `a` to
    `b`) and `backward` say what one direction does of its own: `backward={"rate": "10Mbit"}`. Raises
    TopologyError for what a link cannot do.
    """

    a: str
    b: str
    delay: float | str | None = None
    rate: int | str | None = None
    loss: float | str | None = None
    mtu: int | None = None
    jitter: float | str | None = None
    duplicate: float | str | None = None
    reorder: float | str | None = None
    corrupt: float | str | None = None
    burst: int | str | None = None
    queue_packets: int | None = None
    queue_bytes: int | str | None = None
    distribution: str | None = None
    jitter_reorders: bool | None = None
    loss_correlation: float | str | None = None
    bursts: Bursts | Mapping[str, Any] | None = None
    reorder_gap: int | None = None
    reorder_delay: float | str | None = None
    seed: int | None = None
    forward: Mapping[str, Any] = field(default_factory=dict, hash=False)
    backward: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        ways = {"a->b": self.forward or {}, "b->a": self.backward or {}}
        named = {name: getattr(self, name) for name in impairment_names()}
        try:
            asked = parse_impairments(
                {**{name: value for name, value in named.items() if value is not None}, **ways},
                ways.__contains__,
            )
        except SettingsError as error:
            raise TopologyError(f"PoP link '{self.name}': {error}") from None
        for name, value in (
            *asked.both.items(),
            ("forward", asked.ways["a->b"]),
            ("backward", asked.ways["b->a"]),
        ):
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """The names of its two PoPs, as in `"pop1-pop2"`."""
        return f"{self.a}-{self.b}"

    def towards(self, direction: Direction) -> Impairment:
        """What it does to the frames of one direction: "a->b" or "b->a"."""
        both = {name: value for name in impairment_names() if (value := getattr(self, name)) is not None}
        return Impairments(both, {"a->b": self.forward, "b->a": self.backward}).towards(direction)

    @property
    def shaped(self) -> bool:
        """Whether frames on this link are held back or lost, so that it cannot be direct."""
        return not (self.towards("a->b").nothing and self.towards("b->a").nothing)


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
class AccessLink:
    """The cable of one interface of a service's VNF or SAP: what it does to frames that its endpoint sends,
    and to those it is given."""

    endpoint: str
    interface: str
    cable: Access


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
