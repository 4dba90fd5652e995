"""Impairments as people write them, in marks, options and calls: `delay="50ms"`, `loss="1%"`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_sonemu import units
from pytest_sonemu.errors import SettingsError, did_you_mean
from pytest_sonemu.relay.model import Bursts, Impairment
from pytest_sonemu.topology.model import Cable, PopLink, Topology


def _bursts(value: object) -> Bursts:
    if isinstance(value, Bursts):
        return value
    if isinstance(value, Mapping) and {"enter", "leave"} <= set(value) <= {"enter", "leave", "bad", "good"}:
        return Bursts(**{name: units.share(share) for name, share in value.items()})
    raise ValueError(f"{value!r} is not a Bursts(enter=, leave=)")


def _whole(value: float | str) -> int:
    return units.size_bytes(value)


_PARSERS: dict[str, Callable[[Any], object]] = {
    "rate": units.bits_per_second,
    "burst": units.size_bytes,
    "queue_packets": _whole,
    "queue_bytes": units.size_bytes,
    "delay": units.seconds,
    "jitter": units.seconds,
    "distribution": str,
    "jitter_reorders": bool,
    "loss": units.share,
    "loss_correlation": units.share,
    "bursts": _bursts,
    "duplicate": units.share,
    "reorder": units.share,
    "reorder_gap": _whole,
    "reorder_delay": units.seconds,
    "corrupt": units.share,
    "seed": int,
}


def parse_impairment(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of an `Impairment` from what a test writes. Raises SettingsError with all faults."""
    parsed: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        if name not in _PARSERS:
            problems.append(f"{name}: no such impairment{did_you_mean(name, _PARSERS)}")
            continue
        try:
            parsed[name] = _PARSERS[name](value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingsError("\n".join([*problems, f"there are: {', '.join(_PARSERS)}"]))
    return parsed


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
    both = Impairment(**parse_impairment(values))
    sent, given = (replace(both, **parse_impairment(way)) for way in ways)
    return Access(sent, given)


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
