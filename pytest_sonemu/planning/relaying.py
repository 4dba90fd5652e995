"""Which virtual links a relay carries, and over which shaped links; made from plans alone.

A name stands for everything that can be impaired: a PoP link ("pop1-pop2"), a virtual link
("firewall/link-1"), an interface ("firewall/fw:input"). What none of the impaired names is on the way
of stays direct.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pytest_sonemu.planning.batches import bridge_port, fabric_pair
from pytest_sonemu.planning.plan import Bridge, DeploymentPlan, LinkEnd, LinkPlan
from pytest_sonemu.relay.model import Direction, FlowSpec, Impairment, LinkSpec, derive_seed
from pytest_sonemu.topology.model import PopLink, Topology

Hops = tuple[tuple[str, Direction], ...]


@dataclass(frozen=True, slots=True)
class RelayedPort:
    """A port of a bridge whose frames go through the relay.

    `port` (an outer end, or a joint's end) is taken out of `bridge`; the pair `inside` and `outside` takes
    its place: `inside` in the bridge, and the relay between `outside` and `port`.
    """

    port: str
    bridge: str
    isolated: bool
    group: int

    @property
    def inside(self) -> str:
        return f"{self.port}i"

    @property
    def outside(self) -> str:
        return f"{self.port}o"

    def make(self) -> list[str]:
        """The `ip -batch` lines that make the relay's place, which is not in the bridge yet."""
        pair = fabric_pair(self.inside, self.outside, self.group)
        return [pair, f"link set dev {self.inside} up", f"link set dev {self.outside} up"]

    def enter(self) -> list[str]:
        """The place comes into the bridge; the port is still in it."""
        return bridge_port(self.inside, self.bridge, isolated=self.isolated)

    def shut(self) -> list[str]:
        """The `bridge -batch` lines after which nothing passes the place.

        What `ip` sets of a port makes the kernel look at it again, and open it.
        """
        return [f"link set dev {self.inside} state 0"]


@dataclass(frozen=True, slots=True)
class Relaying:
    """What the relay has to carry of some plans: flows, E-Lines by (instance, link), ports of bridges."""

    flows: tuple[FlowSpec, ...] = ()
    lines: frozenset[tuple[str, str]] = frozenset()
    ports: frozenset[RelayedPort] = frozenset()


def topology_links(topology: Topology, seed: int) -> dict[str, LinkSpec]:
    """The shaped PoP links of a topology, by name; the seed of each comes from the run's and its name."""
    return {
        link.name: seeded(
            LinkSpec(link.name, link.towards("a->b"), link.towards("b->a")),
            seed,
        )
        for link in topology.links
        if link.shaped
    }


def asked_links(plan: DeploymentPlan, seed: int) -> dict[str, LinkSpec]:
    """What of a plan is impaired from its start, by name: virtual links, and the cables of interfaces.

    "a->b" of an interface is out of its endpoint.
    """
    found = {}
    for link in plan.links:
        if link.impaired is not None:
            found[link_name(plan, link)] = LinkSpec(link_name(plan, link), *link.impaired)
    for endpoint in plan.endpoints:
        for interface in endpoint.interfaces:
            if interface.access is not None:
                name = f"{plan.instance}/{endpoint.id}:{interface.name}"
                found[name] = LinkSpec(name, interface.access.sent, interface.access.given)
    return {name: seeded(spec, seed) for name, spec in found.items()}


def seeded(spec: LinkSpec, seed: int) -> LinkSpec:
    """The link with a seed for each direction that has none of its own, derived from the run's seed."""
    from dataclasses import replace

    def own(impairment: Impairment, direction: Direction) -> Impairment:
        return (
            impairment
            if impairment.seed
            else replace(impairment, seed=derive_seed(seed, spec.name, direction))
        )

    return LinkSpec(spec.name, own(spec.forward, "a->b"), own(spec.backward, "b->a"))


def link_name(plan: DeploymentPlan, link: LinkPlan) -> str:
    """What a virtual link is called among all that can be impaired."""
    return f"{plan.instance}/{link.id}"


def interface_name(plan: DeploymentPlan, end: LinkEnd) -> str:
    """What an interface is called among all that can be impaired."""
    return f"{plan.instance}/{end.endpoint}:{end.interface}"


def impairable(plans: Iterable[DeploymentPlan], topology: Topology) -> Iterator[str]:
    """Every name that can be impaired."""
    yield from (link.name for link in topology.links)
    for plan in plans:
        for link in plan.links:
            yield link_name(plan, link)
            yield from (interface_name(plan, end) for end in link.ends)


def relaying(plans: Iterable[DeploymentPlan], topology: Topology, impaired: Container[str]) -> Relaying:
    """What is to be relayed while the names in `impaired` are."""
    pop_links = {link.name: link for link in topology.links}
    flows: list[FlowSpec] = []
    lines: set[tuple[str, str]] = set()
    ports: set[RelayedPort] = set()
    for plan in plans:
        for link in plan.links:
            name = link_name(plan, link)
            if link.kind == "E-Line" and not link.bridges:
                a, b = link.ends
                there = _line_hops(plan, link, pop_links, impaired)
                if there:
                    lines.add((plan.instance, link.id))
                    flows += _both_ways(name, a.outer, b.outer, there)
                continue
            for port, hops, member in _lan_ports(plan, link, impaired):
                ports.add(port)
                flows += _both_ways(name, port.port, port.outside, hops, member)
    return Relaying(tuple(flows), frozenset(lines), frozenset(ports))


def _line_hops(
    plan: DeploymentPlan, link: LinkPlan, pop_links: Mapping[str, PopLink], impaired: Container[str]
) -> Hops:
    """The impaired hops of an E-Line from its first end to its second."""
    a, b = link.ends
    hops: list[tuple[str, Direction]] = [(interface_name(plan, a), "a->b"), (link_name(plan, link), "a->b")]
    here = a.pop
    for name in link.pop_links:
        forward = pop_links[name].a == here
        hops.append((name, "a->b" if forward else "b->a"))
        here = pop_links[name].b if forward else pop_links[name].a
    hops.append((interface_name(plan, b), "b->a"))
    return tuple(hop for hop in hops if hop[0] in impaired)


def _lan_ports(
    plan: DeploymentPlan, link: LinkPlan, impaired: Container[str]
) -> Iterator[tuple[RelayedPort, Hops, str]]:
    """The relayed ports of an E-LAN or E-Tree, with the hops from the port into its bridge, and whose it is.

    What the whole link does to frames it does where they enter it.
    """
    bridges = {port: bridge for bridge in link.bridges for port in bridge.ports}
    for end in link.ends:
        own: list[tuple[str, Direction]] = [
            (interface_name(plan, end), "a->b"),
            (link_name(plan, link), "a->b"),
        ]
        hops = tuple(hop for hop in own if hop[0] in impaired)
        if hops and end.outer in bridges:
            yield _relayed(end.outer, bridges[end.outer], plan), hops, str(end)
    for joint in link.joints:
        # Frames come out of the joint's far end after they have left the bridge of its near one.
        if joint.pop_link in impaired:
            yield _relayed(joint.b, bridges[joint.b], plan), ((joint.pop_link, "a->b"),), ""


def _relayed(port: str, bridge: Bridge, plan: DeploymentPlan) -> RelayedPort:
    return RelayedPort(port, bridge.name, port in bridge.isolated, plan.number)


def _both_ways(virtual_link: str, a: str, b: str, there: Hops, member: str = "") -> list[FlowSpec]:
    """A flow each way. A whole E-LAN's own hop counts on the way in only."""
    back: Hops = tuple(
        (name, "b->a" if direction == "a->b" else "a->b")
        for name, direction in reversed(there)
        if not (b.endswith("o") and name == virtual_link)
    )
    return [FlowSpec(virtual_link, a, there, b, member), FlowSpec(virtual_link, b, back, a, member)]
