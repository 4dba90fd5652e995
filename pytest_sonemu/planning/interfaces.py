"""The interfaces of an instance as the plan has them, and what keeps apart those that one VNF has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Network

from pytest_sonemu.errors import PlanningError, did_you_mean
from pytest_sonemu.planning import names
from pytest_sonemu.planning.addressing import Addressing
from pytest_sonemu.planning.links import USUAL_MTU, LinkPlanner, Station
from pytest_sonemu.planning.plan import BarrierPlan, InterfacePlan, Network, Split
from pytest_sonemu.planning.routes import Routing
from pytest_sonemu.planning.wiring import Port, Wiring
from pytest_sonemu.topology.impairments import Access
from pytest_sonemu.topology.model import Topology

_ALL_OF_IPV6 = IPv6Network("::/0")


class Interfaces:
    """The interfaces of an instance: their outer ends, MACs, and what stands for them in each link."""

    def __init__(self, wiring: Wiring, number: int, planner: LinkPlanner, pops: Mapping[str, str]) -> None:
        self._wiring, self._number, self._pops = wiring, number, pops
        self._indices: dict[tuple[str, str], int] = {}
        self._together: dict[tuple[str, str], list[Port]] = {}
        for ports in wiring.ports.values():
            for port in ports:
                key = (port.endpoint, port.point)
                self._indices.setdefault(key, len(self._indices) + 1)
                self._together.setdefault(key, []).append(port)
        self.splits: dict[tuple[str, str], Split] = {
            key: planner.split(key[0], own[0].name, self._outer(key), pops[key[0]], _links_of(own))
            for key, own in self._together.items()
            if len(own) > 1
        }

    def station(self, port: Port) -> Station:
        """Where a link ends at this port."""
        key = (port.endpoint, port.point)
        split = self.splits.get(key)
        outer = self._outer(key) if split is None else split.arms[port.order].end
        return Station(port.endpoint, port.name, outer, self._pops[port.endpoint])

    def of(
        self,
        endpoint: str,
        addressing: Addressing,
        link_mtu: Mapping[str, int],
        *,
        mtu: int | None = None,
        offload: bool = True,
        access: Mapping[str, Access] | None = None,
    ) -> tuple[InterfacePlan, ...]:
        """An endpoint's interfaces in order. `mtu`, `offload`, `access` are what options and topology say.

        Raises PlanningError for an access of no interface.
        """
        points = dict.fromkeys(port.point for port in self._wiring.ports[endpoint])
        cables = access or {}
        for point in cables:
            if point not in points:
                raise PlanningError(
                    f"options, topology: '{endpoint}' has no connection point '{point}'"
                    f"{did_you_mean(point, points)}; there are: {', '.join(points) or 'none'}"
                )
        return tuple(
            replace(
                self._interface((endpoint, point), addressing, link_mtu, mtu),
                offload=offload,
                access=cables.get(point),
            )
            for point in points
        )

    def _interface(
        self, key: tuple[str, str], addressing: Addressing, link_mtu: Mapping[str, int], mtu: int | None
    ) -> InterfacePlan:
        ports = self._together[key]
        port, links = ports[0], _links_of(ports)
        return InterfacePlan(
            name=port.name,
            connection_point=port.point,
            outer=self._outer(key),
            mac=port.mac or names.mac(self._number, self._indices[key]),
            addresses=tuple(address for one in ports for address in addressing.addresses.get(one.key, ())),
            link=port.link,
            mtu=mtu or min((link_mtu[link] for link in links), default=USUAL_MTU),
            altname=names.alternative_name(port.point, port.name),
            also_in=links[1:],
        )

    def _outer(self, key: tuple[str, str]) -> str:
        return names.outer_end(self._number, self._indices[key])


def _links_of(ports: Iterable[Port]) -> tuple[str, ...]:
    return tuple(port.link for port in ports if port.link is not None)


def barriers(ports: Sequence[Port], addressing: Addressing, routing: Routing) -> tuple[BarrierPlan, ...]:
    """A VNF that forwards does so between the ports of its path, not into management or an E-LAN.

    Forwarding is a switch of the whole kernel: without these a SAP reaches the management link
    through the first VNF on its path.
    """
    if not ports or ports[0].endpoint not in routing.forwarding:
        return ()
    passing = list(dict.fromkeys(port.name for port in ports if port.key in routing.crossed))
    found: list[BarrierPlan] = []
    for port in ports:
        networks: dict[Network, None] = {
            address.network: None for address in addressing.addresses.get(port.key, ())
        }
        if port.key in routing.crossed or not networks:
            continue
        if port.name not in passing:
            found.append(BarrierPlan(port.name))
            if any(network.version == 6 for network in networks):
                found.append(BarrierPlan(port.name, _ALL_OF_IPV6))
        found += [BarrierPlan(each, network) for each in passing for network in networks]
    return tuple(dict.fromkeys(found))


def topology_access(topology: Topology, endpoint: str) -> dict[str, Access]:
    """What a topology says of the cables of an endpoint, by connection point."""
    return {link.interface: link.cable for link in topology.access if link.endpoint == endpoint}
