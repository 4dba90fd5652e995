"""Links that change over time, and chance that a run can repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.errors import SettingsError
from pytest_sonemu.handles.schedule import flap, parse_steps, ramp
from pytest_sonemu.handles.service import Service
from pytest_sonemu.handles.testbed import TestBed
from pytest_sonemu.topology.model import PoP, PopLink, Topology
from tests.support.frames import Ear, Mouth, frame, numbered, wait_for
from tests.support.machine import wait

PAIR = NetworkService.of("pair", [], {"near": ["a", "b"]})


@pytest.fixture(scope="module")
def bed() -> Iterator[TestBed]:
    with TestBed(seed=7) as bed:
        yield bed


@pytest.fixture(scope="module")
def service(bed: TestBed) -> Service:
    return bed.start(PAIR)


def rtt(service: Service) -> float:
    result = service.ping("a", "b", 3, interval=0.005)
    assert result.rtt is not None
    return result.rtt.min


def test_a_link_goes_by_its_schedule_and_is_as_before_after_it(service: Service) -> None:
    link = service.link("near")
    steps: list[tuple[float | str, dict[str, str]]] = [(0, {"delay": "10ms"}), ("400ms", {"delay": "40ms"})]
    with link.impair(delay="1ms"):
        with link.schedule(steps, direction="a->b") as schedule:
            assert wait(lambda: schedule.taken == 1, 3)
            assert 0.011 <= rtt(service) < 0.03
            assert schedule.wait(5)
            assert 0.041 <= rtt(service) < 0.06
        assert 0.002 <= rtt(service) < 0.009
    assert rtt(service) < 0.002


def test_a_link_flaps(service: Service) -> None:
    assert service.ping("a", "b", 1).received == 1
    with service.link("near").schedule(flap("300ms", "10s")):
        assert wait(lambda: service.ping("a", "b", 1, timeout=0.05).received == 0, 2)
        assert wait(lambda: service.ping("a", "b", 1, timeout=0.05).received == 1, 3)


def test_a_view_ends_the_schedules_of_its_links(service: Service) -> None:
    view = service.view("tests/test_x.py::test_y")
    schedule = view.link("near").schedule([(0, {"delay": "20ms"}), (60, {"delay": "1ms"})])
    assert wait(lambda: schedule.taken == 1, 3)
    assert rtt(service) >= 0.04
    assert not view.close_view()
    assert rtt(service) < 0.002


def test_blocks_and_schedules_end_in_any_order(service: Service) -> None:
    """What one of them puts back is its own, and nothing is left for the next test."""
    view = service.view("tests/test_x.py::test_y")
    link = view.link("near")
    with link.impair(delay="20ms"):
        schedule = link.schedule([(0, {"rate": "1Gbit"}), (60, {"delay": "1ms"})])
        assert wait(lambda: schedule.taken == 1, 3)
        assert rtt(service) >= 0.04
    assert rtt(service) < 0.01
    first, second = link.impair(delay="20ms"), link.impair(duplicate="1%")
    with ExitStack() as late:
        with first:
            late.enter_context(second)
            assert rtt(service) >= 0.04
        assert rtt(service) < 0.01
    assert not view.close_view()
    assert rtt(service) < 0.002
    assert service._core.bed.client.impairments(f"{service.id}/near").own is None


def test_a_block_within_a_flap_brings_back_no_part_of_it(service: Service) -> None:
    assert service.ping("a", "b", 1).received == 1
    link = service.link("near")
    with link.schedule(flap("200ms", "10s")) as schedule:
        assert wait(lambda: schedule.taken == 1, 3)
        with link.impair(delay="1ms"):
            assert service.ping("a", "b", 1, timeout=0.05).received == 0
            assert schedule.wait(5)
            assert service.ping("a", "b", 1).received == 1
        assert service.ping("a", "b", 1).received == 1


def test_a_link_follows_its_ramp_and_its_trace(service: Service, tmp_path: Path) -> None:
    trace = tmp_path / "lte.csv"
    trace.write_text("at,rate,delay,loss\n0,40Mbit,10ms,\n0.2,,20ms,0%\n")
    with service.link("near").schedule(trace) as schedule:
        assert schedule.wait(5)
        assert rtt(service) >= 0.04
    with service.link("near").schedule(ramp("delay", "1ms", "30ms", over="200ms", steps=5)) as schedule:
        assert schedule.wait(5)
        assert rtt(service) >= 0.06
    assert rtt(service) < 0.002


def test_a_test_draws_its_own_chance_whatever_came_before() -> None:
    """Duplicates of a PoP link by the names of link and test, losses of an interface by their own seed."""
    topology = Topology((PoP("p"), PoP("q")), (PopLink("p", "q", duplicate=0.4),))
    loss = {"interfaces": {"a": {"out": {"loss": "40%", "seed": 5}}}}
    with TestBed(topology, seed=7) as bed:
        service = bed.start(PAIR, saps={"a": {"pop": "p", **loss}, "b": {"pop": "q"}})

        def came(test: str) -> list[int]:
            view = service.view(test)
            numbers = numbers_that_came(service, 60)
            assert not view.close_view()
            return numbers

        first, other, again = came("test_one"), came("test_two"), came("test_one")
    assert first == again != other
    assert set(first) == set(other)
    assert 10 < len(set(first)) < 50
    assert len(first) > len(set(first))


def test_a_virtual_link_is_impaired_by_the_options_alone_and_repeatably(bed: TestBed) -> None:
    """Another link on the same way is direct; losses come from seed, test and link; a block lies on top."""
    links = {"one": {"delay": "10ms", "a->b": {"loss": "40%"}}}
    both = NetworkService.of("both", [], {"one": ["a", "b"], "other": ["c", "d"]})
    service = bed.start(both, links=links)

    def came(test: str) -> list[int]:
        view = service.view(test)
        numbers = numbers_that_came(service, 60)
        assert not view.close_view()
        return numbers

    assert service.link("one").realisation == "relayed"
    assert rtt_of(service, "c", "d") < 0.005
    first, other, again = came("test_one"), came("test_two"), came("test_one")
    assert first == again != other
    assert 15 < len(first) < 57
    with service.link("one").impair(delay="30ms", loss=0):
        assert service.ping("b", "a", 20, interval=0.01).received == 20
        assert rtt_of(service, "a", "b") >= 0.06
    back = service.ping("b", "a", 20, interval=0.01)
    assert 0 < back.received < 20
    assert 0.02 <= back.rtt.min < 0.06
    service.stop()


def rtt_of(service: Service, source: str, target: str) -> float:
    return service.ping(source, target, 10, interval=0.01).rtt.min


def numbers_that_came(service: Service, count: int, source: str = "a", target: str = "b") -> list[int]:
    """Which of numbered IP packets from one SAP came to another, as often as they came."""
    ear, mouth = Ear(service.sap(target)), Mouth(service.sap(source), source)
    there, here = service.sap(target).mac(), service.sap(source).mac()
    for number in range(count):
        mouth.send(frame(there, here, numbered(number), 0x0800))
    heard = wait_for([ear], b"number", timeout=1.0).get(f"{target}:{target}", [])
    for each in (ear, mouth):
        each.close()
    return sorted(int(data[data.index(b"number ") + 7 :][:4]) for data in heard)


def test_a_recorded_trace_is_read(tmp_path: Path) -> None:
    trace = tmp_path / "lte.csv"
    trace.write_text("at,rate,delay,loss\n0,10Mbit,20ms,\n# a bridge\n500ms,2Mbit,,1%\n")
    first, second = parse_steps(trace)
    assert (first.at, first.changes) == (0, {"rate": 10_000_000, "delay": 0.02})
    assert (second.at, second.changes) == (0.5, {"rate": 2_000_000, "loss": 0.01})
    trace.write_text("at,rate\n0,10Mbit\n1,much\n")
    with pytest.raises(SettingsError, match=r"lte.csv:3: rate: 'much' is not a rate"):
        parse_steps(trace)
    trace.write_bytes(b"\xef\xbb\xbfat,delay\r\n0,10ms\r\n")  # as spreadsheets write it
    assert parse_steps(trace)[0].changes == {"delay": 0.01}
    for steps in ([1], {"0": {"delay": 1}}, [(0, "10ms")]):
        with pytest.raises(SettingsError, match=r"step 1: .* is no pair of a time and what changes then"):
            parse_steps(steps)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="step 2: delayy: no such impairment"):
        parse_steps([(0, {"delay": 1}), (1, {"delayy": 1})])


def test_a_ramp_goes_evenly() -> None:
    steps = parse_steps(ramp("delay", "10ms", "50ms", over="4s", steps=4, at=1))
    assert [step.at for step in steps] == [1, 2, 3, 4, 5]
    assert [step.changes["delay"] for step in steps] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    rates = parse_steps(ramp("rate", "1Mbit", "2Mbit", over=1, steps=2))
    assert [step.changes["rate"] for step in rates] == [1_000_000, 1_500_000, 2_000_000]


def _seeds(service: Service, test: str, **values: Any) -> tuple[int, int]:
    view = service.view(test)
    link = view.link("near")
    with link.impair(loss="10%", **values):
        own = service._core.bed.client.impairments(f"{service.id}/near").own
    assert own is not None
    return own[0].seed, own[1].seed


def test_seeds_come_from_run_link_direction_and_test(service: Service) -> None:
    one = _seeds(service, "test_one")
    assert one == _seeds(service, "test_one")
    assert len({*one, *_seeds(service, "test_two")}) == 4
    assert _seeds(service, "test_one", seed=5) == (5, 5)


SUITE = """
import pytest
from pytest_sonemu.descriptors.model import NetworkService
from pytest_sonemu.topology.model import PoP, PopLink, Topology

TOPOLOGY = Topology((PoP("p"), PoP("q")), (PopLink("p", "q", loss=0.4),))
PAIR = NetworkService.of("pair", [], {"near": ["a", "b"]})
pytestmark = pytest.mark.sonemu(topology=TOPOLOGY, package=PAIR, saps={"a": {"pop": "p"}, "b": {"pop": "q"}})

def lost(service):
    import subprocess
    from tests.support.frames import Ear, Mouth, frame, numbered, numbers_in, wait_for
    ear, mouth = Ear(service.sap("b")), Mouth(service.sap("a"), "a")
    target, source = service.sap("b").mac(), service.sap("a").mac()
    for number in range(100):
        mouth.send(frame(target, source, numbered(number), 0x0800))
    heard = wait_for([ear], b"number", timeout=1.0).get("b:b", [])
    ear.close(), mouth.close()
    return sorted(set(range(100)) - numbers_in(heard))

def test_before(sonemu_service):
    pytest.fail(f"lost {lost(sonemu_service)}")

def test_that_fails(sonemu_service):
    pytest.fail(f"lost {lost(sonemu_service)}")

@pytest.mark.sonemu(seed=99)
def test_with_a_seed(sonemu_service, sonemu_testbed):
    assert sonemu_testbed.seed == 99
"""


def test_a_failing_test_is_run_again_with_its_seed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same packets are lost when it is run alone, by the line in its report."""
    pytester.makepyfile(test_suite=SUITE)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    run = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--tb=short", "--sonemu-artifacts=never")
    run.assert_outcomes(failed=2, passed=1)
    text = run.stdout.str()
    seed = re.search(r"run it again: pytest test_suite.py::test_that_fails.* --sonemu-seed=(\d+)", text)
    assert seed is not None
    assert f", seed={seed[1]}" in "".join(text.splitlines()[:9])
    again = pytester.runpytest_subprocess(
        "test_suite.py::test_that_fails",
        f"--sonemu-seed={seed[1]}",
        "--tb=short",
        "--sonemu-artifacts=never",
        "-p",
        "no:cacheprovider",
    )
    mine = re.findall(r"^E +Failed: lost (\[.*\])", again.stdout.str(), re.M)
    both = re.findall(r"^E +Failed: lost (\[.*\])", text, re.M)
    assert len(mine) == 1
    assert len(both) == 2
    assert mine[0] == both[1] != both[0]


def test_a_seed_that_cannot_be_is_said(pytester: pytest.Pytester) -> None:
    run = pytester.runpytest_subprocess("--sonemu-seed=-1")
    run.stderr.fnmatch_lines(["*--sonemu-seed is a whole number from 0 on*"])
