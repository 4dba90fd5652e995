"""What a way carries is measured on links whose rate, loss and MTU are known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with TestBed() as bed:
        yield bed.start(NetworkService.of("fast", [], {"line": ["a", "b"]}))


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    view = running.view()
    yield view
    assert view.close_view() == ()


@pytest.mark.parametrize("parallel", [1, 3])
def test_tcp_is_as_fast_as_its_link(service: Service, parallel: int) -> None:
    with service.link("line").impair(rate="50Mbit"):
        found = service.sap("a").throughput("b", "tcp", 0.8, parallel)
    assert found.rate == pytest.approx(48e6, rel=0.12)  # headers take 4 %
    assert len(found.streams) == parallel
    assert sum(found.streams) == found.rate
    assert (found.loss, found.jitter) == (None, None)
    assert "Mbit/s" in repr(found)
    assert len(repr(found)) < 200


def test_nothing_slows_a_direct_link(service: Service) -> None:
    found = service.sap("a").throughput("b", duration=0.5)
    assert found.rate > 1e9
    assert found.retransmits is not None


def test_losses_make_tcp_send_again(service: Service) -> None:
    with service.link("line").impair(loss="2%", rate="50Mbit", seed=1):
        found = service.sap("a").throughput("b", duration=0.5)
    assert found.retransmits is not None
    assert found.retransmits > 3


def test_udp_keeps_its_rate_and_counts_losses(service: Service) -> None:
    found = service.sap("a").throughput("b", "udp", 0.5, rate="20Mbit")
    assert found.rate == pytest.approx(20e6, rel=0.05)
    assert found.loss == 0
    assert found.retransmits is None
    assert found.jitter is not None
    assert found.jitter < 0.01
    with service.link("line").impair(loss="10%", seed=2):
        lossy = service.sap("a").throughput("b", "udp", 0.5, rate="20Mbit")
    assert lossy.loss == pytest.approx(0.1, abs=0.04)


def test_udp_above_the_rate_of_its_link(service: Service) -> None:
    with service.link("line").impair(rate="10Mbit"):
        found = service.sap("a").throughput("b", "udp", 0.6, rate="20Mbit", parallel=2)
    assert found.loss is not None
    assert found.loss > 0.2
    assert found.rate < 15e6


def test_the_path_mtu(service: Service) -> None:
    assert service.sap("a").path_mtu("b") == 1500
    service.sap("b").run("ip", "link", "set", "dev", "b", "mtu", "1300").check()
    try:
        # A veth pair takes the four bytes of a VLAN tag more.
        assert 1300 <= service.sap("a").path_mtu("b") <= 1304
    finally:
        service.sap("b").run("ip", "link", "set", "dev", "b", "mtu", "1500").check()


def test_a_port_that_is_taken_and_one_that_is_blocked(service: Service) -> None:
    with service.sap("b").socket() as taken:
        taken.bind(("", 5001))
        taken.listen()
        with pytest.raises(ProbeError, match="port 5001 of b is a server's already"):
            service.sap("a").throughput("b", duration=0.2, port=5001)
    assert service.ping("a", "b").loss == 0  # so that no question for a MAC is lost
    with service.link("line").impair(loss="100%"), pytest.raises(ProbeError, match="a firewall let it in"):
        service.sap("a").throughput("b", duration=0.2, port=5002)


def test_what_cannot_be_measured(service: Service) -> None:
    for arguments, said in (({"parallel": 0}, "streams"), ({"protocol": "sctp"}, "'tcp' or 'udp'")):
        with pytest.raises(ProbeError, match=said):
            service.sap("a").throughput("b", **arguments)
    service.link("line").down(carrier=False)
    with pytest.raises(ProbeError, match="no echo of 68 bytes"):
        service.sap("a").path_mtu("b")


def test_a_service_measures_from_any_source(service: Service) -> None:
    assert service.path_mtu("a", "b") == 1500
    with service.link("line").impair(rate="50Mbit"):
        found = service.throughput("a", service.sap("b"), "udp", "200ms", rate="2Mbit")
    assert (found.source, found.protocol) == ("a", "udp")
    assert found.rate == pytest.approx(2e6, rel=0.2)
    with pytest.raises(NotFoundError, match="nowhere"):
        service.path_mtu("nowhere", "b")
