"""Links that are slow, narrow, lossy or down while a test runs, and as they were after it."""

from __future__ import annotations

import pytest

from pytest_sonemu import Bursts, Service, TestBed

FIREWALL = "example_packages/firewall"

pytestmark = pytest.mark.sonemu(package=FIREWALL, topology=f"{FIREWALL}/two-pops.yml")


def test_a_long_way(service: Service, testbed: TestBed) -> None:
    with testbed.link("pop1", "pop2").impair(delay="20ms"):
        assert service.ping("input", "server").rtt.min >= 0.040  # there and back
        with service.link("outside").impair(delay="10ms", direction="input->fw:input"):
            assert service.ping("input", "server").rtt.min >= 0.050
        with testbed.link("pop1", "pop2").impair(jitter="5ms"):  # the delay stays
            assert service.ping("input", "server").rtt.min >= 0.025
    assert service.ping("input", "server").rtt.min < 0.020


def test_the_same_seed_loses_the_same_packets(service: Service) -> None:
    def lost() -> float:
        with service.link("outside").impair(loss="20%", direction="input->fw:input", seed=7):
            return service.ping("input", "server", count=40, interval=0.002, timeout=0.3).loss

    first = lost()
    assert 0 < first < 0.6
    assert lost() == first


def test_losses_in_bursts(service: Service) -> None:
    assert service.ping("input", "server").loss == 0  # so that no question for a MAC is lost
    with service.link("outside").impair(bursts=Bursts(enter=0.2, leave=0.5), seed=7):
        assert 0 < service.ping("input", "server", count=40, interval=0.002, timeout=0.3).loss < 1


def test_a_narrow_way(service: Service) -> None:
    with service.link("inside").impair(rate="1Mbit"):
        # 20 packets of 1,042 bytes, each way: the rate holds for each direction.
        assert service.ping("input", "server", count=20, interval=0, size=1000).rtt.max > 0.1


def test_a_cable_is_pulled(service: Service) -> None:
    with service.link("inside").down():
        assert not service.vnf("fw").interface("output").is_up
        assert service.ping("input", "server", count=1, timeout=0.2).loss == 1
    assert service.ping("input", "server").loss == 0


def test_something_in_the_middle_breaks(service: Service, testbed: TestBed) -> None:
    assert service.ping("input", "server").loss == 0  # so that fw knows the server's MAC
    with testbed.link("pop1", "pop2").down():
        assert service.vnf("fw").interface("output").is_up  # nobody notices
        assert service.trace("input", "server", icmp=True, timeout=0.3).lost_at == "inside"
