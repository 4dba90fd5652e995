"""One small container for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from pytest_sonemu.emulation.docker_api import DockerClient, connect
from pytest_sonemu.emulation.image_choice import BASE_IMAGE

BED = f"one-container-{os.getpid()}"

RunContainer = Callable[..., str]


@pytest.fixture
def docker_client() -> Iterator[DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture
def run_container(docker_client: DockerClient) -> Iterator[RunContainer]:
    """`run_container("sleep", "60")` starts one of the base image and returns its id; removed at the end."""
    made: list[str] = []

    def run(*argv: str, **settings: object) -> str:
        created = docker_client.create_container(
            BASE_IMAGE,
            list(argv),
            stdin_open=True,
            network_disabled=True,
            **{"labels": {"sonemu.testbed": BED}, **settings},  # type: ignore[arg-type]
        )
        made.append(str(created["Id"]))
        docker_client.start(made[-1])
        return made[-1]

    yield run
    for container in made:
        docker_client.remove_container(container, force=True)
