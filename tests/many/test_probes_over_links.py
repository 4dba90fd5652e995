"""Each outcome of `connect`, and traces, between containers: over every kind of link and both families."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.handles.results import ConnectResult
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.handles.trace_results import Trace
from pytest_sonemu.planning.plan import Address
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.static_image import static_image

BASE = "sonemu/vnf-base"
TWO_POPS = Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2", delay=0.001),))
HERE: dict[str, Any] = {"placement": {"fw": "pop1", "server": "pop1"}, "saps": {"input": {"pop": "pop1"}}}


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(TWO_POPS) as bed:
        yield bed


@pytest.fixture(scope="module", params=["direct", "relayed", "lan"])
def running(request: pytest.FixtureRequest, bed: TestBed) -> Iterator[Service]:
    """input - fw - server, which is one static program that listens on IPv4's port 80."""
    with static_image() as image:
        fw = NetworkFunction("fw", image=BASE)
        server = NetworkFunction("server", image=image, interfaces=["data"])
        sides = {"outside": ["input", "fw:input"], "inside": ["fw:output", "server:data"]}
        if request.param == "lan":
            made, how = NetworkService.of("lan", [fw, server], {}, lans=sides), HERE | {"routes": "all"}
        else:
            made, how = NetworkService.of(request.param, [fw, server], sides), HERE
        if request.param == "relayed":
            how = HERE | {"placement": {"fw": "pop2", "server": "pop1"}}
        service = bed.start(made, ipv6=True, **how)
        expected = "relayed" if request.param == "relayed" else "direct"
        assert {link.realisation for link in service.links.values()} == {expected}
        there = ("pop1", "pop2") if request.param == "relayed" else ("pop1",)
        assert (service.link("outside").path, service.link("inside").path) == (there, there[::-1])
        yield service
        service.stop()


@dataclass(frozen=True)
class Case:
    """One way of asking, on a view of the service."""

    service: Service
    protocol: str
    version: int

    def address(self, endpoint: str) -> Address:
        plan = next(each for each in self.service.plan.endpoints if each.id == endpoint)
        addresses = [address.ip for interface in plan.interfaces for address in interface.addresses]
        return next(address for address in addresses if address.version == self.version)

    def connect(self, target: Address | None = None, *, listen: bool = True) -> ConnectResult:
        where = target or self.address("server")
        return self.service.connect("input", where, listen=listen, timeout=0.3, **self.port)

    def trace(self) -> Trace:
        return self.service.trace("input", self.address("server"), listen=False, timeout=0.3, **self.port)

    @property
    def port(self) -> dict[str, Any]:
        return {self.protocol: 4000}

    @contextmanager
    def rule(self, verdict: str) -> Iterator[None]:
        fw, text = self.service.vnf("fw"), f"{self.protocol} dport 4000 {verdict}"
        text = f"table inet t {{ chain f {{ type filter hook forward priority 0; {text}; }}; }}"
        fw.exec(["nft", "-f", "-"], stdin=text, check=True)
        try:
            yield
        finally:
            fw.exec(["nft", "delete", "table", "inet", "t"], check=True)

    @contextmanager
    def without_routes(self) -> Iterator[None]:
        """The input knows its neighbours and nobody else."""
        sap = self.service.sap("input")

        def ip(*words: str) -> str:
            return sap.run("ip", f"-{self.version}", "route", *words).check().stdout

        routes = [line.split() for line in ip().splitlines() if " via " in line]
        for route in routes:
            ip("del", *route)
        try:
            yield
        finally:
            for route in routes:
                ip("add", *route)


@pytest.fixture(
    params=[("tcp", 4), ("tcp", 6), ("udp", 4), ("udp", 6)], ids=lambda how: f"{how[0]}-IPv{how[1]}"
)
def case(request: pytest.FixtureRequest, running: Service) -> Iterator[Case]:
    view = running.view()
    yield Case(view, *request.param)
    assert view.close_view() == ()


def test_it_arrives_or_nobody_listens(case: Case) -> None:
    opened = case.connect()
    assert (opened.outcome, opened.by, opened.listener) == ("open", "server", "ours")
    assert opened.path.open
    assert opened.path.there == ("fw:input", "fw:output", "server:data")
    refused = case.connect(listen=False)
    assert (refused.outcome, refused.by) == ("refused", "server")
    assert refused.path.open


def test_a_firewall_drops(case: Case) -> None:
    with case.rule("drop"):
        dropped = case.connect()
    assert (dropped.outcome, dropped.lost_at) == ("dropped", "fw")
    assert dropped.reason == "seen into fw:input, not out of fw"
    assert not dropped.path.open


def test_a_firewall_rejects(case: Case) -> None:
    with case.rule("reject"):
        rejected = case.connect()
    assert (rejected.outcome, rejected.by, rejected.path.ended_at) == ("rejected", "fw", "fw")
    assert rejected.reason == "fw sent back: port unreachable"
    assert rejected.duration < 0.2


def test_a_firewall_that_does_not_forward(case: Case) -> None:
    switch = "net.ipv4.ip_forward" if case.version == 4 else "net.ipv6.conf.all.forwarding"
    with case.service.undo():
        case.service.vnf("fw").sysctl(switch, 0)
        lost = case.connect()
    assert (lost.outcome, lost.lost_at) == ("dropped", "fw")
    assert case.connect().outcome == "open"


def test_a_route_is_missing_at_the_source(case: Case) -> None:
    with case.without_routes():
        stuck = case.connect()
    assert stuck.outcome == "no_route"
    assert stuck.reason == "input has no route there: Network is unreachable"
    assert stuck.duration < 0.1


def test_a_route_is_missing_on_the_way(case: Case) -> None:
    nowhere = ip_address("192.0.2.1" if case.version == 4 else "2001:db8::1")
    sap, fw = case.service.sap("input"), case.address("fw")
    words = ["ip", f"-{case.version}", "route"]
    sap.run(*words, "add", str(nowhere), "via", str(fw)).check()
    try:
        rejected = case.connect(nowhere, listen=False)
    finally:
        sap.run(*words, "del", str(nowhere)).check()
    assert (rejected.outcome, rejected.by, rejected.path.ended_at) == ("rejected", "fw", "fw")
    assert "unreachable" in rejected.reason or "no route" in rejected.reason


@pytest.mark.parametrize("how", [("tcp", 4), ("udp", 6)], ids=lambda how: f"{how[0]}-IPv{how[1]}")
@pytest.mark.parametrize(("stopped", "link"), [("fw", "outside"), ("server", "inside")])
def test_a_stopped_vnf(running: Service, how: tuple[str, int], stopped: str, link: str) -> None:
    view = running.view()
    case = Case(view, *how)
    before = {"fw": "input", "server": "fw"}[stopped]
    view.vnf(stopped).kill()
    for _ in range(2):
        lost = case.connect(listen=False)
        # Whether the station before it still knows its MAC decides where it ends.
        assert (lost.outcome, lost.lost_at) in {
            ("dropped", link), ("dropped", before), ("not_sent", before),
        }  # fmt: skip
        assert lost.reason.startswith(f"{stopped} has exited; ")
        trace = case.trace()
        assert trace.lost_at in (link, before)
        assert trace.reason.startswith(f"{stopped} has exited; ")
    view.vnf(stopped).start()
    assert case.connect().outcome == "open"
    assert view.close_view() == ()


def test_a_paused_server_keeps_silent(running: Service) -> None:
    view = running.view()
    assert view.connect("input", "server", tcp=80).outcome == "open"
    view.vnf("server").pause()
    answer = view.connect("input", "server", tcp=80)
    # Its kernel accepts for the program that stands still.
    assert answer.outcome == "open"
    trace = view.trace("input", "server", http=True, timeout=0.3)
    assert (trace.reached, trace.status) == (True, None)
    assert view.close_view() == ()


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_a_ping_that_may_not_be_cut(running: Service, version: int) -> None:
    server = Case(running, "tcp", version).address("server")
    assert running.ping("input", server, count=1, size=2000).loss == 0
    whole = running.ping("input", server, count=1, size=2000, df=True, timeout=0.2)
    assert whole.received == 0
    assert whole.error == "2000 bytes do not fit into one packet on this way"
    assert running.ping("input", server, count=1, size=1400, df=True).loss == 0


TRACED = ({"tcp": 4000}, {"udp": 4000}, {"icmp": True}, {"http": True, "tcp": 4000})


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("how", TRACED, ids="-".join)
def test_a_trace(running: Service, how: dict[str, Any], version: int) -> None:
    view = running.view()
    server = Case(view, "tcp", version).address("server")
    trace = view.trace("input", server, **how)
    assert trace.hops == ["fw:input", "fw:output", "server:data"]
    assert trace.back_hops == ["server:data", "fw:output", "fw:input"]
    assert (trace.reached, trace.answered, trace.rewritten) == (True, True, ())
    fw = view.vnf("fw")
    rules = """table inet t {
        chain f { type filter hook forward priority 0; iifname "output" drop; }
        chain p { type nat hook postrouting priority 100; oifname "output" masquerade; }
    }"""
    fw.exec(["nft", "-f", "-"], stdin=rules, check=True)
    try:
        lost = view.trace("input", server, timeout=0.3, **how)
    finally:
        fw.exec(["nft", "delete", "table", "inet", "t"], check=True)
    assert (lost.answered, lost.lost_at) == (False, "fw")
    # A connection is not opened before the answer has come: its first packet is followed.
    assert (lost.reached, lost.lost_way) == (True, "back")
    assert lost.rewritten[0].at == "fw"
    assert f"{server}" in lost.rewritten[0].after
    assert view.close_view() == ()
