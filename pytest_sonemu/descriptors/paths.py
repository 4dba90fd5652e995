"""Forwarding graphs: the paths that packets take, as the NSD says. None of their faults stops a start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import pairwise

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.links import LinksRead
from pytest_sonemu.descriptors.model import ForwardingPath, NetworkFunction, Place, Reference
from pytest_sonemu.descriptors.section import Section

_BAD = "evt_nsd_top_badsection_fwgraph"
Find = Callable[[str, Place], "Reference | None"]


def read_paths(
    section: Section,
    read: LinksRead,
    functions: Mapping[str, NetworkFunction],
    find: Find,
    near: Callable[[str], str],
    findings: Findings,
) -> Iterator[ForwardingPath]:
    """The paths of all forwarding graphs, each sorted by position; `near` makes a hint of a slip."""
    yield from _Graphs(read, functions, find, near, findings).paths(section)


class _Graphs:
    def __init__(
        self,
        read: LinksRead,
        functions: Mapping[str, NetworkFunction],
        find: Find,
        near: Callable[[str], str],
        findings: Findings,
    ) -> None:
        self._read, self._functions, self._findings = read, functions, findings
        self._find, self._near = find, near
        self._links_of: dict[Reference, set[str]] = {}
        for link in read.links:
            for end in link.references:
                self._links_of.setdefault(end, set()).add(link.id)

    def paths(self, section: Section) -> Iterator[ForwardingPath]:
        graphs = section.sections("forwarding_graphs", "a forwarding graph", level="warning", shape=_BAD)
        if not graphs and section.node_of("forwarding_graphs") is None:
            self._unavailable(section.place)
        elif not graphs:
            self._unavailable(section.node.key_place("forwarding_graphs"))
        named: set[str] = set()
        for graph in graphs:
            if "fg_name" in graph and "fg_id" not in graph:
                message = "a forwarding graph by reference (fg_name) is left out"
                self._findings.warning(_BAD, message, graph.place_of("fg_name"))
                continue
            graph_id = graph.text("fg_id") or "?"
            named.update(self._members(graph, graph_id, "constituent_virtual_links", "virtual link"))
            self._members(graph, graph_id, "constituent_vnfs", "VNF")
            what = "a forwarding path"
            for path in graph.sections("network_forwarding_paths", what, level="warning", shape=_BAD):
                found = self._path(path, graph_id)
                if found is not None:
                    self._check_path(found)
                    yield found
        self._left_out(section, named)

    def _unavailable(self, place: Place) -> None:
        rule = "evt_nsd_top_fwgraph_unavailable"
        if self._findings.levels.wants(rule):
            self._findings.info(
                rule, "the service has no forwarding graph", place, about="-forwarding_graphs"
            )

    def _members(self, graph: Section, graph_id: str, key: str, what: str) -> list[str]:
        existing: Collection[str] = self._read.ids if what == "virtual link" else self._functions
        names: list[str] = []
        for node in graph.items(key, level="warning", shape=_BAD):
            if isinstance(node.value, (dict, list)) or node.value is None:
                message = f"forwarding graph '{graph_id}' names a {what} that is {node.kind}"
                self._findings.warning(_BAD, message, node.place)
                continue
            name = node.text.strip()
            if name not in existing:
                near = self._findings.near(name, existing)
                message = f"forwarding graph '{graph_id}' names {what} '{name}', which is not there"
                self._findings.warning(_BAD, message, node.place, near)
            names.append(name)
        return names

    def _left_out(self, section: Section, named: set[str]) -> None:
        left_out = [link.id for link in self._read.links if link.id not in named]
        if named and left_out:
            names = ", ".join(f"'{name}'" for name in left_out[:10]) + (", …" if len(left_out) > 10 else "")
            message = f"in no forwarding graph, but set up all the same: {names}"
            place = section.node.key_place("forwarding_graphs")
            self._findings.info("sonemu_fwgraph_links", message, place)

    def _path(self, path: Section, graph_id: str) -> ForwardingPath | None:
        path_id = path.text("fp_id") or f"{graph_id}:path"
        stations: list[tuple[float, Reference]] = []
        positions: set[float] = set()
        what = "a station of a path"
        items = path.sections("connection_points", what, level="warning", shape=_BAD)
        listed = path.node_of("connection_points")
        count = len(listed.value) if listed is not None and isinstance(listed.value, list) else 0
        sound = len(items) == count
        for number, item in enumerate(items, start=1):
            text = item.text("connection_point_ref", required="warning", shape=_BAD)
            position = item.number("position", shape=_BAD) if "position" in item else float(number)
            if text is None:
                sound = False
                continue
            position = float(number) if position is None else position
            if position in positions:
                message = f"position {position:g} of path '{path_id}' is taken twice"
                rule = "evt_nsd_top_fwgraph_position_duplicate"
                self._findings.warning(rule, message, item.place_of("position"))
            positions.add(position)
            place = item.place_of("connection_point_ref")
            reference = self._find(text, place)
            if reference is None:
                message = f"undefined connection point '{text}': path '{path_id}' is left out"
                rule = "evt_nsd_top_fwgraph_cpoint_undefined"
                self._findings.warning(rule, message, place, self._near(text))
                sound = False
                continue
            stations.append((position, reference))
        if not sound:
            return None
        if len(stations) < 2:
            message = f"path '{path_id}' has fewer than two stations: it is left out"
            self._findings.warning(_BAD, message, path.place)
            return None
        stations.sort(key=lambda station: station[0])
        return ForwardingPath(path_id, tuple(reference for _, reference in stations), path.place)

    def _check_path(self, path: ForwardingPath) -> None:
        """Stations come in pairs: 1 and 2 are the ends of a link, 2 and 3 the way through a VNF, and so on.

        A link where a VNF should be passed is no fault as such: some authors count otherwise.
        """
        place, stations = path.place or Place(""), path.references
        if len(set(stations)) < len(stations):
            message = f"path '{path.id}' passes a connection point twice"
            self._findings.warning("evt_nsd_top_fwgraph_cycles", message, place)
        if len(stations) % 2:
            message = f"path '{path.id}' has an odd number of stations"
            self._findings.warning("evt_nsd_top_fwgraph_cpoints_odd", message, place)
        for number, (here, there) in enumerate(pairwise(stations)):
            same = here.function is not None and here.function == there.function
            joined = not self._links_of.get(here, set()).isdisjoint(self._links_of.get(there, ()))
            at = there.place or place
            if number % 2 == 0 and same and not joined:
                message = (
                    f"path '{path.id}' stays in VNF '{here.function}' from '{here}' to '{there}',"
                    " where it should cross a virtual link"
                )
                self._findings.warning("evt_nsd_top_fwpath_inside_vnf", message, at)
            elif not same and not joined and self._read.sure_of(here, there):
                message = f"path '{path.id}' goes from '{here}' to '{there}', but no virtual link joins them"
                rule = "evt_nsd_top_fwpath_invalid" if number % 2 else "evt_nsd_top_fwpath_disrupted"
                hint = "name the point by which it leaves the VNF" if number % 2 and here.function else ""
                self._findings.warning(rule, message, at, hint)
