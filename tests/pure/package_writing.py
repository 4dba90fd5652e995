"""Packages written by tests: `.son` archives and project folders from a few lines of YAML."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pytest_sonemu.descriptors.findings import Finding
from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.errors import PackageError

NSD = "service_descriptors/nsd.yml"
MANIFEST = "META-INF/MANIFEST.MF"


def vnfd(name: str, points: Sequence[str] = ("input", "output"), **more: Any) -> dict[str, Any]:
    """A VNFD of one docker unit."""
    unit = {
        "id": "vdu01",
        "vm_image": "web:dev",
        "vm_image_format": "docker",
        "resource_requirements": {"cpu": {"vcpus": 1}, "memory": {"size": 256, "size_unit": "MB"}},
        **more.pop("unit", {}),
    }
    return {
        "descriptor_version": "vnfd-schema-01",
        "vendor": "acme",
        "name": name,
        "version": "0.1",
        "virtual_deployment_units": [unit],
        "connection_points": [{"id": point, "interface": "ipv4", "type": "external"} for point in points],
        **more,
    }


def nsd(functions: Mapping[str, str], links: Mapping[str, Sequence[str]], **more: Any) -> dict[str, Any]:
    """An NSD: `functions` maps vnf_id to VNFD name; links of two ends are E-Lines, others E-LANs."""
    ends = [end for link in links.values() for end in link]
    saps = list(dict.fromkeys(end for end in ends if ":" not in end))
    return {
        "descriptor_version": "1.0",
        "vendor": "acme",
        "name": "service",
        "version": "0.1",
        "network_functions": [
            {"vnf_id": vnf_id, "vnf_vendor": "acme", "vnf_name": name, "vnf_version": "0.1"}
            for vnf_id, name in functions.items()
        ],
        "connection_points": [{"id": sap, "interface": "ipv4", "type": "external"} for sap in saps],
        "virtual_links": [
            {
                "id": link,
                "connectivity_type": "E-Line" if len(ends) == 2 else "E-LAN",
                "connection_points_reference": list(ends),
            }
            for link, ends in links.items()
        ],
        **more,
    }


def members(service: Any, *functions: Any, **manifest: Any) -> dict[str, bytes]:
    """The members of a package. Descriptors are mappings, or YAML texts for faults in them."""
    names = [f"function_descriptors/vnfd{number}.yml" for number, _ in enumerate(functions, start=1)]
    content = [{"name": f"/{NSD}", "content-type": "application/sonata.service_descriptor"}]
    content += [
        {"name": f"/{name}", "content-type": "application/sonata.function_descriptor"} for name in names
    ]
    head = {
        "descriptor_version": "1.0",
        "vendor": "acme",
        "name": "package",
        "version": "0.1",
        "entry_service_template": f"/{NSD}",
        "package_content": content,
        **manifest,
    }
    described = {MANIFEST: head, NSD: service, **dict(zip(names, functions, strict=True))}
    return {name: as_yaml(descriptor) for name, descriptor in described.items()}


def as_yaml(descriptor: Any) -> bytes:
    if isinstance(descriptor, bytes):
        return descriptor
    text = descriptor if isinstance(descriptor, str) else yaml.safe_dump(descriptor, sort_keys=False)
    return text.encode()


def write_son(path: Path, content: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def write_project(root: Path, service: Any, functions: Mapping[str, Any], more: Mapping[str, bytes]) -> Path:
    """A project folder; `functions` maps the folder's name to the VNFD."""
    files = {
        "project.yml": as_yaml(
            {"version": "0.5", "package": {"name": "p", "vendor": "acme", "version": "0.1"}}
        ),
        "sources/nsd/nsd.yml": as_yaml(service),
        **{f"sources/vnf/{name}/{name}-vnfd.yml": as_yaml(vnfd) for name, vnfd in functions.items()},
        **more,
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def refusal(path: Path) -> PackageError | None:
    """The error that a package is refused with; None if it can be read."""
    try:
        read_package(path)
    except PackageError as error:
        return error
    return None


def faults(path: Path) -> list[Finding]:
    """The errors of a package that must be refused, in order."""
    error = refusal(path)
    assert error is not None, f"{path} was not refused"
    return [finding for finding in error.findings if finding.level == "error"]


TANGO = "https://raw.githubusercontent.com/sonata-nfv/tng-schema/master"


def cnf(name: str = "cc", **more: Any) -> dict[str, Any]:
    """A VNFD of 5GTANGO with one cloud-native unit that serves port 80."""
    unit = {
        "id": "cdu01",
        "image": "acme/broker:1",
        "connection_points": [{"id": "data", "port": 80, "publish": {80: 8080}}],
        "parameters": {"env": {"MODE": "fast", "LEVEL": 3}},
        **more.pop("unit", {}),
    }
    return {
        "descriptor_schema": f"{TANGO}/function-descriptor/vnfd-schema.yml",
        "vendor": "acme",
        "name": name,
        "version": "0.1",
        "cloudnative_deployment_units": [unit],
        "connection_points": [{"id": "input", "interface": "ipv4", "type": "serviceendpoint", "port": 80}],
        "virtual_links": [
            {
                "id": "in",
                "connectivity_type": "E-Tree",
                "connection_points_reference": ["input", "cdu01:data"],
            }
        ],
        **more,
    }


def tango_nsd(**more: Any) -> dict[str, Any]:
    """An NSD of 5GTANGO: one VNF `cc` behind the SAP `users`."""
    made = nsd({"cc": "cc"}, {"l": ["users", "cc:input"]}, **more)
    del made["descriptor_version"]
    return {"descriptor_schema": f"{TANGO}/service-descriptor/nsd-schema.yml", **made}


def tgo_members(
    service: Any,
    *functions: Any,
    root: str = "",
    others: Mapping[str, tuple[str, bytes]] | None = None,
    **napd: Any,
) -> dict[str, bytes]:
    """The members of a `.tgo`. `others` are further files: name -> (content-type, bytes)."""
    files = {"Definitions/nsd.yml": ("application/vnd.5gtango.nsd", as_yaml(service))} if service else {}
    for number, function in enumerate(functions, start=1):
        files[f"Definitions/vnfd{number}.yml"] = ("application/vnd.5gtango.vnfd", as_yaml(function))
    files |= others or {}
    content = [
        {
            "source": name,
            "algorithm": "SHA-256",
            "hash": hashlib.sha256(data).hexdigest(),
            "content-type": kind,
        }
        for name, (kind, data) in files.items()
    ]
    head = {
        "descriptor_schema": f"{TANGO}/package-specification/napd-schema.yml",
        "vendor": "acme",
        "name": "package",
        "version": "0.1",
        "package_type": "application/vnd.5gtango.package.nsp",
        "package_content": content,
        **napd,
    }
    meta = (
        "TOSCA-Meta-Version: 1.0\nCSAR-Version: 1.0\n"
        "Entry-Manifest: etsi_manifest.mf\nEntry-Definitions: TODO\n"
        "\nName: TOSCA-Metadata/NAPD.yaml\nContent-Type: application/vnd.5gtango.napd\n"
    )
    etsi = "ns_product_name: package\nns_provider_id: acme\nns_package_version: 0.1\n" + "".join(
        f"\nSource: {item['source']}\nAlgorithm: SHA-256\nHash: {item['hash']}\n" for item in content
    )
    made = {
        "TOSCA-Metadata/TOSCA.meta": meta.encode(),
        "TOSCA-Metadata/NAPD.yaml": as_yaml(head),
        "etsi_manifest.mf": etsi.encode(),
        **{name: data for name, (_, data) in files.items()},
    }
    return {root + name: data for name, data in made.items()}
