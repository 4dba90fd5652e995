"""Placement by room and by delay: who goes where, and what is said when there is no room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService, Resources, Unit
from pytest_sonemu.errors import PlacementError
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, PopUse
from pytest_sonemu.planning.room import Demand, Room
from pytest_sonemu.topology.model import PoP, PopLink, SapSite, Topology
from tests.pure.services import IMAGE, empty_service, function, given_out, plan

GIB = 1 << 30


def sized(vnf_id: str, cpu: float | None = None, memory: int | None = None) -> NetworkFunction:
    return replace(function(vnf_id, "a"), units=(), interfaces=("a",), resources=Resources(cpu, (), memory))


def service(*functions: NetworkFunction) -> NetworkService:
    return NetworkService("s", functions)


def pops(of: DeploymentPlan) -> dict[str, str]:
    return {one.id: one.pop for one in of.endpoints}


SMALL = Topology((PoP("p1", cpu=2, memory=GIB), PoP("p2", cpu=4, memory=2 * GIB)), (PopLink("p1", "p2"),))


def test_round_robin_passes_over_a_pop_without_room() -> None:
    vnfs = [sized(f"v{number}", cpu=1.5) for number in range(3)]
    assert pops(plan(service(*vnfs), SMALL)) == {"v0": "p1", "v1": "p2", "v2": "p2"}


def test_first_goes_on_to_the_next_pop_when_the_first_is_full() -> None:
    vnfs = [sized("a", cpu=2), sized("b", memory=GIB), sized("c", memory=1)]
    assert pops(plan(service(*vnfs), SMALL, placement="first")) == {"a": "p1", "b": "p1", "c": "p2"}


def test_capacity_places_the_largest_first_where_most_is_left() -> None:
    vnfs = [sized("small", cpu=1), sized("big", cpu=3), sized("mid", cpu=1.5)]
    made = plan(service(*vnfs), SMALL, placement="capacity")
    assert pops(made) == {"small": "p2", "big": "p2", "mid": "p1"}


def test_too_little_room_says_how_much_is_missing() -> None:
    with pytest.raises(PlacementError) as caught:
        plan(service(sized("v", cpu=5, memory=3 * GIB)), SMALL)
    assert str(caught.value) == (
        "no PoP has room for VNF 'v', which asks for 5 CPU and 3 GiB of memory:"
        " 'p1' lacks 3 CPU (2 CPU of 2 CPU left) and 2 GiB of memory (1 GiB of 1 GiB left);"
        " 'p2' lacks 1 CPU (4 CPU of 4 CPU left) and 1 GiB of memory (2 GiB of 2 GiB left);"
        " place it elsewhere, lower its limits, give the PoPs more, or let them be over-provisioned"
        " (overprovision, now 1)"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"placement": {"v": "p1"}},
        {"vnfs": {"v": {"pop": "p1"}}},
        {"placement": lambda service, topology: {"v": "p1"}},
    ],
)
def test_what_is_placed_by_name_must_fit_too(options: dict[str, Any]) -> None:
    with pytest.raises(
        PlacementError, match=r"VNF 'v' asks for 3 CPU, but PoP 'p1' lacks 1 CPU \(2 CPU of 2"
    ):
        plan(service(sized("v", cpu=3)), SMALL, **options)


def test_over_provisioning_and_limits_of_options_count() -> None:
    vnf = sized("v", cpu=5)
    assert pops(plan(service(vnf), SMALL, overprovision=1.25)) == {"v": "p2"}
    assert pops(plan(service(vnf), SMALL, vnfs={"v": {"cpu": 2}})) == {"v": "p1"}
    with pytest.raises(PlacementError, match=r"overprovision, now 1\.2\)"):
        plan(service(vnf), SMALL, overprovision=1.2)


def test_other_instances_take_room_and_give_it_back() -> None:
    vnf = sized("v", cpu=2)
    first = plan(service(vnf), SMALL)
    second = plan(service(vnf), SMALL, allocations=given_out(first))
    assert (pops(first)["v"], pops(second)["v"]) == ("p1", "p2")
    used = Allocations(used=(PopUse("p1", 1.5), PopUse("p2", 3.5)))
    with pytest.raises(PlacementError, match=r"'p1' lacks 1\.5 CPU"):
        plan(service(vnf), SMALL, allocations=used)


def test_what_asks_for_nothing_fits_everywhere() -> None:
    full = Topology((PoP("p1", cpu=0.1, memory=1),))
    used = Allocations(used=(PopUse("p1", 5.0, 5),))
    assert pops(plan(service(sized("v")), full, allocations=used)) == {"v": "p1"}
    assert pops(plan(service(sized("v", cpu=99, memory=99 * GIB)), Topology((PoP("p1"),)))) == {"v": "p1"}


def test_units_of_one_vnf_need_room_together() -> None:
    units = tuple(Unit(name, resources=Resources(cpu=1.5)) for name in ("a", "b"))
    vnf = NetworkFunction("v", interfaces=(), units=units)
    images = {f"v.{unit.id}": IMAGE for unit in units}
    assert pops(plan(service(vnf), SMALL, images=images)) == {"v.a": "p2", "v.b": "p2"}
    apart = plan(service(vnf), SMALL, images=images, vnfs={"v.b": {"pop": "p1"}})
    assert pops(apart) == {"v.a": "p2", "v.b": "p1"}


# Least delay


def far(**delays: float) -> Topology:
    """PoPs a, b, c in a line with these delays, the SAPs at its ends; c is reached over b only."""
    return Topology(
        (PoP("a"), PoP("b"), PoP("c")),
        (PopLink("a", "b", delay=delays["ab"]), PopLink("b", "c", delay=delays["bc"])),
    )


def plain(topology: Topology, **options: Any) -> dict[str, str]:
    """Placement only: the plan itself would refuse shaped links here."""
    from pytest_sonemu.planning.options import parse_service_options
    from pytest_sonemu.planning.placement import place_units
    from pytest_sonemu.planning.units import flatten

    asked = options.pop("service", empty_service())
    parsed = parse_service_options({"placement": "least-delay", **options}, "test")
    return place_units(asked, flatten(asked, parsed), topology, parsed)


def test_least_delay_keeps_a_service_together() -> None:
    assert set(plain(far(ab=0.01, bc=0.01)).values()) == {"a"}


def test_least_delay_stands_beside_a_sap_that_is_settled() -> None:
    topology = replace(far(ab=0.01, bc=0.01), saps=(SapSite("input", pop="c"),))
    assert set(plain(topology).values()) == {"c"}


def test_least_delay_avoids_the_long_way_between_two_settled_saps() -> None:
    """Whatever is on the way costs the same; of equals the fewest PoP links, and nobody stands beside it."""
    topology = Topology(
        tuple(PoP(name) for name in "abcx"),
        (
            PopLink("a", "b", delay=0.001),
            PopLink("b", "c", delay=0.001),
            PopLink("a", "x", delay=0.05),
            PopLink("x", "c", delay=0.05),
        ),
        saps=(SapSite("input", pop="a"), SapSite("output", pop="c")),
    )
    placed = plain(topology)
    assert "x" not in placed.values()
    order = ["a", *(placed[f"empty_vnf{number}"] for number in (1, 2, 3)), "c"]
    assert order == sorted(order)


def test_least_delay_keeps_to_the_room_there_is() -> None:
    topology = Topology(
        (PoP("a", cpu=1), PoP("b", cpu=1), PoP("c", cpu=5)),
        (PopLink("a", "b", delay=0.001), PopLink("a", "c", delay=0.1)),
    )
    placed = plain(topology, vnfs={"*": {"cpu": 0.5}, "empty_vnf1": {"pop": "a"}})
    assert placed == {"empty_vnf1": "a", "empty_vnf2": "a", "empty_vnf3": "b"}


def test_least_delay_takes_no_pop_that_cannot_be_reached() -> None:
    topology = Topology(
        (PoP("island"), PoP("a"), PoP("b")), (PopLink("a", "b"),), saps=(SapSite("input", "b"),)
    )
    assert set(plain(topology).values()) == {"b"}


def test_management_links_do_not_pull() -> None:
    topology = replace(far(ab=0.01, bc=0.01), saps=(SapSite("input", "c"), SapSite("mgmt", "a")))
    assert set(plain(topology).values()) == {"c"}


# Room


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 4), st.integers(0, 4 * GIB)), max_size=12),
    st.sampled_from(["round-robin", "first", "capacity", "least-delay"]),
)
def test_no_placement_ever_overfills_a_pop(wanted: list[tuple[float, int]], placement: str) -> None:
    vnfs = [sized(f"v{number}", cpu or None, memory or None) for number, (cpu, memory) in enumerate(wanted)]
    try:
        made = plan(service(*vnfs), SMALL, placement=placement)
    except PlacementError:
        return
    for pop in SMALL.pops:
        uses = [use for use in made.uses() if use.pop == pop.name]
        assert sum(use.cpu for use in uses) <= (pop.cpu or 0) + 1e-5
        assert sum(use.memory for use in uses) <= (pop.memory or 0)


def test_rounding_does_not_fill_a_pop() -> None:
    room = Room(Topology((PoP("p", cpu=1),)))
    for _ in range(10):
        room.take("p", Demand(cpu=0.1), "it")
    assert not room.fits("p", Demand(cpu=0.01))
