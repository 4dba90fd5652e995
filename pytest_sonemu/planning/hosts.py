"""What names resolve to inside each endpoint: the VNFs and SAPs of its instance, by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    leaves several, or none can be reached, for the first data interface's.
    """
    walker = Walker(endpoints, links)
    known = {endpoint.id: _families(walker, endpoint) for endpoint in endpoints}
    tables: dict[str, HostsTable] = {}
    for endpoint in endpoints:
        rows: list[tuple[str, Address]] = [("localhost", LOOPBACK)]
        rows += [(endpoint.id, walker.candidate(family[0])[1]) for family in known[endpoint.id]]
        if len(rows) == 1:
            rows.append((endpoint.id, _OWN_NAME_WITHOUT_ADDRESS))
        for other, families in known.items():
            if other != endpoint.id:
                for family in families:
                    chosen = walker.choose(endpoint, family) or family
                    rows.append((other, walker.candidate(chosen[0])[1]))
        tables[endpoint.id] = tuple(rows)
    return tables


def _families(walker: Walker, endpoint: EndpointPlan) -> list[list[int]]:
    """An endpoint's addresses, IPv4 and IPv6 apart, data before management."""
    numbers = sorted(walker.numbers_of(endpoint), key=walker.is_management)
    parts = [[one for one in numbers if walker.candidate(one)[1].version == version] for version in (4, 6)]
    return [part for part in parts if part]
