"""The manifest of a `.son`: which of its files is the NSD, which are VNFDs, and are all of them there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pytest_sonemu.descriptors.archive import MANIFEST, PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import load
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.descriptors.section import Section
from pytest_sonemu.errors import did_you_mean

_KNOWN = frozenset({
    "descriptor_version", "schema", "vendor", "name", "version", "maintainer", "description",
    "signature", "md5", "sealed", "entry_service_template", "package_content", "package_resolvers",
    "package_dependencies", "artifact_dependencies",
})  # fmt: skip
# The vocabulary of early 2016.
_FIRST = frozenset({
    "package_group", "package_name", "package_version", "package_maintainer", "package_description",
})  # fmt: skip
_ITEM = ("name", "content-type", "md5", "sealed")
_NSD = ("application/sonata.service_descriptor", "application/sonata.service_descriptors")
_VNFD = ("application/sonata.function_descriptor", "application/sonata.function_descriptors")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that the manifest lists: its member name and where it is listed."""

    member: str
    place: Place


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the manifest says. `service` is the NSD's member name, None after an error."""

    vendor: str
    name: str
    version: str
    service: Listed | None
    functions: tuple[Listed, ...]


def read_manifest(files: PackageFiles, findings: Findings) -> Manifest | None:
    """The manifest, with every file it names checked; None after an error that leaves nothing to read."""
    node = load(files[MANIFEST], files.name_of(MANIFEST), findings, rule="evt_pd_stx_invalid")
    if node is None:
        return None
    manifest = Section.of(node, findings, "evt_pd_stx_invalid", "the manifest")
    if manifest is None:
        return None
    manifest.only(_KNOWN | (_FIRST if "package_name" in manifest else frozenset()))
    services: list[Listed] = []
    functions: list[Listed] = []
    for item in manifest.sections("package_content", "an item of package_content"):
        item.only(_ITEM)
        listed = _listed(item, files, findings)
        kind = item.text("content-type", required="warning")
        if listed is None or kind is None:
            continue
        if kind in _VNFD:
            functions.append(listed)
        elif kind in _NSD:
            services.append(listed)
        elif "descriptor" in kind:
            near = did_you_mean(kind, (_NSD[0], _VNFD[0])).strip(" ()")
            item.say("warning", f"content-type '{kind}' is not known", item.place_of("content-type"), near)
    return Manifest(
        vendor=manifest.text("vendor", "package_group", required="warning", exact=True) or "",
        name=manifest.text("name", "package_name", required="warning", exact=True) or "",
        version=manifest.text("version", "package_version", required="warning", exact=True) or "",
        service=_entry_service(manifest, services, files, findings),
        functions=tuple(dict.fromkeys(functions)),
    )


def member_name(reference: str) -> str:
    """The member that a manifest or VNFD means: `/a/b`, `a/b` and `file:///a/b` are the same."""
    return reference.removeprefix("file://").lstrip("/")


def _listed(item: Section, files: PackageFiles, findings: Findings) -> Listed | None:
    name = item.text("name", required="error")
    if name is None:
        return None
    member, place = member_name(name), item.place_of("name")
    if member not in files:
        if member.endswith("/") and files.folder(member):
            return None
        near = did_you_mean(member, files).strip(" ()")
        findings.error("evt_pd_itg_invalid_reference", f"'{name}' is not in the package", place, near)
        return None
    wanted = item.text("md5")
    if wanted is not None:
        found = hashlib.md5(files[member], usedforsecurity=False).hexdigest()
        if found != wanted.lower():
            findings.warning(
                "evt_pd_itg_invalid_md5", f"'{name}' has md5 {found}, not {wanted}", item.place_of("md5")
            )
    return Listed(member, place)


def _entry_service(
    manifest: Section, services: list[Listed], files: PackageFiles, findings: Findings
) -> Listed | None:
    rule = "evt_pd_itg_missing_entry_service"
    name = manifest.text("entry_service_template")
    if name is not None:
        place = manifest.place_of("entry_service_template")
        member = member_name(name)
        if member in files:
            return Listed(member, place)
        near = did_you_mean(member, files).strip(" ()")
        findings.error(rule, f"the entry service '{name}' is not in the package", place, near)
        return None
    if len(services) == 1:
        hint = f"entry_service_template: /{services[0].member}"
        findings.warning(
            rule, "no 'entry_service_template'; the only service descriptor is taken", manifest.place, hint
        )
        return services[0]
    problem = "lists no service" if not services else "lists several services and names none as entry"
    findings.error(
        rule,
        f"the manifest {problem}: nothing can be instantiated",
        manifest.place,
        "set entry_service_template to the service descriptor",
    )
    return None
