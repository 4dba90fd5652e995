"""What holds for every plan, whatever service and topology it is made from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.planning.plan import DeploymentPlan, LinkPlan
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.pure.services import can_reach, given_out, plan

ADAPTER = TypeAdapter(DeploymentPlan)


@dataclass(frozen=True)
class Case:
    service: NetworkService
    topology: Topology
    options: dict[str, Any]

    def plan(self, *before: DeploymentPlan) -> DeploymentPlan:
        return plan(self.service, self.topology, allocations=given_out(*before), **self.options)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Connected PoPs with some more links than they need, in any order, none of them shaped."""
    count = draw(st.integers(1, 7))
    pops = tuple(PoP(f"p{number}") for number in range(count))
    links = [PopLink(f"p{draw(st.integers(0, number - 1))}", f"p{number}") for number in range(1, count)]
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    if pairs:
        extra = draw(st.lists(st.sampled_from(pairs), max_size=4, unique=True))
        known = {(link.a, link.b) for link in links}
        links += [PopLink(f"p{a}", f"p{b}") for a, b in extra if (f"p{a}", f"p{b}") not in known]
    return Topology(pops, tuple(draw(st.permutations(links))))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Services of E-Lines and E-LANs over free interfaces and SAPs, some VNFs transparent."""
    functions = [
        NetworkFunction(f"v{number}", interfaces=[f"i{port}" for port in range(draw(st.integers(1, 4)))])
        for number in range(draw(st.integers(1, 7)))
    ]
    free = draw(st.permutations([f"{vnf.id}:{point}" for vnf in functions for point in vnf.interfaces]))
    saps = [f"s{number}" for number in range(draw(st.integers(0, 3)))]
    ends = [*free, *saps, *draw(st.lists(st.sampled_from(saps), max_size=2))] if saps else list(free)
    links: dict[str, list[str]] = {}
    lans: dict[str, list[str]] = {}
    for _ in range(draw(st.integers(0, 10))):
        if len(ends) < 2:
            break
        size = draw(st.sampled_from([2, 2, 2, min(4, len(ends))]))
        members = list(dict.fromkeys(ends.pop(draw(st.integers(0, len(ends) - 1))) for _ in range(size)))
        if len(members) == 2:
            links[f"line{len(links)}"] = members
        elif len(members) > 2:
            lans[f"lan{len(lans)}"] = members
    service = NetworkService.of("random", functions, links, lans=lans)
    vnfs: dict[str, Any] = {
        vnf.id: {"transparent": list(vnf.interfaces[:2])}
        for vnf in functions
        if len(vnf.interfaces) > 1 and draw(st.integers(0, 3)) == 0
    }
    options = {
        "vnfs": vnfs,
        "address_plan": draw(st.sampled_from(["vim-emu", "seed", "llcm"])),
        "routes": draw(st.sampled_from(["path", "path", "all", "none"])),
    }
    return Case(service, draw(topologies()), options)


@settings(max_examples=200, deadline=None)
@given(cases())
def test_the_same_question_has_the_same_answer_and_travels_as_json(case: Case) -> None:
    made = case.plan()
    assert case.plan() == made
    assert ADAPTER.validate_json(ADAPTER.dump_json(made)) == made


@settings(max_examples=200, deadline=None)
@given(cases())
def test_addresses_are_unique_and_lie_in_their_links_subnet(case: Case) -> None:
    made = case.plan()
    interfaces = {i.outer: i for one in made.endpoints for i in one.interfaces}
    given_addresses = [address for i in interfaces.values() for address in i.addresses]
    assert len({address.ip for address in given_addresses}) == len(given_addresses)
    bare = {i.outer for one in made.endpoints if one.transparent for i in one.interfaces[:2]}
    for link in made.links:
        (subnet,) = link.subnets
        for end in link.ends:
            if end.outer in bare:
                assert not interfaces[end.outer].addresses
            else:
                (address,) = interfaces[end.outer].addresses
                assert address.network == subnet
                assert address.ip not in (subnet.network_address, subnet.broadcast_address)
    for interface in interfaces.values():
        assert interface.link is not None or not interface.addresses


@settings(max_examples=200, deadline=None)
@given(cases())
def test_two_instances_of_a_bed_share_no_name_and_no_pooled_network(case: Case) -> None:
    first = case.plan()
    second = case.plan(first)
    names = [name for made in (first, second) for name in _fabric_names(made)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[vbj]\d+\.\d+[ab]?", name) and len(name) <= 15 for name in names)
    macs = [i.mac for made in (first, second) for one in made.endpoints for i in one.interfaces]
    assert len(set(macs)) == len(macs)
    containers = [e.container.name for made in (first, second) for e in made.endpoints if e.container]
    assert len(set(containers)) == len(containers)
    networks = [{network for link in made.links for network in link.subnets} for made in (first, second)]
    if case.options["address_plan"] == "vim-emu":
        assert not networks[0] & networks[1]
    else:
        assert networks[0] == networks[1]


def _fabric_names(made: DeploymentPlan) -> Iterable[str]:
    for one in made.endpoints:
        yield from (interface.outer for interface in one.interfaces)
    for link in made.links:
        yield from (bridge.name for bridge in link.bridges)
        yield from (end for joint in link.joints for end in (joint.a, joint.b))


@settings(max_examples=200, deadline=None)
@given(cases())
def test_a_lan_is_a_tree_that_joins_exactly_its_members(case: Case) -> None:
    known = {link.name for link in case.topology.links}
    for link in case.plan().links:
        assert set(link.pop_links) <= known
        if link.kind == "E-Line":
            _check_way(link, case.topology)
            continue
        ports = [port for bridge in link.bridges for port in bridge.ports]
        assert len(set(ports)) == len(ports)
        joints = {end for joint in link.joints for end in (joint.a, joint.b)}
        assert set(ports) == joints | {end.outer for end in link.ends}
        pops = [bridge.pop for bridge in link.bridges]
        assert len(set(pops)) == len(pops) == len(link.joints) + 1
        joined = {pops[0]}
        for _ in link.joints:
            for joint in link.joints:
                if {joint.pop_a, joint.pop_b} & joined:
                    joined |= {joint.pop_a, joint.pop_b}
        # As many joints as bridges less one, and all of them joined: no loop.
        assert joined == set(pops)
        where = {port: bridge.pop for bridge in link.bridges for port in bridge.ports}
        assert all(where[end.outer] == end.pop for end in link.ends)
        assert all((where[j.a], where[j.b]) == (j.pop_a, j.pop_b) for j in link.joints)


def _check_way(link: LinkPlan, topology: Topology) -> None:
    at = link.ends[0].pop
    for name in link.pop_links:
        (crossed,) = (one for one in topology.links if one.name == name)
        assert at in (crossed.a, crossed.b)
        at = crossed.b if at == crossed.a else crossed.a
    assert at == link.ends[1].pop


@settings(max_examples=200, deadline=None)
@given(cases())
def test_routes_lead_on_and_nobody_else_forwards(case: Case) -> None:
    made = case.plan()
    owners = {i.addresses[0].ip: one for one in made.endpoints for i in one.interfaces if i.addresses}
    forwarding = {one.id for one in made.endpoints if dict(one.sysctls)["net.ipv4.ip_forward"] == "1"}
    lines = {link.id for link in made.links if link.kind == "E-Line"}
    for one in made.endpoints:
        own = {address.network for i in one.interfaces for address in i.addresses}
        out_of = {i.name: i for i in one.interfaces}
        assert one.id not in forwarding or one.kind == "vnf"
        assert len({route.destination for route in one.routes}) == len(one.routes)
        for route in one.routes:
            assert route.destination not in own
            assert any(route.gateway in address.network for address in out_of[route.interface].addresses)
            gateway = owners[route.gateway]
            if route.destination.prefixlen:
                assert gateway.id in forwarding
            if case.options["routes"] == "path":
                assert out_of[route.interface].link in lines
    if case.options["routes"] == "none":
        assert not forwarding
        assert not any(one.routes for one in made.endpoints)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), topologies())
def test_the_ends_of_a_chain_reach_each_other(length: int, topology: Topology) -> None:
    members = [NetworkFunction(f"v{number}") for number in range(length)]
    made = plan(NetworkService.chain("input", *members, "output"), topology)
    ids = {one.id for one in made.endpoints}
    assert can_reach(made) == {(a, b) for a in ids for b in ids if a != b}
