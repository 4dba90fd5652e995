"""A running plan with more, or less: endpoints that join an E-LAN or get copies of a link, or leave.

Pure: from a plan to another plan. What is there keeps its names, numbers and addresses; what is new gets the
lowest that are free. Which plan a running instance may become, `difference.py` says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_interface

from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning import names
from pytest_sonemu.planning.hosts import hosts_tables
from pytest_sonemu.planning.plan import (
    Address,
    Bridge,
    ContainerPlan,
    DeploymentPlan,
    EndpointPlan,
    Interface,
    InterfacePlan,
    Joint,
    LinkEnd,
    LinkPlan,
    Network,
    Tap,
)
from pytest_sonemu.planning.realisation import realisation_of
from pytest_sonemu.planning.ways import Ways
from pytest_sonemu.topology.model import Topology

# No frame is too long for who only listens.
TAP_MTU = 9216
_FORWARD = "net.ipv4.ip_forward"


def with_host(
    plan: DeploymentPlan,
    topology: Topology,
    name: str,
    link_id: str,
    *,
    pop: str | None = None,
    address: str | None = None,
    interface: str | None = None,
    container: ContainerPlan | None = None,
) -> DeploymentPlan:
    """With one more endpoint in an E-LAN: a namespace, or a container.

    Without a `pop` it stands where the link's first member does; without an `address` it gets the lowest
    free ones. Raises PlanningError.
    """
    check_name(plan, name)
    link = lan(plan, link_id, f"'{name}'")
    where = _pop(topology, pop) if pop is not None else link.ends[0].pop
    point = interface or name
    plan, made = with_member(plan, topology, link.id, name, where, point, address=address)
    endpoint = EndpointPlan(
        id=name, kind="host", pop=where, interfaces=(made,), sysctls=((_FORWARD, "0"),), container=container
    )
    return with_hosts(replace(plan, endpoints=(*plan.endpoints, endpoint)))


def with_tap(
    plan: DeploymentPlan,
    topology: Topology,
    name: str,
    link_id: str,
    container: ContainerPlan,
    *,
    interface: str = "eth0",
    pop: str | None = None,
) -> DeploymentPlan:
    """With one more container, whose one interface gets a copy of whatever enters a link.

    Raises PlanningError.
    """
    check_name(plan, name)
    link = plan.link(link_id)
    if link is None:
        raise PlanningError(f"there is no virtual link '{link_id}' to listen at")
    outer, mac = Numbers(plan).interface()
    made = InterfacePlan(
        name=names.interface_name(interface),
        connection_point=interface,
        outer=outer,
        mac=mac,
        mtu=max(TAP_MTU, link.mtu),
        # Who listens wants frames as on a wire.
        offload=False,
    )
    where = _pop(topology, pop) if pop is not None else link.ends[0].pop
    endpoint = EndpointPlan(
        id=name, kind="host", pop=where, interfaces=(made,), sysctls=((_FORWARD, "0"),), container=container
    )
    taps = (*plan.taps, Tap(link.id, name, made.name, outer))
    return with_hosts(replace(plan, endpoints=(*plan.endpoints, endpoint), taps=taps))


def without(plan: DeploymentPlan, topology: Topology, gone: Collection[str]) -> DeploymentPlan:
    """Without some endpoints, and without what only they needed of their E-LANs."""
    return with_hosts(
        replace(
            plan,
            endpoints=tuple(endpoint for endpoint in plan.endpoints if endpoint.id not in gone),
            links=tuple(
                _shrunk(link, topology, gone) if any(end.endpoint in gone for end in link.ends) else link
                for link in plan.links
            ),
            splits=tuple(split for split in plan.splits if split.endpoint not in gone),
            taps=tuple(tap for tap in plan.taps if tap.endpoint not in gone),
        )
    )


def with_endpoint(plan: DeploymentPlan, endpoint: EndpointPlan) -> DeploymentPlan:
    """With another plan for an endpoint that there is."""
    return replace(
        plan, endpoints=tuple(endpoint if each.id == endpoint.id else each for each in plan.endpoints)
    )


def with_hosts(plan: DeploymentPlan) -> DeploymentPlan:
    """With the tables of hosts that follow from its endpoints and links."""
    tables = hosts_tables(plan.endpoints, plan.links)
    return replace(
        plan, endpoints=tuple(replace(endpoint, hosts=tables[endpoint.id]) for endpoint in plan.endpoints)
    )


def check_name(plan: DeploymentPlan, name: str) -> None:
    """Raises PlanningError for a name that an endpoint has already, or that cannot be one."""
    taken = {endpoint.id for endpoint in plan.endpoints} | {endpoint.unit_of for endpoint in plan.endpoints}
    if name in taken:
        raise PlanningError(
            f"instance '{plan.instance}' has an endpoint '{name}' already; choose another name"
        )
    if not name or any(letter in ":/" or letter.isspace() for letter in name):
        raise PlanningError(f"'{name}' cannot be an endpoint's name: it is a word without ':' and '/'")


def lan(plan: DeploymentPlan, link_id: str, who: str) -> LinkPlan:
    """An E-LAN or E-Tree that can take one more member. Raises PlanningError."""
    link = plan.link(link_id)
    if link is None:
        raise PlanningError(f"{who}: there is no virtual link '{link_id}'")
    if not link.bridges:
        ends = " and ".join(map(str, link.ends))
        raise PlanningError(
            f"{who} cannot join '{link.id}': an E-Line has two ends, {ends}, and a subnet for just these;"
            " make it an E-LAN in the descriptor, or listen to it with testbed.container(…, tap=…)"
        )
    return link


def with_member(
    plan: DeploymentPlan,
    topology: Topology,
    link_id: str,
    endpoint: str,
    pop: str,
    point: str,
    *,
    address: str | None = None,
) -> tuple[DeploymentPlan, InterfacePlan]:
    """With one more end of an E-LAN, and the interface that stands there. Raises PlanningError."""
    link = lan(plan, link_id, f"'{endpoint}'")
    numbers = Numbers(plan)
    outer, mac = numbers.interface()
    name = names.interface_name(point)
    made = InterfacePlan(
        name=name,
        connection_point=point,
        outer=outer,
        mac=mac,
        addresses=_addresses(plan, link, endpoint, address),
        link=link.id,
        mtu=link.mtu,
        altname=names.alternative_name(point, name),
    )
    grown = _grown(link, topology, LinkEnd(endpoint, name, outer, pop), numbers)
    return with_link(plan, grown), made


def with_link(plan: DeploymentPlan, link: LinkPlan) -> DeploymentPlan:
    """With another plan for a link that there is."""
    return replace(plan, links=tuple(link if each.id == link.id else each for each in plan.links))


class Numbers:
    """What a plan's instance has not given out yet of its own names in the fabric, and of its MACs."""

    def __init__(self, plan: DeploymentPlan) -> None:
        self._number = plan.number
        outers = [i.outer for endpoint in plan.endpoints for i in endpoint.interfaces]
        bridges = [bridge.name for link in plan.links for bridge in link.bridges]
        bridges += [split.bridge for split in plan.splits]
        joints = [joint.a.removesuffix("a") for link in plan.links for joint in link.joints]
        patches = [patch.near.removesuffix("a") for patch in plan.patches]
        self._outers, self._bridges = _free(outers), _free(bridges)
        self._joints, self._patches = _free(joints), _free(patches)

    def interface(self) -> tuple[str, str]:
        """An outer end, and the MAC at its other end."""
        index = next(self._outers)
        return names.outer_end(self._number, index), names.mac(self._number, index)

    def bridge(self) -> str:
        return names.bridge(self._number, next(self._bridges))

    def joint(self) -> tuple[str, str]:
        return names.joint_ends(self._number, next(self._joints))

    def patch(self) -> tuple[str, str]:
        return names.patch_ends(self._number, next(self._patches))


def _free(taken: Iterable[str]) -> Iterator[int]:
    used = {int(name.rpartition(".")[2]) for name in taken}
    index = 0
    while True:
        index += 1
        if index not in used:
            yield index


def _grown(link: LinkPlan, topology: Topology, end: LinkEnd, numbers: Numbers) -> LinkPlan:
    """The link with one more end; its tree of PoPs grows where the end's is not in it."""
    ports = {bridge.pop: list(bridge.ports) for bridge in link.bridges}
    isolated = {bridge.pop: list(bridge.isolated) for bridge in link.bridges}
    bridge_names = {bridge.pop: bridge.name for bridge in link.bridges}
    joints = list(link.joints)
    if end.pop not in ports:
        way = Ways(topology).between(link.bridges[0].pop, end.pop, f"{link.kind} '{link.id}'")
        # From the last PoP that it reaches already: so it stays a tree.
        known = max((at for at, hop in enumerate(way) if hop.source in ports), default=0)
        for hop in way[known:]:
            a, b = numbers.joint()
            joints.append(Joint(hop.link.name, hop.link.a, hop.link.b, a, b))
            near, far = (a, b) if hop.link.a == hop.source else (b, a)
            ports[hop.source].append(near)
            bridge_names[hop.target], ports[hop.target], isolated[hop.target] = numbers.bridge(), [far], []
            if link.root is not None:
                isolated[hop.source].append(near)
    ports[end.pop].append(end.outer)
    if link.root is not None:
        isolated[end.pop].append(end.outer)
    bridges = tuple(
        Bridge(bridge_names[pop], pop, tuple(own), tuple(isolated[pop])) for pop, own in ports.items()
    )
    return _over(replace(link, ends=(*link.ends, end), bridges=bridges, joints=tuple(joints)), topology)


def _shrunk(link: LinkPlan, topology: Topology, gone: Collection[str]) -> LinkPlan:
    ends = tuple(end for end in link.ends if end.endpoint not in gone)
    away = {end.outer for end in link.ends if end.endpoint in gone}
    bridges = {bridge.pop: set(bridge.ports) - away for bridge in link.bridges}
    joints = list(link.joints)
    members = {end.outer for end in ends}
    # A PoP at the edge of the tree without a member is there for nobody.
    while len(bridges) > 1:
        empty = next((pop for pop, own in bridges.items() if len(own) == 1 and not own & members), None)
        if empty is None:
            break
        (last,) = bridges.pop(empty)
        joint = next(joint for joint in joints if last in (joint.a, joint.b))
        joints.remove(joint)
        for own in bridges.values():
            own -= {joint.a, joint.b}
    kept = tuple(
        replace(
            bridge,
            ports=tuple(port for port in bridge.ports if port in bridges[bridge.pop]),
            isolated=tuple(port for port in bridge.isolated if port in bridges[bridge.pop]),
        )
        for bridge in link.bridges
        if bridge.pop in bridges
    )
    return _over(replace(link, ends=ends, bridges=kept, joints=tuple(joints)), topology)


def _over(link: LinkPlan, topology: Topology) -> LinkPlan:
    """The link with what follows from the PoP links that it crosses."""
    crossed = {pop_link.name: pop_link for pop_link in topology.links}
    way = [crossed[joint.pop_link] for joint in link.joints]
    realisation = realisation_of(topology, way, impaired=link.impaired is not None)
    return replace(link, pop_links=tuple(one.name for one in way), realisation=realisation)


def _addresses(plan: DeploymentPlan, link: LinkPlan, who: str, wanted: str | None) -> tuple[Interface, ...]:
    """An address of each of the link's families: the one that is wanted, else the lowest free one."""
    used: set[Address] = {
        address.ip
        for endpoint in plan.endpoints
        for interface in endpoint.interfaces
        for address in interface.addresses
    }
    asked = _asked(link, who, wanted, used)
    found: list[Interface] = [] if asked is None else [asked]
    for version in (4, 6):
        subnet = next((subnet for subnet in link.subnets if subnet.version == version), None)
        if subnet is not None and (asked is None or asked.version != version):
            found.append(_lowest(subnet, used, link, who))
    return tuple(sorted(found, key=lambda address: address.version))


def _asked(link: LinkPlan, who: str, wanted: str | None, used: Collection[Address]) -> Interface | None:
    if wanted is None:
        return None
    subnets = " and ".join(map(str, link.subnets))
    try:
        ip = ip_interface(wanted).ip
    except ValueError:
        raise PlanningError(f"'{who}': {wanted!r} is not an address of '{link.id}' ({subnets})") from None
    subnet = next((subnet for subnet in link.subnets if ip in subnet), None)
    if subnet is None:
        raise PlanningError(f"'{who}': {ip} is not an address of '{link.id}' ({subnets})")
    if ip in used:
        raise PlanningError(f"'{who}': {ip} is another endpoint's already")
    return _with_prefix(ip, subnet)


def _lowest(subnet: Network, used: Collection[Address], link: LinkPlan, who: str) -> Interface:
    first = int(subnet.network_address)
    for number in range(first + 1, first + subnet.num_addresses - 1):
        ip = type(subnet.network_address)(number)
        if ip not in used:
            return _with_prefix(ip, subnet)
    raise PlanningError(f"'{who}': {subnet} of '{link.id}' has no address left")


def _with_prefix(ip: Address, subnet: Network) -> Interface:
    if isinstance(ip, IPv4Address):
        return IPv4Interface((int(ip), subnet.prefixlen))
    return IPv6Interface((int(ip), subnet.prefixlen))


def _pop(topology: Topology, name: str) -> str:
    known = [pop.name for pop in topology.pops]
    if name not in known:
        raise PlanningError(f"there is no PoP '{name}'; there are: {', '.join(known)}")
    return name
