"""Interfaces in several virtual links, E-Trees, paired E-Lines and lonely E-LANs, as the plan has them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest

from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    NetworkFunction,
    NetworkService,
    Reference,
)
from pytest_sonemu.errors import PlanningError
from pytest_sonemu.planning.batches import fabric_batches
from pytest_sonemu.planning.plan import DeploymentPlan, Split
from pytest_sonemu.relay.model import Impairment
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.pure.services import (
    addresses,
    can_reach,
    endpoint,
    forwarders,
    function,
    link,
    path,
    plan,
    routes,
)

THREE = Topology((PoP("p1"), PoP("p2"), PoP("p3")), (PopLink("p1", "p2"), PopLink("p2", "p3")))


def hub(*links: str, **lans: list[str]) -> NetworkService:
    """`hub:port` on an E-Line to each of these VNFs, and in E-LANs."""
    ids = {
        "hub",
        *links,
        *(member.partition(":")[0] for own in lans.values() for member in own if ":" in member),
    }
    return NetworkService.of(
        "hub",
        [function(vnf_id, "port") for vnf_id in sorted(ids)],
        {f"to-{other}": ["hub:port", f"{other}:port"] for other in links},
        lans=lans,
    )


def the_split(of: DeploymentPlan) -> Split:
    (split,) = of.splits
    return split


def test_an_interface_in_several_links_has_a_bridge_with_an_arm_for_each() -> None:
    made = plan(hub("a", "b", lan=["hub:port", "c:port", "d:port"]))
    split = the_split(made)
    (interface,) = endpoint(made, "hub").interfaces
    assert (split.endpoint, split.interface, split.outer) == ("hub", "port", interface.outer)
    assert [arm.link for arm in split.arms] == ["to-a", "to-b", "lan"] == list(interface.links)
    for arm in split.arms:
        (end,) = (one for one in link(made, arm.link).ends if one.endpoint == "hub")
        assert end.outer == arm.end
    assert arm.end in {port for bridge in link(made, "lan").bridges for port in bridge.ports}
    assert interface.outer not in {end.outer for one in made.links for end in one.ends}


def test_the_first_links_address_is_the_primary_one() -> None:
    made = plan(hub("a", "b", lan=["hub:port", "c:port", "d:port"]))
    (interface,) = endpoint(made, "hub").interfaces
    assert [str(address) for address in interface.addresses] == [
        "10.30.0.1/30",
        "10.30.1.1/30",
        "10.20.0.1/24",
    ]
    assert addresses(made)["a:port"] == "10.30.0.2/30"
    assert addresses(made)["b:port"] == "10.30.1.2/30"


def test_static_addresses_are_dealt_out_to_the_links_in_order() -> None:
    fixed = tuple(map(ip_interface, ("192.168.1.1/24", "192.168.2.1/24", "192.168.1.9/24")))
    service = hub("a", "b")
    vnf = NetworkFunction("hub", connection_points=(ConnectionPoint("port", addresses=fixed),))
    made = plan(replace(service, functions=(*service.functions[:2], vnf)))
    (interface,) = endpoint(made, "hub").interfaces
    assert [str(one) for one in interface.addresses] == ["192.168.1.1/24", "192.168.1.9/24", "192.168.2.1/24"]
    assert addresses(made)["b:port"] == "192.168.2.2/24"


def test_nothing_is_routed_over_a_shared_interface_unless_a_path_says_so() -> None:
    assert forwarders(plan(hub("a", "b"))) == set()
    one_armed = replace(hub("a", "b"), paths=(path("a:port", "hub:port", "b:port"),))
    made = plan(one_armed)
    assert forwarders(made) == {"hub"}
    assert routes(made, "a") == {"10.30.1.0/30": "10.30.0.1"}
    assert routes(made, "b") == {"10.30.0.0/30": "10.30.1.1"}
    assert ("a", "b") in can_reach(made)


def test_a_path_takes_only_those_of_an_interfaces_links_that_it_names() -> None:
    service = NetworkService.of(
        "s",
        [function("fw", "in", "out"), function("x", "d"), function("y", "d"), function("z", "d")],
        {"1": ["x:d", "fw:in"], "2": ["y:d", "fw:in"], "3": ["fw:out", "z:d"]},
    )
    made = plan(replace(service, paths=(path("x:d", "fw:in", "fw:out", "z:d"),)))
    assert set(routes(made, "z")) == {str(link(made, "1").subnets[0])}
    assert not routes(made, "y")


def test_a_sap_has_an_interface_per_link_instead() -> None:
    service = NetworkService.of("s", [function("x", "a", "b")], {"1": ["sap", "x:a"], "2": ["sap", "x:b"]})
    made = plan(service)
    assert not made.splits
    assert [i.name for i in endpoint(made, "sap").interfaces] == ["sap", "sap.2"]


def test_the_mtu_is_the_narrowest_of_all_links() -> None:
    topology = Topology((PoP("p1"), PoP("p2")), (PopLink("p1", "p2", mtu=1400),))
    made = plan(hub("a", "b"), topology, placement={"hub": "p1", "a": "p1", "b": "p2"})
    assert endpoint(made, "hub").interfaces[0].mtu == 1400
    assert endpoint(made, "a").interfaces[0].mtu == 1500


def test_a_transparent_vnf_joins_all_links_of_its_interfaces() -> None:
    service = NetworkService.of(
        "s",
        [function("ids", "in", "out")],
        {"1": ["a", "ids:in"], "2": ["b", "ids:in"], "3": ["ids:out", "c"]},
    )
    made = plan(service, vnfs={"ids": {"transparent": True}})
    assert len({one.subnets for one in made.links}) == 1
    assert set(addresses(made)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("first", "second"),
    [(["x:a", "y:a"], ["y:a", "x:a"]), (["x:a", "y:a"], ["x:a", "y:a"]), (["s", "y:a"], ["y:a", "s"])],
)
def test_paired_e_lines_are_one_circuit_under_two_names(first: list[str], second: list[str]) -> None:
    service = NetworkService.of("s", [function("x", "a"), function("y", "a")], {"l": first, "l-rev": second})
    made = plan(service)
    (one,) = made.links
    assert (one.id, one.aliases) == ("l", ("l-rev",))
    assert made.link("l-rev") is one
    assert made.warnings == ("E-Line 'l-rev' is the same circuit as 'l' and is not wired again",)
    assert not made.splits
    (impaired,) = plan(service, links={"l-rev": {"delay": "5ms"}}).links
    assert impaired.impaired == (Impairment(delay=0.005), Impairment(delay=0.005))
    with pytest.raises(PlanningError, match="'l-rev' and 'l' are one circuit; write all of it under one id"):
        plan(service, links={"l": {"delay": "5ms"}, "l-rev": {"loss": "1%"}})


def test_two_lines_between_two_saps_are_two() -> None:
    made = plan(NetworkService.of("s", [], {"1": ["a", "b"], "2": ["a", "b"]}))
    assert [one.id for one in made.links] == ["1", "2"]


def test_a_lan_of_one_member_is_a_link_like_any_other() -> None:
    made = plan(NetworkService.of("s", [function("x", "a")], {}, lans={"l": ["x:a"]}))
    assert addresses(made) == {"x:a": "10.20.0.1/24"}
    assert [bridge.ports for bridge in link(made, "l").bridges] == [
        (endpoint(made, "x").interfaces[0].outer,)
    ]


# E-Trees


def tree(*ends: str, root: str | None = None) -> NetworkService:
    vnfs = dict.fromkeys(end.partition(":")[0] for end in ends if ":" in end)
    service = NetworkService.of("s", [function(vnf_id, "d") for vnf_id in vnfs], {}, lans={"t": list(ends)})
    (lan,) = service.links
    chosen = Reference.parse(root) if root else None
    return replace(service, links=(replace(lan, connectivity="E-Tree", root=chosen),))


def reached(of: DeploymentPlan, start: str) -> set[str]:
    """The endpoints that a broadcast frame from one endpoint comes to, by the rules of isolated ports."""
    tree_link = link(of, "t")
    bridge_of = {port: bridge for bridge in tree_link.bridges for port in bridge.ports}
    other_end = {joint.a: joint.b for joint in tree_link.joints}
    other_end.update({b: a for a, b in other_end.items()})
    owner = {end.outer: end.endpoint for end in tree_link.ends}
    found, waiting = set(), [end.outer for end in tree_link.ends if end.endpoint == start]
    while waiting:
        entered = waiting.pop()
        bridge = bridge_of[entered]
        for port in bridge.ports:
            if port == entered or {port, entered} <= set(bridge.isolated):
                continue
            if port in owner:
                found.add(owner[port])
            else:
                waiting.append(other_end[port])
    return found


@pytest.mark.parametrize(
    "placement",
    [
        {},
        {"a": "p2", "b": "p1", "c": "p3", "d": "p2"},
        {"a": "p1", "b": "p3", "c": "p3", "d": "p2"},
        {"a": "p3", "b": "p1", "c": "p2", "d": "p1"},
    ],
)
@pytest.mark.parametrize("root", [None, "c:d"])
def test_leaves_reach_the_root_only_whatever_stands_where(
    placement: dict[str, str], root: str | None
) -> None:
    made = plan(tree("a:d", "b:d", "c:d", "d:d", root=root), THREE, placement=placement or "first")
    top = "c" if root else "a"
    leaves = {"a", "b", "c", "d"} - {top}
    assert str(link(made, "t").root) == f"{top}:d"
    assert reached(made, top) == leaves
    for leaf in leaves:
        assert reached(made, leaf) == {top}


def test_a_tree_is_addressed_as_a_lan_and_carries_no_routes() -> None:
    made = plan(tree("a:d", "b:d", "s"))
    assert addresses(made) == {"a:d": "10.20.0.1/24", "b:d": "10.20.0.2/24", "s": "10.20.0.3/24"}
    service = replace(tree("a:d", "b:d", "c:d"), paths=(path("b:d", "c:d"),))
    assert "no virtual link joins 'b:d' and 'c:d'" in plan(service).warnings[0]


# What the keeper is told


def lines_of(made: DeploymentPlan, **more: Any) -> list[str]:
    return [line for batch in fabric_batches(made, lambda endpoint_id: "1", **more) for line in batch.lines]


def test_arms_are_isolated_ports_and_their_ends_are_joined_as_outer_ends_are() -> None:
    made = plan(hub("a", "b"))
    split = the_split(made)
    lines = lines_of(made)
    (a,), (b,) = (endpoint(made, name).interfaces for name in "ab")
    for arm, other in zip(split.arms, (a, b), strict=True):
        assert f"link set dev {arm.port} master {split.bridge}" in lines
        assert f"link set dev {arm.port} type bridge_slave group_fwd_mask 0xfffd isolated on" in lines
        assert any(
            line.startswith(f"filter add dev {arm.end} ") and line.endswith(other.outer) for line in lines
        )
        assert any(
            line.startswith(f"filter add dev {other.outer} ") and line.endswith(arm.end) for line in lines
        )
    assert f"link set dev {split.outer} master {split.bridge}" in lines
    assert not any(line.endswith("isolated on") and split.outer in line for line in lines)
    assert lines.index(f"link set dev {split.arms[0].end} up") > 0


def test_a_vnf_that_comes_back_is_put_into_its_bridge_and_the_arms_stay() -> None:
    made = plan(hub("a", "b"))
    split = the_split(made)
    present = {i.outer for one in made.endpoints for i in one.interfaces}
    lines = lines_of(made, endpoints={"hub"}, present=present)
    assert f"link set dev {split.outer} master {split.bridge}" in lines
    assert not any(arm.end in line or arm.port in line for line in lines for arm in split.arms)
    (a,) = endpoint(made, "a").interfaces
    back = lines_of(made, endpoints={"a"}, present=present)
    assert [line for line in back if split.arms[0].end in line] == [
        line
        for line in back
        if line.startswith(("filter", f"qdisc add dev {split.arms[0].end}")) and split.arms[0].end in line
    ]
    assert f"filter del dev {split.arms[0].end} ingress pref 10" in back
    assert f"qdisc add dev {a.outer} clsact" in back
