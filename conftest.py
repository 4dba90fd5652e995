"""For the tests of the clone: pytester, and a run without the extras of development."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

pytest_plugins = ["pytester", "tests.support.lanes"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the setting of pytest-asyncio that pyproject.toml makes, where that plugin is not installed."""
    if find_spec("pytest_asyncio") is None:
        parser.addini("asyncio_default_fixture_loop_scope", "for pytest-asyncio, which is not there")
