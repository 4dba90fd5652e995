"""A package as a file of tests: `pytest my-service.son`, without a line of Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytest_sonemu.descriptors.rule_settings import levels_from
from pytest_sonemu.errors import PackageError, SettingsError, SonemuError
from pytest_sonemu.packages import checks
from pytest_sonemu.packages.expectations import Expectations, read_expectations
from pytest_sonemu.packages.judging import judge
from pytest_sonemu.sharing import reporting
from pytest_sonemu.sharing.pool import SameCauseError
from pytest_sonemu.sharing.running import sharing_of

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionInfo, TerminalRepr

    from pytest_sonemu.descriptors.read import Package, Verdict
    from pytest_sonemu.handles.service import Service
    from pytest_sonemu.planning.option_models import ServiceOptions
    from pytest_sonemu.sharing.session import Sharing

Check = Callable[["Service", "ServiceOptions"], list[str]]


class Wrong(Exception):
    """A check has failed: the message is the report."""


def collect_package(file_path: Path, parent: pytest.Collector) -> PackageFile | None:
    """The tests of a package that was named: on the command line, or by `sonemu_packages`."""
    if not _is_named(file_path, parent):
        return None
    return PackageFile.from_parent(parent, path=file_path)


def _is_named(file_path: Path, parent: pytest.Collector) -> bool:
    names = [file_path, file_path.parent] if file_path.name == "project.yml" else [file_path]
    by_hand = parent.config.option._sonemu_named
    if by_hand and any(parent.session.isinitpath(name) for name in names):
        return True
    globs = parent.config.getini("sonemu_packages")
    root = parent.config.rootpath
    texts = [name.relative_to(root).as_posix() for name in names if name.is_relative_to(root)]
    return any(fnmatch(text, glob.removeprefix("./").rstrip("/")) for text in texts for glob in globs)


class PackageFile(pytest.File):
    """One package: a `.son` or `.tgo` file, or the folder of a `project.yml`."""

    def collect(self) -> Iterator[pytest.Item]:
        package = self.path.parent if self.path.name == "project.yml" else self.path
        self.add_marker(pytest.mark.sonemu(package=str(package)))
        try:
            verdict = judge(package, levels_from(self.config.invocation_params.dir))
        except SettingsError as error:
            raise self.CollectError(str(error)) from None
        yield cast(pytest.Item, Valid.from_parent(self, name="valid", verdict=verdict))
        yield cast(pytest.Item, Images.from_parent(self, name="images"))
        yield cast(pytest.Item, Starts.from_parent(self, name="starts"))
        for name, check in _checks(verdict.package):
            # Pytest takes what stands in brackets for parameters, and "::" for the next part.
            plain = name.replace("[", "(").replace("]", ")").replace("::", ":")
            yield cast(pytest.Item, Checked.from_parent(self, name=plain, check=check))
        yield cast(pytest.Item, Stops.from_parent(self, name="stops"))


def _checks(package: Package | None) -> Iterator[tuple[str, Check]]:
    if package is not None:
        from pytest_sonemu.planning.option_models import ServiceOptions
        from pytest_sonemu.planning.units import flatten

        for link in flatten(package.service, ServiceOptions()).service.links:
            yield f"link:{link.id}", checks.link_check(link.id)
    yield "isolation", checks.leaking
    yield "limits", checks.loose_limits
    if package is not None:
        yield from _expected(package, read_expectations(package.sonemu))
    yield "stays-up", checks.fallen


def _expected(package: Package, expectations: Expectations) -> Iterator[tuple[str, Check]]:
    for rule in expectations.policy:
        yield f"policy:{checks.policy_name(rule)}", checks.policy_check(rule)
    for path in package.service.paths:
        yield f"path:{path.id}", checks.path_check(path.id, expectations)


class PackageItem(pytest.Item):
    """One statement about a package."""

    # Those that the sharing looks at to see who needs a bed.
    fixturenames: tuple[str, ...] = ("sonemu_topology",)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self.path.name}: {self.name}"

    def repr_failure(self, excinfo: ExceptionInfo[BaseException], style: object = None) -> str | TerminalRepr:
        if isinstance(excinfo.value, (Wrong, SonemuError)) and not self.config.getoption("fulltrace"):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    @property
    def sharing(self) -> Sharing:
        return sharing_of(self.config)


class Valid(PackageItem):
    """The package can be deployed; what was found is shown whatever comes of it."""

    fixturenames = ()

    def __init__(self, *, verdict: Verdict, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.verdict = verdict

    def runtest(self) -> None:
        from pytest_sonemu.reports.verdicts import as_text

        text = as_text([self.verdict])
        if self.verdict.package is not None:
            self.add_report_section("call", "findings", text)
            return
        error = PackageError(f"{self.verdict.path} cannot be deployed", self.verdict.findings)
        self.parent.stash[_CAUSE] = (self.nodeid, error)  # type: ignore[union-attr]
        raise Wrong(text)


_CAUSE = pytest.StashKey[tuple[str, Exception]]()


class _Deployed(PackageItem):
    """What asks for the running service: from its set-up to its end."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self._open = ExitStack()

    def setup(self) -> None:
        assert self.parent is not None
        if (cause := self.parent.stash.get(_CAUSE, None)) is not None:
            pytest.skip(str(SameCauseError(*cause)))

    def teardown(self) -> None:
        self._open.close()

    def service(self) -> Service:
        """The instance, shared with all who ask for the same. Skips where it is known why there is none."""
        try:
            return cast("Service", self._open.enter_context(self.sharing.service(self, {})))
        except SameCauseError as error:
            pytest.skip(str(error))


class Images(_Deployed):
    """Every image is there, or can be pulled or built."""

    def runtest(self) -> None:
        from pytest_sonemu.emulation import docker_api
        from pytest_sonemu.emulation.images import ImageResolver
        from pytest_sonemu.sharing.preparing import requests_of

        if self.sharing.run.attach:
            pytest.skip(f"bed {self.sharing.run.attach} is up with what it runs")
        with self.sharing.lacks_skip():
            ask = self.sharing.ask_of(self, {})
            with self.sharing.pool.noting(ask, self.nodeid), docker_api.connect() as docker:
                ImageResolver(docker, print).resolve(requests_of(ask))


class Starts(_Deployed):
    """The service is deployed and every VNF of it becomes ready."""

    def runtest(self) -> None:
        self.service()


class Checked(_Deployed):
    """Something holds of the running service."""

    def __init__(self, *, check: Check, **arguments: object) -> None:
        super().__init__(**arguments)
        self._check = check
        self._service: Service | None = None

    def setup(self) -> None:
        super().setup()
        self._service = self.service()

    def runtest(self) -> None:
        assert self._service is not None
        try:
            _raise(self._check(self._service, self._service._core.options))
        except checks.Unjudged as reason:
            pytest.skip(str(reason))


class Stops(_Deployed):
    """The service ends and leaves nothing on its bed. Whoever asks for it afterwards gets another."""

    def setup(self) -> None:
        super().setup()
        self._service = self.service()

    def runtest(self) -> None:
        from pytest_sonemu.sharing.attaching import AttachedBed

        held = self.stash[reporting.HELD][-1]
        bed: object = held.bed
        if isinstance(bed, AttachedBed) and bed.was_here(self._service):
            pytest.skip(f"{self._service.id} ran on bed {bed.name} before")
        core = self._service._core
        held.spoilt = "it was stopped"
        self._service.stop()
        _raise(checks.left_by(core.bed.client, core.plan))


def _raise(found: Iterable[str]) -> None:
    lines = list(found)
    if lines:
        raise Wrong("\n".join(lines))
