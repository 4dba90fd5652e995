"""What becomes of frames on relayed links: each member has losses of its own, and all is counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import combinations

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.many.test_impaired_links import _relay_of
from tests.support.frames import Ear, Mouth, frame, numbered, numbers_in, wait_for
from tests.support.machine import wait

COUNT = 300
SAPS = NetworkService.of("saps", [], {"near": ["a", "b"]}, lans={"lan": ["e", "f", "g"]})


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(seed=7) as bed:
        yield bed


@pytest.fixture(scope="module")
def service(bed: TestBed) -> Service:
    return bed.start(SAPS)


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


def send(service: Service, count: int, size: int) -> None:
    """As many frames from `a` to `b`, of this many bytes, at once."""
    mouth = Mouth(service.sap("a"), "a")
    data = frame(service.sap("b").mac(), service.sap("a").mac(), bytes(size - 14))
    for _ in range(count):
        mouth.send(data)
    mouth.close()


def test_what_waits_and_what_finds_a_full_queue_is_counted(service: Service) -> None:
    link = service.link("near")
    before = link.stats()["a"]
    with link.impair(rate="10kbit", queue_packets=5, direction="a->b"):  # 0.4 s each
        send(service, 30, 500)
        assert wait(lambda: link.stats()["a"].overflowed - before.overflowed >= 20, 5)
        now = link.stats()["a"]
        assert 1 <= now.queued <= 5
        assert 24 <= now.overflowed - before.overflowed <= 29
        assert now.dropped - before.dropped == now.overflowed - before.overflowed
    assert link.stats()["a"].overflowed == now.overflowed
    assert wait(lambda: link.stats()["a"].queued == 0, 5)


def test_what_the_relay_cannot_read_in_time_is_counted(bed: TestBed, service: Service) -> None:
    link = service.link("near")
    with link.impair(delay="1ms"):
        before = link.stats()
        unread_before = before.unread or 0
        relay = _relay_of(bed)
        os.kill(relay, signal.SIGSTOP)
        try:
            send(service, 80_000, 1514)  # 55,000 fill the 128 MB that the kernel keeps for it
        finally:
            os.kill(relay, signal.SIGCONT)
        assert wait(lambda: (link.stats().unread or 0) > unread_before, 10)
        after = link.stats()
        assert after.unread is not None
        assert 1_000 < after.unread - unread_before < 80_000
        assert wait(lambda: link.stats()["a"].stale - before["a"].stale > 1_000, 10)
        assert link.stats()["b"].stale - before["b"].stale < 100
        assert f"; {after.unread} unread on all links" in repr(after)
