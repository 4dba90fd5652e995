"""`--sonemu-attach`: tests on a bed that another process has booted, which lives on as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.pure.sharing.conftest import plugin_args
from tests.support.sonemu_up import sonemu, sonemu_up

ROOT = Path(__file__).parents[2]
FIREWALL, CHAIN = ROOT / "example_packages/firewall", ROOT / "example_packages/chain"
WEB = f"""
import pytest
pytestmark = pytest.mark.sonemu(topology={str(FIREWALL / "two-pops.yml")!r}, package={str(FIREWALL)!r})
"""


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(FIREWALL / "two-pops.yml") as booted:
        yield booted


@pytest.fixture(scope="module")
def firewall(bed: TestBed) -> Service:
    return bed.start(FIREWALL)


def run_pytest(
    folder: Path, source: str, bed: str, *arguments: str, ini: str = ""
) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    attach = ["--sonemu-attach", bed] if bed else []
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "test_it.py",
            "-p",
            "no:asyncio",
            *plugin_args(),
            *attach,
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_uses_what_runs_and_leaves_it_as_it_was(bed: TestBed, firewall: Service, tmp_path: Path) -> None:
    before = firewall.vnf("fw").state
    done = run_pytest(
        tmp_path,
        WEB
        + f"""
def test_web(service, testbed):
    assert (testbed.name, service.id, service.uuid) == {(bed.name, firewall.id, firewall.uuid)!r}
    assert service.sap("input").http("http://server/").ok
    service.vnf("fw").sysctl("net.ipv4.ip_forward", 0)
    assert service.connect("input", "server", tcp=80).lost_at == "fw"

def test_undone(service, testbed):
    assert service.sap("input").http("http://server/").ok
    second = testbed.start({str(FIREWALL)!r})
    assert second.id != service.id
""",
        bed.name,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"attached to bed {bed.name}" in done.stdout
    assert [service.id for service in bed.services] == [firewall.id]
    assert firewall.vnf("fw").state == before
    assert firewall.sap("input").http("http://server/").ok


def test_what_does_not_run_is_started_for_the_run(bed: TestBed, firewall: Service, tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        f"""
import pytest
pytestmark = pytest.mark.sonemu(package={str(CHAIN)!r})
ids = set()

@pytest.mark.parametrize("number", range(2))
def test_chain(service, testbed, number):
    ids.add(service.uuid)
    assert len(ids) == 1 and {firewall.uuid!r} not in ids
    assert {{one.id for one in testbed.services}} == {{{firewall.id!r}, service.id}}
    assert service.ping("input", "output").loss == 0

@pytest.mark.sonemu(vnfs={{"*": {{"env": {{"A": "1"}}}}}})
def test_another_start(service):
    assert service.uuid not in ids, "one that this run has started for others is not shared unasked"
""",
        "",
        ini=f"sonemu_attach = {bed.name}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [service.id for service in bed.services] == [firewall.id]


def test_a_bed_that_is_not_there_is_named_with_those_that_are(bed: TestBed, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, WEB + "def test_web(service): pass\ndef test_b(service): pass\n", "no-such")
    assert done.returncode == 1
    assert "no-such" in done.stdout
    assert bed.name in done.stdout
    assert "same cause as in test_it.py::test_web" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_bed_of_sonemu_up_is_tested_again_and_again(tmp_path: Path) -> None:
    name = f"attached{os.getpid()}"
    topology = str(FIREWALL / "two-pops.yml")
    with sonemu_up(topology, "--name", name, "--package", str(FIREWALL), "--start", "--allow-build") as up:
        up.until(lambda: up.bed == name)
        source = WEB + "def test_web(service, testbed):\n    assert len(testbed.services) == 1\n"
        for _run in range(2):
            done = run_pytest(tmp_path, source, name)
            assert done.returncode == 0, done.stdout + done.stderr
        assert sonemu("down", name).returncode == 0
        assert up.ended() == 0
