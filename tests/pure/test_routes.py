"""Routes and forwarding follow what the package says passes packets on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from tests.pure.services import (
    balancer_service,
    can_reach,
    empty_service,
    endpoint,
    forwarders,
    function,
    fw_vtc_service,
    path,
    plan,
    routes,
    snort_service,
    vcdn_service,
    vforward_service,
)


def both_ways(*pairs: tuple[str, str]) -> set[tuple[str, str]]:
    return {*pairs, *((b, a) for a, b in pairs)}


@pytest.mark.parametrize("with_path", [True, False], ids=["forwarding path", "chain of E-Lines"])
def test_every_member_reaches_what_lies_beyond_its_neighbours(with_path: bool) -> None:
    made = plan(empty_service(with_path=with_path))
    assert routes(made, "input") == {
        "10.30.0.0/30": "10.30.2.2",
        "10.30.1.0/30": "10.30.2.2",
        "10.30.3.0/30": "10.30.2.2",
        "default": "10.30.2.2",
    }
    assert routes(made, "empty_vnf1") == {"10.30.1.0/30": "10.30.0.2", "10.30.3.0/30": "10.30.0.2"}
    assert routes(made, "empty_vnf2") == {"10.30.2.0/30": "10.30.0.1", "10.30.3.0/30": "10.30.1.2"}
    assert routes(made, "mgmt") == {}
    assert forwarders(made) == {"empty_vnf1", "empty_vnf2", "empty_vnf3"}
    assert all(route.metric == 4096 for one in made.endpoints for route in one.routes)
    ends = ("input", "empty_vnf1", "empty_vnf2", "empty_vnf3", "output")
    assert can_reach(made) == {(a, b) for a in ends for b in ends if a != b}


def test_no_route_leads_over_a_management_link() -> None:
    made = plan(vforward_service())
    assert not [route for one in made.endpoints for route in one.routes if route.interface == "mgmt"]
    assert ("input", "output") in can_reach(made)
    assert not [pair for pair in can_reach(made) if "mgmt" in pair]


def test_routes_none_isolates() -> None:
    made = plan(empty_service(), routes="none")
    assert not any(one.routes for one in made.endpoints)
    assert forwarders(made) == set()
    assert can_reach(made) == both_ways(
        ("input", "empty_vnf1"),
        ("empty_vnf1", "empty_vnf2"),
        ("empty_vnf2", "empty_vnf3"),
        ("empty_vnf3", "output"),
    )


def test_routes_none_for_one_vnf_leaves_its_own_out_only() -> None:
    made = plan(empty_service(), vnfs={"empty_vnf3": {"routes": "none"}})
    assert routes(made, "empty_vnf3") == {}
    assert "empty_vnf3" in forwarders(made)
    assert routes(made, "empty_vnf1")["10.30.3.0/30"] == "10.30.0.2"


def test_a_proxy_between_two_lans_is_not_bypassed() -> None:
    made = plan(vcdn_service())
    assert forwarders(made) == set()
    assert not any(one.routes for one in made.endpoints)
    reach = can_reach(made)
    assert ("vCDN-SAP1", "squid1") in reach
    assert ("squid1", "webserver1") in reach
    assert ("vCDN-SAP1", "webserver1") not in reach


@pytest.mark.parametrize("with_path", [True, False])
def test_servers_are_reached_through_the_balancer_only(with_path: bool) -> None:
    service = balancer_service()
    made = plan(service if with_path else replace(service, paths=()))
    assert routes(made, "input") == {"default": "10.30.0.2"}
    assert forwarders(made) == set()
    assert can_reach(made) == both_ways(("input", "lb"), ("lb", "web1"), ("lb", "web2"), ("web1", "web2"))
    assert not made.warnings


def test_routes_all_goes_through_lans_too() -> None:
    made = plan(balancer_service(), routes="all")
    assert forwarders(made) == {"lb"}
    assert routes(made, "web1") == {"10.30.0.0/30": "10.20.0.1"}
    assert ("input", "web2") in can_reach(made)


def test_routes_all_for_one_vnf_makes_it_forward() -> None:
    made = plan(balancer_service(), vnfs={"lb": {"routes": "all"}})
    assert forwarders(made) == {"lb"}
    assert routes(made, "web1") == {}


def test_a_list_of_networks_keeps_these_routes_only() -> None:
    made = plan(empty_service(), vnfs={"empty_vnf1": {"routes": ["10.30.3.0/24"]}})
    assert routes(made, "empty_vnf1") == {"10.30.3.0/30": "10.30.0.2"}
    assert routes(made, "empty_vnf2") == {"10.30.2.0/30": "10.30.0.1", "10.30.3.0/30": "10.30.1.2"}
    said = plan(empty_service(), vnfs={"empty_vnf1": {"routes": ["192.168.0.0/16"]}})
    assert any("192.168.0.0/16 holds no subnet" in warning for warning in said.warnings)


def test_a_sap_forwards_nothing() -> None:
    made = plan(fw_vtc_service())
    # Two data links: which would be the default?
    assert "default" not in routes(made, "servicein")
    assert forwarders(made) == {"fw_vnf", "vtc_vnf"}
    back = "10.30.3.0/30"
    assert back not in routes(made, "fw_vnf")
    assert [i.name for i in endpoint(made, "servicein").interfaces] == ["servicein", "servicein.2"]
    assert [i.link for i in endpoint(made, "servicein").interfaces] == ["link-input", "link-back"]
    assert ("servicein", "vtc_vnf") in can_reach(made)
    assert not made.warnings


def test_a_transparent_vnf_neither_routes_nor_forwards() -> None:
    made = plan(snort_service(), vnfs={"snort_vnf": {"transparent": True}})
    assert forwarders(made) == set()
    assert not any(one.routes for one in made.endpoints)
    assert can_reach(made) == both_ways(("input", "output"))


def test_a_path_goes_on_behind_a_transparent_vnf() -> None:
    made = plan(empty_service(), vnfs={"empty_vnf2": {"transparent": True}})
    assert forwarders(made) == {"empty_vnf1", "empty_vnf3"}
    assert {("input", "output"), ("output", "input")} <= can_reach(made)
    assert not made.warnings


def test_a_path_that_begins_inside_a_vnf_came_in_over_its_link() -> None:
    service = replace(
        empty_service(), paths=(path("empty_vnf1:input", "empty_vnf1:output", "empty_vnf2:input"),)
    )
    made = plan(service)
    assert forwarders(made) == {"empty_vnf1"}
    assert {("input", "empty_vnf2"), ("empty_vnf2", "input")} <= can_reach(made)
    assert ("input", "empty_vnf3") not in can_reach(made)


def test_a_path_that_its_links_do_not_carry_is_said_and_chains_count() -> None:
    service = replace(empty_service(), paths=(path("input", "empty_vnf1:input", "empty_vnf3:input"),))
    made = plan(service)
    assert made.warnings == (
        "forwarding path 'fp01': no virtual link joins 'empty_vnf1:input' and 'empty_vnf3:input'",
    )
    assert ("input", "output") in can_reach(made)


def test_off_the_path_no_vnf_forwards() -> None:
    """With a forwarding path the rule for chains does not count."""
    service = replace(
        empty_service(), paths=(path("input", "empty_vnf1:input", "empty_vnf1:output", "empty_vnf2:input"),)
    )
    made = plan(service)
    assert forwarders(made) == {"empty_vnf1"}
    assert ("input", "empty_vnf3") not in can_reach(made)


def test_a_vnf_with_three_data_interfaces_is_no_part_of_a_chain() -> None:
    service = NetworkService.of(
        "y",
        [function("y", "a", "b", "c")],
        {"one": ["s1", "y:a"], "two": ["s2", "y:b"], "three": ["s3", "y:c"]},
    )
    made = plan(service)
    assert forwarders(made) == set()
    assert can_reach(made) == both_ways(("s1", "y"), ("s2", "y"), ("s3", "y"))


def test_two_paths_through_one_vnf() -> None:
    service = NetworkService.of(
        "y",
        [function("y", "a", "b", "c")],
        {"one": ["s1", "y:a"], "two": ["s2", "y:b"], "three": ["s3", "y:c"]},
    )
    service = replace(
        service, paths=(path("s1", "y:a", "y:b", "s2"), path("s1", "y:a", "y:c", "s3", name="fp02"))
    )
    made = plan(service)
    reach = can_reach(made)
    assert both_ways(("s1", "s2"), ("s1", "s3")) <= reach
    assert "10.30.2.0/30" not in routes(made, "s2")


def test_a_ring_of_vnfs_takes_the_shorter_way() -> None:
    ids = "abcde"
    service = NetworkService.of(
        "ring",
        [function(vnf_id, "left", "right") for vnf_id in ids],
        {f"l{n}": [f"{ids[n]}:right", f"{ids[(n + 1) % 5]}:left"] for n in range(5)},
    )
    made = plan(service)
    assert can_reach(made) == {(a, b) for a in ids for b in ids if a != b}
    interfaces = {str(route.destination): route.interface for route in endpoint(made, "a").routes}
    assert interfaces == {"10.30.1.0/30": "right", "10.30.3.0/30": "left", "10.30.2.0/30": "left"}


def test_names_stand_for_the_address_that_is_reached() -> None:
    made = plan(empty_service())

    def names(of: str) -> dict[str, str]:
        return {name: str(address) for name, address in endpoint(made, of).hosts}

    seen = names("empty_vnf1")
    assert seen["localhost"] == "127.0.0.1"
    assert seen["empty_vnf1"] == "10.30.2.2"  # its own: the first data interface
    assert seen["empty_vnf2"] == "10.30.0.2"  # over the link that both share
    assert seen["empty_vnf3"] == "10.30.1.2"  # by route, the nearest of its two
    assert names("output")["empty_vnf3"] == "10.30.3.1"
    assert names("output")["empty_vnf1"] == "10.30.0.1"
    assert names("mgmt")["empty_vnf3"] == "10.20.0.3"
    isolated = plan(empty_service(), routes="none")
    assert dict(endpoint(isolated, "empty_vnf1").hosts)["empty_vnf3"].exploded == "10.20.0.3"


def test_a_transparent_vnf_is_named_by_its_management_address() -> None:
    made = plan(snort_service(), vnfs={"snort_vnf": {"transparent": True}})
    assert dict(endpoint(made, "input").hosts)["snort_vnf"].exploded == "10.20.0.1"


def test_old_packages_without_types_have_management_links_by_name() -> None:
    ids = ["one", "two"]
    service = NetworkService.of(
        "old",
        [replace(function(vnf_id), connection_points=()) for vnf_id in ids],
        {},
    )
    functions = [type(one)(one.id, interfaces=["mgmt", "input", "output"]) for one in service.functions]
    service = NetworkService.of(
        "old",
        functions,
        {"in": ["s", "one:input"], "between": ["one:output", "two:input"], "out": ["two:output", "t"]},
        lans={"m": ["one:mgmt", "two:mgmt"]},
    )
    made = plan(service)
    assert forwarders(made) == {"one", "two"}
    assert ("s", "t") in can_reach(made)
