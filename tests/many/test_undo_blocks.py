"""Blocks of a test that are undone by themselves: nested, in loops, with errors in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_sonemu import NetworkFunction, NetworkService, TestBed
from pytest_sonemu.handles.service import Service
from tests.support.machine import wait

CHAIN = NetworkService.chain("input", NetworkFunction("fw", image="sonemu/vnf-base"), "output", name="undone")
FORWARD = "net.ipv4.ip_forward"


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed() as bed:
        yield bed


@pytest.fixture(scope="module")
def running(bed: TestBed) -> Service:
    return bed.start(CHAIN)


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """Whatever a test does in its blocks, the view that owns them ends clean."""
    view = running.view()
    yield view
    assert view.close_view() == ()
    assert running.dirty is None


def reached(service: Service) -> bool:
    return service.ping("input", "output", count=1, timeout=0.3).received == 1


def test_a_loop_begins_each_time_anew(service: Service) -> None:
    for _ in range(3):
        assert reached(service)
        with service.undo():
            service.vnf("fw").sysctl(FORWARD, 0)
            service.link("link-1").down()
            service.vnf("fw").stop()
            assert not reached(service)
    assert service.vnf("fw").state.phase == "running"


def test_nested_blocks_take_back_their_own(service: Service) -> None:
    fw = service.vnf("fw")
    with service.undo():
        fw.sysctl(FORWARD, 0)
        with service.undo():
            service.link("link-1").down()
            fw.interface("output").down()
            assert not fw.interface("input").is_up
        assert fw.interface("input").is_up
        assert fw.interface("output").is_up
        assert fw.sysctl(FORWARD) == "0"
    assert fw.sysctl(FORWARD) == "1"
    assert reached(service)


def test_an_error_in_a_block_passes_and_all_is_undone(service: Service) -> None:
    def fail() -> None:
        service.vnf("fw").kill()
        with service.undo():
            service.link("link-2").down(carrier=False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), service.undo():
        fail()
    assert reached(service)


def test_what_the_test_did_before_a_block_stays_until_its_end(service: Service) -> None:
    fw = service.vnf("fw")
    fw.put("outer", "/etc/motd")
    with service.undo():
        fw.put("inner", "/etc/motd")
        process = fw.spawn("sleep 500")
    assert fw.read_text("/etc/motd") == "outer"
    assert not process.running


def test_what_a_command_changes_in_a_block_stays_and_is_named_at_the_end(bed: TestBed) -> None:
    """It is compared over the whole test: what a later command takes back is fine."""
    running = bed.start(CHAIN)
    view = running.view()
    for command in ("ip route add blackhole 192.0.2.1", "ip route del blackhole 192.0.2.1"):
        with view.undo():
            view.vnf("fw").exec(command, check=True)
    view.close_view()
    assert running.dirty is None
    view = running.view()
    with view.undo():
        view.vnf("fw").exec("ip route add blackhole 192.0.2.1", check=True)
    view.close_view()
    assert str(running.dirty).startswith("fw: + blackhole route 192.0.2.1/32")
    running.stop()


def test_a_bed_has_blocks_too_and_stops_what_was_started_in_one(bed: TestBed) -> None:
    view = bed.view()
    before = [service.id for service in bed.services]
    with view.undo():
        started = view.start(CHAIN)
        assert started.id in [service.id for service in bed.services]
    assert wait(lambda: [service.id for service in bed.services] == before, 5)
    assert view.close_view() == ()
