"""How long reading, checking and planning take, by the number of VNFs.

    python -m benchmarks.planning [VNFS...]

The package is a chain of VNFs between two SAPs with a management E-LAN and a forwarding path through all
of them, each VNF with a VNFD of its own: the longest routes and hosts tables that so many VNFs can have.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import TypeVar

from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.planning.batches import endpoint_batches, fabric_batches
from pytest_sonemu.planning.make import make_plan
from pytest_sonemu.planning.options import parse_service_options
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, ImageChoice
from pytest_sonemu.topology.model import PoP, PopLink, Topology

ROUNDS = 9
TOPOLOGY = Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),))
IMAGE = ImageChoice("vnf:dev", "sha256:0", "present", command=("/bin/sh",))
Result = TypeVar("Result")

VNFD = """\
descriptor_version: vnfd-schema-01
vendor: eu.sonata-nfv
name: vnf{number}
version: "0.1"
virtual_deployment_units:
  - id: vdu01
    vm_image: sonatanfv/vnf{number}
    vm_image_format: docker
    resource_requirements:
      cpu: {{vcpus: 1}}
      memory: {{size: 256, size_unit: MB}}
    connection_points:
      - {{id: "vdu01:mgmt", interface: ipv4, type: management}}
      - {{id: "vdu01:input", interface: ipv4, type: external}}
      - {{id: "vdu01:output", interface: ipv4, type: external}}
connection_points:
  - {{id: mgmt, interface: ipv4, type: management}}
  - {{id: input, interface: ipv4, type: external}}
  - {{id: output, interface: ipv4, type: external}}
virtual_links:
  - {{id: mgmt, connectivity_type: E-LAN, connection_points_reference: ["vdu01:mgmt", mgmt]}}
  - {{id: input, connectivity_type: E-Line, connection_points_reference: ["vdu01:input", input]}}
  - {{id: output, connectivity_type: E-Line, connection_points_reference: ["vdu01:output", output]}}
"""


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [3, 20, 60, 120]
    print(f"{'VNFs':>5}  {'read, check':>12}  {'plan':>9}  {'batches':>9}  {'together':>9}   (median ms)")
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            print(_line(count, write_package(Path(folder) / f"{count}.son", count)))


def _line(count: int, path: Path) -> str:
    options = parse_service_options({}, "benchmark")
    reading, package = timed(lambda: read_package(path))
    images = {function.id: IMAGE for function in package.service.functions}

    def plan() -> DeploymentPlan:
        return make_plan(
            package.service, TOPOLOGY, bed="bed", options=options, images=images, allocations=Allocations()
        )

    planning, made = timed(plan)

    def batches() -> int:
        texts = [batch.text for batch in fabric_batches(made, lambda endpoint: "1")]
        texts += [batch.text for endpoint in made.endpoints for batch in endpoint_batches(endpoint)]
        return len(texts)

    writing, _ = timed(batches)
    figures = (reading, planning, writing)
    shown = "  ".join(f"{value * 1e3:>{width}.1f}" for value, width in zip(figures, (12, 9, 9), strict=True))
    return f"{count:>5}  {shown}  {sum(figures) * 1e3:>9.1f}"


def timed(action: Callable[[], Result]) -> tuple[float, Result]:
    """The median of several rounds, in seconds, and what the last one returned."""
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        started = time.perf_counter()
        result = action()
        rounds.append(time.perf_counter() - started)
    return median(rounds), result


def write_package(path: Path, count: int) -> Path:
    """The chain of `count` VNFs as a .son file."""
    members = dict(_members(count))
    content = "".join(
        f"  - {{name: /{name}, content-type: application/sonata."
        f"{'service' if name.startswith('service') else 'function'}_descriptor}}\n"
        for name in members
    )
    manifest = (
        "descriptor_version: '1.0'\nvendor: eu.sonata-nfv\nname: chain\nversion: '0.1'\n"
        "package_maintainer: nobody\npackage_description: a chain\n"
        "entry_service_template: /service_descriptors/nsd.yml\nsealed: true\npackage_content:\n" + content
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {"META-INF/MANIFEST.MF": manifest, **members}.items():
            archive.writestr(name, text)
    return path


def _members(count: int) -> Iterator[tuple[str, str]]:
    points = [f"v{number}:{point}" for number in range(count) for point in ("input", "output")]
    stations = ["input", *points, "output"]
    lines = [
        "descriptor_version: '1.0'", "vendor: eu.sonata-nfv", "name: chain", "version: '0.1'",
        "network_functions:",
    ]  # fmt: skip
    lines += [
        f"  - {{vnf_id: v{number}, vnf_vendor: eu.sonata-nfv, vnf_name: vnf{number}, vnf_version: '0.1'}}"
        for number in range(count)
    ]
    lines += ["connection_points:", "  - {id: mgmt, interface: ipv4, type: management}"]
    lines += [f"  - {{id: {sap}, interface: ipv4, type: external}}" for sap in ("input", "output")]
    members = ", ".join(["mgmt", *(f"'v{number}:mgmt'" for number in range(count))])
    lines += [
        "virtual_links:",
        f"  - {{id: mgmt, connectivity_type: E-LAN, connection_points_reference: [{members}]}}",
    ]
    lines += [
        f"  - {{id: link{number}, connectivity_type: E-Line,"
        f" connection_points_reference: ['{stations[2 * number]}', '{stations[2 * number + 1]}']}}"
        for number in range(count + 1)
    ]
    links = ", ".join(["mgmt", *(f"link{number}" for number in range(count + 1))])
    vnfs = ", ".join(f"v{number}" for number in range(count))
    lines += [
        "forwarding_graphs:",
        "  - fg_id: fg01",
        "    number_of_endpoints: 2",
        f"    number_of_virtual_links: {count + 2}",
        f"    constituent_virtual_links: [{links}]",
        f"    constituent_vnfs: [{vnfs}]",
        "    network_forwarding_paths:",
        "      - fp_id: fp01",
        "        policy: none",
        "        connection_points:",
    ]
    lines += [
        f"          - {{connection_point_ref: '{station}', position: {number}}}"
        for number, station in enumerate(stations, start=1)
    ]
    yield "service_descriptors/nsd.yml", "\n".join(lines) + "\n"
    for number in range(count):
        yield f"function_descriptors/vnf{number}.yml", VNFD.format(number=number)


if __name__ == "__main__":
    main()
