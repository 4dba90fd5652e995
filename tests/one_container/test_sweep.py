"""Real containers of beds whose keeper was killed, lives, or cannot be seen from here."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_sonemu.emulation.docker_api import DockerClient
from pytest_sonemu.emulation.image_choice import BASE_IMAGE
from pytest_sonemu.emulation.sweep import PIDNS, labels, sweep

BED = f"sweep-test-{os.getpid()}"


@pytest.fixture
def keeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a bed's keeper."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def container_of(docker_client: DockerClient) -> Iterator[Callable[[dict[str, str]], str]]:
    made: list[str] = []

    def create(tags: dict[str, str]) -> str:
        created = docker_client.create_container(
            BASE_IMAGE, ["sleep", "600"], labels=tags, network_disabled=True
        )
        made.append(str(created["Id"]))
        docker_client.start(made[-1])
        return made[-1]

    yield create
    left = {
        each["Id"]
        for each in docker_client.containers(all=True, filters={"label": [f"sonemu.testbed={BED}"]})
    }
    for container in left & set(made):
        docker_client.remove_container(container, force=True)


def there(client: DockerClient) -> set[str]:
    return {each["Id"] for each in client.containers(all=True, filters={"label": [f"sonemu.testbed={BED}"]})}


def test_a_bed_goes_when_its_keeper_is_dead_and_not_before(
    docker_client: DockerClient,
    keeper: subprocess.Popen[bytes],
    container_of: Callable[[dict[str, str]], str],
    tmp_path: Path,
) -> None:
    tags = labels(BED, "run-1", os.getuid(), keeper.pid)
    first, second = container_of(tags), container_of(tags)
    assert sweep(docker_client, bed=BED, run_root=tmp_path) == []
    assert there(docker_client) == {first, second}

    keeper.send_signal(signal.SIGKILL)
    keeper.wait(10)
    removed = sweep(docker_client, bed=BED, run_root=tmp_path)
    assert [(each.kind, each.bed, each.removed) for each in removed] == [("container", BED, True)] * 2
    assert there(docker_client) == set()
    assert sweep(docker_client, bed=BED, run_root=tmp_path) == []


def test_what_cannot_be_judged_stays_unless_asked_for(
    docker_client: DockerClient, container_of: Callable[[dict[str, str]], str], tmp_path: Path
) -> None:
    container = container_of({**labels(BED, "run-1", os.getuid()), PIDNS: "pid:[1]"})
    (left,) = sweep(docker_client, bed=BED, run_root=tmp_path)
    assert not left.removed
    assert "--all-namespaces" in left.why
    assert there(docker_client) == {container}
    (gone,) = sweep(docker_client, all_namespaces=True, bed=BED, run_root=tmp_path)
    assert gone.removed
    assert there(docker_client) == set()


def test_a_bed_of_another_user_is_not_ours_to_sweep(
    docker_client: DockerClient,
    keeper: subprocess.Popen[bytes],
    container_of: Callable[[dict[str, str]], str],
    tmp_path: Path,
) -> None:
    container = container_of(labels(BED, "run-1", 4711, keeper.pid))
    keeper.kill()
    keeper.wait(10)
    assert sweep(docker_client, bed=BED, run_root=tmp_path, uid=1000) == []
    assert there(docker_client) == {container}
