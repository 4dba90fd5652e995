"""A plan made another one: what the change leaves is what a start with the other plan would have made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.batches import fabric_batches
from pytest_sonemu.planning.containers import other_container
from pytest_sonemu.planning.describe import describe
from pytest_sonemu.planning.difference import (
    Difference,
    FabricChange,
    Scene,
    difference,
    forgetting,
    inside_batches,
    inside_sysctls,
    strangers,
)
from pytest_sonemu.planning.draw import as_dot, as_mermaid
from pytest_sonemu.planning.growing import with_endpoint, with_host, with_tap, without
from pytest_sonemu.planning.option_models import VnfOptions
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, EndpointPlan, RoutePlan, UplinkPlan
from pytest_sonemu.planning.scaling import scaled
from pytest_sonemu.planning.splicing import parted, seen_together, side, spliced
from pytest_sonemu.reports.picture import picture
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.pure.services import IMAGE, function, plan
from tests.support.fabric_model import FabricModel

FOUR = Topology(
    tuple(PoP(f"p{number}") for number in range(1, 5)),
    (PopLink("p1", "p2"), PopLink("p2", "p3", delay=0.01), PopLink("p2", "p4")),
)


def service() -> NetworkService:
    """A line, a LAN, a tree, and an interface in two links."""
    return NetworkService.of(
        "every",
        [
            function("fw", "input", "output"),
            function("web", "lan"),
            function("hub", "port"),
            function("leaf", "port"),
        ],
        {"near": ["user", "fw:input"], "far": ["fw:output", "hub:port"]},
        lans={"lan": ["client", "web:lan", "guest"], "second": ["hub:port", "leaf:port"]},
    )


def base(**options: Any) -> DeploymentPlan:
    return plan(service(), FOUR, saps={"guest": {"pop": "p2"}, "client": {"pop": "p1"}}, **options)


def space(endpoint: str) -> str:
    return f"/{endpoint}"


def turned(old: DeploymentPlan, new: DeploymentPlan, relayed: Collection[str] = ()) -> FabricModel:
    """The fabric of `old` made that of `new`, as the keeper does it."""
    model = FabricModel()
    model.run(fabric_batches(old, space, relayed=relayed))
    what = difference(old, new)
    for name in what.replaced:
        # Their ends went with their containers.
        endpoint = old.endpoint(name)
        assert endpoint is not None
        for interface in endpoint.interfaces:
            model.remove(interface.outer)
    scene = Scene(
        fresh=[*what.added, *what.replaced], absent=(), there=set(model.devices), relayed=(relayed, relayed)
    )
    change = FabricChange(old, new, scene)
    model.run(change.batches(space))
    for name in change.gone:
        model.remove(name)
    return model


def started(made: DeploymentPlan, relayed: Collection[str] = ()) -> FabricModel:
    model = FabricModel()
    model.run(fabric_batches(made, space, relayed=relayed))
    return model


CONTAINER = next(e.container for e in base().endpoints if e.container is not None)
STEPS = st.one_of(
    st.tuples(st.just("host"), st.sampled_from(["lan", "second"]), st.sampled_from([None, "p1", "p3", "p4"])),
    st.tuples(st.just("tap"), st.sampled_from(["near", "far", "lan", "second"]), st.none()),
    st.tuples(st.just("scale"), st.sampled_from([1, 2, 4]), st.none()),
    st.tuples(st.just("update"), st.sampled_from(["fw", "web", "hub"]), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 9), st.none()),
)


def after(
    made: DeploymentPlan, steps: list[tuple[str, object, str | None]], start: int = 0
) -> DeploymentPlan:
    for number, (step, what, pop) in enumerate(steps, start):
        if step == "host":
            made = with_host(made, FOUR, f"host{number}", str(what), pop=pop)
        elif step == "tap":
            container = replace(CONTAINER, name=f"tap{number}")
            made = with_tap(made, FOUR, f"tap{number}", str(what), container)
        elif step == "scale":
            assert isinstance(what, int)
            made = scaled(made, FOUR, "web", what, Allocations())
        elif step == "update":
            made = updated(made, str(what), f"{number}")
        else:
            added = [e.id for e in made.endpoints if e.kind == "host"]
            assert isinstance(what, int)
            made = without(made, FOUR, set(added[what : what + 1]))
    return made


def updated(made: DeploymentPlan, name: str, value: str) -> DeploymentPlan:
    endpoint = made.endpoint(name)
    assert endpoint is not None
    assert endpoint.container is not None
    return with_endpoint(
        made,
        replace(
            endpoint, container=other_container(name, endpoint.container, None, VnfOptions(env={"N": value}))
        ),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=4), st.lists(STEPS, max_size=3), st.booleans())
def test_a_change_leaves_what_a_start_makes(
    first: list[tuple[str, object, str | None]],
    second: list[tuple[str, object, str | None]],
    relayed: bool,
) -> None:
    old = after(base(), first)
    new = after(old, second, 10)
    lines = ("near",) if relayed else ()
    for one, other in ((old, new), (new, old)):
        assert turned(one, other, lines).state == started(other, lines).state


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS.filter(lambda step: step[0] in ("host", "tap", "scale")), max_size=4))
def test_what_came_and_went_leaves_the_plan_as_it_was(steps: list[tuple[str, object, str | None]]) -> None:
    old = base()
    grown = after(old, steps)
    back = scaled(grown, FOUR, "web", 1, Allocations())
    back = without(back, FOUR, {e.id for e in back.endpoints if e.kind == "host"})
    assert back == old


def test_nothing_differs_where_nothing_is_another() -> None:
    made = base()
    assert difference(made, made) == Difference()
    scene = Scene(fresh=(), absent=(), there=set(started(made).devices))
    assert FabricChange(made, made, scene).batches(space) == []
    for endpoint in made.endpoints:
        assert inside_batches(endpoint, endpoint) == []
        assert inside_sysctls(endpoint, endpoint) == []


def test_a_member_that_joins_touches_no_port_of_another() -> None:
    old = base()
    new = with_host(old, FOUR, "late", "lan")
    scene = Scene(fresh=["late"], absent=(), there=set(started(old).devices))
    lines = [line for batch in FabricChange(old, new, scene).batches(space) for line in batch.lines]
    (made,) = [e.interfaces[0] for e in new.endpoints if e.id == "late"]
    assert all(made.outer in line for line in lines)


def test_a_port_that_the_relay_holds_is_left_to_it() -> None:
    old = base()
    web = endpoint(old, "web").interfaces[0].outer
    new = with_host(old, FOUR, "late", "lan", pop="p3")
    scene = Scene(fresh=["late"], absent=(), there=set(started(old).devices), loose=[web])
    lines = [line for batch in FabricChange(old, new, scene).batches(space) for line in batch.lines]
    assert not any(web in line for line in lines)


def test_what_is_not_running_is_not_wired() -> None:
    old = base()
    new = updated(with_tap(old, FOUR, "ids", "near", CONTAINER), "web", "1")
    fw, ids = endpoint(old, "fw").interfaces[0].outer, endpoint(new, "ids").interfaces[0].outer
    there = {name for name in started(old).devices if name != fw}
    scene = Scene(fresh=["ids"], absent=["fw"], there=there)
    lines = [line for batch in FabricChange(old, new, scene).batches(space) for line in batch.lines]
    assert not any(fw in line for line in lines)
    assert any(f"mirror dev {ids}" in line for line in lines)


def endpoint(made: DeploymentPlan, name: str) -> EndpointPlan:
    found = made.endpoint(name)
    assert found is not None
    return found


def test_inside_only_what_differs_is_said() -> None:
    old = endpoint(base(), "web")
    (interface,) = old.interfaces
    more = replace(interface, addresses=(*interface.addresses, IPv4Interface("10.99.0.1/24")))
    route = RoutePlan(IPv4Network("10.98.0.0/24"), IPv4Address("10.99.0.2"), "lan")
    new = replace(
        old, interfaces=(more,), routes=(*old.routes, route), sysctls=(("net.ipv4.ip_forward", "1"),)
    )
    (batch,) = inside_batches(old, new)
    assert batch.lines == (
        "addr add 10.99.0.1/24 dev lan",
        "route add 10.98.0.0/24 via 10.99.0.2 dev lan metric 4096",
    )
    (back,) = inside_batches(new, old)
    assert back.lines == (
        "route del 10.98.0.0/24 via 10.99.0.2 dev lan metric 4096",
        "addr del 10.99.0.1/24 dev lan",
    )
    assert inside_sysctls(old, new) == [("net.ipv4.ip_forward", "1")]
    assert inside_sysctls(new, old) == [("net.ipv4.ip_forward", "0")]


def test_who_loses_a_neighbour_forgets_it() -> None:
    old = with_host(base(), FOUR, "late", "lan")
    new = without(old, FOUR, {"late"})
    assert strangers(old, new) == {"client": ["client"], "web": ["lan"], "guest": ["guest"]}
    assert strangers(new, old) == {}
    assert forgetting(["lan"]).lines == ("neigh flush dev lan",)


def test_a_running_instance_keeps_what_it_is() -> None:
    made = base()
    with pytest.raises(PlanningError, match="keeps its number"):
        difference(made, replace(made, number=9))
    twice = replace(made, endpoints=(*made.endpoints, made.endpoints[0]))
    with pytest.raises(PlanningError, match="two endpoints of one name"):
        difference(made, twice)
    out = with_endpoint(made, replace(endpoint(made, "user"), uplink=UplinkPlan("nat", "out")))
    with pytest.raises(PlanningError, match="the way out of 'user'"):
        difference(made, out)
    assert difference(out, out) == Difference()
    sap = with_endpoint(made, replace(endpoint(made, "web"), container=None))
    with pytest.raises(PlanningError, match="'web' cannot become something else"):
        difference(made, sap)


# -- updates, replicas ------------------------------------------------------------------------------


def test_another_image_has_its_own_command_and_a_given_one_stays() -> None:
    now = endpoint(base(), "web").container
    assert now is not None
    other = replace(IMAGE, id="sha256:2", entrypoint=("/serve",), command=("-p", "80"))
    assert other_container("web", now, other, VnfOptions()).argv == ("/serve", "-p", "80")
    given = other_container("web", now, None, VnfOptions(command=("sleep", "9")))
    assert given.argv == ("sleep", "9")
    assert other_container("web", given, other, VnfOptions()).argv == ("/serve", "sleep", "9")
    script = other_container("web", now, other, VnfOptions(env={"SON_EMU_CMD": "./start.sh"}))
    assert (script.argv, script.entry_script) == (None, "./start.sh")
    assert dict(script.environment)["VNF_NAME"] == "web"


@pytest.mark.parametrize(
    ("vnf_id", "count", "why"),
    [
        ("fw", 2, "its interface 'input' is in E-Line 'near'"),
        ("hub", 2, "'far', which has just two ends"),
        ("leaf", 0, "cannot be scaled to 0"),
        ("client", 2, "no VNF 'client'"),
        ("web.2", 2, "is a replica itself; scale 'web'"),
    ],
)
def test_what_cannot_be_scaled(vnf_id: str, count: int, why: str) -> None:
    made = scaled(base(), FOUR, "web", 2, Allocations())
    with pytest.raises(PlanningError, match=why):
        scaled(made, FOUR, vnf_id, count, Allocations())


def test_replicas_have_names_numbers_and_places_of_their_own() -> None:
    taken = Allocations(container_names=("sonemu-bed-web.2",))
    made = scaled(base(vnfs={"web": {"memory": "64MiB"}}), FOUR, "web", 3, taken)
    web, second, third = (endpoint(made, name) for name in ("web", "web.2", "web.3"))
    assert len({e.interfaces[0].mac for e in (web, second, third)}) == 3
    assert len({e.interfaces[0].outer for e in made.endpoints if e.interfaces}) == len(made.endpoints)
    assert second.container is not None
    assert second.container.name.endswith("web.2-2")
    assert dict(second.container.environment)["VNF_NAME"] == "web.2"
    assert second.container.memory == 64 * 2**20
    assert ("web.3", third.interfaces[0].addresses[0].ip) in endpoint(made, "guest").hosts


# -- joined services --------------------------------------------------------------------------------


def two() -> tuple[DeploymentPlan, DeploymentPlan]:
    one = plan(NetworkService.chain("in", NetworkFunction("fw", image="a"), "out"), FOUR)
    allocations = Allocations(
        next_number=2,
        instances=(one.instance,),
        networks=tuple(subnet for link in one.links for subnet in link.subnets),
    )
    chain = NetworkService.chain("in", NetworkFunction("lb", image="a"), NetworkFunction("server", image="a"))
    other = plan(replace(chain, name="second"), FOUR, allocations=allocations, placement={"lb": "p4"})
    return one, other


def test_two_services_become_one_and_two_again() -> None:
    one, other = two()
    mine, theirs = side(one, "out"), side(other, "in")
    first, far = spliced(mine, theirs, FOUR)
    second, near = spliced(theirs, mine, FOUR, (first.patches[0].near, far))
    assert (near, far) == (first.patches[0].near, first.patches[0].far)
    assert turned(one, first).state == started(first).state
    fw, lb = endpoint(first, "fw").interfaces[1], endpoint(second, "lb").interfaces[0]
    assert fw.addresses[1:] == mine_of(theirs.sap)
    assert lb.addresses[1:] == mine_of(mine.sap)
    assert endpoint(first, "out").interfaces[0].addresses == ()
    server = theirs.plan.link(endpoint(other, "server").interfaces[0].link or "")
    assert server is not None
    assert RoutePlan(server.subnets[0], lb.addresses[0].ip, "output") in [
        replace(route, interface="output") for route in endpoint(first, "fw").routes
    ]
    together = seen_together(first, {"second": second})
    assert endpoint(together, "second/server").id == "second/server"
    assert parted(first, one, first) == one
    assert parted(second, other, second) == other
    grown = replace(first, warnings=("of something else",))
    assert parted(grown, one, first) == replace(one, warnings=("of something else",))


def test_joined_services_and_taps_are_drawn() -> None:
    one, other = two()
    first, _far = spliced(side(one, "out"), side(other, "in"), FOUR)
    for made in (first, with_tap(base(), FOUR, "ids", "near", CONTAINER)):
        assert picture(made, FOUR).startswith("<svg")
        assert as_dot([made], FOUR).startswith("graph")
        assert made.instance in describe(made)
    assert "second/lb" in picture(first, FOUR)
    assert "second/lb" in as_mermaid(first)


def mine_of(sap: EndpointPlan) -> tuple[object, ...]:
    return sap.interfaces[0].addresses


def test_what_cannot_be_joined() -> None:
    one, other = two()
    with pytest.raises(PlanningError, match="no SAP 'fw' to join"):
        side(one, "fw")
    with pytest.raises(PlanningError, match="'lan' is an E-LAN"):
        side(base(), "client")
    with pytest.raises(PlanningError, match="are of one service"):
        spliced(side(one, "out"), side(one, "in"), FOUR)
    first, _far = spliced(side(one, "out"), side(other, "in"), FOUR)
    with pytest.raises(PlanningError, match="joined already"):
        side(first, "out")
    again = replace(one, instance="again")
    with pytest.raises(PlanningError, match="both use"):
        spliced(side(one, "out"), side(again, "in"), FOUR)
