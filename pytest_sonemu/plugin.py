"""The pytest plugin: options, hooks, fixtures. What they do is in `sharing`, loaded when a test uses it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pytest_sonemu.gatekeeper.client import GatekeeperClient
    from pytest_sonemu.handles.service import Service
    from pytest_sonemu.handles.testbed import TestBed
    from pytest_sonemu.sharing.session import Sharing

_OPTIONS = ("sonemu_set", "sonemu_keep", "sonemu_missing", "sonemu_scope", "sonemu_artifacts", "sonemu_pcap")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sonemu", "pytest-sonemu: test beds and services")
    group.addoption(
        "--sonemu-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting over all others, repeatable: fw.image=fw:dev, '*.image=sonemu/vnf-base'",
    )
    group.addoption(
        "--sonemu-keep",
        metavar="WHEN",
        help="leave beds up for 2 hours to look at: never (default), on-failure, always",
    )
    group.addoption(
        "--sonemu-missing",
        metavar="HOW",
        help="a test whose needs this machine does not meet is an: error (default), skip",
    )
    group.addoption(
        "--sonemu-scope",
        metavar="SCOPE",
        help="who shares a running service, over all marks: session (default), module, class, function",
    )
    group.addoption(
        "--sonemu-attach",
        metavar="BED",
        help="run the tests on a bed that is up, on the instances that run there, and leave it up",
    )
    group.addoption(
        "--sonemu-seed",
        type=int,
        metavar="NUMBER",
        help="what all chance on links comes from; the same seed loses the same packets (default: a new one)",
    )
    group.addoption(
        "--sonemu-update-golden",
        action="store_true",
        help="captures that tests compare with a file are written into it, by each test that passes",
    )
    group.addoption(
        "--sonemu-show-config",
        action="store_true",
        help="show the settings of the run and of each test with their origin, and exit",
    )
    group.addoption(
        "--sonemu-plan",
        action="store_true",
        help="show what would be deployed for the collected tests, without root or Docker, and exit",
    )
    group.addoption(
        "--sonemu-artifacts",
        metavar="WHEN",
        help="write logs, plan, picture and transcript of a test: never, on-failure (default), always",
    )
    group.addoption(
        "--sonemu-pcap",
        metavar="WHEN",
        help="add what was put on each link to the artifacts: on-failure (default, with these), never",
    )
    group.addoption(
        "--sonemu-artifacts-dir",
        metavar="FOLDER",
        help="where to (default: sonemu-artifacts in the rootdir)",
    )
    parser.addini(
        "sonemu_packages",
        "packages that are collected as tests wherever they lie in a test path: globs from the rootdir",
        type="linelist",
        default=[],
    )
    parser.addini("sonemu_attach", "as --sonemu-attach", default="")
    parser.addini("sonemu_artifacts", "as --sonemu-artifacts", default="")
    parser.addini("sonemu_pcap", "as --sonemu-pcap", default="")
    parser.addini("sonemu_artifacts_dir", "as --sonemu-artifacts-dir", default="")
    parser.addini(
        "sonemu_set", "settings, one KEY=VALUE a line, below all marks", type="linelist", default=[]
    )
    parser.addini("sonemu_keep", "as --sonemu-keep", default="")
    parser.addini("sonemu_missing", "as --sonemu-missing", default="")
    parser.addini("sonemu_scope", "as --sonemu-scope, below all marks", default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_sonemu import hooks

    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "sonemu(topology=, package=, vnfs=, saps=, links=, images=, placement=, overprovision=,"
        " address_plan=, routes=, ipv6=, offload=, mtu=, container_names=, scope=, requires=, exclusive=,"
        " seed=): the test bed and the service that this test gets; marks on module, class and function"
        " are merged key by key, lists clone the test.",
    )
    if config.getoption("sonemu_seed") is None:
        # Workers of xdist get the options of the process that started them, and so the same seed.
        config.option.sonemu_seed = int.from_bytes(os.urandom(4), "big")
    elif config.getoption("sonemu_seed") < 0:
        raise pytest.UsageError("--sonemu-seed is a whole number from 0 on")
    if not hasattr(config.option, "_sonemu_named"):  # a worker of xdist has its controller's
        # What testpaths lists is not named on the command line.
        config.option._sonemu_named = config.args_source is pytest.Config.ArgsSource.ARGS
    if config.getoption("sonemu_show_config") or config.getoption("sonemu_plan"):
        # Shown by this process from its own collection: workers of xdist would collect elsewhere.
        config.option.dist, config.option.tx, config.option.numprocesses = "no", [], None
    if any(config.getoption(name) or config.getini(name) for name in _OPTIONS):
        from pytest_sonemu.sharing.running import run_settings

        run_settings(config)  # what cannot be used is said before anything is collected


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in (".son", ".tgo") and file_path.name != "project.yml":
        return None
    from pytest_sonemu.packages.collecting import collect_package

    return collect_package(file_path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sonemu_topology" in metafunc.fixturenames:
        from pytest_sonemu.sharing.cloning import clone
        from pytest_sonemu.sharing.running import run_settings

        clone(metafunc, run_settings(metafunc.config))


def pytest_report_header(config: pytest.Config) -> str | None:
    # Where workers of xdist collect, this process does not see whose tests they are.
    if getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None):
        return f"sonemu: seed={config.getoption('sonemu_seed')}"
    return None


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | list[str]:
    users = [item for item in items if "sonemu_topology" in getattr(item, "fixturenames", ())]
    if not users:
        return []
    from pytest_sonemu.sharing.running import run_settings

    run = run_settings(config)
    named = (("keep", run.keep), ("missing", run.missing), ("seed", run.seed))
    rest = [f"{name}={each.value}" for name, each in named]
    rest += [f"attached to bed {run.attach}"] if run.attach else []
    return f"sonemu: {len(users)} of {len(items)} tests on emulated infrastructure; {', '.join(rest)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    from_here = [item for item in session.items if _is_ours(item)]
    if session.config.getoption("sonemu_show_config") or session.config.getoption("sonemu_plan"):
        # Collected like a run, and none of it is run.
        session.config.option.collectonly = True
        _show(session)
    elif from_here and not session.config.option.collectonly:
        from pytest_sonemu.sharing.starting import before_the_first_test

        before_the_first_test(session.config, from_here)
    return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # A mark that cannot be used is the test's error, whether or not it uses a fixture of ours.
    if item.get_closest_marker("sonemu") is not None:
        _sharing(item.config)  # makes the report know our errors
        from pytest_sonemu.sharing.marks import mark_layers

        mark_layers(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    if (sharing := _sharing_if_used(item.config)) is not None:
        sharing.begins(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    try:
        return (yield)
    finally:
        if (sharing := _sharing_if_used(item.config)) is not None:
            sharing.finished(item, nextitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (sharing := _sharing_if_used(item.config)) is not None:
        from pytest_sonemu.reports import failing
        from pytest_sonemu.sharing import reporting

        reporting.complete(report, item, call)
        failing.complete(report, item, call, sharing)
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    modules = (type(left).__module__, type(right).__module__)
    if not any(module.startswith("pytest_sonemu.") for module in modules):
        return None
    from pytest_sonemu.reports.comparing import explain

    return explain(op, left, right)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    try:
        return (yield)
    finally:
        if (sharing := _sharing_if_used(session.config)) is not None:
            sharing.close()


@pytest.fixture
def sonemu_topology(request: pytest.FixtureRequest) -> object:
    """Override it: the topology of tests whose marks name none (a path or a `Topology`; None: one PoP)."""
    return getattr(request, "param", None)


@pytest.fixture
def sonemu_package(request: pytest.FixtureRequest) -> object:
    """Override it: the package of tests whose marks name none (a path or a `NetworkService`)."""
    return getattr(request, "param", None)


@pytest.fixture
def sonemu_settings(request: pytest.FixtureRequest) -> Mapping[str, object]:
    """Override it: a mapping of the marker's keys for tests whose marks do not say otherwise."""
    return getattr(request, "param", {})


@pytest.fixture
def _sonemu_images() -> None:
    """Stands for one combination when a mark lists images."""


@pytest.fixture
def _sonemu_asked(
    sonemu_topology: object, sonemu_package: object, sonemu_settings: object, _sonemu_images: object
) -> Mapping[str, object]:
    """What the overridable fixtures say for this test."""
    return {
        "sonemu_topology": sonemu_topology,
        "sonemu_package": sonemu_package,
        "sonemu_settings": sonemu_settings,
    }


@pytest.fixture
def sonemu_testbed(request: pytest.FixtureRequest, _sonemu_asked: Mapping[str, object]) -> Iterator[TestBed]:
    """The test bed that this test asks for, shared as its scope says; what the test changes is undone.

    If the test's marks name a package, its service is up on this bed.
    """
    with (
        _sharing(request.config).testbed(request.node, _sonemu_asked) as bed,
        shown_to_instance(request, bed),
    ):
        yield cast("TestBed", bed)


@pytest.fixture
def sonemu_service(request: pytest.FixtureRequest, _sonemu_asked: Mapping[str, object]) -> Iterator[Service]:
    """The running service that this test asks for, shared as its scope says; its changes are undone."""
    with (
        _sharing(request.config).service(request.node, _sonemu_asked) as service,
        shown_to_instance(request, service),
    ):
        yield cast("Service", service)


@pytest.fixture
def sonemu_gatekeeper(request: pytest.FixtureRequest, sonemu_testbed: TestBed) -> Iterator[GatekeeperClient]:
    """A client of SONATA's gatekeeper, served over HTTP on this test's bed.

    What is started through it has handles (`testbed.service(uuid)`) and ends with the test.
    """
    from pytest_sonemu.gatekeeper.client import GatekeeperClient
    from pytest_sonemu.gatekeeper.serving import serve

    with (
        serve(sonemu_testbed, allow_build=True) as served,
        GatekeeperClient(served.url) as client,
        shown_to_instance(request, client),
    ):
        yield client


@contextmanager
def shown_to_instance(request: pytest.FixtureRequest, value: object) -> Iterator[None]:
    """A `unittest.TestCase` that uses a fixture finds it as an attribute: `self.service`."""
    unittest = sys.modules.get("unittest")
    instance = request.instance
    if unittest is None or not isinstance(instance, unittest.TestCase):
        yield
        return
    name = request.fixturename
    assert name is not None
    setattr(instance, name, value)
    try:
        yield
    finally:
        delattr(instance, name)


def _is_ours(item: pytest.Item) -> bool:
    """Whether a test has a mark, a fixture or a factory's fixture of ours."""
    if (
        "sonemu_topology" in getattr(item, "fixturenames", ())
        or item.get_closest_marker("sonemu") is not None
    ):
        return True
    return "pytest_sonemu.sharing.factories" in sys.modules


def _sharing(config: pytest.Config) -> Sharing:
    from pytest_sonemu.sharing.running import sharing_of

    return sharing_of(config)


def _sharing_if_used(config: pytest.Config) -> Sharing | None:
    if "pytest_sonemu.sharing.running" not in sys.modules:
        return None
    from pytest_sonemu.sharing.running import sharing_if_used

    return sharing_if_used(config)


def _show(session: pytest.Session) -> None:
    from pytest_sonemu.sharing.starting import show_config, show_plans

    if session.config.getoption("sonemu_show_config"):
        show_config(session)
    if session.config.getoption("sonemu_plan") and (failed := show_plans(session)):
        raise session.Failed(f"{failed} of the plans cannot be made")
