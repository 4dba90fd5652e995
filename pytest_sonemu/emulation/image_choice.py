"""Which image a unit of a VNF runs, decided before anything is fetched (ruling 18). No effects here.

By name set for the VNF; else, for the descriptor's reference: an exact entry of the image map; present
locally; a pattern of the map; built from the package's Dockerfile; pulled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pytest_sonemu.descriptors.image_names import (
    BASE_IMAGE,
    DOCKER_FORMATS,
    OURS,
    PLACEHOLDERS,
    REFERENCE,
    VM_FILES,
    is_base,
    problem_of,
)
from pytest_sonemu.descriptors.model import Unit

__all__ = ["BASE_IMAGE", "DOCKER_FORMATS", "OURS", "PLACEHOLDERS", "VM_FILES", "ImageRequest", "Refused"]
__all__ += ["Want", "choose", "is_base", "mentioned", "problem_of"]

Way = Literal["local", "base", "folder", "archive", "pull"]


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One unit that needs an image.

    `key` is the VNF's id, or `<vnf>.<unit>` where it has several units. `image`, `build` and `command`
    are what the VNF's options say, `image_map` the images of topology, `sonemu.yml` and settings,
    `files` the members of the package.
    """

    key: str
    unit: Unit
    image: str | None = None
    build: Path | None = None
    command: tuple[str, ...] | None = None
    image_map: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def reference(self) -> str:
        """The descriptor's own reference, as written."""
        return (self.unit.image or "").strip()


@dataclass(frozen=True, slots=True)
class Want:
    """What is to be done for one unit: `target` is a reference, a folder, or a member of the package."""

    way: Way
    target: str
    reason: str
    stand_in: bool = False


class Refused(Exception):
    """No image can be had in any way; the text says what was found."""


def mentioned(request: ImageRequest) -> set[str]:
    """Every reference whose presence the choice depends on."""
    names = {request.image or "", request.reference, *request.image_map.values()}
    return {name for name in names if REFERENCE.fullmatch(name)}


def choose(request: ImageRequest, local: Callable[[str], bool], allow_build: bool = True) -> Want:
    """The way to this unit's image. `local` tells whether a reference is present. Raises Refused."""
    unit, own = request.unit, request.reference
    if request.build is not None:
        return _build(request, "folder", str(request.build), f"build set for '{request.key}'", allow_build)
    if request.image:
        stands_in = is_base(request.image) and not is_base(own)
        return _from_reference(request.image, f"image set for '{request.key}'", local, stands_in)
    if unit.build is not None and not own:
        return _build(request, "folder", str(unit.build), f"build of '{request.key}'", allow_build)
    for name in (own, f"{own}:latest", own.removesuffix(":latest")):
        if name in request.image_map:
            return _from_reference(request.image_map[name], f"image map, '{name}'", local, stand_in=True)
    runs_here = unit.image_format.strip().lower() in DOCKER_FORMATS
    if runs_here and REFERENCE.fullmatch(own) and not is_base(own) and local(own):
        return Want("local", own, "present locally")
    for pattern, image in request.image_map.items():
        if fnmatchcase(own, pattern):
            return _from_reference(image, f"image map, pattern '{pattern}'", local, stand_in=True)
    if unit.build is not None:
        return _build(request, "folder", str(unit.build), "built from the project's Dockerfile", allow_build)
    if unit.context is not None:
        return _build(request, "archive", unit.context, "built from the package's Dockerfile", allow_build)
    if not runs_here:
        raise Refused(
            f"it is a virtual machine's image ({unit.image_format}, '{own}'), and only containers run here"
        )
    return _from_reference(own, "pulled", local, stand_in=False)


def _from_reference(reference: str, reason: str, local: Callable[[str], bool], stand_in: bool) -> Want:
    if is_base(reference):
        return Want("base", reference, "built here" if reason == "pulled" else reason, stand_in)
    if REFERENCE.fullmatch(reference) and local(reference):
        return Want("local", reference, reason, stand_in)
    if problem := problem_of(reference):
        raise Refused(problem if reason == "pulled" else f"{problem} ({reason})")
    return Want("pull", reference, reason, stand_in)


def _build(request: ImageRequest, way: Way, target: str, reason: str, allow_build: bool) -> Want:
    if not allow_build:
        raise Refused(
            f"it would have to be built from {target}, and builds are not allowed here"
            " (`sonemu up --allow-build` allows them)"
        )
    return Want(way, target, reason)
