"""Cheap tests first: whatever way the suite is called, a broken pure part is told before Docker is asked."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# Its asserts speak as those of the tests that run it do.
pytest.register_assert_rewrite("tests.support.gatekeeper_contract", "tests.support.http")

ORDER = ("pure", "links", "one_container", "many")
HERE = Path(__file__).parent


def pytest_configure() -> None:
    """Be as at a terminal: what a shell runs in the background ignores Ctrl-C, and so do its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if not item.path.is_relative_to(HERE):
        return len(ORDER)
    folder = item.path.relative_to(HERE).parts[0]
    return ORDER.index(folder) if folder in ORDER else len(ORDER)
