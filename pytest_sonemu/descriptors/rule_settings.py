"""Levels of rules from `pyproject.toml` and the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_sonemu.descriptors.rules import Levels, levels
from pytest_sonemu.errors import SettingsError

PYPROJECT = "pyproject.toml"


def levels_from(
    folder: Path, *, profile: str | None = None, settings: Iterable[str] = (), where: str = "--rule"
) -> Levels:
    """The levels of `[tool.sonemu.rules]` in the nearest `pyproject.toml`, those of `settings` over them.

    The file is looked for in `folder` and those above it; `profile` in `[tool.sonemu]` is taken where
    none is given. `settings` are texts like `sonemu_sap_link=off`. Raises SettingsError.
    """
    table, origin = tool_table(folder)
    rules = table.get("rules", {})
    if not isinstance(rules, dict):
        raise SettingsError(f"{origin}: [tool.sonemu.rules] is no table; write one line a rule: name = level")
    written = table.get("profile")
    from_file = levels(rules, profile=None if written is None else str(written), where=f"{origin}")
    given = levels(_parsed(settings, where), profile=profile, where=where)
    return Levels(given.profile if profile is not None else from_file.profile, {**from_file.own, **given.own})


def tool_table(folder: Path) -> tuple[dict[str, Any], Path]:
    """`[tool.sonemu]` of the nearest `pyproject.toml` that has one, and that file. Raises SettingsError."""
    start = folder.resolve()
    for parent in (start, *start.parents):
        path = parent / PYPROJECT
        if not path.is_file():
            continue
        try:
            data = _toml().loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path}: cannot be read: {error}") from None
        tool = data.get("tool", {})
        table = tool.get("sonemu") if isinstance(tool, dict) else None
        if isinstance(table, dict):
            return table, path
    return {}, start / PYPROJECT


def _parsed(settings: Iterable[str], where: str) -> dict[str, object]:
    parsed: dict[str, object] = {}
    for text in settings:
        name, equals, level = text.partition("=")
        if not equals:
            raise SettingsError(f"{where} {text}: write it as NAME=LEVEL, e.g. evt_pd_itg_invalid_md5=error")
        parsed[name.strip()] = level.strip()
    return parsed


def _toml() -> Any:
    """tomllib, or before Python 3.11 tomli, which pytest brings along there."""
    return import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
