"""Echoes over real links: what is counted, what is timed, what is said when none comes back."""

from __future__ import annotations

import time

import pytest

from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.ping import ping
from tests.links.kernel_bed import KernelBed, firewall_plan


def test_counts_times_and_leaves_out_the_warm_up(bed: KernelBed) -> None:
    began = time.monotonic()
    result = ping(bed, bed.plan, "input", "server")
    assert (result.sent, result.received, result.loss, result.error) == (3, 3, 0.0, None)
    assert result.warm_up == 1
    assert result.jitter is not None
    assert 0 < result.rtt.min <= result.rtt.median <= result.rtt.p99 <= result.rtt.max < 0.05
    assert time.monotonic() - began < 0.5
    assert len(repr(result)) < 200


@pytest.mark.kernel
def test_ipv6_and_large_echoes() -> None:
    with KernelBed(firewall_plan(ipv6=True)) as bed:
        for family, size in ((6, 56), (6, 4000), (4, 4000), (4, 0), (6, 7)):
            result = ping(bed, bed.plan, "input", "server", family=family, size=size)  # type: ignore[arg-type]
            assert result.address.version == family
            assert result.loss == 0, repr(result)


def test_the_source_interface_is_the_one_named(bed: KernelBed) -> None:
    assert ping(bed, bed.plan, "fw:input", "server:data", count=1).received == 1
    bed.spaces["server"].run("ip", "route", "del", "10.30.0.0/24")
    assert ping(bed, bed.plan, "fw:output", "server", count=1).received == 1
    assert ping(bed, bed.plan, "fw:input", "server", count=1, timeout=0.2).received == 0


def test_loss_of_a_share_is_counted(bed: KernelBed) -> None:
    bed.spaces["fw"].nft(
        "table ip t { chain c { type filter hook forward priority 0;"
        " icmp type echo-request numgen inc mod 4 == 3 drop; }; }"
    )
    result = ping(bed, bed.plan, "input", "server", count=40, interval=0.002, timeout=0.2)
    assert (result.sent, result.received) == (40, 30)
    assert result.loss == pytest.approx(0.25)


def test_nothing_comes_back(bed: KernelBed) -> None:
    bed.spaces["fw"].nft("table ip t { chain c { type filter hook forward priority 0; drop; }; }")
    began = time.monotonic()
    result = ping(bed, bed.plan, "input", "server", timeout="300ms")
    assert (result.sent, result.received, result.loss, result.times, result.error) == (3, 0, 1.0, None, None)
    with pytest.raises(ProbeError, match=r"no round-trip time: <ping input -> server .*0 of 3 answered"):
        assert result.rtt.median
    assert 0.3 < time.monotonic() - began < 0.8


@pytest.mark.kernel
def test_a_router_that_complains_is_named(bed: KernelBed) -> None:
    bed.spaces["fw"].nft(
        "table ip t { chain c { type filter hook forward priority 0; reject with icmp admin-prohibited; }; }"
    )
    began = time.monotonic()
    result = ping(bed, bed.plan, "input", "server", count=2)
    assert result.error == "fw:input says: administratively prohibited"
    assert result.loss == 1
    assert time.monotonic() - began < 0.5


def test_no_route_is_said_at_once(bed: KernelBed) -> None:
    bed.spaces["input"].run("ip", "route", "del", "10.30.1.0/24")
    result = ping(bed, bed.plan, "input", "server")
    assert (result.sent, result.loss) == (0, 1)
    assert "no route" in str(result.error)


@pytest.mark.kernel
def test_time_to_live_and_dont_fragment(bed: KernelBed) -> None:
    assert "time to live exceeded" in str(ping(bed, bed.plan, "input", "server", ttl=1, count=1).error)
    assert ping(bed, bed.plan, "input", "server", size=1472, df=True, count=1).received == 1
    assert ping(bed, bed.plan, "input", "server", size=1473, df=True, count=1).sent == 0
    bed.spaces["fw"].run("ip", "link", "set", "output", "mtu", "1400")
    result = ping(bed, bed.plan, "input", "server", size=1472, df=True, count=1)
    assert (result.received, result.error) == (0, "fw:input says: fragmentation needed")


def test_the_search_for_neighbours_is_not_in_the_times(bed: KernelBed) -> None:
    """Frames of ARP are held back in the fabric; only the echoes after that are measured."""
    bed.spaces["fw"].run("ip", "neigh", "flush", "all")
    first = ping(bed, bed.plan, "input", "server", count=5, interval=0.01)
    again = ping(bed, bed.plan, "input", "server", count=5, interval=0.01)
    assert first.rtt.max < 10 * again.rtt.max
