"""Between collection and the first test: demand is counted, images are prepared, settings are shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from typing import cast

import pytest

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.sharing.factories import asks_of_fixtures
from pytest_sonemu.sharing.preparing import prepare
from pytest_sonemu.sharing.requests import Ask, shown
from pytest_sonemu.sharing.running import describe_run, describe_test, run_settings, sharing_of
from pytest_sonemu.sharing.session import uses_sonemu


def before_the_first_test(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Count what the collected tests ask for and have its images prepared."""
    sharing = sharing_of(config)
    sharing.collected(items)
    wanted = [item for item in items if item.get_closest_marker("skip") is None]
    asks = [ask for item in wanted for ask in (*sharing.known_asks(item), *asks_of_fixtures(item, config))]
    if sharing.run.attach:
        return  # what runs there has its images
    prepare(asks, sharing.outside.prepare_images, _teller(config), _run_id(config), sharing.pool)


def _teller(config: pytest.Config) -> Callable[[str], None]:
    """Lines for the person at the terminal; of a worker of xdist only standard error gets there."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        return cast("Callable[[str], None]", reporter.write_line)
    capture = config.pluginmanager.get_plugin("capturemanager")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            print(line, file=sys.stderr, flush=True)

    return tell


def _run_id(config: pytest.Config) -> str:
    """What the workers of one run have in common; empty without workers."""
    return str(getattr(config, "workerinput", {}).get("testrunuid", ""))


def show_plans(session: pytest.Session) -> int:
    """Print what would be deployed for what the tests name, each plan once; how many cannot be made."""
    from pytest_sonemu.errors import SonemuError
    from pytest_sonemu.planning.describe import describe
    from pytest_sonemu.sharing.preparing import plan_of

    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    sharing = sharing_of(config)
    users: dict[Hashable, list[str]] = {}
    asks: dict[Hashable, Ask] = {}
    failed = 0
    for item in session.items:
        for ask in (*sharing.known_asks(item), *asks_of_fixtures(item, config)):
            if ask.package is not None:
                asks.setdefault(ask.content, ask)
                users.setdefault(ask.content, []).append(item.nodeid)
    for content, ask in asks.items():
        first, *others = users[content]
        also = f" and {len(others)} more" if others else ""
        try:
            text = describe(plan_of(ask))
        except SonemuError as error:
            failed += 1
            text = f"cannot be deployed: {error}\n"
        if reporter is not None:
            reporter.write_line(f"\n{first}{also} on {shown(ask.topology)}")
            reporter.write_line(text.rstrip("\n"))
    return failed


def show_config(session: pytest.Session) -> None:
    """Print the settings of the run, then those of each test that uses our fixtures."""
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    reporter.write_line("")
    for line in describe_run(run_settings(config)):
        reporter.write_line(line)
    for item in session.items:
        if uses_sonemu(item):
            reporter.write_line(f"\n{item.nodeid}")
            try:
                lines = describe_test(sharing_of(config).settings_of(item))
            except SettingsError as error:
                lines = str(error).splitlines()
            for line in lines:
                reporter.write_line(f"  {line}")
