"""Between two tests that share an instance: what they must not hand on is forgotten, what is broken named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pytest_sonemu.emulation import netlink
from pytest_sonemu.emulation.instance import Instance
from pytest_sonemu.errors import EmulationError


def between_tests(instance: Instance, *, forget: bool) -> tuple[str, ...]:
    """Faults of an instance, a sentence each. With `forget`, neighbours and connections are emptied.

    Connections are those with a SAP or a host at one end (ruling 20): what VNFs keep up
    between them is theirs.
    """
    if forget:
        _forget(instance)
    return tuple(_faults(instance))


def _forget(instance: Instance) -> None:
    outside = frozenset(
        address.ip
        for endpoint in instance.plan.endpoints
        if endpoint.kind != "vnf"
        for interface in endpoint.interfaces
        for address in interface.addresses
    )
    for endpoint in (*instance.vnfs.values(), *instance.others.values()):
        # One that is not running has nothing to forget; one that ends just now neither.
        with contextlib.suppress(EmulationError, OSError):
            netlink.empty_neighbours(endpoint.netlink(netlink.ROUTE))
            netlink.empty_connections(endpoint.netlink(netlink.NETFILTER), outside)


def _faults(instance: Instance) -> Iterator[str]:
    yield from instance.storms
    gone = set()
    for vnf_id, vnf in instance.vnfs.items():
        if vnf.phase == "exited":
            gone.add(vnf_id)
            memory = ", killed for want of memory" if vnf.out_of_memory else ""
            yield f"{vnf_id} has ended with {vnf.exit_status}{memory}"
        elif vnf.phase == "paused":
            yield f"{vnf_id} is paused"
    with contextlib.closing(netlink.open_socket(netlink.ROUTE)) as sock:
        ends = netlink.read_ends(sock)
    bridges = {
        port: bridge.name for link in instance.plan.links for bridge in link.bridges for port in bridge.ports
    }
    for endpoint in instance.plan.endpoints:
        if endpoint.id in gone:
            continue
        for interface in endpoint.interfaces:
            found = ends.get(interface.outer)
            where = f"{endpoint.id}:{interface.name}"
            if found is None:
                yield f"interface {where} is gone"
            elif not found.up:
                yield f"interface {where} is down"
            elif found.master != bridges.get(interface.outer):
                yield f"interface {where} is not in its link '{interface.link}'"
