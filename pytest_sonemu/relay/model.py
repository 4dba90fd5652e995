"""What a relay is told: links with their impairments, and flows over them.

Times are in seconds, rates in bit/s of layer 2 (no preamble, no checksum), shares between 0 and 1.
`as_json` and `from_json` are exact opposites; `from_json` trusts nothing and raises SettingsError.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from pytest_sonemu.errors import SettingsError

Direction = Literal["a->b", "b->a"]
DIRECTIONS: tuple[Direction, Direction] = ("a->b", "b->a")
Distribution = Literal["uniform", "normal", "pareto"]

MOST_SEED = 2**64 - 1
MOST_HOPS = 128
_MOST_RATE = 10**12
_MOST_TIME = 3600.0
_MOST_BYTES = 2**40
_MOST_FRAMES = 2**31 - 1
_MOST_NAME = 256
# Below this rate one super-frame of 64 KB would hold the link for over half a millisecond.
_SUPER_FRAME_RATE = 10**9


@dataclass(frozen=True, slots=True)
class Bursts:
    """Losses that come in bursts, after Gilbert and Elliott: a link is good or bad, frame by frame.

    `enter` and `leave` are the shares of frames at which it turns bad and good again; frames are lost
    with the share `bad` while it is bad and `good` while it is good.
    """

    enter: float
    leave: float
    bad: float = 1.0
    good: float = 0.0

    def __post_init__(self) -> None:
        for name in ("enter", "leave", "bad", "good"):
            _share(f"bursts.{name}", getattr(self, name))
        if self.enter and not self.leave:
            raise SettingsError(
                "bursts.leave is 0: the link would stay bad for ever; give it a share above 0"
            )

    @property
    def mean(self) -> float:
        """The share of frames that is lost in the long run."""
        if not self.enter:
            return self.good
        bad = self.enter / (self.enter + self.leave)
        return bad * self.bad + (1 - bad) * self.good


@dataclass(frozen=True, slots=True)
class Impairment:
    """What one direction of a link does to frames. The default does nothing at all.

    `rate` with `burst` bytes that may go at once after a pause (0: every frame takes its time on the wire),
    and a queue before it of at most `queue_packets` frames and `queue_bytes` bytes (neither given: what the
    rate carries in 0.1 s, between 48 KB and 16 MB). `delay` is followed by `jitter`: a uniform
    deviation of at most that much to either side, or a normal or Pareto one with that standard deviation; it
    changes no order unless `jitter_reorders`. `loss` may be correlated with the fate of the frame before it,
    or come in `bursts` instead. A reordered frame is held back until `reorder_gap` more frames of its
    virtual link have come to the link, at most for `reorder_delay`. A corrupted frame has one bit behind
    its Ethernet header flipped.
    """

    rate: int | None = None
    burst: int = 0
    queue_packets: int | None = None
    queue_bytes: int | None = None
    delay: float = 0.0
    jitter: float = 0.0
    distribution: Distribution = "uniform"
    jitter_reorders: bool = False
    loss: float = 0.0
    loss_correlation: float = 0.0
    bursts: Bursts | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_gap: int = 3
    reorder_delay: float = 0.05
    corrupt: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rate is not None:
            _whole("rate", self.rate, 1, _MOST_RATE)
        _whole("burst", self.burst, 0, _MOST_BYTES)
        if self.queue_packets is not None:
            _whole("queue_packets", self.queue_packets, 1, _MOST_FRAMES)
        if self.queue_bytes is not None:
            _whole("queue_bytes", self.queue_bytes, 1, _MOST_BYTES)
        for name in ("delay", "jitter", "reorder_delay"):
            _time(name, getattr(self, name))
        if self.distribution not in get_args(Distribution):
            raise SettingsError(f"distribution {self.distribution!r}: there are uniform, normal and pareto")
        if not isinstance(self.jitter_reorders, bool):
            raise SettingsError(f"jitter_reorders {self.jitter_reorders!r} is neither true nor false")
        for name in ("loss", "loss_correlation", "duplicate", "reorder", "corrupt"):
            _share(name, getattr(self, name))
        if self.bursts is not None and not isinstance(self.bursts, Bursts):
            raise SettingsError(f"bursts {self.bursts!r} is not a Bursts")
        if self.bursts is not None and (self.loss or self.loss_correlation):
            raise SettingsError("loss and bursts exclude each other: bursts say how much is lost")
        if self.loss_correlation == 1:
            raise SettingsError("loss_correlation 1: the first frame would decide for all; take less")
        _whole("reorder_gap", self.reorder_gap, 1, 10_000)
        _whole("seed", self.seed, 0, MOST_SEED)

    @property
    def by_frame(self) -> bool:
        """Whether this acts on single wire frames, so that TCP's super-frames must be cut for it."""
        slow = self.rate is not None and self.rate < _SUPER_FRAME_RATE
        limited = self.rate is not None and (self.queue_packets is not None or self.queue_bytes is not None)
        return bool(slow or limited or self._single)

    @property
    def nothing(self) -> bool:
        """Whether frames cross it as if it were not there."""
        return self.rate is None and not self.delay and not self.drawn

    @property
    def drawn(self) -> bool:
        """Whether anything about a packet is left to chance."""
        return bool(self._single or self.jitter)

    @property
    def _single(self) -> object:
        return self.loss or self.bursts or self.duplicate or self.reorder or self.corrupt


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A link that frames cross in either direction, shared by all flows that name it."""

    name: str
    forward: Impairment = field(default_factory=Impairment)
    backward: Impairment = field(default_factory=Impairment)

    def __post_init__(self) -> None:
        _name("link", self.name)

    def towards(self, direction: Direction) -> Impairment:
        """The impairment of "a->b" or of "b->a"."""
        return self.forward if direction == "a->b" else self.backward


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """Frames that come in from `ingress` cross `hops` in this order and leave by `egress`.

    `virtual_link` is whose frames they are: it counts for seeds and for fair shares; `member` is whose of its
    members, where several send over the same hops: it counts for seeds. An interface is the ingress of one
    flow at most.
    """

    virtual_link: str
    ingress: str
    hops: tuple[tuple[str, Direction], ...]
    egress: str
    member: str = ""

    def __post_init__(self) -> None:
        _name("virtual link", self.virtual_link)
        if self.member != "":
            _name("member", self.member)
        for what in ("ingress", "egress"):
            interface = _name(what, getattr(self, what))
            if len(interface.encode()) > 15 or "/" in interface or any(char.isspace() for char in interface):
                raise SettingsError(f"{what} '{interface}' cannot be the name of an interface")
        if self.ingress == self.egress:
            raise SettingsError(f"virtual link '{self.virtual_link}' leaves by its ingress '{self.egress}'")
        if len(self.hops) > MOST_HOPS:
            raise SettingsError(
                f"virtual link '{self.virtual_link}': {len(self.hops)} hops; most is {MOST_HOPS}"
            )
        for link, direction in self.hops:
            _name("link", link)
            if direction not in get_args(Direction):
                raise SettingsError(f"direction {direction!r}: there are 'a->b' and 'b->a'")
        if len(set(self.hops)) != len(self.hops):
            raise SettingsError(
                f"virtual link '{self.virtual_link}' crosses a link twice in the same direction"
            )


def derive_seed(*parts: str | int) -> int:
    """A seed made of names: the same parts give the same seed, on every machine."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def link_as_json(link: LinkSpec) -> dict[str, Any]:
    return {
        "name": link.name,
        "forward": _impairment_as_json(link.forward),
        "backward": _impairment_as_json(link.backward),
    }


def link_from_json(value: object) -> LinkSpec:
    """A link as `link_as_json` wrote it; what is left out has its default. Raises SettingsError."""
    mapping = _mapping("a link", value, ("name", "forward", "backward"))
    return LinkSpec(
        _required("a link", mapping, "name"),
        impairment_from_json(mapping.get("forward", {})),
        impairment_from_json(mapping.get("backward", {})),
    )


def flow_as_json(flow: FlowSpec) -> dict[str, Any]:
    return {
        "virtual_link": flow.virtual_link,
        "ingress": flow.ingress,
        "hops": [list(hop) for hop in flow.hops],
        "egress": flow.egress,
        **({"member": flow.member} if flow.member else {}),
    }


def flow_from_json(value: object) -> FlowSpec:
    """A flow as `flow_as_json` wrote it. Raises SettingsError."""
    mapping = _mapping("a flow", value, ("virtual_link", "ingress", "hops", "egress", "member"))
    hops = mapping.get("hops", [])
    if not isinstance(hops, list) or not all(isinstance(hop, list) and len(hop) == 2 for hop in hops):
        raise SettingsError("a flow's hops are a list of [link, direction]")
    return FlowSpec(
        _required("a flow", mapping, "virtual_link"),
        _required("a flow", mapping, "ingress"),
        tuple((hop[0], hop[1]) for hop in hops),
        _required("a flow", mapping, "egress"),
        mapping.get("member", ""),
    )


def _impairment_as_json(impairment: Impairment) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in fields(impairment):
        value = getattr(impairment, entry.name)
        if value != entry.default:
            values[entry.name] = value
    if impairment.bursts is not None:
        values["bursts"] = {entry.name: getattr(impairment.bursts, entry.name) for entry in fields(Bursts)}
    return values


def impairment_from_json(value: object) -> Impairment:
    """One direction as JSON has it; what is left out has its default. Raises SettingsError."""
    mapping = _mapping("an impairment", value, tuple(entry.name for entry in fields(Impairment)))
    if mapping.get("bursts") is not None:
        known = tuple(entry.name for entry in fields(Bursts))
        bursts = _mapping("bursts", mapping["bursts"], known)
        for name in ("enter", "leave"):
            _required("bursts", bursts, name)
        mapping = {**mapping, "bursts": Bursts(**bursts)}
    return Impairment(**mapping)


def _mapping(what: str, value: object, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{what} is a mapping, not {_short(value)}")
    for key in value:
        if key not in known:
            raise SettingsError(f"{what} has no {_short(key)}; there are {', '.join(known)}")
    return dict(value)


def _required(what: str, mapping: Mapping[str, Any], key: str) -> Any:
    if key not in mapping:
        raise SettingsError(f"{what} needs '{key}'")
    return mapping[key]


def _name(what: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_NAME or not value.isprintable():
        raise SettingsError(f"{what} {_short(value)} is not a name of 1 to {_MOST_NAME} printable characters")
    return value


def _number(what: str, value: object) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # isfinite cannot say it of 10**400
    raise SettingsError(f"{what} {_short(value)} is not a number")


def _share(what: str, value: object) -> None:
    if not 0 <= _number(what, value) <= 1:
        raise SettingsError(f"{what} {_short(value)} is not a share between 0 and 1")


def _time(what: str, value: object) -> None:
    if not 0 <= _number(what, value) <= _MOST_TIME:
        raise SettingsError(f"{what} {_short(value)} is not a time between 0 and {_MOST_TIME:g} s")


def _whole(what: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SettingsError(f"{what} {_short(value)} is not a whole number between {least} and {most}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
