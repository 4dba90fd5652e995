"""The contract on a real bed of two PoPs: every row again, with containers and links."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.emulation.docker_api import DockerClient, connect
from pytest_sonemu.gatekeeper.on_bed import BedEmulation
from pytest_sonemu.handles.interfaces import read_outer
from pytest_sonemu.handles.testbed import TestBed
from tests.support import gatekeeper_contract as contract
from tests.support.fake_emulation import TWO_POPS
from tests.support.http import Served


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TWO_POPS) as bed:
        yield bed


@pytest.fixture(scope="module")
def client(bed: TestBed) -> Iterator[BedClient]:
    client = BedClient.attach(bed.name)
    yield client
    client.close()


@pytest.fixture
def served(bed: TestBed, client: BedClient, docker: DockerClient) -> Iterator[Served]:
    def left() -> list[str]:
        return left_of_instances(bed, client, docker)

    served = Served(BedEmulation(bed), left)
    yield served
    served.close()
    for service in bed.services:
        service.stop()
    assert left() == []


def left_of_instances(bed: TestBed, client: BedClient, docker: DockerClient) -> list[str]:
    """Instances that the bed knows of, and containers and interfaces in the fabric that are none's."""
    services = bed.services
    containers = {end.container.name for one in services for end in one.plan.endpoints if end.container}
    labelled = docker.containers(all=True, filters={"label": f"sonemu.testbed={bed.name}"})
    names = {found["Names"][0].lstrip("/") for found in labelled}
    strays = {name for name in names - containers if f"sonemu-{bed.name}-gone-" not in name}
    planned = {i.outer for one in services for end in one.plan.endpoints for i in end.interfaces}
    planned |= {bridge.name for one in services for link in one.plan.links for bridge in link.bridges}
    planned |= {
        name for one in services for link in one.plan.links for j in link.joints for name in (j.a, j.b)
    }
    ends = {name for name in read_outer(client) if name != "lo"}
    return [*(one.uuid for one in services), *sorted(strays), *sorted(ends - planned)]


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
