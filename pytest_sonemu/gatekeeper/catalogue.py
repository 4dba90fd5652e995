"""The packages that were onboarded: read and checked first, listed only then, kept until removed.

A package is kept in an unlinked file, read through `/proc/self/fd`: whatever becomes of this
process, the machine keeps nothing of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pytest_sonemu.descriptors.pack import pack
from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.errors import PackageError
from pytest_sonemu.gatekeeper.model import FindingView, Onboarded
from pytest_sonemu.gatekeeper.problems import MAX_UPLOAD, finding_views, not_found, too_large, upload_refused


@dataclass(frozen=True)
class OnboardedPackage:
    """A package that can be started. `path` is good as long as it is in the catalogue."""

    uuid: str
    file_name: str
    path: Path
    size: int
    sha1: str
    vendor: str
    name: str
    version: str
    service: str
    vnfs: tuple[str, ...]
    saps: tuple[str, ...]
    onboarded: float
    findings: tuple[FindingView, ...]
    kept: IO[bytes] = field(repr=False, compare=False)

    @property
    def answer(self) -> Onboarded:
        return Onboarded(self.uuid, self.size, self.sha1)


class Catalogue:
    """Thread-safe. Packages keep the order in which they were onboarded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._packages: dict[str, OnboardedPackage] = {}

    def onboard(self, content: IO[bytes], file_name: str) -> OnboardedPackage:
        """Read and check a package, and list it. `content` is a real file, of which a handle is kept.

        Raises an `Answer` with the reason when it cannot be deployed; then nothing is kept.
        """
        content.flush()
        kept: IO[bytes] = os.fdopen(os.dup(content.fileno()), "rb")
        try:
            package = self._read(kept, file_name)
        except BaseException:
            kept.close()
            raise
        with self._lock:
            self._packages[package.uuid] = package
        return package

    def onboard_path(self, path: Path) -> OnboardedPackage:
        """Onboard a `.son` file of this machine, or a project folder, which is packed for it.

        Raises PackageError, or an `Answer` as `onboard`.
        """
        with tempfile.TemporaryFile() as copy:
            if path.is_dir():
                copy.write(pack(path))
                return self.onboard(copy, f"{path.resolve().name}.son")
            try:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, copy, 1024**2)
            except OSError as error:
                raise PackageError(f"{path} cannot be read: {error.strerror}") from error
            return self.onboard(copy, path.name)

    def _read(self, kept: IO[bytes], file_name: str) -> OnboardedPackage:
        size = os.fstat(kept.fileno()).st_size
        if size > MAX_UPLOAD:
            raise too_large()
        path = Path(f"/proc/self/fd/{kept.fileno()}")
        try:
            package = read_package(path)
        except PackageError as error:
            raise upload_refused(error, hide=str(path), show=file_name) from error
        return OnboardedPackage(
            uuid=str(uuid.uuid4()),
            file_name=file_name,
            path=path,
            size=size,
            sha1=_sha1(path),
            vendor=package.vendor,
            name=package.name,
            version=package.version,
            service=package.service.name,
            vnfs=tuple(function.id for function in package.service.functions),
            saps=tuple(sap.id for sap in package.service.saps),
            onboarded=time.time(),
            findings=finding_views(package.findings, hide=str(path), show=file_name),
            kept=kept,
        )

    def __len__(self) -> int:
        with self._lock:
            return len(self._packages)

    @property
    def packages(self) -> tuple[OnboardedPackage, ...]:
        with self._lock:
            return tuple(self._packages.values())

    def get(self, package: str) -> OnboardedPackage:
        """Raises the `Answer` 404 for an unknown uuid."""
        with self._lock:
            if package not in self._packages:
                raise not_found()
            return self._packages[package]

    def newest(self, name: str | None = None) -> OnboardedPackage:
        """The package that was onboarded last, or the last one of that name. Raises the `Answer` 404."""
        for package in reversed(self.packages):
            if name is None or name in (package.name, package.service):
                return package
        raise not_found()

    def remove(self, package: str) -> OnboardedPackage:
        """Forget a package and give its room back. Raises the `Answer` 404."""
        with self._lock:
            if package not in self._packages:
                raise not_found()
            removed = self._packages.pop(package)
        removed.kept.close()
        return removed

    def close(self) -> None:
        for package in self.packages:
            self.remove(package.uuid)


def _sha1(path: Path) -> str:
    total = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as content:
        while part := content.read(1024**2):
            total.update(part)
    return total.hexdigest()
