"""The contract on a real bed of two PoPs: every row again, with containers and links."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sonemu.emulation.docker_api import DockerClient, connect
from pytest_sonemu.gatekeeper.on_bed import BedEmulation
from pytest_sonemu.handles.testbed import TestBed
from tests.support import gatekeeper_contract as contract
from tests.support.fake_emulation import TWO_POPS
from tests.support.http import Served
from tests.support.left_over import left_of_instances


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TWO_POPS) as bed:
        yield bed


@pytest.fixture
def served(bed: TestBed, docker: DockerClient) -> Iterator[Served]:
    def left() -> list[str]:
        return left_of_instances(bed, docker)

    served = Served(BedEmulation(bed), left)
    yield served
    served.close()
    for service in bed.services:
        service.stop()
    assert left() == []


class TestPackages(contract.PackagesContract):
    pass


class TestStart(contract.StartContract):
    pass


class TestStop(contract.StopContract):
    pass


class TestBedRoutes(contract.BedContract):
    pass


class TestParallel(contract.ParallelContract):
    pass


class TestOldClients(contract.OldClientsContract):
    pass
