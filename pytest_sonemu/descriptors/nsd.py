"""NSDs of all vocabularies into the neutral model.

A service's own connection points are its SAPs. In 2016 they are written `ns:input`; here a SAP is
called `input` in all vocabularies, unless the descriptor declares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.functions import FunctionReader, version_fits
from pytest_sonemu.descriptors.graph import check_graph
from pytest_sonemu.descriptors.links import LinkReader
from pytest_sonemu.descriptors.model import (
    NetworkFunction,
    NetworkService,
    Place,
    Reference,
    Sap,
    VirtualLink,
)
from pytest_sonemu.descriptors.paths import read_paths
from pytest_sonemu.descriptors.points import PointRules, known, read_points
from pytest_sonemu.descriptors.section import Section

__all__ = ["SYNTAX", "read_nsd", "version_fits"]

SYNTAX = "evt_nsd_stx_invalid"
_NOT_EMULATED = (
    "service_specific_managers",
    "lifecycle_events",
    "auto_scale_policy",
    "monitoring_parameters",
    "vnf_depedency",
    "services_depedency",
    "soft_constraints",
    "deployment_flavours",
)


def read_nsd(section: Section, reader: FunctionReader, findings: Findings, origin: str) -> NetworkService:
    """The service that an NSD describes. Its faults, and those of the VNFDs it uses, are findings."""
    name = section.text("name", "ns_name") or "service"
    skipped = [key for key in _NOT_EMULATED if section.node_of(key) is not None]
    for key in skipped:
        message = f"{key} of the service: kept, but not acted upon"
        findings.info("sonemu_not_emulated", message, section.node.key_place(key))
    functions = reader.read(section)
    _check_nested(section, findings)
    node = section.node_of("network_functions")
    if not functions.by_id and (node is None or node.value == []):
        place = section.node.key_place("network_functions") if node is not None else section.place
        findings.warning(
            "sonemu_empty_service", f"service '{name}' has no VNFs", place, about="-network_functions"
        )
    saps = _saps(section, functions.by_id, findings)
    resolver = _Resolver(functions.by_id, functions.unknown, saps, findings)
    read = LinkReader(findings, "the service", "evt_nsd_itg_badsection_vlinks", resolver.resolve).read(
        section
    )
    links = _with_management(_circuits(read.links, findings), functions.by_id, saps)
    check_graph(section, read, functions, saps, findings)
    return NetworkService(
        name=name,
        functions=tuple(functions.by_id.values()),
        saps=tuple(saps.values()),
        links=tuple(links),
        paths=tuple(read_paths(section, read, functions.by_id, resolver.find, resolver.near, findings)),
        vendor=section.text("vendor", "ns_group") or "",
        version=section.text("version", "ns_version") or "",
        origin=origin,
        not_emulated=(*skipped, *functions.skipped),
    )


def _check_nested(section: Section, findings: Findings) -> None:
    nested = section.node_of("network_services")
    if nested is None or nested.value == []:
        return
    names: list[str] = []
    for item in nested.value if isinstance(nested.value, list) else [nested]:
        if isinstance(item.value, dict):
            named = item.value.get("ns_name") or item.value.get("ns_id")
            names.append(named.text if named is not None else "?")
        else:
            names.append(item.text)
    message = f"the service is made of other services ({known(names)}), which are not deployed"
    hint = "name their VNFs and links in this NSD"
    findings.error("sonemu_nested_service", message, section.node.key_place("network_services"), hint)


def _saps(section: Section, functions: Mapping[str, NetworkFunction], findings: Findings) -> dict[str, Sap]:
    """The SAPs by the id that is written in the descriptor."""
    listed = section.node_of("connection_points")
    written = {
        node.value["id"].text.strip()
        for node in (listed.value if listed is not None and isinstance(listed.value, list) else ())
        if isinstance(node.value, dict) and "id" in node.value
    }

    def plain_id(text: str) -> str:
        short = text.removeprefix("ns:")
        return text if short in written or not short else short

    rules = PointRules("evt_nsd_itg_badsection_cpoints")
    saps: dict[str, Sap] = {}
    for raw, point in read_points(section, findings, "the service", rules, plain_id=plain_id).items():
        place = point.place or section.place
        if point.id in functions:
            message = f"SAP '{point.id}' has the name of a VNF"
            findings.error("sonemu_sap_name", message, place, "give one of them another name")
        if ":" in point.id:
            message = f"':' in the id of SAP '{point.id}'"
            findings.warning("evt_invalid_cpoint", message, place, "':' parts VNF and point in references")
        saps[raw] = Sap(point.id, point.type, point.place)
    return saps


class _Resolver:
    """Finds what a reference means: `vnf:point`, `sap`, and `ns:sap` for `sap` in either direction."""

    def __init__(
        self,
        functions: Mapping[str, NetworkFunction],
        unknown: set[str],
        saps: Mapping[str, Sap],
        findings: Findings,
    ) -> None:
        self._unknown, self._findings = unknown, findings
        self._points = {
            vnf_id: dict.fromkeys(point.id for point in vnf.connection_points)
            for vnf_id, vnf in functions.items()
        }
        self._saps = {sap.id: sap for sap in saps.values()} | dict(saps)
        self._references = [
            *dict.fromkeys(sap.id for sap in saps.values()),
            *(f"{vnf_id}:{point}" for vnf_id, points in self._points.items() for point in points),
        ]

    def find(self, text: str, place: Place) -> Reference | None:
        """The reference, or None if there is no such point. Says nothing."""
        sap = self._saps.get(text) or self._saps.get(text.removeprefix("ns:"))
        if sap is not None:
            return Reference(None, sap.id, place)
        vnf_id, colon, point = text.partition(":")
        if colon and (point in self._points.get(vnf_id, ()) or vnf_id in self._unknown):
            return Reference(vnf_id, point, place)
        return None

    def near(self, text: str) -> str:
        """A reference that is like `text`, as a hint."""
        return self._findings.near(text, self._references)

    def resolve(self, text: str, place: Place) -> Reference | None:
        reference = self.find(text, place)
        if reference is None:
            self._explain(text, place)
        return reference

    def _explain(self, text: str, place: Place) -> None:
        vnf_id, colon, point = text.partition(":")
        message = f"undefined connection point '{text}'"
        if text.count(":") > 1 or text in ("", ":"):
            hint = self.near(text) or "write vnf_id:point or sap"
            self._findings.error(
                "evt_invalid_cpoint_ref",
                f"'{text}' is no reference: one ':' parts VNF and point",
                place,
                hint,
            )
        elif colon and vnf_id in self._points:
            points = self._points[vnf_id]
            hint = self._findings.near(point, points) or f"VNF '{vnf_id}' has: {known(points)}"
            self._findings.error("evt_nsd_itg_undefined_cpoint", message, place, hint)
        elif colon and vnf_id != "ns":
            near = self._findings.near(vnf_id, self._points)
            hint = near or self.near(text) or f"there are: {known(self._points)}"
            message = f"{message}: the service has no VNF '{vnf_id}'"
            self._findings.error("evt_nsd_itg_undefined_cpoint", message, place, hint)
        else:
            sap_ids = dict.fromkeys(sap.id for sap in self._saps.values())
            near = self._findings.near(text.removeprefix("ns:"), sap_ids) or self.near(text)
            hint = near or f"the service declares: {known(sap_ids)}"
            message = f"{message}: the service declares no such SAP"
            self._findings.error("evt_nsd_itg_undeclared_cpoint", message, place, hint)


def _circuits(links: list[VirtualLink], findings: Findings) -> list[VirtualLink]:
    """The links, with E-Lines that join the same two points taken as the one circuit they are."""
    kept: list[VirtualLink] = []
    circuits: dict[frozenset[Reference], VirtualLink] = {}
    for link in links:
        if link.connectivity == "E-Line":
            first = circuits.setdefault(frozenset(link.references), link)
            if first is not link:
                message = f"E-Line '{link.id}' joins the same points as '{first.id}': both are one circuit"
                hint = "an E-Line carries both directions"
                findings.warning("sonemu_paired_elines", message, link.place or Place(""), hint)
                continue
        kept.append(link)
    return kept


def _with_management(
    links: list[VirtualLink], functions: Mapping[str, NetworkFunction], saps: Mapping[str, Sap]
) -> list[VirtualLink]:
    """The links, those marked that have a SAP or connection point of type management."""
    ends: set[tuple[str | None, str]] = {(None, sap.id) for sap in saps.values() if sap.type == "management"}
    for vnf_id, vnf in functions.items():
        ends |= {(vnf_id, point.id) for point in vnf.connection_points if point.type == "management"}
    return [
        replace(link, management=True)
        if any((end.function, end.point) in ends for end in link.references)
        else link
        for link in links
    ]
