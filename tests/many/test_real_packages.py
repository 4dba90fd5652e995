"""Real packages boot on two PoPs and in one, and their links carry what they should and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.targets import find_target
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.planning.plan import LinkEnd, LinkPlan
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.frames import BROADCAST, Ear, Mouth, frame, wait_for
from tests.support.traffic import bulk


@dataclass(frozen=True)
class Case:
    """A package, how it runs on stand-ins, and which virtual links its transparent VNFs join."""

    package: str
    vnfs: int
    options: dict[str, Any] = field(default_factory=dict)
    joined: tuple[frozenset[str], ...] = ()


BRIDGE = {"transparent": ["input", "output"], "command": ["sonemu-forward", "bridge", "input", "output"]}
CASES = {
    "empty": Case("sonata-empty-service.son", 3),
    "snort": Case(
        "sonata-snort-service.son",
        1,
        {"vnfs": {"snort_vnf": BRIDGE}},
        (frozenset({"link-input", "link-output"}),),
    ),
    "vforward": Case("vforward-8-1.son", 8),
}
TOPOLOGIES = {
    "one PoP": Topology((PoP("pop1"),)),
    "two PoPs": Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),)),
}


@dataclass(frozen=True)
class Running:
    case: Case
    service: Service

    def together(self, a: str, b: str) -> bool:
        """Whether frames of link `a` may be seen on link `b`."""
        return a == b or any({a, b} <= group for group in self.case.joined)


CHOICES = [(case, where) for case in CASES for where in TOPOLOGIES]


@pytest.fixture(scope="module", params=CHOICES, ids="-".join)
def running(request: pytest.FixtureRequest, shared_packages: Path) -> Iterator[Running]:
    name, where = request.param
    case = CASES[name]
    with TestBed(TOPOLOGIES[where], images={"*": "sonemu/vnf-base"}) as bed:
        yield Running(case, bed.start(shared_packages / case.package, **case.options))


def data_ends(link: LinkPlan, service: Service) -> list[LinkEnd]:
    """The ends of a link that have an address."""
    return [end for end in link.ends if service.endpoint(end.endpoint).interface(end.interface).addresses]


def test_an_interface_left_alone_hears_nothing(running: Running) -> None:
    """First of all, before anybody has spoken: what follows leaves neighbours to be looked for again."""
    service = running.service
    ears = [Ear(endpoint) for endpoint in (*service.vnfs.values(), *service.saps.values())]
    assert wait_for(ears, b"", timeout=5.0) == {}


def test_each_vnf_is_one_container_with_its_interfaces(running: Running) -> None:
    service = running.service
    assert len(service.vnfs) == running.case.vnfs
    for vnf in service.vnfs.values():
        assert vnf.container.status == "running"
        assert {interface.name for interface in vnf.interfaces} >= {"mgmt", "input", "output"}
        assert all(interface.up for interface in vnf.interfaces)


def test_each_e_line_carries_ping_and_bulk_tcp_both_ways(running: Running) -> None:
    service = running.service
    lines = [
        link for link in service.plan.links if link.kind == "E-Line" and len(data_ends(link, service)) == 2
    ]
    pairs = [pair for link in lines for pair in permutations(link.ends)]
    if running.case.joined:
        # Through the transparent VNF: from SAP to SAP.
        a, b = (service.sap(sap) for sap in ("input", "output"))
        assert a.ip() in b.interfaces[0].addresses[0].network
        assert service.ping("input", "output").loss == 0
        assert bulk(a, b, b.ip()) == bulk(b, a, a.ip()) == 4_000_000
    else:
        assert pairs
    for source, target in pairs:
        assert service.ping(str(source), str(target)).loss == 0
        there = service.endpoint(target.endpoint)
        address = find_target(service.plan, str(target)).address
        assert bulk(service.endpoint(source.endpoint), there, address) == 4_000_000


def test_each_e_lan_joins_exactly_its_members(running: Running) -> None:
    service = running.service
    (lan,) = (link for link in service.plan.links if link.kind == "E-LAN")
    members = data_ends(lan, service)
    assert len(members) == running.case.vnfs + 1
    for source, target in permutations(members, 2):
        assert service.ping(str(source), str(target), count=1).loss == 0
    subnet = lan.subnets[0]
    taken = {find_target(service.plan, str(end)).address for end in members}
    strangers = [address for address in map(ip_address, subnet.hosts()) if address not in taken]
    for stranger in strangers[:2]:
        assert service.sap("mgmt").ping(stranger, count=1, timeout=0.3).received == 0


def test_no_frame_of_one_link_is_seen_on_another(running: Running) -> None:
    service = running.service
    ears = [Ear(endpoint) for endpoint in (*service.vnfs.values(), *service.saps.values())]
    link_of = {f"{end.endpoint}:{end.interface}": link.id for link in service.plan.links for end in link.ends}
    unseen = []
    for link in service.plan.links:
        for end in link.ends:
            mouth = Mouth(service.endpoint(end.endpoint), end.interface)
            source = service.endpoint(end.endpoint).mac(end.interface)
            for kind, mac in (("broadcast", BROADCAST), ("unicast", _peer_mac(service, link, end))):
                mark = f"{end} {kind} mark".encode().ljust(46, b".")
                mouth.send(frame(mac, source, mark))
                heard = wait_for(ears, mark)
                # A bridge inside a transparent VNF hears them too, and is no connection point.
                heard = {place: frames for place, frames in heard.items() if place in link_of}
                wrong = [place for place in heard if not running.together(link.id, link_of[place])]
                assert not wrong, f"{kind} sent at {end} ({link.id}) was seen at {wrong}"
                if not heard:
                    unseen.append(f"{kind} at {end}")
            mouth.close()
    assert not unseen, "frames that nobody saw prove nothing"


def _peer_mac(service: Service, link: LinkPlan, end: LinkEnd) -> str:
    peer = next(other for other in link.ends if other != end)
    return service.endpoint(peer.endpoint).mac(peer.interface)


def test_the_chain_is_reached_by_plain_ip_and_no_packet_of_it_is_on_the_management_link(
    running: Running,
) -> None:
    service = running.service
    ears = management_ears(service)
    assert service.ping("input", "output").loss == 0
    result = service.connect("input", "output", tcp=8080, listen=True)
    assert (result.outcome, result.path.open) == ("open", True)
    assert ip_packets(ears) == []


def test_an_address_answers_only_where_a_route_was_planned(running: Running) -> None:
    """The management SAP has no way into the data links, and the data SAPs none into management."""
    service = running.service
    others = list(service.vnfs.values())[1:]
    ears = management_ears(service)
    pairs = [("mgmt", service.sap("output").ip()), ("input", service.sap("mgmt").ip())]
    pairs += [("input", vnf.ip("mgmt")) for vnf in others]
    pairs += [("mgmt", vnf.ip("input")) for vnf in others]
    for source, address in pairs:
        assert service.sap(source).ping(address, count=1, timeout=0.3).received == 0
    assert ip_packets(ears) == []


def management_ears(service: Service) -> list[Ear]:
    return [Ear(service.endpoint(end.endpoint), end.interface) for end in service.link("mgmt").plan.ends]


def ip_packets(ears: list[Ear]) -> list[tuple[str, bytes]]:
    """What the ears have heard of IP (neighbours are asked for again now and then)."""
    return [heard for ear in ears for heard in ear.heard() if heard[1][12:14] == b"\x08\x00"]
