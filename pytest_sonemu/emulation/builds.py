"""Images built from Dockerfiles: of a folder on disk, or of a folder inside a package.

A build is named by the hash of all that goes into it (files, base images, network), so Docker is asked
to build only what it does not have. RUN lines are somebody's program run as root: they get limits of
memory, time and size, and no secrets (ruling 37). The classic builder of Docker's API does the work.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from docker import APIClient
from docker.errors import APIError
from docker.utils.build import exclude_paths
from docker.utils.config import load_general_config
from docker.utils.proxy import ProxyConfig

from pytest_sonemu.emulation.docker_api import StreamTimeout, inspect_image, post_stream
from pytest_sonemu.errors import ImageError

REPOSITORY = "sonemu/build"
CONTEXT_BYTES = 1024**3
_FROM = re.compile(r"\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_ARG = re.compile(r"\s*ARG\s+(\w+)(?:=(.*))?$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What a build may use: `seconds` in all, `memory` of a RUN, `context` and `image` sizes in bytes.

    `network` is Docker's network for RUN lines: None is Docker's default, `"none"` is no network.
    """

    seconds: float = 900.0
    memory: int = 2 * 1024**3
    context: int = CONTEXT_BYTES
    image: int = 8 * 1024**3
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """A build context as a tar archive that depends on nothing but its content; the asker closes it."""

    archive: IO[bytes]
    digest: str
    dockerfile: str
    bases: tuple[str, ...]


def folder_context(path: Path, limit: int = CONTEXT_BYTES) -> Context:
    """The context of a folder with a Dockerfile (or of a Dockerfile, whose folder it then is).

    `.dockerignore` counts. Raises ImageError where there is no Dockerfile or more than `limit` bytes.
    """
    folder, dockerfile = (path.parent, path.name) if path.is_file() else (path, "Dockerfile")
    if not folder.is_dir():
        raise ImageError(f"there is no folder {folder} to build from")
    if not (folder / dockerfile).is_file():
        raise ImageError(f"there is no Dockerfile in {folder}")
    ignore = folder / ".dockerignore"
    patterns = ignore.read_text().splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in patterns if line.strip() and not line.startswith("#")]
    names = sorted(exclude_paths(str(folder), patterns, dockerfile=dockerfile))
    text = (folder / dockerfile).read_text(errors="replace")
    return _pack(_folder_entries(folder, names), dockerfile, text, limit, str(folder))


def archive_context(files: Mapping[str, bytes], member: str, limit: int = CONTEXT_BYTES) -> Context:
    """The context of a folder inside a package; `member` names the folder or its Dockerfile."""
    name = member.strip("/")
    is_dockerfile = name in files
    dockerfile = PurePosixPath(name) if is_dockerfile else PurePosixPath(name, "Dockerfile")
    if str(dockerfile) not in files:
        raise ImageError(f"there is no {dockerfile} in the package")
    prefix = "" if str(dockerfile.parent) == "." else f"{dockerfile.parent}/"
    inside = sorted(each for each in files if each.startswith(prefix) and not each.endswith("/"))
    text = files[str(dockerfile)].decode(errors="replace")
    entries = (
        (_entry(each[len(prefix) :], len(files[each]), 0o755), io.BytesIO(files[each])) for each in inside
    )
    return _pack(entries, dockerfile.name, text, limit, f"{member} of the package")


def base_images(dockerfile: str) -> tuple[str, ...]:
    """The images that a Dockerfile starts FROM, with its ARG defaults filled in; stages are left out."""
    defaults: dict[str, str] = {}
    stages: set[str] = set()
    bases: dict[str, None] = {}
    for line in _logical_lines(dockerfile):
        if argument := _ARG.match(line):
            defaults.setdefault(argument[1], (argument[2] or "").strip().strip("\"'"))
        elif start := _FROM.match(line):
            reference = _VARIABLE.sub(lambda m: defaults.get(m[1] or m[3]) or m[2] or "", start[1])
            if reference and reference != "scratch" and reference.lower() not in stages:
                bases[reference] = None
            if start[2]:
                stages.add(start[2].lower())
    return tuple(bases)


def tag_of(context: Context, base_ids: Iterable[str], limits: BuildLimits) -> str:
    """The reference under which this build is kept: `sonemu/build:<hash>`."""
    parts = [context.digest, context.dockerfile, limits.network or "", *base_ids]
    return f"{REPOSITORY}:{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:20]}"


def build(
    client: APIClient, context: Context, tag: str, limits: BuildLimits, say: Callable[[str], None]
) -> None:
    """Let Docker build and tag it; `say` gets each step. Raises ImageError with the end of the output."""
    proxies = ProxyConfig.from_dict(load_general_config().get("proxies", {}).get("default", {}))
    params: dict[str, str | int | bool] = {
        "t": tag,
        "dockerfile": context.dockerfile,
        "rm": True,
        "forcerm": True,
        "memory": limits.memory,
        "memswap": limits.memory,
        "buildargs": json.dumps(proxies.get_environment()),
        "labels": json.dumps({"sonemu.build": tag.partition(":")[2]}),
    }
    if limits.network is not None:
        params["networkmode"] = limits.network
    context.archive.seek(0)
    output: deque[str] = deque(maxlen=15)
    seconds = limits.seconds
    try:
        for event in post_stream(
            client, "/build", params=params, data=context.archive,
            headers={"Content-Type": "application/x-tar"}, first=seconds, idle=seconds, total=seconds,
        ):  # fmt: skip
            if "error" in event:
                raise ImageError(_failed(str(event["error"]).strip(), output))
            for line in str(event.get("stream", "")).splitlines():
                if line.strip():
                    output.append(line)
                    if line.startswith("Step "):
                        say(line)
    except StreamTimeout as error:
        raise ImageError(_failed(f"not done after {seconds:g} s", output)) from error
    except APIError as error:
        raise ImageError(_failed(str(error.explanation), output)) from error
    size = int((inspect_image(client, tag) or {}).get("Size", 0))
    if size > limits.image:
        client.remove_image(tag)
        raise ImageError(f"the image is {size:,} bytes, more than the limit of {limits.image:,}")


def _failed(why: str, output: Iterable[str]) -> str:
    listing = "".join(f"\n      | {line}" for line in output)
    return f"building it failed: {why}{listing}"


def _logical_lines(dockerfile: str) -> Iterator[str]:
    joined = re.sub(r"\\[ \t]*\r?\n", " ", dockerfile)
    return (line for line in joined.splitlines() if not line.lstrip().startswith("#"))


def _entry(name: str, size: int, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, mode, 0
    return entry


def _folder_entries(folder: Path, names: Iterable[str]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    for name in names:
        path = folder / name
        if path.is_symlink():
            entry = _entry(name, 0, 0o777)
            entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
            yield entry, None
        elif path.is_dir():
            entry = _entry(name, 0, 0o755)
            entry.type = tarfile.DIRTYPE
            yield entry, None
        elif path.is_file():
            status = path.stat()
            with path.open("rb") as content:
                yield _entry(name, status.st_size, 0o755 if status.st_mode & 0o111 else 0o644), content


def _pack(
    entries: Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]],
    dockerfile: str,
    text: str,
    limit: int,
    where: str,
) -> Context:
    with ExitStack() as undo:
        archive = undo.enter_context(tempfile.TemporaryFile())
        total = 0
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for entry, content in entries:
                total += entry.size
                if total > limit:
                    raise ImageError(
                        f"the build context {where} has more than {limit:,} bytes; leave out what the build "
                        "does not need by a .dockerignore"
                    )
                tar.addfile(entry, content)
        archive.seek(0)
        digest = hashlib.sha256()
        while piece := archive.read(1 << 20):
            digest.update(piece)
        archive.seek(0)
        undo.pop_all()
    return Context(archive, digest.hexdigest(), dockerfile, base_images(text))
