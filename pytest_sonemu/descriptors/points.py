"""Connection points and virtual links, as NSDs and VNFDs alike write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import Node
from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    Connectivity,
    Place,
    PointType,
    Reference,
    VirtualLink,
)
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.errors import did_you_mean

_POINT = (
    "id",
    "interface",
    "type",
    "virtual_link_reference",
    "address",
    "addresses",
    "ip",
    "mac",
    "description",
)
_LINK = frozenset({
    "id", "connectivity_type", "connection_points_reference", "access", "external_access", "dhcp",
    "root_requirement", "leaf_requirement", "qos", "qos_requirements", "description", "vl_group",
    "vl_name", "vl_version", "vl_description",
})  # fmt: skip
_TYPES: dict[str, PointType] = {"internal": "internal", "external": "external", "management": "management"}
_CONNECTIVITY: dict[str, Connectivity] = {"eline": "E-Line", "elan": "E-LAN", "etree": "E-Tree"}
# Before 2017 a point has `type: interface` and nothing says which are for management; their names do.
_MANAGEMENT_IDS = frozenset({"mgmt", "management"})
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

# Finds what a reference means: (text, place) -> the reference, or None after a finding.
Resolve = Callable[[str, Place], "Reference | None"]


def read_points(
    owner: Section, findings: Findings, what: str, *, plain_id: Callable[[str], str] = str
) -> dict[str, ConnectionPoint]:
    """The connection points of an NSD, VNFD or VDU by the id that is written; `plain_id` shortens it."""
    points: dict[str, ConnectionPoint] = {}
    for section in owner.sections("connection_points", f"a connection point of {what}"):
        point_id = section.text("id", required="error")
        if point_id is None:
            continue
        section.only(_POINT)
        place = section.place_of("id")
        if point_id in points:
            message = f"connection point '{point_id}' of {what} is declared twice"
            findings.error(
                "evt_duplicate_cpoint", message, place, f"first in line {_line(points[point_id].place)}"
            )
            continue
        points[point_id] = ConnectionPoint(
            id=plain_id(point_id),
            type=_point_type(section, plain_id(point_id)),
            addresses=tuple(_addresses(section)),
            mac=_mac(section),
            place=place,
        )
    return points


def read_links(owner: Section, findings: Findings, what: str, resolve: Resolve) -> list[VirtualLink]:
    """The virtual links of an NSD or VNFD. A link with a fault is left out after its findings."""
    links: dict[str, VirtualLink] = {}
    for section in owner.sections("virtual_links", f"a virtual link of {what}"):
        section.only(_LINK)
        link_id = section.text("id")
        if link_id is None:
            if "vl_name" in section:
                section.say(
                    "error", "a virtual link by reference (vl_name) cannot be deployed", section.place
                )
            else:
                section.missing("id", "error")
            continue
        if link_id in links:
            hint = f"first in line {_line(links[link_id].place)}"
            findings.error(
                "evt_duplicate_vlink",
                f"virtual link '{link_id}' is declared twice",
                section.place_of("id"),
                hint,
            )
            continue
        link = _link(section, link_id, findings, resolve)
        if link is not None:
            links[link_id] = link
    return list(links.values())


def known(names: Iterable[str]) -> str:
    """A short list of names for a message."""
    listed = list(names)
    shown = ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")
    return shown or "none"


def reference_text(node: Node, findings: Findings, rule: str) -> str | None:
    """The text of a reference without stray white space, or None after a finding."""
    if node.value is None or isinstance(node.value, (dict, list)):
        findings.error(
            rule,
            f"a reference to a connection point is {node.kind}",
            node.place,
            "write 'vnf_id:point' or 'sap'",
        )
        return None
    text = node.text.strip()
    if text != node.text:
        findings.warning(rule, f"white space around the reference {node.text!r}", node.place)
    return text


def _link(section: Section, link_id: str, findings: Findings, resolve: Resolve) -> VirtualLink | None:
    rule = "evt_invalid_vlink"
    kind = _connectivity(section, link_id, findings)
    place = section.place_of("connection_points_reference")
    nodes = section.items("connection_points_reference")
    references: list[Reference] = []
    sound = True
    for node in nodes:
        text = reference_text(node, findings, rule)
        reference = resolve(text, node.place) if text is not None else None
        if reference is None:
            sound = False
        elif reference in references:
            if kind != "E-Line":
                message = f"'{text}' is named twice in {kind} '{link_id}'"
                findings.warning(rule, message, node.place)
            else:
                findings.error(rule, f"both ends of E-Line '{link_id}' are '{text}'", node.place)
                sound = False
        else:
            references.append(reference)
    if kind == "E-Line" and len(nodes) != 2:
        hint = "make it an E-LAN" if len(nodes) > 2 else ""
        findings.error(rule, f"E-Line '{link_id}' has {len(nodes)} ends, not two", place, hint)
        sound = False
    elif kind is not None and not nodes:
        findings.error(rule, f"{kind} '{link_id}' joins nothing", place)
        sound = False
    if kind is None or not sound:
        return None
    root = _root(section, references, resolve) if kind == "E-Tree" else None
    return VirtualLink(link_id, kind, tuple(references), root=root, place=section.place)


def _connectivity(section: Section, link_id: str, findings: Findings) -> Connectivity | None:
    written = section.text("connectivity_type", required="error")
    if written is None:
        return None
    kind = _CONNECTIVITY.get(written.lower().replace("-", "").replace("_", ""))
    place = section.place_of("connectivity_type")
    if kind is None:
        near = did_you_mean(written, _CONNECTIVITY.values()).strip(" ()")
        message = f"connectivity_type '{written}' of link '{link_id}' is none of E-Line, E-LAN, E-Tree"
        findings.error("evt_invalid_vlink", message, place, near)
    elif kind != written:
        findings.warning("evt_invalid_vlink", f"connectivity_type '{written}' is read as {kind}", place)
    return kind


def _root(section: Section, references: list[Reference], resolve: Resolve) -> Reference:
    """The root of an E-Tree: the reference that `root_requirement` names, else the first."""
    named = section.text("root_requirement")
    for reference in references:
        if named is not None and named in (str(reference), reference.point):
            return reference
    return references[0]


def _point_type(section: Section, point_id: str) -> PointType:
    written = section.text("type")
    if written is None or written == "interface":
        return "management" if point_id.rpartition(":")[2] in _MANAGEMENT_IDS else "external"
    if written not in _TYPES:
        near = did_you_mean(written, _TYPES).strip(" ()")
        message = f"type '{written}' of connection point '{point_id}' is none of {', '.join(_TYPES)}"
        section.say("warning", message, section.place_of("type"), near)
    return _TYPES.get(written, "external")


def _addresses(section: Section) -> Iterable[IPv4Interface | IPv6Interface]:
    for key in ("address", "addresses", "ip"):
        node = section.node_of(key)
        if node is None:
            continue
        for item in node.value if isinstance(node.value, list) else [node]:
            hint = "write it with its prefix length, like 10.0.0.1/24"
            try:
                if "/" not in item.text:
                    raise ValueError("no prefix length")
                yield ip_interface(item.text.strip())
            except ValueError:
                section.say("error", f"{item.kind} is not an address with a prefix length", item.place, hint)


def _mac(section: Section) -> str | None:
    mac = section.text("mac")
    if mac is None:
        return None
    mac = mac.lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        section.say("error", f"'{mac}' is not the MAC address of one interface", section.place_of("mac"))
        return None
    return mac


def _line(place: Place | None) -> int:
    return place.line if place is not None else 0
