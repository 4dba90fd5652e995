"""From the kernel's hands into the relay's and back, in the moment between two frames.

What takes long (making pairs, telling the relay) comes before or after; here is only what a frame on its way
would notice, by netlink, without starting a program. There is no moment in which none carries a link, and
hardly one in which two do.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from contextlib import closing

from pytest_sonemu.emulation import netlink
from pytest_sonemu.emulation.fabric import Fabric, indices
from pytest_sonemu.emulation.handover import Handover, hand_over
from pytest_sonemu.planning.batches import REDIRECT_PREFERENCE, Batch, bridge_port, redirect, redirect_away
from pytest_sonemu.planning.relaying import RelayedPort
from pytest_sonemu.relay.redirects import Redirects

# The kernel notices within a millisecond that both ends of a pair are up.
_NOTICED, _ASKED_EVERY = 1.0, 0.0005

Line = tuple[str, str]
"""The outer ends of an E-Line."""


def make_places(fabric: Fabric, ports: Collection[RelayedPort]) -> None:
    """The relay's places stand in the bridges beside the ports, shut: what the relay sends there ends."""
    if not ports:
        return
    purpose = "places for relayed ports"
    fabric.run([Batch("ip", tuple(line for port in ports for line in port.make()), purpose)])
    # A port that is shut before that is opened by the kernel as soon as it notices.
    _await_carrier({port.inside for port in ports})
    fabric.run([Batch("ip", tuple(line for port in ports for line in port.enter()), purpose)])
    fabric.run([Batch("bridge", tuple(line for port in ports for line in port.shut()), purpose)])


def _await_carrier(names: Collection[str]) -> None:
    deadline = time.monotonic() + _NOTICED
    with closing(netlink.open_socket(netlink.ROUTE)) as sock:
        while time.monotonic() < deadline:
            ends = netlink.read_ends(sock)
            if all(name not in ends or ends[name].carries for name in names):
                return
            time.sleep(_ASKED_EVERY)


def to_relay(fabric: Fabric, lines: Iterable[Line], ports: Iterable[RelayedPort]) -> None:
    """The relay carries these already: the kernel no longer does. Ends that are not there need nothing."""
    ends, loose = [end for line in lines for end in line], list(ports)
    if not ends and not loose:
        return
    there = indices([*ends, *(port.port for port in loose)])
    with closing(Redirects(REDIRECT_PREFERENCE)) as redirects:
        for index in there.values():
            redirects.remove(index)
    hand_over(Handover(port.port, port.inside) for port in loose)
    with closing(netlink.open_socket(netlink.ROUTE)) as sock:
        for port in loose:
            if port.port in there:
                netlink.set_master(sock, there[port.port], 0)
    fabric.transcript.done("tc", [redirect_away(end) for end in ends if end in there], "relayed links")
    fabric.transcript.done(
        "bridge", [f"link set dev {port.inside} state 3" for port in loose], "relayed ports"
    )
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
    hand_over(Handover(port.inside, port.port, port.bridge, isolated=port.isolated) for port in back)
    told = [redirect(here, onward) for a, b in whole for here, onward in ((a, b), (b, a))]
    fabric.transcript.done("tc", told, "direct links")
    rows = [row for port in back for row in bridge_port(port.port, port.bridge, isolated=port.isolated)]
    fabric.transcript.done("ip", rows, "direct ports")


def forget(ports: Iterable[RelayedPort]) -> None:
    """The relay has let go of these: no filter has to keep their frames from it any more."""
    there = indices(port.port for port in ports)
    with closing(Redirects(REDIRECT_PREFERENCE)) as redirects:
        for index in there.values():
            redirects.remove(index)
