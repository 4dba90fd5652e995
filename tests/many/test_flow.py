"""Flows count what happens to traffic while something else happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.errors import NotReadyError, ProbeError
from pytest_sonemu.handles.flow_results import FlowStats
from pytest_sonemu.handles.flow_task import FlowTask
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from tests.support.static_image import static_image


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """input - fw - server, of images with one static program, SAPs on an E-Line and on an E-LAN."""
    with static_image() as image, TestBed() as bed:
        fw = NetworkFunction("fw", image=image, interfaces=["input", "output"])
        server = NetworkFunction("server", image=image, interfaces=["data"])
        links = {"outside": ["input", "fw:input"], "inside": ["fw:output", "server:data"], "line": ["a", "b"]}
        lans = {"lan": ["x", "y", "z"]}
        yield bed.start(NetworkService.of("flowing", [fw, server], links, lans=lans))


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    view = running.view()
    yield view
    assert view.close_view() == ()


@pytest.mark.parametrize("what", [{"udp": 5000}, {"tcp": 5000}, {"http": True, "rate": "100/s"}])
def test_an_undisturbed_flow_loses_nothing(service: Service, what: dict[str, int]) -> None:
    with service.flow("input", "server", **what) as flow:  # type: ignore[arg-type]
        flow.wait_until_flowing(30)
        assert flow.sent >= flow.received >= 30
    assert (flow.lost, flow.duplicated, flow.sent) == (0, 0, flow.received)
    assert flow.by_server == {"server": flow.received}
    assert flow.latency is not None
    assert flow.latency.median < 0.05
    assert flow.jitter is not None
    assert len(repr(flow)) < 200
    assert repr(flow).startswith("<flow input -> server ")


def test_the_rate_is_kept(service: Service) -> None:
    with service.flow("a", "b", udp=5000, rate="2kpps") as flow:
        time.sleep(0.5)
    assert flow.sent == pytest.approx(1000, rel=0.1)
    assert flow.received == flow.sent


def test_what_comes_after_a_later_packet_is_reordered(service: Service) -> None:
    with (
        service.link("line").impair(reorder="20%"),
        service.flow("a", "b", udp=5000, rate="500pps") as flow,
    ):
        flow.wait_until_flowing(200)
    assert 0 < flow.reordered < flow.received / 2
    assert (flow.lost, flow.duplicated) == (0, 0)
    assert f"{flow.reordered} reordered" in repr(flow)
    with service.flow("a", "b", udp=5000, rate="500pps") as flow:
        flow.wait_until_flowing(50)
    assert flow.reordered == 0


# A link that the kernel carries, one that a bridge does, and one that a process of ours does.
ON: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "direct": ("line", "a", "b", {}),
    "E-LAN": ("lan", "x", "y", {}),
    "relayed": ("line", "a", "b", {"delay": "1ms"}),
}


@pytest.mark.parametrize("where", ON)
@pytest.mark.parametrize("carrier", [True, False])
def test_the_gap_of_a_link_that_was_down(service: Service, where: str, carrier: bool) -> None:
    name, source, target, impairment = ON[where]
    with (
        service.link(name).impair(**impairment),
        service.flow(source, target, udp=5000, rate="1000pps") as flow,
    ):
        flow.wait_until_flowing()
        before = time.monotonic()
        with service.link(name).down(carrier=carrier):
            down = time.monotonic()
            time.sleep(0.3)
            assert flow.longest_gap > 0.25  # live
            shortest = time.monotonic() - down
        longest = time.monotonic() - before
        flow.wait_until_flowing()
    # The link went down, and came up, at some moment while it was told to.
    assert shortest - 0.02 <= flow.longest_gap <= longest + 0.02 + flow.stats().sender_pause
    assert max(gap.duration for gap in flow.gaps) == flow.longest_gap
    assert flow.lost + 1000 * flow.stats().sender_pause > 200


@pytest.mark.parametrize("where", ON)
def test_the_gap_of_a_connection_is_not_shorter(service: Service, where: str) -> None:
    """TCP sends again what was lost, when its timer says so: 0.2 s after, 0.4 s after that, …"""
    name, source, target, impairment = ON[where]
    with (
        service.link(name).impair(**impairment),
        service.flow(source, target, tcp=5000, rate="500pps") as flow,
    ):
        flow.wait_until_flowing()
        with service.link(name).down(carrier=False):
            time.sleep(0.3)
        flow.wait_until_flowing()
    assert flow.lost == 0
    assert 0.28 <= flow.longest_gap < 2


def test_a_connection_makes_up_for_what_was_lost(service: Service) -> None:
    with service.flow("a", "b", tcp=5000, rate="500pps") as flow:
        flow.wait_until_flowing()
        with service.link("line").down(carrier=False):
            time.sleep(0.1)
        flow.wait_until_flowing()
    assert flow.lost == 0
    assert flow.longest_gap > 0.09
    assert flow.latency is not None
    assert flow.latency.max > 0.05


def test_a_record_waits_for_its_connection(service: Service) -> None:
    with (
        service.link("line").impair(delay="50ms"),
        service.flow("a", "b", tcp=5000, rate="500pps") as flow,
    ):
        flow.wait_until_flowing()
    assert flow.lost == 0
    assert flow.latency is not None
    assert flow.latency.max > 0.14  # the first has waited for the handshake too
    assert flow.stats().sender_pause < 0.05  # that pause was the connection's


def test_no_connection_is_told(service: Service) -> None:
    service.link("line").down(carrier=False)
    with (
        service.flow("a", "b", tcp=5000) as flow,
        pytest.raises(NotReadyError, match="0 of 1 arrived"),
    ):
        flow.wait_until_flowing(timeout=0.3)
    assert flow.lost == flow.sent == 1


def test_a_flow_through_a_restart(service: Service) -> None:
    with service.flow("input", "server", udp=5000, rate="1000pps") as flow:
        service.vnf("fw").restart()
        flow.wait_until_flowing()
    assert 0.01 < flow.longest_gap < 1.0
    assert flow.lost > 0


@pytest.mark.parametrize("what", [{"udp": 5000}, {"tcp": 5000}])
def test_a_server_that_restarts_is_found_again(service: Service, what: dict[str, int]) -> None:
    with service.flow("input", "server", **what) as flow:  # type: ignore[arg-type]
        flow.wait_until_flowing()
        service.vnf("server").restart()
        flow.wait_until_flowing()
    assert flow.longest_gap > 0.01


@pytest.mark.parametrize("what", [{"udp": 5000}, {"tcp": 5000}])
def test_a_source_that_restarts_goes_on(service: Service, what: dict[str, int]) -> None:
    with service.flow("server", "input", **what) as flow:  # type: ignore[arg-type]
        flow.wait_until_flowing()
        service.vnf("server").restart()
        flow.wait_until_flowing()
    assert flow.lost > 0


def test_impairments_are_seen(service: Service) -> None:
    with (
        service.link("line").impair(delay="20ms", loss="10%", duplicate="10%", seed=3),
        service.flow("a", "b", udp=5000, rate="1000pps") as flow,
    ):
        flow.wait_until_flowing(400)
    assert 0.05 < flow.loss < 0.15
    assert flow.duplicated > 10
    assert flow.latency is not None
    assert flow.latency.median == pytest.approx(0.02, abs=0.006)


def test_what_never_arrives_is_told(service: Service) -> None:
    service.link("line").down(carrier=False)
    with service.flow("a", "b", udp=5000) as flow, pytest.raises(NotReadyError, match=r"0 of \d+ arrived"):
        flow.wait_until_flowing(timeout=0.2)
    assert (flow.received, flow.lost) == (0, flow.sent)
    assert flow.longest_gap > 0.18
    assert flow.latency is None
    with pytest.raises(ProbeError, match="does not run"):
        flow.wait_until_flowing()


def test_what_cannot_flow(service: Service) -> None:
    with pytest.raises(ProbeError, match="port 80 there already"), service.flow("input", "server", tcp=80):
        pass
    with pytest.raises(ProbeError, match="one of udp=5000"):
        service.flow("a", "b")
    with pytest.raises(ProbeError, match="like 1000pps"):
        service.flow("a", "b", udp=5000, rate="fast")
    with pytest.raises(ProbeError, match="28 to 65507"):
        service.flow("a", "b", udp=5000, size=10)
    with pytest.raises(ProbeError, match="no generator 'trex'"):
        service.flow("a", "b", udp=5000, generator="trex")


def test_a_flow_without_a_block_warns(service: Service) -> None:
    with pytest.warns(RuntimeWarning, match="flow a -> b udp 5000 did nothing"):
        service.flow("a", "b", udp=5000)
    service.flow("a", "b", udp=5000).start().stop()


def test_what_a_sap_cannot_do_is_told(service: Service) -> None:
    with pytest.raises(AttributeError, match=r"Sap has no 'exec', as it has no container: run\(…\)"):
        service.sap("a").exec("true")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"Sap has no 'pign'$"):
        service.sap("a").pign("b")  # type: ignore[attr-defined]


def test_a_flow_ends_with_its_view(running: Service) -> None:
    view = running.view()
    flow = view.flow("a", "b", udp=5000).start()
    flow.wait_until_flowing()
    assert view.close_view() == ()
    sent = flow.sent
    assert sent == flow.received
    time.sleep(0.02)
    assert flow.sent == sent
    with running.flow("a", "b", udp=5000) as again:  # the port is free again
        again.wait_until_flowing()


@dataclass
class Counting:
    """The least that a generator has to do."""

    calls: list[str] = field(default_factory=list)

    def start(self, task: FlowTask) -> None:
        self.calls.append(f"start {task}")

    def stop(self) -> None:
        self.calls.append("stop")

    def stats(self) -> FlowStats:
        return FlowStats(sent=7, received=6)


def test_another_generator_is_used(running: Service) -> None:
    mine = Counting()
    with running.flow("a", "b", udp=5000, generator=mine) as flow:
        assert flow.lost == 1
    assert mine.calls == ["start a -> b udp 5000", "stop"]


def test_a_plugin_s_generator_has_a_name(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from pytest_sonemu import FlowStats


        class Counting:
            def start(self, task):
                self.task = task

            def stop(self):
                pass

            def stats(self):
                return FlowStats(sent=7, received=7, by_server={str(self.task): 7})


        def pytest_sonemu_flow_generator(name):
            return Counting() if name == "counting" else None
        """
    )
    pytester.makepyfile(
        """
        import pytest

        from pytest_sonemu import NetworkService
        from pytest_sonemu.errors import ProbeError


        def test_it(testbed):
            service = testbed.start(NetworkService.of("l", [], {"line": ["a", "b"]}))
            with service.flow("a", "b", tcp=7, generator="counting") as flow:
                assert flow.by_server == {"a -> b tcp 7": 7}
            with pytest.raises(ProbeError, match="no generator 'other'"):
                service.flow("a", "b", tcp=7, generator="other")
        """
    )
    pytester.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=1)
