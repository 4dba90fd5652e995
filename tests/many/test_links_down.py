"""Links, interfaces and PoP links are taken down and come back, with addresses and routes as they were."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.static_image import static_image

WHERE = {
    "input": {"pop": "pop1"},
    "x": {"pop": "pop1"},
    "y": {"pop": "pop1"},
    "z": {"pop": "pop2"},
    "far": {"pop": "pop2"},
}


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),))) as bed:
        yield bed


@pytest.fixture(scope="module")
def running(bed: TestBed) -> Iterator[Service]:
    """input - fw - server in one PoP, a LAN over both, and an E-Line from one to the other."""
    with static_image() as image:
        fw = NetworkFunction("fw", image=image)
        server = NetworkFunction("server", image=image, interfaces=["data"])
        links = {
            "outside": ["input", "fw:input"],
            "inside": ["fw:output", "server:data"],
            "across": ["near", "far"],
        }
        made = NetworkService.of("links", [fw, server], links, lans={"lan": ["x", "y", "z"]})
        service = bed.start(
            made, saps=WHERE | {"near": {"pop": "pop1"}}, placement={"fw": "pop1", "server": "pop1"}
        )
        # Said at once, not when the kernel gets round to it.
        assert all(interface.up for vnf in service.vnfs.values() for interface in vnf.interfaces)
        yield service
        service.stop()


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """What a test changed is changed back."""
    view = running.view()
    yield view
    assert view.close_view() == ()
    assert all(
        interface.up
        for endpoint in (*running.vnfs.values(), *running.saps.values())
        for interface in endpoint.interfaces
    )
    assert lost(running, "input", "server") == lost(running, "x", "z") == 0


def lost(service: Service, source: str, target: str) -> float:
    return service.endpoint(source).ping(target, count=1, timeout=0.2).loss


def test_both_ends_lose_their_carrier_and_nothing_else(service: Service) -> None:
    fw, server = service.vnf("fw"), service.vnf("server")
    before = {vnf.id: (vnf.interfaces[-1].addresses, vnf.run("ip", "route").stdout) for vnf in (fw, server)}
    link = service.link("inside")
    link.down()
    assert not fw.interface("output").is_up
    assert not server.interface("data").is_up
    assert fw.interface("input").is_up
    for vnf in (fw, server):
        addresses, routes = before[vnf.id]
        assert vnf.interfaces[-1].addresses == addresses
        assert vnf.run("ip", "route").stdout.replace(" linkdown", "") == routes
    assert lost(service, "input", "fw:input") == 0
    assert lost(service, "input", "server") == 1
    link.up()
    assert lost(service, "input", "server") == 0
    assert server.run("ip", "route").stdout == before["server"][1]
    link.up()


def test_an_interface_goes_down_alone(service: Service) -> None:
    service.sap("input").interface("input").down()
    assert not service.sap("input").interface("input").is_up
    assert service.vnf("fw").interface("input").is_up
    assert lost(service, "input", "fw:input") == 1
    assert lost(service, "fw", "server") == 0
    service.sap("input").interface("input").up()
    assert lost(service, "input", "fw:input") == 0


def test_frames_are_lost_and_nobody_notices(service: Service) -> None:
    with service.link("inside").down(carrier=False):
        assert service.vnf("fw").interface("output").is_up
        assert service.vnf("server").interface("data").is_up
        trace = service.trace("input", "server", tcp=80, timeout=0.3)
        assert (trace.hops, trace.lost_at) == (["fw:input", "fw:output"], "inside")
    assert lost(service, "input", "server") == 0


@pytest.mark.parametrize("carrier", [True, False])
def test_a_lan_is_taken_down(service: Service, carrier: bool) -> None:
    service.link("lan").down(carrier=carrier)
    assert lost(service, "x", "y") == lost(service, "x", "z") == 1
    assert service.sap("x").interface("x").is_up is not carrier
    service.link("lan").up()
    assert lost(service, "x", "y") == lost(service, "x", "z") == 0


def test_a_pop_link_parts_a_lan_and_breaks_an_e_line(bed: TestBed, service: Service) -> None:
    with bed.link("pop1", "pop2").down():
        assert lost(service, "x", "y") == 0
        assert lost(service, "x", "z") == lost(service, "z", "y") == 1
        assert lost(service, "near", "far") == lost(service, "far", "near") == 1
        assert lost(service, "input", "server") == 0
        assert service.sap("far").interface("far").is_up
        assert service.sap("z").interface("z").is_up
    assert lost(service, "x", "z") == lost(service, "near", "far") == 0


def test_a_pop_link_says_where_it_is_and_whom_it_joins(bed: TestBed, service: Service) -> None:
    link = bed.link("pop2", "pop1")
    assert link.path == ("pop1", "pop2")
    crossing = [service.link(each.partition("/")[2]) for each in link.virtual_links]
    assert {"lan", "across"} <= {each.id for each in crossing}
    assert link.endpoints == tuple(
        f"{service.plan.instance}/{end}" for each in crossing for end in each.endpoints
    )


def test_a_pop_link_s_capture_is_its_virtual_links(bed: TestBed, service: Service) -> None:
    service.ping("x", "z")
    service.ping("near", "far")
    with bed.link("pop1", "pop2").capture("icmp") as capture:
        service.ping("x", "z", count=1)
        service.ping("x", "y", count=1)
        service.ping("near", "far", count=1)
    assert [packet.at for packet in capture] == ["pop1", "pop2"] * 2 + ["near", "far"] * 2


def test_two_causes_need_two_mends(bed: TestBed, service: Service) -> None:
    service.link("across").down()
    bed_link = bed.link("pop1", "pop2")
    bed_link.down()
    bed_link.down()
    service.link("across").up()
    assert service.sap("far").interface("far").is_up
    assert lost(service, "near", "far") == 1
    bed_link.up()
    assert lost(service, "near", "far") == 0


def test_a_cut_outlives_a_restart(service: Service) -> None:
    service.link("inside").down()
    service.link("outside").down(carrier=False)
    service.vnf("fw").restart()
    assert not service.vnf("fw").interface("output").is_up
    assert service.vnf("fw").interface("input").is_up
    assert lost(service, "input", "fw:input") == 1
    service.link("outside").up()
    assert lost(service, "input", "fw:input") == 0
    service.link("inside").up()
    assert lost(service, "input", "server") == 0


def test_the_undo_of_a_block_brings_up_what_is_down(service: Service) -> None:
    with service.undo():
        service.link("inside").down()
        service.vnf("fw").interface("input").down()
        assert lost(service, "input", "fw:input") == 1
    assert lost(service, "input", "server") == 0


def test_a_link_is_back_at_once(service: Service) -> None:
    """Who asked for a neighbour in vain would ask again only after a second."""
    for sap, target in (("input", "fw:input"), ("x", "y"), ("near", "far")):
        interface = service.sap(sap).interface(sap)
        for _ in range(3):
            interface.down()
            assert lost(service, sap, target) == 1
            began = time.monotonic()
            interface.up()
            assert service.endpoint(sap).ping(target, count=1, timeout=2, interval=0.01).received == 1
            assert time.monotonic() - began < 0.8, sap


def test_a_lost_carrier_is_noticed_at_once(service: Service) -> None:
    """By the routes too: a kernel is late where the two ends of a pair have the same index."""
    for sap in service.saps.values():
        for line in sap.run(["ip", "-o", "link", "show", "type", "veth"]).stdout.splitlines():
            own, peer = re.match(r"(\d+): [^@]+@if(\d+)", line).groups()  # type: ignore[union-attr]
            assert own != peer, line
    sap = service.sap("input")
    assert "linkdown" not in sap.run(["ip", "route"]).stdout
    times = []
    for _ in range(3):
        with sap.interface("input").down():
            began = time.monotonic()
            while "linkdown" not in sap.run(["ip", "route"]).stdout:
                assert time.monotonic() - began < 5
            times.append(time.monotonic() - began)
    assert min(times) < 0.5, times


def test_an_unknown_interface_is_named(service: Service) -> None:
    with pytest.raises(NotFoundError, match="output"):
        service.vnf("fw").interface("outptu")
