"""What each impairment comes to over several links in a row, and in one direction alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

from benchmarks.shares import bits_flipped
from benchmarks.traffic import MS, Row, both, flood, in_bits, within_binomial
from pytest_sonemu.relay.model import Impairment, LinkSpec
from tests.links.lab import Arrival, Lab, Site, train

ROWS = (3, 10)
COUNT = 5_000
SHARE = 0.01
RATE = 10**7
# Of a normal distribution, within which 99 % of all draws are.
WIDE = 2.576


def duplicated(arrivals: Sequence[Arrival]) -> int:
    """How many came again."""
    return len(arrivals) - len({arrival.number for arrival in arrivals})


def overtaken(arrivals: Sequence[Arrival]) -> int:
    """How many came before one that was sent earlier."""
    return sum(one.number > other.number for one, other in pairwise(arrivals))


def corrupted(a: Site, b: Site) -> int:
    """How many frames did not come as they were sent; all must come."""
    flipped = bits_flipped(a, b, COUNT)
    assert len(flipped) == COUNT, f"{COUNT - len(flipped)} frames did not come"
    return sum(bits > 0 for bits in flipped)


MEASURES: dict[str, tuple[Callable[[Sequence[Arrival]], int], dict[str, Any]]] = {
    "duplication": (duplicated, {"duplicate": SHARE}),
    "reordering": (overtaken, {"reorder": SHARE, "reorder_gap": 1}),
}


def in_a_row(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    for hops in ROWS:
        for what, (measure, impairment) in MEASURES.items():
            lab.join(a, b, *(both(f"h{hop}", seed=hop + 1, **impairment) for hop in range(hops)))
            found = measure(train(a, b, COUNT, 0.0002))
            expected = COUNT * hops * SHARE  # each link does its own share, to copies and late ones too
            good = abs(found - expected) <= WIDE * math.sqrt(expected) + SHARE * expected * hops
            name = f"{what}, 1 % on each of {hops} links"
            yield Row(name, f"{expected / COUNT:.1%}", f"{found / COUNT:.2%} of {COUNT:,}", good)
        lab.join(a, b, *(both(f"h{hop}", corrupt=SHARE, seed=hop + 1) for hop in range(hops)))
        changed, expected = corrupted(a, b), 1 - (1 - SHARE) ** hops
        name = f"corruption, 1 % on each of {hops} links"
        good = within_binomial(changed, COUNT, expected)
        yield Row(name, f"{expected:.1%}", f"{changed / COUNT:.2%} of {COUNT:,}", good)
        each = 0.005 / math.sqrt(hops)
        jittery = {"delay": 0.05 / hops, "jitter": each, "distribution": "normal", "jitter_reorders": True}
        lab.join(a, b, *(both(f"h{hop}", seed=hop + 1, **jittery) for hop in range(hops)))
        got = [arrival.delay for arrival in train(a, b, 1500, 0.002)]
        good = abs(fmean(got) - 0.05) < 0.001 and abs(pstdev(got) - 0.005) < 0.2 * 0.005
        measured = f"mean {fmean(got) * MS:.2f} ms, deviation {pstdev(got) * MS:.2f} ms"
        yield Row(
            f"jitter that reorders, normal, over {hops} links",
            "mean 50 ms, deviation 5.00 ms",
            measured,
            good,
        )
        lab.join(a, b, *(both(f"h{hop}", rate=RATE) for hop in range(hops)))
        bits = flood(lab, a, b, int(1.5 * RATE), 1400, 1.5)["sent_bytes"] * 8
        good = 0.9 * RATE <= bits <= 1.01 * RATE
        name = f"UDP at 1.5 times the rate, {hops} links in a row"
        yield Row(name, in_bits(RATE), f"{bits / RATE:.1%}", good)


def one_direction(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    """An impaired direction, and the other one of the same link, which nothing happens to."""
    for what, (measure, impairment) in MEASURES.items():
        one = Impairment(seed=7, **impairment)
        for name, link in (("there", LinkSpec("l", forward=one)), ("back", LinkSpec("l", backward=one))):
            lab.join(a, b, link)
            there, back = measure(train(a, b, COUNT, 0.0002)), measure(train(b, a, COUNT, 0.0002))
            hit, spared = (there, back) if name == "there" else (back, there)
            expected = COUNT * SHARE
            good = spared == 0 and abs(hit - expected) <= WIDE * math.sqrt(expected) + 0.5
            measured = f"{there / COUNT:.2%} there, {back / COUNT:.2%} back"
            yield Row(f"{what}, {name} only", f"{SHARE:.1%}", measured, good)
    one = Impairment(seed=7, corrupt=SHARE)
    for name, link in (("there", LinkSpec("l", forward=one)), ("back", LinkSpec("l", backward=one))):
        lab.join(a, b, link)
        there, back = corrupted(a, b), corrupted(b, a)
        hit, spared = (there, back) if name == "there" else (back, there)
        good = spared == 0 and within_binomial(hit, COUNT, SHARE)
        measured = f"{there / COUNT:.2%} there, {back / COUNT:.2%} back"
        yield Row(f"corruption, {name} only", f"{SHARE:.1%}", measured, good)
