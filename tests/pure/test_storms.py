"""What is a storm, which ends carry it, and what is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pytest_sonemu.descriptors.model import NetworkFunction, NetworkService
from pytest_sonemu.emulation.storms import FLOOD_RATE, LOOP_RATE, Look, Suspicions, circles, storms
from pytest_sonemu.planning.make import make_plan
from pytest_sonemu.planning.option_models import ServiceOptions
from pytest_sonemu.planning.plan import Allocations, DeploymentPlan, ImageChoice
from pytest_sonemu.topology.model import Topology

TWO_BRIDGES = NetworkService.of(
    "two-bridges",
    [NetworkFunction(name) for name in ("fw", "ids", "far")],
    {"apart": ["alone", "far:output"]},
    lans={"left": ["fw:input", "ids:input", "user"], "right": ["fw:output", "ids:output", "far:input"]},
)
ONE = {1: Counter({b"the same": 500})}
STREAM = [{1: Counter({b"%d" % (500 * part + n): 1 for n in range(500)})} for part in range(4)]


def plan() -> DeploymentPlan:
    images = {name: ImageChoice("x", "sha256:x", "test", ("/x",)) for name in ("fw", "ids", "far")}
    return make_plan(
        TWO_BRIDGES,
        Topology(),
        bed="b",
        options=ServiceOptions(),
        images=images,
        allocations=Allocations(),
    )


def struck(looks: Iterable[Look], frames: float) -> list[set[int]]:
    """What is struck after each second in which interface 1 received so many frames."""
    memory, found = Suspicions(), []
    memory.busy({1: 0}, 0.0)
    for second, seen in enumerate(looks, start=1):
        busy = memory.busy({1: int(frames * second)}, float(second))
        found.append(memory.judge(busy, seen) if busy else set())
    return found


def test_the_same_frames_for_two_seconds_are_a_loop() -> None:
    look = Look({1: LOOP_RATE + 1}, ONE)
    assert struck([look] * 3, LOOP_RATE + 1) == [set(), {1}, {1}]


def test_few_frames_are_not_even_looked_at() -> None:
    assert struck([Look({1: 10 * FLOOD_RATE}, ONE)] * 3, LOOP_RATE - 1) == [set()] * 3


def test_many_frames_of_which_few_go_to_many_are_none() -> None:
    assert struck([Look({1: 100.0}, {1: Counter({b"arp": 3})})] * 3, 10 * FLOOD_RATE) == [set()] * 3


def test_a_stream_that_goes_on_is_none_until_it_is_a_flood() -> None:
    assert struck([Look({1: FLOOD_RATE - 1}, each) for each in STREAM], FLOOD_RATE) == [set()] * 4
    assert struck([Look({1: FLOOD_RATE + 1}, each) for each in STREAM], FLOOD_RATE + 1)[-1] == {1}


def test_a_second_of_calm_is_a_new_beginning() -> None:
    memory, look = Suspicions(), Look({1: LOOP_RATE + 1}, ONE)
    memory.busy({1: 0}, 0.0)
    assert memory.judge(memory.busy({1: 30_000}, 1.0), look) == set()
    assert memory.busy({1: 30_000}, 2.0) == set()
    assert memory.judge(memory.busy({1: 60_000}, 3.0), look) == set()
    assert memory.judge(memory.busy({1: 90_000}, 4.0), look) == {1}


def test_frames_that_circle_in_a_great_queue_are_known_from_the_second_before() -> None:
    frames = [b"%d" % n for n in range(1500)]
    first, second = Counter(frames[:1000]), Counter(frames[1000:] + frames[:500])
    assert not circles(first, ())
    assert circles(second, first)
    assert not circles(Counter(), first)


def test_a_loop_names_its_ends_and_leaves_out_who_only_hears_it() -> None:
    planned = plan()
    outers = {
        f"{endpoint.id}:{interface.connection_point}": interface.outer
        for endpoint in planned.endpoints
        for interface in endpoint.interfaces
    }
    loop = {outers[name] for name in ("fw:input", "fw:output", "ids:input", "ids:output")}
    (found,) = storms(planned, loop, {})
    assert found.text == "loop through fw:input, fw:output, ids:input, ids:output"
    assert found.ends[0][1].outer == outers["fw:input"]
    # One end alone is no loop; what it sends is a storm where it makes a flood.
    alone = outers["alone:alone"]
    assert storms(planned, {alone}, {alone: LOOP_RATE + 1}) == []
    both = storms(planned, loop | {alone}, {alone: FLOOD_RATE + 1})
    assert {each.text for each in both} == {found.text, "flood of broadcasts from alone"}
