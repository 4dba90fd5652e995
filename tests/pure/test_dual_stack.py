"""IPv6 beside IPv4: who gets it, from which prefix, with which routes, and off everywhere else."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network, ip_interface
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.descriptors.model import ConnectionPoint, NetworkFunction, NetworkService
from pytest_sonemu.errors import PlanningError
from pytest_sonemu.handles.targets import find_target
from pytest_sonemu.planning.batches import endpoint_batch, endpoint_batches, interface_sysctls
from pytest_sonemu.planning.dual_stack import bed_prefix
from pytest_sonemu.planning.option_models import service_option_names
from pytest_sonemu.planning.plan import DeploymentPlan
from pytest_sonemu.sharing.settings import SERVICE_KEYS
from tests.pure.services import (
    can_reach,
    empty_service,
    endpoint,
    function,
    given_out,
    link,
    plan,
    snort_service,
)
from tests.pure.test_plan_properties import Case, cases

PREFIX = bed_prefix("bed")


def in_ipv6(of: DeploymentPlan) -> dict[str, str]:
    """`"fw:input"` -> its IPv6 address, without the bed's prefix."""
    head = str(PREFIX.network_address).removesuffix("::")
    return {
        f"{one.id}:{i.connection_point}": str(address).removeprefix(head)
        for one in of.endpoints
        for i in one.interfaces
        for address in i.addresses
        if address.version == 6
    }


def test_a_beds_prefix_is_its_own_and_always_the_same() -> None:
    assert bed_prefix("bed") == PREFIX == IPv6Network(str(PREFIX))
    assert bed_prefix("bed") != bed_prefix("bed2")
    assert PREFIX.prefixlen == 48
    assert PREFIX.subnet_of(IPv6Network("fd00::/8"))


def test_each_link_has_a_64_in_the_order_of_the_members() -> None:
    made = plan(empty_service(), ipv6=True)
    assert in_ipv6(made) == {
        "empty_vnf1:mgmt": ":5::1/64", "empty_vnf2:mgmt": ":5::2/64", "empty_vnf3:mgmt": ":5::3/64",
        "mgmt:mgmt": ":5::4/64",
        "input:input": ":1::1/64", "empty_vnf1:input": ":1::2/64",
        "empty_vnf1:output": ":2::1/64", "empty_vnf2:input": ":2::2/64",
        "empty_vnf2:output": ":3::1/64", "empty_vnf3:input": ":3::2/64",
        "empty_vnf3:output": ":4::1/64", "output:output": ":4::2/64",
    }  # fmt: skip
    assert [subnet.version for subnet in link(made, "mgmt").subnets] == [4, 6]


def test_without_being_asked_for_there_is_none() -> None:
    made = plan(empty_service())
    assert in_ipv6(made) == {}
    assert all(not interface_sysctls(one) for one in made.endpoints)
    assert not any("ipv6" in name for one in made.endpoints for name, _ in one.sysctls)


def test_one_vnf_asks_for_the_links_that_it_is_on() -> None:
    made = plan(empty_service(), vnfs={"empty_vnf1": {"ipv6": True}})
    assert set(in_ipv6(made)) == {
        "input:input", "empty_vnf1:input", "empty_vnf1:output", "empty_vnf2:input",
        "empty_vnf1:mgmt", "empty_vnf2:mgmt", "empty_vnf3:mgmt", "mgmt:mgmt",
    }  # fmt: skip


def test_a_vnf_may_say_no() -> None:
    made = plan(empty_service(), ipv6=True, vnfs={"empty_vnf2": {"ipv6": False}})
    assert not any(name.startswith("empty_vnf2") for name in in_ipv6(made))
    assert len(in_ipv6(made)) == 9


def test_ipv6_is_on_for_just_those_interfaces() -> None:
    vnf = function("x", "a", "b.c")
    service = NetworkService.of("s", [vnf, function("y", "a")], {"l": ["x:b.c", "y:a"]})
    made = plan(service, ipv6=True, vnfs={"x": {"sysctls": {"net.ipv4.conf.a.rp_filter": "1"}}})
    assert interface_sysctls(endpoint(made, "x")) == (
        ("net/ipv6/conf/b.c/disable_ipv6", "0"),
        ("net.ipv4.conf.a.rp_filter", "1"),
    )
    assert any(line.endswith(" dev b.c nodad") for line in endpoint_batch(endpoint(made, "x")).lines)


@pytest.mark.parametrize("routes", ["path", "all"])
def test_routes_and_forwarding_in_both_families(routes: str) -> None:
    made = plan(empty_service(), ipv6=True, routes=routes)
    data = {"input", "output", *(f"empty_vnf{number}" for number in (1, 2, 3))}
    assert can_reach(made) >= {(a, b) for a in data for b in data if a != b}
    by_family = [
        {
            (one.id, route.interface)
            for one in made.endpoints
            for route in one.routes
            if route.gateway.version == v
        }
        for v in (4, 6)
    ]
    assert by_family[0] == by_family[1]
    for one in made.endpoints:
        sysctls = dict(one.sysctls)
        assert sysctls["net.ipv6.conf.all.forwarding"] == sysctls["net.ipv4.ip_forward"]
        assert len([r for r in one.routes if r.destination.prefixlen == 0]) in (0, 2)


def test_a_gateway_without_ipv6_gives_no_route_in_it() -> None:
    made = plan(empty_service(), ipv6=True, vnfs={"empty_vnf1": {"ipv6": False}})
    assert not [route for route in endpoint(made, "input").routes if route.gateway.version == 6]
    assert [route for route in endpoint(made, "output").routes if route.gateway.version == 6]


def test_routes_by_network_take_ipv6_too() -> None:
    wanted = str(IPv6Network((int(PREFIX.network_address) + (3 << 64), 64)))
    made = plan(empty_service(), ipv6=True, vnfs={"empty_vnf1": {"routes": [wanted]}})
    assert [str(route.destination) for route in endpoint(made, "empty_vnf1").routes] == [wanted]


def test_names_have_both_families() -> None:
    made = plan(empty_service(), ipv6=True)
    rows = [(name, str(address)) for name, address in endpoint(made, "input").hosts if name == "empty_vnf2"]
    head = str(PREFIX.network_address).removesuffix("::")
    assert rows == [("empty_vnf2", "10.30.0.2"), ("empty_vnf2", f"{head}:2::2")]
    source = endpoint(made, "input")
    assert str(find_target(made, "empty_vnf2", source, family=6).address) == f"{head}:2::2"
    assert find_target(made, "empty_vnf2", source).address.version == 4


def test_management_stays_apart_in_ipv6_too() -> None:
    made = plan(empty_service(), ipv6=True)
    barriers = endpoint(made, "empty_vnf1").barriers
    networks = {str(one.destination) for one in barriers if one.destination is not None}
    assert {str(subnet) for subnet in link(made, "mgmt").subnets} <= networks
    assert ("mgmt", None) in {(one.interface, one.destination) for one in barriers}
    assert ("mgmt", "::/0") in {(one.interface, str(one.destination)) for one in barriers}
    plain, in_ipv6_only = endpoint_batches(endpoint(made, "empty_vnf1"))
    assert in_ipv6_only.argv == ("ip", "-6", "-batch", "-")
    assert all(":" in line for line in in_ipv6_only.lines)
    assert not any("rule" in line and ":" in line for line in plain.lines)


def test_a_transparent_vnf_has_none_on_its_data_interfaces() -> None:
    made = plan(snort_service(), ipv6=True, vnfs={"snort_vnf": {"transparent": True}})
    assert set(in_ipv6(made)) == {"input:input", "output:output", "snort_vnf:mgmt", "mgmt:mgmt"}


def static_service(*first: str, second: tuple[str, ...] = ()) -> NetworkService:
    vnfs = [
        NetworkFunction(
            name, connection_points=(ConnectionPoint("p", addresses=tuple(map(ip_interface, own))),)
        )
        for name, own in (("a", first), ("b", second))
    ]
    return NetworkService.of("s", vnfs, {"l": ["a:p", "b:p"]})


def test_a_static_address_asks_for_its_link_and_wins() -> None:
    made = plan(static_service("2001:db8::5/64"))
    by_id = {one.id: [str(address) for address in one.interfaces[0].addresses] for one in made.endpoints}
    assert by_id == {"a": ["10.30.0.1/30", "2001:db8::5/64"], "b": ["10.30.0.2/30", "2001:db8::1/64"]}
    assert [str(subnet) for subnet in link(made, "l").subnets] == ["10.30.0.0/30", "2001:db8::/64"]
    both = plan(static_service("192.168.5.1/24", "2001:db8::5", second=("2001:db8::1",)))
    assert [str(address) for address in endpoint(both, "b").interfaces[0].addresses] == [
        "192.168.5.2/24",
        "2001:db8::1/64",
    ]
    assert interface_sysctls(endpoint(both, "a"))


def test_the_same_static_address_twice_is_an_error() -> None:
    with pytest.raises(
        PlanningError, match="'a:p' and 'b:p' of virtual link 'l' have the same static address"
    ):
        plan(static_service("2001:db8::5/64", second=("2001:db8::5/64",)))
    with pytest.raises(PlanningError, match=r"2 members, more than 2001:db8::4/127 has addresses"):
        plan(static_service("2001:db8::5/127"))


def test_instances_of_a_pooled_plan_have_networks_of_their_own() -> None:
    first = plan(empty_service(), ipv6=True)
    second = plan(empty_service(), ipv6=True, allocations=given_out(first))
    networks = [{s for one in made.links for s in one.subnets} for made in (first, second)]
    assert not networks[0] & networks[1]
    seed = plan(empty_service(), ipv6=True, address_plan="seed", allocations=given_out(first))
    assert in_ipv6(seed) == in_ipv6(plan(empty_service(), ipv6=True, address_plan="seed"))


def test_a_full_prefix_is_a_planning_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_sonemu.planning import dual_stack

    monkeypatch.setattr(dual_stack, "_LINKS", 3)
    with pytest.raises(PlanningError, match="bed 'bed' has no /64 left"):
        plan(empty_service(), ipv6=True)


@settings(max_examples=100, deadline=None)
@given(cases(), st.booleans())
def test_ipv6_changes_nothing_of_ipv4(case: Case, all_of_it: bool) -> None:
    plain, dual = case.plan(), replace_options(case, ipv6=all_of_it).plan()
    assert in_ipv4(dual) == in_ipv4(plain)
    if not all_of_it:
        assert dual == plain


def replace_options(case: Case, **more: Any) -> Case:
    return replace(case, options={**case.options, **more})


def in_ipv4(of: DeploymentPlan) -> list[object]:
    return [
        (
            one.id,
            [address for i in one.interfaces for address in i.addresses if address.version == 4],
            [route for route in one.routes if route.gateway.version == 4],
            [row for row in one.hosts if row[1].version == 4],
        )
        for one in of.endpoints
    ]


# Offloads


@pytest.mark.parametrize(
    ("options", "off"),
    [
        ({}, set()),
        ({"offload": False}, {"input", "output", "snort_vnf", "mgmt"}),
        ({"vnfs": {"snort_vnf": {"offload": "off"}}}, {"snort_vnf"}),
        ({"offload": "off", "saps": {"input": {"offload": True}}}, {"output", "snort_vnf", "mgmt"}),
        ({"saps": {"input": {"offload": "off"}}}, {"input"}),
    ],
)
def test_offloads_go_by_endpoint(options: dict[str, Any], off: set[str]) -> None:
    made = plan(snort_service(), **options)
    assert {one.id for one in made.endpoints for i in one.interfaces if not i.offload} == off


def test_the_marker_takes_every_option_of_a_service() -> None:
    # How containers are called is for clients of old emulators, not for tests.
    assert {*SERVICE_KEYS, "container_names"} == set(service_option_names())
