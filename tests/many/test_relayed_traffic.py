"""What becomes of frames on relayed links: each member of an E-LAN has losses of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.support.frames import Ear, Mouth, frame, numbered, numbers_in, wait_for

COUNT = 300
SAPS = NetworkService.of("saps", [], {"near": ["a", "b"]}, lans={"lan": ["e", "f", "g"]})


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with TestBed(seed=7) as bed:
        yield bed.start(SAPS)


def lost(service: Service, source: str, target: str) -> list[bool]:
    """Of each of COUNT numbered IP packets of one endpoint to another, whether it was lost."""
    ear, mouth = Ear(service.sap(target)), Mouth(service.sap(source), source)
    macs = service.sap(target).mac(), service.sap(source).mac()
    for number in range(COUNT):
        mouth.send(frame(*macs, numbered(number), 0x0800))
    came = numbers_in(wait_for([ear], b"number").get(f"{target}:{target}", []))
    ear.close()
    mouth.close()
    return [number not in came for number in range(COUNT)]


def alike(one: list[bool], other: list[bool]) -> float:
    """How far two patterns of losses are correlated: 1 if they are the same, about 0 if independent."""
    p, q = sum(one) / COUNT, sum(other) / COUNT
    both = sum(a and b for a, b in zip(one, other, strict=True)) / COUNT
    return float((both - p * q) / (p * (1 - p) * q * (1 - q)) ** 0.5)


def test_members_of_an_e_lan_lose_packets_of_their_own_and_the_same_ones_again(service: Service) -> None:
    def losses() -> dict[str, list[bool]]:
        with service.link("lan").impair(loss="30%", seed=7):
            return {way: lost(service, *way) for way in ("ef", "fe", "ge")}

    first = losses()
    assert losses() == first
    for pattern in first.values():
        assert 50 < sum(pattern) < 130  # five deviations of the binomial distribution
    for one, other in combinations(first.values(), 2):
        assert abs(alike(one, other)) < 0.3  # five deviations, were they independent
