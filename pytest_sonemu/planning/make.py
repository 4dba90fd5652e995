"""`make_plan`: from what is asked for to everything that will be done, in one pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService, Unit
from pytest_sonemu.errors import PlanningError, did_you_mean
from pytest_sonemu.planning import names
from pytest_sonemu.planning.addressing import ADDRESS_PLANS, Addressing, give_addresses
from pytest_sonemu.planning.containers import plan_container
from pytest_sonemu.planning.dual_stack import askers, with_ipv6
from pytest_sonemu.planning.hosts import LOOPBACK, hosts_tables
from pytest_sonemu.planning.interfaces import Interfaces, barriers, topology_access
from pytest_sonemu.planning.links import LinkPlanner, Station, impaired
from pytest_sonemu.planning.options import EVERY_VNF, ServiceOptions, VnfOptions
from pytest_sonemu.planning.placement import checked_pop, place_saps, place_units
from pytest_sonemu.planning.plan import (
    Allocations,
    ContainerPlan,
    DeploymentPlan,
    EndpointPlan,
    ImageChoice,
    InterfacePlan,
    LinkPlan,
    PathPlan,
    PublishPlan,
)
from pytest_sonemu.planning.routes import Routing, plan_routes
from pytest_sonemu.planning.units import flatten, option_ids
from pytest_sonemu.planning.uplinks import apart, plan_uplinks
from pytest_sonemu.planning.wiring import Port, wire_service
from pytest_sonemu.topology.model import Topology

TOPOLOGY_INSTANCE = "topology"
HOSTS_LINK = "hosts"
_HOSTS_NETWORK = IPv4Network("10.40.0.0/24")
_FORWARD = "net.ipv4.ip_forward"
_FORWARD_IPV6 = "net.ipv6.conf.all.forwarding"


def make_plan(
    service: NetworkService,
    topology: Topology,
    *,
    bed: str,
    options: ServiceOptions,
    images: Mapping[str, ImageChoice],
    allocations: Allocations,
    instance: str | None = None,
    uuid: str | None = None,
) -> DeploymentPlan:
    """The plan of one more instance of `service` in a bed. The same arguments give the same plan.

    `images` is keyed by vnf_id (`<vnf_id>.<unit_id>` for one of several units, SAP id for a SAP with an
    image). `instance` names it; None: after the service. `uuid` None: one made from its name. Raises
    PlanningError, PlacementError, CapabilityError.
    """
    _check_options(service, topology, options)
    flat = flatten(service, options)
    pops = place_units(service, flat, topology, options, allocations.used)
    paths, service, options = service.paths, flat.service, flat.options
    pops.update(place_saps(service, topology, options, pops))
    wiring = wire_service(service, options)
    address_plan = ADDRESS_PLANS[options.address_plan]
    taken = allocations.networks
    addressing = give_addresses(wiring.segments, wiring.wires, address_plan, taken)
    addressing = with_ipv6(addressing, wiring.segments, address_plan, bed, askers(wiring, options), taken)
    uplinks = plan_uplinks(service, topology, options, taken)
    routing = plan_routes(wiring, addressing, service.paths, options, frozenset(uplinks))

    number = allocations.next_number
    planner = LinkPlanner(topology, number)
    interfaces = Interfaces(wiring, number, planner, pops)
    links = tuple(
        replace(
            planner.plan(
                wire.link,
                [interfaces.station(port) for port in wire.ports],
                root=interfaces.station(wire.root) if wire.root is not None else None,
                subnets=addressing.subnets[wire.id],
                management=wire.management,
                mtu=options.mtu,
            ),
            aliases=wire.aliases,
        )
        for wire in wiring.wires
    )
    links = impaired(links, options.links, service.name)
    link_mtu = {link.id: link.mtu for link in links}
    containers = _containers(service, topology, bed, options, images, allocations)
    vnf_ids = {function.id for function in service.functions}
    published = {
        function.id: tuple(
            PublishPlan(one.port, one.outer, one.protocol) for one in function.units[0].publish
        )
        for function in service.functions
    }
    endpoints = tuple(
        EndpointPlan(
            id=endpoint,
            kind="vnf" if endpoint in vnf_ids else "sap",
            pop=pops[endpoint],
            interfaces=interfaces.of(
                endpoint,
                addressing,
                link_mtu,
                mtu=options.vnf(endpoint).mtu if endpoint in vnf_ids else None,
                offload=options.offloads(endpoint, is_vnf=endpoint in vnf_ids),
                access={
                    **topology_access(topology, endpoint),
                    **options.access(endpoint, is_vnf=endpoint in vnf_ids),
                },
            ),
            routes=routing.routes.get(endpoint, ()),
            sysctls=_sysctls(endpoint, ports, addressing, routing, options, passes_on=endpoint in uplinks),
            container=containers.get(endpoint),
            barriers=apart(ports, addressing, routing.routes.get(endpoint, ()))
            if endpoint in uplinks
            else barriers(ports, addressing, routing),
            transparent=endpoint in wiring.transparent,
            unit_of=flat.vnf_of.get(endpoint),
            publish=published.get(endpoint, ()),
            uplink=uplinks.get(endpoint),
        )
        for endpoint, ports in wiring.ports.items()
    )
    hosts = hosts_tables(endpoints, links)
    name = _instance_name(instance or service.name, allocations)
    return DeploymentPlan(
        bed=bed,
        instance=name,
        uuid=uuid or names.instance_uuid(bed, name, number),
        number=number,
        service=service.name,
        address_plan=address_plan.name,
        endpoints=tuple(replace(endpoint, hosts=hosts[endpoint.id]) for endpoint in endpoints),
        links=links,
        paths=tuple(PathPlan(path.id, tuple(str(ref) for ref in path.references)) for path in paths),
        warnings=(*wiring.warnings, *addressing.warnings, *routing.warnings),
        splits=tuple(interfaces.splits.values()),
    )


def make_hosts_plan(topology: Topology, bed: str, allocations: Allocations) -> DeploymentPlan:
    """The topology's own hosts, as an instance named `topology` with one E-LAN `hosts` of them all.

    Without hosts the plan is empty. Raises PlanningError, PlacementError, CapabilityError.
    """
    if len(topology.hosts) > _HOSTS_NETWORK.num_addresses - 2:
        raise PlanningError(
            f"topology '{topology.name}' has {len(topology.hosts)} hosts; {_HOSTS_NETWORK} holds 254"
        )
    number = allocations.next_number
    addresses = [
        IPv4Interface((int(_HOSTS_NETWORK[index]), 24)) for index in range(1, len(topology.hosts) + 1)
    ]
    rows = tuple((host.name, address.ip) for host, address in zip(topology.hosts, addresses, strict=True))
    ends = [
        Station(
            endpoint=host.name,
            interface=names.interface_name(host.name),
            outer=names.outer_end(number, index),
            pop=checked_pop(host.pop, topology, f"host '{host.name}'"),
        )
        for index, host in enumerate(topology.hosts, start=1)
    ]
    links: tuple[LinkPlan, ...] = ()
    if ends:
        links = (LinkPlanner(topology, number).plan_lan(HOSTS_LINK, ends, subnets=(_HOSTS_NETWORK,)),)
    endpoints = tuple(
        EndpointPlan(
            id=end.endpoint,
            kind="host",
            pop=end.pop,
            interfaces=(
                InterfacePlan(
                    name=end.interface,
                    connection_point=end.endpoint,
                    outer=end.outer,
                    mac=names.mac(number, index),
                    addresses=(address,),
                    link=HOSTS_LINK,
                    mtu=links[0].mtu,
                    altname=names.alternative_name(end.endpoint, end.interface),
                ),
            ),
            sysctls=((_FORWARD, "0"),),
            hosts=(("localhost", LOOPBACK), *sorted(rows, key=lambda row: row[0] != end.endpoint)),
        )
        for index, (end, address) in enumerate(zip(ends, addresses, strict=True), start=1)
    )
    return DeploymentPlan(
        bed=bed,
        instance=TOPOLOGY_INSTANCE,
        number=number,
        service=TOPOLOGY_INSTANCE,
        address_plan="topology",
        endpoints=endpoints,
        links=links,
    )


def _check_options(service: NetworkService, topology: Topology, options: ServiceOptions) -> None:
    """Options that name what does not exist."""
    for kind, named, ids in (
        ("vnfs", options.vnfs, option_ids(service.functions)),
        ("saps", options.saps, {sap.id for sap in service.saps}),
    ):
        for name in named:
            if name not in ids:
                what = "VNF" if kind == "vnfs" else "SAP"
                raise PlanningError(
                    f"options: service '{service.name}' has no {what} '{name}'{did_you_mean(name, ids)};"
                    f" there are: {', '.join(sorted(ids - {EVERY_VNF})) or 'none'}"
                )


def _containers(
    service: NetworkService,
    topology: Topology,
    bed: str,
    options: ServiceOptions,
    images: Mapping[str, ImageChoice],
    allocations: Allocations,
) -> dict[str, ContainerPlan]:
    taken = set(allocations.container_names)
    sites = {site.name: site.image for site in topology.saps}
    wanted = [(function, function.units[0], options.vnf(function.id)) for function in service.functions]
    for sap in service.saps:
        if options.sap(sap.id).image or sites.get(sap.id):
            stand_in = NetworkFunction(sap.id)
            wanted.append((stand_in, Unit(sap.id), VnfOptions()))
    containers: dict[str, ContainerPlan] = {}
    for function, unit, own in wanted:
        image = images.get(function.id)
        if image is None:
            raise PlanningError(f"no image was chosen for '{function.id}' of service '{service.name}'")
        name = names.container_name(bed, function.id, taken, options.container_names)
        taken.add(name)
        containers[function.id] = plan_container(name, function, unit, image, own)
    return containers


def _sysctls(
    endpoint: str,
    ports: Sequence[Port],
    addressing: Addressing,
    routing: Routing,
    options: ServiceOptions,
    *,
    passes_on: bool,
) -> tuple[tuple[str, str], ...]:
    forwards = "1" if passes_on or endpoint in routing.forwarding else "0"
    values = {_FORWARD: forwards}
    own = [address for port in ports for address in addressing.addresses.get(port.key, ())]
    if any(address.version == 6 for address in own):
        values[_FORWARD_IPV6] = forwards
    if any(port.kind == "vnf" for port in ports):
        for name, value in options.vnf(endpoint).sysctls.items():
            # With slashes an interface's name may have dots.
            values[name if "." in name else name.replace("/", ".")] = value
    return tuple(values.items())


def _instance_name(wanted: str, allocations: Allocations) -> str:
    taken = {*allocations.instances, TOPOLOGY_INSTANCE}
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
