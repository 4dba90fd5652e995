"""How the fabric stands while all of a plan is there: pure, to be compared with what the kernel says."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pytest_sonemu.planning.plan import DeploymentPlan, LinkPlan
from pytest_sonemu.planning.relaying import RelayedPort


@dataclass
class Standing:
    """`masters`: each interface with the bridge that it is a port of, or None. `redirects`: ends of E-Lines
    with the one that what they receive goes on to. `names` are for people; `owners` the endpoints behind."""

    masters: dict[str, str | None] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def put(self, interface: str, name: str, link: str | None, owner: str = "") -> None:
        """Take note of an interface that is in no bridge so far."""
        self.masters.setdefault(interface, None)
        self.names[interface] = name
        if link is not None:
            self.links[interface] = link
        if owner:
            self.owners[interface] = owner


def standing(plan: DeploymentPlan, lines: Collection[str], ports: Iterable[RelayedPort]) -> Standing:
    """What is to be there, while the relay carries these E-Lines and stands before these ports."""
    found = Standing()
    for endpoint in plan.endpoints:
        for interface in endpoint.interfaces:
            name = endpoint.id if interface.name == endpoint.id else f"{endpoint.id}:{interface.name}"
            found.put(interface.outer, f"interface {name}", interface.link, endpoint.id)
    for link in plan.links:
        _put_link(found, link, relayed=link.id in lines)
    for split in plan.splits:
        found.put(split.bridge, f"the bridge of interface {split.endpoint}:{split.interface}", None)
        found.masters[split.outer] = split.bridge
        for arm in split.arms:
            name = f"interface {split.endpoint}:{split.interface} in link '{arm.link}'"
            for arm_end in (arm.port, arm.end):
                found.put(arm_end, name, arm.link)
            found.masters[arm.port] = split.bridge
    _put_patches(found, plan)
    for port in ports:
        if port.port in found.masters:
            name, its_link = found.names[port.port], found.links.get(port.port)
            for end in (port.inside, port.outside):
                found.put(end, f"the relay's place before {name}", its_link)
            found.masters |= {port.port: None, port.inside: port.bridge}
    return found


def _put_patches(found: Standing, plan: DeploymentPlan) -> None:
    for patch in plan.patches:
        for one in (patch.near, patch.far):
            found.put(one, f"the joint in the place of '{patch.sap}'", found.links.get(patch.near))
    for link in plan.links:
        for end in link.ends:
            # The joint of a service that this one is joined to is that one's.
            found.names.setdefault(end.outer, f"the way to {end}")


def _put_link(found: Standing, link: LinkPlan, *, relayed: bool) -> None:
    for joint in link.joints:
        name = f"link '{link.id}' between {joint.pop_a} and {joint.pop_b}"
        for end in (joint.a, joint.b):
            found.put(end, name, link.id)
    for bridge in link.bridges:
        found.put(bridge.name, f"the bridge of link '{link.id}' in {bridge.pop}", link.id)
        found.masters |= dict.fromkeys(bridge.ports, bridge.name)
    if link.kind == "E-Line" and not link.bridges and link.realisation != "switched" and not relayed:
        a, b = (end.outer for end in link.ends)
        found.redirects |= {a: b, b: a}
        # What stands for an interface in several links is named by its split.
        found.links |= {end.outer: link.id for end in link.ends}


def without(found: Standing, gone: Collection[str]) -> Standing:
    """The same, where these endpoints have ended and taken their interfaces with them."""
    away = {end for end, owner in found.owners.items() if owner in gone}

    masters = {end: bridge for end, bridge in found.masters.items() if end not in away}
    redirects = {end: to for end, to in found.redirects.items() if not {end, to} & away}
    return Standing(masters, redirects, found.names, found.links, found.owners)
