"""Placement: which PoP each VNF and SAP stands in. A strategy is a function of service and topology."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Protocol

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.errors import PlacementError, did_you_mean
from pytest_sonemu.planning.options import ServiceOptions
from pytest_sonemu.topology.model import Topology


class PlacementStrategy(Protocol):
    """vnf_id -> PoP name. VNFs that it leaves out are placed round robin."""

    def __call__(self, service: NetworkService, topology: Topology, /) -> Mapping[str, str]: ...


def round_robin(service: NetworkService, topology: Topology) -> Mapping[str, str]:
    """VNFs in descriptor order over PoPs in topology order: all are left to what is done for the rest."""
    return {}


def first(service: NetworkService, topology: Topology) -> Mapping[str, str]:
    """All VNFs in the first PoP."""
    return {function.id: topology.pops[0].name for function in service.functions}


STRATEGIES: Mapping[str, PlacementStrategy] = {"round-robin": round_robin, "first": first}


def place_functions(service: NetworkService, topology: Topology, options: ServiceOptions) -> dict[str, str]:
    """vnf_id -> PoP name. Raises PlacementError.

    A VNF's own option `pop` wins, then what the placement says; the rest go round robin among themselves.
    """
    if not topology.pops:
        raise PlacementError(f"topology '{topology.name}' has no PoP to place VNFs in")
    asked = dict(_asked(service, topology, options))
    known = {function.id for function in service.functions}
    for vnf_id in asked:
        if vnf_id not in known:
            raise PlacementError(
                f"the placement names '{vnf_id}', which is no VNF of '{service.name}'{_near(vnf_id, known)}"
            )
    rest = cycle(pop.name for pop in topology.pops)
    placed: dict[str, str] = {}
    for function in service.functions:
        pop = options.vnf(function.id).pop or asked.get(function.id)
        placed[function.id] = (
            next(rest) if pop is None else checked_pop(pop, topology, f"VNF '{function.id}'")
        )
    return placed


def _asked(service: NetworkService, topology: Topology, options: ServiceOptions) -> Mapping[str, str]:
    placement = options.placement
    if isinstance(placement, Mapping):
        return placement
    if not isinstance(placement, str):
        return placement(service, topology)
    strategy = STRATEGIES.get(placement)
    if strategy is None:
        raise PlacementError(f"no placement '{placement}'; there are: {', '.join(STRATEGIES)}")
    return strategy(service, topology)


def place_saps(
    service: NetworkService, topology: Topology, options: ServiceOptions, functions: Mapping[str, str]
) -> dict[str, str]:
    """SAP id -> PoP name: as options or topology say, else where its first VNF is, else the first PoP."""
    sites = {site.name: site.pop for site in topology.saps}
    neighbours: dict[str, str] = {}
    for link in service.links:
        pop = next((functions[end.function] for end in link.references if end.function is not None), None)
        for end in link.references:
            if end.function is None and pop is not None:
                neighbours.setdefault(end.point, pop)
    placed: dict[str, str] = {}
    for sap in service.saps:
        asked = options.sap(sap.id).pop or sites.get(sap.id)
        pop = asked or neighbours.get(sap.id, topology.pops[0].name)
        placed[sap.id] = checked_pop(pop, topology, f"SAP '{sap.id}'")
    return placed


def checked_pop(pop: str, topology: Topology, who: str) -> str:
    names = [one.name for one in topology.pops]
    if pop not in names:
        raise PlacementError(
            f"{who} should stand in PoP '{pop}', which topology '{topology.name}' does not have"
            f"{did_you_mean(pop, names)}; there are: {', '.join(names)}"
        )
    return pop


def _near(wanted: str, existing: set[str]) -> str:
    return did_you_mean(wanted, sorted(existing))
