"""Loops that frames circle in until nothing else gets through: noticed, cut, and named (ruling 39).

Once a second one netlink request reads what every interface of the fabric has received. The kernel counts
neither broadcast nor multicast of a veth (`multicast` stays 0), so only where that is much a packet socket
looks for a moment at what it is. In a loop it is the same frames again and again.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_sonemu.emulation import netlink
from pytest_sonemu.emulation.protocol import Cut
from pytest_sonemu.errors import EmulationError, NotFoundError
from pytest_sonemu.planning.plan import DeploymentPlan, InterfacePlan
from pytest_sonemu.relay.socket_filter import attach

if TYPE_CHECKING:
    from pytest_sonemu.emulation.bed import Bed
    from pytest_sonemu.emulation.instance import Instance

EVERY = 1.0
STRIKES = 2
# Broadcast and multicast frames that one endpoint sends in a second. One frame alone circles through
# two bridges 80,000 times a second on two idle cores: far less is a loop if it is the same frames.
LOOP_RATE = 20_000
FLOOD_RATE = 200_000
LOOK_SECONDS = 0.05
MOST_FRAMES = 4096
# Sequence numbers, of whatever protocol, are within it.
LENGTH = 128
KNOWN_SHARE = 0.1

_ALL = 0x0003
_PACKET_STATISTICS, _SOL_PACKET, _SO_RCVBUFFORCE = 6, 263, 33
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_PACKET_TYPE, _BROADCAST, _MULTICAST = 0xFFFFF004, 1, 2
_NOTHING = ((_RETURN, 0, 0, 0),)
_TO_MANY = (
    (_LOAD, 0, 0, _PACKET_TYPE),
    (_EQUAL, 1, 0, _BROADCAST),
    (_EQUAL, 0, 1, _MULTICAST),
    (_RETURN, 0, 0, LENGTH),
    (_RETURN, 0, 0, 0),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a moment has shown: frames to many a second, and the contents of some, by interface index."""

    rates: Mapping[int, float]
    contents: Mapping[int, Counter[bytes]]


@dataclass(frozen=True, slots=True)
class Storm:
    """The ends that carry it, in the plan's order."""

    instance: str
    ends: tuple[tuple[str, InterfacePlan], ...]

    @property
    def text(self) -> str:
        where = ", ".join(_name(endpoint, interface) for endpoint, interface in self.ends)
        return f"loop through {where}" if len(self.ends) > 1 else f"flood of broadcasts from {where}"


@dataclass
class Suspicions:
    """What is remembered from one second to the next: counters, strikes, frames that were seen."""

    received: dict[int, int] = field(default_factory=dict)
    moment: float = 0.0
    strikes: Counter[int] = field(default_factory=Counter)
    seen: dict[int, Counter[bytes]] = field(default_factory=dict)

    def busy(self, received: dict[int, int], moment: float) -> set[int]:
        """The interfaces that received enough since the last call to be looked at."""
        before, since = self.received, moment - self.moment
        self.received, self.moment = received, moment
        found = {
            index
            for index, count in received.items()
            if index in before and count - before[index] > LOOP_RATE * since
        }
        for index in self.strikes.keys() - found:
            del self.strikes[index]
            self.seen.pop(index, None)
        return found

    def judge(self, busy: Iterable[int], look: Look) -> set[int]:
        """The interfaces that have had too much for long enough: the same frames, or very many."""
        for index in busy:
            contents, rate = look.contents.get(index, Counter[bytes]()), look.rates.get(index, 0.0)
            if rate > FLOOD_RATE or (rate > LOOP_RATE and circles(contents, self.seen.get(index, ()))):
                self.strikes[index] += 1
            else:
                del self.strikes[index]
            self.seen[index] = contents
        return {index for index, strikes in self.strikes.items() if strikes >= STRIKES}

    def forget(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            del self.strikes[index]
            self.seen.pop(index, None)


def circles(contents: Counter[bytes], known: Collection[bytes]) -> bool:
    """Whether enough of these frames have been seen before (pure)."""
    again = sum(count if content in known else count - 1 for content, count in contents.items())
    return again >= KNOWN_SHARE * contents.total() > 0


def storms(plan: DeploymentPlan, outers: Collection[str], rates: Mapping[str, float]) -> list[Storm]:
    """The storms that these outer ends carry; ends of one link, or of one endpoint, are in the same (pure).

    One end alone is no loop: it takes the rate of a flood.
    """
    struck = [
        (endpoint.id, interface)
        for endpoint in plan.endpoints
        for interface in endpoint.interfaces
        if interface.outer in outers
    ]
    groups: list[tuple[set[str], list[tuple[str, InterfacePlan]]]] = []
    for endpoint, interface in struck:
        places, members = {f"endpoint {endpoint}", *interface.links}, [(endpoint, interface)]
        for group in [group for group in groups if group[0] & places]:
            groups.remove(group)
            places, members = places | group[0], group[1] + members
        groups.append((places, members))
    return [
        Storm(plan.instance, tuple(members))
        for _places, members in groups
        if len(members) > 1 or rates.get(members[0][1].outer, 0.0) > FLOOD_RATE
    ]


def look(seconds: float = LOOK_SECONDS) -> Look:
    """What endpoints send to many, for a moment. On the thread of the fabric; takes that long."""
    with closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))) as sock:
        # It heard everything until here.
        attach(sock, _NOTHING)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, MOST_FRAMES * 2048)
        sock.setblocking(False)
        for _data in _queued(sock, sys.maxsize):
            pass
        _counted(sock)
        attach(sock, _TO_MANY)
        begin = time.monotonic()
        # What does not fit is counted all the same.
        threading.Event().wait(seconds)
        frames, took = _counted(sock), time.monotonic() - begin
        attach(sock, _NOTHING)
        indexes = {name: index for index, name in socket.if_nameindex()}
        contents: dict[int, Counter[bytes]] = {}
        for data, name in _queued(sock, MOST_FRAMES):
            if name in indexes:
                contents.setdefault(indexes[name], Counter())[data] += 1
    total = sum(each.total() for each in contents.values())
    rates = {index: frames / took * each.total() / total for index, each in contents.items()}
    return Look(rates, contents)


def _counted(sock: socket.socket) -> int:
    """The frames that have passed its filter since the last call, those too that found no room."""
    return int(struct.unpack("@II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[0])


def _queued(sock: socket.socket, most: int) -> Iterator[tuple[bytes, str]]:
    """Frames that wait, each with the interface that it was received at."""
    with suppress(BlockingIOError):
        for _ in range(most):
            data, address = sock.recvfrom(LENGTH)
            yield data, address[0]


def watch(bed: Bed) -> None:
    """Watch a bed on a thread of its own, as long as the keeper lives."""
    threading.Thread(target=_watch, args=(bed,), name="storms", daemon=True).start()


def _watch(bed: Bed) -> None:
    suspicions, clock = Suspicions(), threading.Event()
    with closing(netlink.open_socket(netlink.ROUTE)) as sock:
        while not clock.wait(EVERY):
            try:
                _tick(bed, suspicions, netlink.read_received(sock))
            except (EmulationError, OSError) as error:
                bed.note(f"loops are not watched for any more: {error}")
                return


def _tick(bed: Bed, suspicions: Suspicions, received: dict[int, int]) -> None:
    busy = suspicions.busy(received, time.monotonic())
    if not busy:
        return
    seen = look()
    struck = suspicions.judge(busy, seen)
    if not struck:
        return
    names = dict(socket.if_nameindex())
    outers = {names[index] for index in struck if index in names}
    rates = {names[index]: rate for index, rate in seen.rates.items() if index in names}
    for instance in bed.running():
        for storm in storms(instance.plan, outers, rates):
            _cut(bed, instance, storm)
    suspicions.forget(struck)


def _cut(bed: Bed, instance: Instance, storm: Storm) -> None:
    """Take the first of its ends down. The loop is open then, and the rest of the bed is as it was."""
    endpoint, interface = storm.ends[0]
    # As the handle of the interface names it, so that its `up` gives it back.
    cause = f"interface {endpoint}:{interface.connection_point}"
    text = f"{storm.text}: {_name(endpoint, interface)} was taken down"
    try:
        instance.cut(Cut(instance.plan.instance, (interface.outer,), "carrier", cause))
    except (EmulationError, NotFoundError) as error:
        text = f"{storm.text}, which could not be cut: {error}"
    instance.storms.append(text)
    instance.happened(endpoint, text)
    bed.note(f"{instance.plan.instance}: {text}")
    bed.write_state()


def _name(endpoint: str, interface: InterfacePlan) -> str:
    return endpoint if interface.name == endpoint else f"{endpoint}:{interface.name}"
