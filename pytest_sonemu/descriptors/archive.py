"""A package's files: a `.son` archive or a project folder as one mapping from member name to bytes.

Nothing is written to disk by reading. What is no package, or an unsafe one, is refused by the name of
what it is. Limits hold for the whole: a package is small, and what is not is an attack or a mistake.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from pytest_sonemu.descriptors.findings import Findings
from pytest_sonemu.descriptors.kinds import MANIFEST, NAPDS, TOSCA, NotOurs, root_of, what_it_is
from pytest_sonemu.descriptors.model import Place
from pytest_sonemu.errors import PackageError

__all__ = ["MANIFEST", "NAPDS", "TOSCA", "PackageFiles", "archive_of", "open_archive", "unpack_context"]

MAX_ARCHIVE = 512 * 1024**2
MAX_MEMBERS = 10_000
MAX_MEMBER = 256 * 1024**2
MAX_TOTAL = 1024**3
MAX_RATIO = 200
SUSPICIOUS_FROM = 4 * 1024**2
SUSPICIOUS_TOTAL = 32 * 1024**2

STRUCTURE = "evt_package_struct_invalid"
FORMAT = "evt_package_format_invalid"
UNSAFE = "sonemu_archive"
_LARGE = 16 * 1024**2
_DAMAGED = (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, EOFError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class PackageFiles(Mapping[str, bytes]):
    """The files of a package by member name (`service_descriptors/nsd.yml`), whatever holds them.

    `name_of` gives the name that a person knows: of a project folder the path of the source file.
    `executable` are the members with that right, `made` those that nobody wrote (a project's manifest).
    """

    def __init__(
        self,
        origin: str,
        sizes: Mapping[str, int],
        read: Callable[[str], bytes],
        *,
        shown: Mapping[str, str] | None = None,
        executable: frozenset[str] = frozenset(),
        made: frozenset[str] = frozenset(),
    ) -> None:
        self.origin = origin
        self._sizes, self._read, self._shown = dict(sizes), read, shown or {}
        self.executable, self.made = executable, made

    def __getitem__(self, name: str) -> bytes:
        """The bytes of `name`. Raises KeyError, and PackageError for a damaged member."""
        if name not in self._sizes:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, name: object) -> bool:
        return name in self._sizes

    def __repr__(self) -> str:
        return f"<PackageFiles {self.origin}: {len(self)} files>"

    def size(self, name: str) -> int:
        return self._sizes[name]

    def name_of(self, name: str) -> str:
        return self._shown.get(name, f"{self.origin}/{name}")

    def folder(self, folder: str) -> tuple[str, ...]:
        """The names of all files below `folder`, sorted."""
        prefix = folder.rstrip("/") + "/"
        return tuple(sorted(name for name in self._sizes if name.startswith(prefix)))

    def digest(self) -> str:
        """sha256 over names and contents, in hex: the same for the same content, however it is packed."""
        total = hashlib.sha256()
        for name in sorted(self._sizes):
            total.update(
                f"{name}\0{hashlib.sha256(self._read(name)).hexdigest()}\n".encode("utf-8", "surrogateescape")
            )
        return total.hexdigest()


def open_archive(path: Path, findings: Findings) -> PackageFiles:
    """The files of the `.son` at `path`. Raises PackageError for what is no package that can be read."""
    shown = str(path)
    try:
        if not path.is_file():
            raise refused(shown, FORMAT, "neither a file nor a folder")
        size = path.stat().st_size
        if size > MAX_ARCHIVE:
            raise refused(shown, FORMAT, f"the archive has {size} bytes, more than {MAX_ARCHIVE}")
        with path.open("rb") as file:
            head = file.read(_LARGE)
            if size > _LARGE:  # look at its directory before all of it is read
                zipfile.ZipFile(file).infolist()
                file.seek(0)
                head = file.read(MAX_ARCHIVE)
    except _DAMAGED as error:
        raise refused(shown, FORMAT, what_it_is(head) or _no_zip(error)) from None
    except OSError as error:
        raise refused(shown, FORMAT, f"cannot be read: {error.strerror}") from None
    return archive_of(head, shown, findings)


def archive_of(data: bytes, shown: str, findings: Findings) -> PackageFiles:
    """As `open_archive`, for an archive in memory."""
    if not data:
        raise refused(shown, FORMAT, "the file is empty")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
    except _DAMAGED as error:
        raise refused(shown, FORMAT, what_it_is(data) or _no_zip(error)) from None
    files = _checked(members, len(data), shown, findings)
    if findings.failed:
        raise PackageError(f"{shown}: not a package that can be read safely", findings)
    try:
        root = root_of(files, lambda name: _bytes_of(archive, files[name], f"{shown}/{name}"))
    except NotOurs as other:
        rule = STRUCTURE if other.structure else FORMAT
        raise refused(shown, rule, other.problem, other.hint) from None
    if root:
        message = f"all of the package lies in the folder {root} of the archive"
        findings.warning("sonemu_root_folder", message, Place(shown), f"zip what is in {root}")
    start = len(root)

    def read(name: str) -> bytes:
        return _bytes_of(archive, files[root + name], f"{shown}/{root}{name}")

    executable = frozenset(
        name[start:] for name, member in files.items() if (member.external_attr >> 16) & 0o111
    )
    sizes = {name[start:]: info.file_size for name, info in files.items()}
    names = {name: f"{shown}/{root}{name}" for name in sizes} if root else None
    return PackageFiles(shown, sizes, read, shown=names, executable=executable)


def _bytes_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str) -> bytes:
    try:
        return archive.read(member)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        OSError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise refused(shown, FORMAT, f"the member is damaged: {error}") from None


def _no_zip(error: Exception) -> str:
    reason = "" if isinstance(error, zipfile.BadZipFile) else f": {error}"
    return f"not a zip archive, which .son and .tgo packages are{reason}"


def unpack_context(files: PackageFiles, folder: str, target: Path) -> None:
    """Writes what lies below `folder` in the package to `target`, a new folder: a Docker build context.

    Names were checked at opening: none leads out of `target`. Raises KeyError if the folder is empty.
    """
    names = files.folder(folder)
    if not names:
        raise KeyError(folder)
    start = len(folder.rstrip("/")) + 1
    target.mkdir(parents=True, exist_ok=False)
    for name in names:
        place = target / name[start:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(files[name])
        place.chmod(0o755 if name in files.executable else 0o644)


def refused(shown: str, rule: str, message: str, hint: str = "") -> PackageError:
    """The error for a package of which nothing more can be said."""
    findings = Findings()
    findings.error(rule, message, Place(shown), hint)
    return PackageError(f"{shown} cannot be used as a service package", findings)


def bad_name(name: str) -> str | None:
    """Why `name` must not be unpacked, or None."""
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return "has an absolute name"
    parts = name.rstrip("/").split("/")
    if ".." in parts:
        return "leads out of the package ('..')"
    if (
        any(part in ("", ".") for part in parts)
        or "\0" in name
        or len(name.encode("utf-8", "replace")) > 1000
    ):
        return "has a name that cannot be unpacked"
    return None


def ignored(name: str) -> bool:
    """Whether `name` is what macOS leaves in archives (AppleDouble, .DS_Store)."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store"


def _checked(
    members: list[zipfile.ZipInfo], size: int, shown: str, findings: Findings
) -> dict[str, zipfile.ZipInfo]:
    """The members that are files, by name; every one that is not safe is a finding."""

    def refuse(message: str, name: str = "") -> None:
        findings.error(UNSAFE, message, Place(f"{shown}/{name}" if name else shown))

    if len(members) > MAX_MEMBERS:
        refuse(f"the archive has {len(members)} members, more than {MAX_MEMBERS}")
        return {}
    litter = [member.orig_filename for member in members if ignored(member.orig_filename)]
    if litter:
        message = f"files that macOS left are not read: {', '.join(litter[:3])}"
        message += f" and {len(litter) - 3} more" if len(litter) > 3 else ""
        findings.info("sonemu_archive_litter", message, Place(shown), "zip -X leaves them out")
    files: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = member.orig_filename
        if ignored(name):
            continue
        wrong_name = bad_name(name)
        wrong = _why_not(member)
        if wrong_name is not None:
            refuse(f"member {name!r} {wrong_name}")
        elif wrong is not None:
            refuse(wrong, name)
        elif name in files:
            refuse("the archive has two members of this name", name)
        elif not member.is_dir():
            files[name] = member
    _check_whole(files, size, refuse)
    return files


def _check_whole(files: Mapping[str, zipfile.ZipInfo], size: int, refuse: Callable[[str, str], None]) -> None:
    """What no member tells alone: how much they are together, and files that are folders too."""
    total = sum(member.file_size for member in files.values())
    if total > MAX_TOTAL:
        refuse(f"the archive unpacks to {total} bytes, more than {MAX_TOTAL}", "")
    elif total > SUSPICIOUS_TOTAL and total > MAX_RATIO * size:
        refuse(f"the archive grows {total // max(size, 1)} times when unpacked, more than {MAX_RATIO}", "")
    for name in files:
        if any(str(parent) in files for parent in PurePosixPath(name).parents):
            refuse("a file is used as a folder", name)


def _why_not(member: zipfile.ZipInfo) -> str | None:
    """Why a member, whatever its name, must not be unpacked; None if it may."""
    mode = member.external_attr >> 16
    size, packed = member.file_size, max(member.compress_size, 1)
    if stat.S_ISLNK(mode):
        return "the member is a symbolic link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "the member is neither file nor folder"
    if member.flag_bits & 0x1:
        return "the member is encrypted"
    if member.compress_type not in _METHODS:
        return f"the member is packed by method {member.compress_type}, which is not known here"
    if size > MAX_MEMBER:
        return f"the member has {size} bytes, more than {MAX_MEMBER}"
    if size > SUSPICIOUS_FROM and size > MAX_RATIO * packed:
        return f"the member grows {size // packed} times when unpacked, more than {MAX_RATIO}"
    return None
