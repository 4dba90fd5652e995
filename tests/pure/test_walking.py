"""Which of an endpoint's addresses its bare name means, to a probe and in the hosts tables alike."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest
from hypothesis import given, settings

from pytest_sonemu.descriptors.model import ConnectionPoint, NetworkFunction, NetworkService
from pytest_sonemu.errors import ProbeError
from pytest_sonemu.handles.targets import find_target
from pytest_sonemu.planning.plan import DeploymentPlan
from tests.pure.services import (
    addresses,
    empty_service,
    endpoint,
    function,
    plan,
    vforward_service,
)
from tests.pure.test_plan_properties import Case, cases


def meant(of: DeploymentPlan, source: str, target: str) -> str:
    return str(find_target(of, target, endpoint(of, source)).address)


def in_hosts(of: DeploymentPlan, source: str, target: str) -> str:
    return str(dict(endpoint(of, source).hosts)[target])


def test_a_vnf_in_a_chain_is_the_interface_at_which_packets_come_in() -> None:
    made = plan(empty_service())
    own = {name: address.partition("/")[0] for name, address in addresses(made).items()}
    for source, target, point in (
        ("input", "empty_vnf1", "input"),
        ("input", "empty_vnf2", "input"),
        ("input", "empty_vnf3", "input"),
        ("output", "empty_vnf1", "output"),
        ("output", "empty_vnf2", "output"),
        ("empty_vnf1", "empty_vnf3", "input"),
        ("empty_vnf3", "empty_vnf1", "output"),
        ("empty_vnf1", "empty_vnf2", "input"),
        ("mgmt", "empty_vnf2", "mgmt"),
    ):
        assert meant(made, source, target) == own[f"{target}:{point}"], (source, target)
        assert in_hosts(made, source, target) == own[f"{target}:{point}"], (source, target)


def test_every_vnf_of_a_long_chain_is_found_from_both_ends() -> None:
    made = plan(vforward_service())
    for number in range(1, 9):
        vnf_id = f"vforward_vnf_{number}_1"
        ours = addresses(made)
        assert ours[f"{vnf_id}:input"].startswith(meant(made, "input", vnf_id) + "/")
        assert ours[f"{vnf_id}:output"].startswith(meant(made, "output", vnf_id) + "/")


def test_two_ways_that_are_alike_are_an_error_that_lists_them() -> None:
    """Two links between the same two VNFs: neither is the nearer one."""
    service = NetworkService.of(
        "twins",
        [function("a", "x", "y"), function("b", "x", "y")],
        {"l1": ["a:x", "b:x"], "l2": ["a:y", "b:y"]},
    )
    with pytest.raises(ProbeError, match=r"name one: b:x \(10\.30\.0\.2\), b:y \(10\.30\.1\.2\)"):
        meant(plan(service), "a", "b")


def test_several_addresses_of_one_interface_are_one_place() -> None:
    fixed = NetworkFunction(
        "b",
        connection_points=(
            ConnectionPoint("in", addresses=tuple(ip_interface(f"192.168.7.{n}/24") for n in (2, 9))),
        ),
    )
    made = plan(NetworkService.of("s", [function("a", "out"), fixed], {"l": ["a:out", "b:in"]}))
    assert meant(made, "a", "b") == "192.168.7.2"


def test_behind_a_default_route_too_the_entrance_counts() -> None:
    """The SAP's own table says nothing of link-23; the VNF it hands everything to knows the way."""
    made = plan(empty_service(with_path=False), routes="path")
    bare = [
        replace(one, routes=tuple(r for r in one.routes if not r.destination.prefixlen))
        if one.id == "input"
        else one
        for one in made.endpoints
    ]
    made = replace(made, endpoints=tuple(bare))
    own = addresses(made)
    assert own["empty_vnf2:input"].startswith(meant(made, "input", "empty_vnf2") + "/")


@settings(max_examples=300, deadline=None)
@given(cases())
def test_names_in_hosts_tables_are_what_a_probe_takes(case: Case) -> None:
    made = case.plan()
    for source in made.endpoints:
        for name, address in source.hosts:
            if name in ("localhost", source.id):
                continue
            try:
                target = find_target(made, name, source)
            except ProbeError:
                continue
            assert target.address == address
