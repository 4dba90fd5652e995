"""Quantities as people write them: "50ms", "10Mbit", "1%", "512M".

Inside the project a time is in float seconds, a size in int bytes, a rate in int bit/s, a share in
float (0.01 for 1 %). Numbers pass unchanged.
"""

from __future__ import annotations

import math
import re

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%µ/]*)\s*")

_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SECONDS |= {f"{unit}ec": factor for unit, factor in _SECONDS.items() if unit}
_SECONDS |= {"m": 60.0, "min": 60.0, "h": 3600.0}
_BITS = {
    f"{prefix}{unit}": 1000.0**power
    for power, prefix in enumerate(["", *"kmgt"])
    for unit in ("bit", "bps", "bit/s", "b/s")
}
_BITS[""] = 1.0
_BYTES_A_SECOND = re.compile(r"B(ps|/[sS])\s*$")
# As Docker reads sizes: a bare letter, "MB" and "MiB" are all powers of 1024.
_BYTES = {
    f"{prefix}{end}": 1024.0**power for power, prefix in enumerate("kmgt", start=1) for end in ("", "b", "ib")
}
_BYTES |= {"": 1.0, "b": 1.0}


def seconds(value: float | str) -> float:
    """A time: `"50ms"` -> 0.05. Raises ValueError for anything else than a finite time of 0 or more."""
    return _quantity(value, _SECONDS, "time", "50ms, 2s, 1min")


def bits_per_second(value: float | str) -> int:
    """A rate: `"10Mbit"`, `"10Mbit/s"` -> 10_000_000. Raises ValueError, for bytes a second too."""
    if isinstance(value, str) and _BYTES_A_SECOND.search(value):
        raise ValueError(
            f"{value!r} is not a rate in bits a second but in bytes; write it like 10Mbit, 1Gbit"
        )
    return round(_quantity(value, _BITS, "rate", "10Mbit, 1Gbit", fold=True))


def size_bytes(value: float | str) -> int:
    """A size as Docker reads it: `"512M"` and `"512MiB"` -> 536_870_912. Raises ValueError."""
    return round(_quantity(value, _BYTES, "size", "512M, 1GiB", fold=True))


def share(value: float | str) -> float:
    """A share between 0 and 1: `"1%"` -> 0.01; a bare number is the share itself. Raises ValueError."""
    result = _quantity(value, {"": 1.0, "%": 0.01}, "share", "1%, 0.01")
    if result > 1:
        raise ValueError(f"{value!r} is more than 100 %")
    return result


def _quantity(
    value: float | str, units: dict[str, float], kind: str, examples: str, *, fold: bool = False
) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a {kind}; write it like {examples}")
    if isinstance(value, (int, float)):
        number, factor = float(value), 1.0
    else:
        match = _QUANTITY.fullmatch(value)
        unit = (match[2].lower() if fold else match[2]) if match else ""
        if match is None or unit not in units:
            raise ValueError(f"{value!r} is not a {kind}; write it like {examples}")
        number, factor = float(match[1]), units[unit]
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value!r} is not a {kind} of 0 or more")
    return number * factor
