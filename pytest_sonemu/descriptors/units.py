"""The deployment units of a VNFD: VDUs, and 5GTANGO's CDUs. Each becomes one container."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_sonemu.descriptors.archive import PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.images import read_cdu_image, read_vdu_image
from pytest_sonemu.descriptors.model import Unit
from pytest_sonemu.descriptors.points import PointRules, read_points, read_published
from pytest_sonemu.descriptors.resources import read_resources
from pytest_sonemu.descriptors.rule_types import Level
from pytest_sonemu.descriptors.section import Section

VDUS, CDUS, PDUS = (
    "virtual_deployment_units",
    "cloudnative_deployment_units",
    "physical_deployment_units",
)
_BAD, _POINTS = "evt_vnfd_itg_badsection_vdus", "evt_vnfd_itg_vdu_badsection_cpoints"


def read_units(
    section: Section, vnf: str, files: PackageFiles, findings: Findings, *, cores: int | None = None
) -> dict[str, Unit]:
    """The units of a VNFD by id. Without any that can run there is a finding that says why."""
    if section.node_of(PDUS) is not None:
        message = f"VNF '{vnf}' has {PDUS}: machines of iron cannot be run in a container"
        hint = "describe it as a VDU with a docker image"
        findings.error("sonemu_units", message, section.node.key_place(PDUS), hint)
    vdus = section.sections(VDUS, "a VDU", shape=_BAD)
    cdus = section.sections(CDUS, "a CDU", shape=_BAD)
    if not _written(section, (VDUS, CDUS, PDUS)):
        key = next((key for key in (VDUS, CDUS) if key in section), None)
        place = section.node.key_place(key) if key else section.place
        hint = ""
        if "deployment_flavours" in section:
            hint = "flavours are not chosen from: write the units of one at the top"
        message = f"VNF '{vnf}' has no '{key or VDUS}': there is nothing to run"
        findings.error(_BAD, message, place, hint, f"-{VDUS}")
    units: dict[str, Unit] = {}
    # Faults in the points of a lone unit stop nothing: its interfaces are the VNFD's points.
    level: Level = "error" if len(vdus) + len(cdus) > 1 else "warning"
    for unit_section, cloud in [*((vdu, False) for vdu in vdus), *((cdu, True) for cdu in cdus)]:
        unit = _unit(unit_section, vnf, files, findings, cloud=cloud, level=level, cores=cores)
        if unit is not None and unit.id in units:
            first = units[unit.id].place
            hint = f"first in line {first.line}" if first else ""
            message = f"unit '{unit.id}' of VNF '{vnf}' is declared twice"
            findings.error(_BAD, message, unit_section.place_of("id"), hint)
        elif unit is not None:
            units[unit.id] = unit
    return units


def _written(section: Section, keys: tuple[str, ...]) -> bool:
    """Whether any of these lists has something in it, or is no list at all (which has been said)."""
    nodes = [section.node_of(key) for key in keys]
    return any(node is not None and (node.value or not isinstance(node.value, list)) for node in nodes)


def _unit(
    section: Section,
    vnf: str,
    files: PackageFiles,
    findings: Findings,
    *,
    cloud: bool,
    level: Level,
    cores: int | None,
) -> Unit | None:
    unit_id = section.text("id", required="error", shape=_BAD)
    what = f"{'CDU' if cloud else 'VDU'} '{unit_id or '?'}'"
    image = (read_cdu_image if cloud else read_vdu_image)(section, vnf, files, findings)
    resources = read_resources(section, what, cores=cores)
    points = read_points(section, findings, what, PointRules(_POINTS, level))
    published = tuple(read_published(section, findings))
    environment = _environment(section, what, findings) if cloud else {}
    if unit_id is None:
        return None
    return Unit(
        id=unit_id,
        image=image.reference,
        image_format=image.format,
        context=image.context,
        resources=resources,
        connection_points=tuple(points.values()),
        environment=environment,
        publish=published,
        place=section.place,
    )


def _environment(section: Section, what: str, findings: Findings) -> Mapping[str, str]:
    """`parameters: {env: {NAME: value}}` of a CDU."""
    parameters = section.section("parameters", f"parameters of {what}")
    table = parameters.node_of("env") if parameters is not None else None
    if table is None or not isinstance(table.value, dict):
        return {}
    environment: dict[str, str] = {}
    for name, node in table.value.items():
        if isinstance(node.value, (dict, list)) or not name or "=" in name or "\0" in name:
            message = f"variable '{name}' of {what} is {node.kind}; it is not set"
            findings.warning("sonemu_environment", message, table.key_place(name))
        else:
            environment[name] = "" if node.value is None else node.text
    return environment
