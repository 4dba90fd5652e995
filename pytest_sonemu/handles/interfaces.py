"""An endpoint's interfaces as they are now, and a virtual link's traffic, from the kernel's counters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace

from pytest_sonemu.emulation.readings import PastCounters, RelayState
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.netlink import AddressInfo, LinkInfo, read_addresses, read_links, route_socket
from pytest_sonemu.handles.results import DirectionStats, Interface, InterfaceStats, LinkStats
from pytest_sonemu.planning.plan import EndpointPlan, LinkPlan


def read_interfaces(
    factory: SocketFactory,
    instance: str,
    endpoint: EndpointPlan,
    past: Mapping[str, PastCounters] | None = None,
) -> tuple[Interface, ...]:
    """The interfaces of an endpoint without `lo`: the planned ones in their order, then any others.

    With `past` (the client's `past()`) their counters go on over restarts.
    """
    with closing(route_socket(factory, instance, endpoint.id)) as sock:
        found = as_interfaces(endpoint, read_links(sock), read_addresses(sock))
    outer_of = {interface.name: interface.outer for interface in endpoint.interfaces}
    gone = {name: past[outer] for name, outer in outer_of.items() if past and outer in past}
    return tuple(
        replace(each, stats=each.stats + _inner(gone[each.name])) if each.name in gone else each
        for each in found
    )


def _inner(past: PastCounters) -> InterfaceStats:
    """Earlier lives as the VNF saw them: what its outer end received, it had sent."""
    return InterfaceStats(past.tx_packets, past.tx_bytes, 0, past.rx_packets, past.rx_bytes, 0)


def as_interfaces(
    endpoint: EndpointPlan, links: Iterable[LinkInfo], addresses: Iterable[AddressInfo]
) -> tuple[Interface, ...]:
    """What the kernel says, joined with what was planned (pure)."""
    planned = {
        interface.name: (place, interface.connection_point)
        for place, interface in enumerate(endpoint.interfaces)
    }
    known = list(addresses)
    found = sorted(
        (link for link in links if not link.loopback),
        key=lambda link: (planned.get(link.name, (len(planned), ""))[0], link.index),
    )
    return tuple(
        Interface(
            name=link.name,
            connection_point=planned.get(link.name, (0, link.name))[1],
            mac=link.mac,
            addresses=tuple(entry.address for entry in known if entry.index == link.index),
            mtu=link.mtu,
            up=link.running,
            stats=link.stats,
        )
        for link in found
    )


def read_outer(
    factory: SocketFactory, past: Mapping[str, PastCounters] | None = None
) -> dict[str, InterfaceStats]:
    """The counters of everything in the fabric by name, as the fabric sees them, read at one moment.

    With `past` (the client's `past()`) they go on over restarts of VNFs.
    """
    with closing(route_socket(factory, None, None)) as sock:
        now = {link.name: link.stats for link in read_links(sock)}
    for name, before in (past or {}).items():
        now[name] = now.get(name, InterfaceStats()) + as_stats(before)
    return now


def as_stats(past: PastCounters) -> InterfaceStats:
    """What an outer end counted in earlier lives, as the fabric saw it."""
    return InterfaceStats(
        past.rx_packets, past.rx_bytes, past.rx_dropped, past.tx_packets, past.tx_bytes, past.tx_dropped
    )


def link_stats(
    link: LinkPlan,
    outer: Mapping[str, InterfaceStats],
    relayed: Mapping[str, Mapping[str, int]] | None = None,
    relay: RelayState | None = None,
) -> LinkStats:
    """The traffic of a virtual link from its outer ends' counters (pure).

    What an outer end receives, its endpoint sent; what it transmits, its endpoint was given. An end
    that is gone (a VNF that stopped) counts nothing. `relayed` are the relay's totals by ingress, `relay`
    is how the relay itself does, if it runs.
    """
    flows = relayed or {}
    counted = [(str(end), outer.get(end.outer, InterfaceStats())) for end in link.ends]
    if link.kind == "E-Line" and len(counted) == 2:
        (a, at_a), (b, at_b) = counted
        there, back = _direction(a, at_a, b, at_b), _direction(b, at_b, a, at_a)
        return made_stats(
            link.id,
            tuple(
                with_relay(way, flows.get(end.outer))
                for way, end in zip((there, back), link.ends, strict=True)
            ),
            relay,
        )
    directions = []
    for end, (name, stats) in zip(link.ends, counted, strict=True):
        sent = DirectionStats(name, link.id, stats.rx_packets, stats.rx_bytes, stats.rx_dropped)
        given = DirectionStats(link.id, name, stats.tx_packets, stats.tx_bytes, stats.tx_dropped)
        directions += [
            with_relay(sent, flows.get(end.outer)),
            # The relay's place in the bridge sends by an interface of its own (`RelayedPort.outside`).
            with_relay(given, flows.get(f"{end.outer}o")),
        ]
    return made_stats(link.id, tuple(directions), relay)


def made_stats(
    link: str, directions: tuple[DirectionStats, ...], relay: RelayState | None = None
) -> LinkStats:
    """A link's traffic, and how the bed's relay did."""
    if relay is None:
        return LinkStats(link, directions)
    return LinkStats(link, directions, relay.late, relay.unread)


def with_relay(way: DirectionStats, counted: Mapping[str, int] | None) -> DirectionStats:
    """A direction with what the relay counted of it; without, as it is."""
    if not counted:
        return way
    dropped = sum(counted.get(name, 0) for name in ("lost", "overflowed", "refused", "memory"))
    return DirectionStats(
        way.source,
        way.target,
        way.packets,
        way.bytes,
        dropped,
        lost=counted.get("lost", 0),
        overflowed=counted.get("overflowed", 0),
        duplicated=counted.get("duplicated", 0),
        reordered=counted.get("reordered", 0),
        corrupted=counted.get("corrupted", 0),
        queued=counted.get("queued", 0),
        stale=counted.get("stale", 0),
    )


def _direction(source: str, entered: InterfaceStats, target: str, left: InterfaceStats) -> DirectionStats:
    dropped = max(0, entered.rx_packets - left.tx_packets)
    return DirectionStats(source, target, left.tx_packets, left.tx_bytes, dropped)
