"""What the links of a service make of it: who is joined to whom, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.functions import Functions
from pytest_sonemu.descriptors.links import LinksRead
from pytest_sonemu.descriptors.model import Place, Sap
from pytest_sonemu.descriptors.points import known
from pytest_sonemu.descriptors.section import Section


def check_graph(
    section: Section, read: LinksRead, functions: Functions, saps: Mapping[str, Sap], findings: Findings
) -> None:
    """SAPs and points in no link, links of SAPs only, and parts of the service that nothing joins."""
    used = {(end.function, end.point) for end in read.written}
    # What a link that was left out would have joined is known only as far as its references were found.
    if read.whole:
        for sap in saps.values():
            if (None, sap.id) not in used:
                message = f"SAP '{sap.id}' is in no virtual link: it reaches nothing"
                findings.warning("evt_nsd_itg_unused_cpoint", message, sap.place or Place(""))
        _check_unlinked(functions, used, findings)
    for link in read.links:
        if all(end.function is None for end in link.references) and len(link.references) > 1:
            ends = ", ".join(f"'{end}'" for end in link.references[:10])
            message = f"link '{link.id}' joins SAPs only ({ends}): no VNF is passed"
            findings.info("sonemu_sap_link", message, link.place or section.place)
    if read.links:
        if read.whole:
            _check_parts(section, read, functions, saps, findings)
    elif functions.by_id and read.whole:
        node = section.node.value.get("virtual_links")
        place = section.node.key_place("virtual_links") if node is not None else section.place
        message = "the service has no virtual links: its VNFs reach nothing"
        findings.warning("evt_nsd_top_topgraph_failed", message, place, about="-virtual_links")
    elif functions.by_id:
        place = section.node.key_place("virtual_links")
        message = "no virtual link of the service can be used: it has no topology"
        findings.warning("evt_nsd_top_topgraph_failed", message, place, about="-virtual_links")


def _check_unlinked(functions: Functions, used: set[tuple[str | None, str]], findings: Findings) -> None:
    for vnf_id, function in functions.by_id.items():
        loose = [point for point in function.connection_points if (vnf_id, point.id) not in used]
        if loose:
            names = known(f"'{vnf_id}:{point.id}'" for point in loose)
            are = "are" if len(loose) > 1 else "is"
            message = f"{names} {are} in no virtual link of the service"
            findings.info("sonemu_unlinked_point", message, function.place or Place(""), about="unlinked")


def _check_parts(
    section: Section, read: LinksRead, functions: Functions, saps: Mapping[str, Sap], findings: Findings
) -> None:
    """Whether all VNFs, and all SAPs that are linked, hang together."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for vnf_id in functions.by_id:
        root(vnf_id)
    for link in read.links:
        ends = [end.function or f"SAP {end.point}" for end in link.references]
        for end in ends[1:]:
            parent[root(end)] = root(ends[0])
        if ends:
            root(ends[0])
    parts: dict[str, list[str]] = {}
    for name in list(parent):
        parts.setdefault(root(name), []).append(name)
    if len(parts) > 1:
        shown = "; ".join(known(part) for part in list(parts.values())[:5])
        message = f"the service falls into {len(parts)} parts that no virtual link joins: {shown}"
        place = section.node.key_place("virtual_links")
        findings.warning("evt_nsd_top_topgraph_disconnected", message, place)
