"""From a virtual link with placed ends to its `LinkPlan`: way, realisation, bridges, joints, MTU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from pytest_sonemu.descriptors.model import VirtualLink
from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning import names
from pytest_sonemu.planning.plan import Bridge, Joint, LinkEnd, LinkPlan, Network
from pytest_sonemu.planning.realisation import realisation_of, require_realisable
from pytest_sonemu.planning.ways import Hop, Ways
from pytest_sonemu.topology.model import PopLink, Topology

USUAL_MTU = 1500

Station = LinkEnd
"""Where a link ends: endpoint, interface, outer end, PoP."""


class LinkPlanner:
    """Plans the links of one instance; it counts the instance's bridges and joints."""

    def __init__(self, topology: Topology, number: int) -> None:
        self._topology, self._number = topology, number
        self._ways = Ways(topology)
        self._bridges, self._joints = count(1), count(1)

    def plan(
        self,
        link: VirtualLink,
        ends: Sequence[Station],
        *,
        subnets: tuple[Network, ...] = (),
        management: bool = False,
        mtu: int | None = None,
    ) -> LinkPlan:
        """One virtual link. `mtu` is what the service asks for where the link says nothing."""
        asked = link.mtu if link.mtu is not None else mtu
        if link.connectivity == "E-Line":
            return self._plan_line(link.id, ends, subnets, management, asked)
        return self.plan_lan(link.id, ends, subnets=subnets, management=management, mtu=asked)

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
        require_realisable(realisation, link_id, way)
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
        subnets: tuple[Network, ...] = (),
        management: bool = False,
        mtu: int | None = None,
    ) -> LinkPlan:
        """An E-LAN: a bridge in each PoP of the tree that joins its members, a joint per PoP link."""
        pops, hops = self._ways.spanning([end.pop for end in ends], f"E-LAN '{link_id}'")
        way = [hop.link for hop in hops]
        realisation = realisation_of(self._topology, way)
        require_realisable(realisation, link_id, way)
        joints = [self._joint(hop) for hop in hops]
        ports: dict[str, list[str]] = {pop: [] for pop in pops}
        for end in ends:
            ports[end.pop].append(end.outer)
        for joint in joints:
            ports[joint.pop_a].append(joint.a)
            ports[joint.pop_b].append(joint.b)
        return LinkPlan(
            id=link_id,
            kind="E-LAN",
            realisation=realisation,
            ends=tuple(ends),
            pop_links=tuple(hop.link.name for hop in hops),
            bridges=tuple(
                Bridge(names.bridge(self._number, next(self._bridges)), pop, tuple(own))
                for pop, own in ports.items()
            ),
            joints=tuple(joints),
            subnets=subnets,
            management=management,
            mtu=_mtu(link_id, way, mtu),
        )

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
