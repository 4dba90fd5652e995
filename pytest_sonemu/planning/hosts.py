"""What names resolve to inside each endpoint: the VNFs and SAPs of its instance, by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from pytest_sonemu.planning.addressing import Addressing
from pytest_sonemu.planning.plan import Address, Network, RoutePlan
from pytest_sonemu.planning.wiring import Port, Wiring

LOOPBACK = IPv4Address("127.0.0.1")
# What Debian writes for a machine's own name where it has no address.
_OWN_NAME_WITHOUT_ADDRESS = IPv4Address("127.0.1.1")


@dataclass(frozen=True, slots=True)
class _Known:
    """An addressed interface as the names see it."""

    segment: str
    management: bool
    address: IPv4Address


def hosts_tables(
    wiring: Wiring, addressing: Addressing, routes: Mapping[str, Sequence[RoutePlan]]
) -> dict[str, tuple[tuple[str, Address], ...]]:
    """Endpoint -> its (name, address) pairs: itself and `localhost` first.

    A name stands for the address on a data link that both share, else for the one that a route leads
    to (the nearest), else for the one on a shared management link, else for the first there is.
    """
    known = {endpoint: _known(wiring, addressing, ports) for endpoint, ports in wiring.ports.items()}
    segment_of: dict[Network, str] = {
        network: segment.lead.id
        for segment in wiring.segments
        for network in addressing.subnets[segment.lead.id]
    }
    tables: dict[str, tuple[tuple[str, Address], ...]] = {}
    for endpoint, own in known.items():
        ordered = sorted(own, key=lambda one: one.management)
        rows: list[tuple[str, Address]] = [
            ("localhost", LOOPBACK),
            (endpoint, ordered[0].address if ordered else _OWN_NAME_WITHOUT_ADDRESS),
        ]
        shared = {one.segment for one in own}
        reached = [segment_of.get(route.destination, "") for route in routes.get(endpoint, ())]
        nearness = {segment: rank for rank, segment in enumerate(reached)}
        for other, theirs in known.items():
            if other != endpoint and theirs:
                rows.append((other, _choose(theirs, shared, nearness)))
        tables[endpoint] = tuple(rows)
    return tables


def _known(wiring: Wiring, addressing: Addressing, ports: Sequence[Port]) -> list[_Known]:
    found = []
    for port in ports:
        address = addressing.of(port)
        if address is not None:
            found.append(_Known(wiring.segment_of[port.key].lead.id, port.management, address.ip))
    return found


def _choose(theirs: Sequence[_Known], shared: set[str], nearness: Mapping[str, int]) -> IPv4Address:
    data = [one for one in theirs if not one.management]
    for one in data:
        if one.segment in shared:
            return one.address
    routed = [one for one in data if one.segment in nearness]
    if routed:
        return min(routed, key=lambda one: nearness[one.segment]).address
    for one in theirs:
        if one.segment in shared:
            return one.address
    return (data or theirs)[0].address
