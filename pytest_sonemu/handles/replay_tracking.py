"""Which frames that are seen on a bed are which packets of a replay, and what became of each (pure).

Packets are known by their content, since address translation leaves nothing else as it was: by TCP's
numbers, by payloads, by an echo's id and number. One whose content was changed is known by its ports.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pytest_sonemu.handles.golden import changes_between, fields_of
from pytest_sonemu.handles.packets import CapturedPacket
from pytest_sonemu.handles.recordings import RecordedPacket
from pytest_sonemu.handles.replay_results import ReplayedPacket
from pytest_sonemu.handles.sightings import Station

# What every router changes, and what nobody chooses.
_ON_THE_WAY = ("eth", "ip.ttl", "ip.ident")


@dataclass(eq=False)
class Piece:
    """A frame that was sent of a recorded packet: all of it, or a part of a super-frame.

    `sent` is when, in seconds since the epoch; `error` says why it was not. `source` and `target` are
    endpoints.
    """

    packet: RecordedPacket
    frame: bytes
    source: str
    target: str
    sent: float
    error: str = ""
    sightings: list[CapturedPacket] = field(default_factory=list)

    @cached_property
    def shown(self) -> CapturedPacket:
        """As a capture shows it."""
        return CapturedPacket(self.sent, self.source, "out", self.frame)


class Matcher:
    """Knows pieces again at one place, each once."""

    def __init__(self) -> None:
        self._by_content: dict[Hashable, list[Piece]] = {}
        self._by_outline: dict[Hashable, list[Piece]] = {}
        self._met: set[Piece] = set()

    def expect(self, piece: Piece) -> None:
        """A piece is under way."""
        self._by_content.setdefault(_content(piece.shown), []).append(piece)
        for outline in _outlines(piece.shown):
            self._by_outline.setdefault(outline, []).append(piece)

    def match(self, packet: CapturedPacket) -> Piece | None:
        """The piece that this is; None: none of them, or one that was here before."""
        content = _content(packet)
        if content is None:
            return None
        if content in self._by_content:
            found = self._best(packet, self._by_content[content])
            if found is None and any(_kinship(packet, each.shown) for each in self._by_content[content]):
                return None  # it came twice
        else:
            found = None
        for outline in _outlines(packet):
            found = found or self._best(packet, self._by_outline.get(outline, ()))
        if found is not None:
            self._met.add(found)
        return found

    def _best(self, packet: CapturedPacket, pieces: Iterable[Piece]) -> Piece | None:
        waiting = [piece for piece in pieces if piece not in self._met]
        # Of several alike the one sent first; max takes the first of equals.
        best = max(waiting, key=lambda piece: _kinship(packet, piece.shown), default=None)
        return best if best is not None and _kinship(packet, best.shown) else None


def assign(pieces: Sequence[Piece], packets: Iterable[CapturedPacket], places: Mapping[str, Station]) -> None:
    """Note at each piece where it was seen, in the order of time."""
    matchers: dict[tuple[str, str], tuple[Matcher, list[int]]] = {}
    for packet in sorted(packets, key=lambda each: each.nanoseconds):
        station = places.get(packet.at)
        # A bridge floods what it does not know; that is no crossing.
        if station is None or (packet.direction == "in" and packet.eth.target in station.strangers):
            continue
        matcher, under_way = matchers.setdefault((packet.at, packet.direction), (Matcher(), [0]))
        while under_way[0] < len(pieces) and pieces[under_way[0]].sent <= packet.time:
            if not pieces[under_way[0]].error:
                matcher.expect(pieces[under_way[0]])
            under_way[0] += 1
        piece = matcher.match(packet)
        if piece is not None:
            piece.sightings.append(packet)


def outcome(
    packet: RecordedPacket,
    pieces: Sequence[Piece],
    places: Mapping[str, Station],
) -> ReplayedPacket:
    """What became of one recorded packet, of which `pieces` were sent."""
    first = pieces[0]
    worst = next((piece for piece in pieces if _arrival(piece, places) is None), pieces[-1])
    arrival = _arrival(worst, places)
    lost_in, last_seen = (None, f"arrived at {arrival.at}") if arrival else _lost(worst, places)
    changes = [] if arrival is None else [_changes(piece, places) for piece in pieces]
    return ReplayedPacket(
        number=packet.number,
        summary=first.shown.summary(),
        source=first.source,
        target=first.target,
        sent=None if first.error else first.sent,
        arrived=arrival.time if arrival else None,
        crossed=tuple(dict.fromkeys(each.at for each in worst.sightings)),
        last_seen=last_seen,
        lost_in=lost_in,
        changes=next((each for each in changes if each), ""),
    )


def _arrival(piece: Piece, places: Mapping[str, Station]) -> CapturedPacket | None:
    for each in piece.sightings:
        if each.direction == "in" and places[each.at].endpoint == piece.target:
            return each
    return None


def _lost(piece: Piece, places: Mapping[str, Station]) -> tuple[str, str]:
    """Where it ended, and that in words."""
    if piece.error:
        return piece.source, f"not sent by {piece.source}: {piece.error}"
    if not piece.sightings:
        return piece.source, f"not seen out of {piece.source}"
    last = piece.sightings[-1]
    station = places[last.at]
    if last.direction == "in":
        return station.endpoint, f"seen into {last.at}, not out of {station.endpoint}"
    if station.link is None:
        return station.endpoint, f"seen out of {last.at}, which is in no link"
    return station.link, f"seen out of {last.at} and lost on {station.link}"


def _changes(piece: Piece, places: Mapping[str, Station]) -> str:
    arrival = _arrival(piece, places)
    if arrival is None:
        return ""
    before, after = (tuple(fields_of(each, _ON_THE_WAY)) for each in (piece.shown, arrival))
    return changes_between(before, after) if before != after else ""


def _content(packet: CapturedPacket) -> Hashable:
    ip = packet.ip
    if ip is None:
        return None
    if packet.tcp is not None:
        tcp = packet.tcp
        return "tcp", tcp.seq, tcp.ack, tcp.flags, packet.payload
    if packet.udp is not None:
        udp = packet.udp
        return "udp", packet.payload, () if packet.payload else (udp.source_port, udp.target_port)
    if packet.icmp is not None:
        icmp = packet.icmp
        return "icmp", icmp.version, icmp.type, icmp.code, icmp.ident, icmp.number, packet.payload
    return "ip", ip.protocol, ip.fragment_offset, packet.payload


def _outlines(packet: CapturedPacket) -> tuple[Hashable, ...]:
    """By what a packet is known whose content was changed."""
    if packet.tcp is not None:
        tcp, full = packet.tcp, bool(packet.payload)
        ports = (tcp.source_port, tcp.target_port)
        return ("seq", tcp.seq, tcp.flags & 0x07, full), ("tcp", ports, tcp.flags & 0x17, packet.payload)
    if packet.udp is not None:
        return (("udp", packet.udp.source_port, packet.udp.target_port),)
    if packet.icmp is not None:
        return (("icmp", packet.icmp.type, packet.icmp.ident, packet.icmp.number),)
    return ()


def _kinship(packet: CapturedPacket, piece: CapturedPacket) -> int:
    """How much of the addresses, ports and the IPv4 id is the same; 0: it goes somewhere else."""
    ours, theirs = _ends(packet), _ends(piece)
    same = sum(one == other for one, other in zip(ours, theirs, strict=False))
    if not same:
        return 0
    one, other = packet.ip, piece.ip
    assert one is not None
    assert other is not None
    return same + (one.ident == other.ident and one.version == 4)


def _ends(packet: CapturedPacket) -> tuple[object, ...]:
    ip, ports = packet.ip, packet.tcp or packet.udp
    if ip is None:
        return ()
    return (ip.source, ip.target) + ((ports.source_port, ports.target_port) if ports else ())
