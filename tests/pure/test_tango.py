"""5GTANGO: `.tgo` archives, their projects, and what their descriptors say beyond SONATA's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.model import PublishedPort
from pytest_sonemu.descriptors.pack import pack
from pytest_sonemu.descriptors.read import Package, Verdict, check_package, read_package
from pytest_sonemu.descriptors.rules import STRICT
from tests.pure.package_writing import (
    as_yaml,
    cnf,
    tango_nsd,
    tgo_members,
    vnfd,
    write_son,
)

NAPD, META = "TOSCA-Metadata/NAPD.yaml", "TOSCA-Metadata/TOSCA.meta"


def check(tmp_path: Path, content: dict[str, bytes], **options: Any) -> Verdict:
    return check_package(write_son(tmp_path / "x.tgo", content), **options)


def read(tmp_path: Path, *functions: Any, **napd: Any) -> Package:
    return read_package(write_son(tmp_path / "x.tgo", tgo_members(tango_nsd(), *functions, **napd)))


def said(verdict: Verdict) -> list[str]:
    return [f"{finding.level}[{finding.rule}] {finding.message}" for finding in verdict.findings]


def errors(verdict: Verdict) -> list[str]:
    assert verdict.package is None
    return [finding.message for finding in verdict.findings if finding.blocks]


def test_a_package_is_read_without_findings_in_either_profile(tmp_path: Path) -> None:
    content = tgo_members(tango_nsd(), cnf())
    for verdict in (check(tmp_path, content), check(tmp_path, content, levels=STRICT)):
        assert said(verdict) == []
        assert verdict.package is not None
        assert (verdict.package.vendor, verdict.package.name, verdict.package.version) == (
            "acme",
            "package",
            "0.1",
        )


def test_a_cdu_is_a_unit_with_its_image_environment_and_published_ports(tmp_path: Path) -> None:
    (function,) = read(tmp_path, cnf()).service.functions
    (unit,) = function.units
    assert (unit.id, unit.image, unit.image_format) == ("cdu01", "acme/broker:1", "docker")
    assert unit.environment == {"MODE": "fast", "LEVEL": "3"}
    assert unit.publish == (PublishedPort(80, 8080),)
    assert [(point.id, point.type) for point in unit.connection_points] == [("input", "external")]


@pytest.mark.parametrize(
    ("publish", "ports", "finding"),
    [
        ({80: 8080, "53/udp": None}, [(80, 8080, "tcp"), (53, None, "udp")], ""),
        ({"80": "8080"}, [(80, 8080, "tcp")], ""),
        ({"http": 80}, [], "'http: 80' is no pair of ports"),
        ({80: 99999}, [], "'80: 99999' is no pair of ports"),
        ({80: [1]}, [], "is no pair of ports"),
        ([80], [], "publish is a list, not a mapping"),
    ],
)
def test_ports_are_published_as_they_are_written(
    tmp_path: Path, publish: Any, ports: list[Any], finding: str
) -> None:
    points = [{"id": "data", "publish": publish}]
    verdict = check(tmp_path, tgo_members(tango_nsd(), cnf(unit={"connection_points": points})))
    assert verdict.package is not None
    (unit,) = verdict.package.service.functions[0].units
    assert [(port.port, port.outer, port.protocol) for port in unit.publish] == ports
    assert any(finding in text for text in said(verdict)) if finding else said(verdict) == []


def test_static_addresses_of_a_lone_unit_are_those_of_the_point_it_is_linked_to(tmp_path: Path) -> None:
    points = [{"id": "data", "ip": "10.0.0.1/24", "mac": "02:00:00:00:00:01"}]
    (function,) = read(tmp_path, cnf(unit={"connection_points": points})).service.functions
    (point,) = function.connection_points
    assert ([str(address) for address in point.addresses], point.mac) == (
        ["10.0.0.1/24"],
        "02:00:00:00:00:01",
    )


def test_several_units_keep_their_points_and_links(tmp_path: Path) -> None:
    units = [
        {"id": name, "image": f"acme/{name}:1", "connection_points": [{"id": "data"}, {"id": "db"}]}
        for name in ("front", "store")
    ]
    links = [
        {"id": "in", "connectivity_type": "E-Tree", "connection_points_reference": ["input", "front:data"]},
        {
            "id": "db",
            "connectivity_type": "E-LAN",
            "connection_points_reference": ["front:db", "store:db", "store:data"],
        },
    ]
    package = read(tmp_path, cnf(cloudnative_deployment_units=units, virtual_links=links))
    (function,) = package.service.functions
    assert [unit.id for unit in function.units] == ["front", "store"]
    assert [str(link.root) for link in function.internal_links if link.connectivity == "E-Tree"] == ["input"]
    assert package.findings == ()


def test_an_alternative_docker_image_is_taken_for_one_of_a_virtual_machine(tmp_path: Path) -> None:
    function = vnfd("cc", ("input",), unit={"vm_image": "cc.qcow2", "vm_image_format": "qcow2"})
    function["virtual_deployment_units"][0]["alternative_images"] = [
        {"vm_image": "acme/cc:1", "vm_image_format": "docker", "vm_image_arch": "x86_64"}
    ]
    del function["descriptor_version"]
    function["descriptor_schema"] = "x"
    package = read(tmp_path, function)
    assert package.service.functions[0].units[0].image == "acme/cc:1"
    assert [finding.rule for finding in package.findings] == ["sonemu_image_format"]


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ({"cloudnative_deployment_units": []}, "has no 'cloudnative_deployment_units'"),
        ({"physical_deployment_units": [{"id": "p", "address": "x", "port": 1}]}, "machines of iron"),
        ({"cloudnative_deployment_units": [{"image": "x"}]}, "a CDU has no 'id'"),
    ],
)
def test_units_that_cannot_run_are_named(tmp_path: Path, function: dict[str, Any], named: str) -> None:
    verdict = check(tmp_path, tgo_members(tango_nsd(), {**cnf(), **function}))
    assert any(named in message for message in errors(verdict)), said(verdict)


def test_a_unit_without_an_image_is_named_and_may_run_a_stand_in(tmp_path: Path) -> None:
    function = cnf()
    del function["cloudnative_deployment_units"][0]["image"]
    verdict = check(tmp_path, tgo_members(tango_nsd(), function))
    assert verdict.package is not None
    assert said(verdict) == ["warning[evt_vnfd_itg_vdu_image_not_found] a CDU of VNF 'cc' names no image"]


def test_nested_services_are_refused_by_name(tmp_path: Path) -> None:
    nested = [{"ns_id": "a", "ns_vendor": "acme", "ns_name": "dns", "ns_version": "0.1"}]
    verdict = check(tmp_path, tgo_members(tango_nsd(network_services=nested), cnf()))
    assert errors(verdict) == ["the service is made of other services (dns), which are not deployed"]


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-1", "MD5", "sha256"])
def test_sums_of_all_kinds_are_checked_in_both_manifests(tmp_path: Path, algorithm: str) -> None:
    content = tgo_members(tango_nsd(), cnf())
    name = algorithm.lower().replace("-", "")
    for member in (NAPD, "etsi_manifest.mf"):
        for data in (content["Definitions/nsd.yml"], content["Definitions/vnfd1.yml"]):
            was, now = (hashlib.new(one, data).hexdigest() for one in ("sha256", name))
            content[member] = content[member].replace(was.encode(), now.encode())
        content[member] = content[member].replace(b"SHA-256", algorithm.encode())
    assert not any("invalid_md5" in text for text in said(check(tmp_path, content)))
    content["Definitions/vnfd1.yml"] += b"\n"
    verdict = check(tmp_path, content)
    assert verdict.package is not None
    places = [finding.place.file.rpartition("/")[2] for finding in verdict.findings if "md5" in finding.rule]
    assert places == ["NAPD.yaml", "etsi_manifest.mf"]


def test_an_unknown_kind_of_sum_is_said_and_not_checked(tmp_path: Path) -> None:
    content = tgo_members(tango_nsd(), cnf())
    content[NAPD] = content[NAPD].replace(b"SHA-256", b"SHA-266", 1)
    (text,) = said(check(tmp_path, content))
    assert "sum algorithm 'SHA-266' is not known" in text


def test_one_folder_around_the_package_is_tolerated_several_are_not(tmp_path: Path) -> None:
    whole = tgo_members(tango_nsd(), cnf(), root="web-1.0/")
    verdict = check(tmp_path, whole)
    assert verdict.package is not None
    assert [finding.rule for finding in verdict.findings] == ["sonemu_root_folder"]
    plain = check(tmp_path, tgo_members(tango_nsd(), cnf())).package
    assert plain is not None
    assert verdict.package.service.links == plain.service.links
    assert verdict.package.digest == plain.digest
    place = verdict.package.service.functions[0].place
    assert place is not None
    assert place.file.endswith("x.tgo/web-1.0/Definitions/nsd.yml")
    refused = check(tmp_path, whole | tgo_members(tango_nsd(), cnf(), root="web-2.0/"))
    assert not refused.usable
    assert "holds 2 packages: web-1.0/, web-2.0/" in said(refused)[0]
    assert "beside readme.txt" in said(check(tmp_path, {**whole, "readme.txt": b"x"}))[0]


def test_references_to_files_elsewhere_are_kept_and_not_followed(tmp_path: Path) -> None:
    others = {"Images/big.ref": ("application/vnd.5gtango.ref", b"proto: http\n")}
    verdict = check(tmp_path, tgo_members(tango_nsd(), cnf(), others=others))
    assert verdict.package is not None
    assert said(verdict) == [
        "info[sonemu_reference_file] 'Images/big.ref' points to a file elsewhere, which is not fetched"
    ]
    assert "Images/big.ref" in verdict.package.files


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            tgo_members(None, cnf(), package_type="application/vnd.5gtango.package.vnfp"),
            "a package of VNFs only",
        ),
        (tgo_members(None, package_type="application/vnd.5gtango.package.tdp"), "a package of tests"),
        (
            tgo_members(None, others={"a.yaml": ("application/vnd.etsi.osm.nsd", b"x")}),
            "the descriptors are of OSM",
        ),
        (tgo_members(None), "lists no file of content-type application/vnd.5gtango.nsd"),
    ],
)
def test_a_package_without_a_service_says_what_it_is(
    tmp_path: Path, content: dict[str, bytes], named: str
) -> None:
    assert any(named in message for message in errors(check(tmp_path, content)))


def test_of_several_services_the_first_is_taken(tmp_path: Path) -> None:
    second = {"Definitions/second.yml": ("application/vnd.5gtango.nsd", as_yaml(tango_nsd(name="second")))}
    verdict = check(tmp_path, tgo_members(tango_nsd(name="first"), cnf(), others=second))
    assert verdict.package is not None
    assert verdict.package.service.name == "first"
    assert [finding.rule for finding in verdict.findings] == ["evt_pd_itg_missing_entry_service"]


def test_the_napd_is_where_tosca_meta_says_else_where_it_usually_lies(tmp_path: Path) -> None:
    content = tgo_members(tango_nsd(), cnf())
    moved = {**content, "meta/napd.yaml": content[NAPD]}
    del moved[NAPD]
    moved[META] = content[META].replace(NAPD.encode(), b"meta/napd.yaml")
    assert said(check(tmp_path, moved)) == []
    wrong = {**content, META: content[META].replace(NAPD.encode(), b"meta/napd.yaml")}
    verdict = check(tmp_path, wrong)
    assert verdict.package is not None
    assert [(finding.rule, finding.place.line) for finding in verdict.findings] == [
        ("evt_pd_itg_invalid_reference", 6)
    ]
    del content[META]
    verdict = check(tmp_path, content)
    assert verdict.package is not None
    assert [finding.rule for finding in verdict.findings] == ["evt_package_struct_invalid"]


def test_names_the_napd_leaves_out_are_those_of_the_etsi_manifest(tmp_path: Path) -> None:
    content = tgo_members(tango_nsd(), cnf())
    content[NAPD] = content[NAPD].replace(b"vendor: acme\n", b"", 1)
    verdict = check(tmp_path, content)
    assert verdict.package is not None
    assert verdict.package.vendor == "acme"
    assert said(verdict) == ["warning[evt_pd_stx_invalid] the NAPD has no 'vendor'"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({META: b"TOSCA-Meta-Version: 1.0\nETSI-Entry-Manifest: a.mf\n", "a.mf": b""}, "an ETSI package"),
        ({"vnf.yaml": b"x", "vnf.mf": b"x"}, "an ETSI package"),
        ({META: b"hello"}, "a TOSCA archive without"),
        ({"ping_nsd/ping_nsd.yaml": b"x"}, "an OSM package"),
        ({"web/project.yml": b"x"}, "a zipped project"),
    ],
)
def test_packages_of_others_are_refused_by_what_they_are(
    tmp_path: Path, content: dict[str, bytes], named: str
) -> None:
    verdict = check(tmp_path, content)
    assert not verdict.usable
    assert named in said(verdict)[0]


def project(root: Path) -> Path:
    files = {
        "project.yml": as_yaml(
            {
                "version": "0.5",
                "package": {"vendor": "acme", "name": "web", "version": "0.1"},
                "files": [
                    {"path": "Definitions/nsd.yml", "type": "application/vnd.5gtango.nsd", "tags": ["a.b"]},
                    {"path": "Definitions/cc.yml", "type": "application/vnd.5gtango.vnfd"},
                    {"path": "Licenses", "type": "text/plain"},
                ],
            }
        ),
        "Definitions/nsd.yml": as_yaml(tango_nsd()),
        "Definitions/cc.yml": as_yaml(cnf()),
        "Licenses/one/LICENSE": b"do\n",
        "notes.txt": b"not packed",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_a_project_and_its_pack_are_the_same_service_and_the_same_bytes(tmp_path: Path) -> None:
    folder = read_package(project(tmp_path / "p"))
    assert folder.findings == ()
    data = pack(tmp_path / "p")
    (tmp_path / "q").mkdir()
    packed = tmp_path / "q" / "p.tgo"
    packed.write_bytes(data)
    archive = read_package(packed)
    assert archive.findings == ()
    assert (archive.digest, archive.service.links) == (folder.digest, folder.service.links)
    assert "Licenses/one/LICENSE" in archive.files
    assert "notes.txt" not in archive.files
    assert check_package(packed, levels=STRICT).findings == ()
    assert pack(tmp_path / "p") == data


def test_faults_of_a_project_are_at_its_own_files(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    text = (root / "project.yml").read_text()
    (root / "project.yml").write_text(text.replace("Definitions/cc.yml", "Definitions/ccc.yml"))
    verdict = check_package(root)
    found = [(finding.rule, finding.hint) for finding in verdict.findings if finding.blocks]
    assert ("sonemu_project", "did you mean 'Definitions/cc.yml'?") in found
    line = text.splitlines().index("- path: Definitions/cc.yml") + 1
    assert any(finding.place.line == line for finding in verdict.findings)
    (root / "project.yml").write_text(text.replace(".nsd", ".nst"))
    verdict = check_package(root)
    (finding,) = [finding for finding in verdict.findings if finding.blocks]
    assert str(finding.place) == str(root / "project.yml")
    outside = text.replace("Definitions/cc.yml", "../cc.yml")
    (root / "project.yml").write_text(outside)
    assert any("leads out of the package" in message for message in errors(check_package(root)))


_leaf = st.none() | st.booleans() | st.integers(-5, 10**18) | st.floats() | st.text("a:/1 \n'é", max_size=4)
_value = st.recursive(
    _leaf,
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "publish", "type", "x"]), v, max_size=3)
    ),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(deep for key, inner in entries for deep in _paths(inner, (*path, key)))]


@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_value_anywhere_makes_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    units = [
        {
            "id": "pdu01",
            "vm_image": "x",
            "vm_image_format": "qcow2",
            "alternative_images": [{"vm_image": "y", "vm_image_format": "docker", "vm_image_arch": "x"}],
            "resource_requirements": {
                "cpu": {"vcpus": 1, "cores": "0-1"},
                "memory": {"size": 1, "size_unit": "GB"},
            },
        }
    ]
    root: Any = {
        "nsd": tango_nsd(network_services=[{"ns_id": "a", "ns_name": "b"}]),
        "vnfd": cnf(virtual_deployment_units=units),
        "napd": {},
    }
    root["napd"]["package_type"] = "x"
    path = data.draw(st.sampled_from([path for path in _paths(root) if len(path) > 1]))
    holder = root
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(_value)
    verdict = check(tmp_path, tgo_members(root["nsd"], root["vnfd"], **root["napd"]))
    assert verdict.package is not None or any(finding.blocks for finding in verdict.findings)
