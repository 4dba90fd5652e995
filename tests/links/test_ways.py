"""`connect` where the way is not a plain chain: translation, LANs, transparent VNFs, proxies, IPv6."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from pytest_sonemu.handles.connect import connect
from pytest_sonemu.handles.observer import Observer
from pytest_sonemu.handles.results import ConnectResult
from tests.links.kernel_bed import KernelBed, PlanBuilder, firewall_plan
from tests.support.patience import PROBE_SECONDS


def probe(bed: KernelBed, source: str, target: str, **options: object) -> ConnectResult:
    with closing(Observer(bed)) as observer:
        options.setdefault("timeout", PROBE_SECONDS)
        return connect(bed, observer, bed.plan, source, target, **options)  # type: ignore[arg-type]


@pytest.mark.kernel
def test_ipv6() -> None:
    with KernelBed(firewall_plan(ipv6=True)) as bed:
        assert probe(bed, "input", "server", tcp=80, family=6).outcome == "refused"
        assert probe(bed, "input", "server", udp=80, family=6).outcome == "refused"
        assert probe(bed, "input", "server", tcp=80, family=6, listen=True).outcome == "open"
        assert probe(bed, "input", "server", udp=80, family=6, listen=True).outcome == "open"
        bed.spaces["fw"].nft(
            "table ip6 t { chain c { type filter hook forward priority 0;"
            " tcp dport 23 reject; tcp dport 24 drop; }; }"
        )
        rejected = probe(bed, "input", "server", tcp=23, family=6)
        assert (rejected.outcome, rejected.by) == ("rejected", "fw")
        dropped = probe(bed, "input", "server", tcp=24, family=6)
        assert (dropped.outcome, dropped.lost_at) == ("dropped", "fw")
        bed.stop("server")
        bed.spaces["fw"].run("ip", "-6", "neigh", "flush", "dev", "output")
        lost = probe(bed, "input", "server", tcp=80, family=6)
        assert (lost.outcome, lost.lost_at) == ("dropped", "fw")
        assert "asks for the MAC of fd00:0:0:1::2" in lost.reason


@pytest.mark.kernel
def test_source_translation_does_not_hide_the_packet() -> None:
    with KernelBed(firewall_plan()) as bed:
        bed.spaces["fw"].nft(
            "table ip t { chain c { type nat hook postrouting priority 100;"
            " oifname output masquerade random; }; }"
        )
        with bed.listen("server", 80):
            result = probe(bed, "input", "server", tcp=80)
        assert result.outcome == "open"
        assert result.path.there == ("fw:input", "fw:output", "server:data")
        assert result.path.back == ("server:data", "fw:output", "fw:input")
        assert probe(bed, "input", "server", udp=4000).outcome == "refused"


def test_a_balancer_answers_with_its_servers_voice() -> None:
    with KernelBed(firewall_plan()) as bed:
        bed.spaces["fw"].nft(
            "table ip t { chain c { type nat hook prerouting priority -100;"
            " tcp dport 80 dnat to 10.30.1.2:8080; }; }"
        )
        with bed.listen("server", 8080):
            result = probe(bed, "input", "fw:input", tcp=80)
        assert (result.outcome, result.by) == ("open", "server")
        assert result.path.there == ("fw:input", "fw:output", "server:data")
        result = probe(bed, "input", "fw:input", tcp=80)
        assert (result.outcome, result.by) == ("rejected", "server")


def test_a_proxy_in_the_servers_place_is_not_the_server() -> None:
    with KernelBed(firewall_plan()) as bed:
        bed.spaces["fw"].nft(
            "table ip t { chain c { type nat hook prerouting priority -100;"
            " tcp dport 80 redirect to :3128; }; }"
        )
        with bed.listen("fw", 3128), bed.listen("server", 80):
            result = probe(bed, "input", "server", tcp=80)
        assert (result.outcome, result.by, result.lost_at) == ("dropped", "fw", "fw")
        assert "in server's place" in repr(result)


def test_an_address_that_nobody_was_given_is_his_who_answers() -> None:
    with KernelBed(firewall_plan()) as bed:
        bed.spaces["server"].run("ip", "addr", "add", "10.30.1.100/24", "dev", "data")
        with bed.listen("server", 80):
            result = probe(bed, "input", "10.30.1.100", tcp=80)
        assert (result.outcome, result.by) == ("open", "server")


@pytest.mark.kernel
def test_flooded_frames_of_a_lan_are_not_a_way() -> None:
    builder = PlanBuilder()
    builder.link("lan", "a:lan", "b:lan", "c:lan", "d:lan")
    with KernelBed(builder.build()) as bed:
        # Nobody has learned where b is: its frames go to all.
        bed.spaces["a"].run("ip", "neigh", "add", "10.30.0.2", "lladdr", "02:00:00:00:00:02", "dev", "lan")
        bed.spaces["b"].nft("table ip t { chain c { type filter hook input priority 0; drop; }; }")
        result = probe(bed, "a", "b", tcp=80)
        assert result.outcome == "unanswered"
        assert result.path.there == ("b:lan",)
        bed.stop("b")
        result = probe(bed, "a", "b", tcp=80)
        assert (result.outcome, result.lost_at) == ("dropped", "lan")


@pytest.mark.kernel
def test_through_a_transparent_vnf() -> None:
    builder = PlanBuilder()
    builder.transparent("ids")
    builder.link("l-1", "input", "ids:in", subnet=0)
    builder.link("l-2", "ids:out", "output", subnet=0)
    plan = builder.build()
    with KernelBed(plan) as bed:
        bed.spaces["output"].run("ip", "addr", "add", "10.30.0.9/24", "dev", "output")
        bed.spaces["ids"].run(
            "ip",
            "-batch",
            "-",
            text="link add br0 up type bridge\nlink set in master br0\nlink set out master br0\n",
        )
        result = probe(bed, "input", "10.30.0.9", tcp=80)
        assert result.path.there == ("ids:in", "ids:out", "output")
        assert (result.outcome, result.by) == ("refused", "output")
        bed.spaces["ids"].run("ip", "link", "set", "out", "down")
        result = probe(bed, "input", "10.30.0.9", tcp=80)
        assert (result.outcome, result.lost_at) == ("dropped", "ids")


def test_many_probes_at_once_each_see_their_own() -> None:
    with KernelBed(firewall_plan()) as bed, closing(Observer(bed)) as observer:
        bed.spaces["fw"].nft(
            "table inet t { chain c { type filter hook forward priority 0;"
            " th dport { 1000-1015 } drop; th dport { 2000-2015 } reject; }; }"
        )
        wanted = {1000: "dropped", 2000: "rejected", 3000: "refused"}

        def one(port: int) -> tuple[int, str]:
            protocol = "tcp" if port % 2 else "udp"
            result = connect(bed, observer, bed.plan, "input", "server", timeout=0.5, **{protocol: port})  # type: ignore[arg-type]
            return port, result.outcome

        ports = [base + offset for offset in range(16) for base in wanted]
        with ThreadPoolExecutor(max_workers=16) as pool:
            outcomes = dict(pool.map(one, ports))
        assert outcomes == {port: wanted[port - port % 1000] for port in ports}
        assert observer._watches == []


def test_other_traffic_is_not_taken_for_the_probe() -> None:
    """A program of the test's own connects to the same port meanwhile, and is let through."""
    with KernelBed(firewall_plan()) as bed, bed.listen("server", 80):
        bed.spaces["fw"].nft(
            "table ip t { chain c { type filter hook forward priority 0;"
            " ip saddr 10.30.0.1 tcp dport 80 drop; }; }"
        )
        bed.spaces["input"].run("ip", "addr", "add", "10.30.0.77/24", "dev", "input")
        stop = threading.Event()

        def others() -> int:
            count = 0
            while not stop.is_set() and count < 100:  # more do not fit into the listener's queue
                with bed.spaces["input"].socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                    sock.bind(("10.30.0.77", 0))
                    sock.connect(("10.30.1.2", 80))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                count += 1
            return count

        with ThreadPoolExecutor(max_workers=1) as pool:
            counted = pool.submit(others)
            try:
                result = probe(bed, "input", "server", tcp=80)
            finally:
                stop.set()
            assert counted.result() > 3
        assert (result.outcome, result.lost_at) == ("dropped", "fw")
