"""Delay and jitter, asked and measured: idle and busy, over several links, each direction alone."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from statistics import fmean, pstdev

from benchmarks.traffic import MS, Row, both, busy
from pytest_sonemu.relay.model import Distribution, Impairment, LinkSpec
from tests.links.lab import Lab, Site, quantile, train


def delays(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    for load in (0, os.cpu_count() or 1):
        state = "both CPUs busy" if load else "idle"
        with busy(load):
            for delay in (0.001, 0.005, 0.01, 0.05, 0.2):
                lab.join(a, b, both(delay=delay))
                got = [arrival.delay for arrival in train(a, b, 400, 0.004)]
                p50, p95 = quantile(got, 0.5), quantile(got, 0.95)
                limit = max(0.05 * delay, 0.0003)
                good = abs(p50 - delay) <= limit and abs(p95 - delay) <= limit
                measured = f"p50 {p50 * MS:.3f} p95 {p95 * MS:.3f} ms"
                yield Row(f"delay, {state}", f"{delay * MS:g} ms", measured, good)
    for hops in (3, 10):
        lab.join(a, b, *(both(f"h{hop}", delay=0.001) for hop in range(hops)))
        got = [arrival.delay for arrival in train(a, b, 400, 0.004)]
        p50, p95 = quantile(got, 0.5), quantile(got, 0.95)
        good = max(abs(p50 - hops * 0.001), abs(p95 - hops * 0.001)) <= max(0.05 * hops * 0.001, 0.0003)
        yield Row(f"{hops} links in a row", f"{hops} ms", f"p50 {p50 * MS:.3f} p95 {p95 * MS:.3f} ms", good)


def directions(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    """An impaired direction, and the other one of the same link."""
    one, slow = Impairment(delay=0.02), Impairment(delay=0.005)
    for name, link, there, back in (
        ("20 ms there only", LinkSpec("l", forward=one), 0.02, 0.0),
        ("20 ms back only", LinkSpec("l", backward=one), 0.0, 0.02),
        ("20 ms there, 5 ms back", LinkSpec("l", one, slow), 0.02, 0.005),
    ):
        lab.join(a, b, link)
        got = [quantile([one.delay for one in train(x, y, 300, 0.004)], 0.5) for x, y in ((a, b), (b, a))]
        good = all(
            abs(measured - asked) <= max(0.05 * asked, 0.0003)
            for measured, asked in zip(got, (there, back), strict=True)
        )
        measured = f"p50 {got[0] * MS:.3f} ms there, {got[1] * MS:.3f} ms back"
        yield Row("each direction alone", name, measured, good)


def jitter(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    # Standard deviations: of a uniform jitter of j it is j/sqrt(3), of the others j itself.
    kinds: list[tuple[Distribution, float]] = [
        ("uniform", 0.005 / math.sqrt(3)),
        ("normal", 0.005),
        ("pareto", 0.005),
    ]
    for distribution, expected in kinds:
        lab.join(
            a, b, both(delay=0.05, jitter=0.005, distribution=distribution, jitter_reorders=True, seed=1)
        )
        got = [arrival.delay for arrival in train(a, b, 1500, 0.002)]
        good = abs(fmean(got) - 0.05) < 0.001 and abs(pstdev(got) - expected) < 0.2 * expected
        measured = f"mean {fmean(got) * MS:.2f} ms, deviation {pstdev(got) * MS:.2f} ms"
        yield Row(
            f"jitter that reorders, {distribution}",
            f"mean 50 ms, deviation {expected * MS:.2f} ms",
            measured,
            good,
        )
