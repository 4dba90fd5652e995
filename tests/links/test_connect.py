"""Each outcome of `connect`, on real namespaces and real rules."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_sonemu.handles.connect import connect
from pytest_sonemu.handles.observer import Observer
from pytest_sonemu.handles.results import ConnectResult
from tests.links.kernel_bed import KernelBed
from tests.support.patience import PROBE_SECONDS

Probe = Callable[..., ConnectResult]

DROP = "table inet t { chain c { type filter hook forward priority 0; %s dport %d drop; }; }"
REJECT = "table inet t { chain c { type filter hook forward priority 0; %s dport %d reject%s; }; }"


@pytest.fixture
def probe(bed: KernelBed, observer: Observer) -> Probe:
    def probe(source: str, target: str, **options: object) -> ConnectResult:
        options.setdefault("timeout", PROBE_SECONDS)
        return connect(bed, observer, bed.plan, source, target, **options)  # type: ignore[arg-type]

    return probe


@pytest.mark.kernel
def test_open_when_a_listener_of_the_target_answers(bed: KernelBed, probe: Probe) -> None:
    with bed.listen("server", 80):
        result = probe("input", "server", tcp=80)
    assert result.outcome == "open"
    assert result.listener == "theirs"
    assert result.by == "server"
    assert result.path.open
    assert result.path.there == ("fw:input", "fw:output", "server:data")
    assert result.path.back == ("server:data", "fw:output", "fw:input")
    assert [str(sighting) for sighting in result.seen if sighting.part == "first"] == [
        "input out", "fw:input in", "fw:output out", "server:data in",
    ]  # fmt: skip
    times = [sighting.time for sighting in result.seen]
    assert times == sorted(times)
    assert result.duration < PROBE_SECONDS / 2
    assert len(repr(result)) < 200


@pytest.mark.kernel
def test_refused_when_nobody_listens(probe: Probe) -> None:
    result = probe("input", "server", tcp=81)
    assert (result.outcome, result.by, result.listener) == ("refused", "server", None)
    assert result.path.open
    assert result.duration < PROBE_SECONDS / 2


@pytest.mark.kernel
def test_dropped_by_a_firewall(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["fw"].nft(DROP % ("tcp", 23))
    with bed.listen("server", 23):
        result = probe("input", "server", tcp=23)
    assert (result.outcome, result.lost_at) == ("dropped", "fw")
    assert not result.path.open
    assert (result.path.ended_at, result.path.way) == ("fw", "there")
    assert "seen into fw:input, not out of fw" in repr(result)
    assert result.duration == pytest.approx(PROBE_SECONDS, rel=0.5)


@pytest.mark.kernel
@pytest.mark.parametrize("how", ["", " with tcp reset", " with icmpx admin-prohibited"])
def test_rejected_by_a_firewall(bed: KernelBed, probe: Probe, how: str) -> None:
    bed.spaces["fw"].nft(REJECT % ("tcp", 23, how))
    with bed.listen("server", 23):
        result = probe("input", "server", tcp=23)
    assert (result.outcome, result.by, result.path.ended_at) == ("rejected", "fw", "fw")
    assert result.duration < PROBE_SECONDS / 2


def test_rejected_by_the_targets_own_rule(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["server"].nft(
        "table inet t { chain c { type filter hook input priority 0; tcp dport 23 reject; }; }"
    )
    result = probe("input", "server", tcp=23)
    assert (result.outcome, result.by) == ("rejected", "server")


def test_a_firewall_that_does_not_forward(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["fw"].sysctl("net.ipv4.ip_forward", "0")
    result = probe("input", "server", tcp=80)
    assert (result.outcome, result.lost_at) == ("dropped", "fw")


def test_dropped_on_the_way_back(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["fw"].nft(
        "table inet t { chain c { type filter hook forward priority 0; tcp sport 80 drop; }; }"
    )
    with bed.listen("server", 80):
        result = probe("input", "server", tcp=80)
    assert (result.outcome, result.lost_at, result.by) == ("dropped", "fw", "server")
    assert (result.path.ended_at, result.path.way) == ("fw", "back")


def test_unanswered_when_the_target_keeps_silent(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["server"].nft(
        "table inet t { chain c { type filter hook input priority 0; tcp dport 80 drop; }; }"
    )
    result = probe("input", "server", tcp=80)
    assert result.outcome == "unanswered"
    assert (result.path.ended_at, result.path.way) == ("server", "back")


def test_unanswered_when_the_target_has_no_way_back(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["server"].run("ip", "route", "del", "10.30.0.0/24")
    with bed.listen("server", 80):
        assert probe("input", "server", tcp=80).outcome == "unanswered"


def test_no_route(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["input"].run("ip", "route", "del", "10.30.1.0/24")
    result = probe("input", "server", tcp=80)
    assert result.outcome == "no_route"
    assert result.duration < PROBE_SECONDS / 4


def test_a_router_without_a_route_rejects(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["fw"].run("ip", "link", "set", "output", "down")
    result = probe("input", "server", tcp=80)
    assert (result.outcome, result.by) == ("rejected", "fw")
    assert "net unreachable" in result.reason


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_router_without_a_route_rejects_each_time(bed: KernelBed, probe: Probe, protocol: str) -> None:
    # Of these errors a kernel sends five, then one a second.
    bed.spaces["input"].run("ip", "route", "add", "198.51.100.0/24", "via", "10.30.0.2")
    results = [probe("input", "198.51.100.1", timeout=0.1, **{protocol: 80}) for _ in range(12)]
    assert {(result.outcome, result.by, result.path.ended_at) for result in results} == {
        ("rejected", "fw", "fw")
    }
    assert all("net unreachable" in result.reason for result in results)
    assert any("has no route there" in result.reason for result in results)


TRANSLATE = """
table ip t {
    chain nat { type nat hook prerouting priority dstnat; ip daddr 198.51.100.1 dnat to 10.30.1.2; }
    chain c { type filter hook forward priority 0; ip daddr 10.30.1.2 drop; }
}"""


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_router_that_translates_without_a_route_and_drops(
    bed: KernelBed, probe: Probe, protocol: str
) -> None:
    bed.spaces["input"].run("ip", "route", "add", "198.51.100.0/24", "via", "10.30.0.2")
    bed.spaces["fw"].nft(TRANSLATE)
    targets = ["198.51.100.1", "198.51.100.2"] * 7
    with ThreadPoolExecutor(14) as pool:
        results = list(
            pool.map(lambda target: probe("input", target, timeout=0.2, **{protocol: 80}), targets)
        )
    # What is translated has a route and is dropped, what is not has none.
    assert {(str(result.address), result.outcome) for result in results} == {
        ("198.51.100.1", "dropped"),
        ("198.51.100.2", "rejected"),
    }
    assert all(result.lost_at == "fw" for result in results if result.outcome == "dropped")


@pytest.mark.parametrize(
    ("kind", "outcome", "words"),
    [
        ("unreachable", "rejected", "host unreachable"),
        ("prohibit", "rejected", "administratively prohibited"),
        ("blackhole", "dropped", "not out of fw"),
    ],
)
def test_a_route_to_nowhere_ends_alike_each_time(
    bed: KernelBed, probe: Probe, kind: str, outcome: str, words: str
) -> None:
    bed.spaces["input"].run("ip", "route", "add", "198.51.100.0/24", "via", "10.30.0.2")
    bed.spaces["fw"].run("ip", "route", "add", kind, "198.51.100.0/24")
    with ThreadPoolExecutor(7) as pool:
        results = list(pool.map(lambda _: probe("input", "198.51.100.1", tcp=80, timeout=0.2), range(7)))
    assert {result.outcome for result in results} == {outcome}
    assert all(words in result.reason for result in results)


def test_a_station_that_does_not_forward_drops(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["input"].run("ip", "route", "add", "198.51.100.0/24", "via", "10.30.0.2")
    bed.spaces["fw"].sysctl("net.ipv4.ip_forward", "0")
    result = probe("input", "198.51.100.1", tcp=80, timeout=0.1)
    assert (result.outcome, result.lost_at) == ("dropped", "fw")


def test_not_sent_when_the_neighbour_is_stopped(bed: KernelBed, probe: Probe) -> None:
    bed.stop("fw")
    result = probe("input", "server", tcp=80)
    assert (result.outcome, result.lost_at) == ("not_sent", "input")
    assert "asks for the MAC of 10.30.0.2" in repr(result)


def test_dropped_at_the_station_before_a_stopped_target(bed: KernelBed, probe: Probe) -> None:
    bed.stop("server")
    result = probe("input", "server", tcp=80)
    assert (result.outcome, result.lost_at) == ("dropped", "fw")
    assert "fw:output asks for the MAC of 10.30.1.2" in result.reason


def test_dropped_on_the_link_when_the_neighbour_was_known(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["input"].run("ip", "neigh", "add", "10.30.0.2", "lladdr", "02:00:00:00:00:02", "dev", "input")
    bed.stop("fw")
    result = probe("input", "server", tcp=80)
    assert (result.outcome, result.lost_at) == ("dropped", "l-in")


def test_not_sent_by_a_rule_of_the_source(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["input"].nft(
        "table inet t { chain c { type filter hook output priority 0; tcp dport 80 drop; }; }"
    )
    result = probe("input", "server", tcp=80)
    assert result.outcome == "not_sent"
    assert "rule of its own" in result.reason


def test_a_listener_of_ours(bed: KernelBed, probe: Probe) -> None:
    result = probe("input", "server", tcp=4711, listen=True)
    assert (result.outcome, result.listener) == ("open", "ours")
    assert probe("input", "server", tcp=4711).outcome == "refused"
    with bed.listen("server", 4711):
        result = probe("input", "server", tcp=4711, listen=True)
    assert (result.outcome, result.listener) == ("open", "theirs")


@pytest.mark.kernel
def test_udp(bed: KernelBed, probe: Probe) -> None:
    result = probe("input", "server", udp=5000)
    assert (result.outcome, result.by) == ("refused", "server")
    assert result.duration < PROBE_SECONDS / 2
    result = probe("input", "server", udp=5000, listen=True, payload=b"hello")
    assert (result.outcome, result.listener, result.answer) == ("open", "ours", b"hello")
    with bed.spaces["server"].socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("", 5000))
        result = probe("input", "server", udp=5000)
    assert result.outcome == "delivered"
    assert result.path.there == ("fw:input", "fw:output", "server:data")


def test_udp_dropped_and_rejected(bed: KernelBed, probe: Probe) -> None:
    bed.spaces["fw"].nft(DROP % ("udp", 53))
    result = probe("input", "server", udp=53)
    assert (result.outcome, result.lost_at) == ("dropped", "fw")
    bed.spaces["fw"].nft("flush ruleset\n" + REJECT % ("udp", 53, ""))
    result = probe("input", "server", udp=53)
    assert (result.outcome, result.by) == ("rejected", "fw")


def test_to_itself(bed: KernelBed, probe: Probe) -> None:
    assert probe("server", "server", tcp=80).outcome == "refused"
    with bed.listen("server", 80):
        assert probe("server", "server", tcp=80).outcome == "open"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_probes_that_go_to_one_port_at_once_share_a_listener(probe: Probe, protocol: str) -> None:
    def one(_number: int) -> tuple[str, str | None]:
        result = probe("input", "server", listen=True, timeout=2.0, **{protocol: 4711})
        return result.outcome, result.listener

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(40))) == {("open", "ours")}
    assert probe("input", "server", **{protocol: 4711}).outcome == "refused"
