"""The fate of the n-th packet: pure, repeatable, and with the shares that were asked for."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.relay.decisions import Decider, draw, key_of, mix, unit
from pytest_sonemu.relay.model import Bursts, Impairment

MASK = 2**64 - 1
COUNT = 20_000
keys = st.integers(0, MASK)


def lost(impairment: Impairment, key: int, count: int = COUNT) -> list[bool]:
    decider = Decider(impairment, key)
    return [decider.next().lost for _ in range(count)]


def within(hits: int, count: int, share: float) -> bool:
    """Within five standard deviations: one in a million falls outside by chance."""
    return abs(hits - count * share) <= 5 * math.sqrt(count * share * (1 - share)) + 1


def test_the_generator_is_splitmix64() -> None:
    # The first outputs of the generator with seed 1234567, as published with it.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [draw(1234567, 0, purpose) for purpose in range(4)] == expected
    assert draw(1234567, 1, 0) == mix((1234567 + 17 * 0x9E3779B97F4A7C15) & MASK)


@pytest.mark.parametrize(
    "other",
    [
        (8, "l", "a->b", "v", 0),
        (7, "m", "a->b", "v", 0),
        (7, "l", "b->a", "v", 0),
        (7, "l", "a->b", "w", 0),
        (7, "l", "a->b", "v", 1),
        (7, "l", "a->b", "v", 0, "m"),
    ],
)
def test_every_part_of_the_key_counts(other: tuple[Any, ...]) -> None:
    impairment = Impairment(loss=0.5)
    one = lost(impairment, key_of(7, "l", "a->b", "v", 0), 200)
    assert one == lost(impairment, key_of(7, "l", "a->b", "v", 0), 200)
    two = lost(impairment, key_of(*other), 200)
    # Unlike, and not each other's opposite either: about half agree.
    assert within(sum(a == b for a, b in zip(one, two, strict=True)), 200, 0.5)


@settings(max_examples=25, deadline=None)
@given(keys, st.floats(0.001, 0.5), st.floats(0, 0.9))
def test_loss_has_its_share_and_its_correlation(key: int, loss: float, correlation: float) -> None:
    fates = lost(Impairment(loss=loss, loss_correlation=correlation), key)
    # Correlated draws tell less: the variance of their mean grows by (1 + c) / (1 - c).
    deviation = math.sqrt(loss * (1 - loss) / COUNT * (1 + correlation) / (1 - correlation))
    assert abs(fmean(fates) - loss) <= 5.5 * deviation
    if loss >= 0.1:
        after_loss = [fate for before, fate in pairwise(fates) if before]
        expected = loss + correlation * (1 - loss)
        assert abs(fmean(after_loss) - expected) <= 6 * math.sqrt(0.25 / len(after_loss))


def test_bursts_have_their_length() -> None:
    bursts = Bursts(enter=0.01, leave=0.25)
    fates = lost(Impairment(bursts=bursts), 99, 100_000)
    runs = [len(run) for run in "".join("x" if fate else " " for fate in fates).split()]
    assert fmean(runs) == pytest.approx(4, rel=0.1)
    assert fmean(fates) == pytest.approx(bursts.mean, rel=0.1)


@settings(max_examples=15, deadline=None)
@given(keys, st.sampled_from(["duplicate", "reorder", "corrupt"]), st.floats(0.01, 0.6))
def test_other_fates_have_their_share(key: int, what: str, share: float) -> None:
    decider = Decider(Impairment(**{what: share}), key)  # type: ignore[arg-type]
    decisions = [decider.next() for _ in range(5000)]
    assert within(sum(getattr(decision, what) for decision in decisions), 5000, share)
    others = {"lost", "duplicate", "reorder", "corrupt"} - {what}
    assert not any(getattr(decision, other) for decision in decisions for other in others)


@settings(max_examples=10, deadline=None)
@given(keys)
def test_jitter_has_its_distribution(key: int) -> None:
    def jitters(distribution: str) -> list[float]:
        impairment = Impairment(delay=0.1, jitter=0.01, distribution=distribution)  # type: ignore[arg-type]
        decider = Decider(impairment, key)
        return [decider.next().jitter / 1e7 for _ in range(COUNT)]

    uniform, normal, pareto = jitters("uniform"), jitters("normal"), jitters("pareto")
    assert -1 <= min(uniform) < -0.99
    assert 0.99 < max(uniform) <= 1
    for values in (uniform, normal):
        assert abs(fmean(values)) < 0.05
    assert pstdev(normal) == pytest.approx(1, abs=0.05)
    assert within(sum(abs(value) < 1 for value in normal), COUNT, 0.6827)
    # Shape 4: nothing below -1/sqrt(2), a median of (2**0.25 - 4/3) * 3/sqrt(2), a long tail above.
    assert min(pareto) >= -0.7072
    assert sorted(pareto)[COUNT // 2] == pytest.approx((2**0.25 - 4 / 3) * 3 / math.sqrt(2), abs=0.02)
    assert max(pareto) > 6


@settings(deadline=None)
@given(keys, st.integers(0, 2**40), st.integers(0, 15))
def test_units_are_units(key: int, number: int, purpose: int) -> None:
    assert 0 <= unit(draw(key, number, purpose)) < 1


def test_a_super_frame_takes_as_many_numbers_as_it_has_segments() -> None:
    impairment = Impairment(jitter=0.001)
    decider, single = Decider(impairment, 5), Decider(impairment, 5)
    decider.next(44)
    singles = [single.next() for _ in range(45)]
    assert decider.next() == singles[44]
