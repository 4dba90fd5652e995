"""What a test looks like: the example of the README."""

from __future__ import annotations

import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(
    topology="example_packages/firewall/two-pops.yml", package="example_packages/firewall"
)


def test_web_is_reachable(service: Service) -> None:
    assert service.sap("input").http("http://server/").status_code == 200


def test_telnet_is_blocked(service: Service) -> None:
    assert service.connect("input", "server", tcp=23).outcome == "dropped"  # seen into fw, not out of it


def test_all_traffic_crosses_the_firewall(service: Service) -> None:
    service.vnf("fw").sysctl("net.ipv4.ip_forward", 0)  # undone after the test
    assert service.connect("input", "server", tcp=80).lost_at == "fw"


def test_the_rules_survive_a_restart(service: Service) -> None:
    service.vnf("fw").restart()
    assert service.connect("input", "server", tcp=80).outcome == "open"
