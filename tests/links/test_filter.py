"""The filter that tells interfaces apart in the kernel, run here by a small interpreter."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.relay.packets import interface_filter


def passes(program: list[tuple[int, int, int, int]], interface: int) -> bool:
    at = 1  # behind the load
    while True:
        code, yes, no, value = program[at]
        at += 1
        if code == 0x06:
            return value != 0
        if code == 0x05:
            at += value
        else:
            assert code in (0x25, 0x35)
            at += yes if (interface > value if code == 0x25 else interface >= value) else no


@settings(deadline=None)
@given(st.sets(st.integers(1, 1000), max_size=60))
def test_it_passes_these_and_no_others(interfaces: set[int]) -> None:
    program = interface_filter(sorted(interfaces))
    assert {index for index in range(1, 1002) if passes(program, index)} == interfaces


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(1, 50), st.integers(0, 2**32))
def test_it_stays_small_and_passes_at_least_these(count: int, spread: int, seed: int) -> None:
    interfaces = set(random.Random(seed).sample(range(1, count * spread + 2), count))
    program = interface_filter(sorted(interfaces))
    assert len(program) <= 1300
    assert all(max(jump[1:3]) <= 255 for jump in program)
    assert all(passes(program, index) for index in interfaces)
    assert not passes(program, max(interfaces) + 1)
