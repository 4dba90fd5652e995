"""After each test the bed is as planned, or what is not is named: in the fabric, and inside the VNFs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.service import Service
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.machine import wait
from tests.support.static_program import static_image

NETWORK = NetworkService.of(
    "checked",
    [
        NetworkFunction("fw", image="sonemu/vnf-base", interfaces=["input", "output"]),
        NetworkFunction("app", image=static_image(), interfaces=["data", "lan"]),
        NetworkFunction("sw", image=static_image(), interfaces=["both"]),
    ],
    {"in": ["user", "fw:input"], "out": ["fw:output", "app:data"], "one": ["a", "sw:both"]},
    lans={"lan": ["app:lan", "x", "y"], "two": ["b", "c", "sw:both"]},
)
OPTIONS = {
    "vnfs": {"fw": {"pop": "pop1"}, "app": {"pop": "pop1"}, "sw": {"pop": "pop1"}},
    "saps": {"x": {"pop": "pop1", "interfaces": {"x": {"delay": "1ms"}}}, "y": {"pop": "pop2"}},
}


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(Topology((PoP("pop1"), PoP("pop2")), (PopLink("pop1", "pop2"),))) as bed:
        yield bed


@pytest.fixture
def service(bed: TestBed) -> Service:
    found = [each for each in bed.services if each.dirty is None]
    for each in bed.services:
        if each.dirty is not None:
            each.stop()
    return found[0] if found else bed.start(NETWORK, **OPTIONS)


@dataclass(frozen=True)
class Breaker:
    """Breaks things as nobody does through handles: as root, from the machine."""

    bed: TestBed
    service: Service

    def fabric(self, *argv: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.bed.keeper_pid), "-n", *argv], check=True)

    def inside(self, vnf: str, *argv: str) -> None:
        pid = self.service.vnf(vnf).state.pid
        subprocess.run(["nsenter", "-t", str(pid), "-n", *argv], check=True)

    def outer(self, endpoint: str, interface: str) -> str:
        plan = self.service.plan.endpoint(endpoint)
        assert plan is not None
        return next(one.outer for one in plan.interfaces if one.name == interface)

    def joint(self) -> str:
        plan = self.service.plan.link("lan")
        assert plan is not None
        return plan.joints[0].a

    def bridge(self) -> str:
        plan = self.service.plan.link("lan")
        assert plan is not None
        return plan.bridges[0].name


CASES: dict[str, tuple[Callable[[Breaker], None], str]] = {
    "an end removed": (
        lambda at: at.fabric("ip", "link", "del", at.outer("fw", "input")),
        "interface fw:input is gone",
    ),
    "an end down": (
        lambda at: at.fabric("ip", "link", "set", at.outer("fw", "input"), "down"),
        "interface fw:input is down",
    ),
    "a filter gone": (
        lambda at: at.fabric("tc", "filter", "del", "dev", at.outer("fw", "input"), "ingress"),
        "interface fw:input is cut off from its link 'in'",
    ),
    "a filter to somewhere else": (
        lambda at: at.fabric(
            "sh",
            "-c",
            f"tc filter del dev {at.outer('user', 'user')} ingress && tc filter add dev"
            f" {at.outer('user', 'user')} ingress protocol all prio 1 u32 match u32 0 0"
            f" action mirred egress redirect dev {at.outer('fw', 'output')}",
        ),
        "interface user is cut off from its link 'in'",
    ),
    "a port out of its bridge": (
        lambda at: at.fabric("ip", "link", "set", at.outer("y", "y"), "nomaster"),
        "interface y is not in its link 'lan'",
    ),
    "a relayed port in its bridge": (
        lambda at: at.fabric("ip", "link", "set", at.outer("x", "x"), "master", at.bridge()),
        "interface x is not in its link 'lan'",
    ),
    "PoPs parted": (
        lambda at: at.fabric("ip", "link", "set", at.joint(), "down"),
        "link 'lan' between pop1 and pop2 is down",
    ),
    "a bridge down": (
        lambda at: at.fabric("ip", "link", "set", at.bridge(), "down"),
        "the bridge of link 'lan' in pop1 is down",
    ),
    "an interface down in its VNF": (
        lambda at: at.inside("fw", "ip", "link", "set", "output", "down"),
        "interface fw:output is down in fw",
    ),
    "an interface down in a VNF without a shell": (
        lambda at: at.inside("app", "ip", "link", "set", "data", "down"),
        "interface app:data is down in app",
    ),
    "an interface moved out of its VNF": (
        lambda at: at.inside("fw", "ip", "link", "set", "output", "netns", str(at.bed.keeper_pid)),
        "interface fw:output is gone from fw",
    ),
    "an interface put into a bridge": (
        lambda at: at.inside(
            "fw", "sh", "-c", "ip link add br7 type bridge && ip link set dev input master br7"
        ),
        "interface fw:input is in br7 in fw, and was in none",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_named(bed: TestBed, service: Service, case: str) -> None:
    how, told = CASES[case]
    view = service.view()
    how(Breaker(bed, service))
    assert view.close_view() == ()
    assert service.dirty == told


def test_what_is_planned_is_clean(service: Service) -> None:
    """A relayed port, an interface in two links, PoPs that are joined, a link that was impaired meanwhile."""
    for _ in range(2):
        view = service.view()
        with view.link("lan").impair(delay="1ms"), view.link("in").impair(delay="1ms"):
            assert view.ping("user", "fw:input", count=1).received == 1
        with view.link("out").down():
            pass
        view.vnf("fw").restart()
        assert view.close_view() == ()
        assert service.dirty is None


def test_what_a_vnf_does_with_its_own_interfaces_is_its_own_business(bed: TestBed) -> None:
    """Two of its interfaces are in a bridge of its own from its start on, in each of its lives."""
    bridge = NetworkFunction(
        "br", image="sonemu/vnf-base", command=["sonemu-forward", "bridge", "input", "output"]
    )
    service = bed.start(
        NetworkService.of("own", [bridge], {"a": ["s", "br:input"], "b": ["br:output", "t"]}),
        vnfs={"br": {"transparent": True, "ready": "log:sonemu-forward: bridge"}},
    )
    for restarts in (False, True):
        view = service.view()
        view.ping("s", "t")
        if restarts:
            view.vnf("br").restart()
        assert view.close_view() == ()
        assert service.dirty is None
    service.stop()


def test_a_vnf_that_a_person_paused_is_named_and_can_be_restarted(service: Service) -> None:
    view = service.view()
    fw, began = view.vnf("fw"), time.time()
    for heard in (True, False):
        fw.container.pause()
        if heard:
            assert wait(lambda: fw.state.phase == "paused", 5)
        fw.restart()
        assert fw.state.phase == "running"
    events = service._core.bed.client.events(began)
    assert "fw was paused by somebody else" in [event.text for event in events]
    fw.pause()
    fw.container.unpause()
    assert wait(lambda: fw.state.phase == "running", 5)
    fw.container.pause()
    assert wait(lambda: fw.state.phase == "paused", 5)
    service._core.settle()
    assert service.dirty == "fw is paused"
    assert view.close_view() == ()


def test_a_mount_that_does_not_exist_is_named(bed: TestBed) -> None:
    with pytest.raises(SettingsError, match=r"vnfs\.fw\.mounts: there is no /no/such/place on this machine"):
        bed.start(NETWORK, vnfs={"fw": {"mounts": ["/no/such/place:/x"]}})


def test_a_vnf_that_was_killed_for_memory_is_named(bed: TestBed) -> None:
    eater = "import os, time\nwhile not os.path.exists('/go'): time.sleep(0.05)\nx = bytearray(200 << 20)"
    service = bed.start(
        NetworkService.of(
            "hungry",
            [NetworkFunction("eat", image="sonemu/vnf-base", command=["python3", "-c", eater])],
            {"a": ["s", "eat:input"]},
        ),
        vnfs={"eat": {"memory": "32M", "dirty_ignore": ["/go"]}},
    )
    view = service.view()
    view.vnf("eat").put("", "/go")
    assert wait(lambda: view.vnf("eat").state.phase == "exited", 20)
    view.close_view()
    assert service.dirty == "eat has ended with 137, killed for want of memory"
    service.stop()


def test_each_of_two_services_on_a_bed_forgets_its_neighbours(bed: TestBed) -> None:
    pair = NetworkService.of("pair", [], {"line": ["p", "q"]})
    both = [bed.start(pair), bed.start(pair)]
    view = bed.view()
    for service in both:
        assert service.ping("p", "q", count=1).received == 1
        assert "lladdr" in service.sap("p").run("ip", "neigh").stdout
    view.close_view()
    for service in both:
        assert "lladdr" not in service.sap("p").run("ip", "neigh").stdout
        service.stop()
