"""From a virtual link with placed ends to its `LinkPlan`: way, realisation, bridges, joints, MTU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from pytest_sonemu.descriptors.model import VirtualLink
from pytest_sonemu.errors import PlanningError, SettingsError, did_you_mean
from pytest_sonemu.planning import names
from pytest_sonemu.planning.plan import Arm, Bridge, Joint, LinkEnd, LinkKind, LinkPlan, Network, Split
from pytest_sonemu.planning.realisation import realisation_of, require_realisable
from pytest_sonemu.planning.ways import Hop, Ways
from pytest_sonemu.topology.impairments import Impairments, of_link
from pytest_sonemu.topology.model import PopLink, Topology

USUAL_MTU = 1500

Station = LinkEnd
"""Where a link ends: endpoint, interface, outer end, PoP."""


class LinkPlanner:
    """Plans the links of one instance; it counts the instance's bridges, joints and arms."""

    def __init__(self, topology: Topology, number: int) -> None:
        self._topology, self._number = topology, number
        self._ways = Ways(topology)
        self._bridges, self._joints, self._arms = count(1), count(1), count(1)

    def plan(
        self,
        link: VirtualLink,
        ends: Sequence[Station],
        *,
        root: Station | None = None,
        subnets: tuple[Network, ...] = (),
        management: bool = False,
        mtu: int | None = None,
    ) -> LinkPlan:
        """One virtual link; `root` is that of an E-Tree. `mtu` is what the service asks for where the link
        says nothing."""
        asked = link.mtu if link.mtu is not None else mtu
        if link.connectivity == "E-Line":
            return self._plan_line(link.id, ends, subnets, management, asked)
        return self.plan_lan(link.id, ends, root=root, subnets=subnets, management=management, mtu=asked)

    def _plan_line(
        self,
        link_id: str,
        ends: Sequence[Station],
        subnets: tuple[Network, ...],
        management: bool,
        mtu: int | None,
    ) -> LinkPlan:
        hops = self._ways.between(ends[0].pop, ends[1].pop, f"E-Line '{link_id}'")
        way = [hop.link for hop in hops]
        realisation = realisation_of(self._topology, way)
        require_realisable(realisation, link_id)
        return LinkPlan(
            id=link_id,
            kind="E-Line",
            realisation=realisation,
            ends=tuple(ends),
            pop_links=tuple(hop.link.name for hop in hops),
            subnets=subnets,
            management=management,
            mtu=_mtu(link_id, way, mtu),
        )

    def plan_lan(
        self,
        link_id: str,
        ends: Sequence[Station],
        *,
        root: Station | None = None,
        subnets: tuple[Network, ...] = (),
        management: bool = False,
        mtu: int | None = None,
    ) -> LinkPlan:
        """An E-LAN: a bridge in each PoP of the tree that joins its members, a joint per PoP link.

        With `root` an E-Tree: the PoPs' tree begins at the root's, and in each bridge all ports but the
        one towards the root are isolated. So what comes from a leaf, of whatever PoP, goes on towards
        the root and nowhere else.
        """
        kind: LinkKind = "E-LAN" if root is None else "E-Tree"
        members = [end.pop for end in ends]
        pops, hops = self._ways.spanning([root.pop, *members] if root else members, f"{kind} '{link_id}'")
        way = [hop.link for hop in hops]
        realisation = realisation_of(self._topology, way)
        require_realisable(realisation, link_id)
        joints = [self._joint(hop) for hop in hops]
        ports: dict[str, list[str]] = {pop: [] for pop in pops}
        for end in ends:
            ports[end.pop].append(end.outer)
        for joint in joints:
            ports[joint.pop_a].append(joint.a)
            ports[joint.pop_b].append(joint.b)
        # In every PoP just one port leads to the root: the root itself, or the joint by which it was reached.
        upward = {root.outer if root else ""}
        upward.update(
            joint.b if joint.pop_b == hop.target else joint.a for hop, joint in zip(hops, joints, strict=True)
        )
        return LinkPlan(
            id=link_id,
            kind=kind,
            realisation=realisation,
            ends=tuple(ends),
            pop_links=tuple(hop.link.name for hop in hops),
            bridges=tuple(
                Bridge(
                    names.bridge(self._number, next(self._bridges)),
                    pop,
                    tuple(own),
                    isolated=tuple(port for port in own if port not in upward) if root else (),
                )
                for pop, own in ports.items()
            ),
            joints=tuple(joints),
            subnets=subnets,
            management=management,
            mtu=_mtu(link_id, way, mtu),
            root=root,
        )

    def split(self, endpoint: str, interface: str, outer: str, pop: str, links: Sequence[str]) -> Split:
        """The bridge of an interface that is in several links, with an arm for each of them."""
        arms = []
        for link in links:
            port, end = names.arm_ends(self._number, next(self._arms))
            arms.append(Arm(link, port, end))
        bridge = names.bridge(self._number, next(self._bridges))
        return Split(endpoint, interface, outer, pop, bridge, tuple(arms))

    def _joint(self, hop: Hop) -> Joint:
        """The pair on one PoP link; its `a` stands where the topology's link has its `a`."""
        a, b = names.joint_ends(self._number, next(self._joints))
        return Joint(hop.link.name, hop.link.a, hop.link.b, a, b)


def _mtu(link_id: str, way: Sequence[PopLink], asked: int | None) -> int:
    narrowest = min(
        (link for link in way if link.mtu is not None), key=lambda link: link.mtu or 0, default=None
    )
    limit = narrowest.mtu if narrowest is not None else None
    if asked is None:
        return min(USUAL_MTU, limit) if limit is not None else USUAL_MTU
    if limit is not None and narrowest is not None and asked > limit:
        raise PlanningError(
            f"virtual link '{link_id}' asks for an MTU of {asked}, but PoP link '{narrowest.name}' on its way"
            f" has {limit}; lower the one or raise the other"
        )
    return asked


def impaired(
    links: Iterable[LinkPlan], asked: Mapping[str, Impairments], service: str
) -> tuple[LinkPlan, ...]:
    """The links, with what the options ask of some of them by id. Raises PlanningError."""
    found = {link.id: link for link in links}
    ids = {name: link.id for link in found.values() for name in (link.id, *link.aliases)}
    for name, impairments in asked.items():
        if name not in ids:
            raise PlanningError(
                f"options: service '{service}' has no virtual link '{name}'{did_you_mean(name, ids)};"
                f" there are: {', '.join(ids) or 'none'}"
            )
        before = next((other for other in asked if other != name and ids.get(other) == ids[name]), None)
        if before is not None:
            raise PlanningError(
                f"options: virtual links '{before}' and '{name}' are one circuit;"
                " write all of it under one id"
            )
        link = found[ids[name]]
        ends = (str(link.ends[0]), str(link.ends[1])) if link.kind == "E-Line" else None
        try:
            ways = of_link(impairments, link.id, ends)
        except SettingsError as error:
            raise PlanningError(f"options: virtual link '{name}': {error}") from None
        if not all(way.nothing for way in ways):
            link = replace(link, impaired=ways, realisation="relayed")
        found[link.id] = link
    return tuple(found.values())
