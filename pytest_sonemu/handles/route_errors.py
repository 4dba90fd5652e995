"""What the kernel of a station says of a packet that ended there: has it a route?

IPv4 sends few errors of routes, five and then one a second to each address, and namespaces have no switch
for that. So that the same probe ends the same way each time, the station's kernel is asked itself. It answers
for the address as the packet came; a station may send it to another address, and drop it then. So the packet
is sent once more, and the kernel's count of packets without a route must rise.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress

from pytest_sonemu.errors import EmulationError, NotFoundError
from pytest_sonemu.handles.factory import SocketFactory
from pytest_sonemu.handles.frames import Frame, Packet, icmp_words
from pytest_sonemu.handles.netlink import forwards_ipv4, input_route_error, read_links, route_socket
from pytest_sonemu.handles.results import Sighting
from pytest_sonemu.handles.sightings import Station
from pytest_sonemu.planning.plan import DeploymentPlan

_DESTINATION_UNREACHABLE = 3
# What a kernel answers where a route is missing, "unreachable" or "prohibit".
_CODES = {errno.ENETUNREACH: 0, errno.EHOSTUNREACH: 1, errno.EACCES: 13}
# A packet that was seen going in has been routed, or never is: how long a busy machine may take for it.
_ROUTED_WITHIN, _LOOK_AGAIN = 0.1, 0.002


def route_error(
    factory: SocketFactory,
    plan: DeploymentPlan,
    frames: Iterable[Frame],
    places: dict[str, Station],
    last: Sighting,
    again: Callable[[], bool],
) -> str:
    """The ICMP error, in words, that the station owes the packet that was seen last; "" for none.

    `again` sends it once more and tells whether it went into that station. Of IPv6 the errors all come.
    A station that has gone meanwhile owes nothing.
    """
    frame = _frame(frames, places, last)
    if frame is None or not isinstance(frame.content, Packet) or frame.content.source.version != 4:
        return ""
    packet, mac = frame.content, frame.destination_mac
    with (
        suppress(NotFoundError, EmulationError),
        closing(route_socket(factory, plan.instance, last.endpoint)) as sock,
    ):
        # A frame for another MAC is bridged or ignored there; no route is looked up for it.
        index = next((link.index for link in read_links(sock) if link.mac == mac), None)
        if index is None or not forwards_ipv4(sock, index):
            return ""
        code = input_route_error(
            sock,
            index,
            packet.source,
            packet.target,
            packet.protocol,
            (packet.source_port, packet.target_port),
        )
        if code not in _CODES:
            return ""
        # Packets that meet a route "unreachable" or "prohibit" are in no counter of their own.
        if code == errno.ENETUNREACH and not _counted(factory, plan.instance, last.endpoint, again):
            return ""
        return icmp_words(4, _DESTINATION_UNREACHABLE, _CODES[code])
    return ""


def _counted(factory: SocketFactory, instance: str, endpoint: str, again: Callable[[], bool]) -> bool:
    before = factory.no_routes(instance, endpoint)
    if not again():
        return True  # lost before it came there: then the route alone has to tell
    deadline = time.monotonic() + _ROUTED_WITHIN
    while factory.no_routes(instance, endpoint) == before:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def _frame(frames: Iterable[Frame], places: dict[str, Station], last: Sighting) -> Frame | None:
    return next(
        (
            frame
            for frame in frames
            if frame.inward
            and frame.time == last.time
            and frame.outer in places
            and places[frame.outer].at == last.at
        ),
        None,
    )
