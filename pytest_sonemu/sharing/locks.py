"""The machine-wide lock that tests of speed take, and locks between the workers of one run."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on a file, which is made if need be; yields its descriptor.

    It is free again when the holder ends, however that happens. Waiting is broken off by Ctrl-C.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def exclusive_lock_path() -> Path:
    """One file for all users of the machine."""
    return Path(tempfile.gettempdir(), "sonemu-exclusive.lock")


def _open(path: Path) -> int:
    # Opened without O_CREAT first: the kernel refuses O_CREAT on another user's file in a sticky folder.
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileNotFoundError):
        return os.open(path, flags)
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process made it in between
        return os.open(path, flags)
    os.fchmod(descriptor, 0o666)
    return descriptor
