"""Ways out of the bed: which SAPs have one, under which addresses, what is done in their namespaces (pure).

`nat` is a tap that a program of this machine stands behind, with 10.10.n.1/30 for the SAP and 10.10.n.2 for
the way out; anything else is an interface of the machine, which moves into the SAP with all it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv4Network
from typing import Final

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.addressing import Addressing
from pytest_sonemu.planning.batches import Batch
from pytest_sonemu.planning.options import ServiceOptions
from pytest_sonemu.planning.plan import BarrierPlan, Network, RoutePlan, UplinkPlan
from pytest_sonemu.planning.wiring import Port
from pytest_sonemu.topology.model import Topology

NAT: Final = "nat"
# What the tap is called in the SAP.
TAP = "uplink"
_FIRST, _MOST = int(IPv4Network("10.10.0.0/16").network_address), 256


def plan_uplinks(
    service: NetworkService, topology: Topology, options: ServiceOptions, taken: Iterable[Network]
) -> dict[str, UplinkPlan]:
    """The way out of each SAP that was given one by name. Raises PlanningError."""
    sites = {site.name: site for site in topology.saps}
    used = set(taken)
    free = (network for n in range(_MOST) if (network := IPv4Network((_FIRST + n * 256, 30))) not in used)
    found: dict[str, UplinkPlan] = {}
    for sap in service.saps:
        site, own = sites.get(sap.id), options.sap(sap.id)
        wanted = own.uplink or (site.uplink if site is not None else None)
        if wanted is None:
            continue
        if own.image or (site is not None and site.image):
            raise PlanningError(
                f"SAP '{sap.id}' is to have an image and an uplink; give it one of them: a SAP with a way out"
                " is a namespace that passes on what its neighbours send"
            )
        if wanted != NAT:
            twice = next((other for other, plan in found.items() if plan.interface == wanted), None)
            if twice is not None:
                raise PlanningError(f"SAPs '{twice}' and '{sap.id}' are both to have interface '{wanted}'")
            found[sap.id] = UplinkPlan("interface", wanted)
            continue
        subnet = next(free, None)
        if subnet is None:
            raise PlanningError(f"SAP '{sap.id}': no subnet is left for another uplink; stop an instance")
        gateway = subnet.network_address + 2
        found[sap.id] = UplinkPlan(NAT, TAP, IPv4Interface((int(subnet.network_address) + 1, 30)), gateway)
    return found


def apart(
    ports: Sequence[Port], addressing: Addressing, routes: Iterable[RoutePlan]
) -> tuple[BarrierPlan, ...]:
    """A SAP with a way out passes on what goes out, not what goes from one of its links to another."""
    beyond = {
        port.name: [address.network for address in addressing.addresses.get(port.key, ())] for port in ports
    }
    for route in routes:
        beyond[route.interface].append(route.destination)
    return tuple(
        BarrierPlan(port.name, network)
        for port in ports
        for name, behind in beyond.items()
        for network in behind
        if name != port.name and network.version == 4
    )


def tap_batch(uplink: UplinkPlan, sap: str) -> Batch:
    """What is done with the tap of a `nat`, once it is there."""
    lines = (
        f"addr add {uplink.address} dev {uplink.interface}",
        f"link set dev {uplink.interface} up",
        f"route add default via {uplink.gateway} dev {uplink.interface}",
    )
    return Batch("ip", lines, f"uplink of {sap}")


def masquerade(uplink: UplinkPlan) -> str:
    """The rules of the SAP's own namespace, for `nft -f -`: what comes from the bed goes out as the SAP's."""
    return (
        "table ip sonemu_uplink {\n  chain out {\n    type nat hook postrouting priority 100;\n"
        f'    oifname "{uplink.interface}" masquerade\n  }}\n}}\n'
    )


def shown(uplink: UplinkPlan) -> str:
    """For people."""
    if uplink.kind == NAT:
        return f"nat, {uplink.address} behind {uplink.gateway}"
    return f"this machine's interface {uplink.interface}"
