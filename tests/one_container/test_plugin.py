"""The plugin on a real bed: sharing, undo, keeping, signals, workers, a machine without Docker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_sonemu.cli import main
from pytest_sonemu.emulation.client import beds
from pytest_sonemu.handles.testbed import TestBed
from tests.pure.sharing.conftest import plugin_args

ROOT = Path(__file__).parents[2]
MARK = "import pytest\npytestmark = pytest.mark.sonemu(topology='topology.yml', package='.')\n"


class Project:
    """A project folder as `sonemu init` writes it, and pytest in a process of its own on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = CliRunner().invoke(
            main, ["init", str(folder), "--name", folder.name, "--image", "sonemu/vnf-base"]
        )
        assert made.exit_code == 0, made.output

    def pytest(self, source: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "test_it.py").write_text(MARK + source)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "test_it.py", "-p", "no:asyncio", *plugin_args(), *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    @property
    def beds(self) -> list[str]:
        """The beds that runs in this folder have left."""
        return [entry.name for entry in beds() if entry.name.startswith(self.folder.name)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / f"plug{os.getpid()}")


def test_one_instance_for_all_and_nothing_left(project: Project) -> None:
    done = project.pytest(
        """
pids = set()
def test_a(service, testbed):
    [vnf] = service.vnfs.values()
    pids.add(vnf.container.attrs["State"]["Pid"])
    assert service.ping("input", "output").loss == 0
    testbed.start(".", placement="first")
    assert len(testbed.services) == 2
def test_b(service, testbed):
    [vnf] = service.vnfs.values()
    pids.add(vnf.container.attrs["State"]["Pid"])
    assert len(pids) == len(testbed.services) == 1
    assert service.ping("input", "output").loss == 0
"""
    )
    assert done.returncode == 0, done.stdout
    assert project.beds == []


def test_a_failing_bed_is_kept_and_attached_to(project: Project) -> None:
    done = project.pytest(
        """
def test_a(service): assert service.ping("input", "output").loss == 1
def test_b(service, testbed): assert service.ping("input", "output").loss == 0
""",
        "--sonemu-keep=on-failure",
    )
    assert "1 failed, 1 passed" in done.stdout
    attach = re.search(r"TestBed\.attach\('(.+?)'\)", done.stdout)
    assert attach is not None, done.stdout
    assert project.beds == [attach[1]]
    bed = TestBed.attach(attach[1])
    try:
        assert bed.services[0].ping("input", "output").loss == 0
    finally:
        bed.end()
    assert project.beds == []


def test_each_worker_has_its_own(project: Project) -> None:
    pytest.importorskip("xdist")
    done = project.pytest(
        """
@pytest.mark.parametrize("n", range(4))
def test_a(service, n): assert service.ping("input", "output").loss == 0
""",
        "-n", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert project.beds == []


def test_a_unit_test_case(project: Project) -> None:
    done = project.pytest(
        """
import unittest
@pytest.mark.usefixtures("service", "testbed")
class TestService(unittest.TestCase):
    def test_a(self): self.assertEqual(self.service.ping("input", "output").loss, 0)
    def test_b(self): self.assertEqual(len(self.testbed.services), 1)
"""
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("missing", "summary"), [("error", "2 errors"), ("skip", "2 skipped")])
def test_without_docker(project: Project, missing: str, summary: str) -> None:
    source = "def test_a(service): pass\ndef test_b(testbed): pass\n"
    nowhere = f"unix://{project.folder}/no.sock"
    done = project.pytest(source, f"--sonemu-missing={missing}", "-rs", DOCKER_HOST=nowhere)
    assert summary in done.stdout
    assert "no.sock" in done.stdout
    assert project.pytest(source, "--collect-only", DOCKER_HOST=nowhere).returncode == 0


def test_a_mark_of_a_wrong_type_fails_its_test_alone(project: Project) -> None:
    done = project.pytest(
        """
@pytest.mark.sonemu(package=3)
def test_package(service): pass
@pytest.mark.sonemu(topology={"pops": 1})
def test_topology(service): pass
@pytest.mark.sonemu(topology=[3])
def test_topologies(testbed): pass
def test_right(service): pass
""",
        "-q",
    )
    assert done.returncode == 1, done.stdout
    assert "1 passed, 3 errors" in done.stdout
    assert "3 is no package: give a .son file, a project folder or a NetworkService" in done.stdout
    assert "{'pops': 1} is no topology: give a YAML file or a Topology" in done.stdout
    assert "3 is no topology" in done.stdout


def test_a_vnf_that_tells_its_secret_and_ends_does_not_show_it(project: Project) -> None:
    done = project.pytest(
        """
import os
TALKS = {"secrets": {"PW": os.environ["SOME_PW"]}, "command": ["sh", "-c", "echo password $PW; exit 3"]}
@pytest.mark.sonemu(vnfs={"*": TALKS})
def test_fixture(service): pass
def test_started_here(testbed):
    testbed.start(".", vnfs={"*": TALKS})
""",
        SOME_PW="hunter2xyz",
    )
    assert "| password ***" in done.stdout
    assert "ended with 3 while starting" in done.stdout
    assert "hunter2xyz" not in done.stdout + done.stderr
    shown = [
        path for path in project.folder.rglob("*") if path.is_file() and b"hunter2xyz" in path.read_bytes()
    ]
    assert shown == []
