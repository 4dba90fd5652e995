"""What a test's report says of its bed, kept small."""

from __future__ import annotations

import pytest

from pytest_sonemu.errors import SonemuError
from pytest_sonemu.sharing.pool import Held, SameCauseError
from pytest_sonemu.sharing.requests import shown

NOTES = pytest.StashKey[list[str]]()
FAILED = pytest.StashKey[bool]()
FAILED_FIXTURES = pytest.StashKey[set[str]]()
HELD = pytest.StashKey[list[Held]]()

_WITHIN = {"session": "in the session", "module": "in the module", "class": "in the class"}


def note(node: pytest.Item | pytest.Collector, line: str) -> None:
    """A line for the report of this test's teardown."""
    node.stash.setdefault(NOTES, []).append(line)


def failed(node: pytest.Item | pytest.Collector, fixture: str | None = None) -> bool:
    """Whether this test failed, or, of a fixture of a wider scope, one of the tests that used it."""
    if fixture is None:
        return node.stash.get(FAILED, False)
    return fixture in node.stash.get(FAILED_FIXTURES, ())


def complete(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note a failure, and write what was noted of the test's end."""
    if report.failed:
        item.stash[FAILED] = True
        for node in item.listchain():
            node.stash.setdefault(FAILED_FIXTURES, set()).update(getattr(item, "fixturenames", ()))
        _shorten(report, item, call)
    if report.when == "teardown" and (notes := item.stash.get(NOTES, [])):
        report.sections.append(("sonemu teardown", "\n".join(notes)))


def story(held: Held, keep: str) -> list[str]:
    """The bed, its instance, who shares it, where its papers are, how to attach."""
    within = _WITHIN.get(held.ask.scope)
    since = f", shared {within} since {held.first_user}" if within else ""
    lines = [f"bed {held.bed.name} on {shown(held.ask.topology)}{since}"]
    if held.service is not None:
        lines.append(f"instance {held.service.id} of {shown(held.ask.package)}")
    lines.append(f"its folder: {held.bed.run_dir}")
    if keep != "never" and not getattr(held.bed, "attached", False):
        lines.append(
            f"kept for 2 hours as it is: TestBed.attach({held.bed.name!r}), `sonemu status {held.bed.name}`;"
            f" `sonemu down {held.bed.name}` ends it"
        )
    return lines


def _shorten(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """An error of ours in the set-up is its message: the way through the plugin tells a tester nothing.

    A fixture of a wider scope that failed is raised again by pytest for each test: the second says so.
    """
    excinfo = call.excinfo
    if excinfo is None or report.when == "call" or not isinstance(excinfo.value, SonemuError):
        return
    if item.config.getoption("fulltrace") or item.config.getoption("tbstyle") == "native":
        return
    first = getattr(excinfo.value, "_sonemu_first_user", None)
    if first is None:
        excinfo.value._sonemu_first_user = item.nodeid  # type: ignore[attr-defined]
    elif first != item.nodeid and not isinstance(excinfo.value, SameCauseError):
        excinfo = pytest.ExceptionInfo.from_exc_info(
            (SameCauseError, SameCauseError(first, excinfo.value), excinfo.tb)
        )
    shown = excinfo.getrepr(style="value")
    if shown.reprcrash is not None:
        shown.reprcrash.message = f"{type(excinfo.value).__name__}: {excinfo.value}"
    report.longrepr = shown
