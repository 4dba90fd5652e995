"""What needs a pytest of its own: loading time, signals, workers, warnings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pytest_sonemu
from tests.pure.sharing.conftest import plugin_args

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

# An inner conftest that puts a bed in place which writes what happens to it to a file.
CONFTEST = """
import pathlib, sys
sys.path.insert(0, {root!r})
from tests.pure.sharing.fakes import World
class Log(list):
    def append(self, line):
        with open({log!r}, "a") as file: file.write(line + "\\n")
world = World()
world.log = Log()
def pytest_configure(config): world.pytest_configure(config)
"""


@pytest.fixture
def log(pytester: pytest.Pytester) -> Path:
    path = pytester.path / "log"
    pytester.makeconftest(CONFTEST.format(root=str(ROOT), log=str(path)))
    pytester.path.joinpath("fw.son").touch()
    return path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin_args(), *arguments]


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def test_loading_the_plugin_is_cheap() -> None:
    """CPU time in a process that has pytest loaded, the least of several: the machine may be busy."""
    code = (
        "import pytest, sys, time; start = time.process_time();"
        " import pytest_sonemu.plugin, pytest_sonemu.short_names, pytest_sonemu.hooks;"
        " print(time.process_time() - start);"
        " print(*(n for n in ('docker', 'requests', 'pydantic', 'rich', 'click', 'yaml', 'flask',"
        " 'pytest_sonemu.handles.testbed', 'pytest_sonemu.sharing.session') if n in sys.modules))"
    )
    times = []
    for _ in range(5):
        done = run(sys.executable, "-c", code)
        took, heavy = done.stdout.split("\n")[:2]
        assert heavy == ""
        times.append(float(took))
    assert min(times) < 0.030


def test_a_run_without_us_loads_nothing_more(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_a():
            assert not [name for name in sys.modules if name.startswith("pytest_sonemu.")
                        and name.split(".")[1] not in ("plugin", "short_names", "hooks")]
        """
    )
    done = run(*command())
    assert done.returncode == 0, done.stdout
    assert "sonemu:" not in done.stdout


def test_all_public_names_import_under_warnings_as_errors(pytester: pytest.Pytester) -> None:
    names = ", ".join(pytest_sonemu.__all__)
    pytester.makepyfile(
        f"from pytest_sonemu import {names}\ndef test_a(): assert TestBed and errors.SonemuError"
    )
    done = run(*command("-W", "error", "-p", "no:asyncio"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_is_sorted_and_complete() -> None:
    assert pytest_sonemu.__all__ == sorted(pytest_sonemu.__all__)
    assert {*pytest_sonemu._HOMES, "errors", "__version__"} == set(pytest_sonemu.__all__)
    for name in pytest_sonemu.__all__:
        assert getattr(pytest_sonemu, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        pytest_sonemu.Nothing  # noqa: B018
    results = sys.modules["pytest_sonemu.handles.results"]
    own = {
        name for name, value in vars(results).items()
        if isinstance(value, type) and value.__module__ == results.__name__ and not name.startswith("_")
    }  # fmt: skip
    assert own <= set(pytest_sonemu.__all__)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_runs_the_finalizers(pytester: pytest.Pytester, log: Path, number: signal.Signals) -> None:
    pytester.makepyfile(
        """
        import time, pathlib
        def test_a(testbed):
            testbed.undo(lambda: pathlib.Path("log").open("a").write("undone\\n"))
            pathlib.Path("up").touch()
            time.sleep(60)
        """
    )
    with ended(subprocess.Popen(command(), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)) as process:
        wait_until((pytester.path / "up").exists)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert log.read_text().splitlines() == ["boot bed1 one PoP", "undone", "end bed1"]


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is over when the block is, whatever went wrong in it."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_second_signal_breaks_off_at_once(pytester: pytest.Pytester, log: Path) -> None:
    pytester.makepyfile(
        """
        import time, pathlib
        def wait():
            pathlib.Path("undoing").touch()
            time.sleep(60)
        def test_a(testbed):
            testbed.undo(wait)
            pathlib.Path("up").touch()
            time.sleep(60)
        """
    )
    with ended(subprocess.Popen(command(), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)) as process:
        wait_until((pytester.path / "up").exists)
        process.send_signal(signal.SIGINT)
        wait_until((pytester.path / "undoing").exists)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode != 0


def test_every_worker_has_a_pool_and_images_are_prepared_for_all(
    pytester: pytest.Pytester, log: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.sonemu(package="fw.son")
        @pytest.mark.parametrize("n", range(8))
        def test_a(service, n): assert service.id == "fw-1"
        """
    )
    done = run(*command("-n", "2"))
    assert done.returncode == 0, done.stdout
    lines = log.read_text().splitlines()
    assert sorted(set(lines)) == ["boot bed1 one PoP", "end bed1", "images fw.son", "start fw-1 on bed1"]
    assert all(lines.count(line) <= 2 for line in lines)
    assert lines.count("boot bed1 one PoP") == lines.count("end bed1")
    assert "images: all there" in done.stderr


def test_exclusive_tests_wait_for_each_other(pytester: pytest.Pytester, log: Path) -> None:
    pytester.makepyfile(
        """
        import os, pathlib, time, pytest
        @pytest.mark.sonemu(exclusive=True)
        @pytest.mark.parametrize("n", range(4))
        def test_a(testbed, n):
            mine = os.open("busy", os.O_CREAT | os.O_EXCL)
            time.sleep(0.1)
            os.unlink("busy")
            os.close(mine)
        """
    )
    done = run(*command("-n", "2"), TMPDIR=str(pytester.path))
    assert done.returncode == 0, done.stdout


def test_async_tests(pytester: pytest.Pytester, log: Path) -> None:
    pytest.importorskip("pytest_asyncio")
    pytester.makepyfile(
        """
        import asyncio, pytest
        pytestmark = [pytest.mark.sonemu(package="fw.son"), pytest.mark.asyncio]
        async def test_a(service):
            await asyncio.sleep(0)
            assert service.id == "fw-1"
        """
    )
    done = run(*command("-o", "asyncio_default_fixture_loop_scope=function"))
    assert done.returncode == 0, done.stdout


def wait_until(condition: object, timeout: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
