"""A test's report: the story of a failure, who shares what, how to run it again, what was undone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest

from pytest_sonemu.handles.core import BedCore, InstanceCore
from pytest_sonemu.planning.describe import impairments
from pytest_sonemu.reports import artifacts
from pytest_sonemu.reports.gathering import gather
from pytest_sonemu.reports.properties import properties
from pytest_sonemu.reports.secrets import Blotter, secrets_in, secrets_of
from pytest_sonemu.reports.story import Entry, tell
from pytest_sonemu.sharing import reporting
from pytest_sonemu.sharing.factories import asks_of_fixtures
from pytest_sonemu.sharing.pool import Held
from pytest_sonemu.sharing.session import Sharing

# Of our options those without a value, and those that the command has in any case.
_FLAGS = ("--sonemu-update-golden", "--sonemu-show-config", "--sonemu-plan")
_SAID_ANYWAY = ("--sonemu-seed", "--sonemu-keep")
STORY, SHARED = "sonemu: what happened", "sonemu"


@dataclass
class _Test:
    """What is kept of a test until its last report: when it began, the beds it stands on."""

    began: float
    held: list[Held] = field(default_factory=list)
    failed: bool = False

    @property
    def beds(self) -> list[tuple[Held, BedCore]]:
        """Those that are real: tests of the sharing have others."""
        pairs = [(held, getattr(held.bed, "_core", None)) for held in self.held]
        return [(held, core) for held, core in pairs if isinstance(core, BedCore)]


_TEST = pytest.StashKey[_Test]()


def complete(
    report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None], sharing: Sharing
) -> None:
    """Add our sections to one report, and write the test's artifacts; secrets are blotted out."""
    try:
        _complete(report, item, call, sharing)
    finally:
        _hush(report, item, sharing)


def _hush(report: pytest.TestReport, item: pytest.Item, sharing: Sharing) -> None:
    """No secret that this session knows of is in a report, whatever became of the test."""
    test = item.stash.get(_TEST, None)
    blotter = _blotter(item, test, sharing)
    if blotter:
        report.longrepr = blotter.clean_object(report.longrepr)
        report.sections = [(name, blotter.clean(text)) for name, text in report.sections]
        item.user_properties[:] = blotter.clean_object(item.user_properties)
        report.user_properties = blotter.clean_object(list(report.user_properties))


def _blotter(item: pytest.Item, test: _Test | None, sharing: Sharing) -> Blotter:
    known = sharing.secrets
    for layer in (sharing.run.command_line, sharing.run.ini):
        known.update(str(value) for path, value in layer.leaves.items() if "secrets" in path)
    for mark in item.iter_markers("sonemu"):
        known.update(secrets_in(mark.kwargs))
    known.update(secrets_in(getattr(item, "funcargs", {})))
    if (callspec := getattr(item, "callspec", None)) is not None:
        known.update(secrets_in(callspec.params))
    for ask in (*sharing.known_asks(item), *asks_of_fixtures(item, item.config)):
        known.update(secrets_in(ask.options))
    if test is not None:
        known.update(secrets_of(instance.plan for instance in _instances(test)))
        for _held, core in test.beds:
            known.update(secrets_in(core.asked))
    return Blotter(known)


def _complete(
    report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None], sharing: Sharing
) -> None:
    if call.when == "setup":
        item.stash[_TEST] = _Test(call.start)
    test = item.stash.get(_TEST, None)
    if test is None:
        return
    if call.when != "teardown":
        _meet(test, item, sharing)
    if not test.held:
        return
    if call.when == "setup":
        item.user_properties.extend(properties(test.beds))
    test.failed = test.failed or report.failed
    if call.when == "teardown":
        _tell_what_was_undone(report, item, test)
    else:
        _tell(report, item, test, sharing)


def add_section(report: pytest.TestReport, name: str, lines: Sequence[str]) -> None:
    """A section below the failure: part of its text, so that terminal, junit and pytest-html all have it."""
    text = "\n".join(lines)
    add = getattr(report.longrepr, "addsection", None)
    if add is not None:
        add(name, text, "-")
    elif isinstance(report.longrepr, str):
        report.longrepr = f"{report.longrepr}\n--- {name} ---\n{text}\n"
    else:
        report.sections.append((name, text))


def _meet(test: _Test, item: pytest.Item, sharing: Sharing) -> None:
    """The beds of the test: those of its own fixtures, and those that factories hold for it."""
    wider = [held for held in sharing.pool.apart if item.nodeid.startswith(held.first_user)]
    for held in (*item.stash.get(reporting.HELD, []), *wider):
        if all(known is not held for known in test.held):
            test.held.append(held)


def _instances(test: _Test) -> Iterable[InstanceCore]:
    return [instance for _held, core in test.beds for instance in core.known_instances()]


def _tell(report: pytest.TestReport, item: pytest.Item, test: _Test, sharing: Sharing) -> None:
    mode = str(sharing.run.artifacts.value)
    wanted = (mode == "always" and report.when == "call") or (mode != "never" and report.failed)
    if not (wanted or report.failed):
        return
    found = {core.client.name: gather(core, core.known_instances(), test.began) for _held, core in test.beds}
    where: Path | None = None
    if wanted and test.beds:
        blotter = _blotter(item, test, sharing)
        where = artifacts.write(item, test.beds, found, test.began, sharing, blotter, failed=report.failed)
    if not report.failed:
        return
    entries = [entry for gathered in found.values() for entry in gathered.entries]
    lines = tell(entries, test.began, where=_shown(item, where) if where is not None else "")
    if lines:
        add_section(report, STORY, lines)
    add_section(report, SHARED, _shared(item, test, sharing, where))


def _shared(item: pytest.Item, test: _Test, sharing: Sharing, where: Path | None) -> list[str]:
    keep = str(sharing.run.keep.value)
    lines = [line for held in test.held for line in reporting.story(held, keep)]
    for instance in _instances(test):
        lines += instance.guesses.values()
        if instance.dirty:
            lines.append(f"{instance.plan.instance} is dirty: {instance.dirty}")
    lines += [line for _held, core in test.beds for line in _impaired(core)]
    if where is not None:
        lines.append(f"artifacts: {_shown(item, where)}")
    lines.append(f"run it again: {_again(item)}")
    return lines


def _impaired(core: BedCore) -> Iterable[str]:
    """What topology and options impair: nothing that a test did tells of it."""
    for name, spec in core.asked_links().items():
        yield f"{name} is impaired from the start: {impairments(spec.forward, spec.backward)}"


def _again(item: pytest.Item) -> str:
    """The command that runs a test as it was, from the folder in which this run was started."""
    _, colons, name = item.nodeid.partition("::")
    path = os.path.relpath(item.path, item.config.invocation_params.dir)
    seed = item.config.getoption("sonemu_seed", None)
    seeds = [f"--sonemu-seed={seed}"] if seed is not None else []
    given = own_options(map(str, item.config.invocation_params.args))
    return shlex.join(["pytest", path + colons + name, *given, *seeds, "--sonemu-keep=on-failure"])


def own_options(arguments: Iterable[str]) -> list[str]:
    """Of a command line those options of ours that say how tests run, each with its value."""
    found: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, _ = word.partition("=")
        if option.startswith("--sonemu-") and option not in _FLAGS:
            whole = [word] if equals else [word, *islice(words, 1)]
            found += whole if option not in _SAID_ANYWAY else []
    return found


def _shown(item: pytest.Item, path: Path) -> str:
    folder = item.config.invocation_params.dir
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _tell_what_was_undone(report: pytest.TestReport, item: pytest.Item, test: _Test) -> None:
    entries = [
        Entry(event.time, event.kind, event.place, event.text, event.failed)
        for _held, core in test.beds
        for event in core.journal.since(test.began)
        if event.kind == "undone" or (event.kind == "state" and "is dirty" in event.text)
    ]
    notes = item.stash.get(reporting.NOTES, [])
    for line in notes:
        item.user_properties.append(("sonemu_after", line))
    report.user_properties = list(item.user_properties)
    if test.failed and entries:
        report.sections.append(("sonemu teardown: undone", "\n".join(tell(entries, test.began))))
