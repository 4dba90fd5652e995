"""Frames of a private EtherType at the ends of a service's virtual links: who hears whom, and who must not.

They are sent and received at the VNFs' own interfaces, below all rules and routes of a VNF.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import TYPE_CHECKING

from pytest_sonemu.planning.plan import DeploymentPlan, EndpointPlan, LinkEnd, LinkPlan

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_sonemu.handles.service import Service

# IEEE 802's "local experimental EtherType 1".
ETHERTYPE = 0x88B5
BROADCAST = b"\xff" * 6
# All frames: one socket for a single type hears nothing of an interface that is in a bridge.
_ALL, _PACKET, _IGNORE_OUTGOING = 0x0003, 263, 23
_KEY = 8
# How long a frame may take (links may be slow), how often a lost one is sent again, and how long
# nothing must have come until nothing more is expected.
PATIENCE, AGAIN, QUIET = 3.0, 0.25, 0.15

End = tuple[str, str]


@dataclass
class Heard:
    """Where each sent frame was heard: by its key, the ends."""

    places: dict[bytes, set[End]] = field(default_factory=dict)

    def lacks(self, wanted: Mapping[bytes, Collection[End]]) -> dict[bytes, set[End]]:
        """What of `wanted` has not been heard yet."""
        missing = {key: set(ends) - self.places.get(key, set()) for key, ends in wanted.items()}
        return {key: ends for key, ends in missing.items() if ends}


class Exchange:
    """Sockets at some ends of a service, for as long as a `with` block."""

    def __init__(self, service: Service, ends: Iterable[End]) -> None:
        self._service, self._ends = service, list(dict.fromkeys(ends))
        self._closing = ExitStack()
        self._ears: dict[int, tuple[str, socket.socket]] = {}
        self._mouths: dict[End, socket.socket] = {}

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for endpoint in dict.fromkeys(endpoint for endpoint, _interface in self._ends):
                ear = self._socket(endpoint, _ALL, opening)
                ear.setsockopt(_PACKET, _IGNORE_OUTGOING, 1)
                ear.setblocking(False)
                self._ears[ear.fileno()] = (endpoint, ear)
            for endpoint, interface in self._ends:
                mouth = self._mouths[endpoint, interface] = self._socket(endpoint, 0, opening)
                mouth.bind((interface, 0))
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.close()

    def send(
        self, frames: Mapping[bytes, tuple[End, bytes]], wanted: Mapping[bytes, Collection[End]]
    ) -> Heard:
        """Send each frame (a key, its source, its target's MAC) until all `wanted` ends have heard it, or too
        long; then listen until it is quiet."""
        heard = Heard()
        deadline, again = time.monotonic() + PATIENCE, 0.0
        while (missing := heard.lacks(wanted)) and (now := time.monotonic()) < deadline:
            if now >= again:
                for key in missing:
                    self._speak(key, *frames[key])
                again = now + AGAIN
            self._listen(heard, frames, min(again, deadline) - now)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._listen(heard, frames, QUIET):
            pass
        return heard

    def _speak(self, key: bytes, source: End, target: bytes) -> None:
        mac = _mac(self._service.plan, source)
        self._mouths[source].send((target + mac + ETHERTYPE.to_bytes(2, "big") + key).ljust(60, b"\0"))

    def _listen(self, heard: Heard, frames: Collection[bytes], seconds: float) -> bool:
        """Take what comes within some seconds, or is there; whether anything came."""
        ready, _, _ = select.select(list(self._ears), [], [], max(seconds, 0.0))
        for number in ready:
            endpoint, ear = self._ears[number]
            while True:
                try:
                    data, address = ear.recvfrom(2048)
                except BlockingIOError:
                    break
                key = data[14 : 14 + _KEY]
                if data[12:14] == ETHERTYPE.to_bytes(2, "big") and key in frames:
                    heard.places.setdefault(key, set()).add((endpoint, address[0]))
        return bool(ready)

    def _socket(self, endpoint: str, protocol: int, stack: ExitStack) -> socket.socket:
        handle = self._service.endpoint(endpoint)
        return stack.enter_context(handle.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol)))


def unproved(service: Service, link: LinkPlan) -> list[str]:
    """What does not get through on one link, a sentence each: every end to every other that it may reach."""
    frames: dict[bytes, tuple[End, bytes]] = {}
    wanted: dict[bytes, set[End]] = {}
    said: dict[bytes, str] = {}
    for end in link.ends:
        peers = {_end(peer) for peer in link.ends if _may_reach(link, end, peer)}
        sends: list[tuple[bytes, set[End], str]] = [(BROADCAST, peers, "a broadcast")]
        sends += [(_mac(service.plan, peer), {peer}, "a frame") for peer in sorted(peers)]
        for target, hearers, what in sends:
            key = token_bytes(_KEY)
            frames[key], wanted[key] = (_end(end), target), hearers
            said[key] = f"{what} sent at {end}"
    with Exchange(service, [_end(end) for end in link.ends]) as exchange:
        missing = exchange.send(frames, wanted).lacks(wanted)
    return [f"{said[key]} did not reach {_listed(ends)}" for key, ends in missing.items()]


def leaks(service: Service, transparent: Mapping[str, Collection[str]]) -> list[str]:
    """Frames seen where they do not belong, or nowhere at all, a sentence each.

    `transparent`: the interfaces between which a VNF passes frames on, so that their links are one.
    """
    plan = service.plan
    ends = {_end(end) for link in plan.links for end in link.ends}
    frames: dict[bytes, tuple[End, bytes]] = {}
    wanted: dict[bytes, set[End]] = {}
    allowed: dict[bytes, set[End]] = {}
    for source in sorted(ends):
        key = token_bytes(_KEY)
        mine = [link for link in plan.links if source in map(_end, link.ends)]
        reached = {_end(peer) for link in mine for peer in link.ends if _reaches(link, source, _end(peer))}
        frames[key], wanted[key] = (source, BROADCAST), reached
        allowed[key] = {source} | reached | _joined(plan, {link.id for link in mine}, transparent)
    with Exchange(service, ends) as exchange:
        heard = exchange.send(frames, wanted)
    found = []
    for key, (source, _target) in frames.items():
        places = heard.places.get(key, set()) & ends
        if wanted[key] and not places:
            found.append(f"a broadcast sent at {_text(source)} was seen nowhere, which proves nothing")
        if wrong := places - allowed[key]:
            found.append(
                f"a broadcast sent at {_text(source)} was seen at {_listed(wrong)}, on a link of others"
            )
    return found


def _joined(plan: DeploymentPlan, links: set[str], transparent: Mapping[str, Collection[str]]) -> set[End]:
    """The ends of all links that transparent VNFs join to these."""
    joined = set(links)
    while True:
        bridged = {
            (vnf, interface)
            for link in plan.links
            if link.id in joined
            for vnf, near in map(_end, link.ends)
            if near in transparent.get(vnf, ())
            for interface in transparent[vnf]
        }
        grown = joined | {link.id for link in plan.links if bridged & set(map(_end, link.ends))}
        if grown == joined:
            break
        joined = grown
    return {_end(end) for link in plan.links if link.id in joined - links for end in link.ends}


def _may_reach(link: LinkPlan, source: LinkEnd, target: LinkEnd) -> bool:
    return _reaches(link, _end(source), _end(target))


def _reaches(link: LinkPlan, source: End, target: End) -> bool:
    """Whether a link carries frames from one of its ends to another: an E-Tree's leaves reach its root."""
    if source == target:
        return False
    return link.root is None or _end(link.root) in (source, target)


def _end(end: LinkEnd) -> End:
    return end.endpoint, end.interface


def _mac(plan: DeploymentPlan, end: End) -> bytes:
    endpoint: EndpointPlan | None = plan.endpoint(end[0])
    assert endpoint is not None
    text = next(each.mac for each in endpoint.interfaces if each.name == end[1])
    return bytes.fromhex(text.replace(":", ""))


def _listed(ends: Iterable[End]) -> str:
    return ", ".join(sorted(map(_text, ends)))


def _text(end: End) -> str:
    return end[0] if end[0] == end[1] else f"{end[0]}:{end[1]}"
