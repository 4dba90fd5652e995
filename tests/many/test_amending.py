"""A running service changed by the difference of its plan: hosts, taps, containers, replicas, updates."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from pytest_sonemu import TestBed
from pytest_sonemu.errors import (
    EmulationError,
    ImageError,
    NotFoundError,
    NotReadyError,
    PlanningError,
    SettingsError,
)
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.vnf import Vnf
from pytest_sonemu.planning.growing import Numbers, with_endpoint, with_host
from pytest_sonemu.planning.plan import (
    Allocations,
    DeploymentPlan,
    InterfacePlan,
    LinkEnd,
    LinkPlan,
    RoutePlan,
)
from tests.support.amended import OPTIONS, THREE_POPS, every_kind, what_is_there
from tests.support.frames import BROADCAST, Mouth, frame, mac_bytes
from tests.support.machine import wait
from tests.support.traffic import bulk

BASE = "sonemu/vnf-base"


@pytest.fixture(scope="module")
def shared_bed() -> Iterator[TestBed]:
    with TestBed(THREE_POPS, seed=5) as bed:
        yield bed


@pytest.fixture(scope="module")
def shared(shared_bed: TestBed) -> Service:
    return shared_bed.start(every_kind(), **OPTIONS)


@pytest.fixture
def views(shared_bed: TestBed, shared: Service) -> Iterator[tuple[TestBed, Service]]:
    """Views whose end leaves everything as it was: interfaces, addresses, routes, hosts, processes."""
    before, lives = what_is_there(shared_bed, shared), lives_of(shared)
    bed, service = shared_bed.view(), shared.view()
    yield bed, service
    assert (*bed.close_view(), *service.close_view()) == ()
    assert what_is_there(shared_bed, shared) == before
    assert shared.dirty is None
    changed = {name for name, life in lives_of(shared).items() if life != lives[name]}
    assert changed <= MAY_RESTART, changed
    MAY_RESTART.clear()
    assert shared.connect("user", "server", tcp=80).outcome == "open"
    assert shared.connect("client", "web", tcp=80).outcome == "open"


# What a test restarts on purpose; all others have to go on in the same life.
MAY_RESTART: set[str] = set()


def lives_of(service: Service) -> dict[str, object]:
    return {name: (vnf.state.id, vnf.state.pid) for name, vnf in service.vnfs.items()}


# -- hosts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pop", [None, "pop2", "pop3"])
def test_a_host_joins_a_lan_and_nobody_notices(views: tuple[TestBed, Service], pop: str | None) -> None:
    """In a PoP where the LAN is, over a joint, and (by a slow PoP link) where it was not yet."""
    bed, service = views
    lan = service.link("lan")
    with service.flow("client", "web", udp=5000, rate="2000pps") as flow:
        flow.wait_until_flowing()
        host = bed.host("attacker", on=lan, pop=pop)
        time.sleep(0.1)
    assert (flow.lost, flow.duplicated) == (0, 0)
    assert host.pop == (pop or "pop1")
    assert "attacker" in lan.endpoints
    assert host.ping("web").loss == 0
    assert host.ping("web").rtt.median > 0.009 or pop != "pop3"
    assert service.ping("guest", "attacker").loss == 0
    assert service.connect("attacker", "web", tcp=80).outcome == "open"
    assert host.http("http://web/").text == "hello\n"
    assert service.connect("attacker", "web", tcp=81).outcome == "refused"
    assert service.trace("attacker", "web", tcp=80).hops == ["web:lan"]
    assert (
        service.vnf("other").exec("ping -c1 -W1 attacker").ok
        or "attacker" in service.vnf("other").exec("cat /etc/hosts").stdout
    )
    assert "web" in host.run("cat", "/etc/hosts").stdout


def test_all_that_can_be_done_with_an_endpoint_can_be_done_with_an_added_one(
    views: tuple[TestBed, Service],
) -> None:
    bed, service = views
    host = bed.host("attacker", on=service.link("lan"), address="10.20.0.77")
    assert str(host.ip()) == "10.20.0.77"
    with host.capture(filter="icmp") as seen:
        host.ping("web", count=2)
    # One echo goes ahead, to learn the neighbour.
    assert len(seen.packets) == 6
    assert host.interface("attacker").stats.rx_packets > 0
    assert service.link("lan").stats()["attacker"].packets > 0
    with host.interface("attacker").down():
        assert host.ping("web", count=1, timeout=0.2).loss == 1
    assert host.ping("web").loss == 0
    with service.link("lan").impair(delay="10ms"):
        assert host.ping("web").rtt.min >= 0.019
    with service.link("lan").impair(loss="100%"):
        assert host.ping("web", count=2, timeout=0.2).loss == 1
    assert host.ping("web").rtt.min < 0.005
    server = host.spawn(["python3", "-m", "http.server", "8000"])
    assert wait(lambda: service.connect("client", "attacker", tcp=8000).outcome == "open", 10)
    server.stop()


def test_a_host_joins_an_impaired_lan(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    with service.link("lan").impair(delay="10ms"):
        host = bed.host("late", on=service.link("lan"), pop="pop2")
        assert host.ping("web").rtt.min >= 0.019
        assert service.ping("client", "web").rtt.min >= 0.019
        bed.host("later", on=service.link("lan"))
        assert service.ping("later", "late").rtt.min >= 0.019
        bed.close_view()
        assert service.ping("client", "web").rtt.min >= 0.019
    assert service.ping("client", "web").rtt.min < 0.005


def test_hosts_that_cannot_be(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    lan = service.link("lan")
    with pytest.raises(PlanningError, match=r"(?s)an E-Line has two ends, user and fw:input.*tap="):
        bed.host("attacker", on=service.link("near"))
    with pytest.raises(PlanningError, match="has an endpoint 'web' already"):
        bed.host("web", on=lan)
    with pytest.raises(PlanningError, match="is another endpoint's already"):
        bed.host("attacker", on=lan, address="10.20.0.1")
    with pytest.raises(PlanningError, match="is not an address of 'lan'"):
        bed.host("attacker", on=lan, address="10.99.0.1")
    with pytest.raises(PlanningError, match="no PoP 'pop9'"):
        bed.host("attacker", on=lan, pop="pop9")
    with pytest.raises(PlanningError, match="cannot be an endpoint's name"):
        bed.host("a:b", on=lan)
    with pytest.raises(SettingsError, match=r"on=service.link"):
        bed.host("attacker", pop="pop1")
    with pytest.raises(NotFoundError):
        bed.host("attacker")


# -- taps and containers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "source", "target"),
    [("near", "user", "fw:input"), ("far", "fw:output", "server"), ("lan", "client", "web")],
)
def test_a_tap_gets_a_copy_of_both_directions_and_sends_nothing(
    views: tuple[TestBed, Service], link: str, source: str, target: str
) -> None:
    bed, service = views
    ids = bed.container("ids", image=BASE, tap=service.link(link))
    with ids.capture("eth0", "icmp") as seen:
        assert service.ping(source, target, count=3).loss == 0
    # One echo goes ahead, to learn the neighbour.
    assert sum("echo request" in repr(packet) for packet in seen.packets) == 4
    assert len(seen.packets) == 8
    with service.link(link).capture(direction=None) as other, ids.capture() as own:
        Mouth(ids, "eth0").send(frame(BROADCAST, ids.mac("eth0"), bytes(50)))
        assert wait(lambda: len(own.packets) == 1, 2)
        time.sleep(0.05)
    assert [packet for packet in other.packets if packet.raw[6:12] == mac_bytes(ids.mac("eth0"))] == []
    assert ids.exec("cat /proc/1/comm").ok
    assert service.endpoint("ids").id == service.vnf("ids").id == "ids"
    assert "ids" not in service.vnfs


def test_a_tap_outlives_restarts_of_both_sides(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    MAY_RESTART.add("fw")
    ids = bed.container("ids", image=BASE, tap=service.link("near"))
    second = bed.container("ids2", image=BASE, tap=service.link("near"))

    def copied(taps: list[Vnf]) -> list[int]:
        with taps[0].capture(filter="icmp") as one, taps[-1].capture(filter="icmp") as other:
            assert service.ping("user", "fw:input", count=2).loss == 0
        return [len(one.packets), len(other.packets)]

    assert copied([ids, second]) == [6, 6]
    service.vnf("fw").restart()
    assert copied([ids, second]) == [6, 6]
    ids.kill()
    # A link goes on without the one that listens to it.
    assert copied([second]) == [6, 6]
    ids.start()
    assert copied([ids, second]) == [6, 6]
    with service.link("near").impair(delay="5ms"):
        assert copied([ids, second]) == [6, 6]
    assert copied([ids, second]) == [6, 6]


def test_what_a_tap_gets_is_as_on_a_wire(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    ids = bed.container("ids", image=BASE, tap=service.link("lan"))
    listener = ids.spawn(["tcpdump", "-n", "-e", "-i", "eth0", "-c", "400", "-v", "tcp and greater 1000"])
    listener.wait_for("listening", timeout=10)
    client, guest = service.sap("client"), service.sap("guest")
    assert bulk(client, guest, guest.ip(), 2_000_000) == 2_000_000
    assert wait(lambda: not listener.running, 10)
    lines = [line for line in listener.stdout.splitlines() if "length" in line]
    assert lines
    assert "incorrect" not in listener.stdout
    assert max(int(line.split("length ")[1].split(":")[0]) for line in lines if "ethertype" in line) <= 1514


def test_a_container_joins_a_lan(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    client = bed.container(
        "prober", image=BASE, on=service.link("lan"), env={"COLOUR": "red"}, command=["sleep", "1000"]
    )
    assert client.exec("echo $COLOUR $VNF_NAME", check=True).stdout == "red prober\n"
    assert client.http("http://web/").text == "hello\n"
    assert service.ping("guest", "prober").loss == 0
    client.restart()
    assert service.ping("prober", "web").loss == 0
    # What it has written there itself stays.
    client.exec("echo 10.9.9.9 mine >> /etc/hosts", check=True)
    bed.host("another", on=service.link("lan"))
    hosts = client.exec("cat /etc/hosts").stdout
    assert "mine" in hosts
    assert hosts.count("another") == 1
    assert client.exec("cat /etc/hosts").stdout.count("web") == 1


def test_containers_that_cannot_be(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    lan = service.link("lan")
    with pytest.raises(SettingsError, match="needs one link"):
        bed.container("c", image=BASE)
    with pytest.raises(SettingsError, match="needs one link"):
        bed.container("c", image=BASE, on=lan, tap=lan)
    with pytest.raises(SettingsError, match="needs an image"):
        bed.container("c", on=lan)
    with pytest.raises(SettingsError, match="'mtu' belongs to the network"):
        bed.container("c", image=BASE, on=lan, mtu=1400)
    with pytest.raises(ImageError):
        bed.container("c", image="no.such.registry.invalid/none:1", on=lan)
    with pytest.raises(NotReadyError, match="c"):
        bed.container("c", image=BASE, command=["false"], on=lan)


# -- update -----------------------------------------------------------------------------------------


def test_an_update_puts_another_container_in_place_and_keeps_the_network(
    views: tuple[TestBed, Service],
) -> None:
    _bed, service = views
    MAY_RESTART.add("web")
    web = service.vnf("web")
    before = (web.ip(), web.mac(), [each.name for each in web.interfaces], web.state.name)
    web.put("kept", "/tmp/kept.txt")
    own = web.state.id
    web.update(image=BASE, env={"COLOUR": "red"}, command=["sleep", "1000"], ready=["exec:true"])
    assert web.exec("echo $COLOUR $VNF_NAME").stdout == "red web\n"
    assert web.image == BASE
    assert (web.ip(), web.mac(), [each.name for each in web.interfaces], web.state.name) == before
    assert service.connect("client", "web", tcp=80).outcome == "refused"
    assert service.ping("guest", "web").loss == 0
    assert not web.exists("/tmp/kept.txt")
    web.exec("touch /root/of-the-other", check=True)
    web.update(env={"COLOUR": "blue"})
    assert web.exec("echo $COLOUR").stdout == "blue\n"
    assert service.close_view() == ()
    assert service.plan.endpoint("web") is not None
    fresh = Service(service._core)
    assert fresh.vnf("web").state.id == own
    assert fresh.vnf("web").read_text("/tmp/kept.txt") == "kept"
    assert fresh.vnf("web").http("http://web/").text == "hello\n"


@pytest.mark.parametrize("name", ["fw", "server"])
def test_links_of_an_updated_vnf_are_as_before(views: tuple[TestBed, Service], name: str) -> None:
    """Direct on one side, relayed on the other."""
    _bed, service = views
    MAY_RESTART.add(name)
    counted = service.link("far").stats()
    with service.flow("user", "server", udp=5000, rate="200pps") as flow:
        flow.wait_until_flowing()
        service.vnf(name).update(env={"COLOUR": "red"})
        assert wait(lambda: service.ping("user", "server", count=1).loss == 0, 5)
        time.sleep(0.2)
    assert flow.longest_gap < 3
    assert service.ping("user", "server").rtt.min > 0.009
    assert service.trace("user", "server", tcp=80).hops == ["fw:input", "fw:output", "server:data"]
    assert service.link("far").stats()["server:data"].packets > counted["server:data"].packets
    with service.link("near").impair(delay="5ms"):
        assert service.ping("user", "fw:input").rtt.min > 0.009


def test_an_update_that_fails_leaves_everything_as_before(views: tuple[TestBed, Service]) -> None:
    _bed, service = views
    fw = service.vnf("fw")
    before = (fw.state.id, fw.state.pid)
    with pytest.raises(ImageError):
        fw.update(image="no.such.registry.invalid/none:1")
    with pytest.raises(SettingsError, match="'routes' belongs to the network"):
        fw.update(routes="none")
    with pytest.raises(SettingsError, match="say what is to be another"):
        fw.update()
    with pytest.raises(EmulationError):
        # Docker refuses the start: nothing that runs was touched.
        fw.update(mounts=["/proc/cpuinfo:/etc"])
    assert (fw.state.id, fw.state.pid) == before
    MAY_RESTART.add("fw")
    with pytest.raises(NotReadyError, match="fw"):
        fw.update(command=["false"])
    assert fw.state.id == before[0]
    assert fw.state.phase == "running"
    assert service.connect("user", "server", tcp=80).outcome == "open"


# -- scale ------------------------------------------------------------------------------------------


def test_more_and_fewer_replicas(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    web, second, third = service.scale("web", 3)
    assert [web.id, second.id, third.id] == ["web", "web.2", "web.3"]
    assert {str(vnf.ip()) for vnf in (web, second, third)} == {"10.20.0.2", "10.20.0.5", "10.20.0.6"}
    assert service.sap("client").http("http://web.3/").text == "hello\n"
    assert service.vnf("other").http("http://web.2/").text == "hello\n"
    assert "web.3" in service.vnf("other").exec("cat /etc/hosts").stdout
    tap = bed.container("ids", image=BASE, tap=service.link("lan"))
    second.restart()
    with tap.capture(filter="icmp") as seen:
        assert service.ping("guest", "web.2", count=1).loss == 0
    assert len(seen.packets) == 4
    rows = "client web.2 tcp 80 allow\nclient web.3 tcp 80 allow"
    assert service.policy(f"from to proto port verdict\n{rows}").ok
    assert [vnf.id for vnf in service.scale("web", 2)] == ["web", "web.2"]
    assert "web.3" not in service.vnf("other").exec("cat /etc/hosts").stdout
    assert [vnf.id for vnf in service.scale("web", 4)] == ["web", "web.2", "web.3", "web.4"]
    assert "web.4" in service.vnfs
    assert bed.close_view() == ()


def test_what_cannot_be_scaled(views: tuple[TestBed, Service]) -> None:
    _bed, service = views
    with pytest.raises(PlanningError, match="its interface 'input' is in E-Line 'near'"):
        service.scale("fw", 2)
    with pytest.raises(PlanningError, match="cannot be scaled to 0"):
        service.scale("web", 0)
    with pytest.raises(PlanningError, match="no VNF 'client'"):
        service.scale("client", 2)
    assert [vnf.id for vnf in service.scale("web", 1)] == ["web"]


# -- the mechanism ----------------------------------------------------------------------------------


def test_a_step_that_fails_is_taken_back(views: tuple[TestBed, Service]) -> None:
    """New endpoints, a replaced container, a VNF changed inside: the last step cannot be done."""
    bed, service = views
    MAY_RESTART.add("web")
    topology = bed.topology

    def change(plan: DeploymentPlan, _allocations: Allocations) -> DeploymentPlan:
        plan = with_host(plan, topology, "new", "lan", pop="pop3")
        web, other = plan.endpoint("web"), plan.endpoint("other")
        assert web is not None
        assert web.container is not None
        assert other is not None
        plan = with_endpoint(plan, replace(web, container=replace(web.container, environment=(("A", "b"),))))
        nowhere = RoutePlan(IPv4Network("10.77.0.0/24"), IPv4Address("10.88.0.1"), "lan")
        return with_endpoint(plan, replace(other, routes=(nowhere,)))

    with pytest.raises(EmulationError, match=r"10\.77\.0\.0/24"):
        bed._core.client.amend(service.id, change)
    assert service.plan == bed._core.client.describe().instances[0].plan
    assert service.vnf("web").http("http://web/").text == "hello\n"


def test_a_line_between_running_vnfs_and_a_route_come_and_go(views: tuple[TestBed, Service]) -> None:
    """What the next topologies need: nodes and links added while a bed runs."""
    bed, service = views
    client = bed._core.client

    def grown(plan: DeploymentPlan, _allocations: Allocations) -> DeploymentPlan:
        numbers = Numbers(plan)
        ends = []
        for number, name in enumerate(("web", "other"), start=1):
            endpoint = plan.endpoint(name)
            assert endpoint is not None
            outer, mac = numbers.interface()
            address = IPv4Interface(f"10.99.0.{number}/30")
            made = InterfacePlan("extra", "extra", outer, mac, (address,), "extra")
            plan = with_endpoint(plan, replace(endpoint, interfaces=(*endpoint.interfaces, made)))
            ends.append(LinkEnd(name, "extra", outer, endpoint.pop))
        line = LinkPlan("extra", "E-Line", "direct", tuple(ends), subnets=(IPv4Network("10.99.0.0/30"),))
        web = plan.endpoint("web")
        assert web is not None
        route = RoutePlan(IPv4Network("10.98.0.0/24"), IPv4Address("10.99.0.2"), "extra")
        plan = with_endpoint(plan, replace(web, routes=(*web.routes, route)))
        return replace(plan, links=(*plan.links, line))

    before = service.plan
    service._core.plan = client.amend(service.id, grown)
    assert service.ping("web:extra", "other:extra").loss == 0
    assert "10.98.0.0/24 via 10.99.0.2" in service.vnf("web").run("ip", "route").stdout
    with service.link("extra").impair(delay="5ms"):
        assert service.ping("web:extra", "other:extra").rtt.min > 0.009
    assert service.ping("client", "web").loss == 0
    service._core.plan = client.amend(service.id, lambda _plan, _allocations: before)
    assert service.plan == before


ATTACHED = """
import sys
from pytest_sonemu import TestBed
bed = TestBed.attach(sys.argv[1])
service = bed.service("every")
print(sorted(service.vnfs), service.connect("attacker", "web.2", tcp=80).outcome)
bed.close()
"""


def test_another_process_sees_what_has_become_of_it(views: tuple[TestBed, Service]) -> None:
    bed, service = views
    bed.host("attacker", on=service.link("lan"))
    service.scale("web", 2)
    done = subprocess.run(
        [sys.executable, "-c", ATTACHED, bed.name],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
        check=False,
    )
    assert done.stdout == "['fw', 'other', 'server', 'web', 'web.2'] open\n", done.stderr


def test_what_is_not_there_any_more_is_not_undone_twice(shared_bed: TestBed) -> None:
    bed = shared_bed.view()
    service = bed.start(every_kind(), **OPTIONS)
    bed.host("attacker", on=service.link("lan"))
    service.scale("web", 2)
    service.stop()
    assert bed.close_view() == ()
