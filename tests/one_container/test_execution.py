"""Commands in a real container: output, status, input, time limit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pytest_sonemu.emulation.docker_api import DockerClient
from pytest_sonemu.errors import EmulationError, ProbeError
from pytest_sonemu.handles.execution import exec_in_container, path_exists
from tests.one_container.conftest import RunContainer


@pytest.fixture
def container(run_container: RunContainer) -> str:
    return run_container("sleep", "600")


def test_output_and_status_are_kept_apart(docker_client: DockerClient, container: str) -> None:
    result = exec_in_container(docker_client, container, "echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_status, result.ok) == ("out\n", "err\n", 3, False)
    assert result.duration > 0


def test_a_list_is_no_shell(docker_client: DockerClient, container: str) -> None:
    result = exec_in_container(docker_client, container, ["echo", "$HOME; exit 4"])
    assert result.stdout == "$HOME; exit 4\n"
    assert result.ok


def test_user_environment_folder_and_input(docker_client: DockerClient, container: str) -> None:
    result = exec_in_container(
        docker_client, container, "id -u; echo $COLOUR; pwd; cat", user="33", env={"COLOUR": "red"},
        stdin="all of it\n", workdir="/usr",
    )  # fmt: skip
    assert result.stdout.splitlines() == ["33", "red", "/usr", "all of it"]


def test_much_goes_in_and_out(docker_client: DockerClient, container: str) -> None:
    data = b"0123456789abcdef" * 65536 * 4
    result = exec_in_container(docker_client, container, ["md5sum"], stdin=data)
    assert result.ok
    echoed = exec_in_container(docker_client, container, ["cat"], stdin=data)
    assert echoed.stdout.encode() == data


def test_a_command_that_reads_nothing_may_be_given_input(docker_client: DockerClient, container: str) -> None:
    result = exec_in_container(docker_client, container, ["true"], stdin=bytes(4_000_000))
    assert result.ok


def test_a_time_limit_kills_the_command_and_its_children(docker_client: DockerClient, container: str) -> None:
    start = time.monotonic()
    with pytest.raises(ProbeError, match=r"(?s)fw: .*did not end within 0.5 s \(it was killed\).*begun"):
        exec_in_container(
            docker_client, container, "echo begun; sleep 4711 & sleep 4712; true", timeout=0.5, where="fw"
        )
    assert time.monotonic() - start < 5
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [each for each in commands if each.startswith((b"sleep\x004711", b"sleep\x004712"))]
    assert exec_in_container(docker_client, container, ["true"]).ok


def test_a_time_limit_holds_without_root(
    docker_client: DockerClient, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ProbeError, match="it was killed"):
        exec_in_container(docker_client, container, "sleep 4713 & sleep 4714; true", timeout=1)
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [each for each in commands if each.startswith((b"sleep\x004713", b"sleep\x004714"))]


def test_a_program_that_is_not_there_is_named(docker_client: DockerClient, container: str) -> None:
    with pytest.raises(ProbeError, match="no command to run"):
        exec_in_container(docker_client, container, [])
    with pytest.raises(
        ProbeError, match=r"`nonesuch -x` cannot be run: the image has no program 'nonesuch'$"
    ):
        exec_in_container(docker_client, container, ["nonesuch", "-x"])
    with pytest.raises(ProbeError, match="'/etc/passwd' in the image is not executable"):
        exec_in_container(docker_client, container, ["/etc/passwd"])


def test_check_raises_with_what_it_wrote(docker_client: DockerClient, container: str) -> None:
    with pytest.raises(ProbeError, match="no such rule"):
        exec_in_container(docker_client, container, "echo no such rule >&2; exit 1", check=True)


def test_a_container_that_has_ended_is_an_error(
    docker_client: DockerClient, run_container: RunContainer
) -> None:
    ended = run_container("true")
    docker_client.wait(ended, timeout=10)
    with pytest.raises(EmulationError, match=r"exec in fw.*not running"):
        exec_in_container(docker_client, ended, ["true"], where="fw")


def test_paths(docker_client: DockerClient, container: str) -> None:
    assert path_exists(docker_client, container, "/etc/passwd")
    assert not path_exists(docker_client, container, "/etc/nothing")
    exec_in_container(docker_client, container, ["rm", "/usr/bin/test"], check=True)
    assert path_exists(docker_client, container, "/etc/passwd")
    assert not path_exists(docker_client, container, "/etc/nothing")
