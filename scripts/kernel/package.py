"""A stock Debian kernel from its package, unpacked into a folder of its own: never installed.

`kernel(cache)` asks apt for the newest one that its lists know, downloads it once and keeps it unpacked in
the cache (some 300 MB); without a network the one that is there already is used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

META_PACKAGE = "linux-image-amd64"
_READY = "ready"
# Nothing of these is in a virtual machine; they are half of the package.
_LEFT_OUT = ("kernel/drivers/gpu", "kernel/drivers/media", "kernel/drivers/staging", "kernel/sound")


class CannotRun(Exception):
    """This machine cannot run the second kernel: what is missing, and what to do."""


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel: its `uname -r`, its image, and the folder in which `lib/modules` lies."""

    release: str
    image: Path
    root: Path

    @property
    def modules(self) -> Path:
        return self.root / "lib" / "modules" / self.release


def cache_folder() -> Path:
    """Where unpacked kernels are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-sonemu" / "kernels"


def kernel(cache: Path, package: str = META_PACKAGE) -> Kernel:
    """The newest kernel that apt knows. Raises CannotRun where there is none, and none was kept."""
    cache.mkdir(parents=True, exist_ok=True)
    kept = sorted(cache.glob(f"*/{_READY}"), key=lambda path: path.stat().st_mtime)
    name = named_in(_said("apt-cache", "depends", package))
    version = version_in(_said("apt-cache", "show", "--no-all-versions", name)) if name else None
    if not name or not version:
        return _kept(kept, f"apt knows no package {package} (apt-get update brings its lists up to date)")
    folder = cache / f"{name}_{version.replace(':', '%3a')}"
    if not (folder / _READY).exists():
        try:
            _fetch(name, cache, folder)
        except (subprocess.CalledProcessError, OSError) as error:
            return _kept(kept, f"{name} {version} cannot be had: {_reason(error)}")
        for other in kept:
            shutil.rmtree(other.parent, ignore_errors=True)
    return _unpacked(folder)


def _kept(kept: list[Path], reason: str) -> Kernel:
    """The youngest of those that were unpacked before."""
    if not kept:
        raise CannotRun(reason)
    print(f"test-kernel: {reason}; going on with the one that is kept", flush=True)
    return _unpacked(kept[-1].parent)


def named_in(depends: str) -> str | None:
    """The kernel's own package, from what apt says the meta package depends on."""
    found = re.search(r"^\s*Depends: (linux-image-\S+)$", depends, re.MULTILINE)
    return found[1] if found else None


def version_in(shown: str) -> str | None:
    found = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
    return found[1] if found else None


def _fetch(name: str, cache: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix="part-") as part:
        print(f"test-kernel: downloading and unpacking {name}", flush=True)
        subprocess.run(["apt-get", "download", "-q", name], cwd=part, capture_output=True, check=True)
        (archive,) = Path(part).glob("*.deb")
        root = Path(part, "root")
        root.mkdir()
        excluded = [f"--exclude=*/{path}" for path in _LEFT_OUT]
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as reader:
            tar: list[str | Path] = ["tar", "-x", "--no-same-owner", "-C", root, *excluded]
            subprocess.run(tar, stdin=reader.stdout, capture_output=True, check=True)
        if not (root / "lib").exists():
            (root / "lib").symlink_to("usr/lib")
        release = _release(root)
        subprocess.run(["depmod", "-a", "-b", root, release], capture_output=True, check=True)
        (root / _READY).write_text(release + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        root.rename(folder)


def _unpacked(folder: Path) -> Kernel:
    release = _release(folder)
    return Kernel(release, folder / "boot" / f"vmlinuz-{release}", folder)


def _release(root: Path) -> str:
    (image,) = (root / "boot").glob("vmlinuz-*")
    return image.name.removeprefix("vmlinuz-")


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        return str(error.stderr.decode(errors="replace").strip().splitlines()[-1])
    return str(error)
