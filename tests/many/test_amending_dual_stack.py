"""What joins a running service whose links have IPv6 beside IPv4 speaks both at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.targets import find_target
from pytest_sonemu.planning.plan import Address
from tests.support.amended import THREE_POPS, what_is_there
from tests.support.static_program import static_image

BASE = "sonemu/vnf-base"
PLACES = {"client": {"pop": "pop1"}, "guest": {"pop": "pop2"}}


@pytest.fixture(scope="module")
def shared_bed() -> Iterator[TestBed]:
    with TestBed(THREE_POPS, seed=5) as bed:
        yield bed


@pytest.fixture(scope="module")
def shared(shared_bed: TestBed) -> Service:
    """A LAN over two PoPs, where `old` has refused IPv6, and a line of its own."""
    vnfs = [
        NetworkFunction("web", image=static_image(), interfaces=["lan"]),
        NetworkFunction("old", image=static_image(), interfaces=["lan"]),
        NetworkFunction("fw", image=BASE, interfaces=["in", "out"]),
    ]
    lans = {"lan": ["client", "web:lan", "old:lan", "guest"]}
    made = NetworkService.of("six", vnfs, {"near": ["user", "fw:in"], "far": ["fw:out", "end"]}, lans=lans)
    options = {"web": {"pop": "pop1", "ready": [80]}, "old": {"ipv6": False, "ready": [80]}}
    options["*"] = {"dirty_ignore": ["/data/events.json"]}  # servers write of their clients
    return shared_bed.start(made, ipv6=True, vnfs=options, saps=PLACES)


@pytest.fixture
def views(shared_bed: TestBed, shared: Service) -> Iterator[tuple[TestBed, Service]]:
    before = what_is_there(shared_bed, shared)
    bed, service = shared_bed.view(), shared.view()
    yield bed, service
    assert (*bed.close_view(), *service.close_view()) == ()
    assert what_is_there(shared_bed, shared) == before
    assert shared.dirty is None


def six(endpoint: Endpoint) -> Address:
    return find_target(endpoint._core.plan, endpoint.id, family=6).address


@pytest.mark.parametrize("pop", ["pop1", "pop3"])
def test_a_host_speaks_both(views: tuple[TestBed, Service], pop: str) -> None:
    bed, service = views
    host = bed.host("late", on=service.link("lan"), pop=pop)
    web = service.vnf("web")
    assert host.ping(six(web), 5, interval=0.001).loss == 0
    assert service.ping("guest", six(host)).loss == 0
    assert web.ping(six(host)).loss == host.ping("web").loss == 0
    assert host.http(f"http://[{six(web)}]/").text == host.http("http://web/").text == "hello\n"
    assert service.connect("late", six(web), tcp=81).outcome == "refused"


def test_a_host_at_an_ipv6_address_of_choice(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    lan = service.link("lan")
    (subnet,) = (subnet for subnet in lan.subnets if subnet.version == 6)
    host = bed.host("late", on=lan, address=str(subnet[0x77]))
    assert six(host) == subnet[0x77]
    assert service.ping("client", subnet[0x77]).loss == 0
    assert service.ping("client", host.ip("late")).loss == 0


@pytest.mark.parametrize("link", ["lan", "near"])
def test_a_tap_hears_both(views: tuple[TestBed, Service], link: str) -> None:
    bed, service = views
    source, target = ("guest", "web") if link == "lan" else ("user", "fw")
    ids = bed.container("ids", image=BASE, tap=service.link(link))
    to = find_target(service.plan, f"{target}:{'in' if link == 'near' else 'lan'}", family=6).address
    with ids.capture() as heard:
        assert service.ping(source, to, 2).loss == 0
        assert service.ping(source, f"{target}:{'in' if link == 'near' else 'lan'}", 2).loss == 0
        heard.wait_for(f"ip6 and icmp and host {to}", count=4)
        heard.wait_for("ip and icmp", count=4)
    # It only listens: of its own it says nothing, no solicitation and no report of groups.
    assert heard.count("ip6") == len(heard.matching("ip6", direction="in"))


def test_a_container_on_a_lan_speaks_both(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    made = bed.container("more", image=static_image(), on=service.link("lan"), ready=[80])
    assert service.sap("guest").http(f"http://[{six(made)}]/").text == "hello\n"
    assert made.ping(six(service.vnf("web"))).loss == 0


def test_replicas_speak_what_their_vnf_does(views: tuple[TestBed, Service]) -> None:
    _bed, service = views
    _web, second, third = service.scale("web", 3)
    for replica in (second, third):
        assert service.sap("guest").http(f"http://[{six(replica)}]/").text == "hello\n"
        assert service.ping("client", replica).loss == 0
    assert second.ping(six(third), 5, interval=0.001).loss == 0
    _old, other = service.scale("old", 2)
    assert [entry.version for entry in other._plan.interfaces[0].addresses] == [4]
    assert service.ping("client", other).loss == 0
    second.restart()
    assert service.ping("guest", six(second)).loss == 0
