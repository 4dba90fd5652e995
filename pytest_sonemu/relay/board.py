"""Which links and flows a relay has: all that both engines do alike."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.relay.model import Direction, FlowSpec, LinkSpec

DIRECTIONS: tuple[Direction, Direction] = ("a->b", "b->a")
MOST_LINKS, MOST_FLOWS = 4096, 2000
# Upper ends of the buckets that lateness is counted in, in ns: 10 µs to 100 ms, four a decade.
LATENESS = tuple(round(10_000 * 10 ** (step / 4)) for step in range(17))

Shape = TypeVar("Shape")
Path = TypeVar("Path")
T = TypeVar("T")


class Board(ABC, Generic[Shape, Path]):
    """Keeps names; an engine keeps what they stand for: a `Shape` for each link and direction, a `Path` for
    each flow."""

    kind = "none"

    def __init__(self) -> None:
        self._links: dict[str, tuple[LinkSpec, tuple[Shape, Shape]]] = {}
        self._flows: dict[str, tuple[FlowSpec, int, Path]] = {}

    def change(
        self,
        links: Iterable[LinkSpec],
        flows: Iterable[FlowSpec],
        remove_links: Iterable[str],
        remove_flows: Iterable[str],
    ) -> None:
        """Add, replace and remove, all or nothing. Flows are named by their ingress. Raises SettingsError.

        Frames of a flow that is taken away arrive none the less, if they were on their way.
        """
        new_links = _by_name("link", ((link.name, link) for link in links))
        new_flows = _by_name("ingress", ((flow.ingress, flow) for flow in flows))
        gone_links, gone_flows = set(remove_links), set(remove_flows)
        specs = {name: flow[0] for name, flow in self._flows.items()}
        check_change(self._links, specs, new_links, new_flows, gone_links, gone_flows)
        indices = {
            name: interface_index(name) for flow in new_flows.values() for name in (flow.ingress, flow.egress)
        }
        self._pause()
        try:
            now = time.monotonic_ns()
            for name in gone_flows:
                self._end_path(self._flows.pop(name)[2])
            for link in new_links.values():
                self._put_link(link, now)
            for flow in new_flows.values():
                self._put_flow(flow, indices)
            for name in gone_links:
                for shape in self._links.pop(name)[1]:
                    self._end_shape(shape)
            self._connect({interface: path for _, interface, path in self._flows.values()})
        finally:
            self._resume()

    def _put_link(self, link: LinkSpec, now: int) -> None:
        known = self._links.get(link.name)
        if known is None:
            forward, backward = (self._new_shape(link, direction) for direction in DIRECTIONS)
            self._links[link.name] = link, (forward, backward)
            return
        old, shapes = known
        for shape, direction in zip(shapes, DIRECTIONS, strict=True):
            if link.towards(direction) != old.towards(direction):
                self._impair(shape, link, direction, now)
        self._links[link.name] = link, shapes

    def _put_flow(self, flow: FlowSpec, indices: Mapping[str, int]) -> None:
        known = self._flows.get(flow.ingress)
        ingress, egress = indices[flow.ingress], indices[flow.egress]
        if known is not None and _way(known[0]) == _way(flow):
            # The same way between interfaces that may be new: numbering and counters go on.
            self._turn_to(known[2], egress)
            self._flows[flow.ingress] = flow, ingress, known[2]
            return
        if known is not None:
            self._end_path(known[2])
        shapes = [self._links[link][1][DIRECTIONS.index(direction)] for link, direction in flow.hops]
        self._flows[flow.ingress] = flow, ingress, self._new_path(flow, shapes, egress)

    def counters(self) -> dict[str, Any]:
        """All counters since the start, as JSON."""
        self._pause()
        try:
            return {
                "links": {
                    name: {
                        direction: self._shape_counters(shape)
                        for direction, shape in zip(DIRECTIONS, shapes, strict=True)
                    }
                    for name, (_, shapes) in self._links.items()
                },
                "flows": {name: self._path_counters(path) for name, (_, _, path) in self._flows.items()},
                **self._own_counters(),
            }
        finally:
            self._resume()

    # Frames stand still between these two.
    def _pause(self) -> None: ...

    def _resume(self) -> None: ...

    @abstractmethod
    def _new_shape(self, link: LinkSpec, direction: Direction) -> Shape: ...

    @abstractmethod
    def _impair(self, shape: Shape, link: LinkSpec, direction: Direction, now: int) -> None: ...

    @abstractmethod
    def _end_shape(self, shape: Shape) -> None: ...

    @abstractmethod
    def _new_path(self, flow: FlowSpec, shapes: list[Shape], egress: int) -> Path: ...

    @abstractmethod
    def _turn_to(self, path: Path, egress: int) -> None: ...

    @abstractmethod
    def _end_path(self, path: Path) -> None: ...

    @abstractmethod
    def _connect(self, paths: dict[int, Path]) -> None: ...

    @abstractmethod
    def _shape_counters(self, shape: Shape) -> dict[str, int]: ...

    @abstractmethod
    def _path_counters(self, path: Path) -> dict[str, Any]: ...

    @abstractmethod
    def _own_counters(self) -> dict[str, Any]: ...


def _way(flow: FlowSpec) -> tuple[object, ...]:
    return flow.hops, flow.virtual_link, flow.member


def _by_name(what: str, named: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, thing in named:
        if name in found:
            raise SettingsError(f"one change names the {what} '{name}' twice")
        found[name] = thing
    return found


def check_change(
    links: Mapping[str, object],
    flows: Mapping[str, FlowSpec],
    new_links: Mapping[str, LinkSpec],
    new_flows: Mapping[str, FlowSpec],
    gone_links: set[str],
    gone_flows: set[str],
) -> None:
    """Whether a change leaves a sound whole. Raises SettingsError, and nothing was changed."""
    for what, gone, known, new in (
        ("link", gone_links, links, new_links),
        ("flow", gone_flows, flows, new_flows),
    ):
        for name in sorted(gone):
            if name not in known or name in new:
                raise SettingsError(f"there is no {what} '{name}' to be removed")
    links_then = (set(links) | set(new_links)) - gone_links
    flows_then = {name: flow for name, flow in flows.items() if name not in gone_flows} | dict(new_flows)
    if len(links_then) > MOST_LINKS or len(flows_then) > MOST_FLOWS:
        raise SettingsError(f"a relay carries at most {MOST_LINKS} links and {MOST_FLOWS} flows")
    for flow in flows_then.values():
        for link, _ in flow.hops:
            if link not in links_then:
                raise SettingsError(
                    f"virtual link '{flow.virtual_link}' crosses link '{link}', which is not there"
                )


def interface_index(name: str) -> int:
    """The index of an interface where the relay stands. Raises SettingsError."""
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise SettingsError(f"there is no interface '{name}' where the relay stands") from error
