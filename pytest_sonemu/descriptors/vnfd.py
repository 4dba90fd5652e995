"""VNFDs of 2016 and 2017 into the neutral model."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_sonemu.descriptors.archive import PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import load
from pytest_sonemu.descriptors.manifest import Listed, member_name
from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    NetworkFunction,
    Place,
    Reference,
    Unit,
    VirtualLink,
)
from pytest_sonemu.descriptors.points import known, read_links, read_points
from pytest_sonemu.descriptors.resources import read_resources
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.errors import did_you_mean

SYNTAX = "evt_vnfd_stx_invalid"
IMAGE = "evt_vnfd_itg_vdu_image_not_found"
_KNOWN = frozenset({
    "descriptor_version", "schema", "vendor", "name", "version", "author", "description",
    "created_at", "updated_at", "uuid", "status", "signature", "vnf_group", "vnf_name",
    "vnf_version", "vnf_author", "vnf_description", "virtual_deployment_units", "connection_points",
    "virtual_links", "function_specific_managers", "monitoring_rules", "deployment_flavours",
    "lifecycle_events", "licenses", "licences", "scale_in_out",
})  # fmt: skip
_UNIT = frozenset({
    "id", "description", "vm_image", "vm_image_format", "vm_image_md5", "resource_requirements",
    "connection_points", "monitoring_parameters", "scale_in_out", "user_data", "vdu_reference",
})  # fmt: skip
_FOREIGN_UNITS = ("cloudnative_deployment_units", "physical_deployment_units")
_NOT_EMULATED = ("function_specific_managers", "monitoring_rules", "lifecycle_events")


@dataclass(frozen=True, slots=True)
class Identity:
    """What an NSD finds a VNFD by."""

    vendor: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.vendor or '?'}/{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class FunctionDescriptor:
    """A VNFD whose identity is known and whose content is not read yet."""

    identity: Identity
    section: Section
    place: Place


def open_vnfd(listed: Listed, files: PackageFiles, findings: Findings) -> FunctionDescriptor | None:
    """The VNFD in a member, or None after findings."""
    node = load(
        files[listed.member], files.name_of(listed.member), findings, rule="evt_function_invalid_descriptor"
    )
    if node is None:
        return None
    section = Section.of(node, findings, SYNTAX, "the VNFD")
    if section is None:
        return None
    name = section.text("name", "vnf_name", required="error", exact=True)
    if name is None:
        return None
    identity = Identity(
        section.text("vendor", "vnf_group", required="warning", exact=True) or "",
        name,
        section.text("version", "vnf_version", required="warning", exact=True) or "",
    )
    return FunctionDescriptor(identity, section, section.place)


def read_vnfd(descriptor: FunctionDescriptor, files: PackageFiles, findings: Findings) -> NetworkFunction:
    """The VNF that a VNFD describes, with the VNFD's name as its id. Faults are findings."""
    section, identity = descriptor.section, descriptor.identity
    section.only(_KNOWN.union(_FOREIGN_UNITS))
    foreign = [key for key in _FOREIGN_UNITS if key in section]
    for key in foreign:
        message = f"'{key}' (5GTANGO) cannot be deployed: only virtual_deployment_units are read yet"
        findings.error("evt_vnfd_itg_badsection_vdus", message, section.node.key_place(key))
    points = tuple(read_points(section, findings, "the VNF").values())
    unit_sections = section.sections("virtual_deployment_units", "a VDU")
    if not unit_sections and not foreign:
        message = f"VNF '{identity.name}' has no virtual_deployment_units: there is nothing to run"
        findings.error("evt_vnfd_itg_badsection_vdus", message, section.place_of("virtual_deployment_units"))
    units: dict[str, Unit] = {}
    for unit_section in unit_sections:
        unit = _unit(unit_section, identity, files, findings)
        if unit is None:
            continue
        if unit.id in units:
            message = f"VDU '{unit.id}' is declared twice"
            findings.error("evt_vnfd_itg_badsection_vdus", message, unit_section.place_of("id"))
        units[unit.id] = unit
    links = _internal_links(section, points, units, findings)
    single = len(units) == 1
    return NetworkFunction(
        identity.name,
        interfaces=(),
        connection_points=points,
        # The VNFD's points are the interfaces of a VNF of one unit; what its VDU calls them is unseen.
        units=tuple(_with_points(unit, points) if single else unit for unit in units.values()),
        internal_links=() if single else tuple(links),
        vendor=identity.vendor,
        name=identity.name,
        version=identity.version,
        place=descriptor.place,
    )


def not_emulated(section: Section, name: str) -> list[str]:
    return [f"{key} of {name}" for key in _NOT_EMULATED if section.node_of(key) is not None]


def _with_points(unit: Unit, points: tuple[ConnectionPoint, ...]) -> Unit:
    return Unit(
        id=unit.id,
        image=unit.image,
        image_format=unit.image_format,
        context=unit.context,
        resources=unit.resources,
        connection_points=points,
        place=unit.place,
    )


def _unit(section: Section, identity: Identity, files: PackageFiles, findings: Findings) -> Unit | None:
    unit_id = section.text("id", required="error")
    if unit_id is None:
        return None
    section.only(_UNIT)
    what = f"VDU '{unit_id}'"
    image_format = (section.text("vm_image_format") or "docker").lower()
    image, context = _image(section, identity, image_format, files, findings)
    return Unit(
        id=unit_id,
        image=image,
        image_format=image_format,
        context=context,
        resources=read_resources(section, what),
        connection_points=tuple(read_points(section, findings, what).values()),
        place=section.place,
    )


def _image(
    section: Section, identity: Identity, image_format: str, files: PackageFiles, findings: Findings
) -> tuple[str | None, str | None]:
    """(image, build context) of a VDU. Any other than a docker image may still run on a stand-in."""
    image = section.text("vm_image")
    stand_in = f"choose an image for the VNF '{identity.name}' in the map 'images' or in sonemu.yml"
    if image is None:
        findings.warning(IMAGE, f"VDU of VNF '{identity.name}' names no image", section.place, stand_in)
        return None, None
    place = section.place_of("vm_image")
    if image_format != "docker":
        message = f"VNF '{identity.name}' has an image of format {image_format}; only docker images run here"
        findings.warning("sonemu_image_format", message, section.place_of("vm_image_format"), stand_in)
        return image, None
    if not image.startswith("file://"):
        if "://" in image:
            message = f"'{image}' is an address, not the name of a docker image"
            findings.warning("sonemu_image_name", message, place, stand_in)
        return image, None
    member = member_name(image)
    folder, _, name = member.rpartition("/")
    if member not in files:
        near = did_you_mean(member, files).strip(" ()")
        findings.error(IMAGE, f"'{image}' of VNF '{identity.name}' is not in the package", place, near)
        return None, None
    if name != "Dockerfile" or not folder:
        message = f"'{image}' of VNF '{identity.name}' is not a Dockerfile in a folder of its own"
        findings.error(
            "sonemu_image_name", message, place, "write it like file:///docker_files/fw/Dockerfile"
        )
        return None, None
    return None, folder


def _internal_links(
    section: Section, points: tuple[ConnectionPoint, ...], units: dict[str, Unit], findings: Findings
) -> list[VirtualLink]:
    """The links inside a VNF. In one of a single unit they are only checked: nothing runs between units."""
    own = {point.id for point in points}
    # Before 2017 a VDU's point is declared as 'vdu01:eth0', whatever the VDU's own id is.
    written = {point.id: unit.id for unit in units.values() for point in unit.connection_points}
    allowed = (
        own
        | set(written)
        | {f"{unit.id}:{point.id}" for unit in units.values() for point in unit.connection_points}
    )
    report = findings.error if len(units) > 1 else findings.warning

    def resolve(text: str, place: Place) -> Reference | None:
        if text in own:
            return Reference(None, text, place)
        if text in written:
            return Reference(written[text], text, place)
        if text in allowed:
            unit, _, point = text.partition(":")
            return Reference(unit, point, place)
        hint = did_you_mean(text, sorted(allowed)).strip(" ()") or f"there are: {known(sorted(allowed))}"
        report(
            "evt_vnfd_itg_undefined_cpoint",
            f"undefined connection point '{text}' in a link of the VNF",
            place,
            hint,
        )
        return None

    if len(units) > 1:
        return read_links(section, findings, "the VNF", resolve)
    ignorable = Findings()
    links = read_links(section, ignorable, "the VNF", resolve)
    for finding in ignorable:
        findings.warning(finding.rule, finding.message, finding.place, finding.hint)
    return links
