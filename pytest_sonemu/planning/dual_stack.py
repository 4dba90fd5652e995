"""IPv6 beside IPv4, where it is asked for: a prefix of the bed's own, a /64 for each virtual link.

Who asks is a service, a VNF, or a static IPv6 address in a descriptor; the whole link then has both
families, but for VNFs that say `ipv6: false`. Everywhere else IPv6 is off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from itertools import count

from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.addressing import Addressing, AddressPlan, in_member_order
from pytest_sonemu.planning.options import ServiceOptions
from pytest_sonemu.planning.plan import Interface, Network
from pytest_sonemu.planning.wiring import Port, PortKey, Segment, Wiring

_LINKS = 1 << 16


def bed_prefix(bed: str) -> IPv6Network:
    """The /48 of unique local addresses that belongs to a bed: always the same for the same name."""
    digest = int.from_bytes(sha256(bed.encode()).digest()[:5], "big")
    return IPv6Network(((0xFD << 120) | (digest << 80), 48))


@dataclass(frozen=True, slots=True)
class Askers:
    """Endpoints whose links are to have IPv6, and those that will have none on any link."""

    asking: frozenset[str]
    refusing: frozenset[str]


def askers(wiring: Wiring, options: ServiceOptions) -> Askers:
    """Who asks for IPv6 by options: the service for all, a VNF for itself; a VNF may say no."""
    asking: set[str] = set()
    refusing: set[str] = set()
    for endpoint, ports in wiring.ports.items():
        own = options.vnf(endpoint) if any(port.kind == "vnf" for port in ports) else None
        said = own.ipv6 if own is not None and "ipv6" in own.given else options.ipv6
        if said:
            asking.add(endpoint)
        elif own is not None and "ipv6" in own.given:
            refusing.add(endpoint)
    return Askers(frozenset(asking), frozenset(refusing))


def with_ipv6(
    addressing: Addressing,
    segments: Sequence[Segment],
    plan: AddressPlan,
    bed: str,
    who: Askers,
    taken: Iterable[Network],
) -> Addressing:
    """`addressing` with IPv6 added. Raises PlanningError.

    `taken` are the bed's networks in use; as with IPv4 only a pooled plan goes round them.
    """
    addresses: dict[PortKey, tuple[Interface, ...]] = dict(addressing.addresses)
    subnets: dict[str, tuple[Network, ...]] = dict(addressing.subnets)
    used = {network for network in taken if isinstance(network, IPv6Network)} if plan.pooled else set()
    free = _numbered(bed, used)
    for segment in segments:
        # Without a pool a link's number is its place, whoever asks.
        numbered = next(free) if not plan.pooled else None
        members = [port for port in segment.ports if port.endpoint not in who.refusing or _static(port)]
        if not any(port.endpoint in who.asking or _static(port) for port in members):
            continue
        static = list(dict.fromkeys(own.network for port in members for own in _static(port)))
        networks = static or [numbered or next(free)]
        for key, own in _member_addresses(segment, members, networks[0], plan).items():
            addresses[key] = (*addresses.get(key, ()), *own)
        for wire in segment.wires:
            subnets[wire.id] = (*subnets[wire.id], *networks)
    return replace(addressing, addresses=addresses, subnets=subnets)


def _numbered(bed: str, used: Collection[IPv6Network]) -> Iterator[IPv6Network]:
    start = int(bed_prefix(bed).network_address)
    for number in count(1):
        if number >= _LINKS:
            raise PlanningError(f"bed '{bed}' has no /64 left for another virtual link; boot another bed")
        network = IPv6Network((start | number << 64, 64))
        if network not in used:
            yield network


def _static(port: Port) -> list[IPv6Interface]:
    """Static IPv6 addresses; one without a prefix stands in the /64 around it."""
    return [
        IPv6Interface((int(address.ip), 64)) if address.network.prefixlen == 128 else address
        for address in port.static
        if isinstance(address, IPv6Interface)
    ]


def _member_addresses(
    segment: Segment, members: Sequence[Port], network: IPv6Network, plan: AddressPlan
) -> dict[PortKey, tuple[IPv6Interface, ...]]:
    own = {port.key: tuple(_static(port)) for port in members}
    owners: dict[IPv6Address, Port] = {}
    for port in members:
        for address in own[port.key]:
            other = owners.setdefault(address.ip, port)
            if other is not port:
                raise PlanningError(
                    f"'{other}' and '{port}' of virtual link '{segment.lead.id}' have the same"
                    f" static address {address.ip}"
                )
    start = int(network.network_address)
    # The network's own number is the anycast address of all its routers.
    free = (
        number
        for number in range(start + 1, start + network.num_addresses)
        if IPv6Address(number) not in owners
    )
    for port in in_member_order([port for port in members if not own[port.key]], segment, plan):
        number = next(free, None)
        if number is None:
            raise PlanningError(
                f"virtual link '{segment.lead.id}' has {len(members)} members,"
                f" more than {network} has addresses"
            )
        own[port.key] = (IPv6Interface((number, network.prefixlen)),)
    return own
