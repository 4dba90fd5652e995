"""A container's files and processes, as the keeper sees them from outside: nothing is run in the container.

Paths are resolved inside the container's root (openat2, Linux 5.6): no symlink and no `/proc/*/root`
of an image leads out of it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterator

from pytest_sonemu.emulation import processes
from pytest_sonemu.errors import EmulationError, NotFoundError

_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
_OPEN_HOW = struct.Struct("=QQQ")


def open_file(pid: int, path: str) -> int:
    """A descriptor of a regular file, or a folder, in the root of process `pid`, for reading.

    Raises NotFoundError where there is none, EmulationError for what cannot be read (devices, FIFOs).
    """
    # A FIFO without a writer must not hold the keeper up.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise EmulationError("it is not running") from None
    try:
        descriptor = _openat2(root, path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError("file", path, ()) from None
    except OSError as error:
        raise EmulationError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(root)
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        raise EmulationError(f"cannot read {path}: it is neither a file nor a folder")
    return descriptor


def _openat2(folder: int, path: str, flags: int) -> int:
    how = _OPEN_HOW.pack(flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(
        ctypes.c_long(_OPENAT2), folder, os.fsencode(path), ctypes.c_char_p(how), ctypes.c_size_t(len(how))
    )
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(descriptor)


def members(pid: int) -> Iterator[int]:
    """The processes of the container whose first process is `pid`, itself included."""
    own = os.stat(f"/proc/{pid}/ns/pid").st_ino
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.stat(f"/proc/{entry}/ns/pid").st_ino == own:
                    yield int(entry)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue


def session_of(first: int, leader: int) -> list[tuple[int, int]]:
    """Pid and start time of the processes of a session inside the container whose first process is `first`.

    Docker begins a session for every exec; `leader` is the exec's process as this machine numbers it.
    """
    found = []
    for pid in members(first):
        fields = stat_fields(pid)
        if fields and (pid == leader or int(fields[3]) == leader):
            started = processes.start_time(pid)
            if started is not None:
                found.append((pid, started))
    return found


def stat_fields(pid: int) -> list[bytes]:
    """What /proc/PID/stat says after the command's name: state, parent, group, session, …"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
