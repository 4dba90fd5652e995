"""Placement: which PoP each VNF, unit and SAP stands in, and whether there is room for it.

What is said by name (a VNF's option `pop`, a map, a callable) is settled first; a strategy places the
rest. Where PoPs declare `cpu` and `memory`, every placement keeps to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import PlacementError, did_you_mean
from pytest_sonemu.planning.options import ServiceOptions
from pytest_sonemu.planning.plan import PopUse
from pytest_sonemu.planning.room import Demand, Room
from pytest_sonemu.planning.strategies import STRATEGIES, Question
from pytest_sonemu.planning.units import Flat
from pytest_sonemu.topology.model import Topology


class PlacementStrategy(Protocol):
    """A placement of one's own: vnf_id -> PoP name. VNFs that it leaves out are placed round robin."""

    def __call__(self, service: NetworkService, topology: Topology, /) -> Mapping[str, str]: ...


def place_units(
    service: NetworkService,
    flat: Flat,
    topology: Topology,
    options: ServiceOptions,
    used: Iterable[PopUse] = (),
) -> dict[str, str]:
    """Endpoint id of every VNF and unit -> PoP name. Raises PlacementError.

    `used` is what other instances take. The units of a VNF stand together, but where one has an
    option `pop` of its own.
    """
    if not topology.pops:
        raise PlacementError(f"topology '{topology.name}' has no PoP to place VNFs in")
    room = Room(topology, used, options.overprovision)
    units: dict[str, list[NetworkFunction]] = {function.id: [] for function in service.functions}
    pops: dict[str, str] = {}
    for unit in flat.service.functions:
        vnf_id = flat.vnf_of.get(unit.id)
        own = options.vnfs.get(unit.id) if vnf_id is not None else None
        if own is not None and own.pop is not None:
            pops[unit.id] = checked_pop(own.pop, topology, f"unit '{unit.id}'")
            room.take(own.pop, _demand(unit, flat), f"unit '{unit.id}'")
        else:
            units[vnf_id or unit.id].append(unit)
    demands = {
        vnf_id: sum((_demand(unit, flat) for unit in own_units), Demand())
        for vnf_id, own_units in units.items()
    }
    placed: dict[str, str] = {}
    for vnf_id, pop in _said(service, topology, options).items():
        placed[vnf_id] = checked_pop(pop, topology, f"VNF '{vnf_id}'")
        room.take(pop, demands[vnf_id], f"VNF '{vnf_id}'")
    strategy = STRATEGIES[options.placement if isinstance(options.placement, str) else "round-robin"]
    saps = place_saps(service, topology, options, None)
    placed = dict(strategy(Question(service, topology, demands, room, placed, saps)))
    for vnf_id, own_units in units.items():
        pops.update({unit.id: placed[vnf_id] for unit in own_units})
    return {unit.id: pops[unit.id] for unit in flat.service.functions}


def _demand(unit: NetworkFunction, flat: Flat) -> Demand:
    own, resources = flat.options.vnf(unit.id), unit.units[0].resources
    return Demand(own.cpu or resources.cpu or 0.0, own.memory or resources.memory or 0)


def _said(service: NetworkService, topology: Topology, options: ServiceOptions) -> dict[str, str]:
    """Where VNFs should stand by name: a VNF's own option `pop` before what the placement says."""
    placement = options.placement
    if isinstance(placement, str):
        if placement not in STRATEGIES:
            raise PlacementError(
                f"no placement '{placement}'{did_you_mean(placement, STRATEGIES)};"
                f" there are: {', '.join(STRATEGIES)}"
            )
        asked: Mapping[str, str] = {}
    else:
        asked = placement if isinstance(placement, Mapping) else placement(service, topology)
    known = [function.id for function in service.functions]
    for vnf_id in asked:
        if vnf_id not in known:
            raise PlacementError(
                f"the placement names '{vnf_id}', which is no VNF of '{service.name}'"
                f"{did_you_mean(vnf_id, known)}"
            )
    said = {vnf_id: options.vnf(vnf_id).pop or asked.get(vnf_id) for vnf_id in known}
    return {vnf_id: pop for vnf_id, pop in said.items() if pop is not None}


def place_saps(
    service: NetworkService,
    topology: Topology,
    options: ServiceOptions,
    functions: Mapping[str, str] | None,
) -> dict[str, str]:
    """SAP id -> PoP name: as options or topology say, else where its first VNF is, else the first PoP.

    Without `functions` (where the VNFs are) only those that are said.
    """
    sites = {site.name: site.pop for site in topology.saps}
    neighbours = _pops_beside_saps(service, functions) if functions is not None else {}
    placed: dict[str, str] = {}
    for sap in service.saps:
        pop = options.sap(sap.id).pop or sites.get(sap.id)
        if pop is None and functions is not None:
            pop = neighbours.get(sap.id, topology.pops[0].name)
        if pop is not None:
            placed[sap.id] = checked_pop(pop, topology, f"SAP '{sap.id}'")
    return placed


def _pops_beside_saps(service: NetworkService, functions: Mapping[str, str]) -> dict[str, str]:
    neighbours: dict[str, str] = {}
    for link in service.links:
        pop = next((functions[end.function] for end in link.references if end.function is not None), None)
        for end in link.references:
            if end.function is None and pop is not None:
                neighbours.setdefault(end.point, pop)
    return neighbours


def checked_pop(pop: str, topology: Topology, who: str) -> str:
    names = [one.name for one in topology.pops]
    if pop not in names:
        raise PlacementError(
            f"{who} should stand in PoP '{pop}', which topology '{topology.name}' does not have"
            f"{did_you_mean(pop, names)}; there are: {', '.join(names)}"
        )
    return pop
