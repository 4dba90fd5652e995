"""Replaying a recorded conversation between endpoints of a service, both sides of it."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_sonemu.errors import NotFoundError, ProbeError
from pytest_sonemu.handles.arguments import seconds
from pytest_sonemu.handles.capture import Capture, Post
from pytest_sonemu.handles.filter_program import KINDS, Either, kernel_program
from pytest_sonemu.handles.next_hops import NextHop, NextHops
from pytest_sonemu.handles.packets import CapturedPacket
from pytest_sonemu.handles.recordings import (
    Conversation,
    Ends,
    RecordedPacket,
    Recording,
    between,
    read_recording,
    refuse_what_is_cut,
)
from pytest_sonemu.handles.replay_results import Replay
from pytest_sonemu.handles.replay_tracking import Matcher, Piece, assign, outcome
from pytest_sonemu.handles.sightings import stations
from pytest_sonemu.handles.silence import Ear, Silence
from pytest_sonemu.handles.targets import Place, Spot, find_spot, find_target
from pytest_sonemu.handles.wire import cut_to_fit, framed
from pytest_sonemu.planning.plan import Address, DeploymentPlan
from pytest_sonemu.planning.splicing import joined_instances
from pytest_sonemu.relay.socket_filter import attach

if TYPE_CHECKING:
    from pytest_sonemu.handles.core import BedCore

Vlans = Literal["refuse", "strip", "keep"]
Sides = Mapping[str, Place] | Mapping[Address, Place]
_VLANS = ("refuse", "strip", "keep")
_ETH_P_ALL = 0x0003
_ROOM = 1 << 17


def replay(
    bed: BedCore,
    plan: DeploymentPlan,
    recording: str | os.PathLike[str],
    sides: Sides,
    *,
    speed: float | str = 1.0,
    timeout: float | str = 0.5,
    vlans: Vlans = "refuse",
) -> Replay:
    """See `Service.replay`."""
    factor = _factor(speed)
    if vlans not in _VLANS:
        raise ProbeError(f"vlans={vlans!r}: tagged packets are one of: {', '.join(_VLANS)}")
    patience = seconds(timeout)
    found = read_recording(bed.files.place(recording))
    places = _places(plan, found, sides)
    chosen = _chosen(found, places, vlans)
    skipped = len(found.packets) - len(chosen) + found.others
    with ExitStack() as stack:
        run = _Run(bed, plan, places, factor, patience, vlans, stack)
        return run.replay(found.path, chosen, skipped)


@dataclass(frozen=True, slots=True)
class _Side:
    """An endpoint that stands for a recorded address. `place` is what the test called it."""

    place: Place
    spot: Spot

    @property
    def endpoint(self) -> str:
        return self.spot.endpoint.id


@dataclass(frozen=True, slots=True)
class _Planned:
    """The bed's addresses for two recorded ones; `mtu` is the target's interface's, in bytes."""

    ends: Ends
    mtu: int


@dataclass
class _Mouth:
    """The packet socket of one interface: what is sent goes out there, what comes in there is heard."""

    endpoint: str
    sock: socket.socket


@dataclass
class _Run:
    """One replay. `factor` divides the recorded times (None: there are none), `patience` in seconds."""

    bed: BedCore
    plan: DeploymentPlan
    sides: Mapping[Address, _Side]
    factor: float | None
    patience: float
    vlans: Vlans
    stack: ExitStack
    pieces: list[Piece] = field(default_factory=list)
    mouths: dict[tuple[str, str], _Mouth] = field(default_factory=dict)
    planned: dict[tuple[Address, Address], _Planned] = field(default_factory=dict)
    hops: dict[tuple[Address, Address], NextHop] = field(default_factory=dict)
    ears: dict[Conversation, set[Ear]] = field(default_factory=dict)
    matchers: dict[str, Matcher] = field(default_factory=dict)
    # What has not arrived yet and is waited for, with its time limit (time.monotonic()), by its target.
    under_way: dict[str, dict[Piece, float]] = field(default_factory=dict)
    # Directions of conversations in which packets are lost: none is waited for until one arrives again.
    given_up: set[tuple[Conversation, Address]] = field(default_factory=set)
    # As which address translation shows a conversation to one of its sides, as that side has to answer it.
    translated: dict[tuple[Conversation, Address], Ends] = field(default_factory=dict)

    def replay(self, path: Path, packets: list[RecordedPacket], skipped: int) -> Replay:
        where = {station.at: station for station in stations(self.plan).values()}
        posts = [Post(outer, station.at) for outer, station in stations(self.plan).items()]
        self.silence = Silence(self.bed.client, self.plan.instance)
        self.stack.callback(self.silence.close)
        self._prepare(packets)
        last = {packet.conversation: packet.number for packet in packets}
        over: list[Conversation] = []
        hops = 2 * len(self.plan.links) + 2
        with Capture(
            self.bed, f"all of {self.plan.instance}", lambda: posts, "ip or ip6", hops=hops, told=False
        ) as capture:
            began = sent_at = time.monotonic()
            for before, packet in zip([packets[0], *packets], packets, strict=False):
                self._keep_silent(packet, over)
                self._let_arrive(self.sides[packet.source].endpoint)
                if self.factor is not None:
                    self._wait_until(sent_at + max(0, packet.time - before.time) / 1e9 / self.factor)
                sent_at = time.monotonic()
                self._send(packet)
                if last[packet.conversation] == packet.number:
                    over.append(packet.conversation)
            took = time.monotonic() - began
            for endpoint in list(self.under_way):
                self._let_arrive(endpoint)
        assign(self.pieces, capture.packets, where)
        by_number: dict[int, list[Piece]] = {}
        for piece in self.pieces:
            by_number.setdefault(piece.packet.number, []).append(piece)
        results = tuple(outcome(packet, by_number[packet.number], where) for packet in packets)
        recorded = max(0, packets[-1].time - packets[0].time) / 1e9
        return Replay(path, results, skipped, recorded, took)

    # -- before -----------------------------------------------------------------------------------

    def _prepare(self, packets: list[RecordedPacket]) -> None:
        """Everything that may fail, before the first packet is sent."""
        for packet in packets:
            source, target = self.sides[packet.source], self.sides[packet.target]
            if source.endpoint == target.endpoint:
                raise ProbeError(f"packet {packet.number}: both its ends would be {source.endpoint}")
            refuse_what_is_cut(packet)
            ends = self._planned(packet.source, packet.target).ends
            hop = self._hop(packet.source, ends.target)
            self._mouth(source.endpoint, hop)
            if not self._fitting(packet, between(packet, ends, self._others()), hop):
                raise ProbeError(
                    f"packet {packet.number} has {len(packet.packet)} bytes and is no TCP that could be cut;"
                    f" interface {hop.interface} of {source.endpoint} takes {self._mtu(packet, hop)}"
                )
            if packet.is_echo_request:
                version = packet.source.version
                self.bed.echo_silence.hold(self.plan.instance, target.endpoint, version, self.stack)

    def _others(self) -> dict[Address, Address]:
        found: dict[Address, Address] = {}
        for (source, target), planned in self.planned.items():
            found[source], found[target] = planned.ends.source, planned.ends.target
        return found

    def _planned(self, source: Address, target: Address) -> _Planned:
        if (source, target) not in self.planned:
            ours, theirs = self.sides[source], self.sides[target]
            version: Literal[4, 6] = 4 if source.version == 4 else 6
            to = find_target(self.plan, theirs.place, ours.spot.endpoint, version)
            back = find_target(self.plan, ours.place, theirs.spot.endpoint, version)
            there = to.spot.interface if to.spot is not None else None
            mtu = there.mtu if there is not None else 0xFFFF
            self.planned[source, target] = _Planned(Ends(back.address, to.address), mtu)
        return self.planned[source, target]

    def _hop(self, source: Address, target: Address) -> NextHop:
        if (source, target) not in self.hops:
            spot = self.sides[source].spot
            self.hops[source, target] = NextHops(self.bed.client, self.plan, spot).to(target)
        return self.hops[source, target]

    def _mouth(self, endpoint: str, hop: NextHop) -> _Mouth:
        key = (endpoint, hop.interface)
        if key not in self.mouths:
            sock = self.stack.enter_context(
                self.bed.client.socket(self.plan.instance, endpoint, socket.AF_PACKET, socket.SOCK_RAW, 0)
            )
            attach(sock, kernel_program(Either((KINDS["ip"], KINDS["ip6"])), outgoing=False))
            sock.bind((hop.interface, _ETH_P_ALL))
            self.mouths[key] = _Mouth(endpoint, sock)
        return self.mouths[key]

    # -- sending ----------------------------------------------------------------------------------

    def _keep_silent(self, packet: RecordedPacket, over: list[Conversation]) -> None:
        """Nobody's kernel answers this packet; what is over and has arrived needs no silence any more."""
        if over:
            busy = {piece.packet.conversation for waiting in self.under_way.values() for piece in waiting}
            for conversation in [each for each in over if each not in busy]:
                over.remove(conversation)
                self.silence.release(self.ears.pop(conversation, ()))
        ears = self.ears.setdefault(packet.conversation, set())
        ends = self._ends_of(packet)
        to, back = self.sides[packet.target].endpoint, self.sides[packet.source].endpoint
        source_port = ends.source_port if ends.source_port is not None else packet.source_port
        target_port = ends.target_port if ends.target_port is not None else packet.target_port
        planned = self._planned(packet.source, packet.target).ends
        for ear in (
            Ear(to, packet.protocol, planned.target, packet.target_port, ends.source, source_port),
            Ear(back, packet.protocol, planned.source, packet.source_port, ends.target, target_port),
        ):
            if ear not in ears and packet.transport is not None:
                ears.add(ear)
                self.silence.hold(ear)

    def _ends_of(self, packet: RecordedPacket) -> Ends:
        planned = self._planned(packet.source, packet.target).ends
        return self.translated.get((packet.conversation, packet.source), planned)

    def _send(self, packet: RecordedPacket) -> None:
        ends, side = self._ends_of(packet), self.sides[packet.source]
        hop = self._hop(packet.source, ends.target)
        mouth = self._mouth(side.endpoint, hop)
        target = self.sides[packet.target].endpoint
        direction = (packet.conversation, packet.source)
        for frame in self._fitting(packet, between(packet, ends, self._others()), hop):
            piece = Piece(packet, frame, side.endpoint, target, time.time())
            self.pieces.append(piece)
            self.matchers.setdefault(target, Matcher()).expect(piece)
            if direction not in self.given_up:
                self.under_way.setdefault(target, {})[piece] = time.monotonic() + self.patience
            try:
                mouth.sock.send(frame)
            except OSError as error:
                piece.error = error.strerror or str(error)
                self.under_way.get(target, {}).pop(piece, None)

    def _mtu(self, packet: RecordedPacket, hop: NextHop) -> int:
        return min(hop.mtu, self._planned(packet.source, packet.target).mtu)

    def _fitting(self, packet: RecordedPacket, data: bytes, hop: NextHop) -> list[bytes]:
        tags = packet.tags if self.vlans == "keep" else ()
        frame = framed(hop.mac, hop.own_mac, tags, data)
        mtu = self._mtu(packet, hop)
        return [frame] if len(data) <= mtu else cut_to_fit(frame, mtu) if not packet.fragment else []

    # -- arriving ---------------------------------------------------------------------------------

    def _let_arrive(self, endpoint: str) -> None:
        """Wait until what is under way to an endpoint has arrived, or is given up."""
        self._hear()
        while waiting := self.under_way.get(endpoint):
            soonest = min(waiting.values())
            if soonest <= time.monotonic():
                for piece in [piece for piece, limit in waiting.items() if limit == soonest]:
                    self._give_up((piece.packet.conversation, piece.packet.source))
            else:
                self._hear(soonest)

    def _wait_until(self, moment: float) -> None:
        while time.monotonic() < moment:
            self._hear(moment)

    def _give_up(self, direction: tuple[Conversation, Address]) -> None:
        self.given_up.add(direction)
        for waiting in self.under_way.values():
            for piece in [
                each for each in waiting if (each.packet.conversation, each.packet.source) == direction
            ]:
                del waiting[piece]

    def _hear(self, until: float = 0.0) -> None:
        """Take what has come in; if nothing has, wait for it until then."""
        poll = select.poll()
        by_fd = {mouth.sock.fileno(): mouth for mouth in self.mouths.values()}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        for fd, _event in poll.poll(max(0.0, until - time.monotonic()) * 1e3):
            mouth = by_fd[fd]
            for data in _read(mouth.sock):
                self._arrived(mouth.endpoint, data)

    def _arrived(self, endpoint: str, data: bytes) -> None:
        seen = CapturedPacket(time.time(), endpoint, "in", data)
        matcher = self.matchers.get(endpoint)
        piece = matcher.match(seen) if matcher is not None else None
        if piece is None or seen.ip is None:
            return
        packet = piece.packet
        self.under_way.get(endpoint, {}).pop(piece, None)
        self.given_up.discard((packet.conversation, packet.source))
        ports, sent = seen.tcp or seen.udp, piece.shown.ip
        moved = sent is not None and (sent.source, sent.target) != (seen.ip.source, seen.ip.target)
        answer = (packet.conversation, packet.target)
        if ports is not None and (moved or answer in self.translated or _ports_differ(piece, seen)):
            self.translated[answer] = Ends(
                seen.ip.target, seen.ip.source, ports.target_port, ports.source_port
            )


def _ports_differ(piece: Piece, seen: CapturedPacket) -> bool:
    one, other = piece.shown.tcp or piece.shown.udp, seen.tcp or seen.udp
    if one is None or other is None:
        return False
    return (one.source_port, one.target_port) != (other.source_port, other.target_port)


def _read(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(_ROOM, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:  # its interface went down, or its VNF has stopped
            return


def _factor(speed: float | str) -> float | None:
    """None: as fast as the order allows."""
    if speed == "max":
        return None
    if isinstance(speed, (int, float)) and not isinstance(speed, bool) and 0 <= speed < float("inf"):
        return float(speed) or None
    raise ProbeError(f"speed={speed!r}: 1.0 is as recorded, 2.0 twice as fast, 'max' or 0 as fast as it goes")


def _places(plan: DeploymentPlan, recording: Recording, sides: Sides) -> dict[Address, _Side]:
    found: dict[Address, _Side] = {}
    speakers = {packet.source for packet in recording.packets} | {
        packet.target for packet in recording.packets
    }
    for recorded, place in sides.items():
        try:
            address = ip_address(str(recorded))
        except ValueError:
            raise ProbeError(f"'{recorded}' is not an address of the recording") from None
        if address not in speakers:
            said = ", ".join(str(each) for each in recording.addresses[:8]) or "no IP address"
            raise ProbeError(f"{recording.path.name} has no packet of {address}; in it speak: {said}")
        found[address] = _Side(place, _spot(plan, place))
    return found


def _spot(plan: DeploymentPlan, place: Place) -> Spot:
    try:
        return find_spot(plan, place)
    except NotFoundError as error:
        other = error.wanted.partition("/")[0]
        if other not in joined_instances(plan):
            raise
        raise ProbeError(
            f"{error.wanted}: a replay stays within one service, and this one is only joined to '{other}';"
            f" its sides may be: {', '.join(endpoint.id for endpoint in plan.endpoints)}"
        ) from error


def _chosen(recording: Recording, sides: Mapping[Address, _Side], vlans: Vlans) -> list[RecordedPacket]:
    chosen = [packet for packet in recording.packets if packet.source in sides and packet.target in sides]
    if not chosen:
        said = ", ".join(str(each) for each in sides)
        raise ProbeError(f"{recording.path.name} has no packet between two of: {said}")
    tagged = next((packet for packet in chosen if packet.tags), None)
    if tagged is not None and vlans == "refuse":
        raise ProbeError(
            f"packet {tagged.number} of {recording.path.name} was recorded in VLAN"
            f" {tagged.tags[0][1] & 0xFFF}; say vlans='strip' to send such packets without"
            " their tags, 'keep' to send them as they are"
        )
    return chosen
