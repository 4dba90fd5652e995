"""What has to hold of a service before it can be wired; a package's reader says the same, with places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_sonemu.descriptors.model import (
    NetworkFunction,
    NetworkService,
    Reference,
    Sap,
    VirtualLink,
)
from pytest_sonemu.errors import PlanningError, did_you_mean
from pytest_sonemu.planning.units import tree_root


def check_ids(service: NetworkService) -> None:
    """No two endpoints and no two links of the same id. Raises PlanningError."""
    seen: set[str] = set()
    endpoints = [(function.id, function.place) for function in service.functions]
    for name, place in (*endpoints, *((sap.id, sap.place) for sap in service.saps)):
        if name in seen:
            at = f" ({place})" if place else ""
            raise PlanningError(
                f"'{name}' names two endpoints of service '{service.name}'{at}; rename one of them"
            )
        seen.add(name)
    ids: set[str] = set()
    for link in service.links:
        if link.id in ids:
            raise PlanningError(
                f"'{link.id}' names two virtual links of service '{service.name}'; rename one of them"
            )
        ids.add(link.id)


def check_references(
    service: NetworkService, functions: Mapping[str, NetworkFunction], saps: Mapping[str, Sap]
) -> None:
    """Every end of a link is a point that is there. Raises PlanningError with all that are not."""
    problems = [
        f"virtual link '{link.id}'{f' ({ref.place})' if ref.place else ''}: {fault}"
        for link in service.links
        for ref in link.references
        if (fault := _fault_of(ref, functions, saps))
    ]
    if problems:
        raise PlanningError("\n".join([f"service '{service.name}' cannot be wired:", *problems]))


def _fault_of(ref: Reference, functions: Mapping[str, NetworkFunction], saps: Mapping[str, Sap]) -> str:
    if ref.function is None:
        return "" if ref.point in saps else f"no SAP '{ref.point}'{did_you_mean(ref.point, saps)}"
    function = functions.get(ref.function)
    if function is None:
        return f"no VNF '{ref.function}'{did_you_mean(ref.function, functions)}"
    points = [point.id for point in function.connection_points]
    if ref.point not in points:
        return f"VNF '{function.id}' has no connection point '{ref.point}'{did_you_mean(ref.point, points)}"
    return ""


def check_shapes(links: Iterable[VirtualLink]) -> None:
    """Links have the ends that their kind asks for. Raises PlanningError."""
    for link in links:
        count = len(link.references)
        place = f" ({link.place})" if link.place else ""
        if link.connectivity == "E-Line" and count != 2:
            raise PlanningError(
                f"E-Line '{link.id}'{place} has {count} ends, not two; with more it is an E-LAN"
            )
        if count == 0:
            raise PlanningError(f"{link.connectivity} '{link.id}'{place} has no members")
        if (root := tree_root(link)) is not None and root not in link.references:
            raise PlanningError(f"the root of E-Tree '{link.id}'{place}, '{root}', is none of its ends")
        twice = next((ref for ref in link.references if link.references.count(ref) > 1), None)
        if twice is not None and twice.function is not None:
            raise PlanningError(f"virtual link '{link.id}'{place} names '{twice}' twice")
