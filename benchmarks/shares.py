"""Loss, duplication, reordering and corruption, asked and measured."""

from __future__ import annotations

import math
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby, pairwise
from typing import Any

from benchmarks.traffic import Row, both, within_binomial
from pytest_sonemu.relay.model import Bursts, Impairment, LinkSpec
from tests.links.lab import Arrival, Lab, Site, train


def shares(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    def again(**impairment: Any) -> list[Arrival]:
        lab.join(a, b, both())
        lab.join(a, b, both(**impairment))
        return train(a, b, count, 0.0001)

    for loss, count in ((0.001, 30_000), (0.01, 10_000), (0.05, 5_000)):
        first = {arrival.number for arrival in again(loss=loss, seed=7)}
        second = {arrival.number for arrival in again(loss=loss, seed=7)}
        lost = count - len(first)
        yield Row("loss", f"{loss:.1%}", f"{lost / count:.3%} of {count}", within_binomial(lost, count, loss))
        yield Row(
            "loss, same seed again",
            "the same packets",
            "the same" if first == second else "others",
            first == second,
        )
    count = 5_000
    numbers = [arrival.number for arrival in again(duplicate=0.02, seed=7)]
    twice = len(numbers) - len(set(numbers))
    yield Row("duplication", "2.0%", f"{twice / count:.2%}", within_binomial(twice, count, 0.02))
    numbers = [arrival.number for arrival in again(reorder=0.02, reorder_gap=1, seed=7)]
    late = sum(one > other for one, other in pairwise(numbers))
    yield Row("reordering", "2.0%", f"{late / count:.2%}", within_binomial(late, count, 0.02))
    lab.join(a, b, both())
    lab.join(a, b, both(corrupt=0.02, seed=7))
    flipped = bits_flipped(a, b, count)
    changed = sum(bits > 0 for bits in flipped)
    good = len(flipped) == count and max(flipped) == 1 and within_binomial(changed, count, 0.02)
    yield Row("corruption, by the bytes that came", "2.0%", f"{changed / count:.2%}", good)


def bits_flipped(a: Site, b: Site, count: int, size: int = 100) -> list[int]:
    """Of each frame that came from a to b, in order, how many of its bits are not as they were sent.

    By packet sockets: a kernel would throw away a packet whose checksum is wrong.
    """
    sent = [_HEADER + random.Random(number).randbytes(size - len(_HEADER)) for number in range(count)]
    came: list[bytes] = []
    with a.inside(_packet_socket) as out, b.inside(_packet_socket) as into:
        for number, frame in enumerate(sent, 1):
            out.send(frame)
            if number % 100 == 0 or number == count:
                with suppress(TimeoutError):
                    while len(came) < number:
                        came.append(into.recv(size + 1))
    return [
        (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
        for one, other in zip(came, sent, strict=False)
    ]


# To everybody, of a type for experiments.
_HEADER = b"\xff" * 6 + b"\x02\0\0\0\0\1" + b"\x88\xb5"


def _packet_socket() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind(("eth", 0x88B5))
    made.settimeout(1)
    return made


def patterns(lab: Lab, a: Site, b: Site) -> Iterator[Row]:
    """Losses that come together, and losses over several links and in one direction."""
    count = 20_000

    def fates(*links: LinkSpec) -> list[bool]:
        """Of each packet, in order, whether it was lost."""
        lab.join(a, b, *(LinkSpec(link.name) for link in links))
        lab.join(a, b, *links)
        came = {arrival.number for arrival in train(a, b, count, 0.0001)}
        return [number not in came for number in range(count)]

    bursts = Bursts(enter=0.005, leave=0.25)
    lost = [fate for seed in (7, 8, 9, 10) for fate in fates(both(bursts=bursts, seed=seed))]
    runs = _runs(lost)
    length = sum(runs) / max(len(runs), 1)
    # A burst's length is geometric; its mean is 1 / leave, with a deviation of about that.
    good = abs(length - 4) <= 2.576 * math.sqrt(12 / max(len(runs), 1))
    # Neighbours share a fate, which makes the share seven times as uncertain as of independent packets.
    share, wide = sum(lost) / len(lost), 2.576 * math.sqrt(bursts.mean * 7 / len(lost))
    good = good and abs(share - bursts.mean) <= wide
    asked = f"{bursts.mean:.1%} in bursts of 4.0"
    yield Row("loss in bursts", asked, f"{share:.2%} in bursts of {length:.1f}", good)
    lost = fates(both(loss=0.05, loss_correlation=0.5, seed=7))
    after = sum(one and other for one, other in pairwise(lost)) / max(sum(lost), 1)
    expected = 0.5 + 0.5 * 0.05
    good = abs(after - expected) <= 2.576 * math.sqrt(expected * (1 - expected) / max(sum(lost), 1)) + 0.01
    asked = f"5.0%, after a lost one {expected:.1%}"
    yield Row("correlated loss", asked, f"{sum(lost) / count:.2%}, after a lost one {after:.1%}", good)
    for hops in (3, 10):
        lost = fates(*(both(f"h{hop}", loss=0.01, seed=hop + 1) for hop in range(hops)))
        expected = 1 - 0.99**hops
        good = within_binomial(sum(lost), count, expected)
        asked, measured = f"{expected:.2%}", f"{sum(lost) / count:.2%} of {count}"
        yield Row(f"loss, 1 % on each of {hops} links", asked, measured, good)
    lost = fates(LinkSpec("l", backward=Impairment(loss=0.5, seed=7)))
    back = len(train(b, a, 2_000, 0.0002))
    good = not any(lost) and within_binomial(back, 2_000, 0.5)
    yield Row(
        "loss, one direction", "0% there, 50% back", f"{sum(lost)} there, {1 - back / 2000:.1%} back", good
    )


def _runs(lost: Sequence[bool]) -> list[int]:
    return [len(list(run)) for gone, run in groupby(lost) if gone]
