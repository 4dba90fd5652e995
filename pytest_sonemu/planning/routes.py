"""Static routes and forwarding, as the package says that packets are passed on (ruling 3).

Along each forwarding path every member gets routes to the path's subnets beyond its neighbours. In a
service without forwarding paths (or with one that its links do not carry) the same holds along
chains of E-Lines through VNFs with exactly two data interfaces. Nothing is ever forwarded through a
member of an E-LAN, over a management link or through a SAP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import combinations, pairwise

from pytest_sonemu.descriptors.model import ForwardingPath, Reference
from pytest_sonemu.planning.addressing import Addressing
from pytest_sonemu.planning.options import Routes, ServiceOptions
from pytest_sonemu.planning.plan import Address, Network, RoutePlan
from pytest_sonemu.planning.wiring import Port, PortKey, Segment, Wiring

_ANYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))

Crossings = Mapping[PortKey, Sequence[Port]]
"""Port at which a packet enters a VNF -> ports by which that VNF passes it on."""


Steps = dict[str, list[tuple[Port, str, Segment]]]
"""Segment by its lead's id -> ports that pass packets on, with the segment they come to and its lead's id."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Routes per endpoint, the nearest destination first; the VNFs that forward, and between which ports."""

    routes: Mapping[str, tuple[RoutePlan, ...]]
    forwarding: frozenset[str]
    crossed: frozenset[PortKey] = frozenset()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Scheme:
    """A set of crossings, and the ports of those that get routes along them."""

    crossings: Crossings
    starts: Mapping[str, Sequence[Port]]


def plan_routes(
    wiring: Wiring,
    addressing: Addressing,
    paths: Sequence[ForwardingPath],
    options: ServiceOptions,
    uplinks: frozenset[str] = frozenset(),
) -> Routing:
    """Who routes what where, and who forwards. `uplinks` are the SAPs with a way out of the bed.

    Those pass on what their neighbours send, and are the default route of who can reach them.
    """
    router = _Router(wiring, addressing)
    schemes, warnings = _schemes(wiring, paths)
    everywhere = _all_ways(wiring)
    forwarding: set[str] = set()
    crossed: set[PortKey] = set()
    if options.routes != "none":
        forwarding |= {key[0] for scheme in schemes for key in scheme.crossings}
        crossed |= {key for scheme in schemes for key in _ports_of(scheme.crossings)}
    if options.routes == "all":
        forwarding |= {key[0] for key in everywhere.crossings}
        crossed |= set(_ports_of(everywhere.crossings))

    routes: dict[str, tuple[RoutePlan, ...]] = {}
    for endpoint, ports in wiring.ports.items():
        is_vnf = any(port.kind == "vnf" for port in ports)
        own = options.vnf(endpoint).routes if is_vnf else None
        asked: Routes = options.routes if own is None else own
        if own == "all":
            forwarding |= {key[0] for key in everywhere.crossings if key[0] == endpoint}
            crossed |= {key for key in _ports_of(everywhere.crossings) if key[0] == endpoint}
        if asked == "none":
            continue
        found = router.routes(endpoint, [everywhere] if asked == "all" else schemes)
        if isinstance(asked, tuple):
            # What is asked for by name is routed even where the package says nothing of it.
            planned = {route.destination for route in found}
            found += [r for r in router.routes(endpoint, [everywhere]) if r.destination not in planned]
        if uplinks and endpoint not in uplinks:
            found += router.way_out(endpoint, schemes, uplinks)
        if not is_vnf and endpoint not in uplinks and not any(r.destination in _ANYWHERE for r in found):
            found += router.default_routes(endpoint)
        if isinstance(asked, tuple):
            found = [
                route for route in found if any(_within(route.destination, network) for network in asked)
            ]
            warnings += [
                f"routes: {network} holds no subnet that '{endpoint}' could be routed to"
                for network in asked
                if own is not None and not any(_within(route.destination, network) for route in found)
            ]
        if found:
            routes[endpoint] = tuple(found)
    return Routing(routes, frozenset(forwarding), frozenset(crossed), tuple(warnings))


def _ports_of(crossings: Crossings) -> Iterable[PortKey]:
    """Every port at which packets enter or leave a VNF that passes them on."""
    for entering, leaving in crossings.items():
        yield entering
        yield from (port.key for port in leaving)


def _within(destination: Network, network: Network) -> bool:
    if isinstance(destination, IPv4Network):
        return isinstance(network, IPv4Network) and destination.subnet_of(network)
    return isinstance(network, IPv6Network) and destination.subnet_of(network)


class _Router:
    def __init__(self, wiring: Wiring, addressing: Addressing) -> None:
        self._wiring, self._addressing = wiring, addressing
        self._steps: dict[int, Steps] = {}
        self._gateways: dict[tuple[PortKey, PortKey, int], Address | None] = {}

    def routes(self, endpoint: str, schemes: Iterable[_Scheme]) -> list[RoutePlan]:
        """An endpoint's routes along the schemes; where two lead to a subnet, the shorter one."""
        connected = {
            self._wiring.segment_of[port.key].lead.id
            for port in self._wiring.ports[endpoint]
            if port.link is not None and not port.bare
        }
        found: dict[str, tuple[int, Port, Port]] = {}
        for scheme in schemes:
            for port in scheme.starts.get(endpoint, ()):
                for distance, segment, neighbour in self._reach(port, scheme.crossings):
                    link = segment.lead.id
                    known = found.get(link)
                    if link not in connected and (known is None or distance < known[0]):
                        found[link] = (distance, neighbour, port)
        routes: dict[Network, RoutePlan] = {}
        for link, (_, neighbour, start) in sorted(found.items(), key=lambda entry: entry[1][0]):
            for network in self._addressing.subnets[link]:
                gateway = self._address_towards(start, neighbour, network.version)
                if gateway is not None:
                    routes.setdefault(network, RoutePlan(network, gateway, start.name))
        return list(routes.values())

    def _reach(self, start: Port, crossings: Crossings) -> Iterable[tuple[int, Segment, Port]]:
        """Segments beyond the start's own, with their distance and the neighbour's port towards them."""
        steps = self._steps_along(crossings)
        first = self._wiring.segment_of[start.key]
        seen = {first.lead.id}
        # Where a packet stands, and which neighbour of the start had passed it on (none yet).
        front: list[tuple[Segment, Port | None]] = [(first, None)]
        distance = 0
        while front:
            distance += 1
            onward: list[tuple[Segment, Port | None]] = []
            for segment, via in front:
                for port, link, beyond in steps.get(segment.lead.id, ()):
                    if link not in seen and port.endpoint != start.endpoint:
                        seen.add(link)
                        neighbour = via or port
                        onward.append((beyond, neighbour))
                        yield distance, beyond, neighbour
            front = onward

    def _steps_along(self, crossings: Crossings) -> Steps:
        """For each segment the ports at which packets are passed on, and where to; made once a scheme."""
        known = self._steps.get(id(crossings))
        if known is None:
            known = self._steps[id(crossings)] = {}
            for segment in self._wiring.segments:
                for port in segment.ports:
                    for leaving in crossings.get(port.key, ()):
                        beyond = self._wiring.segment_of[leaving.key]
                        known.setdefault(segment.lead.id, []).append((port, beyond.lead.id, beyond))
        return known

    def _address_towards(self, start: Port, neighbour: Port, version: int) -> Address | None:
        """The neighbour's address as a gateway: it must lie in a subnet of the start's."""
        asked = (start.key, neighbour.key, version)
        if asked not in self._gateways:
            self._gateways[asked] = self._gateway(start, neighbour, version)
        return self._gateways[asked]

    def _gateway(self, start: Port, neighbour: Port, version: int) -> Address | None:
        own = [here for here in self._addressing.addresses.get(start.key, ()) if here.version == version]
        theirs = self._addressing.addresses.get(neighbour.key, ())
        return next((there.ip for there in theirs if any(there.ip in here.network for here in own)), None)

    def way_out(self, endpoint: str, schemes: Iterable[_Scheme], uplinks: frozenset[str]) -> list[RoutePlan]:
        """The default route to the nearest SAP with a way out: of its own link, or along the schemes."""
        ways: list[tuple[int, Port, Port]] = []
        for port in self._wiring.data_ports(endpoint):
            segment = None if port.bare else self._wiring.segment_of.get(port.key)
            if segment is not None:
                ways += [(0, port, other) for other in segment.ports if other.endpoint in uplinks]
        for scheme in schemes:
            for port in scheme.starts.get(endpoint, ()):
                ways += [
                    (distance, port, neighbour)
                    for distance, segment, neighbour in self._reach(port, scheme.crossings)
                    if any(other.endpoint in uplinks for other in segment.ports)
                ]
        for _distance, port, neighbour in sorted(ways, key=lambda way: way[0]):
            gateway = self._address_towards(port, neighbour, 4)
            if gateway is not None:
                return [RoutePlan(_ANYWHERE[0], gateway, port.name)]
        return []

    def default_routes(self, sap: str) -> list[RoutePlan]:
        """A SAP with one data link sends all else to the VNF at its other end."""
        ports = self._wiring.data_ports(sap)
        if len(ports) != 1:
            return []
        segment = self._wiring.segment_of[ports[0].key]
        neighbours = [port for port in segment.ports if port.endpoint != sap]
        if not segment.carries_routes or len(neighbours) != 1 or neighbours[0].kind != "vnf":
            return []
        gateways = [
            (network, self._address_towards(ports[0], neighbours[0], network.version))
            for network in _ANYWHERE
        ]
        return [RoutePlan(network, gateway, ports[0].name) for network, gateway in gateways if gateway]


def _schemes(wiring: Wiring, paths: Sequence[ForwardingPath]) -> tuple[list[_Scheme], list[str]]:
    schemes: list[_Scheme] = []
    warnings: list[str] = []
    for path in paths:
        scheme, breaks = _along_path(wiring, path)
        schemes.append(scheme)
        warnings += breaks
    if not paths or warnings:
        schemes.append(_along_chains(wiring))
    return schemes, warnings


def _along_path(wiring: Wiring, path: ForwardingPath) -> tuple[_Scheme, list[str]]:
    """The crossings that a path names, and where its links do not carry it."""
    stations = [station for station in path.references if not _is_bare(wiring, station)]
    starts: dict[str, dict[PortKey, Port]] = {}

    def member(port: Port) -> None:
        if wiring.segment_of[port.key].carries_routes:
            starts.setdefault(port.endpoint, {})[port.key] = port

    legs, breaks = _legs(wiring, path.id, stations)
    crossings = _crossings_between(wiring, stations, legs)
    for ends in legs.values():
        for port in ends:
            member(port)
    for outermost, inner in ((stations[:1], stations[1:2]), (stations[-1:], stations[-2:-1])):
        # A path that begins (or ends) inside a VNF has come in over that VNF's link.
        if outermost and inner and _in_one_vnf(outermost[0], inner[0]):
            for port in _ports_at(wiring, outermost[0]):
                if port.key in wiring.segment_of and port.key in crossings:
                    for peer in wiring.segment_of[port.key].ports:
                        member(peer)
    return _Scheme(crossings, {endpoint: list(ports.values()) for endpoint, ports in starts.items()}), breaks


Legs = Mapping[int, tuple[Port, Port]]
"""Number of a station -> the two ports by which packets go from it to the next one."""


def _legs(wiring: Wiring, path_id: str, stations: Sequence[Reference]) -> tuple[Legs, list[str]]:
    legs: dict[int, tuple[Port, Port]] = {}
    breaks: list[str] = []
    for number, (station, following) in enumerate(pairwise(stations)):
        if _in_one_vnf(station, following):
            continue
        ends = _leg(wiring, station, following)
        if ends is not None:
            legs[number] = ends
        else:
            breaks.append(f"forwarding path '{path_id}': no virtual link joins '{station}' and '{following}'")
    return legs, breaks


def _crossings_between(
    wiring: Wiring, stations: Sequence[Reference], legs: Legs
) -> dict[PortKey, list[Port]]:
    crossings: dict[PortKey, list[Port]] = {}
    for number, (station, following) in enumerate(pairwise(stations)):
        before, here, after = (legs.get(number + step) for step in (-1, 0, 1))
        if _in_one_vnf(station, following):
            # Of an interface in several links only those on the path are meant.
            entering = [before[1]] if before else _ports_at(wiring, station)
            leaving = [after[0]] if after else _ports_at(wiring, following)
            _cross(wiring, entering, leaving, crossings)
        elif here and after and here[1].kind == "vnf":
            # It comes in and goes out by one interface that is in both links.
            _cross(wiring, [here[1]], [after[0]], crossings)
    return crossings


def _in_one_vnf(station: Reference, following: Reference) -> bool:
    return station.function is not None and station.function == following.function


def _ports_at(wiring: Wiring, station: Reference) -> list[Port]:
    """The ports that a station names: one of a VNF, all of a SAP."""
    ports = wiring.ports.get(station.function or station.point, ())
    return [port for port in ports if station.function is None or port.point == station.point]


def _is_bare(wiring: Wiring, station: Reference) -> bool:
    return any(port.bare for port in _ports_at(wiring, station))


def _leg(wiring: Wiring, here: Reference, there: Reference) -> tuple[Port, Port] | None:
    """The two ports by which a packet goes from one station to the next, if a segment joins them."""
    for port in _ports_at(wiring, here):
        for other in _ports_at(wiring, there):
            segment = wiring.segment_of.get(port.key)
            joined = segment is not None and segment is wiring.segment_of.get(other.key)
            if segment is not None and joined and segment.joins(port, other):
                return port, other
    return None


def _cross(
    wiring: Wiring, entering: Sequence[Port], leaving: Sequence[Port], crossings: dict[PortKey, list[Port]]
) -> None:
    for port in entering:
        for other in leaving:
            if port.key != other.key and all(
                key in wiring.segment_of and wiring.segment_of[key].carries_routes
                for key in (port.key, other.key)
            ):
                crossings.setdefault(port.key, []).append(other)
                crossings.setdefault(other.key, []).append(port)


def _along_chains(wiring: Wiring) -> _Scheme:
    """Through VNFs with exactly two data interfaces, both on E-Lines."""
    crossings: dict[PortKey, list[Port]] = {}
    starts: dict[str, list[Port]] = {}
    for endpoint in wiring.ports:
        data = wiring.data_ports(endpoint)
        plain = [port for port in data if not port.bare and wiring.segment_of[port.key].carries_routes]
        if plain:
            starts[endpoint] = plain
        interfaces = {port.point for port in data}
        if len(data) == len(plain) == len(interfaces) == 2 and plain[0].kind == "vnf":
            crossings[plain[0].key] = [plain[1]]
            crossings[plain[1].key] = [plain[0]]
    return _Scheme(crossings, starts)


def _all_ways(wiring: Wiring) -> _Scheme:
    """Through every VNF between all its data interfaces, E-LANs too: what `routes: all` asks for."""
    crossings: dict[PortKey, list[Port]] = {}
    starts: dict[str, list[Port]] = {}
    for endpoint in wiring.ports:
        data = [port for port in wiring.data_ports(endpoint) if not port.bare]
        starts[endpoint] = data
        if data and data[0].kind == "vnf":
            for one, other in combinations(data, 2):
                crossings.setdefault(one.key, []).append(other)
                crossings.setdefault(other.key, []).append(one)
    return _Scheme(crossings, starts)
