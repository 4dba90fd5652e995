"""What people write as arguments of handles, read and refused where it comes in.

Each reader raises ProbeError that names the argument, says what was given, and how it is written.
"""

from __future__ import annotations

from typing import overload

from pytest_sonemu import units
from pytest_sonemu.errors import ProbeError


@overload
def seconds(value: float | str, name: str = "timeout") -> float: ...


@overload
def seconds(value: float | str | None, name: str = "timeout") -> float | None: ...


def seconds(value: float | str | None, name: str = "timeout") -> float | None:
    """A time: `"50ms"` -> 0.05; None, where an argument may be that, stays None."""
    if value is None:
        return None
    try:
        return units.seconds(value)
    except ValueError as error:
        raise ProbeError(f"{name}: {error}") from None


def size_bytes(value: float | str, name: str = "size") -> int:
    """A size: `"1k"` -> 1024."""
    try:
        return units.size_bytes(value)
    except ValueError as error:
        raise ProbeError(f"{name}: {error}") from None


def bits_per_second(value: float | str, name: str = "rate") -> int:
    """A rate: `"10Mbit"` -> 10_000_000."""
    try:
        return units.bits_per_second(value)
    except ValueError as error:
        raise ProbeError(f"{name}: {error}") from None


def port_number(value: object, name: str = "port") -> int:
    """A port: an int from 1 to 65535; a text, as of a settings file, is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:
        raise ProbeError(f"{name}: {value!r} is not a port; it is a number from 1 to 65535, as in {name}=80")
    return value
