"""Two ways between two edges: how long nothing arrives when one of them breaks."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, Service
from pytest_sonemu.descriptors.model import ConnectionPoint


def edge(name: str, number: int, far: int) -> NetworkFunction:
    """A router with a LAN and two ways to the other edge, the lower for when the upper has no carrier."""
    points = {"lan": f"10.1.{number}.1/24", "upper": f"10.2.0.{number}/24", "lower": f"10.3.0.{number}/24"}
    upper = f"ip route add 10.1.{far}.0/24 via 10.2.0.{far} metric 10"
    lower = f"ip route add 10.1.{far}.0/24 via 10.3.0.{far} metric 20"
    return NetworkFunction(
        name,
        image="sonemu/vnf-base",
        connection_points=tuple(
            ConnectionPoint(point, addresses=(IPv4Interface(address),)) for point, address in points.items()
        ),
        command=["sh", "-c", f"{upper} && {lower} && exec sleep infinity"],
    )


SERVICE = NetworkService.of(
    "two-ways",
    [edge("left", 1, far=2), edge("right", 2, far=1)],
    {
        "access": ["input", "left:lan"],
        "upper": ["left:upper", "right:upper"],
        "lower": ["left:lower", "right:lower"],
        "egress": ["right:lan", "output"],
    },
)

SYSCTLS = {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.ignore_routes_with_linkdown": 1}

pytestmark = pytest.mark.sonemu(package=SERVICE, vnfs={"*": {"sysctls": SYSCTLS, "routes": "none"}})


def test_a_broken_way_is_left_in_time(service: Service) -> None:
    with service.flow("input", "output", udp=5000, rate="1000pps") as flow:
        flow.wait_until_flowing()
        with service.link("upper").down():
            flow.wait_until_flowing()  # over the lower way
            assert "right:lower" in service.trace("input", "output", udp=7).hops
        flow.wait_until_flowing()
    assert flow.longest_gap < 0.5
    assert "right:upper" in service.trace("input", "output", udp=7).hops  # and back again


def test_a_break_that_nobody_notices_lasts(service: Service) -> None:
    service.ping("input", "output")  # so that the edges know each other's MAC
    with service.flow("input", "output", udp=5000, rate="1000pps") as flow:
        flow.wait_until_flowing()
        with service.link("upper").down(carrier=False):  # the interfaces keep their carrier
            assert service.trace("input", "output", udp=7, timeout=0.3).lost_at == "upper"
        flow.wait_until_flowing()
    assert flow.longest_gap > 0.3
