"""Lists in the marker clone a test: over topologies, packages and image versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TypeGuard

import pytest

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.sharing.marks import IMAGES_PARAM, mark_layers
from pytest_sonemu.sharing.settings import Path_, RunSettings, merge

_FIXTURES = {"topology": "sonemu_topology", "package": "sonemu_package"}


def clone(metafunc: pytest.Metafunc, run: RunSettings) -> None:
    """Parametrise a test that uses our fixtures and whose marks hold lists.

    A mark that cannot be used clones nothing: the test itself says what is wrong with it.
    """
    if "sonemu_topology" not in metafunc.fixturenames:
        return
    try:
        settings = merge([run.command_line, *mark_layers(metafunc.definition)])
    except SettingsError:
        return
    taken = _parametrised_names(metafunc.definition)
    for key, fixture in _FIXTURES.items():
        values = settings[(key,)].value if (key,) in settings else None
        if isinstance(values, (list, tuple)) and fixture not in taken:
            metafunc.parametrize(fixture, values, ids=ids_of(values))
    images: dict[Path_, Sequence[object]] = {}
    for path, each in settings.items():
        value = each.value
        if _is_list_of_images(value, path):
            images[path] = value
    if images and IMAGES_PARAM not in taken:
        combinations = [dict(zip(images, values, strict=True)) for values in product(*images.values())]
        metafunc.parametrize(IMAGES_PARAM, combinations, ids=[_image_id(each) for each in combinations])


def ids_of(values: Sequence[object]) -> list[str | None]:
    """Stable ids: a file's name without its ending, longer where two would be alike; an object's name."""
    short = [_id(value) for value in values]
    return [
        _path_id(value) if short.count(name) > 1 and isinstance(value, (str, Path)) else name
        for name, value in zip(short, values, strict=True)
    ]


def _id(value: object) -> str | None:
    if isinstance(value, (str, Path)):
        return Path(value).stem
    if value is None:
        return "none"
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else None


def _path_id(value: str | Path) -> str:
    path = Path(value)
    return "-".join(part for part in path.parts if part not in (path.anchor, "..", "."))


def _is_list_of_images(value: object, path: Path_) -> TypeGuard[Sequence[object]]:
    names_image = path[0] == "images" or (len(path) == 3 and path[0] == "vnfs" and path[2] == "image")
    return names_image and isinstance(value, (list, tuple))


def _image_id(images: Mapping[Path_, object]) -> str:
    return ",".join(f"{path[1]}={image}" for path, image in images.items())


def _parametrised_names(node: pytest.Item) -> set[str]:
    names: set[str] = set()
    for mark in node.iter_markers("parametrize"):
        argnames = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        names.update(argnames.split(",") if isinstance(argnames, str) else argnames)
    return {name.strip() for name in names}
