"""What `sonemu init` writes boots and answers, with an image and with a Dockerfile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_sonemu.cli import main
from pytest_sonemu.emulation.docker_api import connect
from pytest_sonemu.handles.testbed import TestBed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("from_dockerfile", [False, True], ids=["image", "build"])
def test_a_new_project_runs(tmp_path: Path, from_dockerfile: bool) -> None:
    project = tmp_path / "project"
    arguments = ["--name", "fw"]
    if from_dockerfile:
        source = tmp_path / "source"
        source.mkdir()
        (source / "Dockerfile").write_text(f"FROM sonemu/vnf-base\nLABEL of=init-{os.getpid()}\n")
        arguments += ["--build", str(source)]
    assert CliRunner().invoke(main, ["init", str(project), *arguments]).exit_code == 0
    if not from_dockerfile:
        assert_its_own_test_passes(project)
    with TestBed(project / "topology.yml") as bed:
        service = bed.start(project)
        for point in ("input", "output"):
            assert service.ping(point, f"fw:{point}").loss == 0
        assert service.ping("input", "output").loss == 0
        container = service.plan.endpoints[0].container
        listed = CliRunner().invoke(main, ["ps"]).output
        assert bed.name in listed
        assert service.id in listed
    assert container is not None
    assert container.image.reference.startswith("sonemu/build:" if from_dockerfile else "sonemu/vnf-base")
    if from_dockerfile:
        client = connect()
        client.remove_image(container.image.reference, force=True)
        client.close()


def assert_its_own_test_passes(project: Path) -> None:
    """As a person runs it: with pytest, in the project's folder."""
    plugins = ["-p", "pytest_sonemu.plugin", "-p", "pytest_sonemu.short_names", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir",
            str(project),
            *plugins,
            "test_service.py",
        ],
        cwd=project,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
            "PYTEST_ADDOPTS": "",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
