"""`bed_fixture`, `service_fixture`: fixtures of any scope, for several services at once, without marks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_sonemu.errors import SettingsError, UndoError
from pytest_sonemu.sharing import reporting
from pytest_sonemu.sharing.cloning import ids_of
from pytest_sonemu.sharing.contracts import BedLike, ServiceLike
from pytest_sonemu.sharing.pool import Held
from pytest_sonemu.sharing.requests import Ask
from pytest_sonemu.sharing.running import run_settings, sharing_of
from pytest_sonemu.sharing.session import Sharing
from pytest_sonemu.sharing.settings import Scope, TestSettings, layer, resolve

_RECIPE = "_sonemu_recipe"


class _Recipe:
    """What a factory was told, and where: relative paths are beside the file that called it."""

    def __init__(self, origin: str, folder: Path, values: Mapping[str, object]) -> None:
        self.origin, self.folder, self.values = origin, folder, values

    @property
    def choices(self) -> list[dict[str, object]]:
        """One mapping for each combination of the lists given as topology and package."""
        lists = {
            key: value
            for key in ("topology", "package")
            if isinstance(value := self.values.get(key), (list, tuple))
        }
        return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())] if lists else []

    def settings(self, config: pytest.Config, chosen: object) -> TestSettings:
        values = {**self.values, **(chosen if isinstance(chosen, Mapping) else {})}
        given = {key: value for key, value in values.items() if value is not None}
        return resolve([layer(self.origin, given, (self.folder, config.rootpath))], run_settings(config))


def bed_fixture(
    topology: object = None,
    *,
    scope: Scope | None = None,
    name: str | None = None,
    autouse: bool = False,
    requires: Sequence[str] = (),
    images: Mapping[str, str] | None = None,
) -> Any:
    """A fixture that is a test bed of its own: `wan = bed_fixture("two-pops.yml", scope="module")`.

    `scope` None: what --sonemu-scope says, else function. A list as `topology` clones the tests.
    """
    recipe = _recipe("bed_fixture", {"topology": topology, "requires": requires, "images": images})

    def bed(request: pytest.FixtureRequest) -> Iterator[BedLike]:
        with _bed(request, recipe) as (held, kept), _view(held.bed.view(), kept) as view:
            yield view

    return _fixture(bed, recipe, scope, name, autouse)


def service_fixture(
    package: object = None,
    *,
    topology: object = None,
    bed: str | None = None,
    scope: Scope | None = None,
    name: str | None = None,
    autouse: bool = False,
    requires: Sequence[str] = (),
    **options: object,
) -> Any:
    """A fixture that is a running service: `fw = service_fixture("firewall.son", bed="wan", scope="module")`.

    `bed` names a fixture from `bed_fixture` (or any that is a `TestBed`) on which it is started;
    without it the service gets a bed of its own on `topology`. `options` are the marker's. A list as
    `package` or `topology` clones the tests.
    """
    if bed is not None and topology is not None:
        raise SettingsError("service_fixture: the bed has its topology already; give either bed or topology")
    recipe = _recipe(
        "service_fixture", {"package": package, "topology": topology, "requires": requires, **options}
    )

    def service(request: pytest.FixtureRequest, **fixtures: object) -> Iterator[ServiceLike]:
        if bed is not None:
            with _service_on(request, recipe, cast(BedLike, fixtures[bed])) as view:
                yield view
            return
        with _bed(request, recipe) as (held, kept):
            assert held.service is not None
            with _view(held.service.view(), kept) as view:
                yield view

    if bed is not None:
        # pytest reads a fixture's arguments from its signature: this one depends on the bed's fixture.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [inspect.Parameter("request", kind), inspect.Parameter(bed, kind)]
        service.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
    return _fixture(service, recipe, scope, name, autouse)


def asks_of_fixtures(item: pytest.Item, config: pytest.Config) -> list[Ask]:
    """What the factory fixtures of a test will ask for, as far as they can be read before it runs."""
    asks: list[Ask] = []
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for chain in definitions.values():
        recipe = getattr(chain[-1].func, _RECIPE, None) if chain else None
        if not isinstance(recipe, _Recipe):
            continue
        for chosen in recipe.choices or [{}]:
            try:
                asks.append(Ask.of(recipe.settings(config, chosen), ""))
            except SettingsError:
                continue  # the fixture itself will say so
    return asks


def _recipe(factory: str, values: Mapping[str, object]) -> _Recipe:
    caller = Path(sys._getframe(2).f_code.co_filename)
    return _Recipe(f"{factory} in {caller.name}", caller.parent, values)


def _fixture(
    function: Callable[..., Iterator[object]],
    recipe: _Recipe,
    scope: Scope | None,
    name: str | None,
    autouse: bool,
) -> Any:
    setattr(function, _RECIPE, recipe)
    choices = recipe.choices
    keys = list(choices[0]) if choices else []
    columns = [ids_of([choice[key] for choice in choices]) for key in keys]
    ids = [
        "-".join(word or str(row) for word in words) for row, words in enumerate(zip(*columns, strict=True))
    ]
    return pytest.fixture(
        scope=scope or _default_scope, params=choices or None, ids=ids or None, name=name, autouse=autouse
    )(function)


def _default_scope(fixture_name: str, config: pytest.Config) -> Scope:
    setting = run_settings(config).scope
    return cast(Scope, setting.value) if setting.origin != "default" else "function"


@contextmanager
def _bed(request: pytest.FixtureRequest, recipe: _Recipe) -> Iterator[tuple[Held, Callable[[], bool]]]:
    """A bed of this fixture's own, and whether it is kept after what its tests did."""
    sharing, ask = _asked(request, recipe)
    if recipe.origin.startswith("service_fixture") and ask.package is None:
        raise SettingsError(f"{recipe.origin} names no package")
    with sharing.lacks_skip():
        held = sharing.pool.own(ask, request.node.nodeid)
    if isinstance(request.node, pytest.Item):
        request.node.stash.setdefault(reporting.HELD, []).append(held)

    def kept() -> bool:
        held.kept = held.kept or _kept(request, sharing)
        return held.kept

    try:
        yield held, kept
    finally:
        kept()
        sharing.pool.end(held)


@contextmanager
def _service_on(request: pytest.FixtureRequest, recipe: _Recipe, bed: BedLike) -> Iterator[ServiceLike]:
    sharing, ask = _asked(request, recipe)
    with sharing.lacks_skip():
        service = sharing.pool.start_on(bed, ask, request.node.nodeid)

    def kept() -> bool:
        holder = sharing.pool.holder(bed)
        if _kept(request, sharing) and holder is not None:
            holder.kept = True
        return holder is not None and holder.kept

    try:
        with _view(service.view(), kept) as view:
            yield view
    finally:
        if not kept():
            service.stop()


@contextmanager
def _view(view: Any, kept: Callable[[], bool]) -> Iterator[Any]:
    try:
        yield view
    finally:
        failures = [] if kept() else view.close_view()
    if failures:
        raise UndoError.of(failures)


def _asked(request: pytest.FixtureRequest, recipe: _Recipe) -> tuple[Sharing, Ask]:
    sharing = sharing_of(request.config)
    settings = recipe.settings(request.config, getattr(request, "param", None))
    sharing.check_requires(settings.requires)
    return sharing, Ask.of(settings, request.node.nodeid)


def _kept(request: pytest.FixtureRequest, sharing: Sharing) -> bool:
    return sharing.keeps(reporting.failed(request.node, request.fixturename))
