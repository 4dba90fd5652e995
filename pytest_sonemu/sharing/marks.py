"""The `sonemu` marks of a test as layers, the nearest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.sharing.settings import Layer, layer

if TYPE_CHECKING:
    from _pytest.nodes import Node

MARK = "sonemu"
IMAGES_PARAM = "_sonemu_images"
# The fixtures that a user overrides or parametrises, and the one key that each stands for.
FIXTURES = {"sonemu_topology": "topology", "sonemu_package": "package", "sonemu_settings": None}


def folders_of(node: Node) -> tuple[Path, ...]:
    """Where relative paths of a test are looked for: beside its file, then in the root directory."""
    return (node.path.parent, node.config.rootpath)


def mark_layers(node: Node) -> list[Layer]:
    """Function, class (a subclass before its bases), module, ….

    Raises SettingsError for positional arguments, unknown keys, and files that do not exist.
    """
    given_by_parameters = [id(mark) for mark in _marks_of_parameters(node)]
    return [
        _layer(mark, f"marker of {_name(owner)}", node)
        for owner, mark in _nearest_first(node)
        if id(mark) not in given_by_parameters
    ]


def parameter_layers(item: pytest.Item, fixtures: Mapping[str, object]) -> list[Layer]:
    """What parametrisation says: by marks of a `pytest.param`, or of our fixtures.

    `fixtures` are the values that fixtures have by now; before the test runs, the parameters stand for them.
    """
    layers = [_layer(mark, "parametrisation", item) for mark in _marks_of_parameters(item)]
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return layers
    given = {name: fixtures.get(name, callspec.params[name]) for name in FIXTURES if name in callspec.params}
    values = {key: given[name] for name, key in FIXTURES.items() if key and name in given}
    layers.append(layer("parametrisation", values, folders_of(item)))
    images = callspec.params.get(IMAGES_PARAM)
    if images:
        layers.append(Layer("parametrisation", images))
    settings = given.get("sonemu_settings")
    if isinstance(settings, Mapping):
        layers.append(layer("parametrisation", settings, folders_of(item)))
    return layers


def fixture_layers(item: pytest.Item, fixtures: Mapping[str, object]) -> list[Layer]:
    """What overridden fixtures say; one that is None says nothing."""
    layers = [
        layer(f"fixture {name}", {key: fixtures[name]}, folders_of(item))
        for name, key in FIXTURES.items()
        if key and fixtures.get(name) is not None
    ]
    settings = fixtures.get("sonemu_settings")
    if settings is not None and not isinstance(settings, Mapping):
        raise SettingsError(
            f"fixture sonemu_settings is {settings!r}; it returns a mapping of the marker's keys"
        )
    if settings:
        layers.append(layer("fixture sonemu_settings", settings, folders_of(item)))
    return layers


def _nearest_first(node: Node) -> Iterator[tuple[Node, pytest.Mark]]:
    for owner in node.iter_parents():
        marks = [mark for mark in owner.own_markers if mark.name == MARK]
        # pytest lists a class's marks from its bases down, a function's from the innermost decorator out.
        for mark in reversed(marks) if isinstance(owner, pytest.Class) else marks:
            yield owner, mark


def _marks_of_parameters(node: Node) -> list[pytest.Mark]:
    callspec = getattr(node, "callspec", None)
    marks = getattr(callspec, "marks", ())
    return [mark for each in marks if (mark := getattr(each, "mark", each)).name == MARK]


def _layer(mark: pytest.Mark, origin: str, node: Node) -> Layer:
    if mark.args:
        raise SettingsError(
            f"{origin}: sonemu() takes keyword arguments only, e.g. sonemu(topology=..., package=...)"
        )
    return layer(origin, mark.kwargs, folders_of(node))


def _name(node: Node) -> str:
    if isinstance(node, pytest.Class):
        return f"class {node.name}"
    if isinstance(node, pytest.Module):
        return f"module {node.name}"
    return getattr(node, "originalname", None) or node.name
