"""VNFs of several units: endpoints, mapped points, links inside, options, paths, names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest

from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    NetworkFunction,
    NetworkService,
    Place,
    Reference,
    Unit,
    VirtualLink,
)
from pytest_sonemu.errors import NotFoundError, PlacementError, PlanningError, ProbeError
from pytest_sonemu.handles.targets import find_spot, find_target
from pytest_sonemu.planning.plan import DeploymentPlan
from tests.pure.services import (
    IMAGE,
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


def unit(unit_id: str, *points: str, **more: Any) -> Unit:
    return Unit(unit_id, connection_points=tuple(map(ConnectionPoint, points)), **more)


def inside(link_id: str, *references: str, kind: Any = "E-Line", root: str | None = None) -> VirtualLink:
    return VirtualLink(
        link_id, kind, tuple(map(Reference.parse, references)), Reference.parse(root) if root else None
    )


def firewall(*links: VirtualLink, units: Sequence[Unit] = ()) -> NetworkFunction:
    """Two units: `in` takes packets, `out` lets them go; both are managed."""
    return NetworkFunction(
        "fw",
        connection_points=(
            ConnectionPoint("input"),
            ConnectionPoint("output"),
            ConnectionPoint("mgmt", "management"),
        ),
        units=tuple(units) or (unit("in", "eth0", "eth1", "eth2"), unit("out", "eth0", "eth1", "eth2")),
        internal_links=links
        or (
            inside("l-in", "in:eth0", "input"),
            inside("middle", "in:eth1", "out:eth0"),
            inside("l-out", "out:eth1", "output"),
            inside("l-mgmt", "in:eth2", "out:eth2", "mgmt", kind="E-LAN"),
        ),
        place=Place("fw.yml", 3),
    )


def service(fw: NetworkFunction, *, with_path: bool = True) -> NetworkService:
    """client - fw - web, and a management LAN if the firewall has a point for it."""
    managed = [f"{one}:mgmt" for one in ("fw", "web") if one == "web" or "mgmt" in fw.interfaces]
    made = NetworkService.of(
        "s",
        [fw, function("web", "data", "mgmt")],
        {"a": ["client", "fw:input"], "b": ["fw:output", "web:data"]},
        lans={"m": [*managed, "admin"]},
    )
    return replace(made, paths=(path("client", "fw:input", "fw:output", "web:data"),) if with_path else ())


def planned(fw: NetworkFunction, *, with_path: bool = True, **options: Any) -> DeploymentPlan:
    images = {f"fw.{one.id}": IMAGE for one in fw.units}
    return plan(service(fw, with_path=with_path), images=images, **options)


def members(of: DeploymentPlan, link_id: str) -> list[str]:
    return [str(end) for end in link(of, link_id).ends]


def test_each_unit_is_an_endpoint_with_a_container_of_its_own() -> None:
    made = planned(firewall())
    assert [one.id for one in made.endpoints] == ["fw.in", "fw.out", "web", "client", "admin"]
    assert [one.unit_of for one in made.endpoints] == ["fw", "fw", None, None, None]
    containers = [one.container for one in made.endpoints if one.container]
    assert [one.name for one in containers] == ["sonemu-bed-fw.in", "sonemu-bed-fw.out", "sonemu-bed-web"]
    assert [dict(one.environment)["VNF_NAME"] for one in containers] == ["fw.in", "fw.out", "web"]


def test_points_of_the_vnf_give_their_names_to_the_units_interfaces() -> None:
    """Ruling 25: the VNFD's id where one is mapped, else the VDU's."""
    made = planned(firewall())
    assert [i.name for i in endpoint(made, "fw.in").interfaces] == ["input", "eth1", "mgmt"]
    assert [i.name for i in endpoint(made, "fw.out").interfaces] == ["eth0", "output", "mgmt"]


def test_links_of_the_service_lead_to_the_units_and_inner_links_are_the_vnfs_own() -> None:
    made = planned(firewall())
    assert [one.id for one in made.links] == ["a", "b", "m", "fw.middle"]
    assert members(made, "a") == ["client", "fw.in:input"]
    assert members(made, "b") == ["fw.out:output", "web:data"]
    assert members(made, "m") == ["fw.in:mgmt", "fw.out:mgmt", "web:mgmt", "admin"]
    assert members(made, "fw.middle") == ["fw.in:eth1", "fw.out:eth0"]
    assert link(made, "m").management


def without_mgmt(*links: VirtualLink) -> NetworkFunction:
    fw = firewall(*links)
    return replace(fw, interfaces=(), connection_points=fw.connection_points[:2])


def test_a_point_with_several_units_behind_it_makes_a_lan_of_an_e_line() -> None:
    fw = without_mgmt(
        inside("front", "in:eth0", "out:eth0", "input", kind="E-LAN"), inside("l-out", "out:eth1", "output")
    )
    made = planned(fw, with_path=False)
    assert link(made, "a").kind == "E-LAN"
    assert members(made, "a") == ["client", "fw.in:input", "fw.out:input"]
    # The link inside is part of the one outside.
    assert [one.id for one in made.links] == ["a", "b", "m"]


def test_a_point_is_mapped_by_having_the_same_id_where_no_link_says_so() -> None:
    fw = NetworkFunction("fw", units=(unit("a", "input", "x"), unit("b", "output", "y")))
    made = planned(fw, with_path=False)
    assert members(made, "a") == ["client", "fw.a:input"]
    assert members(made, "b") == ["fw.b:output", "web:data"]


def test_what_belongs_to_the_vnfs_point_goes_to_the_one_unit_behind_it() -> None:
    fixed = ConnectionPoint("input", addresses=(ip_interface("192.168.7.9/24"),), mac="0a:00:00:00:00:07")
    fw = firewall()
    made = planned(replace(fw, interfaces=(), connection_points=(fixed, *fw.connection_points[1:])))
    (interface, *_) = endpoint(made, "fw.in").interfaces
    assert (str(interface.addresses[0]), interface.mac) == ("192.168.7.9/24", "0a:00:00:00:00:07")


def test_a_forwarding_path_goes_through_the_units_on_the_way() -> None:
    made = planned(firewall())
    assert forwarders(made) == {"fw.in", "fw.out"}
    own = addresses(made)
    web, client = own["web:data"].partition("/")[0], own["client"].partition("/")[0]
    data = {"client", "fw.in", "fw.out", "web"}
    assert can_reach(made) >= {(a, b) for a in data for b in data if a != b}
    assert str(find_target(made, "web", endpoint(made, "client")).address) == web
    assert str(find_target(made, "client", endpoint(made, "web")).address) == client
    # The path itself is kept as it was written.
    assert made.paths[0].stations == ("client", "fw:input", "fw:output", "web:data")


def test_without_a_path_units_with_two_data_interfaces_are_a_chain() -> None:
    made = planned(firewall(), with_path=False)
    assert forwarders(made) == {"fw.in", "fw.out"}
    assert len(routes(made, "client")) == 3


def test_a_path_that_no_link_inside_carries_is_a_warning() -> None:
    fw = without_mgmt(inside("l-in", "in:eth0", "input"), inside("l-out", "out:eth1", "output"))
    made = planned(fw)
    assert any("no virtual link joins 'fw.in:input' and 'fw.out:output'" in text for text in made.warnings)


def test_two_instances_of_one_vnfd_have_links_of_their_own() -> None:
    first, second = firewall(), replace(firewall(), id="fw2")
    made = plan(
        NetworkService.of("s", [first, second], {"a": ["fw:output", "fw2:input"]}),
        images={f"{vnf}.{one}": IMAGE for vnf in ("fw", "fw2") for one in ("in", "out")},
    )
    assert [one.id for one in made.links] == ["a", "fw.middle", "fw.l-mgmt", "fw2.middle", "fw2.l-mgmt"]
    assert members(made, "a") == ["fw.out:output", "fw2.in:input"]


def test_an_e_tree_inside_with_the_vnfs_point_as_root_keeps_the_units_apart() -> None:
    fw = without_mgmt(
        inside("front", "input", "in:eth0", "out:eth0", kind="E-Tree"), inside("l-out", "out:eth1", "output")
    )
    made = planned(fw, with_path=False)
    assert link(made, "a").kind == "E-Tree"
    assert str(link(made, "a").root) == "client"


# Options and placement


def test_options_of_the_vnf_count_for_all_its_units_and_those_of_a_unit_before_them() -> None:
    made = planned(
        firewall(),
        vnfs={"*": {"env": {"A": "every"}}, "fw": {"cpu": 0.5, "env": {"B": "fw"}}, "fw.out": {"cpu": 2}},
    )
    containers = {one.id: one.container for one in made.endpoints if one.container}
    assert {name: one.cpu for name, one in containers.items()} == {"fw.in": 0.5, "fw.out": 2, "web": None}
    assert dict(containers["fw.out"].environment) == {"VNF_NAME": "fw.out", "A": "every", "B": "fw"}
    assert "B" not in dict(containers["web"].environment)
    with pytest.raises(PlanningError, match=r"no VNF 'fw.ou' \(did you mean 'fw.out'\?\)"):
        planned(firewall(), vnfs={"fw.ou": {"cpu": 1}})


def test_units_stand_together_unless_one_is_placed_by_name() -> None:
    def pops(**options: Any) -> list[str]:
        return [one.pop for one in planned(firewall(), **options).endpoints[:3]]

    assert pops() == ["pop1", "pop1", "pop2"]
    assert pops(placement={"fw": "pop2"}) == ["pop2", "pop2", "pop1"]
    assert pops(vnfs={"fw.out": {"pop": "pop2"}}) == ["pop1", "pop2", "pop2"]
    with pytest.raises(PlacementError, match=r"unit 'fw\.out' should stand in PoP 'pop9'"):
        pops(vnfs={"fw.out": {"pop": "pop9"}})


# Names


def test_a_vnf_of_several_units_is_named_by_its_units() -> None:
    made = planned(firewall())
    with pytest.raises(ProbeError, match=r"VNF 'fw' has several units; name one: fw\.in, fw\.out"):
        find_spot(made, "fw")
    assert str(find_spot(made, "fw:input")) == "fw.in:input"
    assert str(find_spot(made, "fw.out:eth0")) == "fw.out:eth0"
    with pytest.raises(
        ProbeError, match=r"'fw:mgmt' is in several units; name one: fw\.in:mgmt, fw\.out:mgmt"
    ):
        find_spot(made, "fw:mgmt")
    with pytest.raises(NotFoundError, match="no connection point of fw 'inputt'; there are: "):
        find_spot(made, "fw:inputt")


def test_as_a_target_it_is_the_unit_that_packets_come_to() -> None:
    made = planned(firewall())
    for source, met in (("client", "fw.in"), ("web", "fw.out")):
        target = find_target(made, "fw", endpoint(made, source))
        assert target.endpoint == met
        hosts = dict(endpoint(made, source).hosts)
        assert hosts["fw"] == hosts[met] == target.address
    with pytest.raises(ProbeError, match=r"several units.* name one: "):
        find_target(made, "fw", endpoint(made, "admin"))


def test_units_know_each_other_by_their_short_names() -> None:
    made = planned(firewall())
    hosts = dict(endpoint(made, "fw.in").hosts)
    assert hosts["out"] == hosts["fw.out"]
    assert "fw" not in hosts
    assert "out" not in dict(endpoint(made, "web").hosts)


# Faults


@pytest.mark.parametrize(
    ("fw", "message"),
    [
        (
            NetworkFunction("fw", units=(unit("a", "x"), unit("b", "y"))),
            r"'fw:input' is mapped to none of its units' points \(the units have a: x; b: y\); add a virtual",
        ),
        (
            without_mgmt(inside("l", "inn:eth0", "input")),
            r"link 'l' inside VNF 'fw': no unit 'inn' \(did you mean 'in'\?\)",
        ),
        (
            without_mgmt(inside("l", "in:eht0", "input")),
            r"unit 'in' has no point 'eht0' \(did you mean 'eth0'",
        ),
        (
            without_mgmt(inside("l", "in:eth0", "inptu")),
            r"no connection point 'inptu' \(did you mean 'input'",
        ),
        (without_mgmt(inside("l", "input", "output")), "joins the VNF's own points input and output"),
        (
            firewall(units=(unit("a", "x"), unit("a", "y"))),
            r"VNF 'fw' \(fw.yml:3:0\) has two units of the same",
        ),
        (
            replace(
                without_mgmt(inside("l", "in:eth0", "input"), inside("o", "out:eth1", "output")),
                units=(unit("in", "eth0", "input"), unit("out", "eth1")),
            ),
            "would have two interfaces 'input'",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(fw: NetworkFunction, message: str) -> None:
    with pytest.raises(PlanningError, match=message):
        planned(fw, with_path=False)
