"""Readiness of a real container, condition by condition."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_sonemu.emulation.docker_api import DockerClient
from pytest_sonemu.emulation.processes import start_time
from pytest_sonemu.emulation.protocol import ContainerState
from pytest_sonemu.errors import NotReadyError
from pytest_sonemu.handles.execution import exec_in_container, path_exists
from pytest_sonemu.handles.results import CommandResult
from pytest_sonemu.handles.settling import listeners
from pytest_sonemu.handles.waiting import (
    Alive,
    Command,
    Settled,
    State,
    default_conditions,
    health_slots,
    parse_conditions,
    wait_ready,
)
from pytest_sonemu.planning.plan import ImageChoice
from tests.one_container.conftest import RunContainer


class Vnf:
    """A container as a VNF that can be waited for; `entry` is its entry script's exit status."""

    id = "fw"

    def __init__(self, client: DockerClient, container: str, entry: int | None = None) -> None:
        self.client, self.container, self.entry = client, container, entry

    def state(self) -> ContainerState:
        found = self.client.inspect_container(self.container)["State"]
        pid = int(found["Pid"])
        return ContainerState(
            endpoint="fw",
            name="fw",
            id=self.container,
            phase="running" if found["Running"] else "exited",
            pid=pid,
            start_time=(start_time(pid) or 0) if pid else 0,
            lives=1,
            exit_status=int(found["ExitCode"]),
            out_of_memory=bool(found["OOMKilled"]),
            entry_exit_status=self.entry,
        )

    def log_lines(self) -> list[str]:
        output: bytes = self.client.logs(self.container)
        return output.decode().splitlines()

    def run(self, command: str | Sequence[str], timeout: float) -> CommandResult:
        return exec_in_container(self.client, self.container, command, timeout=timeout)

    def exists(self, path: str) -> bool:
        return path_exists(self.client, self.container, path)


def listen(port: int, after: float = 0.0, host: str = "") -> str:
    return f"sleep {after}; exec nc -l {f'-s {host} ' if host else ''}-p {port}"


@pytest.mark.parametrize(
    ("ready", "script"),
    [
        (8080, listen(8080, after=0.3)),
        ("tcp:127.0.0.1:8080", listen(8080, after=0.3, host="127.0.0.1")),
        ("udp:5353", "sleep 0.3; exec nc -u -l -p 5353"),
        ("log:rules loaded", "sleep 0.3; echo all rules loaded; exec sleep 600"),
        ("file:/run/ready", "sleep 0.3; touch /run/ready; exec sleep 600"),
        ("exec:test -s /run/ready", "sleep 0.3; echo 1 >/run/ready; exec sleep 600"),
        ([8080, "log:up"], "echo up; " + listen(8080, after=0.3)),
    ],
)
def test_a_condition_comes_true(
    docker_client: DockerClient, run_container: RunContainer, ready: object, script: str
) -> None:
    vnf = Vnf(docker_client, run_container("sh", "-c", script))
    conditions = parse_conditions(ready)
    readiness = wait_ready(vnf, conditions, timeout=20)
    assert not readiness.guessed
    assert all(condition.check(vnf).ok for condition in conditions)


def test_a_port_on_loopback_is_not_ready_for_others(
    docker_client: DockerClient, run_container: RunContainer
) -> None:
    vnf = Vnf(docker_client, run_container("sh", "-c", listen(8080, host="127.0.0.1")))
    wait_ready(vnf, parse_conditions("tcp:127.0.0.1:8080"), timeout=10)
    with pytest.raises(NotReadyError, match=r"listens on tcp 127.0.0.1:8080 only"):
        wait_ready(vnf, parse_conditions(8080), timeout=0.2)


def test_a_time_out_tells_all(docker_client: DockerClient, run_container: RunContainer) -> None:
    vnf = Vnf(docker_client, run_container("sh", "-c", "echo loading; " + listen(22)))
    wait_ready(vnf, parse_conditions("tcp:22"), timeout=10)
    with pytest.raises(NotReadyError) as caught:
        wait_ready(vnf, parse_conditions(80), timeout=0.3)
    text = str(caught.value)
    for part in ("'fw'", "0.3 s", "tcp port 80", "listening: tcp 0.0.0.0:22", "loading"):
        assert part in text


def test_a_command_that_hangs_does_not_hold_up_the_time_out(
    docker_client: DockerClient, run_container: RunContainer
) -> None:
    vnf = Vnf(docker_client, run_container("sleep", "600"))
    start = time.monotonic()
    with pytest.raises(NotReadyError, match=r"not ready after 1 s; .*`sleep 300` did not end within"):
        wait_ready(vnf, [Command("sleep 300", timeout=30.0)], timeout=1)
    assert time.monotonic() - start < 8


def test_an_end_while_starting_fails_at_once(
    docker_client: DockerClient, run_container: RunContainer
) -> None:
    vnf = Vnf(docker_client, run_container("sh", "-c", "echo bad rule; sleep 0.2; exit 7"))
    start = time.monotonic()
    with pytest.raises(NotReadyError, match=r"(?s)ended with 7 while starting.*bad rule"):
        wait_ready(vnf, parse_conditions(80), timeout=30)
    assert time.monotonic() - start < 10


def test_a_callable_and_its_error(docker_client: DockerClient, run_container: RunContainer) -> None:
    vnf = Vnf(docker_client, run_container("sleep", "600"))
    seen: list[str] = []

    def third_time(handle: Vnf) -> bool:
        seen.append(handle.id)
        assert len(seen) > 1, "not yet"
        return len(seen) > 2

    wait_ready(vnf, parse_conditions(third_time), timeout=10)
    assert seen == ["fw"] * 3
    wait_ready(vnf, parse_conditions(lambda: len(seen) == 3), timeout=10)

    def never(handle: Vnf) -> bool:
        raise OSError("refused")

    with pytest.raises(NotReadyError, match="OSError: refused"):
        wait_ready(vnf, parse_conditions(never), timeout=0.2)


def image(*healthcheck: str, timeout: float = 5.0) -> ImageChoice:
    return ImageChoice("x", "sha256:x", "test", healthcheck=healthcheck, healthcheck_timeout=timeout)


def test_the_health_command_of_the_image(docker_client: DockerClient, run_container: RunContainer) -> None:
    vnf = Vnf(docker_client, run_container("sh", "-c", "sleep 0.5; touch /run/healthy; exec sleep 600"))
    conditions = default_conditions(
        image("CMD-SHELL", "test -e /run/healthy"), entry_script=False, slots=health_slots()
    )
    assert conditions[0].what == "HEALTHCHECK `test -e /run/healthy`"
    assert not conditions[0].check(vnf).ok
    wait_ready(vnf, conditions, timeout=20)


def test_a_health_command_has_the_images_own_time(
    docker_client: DockerClient, run_container: RunContainer
) -> None:
    vnf = Vnf(docker_client, run_container("sleep", "600"))
    (condition,) = default_conditions(image("CMD", "sleep", "60", timeout=0.3), entry_script=False)
    state = condition.check(vnf)
    assert not state.ok
    assert "did not end within 0.3 s" in state.text


def test_no_more_than_two_health_commands_at_once(
    docker_client: DockerClient, run_container: RunContainer
) -> None:
    vnf = Vnf(docker_client, run_container("sleep", "600"))
    slots = health_slots()
    now, most = 0, 0
    lock = threading.Lock()

    class Counting(Vnf):
        def run(self, command: str | Sequence[str], timeout: float) -> CommandResult:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            try:
                return super().run(command, timeout)
            finally:
                with lock:
                    now -= 1

    counting = Counting(docker_client, vnf.container)
    checks = [Command("true", slots=slots) for _ in range(5)]
    threads = [threading.Thread(target=check.check, args=[counting]) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 2


def test_settled_waits_for_a_busy_start(docker_client: DockerClient, run_container: RunContainer) -> None:
    # Each `true` lives too short to be seen: only its parent's count tells.
    script = "for i in 1 2 3 4 5 6 7 8; do /bin/true; sleep 0.25; done; exec nc -l -p 80"
    vnf = Vnf(docker_client, run_container("sh", "-c", script))
    readiness = wait_ready(vnf, [Settled(0.6)], timeout=20)
    assert readiness.guessed
    assert "ready" in readiness.note("fw")
    assert any(each.port == 80 for each in listeners(vnf.state().pid))


def test_settled_is_quick_where_nothing_happens(
    docker_client: DockerClient, run_container: RunContainer
) -> None:
    vnf = Vnf(docker_client, run_container("sleep", "600"))
    readiness = wait_ready(vnf, [Settled(0.3)], timeout=20)
    assert 0.3 <= readiness.seconds < 3


def test_an_entry_script_decides(docker_client: DockerClient, run_container: RunContainer) -> None:
    container = run_container("sleep", "600")
    (condition,) = default_conditions(image(), entry_script=True)
    assert not wait_ready(Vnf(docker_client, container, entry=0), [condition], timeout=5).guessed
    with pytest.raises(NotReadyError, match=r"^VNF 'fw' cannot become ready: its entry script ended with 2;"):
        wait_ready(Vnf(docker_client, container, entry=2), [condition], timeout=5)


def test_an_idle_shell_is_ready_at_once(docker_client: DockerClient, run_container: RunContainer) -> None:
    vnf = Vnf(docker_client, run_container("sh"))
    conditions = default_conditions(image(), entry_script=False, idle_shell=True)
    assert conditions == (Alive(),)
    assert wait_ready(vnf, conditions, timeout=5).seconds < 1


def test_listeners_are_those_of_the_container(
    docker_client: DockerClient, run_container: RunContainer, tmp_path: Path
) -> None:
    vnf = Vnf(docker_client, run_container("sh", "-c", listen(8080)))
    (condition,) = parse_conditions(8080)
    wait_ready(vnf, [condition], timeout=10)
    assert {each.port for each in listeners(vnf.state().pid)} == {8080}
    assert condition.check(vnf) == State(True, "tcp port 8080 is open")
