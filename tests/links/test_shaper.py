"""Shapers without a network: driven by given times, in nanoseconds."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.relay.agenda import Agenda
from pytest_sonemu.relay.decisions import Decider, key_of
from pytest_sonemu.relay.lanes import Frame, Way
from pytest_sonemu.relay.model import Impairment
from pytest_sonemu.relay.shaper import Shaper

MS = 10**6
DATA = bytes(10) + bytes(range(100))


class Line:
    """Links in a row with flows over all of them."""

    def __init__(self, *impairments: Impairment, flows: int = 1) -> None:
        self.agenda = Agenda()
        self.shapers = [
            Shaper(self.agenda, f"l{number}", "a->b", impairment)
            for number, impairment in enumerate(impairments)
        ]
        self.ways = [Way(f"v{number}") for number in range(flows)]
        for way in self.ways:
            way.lanes.extend(shaper.admit(way.virtual_link) for shaper in self.shapers)
        self.names: dict[Frame, int] = {}

    def send(self, at: int, size: int = 1000, flow: int = 0) -> Frame:
        self.agenda.run(at)
        frame = Frame(self.ways[flow], DATA, size)
        self.names[frame] = len(self.names)
        self.agenda.enter(frame, at)
        return frame

    def all_out(self) -> list[tuple[int, Frame]]:
        self.agenda.run(10**18)
        assert self.agenda.held == 0
        assert all(lane.counters.queued_bytes == 0 for shaper in self.shapers for lane in shaper.lanes)
        return self.agenda.out

    def times(self) -> list[int]:
        return [time for time, _ in self.all_out()]

    def order(self) -> list[int]:
        return [self.names[frame] for _, frame in self.all_out()]


def test_nothing_asked_nothing_done() -> None:
    line = Line(Impairment(), Impairment())
    line.send(5)
    assert [time for time, _ in line.agenda.out] == [5], "not even through the agenda"


@pytest.mark.parametrize("hops", [1, 3, 10])
def test_delays_add_up(hops: int) -> None:
    line = Line(*[Impairment(delay=0.001)] * hops)
    line.send(0)
    line.send(7)
    assert line.times() == [hops * MS, hops * MS + 7]


def test_frames_follow_one_another_at_the_rate() -> None:
    line = Line(Impairment(rate=8_000_000))  # 1000 bytes a ms
    for _ in range(5):
        line.send(0)
    line.send(20 * MS)
    assert line.times() == [MS, 2 * MS, 3 * MS, 4 * MS, 5 * MS, 21 * MS]


def test_a_burst_goes_at_once_and_only_after_a_pause() -> None:
    line = Line(Impairment(rate=8_000_000, burst=2000))
    for _ in range(4):
        line.send(100 * MS)
    assert line.times() == [100 * MS, 100 * MS, 101 * MS, 102 * MS]


def test_no_fraction_of_a_nanosecond_is_lost() -> None:
    line = Line(Impairment(rate=7_777_777_777, queue_bytes=10**9))
    for _ in range(10_000):
        line.send(0, size=64)
    assert line.times()[-1] == 10_000 * 64 * 8 * 10**9 // 7_777_777_777


def test_lateness_does_not_add_up() -> None:
    line = Line(*[Impairment(rate=8_000_000, delay=0.001)] * 3)
    for _ in range(10):
        line.send(0)
    for late in range(0, 100 * MS, 7 * MS):
        line.agenda.run(late)
    # The last frame: ten times 1 ms at the first rate, once 1 ms at the others, three delays.
    assert line.times()[-1] == (10 + 2 + 3) * MS


@pytest.mark.parametrize(
    ("limit", "kept"), [({"queue_packets": 3}, 4), ({"queue_bytes": 3000}, 4), ({"queue_bytes": 3500}, 4)]
)
def test_the_queue_has_a_limit(limit: dict[str, int], kept: int) -> None:
    line = Line(Impairment(rate=8_000_000, **limit))  # type: ignore[arg-type]
    for _ in range(10):
        line.send(0)
    assert line.order() == list(range(kept)), "one is on the wire, three wait, the rest is dropped"
    assert line.shapers[0].counters.overflowed == 10 - kept


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=5),
    st.lists(st.sampled_from([64, 500, 1514]), min_size=5),
)
def test_flows_share_a_rate_fairly(weights: list[int], sizes: list[int]) -> None:
    """Each flow sends at or above its share, some of them many times as much: bytes that pass are equal."""
    line = Line(Impairment(rate=80_000_000), flows=len(weights))
    sent = 0
    for step in range(400):
        for flow, weight in enumerate(weights):
            for _ in range(weight):
                line.send(step * MS // 10, sizes[sent % len(sizes)] + 1500, flow)
                sent += 1
    line.agenda.run(40 * MS)
    passed = [lane.counters.sent_bytes for lane in line.shapers[0].lanes]
    assert sum(passed) == pytest.approx(400_000, abs=3200)
    assert max(passed) - min(passed) <= 0.1 * max(passed)


def test_a_full_queue_takes_from_the_longest() -> None:
    line = Line(Impairment(rate=8_000_000, queue_packets=10), flows=2)
    for _ in range(30):
        line.send(0)
    line.send(0, flow=1)
    line.all_out()
    greedy, modest = (lane.counters for lane in line.shapers[0].lanes)
    assert (modest.overflowed, modest.sent_packets) == (0, 1)
    assert greedy.overflowed == 20


@settings(deadline=None)
@given(st.floats(0, 0.01), st.floats(0, 0.02), st.lists(st.integers(0, 2 * MS), min_size=2, max_size=50))
def test_jitter_keeps_the_order_unless_told(delay: float, jitter: float, gaps: list[int]) -> None:
    line = Line(Impairment(delay=delay, jitter=jitter))
    at = 0
    for gap in gaps:
        at += gap
        line.send(at)
    assert line.order() == sorted(line.names.values())


def test_jitter_reorders_when_told() -> None:
    line = Line(Impairment(delay=0.02, jitter=0.01, jitter_reorders=True))
    for number in range(50):
        line.send(number * MS)
    assert line.order() != sorted(line.names.values())
    assert sorted(line.order()) == sorted(line.names.values())


@pytest.mark.parametrize("gap", [1, 3, 7])
def test_a_reordered_frame_lets_others_go_first(gap: int) -> None:
    impairment = Impairment(reorder=0.05, reorder_gap=gap, reorder_delay=10, seed=3)
    line = Line(impairment)
    decider = Decider(impairment, key_of(3, "l0", "a->b", "v0", 0))
    expected: list[int] = []
    held: list[int] = []
    for number in range(300):
        line.send(number * MS)
        (held if decider.next().reorder else expected).append(number)
        expected += [other for other in held if other == number - gap]
        held = [other for other in held if other != number - gap]
    assert line.order() == expected + held
    assert expected != sorted(expected)


def test_a_reordered_frame_that_nobody_follows_goes_in_the_end() -> None:
    line = Line(Impairment(reorder=1, reorder_delay=0.03))
    line.send(0)
    assert line.times() == [30 * MS]


def test_loss_duplication_and_corruption_are_counted() -> None:
    line = Line(Impairment(loss=0.1, duplicate=0.1, corrupt=0.1, seed=1))
    for number in range(1000):
        line.send(number)
    out = line.all_out()
    counters = line.shapers[0].counters
    assert (counters.packets, counters.bytes) == (1000, 1_000_000)
    assert counters.sent_packets == 1000 - counters.lost + counters.duplicated == len(out)
    for share in (counters.lost, counters.duplicated, counters.corrupted):
        assert abs(share - 100) < 5 * math.sqrt(1000 * 0.1 * 0.9)
    assert sum(frame.data != DATA for _, frame in out) == counters.corrupted


def test_the_same_packets_are_lost_whatever_others_do() -> None:
    def survivors(others: Iterable[int]) -> list[int]:
        line = Line(Impairment(loss=0.2, seed=5), flows=2)
        mine = []
        for number in range(100):
            for _ in others:
                line.send(number, flow=1)
            mine.append(line.send(number))
        passed = {frame for _, frame in line.all_out()}
        return [number for number, frame in enumerate(mine) if frame in passed]

    assert survivors([]) == survivors([1, 2])


def test_other_kinds_of_frames_shift_nothing() -> None:
    def survivors(noise: bool) -> list[int]:
        line = Line(Impairment(loss=0.2, seed=5))
        mine = []
        for number in range(100):
            if noise and number % 3 == 0:
                line.agenda.enter(Frame(line.ways[0], DATA, 60, 1, kind=1), number)
            mine.append(line.send(number))
        passed = {frame for _, frame in line.all_out()}
        return [number for number, frame in enumerate(mine) if frame in passed]

    assert survivors(noise=False) == survivors(noise=True)


def test_a_changed_link_keeps_what_waits_in_order() -> None:
    line = Line(Impairment(rate=8_000, delay=0.5))  # one frame a second
    for _ in range(3):
        line.send(0)
    line.agenda.run(100 * MS)
    line.shapers[0].impair(Impairment(), 100 * MS)
    line.send(101 * MS)
    assert line.order() == [0, 1, 2, 3]
    assert line.agenda.out[-1][0] < 2000 * MS


@pytest.mark.parametrize(
    "slow", [Impairment(delay=3600.0), Impairment(rate=1), Impairment(rate=1, delay=9.0)]
)
def test_what_was_slow_holds_nothing_up_once_it_is_not(slow: Impairment) -> None:
    line = Line(slow)
    for _ in range(3):
        line.send(0)
    line.agenda.run(100 * MS)
    line.shapers[0].impair(Impairment(delay=0.02), 100 * MS)
    line.send(101 * MS)
    assert line.order() == [0, 1, 2, 3]
    assert [time for time, _ in line.agenda.out] == [120 * MS, 120 * MS, 120 * MS, 121 * MS]


def test_changes_of_the_delay_let_no_more_through_than_the_rate() -> None:
    line = Line(Impairment(rate=1_000_000))
    sent = {line.send(number * MS, 1000): number for number in range(500)}  # eight times the rate
    out: list[int] = []
    for step in range(1, 26):
        line.agenda.run(step * 20 * MS)
        line.shapers[0].impair(Impairment(rate=1_000_000, delay=0.001 * (step % 3)), step * 20 * MS)
    out = [time for time, _ in line.agenda.out]
    assert len(sent) == 500
    assert 60 <= len(out) <= 63  # of 1,000 bytes in 0.5 s


def test_numbering_starts_again_with_a_new_impairment() -> None:
    line = Line(Impairment())
    patterns = []
    for start in (1000, 2000):
        line.shapers[0].impair(Impairment(loss=0.3, seed=9), start)
        frames = [line.send(start + number) for number in range(100)]
        passed = {frame for _, frame in line.all_out()}
        patterns.append([frame in passed for frame in frames])
        line.shapers[0].impair(Impairment(), start + 500)
    assert patterns[0] == patterns[1]
    assert not all(patterns[0])


def test_a_flow_taken_away_still_delivers() -> None:
    line = Line(Impairment(rate=8_000_000, delay=0.01))
    for _ in range(3):
        line.send(0)
    line.shapers[0].dismiss(line.ways[0].lanes[0])
    assert line.order() == [0, 1, 2]
    assert line.shapers[0].counters.packets == 3
