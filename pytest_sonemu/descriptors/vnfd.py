"""VNFDs of all vocabularies into the neutral model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pytest_sonemu.descriptors.archive import PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.interface_names import interface_name
from pytest_sonemu.descriptors.links import LinkReader, LinksRead
from pytest_sonemu.descriptors.located import load_member
from pytest_sonemu.descriptors.manifest import Listed
from pytest_sonemu.descriptors.model import ConnectionPoint, NetworkFunction, Place, Reference, Unit
from pytest_sonemu.descriptors.points import PointRules, known, read_points, read_published
from pytest_sonemu.descriptors.rule_types import Level
from pytest_sonemu.descriptors.schemas import check_vnfd
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.descriptors.units import read_units

SYNTAX = "evt_vnfd_stx_invalid"
_NOT_EMULATED = (
    "function_specific_managers",
    "monitoring_rules",
    "lifecycle_events",
    "deployment_flavours",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What an NSD finds a VNFD by."""

    vendor: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.vendor or '?'}/{self.name} {self.version}".rstrip()


@dataclass(frozen=True, slots=True)
class FunctionDescriptor:
    """A VNFD whose identity is known and whose content is not read yet."""

    identity: Identity
    section: Section
    place: Place
    tango: bool = False

    def check_schema(self, findings: Findings) -> None:
        """Judges it by its schema: after reading, so that what stops a start is said as such."""
        check_vnfd(self.section.node, findings, tango=self.tango)


def open_vnfd(listed: Listed, files: PackageFiles, findings: Findings) -> FunctionDescriptor | None:
    """The VNFD in a member, judged by its schema; None after findings if it has no identity."""
    node = load_member(files, listed.member, findings, "evt_function_invalid_descriptor")
    if node is None:
        return None
    section = Section.of(node, findings, SYNTAX, "the VNFD", shape="evt_invalid_descriptor")
    if section is None:
        return None
    if "network_functions" in section and "virtual_deployment_units" not in section:
        message = f"{listed.member} is listed as a VNFD, but describes a service"
        findings.error("evt_invalid_descriptor", message, section.node.key_place("network_functions"))
        return None
    name = section.text("name", "vnf_name", required="error")
    if name is None:
        check_vnfd(node, findings, tango=listed.tango)
        return None
    identity = Identity(
        section.text("vendor", "vnf_group") or "",
        name,
        section.text("version", "vnf_version") or "",
    )
    return FunctionDescriptor(identity, section, section.place, listed.tango)


def read_vnfd(
    descriptor: FunctionDescriptor, files: PackageFiles, findings: Findings, *, cores: int | None = None
) -> NetworkFunction:
    """The VNF that a VNFD describes, with the VNFD's name as its id. Faults are findings."""
    section, identity = descriptor.section, descriptor.identity
    points = _points(section, f"VNF '{identity.name}'", findings)
    units = read_units(section, identity.name, files, findings, cores=cores)
    single = len(units) <= 1
    read = _internal_links(section, points, units, findings)
    _check_points(section, read, points, units, findings)
    published = tuple(read_published(section, findings))
    for key in _NOT_EMULATED:
        if section.node_of(key) is not None:
            message = f"{key} of VNF '{identity.name}': kept, but not acted upon"
            findings.info("sonemu_not_emulated", message, section.node.key_place(key))
    if single:
        points = _with_static(points, units, read)
    if single:
        _check_names(f"VNF '{identity.name}'", points.values(), findings)
    for unit in units.values() if not single else ():
        _check_names(f"unit '{unit.id}'", unit.connection_points, findings)
    # The VNFD's points are the interfaces of a VNF of one unit; what its unit calls them is unseen.
    made = [
        replace(unit, connection_points=tuple(points.values()), publish=(*unit.publish, *published))
        if single
        else unit
        for unit in units.values()
    ]
    return NetworkFunction(
        identity.name,
        interfaces=(),
        connection_points=tuple(points.values()),
        units=tuple(made),
        internal_links=() if single else tuple(read.links),
        vendor=identity.vendor,
        name=identity.name,
        version=identity.version,
        place=descriptor.place,
    )


def _points(section: Section, what: str, findings: Findings) -> dict[str, ConnectionPoint]:
    """The VNFD's points by id. In 2016 they are written `vnf:mgmt`; here it is called `mgmt`."""
    rules = PointRules("evt_vnfd_itg_badsection_cpoints")
    listed = section.node_of("connection_points")
    written = {
        node.value["id"].text.strip()
        for node in (listed.value if listed is not None and isinstance(listed.value, list) else ())
        if isinstance(node.value, dict) and "id" in node.value
    }

    def plain_id(text: str) -> str:
        short = text.removeprefix("vnf:")
        return text if short in written or not short else short

    read = read_points(section, findings, what, rules, plain_id=plain_id)
    return {point.id: point for point in read.values()}


def not_emulated(section: Section, name: str) -> list[str]:
    return [f"{key} of {name}" for key in _NOT_EMULATED if section.node_of(key) is not None]


def _internal_links(
    section: Section, points: Mapping[str, ConnectionPoint], units: Mapping[str, Unit], findings: Findings
) -> LinksRead:
    """The links inside a VNF. In one of a single unit they are only checked: nothing runs between units."""
    # Before 2017 a VDU's point is declared as 'vdu01:eth0', whatever the VDU's own id is.
    ids = Counter(point.id for unit in units.values() for point in unit.connection_points)
    written = {
        point.id: unit.id for unit in units.values() for point in unit.connection_points if ids[point.id] == 1
    }
    own = {unit.id: {point.id for point in unit.connection_points} for unit in units.values()}
    names = [*points, *(f"{unit_id}:{name}" for unit_id, found in own.items() for name in found)]
    level: Level = "error" if len(units) > 1 else "warning"

    def resolve(text: str, place: Place) -> Reference | None:
        unit, colon, point = text.partition(":")
        for name in (text, text.removeprefix("vnf:")):
            if name in points:
                return Reference(None, name, place)
        if colon and point in own.get(unit, ()):
            return Reference(unit, point, place)
        if text in written:
            return Reference(written[text], text, place)
        rule = "evt_vnfd_itg_undefined_cpoint" if colon else "evt_vnfd_itg_undeclared_cpoint"
        if text.count(":") > 1:
            rule = "evt_invalid_cpoint_ref"
        hint = findings.near(text, names) or f"there are: {known(names)}"
        message = f"undefined connection point '{text}' in a link of the VNF"
        findings.say(level, rule, message, place, hint)
        return None

    return LinkReader(findings, "the VNF", "evt_vnfd_itg_badsection_vlinks", resolve, level).read(section)


def _check_points(
    section: Section,
    read: LinksRead,
    points: Mapping[str, ConnectionPoint],
    units: Mapping[str, Unit],
    findings: Findings,
) -> None:
    """Points that the VNFD's links leave out, where it has links, or needs them."""
    if section.node_of("virtual_links") is None or (not read.ids and not read.written):
        if len(units) > 1:
            message = "the VNF has several units and no virtual links: they reach nothing"
            hint = "join their points to each other and to the VNFD's points"
            findings.warning("evt_vnfd_top_topgraph_failed", message, section.place, hint, "-virtual_links")
        return
    if not read.whole:
        return  # what a faulty link would have joined is not known
    linked = {(end.function, end.point) for end in read.written}
    loose = [point for name, point in points.items() if (None, name) not in linked]
    loose += [
        point
        for unit in units.values()
        for point in unit.connection_points
        if (unit.id, point.id) not in linked
    ]
    for point in loose:
        message = f"connection point '{point.id}' is in no virtual link of its VNFD"
        findings.warning("evt_vnfd_itg_unused_cpoint", message, point.place or section.place)


def _check_names(owner: str, points: Iterable[ConnectionPoint], findings: Findings) -> None:
    """Ids that the kernel would refuse as the name of an interface, and those that get the same name."""
    rule = "sonemu_interface_name"
    names: dict[str, ConnectionPoint] = {}
    for point in points:
        name, place = interface_name(point.id), point.place or Place("")
        other = names.setdefault(name, point)
        if other is not point:
            first = f" (line {other.place.line})" if other.place else ""
            message = f"points '{other.id}'{first} and '{point.id}' of {owner} would both be '{name}'"
            findings.error(rule, message, place, "rename one of them")
        elif name != point.id:
            message = f"'{point.id}' of {owner} cannot name an interface; inside it is '{name}'"
            findings.warning(rule, message, place, "up to 15 bytes without '/', ':' and white space")


def _with_static(
    points: Mapping[str, ConnectionPoint], units: Mapping[str, Unit], read: LinksRead
) -> dict[str, ConnectionPoint]:
    """The VNFD's points with the static addresses that a lone unit has at the points linked to them."""
    inner = {
        (unit.id, point.id): point
        for unit in units.values()
        for point in unit.connection_points
        if point.addresses or point.mac
    }
    result = dict(points)
    for link in read.links if inner else ():
        outside = [end.point for end in link.references if end.function is None]
        inside = [inner.get((end.function or "", end.point)) for end in link.references if end.function]
        if len(outside) == 1 and len(inside) == 1 and inside[0] is not None:
            point, static = result[outside[0]], inside[0]
            result[outside[0]] = replace(
                point, addresses=point.addresses or static.addresses, mac=point.mac or static.mac
            )
    return result
