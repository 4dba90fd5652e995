"""From a service to ports, wires and segments: who is attached where, before anything has an address.

A port is one interface of an endpoint in one virtual link (an interface in several links is as many
ports), a wire one virtual link with its ports in reference order, a segment all wires that are one
subnet because transparent VNFs join them (ruling 32).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

from pytest_sonemu.descriptors.model import (
    MANAGEMENT_NAMES,
    ConnectionPoint,
    NetworkFunction,
    NetworkService,
    Reference,
    Sap,
    VirtualLink,
)
from pytest_sonemu.errors import PlanningError, did_you_mean
from pytest_sonemu.planning.names import interface_names
from pytest_sonemu.planning.options import ServiceOptions
from pytest_sonemu.planning.plan import EndpointKind, LinkKind
from pytest_sonemu.planning.units import tree_root
from pytest_sonemu.planning.wiring_checks import check_ids, check_references, check_shapes

PortKey = tuple[str, str, int]
"""Endpoint id, connection point id, and which of that interface's links it is, from 0."""


@dataclass(frozen=True, slots=True)
class Port:
    """One interface of an endpoint in one link. `order` counts the links that the interface is in, from 0;
    `bare`: a data interface of a transparent VNF, without addresses."""

    endpoint: str
    kind: EndpointKind
    point: str
    name: str
    link: str | None = None
    management: bool = False
    bare: bool = False
    static: tuple[IPv4Interface | IPv6Interface, ...] = ()
    mac: str | None = None
    order: int = 0

    @property
    def key(self) -> PortKey:
        return (self.endpoint, self.point, self.order)

    def __str__(self) -> str:
        return self.endpoint if self.kind == "sap" else f"{self.endpoint}:{self.point}"


@dataclass(frozen=True, slots=True)
class Wire:
    """A virtual link with its ports, in reference order. `root` is an E-Tree's; `aliases` are the ids of
    E-Lines that describe the same circuit."""

    link: VirtualLink
    ports: tuple[Port, ...]
    management: bool
    root: Port | None = None
    aliases: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.link.id

    @property
    def has_sap(self) -> bool:
        return any(port.kind == "sap" for port in self.ports)


@dataclass(frozen=True, slots=True)
class Segment:
    """One subnet: a wire, or several joined by transparent VNFs. `lead` is the wire that numbers it.

    `ports` are those that get an address, the lead's first.
    """

    lead: Wire
    wires: tuple[Wire, ...]
    kind: LinkKind
    ports: tuple[Port, ...]
    management: bool

    @property
    def carries_routes(self) -> bool:
        """Whether packets may be forwarded into it: never over a management link or an E-LAN (ruling 3)."""
        return self.kind == "E-Line" and not self.management

    def joins(self, one: Port, other: Port) -> bool:
        """Whether frames pass between two of its ports: of an E-Tree's, one has to be the root."""
        return self.lead.root is None or self.lead.root in (one, other)


@dataclass(frozen=True)
class Wiring:
    """A service's ports (per endpoint, VNFs before SAPs, in order), wires and segments."""

    ports: Mapping[str, tuple[Port, ...]]
    wires: tuple[Wire, ...]
    segments: tuple[Segment, ...]
    transparent: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    segment_of: Mapping[PortKey, Segment] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        table = {
            port.key: segment for segment in self.segments for wire in segment.wires for port in wire.ports
        }
        object.__setattr__(self, "segment_of", table)

    def data_ports(self, endpoint: str) -> list[Port]:
        """The attached ports of an endpoint that are not for management."""
        return [port for port in self.ports[endpoint] if port.link is not None and not port.management]


def wire_service(service: NetworkService, options: ServiceOptions) -> Wiring:
    """Check and resolve every reference of the service. Raises PlanningError, CapabilityError."""
    check_ids(service)
    functions = {function.id: function for function in service.functions}
    saps = {sap.id: sap for sap in service.saps}
    check_references(service, functions, saps)
    links, aliases = _without_pairs(service.links)
    check_shapes(links)
    management = {link.id: is_management(link, functions, saps) for link in links}
    in_links = _links_of_points(links)
    bare = _bare_points(service, options, in_links, management)

    ports: dict[str, tuple[Port, ...]] = {}
    for function in service.functions:
        ports[function.id] = _function_ports(function, in_links, management, bare.get(function.id, ()))
    for sap in service.saps:
        ports[sap.id] = _sap_ports(sap, links, management)

    wires = _wires(links, management, ports, aliases)
    warnings = [
        f"E-Line '{other}' is the same circuit as '{link_id}' and is not wired again"
        for link_id, others in aliases.items()
        for other in others
    ]
    return Wiring(ports, wires, _segments(wires, bare), frozenset(bare), tuple(warnings))


def _without_pairs(links: Sequence[VirtualLink]) -> tuple[list[VirtualLink], dict[str, list[str]]]:
    """Two E-Lines on the same two interfaces describe one circuit from both ends (ruling 14).

    The links to wire, and under the id of each that is described more than once the other ids.
    """
    kept: list[VirtualLink] = []
    aliases: dict[str, list[str]] = {}
    circuits: dict[frozenset[Reference], str] = {}
    for link in links:
        # Between two SAPs there are as many interfaces as links.
        if link.connectivity == "E-Line" and any(ref.function is not None for ref in link.references):
            ends = frozenset(link.references)
            if ends in circuits and len(ends) == 2:
                aliases.setdefault(circuits[ends], []).append(link.id)
                continue
            circuits[ends] = link.id
        kept.append(link)
    return kept, aliases


def is_management(
    link: VirtualLink, functions: Mapping[str, NetworkFunction], saps: Mapping[str, Sap]
) -> bool:
    """Whether a link is for management: by the type of one of its SAPs or points, or by all their names."""
    if link.management:
        return True
    points: list[str] = []
    for ref in link.references:
        if ref.function is None:
            if saps[ref.point].type == "management":
                return True
        else:
            if any(
                p.id == ref.point and p.type == "management"
                for p in functions[ref.function].connection_points
            ):
                return True
            points.append(ref.point)
    return bool(points) and all(point.lower() in MANAGEMENT_NAMES for point in points)


def _links_of_points(links: Iterable[VirtualLink]) -> dict[tuple[str, str], list[str]]:
    """VNF point -> the links it is in, in their order."""
    found: dict[tuple[str, str], list[str]] = {}
    for link in links:
        for ref in link.references:
            if ref.function is not None:
                found.setdefault((ref.function, ref.point), []).append(link.id)
    return found


def _bare_points(
    service: NetworkService,
    options: ServiceOptions,
    in_links: Mapping[tuple[str, str], Sequence[str]],
    management: Mapping[str, bool],
) -> dict[str, tuple[str, str]]:
    """Transparent VNF -> the two points it joins."""
    result: dict[str, tuple[str, str]] = {}
    for function in service.functions:
        asked = options.vnf(function.id).transparent
        if not asked:
            continue
        points = [point.id for point in function.connection_points]
        if isinstance(asked, tuple):
            for point in asked:
                if point not in points:
                    raise PlanningError(
                        f"transparent: VNF '{function.id}' has no connection point '{point}'"
                        f"{did_you_mean(point, points)}; there are: {', '.join(points)}"
                    )
            result[function.id] = asked
            continue
        data = [
            point
            for point in points
            if any(not management[link] for link in in_links.get((function.id, point), ()))
        ]
        if len(data) != 2:
            raise PlanningError(
                f"VNF '{function.id}' is declared transparent but has {len(data)} data interfaces"
                f" ({', '.join(data) or 'none'}), not two; name the pair: transparent: [input, output]"
            )
        result[function.id] = (data[0], data[1])
    return result


def _function_ports(
    function: NetworkFunction,
    in_links: Mapping[tuple[str, str], Sequence[str]],
    management: Mapping[str, bool],
    bare: Sequence[str],
) -> tuple[Port, ...]:
    names = interface_names(function.id, function.connection_points)
    ports = []
    for point in function.connection_points:
        links: Sequence[str | None] = in_links.get((function.id, point.id), ()) or (None,)
        for order, link in enumerate(links):
            ports.append(
                Port(
                    endpoint=function.id,
                    kind="vnf",
                    point=point.id,
                    name=names[point.id],
                    link=link,
                    management=management[link] if link is not None else point.type == "management",
                    bare=point.id in bare,
                    static=() if point.id in bare else _statics(point, order, len(links)),
                    mac=point.mac,
                    order=order,
                )
            )
    return tuple(ports)


def _statics(point: ConnectionPoint, order: int, links: int) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """A point's static addresses in one of its links: of each family the first is the first link's, …"""
    chosen: list[IPv4Interface | IPv6Interface] = []
    for version in (4, 6):
        family = [address for address in point.addresses if address.version == version]
        chosen += [
            address for place, address in enumerate(family) if (place if place < links else 0) == order
        ]
    return tuple(chosen)


def _sap_ports(sap: Sap, links: Sequence[VirtualLink], management: Mapping[str, bool]) -> tuple[Port, ...]:
    """One port per link: `<sap>`, `<sap>.2`, … (ruling 14); one without a link if there is none."""
    mine = [link.id for link in links for ref in link.references if ref == Reference(None, sap.id)]
    points = [sap.id, *(f"{sap.id}.{number}" for number in range(2, len(mine) + 1))]
    names = interface_names(sap.id, [ConnectionPoint(point) for point in points])
    if not mine:
        return (Port(sap.id, "sap", sap.id, names[sap.id], management=sap.type == "management"),)
    return tuple(
        Port(sap.id, "sap", point, names[point], link=link, management=management[link])
        for point, link in zip(points, mine, strict=True)
    )


def _wires(
    links: Sequence[VirtualLink],
    management: Mapping[str, bool],
    ports: Mapping[str, tuple[Port, ...]],
    aliases: Mapping[str, Sequence[str]],
) -> tuple[Wire, ...]:
    # A SAP that a link names twice has two ports in it.
    waiting: dict[tuple[str, str], list[Port]] = {}
    for own in ports.values():
        for port in own:
            key = (f"{port.endpoint}:{port.point}" if port.kind == "vnf" else port.endpoint, port.link or "")
            waiting.setdefault(key, []).append(port)
    wires = []
    for link in links:
        ends = [waiting[str(ref), link.id].pop(0) for ref in link.references]
        root = tree_root(link)
        wires.append(
            Wire(
                link,
                tuple(ends),
                management[link.id],
                ends[link.references.index(root)] if root is not None else None,
                tuple(aliases.get(link.id, ())),
            )
        )
    return tuple(wires)


def _segments(wires: Sequence[Wire], bare: Mapping[str, tuple[str, str]]) -> tuple[Segment, ...]:
    """Wires joined through transparent VNFs become one; all others stand alone."""
    root = {wire.id: wire.id for wire in wires}

    def find(link: str) -> str:
        while root[link] != link:
            link = root[link]
        return link

    links_of: dict[tuple[str, str], list[str]] = {}
    for wire in wires:
        for port in wire.ports:
            links_of.setdefault((port.endpoint, port.point), []).append(wire.id)
    position = {wire.id: number for number, wire in enumerate(wires)}
    for vnf_id, pair in bare.items():
        joined = [find(link) for point in pair for link in links_of.get((vnf_id, point), ())]
        early = min(joined, key=position.__getitem__, default="")
        for link in joined:
            root[find(link)] = early
    groups: dict[str, list[Wire]] = {}
    for wire in wires:
        groups.setdefault(find(wire.id), []).append(wire)
    return tuple(_segment(group) for group in groups.values())


def _segment(wires: Sequence[Wire]) -> Segment:
    lead = next((wire for wire in wires if wire.link.connectivity != "E-Line"), wires[0])
    ordered = [lead, *(wire for wire in wires if wire is not lead)]
    ports = tuple(port for wire in ordered for port in wire.ports if not port.bare)
    kind: LinkKind = lead.link.connectivity
    return Segment(
        lead=lead,
        wires=tuple(wires),
        # A transparent VNF with an interface in several E-Lines makes a LAN of them.
        kind="E-LAN" if kind == "E-Line" and len(ports) > 2 else kind,
        ports=ports,
        management=any(wire.management for wire in wires),
    )
