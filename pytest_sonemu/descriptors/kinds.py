"""What a file or an archive is, by name: the packages that are read, and those of others that are not."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

MANIFEST = "META-INF/MANIFEST.MF"
TOSCA = "TOSCA-Metadata/TOSCA.meta"
NAPDS = ("TOSCA-Metadata/NAPD.yaml", "TOSCA-Metadata/NAPD.yml")
_PEEK = 4 * 1024**2
_OSM_ROOTS = ("vnfd-catalog", "nsd-catalog")


class NotOurs(Exception):
    """The archive is no package that is read here: `problem` says what it is, `hint` what to do."""

    def __init__(self, problem: str, hint: str = "", *, structure: bool = False) -> None:
        super().__init__(problem)
        self.problem, self.hint, self.structure = problem, hint, structure


def root_of(names: Iterable[str], read: Callable[[str], bytes]) -> str:
    """The folder in the archive that holds the package: empty, or `web-1.0/`. Raises NotOurs."""
    files = list(names)
    present = set(files)
    if MANIFEST in present:
        return ""
    if not files:
        raise NotOurs("the archive is empty", "pack the project with 'sonemu pack'", structure=True)
    if TOSCA in present or any(name in present for name in NAPDS):
        _check_tosca("", present, read)
        return ""
    roots = _roots(files)
    if len(roots) > 1:
        raise NotOurs(
            f"the archive holds {len(roots)} packages: {', '.join(sorted(roots))}", "pack each of them alone"
        )
    if roots:
        root = roots.pop()
        outside = [name for name in files if not name.startswith(root)]
        if outside:
            raise NotOurs(
                f"the package lies in the folder {root} of the archive, beside {outside[0]}",
                f"zip what is in {root}",
                structure=True,
            )
        _check_tosca(root, present, read)
        return root
    raise _other(files, present)


def what_it_is(data: bytes) -> str | None:
    """What a file is that is no zip archive, or a broken one; None if nobody knows."""
    if data.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or data[257:262] == b"ustar":
        return _tar(data)
    if data.startswith(b"PK"):
        return "a damaged or cut zip archive"
    if data.startswith(b"\x7fELF"):
        return "a program, not a package"
    if data.startswith((b"7z\xbc\xaf", b"Rar!")):
        return "an archive of 7-Zip or RAR (.son and .tgo are zip archives)"
    head = data[:4096].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not a zip archive: was it downloaded by the wrong address?"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: run 'git lfs pull' first"
    if any(word in head for word in (b"network_functions:", b"virtual_deployment_units:", b"vnfd:", b"nsd:")):
        return "a descriptor alone, not a package: put it into a project ('sonemu init') and pack that"
    return None


def _roots(files: list[str]) -> set[str]:
    """Folders of the archive that look like the root of a 5GTANGO package."""
    return {
        name[: -len(tail)]
        for name in files
        for tail in (TOSCA, *NAPDS)
        if name.endswith(f"/{tail}") and "/" not in name[: -len(tail) - 1]
    }


def _check_tosca(root: str, present: set[str], read: Callable[[str], bytes]) -> None:
    """A TOSCA archive is 5GTANGO's where it has an NAPD; else it is ETSI's."""
    if any(f"{root}{name}" in present for name in NAPDS):
        return
    meta = read(f"{root}{TOSCA}")[:100_000].decode("utf-8", "replace")
    if "vnd.5gtango.napd" in meta:
        return
    if "ETSI-Entry" in meta or "Entry-Definitions" in meta:
        raise NotOurs(
            "an ETSI package (SOL004 CSAR), not a SONATA or 5GTANGO one", "describe it by an NSD and VNFDs"
        )
    raise NotOurs(f"a TOSCA archive without {NAPDS[0]}: not a 5GTANGO package")


def _other(files: list[str], present: set[str]) -> NotOurs:
    inner = next((name for name in files if name.endswith(f"/{MANIFEST}")), None)
    if inner is not None:
        folder = inner[: -len(MANIFEST)]
        return NotOurs(
            f"the package lies in the folder {folder} of the archive",
            f"zip what is in {folder}",
            structure=True,
        )
    lower = [name.lower() for name in files]
    if any(name.startswith(("service_descriptors/", "function_descriptors/")) for name in files):
        near = next((name for name in files if name.upper().endswith("MANIFEST.MF")), None)
        hint = f"the archive has {near}" if near else "a .son package has its manifest there"
        return NotOurs(f"no {MANIFEST} in the archive", hint, structure=True)
    if _is_osm(lower):
        return NotOurs("an OSM package, not a SONATA one", "describe it by an NSD and VNFDs")
    root = [name for name in lower if "/" not in name]
    if any(name.endswith(".mf") for name in root) and any(name.endswith((".yaml", ".yml")) for name in root):
        return NotOurs("an ETSI package (SOL004 CSAR), not a SONATA or 5GTANGO one")
    if any(PurePosixPath(name).name in ("document.xml", "workbook.xml") for name in lower):
        return NotOurs("an office document, not a package")
    if any(name.endswith("project.yml") for name in lower):
        return NotOurs("a zipped project, not a package", "pack it with 'sonemu pack'")
    if any(name.endswith(".class") for name in lower):
        return NotOurs("a Java archive, not a package")
    return NotOurs(f"no {MANIFEST} in the archive", "a .son package has its manifest there", structure=True)


def _is_osm(names: Iterable[str]) -> bool:
    stems = [PurePosixPath(name).stem.lower() for name in names if name.lower().endswith((".yaml", ".yml"))]
    return any(stem.endswith(("vnfd", "nsd", "_vnf", "_ns", "knf", "nst")) for stem in stems)


def _tar(data: bytes) -> str:
    """What a tar archive holds, by its first members; only so much of it is unpacked."""
    names: list[str] = []
    texts = b""
    try:
        head = (
            zlib.decompressobj(31).decompress(data, _PEEK) if data.startswith(b"\x1f\x8b") else data[:_PEEK]
        )
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            for member in archive:
                names.append(member.name)
                if member.name.endswith((".yaml", ".yml")) and member.isfile() and member.size < 100_000:
                    found = archive.extractfile(member)
                    texts += found.read() if found is not None else b""
                if len(names) > 200:
                    break
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error):
        pass  # the first members, as far as they could be read, say enough
    if any(word.encode() in texts for word in _OSM_ROOTS) or b"vnfd:" in texts or _is_osm(names):
        return "an OSM package (tar), not a SONATA one (.son and .tgo are zip archives)"
    if any(PurePosixPath(name).name == "project.yml" for name in names):
        return "a project in a tar archive: unpack it, and pack it with 'sonemu pack'"
    return "a tar archive: an OSM package or another format, not a SONATA one (.son is a zip)"
