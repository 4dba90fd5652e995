from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_sonemu.units import bits_per_second, seconds, share, size_bytes


@pytest.mark.parametrize(
    ("read", "written", "value"),
    [
        (seconds, "50ms", 0.05), (seconds, "2 s", 2.0), (seconds, "1min", 60.0), (seconds, 0.5, 0.5),
        (seconds, "10us", 1e-5), (bits_per_second, "10Mbit", 10_000_000), (bits_per_second, "1Gbps", 10**9),
        (bits_per_second, "10Mbit/s", 10_000_000), (bits_per_second, "10Mb/s", 10_000_000),
        (seconds, "1msec", 0.001), (seconds, "0.5sec", 0.5), (seconds, "10usec", 1e-5),
        (bits_per_second, 64_000, 64_000), (size_bytes, "512M", 512 * 1024**2),
        (size_bytes, "512MiB", 512 * 1024**2),
        (size_bytes, "1.5g", 1610612736), (size_bytes, 4096, 4096), (share, "1%", 0.01), (share, 0.25, 0.25),
        (share, "100%", 1.0),
    ],
)  # fmt: skip
def test_quantities(read: Callable[[Any], float], written: Any, value: float) -> None:
    assert read(written) == pytest.approx(value)


@pytest.mark.parametrize("read", [seconds, bits_per_second, size_bytes, share])
@pytest.mark.parametrize(
    "written", ["", "fast", "-1", -1, True, "nan", float("inf"), "1 lightyear", "1e999", None, []]
)
def test_what_is_no_quantity_is_a_value_error(read: Callable[[Any], float], written: Any) -> None:
    with pytest.raises(ValueError, match="is not a"):
        read(written)


@pytest.mark.parametrize("written", ["10MB/s", "10 MBps", "1kB/S"])
def test_bytes_a_second_are_no_bits(written: str) -> None:
    with pytest.raises(ValueError, match="is not a rate in bits a second but in bytes"):
        bits_per_second(written)


def test_a_share_is_at_most_the_whole() -> None:
    with pytest.raises(ValueError, match="more than 100 %"):
        share("101%")


@settings(deadline=None)
@given(st.text(max_size=12))
def test_no_text_does_worse_than_a_value_error(text: str) -> None:
    for read in (seconds, bits_per_second, size_bytes, share):
        with suppress(ValueError):
            assert read(text) >= 0
