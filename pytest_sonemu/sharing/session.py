"""One pytest session's sharing: who asks for what, what they are handed, what happens afterwards."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from pytest_sonemu.errors import CapabilityError, SettingsError, SonemuError, UndoError
from pytest_sonemu.handles.own_files import OwnFiles
from pytest_sonemu.sharing import reporting
from pytest_sonemu.sharing.beside import package_layer
from pytest_sonemu.sharing.contracts import BedLike, ServiceLike
from pytest_sonemu.sharing.demand import Demand, Demands
from pytest_sonemu.sharing.locks import exclusive_lock_path, locked
from pytest_sonemu.sharing.marks import FIXTURES, fixture_layers, mark_layers, parameter_layers
from pytest_sonemu.sharing.outside import Outside
from pytest_sonemu.sharing.pool import Held, Pool, SameCauseError, is_lack
from pytest_sonemu.sharing.requests import Ask, frozen
from pytest_sonemu.sharing.scopes import place_of
from pytest_sonemu.sharing.settings import Layer, RunSettings, TestSettings, resolve
from pytest_sonemu.sharing.signals import TerminationGuard

OUTSIDE = pytest.StashKey[Outside]()
_ASK = pytest.StashKey[Ask]()
_LOCK = pytest.StashKey[ExitStack]()

_View = TypeVar("_View", BedLike, ServiceLike)


def uses_sonemu(item: pytest.Item) -> bool:
    """Whether a test gets beds from the pool (its arguments name a fixture of ours, near or far)."""
    return "sonemu_topology" in getattr(item, "fixturenames", ())


class Sharing:
    def __init__(self, config: pytest.Config, run: RunSettings) -> None:
        self.config, self.run = config, run
        self.outside = config.stash.get(OUTSIDE, Outside())
        open_bed = self.outside.attach(run.attach) if run.attach else self.outside.open_bed
        self.pool = Pool(open_bed, self._ready, TerminationGuard(), keep_all=run.keep.value == "always")
        self.files = OwnFiles(update=config.getoption("sonemu_update_golden"), hold=True)
        self._demands = Demands()
        self._demand_of: dict[pytest.Item, Demand] = {}
        self._missing: dict[str, Sequence[str]] = {}
        self._besides: dict[str | Path, Layer | None] = {}
        # Values of secrets that anything in this session was told: no report shows one.
        self.secrets: set[str] = set()

    # what a test asks for

    def settings_of(self, item: pytest.Item, fixtures: Mapping[str, object] | None = None) -> TestSettings:
        """The settings of one test; without `fixtures` what is known before it runs. Raises SettingsError."""
        values = fixtures or {}
        layers = [*parameter_layers(item, values), *mark_layers(item), *fixture_layers(item, values)]
        settings = resolve(layers, self.run)
        beside = self._beside(settings.package)
        if beside is None:
            return settings
        return replace(resolve(layers, self.run, beside), given=settings.given)

    def _beside(self, package: object) -> Layer | None:
        """What `sonemu.yml` beside a package says, read once."""
        if not isinstance(package, (str, Path)):
            return None
        if package not in self._besides:
            self._besides[package] = package_layer(package)
        return self._besides[package]

    def ask_of(self, item: pytest.Item, fixtures: Mapping[str, object]) -> Ask:
        """What a running test asks for, found out once. Checks its needs and takes the exclusive lock."""
        if _ASK not in item.stash:
            settings = self.settings_of(item, fixtures)
            _check_options(settings)
            self.check_requires(settings.requires)
            if settings.exclusive:
                lock = item.stash[_LOCK] = ExitStack()
                lock.enter_context(locked(exclusive_lock_path()))
            ask = item.stash[_ASK] = Ask.of(settings, place_of(item, settings.scope))
            if item in self._demand_of:
                self._demands.became(self._demand_of[item], ask)
        return item.stash[_ASK]

    def known_asks(self, item: pytest.Item) -> list[Ask]:
        """What a test will ask for, as far as it is known before it runs: one ask, or none."""
        if not uses_sonemu(item):
            return []
        try:
            settings = self.settings_of(item)
        except SettingsError:
            return []  # the test itself will say so
        return [Ask.of(settings, place_of(item, settings.scope))]

    def collected(self, items: Iterable[pytest.Item]) -> None:
        """Count what the tests to run will ask for."""
        for item in items:
            for ask in self.known_asks(item):
                deciding = tuple(_deciding_fixtures(item, self.settings_of(item)))
                key = ask.key if not deciding else (ask.key, deciding)
                demand = Demand(key, not deciding, ask.scope, ask.place)
                self._demand_of[item] = demand
                self._demands.add(demand)

    # what it is handed

    @contextmanager
    def testbed(self, item: pytest.Item, fixtures: Mapping[str, object]) -> Iterator[BedLike]:
        """A view of the bed that this test asks for; if its marks name a package, the service is up in it."""
        held = self._hold(item, self.ask_of(item, fixtures))
        with self._view(item, held, held.bed.view(item.nodeid)) as view:
            yield view

    @contextmanager
    def service(self, item: pytest.Item, fixtures: Mapping[str, object]) -> Iterator[ServiceLike]:
        """A view of the instance that this test asks for."""
        ask = self.ask_of(item, fixtures)
        if ask.package is None:
            raise SettingsError(
                f"{item.name} asks for a service and names no package: mark it with sonemu(package=...),"
                " override the fixture sonemu_package, or set one by --sonemu-set package=..."
            )
        held = self._hold(item, ask)
        assert held.service is not None
        with self._view(item, held, held.service.view(item.nodeid)) as view:
            yield view

    @contextmanager
    def lacks_skip(self) -> Iterator[None]:
        """With --sonemu-missing=skip, what the machine lacks is a skip with the reason."""
        try:
            yield
        except SonemuError as error:
            if self.run.missing.value == "skip" and is_lack(error):
                cause = error.error if isinstance(error, SameCauseError) else error
                pytest.skip(str(cause))
            raise

    def check_requires(self, names: Sequence[str]) -> None:
        """Raises CapabilityError for what the machine lacks of `names`, with the mend (or skips)."""
        with self.lacks_skip():
            self._check_needs(names)

    def begins(self, item: pytest.Item) -> None:
        """From now on relative paths mean files beside this test's, then in the root directory."""
        self.files.folders = (item.path.parent, self.config.rootpath)
        self.files.again = shlex.join(["pytest", item.nodeid, "--sonemu-update-golden"])

    # what happens afterwards

    def finished(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """A test has run: write the captures that it keeps, end what nobody can need any more."""
        self._write_golden(item)
        if (lock := item.stash.get(_LOCK, None)) is not None:
            lock.close()
            del item.stash[_LOCK]
        item.stash[reporting.HELD] = []
        if _ASK in item.stash:
            del item.stash[_ASK]  # a plugin may run the test again
        demand = self._demand_of.pop(item, None)
        if demand is not None:
            self._demands.done(demand)
        if len(self.pool):
            self.pool.end_unneeded(lambda ask: self._may_need(ask, following))

    def close(self) -> None:
        self.pool.close()

    def _write_golden(self, item: pytest.Item) -> None:
        if reporting.failed(item):
            for place in self.files.drop():
                reporting.note(item, f"{place} was not written anew: the test failed")
        else:
            for place in self.files.write():
                reporting.note(item, f"{place} is written anew")

    def _may_need(self, ask: Ask, following: pytest.Item | None) -> bool:
        shares_work = hasattr(self.config, "workerinput") and ask.scope != "session"
        if shares_work and (following is None or place_of(following, ask.scope) != ask.place):
            return False  # other workers run some of what was collected here: only the next test is sure
        return self._demands.may_need(ask)

    def _hold(self, item: pytest.Item, ask: Ask) -> Held:
        self.begins(item)
        with self.lacks_skip():
            held = self.pool.get(ask, item.nodeid)
        mine = item.stash.setdefault(reporting.HELD, [])
        if held not in mine:
            mine.append(held)
        return held

    @contextmanager
    def _view(self, item: pytest.Item, held: Held, view: _View) -> Iterator[_View]:
        held.users += 1
        try:
            yield view
        finally:
            held.users -= 1
            held.kept = held.kept or self.keeps(reporting.failed(item))
            failures = [] if held.kept else view.close_view()
            if failures:
                held.spoilt = "not all of the test's changes could be undone"
            if held.users == 0:
                self._judge(item, held)
        if failures:
            raise UndoError.of(failures)

    def keeps(self, failed: bool) -> bool:
        """Whether a bed is left as it is after a test that used it."""
        return failed and self.run.keep.value != "never"

    def _judge(self, item: pytest.Item, held: Held) -> None:
        """After the last view of a test: may the next test have this bed?"""
        if held.kept:
            reporting.note(item, f"bed {held.bed.name} is kept for 2 hours; the next test gets another")
        else:
            dirty = held.service.dirty if held.service is not None else None
            reason = "the bed has ended" if held.bed.gone else dirty or held.spoilt
            if reason is None:
                return
            what = held.service.id if held.service is not None else held.bed.name
            reporting.note(
                item, f"{what} is not as it was before this test ({reason}); the next test gets another"
            )
        self.pool.end(held)

    def _ready(self, bed: BedLike, service: ServiceLike | None) -> None:
        if service is None:
            hook = self.config.hook
            if "never" not in (self.run.pcap.value, self.run.artifacts.value):
                bed.record()
            bed.use_generators(lambda name: hook.pytest_sonemu_flow_generator(name=name))
            bed.use_files(self.files)
            self.config.hook.pytest_sonemu_testbed_ready(testbed=bed)
        else:
            self.config.hook.pytest_sonemu_service_ready(service=service)

    def _check_needs(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._missing:
                self._missing[name] = self.outside.find_missing([name])
        missing = [sentence for name in names for sentence in self._missing[name]]
        if missing:
            raise CapabilityError("this machine lacks " + "; ".join(missing))


def _check_options(settings: TestSettings) -> None:
    """Raises SettingsError with everything that is wrong with the service's options, and who said it.

    What `sonemu.yml` says is checked with the package, which knows the lines.
    """
    from pytest_sonemu.planning.options import parse_service_options

    def origin(path: tuple[str, ...]) -> str:
        near = [leaf for leaf in settings.origins if leaf[: len(path)] == path or path[: len(leaf)] == leaf]
        return settings.origins[near[0]].origin if near else "settings"

    if settings.given:
        parse_service_options(settings.given, origin)


def _deciding_fixtures(item: pytest.Item, settings: TestSettings) -> Iterator[object]:
    """The overridden fixtures whose values, known only when the test runs, decide what it asks for."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for name, key in FIXTURES.items():
        # A layer above the fixture that names the key decides alone.
        if key is not None and (key,) in settings.origins and settings.origins[(key,)].origin != "ini":
            continue
        chain = definitions.get(name, ())
        if chain and not chain[-1].func.__module__.startswith(("pytest_sonemu.", "_pytest.")):
            callspec = getattr(item, "callspec", None)
            yield (name, id(chain[-1].func), frozen(callspec.params.get(name)) if callspec else None)
