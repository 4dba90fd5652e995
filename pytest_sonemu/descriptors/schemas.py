"""Judging descriptors by the published schema of the vocabulary they are written in.

Three vocabularies are told apart by what is written: 5GTANGO's (`descriptor_schema`, CDUs), that of
2016 (`type: interface`, or `ns_group` and the like), and SONATA's of 2017, which is the published one.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_sonemu.descriptors import schema_son, schema_tango
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import Node
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.descriptors.rules import at_least
from pytest_sonemu.descriptors.shapes import Complaint, Table

_TANGO_WORDS = ("descriptor_schema", "cloudnative_deployment_units", "physical_deployment_units")
# What no schema has, but emulators of these packages have always read, and so does this one.
_EXTENSIONS = frozenset({"address", "addresses", "mac", "ip", "port", "ports", "publish", "vnf_group"})


def check_manifest(node: Node, findings: Findings) -> None:
    """The manifest of a `.son` against its schema."""
    first = _key(node, ("package_group", "package_name"))
    _check(
        node,
        schema_son.OLD_MANIFESTS["package"] if first else schema_son.MANIFEST,
        "evt_pd_stx_invalid",
        [first] if first else [],
        findings,
    )


def check_napd(node: Node, findings: Findings) -> None:
    """The NAPD of a `.tgo` against its schema."""
    _check(node, schema_tango.NAPD, "evt_pd_stx_invalid", [], findings)


def check_nsd(node: Node, findings: Findings, *, tango: bool = False) -> None:
    """An NSD against the schema of its vocabulary; `tango`: it comes from a 5GTANGO package."""
    rule = "evt_nsd_stx_invalid"
    if tango or _key(node, _TANGO_WORDS[:1]):
        _check(node, schema_tango.NSD, rule, [], findings)
        return
    first = _key(node, ("ns_group", "ns_name"))
    old = [*([first] if first else []), *_old_points(node)]
    groups = node.value.get("network_functions")
    for entry in groups.value if groups is not None and isinstance(groups.value, list) else ():
        if isinstance(entry.value, dict) and "vnf_group" in entry.value:
            old.append(entry.key_place("vnf_group"))
    table = schema_son.OLD_NSDS["ns" if first else ""] if old else schema_son.NSD
    _check(node, table, rule, old, findings)


def check_vnfd(node: Node, findings: Findings, *, tango: bool = False) -> None:
    """A VNFD against the schema of its vocabulary; `tango`: it comes from a 5GTANGO package."""
    rule = "evt_vnfd_stx_invalid"
    if tango or _key(node, _TANGO_WORDS):
        _check(node, schema_tango.VNFD, rule, [], findings)
        return
    first = _key(node, ("vnf_group", "vnf_name"))
    old = [*([first] if first else []), *_old_points(node)]
    units = node.value.get("virtual_deployment_units")
    for unit in units.value if units is not None and isinstance(units.value, list) else ():
        if isinstance(unit.value, dict):
            old += _old_points(unit)
    table = schema_son.OLD_VNFDS["vnf" if first else ""] if old else schema_son.VNFD
    _check(node, table, rule, old, findings)


def _check(node: Node, table: Table, rule: str, old: list[Place], findings: Findings) -> None:
    if old:
        place = min(old, key=lambda found: (found.line, found.column))
        message = "written in the vocabulary of 2016, which the published schema no longer has"
        findings.info("sonemu_old_vocabulary", message, place, "other tools may refuse it", "old")
    for complaint in table.complaints(node, table.called):
        _say(complaint, rule, findings)
        if findings.dropped:
            break


def _say(complaint: Complaint, rule: str, findings: Findings) -> None:
    """A complaint as a finding, unless its place has one already that is as grave."""
    message, hint, about = complaint.message, complaint.hint, complaint.about
    if about.startswith("?"):
        rule = "sonemu_unknown_key"
    elif about.startswith("+") and about[1:] in _EXTENSIONS:
        message = f"{message}: the published schema has none, but it is read"
        hint = ""
    level = findings.levels.of(rule, "warning", blocks=False)
    said = findings.gravest(complaint.place, about)
    if level == "off" or (said is not None and at_least(said, level)):
        return
    findings.warning(rule, message, complaint.place, hint, about)


def _key(node: Node, keys: tuple[str, ...]) -> Place | None:
    return next((node.key_place(key) for key in keys if key in node.value), None)


def _old_points(owner: Node) -> Iterator[Place]:
    points = owner.value.get("connection_points")
    for point in points.value if points is not None and isinstance(points.value, list) else ():
        kind = point.value.get("type") if isinstance(point.value, dict) else None
        if kind is not None and kind.value == "interface":
            yield kind.place
