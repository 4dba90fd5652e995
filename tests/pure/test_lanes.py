"""A test marked `alone` has the run to itself; all others share it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SUITE = """
import time
from pathlib import Path
import pytest

HERE = Path({folder!r})

def stay(name):
    mine = HERE / name
    mine.touch()
    try:
        end = time.monotonic() + 0.05
        others = set()
        while time.monotonic() < end:
            others |= {{path.name for path in HERE.iterdir()}} - {{name}}
            time.sleep(0.005)
        return others
    finally:
        mine.unlink()

@pytest.mark.parametrize("number", range(3))
def test_shared(number):
    print("met" if stay(f"{file}-{{number}}") else "nobody")

@pytest.mark.alone
@pytest.mark.parametrize("number", range(3))
def test_alone(number):
    assert stay(f"{file}-alone-{{number}}") == set()
"""


def test_nothing_runs_beside_a_test_that_is_alone(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xdist")
    there = pytester.mkdir("there")
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nmarkers = ["alone: of speed"]\n')
    pytester.makepyfile(
        **{f"test_{file}": SUITE.format(folder=str(there), file=file) for file in ("left", "right")}
    )
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    done = pytester.runpytest_subprocess(
        "-p", "tests.support.lanes", "-p", "xdist.plugin", "-n", "2", "--dist", "loadfile", "-rP"
    )
    done.assert_outcomes(passed=12)
    assert "met" in done.stdout.lines, "those that may run side by side do"
    assert list(there.iterdir()) == []
