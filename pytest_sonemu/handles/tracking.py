"""From captured packets to the way that a conversation took (pure).

A conversation is known by the token in its payload and, before that is sent, by the number that its
first packet carries; both pass address translation. A packet with the token in a flow that did not
begin with that number is one of a proxy, which ended the conversation and began another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from pytest_sonemu.handles import frames
from pytest_sonemu.handles.packets import CapturedPacket, Tcp
from pytest_sonemu.handles.sightings import Station
from pytest_sonemu.handles.trace_results import Crossing, Rewrite, Segment, TraceRun, Way
from pytest_sonemu.planning.plan import Address, PathPlan

_TCP, _UDP = 6, 17
Flow = tuple[int, Address, int, Address, int]


@dataclass(frozen=True, slots=True)
class Talk:
    """What is known of a conversation besides the packets: `flow` as the source sent it, and its end.

    `error` are the words of the source's kernel where there was no answer, `listener` whose answered.
    """

    flow: Flow
    token: bytes
    error: str = ""
    listener: Literal["theirs", "ours"] | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Who sent a conversation back that was not for it, and how."""

    by: str
    words: str

    def __str__(self) -> str:
        return f"rejected by {self.by}: {self.words}"


@dataclass
class _Seen:
    """One packet of interest: where it was, and which it was."""

    packet: CapturedPacket
    station: Station
    flow: Flow

    @property
    def inward(self) -> bool:
        return self.packet.direction == "in"

    @property
    def crossing(self) -> Crossing:
        packet = self.packet
        return Crossing(packet.at, self.station.endpoint, packet.direction, packet.time, ends(self.flow))


@dataclass
class _Stretch:
    """A conversation from one endpoint to another, on its way to a `Segment`."""

    flows: set[Flow] = field(default_factory=set)
    openings: list[_Seen] = field(default_factory=list)
    carriers: list[_Seen] = field(default_factory=list)

    @property
    def forward(self) -> list[_Seen]:
        return _first_of_each(self.carriers or self.openings)


def follow(
    packets: Iterable[CapturedPacket],
    places: Mapping[str, Station],
    source: str,
    target: str | None,
    talk: Talk,
    paths: Sequence[PathPlan] = (),
) -> TraceRun:
    """The way of one conversation. `places` are the stations by what a test calls them, `target` an
    endpoint (None: an address that the plan gives to nobody)."""
    seen = list(_of_interest(packets, places))
    stretches = _stretches(seen, talk)
    segments = []
    refusal: Refusal | None = None
    for stretch in stretches:
        there = stretch.forward
        back = _answers(seen, stretch, talk)
        if stretch is stretches[0]:
            refusal = _refusal(back, {each.station.endpoint for each in there if each.inward}, target, talk)
        rewritten = (*_rewrites(there, "there"), *_rewrites(back, "back"))
        segments.append(
            Segment(tuple(each.crossing for each in there), tuple(each.crossing for each in back), rewritten)
        )
    return _judge(tuple(segments), source, target, talk, places, paths, refusal)


def flow_of(packet: CapturedPacket) -> Flow | None:
    """Protocol, source, its port, target and its port; an echo's id stands for both ports."""
    ip = packet.ip
    if ip is None:
        return None
    ends_ = packet.tcp or packet.udp
    if ends_ is not None:
        return ip.protocol, ip.source, ends_.source_port, ip.target, ends_.target_port
    if packet.icmp is not None:
        return ip.protocol, ip.source, packet.icmp.ident, ip.target, packet.icmp.ident
    return None


def reverse(flow: Flow) -> Flow:
    protocol, source, source_port, target, target_port = flow
    return protocol, target, target_port, source, source_port


def ends(flow: Flow) -> str:
    """`"10.30.0.1:40000 > 10.30.1.2:80"`"""
    protocol, source, source_port, target, target_port = flow
    if protocol not in (_TCP, _UDP):
        return f"{source} > {target}"

    def end(address: Address, port: int) -> str:
        return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"

    return f"{end(source, source_port)} > {end(target, target_port)}"


def _of_interest(packets: Iterable[CapturedPacket], places: Mapping[str, Station]) -> Iterable[_Seen]:
    for packet in packets:
        station = places.get(packet.at)
        flow = flow_of(packet)
        if station is None or flow is None:
            continue
        # A bridge floods what it does not know; that is no crossing.
        if packet.direction == "in" and packet.eth.target in station.strangers:
            continue
        yield _Seen(packet, station, flow)


def _stretches(seen: list[_Seen], talk: Talk) -> list[_Stretch]:
    if talk.flow[0] == _TCP:
        return _tcp_stretches(seen, talk)
    own = _Stretch()
    found = [own]
    for each in seen:
        if talk.token not in each.packet.payload or _error_about(each) is not None:
            continue
        if any(reverse(each.flow) in stretch.flows for stretch in found):
            continue
        if each.packet.icmp is not None and each.packet.icmp.words != "echo request":
            continue
        if own.carriers and each.flow not in own.flows and _sent_anew(own.carriers[-1], each):
            found.append(_Stretch())
        found[-1].flows.add(each.flow)
        found[-1].carriers.append(each)
    return [stretch for stretch in found if stretch.carriers]


def _sent_anew(before: _Seen, after: _Seen) -> bool:
    """Whether a datagram with other addresses is another packet: translation leaves the IPv4 id as it is."""
    one, other = before.packet.ip, after.packet.ip
    return one is not None and other is not None and one.version == 4 and one.ident != other.ident


def _tcp_stretches(seen: list[_Seen], talk: Talk) -> list[_Stretch]:
    numbers: dict[Flow, int] = {}
    openings: dict[int, list[_Seen]] = {}
    for each in seen:
        tcp = each.packet.tcp
        if tcp is not None and tcp.flags & 0x12 == 0x02:
            numbers[each.flow] = tcp.seq
            openings.setdefault(tcp.seq, []).append(each)
    by_number: dict[int, _Stretch] = {}

    def stretch_of(number: int) -> _Stretch:
        if number not in by_number:
            opened = openings.get(number, [])
            by_number[number] = _Stretch({each.flow for each in opened}, opened)
        return by_number[number]

    if talk.flow in numbers:
        stretch_of(numbers[talk.flow])
    for each in seen:
        tcp = each.packet.tcp
        if tcp is None or talk.token not in each.packet.payload:
            continue
        if any(reverse(each.flow) in stretch.flows for stretch in by_number.values()):
            continue
        # A proxy may use a connection that it has opened before.
        stretch = stretch_of(numbers.get(each.flow, tcp.seq))
        stretch.flows.add(each.flow)
        stretch.carriers.append(each)
    return list(by_number.values())


def _answers(seen: list[_Seen], stretch: _Stretch, talk: Talk) -> list[_Seen]:
    """The crossings of one packet of the answer: the first with content, else what accepts or refuses."""
    answers = [each for each in seen if reverse(each.flow) in stretch.flows and not _is_request(each)]
    errors = [each for each in seen if _error_about(each) in stretch.flows]

    def with_token(each: _Seen) -> bool:
        return talk.token in each.packet.payload

    for choice in (
        [each for each in answers if with_token(each)],
        [each for each in answers if each.packet.payload],
        [each for each in answers if each.packet.tcp is not None and each.packet.tcp.syn],
        [each for each in answers if each.packet.tcp is not None and each.packet.tcp.rst],
        errors,
    ):
        if choice:
            return _first_of_each([each for each in choice if _same_packet(each, choice[0])])
    return []


def _is_request(each: _Seen) -> bool:
    return each.packet.icmp is not None and each.packet.icmp.words == "echo request"


def _same_packet(one: _Seen, other: _Seen) -> bool:
    a, b = one.packet.tcp, other.packet.tcp
    if isinstance(a, Tcp) and isinstance(b, Tcp):
        return a.seq == b.seq and a.syn == b.syn and a.rst == b.rst
    return True


def _error_about(each: _Seen) -> Flow | None:
    """The flow that an ICMP error speaks of."""
    icmp = each.packet.icmp
    if icmp is None or icmp.ident or icmp.words.startswith("echo"):
        return None
    try:
        read = frames.ipv4 if icmp.version == 4 else frames.ipv6
        about = read(each.packet.payload)
    except (IndexError, ValueError):
        return None
    if not isinstance(about, frames.Packet):
        return None
    # Of an echo, id and number are read as ports; its id alone names its flow.
    port = about.target_port if about.protocol in (_TCP, _UDP) else about.source_port
    return about.protocol, about.source, about.source_port, about.target, port


def _refusal(back: list[_Seen], entered: set[str], target: str | None, talk: Talk) -> Refusal | None:
    """A reset or an ICMP error of somebody on the way; one of the target is its answer."""
    if not back:
        return None
    packet, by = back[0].packet, back[0].station.endpoint
    if packet.tcp is not None and packet.tcp.rst:
        words = "TCP reset"
    elif _error_about(back[0]) is not None and packet.icmp is not None:
        words = packet.icmp.words
    else:
        return None
    if target is not None:
        return Refusal(by, words) if target not in entered else None
    # An address that is nobody's may answer for itself; a router only speaks of it.
    own = words == ("TCP reset" if talk.flow[0] == _TCP else "port unreachable")
    return None if own else Refusal(by, words)


def _first_of_each(found: list[_Seen]) -> list[_Seen]:
    """The first at each connection point and direction, in the order of time."""
    firsts: dict[tuple[str, str], _Seen] = {}
    for each in sorted(found, key=lambda each: each.packet.nanoseconds):
        firsts.setdefault((each.packet.at, each.packet.direction), each)
    return list(firsts.values())


def _rewrites(crossed: list[_Seen], way: Way) -> list[Rewrite]:
    return [
        Rewrite(after.station.endpoint, way, ends(before.flow), ends(after.flow))
        for before, after in pairwise(crossed)
        if before.flow != after.flow
    ]


# -- what it means --------------------------------------------------------------------------------


def _judge(
    segments: tuple[Segment, ...],
    source: str,
    target: str | None,
    talk: Talk,
    places: Mapping[str, Station],
    paths: Sequence[PathPlan],
    refusal: Refusal | None,
) -> TraceRun:
    there = [crossing for segment in segments for crossing in segment.there]
    entered = [crossing.endpoint for crossing in there if crossing.direction == "in"]
    first_back = segments[0].back if segments else ()
    came_back = bool(first_back) and first_back[-1].endpoint == source and first_back[-1].direction == "in"
    answered = came_back and refusal is None
    ended_in = entered[-1] if entered else None
    reached = target in entered if target is not None else answered
    lost_at: str | None = None
    lost_way: Way | None = None
    reason = "it arrived and was answered"
    if not there:
        lost_at, lost_way = source, "there"
        reason = f"nothing left {source}{f': {talk.error}' if talk.error else ''}"
    elif not reached:
        lost_way = "there"
        lost_at, reason = _lost(there[-1], places)
        if refusal is not None:
            lost_at, reason = refusal.by, str(refusal)
            if not came_back:
                reason += f", which was {_lost(first_back[-1], places)[1]}"
        elif answered:
            lost_at, reason = ended_in, f"{ended_in} answered in its place; it never reached {target}"
    elif not answered:
        backs = [crossing for segment in reversed(segments) for crossing in segment.back]
        lost_way = "back"
        if backs:
            lost_at, where = _lost(backs[-1], places)
            reason = f"it arrived, but its answer was {where}"
        else:
            lost_at, reason = ended_in, f"it arrived in {ended_in}, which did not answer"
    return TraceRun(
        source=source,
        segments=segments,
        reached=reached,
        answered=answered,
        reason=reason,
        lost_at=lost_at,
        lost_way=lost_way,
        ended_in=ended_in,
        rejected_at=refusal.by if refusal is not None else None,
        terminated_at=_terminated_at(segments, target, ended_in, answered=answered),
        bypassed=_bypassed(there, source, paths),
        listener=talk.listener,
        status=talk.status,
    )


def _terminated_at(
    segments: tuple[Segment, ...], target: str | None, ended_in: str | None, *, answered: bool
) -> str | None:
    if len(segments) > 1 and segments[1].there:
        return segments[1].there[0].endpoint
    if answered and target is not None and ended_in is not None:
        entered = {crossing.endpoint for crossing in segments[0].there if crossing.direction == "in"}
        return ended_in if target not in entered else None
    return None


def _lost(last: Crossing, places: Mapping[str, Station]) -> tuple[str, str]:
    if last.direction == "in":
        return last.endpoint, f"seen into {last.at}, not out of {last.endpoint}"
    link = places[last.at].link if last.at in places else None
    if link is None:
        return last.endpoint, f"seen out of {last.at}, which is in no link"
    return link, f"seen out of {last.at} and lost on {link}"


def _bypassed(there: list[Crossing], source: str, paths: Sequence[PathPlan]) -> tuple[str, ...]:
    """Members of a forwarding path between the source and where it went that were gone round."""
    crossed = {crossing.endpoint for crossing in there}
    found: dict[str, None] = {}
    for path in paths:
        members = list(dict.fromkeys(station.partition(":")[0] for station in path.stations))
        if source not in members:
            continue
        onward = members[members.index(source) + 1 :]
        reached = [position for position, member in enumerate(onward) if member in crossed]
        if reached:
            found |= dict.fromkeys(member for member in onward[: reached[-1]] if member not in crossed)
    return tuple(found)
