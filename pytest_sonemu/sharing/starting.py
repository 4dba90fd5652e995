"""Between collection and the first test: demand is counted, images are prepared, settings are shown."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence

import pytest

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.sharing.factories import asks_of_fixtures
from pytest_sonemu.sharing.preparing import prepare
from pytest_sonemu.sharing.running import describe_run, describe_test, run_settings, sharing_of
from pytest_sonemu.sharing.session import shared_folder, uses_sonemu

_FOLDER = pytest.StashKey[str]()


def before_the_first_test(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Count what the collected tests ask for and have its images prepared."""
    sharing = sharing_of(config)
    sharing.collected(items)
    wanted = [item for item in items if item.get_closest_marker("skip") is None]
    asks = [ask for item in wanted for ask in (*sharing.known_asks(item), *asks_of_fixtures(item, config))]
    reporter = config.pluginmanager.get_plugin("terminalreporter")

    def progress(text: str) -> None:
        if reporter is not None:
            reporter.write_line(text)

    prepare(asks, sharing.outside.prepare_images, progress, shared_folder(config))


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


def meeting_folder(config: pytest.Config) -> str:
    """A folder where the workers of this run meet; made once, by their controller."""
    if _FOLDER not in config.stash:
        config.stash[_FOLDER] = tempfile.mkdtemp(prefix="sonemu-run-")
    return config.stash[_FOLDER]


def remove_meeting_folder(config: pytest.Config) -> None:
    if _FOLDER in config.stash:
        shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)
        del config.stash[_FOLDER]
