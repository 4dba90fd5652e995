"""The guest's first file system: busybox, the modules that reach the machine's files, and `init.sh`."""

from __future__ import annotations

import io
import lzma
import re
from collections.abc import Mapping
from pathlib import Path

_FOLDER, _PROGRAM, _FILE = 0o040755, 0o100755, 0o100644
_FOLDERS = "bin proc sys dev modules machine changes root".split()


def initramfs(busybox: bytes, init: bytes, modules: Mapping[str, bytes], words: Mapping[str, str]) -> bytes:
    """A cpio archive. `modules` are loaded in their order; each of `words` is a file with one line."""
    archive = _Cpio()
    for folder in _FOLDERS:
        archive.add(folder, _FOLDER)
    archive.add("bin/busybox", _PROGRAM, busybox)
    archive.add("init", _PROGRAM, init)
    for name, content in modules.items():
        archive.add(f"modules/{name}", _FILE, content)
    archive.add("modules/order", _FILE, "".join(f"{name}\n" for name in modules).encode())
    for name, word in words.items():
        archive.add(name, _FILE, f"{word}\n".encode())
    return archive.ended()


def module_files(listing: str) -> list[Path]:
    """The files that `modprobe --show-depends` names, in its order."""
    return [Path(name) for name in re.findall(r"^insmod (.+?\.ko(?:\.xz)?)(?:\s|$)", listing, re.MULTILINE)]


def module_content(path: Path) -> bytes:
    """A module as it is loaded; younger Debians keep them compressed."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


class _Cpio:
    """The "newc" format: a head of hexadecimal numbers, the name, the content, each padded to four bytes."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._count = 0

    def add(self, name: str, mode: int, content: bytes = b"") -> None:
        self._count += 1
        named = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(named), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % field for field in fields))
        for part in (named, content):
            self._out.write(part)
            self._out.write(bytes(-self._out.tell() % 4))

    def ended(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return self._out.getvalue()
