"""VNFs of several units (VDUs, CDUs) taken apart: to the rest of planning each unit is a VNF of its own.

A unit of several is the endpoint `<vnf_id>.<unit_id>`. The VNF's connection points are mapped onto the
units' by the virtual links inside the VNF (`vdu01:eth0` - `input`), or by having the same id; a link of
the service to `fw:input` is then one to the units behind that point. A VNF of one unit stays as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    Connectivity,
    ForwardingPath,
    NetworkFunction,
    NetworkService,
    Place,
    Reference,
    VirtualLink,
)
from pytest_sonemu.errors import PlanningError, did_you_mean
from pytest_sonemu.planning.option_models import EVERY_VNF, ServiceOptions, merge_vnf_options


@dataclass(frozen=True)
class Flat:
    """A service with one VNF per unit. `vnf_of`: unit's endpoint id -> vnf_id, for VNFs of several."""

    service: NetworkService
    options: ServiceOptions
    vnf_of: Mapping[str, str] = field(default_factory=dict)


def unit_endpoint(function: NetworkFunction, unit_id: str) -> str:
    """The endpoint that a unit becomes."""
    return function.id if len(function.units) == 1 else f"{function.id}.{unit_id}"


def flatten(service: NetworkService, options: ServiceOptions) -> Flat:
    """Take the VNFs of several units apart. Raises PlanningError where a point leads to no unit."""
    several = {function.id: function for function in service.functions if len(function.units) > 1}
    if not several:
        return Flat(service, options)
    taken = {vnf_id: _TakenApart(function) for vnf_id, function in several.items()}
    functions: list[NetworkFunction] = []
    vnf_of: dict[str, str] = {}
    vnf_options = dict(options.vnfs)
    for function in service.functions:
        if function.id not in taken:
            functions.append(function)
            continue
        whole = vnf_options.pop(function.id, None)
        for unit in taken[function.id].functions():
            functions.append(unit)
            vnf_of[unit.id] = function.id
            own = vnf_options.get(unit.id)
            if whole is not None:
                vnf_options[unit.id] = merge_vnf_options(whole, own) if own is not None else whole
    links = [_outer_link(link, taken) for link in service.links]
    attached = {ref for link in service.links for ref in link.references}
    for apart in taken.values():
        links += apart.inner_links(attached)
    flat = replace(
        service,
        functions=tuple(functions),
        links=tuple(links),
        paths=tuple(_expand(path, taken) for path in service.paths),
    )
    return Flat(flat, replace(options, vnfs=vnf_options), vnf_of)


def option_ids(functions: Iterable[NetworkFunction]) -> set[str]:
    """What options of a VNF may be given for: its id, and the ids of its units where it has several."""
    ids = {EVERY_VNF}
    for function in functions:
        ids.add(function.id)
        ids.update(unit_endpoint(function, unit.id) for unit in function.units)
    return ids


def tree_root(link: VirtualLink) -> Reference | None:
    """The root of an E-Tree: what it names, else its first end; None for other links."""
    if link.connectivity != "E-Tree" or not link.references:
        return None
    return link.root if link.root is not None else link.references[0]


class _TakenApart:
    """One VNF of several units: which unit's point stands behind which of the VNF's own."""

    def __init__(self, function: NetworkFunction) -> None:
        self.function = function
        self._own = {point.id: point for point in function.connection_points}
        self._units = {unit.id: unit for unit in function.units}
        if len(self._units) < len(function.units):
            raise PlanningError(f"VNF '{function.id}'{_at(function.place)} has two units of the same id")
        self._behind: dict[str, list[Reference]] = {}
        # Unit's point as written -> the VNF's point whose name it takes (ruling 25).
        self._known_as: dict[Reference, str] = {}
        self._link_at: dict[str, VirtualLink] = {}
        for link in function.internal_links:
            self._map(link)
        for point in self._own:
            if point not in self._behind:
                for unit in function.units:
                    if any(own.id == point for own in unit.connection_points):
                        self._put_behind(point, Reference(unit.id, point))

    def _map(self, link: VirtualLink) -> None:
        own = [ref.point for ref in link.references if ref.function is None]
        members = [ref for ref in link.references if ref.function is not None]
        for ref in members:
            self._check(link, ref)
        for point in own:
            if point not in self._own:
                raise PlanningError(
                    f"link '{link.id}' inside VNF '{self.function.id}'{_at(link.place)}: the VNF has no"
                    f" connection point '{point}'{did_you_mean(point, self._own)}"
                )
            for ref in members:
                self._put_behind(point, ref)
            self._link_at.setdefault(point, link)
        if len(set(own)) > 1:
            raise PlanningError(
                f"link '{link.id}' inside VNF '{self.function.id}'{_at(link.place)} joins the VNF's own"
                f" points {' and '.join(own)}; give each of them a link of its own to a unit"
            )

    def _check(self, link: VirtualLink, ref: Reference) -> None:
        unit = self._units.get(ref.function or "")
        points = [point.id for point in unit.connection_points] if unit is not None else []
        if unit is None or ref.point not in points:
            near = did_you_mean(ref.function or "", self._units)
            fault = (
                f"no unit '{ref.function}'{near}"
                if unit is None
                else f"unit '{unit.id}' has no point '{ref.point}'{did_you_mean(ref.point, points)}"
            )
            raise PlanningError(
                f"link '{link.id}' inside VNF '{self.function.id}'{_at(ref.place or link.place)}: {fault}"
            )

    def _put_behind(self, point: str, ref: Reference) -> None:
        behind = self._behind.setdefault(point, [])
        if ref not in behind:
            behind.append(ref)
        self._known_as.setdefault(ref, point)

    def functions(self) -> list[NetworkFunction]:
        """A VNF for each unit, with the interfaces that it will see."""
        return [
            NetworkFunction(
                self._endpoint(unit.id),
                interfaces=(),
                connection_points=tuple(points := self._points(unit.id, unit.connection_points)),
                units=(replace(unit, connection_points=tuple(points)),),
                vendor=self.function.vendor,
                name=self.function.name,
                version=self.function.version,
                place=unit.place or self.function.place,
            )
            for unit in self.function.units
        ]

    def _points(self, unit_id: str, written: Sequence[ConnectionPoint]) -> list[ConnectionPoint]:
        points: dict[str, ConnectionPoint] = {}
        for point in written:
            known_as = self._known_as.get(Reference(unit_id, point.id))
            seen = point
            if known_as is not None:
                own = self._own[known_as]
                alone = len(self._behind[known_as]) == 1
                seen = replace(
                    point,
                    id=known_as,
                    type=own.type if own.type == "management" else point.type,
                    # What belongs to one interface cannot belong to several.
                    addresses=point.addresses or (own.addresses if alone else ()),
                    mac=point.mac or (own.mac if alone else None),
                )
            if seen.id in points:
                raise PlanningError(
                    f"unit '{unit_id}' of VNF '{self.function.id}'{_at(point.place)} would have two"
                    f" interfaces '{seen.id}': its point '{point.id}' stands for the VNF's '{seen.id}';"
                    " rename one of them"
                )
            points[seen.id] = seen
        return list(points.values())

    def inner_links(self, attached: Iterable[Reference]) -> list[VirtualLink]:
        """The links between units. One that reaches a point attached outside is part of that outer link."""
        outside = {ref.point for ref in attached if ref.function == self.function.id}
        links = []
        for link in self.function.internal_links:
            own = [ref.point for ref in link.references if ref.function is None]
            members = tuple(self._flat(ref) for ref in link.references if ref.function is not None)
            if outside.intersection(own) or (own and len(members) < 2):
                continue
            root = tree_root(link)
            if root is not None and root.function is None:
                continue  # the root is not there, and leaves do not reach each other
            links.append(
                replace(
                    link,
                    id=f"{self.function.id}.{link.id}",
                    references=members,
                    root=self._flat(root) if root is not None else None,
                )
            )
        return links

    def behind(self, ref: Reference) -> list[Reference]:
        """The units' points that a reference of the service to this VNF means."""
        found = self._behind.get(ref.point)
        if not found:
            what = (
                "is mapped to none of its units' points"
                if ref.point in self._own
                else f"is none of the VNF's{did_you_mean(ref.point, self._own)}"
            )
            units = "; ".join(
                f"{unit.id}: {', '.join(point.id for point in unit.connection_points) or 'none'}"
                for unit in self.function.units
            )
            raise PlanningError(
                f"connection point '{ref}'{_at(ref.place)} {what} (the units have {units}); add a virtual"
                f" link to the VNFD, with references like '{self.function.units[0].id}:…' and '{ref.point}'"
            )
        return [replace(self._flat(unit_ref), place=ref.place) for unit_ref in found]

    def root_inside(self, point: str) -> bool:
        """Whether the point is the root of an E-Tree inside, so that the units behind it are its leaves."""
        link = self._link_at.get(point)
        return link is not None and tree_root(link) == Reference(None, point)

    def way(self, entered: Reference, left: Reference) -> list[Reference]:
        """The stations inside from one of the VNF's points to another, over the fewest units.

        Those two alone where they are in one unit, or where no way leads from the one to the other.
        """
        exits = {self._flat(ref): ref.function for ref in self._behind.get(left.point, ())}
        starts = [(self._flat(ref), ref.function) for ref in self._behind.get(entered.point, ())]
        queue: deque[tuple[str | None, list[Reference]]] = deque([(unit, [start]) for start, unit in starts])
        seen = {unit for _, unit in starts}
        while queue:
            unit, stations = queue.popleft()
            for way_out, of_unit in exits.items():
                if of_unit == unit:
                    return [*stations, way_out]
            for link in self.function.internal_links:
                inside = [ref for ref in link.references if ref.function is not None]
                for here in (ref for ref in inside if ref.function == unit):
                    for there in (ref for ref in inside if ref.function not in seen):
                        seen.add(there.function)
                        queue.append((there.function, [*stations, self._flat(here), self._flat(there)]))
        return [start for start, _ in starts[:1]] + list(exits)[:1]

    def _flat(self, ref: Reference) -> Reference:
        known_as = self._known_as.get(Reference(ref.function, ref.point), ref.point)
        return Reference(self._endpoint(ref.function or ""), known_as, ref.place)

    def _endpoint(self, unit_id: str) -> str:
        return unit_endpoint(self.function, unit_id)


def _outer_link(link: VirtualLink, taken: Mapping[str, _TakenApart]) -> VirtualLink:
    """A link of the service with the units' points in place of the VNFs'."""
    ends = [(ref, taken.get(ref.function or "")) for ref in link.references]
    if not any(apart for _, apart in ends):
        return link
    meant = {ref: apart.behind(ref) if apart is not None else [ref] for ref, apart in ends}
    references = tuple(dict.fromkeys(one for refs in meant.values() for one in refs))
    root = tree_root(link)
    kind: Connectivity = link.connectivity
    if root is not None:
        root = meant[root][0]
    elif kind == "E-Line" and len(ends) == 2 and len(references) > 2:
        # Several units stand behind an end. If it is the root of an E-Tree inside, they stay apart.
        kind = "E-LAN"
        for (ref, apart), (other, _) in (ends, ends[::-1]):
            if apart is not None and apart.root_inside(ref.point) and len(meant[other]) == 1:
                kind, root = "E-Tree", meant[other][0]
    return replace(link, connectivity=kind, references=references, root=root)


def _expand(path: ForwardingPath, taken: Mapping[str, _TakenApart]) -> ForwardingPath:
    """A path with the units' stations in place of the VNFs'."""
    stations: list[Reference] = []
    entered: Reference | None = None
    for ref in path.references:
        apart = taken.get(ref.function or "")
        if entered is not None and entered.function == ref.function and apart is not None:
            stations[-1:] = apart.way(entered, ref)
            entered = None
        else:
            stations.append(ref if apart is None else apart.behind(ref)[0])
            entered = ref if apart is not None else None
    return replace(path, references=tuple(stations))


def _at(place: Place | None) -> str:
    return f" ({place})" if place is not None else ""
