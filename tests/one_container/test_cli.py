"""The verbs of `sonemu` on the real machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_sonemu.cli import keeper_copy, main
from pytest_sonemu.cli.check import succeeds
from pytest_sonemu.cli.kernel_checks import scratch_namespace
from pytest_sonemu.emulation.docker_api import DockerClient
from pytest_sonemu.emulation.image_choice import BASE_IMAGE
from pytest_sonemu.emulation.sweep import labels
from pytest_sonemu.errors import MachineError

BED = f"cli-test-{os.getpid()}"


def test_doctor_finds_this_machine_sound() -> None:
    done = CliRunner().invoke(main, ["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    for name in (
        "system",
        "docker",
        "base image",
        "containers",
        "rights",
        "iproute2",
        "veth pairs",
        "bridges",
    ):
        assert checks[name]["state"] == "ok", checks[name]
    needed = [check for check in checks.values() if check["needed"] and check["state"] == "missing"]
    assert done.exit_code == (1 if needed else 0)
    for check in checks.values():
        assert check["state"] != "missing" or check["mend"], check


def test_doctor_says_how_docker_is_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "Docker does not run" in done.output
    assert "start it: " in done.output


def test_the_probe_container_is_gone_afterwards(docker_client: DockerClient) -> None:
    CliRunner().invoke(main, ["doctor", "--json"])
    mine = {"label": ["sonemu.testbed=doctor", f"sonemu.keeper.pid={os.getpid()}"]}
    assert docker_client.containers(all=True, filters=mine) == []


def test_the_scratch_namespace_is_apart() -> None:
    with scratch_namespace() as scratch:
        assert scratch is not None
        assert scratch.run(
            "ip", "link", "add", "name", "cli-test-a", "type", "veth", "peer", "name", "cli-test-b"
        )
        assert scratch.run("ip", "link", "show", "cli-test-a")
        assert not succeeds(["ip", "link", "show", "cli-test-a"])


def test_clean_removes_what_a_killed_keeper_left(docker_client: DockerClient) -> None:
    with subprocess.Popen(["sleep", "600"]) as keeper:
        tags = labels(BED, "run", os.getuid(), keeper.pid)
        container = docker_client.create_container(BASE_IMAGE, ["true"], labels=tags)["Id"]
        try:
            assert CliRunner().invoke(main, ["clean", BED]).output == "nothing to clean\n"
        finally:
            keeper.kill()
    done = CliRunner().invoke(main, ["clean", BED])
    assert done.exit_code == 0
    assert f"of bed {BED}" in done.output
    left = docker_client.containers(all=True, filters={"id": container})
    assert left == []


@pytest.mark.skipif(os.geteuid() != 0, reason="writes files that belong to root")
def test_the_keepers_copy_stands_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, launcher = tmp_path / "library", tmp_path / "libexec" / "sonemu-keeper"
    for line in keeper_copy.install(library, launcher):
        assert str(tmp_path) in line
    assert keeper_copy.installed_version(library) == keeper_copy.version()
    assert launcher.stat().st_mode & 0o777 == 0o755
    assert all(place.stat().st_uid == 0 for place in library.rglob("*"))
    assert not [place for place in library.rglob("*") if place.stat().st_mode & 0o022]

    def call(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(launcher), *arguments], capture_output=True, text=True, env=environ, timeout=20, check=False
        )

    assert call("--version").stdout.strip() == keeper_copy.version()
    assert "own uid only" in call("bed", "0", SUDO_UID="1000").stderr
    assert "usage" in call("bed").stderr
    shebang = launcher.read_text().splitlines()[0].removeprefix("#!").split()
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r}); import docker, pydantic;"
        " import pytest_sonemu.emulation.bed as bed; print(bed.__file__, docker.__file__)"
    )
    done = subprocess.run(
        [shebang[0], "-IB", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.count(str(library)) == 2


def test_an_interpreter_that_others_can_change_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("")
    python.chmod(0o777)
    with pytest.raises(MachineError, match=r"python can be changed by others"):
        keeper_copy.trusted_interpreter(python)


def test_ps_runs() -> None:
    done = CliRunner().invoke(main, ["ps", "--json"])
    assert done.exit_code == 0
    assert isinstance(json.loads(done.output), list)


def test_the_command_loads_quickly() -> None:
    heavy = "{'docker', 'requests', 'pydantic', 'rich'}"
    code = f"import sys, pytest_sonemu.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.strip() == "[]"


def test_verbs_that_ask_a_bed_do_not_load_the_server() -> None:
    """A second of CPU on a small machine, for each `sonemu status`."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(sorted({'flask', 'waitress'} & set(sys.modules))))\n"
        "from pytest_sonemu.cli import main\n"
        "main(['status', 'no-such-bed'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert "no-such-bed" in done.stderr
    assert done.stdout.strip() == "[]"
