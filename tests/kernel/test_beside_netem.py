"""The relay beside the kernel's netem: they agree within what a guest without KVM can keep."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_sonemu.relay.model import Impairment, LinkSpec
from tests.links.lab import Lab, Site, quantile, train
from tests.support.netem import join_by_netem

pytestmark = pytest.mark.kernel


class Ways:
    """Two links of their own, to be given the same properties: one in netem's words, one in the relay's."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.netem_ends = lab.pair(1)
        self.relay_ends = lab.pair(2)
        join_by_netem(lab, *self.netem_ends, "delay 0ms")

    def netem(self, words: str) -> tuple[Site, Site]:
        join_by_netem(self.lab, *self.netem_ends, words, joined=True)
        return self.netem_ends

    def relay(self, **properties: Any) -> tuple[Site, Site]:
        one = Impairment(**properties)
        self.lab.join(*self.relay_ends, LinkSpec("l"))  # so that numbering begins anew
        self.lab.join(*self.relay_ends, LinkSpec("l", one, one))
        return self.relay_ends


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with Lab() as lab:
        lab.start_relay().hello()
        yield Ways(lab)


@pytest.mark.parametrize("delay", [0.01, 0.05])
def test_delay(ways: Ways, delay: float) -> None:
    for a, b in (ways.netem(f"delay {delay * 1000:g}ms"), ways.relay(delay=delay)):
        delays = [arrival.delay for arrival in train(a, b, 100, 0.01, settle=2.0)][10:]
        assert len(delays) == 90
        assert min(delays) >= delay
        assert quantile(delays, 0.5) < delay + 0.01


def test_loss_and_its_repetition(ways: Ways) -> None:
    """Both lose what is asked for; this kernel's netem takes no seed, so only the relay can lose it again."""
    count, share = 1500, 0.05
    for a, b in (ways.netem(f"loss {share:.0%} limit 10000"), ways.relay(loss=share, seed=7)):
        lost = count - len(train(a, b, count, 0.001, settle=2.0))
        assert abs(lost - count * share) < 5 * math.sqrt(count * share * (1 - share))
    patterns = []
    for _ in range(2):
        a, b = ways.relay(loss=share, seed=7)
        patterns.append({arrival.number for arrival in train(a, b, count, 0.001, settle=2.0)})
    assert patterns[0] == patterns[1]


def test_udp_is_held_to_the_rate(ways: Ways) -> None:
    rate, size = 2_000_000, 1000
    count = int(1.5 * rate / 8 / (size + 42))
    for a, b in (ways.netem(f"rate {rate}bit limit 50"), ways.relay(rate=rate)):
        arrivals = train(a, b, count, 1 / count, size=size, settle=2.0)
        assert 50 < len(arrivals) < count
        span = arrivals[-1].at - arrivals[0].at
        measured = (len(arrivals) - 1) * (size + 42) * 8 / span
        assert 0.7 * rate < measured < 1.05 * rate
