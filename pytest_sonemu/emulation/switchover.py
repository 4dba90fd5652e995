"""From the kernel's hands into the relay's and back, in the moment between two frames.

What takes long (making pairs, telling the relay) comes before or after; here is only what a frame on its way
would notice, over one netlink socket, without starting a program. For as long as both carry a link, some
hundred microseconds, a frame may come twice; there is no moment in which none carries it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from pytest_sonemu.emulation import netlink
from pytest_sonemu.emulation.fabric import Fabric, indices
from pytest_sonemu.planning.batches import REDIRECT_PREFERENCE, bridge_port, redirect, redirect_away
from pytest_sonemu.planning.relaying import RelayedPort
from pytest_sonemu.relay.redirects import Redirects

Line = tuple[str, str]
"""The outer ends of an E-Line."""


def to_relay(fabric: Fabric, lines: Iterable[Line], ports: Iterable[RelayedPort]) -> None:
    """The relay carries these already: the kernel no longer does. Ends that are not there need nothing."""
    ends, loose = [end for line in lines for end in line], list(ports)
    if not ends and not loose:
        return
    there = indices([*ends, *(port.port for port in loose)])
    with closing(Redirects(REDIRECT_PREFERENCE)) as redirects:
        for end in ends:
            if end in there:
                redirects.remove(there[end])
    with closing(netlink.open_socket(netlink.ROUTE)) as sock:
        for port in loose:
            if port.port in there:
                netlink.set_master(sock, there[port.port], 0)
    fabric.transcript.done("tc", [redirect_away(end) for end in ends if end in there], "relayed links")
    fabric.transcript.done(
        "ip", [f"link set dev {port.port} nomaster" for port in loose if port.port in there], "relayed ports"
    )


def to_kernel(fabric: Fabric, lines: Iterable[Line], ports: Iterable[RelayedPort]) -> None:
    """The relay carries these still: the kernel does as well. What is not there whole is left alone."""
    pairs, loose = list(lines), list(ports)
    if not pairs and not loose:
        return
    there = indices(
        [*(end for pair in pairs for end in pair), *(n for p in loose for n in (p.port, p.bridge))]
    )
    whole = [pair for pair in pairs if there.keys() >= set(pair)]
    back = [port for port in loose if {port.port, port.bridge} <= there.keys()]
    with closing(Redirects(REDIRECT_PREFERENCE)) as redirects:
        for a, b in whole:
            for here, onward in ((a, b), (b, a)):
                redirects.remove(there[here])
                redirects.add(there[here], there[onward])
    with closing(netlink.open_socket(netlink.ROUTE)) as sock:
        for port in back:
            netlink.set_master(sock, there[port.port], there[port.bridge])
            netlink.set_port(sock, there[port.port], isolated=port.isolated)
    told = [redirect(here, onward) for a, b in whole for here, onward in ((a, b), (b, a))]
    fabric.transcript.done("tc", told, "direct links")
    rows = [row for port in back for row in bridge_port(port.port, port.bridge, isolated=port.isolated)]
    fabric.transcript.done("ip", rows, "direct ports")
