"""What `sonemu init` writes: the texts of a project's files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def project_files(
    service: str, vnf: str, image: str, build: str | None, points: Sequence[str]
) -> Mapping[str, str]:
    """Path in the project folder -> text. `build` is a folder relative to it; then `image` is not used.

    Each of the VNF's `points` is joined to a SAP of the same name by an E-Line; a VNF with two or more
    has a forwarding path from its first to its second.
    """
    files = {
        "project.yml": _yaml(_project(service)),
        f"sources/nsd/{service}.yml": _yaml(_nsd(service, vnf, points)),
        f"sources/vnf/{vnf}/{vnf}.yml": _yaml(_vnfd(vnf, image if build is None else f"{vnf}:dev", points)),
        "topology.yml": TOPOLOGY,
        "test_service.py": _test(vnf, points),
    }
    if build is not None:
        files["sonemu.yml"] = _yaml({"vnfs": {vnf: {"build": build}}})
    return files


def _project(service: str) -> dict[str, Any]:
    return {
        "version": "0.5",
        "descriptor_extension": "yml",
        "package": {
            "vendor": "local",
            "name": service,
            "version": "0.1",
            "maintainer": "nobody",
            "description": f"The service {service}",
        },
    }


def _nsd(service: str, vnf: str, points: Sequence[str]) -> dict[str, Any]:
    nsd: dict[str, Any] = {
        "descriptor_version": "1.0",
        "vendor": "local",
        "name": service,
        "version": "0.1",
        "description": f"{vnf} between its SAPs",
        "network_functions": [
            {"vnf_id": vnf, "vnf_vendor": "local", "vnf_name": vnf, "vnf_version": "0.1"},
        ],
        "connection_points": [{"id": point, "interface": "ipv4", "type": "external"} for point in points],
        "virtual_links": [
            {
                "id": f"link-{point}",
                "connectivity_type": "E-Line",
                "connection_points_reference": [point, f"{vnf}:{point}"],
            }
            for point in points
        ],
    }
    if len(points) > 1:
        first, last = points[0], points[1]
        stations = [first, f"{vnf}:{first}", f"{vnf}:{last}", last]
        nsd["forwarding_graphs"] = [
            {
                "fg_id": "fg01",
                "number_of_endpoints": 2,
                "number_of_virtual_links": 2,
                "constituent_virtual_links": [f"link-{first}", f"link-{last}"],
                "constituent_vnfs": [vnf],
                "network_forwarding_paths": [
                    {
                        "fp_id": "fp01",
                        "policy": "none",
                        "connection_points": [
                            {"connection_point_ref": station, "position": position}
                            for position, station in enumerate(stations, start=1)
                        ],
                    }
                ],
            }
        ]
    return nsd


def _vnfd(vnf: str, image: str, points: Sequence[str]) -> dict[str, Any]:
    declared = [{"id": point, "interface": "ipv4", "type": "external"} for point in points]
    return {
        "descriptor_version": "1.0",
        "vendor": "local",
        "name": vnf,
        "version": "0.1",
        "description": f"The VNF {vnf}",
        "virtual_deployment_units": [
            {
                "id": "vdu01",
                "vm_image": image,
                "vm_image_format": "docker",
                "resource_requirements": {
                    "cpu": {"vcpus": 1},
                    "memory": {"size": 256, "size_unit": "MB"},
                },
                "connection_points": [
                    {"id": f"eth{number}", "interface": "ipv4", "type": "internal"}
                    for number in range(len(points))
                ],
            }
        ],
        "connection_points": declared,
        "virtual_links": [
            {
                "id": f"inside-{point}",
                "connectivity_type": "E-Line",
                "connection_points_reference": [f"vdu01:eth{number}", point],
            }
            for number, point in enumerate(points)
        ],
    }


TOPOLOGY = """\
# Where the service runs: points of presence, and the links between them.
pops:
  pop1: {}
  pop2: {}
links:
  - [pop1, pop2]
"""


def _test(vnf: str, points: Sequence[str]) -> str:
    word = vnf.replace("-", "_")
    lines = [
        "import pytest",
        "",
        'pytestmark = pytest.mark.sonemu(topology="topology.yml", package=".")',
        "",
        "",
        f"def test_{word}_answers(service):",
    ]
    lines += [f'    assert service.ping("{point}", "{vnf}:{point}").loss == 0' for point in points]
    if len(points) > 1:
        lines += ["", "", f"def test_packets_pass_through_{word}(service):"]
        lines += [f'    assert service.ping("{points[0]}", "{points[1]}").loss == 0']
    return "\n".join(lines) + "\n"


def _yaml(data: Mapping[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True)
    return text
