"""What `benchmarks/relay.py` measures, at fewer points, and with margins that a busy machine stays within."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import groupby, pairwise
from statistics import fmean
from typing import Any

import pytest

from pytest_sonemu.emulation import namespaces
from pytest_sonemu.relay.core import CORE
from pytest_sonemu.relay.model import Bursts, FlowSpec, Impairment, LinkSpec
from tests.links.lab import Lab, Site, end, flows, quantile, train, until

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not CORE.exists(), reason="the core was not built: make core"),
]
# Of a binomial distribution: beyond it lies less than one of a million runs.
SIGMAS = 5


def both(name: str = "l", **impairment: Any) -> LinkSpec:
    return LinkSpec(name, Impairment(**impairment), Impairment(**impairment))


def fates(a: Site, b: Site, count: int) -> list[bool]:
    """Of each of `count` datagrams whether it was lost."""
    came = {arrival.number for arrival in train(a, b, count, 0.0002)}
    return [number not in came for number in range(count)]


def about(hits: int, count: int, share: float) -> bool:
    return abs(hits - count * share) <= SIGMAS * math.sqrt(count * share * (1 - share))


def once(measured: Callable[[], bool]) -> bool:
    """Whether it is so in one of a few trials: a machine that stands still spoils times, it mends none."""
    return any(measured() for _ in range(4))


def test_loss_of_one_direction_over_three_links(lab: Lab) -> None:
    a, b = lab.pair()
    lossy = [LinkSpec(f"l{hop}", forward=Impairment(loss=0.05, seed=hop + 1)) for hop in range(3)]
    lab.join(a, b, *lossy)
    assert about(sum(fates(a, b, 2000)), 2000, 1 - 0.95**3)
    assert not any(fates(b, a, 300))


def test_losses_in_bursts(lab: Lab) -> None:
    a, b = lab.pair()
    bursts = Bursts(enter=0.01, leave=0.2)
    lab.join(a, b, both(bursts=bursts, seed=3))
    lost = fates(a, b, 4000)
    runs = [len(list(run)) for gone, run in groupby(lost) if gone]
    assert 15 < len(runs) < 75
    assert 3 < fmean(runs) < 7.5
    assert about(sum(lost) // 5, 4000 // 5, bursts.mean)  # neighbours share a fate: fewer are independent


def test_reordering(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(reorder=0.1, reorder_gap=1, seed=3))
    numbers = [arrival.number for arrival in train(a, b, 1000, 0.0005)]
    assert sorted(numbers) == list(range(1000))
    # Two held back in a row change places with the same one.
    assert about(sum(one > other for one, other in pairwise(numbers)), 1000, 0.1)


# How far apart their quartiles lie, in ms at a jitter of 20.
@pytest.mark.parametrize(("distribution", "apart"), [("uniform", 20.0), ("normal", 27.0), ("pareto", 14.4)])
def test_jitter(lab: Lab, distribution: Any, apart: float) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(delay=0.1, jitter=0.02, distribution=distribution, jitter_reorders=True, seed=3))
    train(a, b, 1, 0.001)  # addresses are known: nothing waits for them

    def measured() -> bool:
        delays = [arrival.delay for arrival in train(a, b, 800, 0.001)]
        low, middle, high = (quantile(delays, share) for share in (0.25, 0.5, 0.75))
        return 0.09 < middle < 0.12 and 0.7 * apart < 1000 * (high - low) < 1.5 * apart

    assert once(measured)


def test_delays_and_rates_over_ten_links(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, *(both(f"l{hop}", delay=0.002, rate=10**7) for hop in range(10)))
    delays = [arrival.delay for arrival in train(a, b, 50, 0.005)]
    # 142 bytes take 0.11 ms on each link.
    assert min(delays) >= 0.02 + 10 * 142 * 8 / 10**7
    assert quantile(delays, 0.5) < 0.027

    def held() -> bool:
        arrivals = train(a, b, 800, 0.0009, size=1400, settle=1.0)
        part = len(arrivals) // 10
        times = [arrivals[number].at for number in range(0, len(arrivals), part)]
        rates = [part * 1442 * 8 / (later - earlier) for earlier, later in pairwise(times)]
        return 0.9 * 10**7 < quantile(rates, 0.5) < 1.03 * 10**7

    assert once(held)


SENDER = """
import socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect((sys.argv[1], 9))
begun, sent = time.monotonic(), 0
while True:
    if sent * 8 * 1000 > (time.monotonic() - begun) * float(sys.argv[2]):
        time.sleep(0.0005)
    else:
        out.send(bytes(958))
        sent += 1
"""


def test_two_virtual_links_share_fairly(lab: Lab) -> None:
    """One asks for 0.8 of the rate, the other for 2.4; each gets half."""
    (a, b), (c, d) = lab.pair(1), lab.pair(2)
    link = both("shared", rate=2 * 10**7)
    lab.client.change([link], [*flows(a, b, link, name="one"), *flows(c, d, link, name="two")])

    def sent() -> tuple[int, int]:
        found = lab.client.counters()["flows"]
        return found[a.name]["sent_bytes"], found[c.name]["sent_bytes"]

    with ExitStack() as stack:
        for site, other, rate in ((a, b, 1.6e7), (c, d, 4.8e7)):
            other.socket().bind((other.address, 9))  # never read: full, it drops, and nobody answers
            process = site.popen([sys.executable, "-c", SENDER, other.address, str(rate)])
            stack.callback(end, process)
        until(lambda: min(sent()) > 100_000, "both are sending")

        def fair() -> bool:
            before = sent()
            time.sleep(1.5)
            one, two = (late - early for late, early in zip(sent(), before, strict=True))
            return 0.85 < one / two < 1.15 and (one + two) * 8 / 1.5 < 2.3 * 10**7

        assert once(fair)


def test_a_relay_with_a_thousand_ends_is_gone_at_once() -> None:
    took = []
    for _ in range(3):
        with Lab() as lab:
            client = lab.start_relay("--engine", "core")
            names = [(f"x{number}", f"y{number}") for number in range(500)]
            line = "link add {0} type veth peer name {1}\nlink set {0} up\nlink set {1} up\n"
            batch = "".join(line.format(*pair) for pair in names)
            namespaces.run_inside(lab.fabric, ["ip", "-batch", "-"], batch)
            ways = [(one, other) for pair in names for one, other in (pair, pair[::-1])]
            client.change([both(delay=0.001)], [FlowSpec("v", x, (("l", "a->b"),), y) for x, y in ways])
            relay = lab.relay
            assert relay is not None
            begun = time.monotonic()
            relay.terminate()
            relay.wait(5)
            took.append(time.monotonic() - begun)
    assert min(took) < 0.2
