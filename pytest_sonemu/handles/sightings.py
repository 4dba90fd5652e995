"""From frames seen in the fabric to sightings of one probe's packets (pure).

A connection is known by the number its first packet carries, which address translation leaves as it
is; a datagram by its payload.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_sonemu.handles.frames import ACK, RST, SYN, TCP, UDP, Frame, Neighbour, Packet
from pytest_sonemu.handles.results import Sighting
from pytest_sonemu.planning.plan import Address, DeploymentPlan, EndpointPlan, InterfacePlan

_NUMBERS = 1 << 32


@dataclass(frozen=True, slots=True)
class Station:
    """The interface behind an outer end, and the virtual link it is in."""

    endpoint: str
    at: str
    link: str | None
    strangers: frozenset[str]  # MACs of the link's other ends: frames for them are only flooded here


@dataclass(frozen=True, slots=True)
class Question:
    """A neighbour's MAC that was asked for at `at` and that nobody told."""

    endpoint: str
    at: str
    address: Address

    def __str__(self) -> str:
        return f"{self.at} asks for the MAC of {self.address} and nobody answers"


def label(endpoint: EndpointPlan, interface: InterfacePlan) -> str:
    """What a test calls an interface: "fw:input"; a SAP's own is the SAP."""
    # Of a joined service the SAP is known with the instance's name before it.
    if interface.name == endpoint.id.rpartition("/")[2]:
        return endpoint.id
    return f"{endpoint.id}:{interface.connection_point}"


def stations(plan: DeploymentPlan) -> dict[str, Station]:
    """Every outer end of an instance by its name in the fabric."""
    macs = {
        (endpoint.id, interface.name): interface.mac.lower()
        for endpoint in plan.endpoints
        for interface in endpoint.interfaces
    }
    strangers: dict[tuple[str, str], frozenset[str]] = {}
    for link in plan.links:
        for end in link.ends:
            own = (end.endpoint, end.interface)
            others = {macs.get((other.endpoint, other.interface), "") for other in link.ends}
            others -= {macs.get(own, "")}
            strangers[own] = strangers.get(own, frozenset()) | others
    # Copies are no steps of a packet's way.
    taps = {tap.outer for tap in plan.taps}
    return {
        interface.outer: Station(
            endpoint.id,
            label(endpoint, interface),
            interface.link,
            strangers.get((endpoint.id, interface.name), frozenset()),
        )
        for endpoint in plan.endpoints
        for interface in endpoint.interfaces
        if interface.outer not in taps
    }


@dataclass
class Tracker:
    """Knows the packets of one probe again, in the order in which they are seen.

    `payload` is a datagram's; a connection has none. `port` is the target's.
    """

    source: str
    protocol: int
    source_port: int
    port: int
    address: Address
    payload: bytes = b""
    number: int | None = None
    _flows: set[tuple[Address, Address, int, int]] = field(default_factory=set)

    def part_of(self, packet: Packet, station: Station, inward: bool) -> tuple[str, str] | None:
        """("first" or "answer", what it is), or None for a packet of somebody else."""
        if packet.about is not None:
            about = packet.about
            ours = about.protocol == self.protocol and self._flow(about) in self._flows
            return ("answer", packet.icmp) if ours else None
        if packet.protocol != self.protocol:
            return None
        if self.protocol == TCP:
            return self._tcp(packet, station, inward)
        return self._udp(packet, station, inward) if self.protocol == UDP else None

    def _tcp(self, packet: Packet, station: Station, inward: bool) -> tuple[str, str] | None:
        opening = packet.flags & (SYN | ACK | RST) == SYN
        if self.number is None:
            if not (opening and self._starts(packet, station, inward)):
                return None
            self.number = packet.seq
        if opening and packet.seq == self.number:
            self._flows.add(self._flow(packet))
            return "first", "SYN"
        if packet.ack == (self.number + 1) % _NUMBERS and packet.flags & ACK:
            if packet.flags & RST and not self._forward(packet):
                return "answer", "RST"
            if packet.flags & SYN:
                return "answer", "SYN-ACK"
        return None

    def _udp(self, packet: Packet, station: Station, inward: bool) -> tuple[str, str] | None:
        if not self._flows and not self._starts(packet, station, inward):
            return None
        if (packet.target, packet.source, packet.target_port, packet.source_port) in self._flows:
            return "answer", "datagram"
        if self._flow(packet) in self._flows or packet.payload.startswith(self.payload[:64]):
            self._flows.add(self._flow(packet))
            return "first", "datagram"
        return None

    def _starts(self, packet: Packet, station: Station, inward: bool) -> bool:
        return (
            not inward and station.endpoint == self.source and packet.source_port == self.source_port
            and packet.target_port == self.port and packet.target == self.address
        )  # fmt: skip

    def _forward(self, packet: Packet) -> bool:
        return self._flow(packet) in self._flows

    @staticmethod
    def _flow(packet: Packet) -> tuple[Address, Address, int, int]:
        return packet.source, packet.target, packet.source_port, packet.target_port


def sight(frames: Iterable[Frame], places: dict[str, Station], tracker: Tracker) -> tuple[Sighting, ...]:
    """The first sighting of each of the probe's packets at each interface and direction, in order."""
    seen: dict[tuple[str, str, str, str], Sighting] = {}
    for frame in frames:
        station = places.get(frame.outer)
        if station is None or not isinstance(frame.content, Packet):
            continue
        known = tracker.part_of(frame.content, station, frame.inward)
        if known is None or (frame.inward and frame.destination_mac in station.strangers):
            continue
        part, what = known
        direction = "in" if frame.inward else "out"
        seen.setdefault(
            (station.at, direction, part, what),
            Sighting(
                station.at,
                station.endpoint,
                "in" if frame.inward else "out",
                frame.time,
                "first" if part == "first" else "answer",
                what,
            ),
        )
    return tuple(sorted(seen.values(), key=lambda sighting: sighting.time))


def unanswered_questions(frames: Iterable[Frame], places: dict[str, Station]) -> tuple[Question, ...]:
    """Neighbours that were asked for and not told, in the order of asking."""
    asked: dict[tuple[str, Address], Question] = {}
    for frame in frames:
        station = places.get(frame.outer)
        if station is None or not isinstance(frame.content, Neighbour):
            continue
        key = (station.at, frame.content.address)
        if frame.content.answer and frame.inward:
            asked.pop(key, None)
        elif not frame.content.answer and not frame.inward:
            asked.setdefault(key, Question(station.endpoint, station.at, frame.content.address))
    return tuple(asked.values())
