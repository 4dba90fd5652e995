"""Packets walked over the planned routes, hop by hop: where do they come in?

Probes and hosts tables ask the same question here, so that a name means the same address to both.
A hosts table of a large service asks it for every pair of endpoints; so addresses are numbered once
and everything below is looked up by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pytest_sonemu.planning.plan import Address, DeploymentPlan, EndpointPlan, InterfacePlan, LinkPlan

Candidate = tuple[InterfacePlan, Address]

# How an endpoint gets at an address, the likeliest to be meant first.
_DATA_LINK, _DATA_ROUTE, _MANAGEMENT, _DEFAULT_ROUTE, _DEFAULT_TO_MANAGEMENT, _NO_WAY = range(6)

_Network = tuple[int, int, int]  # version, prefix length, the prefix's bits
_BITS = {4: 32, 6: 128}


class _Hop(NamedTuple):
    """The next hop: `gateway` is the number of an address, or None for a neighbour."""

    length: int
    metric: int
    gateway: int | None


class Walker:
    """Answers for one plan's endpoints. An endpoint's table is made when it is first asked for."""

    def __init__(self, endpoints: Iterable[EndpointPlan], links: Iterable[LinkPlan]) -> None:
        management = {link.id for link in links if link.management}
        self._endpoints = {endpoint.id: endpoint for endpoint in endpoints}
        self._numbers: dict[Address, int] = {}
        self._owners: list[str] = []
        self._candidates: list[Candidate] = []
        self._managed: list[bool] = []
        self._of_endpoint: dict[str, list[int]] = {}
        networks: dict[_Network, list[int]] = {}
        for endpoint in self._endpoints.values():
            own = self._of_endpoint[endpoint.id] = []
            for interface in endpoint.interfaces:
                for entry in interface.addresses:
                    number = len(self._owners)
                    own.append(number)
                    self._numbers.setdefault(entry.ip, number)
                    self._owners.append(endpoint.id)
                    self._candidates.append((interface, entry.ip))
                    self._managed.append(interface.link in management)
                    key = _network(entry.ip, entry.network.prefixlen)
                    networks.setdefault(key, []).append(number)
        self._in_network = _with_nested(networks)
        self._tables: dict[str, dict[int, _Hop]] = {}
        # For each address: where packets for it come in, by the endpoint that sends or passes them on.
        self._entrances: list[dict[str, int | None]] = [{} for _ in self._owners]

    @classmethod
    def of(cls, plan: DeploymentPlan) -> Walker:
        return cls(plan.endpoints, plan.links)

    def meant(self, source: EndpointPlan, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those of an endpoint's addresses that its bare name may mean to `source`: one, or too many to say.

        A neighbour on a data link before what a route leads to, before management, before the default
        route. Among several of the same kind it is the address of the interface at which packets for
        it come in. Without any way to any of them the result is empty.
        """
        by_number = {self._numbers[address]: (interface, address) for interface, address in candidates}
        return [by_number[number] for number in self.choose(source, list(by_number))]

    def numbers_of(self, endpoint: EndpointPlan) -> Sequence[int]:
        """The numbers that stand for an endpoint's addresses here, in order."""
        return self._of_endpoint[endpoint.id]

    def candidate(self, number: int) -> Candidate:
        return self._candidates[number]

    def is_management(self, number: int) -> bool:
        return self._managed[number]

    def choose(self, source: EndpointPlan, numbers: Sequence[int]) -> list[int]:
        """`meant`, by numbers."""
        table = self._tables.get(source.id) or self._table(source)
        best, nearest = _NO_WAY, list[int]()
        for number in numbers:
            hop = table.get(number)
            if hop is None:
                continue
            if hop.length == 0:
                rank = _DEFAULT_TO_MANAGEMENT if self._managed[number] else _DEFAULT_ROUTE
            elif self._managed[number]:
                rank = _MANAGEMENT
            else:
                rank = _DATA_LINK if hop.gateway is None else _DATA_ROUTE
            if rank < best:
                best, nearest = rank, [number]
            elif rank == best:
                nearest.append(number)
        if len(nearest) > 1:
            nearest = [number for number in nearest if self._entrance(source, number) == number] or nearest
            first = self._candidates[nearest[0]][0].outer
            if all(self._candidates[number][0].outer == first for number in nearest):
                # Several addresses of one interface are one place; the first is the primary one.
                return nearest[:1]
        return nearest

    def _entrance(self, source: EndpointPlan, number: int) -> int | None:
        """The address, of the endpoint that owns this one, at which packets for it come in.

        None where they get lost on the way.
        """
        entrances, owner = self._entrances[number], self._owners[number]
        if source.id in entrances:
            return entrances[source.id]
        passed: list[str] = []
        at, found = source, None
        while at.id not in entrances:
            entrances[at.id] = None  # what comes round in a circle never arrives
            passed.append(at.id)
            if at.id == owner:
                found = number
                break
            hop = (self._tables.get(at.id) or self._table(at)).get(number)
            if hop is None:
                break
            if hop.gateway is None or self._owners[hop.gateway] == owner:
                found = number if hop.gateway is None else hop.gateway
                break
            at = self._endpoints[self._owners[hop.gateway]]
        else:
            found = entrances[at.id]
        for endpoint in passed:
            entrances[endpoint] = found
        return found

    def _table(self, at: EndpointPlan) -> dict[int, _Hop]:
        """The hop to each address of the plan: by longest prefix, then the least metric."""
        table: dict[int, _Hop] = {}

        def enter(network: _Network, hop: _Hop) -> None:
            for number in self._inside(network):
                known = table.get(number)
                if known is None or (hop.length, -hop.metric) > (known.length, -known.metric):
                    table[number] = hop

        for interface in at.interfaces:
            for entry in interface.addresses:
                length = entry.network.prefixlen
                enter(_network(entry.ip, length), _Hop(length, 0, None))
        for route in at.routes:
            gateway = self._numbers.get(route.gateway)
            if gateway is not None:
                to = route.destination
                enter(_network(to.network_address, to.prefixlen), _Hop(to.prefixlen, route.metric, gateway))
        self._tables[at.id] = table
        return table

    def _inside(self, network: _Network) -> Sequence[int]:
        """The numbers of all addresses in a network: mostly a subnet as planned, else counted out."""
        if network in self._in_network:
            return self._in_network[network]
        version, length, bits = network
        return [
            number
            for number, (_, address) in enumerate(self._candidates)
            if address.version == version and int(address) >> (address.max_prefixlen - length) == bits
        ]


def _network(address: Address, length: int) -> _Network:
    return address.version, length, int(address) >> (address.max_prefixlen - length)


def _with_nested(networks: dict[_Network, list[int]]) -> dict[_Network, list[int]]:
    """Static addresses may put one subnet inside another, whose addresses are then in both."""
    found = {network: list(numbers) for network, numbers in networks.items()}
    around: list[_Network] = []
    for network in sorted(networks, key=lambda one: (one[0], one[2] << (_BITS[one[0]] - one[1]), one[1])):
        while around and not _holds(around[-1], network):
            around.pop()
        for outer in around:
            found[outer] += networks[network]
        around.append(network)
    return found


def _holds(outer: _Network, inner: _Network) -> bool:
    return outer[0] == inner[0] and outer[1] <= inner[1] and inner[2] >> (inner[1] - outer[1]) == outer[2]
