"""Over which interface, and to whose MAC address, an endpoint would send a packet itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.netlink import (
    LinkInfo,
    RouteInfo,
    read_links,
    read_neighbours,
    read_routes,
    route_socket,
)
from pytest_sonemu.handles.targets import Spot, find_spot
from pytest_sonemu.planning.plan import Address, DeploymentPlan

_MAIN_TABLE = 254


@dataclass(frozen=True, slots=True)
class NextHop:
    """`mac` is the next hop's, `own_mac` the interface's; `mtu` in bytes."""

    interface: str
    own_mac: str
    mac: str
    mtu: int


class NextHops:
    """The routes and neighbours of one endpoint, read once from its kernel; what it does not know of its
    neighbours yet is looked up in the plan."""

    def __init__(self, factory: SocketFactory, plan: DeploymentPlan, spot: Spot) -> None:
        self._plan, self._spot = plan, spot
        with closing(route_socket(factory, plan.instance, spot.endpoint.id)) as sock:
            self._links = {link.index: link for link in read_links(sock)}
            self._routes = [route for route in read_routes(sock) if route.table == _MAIN_TABLE]
            self._neighbours = read_neighbours(sock)

    def to(self, address: Address) -> NextHop:
        """Raises ProbeError if it has no route there, or if nobody knows the next hop's MAC address."""
        found = [
            (route, link)
            for route in self._routes
            if address.version == route.destination.version
            and address in route.destination
            and (link := self._links.get(route.index or 0)) is not None
            and self._is_wanted(link)
        ]
        if not found:
            raise ProbeError(f"{self._spot} has no route to {address}")
        route, link = min(found, key=lambda each: (-each[0].destination.prefixlen, each[0].metric))
        if not link.up:
            raise ProbeError(f"interface {link.name} of {self._spot.endpoint.id} is down")
        return NextHop(link.name, link.mac, self._mac(route, link, address), link.mtu)

    def _is_wanted(self, link: LinkInfo) -> bool:
        return self._spot.interface is None or self._spot.interface.name == link.name

    def _mac(self, route: RouteInfo, link: LinkInfo, address: Address) -> str:
        neighbour = route.gateway or address
        known = self._neighbours.get((link.index, neighbour))
        if known is not None:
            return known
        try:
            interface = find_spot(self._plan, neighbour).interface
        except NotFoundError:
            interface = None
        if interface is None:
            raise ProbeError(
                f"{self._spot} does not know the MAC address of {neighbour} yet; ping it before the replay"
            )
        return interface.mac
