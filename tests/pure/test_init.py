"""`sonemu init` writes projects that can be read without a single finding, and overwrites nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pytest_sonemu.cli import VERBS, main
from pytest_sonemu.descriptors.read import read_package
from pytest_sonemu.topology.read import read_topology


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.mark.parametrize(
    ("arguments", "vnf", "points"),
    [
        ([], "vnf", ["input", "output"]),
        (["--image", "registry.example:5000/me/fw:1.2"], "fw", ["input", "output"]),
        (["--image", "web:dev", "--interfaces", "data"], "web", ["data"]),
        (["--name", "lb", "--interfaces", "in,out,mgmt"], "lb", ["in", "out", "mgmt"]),
    ],
)
def test_a_project_is_sound(tmp_path: Path, arguments: list[str], vnf: str, points: list[str]) -> None:
    folder = tmp_path / "my-service"
    done = run("init", str(folder), *arguments)
    assert done.exit_code == 0, done.output
    assert done.output.endswith(f"run it: pytest {folder}\n")
    package = read_package(folder)
    assert [finding for finding in package.findings if finding.level != "info"] == []
    assert package.service.name == "my-service"
    (function,) = package.service.functions
    assert (function.id, [point.id for point in function.connection_points]) == (vnf, points)
    assert [sap.id for sap in package.service.saps] == points
    assert len(package.service.links) == len(points)
    assert len(package.service.paths) == (len(points) > 1)
    assert [pop.name for pop in read_topology(folder / "topology.yml").pops] == ["pop1", "pop2"]
    written = (folder / "test_service.py").read_text()
    compile(written, "test_service.py", "exec")
    if len(points) > 1:
        assert f'service.ping("{points[0]}", "{points[1]}")' in written


def test_a_build_is_an_option_beside_the_project(tmp_path: Path) -> None:
    source = tmp_path / "My Firewall"
    source.mkdir()
    (source / "Dockerfile").write_text("FROM sonemu/vnf-base\n")
    assert run("init", str(tmp_path / "project"), "--build", str(source)).exit_code == 0
    package = read_package(tmp_path / "project")
    assert package.service.functions[0].id == "my-firewall"
    assert package.sonemu == {"vnfs": {"my-firewall": {"build": "../My Firewall"}}}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "topology.yml").write_text("mine")
    done = run("init", str(tmp_path))
    assert done.exit_code == 1
    assert "topology.yml is there already" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["topology.yml"]
    assert (tmp_path / "topology.yml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--interfaces", "a,a"], "names that differ"),
        (["--interfaces", "a b"], "cannot name an interface"),
        (["--name", "FW"], "cannot name a VNF"),
        (["--image", "x", "--build", "."], "exclude each other"),
        (["--build", "/"], "no Dockerfile"),
    ],
)
def test_what_cannot_be_made(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run("init", str(tmp_path / "x"), *arguments)
    assert done.exit_code == 1
    assert said in done.output
    assert not (tmp_path / "x").exists()


def test_help_lists_every_verb() -> None:
    output = run("--help").output
    assert all(verb in output for verb in VERBS)
    for verb in VERBS:
        assert run(verb, "--help").exit_code == 0


def test_an_unknown_verb_is_guessed() -> None:
    done = run("docter")
    assert done.exit_code == 2
    assert "did you mean 'doctor'?" in done.output
