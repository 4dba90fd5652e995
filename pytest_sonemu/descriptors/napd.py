"""5GTANGO packages (`.tgo`): the NAPD, TOSCA.meta and the ETSI manifest, and what they list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_sonemu.descriptors.archive import NAPDS, STRUCTURE, TOSCA, PackageFiles
from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.located import load_member
from pytest_sonemu.descriptors.manifest import (
    ENTRY,
    REFERENCE,
    SUM,
    SYNTAX,
    Listed,
    Manifest,
    member_name,
)
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.descriptors.schemas import check_napd
from pytest_sonemu.descriptors.section import Section

NSD, VNFD, REF = "application/vnd.5gtango.nsd", "application/vnd.5gtango.vnfd", "application/vnd.5gtango.ref"
_NAPD_TYPE = "application/vnd.5gtango.napd"
_KINDS = {
    "application/vnd.5gtango.package.nsp": "a network service package",
    "application/vnd.5gtango.package.vnfp": "a package of VNFs only",
    "application/vnd.5gtango.package.tdp": "a package of tests",
}
_ENTRIES = ("entry-definitions", "entry-manifest")
_ALGORITHMS = {"sha256": "sha256", "sha1": "sha1", "md5": "md5", "sha512": "sha512", "sha384": "sha384"}
_LONGEST_META = 1_000_000


@dataclass(frozen=True, slots=True)
class _Line:
    key: str
    value: str
    place: Place


def read_napd(files: PackageFiles, findings: Findings) -> Manifest | None:
    """What the NAPD says, with every file it names checked; None after an error.

    Metadata that the NAPD leaves out are taken from the ETSI manifest.
    """
    member = _napd_member(files, findings)
    if member is None:
        return None
    node = load_member(files, member, findings, SYNTAX)
    napd = Section.of(node, findings, SYNTAX, "the NAPD") if node is not None else None
    if napd is None:
        return None
    services: list[Listed] = []
    functions: list[Listed] = []
    foreign: set[str] = set()
    for item in napd.sections("package_content", "an item of package_content"):
        kind = item.text("content-type") or ""
        listed = _listed(item, kind, files, findings)
        if kind.startswith(("application/vnd.etsi.osm.", "application/vnd.osm.", "application/vnd.onap.")):
            foreign.add("ONAP" if "onap" in kind else "OSM")
        elif kind.startswith("application/vnd.5gtango.") and kind not in (NSD, VNFD, REF):
            near = findings.near(kind, (NSD, VNFD))
            if near and kind.rpartition(".")[2] not in ("tstd", "slad", "rpd", "nstd"):
                message = f"content-type '{kind}' is not known: the file is not read"
                findings.warning(SYNTAX, message, item.place_of("content-type"), near)
        if listed is not None and kind == NSD:
            services.append(listed)
        elif listed is not None and kind == VNFD:
            functions.append(listed)
    etsi = _check_etsi(files, findings)
    result = Manifest(
        vendor=napd.text("vendor") or etsi.get("provider_id", ""),
        name=napd.text("name") or etsi.get("product_name", ""),
        version=napd.text("version") or etsi.get("package_version", ""),
        service=_service(napd, services, foreign, findings),
        functions=tuple(dict.fromkeys(functions)),
    )
    if member not in files.made:
        check_napd(napd.node, findings)
    return result


def _napd_member(files: PackageFiles, findings: Findings) -> str | None:
    """The NAPD: what TOSCA.meta names, else where it usually lies."""
    usual = next((name for name in NAPDS if name in files), None)
    if TOSCA not in files:
        message = f"the package has no {TOSCA}; its NAPD is read all the same"
        findings.warning(STRUCTURE, message, Place(files.origin), about=f"-{TOSCA}")
        return usual
    named = None
    name: _Line | None = None
    for line in _lines(files, TOSCA):
        if line.key == "name":
            name = line
        elif line.key == "content-type" and line.value == _NAPD_TYPE:
            named = name
        elif line.key in _ENTRIES and line.value != "TODO" and member_name(line.value) not in files:
            near = findings.near(member_name(line.value), files)
            message = f"{line.key.title()} '{line.value}' is not in the package"
            findings.warning(REFERENCE, message, line.place, near)
    if named is not None and member_name(named.value) in files:
        return member_name(named.value)
    if named is not None and usual is None:
        near = findings.near(member_name(named.value), files)
        findings.error(REFERENCE, f"the NAPD '{named.value}' is not in the package", named.place, near)
    elif named is not None:
        message = f"the NAPD '{named.value}' is not in the package; {usual} is taken"
        findings.warning(REFERENCE, message, named.place, f"Name: {usual}")
    return usual


def _listed(item: Section, kind: str, files: PackageFiles, findings: Findings) -> Listed | None:
    source = item.text("source", required="error")
    if source is None:
        return None
    member, place = member_name(source), item.place_of("source")
    if member not in files:
        message = f"'{source}' is not in the package"
        say = findings.error if kind in (NSD, VNFD) else findings.warning
        say(REFERENCE, message, place, findings.near(member, files))
        return None
    if kind == REF:
        message = f"'{source}' points to a file elsewhere, which is not fetched"
        findings.info("sonemu_reference_file", message, place)
    wanted = item.text("hash")
    if wanted is not None:
        algorithm = item.text("algorithm") or "SHA-256"
        _check_sum(files, member, algorithm, wanted, item.place_of("hash"), findings)
    return Listed(member, place, tango=True)


def _check_sum(
    files: PackageFiles, member: str, algorithm: str, wanted: str, place: Place, findings: Findings
) -> None:
    known = _ALGORITHMS.get(algorithm.lower().replace("-", "").replace("_", ""))
    if known is None:
        message = f"sum algorithm '{algorithm[:40]}' is not known: the sum of '{member}' is not checked"
        near = findings.near(algorithm, ("SHA-256", "SHA-1", "MD5"))
        findings.warning(SUM, message, place, near or "use SHA-256, SHA-1 or MD5")
        return
    found = hashlib.new(known, files[member], usedforsecurity=False).hexdigest()
    if found != wanted.lower():
        message = f"'{member}' has {algorithm} {found}, not {wanted[:128]}"
        findings.warning(SUM, message, place, "it was changed after packing: pack it anew")


def _check_etsi(files: PackageFiles, findings: Findings) -> dict[str, str]:
    """The ETSI manifest's metadata, without their prefix (`ns_`, `vnf_`, `tst_`); its sums are checked."""
    member = "etsi_manifest.mf"
    if member not in files:
        return {}
    metadata: dict[str, str] = {}
    source: _Line | None = None
    algorithm = ""
    for line in _lines(files, member):
        if line.key == "source":
            source, algorithm = line, ""
            if member_name(line.value) not in files:
                near = findings.near(member_name(line.value), files)
                findings.warning(REFERENCE, f"'{line.value}' is not in the package", line.place, near)
                source = None
        elif line.key == "algorithm":
            algorithm = line.value
        elif line.key == "hash" and source is not None:
            _check_sum(
                files, member_name(source.value), algorithm or "SHA-256", line.value, line.place, findings
            )
        elif line.key.partition("_")[0] in ("ns", "vnf", "tst"):
            metadata.setdefault(line.key.partition("_")[2], line.value)
    return metadata


def _lines(files: PackageFiles, member: str) -> Iterator[_Line]:
    """The `Key: value` lines of a file in blocks; what is written otherwise is passed over."""
    shown = files.name_of(member)
    if files.size(member) > _LONGEST_META:
        return
    text = files[member].decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), start=1):
        key, colon, value = line.partition(":")
        if colon and not key.startswith((" ", "#")):
            yield _Line(
                key.strip().lower(), value.strip(), Place(shown, number, len(key) + 2 if value else 1)
            )


def _service(napd: Section, services: list[Listed], foreign: set[str], findings: Findings) -> Listed | None:
    kind = napd.text("package_type") or ""
    if services:
        if len(services) > 1:
            others = ", ".join(listed.member for listed in services[1:5])
            message = f"several NSDs: the first, {services[0].member}, is taken, not {others}"
            findings.warning(ENTRY, message, services[1].place, "give each service a package of its own")
        return services[0]
    place = napd.place_of("package_type") if kind else napd.place
    if kind in _KINDS and not kind.endswith(".nsp"):
        problem = f"{_KINDS[kind]}: there is no service in it to start"
    elif foreign:
        problem = f"the descriptors are of {' and '.join(sorted(foreign))}, not of SONATA or 5GTANGO"
    else:
        problem = f"the NAPD lists no file of content-type {NSD}: nothing can be instantiated"
    findings.error(ENTRY, problem, place, f"list the NSD with content-type {NSD}", "-nsd")
    return None
