"""Between two tests that share an instance: what they must not hand on is forgotten, what is broken named."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterator, Mapping

from pytest_sonemu.emulation import netlink
from pytest_sonemu.emulation.instance import Instance
from pytest_sonemu.emulation.running import RunningEndpoint
from pytest_sonemu.errors import EmulationError
from pytest_sonemu.planning.standing import standing, without


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
    yield from instance.shaping.faults(instance.plan.instance)
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
        yield from dict.fromkeys(_faults_of_fabric(instance, gone, sock, ends))
    for endpoint in (*instance.vnfs.values(), *instance.others.values()):
        if endpoint.plan.id not in gone:
            yield from _faults_inside(endpoint, ends)


def _faults_of_fabric(
    instance: Instance, gone: Collection[str], sock: socket.socket, ends: Mapping[str, netlink.End]
) -> Iterator[str]:
    lines, ports = instance.shaping.carried(instance.plan.instance)
    planned = without(standing(instance.plan, lines, ports), gone)
    broken = set()
    for name, master in planned.masters.items():
        found, link = ends.get(name), planned.links.get(name)
        if found is None:
            fault = "is gone"
        elif not found.up:
            fault = "is down"
        elif found.master != master:
            fault = f"is not in its link '{link}'" if link else "is where it does not belong"
        else:
            continue
        broken.add(name)
        yield f"{planned.names[name]} {fault}"
    for name, target in planned.redirects.items():
        if {name, target} & broken:
            continue  # it is told already
        if name not in ends or target not in ends:
            continue  # the service that it is joined to has ended
        if netlink.read_redirect(sock, ends[name].index) != ends[target].index:
            yield f"{planned.names[name]} is cut off from its link '{planned.links[name]}'"


def _faults_inside(endpoint: RunningEndpoint, outside: Collection[str]) -> Iterator[str]:
    """What has become of the interfaces, seen from within: against what they were before the test.

    Not against the plan: a VNF may put its own interfaces into a bridge, or down, as soon as it starts.
    """
    # One that ends or starts just now is told of, or compared, the next time.
    with contextlib.suppress(EmulationError, OSError):
        ends = netlink.read_ends(endpoint.netlink(netlink.ROUTE))
        own = endpoint.plan.id
        for interface in endpoint.plan.interfaces:
            before, now = endpoint.known_ends.get(interface.name), ends.get(interface.name)
            where = own if interface.name == own else f"{own}:{interface.name}"
            if before is None or interface.outer not in outside:
                continue
            if now is None:
                yield f"interface {where} is gone from {own}"
            elif before.up and not now.up:
                yield f"interface {where} is down in {own}"
            elif before.master != now.master:
                yield (
                    f"interface {where} is in {now.master or 'no bridge'} in {own},"
                    f" and was in {before.master or 'none'}"
                )
        endpoint.known_ends = ends
