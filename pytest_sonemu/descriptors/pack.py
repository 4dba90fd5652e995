"""A project folder packed as a `.son`: the same bytes for the same content, on any day and machine."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from pytest_sonemu.descriptors.archive import MANIFEST, PackageFiles
from pytest_sonemu.descriptors.read import read_package

_DATE = (1980, 1, 1, 0, 0, 0)


def pack(project: str | Path) -> bytes:
    """The `.son` of a project folder. Raises PackageError if what it holds cannot be deployed."""
    return pack_files(read_package(project).files)


def pack_files(files: PackageFiles) -> bytes:
    """`files` as a `.son`: manifest first, then by name, with one fixed date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files, key=lambda name: (name != MANIFEST, name)):
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system = 3  # Unix: the mode below is read there
            member.external_attr = (0o100755 if name in files.executable else 0o100644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, files[name], compresslevel=9)
    return buffer.getvalue()
