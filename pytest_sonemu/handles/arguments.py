"""What people write as arguments of handles, read and refused where it comes in.

Each reader raises ProbeError that names the argument, says what was given, and how it is written.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
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


def whole_number(value: object, name: str = "count", least: int = 1) -> int:
    """A number of things: an int from `least` on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ProbeError(f"{name}: {value!r} is not a whole number from {least} on, as in {name}=3")
    return value


def yes_or_no(value: object, name: str) -> bool:
    """A switch; "no" is a text, and would count as yes."""
    if not isinstance(value, bool):
        raise ProbeError(f"{name}: {value!r} is neither True nor False")
    return value


def several(value: object, name: str) -> tuple[str, ...]:
    """Names; a text is one of them, not its letters."""
    if isinstance(value, str):
        return (value,)
    found = tuple(value) if isinstance(value, Iterable) else ()
    if not isinstance(value, Iterable) or not all(isinstance(each, str) for each in found):
        raise ProbeError(f"{name}: {value!r} are no names, as in {name}=['one', 'two']")
    return found


def pattern(value: object, name: str = "text") -> re.Pattern[str]:
    """What a line is to contain: a text as it stands, or a compiled pattern of texts."""
    if isinstance(value, str):
        return re.compile(re.escape(value))
    if not isinstance(value, re.Pattern) or not isinstance(value.pattern, str):
        raise ProbeError(f"{name}: {value!r} is no text to look for, nor a pattern as re.compile('…') gives")
    return value


def command_words(command: object) -> list[str]:
    """A command that is a list, word by word, paths as texts; a text is one word."""
    if isinstance(command, str):
        return [command]
    words = list(command) if isinstance(command, Sequence) and not isinstance(command, bytes) else [command]
    return [path_text(word, "command") for word in words]


def variables(value: object, name: str = "env") -> dict[str, str]:
    """Environment variables, names and values as texts; None: no more of them."""
    found = {} if value is None else value
    if not isinstance(found, Mapping) or not all(
        isinstance(part, str) for pair in found.items() for part in pair
    ):
        raise ProbeError(f"{name}: write names and values as texts, as in {name}={{'MODE': 'strict'}}")
    return dict(found)


def input_bytes(value: object, name: str = "stdin") -> bytes | None:
    """What a command reads; None: nothing."""
    if value is not None and not isinstance(value, str | bytes):
        raise ProbeError(
            f"{name}: {value!r} is neither text nor bytes; open files are read by: {name}=file.read()"
        )
    return value.encode() if isinstance(value, str) else value


def path_text(value: object, name: str = "path") -> str:
    """A text, or a path as a text."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise ProbeError(f"{name}: {value!r} is no text; write '{value}', if that is meant")
    return found


def signal_number(value: int | str) -> signal.Signals:
    """A signal: `signal.SIGHUP`, its number, "SIGHUP" or "HUP"."""
    try:
        if isinstance(value, str):
            return signal.Signals[value if value.startswith("SIG") else f"SIG{value}"]
        return signal.Signals(value)
    except (KeyError, ValueError):
        raise ProbeError(f"{value!r} is not a signal; write it like signal.SIGHUP or 'HUP'") from None
