"""The C parts under AddressSanitizer and UndefinedBehaviorSanitizer: no report, and none of a leak of ours.

The core's own tests run again, in a Python that has the sanitizer's library loaded before all others, on a
core that was built with both; a relay that they start is such a one too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]
TIMEOUT = 240


@pytest.fixture(scope="module")
def library() -> str:
    """The sanitizer's library; without it, these tests are skipped and say why."""
    if not shutil.which("cc"):
        pytest.skip("the sanitizers were not run: there is no C compiler")
    found = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_file():
        pytest.skip("the sanitizers were not run: the C compiler has no libasan.so (Debian: gcc)")
    return found


def build(root: Path, target: Path) -> Path:
    """A core with sanitizers from the sources in `root`."""
    command = [sys.executable, "setup.py", "core", str(target), *FLAGS]
    subprocess.run(command, cwd=root, check=True, timeout=TIMEOUT)
    return target


@pytest.fixture(scope="module")
def core(library: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("sanitized") / "libcore.so")


def environment(library: str, core: Path, reports: Path, **more: str) -> Mapping[str, str]:
    """For a Python that uses this core. Python itself leaks on purpose, so leaks are told apart by hand."""
    log = f"log_path={reports / 'report'}:abort_on_error=0"
    return {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": f"{log}:detect_leaks=0:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": f"{log}:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "SONEMU_TEST_CORE": str(core),
        **more,
    }


def told(reports: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(reports.glob("report*")))


@pytest.mark.parametrize(
    "tests",
    [
        ["tests/links/test_core.py"],
        ["tests/links/test_control_fuzz.py", "-k", "core"],
        [
            "tests/links/test_relay.py",
            "-k",
            "core and (comes_and_goes or duplicates or tags or wire_frames or super_frames)",
        ],
    ],
    ids=["frames", "control", "relay"],
)
def test_the_core_s_tests_without_a_report(
    library: str, core: Path, tmp_path: Path, tests: list[str]
) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=environment(library, core, tmp_path),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert told(tmp_path) == ""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert re.search(r"\d passed", done.stdout)


FEED = """
import sys
from tests.links.test_core import Core, udp
from tests.links.test_offload import super_frame
from pytest_sonemu.relay.model import Impairment
core = Core([Impairment(duplicate=0.5, reorder=0.3, corrupt=0.1, delay=0.001, rate=10**8, seed=1)], 3)
for number in range(100):
    core.feed(core.paths[number % 3], udp + bytes(number * 10), 10**9 + number * 10**5, 0x8100, 7)
core.impair(0, Impairment(delay=0.001, jitter=0.001, seed=2), 2 * 10**9)
core.collect()
for number in range(100):
    core.feed(core.paths[number % 3], udp + bytes(number * 30), 2 * 10**9 + number * 10**5)
core.close()
"""


def feed(library: str, core: Path, reports: Path, **more: str) -> int:
    """Its exit status. What UBSan says goes to the standard error in spite of its log_path."""
    with (reports / "report.error").open("wb") as log:
        return subprocess.run(
            [sys.executable, "-c", FEED],
            check=False,
            cwd=ROOT,
            env=environment(library, core, reports, **more),
            stdout=subprocess.DEVNULL,
            stderr=log,
            timeout=TIMEOUT,
        ).returncode


def leaks(report: str) -> list[str]:
    """The blocks that were lost by the core's own code."""
    return [block for block in re.split(r"\n\n", report) if "leak of" in block and "/relay/native/" in block]


def test_a_core_that_is_closed_has_freed_all(library: str, core: Path, tmp_path: Path) -> None:
    options = f"log_path={tmp_path / 'report'}:detect_leaks=1:fast_unwind_on_malloc=1"
    feed(library, core, tmp_path, ASAN_OPTIONS=options)
    report = told(tmp_path)
    if "LeakSanitizer has encountered a fatal error" in report:
        pytest.skip("leaks were not looked for: LeakSanitizer may not trace its own process here")
    assert leaks(report) == []


@pytest.mark.parametrize(
    ("file", "right", "wrong", "name"),
    [
        ("feeding.c", "malloc(HEADROOM + length)", "malloc(HEADROOM + length - 1)", "heap-buffer-overflow"),
        (
            "shaper.c",
            "    core->held += taken_by(frame->length);",
            "    core->held += (int64_t)frame->length << (33 + frame->length);",
            "shift exponent",
        ),
        ("board.c", "    free(core->agenda);\n", "", "leak of"),
    ],
    ids=["overflow", "undefined", "leak"],
)
def test_a_planted_fault_is_found(
    library: str, tmp_path: Path, file: str, right: str, wrong: str, name: str
) -> None:
    """Else the tests above would be silent for another reason."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    native = tmp_path / "pytest_sonemu/relay/native"
    shutil.copytree(ROOT / "pytest_sonemu/relay/native", native)
    text = (native / file).read_text()
    assert right in text
    (native / file).write_text(text.replace(right, wrong))
    core, reports = build(tmp_path, tmp_path / "libcore.so"), tmp_path / "reports"
    reports.mkdir()
    options = f"log_path={reports / 'report'}:detect_leaks={int(name == 'leak of')}:fast_unwind_on_malloc=1"
    status = feed(library, core, reports, ASAN_OPTIONS=options)
    report = told(reports)
    if "LeakSanitizer has encountered a fatal error" in report:
        pytest.skip("leaks were not looked for: LeakSanitizer may not trace its own process here")
    assert name in report
    if name == "leak of":
        assert leaks(report)
    else:
        assert status != 0


@pytest.fixture(scope="module")
def hold(library: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hold as it is built, but not static: no sanitizer is."""
    target = tmp_path_factory.mktemp("sanitized") / "hold"
    source = ROOT / "pytest_sonemu/emulation/hold.c"
    subprocess.run(["cc", "-std=gnu11", *FLAGS, "-o", str(target), str(source)], check=True, timeout=TIMEOUT)
    return target


@pytest.mark.parametrize(
    ("argv", "path", "status"),
    [
        (["true"], None, 0),
        (["false"], "/nowhere:/usr/bin:/bin", 1),
        (["/bin/true", *(2000 * ["x" * 50])], None, 0),
        (["absent"], None, 127),
        (["absent"], "", 127),
        (["true"], ":" * 50, 127),
        (["x" * 5000], "/usr/bin", 127),
        (["true"], "/" + "y" * 5000 + ":/bin:/usr/bin", 0),
        (["/etc/passwd"], None, 126),
        ([""], None, 126),  # a folder of PATH
        ([], None, 125),
    ],
)
def test_the_hold_without_a_report(
    hold: Path, tmp_path: Path, argv: list[str], path: str | None, status: int
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR)
    try:
        os.write(held, b"x")
        options = f"log_path={tmp_path / 'report'}"
        env = {**os.environ, "ASAN_OPTIONS": options, "UBSAN_OPTIONS": options}
        env |= {} if path is None else {"PATH": path}
        done = subprocess.run(
            [hold, fifo, *argv], check=False, env=env, stderr=subprocess.DEVNULL, timeout=30
        )
    finally:
        os.close(held)
    assert told(tmp_path) == ""
    assert done.returncode == status
