"""`read_package`: a `.son` file or a project folder, read and checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_sonemu.descriptors import located
from pytest_sonemu.descriptors.archive import PackageFiles, open_archive, refused
from pytest_sonemu.descriptors.findings import Finding, Findings
from pytest_sonemu.descriptors.manifest import Manifest, read_manifest
from pytest_sonemu.descriptors.model import NetworkService, Place
from pytest_sonemu.descriptors.nsd import SYNTAX, read_nsd
from pytest_sonemu.descriptors.project import open_project
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.descriptors.vnfd import FunctionDescriptor, open_vnfd
from pytest_sonemu.errors import PackageError

OPTIONS_FILE = "sonemu.yml"


@dataclass(frozen=True)
class Package:
    """A service package that can be deployed.

    `findings` are the warnings and remarks of reading it. `files` has the package's content by member
    name, for build contexts (`archive.unpack_context`). `digest` is sha256 over that content.
    `sonemu` is what `sonemu.yml` beside a `.son`, or in a project folder, says, as plain data;
    `sonemu_places` has the place of each of its keys by path: `("vnfs", "fw", "image")`.
    """

    service: NetworkService
    findings: tuple[Finding, ...]
    path: Path
    digest: str
    files: PackageFiles = field(repr=False)
    vendor: str = ""
    name: str = ""
    version: str = ""
    sonemu: Mapping[str, located.Plain] = field(default_factory=dict, repr=False)
    sonemu_places: Mapping[located.Path, Place] = field(default_factory=dict, repr=False)


def read_package(path: str | Path) -> Package:
    """The package at `path`, a `.son` file or a project folder.

    Raises PackageError with all findings when it cannot be deployed.
    """
    path = Path(path)
    findings = Findings()
    if path.is_dir():
        files = open_project(path, findings)
    elif path.exists():
        files = open_archive(path, findings)
    else:
        raise refused(str(path), "evt_package_format_invalid", "no such file or folder")
    manifest = read_manifest(files, findings)
    service = _service(manifest, files, findings, str(path)) if manifest is not None else None
    sonemu, places = _options((path if path.is_dir() else path.parent) / OPTIONS_FILE, findings)
    if findings.failed or service is None or manifest is None:
        count = len(findings.errors)
        raise PackageError(f"{path} cannot be deployed: {count} error{'s' if count != 1 else ''}", findings)
    return Package(
        service=service,
        findings=findings.in_order(),
        path=path,
        digest=files.digest(),
        files=files,
        vendor=manifest.vendor,
        name=manifest.name,
        version=manifest.version,
        sonemu=sonemu,
        sonemu_places=places,
    )


def _service(
    manifest: Manifest, files: PackageFiles, findings: Findings, origin: str
) -> NetworkService | None:
    opened = [open_vnfd(listed, files, findings) for listed in manifest.functions]
    descriptors: list[FunctionDescriptor] = [descriptor for descriptor in opened if descriptor is not None]
    if manifest.service is None:
        return None
    member = manifest.service.member
    node = located.load(files[member], files.name_of(member), findings, rule="evt_service_invalid_descriptor")
    section = Section.of(node, findings, SYNTAX, "the NSD") if node is not None else None
    return read_nsd(section, descriptors, files, findings, origin) if section is not None else None


def _options(
    path: Path, findings: Findings
) -> tuple[Mapping[str, located.Plain], Mapping[located.Path, Place]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}, {}
    except OSError as error:
        findings.error("sonemu_options", f"cannot be read: {error.strerror}", Place(str(path)))
        return {}, {}
    node = located.load(data, str(path), findings, rule="sonemu_options")
    if node is None or node.value is None:
        return {}, {}
    plain = node.plain()
    if not isinstance(plain, dict):
        findings.error("sonemu_options", f"{path.name} is {node.kind}, not a mapping", node.place)
        return {}, {}
    return plain, node.places()
