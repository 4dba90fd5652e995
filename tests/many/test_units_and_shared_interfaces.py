"""VNFs of several units, interfaces in several links, E-Trees and paired E-Lines: direct and relayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    ForwardingPath,
    NetworkFunction,
    NetworkService,
    Reference,
    Unit,
    VirtualLink,
)
from pytest_sonemu.emulation.image_choice import BASE_IMAGE
from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.endpoint import Endpoint
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.frames import BROADCAST, Ear, Mouth, frame, wait_for

MARK = b"pytest-sonemu frame mark"
SETTLED = {"ready": "exec:true"}


def unit(unit_id: str, *points: str) -> Unit:
    return Unit(unit_id, image=BASE_IMAGE, connection_points=tuple(map(ConnectionPoint, points)))


def line(link_id: str, *references: str, kind: str = "E-Line") -> VirtualLink:
    (made,) = NetworkService.of("s", [], {link_id: references}).links
    return replace(
        made, connectivity="E-LAN" if kind == "E-LAN" else "E-Tree" if kind == "E-Tree" else "E-Line"
    )


GATEWAY = NetworkFunction(
    "gw",
    connection_points=(
        ConnectionPoint("north"),
        ConnectionPoint("south"),
        ConnectionPoint("mgmt", "management"),
    ),
    units=(unit("front", "eth0", "eth1", "adm"), unit("back", "eth0", "eth1", "adm")),
    internal_links=(
        line("n", "front:eth0", "north"),
        line("middle", "front:eth1", "back:eth0"),
        line("s", "back:eth1", "south"),
        line("m", "front:adm", "back:adm", "mgmt", kind="E-LAN"),
    ),
)
UNITS = NetworkService(
    "units",
    functions=(GATEWAY,),
    saps=tuple(NetworkService.of("s", [], {"a": ["client", "server"], "b": ["admin", "admin"]}).saps),
    links=(
        line("in", "client", "gw:north"),
        line("out", "gw:south", "server"),
        line("mgmt", "gw:mgmt", "admin", kind="E-LAN"),
    ),
    paths=(ForwardingPath("fp", tuple(map(Reference.parse, ("client", "gw:north", "gw:south", "server")))),),
)


def _shared() -> NetworkService:
    """Two hubs, each with one interface in several links, and SAPs at the other ends."""
    hubs = [NetworkFunction(name, image=BASE_IMAGE, interfaces=["port"]) for name in ("hub", "hub2")]
    service = NetworkService.of(
        "shared",
        hubs,
        {
            "to-a": ["hub:port", "a"],
            "to-b": ["b", "hub:port"],
            "between": ["hub:port", "hub2:port"],
            "back": ["hub2:port", "hub:port"],
            "to-d": ["hub2:port", "d"],
        },
        lans={"lan": ["c1", "hub:port", "c2"], "alone": ["e"]},
    )
    tree = line("tree", "leaf1", "leaf2", "root", "leaf3", "leaf4", kind="E-Tree")
    ends = NetworkService.of("s", [], {}, lans={"tree": list(map(str, tree.references))}).saps
    return replace(
        service,
        saps=(*service.saps, *ends),
        links=(*service.links, replace(tree, root=Reference(None, "root"))),
    )


WHERE = {
    "b": "pop2", "c1": "pop1", "c2": "pop3", "d": "pop3",
    "root": "pop2", "leaf1": "pop1", "leaf2": "pop1", "leaf3": "pop2", "leaf4": "pop3",
}  # fmt: skip


@pytest.fixture(scope="module", params=[None, 0.002], ids=["direct", "relayed"])
def bed(request: pytest.FixtureRequest) -> Iterator[TestBed]:
    links = (PopLink("pop1", "pop2", delay=request.param), PopLink("pop2", "pop3", delay=request.param))
    with TestBed(Topology((PoP("pop1"), PoP("pop2"), PoP("pop3")), links)) as bed:
        yield bed


@pytest.fixture(scope="module")
def units(bed: TestBed) -> Service:
    return bed.start(UNITS, placement={"gw": "pop1"}, vnfs={"*": SETTLED, "gw.back": {"pop": "pop2"}})


@pytest.fixture(scope="module")
def shared(bed: TestBed) -> Service:
    return bed.start(
        _shared(),
        placement={"hub": "pop1", "hub2": "pop3"},
        vnfs={"*": SETTLED},
        saps={sap: {"pop": pop} for sap, pop in WHERE.items()},
    )


def heard_of(service: Service, source: str, payload: bytes = MARK, target: str = BROADCAST) -> set[str]:
    """Where a frame that leaves an endpoint's only data interface comes in, as "endpoint:interface"."""
    endpoints: list[Endpoint] = [service.endpoint(plan.id) for plan in service.plan.endpoints]
    sender = service.endpoint(source)
    (interface, *_) = service.plan.endpoint(source).interfaces  # type: ignore[union-attr]
    with ExitStack() as stack:
        ears = [stack.enter_context(closing(Ear(endpoint))) for endpoint in endpoints]
        mouth = stack.enter_context(closing(Mouth(sender, interface.name)))
        mouth.send(frame(target, sender.mac(interface.name), payload + bytes(46)))
        return set(wait_for(ears, payload, timeout=0.5))


# Several units


def test_each_unit_runs_in_a_container_of_its_own(units: Service) -> None:
    gateway = units.vnf("gw")
    assert list(gateway.units) == ["front", "back"]
    assert [one.pop for one in gateway.units.values()] == ["pop1", "pop2"]
    names = [one.container.name for one in gateway.units.values()]
    assert names == [f"sonemu-{units.plan.bed}-gw.front", f"sonemu-{units.plan.bed}-gw.back"]
    assert [i.name for i in gateway.unit("front").interfaces] == ["north", "eth1", "mgmt"]
    assert [i.name for i in units.vnf("gw.back").interfaces] == ["eth0", "south", "mgmt"]


def test_packets_pass_the_units_in_their_order(units: Service) -> None:
    result = units.connect("client", "server", tcp=80, listen=True)
    assert result.outcome == "open"
    assert result.path.there == ("gw.front:north", "gw.front:eth1", "gw.back:eth0", "gw.back:south", "server")
    assert units.ping("server", "client").loss == 0


def test_what_is_done_to_a_vnf_of_several_units_names_the_unit(units: Service) -> None:
    gateway = units.vnf("gw")
    with pytest.raises(ProbeError, match=r"VNF 'gw' has several units; name one of: 'gw\.front', 'gw\.back'"):
        gateway.exec("true")
    with pytest.raises(ProbeError, match=r"several units; name one: gw\.front, gw\.back"):
        units.ping("gw", "client")
    with pytest.raises(NotFoundError, match="no unit of gw 'frontt'; there are: front, back"):
        gateway.unit("frontt")
    assert units.endpoint("gw:south").id == "gw.back"
    assert units.ping("server", "gw").address == units.vnf("gw.back").ip("south")


def test_names_inside_the_units(units: Service) -> None:
    front, back = units.vnf("gw.front"), units.vnf("gw.back")
    assert front.exec("getent hosts back", check=True).stdout.split()[0] == str(back.ip("eth0"))
    assert back.exec("hostname", check=True).stdout.strip() == "gw.back"
    assert units.sap("admin").ping("gw.back:mgmt").loss == 0
    assert front.ping("gw.back:mgmt").loss == 0


def test_a_unit_comes_back_as_it_was(units: Service) -> None:
    units.vnf("gw").unit("back").restart()
    assert units.ping("client", "server").loss == 0


# Interfaces in several links


def test_a_shared_interface_reaches_the_far_end_of_each_link(shared: Service) -> None:
    for target in ("a", "b", "c1", "c2", "hub2"):
        assert shared.ping("hub", target).loss == 0, target
        assert shared.ping(target, "hub").loss == 0, target


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("a", {"hub:port"}),
        ("b", {"hub:port"}),
        ("d", {"hub2:port"}),
        ("c1", {"hub:port", "c2:c2"}),
        ("c2", {"hub:port", "c1:c1"}),
        ("hub", {"a:a", "b:b", "hub2:port", "c1:c1", "c2:c2"}),
        ("hub2", {"hub:port", "d:d"}),
        ("e", set()),
        ("root", {"leaf1:leaf1", "leaf2:leaf2", "leaf3:leaf3", "leaf4:leaf4"}),
        ("leaf1", {"root:root"}),
        ("leaf2", {"root:root"}),
        ("leaf3", {"root:root"}),
        ("leaf4", {"root:root"}),
    ],
)
def test_a_broadcast_comes_to_the_links_members_and_nobody_else(
    shared: Service, source: str, wanted: set[str]
) -> None:
    assert heard_of(shared, source) == wanted


def test_unicast_between_leaves_does_not_pass_even_when_their_macs_are_known(shared: Service) -> None:
    for leaf in ("leaf1", "leaf4"):
        assert shared.ping(leaf, "root").loss == 0
    for source, target in (("leaf1", "leaf2"), ("leaf1", "leaf4"), ("leaf4", "leaf3")):
        assert heard_of(shared, source, target=shared.sap(target).mac()) == set()
    assert shared.ping("leaf1", "leaf2", count=1).received == 0


def test_unicast_leaves_a_shared_interface_for_its_link_only(shared: Service) -> None:
    assert shared.ping("hub", "b").loss == 0  # its bridge has learned where b is
    assert heard_of(shared, "hub", target=shared.sap("b").mac()) == {"b:b"}


def test_frames_are_counted_per_link(shared: Service) -> None:
    before = {link_id: link.stats() for link_id, link in shared.links.items()}
    count, mouth = 20, Mouth(shared.sap("a"), "a")
    for _ in range(count):
        mouth.send(frame(shared.vnf("hub").mac(), shared.sap("a").mac(), MARK + bytes(46)))
    mouth.close()

    def more(link_id: str, source: str) -> int:
        now, then = shared.link(link_id).stats(), before[link_id]
        return sum(d.packets for d in now.directions if d.source == source) - sum(
            d.packets for d in then.directions if d.source == source
        )

    assert more("to-a", "a") == count
    assert [more(link_id, "hub:port") for link_id in ("to-b", "between", "lan")] == [0, 0, 0]


def test_a_shared_interface_is_what_it_was_after_a_restart(shared: Service) -> None:
    shared.vnf("hub").restart()
    for target in ("a", "b", "c2", "hub2"):
        assert shared.ping(target, "hub").loss == 0, target
    assert heard_of(shared, "a") == {"hub:port"}


def test_paired_e_lines_are_one_circuit(bed: TestBed, shared: Service) -> None:
    assert list(shared.links) == ["to-a", "to-b", "between", "to-d", "lan", "alone", "tree"]
    between = shared.link("back")
    shaped = any(link.delay for link in bed.topology.links)
    assert (between.id, between.realisation) == ("between", "relayed" if shaped else "direct")
    assert shared.ping("hub2", "hub").loss == 0


def test_nothing_is_left_of_the_small_bridges(bed: TestBed) -> None:
    from pytest_sonemu.handles.interfaces import read_outer

    service = bed.start(_shared(), vnfs={"*": SETTLED})
    ours = {split.bridge for split in service.plan.splits}
    ours.update(name for split in service.plan.splits for arm in split.arms for name in (arm.port, arm.end))
    factory = service._core.bed.client
    assert ours <= set(read_outer(factory))
    service.stop()
    assert not ours & set(read_outer(factory))
