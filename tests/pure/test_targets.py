"""What a name, a connection point, a handle or an address means as a target."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.targets import find_spot, find_target, name_of, planned_way, source_address
from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan
from tests.links.kernel_bed import PlanBuilder


@dataclass
class Handle:
    id: str


def endpoint(plan: DeploymentPlan, name: str) -> EndpointPlan:
    found = plan.endpoint(name)
    assert found is not None
    return found


def address(plan: DeploymentPlan, place: str, source: str) -> str:
    return str(find_target(plan, place, endpoint(plan, source)).address)


@pytest.fixture
def plan() -> DeploymentPlan:
    """input - fw - server, all three VNFs and a client on a management LAN, the client nowhere else."""
    builder = PlanBuilder(ipv6=True)
    builder.link("l-in", "input", "fw:input")
    builder.link("l-out", "fw:output", "server:data")
    builder.link("mgmt", "fw:mgmt", "server:mgmt", "client:mgmt", management=True)
    builder.route("input", "0.0.0.0/0", "10.30.0.2")
    builder.route("input", "10.30.1.0/24", "10.30.0.2")
    builder.route("server", "10.30.0.0/24", "10.30.1.1")
    return builder.build("fw")


@pytest.mark.parametrize(
    ("place", "source", "wanted"),
    [
        ("server", "input", "10.30.1.2"),  # routed to, beside a default route to the rest
        ("server", "fw", "10.30.1.2"),  # data before management, both are neighbours
        ("server", "client", "10.30.2.2"),  # only by management
        ("fw", "input", "10.30.0.2"),  # the neighbour before what lies behind it
        ("fw", "server", "10.30.1.1"),
        ("server:mgmt", "input", "10.30.2.2"),  # named, however it is reached
        ("input", "server", "10.30.0.1"),
        ("10.30.1.2", "input", "10.30.1.2"),
        ("192.0.2.7", "input", "192.0.2.7"),
        ("fd00:0:0:1::2", "input", "fd00:0:0:1::2"),
    ],
)
def test_the_address_that_the_source_is_led_to(
    plan: DeploymentPlan, place: str, source: str, wanted: str
) -> None:
    assert address(plan, place, source) == wanted


def test_families(plan: DeploymentPlan) -> None:
    assert str(find_target(plan, "input", family=6).address) == "fd00::1"
    assert str(find_target(plan, "input").address) == "10.30.0.1"


def test_who_has_an_address(plan: DeploymentPlan) -> None:
    target = find_target(plan, ip_address("10.30.1.2"))
    assert target.endpoint == "server"
    assert str(target.spot) == "server:data"
    assert find_target(plan, "192.0.2.7").endpoint is None
    assert name_of(plan, ip_address("10.30.0.2")) == "fw:input"
    assert name_of(plan, ip_address("192.0.2.7")) == "192.0.2.7"


def test_a_handle_is_its_id(plan: DeploymentPlan) -> None:
    assert find_spot(plan, Handle("fw:input")) == find_spot(plan, "fw:input")


def test_several_addresses_and_no_way_to_choose(plan: DeploymentPlan) -> None:
    with pytest.raises(
        ProbeError, match=r"fw has several addresses; name one: fw:input \(10.30.0.2\), fw:output"
    ):
        find_target(plan, "fw")
    builder = PlanBuilder()
    builder.link("a", "one", "two:a")
    builder.link("b", "three", "two:b")
    lonely = builder.build()
    with pytest.raises(ProbeError, match="routes of one do not lead to just one"):
        find_target(lonely, "two", EndpointPlan("one", "vnf", "pop1"))


def test_unknown_names_list_the_nearest_first(plan: DeploymentPlan) -> None:
    with pytest.raises(NotFoundError, match="no endpoint 'servr'; there are: server, "):
        find_spot(plan, "servr")
    with pytest.raises(NotFoundError, match="no connection point of fw 'outputt'; there are: output, "):
        find_spot(plan, "fw:outputt")


def test_no_address_says_why() -> None:
    builder = PlanBuilder()
    builder.transparent("ids")
    builder.link("a", "input", "ids:a")
    plan = builder.build()
    with pytest.raises(ProbeError, match="ids has no address; it is transparent"):
        find_target(plan, "ids")


def test_a_named_interface_is_where_a_probe_starts(plan: DeploymentPlan) -> None:
    v4, v6 = ip_address("10.30.1.2"), ip_address("fd00:0:0:1::2")
    assert source_address(find_spot(plan, "fw"), v4) is None
    assert source_address(find_spot(plan, "fw:output"), v4) == ip_address("10.30.1.1")
    assert source_address(find_spot(plan, "fw:output"), v6) == ip_address("fd00:0:0:1::1")


def test_planned_ways(plan: DeploymentPlan) -> None:
    source = endpoint(plan, "input")
    way = planned_way(source, ip_address("10.30.1.2"))
    assert way is not None
    assert (way.interface, way.prefix, str(way.gateway)) == ("input", 24, "10.30.0.2")
    assert planned_way(endpoint(plan, "client"), ip_address("10.30.1.2")) is None
