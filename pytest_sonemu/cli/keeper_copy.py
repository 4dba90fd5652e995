"""The keeper's root-owned copy: what a NOPASSWD line of sudo can name without trusting a developer's venv.

This line, like membership of group docker, makes the user equal to root; it only spares the password.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest_sonemu
from pytest_sonemu.emulation.launch import INSTALLED_KEEPER
from pytest_sonemu.errors import MachineError

LAUNCHER = INSTALLED_KEEPER
LIBRARY = Path("/usr/local/lib/sonemu-keeper")
VERSION_FILE = "VERSION"
# What the keeper imports beside the standard library; their own requirements come along.
DISTRIBUTIONS = ("docker", "pydantic")
LAUNCHER_TEXT = '''\
#!{python} -IB
"""Starts a test bed's keeper for the user who called sudo, and for nobody else."""
import os
import sys

sys.path.insert(0, "{library}")
if sys.argv[1:] == ["--version"]:
    print("{version}")
    sys.exit(0)
if len(sys.argv) != 3 or not sys.argv[2].isdigit():
    sys.exit("usage: sonemu-keeper BED UID")
if os.environ.get("SUDO_UID", "0") not in ("0", sys.argv[2]):
    sys.exit("sonemu-keeper: a keeper can be had for your own uid only")
from pytest_sonemu.emulation.keeper_main import start

sys.exit(start(sys.argv[1], int(sys.argv[2])))
'''


def version() -> str:
    """The version of this installation."""
    try:
        return metadata.version("pytest-sonemu")
    except metadata.PackageNotFoundError:
        return "source"


def installed_version(library: Path = LIBRARY) -> str | None:
    """The version of the installed copy, or None."""
    path = library / VERSION_FILE
    return path.read_text().strip() if path.is_file() else None


def install(library: Path = LIBRARY, launcher: Path = LAUNCHER) -> Iterator[str]:
    """Write copy and launcher anew; yields what was done. Raises MachineError if we are not root."""
    if os.geteuid() != 0:
        raise MachineError(f"only root may write {launcher}: sudo sonemu doctor --install-keeper")
    python = trusted_interpreter(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    fresh = library.with_name(f"{library.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    ours = Path(pytest_sonemu.__file__).resolve().parent
    shutil.copytree(ours, fresh / "pytest_sonemu", ignore=shutil.ignore_patterns("__pycache__"))
    for source, name in _files_of(DISTRIBUTIONS):
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (fresh / VERSION_FILE).write_text(f"{version()}\n")
    _own(fresh)
    shutil.rmtree(library, ignore_errors=True)
    fresh.rename(library)
    yield f"copied the keeper to {library}"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.unlink(missing_ok=True)
    launcher.write_text(LAUNCHER_TEXT.format(python=python, library=library, version=version()))
    launcher.chmod(0o755)
    yield f"wrote {launcher}"


def trusted_interpreter(python: Path) -> Path:
    """The interpreter, if only root can change it or the way to it; else a MachineError that says which."""
    for place in (python, *python.parents):
        status = place.stat()
        sticky = bool(status.st_mode & stat.S_ISVTX)
        if status.st_uid != 0 or (status.st_mode & 0o022 and not sticky):
            raise MachineError(
                f"{place} can be changed by others than root, so a keeper that it runs cannot be trusted; "
                "install with the system's own Python"
            )
    return python


def sudoers_text(launcher: Path = LAUNCHER) -> str:
    """What an administrator is told to do."""
    user = os.environ.get("SUDO_USER") or "USER"
    line = f"{user} ALL=(root) NOPASSWD: {launcher}"
    return (
        "This line lets that user start keepers without a password. Like group docker, it makes the user\n"
        f"equal to root:\n\n    {line}\n\n"
        f"Put it in place by:\n\n    echo '{line}' | sudo tee /etc/sudoers.d/sonemu\n"
        "    sudo chmod 0440 /etc/sudoers.d/sonemu"
    )


def _files_of(distributions: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """(file, path below site-packages) of distributions and of all they require."""
    waiting, seen = list(distributions), set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise MachineError(
                f"the keeper needs {name}, which is not installed: pip install {name}"
            ) from error
        # Requirements of extras, and those of other platforms, carry a marker.
        waiting += [
            re.split(r"[^\w.-]", need.strip(), maxsplit=1)[0]
            for need in found.requires or ()
            if ";" not in need
        ]
        for path in found.files or ():
            source = Path(str(path.locate()))
            if ".." not in path.parts and "__pycache__" not in path.parts and source.is_file():
                yield source, Path(*path.parts)


def _own(folder: Path) -> None:
    """Root's, readable by all, writable by nobody else."""
    for place in (folder, *folder.rglob("*")):
        os.chown(place, 0, 0, follow_symlinks=False)
        if not place.is_symlink():
            place.chmod(0o755 if place.is_dir() or place.stat().st_mode & 0o100 else 0o644)
