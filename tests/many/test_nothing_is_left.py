"""However a run ends, nothing of its bed is left: containers, processes, namespaces, run directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu.emulation.client import beds
from pytest_sonemu.emulation.sweep import sweep
from tests.support.machine import BedOnMachine, wait

SUITE = """
import pytest, socket, sys, time
from pathlib import Path
from pytest_sonemu import NetworkFunction, NetworkService

CHAIN = NetworkService.chain("input", NetworkFunction("fw", image="sonemu/vnf-base"), "output")

@pytest.mark.sonemu(package=CHAIN)
def test_that_has_failed_before(service):
    assert service.connect("input", "fw", tcp=80).outcome == "open"

@pytest.mark.sonemu(package=CHAIN)
def test_in_the_middle(service, testbed):
    held = service.sap("input").socket()
    service.vnf("fw").exec("true")
    Path("up").write_text(f"{testbed.name} {testbed.keeper_pid}")
    while True:
        time.sleep(0.1)
"""


class Run:
    """A pytest run of its own that has come to the middle of its test."""

    def __init__(self, folder: Path) -> None:
        (folder / "test_suite.py").write_text(SUITE)
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_suite.py"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        up = folder / "up"
        came = wait(lambda: self.process.poll() is not None or (up.exists() and up.read_text() != ""), 60)
        assert came, "the test has not begun"
        assert self.process.poll() is None, self.output.read_text()
        name, pid = up.read_text().split()
        self.bed = BedOnMachine.of(name, int(pid))

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.kill()


def test_the_bed_is_seen_while_it_is_up(run: Run) -> None:
    """The proofs below would hold for a bed that nobody looks at."""
    traces = run.bed.traces()
    assert (len(traces.containers), traces.keeper, traces.run_dir) == (1, True, True)
    # The fabric, the VNF and two SAPs; of SAPs no process stands in one.
    assert len(run.bed.namespaces) == 4
    assert run.bed.name in [bed.name for bed in beds()]


def test_kill_9_of_pytest_in_the_middle_of_a_test_leaves_nothing(run: Run) -> None:
    run.process.kill()
    run.process.wait(10)
    assert run.bed.wait_until_gone(10).none


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_leaves_nothing(run: Run, how: signal.Signals) -> None:
    run.process.send_signal(how)
    assert run.process.wait(10) != 0
    assert run.bed.wait_until_gone(5).none
    told = run.output.read_text()
    assert "sonemu: what happened" in told, "what had failed before is reported all the same"
    assert "<refused: tcp input -> fw" in told
    assert "run it again: pytest test_suite.py::test_that_has_failed_before" in told


def test_the_sweep_takes_what_a_killed_keeper_left(run: Run) -> None:
    os.kill(run.bed.keeper_pid, signal.SIGKILL)
    assert wait(lambda: not run.bed.traces().keeper, 5)
    assert run.bed.traces().containers, "a killed keeper can take nothing with it"
    run.kill()
    from pytest_sonemu.emulation import docker_api

    with docker_api.connect() as docker:
        removed = sweep(docker, bed=run.bed.name)
    assert {remnant.kind for remnant in removed if remnant.removed} == {"container", "run directory"}
    assert run.bed.wait_until_gone(10).none


SCRIPT = """
from pathlib import Path
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu import NetworkFunction, NetworkService

vnfs = [NetworkFunction(f"vnf{n}", image="sonemu/vnf-base") for n in range(6)]
with TestBed() as bed:
    Path("up").write_text(f"{bed.name} {bed.keeper_pid}")
    while True:
        bed.start(NetworkService.chain("input", *vnfs, "output")).stop()
"""


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3, 0.6, 1.0, 1.7])
def test_kill_9_at_any_moment_of_start_and_stop_leaves_nothing(tmp_path: Path, moment: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, stdin=subprocess.DEVNULL)
    try:
        up = tmp_path / "up"
        assert wait(lambda: up.exists() and up.read_text() != "", 30)
        name, pid = up.read_text().split()
        bed = BedOnMachine.of(name, int(pid))
        # Not for luck: the moment is what differs between the cases.
        wait(lambda: process.poll() is not None, moment)
    finally:
        process.kill()
        process.wait(10)
    assert bed.wait_until_gone(10).none
