"""Links that are slow, narrow, lossy or down while a test runs, and as they were after it."""

from __future__ import annotations

import pytest

from pytest_sonemu import Bursts, NetworkFunction, NetworkService, Service, TestBed

ROUTER = NetworkFunction("router", image="sonemu/vnf-base")

pytestmark = pytest.mark.sonemu(
    topology="two-pops.yml",
    package=NetworkService.chain("input", ROUTER, "output", name="far"),
    placement={"router": "pop1"},
    saps={"input": {"pop": "pop1"}, "output": {"pop": "pop2"}},
)


def test_a_long_way(service: Service, testbed: TestBed) -> None:
    with testbed.link("pop1", "pop2").impair(delay="20ms"):
        assert service.ping("input", "output").rtt.min >= 0.040  # there and back
        with service.link("link-1").impair(delay="10ms", direction="input->router:input"):
            assert service.ping("input", "output").rtt.min >= 0.050
        with testbed.link("pop1", "pop2").impair(jitter="5ms"):  # the delay stays
            assert service.ping("input", "output").rtt.min >= 0.025
    assert service.ping("input", "output").rtt.min < 0.020


def test_the_same_seed_loses_the_same_packets(service: Service) -> None:
    def lost() -> float:
        with service.link("link-1").impair(loss="20%", direction="input->router:input", seed=7):
            return service.ping("input", "output", count=40, interval=0.002, timeout=0.3).loss

    first = lost()
    assert 0 < first < 0.6
    assert lost() == first


def test_losses_in_bursts(service: Service) -> None:
    assert service.ping("input", "output").loss == 0  # so that no question for a MAC is lost
    with service.link("link-1").impair(bursts=Bursts(enter=0.2, leave=0.5), seed=7):
        assert 0 < service.ping("input", "output", count=40, interval=0.002, timeout=0.3).loss < 1


def test_a_narrow_way(service: Service) -> None:
    with service.link("link-2").impair(rate="1Mbit"):
        # 20 packets of 1,042 bytes, each way: the rate holds for each direction.
        assert service.ping("input", "output", count=20, interval=0, size=1000).rtt.max > 0.1


def test_a_cable_is_pulled(service: Service) -> None:
    with service.link("link-2").down():
        assert not service.vnf("router").interface("output").is_up
        assert service.ping("input", "output", count=1, timeout=0.2).loss == 1
    assert service.ping("input", "output").loss == 0


def test_something_in_the_middle_breaks(service: Service, testbed: TestBed) -> None:
    assert service.ping("input", "output").loss == 0  # so that the router knows the output's MAC
    with testbed.link("pop1", "pop2").down():
        assert service.vnf("router").interface("output").is_up  # nobody notices
        assert service.trace("input", "output", icmp=True, timeout=0.3).lost_at == "link-2"
