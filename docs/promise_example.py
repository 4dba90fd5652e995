"""What a test looks like: the example of the README."""

from __future__ import annotations

import pytest

from pytest_sonemu import Service, TestBed

pytestmark = pytest.mark.sonemu(
    topology="example_packages/firewall/two-pops.yml", package="example_packages/firewall"
)


def test_web_is_reachable(service: Service) -> None:
    assert service.sap("input").http("http://server/").status_code == 200


def test_telnet_is_blocked(service: Service) -> None:
    assert service.connect("input", "server", tcp=23).outcome == "dropped"  # seen into fw, not out of it


def test_the_chain_is_really_crossed(service: Service) -> None:
    trace = service.trace("input", "server:data", tcp=80)
    assert trace.hops == ["fw:input", "fw:output", "server:data"]


def test_a_slow_wan_is_slow(service: Service, testbed: TestBed) -> None:
    with testbed.link("pop1", "pop2").impair(delay="50ms"):  # each way
        assert service.ping("input", "server").rtt.median == pytest.approx(0.100, abs=0.005)


def test_the_rules_survive_a_restart(service: Service) -> None:
    service.vnf("fw").restart()
    assert service.connect("input", "server", tcp=80).outcome == "open"


def test_calls_survive_a_restart(service: Service) -> None:
    with service.flow("input", "server", udp=5000, rate="1000pps") as flow:
        service.vnf("fw").restart()
    assert flow.longest_gap < 1.0
