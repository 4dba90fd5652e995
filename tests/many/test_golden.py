"""Captures that are compared with files: written by `--sonemu-update-golden`, and only by tests that pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu.handles.pcap import read_pcap

TEST = """
import os

import pytest

from pytest_sonemu import NetworkService

WORDS = os.environ.get("WORDS", "one two three").split()


@pytest.fixture
def service(testbed):
    return testbed.start(NetworkService.of("line", [], {{"line": ["a", "b"]}}))


def test_words(service):
    with service.sap("a").capture(filter="udp port 9000") as capture:
        with service.sap("a").socket(type=2) as sender:
            for word in WORDS:
                sender.sendto(word.encode(), (str(service.sap("b").ip()), 9000))
    assert capture.equals("golden/words.pcap"), str(capture.equals("golden/words.pcap"))
    {last}
"""


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `checks` below the root directory that pytest is started in."""
    monkeypatch.setenv("COLUMNS", "300")
    pytester.makeini("[pytest]")
    return pytester.mkdir("checks")


def run(pytester: pytest.Pytester, folder: Path, *options: str, last: str = "") -> pytest.RunResult:
    (folder / "test_words.py").write_text(TEST.format(last=last))
    return pytester.runpytest_subprocess("-p", "no:asyncio", "checks", *options)


def test_a_golden_file_from_its_first_run_on(
    pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = folder / "golden" / "words.pcap"

    first = run(pytester, folder)
    first.assert_outcomes(failed=1)
    again = "pytest checks/test_words.py::test_words --sonemu-update-golden"
    first.stdout.fnmatch_lines(
        [f"*ProbeError: there is no */checks/golden/words.pcap yet*write it by: {again}"]
    )
    assert not golden.exists()

    failing = run(pytester, folder, "--sonemu-update-golden", last="assert not capture")
    failing.assert_outcomes(failed=1)
    failing.stdout.fnmatch_lines(["*words.pcap was not written anew: the test failed"])
    assert not golden.exists()

    run(pytester, folder, "--sonemu-update-golden").assert_outcomes(passed=1)
    assert [record.data[42:] for record in read_pcap(golden)] == [b"one", b"two", b"three"]
    written = golden.read_bytes()

    run(pytester, folder).assert_outcomes(passed=1)

    monkeypatch.setenv("WORDS", "one twice three four")
    changed = run(pytester, folder)
    changed.assert_outcomes(failed=1)
    changed.stdout.fnmatch_lines(
        [
            "*words.pcap: 3 packets, captured: 4",
            "*! 2: 10.*:* > 10.*:9000 UDP, 45 bytes: payload b'two' -> b'twice'",
            "*+ 4: 10.*:* > 10.*:9000 UDP, 46 bytes is new",
        ]
    )
    assert golden.read_bytes() == written
