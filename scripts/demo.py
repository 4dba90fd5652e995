"""`make demo`: the firewall example from package to verdict, a line per phase with its time.

Boots two PoPs, onboards the package, starts its VNFs, runs its tests with pytest, and ends it all.
The exit status is that of the tests; whatever goes wrong, nothing is left behind.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_sonemu import Service, TestBed
from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.errors import SonemuError

EXAMPLE = Path(__file__).parents[1] / "example_packages" / "firewall"
WIDTH = 78
# The screen is ours, and no settings of this project's own suite apply.
QUIET = ["-c", os.devnull, "--rootdir", str(EXAMPLE)]
QUIET += [word for plugin in ("terminal", "cacheprovider", "asyncio") for word in ("-p", f"no:{plugin}")]


class Screen:
    """One line a phase, in colour on a terminal."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    @contextmanager
    def phase(self, title: str) -> Iterator[list[str]]:
        """Time what happens inside; what is put into the list is told beside the title."""
        said: list[str] = []
        started = time.perf_counter()
        if self._colour:
            print(f"  {title:<9} …", end="\r", flush=True)
        try:
            yield said
        except BaseException:
            self._line("✗", "31", title, " ".join(said), time.perf_counter() - started)
            raise
        self._line("●", "34", title, " ".join(said), time.perf_counter() - started)

    def detail(self, text: str) -> None:
        """A line of what a phase is doing."""
        print(f"\r\x1b[K\x1b[2m    {text}\x1b[0m" if self._colour else f"    {text}", flush=True)

    def test(self, name: str, passed: bool, seconds: float) -> None:
        words = name.removeprefix("test_").replace("_", " ")
        self._line("  ✓" if passed else "  ✗", "32" if passed else "31", "", words, seconds)

    def _line(self, mark: str, colour: str, title: str, text: str, seconds: float) -> None:
        left = f"{mark} {title:<9} {text}" if title else f"{mark} {text}"
        line = f"{left:<{WIDTH - 9}}{seconds:7.2f} s"
        if self._colour:
            line = "\r\x1b[K" + line.replace(mark, f"\x1b[{colour}m{mark}\x1b[0m", 1)
        print(line, flush=True)


class Guest:
    """A pytest plugin: the example's tests get the service that is up already."""

    def __init__(self, service: Service, bed: TestBed, screen: Screen) -> None:
        self._service, self._bed, self._screen = service, bed, screen
        self.passed = self.failed = 0

    @pytest.fixture
    def service(self) -> Iterator[Service]:
        view = self._service.view()
        yield view
        failures = view.close_view()
        assert not failures

    @pytest.fixture
    def testbed(self) -> TestBed:
        return self._bed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.passed, self.failed = self.passed + report.passed, self.failed + (not report.passed)
            self._screen.test(report.nodeid.partition("::")[2], report.passed, report.duration)
            if not report.passed:
                print(report.longreprtext)


def main() -> int:
    screen = Screen()
    began = time.perf_counter()
    try:
        with screen.phase("boot") as said:
            bed = TestBed(EXAMPLE / "two-pops.yml", progress=screen.detail)
            said.append(f"{', '.join(pop.name for pop in bed.topology.pops)}, and the link between them")
        with bed:
            status = run_example(bed, screen)
            with screen.phase("end") as said:
                bed.end()
                said.append("containers, links and PoPs are gone")
    except SonemuError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"{time.perf_counter() - began:{WIDTH - 2}.2f} s")
    return status


def run_example(bed: TestBed, screen: Screen) -> int:
    """Onboard the package, start it, run its tests; pytest's exit status."""
    with screen.phase("onboard") as said:
        package = read_package(EXAMPLE)
        names = ", ".join(function.id for function in package.service.functions)
        said.append(f"{package.service.name} {package.service.version}: {names}")
    with screen.phase("start") as said:
        service = bed.start(package)
        said.append(", ".join(f"{vnf.id} in {vnf.pop}" for vnf in service.vnfs.values()))
    guest = Guest(service, bed, screen)
    with screen.phase("test") as said:
        status = pytest.main([*map(str, EXAMPLE.glob("test_*.py")), *QUIET], plugins=[guest])
        said.append(f"{guest.passed} passed, {guest.failed} failed")
    return int(status)


if __name__ == "__main__":
    raise SystemExit(main())
