"""How much a way carries: TCP and UDP, over a link as it is and over a narrow one."""

from __future__ import annotations

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service

ROUTER = NetworkFunction("router", image="sonemu/vnf-base")

pytestmark = pytest.mark.sonemu(
    package=NetworkService.chain("input", ROUTER, "output", name="speed"),
    exclusive=True,  # no other test of this machine that says so runs meanwhile
)


def test_tcp(service: Service) -> None:
    assert service.sap("input").throughput("output", duration=0.5).rate > 100e6  # bit/s


def test_udp_at_a_rate_arrives_whole(service: Service) -> None:
    found = service.sap("input").throughput("output", "udp", duration=0.5, rate="10Mbit")
    assert found.rate == pytest.approx(10e6, rel=0.1)
    assert found.loss == 0


def test_a_narrow_link_is_the_limit(service: Service) -> None:
    with service.link("link-1").impair(rate="20Mbit"):
        found = service.sap("input").throughput("output", duration=1)
    assert 15e6 < found.rate < 20e6  # the rate counts whole frames, the measurement what is in them


def test_full_packets_pass(service: Service) -> None:
    assert service.sap("input").path_mtu("output") == 1500
