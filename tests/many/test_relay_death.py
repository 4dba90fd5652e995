"""A relay that hangs or dies: it is replaced, the tests are told, and a bed ends whole all the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.emulation import places
from pytest_sonemu.handles.testbed import TestBed
from tests.many.test_impaired_links import _relay_of
from tests.support.machine import wait

CHAIN = NetworkService.chain("in", NetworkFunction("vnf", image="sonemu/vnf-base"), "out")


def test_a_relay_that_is_silent_is_replaced_and_a_bed_with_a_stopped_one_leaves_nothing() -> None:
    with TestBed(seed=7) as bed:
        service = bed.start(CHAIN, saps={"in": {"interfaces": {"in": {"delay": "20ms"}}}})
        container = str(service.vnf("vnf").container.id)
        link = service.link("link-1")
        first = _relay_of(bed)
        os.kill(first, signal.SIGSTOP)
        with link.impair(delay="10ms"):  # another takes it over, with all links
            assert _relay_of(bed) not in (0, first)
            assert service.ping("in", "vnf", 3, interval=0.01).rtt.min >= 0.06
        assert 0.04 <= service.ping("in", "vnf", 3, interval=0.01).rtt.min < 0.06
        assert link.stats().late is not None
        assert any("the relay ended (the relay does not answer" in note for note in bed.notes)
        second, keeper, run_dir = _relay_of(bed), bed.keeper_pid, places.run_dir(bed.name, os.getuid())
        assert run_dir.exists()
        os.kill(second, signal.SIGSTOP)
    assert wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (keeper, first, second)), 5)
    listed = ["docker", "ps", "-aq", "--no-trunc", "--filter", f"id={container}"]
    assert not subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    assert not run_dir.exists()


SUITE = """
import os, signal
import pytest
from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.many.test_impaired_links import _relay_of
from tests.support.machine import wait

TOPOLOGY = Topology((PoP("p1"), PoP("p2")), (PopLink("p1", "p2", delay=0.005),))
LINE = NetworkService.of("line", [], {"far": ["c", "d"]})
WHERE = {"c": {"pop": "p1"}, "d": {"pop": "p2"}}
pytestmark = pytest.mark.sonemu(topology=TOPOLOGY, package=LINE, saps=WHERE)

def test_that_loses_the_relay(service, testbed):
    for _ in range(4):
        assert wait(lambda: service.ping("c", "d", 1, timeout=0.2).received == 1, 10)
        os.kill(_relay_of(testbed), signal.SIGKILL)
    assert wait(lambda: any("too often" in note for note in testbed.notes), 10)
    assert service.ping("c", "d", 1, timeout=0.2).received == 1

def test_the_next_has_another(service):
    assert service.ping("c", "d", 1, timeout=0.5).received == 1
"""


def test_a_failing_test_says_that_the_relay_ended_and_the_next_has_a_new_instance(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "test_suite.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    rows = re.findall(r"^(PASSED|FAILED) test_suite.py::(\w+)", done.stdout, re.MULTILINE)
    assert {name: outcome for outcome, name in rows} == {
        "test_that_loses_the_relay": "FAILED",
        "test_the_next_has_another": "PASSED",
    }, done.stdout
    story = done.stdout.partition("sonemu: what happened")[2]
    assert re.search(r"! now +relay: the relay ended \(it ended with -9\)", story), done.stdout
    assert re.search(r"! now +relay: the relay ended too often", story), done.stdout
