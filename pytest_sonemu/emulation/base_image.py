"""`sonemu/vnf-base`, the base image of our example VNFs and stand-ins: always built here, never pulled.

Nobody can be kept from registering its name at a public registry, so what is built from Debian packages
of the machine's own sources is the only trustworthy one. Two steps, each a tag named by the hash of all
that goes into it: `rootfs-<hash>` (packages, by mmdebstrap) and `<hash>` (our files on it, a Dockerfile),
which is `latest` too. A change of our files therefore downloads nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_sonemu.errors import ImageError, MachineError

if TYPE_CHECKING:
    from docker import APIClient

REPOSITORY = "sonemu/vnf-base"
RECIPE_FOLDER = Path(__file__).resolve().parent.parent / "images" / "vnf-base"
MERGED_USR_HOOK = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
ORIGINS = {"debian": "Debian", "ubuntu": "Ubuntu"}
COMPONENTS = ("main", "universe")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
APT_SETTINGS = re.compile(r"Acquire::(http|https|Check-|Retries|ForceIPv)", re.IGNORECASE)
APT_TIMEOUT = 60.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what is in the image. Built by `read_recipe`."""

    distribution: str
    suite: str
    packages: tuple[str, ...]
    files: Mapping[str, bytes]

    @property
    def rootfs(self) -> str:
        """The reference of the image that has the packages and nothing of ours."""
        return f"{REPOSITORY}:rootfs-{_digest(self._packages_part())}"

    @property
    def reference(self) -> str:
        """The reference of the finished image, `sonemu/vnf-base:<12 hex digits>`."""
        parts = [self._packages_part()]
        for name, content in sorted(self.files.items()):
            parts += [name.encode(), content]
        return f"{REPOSITORY}:{_digest(*parts)}"

    def _packages_part(self) -> bytes:
        return "\n".join([self.distribution, self.suite, *self.packages, *LEFT_OUT]).encode()


def read_recipe(folder: Path = RECIPE_FOLDER, os_release: Path = Path("/etc/os-release")) -> Recipe:
    """The recipe for this machine's own distribution. MachineError if that is not Debian or Ubuntu."""
    lines = os_release.read_text().splitlines() if os_release.exists() else []
    release = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    distribution, suite = release.get("ID", "unknown"), release.get("VERSION_CODENAME", "")
    if distribution not in ORIGINS or not suite:
        raise MachineError(
            f"{REPOSITORY} is built from Debian or Ubuntu packages, and this machine runs {distribution}; "
            f"build it on a Debian machine and bring it here: docker save {REPOSITORY} | docker load"
        )
    lines = (folder / "packages.txt").read_text().splitlines()
    packages = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "packages.txt"}
    return Recipe(distribution, suite, packages, files)


def ensure_base_image(client: APIClient, progress: Progress | None = None) -> str:
    """Build what is missing of the base image, tag it `latest`, and return its reference by hash.

    A few ms if it is there, about 25 s if not; `progress` gets a line per phase. Raises ImageError, or
    MachineError where the machine lacks what the building needs.
    """
    say = progress or (lambda line: None)
    recipe = read_recipe()
    if not _exists(client, recipe.reference):
        if not _exists(client, recipe.rootfs):
            _make_rootfs(client, recipe, say)
        say(f"building {recipe.reference}")
        _build(client, recipe)
    client.tag(recipe.reference, REPOSITORY, "latest")
    return recipe.reference


def _make_rootfs(client: APIClient, recipe: Recipe, say: Progress) -> None:
    if shutil.which("mmdebstrap") is None:
        raise MachineError(f"{REPOSITORY} is built by mmdebstrap: apt-get install mmdebstrap")
    with tempfile.TemporaryDirectory(prefix="sonemu-base-", dir="/var/tmp") as name:
        archive, settings = Path(name, "rootfs.tar"), Path(name, "apt.conf")
        settings.write_text(_apt_settings())
        _run_mmdebstrap(_mmdebstrap_command(recipe, settings), _apt_sources(recipe), archive, say)
        say(f"importing {archive.stat().st_size / 1e6:.0f} MB into Docker")
        repository, _, tag = recipe.rootfs.partition(":")
        answer = client.import_image_from_file(str(archive), repository=repository, tag=tag)
    if not _exists(client, recipe.rootfs):
        raise ImageError(f"Docker did not import {recipe.rootfs}: {answer}")


def _mmdebstrap_command(recipe: Recipe, settings: Path) -> list[str]:
    # /tmp is mounted nodev on some machines, and a system cannot be unpacked there.
    command = ["env", "TMPDIR=/var/tmp", "mmdebstrap", "--variant=apt", "--format=tar"]
    command += [f"--include={','.join(recipe.packages)}", f"--aptopt={settings}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    # The proxies and the like of this machine are no business of the image.
    command += ['--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"']
    if MERGED_USR_HOOK.is_dir():  # without it apt chooses usrmerge, which brings 50 MB of perl
        command += [f"--hook-dir={MERGED_USR_HOOK}"]
    command += [recipe.suite, "-", "-"]
    return command if os.geteuid() == 0 else ["sudo", "-n", *command]


def _run_mmdebstrap(command: list[str], sources: str, archive: Path, say: Progress) -> None:
    listing = archive.with_name("sources.list")
    listing.write_text(sources)
    last_lines: deque[str] = deque(maxlen=15)
    with (
        listing.open("rb") as stdin,
        archive.open("wb") as stdout,
        subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd="/") as process,
    ):
        assert process.stderr is not None
        for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            last_lines.append(line)
            if line.startswith("I: ") and line.endswith("..."):
                say(line.removeprefix("I: ").removesuffix("..."))
    if process.returncode != 0:
        raise ImageError(
            f"mmdebstrap could not make {REPOSITORY} (status {process.returncode}):\n" + "\n".join(last_lines)
        )


def _apt_sources(recipe: Recipe) -> str:
    fields = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
    listing = _output(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    sources = select_sources(listing, recipe.distribution)
    if not sources:
        raise MachineError(f"apt knows no package source of {recipe.distribution} here: run apt-get update")
    return "".join(f"{source}\n" for source in sources)


def select_sources(listing: str, distribution: str) -> list[str]:
    """The lines of a sources.list with what is the distribution's own, without what others have added.

    `listing` has a line `uri|release|component|origin` per index that apt knows.
    """
    sources: dict[str, None] = {}
    for line in listing.splitlines():
        uri, release, component, origin = line.split("|")
        if origin != ORIGINS[distribution] or component not in COMPONENTS or uri.startswith("cdrom:"):
            continue
        if not release.endswith(("-backports", "-proposed", "-proposed-updates")):
            sources[f"deb {uri} {release} {component}"] = None
    return list(sources)


def _apt_settings() -> str:
    """How this machine reaches its package sources (proxies, date checks), as lines of apt.conf."""
    lines = _output(["apt-config", "dump"]).splitlines()
    return "".join(f"{line}\n" for line in lines if APT_SETTINGS.match(line))


def _build(client: APIClient, recipe: Recipe) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in sorted(recipe.files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    context.seek(0)
    answers = client.build(
        fileobj=context,
        custom_context=True,
        tag=recipe.reference,
        buildargs={"ROOTFS": recipe.rootfs},
        rm=True,
        forcerm=True,
        decode=True,
    )
    for answer in answers:
        if "error" in answer:
            raise ImageError(f"Docker could not build {recipe.reference}: {answer['error'].strip()}")


def _exists(client: APIClient, reference: str) -> bool:
    return bool(client.images(name=reference))


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=APT_TIMEOUT)
    except FileNotFoundError as error:
        raise MachineError(
            f"{REPOSITORY} is built from apt's packages, and there is no {command[0]}"
        ) from error
    except subprocess.CalledProcessError as error:
        raise ImageError(f"{' '.join(command[:2])} failed: {error.stderr.strip()}") from error
    return done.stdout


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:12]


def main() -> int:
    """`python -m pytest_sonemu.emulation.base_image`: build what is missing, say what is there."""
    from docker import APIClient
    from docker.errors import DockerException

    try:
        client = APIClient(version="auto", timeout=600)
        try:
            print(ensure_base_image(client, progress=lambda line: print(f"  {line}", flush=True)))
        finally:
            client.close()
    except DockerException as error:
        print(f"Docker: {error}", file=sys.stderr)
        return 1
    except (ImageError, MachineError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
