"""`read_package` and `check_package`: a package file or a project folder, read and judged as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_sonemu.descriptors import located
from pytest_sonemu.descriptors.archive import MANIFEST, PackageFiles, archive_of, open_archive, refused
from pytest_sonemu.descriptors.findings import Finding, Findings
from pytest_sonemu.descriptors.functions import FunctionReader
from pytest_sonemu.descriptors.manifest import Manifest, read_manifest
from pytest_sonemu.descriptors.model import NetworkService, Place
from pytest_sonemu.descriptors.napd import read_napd
from pytest_sonemu.descriptors.nsd import SYNTAX, read_nsd
from pytest_sonemu.descriptors.project import open_project
from pytest_sonemu.descriptors.rules import LENIENT, Levels
from pytest_sonemu.descriptors.schemas import check_nsd
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.descriptors.vnfd import FunctionDescriptor, open_vnfd
from pytest_sonemu.errors import PackageError

OPTIONS_FILE = "sonemu.yml"


@dataclass(frozen=True)
class Package:
    """A service package that can be deployed.

    `findings` are those of reading it that do not keep it from being deployed. `files` has the
    package's content by member name, for build contexts (`archive.unpack_context`). `digest` is sha256
    over that content. `sonemu` is what `sonemu.yml` beside an archive, or in a project folder, says, as
    plain data; `sonemu_places` has the place of each of its keys by path: `("vnfs", "fw", "image")`.
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


@dataclass(frozen=True)
class Verdict:
    """What was found in a package. `package` is None if it cannot be deployed.

    `usable`: it is a package at all, so that its descriptors could be judged.
    """

    path: Path
    findings: tuple[Finding, ...]
    package: Package | None
    usable: bool = True


def read_package(path: str | Path, *, levels: Levels = LENIENT) -> Package:
    """The package at `path`, a `.son` or `.tgo` file or a project folder.

    Raises PackageError with all findings when it cannot be deployed.
    """
    verdict = check_package(path, levels=levels)
    if verdict.package is not None:
        return verdict.package
    if not verdict.usable:
        raise PackageError(f"{path} cannot be used as a service package", verdict.findings)
    count = sum(finding.blocks for finding in verdict.findings)
    message = f"{path} cannot be deployed: {count} error{'s' if count != 1 else ''}"
    raise PackageError(message, verdict.findings)


def check_package(path: str | Path, *, levels: Levels = LENIENT, cores: int | None = None) -> Verdict:
    """Everything that can be said of the package at `path`. Raises nothing for what it holds.

    `cores`: how many CPU cores the machine has on which it is to run, where that is to be checked.
    """
    path = Path(path)
    findings = Findings(levels)
    try:
        files = _open(path, findings)
    except PackageError as error:
        return Verdict(path, _levelled(error.findings, levels), None, usable=False)
    return _judged(path, files, findings, cores)


def check_bytes(data: bytes, name: str, *, levels: Levels = LENIENT) -> Verdict:
    """As `check_package`, for an archive in memory; `name` is what places call it."""
    findings = Findings(levels)
    try:
        files = archive_of(data, name, findings)
    except PackageError as error:
        return Verdict(Path(name), _levelled(error.findings, levels), None, usable=False)
    return _judged(Path(name), files, findings, None, options=False)


def _open(path: Path, findings: Findings) -> PackageFiles:
    try:
        if path.is_dir():
            return open_project(path, findings)
        if path.exists():
            return open_archive(path, findings)
    except ValueError:  # a NUL in the name
        pass
    except OSError as error:
        message = f"cannot be looked at: {error.strerror}"
        raise refused(str(path)[:200], "evt_package_format_invalid", message) from None
    raise refused(str(path), "evt_package_format_invalid", "no such file or folder")


def _levelled(findings: tuple[Finding, ...], levels: Levels) -> tuple[Finding, ...]:
    again = Findings(levels)
    for found in findings:
        again.say(found.level, found.rule, found.message, found.place, found.hint)
    return again.in_order()


def _judged(
    path: Path, files: PackageFiles, findings: Findings, cores: int | None, *, options: bool = True
) -> Verdict:
    service = None
    manifest = None
    digest = ""
    sonemu: Mapping[str, located.Plain] = {}
    places: Mapping[located.Path, Place] = {}
    try:
        manifest = read_manifest(files, findings) if MANIFEST in files else read_napd(files, findings)
        if manifest is not None:
            service = _service(manifest, files, findings, str(path), cores)
        if options:
            folder = path if path.is_dir() else path.parent
            sonemu, places = _options(folder / OPTIONS_FILE, findings)
        if not findings.failed:
            digest = files.digest()
    except PackageError as error:  # a damaged member
        for found in error.findings:
            findings.add(found)
    if findings.dropped:
        message = f"there is more than these {len(findings)} findings; the rest is not listed"
        found = Finding("sonemu_yaml", "error", message, Place(str(path)), blocks=findings.failed)
        all_found = (*findings.in_order(), found)
    else:
        all_found = findings.in_order()
    if findings.failed or service is None or manifest is None:
        return Verdict(path, all_found, None)
    package = Package(
        service=service,
        findings=all_found,
        path=path,
        digest=digest,
        files=files,
        vendor=manifest.vendor,
        name=manifest.name,
        version=manifest.version,
        sonemu=sonemu,
        sonemu_places=places,
    )
    return Verdict(path, all_found, package)


def _service(
    manifest: Manifest, files: PackageFiles, findings: Findings, origin: str, cores: int | None
) -> NetworkService | None:
    opened = {listed.member: open_vnfd(listed, files, findings) for listed in manifest.functions}
    descriptors: list[FunctionDescriptor] = [found for found in opened.values() if found is not None]
    broken = [member for member, found in opened.items() if found is None]
    service = None
    if manifest.service is not None:
        reader = FunctionReader(descriptors, files, findings, cores=cores, broken=broken)
        service = _nsd(manifest, reader, files, findings, origin)
    for descriptor in descriptors:
        descriptor.check_schema(findings)
    return service


def _nsd(
    manifest: Manifest, reader: FunctionReader, files: PackageFiles, findings: Findings, origin: str
) -> NetworkService | None:
    listed = manifest.service
    if listed is None:
        return None
    node = located.load_member(files, listed.member, findings, "evt_service_invalid_descriptor")
    if node is None:
        return None
    section = Section.of(node, findings, SYNTAX, "the NSD", shape="evt_invalid_descriptor")
    if section is None:
        return None
    if "network_functions" not in section and "virtual_deployment_units" in section:
        message = f"{listed.member} is the entry service, but describes a VNF"
        findings.error("evt_invalid_descriptor", message, section.node.key_place("virtual_deployment_units"))
    service = read_nsd(section, reader, findings, origin)
    check_nsd(node, findings, tango=listed.tango)
    return service


def _options(
    path: Path, findings: Findings
) -> tuple[Mapping[str, located.Plain], Mapping[located.Path, Place]]:
    rule = "sonemu_options"
    try:
        if path.stat().st_size > located.MAX_BYTES:
            located.too_large(path.stat().st_size, str(path), findings, rule)
            return {}, {}
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}, {}
    except OSError as error:
        findings.error(rule, f"cannot be read: {error.strerror}", Place(str(path)))
        return {}, {}
    node = located.load(data, str(path), findings, rule=rule)
    if node is None or node.value is None:
        return {}, {}
    plain = node.plain()
    if not isinstance(plain, dict):
        findings.error(rule, f"{path.name} is {node.kind}, not a mapping", node.place)
        return {}, {}
    return plain, node.places()
