"""Two services on one bed whose SAPs become one link, and two again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.errors import PlanningError, ProbeError, SettingsError
from pytest_sonemu.handles.service import Service
from tests.support.amended import THREE_POPS, every_kind, what_is_there
from tests.support.static_program import static_image

BASE = "sonemu/vnf-base"
HARMLESS = Path(__file__).parents[2] / "docs" / "how_to" / "harmless.pcap"
FIRST = NetworkService.chain("user", NetworkFunction("fw", image=BASE), "out", name="first")
SECOND = NetworkService.chain(
    "in",
    NetworkFunction("lb", image=BASE),
    NetworkFunction("server", image=static_image(), interfaces=["data"]),
    name="second",
)
AT_HOME = {"saps": {"user": {"pop": "pop1"}, "out": {"pop": "pop1"}}, "vnfs": {"fw": {"pop": "pop1"}}}
FAR = {
    "saps": {"in": {"pop": "pop3"}},
    "vnfs": {"lb": {"pop": "pop3"}, "server": {"pop": "pop3", "ready": [80]}},
}


@pytest.fixture(scope="module")
def shared_bed() -> Iterator[TestBed]:
    with TestBed(THREE_POPS, seed=5) as bed:
        yield bed


@pytest.fixture(scope="module")
def both(shared_bed: TestBed) -> tuple[Service, Service]:
    return shared_bed.start(FIRST, **AT_HOME), shared_bed.start(SECOND, **FAR)


@pytest.fixture
def views(shared_bed: TestBed, both: tuple[Service, Service]) -> Iterator[tuple[TestBed, Service, Service]]:
    """Views whose end leaves two services as they were."""
    before = [what_is_there(shared_bed, service) for service in both]
    plans = [service.plan for service in both]
    bed, first, second = shared_bed.view(), both[0].view(), both[1].view()
    yield bed, first, second
    assert (*first.close_view(), *second.close_view(), *bed.close_view()) == ()
    assert [service.plan for service in both] == plans
    for service, was in zip(both, before, strict=True):
        now = what_is_there(shared_bed, service)
        assert {name: now[name] for name in now if now[name] != was[name]} == {}
    assert (both[0].dirty, both[1].dirty) == (None, None)
    assert both[0].ping("user", "out").loss == 0
    assert both[1].connect("in", "server", tcp=80).outcome == "open"


def test_what_leaves_the_one_comes_in_at_the_other(views: tuple[TestBed, Service, Service]) -> None:
    bed, first, second = views
    server = second.vnf("server")
    link = bed.join(first.sap("out"), second.sap("in"))
    assert first.sap("user").http(f"http://{server.ip()}/").text == "hello\n"
    # Over the PoP link of 5 ms that lies between the two VNFs.
    assert (link.pop_links, link.realisation) == (("pop1-pop2", "pop2-pop3"), "relayed")
    assert first.sap("user").ping(server).rtt.min >= 0.0095
    result = first.connect("user", server, tcp=80)
    assert (result.outcome, result.target) == ("open", "second/server")
    assert first.connect("user", server, tcp=81).outcome == "refused"
    listening = first.connect("user", server, tcp=81, listen=True)
    assert (listening.outcome, listening.listener) == ("open", "ours")
    trace = first.trace("user", server, tcp=80)
    assert trace.hops == [
        "fw:input",
        "fw:output",
        "second/lb:input",
        "second/lb:output",
        "second/server:data",
    ]
    back = second.trace("server", first.sap("user"), icmp=True)
    assert back.hops == ["lb:output", "lb:input", "first/fw:output", "first/fw:input", "first/user"]
    assert second.ping("lb", first.vnf("fw")).loss == 0
    with pytest.raises(ProbeError, match="out has no address"):
        first.ping("user", "out")


def test_flows_and_policies_reach_the_other_service(views: tuple[TestBed, Service, Service]) -> None:
    bed, first, second = views
    server = second.vnf("server")
    bed.join(first.sap("out"), second.sap("in"))
    for how in ({"udp": 5000}, {"tcp": 5000}, {"http": True}):
        with first.flow("user", server, **how) as flow:
            flow.wait_until_flowing()
        assert flow.loss == 0
        assert set(flow.by_server) <= {"second/server"}, flow
    with first.flow("user", "second/server", udp=5000) as flow:
        flow.wait_until_flowing()
        server.restart()
        flow.wait_until_flowing()
    for source, target in (("second/server", "user"), (server, first.sap("user"))):
        with first.flow(source, target, udp=5000) as flow:
            flow.wait_until_flowing()
        assert (flow.loss, set(flow.by_server)) == (0, {"user"})
    with second.flow("server", first.sap("user"), tcp=5000) as flow:
        flow.wait_until_flowing()
        server.restart()
        flow.wait_until_flowing()
    assert set(flow.by_server) == {"first/user"}
    rows = [
        ("user", "second/server", "tcp", 80, "allow"),
        ("user", "second/server", "udp", 53, "allow"),
        ("user", "second/server", "icmp", "-", "allow"),
    ]
    result = first.policy(rows)
    assert result.ok, result
    with second.link("link-1").down():
        # One link of two names: this service's is link-2.
        seen = [row.seen for row in first.policy(rows, timeout=0.2).rows]
        assert seen == ["dropped, lost at link-2", "dropped, lost at link-2", "dropped"]
    with pytest.raises(ProbeError, match="second/server: a replay stays within one service"):
        first.replay(HARMLESS, {"192.0.2.1": "user", "192.0.2.80": "second/server"})


def test_each_neighbour_has_the_address_of_the_sap_that_was_known(
    views: tuple[TestBed, Service, Service],
) -> None:
    bed, first, second = views
    out, inner = first.sap("out").ip(), second.sap("in").ip()
    own = first.vnf("fw").ip("output"), second.vnf("lb").ip("input")
    bed.join(first.sap("out"), second.sap("in"))
    assert (first.vnf("fw").ip("output"), second.vnf("lb").ip("input")) == own
    assert {str(address.ip) for address in first.vnf("fw").interface("output").addresses} == {
        str(own[0]),
        str(inner),
    }
    assert first.ping("fw", out).loss == 0
    assert second.ping("lb", inner).loss == 0


def test_it_is_a_link_like_any_other(views: tuple[TestBed, Service, Service]) -> None:
    bed, first, second = views
    server = second.vnf("server")
    link = bed.join(first.sap("out"), second.sap("in"))
    before = link.stats()
    with link.capture("icmp") as seen:
        first.ping("user", server, count=1)
    assert len(seen.packets) == 4
    assert link.stats().packets > before.packets
    with link.impair(delay="10ms"):
        assert first.ping("user", server).rtt.min >= 0.029
    other = second.link("link-1")
    with other.impair(loss="100%"):
        assert first.ping("user", server, count=1, timeout=0.2).loss == 1
        lost = first.connect("user", server, tcp=80, timeout=0.3)
        assert lost.outcome == "dropped"
    with link.down():
        assert first.ping("user", server, count=1, timeout=0.2).loss == 1
    assert first.ping("user", server).loss == 0


@pytest.mark.parametrize("which", ["fw", "lb"])
def test_it_outlives_restarts(views: tuple[TestBed, Service, Service], which: str) -> None:
    bed, first, second = views
    bed.join(first.sap("out"), second.sap("in"))
    (first if which == "fw" else second).vnf(which).restart()
    assert first.ping("user", second.vnf("server")).loss == 0
    assert first.connect("user", second.vnf("server"), tcp=80).outcome == "open"


def test_near_each_other_it_is_direct(views: tuple[TestBed, Service, Service]) -> None:
    bed, first, _second = views
    third = bed.start(SECOND, vnfs={"lb": {"pop": "pop1"}, "server": {"pop": "pop1", "ready": [80]}})
    link = bed.join(third.sap("in"), first.sap("out"))
    assert link.realisation == "direct"
    assert first.sap("user").ping(third.vnf("server")).rtt.min < 0.005
    assert first.connect("user", third.vnf("server"), tcp=80).outcome == "open"
    third.stop()  # before it is parted: the pair was its own


def test_what_cannot_be_joined(views: tuple[TestBed, Service, Service]) -> None:
    bed, first, second = views
    lan = bed.start(every_kind())
    with pytest.raises(PlanningError, match="'lan' is an E-LAN"):
        bed.join(first.sap("out"), lan.sap("client"))
    with pytest.raises(PlanningError, match="are of one service"):
        bed.join(first.sap("out"), first.sap("user"))
    with pytest.raises(SettingsError, match="takes two SAPs"):
        bed.join(first.sap("out"), second.vnf("lb"))  # type: ignore[arg-type]
    bed.join(first.sap("out"), second.sap("in"))
    with pytest.raises(PlanningError, match="joined already"):
        bed.join(first.sap("out"), lan.sap("user"))
