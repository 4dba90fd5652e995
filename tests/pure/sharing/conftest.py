"""An inner pytest with the plugin, on a bed that is none."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

from tests.pure.sharing.fakes import World

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def world() -> World:
    return World()


def plugin_args(*, short: bool = True) -> list[str]:
    """The arguments that load the plugin, installed or not, with or without its short names."""
    if any(entry.name == "sonemu" for entry in entry_points(group="pytest11")):
        return [] if short else ["-p", "no:sonemu-short"]
    return ["-p", "pytest_sonemu.plugin", *(["-p", "pytest_sonemu.short_names"] if short else [])]


@pytest.fixture
def run(pytester: pytest.Pytester, world: World) -> Run:
    """Run the inner tests; packages and topologies are empty files of the names used there."""
    for name in ("fw.son", "web.son", "broken.son", "no-image.son", "two.yml", "three.yml"):
        pytester.path.joinpath(name).touch()
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")

    def run(*arguments: str, short: bool = True) -> pytest.RunResult:
        return pytester.runpytest_inprocess(
            # An inner run imports each of these anew, Hypothesis at a cost of a second.
            *("-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:xdist", "-p", "no:hypothesispytest"),
            *plugin_args(short=short),
            *arguments,
            plugins=[world],
        )

    return run
