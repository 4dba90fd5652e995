"""What impairs the links of a bed at run time: changes that lie on each other, each taken away by itself.

Blocks and schedules of one link may begin and end in any order. A link is what the topology and the
options make of it, changed by those that have not ended, in the order in which they began.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import eq
from typing import Any, Literal

from pytest_sonemu.emulation.client import BedClient
from pytest_sonemu.errors import NotFoundError
from pytest_sonemu.relay.model import DIRECTIONS, Direction, Impairment, derive_seed
from pytest_sonemu.topology.impairments import changed, require_effect

Both = tuple[Impairment, Impairment]
Way = Literal["both"] | Direction


@dataclass(eq=False, slots=True)
class Layer:
    """One change of a link while it lasts, of a `test`'s view.

    A change starts the numbering of packets again, so each `step` of a schedule draws anew; one that is
    `seeded` says itself from what. With `anew` chance is the test's own, whatever came before.
    """

    test: str
    way: Way = "both"
    changes: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None
    seeded: bool = False
    anew: bool = False


class Layers:
    """The layers of all links of a bed, as this process has put them. Thread-safe."""

    def __init__(self, client: BedClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._of: dict[str, list[Layer]] = {}

    def add(self, target: str, layer: Layer) -> None:
        """Change a link further. Raises SettingsError, and what the keeper says; then nothing has changed."""
        with self._lock:
            layers = [*self._of.get(target, []), layer]
            self._put(target, layers, layer)
            self._of[target] = layers

    def begin(self, target: str, layer: Layer) -> None:
        """Take a layer's place among the others; it changes nothing before its first `step`."""
        with self._lock:
            self._of.setdefault(target, []).append(layer)

    def step(self, target: str, layer: Layer, step: Layer) -> None:
        """Let a layer that lasts be what `step` is. Raises as `add`."""
        with self._lock:
            before = layer.changes, layer.step, layer.seeded
            layer.changes, layer.step, layer.seeded = step.changes, step.step, step.seeded
            try:
                self._put(target, self._of.get(target, []))
            except BaseException:
                layer.changes, layer.step, layer.seeded = before
                raise

    def remove(self, target: str, layer: Layer) -> None:
        """Take a change away, whatever came after it; of a link that is gone too."""
        with self._lock:
            layers = [other for other in self._of.pop(target, []) if other is not layer]
            if layers:
                self._of[target] = layers
            with suppress(NotFoundError):
                self._put(target, layers)

    def anew(self, target: str, layer: Layer) -> None:
        """Add a layer and number packets from the first again, also where a seed stays what it was."""
        base = self._client.impairments(target).base
        if any(map(eq, self._after(target, base, [layer]), base)):
            # A link that is told what it is goes on counting.
            forward, backward = (replace(way, seed=way.seed ^ 1) for way in base)
            self._client.impair(target, forward, backward)
        self.add(target, layer)

    def check(self, target: str, steps: Iterable[Layer]) -> None:
        """Raise SettingsError for a step that could not be put on the link as it is now."""
        base = self._client.impairments(target).base
        with self._lock:
            layers = list(self._of.get(target, []))
        for step in steps:
            require_effect(step.changes, self._toward(base, self._after(target, base, [*layers, step]), step))

    def _put(self, target: str, layers: list[Layer], new: Layer | None = None) -> None:
        if not layers:
            self._client.impair(target, None, None)
            return
        base = self._client.impairments(target).base
        after = self._after(target, base, layers)
        if new is not None:
            require_effect(new.changes, self._toward(base, after, new))
        self._client.impair(target, *after)

    def _toward(self, base: Both, after: Both, layer: Layer) -> list[Impairment]:
        return [way for name, way in zip(DIRECTIONS, after, strict=True) if layer.way in ("both", name)]

    def _after(self, target: str, base: Both, layers: Iterable[Layer]) -> Both:
        run, forward, backward = self._client.seed, *base
        return (
            combined(forward, layers, run, target, "a->b"),
            combined(backward, layers, run, target, "b->a"),
        )


def combined(base: Impairment, layers: Iterable[Layer], run: int, target: str, way: Direction) -> Impairment:
    """What one direction of a link is with its layers, the earliest first.

    A seed that was given stays, and steps draw from it; else one comes from the names of test and link.
    """
    value = base
    seed = given = base.seed if base.seed not in (0, derive_seed(run, target, way)) else None
    for layer in layers:
        if layer.way not in ("both", way):
            continue
        value = changed(value, layer.changes)
        if "seed" in layer.changes:
            seed = given = layer.changes["seed"]
        if layer.step is not None and not layer.seeded:
            more = (layer.step,)
            seed = derive_seed(given, *more) or 1 if given else seed_of(run, layer.test, target, way, *more)
        elif seed is None or (layer.anew and given is None):
            seed = seed_of(run, layer.test, target, way)
    return replace(value, seed=base.seed if seed is None else seed)


def seed_of(run: int, test: str, target: str, way: Direction, *more: int) -> int:
    """The seed of one direction of a link: from the run's and the names of test and link, never 0.

    Instances are numbered as they come ("firewall-2"): what counts is the link's own name.
    """
    _instance, _, name = target.rpartition("/")
    return derive_seed(run, test, name or target, way, *more) or 1
