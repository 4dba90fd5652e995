"""The relay's loop in plain Python: frames in, through the shapers, out on time."""

from __future__ import annotations

import socket
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_sonemu.errors import SettingsError
from pytest_sonemu.relay import offload
from pytest_sonemu.relay.model import Direction, FlowSpec, LinkSpec
from pytest_sonemu.relay.packets import PacketSocket
from pytest_sonemu.relay.shaper import Agenda, Frame, Shaper, Way

_DIRECTIONS: tuple[Direction, Direction] = ("a->b", "b->a")
_MOST_HELD = 512 * 2**20
MOST_LINKS, MOST_FLOWS = 4096, 2000
# Upper ends of the buckets that lateness is counted in, in ns.
LATENESS = tuple(round(10_000 * 10 ** (step / 4)) for step in range(17))


@dataclass(slots=True)
class FlowCounters:
    """What one flow has seen, in wire frames and layer-2 bytes; `refused` by the kernel at the egress."""

    packets: int = 0
    bytes: int = 0
    sent_packets: int = 0
    sent_bytes: int = 0
    refused: int = 0
    memory: int = 0


@dataclass(slots=True)
class _Link:
    spec: LinkSpec
    shapers: tuple[Shaper, Shaper]


@dataclass(slots=True)
class _Flow:
    spec: FlowSpec
    interface: int
    way: Way
    counters: FlowCounters = field(default_factory=FlowCounters)


class Engine:
    """All links and flows of one relay. Not thread-safe; nothing of it blocks."""

    kind = "python"

    def __init__(self) -> None:
        self._packets = PacketSocket()
        self._agenda = Agenda()
        self._links: dict[str, _Link] = {}
        self._flows: dict[str, _Flow] = {}
        self._ingress: dict[int, _Flow] = {}
        self._counters: dict[Way, FlowCounters] = {}
        self._lateness = [0] * (len(LATENESS) + 1)
        self._unread = self._latest = 0

    def fileno(self) -> int:
        return self._packets.fileno()

    def close(self) -> None:
        self._packets.close()

    # -- what there is ---------------------------------------------------------------------------------

    def change(
        self,
        links: Iterable[LinkSpec],
        flows: Iterable[FlowSpec],
        remove_links: Iterable[str],
        remove_flows: Iterable[str],
    ) -> None:
        """Add, replace and remove, all or nothing. Flows are named by their ingress. Raises SettingsError."""
        new_links, new_flows = {link.name: link for link in links}, {flow.ingress: flow for flow in flows}
        gone_links, gone_flows = set(remove_links), set(remove_flows)
        specs = {name: flow.spec for name, flow in self._flows.items()}
        check_change(self._links, specs, new_links, new_flows, gone_links, gone_flows)
        indices = {
            name: interface_index(name) for flow in new_flows.values() for name in (flow.ingress, flow.egress)
        }
        now = time.monotonic_ns()
        self._agenda.run(now)
        for name in gone_flows:
            self._drop_flow(name)
        for name, link in new_links.items():
            self._put_link(name, link, now)
        for flow in new_flows.values():
            self._put_flow(flow, indices)
        for name in gone_links:
            del self._links[name]
        self._ingress = {flow.interface: flow for flow in self._flows.values()}
        self._packets.listen(self._ingress)

    def _put_link(self, name: str, spec: LinkSpec, now: int) -> None:
        known = self._links.get(name)
        if known is None:
            forward, backward = (
                Shaper(self._agenda, name, direction, spec.towards(direction)) for direction in _DIRECTIONS
            )
            self._links[name] = _Link(spec, (forward, backward))
            return
        for shaper, direction in zip(known.shapers, _DIRECTIONS, strict=True):
            if spec.towards(direction) != known.spec.towards(direction):
                shaper.impair(spec.towards(direction), now)
        known.spec = spec

    def _put_flow(self, spec: FlowSpec, indices: dict[str, int]) -> None:
        known = self._flows.get(spec.ingress)
        if (
            known is not None
            and known.spec.hops == spec.hops
            and known.spec.virtual_link == spec.virtual_link
        ):
            # The same way between interfaces that may be new: numbering and counters go on.
            known.spec, known.interface, known.way.egress = spec, indices[spec.ingress], indices[spec.egress]
            return
        if known is not None:
            self._drop_flow(spec.ingress)
        way = Way(spec.virtual_link, egress=indices[spec.egress])
        for link, direction in spec.hops:
            way.lanes.append(self._links[link].shapers[_DIRECTIONS.index(direction)].admit(spec.virtual_link))
        flow = _Flow(spec, indices[spec.ingress], way)
        self._flows[spec.ingress] = flow
        self._counters[way] = flow.counters

    def _drop_flow(self, name: str) -> None:
        # Frames that are on their way arrive none the less.
        flow = self._flows.pop(name)
        for lane in flow.way.lanes:
            lane.shaper.dismiss(lane)

    # -- frames ----------------------------------------------------------------------------------------

    @property
    def due(self) -> int | None:
        """When `step` has something to do even if no frame comes in: in ns of the monotonic clock."""
        return self._agenda.due

    def step(self) -> None:
        """Take in what is there, do what is due, send what has crossed its way."""
        agenda = self._agenda
        now = time.monotonic_ns()
        agenda.run(now)
        received = self._packets.receive()
        for interface, data, tag_type, tag in received:
            flow = self._ingress.get(interface)
            if flow is None:
                continue
            if tag_type:
                data = offload.with_tag(data, tag_type, tag)
            self._take_in(flow, data, now)
        if agenda.out:
            self._send_out()

    def _take_in(self, flow: _Flow, data: bytes, now: int) -> None:
        size, segments = offload.wire_size(data)
        flow.counters.packets += segments
        flow.counters.bytes += size
        if self._agenda.held > _MOST_HELD:
            flow.counters.memory += segments
            return
        way = flow.way
        kind = offload.kind_of(data) if way.lanes else 0
        if segments > 1 and way.by_frame:
            for piece in offload.cut(data):
                self._agenda.enter(Frame(way, piece, len(piece) - offload.VNET.size, 1, kind), now)
        else:
            self._agenda.enter(Frame(way, data, size, segments, kind), now)

    def _send_out(self) -> None:
        out, self._agenda.out = self._agenda.out, []
        now = time.monotonic_ns()
        for due, frame in out:
            if due < now:
                self._lateness[bisect_left(LATENESS, now - due)] += 1
                self._latest = max(self._latest, now - due)
            counters = self._counters[frame.way]
            counters.sent_packets += frame.segments
            counters.sent_bytes += frame.size
        for place in self._packets.send([(frame.way.egress, frame.data) for _, frame in out]):
            frame = out[place][1]
            counters = self._counters[frame.way]
            counters.sent_packets -= frame.segments
            counters.sent_bytes -= frame.size
            counters.refused += frame.segments

    # -- what is told of it ----------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """All counters since the start, as JSON: see `model.Counters`."""
        self._unread += self._packets.overflowed()
        return {
            "links": {
                name: {shaper.direction: asdict(shaper.counters) for shaper in link.shapers}
                for name, link in self._links.items()
            },
            "flows": {
                name: {
                    **asdict(flow.counters),
                    "hops": [asdict(lane.counters) for lane in flow.way.lanes],
                }
                for name, flow in self._flows.items()
            },
            "unread": self._unread,
            "held": self._agenda.held,
            "lateness": self._lateness,
            "latest": self._latest,
        }


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
