"""Forwarding graphs: the paths that packets take, as the NSD says. None of their faults stops a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.model import ForwardingPath, NetworkFunction, Place, Reference, VirtualLink
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.errors import did_you_mean

_BAD = "evt_nsd_top_badsection_fwgraph"
Find = Callable[[str, Place], "Reference | None"]


def read_paths(
    section: Section,
    links: Sequence[VirtualLink],
    functions: Mapping[str, NetworkFunction],
    find: Find,
    findings: Findings,
) -> Iterator[ForwardingPath]:
    """The paths of all forwarding graphs, each sorted by position."""
    written = {
        node.value["id"].text.strip()
        for node in section.items("virtual_links")
        if isinstance(node.value, dict) and "id" in node.value
    }
    named: set[str] = set()
    links_of: dict[Reference, set[str]] = {}
    for link in links:
        for end in link.references:
            links_of.setdefault(end, set()).add(link.id)
    graphs = section.sections("forwarding_graphs", "a forwarding graph", level="warning")
    for graph in graphs:
        graph_id = graph.text("fg_id", "fg_name") or "?"
        named.update(
            _check_members(graph, "constituent_virtual_links", "virtual link", written, graph_id, findings)
        )
        _check_members(graph, "constituent_vnfs", "VNF", functions, graph_id, findings)
        for path in graph.sections("network_forwarding_paths", "a forwarding path", level="warning"):
            found = _path(path, graph_id, find, findings)
            if found is not None:
                _check_path(found, links_of, findings)
                yield found
    left_out = [link.id for link in links if link.id not in named]
    if named and left_out:
        names = ", ".join(f"'{name}'" for name in left_out[:10])
        message = f"in no forwarding graph, but set up all the same: {names}"
        findings.info("sonemu_fwgraph_links", message, section.node.key_place("forwarding_graphs"))


def _check_members(
    graph: Section,
    key: str,
    what: str,
    existing: set[str] | Mapping[str, object],
    graph_id: str,
    findings: Findings,
) -> Iterator[str]:
    for node in graph.items(key, level="warning"):
        if isinstance(node.value, (dict, list)) or node.value is None:
            continue
        name = node.text.strip()
        if name not in existing:
            near = did_you_mean(name, sorted(existing)).strip(" ()")
            findings.warning(
                _BAD,
                f"forwarding graph '{graph_id}' names {what} '{name}', which is not there",
                node.place,
                near,
            )
        yield name


def _path(path: Section, graph_id: str, find: Find, findings: Findings) -> ForwardingPath | None:
    path_id = path.text("fp_id") or f"{graph_id}:path"
    stations: list[tuple[float, Reference]] = []
    positions: set[float] = set()
    sound = True
    for number, item in enumerate(
        path.sections("connection_points", "a station of a path", level="warning"), start=1
    ):
        text = item.text("connection_point_ref", required="warning")
        position = item.number("position") if "position" in item else float(number)
        if text is None:
            sound = False
            continue
        position = float(number) if position is None else position
        if position in positions:
            message = f"position {position:g} of path '{path_id}' is taken twice"
            findings.warning("evt_nsd_top_fwgraph_position_duplicate", message, item.place_of("position"))
        positions.add(position)
        place = item.place_of("connection_point_ref")
        reference = find(text, place)
        if reference is None:
            message = f"undefined connection point '{text}': path '{path_id}' is left out"
            findings.warning("evt_nsd_top_fwgraph_cpoint_undefined", message, place)
            sound = False
            continue
        stations.append((position, reference))
    if not sound:
        return None
    if len(stations) < 2:
        findings.warning(_BAD, f"path '{path_id}' has {len(stations)} stations: it is left out", path.place)
        return None
    stations.sort(key=lambda station: station[0])
    return ForwardingPath(path_id, tuple(reference for _, reference in stations), path.place)


def _check_path(path: ForwardingPath, links_of: Mapping[Reference, set[str]], findings: Findings) -> None:
    place = path.place or Place("")
    stations = path.references
    if len(set(stations)) < len(stations):
        findings.warning(
            "evt_nsd_top_fwgraph_cycles", f"path '{path.id}' passes a connection point twice", place
        )
    if len(stations) % 2:
        message = f"path '{path.id}' has an odd number of stations"
        findings.warning("evt_nsd_top_fwgraph_cpoints_odd", message, place)
    for here, there in pairwise(stations):
        inside = here.function is not None and here.function == there.function
        if not inside and links_of.get(here, set()).isdisjoint(links_of.get(there, ())):
            message = f"path '{path.id}' goes from '{here}' to '{there}', but no virtual link joins them"
            findings.warning("evt_nsd_top_fwpath_disrupted", message, there.place or place)
