"""What happens to the n-th packet of a virtual link on an impaired link: a pure function.

It depends on (seed, link, direction, virtual link, its member, kind of packet, n) and on nothing else: not on
time, not on other virtual links or members, not on what else is in the queue. So a lossy run can be repeated.

Every random number is one output of the generator SplitMix64, which can be asked for any place of its
sequence: the place is 16 n plus a number for what the draw is for. All arithmetic is exact in both the
Python here and the compiled core: 64-bit integers, and doubles with +, *, / and square roots only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_sonemu.relay.model import Direction, Impairment

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_UNIT = 2.0**-53

# IP packets and the rest (ARP, neighbour discovery, group membership, anything that is not IP) are numbered
# apart: when a kernel asks for a neighbour depends on timers and caches, and must shift no pattern of losses.
IP, OTHER = 0, 1

_LOSS, _STATE, _DUPLICATE, _REORDER, _CORRUPT, _PLACE, _JITTER, _COPY_JITTER = 0, 1, 2, 3, 4, 5, 6, 9

# A Pareto distribution of shape 4 has mean 4/3 and standard deviation sqrt(2)/3.
_PARETO_MEAN = 4.0 / 3.0
_PARETO_DEVIATION = math.sqrt(2.0) / 3.0


def mix(value: int) -> int:
    """The finalizer of SplitMix64: 64 bits to 64 bits, one to one."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def draw(key: int, number: int, purpose: int) -> int:
    """64 random bits for one purpose of one packet."""
    return mix((key + (16 * number + purpose + 1) * _GOLDEN) & _MASK)


def unit(bits: int) -> float:
    """64 random bits as a number in [0, 1)."""
    return (bits >> 11) * _UNIT


def key_of(seed: int, link: str, direction: Direction, virtual_link: str, kind: int, member: str = "") -> int:
    """The stream of one virtual link, or of one member of it, in one direction on one link.

    FNV-1a of all names, then mixed.
    """
    names = f"{seed}\0{link}\0{direction}\0{virtual_link}\0{kind}" + (f"\0{member}" if member else "")
    value = 0xCBF29CE484222325
    for byte in names.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return mix(value)


@dataclass(frozen=True, slots=True)
class Decision:
    """The fate of one packet: jitters in ns; `place` is 64 random bits that say which bit to flip."""

    lost: bool = False
    duplicate: bool = False
    reorder: bool = False
    corrupt: bool = False
    place: int = 0
    jitter: int = 0
    copy_jitter: int = 0


LOST = Decision(lost=True)
PASSED = Decision()


class Decider:
    """The decisions for one stream, in the order of its packets. `number` is the next packet's."""

    __slots__ = (
        "_bad",
        "_enter",
        "_impairment",
        "_leave",
        "_loss_bad",
        "_loss_good",
        "_plain",
        "key",
        "number",
    )

    def __init__(self, impairment: Impairment, key: int) -> None:
        self.key = key
        self.number = 0
        self._impairment = impairment
        self._bad = False
        self._enter, self._leave, self._loss_bad, self._loss_good = loss_chain(impairment)
        self._plain = not (self._loss_good or self._loss_bad or impairment.jitter) and not (
            impairment.duplicate or impairment.reorder or impairment.corrupt
        )

    def next(self, frames: int = 1) -> Decision:
        """Decide for the next packet; `frames` is how many numbers it takes (a super-frame's segments)."""
        number = self.number
        self.number += frames
        if self._plain:
            return PASSED
        impairment, key = self._impairment, self.key
        if self._enter:
            chance = unit(draw(key, number, _STATE))
            if number == 0:
                self._bad = chance < self._enter / (self._enter + self._leave)
            elif self._bad:
                self._bad = chance >= self._leave
            else:
                self._bad = chance < self._enter
        loss = self._loss_bad if self._bad else self._loss_good
        if loss and unit(draw(key, number, _LOSS)) < loss:
            return LOST
        duplicate = bool(impairment.duplicate) and unit(draw(key, number, _DUPLICATE)) < impairment.duplicate
        corrupt = bool(impairment.corrupt) and unit(draw(key, number, _CORRUPT)) < impairment.corrupt
        return Decision(
            False,
            duplicate,
            bool(impairment.reorder) and unit(draw(key, number, _REORDER)) < impairment.reorder,
            corrupt,
            draw(key, number, _PLACE) if corrupt else 0,
            jitter_of(impairment, key, number, _JITTER) if impairment.jitter else 0,
            jitter_of(impairment, key, number, _COPY_JITTER) if impairment.jitter and duplicate else 0,
        )


def loss_chain(impairment: Impairment) -> tuple[float, float, float, float]:
    """Every kind of loss as one two-state chain: (enter, leave, loss while bad, loss while good).

    A loss of share p with correlation c is the chain "the last one was lost": its long-run loss is p and
    the correlation of neighbours is c, exactly.
    """
    if impairment.bursts is not None:
        bursts = impairment.bursts
        return bursts.enter, bursts.leave, bursts.bad, bursts.good
    loss, correlation = impairment.loss, impairment.loss_correlation
    if not correlation or not loss:
        return 0.0, 0.0, 0.0, loss
    return loss * (1 - correlation), (1 - loss) * (1 - correlation), 1.0, 0.0


def jitter_of(impairment: Impairment, key: int, number: int, purpose: int) -> int:
    """The deviation from the delay in ns, before it is kept from going below no delay at all."""
    bits = draw(key, number, purpose)
    if impairment.distribution == "uniform":
        deviation = 2.0 * unit(bits) - 1.0
    elif impairment.distribution == "normal":
        # Twelve uniform numbers added up are as good as normal within three deviations, and exact.
        total = 0
        for word in (bits, draw(key, number, purpose + 1), draw(key, number, purpose + 2)):
            total += (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48)
        deviation = (total + 6) / 65536.0 - 6.0
    else:
        heavy = 1.0 / math.sqrt(math.sqrt(1.0 - unit(bits)))
        deviation = (heavy - _PARETO_MEAN) / _PARETO_DEVIATION
    return math.floor(deviation * nanoseconds(impairment.jitter) + 0.5)


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
