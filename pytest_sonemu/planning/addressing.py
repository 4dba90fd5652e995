"""Addresses: a named plan numbers the subnets, members take their numbers in order, static ones win.

The tables and the sentences that fix the numbers are in `docs/architecture.md` ("Addresses").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.plan import Interface, Network
from pytest_sonemu.planning.wiring import Port, PortKey, Segment, Wire

Numbered = Callable[[int], "IPv4Network | None"]


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """How subnets are numbered: `line(n)` and `lan(k)` from 0, None where the numbers end.

    `pooled`: instances of one bed get different numbers, the lowest free ones; else every instance
    gets the same. `saps_last`: an E-LAN's SAPs are numbered after its VNFs.
    """

    name: str
    line: Numbered
    lan: Numbered
    pooled: bool = False
    saps_last: bool = False


def _subnet(first: str, size: int, prefix: int, count: int) -> Numbered:
    """`count` subnets of `size` addresses in a row from `first` on."""
    start = int(IPv4Address(first))
    return lambda n: IPv4Network((start + n * size, prefix)) if n < count else None


def _private_line(n: int) -> IPv4Network | None:
    """10.30.n.0/30, and after n = 255 10.30.0.4/30, 10.30.1.4/30, …"""
    fourth, third = divmod(n, 256)
    return (
        IPv4Network((int(IPv4Address("10.30.0.0")) + third * 256 + fourth * 4, 30)) if fourth < 64 else None
    )


def _seed_line(n: int) -> IPv4Network | None:
    """(200+n).0.0.0/24 while that is unicast, then as the default plan."""
    return IPv4Network(((200 + n) << 24, 24)) if n < 24 else _private_line(n)


_LINES = IPv4Network("10.30.0.0/16")
_PRIVATE_LAN = _subnet("10.20.0.0", 256, 24, 10 * 256)

ADDRESS_PLANS: Mapping[str, AddressPlan] = {
    plan.name: plan
    for plan in (
        AddressPlan("vim-emu", _private_line, _PRIVATE_LAN, pooled=True),
        # Up to 10.9.255.0: the SAPs' range begins at 10.10.
        AddressPlan("seed", _seed_line, _subnet("10.0.10.0", 256, 24, 10 * 256 - 10), saps_last=True),
        AddressPlan("llcm", _subnet("20.0.0.0", 256, 24, 1 << 16), _subnet("30.0.0.0", 256, 24, 1 << 16)),
    )
}


@dataclass(frozen=True, slots=True)
class Addressing:
    """What the plan gave out: addresses per port, subnets per virtual link, IPv4 before IPv6."""

    addresses: Mapping[PortKey, tuple[Interface, ...]]
    subnets: Mapping[str, tuple[Network, ...]]
    warnings: tuple[str, ...] = ()


def give_addresses(
    segments: Sequence[Segment], wires: Sequence[Wire], plan: AddressPlan, taken: Iterable[Network]
) -> Addressing:
    """IPv4 addresses for every port of every segment. Raises PlanningError when the numbers do not reach.

    `taken` are the bed's networks in use; only a pooled plan goes round them.
    """
    static = {segment.lead.id: _static_networks(segment) for segment in segments}
    # A VNF may see this instance's static networks beside those of the pool.
    avoided = [network for networks in static.values() for network in networks]
    avoided += [network for network in taken if isinstance(network, IPv4Network)]
    numbers = _Numbers(plan, segments, wires, avoided)

    addresses: dict[PortKey, tuple[Interface, ...]] = {}
    subnets: dict[str, tuple[Network, ...]] = {}
    warnings: list[str] = []
    for segment in _in_numbering_order(segments):
        networks = static[segment.lead.id] or [numbers.next(segment)]
        if len(networks) > 1:
            listing = ", ".join(map(str, networks))
            warnings.append(
                f"virtual link '{segment.lead.id}' has static addresses of several subnets: {listing}"
            )
        for wire in segment.wires:
            subnets[wire.id] = tuple(networks)
        addresses.update(_member_addresses(segment, networks[0], plan))
    return Addressing(addresses, subnets, tuple(warnings))


def _in_numbering_order(segments: Iterable[Segment]) -> list[Segment]:
    """As written, but E-Lines between VNFs before those with a SAP: SAPs then renumber nothing."""
    return sorted(segments, key=lambda segment: segment.kind == "E-Line" and segment.lead.has_sap)


class _Numbers:
    """The next subnet for a segment: by its place among its kind, or the lowest free one of the pool."""

    def __init__(
        self,
        plan: AddressPlan,
        segments: Sequence[Segment],
        wires: Sequence[Wire],
        avoided: Iterable[IPv4Network],
    ) -> None:
        self._plan = plan
        self._exact = set(avoided)
        # Others than the pool's own may overlap a subnet without being the same.
        self._odd = [network for network in self._exact if not _is_of_the_pool(network)]
        lines = [wire for wire in wires if wire.link.connectivity == "E-Line"]
        lines.sort(key=lambda wire: wire.has_sap)
        lans = [wire for wire in wires if wire.link.connectivity != "E-Line"]
        # E-Lines that became a LAN are numbered after those that were written as one.
        lans += [s.lead for s in segments if s.kind != "E-Line" and s.lead.link.connectivity == "E-Line"]
        self._place = {wire.id: number for own in (lines, lans) for number, wire in enumerate(own)}
        self._pools: dict[str, Iterator[IPv4Network]] = {
            "line": self._free(plan.line),
            "lan": self._free(plan.lan),
        }

    def next(self, segment: Segment) -> IPv4Network:
        kind = "line" if segment.kind == "E-Line" else "lan"
        if self._plan.pooled:
            network = next(self._pools[kind], None)
        else:
            numbered = self._plan.line if kind == "line" else self._plan.lan
            network = numbered(self._place[segment.lead.id])
        if network is None:
            raise PlanningError(
                f"address plan '{self._plan.name}' has no subnet left for {segment.kind} '{segment.lead.id}';"
                " stop an instance of this bed or boot another bed"
            )
        return network

    def _free(self, numbered: Numbered) -> Iterator[IPv4Network]:
        n = 0
        while (network := numbered(n)) is not None:
            if not self._is_taken(network):
                yield network
            n += 1

    def _is_taken(self, network: IPv4Network) -> bool:
        return network in self._exact or any(network.overlaps(other) for other in self._odd)


def _is_of_the_pool(network: IPv4Network) -> bool:
    in_lines = network.overlaps(_LINES)
    return network.prefixlen == 30 if in_lines else network.prefixlen == 24


def _static_networks(segment: Segment) -> list[IPv4Network]:
    networks: dict[IPv4Network, None] = {}
    owners: dict[IPv4Address, Port] = {}
    for port in segment.ports:
        for address in _static(port):
            other = owners.setdefault(address.ip, port)
            if other is not port:
                raise PlanningError(
                    f"'{other}' and '{port}' of virtual link '{segment.lead.id}' have the same"
                    f" static address {address.ip}"
                )
            networks[address.network] = None
    return list(networks)


def _static(port: Port) -> list[IPv4Interface]:
    """Static IPv4 addresses; one without a prefix stands in the /24 around it."""
    return [
        IPv4Interface((int(address.ip), 24)) if address.network.prefixlen == 32 else address
        for address in port.static
        if isinstance(address, IPv4Interface)
    ]


def in_member_order(ports: Sequence[Port], segment: Segment, plan: AddressPlan) -> list[Port]:
    """The order in which a segment's ports are numbered."""
    last = plan.saps_last and segment.kind != "E-Line"
    return sorted(ports, key=lambda port: last and port.kind == "sap")


def _member_addresses(
    segment: Segment, network: IPv4Network, plan: AddressPlan
) -> dict[PortKey, tuple[IPv4Interface, ...]]:
    own = {port.key: tuple(_static(port)) for port in segment.ports}
    used = {int(address.ip) for addresses in own.values() for address in addresses}
    members = in_member_order([port for port in segment.ports if not own[port.key]], segment, plan)
    start = int(network.network_address)
    # A /31 has no broadcast address and no network address.
    first, last = (0, 1) if network.prefixlen == 31 else (1, network.num_addresses - 2)
    free = (number for number in range(start + first, start + last + 1) if number not in used)
    for port in members:
        number = next(free, None)
        if number is None:
            raise PlanningError(
                f"virtual link '{segment.lead.id}' has {len(segment.ports)} members,"
                f" more than {network} has addresses"
            )
        own[port.key] = (IPv4Interface((number, network.prefixlen)),)
    return own
