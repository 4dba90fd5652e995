"""A project folder packed as a `.son` or `.tgo`: the same bytes for the same content, anywhere."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from pytest_sonemu.descriptors.archive import MANIFEST, TOSCA, PackageFiles
from pytest_sonemu.descriptors.read import Package, read_package

_DATE = (1980, 1, 1, 0, 0, 0)
_FIRST = (MANIFEST, TOSCA)


def pack(project: str | Path) -> bytes:
    """The package of a project folder. Raises PackageError if what it holds cannot be deployed."""
    return pack_files(read_package(project).files)


def pack_files(files: PackageFiles) -> bytes:
    """`files` as an archive: manifest first, then by name, with one fixed date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files, key=lambda name: (name not in _FIRST, name)):
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system = 3  # Unix: the mode below is read there
            member.external_attr = (0o100755 if name in files.executable else 0o100644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, files[name], compresslevel=9)
    return buffer.getvalue()


def package_name(package: Package) -> str:
    """The usual file name: `acme.web.0.1.son`."""
    parts = [package.vendor, package.name, package.version]
    stem = ".".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in parts if part) or "package"
    return f"{stem}.{'son' if MANIFEST in package.files else 'tgo'}"
