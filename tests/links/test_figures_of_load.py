"""What a relay holds while much goes through it, or the machine has other work."""

from __future__ import annotations

import os
from itertools import pairwise
from statistics import fmean

import pytest

from benchmarks.rates import MOST_SENT_AGAIN
from benchmarks.several import duplicated, overtaken
from benchmarks.shares import bits_flipped
from benchmarks.traffic import both, busy, flood, stream
from pytest_sonemu.relay.core import CORE
from pytest_sonemu.relay.model import Impairment, LinkSpec
from tests.links.lab import Lab, quantile, train
from tests.links.test_figures import about, fates, once

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not CORE.exists(), reason="the core was not built: make core"),
]


def test_a_delay_with_all_cpus_busy(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(delay=0.02))
    train(a, b, 1, 0.001)  # addresses are known: nothing waits for them

    def held() -> bool:
        delays = [arrival.delay for arrival in train(a, b, 100, 0.004)]
        return min(delays) >= 0.02 and quantile(delays, 0.5) < 0.023

    with busy(os.cpu_count() or 1):
        assert once(held)


@pytest.mark.parametrize("rate", [10**8, 5 * 10**8])
def test_tcp_is_held_to_a_rate_and_fills_it(lab: Lab, rate: int) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(rate=rate))
    assert once(lambda: 0.85 * rate < stream(a, b, "128K", 1)[0] < 1.03 * rate)


def test_tcp_at_a_gigabit_is_not_dropped_into_sending_again(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(rate=10**9))
    assert once(lambda: stream(a, b, "128K", 1)[1] < MOST_SENT_AGAIN)


def test_what_an_idle_relay_carries(lab: Lab) -> None:
    """A third of what the benchmark shows; a relay that copies frames in Python has less than a tenth."""
    a, b = lab.pair()
    lab.join(a, b, both(delay=1e-6))  # by the relay itself, not by a shortcut in the kernel
    assert once(lambda: stream(a, b, "128K", 1)[0] > 2e9)
    assert once(lambda: flood(lab, a, b, 0, 64, 0.5)["packets"] > 30_000)


def test_losses_that_are_alike(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(loss=0.1, loss_correlation=0.5, seed=3))
    lost = fates(a, b, 3000)
    after = fmean(later for sooner, later in pairwise(lost) if sooner)
    assert about(sum(lost) // 3, 1000, 0.1)  # neighbours share a fate: fewer are independent
    assert 0.4 < after < 0.7


def test_jitter_that_keeps_the_order(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(delay=0.02, jitter=0.01, distribution="normal", seed=3))
    arrivals = train(a, b, 400, 0.002)
    assert overtaken(arrivals) == 0
    delays = [arrival.delay for arrival in arrivals]
    assert quantile(delays, 0.9) - quantile(delays, 0.1) > 0.008


def test_one_direction_s_duplicates_and_late_ones(lab: Lab) -> None:
    a, b = lab.pair()
    backward = Impairment(duplicate=0.1, reorder=0.1, reorder_gap=1, seed=3)
    lab.join(a, b, LinkSpec("l", backward=backward))
    there, back = train(a, b, 500, 0.0005), train(b, a, 500, 0.0005)
    assert (duplicated(there), overtaken(there)) == (0, 0)
    assert about(duplicated(back), 500, 0.1)
    assert about(overtaken(back), 550, 0.1)


def test_corruption_flips_one_bit_of_its_share_of_frames(lab: Lab) -> None:
    a, b = lab.pair()
    lab.join(a, b, both(corrupt=0.1, seed=3))
    flipped = bits_flipped(a, b, 1000)
    assert len(flipped) == 1000
    assert max(flipped) == 1
    assert about(sum(flipped), 1000, 0.1)
    assert sum(flipped) == lab.client.counters()["links"]["l"]["a->b"]["corrupted"]
    assert sum(bits_flipped(b, a, 1000)) == lab.client.counters()["links"]["l"]["b->a"]["corrupted"]
