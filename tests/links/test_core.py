"""The compiled core does what the Python engine does: the same frames, at the same nanosecond, bit by bit."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_sonemu.relay import offload
from pytest_sonemu.relay.agenda import MOST_HELD, Agenda
from pytest_sonemu.relay.core import CORE, CoreBoard
from pytest_sonemu.relay.lanes import Frame, Way, taken_by
from pytest_sonemu.relay.model import Bursts, FlowSpec, Impairment, LinkSpec
from pytest_sonemu.relay.shaper import Shaper
from tests.links.lab import core_path, examples
from tests.links.test_offload import cases, super_frame, tunnels

pytestmark = pytest.mark.skipif(not CORE.exists(), reason="the core was not built: make core")

MS = 10**6
shares = st.just(0.0) | st.floats(0, 1)
impairments = st.builds(
    Impairment,
    rate=st.none() | st.sampled_from([10**5, 8 * 10**6, 777_777_777, 10**9, 7 * 10**9]),
    burst=st.sampled_from([0, 0, 1500, 100_000]),
    queue_packets=st.none() | st.integers(1, 20),
    queue_bytes=st.none() | st.integers(1, 20_000),
    delay=st.just(0.0) | st.floats(0, 0.02),
    jitter=st.just(0.0) | st.floats(0, 0.02),
    distribution=st.sampled_from(["uniform", "normal", "pareto"]),
    jitter_reorders=st.booleans(),
    bursts=st.none() | st.builds(Bursts, shares, st.floats(0.01, 1), shares, shares),
    duplicate=shares,
    reorder=shares,
    reorder_gap=st.integers(1, 4),
    reorder_delay=st.sampled_from([0.0, 0.001, 0.05]),
    corrupt=shares,
    seed=st.integers(0, 2**64 - 1),
) | st.builds(
    Impairment,
    loss=shares,
    loss_correlation=st.just(0.0) | st.floats(0, 0.99),
    seed=st.integers(0, 2**64 - 1),
)


class Python:
    """The reference: what engine.py does with a frame, without its socket."""

    def __init__(self, hops: list[Impairment], flows: int, most_held: int = MOST_HELD) -> None:
        self.agenda = Agenda(most_held)
        self.shapers = [Shaper(self.agenda, f"l{hop}", "a->b", it) for hop, it in enumerate(hops)]
        self.ways = [
            Way(f"v{flow}", [shaper.admit(f"v{flow}", f"m{flow}") for shaper in self.shapers])
            for flow in range(flows)
        ]

    def feed(self, flow: int, data: bytes, now: int, tag_type: int, tag: int) -> None:
        self.agenda.run(now)
        way = self.ways[flow]
        if tag_type:
            data = offload.with_tag(data, tag_type, tag)
        size, segments = offload.wire_size(data)
        kind = offload.kind_of(data)
        if segments > 1 and way.by_frame:
            for piece in offload.cut(data):
                # A frame that cannot be cut stays one of as many segments.
                whole = piece is data
                frame = Frame(way, piece, size if whole else len(piece) - 10, segments if whole else 1, kind)
                self.agenda.enter(frame, now)
        else:
            self.agenda.enter(Frame(way, data, size, segments, kind), now)

    def impair(self, hop: int, impairment: Impairment, now: int) -> None:
        if impairment != self.shapers[hop].impairment:  # as the board does: an equal one goes on undisturbed
            self.agenda.run(now)
            self.shapers[hop].impair(impairment, now)

    def out(self) -> list[tuple[int, int, bytes]]:
        out, self.agenda.out = self.agenda.out, []
        return [(time, self.ways.index(frame.way), frame.data) for time, frame in out]

    def counters(self) -> list[dict[str, int]]:
        return [asdict(lane.counters) for way in self.ways for lane in way.lanes]


class Core(CoreBoard):
    """The core, told of links and flows without interfaces."""

    def __init__(self, hops: list[Impairment], flows: int, most_held: int = MOST_HELD) -> None:
        super().__init__(path=core_path(), most_held=most_held)
        links = [LinkSpec(f"l{hop}", impairment) for hop, impairment in enumerate(hops)]
        for link in links:
            self._put_link(link, 0)
        names = [(link.name, "a->b") for link in links]
        for flow in range(flows):
            spec = FlowSpec(f"v{flow}", f"i{flow}", tuple(names), "e", f"m{flow}")  # type: ignore[arg-type]
            self._put_flow(spec, {f"i{flow}": flow, "e": 0})
        self.paths = [path for _, _, path in self._flows.values()]

    def impair(self, hop: int, impairment: Impairment, now: int) -> None:
        self._put_link(LinkSpec(f"l{hop}", impairment), now)

    def out(self) -> list[tuple[int, int, bytes]]:
        handles = [path.handle for path in self.paths]
        return [(due, handles.index(way), data) for due, way, data in self.collect()]

    def lane_counters(self) -> list[dict[str, int]]:
        return [hop for path in self.paths for hop in self._path_counters(path)["hops"]]


udp = bytes(10) + bytes.fromhex("02000000000102000000000208004500") + bytes(7) + b"\x11" + bytes(40)
super_frames = cases.map(lambda case: super_frame(case[0], case[1], case[2] * 20, case[3], case[4], case[5]))


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[: at % len(data)] + bytes([value]) + data[at % len(data) + 1 :]


# Right ones; some with one byte of their headers wrong, as only a hostile VNF sends them; junk.
frames = (
    st.integers(0, 1400).map(lambda size: udp + bytes(size))
    | super_frames
    | tunnels
    | st.builds(with_byte, super_frames | tunnels, st.integers(0, 80), st.integers(0, 255))
    | st.binary(min_size=24, max_size=200)
)
steps = st.lists(
    st.tuples(st.integers(0, 3 * MS), st.integers(0, 2), frames, st.sampled_from([0, 0, 0, 0x8100, 0x88A8])),
    min_size=1,
    max_size=40,
)
# After which step, how much later (frames may be due by then), to what.
changes = st.none() | st.tuples(st.integers(0, 40), st.sampled_from([0, MS, 30 * MS]), impairments)


@settings(
    max_examples=examples(400),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(impairments, max_size=3), steps, changes)
def test_the_core_does_what_python_does(
    hops: list[Impairment],
    steps: list[tuple[int, int, bytes, int]],
    change: tuple[int, int, Impairment] | None,
) -> None:
    python, core = Python(hops, 3), Core(hops, 3)
    try:
        now = 10**9
        for number, (pause, flow, data, tag_type) in enumerate(steps):
            now += pause
            python.feed(flow, data, now, tag_type, 0x2007)
            core.feed(core.paths[flow], data, now, tag_type, 0x2007)
            assert python.out() == core.out()
            if change is not None and hops and number == change[0]:
                now += change[1]
                python.impair(number % len(hops), change[2], now)
                core.impair(number % len(hops), change[2], now)
        assert python.counters() == core.lane_counters()
        assert python.agenda.held == core._own_counters()["held"]
        for _ in range(3):
            now += 10 * MS
            python.agenda.run(now)
            core.advance(now)
            assert python.out() == core.out()
        python.agenda.run(10**18)
        core.advance(10**18)
        assert python.out() == core.out()
        assert python.counters() == core.lane_counters()
        assert python.agenda.held == core._own_counters()["held"] == 0
    finally:
        core.close()


def test_a_change_comes_after_what_is_due() -> None:
    hops = [Impairment(delay=0.001), Impairment(loss=0.5, seed=3)]
    python, core = Python(hops, 1), Core(hops, 1)
    try:
        for number in range(8):
            python.feed(0, udp, number, 0, 0)
            core.feed(core.paths[0], udp, number)
        changed = Impairment(loss=0.5, seed=4)
        python.impair(1, changed, 2 * MS)
        core.impair(1, changed, 2 * MS)
        for number in range(40):
            python.feed(0, udp, 3 * MS + number, 0, 0)
            core.feed(core.paths[0], udp, 3 * MS + number)
        python.agenda.run(10 * MS)
        core.advance(10 * MS)
        assert python.out() == core.out()
    finally:
        core.close()


def test_copies_of_copies_stay_within_the_memory() -> None:
    """Over ten links that double each frame, one would be a thousand."""
    hops, most = [Impairment(duplicate=1, delay=0.001)] * 10, 50_000
    python, core = Python(hops, 1, most), Core(hops, 1, most)
    try:
        python.feed(0, udp, 0, 0, 0)
        core.feed(core.paths[0], udp, 0)
        for at in range(0, 11 * MS, MS):
            python.agenda.run(at)
            core.advance(at)
            assert python.agenda.held == core._own_counters()["held"] < most + 2 * taken_by(len(udp))
        assert python.out() == core.out()
        memory = core._path_counters(core.paths[0])["memory"]
        assert memory == python.ways[0].counters.memory > 0
    finally:
        core.close()


def test_small_and_large_frames_share_a_rate() -> None:
    """Two virtual links, each sending at twice its share, pass as many bytes, in either engine."""
    hops = [Impairment(rate=50_000_000)]
    python, core = Python(hops, 2), Core(hops, 2)
    small, large = udp[:70], udp + bytes(1452 - len(udp))
    try:
        for at in range(0, 100 * MS, MS):
            for flow, data in [(0, small)] * 104 + [(1, large)] * 4:
                python.feed(flow, data, at, 0, 0)
                core.feed(core.paths[flow], data, at)
        sent = [lane["sent_bytes"] for lane in core.lane_counters()]
        assert sent == [lane["sent_bytes"] for lane in python.counters()]
        assert sum(sent) == pytest.approx(625_000, rel=0.05)
        assert abs(sent[0] - sent[1]) <= 0.1 * max(sent)
    finally:
        core.close()


def test_to_push_frames_out_of_a_long_queue_costs_little() -> None:
    """However many wait: 13 ms of CPU for each frame of another flow were seen with 21,000."""
    core = Core([Impairment(rate=1000, queue_bytes=1_250_000)], 2)
    small, large = udp[:70], udp + bytes(1450)
    try:
        for _ in range(21_000):
            core.feed(core.paths[0], small, 0)
        before = time.thread_time()
        for _ in range(200):
            core.feed(core.paths[1], large, 0)
        spent = time.thread_time() - before
        pushed, pushing = core.lane_counters()
        assert pushing["overflowed"] == 0
        assert pushed["overflowed"] > 200 * 20
        assert spent < 0.2
    finally:
        core.close()
