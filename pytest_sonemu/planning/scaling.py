"""More or fewer replicas of a VNF whose data interfaces are all in E-LANs."""

from __future__ import annotations

from dataclasses import replace

from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning import names
from pytest_sonemu.planning.growing import (
    Numbers,
    check_name,
    with_hosts,
    with_member,
    without,
)
from pytest_sonemu.planning.plan import (
    Allocations,
    ContainerPlan,
    DeploymentPlan,
    EndpointPlan,
    InterfacePlan,
)
from pytest_sonemu.planning.room import Demand, Room
from pytest_sonemu.topology.model import Topology


def replicas(plan: DeploymentPlan, vnf_id: str) -> list[str]:
    """The VNF itself and its replicas, in the order of their numbers."""
    return [vnf_id, *(endpoint.id for endpoint in plan.endpoints if endpoint.replica_of == vnf_id)]


def scaled(
    plan: DeploymentPlan,
    topology: Topology,
    vnf_id: str,
    count: int,
    allocations: Allocations,
    overprovision: float = 1.0,
) -> DeploymentPlan:
    """With `count` replicas of a VNF, itself counted: `web`, `web.2`, `web.3`, …

    A replica stands in the VNF's PoP while that has room, else in the first that has. The last ones go
    first. Raises PlanningError where an interface is in a link that takes no more members, PlacementError.
    """
    original = _scalable(plan, vnf_id, count)
    there = replicas(plan, vnf_id)
    if count <= len(there):
        return without(plan, topology, there[count:])
    room = Room(topology, allocations.used, overprovision)
    taken = set(allocations.container_names)
    number = 1
    for _ in range(count - len(there)):
        while f"{vnf_id}.{number + 1}" in there:
            number += 1
        number += 1
        plan = _with_replica(plan, topology, original, f"{vnf_id}.{number}", room, taken)
    return with_hosts(plan)


def _scalable(plan: DeploymentPlan, vnf_id: str, count: int) -> EndpointPlan:
    if plan.units(vnf_id):
        raise PlanningError(f"VNF '{vnf_id}' cannot be scaled: it has several units, which belong together")
    endpoint = plan.endpoint(vnf_id)
    if endpoint is None or endpoint.kind != "vnf" or endpoint.container is None:
        raise PlanningError(f"there is no VNF '{vnf_id}' to be scaled")
    if endpoint.replica_of is not None:
        raise PlanningError(f"'{vnf_id}' is a replica itself; scale '{endpoint.replica_of}'")
    if count < 1:
        raise PlanningError(
            f"VNF '{vnf_id}' cannot be scaled to {count}; its own container is one, stop() ends it"
        )
    if endpoint.transparent:
        raise PlanningError(
            f"VNF '{vnf_id}' cannot be scaled: it is transparent, two of them would be a loop"
        )
    for interface in endpoint.interfaces:
        for link_id in interface.links:
            link = plan.link(link_id)
            if link is None or (link.management and not link.bridges):
                continue
            if not link.bridges:
                raise PlanningError(
                    f"VNF '{vnf_id}' cannot be scaled: its interface '{interface.connection_point}' is in"
                    f" E-Line '{link.id}', which has just two ends; make that an E-LAN in the descriptor"
                )
            if link.root is not None and link.root.endpoint == vnf_id:
                raise PlanningError(f"VNF '{vnf_id}' cannot be scaled: it is the root of E-Tree '{link.id}'")
        if interface.also_in:
            raise PlanningError(
                f"VNF '{vnf_id}' cannot be scaled: its interface '{interface.connection_point}' is in several"
                f" links ({', '.join(interface.links)})"
            )
    return endpoint


def _with_replica(
    plan: DeploymentPlan,
    topology: Topology,
    original: EndpointPlan,
    name: str,
    room: Room,
    taken: set[str],
) -> DeploymentPlan:
    check_name(plan, name)
    now = original.container
    if now is None:
        raise PlanningError(f"'{original.id}' has no container")
    demand = Demand(now.cpu or 0.0, now.memory or 0)
    pops = [original.pop, *(pop.name for pop in topology.pops if pop.name != original.pop)]
    pop = next((pop for pop in pops if room.fits(pop, demand)), None)
    if pop is None:
        raise room.nowhere(demand, f"'{name}'")
    room.take(pop, demand, f"'{name}'")
    interfaces: list[InterfacePlan] = []
    # In the plan from the start, so that each interface sees the numbers of those before it.
    bare = EndpointPlan(name, "vnf", pop)
    plan = replace(plan, endpoints=(*plan.endpoints, bare))
    for interface in original.interfaces:
        link = plan.link(interface.link) if interface.link is not None else None
        if link is None or not link.bridges:
            outer, mac = Numbers(plan).interface()
            made = replace(interface, outer=outer, mac=mac, addresses=(), link=None)
        else:
            plan, member = with_member(plan, topology, link.id, name, pop, interface.connection_point)
            # A VNF may have refused IPv6 in a link that has both.
            own = {address.version for address in interface.addresses}
            addresses = tuple(each for each in member.addresses if each.version in own)
            made = replace(interface, outer=member.outer, mac=member.mac, addresses=addresses, link=link.id)
        interfaces.append(made)
        plan = replace(plan, endpoints=(*plan.endpoints[:-1], replace(bare, interfaces=tuple(interfaces))))
    attached = {interface.name for interface in interfaces if interface.link is not None}
    container_name = names.container_name(plan.bed, name, taken)
    taken.add(container_name)
    endpoint = replace(
        original,
        id=name,
        pop=pop,
        interfaces=tuple(interfaces),
        routes=tuple(route for route in original.routes if route.interface in attached),
        container=_container(now, name, container_name),
        # Of the same ports outside there can be one.
        publish=tuple(replace(port, outer=None) for port in original.publish),
        replica_of=original.id,
    )
    return replace(plan, endpoints=(*plan.endpoints[:-1], endpoint))


def _container(now: ContainerPlan, name: str, container_name: str) -> ContainerPlan:
    environment = {**dict(now.environment), "VNF_NAME": name}
    return replace(
        now, name=container_name, hostname=names.hostname(name), environment=tuple(environment.items())
    )
