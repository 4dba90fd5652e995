"""The reference is what the code says of itself: up to date, complete, and nothing in it without a word."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest_sonemu
from scripts import reference
from scripts.reference_pages import PAGES

CLASSES = [
    getattr(import_module(f"pytest_sonemu.{home}"), name)
    for page in PAGES
    for home, _, name in (entry.partition(":") for entry in page.names)
    if inspect.isclass(getattr(import_module(f"pytest_sonemu.{home}"), name))
]
MEMBERS = {
    f"{cls.__name__}.{name}": inspect.getattr_static(owner, name)
    for cls in CLASSES
    for name, owner in reference.public_members(cls).items()
}


def test_it_is_up_to_date() -> None:
    stored = {file.name: file.read_text() for file in reference.FOLDER.glob("*.md")}
    changed = [name for name, text in reference.render().items() if stored.pop(name, None) != text]
    assert not changed, f"{', '.join(changed)}: write them by `make reference`"
    assert not stored, "pages that nothing writes"


def test_every_public_name_has_a_section() -> None:
    shown = {entry.partition(":")[2] for page in PAGES for entry in page.names}
    assert set(pytest_sonemu.__all__) - {"__version__", "errors"} <= shown


def test_every_class_says_what_it_is() -> None:
    # A dataclass without a docstring gets its signature for one.
    mute = [cls.__name__ for cls in CLASSES if (cls.__doc__ or "(").startswith((f"{cls.__name__}(", "("))]
    assert not mute, "without a docstring"


def test_every_method_and_property_says_what_it_does() -> None:
    mute = [
        name for name, member in MEMBERS.items() if not inspect.getdoc(getattr(member, "__func__", member))
    ]
    assert not mute, "without a docstring"
