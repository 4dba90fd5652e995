"""What a test calls a target ("server", "server:data", a handle, an address), looked up in the plan.

Pure: nothing is asked from a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, Protocol

from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.planning.plan import Address, DeploymentPlan, EndpointPlan, InterfacePlan
from pytest_sonemu.planning.walking import Walker


class HasId(Protocol):
    """A handle: its `id` is what a test would write."""

    @property
    def id(self) -> str: ...


Place = str | Address | HasId
Family = Literal[4, 6]


@dataclass(frozen=True, slots=True)
class Spot:
    """An endpoint of the plan, with one of its interfaces where one was named."""

    endpoint: EndpointPlan
    interface: InterfacePlan | None = None

    def __str__(self) -> str:
        return f"{self.endpoint.id}:{self.interface.name}" if self.interface else self.endpoint.id


@dataclass(frozen=True, slots=True)
class Target:
    """Where a probe goes. `spot` is None for an address that the plan gives to nobody."""

    text: str
    address: Address
    spot: Spot | None = None

    @property
    def endpoint(self) -> str | None:
        return self.spot.endpoint.id if self.spot else None


@dataclass(frozen=True, slots=True)
class Way:
    """The planned route of an endpoint to an address. `gateway` None: it is a neighbour."""

    interface: str
    prefix: int
    metric: int
    gateway: Address | None


def interface_of(place: Place) -> str | None:
    """The connection point that a text like "fw:input" names besides the endpoint."""
    if not isinstance(place, str):
        return None
    _endpoint, colon, point = place.partition(":")
    return point if colon else None


def find_spot(plan: DeploymentPlan, place: Place) -> Spot:
    """The endpoint, and the interface if one is named. Raises NotFoundError, nearest first."""
    if isinstance(place, Address):
        found = _owner(plan, place)
        if found is None:
            raise NotFoundError("address", str(place), (str(address) for _, address in _addresses(plan)))
        return found
    text = place if isinstance(place, str) else _text(plan, place)
    exact = plan.endpoint(text)
    if exact is not None:
        return Spot(exact)
    if units := plan.units(text):
        raise ProbeError(f"VNF '{text}' has several units; name one: {', '.join(unit.id for unit in units)}")
    for at in (at for at, letter in enumerate(text) if letter == ":"):
        endpoint = plan.endpoint(text[:at])
        if endpoint is not None:
            return Spot(endpoint, _interface(endpoint, text[at + 1 :]))
        if units := plan.units(text[:at]):
            return _spot_of_unit(text[:at], units, text[at + 1 :])
    raise NotFoundError("endpoint", text, (endpoint.id for endpoint in plan.endpoints))


def _text(plan: DeploymentPlan, place: HasId) -> str:
    """A handle as a text; one of a service that this one is joined to has that one's name before it."""
    if not isinstance(getattr(place, "id", None), str):
        raise ProbeError(
            f"{place!r} is no endpoint; write its id ('server'), a connection point ('server:data'),"
            " a handle or an address"
        )
    instance = getattr(place, "instance", plan.instance)
    return place.id if instance == plan.instance else f"{instance}/{place.id}"


def find_target(
    plan: DeploymentPlan, place: Place, source: EndpointPlan | None = None, family: Family | None = None
) -> Target:
    """The address that `place` means, seen from `source`.

    An endpoint with several addresses means the one that the route from the source leads to: a
    neighbour on a data link, else what a route leads to, before management, before the default route;
    of several that are reached alike, the one of the interface at which packets from the source come
    in. Where that does not leave one, raises ProbeError listing them. `family` None takes IPv4 where
    there is any.
    """
    if family not in (None, 4, 6):
        raise ProbeError(f"version={family!r}: IP has the versions 4 and 6")
    address = place if isinstance(place, Address) else _as_address(place)
    if address is not None:
        if family not in (None, address.version):
            raise ProbeError(f"{address} is no IPv{family} address; name the endpoint, or give no version")
        return Target(str(address), address, _owner(plan, address))
    units = plan.units(place) if isinstance(place, str) and plan.endpoint(place) is None else ()
    if units and source is not None:
        return _unit_met(plan, units, source, family)
    spot = find_spot(plan, place)
    candidates = _candidates(spot, family)
    if not candidates:
        raise ProbeError(_no_address(spot, family))
    chosen = candidates
    interfaces = {interface.outer: interface for interface, _ in candidates}
    if len(interfaces) == 1 and not any(interface.also_in for interface in interfaces.values()):
        # One place, in one link: the first address is its own, others it took over.
        chosen = candidates[:1]
    elif len(candidates) > 1 and source is not None:
        chosen = Walker.of(plan).meant(source, candidates)
    if len(chosen) != 1:
        listing = ", ".join(
            f"{spot.endpoint.id}:{interface.name} ({address})" for interface, address in candidates
        )
        seen_from = f", and the routes of {source.id} do not lead to just one of them" if source else ""
        raise ProbeError(f"{spot} has several addresses{seen_from}; name one: {listing}")
    interface, chosen_address = chosen[0]
    return Target(str(spot), chosen_address, Spot(spot.endpoint, interface))


def common_versions(plan: DeploymentPlan, source: Place, target: Place) -> tuple[Family, ...]:
    """The IP versions of which the source has an address and the target just one that is meant.

    Raises NotFoundError, and ProbeError for a source that is not one endpoint.
    """
    start = find_spot(plan, source)
    found: list[Family] = []
    versions: tuple[Family, ...] = (4, 6)
    for version in versions:
        if _candidates(start, version):
            with suppress(ProbeError):
                find_target(plan, target, start.endpoint, version)
                found.append(version)
    return tuple(found)


def source_address(spot: Spot, address: Address) -> Address | None:
    """The address that a probe from a named interface is sent from; None leaves it to the kernel.

    Raises ProbeError if that interface has none of the target's family.
    """
    if spot.interface is None:
        return None
    mine = [entry.ip for entry in spot.interface.addresses if entry.version == address.version]
    if not mine:
        raise ProbeError(f"{spot} has no IPv{address.version} address to reach {address} from")
    return mine[0]


def planned_way(source: EndpointPlan, address: Address) -> Way | None:
    """The planned route of `source` to `address`: longest prefix, then metric; None if there is none."""
    return min(_ways(source, address), key=lambda way: (-way.prefix, way.metric), default=None)


def name_of(plan: DeploymentPlan, address: Address) -> str:
    """`"fw:input"` for an address of the plan, else the address itself."""
    spot = _owner(plan, address)
    return str(spot) if spot else str(address)


def _ways(source: EndpointPlan, address: Address) -> Iterator[Way]:
    for interface in source.interfaces:
        for entry in interface.addresses:
            if address in entry.network:
                yield Way(interface.name, entry.network.prefixlen, 0, None)
    for route in source.routes:
        if address in route.destination:
            yield Way(route.interface, route.destination.prefixlen, route.metric, route.gateway)


def _unit_met(
    plan: DeploymentPlan, units: Sequence[EndpointPlan], source: EndpointPlan, family: Family | None
) -> Target:
    """A VNF of several units as a target: the unit at which packets from the source come in."""
    found = [(Spot(unit), one) for unit in units for one in _candidates(Spot(unit), family)]
    chosen = Walker.of(plan).meant(source, [one for _, one in found])
    meant = [(spot, one) for spot, one in found if one in chosen]
    if len(meant) != 1:
        listing = ", ".join(f"{spot}:{interface.name} ({address})" for spot, (interface, address) in found)
        raise ProbeError(
            f"{units[0].unit_of} has several units, and the routes of {source.id} do not lead to just one of"
            f" them; name one: {listing or ', '.join(unit.id for unit in units)}"
        )
    ((spot, (interface, address)),) = meant
    return Target(str(spot), address, Spot(spot.endpoint, interface))


def _spot_of_unit(vnf_id: str, units: Sequence[EndpointPlan], point: str) -> Spot:
    """`fw:input` of a VNF of several units: the one unit that has that point."""
    found = [
        Spot(unit, interface)
        for unit in units
        for interface in unit.interfaces
        if point in (interface.name, interface.connection_point)
    ]
    if len(found) > 1:
        raise ProbeError(f"'{vnf_id}:{point}' is in several units; name one: {', '.join(map(str, found))}")
    if not found:
        known = [f"{unit.id}:{interface.connection_point}" for unit in units for interface in unit.interfaces]
        raise NotFoundError(f"connection point of {vnf_id}", point, known)
    return found[0]


def _candidates(spot: Spot, family: Family | None) -> list[tuple[InterfacePlan, Address]]:
    interfaces = (spot.interface,) if spot.interface else spot.endpoint.interfaces
    every = [(interface, entry.ip) for interface in interfaces for entry in interface.addresses]
    wanted = family or (4 if any(address.version == 4 for _, address in every) else 6)
    return [(interface, address) for interface, address in every if address.version == wanted]


def _no_address(spot: Spot, family: Family | None) -> str:
    why = ""
    if spot.endpoint.transparent:
        why = "; it is transparent: its data interfaces have none, name the endpoint behind it"
    elif not spot.endpoint.interfaces:
        why = "; it has no interface"
    elif family == 6:
        why = "; links have IPv6 where it is asked for, by the option ipv6=True"
    return f"{spot} has no {f'IPv{family} ' if family else ''}address{why}"


def _interface(endpoint: EndpointPlan, name: str) -> InterfacePlan:
    for interface in endpoint.interfaces:
        if name in (interface.name, interface.connection_point):
            return interface
    raise NotFoundError(
        f"connection point of {endpoint.id}",
        name,
        (interface.connection_point for interface in endpoint.interfaces),
    )


def _as_address(place: Place) -> Address | None:
    if not isinstance(place, str):
        return None
    try:
        return ip_address(place)
    except ValueError:
        return None


def _addresses(plan: DeploymentPlan) -> Iterator[tuple[Spot, Address]]:
    for endpoint in plan.endpoints:
        for interface in endpoint.interfaces:
            for entry in interface.addresses:
                yield Spot(endpoint, interface), entry.ip


def _owner(plan: DeploymentPlan, address: Address) -> Spot | None:
    return next((spot for spot, planned in _addresses(plan) if planned == address), None)
