"""Connection points, as NSDs, VNFDs and units alike write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from itertools import islice

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import Node
from pytest_sonemu.descriptors.model import ConnectionPoint, PointType, Protocol, PublishedPort
from pytest_sonemu.descriptors.rule_types import Level
from pytest_sonemu.descriptors.section import Section

# A service end point of 5GTANGO is where users of the VNF are served.
_TYPES: dict[str, PointType] = {
    "internal": "internal",
    "external": "external",
    "management": "management",
    "serviceendpoint": "external",
}
# Before 2017 a point has `type: interface` and nothing says which are for management; their names do.
_MANAGEMENT_IDS = frozenset({"mgmt", "management"})
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PointRules:
    """How faults in a list of points are named, and how grave they are."""

    shape: str
    level: Level = "error"


def read_points(
    owner: Section,
    findings: Findings,
    what: str,
    rules: PointRules,
    *,
    plain_id: Callable[[str], str] = str,
) -> dict[str, ConnectionPoint]:
    """The connection points of an NSD, VNFD or unit by the id that is written; `plain_id` shortens it."""
    points: dict[str, ConnectionPoint] = {}
    for section in _sections(owner, what, rules):
        point_id = section.text("id", required=rules.level, shape=rules.shape)
        if point_id is None:
            continue
        place = section.place_of("id")
        if point_id in points:
            message = f"connection point '{point_id}' of {what} is declared twice"
            first = points[point_id].place
            hint = f"first in line {first.line}" if first is not None else ""
            findings.say(rules.level, "evt_duplicate_cpoint", message, place, hint)
            continue
        points[point_id] = ConnectionPoint(
            id=plain_id(point_id),
            type=_point_type(section, plain_id(point_id)),
            addresses=tuple(_addresses(section, findings)),
            mac=_mac(section, findings),
            place=place,
        )
    return points


def read_published(owner: Section, findings: Findings) -> Iterator[PublishedPort]:
    """The ports that the points of a VNFD or unit publish: `publish: {80: 8080}`, the container's first."""
    points = owner.node_of("connection_points")
    taken: set[tuple[int, Protocol]] = set()
    for item in points.value if points is not None and isinstance(points.value, list) else ():
        table = item.value.get("publish") if isinstance(item.value, dict) else None
        if table is None or not isinstance(table.value, dict):
            continue
        for key, node in table.value.items():
            port = _port(key)
            outer = None if node.value is None else _port(node.text)
            if port is None or (node.value is not None and outer is None):
                message = f"'{key}: {node.text}' is no pair of ports; it is not published"
                findings.warning("sonemu_publish", message, table.key_place(key), "write it like {80: 8080}")
                continue
            if port in taken:
                message = f"port {key} is published twice; the first is taken"
                findings.warning("sonemu_publish", message, table.key_place(key))
                continue
            taken.add(port)
            yield PublishedPort(port[0], outer[0] if outer else None, port[1], table.key_place(key))


def known(names: Iterable[str]) -> str:
    """A short list of names for a message."""
    listed = list(islice(names, 11))
    return (", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")) or "none"


def _sections(owner: Section, what: str, rules: PointRules) -> list[Section]:
    key = "connection_points"
    return owner.sections(key, f"a connection point of {what}", level=rules.level, shape=rules.shape)


def _point_type(section: Section, point_id: str) -> PointType:
    node = section.node_of("type")
    written = node.text.strip() if node is not None else ""
    if written in ("", "interface"):
        return "management" if point_id.rpartition(":")[2] in _MANAGEMENT_IDS else "external"
    return _TYPES.get(written, "external")


def _addresses(section: Section, findings: Findings) -> Iterator[IPv4Interface | IPv6Interface]:
    for key in ("address", "addresses", "ip"):
        node = section.node_of(key)
        if node is None:
            continue
        for item in node.value if isinstance(node.value, list) else [node]:
            address = _address(item, findings)
            if address is not None:
                yield address


def _address(node: Node, findings: Findings) -> IPv4Interface | IPv6Interface | None:
    rule, text = "sonemu_address", node.text.strip()
    try:
        if isinstance(node.value, str) and "/" not in text:
            bare = ip_address(text)
            assumed = ip_interface(f"{bare}/{24 if bare.version == 4 else 64}")
            message = f"'{text}' has no prefix length; {assumed} is taken"
            findings.warning(rule, message, node.place, f"write {assumed}")
            return assumed
        if not isinstance(node.value, str):
            raise ValueError(node.kind)
        return ip_interface(text)
    except ValueError:
        hint = "write it with its prefix length, like 10.0.0.1/24"
        findings.error(rule, f"{node.kind} is not an address with a prefix length", node.place, hint)
        return None


def _mac(section: Section, findings: Findings) -> str | None:
    node = section.node_of("mac")
    if node is None:
        return None
    mac = node.text.strip().lower().replace("-", ":")
    if not isinstance(node.value, str) or not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        message = f"{node.kind} is not the MAC address of one interface"
        findings.error("sonemu_address", message, node.place, "write it like 02:00:00:00:00:01")
        return None
    return mac


def _port(text: str) -> tuple[int, Protocol] | None:
    match = _PORT.fullmatch(text.strip())
    if match is None or not 1 <= int(match[1]) <= 65535:
        return None
    return int(match[1]), "udp" if (match[2] or "").lower() == "udp" else "tcp"
