"""Impairments as people write them, in marks, options and calls: `delay="50ms"`, `loss="1%"`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pytest_sonemu import units
from pytest_sonemu.errors import SettingsError, did_you_mean
from pytest_sonemu.relay.model import MOST_SEED, Bursts, Impairment
from pytest_sonemu.topology.model import Cable, PopLink, Topology


def _bursts(value: object) -> Bursts:
    if isinstance(value, Bursts):
        return value
    if isinstance(value, Mapping) and {"enter", "leave"} <= set(value) <= {"enter", "leave", "bad", "good"}:
        return Bursts(**{name: units.share(share) for name, share in value.items()})
    raise ValueError(f"{value!r} is not a Bursts(enter=, leave=)")


def _whole(value: float | str) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not a whole number")
    return units.size_bytes(value)


def _seed(value: object) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number")
    # In what a relay is told 0 means that none was given.
    return value or _SEED_ZERO


def _flag(value: object) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if word in ("true", "false"):
        return word == "true"
    raise ValueError(f"{value!r} is neither true nor false")


_PARSERS: dict[str, Callable[[Any], object]] = {
    "rate": units.bits_per_second,
    "burst": units.size_bytes,
    "queue_packets": _whole,
    "queue_bytes": units.size_bytes,
    "delay": units.seconds,
    "jitter": units.seconds,
    "distribution": str,
    "jitter_reorders": _flag,
    "loss": units.share,
    "loss_correlation": units.share,
    "bursts": _bursts,
    "duplicate": units.share,
    "reorder": units.share,
    "reorder_gap": _whole,
    "reorder_delay": units.seconds,
    "corrupt": units.share,
    "seed": _seed,
}
_SEED_ZERO = MOST_SEED
_DEFAULTS: dict[str, Any] = {entry.name: entry.default for entry in fields(Impairment)}
# What means nothing without a rate.
_OF_A_RATE = ("burst", "queue_packets", "queue_bytes")


def parse_impairment(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an `Impairment` from what a test writes; None stays None, for `changed`.

    Raises SettingsError with all faults.
    """
    parsed: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        if name not in _PARSERS:
            problems.append(f"{name}: no such impairment{did_you_mean(name, _PARSERS)}")
            continue
        try:
            parsed[name] = None if value is None else _PARSERS[name](value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingsError("\n".join([*problems, f"there are: {', '.join(_PARSERS)}"]))
    Impairment(**{name: value for name, value in parsed.items() if value is not None})
    return parsed


def changed(before: Impairment, changes: Mapping[str, Any]) -> Impairment:
    """An impairment after changes that were parsed: what is named is new, what is None has its default.

    Loss and bursts exclude each other, so the one that is named takes the place of the other.
    """
    values = {name: _DEFAULTS[name] if value is None else value for name, value in changes.items()}
    if values.get("bursts") is not None:
        values |= {"loss": 0.0, "loss_correlation": 0.0}
    elif changes.get("loss") is not None:
        values["bursts"] = None
    elif before.bursts is not None and "bursts" not in changes:
        values.pop("loss_correlation", None)
    return replace(before, **values)


def require_effect(changes: Mapping[str, Any], after: Iterable[Impairment]) -> None:
    """Raise SettingsError for changes that do nothing to what a link is after them."""
    named = {name for name, value in changes.items() if value}
    for impairment in after:
        idle = [name for name in _OF_A_RATE if name in named and impairment.rate is None]
        if idle:
            raise SettingsError(f"{', '.join(idle)}: does nothing without a rate; give one: rate='10Mbit'")
        if "loss_correlation" in named and impairment.bursts is not None:
            raise SettingsError(
                "loss_correlation: does nothing to bursts, which say how losses come; give loss"
            )


@dataclass(frozen=True, slots=True)
class Access:
    """What the cable of one interface does to frames: those its endpoint sends, and those it is given."""

    sent: Impairment = field(default_factory=Impairment)
    given: Impairment = field(default_factory=Impairment)


def parse_access(value: Mapping[str, Any]) -> Access:
    """An interface's impairments: `{"rate": "10Mbit", "out": {"delay": "5ms"}}`.

    What is named counts for both directions; what `out` (sent by the endpoint) and `in` (given to it) name
    wins there. Raises SettingsError.
    """
    values = dict(value)
    ways = [values.pop("out", None) or {}, values.pop("in", None) or {}]
    for way in ways:
        if not isinstance(way, Mapping):
            raise SettingsError(f"{way!r} is not a mapping of impairments")
    both = parse_impairment(values)
    sent, given = (parse_impairment(way) for way in ways)
    of_sent, of_given = (changed(changed(Impairment(), both), own) for own in (sent, given))
    require_effect(both, (of_sent, of_given))
    require_effect(sent, (of_sent,))
    require_effect(given, (of_given,))
    return Access(of_sent, of_given)


def topology_access(topology: Topology, endpoint: str) -> dict[str, Access]:
    """What a topology says of the cables of an endpoint, by connection point."""
    return {
        link.interface: Access(impairment_of(link.sent), impairment_of(link.given))
        for link in topology.access
        if link.endpoint == endpoint
    }


def impairment_of(link: Cable | PopLink) -> Impairment:
    """What a link of the topology does to the frames of each of its directions."""
    return Impairment(
        rate=link.rate,
        delay=link.delay or 0.0,
        jitter=link.jitter or 0.0,
        loss=link.loss or 0.0,
        duplicate=link.duplicate or 0.0,
        reorder=link.reorder or 0.0,
        corrupt=link.corrupt or 0.0,
    )


def impairment_names() -> Iterable[str]:
    return _PARSERS
