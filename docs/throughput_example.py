"""How much a way carries: the guide's example, which runs as a test."""

from __future__ import annotations

import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(
    topology="../example_packages/firewall/two-pops.yml", package="../example_packages/firewall"
)


def test_the_firewall_keeps_up(service: Service) -> None:
    found = service.sap("input").throughput("server", "udp", duration=0.5, rate="10Mbit", port=5000)
    assert found.rate > 9e6
    assert found.loss == 0
    assert service.sap("input").path_mtu("server") == 1500
