from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.findings import Finding
from pytest_sonemu.descriptors.model import Reference, Resources
from pytest_sonemu.descriptors.nsd import version_fits
from pytest_sonemu.descriptors.read import Package, read_package
from pytest_sonemu.errors import PackageError
from tests.pure.package_writing import (
    MANIFEST,
    NSD,
    as_yaml,
    faults,
    members,
    nsd,
    refusal,
    vnfd,
    write_project,
    write_son,
)

LINKS = {"l1": ["input", "fw:input"], "l2": ["fw:output", "output"]}


def read(tmp_path: Path, service: Any, *functions: Any, **manifest: Any) -> Package:
    return read_package(write_son(tmp_path / "x.son", members(service, *functions, **manifest)))


def refused(tmp_path: Path, service: Any, *functions: Any, **manifest: Any) -> list[Finding]:
    return faults(write_son(tmp_path / "x.son", members(service, *functions, **manifest)))


def one(tmp_path: Path, service: Any, *functions: Any, **manifest: Any) -> str:
    (fault,) = refused(tmp_path, service, *functions, **manifest)
    return str(fault)


def rules(package: Package) -> list[str]:
    return [finding.rule for finding in package.findings]


def test_a_plain_package_has_no_findings(tmp_path: Path) -> None:
    package = read(tmp_path, nsd({"fw": "fw"}, LINKS), vnfd("fw"))
    assert package.findings == ()
    assert (package.vendor, package.name, package.version) == ("acme", "package", "0.1")
    assert package.service.functions[0].units[0].resources == Resources(1.0, (), 256 * 1024**2)


def test_all_errors_of_all_files_come_at_once_in_the_order_of_the_files(tmp_path: Path) -> None:
    service = nsd(
        {"fw": "fw", "web": "wep"},
        {"l1": ["input", "fw:inptu"], "l2": ["fw:output", "wbe:input"], "l3": ["fw:output"]},
    )
    service["virtual_links"][2]["connectivity_type"] = "E-Lime"
    found = refused(tmp_path, service, vnfd("fw"), vnfd("web"))
    assert [(fault.rule, fault.hint) for fault in found] == [
        ("evt_nsd_itg_function_unavailable", "did you mean 'web'?"),
        ("evt_nsd_itg_undefined_cpoint", "did you mean 'input'?"),
        ("evt_nsd_itg_undefined_cpoint", "did you mean 'web'?"),
        ("evt_invalid_vlink", "did you mean 'E-Line'?"),
    ]
    assert all(fault.place.file.endswith(f"x.son/{NSD}") for fault in found)
    lines = as_yaml(service).decode().splitlines()
    assert [lines[fault.place.line - 1].strip(" -") for fault in found] == [
        "vnf_name: wep",
        "fw:inptu",
        "wbe:input",
        "connectivity_type: E-Lime",
    ]
    assert [lines[f.place.line - 1][f.place.column - 1 :] for f in found][1:3] == ["fw:inptu", "wbe:input"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s["virtual_links"][1].update(id="l1"), "virtual link 'l1' is declared twice"),
        (
            lambda s: s["virtual_links"][0].update(connection_points_reference=["input"]),
            "has 1 ends, not two",
        ),
        (
            lambda s: s["virtual_links"][0].update(connection_points_reference=["input", "input"]),
            "both ends of E-Line",
        ),
        (
            lambda s: s["virtual_links"][0].update(connection_points_reference=["a:b:c", "input"]),
            "one ':' parts VNF and point",
        ),
        (lambda s: s["virtual_links"][0].update(connection_points_reference=[["x"], "input"]), "is a list"),
        (lambda s: s["virtual_links"][0].update(connection_points_reference="input"), "not a list"),
        (lambda s: s["virtual_links"][0].pop("id"), "has no 'id'"),
        (
            lambda s: s["virtual_links"].append({"vl_group": "a", "vl_name": "b", "vl_version": "1"}),
            "by reference",
        ),
        (
            lambda s: s["connection_points"].append(dict(s["connection_points"][0])),
            "'input' of the service is declared twice",
        ),
        (
            lambda s: s["network_functions"].append(dict(s["network_functions"][0])),
            "vnf_id 'fw' is used twice",
        ),
        (lambda s: s["network_functions"][0].update(vnf_version="0.2"), "the package has acme/fw 0.1"),
        (lambda s: s["network_functions"][0].pop("vnf_id"), "has no 'vnf_id'"),
        (lambda s: s.update(network_services=["other"]), "made of other services (other)"),
        (lambda s: s["connection_points"].append({"id": "fw", "type": "external"}), "has the name of a VNF"),
    ],
)
def test_what_cannot_be_deployed_is_an_error(tmp_path: Path, change: Any, named: str) -> None:
    service = nsd({"fw": "fw"}, LINKS)
    change(service)
    assert any(named in str(fault) for fault in refused(tmp_path, service, vnfd("fw")))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"virtual_deployment_units": []}, "no 'virtual_deployment_units'"),
        (
            {"connection_points": [{"id": "input"}, {"id": "input"}, {"id": "output"}]},
            "'input' of VNF 'fw' is declared twice",
        ),
        ({"unit": {"vm_image": "file:///docker_files/wf/Dockerfile"}}, "is not in the package"),
        (
            {"connection_points": [{"id": "input", "address": "10.0.0.300/24"}, {"id": "output"}]},
            "not an address",
        ),
        (
            {"connection_points": [{"id": "input", "mac": "01:00:00:00:00:01"}, {"id": "output"}]},
            "not the MAC address",
        ),
        ({"virtual_deployment_units": None, "cloudnative_deployment_units": [{}]}, "a CDU has no 'id'"),
        (
            {"virtual_deployment_units": None, "physical_deployment_units": [{"id": "p"}]},
            "machines of iron cannot be run",
        ),
    ],
)
def test_faults_of_a_vnfd_that_stop_a_start(tmp_path: Path, more: dict[str, Any], named: str) -> None:
    function = vnfd("fw", unit=more.pop("unit", {}))
    function.update(more)
    assert any(named in str(fault) for fault in refused(tmp_path, nsd({"fw": "fw"}, LINKS), function))


def test_unknown_keys_and_bad_limits_are_warnings(tmp_path: Path) -> None:
    function = vnfd(
        "fw",
        unit={"resource_requirements": {"cpu": {"vcpus": "many"}, "memory": {"size": 1, "size_unit": "XB"}}},
    )
    function["conection_points"] = []
    package = read(tmp_path, nsd({"fw": "fw"}, LINKS), function)
    texts = [finding.message for finding in package.findings]
    assert any("unknown key 'conection_points'" in text for text in texts)
    assert any("'vcpus'" in text for text in texts)
    assert any("size_unit 'XB'" in text for text in texts)
    assert package.service.functions[0].units[0].resources == Resources()
    assert {finding.level for finding in package.findings} == {"warning"}


def test_a_version_without_quotes_keeps_what_is_written(tmp_path: Path) -> None:
    service = as_yaml(nsd({"fw": "fw"}, LINKS)).replace(b"vnf_version: '0.1'", b"vnf_version: 0.10")
    function = as_yaml(vnfd("fw")).replace(b"version: '0.1'", b"version: 0.10")
    package = read(tmp_path, service, function)
    assert package.service.functions[0].version == "0.10"
    assert [(finding.rule, finding.hint) for finding in package.findings] == [
        ("evt_vnfd_stx_invalid", 'write it in quotes: "0.10"'),
        ("evt_nsd_stx_invalid", 'write it in quotes: "0.10"'),
    ]


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [("0.1", "0.1", True), ("0.1", "0.10", False), ("== 1.0", "1", True), (">= 0.2", "0.10", True),
     ("<= 0.2", "0.10", False), ("!= 1.0", "1.1", True), (">=1", "0.9.9", False)],
)  # fmt: skip
def test_version_operators(wanted: str, version: str, fits: bool) -> None:
    assert version_fits(wanted, version) is fits


def test_the_highest_version_that_fits_is_taken(tmp_path: Path) -> None:
    service = nsd({"fw": "fw"}, LINKS)
    service["network_functions"][0]["vnf_version"] = ">= 0.2"
    functions = [vnfd("fw", version=version) for version in ("0.1", "0.10", "0.9")]
    package = read(tmp_path, service, *functions)
    assert package.service.functions[0].version == "0.10"
    assert rules(package) == ["sonemu_unused_vnfd"] * 2


def test_one_vnfd_may_be_used_by_two_vnfs(tmp_path: Path) -> None:
    package = read(tmp_path, nsd({"a": "fw", "b": "fw"}, {"l": ["a:output", "b:input"]}), vnfd("fw"))
    assert [(vnf.id, vnf.name) for vnf in package.service.functions] == [("a", "fw"), ("b", "fw")]


def test_saps_of_2016_lose_their_prefix_unless_both_are_declared(tmp_path: Path) -> None:
    service = nsd({"fw": "fw"}, LINKS)
    service["connection_points"] = [
        {"id": "ns:input", "type": "interface"},
        {"id": "output", "type": "interface"},
    ]
    service["virtual_links"][0]["connection_points_reference"] = ["ns:input", "fw:input"]
    service["virtual_links"][1]["connection_points_reference"] = ["fw:output", "ns:output"]
    package = read(tmp_path, service, vnfd("fw"))
    assert [sap.id for sap in package.service.saps] == ["input", "output"]
    assert package.service.links[0].references == (Reference(None, "input"), Reference("fw", "input"))
    assert package.service.links[1].references == (Reference("fw", "output"), Reference(None, "output"))

    service["connection_points"] += [{"id": "input", "type": "interface"}]
    package = read(tmp_path, service, vnfd("fw"))
    assert [sap.id for sap in package.service.saps] == ["ns:input", "output", "input"]
    assert package.service.links[0].references[0] == Reference(None, "ns:input")


def test_a_management_point_makes_a_management_link(tmp_path: Path) -> None:
    function = vnfd("fw", ("input", "output", "ctrl"))
    function["connection_points"][2]["type"] = "management"
    package = read(tmp_path, nsd({"fw": "fw"}, {**LINKS, "l3": ["fw:ctrl", "admin"]}), function)
    assert {link.id: link.management for link in package.service.links} == {
        "l1": False,
        "l2": False,
        "l3": True,
    }


def test_paired_e_lines_are_one_circuit(tmp_path: Path) -> None:
    links = {**LINKS, "l1-rev": ["fw:input", "input"]}
    package = read(tmp_path, nsd({"fw": "fw"}, links), vnfd("fw"))
    assert [link.id for link in package.service.links] == ["l1", "l2"]
    assert rules(package) == ["sonemu_paired_elines"]


def test_static_addresses_are_kept(tmp_path: Path) -> None:
    function = vnfd("fw")
    function["connection_points"][0].update(address="10.1.0.1/24", mac="02-00-00-00-00-0A")
    (point, _) = read(tmp_path, nsd({"fw": "fw"}, LINKS), function).service.functions[0].connection_points
    assert [str(address) for address in point.addresses] == ["10.1.0.1/24"]
    assert point.mac == "02:00:00:00:00:0a"


def test_an_e_tree_has_a_root(tmp_path: Path) -> None:
    service = nsd({"fw": "fw"}, {"t": ["input", "fw:input", "output"]})
    service["virtual_links"][0]["connectivity_type"] = "E-Tree"
    assert read(tmp_path, service, vnfd("fw")).service.links[0].root == Reference(None, "input")
    service["virtual_links"][0]["root_requirement"] = "fw:input"
    assert read(tmp_path, service, vnfd("fw")).service.links[0].root == Reference("fw", "input")


def graph(*stations: tuple[str, Any], links: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    points = [{"connection_point_ref": ref, "position": position} for ref, position in stations]
    return [
        {
            "fg_id": "fg",
            "constituent_virtual_links": list(links),
            "network_forwarding_paths": [{"fp_id": "fp", "connection_points": points}],
        }
    ]


def test_paths_follow_positions_and_their_faults_are_warnings(tmp_path: Path) -> None:
    def path(*stations: tuple[str, Any], links: tuple[str, ...] = ()) -> Package:
        return read(
            tmp_path, nsd({"fw": "fw"}, LINKS, forwarding_graphs=graph(*stations, links=links)), vnfd("fw")
        )

    good = path(("output", 4), ("fw:output", 3), ("fw:input", 2), ("input", 1), links=("l1", "l2"))
    assert [str(ref) for ref in good.service.paths[0].references] == [
        "input",
        "fw:input",
        "fw:output",
        "output",
    ]
    assert good.findings == ()
    assert rules(path(("input", 1), ("fw:output", 2))) == ["evt_nsd_top_fwpath_disrupted"]
    assert rules(path(("input", 1), ("fw:inpt", 2))) == ["evt_nsd_top_fwgraph_cpoint_undefined"]
    assert rules(path(("input", 1), ("fw:input", 1))) == ["evt_nsd_top_fwgraph_position_duplicate"]
    assert rules(path(("input", 1), ("fw:input", 2), ("fw:output", 3))) == ["evt_nsd_top_fwgraph_cpoints_odd"]
    found = path(("input", 1), ("fw:input", 2), links=("l1", "l9"))
    assert sorted(rules(found)) == ["evt_nsd_top_badsection_fwgraph", "sonemu_fwgraph_links"]


def test_all_forwarding_graphs_are_read(tmp_path: Path) -> None:
    graphs = graph(("input", 1), ("fw:input", 2)) + graph(("fw:output", 1), ("output", 2))
    package = read(tmp_path, nsd({"fw": "fw"}, LINKS, forwarding_graphs=graphs), vnfd("fw"))
    assert len(package.service.paths) == 2


def test_a_vnf_of_two_units_keeps_their_points_and_links(tmp_path: Path) -> None:
    function = vnfd("fw")
    function["virtual_deployment_units"] = [
        {"id": "a", "vm_image": "x", "connection_points": [{"id": "eth0"}, {"id": "eth1"}]},
        {"id": "b", "vm_image": "y", "connection_points": [{"id": "eth0"}, {"id": "eth1"}]},
    ]
    function["virtual_links"] = [
        {"id": "in", "connectivity_type": "E-Line", "connection_points_reference": ["input", "a:eth0"]},
        {"id": "mid", "connectivity_type": "E-Line", "connection_points_reference": ["a:eth1", "b:eth0"]},
        {"id": "out", "connectivity_type": "E-Line", "connection_points_reference": ["b:eth1", "output"]},
    ]
    (vnf,) = read(tmp_path, nsd({"fw": "fw"}, LINKS), function).service.functions
    assert [[point.id for point in unit.connection_points] for unit in vnf.units] == [["eth0", "eth1"]] * 2
    assert [" ".join(map(str, link.references)) for link in vnf.internal_links] == [
        "input a:eth0",
        "a:eth1 b:eth0",
        "b:eth1 output",
    ]
    function["virtual_links"][1]["connection_points_reference"] = ["a:eth1", "b:eth7"]
    assert "undefined connection point 'b:eth7'" in one(tmp_path, nsd({"fw": "fw"}, LINKS), function)


def test_the_vocabulary_of_early_2016_is_read(tmp_path: Path) -> None:
    def early(descriptor: dict[str, Any], prefix: str) -> dict[str, Any]:
        named = {"vendor": "group", "name": "name", "version": "version"}
        return {f"{prefix}_{named[key]}" if key in named else key: value for key, value in descriptor.items()}

    service = early(nsd({"fw": "fw"}, LINKS), "ns")
    entry = service["network_functions"][0]
    entry["vnf_group"] = entry.pop("vnf_vendor")
    content = members(service, early(vnfd("fw"), "vnf"))
    manifest = content[MANIFEST].decode()
    for key in ("vendor", "name", "version"):
        manifest = manifest.replace(f"\n{key}:", f"\npackage_{key.replace('vendor', 'group')}:")
    package = read_package(write_son(tmp_path / "x.son", {**content, MANIFEST: manifest.encode()}))
    assert package.name == "package"
    assert package.service.functions[0].vendor == "acme"
    assert rules(package) == ["sonemu_old_vocabulary"] * 3
    assert {finding.level for finding in package.findings} == {"info"}


def test_the_manifest_may_leave_out_the_entry_service_if_there_is_one(tmp_path: Path) -> None:
    content = members(nsd({"fw": "fw"}, LINKS), vnfd("fw"))
    content[MANIFEST] = content[MANIFEST].replace(f"entry_service_template: /{NSD}\n".encode(), b"")
    package = read_package(write_son(tmp_path / "x.son", content))
    assert rules(package) == ["evt_pd_itg_missing_entry_service"]
    assert "did you mean" in one(
        tmp_path, nsd({"fw": "fw"}, LINKS), vnfd("fw"), entry_service_template="/service_descriptors/nds.yml"
    )


def test_a_broken_descriptor_is_named_with_its_line(tmp_path: Path) -> None:
    content = members("vendor: acme\nname: [\n", vnfd("fw"))
    (fault,) = faults(write_son(tmp_path / "x.son", content))
    assert (fault.rule, fault.place.line) == ("evt_service_invalid_descriptor", 3)
    assert "is nothing, not a mapping" in one(tmp_path, b"", vnfd("fw"))


def test_options_beside_a_package_are_handed_on_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "sonemu.yml").write_text("vnfs:\n  fw: {image: fw:dev}\n")
    package = read(tmp_path, nsd({"fw": "fw"}, LINKS), vnfd("fw"))
    assert package.sonemu == {"vnfs": {"fw": {"image": "fw:dev"}}}
    place = package.sonemu_places["vnfs", "fw", "image"]
    assert str(place) == f"{tmp_path / 'sonemu.yml'}:2:8"
    (tmp_path / "sonemu.yml").write_text("- a\n")
    with pytest.raises(PackageError, match=r"sonemu\.yml is a list"):
        read(tmp_path, nsd({"fw": "fw"}, LINKS), vnfd("fw"))


def test_a_project_folder_and_its_pack_are_the_same_service(tmp_path: Path) -> None:
    from pytest_sonemu.descriptors.pack import pack

    function = vnfd("fw", unit={"vm_image": "file:///docker_files/fw/Dockerfile"})
    project = write_project(
        tmp_path / "p",
        nsd({"fw": "fw"}, LINKS),
        {"fw": function},
        {
            "sources/vnf/fw/Dockerfile": b"FROM sonemu/vnf-base\n",
            "sources/vnf/fw/rules/all.nft": b"",
            "sonemu.yml": b"routes: none\n",
            "tests/test_it.py": b"",
            "sources/vnf/fw/__pycache__/x": b"",
        },
    )
    folder = read_package(project)
    assert folder.findings == ()
    assert folder.sonemu == {"routes": "none"}
    assert folder.service.functions[0].units[0].context == "docker_files/fw"
    assert folder.files.folder("docker_files/fw") == (
        "docker_files/fw/Dockerfile",
        "docker_files/fw/rules/all.nft",
    )
    packed = tmp_path / "packed" / "p.son"
    packed.parent.mkdir()
    packed.write_bytes(pack(project))
    son = read_package(packed)
    assert son.digest == folder.digest
    assert (son.service.functions, son.service.links, son.service.saps) == (
        folder.service.functions,
        folder.service.links,
        folder.service.saps,
    )
    assert pack(project) == packed.read_bytes()


def test_faults_in_a_project_are_named_by_their_own_files(tmp_path: Path) -> None:
    project = write_project(
        tmp_path / "p", nsd({"fw": "fw"}, {"l": ["input", "fw:inptu"]}), {"fw": vnfd("fw")}, {}
    )
    (fault,) = faults(project)
    assert fault.place.file == str(project / "sources/nsd/nsd.yml")
    (project / "sources/nsd/second.yml").write_text("a: 1")
    (fault,) = faults(project)
    assert "found: nsd.yml, second.yml" in fault.message
    (project / "sources/nsd/second.yml").unlink()
    (project / "sources/vnf/fw/link").symlink_to("/etc/passwd")
    (project / "sources/vnf/fw/Dockerfile").write_text("FROM x")
    (fault,) = faults(project)
    assert "symbolic link" in fault.message


_leaf = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text("a:n/ \n'-é", max_size=4)
_value = st.recursive(
    _leaf,
    lambda v: (
        st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "type", "x"]), v, max_size=3)
    ),
    max_leaves=5,
)


def _keys(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path] + [deep for key, inner in value.items() for deep in _keys(inner, (*path, key))]
    if isinstance(value, list):
        return [path] + [deep for key, inner in enumerate(value) for deep in _keys(inner, (*path, key))]
    return [path]


@given(st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_descriptor_makes_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    """Any one value of any descriptor is replaced by any other: the package is read or refused."""
    links = {**LINKS, "lan": ["fw:input", "web:input", "input"]}
    graphs = graph(("input", 1), ("fw:input", 2), links=("l1",))
    service = nsd({"fw": "fw", "web": "web"}, links, forwarding_graphs=graphs)
    units = [
        {"id": "a", "vm_image": "x", "connection_points": [{"id": "eth0"}]},
        {"id": "b", "vm_image": "y"},
    ]
    inner = {"id": "in", "connectivity_type": "E-Line", "connection_points_reference": ["input", "a:eth0"]}
    two = vnfd("web", virtual_deployment_units=units, virtual_links=[inner])
    descriptors: list[Any] = [service, vnfd("fw"), two]
    root: Any = {"all": descriptors}
    path = data.draw(st.sampled_from([path for path in _keys(root) if len(path) > 1]))
    holder = root
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(_value)
    error = refusal(write_son(tmp_path / "x.son", members(*descriptors)))
    assert error is None or (error.findings and str(error))
