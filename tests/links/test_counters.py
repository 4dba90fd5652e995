"""Interfaces, routes and counters as netlink tells them."""

from __future__ import annotations

from contextlib import closing

import pytest

from pytest_sonemu.handles.interfaces import link_stats, read_interfaces, read_outer
from pytest_sonemu.handles.netlink import read_links, read_routes, route_socket
from pytest_sonemu.handles.ping import ping
from tests.links.kernel_bed import KernelBed, PlanBuilder, firewall_plan


def test_interfaces_are_as_planned() -> None:
    with KernelBed(firewall_plan(ipv6=True)) as bed:
        plan = bed.plan.endpoint("fw")
        assert plan is not None
        before = read_interfaces(bed, "svc", plan)
        assert [interface.name for interface in before] == ["input", "output"]
        for interface, planned in zip(before, plan.interfaces, strict=True):
            assert (interface.mac, interface.mtu, interface.up) == (planned.mac, 1500, True)
            assert set(planned.addresses) <= set(interface.addresses)
        assert ping(bed, bed.plan, "input", "server", count=10, interval=0.001, size=1000).received == 10
        after = read_interfaces(bed, "svc", plan)
        gained = after[1].stats - before[1].stats
        assert gained.tx_packets >= 10
        assert gained.tx_bytes >= 10 * 1042
        bed.spaces["fw"].run("ip", "link", "set", "output", "down")
        assert [interface.up for interface in read_interfaces(bed, "svc", plan)] == [True, False]


def test_routes() -> None:
    with KernelBed(firewall_plan(ipv6=True)) as bed, closing(route_socket(bed, "svc", "input")) as sock:
        planned = {
            (str(route.destination), str(route.gateway), route.metric)
            for route in read_routes(sock)
            if route.table == 254 and route.gateway is not None
        }
        index = {link.name: link.index for link in read_links(sock)}
        assert planned == {("10.30.1.0/24", "10.30.0.2", 4096), ("fd00:0:0:1::/64", "fd00::2", 4096)}
        assert {route.index for route in read_routes(sock) if route.gateway} == {index["input"]}


@pytest.mark.kernel
def test_a_line_counts_each_direction_and_what_was_lost() -> None:
    with KernelBed(firewall_plan()) as bed:
        link = bed.plan.link("l-in")
        assert link is not None
        bed.spaces["fw"].nft(
            "table ip t { chain c { type filter hook input priority 0; icmp type echo-request drop; }; }"
        )
        ping(bed, bed.plan, "input", "fw:input", count=20, interval=0.001, timeout=0.1)
        stats = link_stats(link, read_outer(bed))
        assert stats["input"].packets >= 21
        assert stats["fw:input"].packets <= 3
        assert stats.dropped == 0
        bed.spaces["fw"].run("ip", "link", "set", "input", "down")
        ping(bed, bed.plan, "input", "fw:input", count=20, interval=0.001, timeout=0.1)
        assert link_stats(link, read_outer(bed))["input"].dropped >= 20


@pytest.mark.kernel
def test_a_lan_counts_each_member() -> None:
    builder = PlanBuilder()
    builder.link("lan", "a:lan", "b:lan", "c:lan")
    with KernelBed(builder.build()) as bed:
        link = bed.plan.link("lan")
        assert link is not None
        ping(bed, bed.plan, "a", "b", count=20, interval=0.001)
        stats = link_stats(link, read_outer(bed))
        assert stats["a:lan"].packets >= 21
        assert stats["b:lan"].packets >= 21
        assert stats["c:lan"].packets == 0
