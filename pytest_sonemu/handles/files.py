"""Files of a VNF: put, fetched, read and watched from outside, whatever is in its image."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
from pathlib import Path, PurePosixPath
from typing import overload

from pytest_sonemu.emulation.docker_api import calling
from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.arguments import path_text
from pytest_sonemu.handles.container import ContainerEndpoint
from pytest_sonemu.handles.watching import FileTail, Format, OutputTail, Watch

LARGEST_TEXT = 64 * 2**20


class Files(ContainerEndpoint):
    """`put`, `get`, `read_text`, `exists` and `watch`."""

    def put(self, source: str | Path | bytes, target: str, *, mode: int | None = None) -> None:
        """Write a file into the VNF: bytes, a text, or (a `Path`) a file or folder of this machine.

        `target` is the file's own absolute path; missing folders on the way are made. `mode` as in
        `0o755`; None: the source's, for bytes and text 0644. A file that was there comes back with its
        content, mode and time when the view ends; one that was not makes the instance dirty.
        """
        if not isinstance(source, str | bytes | Path):
            raise ProbeError(f"source: {source!r} is no bytes, no text and no Path, to be put at {target!r}")
        place = _absolute(target)
        before = self._fetch(target, missing_is_none=True)
        with self._changing(), self._journal.noting("did", f"put {target}", self.id):
            self._write("/", _archive(source, place, mode))
        if before is not None:

            def put_back() -> None:
                self._write(str(place.parent), before)

            self._undo.push(put_back, f"{self.id}: {target} as before")

    @overload
    def get(self, path: str) -> bytes: ...

    @overload
    def get(self, path: str, target: str | Path) -> Path: ...

    def get(self, path: str, target: str | Path | None = None) -> bytes | Path:
        """A file's bytes; with `target`, the file or folder is copied there, and that path returned.

        An existing folder as `target` gets it inside. Raises NotFoundError.
        """
        if target is None:
            return self._read(path)
        path_text(target, "target")
        archive = self._fetch(path)
        assert archive is not None
        place = Path(target)
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            top = members.next()
            if top is None:
                raise NotFoundError(f"file in {self.id}", path, ())
            place = place / PurePosixPath(path).name if place.is_dir() else place
            for member in members:
                _unpack(members, member, place, top.name)
        return place

    def read_text(self, path: str) -> str:
        """A file's text (UTF-8, unreadable bytes replaced). Raises NotFoundError, ProbeError if huge."""
        return self._read(path).decode(errors="replace")

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder, seen from outside."""
        try:
            os.close(self._open(path))
        except NotFoundError:
            return False
        return True

    def watch(self, path: str = "stdout", format: Format = "lines", *, whole: bool = False) -> Watch:
        """What is written to a file, or to the VNF's own output, from now on; read from outside.

            events = ids.watch("/var/log/suricata/eve.json", format="json")
            alert = events.wait(lambda event: event["event_type"] == "alert", timeout=5)

        `format` is `"lines"`, `"json"` (one value a line; what is none is passed over) or a callable
        that makes an event of a line. `whole` begins at the file's begin, not at its end. A file that is
        not there yet is awaited, one that is cut or replaced is read on. It is closed with the view.
        """
        if path == "stdout":
            since = 0.0 if whole else time.time()
            tail: FileTail | OutputTail = OutputTail(lambda: self._log_since(since))
        else:
            _absolute(path)
            tail = FileTail(lambda: self._open(path), whole=whole)
        made = Watch(tail, f"{self.id}: {path}", format)
        self._undo.push(made.close, f"watch of {self.id}: {path}")
        return made

    # -- behind it --------------------------------------------------------------------------------

    def _log_since(self, since: float) -> list[str]:
        raise NotImplementedError

    def _open(self, path: str) -> int:
        try:
            return self._core.bed.client.open_file(self._core.plan.instance, self.id, path_text(path))
        except NotFoundError:
            raise NotFoundError(f"file in {self.id}", path, ()) from None

    def _read(self, path: str) -> bytes:
        if self.state.phase == "exited":
            return self._read_of_ended(path)
        descriptor = self._open(path)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode) or status.st_size > LARGEST_TEXT:
            os.close(descriptor)
            what = "is a folder" if stat.S_ISDIR(status.st_mode) else f"has {status.st_size} bytes"
            raise ProbeError(f"{self.id}: {path} {what}; `get` with a target copies it")
        with open(descriptor, "rb") as file:
            return file.read()

    def _read_of_ended(self, path: str) -> bytes:
        archive = self._fetch(path)
        assert archive is not None
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            member = members.next()
            file = members.extractfile(member) if member is not None and member.isfile() else None
            if file is None:
                raise ProbeError(f"{self.id}: {path} is no file; `get` copies it")
            return file.read()

    def _fetch(self, path: str, *, missing_is_none: bool = False) -> bytes | None:
        """The tar archive that Docker makes of a path."""
        from docker.errors import NotFound

        try:
            stream, _status = self._core.bed.docker.get_archive(self.state.id, path_text(path))
        except NotFound:
            if missing_is_none:
                return None
            raise NotFoundError(f"file in {self.id}", path, ()) from None
        return b"".join(stream)

    def _write(self, folder: str, archive: bytes) -> None:
        with calling(f"write into {self.id}"):
            self._core.bed.docker.put_archive(self.state.id, folder, archive)


def _absolute(path: str) -> PurePosixPath:
    place = PurePosixPath(path_text(path))
    if not place.is_absolute() or ".." in place.parts:
        raise ProbeError(f"'{path}' is not an absolute path in the VNF, as '/etc/app.conf' is")
    return place


def _archive(source: str | Path | bytes, target: PurePosixPath, mode: int | None) -> bytes:
    """A tar of `source` at `target`; what is made from nothing belongs to root and is new now."""
    name = str(target.relative_to("/"))
    buffer = io.BytesIO()

    def as_ours(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        if mode is not None and member.isfile():
            member.mode = mode
        return member

    with tarfile.open(fileobj=buffer, mode="w") as archive:
        if isinstance(source, Path):
            if not source.exists():
                raise ProbeError(f"there is no file {source} to put into a VNF")
            archive.add(source, name, filter=as_ours)
        else:
            data = source.encode() if isinstance(source, str) else source
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), int(time.time()), mode or 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path, top: str) -> None:
    """One member, below `place`: files and folders only, and nothing that leads out of it."""
    inner = PurePosixPath(member.name).relative_to(top)
    if ".." in inner.parts:
        return
    target = place.joinpath(*inner.parts)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
    elif (file := archive.extractfile(member) if member.isfile() else None) is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read())
        target.chmod(member.mode & 0o777)
