"""Names, placement, ways, realisation, containers, and the plan as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pytest_sonemu.descriptors import interface_names
from pytest_sonemu.descriptors.model import (
    ConnectionPoint,
    NetworkFunction,
    NetworkService,
    Place,
    Reference,
    Resources,
    VirtualLink,
)
from pytest_sonemu.errors import CapabilityError, PlacementError, PlanningError
from pytest_sonemu.planning import names
from pytest_sonemu.planning.containers import is_shell
from pytest_sonemu.planning.describe import describe
from pytest_sonemu.planning.make import make_hosts_plan
from pytest_sonemu.planning.plan import Allocations, ContainerPlan, DeploymentPlan, ImageChoice
from pytest_sonemu.planning.realisation import realisation_of
from pytest_sonemu.planning.relaying import asked_links, topology_links
from pytest_sonemu.planning.ways import Ways
from pytest_sonemu.relay.model import Impairment
from pytest_sonemu.topology.impairments import Access
from pytest_sonemu.topology.model import AccessLink, Host, PoP, PopLink, SapSite, Topology
from tests.pure.services import (
    IMAGE,
    TWO_POPS,
    addresses,
    empty_service,
    endpoint,
    function,
    given_out,
    link,
    plan,
    snort_service,
)

# Names


@pytest.mark.parametrize("point", ["input", "port0", "my_if", "a.b", "fifteen-bytes-x", "eth0@2", "größe"])
def test_an_interface_is_named_as_its_connection_point(point: str) -> None:
    assert names.interface_name(point) == point
    assert names.alternative_name(point, point) is None


@pytest.mark.parametrize(
    "point",
    ["sixteen-bytes-xx", "a/b", "output   ", "a:b", "lo", ".", "..", "all", "default", "eth%d", "50%"],
)
def test_an_id_that_the_kernel_refuses_is_shortened(point: str) -> None:
    name = names.interface_name(point)
    assert name != point
    assert 1 <= len(name.encode()) <= 15
    assert not set(name) & set("/:% ")
    head, _, digest = name.rpartition("-")
    assert point.startswith(head.replace("-", "")[:1])
    assert len(digest) == 4
    assert names.interface_name(point) == name


def test_the_full_id_is_an_altname_where_the_kernel_takes_it() -> None:
    made = plan(NetworkService.of("s", [function("v", "a-rather-long-port")], {}))
    (interface,) = endpoint(made, "v").interfaces
    assert interface.name.startswith("a-rather-l-")
    assert (interface.connection_point, interface.altname) == ("a-rather-long-port", "a-rather-long-port")
    assert names.alternative_name("a b", "a-b-0000") is None


def test_ids_that_collide_are_an_error_with_both_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface_names, "digest", lambda text: "0000")
    points = (
        ConnectionPoint("much-too-long-one", place=Place("vnfd.yml", 7)),
        ConnectionPoint("much-too-long-two", place=Place("vnfd.yml", 9)),
    )
    with pytest.raises(PlanningError, match=r"vnfd\.yml:7:0 and vnfd\.yml:9:0"):
        names.interface_names("fw", points)


def test_containers_are_named_after_bed_and_vnf() -> None:
    assert names.container_name("bed", "fw", ()) == "sonemu-bed-fw"
    assert names.container_name("bed", "fw", {"sonemu-bed-fw"}) == "sonemu-bed-fw-2"
    assert names.container_name("bed", "fw", {"sonemu-bed-fw", "sonemu-bed-fw-2"}) == "sonemu-bed-fw-3"
    odd, other = names.container_name("bed", "fw one", ()), names.container_name("bed", "fw/one", ())
    assert odd != other
    assert odd.startswith("sonemu-bed-fw-one-")
    assert names.hostname("fw_1") == "fw_1"
    assert len(names.hostname("x" * 80)) == 63


def test_a_second_instance_has_names_of_its_own() -> None:
    first = plan(empty_service())
    second = plan(empty_service(), allocations=given_out(first))
    assert (first.instance, second.instance) == ("sonata-empty-service", "sonata-empty-service-2")
    container = endpoint(second, "empty_vnf1").container
    assert container is not None
    assert container.name == "sonemu-bed-empty_vnf1-2"
    assert plan(empty_service(), instance="mine").instance == "mine"

    def of(made: DeploymentPlan) -> set[str]:
        ends = [value for one in made.endpoints for i in one.interfaces for value in (i.outer, i.mac)]
        ends += [b.name for one in made.links for b in one.bridges]
        return {*ends, *(end for one in made.links for j in one.joints for end in (j.a, j.b))}

    assert not of(first) & of(second)
    assert all(len(name) <= 17 for name in of(second))


def test_macs_are_local_unicast_and_those_of_the_descriptor_win() -> None:
    vnf = NetworkFunction(
        "v", connection_points=(ConnectionPoint("a", mac="0a:00:00:00:00:07"), ConnectionPoint("b"))
    )
    made = plan(NetworkService.of("s", [vnf], {}))
    first, second = endpoint(made, "v").interfaces
    assert first.mac == "0a:00:00:00:00:07"
    assert int(second.mac[:2], 16) & 3 == 2
    with pytest.raises(PlanningError):
        names.mac(1, 1 << 16)


# Placement

THREE = Topology((PoP("a"), PoP("b"), PoP("c")), (PopLink("a", "b"), PopLink("b", "c")))


def pops(made: DeploymentPlan) -> dict[str, str]:
    return {one.id: one.pop for one in made.endpoints}


def test_round_robin_in_descriptor_order() -> None:
    assert pops(plan(empty_service())) == {
        "empty_vnf1": "pop1",
        "empty_vnf2": "pop2",
        "empty_vnf3": "pop1",
        "input": "pop1",
        "output": "pop1",
        "mgmt": "pop1",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"placement": "first"}, ["a", "a", "a"]),
        ({"placement": {"empty_vnf1": "c"}}, ["c", "a", "b"]),
        ({"placement": "first", "vnfs": {"empty_vnf2": {"pop": "b"}}}, ["a", "b", "a"]),
        ({"vnfs": {"empty_vnf1": {"pop": "b"}}}, ["b", "a", "b"]),
        (
            {"placement": lambda service, topology: {vnf.id: "c" for vnf in service.functions[1:]}},
            ["a", "c", "c"],
        ),
    ],
)
def test_placement_by_name_map_option_and_callable(options: Mapping[str, Any], expected: list[str]) -> None:
    placed = pops(plan(empty_service(), THREE, **options))
    assert [placed[f"empty_vnf{number}"] for number in (1, 2, 3)] == expected


def test_saps_stand_where_their_vnf_is_unless_told_otherwise() -> None:
    at = {"empty_vnf1": "b", "empty_vnf2": "a", "empty_vnf3": "c"}
    placed = pops(plan(empty_service(), THREE, placement=at))
    assert (placed["input"], placed["output"], placed["mgmt"]) == ("b", "c", "b")
    told = replace(THREE, saps=(SapSite("input", pop="c"), SapSite("output", pop="a")))
    placed = pops(plan(empty_service(), told, placement=at, saps={"output": {"pop": "b"}}))
    assert (placed["input"], placed["output"]) == ("c", "b")
    only_saps = NetworkService.of("s", [], {"l": ["x", "y"]})
    assert pops(plan(only_saps, THREE)) == {"x": "a", "y": "a"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"placement": {"empty_vnf1": "pop3"}},
            "VNF 'empty_vnf1' should stand in PoP 'pop3'.*there are: pop1, pop2",
        ),
        ({"placement": {"empty_vfn1": "pop1"}}, r"did you mean 'empty_vnf1'\?"),
        ({"saps": {"input": {"pop": "pop9"}}}, "SAP 'input' should stand in PoP 'pop9'"),
    ],
)
def test_a_pop_or_vnf_that_is_not_there(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(PlacementError, match=message):
        plan(empty_service(), **options)


# Ways and realisation

DIAMOND = Topology(
    tuple(PoP(name) for name in "abcde"),
    (
        PopLink("a", "b", delay=0.01),
        PopLink("b", "d", delay=0.01),
        PopLink("a", "c", delay=0.001),
        PopLink("c", "d", delay=0.001),
        PopLink("a", "d", delay=0.03),
    ),
)


def test_ways_take_the_least_delay_then_hops_then_the_first() -> None:
    way = Ways(DIAMOND).between("a", "d", "x")
    assert [(hop.source, hop.target, hop.link.name) for hop in way] == [("a", "c", "a-c"), ("c", "d", "c-d")]
    assert [hop.link.name for hop in Ways(DIAMOND).between("d", "a", "x")] == ["c-d", "a-c"]
    flat = replace(DIAMOND, links=tuple(PopLink(one.a, one.b) for one in DIAMOND.links))
    assert [hop.link.name for hop in Ways(flat).between("a", "d", "x")] == ["a-d"]
    without = replace(flat, links=flat.links[:4])
    assert [hop.link.name for hop in Ways(without).between("a", "d", "x")] == ["a-b", "b-d"]
    assert Ways(flat).between("a", "a", "x") == ()


def test_a_pop_that_cannot_be_reached_is_named() -> None:
    island = Topology((PoP("pop1"), PoP("pop2")))
    with pytest.raises(PlanningError, match="E-Line 'link-12': no way from PoP 'pop1' to PoP 'pop2'"):
        plan(empty_service(), island)
    assert plan(empty_service(), island, placement="first").links


def test_an_e_line_names_the_pop_links_on_its_way() -> None:
    made = plan(empty_service(), THREE, placement={"empty_vnf1": "a", "empty_vnf2": "c", "empty_vnf3": "c"})
    assert link(made, "link-12").pop_links == ("a-b", "b-c")
    assert link(made, "link-23").pop_links == ()
    assert not link(made, "link-12").bridges
    assert not link(made, "link-12").joints
    assert all(one.realisation == "direct" for one in made.links)


def test_a_lan_has_a_bridge_per_pop_of_its_tree() -> None:
    made = plan(empty_service(), THREE, placement={"empty_vnf1": "c", "empty_vnf2": "a", "empty_vnf3": "a"})
    lan = link(made, "mgmt")
    assert lan.pop_links == ("b-c", "a-b")
    assert [(one.name, one.pop) for one in lan.bridges] == [("b1.1", "c"), ("b1.2", "b"), ("b1.3", "a")]
    assert [(j.pop_link, j.pop_a, j.pop_b, j.a, j.b) for j in lan.joints] == [
        ("b-c", "b", "c", "j1.1a", "j1.1b"),
        ("a-b", "a", "b", "j1.2a", "j1.2b"),
    ]
    outers = {end.endpoint: end.outer for end in lan.ends}
    assert [one.ports for one in lan.bridges] == [
        (outers["empty_vnf1"], outers["mgmt"], "j1.1b"),
        ("j1.1a", "j1.2b"),
        (outers["empty_vnf2"], outers["empty_vnf3"], "j1.2a"),
    ]


def test_a_lan_of_one_member_has_its_bridge() -> None:
    made = plan(NetworkService.of("s", [function("v", "data")], {}, lans={"lan": ["v:data"]}))
    assert [one.ports for one in link(made, "lan").bridges] == [("v1.1",)]


SHAPED = PopLink("pop1", "pop2", delay=0.01, rate=10_000_000, loss=0.01)


def test_one_function_decides_the_realisation() -> None:
    openflow = replace(TWO_POPS, fabric="openvswitch")
    plain = TWO_POPS.links[0]
    assert realisation_of(TWO_POPS, []) == "direct"
    assert realisation_of(TWO_POPS, [plain]) == "direct"
    assert realisation_of(TWO_POPS, [plain, SHAPED]) == "relayed"
    assert realisation_of(TWO_POPS, [], impaired=True) == "relayed"
    assert realisation_of(openflow, [SHAPED]) == "switched"


def test_links_over_a_shaped_pop_link_are_relayed_and_the_others_direct() -> None:
    slow = replace(TWO_POPS, links=(SHAPED,))
    made = plan(empty_service(), slow)
    assert (link(made, "link-12").realisation, link(made, "link-input").realisation) == ("relayed", "direct")
    made = plan(empty_service(), slow, placement="first")
    assert {one.realisation for one in made.links} == {"direct"}  # nothing crosses it
    made = plan(snort_service(), slow, saps={"mgmt": {"pop": "pop2"}})
    assert link(made, "mgmt").realisation == "relayed"


def test_a_pop_link_of_the_topology_is_impaired_as_it_says() -> None:
    jittery = PopLink("pop1", "pop2", jitter=0.001, duplicate=0.01, reorder=0.02, corrupt=0.03)
    assert jittery.shaped
    (link,) = topology_links(replace(TWO_POPS, links=(jittery, PopLink("pop2", "pop3"))), 1).values()
    expected = Impairment(jitter=0.001, duplicate=0.01, reorder=0.02, corrupt=0.03)
    assert replace(link.forward, seed=0) == replace(link.backward, seed=0) == expected
    assert link.forward.seed != link.backward.seed


def test_cables_of_the_topology_and_of_the_options() -> None:
    slow, lossy = Impairment(delay=0.005, rate=10**7), Impairment(loss=0.01)
    topology = replace(
        TWO_POPS,
        access=(
            AccessLink("empty_vnf1", "output", Access(slow, lossy)),
            AccessLink("empty_vnf1", "input", Access(slow, slow)),
            AccessLink("another", "input", Access(slow, slow)),
        ),
    )
    made = plan(empty_service(), topology, vnfs={"empty_vnf1": {"interfaces": {"input": {"delay": "1ms"}}}})
    found = {one.connection_point: one.access for one in endpoint(made, "empty_vnf1").interfaces}
    assert found["output"] == Access(slow, lossy)
    assert found["input"] == Access(Impairment(delay=0.001), Impairment(delay=0.001)), "an option wins"
    with pytest.raises(PlanningError, match=r"no connection point 'inputs' .*did you mean 'input'"):
        plan(
            empty_service(),
            replace(TWO_POPS, access=(AccessLink("empty_vnf1", "inputs", Access(slow, slow)),)),
        )


def test_virtual_links_that_the_options_impair() -> None:
    asked: dict[str, Any] = {
        "link-12": {"delay": "5ms", "empty_vnf2->empty_vnf1": {"loss": "1%"}},
        "mgmt": {"rate": "1Mbit"},
    }
    made = plan(empty_service(), TWO_POPS, links=asked)
    there, back = Impairment(delay=0.005), Impairment(delay=0.005, loss=0.01)
    assert (link(made, "link-12").impaired, link(made, "link-12").realisation) == ((there, back), "relayed")
    assert link(made, "mgmt").impaired == (Impairment(rate=10**6),) * 2
    assert link(made, "link-input").impaired is None
    specs = asked_links(made, 1)
    assert sorted(specs) == [f"{made.instance}/link-12", f"{made.instance}/mgmt"]
    assert specs[f"{made.instance}/link-12"].backward.seed
    assert "relayed, impaired: delay 0.005; back delay 0.005, loss 0.01" in describe(made)
    for asked, said in (
        ({"link-122": {"delay": 1}}, r"no virtual link 'link-122' \(did you mean 'link-12'\?\)"),
        ({"link-12": {"x->y": {"delay": 1}}}, "'link-12': direction 'x->y' is neither 'empty_vnf1:output->"),
        ({"mgmt": {"a->b": {"delay": 1}}}, "frames are impaired where they enter it"),
        (
            {"link-12": {"a->b": {"delay": 1}, "empty_vnf1->empty_vnf2": {"loss": 0.1}}},
            "'link-12': direction 'empty_vnf1->empty_vnf2' is said twice, also as 'a->b'",
        ),
    ):
        with pytest.raises(PlanningError, match=said):
            plan(empty_service(), TWO_POPS, links=asked)


def test_what_this_version_does_not_realise_is_refused_by_name() -> None:
    with pytest.raises(CapabilityError, match="openvswitch"):
        plan(empty_service(), replace(TWO_POPS, fabric="openvswitch"))


def test_mtu_of_link_service_and_way() -> None:
    narrow = replace(TWO_POPS, links=(PopLink("pop1", "pop2", mtu=1400),))
    made = plan(empty_service(), narrow)
    assert (link(made, "link-12").mtu, link(made, "link-input").mtu) == (1400, 1500)
    assert [i.mtu for i in endpoint(made, "empty_vnf1").interfaces] == [1400, 1500, 1400]
    with pytest.raises(
        PlanningError, match=r"'link-12' asks for an MTU of 9000, but PoP link 'pop1-pop2'.* has 1400"
    ):
        plan(empty_service(), narrow, mtu=9000)
    jumbo = plan(empty_service(), mtu=9000, vnfs={"empty_vnf2": {"mtu": 1280}})
    assert {i.mtu for i in endpoint(jumbo, "input").interfaces} == {9000}
    assert {i.mtu for i in endpoint(jumbo, "empty_vnf2").interfaces} == {1280}


# Containers

SCRIPTED = replace(IMAGE, environment=("SON_EMU_CMD=./start.sh", "SON_EMU_CMD_STOP=./stop.sh"))


def container(image: ImageChoice, vnf: NetworkFunction | None = None, **options: Any) -> ContainerPlan:
    service = NetworkService.of("s", [vnf or function("fw")], {})
    made = plan(service, images={"fw": image}, vnfs={"fw": options})
    found = endpoint(made, "fw").container
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("argv", "shell"),
    [
        (["/bin/bash"], True),
        (["sh", "-i"], True),
        (["/bin/bash", "--login"], True),
        (["/bin/sh", "-c", "/bin/bash"], True),
        (["/bin/sh", "-c", "exec bash"], True),
        (["busybox", "sh"], True),
        (["/bin/sh", "-c", "httpd -f"], False),
        (["bash", "start.sh"], False),
        (["sh", "-c", "'"], False),
        (["nginx"], False),
        ([], False),
    ],
)
def test_what_counts_as_a_shell(argv: list[str], shell: bool) -> None:
    assert is_shell(argv) is shell


def test_an_entry_script_replaces_all_but_a_shell() -> None:
    assert container(SCRIPTED).argv == ("/bin/bash",)
    assert (container(SCRIPTED).entry_script, container(SCRIPTED).stop_script) == ("./start.sh", "./stop.sh")
    assert container(replace(SCRIPTED, command=("nginx",))).argv is None
    assert container(replace(SCRIPTED, command=())).argv is None
    later = replace(SCRIPTED, environment=("SON_EMU_CMD=old", "VIM_EMU_CMD=new"))
    assert container(later).entry_script == "new"
    assert container(SCRIPTED, env={"VIM_EMU_CMD": "./mine.sh"}).entry_script == "./mine.sh"
    assert container(replace(SCRIPTED, command=("nginx",)), command="top -b").argv == ("top", "-b")


def test_images_without_scripts_run_their_own_command() -> None:
    image = replace(IMAGE, entrypoint=("/entry",), command=("serve", "-v"))
    assert container(image).argv == ("/entry", "serve", "-v")
    assert container(image, command=["check"]).argv == ("/entry", "check")
    assert container(image, NetworkFunction("fw", image="x", command=["mine"])).argv == ("/entry", "mine")
    with pytest.raises(
        PlanningError, match="VNF 'fw': image 'vnf:1' has neither an entry point nor a command"
    ):
        container(replace(IMAGE, command=()))


def test_environment_limits_and_mounts() -> None:
    vnf = NetworkFunction(
        "fw",
        image="x",
        environment={"A": "1", "B": "1"},
        resources=Resources(cpu=0.3, cpu_ids=(2, 3), memory=1000),
    )
    made = container(IMAGE, vnf, env={"B": "2"}, secrets={"KEY": "hunter2"}, memory="1M", mounts=["a:/b"])
    assert dict(made.environment) == {"VNF_NAME": "fw", "A": "1", "B": "2", "KEY": "hunter2"}
    assert (made.cpu, made.cpu_ids, made.memory) == (0.3, (2, 3), 2**20)
    assert made.secrets == ("KEY",)
    assert "hunter2" not in repr(made)
    assert "('A', '1')" in repr(made)
    assert made.hostname == "fw"
    assert [mount.target for mount in made.mounts] == ["/b"]


def test_sysctls_of_a_vnf_win_over_the_plans() -> None:
    asked = {"net.ipv4.tcp_ecn": 1, "net.ipv4.ip_forward": 0}
    made = plan(empty_service(), vnfs={"empty_vnf2": {"sysctls": asked}})
    assert dict(endpoint(made, "empty_vnf2").sysctls) == {"net.ipv4.ip_forward": "0", "net.ipv4.tcp_ecn": "1"}
    assert dict(endpoint(made, "input").sysctls) == {"net.ipv4.ip_forward": "0"}


def test_a_sap_with_an_image_is_a_container() -> None:
    made = plan(snort_service(), saps={"input": {"image": "client"}}, images={"input": IMAGE})
    found = endpoint(made, "input")
    assert found.kind == "sap"
    assert found.container is not None
    assert found.container.name == "sonemu-bed-input"
    assert endpoint(made, "output").container is None


# The service as a whole


def test_interfaces_without_a_link_exist_without_address() -> None:
    made = plan(NetworkService.of("s", [function("v")], {}))
    interfaces = endpoint(made, "v").interfaces
    assert [(i.name, i.addresses, i.link) for i in interfaces] == [
        ("mgmt", (), None),
        ("input", (), None),
        ("output", (), None),
    ]


def with_links(*links: VirtualLink) -> NetworkService:
    base = NetworkService.of("s", [function("x", "a", "b"), function("y", "a", "b")], {"one": ["x:a", "y:a"]})
    return replace(base, links=(*base.links, *links))


def line(link_id: str, *references: str, kind: Any = "E-Line") -> VirtualLink:
    (made,) = NetworkService.of("s", [], {link_id: references}).links
    return replace(made, connectivity=kind)


@pytest.mark.parametrize(
    ("service", "error", "message"),
    [
        (with_links(line("two", "x:c", "z:b")), PlanningError, r"no connection point 'c'[\s\S]*no VNF 'z'"),
        (with_links(line("two", "x:b", "nowhere")), PlanningError, "no SAP 'nowhere'"),
        (with_links(line("two", "x:b")), PlanningError, "E-Line 'two' has 1 ends, not two"),
        (with_links(line("two", "x:b", "x:b", kind="E-LAN")), PlanningError, "names 'x:b' twice"),
        (
            with_links(replace(line("two", "x:b", "y:b", kind="E-Tree"), root=Reference("x", "a"))),
            PlanningError,
            "the root of E-Tree 'two', 'x:a', is none of its ends",
        ),
        (with_links(line("one", "x:b", "y:b")), PlanningError, "'one' names two virtual links"),
        (
            NetworkService.of("s", [function("x"), function("x")], {}),
            PlanningError,
            "'x' names two endpoints",
        ),
    ],
)
def test_what_cannot_be_wired_is_named(service: NetworkService, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan(service)


def test_e_lines_that_describe_one_circuit_from_both_ends_are_one() -> None:
    made = plan(with_links(line("one-rev", "y:a", "x:a")))
    assert [one.id for one in made.links] == ["one"]
    assert made.warnings == ("E-Line 'one-rev' is the same circuit as 'one' and is not wired again",)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"saps": {"input": {"uplink": "nat", "image": "x"}}}, PlanningError, r"an image and an uplink"),
        (
            {"vnfs": {"empty_vfn1": {"cpu": 1}}},
            PlanningError,
            r"no VNF 'empty_vfn1' \(did you mean 'empty_vnf1'\?\)",
        ),
        ({"saps": {"imput": {"pop": "a"}}}, PlanningError, r"no SAP 'imput' \(did you mean 'input'\?\)"),
    ],
)
def test_options_that_cannot_be_met_are_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan(empty_service(), **options)


def test_paths_are_in_the_plan_as_written() -> None:
    (written,) = plan(snort_service()).paths
    assert written.stations == ("input", "snort_vnf:input", "snort_vnf:output", "output")


def test_the_hosts_of_a_topology_share_a_lan() -> None:
    topology = replace(TWO_POPS, hosts=(Host("h1", "pop1"), Host("h2", "pop2")))
    made = make_hosts_plan(topology, "bed", Allocations())
    assert made.instance == "topology"
    assert addresses(made) == {"h1": "10.40.0.1/24", "h2": "10.40.0.2/24"}
    assert [(one.id, one.kind, one.pop) for one in made.endpoints] == [
        ("h1", "host", "pop1"),
        ("h2", "host", "pop2"),
    ]
    assert link(made, "hosts").pop_links == ("pop1-pop2",)
    assert dict(endpoint(made, "h1").hosts)["h2"].exploded == "10.40.0.2"
    assert plan(snort_service(), topology, allocations=given_out(made)).number == 2
    assert make_hosts_plan(TWO_POPS, "bed", Allocations()).endpoints == ()
    with pytest.raises(PlacementError, match="host 'h1' should stand in PoP 'pop3'"):
        make_hosts_plan(replace(TWO_POPS, hosts=(Host("h1", "pop3"),)), "bed", Allocations())


def test_a_plan_in_words_says_what_runs_where_and_why() -> None:
    options = {"empty_vnf2": {"cpu": 0.5, "memory": "64M", "secrets": {"KEY": "hunter2"}}}
    text = describe(plan(empty_service(), images={"empty_vnf1": SCRIPTED}, vnfs=options))
    text += describe(plan(snort_service()))
    for line_of_it in (
        "  empty_vnf2 (vnf) in pop2, forwards",
        "      image vnf:1 (present), container sonemu-bed-empty_vnf2",
        "      limits 0.5 CPU, 64 MiB",
        "      entry script ./start.sh",
        "      output: 10.30.0.1/30 on link-12, 02:00:00:01:00:03",
        "      route default via 10.30.2.2 out of input",
        "  link-12 (E-Line): empty_vnf1:output — empty_vnf2:input; over pop1-pop2, direct, 10.30.0.0/30",
        "  fp01: input → snort_vnf:input → snort_vnf:output → output",
    ):
        assert line_of_it in text.splitlines()
    assert "hunter2" not in text
