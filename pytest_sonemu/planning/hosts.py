"""What names resolve to inside each endpoint: the VNFs and SAPs of its instance, by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address

from pytest_sonemu.planning.plan import Address, EndpointPlan, LinkPlan
from pytest_sonemu.planning.walking import Walker

LOOPBACK = IPv4Address("127.0.0.1")
# What Debian writes for a machine's own name where it has no address.
_OWN_NAME_WITHOUT_ADDRESS = IPv4Address("127.0.1.1")

HostsTable = tuple[tuple[str, Address], ...]


def hosts_tables(endpoints: Sequence[EndpointPlan], links: Sequence[LinkPlan]) -> Mapping[str, HostsTable]:
    """Endpoint -> its (name, address) pairs: itself and `localhost` first, then the others.

    A name stands for the address that a probe would go to (`Walker.meant`), in each family; where that
    leaves several, or none can be reached, for the first data interface's. A VNF of several units is
    known by its units (`fw.vdu01`), the unit at which packets come in by the vnf_id too, and the units of
    one VNF to each other by their unit ids.
    """
    walker = Walker(endpoints, links)
    known = {endpoint.id: _families(walker, walker.numbers_of(endpoint)) for endpoint in endpoints}
    groups: dict[str, list[EndpointPlan]] = {}
    for endpoint in endpoints:
        if endpoint.unit_of is not None:
            groups.setdefault(endpoint.unit_of, []).append(endpoint)
    whole = {
        vnf_id: _families(walker, [number for unit in units for number in walker.numbers_of(unit)])
        for vnf_id, units in groups.items()
    }
    tables: dict[str, HostsTable] = {}
    for endpoint in endpoints:
        rows: list[tuple[str, Address]] = [("localhost", LOOPBACK)]
        rows += [(endpoint.id, walker.candidate(family[0])[1]) for family in known[endpoint.id]]
        if len(rows) == 1:
            rows.append((endpoint.id, _OWN_NAME_WITHOUT_ADDRESS))
        siblings = {
            unit.id.removeprefix(f"{unit.unit_of}."): known[unit.id]
            for unit in groups.get(endpoint.unit_of or "", ())
            if unit is not endpoint
        }
        # Where a unit is called like an endpoint, the endpoint has the name.
        for other, families in {**siblings, **whole, **known}.items():
            if other not in (endpoint.id, endpoint.unit_of):
                for family in families:
                    chosen = walker.choose(endpoint, family) or family
                    rows.append((other, walker.candidate(chosen[0])[1]))
        tables[endpoint.id] = tuple(rows)
    return tables


def _families(walker: Walker, addresses: Iterable[int]) -> list[list[int]]:
    """Addresses, IPv4 and IPv6 apart, data before management."""
    numbers = sorted(addresses, key=walker.is_management)
    parts = [[one for one in numbers if walker.candidate(one)[1].version == version] for version in (4, 6)]
    return [part for part in parts if part]
