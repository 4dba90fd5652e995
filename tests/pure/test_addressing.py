"""The address plans: every sentence of their numbering is a table here."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network, ip_interface

import pytest

from pytest_sonemu.descriptors.model import ConnectionPoint, NetworkFunction, NetworkService
from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.addressing import ADDRESS_PLANS
from pytest_sonemu.planning.plan import Allocations
from tests.pure.services import (
    addresses,
    balancer_service,
    empty_service,
    endpoint,
    function,
    given_out,
    link,
    on_link,
    plan,
    snort_service,
    vcdn_service,
    vforward_service,
)

FIRST_AND_LATER = [
    ("vim-emu", "line", 0, "10.30.0.0/30"),
    ("vim-emu", "line", 255, "10.30.255.0/30"),
    ("vim-emu", "line", 256, "10.30.0.4/30"),
    ("vim-emu", "line", 511, "10.30.255.4/30"),
    ("vim-emu", "line", 16383, "10.30.255.252/30"),
    ("vim-emu", "line", 16384, None),
    ("vim-emu", "lan", 0, "10.20.0.0/24"),
    ("vim-emu", "lan", 255, "10.20.255.0/24"),
    ("vim-emu", "lan", 256, "10.21.0.0/24"),
    ("vim-emu", "lan", 2560, None),
    ("seed", "line", 0, "200.0.0.0/24"),
    ("seed", "line", 23, "223.0.0.0/24"),
    ("seed", "line", 24, "10.30.24.0/30"),
    ("seed", "lan", 0, "10.0.10.0/24"),
    ("seed", "lan", 246, "10.1.0.0/24"),
    ("seed", "lan", 2550, None),
    ("llcm", "line", 0, "20.0.0.0/24"),
    ("llcm", "line", 256, "20.1.0.0/24"),
    ("llcm", "lan", 1, "30.0.1.0/24"),
]


@pytest.mark.parametrize(("name", "kind", "number", "expected"), FIRST_AND_LATER)
def test_subnets_are_numbered(name: str, kind: str, number: int, expected: str | None) -> None:
    address_plan = ADDRESS_PLANS[name]
    network = (address_plan.line if kind == "line" else address_plan.lan)(number)
    assert network == (None if expected is None else IPv4Network(expected))


EMPTY_SERVICE = {
    "vim-emu": {
        "link-12": ["10.30.0.1/30", "10.30.0.2/30"],
        "link-23": ["10.30.1.1/30", "10.30.1.2/30"],
        "link-input": ["10.30.2.1/30", "10.30.2.2/30"],
        "link-output": ["10.30.3.1/30", "10.30.3.2/30"],
        "mgmt": ["10.20.0.1/24", "10.20.0.2/24", "10.20.0.3/24", "10.20.0.4/24"],
    },
    "seed": {
        "link-12": ["200.0.0.1/24", "200.0.0.2/24"],
        "link-23": ["201.0.0.1/24", "201.0.0.2/24"],
        "link-input": ["202.0.0.1/24", "202.0.0.2/24"],
        "link-output": ["203.0.0.1/24", "203.0.0.2/24"],
        "mgmt": ["10.0.10.1/24", "10.0.10.2/24", "10.0.10.3/24", "10.0.10.4/24"],
    },
    "llcm": {
        "link-12": ["20.0.0.1/24", "20.0.0.2/24"],
        "link-23": ["20.0.1.1/24", "20.0.1.2/24"],
        "link-input": ["20.0.2.1/24", "20.0.2.2/24"],
        "link-output": ["20.0.3.1/24", "20.0.3.2/24"],
        "mgmt": ["30.0.0.1/24", "30.0.0.2/24", "30.0.0.3/24", "30.0.0.4/24"],
    },
}


@pytest.mark.parametrize("name", EMPTY_SERVICE)
def test_lines_between_vnfs_come_first(name: str) -> None:
    made = plan(empty_service(), address_plan=name)
    assert {link_id: on_link(made, link_id) for link_id in EMPTY_SERVICE[name]} == EMPTY_SERVICE[name]
    assert made.address_plan == name


@pytest.mark.parametrize("name", ["vim-emu", "seed", "llcm"])
def test_links_of_saps_renumber_nothing(name: str) -> None:
    service = empty_service()
    inner = replace(
        service,
        links=tuple(one for one in service.links if one.id in ("link-12", "link-23")),
        saps=(),
        paths=(),
    )
    alone, whole = plan(inner, address_plan=name), plan(service, address_plan=name)
    for link_id in ("link-12", "link-23"):
        assert on_link(alone, link_id) == on_link(whole, link_id)


def test_members_of_a_lan_count_in_reference_order_with_saps() -> None:
    assert addresses(plan(vcdn_service()))["squid1:port0"] == "10.20.0.3/24"
    assert addresses(plan(vcdn_service()))["squid1:port1"] == "10.20.1.2/24"
    made = plan(vforward_service())
    assert on_link(made, "mgmt")[:2] == ["10.20.0.1/24", "10.20.0.2/24"]
    assert addresses(made)["mgmt"] == "10.20.0.1/24"


def test_seed_counts_saps_of_a_lan_after_its_vnfs() -> None:
    made = addresses(plan(vforward_service(), address_plan="seed"))
    assert made["vforward_vnf_1_1:mgmt"] == "10.0.10.1/24"
    assert made["mgmt"] == "10.0.10.9/24"
    assert addresses(plan(vforward_service(), address_plan="llcm"))["mgmt"] == "30.0.0.1/24"


def test_external_points_change_nothing() -> None:
    made = addresses(plan(empty_service()))
    assert not [address for address in made.values() if address.startswith("10.10.")]


def test_a_pool_gives_the_lowest_free_first() -> None:
    first = plan(empty_service())
    second = plan(empty_service(), allocations=given_out(first))
    assert on_link(second, "link-12") == ["10.30.4.1/30", "10.30.4.2/30"]
    assert on_link(second, "mgmt")[0] == "10.20.1.1/24"
    third = plan(empty_service(), allocations=given_out(second))
    assert [on_link(third, one.id) for one in third.links] == [on_link(first, one.id) for one in first.links]


@pytest.mark.parametrize("name", ["seed", "llcm"])
def test_named_plans_give_every_instance_the_same_numbers(name: str) -> None:
    first = plan(empty_service(), address_plan=name)
    second = plan(empty_service(), address_plan=name, allocations=given_out(first))
    assert addresses(second) == addresses(first)
    assert second.number != first.number


def test_a_pool_goes_round_networks_of_other_shapes() -> None:
    taken = (IPv4Network("10.30.0.0/24"), IPv4Network("10.20.0.0/23"), IPv4Network("10.20.2.64/26"))
    made = plan(empty_service(), allocations=Allocations(networks=taken))
    assert on_link(made, "link-12")[0] == "10.30.1.1/30"
    assert on_link(made, "mgmt")[0] == "10.20.3.1/24"


def static_service(*statics: str, kind: str = "line") -> NetworkService:
    """VNFs a, b, … on one link, the first of them with these static addresses."""
    ids = "abcd"
    functions = [
        NetworkFunction(
            vnf_id,
            connection_points=(ConnectionPoint("data", addresses=(ip_interface(text),) if text else ()),),
        )
        for vnf_id, text in zip(ids, statics, strict=False)
    ]
    members = [f"{one.id}:data" for one in functions]
    return NetworkService.of(
        "static",
        functions,
        {"l": members} if kind == "line" else {},
        lans={"l": members} if kind == "lan" else {},
    )


@pytest.mark.parametrize(
    ("statics", "kind", "expected"),
    [
        (("192.168.7.9/24", ""), "line", ["192.168.7.9/24", "192.168.7.1/24"]),
        (("192.168.7.1/24", "", ""), "lan", ["192.168.7.1/24", "192.168.7.2/24", "192.168.7.3/24"]),
        (("", "192.168.7.1/30"), "line", ["192.168.7.2/30", "192.168.7.1/30"]),
        (("192.168.7.0/31", ""), "line", ["192.168.7.0/31", "192.168.7.1/31"]),
        (("192.168.7.9/32", ""), "line", ["192.168.7.9/24", "192.168.7.1/24"]),
    ],
)
def test_a_static_address_wins(statics: tuple[str, ...], kind: str, expected: list[str]) -> None:
    made = plan(static_service(*statics, kind=kind))
    assert on_link(made, "l") == expected
    assert link(made, "l").subnets == (IPv4Interface(expected[0]).network,)
    again = plan(static_service(*statics, kind=kind), allocations=given_out(made))
    assert on_link(again, "l") == expected


def test_the_same_static_address_twice_is_an_error() -> None:
    with pytest.raises(PlanningError, match=r"'a:data' and 'b:data' .* same static address 192\.168\.7\.9"):
        plan(static_service("192.168.7.9/24", "192.168.7.9/24"))


def test_static_addresses_of_two_subnets_are_kept_and_said() -> None:
    made = plan(static_service("192.168.7.1/24", "192.168.8.1/24"))
    assert on_link(made, "l") == ["192.168.7.1/24", "192.168.8.1/24"]
    assert any("several subnets" in warning for warning in made.warnings)


def test_a_static_network_is_not_given_out_by_the_pool_too() -> None:
    static = static_service("10.30.0.1/30", "")
    extra = NetworkService.of("s", [function("x", "p"), function("y", "p")], {"m": ["x:p", "y:p"]})
    both = replace(static, functions=static.functions + extra.functions, links=static.links + extra.links)
    assert on_link(plan(both), "m") == ["10.30.1.1/30", "10.30.1.2/30"]


def test_an_exhausted_pool_is_a_planning_error() -> None:
    taken = tuple(
        IPv4Network((int(IPv4Network("10.20.0.0/24").network_address) + n * 256, 24)) for n in range(2560)
    )
    with pytest.raises(PlanningError, match="'vim-emu' has no subnet left for E-LAN 'mgmt'"):
        plan(empty_service(), allocations=Allocations(networks=taken))


def test_a_lan_with_more_members_than_addresses_is_a_planning_error() -> None:
    functions = [function(f"v{number}", "data") for number in range(255)]
    service = NetworkService.of("many", functions, {}, lans={"lan": [f"{one.id}:data" for one in functions]})
    with pytest.raises(PlanningError, match="255 members, more than"):
        plan(service)
    smaller = NetworkService.of("many", functions[:254], {}, lans={"lan": [f"v{n}:data" for n in range(254)]})
    assert on_link(plan(smaller), "lan")[-1] == "10.20.0.254/24"


def test_links_joined_by_transparent_vnfs_are_one_subnet() -> None:
    made = plan(snort_service(), vnfs={"snort_vnf": {"transparent": True}})
    assert addresses(made) == {
        "input": "10.30.0.1/30",
        "output": "10.30.0.2/30",
        "snort_vnf:mgmt": "10.20.0.1/24",
        "mgmt": "10.20.0.2/24",
    }
    assert (
        link(made, "link-input").subnets
        == link(made, "link-output").subnets
        == (IPv4Network("10.30.0.0/30"),)
    )
    assert endpoint(made, "snort_vnf").transparent


def test_two_transparent_vnfs_in_a_row() -> None:
    both = {"empty_vnf1": {"transparent": True}, "empty_vnf2": {"transparent": True}}
    made = plan(empty_service(), vnfs=both, address_plan="seed")
    found = addresses(made)
    # link-input is the first of the three in the service; its number is that of a link with a SAP.
    assert (found["input"], found["empty_vnf3:input"]) == ("202.0.0.1/24", "202.0.0.2/24")
    assert found["empty_vnf3:output"] == "203.0.0.1/24"


def test_a_transparent_vnf_before_a_lan_takes_the_lans_subnet() -> None:
    made = plan(balancer_service(), vnfs={"lb": {"transparent": True}})
    found = addresses(made)
    assert {found[name].split("/")[1] for name in ("input", "web1:data", "web2:data")} == {"24"}
    assert link(made, "in").subnets == link(made, "servers").subnets == (IPv4Network("10.20.0.0/24"),)
    assert len(set(found.values())) == 3


def test_a_named_pair_of_three_data_interfaces() -> None:
    service = NetworkService.of(
        "dpi",
        [function("ovs", "port0", "port1", "port2"), function("ids", "input")],
        {"in": ["input", "ovs:port0"], "out": ["ovs:port1", "output"], "mirror": ["ovs:port2", "ids:input"]},
    )
    with pytest.raises(PlanningError, match=r"3 data interfaces \(port0, port1, port2\)"):
        plan(service, vnfs={"ovs": {"transparent": True}})
    made = plan(service, vnfs={"ovs": {"transparent": ["port0", "port1"]}})
    found = addresses(made)
    assert "ovs:port2" in found
    assert "ovs:port0" not in found
    with pytest.raises(PlanningError, match=r"no connection point 'prot1' \(did you mean 'port1'\?\)"):
        plan(service, vnfs={"ovs": {"transparent": ["port0", "prot1"]}})
