"""Impairments as people write them, in topologies, marks, options and calls: `delay="50ms"`, `loss="1%"`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pytest_sonemu import units
from pytest_sonemu.errors import SettingsError, did_you_mean
from pytest_sonemu.relay.model import MOST_SEED, Bursts, Direction, Impairment


def _bursts(value: object) -> Bursts:
    if isinstance(value, Bursts):
        return value
    if isinstance(value, Mapping) and {"enter", "leave"} <= set(value) <= {"enter", "leave", "bad", "good"}:
        return Bursts(**{name: units.share(share) for name, share in value.items()})
    raise ValueError(f"{value!r} is not a Bursts(enter=, leave=)")


def _rate(value: float | str) -> int:
    rate = units.bits_per_second(value)
    if not rate:
        raise ValueError(f"{value!r}: nothing would pass; a link that carries nothing is down()")
    return rate


def _whole(value: float | str) -> int:
    number = float(value) if isinstance(value, str) and value.replace(".", "", 1).isdecimal() else value
    if isinstance(number, float) and not number.is_integer():
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
    "rate": _rate,
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
class Impairments:
    """What is asked of a link: of `both` directions, and of those in `ways`, by the name each is given."""

    both: Mapping[str, Any] = field(default_factory=dict)
    ways: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def towards(self, *names: str) -> Impairment:
        """What one direction does, by the names that it goes under; what is its own wins."""
        value = changed(Impairment(), self.both)
        for name, own in self.ways.items():
            value = changed(value, own) if name in names else value
        return value


def parse_impairments(
    value: Mapping[str, Any], is_way: Callable[[str], bool], directions: str = ""
) -> Impairments:
    """What a link is asked for: `{"rate": "10Mbit", "a->b": {"delay": "5ms"}}`.

    `is_way` says which keys are names of directions, `directions` tells people. Raises SettingsError.
    """
    plain = {str(name): entry for name, entry in value.items()}
    tables = {name: plain.pop(name) or {} for name in list(plain) if is_way(name)}
    strange = [name for name, own in plain.items() if name not in _PARSERS and isinstance(own, Mapping)]
    if strange and directions:
        raise SettingsError(f"{strange[0]}: no direction; one is written as {directions}")
    both = parse_impairment(plain)
    ways = {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise SettingsError(f"{name}: {table!r} is not a mapping of impairments")
        try:
            ways[name] = parse_impairment(table)
        except SettingsError as error:
            raise SettingsError(f"{name}: {error}") from None
    found = Impairments(both, ways)
    afters = [found.towards(name) for name in ways]
    require_effect(both, afters if len(afters) > 1 else [*afters, found.towards()])
    for own, after in zip(ways.values(), afters, strict=True):
        require_effect(own, (after,))
    return found


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
    found = parse_impairments(value, ("out", "in").__contains__, "'out' or 'in' of an interface")
    return Access(found.towards("out"), found.towards("in"))


def parse_link(value: Mapping[str, Any]) -> Impairments:
    """A link's impairments: `{"rate": "10Mbit", "fw->server": {"delay": "5ms"}}`. Raises SettingsError."""
    found = parse_impairments(
        value, lambda name: "->" in name, "'a->b', or with the names of a link's ends: 'fw:input->server'"
    )
    ways: dict[str, Mapping[str, Any]] = {}
    for name, own in found.ways.items():
        if ways.setdefault(name.replace(" ", ""), own) is not own:
            raise SettingsError(said_twice(name))
    return Impairments(found.both, ways)


def direction_of(asked: str, ends: tuple[str, str]) -> Direction | None:
    """Which direction of a link between `ends` is meant by "pop1->pop2"; None: neither."""
    text = asked.replace(" ", "")
    for pair in _spellings(*ends):
        if text == "->".join(pair):
            return "a->b"
        if text == "->".join(reversed(pair)):
            return "b->a"
    return None


def _spellings(a: str, b: str) -> Iterable[tuple[str, str]]:
    """How the two ends of a link may be called, what is exact first: "fw:input" is also plain "fw"."""
    yield a, b
    plain_a, plain_b = a.partition(":")[0], b.partition(":")[0]
    if plain_a != plain_b:
        yield from ((plain_a, plain_b), (a, plain_b), (plain_a, b))
    yield "a", "b"


def of_link(asked: Impairments, name: str, ends: tuple[str, str] | None) -> tuple[Impairment, Impairment]:
    """What each direction of a link between `ends` does, "a->b" first. Raises SettingsError.

    Without `ends` (an E-LAN, an E-Tree) frames are impaired where they enter it, all alike.
    """
    names: dict[Direction, list[str]] = {"a->b": [], "b->a": []}
    for way in asked.ways:
        if ends is None:
            raise SettingsError(no_direction(way, name))
        direction = direction_of(way, ends)
        if direction is None:
            raise SettingsError(not_a_direction(way, ends))
        if names[direction]:
            raise SettingsError(said_twice(way, names[direction][0]))
        names[direction].append(way)
    return asked.towards(*names["a->b"]), asked.towards(*names["b->a"])


def no_direction(asked: str, name: str) -> str:
    return (
        f"direction '{asked}' of {name}: frames are impaired where they enter it, all alike;"
        " leave it out, or impair an endpoint's interface, direction 'out' or 'in'"
    )


def not_a_direction(asked: str, ends: tuple[str, str]) -> str:
    a, b = ends
    return f"direction '{asked}' is neither '{a}->{b}' nor '{b}->{a}'"


def said_twice(asked: str, before: str = "") -> str:
    also = f", also as '{before}'" if before else ""
    return f"direction '{asked}' is said twice{also}; write all of it in one place"


def parse_one(name: str, value: object) -> object:
    """One value, in its range. Raises ValueError, and SettingsError where it is out of its range."""
    parsed: Any = _PARSERS[name](value)
    Impairment(**{name: parsed})
    return parsed


def impairment_names() -> Iterable[str]:
    return _PARSERS
