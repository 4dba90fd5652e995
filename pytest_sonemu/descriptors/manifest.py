"""The manifest of a package: which of its files is the NSD, which are VNFDs, and are all of them there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from pytest_sonemu.descriptors.archive import MANIFEST, STRUCTURE, PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import load_member
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.descriptors.schemas import check_manifest
from pytest_sonemu.descriptors.section import Section

SYNTAX = "evt_pd_stx_invalid"
ENTRY, REFERENCE, SUM = (
    "evt_pd_itg_missing_entry_service",
    "evt_pd_itg_invalid_reference",
    "evt_pd_itg_invalid_md5",
)
_NSD = ("application/sonata.service_descriptor", "application/sonata.service_descriptors")
_VNFD = ("application/sonata.function_descriptor", "application/sonata.function_descriptors")
_FOLDERS = ("service_descriptors", "function_descriptors")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that the manifest lists: its member name and where; `tango`: in a 5GTANGO package."""

    member: str
    place: Place
    tango: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the manifest says. `service` is the NSD's member name, None after an error."""

    vendor: str
    name: str
    version: str
    service: Listed | None
    functions: tuple[Listed, ...]


def read_manifest(files: PackageFiles, findings: Findings) -> Manifest | None:
    """The manifest of a `.son`, with every file it names checked; None after an error."""
    node = load_member(files, MANIFEST, findings, SYNTAX)
    if node is None:
        return None
    manifest = Section.of(node, findings, SYNTAX, "the manifest")
    if manifest is None:
        return None
    services: list[Listed] = []
    functions: list[Listed] = []
    for item in manifest.sections("package_content", "an item of package_content"):
        kind = item.text("content-type") or ""
        listed = _listed(item, kind, files, findings)
        if listed is None:
            continue
        if kind in _VNFD:
            functions.append(listed)
        elif kind in _NSD:
            services.append(listed)
        elif "descriptor" in kind:
            near = findings.near(kind, (_NSD[0], _VNFD[0]))
            message = f"content-type '{kind}' is not known: the file is not read"
            findings.warning(SYNTAX, message, item.place_of("content-type"), near)
    if MANIFEST not in files.made:
        _check_structure(files, findings)
        _check_unlisted(manifest, files, findings)
    _check_signature(manifest, findings)
    result = Manifest(
        vendor=manifest.text("vendor", "package_group") or "",
        name=manifest.text("name", "package_name") or "",
        version=manifest.text("version", "package_version") or "",
        service=_entry_service(manifest, services, files, findings),
        functions=tuple(dict.fromkeys(functions)),
    )
    if MANIFEST not in files.made:
        check_manifest(node, findings)
    return result


def member_name(reference: str) -> str:
    """The member that a manifest or VNFD means: `/a/b`, `a/b` and `file:///a/b` are the same."""
    return reference.removeprefix("file://").lstrip("/")


def _listed(item: Section, kind: str, files: PackageFiles, findings: Findings) -> Listed | None:
    name = item.text("name", required="error")
    if name is None:
        return None
    member, place = member_name(name), item.place_of("name")
    if member not in files:
        if member.endswith("/") and files.folder(member):
            return None
        message = f"'{name}' is not in the package"
        say = findings.error if kind in (*_NSD, *_VNFD) else findings.warning
        say(REFERENCE, message, place, findings.near(member, files))
        return None
    wanted = item.text("md5")
    if wanted is not None:
        found = hashlib.md5(files[member], usedforsecurity=False).hexdigest()
        if found != wanted.lower():
            message = f"'{name}' has md5 {found}, not {wanted[:40]}"
            hint = "it was changed after packing: pack it anew"
            findings.warning(SUM, message, item.place_of("md5"), hint)
    return Listed(member, place)


def _check_structure(files: PackageFiles, findings: Findings) -> None:
    """What is beside the manifest, and the folders of descriptors, of an archive."""
    place = Place(files.origin)
    beside = [name for name in files.folder("META-INF") if name != MANIFEST]
    if beside:
        message = f"META-INF holds more than MANIFEST.MF: {', '.join(beside[:5])}"
        findings.warning(STRUCTURE, message, Place(files.name_of(beside[0])), "keep other files elsewhere")
    for folder in _FOLDERS:
        if not files.folder(folder):
            message = f"the package has no files in {folder}/"
            findings.warning(STRUCTURE, message, place, about=f"-{folder}")


def _check_unlisted(manifest: Section, files: PackageFiles, findings: Findings) -> None:
    """Descriptors in their folders that the manifest does not list: nobody reads them."""
    content = manifest.node_of("package_content")
    listed = {
        member_name(item.value["name"].text)
        for item in (content.value if content is not None and isinstance(content.value, list) else ())
        if isinstance(item.value, dict) and "name" in item.value
    }
    entry = manifest.node_of("entry_service_template")
    if entry is not None:
        listed.add(member_name(entry.text))
    for folder in _FOLDERS:
        for name in files.folder(folder):
            if name not in listed and name.endswith((".yml", ".yaml")):
                message = f"{name} is not listed in the manifest: it is not read"
                findings.info("sonemu_unlisted_file", message, Place(files.name_of(name)), "list it")


def _check_signature(manifest: Section, findings: Findings) -> None:
    if "signature" not in manifest:
        return
    node = manifest.node.value["signature"]
    place = manifest.place_of("signature")
    if isinstance(node.value, str) and node.text.strip():
        findings.info("sonemu_signature", "the package's signature is not verified here", place)
    else:
        message = f"the signature is {node.kind}, none that could be verified"
        findings.warning("evt_package_signature_invalid", message, place, "remove it or sign anew")


def _entry_service(
    manifest: Section, services: list[Listed], files: PackageFiles, findings: Findings
) -> Listed | None:
    name = manifest.text("entry_service_template", level="error", shape=ENTRY)
    if name is not None:
        place = manifest.place_of("entry_service_template")
        member = member_name(name)
        if member in files:
            return Listed(member, place)
        message = f"the entry service '{name}' is not in the package"
        near = findings.near(member, (file for file in files if PurePosixPath(file).suffix))
        findings.error(ENTRY, message, place, near)
        return None
    if manifest.node_of("entry_service_template") is not None:
        return None
    if len(services) == 1:
        message = "no 'entry_service_template'; the only service descriptor is taken"
        hint = f"entry_service_template: /{services[0].member}"
        findings.warning(ENTRY, message, manifest.place, hint, "-entry_service_template")
        return services[0]
    problem = "lists no service" if not services else "lists several services and names none as entry"
    message = f"the manifest {problem}: nothing can be instantiated"
    hint = "set entry_service_template to the service descriptor"
    findings.error(ENTRY, message, manifest.place, hint, "-entry_service_template")
    return None
