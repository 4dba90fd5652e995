"""Traffic flows while something else happens: the guide's examples, which run as tests."""

from __future__ import annotations

import pytest

from pytest_sonemu import Service

pytestmark = pytest.mark.sonemu(
    topology="../example_packages/firewall/two-pops.yml", package="../example_packages/firewall"
)


def test_a_link_fails_over(service: Service) -> None:
    with service.flow("input", "server", udp=5000, rate="1000pps") as flow:
        flow.wait_until_flowing()
        with service.vnf("fw").interface("output").down():
            assert service.connect("input", "server", tcp=80, timeout=0.2).lost_at == "fw"
        flow.wait_until_flowing()
    assert 0.2 < flow.longest_gap < 0.5
    assert (flow.duplicated, flow.reordered) == (0, 0)


def test_requests_are_answered_all_the_time(service: Service) -> None:
    with service.flow("input", "server", http="/", rate="100/s") as flow:
        flow.wait_until_flowing(50)
    assert flow.lost == 0
    assert flow.latency is not None
    assert flow.latency.p99 < 0.5
