"""Links that behave as told: the examples of `links.md`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_sonemu import NetworkService, Service, TestBed, flap, ramp

PAIR = NetworkService.of("pair", [], {"link-1": ["input", "server"]})

pytestmark = pytest.mark.sonemu(
    topology="example_packages/firewall/two-pops.yml",
    package=PAIR,
    saps={"input": {"pop": "pop1"}, "server": {"pop": "pop2"}},
)


def test_a_slow_link(service: Service) -> None:
    with service.link("link-1").impair(delay="50ms", direction="input->server"):
        rtt = service.ping("input", "server").rtt
    assert rtt is not None
    assert 0.05 < rtt.min < 0.1


@pytest.mark.sonemu(links={"link-1": {"delay": "5ms", "input->server": {"delay": "20ms", "loss": "1%"}}})
def test_a_link_that_is_slow_from_the_start(service: Service) -> None:
    rtt = service.ping("input", "server", 20).rtt
    assert rtt is not None
    assert 0.025 < rtt.min < 0.05


@pytest.mark.sonemu(saps={"server": {"interfaces": {"server": {"rate": "100Mbit", "in": {"delay": "20ms"}}}}})
def test_an_access_link(service: Service) -> None:
    rtt = service.ping("input", "server").rtt
    assert rtt is not None
    assert rtt.min > 0.02


def test_a_link_that_changes(service: Service) -> None:
    link = service.link("link-1")
    with link.schedule([(0, {"delay": "10ms"}), ("0.5s", {"delay": "30ms", "loss": "1%"})]) as schedule:
        assert schedule.wait(timeout=10)
    with link.schedule(ramp("rate", "100Mbit", "1Mbit", over="10s")):
        assert service.ping("input", "server").received > 0
    link.schedule(flap(down="500ms", up="2s", times=5))  # stops with the test


def test_a_recorded_trace(testbed: TestBed, tmp_path: Path) -> None:
    trace = tmp_path / "lte.csv"
    trace.write_text("at,rate,delay,loss\n0,40Mbit,20ms,\n0.2,5Mbit,,0.5%\n")
    with testbed.link("pop1", "pop2").schedule(trace) as schedule:
        assert schedule.wait(timeout=10)
