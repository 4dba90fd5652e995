"""NSDs of 2016 and 2017 into the neutral model.

A service's own connection points are its SAPs. In 2016 they are written `ns:input`; here a SAP is
called `input` in all vocabularies, unless the descriptor declares both.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_sonemu.descriptors.archive import PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.model import (
    NetworkFunction,
    NetworkService,
    Place,
    Reference,
    Sap,
    VirtualLink,
)
from pytest_sonemu.descriptors.paths import read_paths
from pytest_sonemu.descriptors.points import known, read_links, read_points
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.descriptors.vnfd import FunctionDescriptor, not_emulated, read_vnfd
from pytest_sonemu.errors import did_you_mean

SYNTAX = "evt_nsd_stx_invalid"
_KNOWN = frozenset({
    "descriptor_version", "schema", "vendor", "name", "version", "author", "description",
    "created_at", "updated_at", "uuid", "status", "signature", "ns_group", "ns_name", "ns_version",
    "ns_author", "ns_description", "network_functions", "network_services", "connection_points",
    "virtual_links", "forwarding_graphs", "service_specific_managers", "lifecycle_events",
    "vnf_depedency", "services_depedency", "monitoring_parameters", "auto_scale_policy", "licences",
    "licenses",
})  # fmt: skip
_FUNCTION = ("vnf_id", "vnf_vendor", "vnf_group", "vnf_name", "vnf_version", "description", "vnf_flavour")
_NOT_EMULATED = (
    "service_specific_managers",
    "lifecycle_events",
    "auto_scale_policy",
    "monitoring_parameters",
)
_USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_VERSION = re.compile(r"\s*(==|>=|<=|!=|>|<)?\s*(.*?)\s*")
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def read_nsd(
    section: Section,
    descriptors: Sequence[FunctionDescriptor],
    files: PackageFiles,
    findings: Findings,
    origin: str,
) -> NetworkService:
    """The service that an NSD describes. Its faults, and those of the VNFDs it uses, are findings."""
    section.only(_KNOWN)
    name = section.text("name", "ns_name", required="warning", exact=True) or "service"
    skipped = [key for key in _NOT_EMULATED if section.node_of(key) is not None]
    functions, unknown = _functions(section, descriptors, files, findings, skipped)
    if section.items("network_services"):
        message = "nested network services cannot be deployed: name their VNFs in this NSD"
        findings.error("evt_nsd_stx_invalid", message, section.node.key_place("network_services"))
    if not functions and not findings.failed:
        findings.warning("sonemu_empty_service", f"service '{name}' has no VNFs", section.place)
    saps = _saps(section, functions, findings)
    resolver = _Resolver(functions, unknown, saps, findings)
    links = _circuits(read_links(section, findings, "the service", resolver.resolve), findings)
    links = _with_management(links, functions, saps)
    _check_use(saps, links, findings)
    return NetworkService(
        name=name,
        functions=tuple(functions.values()),
        saps=tuple(saps.values()),
        links=tuple(links),
        paths=tuple(read_paths(section, links, functions, resolver.find, findings)),
        vendor=section.text("vendor", "ns_group", required="warning", exact=True) or "",
        version=section.text("version", "ns_version", required="warning", exact=True) or "",
        origin=origin,
        not_emulated=tuple(skipped),
    )


def version_fits(wanted: str, version: str) -> bool:
    """Whether `version` is what `wanted` asks for: `"0.2"`, `"== 0.2"`, `">= 0.2"`."""
    match = _VERSION.fullmatch(wanted)
    sign, number = (match[1], match[2]) if match else (None, wanted)
    return bool(_COMPARE[sign or "=="](_version(version), _version(number)))


def _version(text: str) -> tuple[int, ...]:
    numbers = [int(part[:18]) for part in re.findall(r"\d+", text)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _functions(
    section: Section,
    descriptors: Sequence[FunctionDescriptor],
    files: PackageFiles,
    findings: Findings,
    skipped: list[str],
) -> tuple[dict[str, NetworkFunction], frozenset[str]]:
    """The VNFs by vnf_id, and the ids of those whose VNFD was not found: their points are not judged."""
    functions: dict[str, NetworkFunction] = {}
    unknown: set[str] = set()
    read: dict[int, NetworkFunction] = {}
    for entry in section.sections("network_functions", "an entry of network_functions"):
        entry.only(_FUNCTION)
        vnf_id, place = entry.text("vnf_id", required="error"), entry.place_of("vnf_id")
        descriptor = _descriptor(entry, descriptors, findings)
        if vnf_id is None:
            continue
        rule = "evt_nsd_itg_function_invalid"
        if not _USABLE_ID.fullmatch(vnf_id):
            hint = "letters, digits, '_', '.', '-', at most 63"
            findings.error("sonemu_vnf_id", f"vnf_id '{vnf_id}' cannot name a container", place, hint)
        if vnf_id in functions:
            first = functions[vnf_id].place
            hint = f"first in line {first.line}" if first else ""
            findings.error(rule, f"vnf_id '{vnf_id}' is used twice", place, hint)
            continue
        if descriptor is None:
            functions[vnf_id] = NetworkFunction(vnf_id, interfaces=(), place=entry.place)
            unknown.add(vnf_id)
            continue
        if id(descriptor) not in read:
            read[id(descriptor)] = read_vnfd(descriptor, files, findings)
            skipped += not_emulated(descriptor.section, descriptor.identity.name)
        functions[vnf_id] = replace(read[id(descriptor)], id=vnf_id, place=entry.place)
    used = set(read)
    for descriptor in descriptors:
        if id(descriptor) not in used:
            message = f"VNFD {descriptor.identity} is not used by the service"
            findings.info("sonemu_unused_vnfd", message, descriptor.place)
    return functions, frozenset(unknown)


def _descriptor(
    entry: Section, descriptors: Sequence[FunctionDescriptor], findings: Findings
) -> FunctionDescriptor | None:
    name = entry.text("vnf_name", required="error", exact=True)
    vendor = entry.text("vnf_vendor", "vnf_group", required="warning", exact=True)
    version = entry.text("vnf_version", required="warning", exact=True)
    if name is None:
        return None
    same_name = [found for found in descriptors if found.identity.name == name]
    fitting = [
        found
        for found in same_name
        if (vendor is None or not found.identity.vendor or found.identity.vendor == vendor)
        and (version is None or not found.identity.version or version_fits(version, found.identity.version))
    ]
    if fitting:
        return max(fitting, key=lambda found: _version(found.identity.version))
    wanted = f"{vendor or '?'}/{name} {version or '?'}"
    if same_name:
        hint = f"the package has {', '.join(str(found.identity) for found in same_name)}"
    else:
        names = [found.identity.name for found in descriptors]
        hint = did_you_mean(name, names).strip(" ()") or f"the package has {known(names)}"
    message = f"no VNFD for {wanted} in the package"
    findings.error("evt_nsd_itg_function_unavailable", message, entry.place_of("vnf_name"), hint)
    return None


def _saps(section: Section, functions: Mapping[str, NetworkFunction], findings: Findings) -> dict[str, Sap]:
    """The SAPs by the id that is written in the descriptor."""
    written = {
        node.value["id"].text.strip()
        for node in section.items("connection_points")
        if isinstance(node.value, dict) and "id" in node.value
    }

    def plain_id(text: str) -> str:
        short = text.removeprefix("ns:")
        return text if short in written or not short else short

    saps: dict[str, Sap] = {}
    for raw, point in read_points(section, findings, "the service", plain_id=plain_id).items():
        if point.id in functions:
            message = f"SAP '{point.id}' has the name of a VNF"
            findings.error(
                "sonemu_sap_name", message, point.place or section.place, "give one of them another name"
            )
        elif ":" in point.id:
            hint = "':' parts VNF and point in references"
            findings.warning(
                "evt_invalid_cpoint",
                f"':' in the name of SAP '{point.id}'",
                point.place or section.place,
                hint,
            )
        saps[raw] = Sap(point.id, point.type, point.place)
    return saps


class _Resolver:
    """Finds what a reference means: `vnf:point`, `sap`, and `ns:sap` for `sap` in either direction."""

    def __init__(
        self,
        functions: Mapping[str, NetworkFunction],
        unknown: frozenset[str],
        saps: Mapping[str, Sap],
        findings: Findings,
    ) -> None:
        self._unknown, self._findings = unknown, findings
        self._points = {
            vnf_id: [point.id for point in vnf.connection_points] for vnf_id, vnf in functions.items()
        }
        self._saps = {sap.id: sap for sap in saps.values()} | dict(saps)

    def find(self, text: str, place: Place) -> Reference | None:
        """The reference, or None if there is no such point. Says nothing."""
        sap = self._saps.get(text) or self._saps.get(text.removeprefix("ns:"))
        if sap is not None:
            return Reference(None, sap.id, place)
        vnf_id, colon, point = text.partition(":")
        if colon and (point in self._points.get(vnf_id, ()) or vnf_id in self._unknown):
            return Reference(vnf_id, point, place)
        return None

    def resolve(self, text: str, place: Place) -> Reference | None:
        reference = self.find(text, place)
        if reference is None:
            self._explain(text, place)
        return reference

    def _explain(self, text: str, place: Place) -> None:
        vnf_id, colon, point = text.partition(":")
        sap_ids = [sap.id for sap in self._saps.values()]
        if colon and vnf_id in self._points:
            rule = "evt_invalid_cpoint_ref" if ":" in point else "evt_nsd_itg_undefined_cpoint"
            hint = did_you_mean(point, self._points[vnf_id]).strip(" ()")
            hint = hint or f"VNF '{vnf_id}' has: {known(self._points[vnf_id])}"
            self._findings.error(rule, f"undefined connection point '{text}'", place, hint)
        elif colon and vnf_id != "ns":
            hint = did_you_mean(vnf_id, self._points).strip(" ()") or f"there are: {known(self._points)}"
            message = f"undefined connection point '{text}': the service has no VNF '{vnf_id}'"
            self._findings.error("evt_nsd_itg_undefined_cpoint", message, place, hint)
        else:
            near = did_you_mean(text.removeprefix("ns:"), sap_ids).strip(" ()")
            hint = near or f"the service declares: {known(dict.fromkeys(sap_ids))}"
            message = f"undefined connection point '{text}': the service declares no such SAP"
            self._findings.error("evt_nsd_itg_undeclared_cpoint", message, place, hint)


def _circuits(links: list[VirtualLink], findings: Findings) -> list[VirtualLink]:
    """The links, with E-Lines that join the same two points taken as the one circuit they are."""
    kept: list[VirtualLink] = []
    circuits: dict[frozenset[Reference], VirtualLink] = {}
    for link in links:
        if link.connectivity == "E-Line":
            ends = frozenset(link.references)
            first = circuits.setdefault(ends, link)
            if first is not link:
                message = f"E-Line '{link.id}' joins the same points as '{first.id}': both are one circuit"
                findings.warning(
                    "sonemu_paired_elines",
                    message,
                    link.place or Place(""),
                    "an E-Line carries both directions",
                )
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


def _check_use(saps: Mapping[str, Sap], links: list[VirtualLink], findings: Findings) -> None:
    used = {end.point for link in links for end in link.references if end.function is None}
    if findings.failed:
        return  # a link that was left out would make its SAPs look unused
    for sap in saps.values():
        if sap.id not in used:
            message = f"SAP '{sap.id}' is in no virtual link: it reaches nothing"
            findings.warning("evt_nsd_itg_unused_cpoint", message, sap.place or Place(""))
