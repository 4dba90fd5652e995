"""Room in PoPs over the instances of a real bed: taken at the start, given back at the stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService, Resources
from pytest_sonemu.emulation.image_choice import BASE_IMAGE
from pytest_sonemu.errors import PlacementError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.topology.model import PoP, PopLink, Topology

MIB = 1 << 20
TOPOLOGY = Topology((PoP("pop1", cpu=1, memory=256 * MIB), PoP("pop2", cpu=0.5)), (PopLink("pop1", "pop2"),))
SERVICE = NetworkService(
    "one", (NetworkFunction("v", image=BASE_IMAGE, resources=Resources(0.5, memory=128 * MIB)),)
)


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TOPOLOGY) as bed:
        yield bed


def start(bed: TestBed, **options: object) -> Service:
    return bed.start(SERVICE, vnfs={"v": {"ready": "exec:true"}}, placement="first", **options)


def test_instances_fill_the_pops_and_give_their_room_back(bed: TestBed) -> None:
    services = [start(bed) for _ in range(3)]
    assert [one.vnf("v").pop for one in services] == ["pop1", "pop1", "pop2"]
    with pytest.raises(PlacementError) as caught:
        start(bed)
    assert "'pop1' lacks 0.5 CPU (0 CPU of 1 CPU left) and 128 MiB of memory" in str(caught.value)
    assert "'pop2' lacks 0.5 CPU (0 CPU of 0.5 CPU left)" in str(caught.value)
    services[1].stop()
    assert start(bed).vnf("v").pop == "pop1"
    assert start(bed, overprovision=2).vnf("v").pop == "pop1"


def test_what_is_counted_is_what_docker_enforces(bed: TestBed) -> None:
    container = next(iter(bed.services)).vnf("v").container
    limits = container.attrs["HostConfig"]
    assert limits["CpuQuota"] / limits["CpuPeriod"] == 0.5
    assert limits["Memory"] == 128 * MIB
