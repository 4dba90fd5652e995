"""Two SAPs of two running services made one link: what leaves the one service comes in at the other.

Each SAP's line keeps its one end and gets, in the SAP's place, the end of a pair in the fabric; the pair
joins the two. Each VNF takes the address of the SAP that the other one knew, so that both have the neighbour
that they had before, and every address and route that was there stays. The SAPs are set aside, without a
link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.growing import Numbers, with_endpoint, with_hosts, with_link
from pytest_sonemu.planning.plan import (
    Address,
    DeploymentPlan,
    EndpointPlan,
    Interface,
    InterfacePlan,
    LinkEnd,
    LinkPlan,
    Network,
    Patch,
    RoutePlan,
)
from pytest_sonemu.planning.realisation import realisation_of, require_realisable
from pytest_sonemu.planning.ways import Ways
from pytest_sonemu.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Side:
    """One service at the place where it is to be joined: the SAP, its line, and the VNF at the other end."""

    plan: DeploymentPlan
    sap: EndpointPlan
    at_sap: InterfacePlan
    link: LinkPlan
    neighbour: EndpointPlan
    at_neighbour: InterfacePlan

    @property
    def pop(self) -> str:
        return self.neighbour.pop

    def beyond(self) -> tuple[Network, ...]:
        """The subnets that the SAP reached through its neighbour."""
        found: dict[Network, None] = dict.fromkeys(self.link.subnets)
        if dict(self.neighbour.sysctls).get("net.ipv4.ip_forward") == "1":
            lines = {
                link.id: link for link in self.plan.links if link.kind == "E-Line" and not link.management
            }
            for interface in self.neighbour.interfaces:
                for link_id in interface.links:
                    found.update(dict.fromkeys(lines[link_id].subnets if link_id in lines else ()))
            found.update((route.destination, None) for route in self.neighbour.routes)
        return tuple(network for network in found if network.prefixlen)


def side(plan: DeploymentPlan, sap_id: str) -> Side:
    """Where a service is joined. Raises PlanningError for a SAP that is not at the end of one E-Line."""
    sap = plan.endpoint(sap_id)
    if sap is None or sap.kind != "sap":
        raise PlanningError(f"'{plan.instance}' has no SAP '{sap_id}' to join")
    attached = [interface for interface in sap.interfaces if interface.link is not None]
    if len(attached) != 1:
        raise PlanningError(
            f"SAP '{sap_id}' of '{plan.instance}' cannot be joined: it is in {len(attached)} links"
            f"{' (it is joined already)' if plan.patches and not attached else ''}, not in one"
        )
    link = plan.link(attached[0].link or "")
    if link is None or link.kind != "E-Line" or link.bridges:
        raise PlanningError(
            f"SAP '{sap_id}' of '{plan.instance}' cannot be joined: '{attached[0].link}' is an E-LAN, where"
            " there are others beside it; join SAPs at the ends of E-Lines"
        )
    other = next(end for end in link.ends if end.endpoint != sap_id)
    neighbour = plan.endpoint(other.endpoint)
    if neighbour is None or neighbour.kind != "vnf":
        raise PlanningError(
            f"SAP '{sap_id}' of '{plan.instance}' cannot be joined: no VNF is at its link's end"
        )
    there = next(interface for interface in neighbour.interfaces if interface.name == other.interface)
    return Side(plan, sap, attached[0], link, neighbour, there)


def spliced(
    mine: Side, theirs: Side, topology: Topology, ends: tuple[str, str] | None = None
) -> tuple[DeploymentPlan, str]:
    """The plan of one of the two services, joined; and the end of the pair that is the other's.

    `ends` None: the pair is this one's, and its line has the way between the two VNFs; else it is the
    other's, and these are its two ends, the other's first. Raises PlanningError.
    """
    _check(mine, theirs)
    plan = mine.plan
    if ends is None:
        near, far = Numbers(plan).patch()
        plan = replace(plan, patches=(*plan.patches, Patch(mine.sap.id, near, far)))
        pop = theirs.pop
    else:
        far, near = ends
        pop = mine.pop
    strange = LinkEnd(f"{theirs.plan.instance}/{theirs.neighbour.id}", theirs.at_neighbour.name, near, pop)
    link_ends = tuple(strange if end.endpoint == mine.sap.id else end for end in mine.link.ends)
    plan = with_link(plan, _over(replace(mine.link, ends=link_ends), topology))
    plan = with_endpoint(plan, _set_aside(mine))
    plan = with_endpoint(plan, _with_address(mine, theirs.at_sap.addresses))
    for endpoint in plan.endpoints:
        if endpoint.id != mine.sap.id:
            more = tuple(_routes(mine, theirs, endpoint))
            plan = with_endpoint(plan, replace(endpoint, routes=(*endpoint.routes, *more)))
    return with_hosts(plan), far


def parted(now: DeploymentPlan, before: DeploymentPlan, joined: DeploymentPlan) -> DeploymentPlan:
    """`now` without what joining made of `before`: `joined`. What else has changed since stays."""
    links = {link.id: link for link in joined.links}
    for link in before.links:
        if links.get(link.id) != link:
            now = with_link(now, link)
    after = {endpoint.id: endpoint for endpoint in joined.endpoints}
    for endpoint in before.endpoints:
        current, known = now.endpoint(endpoint.id), after.get(endpoint.id)
        if current is None or known is None:
            continue
        if endpoint.kind == "sap" and known.interfaces != endpoint.interfaces:
            now = with_endpoint(now, endpoint)
            continue
        new_routes = set(known.routes) - set(endpoint.routes)
        routes = tuple(route for route in current.routes if route not in new_routes)
        interfaces = _without_addresses(current, endpoint, known)
        now = with_endpoint(now, replace(current, routes=routes, interfaces=interfaces))
    made = set(joined.patches) - set(before.patches)
    return with_hosts(replace(now, patches=tuple(patch for patch in now.patches if patch not in made)))


def _without_addresses(
    now: EndpointPlan, before: EndpointPlan, joined: EndpointPlan
) -> tuple[InterfacePlan, ...]:
    had = {interface.name: interface.addresses for interface in before.interfaces}
    new = {i.name: set(i.addresses) - set(had.get(i.name, ())) for i in joined.interfaces}
    return tuple(
        replace(i, addresses=tuple(each for each in i.addresses if each not in new.get(i.name, ())))
        for i in now.interfaces
    )


def _check(mine: Side, theirs: Side) -> None:
    if mine.plan.instance == theirs.plan.instance:
        raise PlanningError(
            f"'{mine.sap.id}' and '{theirs.sap.id}' are of one service; join takes SAPs of two services"
        )
    ours = [subnet for link in mine.plan.links if not link.management for subnet in link.subnets]
    for other in theirs.beyond():
        for subnet in ours:
            if subnet.version == other.version and subnet.overlaps(other):
                raise PlanningError(
                    f"'{mine.plan.instance}' and '{theirs.plan.instance}' both use {subnet}; with the address"
                    " plan 'vim-emu', and without static addresses, services of one bed have different ones"
                )
    if mine.link.mtu != theirs.link.mtu:
        raise PlanningError(
            f"'{mine.link.id}' has an MTU of {mine.link.mtu}, '{theirs.link.id}' one of {theirs.link.mtu};"
            " as one link they need the same"
        )


def _over(link: LinkPlan, topology: Topology) -> LinkPlan:
    """An E-Line with the way that follows from where its ends are now."""
    one, other = link.ends
    way = [hop.link for hop in Ways(topology).between(one.pop, other.pop, f"E-Line '{link.id}'")]
    narrow = next((hop for hop in way if hop.mtu is not None and hop.mtu < link.mtu), None)
    if narrow is not None:
        raise PlanningError(
            f"E-Line '{link.id}' has an MTU of {link.mtu}, PoP link '{narrow.name}' on its way {narrow.mtu}"
        )
    realisation = realisation_of(topology, way, impaired=link.impaired is not None)
    require_realisable(realisation, link.id)
    return replace(link, pop_links=tuple(hop.name for hop in way), realisation=realisation)


def _set_aside(mine: Side) -> EndpointPlan:
    alone = tuple(
        replace(interface, link=None, addresses=()) if interface == mine.at_sap else interface
        for interface in mine.sap.interfaces
    )
    routes = tuple(route for route in mine.sap.routes if route.interface != mine.at_sap.name)
    return replace(mine.sap, interfaces=alone, routes=routes)


def _with_address(mine: Side, addresses: tuple[Interface, ...]) -> EndpointPlan:
    interfaces = tuple(
        replace(interface, addresses=(*interface.addresses, *addresses))
        if interface == mine.at_neighbour
        else interface
        for interface in mine.neighbour.interfaces
    )
    return replace(mine.neighbour, interfaces=interfaces)


def _routes(mine: Side, theirs: Side, endpoint: EndpointPlan) -> Iterator[RoutePlan]:
    """Routes of an endpoint to what lies beyond: through the other's VNF, or by the way to the SAP."""
    gateways = _by_version(theirs.at_neighbour.addresses)
    saps = _by_version(mine.at_sap.addresses)
    for network in theirs.beyond():
        if network in theirs.link.subnets and endpoint.id == mine.neighbour.id:
            continue  # its own, by the address it takes over
        if endpoint.id == mine.neighbour.id:
            gateway = gateways.get(network.version)
            if gateway is not None:
                yield RoutePlan(network, gateway, mine.at_neighbour.name)
            continue
        sap = saps.get(network.version)
        way = next((r for r in endpoint.routes if sap is not None and sap in r.destination), None)
        # A default route leads there already.
        if way is not None and way.destination.prefixlen:
            yield RoutePlan(network, way.gateway, way.interface)


def _by_version(addresses: tuple[Interface, ...]) -> Mapping[int, Address]:
    return {address.version: address.ip for address in reversed(addresses)}


def seen_together(plan: DeploymentPlan, others: Mapping[str, DeploymentPlan]) -> DeploymentPlan:
    """A plan with the endpoints and links of instances that it is joined to, as `<instance>/<id>`."""
    endpoints, links = list(plan.endpoints), list(plan.links)
    taps = list(plan.taps)
    for name, other in others.items():
        endpoints += [_renamed(endpoint, name) for endpoint in other.endpoints]
        links += [
            replace(
                link,
                id=f"{name}/{link.id}",
                ends=tuple(
                    replace(end, endpoint=_global(end.endpoint, name, plan.instance)) for end in link.ends
                ),
            )
            for link in other.links
        ]
        taps += other.taps
    return replace(plan, endpoints=tuple(endpoints), links=tuple(links), taps=tuple(taps))


def with_neighbours(plan: DeploymentPlan) -> DeploymentPlan:
    """A plan for drawings: who is at the other ends of its joined links stands in it by name alone."""
    known = {endpoint.id for endpoint in plan.endpoints}
    ends = {end.endpoint: end for link in plan.links for end in link.ends if end.endpoint not in known}
    strangers = (EndpointPlan(end.endpoint, "sap", end.pop) for end in ends.values())
    return replace(plan, endpoints=(*plan.endpoints, *strangers))


def _renamed(endpoint: EndpointPlan, instance: str) -> EndpointPlan:
    interfaces = tuple(
        replace(interface, link=f"{instance}/{interface.link}" if interface.link else None)
        for interface in endpoint.interfaces
    )
    return replace(
        endpoint,
        id=f"{instance}/{endpoint.id}",
        interfaces=interfaces,
        unit_of=f"{instance}/{endpoint.unit_of}" if endpoint.unit_of else None,
    )


def _global(endpoint: str, instance: str, here: str) -> str:
    if "/" not in endpoint:
        return f"{instance}/{endpoint}"
    return endpoint.removeprefix(f"{here}/")


def joined_instances(plan: DeploymentPlan) -> list[str]:
    """The instances that a plan's links lead to."""
    found = [
        end.endpoint.partition("/")[0] for link in plan.links for end in link.ends if "/" in end.endpoint
    ]
    return list(dict.fromkeys(found))
