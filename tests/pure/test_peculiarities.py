"""What real packages are like: each peculiarity gets the verdict that its author would call right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu.descriptors.model import Reference
from pytest_sonemu.descriptors.read import Verdict, check_package
from tests.pure.package_writing import MANIFEST, NSD, as_yaml, members, nsd, vnfd, write_son

LINKS = {"l1": ["input", "fw:input"], "l2": ["fw:output", "output"]}
Change = Callable[[dict[str, Any], dict[str, Any]], object]
VNFD = "function_descriptors/vnfd1.yml"


def check(tmp_path: Path, content: dict[str, bytes]) -> Verdict:
    return check_package(write_son(tmp_path / "x.son", content))


def changed(tmp_path: Path, change: Change) -> Verdict:
    """The verdict on a firewall between two SAPs after `change(nsd, vnfd)`."""
    service, function = nsd({"fw": "fw"}, LINKS), vnfd("fw")
    change(service, function)
    return check(tmp_path, members(service, function))


def said(verdict: Verdict) -> list[str]:
    return [f"{finding.level}[{finding.rule}] {finding.message}" for finding in verdict.findings]


def unit(function: dict[str, Any]) -> dict[str, Any]:
    found = function["virtual_deployment_units"][0]
    assert isinstance(found, dict)
    return found


def graph(*stations: str, **more: Any) -> list[dict[str, Any]]:
    points = [{"connection_point_ref": text, "position": n} for n, text in enumerate(stations, start=1)]
    return [
        {"fg_id": "fg", "network_forwarding_paths": [{"fp_id": "fp", "connection_points": points}], **more}
    ]


def becomes_a_vnfd(service: dict[str, Any], _function: dict[str, Any]) -> None:
    service.clear()
    service.update(vnfd("x"))


# (what it is, the change, a part of each thing said)
STARTED: list[tuple[str, Change, list[str]]] = [
    ("no forwarding graph", lambda s, f: s.pop("forwarding_graphs", None), []),
    ("an empty one", lambda s, f: s.update(forwarding_graphs=[]), []),
    ("null sections", lambda s, f: s.update(forwarding_graphs=None, author=None),
     ["'author' of the NSD is nothing", "'forwarding_graphs' of the NSD is nothing"]),
    ("a graph that names an unknown link",
     lambda s, f: s.update(forwarding_graphs=graph("input", "fw:input", constituent_virtual_links=["l-1"])),
     ["names virtual link 'l-1', which is not there", "in no forwarding graph, but set up all the same"]),
    ("a graph without its optional parts",
     lambda s, f: s.update(forwarding_graphs=[{"fg_id": "fg"}]), []),
    ("a path without links joining it",
     lambda s, f: s.update(forwarding_graphs=graph("input", "fw:output")), ["no virtual link joins them"]),
    ("a SAP without a colon and a reference with one",
     lambda s, f: s["virtual_links"][0].update(connection_points_reference=["ns:input", "fw:input"]), []),
    ("white space in a reference",
     lambda s, f: s["virtual_links"][1].update(connection_points_reference=["fw:output   ", "output"]),
     ["white space around the reference 'fw:output   '"]),
    ("a SAP without type", lambda s, f: s["connection_points"][0].pop("type"),
     ["a connection point has no 'type'"]),
    ("a SAP of the type that was", lambda s, f: s["connection_points"][0].update(type="interface"),
     ["written in the vocabulary of 2016"]),
    ("a SAP in no link", lambda s, f: s["connection_points"].append(
        {"id": "spare", "interface": "ipv4", "type": "external"}), ["SAP 'spare' is in no virtual link"]),
    ("a point in no link", lambda s, f: f["connection_points"].append(
        {"id": "spare", "interface": "ipv4", "type": "external"}), ["'fw:spare' is in no virtual link"]),
    ("a link of SAPs only", lambda s, f: s["virtual_links"].append(
        {"id": "back", "connectivity_type": "E-Line", "connection_points_reference": ["output", "input"]}),
     ["joins SAPs only"]),
    ("paired E-Lines", lambda s, f: s["virtual_links"].append(
        {"id": "rev", "connectivity_type": "E-Line", "connection_points_reference": ["fw:input", "input"]}),
     ["both are one circuit"]),
    ("an E-LAN of one", lambda s, f: s["virtual_links"][0].update(
        connectivity_type="E-LAN", connection_points_reference=["fw:input"]),
     ["SAP 'input' is in no virtual link"]),
    ("an E-Tree", lambda s, f: s["virtual_links"][0].update(connectivity_type="E-Tree"), []),
    ("ELAN for E-LAN", lambda s, f: s["virtual_links"][0].update(connectivity_type="ELAN"),
     ["connectivity_type 'ELAN' is read as E-LAN"]),
    ("an unquoted version", lambda s, f: s.update(version=0.1), ["'version' of the NSD is 0.1, a number"]),
    ("capitals in a name", lambda s, f: s.update(name="NS-squid"), ["'name' of the NSD is 'NS-squid'"]),
    ("keys of a record", lambda s, f: s.update(created_at="2017", uuid="x"),
     ["unknown key 'created_at'", "unknown key 'uuid'"]),
    ("a wanted version", lambda s, f: s["network_functions"][0].update(vnf_version=">= 0.1"), []),
    ("a number as a text", lambda s, f: unit(f)["resource_requirements"]["memory"].update(size="256"),
     ["'size' is a text, not a number"]),
    ("a limit that is null", lambda s, f: unit(f)["resource_requirements"]["memory"].update(size=None),
     ["'size' of memory is nothing"]),
    ("an unknown unit of size",
     lambda s, f: unit(f)["resource_requirements"]["memory"].update(size_unit="megabytes"),
     ["size_unit 'megabytes' is not known"]),
    ("no resources at all", lambda s, f: unit(f).pop("resource_requirements"),
     ["a VDU has no 'resource_requirements'"]),
    ("cores as a number", lambda s, f: unit(f)["resource_requirements"]["cpu"].update(cores=0), []),
    ("no image", lambda s, f: unit(f).pop("vm_image"), ["names no image"]),
    ("a placeholder for an image", lambda s, f: unit(f).update(vm_image="TBD"), ["is a placeholder"]),
    ("an address for an image", lambda s, f: unit(f).update(vm_image="http://www.google.es"), ["is a URL"]),
    ("a disk for an image", lambda s, f: unit(f).update(vm_image_format="qcow2"), ["of format qcow2"]),
    ("a point with a long name", lambda s, f: (
        f["connection_points"][0].update(id="administration-network"),
        s["virtual_links"][0].update(connection_points_reference=["input", "fw:administration-network"])),
     ["inside it is 'administra-"]),
    ("points of 2016 with their prefix", lambda s, f: [
        point.update(id=f"vnf:{point['id']}", type="interface") for point in f["connection_points"]],
     ["written in the vocabulary of 2016"]),
    ("a service specific manager", lambda s, f: s.update(
        service_specific_managers=[{"id": "ssm", "image": "x"}]), ["kept, but not acted upon"]),
    ("a typo in a key", lambda s, f: f.update(conection_points=[]), ["unknown key 'conection_points'"]),
    ("a number for a vnf_id", lambda s, f: (
        s["network_functions"][0].update(vnf_id=1),
        s["virtual_links"][0].update(connection_points_reference=["input", "1:input"]),
        s["virtual_links"][1].update(connection_points_reference=["1:output", "output"])),
     ["'vnf_id' of an entry of network_functions is 1, a number"]),
    ("a dot in a vnf_id", lambda s, f: (
        s["network_functions"][0].update(vnf_id="fw.1"),
        s["virtual_links"][0].update(connection_points_reference=["input", "fw.1:input"]),
        s["virtual_links"][1].update(connection_points_reference=["fw.1:output", "output"])), []),
    ("no links at all", lambda s, f: s.pop("virtual_links"),
     ["has no virtual links", "SAP 'input' is in no", "SAP 'output' is in no", "are in no virtual link"]),
    ("an address without its prefix length",
     lambda s, f: f["connection_points"][0].update(address="10.0.0.1"),
     ["'10.0.0.1' has no prefix length; 10.0.0.1/24 is taken",
      "the published schema has none, but it is read"]),
]  # fmt: skip

REFUSED: list[tuple[str, Change, list[str]]] = [
    ("a link with three ends", lambda s, f: s["virtual_links"][0].update(
        connection_points_reference=["input", "fw:input", "output"]), ["E-Line 'l1' has 3 ends, not two"]),
    ("a link with one end", lambda s, f: s["virtual_links"][0].update(
        connection_points_reference=["fw:input"]), ["E-Line 'l1' has 1 ends, not two"]),
    ("a link with both ends the same", lambda s, f: s["virtual_links"][0].update(
        connection_points_reference=["input", "ns:input"]), ["both ends of E-Line 'l1' are 'input'"]),
    ("a link of nobody", lambda s, f: s["virtual_links"][0].update(
        connectivity_type="E-LAN", connection_points_reference=[]), ["E-LAN 'l1' joins nothing"]),
    ("a link by name", lambda s, f: s["virtual_links"].append(
        {"vl_group": "a", "vl_name": "b", "vl_version": "1"}), ["by reference (vl_name)"]),
    ("an unknown vendor", lambda s, f: s["network_functions"][0].update(vnf_vendor="other"),
     ["no VNFD for other/fw 0.1 in the package"]),
    ("a version that nobody has", lambda s, f: s["network_functions"][0].update(vnf_version=">= 0.2"),
     ["no VNFD for acme/fw >= 0.2 in the package"]),
    ("a vnf_id with white space", lambda s, f: s["network_functions"][0].update(vnf_id="fw 1"),
     ["vnf_id 'fw 1' cannot name a container", "has no VNF 'fw'", "has no VNF 'fw'"]),
    ("two points with one name", lambda s, f: f["connection_points"].append(dict(f["connection_points"][0])),
     ["'input' of VNF 'fw' is declared twice"]),
    ("a SAP that is called like a VNF", lambda s, f: s["connection_points"].append(
        {"id": "fw", "interface": "ipv4", "type": "external"}), ["SAP 'fw' has the name of a VNF"]),
    ("points that are a text", lambda s, f: f.update(connection_points="input"),
     ["'connection_points' of the VNFD is 'input', not a list", "undefined", "undefined"]),
    ("links that are a mapping", lambda s, f: s.update(virtual_links={"l1": LINKS}),
     ["'virtual_links' of the NSD is a mapping, not a list"]),
    ("a unit that is a text", lambda s, f: f.update(virtual_deployment_units=["vdu01"]),
     ["a VDU is 'vdu01', not a mapping"]),
    ("an NSD that is a VNFD", becomes_a_vnfd, ["but describes a VNF"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change", "parts"), STARTED, ids=[what for what, *_ in STARTED])
def test_what_can_be_deployed_is_and_says_no_more_than_it_should(
    what: str, change: Change, parts: list[str], tmp_path: Path
) -> None:
    verdict = changed(tmp_path, change)
    assert verdict.package is not None, said(verdict)
    texts = said(verdict)
    assert not any(text.startswith("error") for text in texts)
    for part in parts:
        assert any(part in text for text in texts), (part, texts)
    assert len(texts) == len(parts), texts


@pytest.mark.parametrize(("what", "change", "parts"), REFUSED, ids=[what for what, *_ in REFUSED])
def test_what_cannot_be_deployed_says_why(
    what: str, change: Change, parts: list[str], tmp_path: Path
) -> None:
    verdict = changed(tmp_path, change)
    assert verdict.package is None
    assert verdict.usable
    texts = [str(finding) for finding in verdict.findings if finding.blocks]
    for part in parts:
        assert any(part in text for text in texts), (part, texts)
    assert len(texts) == len(parts), texts
    assert all(finding.place.line for finding in verdict.findings if finding.blocks)


def test_points_of_2016_are_called_as_the_service_calls_them(tmp_path: Path) -> None:
    def change(service: dict[str, Any], function: dict[str, Any]) -> None:
        for point in function["connection_points"]:
            point["id"] = f"vnf:{point['id']}"

    package = changed(tmp_path, change).package
    assert package is not None
    assert [point.id for point in package.service.functions[0].connection_points] == ["input", "output"]
    assert package.service.links[0].references == (Reference(None, "input"), Reference("fw", "input"))


def test_one_name_of_two_vendors_is_two_vnfs(tmp_path: Path) -> None:
    service = nsd({"a": "fw", "b": "fw"}, {"l": ["a:output", "b:input"]})
    service["network_functions"][1]["vnf_vendor"] = "other"
    other = vnfd("fw", unit={"vm_image": "other:1"}) | {"vendor": "other"}
    package = check(tmp_path, members(service, vnfd("fw"), other)).package
    assert package is not None
    assert [function.units[0].image for function in package.service.functions] == ["web:dev", "other:1"]


def test_one_vnfd_of_two_vnfs_is_two_containers(tmp_path: Path) -> None:
    service = nsd({"a": "fw", "b": "fw"}, {"l": ["a:output", "b:input"]})
    verdict = check(tmp_path, members(service, vnfd("fw")))
    assert verdict.package is not None
    assert [function.id for function in verdict.package.service.functions] == ["a", "b"]
    assert any("is used by 'a' and 'b': a container each" in text for text in said(verdict))


def test_the_same_vnfd_twice_is_said(tmp_path: Path) -> None:
    verdict = check(tmp_path, members(nsd({"fw": "fw"}, LINKS), vnfd("fw"), vnfd("fw")))
    assert verdict.package is not None
    assert [finding.rule for finding in verdict.findings if finding.level == "warning"] == [
        "sonemu_duplicate_vnfd"
    ]


def test_a_unit_must_not_have_the_name_of_another_vnf(tmp_path: Path) -> None:
    two = vnfd("fw")
    points = [{"id": "eth0", "interface": "ipv4", "type": "internal"}]
    two["virtual_deployment_units"] = [
        {**unit(two), "id": name, "connection_points": points} for name in ("a", "b")
    ]
    two["virtual_links"] = [
        {
            "id": "l",
            "connectivity_type": "E-LAN",
            "connection_points_reference": ["a:eth0", "b:eth0", "input", "output"],
        }
    ]
    service = nsd({"fw": "fw", "fw.b": "web"}, LINKS)
    verdict = check(tmp_path, members(service, two, vnfd("web")))
    (error,) = [finding for finding in verdict.findings if finding.blocks]
    assert "vnf_id 'fw.b' is the name of unit 'b' of VNF 'fw'" in error.message


def test_plural_content_types_are_taken_and_misspelt_ones_are_said(tmp_path: Path) -> None:
    content = members(nsd({"fw": "fw"}, LINKS), vnfd("fw"))
    plural = {**content, MANIFEST: content[MANIFEST].replace(b"_descriptor\n", b"_descriptors\n")}
    assert check(tmp_path, plural).package is not None
    wrong = {
        **content,
        MANIFEST: content[MANIFEST].replace(b"function_descriptor\n", b"funtion_descriptor\n"),
    }
    verdict = check(tmp_path, wrong)
    assert verdict.package is None
    assert any("did you mean 'application/sonata.function_descriptor'" in str(f) for f in verdict.findings)


def test_folders_and_files_beside_are_no_fault_but_a_second_manifest_is(tmp_path: Path) -> None:
    content = members(nsd({"fw": "fw"}, LINKS), vnfd("fw"))
    listed = as_yaml([{"name": "/docker_files/fw/", "content-type": "application/sonata.docker_files"}])
    content[MANIFEST] += listed
    content |= {"docker_files/fw/Dockerfile": b"FROM x", "README.md": b"x"}
    assert said(check(tmp_path, content)) == []
    found = said(check(tmp_path, {**content, "META-INF/notes.txt": b"x"}))
    assert found == [
        "warning[evt_package_struct_invalid] META-INF holds more than MANIFEST.MF: META-INF/notes.txt"
    ]


def test_keys_of_ruby_in_a_manifest_are_passed_over(tmp_path: Path) -> None:
    content = members(nsd({"fw": "fw"}, LINKS), vnfd("fw"))
    content[MANIFEST] += b":uuid: x\n:package_name: y\n"
    verdict = check(tmp_path, content)
    assert verdict.package is not None
    assert {finding.rule for finding in verdict.findings} == {"evt_pd_stx_invalid"}


def test_faults_in_two_files_and_three_layers_are_all_said(tmp_path: Path) -> None:
    service = nsd({"fw": "fw", "gone": "gone"}, {**LINKS, "l3": ["fw:mgmt", "admin"]}, name="UPPER")
    function = vnfd("fw", unit={"vm_image_format": "qcow2"}) | {"version": 0.1}
    content = members(service, function)
    content[MANIFEST] = content[MANIFEST].replace(b"vendor: acme", b"vendor: ACME", 1)
    content[MANIFEST] += as_yaml([{"name": "/none", "content-type": "text/plain"}])
    rules = {finding.rule for finding in check(tmp_path, content).findings}
    assert rules >= {
        "evt_pd_stx_invalid",
        "evt_pd_itg_invalid_reference",
        "evt_nsd_itg_function_unavailable",
        "evt_nsd_itg_undefined_cpoint",
        "evt_nsd_stx_invalid",
        "evt_vnfd_stx_invalid",
        "sonemu_image_format",
    }
    assert VNFD in content
    assert NSD in content
