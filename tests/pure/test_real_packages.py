"""Real packages, each with the verdict that its line in INDEX.tsv implies."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from pytest_sonemu.descriptors.model import NetworkService, Resources
from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.errors import PackageError
from tests.pure.package_writing import members, nsd, vnfd, write_son


def links(service: NetworkService) -> dict[str, str]:
    return {link.id: f"{link.connectivity} " + " ".join(map(str, link.references)) for link in service.links}


def path_of(service: NetworkService) -> str:
    (path,) = service.paths
    return " ".join(map(str, path.references))


CHAIN = {
    "mgmt": "E-LAN empty_vnf1:mgmt empty_vnf2:mgmt empty_vnf3:mgmt mgmt",
    "link-input": "E-Line input empty_vnf1:input",
    "link-12": "E-Line empty_vnf1:output empty_vnf2:input",
    "link-23": "E-Line empty_vnf2:output empty_vnf3:input",
    "link-output": "E-Line empty_vnf3:output output",
}
CHAIN_PATH = (
    "input empty_vnf1:input empty_vnf1:output empty_vnf2:input empty_vnf2:output"
    " empty_vnf3:input empty_vnf3:output output"
)


@pytest.mark.parametrize("name", ["sonata-empty-service.son", "sonata-demo-service.son"])
def test_the_same_chain_in_both_vocabularies_is_the_same_service(shared_packages: Path, name: str) -> None:
    package = read_package(shared_packages / name)
    service = package.service
    assert links(service) == CHAIN
    assert path_of(service) == CHAIN_PATH
    assert [vnf.id for vnf in service.functions] == ["empty_vnf1", "empty_vnf2", "empty_vnf3"]
    assert {vnf.interfaces for vnf in service.functions} == {("mgmt", "input", "output")}
    assert {sap.id: sap.type for sap in service.saps} == {
        "mgmt": "management",
        "input": "external",
        "output": "external",
    }
    assert [link.id for link in service.links if link.management] == ["mgmt"]
    (unit,) = service.functions[0].units
    assert (unit.image, unit.resources) == ("sonatanfv/sonata-empty-vnf", Resources(1.0, (), 2 * 1024**3))
    assert [point.id for point in unit.connection_points] == ["mgmt", "input", "output"]


def test_a_package_without_faults_has_no_findings(shared_packages: Path) -> None:
    assert read_package(shared_packages / "sonata-empty-service.son").findings == ()
    assert read_package(shared_packages / "sonata-snort-service.son").findings == ()


def test_limits_are_those_of_the_descriptor(shared_packages: Path) -> None:
    service = read_package(shared_packages / "sonata-stress-service.son").service
    assert [vnf.units[0].resources for vnf in service.functions] == [
        Resources(0.3, (1,), 1610612736),
        Resources(0.33, (2, 3), 601295421),
        Resources(0.07, (3,), 327155712),
    ]
    assert [vnf.interfaces for vnf in service.functions] == [(), (), ()]
    assert (service.links, service.saps) == ((), ())


def test_saps_may_be_linked_to_each_other(shared_packages: Path) -> None:
    package = read_package(shared_packages / "sonata-fw-vtc-service.son")
    assert links(package.service)["link-back"] == "E-Line serviceout servicein"
    assert {finding.rule for finding in package.findings} == {
        "evt_pd_itg_invalid_md5",
        "evt_nsd_top_fwgraph_cycles",
        "evt_nsd_top_fwgraph_cpoints_odd",
        "sonemu_old_vocabulary",
        "sonemu_sap_link",
    }


def test_a_chain_of_eight(shared_packages: Path) -> None:
    service = read_package(shared_packages / "vforward-8-1.son").service
    assert len(service.functions) == 8
    assert len(path_of(service).split()) == 18
    assert len(service.links) == 10
    assert "service_specific_managers" in service.not_emulated


def test_dockerfiles_in_the_package_are_build_contexts(shared_packages: Path) -> None:
    package = read_package(shared_packages / "sonata-demo-valid.son")
    units = {vnf.id: vnf.units[0] for vnf in package.service.functions}
    assert units["vnf_iperf"].context == "docker_files/iperf"
    assert units["vnf_iperf"].image is None
    assert package.files.folder("docker_files/iperf") == (
        "docker_files/iperf/Dockerfile",
        "docker_files/iperf/start.sh",
    )
    assert units["vnf_firewall"].image_format == "qcow2"
    (finding,) = [finding for finding in package.findings if finding.level != "info"]
    assert finding.rule == "sonemu_image_format"
    assert "function_descriptors/firewall-vnfd.yml:24:" in str(finding)


def test_wrong_md5_sums_are_warnings(shared_packages: Path) -> None:
    findings = read_package(shared_packages / "sonata-demo-invalid-md5.son").findings
    assert [(f.rule, f.level) for f in findings if "md5" in f.rule] == [
        ("evt_pd_itg_invalid_md5", "warning")
    ] * 4


def test_a_missing_file_is_an_error_that_names_the_likely_one(shared_packages: Path) -> None:
    with pytest.raises(PackageError) as caught:
        read_package(shared_packages / "sonata-demo-invalid-integrity-1.son")
    errors = [finding for finding in caught.value.findings if finding.level == "error"]
    assert [finding.rule for finding in errors] == [
        "evt_pd_itg_invalid_reference",
        "evt_nsd_itg_function_unavailable",
    ]
    assert "META-INF/MANIFEST.MF:28:11" in str(errors[0])
    assert "did you mean 'function_descriptors/iperf-vnfd.yml'?" in str(errors[0])


def test_a_misspelt_sap_is_named_with_the_likely_one(shared_packages: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared_packages / "sonata-fw-vtc-service.son") as archive:
        content = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    name = "service_descriptors/fw-vtc-nsd.yml"
    content[name] = content[name].replace(b"- ns:servicein\n  - fw_vnf", b"- ns:servicin\n  - fw_vnf")
    with pytest.raises(PackageError) as caught:
        read_package(write_son(tmp_path / "x.son", content))
    (error,) = [finding for finding in caught.value.findings if finding.level == "error"]
    assert error.rule == "evt_nsd_itg_undeclared_cpoint"
    assert "undefined connection point 'ns:servicin'" in error.message
    assert error.hint == "did you mean 'servicein'?"


def test_reading_leaves_the_package_as_it_is(shared_packages: Path, tmp_path: Path) -> None:
    source = shared_packages / "sonata-empty-service.son"
    copy = Path(shutil.copy(source, tmp_path / "copy.son"))
    before, names = copy.read_bytes(), list(tmp_path.iterdir())
    first, second = read_package(copy), read_package(source)
    assert copy.read_bytes() == before
    assert list(tmp_path.iterdir()) == names
    assert first.digest == second.digest
    assert first.service.links == second.service.links


def test_sixty_vnfs_are_read_in_well_under_100_ms(tmp_path: Path) -> None:
    count = 60
    stations = ["in", *(f"v{n}:{end}" for n in range(count) for end in ("input", "output")), "out"]
    chain = {f"l{n}": stations[2 * n : 2 * n + 2] for n in range(count + 1)}
    lan = {"lan": [f"v{n}:mgmt" for n in range(count)]}
    path = {
        "fg_id": "fg",
        "network_forwarding_paths": [
            {
                "fp_id": "fp",
                "connection_points": [
                    {"connection_point_ref": ref, "position": n} for n, ref in enumerate(stations, start=1)
                ],
            }
        ],
    }
    service = nsd({f"v{n}": f"f{n}" for n in range(count)}, chain | lan, forwarding_graphs=[path])
    functions = [vnfd(f"f{n}", ("input", "output", "mgmt")) for n in range(count)]
    package = write_son(tmp_path / "x.son", members(service, *functions))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        read = read_package(package)
        times.append(time.perf_counter() - start)
    assert len(read.service.functions) == count
    assert len(read.service.links) == count + 2
    assert read.findings == ()
    assert min(times) < 0.1, times
